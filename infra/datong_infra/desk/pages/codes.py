"""Codes that systems send and the standard does not know: a steward says what each means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datong_platform import page
from datong_platform.page import Markup

from datong_infra.desk import words
from datong_infra.desk.decided import table as decided
from datong_infra.desk.frame import (
    Answer,
    Page,
    Section,
    Visit,
    address,
    button,
    choice,
    empty,
    entry,
    field_of,
    filters,
    form,
    hidden,
    moment,
    shown,
)

if TYPE_CHECKING:
    from datong_platform.standard.codes import Proposal, Unmapped

_BASES = {
    "code": ("the standard's own code", "即标准代码"),
    "title": ("its title", "与名称相同"),
    "symbol": ("a way to write it", "常见写法"),
    "other system": ("another system means it so", "其他系统同义"),
    "similar": ("written alike", "写法相近"),
}


def _overview(visit: Visit) -> Answer:
    from datong_platform.standard import codes, decisions

    system = visit.asked("system")
    found = codes.unmapped(system or None)
    parts = [field_of(visit.t("System", "系统"), choice("system", words.systems(visit), system))]
    waiting = sum(one.withheld_rows for one in found)
    body = [
        page.facts(
            [
                (visit.t("unknown codes", "未对照代码"), len(found)),
                (visit.t("rows that wait for them", "因此被拦截的行"), waiting),
            ]
        ),
        filters(visit, parts),
    ]
    body += [_one(visit, one) for one in found]
    if not found:
        body.append(empty(visit.t("Every code that systems send is known.", "各系统发送的代码均已对照。")))
    mapped = [one for one in decisions.active("code_mapping") if system in {"", one.source_system}]
    if mapped:
        body += [page.element("h2", visit.t("Decided by stewards", "人工对照")), decided(visit, mapped, visit.here())]
    under = visit.t(
        "As of the last build, without what was decided since. The next build releases the rows that waited.",
        "截至上次构建，不含此后已作的决定；下次构建时释放等待的行。",
    )
    return shown(visit, visit.t("Unknown codes", "未对照代码"), under, body)


def _one(visit: Visit, one: Unmapped) -> Markup:
    of_set = page.link(f"/dictionary/codes.{one.code_set}.html", one.code_set.replace("_", " "))
    title = page.joined(
        [
            page.code(one.source_code or visit.t("(none)", "（空）")),
            " ",
            visit.t("as", "作为"),
            " ",
            of_set,
            " · ",
            one.source_system,
        ]
    )
    entities = page.joined(
        [
            page.link(
                address("quarantine", name) + f"?rule=known_{one.code_set}&system={one.source_system}",
                words.of_entity(visit, name),
            )
            for name in one.entities
        ],
        ", ",
    )
    facts = page.joined(
        [
            visit.t(
                f"{one.rows:,} {'row' if one.rows == 1 else 'rows'}, {one.withheld_rows:,} kept out",
                f"{one.rows:,} 行，其中拦截 {one.withheld_rows:,} 行",
            ),
            ": ",
            entities,
            visit.t(f"; since {moment(one.first_seen_at)} UTC", f"；始于 {moment(one.first_seen_at)} UTC"),
        ]
    )
    parts: list[Markup] = [page.element("h3", title), page.element("p", facts, class_="soft")]
    if one.proposals:
        parts.append(_proposals(visit, one.proposals))
    if not one.source_code:
        text = visit.t("No code was sent: fix the records themselves.", "来源没有给出代码，请修正记录本身。")
        parts.append(page.element("p", text))
    elif visit.decides:
        parts.append(_decide(visit, one))
    return page.element("section", page.joined(parts))


def _proposals(visit: Visit, proposals: Sequence[Proposal]) -> Markup:
    rows = [
        (
            page.code(one.code),
            visit.t(one.title, one.title_zh),
            page.joined([page.bar(one.score), f"{one.score:.2f}"]),
            page.joined(
                [visit.t(*_BASES[one.basis]), " ", page.element("small", visit.t(one.evidence, one.evidence_zh))]
            ),
        )
        for one in proposals
    ]
    columns = [
        visit.t("proposed", "建议"),
        visit.t("meaning", "含义"),
        visit.t("how sure", "把握"),
        visit.t("because", "依据"),
    ]
    return page.table(columns, rows)


def _decide(visit: Visit, one: Unmapped) -> Markup:
    from datong_platform.standard import codes

    known = codes.code_sets().get(one.code_set, {})
    first = one.proposals[0].code if one.proposals else ""
    options = [("", visit.t("choose …", "请选择 …"))] if not first else []
    options += [(each.code, f"{each.code} · {visit.t(each.title, each.title_zh)}") for each in known.values()]
    because = (
        visit.t(f"accepted the proposal: {one.proposals[0].evidence}", f"接受建议：{one.proposals[0].evidence_zh}")
        if first
        else ""
    )
    parts = [
        hidden("system", one.source_system),
        hidden("code_set", one.code_set),
        hidden("source_code", one.source_code),
        hidden("back", visit.here()),
        page.element(
            "div",
            page.joined(
                [
                    field_of(visit.t("Means", "对应"), choice("code", options, first, required=True)),
                    field_of(visit.t("Why", "理由"), entry("why", because, required=True, size="52", maxlength="2000")),
                    field_of(visit.t("Until (optional)", "有效期至（可选）"), entry("until", type="date")),
                    button(visit.t("It means this", "确认对照"), tone="main"),
                ]
            ),
            class_="filters",
        ),
    ]
    return form(visit, "/codes", parts, shape="line")


def _map(visit: Visit) -> Answer:
    from datong_platform.standard import codes

    made = codes.map_code(
        visit.given("system", visit.t("system", "系统")),
        visit.given("code_set", visit.t("code list", "代码集")),
        visit.form.get("source_code", ""),
        visit.given("code", visit.t("means", "对应")),
        who=visit.who,
        why=visit.given("why", visit.t("why", "理由")),
        valid_until=words.until(visit),
    )
    said: Any = f"{made.source_system} {made.source_key} → {made.value}"
    return Answer(
        to=visit.back("/codes"),
        notice=visit.t(f"{said}: recorded; it takes effect at the next build.", f"{said}：已记录，下次构建时生效。"),
    )


SECTION = Section("/codes", "Codes", "代码对照", second=True)
PAGES = [Page("/codes", _overview), Page("/codes", _map, "POST", decides=True)]
