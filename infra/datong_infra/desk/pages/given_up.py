"""Values that a two-way synchronisation gave up, because both systems had changed them: whose counts, what was lost."""

from __future__ import annotations

from datong_platform import page
from datong_platform.page import Markup

from datong_infra.desk import exchange
from datong_infra.desk.frame import Answer, Page, Section, Visit, choice, empty, entry, field_of, filters, shown

_SHOWN = 200
_WHYS = {
    "owner": ("both had changed it", "双方均有修改"),
    "first": ("they differed at the first comparison", "首次比对时不一致"),
}


def _overview(visit: Visit) -> Answer:
    from datong_ingestion.two_way import agreed, load_syncs

    syncs = load_syncs()
    asked = visit.asked("sync")
    found = agreed.conflicts(asked or None, since=visit.moment("since"), limit=_SHOWN + 1)
    options = [("", visit.t("all", "全部"))]
    options += [(name, visit.t(one.title, one.title_zh) or name) for name, one in syncs.items()]
    body: list[Markup] = [
        filters(
            visit,
            [
                field_of(visit.t("Synchronisation", "双向同步"), choice("sync", options, asked)),
                field_of(visit.t("From (UTC)", "自 (UTC)"), entry("since", visit.asked("since"), type="date")),
            ],
        )
    ]
    rows = [
        (
            page.element("span", f"{one['at']:%Y-%m-%d %H:%M:%S}", class_="line"),
            page.code(one["key"], long=True),
            page.code(one["field"]),
            page.element(
                "div", page.joined([page.element("b", one["winner"]), ": ", one["winner_value"]]), class_="name"
            ),
            page.element(
                "div", page.joined([page.element("b", one["loser"]), ": ", one["loser_value"]]), class_="name differs"
            ),
            one["agreed_value"] if one["agreed_value"] is not None else "–",
            exchange.said(visit, _WHYS, one["why"]),
        )
        for one in found[:_SHOWN]
    ]
    columns = [visit.t("at (UTC)", "时间 (UTC)"), visit.t("key", "主键"), visit.t("field", "字段")]
    columns += [visit.t("what counts", "保留的值"), visit.t("what was given up", "放弃的值")]
    columns += [visit.t("both held before", "此前双方的值"), visit.t("because", "原因")]
    nothing = visit.t("No value was given up.", "没有被放弃的值。")
    body.append(page.table(columns, rows) if rows else empty(nothing))
    if len(found) > _SHOWN:
        older = visit.t(
            f"The newest {_SHOWN}; all of them: datong two-way conflicts.",
            f"最新的 {_SHOWN} 条；全部见 datong two-way conflicts。",
        )
        body.append(page.element("p", older, class_="soft"))
    under = visit.t(
        "Both systems had changed a field; the owner's value counts. If the other was right, set it again in either.",
        "双方都修改了同一字段，以数据归属方为准；若被放弃的值正确，请在任一系统中重新设置。",
    )
    return shown(visit, visit.t("Values given up", "双向同步中放弃的值"), under, body)


SECTION = Section("/given-up", "Given up", "放弃值")
PAGES = [Page("/given-up", _overview)]
