"""Connections to PostgreSQL that do not wait forever: neither libpq nor its drivers have a time limit for an answer.

Guards against a connection that stays open while nothing more arrives on it, as behind a proxy or a firewall whose
other side is gone: keepalives are answered, and the read would never end. When nothing arrived for the connection's
`timeout_seconds`, the server is asked on a connection of its own whether it is at work for us: a query that sorts for
an hour is waited for, and only a silence without work ends in an error.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo

SILENCE = 30.0
"""Seconds after which an answer of our own database that does not come is asked about."""
_LAST_DATA_RECEIVED = 52
"""Where Linux's tcp_info tells how many milliseconds ago the last data came (linux/tcp.h)."""
_OPEN_FILES = Path("/dev/fd")
_NO_LIMIT = 1_000_000_000
"""Milliseconds that stand for no time limit of TCP: eleven days."""
_MARKS: set[int] = set()
_MARKING = threading.Lock()


class SilentError(psycopg.OperationalError):
    """Nothing arrived for too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"connection timeout: nothing arrived for {seconds:g} seconds, and no query of ours is at work"
        )


class PatientConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection of psycopg that raises SilentError; made by `patient`."""

    silence: float = 0
    asked: str = ""

    def wait(self, gen: Any, *arguments: Any, **named: Any) -> Any:
        """As psycopg waits, and not forever."""
        return super().wait(self._heard(gen) if self.silence else gen, *arguments, **named)

    def _heard(self, steps: Any) -> Generator[Any, Any, Any]:
        heard = time.monotonic()
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                now = time.monotonic()
                if ready:
                    heard = now
                elif now - heard > self.silence:
                    if not at_work(self.asked, self.info.backend_pid):
                        # whoever tidies up after the error would wait for the same answer again
                        self.close()
                        raise SilentError(self.silence)
                    heard = time.monotonic()
                wanted = steps.send(ready)
        except StopIteration as done:
            return done.value


def patient(parts: str, seconds: float | None = None, *, autocommit: bool = True, **named: Any) -> PatientConnection:
    """A connection that waits so many seconds (SILENCE) for each part of an answer. `named`: further parts of its
    address. Raises what psycopg raises."""
    asked = conninfo.make_conninfo(parts, **named)
    made = PatientConnection.connect(asked, autocommit=autocommit)
    made.silence, made.asked = SILENCE if seconds is None else seconds, asked
    return made


def at_work(parts: str, backend: int) -> bool:
    """Whether the server works on a query of this backend and is not waiting for us to take what it sent."""
    with suppress(psycopg.Error):
        wait = conninfo.conninfo_to_dict(parts).get("connect_timeout") or "10"
        # a server that does not answer this within its time is not one to wait for
        limit = f"-c statement_timeout={int(str(wait)) * 1000}"
        with psycopg.connect(parts, autocommit=True, options=limit) as look:
            look.add_notice_handler(lambda _: None)
            found = _within(look, backend, float(str(wait)))
        return found is not None and found[0] == "active" and found[1] != "Client"
    return False


def _within(look: psycopg.Connection[Any], backend: int, seconds: float) -> tuple[Any, ...] | None:
    timer = threading.Timer(seconds, _cut, [look.fileno()])
    timer.daemon = True
    timer.start()
    try:
        return look.execute(
            "select state, coalesce(wait_event_type, '') from pg_stat_activity where pid = %s", [backend]
        ).fetchone()
    finally:
        timer.cancel()


class Watch:
    """Ends the connections of a driver that cannot be asked for its socket (ADBC), when they fall silent.

    The driver connects by `parts`: the address with a time limit of TCP (`tcp_user_timeout`) that no other connection
    of this process has, by which its sockets are known among all others. Linux tells when data last came. On another
    system nothing is ended.
    """

    def __init__(self, parts: str, seconds: float) -> None:
        given = int(str(conninfo.conninfo_to_dict(parts).get("tcp_user_timeout") or 0))
        self._mark = _marked(given if given > 0 else _NO_LIMIT)
        self.parts = conninfo.make_conninfo(parts, tcp_user_timeout=str(self._mark))
        self._asked, self._seconds = parts, seconds
        self._since = 0.0
        self._ended = threading.Event()
        self.backend = 0
        self.silent = False
        threading.Thread(target=self._watch, name="datong silence", daemon=True).start()

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Within this block the driver waits for the server; SilentError when its connection was ended."""
        self._since = time.monotonic()
        try:
            yield
        except Exception as error:
            if self.silent:
                raise SilentError(self._seconds) from error
            raise
        finally:
            self._since = 0.0

    def cut(self) -> None:
        """End the connection now, also one that is only being made: whoever waits for it gets the driver's error."""
        for number in _sockets(self._mark):
            _cut(number)

    def end(self) -> None:
        """Watch no longer."""
        self._ended.set()
        with _MARKING:
            _MARKS.discard(self._mark)

    def _watch(self) -> None:
        while not self._ended.wait(min(self._seconds / 4, 5)):
            since = self._since
            if not since or time.monotonic() - since < self._seconds:
                continue
            silent = [one for one in _sockets(self._mark) if _quiet_for(one) >= self._seconds]
            if not silent:
                continue
            if self.backend and at_work(self._asked, self.backend):
                self._since = self._since and time.monotonic()
                continue
            if self._since == since:
                self.silent = True
                for number in silent:
                    _cut(number)


def _marked(limit: int) -> int:
    """The first time limit above this one that no other watch has."""
    with _MARKING:
        mark = next(one for one in itertools.count(limit + 1) if one not in _MARKS)
        _MARKS.add(mark)
    return mark


def _sockets(mark: int) -> set[int]:
    """Open files that are connections with this time limit of TCP."""
    return {int(file.name) for file in _OPEN_FILES.iterdir() if _mark(int(file.name)) == mark}


def _mark(number: int) -> int:
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        with suppress(OSError, ValueError), _copy(number) as one:
            if one.family in {socket.AF_INET, socket.AF_INET6}:
                return one.getsockopt(socket.IPPROTO_TCP, option)
    return 0


def _quiet_for(number: int) -> float:
    """Seconds since data came; 0 where nobody tells."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return 0.0
    with suppress(OSError, struct.error), _copy(number) as one:
        told = one.getsockopt(socket.IPPROTO_TCP, option, 104)
        return struct.unpack_from("=I", told, _LAST_DATA_RECEIVED)[0] / 1000
    return 0.0


def _cut(number: int) -> None:
    """End a connection, so that whoever waits for it is woken."""
    with suppress(OSError), _copy(number) as one:
        one.shutdown(socket.SHUT_RDWR)


@contextmanager
def _copy(number: int) -> Generator[socket.socket]:
    """The socket of an open file, as one of our own; OSError where it is none."""
    if not stat.S_ISSOCK(os.fstat(number).st_mode):
        raise OSError(errno.ENOTSOCK, "not a socket")
    with socket.socket(fileno=os.dup(number)) as one:
        yield one
