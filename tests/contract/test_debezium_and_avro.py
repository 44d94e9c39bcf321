"""Debezium's events as a real Debezium wrote them, and Avro with a schema registry, both from a real Kafka."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from datong_ingestion.connections.kafka import KafkaOptions
from datong_ingestion.run import IngestResult, ingest_entity
from datong_ingestion.systems_config import SystemConfig
from datong_platform.errors import AuthenticationError, ConfigurationError, TransientError
from datong_platform.lake import history, quarantine
from datong_platform.names import bronze
from datong_platform.settings import Settings
from kafka_server import KafkaServer
from schema_registry import SchemaRegistryServer

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "debezium_postgresql.json").read_text(encoding="utf-8"))
EXPECTED = {
    "name": '部件 "x"',
    "amount": Decimal("12345.125"),
    "loose": Decimal("-1.5"),
    "due_on": date(2026, 1, 31),
    "active": True,
    "changed_at": datetime(2026, 3, 1, 8, 0, 0, 123456, tzinfo=UTC),
    "local_at": datetime(2026, 3, 1, 8, 0, 0, 500000),
    "short_at": datetime(2026, 3, 1, 8, 0, 0, 250000),
    "at_time": "13:05:00.5",
    "big": 9007199254740993,
    "ratio": 0.1,
    "body": b"\x00\xff",
    "doc": '{"a": [1, 2]}',
    "tags": '["a","b"]',
}
REGISTRY_USER, REGISTRY_PASSWORD = "reader", "registry-word-6d2"


class Topic:
    """A topic, and the bronze table it is read into."""

    def __init__(self, server: KafkaServer) -> None:
        self.server = server
        self.system_name = f"d{uuid.uuid4().hex[:8]}"
        self.name = server.topic(f"erp.{self.system_name}")
        self.registry: SchemaRegistryServer | None = None

    def send(self, *messages: Any) -> None:
        self.server.send(self.name, messages)

    def ingest(self, options: dict[str, Any], connection: dict[str, Any] | None = None, **entity: Any) -> IngestResult:
        address: dict[str, Any] = {"bootstrap_servers": self.server.address, "attempts": 2, "max_wait_seconds": 0.2}
        if self.registry:
            address |= {
                "registry_url": self.registry.url,
                "registry_user": REGISTRY_USER,
                "registry_password": REGISTRY_PASSWORD,
            }
        system = SystemConfig.model_validate(
            {
                "system": self.system_name,
                "protocol": "kafka",
                "connection": address | (connection or {}),
                "entities": [{"name": "thing", "source": self.name, "mode": "stream", "options": options} | entity],
            }
        )
        return ingest_entity(system, "thing")

    def bronze(self) -> list[dict[str, Any]]:
        delta = history.open_table(bronze(self.system_name, "thing"))
        rows = delta.to_pyarrow_table().to_pylist() if delta else []
        return sorted(rows, key=lambda row: row["_kafka_offset"])

    def refused(self) -> list[dict[str, Any]]:
        found = quarantine.rows(self.system_name, "thing", limit=100)
        return [] if found is None else sorted(found.to_pylist(), key=lambda row: row["place"])


@pytest.fixture
def topic(services: Settings, kafka: KafkaServer) -> Topic:
    return Topic(kafka)


@pytest.fixture
def registry(topic: Topic) -> Iterator[SchemaRegistryServer]:
    topic.registry = SchemaRegistryServer(REGISTRY_USER, REGISTRY_PASSWORD)
    yield topic.registry
    topic.registry.stop()


def recorded(with_schema: bool) -> list[tuple[Any, Any]]:
    def wrapped(payload: Any, schema: str) -> Any:
        return {"schema": RECORDED[schema], "payload": payload} if with_schema else payload

    return [
        (wrapped(event["key"], "key_schema"), wrapped(event["value"], "schema") if event["value"] else None)
        for event in RECORDED["events"]
    ]


LOGICAL = {
    "amount": "Decimal(3)",
    "loose": "VariableScaleDecimal",
    "due_on": "Date",
    "changed_at": "ZonedTimestamp",
    "local_at": "MicroTimestamp",
    "short_at": "Timestamp",
    "at_time": "MicroTime",
}
FIELDS = {
    "id": "integer",
    "name": "string",
    "amount": "decimal(13,3)",
    "loose": "decimal(38,18)",
    "due_on": "date",
    "active": "boolean",
    "changed_at": "timestamp",
    "local_at": "timestamp_ntz",
    "short_at": "timestamp_ntz",
    "at_time": "string",
    "big": "long",
    "ratio": "double",
    "body": "binary",
    "doc": "string",
    "tags": "string",
}


@pytest.mark.parametrize("with_schema", [True, False])
def test_recorded_events_become_exact_rows_in_their_order(topic: Topic, with_schema: bool) -> None:
    topic.send(*recorded(with_schema))
    options: dict[str, Any] = {"envelope": "debezium", "key_format": "json"}
    entity: dict[str, Any] = {"events": True}
    if not with_schema:
        options["logical"] = LOGICAL
        entity |= {"fields": FIELDS, "keys": ["id"]}
    result = topic.ingest(options, **entity)
    assert (result.rows, result.deletes, result.refused, result.rescued) == (5, 2, 0, 0)
    found = topic.bronze()
    assert [(row["id"], row["_datong_operation"]) for row in found] == [
        (1, "snapshot"),
        (2, "snapshot"),
        (3, "insert"),
        (1, "update"),
        (2, "delete"),
        (3, "delete"),
        (30, "insert"),
    ]
    assert {name: found[0][name] for name in EXPECTED} == EXPECTED
    assert {name: found[6][name] for name in EXPECTED} == EXPECTED
    assert (found[3]["name"], found[3]["amount"]) == ("second", Decimal("-0.001"))
    assert set({name: found[1][name] for name in EXPECTED}.values()) == {None}
    positions = [row["_source_position"] for row in found]
    assert positions == sorted(positions), "the log's own order, as text that sorts"
    assert found[0]["_source_at"] == datetime(2026, 11, 22, 20, 45, 9, 815000, tzinfo=UTC)
    again = topic.ingest(options, **entity)
    assert (again.rows, again.batches) == (0, [])
    topic.send(*recorded(with_schema)[3:4])
    assert topic.ingest(options, **entity).rows == 1
    assert topic.bronze()[-1]["amount"] == Decimal("-0.001"), "a later run knows what the numbers stand for"


def test_states_keep_the_last_event_of_a_key_and_keys_come_from_the_key(topic: Topic) -> None:
    topic.send(*recorded(True))
    result = topic.ingest({"envelope": "debezium"})
    assert (result.rows, result.deletes) == (2, 2)
    last = {row["id"]: row for row in topic.bronze()}
    assert last[1]["name"] == "second"
    assert {key for key, row in last.items() if row["_datong_operation"] != "delete"} == {1, 30}


def test_a_new_column_of_the_database_is_taken_in_with_its_type(topic: Topic) -> None:
    topic.send(*recorded(True))
    options = {"envelope": "debezium"}
    topic.ingest(options)
    schema = json.loads(json.dumps(RECORDED["schema"]))
    column = {"type": "int32", "optional": True, "name": "io.debezium.time.Date", "version": 1, "field": "paid_on"}
    for part in schema["fields"][:2]:
        part["fields"].append(column)
    payload = RECORDED["events"][0]["value"] | {"op": "u"}
    payload["after"] = payload["after"] | {"paid_on": 20485}
    topic.send((recorded(True)[0][0], {"schema": schema, "payload": payload}))
    result = topic.ingest(options)
    assert (result.rows, result.rescued, result.new_columns) == (1, 0, ["paid_on"])
    assert topic.bronze()[-1]["paid_on"] == date(2026, 2, 1)


def test_events_that_are_no_changes_are_left_out_and_broken_ones_refused(topic: Topic) -> None:
    good = recorded(False)[0][1]
    topic.send(
        ("1", good),
        ("2", {"ts_ms": 1}),
        ("3", {"status": "BEGIN", "id": "7"}),
        ("4", {"op": "t", "before": None, "after": None}),
        ("5", {"op": "x", "after": {"id": 1}}),
        ("6", {"op": "c", "after": None}),
        ("7", {"id": 1, "name": "no envelope"}),
        ("8", b"{"),
        ("9", [1]),
    )
    result = topic.ingest({"envelope": "debezium", "logical": LOGICAL}, fields=FIELDS, keys=["id"], events=True)
    assert (result.rows, result.refused) == (1, 6)
    reasons = [row["reason"] for row in topic.refused()]
    assert "truncated" in reasons[0]
    assert "unknown op" in reasons[1]
    assert "no row" in reasons[2]
    assert "no op" in reasons[3]


def test_a_value_that_was_not_logged_is_never_stored_as_a_value(topic: Topic) -> None:
    event = {"op": "u", "before": None, "after": {"id": 1, "name": "__debezium_unavailable_value"}}
    topic.send(("1", event))
    options = {"envelope": "debezium"}
    assert topic.ingest(options, fields={"id": "integer", "name": "string"}, keys=["id"]).rescued == 1
    row = topic.bronze()[0]
    assert row["name"] is None
    assert json.loads(row["_datong_rescued"]) == {"name": "__debezium_unavailable_value"}


def test_times_out_of_reach_are_rescued(topic: Topic) -> None:
    rows = [{"id": 1, "local_at": 9223371331200000000, "due_on": 2**31}, {"id": 2, "local_at": 5, "due_on": 1}]
    topic.send(*[("k", {"op": "c", "after": row}) for row in rows])
    options = {"envelope": "debezium", "logical": {"local_at": "MicroTimestamp", "due_on": "Date"}}
    fields = {"id": "integer", "local_at": "timestamp_ntz", "due_on": "date"}
    assert topic.ingest(options, fields=fields, keys=["id"], events=True).rescued == 1
    first, second = topic.bronze()
    assert (first["local_at"], first["due_on"]) == (None, None)
    assert set(json.loads(first["_datong_rescued"])) == {"local_at", "due_on"}
    assert (second["local_at"], second["due_on"]) == (datetime(1970, 1, 1, 0, 0, 0, 5), date(1970, 1, 2))


ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "plant",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "title", "type": ["null", "string"], "default": None},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "due_on", "type": {"type": "int", "logicalType": "date"}},
        {"name": "made_at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OPEN", "DONE"]}},
        {"name": "lines", "type": {"type": "array", "items": "int"}},
        {"name": "ok", "type": "boolean"},
        {"name": "weight", "type": "double"},
        {"name": "raw", "type": "bytes"},
    ],
}


def order(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "title": f"订单 {number}",
        "price": Decimal("12.50"),
        "due_on": date(2026, 1, 31),
        "made_at": datetime(2026, 3, 1, 8, tzinfo=UTC),
        "state": "OPEN",
        "lines": [1, 2],
        "ok": True,
        "weight": 0.5,
        "raw": b"\x00\xff",
    } | changes


def framed(number: int, schema: Any, record: Any) -> bytes:
    sink = io.BytesIO()
    fastavro.schemaless_writer(sink, fastavro.parse_schema(schema), record)
    return b"\0" + number.to_bytes(4, "big") + sink.getvalue()


def test_avro_records_get_the_registrys_types(topic: Topic, registry: SchemaRegistryServer) -> None:
    number = registry.register(f"{topic.name}-value", ORDER)
    topic.send(("1", framed(number, ORDER, order(1))), ("2", framed(number, ORDER, order(2, title=None, made_at=None))))
    result = topic.ingest({"format": "avro"}, keys=["id"])
    assert (result.rows, result.rescued, result.refused) == (2, 0, 0)
    kinds = {item.name: item.type for item in result.schema}
    assert (kinds["id"], kinds["price"], kinds["due_on"]) == (pa.int64(), pa.decimal128(12, 2), pa.date32())
    first, second = topic.bronze()
    assert {name: first[name] for name in order(1)} == order(1) | {"lines": "[1,2]"}
    assert (second["title"], second["made_at"]) == (None, None)
    topic.send(("3", framed(number, ORDER, order(3))))
    registry.requests.clear()
    assert topic.ingest({"format": "avro"}, keys=["id"]).rows == 1
    assert len([path for path in registry.requests if "/ids/" in path]) == 1


def test_a_newer_avro_schema_adds_its_fields_and_older_messages_are_still_read(
    topic: Topic, registry: SchemaRegistryServer
) -> None:
    old = registry.register(f"{topic.name}-value", ORDER)
    topic.send(("1", framed(old, ORDER, order(1))))
    topic.ingest({"format": "avro"}, keys=["id"])
    newer = ORDER | {"fields": [*ORDER["fields"], {"name": "site", "type": ["null", "string"], "default": None}]}
    new = registry.register(f"{topic.name}-value", newer)
    topic.send(("2", framed(new, newer, order(2) | {"site": "B"})), ("3", framed(old, ORDER, order(3))))
    result = topic.ingest({"format": "avro"}, keys=["id"])
    assert (result.rows, result.new_columns) == (2, ["site"])
    assert [row["site"] for row in topic.bronze()] == [None, "B", None]


def test_avro_that_is_broken_is_refused_and_the_rest_goes_on(topic: Topic, registry: SchemaRegistryServer) -> None:
    number = registry.register(f"{topic.name}-value", ORDER)
    good = framed(number, ORDER, order(1))
    bad = [good[:-3], good + b"x", b"\0\0\0\0\x63" + good[5:], b'{"id": 1}', b"\0", good[:5] + b"\xff" * 12]
    topic.send(("k", good), *[("k", body) for body in bad], ("k", framed(number, ORDER, order(2))))
    result = topic.ingest({"format": "avro"}, keys=["id"])
    assert (result.rows, result.refused) == (2, 6)
    found = topic.refused()
    assert [row["raw"] for row in found] == bad
    assert [row["place"] for row in found] == [f"{topic.name}/0/{offset}" for offset in range(1, 7)]
    assert "schema 99 is not in the registry" in found[2]["reason"]
    assert "follow after the end" in found[1]["reason"]


def test_avro_that_would_end_the_process_or_never_end_is_refused(topic: Topic, registry: SchemaRegistryServer) -> None:
    chain = {
        "type": "record",
        "name": "Link",
        "fields": [{"name": "id", "type": "long"}, {"name": "next", "type": ["null", "Link"]}],
    }
    number = registry.register(f"{topic.name}-value", chain)
    good = framed(number, chain, {"id": 1, "next": {"id": 2, "next": None}})
    deep = good[:5] + b"\x02\x02" * 300_000 + b"\x02\x00"
    nothing = {"type": "record", "name": "Bomb", "fields": [{"name": "n", "type": {"type": "array", "items": "null"}}]}
    bomb = b"\0" + registry.register("bomb", nothing).to_bytes(4, "big") + b"\xfe\xff\xff\xff\xff\xff\x7f\0"
    topic.send(("1", good), ("2", deep), ("3", bomb), ("4", good))
    result = topic.ingest({"format": "avro"}, keys=["id"], events=True)
    assert (result.rows, result.refused) == (2, 2)
    assert topic.bronze()[0]["next"] == '{"id":2,"next":null}'
    assert "RecursionError" in topic.refused()[0]["reason"]
    assert "no byte" in topic.refused()[1]["reason"]


def test_a_registry_that_is_away_stops_the_read_and_refuses_nothing(
    topic: Topic, registry: SchemaRegistryServer
) -> None:
    number = registry.register(f"{topic.name}-value", ORDER)
    topic.send(("1", framed(number, ORDER, order(1))))
    registry.status = 503
    with pytest.raises(TransientError):
        topic.ingest({"format": "avro"}, keys=["id"])
    registry.status = 0
    with pytest.raises(AuthenticationError) as caught:
        topic.ingest({"format": "avro"}, {"registry_password": "wrong-5a"}, keys=["id"])
    assert "wrong-5a" not in str(caught.value)
    assert topic.ingest({"format": "avro"}, keys=["id"]).rows == 1
    assert topic.refused() == []


def test_avro_without_a_registry_says_so(topic: Topic) -> None:
    topic.send(("1", b"\0\0\0\0\1"))
    with pytest.raises(ConfigurationError) as caught:
        topic.ingest({"format": "avro"}, keys=["id"])
    assert "registry_url" in caught.value.next_step


def test_debezium_in_avro_with_connects_types_and_tombstones_by_an_avro_key(
    topic: Topic, registry: SchemaRegistryServer
) -> None:
    value = {
        "type": "record",
        "name": "Value",
        "fields": [
            {"name": "id", "type": "int"},
            {
                "name": "price",
                "type": [
                    "null",
                    {
                        "type": "bytes",
                        "scale": 2,
                        "precision": 12,
                        "logicalType": "decimal",
                        "connect.name": "org.apache.kafka.connect.data.Decimal",
                        "connect.parameters": {"scale": "2", "connect.decimal.precision": "12"},
                    },
                ],
            },
            {"name": "due_on", "type": ["null", {"type": "int", "connect.name": "io.debezium.time.Date"}]},
            {"name": "at", "type": ["null", {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}]},
            {"name": "zoned", "type": ["null", {"type": "string", "connect.name": "io.debezium.time.ZonedTimestamp"}]},
        ],
    }
    envelope = {
        "type": "record",
        "name": "Envelope",
        "namespace": "erp.things",
        "fields": [
            {"name": "before", "type": ["null", value], "default": None},
            {"name": "after", "type": ["null", "Value"], "default": None},
            {"name": "op", "type": "string"},
        ],
    }
    key = {"type": "record", "name": "Key", "namespace": "erp.things", "fields": [{"name": "id", "type": "int"}]}
    number = registry.register(f"{topic.name}-value", envelope)
    key_number = registry.register(f"{topic.name}-key", key)
    row = {
        "id": 1,
        "price": Decimal("9.90"),
        "due_on": 20484,
        "at": 1772352000500000,
        "zoned": "2026-03-01T09:00:00+01:00",
    }
    first = framed(number, envelope, {"before": None, "after": row, "op": "c"})
    gone = framed(number, envelope, {"before": row, "after": None, "op": "d"})
    name = framed(key_number, key, {"id": 1})
    topic.send((name, first), (name, gone), (name, None))
    result = topic.ingest({"format": "avro", "envelope": "debezium", "key_format": "avro"}, events=True)
    assert (result.rows, result.deletes, result.refused, result.rescued) == (1, 1, 0, 0)
    found = topic.bronze()[0]
    assert (found["price"], found["due_on"]) == (Decimal("9.90"), date(2026, 1, 31))
    assert found["at"] == datetime(2026, 3, 1, 8, 0, 0, 500000)
    assert found["zoned"] == datetime(2026, 3, 1, 8, tzinfo=UTC)
    topic.send((name, None))
    assert topic.ingest({"format": "avro", "envelope": "debezium", "key_format": "avro"}, events=True).rows == 0


def test_schemas_that_refer_to_others_are_put_together(topic: Topic, registry: SchemaRegistryServer) -> None:
    site = {"type": "record", "name": "Site", "namespace": "plant", "fields": [{"name": "code", "type": "string"}]}
    registry.register("site", site)
    visit = {
        "type": "record",
        "name": "Visit",
        "namespace": "plant",
        "fields": [{"name": "id", "type": "long"}, {"name": "site", "type": "plant.Site"}],
    }
    reference = {"name": "plant.Site", "subject": "site", "version": 1}
    number = registry.register(f"{topic.name}-value", visit, [reference])
    whole = visit | {"fields": [visit["fields"][0], {"name": "site", "type": site}]}
    topic.send(("1", framed(number, whole, {"id": 1, "site": {"code": "B"}})))
    assert topic.ingest({"format": "avro"}, keys=["id"]).rows == 1
    assert topic.bronze()[0]["site"] == '{"code":"B"}'


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"logical": {"a": "Whenever"}, "envelope": "debezium"}, "not known"),
        ({"logical": {"a": "Decimal"}, "envelope": "debezium"}, "its scale"),
        ({"logical": {"a": "Date"}}, "Debezium events in JSON"),
        ({"format": "text", "envelope": "debezium"}, "json or avro"),
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        KafkaOptions.model_validate(wrong)
