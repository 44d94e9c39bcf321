"""Incidents in a real PostgreSQL, told to receivers that answer as the platforms do: one cause, one message."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from alert_receivers import HOOK_SECRET, Receivers
from datong_platform.alerts.config import AlertsConfig
from datong_platform.alerts.findings import Finding, grouped
from datong_platform.alerts.incidents import StepResult, acknowledge, incidents, step
from datong_platform.errors import ConfigurationError
from datong_platform.settings import Settings
from pydantic import ValidationError

BEGAN = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
UPSTREAM = {
    "silver.sales_order": ["bronze.erp__sales_order"],
    "gold.fct_sales_order_item": ["silver.sales_order", "silver.material"],
    "serve.bi__order_fulfilment": ["gold.fct_sales_order_item"],
    "silver.material": ["bronze.erp__product"],
}


def finding(kind: Any, subject: str, **changes: Any) -> Finding:
    told: dict[str, Any] = {
        "severity": "error",
        "title": f"{subject} is broken",
        "title_zh": f"{subject} 出错",
        "detail": "reason and next step",
        **changes,
    }
    return Finding(f"{kind}:{subject}", kind, subject, **told)


DOWN = [
    finding("ingest", f"bronze.erp__{name}", system="erp", owner="team:erp", cause="it answers 503")
    for name in ("product", "sales_order", "customer")
]
BEHIND = [
    finding("check", "silver.sales_order"),
    finding("late", "serve.bi__order_fulfilment", severity="warning"),
    finding("check", "gold.fct_sales_order_item"),
]


class Desk:
    """The receivers, a configuration over them, and a clock."""

    def __init__(self, receivers: Receivers) -> None:
        self.receivers, self.now = receivers, BEGAN

    def config(self, **route: Any) -> AlertsConfig:
        url = self.receivers.url
        return AlertsConfig.model_validate(
            {
                "channels": {
                    "plant": {"kind": "webhook", "url": f"{url}/hook", "secret": HOOK_SECRET},
                    "boss": {"kind": "slack", "url": f"{url}/services/T0/B0/x"},
                },
                "routes": [{"channels": ["plant"], "repeat_minutes": 60, **route}],
                "desk_url": "http://127.0.0.1:9",
            }
        )

    def after(self, minutes: float, findings: list[Finding], **route: Any) -> StepResult:
        self.now += timedelta(minutes=minutes)
        result = step(findings, UPSTREAM, self.config(**route), now=self.now)
        assert result is not None
        return result

    @property
    def told(self) -> list[str]:
        """Titles that reached the plant's channel."""
        return [body["title"] for body in self.receivers.taken.get("/hook", [])]

    @property
    def boss(self) -> list[str]:
        return [body["text"].splitlines()[0] for body in self.receivers.taken.get("/services/T0/B0/x", [])]


@pytest.fixture
def desk(services: Settings) -> Iterator[Desk]:
    assert services.postgres_url
    incidents()  # makes the tables
    with psycopg.connect(services.postgres_url, autocommit=True) as database:
        database.execute("truncate ops.incident cascade")
    receivers = Receivers()
    yield Desk(receivers)
    receivers.stop()


def test_one_broken_source_is_one_message_whatever_stands_behind_it(desk: Desk) -> None:
    result = desk.after(0, DOWN + BEHIND)
    assert (result.opened, result.open, result.sent, result.failed) == (1, 1, 1, {})
    [body] = desk.receivers.taken["/hook"]
    assert body["title"] == "告警 / Alert: erp：3 张表无法读取 / erp: 3 tables cannot be read"
    assert body["lines"][0] == "reason and next step"
    assert "6 more have this cause" in body["lines"][1]
    assert body["facts"]["owner"] == "team:erp"
    assert body["link"] == f"http://127.0.0.1:9/incidents/{incidents()[0].incident_id}"
    assert desk.after(1, DOWN + BEHIND).sent == 0


def test_two_causes_are_two_incidents_and_each_finding_belongs_to_the_topmost(desk: Desk) -> None:
    groups = grouped([*BEHIND, DOWN[0], finding("build", "silver.sales_order")], UPSTREAM)
    assert {group.root.key: len(group.findings) for group in groups} == {
        "build:silver.sales_order": 2,
        "ingest:bronze.erp__product": 3,
    }
    assert desk.after(0, [finding("service", "postgres"), finding("write_back", "consumption_to_erp")]).opened == 2


