"""Quarantine: records that break a rule and what nobody could read; fixed, let pass, or taken up again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from datong_platform import page
from datong_platform.errors import ConfigurationError
from datong_platform.page import Markup

from datong_infra.desk import frame, words
from datong_infra.desk.decided import table as decided
from datong_infra.desk.errand import REPLAY, Done
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
    tick_all,
    why,
)

if TYPE_CHECKING:
    from datong_platform.standard.contract import Contract
    from datong_platform.standard.withheld import Failure, Group, Record

_RAW_SHOWN = 4000
"""Characters of a row as sent that a page shows."""
_CHOSEN = "record "
"""What a box before a record is called: this and the record's system and key."""


def _overview(visit: Visit) -> Answer:
    from datong_platform.standard import withheld

    entity, system = visit.asked("entity"), visit.asked("system")
    groups = withheld.groups(entity or None, system or None)
    unreadable = [] if entity else _unreadable(system)
    kept_out = sum(group.withheld for group in groups)
    facts = [
        (visit.t("rows × rules kept out", "被拦截（行×规则）"), kept_out),
        (
            visit.t("rows × rules with a field emptied", "字段置空（行×规则）"),
            sum(group.rows for group in groups) - kept_out,
        ),
        (visit.t("rows nobody could read", "无法读取的行"), sum(found["rows"] for found in unreadable)),
    ]
    parts = [
        field_of(visit.t("Entity", "实体"), choice("entity", words.entities(visit), entity)),
        field_of(visit.t("System", "系统"), choice("system", words.systems(visit), system)),
    ]
    body = [
        page.facts(facts),
        _replay_state(visit),
        filters(visit, parts),
        page.element("h2", visit.t("Records that break a rule", "违反规则的记录")),
    ]
    body.append(
        _groups(visit, groups) if groups else empty(visit.t("Every record keeps every rule.", "所有记录均符合规则。"))
    )
    if not entity:
        body.append(page.element("h2", visit.t("What nobody could read", "无法读取的内容")))
        body.append(_of_unreadable(visit, unreadable) if unreadable else empty(visit.t("Nothing.", "没有。")))
    under = visit.t(
        "What was refused, as of the last build. A decision takes effect at the next one.",
        "截至上次构建的隔离数据；决定在下次构建时生效。",
    )
    return shown(visit, visit.t("Quarantine", "隔离区"), under, body)


def _replay_state(visit: Visit) -> Markup:
    """What the newest replay came to, and the button that starts one."""
    last = REPLAY.newest()
    parts: list[Markup] = []
    if last:
        if last.is_running:
            text = visit.t(
                f"is running since {moment(last.started_at)} UTC", f"自 {moment(last.started_at)} UTC 起运行中"
            )
        elif last.ok:
            text = visit.t(f"done at {moment(last.ended_at)} UTC", f"已于 {moment(last.ended_at)} UTC 完成")
        else:
            text = visit.t(f"did not go through; see {REPLAY.log()}", f"未能完成，见 {REPLAY.log()}")
        tone = "good" if last.ok else "" if last.is_running else "bad"
        title = visit.t(f"Replay of {last.who}: ", f"{last.who} 的重放：")
        told = [page.element("b", title), text, *([_replayed(visit, last)] if last.told else [])]
        if tone == "bad":
            told.append(page.element("pre", REPLAY.last_words()))
        if last.is_running:
            told += [" ", page.link(visit.here(), visit.t("Look again", "刷新"))]
        parts.append(page.element("div", page.joined(told), class_=f"note {tone}", role="status"))
    if visit.decides and not (last and last.is_running):
        start = button(visit.t("Replay: build what decisions change", "重放：构建决定所影响的数据"))
        parts.append(form(visit, "/replay", [start], shape="line"))
    return page.joined(parts)


