"""Three small, faithful source systems that hold the same rows: OData v2, REST and PostgreSQL.

A rig is one of them with an entity `thing` and the means to change it. The shared suite runs on every rig; the tests
of what is particular to a protocol use the same rigs.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from datong_ingestion.run import IngestResult, ingest_entity
from datong_ingestion.systems_config import SystemConfig
from datong_platform.lake import history
from datong_platform.names import bronze
from datong_platform.settings import Settings

USER, PASSWORD, TOKEN = "reader", "pass-word-7f3a", "token-9c1e"
START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)

Row = dict[str, Any]


def thing(number: int, **changes: Any) -> Row:
    """A row of the entity."""
    return {
        "Id": f"{number:05d}",
        "Name": f"部件 {number}",
        "Amount": Decimal(number) + Decimal("0.125"),
        "DueOn": date(2026, 1, 1) + timedelta(days=number),
        "Active": number % 2 == 0,
        "ChangedAt": START + timedelta(minutes=number),
    } | changes


class Rows:
    """What a system holds, with a log of changes."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.changes: list[tuple[str, str]] = []

    def put(self, *rows: Row) -> None:
        for row in rows:
            self.changes.append((row["Id"], "U" if row["Id"] in self.rows else "C"))
            self.rows[row["Id"]] = row

    def remove(self, *ids: str) -> None:
        for key in ids:
            del self.rows[key]
            self.changes.append((key, "D"))

    def sorted(self) -> list[Row]:
        return [self.rows[key] for key in sorted(self.rows)]


class Answer:
    """What the HTTP systems send."""

    def __init__(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.body, self.status, self.headers = body, status, headers or {}
        self.cut = False


Fault = Callable[[Answer], Answer | None]


class HttpSystem:
    """A server on loopback; `faults` change its next answers, None drops the connection."""

    def __init__(self) -> None:
        self.store = Rows()
        self.faults: list[Fault] = []
        self.every: Fault | None = None
        self.requests: list[str] = []
        self.page_size = 3
        system = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                system.requests.append(self.path)
                answer: Answer | None = system.answer(self.path, dict(self.headers))
                is_data = "$metadata" not in self.path
                if is_data and system.every:
                    answer = system.every(answer)
                elif is_data and system.faults:
                    answer = system.faults.pop(0)(answer)
                if answer is None:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                    self.connection.close()
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
                if answer.cut:
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str, headers: dict[str, str]) -> Answer:
        raise NotImplementedError

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _epoch(moment: datetime) -> str:
    return f"/Date({int(moment.timestamp() * 1000)}+0000)/"


