"""States of a record in bronze that a newer one took the place of: found, and taken out when they are past their time.

Bronze is a change log: each load appends what changed, and staging takes the last row of each record. How long the rows
before it stay is said in the source's definition (`retention: {history_days: 400}`); without a word, for ever. Never
taken out are the last row of a record (a delete included), rows without a whole key, and events, of which none replaces
another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from datong_platform.lake import history, landing
from datong_platform.names import BATCH_ID, INGESTED_AT, TableName, system_and_entity

if TYPE_CHECKING:
    from deltalake import DeltaTable

_SLICE = 100_000
"""States that are taken out together."""


@dataclass(frozen=True)
class Superseded:
    """Rows of a bronze table that later ones of the same record took the place of, too long ago."""

    keys: tuple[str, ...]
    rows: int
    states: pa.Table
    """Key and batch of each."""

    def slices(self) -> Iterator[pa.Table]:
        for begin in range(0, len(self.states), _SLICE):
            yield self.states.slice(begin, _SLICE)


def find(table: TableName, delta: DeltaTable, days: int) -> Superseded | None:
    """The rows whose record had a newer state `days` ago already; None when rows of the table replace no others.

    The last state of a record is never among them, a delete included, and no row without a whole key.
    """
    from deltalake import QueryBuilder

    keys = _keys(table, delta)
    if not keys:
        return None
    quoted = [f'"{name}"' for name in keys]
    whole = " and ".join(f"{name} is not null" for name in quoted)
    listed = ", ".join(quoted)
    limit = datetime.now(UTC) - timedelta(days=days)
    reader = (
        QueryBuilder()
        .register("bronze", delta)
        .execute(
            f"""
            select {listed}, batch, rows from (
                select *, lead(came) over (partition by {listed} order by batch) as replaced_at
                from (
                    select {listed}, "{BATCH_ID}" as batch, max("{INGESTED_AT}") as came, count(*) as rows
                    from bronze where {whole} group by {listed}, "{BATCH_ID}"
                )
            ) where replaced_at < timestamp '{limit:%Y-%m-%dT%H:%M:%S.%f}Z'
            """
        )
    )
    found = pa.RecordBatchReader.from_stream(reader).read_all()
    rows = sum(found.column("rows").to_pylist())
    return Superseded(keys, rows, found.drop_columns(["rows"]))


def remove(table: TableName, delta: DeltaTable, days: int) -> int:
    """Take superseded rows out of a bronze table; how many. DeltaError when another writer was faster.

    Each commit says so in the table's log; older versions keep the rows for as long as they can be read.
    """
    from deltalake import CommitProperties

    found = find(table, delta, days)
    if found is None or not found.rows:
        return 0
    same = " and ".join([*(f's."{name}" = t."{name}"' for name in found.keys), f's.batch = t."{BATCH_ID}"'])
    told = CommitProperties(custom_metadata={"datong_upkeep": f"states replaced more than {days} days ago"})
    removed = 0
    for states in found.slices():
        done = (
            delta.merge(states, same, source_alias="s", target_alias="t", commit_properties=told)
            .when_matched_delete()
            .execute()
        )
        removed += int(done["num_target_rows_deleted"])
    return removed


def _keys(table: TableName, delta: DeltaTable) -> tuple[str, ...]:
    """The fields that identify a record, as the last batch that was loaded has them; none when rows are events."""
    loaded = delta.transaction_version(history.application_id(table))
    manifest = landing.read_manifest(*system_and_entity(table), loaded) if loaded else None
    # a full read replaces every row of the table itself
    return tuple(manifest.keys) if manifest and manifest.mode != "full" else ()
