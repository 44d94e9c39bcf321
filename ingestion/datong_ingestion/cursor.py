"""Cursors: the time (or number) up to which an entity was read, as text in a table's log and as a value to ask with."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from datong_platform.lake.columns import compute

_AHEAD = timedelta(days=366)
"""A change dated further ahead than this is a typing error; as a cursor it would hide all later changes."""


def _horizon(kind: pa.DataType) -> Any:
    now = datetime.now(UTC) + _AHEAD
    if pa.types.is_date(kind):
        return now.date()
    return now if kind.tz else now.replace(tzinfo=None)


def later(position: str | None, column: Any) -> str | None:
    """The position after values of a column were read: the greatest of them and `position`."""
    kind = column.type
    if pa.types.is_temporal(kind):
        column = column.filter(compute.fill_null(compute.less_equal(column, pa.scalar(_horizon(kind), kind)), False))
    greatest = compute.max(column).as_py() if len(column) else None
    if greatest is None:
        return position
    if position is not None and value(position, kind) >= greatest:
        return position
    return greatest.isoformat() if isinstance(greatest, date) else str(greatest)


def value(position: str, kind: pa.DataType) -> Any:
    """A position as a value of the cursor's type."""
    if pa.types.is_timestamp(kind):
        moment = datetime.fromisoformat(position)
        return moment if kind.tz else moment.replace(tzinfo=None)
    if pa.types.is_date(kind):
        return date.fromisoformat(position[:10])
    if pa.types.is_integer(kind):
        return int(position)
    return Decimal(position) if pa.types.is_decimal(kind) else position


def start(position: str, kind: pa.DataType, overlap_seconds: float) -> Any:
    """Where to read from: the position less the overlap, which only times have. The bound is inclusive."""
    reached = value(position, kind)
    if isinstance(reached, datetime):
        return reached - timedelta(seconds=overlap_seconds)
    if isinstance(reached, date):
        return (datetime(reached.year, reached.month, reached.day) - timedelta(seconds=overlap_seconds)).date()
    return reached
