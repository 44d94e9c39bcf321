"""Every connector behind a proxy whose answers go wrong: it recovers, or it stops with a clear error; never a gap.

Each fault strikes at a place drawn by a seed, anywhere in the answers of a read, log-in included. What counts is
bronze: after the fault it holds what it held, or all that is new; and once the fault is over, exactly what the source
holds, with no row twice. By default every connector meets some of the faults, and every fault some connector; with
`-m nightly` all meet all, and at many places.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from datong_platform.errors import DatongError
from fault_proxy import HTTP_KINDS, TCP_KINDS, Proxy

Make = Callable[..., dict[str, Any]]

BY_HTTP = ("odata_v2", "odata_v4", "rest", "soap", "s3")
BY_BYTES = ("sql", "mysql", "mongodb", "files", "xml", "kafka", "rabbitmq", "postgresql_log", "mysql_log")
GUARDED = ("files", "xml", "kafka", "mysql_log")
"""Protocols with checksums over what is sent: a bit that was turned is noticed."""
RECOVERED = {"reply lost", "cut off", "chunks cut off", "no length", "too long", "too short", "503", "429", "skewed"}
"""What strikes one answer to a reading request over HTTP costs another request, and nothing more."""
HELD_BACK = {"half open", "slow", "corrupt"}
LIMIT = 240
"""Seconds within which a read that meets a fault is over: no measure of speed, only the proof that nothing hangs."""


def matrix() -> list[tuple[str, str]]:
    """Every connector with every fault that can befall it."""
    reading = [fault for fault in HTTP_KINDS if not fault.endswith("after")]
    pairs = [(kind, fault) for kind in BY_HTTP for fault in (*reading, "refused", "half open", "slow")]
    pairs += [(kind, fault) for kind in BY_BYTES for fault in TCP_KINDS]
    return [*pairs, *((kind, "corrupt") for kind in GUARDED)]


def some(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A part of the matrix in which every connector and every fault is; what waits for time limits once."""
    quick = [(kind, fault) for kind, fault in pairs if fault not in HELD_BACK]
    by_http = [pair for number, pair in enumerate(quick) if pair[0] in BY_HTTP and number % 5 == 0]
    by_bytes = [pair for pair in quick if pair[0] in BY_BYTES and pair[1] in {"reset", "truncated"}]
    # its driver tries on for all of its time, which is waited for once
    by_bytes.remove(("kafka", "truncated"))
    return [*by_http, *by_bytes, ("rest", "half open"), ("sql", "half open"), ("mongodb", "slow"), ("files", "corrupt")]


def named(pairs: list[tuple[str, str]]) -> list[Any]:
    return [pytest.param(kind, fault, id=f"{kind}-{fault.replace(' ', '_')}") for kind, fault in pairs]


class Behind:
    """A rig whose system is reached through a proxy."""

    def __init__(self, rig: Any, kind: str) -> None:
        self.rig = rig
        self.proxy: Proxy = rig.proxy() if hasattr(rig, "proxy") else Proxy(*_place(rig), by_http=kind in BY_HTTP)
        self.short = False
        """Whether reads wait a second only for an answer: where one is held back, and nowhere else, for a busy machine
        takes its time."""
        direct = rig.connection

        def connection() -> dict[str, Any]:
            return _through(direct(), self.proxy) | {
                "timeout_seconds": 1 if self.short else getattr(rig, "patience", 30)
            }

        rig.connection = connection

    def ingest(self) -> DatongError | None:
        """Read and load; the error with which it stopped, which must be one that a person can use."""
        started, stopped = time.monotonic(), None
        try:
            self.rig.ingest(connection={"attempts": 3, "max_wait_seconds": 0.05})
        except DatongError as error:
            stopped = error
        assert time.monotonic() - started < LIMIT
        assert stopped is None or (stopped.thing and stopped.reason and stopped.next_step), stopped
        assert self.rig.secret not in str(stopped)
        return stopped


def _place(rig: Any) -> tuple[str, int]:
    from urllib.parse import urlsplit

    found = rig.connection()
    parts = urlsplit(found.get("base_url") or found.get("url") or found.get("location"))
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def _through(value: Any, proxy: Proxy) -> Any:
    if isinstance(value, dict):
        return {name: _through(inner, proxy) for name, inner in value.items()}
    return proxy.through(value) if isinstance(value, str) else value


@pytest.fixture
def behind(request: pytest.FixtureRequest, made_rig: Callable[[str], Any]) -> Iterator[Behind]:
    kind = request.getfixturevalue("kind")
    found = Behind(made_rig(kind), kind)
    yield found
    found.proxy.stop()


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def through_a_fault(behind: Behind, row: Make, kind: str, fault: str, dice: random.Random) -> DatongError | None:
    """A read that meets the fault once, one that meets it always, one that meets none; what the first ended with."""
    rig, proxy = behind.rig, behind.proxy
    old = [row(i) for i in range(7)]
    rig.put(*old)
    assert behind.ingest() is None
    assert rig.current() == old
    rig.put(row(3, Name="later", ChangedAt=row(300)["ChangedAt"]), *[row(i) for i in range(400, 405)])
    new = [row(3, Name="later", ChangedAt=row(300)["ChangedAt"]), *[row(i) for i in range(400, 405)]]
    known = {one["Id"]: one for one in [*old, *new]}
    both = [known[key] for key in sorted(known)]

    def holds(error: DatongError | None) -> None:
        """Bronze is as it was or as it shall be, and in between only where the rest waits for the next read."""
        current = rig.current()
        if getattr(rig, "in_portions", False):
            assert all(row in old or row in new for row in current), error
            assert {row["Id"] for row in current} >= {row["Id"] for row in old}
            return
        assert current in (old, both), error
        assert error is not None or current == both, "a gap, and no word of it"

    # as much as a read answers, told by one that was disturbed by nothing
    size = proxy.answered
    proxy.strike(fault, after=dice.randrange(max(1, size - 1)), times=1)
    behind.short = fault in HELD_BACK
    first = behind.ingest()
    holds(first)
    proxy.heal()
    proxy.strike(fault, times=None)
    stands = behind.ingest()
    holds(stands)
    proxy.heal()
    behind.short = False
    assert behind.ingest() is None
    assert rig.current() == both
    assert len(rig.bronze()) == len(old) + len(new), "a row came twice"
    return first


@pytest.mark.parametrize(("kind", "fault"), named(some(matrix())), indirect=["kind"])
def test_a_fault_costs_a_retry_or_ends_in_a_clear_error_and_leaves_no_gap(
    behind: Behind, row: Make, kind: str, fault: str
) -> None:
    dice = random.Random(zlib.crc32(f"{kind} {fault}".encode()))
    error = through_a_fault(behind, row, kind, fault, dice)
    if fault in RECOVERED:
        assert error is None, f"{kind} gave up after one {fault}: {error}"


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("kind", "fault"), named(matrix()), indirect=["kind"])
def test_a_fault_anywhere_leaves_no_gap(behind: Behind, row: Make, kind: str, fault: str, seed: int) -> None:
    through_a_fault(behind, row, kind, fault, random.Random(seed))
