"""Rows on the way back: those of a state with filters, one with both sides beside each other, decided by a person."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from datong_platform import page
from datong_platform.errors import ConfigurationError, DatongError
from datong_platform.page import Markup

from datong_infra.desk import exchange
from datong_infra.desk.frame import (
    ROWS,
    Answer,
    Page,
    Section,
    Visit,
    address,
    button,
    choice,
    counted,
    empty,
    entry,
    field_of,
    filters,
    form,
    hidden,
    moment,
    pager,
    problem,
    query,
    shown,
    tick_all,
    why,
)

if TYPE_CHECKING:
    from datong_ingestion.write_back.decisions import Decision, Kind
    from datong_ingestion.write_back.ledger import Entry
    from datong_ingestion.write_back.standing import Row

_CHOSEN = "row "
"""What a box before a row is called: this, its flow and its key."""
_ANSWERS: dict[str, tuple[str, str, str, str]] = {
    "accept_ours": ("Write ours over it", "以我方为准，重新写入", "main", "o"),
    "accept_theirs": ("Let theirs stand", "以对方为准，不再写入", "", "t"),
    "approve": ("Approve", "批准", "main", "a"),
    "reject": ("Reject", "驳回", "bad", "r"),
    "retry": ("Try again", "重试", "", "y"),
    "cancel": ("Cancel it", "取消", "bad", "c"),
}
"""English and Chinese words, tone and key of each decision about a row."""


def _list(visit: Visit) -> Answer:
    from datong_ingestion.write_back import standing

    totals = standing.totals()
    flow, state, text = visit.asked("flow"), visit.asked("state"), visit.asked("text")
    operation = visit.asked("operation")
    if state and state not in exchange.STATES:
        raise ConfigurationError(
            state, visit.t("is no state.", "不是一种状态。"), visit.t("choose one of the list.", "请从列表中选择。")
        )
    found, total = standing.page(
        flow or None,
        [state] if state else (),  # pyright: ignore[reportArgumentType]
        operation=operation or None,
        text=text,
        plan=visit.asked("plan") or None,
        offset=(visit.number() - 1) * ROWS,
        limit=ROWS,
    )
    states = exchange.options(visit, exchange.STATES, ("all open", "全部未完成"))
    operations = exchange.options(visit, exchange.OPERATIONS, ("all", "全部"))
    parts = [
        field_of(visit.t("Flow", "流程"), choice("flow", exchange.flow_options(visit, totals), flow)),
        field_of(visit.t("State", "状态"), choice("state", states, state)),
        field_of(visit.t("Operation", "操作"), choice("operation", operations, operation)),
        field_of(visit.t("Key or words", "主键或文字"), entry("text", text, type="search")),
        *([hidden("plan", visit.asked("plan"))] if visit.asked("plan") else []),
    ]
    body: list[Markup] = [_states(visit, totals, flow, state), filters(visit, parts)]
    if found:
        listing = [_table(visit, found), pager(visit, total)]
        body.append(_many(visit, listing, state) if visit.decides else page.joined(listing))
    else:
        body.append(empty(visit.t("There is no such row.", "没有符合条件的行。")))
    under = counted(visit, total, "row", "rows", "行") + visit.t(", the newest first.", "，最新的在前。")
    return shown(visit, visit.t("Rows on the way back", "回写行"), under, body)


def _states(visit: Visit, totals: Mapping[str, Any], flow: str, chosen: str) -> Markup:
    """How many rows are in each state, each leading to them."""
    every = [one for name, one in totals.items() if flow in {"", name}]
    cells = [
        page.link(
            "/rows" + query(flow=flow, state=state),
            page.joined(
                [
                    page.element("b", sum(one.rows(state) for one in every)),
                    page.element("small", exchange.said(visit, exchange.STATES, state)),
                ]
            ),
            class_="fact",
            aria_current="page" if state == chosen else None,
        )
        for state in exchange.STATES
        if state not in {"verified", "cancelled"}
    ]
    return page.element("div", page.joined(cells), class_="facts")


def _table(visit: Visit, found: Sequence[Row]) -> Markup:
    from datong_ingestion.write_back import decisions

    decided = {
        (flow, key): one
        for flow in {row.flow for row in found}
        for key, one in decisions.waiting_for(flow, [row.key for row in found if row.flow == flow]).items()
    }
    defined = exchange.flows()
    rows: list[Sequence[Any]] = []
    for one in found:
        box = page.element(
            "input", type="checkbox", name=f"{_CHOSEN}{json.dumps([one.flow, one.key])}", aria_label=one.key
        )
        tried = page.text(f"{one.attempt}") if not one.tries else page.text(f"{one.attempt} / {one.tries}")
        again = moment(one.next_at)
        rows.append(
            (
                box if visit.decides else "",
                page.link(exchange.row_address(one.flow, one.key), page.code(one.key, long=True)),
                page.element(
                    "div", page.element("small", exchange.title(visit, defined.get(one.flow), one.flow)), class_="name"
                ),
                page.joined([exchange.mark(visit, exchange.STATES, one.state), _decided(visit, decided, one)]),
                page.element("span", exchange.said(visit, exchange.OPERATIONS, one.operation), class_="line"),
                page.element("div", page.element("small", exchange.words(visit, one.words, 240)), class_="words"),
                tried,
                page.element("span", again, class_="line"),
                page.element("span", moment(one.at), class_="line"),
            )
        )
    columns = [
        tick_all(visit) if visit.decides else "",
        visit.t("key", "主键"),
        visit.t("flow", "流程"),
        visit.t("state", "状态"),
        visit.t("operation", "操作"),
        visit.t("what was said", "说明"),
        "#" + visit.t("sent", "发送次数"),
        visit.t("again at (UTC)", "重试时间 (UTC)"),
        visit.t("since (UTC)", "始于 (UTC)"),
    ]
    return page.table(columns, rows)


def _decided(visit: Visit, decided: Mapping[tuple[str, str], Decision], one: Row) -> Markup:
    """That a person has decided, and the next run carries it out."""
    made = decided.get((one.flow, one.key))
    if made is None:
        return Markup("")
    words = visit.t(f"decided by {made.who}: ", f"{made.who} 已决定：") + exchange.said(
        visit, exchange.KINDS, made.kind
    )
    return page.joined([Markup("<br>"), page.element("small", words)])


def _many(visit: Visit, listing: Iterable[Markup], state: str) -> Markup:
    """The list as a form: one reason, and what is decided about the ticked rows."""
    from datong_ingestion.write_back import decisions

    fitting = [kind for kind in _ANSWERS if not state or state in decisions.ALLOWED[kind]]  # pyright: ignore[reportArgumentType]
    if not fitting:
        return page.joined(listing)
    answers = [
        button(visit.t(_ANSWERS[kind][0], _ANSWERS[kind][1]), name="kind", value=kind, tone=_ANSWERS[kind][2])
        for kind in fitting
    ]
    line = page.element("div", page.joined([exchange.why_line(visit), *answers]), class_="actions")
    title = page.element("h2", visit.t("Decide about the ticked rows", "对所选行作出决定"))
    return form(visit, "/rows/decide", [*listing, title, hidden("back", visit.here()), line], shape="wide")


def _decide_many(visit: Visit) -> Answer:
    from datong_ingestion.write_back import decisions

    chosen = [json.loads(name.removeprefix(_CHOSEN)) for name in visit.form if name.startswith(_CHOSEN)]
    if not chosen:
        raise ConfigurationError(
            visit.t("no row", "没有行"), visit.t("is ticked.", "被选中。"), visit.t("tick some.", "请先勾选。")
        )
    kind, reason = _kind(visit), visit.given("why", visit.t("why", "理由"))
    done, refused = 0, list[DatongError]()
    for flow in dict.fromkeys(pair[0] for pair in chosen):
        keys = [pair[1] for pair in chosen if pair[0] == flow]
        made, not_made = decisions.decide_rows(flow, keys, kind, who=visit.who, why=reason)
        done += len(made)
        refused += not_made.values()
    told = visit.t(f"{done} decisions are recorded; ", f"已记录 {done} 项决定；") + _next(visit)
    if refused:
        first = f"{refused[0].thing} {refused[0].reason}"
        told += visit.t(f" {len(refused)} are not: {first}", f" {len(refused)} 项未能记录：{first}")
    return Answer(to=visit.back("/rows"), notice=told)


def _next(visit: Visit) -> str:
    return visit.t("the flow's next run carries them out.", "将由该流程的下次运行执行。")


def _kind(visit: Visit) -> Kind:
    kind = visit.given("kind", visit.t("decision", "决定"))
    if kind not in _ANSWERS:
        raise ConfigurationError(kind, visit.t("is no decision about a row.", "不是对行的决定。"))
    return kind  # pyright: ignore[reportReturnType]


def _made(visit: Visit, row: tuple[str, str], kind: Kind, reason: str, payload: Any = None) -> Decision:
    from datong_ingestion.write_back import decisions

    flow, key = row
    return decisions.decide(flow, kind, who=visit.who, why=reason, key=key, payload=payload)


def _one(visit: Visit) -> Answer:
    from datong_ingestion.write_back import decisions, ledger

    flow, key = visit.place["flow"], visit.place["key"]
    steps = ledger.history(flow, key)
    if not steps:
        raise ConfigurationError(
            f"{flow} {key}",
            visit.t("is not in the ledger.", "不在台账中。"),
            visit.t("choose a row of the list.", "请从列表中选择。"),
        )
    last = steps[-1]
    defined = exchange.flows()
    made = decisions.history(flow, key)
    waits = [one for one in made if one.carried_out_at is None]
    facts = [
        (visit.t("state", "状态"), exchange.mark(visit, exchange.STATES, last.state)),
        (visit.t("operation", "操作"), exchange.said(visit, exchange.OPERATIONS, last.operation)),
        (visit.t("sent", "发送次数"), last.attempt),
        (visit.t("failed runs", "失败的运行"), last.tries or ""),
        (visit.t("tried again at (UTC)", "重试时间 (UTC)"), moment(last.next_at)),
        (visit.t("the system's key", "目标系统主键"), last.target_key or ""),
        (visit.t("its answer", "应答状态"), str(last.status or "")),
        (visit.t("since (UTC)", "始于 (UTC)"), moment(last.at)),
    ]
    body: list[Markup] = [page.facts([(name, value) for name, value in facts if value not in ("", None)])]
    if last.words:
        tone = exchange.STATES.get(last.state, ("", "", ""))[2]
        body.append(page.element("div", exchange.words(visit, last.words), class_=f"note {tone}"))
    body += [page.element("h2", visit.t("Both sides", "双方数据")), _sides(visit, steps)]
    if waits:
        body += [page.element("h2", visit.t("Decided, not carried out yet", "已决定，待执行"))]
        body.append(exchange.decisions(visit, waits, visit.path))
        body.append(page.link(address("flows", flow), visit.t("To the flow, to run it now", "前往流程立即运行")))
    elif visit.decides:
        body.append(_answers(visit, steps))
    done = [one for one in made if one.carried_out_at is not None]
    if done:
        body += [page.element("h2", visit.t("Decided", "已作决定")), exchange.decisions(visit, done, visit.path)]
    body += [page.element("h2", visit.t("What happened to it", "处理过程")), _steps(visit, steps)]
    way = [page.link("/rows", visit.t("Rows on the way back", "回写行"))]
    called = exchange.title(visit, defined.get(flow), flow)
    way += [page.link(address("flows", flow), called), page.code(key)]
    return shown(visit, f"{called}: {key}", page.joined(way, " · "), body)


def _payload(steps: Sequence[Entry]) -> dict[str, Any]:
    """What was last wanted or sent."""
    text = next((one.payload for one in reversed(steps) if one.payload), None)
    return json.loads(text) if text else {}


def _sides(visit: Visit, steps: Sequence[Entry]) -> Markup:
    """Ours, what the system held before, what it held instead, and, when asked for, what it holds now."""
    ours = exchange.flat(_payload(steps))
    sides: list[tuple[str, Mapping[str, Any]]] = [(visit.t("ours", "我方"), ours)]
    held = next((one for one in reversed(steps) if one.held), None)
    before = next((one for one in reversed(steps) if one.pre_image), None)
    if held is not None:
        at = moment(held.at)
        sides.append((visit.t(f"theirs, {at} UTC", f"对方，{at} UTC"), exchange.flat(held.held)))
    if before is not None:
        at = moment(before.at)
        sides.append((visit.t(f"before we wrote, {at} UTC", f"写入前，{at} UTC"), exchange.flat(before.pre_image)))
    trouble: Markup | None = None
    if visit.asked("live"):
        try:
            sides += _live(visit, steps[-1], list(_payload(steps)))
        except DatongError as error:
            trouble = problem(visit, error)
    if len(sides) == 1 and not visit.asked("live"):
        note = visit.t("What the system holds was not kept with this row.", "该行没有保存目标系统的数据。")
        trouble = page.element("p", note, class_="soft")
    words = visit.t("Read the system again", "重新读取目标系统") if visit.asked("live") else _now(visit)
    again = page.element("p", page.link(visit.path + "?live=1", words, data_key="l"))
    table = exchange.side_by_side(visit, sides, ours)
    return page.joined([*([trouble] if trouble else []), table, again])


def _now(visit: Visit) -> str:
    return visit.t("Read what the system holds now", "读取目标系统的当前数据")


def _live(visit: Visit, last: Entry, names: Sequence[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """What the target holds for a key at this moment: a side for each record. Errors as the target raises them."""
    sent = {last.key: last.idempotency_key if last.attempt else ""}
    found = exchange.held_now(visit, last.flow, sent).get(last.key, [])
    if isinstance(found, DatongError):
        raise found
    now = visit.t("theirs, now", "对方，当前")
    if not found:
        return [(visit.t("theirs, now: no such record", "对方，当前：没有该记录"), {})]
    return [
        (f"{now}: {one.target_key}", exchange.flat({name: one.fields.get(name) for name in names})) for one in found
    ]


def _answers(visit: Visit, steps: Sequence[Entry]) -> Markup:
    """One reason and the decisions that fit the row's state; below it the form that mends its values."""
    from datong_ingestion.write_back import decisions

    last = steps[-1]
    fitting = [kind for kind in _ANSWERS if last.state in decisions.ALLOWED[kind]]  # pyright: ignore[reportArgumentType]
    parts: list[Markup] = []
    if fitting:
        answers = [
            button(
                visit.t(_ANSWERS[kind][0], _ANSWERS[kind][1]),
                tone=_ANSWERS[kind][2],
                key=_ANSWERS[kind][3],
                name="kind",
                value=kind,
            )
            for kind in fitting
        ]
        line = page.element("div", page.joined([exchange.why_line(visit), *answers]), class_="actions")
        parts += [
            page.element("h2", visit.t("Decide", "作出决定")),
            form(visit, f"{visit.path}/decide", [line], shape="wide"),
        ]
    if last.state in decisions.ALLOWED["mend"] and (payload := _payload(steps)):
        parts.append(_mending(visit, payload))
    return page.joined(parts)


