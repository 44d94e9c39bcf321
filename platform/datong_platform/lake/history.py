"""What a bronze table's own log says: how far it has been loaded, and every load there was.

The watermark has no other home. It is in the commit of the load that reached it, so it cannot disagree with the rows.
Should the log have been cleaned up that far, the Delta transaction id still tells the batch, and its manifest the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from datong_platform.errors import ServiceError
from datong_platform.lake import landing, storage
from datong_platform.names import TableName, system_and_entity
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

METADATA_KEY = "datong"
_CHECKPOINT = re.compile(r"/(\d{20})\.checkpoint\.(?:.+\.)?parquet$")
UPKEEP = {"OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES"}
"""Operations of a log that change no row."""


@dataclass(frozen=True)
class Loaded:
    """One load of one batch, as its commit tells it."""

    batch_id: str
    mode: str
    kind: str
    position: str | None
    """Where to read on from: a cursor's value or a delta token."""
    content_hash: str
    rows: int
    deletes: int
    rescued: int
    contract_version: str
    started_at: str
    finished_at: str
    """When the read of the batch ended, ISO 8601 in UTC."""
    refused: int = 0
    """Rows that could not be read and went to quarantine."""
    events: list[str] = field(default_factory=list[str])
    """What happened to the source that a person should know."""
    keys_read_at: str = ""
    """When all keys that exist were last compared, ISO 8601 in UTC; empty for never."""
    version: int = -1
    """Version of the Delta table that the load made."""

    @property
    def sequence(self) -> int:
        """The batch's number."""
        return int(self.batch_id)


def application_id(table: TableName) -> str:
    """The Delta transaction id's application for loads of a bronze table."""
    return "datong:{}:{}".format(*system_and_entity(table))


def open_table(table: TableName) -> DeltaTable | None:
    """The Delta table, or None when there is none yet. ServiceError when the store can't be reached."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        return DeltaTable(settings().table_uri(table), storage_options=settings().storage_options())
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        raise ServiceError(
            f"table {table}",
            f"cannot be opened in the store at {settings().s3_endpoint or 'AWS'}: {error}",
            "run `datong doctor`, then `datong up`.",
        ) from error


def last_checkpoint(table: TableName) -> int | None:
    """The version of a table's newest checkpoint, or None when there is none."""
    found = [int(match[1]) for key in storage.keys(f"{table.path}/_delta_log/") if (match := _CHECKPOINT.search(key))]
    return max(found, default=None)


_content: dict[tuple[str, int], int] = {}
_last: dict[tuple[str, int], Loaded] = {}
_KNOWN = 4096


def content_version(delta: DeltaTable) -> int:
    """The version since which the open table holds the same rows: upkeep makes versions that change none."""
    place = (str(delta.metadata().id), delta.version())
    if place not in _content:
        if len(_content) > _KNOWN:
            _content.clear()
        _content[place] = _content_version(delta)
    return _content[place]


def _content_version(delta: DeltaTable) -> int:
    for limit in (1, 100):
        for entry in delta.history(limit):
            if entry.get("operation") not in UPKEEP:
                return int(entry["version"])
    return delta.version()


def _loaded(entry: dict[str, Any]) -> Loaded | None:
    text = entry.get(METADATA_KEY)
    if not text:
        return None
    content = json.loads(text)
    if "batch_id" not in content:
        return None
    known = {item.name for item in fields(Loaded)} - {"version"}
    return Loaded(**{name: value for name, value in content.items() if name in known}, version=entry["version"])


def loads(table: TableName, limit: int | None = None) -> list[Loaded]:
    """The loads of a bronze table, newest first, as far back as its log reaches."""
    delta = open_table(table)
    entries = delta.history(limit) if delta else []
    return [loaded for entry in entries if (loaded := _loaded(entry))]


