"""Conservation: what became of the rows that came, table by table, as of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datong_platform import page
from datong_platform.page import Markup

from datong_infra.desk.frame import Answer, Page, Section, Visit, empty, moment, query, shown

_LAYERS = {
    "bronze": ("As sent", "贴源层"),
    "silver": ("Conformed", "标准层"),
    "gold": ("Facts and dimensions", "主题层"),
}
_RUNS = 20


def _overview(visit: Visit) -> Answer:
    from datong_platform.standard import conservation

    runs = conservation.runs(_RUNS)
    asked = visit.asked("run")
    counts = conservation.latest(asked or None)
    lost = sum(abs(count.rows_lost) for count in counts)
    body: list[Markup] = [
        page.facts(
            [
                (visit.t("rows counted", "计数行"), sum(count.rows_in for count in counts)),
                (visit.t("quarantined", "隔离"), sum(count.quarantined for count in counts)),
                (visit.t("waiting", "等待"), sum(count.waiting for count in counts)),
                (visit.t("lost", "丢失"), page.element("span", f"{lost:,}", class_="bad" if lost else "good")),
            ]
        )
    ]
    for layer, name in _LAYERS.items():
        rows = [
            (
                page.code(count.table_name),
                count.source_system or "",
                page.code(count.source_table, long=True),
                count.rows_in,
                count.published,
                count.quarantined,
                count.deduplicated,
                count.left_out,
                count.waiting,
                page.mark(f"{count.rows_lost:,}", "bad") if count.rows_lost else page.mark("0", "good"),
                page.element("span", moment(count.at), class_="line"),
            )
            for count in counts
            if count.layer == layer
        ]
        if rows:
            body += [
                page.element("h2", page.joined([visit.t(*name), " ", page.code(layer)])),
                page.table(_columns(visit), rows),
            ]
    if not counts:
        body = [
            empty(
                visit.t(
                    "Nothing was counted yet: it is with every ingestion and build.",
                    "尚无计数；每次采集和构建都会计数。",
                )
            )
        ]
    if runs:
        body += [page.element("h2", visit.t("Runs", "各次运行")), _runs(visit, runs, asked)]
    under = visit.t(
        "Rows in = published + quarantined + deduplicated + left out + waiting. "
        + (f"As it was when run {asked[:8]} ended." if asked else "As of the last count of each table."),
        "来源行数 = 入库 + 隔离 + 去重 + 按义排除 + 等待。"
        + (f"运行 {asked[:8]} 结束时的情况。" if asked else "各表最近一次计数。"),
    )
    return shown(visit, visit.t("Conservation", "行数守恒"), under, body)


def _columns(visit: Visit) -> list[str]:
    return [
        visit.t("table", "表"),
        visit.t("system", "系统"),
        visit.t("from", "来自"),
        "#" + visit.t("rows in", "来源行"),
        "#" + visit.t("published", "入库"),
        "#" + visit.t("quarantined", "隔离"),
        "#" + visit.t("deduplicated", "去重"),
        "#" + visit.t("left out", "排除"),
        "#" + visit.t("waiting", "等待"),
        "#" + visit.t("lost", "丢失"),
        visit.t("counted (UTC)", "计数时间 (UTC)"),
    ]


def _runs(visit: Visit, runs: Sequence[Any], asked: str) -> Markup:
    rows = [
        (
            page.link(
                "/conservation" + query(run=run.run_id),
                page.code(run.run_id[:8]),
                aria_current="page" if run.run_id == asked else None,
            ),
            page.element("span", moment(run.at), class_="line"),
            run.tables,
            run.rows_in,
            run.quarantined,
            run.waiting,
            page.mark(f"{run.rows_lost:,}", "bad") if run.rows_lost else page.mark("0", "good"),
        )
        for run in runs
    ]
    columns = [
        visit.t("run", "运行"),
        visit.t("at (UTC)", "时间 (UTC)"),
        "#" + visit.t("counts", "计数"),
        "#" + visit.t("rows in", "来源行"),
    ]
    columns += ["#" + visit.t("quarantined", "隔离"), "#" + visit.t("waiting", "等待"), "#" + visit.t("lost", "丢失")]
    return page.table(columns, rows)


SECTION = Section("/conservation", "Conservation", "守恒", second=True)
PAGES = [Page("/conservation", _overview)]
