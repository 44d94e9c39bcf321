"""Flows: how each way back is, stopped and let go again by a person, run at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from datong_platform import page
from datong_platform.errors import ConfigurationError
from datong_platform.page import Markup

from datong_infra.desk import exchange
from datong_infra.desk.frame import (
    Answer,
    Page,
    Section,
    Visit,
    address,
    button,
    empty,
    entry,
    field_of,
    form,
    hidden,
    moment,
    query,
    shown,
)

if TYPE_CHECKING:
    from datong_ingestion.write_back.config import Fields, FlowConfig, Value
    from datong_ingestion.write_back.decisions import Decision
    from datong_ingestion.write_back.ledger import State
    from datong_ingestion.write_back.results import Sample
    from datong_ingestion.write_back.standing import Totals

_RUNS, _DECIDED = 20, 20
_COUNTED: tuple[State, ...] = ("waiting_for_approval", "conflict", "dead", "failed", "unknown", "planned", "verified")


def _overview(visit: Visit) -> Answer:
    from datong_ingestion.write_back import decisions, standing

    totals = standing.totals()
    pauses = decisions.pauses()
    every = list(totals.values())
    facts = [
        (
            exchange.said(visit, exchange.STATES, state),
            exchange.rows_link(sum(one.rows(state) for one in every), state=state),
        )
        for state in _COUNTED
    ]
    body: list[Markup] = [_switch(visit, pauses), page.facts(facts), overview(visit, totals, pauses)]
    under = visit.t(
        "What goes back to the systems. A row is done when the system was read back and holds it.",
        "写回各系统的数据流。读回并核对一致后，一行才算完成。",
    )
    return shown(visit, visit.t("Flows", "回写流程"), under, body)


def overview(visit: Visit, totals: Mapping[str, Totals], pauses: Sequence[Decision]) -> Markup:
    """Every flow in one line."""
    defined = exchange.flows()
    rows: list[Sequence[Any]] = []
    for name in [*defined, *(name for name in sorted(totals) if name not in defined)]:
        flow, total = defined.get(name), totals.get(name)
        pause = _pause(pauses, name)
        counts = [exchange.rows_link(total.rows(state) if total else 0, flow=name, state=state) for state in _COUNTED]
        health = exchange.health(visit, total, pause, running=_is_running(name))
        if flow is None:
            health = page.joined([health, " ", page.mark(visit.t("not defined any more", "已无定义"), "soft")])
        rows.append(
            (
                page.joined([exchange.flow_link(visit, defined, name), *([" → ", flow.target.system] if flow else [])]),
                health,
                *counts,
                page.element("span", moment(total.last_at) if total else "", class_="line"),
            )
        )
    if not rows:
        return empty(visit.t("No flow is defined yet.", "尚未定义回写流程。"))
    columns = [visit.t("flow", "流程"), visit.t("state", "状态")]
    columns += ["#" + exchange.said(visit, exchange.SHORT, state) for state in _COUNTED]
    return page.table([*columns, visit.t("last change (UTC)", "最近变化 (UTC)")], rows)


def _pause(pauses: Sequence[Decision], flow: str) -> Decision | None:
    """The pause that holds for a flow: that of all flows, or its own."""
    return next((one for one in pauses if one.flow in {None, flow}), None)


def _is_running(flow: str) -> bool:
    last = exchange.work(flow).newest()
    return last is not None and last.is_running


def _switch(visit: Visit, pauses: Sequence[Decision]) -> Markup:
    """The switch that stops everything."""
    all_ = next((one for one in pauses if one.flow is None), None)
    if all_ is not None:
        return page.joined([held(visit, all_), _resume(visit, "/flows/resume")])
    if not visit.decides:
        return Markup("")
    stop = button(visit.t("Stop all flows", "暂停所有流程"), tone="bad")
    words = visit.t("Stop all flows at once …", "立即暂停所有流程 …")
    explained = page.element(
        "p",
        visit.t(
            "Nothing is sent any more until somebody resumes: what is under way ends with its present chunk.",
            "在恢复之前不再发送任何数据；正在进行的批次完成后即停止。",
        ),
        class_="soft",
    )
    line = page.element("div", page.joined([exchange.why_line(visit), stop]), class_="actions")
    inner = page.joined([page.element("summary", words), explained, form(visit, "/flows/pause", [line], shape="wide")])
    return page.element("details", inner)


def held(visit: Visit, pause: Decision) -> Markup:
    """That a pause holds: whose it is, since when, and why."""
    what = (
        visit.t("All flows are paused", "所有流程已暂停")
        if pause.flow is None
        else visit.t("This flow is paused", "该流程已暂停")
    )
    since = moment(pause.decided_at)
    until = moment(pause.valid_until)
    told = visit.t(f" since {since} UTC by {pause.who}", f"：{pause.who} 于 {since} UTC 暂停")
    limit = visit.t(f", until {until} UTC", f"，至 {until} UTC") if until else ""
    words = page.joined([page.element("b", what), told, limit, visit.t(": ", "，理由："), pause.why])
    return page.element("div", words, class_="note bad", role="status")


def _resume(visit: Visit, action: str) -> Markup:
    if not visit.decides:
        return Markup("")
    go = button(visit.t("Resume", "恢复发送"), tone="main")
    return form(
        visit,
        action,
        [page.element("div", page.joined([exchange.why_line(visit), go]), class_="actions")],
        shape="wide",
    )


def _one(visit: Visit) -> Answer:
    from datong_ingestion.write_back import decisions, standing

    name = visit.place["flow"]
    flow, total = exchange.flows().get(name), standing.totals().get(name)
    if flow is None and total is None:
        raise ConfigurationError(
            visit.t(f"flow {name}", f"流程 {name}"),
            visit.t("is not defined, and the ledger does not know it.", "没有定义，台账中也没有。"),
            visit.t("choose one of the list.", "请从列表中选择。"),
        )
    pause = _pause(decisions.pauses(), name)
    body: list[Markup] = []
    if pause is not None:
        body.append(held(visit, pause))
    body += [_state(visit, name, total), _running(visit, name)]
    if flow is not None:
        words = visit.t("What would a run do now? (nothing is sent)", "预演：此刻运行会做什么？（不发送）")
        body.append(page.element("p", page.link(address("flows", name, "preview"), words)))
    if visit.decides:
        body.append(_actions(visit, name, pause, is_defined=flow is not None))
    if flow is not None:
        body += [page.element("h2", visit.t("What it does", "流程定义")), _definition(visit, flow)]
    made = decisions.history(name, limit=_DECIDED)
    body.append(page.element("h2", visit.t("Decided", "已作决定")))
    body.append(
        exchange.decisions(visit, made, visit.path, about=True)
        if made
        else empty(visit.t("Nobody has decided anything yet.", "尚无决定。"))
    )
    body += [page.element("h2", visit.t("Last hops", "最近步骤")), _hops(visit, name)]
    back = page.joined([page.link("/flows", visit.t("Flows", "回写流程")), " · ", page.code(name)])
    return shown(visit, exchange.title(visit, flow, name), back, body)


def _state(visit: Visit, name: str, total: Totals | None) -> Markup:
    facts = [
        (
            exchange.said(visit, exchange.STATES, state),
            exchange.rows_link(total.rows(state) if total else 0, flow=name, state=state),
        )
        for state in exchange.STATES
    ]
    return page.facts(facts)


def _running(visit: Visit, name: str) -> Markup:
    """The newest run that was started here."""
    work = exchange.work(name)
    last = work.newest()
    if last is None:
        return Markup("")
    title = page.element("b", visit.t(f"Run started by {last.who}: ", f"{last.who} 启动的运行："))
    if last.is_running:
        since = moment(last.started_at)
        words = visit.t(f"under way since {since} UTC ", f"自 {since} UTC 起运行中 ")
        told = [title, words, page.link(visit.here(), visit.t("Look again", "刷新"))]
        return page.element("div", page.joined(told), class_="note", role="status")
    ended = moment(last.ended_at)
    if last.ok:
        told = [title, visit.t(f"done at {ended} UTC", f"已于 {ended} UTC 完成")]
        return page.element("div", page.joined(told), class_="note good", role="status")
    words = visit.t(
        "ended with rows that are not verified, or did not go through.", "结束时仍有未核实的行，或未能完成。"
    )
    told = [title, words, page.element("pre", work.last_words())]
    return page.element("div", page.joined(told), class_="note bad", role="status")


def _actions(visit: Visit, name: str, pause: Decision | None, *, is_defined: bool) -> Markup:
    parts: list[Markup] = []
    if is_defined and pause is None and not _is_running(name):
        go = button(visit.t("Run now", "立即运行"), tone="main", key="r")
        parts.append(form(visit, address("flows", name, "run"), [go], shape="line"))
    if pause is None:
        stop = [
            exchange.why_line(visit),
            field_of(visit.t("Until the end of (optional)", "暂停至（可选）"), entry("until", type="date")),
            button(visit.t("Pause", "暂停"), tone="bad"),
        ]
        line = page.element("div", page.joined(stop), class_="actions")
        parts.append(form(visit, address("flows", name, "pause"), [line], shape="wide"))
    elif pause.flow is not None:
        parts.append(_resume(visit, address("flows", name, "resume")))
    else:
        words = visit.t("All flows are paused: resume them on the page of flows.", "所有流程已暂停：请在流程页恢复。")
        parts.append(page.element("p", page.link("/flows", words)))
    if is_defined:
        parts += [_together(visit, name), _beyond(visit, name)]
    return page.joined(parts)


def _together(visit: Visit, name: str) -> Markup:
    """One decision about all rows of the flow that rest."""
    answers = [
        button(visit.t("Try all failed and dead rows again", "重试全部失败行和死信"), name="kind", value="retry"),
        button(visit.t("Cancel all that is not sent", "取消全部未发送的行"), tone="bad", name="kind", value="cancel"),
    ]
    line = page.element("div", page.joined([exchange.why_line(visit), *answers]), class_="actions")
    words = visit.t("Decide about all rows of this flow at once …", "对该流程的所有行统一作出决定 …")
    inner = [page.element("summary", words), form(visit, address("flows", name, "rows"), [line], shape="wide")]
    return page.element("details", page.joined(inner))


def _beyond(visit: Visit, name: str) -> Markup:
    """Letting the next run through once, although it goes beyond the flow's ceilings."""
    fields = [
        field_of(visit.t("changes, at most", "变更上限"), entry("changes", type="number", min="0", required=True)),
        field_of(
            visit.t("of them deletes", "其中删除上限"), entry("deletes", "0", type="number", min="0", required=True)
        ),
        exchange.why_line(visit),
        button(visit.t("Let the next run go so far", "允许下次运行达到此数")),
    ]
    line = page.element("div", page.joined(fields), class_="actions")
    words = visit.t("Let the next run go beyond its ceilings, once …", "允许下次运行一次性超过上限 …")
    inner = [page.element("summary", words), form(visit, address("flows", name, "beyond"), [line], shape="wide")]
    return page.element("details", page.joined(inner))


