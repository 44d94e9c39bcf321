"""`datong ingest SYSTEM ENTITY --backfill`: a line for each part, and the result on the bronze asset in Dagster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datong_platform.errors import ConfigurationError

from datong_infra.cli.output import Format, console, print_json, print_line

if TYPE_CHECKING:
    from datong_ingestion.backfill import Progress


def run(system: str, entities: list[str] | None, *, anew: bool, format_: Format) -> None:
    """Read the whole of an entity in parts, resuming a backfill that broke off."""
    if not entities or len(entities) > 1:
        raise ConfigurationError(
            "--backfill", "needs one entity.", f"write `datong ingest {system} ENTITY --backfill`."
        )
    from datong_assets import instance, streaming
    from datong_ingestion.__main__ import record
    from datong_ingestion.backfill import backfill
    from datong_ingestion.run import IngestOutcome
    from datong_ingestion.systems_config import load_system

    config, reports = load_system(system), streaming.Reporter(instance.instance())
    done = IngestOutcome(entities[0], backfill(config, entities[0], anew=anew, on_part=_tell))
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
