"""The log of a real PostgreSQL: bronze is what the table is; nothing is lost or doubled wherever a run is killed."""

from __future__ import annotations

import json
import logging
import random
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from datong_ingestion.protocols.postgresql_log import PostgresqlLog
from datong_ingestion.reconcile import Reconciled, reconcile_system
from datong_ingestion.run import EntityIngest, IngestResult, Plan, ingest_entity
from datong_ingestion.source import connect
from datong_ingestion.systems_config import SystemConfig
from datong_platform.errors import AuthenticationError, ConfigurationError, TransientError
from datong_platform.lake import history, landing, storage
from datong_platform.names import bronze
from datong_platform.settings import Settings
from kills import STEPS, Step, killed_at
from postgresql_server import PASSWORD, LoggingPostgres


class Table:
    """A published table, and the bronze table that follows it."""

    def __init__(self, server: LoggingPostgres) -> None:
        self.server = server
        self.name = f"p{uuid.uuid4().hex[:8]}"
        self.table = bronze(self.name, "thing")
        self.db = psycopg.connect(f"postgresql://owner@{server.address}", autocommit=True)
        self.run(f"create schema {self.name}")
        self.run(f"set search_path to {self.name}")
        self.run(
            "create table thing (id int primary key, name text, amount numeric(13,3), due_on date, active boolean, "
            "changed_at timestamptz, local_at timestamp, big bigint, body bytea, tags text[], loose numeric)"
        )
        self.run(f"alter publication datong add table {self.name}.thing")

    def run(self, statement: str, values: Any = None) -> None:
        self.db.execute(statement, values)  # pyright: ignore[reportArgumentType]

    def put(self, *ids: int, name: str = "n") -> None:
        for number in ids:
            self.run(
                "insert into thing (id, name) values (%s, %s) on conflict (id) do update set name = excluded.name",
                [number, f"{name}{number}"],
            )

    def system(self, connection: dict[str, Any] | None = None, **changes: Any) -> SystemConfig:
        return SystemConfig.model_validate(
            {
                "system": self.name,
                "protocol": "postgresql_log",
                "connection": {"url": self.server.url, "schema": self.name, "attempts": 4, "max_wait_seconds": 0.5}
                | (connection or {}),
                "entities": [{"name": "thing", "source": "thing", "mode": "log"} | changes],
            }
        )

    def ingest(self, connection: dict[str, Any] | None = None, **changes: Any) -> IngestResult:
        return ingest_entity(self.system(connection, **changes), "thing")

    def bronze(self) -> list[dict[str, Any]]:
        delta = history.open_table(self.table)
        rows = delta.to_pyarrow_table().to_pylist() if delta else []
        return sorted(rows, key=lambda row: (row["_datong_batch_id"], row["_log_position"] or "", row["id"]))

    def current(self) -> dict[int, str]:
        last: dict[int, dict[str, Any]] = {}
        for row in sorted(self.bronze(), key=lambda row: row["_datong_batch_id"]):
            last[row["id"]] = row
        return {key: row["name"] for key, row in sorted(last.items()) if row["_datong_operation"] != "delete"}

    def truth(self) -> dict[int, str]:
        return dict(self.db.execute("select id, name from thing order by id").fetchall())

    def slot(self) -> tuple[str, ...] | None:
        return self.db.execute(
            "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = %s",
            [f"datong_{self.name}_thing"],
        ).fetchone()


@pytest.fixture
def table(services: Settings, postgres_log: LoggingPostgres) -> Iterator[Table]:
    made = Table(postgres_log)
    yield made
    made.run(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s and not active",
        [f"datong_{made.name}_thing"],
    )
    made.run(f"drop schema {made.name} cascade")
    made.db.close()


ROW = (
    "insert into thing values (1, '部件 \"x\", \n\\N', 12345.125, '2026-01-31', true, '2026-03-01 09:00:00.123456+01', "
    "'2026-03-01 08:00:00.5', 9007199254740993, '\\x00ff', '{a,\"b c\"}', 1.5)"
)