def _mending(visit: Visit, payload: Mapping[str, Any]) -> Markup:
    fields = [
        field_of(
            name,
            entry(f"value {name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            if not isinstance(value, (list, dict))
            else page.element(
                "textarea", json.dumps(value, ensure_ascii=False, indent=1), name=f"value {name}", rows="8"
            ),
        )
        for name, value in payload.items()
    ]
    explained = visit.t(
        "Only this row is sent with other values; the table keeps its own. Mend the source as well.",
        "仅以修正后的值发送此行，数据表不变；请同时修正来源。",
    )
    parts = [
        page.element("p", explained, class_="soft"),
        *fields,
        why(visit),
        button(visit.t("Send it with these values", "以修正后的值发送"), tone="main"),
    ]
    summary = page.element("summary", visit.t("Mend its values and send it …", "修正取值后发送 …"))
    return page.element("details", page.joined([summary, form(visit, f"{visit.path}/mend", parts)]))


def _steps(visit: Visit, steps: Sequence[Entry]) -> Markup:
    rows = [
        (
            one.step,
            page.element("span", f"{one.at:%Y-%m-%d %H:%M:%S}", class_="line"),
            exchange.mark(visit, exchange.STATES, one.state),
            page.element("span", exchange.said(visit, exchange.OPERATIONS, one.operation), class_="line"),
            one.attempt,
            "" if one.status is None else str(one.status),
            page.element("div", exchange.words(visit, one.words), class_="words"),
            page.code(one.target_key, long=True),
            page.code(one.etag, long=True),
            page.code(one.run_id[:8]),
        )
        for one in reversed(steps)
    ]
    columns = [
        "#" + visit.t("step", "序号"),
        visit.t("at (UTC)", "时间 (UTC)"),
        visit.t("state", "状态"),
        visit.t("operation", "操作"),
        "#" + visit.t("sent", "发送次数"),
        visit.t("answer", "应答"),
        visit.t("what was said", "说明"),
        visit.t("the system's key", "目标系统主键"),
        "ETag",
        visit.t("run", "运行"),
    ]
    return page.table(columns, rows)


def _decide(visit: Visit) -> Answer:
    flow, key = visit.place["flow"], visit.place["key"]
    kind = _kind(visit)
    made = _made(visit, (flow, key), kind, visit.given("why", visit.t("why", "理由")))
    return Answer(to=exchange.row_address(flow, key), notice=_recorded(visit, made))


def _recorded(visit: Visit, made: Decision) -> str:
    told = exchange.said(visit, exchange.KINDS, made.kind)
    if not made.is_new:
        return visit.t(f"It was decided so already: {made.told}", f"此前已如此决定：{made.who}，{made.why}")
    return visit.t(f"Recorded: {told}; ", f"已记录：{told}；") + visit.t(
        "the flow's next run carries it out.", "将由该流程的下次运行执行。"
    )


def _mend(visit: Visit) -> Answer:
    from datong_ingestion.write_back import ledger, load_flows, mending

    flow, key = visit.place["flow"], visit.place["key"]
    payload = _payload(ledger.history(flow, key))
    changed: dict[str, Any] = {}
    for name, was in payload.items():
        text = visit.form.get(f"value {name}")
        if text is None:
            continue
        value = _typed(visit, name, text.replace("\r\n", "\n"), was)
        if value != was:
            changed[name] = value
    if not changed:
        raise ConfigurationError(
            visit.t("no value", "没有值"), visit.t("is changed.", "被修改。"), visit.t("change one.", "请修改取值。")
        )
    if (defined := load_flows().get(flow)) is not None:
        mending.check(defined, key, changed)
    made = _made(visit, (flow, key), "mend", visit.given("why", visit.t("why", "理由")), changed)
    return Answer(to=exchange.row_address(flow, key), notice=_recorded(visit, made))


def _typed(visit: Visit, name: str, text: str, was: Any) -> Any:
    """A value as it was typed: text stays text, everything else is JSON as it was before."""
    if isinstance(was, str):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(
            visit.t(f"the value of {name}", f"{name} 的值"),
            visit.t(f"cannot be read: {error}.", f"无法解析：{error}。"),
            visit.t(
                "write it as JSON: 12.5, true, null, or a text in quotes.",
                "请按 JSON 书写：12.5、true、null 或带引号的文本。",
            ),
        ) from error


SECTION = Section("/rows", "Open rows", "待处理行")
PAGES = [
    Page("/rows", _list),
    Page("/rows/decide", _decide_many, "POST", decides=True),
    Page("/rows/{flow}/{key:path}/decide", _decide, "POST", decides=True),
    Page("/rows/{flow}/{key:path}/mend", _mend, "POST", decides=True),
    Page("/rows/{flow}/{key:path}", _one),
]
