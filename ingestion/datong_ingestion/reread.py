"""Reading again what a source's quarantine holds, after its definition was mended.

A queue gives nothing twice, so the bytes in quarantine are all that is left of a message that could not be read. They
are read by the definition as it is now, landed as a batch of their own, and loaded as every batch is. Its manifest
names what it releases: quarantine and bronze take it exactly once, wherever a process is killed, and what still cannot
be read stays.

An old message must not win over a newer one: where the rows of an entity are states (not events), a row whose key has
come in a later batch is left out as outdated, and one whose key is in its own batch stays in quarantine, because nobody
can tell any more which of the two was the later.

From `quarantine.held` to a batch of bronze. Sources that can be asked again (databases, files, APIs) have no need of
it: their next full read or baseline brings the row.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
from datong_platform.errors import ConfigurationError, TransientError
from datong_platform.lake import load, quarantine
from datong_platform.lake.columns import compute, row_keys
from datong_platform.lake.load import literal, scan
from datong_platform.lake.refused import DIGEST, RAW_BYTES, prepared
from datong_platform.names import BATCH_ID

from datong_ingestion.run import EntityIngest, IngestResult, Plan, load_pending
from datong_ingestion.source import INSERT, UPDATE, Page, Rereads, connect

if TYPE_CHECKING:
    from datong_ingestion.systems_config import SystemConfig

_ROUNDS = 5


@dataclass(frozen=True)
class Reread:
    """What reading again came to."""

    system: str
    entity: str
    held: int
    """What was in quarantine."""
    released: int
    """What could be read now."""
    outdated: int = 0
    """Rows among them that a later batch had replaced already."""
    result: IngestResult | None = None
    """The load; None when nothing could be read."""

    @property
    def still_held(self) -> int:
        """What stays in quarantine."""
        return self.held - self.released


def reread(system: SystemConfig, entity: str) -> Reread:
    """Read again what the quarantine of an entity holds.

    ConfigurationError when its source can be asked again instead. TransientError when other ingests of it are at work.
    """
    source = connect(system)
    try:
        if not isinstance(source, Rereads):
            raise ConfigurationError(
                f"{system.system}.{entity}",
                "is read from a source that still has its rows, so they need not be read out of quarantine.",
                "once the source or the definition is mended, ask it again: "
                f"`python -m datong_ingestion {system.system} {entity} --baseline`.",
            )
        ingest = EntityIngest(source, system, system.entity(entity))
        for _ in range(_ROUNDS):
            started = time.monotonic()
            pending = load_pending(system, ingest.entity)
            held = quarantine.held(system.system, entity)
            if not len(held):
                return Reread(system.system, entity, 0, 0)
            plan = replace(ingest.plan(pending.table), kind="changes")
            batch = ingest.landing(plan)
            released: list[str] = []
            outdated = 0
            for part, came in _by_batch(held):
                page = source.reread(ingest.entity, plan.agreement.description, _messages(part))
                mine, page, dropped = _taken(part, came, page, plan, is_event=ingest.entity.events)
                released += mine
                outdated += dropped
                batch.add(page.rows, _operations(page, ingest), page.rescued, page.unexpected)
                batch.received_rows += dropped
            if not released:
                batch.discard()
                return Reread(system.system, entity, len(held), 0)
            manifest = batch.seal(plan.last.position if plan.last else None)
            manifest = replace(manifest, released=released, unchanged_rows=manifest.unchanged_rows + outdated)
            if batch.commit(manifest):
                done = load.load(manifest, plan.delta)
                result = ingest.result([*pending.results, *([done] if done else [])], started)
                return Reread(system.system, entity, len(held), len(released), outdated, result)
    finally:
        source.close()
    raise TransientError(
        f"{system.system}.{entity}", "is being ingested by others.", "run it again when they have ended."
    )


def _by_batch(held: pa.Table) -> Iterator[tuple[pa.Table, str]]:
    """What can be read again, by the batch that it came in. What was too long to be kept whole cannot."""
    whole = held.filter(
        compute.fill_null(compute.less(compute.binary_length(held.column("raw")), RAW_BYTES), fill_value=False)
    )
    for batch in sorted(compute.unique(whole.column(BATCH_ID)).to_pylist()):
        yield whole.filter(compute.equal(whole.column(BATCH_ID), batch)), batch


def _messages(held: pa.Table) -> list[tuple[bytes, str]]:
    places = (place or "" for place in held.column("place").to_pylist())
    return list(zip(held.column("raw").to_pylist(), places, strict=True))


def _operations(page: Page, ingest: EntityIngest) -> pa.Array:
    if page.operations is not None:
        return page.operations
    return pa.repeat(pa.scalar(INSERT if ingest.entity.events else UPDATE), len(page.rows))


def _taken(part: pa.Table, came: str, page: Page, plan: Plan, *, is_event: bool) -> tuple[list[str], Page, int]:
    """The digests of what was read, the page without what is outdated, and how many rows of it are."""
    still = Counter(prepared(page.refused).column(DIGEST).to_pylist() if page.refused is not None else [])
    read: list[str] = []
    for digest in part.column(DIGEST).to_pylist():
        if still[digest] > 0:
            still[digest] -= 1
        else:
            read.append(digest)
    keys = list(plan.agreement.description.keys)
    if is_event or not keys or plan.delta is None or not len(page.rows):
        return read, page, 0
    known = scan(plan.delta, [*keys, BATCH_ID], f"{BATCH_ID} >= {literal(pa.scalar(came))}")
    later = known.filter(compute.greater(known.column(BATCH_ID), came))
    same = known.filter(compute.equal(known.column(BATCH_ID), came))
    sent = row_keys(page.rows, keys)
    beside = compute.any(compute.is_in(sent, value_set=row_keys(same, keys))).as_py()
    if beside or len(compute.unique(sent)) < len(sent):
        # of these nobody can tell the order, and none may be taken alone
        return [], replace(page, rows=page.rows.slice(0, 0), operations=None, rescued=None), 0
    fresh = compute.invert(compute.is_in(sent, value_set=row_keys(later, keys)))
    kept = replace(
        page,
        rows=page.rows.filter(fresh),
        operations=None if page.operations is None else page.operations.filter(fresh),
        rescued=None if page.rescued is None else page.rescued.filter(fresh),
    )
    return read, kept, len(page.rows) - len(kept.rows)
