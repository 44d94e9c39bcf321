"""Golden records: which records may be one, side by side with the evidence; what stands for what; merge and split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from datong_platform import page
from datong_platform.errors import ConfigurationError
from datong_platform.page import Markup

from datong_infra.desk import words
from datong_infra.desk.decided import table as decided
from datong_infra.desk.frame import (
    ROWS,
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
    pager,
    shown,
    why,
    yes,
)

if TYPE_CHECKING:
    from datong_platform.standard.matching.queue import Question, Record

_EVENTS = {
    "created": ("created", "新建"),
    "joined": ("joined by", "加入"),
    "left": ("left by", "移出"),
    "merged": ("merged into", "并入"),
    "retired": ("retired", "停用"),
    "returned": ("returned", "恢复"),
}
_STRONG = 12.0
"""Bits of evidence that fill the bar."""


def _overview(visit: Visit) -> Answer:
    from datong_platform.standard.matching import queue

    entity = visit.asked("entity")
    counts = queue.counts()
    _known(visit, entity, counts)
    found = queue.waiting(entity or None, limit=ROWS, offset=(visit.number() - 1) * ROWS)
    chosen = {name: states for name, states in counts.items() if entity in {"", name}}
    review = sum(states.get("review", 0) for states in chosen.values())
    conflict = sum(states.get("conflict", 0) for states in chosen.values())
    body: list[Markup] = [
        page.facts(
            [
                (visit.t("alike, to be judged", "相似待判"), review),
                (visit.t("sure, but a key contradicts", "确认但键冲突"), conflict),
            ]
        ),
        filters(visit, [field_of(visit.t("Entity", "实体"), choice("entity", _entities(visit, counts), entity))]),
    ]
    body.append(
        page.joined([_questions(visit, found), pager(visit, review + conflict)]) if found else empty(_nothing(visit))
    )
    look = [
        field_of(visit.t("Entity", "实体"), choice("entity", _entities(visit, counts)[1:], entity)),
        field_of(visit.t("Name, or system/key", "名称或 系统/主键"), entry("q", required=True, size="30")),
        button(visit.t("Look up", "查找")),
    ]
    body.append(page.element("h2", visit.t("Which golden record stands for a record", "记录对应的主数据")))
    body.append(page.element("form", page.joined(look), method="get", action="/golden", class_="filters"))
    made = queue.made(entity or None)
    if made:
        body += [page.element("h2", visit.t("Decided by stewards", "人工判定")), decided(visit, made, visit.here())]
    under = visit.t("Are these two one? The likeliest first.", "两条记录是否同一？可能性高者在前。")
    return shown(visit, visit.t("Match queue", "主数据匹配"), under, body)


def _nothing(visit: Visit) -> str:
    return visit.t("No pair waits for a decision.", "没有等待判定的记录对。")


def _known(visit: Visit, entity: str, counts: Mapping[str, Any]) -> None:
    if entity and entity not in counts:
        words_ = visit.t("has no golden records.", "没有主数据。")
        raise ConfigurationError(
            entity, words_, visit.t(f"one of {', '.join(counts)}.", f"可选：{', '.join(counts)}。")
        )


def _entities(visit: Visit, counts: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("", visit.t("all", "全部")), *((name, words.of_entity(visit, name)) for name in counts)]


def _questions(visit: Visit, found: Sequence[Question]) -> Markup:
    rows = [
        (
            page.link(address("match", one.question_id), words.of_entity(visit, one.entity)),
            _state(visit, one),
            page.element("span", page.joined([page.bar(one.probability), f"{one.probability:.3f}"]), class_="line"),
            _record(one.left),
            _record(one.right),
        )
        for one in found
    ]
    columns = [
        visit.t("entity", "实体"),
        visit.t("state", "状态"),
        visit.t("probability", "概率"),
        visit.t("one", "一方"),
    ]
    return page.table([*columns, visit.t("other", "另一方")], rows)


def _state(visit: Visit, one: Question) -> Markup:
    if one.state == "conflict":
        return page.mark(visit.t("contradiction", "冲突"), "bad")
    return page.mark(visit.t("to judge", "待判"), "warn")


def _record(record: Record) -> Markup:
    where = page.element("small", f"{record.source_system}/{record.source_key}")
    return page.joined([record.title, Markup("<br>"), where])


def _one(visit: Visit) -> Answer:
    from datong_platform.standard.matching import queue

    asked = queue.question(visit.place["question"])
    contract = words.contract(asked.entity)
    hidden_ = {"source_system", "source_key"}
    names = [
        name for name in {**asked.left.fields, **asked.right.fields} if not name.startswith("_") and name not in hidden_
    ]
    rows: list[Sequence[Any]] = []
    for name in names:
        left, right = asked.left.fields.get(name), asked.right.fields.get(name)
        differs = left != right
        cells = (_cell(visit, left, differs=differs), _cell(visit, right, differs=differs))
        rows.append(
            (page.joined([page.element("b", words.of_field(visit, contract, name)), " ", page.code(name)]), *cells)
        )
    golden = [
        page.link(address("golden", asked.entity, one.golden_id), page.code(one.golden_id))
        for one in (asked.left, asked.right)
    ]
    rows.append((page.element("b", visit.t("golden record", "主数据")), *golden))
    heads = [f"{one.source_system}/{one.source_key}" for one in (asked.left, asked.right)]
    body: list[Markup] = [
        page.facts(
            [
                (visit.t("probability", "概率"), f"{asked.probability:.3f}"),
                (visit.t("evidence, bits", "证据（比特）"), f"{asked.weight:.1f}"),
                (visit.t("state", "状态"), _state(visit, asked)),
            ]
        )
    ]
    if asked.sure_by:
        text = visit.t(
            f"They share {asked.sure_by}, which is sure, and differ in a key that only one record may have.",
            f"二者的 {asked.sure_by} 相同（确定同一），但有一个唯一键不同。",
        )
        body.append(page.element("div", text, class_="note warn"))
    if visit.decides:
        body.append(_ask(visit, asked))
    body += [
        page.element("h2", visit.t("Side by side", "并列对照")),
        page.table([visit.t("field", "字段"), *heads], rows),
    ]
    body += [page.element("h2", visit.t("Evidence", "证据")), _evidence(visit, asked)]
    back = page.joined(
        [page.link("/match", visit.t("Match queue", "主数据匹配")), " · ", words.of_entity(visit, asked.entity)]
    )
    return shown(visit, f"{asked.left.title} = {asked.right.title}?", back, body)


def _cell(visit: Visit, value: Any, *, differs: bool) -> Markup:
    told = page.text(yes(visit, value) if isinstance(value, bool) else None if value is None else str(value))
    return page.element("div", told or Markup("&nbsp;"), class_="differs") if differs else told


def _ask(visit: Visit, asked: Question) -> Markup:
    """One reason, two answers: the keys a and r press them."""
    line = entry("why", required=True, size="56", maxlength="2000")
    answers = [
        button(visit.t("They are one", "是同一个"), tone="main", key="a", name="answer", value="accept"),
        button(visit.t("They are two", "不是同一个"), tone="bad", key="r", name="answer", value="reject"),
    ]
    reason = field_of(visit.t("Why (kept with the decision)", "理由（随决定一并保存）"), line)
    parts = [hidden("entity", asked.entity), page.element("div", page.joined([reason, *answers]), class_="filters")]
    return form(visit, visit.path, parts, shape="line")


def _evidence(visit: Visit, asked: Question) -> Markup:
    from datong_platform.standard.in_chinese import in_chinese

    rows: list[Sequence[Any]] = []
    for told in asked.evidence:
        weight = float(told["weight"])
        tone = "good" if weight > 0 else "bad" if weight < 0 else "soft"
        size = page.joined([page.bar(abs(weight) / _STRONG), page.element("span", f"{weight:+.1f}", class_=tone)])
        rows.append(
            (
                visit.t(str(told["title"]), str(told.get("title_zh") or told["title"])),
                visit.t(str(told["level"]), in_chinese(str(told["level"]))),
                page.element("span", size, class_="line"),
            )
        )
    return page.table(
        [visit.t("what was compared", "比较项"), visit.t("found", "结果"), visit.t("weight (bits)", "权重（比特）")],
        rows,
    )


def _answer(visit: Visit) -> Answer:
    from datong_platform.standard.matching import queue

    reason = visit.given("why", visit.t("why", "理由"))
    decide = queue.accept if visit.form.get("answer") == "accept" else queue.reject
    made = decide(visit.place["question"], visit.who, reason)
    waiting = queue.waiting(made.entity, limit=1)
    to = address("match", waiting[0].question_id) if waiting else "/match"
    said = visit.t("the same", "同一") if made.kind == "match" else visit.t("not the same", "不同")
    text = visit.t(f"Recorded: {said}. It takes effect at the next build.", f"已记录：{said}。下次构建时生效。")
    return Answer(to=to, notice=text)


def _look_up(visit: Visit) -> Answer:
    from datong_platform.standard.matching import queue

    entity, wanted = visit.asked("entity"), visit.asked("q")
    _known(visit, entity or visit.t("an address without an entity", "没有指定实体的地址"), queue.counts())
    found = queue.find(entity, wanted) if wanted else []
    rows = [
        (
            page.link(address("golden", entity, one.golden_id), page.code(one.golden_id)),
            one.title,
            one.source_system,
            page.code(one.source_key),
        )
        for one in found[: 10 * ROWS]
    ]
    columns = [
        visit.t("golden record", "主数据"),
        visit.t("name", "名称"),
        visit.t("system", "系统"),
        visit.t("key", "主键"),
    ]
    body = [page.table(columns, rows) if rows else empty(visit.t("Nothing is called so.", "没有匹配的记录。"))]
    back = page.joined(
        [page.link("/match", visit.t("Match queue", "主数据匹配")), " · ", words.of_entity(visit, entity)]
    )
    return shown(visit, visit.t(f"Golden records: {wanted}", f"主数据：{wanted}"), back, body)


def _golden(visit: Visit) -> Answer:
    from datong_platform.standard.matching import queue

    entity, golden_id = visit.place["entity"], visit.place["id"]
    _known(visit, entity, queue.counts())
    back = page.joined(
        [page.link("/match", visit.t("Match queue", "主数据匹配")), " · ", words.of_entity(visit, entity)]
    )
    try:
        records = queue.golden(entity, golden_id)
    except ConfigurationError as error:
        # merged or gone: its history tells where it went
        body = [page.element("div", error.reason, class_="note warn")]
        return shown(visit, golden_id, back, [*body, _history(visit, entity, golden_id)])
    rows = [
        (
            page.element(
                "input", type="checkbox", name=f"record {one.source_system}/{one.source_key}", aria_label=one.source_key
            )
            if visit.decides and len(records) > 1
            else "",
            one.title,
            one.source_system,
            page.code(one.source_key),
        )
        for one in records
    ]
    table = page.table(["", visit.t("name", "名称"), visit.t("system", "系统"), visit.t("key", "主键")], rows)
    body: list[Markup] = []
    if visit.decides and len(records) > 1:
        reason = field_of(
            visit.t("Why (kept with the decision)", "理由（随决定一并保存）"), entry("why", required=True, size="50")
        )
        act = button(visit.t("Take the ticked records out, for good", "将所选记录移出"), tone="bad")
        line = page.element("div", page.joined([reason, act]), class_="filters")
        body.append(form(visit, f"{visit.path}/split", [table, line], shape="wide"))
    else:
        body.append(table)
    if visit.decides:
        body.append(page.element("h2", visit.t("Merge with another one", "与另一条合并")))
        other = field_of(visit.t("Its id", "主数据编号"), entry("other", required=True))
        body.append(form(visit, f"{visit.path}/merge", [other, why(visit), button(visit.t("They are one", "合并"))]))
    body.append(_history(visit, entity, golden_id))
    return shown(visit, f"{records[0].title} · {golden_id}", back, body)


def _history(visit: Visit, entity: str, golden_id: str) -> Markup:
    from datong_platform.standard.matching import queue

    rows: list[Sequence[Any]] = []
    for event in queue.events(entity, golden_id):
        en, zh = _EVENTS.get(str(event["event"]), (str(event["event"]), str(event["event"])))
        other = str(event["other_id"] or "")
        undo: Any = ""
        if visit.decides and event["event"] == "merged":
            reason = entry("why", required=True, placeholder=visit.t("why", "理由"), aria_label=visit.t("why", "理由"))
            parts = [hidden("what", str(event["golden_id"])), reason, button(visit.t("Undo", "撤销"))]
            undo = form(visit, f"{visit.path}/undo", parts, shape="line")
        record = f"{event['source_system']}/{event['source_key']}" if event["source_key"] else ""
        told = page.link(address("golden", entity, other), page.code(other)) if other else ""
        rows.append(
            (
                page.element("span", moment(event["happened_at"]), class_="line"),
                page.code(event["golden_id"]),
                visit.t(en, zh),
                page.code(record),
                told,
                undo,
            )
        )
    if not rows:
        return Markup("")
    columns = [visit.t("at (UTC)", "时间 (UTC)"), visit.t("golden record", "主数据"), visit.t("what happened", "事件")]
    columns += [visit.t("record", "记录"), visit.t("other", "另一方"), ""]
    return page.joined([page.element("h2", visit.t("History", "历史")), page.table(columns, rows)])


def _merge(visit: Visit) -> Answer:
    from datong_platform.standard.matching import queue

    entity, golden_id = visit.place["entity"], visit.place["id"]
    other = visit.given("other", visit.t("its id", "主数据编号"))
    queue.merge(entity, golden_id, other, who=visit.who, why=visit.given("why", visit.t("why", "理由")))
    return _done(visit)


def _split(visit: Visit) -> Answer:
    from datong_platform.standard.matching import queue

    leaving = [name.removeprefix("record ") for name in visit.form if name.startswith("record ")]
    entity, golden_id = visit.place["entity"], visit.place["id"]
    queue.split(entity, golden_id, leaving, who=visit.who, why=visit.given("why", visit.t("why", "理由")))
    return _done(visit)


def _undo(visit: Visit) -> Answer:
    from datong_platform.standard.matching import queue

    queue.undo(visit.given("what", "id"), visit.who, visit.given("why", visit.t("why", "理由")))
    return _done(visit)


def _done(visit: Visit) -> Answer:
    to = address("golden", visit.place["entity"], visit.place["id"])
    text = visit.t("The decision is recorded; it takes effect at the next build.", "决定已记录，下次构建时生效。")
    return Answer(to=to, notice=text)


SECTION = Section("/match", "Matches", "主数据", second=True)
PAGES = [
    Page("/match", _overview),
    Page("/match/{question}", _one),
    Page("/match/{question}", _answer, "POST", decides=True),
    Page("/golden", _look_up),
    Page("/golden/{entity}/{id}", _golden),
    Page("/golden/{entity}/{id}/merge", _merge, "POST", decides=True),
    Page("/golden/{entity}/{id}/split", _split, "POST", decides=True),
    Page("/golden/{entity}/{id}/undo", _undo, "POST", decides=True),
]
