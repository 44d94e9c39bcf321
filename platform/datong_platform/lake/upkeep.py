"""Upkeep of a bronze table: the many small files of small loads become few, and files that no version needs go.

A table that is loaded every second would slow down by the hour otherwise: every read lists its files. Compaction adds
and removes no row; it runs beside loads, and gives way when another writer was first. Old files are kept for KEPT_DAYS,
so that a reader, or a look back, of that time still works.

Alone: `python -m datong_platform.lake.upkeep SCHEMA.TABLE`.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime, timedelta

from datong_platform.lake import history
from datong_platform.names import TableName, parse

_LOG = logging.getLogger(__name__)

EVERY = 100
"""Loads between two compactions."""
VACUUM_EVERY = 2000
KEPT_DAYS = 30
_FILES = 20
"""Fewer files than this are left as they are."""
_TARGET_BYTES = 128 * 1024 * 1024


def after_load(table: TableName, sequence: int) -> None:
    """What is due after the load of the batch of this number; usually nothing."""
    from deltalake.exceptions import DeltaError

    try:
        if sequence % EVERY == 0:
            compact(table)
        if sequence % VACUUM_EVERY == 0:
            vacuum(table)
    except (DeltaError, OSError) as error:
        # the load itself is done, and the next upkeep does what this one did not
        _LOG.warning("upkeep of %s was put off: %s", table, error)


def after_build(number: int) -> None:
    """What is due after the build of this number; usually nothing. What people read, or look back at, is kept."""
    from deltalake.exceptions import DeltaError

    from datong_platform.lake import builds

    if number % EVERY:
        return
    try:
        compact(builds.BUILDS)
        vacuum_builds()
    except (DeltaError, OSError) as error:
        # the build itself is done, and the next upkeep does what this one did not
        _LOG.warning("upkeep after build %s was put off: %s", number, error)


def vacuum_builds() -> dict[TableName, int]:
    """Remove files of gold and serve that no build of the kept time needs; how many, by table.

    A build can be looked back at for as long as the table's contract says (its retention), else for KEPT_DAYS. The
    version that people read stays however old it is.
    """
    from datong_platform.lake import builds
    from datong_platform.standard.contract import contracts

    every = builds.builds()
    if not every:
        return {}
    agreed = {each.table: each.retention_days for each in contracts("serve").values()}
    removed: dict[TableName, int] = {}
    for table, shown in every[0].published.items():
        delta = history.open_table(table)
        if delta is None or str(delta.metadata().id) != shown.version.delta_id:
            continue
        days = agreed.get(str(table)) or KEPT_DAYS
        since = datetime.now(UTC) - timedelta(days=days)
        looked_back = [one.published.get(table) for one in every if one.finished_at >= since]
        kept = {
            one.version.number
            for one in (shown, *looked_back)
            if one and one.version.delta_id == shown.version.delta_id
        }
        removed[table] = len(
            delta.vacuum(
                retention_hours=24 * days,
                dry_run=False,
                enforce_retention_duration=False,
                keep_versions=sorted(kept),
            )
        )
    return removed


def compact(table: TableName) -> int:
    """Put small files together; returns how many fewer there are. Nothing happens when another writer is faster."""
    from deltalake.exceptions import CommitFailedError

    delta = history.open_table(table)
    if delta is None or len(delta.file_uris()) < _FILES:
        return 0
    try:
        done = delta.optimize.compact(target_size=_TARGET_BYTES, max_concurrent_tasks=1)
    except CommitFailedError:
        # the next time is soon enough
        return 0
    return done["numFilesRemoved"] - done["numFilesAdded"]


def vacuum(table: TableName) -> int:
    """Remove files that no version of the last KEPT_DAYS needs; returns how many."""
    delta = history.open_table(table)
    return len(delta.vacuum(retention_hours=24 * KEPT_DAYS, dry_run=False)) if delta else 0


if __name__ == "__main__":
    chosen = parse(sys.argv[1])
    print(f"{chosen}: {compact(chosen)} files fewer, {vacuum(chosen)} old files removed")
