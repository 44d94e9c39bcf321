"""Many writers on the same tables, upkeep and readers beside them: every acknowledged commit is there, once.

Spark with the log store that Delta brings loses some in the same race; that it must is shown in test_spark_commits,
where two writers are made to meet.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from datong_platform import engine as engines
from datong_platform.settings import Settings, settings
from many_writers import Race

WRITERS, COMMITS = {"sail": 7, "delta-rs": 7, "spark": 6}, 200
"""The long race: 20 writers of 200 commits each."""
STOCK = {"delta-rs": 2, "spark": 6}
"""Among fourteen that are faster Spark hardly ever has its turn, and who never commits overwrites nobody."""


def test_sail_and_delta_rs_append_and_merge_side_by_side_and_lose_nothing(services: Settings, own_bucket: str) -> None:
    assert own_bucket
    sail = engines.session(services.need("engine_address"))
    race = Race(settings(), "race", {"sail": sail})
    tally = race.run({"sail": 3, "delta-rs": 3}, 6, readers=("delta-rs", "sail"))
    assert tally.is_whole, tally.words()
    assert tally.commits == 36, tally.words()
    assert min(tally.reads["delta-rs"], tally.reads["sail"]) > 0


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
@pytest.mark.timeout(7200)
def test_the_same_race_with_the_stock_log_store_of_spark_loses_commits(
    services: Settings, own_bucket: str, start_spark: Callable[..., AbstractContextManager[Any]]
) -> None:
    """The proof that the race finds what it looks for: it is run until the first loss is seen."""
    assert own_bucket
    # our log store stands for s3a only, so that s3 keeps Delta's own
    with start_spark("spark-stock", safe=("s3a",)) as stock:
        race = Race(settings(), "race_stock", {"spark": engines.session(stock.address)}, scheme="s3")
        tally = race.run(STOCK, COMMITS, until_lost=True, seconds=3600)
    print(tally.words())
    assert tally.lost, f"nothing was lost: {tally.words()}"
