"""What OData v2 and v4 share: metadata, paging by opaque links, delta links, key reads and the guards around them.

Reads an entity set below a service root. Pages follow the server's own link; a token or delta link ends a read.
Guards against: links and pages that repeat, a link to another host, a lost token (a new baseline follows), a link to
the next page that expired in the middle (the read begins anew), an answer cut off or holding an error with status 200.
From JSON to Arrow pages. What differs between the versions is in `odata_v2` and `odata_v4`.
"""

from __future__ import annotations

import re
import threading
import xml.etree.ElementTree as ET
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.parsers import expat

import httpx
import pyarrow as pa
from datong_platform.errors import ConfigurationError, PositionLostError, ProtocolError, SchemaError
from datong_platform.quality.compare import BY
from datong_platform.quality.windows import Totals, Window

from datong_ingestion import cursor
from datong_ingestion.connections.odata import ODataConnection
from datong_ingestion.http import HttpClient, RequestError, UnreadableBodyError, error_text
from datong_ingestion.json_pages import JsonPage, JsonReader
from datong_ingestion.paging import EndGuard
from datong_ingestion.source import Description, InterruptedReadError, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig

_MODES: frozenset[Mode] = frozenset({"full", "cursor", "delta_token"})
_REFUSALS = (400, 404, 410, 412)
_NOT_COUNTED = (400, 404, 405, 500, 501)
"""How services say that they have no `$count`, or not with such a filter."""
_LOST = re.compile(r"delta.?(token|link)|version ?stamp|full sync", re.IGNORECASE)
_KEY_PREDICATE = re.compile(r"\((.*)\)\Z", re.DOTALL)
_KEY_PART = re.compile(r"(?:(\w+)=)?(?:(?:\w+)?'((?:[^']|'')*)'|([^',]+))(?:,|\Z)")


@dataclass(frozen=True)
class Property:
    """A field of an entity type."""

    name: str
    edm: str
    kind: pa.DataType


@dataclass(frozen=True)
class EntitySet:
    """An entity set, or a collection that a navigation leads to."""

    name: str
    keys: tuple[str, ...]
    properties: tuple[Property, ...]
    navigations: Mapping[str, str]
    """Name of each navigation, and the entity type that it leads to."""


@dataclass(frozen=True)
class Action:
    """A function import of v2, or an action of v4: something that a service does when it is asked to."""

    name: str
    """What stands in its address: a bound action's name has its namespace."""
    method: str
    parameters: Mapping[str, str]
    """Name of each parameter, and its Edm type; the binding one left out."""
    is_bound: bool = False
    """It belongs to a record, and stands behind that record's address."""


@dataclass(frozen=True)
class Service:
    """What a service's `$metadata` says."""

    sets: Mapping[str, EntitySet]
    types: Mapping[str, EntitySet]
    functions: frozenset[str] = frozenset()
    actions: Mapping[str, Action] = field(default_factory=dict[str, Action])
    """By name, bound ones also without their namespace."""

    def at(self, path: str, thing: str) -> EntitySet:
        """The collection at a path such as `companies(1)/items`; ConfigurationError when there is none."""
        first, *rest = [part.partition("(")[0] for part in path.split("/")]
        if first not in self.sets:
            raise ConfigurationError(
                thing, f"the service has no entity set {first}.", f"choose from {', '.join(sorted(self.sets))}."
            )
        found = self.sets[first]
        for name in rest:
            target = self.types.get(found.navigations.get(name, ""))
            if target is None:
                raise ConfigurationError(
                    thing,
                    f"{found.name} has no navigation {name}.",
                    f"choose from {', '.join(sorted(found.navigations)) or 'its fields; it has none'}.",
                )
            found = target
        return found


def local(tag: str) -> str:
    """A tag without its namespace."""
    return tag.rsplit("}", 1)[-1]


def attribute(element: ET.Element, name: str) -> str | None:
    """An attribute by its name, whatever its namespace (`sap:display-format`)."""
    return next((value for key, value in element.attrib.items() if local(key) == name), None)


