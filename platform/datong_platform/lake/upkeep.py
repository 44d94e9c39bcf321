"""Upkeep of the lake's tables: many small files become few, and what no version needs any more goes.

A table that is loaded every second would slow down by the hour otherwise: every read lists its files. This is
done, each beside readers and writers:

- compaction puts small files together. It adds and removes no row, and gives way when another writer was first. Gold
  and serve are left out: a build writes them anew in few files, and people read the very version that it made.
- a checkpoint, so that a table is opened by one file and not by every commit since the last one.
- the vacuum deletes files that no version of the kept time names, left-overs of killed writers included. What people
  read, or may look back at, stays however old it is.
- states of a record that a later one replaced go from bronze, where the source's definition says after how long. The
  last state of a record never does.
- the log: entries older than the kept time go. Of gold and serve they are kept for as long as the table's contract
  says (its retention), for a version without its log entry cannot be read.

What only a build writes (`BUILT`) is compacted while no build runs: a merge that meets a compaction would be refused.
But for replaced states none of it changes what a table holds, and `history.content_version` tells so to those who ask
what is new. `due` says what would go, and changes nothing.

Alone: `python -m datong_platform.lake.upkeep SCHEMA.TABLE`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from datong_platform.errors import ServiceError
from datong_platform.lake import history, landing, storage, superseded
from datong_platform.lake.retention import VERSIONS_DAYS, Retention
from datong_platform.names import CANDIDATES, Schema, TableName, bronze, parse
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

_LOG = logging.getLogger(__name__)

CHECKPOINT_EVERY = 10
"""Commits between two checkpoints of a table's log: who opens a table reads its last checkpoint and every commit since,
and a cycle opens a table some ten times. delta-rs itself makes one every hundred commits, and Sail none."""
EVERY = 100
"""Loads between two compactions."""
VACUUM_EVERY = 2000
KEPT_DAYS = VERSIONS_DAYS
BUILT: tuple[Schema, ...] = ("staging", "silver", "gold", "serve", "masked", "quarantine")
"""Schemas with tables that builds write."""
_FILES = 20
"""Fewer files than this are left as they are."""
_TARGET_BYTES = 128 * 1024 * 1024
_CHECKPOINT_EVERY = 20
"""Commits since the last checkpoint after which upkeep makes one."""
_AT_ONCE = 8
_RETENTION = "delta.logRetentionDuration"


@dataclass(frozen=True)
class Kept:
    """What upkeep did to one table."""

    table: TableName
    files: int
    """Files of the table as it is now."""
    bytes: int
    files_fewer: int = 0
    files_removed: int = 0
    bytes_removed: int = 0
    log_entries_removed: int = 0
    states_removed: int = 0
    """Rows of bronze that later ones had replaced."""
    checkpointed: bool = False
    seconds: float = 0
    put_off: str = ""
    """Why something was left for the next time."""

    @property
    def did_something(self) -> bool:
        """Whether anything is not as it was before."""
        return bool(
            self.files_fewer
            or self.files_removed
            or self.log_entries_removed
            or self.states_removed
            or self.checkpointed
        )


@dataclass(frozen=True)
class Due:
    """What upkeep would take away of one thing."""

    thing: str
    """A table, or `landing system.entity`."""
    what: str
    count: int
    bytes: int
    kept: str
    """What is kept, in words."""


def after_load(table: TableName, sequence: int, delta: DeltaTable | None = None) -> None:
    """What is due after the load of the batch of this number; usually nothing. `delta`: the table, where it is open."""
    from deltalake.exceptions import DeltaError

    try:
        if sequence % CHECKPOINT_EVERY == 0 and (delta := delta or history.open_table(table)):
            delta.create_checkpoint()
        if sequence % EVERY == 0:
            compact(table)
            clear_log(table)
        if sequence % VACUUM_EVERY == 0:
            vacuum(table)
    except (DeltaError, OSError, ServiceError) as error:
        # the load itself is done, and the next upkeep does what this one did not
        _LOG.warning("upkeep of %s was put off: %s", table, error)


def after_table(table: TableName, version: int) -> None:
    """What is due after a build that left the table at this version; usually nothing.

    What an incremental model wrote down on its way (`ops.changes_…`) grows by a commit each time as well.
    """
    from deltalake.exceptions import DeltaError

    if not version or version % CHECKPOINT_EVERY:
        return
    for each in (table, TableName("ops", f"changes_{table.schema}__{table.name}")):
        try:
            if delta := history.open_table(each):
                delta.create_checkpoint()
        except (DeltaError, OSError, ServiceError) as error:
            # nothing depends on it, and the next one does what this one did not
            _LOG.warning("a checkpoint of %s was put off: %s", each, error)


def after_build(number: int) -> None:
    """What is due after the build of this number; usually nothing. What people read, or look back at, is kept."""
    from deltalake.exceptions import DeltaError

    from datong_platform.lake import builds

    try:
        if number % CHECKPOINT_EVERY == 0 and (delta := history.open_table(builds.BUILDS)):
            delta.create_checkpoint()
        if number % EVERY:
            return
        compact(builds.BUILDS)
        vacuum_builds()
    except (DeltaError, OSError) as error:
        # the build itself is done, and the next upkeep does what this one did not
        _LOG.warning("upkeep after build %s was put off: %s", number, error)


def keep_up(table: TableName, kept: Retention | None = None) -> Kept | None:
    """All upkeep that a table is due; None when there is no such table. ServiceError when the store fails.

    `kept`: what the definition of its source says, of a bronze table.

    The caller makes sure that no build runs when the table is of a schema in BUILT.
    """
    from deltalake.exceptions import DeltaError

    began = time.monotonic()
    delta = history.open_table(table)
    if delta is None:
        return None
    put_off, fewer, removed, freed, cleared, states, checkpointed = "", 0, 0, 0, 0, 0, False
    try:
        _agree_retention(delta, table, kept)
        if kept and kept.history_days is not None:
            states = superseded.remove(table, delta, kept.history_days)
        if table.schema not in CANDIDATES:
            fewer = compact(table)
        checkpointed = checkpoint(table)
        delta.update_incremental()
        removed, freed = _remove_old_files(delta, table, *_needed(table, delta, kept))
        cleared = clear_log(table)
    except (DeltaError, OSError) as error:
        # nothing of it is urgent, and the next time does what this one did not
        put_off = " ".join(str(error).split())[:300]
    delta.update_incremental()
    sizes = delta.get_add_actions(flatten=True).column("size_bytes").to_pylist()
    return Kept(
        table=table,
        files=len(sizes),
        bytes=sum(size or 0 for size in sizes),
        files_fewer=fewer,
        files_removed=removed,
        bytes_removed=freed,
        log_entries_removed=cleared,
        states_removed=states,
        checkpointed=checkpointed,
        seconds=time.monotonic() - began,
        put_off=put_off,
    )


def vacuum_builds() -> dict[TableName, int]:
    """Remove files of gold and serve that no build of the kept time needs; how many, by table.

    A build can be looked back at for as long as the table's contract says (its retention), else for KEPT_DAYS. The
    version that people read stays however old it is.
    """
    from datong_platform.lake import builds

    last = builds.latest()
    removed: dict[TableName, int] = {}
    for table, shown in last.published.items() if last else ():
        delta = history.open_table(table)
        if delta is not None and str(delta.metadata().id) == shown.version.delta_id:
            removed[table] = _remove_old_files(delta, table, *_needed(table, delta))[0]
    return removed


def _kept_days(table: TableName, kept: Retention | None = None) -> int:
    """For how many days a version of the table can be read: of bronze as its source's definition says, of serve as its
    contract does."""
    from datong_platform.standard.contract import contracts

    if table.schema == "bronze" and kept:
        return kept.versions_days
    if table.schema != "serve":
        return KEPT_DAYS
    agreed = {each.table: each.retention_days for each in contracts("serve").values()}
    return agreed.get(str(table)) or KEPT_DAYS


def _needed(table: TableName, delta: DeltaTable, kept: Retention | None = None) -> tuple[int, set[int]]:
    """The days for which old files are kept, and versions of any age whose files are kept."""
    from datong_platform.lake import builds

    days = _kept_days(table, kept)
    if table.schema not in CANDIDATES:
        return days, set()
    since, every = datetime.now(UTC) - timedelta(days=days), builds.builds()
    looked_back = [one.published.get(table) for one in every if one.finished_at >= since]
    shown = every[0].published.get(table) if every else None
    delta_id = str(delta.metadata().id)
    return days, {one.version.number for one in (shown, *looked_back) if one and one.version.delta_id == delta_id}


def _agree_retention(delta: DeltaTable, table: TableName, kept: Retention | None) -> None:
    """Let the log reach back to all that may be read: whoever writes the table clears its log, too.

    What people read may be older than all that they look back at, when no build since passed its checks.
    """
    from datong_platform.lake import builds

    known = _log_days(delta)
    if table.schema not in CANDIDATES:
        wanted = _kept_days(table, kept)
        if kept and known != wanted:
            delta.alter.set_table_properties({_RETENTION: f"interval {wanted} days"})
        return
    _, versions = _needed(table, delta)
    began = [
        one.started_at
        for one in builds.builds()
        for built in one.tables
        if built.table == table and built.built and built.built.number in versions
    ]
    reached = datetime.now(UTC) - min(began, default=datetime.now(UTC))
    needed = max(_kept_days(table), reached.days) + KEPT_DAYS
    # not by the day: each change is a commit
    if not needed <= known <= needed + 2 * KEPT_DAYS:
        delta.alter.set_table_properties({_RETENTION: f"interval {needed + KEPT_DAYS} days"})


def _log_days(delta: DeltaTable) -> int:
    """For how many days a table keeps entries of its log; 0 when it says so in other words than ours."""
    words = (delta.metadata().configuration.get(_RETENTION) or "interval 30 days").split()
    return int(words[1]) if words[2:] == ["days"] and words[1].isdigit() else 0


def compact(table: TableName, *, fewest_files: int | None = None) -> int:
    """Put small files together; returns how many fewer there are. Nothing happens when another writer is faster."""
    from deltalake.exceptions import CommitFailedError

    delta = history.open_table(table)
    if delta is None or len(delta.file_uris()) < (_FILES if fewest_files is None else fewest_files):
        return 0
    try:
        done = delta.optimize.compact(target_size=_TARGET_BYTES, max_concurrent_tasks=1)
    except CommitFailedError:
        # the next time is soon enough
        return 0
    return done["numFilesRemoved"] - done["numFilesAdded"]


def checkpoint(table: TableName) -> bool:
    """Make a checkpoint when the last one is many commits ago; whether one was made."""
    delta = history.open_table(table)
    if delta is None:
        return False
    known = history.last_checkpoint(table)
    if delta.version() - (-1 if known is None else known) < _CHECKPOINT_EVERY:
        return False
    delta.create_checkpoint()
    return True


def vacuum(table: TableName) -> int:
    """Remove files that no version of the kept time needs; returns how many."""
    delta = history.open_table(table)
    return _remove_old_files(delta, table, *_needed(table, delta))[0] if delta else 0


def _remove_old_files(delta: DeltaTable, table: TableName, days: int, versions: Collection[int]) -> tuple[int, int]:
    """Delete what only versions older than `days` name, or none; how many files, and their bytes.

    Not by delta-rs, which writes two commits about it: every reader would take the table for a changed one.
    """

    def remove(found: tuple[str, int]) -> int:
        storage.delete(found[0])
        return found[1]

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        sizes = list(pool.map(remove, _old_files(delta, table, days, versions)))
    return len(sizes), sum(sizes)


def _old_files(delta: DeltaTable, table: TableName, days: int, versions: Collection[int]) -> Iterator[tuple[str, int]]:
    """What only versions older than `days` name, or none, by key, with its bytes."""
    from botocore.exceptions import ClientError

    named = delta.vacuum(
        retention_hours=24 * days,
        dry_run=True,
        enforce_retention_duration=False,
        full=True,
        keep_versions=sorted(versions) or None,
    )
    limit = datetime.now(UTC) - timedelta(days=days)
    bucket = settings().bucket

    def look(name: str) -> tuple[str, int] | None:
        key = f"{table.path}/{name}"
        try:
            found = storage.client().head_object(Bucket=bucket, Key=key)
        except ClientError:
            return None
        # a load that is tried again writes the name of its first attempt anew
        return None if found["LastModified"] > limit else (key, int(found["ContentLength"]))

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        yield from (found for found in pool.map(look, named) if found)


def clear_log(table: TableName) -> int:
    """Remove entries of a table's log that are older than it is kept for, and what was left of them; how many."""
    delta = history.open_table(table)
    if delta is None:
        return 0
    folder = f"{table.path}/_delta_log/"
    before = set(storage.keys(folder))
    delta.cleanup_metadata()
    after = set(storage.keys(folder))
    # Sail writes a checksum beside each commit, and nobody else knows of them
    commits = {key.removesuffix(".json") for key in after if key.endswith(".json")}
    first = min(commits, default="")
    orphans = [key for key in after if key.endswith(".crc") and key.removesuffix(".crc") < first]
    for key in orphans:
        storage.delete(key)
    return len(before - after) + len(orphans)