def _replayed(visit: Visit, last: Done) -> Markup:
    rows = [
        (
            words.of_entity(visit, str(one["entity"])),
            one["system"],
            words.of_field(visit, words.contract(str(one["entity"])), str(one["field"])),
            page.code(one["rule"]),
            one["before"],
            one["now"],
        )
        for one in last.told
    ]
    columns = [visit.t("entity", "实体"), visit.t("system", "系统"), visit.t("field", "字段"), visit.t("rule", "规则")]
    return page.table([*columns, "#" + visit.t("before", "之前"), "#" + visit.t("now", "现在")], rows)


def _replay(visit: Visit) -> Answer:
    REPLAY.start(visit.who)
    return Answer(to="/quarantine", notice=visit.t("The replay has started.", "重放已开始。"))


def _groups(visit: Visit, groups: Iterable[Group]) -> Markup:
    rows: list[Sequence[Any]] = []
    for group in groups:
        to = address("quarantine", group.entity) + frame.query(system=group.system, rule=group.rule, field=group.field)
        contract = words.contract(group.entity)
        rows.append(
            (
                page.link(to, words.of_entity(visit, group.entity)),
                group.system,
                page.joined([words.of_field(visit, contract, group.field), Markup("<br>"), page.code(group.field)]),
                page.joined(
                    [words.of_rule(visit, contract, group.field, group.rule), Markup("<br>"), page.code(group.rule)]
                ),
                group.withheld,
                group.rows - group.withheld,
                page.element("span", moment(group.since), class_="line"),
                page.element("small", visit.t(group.example, group.example_zh)),
            )
        )
    columns = [
        visit.t("entity", "实体"),
        visit.t("system", "系统"),
        visit.t("field", "字段"),
        visit.t("rule", "规则"),
        "#" + visit.t("kept out", "拦截"),
        "#" + visit.t("emptied", "置空"),
        visit.t("since (UTC)", "始于 (UTC)"),
        visit.t("such as", "例如"),
    ]
    return page.table(columns, rows)


def _unreadable(system: str) -> list[dict[str, Any]]:
    from datong_platform.lake import catalog, quarantine

    found: list[dict[str, Any]] = []
    for table in catalog.stored_tables(["quarantine"]):
        name, separator, entity = table.name.partition("__")
        if separator and system in {"", name} and (held := quarantine.summary(name, entity)):
            found.append(
                {"system": name, "entity": entity, "rows": held.rows, "at": held.last_at, "reasons": held.reasons}
            )
    return found


def _of_unreadable(visit: Visit, found: Sequence[Mapping[str, Any]]) -> Markup:
    columns = [
        visit.t("system", "系统"),
        visit.t("entity", "实体"),
        "#" + visit.t("rows", "行数"),
        visit.t("last (UTC)", "最近 (UTC)"),
    ]
    columns.append(visit.t("most frequent reason", "最常见原因"))
    return page.table(
        columns,
        [
            (
                one["system"],
                page.link(address("unreadable", one["system"], one["entity"]), one["entity"]),
                one["rows"],
                page.element("span", moment(one["at"]), class_="line"),
                next(iter(one["reasons"]), ""),
            )
            for one in found
        ],
    )


def _unreadable_rows(visit: Visit) -> Answer:
    from datong_platform.lake import quarantine
    from datong_platform.names import BATCH_ID, INGESTED_AT

    system, entity = visit.place["system"], visit.place["entity"]
    found = quarantine.rows(system, entity, limit=ROWS)
    rows = [] if found is None else found.to_pylist()
    told = [
        (
            page.element("span", moment(row[INGESTED_AT]), class_="line"),
            page.code(row[BATCH_ID]),
            page.code(row["place"], long=True),
            row["field"],
            row["reason"],
            page.element("pre", _readable(row["raw"])),
        )
        for row in rows
    ]
    columns = [
        visit.t("at (UTC)", "时间 (UTC)"),
        visit.t("batch", "批次"),
        visit.t("place", "位置"),
        visit.t("field", "字段"),
    ]
    columns += [visit.t("reason", "原因"), visit.t("as sent", "原始内容")]
    body = [page.table(columns, told) if told else empty(visit.t("Nothing.", "没有。"))]
    back = page.link("/quarantine", visit.t("Quarantine", "隔离区"))
    title = visit.t(f"Unreadable rows of {system}.{entity}", f"{system}.{entity} 无法读取的行")
    newest = visit.t(f"the newest, at most {ROWS}", f"最新的至多 {ROWS} 条")
    return shown(visit, title, page.joined([back, " · ", newest]), body)