def loads_of(table: TableName, batches: Collection[str]) -> dict[str, Loaded]:
    """The loads of these batches, by batch, as far as the last commits tell them: each entry is a request."""
    delta = open_table(table) if batches else None
    found: dict[str, Loaded] = {}
    # another run can have committed meanwhile, but seldom
    for limit in (len(batches) + 1, 2 * len(batches) + 20):
        entries = delta.history(limit) if delta else []
        loaded = [one for entry in entries if (one := _loaded(entry)) and one.batch_id in batches]
        found = {one.batch_id: one for one in loaded}
        if len(found) == len(set(batches)) or len(entries) < limit:
            break
    return found


@dataclass(frozen=True)
class Committed:
    """A version of a bronze table, as its entry in the log tells it."""

    loaded: Loaded | None
    """The load that made it; None when something else did."""
    added_rows: int
    """The rows that it added, by the counts of its files: how a commit was made decides whether its metrics say
    anything."""
    etag: str
    """The store's mark of the entry."""


def committed(table: TableName, version: int) -> Committed | None:
    """What a version of the table is, read from its entry alone; None when the log has that no more."""
    found = storage.opened(f"{table.path}/_delta_log/{version:020d}.json")
    if found is None:
        return None
    etag, pieces = found
    rows, loaded = 0, None
    for line in b"".join(pieces).splitlines():
        action = json.loads(line) if line else {}
        if added := action.get("add"):
            rows += json.loads(added.get("stats") or "{}").get("numRecords", 0)
        if said := action.get("commitInfo"):
            loaded = _loaded({**said, "version": version})
    return Committed(loaded, rows, etag)


def watermark(table: TableName, delta: DeltaTable | None) -> Loaded | None:
    """The newest load of the open table `delta`; None when nothing was loaded yet."""
    if delta is None:
        return None
    version = _version(delta)
    if known := _last.get(version):
        return known
    found = _watermark(table, delta)
    if found is not None:
        _remember(version, found)
    return found


def _version(delta: DeltaTable) -> tuple[str, int]:
    """What no commit changes any more: a table as it is at a version."""
    return str(delta.metadata().id), delta.version()


def _remember(version: tuple[str, int], last: Loaded) -> None:
    if len(_last) > _KNOWN:
        _last.clear()
    _last[version] = last


def loaded_now(delta: DeltaTable, loaded: Loaded) -> None:
    """The version that the open table is at was made by this load."""
    _remember(_version(delta), loaded)


def last_batch(table: TableName, delta: DeltaTable) -> int:
    """The number of the last batch loaded into the open table, 0 for none."""
    known = _last.get(_version(delta))
    return known.sequence if known else delta.transaction_version(application_id(table)) or 0


def _watermark(table: TableName, delta: DeltaTable) -> Loaded | None:
    last = delta.transaction_version(application_id(table))
    if last is None:
        return None
    # upkeep and repairs commit too, so the newest entry need not be a load
    for limit in (1, 50):
        for entry in delta.history(limit):
            loaded = _loaded(entry)
            if loaded and loaded.sequence == last:
                return loaded
    manifest = landing.read_manifest(*system_and_entity(table), last)
    if manifest is None:
        raise ServiceError(
            f"table {table}",
            f"was loaded up to batch {landing.batch_id(last)}, but neither its log nor the landing zone says how far "
            "that reached.",
            "start a new baseline: `python -m datong_ingestion SYSTEM ENTITY --baseline`.",
        )
    return as_loaded(manifest)


def as_loaded(manifest: landing.Manifest) -> Loaded:
    """The load of a batch as its manifest tells it; deletes that only its key set told are not counted."""
    return Loaded(
        batch_id=manifest.batch_id,
        mode=manifest.mode,
        kind=manifest.kind,
        position=manifest.position_after,
        content_hash=manifest.content_hash,
        rows=manifest.row_count - manifest.deleted_rows,
        deletes=manifest.deleted_rows,
        rescued=manifest.rescued_rows,
        contract_version=manifest.contract_version,
        started_at=manifest.started_at,
        finished_at=manifest.finished_at,
        refused=manifest.refused_rows,
        events=manifest.events,
        keys_read_at=manifest.keys_read_at,
    )
