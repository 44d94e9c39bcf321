"""What is out of the ordinary: a table that no longer gets rows, or gets many more or far fewer than it used to.

Judged against the table's own history, the loads in its Delta log, by medians: one odd day neither raises an alarm for
itself nor hides the next one. With too little history nothing is said, and that is told too.

From `history.loads` of a bronze table to `Anomaly`.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from datong_platform.lake import history
from datong_platform.names import TableName

_LEAST_DAYS = 7
"""Days of history without which a volume is not judged."""
_LEAST_GAPS = 8
"""Pauses between loads without which freshness is judged by the agreed hours alone."""
_NARROW = 1.4826
"""A median absolute deviation times this is a standard deviation, where values are normal."""
_FAR = 5.0
"""Deviations that are out of the ordinary."""
_LOADS = 400

Verdict = Literal["ordinary", "stale", "high", "low", "too little history"]


@dataclass(frozen=True)
class Arrival:
    """Rows that one load brought."""

    at: datetime
    rows: int
    is_whole: bool = False
    """A read of everything: it tells how large the entity is, and not what came."""


@dataclass(frozen=True)
class Anomaly:
    """A verdict on one table."""

    what: Literal["freshness", "volume"]
    verdict: Verdict
    value: float
    """Hours since the last rows; rows of the last whole day, or of the last whole read."""
    usual: float
    """The median of the like before."""
    limit_low: float
    limit_high: float
    words: str

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against it."""
        return self.verdict in {"ordinary", "too little history"}


def judged(table: TableName, hours: float, now: datetime | None = None) -> list[Anomaly]:
    """Freshness and volume of a bronze table; nothing when it was never loaded. `hours`: how old it may be."""
    arrivals = [
        Arrival(datetime.fromisoformat(load.finished_at), load.rows + load.deletes, load.kind != "changes")
        for load in history.loads(table, limit=_LOADS)
    ]
    if not arrivals:
        return []
    now = now or datetime.now(UTC)
    return [freshness(arrivals, hours, now), volume(arrivals, now)]


def freshness(arrivals: Sequence[Arrival], hours: float, now: datetime) -> Anomaly:
    """Whether the last rows are older than pauses of this table usually are, and than was agreed."""
    times = sorted(one.at for one in arrivals if one.rows)
    if not times:
        return Anomaly("freshness", "too little history", 0, 0, 0, hours, "it never had a row")
    gaps = sorted((later - earlier) / timedelta(hours=1) for earlier, later in itertools.pairwise(times))
    age = (now - times[-1]) / timedelta(hours=1)
    usual = statistics.median(gaps) if gaps else 0.0
    limit = hours
    if len(gaps) >= _LEAST_GAPS:
        # nights and weekends are among its pauses; twice the longest of the usual ones is out of the ordinary
        limit = max(hours, 2 * gaps[int(0.95 * (len(gaps) - 1))])
    verdict: Verdict = "stale" if age > limit else "ordinary"
    words = f"the last rows came {age:.1f} hours ago; a pause is usually {usual:.1f}, and up to {limit:.1f} in order"
    return Anomaly("freshness", verdict, round(age, 2), round(usual, 2), 0, round(limit, 2), words)


def volume(arrivals: Sequence[Arrival], now: datetime) -> Anomaly:
    """Whether the last whole day brought as many rows as days of its kind do; where every read is whole, whether the
    last one was as large as those before."""
    whole = [one for one in sorted(arrivals, key=lambda one: one.at) if one.is_whole]
    if len(whole) == len(arrivals):
        values, subject = [float(one.rows) for one in whole], "the last read"
        return _far(values[:-1], values[-1], subject, least=3)
    days: dict[date, int] = {}
    for one in arrivals:
        if not one.is_whole:
            days[one.at.date()] = days.get(one.at.date(), 0) + one.rows
    first, last = min(days), now.date() - timedelta(days=1)
    series = [(day, days.get(day, 0)) for day in (first + timedelta(days=n) for n in range((last - first).days + 1))]
    if len(series) < _LEAST_DAYS + 1:
        words = f"{len(series)} whole days of history; {_LEAST_DAYS + 1} are needed"
        return Anomaly("volume", "too little history", series[-1][1] if series else 0, 0, 0, 0, words)
    day, rows = series[-1]
    # a Sunday is compared with days off: with enough weeks with its own weekday, before that with all days
    alike = [float(count) for other, count in series[:-1] if other.weekday() == day.weekday()]
    before = alike if len(alike) >= 4 else [float(count) for _, count in series[:-1]]
    return _far(before, float(rows), f"{day.isoformat()}", least=4)


def _far(before: Sequence[float], value: float, subject: str, *, least: int) -> Anomaly:
    if len(before) < least:
        words = f"{len(before)} of the like before; {least} are needed"
        return Anomaly("volume", "too little history", value, 0, 0, 0, words)
    usual = statistics.median(before)
    spread = _NARROW * statistics.median(abs(one - usual) for one in before)
    # of a table that never varies a row more is no alarm: a fifth, and ten rows, is
    reach = max(_FAR * spread, usual / 5, 10.0)
    low, high = max(0.0, usual - reach), usual + reach
    verdict: Verdict = "high" if value > high else "low" if value < low else "ordinary"
    # where the usual is within reach of nothing, nothing at all is still out of the ordinary
    if verdict == "ordinary" and value == 0 and usual > 0 and min(before) > 0:
        verdict = "low"
    words = f"{subject} brought {value:,.0f} rows; usual are {usual:,.0f}, and {low:,.0f} to {high:,.0f} in order"
    return Anomaly("volume", verdict, value, usual, low, high, words)
