"""Quality that is proven: every system reconciled with its bronze tables, every balance computed, as checks and tables.

For each system a check `reconciled` on its bronze tables, run by the job `reconcile_<system>`; for each balance of
`standard/reconciliation.yaml` a check on the table that it names, run by `reconcile_balances`. All comparisons are kept
in `ops.reconciliation`, by the run's id. The job `quality`, which is a part of the cycle, measures an asset
`quality/<entity>` for each silver entity, whose metadata plot its scores; the job `anomalies` holds every bronze table
against its own history.
"""

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from datong_ingestion.systems_config import SystemConfig, load_systems
from datong_platform.errors import DatongError, TerminalError
from pydantic import Field

from datong_assets import hops
from datong_assets.failing import NOT_RUN, explained, fail
from datong_assets.progress import Progress, tell

if TYPE_CHECKING:
    from datong_ingestion.reconcile import Reconciled
    from datong_platform.quality.anomalies import Anomaly
    from datong_platform.quality.balances import Balance, Balanced

RECONCILED = "reconciled"
BALANCES = "reconcile_balances"
OPTIONS = "datong/reconcile"
"""The tag of a run that says how: `anew`, `keys`, `as_is`, with commas between."""
QUALITY, ANOMALIES = "quality", "anomalies"
NOT_WORSE = "not_worse"
UNUSUAL = ("freshness_as_usual", "volume_as_usual")
_FALL = 0.02
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
        measured, unusual = self._scores(context), _anomaly_checks(systems)
        jobs = [
            dg.define_asset_job(
                name, selection=dg.AssetSelection.checks(check), description=f"{check.node_def.description}"
            )
            for name, check in zip([*(f"reconcile_{name}" for name in systems), BALANCES], checks, strict=True)
        ]
        scored = dg.define_asset_job(
            QUALITY, selection=dg.AssetSelection.assets(measured), description="Score every entity."
        )
        jobs.append(
            dg.define_asset_job(
                ANOMALIES,
                selection=dg.AssetSelection.checks(unusual),
                description=f"{unusual.node_def.description}",
            )
        )
        schedules = [
            dg.ScheduleDefinition(
                name=job.name,
                job=job,
                cron_schedule=self.schedule,
                description=f"{job.description}",
                default_status=dg.DefaultScheduleStatus.STOPPED,
            )
            for job in jobs
            if self.schedule
        ]
        return dg.Definitions(
            assets=[measured], asset_checks=[*checks, unusual], jobs=[*jobs, scored], schedules=schedules
        )

    def _scores(self, context: dg.ComponentLoadContext) -> dg.AssetsDefinition:
        from datong_platform.standard.contract import contracts

        known = contracts("silver")

        @dg.multi_asset(
            name="score_entities",
            specs=[
                dg.AssetSpec(
                    key=dg.AssetKey([QUALITY, name]),
                    deps=[dg.AssetKey(["silver", name]), dg.AssetKey(["quarantine", name])],
                    description=f"{each.title_zh} · Quality of {each.title.lower()} by the dimensions of GB/T 36344.",
                    group_name=QUALITY,
                    owners=[self.owner],
                    kinds={"delta", "dashboard"},
                    skippable=True,
                    metadata={"dagster/table_name": "ops.quality_score"},
                )
                for name, each in known.items()
            ],
            check_specs=[
                dg.AssetCheckSpec(
                    NOT_WORSE,
                    asset=dg.AssetKey([QUALITY, name]),
                    description=f"No score fell by more than {_FALL:.0%} since it was last measured.",
                )
                for name in known
            ],
            can_subset=True,
        )
        def score_entities(
            context: dg.AssetExecutionContext,
        ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
            chosen = [key.path[-1] for key in context.selected_asset_keys]
            with explained(QUALITY):
                yield from _score(context, chosen)

        return score_entities


def _is_defined(balance: "Balance", systems: Mapping[str, SystemConfig]) -> bool:
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
        # not as the job is called: Dagster knows graphs and ops by one list of names
        name=f"compare_{system.system}",
        specs=specs,
        description=f"Reconcile every entity of {title} with its bronze table.",
        can_subset=True,
    )
    def reconcile(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with hops.run(context.run), explained(f"reconcile {system.system}"):
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
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=RECONCILED,
                passed=False,
                description=str(outcome),
                metadata={NOT_RUN: True},
            )
            tell(Progress("check", step, entity, ok=False, error=outcome))
            continue
        yield _result(key, outcome)
        error = None if outcome.ok else _error(outcome)
        if outcome.compared:
            hops.checked(
                ".".join(key.path),
                made=1,
                failed=[f"{RECONCILED}: {error}"] if error else [],
                started_at=datetime.now(UTC) - timedelta(seconds=outcome.seconds),
            )
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
        name="compute_balances",
        specs=specs,
        description="Compute the balances of business, systems and layers.",
        can_subset=True,
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
        "see `datong reconcile --format json`.",
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