def _readable(raw: bytes | None) -> str:
    text = (raw or b"").decode("utf-8", "backslashreplace")
    text = "".join(
        letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1] for letter in text[: _RAW_SHOWN + 1]
    )
    return text if len(text) <= _RAW_SHOWN else f"{text[:_RAW_SHOWN]}…"


def _list(visit: Visit) -> Answer:
    from datong_platform.standard import withheld

    entity = visit.place["entity"]
    contract = words.contract(entity)
    records, total = withheld.page(
        entity,
        system=visit.asked("system") or None,
        rule=visit.asked("rule") or None,
        field_=visit.asked("field") or None,
        text=visit.asked("text") or None,
        withheld_only=visit.asked("only") == "withheld",
        offset=(visit.number() - 1) * ROWS,
        limit=ROWS,
    )
    parts = [
        field_of(visit.t("System", "系统"), choice("system", words.systems(visit), visit.asked("system"))),
        field_of(visit.t("Field", "字段"), choice("field", words.fields(visit, contract), visit.asked("field"))),
        field_of(visit.t("Rule", "规则"), choice("rule", words.rules(visit, contract), visit.asked("rule"))),
        field_of(visit.t("Holds the words", "包含文字"), entry("text", visit.asked("text"), type="search")),
        field_of(
            visit.t("Rows", "行"),
            choice(
                "only",
                [("", visit.t("all", "全部")), ("withheld", visit.t("kept out only", "仅被拦截"))],
                visit.asked("only"),
            ),
        ),
    ]
    body = [filters(visit, parts)]
    if records:
        listing = [_records(visit, contract, records), pager(visit, total)]
        body.append(_many(visit, entity, listing) if visit.decides else page.joined(listing))
    else:
        body.append(empty(visit.t("No record here breaks a rule.", "这里没有违反规则的记录。")))
    back = page.link("/quarantine", visit.t("Quarantine", "隔离区"))
    under = page.joined([back, " · ", page.code(f"quarantine.{entity}"), " · ", words.count(visit, total)])
    return shown(visit, words.of_entity(visit, entity), under, body)


def _records(visit: Visit, contract: Contract | None, records: Sequence[Record]) -> Markup:
    rows: list[Sequence[Any]] = []
    for record in records:
        to = _address(record.entity, record.system, record.key)
        broken = [
            page.joined(
                [
                    page.element("b", words.of_field(visit, contract, failure.field)),
                    ": ",
                    visit.t(failure.reason, failure.reason_zh),
                ]
            )
            for failure in record.failures
        ]
        box = page.element(
            "input", type="checkbox", name=f"{_CHOSEN}{record.system}/{record.key}", aria_label=record.key
        )
        state = (
            page.mark(visit.t("kept out", "已拦截"), "bad")
            if record.is_withheld
            else page.mark(visit.t("in silver", "已入库"), "warn")
        )
        rows.append(
            (
                box if visit.decides else "",
                page.link(to, page.code(record.key, long=True)),
                record.system,
                page.joined(broken, "<br>"),
                page.joined(
                    [state, *([" ", page.mark(visit.t("decided", "已决定"), "good")] if record.decisions else [])]
                ),
                page.element(
                    "span",
                    moment(min((one.since for one in record.failures if one.since), default=None)),
                    class_="line",
                ),
            )
        )
    columns = [
        tick_all(visit) if visit.decides else "",
        visit.t("record", "记录"),
        visit.t("system", "系统"),
        visit.t("what is wrong", "问题"),
        visit.t("state", "状态"),
    ]
    return page.table([*columns, visit.t("since (UTC)", "始于 (UTC)")], rows)


