"""What a synchronisation remembers, in Delta: what the systems agreed on last, and whose value was given up.

- `ops.agreed_<sync>`: for each thing the values that both systems were seen to hold, in the types of the serve table,
  with the batches that had been looked at (`<system>_batch_id`). Append-only; the highest `step` of a key counts, and
  what is out of date is dropped when it outweighs the rest. It is written only after both systems were read.
- `ops.two_way_conflict`: a row for each value that lost, written before the losing system is changed. A repeated run
  writes the same `conflict_id`, which counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
from datong_platform.errors import ConfigurationError
from datong_platform.lake import builds, history
from datong_platform.lake.patience import patiently
from datong_platform.names import TableName
from datong_platform.settings import settings

from datong_ingestion.two_way.config import SyncConfig

if TYPE_CHECKING:
    from deltalake import DeltaTable

CONFLICTS = TableName("ops", "two_way_conflict")
_COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "sync": (pa.string(), "Two-way synchronisation"),
    "key": (pa.string(), "The thing that both systems hold"),
    "field": (pa.string(), "The field, by its name in the standard"),
    "conflict_id": (pa.string(), "The same however often the conflict is recorded"),
    "why": (pa.string(), "owner: both changed it; first: they differed when they were first compared"),
    "winner": (pa.string(), "The system whose value counts, by the authority file"),
    "winner_value": (pa.string(), "That value, as text"),
    "loser": (pa.string(), "The system whose value was given up"),
    "loser_value": (pa.string(), "That value, as text"),
    "agreed_value": (pa.string(), "What both held before, as text; null when nothing was agreed"),
    "run_id": (pa.string(), "The run that decided"),
    "at": (pa.timestamp("us", "UTC"), "When, UTC"),
}
CONFLICT_SCHEMA = pa.schema(
    [pa.field(name, kind, metadata={"comment": words}) for name, (kind, words) in _COLUMNS.items()]
)
_TIDY_ABOVE = 50_000
"""Rows of history that are kept without a thought."""
_T = TypeVar("_T")


class Memory:
    """What one synchronisation remembers. ServiceError when the lake does not answer."""

    def __init__(self, sync: SyncConfig) -> None:
        self.sync = sync
        self.table = TableName("ops", f"agreed_{sync.sync}")
        self.source = builds.open_published(sync.table)
        present = pa.schema(self.source.schema().to_arrow())
        if missing := [name for name in sync.columns if name not in present.names]:
            raise ConfigurationError(
                f"two-way synchronisation {sync.sync}",
                f"needs columns that {sync.source} does not have: {', '.join(missing)}.",
                "mend its defs.yaml, or add them to the model and build again.",
            )
        first = next(iter(sync.systems))
        self.kinds = {name: _plain(present.field(f"{first}_{name}").type) for name in sync.fields}
        self._refuse_mixed(present)
        self._delta = self._open()
        self._conflicts: DeltaTable | None = None

    def _refuse_mixed(self, present: pa.Schema) -> None:
        one, other = self.sync.systems
        for name in self.sync.fields:
            kinds = [_plain(present.field(f"{system}_{name}").type) for system in (one, other)]
            if kinds[0] != kinds[1]:
                raise ConfigurationError(
                    f"two-way synchronisation {self.sync.sync}",
                    f"compares {one}_{name} ({kinds[0]}) with {other}_{name} ({kinds[1]}).",
                    f"cast both to one type in the model of {self.sync.source}.",
                )

    @property
    def schema(self) -> pa.Schema:
        """The columns of `ops.agreed_<sync>`."""
        fields = [
            pa.field("key", pa.string(), nullable=False, metadata={"comment": "The thing that both systems hold"}),
            pa.field("step", pa.int64(), nullable=False, metadata={"comment": "The highest of a key counts"}),
        ]
        for name, kind in self.kinds.items():
            fields += [
                pa.field(name, kind, metadata={"comment": "What both systems held last"}),
                pa.field(f"has_{name}", pa.bool_(), metadata={"comment": "Whether they agreed on it at all"}),
            ]
        for system in self.sync.systems:
            words = f"Batch of {system}'s row that was looked at"
            fields.append(pa.field(f"{system}_batch_id", pa.string(), metadata={"comment": words}))
        return pa.schema(
            [
                *fields,
                pa.field("run_id", pa.string(), metadata={"comment": "The run that saw it"}),
                pa.field("at", pa.timestamp("us", "UTC"), metadata={"comment": "When, UTC"}),
            ]
        )

    def _open(self) -> DeltaTable:
        from deltalake import DeltaTable, Schema

        now = settings()
        table = patiently(
            self.table,
            lambda: DeltaTable.create(
                now.table_uri(self.table),
                Schema.from_arrow(self.schema),
                mode="ignore",
                name=self.table.name,
                description=f"What the systems of {self.sync.sync} agreed on last; the highest step of a key counts",
                storage_options=now.storage_options(),
            ),
        )
        missing = [field for field in self.schema if field.name not in pa.schema(table.schema().to_arrow()).names]
        if missing:  # a field was added to the definition: nothing is agreed on it yet
            added = Schema.from_arrow(pa.schema(missing)).fields
            patiently(self.table, lambda: table.alter.add_columns(added))
            table.update_incremental()
        return table

    # ---- reading

    @property
    def _last(self) -> str:
        return (
            "(select * from (select *, row_number() over (partition by key order by step desc, at desc) as place"
            " from agreed) where place = 1)"
        )

    def take_as_agreed(self, run_id: str) -> int:
        """Remember, without asking the systems, the things that are new and equal in both as last read; how many."""
        one, other = self.sync.systems
        query = f"""
            select cast(s."{self.sync.key}" as varchar) as key, cast(1 as bigint) as step,
                {", ".join(f's."{one}_{name}" as "{name}", true as "has_{name}"' for name in self.sync.fields)},
                s."{one}_batch_id", s."{other}_batch_id", '{run_id}' as run_id
            from source s left join {self._last} a on cast(s."{self.sync.key}" as varchar) = a.key
            where a.key is null and {self._is_open} and {self._is_equal}
        """
        taken = 0
        for batch in self._stream(query):
            rows = pa.Table.from_batches([batch]).append_column(
                "at", pa.array([datetime.now(UTC)] * batch.num_rows, pa.timestamp("us", "UTC"))
            )
            self._append(rows.select(self.schema.names).cast(self.schema))
            taken += batch.num_rows
        return taken

    def news_count(self, also: Sequence[str], unsettled: Sequence[str]) -> int:
        """How many things `news` would give."""
        query = self._news(also, unsettled, "count(*)")
        return sum(batch.column(0)[0].as_py() for batch in self._stream(query))

    def news(
        self, also: Sequence[str], unsettled: Sequence[str], *, met_only: bool = False
    ) -> Iterator[list[dict[str, Any]]]:
        """The things to look at, a chunk of rows at a time, without holding them all.

        Those whose row, as last read, differs between the systems or from what was agreed, and was read anew by one of
        them since it was looked at last; those in `unsettled` when they were read anew; those in `also` always. A row
        has the serve table's columns, and what was agreed as `agreed_<field>` and `has_<field>`. `met_only`: without
        the things that are new and equal in both, which a run takes as agreed before it looks.
        """
        columns = ", ".join(
            [
                *(f's."{name}"' for name in self.sync.columns),
                "a.step as step",
                *(f'a."{name}" as "agreed_{name}", a."has_{name}" as "has_{name}"' for name in self.sync.fields),
            ]
        )
        rows: list[dict[str, Any]] = []
        query = self._news(also, unsettled, columns)
        if met_only:
            query += f" and not (a.key is null and {self._is_equal})"
        for batch in self._stream(query):
            for at in range(0, batch.num_rows, self.sync.chunk_rows):
                rows += batch.slice(at, self.sync.chunk_rows).to_pylist()
                while len(rows) >= self.sync.chunk_rows:
                    yield rows[: self.sync.chunk_rows]
                    rows = rows[self.sync.chunk_rows :]
        if rows:
            yield rows

    def _news(self, also: Sequence[str], unsettled: Sequence[str], columns: str) -> str:
        one, other = self.sync.systems
        differs = " or ".join(
            f'(s."{one}_{name}" is distinct from s."{other}_{name}") or not coalesce(a."has_{name}", false)'
            f' or (s."{one}_{name}" is distinct from a."{name}")'
            for name in self.sync.fields
        )
        read_anew = " or ".join(
            f'(s."{system}_batch_id" is distinct from a."{system}_batch_id")' for system in self.sync.systems
        )
        return f"""
            select {columns}
            from source s left join {self._last} a on cast(s."{self.sync.key}" as varchar) = a.key
            where {self._is_open}
                and ((({differs} or {self._is_one_of(unsettled)}) and ({read_anew})) or {self._is_one_of(also)})
        """

    def _is_one_of(self, keys: Sequence[str]) -> str:
        named = ", ".join("'" + key.replace("'", "''") + "'" for key in keys) or "null"
        return f'coalesce(cast(s."{self.sync.key}" as varchar) in ({named}), false)'

    @property
    def _is_equal(self) -> str:
        one, other = self.sync.systems
        return " and ".join(f'(s."{one}_{name}" is not distinct from s."{other}_{name}")' for name in self.sync.fields)

    @property
    def _is_open(self) -> str:
        return f's."{self.sync.open}"' if self.sync.open else "true"

    def _stream(self, query: str) -> Iterator[pa.RecordBatch]:
        from deltalake import QueryBuilder

        self._delta.update_incremental()
        asked = QueryBuilder().register("source", self.source).register("agreed", self._delta)
        for batch in patiently(self.sync.table, lambda: asked.execute(query)):
            yield pa.record_batch(batch)

    # ---- writing

    def remember(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Commit what was agreed, all rows or none."""
        if rows:
            self._append(pa.Table.from_pylist([dict(row) for row in rows], schema=self.schema))

    def _append(self, rows: pa.Table) -> None:
        from deltalake import write_deltalake

        patiently(self.table, lambda: write_deltalake(self._delta, rows, mode="append"))

    def tidy(self) -> None:
        """Drop what is out of date when it outweighs the rest; only while the synchronisation's lock is held."""
        from deltalake import QueryBuilder, write_deltalake

        self._delta.update_incremental()
        asked = QueryBuilder().register("agreed", self._delta)
        counted = pa.table(asked.execute("select count(*) as n, count(distinct key) as k from agreed")).to_pylist()[0]
        if counted["n"] - counted["k"] <= max(_TIDY_ABOVE, counted["k"]):
            return
        names = ", ".join(f'"{name}"' for name in self.schema.names)
        kept = pa.table(asked.execute(f"select {names} from {self._last}")).cast(self.schema)
        patiently(self.table, lambda: write_deltalake(self._delta, kept, mode="overwrite"))

    def tell(self, conflicts: Sequence[Mapping[str, Any]]) -> None:
        """Commit the values that are about to be given up."""
        from deltalake import DeltaTable, Schema, write_deltalake

        if not conflicts:
            return
        now = settings()
        if self._conflicts is None:
            self._conflicts = patiently(
                CONFLICTS,
                lambda: DeltaTable.create(
                    now.table_uri(CONFLICTS),
                    Schema.from_arrow(CONFLICT_SCHEMA),
                    mode="ignore",
                    name=CONFLICTS.name,
                    description="Values given up where both systems had changed a field; a conflict_id counts once",
                    storage_options=now.storage_options(),
                ),
            )
        table = self._conflicts
        rows = pa.Table.from_pylist([dict(row) for row in conflicts], schema=CONFLICT_SCHEMA)
        patiently(CONFLICTS, lambda: write_deltalake(table, rows, mode="append"))


def conflicts(sync: str | None = None, *, since: datetime | None = None, limit: int = 1000) -> list[dict[str, Any]]:
    """Values that were given up, the latest first, each once; of one synchronisation or all, since a moment (UTC)."""
    from deltalake import QueryBuilder

    table = history.open_table(CONFLICTS)
    if table is None:
        return []
    conditions = ["true"]
    if sync:
        conditions.append("sync = '" + sync.replace("'", "''") + "'")
    if since:
        conditions.append(f"at >= timestamp '{since.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')}'")
    query = f"""
        select {", ".join(CONFLICT_SCHEMA.names)} from (
            select *, row_number() over (partition by conflict_id order by at) as place from told
            where {" and ".join(conditions)}
        ) where place = 1 order by at desc, key, field limit {limit}
    """
    return pa.table(
        patiently(CONFLICTS, lambda: QueryBuilder().register("told", table).execute(query).read_all())
    ).to_pylist()


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type as the memory keeps it: views and large texts as texts."""
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else kind