class ODataSystem(HttpSystem):
    """An SAP Gateway in small: `$metadata`, `__next`, `!deltatoken`."""

    types: ClassVar[dict[str, str]] = {
        "Id": 'Type="Edm.String" Nullable="false" MaxLength="10"',
        "Name": 'Type="Edm.String"',
        "Amount": 'Type="Edm.Decimal" Precision="13" Scale="3"',
        "DueOn": 'Type="Edm.DateTime" sap:display-format="Date"',
        "Active": 'Type="Edm.Boolean"',
        "ChangedAt": 'Type="Edm.DateTimeOffset"',
    }

    def __init__(self) -> None:
        super().__init__()
        self.types = dict(type(self).types)  # pyright: ignore[reportAttributeAccessIssue]
        self.epoch = 1
        self.token_on: str = "__delta"
        """Where the token is: `__delta`, `__next` or `links` (only in DeltaLinksOfThings)."""
        self.internal_host = ""
        self.counts: bool | None = True
        """Whether it counts rows when asked to; None refuses to."""
        self.subscribed = True
        """Whether a delta token is worth anything: after a forced full load it is answered with all rows."""
        self.tokens: list[str] = []

    def answer(self, path: str, headers: dict[str, str]) -> Answer:  # noqa: PLR0911 one way out per kind of request
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if headers.get("Authorization") != expected:
            return Answer(b'{"error":{"code":"401","message":{"value":"Logon failed"}}}', 401)
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.endswith("$metadata"):
            return Answer(self.metadata(), headers={"Content-Type": "application/xml"})
        if parts.path.endswith("/DeltaLinksOfThings"):
            if self.subscribed:
                self.tokens.append(f"E{self.epoch}_{len(self.store.changes):06d}")
            return self._collection([{"DeltaToken": text, "CreatedAt": _epoch(START)} for text in self.tokens], {})
        if "!deltatoken" in query:
            return self._delta(query) if self.subscribed else self._all_again()
        if "ChangesAfter" in parts.path:
            return self._delta(query | {"!deltatoken": parts.path.split("('")[1].split("')")[0]})
        if "track-changes" in headers.get("Prefer", ""):
            self.subscribed = True
        rows = self.store.sorted()
        if self.counts is None and "$inlinecount" in query:
            return Answer(b'{"error":{"code":"x","message":{"value":"$inlinecount is not supported"}}}', 400)
        if "$filter" in query:
            bound = datetime.fromisoformat(query["$filter"].split("'")[1])
            rows = [row for row in rows if row["ChangedAt"] >= bound]
        start = int(query.get("$skiptoken", 0))
        counted = {"__count": str(len(rows))} if self.counts and query.get("$inlinecount") == "allpages" else {}
        page = [self._row(row, "") for row in rows[start : start + self.page_size]]
        if start + self.page_size < len(rows):
            kept = f"&$filter={query['$filter'].replace(' ', '%20')}" if "$filter" in query else ""
            following = {"__next": self._link(f"$skiptoken={start + self.page_size}{kept}")}
            return self._collection(page, counted | following)
        tracked = "track-changes" in headers.get("Prefer", "")
        return self._collection(page, counted | self._token() if tracked else counted)

    def metadata(self) -> bytes:
        fields = "".join(f'<Property Name="{name}" {text}/>' for name, text in self.types.items())
        mode = '<Property Name="ODQ_CHANGEMODE" Type="Edm.String" MaxLength="1"/>'
        return (
            '<?xml version="1.0"?><edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx" '
            'xmlns:sap="http://www.sap.com/Protocols/SAPData"><edmx:DataServices>'
            '<Schema Namespace="API" xmlns="http://schemas.microsoft.com/ado/2008/09/edm"><EntityType Name="ThingType">'
            f'<Key><PropertyRef Name="Id"/></Key>{fields}{mode}</EntityType>'
            '<EntityType Name="LinkType"><Key><PropertyRef Name="DeltaToken"/></Key>'
            '<Property Name="DeltaToken" Type="Edm.String"/></EntityType>'
            '<EntityContainer Name="C"><EntitySet Name="Things" EntityType="API.ThingType"/>'
            + ('<EntitySet Name="DeltaLinksOfThings" EntityType="API.LinkType"/>' if self.token_on == "links" else "")
            + "</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"
        ).encode()

    def _link(self, query: str) -> str:
        return f"{self.internal_host or self.address}/odata/API/Things?$format=json&{query}"

    def _token(self) -> dict[str, str]:
        if self.token_on == "links":
            return {}
        return {self.token_on: self._link(f"!deltatoken='E{self.epoch}_{len(self.store.changes):06d}'")}

    def _delta(self, query: dict[str, str]) -> Answer:
        epoch, _, seen = query["!deltatoken"].strip("'").partition("_")
        if epoch != f"E{self.epoch}":
            return Answer(b'{"error":{"code":"x","message":{"value":"Delta token is not available"}}}', 410)
        last: dict[str, str] = {}
        for key, change in self.store.changes[int(seen) :]:
            last[key] = change
        rows = [self._row(self.store.rows.get(key) or {"Id": key}, change) for key, change in last.items()]
        return self._collection(rows, self._token())

    def _all_again(self) -> Answer:
        return self._collection([self._row(row, "") for row in self.store.sorted()], self._token())

    def _row(self, row: Row, change: str) -> dict[str, Any]:
        def encode(value: Any) -> Any:
            if isinstance(value, datetime):
                return _epoch(value)
            if isinstance(value, date):
                return _epoch(datetime(value.year, value.month, value.day, tzinfo=UTC)).replace("+0000", "")
            return str(value) if isinstance(value, Decimal) else value

        uri = f"{self.address}/odata/API/Things('{row['Id']}')"
        fields = {name: encode(row.get(name)) for name in {**self.types, **row}}
        return {
            "__metadata": {"id": uri, "uri": uri, "type": "API.ThingType"},
            **fields,
            "ODQ_CHANGEMODE": change,
            "to_Other": {"__deferred": {"uri": f"{uri}/to_Other"}},
        }

    def _collection(self, rows: list[dict[str, Any]], tail: dict[str, str]) -> Answer:
        return Answer(json.dumps({"d": {"results": rows, **tail}}, ensure_ascii=False).encode())


