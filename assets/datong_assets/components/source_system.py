"""A source system: its entities, and the bronze tables they are ingested into.

From `defs/<system>/defs.yaml` (checked by `datong_ingestion.systems_config`) to, per entity, the external asset
`source/<system>/<entity>` and the asset `bronze/<system>__<entity>`, which one multi-asset `read_<system>` makes:
one run, one process, threads towards the system. An entity that fails does not stop the others; the run then fails and
names each.
"""

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
from datong_ingestion.systems_config import EntityConfig, SystemConfig, load_systems
from datong_platform import names
from datong_platform.errors import ConfigurationError, DatongError
from datong_platform.lake.columns import type_name
from datong_platform.standard import conservation
from datong_platform.standard.conservation import Count
from pydantic import BaseModel

from datong_assets import event_log, hops
from datong_assets.components.as_written import as_written
from datong_assets.failing import explained, fail
from datong_assets.progress import Progress, tell

if TYPE_CHECKING:
    from datong_ingestion.run import IngestOutcome, IngestResult
    from datong_platform.lake.history import Committed
    from datong_platform.lake.landing import Manifest

CONSERVATION = "conservation"
SCHEMA = "schema_unchanged"
REFUSED = "nothing_refused"

_CONSERVED = (
    "Batch by batch: rows received = landed + superseded + unchanged + refused; landed = committed to bronze; "
    "refused = in quarantine."
)
_KIND = {"odata_v2": "odata", "odata_v4": "odata", "sql": "postgres"}
"""Dagster's names for the logos of protocols, where they differ from ours."""
_MODES = {
    "full": "read whole each time",
    "cursor": "read by a cursor on {cursor}, {overlap:g} seconds overlapping",
    "delta_token": "read by the changes since a delta token",
    "log": "read from the log of the database",
    "stream": "read as a stream of messages",
}


