"""Windows: ranges of a field that grows with time, in which two sides are asked for the same totals.

A window is half open, so that ranges side by side hold every row once. Their bounds lie on a fixed grid (hours, days,
weeks, or powers of ten): the same rows fall into the same window at every run, whatever came since.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from datong_platform.lake.columns import compute

_MOST = 24
"""Windows that one comparison is cut into, so that a source of counts alone is not asked a hundred times."""
_EPOCH = datetime(1970, 1, 5, tzinfo=UTC)
"""A Monday: weeks begin on one."""
_STEPS = (
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=7),
    timedelta(days=28),
    timedelta(days=364),
)


@dataclass(frozen=True)
class Window:
    """The rows whose value of `by` is at least `low` and below `high`; all rows where `by` is empty."""

    by: str = ""
    """A field, or an expression where `is_expression`."""
    low: Any = None
    high: Any = None
    is_null: bool = False
    """The rows that have no value."""
    is_expression: bool = False

    def __str__(self) -> str:
        if not self.by:
            return "all rows"
        if self.is_null:
            return f"{self.by} is empty"
        bounds = [f"from {as_text(self.low)}"] if self.low is not None else []
        bounds += [f"until {as_text(self.high)}"] if self.high is not None else []
        return f"{self.by} {' '.join(bounds)}" if bounds else f"{self.by} has a value"


@dataclass(frozen=True)
class Totals:
    """What one side says of a window: aggregates only."""

    rows: int
    sums: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    """Sums of numeric fields, exact; a side that gives none leaves them out."""
    digest: Decimal | None = None
    """The key set as a number: the sum of a hash of each key, whatever their order; None where a side gives none."""

    def disagreements(self, other: Totals) -> list[str]:
        """What both sides tell and tell differently, by name."""
        wrong = ["rows"] if self.rows != other.rows else []
        wrong += [name for name, value in self.sums.items() if name in other.sums and other.sums[name] != value]
        if self.digest is not None and other.digest is not None and self.digest != other.digest:
            wrong.append("keys")
        return wrong


def as_text(value: Any) -> str:
    """A bound as text: ISO 8601 for times."""
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else str(value)


def from_text(text: str, kind: pa.DataType) -> Any:
    """The bound that `as_text` wrote, as a value of the field's type; None for an empty text."""
    if not text:
        return None
    if pa.types.is_timestamp(kind):
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if kind.tz and moment.tzinfo else moment.replace(tzinfo=UTC if kind.tz else None)
    if pa.types.is_date(kind):
        return date.fromisoformat(text[:10])
    return int(text)


def can_be_cut(kind: pa.DataType) -> bool:
    """Whether ranges of a type can be cut in half: times, days and whole numbers."""
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_integer(kind)


def planned(by: str, first: Any, settled: Any, verified: Any, *, is_expression: bool = False) -> list[Window]:
    """The windows of a field whose least value is `first`: what was verified before in one, then on the grid up to
    `settled`, then what is open yet, and the rows without a value. Contiguous, and between them every row."""

    def window(low: Any, high: Any) -> Window:
        return Window(by, low, high, is_expression=is_expression)

    nulls = Window(by, is_null=True, is_expression=is_expression)
    if first is None or settled is None:
        return [window(None, None), nulls]
    begin = first if verified is None or verified < first else min(verified, settled)
    bounds = [bound for bound in _grid(begin, settled) if bound < settled]
    if verified is not None and verified >= first and begin < settled:
        bounds = [begin, *(bound for bound in bounds if bound > begin)]
    bounds = [*bounds, settled]
    edges = [None, *bounds, None]
    return [*(window(low, high) for low, high in itertools.pairwise(edges)), nulls]


def halves(window: Window, low: Any, high: Any) -> list[Window]:
    """A window as two; `low` and `high` stand in for a bound that it does not have. Empty when it cannot be cut."""
    low = window.low if window.low is not None else low
    high = window.high if window.high is not None else high
    if low is None or high is None or window.is_null or not window.by:
        return []
    if isinstance(low, datetime):
        # whole seconds: not every protocol can ask for finer ones
        middle = (low + (high - low) / 2).replace(microsecond=0)
    elif isinstance(low, date):
        middle = low + timedelta(days=(high - low).days // 2)
    else:
        middle = low + (high - low) // 2
    if not low < middle < high:
        return []
    return [replace(window, high=middle), replace(window, low=middle)]


def inside(window: Window, values: Any) -> pa.Array:
    """Which of a column's values lie in a window."""
    if window.is_null:
        return compute.is_null(values)
    mask = compute.is_valid(values)
    if window.low is not None:
        mask = compute.and_(mask, compute.greater_equal(values, pa.scalar(window.low, values.type)))
    if window.high is not None:
        mask = compute.and_(mask, compute.less(values, pa.scalar(window.high, values.type)))
    return compute.fill_null(mask, False)


def just_after(value: Any) -> Any:
    """A value above it, of its type."""
    if isinstance(value, datetime):
        return value.replace(microsecond=0) + timedelta(seconds=1)
    return value + timedelta(days=1) if isinstance(value, date) else value + 1


def _grid(first: Any, last: Any) -> Sequence[Any]:
    """Bounds on the grid from the one at or below `first` to `last`, in the smallest step that gives few of them."""
    if isinstance(first, datetime):
        start = _EPOCH if first.tzinfo else _EPOCH.replace(tzinfo=None)
        step = next((step for step in _STEPS if (last - first) / step <= _MOST), None)
        step = step or timedelta(days=364 * (1 + (last - first).days // (364 * _MOST)))
        low = start + (first - start) // step * step
        return [low + step * index for index in range(int((last - low) / step) + 1)]
    if isinstance(first, date):
        days = (last - first).days
        step = next((step.days for step in _STEPS if step.days and days / step.days <= _MOST), None)
        step = step or 364 * (1 + days // (364 * _MOST))
        offset = (first - _EPOCH.date()).days // step * step
        low = _EPOCH.date() + timedelta(days=offset)
        return [low + timedelta(days=step * index) for index in range((last - low).days // step + 1)]
    step = 10 ** max(0, len(str((last - first) // _MOST)) - 1)
    while (last - first) / step > _MOST:
        step *= 2
    low = first // step * step
    return list(range(low, last + 1, step))