class RestSystem(HttpSystem):
    """An MES in small; `style` chooses how it pages."""

    def __init__(self) -> None:
        super().__init__()
        self.style = "next_cursor"

    def answer(self, path: str, headers: dict[str, str]) -> Answer:
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return Answer(b'{"error":"unauthorized"}', 401)
        query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        rows = sorted(self.store.rows.values(), key=lambda row: (str(row["ChangedAt"]), row["Id"]))
        if "updated_since" in query:
            bound = datetime.fromisoformat(query["updated_since"])
            rows = [row for row in rows if row["ChangedAt"] >= bound]
        size = self.page_size
        start = int(query.get("cursor") or query.get("offset") or (int(query.get("page", 1)) - 1) * size)
        page = [self._row(row) for row in rows[start : start + size]]
        more = start + size < len(rows)
        link = f"{self.address}/api/things?cursor={start + size}" if more else None
        tail: dict[str, Any] = {
            "next_cursor": {"next_cursor": str(start + size) if more else None},
            "next_link": {"next": link},
            "offset": {"total": len(rows)},
        }.get(self.style, {})
        text = json.dumps({"data": page, "error": None, **tail}, ensure_ascii=False)
        answer = Answer(re.sub(r'"number:([^"]*)"', r"\1", text).encode())
        if link and self.style == "link_header":
            answer.headers["Link"] = f'<{link}>; rel="next"'
        return answer

    def _row(self, row: Row) -> dict[str, Any]:
        def encode(value: Any) -> Any:
            if isinstance(value, datetime):
                return value.isoformat()
            if isinstance(value, date):
                return value.isoformat()
            # a JSON number with all its digits, which json.dumps cannot write
            return f"number:{value}" if isinstance(value, Decimal) else value

        return {name: encode(value) for name, value in row.items()}


class Rig:
    """A source system under test, and the bronze table it is read into."""

    protocol = ""
    incremental = "cursor"
    secret = PASSWORD
    http: HttpSystem | None = None

    def __init__(self) -> None:
        self.name = f"s{uuid.uuid4().hex[:8]}"
        self.table = bronze(self.name, "thing")

    def connection(self) -> dict[str, Any]:
        raise NotImplementedError

    def put(self, *rows: Row) -> None:
        raise NotImplementedError

    def remove(self, *ids: str) -> None:
        raise NotImplementedError

    def entity(self) -> dict[str, Any]:
        raise NotImplementedError

    def system(self, mode: str | None = None, **changes: Any) -> SystemConfig:
        connection = changes.pop("connection", {})
        entity = {"name": "thing", "mode": mode or self.incremental, **self.entity(), **changes}
        if entity["mode"] == "cursor":
            entity.setdefault("cursor", "ChangedAt")
        return SystemConfig.model_validate(
            {
                "system": self.name,
                "protocol": self.protocol,
                "connection": {**self.connection(), "attempts": 3, "max_wait_seconds": 0.3, **connection},
                "entities": [entity],
            }
        )

    def ingest(self, mode: str | None = None, **changes: Any) -> IngestResult:
        return ingest_entity(self.system(mode, **changes), "thing")

    def bronze(self) -> list[Row]:
        """All rows of the bronze table, in the order of batches and keys."""
        delta = history.open_table(self.table)
        rows: list[Row] = [] if delta is None else delta.to_pyarrow_table().to_pylist()
        return sorted(rows, key=lambda row: (row["_datong_batch_id"], str(row["Id"])))

    def current(self) -> list[Row]:
        """The state that bronze says the source has."""
        last: dict[str, Row] = {row["Id"]: row for row in self.bronze()}
        fields = list(thing(0))
        return [
            {name: row[name] for name in fields}
            for _, row in sorted(last.items())
            if row["_datong_operation"] != "delete"
        ]

    def stop(self) -> None:
        pass


