"""Errors, named by what the caller does next.

Every message names the thing, the reason and the next step. `DatongError` carries the three apart, so that the
command line, Dagster and the sync log print them the same way.
"""

from __future__ import annotations

import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def _plain(text: str) -> str:
    """A library's text for a terminal (colours, a tree of reasons) as one line: errors go to pages and tables, too."""
    if not _COLOUR.search(text):
        return text
    return " ".join(re.sub(r"\s*↳\s*", ": ", _COLOUR.sub("", text)).split())


class DatongError(Exception):
    """Something failed in a way that a person can understand.

    `thing` is what it happened to (a system, an entity, a table, a service), `reason` what happened,
    `next_step` what to do about it.
    """

    def __init__(self, thing: str, reason: str, next_step: str = "") -> None:
        self.thing = thing
        self.reason = reason = _plain(reason)
        self.next_step = next_step
        super().__init__(thing, reason, next_step)

    def __str__(self) -> str:
        text = f"{self.thing}: {self.reason}"
        return f"{text} Next step: {self.next_step}" if self.next_step else text


class TransientError(DatongError):
    """Likely to succeed when tried again: an unreachable host, 429, 503, a dropped connection."""

    def __init__(self, thing: str, reason: str, next_step: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(thing, reason, next_step)
        self.retry_after = retry_after
        """Seconds that the other side asked us to wait, when it did."""


class TerminalError(DatongError):
    """Trying again will not help until something is mended."""


class ConfigurationError(TerminalError):
    """A setting or a definition is missing or wrong."""


class AuthenticationError(TerminalError):
    """The other side refused who we are, or what we may do."""


class SchemaError(TerminalError):
    """The data does not have the shape that was agreed, or changed in a way that can't be carried."""


class ProtocolError(TerminalError):
    """The other side broke its own protocol: a page that never ends, a truncated body, a lying count."""


class PositionLostError(DatongError):
    """The position to read on from (a delta token, an expired cursor) is gone; a new baseline is needed."""


class ConservationError(TerminalError):
    """Rows in = rows published + rows quarantined + rows deduplicated does not hold."""


class ServiceError(DatongError):
    """A service that Datong needs (storage, engine, database, Dagster) is not there or not healthy."""
