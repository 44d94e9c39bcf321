"""A bronze table as a side of a comparison: the state of its records, asked for in aggregates through the engine.

The state of a record is its last row in the change log, unless that deletes it. A row that its own field marks as
deleted still lies in the source, so it counts here as well. From SQL that runs on Sail and on Spark alike; the table is
never read into this process, but for the keys of windows that disagree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from datong_platform import engine
from datong_platform.errors import ServiceError
from datong_platform.names import BATCH_ID, OPERATION, TableName
from datong_platform.quality.compare import BY
from datong_platform.quality.windows import Totals, Window


@dataclass(frozen=True)
class LakeTable:
    """A bronze table, and what of it is compared."""

    table: TableName
    schema: pa.Schema
    """Its fields in the lake's types."""
    keys: tuple[str, ...]
    sums: tuple[str, ...] = ()
    events: bool = False
    """Every row counts, also when its key comes again."""
    deleted_by: str = ""
    """The field that marks a row as deleted while it still lies in the source."""
    deleted_values: tuple[str, ...] = ()
    left_out: frozenset[str] = frozenset()
    """Keys of rows that do not count."""

    def without(self, keys: Collection[str]) -> LakeTable:
        """This table without the rows of these keys; itself where their types are not the same text everywhere."""
        if not can_digest([self.schema.field(name).type for name in self.keys]):
            return self
        return replace(self, left_out=self.left_out | frozenset(keys))

    def bounds(self, window: Window) -> tuple[Any, Any]:
        """The least and the greatest value of a window's field; (None, None) for an empty table."""
        rows = self._asked(f"select min({BY}) as low, max({BY}) as high from ({self._state(window)}) as state")
        return (rows[0]["low"], rows[0]["high"]) if rows else (None, None)

    def totals(self, windows: Sequence[Window]) -> list[Totals]:
        """In one statement: from one moment."""
        if not windows:
            return []
        told: dict[int, Totals] = {}
        cases = " ".join(f"when {self._condition(window)} then {index}" for index, window in enumerate(windows))
        sums = "".join(
            f", cast(sum(cast({quoted(name)} as decimal(38, {self._scale(name)}))) as string) as s{index}"
            for index, name in enumerate(self.sums)
        )
        digest = f", cast({self._digest()} as string) as digest" if self._digests() else ""
        statement = (
            f"select which, count(*) as n{sums}{digest} from (select *, case {cases} end as which "
            f"from ({self._state(windows[0])}) as state) as placed where which is not null group by which"
        )
        for row in self._asked(statement):
            told[row["which"]] = Totals(
                row["n"],
                {name: Decimal(row[f"s{index}"] or 0) for index, name in enumerate(self.sums)},
                Decimal(row["digest"] or 0) if digest else None,
            )
        nothing = Totals(0, dict.fromkeys(self.sums, Decimal(0)), Decimal(0) if digest else None)
        return [told.get(index, nothing) for index in range(len(windows))]

    def listed(self, window: Window) -> Iterator[pa.Table]:
        """Keys, the window's field and the summed fields of its rows."""
        names = dict.fromkeys([*self.keys, *self.sums])
        columns = ", ".join([*(quoted(name) for name in names), BY])
        sql = f"select {columns} from ({self._state(window)}) as state where {self._condition(window)}"
        yield self._table(sql)

    def _state(self, window: Window) -> str:
        by = (window.by if window.is_expression else quoted(window.by)) if window.by else "cast(null as int)"
        wanted = dict.fromkeys([*self.keys, *self.sums])
        columns = ", ".join([*(quoted(name) for name in wanted), f"{by} as {BY}"])
        marked = f", {quoted(self.deleted_by)} as _mark" if self.deleted_by else ""
        living = f"{OPERATION} <> 'delete'"
        if self.deleted_by:
            values = ", ".join(text_literal(value.lower()) for value in self.deleted_values)
            living = f"({living} or lower(cast(_mark as string)) in ({values}))"
        if self.left_out:
            living += f" and {self._key_text()} not in ({', '.join(map(text_literal, sorted(self.left_out)))})"
        if self.events or not self.keys:
            return f"select * from (select {columns}{marked}, {OPERATION} from {self.table}) as every where {living}"
        keys = ", ".join(quoted(name) for name in self.keys)
        aged = f"row_number() over (partition by {keys} order by {BATCH_ID} desc) as _age"
        return (
            f"select * from (select {columns}{marked}, {OPERATION}, {aged} from {self.table}) as aged "
            f"where _age = 1 and {living}"
        )

    def _condition(self, window: Window) -> str:
        if not window.by:
            return "true"
        if window.is_null:
            return f"{BY} is null"
        parts = [f"{BY} >= {literal(window.low)}"] if window.low is not None else []
        parts += [f"{BY} < {literal(window.high)}"] if window.high is not None else []
        return " and ".join(parts) or f"{BY} is not null"

    def _scale(self, name: str) -> int:
        kind = self.schema.field(name).type
        return kind.scale if pa.types.is_decimal(kind) else 0

    def _digests(self) -> bool:
        return bool(self.keys) and not self.events and can_digest([self.schema.field(name).type for name in self.keys])

    def _digest(self) -> str:
        return f"sum(cast(conv(substr(md5({self._key_text()}), 1, 15), 16, 10) as decimal(38, 0)))"

    def _key_text(self) -> str:
        parts = ", ".join(f"coalesce(cast({quoted(name)} as string), '')" for name in self.keys)
        return f"concat_ws('/', {parts})"

    def _asked(self, sql: str) -> list[dict[str, Any]]:
        return self._table(sql).to_pylist()

    def _table(self, sql: str) -> pa.Table:
        try:
            return engine.query(sql)
        except ServiceError:
            raise
        except Exception as error:
            said = str(error).strip().splitlines()
            raise ServiceError(
                f"table {self.table}",
                f"cannot be asked for its totals: {said[0] if said else type(error).__name__}.",
                "run `datong doctor`; if the engine was just started, `datong up` registers its tables.",
            ) from error


def can_digest(kinds: Sequence[pa.DataType]) -> bool:
    """Whether keys of these types are the same text in every database, so that their hashes can be compared."""
    return all(pa.types.is_string(kind) or pa.types.is_integer(kind) for kind in kinds)


def quoted(name: str) -> str:
    """A column's name that means itself, in the engine's SQL."""
    return f"`{name.replace('`', '``')}`"


def text_literal(text: str) -> str:
    """A text in the engine's SQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def literal(bound: Any) -> str:
    """A bound in the engine's SQL, whose session is in UTC."""
    if isinstance(bound, datetime):
        if bound.tzinfo:
            return f"timestamp '{bound.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'microseconds')}'"
        return f"timestamp_ntz '{bound.isoformat(' ', 'microseconds')}'"
    return f"date '{bound.isoformat()}'" if isinstance(bound, date) else str(bound)
