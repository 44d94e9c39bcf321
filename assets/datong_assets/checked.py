"""Which tables passed their checks, as Dagster recorded them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from datong_assets.dbt.facts import Facts


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
    # asked for all at once; what was planned since is asked for one by one
    found = dict(storage.get_latest_asset_check_execution_by_key(checks))
    for check, record in list(found.items()):
        if record.status not in ended:
            records = storage.get_asset_check_execution_history(check, limit=1, status=ended)
            found.pop(check)
            found.update({check: records[0]} if records else {})
    return found


def _trouble(record: Any, built: float) -> str:
    """What is wrong with the last run of a check on a table built then; empty when it passed or only warned."""
    evaluation = record.evaluation if record else None
    if evaluation is None:
        return "has no result."
    if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
        return f"failed: {evaluation.description or 'see the run in Dagster'}"
    target = evaluation.target_materialization_data
    return "" if target is not None and target.timestamp >= built else "was not run on the newest build."
