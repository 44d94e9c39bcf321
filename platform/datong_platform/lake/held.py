"""Delta tables that stay open in this process, from one of their writers to the next.

To open a table costs a listing, its last checkpoint and, twice, every commit since: some 14 ms of CPU and one or two
dozen requests, and every ingest asked that of every table. Here who has done with a table leaves it open. One listing
from its last commit on tells the next one whether that is still the very same object (by its ETag: a table that was
made anew at the same place is opened anew), and whether there are newer ones, which alone are read.

A table is taken by one caller at a time and is his alone, for a commit is checked against what its writer has read. Who
fails does not give it back, and the next one opens it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from datong_platform.errors import ServiceError
from datong_platform.lake import history, table_log
from datong_platform.names import TableName
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

_MANY_FILES = 20_000
"""A table of more files is not held: what is known of it would fill the memory."""
_MANY_TABLES = 1_000


class _Held(NamedTuple):
    delta: DeltaTable
    version: int
    etag: str
    """The store's mark of the commit that made this version."""


_lock = threading.Lock()
_held: OrderedDict[Any, _Held] = OrderedDict()
_marks: OrderedDict[str, tuple[int, str]] = OrderedDict()
"""The last version of each table that is known with its mark."""


def take(table: TableName) -> DeltaTable | None:
    """The table as it is now, or None when there is none. ServiceError when the store can't be reached."""
    return take_held(table) or history.open_table(table)


def take_held(table: TableName) -> DeltaTable | None:
    """The table as it is now, where one is held that can be caught up."""
    with _lock:
        held = _held.pop(_place(table), None)
    return held.delta if held is not None and _is_caught_up(table, held) else None


def give_back(table: TableName, delta: DeltaTable) -> None:
    """Leave a table open for the next one; where the store does not answer, it is not held."""
    version = delta.version()
    with _lock:
        known, etag = _marks.get(str(delta.metadata().id), (-1, None))
    if known != version:
        etag = None
        with suppress(ServiceError):
            etag = dict(table_log.commits(table, version)).get(version)
    if etag is None or len(delta.file_uris()) > _MANY_FILES:
        return
    mark(delta, version, etag)
    with _lock:
        _held[_place(table)] = _Held(delta, version, etag)
        if len(_held) > _MANY_TABLES:
            _held.popitem(last=False)


def mark(delta: DeltaTable, version: int, etag: str) -> None:
    """Tell the store's mark of a version of the table, which `give_back` then need not ask for."""
    with _lock:
        _marks[str(delta.metadata().id)] = version, etag
        if len(_marks) > _MANY_TABLES:
            _marks.popitem(last=False)


def _place(table: TableName) -> Any:
    """Where a table is, and by which keys it is opened."""
    now = settings()
    return now.table_uri(table), *sorted(now.storage_options().items())


def _is_caught_up(table: TableName, held: _Held) -> bool:
    """Whether what is held is the table as it is now, after its new commits are read."""
    from deltalake.exceptions import DeltaError

    try:
        listed = table_log.commits(table, held.version)
        if not listed or listed[0] != (held.version, held.etag) or len(listed) > table_log.NEW_COMMITS:
            return False
        newest, etag = listed[-1]
        if newest > held.version:
            held.delta.update_incremental()
            mark(held.delta, newest, etag)
    except (DeltaError, OSError, ServiceError):
        # whoever opens it then says what is wrong
        return False
    return True
