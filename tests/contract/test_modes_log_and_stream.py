"""Logs and queues: where a read begins is in the commit, a lost position starts anew, and a stream never pauses."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion import run, streaming
from datong_ingestion.run import IngestOutcome, IngestResult, ingest_entity
from datong_ingestion.source import Description, InterruptedReadError, Page
from datong_ingestion.systems_config import PROTOCOLS, EntityConfig, Mode, ProtocolKind, SystemConfig
from datong_platform.errors import (
    ConfigurationError,
    DatongError,
    PositionLostError,
    ProtocolError,
    SchemaError,
    TransientError,
)
from datong_platform.lake import history, load, quarantine
from datong_platform.names import bronze

SCHEMA = pa.schema([("id", pa.string()), ("name", pa.string())])


class Log:
    """A change log in small: changes with numbers, and the state that they lead to."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, str]] = []
        self.first = 0
        self.batch = 1000
        self.troubles: list[Exception] = []
        self.silent = False
        self.lock = threading.Lock()

    def put(self, operation: str, key: str, name: str = "") -> None:
        with self.lock:
            self.changes.append((operation, key, name))

    def entities(self) -> list[str]:
        return ["things"]

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        return Description(SCHEMA, keys=("id",), modes=frozenset({"full", "cursor", "log", "stream"}))

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        if self.troubles:
            raise self.troubles.pop(0)
        if position is None and entity.mode == "log":
            state: dict[str, str] = {}
            for operation, key, name in self.changes:
                state.pop(key, None)
                if operation != "delete":
                    state[key] = name
            rows = [("snapshot", key, name) for key, name in state.items()]
            yield self.page(rows, len(self.changes))
            return
        start = json.loads(position)["at"] if position else self.first
        if start < self.first:
            raise PositionLostError("log", f"change {start} was cleaned up.")
        yield self.page(self.changes[start : start + self.batch], min(start + self.batch, len(self.changes)))

    def page(self, rows: list[tuple[str, str, str]], reached: int) -> Page:
        columns = [[row[1] for row in rows], [row[2] for row in rows]]
        position = None if self.silent else json.dumps({"at": reached})
        operations = pa.array([row[0] for row in rows], pa.string())
        return Page(pa.table(columns, schema=SCHEMA), operations=operations, position=position)

    def close(self) -> None:
        pass