class SourceSystem(dg.Component):
    """A source system and its entities, ingested into bronze.

    The attributes are those of `datong_ingestion.systems_config.SystemConfig`. Addresses and secrets are written as
    `${NAME}` and looked up only when a read begins.
    """

    def __init__(self, config: SystemConfig) -> None:
        self.config = config

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return as_written(SystemConfig)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "SourceSystem":
        """The system as its file defines it; ConfigurationError with file and line when it is wrong."""
        systems = load_systems(context.path)
        name = getattr(attributes, "system", "")
        if name not in systems:
            raise ConfigurationError(f"{context.path}", "names no source system.", "write `system: erp`, for example.")
        return cls(systems[name])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The assets, checks and the job of the system."""
        config = self.config

        @dg.multi_asset(
            name=f"read_{config.system}",
            specs=[self._bronze(entity) for entity in config.entities],
            check_specs=[check for entity in config.entities for check in self._checks(entity)],
            can_subset=True,
        )
        def ingest(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
            chosen = {key.path[-1] for key in context.selected_asset_keys}
            entities = [entity.name for entity in config.entities if config.table(entity.name).name in chosen]
            with hops.run(context.run), explained(f"ingest {config.system}"):
                yield from _ingest(context, config, entities)

        job = dg.define_asset_job(
            f"ingest_{config.system}",
            # reconciliation checks the same tables, in a job of its own: an ingest needs no engine
            selection=dg.AssetSelection.assets(ingest).without_checks() | dg.AssetSelection.checks(*ingest.check_keys),
            description=f"Ingest every entity of {config.title or config.system} into bronze.",
        )
        return dg.Definitions(
            assets=[*(self._source(entity) for entity in config.entities), ingest],
            jobs=[job],
            schedules=[scheduled(config, job)] if config.schedule else [],
        )

    def _source(self, entity: EntityConfig) -> dg.AssetSpec:
        config = self.config
        return dg.AssetSpec(
            key=source_key(config.system, entity.name),
            description=_described(entity, f"The entity {entity.name} in {config.title or config.system}."),
            group_name=config.system,
            owners=_owners(config),
            kinds={_KIND.get(config.protocol, config.protocol)},
            metadata={"system": config.title or config.system, "address": entity.address, "protocol": config.protocol},
        )

    def _bronze(self, entity: EntityConfig) -> dg.AssetSpec:
        config, table = self.config, self.config.table(entity.name)
        how = _MODES[entity.mode].format(
            cursor=entity.cursor or entity.cursor_expression, overlap=entity.overlap_seconds
        )
        hours = entity.freshness_hours or config.freshness_hours
        return dg.AssetSpec(
            key=dg.AssetKey([table.schema, table.name]),
            deps=[source_key(config.system, entity.name)],
            description=f"{_described(entity, entity.name)}\n\nChange log as sent by {config.system}, {how}.",
            group_name=config.system,
            owners=_owners(config),
            kinds={_KIND.get(config.protocol, config.protocol), "delta"},
            skippable=True,
            metadata={"dagster/table_name": str(table), "mode": entity.mode, "keys": ", ".join(entity.keys)},
            freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours)),
        )

    def _checks(self, entity: EntityConfig) -> list[dg.AssetCheckSpec]:
        table = self.config.table(entity.name)
        key = dg.AssetKey([table.schema, table.name])
        return [
            dg.AssetCheckSpec(CONSERVATION, asset=key, blocking=True, description=_CONSERVED),
            dg.AssetCheckSpec(
                SCHEMA, asset=key, description="The source sent no field for the first time, and none of a wider type."
            ),
            dg.AssetCheckSpec(
                REFUSED,
                asset=key,
                description="All that came could be read; what could not is in quarantine with its bytes, place and "
                "reason.",
            ),
        ]


def scheduled(config: SystemConfig, job: Any) -> dg.ScheduleDefinition:
    """The schedule that a definition asks for: on from the start, and never two runs of a system at once."""

    def is_idle(context: dg.ScheduleEvaluationContext) -> bool:
        going = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
        return not context.instance.get_runs(dg.RunsFilter(job_name=f"ingest_{config.system}", statuses=going), limit=1)

    return dg.ScheduleDefinition(
        name=f"ingest_{config.system}",
        job=job,
        cron_schedule=config.schedule,
        should_execute=is_idle,
        description=f"Ingests {config.title or config.system} as often as its definition says, unless it is at it.",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def source_key(system: str, entity: str) -> dg.AssetKey:
    """The external asset that stands for an entity in its system."""
    return dg.AssetKey(["source", system, entity])


def _described(entity: EntityConfig, otherwise: str) -> str:
    title = entity.title_zh or entity.title
    words = entity.description or otherwise
    return f"{title} · {words}" if title else words


def _owners(config: SystemConfig) -> list[str]:
    return [config.owner or "team:integration"]


def _ingest(
    context: dg.AssetExecutionContext, config: SystemConfig, entities: Sequence[str]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Ingest, yielding each entity's results as it ends; dg.Failure at the end names those that failed."""
    failures: list[DatongError] = []
    event_log.remembering(context)
    step = f"ingest {config.system}"
    counts: list[Count] = []
    for outcome in _outcomes(config, entities):
        result = outcome.result
        if isinstance(result, DatongError):
            failures.append(result)
            context.log.error(str(result))
            tell(Progress("entity", step, outcome.entity, ok=False, error=result))
            continue
        started_at = datetime.now(UTC)
        batches = batches_of(config.system, outcome.entity, result)
        checks = list(_evaluate(config, outcome.entity, result, batches))
        _checked(result, checks, started_at)
        counts += counted(config.system, outcome.entity, result, batches)
        yield dg.MaterializeResult(
            asset_key=dg.AssetKey([result.table.schema, result.table.name]), metadata=metadata_of(result)
        )
        yield from checks
        broken = next((check for check in checks if not check.passed and check.severity.value == "ERROR"), None)
        error = (
            DatongError(str(result.table), str(broken.description), "run it again, then `datong doctor`.")
            if broken
            else None
        )
        if error:
            failures.append(error)
        tell(
            Progress(
                "entity",
                step,
                outcome.entity,
                ok=error is None,
                rows=result.rows + result.deletes,
                total=result.total_rows,
                seconds=result.seconds,
                detail=_detail(result),
                error=error,
            )
        )
    conservation.record(context.run_id, counts)
    fail(failures)


