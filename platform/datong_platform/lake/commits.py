"""A commit that is there once, whatever became of its answer.

The put of a commit can succeed while its answer is lost: the connection breaks, or the store does it and answers 500.
delta-rs then either reports a failure for what is there, or asks again, finds its own commit in the way, takes it for
another writer's and commits a second time. So a commit here bears a mark, delta-rs does not try again by itself, and
after each failure the log is read: what bears the mark is there, and only what is not there is written anew. A put that
is still under way then cannot land behind our back: it contends for the version that we contend for.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from datong_platform.lake import storage
from datong_platform.names import TableName

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable
    from deltalake.transaction import Transaction

_MARK = "datong.commit"
_ATTEMPTS = 12


def once(
    table: TableName,
    delta: DeltaTable,
    write: Callable[[CommitProperties], object],
    *,
    told: Mapping[str, str] | None = None,
    transactions: Sequence[Transaction] = (),
    attempts: int = _ATTEMPTS,
) -> None:
    """Run `write`, which commits to the open table with the properties that it is given, until that commit is there.

    `told` goes into the commit's metadata. `attempts`: 1 for a commit that must not follow another writer's. Raises
    what delta-rs raises when it cannot be brought there.
    """
    from deltalake import CommitProperties
    from deltalake.exceptions import DeltaError

    mark = uuid.uuid4().hex
    properties = CommitProperties(
        custom_metadata={**(told or {}), _MARK: mark},
        app_transactions=list(transactions) or None,
        max_commit_retries=0,
    )
    for attempt in range(attempts):
        before = delta.version()
        try:
            write(properties)
            return
        except (DeltaError, OSError):
            if is_there(table, before, mark):
                delta.update_incremental()
                return
            if attempt == attempts - 1:
                raise
        # at random, or writers that met would meet again
        time.sleep(random.uniform(0.01, 0.05) * min(2**attempt, 32))  # noqa: S311
        delta.update_incremental()


def append(table: TableName, delta: DeltaTable, rows: pa.Table, told: Mapping[str, str] | None = None) -> None:
    """Add rows to an open table, in one commit that is there once; see `once`."""
    from deltalake import write_deltalake

    once(
        table,
        delta,
        lambda properties: write_deltalake(delta, rows, mode="append", commit_properties=properties),
        told=told,
    )


def is_there(table: TableName, after: int, mark: str) -> bool:
    """Whether a version of the table later than `after` bears the mark. ServiceError when the store does not answer."""
    version = after + 1
    while body := storage.get(f"{table.path}/_delta_log/{version:020d}.json"):
        if mark.encode() in body:
            return True
        version += 1
    return False
