"""How a published table lies in PostgreSQL: the order of its rows, and its indexes.

Reports ask for a month and for a customer. Without an index each of them reads the whole table, and without an order an
index for a month reads nearly every page, because each page has a row of that month.

- **Order.** A table that is built anew is written in the order of one date (`cluster_by`, else its first date), a chunk
  of CHUNK_ROWS at a time: a month then lies together within each chunk, and memory stays that of a chunk however big
  the table is.
- **Indexes.** Those that the model's `meta.indexes` name. Where it names none they are derived, once a table has
  INDEXED_FROM rows: of each date, and of each column that names another record (`…_id`), unless it has few different
  values or is found by the key's index. A date whose values lie together gets BRIN, which is kilobytes and made by one
  look at the table; anything else a B-tree.

From Arrow rows and the columns' types to what `publish` writes. `meta.indexes: []` means none at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datong_platform.lake.indexes import Index

CHUNK_ROWS = 524_288
"""Rows that are put in order together: some hundred megabytes."""
INDEXED_FROM = 10_000
"""Rows from which an index is derived; a smaller table is read whole in a millisecond."""
FEWEST_VALUES = 20
"""Different values from which a column is worth an index: each of fewer means many of the table's pages."""
PAGES_PER_RANGE = 16
"""Pages that one entry of a BRIN index is for: fewer than usual, for rows come from several readers in turn."""
_BLOCK_ROWS = 1024
"""About the rows on these pages."""
_TOGETHER = 0.1
"""A block of rows spans at most this part of all values, on average, where values lie together."""


def clustered_by(named: str | None, schema: pa.Schema) -> str | None:
    """The column by which rows are put in order: the one named, else the first date; None when there is none."""
    if named is not None:
        return named or None
    return next((column.name for column in schema if _is_time(column.type)), None)


def can_order(kind: pa.DataType) -> bool:
    """Whether rows can be put in order by a column of this type."""
    return _is_time(kind) or pa.types.is_integer(kind)


def _is_time(kind: pa.DataType) -> bool:
    return pa.types.is_date(kind) or pa.types.is_timestamp(kind)


class Order:
    """Puts rows in order as they pass, a chunk at a time, and sees which dates lie together then."""

    def __init__(self, schema: pa.Schema, by: str | None) -> None:
        self._by = by
        self._spans = {column.name: _Span() for column in schema if _is_time(column.type)}

    def arranged(self, batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
        """The same rows, in pieces of at most `rows`."""
        if self._by is None:
            yield from batches
            return
        gathered: list[pa.RecordBatch] = []
        count = 0
        for batch in batches:
            gathered.append(batch)
            count += batch.num_rows
            if count >= CHUNK_ROWS:
                yield from self._chunk(gathered).to_batches(max_chunksize=rows)
                gathered, count = [], 0
        if gathered:
            yield from self._chunk(gathered).to_batches(max_chunksize=rows)

    def lies_together(self, column: str) -> bool:
        """Whether rows that lie together have nearly the same value of this date."""
        return column in self._spans and self._spans[column].is_narrow

    def _chunk(self, batches: Sequence[pa.RecordBatch]) -> pa.Table:
        table = pa.Table.from_batches(batches).combine_chunks()
        if self._by is not None:
            values = _numbers(table.column(self._by))
            span = _Span()
            span.see(values)
            # as it lies together already, moving every row would be for nothing
            if not span.is_narrow:
                table = table.take(pa.array(np.argsort(values, kind="stable")))
        for name, span in self._spans.items():
            span.see(_numbers(table.column(name).drop_null()))
        return table


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Dates and times as numbers that sort as they do, those that are missing last."""
    kind = column.type
    if pa.types.is_date32(kind):
        column = column.cast(pa.int32())
    numbers = column.cast(pa.int64())
    return pc.fill_null(numbers, np.iinfo(np.int64).max).to_numpy()


class _Span:
    """How far apart the values of a block of rows are, beside how far apart all are."""

    def __init__(self) -> None:
        self._of_blocks, self._blocks = 0.0, 0
        self._least: int | None = None
        self._greatest: int | None = None

    def see(self, values: np.ndarray) -> None:
        if not len(values):
            return
        starts = np.arange(0, len(values), _BLOCK_ROWS)
        high, low = np.maximum.reduceat(values, starts), np.minimum.reduceat(values, starts)
        self._of_blocks += float((high - low).sum())
        self._blocks += len(starts)
        least, greatest = int(low.min()), int(high.max())
        self._least = least if self._least is None else min(self._least, least)
        self._greatest = greatest if self._greatest is None else max(self._greatest, greatest)

    @property
    def is_narrow(self) -> bool:
        if self._least is None or self._greatest is None or self._greatest == self._least:
            return False
        return self._of_blocks / self._blocks <= _TOGETHER * (self._greatest - self._least)


@dataclass(frozen=True)
class Spread:
    """What PostgreSQL's statistics say of a column."""

    distinct: float
    """Different values; negative: their number divided by that of the rows."""
    correlation: float
    """How far the order of values is that of the rows, -1 to 1."""


def derived(
    columns: Mapping[str, str],
    key: Sequence[str],
    rows: int,
    spreads: Mapping[str, Spread],
    order: Order | None,
) -> list[Index]:
    """The indexes of a table whose model names none. `columns` with PostgreSQL's types; without the `order` in which
    the rows were written PostgreSQL's own statistics decide which dates lie together."""
    if rows < INDEXED_FROM:
        return []

    def values(name: str) -> float:
        spread = spreads.get(name)
        if spread is None:
            return 0
        return spread.distinct if spread.distinct >= 0 else -spread.distinct * rows

    # the key's own index finds its first column, and skips over one of few values to the next
    skipped = next((place for place, name in enumerate(key) if values(name) >= FEWEST_VALUES), len(key))
    found: list[Index] = []
    for name, kind in columns.items():
        is_time = kind == "date" or kind.startswith("timestamp")
        if name in key[: skipped + 1] or values(name) < FEWEST_VALUES or not (is_time or name.endswith("_id")):
            continue
        together = order.lies_together(name) if order else abs(spreads[name].correlation) > 1 - _TOGETHER
        found.append(Index((name,), "brin" if is_time and together else "btree"))
    return found
