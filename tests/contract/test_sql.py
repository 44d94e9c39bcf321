"""What is particular to SQL databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from datong_ingestion.source import connect
from datong_platform.errors import ConfigurationError

Make = Callable[..., dict[str, Any]]


def test_every_catalog_type_arrives_exactly(sql: Any) -> None:
    sql.run("create type mood as enum ('good', 'bad')")
    sql.run("create domain euro as numeric(12,2)")
    sql.run(
        "create table all_types (id bigint primary key, s smallint, i int, r real, d double precision, "
        "n numeric(38,9), bare numeric, money euro, c char(3), t text, b bytea, day date, clock time, "
        "moment timestamp, instant timestamptz, span interval, u uuid, j jsonb, tags text[], m mood, ok boolean)"
    )
    sql.run(
        "insert into all_types values (9007199254740993, -5, 70000, 1.5, 0.1, "
        "12345678901234567890123456789.123456789, 1.000000000000000001, 12.30, 'ab', '全角Ａ', '\\x00ff', "
        "'1900-02-28', '13:05:07', '2026-03-29 02:30:00.123456', '2026-03-29 02:30:00+08', '1 day 02:00', "
        "'9b55c9a8-6fb8-4b07-bc52-424c115bcf29', '{\"a\": 1}', '{x,\"y,z\"}', 'bad', true)"
    )
    sql.run("insert into all_types (id) values (2)")
    result = sql.ingest("full", source="all_types", keys=["id"])
    second, first = sorted(_rows(sql), key=lambda r: r["id"])
    assert result.schema.field("n").type == pa.decimal128(38, 9)
    assert result.schema.field("money").type == pa.decimal128(12, 2)
    assert result.schema.field("moment").type == pa.timestamp("us")
    expected = {
        "id": 9007199254740993,
        "s": -5,
        "i": 70000,
        "r": 1.5,
        "d": 0.1,
        "n": Decimal("12345678901234567890123456789.123456789"),
        "bare": Decimal("1.000000000000000001"),
        "money": Decimal("12.30"),
        "c": "ab ",
        "t": "全角Ａ",
        "b": b"\x00\xff",
        "day": datetime(1900, 2, 28).date(),
        "clock": "13:05:07",
        "moment": datetime(2026, 3, 29, 2, 30, 0, 123456),
        "instant": datetime(2026, 3, 28, 18, 30, tzinfo=UTC),
        "span": "1 day 02:00:00",
        "u": "9b55c9a8-6fb8-4b07-bc52-424c115bcf29",
        "j": '{"a": 1}',
        "m": "bad",
        "ok": True,
    }
    assert {name: first[name] for name in expected} == expected
    assert json.loads(first["tags"]) == ["x", "y,z"]
    assert all(second[name] is None for name in expected if name != "id")
    assert first["_datong_rescued"] is None


def _rows(sql: Any) -> list[dict[str, Any]]:
    from datong_platform.lake import history

    delta = history.open_table(sql.table)
    assert delta
    return delta.to_pyarrow_table().to_pylist()


def test_a_number_with_too_many_digits_is_rescued_never_wrapped_around(sql: Any) -> None:
    sql.run("create table numbers (id int primary key, n numeric)")
    values = {
        1: "1234567890123456789012345678901.5",
        2: "-99999999999999999999.999999999999999999",
        3: "170141183460469231731687303715884105728",
        4: "0." + "0" * 40 + "1",
        5: "-12.5",
    }
    for number, value in values.items():
        sql.run("insert into numbers values (%s, %s)", [number, value])
    assert sql.ingest("full", source="numbers").rescued == 3
    rows = {r["id"]: r for r in _rows(sql)}
    kept = {number: row["n"] for number, row in rows.items()}
    assert kept == {1: None, 2: Decimal(values[2]), 3: None, 4: None, 5: Decimal("-12.5")}
    rescued = {number: json.loads(rows[number]["_datong_rescued"])["n"] for number in (1, 3, 4)}
    assert {number: Decimal(text) for number, text in rescued.items()} == {
        number: Decimal(values[number]) for number in (1, 3, 4)
    }


def test_a_query_with_a_cursor_expression_finds_rows_never_updated(sql: Any, row: Make) -> None:
    sql.run("create table orders (id int primary key, note text, create_date timestamp, write_date timestamp)")
    sql.run("insert into orders values (1, 'a', '2026-01-01', null), (2, 'b', '2026-01-02', '2026-01-05')")
    ways = {
        "source": "",
        "query": f"select * from {sql.name}.orders where id > 0;",
        "keys": ["id"],
        "cursor": "",
        "cursor_expression": "coalesce(write_date, create_date)",
        "detect_deletes": True,
    }
    assert sql.ingest("cursor", **ways).rows == 2
    sql.run("insert into orders values (3, 'c', '2026-01-06', null)")
    sql.run("update orders set note = 'a2', write_date = '2026-01-07' where id = 1")
    sql.run("delete from orders where id = 2")
    result = sql.ingest("cursor", **ways)
    assert (result.rows, result.deletes) == (2, 1)
    assert result.position == "2026-01-07T00:00:00"
    assert sql.ingest("cursor", **ways).batches == []
    assert "_datong_cursor" not in result.schema.names


def test_a_soft_delete_is_a_delete(sql: Any, row: Make) -> None:
    sql.run("alter table thing add column is_deleted boolean default false")
    sql.put(row(1), row(2))
    sql.ingest(soft_delete={"column": "is_deleted"})
    sql.run('update thing set is_deleted = true, "ChangedAt" = now() where "Id" = \'00001\'')
    result = sql.ingest(soft_delete={"column": "is_deleted"})
    assert (result.rows, result.deletes) == (0, 1)
    assert [r["Id"] for r in sql.current()] == ["00002"]


def test_a_row_without_a_cursor_is_not_overlooked(sql: Any, row: Make) -> None:
    sql.put(row(1))
    sql.ingest()
    sql.put(row(2, ChangedAt=None))
    assert sql.ingest().rows == 1
    assert sql.ingest().batches == []
    sql.put(row(2, ChangedAt=None, Name="second"))
    assert sql.ingest().rows == 1


def test_a_late_commit_within_the_overlap_is_found(sql: Any, row: Make) -> None:
    sql.put(row(10))
    with psycopg.connect(sql.url) as late:
        late.execute(f"""insert into {sql.name}.thing ("Id", "ChangedAt") values ('late', '{row(9)["ChangedAt"]}')""")
        assert sql.ingest().rows == 1
    assert sql.ingest().rows == 1
    assert {r["Id"] for r in sql.bronze()} == {"00010", "late"}


def test_a_date_far_in_the_future_does_not_hide_later_changes(sql: Any, row: Make) -> None:
    sql.put(row(1), row(2, ChangedAt=datetime(9999, 12, 31, tzinfo=UTC)))
    sql.ingest()
    sql.put(row(3))
    assert sql.ingest().rows == 1


def test_the_first_read_and_its_key_set_see_one_moment(sql: Any, row: Make) -> None:
    sql.put(*[row(i) for i in range(5)])
    system = sql.system()
    source = connect(system)
    description = source.describe(system.entity("thing"))
    pages = source.read(system.entity("thing"), description, None)
    first = next(pages)
    sql.remove("00001")
    keys = [key for page in pages if page.keys is not None for key in page.keys.column("Id").to_pylist()]
    assert len(first.rows) == 5
    assert len(keys) == 5


def test_a_connection_lost_in_the_middle_begins_anew(sql: Any, row: Make, no_waiting: list[float]) -> None:
    sql.put(*[row(i) for i in range(3)])
    sql.run(
        'insert into thing ("Id", "Name") select \'x\' || g, repeat(md5(g::text), 2) from generate_series(1, 400000) g'
    )
    from datong_ingestion.protocols import sql as module

    real, kills = module.cursor.later, iter([True])

    def later(position: str | None, column: Any) -> str | None:
        if next(kills, False):
            sql.run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'datong'")
        return real(position, column)

    module.cursor.later = later
    try:
        result = sql.ingest()
    finally:
        module.cursor.later = real
    assert result.rows == result.total_rows == 400003


def test_a_missing_table_names_it(sql: Any) -> None:
    with pytest.raises(ConfigurationError, match="nothing_here"):
        sql.ingest("full", source="nothing_here")


PARTITIONED = {
    "whole numbers": ("bigint", lambda n: n * 1000 - 50_000),
    "exact numbers": ("decimal(12,3)", lambda n: Decimal(n) / 8),
    "days": ("date", lambda n: date(2020, 1, 1) + timedelta(days=7 * n)),
    "times": ("timestamp", lambda n: datetime(2026, 1, 1) + timedelta(minutes=37 * n, microseconds=n)),
    "texts": ("varchar(20)", lambda n: f"物料's\\{n:04d}"),
    "one value": ("integer", lambda _: 7),
    "no value": ("integer", lambda _: None),
}


@pytest.mark.parametrize("kind", PARTITIONED)
def test_partitions_hold_every_row_exactly_once(database: Any, kind: str) -> None:
    sql_type, value = PARTITIONED[kind]
    database.run(f"create table parts (id integer primary key, cut {sql_type} null)")
    for number in range(100):
        database.run("insert into parts values (%s, %s)", [number, None if number % 25 == 3 else value(number)])
    system = database.system("full", source="parts", filter="id < 90")
    entity = system.entity("thing")
    source: Any = connect(system)
    conditions = source.partitions(entity, "cut", 4)
    description = source.describe(entity)
    found = [
        [
            number
            for page in source.read(
                entity.model_copy(update={"filter": f"({entity.filter}) and ({condition})"}), description, None
            )
            for number in page.rows.column("id").to_pylist()
        ]
        for condition in conditions
    ]
    assert sorted(number for part in found for number in part) == list(range(90))
    assert len(conditions) == (4 if kind in set(PARTITIONED) - {"one value", "no value"} else 1)
    assert max(len(part) for part in found) <= (30 if len(found) == 4 else 90)


@pytest.mark.parametrize(("column", "words"), [("Nope", "has no field Nope"), ("Active", "only true or false")])
def test_partitions_of_a_field_that_is_not_fit_name_it(sql: Any, column: str, words: str) -> None:
    system = sql.system()
    source: Any = connect(system)
    with pytest.raises(ConfigurationError, match=words):
        source.partitions(system.entity("thing"), column, 4)
