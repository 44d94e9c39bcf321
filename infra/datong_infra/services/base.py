"""What a service is: how it is launched, when it is healthy, what it needs and what it tells the settings."""

from __future__ import annotations

import secrets
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from datong_platform.errors import ServiceError
from datong_platform.settings import home, read_state, settings, write_state

from datong_infra.services import processes
from datong_infra.services.processes import Record


@dataclass(frozen=True)
class Launch:
    """A program to start: its arguments, what is added to its environment, its folder, what the state remembers."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class Service(ABC):
    """One local service. A subclass says what is particular; `stack` does the rest."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    """Services that must be healthy before this one is usable."""
    launches_early: ClassVar[bool] = False
    """Whether it can be launched as soon as the addresses of those are known, before they are healthy."""
    patience: ClassVar[float] = 30.0
    """Seconds until it must be healthy."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_leader_only: ClassVar[bool] = False
    stop_patience: ClassVar[float] = 10.0
    """Seconds it gets to end by itself before it is killed."""
    listens: ClassVar[bool] = True
    """Whether it has a port of its own."""

    def external(self) -> str | None:
        """Where it is when the environment gives an address: then it is used and nothing is started. Else None."""
        return None

    def wanted_port(self) -> int | None:
        """The port that the settings ask for, if they do."""
        return getattr(settings(), f"{self.name}_port", None)

    def suits(self, port: int) -> bool:
        """Whether the service can have this port, and those that it derives from it."""
        return processes.is_free(port)

    def lost_a_race(self, said: str) -> bool:
        """Whether it ended as it started, with these last words, for a reason that is gone when it is started again."""
        return False

    def fits(self, record: Record) -> bool:
        """Whether a healthy process found running is what is wanted now (the same engine, the same code)."""
        return True

    def prepare(self) -> None:  # noqa: B027 - most have nothing to prepare
        """What must be there before it is launched: data folders, keys, files fetched once. No effect when repeated."""

    @abstractmethod
    def launch(self, port: int) -> Launch:
        """The program that serves on `port`."""

    def settings(self, port: int) -> dict[str, Any]:
        """The settings that others reach it by."""
        return {}

    @abstractmethod
    def check(self, record: Record | None) -> str:
        """What it is (a version, an address) when it answers; an exception that says why when it doesn't.

        `record` is its process, None when it is not ours.
        """

    def complete(self) -> None:  # noqa: B027 - nor to complete
        """What makes it usable once it answers: a bucket, databases, tables. No effect when repeated."""

    def choose_port(self, previous: int | None) -> int:
        """The port asked for, else the one it had before, else a free one.

        ServiceError when the one asked for is taken.
        """
        wanted = self.wanted_port()
        if wanted is not None:
            if not self.suits(wanted):
                raise ServiceError(
                    self.name,
                    f"port {wanted} (or one that it derives from it) is in use by another program.",
                    f"stop that program, set DATONG_{self.name.upper()}_PORT to another port, or unset it.",
                )
            return wanted
        # a process that was killed can hold its port a moment longer than it lives
        deadline = time.monotonic() + 3
        while previous is not None:
            if self.suits(previous):
                return previous
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return processes.free_port(self.suits)


def key(name: str, length: int = 24) -> str:
    """A generated secret of this home, made at first use and kept in `keys.json`, readable by its owner only."""
    # the services are started by threads: two that made their keys at once would lose one of them
    with _KEYS:
        known = read_state("keys.json")
        if name not in known:
            known[name] = secrets.token_hex(length)
            write_state("keys.json", known)
        return str(known[name])


_KEYS = threading.Lock()


def data_folder(name: str) -> Path:
    """The folder of a service's data, made when it is not there."""
    path = home() / name
    path.mkdir(parents=True, exist_ok=True)
    return path
