"""Keeping the lake safe on the command line: upkeep, and the mending of what was lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from datong_infra.cli.output import Format, console, print_json, print_line, print_rows

if TYPE_CHECKING:
    from datong_infra.repair.run import Repaired


def upkeep(places: Sequence[str], format_: Format, *, dry_run: bool) -> None:
    """Look after the tables of some schemas or of all, or show what would go; exit status 1 when one could not be
    looked after."""
    from datong_infra.cli.work import print_errors, quiet, reporter

    quiet()
    if dry_run:
        _due(places, format_)
        return
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


def _due(places: Sequence[str], format_: Format) -> None:
    from datong_assets.components.upkeep import due

    found = due(places)
    rows = [
        {"thing": one.thing, "what": one.what, "count": one.count, "bytes": one.bytes, "kept": one.kept}
        for one in found
    ]
    if not rows and format_ is Format.table:
        print_line("Nothing is past its time.")
        return
    print_rows(rows, format_, ("thing", "what", "count", "bytes", "kept"))


def repair(place: str | None, format_: Format, *, dry_run: bool) -> None:
    """Show what is damaged, or mend it; exit status 1 while something that matters is lost."""
    from datong_platform.lake import integrity

    if dry_run:
        found = integrity.examine()
        rows = [
            {"thing": one.thing, "damage": one.kind, "reason": one.reason, "objects": list(one.keys)} for one in found
        ]
        print_rows(rows, format_, ("thing", "damage", "reason"))
        if any(one.is_loss for one in found):
            raise typer.Exit(1)
        return
    from datong_infra.backup.repository import Repository
    from datong_infra.repair.run import repair

    done = repair(Repository(place) if place else None, console(error=True).print if format_ is Format.table else _mute)
    if format_ is Format.json:
        print_json(_plain(done))
    elif not done.found and not done.databases:
        print_line(f"Nothing is lost: every table is whole. The engine knows {done.registered} tables.")
    else:
        print_rows(_rows(done), format_, ("thing", "outcome", "words"))
    if not done.ok:
        raise typer.Exit(1)


def _mute(_text: str) -> None: ...


def _rows(done: Repaired) -> list[dict[str, Any]]:
    rows = [{"thing": name, "outcome": "ok", "words": "put back from the backup."} for name in done.put_back]
    rows += [{"thing": name, "outcome": "ok", "words": "the database is as in the backup."} for name in done.databases]
    for one in done.mended:
        words = f"{one.done or one.damage.reason} {f'Next: {one.next_step}' if one.next_step else ''}".rstrip()
        rows.append({"thing": one.damage.thing, "outcome": "ok" if one.ok else "failed", "words": words})
    return rows


def _plain(done: Repaired) -> dict[str, Any]:
    return {
        "ok": done.ok,
        "found": [{"thing": one.thing, "damage": one.kind, "reason": one.reason} for one in done.found],
        "put_back": done.put_back,
        "databases": done.databases,
        "mended": [
            {"thing": one.damage.thing, "damage": one.damage.kind, "done": one.done, "next_step": one.next_step}
            for one in done.mended
        ],
        "left": [{"thing": one.thing, "damage": one.kind, "reason": one.reason} for one in done.left],
        "registered": done.registered,
    }