def _many(visit: Visit, entity: str, listing: Iterable[Markup]) -> Markup:
    """The list as a form: what was ticked is let pass at once."""
    parts = [
        *listing,
        hidden("rule", visit.asked("rule")),
        hidden("back", visit.here()),
        page.element("div", page.joined([_why_line(visit), _until(visit)]), class_="filters"),
        button(visit.t("Let the ticked records pass", "放行所选记录")),
    ]
    return form(visit, address("quarantine", entity, "override-chosen"), parts, shape="wide")


def _why_line(visit: Visit) -> Markup:
    line = entry("why", required=True, size="50", maxlength="2000")
    return field_of(visit.t("Why (kept with the decision)", "理由（随决定一并保存）"), line)


def _until(visit: Visit) -> Markup:
    return field_of(visit.t("Holds until the end of (optional)", "有效期至（可选）"), entry("until", type="date"))


def _address(entity: str, system: str, key: str) -> str:
    return address("quarantine", entity, system, key)


def _one(visit: Visit) -> Answer:
    from datong_platform.standard import withheld

    entity, system, key = (visit.place[name] for name in ("entity", "system", "key"))
    found = withheld.find(entity, system, key)
    contract = words.contract(entity)
    list_ = page.link(address("quarantine", entity), words.of_entity(visit, entity))
    back = page.joined(
        [page.link("/quarantine", visit.t("Quarantine", "隔离区")), " · ", list_, " · ", page.code(f"{system}/{key}")]
    )
    title = f"{words.of_entity(visit, entity)} {key}"
    if found is None:
        text = visit.t("This record breaks no rule as of the last build.", "截至上次构建，该记录不违反任何规则。")
        return shown(visit, title, back, [page.element("div", text, class_="note good")])
    facts = [
        (
            visit.t("state", "状态"),
            visit.t("kept out of silver", "已拦截") if found.is_withheld else visit.t("in silver", "已入库"),
        ),
        (visit.t("batch", "批次"), found.batch),
        (visit.t("read (UTC)", "读取时间 (UTC)"), moment(found.at)),
        (visit.t("contract", "合约版本"), found.contract_version or ""),
    ]
    body: list[Markup] = [page.facts([(name, value) for name, value in facts if value])]
    body.append(_broken(visit, contract, found))
    left = page.joined(
        [page.element("h2", visit.t("As the standard has it", "标准化结果")), _checked(visit, contract, found)]
    )
    right = page.joined([page.element("h2", visit.t("As sent", "原始数据")), _sent(visit, found)])
    body.append(
        page.element("div", page.joined([page.element("div", left), page.element("div", right)]), class_="split")
    )
    if visit.decides:
        body.append(_decide(visit, contract, found))
    if found.decisions:
        body += [page.element("h2", visit.t("Decided", "已作决定")), decided(visit, found.decisions, visit.path)]
    if found.history:
        body += [page.element("h2", visit.t("History", "历史")), _history(visit, contract, found)]
    return shown(visit, title, back, body)


def _broken(visit: Visit, contract: Contract | None, found: Record) -> Markup:
    rows = [
        (
            page.joined(
                [page.element("b", words.of_field(visit, contract, one.field)), Markup("<br>"), page.code(one.field)]
            ),
            page.joined(
                [
                    visit.t(one.reason, one.reason_zh),
                    Markup("<br>"),
                    page.element("small", words.of_rule(visit, contract, one.field, one.rule)),
                ]
            ),
            _value(one.raw, visit),
            _tone(visit, one),
            page.element("span", moment(one.since), class_="line"),
        )
        for one in found.failures
    ]
    columns = [
        visit.t("field", "字段"),
        visit.t("what is wrong", "问题"),
        visit.t("as sent", "原值"),
        visit.t("so", "处理"),
        visit.t("since (UTC)", "始于 (UTC)"),
    ]
    return page.table(columns, rows)


def _tone(visit: Visit, failure: Failure) -> Markup:
    if failure.is_withheld:
        return page.mark(visit.t("kept out", "拦截"), "bad")
    return page.mark(visit.t("emptied", "置空"), "warn")


