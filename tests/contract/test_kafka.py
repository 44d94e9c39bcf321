"""Kafka on a real broker: every message once, in order, whatever happens; what cannot be read goes to quarantine."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions
from datong_ingestion.connections.kafka import KafkaConnection
from datong_ingestion.run import IngestResult, ingest_entity
from datong_ingestion.source import connect
from datong_ingestion.systems_config import SystemConfig
from datong_platform.errors import AuthenticationError, ConfigurationError, ProtocolError, TransientError
from datong_platform.lake import history, landing, quarantine, storage
from datong_platform.names import bronze
from datong_platform.settings import Settings
from kafka_server import PASSWORD, USER, KafkaServer
from kills import STEPS, killed_at

FIELDS = {
    "Id": "string",
    "Name": "string",
    "Amount": "decimal(13,3)",
    "DueOn": "date",
    "Active": "boolean",
    "ChangedAt": "timestamp",
}


class Topic:
    """A topic, and the bronze table it is read into."""

    def __init__(self, server: KafkaServer, partitions: int = 1, **config: str) -> None:
        self.server = server
        self.system_name = f"k{uuid.uuid4().hex[:8]}"
        self.name = server.topic(f"plant.{self.system_name}.things", partitions, **config)
        self.table = bronze(self.system_name, "thing")

    def send(self, *messages: Any, **settings: Any) -> None:
        self.server.send(self.name, messages, **settings)

    def system(self, connection: dict[str, Any] | None = None, **changes: Any) -> SystemConfig:
        entity: dict[str, Any] = {"name": "thing", "source": self.name, "mode": "stream", "keys": ["Id"]}
        entity |= {"fields": FIELDS} | changes
        address = {"bootstrap_servers": self.server.address, "attempts": 3, "max_wait_seconds": 0.2}
        return SystemConfig.model_validate(
            {
                "system": self.system_name,
                "protocol": "kafka",
                "connection": address | (connection or {}),
                "entities": [entity],
            }
        )

    def ingest(self, connection: dict[str, Any] | None = None, **changes: Any) -> IngestResult:
        return ingest_entity(self.system(connection, **changes), "thing")

    def bronze(self) -> list[dict[str, Any]]:
        delta = history.open_table(self.table)
        rows = [] if delta is None else delta.to_pyarrow_table().to_pylist()
        return sorted(rows, key=lambda row: (row["_datong_batch_id"], row["_kafka_partition"], row["_kafka_offset"]))

    def refused(self) -> list[dict[str, Any]]:
        found = quarantine.rows(self.system_name, "thing", limit=1000)
        return [] if found is None else sorted(found.to_pylist(), key=lambda row: row["place"])


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "Id": f"{number:05d}",
        "Name": f"部件 {number}",
        "Amount": number + 0.125,
        "DueOn": "2026-01-31",
        "Active": number % 2 == 0,
        "ChangedAt": f"2026-03-01T08:{number % 60:02d}:00Z",
    } | changes


def message(number: int, **changes: Any) -> tuple[str, dict[str, Any]]:
    return f"{number:05d}", row(number, **changes)


@pytest.fixture
def topic(services: Settings, kafka: KafkaServer) -> Topic:
    return Topic(kafka)


@pytest.fixture
def make_topic(services: Settings, kafka: KafkaServer) -> Callable[..., Topic]:
    return lambda partitions=1, **config: Topic(kafka, partitions, **config)


def test_topics_are_discovered_and_kafkas_own_left_out(topic: Topic) -> None:
    source = connect(topic.system())
    found = source.entities()
    source.close()
    assert topic.name in found
    assert not [name for name in found if name.startswith("__")]


def test_messages_land_with_exact_types_and_their_place(topic: Topic) -> None:
    topic.send(*[message(i) for i in range(3)])
    result = topic.ingest()
    assert (result.rows, result.mode, result.new_table, result.refused) == (3, "stream", True, 0)
    found = topic.bronze()
    assert found[1]["Amount"] == Decimal("1.125")
    assert found[1]["DueOn"] == date(2026, 1, 31)
    assert found[1]["Active"] is False
    assert found[1]["ChangedAt"] == datetime(2026, 3, 1, 8, 1, tzinfo=UTC)
    assert found[1]["Name"] == "部件 1"
    assert [(r["_kafka_partition"], r["_kafka_offset"], r["_kafka_key"]) for r in found] == [
        (0, 0, "00000"),
        (0, 1, "00001"),
        (0, 2, "00002"),
    ]
    assert abs(found[0]["_kafka_timestamp"].timestamp() - time.time()) < 300
    assert {r["_datong_rescued"] for r in found} == {None}


def test_a_second_read_takes_only_what_is_new_and_an_idle_one_commits_nothing(topic: Topic) -> None:
    topic.send(*[message(i) for i in range(5)])
    topic.ingest()
    topic.send(message(2, Name="second"), message(9))
    result = topic.ingest()
    assert (result.rows, len(result.batches)) == (2, 1)
    idle = topic.ingest()
    assert (idle.rows, idle.batches, idle.delta_version) == (0, [], result.delta_version)
    assert [r["Id"] for r in topic.bronze()] == ["00000", "00001", "00002", "00003", "00004", "00002", "00009"]


def test_an_empty_topic_with_declared_fields_gets_its_table(topic: Topic) -> None:
    result = topic.ingest()
    assert (result.rows, result.new_table) == (0, True)
    topic.send(message(1))
    assert topic.ingest().rows == 1


def test_without_declared_fields_they_are_guessed_once_and_kept(topic: Topic) -> None:
    with pytest.raises(ConfigurationError, match="no readable message") as caught:
        topic.ingest(fields={})
    assert "fields" in caught.value.next_step
    topic.send(("1", b"broken"), ("1", {"Id": "1", "n": 7, "x": 1.5, "ok": True, "nested": {"a": [1]}}))
    result = topic.ingest(fields={})
    kinds = {item.name: item.type for item in result.schema}
    assert (kinds["n"], kinds["x"], kinds["ok"], kinds["nested"]) == (
        pa.int64(),
        pa.decimal128(38, 9),
        pa.bool_(),
        pa.string(),
    )
    assert any("guessed" in note for note in result.notes)
    topic.send(("2", {"Id": "2", "n": "seven", "new": 1}))
    later = topic.ingest(fields={})
    assert later.new_columns == ["new"]
    assert json.loads(topic.bronze()[-1]["_datong_rescued"]) == {"n": "seven", "new": 1}


def test_messages_that_cannot_be_read_are_refused_with_their_bytes_and_place_and_the_rest_goes_on(topic: Topic) -> None:
    bad = [b"{", b'{"Id":"1"}, {"Id":"2"}', b"[1,2]", b'"text"', b"\xff\xfe", b'{"Id": NaN}', b"", b'{"Id":"7"']
    messages: list[Any] = []
    for number, body in enumerate(bad):
        messages += [message(number), ("k", body)]
    topic.send(*messages)
    result = topic.ingest()
    assert (result.rows, result.refused) == (8, 8)
    assert [r["Id"] for r in topic.bronze()] == [f"{i:05d}" for i in range(8)]
    found = {r["place"]: r for r in topic.refused()}
    assert set(found) == {f"{topic.name}/0/{2 * i + 1}" for i in range(8)}
    for number, body in enumerate(bad):
        assert found[f"{topic.name}/0/{2 * number + 1}"]["raw"] == body
        assert found[f"{topic.name}/0/{2 * number + 1}"]["reason"]
    assert topic.ingest().refused == 0
    manifest = landing.read_manifest(topic.system_name, "thing", 1)
    assert manifest
    assert manifest.received_rows == 16


def test_two_broken_messages_do_not_join_up_into_a_good_one(topic: Topic) -> None:
    topic.send(("a", b'{"Id":"00001","Name":"x"'), ("b", b'"Active":true}'), ("c", b'{"Id":"00002"}'))
    result = topic.ingest()
    assert (result.rows, result.refused) == (1, 2)
    assert [r["Id"] for r in topic.bronze()] == ["00002"]


def test_deep_nesting_is_refused_or_kept_as_text_and_never_a_crash(topic: Topic) -> None:
    deep = b'{"Id":"1","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    medium = b'{"Id":"2","x":' + b"[" * 900 + b"]" * 900 + b"}"
    topic.send(("1", deep), ("2", medium), message(3))
    result = topic.ingest()
    assert result.rows + result.refused == 3
    assert "00003" in {r["Id"] for r in topic.bronze()}
    assert f"{topic.name}/0/0" in {r["place"] for r in topic.refused()}


def test_values_that_do_not_fit_are_rescued_and_unknown_fields_told(topic: Topic) -> None:
    topic.send(message(1, Amount="a lot", Extra=[1, 2]), message(2))
    result = topic.ingest()
    assert (result.rows, result.rescued, result.new_columns) == (2, 1, ["Extra"])
    first, second = topic.bronze()
    assert first["Amount"] is None
    assert json.loads(first["_datong_rescued"]) == {"Amount": "a lot", "Extra": [1, 2]}
    assert second["_datong_rescued"] is None


def test_chosen_fields_come_alone_and_nothing_else_is_rescued(topic: Topic) -> None:
    topic.send(message(1), message(2, Extra=1))
    result = topic.ingest(select=["Name"])
    assert (result.rows, result.rescued, result.new_columns) == (2, 0, [])
    assert set(topic.bronze()[0]) >= {"Id", "Name", "_kafka_offset"}
    assert "Amount" not in topic.bronze()[0]


def test_a_tombstone_deletes_the_row_that_its_key_names(topic: Topic) -> None:
    topic.send(message(1), message(2), message(3))
    topic.ingest()
    topic.send(("00002", None), message(4), ("00004", None))
    result = topic.ingest()
    assert (result.rows, result.deletes, result.refused) == (0, 2, 0)
    assert [(r["Id"], r["_datong_operation"]) for r in topic.bronze()[3:]] == [("00002", "delete"), ("00004", "delete")]
    topic.send((None, None))
    assert topic.ingest().refused == 1
    topic.send(({"Id": "00003", "Line": 1}, None))
    assert topic.ingest(options={"key_format": "json"}).deletes == 1


def test_a_tombstone_without_declared_keys_is_refused_not_forgotten(topic: Topic) -> None:
    topic.send(message(1), ("00001", None))
    result = topic.ingest(keys=[])
    assert (result.rows, result.deletes, result.refused) == (1, 0, 1)
    assert "no keys" in topic.refused()[0]["reason"]


def test_events_that_came_twice_stay_twice(topic: Topic) -> None:
    topic.send(message(1), message(1), message(1))
    assert topic.ingest(events=True).rows == 3
    assert {r["_datong_operation"] for r in topic.bronze()} == {"insert"}


def test_an_aborted_transaction_is_not_read_and_its_marks_do_not_hold_the_end(topic: Topic) -> None:
    def transact(number: int, commit: bool) -> None:
        settings = {"bootstrap.servers": topic.server.address, "transactional.id": f"{topic.name}{commit}"}
        producer = Producer(settings | {"log_level": 0})
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(topic.name, json.dumps(row(number)).encode(), f"{number:05d}")
        producer.flush(30)
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    topic.send(message(1))
    transact(2, False)
    transact(3, True)
    started = time.monotonic()
    result = topic.ingest()
    assert [r["Id"] for r in topic.bronze()] == ["00001", "00003"]
    assert result.position
    assert json.loads(result.position)["offsets"] == {"0": 5}, "three messages and two marks"
    assert time.monotonic() - started < 15
    transact(4, False)
    assert topic.ingest().rows == 0


def test_all_partitions_are_read_and_a_new_one_from_its_beginning(make_topic: Callable[..., Topic]) -> None:
    topic = make_topic(3)
    topic.send(*[(*message(i), i % 3) for i in range(9)])
    first = topic.ingest()
    assert first.position
    assert (first.rows, json.loads(first.position)["offsets"]) == (9, {"0": 3, "1": 3, "2": 3})
    grown = topic.server.admin.create_partitions([NewPartitions(topic.name, 4)])
    grown[topic.name].result(30)
    topic.send((*message(20), 3), (*message(21), 0))
    deadline = time.monotonic() + 20
    rows = 0
    while rows < 2 and time.monotonic() < deadline:
        rows += topic.ingest().rows
    assert rows == 2
    assert {r["Id"] for r in topic.bronze()} >= {"00020", "00021"}


def test_a_batch_ends_at_its_rows_and_the_next_reads_on(topic: Topic) -> None:
    topic.send(*[message(i) for i in range(10_000)])
    seen = 0
    rounds = 0
    while seen < 10_000:
        result = topic.ingest({"batch_rows": 2500})
        assert 0 < result.rows <= 4500
        seen += result.rows
        rounds += 1
    assert 3 <= rounds <= 4
    assert [r["_kafka_offset"] for r in topic.bronze()] == list(range(10_000))


def test_the_very_first_read_can_begin_at_the_end(topic: Topic) -> None:
    topic.send(message(1))
    assert topic.ingest(options={"start": "latest"}).rows == 0
    topic.send(message(2))
    assert topic.ingest(options={"start": "latest"}).rows == 1
    assert [r["Id"] for r in topic.bronze()] == ["00002"]


def test_messages_removed_before_they_were_read_stop_the_read_or_are_noted(topic: Topic) -> None:
    topic.send(*[message(i) for i in range(4)])
    topic.ingest()
    topic.send(*[message(i) for i in range(4, 10)])
    removed = topic.server.admin.delete_records([TopicPartition(topic.name, 0, 7)])
    for future in removed.values():
        future.result(30)
    with pytest.raises(ProtocolError) as caught:
        topic.ingest()
    assert "3 messages were removed" in str(caught.value)
    assert "when_lost: go_on" in caught.value.next_step
    result = topic.ingest(options={"when_lost": "go_on"})
    assert (result.rows, result.refused) == (3, 1)
    assert topic.refused()[0]["place"] == f"{topic.name}/0/4-6"
    assert [r["Id"] for r in topic.bronze()][-3:] == ["00007", "00008", "00009"]


def test_a_topic_made_anew_is_noticed(topic: Topic) -> None:
    topic.send(*[message(i) for i in range(4)])
    topic.ingest()
    topic.server.admin.delete_topics([topic.name])[topic.name].result(30)
    deadline = time.monotonic() + 30
    while True:
        try:
            topic.server.topic(topic.name)
            break
        except Exception:  # noqa: BLE001 the old one is still being removed
            assert time.monotonic() < deadline
            time.sleep(0.2)
    topic.send(*[message(i) for i in range(100, 106)])
    with pytest.raises(ProtocolError, match="made anew"):
        topic.ingest()
    assert topic.ingest(options={"when_lost": "go_on"}).rows == 6


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_loses_and_doubles_nothing(topic: Topic, step: str) -> None:
    topic.send(*[message(i) for i in range(5)], ("x", b"broken"))
    with killed_at(STEPS[step]):
        topic.ingest(events=True)
    topic.send(message(7))
    topic.ingest(events=True)
    topic.send(message(8), ("x", b"broken too"))
    with killed_at(STEPS[step]):
        topic.ingest(events=True)
    topic.ingest(events=True)
    assert [r["Id"] for r in topic.bronze()] == ["00000", "00001", "00002", "00003", "00004", "00007", "00008"]
    assert [r["raw"] for r in topic.refused()] == [b"broken", b"broken too"]


def test_two_runs_at_once_take_every_message_once(topic: Topic) -> None:
    topic.send(*[message(i) for i in range(500)])
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: topic.ingest(events=True), range(3)))
    assert [r["_kafka_offset"] for r in topic.bronze()] == list(range(500))


def test_the_group_shows_the_progress_after_the_load(topic: Topic) -> None:
    topic.send(*[message(i) for i in range(6)])
    topic.ingest()
    group = f"datong.{topic.system_name}.thing"
    consumer = Consumer({"bootstrap.servers": topic.server.address, "group.id": group})
    committed = consumer.committed([TopicPartition(topic.name, 0)], timeout=10)
    consumer.close()
    assert committed[0].offset == 6


def test_the_offset_in_kafka_is_not_believed(topic: Topic) -> None:
    topic.send(*[message(i) for i in range(6)])
    topic.ingest()
    group = f"datong.{topic.system_name}.thing"
    consumer = Consumer({"bootstrap.servers": topic.server.address, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic.name, 0, 0)], asynchronous=False)
    consumer.close()
    assert topic.ingest().rows == 0


def test_a_log_in_is_used_and_a_wrong_one_told_without_the_password(
    topic: Topic, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    topic.send(message(1))
    login = {
        "bootstrap_servers": topic.server.sasl_address,
        "security": "sasl_plaintext",
        "user": USER,
        "password": PASSWORD,
    }
    result = topic.ingest(login)
    assert result.rows == 1
    with pytest.raises(AuthenticationError) as caught:
        topic.ingest(login | {"password": "wrong-31f"})
    assert topic.server.sasl_address in str(caught.value)
    assert f"{topic.system_name}.thing" in str(caught.value)
    manifest = landing.read_manifest(topic.system_name, "thing", 1)
    assert manifest
    commits = [storage.get(key) or b"" for key in storage.keys(f"{topic.table.path}/_delta_log/")]
    written = [caplog.text, str(result), str(caught.value), manifest.to_json().decode(), repr(topic.system(login))]
    for text in [*written, *(body.decode(errors="replace") for body in commits)]:
        assert PASSWORD not in text
        assert "wrong-31f" not in text


def test_a_topic_that_is_not_there_and_a_broker_that_is_away_name_themselves(topic: Topic) -> None:
    with pytest.raises(ConfigurationError) as missing:
        topic.ingest(source="no.such.topic")
    assert "no.such.topic" in str(missing.value)
    assert missing.value.next_step
    with pytest.raises(TransientError) as away:
        topic.ingest({"bootstrap_servers": "127.0.0.1:9", "timeout_seconds": 1, "attempts": 1})
    assert "127.0.0.1:9" in str(away.value)
    assert "listeners" in away.value.next_step


def test_a_broker_that_falls_silent_ends_the_read_and_nothing_is_lost(topic: Topic) -> None:
    topic.send(*[message(i) for i in range(50)])
    topic.ingest()
    topic.send(*[message(i) for i in range(50, 60)])
    topic.server.freeze()
    try:
        with pytest.raises(TransientError):
            topic.ingest({"timeout_seconds": 1, "attempts": 1})
    finally:
        topic.server.thaw()
    assert topic.ingest().rows == 10
    assert [r["_kafka_offset"] for r in topic.bronze()] == list(range(60))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"security": "sasl_ssl"}, "needs user and password"),
        ({"user": "a", "password": "b"}, "need security"),
        ({"properties": {"isolation.level": "read_uncommitted"}}, "cannot set isolation.level"),
        ({"certificate_file": "a.pem"}, "belong together"),
    ],
)
def test_connections_that_make_no_sense_are_refused(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        KafkaConnection.model_validate({"bootstrap_servers": "a:1", **wrong})
