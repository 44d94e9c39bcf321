"""The sync log: every hop that data made, what it moved, how long it took and until where it reached."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from datong_platform import page
from datong_platform.page import Markup

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
    query,
    shown,
)

if TYPE_CHECKING:
    from datong_platform.lake.sync_log import Entry


def _overview(visit: Visit) -> Answer:
    from datong_platform.lake import sync_log

    asked = {name: visit.asked(name) for name in ("system", "flow", "hop", "outcome", "table", "run")}
    found = sync_log.entries(
        system=asked["system"] or None,
        flow=asked["flow"] or None,
        table_name=asked["table"] or None,
        hop=asked["hop"] or None,  # pyright: ignore[reportArgumentType]
        outcome=asked["outcome"] or None,  # pyright: ignore[reportArgumentType]
        run_id=asked["run"] or None,
        since=visit.moment("since"),
        before=visit.moment("before") or visit.end_of_day("until"),
        limit=ROWS + 1,
    )
    parts = [
        field_of(visit.t("System", "系统"), choice("system", words.systems(visit), asked["system"])),
        field_of(visit.t("Flow", "流程"), choice("flow", exchange.flow_options(visit, ()), asked["flow"])),
        field_of(
            visit.t("Hop", "步骤"), choice("hop", exchange.options(visit, exchange.HOPS, ("all", "全部")), asked["hop"])
        ),
        field_of(
            visit.t("Outcome", "结果"),
            choice("outcome", exchange.options(visit, exchange.OUTCOMES, ("all", "全部")), asked["outcome"]),
        ),
        field_of(
            visit.t("Table", "表"), entry("table", asked["table"], type="search", placeholder="bronze.erp__sales_order")
        ),
        field_of(visit.t("From (UTC)", "自 (UTC)"), entry("since", visit.asked("since"), type="date")),
        field_of(visit.t("To (UTC)", "至 (UTC)"), entry("until", visit.asked("until"), type="date")),
    ]
    body: list[Markup] = [filters(visit, parts)]
    if asked["run"]:
        everything = page.link(visit.here(run=None, before=None), visit.t("show all runs", "显示全部运行"))
        body.append(
            page.element("p", page.joined([visit.t("Run ", "运行 "), page.code(asked["run"]), " · ", everything]))
        )
    rows, more = older(visit, found, lambda one: one.started_at)
    body += (
        [table(visit, rows), more]
        if rows
        else [empty(visit.t("Nothing moved that fits.", "没有符合条件的记录。")), more]
    )
    under = visit.t(
        "What moved, when, how much, how long and until where; the newest first.",
        "何时、搬运了什么、多少、耗时以及到达位置；最新的在前。",
    )
    return shown(visit, visit.t("Sync log", "同步日志"), under, body)


def table(visit: Visit, found: Sequence[Entry], *, with_subject: bool = True) -> Markup:
    """Hops in a table; without the subject where all are of one."""
    rows: list[Sequence[Any]] = []
    for one in found:
        subject: list[Any] = []
        if with_subject:
            subject = [_subject(one)]
        rows.append(
            (
                page.element("span", f"{one.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}", class_="line"),
                page.element("span", exchange.said(visit, exchange.HOPS, one.hop), class_="line"),
                *subject,
                exchange.mark(visit, exchange.OUTCOMES, one.outcome),
                "" if one.rows_in is None else one.rows_in,
                "" if one.rows_out is None else one.rows_out,
                one.rows_refused or "",
                f"{one.seconds:,.1f} s",
                _size(one.bytes),
                page.element("small", page.code(one.until if one.until and len(one.until) <= 60 else _cut(one.until))),
                page.element("small", one.words or ""),
                page.link("/sync-log" + query(run=one.run_id), page.code(one.run_id[:8])),
            )
        )
    columns = [visit.t("began (UTC)", "开始 (UTC)"), visit.t("hop", "步骤")]
    if with_subject:
        columns.append(visit.t("of", "对象"))
    columns += [
        visit.t("outcome", "结果"),
        "#" + visit.t("rows in", "来源行"),
        "#" + visit.t("rows out", "去向行"),
        "#" + visit.t("held back", "拦截"),
        "#" + visit.t("took", "耗时"),
        "#" + visit.t("size", "大小"),
        visit.t("until", "到达位置"),
        visit.t("what was said", "说明"),
        visit.t("run", "运行"),
    ]
    return page.table(columns, rows)


def _subject(one: Entry) -> Markup:
    if one.flow:
        return page.link(address("flows", one.flow), page.code(one.flow, long=True))
    return page.code(one.table_name or one.system, long=True)


def _cut(text: str | None) -> str:
    return "" if not text else f"{text[:60]}…"


def _size(count: int | None) -> str:
    if not count:
        return ""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:,.0f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


SECTION = Section("/sync-log", "Sync log", "同步日志")
PAGES = [Page("/sync-log", _overview)]
