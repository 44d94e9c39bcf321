"""Processes that outlive the command that started them: started, recognised again, stopped.

A process is known by its id and its time of creation, so a stale id that another program got is never taken for ours.
It carries a mark in its environment, by which one that was started but never recorded (its starter was killed) is
found again. Each is the leader of a session of its own: stopping it stops what it started, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from datong_platform.settings import home, subprocess_environment

MARK = "DATONG_SERVICE_MARK"

# psutil derives the time of creation from the boot time, which moves by a second when the clock is set
_CLOCK_TOLERANCE = 2.0


@dataclass(frozen=True)
class Record:
    """What `services.json` holds of a started process. Times are Unix seconds and ISO 8601 UTC."""

    name: str
    pid: int
    created: float
    started_at: str
    port: int | None
    log: str
    usable: bool = False
    """Whether it was made ready for use (bucket, databases, tables) since it started."""
    extra: dict[str, Any] = field(default_factory=dict)

    def to_state(self) -> dict[str, Any]:
        """The record as JSON, without its name, which is its key."""
        return {key: value for key, value in asdict(self).items() if key != "name"}

    @classmethod
    def from_state(cls, name: str, state: Mapping[str, Any]) -> Record:
        """The record that `to_state` made."""
        return cls(
            name=name,
            pid=int(state["pid"]),
            created=float(state.get("created", 0.0)),
            started_at=str(state.get("started_at", "")),
            port=state.get("port"),
            log=str(state.get("log", "")),
            usable=bool(state.get("usable", False)),
            extra=dict(state.get("extra", {})),
        )

    def process(self) -> psutil.Process | None:
        """The running process, or None when it ended or its id now belongs to another program."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) > _CLOCK_TOLERANCE:
                return None
            if _ended(process):
                return None
            with contextlib.suppress(psutil.AccessDenied):
                # empty for a moment while the program is being loaded
                environment = process.environ()
                if environment and environment.get(MARK) != mark(self.name):
                    return None
        except psutil.Error:
            return None
        return process

    def memory(self) -> int:
        """Resident bytes of the process and everything below it; pages that PostgreSQL shares count once."""
        leader = self.process()
        if leader is None:
            return 0
        total = 0
        for process in [leader, *_children(leader)]:
            with contextlib.suppress(psutil.Error):
                info = process.memory_info()
                total += info.rss - (getattr(info, "shared", 0) if process is not leader else 0)
        return total


def mark(name: str) -> str:
    """The text that marks a process as service `name` of this home."""
    return f"{name}@{home()}"


def log_path(name: str) -> Path:
    """The log file of a service."""
    return home() / "logs" / f"{name}.log"


def log_tail(name: str, lines: int = 12) -> str:
    """The last lines of a service's log, for an error's text."""
    try:
        with log_path(name).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 64 * 1024))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def spawn(
    name: str,
    argv: Sequence[str],
    *,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Record:
    """Start a program as service `name`, in a session of its own, its output appended to the service's log."""
    path = log_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    _rotate(path)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=cwd or home(),
            start_new_session=True,
            env=subprocess_environment(DATONG_HOME=str(home()), **{MARK: mark(name)}, **(environment or {})),
        )
    # the process outlives this command: without a return code Popen would warn about that at its end
    process.returncode = 0
    try:
        created = psutil.Process(process.pid).create_time()
    except psutil.NoSuchProcess:
        created = time.time()
    return Record(
        name=name,
        pid=process.pid,
        created=created,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        port=port,
        log=str(path),
        extra=dict(extra or {}),
    )


def _rotate(path: Path, limit: int = 20 * 1024 * 1024) -> None:
    """Keep one older log beside a log that grew past `limit` bytes."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > limit:
            path.replace(path.with_suffix(".log.1"))


def stop(
    record: Record, *, ask: signal.Signals = signal.SIGTERM, leader_only: bool = False, patience: float = 10
) -> bool:
    """Stop a process and what it started: asked first, killed after `patience` seconds. False when it wasn't running.

    `leader_only` asks only the process itself, for a server that stops its own children in order.
    """
    leader = record.process()
    if leader is None:
        _kill_group(record)
        return False
    group = [leader, *_children(leader)]
    with contextlib.suppress(ProcessLookupError, psutil.Error):
        if leader_only:
            leader.send_signal(ask)
        else:
            os.killpg(record.pid, ask)
    _, alive = _wait(group, patience)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _kill_group(record)
    _wait(alive, 5)
    return True


def _children(leader: psutil.Process) -> list[psutil.Process]:
    try:
        return leader.children(recursive=True)
    except psutil.Error:
        return []


def _ended(process: psutil.Process) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
            return True
        return not process.is_running()
    except psutil.Error:
        return True


def _wait(processes: Iterable[psutil.Process], seconds: float) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Which of the processes ended within `seconds`, and which did not."""
    gone: list[psutil.Process] = []
    alive = list(processes)
    deadline = time.monotonic() + seconds
    while alive:
        gone += [process for process in alive if _ended(process)]
        alive = [process for process in alive if process not in gone]
        if not alive or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return gone, alive


def _kill_group(record: Record) -> None:
    """Kill what a leader that ended has left behind, unless its number was given to another program since.

    A number is not given anew while a process group bears it: without a stranger under it, the group is ours.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        if abs(psutil.Process(record.pid).create_time() - record.created) > _CLOCK_TOLERANCE:
            return
    left: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == record.pid:
                process.kill()
                left.append(process)
    _wait(left, 5)


def strays(name: str, known: Record | None = None) -> list[Record]:
    """Processes that bear the mark of service `name` and lead their session, but are not `known`.

    They are what is left when the command that started them was killed before it could write the state.
    """
    found: list[Record] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if known is not None and process.pid == known.pid:
                continue
            if process.environ().get(MARK) == mark(name) and os.getsid(process.pid) == process.pid:
                found.append(Record(name, process.pid, process.create_time(), "", None, str(log_path(name))))
    return found


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(suits: Callable[[int], bool] = is_free) -> int:
    """A random port below the ephemeral range for which `suits` holds: outgoing connections never take it meanwhile."""
    for _ in range(500):
        port = random.randint(20000, 30000)  # noqa: S311 - not a secret
        if suits(port):
            return port
    raise OSError("no free port between 20000 and 30000")
