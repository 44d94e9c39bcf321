"""The replay that a steward starts from the desk: a build of what decisions change, in a process of its own.

One at a time; its state is `.datong/desk_replay.json`, its words `.datong/logs/desk-replay.log`. It runs the command
`datong quarantine replay`, so it does what that does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from datong_platform.errors import ConfigurationError
from datong_platform.settings import read_state, write_state

from datong_infra.services import processes, stack
from datong_infra.services.processes import Record

NAME = "desk-replay"
_STATE = "desk_replay.json"


@dataclass(frozen=True)
class Replay:
    """The newest replay. Times are ISO 8601 UTC."""

    who: str
    started_at: str
    is_running: bool
    ended_at: str = ""
    ok: bool = False
    changed: Sequence[Mapping[str, Any]] = ()
    """By entity, system, field and rule: rows before and now."""


def newest() -> Replay | None:
    """The newest replay, None when there was none."""
    state = read_state(_STATE)
    if not state:
        return None
    running = not state.get("ended_at") and Record.from_state(NAME, state["process"]).process() is not None
    return Replay(
        state["who"],
        state["started_at"],
        running,
        state.get("ended_at", ""),
        bool(state.get("ok")),
        state.get("changed", []),
    )


def log() -> str:
    """Where its words are."""
    return str(processes.log_path(NAME))


def last_words() -> str:
    """The end of its words: an error stands there."""
    return processes.log_tail(NAME, 4)


def start(who: str) -> None:
    """Start one. ConfigurationError while one runs."""
    with stack.locked():
        last = newest()
        if last and last.is_running:
            raise ConfigurationError(
                "a replay", f"is running since {last.started_at}, started by {last.who}.", "wait until it has ended."
            )
        write_state(_STATE, {})
        record = processes.spawn(NAME, [sys.executable, "-m", "datong_infra.desk.replay"])
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_state(_STATE, {"who": who, "started_at": now, "process": record.to_state()})


def main() -> None:
    """Run the command, and write down what it came to."""
    argv = [sys.executable, "-m", "datong_infra.cli", "quarantine", "replay", "--format", "json"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=False)
    with stack.locked():
        state = read_state(_STATE)
        try:
            changed = json.loads(done.stdout or b"[]")
        except ValueError:
            changed = []
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        write_state(_STATE, {**state, "ended_at": ended, "ok": done.returncode == 0, "changed": changed})


if __name__ == "__main__":
    main()
