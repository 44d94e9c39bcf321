"""The ERP: SAP Gateway's OData v2, as far as integrations use it. Reads here, writes in `odata_write`.

Requests and answers are plain records, so that a part of a $batch is handled like a request of its own.
Below /sap/opu/odata/sap: <service>/, $metadata, $batch, <EntitySet>, <EntitySet>/$count, <EntitySet>(key),
<EntitySet>(key)/<navigation>. JSON only.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import orjson

from datong_infra.sandbox import odata_query as query
from datong_infra.sandbox.model import ENTITY_SETS, SERVICES, EntitySet
from datong_infra.sandbox.odata_metadata import metadata
from datong_infra.sandbox.odata_query import ODataError
from datong_infra.sandbox.odata_rows import Page
from datong_infra.sandbox.store import Store

ROOT = "/sap/opu/odata/sap"
PATH = re.compile(r"(?P<set>[A-Za-z_]\w*)(?:\((?P<key>[^)]*)\))?(?:/(?P<rest>[\w$]+))?\Z")
_TOKEN = re.compile(r"D\d{14}_(?P<plant>[0-9a-f]{6})(?P<epoch>\d{4})(?P<seq>\d{12})\Z")
_OWN_OPTIONS = ("$filter", "$select", "$expand", "$orderby", "$inlinecount", "$format", "sap-client")
_DELTA_OPTIONS = ("$filter", "$select", "$format", "sap-client")


@dataclass
class Request:
    """An HTTP request, or a part of a batch. Header names in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


@dataclass
class Response:
    """The answer to a Request."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class Bend:
    """What a fault on request changes in the answer to one request; nothing by default."""

    types: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """SQL that stands in for a field's value, by entity set and field."""
    extra: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """Fields that $metadata does not know."""
    endless: bool = False
    lose_token: bool = False
    half_batch: bool = False

    @property
    def fields(self) -> dict[str, dict[str, str]]:
        """Every field to be written otherwise, by entity set."""
        return {name: {**self.types.get(name, {}), **self.extra.get(name, {})} for name in self.types | self.extra}


