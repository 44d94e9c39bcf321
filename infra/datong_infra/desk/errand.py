"""Work that a person starts from the desk: a command of `datong`, in a process of its own that outlives the desk.

One of each name at a time. Its state is `.datong/NAME.json`, its words `.datong/logs/NAME.log`; it runs the command
that people type, so it does what that does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from datong_platform.errors import ConfigurationError
from datong_platform.settings import read_state, write_state

from datong_infra.services import processes, stack
from datong_infra.services.processes import Record


@dataclass(frozen=True)
class Done:
    """An errand that was started. Times are ISO 8601 UTC."""

    who: str
    started_at: str
    is_running: bool
    ended_at: str = ""
    ok: bool = False
    told: Any = None
    """What the command printed, read as JSON; None when it printed none."""


@dataclass(frozen=True)
class Errand:
    """A command that people start from the desk. `name` is a file's name, `what` is what they call it."""

    name: str
    what: str
    argv: tuple[str, ...]

    @property
    def _state(self) -> str:
        return f"{self.name.replace('-', '_')}.json"

    def newest(self) -> Done | None:
        """The newest one, None when there was none."""
        state = read_state(self._state)
        if not state:
            return None
        running = not state.get("ended_at") and Record.from_state(self.name, state["process"]).process() is not None
        return Done(
            state["who"],
            state["started_at"],
            running,
            state.get("ended_at", ""),
            bool(state.get("ok")),
            state.get("told"),
        )

    def log(self) -> str:
        """Where its words are."""
        return str(processes.log_path(self.name))

    def last_words(self) -> str:
        """The end of its words: an error stands there."""
        return processes.log_tail(self.name, 4)

    def start(self, who: str) -> None:
        """Start one. ConfigurationError while one runs."""
        with stack.locked():
            last = self.newest()
            if last and last.is_running:
                raise ConfigurationError(
                    self.what, f"is running since {last.started_at}, started by {last.who}.", "wait until it has ended."
                )
            write_state(self._state, {})
            argv = [sys.executable, "-m", "datong_infra.desk.errand", self.name, self.what, *self.argv]
            record = processes.spawn(self.name, argv)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            write_state(self._state, {"who": who, "started_at": now, "process": record.to_state()})

    def run(self) -> None:
        """Run the command here, and write down what it came to."""
        done = subprocess.run(
            [sys.executable, "-m", "datong_infra.cli", *self.argv], stdout=subprocess.PIPE, check=False
        )
        with stack.locked():
            state = read_state(self._state)
            try:
                told = json.loads(done.stdout) if done.stdout else None
            except ValueError:
                told = None
            ended = datetime.now(UTC).isoformat(timespec="seconds")
            write_state(self._state, {**state, "ended_at": ended, "ok": done.returncode == 0, "told": told})


REPLAY = Errand("desk-replay", "a replay", ("quarantine", "replay", "--format", "json"))


def write_back(flow: str) -> Errand:
    """A run of one write-back flow, which also carries out what was decided about it."""
    return Errand(f"desk-write-back-{flow}", f"write-back flow {flow}", ("write-back", flow, "--format", "json"))


def main(argv: Sequence[str]) -> None:
    """Run the errand that these words describe."""
    name, what, *command = argv
    Errand(name, what, tuple(command)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
