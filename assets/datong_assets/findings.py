"""What is wrong now, as Dagster knows it: the last run of every asset and the last result of every check.

From a Dagster instance to `datong_platform.alerts.findings.Finding`. An asset's trouble ends with the next run that
meant it and does not name it, whichever job that run was of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from datong_platform.alerts.findings import Finding, FindingKind
from datong_platform.names import SCHEMAS

from datong_assets import called, cycle, exchange_findings
from datong_assets.failing import NOT_RUN

_RUNS = 300
"""Runs that are looked back on: several cycles of every system."""
_TABLE = re.compile(rf"\b({'|'.join(SCHEMAS)})\.([a-z0-9_]+)")
_ENTITY = re.compile(r"([a-z0-9_]+)\.([a-z0-9_]+)\b")
_FLOW = re.compile(r"write-back flow ([a-z0-9_]+)")
_LATE = re.compile(r"fresh|late")
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_TITLES: dict[FindingKind, tuple[str, str]] = {
    "ingest": ("{}: cannot be read", "{}：读取失败"),
    "build": ("{}: cannot be built", "{}：构建失败"),
    "publish": ("{}: cannot be published for reports", "{}：无法发布给报表"),
    "write_back": ("{}: not everything arrived", "{}：有内容未核实到位"),
    "late": ("{}: is out of date", "{}：数据未按时更新"),
    "service": ("{}: failed", "{}：运行失败"),
}


def gather(instance: dg.DagsterInstance, graph: AssetGraph, jobs: Mapping[str, Sequence[dg.AssetKey]]) -> list[Finding]:
    """All that Dagster knows to be wrong now. `jobs` are the assets of each job, for runs that meant all of them."""
    named = owners(graph)
    found = {one.key: one for one in [*_of_runs(instance, jobs, named), *_of_checks(instance, graph, named)]}
    return list(found.values())


def owners(graph: AssetGraph) -> dict[str, str]:
    """Who answers for each table, flow and source; empty where nobody is named."""
    return {_subject(key): next(iter(graph.get(key).owners), "") for key in graph.get_all_asset_keys()}


def upstream(graph: AssetGraph) -> dict[str, list[str]]:
    """What each table is made from, up to its source, the source's system, and the exchange as a whole."""
    return exchange_findings.with_systems(
        {
            _subject(key): [_subject(parent) for parent in graph.get(key).parent_keys]
            for key in graph.get_all_asset_keys()
        }
    )


def _of_runs(
    instance: dg.DagsterInstance, jobs: Mapping[str, Sequence[dg.AssetKey]], owners: Mapping[str, str]
) -> Iterator[Finding]:
    decided: set[str] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=_FINISHED), limit=_RUNS):
        if run.job_name == cycle.cycle.name:
            continue  # its steps are runs of their own
        kind = _kind(run.job_name)
        chosen = run.asset_selection if run.asset_selection else jobs.get(run.job_name, ())
        meant = {_subject(key) for key in chosen} or {run.job_name}
        if run.status is dg.DagsterRunStatus.FAILURE:
            for thing, reason in _errors(instance, run.run_id) or ((run.job_name, "ended without saying why."),):
                subject = _named(thing, kind)
                if not decided & {subject, run.job_name}:
                    yield _finding(kind, subject, f"{thing}: {reason}", reason, owners)
        if run.status is not dg.DagsterRunStatus.CANCELED:
            decided |= meant if run.asset_selection else {*meant, run.job_name}


def _of_checks(instance: dg.DagsterInstance, graph: AssetGraph, owners: Mapping[str, str]) -> Iterator[Finding]:
    keys = list(graph.asset_check_keys)
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    for key, record in latest.items():
        event = record.event.dagster_event if record.event else None
        if record.status is not AssetCheckExecutionRecordStatus.FAILED or event is None:
            continue
        evaluation = event.asset_check_evaluation_data
        if evaluation.passed:
            continue
        kind: FindingKind = "late" if _LATE.search(key.name) else "check"
        subject = _subject(key.asset_key)
        if kind == "late":
            title, title_zh = _titles(kind, subject)
        else:
            title, title_zh = called.failed_check(subject, key.name, is_run=NOT_RUN not in evaluation.metadata)
        words = evaluation.description or ""
        yield Finding(
            f"{kind}:{subject}:{key.name}",
            kind,
            subject,
            "warning" if evaluation.severity is dg.AssetCheckSeverity.WARN else "error",
            title,
            title_zh,
            f"{subject}, check {key.name}: {words}" if words else f"{subject}, check {key.name}.",
            _system(subject),
            owners.get(subject, ""),
        )


def _finding(kind: FindingKind, subject: str, detail: str, cause: str, owners: Mapping[str, str]) -> Finding:
    system = _system(subject)
    return Finding(
        f"{kind}:{subject}",
        kind,
        subject,
        "error",
        *_titles(kind, subject),
        detail,
        system,
        owners.get(subject, ""),
        cause if kind == "ingest" else "",
        *(called.source_system(system) if system else ("", "")),
    )


def _titles(kind: FindingKind, subject: str) -> tuple[str, str]:
    """What is wrong with a table, a flow or a job, in words for people."""
    # a job whose run ended without a word names no table
    english, chinese = _TITLES["service" if kind == "build" and "." not in subject else kind]
    name, name_zh = called.thing(subject)
    return english.format(name), chinese.format(name_zh)


@lru_cache(maxsize=2000)
def _errors(instance: dg.DagsterInstance, run_id: str) -> tuple[tuple[str, str], ...]:
    """Thing and reason of each error of a failed run, as `failing.fail` told them; else the words of its failure."""
    told: dict[str, str] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.dagster_event
        data = event.step_failure_data if event else None
        if data is None:
            continue
        if data.user_failure_data and data.user_failure_data.metadata:
            told |= {name: str(value.value) for name, value in data.user_failure_data.metadata.items()}
        elif data.user_failure_data and data.user_failure_data.description:
            thing, _, reason = data.user_failure_data.description.partition(": ")
            told[thing] = reason
        elif data.error:
            told[event.step_key or "" if event else ""] = (data.error.cause or data.error).message.strip()
    return tuple(told.items())


def _kind(job: str) -> FindingKind:
    kinds: dict[str, FindingKind] = {"build": "build", "publish": "publish", "write_back": "write_back"}
    return "ingest" if job.startswith("ingest_") else kinds.get(job, "service")


def _named(thing: str, kind: FindingKind) -> str:
    """The table or flow that an error speaks of, as the asset's key is written; else what it says itself."""
    if table := _TABLE.search(thing):
        return f"{table[1]}.{table[2]}"
    if flow := _FLOW.search(thing):
        return f"write_back.{flow[1]}"
    if kind == "ingest" and (entity := _ENTITY.match(thing)):
        return f"bronze.{entity[1]}__{entity[2]}"
    return thing


def _system(subject: str) -> str:
    """The system of a bronze table, or of what is called after it."""
    if subject.startswith("system "):
        return subject.removeprefix("system ")
    return subject.removeprefix("bronze.").partition("__")[0] if subject.startswith("bronze.") else ""


def _subject(key: dg.AssetKey) -> str:
    return ".".join(key.path)
