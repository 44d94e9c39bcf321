"""Runs struck at every step boundary end as if nothing had happened: the same content, nothing twice, nothing stuck.

A few strikes by default; every point and every kind of strike in the nightly lane, and `tests/faults/many_seeds.py` as
many seeds as one likes.
"""

from __future__ import annotations

import importlib
import os
import random
from collections.abc import Iterator, Sequence

import pytest
from kill_points import POINTS, STEPS, Strike, Victims, struck
from killed_lake import Lake
from random_strikes import FIRST_RUN_ONLY, by_seed, each_point

FEW: Sequence[Sequence[Strike]] = (
    (
        Strike("extract: after a page is taken in"),
        Strike("land: after the manifest is written"),
        Strike("load: before the batch is committed", 2),
        Strike("build: before people are let read"),
        Strike("send: after one change is sent", 30),
    ),
    (
        Strike("build: after dbt tells of a node", 3, "engine killed"),
        Strike("publish: after differences are applied", how="postgres killed"),
    ),
)
KINDS: Sequence[Sequence[Strike]] = (
    (
        Strike("load: before the batch is committed", how="store killed"),
        Strike("plan: after transitions are committed", 2, "store killed"),
    ),
    (
        Strike("load: before the landed batch is loaded", how="memory"),
        Strike("build: after dbt tells of a node", 3, "dbt killed"),
        Strike("send: before one change is sent", 5, "term"),
    ),
    # a small lake may do with what is left, so nothing follows these on their day
    (Strike("build: after dbt tells of a node", 3, "engine memory"),),
    (Strike("build: before people are let read", how="memory"),),
    (
        Strike("build: after dbt tells of a node", 3, "term"),
        Strike("publish: before differences are applied", how="postgres killed"),
        Strike("send: after one change is sent", 5, "postgres killed"),
    ),
)
FULL: Sequence[Sequence[Strike]] = (
    (Strike("extract: before the read is planned", how="disk"),),
    (
        Strike("load: before the batch is committed", how="disk"),
        Strike("build: after dbt tells of a node", 3, "disk"),
    ),
    (
        Strike("publish: before differences are applied", how="disk"),
        Strike("send: before one change is sent", 3, "disk"),
    ),
)


@pytest.fixture(scope="module")
def lake() -> Iterator[Lake]:
    with Lake() as made:
        yield made


def test_every_step_has_points_and_each_is_a_function_of_the_product() -> None:
    assert len(POINTS) >= 40
    assert {point.step for point in POINTS.values()} == set(STEPS)
    for name, point in POINTS.items():
        owner = importlib.import_module(point.module)
        for part in point.path.split("."):
            owner = getattr(owner, part, None)
        assert callable(owner), f"{name}: {point.module} has no {point.path} any more"


def test_a_strike_hits_the_call_of_its_number_and_leaves_everything_else_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from datong_platform.lake import storage

    real, told, written = storage.put, list[str](), list[str]()
    monkeypatch.setattr(storage, "put", lambda key, _body: written.append(key))
    monkeypatch.setattr(os, "kill", lambda _pid, number: told.append(f"signal {int(number)}, {len(written)} written"))
    with struck(Strike("land: after a data file is written", 2), Victims({}), told.append):
        for number in range(4):
            storage.put("ops/other", b"")
            storage.put(f"landing/x/{number}", b"")
    assert told == ["kill at land: after a data file is written (call 2)", "signal 9, 4 written"]
    assert len(written) == 8
    monkeypatch.undo()
    assert storage.put is real


@pytest.mark.slow
def test_runs_killed_at_steps_of_the_way_end_as_an_undisturbed_one(lake: Lake) -> None:
    dice = random.Random(7)
    for strikes in FEW:
        day = lake.day(dice, strikes)
        assert day.struck == len(strikes), f"not all of {[str(one) for one in strikes]} were reached: {day}"


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("strikes", KINDS, ids=lambda strikes: ", ".join(sorted({one.how for one in strikes})))
def test_runs_struck_in_every_way_end_as_an_undisturbed_one(lake: Lake, strikes: Sequence[Strike]) -> None:
    assert lake.day(random.Random(5), strikes).struck == len(strikes)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give the lake a disk of its own to fill")
def test_runs_on_a_disk_that_is_full_end_as_an_undisturbed_one_when_there_is_room_again() -> None:
    dice = random.Random(6)
    with Lake(disk=True) as lake:
        for strikes in FULL:
            assert lake.day(dice, strikes).struck == len(strikes)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_a_run_passes_every_point_and_killed_at_any_of_them_it_recovers(lake: Lake) -> None:
    dice = random.Random(8)
    passed = lake.passed(dice)
    missing = {name for name in POINTS if not passed[name]}
    assert missing <= FIRST_RUN_ONLY, f"no run passes {missing - FIRST_RUN_ONLY}"
    for strikes in each_point(dice, passed):
        assert lake.day(dice, strikes).struck


@pytest.mark.nightly
@pytest.mark.timeout(14400)
def test_many_seeds_of_strikes_of_every_kind_recover() -> None:
    hit = 0
    with Lake(disk=os.geteuid() == 0) as lake:
        lake.passed(random.Random(9))
        passed = lake.passed(random.Random(9))
        for seed in range(100):
            dice = random.Random(seed)
            hit += lake.day(dice, by_seed(dice, passed, disk=lake.disk)).struck
    assert hit >= 100
