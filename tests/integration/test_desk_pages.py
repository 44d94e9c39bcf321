"""The desk in a real Chromium: a steward clears quarantine and codes by mouse and keyboard, in both languages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datong_assets.dbt import graph
from datong_platform.lake import catalog
from datong_platform.settings import Settings, settings
from datong_platform.standard import cases, decisions, withheld
from deltalake import write_deltalake
from desk_browser import Visitors, chromium, needs_chromium, own_lake, runs_over, served, violations
from playwright.sync_api import Browser, Page, expect

MANY = 100_000
pytestmark = needs_chromium


@dataclass(frozen=True)
class Desk:
    """A desk that is served."""

    url: str


def quarantined(number: int) -> Iterator[dict[str, Any]]:
    """Order items as the build withholds them: an unknown unit, every tenth a negative quantity instead."""
    read_at = datetime(2026, 3, 1, 8, tzinfo=UTC)
    for at in range(number):
        key = f"{500000 + at}/10"
        failure = {
            "field": "quantity_unit",
            "rule": "known_unit",
            "reason": "unit 箱子 is not in the crosswalk",
            "reason_zh": "计量单位 箱子 未对照",
            "raw": "箱子",
            "is_withheld": True,
        }
        if at % 10 == 0:
            failure |= {"field": "quantity", "rule": "positive", "raw": "-3", "reason": "quantity is -3"}
        yield {
            "source_system": "erp",
            "source_key": key,
            "is_withheld": True,
            "field": failure["field"],
            "rule": failure["rule"],
            "reason": failure["reason"],
            "failures": json.dumps([failure], ensure_ascii=False, separators=(",", ":")),
            "source_row": json.dumps({"SalesOrder": str(500000 + at), "Unit": "箱子", "Text": "<b>bold</b>"}),
            "checked_row": json.dumps({"sales_order_id": str(500000 + at), "quantity": "-3", "quantity_unit": None}),
            "contract_version": "1.0.0",
            "_datong_batch_id": "000000000007",
            "_datong_ingested_at": read_at + timedelta(seconds=at % 60),
        }


@pytest.fixture(scope="module")
def desk(services: Settings) -> Iterator[Desk]:
    """A desk over a lake of its own, in which 100,000 records wait."""
    with own_lake(services):
        rows = pa.Table.from_pylist(list(quarantined(MANY)))
        write_deltalake(
            f"s3://{settings().bucket}/quarantine/sales_order_item", rows, storage_options=settings().storage_options()
        )
        cases.update("run-1")
        decisions.refresh()
        catalog.register()
        graph.load()
        with served({"mei": "steward", "tom": "viewer"}) as url:
            yield Desk(url)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def visit(desk: Desk, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the desk as somebody; whatever the browser complains about fails the test."""
    visitors = Visitors(desk.url, browser)
    yield visitors
    visitors.leave()
    assert visitors.complaints == []


def mine(kind: str) -> list[decisions.Decision]:
    return [one for one in decisions.active(kind) if one.who == "mei"]


def test_a_steward_fixes_a_record_and_the_decision_bears_the_name_and_the_reason(
    desk: Desk, visit: Callable[..., Page]
) -> None:
    page = visit()
    page.goto(f"{desk.url}/quarantine")
    page.get_by_role("row").filter(has_text="positive").get_by_role("link").first.click()
    expect(page.locator("body")).to_contain_text("10,000 records")
    page.locator("td a").first.click()
    expect(page.locator("h1")).to_contain_text("Sales order item")
    assert page.locator("td b", has_text="bold").count() == 0, "what a source sent is text, never markup"
    expect(page.locator("body")).to_contain_text("<b>bold</b>")
    page.locator("[name='value quantity']").fill("3")
    fix = page.locator("form[action$='/fix']")
    fix.get_by_role("button").click()
    assert not mine("fix"), "nothing is decided without a reason"
    fix.locator("[name=why]").fill("the paper order says 3")
    fix.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("recorded")
    (made,) = mine("fix")
    assert (made.field, made.value, made.why, made.source_system) == ("quantity", "3", "the paper order says 3", "erp")
    expect(page.locator("body")).to_contain_text("the paper order says 3")
    page.get_by_role("button", name="Take back").locator("xpath=..").locator("[name=why]").fill("misread")
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_role("status")).to_contain_text("taken back")
    assert not mine("fix")


