"""Two-way synchronisations on the command line: what is kept equal, and whose values were given up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from datong_infra.cli.help import Group
from datong_infra.cli.output import Format, print_line, print_rows

if TYPE_CHECKING:
    from datong_ingestion.two_way import SyncPreview

two_way = typer.Typer(
    name="two-way",
    help="Fields that two systems both hold: what is kept equal, and whose values were given up. "
    "`datong write-back SYNC` runs one.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)

_TIME = "%Y-%m-%d %H:%M:%S"
FormatOption = Annotated[Format, typer.Option("--format", help="table for people, json for programs.")]


@two_way.command(name="list")
def listing(format_: FormatOption = Format.table) -> None:
    """List the synchronisations: their systems, the shared fields with their owners, and what is open."""
    from datong_ingestion.two_way import load_syncs
    from datong_ingestion.write_back import ledger

    counts = ledger.state_counts()
    rows = [
        {
            "sync": sync.sync,
            "title": sync.title,
            "title_zh": sync.title_zh,
            "systems": " and ".join(sync.systems),
            "field": field,
            "owner": next(system for system in sync.owners(field) if system in sync.systems),
            "open": sum(
                count
                for system in sync.systems
                for state, count in counts.get(sync.flow_name(system), {}).items()
                if state not in ledger.SETTLED
            ),
        }
        for sync in load_syncs().values()
        for field in sync.fields
    ]
    print_rows(rows, format_, ("sync", "systems", "field", "owner", "open"))


@two_way.command()
def conflicts(
    sync: Annotated[str | None, typer.Argument(help="A synchronisation; all when none is named.")] = None,
    since: Annotated[datetime | None, typer.Option("--since", help="Only those decided since then, UTC.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many.")] = 200,
    format_: FormatOption = Format.table,
) -> None:
    """List the values that were given up because both systems had changed them, the latest first. Times are UTC."""
    from datetime import UTC

    from datong_ingestion.two_way import agreed, load_sync

    name = load_sync(sync).sync if sync else None
    found = agreed.conflicts(name, since=since.replace(tzinfo=UTC) if since else None, limit=limit)
    rows = [{**row, "at": row["at"].strftime(_TIME)} for row in found]
    columns = ("at", "sync", "key", "field", "winner", "winner_value", "loser", "loser_value", "agreed_value")
    print_rows(rows, format_, columns)
    if format_ is Format.table and rows:
        print_line("If the value given up was the right one, set it again in either system: it is carried over.")


def print_previews(found: Sequence[SyncPreview]) -> None:
    """Print what synchronisations would do: counts, what would hold them, and the first values before and after."""
    print_rows(
        [
            {
                "sync": one.sync,
                "looked": one.looked,
                "agreed": one.agreed,
                "changes": ", ".join(f"{count} to {system}" for system, count in one.changes.items()),
                "given_up": one.given_up,
                "unreadable": one.unreadable,
                "left": one.resting or "",
            }
            for one in found
        ],
        Format.table,
        ("sync", "looked", "agreed", "changes", "given_up", "unreadable", "left"),
    )
    columns = ("key", "system", "field", "before", "after", "winner", "why", "words")
    for one in found:
        for words in one.holds:
            print_line(f"{one.sync}: {words}", "yellow")
        if one.samples:
            rows = [{name: getattr(sample, name) for name in columns} for sample in one.samples]
            print_rows(rows, Format.table, columns, title=f"{one.sync}: the first values")
