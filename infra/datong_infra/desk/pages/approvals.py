"""Approvals: changes that wait for a person's word, each plan with some of them as they are and as they would be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from datong_platform import page
from datong_platform.errors import ConfigurationError, DatongError
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
    form,
    hidden,
    moment,
    query,
    shown,
)

if TYPE_CHECKING:
    from datong_ingestion.write_back.decisions import Decision
    from datong_ingestion.write_back.ledger import Entry
    from datong_ingestion.write_back.standing import Plan
    from datong_ingestion.write_back.target import Found

_SAMPLES = 5


def _overview(visit: Visit) -> Answer:
    from datong_ingestion.write_back import decisions, standing

    plans = standing.plans()
    defined = exchange.flows()
    decided = {flow: decisions.waiting(flow) for flow in {plan.flow for plan in plans}}
    with ThreadPoolExecutor(max_workers=4) as pool:
        samples = list(pool.map(lambda plan: _samples(visit, plan), plans))
    body = [
        _plan(visit, plan, found, [one for one in decided[plan.flow] if one.key is None], defined)
        for plan, found in zip(plans, samples, strict=True)
    ]
    if not body:
        body = [empty(visit.t("Nothing waits for approval.", "没有待审批的变更。"))]
    under = visit.t(
        "Nothing of this was sent. An approval sends it with the flow's next run; what is rejected is cancelled.",
        "以下变更均未发送。批准后由流程的下次运行发送；驳回则取消。",
    )
    return shown(visit, visit.t("Approvals", "待审批"), under, body)


def _samples(visit: Visit, plan: Plan) -> list[Entry]:
    """Some rows of a plan, in full: of each operation at least one, as far as there is room.

    What the system holds for them now is read, where it answers and the ledger does not know.
    """
    from datong_ingestion.write_back import ledger, standing

    keys: list[str] = []
    for operation in plan.operations:
        share = max(1, _SAMPLES // len(plan.operations))
        found, _ = standing.page(
            plan.flow, ["waiting_for_approval"], operation=operation, plan=plan.plan or None, limit=share
        )
        keys += [one.key for one in found]
    found = ledger.last_of(plan.flow, keys[:_SAMPLES])
    unknown = {one.key: "" for one in found if one.pre_image is None}
    if not unknown:
        return found
    try:
        held = exchange.held_now(visit, plan.flow, unknown)
    except DatongError:
        # it is shown as not known; whether the system answers is told on the page of a row
        return found
    return [_with_image(one, held.get(one.key)) for one in found]


def _with_image(one: Entry, held: list[Found] | DatongError | None) -> Entry:
    """The row with what the system holds for it now."""
    if held is None or isinstance(held, DatongError) or len(held) > 1:
        return one
    if not held:
        return replace(one, operation="create") if one.operation == "none" else one
    names: dict[str, Any] = json.loads(one.payload or "{}")
    image = {name: held[0].fields.get(name) for name in names or held[0].fields}
    operation = "update" if one.operation == "none" else one.operation
    return replace(one, pre_image=json.dumps(image, ensure_ascii=False, default=str), operation=operation)


def _plan(
    visit: Visit, plan: Plan, samples: Sequence[Entry], decided: Sequence[Decision], defined: Mapping[str, Any]
) -> Markup:
    flow = defined.get(plan.flow)
    title = page.joined([page.link(address("flows", plan.flow), exchange.title(visit, flow, plan.flow))])
    facts = [(visit.t("rows", "行数"), _all_of(plan, f"{plan.rows:,}"))]
    facts += [
        (exchange.said(visit, exchange.OPERATIONS, name), _all_of(plan, f"{count:,}", operation=name))
        for name, count in plan.operations.items()
        if len(plan.operations) > 1 or name != "none"
    ]
    facts += [(visit.t("since (UTC)", "始于 (UTC)"), moment(plan.since))]
    parts: list[Markup] = [page.element("h2", title), page.facts(facts)]
    if plan.words:
        parts.append(page.element("div", exchange.words(visit, plan.words), class_="note warn"))
    parts.append(page.element("h3", visit.t("Some of them, before and after", "变更示例（前 → 后）")))
    parts.append(_changes(visit, samples))
    fitting = [one for one in decided if one.plan in {None, plan.plan}]
    if fitting:
        parts += [page.element("h3", visit.t("Decided", "已作决定")), exchange.decisions(visit, fitting, visit.path)]
    elif visit.decides:
        parts.append(_ask(visit, plan))
    return page.element("section", page.joined(parts))


def _all_of(plan: Plan, words: str, **asked: str) -> Markup:
    return page.link(
        "/rows" + query(flow=plan.flow, state="waiting_for_approval", plan=plan.plan, **asked), page.text(words)
    )


def _changes(visit: Visit, samples: Sequence[Entry]) -> Markup:
    """What would change, a line for each field; of a record that would go, all that is known of it."""
    rows: list[Sequence[Any]] = []
    for one in samples:
        before, after = exchange.flat(one.pre_image), exchange.flat(one.payload)
        names = [name for name in dict.fromkeys([*after, *before]) if _differs(one, before, after, name)]
        for at, name in enumerate(names):
            was = page.element("div", exchange.told(before[name]), class_="value") if name in before else "–"
            will = exchange.told(after.get(name)) or Markup("&nbsp;")
            if one.operation == "delete":
                will = visit.t("(deleted)", "（删除）")
            link = page.link(exchange.row_address(one.flow, one.key), page.code(one.key, long=True))
            first = (link, _operation(visit, one))
            told = page.element("div", will, class_="value differs")
            rows.append((*(first if at == 0 else ("", "")), page.code(name, long=True), was, told))
    columns = [visit.t("row", "行"), visit.t("operation", "操作"), visit.t("field", "字段")]
    return page.table([*columns, visit.t("now", "当前"), visit.t("would be", "变更后")], rows)


def _operation(visit: Visit, one: Entry) -> str:
    """What would be done; what is found only when it is sent is told as it may be."""
    if one.operation == "none":
        return visit.t("create or change", "新建或修改")
    return exchange.said(visit, exchange.OPERATIONS, one.operation)


def _differs(one: Entry, before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> bool:
    """Whether a field would change; where nothing is known of how it is, it may."""
    if one.operation == "delete" or name not in before:
        return one.operation == "delete" or name in after
    return exchange.meaning(exchange.told(before[name])) != exchange.meaning(exchange.told(after.get(name)))


def _ask(visit: Visit, plan: Plan) -> Markup:
    answers = [
        button(
            visit.t(f"Approve all {plan.rows:,}", f"批准全部 {plan.rows:,} 行"),
            tone="main",
            name="kind",
            value="approve",
        ),
        button(
            visit.t(f"Reject all {plan.rows:,}", f"驳回全部 {plan.rows:,} 行"), tone="bad", name="kind", value="reject"
        ),
    ]
    line = page.element("div", page.joined([exchange.why_line(visit), *answers]), class_="actions")
    return form(visit, "/approvals", [hidden("flow", plan.flow), hidden("plan", plan.plan), line], shape="wide")


def _decide(visit: Visit) -> Answer:
    from datong_ingestion.write_back import decisions

    flow, kind = visit.given("flow", visit.t("flow", "流程")), visit.form.get("kind", "")
    if kind not in {"approve", "reject"}:
        raise ConfigurationError(kind, visit.t("is no answer.", "不是有效的答复。"))
    made = decisions.decide(
        flow,
        kind,  # pyright: ignore[reportArgumentType]
        who=visit.who,
        why=visit.given("why", visit.t("why", "理由")),
        plan=visit.form.get("plan", "") or None,
    )
    told = exchange.said(visit, exchange.KINDS, made.kind)
    notice = visit.t(f"Recorded: {told}; the flow's next run carries it out.", f"已记录：{told}；由下次运行执行。")
    return Answer(to=address("flows", flow), notice=notice)


SECTION = Section("/approvals", "Approvals", "审批")
PAGES = [Page("/approvals", _overview), Page("/approvals", _decide, "POST", decides=True)]
