"""The ERP's door: log-on, CSRF token, then reads (`odata_server`), writes, and batches of both.

- Basic authentication, 401 without it.
- A writing request needs the token that a GET with `X-CSRF-Token: Fetch` gave, and the session cookie that came with
  it; otherwise 403, `X-CSRF-Token: Required`, "CSRF token validation failed". Sessions end with the process.
- POST on a creatable set, PATCH or MERGE (also as POST with X-HTTP-Method) on one entity with If-Match: 428 when it is
  missing, 412 when the entity changed meanwhile.
- $batch: 202, each part with its own status; a changeset is all or nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import threading
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import unquote, urlsplit

from datong_infra.sandbox import odata_query as query
from datong_infra.sandbox.goods_movement import post_document
from datong_infra.sandbox.model import ENTITY_SETS, EntitySet
from datong_infra.sandbox.odata_batch import Part, join_parts, split_batch
from datong_infra.sandbox.odata_payload import read_children, read_object, read_values
from datong_infra.sandbox.odata_query import ODataError
from datong_infra.sandbox.odata_rows import Page, etag_of
from datong_infra.sandbox.odata_server import (
    PATH,
    ROOT,
    Bend,
    Reader,
    Request,
    Response,
    error_response,
    json_response,
)
from datong_infra.sandbox.store import Store

_COOKIE = "SAP_SESSIONID_SBX_100"
_SESSIONS = 2000
_VALUES = {"YY1_ProductionStatus_SDH": {"", "NOT_STARTED", "IN_PRODUCTION", "PRODUCED"}}


class Erp:
    """Answers every request of the ERP."""

    def __init__(self, store: Store, page_size: int, user: str, password: str) -> None:
        self.store = store
        self.reader = Reader(store, page_size)
        self._user, self._password = user, password
        self._sessions: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def handle(self, request: Request, bend: Bend) -> Response:
        """Answer a request below ROOT."""
        try:
            self._authenticate(request)
            if bend.lose_token:
                self._lose_tokens(request)
            if request.method in {"GET", "HEAD"}:
                response = self._one(request, bend)
                if request.headers.get("x-csrf-token", "").lower() == "fetch":
                    self._hand_out_token(request, response)
                return response
            if not self._token_is_valid(request):
                return Response(
                    403,
                    b"CSRF token validation failed",
                    {"x-csrf-token": "Required", "content-type": "text/plain;charset=utf-8"},
                )
            if request.path.endswith("/$batch") and request.method == "POST":
                return self._batch(request, bend)
            return self._one(request, bend)
        except ODataError as error:
            return self._error(request, error)

    def _error(self, request: Request, error: ODataError) -> Response:
        response = error_response(error, request.path.removeprefix(ROOT).strip("/").partition("/")[0])
        if error.status == 401:
            response.headers["www-authenticate"] = 'Basic realm="SAP NetWeaver Application Server [SBX/100]"'
        return response

    def _one(self, request: Request, bend: Bend) -> Response:
        """A request that is no batch; errors as an answer, so that parts of a batch can fail alone."""
        try:
            if request.method in {"GET", "HEAD"}:
                return self.reader.get(request, request.headers.get("host", "127.0.0.1"), bend)
            return self._write(request)
        except ODataError as error:
            return self._error(request, error)

    # ---- who is asking

    def _authenticate(self, request: Request) -> None:
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user = password = ""
        if (
            scheme.lower() != "basic"
            or user.upper() != self._user
            or not secrets.compare_digest(password.encode(), self._password.encode())
        ):
            raise ODataError(401, "401", "Logon failed: user or password is wrong")

    def _session(self, request: Request) -> str | None:
        try:
            cookie = SimpleCookie(request.headers.get("cookie", "")).get(_COOKIE)
        except CookieError:
            return None
        return cookie.value if cookie and cookie.value in self._sessions else None

    def _hand_out_token(self, request: Request, response: Response) -> None:
        with self._lock:
            session = self._session(request)
            if session is None:
                session = secrets.token_urlsafe(24)
                self._sessions[session] = base64.b64encode(secrets.token_bytes(18)).decode()
                while len(self._sessions) > _SESSIONS:
                    self._sessions.popitem(last=False)
                response.headers["set-cookie"] = f"{_COOKIE}={session}; path=/; HttpOnly"
            response.headers["x-csrf-token"] = self._sessions[session]

    def _token_is_valid(self, request: Request) -> bool:
        with self._lock:
            session = self._session(request)
            token = self._sessions.get(session or "", "")
        given = request.headers.get("x-csrf-token", "")
        return bool(token) and secrets.compare_digest(token.encode(), given.encode())

    def _lose_tokens(self, request: Request) -> None:
        for entity in ENTITY_SETS.values():
            if entity.delta and request.path.endswith(f"/{entity.name}"):
                self.reader.lose_tokens(entity)

    # ---- writes

    def _write(self, request: Request) -> Response:
        service, _, rest = unquote(request.path.removeprefix(ROOT)).strip("/").partition("/")
        match = PATH.match(rest)
        entity = ENTITY_SETS.get(match["set"]) if match else None
        if not match or entity is None or entity.service != service or match["rest"]:
            raise ODataError(404, "/IWBEP/CM_MGW_RT/020", f"Resource not found for segment '{rest.split('(')[0]}'")
        method = request.method
        if method == "POST":
            method = request.headers.get("x-http-method", "POST").upper()
        if method == "POST" and match["key"] is None and entity.creatable:
            return self._create(entity, request)
        if method in {"PATCH", "MERGE"} and match["key"] is not None and entity.updatable:
            return self._update(entity, query.key_of(entity, match["key"]), request)
        raise ODataError(
            405, "/IWBEP/CM_MGW_RT/051", f"Method '{method}' is not possible on entity set '{entity.name}'"
        )

    def _create(self, entity: EntitySet, request: Request) -> Response:
        given = read_object(request.body)
        navigation = entity.navigations[0]
        child = ENTITY_SETS[navigation.target]
        header = read_values(entity, given)
        items = [read_values(child, item) for item in read_children(given, navigation.name)]
        root = f"http://{request.headers.get('host', '127.0.0.1')}{ROOT}"
        with self.store.transaction() as db:
            key = post_document(self.store, header, items, self._user, self.store.tick())
            fresh = {name: [None, value] for name, value in header.items()}
            self.store.log("erp", entity.name, "/".join(key), "create", fresh, who=self._user)
            text, _ = self.reader.find(db, entity, key, Page(entity, root, expand=navigation.name))
        predicate = ",".join(f"{name}='{value}'" for name, value in zip(entity.keys, key, strict=True))
        location = f"{root}/{entity.service}/{entity.name}({predicate})"
        return json_response(201, b'{"d":' + text.encode() + b"}", {"location": location})

    def _update(self, entity: EntitySet, key: tuple[str, ...], request: Request) -> Response:
        condition = request.headers.get("if-match", "").strip()
        return self._apply(entity, key, read_object(request.body), condition, who=self._user)

    def edit(self, name: str, key: tuple[str, ...], given: dict[str, Any], who: str) -> Response:
        """What a person changes on the ERP's own screen; ODataError when the ERP refuses it."""
        entity = ENTITY_SETS.get(name)
        if entity is None or not entity.updatable:
            raise ODataError(404, "/IWBEP/CM_MGW_RT/020", f"'{name}' is not an entity set that can be changed")
        if len(key) != len(entity.keys):
            raise ODataError(400, "/IWBEP/CM_MGW_RT/022", f"The key of '{name}' is {', '.join(entity.keys)}")
        return self._apply(entity, key, given, "*", who=who)

    def _apply(
        self, entity: EntitySet, key: tuple[str, ...], given: dict[str, Any], condition: str, *, who: str
    ) -> Response:
        values = read_values(entity, given)
        for name, value in values.items():
            if name not in entity.updatable:
                raise ODataError(
                    400, "/IWBEP/CM_MGW_RT/025", f"Property '{name}' of {entity.name} cannot be changed", target=name
                )
            if value not in _VALUES.get(name, {value}):
                raise ODataError(400, "CFD/101", f"Value '{value}' is not allowed in field '{name}'", target=name)
        with self.store.transaction() as db:
            _, found = self.reader.find(db, entity, key, Page(entity, "", select=",".join(entity.keys)))
            key = tuple(found[: len(entity.keys)])
            if entity.etag:
                self._check_etag(db, entity, key, condition)
            where = " and ".join(f'"{k}" = ?' for k in entity.keys)
            named = ", ".join(f'"{name}"' for name in values) or "1"
            before = db.execute(f'select {named} from "{entity.table}" where {where}', key).fetchone()
            changed = {name: list(pair) for name, *pair in zip(values, before, values.values(), strict=False)}
            self.store.log("erp", entity.name, "/".join(key), "update", changed, who=who)
            if entity.etag:
                values[entity.etag] = self.store.tick()
            self.store.change(entity, key, values)
        return Response(204, b"", {"dataserviceversion": "2.0"})

    def _check_etag(self, db: Any, entity: EntitySet, key: tuple[str, ...], condition: str) -> None:
        if not condition:
            raise ODataError(428, "/IWFND/CM_MGW/428", f"Precondition required: send If-Match for {entity.name}")
        where = " and ".join(f'"{k}" = ?' for k in entity.keys)
        (last,) = db.execute(f'select "{entity.etag}" from "{entity.table}" where {where}', key).fetchone()
        present = {unquote(etag_of(last)), "*"}
        if not any(unquote(one.strip()) in present for one in re.split(r",(?=\s*(?:W/|\"|\*))", condition)):
            raise ODataError(
                412, "/IWBEP/CM_MGW_RT/076", f"Precondition failed: {entity.name} was changed since it was read"
            )

    # ---- batches

    def _batch(self, request: Request, bend: Bend) -> Response:
        answers: list[Part | list[Part]] = []
        base = request.path.removesuffix("/$batch")
        operations = split_batch(request)
        for operation in operations[: len(operations) // 2] if bend.half_batch else operations:
            if isinstance(operation, list):
                answers.append(self._changeset([self._part(request, base, one) for one in operation]))
            else:
                part = self._part(request, base, operation)
                if part.method == "GET":
                    answers.append(Part(self._one(part, bend), ""))
                else:
                    error = ODataError(400, "/IWBEP/CM_MGW_RT/089", "A change must be within a changeset")
                    answers.append(Part(self._error(part, error), ""))
        return join_parts(answers)

    def _part(self, outer: Request, base: str, part: Request) -> Request:
        address = urlsplit(part.path)
        path = address.path if address.path.startswith("/") else f"{base}/{address.path}"
        headers = {"host": outer.headers.get("host", "127.0.0.1"), **part.headers}
        return Request(part.method, path, address.query, headers, part.body)

    def _changeset(self, parts: list[Request]) -> Part | list[Part]:
        done: list[Part] = []
        try:
            with self.store.transaction():
                for part in parts:
                    try:
                        done.append(Part(self._write(part), part.headers.get("content-id", "")))
                    except ODataError as error:
                        raise _ChangesetFailed(self._error(part, error), part) from error
        except _ChangesetFailed as failed:
            return Part(failed.response, failed.part.headers.get("content-id", ""))
        return done


class _ChangesetFailed(Exception):  # noqa: N818 - it says what happened, not that something is broken
    def __init__(self, response: Response, part: Request) -> None:
        super().__init__()
        self.response = response
        self.part = part