def decimal_kind(element: ET.Element, thing: str, *, unscaled: int) -> pa.DataType:
    """The type of an Edm.Decimal; `unscaled` is the scale of one that states a precision alone."""
    precision, scale = element.get("Precision"), element.get("Scale")
    if precision is None:
        # a decimal without precision may hold any; this leaves 20 digits before the point and 18 behind it
        return pa.decimal128(38, int(scale) if scale and scale.isdigit() else 18)
    if scale is not None and scale.lower() in {"variable", "floating"} and precision.isdigit():
        return pa.decimal128(38, 18)
    scale = str(unscaled) if scale is None else scale
    if not (precision.isdigit() and scale.isdigit()) or not 1 <= int(precision) <= 38 or int(scale) > int(precision):
        raise SchemaError(
            f"{thing}.{element.get('Name')}",
            f"is a decimal of precision {precision} and scale {scale} in $metadata, which nothing can hold.",
            "declare its type under `fields` in the entity's defs.yaml.",
        )
    return pa.decimal128(int(precision), int(scale))


def _check_no_document_type(body: bytes, thing: str) -> None:
    """ProtocolError where a parser meets a document type, in whatever encoding: UTF-16 or EBCDIC hide it from a search
    of the bytes."""

    def refuse(*_: object) -> None:
        raise ProtocolError(
            thing, "$metadata declares a document type or entities, which is refused.", "ask its maker."
        )

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(body, True)


def parse_service(body: bytes, thing: str, kind: Callable[[ET.Element, str], pa.DataType]) -> Service:
    """A service's `$metadata` document; `kind` gives a property's type. UnreadableBodyError when it is not such a one.

    ProtocolError for a document type or entities (XXE, billion laughs), SchemaError for a type that is not defined.
    """
    try:
        _check_no_document_type(body, thing)
        root = ET.fromstring(body)  # noqa: S314 document types and entities were refused above
    except (ET.ParseError, expat.ExpatError, LookupError, ValueError) as error:
        raise UnreadableBodyError(f"$metadata is not XML ({error})") from error
    types: dict[str, ET.Element] = {}
    associations: dict[tuple[str, str], str] = {}
    sets: list[tuple[str, str]] = []
    functions: set[str] = set()
    for schema in (element for element in root.iter() if local(element.tag) == "Schema"):
        names = [name for name in (schema.get("Namespace"), schema.get("Alias")) if name]
        for element in schema.iter():
            tag, name = local(element.tag), element.get("Name", "")
            if tag == "EntityType":
                types |= {f"{prefix}.{name}": element for prefix in names}
            elif tag == "EntitySet":
                sets.append((name, element.get("EntityType", "")))
            elif tag == "FunctionImport":
                functions.add(name)
            elif tag == "Association":
                for end in element:
                    if local(end.tag) == "End":
                        key = end.get("Role", "")
                        associations |= {(f"{prefix}.{name}", key): end.get("Type", "") for prefix in names}
    if not sets:
        raise UnreadableBodyError("$metadata names no entity set")

    def lineage(name: str) -> list[ET.Element]:
        found: list[ET.Element] = []
        seen: set[int] = set()
        while name:
            element = types.get(name)
            if element is None:
                raise SchemaError(thing, f"$metadata names the type {name} and does not define it.", "ask its maker.")
            if id(element) in seen:
                if found[-1] is element:
                    break
                raise SchemaError(thing, f"$metadata lets the type {name} be based on itself.", "ask its maker.")
            found.append(element)
            seen.add(id(element))
            name = element.get("BaseType") or ""
        return found[::-1]

    def target(navigation: ET.Element) -> str:
        if kind_of := navigation.get("Type"):
            return kind_of.removeprefix("Collection(").rstrip(")")
        return associations.get((navigation.get("Relationship", ""), navigation.get("ToRole", "")), "")

    def entity(name: str, type_name: str) -> EntitySet:
        elements = [child for element in lineage(type_name) for child in element]
        return EntitySet(
            name,
            tuple(ref.get("Name", "") for key in elements if local(key.tag) == "Key" for ref in key if ref.get("Name")),
            tuple(
                Property(item.get("Name", ""), item.get("Type", ""), kind(item, f"{thing}.{name}"))
                for item in elements
                if local(item.tag) == "Property"
            ),
            {item.get("Name", ""): target(item) for item in elements if local(item.tag) == "NavigationProperty"},
        )

    found = {name: entity(name, type_name) for name, type_name in sets}
    led_to = {type_name for item in found.values() for type_name in item.navigations.values() if type_name in types}
    reached: dict[str, EntitySet] = {}
    while led_to:
        name = led_to.pop()
        reached[name] = entity(name.rpartition(".")[2], name)
        led_to |= {other for other in reached[name].navigations.values() if other in types} - reached.keys()
    return Service(found, reached, frozenset(functions), _actions(root))


