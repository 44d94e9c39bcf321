"""Queues and places for files as targets: what is known of what they took, and when a person has to decide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from datong_ingestion.write_back.payload import Confirmed
from datong_ingestion.write_back.target import AwaitedError, Change, Found, RefusedLaterError, Target
from datong_platform.errors import ConfigurationError
from datong_platform.settings import Settings
from sftp_server import SftpServer
from targets import FilesRig, RabbitMqRig


def ask(target: Target, *changes: Change) -> list[Any]:
    sent = {change.key: change.idempotency_key for change in changes}
    held = target.lookup(list(sent), sent)
    return [held[change.key] for change in changes]


def kinds(rig: Any, target: Target, *changes: Change) -> list[str]:
    outcomes = target.send(changes, lambda _change, _outcome: None)
    return [outcomes[change.key].kind for change in changes]


class Queue(RabbitMqRig):
    """A queue with a consumer that answers, if it is told to."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.reply_queue = f"{self.name}.replies"
        self.more: dict[str, Any] = {}
        with self._channel() as channel:
            channel.queue_declare(self.reply_queue, durable=True)

    def target(self) -> dict[str, Any]:
        return {"resource": self.name, "rabbitmq": self.more}

    def answer(self, **content: Any) -> None:
        """Answer everything that waits."""
        self._take()
        with self._channel() as channel:
            for _, body, properties in self.taken:
                said = json.dumps({"key": f"WO-{body['Id']}", **content})
                channel.basic_publish(
                    "",
                    properties.reply_to,
                    said.encode(),
                    pika.BasicProperties(correlation_id=properties.correlation_id),
                )
        self.taken.clear()

    def replies(self) -> int:
        return self.server.waiting(self.reply_queue)


@pytest.fixture
def queue(rabbitmq: Any) -> Iterator[Queue]:
    rig = Queue(rabbitmq)
    yield rig
    rig.stop()


def test_what_the_broker_confirmed_counts_and_what_a_crash_left_open_is_for_a_person(queue: Queue) -> None:
    target = queue.open()
    change = queue.change(target, "A1")
    assert kinds(queue, target, change) == ["accepted"]
    [[found]] = ask(target, change)
    assert isinstance(found.fields, Confirmed)
    [after] = ask(queue.open(), change)
    assert isinstance(after, AwaitedError)
    assert "a queue cannot be asked" in str(after)
    queue.more = {"deduplicates": True}
    assert ask(queue.open(), change) == [[]], "it may be sent again to a consumer that takes a message id once"


def test_a_message_that_no_queue_takes_is_a_refusal(queue: Queue) -> None:
    target = queue.open(target={"system": queue.name, "lookup": "Id", "identity": ["Id"], "resource": "nowhere"})
    assert kinds(queue, target, queue.change(target, "A1")) == ["refused"]


def test_the_consumers_answer_verifies_and_stays_until_it_is_recorded(queue: Queue) -> None:
    queue.more = {"reply_queue": queue.reply_queue}
    target = queue.open()
    change = queue.change(target, "A1")
    assert kinds(queue, target, change) == ["accepted"]
    assert isinstance(ask(target, change)[0], AwaitedError)
    queue.answer(success=True)
    [[found]] = ask(target, change)
    assert isinstance(found.fields, Confirmed)
    assert found.target_key == "WO-A1"
    target.close()
    after = queue.open()
    assert isinstance(ask(after, change)[0][0], Found), "nobody had recorded it: it came back to its queue"
    after.recorded(["A1"])
    after.close()
    assert queue.replies() == 0
    assert isinstance(ask(queue.open(), change)[0], AwaitedError)


def test_the_consumers_refusal_is_told_in_its_words(queue: Queue) -> None:
    queue.more = {"reply_queue": queue.reply_queue}
    target = queue.open()
    change = queue.change(target, "A1")
    kinds(queue, target, change)
    queue.answer(success=False, message="no such work centre")
    [state] = ask(target, change)
    assert isinstance(state, RefusedLaterError)
    assert state.reason == "no such work centre"


def test_a_reply_queue_that_is_not_there_is_named(queue: Queue) -> None:
    queue.more = {"reply_queue": "nowhere"}
    with pytest.raises(ConfigurationError, match="nowhere"):
        queue.open().lookup(["A1"])