def _definition(visit: Visit, flow: FlowConfig) -> Markup:
    """The definition's own words, without what was left as it is by default."""
    set_ = flow.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for name in ("flow", "title", "title_zh", "payload", "target"):
        set_.pop(name, None)
    target = flow.target.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    known: list[tuple[Any, Any]] = [(page.code(name), _setting(value)) for name, value in set_.items()]
    known += [(page.code(f"target.{name}"), _setting(value)) for name, value in target.items()]
    columns = [visit.t("setting", "设置"), visit.t("value", "取值")]
    fields = [
        (page.code(f"{name} {inner}" if inner else name, long=True), _filled(value))
        for name, given in flow.payload.items()
        for inner, value in _inside(given)
    ]
    heads = [visit.t("the system's field", "目标字段"), visit.t("filled from", "取自")]
    left, right = page.table(columns, known), page.table(heads, fields)
    return page.element("div", page.joined([page.element("div", left), page.element("div", right)]), class_="split")


def _inside(given: Value | list[Fields]) -> Iterator[tuple[str, Value]]:
    """A field's value, or those of the fields of a list's items."""
    if isinstance(given, list):
        for item in given:
            yield from item.items()
    else:
        yield "", given


def _filled(value: Value) -> Markup:
    """Where a field's value comes from."""
    from datong_ingestion.write_back.config import ColumnValue

    return page.code(value.column if isinstance(value, ColumnValue) else f"= {value.value}", long=True)


