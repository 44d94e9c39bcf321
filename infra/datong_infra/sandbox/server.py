"""The sandbox's process: ERP, MES, faults and the plant's own controls behind one port of 127.0.0.1.

| path | what |
| --- | --- |
| /sap/opu/odata/sap/… | ERP (basic authentication) |
| /api/v1/… | MES (bearer token) |
| /health | 200 when ready |
| /_sandbox/status, /truth, /advance, /faults, /edit, /log | for people and tests; no log-in, loopback only |
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote

import orjson
import psutil
import uvicorn
from datong_platform import settings
from datong_platform.errors import ConfigurationError, DatongError
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from datong_infra.sandbox import mes_server, odata_server
from datong_infra.sandbox.crm import Crm
from datong_infra.sandbox.faults import Fault, Faults
from datong_infra.sandbox.odata_query import ODataError
from datong_infra.sandbox.odata_server import Request, Response
from datong_infra.sandbox.odata_write import Erp
from datong_infra.sandbox.simulation import DEFAULT_START, advance, open_plant
from datong_infra.sandbox.store import Store
from datong_infra.sandbox.truth import truth

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_DROPPED = Response(0)
_MOST_DAYS = 3660


class _Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, its transport handed to the application: faults break connections."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["sandbox.transport"] = self.transport  # pyright: ignore[reportGeneralTypeIssues]


class Edit(BaseModel):
    """A person's change on a system's own screen. The key of the MES is the production order's number."""

    model_config = ConfigDict(extra="forbid")

    system: Literal["erp", "mes"]
    entity: str = "A_ProductionOrder_2"
    """Entity set of the ERP; of the MES it is always the work order."""
    key: str
    fields: dict[str, Any]
    who: str = "person"


