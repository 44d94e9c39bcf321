"""The audit log on the command line: what people decided, about data, about what goes back, and about alerts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from datong_infra.cli.output import Format, print_line, print_rows

_COLUMNS = ("at", "who", "source", "decision", "about", "value", "why", "outcome")


def audit(
    *,
    who: Annotated[str, typer.Option("--who", help="Only what this person decided.")] = "",
    about: Annotated[
        str | None, typer.Option("--about", help="Only decisions about data, write_back or alert.")
    ] = None,
    text: Annotated[str, typer.Option("--text", help="Only those that hold these words.")] = "",
    since: Annotated[str, typer.Option("--since", help="From this day or moment on, UTC: 2026-03-01.")] = "",
    before: Annotated[str, typer.Option("--before", help="Older than this day or moment, UTC.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many.")] = 100,
    format_: Annotated[Format, typer.Option("--format", help="table for people, json for programs.")] = Format.table,
) -> None:
    """List what people decided, the newest first: about data, about what goes back, and about alerts. Times are UTC."""
    from dataclasses import asdict

    from datong_platform.errors import ConfigurationError

    from datong_infra import audit

    if about is not None and about not in audit.SOURCES:
        raise ConfigurationError(f"--about {about}", "is unknown.", f"choose from {', '.join(audit.SOURCES)}.")
    found = audit.entries(
        who=who,
        source=about,  # pyright: ignore[reportArgumentType]
        text=text,
        since=_moment("--since", since),
        before=_moment("--before", before),
        limit=limit,
    )
    rows = [{**asdict(one), "at": one.at.astimezone(UTC).isoformat(timespec="seconds")} for one in found]
    print_rows(rows, format_, _COLUMNS)
    if format_ is Format.table and not rows:
        print_line("Nobody decided anything of that kind.")


def _moment(option: str, text: str) -> datetime | None:
    from datong_platform.errors import ConfigurationError

    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{option} {text}", "is no moment.", "write it as 2026-03-01.") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
