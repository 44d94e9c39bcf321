"""Windows, comparisons, anomalies and scores, without any service."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from datong_platform.errors import ConfigurationError
from datong_platform.quality import windows
from datong_platform.quality.anomalies import Arrival, freshness, volume
from datong_platform.quality.balances import DEFINITIONS, balances
from datong_platform.quality.compare import BY, FEW, Comparison, verified_through
from datong_platform.quality.windows import Totals, Window, planned

START = datetime(2026, 1, 1, tzinfo=UTC)


class Rows:
    """A side that holds its rows in memory, and remembers how many it listed."""

    def __init__(self, rows: dict[str, tuple[datetime | None, int]], *, digest: bool = True) -> None:
        self.rows, self.digest = rows, digest
        self.listed_rows = self.asked_windows = 0

    def _within(self, window: Window) -> dict[str, tuple[datetime | None, int]]:
        def fits(value: datetime | None) -> bool:
            if not window.by:
                return True
            if value is None or window.is_null:
                return value is None and window.is_null
            return (window.low is None or value >= window.low) and (window.high is None or value < window.high)

        return {key: row for key, row in self.rows.items() if fits(row[0])}

    def totals(self, asked: Sequence[Window], /) -> list[Totals]:
        self.asked_windows += len(asked)
        return [
            Totals(
                len(rows := self._within(window)),
                {"amount": Decimal(sum(amount for _, amount in rows.values()))},
                Decimal(sum(hash(key) % 10**9 for key in rows)) if self.digest else None,
            )
            for window in asked
        ]

    def listed(self, window: Window, /) -> Iterator[pa.Table]:
        rows = self._within(window)
        self.listed_rows += len(rows)
        yield pa.table(
            {
                "id": pa.array(list(rows), pa.string()),
                "amount": pa.array([amount for _, amount in rows.values()], pa.int64()),
                BY: pa.array([at for at, _ in rows.values()], pa.timestamp("us", "UTC")),
            }
        )


def many(count: int) -> dict[str, tuple[datetime | None, int]]:
    """Rows an hour apart."""
    return {f"{number:06d}": (START + timedelta(hours=number), number) for number in range(count)}


def compared(source: Rows, lake: Rows, settled: datetime) -> Any:
    first, last = START, START + timedelta(days=9000)
    comparison = Comparison(source, lake, ["id"], ["amount"], bounds=(first, last), settled=settled)
    return comparison.run(planned("at", first, settled, None))


@pytest.mark.parametrize("span", [timedelta(hours=3), timedelta(days=2), timedelta(days=90), timedelta(days=9000)])
@pytest.mark.parametrize("verified", [None, START + timedelta(hours=1), START + timedelta(days=40)])
def test_windows_hold_every_row_once_and_are_few(span: timedelta, verified: datetime | None) -> None:
    found = planned("at", START, START + span, verified)
    assert len(found) <= 30
    assert (found[0].low, found[-2].high, found[-1].is_null) == (None, None, True)
    for one, other in itertools.pairwise(found[:-1]):
        assert one.high == other.low
        assert one.low is None or one.low < one.high
    assert START + span in {one.high for one in found}


@pytest.mark.parametrize(("first", "last"), [(date(2020, 2, 28), date(2026, 3, 1)), (1, 7), (0, 10**9), (5, 5)])
def test_days_and_numbers_have_windows_too(first: Any, last: Any) -> None:
    found = planned("at", first, last, None)
    assert len(found) <= 30
    for one, other in itertools.pairwise(found[:-1]):
        assert one.high == other.low


def test_a_window_has_the_same_bounds_whatever_came_since() -> None:
    one = planned("at", START, START + timedelta(days=20), None)
    other = planned("at", START, START + timedelta(days=21), None)
    assert {window.high for window in one[:-3]} <= {window.high for window in other}


def test_what_was_verified_is_asked_for_as_one_window() -> None:
    found = planned("at", START, START + timedelta(days=90), START + timedelta(days=80))
    assert found[0] == Window("at", None, START + timedelta(days=80))


def test_a_difference_in_a_million_rows_is_found_by_halves() -> None:
    rows = many(200_000)
    lost = {key: row for key, row in rows.items() if key not in {"000777", "150000"}}
    source, lake = Rows(rows), Rows(lost)
    found = compared(source, lake, START + timedelta(hours=200_000))
    assert {item.key for one in found for item in one.findings} == {"000777", "150000"}
    assert source.listed_rows <= 4 * FEW
    assert source.asked_windows < 100


def test_one_row_more_and_one_less_are_not_taken_for_equal_without_a_digest_when_their_sums_differ() -> None:
    rows = many(100)
    other = {("x" if key == "000050" else key): (at, amount + (key == "000050")) for key, (at, amount) in rows.items()}
    source, lake = Rows(rows, digest=False), Rows(other, digest=False)
    found = compared(source, lake, START + timedelta(hours=100))
    assert {(item.key, item.problem) for one in found for item in one.findings} == {
        ("000050", "missing in lake"),
        ("x", "missing in source"),
    }


def test_the_mark_stops_at_the_first_window_that_differs_and_never_passes_what_is_settled() -> None:
    rows = many(24 * 20)
    lost = {key: row for key, row in rows.items() if key != "000240"}
    settled = START + timedelta(days=15)
    assert verified_through(compared(Rows(rows), Rows(rows), settled), settled) == settled
    reached = verified_through(compared(Rows(rows), Rows(lost), settled), settled)
    assert reached <= START + timedelta(days=10)


def test_a_row_that_moved_past_what_is_settled_was_changed_since_and_one_that_vanished_was_not() -> None:
    rows = many(100)
    settled = START + timedelta(hours=90)
    now = {**rows, "000010": (START + timedelta(hours=99), 10)}
    del now["000020"]
    found = compared(Rows(now), Rows(rows), settled)
    assert [(item.key, item.problem) for one in found for item in one.findings] == [("000020", "missing in source")]
    assert sum(one.changed_since for one in found) == 1


def test_every_balance_of_the_standard_can_be_read_and_has_a_chinese_title() -> None:
    found = balances()
    assert {"stock_is_what_moved", "ordered_is_delivered_plus_open", "debit_is_credit"} <= {one.name for one in found}
    assert all(one.title_zh for one in found)


def test_a_mistake_in_the_balances_names_the_place_and_what_to_do(tmp_path: Any) -> None:
    path = tmp_path / "reconciliation.yaml"
    path.write_text("balances:\n  - {name: x, kind: balance, title: T, checked_on: silver.x, keys: [a]}\n")
    with pytest.raises(ConfigurationError, match=r"left: Field required"):
        balances(path)
    path.write_text(DEFINITIONS.read_text().replace("$shop_floor_erp", "$shop_flor_erp", 1))
    with pytest.raises(ConfigurationError, match="shop_flor_erp"):
        balances(path)


def daily(rows: Sequence[int], *, whole: bool = False) -> list[Arrival]:
    """One load a day, the last one yesterday."""
    last = datetime(2026, 3, 20, 22, tzinfo=UTC)
    return [Arrival(last - timedelta(days=len(rows) - 1 - day), count, whole) for day, count in enumerate(rows)]


NOW = datetime(2026, 3, 21, 9, tzinfo=UTC)
USUAL = [1000, 1040, 980, 1010, 1023, 990, 1005, 1011, 976, 1030, 1002, 1018]


@pytest.mark.parametrize(
    ("last", "verdict"), [(1000, "ordinary"), (1190, "ordinary"), (2400, "high"), (300, "low"), (0, "low")]
)
def test_a_day_is_held_against_the_days_before(last: int, verdict: str) -> None:
    assert volume(daily([*USUAL, last]), NOW).verdict == verdict


def test_one_odd_day_before_does_not_move_what_is_usual() -> None:
    assert volume(daily([*USUAL[:6], 90_000, *USUAL[6:], 300]), NOW).verdict == "low"
    assert volume(daily([*USUAL[:6], 90_000, *USUAL[6:], 1000]), NOW).verdict == "ordinary"


def test_a_quiet_weekday_is_compared_with_its_like() -> None:
    # five working days and two quiet ones, for six weeks; the last day is a Friday, then a Sunday
    weeks = [1000, 1010, 990, 1005, 995, 20, 15] * 6
    friday = [*weeks, 1000, 1010, 990, 1005, 995]
    sunday = [*friday, 20, 15]
    assert volume(daily(friday), NOW).verdict == "ordinary"
    assert volume(daily(sunday), NOW).verdict == "ordinary"
    assert volume(daily([*friday[:-1], 15]), NOW).verdict == "low"


def test_a_table_that_is_read_whole_is_held_against_its_size() -> None:
    assert volume(daily([500, 503, 507, 510], whole=True), NOW).verdict == "ordinary"
    assert volume(daily([500, 503, 507, 40], whole=True), NOW).verdict == "low"


def test_too_little_history_is_said_and_is_no_alarm() -> None:
    found = volume(daily([1000, 20]), NOW)
    assert (found.verdict, found.ok) == ("too little history", True)
    assert "are needed" in found.words


def test_freshness_knows_the_pauses_of_a_table() -> None:
    hourly = [Arrival(NOW - timedelta(hours=hours), 5) for hours in range(3, 200)]
    assert freshness(hourly, 2, NOW).verdict == "stale"
    assert freshness(hourly, 24, NOW).verdict == "ordinary"
    # a table that gets rows on Mondays only is not stale on Thursday
    weekly = [Arrival(NOW - timedelta(days=3 + 7 * week), 5) for week in range(12)]
    assert freshness(weekly, 24, NOW).verdict == "ordinary"
    late = [Arrival(NOW - timedelta(days=20 + 7 * week), 5) for week in range(12)]
    assert freshness(late, 24, NOW).verdict == "stale"


def test_a_text_bound_is_read_back_as_it_was() -> None:
    for value, kind in [
        (START, pa.timestamp("us", "UTC")),
        (START.replace(tzinfo=None), pa.timestamp("us")),
        (date(2026, 2, 28), pa.date32()),
        (17, pa.int64()),
    ]:
        assert windows.from_text(windows.as_text(value), kind) == value