class Sandbox:
    """The plant, its systems and its faults; `app` is the ASGI application."""

    def __init__(
        self,
        state: Path,
        *,
        scale: float = 1,
        seed: int = 42,
        start: date = DEFAULT_START,
        page_size: int = 5000,
        postgres: str | None = None,
        crm_database: str = "sandbox_crm",
    ) -> None:
        self.started = time.time()
        self.store = Store(state / "plant.sqlite")
        self.plant = open_plant(self.store, scale=scale, seed=seed, start=start)
        self.secrets = _secrets(self.store)
        self.erp = Erp(self.store, page_size, self.secrets["erp_user"], self.secrets["erp_password"])
        self.mes = mes_server.Mes(self.store)
        self.faults = Faults()
        self.stale_writes = 0
        self.crm: Crm | None = None
        if postgres:
            self.crm = Crm(self.store, postgres, crm_database, self.secrets["crm_password"])
            self.crm.prepare()
        self._advancing = threading.Lock()

    # ---- HTTP

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        raw = scope.get("raw_path") or scope["path"].encode()
        query = scope["query_string"].decode("latin-1")
        request = Request(scope["method"], raw.decode("latin-1"), query, headers, body)
        path = request.path
        if path.startswith(odata_server.ROOT):
            response, truncated = await self._erp(request)
        elif path.startswith(mes_server.ROOT):
            response, truncated = await self._mes(request)
        else:
            response, truncated = await run_in_threadpool(self._control, request), False
        if response.status == 412:
            self.stale_writes += 1
        await _answer(scope, send, response, head=request.method == "HEAD", truncated=truncated)

    async def _struck(self, target: str, request: Request) -> tuple[Response | None, list[Fault]]:
        line = f"{request.method} {unquote(request.path)}?{unquote(request.query)}"
        faults = self.faults.strike(target, line)  # pyright: ignore[reportArgumentType]
        for fault in faults:
            if fault.kind == "slow":
                await asyncio.sleep(fault.seconds)
            elif fault.kind == "drop_connection":
                return _DROPPED, faults
            elif fault.kind in {"rate_limit", "unavailable", "unauthorized", "error_in_200"}:
                return _refusal(fault), faults
        return None, faults

    async def _erp(self, request: Request) -> tuple[Response, bool]:
        refusal, faults = await self._struck("erp", request)
        if refusal is not None:
            return refusal, False
        bend = odata_server.Bend()
        for fault in faults:
            if fault.kind == "changed_type" and fault.entity and fault.field:
                sql = f"""json_quote('~' || coalesce(t."{fault.field}", ''))"""
                bend.types.setdefault(fault.entity, {})[fault.field] = sql
            elif fault.kind == "extra_field" and fault.entity and fault.field:
                bend.extra.setdefault(fault.entity, {})[fault.field] = "json_quote('new since ' || date('now'))"
            elif fault.kind == "endless_page":
                bend.endless = True
            elif fault.kind == "lost_delta_token":
                bend.lose_token = True
            elif fault.kind == "half_batch":
                bend.half_batch = True
        response = await run_in_threadpool(self.erp.handle, request, bend)
        return _spoilt(response, faults)

    async def _mes(self, request: Request) -> tuple[Response, bool]:
        refusal, faults = await self._struck("mes", request)
        if refusal is not None:
            return refusal, False
        if not secrets.compare_digest(
            request.headers.get("authorization", "").encode(), f"Bearer {self.secrets['mes_token']}".encode()
        ):
            error = mes_server.MesError(401, "unauthorized", "The bearer token is missing or wrong.")
            response = mes_server.error_response(error)
            response.headers["www-authenticate"] = 'Bearer realm="MES"'
            return response, False
        bend = mes_server.Bend()
        for fault in faults:
            if fault.kind == "changed_type" and fault.entity and fault.field:
                bend.fields.setdefault(fault.entity, {})[fault.field] = f"""json_quote("{fault.field}" || ' ?')"""
            elif fault.kind == "extra_field" and fault.entity and fault.field:
                bend.fields.setdefault(fault.entity, {})[fault.field] = "json_quote('new')"
            elif fault.kind == "endless_page":
                bend.endless = True
        try:
            response = await run_in_threadpool(self.mes.handle, request, bend)
        except mes_server.MesError as error:
            response = mes_server.error_response(error)
        return _spoilt(response, faults)

    # ---- controls

    def _control(self, request: Request) -> Response:
        if "origin" in request.headers:
            return _json(403, {"error": "Browsers of other pages may not control the sandbox."})
        try:
            return self._route(request)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc'])) or 'fault'}: {e['msg']}" for e in error.errors()]
            return _json(422, {"error": "; ".join(lines)})
        except orjson.JSONDecodeError as error:
            return _json(400, {"error": f"The body is not JSON: {error}."})
        except ConfigurationError as error:
            return _json(422, {"error": str(error)})
        except DatongError as error:
            return _json(503, {"error": str(error)})

    def _route(self, request: Request) -> Response:
        path = request.path.rstrip("/")
        handler = {
            ("GET", "/health"): lambda: _json(200, {"status": "ok"}),
            ("GET", "/_sandbox/status"): lambda: _json(200, self.status()),
            ("GET", "/_sandbox/truth"): lambda: _json(200, truth(self.store)),
            ("POST", "/_sandbox/edit"): lambda: self._edit(orjson.loads(request.body or b"{}")),
            ("GET", "/_sandbox/log"): lambda: self._log(dict(parse_qsl(request.query))),
            ("POST", "/_sandbox/advance"): lambda: _json(200, self._advance(orjson.loads(request.body or b"{}"))),
            ("GET", "/_sandbox/faults"): lambda: _json(200, [f.model_dump() for f in self.faults.listing()]),
            ("POST", "/_sandbox/faults"): lambda: _json(
                201, self.add_fault(Fault.model_validate(orjson.loads(request.body or b"{}"))).model_dump()
            ),
            ("DELETE", "/_sandbox/faults"): lambda: _json(200, {"removed": self.remove_faults()}),
        }.get((request.method, path))
        if handler:
            return handler()
        head, _, number = path.rpartition("/")
        if request.method == "DELETE" and head == "/_sandbox/faults" and number.isdigit():
            return _json(200, {"removed": self.remove_faults(int(number))})
        return _json(404, {"error": f"There is nothing at {request.method} {request.path}."})

    def _edit(self, given: Any) -> Response:
        """A person's change on a system's own screen."""
        try:
            edit = Edit.model_validate(given)
            if edit.system == "mes":
                return self.mes.edit(edit.key, edit.fields, edit.who)
            return self.erp.edit(edit.entity, tuple(edit.key.split("/")), edit.fields, edit.who)
        except mes_server.MesError as error:
            return _json(422, {"error": error.message})
        except ODataError as error:
            return _json(422, {"error": str(error)})

    def _log(self, asked: dict[str, str]) -> Response:
        """The systems' own change documents."""
        since = asked.get("since", "0")
        if not since.isdigit() or asked.keys() - {"system", "since"}:
            raise ConfigurationError("log", "takes system= and since=, the number of the last entry known.")
        return _json(200, self.store.logged(asked.get("system"), int(since)))

    def _advance(self, given: Any) -> dict[str, Any]:
        if not isinstance(given, dict) or set(given) - {"days", "seed"}:
            raise ConfigurationError("advance", 'takes {"days": number, "seed": number}.')
        return self.advance(given.get("days", 1), given.get("seed"))

    def status(self) -> dict[str, Any]:
        """The plant's parameters, its day, and how many rows each entity has."""
        parameters = json.loads(self.store.meta("parameters") or "{}")
        rows = self.store.row_counts()
        return {
            **parameters,
            "as_of": self.store.now().isoformat(),
            "day": self.plant.day,
            "rows": rows,
            "total_rows": sum(rows.values()),
            "crm": self.crm.name if self.crm else None,
            "faults": len(self.faults.listing()),
            "stale_writes_refused": self.stale_writes,
            "uptime_seconds": round(time.time() - self.started, 1),
            "memory_mb": round(psutil.Process().memory_info().rss / 2**20, 1),
        }

    def advance(self, days: Any, seed: Any = None) -> dict[str, Any]:
        """Let the plant live for some more days, and carry the CRM along."""
        if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= _MOST_DAYS:
            raise ConfigurationError("days", f"is {days!r}, not a whole number from 1 to {_MOST_DAYS}.")
        if seed is not None and not isinstance(seed, int):
            raise ConfigurationError("seed", f"is {seed!r}, not a whole number.")
        with self._advancing:
            before = self.store.row_counts()
            result = advance(self.plant, days, seed)
            if self.crm:
                self.crm.bring_up_to_date()
            after = self.store.row_counts()
        return {**result, "new_rows": {k: after[k] - before[k] for k in after if after[k] != before[k]}}

    def add_fault(self, fault: Fault) -> Fault:
        """Switch a fault on."""
        if fault.target == "crm":
            if self.crm is None:
                raise ConfigurationError("CRM", "was started without a database.", "start the sandbox with --postgres.")
            if fault.kind == "unauthorized":
                self.crm.set_password(secrets.token_urlsafe(12))
            elif fault.kind == "unavailable":
                self.crm.allow_connections(False)
            elif fault.kind == "changed_type" and fault.entity and fault.field:
                self.crm.change_type(fault.entity, fault.field)
            else:
                fault.struck = self.crm.drop_connections()
                return fault
        return self.faults.add(fault)

    def remove_faults(self, number: int | None = None) -> int:
        """Switch one fault off, or all; returns how many were on."""
        gone = self.faults.remove(number)
        crm_kinds = {f.kind for f in gone if f.target == "crm"}
        if self.crm and "unauthorized" in crm_kinds:
            self.crm.set_password(self.secrets["crm_password"])
        if self.crm and "unavailable" in crm_kinds:
            self.crm.allow_connections(True)
        if self.crm and "changed_type" in crm_kinds:
            self.crm.restore_types()
        return len(gone)

    def connections(self, address: str) -> dict[str, str]:
        """What connections.json says about the plant's systems."""
        found = {
            "SANDBOX_URL": address,
            "ERP_URL": address + odata_server.ROOT,
            "ERP_USER": self.secrets["erp_user"],
            "ERP_PASSWORD": self.secrets["erp_password"],
            "MES_URL": address + mes_server.ROOT,
            "MES_TOKEN": self.secrets["mes_token"],
        }
        return found | ({"CRM_URL": self.crm.url} if self.crm else {})


