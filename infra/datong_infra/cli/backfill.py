"""`datong ingest SYSTEM ENTITY --backfill` and `--rebuild`: one entity read whole, and its asset in Dagster told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datong_platform.errors import ConfigurationError

from datong_infra.cli.output import Format, console, print_json, print_line

if TYPE_CHECKING:
    from datong_ingestion.backfill import Progress
    from datong_ingestion.run import IngestResult


def run(system: str, entities: list[str] | None, *, anew: bool, format_: Format) -> None:
    """Read the whole of an entity in parts, resuming a backfill that broke off."""
    entity = _one(system, entities, "--backfill")
    from datong_ingestion.backfill import backfill
    from datong_ingestion.systems_config import load_system

    _record(entity, backfill(load_system(system), entity, anew=anew, on_part=_tell), format_)


def rebuild(system: str, entities: list[str] | None, format_: Format) -> None:
    """Read an entity anew and replace its table, the schema included; older states stay readable by time travel."""
    entity = _one(system, entities, "--rebuild")
    from datong_ingestion.run import ingest_entity
    from datong_ingestion.systems_config import load_system

    _record(entity, ingest_entity(load_system(system), entity, rebuild=True), format_)


def _one(system: str, entities: list[str] | None, option: str) -> str:
    if not entities or len(entities) > 1:
        raise ConfigurationError(option, "needs one entity.", f"write `datong ingest {system} ENTITY {option}`.")
    return entities[0]


def _record(entity: str, result: IngestResult, format_: Format) -> None:
    """Tell the result to Dagster and to the reader."""
    from datong_assets import instance, streaming
    from datong_ingestion.__main__ import record
    from datong_ingestion.run import IngestOutcome

    reports, done = streaming.Reporter(instance.instance()), IngestOutcome(entity, result)
    reports.add(done)
    reports.close()
    found = record(done)
    if format_ is Format.json:
        print_json(found)
        return
    print_line(
        f"{found['rows']:,} rows, {found['deletes']:,} deletes, {found['refused']:,} refused; "
        f"{found['total_rows']:,} rows in {found['table']}, {found['seconds']:.1f} s."
    )


def _tell(part: Progress) -> None:
    from rich.text import Text

    console(error=True).print(
        Text.assemble(
            (f"{part.done:>4}/{part.parts} ", "cyan"),
            f"{part.rows:>11,} rows {part.seconds:7.1f} s  ",
            (part.condition, "dim"),
        )
    )