def _setting(value: Any) -> Markup:
    return page.text(value) if isinstance(value, str) and " " in value else page.code(exchange.told(value), long=True)


def _hops(visit: Visit, name: str) -> Markup:
    from datong_platform.lake import sync_log

    from datong_infra.desk.pages import sync

    found = sync_log.entries(flow=name, limit=_RUNS)
    if not found:
        return empty(visit.t("It has not run yet.", "尚未运行。"))
    more = page.link("/sync-log" + query(flow=name), visit.t("All of them in the sync log", "在同步日志中查看全部"))
    return page.joined([sync.table(visit, found, with_subject=False), page.element("p", more)])


def _known(visit: Visit) -> str:
    """The flow of the address. ConfigurationError where none is defined so."""
    name = visit.place["flow"]
    if name not in exchange.flows():
        raise ConfigurationError(
            visit.t(f"flow {name}", f"流程 {name}"),
            visit.t("is not defined.", "没有定义。"),
            visit.t("choose one of the list.", "请从列表中选择。"),
        )
    return name


def _run(visit: Visit) -> Answer:
    from datong_ingestion.write_back import decisions

    name = _known(visit)
    pause = decisions.paused(name)
    if pause is not None:
        raise ConfigurationError(
            visit.t(f"flow {name}", f"流程 {name}"),
            visit.t(f"is paused: {pause.told}.", f"已暂停：{pause.who}，{pause.why}。"),
            visit.t("resume it first.", "请先恢复。"),
        )
    exchange.work(name).start(visit.who)
    return Answer(to=address("flows", name), notice=visit.t("The run has started.", "运行已开始。"))


