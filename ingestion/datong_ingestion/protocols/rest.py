"""REST and JSON: lists of a web service, as an MES or a CRM offers them.

Reads: a path below the base URL that answers with a list of objects, somewhere in an envelope.
Pages: by next cursor, page number, offset, Link header (RFC 8288), next link or the last key read, as the definition
says; a page is asked for by GET, or by POST with a body that the definition declares.
Changes: a cursor field with `updated_since`, or in a condition, and an overlap. Deletes: by the keys, where a request
can name its fields.
Guards against: cursors and pages that repeat, rows that move from page to page, a page size that the server cuts
(reading ends at an empty page, not at a short one), errors told with status 200, an answer that is cut off, values and
fields that were not agreed.
From JSON to Arrow pages; the fields' types are declared in `defs.yaml`, or else guessed at the first read and kept.
Alone: `python -m datong_ingestion mes`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlencode

import httpx
import pyarrow as pa
from datong_platform.errors import ConfigurationError, ProtocolError
from datong_platform.lake.columns import parse_type
from datong_platform.quality.compare import BY
from datong_platform.quality.windows import Totals, Window, as_text, inside

from datong_ingestion import cursor
from datong_ingestion.connections.base import looked_up, named
from datong_ingestion.connections.rest import Paging, Request, RestConnection, RestOptions, Since
from datong_ingestion.http import HttpClient, UnreadableBodyError
from datong_ingestion.http_auth import at, filled, scalar
from datong_ingestion.json_pages import JsonPage, JsonReader
from datong_ingestion.paging import EndGuard
from datong_ingestion.source import Description, InterruptedReadError, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig
from datong_ingestion.values import Number, to_text

_MODES: frozenset[Mode] = frozenset({"full", "cursor"})
_GUESSED_DECIMAL = pa.decimal128(38, 9)


@dataclass
class _Answer:
    page: JsonPage
    next_link: str | None


class _Order:
    """Notices rows that moved while pages were asked for by their place: where one before them went (or, in the order
    of changes, was changed), each page after it begins a row too late, and that row would never be seen.

    By offset, each page is asked for from the last row of the one before, which it has to begin with. By page number
    the rows are counted: as many different ones must come as there were at the first page.
    """

    def __init__(self, paging: Paging, keys: Sequence[str], thing: str) -> None:
        self._style, self._keys, self._thing = paging.style, list(keys), thing
        self._last: dict[str, Any] | None = None
        self._seen: set[int] = set()
        self._first: int | None = None
        self.again = 0
        """Rows of the page before that the next one is asked for again."""

    def continued(self, page: JsonPage, number: int) -> JsonPage:
        """A page without the row that was asked for again. InterruptedReadError when it begins with another."""
        if not self._keys:
            return page
        if self.again:
            if not len(page.rows) or self._key(page.rows, 0) != self._last:
                raise self._moved(f"page {number} does not begin with the row that the page before it ended with")
            rescued = None if page.rescued is None else page.rescued.slice(1)
            page = replace(page, rows=page.rows.slice(1), rescued=rescued)
        if self._style == "offset" and len(page.rows):
            self._last = self._key(page.rows, len(page.rows) - 1)
            # a server that gives one row at a time would give that one for ever
            self.again = 1 if self.again or len(page.rows) > 1 else 0
        elif self._style == "page":
            self._seen.update(hash(tuple(row.values())) for row in page.rows.select(self._keys).to_pylist())
        return page

    def counted(self, total: int | None) -> None:
        """Take note of how many rows there are, as a page says."""
        if self._first is None:
            self._first = total

    def complete(self) -> None:
        """InterruptedReadError when rows are missing."""
        if self._style == "page" and self._keys and self._first is not None and len(self._seen) < self._first:
            raise self._moved(f"{len(self._seen)} different rows came of the {self._first} that it counted at first")

    def _key(self, rows: pa.Table, index: int) -> dict[str, Any]:
        return rows.select(self._keys).slice(index, 1).to_pylist()[0]

    def _moved(self, seen: str) -> InterruptedReadError:
        return InterruptedReadError(
            self._thing,
            f"has rows that moved while it was read: {seen}.",
            "run again; if it persists, have it sorted by its key in `params`, or use paging style after_key.",
        )


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
        for text in (text for entity in system.entities for text in named(entity.options)):
            with suppress(ConfigurationError):
                # who needs a value that is not set is told so when its entity is read
                self.http.learn(looked_up(text, system.system))

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
        latest = position
        for page in self._pages(entity, description, description.schema, position):
            if entity.mode == "cursor":
                latest = cursor.later(latest, page.rows.column(entity.cursor))
            yield Page(
                page.rows,
                rescued=page.rescued,
                unexpected=page.unexpected,
                position=latest if entity.mode == "cursor" else None,
            )
        if entity.detect_deletes:
            if not description.keys or "{fields}" not in str(self._request(entity)):
                raise ConfigurationError(
                    thing,
                    "has no key to compare, or its requests cannot ask for the keys alone.",
                    "declare `keys`, and a `request` that names {fields}; or leave out detect_deletes.",
                )
            keys = pa.schema([description.schema.field(name) for name in description.keys])
            for page in self._pages(entity.model_copy(update={"mode": "full"}), description, keys, None):
                yield Page(description.schema.empty_table(), keys=page.rows)

    def reconciles(self, entity: EntityConfig, description: Description, window: Window) -> bool:
        """Whether an answer counts all rows (`total_path`), and can be asked for those from a time on."""
        if not self._paging(entity).total_path or entity.events or window.is_expression:
            return False
        asking = self._asking(entity)
        return not window.by or (window.by == entity.cursor and bool(asking.param or asking.text))

    def totals(
        self, entity: EntityConfig, description: Description, windows: Sequence[Window], sums: Sequence[str]
    ) -> list[Totals]:
        """Counts: of the rows from one bound on, less those from the next. A row without a time is in the first."""
        edges = {bound for window in windows for bound in (window.low, window.high) if not window.is_null}
        counted = {bound: self._count(entity, description, bound) for bound in edges}
        found: list[Totals] = []
        for window in windows:
            if not window.by:
                found.append(Totals(self._count(entity, description, None)))
            elif window.is_null:
                found.append(Totals(0))
            else:
                above = counted[window.high] if window.high is not None else 0
                found.append(Totals(counted[window.low] - above))
        return found

    def listed(
        self, entity: EntityConfig, description: Description, window: Window, fields: Sequence[str]
    ) -> Iterator[pa.Table]:
        """Keys and fields of a window's rows: read from its first bound on."""
        names = list(dict.fromkeys([*description.keys, *fields]))
        asked, position = self._from(entity, window.low)
        for page in self._pages(asked, description, description.schema, position):
            by = page.rows.column(window.by) if window.by else pa.nulls(len(page.rows))
            rows = page.rows.select(names).append_column(BY, by)
            yield rows.filter(inside(window, by)) if window.by else rows

    def _count(self, entity: EntityConfig, description: Description, low: Any) -> int:
        """How many rows there are from a bound on, by the count in the answer to a request for one row."""
        asked, position = self._from(entity, low)
        for page in self._pages(asked, description, description.schema, position):
            total = _number(at(page.envelope, self._paging(asked).total_path))
            if total is not None:
                return total
            break
        raise ProtocolError(
            self._thing(entity), "does not count its rows where `total_path` says.", "mend total_path, or leave it out."
        )

    def _from(self, entity: EntityConfig, low: Any) -> tuple[EntityConfig, str | None]:
        """The entity as it is asked for the rows from a bound on, exactly."""
        changes: dict[str, Any] = {"overlap_seconds": 0, "detect_deletes": False}
        changes["mode"] = "full" if low is None else "cursor"
        return entity.model_copy(update=changes), None if low is None else as_text(low)

    def _pages(
        self, entity: EntityConfig, description: Description, schema: pa.Schema, position: str | None
    ) -> Iterator[JsonPage]:
        """Pages with the fields of `schema`. ProtocolError when they never end, or are fewer rows than counted."""
        thing = self._thing(entity)
        paging, request = self._paging(entity), self._request(entity)
        guard = EndGuard(thing, by_content=bool(description.keys))
        reader = self._reader(entity, schema, thing)
        condition = self._since(entity, description, position)
        received, total, after = 0, None, ""
        number, following = paging.first_page, ""
        order = _Order(paging, [name for name in description.keys if name in schema.names], thing)
        while True:
            words = self._words(entity, description, schema, position, after) | {
                "page": str(number),
                # after a key nothing is left out
                "offset": "0" if paging.style == "after_key" else str(received - order.again),
                "next": following,
                "after": after,
            }
            asked = self._params(entity, filled(request.params, words), condition)
            if paging.style == "page" and paging.page_param:
                asked[paging.page_param] = str(number)
            elif paging.style == "offset" and paging.offset_param:
                asked[paging.offset_param] = str(received - order.again)
            elif paging.style == "next_cursor" and following and paging.cursor_param:
                asked[paging.cursor_param] = following
            # a link stands for itself: the parameters of the first request are in it
            linked = paging.style in {"next_link", "link_header"} and following
            guard.link(following or "the first page")
            url = self.http.below(filled(request.path, words))
            content, kind = _body(request, words)
            answer = self.http.fetch(
                self._answer(reader),
                request.method,
                self.http.url(following, url) if linked else url,
                thing=thing,
                params={} if linked else asked,
                headers={"Accept": "application/json", **kind, **filled(request.headers, words)},
                content=content,
                # asking for a page changes nothing, by POST as by GET
                repeatable=True,
            )
            page = order.continued(answer.page, number)
            answer = _Answer(page, answer.next_link)
            guard.rows(page.rows)
            received, number = received + len(page.rows), number + 1
            yield page
            total = _number(at(page.envelope, paging.total_path)) if paging.total_path else None
            order.counted(total)
            if paging.style == "after_key":
                after = following = self._last_key(page, description, thing)
            else:
                following = self._next(paging, answer, number, received, total)
            if not following:
                break
        if total is not None and received < total:
            raise ProtocolError(
                thing,
                f"gave {received} of the {total} rows that it counts.",
                "run again; if it persists, its paging loses rows: use another style or a smaller limit.",
            )
        order.complete()

    def _last_key(self, page: JsonPage, description: Description, thing: str) -> str:
        if len(description.keys) != 1:
            raise ConfigurationError(
                thing, "is paged after its key, which must be one field.", "declare one field as `keys`."
            )
        last = page.rows.column(description.keys[0])[-1].as_py() if len(page.rows) else None
        if len(page.rows) and last is None:
            raise ProtocolError(thing, "has a row without its key, after which no page can be asked.", "ask its owner.")
        return "" if last is None else str(last)

    def _next(self, paging: Paging, answer: _Answer, number: int, received: int, total: int | None) -> str:
        """What leads to the next page, or nothing at the end."""
        envelope = answer.page.envelope
        if paging.style in {"page", "offset"}:
            more = received < total if total is not None else True
            if paging.more_path:
                more = scalar(at(envelope, paging.more_path)) == "true"
            return f"page {number} from row {received}" if len(answer.page.rows) and more else ""
        if paging.style == "link_header":
            return answer.next_link or ""
        if paging.style == "none":
            return ""
        value = at(envelope, paging.next_path)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return "" if value is None or value is False else str(value)

    def _options(self, entity: EntityConfig) -> RestOptions:
        return entity.options if isinstance(entity.options, RestOptions) else RestOptions()

    def _paging(self, entity: EntityConfig) -> Paging:
        return self._options(entity).paging or self.connection.paging

    def _request(self, entity: EntityConfig) -> Request:
        return self._options(entity).request or self.connection.request

    def _asking(self, entity: EntityConfig) -> Since:
        since = self._options(entity).since or self.connection.since
        return since or Since(param=entity.updated_since_param or self.connection.updated_since_param)

    def _since(self, entity: EntityConfig, description: Description, position: str | None) -> str:
        """The condition (or the value) that asks for what changed since the cursor; empty when all is asked for."""
        if entity.mode != "cursor" or position is None:
            return ""
        asking = self._asking(entity)
        bound = cursor.start(position, description.schema.field(entity.cursor).type, entity.overlap_seconds)
        text = _text(bound) if asking.format == "iso" or not isinstance(bound, date) else bound.strftime(asking.format)
        return filled(asking.text, {"cursor": entity.cursor, "since": text})

    def _words(
        self, entity: EntityConfig, description: Description, schema: pa.Schema, position: str | None, after: str
    ) -> dict[str, str]:
        """What a declared request can say."""
        request, paging = self._request(entity), self._paging(entity)
        conditions = [entity.filter] if entity.filter else []
        condition = self._since(entity, description, position)
        if condition and not self._asking(entity).param:
            conditions.append(condition)
        if after and paging.style == "after_key":
            key = description.keys[0]
            number = pa.types.is_integer(schema.field(key).type) or pa.types.is_decimal(schema.field(key).type)
            conditions.append(f"{key} > {after}" if number else "{} > '{}'".format(key, after.replace("'", "''")))
        if conditions[1:]:
            conditions = [f"({text})" for text in conditions]
        return {
            **self.connection.variables,
            "source": entity.source,
            "fields": ",".join(schema.names),
            "keys": ",".join(description.keys),
            "limit": str(paging.limit),
            "since": condition,
            "filter": request.and_word.join(conditions),
        }

    def _params(self, entity: EntityConfig, declared: dict[str, str], condition: str) -> dict[str, str]:
        paging = self._paging(entity)
        params = {name: value for name, value in declared.items() if value} | entity.params
        if paging.style != "none" and paging.limit_param:
            params[paging.limit_param] = str(paging.limit)
        if condition and (name := self._asking(entity).param):
            params[name] = f"{params[name]}{self._request(entity).and_word}{condition}" if name in params else condition
        return params

    def _answer(self, reader: JsonReader) -> Callable[[httpx.Response], _Answer]:
        def answer(response: httpx.Response) -> _Answer:
            return _Answer(reader.parse(response.content), response.links.get("next", {}).get("url"))

        return answer

    def _reader(self, entity: EntityConfig, schema: pa.Schema, thing: str) -> JsonReader:
        path = self.connection.data_path if entity.data_path is None else entity.data_path
        return JsonReader(
            schema,
            [tuple(path.split("."))] if path else [()],
            check=lambda page: self._check(page, thing),
            names=schema.names if self.connection.unnamed else (),
        )

    def _check(self, page: Any, thing: str) -> None:
        """Raise when an answer of status 200 tells an error."""
        connection = self.connection
        failed = None
        if connection.error_path and (error := at(page, connection.error_path)):
            failed = error
        elif connection.success_path and isinstance(page, dict):
            state = scalar(at(page, connection.success_path))
            failed = None if state in connection.success_values else page
        if failed is not None:
            said = self.http.redact(to_text(failed))[:300]
            raise ProtocolError(thing, f"answered 200 with an error: {said}.", "see the reason given by the system.")

    def _guess(self, entity: EntityConfig) -> pa.Schema:
        """Types of the first page's fields: boolean, long, decimal(38,9), else string."""
        thing = self._thing(entity)
        if self.connection.unnamed:
            raise ConfigurationError(
                thing, "has rows without names.", "declare its fields, in their order, under `fields` in its defs.yaml."
            )
        empty = self._reader(entity, pa.schema([]), thing)

        def read(response: httpx.Response) -> list[dict[str, Any]]:
            empty.parse(response.content)
            page = json.loads(response.content, parse_float=Number, parse_int=Number, parse_constant=Number)
            path = self.connection.data_path if entity.data_path is None else entity.data_path
            return at(page, path) or [] if path else page

        request, paging = self._request(entity), self._paging(entity)
        words = self._words(entity, Description(pa.schema([])), pa.schema([]), None, "")
        words |= {"page": str(paging.first_page), "offset": "0", "next": "", "after": ""}
        content, kind = _body(request, words)
        rows = self.http.fetch(
            read,
            request.method,
            self.http.below(filled(request.path, words)),
            thing=thing,
            params=self._params(entity, filled(request.params, words), ""),
            headers={"Accept": "application/json", **kind, **filled(request.headers, words)},
            content=content,
            repeatable=True,
        )
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


def _body(request: Request, words: Mapping[str, str]) -> tuple[bytes | None, dict[str, str]]:
    """The body of a request, and the header that says what it is."""
    if request.body is None:
        return None, {}
    if request.form:
        return urlencode(filled(request.body, words)).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    numbers = {"{" + name + "}": int(words[name]) for name in ("limit", "offset", "page")}

    def typed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: typed(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [typed(inner) for inner in value]
        return numbers[value] if isinstance(value, str) and value in numbers else filled(value, words)

    return json.dumps(typed(request.body), ensure_ascii=False).encode(), {"Content-Type": "application/json"}


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
