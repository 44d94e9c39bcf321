"""Keeping the lake safe on the command line: upkeep, and the mending of what was lost."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from datong_infra.cli.output import Format, print_rows


def upkeep(places: Sequence[str], format_: Format) -> None:
    """Look after the tables of some schemas or of all; exit status 1 when one could not be looked after."""
    from datong_infra.cli.work import print_errors, quiet, reporter

    quiet()
    from datong_assets import runs

    done = runs.upkeep(places, on_progress=reporter() if format_ is Format.table else None)
    if format_ is Format.json:
        rows = [
            {"place": one.name, "ok": one.ok, "put_off": one.skipped, "seconds": one.seconds, "words": one.detail}
            for one in done.events
        ]
        print_rows(rows, format_)
    print_errors(done.errors)
    if not done.ok:
        raise typer.Exit(1)
