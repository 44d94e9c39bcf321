"""What every protocol may rely on: refused rows reach quarantine exactly once, and a queue is told what is kept."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from datong_infra.cli import quarantine as replaying
from datong_infra.cli.output import Format
from datong_ingestion import reread as rereading
from datong_ingestion import run, systems_config
from datong_ingestion.reread import reread
from datong_ingestion.run import IngestResult, ingest_entity
from datong_ingestion.source import REFUSED, Description, Page
from datong_ingestion.systems_config import PROTOCOLS, EntityConfig, ProtocolKind, SystemConfig
from datong_platform.errors import ConfigurationError, PositionLostError, TransientError
from datong_platform.lake import history, landing, load, quarantine, refused, storage
from datong_platform.names import bronze
from datong_platform.standard import conservation
from kills import Step, killed_at

SCHEMA = pa.schema([("id", pa.string()), ("name", pa.string())])
Message = tuple[str, str, str] | bytes


class Queue:
    """A queue in small: messages with offsets, some of which cannot be read; it keeps what was not confirmed."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.first = 0
        self.confirmed: list[str] = []
        self.reads: list[str | None] = []
        self.away = False
        self.mended: set[bytes] = set()
        """What it can read out of quarantine: bytes `id name`."""

    def entities(self) -> list[str]:
        return ["things"]

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        return Description(SCHEMA, keys=("id",), modes=frozenset({"full", "log", "stream"}))

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        self.reads.append(position)
        start = json.loads(position)["offset"] if position and entity.mode != "full" else 0
        if start < self.first:
            raise PositionLostError("queue", f"offset {start} is no longer there.")
        for offset in range(start, len(self.messages), 2):
            part = list(enumerate(self.messages[offset : offset + 2], offset))
            good = [message for _, message in part if isinstance(message, tuple)]
            bad = [
                {"raw": message, "place": f"offset {at}", "field": None, "reason": "is not JSON"}
                for at, message in part
                if isinstance(message, bytes)
            ]
            yield Page(
                pa.table([[row[1] for row in good], [row[2] for row in good]], schema=SCHEMA),
                operations=pa.array([row[0] for row in good], pa.string()),
                refused=pa.Table.from_pylist(bad, REFUSED) if bad else None,
                position=json.dumps({"offset": min(offset + 2, len(self.messages))}),
            )

    def reread(self, entity: EntityConfig, description: Description, kept: Sequence[tuple[bytes, str]]) -> Page:
        good = [raw.decode().split(" ") for raw, _ in kept if raw in self.mended]
        bad = [
            {"raw": raw, "place": place, "field": None, "reason": "is not JSON"}
            for raw, place in kept
            if raw not in self.mended
        ]
        return Page(
            pa.table([[row[0] for row in good], [row[1] for row in good]], schema=SCHEMA),
            operations=pa.array(["insert"] * len(good), pa.string()),
            refused=pa.Table.from_pylist(bad, REFUSED) if bad else None,
        )

    def confirm(self, entity: EntityConfig, position: str) -> None:
        if self.away:
            raise TransientError("queue", "is away.")
        self.confirmed.append(position)

    def close(self) -> None:
        pass


Ingest = Callable[..., IngestResult]


