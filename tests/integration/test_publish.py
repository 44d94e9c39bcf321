"""Publishing to a real PostgreSQL: exact, atomic, and no reader ever waits or sees half a table."""

from __future__ import annotations

import json
import math
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from datong_platform.errors import (
    ConfigurationError,
    SchemaError,
    ServiceError,
    TerminalError,
    TransientError,
)
from datong_platform.lake import publish
from datong_platform.lake.indexes import Index, index_of
from datong_platform.lake.publish import ColumnSpec, PublishSpec, load_specs, publish_all, publish_table
from datong_platform.names import TableName
from datong_platform.settings import Settings, settings
from deltalake import write_deltalake
from lake_builds import let_read

SCHEMA = pa.schema(
    [
        ("order_id", pa.string()),
        ("item_id", pa.int32()),
        ("quantity", pa.decimal128(15, 3)),
        ("is_late", pa.bool_()),
        ("due_on", pa.date32()),
        ("changed_at", pa.timestamp("us", "UTC")),
    ]
)


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "order_id": f"{number:010d}",
        "item_id": 10,
        "quantity": Decimal(number),
        "is_late": number % 2 == 0,
        "due_on": date(2026, 3, 1),
        "changed_at": datetime(2026, 3, 1, 8, 30, 0, 123456, tzinfo=UTC),
        **changes,
    }


