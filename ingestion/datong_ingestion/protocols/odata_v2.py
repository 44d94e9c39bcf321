"""OData v2, as SAP Gateway serves it.

Reads: `SERVICE/EntitySet` below the base URL. Types, keys and precision come from the service's `$metadata`.
Pages: `d.__next` is followed as given. Changes: `d.__delta` with `!deltatoken`, also where the token arrives on
`__next` or only in `DeltaLinksOf<EntitySet>`; or a cursor field with `$filter` and an overlap.
Guards against: links and pages that repeat, an answer that is cut off or holds an error with status 200, a link to
another host, a lost token (a new baseline follows), values that do not fit their declared type.
From JSON (`/Date(ms)/`, numbers as texts) to Arrow pages. Alone: `python -m datong_ingestion erp`.

Sources: OData v2 (odata.org/documentation/odata-version-2-0), SAP Gateway "Delta Query Support", SAP ODP over OData.
"""

from __future__ import annotations

import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
import pyarrow as pa
from datong_platform.errors import ConfigurationError, PositionLostError, ProtocolError, SchemaError
from datong_platform.lake.columns import LOCAL_TIMESTAMP, UTC_TIMESTAMP, compute

from datong_ingestion import cursor
from datong_ingestion.connections.odata import ODataConnection
from datong_ingestion.http import HttpClient, RequestError, UnreadableBodyError, error_text
from datong_ingestion.json_pages import FastCast, JsonPage, JsonReader
from datong_ingestion.paging import EndGuard
from datong_ingestion.source import DELETE, INSERT, SNAPSHOT, UPDATE, Description, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig
from datong_ingestion.values import MisfitError, to_text, to_time

CHANGE_MODE = "ODQ_CHANGEMODE"
"""SAP's own field for what happened to a row: C, U or D."""
_CONTEXT, _ID = "@odata.context", "id"
_MARKS = (CHANGE_MODE, _CONTEXT, _ID)
_OPERATIONS = {"C": INSERT, "U": UPDATE, "D": DELETE}
_MODES: frozenset[Mode] = frozenset({"full", "cursor", "delta_token"})
_REFUSALS = (400, 404, 410)
_DAY_MS = 86_400_000
_LOST = re.compile(r"delta.?(token|link)", re.IGNORECASE)
_KEY_PREDICATE = re.compile(r"\((.*)\)\Z", re.DOTALL)
_KEY_PART = re.compile(r"(?:(\w+)=)?(?:(?:\w+)?'((?:[^']|'')*)'|([^',]+))(?:,|\Z)")

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


@dataclass(frozen=True)
class _Property:
    name: str
    edm: str
    kind: pa.DataType


@dataclass(frozen=True)
class _EntitySet:
    name: str
    keys: tuple[str, ...]
    properties: tuple[_Property, ...]


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def _attribute(element: ET.Element, name: str) -> str | None:
    """An attribute by its name, whatever its namespace (`sap:display-format`)."""
    return next((value for key, value in element.attrib.items() if _local(key) == name), None)


def _kind(element: ET.Element, thing: str) -> pa.DataType:
    edm = element.get("Type", "")
    if edm == "Edm.Decimal":
        precision, scale = element.get("Precision"), element.get("Scale")
        if precision is None:
            # a decimal without precision may hold any; this leaves 20 digits before the point and 18 behind it
            return pa.decimal128(38, int(scale) if scale and scale.isdigit() else 18)
        if not precision.isdigit() or not 1 <= int(precision) <= 38 or int(scale or 0) > int(precision):
            raise SchemaError(
                f"{thing}.{element.get('Name')}",
                f"is a decimal of precision {precision} and scale {scale} in $metadata, which nothing can hold.",
                "declare its type under `fields` in the entity's defs.yaml.",
            )
        return pa.decimal128(int(precision), int(scale or 0))
    if edm == "Edm.DateTime":
        return pa.date32() if _attribute(element, "display-format") == "Date" else LOCAL_TIMESTAMP
    # a complex type is kept whole, as JSON
    return _SIMPLE.get(edm, pa.string())


