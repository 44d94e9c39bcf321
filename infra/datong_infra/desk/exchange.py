"""What flows, states, operations, hops and decisions about writes are called, and how their health is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from datong_platform import page
from datong_platform.errors import ConfigurationError, DatongError
from datong_platform.page import Markup

from datong_infra.desk import errand
from datong_infra.desk.errand import Errand
from datong_infra.desk.frame import Visit, address, entry, field_of, moment, query
from datong_infra.desk.ledger_words import in_chinese

if TYPE_CHECKING:
    from datong_ingestion.write_back.config import FlowConfig
    from datong_ingestion.write_back.decisions import Decision
    from datong_ingestion.write_back.ledger import State
    from datong_ingestion.write_back.standing import Totals
    from datong_ingestion.write_back.target import Found

STATES: dict[State, tuple[str, str, str]] = {
    "waiting_for_approval": ("waits for approval", "待审批", "warn"),
    "conflict": ("conflict", "冲突", "bad"),
    "dead": ("dead letter", "死信", "bad"),
    "failed": ("failed, tried again", "失败待重试", "warn"),
    "unknown": ("outcome unknown", "结果未知", "warn"),
    "sent": ("sent", "已发送", "soft"),
    "planned": ("planned", "待发送", "soft"),
    "verified": ("verified", "已核实", "good"),
    "cancelled": ("cancelled", "已取消", "soft"),
}
"""Words and tone of each state of the ledger, those that need a person first."""
SHORT: dict[State, tuple[str, str]] = {
    "waiting_for_approval": ("approval", "待审批"),
    "conflict": ("conflict", "冲突"),
    "dead": ("dead", "死信"),
    "failed": ("failed", "失败"),
    "unknown": ("unknown", "未知"),
    "planned": ("planned", "待发送"),
    "verified": ("verified", "已核实"),
}
"""The same for the head of a narrow column."""
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,30})(\.\d{1,30})?")
_TICKS = re.compile(r"/Date\((-?\d{1,14})(?:[+-]0000)?\)/")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT")
FOR_PEOPLE: tuple[State, ...] = ("waiting_for_approval", "conflict", "dead")
"""States that stay as they are until a person decides."""
OPERATIONS = {
    "create": ("create", "新建"),
    "update": ("change", "修改"),
    "delete": ("delete", "删除"),
    "call": ("call", "调用"),
    "none": ("nothing sent", "未发送"),
}
KINDS: dict[str, tuple[str, str, str]] = {
    "approve": ("approved", "批准", "good"),
    "reject": ("rejected", "驳回", "bad"),
    "retry": ("try again", "重试", "soft"),
    "mend": ("mended", "修正", "soft"),
    "accept_theirs": ("theirs holds", "以对方为准", "soft"),
    "accept_ours": ("ours is written", "以我方为准", "soft"),
    "cancel": ("cancelled", "取消", "bad"),
    "pause": ("paused", "暂停", "warn"),
    "resume": ("resumed", "恢复", "good"),
}
HOPS = {
    "extract": ("read", "读取"),
    "load": ("load", "装载"),
    "build": ("build", "构建"),
    "check": ("check", "检查"),
    "publish": ("publish", "发布"),
    "plan": ("plan", "计划"),
    "send": ("send", "发送"),
    "verify": ("verify", "核实"),
}
OUTCOMES: dict[str, tuple[str, str, str]] = {
    "ok": ("done", "完成", "good"),
    "nothing new": ("nothing new", "无新数据", "soft"),
    "partly": ("partly", "部分完成", "warn"),
    "failed": ("failed", "失败", "bad"),
    "interrupted": ("interrupted", "中断", "bad"),
}


def mark(visit: Visit, of: Mapping[Any, tuple[str, str, str]], name: str) -> Markup:
    """A state, an outcome or a kind of decision as a mark."""
    en, zh, tone = of.get(name, (name, name, "soft"))
    return page.mark(visit.t(en, zh), tone)


def words(visit: Visit, told: str | None, longest: int = 0) -> Markup:
    """What the ledger says, in the reader's language; the original stands beside. `longest`: cut after so many."""
    if not told:
        return Markup("")
    own = in_chinese(told) if visit.lang == "zh" else told
    shown = f"{own[:longest]}…" if longest and len(own) > longest else own
    return page.element("span", shown, title=told if shown != told else None, lang=None if own != told else "en")


