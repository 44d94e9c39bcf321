"""What Delta's log tells of a data file, so that readers can pass it over: its rows, nulls, and bounds of values.

Bounds are told only for types whose text in the log every reader takes alike (Delta protocol, "Per-file Statistics"):
a bound that is missing costs a reader time, one that is wrong costs it rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from datong_platform.lake.columns import compute

_LONGEST = 64
"""Bytes of a text above which it is no bound: the log holds it twice for each file."""


def delta_statistics(table: pa.Table, names: Sequence[str]) -> str:
    """The statistics of rows as the log of a Delta table has them, with bounds of the columns `names`."""
    least: dict[str, Any] = {}
    greatest: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for name in dict.fromkeys(names):
        if name not in table.column_names:
            continue
        column = table.column(name)
        nulls[name] = column.null_count
        if not _has_bounds(column.type) or column.null_count == len(column):
            continue
        low, high = _bounds(column)
        if low is not None and high is not None:
            least[name], greatest[name] = low, high
    return json.dumps(
        {"numRecords": len(table), "minValues": least, "maxValues": greatest, "nullCount": nulls}, ensure_ascii=False
    )


def _has_bounds(kind: pa.DataType) -> bool:
    tells = (pa.types.is_string, pa.types.is_integer, pa.types.is_date, pa.types.is_timestamp)
    return any(tell(kind) for tell in tells)


def _bounds(column: Any) -> tuple[Any, Any]:
    """The least and the greatest value in the words of the log; None where it is not to be told."""
    try:
        found = compute.min_max(column).as_py()
        return _word(found["min"], timedelta(0)), _word(found["max"], timedelta(microseconds=999))
    except (ValueError, OverflowError):
        # a time beyond the calendar that Python has
        return None, None


def _word(value: Any, rounding: timedelta) -> Any:
    if isinstance(value, str):
        return value if len(value.encode()) <= _LONGEST else None
    if isinstance(value, datetime):
        # the log knows milliseconds: the greatest is rounded up, or a reader would pass over what is in between
        moment = value + rounding
        if moment.tzinfo is None:
            return moment.isoformat(" ", "milliseconds")
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat("T", "milliseconds") + "Z"
    return value.isoformat() if isinstance(value, date) else value
