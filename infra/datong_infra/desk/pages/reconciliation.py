"""Reconciliation: whether source and lake, layers, systems and the business's own balances agree, and what does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datong_platform import page
from datong_platform.page import Markup

from datong_infra.desk.frame import Answer, Page, Section, Visit, empty, moment, query, shown

_KINDS = {
    "source": ("Source and lake", "来源与湖仓"),
    "layers": ("Between layers", "各层之间"),
    "systems": ("Between systems", "系统之间"),
    "balance": ("Balances of the business", "业务平衡"),
}
_STATES = {
    "failed": ("failed", "失败", "bad"),
    "differs": ("differs", "不一致", "bad"),
    "not possible": ("not possible", "无法核对", "warn"),
    "nothing": ("nothing to compare", "无可核对", "soft"),
    "not connected": ("not connected", "未接入", "soft"),
    "changed since": ("changed since", "其间已变", "soft"),
    "agrees": ("agrees", "一致", "good"),
    "open": ("still open", "未结", "soft"),
}
"""The worst first."""


def _overview(visit: Visit) -> Answer:
    from datong_platform.quality import record

    found = record.entries()
    marks = {f"{one.source_system}.{one.entity}": one for one in record.marks()}
    by_name: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in found:
        by_name.setdefault((row["kind"], row["name"]), []).append(row)
    worst = {about: _worst(rows) for about, rows in by_name.items()}
    body = [
        page.facts(
            [
                (visit.t("compared", "已核对"), len(by_name)),
                (visit.t("differ", "不一致"), sum(state in {"differs", "failed"} for state in worst.values())),
                (visit.t("proven tables", "已验证的表"), sum(bool(mark.verified_through) for mark in marks.values())),
            ]
        )
    ]
    for kind, words in _KINDS.items():
        rows = [
            _row(visit, name, rows, marks.get(name), worst[of, name])
            for (of, name), rows in by_name.items()
            if of == kind
        ]
        if not rows:
            continue
        columns = [
            visit.t("what", "对象"),
            visit.t("state", "状态"),
            "#" + visit.t("facts", "核对项"),
            "#" + visit.t("different", "差异"),
        ]
        columns += [
            visit.t("proven through", "已验证至"),
            visit.t("remark", "备注"),
            visit.t("checked (UTC)", "核对时间 (UTC)"),
        ]
        body += [page.element("h2", visit.t(*words)), page.table(columns, rows)]
    if not found:
        text = visit.t("Nothing was compared yet. Run ", "尚未核对。请运行 ")
        body = [page.element("p", page.joined([text, page.code("datong reconcile")]), class_="empty")]
    under = visit.t("The newest comparison of each.", "每项的最近一次核对。")
    return shown(visit, visit.t("Reconciliation", "对账"), under, body)


def _worst(rows: Sequence[Mapping[str, Any]]) -> str:
    states = {row["status"] for row in rows}
    return next((state for state in _STATES if state in states), "agrees")


def _row(visit: Visit, name: str, rows: Sequence[Mapping[str, Any]], mark: Any, state: str) -> Sequence[Any]:
    en, zh, tone = _STATES[state]
    is_source = rows[0]["kind"] == "source"
    remark = next((row["wrong"] for row in rows if row["status"] == state and row["wrong"]), "")
    if is_source and mark and mark.went_back:
        remark = visit.t(f"went back: {mark.went_back}", f"回退：{mark.went_back}")
    title = _titles(visit).get(name, "")
    told = [page.link("/reconciliation/one" + query(name=name), title or name)]
    return (
        page.joined([*told, Markup("<br>"), page.code(name, long=True)] if title else told),
        page.mark(visit.t(en, zh), tone),
        sum(row["facts"] for row in rows),
        sum(row["different"] for row in rows),
        page.element("span", _through(mark.verified_through) if is_source and mark else "", class_="line"),
        page.element("div", remark, class_="words") if remark else "",
        page.element("span", moment(max(row["checked_at"] for row in rows)), class_="line"),
    )


def _through(text: str | None) -> str:
    """Until where a table is proven: a moment to the minute; a day or a number as it is."""
    return moment(text) if text and "T" in text else text or ""


def _titles(visit: Visit) -> dict[str, str]:
    """What each balance is called."""
    from datong_platform.quality.balances import balances

    return {one.name: visit.t(one.title, one.title_zh) or one.title for one in balances()}


def _one(visit: Visit) -> Answer:
    from datong_platform.quality import record

    name = visit.asked("name")
    found = record.entries(name=name)
    rows: list[Sequence[Any]] = []
    body: list[Markup] = []
    for row in found:
        en, zh, tone = _STATES.get(row["status"], (row["status"], row["status"], "soft"))
        rows.append(
            (
                row["part"] or name,
                page.mark(visit.t(en, zh), tone),
                page.code(row["left_value"]),
                page.code(row["right_value"]),
                row["unit"],
                row["facts"],
                row["different"],
                row["wrong"],
            )
        )
    columns = [
        visit.t("part", "区间"),
        visit.t("state", "状态"),
        visit.t("left", "左侧"),
        visit.t("right", "右侧"),
        visit.t("unit", "单位"),
    ]
    columns += ["#" + visit.t("facts", "核对项"), "#" + visit.t("different", "差异"), visit.t("remark", "备注")]
    body.append(page.table(columns, rows) if rows else empty(visit.t("Never compared.", "从未核对。")))
    for row in found:
        if row["examples"]:
            body += [page.element("h3", row["part"] or name), _examples(visit, row)]
    back = page.link("/reconciliation", visit.t("Reconciliation", "对账"))
    return shown(visit, _titles(visit).get(name) or name, page.joined([back, " · ", page.code(name)]), body)


def _examples(visit: Visit, row: Mapping[str, Any]) -> Markup:
    """The keys behind a difference."""
    names = list(dict.fromkeys(name for example in row["examples"] for name in example))
    table = page.table(names, [[_told(example.get(name)) for name in names] for example in row["examples"]])
    left = row["different"] - len(row["examples"])
    if left <= 0:
        return table
    return page.joined(
        [table, page.element("p", visit.t(f"and {left:,} more keys", f"另有 {left:,} 个主键"), class_="soft")]
    )


def _told(value: Any) -> Any:
    return "" if value is None else page.code(value)


SECTION = Section("/reconciliation", "Reconciliation", "对账", second=True)
PAGES = [Page("/reconciliation", _overview), Page("/reconciliation/one", _one)]
