"""Facts of Delta tables as Dagster metadata, read from their logs: no query, no engine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datong_platform.names import TableName
from datong_platform.settings import settings

if TYPE_CHECKING:
    import dagster as dg


@dataclass(frozen=True)
class TableFacts:
    """A Delta table as it is now: rows, bytes, version and columns (name to type)."""

    rows: int
    bytes: int
    version: int
    identity: str
    """Differs whenever the content may: the table's id, and the version since which it holds the same rows."""
    columns: Mapping[str, str]

    def metadata(self, described: dg.TableSchema | None = None) -> dict[str, Any]:
        """As metadata of a materialization; `described` lends its columns' descriptions."""
        import dagster as dg

        meaning = {column.name: column.description for column in described.columns} if described else {}
        columns = [dg.TableColumn(name, kind, meaning.get(name)) for name, kind in self.columns.items()]
        return {
            "dagster/row_count": self.rows,
            "dagster/column_schema": dg.TableSchema(columns),
            "size_bytes": self.bytes,
            "delta_version": self.version,
        }


def read(table: TableName, *, built: bool = False) -> TableFacts | None:
    """The facts of a table, or None where there is no Delta table (a view, or not built yet).

    One that was just `built` gets a checkpoint when its log has grown.
    """
    from datong_platform.lake import history, upkeep
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    now = settings()
    try:
        delta = DeltaTable(now.table_uri(table), storage_options=now.storage_options())
    except TableNotFoundError:
        return None
    if built:
        upkeep.sum_up(delta)
    files = delta.get_add_actions(flatten=True)
    rows, sizes = files.column("num_records").to_pylist(), files.column("size_bytes").to_pylist()
    return TableFacts(
        rows=sum(count or 0 for count in rows),
        bytes=sum(size or 0 for size in sizes),
        version=history.content_version(delta),
        identity=_identity(delta),
        columns={field.name: _type(field.type) for field in delta.schema().fields},
    )


def identity(table: TableName) -> tuple[str, str] | None:
    """The identity of a table as it is now and a fingerprint of its columns, or None where there is none."""
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    now = settings()
    try:
        delta = DeltaTable(now.table_uri(table), storage_options=now.storage_options())
    except TableNotFoundError:
        return None
    return _identity(delta), hashlib.sha256(delta.schema().to_json().encode()).hexdigest()[:24]


def _identity(delta: Any) -> str:
    from datong_platform.lake import history

    return f"{delta.metadata().id}@{history.content_version(delta)}"


def _type(kind: Any) -> str:
    return kind.type if hasattr(kind, "type") and isinstance(kind.type, str) and kind.type not in _NESTED else str(kind)


_NESTED = {"struct", "array", "map"}
