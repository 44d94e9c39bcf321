"""Facts of Delta tables as Dagster metadata, read from their logs: no query, no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datong_platform.names import TableName

if TYPE_CHECKING:
    import dagster as dg
    from datong_platform.lake.table_log import Log


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
    from datong_platform.lake import table_log, upkeep

    found = table_log.read(table)
    if found is None:
        return None
    if built:
        upkeep.after_table(table, found.version)
    return TableFacts(
        rows=found.rows,
        bytes=found.bytes,
        version=found.content_version,
        identity=_identity(found),
        columns=found.columns,
    )


def identity(table: TableName) -> tuple[str, str] | None:
    """The identity of a table as it is now and a fingerprint of its columns, or None where there is none."""
    from datong_platform.lake import table_log

    found = table_log.read(table)
    return None if found is None else (_identity(found), found.schema_digest)


def _identity(found: Log) -> str:
    return f"{found.delta_id}@{found.content_version}"
