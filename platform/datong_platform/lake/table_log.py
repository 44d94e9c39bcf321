"""What a Delta table's log says of the table as it is now, kept up to date in this process by one listing.

To open a table costs a listing, its last checkpoint and every commit since: some 30 ms of CPU and a dozen requests, and
a cycle asked that of every table several times. Here a table is opened once in a process. From then on one listing from
its last known commit on tells what is new, and only new commits are read. That the last known commit is still the very
same object (its ETag) tells a table that was made anew at the same place; then, after a gap, and after a change of its
columns or settings it is opened again.

From a `TableName` to its `Log`. Nothing here writes, and nobody commits to what is told here: a writer opens the table
itself, because its commit is checked against what it has read.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datong_platform.lake import history, storage
from datong_platform.lake.history import UPKEEP
from datong_platform.names import TableName
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

_MANY_FILES = 20_000
"""A table of more files is opened each time: what is known of it would fill the memory."""
_MANY_TABLES = 2_000
NEW_COMMITS = 50
"""After more commits than this a table is opened anew: its checkpoint is read faster."""


@dataclass(frozen=True)
class File:
    """A file of a table: its rows and bytes, and the bounds of its texts as far as the log tells them."""

    rows: int
    bytes: int
    least: Mapping[str, str]
    greatest: Mapping[str, str]


@dataclass(frozen=True)
class Log:
    """A Delta table as it is now."""

    delta_id: str
    version: int
    content_version: int
    """The version since which it holds the same rows: upkeep makes versions that change none."""
    columns: Mapping[str, str]
    """Its columns in their order, with their types."""
    schema_digest: str
    files: dict[str, File] = field(repr=False)
    etag: str = ""
    """The store's mark of the newest commit."""

    @property
    def rows(self) -> int:
        """Rows of the table, by the counts of its files."""
        return sum(file.rows for file in self.files.values())

    @property
    def bytes(self) -> int:
        """Bytes of its files."""
        return sum(file.bytes for file in self.files.values())

    def bounds(self, column: str) -> tuple[str, str] | None:
        """The least and the greatest text of a column; None where a file with rows does not tell, or there is none."""
        files = [file for file in self.files.values() if file.rows]
        if not files or any(column not in file.least or column not in file.greatest for file in files):
            return None
        return min(file.least[column] for file in files), max(file.greatest[column] for file in files)


_lock = threading.Lock()
_known: OrderedDict[str, Log] = OrderedDict()


def read(table: TableName) -> Log | None:
    """The table as it is now, or None when there is none. ServiceError when the store can't be reached."""
    place = f"{settings().s3_endpoint} {settings().table_uri(table)}"
    with _lock:
        known = _known.get(place)
    found = _caught_up(table, known) if known else None
    if found is None:
        found = _opened(table)
    with _lock:
        _known.pop(place, None)
        if found is not None and found.etag and len(found.files) <= _MANY_FILES:
            _known[place] = found
            if len(_known) > _MANY_TABLES:
                _known.popitem(last=False)
    return found


def _opened(table: TableName) -> Log | None:
    """What delta-rs reads of the table."""
    delta = history.open_table(table)
    if delta is None:
        return None
    schema = delta.schema()
    etag = next((mark for number, mark in commits(table, delta.version()) if number == delta.version()), "")
    return Log(
        delta_id=str(delta.metadata().id),
        version=delta.version(),
        content_version=history.content_version(delta),
        columns=_columns(json.loads(schema.to_json())["fields"]),
        schema_digest=_digest(json.loads(schema.to_json())["fields"]),
        files=dict(_files(delta)),
        etag=etag,
    )


def _files(delta: DeltaTable) -> Iterable[tuple[str, File]]:
    for row in pa.table(delta.get_add_actions()).to_pylist():
        bounds = [
            {name: value for name, value in (row.get(which) or {}).items() if isinstance(value, str)}
            for which in ("min", "max")
        ]
        yield row["path"], File(row.get("num_records") or 0, row["size_bytes"] or 0, *bounds)


class _NotFollowedError(Exception):
    """The log cannot be followed from what is known on: the table has to be opened."""


def _caught_up(table: TableName, known: Log) -> Log | None:
    """The table from what is known of it on; None when it has to be opened anew."""
    listed = commits(table, known.version)
    if not listed or listed[0] != (known.version, known.etag) or len(listed) > NEW_COMMITS:
        return None
    found = known
    try:
        for version, etag in listed[1:]:
            found = _followed(found, version, etag, storage.get(_commit(table, version)))
    except _NotFollowedError:
        return None
    return found


def _followed(known: Log, version: int, etag: str, entry: bytes | None) -> Log:
    """The table after one commit more."""
    if entry is None or version != known.version + 1:
        raise _NotFollowedError
    found = replace(known, version=version, etag=etag, files=dict(known.files))
    operation = None
    for line in entry.splitlines():
        action: dict[str, Any] = json.loads(line) if line.strip() else {}
        if "protocol" in action:
            raise _NotFollowedError
        if stated := action.get("metaData"):
            fields = json.loads(stated["schemaString"])["fields"]
            found = replace(found, delta_id=str(stated["id"]), columns=_columns(fields), schema_digest=_digest(fields))
        if (removed := action.get("remove")) and found.files.pop(removed["path"], None) is None:
            raise _NotFollowedError
        if added := action.get("add"):
            if added.get("deletionVector"):
                raise _NotFollowedError
            found.files[added["path"]] = _file(added, found.columns)
        operation = action.get("commitInfo", {}).get("operation", operation)
    return found if operation in UPKEEP else replace(found, content_version=version)


def _file(added: Mapping[str, Any], columns: Mapping[str, str]) -> File:
    told: dict[str, Any] = json.loads(added.get("stats") or "{}")
    bounds = [
        {name: value for name, value in (told.get(which) or {}).items() if columns.get(name) == "string"}
        for which in ("minValues", "maxValues")
    ]
    return File(told.get("numRecords") or 0, added.get("size") or 0, *bounds)


def commits(table: TableName, since: int) -> list[tuple[int, str]]:
    """The commits of a table's log from this version on, in order, with the store's mark of each."""
    folder = f"{table.path}/_delta_log/"
    found: list[tuple[int, str]] = []
    for item in storage.listing(folder, after=f"{folder}{since:020d}"):
        name = item.key.removeprefix(folder)
        if name.endswith(".json") and name[:20].isdigit() and len(name) == 25:
            found.append((int(name[:20]), item.etag))
    return found


def _commit(table: TableName, version: int) -> str:
    return f"{table.path}/_delta_log/{version:020d}.json"


def _columns(fields: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {field["name"]: _type(field["type"]) for field in fields}


def _type(kind: str | Mapping[str, Any]) -> str:
    """A type as Delta's log writes it, in one line."""
    if isinstance(kind, str):
        return kind
    if kind["type"] == "struct":
        inner = ", ".join(f"{name}: {within}" for name, within in _columns(kind["fields"]).items())
        return f"struct<{inner}>"
    if kind["type"] == "array":
        return f"array<{_type(kind['elementType'])}>"
    return f"map<{_type(kind['keyType'])}, {_type(kind['valueType'])}>"


def _digest(fields: Sequence[Mapping[str, Any]]) -> str:
    said = [[field["name"], _type(field["type"]), field["nullable"]] for field in fields]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:24]