def said(visit: Visit, of: Mapping[Any, tuple[str, ...]], name: str) -> str:
    """The same in plain words."""
    found = of.get(name)
    return visit.t(found[0], found[1]) if found else name


def options(visit: Visit, of: Mapping[Any, tuple[str, ...]], first: tuple[str, str]) -> list[tuple[str, str]]:
    """What can be chosen, after `first`, which chooses all of them."""
    return [("", visit.t(*first)), *((name, visit.t(each[0], each[1])) for name, each in of.items())]


def flows() -> dict[str, FlowConfig]:
    """The flows that are defined, both ways of every two-way synchronisation among them."""
    from datong_ingestion.two_way.config import load_flows_and_ways

    return load_flows_and_ways()


def work(name: str) -> Errand:
    """What "Run now" starts for a flow: its run, or that of the synchronisation whose way it is."""
    from datong_ingestion.two_way.config import run_name

    return errand.write_back(run_name(name))


def held_now(visit: Visit, name: str, sent: Mapping[str, str]) -> dict[str, list[Found] | DatongError]:
    """What a flow's system holds for some keys at this moment; `sent` has the idempotency key of each, empty for what
    was never sent. Raises as targets do, and ConfigurationError for a flow that is defined no more."""
    from datong_ingestion.write_back.systems import open_target

    flow = flows().get(name)
    if flow is None:
        raise ConfigurationError(
            visit.t(f"flow {name}", f"流程 {name}"),
            visit.t("is not defined any more, so its system cannot be asked.", "已无定义，无法读取其目标系统。"),
            visit.t("look in the system itself, then decide about the row here.", "请在目标系统中查看后再作决定。"),
        )
    target = open_target(flow)
    try:
        return target.lookup(list(sent), {key: value for key, value in sent.items() if value})
    finally:
        target.close()


def title(visit: Visit, flow: FlowConfig | None, name: str) -> str:
    """What a flow is called; its name where it is defined no more."""
    return (visit.t(flow.title, flow.title_zh) or flow.title or flow.flow) if flow else name


def flow_link(visit: Visit, defined: Mapping[str, FlowConfig], name: str) -> Markup:
    """The way to a flow's page, with its title and name."""
    called = title(visit, defined.get(name), name)
    to = page.link(address("flows", name), called)
    return page.joined([to, Markup("<br>"), page.code(name, long=True)]) if called != name else to


def flow_options(visit: Visit, names: Iterable[str]) -> list[tuple[str, str]]:
    """The flows, to choose from."""
    defined = flows()
    every = [*defined, *(name for name in sorted(names) if name not in defined)]
    return [("", visit.t("all", "全部")), *((name, title(visit, defined.get(name), name)) for name in every)]


def row_address(flow: str, key: str) -> str:
    """Where one row is shown."""
    return address("rows", flow, key)


def rows_link(count: int, **asked: str) -> Any:
    """A count that leads to its rows; just 0 where there are none."""
    return page.link("/rows" + query(**asked), count) if count else 0


def health(visit: Visit, totals: Totals | None, pause: Decision | None, *, running: bool = False) -> Markup:
    """How a flow is, in a word: the worst that is true of it."""
    words = [
        (pause is not None, visit.t("paused", "已暂停"), "warn"),
        (running, visit.t("running", "运行中"), "soft"),
        (totals is None, visit.t("nothing yet", "尚无数据"), "soft"),
        (totals and totals.rows("conflict", "dead"), visit.t("needs you", "需处理"), "bad"),
        (totals and totals.rows("waiting_for_approval"), visit.t("waits for approval", "待审批"), "warn"),
        (totals and totals.rows("failed", "unknown"), visit.t("trying again", "重试中"), "warn"),
        (True, visit.t("in order", "正常"), "good"),
    ]
    return next(page.mark(called, tone) for holds, called, tone in words if holds)


