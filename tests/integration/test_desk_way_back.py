"""The operator's desk in a real Chromium, with 100,000 open rows: seen, decided, stopped, and written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from datong_infra import audit
from datong_infra.desk import exchange
from datong_ingestion.two_way import agreed
from datong_ingestion.write_back import decisions, ledger, standing
from datong_ingestion.write_back.ledger import Entry, State
from datong_platform.alerts import incidents
from datong_platform.alerts.config import AlertsConfig
from datong_platform.alerts.findings import Finding
from datong_platform.lake import sync_log
from datong_platform.settings import Settings, settings
from deltalake import write_deltalake
from desk_browser import Visitors, chromium, needs_chromium, own_lake, runs_over, served, violations
from playwright.sync_api import Browser, expect

pytestmark = needs_chromium

FLOW, OTHER = "sales_status_to_erp", "production_order_to_mes"
MANY = 100_000
AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
FATES: tuple[State, ...] = ("conflict", "dead", "failed", "unknown", "planned")
FAULT = "M7/021: deficit of <b>12</b> KG"


def many() -> pa.Table:
    """Rows of one flow, an equal number in each open state, made column by column: a row at a time takes long."""
    count = MANY
    keys = [str(500_000 + at) for at in range(count)]
    fates = [FATES[at % len(FATES)] for at in range(count)]
    columns: dict[str, Any] = {
        "flow": [FLOW] * count,
        "key": keys,
        "step": [3] * count,
        "state": fates,
        "operation": ["update"] * count,
        "idempotency_key": keys,
        "payload_hash": ["a" * 64] * count,
        "payload": [json.dumps({"SalesOrder": key, "YY1_ProductionStatus_SDH": "DONE"}) for key in keys],
        "attempt": [1] * count,
        "words": [
            FAULT if fate == "dead" else f"the ERP said no to {key}" for key, fate in zip(keys, fates, strict=True)
        ],
        "held": [json.dumps({"SalesOrder": key, "YY1_ProductionStatus_SDH": "HELD"}) for key in keys],
        "run_id": ["run-1"] * count,
        "at": [AT + timedelta(seconds=at) for at in range(count)],
    }
    return pa.table(
        [pa.array(columns.get(name, [None] * count), ledger.SCHEMA.field(name).type) for name in ledger.SCHEMA.names],
        schema=ledger.SCHEMA,
    )


def entry(key: str, step: int, state: State, **told: Any) -> Entry:
    defaults: dict[str, Any] = {
        "flow": OTHER,
        "operation": "update",
        "idempotency_key": key,
        "payload_hash": "b" * 64,
        "payload": None,
        "attempt": 0,
        "run_id": "run-2",
        "at": AT + timedelta(hours=step),
    }
    return Entry(key=key, step=step, state=state, **{**defaults, **told})


def waiting(number: int) -> list[Entry]:
    """Rows of another flow that wait for approval: every third shall be deleted."""
    return [
        entry(
            f"{1000 + at}/10",
            1,
            "waiting_for_approval",
            operation="delete" if at % 3 == 0 else "update",
            payload=json.dumps({"orderNo": f"{1000 + at}/10", "quantity": "120"}),
            pre_image=json.dumps({"orderNo": f"{1000 + at}/10", "quantity": "100"}),
            plan="plan-7",
            words="7 changes are more than the 5 that need no approval",
        )
        for at in range(number)
    ]


def put(rows: pa.Table) -> None:
    write_deltalake(
        f"s3://{settings().bucket}/ops/write_back_ledger",
        rows,
        mode="append",
        partition_by=["flow"],
        storage_options=settings().storage_options(),
    )


def add(*entries: Entry) -> None:
    put(pa.Table.from_pylist([asdict(one) for one in entries], schema=ledger.SCHEMA))


@pytest.fixture(scope="module")
def url(services: Settings) -> Iterator[str]:
    """A desk over a lake in which 100,000 rows are open, and two incidents."""
    with own_lake(services):
        put(many())
        add(*waiting(7))
        with sync_log.run("run-2"):
            for at in range(60):
                sync_log.record(
                    sync_log.Entry(
                        "send" if at % 2 else "extract",
                        system="mes" if at % 2 else "crm",
                        flow=OTHER if at % 2 else None,
                        table_name=None if at % 2 else "bronze.crm__contact",
                        outcome="failed" if at == 7 else "ok",
                        words="the MES did not answer" if at == 7 else None,
                        rows_in=at,
                        run_id=f"run-{at}",  # those of one run that went well are one row
                        started_at=AT + timedelta(minutes=at),
                        ended_at=AT + timedelta(minutes=at, seconds=3),
                    )
                )
        subject = f"write_back.{OTHER}"
        incidents.step(
            [
                Finding("w", "write_back", subject, "critical", "MES orders are stuck", "工单下发受阻", "x", "mes"),
                Finding(
                    "i", "ingest", "bronze.crm__contact", "error", "CRM cannot be read", "CRM 读取失败", "y", "crm"
                ),
            ],
            {},
            AlertsConfig(),
        )
        with served({"mei": "steward", "li": "steward", "tom": "viewer"}) as address:
            yield address
        incidents.step([], {}, AlertsConfig(close_after_minutes=0), now=datetime.now(UTC))
        incidents.step([], {}, AlertsConfig(close_after_minutes=0), now=datetime.now(UTC) + timedelta(hours=1))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def visit(url: str, browser: Browser) -> Iterator[Visitors]:
    visitors = Visitors(url, browser)
    yield visitors
    visitors.leave()
    assert visitors.complaints == []


def decided(key: str) -> list[tuple[str, str, str]]:
    return [(one.kind, one.who, one.why) for one in decisions.history(FLOW, key)]


def test_a_conflict_shows_both_sides_and_the_decision_bears_name_and_reason(visit: Visitors) -> None:
    page = visit()
    page.goto(f"{visit.url}/rows?state=conflict")
    expect(page.locator("main")).to_contain_text("20,000 rows")
    page.locator("td a").first.click()
    key = page.locator("main p code").first.inner_text()
    line = page.get_by_role("row").filter(has_text="YY1_ProductionStatus_SDH")
    expect(line).to_contain_text("DONE")
    expect(line).to_contain_text("HELD")
    expect(line).to_contain_text("differs")
    form = page.locator("form[action$='/decide']")
    form.get_by_role("button", name="Write ours over it").click()
    assert not decided(key), "nothing is decided without a reason"
    form.locator("[name=why]").fill("sales agreed with the customer")
    form.get_by_role("button", name="Write ours over it").click()
    expect(page.get_by_role("status").first).to_contain_text("the flow's next run carries it out")
    assert decided(key) == [("accept_ours", "mei", "sales agreed with the customer")]
    expect(page.locator("main")).to_contain_text("the next run carries it out")
    page.get_by_role("link", name="Take back").click()
    page.locator("[name=why]").fill("it was the wrong customer")
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_role("status").first).to_contain_text("taken back")
    outcome = decisions.history(FLOW, key)[0].outcome or ""
    assert "it was the wrong customer" in outcome
    expect(page.locator("main")).to_contain_text("it was the wrong customer")


def test_the_second_of_two_people_is_told_what_the_first_decided(visit: Visitors) -> None:
    key = "500010"
    one, other = visit("mei"), visit("li")
    for page in (one, other):
        page.goto(f"{visit.url}/rows/{FLOW}/{key}")
        page.locator("form[action$='/decide'] [name=why]").fill("because I say so")
    one.get_by_role("button", name="Let theirs stand").click()
    expect(one.get_by_role("status").first).to_contain_text("Recorded")
    with other.expect_response(lambda answer: answer.request.method == "POST") as answered:
        other.get_by_role("button", name="Write ours over it").click()
    assert answered.value.status == 400
    expect(other.get_by_role("alert")).to_contain_text("mei decided accept_theirs")
    assert [kind for kind, _, _ in decided(key)] == ["accept_theirs"]
    visit.complaints.clear()  # the browser tells of the 400 that is asked for here


def test_ticked_dead_letters_are_retried_together_and_the_list_stays_where_it_was(visit: Visitors) -> None:
    page = visit(lang="zh")
    page.goto(f"{visit.url}/rows?state=dead&page=3")
    keys = [link.inner_text() for link in page.locator("td a code").all()]
    assert len(keys) == 50
    page.get_by_label("全选").check()
    page.locator("form[action='/rows/decide'] [name=why]").fill("库存已补")
    page.locator("button[value=retry]").click()
    expect(page.get_by_role("status").first).to_contain_text("已记录 50 项决定")
    assert "page=3" in page.url
    assert {tuple(decided(key)) for key in keys} == {(("retry", "mei", "库存已补"),)}


def test_a_dead_letter_is_mended_field_by_field(visit: Visitors) -> None:
    page = visit()
    page.goto(f"{visit.url}/rows/{FLOW}/500001")
    assert page.locator("main b", has_text="12").count() == 0, "what a system says is text, never markup"
    expect(page.locator("main")).to_contain_text(FAULT)
    page.get_by_text("Mend its values").click()
    page.locator("[name='value YY1_ProductionStatus_SDH']").fill("RELEASED")
    form = page.locator("form[action$='/mend']")
    form.locator("[name=why]").fill("the ERP does not know DONE")
    form.get_by_role("button").click()
    expect(page.get_by_role("status").first).to_contain_text("Recorded")
    (made,) = decisions.history(FLOW, "500001")
    assert (made.kind, made.payload) == ("mend", {"YY1_ProductionStatus_SDH": "RELEASED"})


def test_a_plan_is_approved_after_seeing_what_would_change(visit: Visitors) -> None:
    page = visit()
    page.goto(f"{visit.url}/approvals")
    expect(page.locator("main")).to_contain_text("7 changes are more than the 5")
    line = page.get_by_role("row").filter(has_text="quantity").filter(has_text="120")
    expect(line.first).to_contain_text("100")
    expect(page.get_by_role("row").filter(has_text="(deleted)").first).to_be_visible()
    page.locator("[name=why]").fill("checked with the planner")
    page.get_by_role("button", name="Approve all 7").click()
    expect(page.get_by_role("status").first).to_contain_text("approved")
    (made,) = decisions.waiting(OTHER)
    assert (made.kind, made.plan, made.who) == ("approve", "plan-7", "mei")


def test_the_switch_for_all_flows_stops_and_starts_them(visit: Visitors) -> None:
    page = visit()
    page.goto(f"{visit.url}/flows")
    page.get_by_text("Stop all flows at once").click()
    page.locator("form[action='/flows/pause'] [name=why]").fill("the ERP is being moved")
    page.get_by_role("button", name="Stop all flows").click()
    expect(page.locator("main")).to_contain_text("All flows are paused")
    assert decisions.paused(FLOW)
    expect(page.locator(".mark", has_text="paused")).to_have_count(len(exchange.flows()))
    page.goto(f"{visit.url}/flows/{FLOW}")
    expect(page.get_by_role("button", name="Run now")).to_have_count(0)
    page.goto(f"{visit.url}/")
    expect(page.locator("main")).to_contain_text("the ERP is being moved")
    page.goto(f"{visit.url}/flows")
    page.locator("form[action='/flows/resume'] [name=why]").fill("it is back")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".mark", has_text="paused")).to_have_count(0)
    assert decisions.paused(FLOW) is None


def test_all_rows_of_a_flow_are_decided_at_once_and_a_run_may_go_beyond_its_ceilings_once(visit: Visitors) -> None:
    page = visit()
    page.goto(f"{visit.url}/flows/{FLOW}")
    page.get_by_text("Let the next run go beyond").click()
    beyond = page.locator("form[action$='/beyond']")
    beyond.locator("[name=changes]").fill("120000")
    beyond.locator("[name=why]").fill("the first load")
    beyond.get_by_role("button").click()
    expect(page.get_by_role("status").first).to_contain_text("may go so far")
    (made,) = [one for one in decisions.waiting(FLOW) if one.plan == decisions.CEILING]
    assert made.payload == {"changes": 120_000, "deletes": 0}
    assert made.valid_until
    page.get_by_text("Decide about all rows of this flow").click()
    together = page.locator("form[action$='/rows']")
    together.locator("[name=why]").fill("the ERP has been mended")
    together.get_by_role("button", name="Try all failed and dead rows again").click()
    expect(page.get_by_role("status").first).to_contain_text("Recorded")
    (all_,) = [one for one in decisions.waiting(FLOW) if one.key is None and one.plan is None]
    assert (all_.kind, all_.why) == ("retry", "the ERP has been mended")
    decisions.undo(all_.id, who="mei", why="only a test of the others")


def test_values_that_a_synchronisation_gave_up_are_told_with_both_sides(visit: Visitors) -> None:
    told = {"sync": "production_order_dates", "key": "1000042", "field": "planned_start_at", "conflict_id": "c1"}
    told |= {"why": "owner", "winner": "erp", "winner_value": "2026-03-02 06:00", "loser": "mes", "run_id": "r"}
    told |= {"loser_value": "2026-03-03 06:00", "agreed_value": "2026-03-01 06:00"}
    rows = pa.Table.from_pylist([{**told, "at": AT}], schema=agreed.CONFLICT_SCHEMA)
    write_deltalake(
        f"s3://{settings().bucket}/ops/two_way_conflict",
        rows,
        mode="append",
        storage_options=settings().storage_options(),
    )
    page = visit(lang="zh")
    page.goto(f"{visit.url}/given-up")
    line = page.get_by_role("row").filter(has_text="1000042")
    expect(line).to_contain_text("erp: 2026-03-02 06:00")
    expect(line).to_contain_text("mes: 2026-03-03 06:00")
    expect(line).to_contain_text("双方均有修改")


def test_a_viewer_sees_everything_and_cannot_decide(visit: Visitors) -> None:
    page = visit("tom")
    for path in ("/flows", f"/flows/{FLOW}", "/rows", f"/rows/{FLOW}/500000", "/approvals", "/incidents", "/audit"):
        page.goto(f"{visit.url}{path}")
        expect(page.locator("form[method=post]")).to_have_count(1)  # logging out
    before = len(decisions.history())
    token = page.locator("[name=form_token]").first.get_attribute("value")
    asked: dict[str, str | float | bool] = {"form_token": token or "", "why": "me", "kind": "retry"}
    assert page.request.post(f"{visit.url}/rows/{FLOW}/500000/decide", form=asked).status == 403
    assert page.request.post(f"{visit.url}/flows/pause", form=asked).status == 403
    assert len(decisions.history()) == before


def test_an_incident_is_taken_on_and_stands_in_the_audit_log_with_everything_else(visit: Visitors) -> None:
    page = visit("li")
    page.goto(f"{visit.url}/incidents")
    page.get_by_role("link", name="MES orders are stuck").click()
    page.locator("[name=why]").fill("I call the MES people")
    page.get_by_role("button", name="Take it on").click()
    expect(page.locator("main")).to_contain_text("li is at it")
    decisions.decide(FLOW, "retry", key="500002", who="mei", why="once more")
    page.goto(f"{visit.url}/audit")
    expect(page.get_by_role("row").filter(has_text="I call the MES people")).to_contain_text("taken on")
    expect(page.get_by_role("row").filter(has_text="once more")).to_contain_text("500002")
    page.locator("[name=who]").select_option("li")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("row").filter(has_text="once more")).to_have_count(0)
    found = audit.entries(limit=10_000)
    assert found == sorted(found, key=lambda one: one.order, reverse=True)
    assert {one.id for one in audit.entries(who="li", limit=10_000)} == {one.id for one in found if one.who == "li"}
    seen, before = list[str](), None
    while page_ := audit.entries(before=before, limit=7):
        seen += [one.id for one in page_]
        before = page_[-1].at
    assert seen == [one.id for one in found]


def test_the_sync_log_is_narrowed_and_leafed_through_without_losing_a_hop(visit: Visitors) -> None:
    page = visit()
    page.goto(f"{visit.url}/sync-log")
    seen = len(page.locator("tr:has(td a)").all())
    page.keyboard.press("n")
    expect(page.locator(".pager")).to_contain_text("The newest")
    assert seen + len(page.locator("tr:has(td a)").all()) == 60
    page.locator("[name=outcome]").select_option("failed")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("main")).to_contain_text("the MES did not answer")
    assert page.locator("tr:has(td a)").count() == 1


def test_the_keyboard_leads_through_rows_ticks_one_and_finds_a_key(visit: Visitors) -> None:
    page = visit()
    page.goto(f"{visit.url}/rows?state=unknown")
    page.keyboard.press("j")
    page.keyboard.press("j")
    chosen = page.locator("td a:focus").inner_text()
    page.keyboard.press("x")
    expect(page.locator("td input:checked")).to_have_count(1)
    expect(page.locator("td input:checked")).to_have_attribute("aria-label", chosen)
    page.keyboard.press("k")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text(chosen)
    page.go_back()
    page.keyboard.press("/")
    page.keyboard.type("500003")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("1 row, the newest first")
    page.keyboard.press("Home")
    page.reload()
    page.keyboard.press("Tab")
    expect(page.locator("a.skip:focus")).to_have_text("To the content")


def test_what_the_flows_did_meanwhile_is_seen_without_reading_everything_again(url: str) -> None:
    before = standing.totals()[FLOW]
    add(entry("500004", 4, "verified", flow=FLOW, at=AT + timedelta(days=3)))
    add(entry("600000", 1, "planned", flow=FLOW, at=AT + timedelta(days=3)))
    after = standing.totals()[FLOW]
    assert after.states["planned"] == before.states["planned"]
    assert after.states["verified"] == 1
    assert after.last_at == AT + timedelta(days=3)
    assert [row.key for row in standing.page(FLOW, ["planned"], limit=1)[0]] == ["600000"]
    kept = standing.page(FLOW, limit=200_000)
    standing.forget()
    assert standing.page(FLOW, limit=200_000) == kept
    assert standing.totals()[FLOW] == after


@pytest.mark.parametrize(("lang", "colours"), [("en", "light"), ("zh", "dark")])
def test_every_page_is_fit_for_a_screen_reader(visit: Visitors, lang: str, colours: str) -> None:
    page = visit(lang=lang, color_scheme=colours)
    paths = [link.get_attribute("href") or "" for link in page.locator("nav.top > a").all()]
    number = incidents.incidents(limit=1)[0].incident_id
    inner = [f"/flows/{FLOW}", f"/rows/{FLOW}/500000", f"/rows/{FLOW}/500001", f"/incidents/{number}"]
    for path in [*dict.fromkeys(paths if lang == "en" else paths[:9]), *inner]:
        if path.startswith("/dictionary"):
            continue  # made from the whole project; its own test opens it
        page.goto(f"{visit.url}{path}")
        wrong = violations(page)
        assert not wrong, f"{path}: {wrong}"
        page.set_viewport_size({"width": 800, "height": 900})
        assert not runs_over(page), f"{path} at 800 pixels: {runs_over(page)}"
        page.set_viewport_size({"width": 1280, "height": 720})
        assert page.locator("h1").count() == 1
        assert page.locator("main [role=alert]").count() == 0, page.locator("main [role=alert]").all_inner_texts()
    page.evaluate("document.querySelector('main').innerHTML = '<img src=\"x.png\"><input>'")
    visit.complaints.clear()
    assert {"image-alt", "label"} <= {name for name, _ in violations(page)}, "a check that cannot fail is none"
    visit.complaints.clear()
