"""Alerts: what is wrong now and who is at it; one incident with its findings, its messages and who took it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from datong_platform import page
from datong_platform.errors import ConfigurationError
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
    empty,
    field_of,
    filters,
    form,
    moment,
    query,
    shown,
)

if TYPE_CHECKING:
    from datong_platform.alerts.incidents import Incident

_SEVERITIES: dict[str, tuple[str, str, str]] = {
    "critical": ("critical", "严重", "bad"),
    "error": ("error", "错误", "bad"),
    "warning": ("warning", "警告", "warn"),
    "info": ("note", "提示", "soft"),
}
_REASONS = {
    "opened": ("told", "告警"),
    "worse": ("worse", "告警升高"),
    "repeated": ("told again", "重复告警"),
    "escalated": ("escalated", "升级"),
    "closed": ("healed", "恢复"),
}


def _overview(visit: Visit) -> Answer:
    from datong_platform.alerts import incidents

    closed = visit.asked("show") == "all"
    asked = {name: visit.asked(name) for name in ("severity", "system")}
    found = [
        one
        for one in incidents.incidents(closed=closed, limit=20 * ROWS)
        if asked["severity"] in {"", one.severity} and asked["system"] in {"", one.system}
    ]
    systems = sorted({one.system for one in found if one.system})
    parts = [
        field_of(
            visit.t("Severity", "级别"),
            choice("severity", exchange.options(visit, _SEVERITIES, ("all", "全部")), asked["severity"]),
        ),
        field_of(
            visit.t("System", "系统"),
            choice("system", [("", visit.t("all", "全部")), *((name, name) for name in systems)], asked["system"]),
        ),
        field_of(
            visit.t("Show", "显示"),
            choice(
                "show",
                [("", visit.t("open ones", "未恢复")), ("all", visit.t("healed ones, too", "包括已恢复"))],
                visit.asked("show"),
            ),
        ),
    ]
    body: list[Markup] = [filters(visit, parts)]
    if found:
        body.append(_table(visit, found[:ROWS]))
        if len(found) > ROWS:
            more = visit.t(f"and {len(found) - ROWS} more: narrow the list.", f"另有 {len(found) - ROWS} 项，请筛选。")
            body.append(page.element("p", more, class_="soft"))
    else:
        body.append(empty(visit.t("Nothing is wrong.", "一切正常。")))
    under = visit.t(
        "What has one cause is one incident. It closes by itself when all of it is well again.",
        "同一原因归为一个事件；全部恢复后自动关闭。",
    )
    return shown(visit, visit.t("Alerts", "告警"), under, body)


def _table(visit: Visit, found: Sequence[Incident]) -> Markup:
    rows = [
        (
            page.link(address("incidents", str(one.incident_id)), visit.t(one.title, one.title_zh) or one.title),
            exchange.mark(visit, _SEVERITIES, one.severity),
            one.system,
            one.owner,
            len(one.findings),
            page.element("div", page.element("small", one.detail), class_="words"),
            _state(visit, one),
            page.element("span", moment(one.opened_at), class_="line"),
        )
        for one in found
    ]
    columns = [visit.t("incident", "事件"), visit.t("severity", "级别"), visit.t("system", "系统")]
    columns += [visit.t("owner", "负责人"), "#" + visit.t("findings", "发现"), visit.t("what is known", "详情")]
    return page.table([*columns, visit.t("state", "状态"), visit.t("since (UTC)", "始于 (UTC)")], rows)


def _state(visit: Visit, one: Incident) -> Markup:
    if one.closed_at:
        return page.mark(visit.t("healed", "已恢复"), "good")
    if one.acknowledged_by:
        return page.mark(visit.t(f"{one.acknowledged_by} is at it", f"{one.acknowledged_by} 处理中"), "warn")
    return page.mark(visit.t("nobody yet", "无人处理"), "bad")


def _one(visit: Visit) -> Answer:
    from datong_platform.alerts import incidents

    found = incidents.incident(_number(visit))
    back = page.link("/incidents", visit.t("Alerts", "告警"))
    facts = [
        (visit.t("severity", "级别"), exchange.mark(visit, _SEVERITIES, found.severity)),
        (visit.t("state", "状态"), _state(visit, found)),
        (visit.t("system", "系统"), found.system),
        (visit.t("owner", "负责人"), found.owner),
        (visit.t("since (UTC)", "始于 (UTC)"), moment(found.opened_at)),
        (visit.t("healed (UTC)", "恢复 (UTC)"), moment(found.closed_at)),
    ]
    body: list[Markup] = [page.facts([(name, value) for name, value in facts if value])]
    if found.detail:
        body.append(page.element("div", found.detail, class_="note bad" if not found.closed_at else "note"))
    if visit.decides and found.closed_at is None:
        own = button(
            visit.t("Take it on", "我来处理") if not found.acknowledged_by else visit.t("Take it over", "接手处理"),
            tone="main",
        )
        line = page.element("div", page.joined([exchange.why_line(visit), own]), class_="actions")
        explained = visit.t(
            "Once somebody is at it, it is neither repeated nor escalated any more; it closes when it heals.",
            "接手后不再重复告警或升级，恢复后自动关闭。",
        )
        body += [page.element("p", explained, class_="soft")]
        body.append(form(visit, f"{visit.path}/take", [line], shape="wide"))
    body += [page.element("h2", visit.t("What belongs to it", "相关发现")), _findings(visit, found)]
    taken = incidents.taken(found.incident_id)
    if taken:
        body.append(page.element("h2", visit.t("Who took it on", "处理记录")))
        told = [(page.element("span", moment(one.at), class_="line"), one.who, one.why) for one in taken]
        columns = [visit.t("at (UTC)", "时间 (UTC)"), visit.t("who", "处理人"), visit.t("what is done", "处理说明")]
        body.append(page.table(columns, told))
    sent = incidents.notices(found.incident_id)
    body.append(page.element("h2", visit.t("Messages", "消息")))
    if sent:
        lines = [
            (
                page.element("span", moment(one.at), class_="line"),
                one.channel,
                exchange.said(visit, _REASONS, one.reason),
                page.joined([page.mark(visit.t("not taken", "未送达"), "bad"), " ", one.error])
                if one.error
                else page.mark(visit.t("taken", "已送达"), "good"),
            )
            for one in sent
        ]
        columns = [visit.t("at (UTC)", "时间 (UTC)"), visit.t("channel", "渠道"), visit.t("because", "原因")]
        body.append(page.table([*columns, visit.t("outcome", "结果")], lines))
    else:
        body.append(empty(visit.t("Nobody was told: no route fits, or none is defined.", "未发送：没有匹配的路由。")))
    return shown(visit, visit.t(found.title, found.title_zh) or found.title, back, body)


def _findings(visit: Visit, found: Incident) -> Markup:
    rows = [
        (
            _subject(one),
            visit.t(str(one["title"]), str(one.get("title_zh") or one["title"])),
            exchange.mark(visit, _SEVERITIES, str(one["severity"])),
            page.element("small", one.get("detail") or ""),
        )
        for one in found.findings
    ]
    columns = [visit.t("of", "对象"), visit.t("what is wrong", "问题"), visit.t("severity", "级别")]
    return page.table([*columns, visit.t("what is known", "详情")], rows)


def _subject(finding: Mapping[str, Any]) -> Markup:
    """The way to where it can be mended."""
    subject = str(finding["subject"])
    kind, _, name = subject.partition(".")
    if kind == "write_back" and name:
        return page.link(address("flows", name), page.code(subject, long=True))
    if kind == "bronze":
        return page.link("/sync-log" + query(table=subject), page.code(subject, long=True))
    return page.code(subject, long=True)


def _number(visit: Visit) -> int:
    text = visit.place["id"]
    if not text.isdecimal() or len(text) > 15:
        raise ConfigurationError(text, visit.t("is no incident.", "不是事件编号。"))
    return int(text)


def _take(visit: Visit) -> Answer:
    from datong_platform.alerts import incidents

    taken = incidents.acknowledge(_number(visit), visit.who, visit.given("why", visit.t("why", "理由")))
    notice = visit.t("It is yours now.", "已由您处理。")
    return Answer(to=address("incidents", str(taken.incident_id)), notice=notice)


SECTION = Section("/incidents", "Alerts", "告警")
PAGES = [
    Page("/incidents", _overview),
    Page("/incidents/{id}", _one),
    Page("/incidents/{id}/take", _take, "POST", decides=True),
]