def test_the_example_of_a_broken_rule_is_in_the_visitors_language(desk: Desk, visit: Callable[..., Page]) -> None:
    page = visit(lang="zh")
    page.goto(f"{desk.url}/quarantine")
    line = page.get_by_role("row").filter(has_text="known_unit")
    expect(line).to_contain_text("计量单位 箱子 未对照")
    expect(line).not_to_contain_text("is not in the crosswalk")


def test_ticked_records_pass_together_until_a_day_and_the_list_stays_where_it_was(
    desk: Desk, visit: Callable[..., Page]
) -> None:
    page = visit(lang="zh")
    page.goto(f"{desk.url}/quarantine/sales_order_item?rule=positive&page=2")
    boxes = page.locator("td input[type=checkbox]")
    boxes.nth(0).check()
    boxes.nth(1).check()
    page.locator("form[action$='override-chosen'] [name=why]").fill("客户已确认")
    page.locator("form[action$='override-chosen'] [name=until]").fill("2099-12-31")
    page.get_by_role("button", name="放行所选记录").click()
    expect(page.get_by_role("status")).to_contain_text("已记录 2 项决定")
    assert "page=2" in page.url
    made = mine("override")
    assert {one.why for one in made} == {"客户已确认"}
    assert len(made) == 2
    assert all(one.rule == "positive" and one.valid_until and one.valid_until.year >= 2099 for one in made)


def test_an_unknown_code_is_mapped_from_the_proposal(desk: Desk, visit: Callable[..., Page]) -> None:
    page = visit()
    page.goto(f"{desk.url}/codes")
    expect(page.locator("body")).to_contain_text("箱子")
    page.locator("[name=code]").select_option("H87")
    page.locator("[name=why]").fill("a box holds one piece")
    page.get_by_role("button", name="It means this").click()
    expect(page.get_by_role("status")).to_contain_text("箱子 → H87")
    (made,) = mine("code_mapping")
    assert (made.entity, made.source_system, made.source_key, made.value) == ("unit", "erp", "箱子", "H87")
    expect(page.locator("body")).to_contain_text("Every code that systems send is known")


def test_a_viewer_sees_everything_and_finds_no_button_that_decides(desk: Desk, visit: Callable[..., Page]) -> None:
    page = visit("tom")
    for path in (
        "/quarantine",
        "/quarantine/sales_order_item",
        "/quarantine/sales_order_item/erp/500001%2F10",
        "/codes",
    ):
        page.goto(f"{desk.url}{path}")
        expect(page.locator("form[method=post]")).to_have_count(1)  # logging out
    before = len(decisions.log())
    token = page.locator("[name=form_token]").first.get_attribute("value")
    answer = page.request.post(
        f"{desk.url}/quarantine/sales_order_item/erp/500001%2F10/override",
        form={"form_token": token or "", "why": "me"},
    )
    assert answer.status == 403
    assert len(decisions.log()) == before


def test_the_keyboard_leads_through_a_list_to_a_record_and_to_the_next_page(
    desk: Desk, visit: Callable[..., Page]
) -> None:
    page = visit()
    page.goto(f"{desk.url}/quarantine/sales_order_item")
    page.keyboard.press("j")
    page.keyboard.press("j")
    chosen = page.locator("td a:focus").inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text(chosen)
    page.go_back()
    page.keyboard.press("n")
    expect(page.locator(".pager")).to_contain_text("51 to 100")
    # the text is there before the script that hears the keys
    page.wait_for_load_state()
    page.keyboard.press("/")
    page.keyboard.type("500123")
    page.keyboard.press("Enter")
    expect(page.locator("body")).to_contain_text("1 record")


def test_the_dictionary_is_searched_in_chinese_and_in_english(desk: Desk, visit: Callable[..., Page]) -> None:
    page = visit(lang="zh")
    page.goto(f"{desk.url}/dictionary")
    page.locator("#search").press_sequentially("交货数量")
    first = page.locator("#found td a").first
    expect(first).to_have_text("已交货数量")
    first.click()
    expect(page.locator("h1")).not_to_be_empty()
    assert "#delivered_quantity" in page.url
    page.goto(f"{desk.url}/dictionary/index.html?q=KGM")
    expect(page.locator("#found td a").first).to_have_text("千克")