def json_response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer with the headers every OData answer has."""
    return Response(
        status, body, {"content-type": "application/json;charset=utf-8", "dataserviceversion": "2.0", **(headers or {})}
    )


def error_response(error: ODataError, service: str = "") -> Response:
    """An error in the body that SAP Gateway gives it."""
    body = {
        "error": {
            "code": error.code,
            "message": {"lang": "en", "value": error.message},
            "innererror": {
                "application": {
                    "component_id": "",
                    "service_namespace": "/SAP/",
                    "service_id": service,
                    "service_version": "0001",
                },
                "transactionid": secrets.token_hex(16).upper(),
                "timestamp": "",
                "Error_Resolution": {
                    "SAP_Transaction": "Run transaction /IWFND/ERROR_LOG on SAP Gateway hub system for more details"
                },
                "errordetails": [
                    {
                        "code": error.code,
                        "message": error.message,
                        "propertyref": error.target,
                        "severity": "error",
                        "target": error.target,
                    }
                ],
            },
        }
    }
    return json_response(error.status, orjson.dumps(body))


@dataclass
class Question:
    """What a GET asks of an entity set, and with what to answer it."""

    db: sqlite3.Connection
    options: dict[str, str]
    root: str
    size: int
    bend: Bend

    def page(self, entity: EntitySet) -> Page:
        """Rows of `entity` as $select and $expand want them."""
        return Page(
            entity,
            self.root,
            select=self.options.get("$select"),
            expand=self.options.get("$expand"),
            changes=self.bend.fields,
        )


class Reader:
    """Answers the reading requests of the ERP."""

    def __init__(self, store: Store, page_size: int) -> None:
        self.store = store
        self.page_size = page_size
        if not store.meta("plant_id"):
            store.set_meta("plant_id", secrets.token_hex(3))
        self.plant_id = store.meta("plant_id") or ""

    def get(self, request: Request, host: str, bend: Bend) -> Response:
        """Answer a GET below ROOT; ODataError when it cannot be."""
        service, _, rest = unquote(request.path.removeprefix(ROOT)).strip("/").partition("/")
        if service not in SERVICES:
            raise ODataError(
                403, "/IWFND/MED/170", f"No service found for namespace '', name '{service}', version '0001'"
            )
        if rest == "$metadata":
            return Response(
                200, metadata(service, bend.types), {"content-type": "application/xml", "dataserviceversion": "2.0"}
            )
        if not rest:
            return json_response(200, orjson.dumps({"d": {"EntitySets": [e.name for e in SERVICES[service]]}}))
        options = dict(parse_qsl(request.query, keep_blank_values=True))
        query.known_options(list(options))
        match = PATH.match(rest)
        entity = ENTITY_SETS.get(match["set"]) if match else None
        if not match or entity is None or entity.service != service:
            raise ODataError(404, "/IWBEP/CM_MGW_RT/020", f"Resource not found for segment '{rest.split('(')[0]}'")
        with self.store.snapshot() as db:
            question = Question(db, options, f"http://{host}{ROOT}", self._size(request), bend)
            return self._answer(question, entity, match["key"], match["rest"])

    def _answer(self, question: Question, entity: EntitySet, key_text: str | None, rest: str | None) -> Response:
        if key_text is not None:
            key = query.key_of(entity, key_text)
            return self._navigate(question, entity, key, rest) if rest else self._one(question, entity, key)
        if rest == "$count":
            condition, values = query.where(entity, question.options.get("$filter"))
            number = self._number(question.db, entity, condition, values)
            return Response(200, str(number).encode(), {"content-type": "text/plain;charset=utf-8"})
        if rest:
            raise ODataError(404, "/IWBEP/CM_MGW_RT/020", f"Resource not found for segment '{rest}'")
        if "!deltatoken" in question.options:
            return self._delta(question, entity)
        return self._many(question, entity)

    def _size(self, request: Request) -> int:
        match = re.search(r"odata\.maxpagesize=(\d+)", request.headers.get("prefer", ""))
        return min(self.page_size, max(1, int(match[1]))) if match else self.page_size

    def _number(self, db: sqlite3.Connection, entity: EntitySet, condition: str, values: list[Any]) -> int:
        return db.execute(f'select count(*) from "{entity.table}" t where {condition}', values).fetchone()[0]

    def find(
        self, db: sqlite3.Connection, entity: EntitySet, key: tuple[str, ...], page: Page
    ) -> tuple[str, tuple[Any, ...]]:
        """One entity as JSON, its key given with or without leading zeros; ODataError 404 when there is none."""
        condition = " and ".join(f't."{k}" = ?' for k in entity.keys)
        for change in (_as_is, _stripped, _padded):
            given = [change(v, entity.fields[k].length) for k, v in zip(entity.keys, key, strict=True)]
            rows = page.read(db, condition, given)
            if rows:
                return rows[0]
        raise ODataError(404, "/IWBEP/CM_MGW_RT/004", f"Resource not found for segment '{entity.type_name}'")

    def _one(self, question: Question, entity: EntitySet, key: tuple[str, ...]) -> Response:
        text, _ = self.find(question.db, entity, key, question.page(entity))
        etag = orjson.loads(text)["__metadata"].get("etag")
        return json_response(200, b'{"d":' + text.encode() + b"}", {"etag": etag} if etag else None)

    def _navigate(self, question: Question, entity: EntitySet, key: tuple[str, ...], name: str) -> Response:
        navigation = entity.navigation(name)
        if navigation is None:
            raise ODataError(404, "/IWBEP/CM_MGW_RT/020", f"Resource not found for segment '{name}'")
        _, found = self.find(question.db, entity, key, Page(entity, question.root))
        target = ENTITY_SETS[navigation.target]
        condition = " and ".join(f't."{k}" = ?' for k in navigation.link)
        link = [found[entity.keys.index(k)] for k in navigation.link]
        if navigation.many:
            return self._many(question, target, condition, link)
        rows = question.page(target).read(question.db, condition, link)
        return json_response(200, b'{"d":' + (rows[0][0] if rows else "null").encode() + b"}")

    def _many(self, question: Question, entity: EntitySet, within: str = "", link: list[Any] | None = None) -> Response:
        """A page of an entity set, or of the part of it that a navigation leads to (`within`, `link`)."""
        options, db = question.options, question.db
        position = _read_token(options.get("$skiptoken"))
        condition, values = query.where(entity, options.get("$filter"))
        if within:
            condition, values = f"{within} and {condition}", [*(link or []), *values]
        count = None
        if options.get("$inlinecount") == "allpages":
            count = self._number(db, entity, condition, values)
        top = position.get("top", query.whole_number(options, "$top"))
        ordered = query.order_by(entity, options.get("$orderby"))
        offset = position.get("offset", query.whole_number(options, "$skip") or 0)
        start = position.get("seq", self._seq(db))
        keys = ", ".join(f't."{k}"' for k in entity.keys)
        if "after" in position:
            condition += f" and ({keys}) > ({', '.join('?' * len(entity.keys))})"
            values += position["after"]
            offset = 0
        limit = question.size if top is None else min(question.size, top)
        rows = question.page(entity).read(
            db, f"{condition} order by {ordered or keys} limit {limit + 1} offset {offset}", values
        )
        more = len(rows) > limit and (top is None or top > limit)
        rows = rows[:limit]
        tail = ""
        if question.bend.endless and rows:
            tail = self._next(question, entity, position or {"seq": start})
        elif more:
            following: dict[str, Any] = {"seq": start}
            if ordered:
                following["offset"] = offset + limit
            else:
                following["after"] = list(rows[-1][1][: len(entity.keys)])
            if top is not None:
                following["top"] = top - limit
            tail = self._next(question, entity, following)
        elif entity.delta and not within and not {"$top", "$skip", "$orderby", "$expand"} & set(options):
            tail = self._delta_link(question, entity, start)
        return _collection(rows, count, tail)

    def _seq(self, db: sqlite3.Connection) -> int:
        return int(db.execute("select value from meta where name = 'seq'").fetchone()[0])

    def _next(self, question: Question, entity: EntitySet, position: dict[str, Any]) -> str:
        kept = {k: v for k, v in question.options.items() if k in _OWN_OPTIONS or k == "!deltatoken"}
        kept["$skiptoken"] = base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")
        return f',"__next":{_text(_link(entity, question.root, kept))}'

    def _epoch(self, db: sqlite3.Connection, entity: EntitySet) -> int:
        row = db.execute("select value from meta where name = ?", (f"delta_epoch/{entity.name}",)).fetchone()
        return int(row[0]) if row else 0

    def lose_tokens(self, entity: EntitySet) -> None:
        """Forget every delta token of an entity set that was handed out so far."""
        with self.store.transaction() as db:
            self.store.set_meta(f"delta_epoch/{entity.name}", str(self._epoch(db, entity) + 1))

    def _delta_link(self, question: Question, entity: EntitySet, seq: int) -> str:
        epoch = self._epoch(question.db, entity)
        token = f"D{self.store.now():%Y%m%d%H%M%S}_{self.plant_id}{epoch:04d}{seq:012d}"
        kept = {k: v for k, v in question.options.items() if k in _DELTA_OPTIONS}
        kept["!deltatoken"] = f"'{token}'"
        return f',"__delta":{_text(_link(entity, question.root, kept))}'

    def _delta(self, question: Question, entity: EntitySet) -> Response:
        options, db = question.options, question.db
        token = options["!deltatoken"].strip("'")
        match = _TOKEN.match(token)
        seq = self._seq(db)
        if (
            not entity.delta
            or not match
            or match["plant"] != self.plant_id
            or int(match["epoch"]) != self._epoch(db, entity)
            or int(match["seq"]) > seq
        ):
            raise ODataError(
                410,
                "/IWBEP/CX_QRL_DELTA_UNAVAILABLE",
                f"Delta token '{token}' is not available for entity set {entity.name}; request the full set again",
            )
        since = int(match["seq"])
        position = _read_token(options.get("$skiptoken"))
        until = position.get("until", seq)
        condition, values = query.where(entity, options.get("$filter"))
        rows = question.page(entity).read(
            db,
            f"t._seq > ? and t._seq <= ? and {condition} order by t._seq limit {question.size + 1}",
            [position.get("last", since), until, *values],
            since=since,
        )
        if question.bend.endless and rows:
            return _collection(rows, None, self._next(question, entity, position or {"until": until}))
        if len(rows) > question.size:
            rows = rows[: question.size]
            return _collection(rows, None, self._next(question, entity, {"until": until, "last": rows[-1][1][-2]}))
        rows += [(text, ()) for text in self._deleted(question, entity, since, until)]
        return _collection(rows, None, self._delta_link(question, entity, until))

    def _deleted(self, question: Question, entity: EntitySet, since: int, until: int) -> list[str]:
        """Rows that were deleted in a range of the change sequence and did not come back: only their keys are known."""
        gone = question.db.execute(
            "select keys from tombstone where entity = ? and seq > ? and seq <= ? order by seq",
            (entity.name, since, until),
        )
        where = " and ".join(f'"{k}" = ?' for k in entity.keys)
        texts: dict[str, str] = {}
        for (text,) in gone.fetchall():
            key = orjson.loads(text)
            values = [key[k] for k in entity.keys]
            if question.db.execute(f'select 1 from "{entity.table}" where {where}', values).fetchone():
                continue
            predicate = ",".join(f"{k}='{v}'" for k, v in key.items()) if len(key) > 1 else f"'{values[0]}'"
            uri = f"{question.root}/{entity.service}/{entity.name}({predicate})"
            row: dict[str, Any] = {
                "__metadata": {"id": uri, "uri": uri, "type": f"{entity.service}.{entity.type_name}"},
                **dict.fromkeys(entity.fields),
                **key,
                "ODQ_CHANGEMODE": "D",
            }
            texts[text] = orjson.dumps(row).decode()
        return list(texts.values())


def _as_is(text: str, _length: int) -> str:
    return text


def _stripped(text: str, _length: int) -> str:
    return text.lstrip("0") or text


def _padded(text: str, length: int) -> str:
    return text.zfill(length) if text.isdigit() else text


def _text(value: str) -> str:
    return orjson.dumps(value).decode()


def _link(entity: EntitySet, root: str, options: dict[str, str]) -> str:
    text = urlencode(options, safe="$!'")
    return f"{root}/{entity.service}/{entity.name}?{text}"


def _read_token(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        return orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        raise ODataError(400, "/IWBEP/CM_MGW_RT/016", "Invalid value for $skiptoken") from None


def _collection(rows: list[tuple[str, tuple[Any, ...]]], count: int | None, tail: str) -> Response:
    head = f'"__count":"{count}",' if count is not None else ""
    results = ",".join(text for text, _ in rows)
    return json_response(200, f'{{"d":{{{head}"results":[{results}]{tail}}}}}'.encode())
