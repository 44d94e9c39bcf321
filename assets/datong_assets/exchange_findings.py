"""What the sync log tells of exchanges, as findings: late, silent, out of the ordinary, failing outside of Dagster.

They are rooted in their system: what is late or fails because a whole system stands still is one incident with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from datong_ingestion.systems_config import load_systems
from datong_ingestion.two_way.config import load_flows_and_ways
from datong_platform.alerts.channels import Severity
from datong_platform.alerts.findings import Finding, FindingKind
from datong_platform.errors import ServiceError
from datong_platform.lake import open_lineage
from datong_platform.quality import exchanges
from datong_platform.quality.exchanges import Abnormal, Failing, What

from datong_assets import called

_TITLES: dict[What, tuple[str, str]] = {
    "not asked": ("{}: is not read any more", "{}：已停止读取"),
    "silent": ("{}: nothing new comes any more", "{}：长时间没有新数据"),
    "volume": ("{}: unusually many or few rows came", "{}：数据量异常"),
    "refused": ("{}: unusually many rows cannot be read", "{}：无法读取的行异常增多"),
    "queue": ("{}: more and more is waiting", "{}：等待处理的越积越多"),
}
_STOPPED = ("No system exchanges anything any more", "所有系统的数据交换已停止")
_NOT_RUN = ("{}: does not run any more", "{}：已停止运行")
_NEXT: dict[What, str] = {
    "not asked": "see that the schedule runs (`datong status`, the Dagster UI), then `datong sync log`.",
    "silent": "ask whether the system works; see its own log, then `datong sync log`.",
    "volume": "see `datong sync log`; if the system was loaded anew, nothing is to be done.",
    "refused": "see `datong quarantine list`.",
    "queue": "see `datong quarantine list` or `datong flows list`.",
}
_LONG = 3.0
"""Times the longest pause in order after which lateness is an error."""


def findings(owners: Mapping[str, str]) -> list[Finding]:
    """All that the sync log tells of the tables and flows of `owners`, which has all that are defined.

    A store that cannot be reached is a finding itself: without the log nobody would know that nothing is exchanged.
    """
    try:
        return [
            *(_abnormal(one, owners) for one in exchanges.judged(known=owners)),
            *(_failing(one, owners) for one in exchanges.failing() if one.table in owners),
            *_untold(),
        ]
    except ServiceError as error:
        return [
            Finding(
                "service:store",
                "service",
                "store",
                "error",
                "The store of all data cannot be reached",
                "数据存储无法访问",
                str(error),
            )
        ]


def _untold() -> Iterator[Finding]:
    """The receiver of lineage events, where it cannot be told."""
    state = open_lineage.trouble()
    if state is not None and state.failing_since is not None:
        yield Finding(
            "service:open_lineage",
            "service",
            "open_lineage",
            "warning",
            "The lineage catalogue cannot be told what was exchanged",
            "数据血缘信息无法送达目录系统",
            f"{state.address} {state.error}, since {state.failing_since:%Y-%m-%d %H:%M} UTC; nothing is lost, they "
            "follow when it takes them.",
        )


def defined() -> set[str]:
    """The bronze tables and flows (`write_back.<flow>`) that are defined."""
    tables = {str(system.table(entity.name)) for system in load_systems().values() for entity in system.entities}
    return tables | {f"write_back.{flow}" for flow in load_flows_and_ways()}


def with_systems(upstream: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Lineage with what stands above it: entities come from their system, and systems from the exchange as a whole."""
    systems = {subject.split(".")[1] for subject in upstream if subject.startswith("source.")}
    found = {
        subject: [*parents, f"system.{subject.split('.')[1]}"] if subject.startswith("source.") else list(parents)
        for subject, parents in upstream.items()
    }
    return {**found, **{f"system.{system}": ["exchange"] for system in systems}}


def _abnormal(one: Abnormal, owners: Mapping[str, str]) -> Finding:
    english, chinese = _title(one)
    subject = one.subject
    kind: FindingKind = "check"
    if one.what in {"not asked", "silent"}:
        kind = "late" if one.subject != "exchange" else "service"
    name, name_zh = called.thing(subject)
    return Finding(
        f"{one.what.replace(' ', '_')}:{subject}",
        kind,
        subject,
        _severity(one),
        english.format(name),
        chinese.format(name_zh),
        f"{one.words} Next step: {_NEXT[one.what]} {one.words_zh}",
        one.system,
        _owner(one, owners),
    )


def _title(one: Abnormal) -> tuple[str, str]:
    if one.subject == "exchange":
        return _STOPPED
    return _NOT_RUN if one.what == "not asked" and one.flow else _TITLES[one.what]


def _severity(one: Abnormal) -> Severity:
    late = one.what in {"not asked", "silent"}
    return "error" if late and one.value > _LONG * one.limit else "warning"


def _owner(one: Abnormal, owners: Mapping[str, str]) -> str:
    """The owner of what it speaks of; of a system the one who owns its tables."""
    if one.subject in owners or not one.system:
        return owners.get(one.subject, "")
    prefix = f"bronze.{one.system}__"
    return next(_owners_of(prefix, owners), "")


def _owners_of(prefix: str, owners: Mapping[str, str]) -> Iterator[str]:
    return (owner for subject, owner in sorted(owners.items()) if subject.startswith(prefix) and owner)


def _failing(one: Failing, owners: Mapping[str, str]) -> Finding:
    name, name_zh = called.thing(one.table)
    # the key is that of a failed run of Dagster: it is one finding, whoever saw it
    return Finding(
        f"ingest:{one.table}",
        "ingest",
        one.table,
        "error",
        f"{name}: cannot be read",
        f"{name_zh}：读取失败",
        one.words,
        one.system,
        owners.get(one.table, ""),
        one.words.partition(": ")[2].partition(" Next step:")[0] or one.words,
        *called.source_system(one.system),
    )
