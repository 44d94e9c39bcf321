"""The binlog of a real MariaDB: bronze is what the table is; nothing is lost or doubled wherever a run is killed."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pymysql
import pytest
from datong_ingestion.run import IngestResult, ingest_entity
from datong_ingestion.source import connect
from datong_ingestion.systems_config import SystemConfig
from datong_platform.errors import AuthenticationError, ConfigurationError, TransientError
from datong_platform.lake import history, landing, storage
from datong_platform.names import bronze
from datong_platform.settings import Settings
from kills import STEPS, killed_at


class Table:
    """A table, and the bronze table that follows it."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.name = f"m{uuid.uuid4().hex[:8]}"
        self.table = bronze(self.name, "thing")
        self.db = self.connect()
        self.run(f"create database {self.name} character set utf8mb4")
        self.run(f"use {self.name}")
        self.run(
            "create table thing (id int primary key, name varchar(200), amount decimal(13,3), due_on date, "
            "active tinyint(1), changed_at timestamp(6) null, local_at datetime(3), big bigint unsigned, "
            "body varbinary(20), long_text longtext, kind enum('a','b'), marks set('z','y','x'), at_time time, "
            "made year, flags bit(5), ratio double, doc json, small tinyint unsigned)"
        )

    def connect(self) -> Any:
        server = self.server
        return pymysql.connect(
            host=server.host, port=server.port, user=server.user, password=server.password, autocommit=True
        )

    def run(self, statement: str, values: Any = None) -> list[Any]:
        with self.db.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def put(self, *ids: int, name: str = "n") -> None:
        for number in ids:
            self.run(
                "insert into thing (id, name) values (%s, %s) on duplicate key update name = values(name)",
                [number, f"{name}{number}"],
            )

    def system(self, connection: dict[str, Any] | None = None, **changes: Any) -> SystemConfig:
        return SystemConfig.model_validate(
            {
                "system": self.name,
                "protocol": "mysql_log",
                "connection": {"url": self.server.url(self.name), "attempts": 3, "max_wait_seconds": 0.3}
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
        return dict(self.run("select id, name from thing order by id"))


@pytest.fixture
def table(services: Settings, mariadb: Any) -> Iterator[Table]:
    made = Table(mariadb)
    yield made
    made.run(f"drop database {made.name}")
    made.db.close()


ROW = (
    "insert into thing values (1, '部件 \"x\"\\n', 12345.125, '2026-01-31', 1, '2026-03-01 08:00:00.123456', "
    "'2026-03-01 08:00:00.5', 18446744073709551615, x'00ff', repeat('长', 5000), 'b', 'x,z', '-25:30:00', 2026, "
    "b'10101', 0.1, '{\"a\": [1, 2]}', 200)"
)


def test_types_are_the_same_in_the_baseline_and_in_the_changes(table: Table) -> None:
    table.run("set time_zone = '+00:00'")
    table.run(ROW)
    table.run("insert into thing (id, name, marks) values (2, '', '')")
    first = table.ingest()
    assert (first.rows, first.mode, first.new_table) == (2, "log", True)
    table.run(ROW.replace("(1,", "(3,"))
    table.run("insert into thing (id, name, marks) values (4, '', '')")
    assert table.ingest().rows == 2
    one, two, three, four = table.bronze()
    assert one["name"] == '部件 "x"\n'
    assert one["amount"] == Decimal("12345.125")
    assert one["due_on"] == date(2026, 1, 31)
    assert one["active"] is True
    assert one["changed_at"] == datetime(2026, 3, 1, 8, 0, 0, 123456, tzinfo=UTC)
    assert one["local_at"] == datetime(2026, 3, 1, 8, 0, 0, 500000)
    assert one["big"] == 18446744073709551615
    assert one["body"] == b"\x00\xff"
    assert (one["kind"], one["marks"], one["at_time"], one["made"]) == ("b", "z,x", "-25:30:00", 2026)
    assert (one["flags"], one["ratio"], one["small"]) == (21, 0.1, 200)
    for old, new in ((one, three), (two, four)):
        content = set(old) - {"id"} - {name for name in old if name.startswith(("_datong", "_log"))}
        assert {name: new[name] for name in content} == {name: old[name] for name in content}
    assert (one["_datong_operation"], three["_datong_operation"]) == ("snapshot", "insert")
    assert abs((three["_log_at"] - datetime.now(UTC)).total_seconds()) < 300


def test_every_type_comes_from_the_binlog_as_the_server_tells_it(table: Table) -> None:
    """The same random rows, once read from the table and once from its log."""
    scales = [(1, 0), (3, 3), (9, 0), (9, 9), (10, 1), (18, 9), (19, 4), (38, 0), (38, 20), (30, 17)]
    fields = {f"n{p}_{s}": f"decimal({p},{s})" for p, s in scales}
    for fsp in range(7):
        fields |= {f"{kind}{fsp}": f"{kind}({fsp}) null" for kind in ("time", "datetime", "timestamp")}
    whole = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
    fields |= {kind: kind for kind in whole} | {f"{kind}_u": f"{kind} unsigned" for kind in whole}
    fields |= {"f": "float", "d": "double", "y": "year", "b9": "bit(9)", "e": "enum('甲','b','')", "day": "date"}
    fields |= {
        "m": "set('z','y','x','w','v','u','t','s','r')",
        "c": "char(5)",
        "bin": "binary(4)",
        "vb": "varbinary(9)",
    }
    fields |= {"gbk": "varchar(300) character set gbk", "lat": "varchar(40) character set latin1", "t": "tinytext"}
    made = ", ".join(f"`{name}` {kind}" for name, kind in fields.items())
    table.run("set time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'")
    table.run("drop table thing")
    table.run(f"create table thing (id int primary key, {made})")
    chance = random.Random(7)

    def value(name: str, kind: str) -> Any:  # noqa: PLR0911 one way out per type
        if chance.random() < 0.1 and name != "e":
            return None
        if kind.startswith("decimal"):
            p, s = (int(part) for part in kind[8:-1].split(","))
            return Decimal(chance.randrange(-(10**p) + 1, 10**p) if chance.random() < 0.7 else 0).scaleb(-s)
        micros = f".{chance.randrange(10**6):06d}"
        if name.startswith("timestamp"):
            return f"{chance.randrange(1971, 2038)}-0{chance.randrange(1, 10)}-11 22:33:44{micros}"
        if name.startswith("time"):
            return f"{chance.choice(['', '-'])}{chance.randrange(838)}:59:{chance.randrange(60):02d}{micros}"
        if name.startswith("date"):
            return f"{chance.choice(['0001', '1969', '9999', '2026'])}-12-31 23:59:58{micros}"
        plain = name.removesuffix("_u")
        if plain in whole:
            bits = whole[plain]
            low, high = (0, 2**bits) if plain != name else (-(2 ** (bits - 1)), 2 ** (bits - 1))
            return chance.choice([low, high - 1, chance.randrange(low, high)])
        if kind.startswith("binary") or kind.startswith("varbinary"):
            return chance.randbytes(4)
        choices: dict[str, list[Any]] = {
            "f": [0.5, -1.25, 3e7],
            "d": [0.1, -1e300, 5e-324],
            "y": [0, 1901, 2155],
            "b9": [0, 1, 256, 511],
            "e": ["甲", "b", ""],
            "day": ["0001-01-01", "9999-12-31", "0000-00-00", "2026-00-10", "2026-02-31"],
            "m": ["", "z", "y,r", "z,y,x,w,v,u,t,s,r"],
            "c": ["", "a b", "部件"],
            "gbk": ["", "部" * 150],
            "lat": ["é€ÿ", ""],
            "t": ["x" * 63, "部件 \n"],
        }
        return chance.choice(choices[name])  # fmt: skip

    for number in range(1, 61):
        values = [value(name, kind) for name, kind in fields.items()]
        table.run(f"insert into thing values ({', '.join(['%s'] * (len(values) + 1))})", [number, *values])
    assert table.ingest().rows == 60
    table.run(f"insert into thing select id + 1000, {', '.join(f'`{name}`' for name in fields)} from thing")
    assert table.ingest().rows == 60
    found = {row["id"]: row for row in table.bronze()}
    for number in range(1, 61):
        old, new = found[number], found[number + 1000]
        assert {name: new[name] for name in fields} == {name: old[name] for name in fields}
        assert (new["_datong_rescued"] is None) == (old["_datong_rescued"] is None)


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


def test_what_is_rolled_back_never_comes(table: Table) -> None:
    table.ingest()
    other = table.connect()
    other.begin()
    with other.cursor() as cursor:
        cursor.execute(f"insert into {table.name}.thing (id, name) values (1, 'late')")
    table.put(2)
    assert table.ingest().rows == 1
    other.commit()
    assert table.ingest().rows == 1
    other.begin()
    with other.cursor() as cursor:
        cursor.execute(f"insert into {table.name}.thing (id, name) values (9, 'never')")
    other.rollback()
    other.close()
    assert table.ingest().rows == 0
    assert [row["id"] for row in table.bronze()] == [2, 1]


def test_a_baseline_under_fire_has_every_row_once(table: Table) -> None:
    table.put(*range(50))
    stop = threading.Event()

    def fire() -> None:
        db, number = table.connect(), 10_000
        with db.cursor() as cursor:
            while not stop.is_set() and number < 13_000:
                cursor.execute(f"insert into {table.name}.thing (id, name) values ({number}, 'fire')")
                number += 1
        db.close()

    thread = threading.Thread(target=fire)
    thread.start()
    try:
        for _ in range(4):
            table.ingest(events=True)
    finally:
        stop.set()
        thread.join()
    table.ingest(events=True)
    assert sorted(row["id"] for row in table.bronze()) == sorted(table.truth())


def test_bronze_follows_any_changes_in_batches_of_any_size(table: Table) -> None:
    dice = random.Random(5)
    for _ in range(4):
        for _ in range(40):
            number = dice.randrange(30)
            if dice.random() < 0.3:
                table.run("delete from thing where id = %s", [number])
            else:
                table.put(number, name=f"v{dice.random()}")
        table.ingest({"batch_rows": dice.choice([5, 200_000])})
    table.run("flush binary logs")
    table.put(99)
    while table.ingest({"batch_rows": 7}).batches:
        continue
    assert table.current() == table.truth()


def test_dates_that_are_none_are_rescued(table: Table) -> None:
    table.ingest()
    table.run("set sql_mode = ''")
    table.run("insert into thing (id, due_on, local_at) values (1, '0000-00-00', '0000-00-00 00:00:00')")
    assert table.ingest().rescued == 1
    row = table.bronze()[0]
    assert (row["due_on"], row["local_at"]) == (None, None)
    assert set(json.loads(row["_datong_rescued"])) == {"due_on", "local_at"}


def test_a_new_column_is_taken_in_and_a_dropped_one_is_null(table: Table) -> None:
    table.put(1)
    table.ingest()
    table.run("alter table thing add column extra int first")
    table.run("insert into thing (id, extra) values (2, 7)")
    assert table.ingest().new_columns == ["extra"]
    table.run("alter table thing drop column name")
    table.run("insert into thing (id, extra) values (3, 8)")
    table.ingest()
    rows = {row["id"]: row for row in table.bronze()}
    assert (rows[2]["extra"], rows[3]["extra"], rows[3]["name"]) == (7, 8, None)


def test_a_truncated_table_and_a_binlog_that_is_gone_start_a_new_baseline(table: Table) -> None:
    table.put(1, 2, 3)
    table.ingest()
    table.run("truncate thing")
    table.put(4)
    result = table.ingest()
    assert any("emptied" in event for event in result.events), result.events
    assert table.current() == table.truth() == {4: "n4"}
    table.put(5)
    table.run("delete from thing where id = 4")
    for _ in range(2):
        table.run("flush binary logs")
    last = table.run("show binary logs")[-1][0]
    deadline = time.monotonic() + 30
    while len(table.run("show binary logs")) > 1 and time.monotonic() < deadline:
        # a file that the server still sends to a reader that has just gone stays for a moment
        table.run(f"purge binary logs to '{last}'")
        time.sleep(0.2)
    result = table.ingest()
    assert any("no binlog" in event for event in result.events), result.events
    assert table.current() == table.truth() == {5: "n5"}


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_loses_and_doubles_nothing(table: Table, step: str) -> None:
    table.put(1, 2)
    with killed_at(STEPS[step]):
        table.ingest(events=True)
    table.put(3)
    table.ingest(events=True)
    table.put(4, 5)
    with killed_at(STEPS[step]):
        table.ingest(events=True)
    table.ingest(events=True)
    table.ingest(events=True)
    assert sorted(row["id"] for row in table.bronze()) == [1, 2, 3, 4, 5]


def test_two_runs_at_once_take_every_change_once_and_need_no_new_baseline(table: Table) -> None:
    table.ingest(events=True)
    table.put(*range(40))
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: table.ingest({"attempts": 15}, events=True), range(3)))
    assert [event for result in results for event in result.events] == []
    assert [row["id"] for row in table.bronze()] == list(range(40))