def test_an_incident_that_lasts_is_told_again_until_somebody_takes_it_on(desk: Desk) -> None:
    desk.after(0, DOWN)
    desk.after(59, DOWN)
    desk.after(1, DOWN)
    assert [title.partition(":")[0] for title in desk.told] == ["告警 / Alert", "仍未恢复 / Still open"]
    acknowledge(incidents()[0].incident_id, "zhang", "the gateway is being restarted")
    desk.after(120, DOWN)
    assert len(desk.told) == 2
    found = incidents()[0]
    assert (found.acknowledged_by, found.acknowledged_why) == ("zhang", "the gateway is being restarted")


def test_what_nobody_takes_on_goes_up(desk: Desk) -> None:
    route = {"escalate_after_minutes": 30, "escalate_to": ["boss"], "repeat_minutes": 0}
    desk.after(0, DOWN, **route)
    desk.after(29, DOWN, **route)
    assert not desk.boss
    desk.after(1, DOWN, **route)
    desk.after(5, DOWN, **route)
    assert [title.partition(":")[0] for title in desk.boss] == ["*告警升级 / Escalated"]
    assert len(desk.told) == 1


def test_what_heals_is_told_once_and_what_flickers_is_one_incident(desk: Desk) -> None:
    desk.after(0, DOWN)
    desk.after(1, [])
    desk.after(1, DOWN)
    desk.after(1, [])
    assert (len(desk.told), incidents()[0].closed_at) == (1, None)
    assert desk.after(6, []).closed == 1
    desk.after(1, [])
    assert [title.partition(":")[0] for title in desk.told] == ["告警 / Alert", "已恢复 / Healed"]
    assert not incidents()
    assert desk.after(1, DOWN).opened == 1
    assert len(incidents(closed=True)) == 2
    with pytest.raises(ConfigurationError, match="is not open"):
        acknowledge(incidents(closed=True)[1].incident_id, "zhang", "too late")


def test_an_incident_that_gets_worse_is_told_at_once(desk: Desk) -> None:
    desk.after(0, [finding("check", "silver.material", severity="error")])
    desk.after(1, [finding("check", "silver.material", severity="critical")])
    desk.after(1, [finding("check", "silver.material", severity="critical")])
    assert [title.partition(":")[0] for title in desk.told] == ["告警 / Alert", "告警升高 / Worse"]


def test_a_message_that_was_not_taken_is_tried_again_and_never_counts_as_sent(desk: Desk) -> None:
    desk.receivers.faults = [(503, "", {}), (429, "", {"Retry-After": "300"})]
    first = desk.after(0, DOWN)
    assert first.sent == 0
    assert "plant" in first.failed["plant"]
    assert desk.after(0.5, DOWN).failed == {}, "it waits a minute"
    assert "429" in desk.after(1, DOWN).failed["plant"]
    assert desk.after(4, DOWN).sent == 0, "it waits as long as it was asked to"
    assert desk.after(2, DOWN).sent == 1
    assert len(desk.told) == 1


def test_many_incidents_at_once_are_one_message_on_a_channel(desk: Desk) -> None:
    many = [finding("check", f"silver.t{number}") for number in range(40)]
    result = desk.after(0, many)
    assert (result.opened, result.sent) == (40, 1)
    assert desk.told == ["40 条告警 / 40 alerts"]
    assert len(desk.receivers.taken["/hook"][0]["lines"]) == 40
    assert desk.after(1, many).sent == 0


def test_routes_choose_by_system_owner_and_severity(desk: Desk) -> None:
    desk.after(0, DOWN, systems=["mes"])
    desk.after(1, DOWN, owners=["team:finance"])
    desk.after(1, DOWN, at_least="critical")
    assert not desk.told
    desk.after(1, DOWN, systems=["erp"], owners=["team:erp"], at_least="error")
    assert len(desk.told) == 1


def test_steps_at_once_send_nothing_twice(desk: Desk) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: step(DOWN, UPSTREAM, desk.config(), now=BEGAN), range(8)))
    assert any(results)
    assert len(desk.told) == 1


def test_a_route_to_a_channel_that_is_not_there_is_told_when_it_is_read() -> None:
    with pytest.raises(ValidationError, match="route names channel night; known are none"):
        AlertsConfig.model_validate({"routes": [{"channels": ["night"]}]})
    with pytest.raises(ValidationError, match="go together"):
        AlertsConfig.model_validate(
            {"channels": {"a": {"kind": "slack", "url": "x"}}, "routes": [{"channels": ["a"], "escalate_to": ["a"]}]}
        )
