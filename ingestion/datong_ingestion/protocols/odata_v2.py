"""OData v2, as SAP Gateway serves it.

Reads: `SERVICE/EntitySet` below the base URL. Types, keys and precision come from the service's `$metadata`.
Pages: `d.__next` is followed as given. Changes: `d.__delta` with `!deltatoken`, also where the token arrives on
`__next` or only in `DeltaLinksOf<EntitySet>`; or a cursor field with `$filter` and an overlap.
Guards against: what `odata` names; a subscription that someone ended, whose "delta" is all rows and looks right; a
token that the system no longer lists; values that do not fit their declared type.
From JSON (`/Date(ms)/`, numbers as texts) to Arrow pages. Alone: `python -m datong_ingestion erp`.

Sources: OData v2 (odata.org/documentation/odata-version-2-0), SAP Gateway "Delta Query Support", SAP ODP over OData.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np
import pyarrow as pa
from datong_platform.errors import ConfigurationError, PositionLostError
from datong_platform.lake.columns import LOCAL_TIMESTAMP, UTC_TIMESTAMP, compute

from datong_ingestion.json_pages import FastCast, JsonPage, JsonReader
from datong_ingestion.protocols.odata import EntitySet, OData, attribute, decimal_kind, parse_service, with_keys
from datong_ingestion.source import DELETE, INSERT, SNAPSHOT, UPDATE, Description, Page
from datong_ingestion.systems_config import EntityConfig
from datong_ingestion.values import MisfitError, in_calendar, to_text, to_time

CHANGE_MODE = "ODQ_CHANGEMODE"
"""SAP's own field for what happened to a row: C, U or D."""
_CONTEXT, _ID = "@odata.context", "id"
_MARKS = (CHANGE_MODE, _CONTEXT, _ID)
_OPERATIONS = {"C": INSERT, "U": UPDATE, "D": DELETE}
_DAY_MS = 86_400_000
_BEGIN = np.frombuffer(b"/Date(", np.uint8)
_DIGITS = 15
"""Digits of milliseconds up to which a calendar has the time."""

_SIMPLE: dict[str, pa.DataType] = {
    "Edm.String": pa.string(),
    "Edm.Guid": pa.string(),
    "Edm.Time": pa.string(),
    "Edm.Boolean": pa.bool_(),
    "Edm.Byte": pa.int16(),
    "Edm.SByte": pa.int16(),
    "Edm.Int16": pa.int16(),
    "Edm.Int32": pa.int32(),
    "Edm.Int64": pa.int64(),
    "Edm.Single": pa.float32(),
    "Edm.Double": pa.float64(),
    "Edm.Binary": pa.binary(),
    "Edm.DateTimeOffset": UTC_TIMESTAMP,
}


def _kind(element: ET.Element, thing: str) -> pa.DataType:
    edm = element.get("Type", "")
    if edm == "Edm.Decimal":
        return decimal_kind(element, thing, unscaled=0)
    if edm == "Edm.DateTime":
        return pa.date32() if attribute(element, "display-format") == "Date" else LOCAL_TIMESTAMP
    # a complex type is kept whole, as JSON
    return _SIMPLE.get(edm, pa.string())


def parse_metadata(body: bytes, thing: str) -> Mapping[str, EntitySet]:
    """The entity sets of a service's `$metadata` document, by name. UnreadableBodyError when it is not such a one."""
    return parse_service(body, thing, _kind).sets