def test_pages_over_a_hundred_thousand_open_records_show_fifty_and_count_all(desk: Desk) -> None:
    found, total = withheld.page("sales_order_item", offset=99_950, limit=50)
    assert total == MANY
    assert len(found) == 50


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_section_opens_and_no_word_of_the_other_language_is_in_the_navigation(
    desk: Desk, visit: Callable[..., Page], lang: str, tmp_path: Path
) -> None:
    page = visit(lang=lang)
    links = [link.get_attribute("href") for link in page.locator("nav.top > a").all()]
    assert len(links) >= 5
    for to in links:
        answer = page.goto(f"{desk.url}{to}")
        assert answer
        assert answer.status == 200, to
        words = "".join(link.inner_text() for link in page.locator("nav.top > a").all())
        assert any("\u4e00" <= letter <= "\u9fff" for letter in words) == (lang == "zh")
        assert page.locator("[role=alert]").count() == 0, f"{to}: {page.locator('[role=alert]').all_inner_texts()}"


@pytest.fixture(scope="module")
def questions(desk: Desk) -> None:
    """Customers of two systems with nearly the same name and telephone number: a question waits."""
    from datong_platform.standard.matching import queue, run

    names = [("erp", "100", "苏州恒远精密机械有限公司"), ("crm", "7", "苏州恒远精密机械制造有限公司")]
    names += [
        ("erp", str(200 + at), f"{city}宏达电子有限公司") for at, city in enumerate(("上海", "宁波", "青岛", "长沙"))
    ]
    phones = {"100": "+8651285550123", "7": "+8651285550128"}
    known = [
        {"source_system": system, "source_key": key, "phone": phones.get(key), "name": name}
        for system, key, name in names
    ]
    records = pa.Table.from_pylist(known)
    run.match("customer", records.rename_columns({"name": "party_name"}))
    silver = records.rename_columns({"name": "customer_name"})
    write_deltalake(f"s3://{settings().bucket}/silver/customer", silver, storage_options=settings().storage_options())
    assert [asked.state for asked in queue.waiting("customer")] == ["review"]


def test_a_pair_is_judged_side_by_side_with_its_evidence(
    desk: Desk, visit: Callable[..., Page], questions: None
) -> None:
    page = visit(lang="zh")
    page.goto(f"{desk.url}/match?entity=customer")
    page.locator("td a").first.click()
    expect(page.locator("body")).to_contain_text("苏州恒远精密机械制造有限公司")
    expect(page.get_by_role("heading", name="证据")).to_be_visible()
    assert not violations(page), violations(page)
    page.locator("form.line [name=why]").last.fill("同一家公司，改过名")
    page.locator("form.line [name=why]").last.press("Escape")
    page.keyboard.press("a")
    expect(page.get_by_role("status")).to_contain_text("已记录")
    (made,) = mine("match")
    assert {made.source_key, made.other_key} == {"100", "7"}
    assert made.why == "同一家公司，改过名"


@pytest.mark.parametrize(("lang", "colours"), [("en", "light"), ("zh", "dark")])
def test_pages_of_data_are_fit_for_a_screen_reader_and_for_a_small_window(
    desk: Desk, visit: Callable[..., Page], questions: None, lang: str, colours: str
) -> None:
    from datong_platform.standard.matching import queue

    page = visit(lang=lang, color_scheme=colours, viewport={"width": 800, "height": 900})
    for path in (
        "/quarantine",
        "/quarantine/sales_order_item",
        "/quarantine/sales_order_item/erp/500002%2F10",
        "/codes",
        "/match",
        f"/golden/customer/{queue.find('customer', 'erp/200')[0].golden_id}",
        "/dictionary/silver.sales_order_item.html",
    ):
        page.goto(f"{desk.url}{path}")
        assert page.locator("main table").count(), f"{path} shows nothing"
        assert not violations(page), f"{path}: {violations(page)}"
        assert not runs_over(page), f"{path} at 800 pixels: {runs_over(page)}"
