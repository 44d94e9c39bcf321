"""Quality that is proven: every system reconciled with its bronze tables, every balance computed, as checks and tables.

For each system a check `reconciled` on its bronze tables, run by the job `reconcile_<system>`; for each balance of
`standard/reconciliation.yaml` a check on the table that it names, run by `reconcile_balances`. All comparisons are kept
in `ops.reconciliation`, by the run's id.
"""

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from datong_ingestion.systems_config import SystemConfig, load_systems
from datong_platform.errors import DatongError, TerminalError
from pydantic import Field

from datong_assets.failing import explained, fail
from datong_assets.progress import Progress, tell

if TYPE_CHECKING:
    from datong_ingestion.reconcile import Reconciled
    from datong_platform.quality.balances import Balance, Balanced

RECONCILED = "reconciled"
BALANCES = "reconcile_balances"
OPTIONS = "datong/reconcile"
"""The tag of a run that says how: `anew`, `keys`, `as_is`, with commas between."""
_SHOWN = 20
"""Keys that a check lists."""


class Quality(dg.Component, dg.Model, dg.Resolvable):
    """Reconciliation, balances and scores."""

    owner: str = Field(default="team:data", description="Who answers for the tables that it keeps.")
    schedule: str = Field(
        default="", description="When all systems and balances are reconciled by themselves: a cron expression."
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The checks, a job for each system and one for the balances, and their schedules."""
        from datong_platform.quality.balances import balances

        systems = load_systems()
        checks = [_system_checks(system) for system in systems.values()]
        present = [balance for balance in balances() if _is_defined(balance, systems)]
        checks.append(_balance_checks(present))
        jobs = [
            dg.define_asset_job(
                name, selection=dg.AssetSelection.checks(check), description=f"{check.node_def.description}"
            )
            for name, check in zip([*(f"reconcile_{name}" for name in systems), BALANCES], checks, strict=True)
        ]
        schedules = [
            dg.ScheduleDefinition(
                name=f"{job.name}_schedule",
                job=job,
                cron_schedule=self.schedule,
                description=f"{job.description}",
                default_status=dg.DefaultScheduleStatus.RUNNING,
            )
            for job in jobs
            if self.schedule
        ]
        return dg.Definitions(asset_checks=checks, jobs=jobs, schedules=schedules)


def _is_defined(balance: "Balance", systems: dict[str, SystemConfig]) -> bool:
    """Whether the table that bears a balance's check is an asset: of a system that is defined, or a model."""
    schema, _, name = balance.checked_on.partition(".")
    system, _, entity = name.partition("__")
    return schema != "bronze" or (system in systems and any(one.name == entity for one in systems[system].entities))


def _system_checks(system: SystemConfig) -> dg.AssetChecksDefinition:
    title = system.title or system.system
    specs = [
        dg.AssetCheckSpec(
            RECONCILED,
            asset=_bronze_key(system, entity.name),
            description=f"Bronze holds what {title} holds, by its own counts, sums and key digests.",
        )
        for entity in system.entities
    ]

    @dg.multi_asset_check(
        name=f"reconcile_{system.system}",
        specs=specs,
        description=f"Reconcile every entity of {title} with its bronze table.",
        can_subset=True,
    )
    def reconcile(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with explained(f"reconcile {system.system}"):
            yield from _reconcile(context, system)

    return reconcile


def _bronze_key(system: SystemConfig, entity: str) -> dg.AssetKey:
    table = system.table(entity)
    return dg.AssetKey([table.schema, table.name])


def _reconcile(context: dg.AssetCheckExecutionContext, system: SystemConfig) -> Iterator[dg.AssetCheckResult]:
    chosen = {key.asset_key.path[-1] for key in context.selected_asset_check_keys}
    entities = [entity.name for entity in system.entities if system.table(entity.name).name in chosen]
    step = f"reconcile {system.system}"
    failures: list[DatongError] = []
    for entity, outcome in _outcomes(context, system, entities):
        key = _bronze_key(system, entity)
        if isinstance(outcome, DatongError):
            failures.append(outcome)
            yield dg.AssetCheckResult(asset_key=key, check_name=RECONCILED, passed=False, description=str(outcome))
            tell(Progress("check", step, entity, ok=False, error=outcome))
            continue
        yield _result(key, outcome)
        error = None if outcome.ok else _error(outcome)
        if error:
            failures.append(error)
        source, lake = outcome.rows
        words = f"{source:,} in the system, {lake:,} in the lake; {outcome.how}" if outcome.compared else outcome.reason
        tell(
            Progress(
                "entity",
                step,
                entity,
                ok=outcome.ok,
                skipped=not outcome.compared,
                rows=source if outcome.compared else None,
                seconds=outcome.seconds,
                detail=words,
                error=error,
            )
        )
    fail(failures)


def _error(outcome: "Reconciled") -> DatongError:
    named = [item for one in outcome.compared for item in one.findings][:5]
    examples = "; ".join(f"{item.key}: {item.problem}" for item in named)
    return TerminalError(
        f"{outcome.system}.{outcome.entity}",
        f"{outcome.found or 'some'} rows differ between the system and bronze ({examples or 'totals only'}).",
        f"see `datong reconcile {outcome.system} --format json`; `python -m datong_ingestion {outcome.system} "
        f"{outcome.entity} --baseline` reads everything anew.",
    )


def _outcomes(
    context: dg.AssetCheckExecutionContext, system: SystemConfig, entities: Sequence[str]
) -> "Iterator[tuple[str, Reconciled | DatongError]]":
    """Each entity's outcome as it ends; all are kept before the last is told."""
    from datong_ingestion.reconcile import keep, reconcile_system

    options = context.run.tags.get(OPTIONS, "").split(",")
    done: queue.Queue[tuple[str, Reconciled | DatongError] | BaseException | None] = queue.Queue()

    def work() -> None:
        try:
            found = reconcile_system(
                system,
                entities,
                anew="anew" in options,
                keys_too="keys" in options,
                read_first="as_is" not in options,
                on_done=lambda outcome, entity: done.put((entity, outcome)),
            )
            keep(context.run.run_id, found)
            done.put(None)
        except BaseException as error:  # noqa: BLE001 it is raised again in the run's own thread
            done.put(error)

    threading.Thread(target=work, name=f"reconcile_{system.system}", daemon=True).start()
    while (item := done.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


def _result(key: dg.AssetKey, outcome: "Reconciled") -> dg.AssetCheckResult:
    source, lake = outcome.rows
    metadata: dict[str, Any] = {
        "how": outcome.how or outcome.reason,
        "seconds": round(outcome.seconds, 3),
    }
    if outcome.compared:
        metadata |= {
            "rows_in_system": source,
            "rows_in_lake": lake,
            "different": outcome.found,
            "changed_since": sum(one.changed_since for one in outcome.compared),
        }
    if outcome.mark is not None:
        metadata["verified_through"] = outcome.mark.verified_through
        metadata["rows_verified"] = outcome.mark.rows_verified
        if outcome.mark.went_back:
            metadata["went_back"] = outcome.mark.went_back
    findings = [item for one in outcome.compared for item in one.findings][:_SHOWN]
    if findings:
        metadata["keys"] = _table(
            ("key", "problem", "detail"), [(item.key, item.problem, item.detail) for item in findings]
        )
    description = (
        f"{source:,} rows in the system, {lake:,} in the lake"
        + (f", {outcome.found:,} differ" if outcome.found else "")
        + (
            f"; verified through {outcome.mark.verified_through}"
            if outcome.mark and outcome.mark.verified_through
            else ""
        )
        if outcome.compared
        else f"Not compared: {outcome.reason}."
    )
    return dg.AssetCheckResult(
        asset_key=key, check_name=RECONCILED, passed=outcome.ok, description=description, metadata=metadata
    )


def _balance_checks(balances: "Sequence[Balance]") -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(
            balance.name,
            asset=_key(balance),
            description=f"{balance.title_zh} · {balance.description}" if balance.title_zh else balance.description,
        )
        for balance in balances
    ]

    @dg.multi_asset_check(
        name=BALANCES, specs=specs, description="Compute the balances of business, systems and layers.", can_subset=True
    )
    def reconcile_balances(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from datong_platform.quality import balances as computed
        from datong_platform.quality import record

        chosen = {key.name for key in context.selected_asset_check_keys}
        failures: list[DatongError] = []
        with explained(BALANCES):
            found = computed.run([balance for balance in computed.balances() if balance.name in chosen])
            record.append(context.run.run_id, [one.entry() for one in found])
        for one in found:
            yield _balance_result(one)
            error = None if one.ok else _unbalanced(one)
            if error and one.status == "failed":
                failures.append(error)
            tell(
                Progress(
                    "table",
                    "reconcile balances",
                    one.balance.name,
                    ok=one.ok,
                    skipped=one.status == "not connected",
                    rows=one.facts,
                    seconds=one.seconds,
                    detail=one.reason
                    or f"{one.balance.title}: {one.facts - one.different:,} of {one.facts:,} keys agree",
                    error=error,
                )
            )
        fail(failures)

    return reconcile_balances


def _key(balance: "Balance") -> dg.AssetKey:
    return dg.AssetKey(balance.checked_on.split("."))


def _unbalanced(one: "Balanced") -> DatongError:
    if one.status == "failed":
        return TerminalError(f"balance {one.balance.name}", one.reason)
    named = "; ".join(f"{item.key}: {item.left:f} and {item.right:f} {item.unit}" for item in one.differences[:3])
    return TerminalError(
        f"balance {one.balance.name}",
        f"{one.balance.title} does not hold for {one.different:,} of {one.facts:,} keys ({named}).",
        "see `datong reconcile --format json`; what was reported since the last cycle shows until the next.",
    )


def _balance_result(one: "Balanced") -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {
        "keys_compared": one.facts,
        "different": one.different,
        "seconds": round(one.seconds, 3),
    }
    for unit, (left, right) in one.totals.items():
        name = unit or "count"
        metadata |= {f"left_{name}": float(left), f"right_{name}": float(right)}
    if one.differences:
        metadata["keys"] = _table(
            ("key", "left", "right", "unit"),
            [(item.key, f"{item.left:f}", f"{item.right:f}", item.unit) for item in one.differences[:_SHOWN]],
        )
    words = f"{one.balance.title}: {one.facts - one.different:,} of {one.facts:,} keys agree."
    return dg.AssetCheckResult(
        asset_key=_key(one.balance),
        check_name=one.balance.name,
        passed=one.ok,
        severity=dg.AssetCheckSeverity.ERROR if one.balance.kind == "layers" else dg.AssetCheckSeverity.WARN,
        description=one.reason or words,
        metadata=metadata,
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dg.TableMetadataValue:
    records = [dg.TableRecord(dict(zip(columns, row, strict=True))) for row in rows]
    return dg.TableMetadataValue(records, dg.TableSchema([dg.TableColumn(name) for name in columns]))