def _secrets(store: Store) -> dict[str, str]:
    known = store.meta("secrets")
    if known:
        return json.loads(known)
    made = {
        "erp_user": "DATONG",
        "erp_password": secrets.token_urlsafe(18),
        "mes_token": secrets.token_urlsafe(32),
        "crm_password": secrets.token_urlsafe(18),
    }
    with store.transaction():
        store.set_meta("secrets", json.dumps(made))
    return made


def _json(status: int, content: Any) -> Response:
    return Response(status, orjson.dumps(content), {"content-type": "application/json"})


def _refusal(fault: Fault) -> Response:
    if fault.kind == "error_in_200":
        message = "The request could not be processed."
        return _json(200, {"error": {"code": "SBX/500", "message": {"lang": "en", "value": message}}})
    if fault.kind == "unauthorized":
        scheme = "Basic" if fault.target == "erp" else "Bearer"
        return Response(
            401, b"Logon failed", {"www-authenticate": f'{scheme} realm="sandbox"', "content-type": "text/plain"}
        )
    after = (
        format_datetime(datetime.now(UTC) + timedelta(seconds=fault.retry_after), usegmt=True)
        if fault.as_date
        else str(fault.retry_after)
    )
    status = 429 if fault.kind == "rate_limit" else 503
    text = b"Too many requests" if status == 429 else b"Service unavailable"
    return Response(status, text, {"retry-after": after, "content-type": "text/plain"})


