"""Conservation on the command line: what became of the rows that came, table by table and run by run."""

from __future__ import annotations

from dataclasses import asdict

import typer

from datong_infra.cli.output import Format, print_line, print_rows

_COLUMNS = (
    "layer",
    "table",
    "system",
    "rows_in",
    "published",
    "quarantined",
    "deduplicated",
    "left_out",
    "waiting",
    "rows_lost",
    "counted_at",
)


def show(run_id: str | None, layer: str | None, format_: Format) -> None:
    """Every table as it was counted last, or as it was after a run. Exit status 1 when a row is lost."""
    from datong_platform.errors import ConfigurationError
    from datong_platform.standard import conservation

    if run_id is not None:
        known = [run.run_id for run in conservation.runs(1000) if run.run_id.startswith(run_id)]
        if len(known) != 1:
            raise ConfigurationError(
                f"run {run_id}",
                f"is the beginning of {len(known)} runs." if known else "counted nothing.",
                "list the runs that did: `datong conservation --runs`.",
            )
        run_id = known[0]
    found = [count for count in conservation.latest(run_id) if layer in {None, count.layer}]
    rows = [
        {
            **asdict(count),
            "table": count.table_name,
            "system": count.source_system,
            "counted_at": count.at.strftime("%Y-%m-%d %H:%M:%S") if count.at else "",
            "counted_in_run": run_id is None or count.run_id == run_id,
        }
        for count in found
    ]
    print_rows(rows, format_, _COLUMNS)
    lost = [count for count in found if count.rows_lost]
    if format_ is Format.table and found:
        waiting = sum(count.waiting for count in found)
        print_line(
            f"{len(found)} counts, {len(lost)} of them do not add up."
            + (f" {waiting} rows wait for a record that is in quarantine." if waiting else "")
        )
    if lost:
        raise typer.Exit(1)


def runs(limit: int, format_: Format) -> None:
    """The runs that counted something, newest first."""
    from datong_platform.standard import conservation

    rows = [{**asdict(run), "at": run.at.strftime("%Y-%m-%d %H:%M:%S")} for run in conservation.runs(limit)]
    print_rows(rows, format_)