def _checked(result: "IngestResult", checks: Sequence[dg.AssetCheckResult], started_at: datetime) -> None:
    """The checks of what was loaded, as a hop; where nothing was, there was nothing to check."""
    if not result.batches:
        return
    broken = [check for check in checks if not check.passed]
    words = {
        severity: [f"{check.check_name}: {check.description}" for check in broken if check.severity is severity]
        for severity in dg.AssetCheckSeverity
    }
    hops.checked(
        str(result.table),
        made=len(checks),
        failed=words[dg.AssetCheckSeverity.ERROR],
        warned=words[dg.AssetCheckSeverity.WARN],
        started_at=started_at,
    )


def _outcomes(config: SystemConfig, entities: Sequence[str]) -> "Iterator[IngestOutcome]":
    """Each entity's outcome as it ends: the ingestion works in its own threads, Dagster's events need this one."""
    from datong_ingestion.run import ingest_system

    done: queue.Queue[IngestOutcome | BaseException | None] = queue.Queue()

    def work() -> None:
        try:
            ingest_system(config, entities, on_done=done.put)
            done.put(None)
        except BaseException as error:  # noqa: BLE001 it is raised again in the run's own thread
            done.put(error)

    threading.Thread(target=work, name=f"ingest_{config.system}", daemon=True).start()
    while (item := done.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


def _detail(result: "IngestResult") -> str:
    """What is told of an entity while the run goes on: what was held back, too, or it would be overlooked."""
    parts = [f"{result.total_rows:,} rows in {result.table}"]
    if result.refused:
        parts.append(f"{result.refused:,} to quarantine")
    if result.rescued:
        parts.append(f"{result.rescued:,} with values in _datong_rescued")
    return ", ".join([*parts, *result.events, *result.notes])


def metadata_of(result: "IngestResult") -> Mapping[str, Any]:
    """What one ingest did, as metadata of its materialization."""
    columns = [dg.TableColumn(column.name, type_name(column.type)) for column in result.schema]
    return {
        "dagster/row_count": result.total_rows,
        "dagster/column_schema": dg.TableSchema(columns),
        "rows_loaded": result.rows,
        "deletes": result.deletes,
        "rescued": result.rescued,
        "refused": result.refused,
        "unchanged_rows": result.unchanged_rows,
        "batches": ", ".join(result.batches) or "none: nothing new",
        "position": result.position or "",
        "new_columns": ", ".join(result.new_columns),
        "events": "\n".join(result.events),
        "notes": "\n".join(result.notes),
        "seconds": round(result.seconds, 3),
        "bytes_landed": result.bytes,
        "delta_version": result.delta_version,
    }


def _evaluate(
    config: SystemConfig, entity: str, result: "IngestResult", batches: Sequence["_Batch"]
) -> Iterator[dg.AssetCheckResult]:
    key = dg.AssetKey([result.table.schema, result.table.name])
    wrong = disagreements(config.system, entity, result, batches)
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name=CONSERVATION,
        passed=not wrong,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(wrong) or f"{len(result.batches)} batches, {result.rows + result.deletes} rows.",
        metadata={"batches": len(result.batches), "rows": result.rows, "deletes": result.deletes},
    )
    told = [event for event in result.events if event.startswith(("new field ", "field "))]
    news = [
        *told,
        *(
            f"new field {name}"
            for name in result.new_columns
            if not result.new_table and not any(event.startswith(f"new field {name} ") for event in told)
        ),
        *(
            f"field {name} has a wider type"
            for name in result.widened_columns
            if not any(event.startswith(f"field {name} ") for event in told)
        ),
    ]
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name=SCHEMA,
        passed=not news,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(news) or f"{len(result.schema)} fields, as before.",
        metadata={"fields": len(result.schema), "new_columns": ", ".join(result.new_columns)},
    )
    yield _refusals(config.system, entity, result, key)


_SHOWN = 20
"""Refused rows that a check lists."""