def _score(
    context: dg.AssetExecutionContext, entities: Sequence[str]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    from datong_platform.quality import scores

    before = {(row["entity"], row["source_system"], row["dimension"]): row["score"] for row in scores.latest()}
    found = scores.measure(sorted(entities))
    scores.keep(context.run.run_id, found)
    for entity in dict.fromkeys(one.entity for one in found):
        mine = [one for one in found if one.entity == entity]
        total = {one.dimension: one for one in mine if not one.source_system}
        key = dg.AssetKey([QUALITY, entity])
        rules = {rule: count for one in total.values() for rule, count in one.rules.items()}
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                **{dimension: round(one.score, 6) for dimension, one in total.items()},
                **{
                    f"{one.source_system}_{one.dimension}": round(one.score, 6)
                    for one in mine
                    if one.source_system and one.dimension == scores.OVERALL
                },
                "records": total[scores.OVERALL].records,
                "records_with_a_broken_rule": total[scores.OVERALL].broken,
                "broken_rules": _table(("rule", "times"), [(rule, str(count)) for rule, count in rules.items()]),
            },
        )
        fell = [
            f"{one.dimension} {one.source_system} from {held:.1%} to {one.score:.1%}".replace("  ", " ")
            for one in mine
            if (held := before.get((entity, one.source_system, one.dimension))) is not None and one.score < held - _FALL
        ]
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=NOT_WORSE,
            passed=not fell,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(fell) or "As good as before.",
            metadata={"score": round(total[scores.OVERALL].score, 6)},
        )
        tell(
            Progress(
                "table",
                QUALITY,
                entity,
                ok=True,
                rows=total[scores.OVERALL].records,
                detail=", ".join(f"{name} {one.score:.2%}" for name, one in total.items()),
            )
        )
    measured = {one.entity for one in found}
    for entity in sorted(set(entities) - measured):
        # a check that a run planned and did not tell would count as one without a result
        yield dg.AssetCheckResult(
            asset_key=dg.AssetKey([QUALITY, entity]),
            check_name=NOT_WORSE,
            passed=True,
            severity=dg.AssetCheckSeverity.WARN,
            description="It is not built yet.",
        )


def _anomaly_checks(systems: Mapping[str, SystemConfig]) -> dg.AssetChecksDefinition:
    words = {
        "freshness_as_usual": "Rows come as often as they used to, and within the hours that were agreed.",
        "volume_as_usual": "The last whole day, or the last whole read, brought as many rows as usual.",
    }
    tables = {
        _bronze_key(system, entity.name): (system, entity) for system in systems.values() for entity in system.entities
    }

    @dg.multi_asset_check(
        name="hold_against_history",
        specs=[dg.AssetCheckSpec(name, asset=key, description=words[name]) for key in tables for name in UNUSUAL],
        description="Hold every bronze table against its own history.",
        can_subset=True,
    )
    def anomalies(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from datong_platform.quality.anomalies import judged

        def one(key: dg.AssetKey) -> "list[Anomaly] | DatongError":
            system, entity = tables[key]
            try:
                return judged(system.table(entity.name), entity.freshness_hours or system.freshness_hours)
            except DatongError as error:
                return error

        chosen = context.selected_asset_check_keys
        keys = [key for key in tables if any(check.asset_key == key for check in chosen)]
        failures: list[DatongError] = []
        with ThreadPoolExecutor(max_workers=4) as pool:
            for key, outcome in zip(keys, pool.map(one, keys), strict=True):
                if isinstance(outcome, DatongError):
                    failures.append(outcome)
                    continue
                found = {f"{item.what}_as_usual": item for item in outcome}
                for name in UNUSUAL:
                    if dg.AssetCheckKey(key, name) in chosen:
                        yield _verdict(key, name, found.get(name))
        fail(failures)

    return anomalies


def _verdict(key: dg.AssetKey, name: str, item: "Anomaly | None") -> dg.AssetCheckResult:
    if item is None:
        return dg.AssetCheckResult(
            asset_key=key,
            check_name=name,
            passed=True,
            severity=dg.AssetCheckSeverity.WARN,
            description="Nothing of it was ingested yet.",
        )
    table = ".".join(key.path)
    if not item.ok:
        tell(Progress("table", ANOMALIES, table, ok=False, detail=item.words))
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=item.ok,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{item.verdict}: {item.words}.",
        metadata={
            "verdict": item.verdict,
            "value": float(item.value),
            "usual": float(item.usual),
            "limit_low": float(item.limit_low),
            "limit_high": float(item.limit_high),
        },
    )
