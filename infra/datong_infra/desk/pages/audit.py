"""The audit log: who decided what, when and why, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from datong_platform import page
from datong_platform.page import Markup

from datong_infra import audit
from datong_infra.desk import exchange, words
from datong_infra.desk.frame import (
    ROWS,
    Answer,
    Page,
    Section,
    Visit,
    address,
    choice,
    empty,
    entry,
    field_of,
    filters,
    older,
    shown,
)

_SOURCES = {
    "data": ("data", "数据"),
    "write_back": ("the way back", "回写"),
    "alert": ("alerts", "告警"),
}
_MOST = 2000
"""Decisions that a filter over persons looks at for its list of names."""


def _overview(visit: Visit) -> Answer:
    source = visit.asked("source")
    found = audit.entries(
        who=visit.asked("who"),
        source=source if source in audit.SOURCES else None,  # pyright: ignore[reportArgumentType]
        text=visit.asked("text"),
        since=visit.moment("since"),
        before=visit.moment("before") or visit.end_of_day("until"),
        limit=ROWS + 1,
    )
    names = audit.people(_MOST)
    parts = [
        field_of(
            visit.t("Who", "决定人"),
            choice("who", [("", visit.t("everybody", "全部")), *((name, name) for name in names)], visit.asked("who")),
        ),
        field_of(visit.t("Of", "领域"), choice("source", exchange.options(visit, _SOURCES, ("all", "全部")), source)),
        field_of(visit.t("Holds the words", "包含文字"), entry("text", visit.asked("text"), type="search")),
        field_of(visit.t("From (UTC)", "自 (UTC)"), entry("since", visit.asked("since"), type="date")),
        field_of(visit.t("To (UTC)", "至 (UTC)"), entry("until", visit.asked("until"), type="date")),
    ]
    body: list[Markup] = [filters(visit, parts)]
    rows, more = older(visit, found, lambda one: one.at)
    body += [_table(visit, rows) if rows else empty(visit.t("Nobody decided that.", "没有符合条件的决定。")), more]
    under = visit.t("Every decision of a person. Nothing here can be changed.", "所有人工决定，不可更改。")
    return shown(visit, visit.t("Audit log", "审计日志"), under, body)


def _table(visit: Visit, found: Sequence[audit.Entry]) -> Markup:
    rows: list[Sequence[Any]] = [
        (
            page.element("span", f"{one.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}", class_="line"),
            one.who,
            visit.t(*_SOURCES[one.source]),
            _what(visit, one),
            _about(visit, one),
            page.code(one.value, long=True),
            one.why,
            page.element("small", one.outcome),
        )
        for one in found
    ]
    columns = [visit.t("at (UTC)", "时间 (UTC)"), visit.t("who", "决定人"), visit.t("of", "领域")]
    columns += [visit.t("decision", "决定"), visit.t("about", "对象"), visit.t("value", "取值")]
    return page.table([*columns, visit.t("why", "理由"), visit.t("what came of it", "执行情况")], rows)


def _what(visit: Visit, one: audit.Entry) -> Markup:
    if one.source == "write_back":
        return exchange.mark(visit, exchange.KINDS, one.decision)
    if one.source == "alert":
        return page.mark(visit.t("taken on", "接手"), "soft")
    return page.mark(words.of_kind(visit, one.decision), "soft")


def _about(visit: Visit, one: audit.Entry) -> Markup:
    """What it is about, leading to it where it has a page."""
    if one.source == "write_back":
        if not one.flow:
            return page.link("/flows", visit.t("all flows", "所有流程"))
        if one.key:
            return page.link(exchange.row_address(one.flow, one.key), page.code(f"{one.flow} {one.key}", long=True))
        return page.link(address("flows", one.flow), page.code(one.flow, long=True))
    if one.source == "alert":
        return page.link(address("incidents", str(one.incident)), one.about)
    if one.entity and one.system and one.key and words.contract(one.entity) and one.decision in {"fix", "override"}:
        return page.link(address("quarantine", one.entity, one.system, one.key), page.code(one.about, long=True))
    return page.code(one.about, long=True)


SECTION = Section("/audit", "Audit log", "审计日志")
PAGES = [Page("/audit", _overview)]