def _actions(root: ET.Element) -> dict[str, Action]:
    """Function imports of v2; actions of v4, bound ones and those that the container imports."""
    found: dict[str, Action] = {}
    imports: dict[str, str] = {}
    for schema in (element for element in root.iter() if local(element.tag) == "Schema"):
        namespace = schema.get("Namespace", "")
        for element in schema.iter():
            tag, name = local(element.tag), element.get("Name", "")
            parameters = {
                item.get("Name", ""): item.get("Type", "") for item in element if local(item.tag) == "Parameter"
            }
            if tag == "FunctionImport" and (method := attribute(element, "HttpMethod")):
                found[name] = Action(name, method.upper(), parameters)
            elif tag == "ActionImport":
                imports[element.get("Action", "")] = name
            elif tag == "Action" and element.get("IsBound", "").lower() == "true":
                bound = Action(f"{namespace}.{name}", "POST", dict(list(parameters.items())[1:]), is_bound=True)
                found |= {bound.name: bound, name: bound}
            elif tag == "Action":
                found[f"{namespace}.{name}"] = Action(name, "POST", parameters)
    for full, name in imports.items():
        if full in found:
            found[name] = Action(name, "POST", found[full].parameters)
    return found


class OData(ABC):
    """A connected OData service root."""

    headers: Mapping[str, str] = {"Accept": "application/json"}
    params: Mapping[str, str] = {}
    counting: Mapping[str, str] = {}
    """What asks for the number of all rows with the first page."""

    def __init__(self, system: SystemConfig) -> None:
        """Looks up address and credentials; ConfigurationError when one is not set. Makes no request."""
        declared = system.connection
        if not isinstance(declared, ODataConnection):
            raise ConfigurationError(f"system {system.system}", "has no OData connection.")
        self.definition, self.system = system, system.system
        self.connection = declared.resolved(f"system {system.system}")
        self.http = HttpClient.of(f"system {system.system}", self.connection, declared)
        self._services: dict[str, Service] = {}
        self._uncounted: set[str] = set()
        self._lock = threading.Lock()
        self._service_locks: dict[str, threading.Lock] = {}

    def close(self) -> None:
        """Close its connections."""
        self.http.close()

    def entities(self) -> list[str]:
        """The entity sets of the services that the definition names, as their addresses."""
        services = dict.fromkeys(self.address(entity)[0] for entity in self.definition.entities)
        return [
            f"{service}/{name}" if service else name
            for service in services
            for name in self.service(service, self.http.thing).sets
        ]

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """Schema and keys from `$metadata`; ConfigurationError when the service has no such entity set."""
        thing = self.thing(entity)
        entity_set = self.entity_set(entity)
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
        """Pages from a delta link or a cursor on, or everything; at the end the key set, where it is compared."""
        thing = self.thing(entity)
        service, path = self.address(entity)
        entity_set = self.entity_set(entity)
        root = self.root(service)
        delta = entity.mode == "delta_token"
        resuming = delta and position is not None
        reader = self.reader(description.schema, entity_set, thing, resuming=resuming)
        guard = EndGuard(thing, by_content=bool(description.keys))
        params: dict[str, str] = dict(self.params)
        headers = {**self.headers, "Prefer": f"odata.maxpagesize={self.connection.page_size}"}
        if delta and position is not None:
            self.still_known(entity, position)
            url = self.http.url(position, root)
        else:
            url = f"{root}{path}"
            params |= self._options(entity, description, position)
            if delta:
                headers["Prefer"] += ", odata.track-changes"

        def fetch(link: str, asked: Mapping[str, str], *, first: bool) -> JsonPage:
            return self.http.fetch(
                self._answer(reader, thing, resuming=resuming and first),
                "GET",
                link,
                thing=thing,
                params=asked,
                headers=headers,
                accept=_REFUSALS if resuming and first else () if first else (410,),
            )

        latest, received = position, 0
        guard.link(url)
        page, wanted = self._begun(entity, params, lambda asked: fetch(url, asked, first=True))
        while True:
            received += len(page.rows)
            guard.rows(page.rows, description.keys)
            following, token = self.links(page, entity)
            reached = None
            if entity.mode == "cursor":
                latest = reached = cursor.later(latest, page.rows.column(entity.cursor))
            elif token:
                reached = self._position(token, root)
            yield from self.pages(entity, description, page, reached, resuming=resuming)
            if not following:
                break
            page = fetch(guard.link(self.http.url(following, root)), {}, first=False)
        if received < wanted:
            # a link that counts rows (SAP's own do) leads a row too far for each that was deleted before its place
            raise InterruptedReadError(
                thing,
                f"gave {received} of the {wanted} rows that it counted when the read began, as if some were deleted.",
                "run again; if it persists, it counts rows that it does not give: then say `count: false` in its "
                "connection, and compare the rows with `datong reconcile`.",
            )
        if entity.detect_deletes:
            yield from self._keys(entity, description)

    def _begun(
        self, entity: EntityConfig, params: Mapping[str, str], fetch: Callable[[Mapping[str, str]], JsonPage]
    ) -> tuple[JsonPage, int]:
        """The first page, and how many rows there are in all, as far as the service tells."""
        # a count takes no notice of $top and $skip, and a delta is none
        counts = self.connection.count and entity.mode != "delta_token" and not {"$top", "$skip"} & {*params}
        if counts and entity.address not in self._uncounted:
            try:
                page = fetch({**params, **self.counting})
                return page, self.counted(page)
            except RequestError:
                # whatever it refuses, it is asked without the count, and refuses in its own words
                self._uncounted.add(entity.address)
        return fetch(params), 0

    def reconciles(self, entity: EntityConfig, description: Description, window: Window) -> bool:
        """Whether the service counts the rows of such a window: it is asked once, and can refuse."""
        return self._count(entity, description, window) is not None

    def totals(
        self, entity: EntityConfig, description: Description, windows: Sequence[Window], sums: Sequence[str]
    ) -> list[Totals]:
        """Counts by `$count`; with sums where the version has `$apply` and the service allows it."""
        return [self.total(entity, description, window, sums) for window in windows]

    def total(self, entity: EntityConfig, description: Description, window: Window, sums: Sequence[str]) -> Totals:
        """The totals of one window. ProtocolError when the service no longer counts."""
        rows = self._count(entity, description, window)
        if rows is None:
            raise ProtocolError(
                self.thing(entity),
                f"refuses to count where {window}.",
                "leave it out by `reconcile.off`, or by a field.",
            )
        return Totals(rows)

    def listed(
        self, entity: EntityConfig, description: Description, window: Window, fields: Sequence[str]
    ) -> Iterator[pa.Table]:
        """Keys and fields of a window's rows, by `$select` and `$filter`."""
        names: list[str] = list(dict.fromkeys([*description.keys, *fields, *([window.by] if window.by else [])]))
        condition = self.condition(entity, description, window)
        for rows in self._selected(entity, description, names, condition, by_content=bool(description.keys)):
            by = rows.column(window.by) if window.by else pa.nulls(len(rows))
            yield rows.select(list(dict.fromkeys([*description.keys, *fields]))).append_column(BY, by)

    def condition(self, entity: EntityConfig, description: Description, window: Window) -> str:
        """The `$filter` of a window, the entity's own kept; empty for none."""
        parts = [entity.filter] if entity.filter else []
        if window.is_null:
            parts.append(f"{window.by} eq null")
        elif window.by:
            kind = description.schema.field(window.by).type
            if window.low is not None:
                parts.append(f"{window.by} ge {self.literal(window.low, kind)}")
            if window.high is not None:
                parts.append(f"{window.by} lt {self.literal(window.high, kind)}")
            if window.low is None and window.high is None:
                parts.append(f"{window.by} ne null")
        return " and ".join(f"({text})" for text in parts) if parts[1:] else "".join(parts)

    def _count(self, entity: EntityConfig, description: Description, window: Window) -> int | None:
        """`$count` of a window; None when the service refuses it."""
        service, path = self.address(entity)
        params = dict(entity.params)
        if condition := self.condition(entity, description, window):
            params["$filter"] = condition
        response = self.http.request(
            "GET",
            f"{self.root(service)}{path}/$count",
            thing=self.thing(entity),
            params=params,
            headers={**self.headers, "Accept": "text/plain, */*"},
            accept=_NOT_COUNTED,
        )
        text = response.text.strip().lstrip("\ufeff")
        return int(text) if response.status_code == 200 and text.isdigit() else None

    def _keys(self, entity: EntityConfig, description: Description) -> Iterator[Page]:
        """The keys of all that exists now."""
        if not description.keys:
            raise ConfigurationError(
                self.thing(entity), "has no key to compare.", "name its `keys`, or leave out detect_deletes."
            )
        for rows in self._selected(entity, description, list(description.keys), entity.filter, by_content=True):
            yield Page(description.schema.empty_table(), keys=rows)

    def _selected(
        self, entity: EntityConfig, description: Description, names: Sequence[str], condition: str, *, by_content: bool
    ) -> Iterator[pa.Table]:
        """Some fields of the rows that meet a condition."""
        thing = self.thing(entity)
        service, path = self.address(entity)
        root = self.root(service)
        schema = pa.schema([description.schema.field(name) for name in names])
        reader = self.reader(schema, self.entity_set(entity), thing, resuming=False)
        guard = EndGuard(thing, by_content=by_content)
        params = {**self.params, **entity.params, "$select": ",".join(names)}
        if condition:
            params["$filter"] = condition
        headers = {**self.headers, "Prefer": f"odata.maxpagesize={self.connection.page_size}"}
        url, first = f"{root}{path}", True
        while True:
            page = self.http.fetch(
                self._answer(reader, thing, resuming=False),
                "GET",
                guard.link(url),
                thing=thing,
                params=params if first else {},
                headers=headers,
                accept=() if first else (410,),
            )
            guard.rows(page.rows)
            yield page.rows
            following = self.links(page, entity.model_copy(update={"mode": "full"}))[0]
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
            conditions.append(f"{entity.cursor} ge {self.literal(bound, kind)}")
        if conditions:
            options["$filter"] = " and ".join(f"({text})" for text in conditions) if conditions[1:] else conditions[0]
        return options

    def _answer(self, reader: JsonReader, thing: str, *, resuming: bool) -> Callable[[httpx.Response], JsonPage]:
        def answer(response: httpx.Response) -> JsonPage:
            if response.status_code not in _REFUSALS:
                return reader.parse(response.content)
            said = self.http.redact(error_text(response))
            if not resuming:
                raise InterruptedReadError(
                    thing, f"no longer knows the link to the next page ({response.status_code}{said}).", "run again."
                )
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

    def counted(self, page: JsonPage) -> int:
        """The number of all rows that a page tells; 0 when it tells none."""
        told = (page.envelope.get("d") or {}).get("__count") if isinstance(page.envelope.get("d"), dict) else None
        told = told or page.envelope.get("@odata.count") or page.envelope.get("@count")
        return int(str(told)) if str(told).isdigit() else 0

    def checked(self, page: Any, thing: str, data: str) -> None:
        """ProtocolError when a page of status 200 holds an error in the place of `data`."""
        if isinstance(page, dict) and "error" in page and data not in page:
            said = self.http.redact(error_text(httpx.Response(200, json=_plain(page))))
            raise ProtocolError(thing, f"answered 200 with an error{said}.", "see the reason given by the system.")

    def service(self, service: str, thing: str) -> Service:
        """What a service's `$metadata` says; read once."""
        with self._lock:
            lock = self._service_locks.setdefault(service, threading.Lock())
        with lock:
            if service not in self._services:
                self._services[service] = self.http.fetch(
                    lambda response: parse_service(response.content, thing, self.kind),
                    "GET",
                    f"{self.root(service)}$metadata",
                    thing=thing,
                    headers={**self.headers, "Accept": "application/xml"},
                )
            return self._services[service]

    def entity_set(self, entity: EntityConfig) -> EntitySet:
        """What the metadata says of an entity."""
        service, path = self.address(entity)
        return self.service(service, self.thing(entity)).at(path, self.thing(entity))

    def root(self, service: str) -> str:
        """The address of a service, with a slash at its end."""
        return f"{self.http.below(service).rstrip('/')}/"

    def thing(self, entity: EntityConfig) -> str:
        """The entity, in the words of messages."""
        return f"{self.system}.{entity.name} ({entity.address})"

    def still_known(self, entity: EntityConfig, position: str) -> None:
        """PositionLostError when the system can tell, before it is asked, that it no longer knows a token."""
        return

    @abstractmethod
    def kind(self, element: ET.Element, thing: str) -> pa.DataType:
        """The type of a property."""

    @abstractmethod
    def address(self, entity: EntityConfig) -> tuple[str, str]:
        """The service of an entity, below the base URL, and the path of its collection in there."""

    @abstractmethod
    def reader(self, schema: pa.Schema, entity_set: EntitySet, thing: str, *, resuming: bool) -> JsonReader:
        """What reads the pages."""

    @abstractmethod
    def links(self, page: JsonPage, entity: EntityConfig) -> tuple[str | None, str | None]:
        """The link to the next page, and the delta link."""

    @abstractmethod
    def pages(
        self, entity: EntityConfig, description: Description, page: JsonPage, reached: str | None, *, resuming: bool
    ) -> Iterator[Page]:
        """A page as the rest knows it, with what happened to each row."""

    @abstractmethod
    def literal(self, value: Any, kind: pa.DataType) -> str:
        """A value in a `$filter`."""