def test_a_file_that_its_receiver_took_is_known_by_the_archive_or_left_to_a_person(tmp_path: Path) -> None:
    rig = FilesRig(tmp_path)
    target = rig.open()
    change = rig.change(target, "A1")
    assert kinds(rig, target, change) == ["accepted"]
    [written] = (tmp_path / "out").glob("*.json")
    (tmp_path / "done").mkdir()
    written.rename(tmp_path / "done" / written.name)
    assert len(ask(target, change)[0]) == 1, "it was read back when it was written"
    [lost] = ask(rig.open(), change)
    assert isinstance(lost, AwaitedError)
    assert "taken by its receiver, or never written" in lost.reason
    archive = rig.target() | {"files": {**rig.target()["files"], "archive": "done"}}
    known = rig.open(target={"system": rig.name, "lookup": "Id", "identity": ["Id"], **archive})
    assert len(ask(known, change)[0]) == 1
    known.recorded(["A1"])
    assert list((tmp_path / "out" / ".datong").rglob("*.json")) == [], "the note went with the ledger's word"


def test_a_note_stays_while_one_change_of_its_file_is_open(tmp_path: Path) -> None:
    rig = FilesRig(tmp_path, "csv", 10)
    target = rig.open()
    changes = [rig.change(target, f"A{n}") for n in range(3)]
    kinds(rig, target, *changes)
    ask(target, *changes)
    target.recorded(["A0", "A1"])
    assert len(list((tmp_path / "out" / ".datong").rglob("*.json"))) == 1
    target.recorded(["A2"])
    assert list((tmp_path / "out" / ".datong").rglob("*.json")) == []


class Bucket(FilesRig):
    """Files in S3."""

    def __init__(self, services: Settings, folder: Path, bucket: str) -> None:
        super().__init__(folder, "jsonl", 4)
        self.services, self.bucket = services, bucket

    def connection(self) -> dict[str, Any]:
        now = self.services
        return {
            "location": f"s3://{self.bucket}/exchange",
            "endpoint": now.s3_endpoint,
            "user": now.s3_access_key_id,
            "password": now.s3_secret_access_key,
        }


def test_files_in_s3_are_put_once_and_read_back(services: Settings, own_bucket: str, tmp_path: Path) -> None:
    rig = Bucket(services, tmp_path, own_bucket)
    target = rig.open()
    changes = [rig.change(target, f"A{n}") for n in range(9)]
    assert kinds(rig, target, *changes) == ["accepted"] * 9
    again = rig.open()
    assert [len(state) for state in ask(again, *changes)] == [1] * 9
    assert kinds(rig, again, *changes) == ["accepted"] * 9
    again.recorded([change.key for change in changes])
    assert ask(rig.open(), *changes) == [[]] * 9
    rig.stop()


class Sftp(FilesRig):
    """Files on an SFTP server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = SftpServer(folder, "writer", "pass-word-9c1e")

    def connection(self) -> dict[str, Any]:
        return {
            "location": f"sftp://127.0.0.1:{self.server.port}/",
            "user": "writer",
            "password": "pass-word-9c1e",
            "host_key": self.server.host_key,
        }

    def stop(self) -> None:
        super().stop()
        self.server.stop()


def test_files_on_sftp_are_put_once_and_never_over_anothers(tmp_path: Path) -> None:
    rig = Sftp(tmp_path)
    try:
        target = rig.open()
        changes = [rig.change(target, f"A{n}") for n in range(3)]
        assert kinds(rig, target, *changes) == ["accepted"] * 3
        assert [len(state) for state in ask(rig.open(), *changes)] == [1] * 3
        assert rig.held() == {f"A{n}": changes[n].payload["Name"] for n in range(3)}
        first = min((tmp_path / "out").glob("*.json"), key=lambda path: json.loads(path.read_text())["Id"])
        first.write_text("somebody else's")
        assert kinds(rig, rig.open(), *changes) == ["conflict", "accepted", "accepted"]
        assert first.read_text() == "somebody else's"
        assert not list((tmp_path / "out").glob(".*.tmp")), "no draft is left behind"
    finally:
        rig.stop()