class ODataRig(Rig):
    protocol, incremental = "odata_v2", "delta_token"

    def __init__(self, _: Settings) -> None:
        super().__init__()
        self.http = self.server = ODataSystem()

    def connection(self) -> dict[str, Any]:
        return {"base_url": f"{self.server.address}/odata", "user": USER, "password": PASSWORD}

    def entity(self) -> dict[str, Any]:
        return {"source": "API/Things"}

    def put(self, *rows: Row) -> None:
        self.server.store.put(*rows)

    def remove(self, *ids: str) -> None:
        self.server.store.remove(*ids)

    def stop(self) -> None:
        self.server.stop()


class RestRig(Rig):
    protocol, secret = "rest", TOKEN

    def __init__(self, _: Settings) -> None:
        super().__init__()
        self.http = self.server = RestSystem()

    def connection(self) -> dict[str, Any]:
        return {
            "base_url": f"{self.server.address}/api",
            "auth": "bearer",
            "token": TOKEN,
            "data_path": "data",
            "error_path": "error",
            "paging": {"style": "next_cursor"},
        }

    def entity(self) -> dict[str, Any]:
        return {
            "source": "things",
            "keys": ["Id"],
            "fields": {
                "Id": "string",
                "Name": "string",
                "Amount": "decimal(13,3)",
                "DueOn": "date",
                "Active": "boolean",
                "ChangedAt": "timestamp",
            },
        }

    put, remove, stop = ODataRig.put, ODataRig.remove, ODataRig.stop


class SqlRig(Rig):
    protocol = "sql"

    def __init__(self, services: Settings) -> None:
        super().__init__()
        assert services.postgres_url
        self.url = services.postgres_url
        self.db = psycopg.connect(self.url, autocommit=True)
        self.db.execute(f"create schema {self.name}")  # pyright: ignore[reportArgumentType]
        self.run(
            'create table thing ("Id" text primary key, "Name" varchar(80), "Amount" numeric(13,3), "DueOn" date, '
            '"Active" boolean, "ChangedAt" timestamptz)'
        )
        self.secret = self.url.split(":")[2].split("@")[0]

    def run(self, statement: str, values: list[Any] | None = None) -> None:
        self.db.execute(f"set search_path to {self.name}")  # pyright: ignore[reportArgumentType]
        self.db.execute(statement, values)  # pyright: ignore[reportArgumentType]

    def connection(self) -> dict[str, Any]:
        return {"url": self.url, "schema": self.name}

    def entity(self) -> dict[str, Any]:
        return {"source": "thing"}

    def system(self, mode: str | None = None, **changes: Any) -> SystemConfig:
        if (mode or self.incremental) == "cursor":
            changes = {"detect_deletes": True} | changes
        return super().system(mode, **changes)

    def put(self, *rows: Row) -> None:
        for row in rows:
            names = ", ".join(f'"{name}"' for name in row)
            places = ", ".join(["%s"] * len(row))
            sets = ", ".join(f'"{name}" = excluded."{name}"' for name in row)
            self.run(
                f'insert into thing ({names}) values ({places}) on conflict ("Id") do update set {sets}',
                list(row.values()),
            )

    def remove(self, *ids: str) -> None:
        self.run('delete from thing where "Id" = any(%s)', [list(ids)])

    def spoil(self) -> set[str]:
        """Values that the database holds and the lake cannot; gives the fields."""
        self.run("""update thing set "Amount" = 'NaN', "DueOn" = 'infinity', "ChangedAt" = '4000-01-01 BC'""")
        return {"Amount", "DueOn", "ChangedAt"}

    def retype(self, column: str, kind: str) -> None:
        using = " using true" if kind == "boolean" else ""
        self.run(f'alter table thing alter column "{column}" type {kind}{using}')

    def add_text(self, column: str) -> None:
        self.run(f'alter table thing add column "{column}" text')

    def stop(self) -> None:
        self.db.execute(f"drop schema {self.name} cascade")  # pyright: ignore[reportArgumentType]
        self.db.close()


