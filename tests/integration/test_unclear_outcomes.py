"""A tenth of all changes with an unclear outcome, and a process that is killed again and again: none lost, none twice,
and the ledger says what the target's own change documents say. `tests/bench/unclear_outcomes.py` has the full size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from two_systems import Systems
from unclear_outcomes import posted_once, shown_stale

pytestmark = pytest.mark.usefixtures("services")


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systems]:
    found = Systems(tmp_path_factory.mktemp("unclear"))
    with pytest.MonkeyPatch.context() as patch:
        found.start(patch)
        yield found
    found.stop()


def test_changes_of_unclear_outcome_arrive_once_however_often_the_process_is_killed(systems: Systems) -> None:
    figures = posted_once(systems, 1000, share=0.3, kills=2, kill_after=(2, 5))
    assert figures.requests_struck
    # a fast machine may be done before it would be killed the second time
    assert figures.kills >= 1


def test_every_412_is_shown_in_the_ledger(systems: Systems) -> None:
    orders = systems.take(20)
    made, refused, shown = shown_stale(systems, orders, rounds=5)
    assert made == 100
    assert refused == shown


@pytest.mark.nightly
def test_a_hundred_thousand_changes_of_unclear_outcome_arrive_once(systems: Systems) -> None:
    figures = posted_once(systems, 100_000, kills=20)
    assert figures.kills == 20
