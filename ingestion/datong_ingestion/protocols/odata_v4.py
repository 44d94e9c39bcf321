"""OData v4, as Microsoft Dynamics 365, Business Central and SAP S/4HANA serve it.

Reads: an entity set, or the path of a collection (`companies(…)/items`), below the base URL or below the `service` that
the entity's options name. Types, keys and precision come from the service's `$metadata`.
Pages: `@odata.nextLink` is followed as given. Changes: `Prefer: odata.track-changes` and `@odata.deltaLink`, removed
rows as `@removed` (4.01) or `/$deletedEntity` (4.0); or a cursor field with `$filter` and an overlap.
Guards against: what `odata` names; a delta link that expired (410 Gone: a new baseline, whose key set also tells the
deletes); a changed row that holds its changed fields only (it is read again whole, so that no field turns null).
From JSON to Arrow pages. Alone: `python -m datong_ingestion SYSTEM`.

Sources: OData JSON Format 4.01 (4.5 control information, 15 delta payload), OData Protocol 4.01 (11.3, 8.2.8),
Microsoft "Use change tracking to synchronize data with external systems", Business Central API (v2.0).
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
from datong_platform.errors import ProtocolError
from datong_platform.lake.columns import UTC_TIMESTAMP, compute
from datong_platform.quality.windows import Totals, Window

from datong_ingestion.connections.odata import ODataV4Options
from datong_ingestion.json_pages import FastCast, JsonPage, JsonReader
from datong_ingestion.protocols.odata import EntitySet, OData, decimal_kind, with_keys
from datong_ingestion.source import DELETE, UPDATE, Description, Page
from datong_ingestion.systems_config import EntityConfig, SystemConfig
from datong_ingestion.values import MisfitError, to_text

_REMOVED = ("@removed", "@odata.removed")
_CONTEXTS = ("@odata.context", "@context")
_IDS = ("@odata.id", "@id", "id")
_TOLD = ("count", "nextLink", "deltaLink")
_LINKS = ("/$link", "/$deletedLink")
_AT_ONCE = 20
"""Rows that are read again in one request: their keys make its address long."""

_NO_APPLY = (400, 404, 405, 500, 501)
"""How services say that they do not aggregate."""

_SIMPLE: dict[str, pa.DataType] = {
    "Edm.String": pa.string(),
    "Edm.Guid": pa.string(),
    "Edm.Duration": pa.string(),
    "Edm.TimeOfDay": pa.string(),
    "Edm.Boolean": pa.bool_(),
    "Edm.Byte": pa.int16(),
    "Edm.SByte": pa.int16(),
    "Edm.Int16": pa.int16(),
    "Edm.Int32": pa.int32(),
    "Edm.Int64": pa.int64(),
    "Edm.Single": pa.float32(),
    "Edm.Double": pa.float64(),
    "Edm.Binary": pa.binary(),
    "Edm.Date": pa.date32(),
    "Edm.DateTimeOffset": UTC_TIMESTAMP,
}


class ODataV4(OData):
    """A connected OData v4 service root."""

    headers = {"Accept": "application/json", "OData-Version": "4.0", "OData-MaxVersion": "4.01"}  # noqa: RUF012
    counting = {"$count": "true"}  # noqa: RUF012

    def __init__(self, system: SystemConfig) -> None:
        super().__init__(system)
        self._no_apply: set[tuple[str, str]] = set()

    def kind(self, element: ET.Element, thing: str) -> pa.DataType:
        edm = element.get("Type", "")
        # a precision alone means scale 0 (CSDL 4.01, 7.2.4); a complex type or a collection is kept whole, as JSON
        return decimal_kind(element, thing, unscaled=0) if edm == "Edm.Decimal" else _SIMPLE.get(edm, pa.string())

    def address(self, entity: EntityConfig) -> tuple[str, str]:
        service = entity.options.service if isinstance(entity.options, ODataV4Options) else ""
        return service.strip("/"), entity.source.strip("/")

    def links(self, page: JsonPage, entity: EntityConfig) -> tuple[str | None, str | None]:
        found = page.envelope
        following = found.get("@odata.nextLink") or found.get("@nextLink")
        return following, found.get("@odata.deltaLink") or found.get("@deltaLink")

    def reader(self, schema: pa.Schema, entity_set: EntitySet, thing: str, *, resuming: bool) -> JsonReader:
        converts: dict[str, Callable[[Any], Any]] = {}
        fast: dict[str, FastCast] = {}
        for item in entity_set.properties:
            if item.name not in schema.names or schema.field(item.name).type != item.kind:
                continue
            if item.kind == UTC_TIMESTAMP:
                fast[item.name] = _instants
            elif item.edm not in _SIMPLE and item.kind == pa.string():
                converts[item.name] = to_text
        navigations = entity_set.navigations

        def ignored(name: str, row: dict[str, Any]) -> bool:
            return "@" in name or name in navigations or (name in {"id", "reason"} and _is_gone(row))

        return JsonReader(
            schema,
            [("value",)],
            converts=converts,
            fast_casts=fast,
            ignored=ignored,
            marks=(*_REMOVED, *_CONTEXTS, *_IDS) if resuming else _REMOVED,
            envelope_fields=tuple(f"@{odata}{name}" for odata in ("odata.", "") for name in _TOLD),
            check=lambda page: self.checked(page, thing, "value"),
            # the fast path cannot tell a field that was not sent from one that is null, and a delta must
            complete=resuming,
        )

    def pages(
        self, entity: EntityConfig, description: Description, page: JsonPage, reached: str | None, *, resuming: bool
    ) -> Iterator[Page]:
        if not resuming:
            yield Page(page.rows, None, page.rescued, page.unexpected, reached)
            return
        count = len(page.rows)
        contexts = _first(page, _CONTEXTS, count)
        removed = _first(page, _REMOVED, count)
        gone = [i for i in range(count) if removed[i] is not None or str(contexts[i] or "").endswith("/$deletedEntity")]
        links = {i for i in range(count) if str(contexts[i] or "").endswith(_LINKS)}
        unsure = [i for i in page.partial if i not in links and i not in gone]
        rows = page.rows
        if gone:
            ids = _first(page, _IDS, count)
            columns = [rows.column(name) for name in description.keys]
            bare = {i: str(ids[i]) for i in gone if not all(column[i].is_valid for column in columns)}
            rows = with_keys(rows, description.keys, bare, self.thing(entity)) if bare else rows
        dropped = links | set(unsure)
        kept = pa.array([i for i in range(count) if i not in dropped], pa.int64())
        operations = pa.array([DELETE if i in set(gone) else UPDATE for i in range(count)], pa.string())
        rescued = None if page.rescued is None else page.rescued.take(kept)
        again = rows.take(pa.array(unsure, pa.int64())).select(description.keys) if unsure else None
        yield Page(
            rows.take(kept), operations.take(kept), rescued, page.unexpected, None if again is not None else reached
        )
        if again is not None:
            yield from self._whole(entity, description, again, reached)

    def _whole(
        self, entity: EntityConfig, description: Description, keys: pa.Table, reached: str | None
    ) -> Iterator[Page]:
        """Rows read again by their keys; one that is gone by now will be told by the next delta."""
        thing = self.thing(entity)
        service, path = self.address(entity)
        reader = self.reader(description.schema, self.entity_set(entity), thing, resuming=False)
        if any(column.null_count for column in keys.columns):
            raise ProtocolError(thing, "sent a changed row without its key.", "ask its maker, or use mode cursor.")
        edms = {item.name: item.edm for item in self.entity_set(entity).properties}
        values = keys.to_pylist()
        for start in range(0, len(values), _AT_ONCE):
            wanted = [
                " and ".join(
                    f"{name} eq {_key_literal(value, edms[name], self.literal)}" for name, value in row.items()
                )
                for row in values[start : start + _AT_ONCE]
            ]
            params = {"$filter": " or ".join(f"({text})" for text in wanted)}
            if entity.select:
                params["$select"] = ",".join(description.schema.names)
            page = self.http.fetch(
                lambda response: reader.parse(response.content),
                "GET",
                f"{self.root(service)}{path}",
                thing=thing,
                params=params,
                headers=self.headers,
            )
            if self.links(page, entity)[0]:
                raise ProtocolError(
                    thing, f"answers {len(wanted)} rows by key in more than one page.", "ask its maker."
                )
            last = start + _AT_ONCE >= len(values)
            operations = pa.repeat(pa.scalar(UPDATE), len(page.rows))
            yield Page(page.rows, operations, page.rescued, page.unexpected, reached if last else None)

    def total(self, entity: EntityConfig, description: Description, window: Window, sums: Sequence[str]) -> Totals:
        """By `$apply` (OData Extension for Data Aggregation 4.0, 3.2), once it was refused by `$count` alone."""
        place = self.address(entity)
        if not sums or place in self._no_apply:
            return super().total(entity, description, window, sums)
        condition = self.condition(entity, description, window)
        added = ",".join(["$count as datong_rows", *(f"{name} with sum as datong_{name}" for name in sums)])
        steps = [f"filter({condition})"] if condition else []
        response = self.http.request(
            "GET",
            f"{self.root(place[0])}{place[1]}",
            thing=self.thing(entity),
            params={**entity.params, "$apply": "/".join([*steps, f"aggregate({added})"])},
            headers=self.headers,
            accept=_NO_APPLY,
        )
        told = _aggregated(response, sums)
        if told is None:
            self._no_apply.add(place)
            return super().total(entity, description, window, sums)
        return told

    def literal(self, value: Any, kind: pa.DataType) -> str:
        """A value in a `$filter` (OData ABNF, primitive literals)."""
        if pa.types.is_timestamp(kind):
            return value.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        if pa.types.is_date(kind):
            return value.isoformat()
        if pa.types.is_boolean(kind):
            return str(value).lower()
        if pa.types.is_string(kind):
            return "'{}'".format(str(value).replace("'", "''"))
        return str(value)


def _aggregated(response: httpx.Response, sums: Sequence[str]) -> Totals | None:
    """The totals in the answer to an `$apply`; None when it is none, as of a service that passes over what it does not
    know. Of no rows, some services give one row of nulls and others none."""
    if response.status_code != 200:
        return None
    try:
        rows = json.loads(response.content, parse_float=Decimal)["value"]
    except (ValueError, KeyError, TypeError):
        return None
    if not rows:
        return Totals(0, dict.fromkeys(sums, Decimal(0)))
    row = rows[0]
    if len(rows) != 1 or "datong_rows" not in row or any(f"datong_{name}" not in row for name in sums):
        return None
    return Totals(int(row["datong_rows"] or 0), {name: Decimal(str(row[f"datong_{name}"] or 0)) for name in sums})


def _key_literal(value: Any, edm: str, literal: Callable[[Any, pa.DataType], str]) -> str:
    return str(value) if edm == "Edm.Guid" else literal(value, _SIMPLE.get(edm, pa.decimal128(38, 18)))


def _first(page: JsonPage, names: tuple[str, ...], count: int) -> list[Any]:
    """For each row the first of some marks that it has."""
    columns = [page.marks[name] for name in names if name in page.marks]
    return [next((column[i] for column in columns if column[i] is not None), None) for i in range(count)]


def _is_gone(row: dict[str, Any]) -> bool:
    return any(name in row for name in _REMOVED) or any(
        str(row.get(name, "")).endswith(("/$deletedEntity", *_LINKS)) for name in _CONTEXTS
    )


def _instants(array: pa.Array) -> pa.Array:
    if array.type != pa.string():
        raise MisfitError("not text")
    try:
        return array.cast(UTC_TIMESTAMP)
    except pa.ArrowInvalid:
        # .NET writes seven digits of a second; a microsecond is the lake's finest
        return compute.replace_substring_regex(array, r"(\.\d{6})\d+", r"\1").cast(UTC_TIMESTAMP)