def _decide(visit: Visit, flow: str | None, kind: str, to: str) -> Answer:
    from datong_ingestion.write_back import decisions

    from datong_infra.desk import words

    made = decisions.decide(
        flow,
        kind,  # pyright: ignore[reportArgumentType]
        who=visit.who,
        why=visit.given("why", visit.t("why", "理由")),
        valid_until=words.until(visit) if kind == "pause" else None,
    )
    told = exchange.said(visit, exchange.KINDS, kind)
    if made.is_new:
        return Answer(to=to, notice=visit.t(f"Recorded: {told}. It holds from now on.", f"已记录：{told}，立即生效。"))
    return Answer(to=to, notice=visit.t(f"It was so already: {made.told}", f"此前已是如此：{made.who}，{made.why}"))


def _pause_all(visit: Visit) -> Answer:
    return _decide(visit, None, "pause", "/flows")


def _resume_all(visit: Visit) -> Answer:
    return _decide(visit, None, "resume", "/flows")


def _pause_one(visit: Visit) -> Answer:
    name = _known(visit)
    return _decide(visit, name, "pause", address("flows", name))


def _resume_one(visit: Visit) -> Answer:
    # also one that is defined no more: its pause can be ended all the same
    name = visit.place["flow"]
    return _decide(visit, name, "resume", address("flows", name))


def _decide_together(visit: Visit) -> Answer:
    from datong_ingestion.write_back import decisions

    name, kind = _known(visit), visit.form.get("kind", "")
    if kind not in {"retry", "cancel"}:
        raise ConfigurationError(kind, visit.t("is no decision about a whole flow.", "不是对整个流程的决定。"))
    decisions.decide(
        name,
        kind,  # pyright: ignore[reportArgumentType]
        who=visit.who,
        why=visit.given("why", visit.t("why", "理由")),
    )
    told = exchange.said(visit, exchange.KINDS, kind)
    notice = visit.t(f"Recorded: {told}; the next run carries it out.", f"已记录：{told}；由下次运行执行。")
    return Answer(to=address("flows", name), notice=notice)


def _preview(visit: Visit) -> Answer:
    """What a run would do now; the system is read, and nothing is sent."""
    from datong_ingestion.two_way.config import ways
    from datong_ingestion.two_way.preview import dry_run_of_way
    from datong_ingestion.write_back import dry_run, load_flow

    name = visit.place["flow"]
    flow = ways().get(name) or load_flow(name)
    found = dry_run_of_way(name) or dry_run(flow)
    body: list[Markup] = [page.element("div", words, class_="note warn") for words in found.holds]
    facts = [
        (visit.t("new", "新建"), found.new),
        (visit.t("changed", "修改"), found.changed),
        (visit.t("deleted", "删除"), found.deletes),
        (visit.t("looked at again", "复查"), found.rechecks),
        (visit.t("cannot be made", "无法生成"), found.wrong),
        (visit.t("known to the ledger", "台账已知"), found.known),
    ]
    body.append(page.facts(facts))
    if found.samples:
        title = visit.t("Some of them, before and after", "变更示例（前 → 后）")
        body += [page.element("h2", title), _samples(visit, found.samples)]
    else:
        body.append(empty(visit.t("It would change nothing.", "不会有任何变更。")))
    way = [page.link("/flows", visit.t("Flows", "回写流程"))]
    way.append(page.link(address("flows", flow.flow), exchange.title(visit, flow, flow.flow)))
    way.append(page.text(visit.t("nothing was sent", "未发送任何数据")))
    return shown(visit, visit.t("What a run would do now", "预演：此刻运行的结果"), page.joined(way, " · "), body)