def _refusals(system: str, entity: str, result: "IngestResult", key: dg.AssetKey) -> dg.AssetCheckResult:
    """What was refused in this ingest, without its bytes: those may be anybody's data."""
    from datong_platform.lake import quarantine
    from datong_platform.names import BATCH_ID

    metadata: dict[str, Any] = {"refused": result.refused}
    description = "All that came could be read."
    if result.refused and (found := quarantine.rows(system, entity, limit=_SHOWN)) is not None:
        rows = [row for row in found.to_pylist() if row[BATCH_ID] in result.batches]
        metadata["table"] = str(names.quarantine(system, entity))
        metadata["newest"] = dg.TableMetadataValue(
            [
                dg.TableRecord({name: str(row[name] or "") for name in (BATCH_ID, "place", "field", "reason")})
                for row in rows
            ],
            dg.TableSchema([dg.TableColumn(name) for name in (BATCH_ID, "place", "field", "reason")]),
        )
        first = f"; {rows[0]['place']}: {rows[0]['reason']}" if rows else ""
        description = f"{result.refused} refused{first}. See `datong quarantine show {system} {entity}`."
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=REFUSED,
        passed=not result.refused,
        severity=dg.AssetCheckSeverity.WARN,
        description=description,
        metadata=metadata,
    )


class _Batch(NamedTuple):
    """A batch loaded now: what landed, and what the table's log says of it."""

    batch_id: str
    manifest: "Manifest | None"
    committed: "Committed | None"


def batches_of(system: str, entity: str, result: "IngestResult") -> list[_Batch]:
    """The batches that were loaded now: what was landed, and what the store gave back of the table's log."""
    from datong_platform.lake import history, landing

    found: list[_Batch] = []
    loads = {one.loaded.batch_id: one for one in result.loads}
    for batch in result.batches:
        version = result.versions.get(batch)
        load = loads.get(batch)
        committed = load.committed if load else None
        if committed is None and version is not None:
            committed = history.committed(result.table, version)
        if committed is None or committed.loaded is None or committed.loaded.batch_id != batch:
            loaded = history.loads_of(result.table, [batch]).get(batch)
            committed = history.committed(result.table, loaded.version) if loaded else None
        manifest = (load.manifest if load else None) or landing.read_manifest(system, entity, int(batch))
        found.append(_Batch(batch, manifest, committed))
    return found


def counted(system: str, entity: str, result: "IngestResult", batches: Sequence[_Batch]) -> "list[Count]":
    """What became of the rows of the batches loaded now, as their manifests and the table's log tell it."""
    if not result.batches:
        return []
    rows_in = published = quarantined = deduplicated = lost = 0
    for _, manifest, committed in batches:
        if manifest is None or committed is None or (loaded := committed.loaded) is None:
            continue
        # a delete that a baseline found came from no row
        kept = min(loaded.rows + loaded.deletes, manifest.row_count)
        repeated = manifest.superseded_rows + manifest.unchanged_rows
        rows_in, published = rows_in + manifest.received_rows, published + kept
        quarantined, deduplicated = quarantined + loaded.refused, deduplicated + repeated
        lost += abs(manifest.received_rows - kept - loaded.refused - repeated)
    source = f"{system}.{entity}"
    return [
        Count(
            "bronze", str(result.table), system, source, rows_in, published, quarantined, deduplicated, rows_lost=lost
        )
    ]


def disagreements(
    system: str, entity: str, result: "IngestResult", batches: Sequence[_Batch] | None = None
) -> list[str]:
    """For each batch loaded now: what its manifest says against the rows that Delta counted in its commit, and against
    what is in quarantine. `batches`: what `batches_of` found."""
    from datong_platform.lake import quarantine

    wrong: list[str] = []
    for batch, manifest, committed in batches_of(system, entity, result) if batches is None else batches:
        if manifest is None or committed is None or (loaded := committed.loaded) is None:
            wrong.append(f"batch {batch} has no {'commit' if manifest else 'manifest'}")
            continue
        added, claimed = committed.added_rows, loaded.rows + loaded.deletes
        # a baseline adds a delete for each key that vanished: more than was landed, never less
        if added != claimed or added < manifest.row_count:
            wrong.append(f"batch {batch}: {manifest.row_count} rows landed, {added} committed")
            continue
        accounted = manifest.row_count + manifest.superseded_rows + manifest.unchanged_rows + manifest.refused_rows
        if manifest.received_rows != accounted:
            wrong.append(f"batch {batch}: {manifest.received_rows} rows received, {accounted} accounted for")
        if manifest.refused_rows and (held := quarantine.count(manifest)) != manifest.refused_rows:
            wrong.append(f"batch {batch}: {manifest.refused_rows} rows refused, {held} in quarantine")
    return wrong
