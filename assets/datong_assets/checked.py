"""Whether a table may leave the lake: only as it was when its checks passed."""

from __future__ import annotations

import dagster as dg
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
    names = _checks(facts, key)
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(key, name) for name in names]
    )
    for name in names:
        record = records.get(dg.AssetCheckKey(key, name))
        evaluation = record.evaluation if record else None
        if evaluation is None:
            raise TerminalError(thing, f"its check {name} has no result.", build)
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            raise TerminalError(
                thing,
                f"its check {name} failed: {evaluation.description or 'see the run in Dagster'}",
                "mend the data or the model, then " + build,
            )
        target = evaluation.target_materialization_data
        if target is None or target.timestamp < event.timestamp:
            raise TerminalError(thing, f"its check {name} was not run on the newest build.", build)


def _checks(facts: Facts, key: dg.AssetKey) -> list[str]:
    parsed = facts.graph
    return [
        facts.check_name(parsed.tests[test])
        for test, table in parsed.tested.items()
        if facts.key(parsed.node(table)) == key
    ]
