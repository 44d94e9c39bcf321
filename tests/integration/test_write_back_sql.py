"""Write-back to a real PostgreSQL and a real MariaDB: one row each, no lost update, nothing cut or rounded."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pymysql
import pytest
from datong_ingestion.connections.sql import SqlConnection
from datong_ingestion.protocols.databases.dialect import Dialect
from datong_ingestion.systems_config import load_system
from datong_ingestion.write_back import FlowConfig, run_flow
from datong_ingestion.write_back.ledger import Ledger
from datong_ingestion.write_back.sql import SqlTarget
from datong_ingestion.write_back.systems import open_target
from datong_platform.errors import ConfigurationError, TransientError
from datong_platform.settings import Settings, settings
from deltalake import write_deltalake
from lake_builds import let_read

ROWS = pa.schema(
    [
        ("order_no", pa.string()),
        ("title", pa.string()),
        ("quantity", pa.decimal128(18, 6)),
        ("line_count", pa.int32()),
        ("is_urgent", pa.bool_()),
        ("due_on", pa.date32()),
        ("released_at", pa.timestamp("us", "UTC")),
        ("entered_at", pa.timestamp("us", "UTC")),
    ]
)
DECLARED = """
    order_no varchar(20) primary key, title varchar(20), quantity decimal(18, 6) check (quantity > 0), line_count int,
    is_urgent boolean, due_on date, released_at {instant}, entered_at {local}, version int default 1
"""


@dataclass(frozen=True)
class Database:
    """A table of orders in a database, and the way to it."""

    url: str
    table: str
    run: Callable[[str], list[tuple[Any, ...]]]

    def rows(self) -> list[tuple[Any, ...]]:
        return self.run(f"select order_no, title, quantity from {self.table} order by order_no")


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, services: Settings) -> Iterator[Database]:
    table = f"orders_{uuid.uuid4().hex[:8]}"
    if request.param == "postgresql":
        url = services.postgres_url or ""
        connection: Any = psycopg.connect(url, autocommit=True)
        declared = DECLARED.format(instant="timestamptz", local="timestamp")
    else:
        server = request.getfixturevalue("mariadb")
        url = server.url("datong")
        connection = pymysql.connect(
            host=server.host, port=server.port, user=server.user, password=server.password, autocommit=True
        )
        with connection.cursor() as first:
            first.execute("create database if not exists datong character set utf8mb4")
            first.execute("use datong")
            first.execute("set time_zone = '+00:00'")
        declared = DECLARED.format(instant="timestamp(6) null", local="datetime(6)")

    def run(statement: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    run(f"create table {table} ({declared})")
    yield Database(url, table, run)
    run(f"drop table {table}")
    connection.close()


def a_flow(database: Database, rows: list[dict[str, Any]], **changes: Any) -> FlowConfig:
    """A flow of the test's own, whose serve table holds `rows`."""
    mark = uuid.uuid4().hex[:8]
    target = {
        "system": "crm",
        "resource": database.table,
        "lookup": "order_no",
        "identity": ["order_no"],
        "timezone": "Asia/Shanghai",
        **changes.pop("target", {}),
    }
    flow = FlowConfig.model_validate(
        {
            "flow": f"test_{mark}",
            "source": f"serve.test__t{mark}",
            "key": "order_no",
            "operations": ["create", "update"],
            "settle_seconds": 0.2,
            "target": target,
            "payload": {name: name for name in ROWS.names},
            **changes,
        }
    )
    keep(flow, rows)
    return flow


def keep(flow: FlowConfig, rows: list[dict[str, Any]]) -> None:
    now = settings()
    write_deltalake(
        now.table_uri(flow.table),
        pa.Table.from_pylist(rows, schema=ROWS),
        mode="overwrite",
        storage_options=now.storage_options(),
    )
    let_read(flow.table)


def order(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "order_no": f"P{number:05d}",
        "title": "齿轮箱 №1",
        "quantity": Decimal("0.000001") + number,
        "line_count": 3,
        "is_urgent": True,
        "due_on": date(2026, 2, 28),
        "released_at": datetime(2026, 2, 28, 16, 30, 0, 123456, tzinfo=UTC),
        "entered_at": datetime(2026, 2, 28, 16, 30, tzinfo=UTC),
        **changes,
    }


def target_of(flow: FlowConfig, database: Database) -> SqlTarget:
    return SqlTarget(flow, SqlConnection(url=database.url, concurrency=3), "the credentials")