def _plain(page: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) if isinstance(value, dict) else str(value) for name, value in page.items()}


def with_keys(rows: pa.Table, keys: tuple[str, ...], ids: dict[int, str], thing: str) -> pa.Table:
    """Rows with the keys of deleted entities filled in from their addresses, `…/Set(Key='1',Item='2')`.

    An id that is no address is the key itself (Dynamics 365). ProtocolError when an id does not name the keys.
    """
    columns = {name: rows.column(name).to_pylist() for name in keys}
    for row, text in ids.items():
        predicate = _KEY_PREDICATE.search(unquote(urlsplit(text).path))
        parts = _KEY_PART.findall(predicate[1]) if predicate else []
        values = {name or keys[0]: quoted.replace("''", "'") or bare for name, quoted, bare in parts}
        if not predicate and len(keys) == 1 and "/" not in text:
            values = {keys[0]: text}
        if set(values) != set(keys):
            raise ProtocolError(thing, f"tells of a deleted entity by {text!r}, which does not name its keys.")
        for name, value in values.items():
            columns[name][row] = value
    for name, values in columns.items():
        index = rows.schema.get_field_index(name)
        filled = pa.array([None if value is None else str(value) for value in values], pa.string())
        rows = rows.set_column(index, rows.schema.field(index), filled.cast(rows.schema.field(index).type))
    return rows