def _value(value: Any, visit: Visit) -> Markup:
    if value is None:
        return page.element("span", visit.t("nothing", "空"), class_="soft")
    text = str(value)
    return page.code(text if len(text) <= _RAW_SHOWN else f"{text[:_RAW_SHOWN]}…")


def _checked(visit: Visit, contract: Contract | None, found: Record) -> Markup:
    broken = {one.field for one in found.failures}
    rows = [
        (
            page.joined([page.element("b", words.of_field(visit, contract, name)), " ", page.code(name, long=True)]),
            page.element("div", _value(value, visit), class_="differs") if name in broken else _value(value, visit),
        )
        for name, value in {**dict.fromkeys(one.field for one in found.failures), **found.checked_row}.items()
    ]
    if not found.checked_row:
        return empty(visit.t("Known after the next build.", "下次构建后可见。"))
    return page.table([visit.t("field", "字段"), visit.t("value", "值")], rows)


def _sent(visit: Visit, found: Record) -> Markup:
    raw = {str(one.raw) for one in found.failures if one.raw not in (None, "")}
    rows = [
        (
            page.code(name, long=True),
            page.element("div", _value(value, visit), class_="differs") if str(value) in raw else _value(value, visit),
        )
        for name, value in found.source_row.items()
    ]
    return page.table([visit.t("field of the source", "来源字段"), visit.t("value", "值")], rows)


def _decide(visit: Visit, contract: Contract | None, found: Record) -> Markup:
    broken = list(dict.fromkeys(one.field for one in found.failures))
    inputs = [
        field_of(words.of_field(visit, contract, name), entry(f"value {name}", str(found.checked_row.get(name) or "")))
        for name in broken
        if contract and name in contract.fields_by_name
    ]
    others = [
        (each.name, f"{visit.t(each.title, each.title_zh)} ({each.name})")
        for each in (contract.fields if contract else ())
        if each.name not in broken and each.name not in {"source_system", "source_key"}
    ]
    other = page.element(
        "div",
        page.joined(
            [choice("other_field", [("", visit.t("another field …", "其他字段 …")), *others]), entry("other_value")]
        ),
        class_="row",
    )
    common = [why(visit), _until(visit), _instead(visit)]
    fix = form(
        visit,
        f"{visit.path}/fix",
        [
            *inputs,
            field_of(visit.t("Another field", "其他字段"), other),
            *common,
            button(visit.t("Put these values", "修正取值"), tone="main"),
        ],
    )
    parts = [
        page.element(
            "div",
            page.joined(
                [
                    page.element("h2", visit.t("Fix", "修正")),
                    page.element(
                        "p",
                        visit.t("The value is checked like one that was sent.", "修正值与来源值一样接受校验。"),
                        class_="soft",
                    ),
                    fix,
                ]
            ),
        )
    ]
    rules = [
        (one.rule, words.of_rule(visit, contract, one.field, one.rule)) for one in found.failures if one.is_withheld
    ]
    if rules:
        every = visit.t("every rule that keeps it out", "所有拦截规则")
        pick = field_of(visit.t("Rule", "规则"), choice("rule", [("", every), *rules]))
        let = form(visit, f"{visit.path}/override", [pick, *common, button(visit.t("Let it pass", "放行"), key="o")])
        text = visit.t(
            "The record goes to silver as it is, although it breaks the rule.", "记录保持原样进入标准层，尽管违反规则。"
        )
        title = page.element("h2", visit.t("Let pass", "放行"))
        parts.append(page.element("div", page.joined([title, page.element("p", text, class_="soft"), let])))
    return page.element("div", page.joined(parts), class_="split")


def _instead(visit: Visit) -> Markup:
    box = page.element("input", type="checkbox", name="instead", value="yes")
    return page.element(
        "label",
        page.joined([box, " ", visit.t("instead of what was decided before", "替换此前的决定")]),
        style="display:block",
    )


