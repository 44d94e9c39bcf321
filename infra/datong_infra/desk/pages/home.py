"""The start: how services, systems and tables are, at a glance, and where work waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from datong_platform import page
from datong_platform.errors import DatongError
from datong_platform.names import TableName
from datong_platform.page import Markup

from datong_infra.desk import exchange
from datong_infra.desk.frame import Answer, Page, Section, Visit, counted, moment, problem, shown
from datong_infra.desk.pages import flows

if TYPE_CHECKING:
    from datong_platform.alerts.incidents import Incident
    from datong_platform.standard.contract import Contract


@dataclass(frozen=True)
class _System:
    """How a source system is. Times are UTC."""

    name: str
    title: str
    owner: str
    entities: int
    rows: int
    read_at: datetime | None
    """When the entity that was read longest ago was read; None when one never was."""
    late: list[str]
    """Entities that were not read within the hours that their definition promises."""
    refused: int
    incidents: int = 0
    """Incidents of this system that are open."""


@dataclass(frozen=True)
class _Table:
    """How a table of the standard is."""

    entity: str
    title: str
    rows: int
    withheld: int
    emptied: int


def _home(visit: Visit) -> Answer:
    parts = (
        lambda: _waiting(visit),
        lambda: _way_back(visit),
        lambda: _of_systems(visit, _systems(visit)),
        lambda: _of_tables(visit, _tables(visit)),
        lambda: _of_services(visit, _services()),
    )
    with ThreadPoolExecutor(max_workers=len(parts)) as pool:
        body = list(pool.map(lambda part: _attempt(visit, part), parts))
    now = visit.t("As of", "截至")
    return shown(visit, visit.t("Today", "今日"), f"{now} {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", body)


def _attempt(visit: Visit, part: Callable[[], Markup]) -> Markup:
    """One part that fails must not hide the others."""
    try:
        return part()
    except DatongError as error:
        return problem(visit, error)


def _waiting(visit: Visit) -> Markup:
    """What waits for a person, each leading to its page."""
    from datong_platform.quality import record
    from datong_platform.standard import conservation, withheld
    from datong_platform.standard.matching import queue

    groups = withheld.groups()
    unknown = sum(group.withheld for group in groups if group.rule.startswith("known_"))
    pairs = sum(sum(states.values()) for states in queue.counts().values())
    differ = {row["name"] for row in record.entries() if row["status"] in {"differs", "failed"}}
    lost = sum(count.rows_lost != 0 for count in conservation.latest())
    told = [
        (
            "/incidents",
            visit.t("incidents that nobody took on", "无人处理的告警"),
            sum(one.acknowledged_by is None for one in _open_incidents()),
        ),
        *_of_people(visit),
        ("/quarantine", visit.t("rows kept out", "被拦截的行"), sum(group.withheld for group in groups)),
        ("/codes", visit.t("of them for unknown codes", "其中因代码未对照"), unknown),
        ("/match", visit.t("pairs to judge", "待判记录对"), pairs),
        ("/reconciliation", visit.t("comparisons that differ", "对账不一致"), len(differ)),
        ("/conservation", visit.t("counts that do not add up", "行数不守恒"), lost),
    ]
    cells = [
        page.link(to, page.joined([page.element("b", number), page.element("small", name)]), class_="fact")
        for to, name, number in told
    ]
    title = page.element("h2", visit.t("What waits for you", "待处理"))
    return page.joined([title, page.element("div", page.joined(cells), class_="facts")])


def _open_incidents() -> list[Incident]:
    from datong_platform.alerts import incidents

    return incidents.incidents(limit=1000)


def _of_people(visit: Visit) -> list[tuple[str, str, int]]:
    """Rows on the way back that stay as they are until a person decides."""
    from datong_ingestion.write_back import standing

    totals = standing.totals().values()
    return [
        (
            "/approvals" if state == "waiting_for_approval" else f"/rows?state={state}",
            visit.t("rows that wait for approval", "待审批行")
            if state == "waiting_for_approval"
            else visit.t("conflicts with systems", "与系统冲突")
            if state == "conflict"
            else visit.t("dead letters", "死信"),
            sum(one.rows(state) for one in totals),
        )
        for state in exchange.FOR_PEOPLE
    ]


def _way_back(visit: Visit) -> Markup:
    """Every flow in one line, and the pauses that hold."""
    from datong_ingestion.write_back import decisions, standing

    pauses = decisions.pauses()
    held = [flows.held(visit, one) for one in pauses if one.flow is None]
    title = page.element("h2", visit.t("Flows back to the systems", "回写流程"))
    return page.joined([title, *held, flows.overview(visit, standing.totals(), pauses)])


def _services() -> list[Any]:
    from datong_infra.services import stack

    return stack.status()


def _of_services(visit: Visit, found: list[Any]) -> Markup:
    tones = {"healthy": "good", "external": "good", "unhealthy": "bad", "stopped": "warn"}
    words = {
        "healthy": visit.t("healthy", "正常"),
        "external": visit.t("external", "外部"),
        "unhealthy": visit.t("unhealthy", "异常"),
        "stopped": visit.t("stopped", "已停止"),
    }
    marks = [
        page.element(
            "span",
            page.joined([page.element("span", one.name), " ", page.mark(words[one.state], tones[one.state])]),
            title=one.detail,
            class_="fact",
        )
        for one in found
    ]
    return page.joined(
        [page.element("h2", visit.t("Services", "服务")), page.element("div", page.joined(marks), class_="facts")]
    )


def _systems(visit: Visit) -> list[_System]:
    from datong_ingestion.systems_config import load_systems
    from datong_platform.lake import sync_log

    systems = load_systems()
    try:
        wrong = Counter(one.system for one in _open_incidents())
    except DatongError:
        # told where incidents are; how fresh the systems are is known without them
        wrong = Counter[str]()
    # a read that finds nothing new commits nothing: only the log knows of it
    asked = sync_log.last_read()
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = pool.map(lambda system: _system(visit, system, asked), systems.values())
        return [replace(one, incidents=wrong[one.name]) for one in found]


def _system(visit: Visit, config: Any, asked: Mapping[str, datetime]) -> _System:
    from datong_platform.lake import history
    from datong_platform.names import quarantine

    rows, refused, moments, late = 0, 0, list[datetime | None](), list[str]()
    for entity in config.entities:
        table = config.table(entity.name)
        delta = history.open_table(table)
        last = history.watermark(table, delta)
        reads = [datetime.fromisoformat(last.finished_at)] if last else []
        reads += [asked[str(table)]] if str(table) in asked else []
        if delta is None or not reads:
            moments.append(None)
            late.append(entity.name)
            continue
        read_at = max(reads)
        moments.append(read_at)
        hours = entity.freshness_hours or config.freshness_hours
        if hours and datetime.now(UTC) - read_at > timedelta(hours=hours):
            late.append(entity.name)
        rows += _count(delta)
        held = history.open_table(quarantine(config.system, entity.name))
        refused += _count(held) if held else 0
    known = [one for one in moments if one]
    return _System(
        config.system,
        visit.t(config.title, config.title_zh) or config.title,
        config.owner,
        len(config.entities),
        rows,
        min(known) if known and len(known) == len(moments) else None,
        late,
        refused,
    )


def _count(delta: Any) -> int:
    """Rows of a table, from its log."""
    return sum(count or 0 for count in delta.get_add_actions(flatten=True).column("num_records").to_pylist())


def _of_systems(visit: Visit, found: list[_System]) -> Markup:
    rows = [
        (
            page.joined([page.element("b", one.name), " ", page.element("small", one.title)]),
            _health(visit, one),
            one.owner,
            one.entities,
            one.rows,
            moment(one.read_at) or visit.t("not yet", "尚未"),
            page.joined(
                [
                    page.mark(visit.t(f"{len(one.late)} late", f"{len(one.late)} 个延迟"), "warn"),
                    " ",
                    ", ".join(one.late[:4]),
                ]
            )
            if one.late
            else page.mark(visit.t("fresh", "及时"), "good"),
            page.link(f"/quarantine?kind=unreadable&system={one.name}", one.refused) if one.refused else 0,
        )
        for one in found
    ]
    columns = [
        visit.t("system", "系统"),
        visit.t("health", "状态"),
        visit.t("owner", "负责人"),
        "#" + visit.t("entities", "实体"),
        "#" + visit.t("rows in bronze", "贴源层行数"),
        visit.t("last read (UTC)", "最近读取 (UTC)"),
        visit.t("freshness", "及时性"),
        "#" + visit.t("unreadable", "不可读"),
    ]
    return page.joined([page.element("h2", visit.t("Systems", "来源系统")), page.table(columns, rows)])


def _health(visit: Visit, one: _System) -> Markup:
    """How a system is, in a word, leading to why."""
    if one.incidents:
        words = counted(visit, one.incidents, "incident", "incidents", "个告警")
        return page.link(f"/incidents?system={one.name}", page.mark(words, "bad"))
    if one.read_at is None or one.late:
        words = visit.t("late", "延迟") if one.read_at else visit.t("not read yet", "尚未读取")
        return page.link(f"/sync-log?system={one.name}", page.mark(words, "warn"))
    return page.link(f"/sync-log?system={one.name}", page.mark(visit.t("in order", "正常"), "good"))


def _tables(visit: Visit) -> list[_Table]:
    from datong_platform.standard.contract import contracts

    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda contract: _table(visit, contract), contracts("silver").values()))


def _table(visit: Visit, contract: Contract) -> _Table:
    from datong_platform.lake import history

    silver = history.open_table(TableName("silver", contract.entity))
    held = history.open_table(TableName("quarantine", contract.entity))
    withheld = emptied = 0
    if held is not None:
        flags = held.to_pyarrow_dataset().to_table(columns=["is_withheld"]).column("is_withheld")
        withheld = flags.combine_chunks().true_count
        emptied = len(flags) - withheld
    title = visit.t(contract.title, contract.title_zh)
    return _Table(contract.entity, title, _count(silver) if silver else 0, withheld, emptied)


def _of_tables(visit: Visit, found: list[_Table]) -> Markup:
    rows = [
        (
            page.joined([page.code(f"silver.{one.entity}"), " ", page.element("small", one.title)]),
            one.rows,
            page.link(f"/quarantine?entity={one.entity}", one.withheld) if one.withheld else 0,
            page.link(f"/quarantine?entity={one.entity}", one.emptied) if one.emptied else 0,
        )
        for one in found
    ]
    columns = [
        visit.t("table", "表"),
        "#" + visit.t("rows", "行数"),
        "#" + visit.t("rows withheld", "拦截行数"),
        "#" + visit.t("rows with a field emptied", "字段置空行数"),
    ]
    return page.joined([page.element("h2", visit.t("The standard's tables", "标准层各表")), page.table(columns, rows)])


SECTION = Section("/", "Today", "今日")
PAGES = [Page("/", _home)]
