"""The source contract: what a protocol must be able to do, so that everything after it is the same for all.

A source is four verbs: `entities` lists what there is, `describe` tells an entity's Arrow schema, keys, cursor
candidates and how it can be read, `read` gives pages of Arrow from a position on, each with the position reached, and
`close` ends it. A source that can do more shows it by the modes it describes (a delta token) or by a key page at the
end of a read (deletes without a log).

Extractors know nothing of the lake, of an engine or of an orchestrator: from a system to Arrow in memory, page by page.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import pyarrow as pa
from datong_platform.errors import TransientError
from datong_platform.lake import refused
from datong_platform.quality.windows import Totals, Window

from datong_ingestion.systems_config import PROTOCOLS, EntityConfig, Mode, SystemConfig
from datong_ingestion.values import readable


class InterruptedReadError(TransientError):
    """A read broke off in the middle; begun anew it may succeed."""


INSERT, UPDATE, DELETE, SNAPSHOT = "insert", "update", "delete", "snapshot"


@dataclass(frozen=True)
class Description:
    """What a system says about one of its entities."""

    schema: pa.Schema
    """The system's own fields and types."""
    keys: tuple[str, ...] = ()
    cursors: tuple[str, ...] = ()
    """Fields that look like the time of the last change."""
    modes: frozenset[Mode] = frozenset[Mode]({"full"})
    inferred: bool = False
    """The types are a guess from values seen, not a declaration."""
    unique: bool = False
    """The system guarantees that one read holds a key only once."""
    notes: tuple[str, ...] = ()
    """Findings that a person should know, as a declared field that the system does not have."""


REFUSED = refused.REFUSED
"""A row, message or segment that could not be read: its bytes as sent, where it stood (file and line, partition and
offset, segment), the field if one is to blame, and the reason."""


@dataclass(frozen=True)
class Page:
    """Some rows of an entity, and how far the read has come."""

    rows: pa.Table
    """Exactly the described schema."""
    operations: pa.Array | None = None
    """What happened to each row (insert, update, delete, snapshot); None leaves it to the kind of read."""
    rescued: pa.Array | None = None
    """For each row the JSON of what did not fit, as {field: raw value}, or null."""
    unexpected: frozenset[str] = field(default_factory=frozenset)
    """Fields that were sent and are not described."""
    position: str | None = None
    """Where to read on from once this page and all before it are kept; None when the page tells none."""
    refused: pa.Table | None = None
    """What came and could not be read as a row (`REFUSED`); it goes to quarantine, and the rest goes on."""
    keys: pa.Table | None = None
    """The keys of everything that exists now (key fields only): a key that is known and not in here was deleted."""

    def __post_init__(self) -> None:
        # a name in another encoding is told in the manifest and in messages, which take only whole characters
        object.__setattr__(self, "unexpected", frozenset(readable(name) for name in self.unexpected))


@runtime_checkable
class Source(Protocol):
    """A connected system. Its methods may be called from several threads at once."""

    def entities(self) -> list[str]:
        """The addresses of what the system offers."""
        ...

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """Schema, keys and ways to read of an entity; SchemaError when its metadata makes no sense.

        `known` are the fields of its bronze table: a source that could only guess takes them over.
        """
        ...

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        """Pages from `position` on, or everything when it is None.

        PositionLostError, before or between pages, when the system no longer knows the position.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class Waits(Protocol):
    """A source that leaves for the next read what is there and not ready yet."""

    def waiting(self, entity: EntityConfig) -> str:
        """What the last read left, and until when, in words; empty when nothing."""
        ...


@runtime_checkable
class Confirms(Protocol):
    """A source that must be told what is kept: a queue that forgets a message only when it was acknowledged."""

    def confirm(self, entity: EntityConfig, position: str) -> None:
        """Everything up to `position` is in bronze or in quarantine, for good.

        Told after every load, and once more before the first read of a process, since a crash can have come between
        the load and the telling: it must be safe to repeat. TransientError when the system cannot be told now.
        """
        ...


@runtime_checkable
class Rereads(Protocol):
    """A source that gives nothing twice, and reads again what it refused from the bytes that quarantine holds."""

    def reread(self, entity: EntityConfig, description: Description, kept: Sequence[tuple[bytes, str]]) -> Page:
        """The rows of messages, given as (bytes, place), by the definition as it is now.

        What still cannot be read is in the page's `refused`, with the very bytes and place that it came with.
        """
        ...


@runtime_checkable
class Partitions(Protocol):
    """A source that can be read in parts."""

    def partitions(self, entity: EntityConfig, column: str, count: int) -> list[str]:
        """At most `count` conditions on a column, each fit to be an entity's `filter`, that between them hold every row
        exactly once, rows without a value in it included. ConfigurationError when there is no such column."""
        ...


@runtime_checkable
class Reconciles(Protocol):
    """A source that tells totals of what it holds, so that bronze can be proven complete without reading it anew.

    All of it keeps the entity's `filter`, and counts rows that are marked as deleted.
    """

    def reconciles(self, entity: EntityConfig, description: Description, window: Window) -> bool:
        """Whether the system can count the rows of such a window."""
        ...

    def totals(
        self, entity: EntityConfig, description: Description, windows: Sequence[Window], sums: Sequence[str]
    ) -> list[Totals]:
        """Count, and where the system can also the sums and a digest of the keys, of each window.

        The digest is the sum over all rows of the first 60 bits of the MD5 of the key, its parts as text joined by a
        slash, nothing for null.
        """
        ...

    def listed(
        self, entity: EntityConfig, description: Description, window: Window, fields: Sequence[str]
    ) -> Iterator[pa.Table]:
        """The key fields of a window's rows, `fields`, and the window's field as `_by`."""
        ...


def connect(system: SystemConfig) -> Source:
    """The source of a system, by its protocol. Looks up addresses and secrets; makes no request yet."""
    module, name = PROTOCOLS[system.protocol].source.split(":")
    return getattr(importlib.import_module(module), name)(system)