@pytest.fixture
def log(services: Any, monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log()
    kind = PROTOCOLS["sql"]
    modes = frozenset[Mode]({"full", "cursor", "log", "stream"})
    monkeypatch.setitem(PROTOCOLS, "sql", ProtocolKind(kind.connection, kind.source, modes))
    monkeypatch.setattr(run, "connect", lambda _: made)
    monkeypatch.setattr(streaming, "connect", lambda _: made)
    return made


def definition(name: str = "", **entity: Any) -> SystemConfig:
    return SystemConfig.model_validate(
        {
            "system": name or f"l{uuid.uuid4().hex[:8]}",
            "protocol": "sql",
            "connection": {"url": "postgresql://nobody@127.0.0.1:9/none", "attempts": 3, "max_wait_seconds": 0.1},
            "entities": [{"name": "thing", "source": "things", **{"mode": "log", **entity}}],
        }
    )


def rows(system: SystemConfig) -> list[dict[str, Any]]:
    delta = history.open_table(bronze(system.system, "thing"))
    found: list[dict[str, Any]] = delta.to_pyarrow_table().to_pylist() if delta else []
    return sorted(found, key=lambda row: (row["_datong_batch_id"], row["id"]))


def current(system: SystemConfig) -> dict[str, str]:
    last = {row["id"]: row for row in rows(system)}
    return {key: row["name"] for key, row in last.items() if row["_datong_operation"] != "delete"}


def test_a_log_is_read_from_where_the_last_commit_ended(log: Log) -> None:
    system = definition()
    log.put("insert", "1", "a")
    log.put("insert", "2", "b")
    first = ingest_entity(system, "thing")
    assert (first.rows, first.position) == (2, '{"at": 2}')
    assert history.loads(first.table)[0].kind == "baseline"
    log.put("update", "1", "c")
    log.put("update", "1", "d")
    log.put("delete", "2")
    second = ingest_entity(system, "thing")
    assert (second.rows, second.deletes, second.position) == (1, 1, '{"at": 5}')
    assert current(system) == {"1": "d"}
    assert history.loads(first.table)[0].kind == "changes"
    assert ingest_entity(system, "thing").batches == []


def test_events_of_a_log_keep_every_change(log: Log) -> None:
    system = definition(events=True)
    ingest_entity(system, "thing")
    for name in ("a", "b", "c"):
        log.put("update", "1", name)
    assert ingest_entity(system, "thing").rows == 3


def test_a_lost_position_starts_a_new_baseline_that_tells_the_deletes_and_says_so(log: Log) -> None:
    system = definition()
    log.put("insert", "1", "a")
    log.put("insert", "2", "b")
    ingest_entity(system, "thing")
    log.put("delete", "2")
    log.put("insert", "3", "c")
    log.first = 4
    result = ingest_entity(system, "thing")
    assert current(system) == {"1": "a", "3": "c"}
    assert (result.rows, result.deletes) == (2, 1)
    assert "change 2 was cleaned up" in result.events[0]
    assert history.loads(result.table)[0].events == result.events
    assert ingest_entity(system, "thing").events == []


def test_a_queue_whose_position_is_lost_deletes_nothing(log: Log) -> None:
    system = definition(mode="stream")
    log.put("insert", "1", "a")
    log.put("insert", "2", "b")
    ingest_entity(system, "thing")
    log.put("insert", "3", "c")
    log.first = 3
    log.put("insert", "4", "d")
    result = ingest_entity(system, "thing")
    assert (result.rows, result.deletes) == (1, 0)
    assert set(current(system)) == {"1", "2", "4"}
    assert result.events


def test_a_read_that_breaks_off_begins_again_at_the_committed_position(log: Log) -> None:
    system = definition()
    log.put("insert", "1", "a")
    ingest_entity(system, "thing")
    log.put("insert", "2", "b")
    log.troubles = [InterruptedReadError("log", "broke off.")]
    assert ingest_entity(system, "thing").rows == 1
    assert len(rows(system)) == 2


def test_a_log_that_tells_no_position_is_refused(log: Log) -> None:
    log.silent = True
    log.put("insert", "1", "a")
    with pytest.raises(ProtocolError, match="no position"):
        ingest_entity(definition(), "thing")


def streaming_thread(
    system: SystemConfig, heard: list[IngestOutcome]
) -> tuple[threading.Thread, threading.Event, list[IngestOutcome]]:
    stop, ended = threading.Event(), []

    def work() -> None:
        ended.extend(streaming.stream(system, stop=stop, pause=0.02, on_batch=heard.append))

    thread = threading.Thread(target=work)
    thread.start()
    return thread, stop, ended


def until(condition: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_stream_brings_change_after_change_and_ends_when_told(log: Log) -> None:
    system = definition(mode="stream", events=True)
    heard: list[IngestOutcome] = []
    thread, stop, ended = streaming_thread(system, heard)
    for number in range(40):
        log.put("insert", str(number), "a")
        time.sleep(0.02)
    until(lambda: len(rows(system)) == 40)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert ended == []
    assert sorted(int(row["id"]) for row in rows(system)) == list(range(40))
    assert sum(outcome.result.rows for outcome in heard if isinstance(outcome.result, IngestResult)) == 40
    assert len(heard) > 2, "it did not wait for all of them"


def test_a_stream_waits_out_a_fault_and_loads_what_was_landed(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "LONGEST_WAIT", 0.05)
    system = definition(mode="stream", events=True)
    real, failures = load.load, [TransientError("store", "is away.")] * 2

    def sometimes(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*arguments)

    monkeypatch.setattr(load, "load", sometimes)
    log.troubles = [TransientError("log", "is away.")]
    log.put("insert", "1", "a")
    heard: list[IngestOutcome] = []
    thread, stop, ended = streaming_thread(system, heard)
    until(lambda: len(rows(system)) == 1)
    log.put("insert", "2", "b")
    until(lambda: len(rows(system)) == 2)
    stop.set()
    thread.join(20)
    assert ended == []
    assert [outcome.ok for outcome in heard].count(False) == 3
    assert [row["id"] for row in rows(system)] == ["1", "2"]


def test_a_fault_that_does_not_pass_ends_the_stream_and_is_told(log: Log) -> None:
    log.troubles = [SchemaError("log", "makes no sense.")]
    heard: list[IngestOutcome] = []
    ended = streaming.stream(definition(), stop=threading.Event(), on_batch=heard.append)
    assert [outcome.entity for outcome in ended] == ["thing"]
    assert isinstance(ended[0].result, DatongError)
    assert heard == ended


def test_only_what_is_read_by_changes_is_streamed_unless_it_is_named() -> None:
    system = definition(mode="full")
    with pytest.raises(ConfigurationError, match="read whole"):
        streaming.streamed(system)
    assert [entity.name for entity in streaming.streamed(system, ["thing"])] == ["thing"]


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from datong_ingestion import __main__, run, streaming
from datong_ingestion.systems_config import PROTOCOLS, ProtocolKind
import test_modes_log_and_stream as tests
made = tests.Log()
for number in range(3):
    made.put("insert", str(number), "a")
kind = PROTOCOLS["sql"]
PROTOCOLS["sql"] = ProtocolKind(kind.connection, kind.source, frozenset({{"log", "stream"}}))
streaming.connect = lambda _: made
__main__.load_system = lambda name: tests.definition(name, mode="stream")
sys.exit(__main__.main([{name!r}, "--stream", "--format", "json"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_stream_without_a_traceback(log: Log, number: int) -> None:
    name = f"l{uuid.uuid4().hex[:8]}"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(folder=str(Path(__file__).parent), name=name)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    assert process.stdout
    told = json.loads(process.stdout.readline())
    assert (told["rows"], told["position"]) == (3, '{"at": 3}')
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


ENDLESS = """
import sys
sys.path.insert(0, {folder!r})
from datong_ingestion import __main__, streaming
from datong_ingestion.source import REFUSED, Page
from datong_ingestion.systems_config import PROTOCOLS, ProtocolKind
import json
import pyarrow as pa
import test_modes_log_and_stream as tests

class Follower(tests.Log):
    # what a driver writes to a file, line by line; every seventh line cannot be read
    def read(self, entity, description, position):
        start = json.loads(position)["at"] if position else 0
        lines = open({file!r}).read().split("\\n")[:-1]
        found = list(enumerate(lines))[start : start + 40]
        good = [("insert", line, "a") for at, line in found if at % 7]
        bad = [dict(raw=line.encode(), place=str(at), field=None, reason="seventh") for at, line in found if not at % 7]
        page = self.page(good, start + len(found))
        yield Page(page.rows, operations=page.operations, position=page.position,
                   refused=pa.Table.from_pylist(bad, REFUSED))

made = Follower()
kind = PROTOCOLS["sql"]
PROTOCOLS["sql"] = ProtocolKind(kind.connection, kind.source, frozenset({{"log", "stream"}}))
streaming.connect = lambda _: made
__main__.load_system = lambda name: tests.definition(name, mode="stream", events=True)
sys.exit(__main__.main([{name!r}, "--stream", "--format", "json"]))
"""


def test_a_stream_killed_hard_again_and_again_loses_and_doubles_nothing(log: Log, tmp_path: Path) -> None:
    name, file = f"l{uuid.uuid4().hex[:8]}", tmp_path / "log"
    script = ENDLESS.format(folder=str(Path(__file__).parent), file=str(file), name=name)
    file.write_text("")
    dice, written = random.Random(11), 0
    for attempt in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout
        with file.open("a") as lines:
            for _ in range(400):
                lines.write(f"{written}\n")
                written += 1
        told = process.stdout.readline()
        assert told, process.communicate()[1]
        time.sleep(dice.random() * 0.8)
        if attempt < 3:
            process.kill()
            process.communicate()
        else:
            while json.loads(told)["total_rows"] < sum(1 for at in range(written) if at % 7):
                told = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
    delta = history.open_table(bronze(name, "thing"))
    assert delta
    found = sorted(int(value) for value in delta.to_pyarrow_table().column("id").to_pylist())
    assert found == [at for at in range(written) if at % 7]
    held = quarantine.rows(name, "thing", limit=10**6)
    assert held
    assert sorted(int(raw) for raw in held.column("raw").to_pylist()) == list(range(0, written, 7))
