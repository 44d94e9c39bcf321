"""RabbitMQ on a real broker: acknowledged only after the load, and nothing lost or doubled wherever it is killed."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from datong_ingestion.protocols.rabbitmq import RabbitMq
from datong_ingestion.reread import reread
from datong_ingestion.run import EntityIngest, IngestResult, ingest_entity
from datong_ingestion.source import connect
from datong_ingestion.systems_config import SystemConfig
from datong_platform.errors import AuthenticationError, ConfigurationError, TransientError
from datong_platform.lake import history, quarantine
from datong_platform.names import bronze
from datong_platform.settings import Settings
from kills import STEPS, Killed, Step, killed_at
from rabbitmq_server import PASSWORD, USER, RabbitMqServer


class Queue:
    """A queue, and the bronze table it is read into."""

    def __init__(self, server: RabbitMqServer) -> None:
        self.server = server
        self.system_name = f"r{uuid.uuid4().hex[:8]}"
        self.name = server.queue(f"plant.{self.system_name}")
        self.table = bronze(self.system_name, "thing")

    def send(self, *messages: Any, **properties: Any) -> None:
        bodies = [message if isinstance(message, bytes) else json.dumps(message).encode() for message in messages]
        self.server.send(self.name, bodies, **properties)

    def system(self, connection: dict[str, Any] | None = None, **changes: Any) -> SystemConfig:
        entity: dict[str, Any] = {"name": "thing", "source": self.name, "mode": "stream", "events": True}
        entity |= {"fields": {"Id": "long", "Name": "string"}} | changes
        address = {"host": "127.0.0.1", "port": self.server.port, "user": USER, "password": PASSWORD}
        return SystemConfig.model_validate(
            {
                "system": self.system_name,
                "protocol": "rabbitmq",
                "connection": address | {"attempts": 2, "max_wait_seconds": 0.2} | (connection or {}),
                "entities": [entity],
            }
        )

    def ingest(self, connection: dict[str, Any] | None = None, **changes: Any) -> IngestResult:
        return ingest_entity(self.system(connection, **changes), "thing")

    def ids(self) -> list[int]:
        delta = history.open_table(self.table)
        return sorted(delta.to_pyarrow_table().column("Id").to_pylist()) if delta else []

    def rows(self) -> list[dict[str, Any]]:
        delta = history.open_table(self.table)
        return delta.to_pyarrow_table().to_pylist() if delta else []


@pytest.fixture
def queue(services: Settings, rabbitmq: RabbitMqServer) -> Queue:
    return Queue(rabbitmq)


def things(*numbers: int) -> list[dict[str, Any]]:
    return [{"Id": number, "Name": f"部件 {number}"} for number in numbers]


def test_messages_land_with_what_the_broker_tells_and_leave_the_queue(queue: Queue) -> None:
    queue.send(*things(1, 2), message_id="m-7", timestamp=1_772_352_000)
    result = queue.ingest()
    assert (result.rows, result.refused, result.new_table) == (2, 0, True)
    first = min(queue.rows(), key=lambda row: row["Id"])
    assert first["Name"] == "部件 1"
    assert first["_rabbitmq_message_id"] == "m-7"
    assert first["_rabbitmq_routing_key"] == queue.name
    assert first["_rabbitmq_timestamp"] == datetime(2026, 3, 1, 8, tzinfo=UTC)
    assert first["_datong_operation"] == "insert"
    assert queue.server.waiting(queue.name) == 0
    idle = queue.ingest()
    assert (idle.rows, idle.batches, idle.delta_version) == (0, [], result.delta_version)
    queue.send(*things(3))
    assert queue.ingest().rows == 1
    assert queue.ids() == [1, 2, 3]


def test_an_empty_queue_gets_its_table_and_names_come_from_the_definition(queue: Queue) -> None:
    assert queue.ingest().new_table
    source = connect(queue.system())
    assert source.entities() == [queue.name]
    source.close()


def test_fields_are_guessed_from_waiting_messages_which_stay(queue: Queue) -> None:
    queue.send({"n": 1, "x": "a"}, {"n": 2, "ok": True})
    source = connect(queue.system(fields={}))
    found = source.describe(queue.system(fields={}).entity("thing"))
    source.close()
    assert found.schema.names[:3] == ["n", "x", "ok"]
    assert queue.server.waiting(queue.name) == 2
    assert queue.ingest(fields={}).rows == 2


def test_a_message_that_cannot_be_read_is_refused_and_never_blocks_the_queue(queue: Queue) -> None:
    queue.send(*things(1), b"{broken", b"\xff", *things(2))
    result = queue.ingest()
    assert (result.rows, result.refused) == (2, 2)
    found = quarantine.rows(queue.system_name, "thing")
    assert found is not None
    assert set(found.column("raw").to_pylist()) == {b"{broken", b"\xff"}
    assert all(place.startswith(f"{queue.name}/") for place in found.column("place").to_pylist())
    assert queue.server.waiting(queue.name) == 0
    assert queue.ingest().refused == 0


def test_what_a_mended_definition_can_read_comes_out_of_quarantine(queue: Queue) -> None:
    queue.send(*things(1, 2), b"{broken", message_id="m-1")
    assert queue.ingest(options={"envelope": "debezium"}).refused == 3
    done = reread(queue.system(), "thing")
    assert (done.released, done.still_held) == (2, 1)
    assert queue.ids() == [1, 2]
    assert {row["_rabbitmq_message_id"] for row in queue.rows()} == {"m-1"}
    queue.send(*things(3))
    assert queue.ingest().rows == 1
    assert (reread(queue.system(), "thing").released, queue.ids()) == (0, [1, 2, 3])


def test_messages_that_are_alike_are_all_kept(queue: Queue) -> None:
    queue.send(*things(1, 1, 1))
    assert queue.ingest().rows == 3
    queue.send(*things(1))
    assert queue.ingest().rows == 1
    assert queue.ids() == [1, 1, 1, 1]


def test_a_batch_ends_at_its_rows_and_the_rest_waits(queue: Queue) -> None:
    queue.send(*things(*range(25)))
    seen = 0
    while seen < 25:
        result = queue.ingest({"batch_rows": 10})
        assert 0 < result.rows <= 10
        seen += result.rows
    assert queue.ids() == list(range(25))


KILLS: dict[str, Step] = {
    **STEPS,
    "before the acknowledgement": (RabbitMq, "confirm", "before"),
    "after the acknowledgement": (RabbitMq, "confirm", "after"),
}


@pytest.mark.parametrize("step", KILLS)
def test_a_kill_at_any_step_loses_and_doubles_nothing(queue: Queue, step: str) -> None:
    queue.send(*things(1))
    queue.ingest()
    queue.send(*things(*range(2, 7)), b"broken", message_id="same")
    with killed_at(KILLS[step]):
        second_round(queue)
    queue.send(*things(7, 8))
    queue.ingest()
    queue.ingest()
    assert queue.ids() == list(range(1, 9))
    found = quarantine.rows(queue.system_name, "thing")
    assert found is not None
    assert found.column("raw").to_pylist() == [b"broken"]
    assert queue.server.waiting(queue.name) == 0


def second_round(queue: Queue) -> None:
    """An ingest that has confirmed the last batch already, as a stream's second round has."""
    system = queue.system()
    source = connect(system)
    ingest = EntityIngest(source, system, system.entity("thing"))
    ingest._confirmed = True
    try:
        ingest.run()
    finally:
        source.close()


