"""Exchanges that are late or out of the ordinary, noticed by the sync log alone: nobody sets a limit.

    not asked   a system, or a flow, is no longer run as often as it was
    silent      a source is asked and has told nothing for longer than it ever pauses
    volume      an exchange is much larger than those before; or a whole day was much larger or smaller than its like
    refused     a much larger share than usual could not be read
    queue       what waits (unverified write-backs, quarantine) grows from run to run

Pauses are measured in the time of the source itself: an hour counts as much as usually happens in it (in that hour of
the week, with less history of the day). So nights, weekends and a lunch break are no silence, and a pause on a Tuesday
at ten is noticed soon. With too little history nothing is said.

From rows of `ops.sync_log` to `Abnormal`; no engine, no access to the systems.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datong_platform.lake import history, sync_log
from datong_platform.lake.columns import compute
from datong_platform.lake.sync_log import SYNC_LOG, Entry, HopKind
from datong_platform.quality.anomalies import Arrival, volume

What = Literal["not asked", "silent", "volume", "refused", "queue"]

HISTORY = timedelta(days=60)
"""How far back the log is looked at."""
_LEAST_TIMES = 12
_LEAST_SPAN = 2 * 86400.0
"""Less history than this tells no rhythm."""
_HOUR = 3600.0
_WEEK_HOURS = 168
_DAY_HOURS = 24
_QUANTILE = 0.995
_TIMES_LARGER = 10
_LEAST_ROWS = 1000
_LEAST_REFUSED = 10
_LEAST_SHARE = 0.01
_LEAST_DAYS = 35
"""Five weeks: so there are four of each weekday before the one that is judged."""
_LEAST_QUEUE = 10
_LEAST_POINTS = 6
_NARROW = 1.4826
_FAR = 5.0

_BETWEEN = "\x1f"
_Place = tuple[str, str, str]
"""System, table and flow; what is not meant is empty."""
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Abnormal:
    """Something out of the ordinary. `table` or `flow` is empty where the whole system is meant, or all of them."""

    what: What
    system: str
    table: str
    flow: str
    words: str
    words_zh: str
    value: float
    """Hours of silence, rows, a share, or what waits."""
    limit: float
    """The most of it that is in order."""
    since: datetime | None = None
    """The last time that it was in order."""

    @property
    def subject(self) -> str:
        """The table, flow or system, as lineage names it; `exchange` where everything stands still."""
        if self.flow:
            return f"write_back.{self.flow}"
        return self.table or (f"system.{self.system}" if self.system else "exchange")


@dataclass(frozen=True)
class Rhythm:
    """How often something happens, learned from when it did."""

    times: _Floats
    """Seconds since 1970, in order."""
    hours: _Floats
    """How many times it happens in each hour of its cycle: the week, the day, or any hour at all."""
    limit: float
    """The longest pause in order, in the source's own time: 1 is the time in which it happens once."""

    @classmethod
    def learned(cls, times: _Floats) -> Rhythm | None:
        """The rhythm of times (seconds since 1970); None where they are too few or too near together to tell one."""
        seconds = np.unique(times)
        if len(seconds) < _LEAST_TIMES or seconds[-1] - seconds[0] < _LEAST_SPAN:
            return None
        span = (seconds[-1] - seconds[0]) / _HOUR
        cycle = _WEEK_HOURS if span >= 2 * _WEEK_HOURS else _DAY_HOURS
        counts = np.bincount((seconds // _HOUR).astype(np.int64) % cycle, minlength=cycle).astype(np.float64)
        # what happens at the turn of an hour falls now into the one, now into the other
        counts = 0.25 * np.roll(counts, 1) + 0.5 * counts + 0.25 * np.roll(counts, -1)
        made = cls(seconds, counts / max(span / cycle, 1.0), 0.0)
        pauses = np.sort(np.diff(made.own_time(seconds)))
        usual = float(pauses[int(_QUANTILE * (len(pauses) - 1))])
        return cls(seconds, made.hours, 0.5 + 1.5 * usual * (1 + 4 / len(pauses)))

    def own_time(self, at: _Floats) -> _Floats:
        """Moments in the source's own time: how often it should have happened until then."""
        first, last = int(min(at[0], self.times[0]) // _HOUR), int(max(at[-1], self.times[-1]) // _HOUR) + 1
        grid = np.arange(first, last + 1)
        passed = np.concatenate([[0.0], np.cumsum(self.hours[grid[:-1] % len(self.hours)])])
        return np.interp(at, grid * _HOUR, passed)

    def silence(self, now: datetime) -> float:
        """How long nothing happened, as a share of the longest pause in order: above 1 is out of the ordinary."""
        last, this = self.own_time(np.array([self.times[-1], max(now.timestamp(), self.times[-1])]))
        return float(this - last) / self.limit

    @property
    def last(self) -> datetime:
        """When it happened last."""
        return _moment(self.times[-1])


@dataclass(frozen=True)
class Series:
    """What one kind of hop did to one table, or for one flow, in the order of time."""

    hop: HopKind
    system: str
    table: str
    flow: str
    at: _Floats
    """When, in seconds since 1970; also when it failed."""
    rows: _Floats
    """Rows that came; of a build the rows that the table has, of a plan those that are to be written back."""
    refused: _Floats
    failed: _Floats
    """1 where it did not go through, else 0."""

    @property
    def place(self) -> _Place:
        """What it speaks of."""
        return self.system, self.table, self.flow


def judged(now: datetime | None = None, known: Collection[str] | None = None) -> list[Abnormal]:
    """All that is out of the ordinary now, by the sync log. ServiceError when the store cannot be reached.

    `known` are the bronze tables and flows (`write_back.<flow>`) that are defined; nobody waits for others.
    """
    now = now or datetime.now(UTC)
    return judge([one for one in _history(now) if _is_known(one, known)], now)


def _is_known(one: Series, known: Collection[str] | None) -> bool:
    if known is None or not (one.flow or one.table.startswith("bronze.")):
        return True
    return (f"write_back.{one.flow}" if one.flow else one.table) in known


_kept: dict[str, tuple[str, list[Series]]] = {}


def _history(now: datetime) -> list[Series]:
    """What to judge by; kept until the log changes, for this is asked every minute.

    Ten minutes are one point: of a stream, which is told every minute, that is enough to tell its rhythm.
    """
    log = history.open_table(SYNC_LOG)
    if log is None:
        return []
    place, state = log.table_uri, f"{log.metadata().id}@{log.version()}"
    if _kept.get(place, ("", []))[0] != state:
        since = int((now - HISTORY).timestamp() * 1_000_000)
        failed = "min(case when outcome in ('failed', 'interrupted') then 1 else 0 end)"
        rows = sync_log.query(
            "select hop, coalesce(system, '') as system, coalesce(table_name, '') as table_name, "
            "coalesce(flow, '') as flow, cast(max(ended_at) as bigint) / 1000000.0 as at, "
            "case when hop in ('build', 'plan') then coalesce(max(rows_out), 0) else sum(coalesce(rows_in, 0)) end "
            "as rows, "
            "case when hop = 'extract' then sum(coalesce(rows_refused, 0)) else max(coalesce(rows_refused, 0)) end "
            f"as refused, {failed} as failed from log where started_at >= to_timestamp_micros({since}) and "
            "(hop in ('extract', 'plan', 'verify') or "
            "(hop = 'build' and outcome = 'ok' and table_name like 'quarantine.%')) "
            "group by hop, system, table_name, flow, date_bin(interval '10 minutes', ended_at) order by at"
        )
        _kept[place] = state, _series(rows)
    return _kept[place][1]


def _series(rows: pa.Table) -> list[Series]:
    """Rows of the query above, which are in the order of time, by what they are of."""
    if not rows.num_rows:
        return []
    names = ["hop", "system", "table_name", "flow"]
    joined = compute.binary_join_element_wise(*(rows.column(name).cast(pa.string()) for name in names), _BETWEEN)
    encoded = joined.combine_chunks().dictionary_encode()
    numbers = encoded.indices.to_numpy()
    # stable: within a series the order of time stays
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(len(encoded.dictionary) + 1))
    columns = [rows.column(name).to_numpy().astype(np.float64)[order] for name in ("at", "rows", "refused", "failed")]
    found: list[Series] = []
    for number, key in enumerate(encoded.dictionary.to_pylist()):
        hop, system, table, flow = key.split(_BETWEEN)
        found.append(
            Series(hop, system, table, flow, *(column[bounds[number] : bounds[number + 1]] for column in columns))
        )
    return found


def series(entries: Sequence[Entry]) -> list[Series]:
    """The same from entries of the sync log, which are in the order of time."""
    rows = [
        {
            "hop": one.hop,
            "system": one.system or "",
            "table_name": one.table_name or "",
            "flow": one.flow or "",
            "at": one.ended_at.timestamp(),
            "rows": (one.rows_out if one.hop in {"build", "plan"} else one.rows_in) or 0,
            "refused": one.rows_refused or 0,
            "failed": int(one.outcome in {"failed", "interrupted"}),
        }
        for one in entries
    ]
    return _series(pa.Table.from_pylist(rows))


def judge(found: Sequence[Series], now: datetime) -> list[Abnormal]:
    """What is out of the ordinary by these series."""
    reads = [one for one in found if one.hop == "extract"]
    rhythms = {one.place: rhythm for one in reads if (rhythm := Rhythm.learned(one.at))}
    late = [
        *(told for one in reads if (told := _late_read(one, rhythms.get(one.place), now))),
        *(told for one in found if one.hop == "plan" and (told := _late_run(one, now))),
    ]
    are_late = {(one.system, one.table, one.flow) for one in late}
    return [
        *_rolled_up(late, list(rhythms)),
        # that a day brought little says nothing new of a source that was not asked
        *(told for one in reads if one.place not in are_late and (told := _odd_volume(one, now))),
        *(told for one in reads if (told := _odd_refusals(one))),
        *(told for one in found if one.hop in {"verify", "build"} and (told := _growing(one, found))),
    ]


def _late_read(one: Series, asked: Rhythm | None, now: datetime) -> Abnormal | None:
    if asked is not None and (share := asked.silence(now)) > 1:
        return _late("not asked", one.place, asked.last, now, share)
    if one.failed[-1]:
        # that it cannot be read is told with its reason
        return None
    told = Rhythm.learned(one.at[one.rows > 0])
    if told is not None and (share := told.silence(now)) > 1:
        return _late("silent", one.place, told.last, now, share)
    return None


def _late_run(one: Series, now: datetime) -> Abnormal | None:
    rhythm = Rhythm.learned(one.at)
    if rhythm is not None and (share := rhythm.silence(now)) > 1:
        return _late("not asked", one.place, rhythm.last, now, share)
    return None


def _late(what: What, place: _Place, last: datetime, now: datetime, share: float) -> Abnormal:
    system, table, flow = place
    hours = (now - last) / timedelta(hours=1)
    name = flow or table or system or "everything"
    name_zh = flow or table or system or "全部数据交换"
    moment = f"{last:%Y-%m-%d %H:%M} UTC"
    if what == "silent":
        words = f"{name} is asked and has told nothing new since {moment}, {hours:.1f} hours"
        words_zh = f"{name_zh} 自 {moment} 起 {hours:.1f} 小时无新数据"
    else:
        words = f"{name} was last {'run' if flow else 'asked'} at {moment}, {hours:.1f} hours ago"
        words_zh = f"{name_zh} 上次{'运行' if flow else '读取'}于 {moment}，已过 {hours:.1f} 小时"
    return Abnormal(
        what,
        system,
        table,
        flow,
        f"{words}; that is {share:.1f} times the longest pause in order at this time of the week.",
        f"{words_zh}，为此时段正常最长间隔的 {share:.1f} 倍。",
        round(hours, 2),
        round(hours / share, 2),
        last,
    )


def _rolled_up(late: Sequence[Abnormal], known: Sequence[_Place]) -> list[Abnormal]:
    """Where all that has a rhythm stands still, the system is named, or everything, and not every table of it.

    `known` are the tables that have a rhythm.
    """
    left = list(late)
    whole: list[Abnormal] = []
    for system in sorted({one.system for one in late if one.table}):
        mine = [one for one in left if one.system == system and one.table]
        if len(mine) >= 2 and len(mine) == sum(name == system for name, _, _ in known):
            left = [one for one in left if one not in mine]
            whole.append(_joined(mine, system))
    stopped = [one for one in whole if one.what == "not asked"]
    if len(stopped) >= 2 and {one.system for one in stopped} == {name for name, _, _ in known}:
        return [_joined(stopped, ""), *(one for one in [*whole, *left] if one.what != "not asked")]
    return [*whole, *left]


def _joined(mine: Sequence[Abnormal], system: str) -> Abnormal:
    newest = max(mine, key=lambda one: one.since or datetime.min.replace(tzinfo=UTC))
    what: What = "silent" if all(one.what == "silent" for one in mine) else "not asked"
    last, hours = newest.since or datetime.now(UTC), newest.value
    return _late(what, (system, "", ""), last, last + timedelta(hours=hours), hours / newest.limit)


def _odd_volume(one: Series, now: datetime) -> Abnormal | None:
    return _odd_exchange(one, now) or _odd_day(one, now)


def _odd_exchange(one: Series, now: datetime) -> Abnormal | None:
    """Whether the last exchange with rows, if it is of today, is far larger than any before."""
    came = one.rows > 0
    at, sizes = one.at[came], one.rows[came]
    if len(sizes) <= _LEAST_TIMES or now.timestamp() - at[-1] > 86400:
        return None
    before, last = sizes[:-1], float(sizes[-1])
    usual = float(np.median(before))
    # sizes of exchanges are spread over orders of magnitude
    spread = _NARROW * float(np.median(np.abs(np.log1p(before) - np.log1p(usual))))
    most = float(np.expm1(np.log1p(usual) + _FAR * spread))
    limit = max(usual * _TIMES_LARGER, most, 1.5 * float(before.max()), _LEAST_ROWS)
    if last <= limit:
        return None
    moment = f"{_moment(at[-1]):%Y-%m-%d %H:%M} UTC"
    return Abnormal(
        "volume",
        *one.place,
        f"the exchange at {moment} brought {last:,.0f} rows of {one.table}; usual are {usual:,.0f}, and up to "
        f"{limit:,.0f} in order.",
        f"{one.table} 在 {moment} 一次带来 {last:,.0f} 行；通常 {usual:,.0f} 行，最多 {limit:,.0f} 行属正常。",
        last,
        round(limit, 1),
        _moment(at[-2]),
    )


def _odd_day(one: Series, now: datetime) -> Abnormal | None:
    """Whether yesterday brought as many rows as its weekday does, of which there must be enough to compare with."""
    if not one.rows.any() or one.at[-1] - one.at[0] < _LEAST_DAYS * 86400:
        return None
    days = (one.at // 86400).astype(np.int64)
    first = int(days[0])
    sums = np.bincount(days - first, weights=one.rows)
    arrivals = [Arrival(_moment((first + n) * 86400), int(rows)) for n, rows in enumerate(sums) if rows]
    day = volume(arrivals, now)
    if day.ok:
        return None
    return Abnormal(
        "volume",
        *one.place,
        f"{one.table}: {day.words}.",
        f"{one.table}：昨日 {day.value:,.0f} 行；通常 {day.usual:,.0f} 行，{day.limit_low:,.0f} 至 "
        f"{day.limit_high:,.0f} 行属正常。",
        day.value,
        day.limit_high if day.verdict == "high" else day.limit_low,
    )


def _odd_refusals(one: Series) -> Abnormal | None:
    """Whether the last exchange with rows was refused to a far larger part than is usual."""
    came = one.rows > 0
    at, rows, refused = one.at[came], one.rows[came], one.refused[came]
    if len(rows) <= _LEAST_TIMES:
        return None
    usual, share = float(refused[:-1].sum() / rows[:-1].sum()), float(refused[-1] / rows[-1])
    limit = max(_LEAST_SHARE, 5 * usual)
    if refused[-1] < _LEAST_REFUSED or share <= limit:
        return None
    moment = f"{_moment(at[-1]):%Y-%m-%d %H:%M} UTC"
    return Abnormal(
        "refused",
        *one.place,
        f"{refused[-1]:,.0f} of {rows[-1]:,.0f} rows of {one.table} could not be read at {moment} ({share:.1%}; usual "
        f"are {usual:.2%}).",
        f"{one.table} 在 {moment} 的 {rows[-1]:,.0f} 行中有 {refused[-1]:,.0f} 行无法读取（{share:.1%}；通常 "
        f"{usual:.2%}）。",
        round(share, 4),
        round(limit, 4),
        _moment(at[-2]),
    )


def _growing(one: Series, found: Sequence[Series]) -> Abnormal | None:
    """Whether what waits is far more than it usually is, and rose each time that it changed of late."""
    at, sizes = one.at, one.rows if one.hop == "build" else one.refused
    if one.hop == "verify":
        # a run that found nothing to do left nothing waiting
        idle = [
            other.at[(other.rows == 0) & (other.failed == 0)]
            for other in found
            if other.hop == "plan" and other.place[2] == one.flow
        ]
        at = np.concatenate([at, *idle])
        sizes = np.concatenate([sizes, *(np.zeros(len(times)) for times in idle)])
        order = np.argsort(at, kind="stable")
        at, sizes = at[order], sizes[order]
    if len(sizes) < _LEAST_POINTS or sizes[-1] < _LEAST_QUEUE:
        return None
    changed = sizes[np.concatenate([[True], np.diff(sizes) != 0])][-3:]
    usual = float(np.median(sizes[:-3]))
    limit = max(3 * usual, float(_LEAST_QUEUE - 1))
    if sizes[-1] <= limit or len(changed) < 3 or (np.diff(changed) < 0).any():
        return None
    name = one.flow or one.table
    return Abnormal(
        "queue",
        *one.place,
        f"what waits in {name} grew to {sizes[-1]:,.0f} rows over the last runs; usual are {usual:,.0f}.",
        f"{name} 的积压在最近几次运行中增至 {sizes[-1]:,.0f} 行；通常 {usual:,.0f} 行。",
        float(sizes[-1]),
        limit,
        _moment(at[-4]),
    )


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(float(at), UTC)


def silences(now: datetime | None = None, known: Collection[str] | None = None) -> dict[_Place, float]:
    """How long each system's table, or flow, was not asked or run, as a share of the longest pause in order."""
    now = now or datetime.now(UTC)
    series = [one for one in _history(now) if one.hop in {"extract", "plan"} and _is_known(one, known)]
    learned = {one.place: Rhythm.learned(one.at) for one in series}
    return {place: rhythm.silence(now) for place, rhythm in learned.items() if rhythm is not None}


@dataclass(frozen=True)
class Failing:
    """A table whose last read or load did not go through."""

    system: str
    table: str
    words: str
    since: datetime
    """When it failed last."""


def failing(now: datetime | None = None) -> list[Failing]:
    """Tables whose last read or load failed, whoever ran it; after a week nobody asks any more."""
    since = int(((now or datetime.now(UTC)) - timedelta(days=7)).timestamp() * 1_000_000)
    rows = sync_log.query(
        "select system, table_name, words, ended_at from (select *, row_number() over (partition by system, table_name "
        f"order by ended_at desc, outcome) as place from log where started_at >= to_timestamp_micros({since}) and "
        "hop in ('extract', 'load')) as aged where place = 1 and outcome = 'failed' order by table_name"
    )
    return [
        Failing(row["system"] or "", row["table_name"] or "", row["words"] or "", row["ended_at"])
        for row in rows.to_pylist()
    ]
