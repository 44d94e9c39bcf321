"""Upkeep as assets: for each schema of the lake, and for the landing zone, what keeps it as quick as on its first day.

The job `upkeep` takes them one after the other; each table is looked after beside its readers and writers (see
`datong_platform.lake.upkeep`), those that builds write while no build runs. What a build is in the way of, and what
another writer was faster at, is put off to the next time and said so: it is no failure.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import dagster as dg
from datong_platform.errors import ConfigurationError, DatongError, TransientError
from datong_platform.names import SCHEMAS
from pydantic import Field

from datong_assets.alone import alone
from datong_assets.failing import explained, fail
from datong_assets.progress import Progress, tell

if TYPE_CHECKING:
    from datong_platform.lake.retention import Retention
    from datong_platform.lake.upkeep import Due, Kept
    from datong_platform.names import TableName

UPKEEP = "upkeep"
LANDING = "landing"
PLACES = (*SCHEMAS, LANDING)
"""What upkeep is done for, each an asset."""


class Upkeep(dg.Component, dg.Model, dg.Resolvable):
    """Upkeep of every table of the lake, and of the landing zone."""

    owner: str = Field(default="team:data", description="Who answers for it.")
    schedule: str = Field(default="", description="When it is done by itself: a cron expression.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """An asset for each schema and for the landing zone, their job and its schedule."""

        @dg.multi_asset(
            name="keep_up",
            specs=[
                dg.AssetSpec(
                    key=dg.AssetKey([UPKEEP, place]),
                    description=_DESCRIPTIONS.get(place, _DESCRIPTIONS[""]).format(place=place),
                    group_name=UPKEEP,
                    owners=[self.owner],
                    kinds={"delta"} if place != LANDING else {"parquet"},
                    skippable=True,
                )
                for place in PLACES
            ],
            can_subset=True,
        )
        def keep_up(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
            chosen = {key.path[-1] for key in context.selected_asset_keys}
            with explained(UPKEEP):
                yield from _keep_up([place for place in PLACES if place in chosen])

        job = dg.define_asset_job(
            UPKEEP,
            selection=dg.AssetSelection.assets(keep_up),
            description="Put small files together, and remove files and log entries that nobody needs any more.",
        )
        schedule = dg.ScheduleDefinition(
            name=UPKEEP,
            job=job,
            cron_schedule=self.schedule,
            description=f"{job.description}",
            default_status=dg.DefaultScheduleStatus.STOPPED,
        )
        return dg.Definitions(assets=[keep_up], jobs=[job], schedules=[schedule] if self.schedule else [])


_DESCRIPTIONS = {
    "": "Upkeep of {place}: compaction, checkpoints, old files and log entries.",
    "gold": "Upkeep of {place}: checkpoints, files and log entries that no build of the kept time needs.",
    "serve": "Upkeep of {place}: checkpoints, files and log entries that nobody may look back at any more.",
    "bronze": "Upkeep of {place}: compaction, checkpoints, old files and log entries, replaced states past their time.",
    LANDING: "Upkeep of the landing zone: what is past its batches and days, and what killed readers left behind.",
}


def _keep_up(places: Sequence[str]) -> Iterator[dg.MaterializeResult[Any]]:
    from datong_platform.lake import integrity
    from datong_platform.lake.upkeep import BUILT

    failures: list[DatongError] = []
    for place in places:
        began = time.monotonic()
        key = dg.AssetKey([UPKEEP, place])
        if place == LANDING:
            removed = _landing()
            yield dg.MaterializeResult(asset_key=key, metadata={"files_removed": removed})
            _told(place, began, f"{removed} files removed")
            continue
        lock: AbstractContextManager[None] = alone("build") if place in BUILT else nullcontext()
        try:
            with lock:
                done = list(_tables(place, failures))
        except TransientError as error:
            tell(Progress("table", UPKEEP, place, skipped=True, detail=f"put off: {error.thing} {error.reason}"))
            continue
        yield dg.MaterializeResult(asset_key=key, metadata=_metadata(done))
        _told(place, began, _words(done))
    integrity.bear_witness()
    fail(failures)


def _tables(schema: str, failures: list[DatongError]) -> Iterator["Kept"]:
    from datong_platform.lake import catalog, upkeep

    kept_of = retentions()
    for table in catalog.stored_tables([schema]):
        try:
            if kept := upkeep.keep_up(table, kept_of.get(table)):
                yield kept
        except DatongError as error:
            failures.append(error)
            tell(Progress("table", UPKEEP, str(table), ok=False, error=error))


def _landing() -> int:
    from datong_platform.lake import upkeep

    return sum(upkeep.clear_landing(landed()).values())


def retentions() -> "dict[TableName, Retention]":
    """What the definitions of the sources say is kept, by bronze table."""
    from datong_ingestion.systems_config import load_systems

    return {
        system.table(entity.name): system.retention_of(entity)
        for system in load_systems().values()
        for entity in system.entities
    }


def landed() -> "dict[tuple[str, str], Retention]":
    """The entities that have something in the landing zone, and what is kept of each, also of those that nobody defines
    any more."""
    from datong_platform.lake import storage
    from datong_platform.lake.retention import Retention
    from datong_platform.names import bronze

    kept_of = retentions()
    return {
        (system, entity): kept_of.get(bronze(system, entity)) or Retention()
        for system in storage.folders(f"{LANDING}/")
        for entity in storage.folders(f"{LANDING}/{system}/")
    }


def due(places: Sequence[str] = ()) -> "list[Due]":
    """What upkeep of these schemas, and of `landing`, would take away, or of all; nothing is changed."""
    from datong_platform.lake import catalog, upkeep

    checked(places)
    chosen, kept_of = places or PLACES, retentions()
    tables = catalog.stored_tables([place for place in chosen if place != LANDING])
    found = [one for table in tables for one in upkeep.due(table, kept_of.get(table))]
    if LANDING in chosen:
        found += [one for key, kept in landed().items() for one in upkeep.landing_due(*key, kept)]
    return found


def checked(places: Sequence[str]) -> None:
    """ConfigurationError for a schema that is none."""
    for place in places:
        if place not in PLACES:
            raise ConfigurationError(f"schema {place}", "is not one of the lake.", f"choose from {', '.join(PLACES)}.")


def _told(place: str, began: float, words: str) -> None:
    tell(Progress("table", UPKEEP, place, seconds=round(time.monotonic() - began, 2), detail=words))


def _words(done: "Sequence[Kept]") -> str:
    words = (
        f"{len(done)} tables, {sum(one.files for one in done)} files; {sum(one.files_fewer for one in done)} put "
        f"together, {sum(one.files_removed for one in done)} old ones and "
        f"{sum(one.log_entries_removed for one in done)} log entries removed"
    )
    if states := sum(one.states_removed for one in done):
        words += f"; {states} replaced states removed"
    off = [f"{one.table} ({one.put_off})" for one in done if one.put_off]
    return f"{words}; put off: {', '.join(off)}" if off else words


def _metadata(done: "Sequence[Kept]") -> dict[str, Any]:
    columns = [
        dg.TableColumn("table", "string"),
        *(
            dg.TableColumn(name, "int")
            for name in ("files", "files_fewer", "files_removed", "log_entries_removed", "states_removed")
        ),
        dg.TableColumn("put_off", "string"),
    ]
    records = [
        dg.TableRecord({column.name: getattr(one, column.name) for column in columns} | {"table": str(one.table)})
        for one in done
        if one.did_something or one.put_off
    ]
    return {
        "tables": len(done),
        "files": sum(one.files for one in done),
        "size_bytes": sum(one.bytes for one in done),
        "files_fewer": sum(one.files_fewer for one in done),
        "files_removed": sum(one.files_removed for one in done),
        "bytes_removed": sum(one.bytes_removed for one in done),
        "log_entries_removed": sum(one.log_entries_removed for one in done),
        "states_removed": sum(one.states_removed for one in done),
        "put_off": sum(bool(one.put_off) for one in done),
        "changed": dg.MetadataValue.table(records, schema=dg.TableSchema(columns)),
    }
