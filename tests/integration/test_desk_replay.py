"""A replay started from the desk: one at a time, and what it came to is told, also when it failed or was killed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from datong_infra.desk.errand import REPLAY, main
from datong_infra.services import processes
from datong_infra.services.processes import Record
from datong_platform.errors import ConfigurationError
from datong_platform.settings import read_state, write_state

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("DATONG_HOME", str(tmp_path))
    yield tmp_path
    state = read_state("desk_replay.json")
    if state.get("process"):
        processes.stop(Record.from_state(REPLAY.name, state["process"]))


def test_a_second_replay_is_refused_while_one_runs_and_a_killed_one_blocks_nobody(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = processes.spawn

    def slow(name: str, _argv: Sequence[str]) -> Record:
        return spawn(name, SLEEPER)

    monkeypatch.setattr(processes, "spawn", slow)
    assert REPLAY.newest() is None
    REPLAY.start("mei")
    running = REPLAY.newest()
    assert running
    assert running.is_running
    assert running.who == "mei"
    with pytest.raises(ConfigurationError, match="started by mei"):
        REPLAY.start("tom")
    processes.stop(Record.from_state(REPLAY.name, read_state("desk_replay.json")["process"]))
    killed = REPLAY.newest()
    assert killed
    assert not killed.is_running
    assert not killed.ok
    REPLAY.start("tom")
    again = REPLAY.newest()
    assert again
    assert (again.who, again.is_running) == ("tom", True)


def test_a_replay_that_cannot_build_ends_as_failed(home: Path) -> None:
    write_state("desk_replay.json", {"who": "mei", "started_at": "2026-01-01T00:00:00+00:00"})
    # nothing runs in this home: the command says so and its exit status is 1
    main([REPLAY.name, REPLAY.what, *REPLAY.argv])
    state = read_state("desk_replay.json")
    assert state["ok"] is False
    assert state["ended_at"]
    assert not state["told"]