def write(spec: PublishSpec, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> None:
    now = settings()
    write_deltalake(
        now.table_uri(spec.source),
        pa.Table.from_pylist(rows, schema=schema),
        mode="overwrite",
        schema_mode="overwrite",
        storage_options=now.storage_options(),
    )
    let_read(spec.source)


@pytest.fixture
def spec(services: Settings) -> PublishSpec:
    return PublishSpec(
        TableName("serve", f"bi__t{uuid.uuid4().hex[:8]}"),
        key=("order_id", "item_id"),
        description="Open orders. One row per order item.",
        title_zh="未清订单",
        columns={"quantity": ColumnSpec("Ordered quantity.", "数量"), "due_on": ColumnSpec("", "到期日")},
        indexes=(Index(("due_on",)),),
    )


@pytest.fixture
def reader(services: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(services.need("postgres_reader_url"), autocommit=True) as connection:
        connection.execute("set statement_timeout = '2s'")
        yield connection


@pytest.fixture
def owner(services: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(services.need("postgres_url"), autocommit=True) as connection:
        yield connection


def content(connection: psycopg.Connection, spec: PublishSpec) -> list[tuple[Any, ...]]:
    return connection.execute(f"select * from serve.{spec.name} order by 1, 2".encode()).fetchall()


def summary(connection: psycopg.Connection, spec: PublishSpec) -> tuple[Any, ...]:
    found = connection.execute(f"select count(*), sum(quantity) from serve.{spec.name}".encode()).fetchone()
    assert found
    return found


def test_types_keys_comments_and_grants_are_exact(
    spec: PublishSpec, reader: psycopg.Connection, owner: psycopg.Connection
) -> None:
    write(spec, [row(1), row(2)])
    result = publish_table(spec)
    assert (result.how, result.rows, result.inserted) == ("created", 2, 2)
    assert content(reader, spec) == [tuple(row(1).values()), tuple(row(2).values())]
    types = owner.execute(
        "select attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum) from pg_attribute "
        "where attrelid = %s::regclass and attnum > 0 order by attnum",
        (f"serve.{spec.name}",),
    ).fetchall()
    assert types == [
        ("order_id", "text", None),
        ("item_id", "integer", None),
        ("quantity", "numeric(15,3)", "数量: Ordered quantity."),
        ("is_late", "boolean", None),
        ("due_on", "date", "到期日"),
        ("changed_at", "timestamp with time zone", None),
    ]
    indexes = owner.execute("select indexname from pg_indexes where tablename = %s order by 1", (spec.name,)).fetchall()
    assert indexes == [(f"{spec.name}_due_on_idx",), (f"{spec.name}_pkey",)]
    comment = owner.execute("select obj_description(%s::regclass)", (f"serve.{spec.name}",)).fetchone()
    assert comment == ("未清订单: Open orders. One row per order item.",)
    reader.execute("set default_transaction_read_only = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(f"delete from serve.{spec.name}".encode())


def test_awkward_values_arrive_unchanged(spec: PublishSpec, reader: psycopg.Connection) -> None:
    schema = pa.schema(
        [
            ("order_id", pa.string()),
            ("item_id", pa.int64()),
            ("text", pa.string()),
            ("exact", pa.decimal128(38, 18)),
            ("rough", pa.float64()),
            ("day", pa.date32()),
            ("moment", pa.timestamp("us", "UTC")),
            ("wall", pa.timestamp("us")),
        ]
    )
    far = datetime(1900, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    rows: list[dict[str, Any]] = [
        {"order_id": "1", "text": "", "exact": Decimal("1E-18"), "rough": math.nan, "day": date(1, 1, 1)},
        {"order_id": "2", "text": None, "exact": None, "rough": None, "day": None},
        {"order_id": "3", "text": "a \"b\", 'c'\n\\N\t\\.\r\n;全角", "rough": math.inf, "day": date(9999, 12, 31)},
        {
            "order_id": "\\.",
            "text": "\\.",
            "exact": Decimal("-99999999999999999999.999999999999999999"),
            "rough": 5e-324,
        },
        {"order_id": "NULL", "text": "NULL", "rough": 0.1 + 0.2, "moment": far, "wall": datetime(2026, 3, 29, 2, 30)},
    ]
    rows = [{name: one.get(name, 2**62 if name == "item_id" else None) for name in schema.names} for one in rows]
    write(spec := PublishSpec(spec.source, ("order_id",)), rows, schema)
    publish_table(spec)
    found = {one[0]: one for one in content(reader, spec)}
    for one in rows:
        expected = tuple(one.values())
        got = found[one["order_id"]]
        if isinstance(one["rough"], float) and math.isnan(one["rough"]):
            assert math.isnan(got[4])
            got, expected = got[:4] + got[5:], expected[:4] + expected[5:]
        assert got == expected
    write(spec, rows, schema)
    assert publish_table(spec).how == "unchanged"


def test_an_unchanged_version_is_skipped_and_a_rebuilt_one_changes_nothing(
    spec: PublishSpec, owner: psycopg.Connection
) -> None:
    write(spec, [row(n) for n in range(100)])
    publish_table(spec)
    first = owner.execute(
        "select delta_version, row_count, published_at from ops.publication where table_name = %s", (spec.name,)
    ).fetchone()
    assert publish_table(spec).how == "unchanged"
    assert (
        first
        == owner.execute(
            "select delta_version, row_count, published_at from ops.publication where table_name = %s", (spec.name,)
        ).fetchone()
    )
    rows = f"select xmin::text, ctid::text, * from serve.{spec.name} order by 3".encode()
    before = owner.execute(rows).fetchall()
    write(spec, [row(n) for n in range(100)])
    result = publish_table(spec)
    assert (result.how, result.delta_version, result.updated) == ("unchanged", 1, 0)
    assert owner.execute(rows).fetchall() == before, "no row was written anew"


def test_differences_are_applied_under_an_open_transaction_that_keeps_its_view(
    spec: PublishSpec, services: Settings, reader: psycopg.Connection
) -> None:
    write(spec, [row(n) for n in range(1000)])
    publish_table(spec)
    with psycopg.connect(services.need("postgres_reader_url")) as long_reader:
        long_reader.execute("set transaction isolation level repeatable read")
        before = content(long_reader, spec)
        write(spec, [row(n, quantity=Decimal(n + (n < 10))) for n in range(5, 1003)])
        started = time.monotonic()
        result = publish_table(spec)
        assert time.monotonic() - started < 10
        assert (result.how, result.inserted, result.updated, result.deleted) == ("differences", 3, 5, 5)
        assert content(long_reader, spec) == before
        assert [one[2] for one in content(reader, spec)][:6] == [6, 7, 8, 9, 10, 10]
        assert summary(reader, spec)[0] == result.rows == 998


def test_readers_see_one_version_or_the_other_and_never_a_mixture(
    spec: PublishSpec, services: Settings, reader: psycopg.Connection
) -> None:
    def version(number: int) -> list[dict[str, Any]]:
        schema_change = {"extra": number} if number % 3 == 0 else {}
        return [row(n, quantity=Decimal(number), **schema_change) for n in range(number * 100, number * 100 + 3000)]

    def schema(number: int) -> pa.Schema:
        return SCHEMA.append(pa.field("extra", pa.int64())) if number % 3 == 0 else SCHEMA

    write(spec, version(1))
    publish_table(spec)
    seen: list[tuple[Any, ...]] = []
    slowest = 0.0
    stop = threading.Event()

    def watch() -> None:
        nonlocal slowest
        with psycopg.connect(services.need("postgres_reader_url"), autocommit=True) as connection:
            while not stop.is_set():
                started = time.monotonic()
                seen.append(summary(connection, spec))
                slowest = max(slowest, time.monotonic() - started)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(2, 8):
        write(spec, version(number), schema(number))
        publish_table(spec)
    stop.set()
    watcher.join()
    assert set(seen) <= {(3000, Decimal(3000 * number)) for number in range(1, 8)}
    assert len(set(seen)) > 2
    assert slowest < 5


def test_a_changed_structure_is_swapped_and_older_snapshots_find_the_new_table_full(
    spec: PublishSpec, services: Settings, reader: psycopg.Connection
) -> None:
    write(spec, [row(n) for n in range(10)])
    publish_table(spec)
    with psycopg.connect(services.need("postgres_reader_url")) as older:
        older.execute("set transaction isolation level repeatable read")
        older.execute("select count(*) from pg_class")
        write(spec, [{**row(n), "note": "x"} for n in range(20)], SCHEMA.append(pa.field("note", pa.string())))
        result = publish_table(spec)
        assert (result.how, result.rows) == ("swapped", 20)
        assert summary(older, spec)[0] == 20
    assert content(reader, spec)[0][-1] == "x"
    write(
        spec,
        [row(n, quantity=Decimal("1.0005")) for n in range(5)],
        SCHEMA.set(2, pa.field("quantity", pa.decimal128(15, 4))),
    )
    assert publish_table(spec).how == "swapped"
    assert content(reader, spec)[0][2] == Decimal("1.0005")


def test_a_swap_waits_for_readers_without_making_others_wait(
    spec: PublishSpec, services: Settings, reader: psycopg.Connection
) -> None:
    write(spec, [row(n) for n in range(10)])
    publish_table(spec)
    write(spec, [{**row(n), "note": "x"} for n in range(20)], SCHEMA.append(pa.field("note", pa.string())))
    outcome: list[Any] = []
    with psycopg.connect(services.need("postgres_reader_url"), application_name="monthly report") as long_reader:
        assert summary(long_reader, spec)[0] == 10
        with pytest.raises(
            TransientError, match=r"readers held the old one: pid \d+ \(bi_reader, monthly report"
        ) as held:
            publish_table(spec, patience_seconds=0.5)
        assert "swap" not in str(held.value)
        publisher = threading.Thread(target=lambda: outcome.append(publish_table(spec).how))
        publisher.start()
        slowest = 0.0
        for _ in range(30):
            started = time.monotonic()
            assert summary(reader, spec)[0] == 10
            slowest = max(slowest, time.monotonic() - started)
            time.sleep(0.03)
        assert slowest < 1, "other readers go on reading the old table"
        assert publisher.is_alive()
    publisher.join(20)
    assert outcome == ["swapped"]
    assert summary(reader, spec)[0] == 20


@pytest.mark.parametrize("structure", ["same", "changed"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([row(1), row(2), row(2)], r"does not identify its rows.*0000000002"),
        ([row(1), row(7), row(7, quantity=Decimal(9))], r"does not identify its rows.*0000000007"),
        ([row(1), row(2, item_id=None)], r"does not identify its rows.*item_id"),
        ([row(1), row(2, order_id="a\0b")], r"PostgreSQL does not take a value.*0x00"),
    ],
)
def test_a_publication_that_fails_leaves_the_table_as_it_was(
    spec: PublishSpec, reader: psycopg.Connection, structure: str, bad: list[dict[str, Any]], message: str
) -> None:
    write(spec, [row(1), row(2), row(3)])
    publish_table(spec)
    before = content(reader, spec)
    schema = SCHEMA if structure == "same" else SCHEMA.append(pa.field("note", pa.string()))
    write(spec, [dict.fromkeys(schema.names) | one for one in bad], schema)
    with pytest.raises(SchemaError, match=message):
        publish_table(spec)
    assert content(reader, spec) == before
    write(spec, [dict.fromkeys(schema.names) | row(1)], schema)
    assert publish_table(spec).rows == 1


@pytest.mark.parametrize("structure", ["same", "changed"])
def test_a_publisher_that_dies_half_way_leaves_the_table_as_it_was(
    spec: PublishSpec,
    reader: psycopg.Connection,
    owner: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    structure: str,
) -> None:
    write(spec, [row(1), row(2), row(3)])
    publish_table(spec)
    before = content(reader, spec)
    schema = SCHEMA if structure == "same" else SCHEMA.append(pa.field("note", pa.string()))
    write(spec, [dict.fromkeys(schema.names) | row(n) for n in range(10, 20)], schema)

    def die(*_: Any) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([dict.fromkeys(schema.names) | row(10)], schema=schema)
        killed = owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'datong publish'"
        ).fetchall()
        assert killed == [(True,)]

    with monkeypatch.context() as patch:
        patch.setattr(publish, "_batches", die)
        with pytest.raises(ServiceError, match=r"the connection was lost.*publish again"):
            publish_table(spec)
    assert content(reader, spec) == before
    assert publish_table(spec).rows == 10
    left = owner.execute("select count(*) from pg_class where relname like 'datong building%'").fetchone()
    assert left == (0,)


def test_objects_that_depend_on_the_old_structure_are_named(
    spec: PublishSpec, owner: psycopg.Connection, reader: psycopg.Connection
) -> None:
    write(spec, [row(1)])
    publish_table(spec)
    owner.execute(f"create view public.mine_{spec.name} as select * from serve.{spec.name}".encode())
    write(spec, [{**row(1), "note": "x"}], SCHEMA.append(pa.field("note", pa.string())))
    with pytest.raises(TerminalError, match=f"view mine_{spec.name} depends on table"):
        publish_table(spec)
    assert summary(reader, spec) == (1, 1)
    owner.execute(f"drop view public.mine_{spec.name}".encode())
    assert publish_table(spec).how == "swapped"


def test_a_changed_description_is_published_without_a_new_version(spec: PublishSpec, owner: psycopg.Connection) -> None:
    write(spec, [row(1)])
    publish_table(spec)
    described = PublishSpec(
        spec.source, spec.key, "Now described.", "", {}, (Index(("due_on",)), Index(("is_late", "due_on")))
    )
    assert publish_table(described).how == "unchanged"
    assert owner.execute("select obj_description(%s::regclass)", (f"serve.{spec.name}",)).fetchone() == (
        "Now described.",
    )
    indexes = owner.execute("select count(*) from pg_indexes where tablename = %s", (spec.name,)).fetchone()
    assert indexes == (3,)


def test_two_publishers_of_one_table_take_turns(spec: PublishSpec, reader: psycopg.Connection) -> None:
    write(spec, [row(n) for n in range(500)])
    outcomes: list[str] = []
    publishers = [threading.Thread(target=lambda: outcomes.append(publish_table(spec).how)) for _ in range(4)]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.join(30)
    assert sorted(outcomes) == ["created", "unchanged", "unchanged", "unchanged"]
    assert summary(reader, spec)[0] == 500


class TestRefusals:
    def test_a_table_without_a_key(self, spec: PublishSpec) -> None:
        with pytest.raises(ConfigurationError, match=f"{spec.source}: names no key"):
            publish_table(PublishSpec(spec.source, ()))

    def test_a_key_over_a_column_that_is_not_there(self, spec: PublishSpec) -> None:
        write(spec, [row(1)])
        with pytest.raises(ConfigurationError, match="has no column 'nowhere'"):
            publish_table(PublishSpec(spec.source, ("nowhere",)))

    def test_a_type_without_a_counterpart(self, spec: PublishSpec) -> None:
        write(spec, [{**row(1), "tags": ["a"]}], SCHEMA.append(pa.field("tags", pa.list_(pa.string()))))
        with pytest.raises(SchemaError, match=rf"{spec.source}\.tags: is of type list.*no counterpart"):
            publish_table(spec)

    def test_a_database_that_cannot_be_reached(self, spec: PublishSpec) -> None:
        write(spec, [row(1)])
        with pytest.raises(ServiceError, match=r"cannot be reached.*datong doctor") as error:
            publish_table(spec, url="postgresql://someone:hidden@127.0.0.1:1/x")
        assert "hidden" not in str(error.value)

    def test_a_table_that_was_not_built(self, spec: PublishSpec) -> None:
        with pytest.raises(TerminalError, match=r"was not published yet.*datong build"):
            publish_table(spec)

    def test_a_view_in_the_place_of_the_table(self, spec: PublishSpec, owner: psycopg.Connection) -> None:
        write(spec, [row(1)])
        owner.execute("create schema if not exists serve")
        owner.execute(f"create view serve.{spec.name} as select 1 as one".encode())
        with pytest.raises(TerminalError, match="is not a table"):
            publish_table(spec)
        owner.execute(f"drop view serve.{spec.name}".encode())

    def test_one_that_fails_does_not_stop_the_others(self, spec: PublishSpec) -> None:
        write(spec, [row(1)])
        broken = PublishSpec(TableName("serve", "bi__nowhere"), ("x",))
        outcomes = publish_all([broken, spec])
        assert isinstance(outcomes["nowhere"], TerminalError)
        assert getattr(outcomes[spec.name], "rows", None) == 1


def many(spec: PublishSpec, rows: int, shift: int = 0) -> None:
    """A table of orders that come in no order: each of its days, customers and due days all over the file."""
    number = np.random.default_rng(7).permutation(rows)
    day = number * 730 // rows
    table = pa.table(
        {
            "order_id": pc.cast(pa.array(number), pa.string()),
            "item_id": pa.array(np.full(rows, 10 + shift), pa.int32()),
            "customer_id": pa.array([f"C-{one}" for one in number * 7919 % 500]),
            "plant_id": pa.array([f"P{one}" for one in number % 4]),
            "ordered_on": pa.array(19_000 + day, pa.int32()).cast(pa.date32()),
            "due_on": pa.array(19_000 + number * 104_729 % 730, pa.int32()).cast(pa.date32()),
            "as_of_on": pa.array(np.full(rows, 19_800), pa.int32()).cast(pa.date32()),
            "amount": pa.array(number, pa.int64()),
        }
    )
    now = settings()
    write_deltalake(
        now.table_uri(spec.source),
        table,
        mode="overwrite",
        schema_mode="overwrite",
        storage_options=now.storage_options(),
    )
    let_read(spec.source)


def indexes_of(connection: psycopg.Connection, spec: PublishSpec) -> dict[str, str]:
    """Method by columns, the key's left out."""
    found = connection.execute(
        "select string_agg(a.attname, ' ' order by k.place), min(m.amname) from pg_index i "
        "join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam "
        "cross join unnest(i.indkey) with ordinality as k (attnum, place) "
        "join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum "
        "where i.indrelid = %s::regclass and not i.indisprimary group by i.indexrelid",
        (f"serve.{spec.name}",),
    ).fetchall()
    return dict(found)


def pages_read(connection: psycopg.Connection, sql: str) -> int:
    plan = connection.execute(f"explain (analyze, buffers, format json) {sql}".encode()).fetchone()
    assert plan
    found = plan[0][0]["Plan"]
    return found["Shared Hit Blocks"] + found["Shared Read Blocks"]


def test_a_month_and_a_customer_are_found_without_reading_the_whole_table(
    services: Settings, owner: psycopg.Connection
) -> None:
    spec = PublishSpec(TableName("serve", f"bi__m{uuid.uuid4().hex[:8]}"), key=("order_id", "item_id"))
    many(spec, 60_000)
    result = publish_table(spec)
    assert (result.how, result.rows) == ("created", 60_000)
    assert indexes_of(owner, spec) == {"customer_id": "btree", "ordered_on": "brin", "due_on": "btree"}
    size = owner.execute("select relpages, reltuples from pg_class where oid = %s::regclass", (f"serve.{spec.name}",))
    pages, tuples = size.fetchone() or (0, 0)
    assert tuples == 60_000, "the planner knows the table from its first moment"
    month = (
        f"select sum(amount) from serve.{spec.name} where ordered_on between date '2023-03-01' and date '2023-03-31'"
    )
    assert pages_read(owner, month) < pages / 4
    customer = f"select sum(amount) from serve.{spec.name} where customer_id = 'C-77'"
    assert pages_read(owner, customer) < pages / 2
    assert owner.execute(f"select count(*), sum(amount) from serve.{spec.name}".encode()).fetchone() == (
        *(60_000,),
        *(60_000 * 59_999 // 2,),
    )
    many(spec, 60_000, shift=1)
    assert publish_table(spec).how == "differences"
    assert indexes_of(owner, spec) == {"customer_id": "btree", "ordered_on": "brin", "due_on": "btree"}


def test_a_table_that_grew_gets_its_indexes(services: Settings, owner: psycopg.Connection) -> None:
    spec = PublishSpec(TableName("serve", f"bi__g{uuid.uuid4().hex[:8]}"), key=("order_id", "item_id"))
    many(spec, 900)
    publish_table(spec)
    assert indexes_of(owner, spec) == {}
    many(spec, 20_000)
    assert publish_table(spec).how == "differences"
    assert set(indexes_of(owner, spec)) == {"customer_id", "ordered_on", "due_on"}


def test_the_model_decides_on_order_and_indexes(services: Settings, owner: psycopg.Connection) -> None:
    spec = PublishSpec(
        TableName("serve", f"bi__d{uuid.uuid4().hex[:8]}"),
        key=("order_id", "item_id"),
        indexes=(Index(("due_on",), "brin"), Index(("plant_id", "customer_id"))),
        cluster_by="due_on",
    )
    many(spec, 20_000)
    publish_table(spec)
    assert indexes_of(owner, spec) == {"due_on": "brin", "plant_id customer_id": "btree"}
    order = owner.execute(
        "select correlation from pg_stats where tablename = %s and attname = 'due_on'", (spec.name,)
    ).fetchone()
    assert order
    assert order[0] > 0.9
    with pytest.raises(ConfigurationError, match="in the order of plant_id, which is neither"):
        publish_table(replace(spec, cluster_by="plant_id"))
    with pytest.raises(ConfigurationError, match="no column 'nowhere'"):
        publish_table(replace(spec, indexes=(Index(("nowhere",)),)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"columns": ["a"], "method": "hash"}, "method hash"),
        ({"columns": ["a"], "where": "b"}, "where"),
        ([], "names no columns"),
        (7, "names no columns"),
    ],
)
def test_an_index_that_is_none_is_named(given: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        index_of(given, "meta.indexes of model x")


def test_specifications_come_from_the_manifest_of_dbt(tmp_path: Path) -> None:
    def model(name: str, **more: Any) -> dict[str, Any]:
        return {"resource_type": "model", "schema": "serve", "name": name, "alias": name, **more}

    manifest = tmp_path / "manifest.json"
    nodes = {
        "model.datong.bi__inventory": model(
            "bi__inventory",
            description="Stock on hand.\nGrain: one row per material.",
            config={
                "meta": {
                    "title_zh": "库存",
                    "key": ["plant_id", "material_id"],
                    "indexes": ["plant_id"],
                    "cluster_by": "",
                }
            },
            columns={"plant_id": {"description": "Plant.", "config": {"meta": {"title_zh": "工厂"}}}},
        ),
        "model.datong.bi__progress": model("bi__progress", config={"meta": {"key": "order_id"}}, columns={}),
        "model.datong.erp__goods_issue": model("erp__goods_issue"),
        "test.datong.x": {"resource_type": "test", "schema": "serve", "name": "bi__x"},
    }
    manifest.write_text(json.dumps({"nodes": nodes}), encoding="utf-8")
    inventory, progress = load_specs(manifest)
    assert inventory == PublishSpec(
        TableName("serve", "bi__inventory"),
        ("plant_id", "material_id"),
        "Stock on hand. Grain: one row per material.",
        "库存",
        {"plant_id": ColumnSpec("Plant.", "工厂")},
        (Index(("plant_id",)),),
        cluster_by="",
    )
    assert (progress.name, progress.key, progress.indexes, progress.cluster_by) == (
        *("progress", ("order_id",)),
        *(None, None),
    )
    with pytest.raises(ConfigurationError, match="never parsed"):
        load_specs(tmp_path / "none.json")
