"""What people decided, in a real store: nothing is lost when two decide at once, nothing counts twice or too long."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from datong_platform.errors import ConfigurationError
from datong_platform.standard import decisions
from datong_platform.standard.decisions import DecidedOtherwiseError, NewDecision

OVERRIDE = NewDecision(
    "override", "sales_order_item", "li", "paper order", source_system="erp", source_key="1/10", rule="positive"
)


pytestmark = pytest.mark.usefixtures("own_bucket")  # the log keeps everything


def test_the_same_decision_twice_is_one_decision() -> None:
    first = decisions.record(OVERRIDE)
    again = decisions.record(replace(OVERRIDE, who="wang", why="the same"))
    assert again == first
    assert decisions.log() == [first]


def test_a_decision_that_contradicts_one_in_force_is_refused_and_names_it() -> None:
    fix = replace(OVERRIDE, kind="fix", rule=None, field="quantity", value="5")
    first = decisions.record(fix)
    with pytest.raises(DecidedOtherwiseError, match="li decided fix '5'") as refused:
        decisions.record(replace(fix, who="wang", value="6"))
    assert refused.value.decision == first
    second = decisions.record(replace(fix, who="wang", value="6", withdraws=first.decision_id))
    assert decisions.active("fix") == [second]


def test_a_pair_of_records_is_the_same_pair_either_way_round() -> None:
    pair = NewDecision(
        "match", "customer", "li", "one tax number", "erp", "7", other_system="crm", other_key="3", value="yes"
    )
    decisions.record(pair)
    turned = replace(pair, kind="not_match", source_system="crm", source_key="3", other_system="erp", other_key="7")
    with pytest.raises(DecidedOtherwiseError):
        decisions.record(turned)


def test_what_was_withdrawn_is_not_in_force_and_can_be_decided_again() -> None:
    first = decisions.record(OVERRIDE)
    decisions.withdraw(first.decision_id, "wang", "it was a typing mistake after all")
    assert decisions.active() == []
    with pytest.raises(ConfigurationError, match="taken back by wang"):
        decisions.withdraw(first.decision_id, "li", "once more")
    second = decisions.record(OVERRIDE)
    assert second.decision_id != first.decision_id
    assert decisions.active() == [second]


def test_a_decision_expires_at_its_moment_and_the_table_for_dbt_changes_only_then() -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    made = decisions.record(replace(OVERRIDE, valid_until=end))
    assert decisions.refresh()
    assert not decisions.refresh()
    before = decisions.identities()
    assert list(before) == [("override", "sales_order_item")]
    assert not decisions.refresh(at=end - timedelta(seconds=1))
    assert decisions.refresh(at=end)
    assert decisions.identities() == {}
    assert decisions.expired(at=end) == [made]


def test_of_people_who_decide_at_once_none_is_lost_and_one_of_each_contradiction_wins() -> None:
    def decide(person: int) -> str:
        mine = replace(OVERRIDE, who=f"p{person}", source_key=f"{person}/10")
        shared = replace(OVERRIDE, kind="fix", who=f"p{person}", rule=None, field="quantity", value=str(person))
        decisions.record(mine)
        try:
            return decisions.record(shared).who
        except DecidedOtherwiseError as error:
            return error.decision.who

    with ThreadPoolExecutor(max_workers=6) as pool:
        winners = set(pool.map(decide, range(6)))
    assert len(winners) == 1
    found = decisions.log()
    assert [decision.number for decision in found] == list(range(1, 8))
    assert {decision.source_key for decision in found if decision.kind == "override"} == {f"{n}/10" for n in range(6)}


@pytest.mark.parametrize("missing", ["who", "why", "entity"])
def test_nothing_is_decided_without_saying_who_why_and_what(missing: str) -> None:
    with pytest.raises(ConfigurationError, match=f"does not say {missing}"):
        decisions.record(replace(OVERRIDE, **{missing: " "}))


def test_until_takes_a_day_of_the_plant_and_refuses_what_has_passed() -> None:
    assert decisions.until("2999-01-31", "Asia/Shanghai") == datetime(2999, 1, 31, 16, tzinfo=UTC)
    for text in ("2001-01-31", "soon", "0d"):
        with pytest.raises(ConfigurationError):
            decisions.until(text, "Asia/Shanghai")
