"""Some rows of an entity, read through the source contract and kept nowhere.

A look must leave no trace: an entity with delta tokens is read whole, so that the system starts no subscription, and
a read that has enough is ended, which lets go of its connection. What can only be read from the log of a database is
not read at all: the reader's place in the log (a replication slot, a server id) belongs to the ingest.
From an entity to its agreed schema and rows.
Alone: `datong preview crm account`.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import cast

import pyarrow as pa
from datong_platform.lake.columns import parse_type

from datong_ingestion.source import REFUSED, Description, Page, Source, connect
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig

_LOOKS: tuple[Mode, ...] = ("full", "cursor", "delta_token", "log", "stream")
"""Ways to read, those first that leave least behind."""


@dataclass(frozen=True)
class Sample:
    """The first rows of an entity."""

    description: Description
    """With the declared types."""
    rows: pa.Table
    rescued: list[str | None]
    """For each row the JSON of what did not fit, or None."""
    refused: pa.Table
    """What could not be read as a row (schema `REFUSED`)."""
    complete: bool
    """The entity has no more rows."""
    position: str | None
    """Where a next read would begin, when the pages told it."""
    seconds: float


def declared(description: Description, entity: EntityConfig) -> Description:
    """A description in the types that the definition declares, with its keys."""
    kinds = {name: parse_type(kind) for name, kind in entity.fields.items()}
    schema = pa.schema([pa.field(field.name, kinds.get(field.name, field.type)) for field in description.schema])
    return replace(description, schema=schema, keys=tuple(entity.keys) or description.keys)


def traceless(entity: EntityConfig, description: Description) -> EntityConfig:
    """The entity, read in the way that leaves least behind in its system."""
    if entity.mode == "stream" and "stream" in description.modes:
        # documents: a look remembers none of them, and a broken one is told like in an ingest, which a whole read
        # could not do
        return entity.model_copy(update={"detect_deletes": False})
    mode = next((mode for mode in _LOOKS if mode in description.modes), entity.mode)
    if mode == "cursor" and not (entity.cursor or entity.cursor_expression):
        mode = entity.mode
    return entity.model_copy(update={"mode": mode, "detect_deletes": False})


def disturbs(entity: EntityConfig, description: Description) -> bool:
    """Whether looking at rows would take the ingest's place in a log."""
    return traceless(entity, description).mode == "log"


def small_pages(system: SystemConfig, rows: int) -> SystemConfig:
    """The system, asked for no more rows at once than are wanted, where its connection can say so."""
    connection, found = system.connection, {}
    for name in ("page_size", "batch_rows"):
        if isinstance(size := getattr(connection, name, None), int):
            found[name] = min(size, rows)
    paging = getattr(connection, "paging", None)
    if isinstance(limit := getattr(paging, "limit", None), int) and paging is not None:
        found["paging"] = paging.model_copy(update={"limit": min(limit, rows)})
    return system.model_copy(update={"connection": connection.model_copy(update=found)})


@contextmanager
def reading(
    source: Source, entity: EntityConfig, description: Description, position: str | None = None
) -> Generator[Iterator[Page]]:
    """The pages of a read that is ended, and its connection let go, when the block is left.

    Documents come a batch at a time: the look goes on where a batch ended, until nothing comes any more.
    """
    by_batches = entity.mode == "stream" and "full" in description.modes

    def pages() -> Generator[Page]:
        start = position
        while True:
            reached, came = start, False
            with closing(cast("Generator[Page]", source.read(entity, description, start))) as found:
                for page in found:
                    came = came or len(page.rows) > 0 or page.refused is not None
                    reached = page.position if page.position is not None else reached
                    yield page
            if not by_batches or not came or reached == start:
                return
            start = reached

    with closing(pages()) as found:
        yield found


def take(
    source: Source, entity: EntityConfig, description: Description, limit: int, *, position: str | None = None
) -> Sample:
    """At most `limit` rows of an entity, read as it says, from `position` on."""
    started = time.monotonic()
    tables: list[pa.Table] = []
    rescued: list[str | None] = []
    refused: list[pa.Table] = []
    count, reached, complete = 0, position, True
    with reading(source, entity, description, position) as found:
        for page in found:
            rows = page.rows.slice(0, limit - count)
            tables.append(rows)
            marks = page.rescued.to_pylist() if page.rescued is not None else [None] * len(page.rows)
            rescued.extend(marks[: len(rows)])
            if page.refused is not None:
                refused.append(page.refused)
            reached = page.position if page.position is not None else reached
            count += len(rows)
            if count >= limit:
                # whether a further page would come is not worth a request; a whole read ends by itself
                complete = False
                break
    schema = description.schema
    return Sample(
        description,
        pa.concat_tables(tables) if tables else schema.empty_table(),
        rescued,
        pa.concat_tables(refused) if refused else REFUSED.empty_table(),
        complete,
        reached,
        time.monotonic() - started,
    )


def nothing(description: Description) -> Sample:
    """A sample without rows."""
    return Sample(description, description.schema.empty_table(), [], REFUSED.empty_table(), False, None, 0.0)


def preview(system: SystemConfig, entity: str, rows: int) -> Sample:
    """The first rows of an entity and its types, straight from the system; nothing is loaded.

    Raises what the source raises: a DatongError that names system, entity, reason and next step.
    """
    config = system.entity(entity).resolved(system.system)
    source = connect(small_pages(system, rows))
    try:
        description = declared(source.describe(config), config)
        if disturbs(config, description):
            notes = (
                *description.notes,
                f"{config.name} is read from a log, which a look would disturb: no row is shown.",
            )
            return nothing(replace(description, notes=notes))
        return take(source, traceless(config, description), description, rows)
    finally:
        source.close()