def test_types_are_exact_in_the_baseline_and_in_the_changes(table: Table) -> None:
    table.run(ROW)
    table.run("insert into thing (id, name) values (2, '')")
    first = table.ingest()
    assert (first.rows, first.mode, first.new_table) == (2, "log", True)
    table.run(ROW.replace("(1,", "(3,"))
    second = table.ingest()
    assert second.rows == 1
    one, two, three = table.bronze()
    assert one["name"] == '部件 "x", \n\\N'
    assert one["amount"] == Decimal("12345.125")
    assert one["due_on"] == date(2026, 1, 31)
    assert one["active"] is True
    assert one["changed_at"] == datetime(2026, 3, 1, 8, 0, 0, 123456, tzinfo=UTC)
    assert one["local_at"] == datetime(2026, 3, 1, 8, 0, 0, 500000)
    assert one["big"] == 9007199254740993
    assert one["body"] == b"\x00\xff"
    assert one["tags"] == '{a,"b c"}'
    assert one["loose"] == Decimal("1.5")
    assert (two["name"], two["amount"]) == ("", None), "an empty text is not null"
    content = set(one) - {"id"} - {name for name in one if name.startswith(("_datong", "_log"))}
    assert {name: three[name] for name in content} == {name: one[name] for name in content}
    assert (one["_datong_operation"], three["_datong_operation"]) == ("snapshot", "insert")
    assert (one["_log_position"], one["_log_at"]) == (None, None)
    assert abs((three["_log_at"] - datetime.now(UTC)).total_seconds()) < 300


def test_updates_deletes_and_a_changed_key_are_told(table: Table) -> None:
    table.put(1, 2, 3)
    table.ingest()
    table.run("update thing set name = 'second' where id = 1")
    table.run("delete from thing where id = 2")
    table.run("update thing set id = 30 where id = 3")
    result = table.ingest()
    assert (result.rows, result.deletes) == (2, 2)
    assert table.current() == table.truth() == {1: "second", 30: "n3"}
    idle = table.ingest()
    assert (idle.rows, idle.deletes, idle.batches, idle.delta_version) == (0, 0, [], result.delta_version)


def test_what_is_rolled_back_never_comes_and_commits_come_in_their_order(table: Table) -> None:
    table.ingest()
    other = psycopg.connect(f"postgresql://owner@{table.server.address}")
    other.execute(f"insert into {table.name}.thing (id, name) values (1, 'late')")  # pyright: ignore[reportArgumentType]
    table.put(2)
    assert table.ingest().rows == 1
    other.commit()
    assert table.ingest().rows == 1
    other.execute(f"insert into {table.name}.thing (id, name) values (9, 'never')")  # pyright: ignore[reportArgumentType]
    other.rollback()
    other.close()
    assert table.ingest().rows == 0
    assert [row["id"] for row in table.bronze()] == [2, 1]


def test_a_baseline_under_fire_has_every_row_once(table: Table) -> None:
    """Writers go on while the slot is made and the table is read: nothing falls between, and nothing comes twice."""
    table.put(*range(200))
    stop = threading.Event()

    def fire(start: int) -> None:
        with psycopg.connect(f"postgresql://owner@{table.server.address}", autocommit=True) as db:
            number = start
            while not stop.is_set() and number < start + 3000:
                db.execute(f"insert into {table.name}.thing (id, name) values ({number}, 'fire')")  # pyright: ignore[reportArgumentType]
                number += 1

    threads = [threading.Thread(target=fire, args=(start,)) for start in (10_000, 20_000)]
    for thread in threads:
        thread.start()
    try:
        table.ingest(events=True)
        for _ in range(3):
            table.ingest(events=True)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    table.ingest(events=True)
    found = sorted(row["id"] for row in table.bronze())
    assert found == sorted(table.truth()), "as many rows as the table has, none of them twice"


def test_bronze_follows_any_changes(table: Table) -> None:
    dice = random.Random(11)
    for _ in range(5):
        for _ in range(40):
            number = dice.randrange(30)
            if dice.random() < 0.3:
                table.run("delete from thing where id = %s", [number])
            else:
                table.put(number, name=f"v{dice.random()}")
        table.ingest({"batch_rows": dice.choice([5, 200_000])})
    while table.ingest({"batch_rows": 7}).batches:
        continue
    assert table.current() == table.truth()


def test_values_that_do_not_fit_are_rescued(table: Table) -> None:
    bad = "update thing set changed_at = 'infinity', due_on = '4000-01-01 BC', loose = 'NaN', name = 'x' where id = 1"
    table.put(1)
    table.run(bad)
    table.ingest()
    table.run(bad)
    table.ingest()
    first, second = table.bronze()
    for row in (first, second):
        assert (row["changed_at"], row["due_on"], row["loose"]) == (None, None, None)
        assert set(json.loads(row["_datong_rescued"])) == {"changed_at", "due_on", "loose"}