def told(value: Any) -> str:
    """A value of a payload, as it goes over the wire."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def flat(content: str | Mapping[str, Any] | None, into: str = "") -> dict[str, Any]:
    """The fields of a payload by the way to each: items of a list are counted from 1."""
    if not content:
        return {}
    fields: Mapping[str, Any] = json.loads(content) if isinstance(content, str) else content
    found: dict[str, Any] = {}
    for name, value in fields.items():
        found |= _flat(value, f"{into}{name}")
    return found


def _flat(value: Any, way: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        inner: Mapping[str, Any] = value
        if set(inner) == {"results"}:
            # OData v2 wraps the items of a deep insert
            return _flat(inner["results"], way)
        return flat(inner, f"{way}.") if inner else {way: {}}
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        items: Sequence[Any] = value
        found: dict[str, Any] = {}
        for at, item in enumerate(items, 1):
            found |= _flat(item, f"{way} {at}")
        return found
    return {way: value}


def meaning(text: str) -> Any:
    """What a value says, however it is written: a number without zeros before it, a moment with its zone, or a text."""
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    if ticks := _TICKS.fullmatch(text):
        return datetime.fromtimestamp(int(ticks[1]) / 1000, UTC)
    try:
        moment_ = datetime.fromisoformat(text) if _MOMENT.match(text) else None
    except ValueError:
        return text
    return moment_ if moment_ is not None and moment_.tzinfo else text


def side_by_side(visit: Visit, sides: Sequence[tuple[str, Mapping[str, Any]]], names: Iterable[str] = ()) -> Markup:
    """Fields of several sides beside each other; what is not the same everywhere is marked, also in words."""
    shown = list(dict.fromkeys([*names, *(name for _, side in sides for name in side)]))
    rows: list[Sequence[Any]] = []
    for name in shown:
        held = [told(side[name]) if name in side else None for _, side in sides]
        known = {value for value in held if value is not None}
        differs = len({meaning(value) for value in known}) > 1
        if differs:
            compared = visit.t("differs", "不同")
        else:
            compared = visit.t("same, written otherwise", "相同，写法不同") if len(known) > 1 else ""
        cells = [
            page.element("div", value or Markup("&nbsp;"), class_="value differs" if differs else "value")
            if value is not None
            else page.element("span", "–", class_="soft")
            for value in held
        ]
        rows.append((page.code(name), *cells, compared))
    return page.table([visit.t("field", "字段"), *(name for name, _ in sides), visit.t("compared", "比较")], rows)


def decisions(visit: Visit, made: Iterable[Decision], back: str, *, about: bool = False) -> Markup:
    """Decisions about writes, what came of each, and the way to take back what is not carried out yet."""
    rows: list[Sequence[Any]] = []
    for one in made:
        is_open = one.carried_out_at is None
        state: Any = (
            page.mark(visit.t("the next run carries it out", "待下次运行执行"), "warn")
            if is_open
            else page.joined(
                [page.element("span", moment(one.carried_out_at), class_="line"), " ", page.text(one.outcome)]
            )
        )
        undo: Any = ""
        if is_open and visit.decides:
            undo = page.link(address("decisions", str(one.id)) + query(back=back), visit.t("Take back", "撤销"))
        what: list[Any] = [mark(visit, KINDS, one.kind)]
        if one.payload:
            what += [" ", page.code(json.dumps(one.payload, ensure_ascii=False))]
        subject: list[Any] = []
        if about:
            subject = [_subject(visit, one)]
        limit = moment(one.valid_until)
        if limit:
            what += [" ", visit.t(f"until {limit} UTC", f"有效期至 {limit} UTC")]
        at = page.element("span", moment(one.decided_at), class_="line")
        rows.append((at, page.joined(what), *subject, one.who, one.why, state, undo))
    columns = [visit.t("at (UTC)", "时间 (UTC)"), visit.t("decision", "决定")]
    if about:
        columns.append(visit.t("about", "对象"))
    columns += [visit.t("who", "决定人"), visit.t("why", "理由"), visit.t("carried out (UTC)", "执行情况 (UTC)"), ""]
    return page.table(columns, rows)


def _subject(visit: Visit, one: Decision) -> Markup:
    if one.flow is None:
        return page.text(visit.t("all flows", "所有流程"))
    flow = page.link(address("flows", one.flow), page.code(one.flow, long=True))
    if one.key is not None:
        return page.joined([flow, " ", page.link(row_address(one.flow, one.key), page.code(one.key, long=True))])
    return page.joined([flow, " ", page.code(one.plan[:8])]) if one.plan else flow


def why_line(visit: Visit) -> Markup:
    """The reason of a decision, as one line."""
    line = entry("why", required=True, size="44", maxlength="2000")
    return field_of(visit.t("Why (kept with the decision)", "理由（随决定一并保存）"), line)