def test_a_quorum_queue_is_read_once_too(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.name = queue.server.queue(f"{queue.name}.quorum", **{"x-queue-type": "quorum"})
    queue.send(*things(1, 1, 2))
    with monkeypatch.context() as patch:
        patch.setattr(RabbitMq, "confirm", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            second_round(queue)
    queue.send(*things(2, 3))
    assert queue.ingest().rows == 2
    assert queue.ids() == [1, 1, 2, 2, 3]
    assert queue.server.waiting(queue.name) == 0


def test_one_process_reads_and_acknowledges_again_and_again(queue: Queue) -> None:
    system = queue.system()
    source = connect(system)
    ingest = EntityIngest(source, system, system.entity("thing"))
    for number in range(4):
        queue.send(*things(number, number))
        assert ingest.run().rows == 2
        assert queue.server.waiting(queue.name) == 0
    source.close()
    assert queue.server.waiting(queue.name) == 0, "nothing was held back unacknowledged"
    assert queue.ids() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_broker_that_is_killed_between_load_and_acknowledgement_doubles_nothing(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = queue.system()
    source = connect(system)
    ingest = EntityIngest(source, system, system.entity("thing"))
    queue.send(*things(1, 2, 2))
    real = RabbitMq.confirm

    def cut(self: RabbitMq, entity: Any, position: str) -> None:
        if len(queue.ids()) and queue.server.process:
            monkeypatch.setattr(RabbitMq, "confirm", real)
            queue.server.kill()
        real(self, entity, position)

    monkeypatch.setattr(RabbitMq, "confirm", cut)
    assert ingest.run().rows == 3
    with pytest.raises(TransientError):
        ingest.run()
    queue.server.start()
    queue.send(*things(3))
    rows = ingest.run().rows
    source.close()
    assert rows == 1
    assert queue.ids() == [1, 2, 2, 3]
    assert queue.server.waiting(queue.name) == 0


def test_a_wrong_password_a_missing_queue_and_a_broker_that_is_away_say_so(
    queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    errors: list[Exception] = []

    def failing(kind: type[Exception], check: Callable[[], Any]) -> str:
        with pytest.raises(kind) as caught:
            check()
        errors.append(caught.value)
        return str(caught.value)

    text = failing(AuthenticationError, lambda: queue.ingest({"password": "wrong-9d1"}))
    assert f"{queue.system_name}.thing" in text
    assert f"127.0.0.1:{queue.server.port}" in text
    text = failing(ConfigurationError, lambda: queue.ingest(source="no.such.queue"))
    assert "no such queue" in text
    text = failing(TransientError, lambda: queue.ingest({"port": 9}))
    assert "127.0.0.1:9" in text
    queue.send(*things(1))
    result = queue.ingest()
    for written in [caplog.text, *map(repr, errors), str(result), repr(queue.system())]:
        assert PASSWORD not in written
        assert "wrong-9d1" not in written


def test_a_queue_is_read_by_two_at_once_without_loss(queue: Queue) -> None:
    queue.send(*things(*range(40)))
    system = queue.system({"batch_rows": 20})
    one, other = connect(system), connect(system)
    first = EntityIngest(one, system, system.entity("thing"))
    second = EntityIngest(other, system, system.entity("thing"))
    taken = 0
    for _ in range(4):
        taken += first.run().rows
        taken += second.run().rows
    one.close()
    other.close()
    assert (taken, queue.ids()) == (40, list(range(40)))
