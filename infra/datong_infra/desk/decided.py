"""Decisions that are in force, each with the way to take it back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from datong_platform import page
from datong_platform.page import Markup

from datong_infra.desk import words
from datong_infra.desk.frame import Answer, Page, Visit, address, button, entry, form, hidden, moment

if TYPE_CHECKING:
    from datong_platform.standard.decisions import Decision


def table(visit: Visit, decisions: Iterable[Decision], back: str) -> Markup:
    """Decisions, who made them and why; `back` is where one goes on after taking one back."""
    rows: list[Sequence[Any]] = []
    for one in decisions:
        withdraw: Any = ""
        if visit.decides:
            reason = entry("why", required=True, placeholder=visit.t("why", "理由"), aria_label=visit.t("why", "理由"))
            parts = [hidden("back", back), reason, button(visit.t("Take back", "撤销"))]
            withdraw = form(visit, address("decision", one.decision_id, "withdraw"), parts, shape="line")
        limit = moment(one.valid_until) or visit.t("always", "长期")
        at = page.element("span", moment(one.decided_at), class_="line")
        rows.append((words.of_decision(visit, one), one.who, one.why, at, limit, withdraw))
    columns = [
        visit.t("decision", "决定"),
        visit.t("who", "决定人"),
        visit.t("why", "理由"),
        visit.t("at (UTC)", "时间 (UTC)"),
    ]
    return page.table([*columns, visit.t("until (UTC)", "有效期至 (UTC)"), ""], rows)


def _withdraw(visit: Visit) -> Answer:
    from datong_platform.standard import decisions

    decisions.withdraw(visit.place["id"], visit.who, visit.given("why", visit.t("why", "理由")))
    return Answer(
        to=visit.back("/"),
        notice=visit.t("The decision is taken back, from the next build on.", "决定已撤销，自下次构建起生效。"),
    )


PAGES = [Page("/decision/{id}/withdraw", _withdraw, "POST", decides=True)]