def _samples(visit: Visit, samples: Sequence[Sample]) -> Markup:
    rows: list[Sequence[Any]] = []
    for one in samples:
        before, after = exchange.flat(one.before), exchange.flat(one.after)
        names = [
            name
            for name in dict.fromkeys([*after, *before])
            if one.before is None or one.after is None or before.get(name) != after.get(name)
        ]
        for at, name in enumerate(names or [""]):
            first = (
                page.code(one.key, long=True),
                exchange.said(visit, exchange.OPERATIONS, one.change),
            )
            was, will = exchange.told(before.get(name)), exchange.told(after.get(name))
            rows.append(
                (
                    *(first if at == 0 else ("", "")),
                    page.code(name, long=True),
                    page.element("div", was, class_="value"),
                    page.element("div", will, class_="value differs") if will else "",
                    page.element("small", exchange.words(visit, one.words) if at == 0 else ""),
                )
            )
    columns = [visit.t("row", "行"), visit.t("operation", "操作"), visit.t("field", "字段")]
    columns += [visit.t("now", "当前"), visit.t("would be", "变更后"), visit.t("remark", "备注")]
    return page.table(columns, rows)


def _let_beyond(visit: Visit) -> Answer:
    from datong_ingestion.write_back import decisions

    name = _known(visit)
    numbers = {what: visit.given(what, visit.t(*words)) for what, words in _NUMBERS.items()}
    wrong = next((text for text in numbers.values() if not text.isdecimal() or len(text) > 9), None)
    if wrong is not None:
        raise ConfigurationError(
            wrong, visit.t("is no number.", "不是数字。"), visit.t("give a count.", "请填写数量。")
        )
    decisions.decide(
        name,
        "approve",
        plan=decisions.CEILING,
        payload={what: int(text) for what, text in numbers.items()},
        who=visit.who,
        why=visit.given("why", visit.t("why", "理由")),
        valid_until=datetime.now(UTC) + timedelta(days=1),
    )
    notice = visit.t("Recorded: the next run within a day may go so far.", "已记录：一天之内的下次运行可达到此数。")
    return Answer(to=address("flows", name), notice=notice)


_NUMBERS = {"changes": ("changes", "变更"), "deletes": ("deletes", "删除")}


def _undo_page(visit: Visit) -> Answer:
    """Asks why before a decision is taken back."""
    number = visit.place["id"]
    parts = [
        hidden("back", visit.asked("back")),
        exchange.why_line(visit),
        button(visit.t("Take back", "撤销"), tone="bad"),
    ]
    body = [form(visit, address("decisions", number, "undo"), parts)]
    under = visit.t("Possible until a run has carried it out.", "在执行之前可以撤销。")
    return shown(visit, visit.t(f"Take back decision {number}", f"撤销决定 {number}"), under, body)


def _undo(visit: Visit) -> Answer:
    from datong_ingestion.write_back import decisions

    number = visit.place["id"]
    if not number.isdecimal():
        raise ConfigurationError(number, visit.t("is no decision.", "不是决定编号。"))
    decisions.undo(int(number), who=visit.who, why=visit.given("why", visit.t("why", "理由")))
    return Answer(to=visit.back("/flows"), notice=visit.t("The decision is taken back.", "决定已撤销。"))


SECTION = Section("/flows", "Flows", "回写流程")
PAGES = [
    Page("/flows", _overview),
    Page("/flows/pause", _pause_all, "POST", decides=True),
    Page("/flows/resume", _resume_all, "POST", decides=True),
    Page("/flows/{flow}", _one),
    Page("/flows/{flow}/preview", _preview),
    Page("/flows/{flow}/rows", _decide_together, "POST", decides=True),
    Page("/flows/{flow}/run", _run, "POST", decides=True),
    Page("/flows/{flow}/pause", _pause_one, "POST", decides=True),
    Page("/flows/{flow}/resume", _resume_one, "POST", decides=True),
    Page("/flows/{flow}/beyond", _let_beyond, "POST", decides=True),
    Page("/decisions/{id}", _undo_page),
    Page("/decisions/{id}/undo", _undo, "POST", decides=True),
]
