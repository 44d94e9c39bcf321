"""What reconciliation found, kept: `ops.reconciliation` (every comparison there was) and `ops.verified_through` (how
far each table is proven), both Delta tables written with delta-rs.

`ops.reconciliation` is only appended to. `ops.verified_through` holds one row for each table; a mark that a later
comparison refutes goes back, and the row says when and why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datong_platform import engine
from datong_platform.lake import commits, history
from datong_platform.lake.columns import UTC_TIMESTAMP, lake_type
from datong_platform.names import TableName
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

RECONCILIATION = TableName("ops", "reconciliation")
VERIFIED = TableName("ops", "verified_through")

_RECONCILIATION = pa.schema(
    [
        ("run_id", pa.string()),
        ("checked_at", UTC_TIMESTAMP),
        ("kind", pa.string()),
        ("name", pa.string()),
        ("source_system", pa.string()),
        ("entity", pa.string()),
        ("part", pa.string()),
        ("status", pa.string()),
        ("wrong", pa.string()),
        ("left_value", pa.string()),
        ("right_value", pa.string()),
        ("unit", pa.string()),
        ("facts", pa.int64()),
        ("different", pa.int64()),
        ("changed_since", pa.int64()),
        ("examples", pa.string()),
        ("bronze_batch", pa.string()),
        ("seconds", pa.float64()),
    ]
)
_VERIFIED = pa.schema(
    [
        ("source_system", pa.string()),
        ("entity", pa.string()),
        ("field", pa.string()),
        ("verified_through", pa.string()),
        ("rows_verified", pa.int64()),
        ("bronze_batch", pa.string()),
        ("verified_at", UTC_TIMESTAMP),
        ("checked_at", UTC_TIMESTAMP),
        ("went_back", pa.string()),
    ]
)


@dataclass(frozen=True)
class Entry:
    """One comparison: a window of an entity, or a balance."""

    kind: str
    """source (source and lake), layers, systems, or balance."""
    name: str
    status: str
    """agrees, changed since, open, differs, not connected, or not possible."""
    part: str = ""
    """The window, in words."""
    source_system: str = ""
    entity: str = ""
    wrong: str = ""
    left_value: str = ""
    right_value: str = ""
    unit: str = ""
    facts: int = 0
    different: int = 0
    changed_since: int = 0
    examples: Sequence[Mapping[str, Any]] = ()
    """The keys behind a difference, with what is wrong about each."""
    bronze_batch: str = ""
    seconds: float = 0


@dataclass(frozen=True)
class Mark:
    """How far a table is proven: every row of the source below `verified_through` is in the lake, and no other."""

    source_system: str
    entity: str
    field: str = ""
    """The field that windows are cut by; empty where the table is only compared whole."""
    verified_through: str = ""
    """A bound of that field, or the moment when the whole table agreed; empty for never."""
    rows_verified: int = 0
    bronze_batch: str = ""
    verified_at: datetime | None = None
    checked_at: datetime | None = None
    went_back: str = ""
    """Why the mark is lower than it once was."""


def append(run_id: str, entries: Iterable[Entry], checked_at: datetime | None = None) -> int:
    """Keep comparisons; returns how many."""
    moment = checked_at or datetime.now(UTC)
    rows = [
        {
            **asdict(entry),
            "examples": json.dumps(list(entry.examples), ensure_ascii=False, default=str),
            "run_id": run_id,
            "checked_at": moment,
        }
        for entry in entries
    ]
    if rows:
        table = pa.Table.from_pylist(rows, schema=_RECONCILIATION)
        commits.append(RECONCILIATION, opened(RECONCILIATION, _RECONCILIATION), table)
    return len(rows)


def mark(marks: Sequence[Mark]) -> None:
    """Replace the marks of tables; those of others stay."""
    if not marks:
        return
    rows = pa.Table.from_pylist([asdict(one) for one in marks], schema=_VERIFIED)

    def merge() -> None:
        (
            opened(VERIFIED, _VERIFIED)
            .merge(
                rows,
                predicate="held.source_system = new.source_system and held.entity = new.entity",
                source_alias="new",
                target_alias="held",
            )
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .execute()
        )

    engine.retry_conflicts(merge)


def marks(system: str | None = None) -> list[Mark]:
    """How far tables are proven, of one system or of all, in order."""
    found = [Mark(**row) for row in held(VERIFIED)]
    return sorted(
        (one for one in found if system in {None, one.source_system}), key=lambda one: (one.source_system, one.entity)
    )


def entries(run_id: str | None = None, *, name: str | None = None) -> list[dict[str, Any]]:
    """The comparisons of a run, by default the newest one of each name, each with its part; `examples` as a list."""
    rows = [row for row in held(RECONCILIATION) if name in {None, row["name"]}]
    if run_id is not None:
        rows = [row for row in rows if row["run_id"] == run_id]
    else:
        newest: dict[str, tuple[Any, str]] = {}
        for row in rows:
            at = (row["checked_at"], row["run_id"])
            newest[row["name"]] = max(newest.get(row["name"], at), at)
        rows = [row for row in rows if (row["checked_at"], row["run_id"]) == newest[row["name"]]]
    rows.sort(key=lambda row: (row["kind"], row["name"], row["checked_at"]))
    return [{**row, "examples": json.loads(row["examples"] or "[]")} for row in rows]


def create() -> None:
    """Make both tables where they are not there yet."""
    opened(RECONCILIATION, _RECONCILIATION)
    opened(VERIFIED, _VERIFIED)


def held(table: TableName) -> list[dict[str, Any]]:
    """The rows of one of quality's own tables; none when it is not there."""
    delta = history.open_table(table)
    if delta is None:
        return []
    found = delta.to_pyarrow_dataset().to_table()
    return pa.Table.from_arrays(
        [column.cast(lake_type(column.type)) for column in found.columns], names=found.column_names
    ).to_pylist()


def opened(table: TableName, schema: pa.Schema) -> DeltaTable:
    """One of quality's own tables, made when it is not there yet."""
    from deltalake import DeltaTable

    return history.open_table(table) or DeltaTable.create(
        settings().table_uri(table),
        schema,
        mode="ignore",
        configuration={"delta.logRetentionDuration": "interval 30 days"},
        storage_options=settings().storage_options(),
    )