def _history(visit: Visit, contract: Contract | None, found: Record) -> Markup:
    states = {"opened": (visit.t("noticed", "发现"), "warn"), "released": (visit.t("released", "释放"), "good")}
    rows = [
        (
            page.element("span", moment(step["at"]), class_="line"),
            page.mark(*states.get(str(step["state"]), (str(step["state"]), "soft"))),
            words.of_field(visit, contract, str(step["field"])),
            page.code(step["rule"]),
            step["reason"] or "",
        )
        for step in found.history
    ]
    columns = [
        visit.t("at (UTC)", "时间 (UTC)"),
        visit.t("what happened", "事件"),
        visit.t("field", "字段"),
        visit.t("rule", "规则"),
    ]
    return page.table([*columns, visit.t("reason", "原因")], rows)


def _fix(visit: Visit) -> Answer:
    from datong_platform.standard import withheld

    entity, system, key = (visit.place[name] for name in ("entity", "system", "key"))
    found = withheld.find(entity, system, key)
    before = {name: str(value or "") for name, value in found.checked_row.items()} if found else {}
    sent = {
        name.removeprefix("value "): value.strip() for name, value in visit.form.items() if name.startswith("value ")
    }
    # a field left as it was is not decided on
    values = {name: value for name, value in sent.items() if value != before.get(name, "")}
    if other := visit.form.get("other_field", ""):
        values[other] = visit.given("other_value", visit.t("the other field's value", "其他字段的值"))
    if not values:
        raise ConfigurationError(
            visit.t("the fix", "修正"),
            visit.t("changes no value.", "没有改变任何取值。"),
            visit.t("type the right one.", "请填写正确的值。"),
        )
    withheld.fix(entity, system, key, values, **_signed(visit))
    return Answer(to=_address(entity, system, key), notice=_recorded(visit))


def _override(visit: Visit) -> Answer:
    from datong_platform.standard import withheld

    entity, system, key = (visit.place[name] for name in ("entity", "system", "key"))
    withheld.override(entity, system, key, rule=visit.form.get("rule") or None, **_signed(visit))
    return Answer(to=_address(entity, system, key), notice=_recorded(visit))


def _override_chosen(visit: Visit) -> Answer:
    from datong_platform.standard import withheld

    entity = visit.place["entity"]
    chosen = [name.removeprefix(_CHOSEN).split("/", 1) for name in visit.form if name.startswith(_CHOSEN)]
    if not chosen:
        raise ConfigurationError(
            visit.t("the list", "列表"),
            visit.t("has no ticked record.", "没有选中记录。"),
            visit.t("tick some.", "请勾选。"),
        )
    signed = _signed(visit)
    for system, key in chosen:
        withheld.override(entity, system, key, rule=visit.form.get("rule") or None, **signed)
    to = visit.back(address("quarantine", entity))
    return Answer(to=to, notice=_recorded(visit, len(chosen)))


def _signed(visit: Visit) -> dict[str, Any]:
    """Who decides, why, until when, and whether it replaces what was decided before."""
    reason = visit.given("why", visit.t("why", "理由"))
    return {"who": visit.who, "why": reason, "until": words.until(visit), "instead": visit.form.get("instead") == "yes"}


def _recorded(visit: Visit, count: int = 1) -> str:
    if count > 1:
        return visit.t(
            f"{count} decisions are recorded; they take effect at the next build.",
            f"已记录 {count} 项决定，下次构建时生效。",
        )
    return visit.t("The decision is recorded; it takes effect at the next build.", "决定已记录，下次构建时生效。")


SECTION = Section("/quarantine", "Quarantine", "隔离区", second=True)
PAGES = [
    Page("/quarantine", _overview),
    Page("/quarantine/{entity}", _list),
    Page("/quarantine/{entity}/override-chosen", _override_chosen, "POST", decides=True),
    Page("/quarantine/{entity}/{system}/{key:path}/fix", _fix, "POST", decides=True),
    Page("/quarantine/{entity}/{system}/{key:path}/override", _override, "POST", decides=True),
    Page("/quarantine/{entity}/{system}/{key:path}", _one),
    Page("/replay", _replay, "POST", decides=True),
    Page("/unreadable/{system}/{entity}", _unreadable_rows),
]
