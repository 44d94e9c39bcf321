"""How fast a system may be asked: by the rate that a definition sets, and by what the system itself says.

Obeys, for all threads of a client at once: Retry-After with 429 and 503 (RFC 9110, 10.2.3); a used-up quota told by
RateLimit (IETF draft-ietf-httpapi-ratelimit-headers), RateLimit-Remaining and RateLimit-Reset, or the X- forms of them
that gateways and Dynamics 365 send; a 429 that names no time, by pauses that double until the system is content.
Guards against: threads that go on asking while another one was told to wait.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from datong_platform.errors import TransientError

_EPOCH_FROM = 10**8
"""A reset above this many seconds is a point in time, not a duration."""
_REMAINING = (
    "ratelimit-remaining",
    "x-ratelimit-remaining",
    "x-rate-limit-remaining",
    "x-ms-ratelimit-burst-remaining-xrm-requests",
)
_RESET = ("ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset")
_LIMIT_PART = re.compile(r"\b([rt])=(\d+)")


class HeldError(TransientError):
    """The system asked for a longer pause than we wait; nothing was sent. `retry_after` says how long it still is."""


class Shared(Protocol):
    """A rate that others keep as well."""

    @property
    def block(self) -> int:
        """How many changes are taken at once."""
        ...

    def take(self, changes: int) -> float:
        """Take time for so many changes; how many seconds from now it begins."""
        ...


class Pace:
    """When the next request, and the next change, may go out. Used from several threads."""

    def __init__(
        self,
        rate: float | None = None,
        *,
        max_wait_seconds: float = 60,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        shared: Shared | None = None,
    ) -> None:
        """`rate`: changes per second, None for no limit of our own. `shared`: what others have to keep as well."""
        self._shared, self._left = shared, 0
        self._rate, self._max_wait = rate, max_wait_seconds
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._next = 0.0
        self._held_until = 0.0
        self._pause = 0.0

    def take(self, changes: int = 1) -> None:
        """Wait until so many more changes may be sent by the rate, and by the one that is shared."""
        if self._shared is not None:
            with self._lock:
                while self._left < changes:
                    size = max(self._shared.block, changes - self._left)
                    # the others wait with it: what they would take comes later still
                    self._sleep(self._shared.take(size))
                    self._left += size
                self._left -= changes
        if not self._rate:
            return
        with self._lock:
            now = self._clock()
            start = max(self._next, now)
            self._next = start + changes / self._rate
        if start > now:
            self._sleep(start - now)

    def wait(self, thing: str) -> None:
        """Wait for as long as the system asked to; HeldError when that is longer than `max_wait_seconds`."""
        while (left := self.held_for) > 0:
            if left > self._max_wait:
                raise HeldError(
                    thing,
                    f"asked to be left alone for {left:.0f} more seconds.",
                    "run again later; the connection's max_wait_seconds says how long a run waits.",
                    retry_after=left,
                )
            self._sleep(left)

    @property
    def held_for(self) -> float:
        """Seconds for which the system still wants no request."""
        with self._lock:
            return self._held_until - self._clock()

    def heed(self, status: int, headers: Mapping[str, str]) -> None:
        """Take notice of what an answer says of the system's limits."""
        from datong_ingestion.http import retry_after

        asked = retry_after(headers.get("retry-after")) if status in {429, 503} else None
        if asked is None and _used_up(headers):
            asked = _reset(headers)
        with self._lock:
            if status == 429 and asked is None:
                self._pause = min(max(1.0, 2 * self._pause), self._max_wait)
                asked = self._pause
            elif status < 400:
                self._pause = 0.0
            if asked is not None:
                self._held_until = max(self._held_until, self._clock() + asked)


def _used_up(headers: Mapping[str, str]) -> bool:
    told = [headers[name] for name in _REMAINING if name in headers]
    told += [value for kind, value in _LIMIT_PART.findall(headers.get("ratelimit", "")) if kind == "r"]
    return any(text.strip() == "0" for text in told)


def _reset(headers: Mapping[str, str]) -> float | None:
    told = [headers[name] for name in _RESET if name in headers]
    told += [value for kind, value in _LIMIT_PART.findall(headers.get("ratelimit", "")) if kind == "t"]
    for text in told:
        try:
            seconds = float(text)
        except ValueError:
            continue
        return max(0.0, seconds - time.time() if seconds > _EPOCH_FROM else seconds)
    return None