def test_a_large_value_that_was_not_logged_is_told_and_not_invented(table: Table) -> None:
    table.run("alter table thing alter column name set storage external")
    table.run("insert into thing (id, name) values (1, repeat('x', 100000))")
    table.ingest()
    table.run("update thing set big = 5 where id = 1")
    assert table.ingest().rescued == 1
    last = table.bronze()[-1]
    assert last["name"] is None
    assert "not in the log" in json.loads(last["_datong_rescued"])["name"]
    table.run("alter table thing replica identity full")
    table.run("update thing set big = 6 where id = 1")
    table.ingest()
    assert (table.bronze()[-1]["name"], table.bronze()[-1]["_datong_rescued"]) == ("x" * 100_000, None)


def test_a_new_column_is_taken_in_and_a_dropped_one_is_null(table: Table) -> None:
    table.put(1)
    table.ingest()
    table.run("alter table thing add column extra int")
    table.run("insert into thing (id, extra) values (2, 7)")
    assert table.ingest().new_columns == ["extra"]
    table.run("alter table thing drop column big")
    table.put(3)
    table.ingest()
    rows = {row["id"]: row for row in table.bronze()}
    assert (rows[2]["extra"], rows[3]["extra"], rows[3]["big"]) == (7, None, None)


def test_a_truncated_table_starts_a_new_baseline_that_tells_the_deletes(table: Table) -> None:
    table.put(1, 2, 3)
    table.ingest()
    table.run("truncate thing")
    table.put(4)
    result = table.ingest()
    assert any("truncated" in event for event in result.events)
    assert table.current() == table.truth() == {4: "n4"}


@pytest.mark.parametrize("loss", ["dropped", "moved"])
def test_a_lost_position_starts_a_new_baseline_without_doubles_or_gaps(table: Table, loss: str) -> None:
    table.put(1, 2)
    table.ingest()
    table.put(3)
    table.run("delete from thing where id = 1")
    slot = f"datong_{table.name}_thing"
    if loss == "dropped":
        table.run("select pg_drop_replication_slot(%s)", [slot])
    else:
        table.run("select pg_replication_slot_advance(%s, pg_current_wal_lsn())", [slot])
    result = table.ingest()
    assert any("position was lost" in event for event in result.events)
    assert table.current() == table.truth() == {2: "n2", 3: "n3"}
    table.put(4)
    assert table.ingest().rows == 1


KILLS: dict[str, Step] = {
    **STEPS,
    "before the slot moves on": (PostgresqlLog, "confirm", "before"),
    "after the slot moved on": (PostgresqlLog, "confirm", "after"),
}


@pytest.mark.parametrize("step", KILLS)
def test_a_kill_at_any_step_loses_and_doubles_nothing(table: Table, step: str) -> None:
    table.put(1, 2)
    with killed_at(KILLS[step]):
        table.ingest(events=True)
    table.put(3)
    table.ingest(events=True)
    table.put(4, 5)
    with killed_at(KILLS[step]):
        table.ingest(events=True)
    table.ingest(events=True)
    table.ingest(events=True)
    assert sorted(row["id"] for row in table.bronze()) == [1, 2, 3, 4, 5]


def test_two_runs_at_once_take_every_change_once(table: Table) -> None:
    table.ingest(events=True)
    table.put(*range(30))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: table.ingest({"attempts": 15}, events=True), range(3)))
    assert [row["id"] for row in table.bronze()] == list(range(30))


