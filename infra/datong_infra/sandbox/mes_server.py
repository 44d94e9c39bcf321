"""The MES: REST and JSON below /api/v1, as shop floor systems have it.

Lists: GET /<collection>?limit=500&cursor=…&updated_since=…&orderNo=… give {"data": […], "next_cursor": …}, ordered by
the time of recording. Work orders can be created (Idempotency-Key), read by number, and changed (If-Match).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

from datong_infra.sandbox.model import COLLECTIONS, MILLI, Column, Table
from datong_infra.sandbox.odata_server import Request, Response
from datong_infra.sandbox.plant import CLOSED, DONE, MES_UNITS, RELEASED
from datong_infra.sandbox.store import PLANT_ZONE, Store

ROOT = "/api/v1"
API = "api"
"""Who wrote, in the change documents, when it came by the API."""
DEFAULT_LIMIT, MOST = 500, 5000
_ORDERS = COLLECTIONS["work-orders"]
_CREATE = {"orderNo": str, "partNo": str, "quantity": (int, float), "unit": str, "plannedStart": str, "plannedEnd": str}
_CHANGE = ("quantity", "plannedStart", "plannedEnd", "status")


class MesError(Exception):
    """An answer that is an error: HTTP status, code, text, and the fields that are wrong."""

    def __init__(self, status: int, code: str, message: str, /, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details


@dataclass
class Bend:
    """What a fault on request changes in the answer to one request; nothing by default."""

    fields: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """SQL for the JSON of a field, by collection and field; also of fields that are not there otherwise."""
    endless: bool = False


def error_response(error: MesError) -> Response:
    """An error in the MES's own body."""
    body = {"error": {"code": error.code, "message": error.message, "details": error.details}}
    return _json(error.status, orjson.dumps(body))


def _json(status: int, body: bytes, **headers: str) -> Response:
    return Response(status, body, {"content-type": "application/json", **headers})


def _expression(column: Column) -> str:
    name = f'"{column.name}"'
    if column.kind == "S":
        return f"json_quote({name})"
    if column.kind == "Q":
        return f"coalesce({name} / 1000.0, 'null')"
    if column.kind == "I":
        return f"coalesce({name}, 'null')"
    moment = f"strftime('%Y-%m-%dT%H:%M:%S', {name} / 1000 + 28800, 'unixepoch') || printf('.%03d', {name} % 1000)"
    return f"coalesce('\"' || {moment} || '+08:00\"', 'null')"


def _body(table: Table, change: Mapping[str, str]) -> str:
    parts = [f"""'"{c.name}":' || {change.get(c.name) or _expression(c)}""" for c in table.columns.values()]
    parts += [f"""'"{name}":' || {sql}""" for name, sql in change.items() if name not in table.columns]
    return "'{' || " + " || ',' || ".join(parts) + " || '}'"


