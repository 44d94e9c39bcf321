"""What becomes of a schema that changed, by the entity's policy; and deletes that only the set of keys tells."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion import run
from datong_ingestion.run import IngestResult, ingest_entity
from datong_ingestion.source import Description, Page
from datong_ingestion.systems_config import EntityConfig, SystemConfig
from datong_platform import engine
from datong_platform.errors import ProtocolError, SchemaError
from datong_platform.lake import catalog, history
from datong_platform.names import bronze

Row = dict[str, Any]


class Table:
    """A table in small, that changes its columns and gives its keys when they are asked for."""

    def __init__(self) -> None:
        self.fields: dict[str, pa.DataType] = {"id": pa.string(), "amount": pa.decimal128(9, 2), "at": pa.int64()}
        self.rows: dict[str, Row] = {}
        self.key_reads = 0
        self.shifted: list[set[str]] = []
        """Keys that the next reads of all keys leave out, as pages that shift do."""
        self.unexpected: frozenset[str] = frozenset()

    def put(self, key: str, **values: Any) -> None:
        self.rows[key] = {"id": key, "amount": Decimal("1.50"), "at": len(self.rows), **values}

    def entities(self) -> list[str]:
        return ["things"]

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        return Description(pa.schema(list(self.fields.items())), keys=("id",), modes=frozenset({"full", "cursor"}))

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        schema = description.schema
        if schema.names == ["id"]:
            self.key_reads += 1
            yield Page(self.keys(schema))
            return
        start = int(position) if position else -1
        rows = [row for row in self.rows.values() if row["at"] > start]
        found = pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)
        reached = str(max([start, *(row["at"] for row in rows)]))
        yield Page(found, position=reached if entity.mode == "cursor" else None, unexpected=self.unexpected)
        if entity.detect_deletes:
            self.key_reads += 1
            yield Page(schema.empty_table(), keys=self.keys(pa.schema([schema.field("id")])))

    def keys(self, schema: pa.Schema) -> pa.Table:
        left_out = self.shifted.pop(0) if self.shifted else set[str]()
        return pa.table([sorted(set(self.rows) - left_out)], schema=schema)

    def close(self) -> None:
        pass


@pytest.fixture
def source(services: Any, monkeypatch: pytest.MonkeyPatch) -> Table:
    made = Table()
    monkeypatch.setattr(run, "connect", lambda _: made)
    return made


@pytest.fixture
def name() -> str:
    return f"p{uuid.uuid4().hex[:8]}"


def ingest(name: str, **entity: Any) -> IngestResult:
    return ingest_entity(definition(name, **entity), "thing")


def definition(name: str, **entity: Any) -> SystemConfig:
    return SystemConfig.model_validate(
        {
            "system": name,
            "protocol": "sql",
            "connection": {"url": "postgresql://nobody@127.0.0.1:9/none"},
            "entities": [{"name": "thing", "source": "things", "mode": "full", **entity}],
        }
    )


def rows(name: str) -> list[Row]:
    delta = history.open_table(bronze(name, "thing"))
    found: list[Row] = delta.to_pyarrow_table().to_pylist() if delta else []
    return sorted(found, key=lambda row: (row["_datong_batch_id"], row["id"]))


def test_evolve_takes_a_new_field_and_a_wider_type_and_tells(source: Table, name: str) -> None:
    source.put("1")
    assert ingest(name).events == []
    source.fields |= {"colour": pa.string(), "amount": pa.decimal128(18, 2)}
    source.put("1", colour="red")
    result = ingest(name)
    assert result.events == [
        "new field colour (string): added to the table",
        "field amount was decimal(9,2) and is decimal(18,2): the table is widened",
    ]
    assert history.loads(result.table)[0].events == result.events
    assert rows(name)[0]["colour"] == "red"
    assert ingest(name).events == []


@pytest.mark.parametrize("mode", ["full", "cursor"])
def test_a_wider_type_alone_widens_the_table_and_what_the_engine_reads(source: Table, name: str, mode: str) -> None:
    how = {"mode": mode} | ({"cursor": "at"} if mode == "cursor" else {})
    source.fields["count"] = pa.int32()
    source.put("1", count=1)
    table = ingest(name, **how).table
    catalog.register([table])
    source.fields["count"] = pa.int64()
    source.put("2", count=3_000_000_000)
    result = ingest(name, **how)
    assert result.widened_columns == ["count"]
    assert result.schema.field("count").type == pa.int64()
    assert [row["count"] for row in rows(name)] == [1, 3_000_000_000]
    assert engine.query(f"select count from {table} order by 1").to_pylist() == [{"count": 1}, {"count": 3_000_000_000}]


def test_the_engine_reads_a_rebuilt_table_by_its_new_types(source: Table, name: str) -> None:
    source.fields["state"] = pa.bool_()
    source.put("1", state=True)
    table = ingest(name).table
    catalog.register([table])
    assert engine.query(f"select state from {table}").to_pylist() == [{"state": True}]
    source.fields["state"] = pa.int16()
    source.put("1", state=7)
    with pytest.raises(SchemaError, match="was boolean and is short") as caught:
        ingest(name)
    assert f"`datong ingest {name} thing --rebuild`" in caught.value.next_step
    ingest_entity(definition(name), "thing", rebuild=True)
    assert engine.query(f"select state from {table}").to_pylist() == [{"state": 7}]


def test_rescue_keeps_the_table_and_every_value(source: Table, name: str) -> None:
    source.put("1")
    schema = ingest(name, schema_policy="rescue").schema
    source.fields |= {"colour": pa.string(), "size": pa.decimal128(9, 3), "amount": pa.decimal128(9, 2)}
    source.put("1", colour="red", size=Decimal("2.125"))
    source.put("2")
    result = ingest(name, schema_policy="rescue")
    assert result.schema == schema
    assert result.rescued == 1
    assert result.events[0] == "new field colour (string): its values are rescued"
    first, second = rows(name)
    assert json.loads(first["_datong_rescued"]) == {"colour": "red", "size": "2.125"}
    assert second["_datong_rescued"] is None
    assert ingest(name, schema_policy="rescue").batches == []
    source.put("1", colour="blue", size=Decimal("2.125"))
    assert ingest(name, schema_policy="rescue").rows == 2, "what was rescued is content, too"


def test_rescue_reads_a_changed_type_in_that_of_the_table(
    source: Table, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.put("1")
    ingest(name, schema_policy="rescue")
    source.fields["amount"] = pa.bool_()
    asked: list[pa.DataType] = []
    real = Table.read

    def read(self: Table, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        asked.append(description.schema.field("amount").type)
        yield from real(self, entity, description, position)

    monkeypatch.setattr(Table, "read", read)
    source.put("2")
    result = ingest(name, schema_policy="rescue")
    assert asked == [pa.decimal128(9, 2)]
    assert "was decimal(9,2) and is boolean" in result.events[0]
    with pytest.raises(SchemaError):
        ingest(name, schema_policy="evolve")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"colour": pa.string()}, "field colour (string) is new"),
        ({"amount": pa.decimal128(18, 2)}, "field amount was decimal(9,2) and is decimal(18,2)"),
        ({"amount": None}, "field amount is gone"),
    ],
)
def test_freeze_stops_before_anything_is_committed(source: Table, name: str, fields: Row, told: str) -> None:
    source.put("1")
    version = ingest(name, schema_policy="freeze").delta_version
    source.fields = {key: kind for key, kind in (source.fields | fields).items() if kind is not None}
    source.put("2")
    with pytest.raises(SchemaError, match="freeze") as caught:
        ingest(name, schema_policy="freeze")
    assert told in str(caught.value)
    assert f"{name}.thing" in caught.value.thing
    assert "--rebuild" in caught.value.next_step
    assert len(rows(name)) == 1
    rebuilt = ingest_entity(definition(name, schema_policy="freeze"), "thing", rebuild=True)
    assert rebuilt.delta_version > version
    assert ingest(name, schema_policy="freeze").total_rows == 2


def test_freeze_stops_at_a_field_that_nobody_described(source: Table, name: str) -> None:
    source.put("1")
    ingest(name, schema_policy="freeze")
    source.unexpected = frozenset({"smell"})
    source.put("2")
    with pytest.raises(SchemaError, match="field smell is new"):
        ingest(name, schema_policy="freeze")
    assert len(rows(name)) == 1


CURSOR: dict[str, Any] = {"mode": "cursor", "cursor": "at", "detect_deletes": True}


def current(name: str) -> list[str]:
    last = {row["id"]: row["_datong_operation"] for row in rows(name)}
    return sorted(key for key, operation in last.items() if operation != "delete")


def test_a_key_that_vanished_is_a_delete_and_the_keys_are_asked_twice(source: Table, name: str) -> None:
    for key in "abc":
        source.put(key)
    ingest(name, **CURSOR)
    assert source.key_reads == 1
    del source.rows["b"]
    result = ingest(name, **CURSOR)
    assert (result.deletes, current(name)) == (1, ["a", "c"])
    assert source.key_reads == 3
    assert ingest(name, **CURSOR).batches == []
    assert source.key_reads == 4, "nothing is missing, so once is enough"


def test_a_key_that_shifted_pages_left_out_is_not_deleted(source: Table, name: str) -> None:
    for key in "abcd":
        source.put(key)
    ingest(name, **CURSOR)
    del source.rows["d"]
    source.shifted = [{"b"}, {"c"}]
    result = ingest(name, **CURSOR)
    assert (result.deletes, current(name)) == (1, ["a", "b", "c"])


def test_a_row_that_is_read_and_gone_when_the_keys_are_read_is_deleted_once_and_later(source: Table, name: str) -> None:
    source.put("a")
    source.put("b")
    ingest(name, **CURSOR)
    source.put("b", at=90)
    source.shifted = [{"b"}, {"b"}]
    first = ingest(name, **CURSOR)
    assert (first.rows, first.deletes, current(name)) == (1, 0, ["a", "b"])
    del source.rows["b"]
    assert ingest(name, **CURSOR).deletes == 1
    assert current(name) == ["a"]


def test_keys_are_compared_as_often_as_declared(source: Table, name: str) -> None:
    source.put("a")
    source.put("b")
    seldom = {**CURSOR, "detect_deletes_every_hours": 1}
    ingest(name, **seldom)
    del source.rows["a"]
    source.put("c", at=7)
    assert ingest(name, **seldom).deletes == 0, "the first read told all keys"
    assert source.key_reads == 1
    hasty = {**CURSOR, "detect_deletes_every_hours": 1e-9}
    assert ingest(name, **hasty).deletes == 1
    before = history.loads(bronze(name, "thing"))[0].keys_read_at
    ingest(name, **hasty)
    assert history.loads(bronze(name, "thing"))[0].keys_read_at > before


@pytest.mark.parametrize("entity", [CURSOR, {"mode": "full"}], ids=["keys", "full"])
def test_so_many_rows_gone_at_once_stop_the_ingest_until_somebody_accepts_it(
    source: Table, name: str, entity: Row
) -> None:
    for number in range(250):
        source.put(f"{number:03d}")
    ingest(name, **entity)
    for number in range(100):
        del source.rows[f"{number:03d}"]
    ingest(name, **entity)
    assert len(current(name)) == 150
    for number in range(100, 249):
        del source.rows[f"{number:03d}"]
    with pytest.raises(ProtocolError, match="lacks 149 of the 150 rows") as caught:
        ingest(name, **entity)
    assert "--baseline" in caught.value.next_step
    assert len(current(name)) == 150
    assert len(history.loads(bronze(name, "thing"))) == 2
    ingest_entity(definition(name, **entity), "thing", baseline=True)
    assert current(name) == ["249"]


def test_any_amount_may_go_where_the_definition_says_so(source: Table, name: str) -> None:
    for number in range(120):
        source.put(f"{number:03d}")
    ingest(name)
    source.rows.clear()
    assert ingest(name, deletes_limit_percent=100).total_rows == 0