def _spoilt(response: Response, faults: list[Fault]) -> tuple[Response, bool]:
    kinds = {f.kind for f in faults}
    if kinds & {"lost_reply", "half_batch"}:
        return _DROPPED, False
    if "error_after" in kinds:
        return Response(500, b"Internal server error", {"content-type": "text/plain"}), False
    return response, "truncate" in kinds


async def _answer(scope: Scope, send: Send, response: Response, *, head: bool, truncated: bool) -> None:
    transport = scope.get("sandbox.transport")
    if response is _DROPPED:
        if transport is not None:
            transport.abort()
        return
    headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in response.headers.items()]
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if truncated and transport is not None:
        await send(
            {"type": "http.response.body", "body": response.body[: len(response.body) * 2 // 3], "more_body": True}
        )
        transport.close()
        return
    await send({"type": "http.response.body", "body": b"" if head else response.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        kind = message["type"].removeprefix("lifespan.")
        await send({"type": f"lifespan.{kind}.complete"})
        if kind == "shutdown":
            return


def _listen(state: Path, port: int) -> socket.socket:
    """A listening socket: the wanted port, else the last one if it is free, else any."""
    last = 0
    if not port:
        try:
            last = int(json.loads((state / "address.json").read_text(encoding="utf-8"))["port"])
        except (OSError, ValueError, KeyError):
            last = 0
    for wanted in dict.fromkeys((port or last, port)):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wanted))
        except OSError as error:
            listener.close()
            if wanted == port:
                raise ConfigurationError(
                    f"port {port}", f"cannot be listened on: {error.strerror}.", "choose another --port, or 0."
                ) from error
            continue
        listener.listen(256)
        return listener
    raise AssertionError("unreachable")


def serve(
    state: Path,
    *,
    port: int = 0,
    scale: float = 1,
    seed: int = 42,
    start: date = DEFAULT_START,
    page_size: int = 5000,
    postgres: str | None = None,
    crm_database: str = "sandbox_crm",
) -> None:
    """Run the sandbox until it is told to stop; writes connections.json and `address.json` in the state folder."""
    state.mkdir(parents=True, exist_ok=True)
    listener = _listen(state, port)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    sandbox = Sandbox(
        state,
        scale=scale,
        seed=seed,
        start=start,
        page_size=page_size,
        postgres=postgres,
        crm_database=crm_database,
    )
    known = {k: v for k, v in settings.read_state("connections.json").items() if k != "CRM_URL" or postgres}
    settings.write_state("connections.json", known | sandbox.connections(address))
    if (sandbox.plant.scale, sandbox.plant.seed) != (scale, seed):
        print(f"going on with the plant of scale {sandbox.plant.scale:g} and seed {sandbox.plant.seed} in {state}")
    draft = state / "address.json.tmp"
    draft.write_text(json.dumps({"address": address, "port": listener.getsockname()[1], "pid": os.getpid()}))
    draft.replace(state / "address.json")
    print(f"sandbox plant ready at {address}", flush=True)
    config = uvicorn.Config(
        sandbox.app,
        interface="asgi3",
        http=_Protocol,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=75,
    )
    uvicorn.Server(config).run(sockets=[listener])
    sandbox.store.close()