class Mes:
    """Answers the requests of the MES."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def handle(self, request: Request, bend: Bend) -> Response:
        """Answer a request below ROOT; MesError when it cannot be."""
        name, _, key = unquote(request.path.removeprefix(ROOT)).strip("/").partition("/")
        table = COLLECTIONS.get(name)
        if table is None:
            raise MesError(404, "not_found", f"There is no collection '{name}'.", collections=list(COLLECTIONS))
        if request.method == "GET":
            if not key:
                return self._list(table, dict(parse_qsl(request.query)), bend)
            if table is _ORDERS:
                with self.store.snapshot() as db:
                    return self._order(db, key, 200)
        elif table is _ORDERS and request.method == "POST" and not key:
            return self._create(request)
        elif table is _ORDERS and request.method == "PATCH" and key:
            return self._change(key, request)
        if key and table is not _ORDERS:
            raise MesError(404, "not_found", f"There is no resource '{name}/{key}'.")
        raise MesError(405, "method_not_allowed", f"{request.method} is not possible on '{request.path}'.")

    def _list(self, table: Table, options: dict[str, str], bend: Bend) -> Response:
        limit = _limit(options.get("limit"))
        conditions, values = ["1"], list[Any]()
        for name, text in options.items():
            if name in {"limit", "cursor"}:
                continue
            if name == "updated_since":
                conditions.append(f'"{table.order}" >= ?')
                values.append(_moment(text, name))
            elif name in table.columns and table.columns[name].kind == "S":
                wanted = text.split(",")
                conditions.append(f'"{name}" in ({", ".join("?" * len(wanted))})')
                values += wanted
            else:
                raise MesError(422, "validation_failed", f"There is no filter '{name}'.", field=name)
        if "cursor" in options:
            conditions.append(f'("{table.order}", _id) > (?, ?)')
            values += _cursor(options["cursor"])
        body = _body(table, bend.fields.get(table.path, {}))
        with self.store.snapshot() as db:
            rows = db.execute(
                f'select {body}, "{table.order}", _id from {table.name} where {" and ".join(conditions)}'
                f' order by "{table.order}", _id limit ?',
                [*values, limit + 1],
            ).fetchall()
        following = None
        if len(rows) > limit:
            rows = rows[:limit]
            following = _encode(rows[-1][1], rows[-1][2])
        if bend.endless and rows:
            following = options.get("cursor") or _encode(rows[0][1] - 1, 0)
        text = '{"data":[' + ",".join(r[0] for r in rows) + '],"next_cursor":' + orjson.dumps(following).decode() + "}"
        return _json(200, text.encode())

    def _order(self, db: sqlite3.Connection, number: str, status: int, **headers: str) -> Response:
        row = db.execute(
            f'select {_body(_ORDERS, {})}, version from {_ORDERS.name} where "workOrderNo" = ?', (number,)
        ).fetchone()
        if row is None:
            raise MesError(404, "not_found", f"There is no work order '{number}'.")
        return _json(status, row[0].encode(), etag=f'"{row[1]}"', **headers)

    def _create(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key", "").strip()
        if not key or len(key) > 128:
            raise MesError(400, "idempotency_key_required", "Send an Idempotency-Key of at most 128 characters.")
        given = _object(request.body)
        digest = hashlib.sha256(orjson.dumps(given, option=orjson.OPT_SORT_KEYS)).hexdigest()
        with self.store.transaction() as db:
            known = db.execute("select body, work_order from plant_idempotency where key = ?", (key,)).fetchone()
            if known:
                if known[0] != digest:
                    raise MesError(
                        422, "idempotency_key_reused", f"Idempotency-Key '{key}' came with another body before."
                    )
                return self._order(db, known[1], 200, **{"idempotency-replayed": "true"})
            values = self._checked(db, given)
            taken = db.execute(
                f'select "workOrderNo" from {_ORDERS.name} where "orderNo" = ?', (values["orderNo"],)
            ).fetchone()
            if taken:
                raise MesError(
                    409,
                    "order_exists",
                    f"Order '{values['orderNo']}' already has the work order '{taken[0]}'.",
                    workOrderNo=taken[0],
                )
            number = f"WO-{self.store.count('work_order'):06d}"
            db.execute(
                f"insert into {_ORDERS.name} values (null, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 1, ?)",
                (
                    number,
                    values["orderNo"],
                    values["partNo"],
                    values["quantity"],
                    values["unit"],
                    RELEASED,
                    values["plannedStart"],
                    values["plannedEnd"],
                    self.store.tick(),
                ),
            )
            db.execute("insert into plant_idempotency values (?, ?, ?)", (key, digest, number))
            fresh = {name: [None, value] for name, value in values.items()}
            self.store.log("mes", _ORDERS.path, values["orderNo"], "create", fresh, who=API, idempotency_key=key)
            return self._order(db, number, 201, location=f"{ROOT}/work-orders/{number}")

    def _checked(self, db: sqlite3.Connection, given: dict[str, Any]) -> dict[str, Any]:
        wrong = {name: "is not a field of a work order" for name in given if name not in _CREATE}
        for name, kind in _CREATE.items():
            value = given.get(name)
            if value is None or value == "":
                wrong[name] = "is required"
            elif not isinstance(value, kind) or isinstance(value, bool):
                wrong[name] = f"must be a {'number' if name == 'quantity' else 'text'}"
        if not wrong:
            part = str(given["partNo"]).upper()
            row = db.execute(
                "select unit from plant_material where upper(ltrim(material, '0')) = ?", (part.lstrip("0"),)
            ).fetchone()
            if row is None:
                wrong["partNo"] = f"'{given['partNo']}' is not a part of this plant"
            elif given["unit"] != MES_UNITS[row[0]]:
                wrong["unit"] = f"must be '{MES_UNITS[row[0]]}' for this part"
            if not given["quantity"] > 0:
                wrong["quantity"] = "must be greater than 0"
        _raise(wrong)
        values: dict[str, Any] = {
            **given,
            "orderNo": given["orderNo"].strip(),
            "quantity": round(given["quantity"] * MILLI),
            "plannedStart": _moment(given["plannedStart"], "plannedStart"),
            "plannedEnd": _moment(given["plannedEnd"], "plannedEnd"),
        }
        if values["plannedEnd"] < values["plannedStart"]:
            _raise({"plannedEnd": "is before plannedStart"})
        if not values["orderNo"].isalnum() or len(values["orderNo"]) > 12:
            _raise({"orderNo": "must be 1 to 12 letters or digits"})
        return values

    def _change(self, number: str, request: Request) -> Response:
        match = request.headers.get("if-match", "").strip()
        if not match:
            raise MesError(428, "precondition_required", "Send the ETag of the work order as If-Match.")
        key = request.headers.get("idempotency-key", "").strip()
        return self._apply(number, _object(request.body), match, who=API, idempotency_key=key)

    def edit(self, order: str, given: dict[str, Any], who: str) -> Response:
        """What a person changes on the MES's own screen, for the work order of a production order; MesError when the
        MES refuses it."""
        with self.store.snapshot() as db:
            row = db.execute(f'select "workOrderNo" from {_ORDERS.name} where "orderNo" = ?', (order,)).fetchone()
        if row is None:
            raise MesError(404, "not_found", f"There is no work order for order '{order}'.")
        return self._apply(row[0], given, "*", who=who)

    def _apply(
        self, number: str, given: dict[str, Any], match: str, *, who: str, idempotency_key: str = ""
    ) -> Response:
        with self.store.transaction() as db:
            row = db.execute(
                'select version, status, quantity, "goodQuantity", "plannedStart", "plannedEnd", "orderNo"'
                f' from {_ORDERS.name} where "workOrderNo" = ?',
                (number,),
            ).fetchone()
            if row is None:
                raise MesError(404, "not_found", f"There is no work order '{number}'.")
            version, status, ordered, good, start, end, order = row
            if match not in {"*", f'"{version}"', str(version)}:
                raise MesError(
                    412, "version_conflict", f"Work order '{number}' is at version {version}.", version=version
                )
            _raise({name: "cannot be changed" for name in given if name not in _CHANGE})
            if status in {DONE, CLOSED}:
                raise MesError(409, "work_order_finished", f"Work order '{number}' is {status}.", status=status)
            values: dict[str, Any] = {}
            if "quantity" in given:
                quantity = given["quantity"]
                if not isinstance(quantity, int | float) or isinstance(quantity, bool) or quantity * MILLI <= good:
                    _raise({"quantity": f"must be a number greater than the {good / MILLI:g} already made"})
                values["quantity"] = round(quantity * MILLI)
            for name in ("plannedStart", "plannedEnd"):
                if name in given:
                    values[name] = _moment(given[name], name)
            if values.get("plannedEnd", end) < values.get("plannedStart", start):
                _raise({"plannedEnd": "is before plannedStart"})
            if "status" in given:
                if given["status"] != CLOSED or status != RELEASED:
                    _raise({"status": f"can only go from {RELEASED} to {CLOSED}"})
                values["status"] = CLOSED
            assignments = "".join(f'"{name}" = ?, ' for name in values)
            db.execute(
                f'update {_ORDERS.name} set {assignments} version = version + 1, "updatedAt" = ?'
                ' where "workOrderNo" = ?',
                [*values.values(), self.store.tick(), number],
            )
            before = {"quantity": ordered, "plannedStart": start, "plannedEnd": end, "status": status}
            changed = {name: [before[name], value] for name, value in values.items()}
            self.store.log("mes", _ORDERS.path, order, "update", changed, who=who, idempotency_key=idempotency_key)
            return self._order(db, number, 200)


def _raise(wrong: dict[str, str]) -> None:
    if wrong:
        text = "; ".join(f"{name} {why}" for name, why in wrong.items())
        raise MesError(422, "validation_failed", f"The work order is not valid: {text}.", fields=wrong)


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MesError(400, "invalid_json", f"The body is not JSON: {error}.") from None
    if not isinstance(given, dict):
        raise MesError(400, "invalid_json", "The body is not a JSON object.")
    return given


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not text.isdigit() or not 0 < int(text) <= MOST:
        raise MesError(422, "validation_failed", f"limit must be a number from 1 to {MOST}.", field="limit")
    return int(text)


def _moment(text: Any, name: str) -> int:
    try:
        moment = datetime.fromisoformat(str(text).replace(" ", "+"))
    except ValueError:
        raise MesError(422, "validation_failed", f"{name} '{text}' is not an ISO 8601 time.", field=name) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=PLANT_ZONE)).timestamp() * 1000)


def _encode(ms: int, row: int) -> str:
    return base64.urlsafe_b64encode(f"{ms}:{row}".encode()).decode().rstrip("=")


def _cursor(text: str) -> list[int]:
    try:
        ms, _, row = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(":")
        return [int(ms), int(row)]
    except (binascii.Error, ValueError):
        raise MesError(
            422, "validation_failed", "cursor is not one that this server gave out.", field="cursor"
        ) from None
