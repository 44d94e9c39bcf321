"""The data path on the command line: ingest, build, publish, write back, and all of it as a cycle.

Each is a Dagster run inside this process, so that the Dagster UI shows it with its log and lineage.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import typer
from datong_platform.errors import ConfigurationError, DatongError
from datong_platform.settings import settings

from datong_infra.cli.output import Format, console, print_error, print_json, print_line, print_rows

if TYPE_CHECKING:
    from datong_assets.progress import Progress
    from datong_assets.runs import CycleResult, StepResult
    from datong_assets.watch import Edit


def reporter() -> Callable[[Progress], None]:
    """Progress of runs on standard error: a line for each entity, table and flow; checks only when they fail."""
    from rich.text import Text

    out = console(error=True)
    unchanged: list[str] = []

    def tell(event: Progress) -> None:
        if event.kind == "check" and event.ok:
            return
        if event.unchanged:
            unchanged.append(event.name)
            return
        if unchanged and event.kind in {"model", "step finished"}:
            out.print(Text(f"  · {len(unchanged)} tables and views are up to date", "dim"))
            unchanged.clear()
        if event.kind == "step started":
            out.print(Text.assemble(("▸ ", "cyan"), (event.step, "bold")))
            return
        mark, style = ("·", "dim") if event.skipped else ("✓", "green") if event.ok else ("✗", "red")
        # a finished step's rows mix layers; what it did is in the lines above it
        counted = event.rows is not None and event.kind != "step finished"
        rows = f"{event.rows:,} rows" if counted else ""
        words = event.error.reason if event.error else event.detail
        name = event.name or f"{event.step} {'finished' if event.ok else 'failed'}"
        out.print(
            Text.assemble(
                "  " if event.kind != "step finished" else "",
                (mark, style),
                f" {name:44} {rows:>14} {event.seconds:7.2f} s",
                (f"  {words}" if words else "", style if not event.ok else "dim"),
            )
        )

    return tell


def quiet() -> None:
    """Keep the libraries' own logging off the terminal: progress and errors are told by us."""
    for name in ("dagster", "dbt", "py4j", "pyspark", "httpx", "botocore"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def ingest(system: str, entities: list[str] | None, format_: Format) -> None:
    """Ingest a system."""
    quiet()
    from datong_assets import runs

    _finish([runs.ingest(system, entities, on_progress=reporter())], format_)


def build(selection: str | None, everything: bool, format_: Format) -> None:
    """Build the dbt project."""
    quiet()
    from datong_assets import runs

    _finish([runs.build(selection, everything=everything, on_progress=reporter())], format_)


def watch(selection: str | None, everything: bool, format_: Format) -> None:
    """Build each model when it is saved, until Ctrl-C."""
    if selection or everything:
        raise ConfigurationError(
            "option --watch", "builds what is saved, whatever that is.", "leave SELECTION and --all out."
        )
    quiet()
    out = console(error=True)
    try:
        from datong_assets.watch import edits

        for edit in edits(
            reporter(), ready=lambda: out.print("Watching dbt_project: save a model to build it. Ctrl-C ends.")
        ):
            _show_edit(edit, format_)
    except KeyboardInterrupt:
        out.print("The watch has ended.")


def _show_edit(edit: Edit, format_: Format) -> None:
    if format_ is Format.json:
        rows = {name: table.to_pylist() for name, table in edit.rows.items()}
        print_json(
            {
                "models": edit.models,
                "ok": not edit.errors,
                "seconds": round(edit.seconds, 2),
                "errors": [_error(error) for error in edit.errors],
                "rows": rows,
            }
        )
        sys.stdout.flush()
        return
    for name, table in edit.rows.items():
        # lying on its side: a model has more columns than a terminal has room for
        rows = [
            {"column": column, **{f"row {number}": value for number, value in enumerate(values.to_pylist(), 1)}}
            for column, values in zip(table.column_names, table.columns, strict=True)
        ]
        print_rows(rows, Format.table, title=name if table.num_rows else f"{name} has no rows")
    print_errors(edit.errors)
    if edit.models:
        state = "failed, and tried again at the next save" if edit.errors else "ok"
        print_line(f"{', '.join(edit.models)}: {state} ({edit.seconds:.1f} s).")
    elif edit.errors:
        print_line("Nothing is built until dbt can read the project.")
    else:
        print_line("Saved, and no model's code, settings or tests are others. What a macro changes: datong build.")


def publish(format_: Format) -> None:
    """Publish the BI tables."""
    quiet()
    from datong_assets import runs

    _finish([runs.publish(on_progress=reporter())], format_)


def write_back(flow: str | None, format_: Format) -> None:
    """Run the write-back flows."""
    quiet()
    from datong_assets import runs

    _finish([runs.write_back(flow, on_progress=reporter())], format_)


def cycle(format_: Format) -> None:
    """Run the whole cycle and summarise it."""
    result = run_cycle()
    if format_ is Format.json:
        print_json(summary(result))
    else:
        print_summary(result)
    if not result.ok:
        raise typer.Exit(1)


def run_cycle() -> CycleResult:
    """The whole cycle, with progress on standard error."""
    quiet()
    from datong_assets import runs

    return runs.cycle(reporter())


def summary(result: CycleResult) -> dict[str, Any]:
    """A cycle's result as JSON."""
    return {
        "ok": result.ok,
        "cycle_id": result.cycle_id,
        "seconds": result.seconds,
        "rows": result.rows,
        "quarantined": result.quarantined,
        "checks_passed": result.checks_passed,
        "checks_failed": result.checks_failed,
        "write_backs_verified": result.verified,
        "write_backs_failed": result.failed,
        "steps": [_step(step) for step in result.steps],
    }


def print_summary(result: CycleResult) -> None:
    """A cycle's result for people: steps, rows of each layer, what was held back, what was verified."""
    print_rows(
        [
            {"step": step.name, "state": "ok" if step.ok else "failed", "seconds": round(step.seconds, 1)}
            for step in result.steps
        ],
        Format.table,
    )
    print_rows(
        [{"layer": layer, "rows": f"{rows:>12,}"} for layer, rows in result.rows.items() if layer != "quarantine"],
        Format.table,
    )
    print_line(f"Quarantined rows      {result.quarantined:,}")
    print_line(f"Checks                {result.checks_passed:,} passed, {result.checks_failed:,} failed")
    print_line(f"Write-backs           {result.verified:,} verified, {result.failed:,} not verified")
    print_line(f"Time                  {result.seconds:.1f} s")
    print_errors(error for step in result.steps for error in step.errors)


def print_errors(errors: Iterable[DatongError]) -> None:
    """Each error once."""
    for error in {str(error): error for error in errors}.values():
        print_error(error)


def _step(step: StepResult) -> dict[str, Any]:
    return {
        "step": step.name,
        "ok": step.ok,
        "rows": step.rows,
        "seconds": step.seconds,
        "run_id": step.run_id,
        "errors": [_error(error) for error in step.errors],
        "events": [
            {
                "kind": event.kind,
                "name": event.name,
                "ok": event.ok,
                "skipped": event.skipped,
                "rows": event.rows,
                "seconds": event.seconds,
            }
            for event in step.events
        ],
    }


def _error(error: DatongError) -> dict[str, str]:
    return {"thing": error.thing, "reason": error.reason, "next_step": error.next_step}


def _finish(steps: list[StepResult], format_: Format) -> None:
    if format_ is Format.json:
        print_json([_step(step) for step in steps])
    else:
        for step in steps:
            checks = [event for event in step.events if event.kind == "check"]
            told = f", {sum(event.ok for event in checks)} of {len(checks)} checks passed" if checks else ""
            print_line(f"{step.name}: {'ok' if step.ok else 'failed'} in {step.seconds:.1f} s{told}.")
        if url := settings().dagster_url:
            print_line(f"Details: {url}/runs/{steps[0].run_id}")
        print_errors(error for step in steps for error in step.errors)
    if not all(step.ok for step in steps):
        raise typer.Exit(1)
