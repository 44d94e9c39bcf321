"""Whether a table may leave the lake: only as it was when its checks passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from datong_platform.errors import TerminalError
from datong_platform.names import TableName

from datong_assets import lake_facts
from datong_assets.dbt.facts import Facts


def require_checked(instance: dg.DagsterInstance, facts: Facts, table: TableName) -> None:
    """Do nothing if the table is as it was last built and every check on that build passed (warnings aside).

    TerminalError otherwise: not built, built by other hands since, a check that failed, or one that has no result.
    """
    key, thing = dg.AssetKey([table.schema, table.name]), f"table {table}"
    build = f"run `datong build {table.name}`."
    event = instance.get_latest_materialization_event(key)
    if event is None or event.asset_materialization is None:
        raise TerminalError(thing, "was not built and checked yet.", build)
    built = event.asset_materialization.metadata.get("delta_version")
    known = lake_facts.read(table)
    if built is not None and known is not None and built.value != known.version:
        raise TerminalError(
            thing, f"was changed since it was built and checked (version {known.version}, not {built.value}).", build
        )
    names = facts.checks.get(key, [])
    records = _latest(instance, [dg.AssetCheckKey(key, name) for name in names])
    for name in names:
        if trouble := _trouble(records.get(dg.AssetCheckKey(key, name)), event.timestamp):
            raise TerminalError(thing, f"its check {name} {trouble}", f"mend the data or the model if so, then {build}")


def passed_since(
    instance: dg.DagsterInstance, facts: Facts, built: Mapping[str, float]
) -> dict[str, list[dg.AssetCheckEvaluation]]:
    """The results of the checks on those nodes, given with the times of their materialization, that passed them all.

    A check that only warned counts as passed.
    """
    checks: dict[str, list[dg.AssetCheckKey]] = {}
    for unique_id in built:
        key = facts.key(facts.graph.node(unique_id))
        checks[unique_id] = [dg.AssetCheckKey(key, name) for name in facts.checks.get(key, [])]
    records = _latest(instance, [check for some in checks.values() for check in some])
    return {
        unique_id: [records[check].evaluation for check in some]
        for unique_id, some in checks.items()
        if not any(_trouble(records.get(check), built[unique_id]) for check in some)
    }


def _latest(instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]) -> Mapping[dg.AssetCheckKey, Any]:
    """The last result of each check; what a run only planned, as the one that asks did, is none."""
    ended = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
    storage = instance.event_log_storage
    found = {check: storage.get_asset_check_execution_history(check, limit=1, status=ended) for check in checks}
    return {check: records[0] for check, records in found.items() if records}


def _trouble(record: Any, built: float) -> str:
    """What is wrong with the last run of a check on a table built then; empty when it passed or only warned."""
    evaluation = record.evaluation if record else None
    if evaluation is None:
        return "has no result."
    if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
        return f"failed: {evaluation.description or 'see the run in Dagster'}"
    target = evaluation.target_materialization_data
    return "" if target is not None and target.timestamp >= built else "was not run on the newest build."