class ODataV2(OData):
    """A connected OData v2 service root."""

    params = {"$format": "json"}  # noqa: RUF012 typed as a mapping by its base
    counting = {"$inlinecount": "allpages"}  # noqa: RUF012

    def kind(self, element: ET.Element, thing: str) -> pa.DataType:
        return _kind(element, thing)

    def address(self, entity: EntityConfig) -> tuple[str, str]:
        service, _, name = entity.source.rpartition("/")
        if not service or not name:
            raise ConfigurationError(
                self.thing(entity), "has a source that is not SERVICE/EntitySet.", "write it so in its defs.yaml."
            )
        return service, name

    def links(self, page: JsonPage, entity: EntityConfig) -> tuple[str | None, str | None]:
        envelope: dict[str, Any] = page.envelope.get("d") or {}
        following, token = envelope.get("__next"), envelope.get("__delta")
        if entity.mode != "delta_token":
            return following, token
        if not following and not token and (links := self._delta_links(entity)):
            # tokens begin with their time, so the greatest is the newest
            row = max(links, key=lambda row: (str(row.get("CreatedAt") or ""), str(row["DeltaToken"])))
            deferred = (row.get("ChangesAfter") or {}).get("__deferred") or {}
            name = f"DeltaLinksOf{self.address(entity)[1]}"
            token = deferred.get("uri") or f"{name}('{row['DeltaToken']}')/ChangesAfter?$format=json"
        # a token on __next can be more rows of this read or the door to the next one: an empty page tells
        if following and _token(following) and not len(page.rows):
            following, token = None, following
        return following, token

    def still_known(self, entity: EntityConfig, position: str) -> None:
        service = self.service(self.address(entity)[0], self.thing(entity))
        name = self.address(entity)[1]
        token = _token(position)
        if token is None or f"DeltaLinksOf{name}" not in service.sets:
            return
        listed = {str(row["DeltaToken"]) for row in self._delta_links(entity) or []}
        if token not in listed:
            raise PositionLostError(
                self.thing(entity),
                f"no longer lists the delta token among those of DeltaLinksOf{name}: someone ended the subscription.",
                "a baseline follows, and with it a new subscription.",
            )

    def _delta_links(self, entity: EntityConfig) -> list[dict[str, Any]] | None:
        """The rows of `DeltaLinksOf<EntitySet>` that have a token; None when the service has no such set."""
        service, name = self.address(entity)
        links = f"DeltaLinksOf{name}"
        if links not in self.service(service, self.thing(entity)).sets:
            return None
        url = self.http.below(f"{service}/{links}")
        response = self.http.request("GET", url, thing=self.thing(entity), params={"$format": "json"})
        found = response.json().get("d") or {}
        rows: list[dict[str, Any]] = found.get("results", []) if isinstance(found, dict) else found
        return [row for row in rows if row.get("DeltaToken")]

    def reader(self, schema: pa.Schema, entity_set: EntitySet, thing: str, *, resuming: bool) -> JsonReader:
        converts: dict[str, Callable[[Any], Any]] = {}
        fast: dict[str, FastCast] = {}
        for item in entity_set.properties:
            if item.name not in schema.names or schema.field(item.name).type != item.kind:
                continue
            if item.edm == "Edm.Time":
                converts[item.name], fast[item.name] = to_time, _times
            elif item.kind == pa.date32():
                fast[item.name] = _dates
            elif pa.types.is_timestamp(item.kind):
                fast[item.name] = _instants if item.kind.tz else _locals
            elif item.edm not in _SIMPLE and item.kind == pa.string():
                converts[item.name] = to_text
        return JsonReader(
            schema,
            [("d", "results"), ("d",)],
            converts=converts,
            fast_casts=fast,
            ignored=_is_about_the_row,
            marks=_MARKS,
            envelope_fields=("__next", "__delta", "__count"),
            check=lambda page: self.checked(page, thing, "d"),
        )

    def pages(
        self, entity: EntityConfig, description: Description, page: JsonPage, reached: str | None, *, resuming: bool
    ) -> Iterator[Page]:
        names = {item.name for item in self.entity_set(entity).properties}
        told = any(page.marks.get(CHANGE_MODE) or []) or any(page.marks.get(_CONTEXT) or [])
        if resuming and CHANGE_MODE in names and len(page.rows) and not told:
            raise PositionLostError(
                self.thing(entity),
                f"answered the delta token with rows that have no {CHANGE_MODE}: a full extract that only looks like a "
                "delta, as SAP gives it when a forced full load ended the subscription or a token is not its own.",
                "a baseline follows, and with it a new subscription.",
            )
        rows, operations = self._operations(page, description, resuming)
        yield Page(rows, operations, page.rescued, page.unexpected, reached)

    def _operations(self, page: JsonPage, description: Description, resuming: bool) -> tuple[pa.Table, Any]:
        if not page.marks:
            return page.rows, None
        usual = UPDATE if resuming else SNAPSHOT
        count = len(page.rows)
        modes: list[Any] = page.marks.get(CHANGE_MODE) or [None] * count
        operations = [_OPERATIONS.get(mode or "", usual) if resuming or mode == "D" else usual for mode in modes]
        rows = page.rows
        contexts: list[Any] = page.marks.get(_CONTEXT) or [None] * count
        gone = [i for i, text in enumerate(contexts) if isinstance(text, str) and text.endswith("/$deletedEntity")]
        if gone:
            ids = page.marks.get(_ID) or [None] * count
            rows = with_keys(rows, description.keys, {i: str(ids[i]) for i in gone}, self.system)
            for i in gone:
                operations[i] = DELETE
        return rows, pa.array(operations, pa.string())

    def literal(self, value: Any, kind: pa.DataType) -> str:
        return _literal(value, kind)


def _is_about_the_row(name: str, row: dict[str, Any]) -> bool:
    """Whether a field of a row is none of its data: a link, or what the gateway says about it."""
    if name in {"__metadata", CHANGE_MODE, _CONTEXT} or (name == _ID and _CONTEXT in row):
        return True
    value = row[name]
    return isinstance(value, dict) and ("__deferred" in value or "results" in value or "__metadata" in value)