def clear_landing(entities: Mapping[tuple[str, str], Retention]) -> dict[tuple[str, str], int]:
    """Remove landed files that need not be kept: beyond the batches and days of each entity, and left-overs of readers
    that were killed. How many, by system and entity."""
    removed: dict[tuple[str, str], int] = {}
    for (system, entity), kept in entities.items():
        if found := _landed(system, entity, kept):
            for one in found:
                storage.delete(one.key)
            removed[system, entity] = len(found)
    return removed


def _landed(system: str, entity: str, kept: Retention) -> list[storage.Listed]:
    table = bronze(system, entity)
    delta = history.open_table(table)
    loaded = delta.transaction_version(history.application_id(table)) or 0 if delta else 0
    return landing.left_over(
        system, entity, timedelta(days=KEPT_DAYS), loaded, batches=kept.landed_batches, days=kept.landed_days
    )


def due(table: TableName, kept: Retention | None = None) -> list[Due]:
    """What upkeep would take away of a table; nothing is changed. ServiceError when the store fails."""
    delta = history.open_table(table)
    if delta is None:
        return []
    found: list[Due] = []
    days, versions = _needed(table, delta, kept)
    old = list(_old_files(delta, table, days, versions))
    looked_back = f", and {len(versions)} versions that people may look back at" if versions else ""
    found.append(Due(str(table), "old files", len(old), sum(size for _, size in old), f"{days} days{looked_back}"))
    entries = _old_entries(table, delta)
    log_days = _log_days(delta) or KEPT_DAYS
    found.append(Due(str(table), "log entries", len(entries), sum(one.size for one in entries), f"{log_days} days"))
    if kept and kept.history_days is not None:
        states = superseded.find(table, delta, kept.history_days)
        words = f"{kept.history_days} days after a newer state came; the last state for ever"
        found.append(Due(str(table), "replaced states", states.rows if states else 0, 0, words))
    return [one for one in found if one.count]


def _old_entries(table: TableName, delta: DeltaTable) -> list[storage.Listed]:
    """Entries of a log that are past their time, and that a checkpoint sums up: until then they must stay."""
    checkpoint = history.last_checkpoint(table)
    limit = datetime.now(UTC) - timedelta(days=_log_days(delta) or KEPT_DAYS)
    return [
        one
        for one in storage.listing(f"{table.path}/_delta_log/")
        if checkpoint is not None
        and (name := one.key.rsplit("/", 1)[1].split(".")[0]).isdigit()
        and int(name) < checkpoint
        and one.written_at < limit
    ]


def landing_due(system: str, entity: str, kept: Retention) -> list[Due]:
    """What upkeep would take away of an entity's landed files; nothing is changed."""
    found = _landed(system, entity, kept)
    words = f"{kept.landed_batches} batches" + (f", and those of {kept.landed_days:g} days" if kept.landed_days else "")
    size = sum(one.size for one in found)
    return [Due(f"landing {system}.{entity}", "landed files", len(found), size, words)] if found else []


if __name__ == "__main__":
    print(keep_up(parse(sys.argv[1])))
