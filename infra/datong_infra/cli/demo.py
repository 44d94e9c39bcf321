"""`datong demo`: services, plant, one cycle, and the lake held against the plant's own truth."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import typer
from datong_platform.settings import settings

from datong_infra.cli import work
from datong_infra.cli.commands import status_row, teller
from datong_infra.cli.output import Format, print_json, print_line, print_rows

if TYPE_CHECKING:
    from datong_infra.truth_check import Comparison


def demo(*, once: bool, scale: float, seed: int, engine: str | None, format_: Format) -> None:
    """Run the demo; exit status 0 only when every check held."""
    from datong_infra.services import stack

    try:
        ok = _run(scale, seed, engine, format_, stays=not once)
    finally:
        if once:
            stack.down(progress=teller())
    if not ok:
        raise typer.Exit(1)


def _run(scale: float, seed: int, engine: str | None, format_: Format, *, stays: bool) -> bool:
    from datong_infra.services import stack

    began = time.monotonic()
    running = stack.up((*stack.DEFAULT, "sandbox"), engine=engine, scale=scale, seed=seed, progress=teller())
    started = time.monotonic() - began

    # imported once the services are up: loading Dagster beside their start would slow both
    from datong_infra import truth_check
    from datong_infra.sandbox import client

    result = work.run_cycle()
    compared = truth_check.compare(client.truth())
    ok = result.ok and all(one.ok for one in compared)
    if format_ is Format.json:
        print_json(
            {
                "ok": ok,
                "start_seconds": round(started, 1),
                "services": [status_row(status) for status in running],
                "cycle": work.summary(result),
                "truth": [{**asdict(one), "ok": one.ok} for one in compared],
                "doors": doors() if stays else {},
            }
        )
        return ok
    print_line()
    work.print_summary(result)
    print_line(f"Start of services     {started:.1f} s")
    print_line()
    _print_comparison(compared)
    if stays:
        print_line()
        for name, value in doors().items():
            print_line(f"{name:22}{value}")
        print_line()
        print_line("Go on: datong sandbox advance --days 7, then datong cycle. Stop everything: datong down.")
    print_line()
    print_line("Every check held." if ok else "Not every check held.", style="bold green" if ok else "bold red")
    return ok


def _print_comparison(compared: list[Comparison]) -> None:
    print_rows(
        [
            {
                "compared_with_the_plant": one.what,
                "state": "ok" if one.ok else "failed",
                "facts": one.facts,
                "different": one.different,
            }
            for one in compared
        ],
        Format.table,
    )
    for one in compared:
        for example in one.examples:
            print_line(f"  {one.what}: {example}", style="red")


def doors() -> Mapping[str, Any]:
    """The addresses where people go on, with the read-only account for BI."""
    from datong_infra.services.postgres import program

    now = settings()
    found: dict[str, Any] = {
        "Desk, for people": now.desk_url or "",
        "  let yourself in": "datong user add NAME",
        "Dagster UI": now.dagster_url or "",
    }
    if now.postgres_reader_url:
        parts = urlsplit(now.postgres_reader_url)
        # a machine without PostgreSQL's client has the one of the wheel
        psql = "psql" if shutil.which("psql") else str(program("psql"))
        found["BI, PostgreSQL"] = f"{psql} '{now.postgres_reader_url}'"
        found["  or by parts"] = (
            f"host {parts.hostname}, port {parts.port}, database {parts.path.lstrip('/')}, schema serve, "
            f"user {parts.username}, password {parts.password}"
        )
    found["Engineers, any layer"] = 'datong sql "select * from gold.mart_inventory" --limit 5'
    found["Notebooks, Spark"] = f"SparkSession.builder.remote('{now.engine_address}')"
    return found