def parse_metadata(body: bytes, thing: str) -> dict[str, _EntitySet]:
    """The entity sets of a service's `$metadata` document, by name. UnreadableBodyError when it is not such a one."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise ProtocolError(thing, "$metadata declares a document type or entities, which is refused.")
    try:
        root = ET.fromstring(body)  # noqa: S314 document types and entities were refused above
    except ET.ParseError as error:
        raise UnreadableBodyError(f"$metadata is not XML ({error})") from error
    types: dict[str, ET.Element] = {}
    sets: list[tuple[str, str]] = []
    for schema in (element for element in root.iter() if _local(element.tag) == "Schema"):
        names = [name for name in (schema.get("Namespace"), schema.get("Alias")) if name]
        for element in schema.iter():
            if _local(element.tag) == "EntityType":
                types |= {f"{name}.{element.get('Name')}": element for name in names}
            elif _local(element.tag) == "EntitySet":
                sets.append((element.get("Name", ""), element.get("EntityType", "")))
    if not sets:
        raise UnreadableBodyError("$metadata names no entity set")

    def lineage(name: str) -> list[ET.Element]:
        element = types.get(name)
        if element is None:
            raise SchemaError(thing, f"$metadata names the type {name} and does not define it.", "ask its maker.")
        base = element.get("BaseType")
        return [*(lineage(base) if base and base != name else []), element]

    found: dict[str, _EntitySet] = {}
    for name, type_name in sets:
        elements = [child for element in lineage(type_name) for child in element]
        found[name] = _EntitySet(
            name,
            tuple(
                ref.get("Name", "") for key in elements if _local(key.tag) == "Key" for ref in key if ref.get("Name")
            ),
            tuple(
                _Property(item.get("Name", ""), item.get("Type", ""), _kind(item, f"{thing}.{name}"))
                for item in elements
                if _local(item.tag) == "Property"
            ),
        )
    return found


class ODataV2:
    """A connected OData v2 service root."""

    def __init__(self, system: SystemConfig) -> None:
        """Looks up address and credentials; ConfigurationError when one is not set. Makes no request."""
        declared = system.connection
        if not isinstance(declared, ODataConnection):
            raise ConfigurationError(f"system {system.system}", "has no OData connection.")
        connection = declared.resolved(f"system {system.system}")
        self.definition = system
        self.system = system.system
        self.connection = connection
        self.http = HttpClient(
            f"system {system.system}",
            connection.base_url,
            auth="basic" if connection.user else "none",
            user=connection.user,
            secret=connection.password,
            headers=connection.headers,
            params=connection.params,
            concurrency=connection.concurrency,
            timeout_seconds=connection.timeout_seconds,
            attempts=connection.attempts,
            max_wait_seconds=connection.max_wait_seconds,
            credentials=declared.names_of("user", "password") or "the user and the password",
        )
        self._services: dict[str, dict[str, _EntitySet]] = {}
        self._lock = threading.Lock()
        self._service_locks: dict[str, threading.Lock] = {}

    def close(self) -> None:
        """Close its connections."""
        self.http.close()

    def entities(self) -> list[str]:
        """The entity sets of the services that the definition names, as `SERVICE/EntitySet`."""
        services = dict.fromkeys(self._address(entity)[0] for entity in self.definition.entities)
        return [f"{service}/{name}" for service in services for name in self._service(service, self.http.thing)]

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """Schema and keys from `$metadata`; ConfigurationError when the service has no such entity set."""
        thing = self._thing(entity)
        service, name = self._address(entity)
        entity_set = self._set(service, name, thing)
        wanted = set(entity.select) | set(entity_set.keys)
        properties = [item for item in entity_set.properties if not entity.select or item.name in wanted]
        if missing := set(entity.select) - {item.name for item in properties}:
            raise ConfigurationError(
                thing,
                f"has no field {', '.join(sorted(missing))}, which `select` names.",
                f"choose from {', '.join(item.name for item in entity_set.properties)}.",
            )
        return Description(
            schema=pa.schema([(item.name, item.kind) for item in properties]),
            keys=entity_set.keys,
            cursors=tuple(item.name for item in properties if item.edm in {"Edm.DateTime", "Edm.DateTimeOffset"}),
            modes=_MODES,
        )

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        """Pages from a delta link or a cursor on, or everything."""
        thing = self._thing(entity)
        service, name = self._address(entity)
        entity_set = self._set(service, name, thing)
        root = self.http.below(f"{service}/")
        reader = self._reader(description.schema, entity_set, thing)
        guard = EndGuard(thing, by_content=bool(description.keys))
        delta = entity.mode == "delta_token"
        resuming = delta and position is not None
        params: dict[str, str] = {"$format": "json"}
        headers = {"Accept": "application/json", "Prefer": f"odata.maxpagesize={self.connection.page_size}"}
        if delta and position is not None:
            url = self.http.url(position, root)
        else:
            url = f"{root}{name}"
            params |= self._options(entity, description, position)
            if delta:
                headers["Prefer"] += ", odata.track-changes"
        latest = position
        first = True
        while True:
            page = self.http.fetch(
                self._answer(reader, thing),
                "GET",
                guard.link(url),
                thing=thing,
                params=params if first else {},
                headers=headers,
                accept=_REFUSALS if resuming and first else (),
            )
            guard.rows(page.rows)
            envelope: dict[str, Any] = page.envelope.get("d") or {}
            following, token = envelope.get("__next"), envelope.get("__delta")
            if not following and not token and delta:
                token = self._delta_link(service, name, thing)
            # a token on __next can be more rows of this read or the door to the next one: an empty page tells
            if following and delta and _has_token(following) and not len(page.rows):
                following, token = None, following
            reached = None
            if entity.mode == "cursor":
                latest = reached = cursor.later(latest, page.rows.column(entity.cursor))
            elif token:
                reached = self._position(token, root)
            rows, operations = self._operations(page, description, resuming)
            yield Page(rows, operations, page.rescued, page.unexpected, reached)
            if not following:
                return
            url, first = self.http.url(following, root), False

    def _position(self, token: str, root: str) -> str:
        """A delta link without the part that a move of the system would change."""
        link = self.http.url(token, root)
        parts = urlsplit(link)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        return link.removeprefix(root) if link.startswith(root) else path

    def _options(self, entity: EntityConfig, description: Description, position: str | None) -> dict[str, str]:
        options = dict(entity.params)
        if entity.select:
            options["$select"] = ",".join(description.schema.names)
        conditions = [entity.filter] if entity.filter else []
        if entity.mode == "cursor" and position is not None:
            kind = description.schema.field(entity.cursor).type
            bound = cursor.start(position, kind, entity.overlap_seconds)
            conditions.append(f"{entity.cursor} ge {_literal(bound, kind)}")
        if conditions:
            options["$filter"] = " and ".join(f"({text})" for text in conditions) if conditions[1:] else conditions[0]
        return options

    def _answer(self, reader: JsonReader, thing: str) -> Callable[[httpx.Response], JsonPage]:
        def answer(response: httpx.Response) -> JsonPage:
            if response.status_code not in _REFUSALS:
                return reader.parse(response.content)
            said = self.http.redact(error_text(response))
            if response.status_code == 410 or _LOST.search(said):
                raise PositionLostError(
                    thing, f"no longer knows the delta token ({response.status_code}{said}).", "a baseline follows."
                )
            raise RequestError(
                thing,
                f"refused the delta token: {response.status_code}{said}.",
                "see the reason given by the system; a new baseline (--baseline) asks for a new token.",
                status=response.status_code,
            )

        return answer

    def _reader(self, schema: pa.Schema, entity_set: _EntitySet, thing: str) -> JsonReader:
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

        def check(page: Any) -> None:
            if isinstance(page, dict) and "error" in page and "d" not in page:
                said = self.http.redact(error_text(httpx.Response(200, json=_plain(page))))
                raise ProtocolError(thing, f"answered 200 with an error{said}.", "see the reason given by the system.")

        return JsonReader(
            schema,
            [("d", "results"), ("d",)],
            converts=converts,
            fast_casts=fast,
            ignored=_is_about_the_row,
            marks=_MARKS,
            envelope_fields=("__next", "__delta", "__count"),
            check=check,
        )

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
            rows = _with_keys(rows, description, {i: str(ids[i]) for i in gone}, self.system)
            for i in gone:
                operations[i] = DELETE
        return rows, pa.array(operations, pa.string())

    def _delta_link(self, service: str, name: str, thing: str) -> str | None:
        """The newest token of `DeltaLinksOf<EntitySet>`, as a link; None when the service has no such set."""
        links = f"DeltaLinksOf{name}"
        if links not in self._service(service, thing):
            return None
        url = self.http.below(f"{service}/{links}")
        response = self.http.request("GET", url, thing=thing, params={"$format": "json"})
        found = response.json().get("d") or {}
        rows: list[dict[str, Any]] = found.get("results", []) if isinstance(found, dict) else found
        tokens = [row for row in rows if row.get("DeltaToken")]
        if not tokens:
            return None
        # tokens begin with their time, so the greatest is the newest
        newest = max(tokens, key=lambda row: (str(row.get("CreatedAt") or ""), str(row["DeltaToken"])))
        deferred = (newest.get("ChangesAfter") or {}).get("__deferred") or {}
        return deferred.get("uri") or f"{links}('{newest['DeltaToken']}')/ChangesAfter?$format=json"

    def _service(self, service: str, thing: str) -> dict[str, _EntitySet]:
        with self._lock:
            lock = self._service_locks.setdefault(service, threading.Lock())
        with lock:
            if service not in self._services:
                self._services[service] = self.http.fetch(
                    lambda response: parse_metadata(response.content, thing),
                    "GET",
                    self.http.below(f"{service}/$metadata"),
                    thing=thing,
                    headers={"Accept": "application/xml"},
                )
            return self._services[service]

    def _set(self, service: str, name: str, thing: str) -> _EntitySet:
        sets = self._service(service, thing)
        if name not in sets:
            raise ConfigurationError(
                thing, f"service {service} has no entity set {name}.", f"choose from {', '.join(sorted(sets))}."
            )
        return sets[name]

    def _address(self, entity: EntityConfig) -> tuple[str, str]:
        service, _, name = entity.source.rpartition("/")
        if not service or not name:
            raise ConfigurationError(
                self._thing(entity), "has a source that is not SERVICE/EntitySet.", "write it so in its defs.yaml."
            )
        return service, name

    def _thing(self, entity: EntityConfig) -> str:
        return f"{self.system}.{entity.name} ({entity.address})"


def _is_about_the_row(name: str, row: dict[str, Any]) -> bool:
    """Whether a field of a row is none of its data: a link, or what the gateway says about it."""
    if name in {"__metadata", CHANGE_MODE, _CONTEXT} or (name == _ID and _CONTEXT in row):
        return True
    value = row[name]
    return isinstance(value, dict) and ("__deferred" in value or "results" in value or "__metadata" in value)


def _plain(page: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) if isinstance(value, dict) else str(value) for name, value in page.items()}


def _has_token(link: str) -> bool:
    return any(name in {"!deltatoken", "$deltatoken"} for name, _ in parse_qsl(urlsplit(link).query))


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


def _milliseconds(array: pa.Array) -> pa.Array:
    if array.type != pa.string():
        raise MisfitError("not text")
    found = compute.extract_regex(array, r"^/Date\((?P<ms>-?\d{1,15})(?:[+-]\d{1,4})?\)/$")
    if found.null_count != array.null_count:
        raise MisfitError("not all are /Date(ms)/")
    return compute.struct_field(found, "ms").cast(pa.int64())


def _instants(array: pa.Array) -> pa.Array:
    return _locals(array).cast(pa.int64()).cast(UTC_TIMESTAMP)


def _locals(array: pa.Array) -> pa.Array:
    return _milliseconds(array).cast(pa.timestamp("ms")).cast(LOCAL_TIMESTAMP)


def _dates(array: pa.Array) -> pa.Array:
    milliseconds = _milliseconds(array)
    days = compute.divide(milliseconds, _DAY_MS)
    if compute.any(compute.not_equal(compute.multiply(days, _DAY_MS), milliseconds)).as_py():
        raise MisfitError("a date with a time of day")
    return days.cast(pa.int32()).cast(pa.date32())


def _times(array: pa.Array) -> pa.Array:
    if array.type != pa.string():
        raise MisfitError("not text")
    encoded = array.dictionary_encode()
    texts = pa.array([to_time(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)


def _with_keys(rows: pa.Table, description: Description, ids: dict[int, str], thing: str) -> pa.Table:
    """Rows with the keys of deleted entities filled in from their addresses, `…/Set(Key='1',Item='2')`."""
    columns = {name: rows.column(name).to_pylist() for name in description.keys}
    for row, text in ids.items():
        predicate = _KEY_PREDICATE.search(unquote(urlsplit(text).path))
        parts = _KEY_PART.findall(predicate[1]) if predicate else []
        values = {name or description.keys[0]: quoted.replace("''", "'") or bare for name, quoted, bare in parts}
        if set(values) != set(description.keys):
            raise ProtocolError(thing, f"tells of a deleted entity by {text!r}, which does not name its keys.")
        for name, value in values.items():
            columns[name][row] = value
    for name, values in columns.items():
        index = rows.schema.get_field_index(name)
        filled = pa.array([None if value is None else str(value) for value in values], pa.string())
        rows = rows.set_column(index, rows.schema.field(index), filled.cast(rows.schema.field(index).type))
    return rows