def test_a_run_that_was_overtaken_reads_on_instead_of_reading_everything_anew(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.ingest(events=True)
    table.put(1, 2)
    known = EntityIngest._land  # between its plan and its read another run takes all and moves the slot on

    def overtaken(ingest: EntityIngest, plan: Plan) -> Any:
        monkeypatch.setattr(EntityIngest, "_land", known)
        table.ingest(events=True)
        return known(ingest, plan)

    monkeypatch.setattr(EntityIngest, "_land", overtaken)
    assert not table.ingest(events=True).events
    assert [row["id"] for row in table.bronze()] == [1, 2]


def test_the_slot_moves_on_after_the_load_and_past_a_log_that_is_not_ours(table: Table) -> None:
    table.put(1)
    table.ingest()
    before = table.slot()
    table.put(2)
    result = table.ingest()
    after = table.slot()
    assert before
    assert after
    assert result.position
    assert after[0] == json.loads(result.position)["lsn"] != before[0]
    table.run(f"create table {table.name}.other as select repeat(md5(i::text), 30) from generate_series(1, 25000) i")
    table.ingest()
    moved = table.slot()
    assert moved
    assert table.db.execute("select %s::pg_lsn - %s::pg_lsn > 16000000", [moved[0], after[0]]).fetchone() == (True,)


def test_what_is_still_to_be_set_up_is_told_as_the_statement_to_run(table: Table) -> None:
    table.run("create table bare (n int)")
    with pytest.raises(ConfigurationError) as unpublished:
        table.ingest(source="bare", keys=["n"])
    assert f'alter publication datong add table "{table.name}"."bare"' in unpublished.value.next_step
    with pytest.raises(ConfigurationError) as none:
        table.ingest({"publication": "nobody"}, source="bare")
    assert "create publication nobody for table" in none.value.next_step
    table.run(f"alter publication datong add table {table.name}.bare")
    with pytest.raises(ConfigurationError) as keyless:
        table.ingest(source="bare", keys=["n"])
    assert "replica identity full" in keyless.value.next_step
    with pytest.raises(ConfigurationError, match="no table"):
        table.ingest(source="absent")


def test_a_publication_that_leaves_changes_out_in_silence_is_refused(table: Table) -> None:
    publication = f"pub_{table.name}"
    table.run(f"create publication {publication} for table {table.name}.thing with (publish = 'insert, update')")
    with pytest.raises(ConfigurationError) as kinds:
        table.ingest({"publication": publication})
    assert "publish = 'insert, update, delete, truncate'" in kinds.value.next_step
    table.run("create table parts (id int primary key) partition by range (id)")
    table.run("create table part_1 partition of parts for values from (0) to (100)")
    table.run(f"create publication {publication}_parts for table {table.name}.parts")
    with pytest.raises(ConfigurationError) as partitions:
        table.ingest({"publication": f"{publication}_parts"}, source="parts")
    assert "publish_via_partition_root = true" in partitions.value.next_step
    with pytest.raises(ConfigurationError, match="filter"):
        table.ingest(filter="id > 5")


def test_a_partitioned_table_is_followed_under_its_own_name(table: Table) -> None:
    table.run("create table parts (id int primary key, name text) partition by range (id)")
    table.run("create table part_1 partition of parts for values from (0) to (100)")
    publication = f"pub_{table.name}"
    table.run(f"create publication {publication} for table {table.name}.parts with (publish_via_partition_root = true)")
    table.run("insert into parts values (1, 'a')")
    table.ingest({"publication": publication}, source="parts")
    table.run("update parts set name = 'b'")
    assert table.ingest({"publication": publication}, source="parts").rows == 1
    assert table.current() == {1: "b"}


def test_chosen_fields_come_alone_and_nothing_else_is_rescued(table: Table) -> None:
    table.put(1)
    table.ingest(select=["name"])
    table.put(2)
    result = table.ingest(select=["name"])
    assert (result.rows, result.rescued) == (1, 0)
    assert [set(row) & {"id", "name", "amount"} for row in table.bronze()] == [{"id", "name"}] * 2


def test_what_the_log_has_yet_to_tell_is_no_difference(table: Table) -> None:
    table.put(*range(1, 9))
    table.ingest()
    table.run("delete from thing where id in (2, 3)")
    behind = reconcile_system(table.system(), keys_too=True, read_first=False)[0]
    assert isinstance(behind, Reconciled)
    assert (behind.status, behind.by) == ("differs", "id")
    found = reconcile_system(table.system(), keys_too=True)[0]
    assert isinstance(found, Reconciled)
    assert (found.status, sorted(table.current())) == ("agrees", [1, 4, 5, 6, 7, 8])


def test_discovery_names_the_published_tables(table: Table) -> None:
    source = connect(table.system())
    assert f"{table.name}.thing" in source.entities()
    source.close()


def test_a_wrong_password_is_told_and_no_secret_is_written(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    table.put(1)
    result = table.ingest()
    with pytest.raises(AuthenticationError) as caught:
        table.ingest({"url": table.server.url.replace(PASSWORD, "wrong-77a")})
    with pytest.raises(TransientError) as away:
        table.ingest({"url": f"postgresql://a:{PASSWORD}@127.0.0.1:9/x", "attempts": 1})
    assert f"{table.name}.thing" in str(caught.value)
    manifest = landing.read_manifest(table.name, "thing", 1)
    assert manifest
    commits = [storage.get(key) or b"" for key in storage.keys(f"{table.table.path}/_delta_log/")]
    written = [caplog.text, str(result), repr(caught.value), repr(away.value), repr(table.system())]
    for text in [*written, manifest.to_json().decode(), *(body.decode(errors="replace") for body in commits)]:
        assert PASSWORD not in text
        assert "wrong-77a" not in text