def run(flow: FlowConfig, database: Database, **told: Any) -> Any:
    target = target_of(flow, database)
    try:
        return run_flow(flow, target=target, **told)
    finally:
        target.close()


def test_rows_arrive_exactly_as_they_are_and_only_changes_are_sent(database: Database) -> None:
    flow = a_flow(database, [order(n) for n in range(1, 41)])
    result = run(flow, database)
    assert (result.planned, result.sent, result.verified, result.ok) == (40, 40, 40, True), result.problems
    [row] = database.run(f"select * from {database.table} where order_no = 'P00007'")
    assert row[1:6] == ("齿轮箱 №1", Decimal("7.000001"), 3, True, date(2026, 2, 28))
    assert row[6].replace(tzinfo=UTC) == datetime(2026, 2, 28, 16, 30, 0, 123456, tzinfo=UTC)
    assert row[7] == datetime(2026, 3, 1, 0, 30), "a column without a zone holds the target's own time"
    again = run(flow, database)
    assert (again.sent, again.ok) == (0, True)
    keep(flow, [order(n) if n != 7 else order(n, title="changed") for n in range(1, 41)])
    third = run(flow, database)
    assert (third.sent, third.verified, third.ok) == (1, 1, True), third.problems
    assert [row[1] for row in database.rows() if row[0] == "P00007"] == ["changed"]


def test_what_the_database_refuses_is_told_in_its_words_and_stops_no_other_row(database: Database) -> None:
    flow = a_flow(database, [order(1), order(2, quantity=Decimal(-1)), order(3, title="a title of more than 20")])
    result = run(flow, database)
    assert (result.verified, result.failed, result.ok) == (1, 2, False)
    assert "check" in result.problems["P00002"].lower() or "constraint" in result.problems["P00002"].lower()
    assert "too long" in result.problems["P00003"].lower(), "nothing is cut to fit"
    assert [row[0] for row in database.rows()] == ["P00001"]


@pytest.mark.parametrize("version", ["version", ""])
def test_a_row_that_somebody_changed_in_between_is_a_conflict_and_keeps_their_change(
    database: Database, version: str
) -> None:
    flow = a_flow(database, [order(1)], target={"etag_field": version})
    assert run(flow, database).ok
    keep(flow, [order(1, title="ours")])

    def meanwhile(step: str, _: str) -> None:
        if step == "intended":
            database.run(f"update {database.table} set title = 'theirs', version = version + 1")

    result = run(flow, database, on_step=meanwhile)
    assert (result.conflict, result.ok) == (1, False)
    assert database.rows()[0][1] == "theirs"


def test_a_row_that_somebody_else_made_is_not_made_twice(database: Database) -> None:
    flow = a_flow(database, [order(1)], operations=["create"], look_first=False)
    flow_before = a_flow(database, [order(1)])
    assert run(flow_before, database).ok
    result = run(flow, database)
    assert (result.verified, result.ok) == (1, True), result.problems
    assert len(database.rows()) == 1


@pytest.fixture
def procedure(database: Database) -> Iterator[str]:
    """A stored procedure that books an order, and counts how often it was called."""
    name, log = f"book_{database.table}", f"{database.table}_log"
    database.run(f"create table {log} (order_no varchar(40))")
    body = f"update {database.table} set title = new_title, version = version + 1 where order_no = wanted"
    told = f"insert into {log} values (wanted)"
    if database.url.startswith("postgres"):
        database.run(
            f"create procedure {name}(wanted text, new_title text) language plpgsql as $$ begin "
            f"if new_title = 'no' then raise exception 'the period is closed'; end if; {body}; {told}; end $$"
        )
    else:
        database.run(
            f"create procedure {name}(in wanted varchar(40), in new_title varchar(40)) begin "
            "if new_title = 'no' then signal sqlstate '45000' set message_text = 'the period is closed'; end if; "
            f"{body}; {told}; end"
        )
    yield name
    database.run(f"drop procedure {name}")
    database.run(f"drop table {log}")