@pytest.fixture
def feed(services: Any, monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue = Queue()
    kind = PROTOCOLS["sql"]
    monkeypatch.setitem(
        PROTOCOLS, "sql", ProtocolKind(kind.connection, kind.source, frozenset({"full", "log", "stream"}))
    )
    monkeypatch.setattr(run, "connect", lambda _: queue)
    monkeypatch.setattr(rereading, "connect", lambda _: queue)
    return queue


@pytest.fixture
def system(feed: Queue) -> SystemConfig:
    return SystemConfig.model_validate(
        {
            "system": f"q{uuid.uuid4().hex[:8]}",
            "protocol": "sql",
            "connection": {"url": "postgresql://nobody@127.0.0.1:9/none"},
            "entities": [
                {"name": "thing", "source": "things", "mode": "stream", "events": True},
                {"name": "state", "source": "things", "mode": "full"},
                {"name": "change", "source": "things", "mode": "log"},
            ],
        }
    )


def kept(system: SystemConfig, entity: str = "thing") -> list[dict[str, Any]]:
    found = quarantine.rows(system.system, entity, limit=1000)
    return [] if found is None else sorted(found.to_pylist(), key=lambda row: (row["place"], row["raw"]))


def ids(system: SystemConfig, entity: str = "thing") -> list[str]:
    delta = history.open_table(bronze(system.system, entity))
    return sorted(delta.to_pyarrow_table().column("id").to_pylist()) if delta else []


def conserved(system: SystemConfig, entity: str, sequence: int) -> None:
    found = landing.read_manifest(system.system, entity, sequence)
    assert found
    assert found.received_rows == found.row_count + found.superseded_rows + found.unchanged_rows + found.refused_rows
    assert quarantine.count(found) == found.refused_rows


def test_a_refused_message_is_in_quarantine_as_sent_and_the_rest_goes_on(feed: Queue, system: SystemConfig) -> None:
    feed.messages = [("insert", "1", "a"), b'{"id": \xff', ("insert", "2", "b"), b"", ("delete", "1", "")]
    result = ingest_entity(system, "thing")
    assert (result.rows, result.deletes, result.refused) == (2, 1, 2)
    rows = kept(system)
    assert [(row["raw"], row["place"], row["reason"]) for row in rows] == [
        (b'{"id": \xff', "offset 1", "is not JSON"),
        (b"", "offset 3", "is not JSON"),
    ]
    assert {row["_datong_batch_id"] for row in rows} == {"000000000001"}
    assert all(row["_datong_ingested_at"] for row in rows)
    assert history.loads(result.table)[0].refused == 2
    conserved(system, "thing", 1)
    found = quarantine.summary(system.system, "thing")
    assert found
    assert (found.rows, found.batches, found.reasons) == (2, 1, {"is not JSON": 2})


def test_a_batch_of_refused_messages_only_moves_the_position_on(feed: Queue, system: SystemConfig) -> None:
    feed.messages = [b"x", b"x"]
    assert ingest_entity(system, "thing").refused == 2
    again = ingest_entity(system, "thing")
    assert (again.refused, again.batches) == (0, [])
    feed.messages.append(b"x")
    assert ingest_entity(system, "thing").refused == 1
    assert len(kept(system)) == 3


def test_a_bad_row_that_every_full_read_brings_is_in_quarantine_once(feed: Queue, system: SystemConfig) -> None:
    feed.messages = [("insert", "1", "a"), b"x"]
    assert ingest_entity(system, "state").refused == 1
    assert ingest_entity(system, "state").batches == []
    feed.messages.append(("insert", "3", "c"))
    result = ingest_entity(system, "state")
    assert (result.refused, result.rows, result.unchanged_rows) == (0, 2, 1)
    conserved(system, "state", 2)
    feed.messages[1] = b"y"
    assert ingest_entity(system, "state").refused == 1
    assert [row["raw"] for row in kept(system, "state")] == [b"x", b"y"]


def test_a_key_that_cannot_be_read_does_not_count_as_deleted(feed: Queue, system: SystemConfig) -> None:
    feed.messages = [("insert", "1", "a"), ("insert", "2", "b")]
    ingest_entity(system, "change")
    feed.messages[0] = b"x"
    result = ingest_entity(system, "change", baseline=True)
    assert (result.refused, result.deletes) == (1, 0)
    feed.messages[0] = ("insert", "9", "a")
    assert ingest_entity(system, "change", baseline=True).deletes == 1


KILLS: dict[str, Step] = {
    "before the data is landed": (storage, "put", "before"),
    "before the manifest": (storage, "put_if_absent", "before"),
    "after the manifest": (storage, "put_if_absent", "after"),
    "before the quarantine": (quarantine, "load", "before"),
    "between quarantine and bronze": (quarantine, "load", "after"),
    "after the load": (load, "load", "after"),
    "before the confirmation": (Queue, "confirm", "before"),
    "after the confirmation": (Queue, "confirm", "after"),
}


@pytest.mark.parametrize("step", KILLS)
def test_a_kill_at_any_step_loses_and_doubles_nothing(feed: Queue, system: SystemConfig, step: str) -> None:
    for more in (1, 3):
        for number in range(more):
            feed.messages += [("insert", f"{more}-{number}", "a"), b"bad %d %d" % (more, number)]
        with killed_at(KILLS[step]):
            ingest_entity(system, "thing")
        ingest_entity(system, "thing")
        assert feed.confirmed[-1] == json.dumps({"offset": len(feed.messages)})
    assert ids(system) == ["1-0", "3-0", "3-1", "3-2"]
    assert sorted(row["raw"] for row in kept(system)) == [b"bad 1 0", b"bad 3 0", b"bad 3 1", b"bad 3 2"]


def test_what_can_be_read_after_all_leaves_quarantine_for_bronze_once(feed: Queue, system: SystemConfig) -> None:
    feed.messages = [("insert", "1", "a"), b"7 x", b"8 y", b"7 x"]
    ingest_entity(system, "thing")
    assert (reread(system, "thing").released, len(kept(system))) == (0, 3)
    feed.mended = {b"7 x"}
    done = reread(system, "thing")
    # alike messages of a queue are two
    assert (done.held, done.released, done.still_held) == (3, 2, 1)
    assert ids(system) == ["1", "7", "7"]
    assert [row["raw"] for row in kept(system)] == [b"8 y"]
    conserved(system, "thing", 2)
    assert reread(system, "thing").released == 0
    # reading on begins where it would have begun
    feed.messages.append(("insert", "9", "z"))
    assert ingest_entity(system, "thing").rows == 1
    assert ids(system) == ["1", "7", "7", "9"]
    feed.mended.add(b"8 y")
    assert reread(system, "thing").still_held == 0
    assert quarantine.summary(system.system, "thing") is None


def test_the_command_that_replays_tells_what_it_read_and_counts_it(
    feed: Queue, system: SystemConfig, own_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.messages = [("insert", "1", "a"), b"7 x", b"8 y"]
    ingest_entity(system, "thing")
    feed.mended = {b"7 x"}
    monkeypatch.setattr(systems_config, "load_systems", lambda: {system.system: system})
    told, troubles = replaying.read_again(Format.json)
    assert troubles == []
    about = {"entity": "thing", "system": system.system, "field": "", "rule": "unreadable"}
    assert told == [about | {"before": 2, "now": 1}]
    assert ids(system) == ["1", "7"]
    [counted] = conservation.latest()
    assert (counted.source_system, counted.published, counted.rows_lost) == (system.system, 1, 0)


@pytest.mark.parametrize("step", [step for step in KILLS if "confirmation" not in step])
def test_a_kill_while_reading_again_loses_and_doubles_nothing(feed: Queue, system: SystemConfig, step: str) -> None:
    feed.messages = [("insert", "1", "a"), b"7 x", b"8 y"]
    ingest_entity(system, "thing")
    feed.mended = {b"7 x"}
    with killed_at(KILLS[step]):
        reread(system, "thing")
    ingest_entity(system, "thing")
    reread(system, "thing")
    assert ids(system) == ["1", "7"]
    assert [row["raw"] for row in kept(system)] == [b"8 y"]


def test_an_old_state_does_not_win_over_a_newer_one(feed: Queue, system: SystemConfig) -> None:
    feed.messages = [("insert", "1", "a"), b"7 old", b"8 y"]
    ingest_entity(system, "change")
    feed.messages.append(("update", "7", "new"))
    ingest_entity(system, "change")
    feed.mended = {b"7 old", b"8 y"}
    done = reread(system, "change")
    assert (done.released, done.outdated) == (2, 1)
    conserved(system, "change", 3)
    delta = history.open_table(bronze(system.system, "change"))
    assert delta
    rows = delta.to_pyarrow_table().select(["id", "name"]).to_pylist()
    assert sorted((row["id"], row["name"]) for row in rows) == [("1", "a"), ("7", "new"), ("8", "y")]
    # beside another row of its own batch it stays: which was the later nobody can tell
    feed.messages += [("update", "5", "b"), b"5 c"]
    ingest_entity(system, "change")
    feed.mended.add(b"5 c")
    assert reread(system, "change").still_held == 1


def test_a_source_that_has_its_rows_is_asked_again_instead(
    feed: Queue, system: SystemConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rereading, "connect", lambda _: SimpleNamespace(close=lambda: None))
    with pytest.raises(ConfigurationError, match="still has its rows"):
        reread(system, "thing")


def test_a_queue_is_told_only_what_is_loaded_and_again_after_a_crash(feed: Queue, system: SystemConfig) -> None:
    feed.messages = [("insert", "1", "a"), ("insert", "2", "b")]
    feed.away = True
    with pytest.raises(TransientError, match="away"):
        ingest_entity(system, "thing")
    assert ids(system) == ["1", "2"]
    assert feed.confirmed == []
    feed.away = False
    feed.messages.append(("insert", "3", "c"))
    ingest_entity(system, "thing")
    assert feed.confirmed == ['{"offset": 2}', '{"offset": 3}']
    assert ids(system) == ["1", "2", "3"]


def test_a_table_that_comes_back_does_not_bring_its_refused_rows_twice(feed: Queue, system: SystemConfig) -> None:
    feed.messages = [("insert", "1", "a"), b"x"]
    ingest_entity(system, "thing")
    for key in list(storage.keys(f"bronze/{system.system}__thing/")):
        storage.delete(key)
    feed.messages.append(b"y")
    ingest_entity(system, "thing")
    assert [row["raw"] for row in kept(system)] == [b"x", b"y"]
    # and when its landing zone is gone as well, batches are counted from the first again
    for folder in (f"bronze/{system.system}__thing/", f"landing/{system.system}/thing/"):
        for key in list(storage.keys(folder)):
            storage.delete(key)
    feed.messages = [b"z"]
    ingest_entity(system, "thing")
    assert [row["raw"] for row in kept(system)] == [b"z", b"x", b"y"]


def test_an_endless_raw_message_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "RAW_BYTES", 4)
    row = {"raw": b"0123456789", "place": "line 1", "field": "f", "reason": "too long"}
    found = refused.prepared(pa.Table.from_pylist([row], REFUSED)).to_pylist()[0]
    assert found["raw"] == b"0123"
    assert found["reason"] == "too long (the first 4 of 10 bytes are kept)"
