"""Quality over time: the scores of entities by the dimensions of GB/T 36344, and what they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from datong_platform import page
from datong_platform.page import Markup

from datong_infra.desk import words
from datong_infra.desk.frame import Answer, Page, Section, Visit, address, empty, moment, query, shown

_GOOD, _FAIR = 0.99, 0.95
_WIDTH, _HEIGHT = 520, 90


def _overview(visit: Visit) -> Answer:
    from datong_platform.quality import scores
    from datong_platform.standard.rules import DIMENSIONS

    found = scores.latest()
    names = [scores.OVERALL, *DIMENSIONS]
    by_entity: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in found:
        if not row["source_system"]:
            by_entity.setdefault(row["entity"], {})[row["dimension"]] = row
    rows: list[Sequence[Any]] = []
    for entity, mine in sorted(by_entity.items(), key=lambda item: item[1].get(scores.OVERALL, {}).get("score", 1.0)):
        overall = mine.get(scores.OVERALL)
        rows.append(
            (
                page.link(address("quality", entity), words.of_entity(visit, entity)),
                overall["records"] if overall else "",
                *(_score(mine[name]["score"]) if name in mine else "" for name in names),
                page.element("span", moment(overall["measured_at"]), class_="line") if overall else "",
            )
        )
    columns = [visit.t("entity", "实体"), "#" + visit.t("records", "记录"), visit.t("overall", "总分")]
    columns += [visit.t(name, DIMENSIONS[name]) for name in DIMENSIONS]
    body = [page.table([*columns, visit.t("measured (UTC)", "测量时间 (UTC)")], rows)]
    if not rows:
        text = visit.t("Nothing was measured yet. Run ", "尚未测量。请运行 ")
        body = [page.element("p", page.joined([text, page.code("datong quality")]), class_="empty")]
    under = visit.t("By the dimensions of GB/T 36344; the lowest first.", "按 GB/T 36344 的质量维度；低分在前。")
    return shown(visit, visit.t("Data quality", "数据质量"), under, body)


def said(score: float) -> str:
    """A score in percent, never rounded up to a perfection that is not there."""
    return f"{int(score * 10_000) / 100:.2f} %"


def _score(score: float) -> Markup:
    tone = "good" if score >= _GOOD else "warn" if score >= _FAIR else "bad"
    return page.element("span", said(score), class_=f"line {tone}")


def _one(visit: Visit) -> Answer:
    from datong_platform.quality import scores

    entity = visit.place["entity"]
    history = scores.history_of(entity)
    newest = scores.latest(entity)
    overall = [
        (row["measured_at"], row["score"])
        for row in history
        if not row["source_system"] and row["dimension"] == scores.OVERALL
    ]
    back = page.joined(
        [page.link("/quality", visit.t("Data quality", "数据质量")), " · ", page.code(f"silver.{entity}")]
    )
    title = words.of_entity(visit, entity)
    if not newest:
        return shown(visit, title, back, [empty(visit.t("It was not measured yet.", "尚未测量。"))])
    contract = words.contract(entity)
    rows: list[Sequence[Any]] = []
    for row in newest:
        dimension = (
            visit.t("overall", "总分")
            if row["dimension"] == scores.OVERALL
            else visit.t(row["dimension"], str(row["dimension_zh"]))
        )
        rules = sorted(row["rules"].items(), key=lambda item: -item[1])[:6]
        broken = page.joined(
            [
                page.joined(
                    [
                        page.link(
                            address("quarantine", entity) + query(rule=name.rpartition(".")[2]),
                            words.of_rule(visit, contract, "", name.rpartition(".")[2]),
                        ),
                        f" {count:,}",
                    ]
                )
                for name, count in rules
            ],
            "; ",
        )
        rows.append(
            (
                row["source_system"] or visit.t("all", "全部"),
                dimension,
                _score(row["score"]),
                row["records"],
                row["broken"],
                broken,
            )
        )
    columns = [
        visit.t("system", "系统"),
        visit.t("dimension", "维度"),
        visit.t("score", "得分"),
        "#" + visit.t("records", "记录"),
    ]
    columns += ["#" + visit.t("broken", "违反"), visit.t("rules", "规则")]
    body = [page.table(columns, rows)]
    if len(overall) > 1:
        body = [page.element("h2", visit.t("Overall score over time", "总分变化")), _line(visit, overall), *body]
    to = page.link(f"/dictionary/silver.{entity}.html", visit.t("What its fields mean", "字段含义"))
    return shown(visit, title, page.joined([back, " · ", to]), body)


def _line(visit: Visit, points: Sequence[tuple[datetime, float]]) -> Markup:
    """The scores as a line, from the lowest of them to 100 percent."""
    shown_points = points[-60:]
    low = min(score for _, score in shown_points)
    span = max(1.0 - low, 0.001)
    step = _WIDTH / max(1, len(shown_points) - 1)
    path = " ".join(
        f"{'M' if at == 0 else 'L'}{at * step:.1f} {5 + (1.0 - score) / span * (_HEIGHT - 10):.1f}"
        for at, (_, score) in enumerate(shown_points)
    )
    label = visit.t(
        f"from {said(shown_points[0][1])} to {said(shown_points[-1][1])}",
        f"从 {said(shown_points[0][1])} 到 {said(shown_points[-1][1])}",
    )
    drawn = Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="{page.text(label)}">'
        f'<path d="{path}" fill="none" stroke="var(--accent)" stroke-width="2"/></svg>'
    )
    first, last = moment(shown_points[0][0]), moment(shown_points[-1][0])
    return page.joined([drawn, page.element("p", f"{first} – {last} UTC · {label}", class_="soft")])


SECTION = Section("/quality", "Quality", "质量", second=True)
PAGES = [Page("/quality", _overview), Page("/quality/{entity}", _one)]