def test_a_stored_procedure_brings_a_row_to_the_payload_once(database: Database, procedure: str) -> None:
    assert run(a_flow(database, [order(n) for n in range(1, 5)]), database).ok
    calls = {
        "operations": ["call"],
        "entity": "production_order",
        "action": {"name": procedure, "parameters": {"wanted": "order_no", "new_title": "title"}},
        "payload": {"title": "title"},
    }
    rows = [order(1), order(2, title="booked"), order(3, title="no"), order(4, title="ours")]
    flow = a_flow(database, rows, **calls)

    def meanwhile(step: str, _: str) -> None:
        if step == "intended":
            database.run(f"update {database.table} set title = 'theirs' where order_no = 'P00004'")

    result = run(flow, database, on_step=meanwhile)
    assert (result.verified, result.failed, result.conflict) == (2, 1, 1), result.problems
    assert "the period is closed" in result.problems["P00003"]
    assert [row[0] for row in database.run(f"select order_no from {database.table}_log")] == ["P00002"]
    titles = {row[0]: row[1] for row in database.rows()}
    assert (titles["P00002"], titles["P00004"]) == ("booked", "theirs")
    again = run(flow, database)
    assert "P00002" not in again.problems
    assert len(database.run(f"select order_no from {database.table}_log")) == 1


def test_a_system_bears_one_rate_from_all_its_flows_together(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_URL", database.url)
    schema = "public" if database.url.startswith("postgres") else "datong"
    known = load_system("crm")
    slow = known.model_copy(update={"system": f"crm_{database.table}", "writes_per_second": 20})
    first, second = (
        a_flow(database, [order(n) for n in numbers], target={"resource": f"{schema}.{database.table}"})
        for numbers in (range(1, 11), range(11, 21))
    )
    targets = [open_target(flow, slow) for flow in (first, second)]
    began = time.monotonic()
    try:
        with ThreadPoolExecutor(2) as both:
            results = list(
                both.map(lambda one: run_flow(one[0], target=one[1]), zip((first, second), targets, strict=True))
            )
    finally:
        for target in targets:
            target.close()
    assert [result.verified for result in results] == [10, 10]
    # 20 changes in two blocks of 10 take half a second each, and the second begins after the first's
    assert time.monotonic() - began >= 0.5


class _Failing:
    """A connection whose next commit is lost, after its effect or before it."""

    def __init__(self, connection: Any, faults: list[str], error: Exception) -> None:
        self._connection, self._faults, self._error = connection, faults, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def commit(self) -> None:
        fault = self._faults.pop() if self._faults else ""
        if fault != "before":
            self._connection.commit()
        if fault:
            self._connection.close()
            raise self._error


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_commit_whose_answer_is_lost_is_read_back_and_never_repeated_blindly(
    database: Database, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = a_flow(database, [order(n) for n in range(1, 6)])
    target = target_of(flow, database)
    faults = [fault, fault]
    dialect: Dialect = getattr(target, "_database")  # noqa: B009 the driver's edge is where an answer gets lost
    known = dialect.writer
    error: Exception = (
        psycopg.OperationalError("server closed the connection unexpectedly")
        if database.url.startswith("postgres")
        else pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")
    )
    monkeypatch.setattr(dialect, "writer", lambda thing: _Failing(known(thing), faults, error))
    try:
        result = run_flow(flow, target=target)
    finally:
        target.close()
    assert (result.verified, result.ok) == (5, True), result.problems
    assert len(database.rows()) == 5
    assert max(entry.attempt for entry in Ledger(flow.flow).latest().values()) == (2 if fault == "before" else 1)


def test_what_the_table_does_not_have_is_named_before_anything_is_sent(database: Database) -> None:
    flow = a_flow(database, [order(1)], payload={"order_no": "order_no", "colour": "title"})
    with pytest.raises(ConfigurationError, match=r"does not have: colour[\s\S]*the table has order_no, title"):
        run(flow, database)
    flow = a_flow(database, [order(1)], target={"resource": "no_such_table"})
    with pytest.raises(ConfigurationError, match="no_such_table"):
        run(flow, database)


def test_a_flow_finds_its_database_by_the_system_it_names(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_URL", database.url)
    schema = "public" if database.url.startswith("postgres") else "datong"
    flow = a_flow(database, [order(1)], target={"resource": f"{schema}.{database.table}"})
    target = open_target(flow)
    assert isinstance(target, SqlTarget)
    assert run_flow(flow, target=target).ok
    target.close()
    monkeypatch.setenv("CRM_URL", database.url.replace(str(_port(database.url)), "1"))
    with pytest.raises(TransientError, match="cannot be reached"):
        open_target(flow)


def _port(url: str) -> int:
    from urllib.parse import urlsplit

    return urlsplit(url).port or 0
