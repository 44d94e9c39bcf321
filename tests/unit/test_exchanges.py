"""Exchanges out of the ordinary: noticed soon where something is wrong, and never where a plant only rests."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from datong_platform.lake.sync_log import Entry
from datong_platform.quality import exchanges
from datong_platform.quality.exchanges import Abnormal, Rhythm

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)


def _works(at: datetime) -> bool:
    """Two shifts, Monday to Saturday noon, with a lunch break."""
    if at.weekday() == 6 or (at.weekday() == 5 and at.hour >= 12):
        return False
    return 6 <= at.hour < 22 and at.hour != 12


def _read(at: datetime, table: str = "order", rows: int = 0, system: str = "mes", refused: int = 0) -> Entry:
    return Entry(
        "extract",
        system,
        table_name=f"bronze.{system}__{table}",
        started_at=at,
        ended_at=at,
        rows_in=rows,
        rows_refused=refused,
        outcome="ok" if rows else "nothing new",
    )


def _history(days: int, told: Callable[[datetime], int], *, system: str = "mes", table: str = "order") -> list[Entry]:
    """A read every half hour, some seconds late now and then; `told` are the rows of each."""
    dice = random.Random(7)
    moments = [MONDAY + n * HALF_HOUR + timedelta(seconds=dice.random() * 90) for n in range(48 * days)]
    return [_read(at, table, told(at), system) for at in moments]


def _plant(days: int) -> list[Entry]:
    """A plant that tells something in nine of ten reads while it works."""
    dice = random.Random(3)
    return _history(days, lambda at: dice.randint(20, 60) if _works(at) and dice.random() < 0.9 else 0)


def judge(entries: list[Entry], now: datetime) -> list[Abnormal]:
    return exchanges.judge(exchanges.series(entries), now)


def _upto(entries: list[Entry], at: datetime) -> list[Entry]:
    return [one for one in entries if one.ended_at <= at]


def _said(found: list[Abnormal]) -> list[tuple[str, str]]:
    return [(one.what, one.subject) for one in found]


def test_four_weeks_of_a_plant_with_nights_weekends_and_breaks_raise_no_alarm() -> None:
    entries = _plant(56)
    for n in range(0, 28 * 24, 5):
        now = MONDAY + timedelta(days=28, hours=n, minutes=20)
        assert _said(judge(_upto(entries, now), now)) == [], now


@pytest.mark.parametrize(
    ("stopped", "noticed_by"),
    [
        # Tuesday at ten: within the shift
        (timedelta(days=29, hours=10), timedelta(days=29, hours=13)),
        # Saturday evening: nobody misses anything before Monday's shift has begun
        (timedelta(days=33, hours=20), timedelta(days=35, hours=9)),
    ],
)
def test_a_source_that_falls_silent_is_noticed_within_its_working_hours(
    stopped: timedelta, noticed_by: timedelta
) -> None:
    at = MONDAY + stopped
    entries = [one if one.ended_at < at else replace(one, rows_in=0, outcome="nothing new") for one in _plant(42)]
    first = next(
        now
        for now in (at + n * HALF_HOUR for n in range(400))
        if _said(judge(_upto(entries, now), now)) == [("silent", "bronze.mes__order")]
    )
    assert at < first <= MONDAY + noticed_by
    assert _works(first - timedelta(hours=1))
    (found,) = judge(_upto(entries, first), first)
    assert found.value > found.limit
    assert "nothing new since" in found.words
    assert "无新数据" in found.words_zh


def test_a_source_that_is_asked_no_more_is_another_thing_than_one_that_is_silent() -> None:
    entries = _plant(28)
    now = entries[-1].ended_at + timedelta(hours=2)
    assert _said(judge(entries, now)) == [("not asked", "bronze.mes__order")]
    assert judge(entries, entries[-1].ended_at + timedelta(minutes=55)) == []


def test_a_source_that_cannot_be_read_is_neither_silent_nor_not_asked() -> None:
    entries = _plant(28)
    since = MONDAY + timedelta(days=22, hours=9)
    broken = [replace(one, rows_in=None, outcome="failed") if one.ended_at > since else one for one in entries]
    now = since + timedelta(hours=8)
    assert judge(_upto(broken, now), now) == []


def test_a_daily_source_is_late_after_a_day_and_a_half_and_not_before() -> None:
    entries = [_read(MONDAY + timedelta(days=n, hours=2), rows=100) for n in range(20)]
    last = entries[-1].ended_at
    assert judge(entries, last + timedelta(hours=25)) == []
    assert _said(judge(entries, last + timedelta(days=2, hours=3))) == [("not asked", "bronze.mes__order")]


def test_too_little_history_says_nothing() -> None:
    entries = [_read(MONDAY + n * HALF_HOUR, rows=5) for n in range(40)]
    assert judge(entries, MONDAY + timedelta(days=3)) == []
    assert Rhythm.learned(np.arange(11) * 86400.0) is None
    assert Rhythm.learned(np.arange(12) * 86400.0) is not None


def test_a_whole_system_that_stands_still_is_one_finding_and_all_systems_are_one() -> None:
    mes = [_history(14, lambda _: 5, table=name) for name in ("order", "event", "lot")]
    erp = [_history(14, lambda _: 5, system="erp", table=name) for name in ("material", "item")]
    now = max(one.ended_at for some in mes for one in some) + timedelta(hours=3)
    still = [_read(now - n * HALF_HOUR, name, 5, "erp") for name in ("material", "item") for n in (6, 5, 4, 3, 2, 1, 0)]
    both = [one for some in (*mes, *erp) for one in some]
    one_system = sorted([*both, *still], key=lambda one: one.ended_at)
    assert _said(judge(one_system, now)) == [("not asked", "system.mes")]
    everything = sorted(both, key=lambda one: one.ended_at)
    (found,) = judge(everything, now)
    assert (found.what, found.subject, found.system) == ("not asked", "exchange", "")
    assert 2.5 < found.value < 3.5


def test_a_flow_that_is_run_no_more_is_noticed() -> None:
    plans = [
        Entry("plan", "erp", "status_to_erp", started_at=at, ended_at=at, outcome="nothing new")
        for at in (MONDAY + n * HALF_HOUR for n in range(48 * 7))
    ]
    assert judge(plans, plans[-1].ended_at + timedelta(minutes=40)) == []
    found = judge(plans, plans[-1].ended_at + timedelta(hours=4))
    assert _said(found) == [("not asked", "write_back.status_to_erp")]


def test_an_exchange_far_larger_than_any_before_is_told_and_a_large_one_that_is_usual_is_not() -> None:
    entries = _plant(28)
    now = entries[-1].ended_at + timedelta(minutes=10)
    large = _read(now, rows=250_000)
    (found,) = judge([*entries, large], now)
    assert (found.what, found.value) == ("volume", 250_000)
    assert found.limit < 250_000
    usual = _history(28, lambda at: 250_000 if at.hour == 3 and at.minute < 30 else 50)
    assert judge([*usual, replace(large, rows_in=260_000)], now) == []


def test_a_day_with_a_tenth_of_its_rows_is_told() -> None:
    cut = MONDAY + timedelta(days=37)
    entries = [
        replace(one, rows_in=max(1, (one.rows_in or 0) // 10)) if one.rows_in and one.ended_at >= cut else one
        for one in _plant(39)
    ]
    now = MONDAY + timedelta(days=38, hours=1)
    (found,) = [one for one in judge(_upto(entries, now), now) if one.what == "volume"]
    assert found.value < found.limit
    assert "2026-04-08" in found.words


def test_refusals_are_told_when_their_share_is_far_from_usual() -> None:
    entries = _plant(28)
    now = entries[-1].ended_at
    assert judge([*entries, _read(now, rows=1000, refused=5)], now) == []
    (found,) = judge([*entries, _read(now, rows=1000, refused=400)], now)
    assert (found.what, found.value) == ("refused", 0.4)


@pytest.mark.parametrize(
    ("left", "is_told"),
    [
        ([0, 0, 1, 0, 2, 0, 14, 40, 90], True),
        ([0, 0, 1, 0, 2, 0, 14, 40, 90, 90, 90], True),
        ([0, 0, 1, 0, 2, 0, 90, 40, 14], False),
        ([80, 90, 85, 95, 88, 90, 91, 92, 93], False),
        ([0, 0, 0, 0, 0, 0, 1, 2, 3], False),
    ],
)
def test_what_waits_is_told_when_it_grows_beyond_what_usually_waits(left: list[int], is_told: bool) -> None:
    verified = [
        Entry("verify", "erp", "status_to_erp", ended_at=MONDAY + n * HALF_HOUR, rows_refused=count)
        for n, count in enumerate(left)
    ]
    found = judge(verified, MONDAY + len(left) * HALF_HOUR)
    assert _said(found) == ([("queue", "write_back.status_to_erp")] if is_told else [])
    kept = [
        Entry("build", table_name="quarantine.sales_order", ended_at=MONDAY + n * HALF_HOUR, rows_out=count)
        for n, count in enumerate(left)
    ]
    found = judge(kept, MONDAY + len(left) * HALF_HOUR)
    assert _said(found) == ([("queue", "quarantine.sales_order")] if is_told else [])