def _token(link: str) -> str | None:
    """The delta token in a link, also where it is the key of `DeltaLinksOf<EntitySet>`."""
    parts = urlsplit(link)
    if "DeltaLinksOf" in parts.path:
        return unquote(parts.path).partition("('")[2].partition("')")[0] or None
    found = {name: value for name, value in parse_qsl(parts.query) if name in {"!deltatoken", "$deltatoken"}}
    return next(iter(found.values())).strip("'") if found else None


def _literal(value: Any, kind: pa.DataType) -> str:
    """A value in a `$filter` (OData v2, "Abstract Type System")."""
    if pa.types.is_timestamp(kind) and kind.tz:
        return f"datetimeoffset'{value.strftime('%Y-%m-%dT%H:%M:%S')}Z'"
    if pa.types.is_temporal(kind):
        return f"datetime'{value.strftime('%Y-%m-%dT%H:%M:%S')}'"
    if pa.types.is_integer(kind):
        return f"{value}L" if kind == pa.int64() else str(value)
    if pa.types.is_decimal(kind):
        return f"{value}M"
    return "'{}'".format(str(value).replace("'", "''"))


def milliseconds(array: pa.Array) -> pa.Array:
    """The milliseconds since 1970 of a column of `/Date(ms)/`; MisfitError or ArrowInvalid when one is none."""
    if array.type != pa.string():
        raise MisfitError("not text")
    if not len(array) or array.null_count == len(array):
        return array.cast(pa.int64())
    if (found := _of_one_form(array)) is not None:
        return found
    # of different lengths, but still without a pattern, which is several times as slow
    for end in ("+0000)/", ")/"):
        right = compute.and_(compute.starts_with(array, "/Date("), compute.ends_with(array, end))
        if compute.all(right).as_py():
            try:
                inner = compute.utf8_slice_codeunits(array, start=6, stop=-len(end))
                if compute.any(compute.match_substring(inner, "x", ignore_case=True)).as_py():
                    raise MisfitError("a hexadecimal number")
                found = inner.cast(pa.int64())
                bounds = compute.min_max(found).as_py()
                if max(-bounds["min"], bounds["max"]) >= 10**15:
                    raise MisfitError("no time that a calendar has")
                return found
            except pa.ArrowInvalid:
                break
    found = compute.extract_regex(array, r"^/Date\((?P<ms>-?\d{1,15})(?:[+-]\d{1,4})?\)/$")
    if found.null_count != array.null_count:
        raise MisfitError("not all are /Date(ms)/")
    return compute.struct_field(found, "ms").cast(pa.int64())


def _of_one_form(array: pa.Array) -> pa.Array | None:
    """Texts as SAP writes them, all of one length, read from their bytes at once; None where they are not so."""
    texts = array.drop_null() if array.null_count else array
    _, offsets, content = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    length = int(ends[1] - ends[0])
    if content is None or not (np.diff(ends) == length).all():
        return None
    table = np.frombuffer(content, np.uint8)[int(ends[0]) : int(ends[-1])].reshape(-1, length)
    form = table[0].tobytes()
    end = next((end for end in (b"+0000)/", b")/") if form.endswith(end)), b"")
    first, last = len(_BEGIN), length - len(end)
    if not end or not 0 < last - first <= _DIGITS:
        return None
    if not ((table[:, :first] == _BEGIN).all() and (table[:, last:] == np.frombuffer(end, np.uint8)).all()):
        return None
    digits = table[:, first:last] - np.uint8(ord("0"))
    if (digits > 9).any():
        return None
    # fifteen digits are exact in a double, and only doubles are multiplied fast
    numbers = (digits.astype(np.float64) @ (10.0 ** np.arange(last - first - 1, -1, -1))).astype(np.int64)
    if texts is array:
        return pa.array(numbers)
    there = array.is_valid()
    places = compute.cumulative_sum(there.cast(pa.int64()))
    return pa.array(numbers).take(compute.if_else(there, compute.subtract(places, 1), None))


def _instants(array: pa.Array) -> pa.Array:
    return _locals(array).cast(pa.int64()).cast(UTC_TIMESTAMP)


def _locals(array: pa.Array) -> pa.Array:
    return in_calendar(milliseconds(array).cast(pa.timestamp("ms"))).cast(LOCAL_TIMESTAMP)


def _dates(array: pa.Array) -> pa.Array:
    moments = milliseconds(array)
    days = compute.divide(moments, _DAY_MS)
    if compute.any(compute.not_equal(compute.multiply(days, _DAY_MS), moments)).as_py():
        raise MisfitError("a date with a time of day")
    return in_calendar(days.cast(pa.int32()).cast(pa.date32()))


def _times(array: pa.Array) -> pa.Array:
    if array.type != pa.string():
        raise MisfitError("not text")
    encoded = array.dictionary_encode()
    texts = pa.array([to_time(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)