def test_settings_under_which_the_binlog_tells_too_little_are_named(table: Table) -> None:
    table.run("set global binlog_row_metadata = MINIMAL")
    try:
        with pytest.raises(ConfigurationError) as caught:
            table.ingest()
    finally:
        table.run("set global binlog_row_metadata = FULL")
    assert "binlog_row_metadata = MINIMAL" in str(caught.value)
    assert "binlog_row_metadata = FULL" in caught.value.next_step


def test_discovery_names_the_table(table: Table) -> None:
    source = connect(table.system())
    assert f"{table.name}.thing" in source.entities()
    source.close()


def test_a_wrong_password_is_told_and_no_secret_is_written(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    table.put(1)
    result = table.ingest()
    secret = table.server.password
    with pytest.raises(AuthenticationError) as caught:
        table.ingest({"url": table.server.url(table.name).replace(secret, "wrong-77a")})
    with pytest.raises(TransientError) as away:
        table.ingest({"url": f"mysql://a:{secret}@127.0.0.1:9/x", "attempts": 1})
    assert f"{table.name}.thing" in str(caught.value)
    manifest = landing.read_manifest(table.name, "thing", 1)
    assert manifest
    commits = [storage.get(key) or b"" for key in storage.keys(f"{table.table.path}/_delta_log/")]
    written = [caplog.text, str(result), repr(caught.value), repr(away.value), repr(table.system())]
    for text in [*written, manifest.to_json().decode(), *(body.decode(errors="replace") for body in commits)]:
        assert secret not in text
        assert "wrong-77a" not in text