class MySqlRig(SqlRig):
    server = "mariadb"

    def __init__(self, server: Any) -> None:
        Rig.__init__(self)
        import pymysql

        self.url, self.secret = server.url(self.name), server.password
        self.db = pymysql.connect(  # pyright: ignore[reportAttributeAccessIssue]
            host=server.host, port=server.port, user=server.user, password=server.password, autocommit=True
        )
        self.run(f"create database {self.name} character set utf8mb4")
        self.db.select_db(self.name)
        self.run("set time_zone = '+00:00', sql_mode = ''")
        self.run(
            "create table thing (Id varchar(10) primary key, Name varchar(80), Amount decimal(13,3), DueOn date, "
            "Active boolean, ChangedAt timestamp(6) null default null)"
        )

    def run(self, statement: str, values: list[Any] | None = None) -> None:
        with self.db.cursor() as cursor:
            cursor.execute(statement, values)

    def put(self, *rows: Row) -> None:
        for row in rows:
            names = ", ".join(row)
            places = ", ".join(["%s"] * len(row))
            sets = ", ".join(f"{name} = value({name})" for name in row)
            values = [
                value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
                for value in row.values()
            ]
            self.run(f"insert into thing ({names}) values ({places}) on duplicate key update {sets}", values)

    def remove(self, *ids: str) -> None:
        self.run("delete from thing where Id in %s", [list(ids)])

    def spoil(self) -> set[str]:
        self.run("update thing set DueOn = '0000-00-00', Active = 7, ChangedAt = '0000-00-00'")
        return {"DueOn", "Active", "ChangedAt"}

    def retype(self, column: str, kind: str) -> None:
        self.run(f"alter table thing modify {column} {kind}")

    def add_text(self, column: str) -> None:
        self.run(f"alter table thing add column {column} text")

    def stop(self) -> None:
        self.run(f"drop database {self.name}")
        self.db.close()


RIGS: dict[str, Callable[[Any], Rig]] = {"odata_v2": ODataRig, "rest": RestRig, "sql": SqlRig, "mysql": MySqlRig}


def _beside(name: str) -> Any:
    """A file of rigs beside this one; tests are no package, so that it is loaded by its path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RIGS["mongodb"] = _beside("rigs_mongodb").made(SimpleNamespace(**globals()))
RIGS["odata_v4"] = _beside("rigs_odata_v4").made(SimpleNamespace(**globals()))
RIGS["soap"] = _beside("rigs_soap").made(SimpleNamespace(**globals()))
RIGS["files"], RIGS["xml"] = _beside("rigs_files").made(SimpleNamespace(**globals()))
STREAMS: dict[str, Callable[[Any], Rig]] = _beside("rigs_streams").made(SimpleNamespace(**globals()))
"""Rigs of servers that have suites of their own; `made_rig` makes them, too."""


def _made(request: pytest.FixtureRequest, kind: str) -> Iterator[Any]:
    request.getfixturevalue("services")
    made = (RIGS | STREAMS)[kind]
    rig = made(request.getfixturevalue(getattr(made, "server", "services")))
    yield rig
    rig.stop()


@pytest.fixture(params=sorted(RIGS))
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Each protocol in turn."""
    yield from _made(request, request.param)


@pytest.fixture
def made_rig(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Any]]:
    """Makes the rig of a protocol by its name."""
    made: list[Any] = []

    def make(kind: str) -> Any:
        found = _made(request, kind)
        made.append(found)
        return next(found)

    yield make
    for rig in made:
        assert next(rig, None) is None


@pytest.fixture(params=["odata_v2", "odata_v4", "rest"])
def http_rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Each protocol that speaks HTTP."""
    yield from _made(request, request.param)


@pytest.fixture
def odata(request: pytest.FixtureRequest) -> Iterator[ODataRig]:
    yield from _made(request, "odata_v2")


@pytest.fixture
def odata_v4(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from _made(request, "odata_v4")


@pytest.fixture
def soap(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from _made(request, "soap")


@pytest.fixture
def rest(request: pytest.FixtureRequest) -> Iterator[RestRig]:
    yield from _made(request, "rest")


@pytest.fixture
def mongodb(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from _made(request, "mongodb")


@pytest.fixture
def mysql(request: pytest.FixtureRequest) -> Iterator[MySqlRig]:
    yield from _made(request, "mysql")


@pytest.fixture(params=["mysql", "sql"])
def database(request: pytest.FixtureRequest) -> Iterator[SqlRig]:
    """Each database with a server of its own."""
    yield from _made(request, request.param)


@pytest.fixture
def sql(request: pytest.FixtureRequest) -> Iterator[SqlRig]:
    yield from _made(request, "sql")


@pytest.fixture
def row() -> Callable[..., Row]:
    """Makes a row by number."""
    return thing


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses are recorded instead of waited for."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses
