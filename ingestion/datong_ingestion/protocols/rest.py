"""REST and JSON: lists of a web service, as an MES or a CRM offers them.

Reads: a path below the base URL that answers with a list of objects, somewhere in an envelope.
Pages: by next cursor, page number, offset, Link header (RFC 8288) or next link, as the definition says.
Changes: a cursor field with `updated_since` and an overlap.
Guards against: cursors and pages that repeat, a page size that the server cuts (reading ends at an empty page, not at
a short one), errors told with status 200, an answer that is cut off, values and fields that were not agreed.
From JSON to Arrow pages; the fields' types are declared in `defs.yaml`, or else guessed at the first read and kept.
Alone: `python -m datong_ingestion mes`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pyarrow as pa
from datong_platform.errors import ConfigurationError, ProtocolError
from datong_platform.lake.columns import parse_type

from datong_ingestion import cursor
from datong_ingestion.connections.rest import RestConnection
from datong_ingestion.http import HttpClient, UnreadableBodyError
from datong_ingestion.json_pages import JsonPage, JsonReader
from datong_ingestion.paging import EndGuard
from datong_ingestion.source import Description, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig
from datong_ingestion.values import Number, to_text

_MODES: frozenset[Mode] = frozenset({"full", "cursor"})
_GUESSED_DECIMAL = pa.decimal128(38, 9)


@dataclass
class _Answer:
    page: JsonPage
    next_link: str | None


class Rest:
    """A connected JSON API."""

    def __init__(self, system: SystemConfig) -> None:
        """Looks up address and credentials; ConfigurationError when one is not set. Makes no request."""
        declared = system.connection
        if not isinstance(declared, RestConnection):
            raise ConfigurationError(f"system {system.system}", "has no REST connection.")
        connection = declared.resolved(f"system {system.system}")
        self.definition, self.system, self.connection = system, system.system, connection
        self.http = HttpClient.of(f"system {system.system}", connection, declared)

    def close(self) -> None:
        """Close its connections."""
        self.http.close()

    def entities(self) -> list[str]:
        """The paths that the definition names: a plain JSON API does not tell what it offers."""
        return [entity.source for entity in self.definition.entities]

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """The declared schema, else that of the bronze table, else a guess from the first page."""
        if entity.fields:
            schema = pa.schema([(name, parse_type(kind)) for name, kind in entity.fields.items()])
        elif known is not None:
            schema = known
        else:
            schema = self._guess(entity)
        return Description(
            schema=schema,
            keys=tuple(entity.keys),
            cursors=tuple(item.name for item in schema if pa.types.is_temporal(item.type)),
            modes=_MODES,
            inferred=not entity.fields,
        )

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        """Pages from a cursor on, or everything."""
        thing = self._thing(entity)
        paging = self.connection.paging
        guard = EndGuard(thing, by_content=bool(description.keys))
        reader = self._reader(entity, description.schema, thing)
        params = self._params(entity, description, position)
        url = self.http.below(entity.source)
        latest, received, total = position, 0, None
        number, following = paging.first_page, ""
        while True:
            asked = dict(params)
            if paging.style == "page":
                asked[paging.page_param] = str(number)
            elif paging.style == "offset":
                asked[paging.offset_param] = str(received)
            elif paging.style == "next_cursor" and following:
                asked[paging.cursor_param] = following
            # a link stands for itself: the parameters of the first request are in it
            linked = paging.style in {"next_link", "link_header"} and following
            guard.link(following or "the first page")
            answer = self.http.fetch(
                self._answer(reader),
                "GET",
                self.http.url(following, url) if linked else url,
                thing=thing,
                params={} if linked else asked,
                headers={"Accept": "application/json"},
            )
            page = answer.page
            guard.rows(page.rows)
            received, number = received + len(page.rows), number + 1
            if entity.mode == "cursor":
                latest = cursor.later(latest, page.rows.column(entity.cursor))
            yield Page(
                page.rows,
                rescued=page.rescued,
                unexpected=page.unexpected,
                position=latest if entity.mode == "cursor" else None,
            )
            total = _number(_at(page.envelope, paging.total_path)) if paging.total_path else None
            following = self._next(answer, number, received, total)
            if not following:
                break
        if total is not None and received < total:
            raise ProtocolError(
                thing,
                f"gave {received} of the {total} rows that it counts.",
                "run again; if it persists, its paging loses rows: use another style or a smaller limit.",
            )

    def _next(self, answer: _Answer, number: int, received: int, total: int | None) -> str:
        """What leads to the next page, or nothing at the end."""
        paging, envelope = self.connection.paging, answer.page.envelope
        if paging.style in {"page", "offset"}:
            more = received < total if total is not None else True
            return f"page {number} from row {received}" if len(answer.page.rows) and more else ""
        if paging.style == "link_header":
            return answer.next_link or ""
        if paging.style == "none":
            return ""
        value = _at(envelope, paging.next_path)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return "" if value is None or value is False else str(value)

    def _params(self, entity: EntityConfig, description: Description, position: str | None) -> dict[str, str]:
        paging = self.connection.paging
        params = dict(entity.params)
        if paging.style != "none" and paging.limit_param:
            params[paging.limit_param] = str(paging.limit)
        if entity.mode == "cursor" and position is not None:
            kind = description.schema.field(entity.cursor).type
            name = entity.updated_since_param or self.connection.updated_since_param
            params[name] = _text(cursor.start(position, kind, entity.overlap_seconds))
        return params

    def _answer(self, reader: JsonReader) -> Callable[[httpx.Response], _Answer]:
        def answer(response: httpx.Response) -> _Answer:
            return _Answer(reader.parse(response.content), response.links.get("next", {}).get("url"))

        return answer

    def _reader(self, entity: EntityConfig, schema: pa.Schema, thing: str) -> JsonReader:
        path = self.connection.data_path if entity.data_path is None else entity.data_path
        return JsonReader(
            schema, [tuple(path.split("."))] if path else [()], check=lambda page: self._check(page, thing)
        )

    def _check(self, page: Any, thing: str) -> None:
        """Raise when an answer of status 200 tells an error."""
        connection = self.connection
        failed = None
        if connection.error_path and (error := _at(page, connection.error_path)):
            failed = error
        elif connection.success_path and isinstance(page, dict):
            state = _scalar(_at(page, connection.success_path))
            failed = None if state in connection.success_values else page
        if failed is not None:
            said = self.http.redact(to_text(failed))[:300]
            raise ProtocolError(thing, f"answered 200 with an error: {said}.", "see the reason given by the system.")

    def _guess(self, entity: EntityConfig) -> pa.Schema:
        """Types of the first page's fields: boolean, long, decimal(38,9), else string."""
        thing = self._thing(entity)
        empty = self._reader(entity, pa.schema([]), thing)

        def read(response: httpx.Response) -> list[dict[str, Any]]:
            empty.parse(response.content)
            page = json.loads(response.content, parse_float=Number, parse_int=Number, parse_constant=Number)
            path = self.connection.data_path if entity.data_path is None else entity.data_path
            return _at(page, path) or [] if path else page

        params = self._params(entity, Description(pa.schema([])), None)
        rows = self.http.fetch(read, "GET", self.http.below(entity.source), thing=thing, params=params)
        kinds: dict[str, set[str]] = {}
        for row in rows:
            for name, value in row.items():
                kinds.setdefault(name, set()).update({_guessed(value)} - {""})
        if not kinds:
            raise ConfigurationError(
                thing,
                "has no row yet, so its fields cannot be guessed.",
                "declare them under `fields` in its defs.yaml, or run again when it has rows.",
            )
        found = {
            frozenset({"boolean"}): pa.bool_(),
            frozenset({"long"}): pa.int64(),
            frozenset({"decimal"}): _GUESSED_DECIMAL,
            frozenset({"long", "decimal"}): _GUESSED_DECIMAL,
        }
        return pa.schema([(name, found.get(frozenset(kind), pa.string())) for name, kind in kinds.items()])

    def _thing(self, entity: EntityConfig) -> str:
        return f"{self.system}.{entity.name} ({entity.address})"


def _at(page: Any, path: str) -> Any:
    for name in path.split("."):
        page = page.get(name) if isinstance(page, dict) else None
    return page


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(value: Any) -> int | None:
    try:
        return None if value is None else int(float(value))
    except (TypeError, ValueError) as error:
        raise UnreadableBodyError(f"its row count is {value!r}") from error


def _guessed(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Number):
        return "long" if value.lstrip("-").isdigit() and len(value) < 19 else "decimal"
    return "string"


def _text(bound: Any) -> str:
    if isinstance(bound, datetime):
        zone = "Z" if bound.tzinfo else ""
        moment = bound.astimezone(UTC) if bound.tzinfo else bound
        return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + zone
    return bound.isoformat() if isinstance(bound, date) else str(bound)
