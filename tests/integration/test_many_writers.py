"""Many writers on the same tables, upkeep and readers beside them: every acknowledged commit is there, once.

That the race finds a lost commit is shown twice: by writers that are made to lose and double some, and at night by
Spark with the log store that Delta brings, which loses some in the race that ours comes through. One such loss,
arranged to the request, is in test_spark_commits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from datong_platform import engine as engines
from datong_platform.lake import storage
from datong_platform.settings import Settings, settings
from many_writers import Commit, Kind, Race, Tally

WRITERS, COMMITS = {"sail": 7, "delta-rs": 7, "spark": 6}, 200
"""The long race: 20 writers of 200 commits each."""
APPENDERS = {"delta-rs": 2, "sail": 1, "spark": 2}
"""The race that Spark's own log store is to lose: few enough that Spark has its turn. Its writers hinder one another:
each reads what the others committed and tries the next version, so that four make fewer commits than one."""
ROUND, ROUNDS = 60, 5
"""Seconds, and how many such rounds the stock log store has to lose a commit in: it takes 6 to 45 seconds."""


def test_sail_and_delta_rs_append_and_merge_side_by_side_and_lose_nothing(services: Settings, own_bucket: str) -> None:
    assert own_bucket
    sail = engines.session(services.need("engine_address"))
    race = Race(settings(), "race", {"sail": sail})
    tally = race.run({"sail": 3, "delta-rs": 3}, 6, readers=("delta-rs", "sail"))
    assert tally.is_whole, tally.words()
    assert tally.commits == 36, tally.words()
    assert min(tally.reads["delta-rs"], tally.reads["sail"]) > 0


class _Careless(Race):
    """One of its commits goes wrong and is acknowledged all the same; upkeep would only get in the way."""

    def __init__(self, fault: str) -> None:
        super().__init__(settings(), fault, {})
        self._fault = fault

    def _keep_up(self) -> None:
        pass

    def _append(self, kind: Kind, writer: str, number: int) -> None:
        if (self._fault, number) != ("never_sent", 2):
            super()._append(kind, writer, number)
        if (self._fault, number) == ("sent_twice", 2):
            super()._append(kind, writer, number)

    def _merge(self, kind: Kind, writer: str, number: int, key: str) -> None:
        super()._merge(kind, writer, number, key)
        table = self._open("state")
        match (self._fault, number):
            case ("replaced", 3):
                # what a log store without a condition does: the next commit has the same version
                storage.delete(f"{self.tables['state'].path}/_delta_log/{table.version():020}.json")
            case ("merged_twice", 3):
                super()._merge(kind, writer, number, key)
            case ("stale_counter", 3):
                table.update(updates={"value": "value - 1"}, predicate=f"id = '{key}'")
            case ("no_counter", 5):
                table.delete(f"id = '{key}'")
            case _:
                pass


WRITER = "delta-rs-0"


@pytest.mark.parametrize(
    ("fault", "missing", "doubled", "counters", "loses"),
    [
        ("none", [], [], 0, False),
        ("never_sent", [(WRITER, 2)], [], 0, True),
        ("sent_twice", [], [(WRITER, 2)], 0, False),
        ("replaced", [(WRITER, 3)], [], 0, True),
        ("merged_twice", [], [], 1, False),
        ("stale_counter", [], [], 1, True),
        ("no_counter", [], [], 1, True),
    ],
)
def test_the_race_tells_what_was_lost_or_doubled(
    own_bucket: str, *, fault: str, missing: list[Commit], doubled: list[Commit], counters: int, loses: bool
) -> None:
    assert own_bucket
    tally = _Careless(fault).run({"delta-rs": 1}, 6, readers=())
    assert tally.failures == []
    assert tally.commits == 6
    assert (tally.missing, tally.doubled, len(tally.lost_updates)) == (missing, doubled, counters), tally.words()
    assert (tally.lost > 0) is loses, tally.words()
    assert tally.is_whole is (fault == "none"), tally.words()


@pytest.mark.parametrize(
    ("rows", "torn"),
    [
        ([("w", 0), ("w", 1)], []),
        ([("w", 0), ("w", 1), ("w", 2)], []),
        ([("w", 1)], ["sail saw log without ('w', 0)"]),
        ([("w", 0), ("w", 1), ("w", 1)], ["sail saw log with ('w', 1) twice"]),
    ],
)
def test_a_reader_that_sees_less_than_was_acknowledged_or_a_row_twice_is_told(
    rows: list[Commit], torn: list[str]
) -> None:
    tally = Tally()
    seen = [{"kind": "row", "writer": writer, "number": number, "value": 1} for writer, number in rows]
    assert tally.look("sail", "log", seen, {("w", 0), ("w", 1)}) is (not torn)
    assert tally.torn == torn


@pytest.mark.nightly
@pytest.mark.spark
@pytest.mark.timeout(7200)
def test_twenty_writers_of_three_kinds_make_two_hundred_commits_each(
    services: Settings, own_bucket: str, spark_services: Any
) -> None:
    assert own_bucket
    sessions = {
        "sail": engines.session(services.need("engine_address")),
        "spark": engines.session(spark_services.address),
    }
    race = Race(settings(), "race_long", sessions)
    tally = race.run(WRITERS, COMMITS, readers=("delta-rs", "sail", "spark"))
    print(tally.words())
    assert tally.is_whole, tally.words()
    assert tally.commits + sum(map(len, tally.gave_up.values())) == sum(WRITERS.values()) * COMMITS


@pytest.mark.nightly
@pytest.mark.spark
@pytest.mark.timeout(1500)
def test_a_race_in_which_the_stock_log_store_of_spark_loses_commits_costs_ours_none(
    services: Settings, own_bucket: str, start_spark: Callable[..., AbstractContextManager[Any]]
) -> None:
    """One Spark, one race: at addresses of `s3` with Delta's own log store, until commits are lost; then at those of
    `s3a` with ours, for a minute at least and for twice as long as the loss took."""
    assert own_bucket
    with start_spark("spark-stock", safe=("s3a",)) as engine:
        sessions = {
            "sail": engines.session(services.need("engine_address")),
            "spark": engines.session(engine.address),
        }

        def appends(name: str, scheme: str, *, seconds: float, until_lost: bool = False) -> Tally:
            race = Race(settings(), name, sessions, scheme=scheme)
            tally = race.run(APPENDERS, COMMITS * 10, merges=False, until_lost=until_lost, seconds=seconds)
            print(f"{name}: {tally.words()}")
            return tally

        # a new JVM takes tens of seconds for its first commits, in which nobody could meet it
        alone = Race(settings(), "race_alone", sessions).run({"spark": 1}, 5, merges=False)
        assert alone.is_whole, alone.words()
        stock: list[Tally] = []
        while len(stock) < ROUNDS and not any(tally.missing for tally in stock):
            stock.append(appends(f"race_stock_{len(stock)}", "s3", seconds=ROUND, until_lost=True))
        assert stock[-1].missing, (
            f"nothing was lost in {ROUNDS} rounds, so this race no longer shows that it finds a lost commit:\n"
            + "\n".join(tally.words() for tally in stock)
        )
        ours = appends("race_ours", "s3a", seconds=max(ROUND, 2 * sum(tally.seconds for tally in stock)))
    assert ours.is_whole, ours.words()
    assert ours.by_kind.keys() == APPENDERS.keys(), ours.words()
    assert ours.by_kind["spark"] >= stock[-1].by_kind["spark"], ours.words()
