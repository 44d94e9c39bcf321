"""A database as target behind a proxy that breaks the connection anywhere, the answer to a commit included.

What is told as accepted is there; what is told as unclear is looked up and sent again only when it is not there; and in
the end every change took effect once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from datong_ingestion.write_back.target import Change, Outcome, Target
from datong_platform.errors import DatongError
from datong_platform.settings import Settings
from fault_proxy import Proxy
from targets import SqlRig, row

FAULTS = ("reset", "truncated", "refused")


class BehindProxy(SqlRig):
    """The table, reached by its writer through the proxy, and by the test without it."""

    def __init__(self, services: Settings) -> None:
        super().__init__(services)
        place = urlsplit(self.dsn)
        self.proxy = Proxy(place.hostname or "", place.port or 0)

    def connection(self) -> dict[str, Any]:
        return {"url": self.proxy.through(self.dsn), "attempts": 2, "max_wait_seconds": 0.05}

    def stop(self) -> None:
        super().stop()
        self.proxy.stop()


@pytest.fixture
def rig(services: Settings) -> Iterator[BehindProxy]:
    found = BehindProxy(services)
    yield found
    found.stop()


def once_each(rig: BehindProxy, rounds: int, seed: int) -> int:
    """Send so many times three changes through a fault; returns how many outcomes were unclear."""
    dice = random.Random(seed)
    rig.open().lookup(["none"])
    size, unclear = rig.proxy.answered, 0
    wanted: list[str] = []
    for number in range(rounds):
        keys = [f"R{number}-{place}" for place in range(3)]
        wanted += keys
        target = rig.open()
        changes = {key: rig.change(target, key) for key in keys}
        rig.proxy.strike(dice.choice(FAULTS), after=dice.randrange(size))
        outcomes = _sent(target, list(changes.values()))
        rig.proxy.heal()
        unclear += sum(outcome.kind == "unclear" for outcome in outcomes.values())
        held = rig.held()
        for key, outcome in outcomes.items():
            if outcome.kind == "accepted":
                assert key in held, f"{key} was told as accepted"
            elif outcome.kind in {"not_sent", "refused"}:
                assert key not in held, f"{key} was told as {outcome.kind}: {outcome.words}"
        again = rig.open()
        found = again.lookup(keys)
        missing = [changes[key] for key in keys if not found[key]]
        assert {outcome.kind for outcome in _sent(again, missing).values()} <= {"accepted"}
    assert rig.held() == {key: row(key)["name"] for key in wanted}
    assert Counter(rig.effects()) == {("create", key): 1 for key in wanted}
    return unclear


def _sent(target: Target, changes: list[Change]) -> dict[str, Outcome]:
    """The outcomes; a change that was never tried because nobody could be reached is not sent."""
    told: dict[str, Outcome] = {}
    try:
        return target.send(changes, lambda change, outcome: told.setdefault(change.key, outcome)) if changes else {}
    except DatongError as error:
        assert error.next_step  # noqa: PT017 the outcomes count, and the error too
        return told


def test_a_connection_that_breaks_while_it_writes_loses_and_doubles_nothing(rig: BehindProxy) -> None:
    once_each(rig, 8, seed=3)


@pytest.mark.nightly
def test_a_connection_that_breaks_anywhere_a_thousand_times_doubles_nothing(rig: BehindProxy) -> None:
    assert once_each(rig, 1000, seed=4)
