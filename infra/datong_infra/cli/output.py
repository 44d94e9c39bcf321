"""How commands speak: tables for people, JSON for programs, errors as thing, reason and next step."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from datong_platform.errors import DatongError

if TYPE_CHECKING:
    from rich.console import Console


class Format(StrEnum):
    """How a listing is printed."""

    table = "table"
    json = "json"


def console(*, error: bool = False) -> Console:
    """Where text for people goes: standard output, or standard error for progress and errors."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    # a file or a pipe has no width: do not fold what somebody searches through later
    return Console(stderr=error, highlight=False, width=None if stream.isatty() else 200)


def plain(value: Any) -> Any:
    """A value that JSON has no form for, as one: decimals as exact text, times as ISO 8601, bytes as hexadecimal."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def print_json(content: Any) -> None:
    """One JSON document on standard output."""
    json.dump(content, sys.stdout, indent=2, ensure_ascii=False, default=plain)
    sys.stdout.write("\n")


def print_rows(
    rows: Iterable[Mapping[str, Any]],
    format_: Format,
    columns: Sequence[str] | None = None,
    *,
    title: str | None = None,
    names_as_they_are: bool = False,
    may_lie: bool = False,
) -> None:
    """A listing in the chosen format: `columns` are those of the table, JSON has all.

    `names_as_they_are` for names that people type again, as columns of a table. `may_lie`: rows that are too wide for
    the terminal lie on their side, a line for each column.
    """
    listed = [dict(row) for row in rows]
    if format_ is Format.json:
        print_json(listed)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    names = list(columns or (listed[0] if listed else ()))
    if may_lie and listed and not _fits(listed, names):
        for number, row in enumerate(listed, 1):
            lines = [{"column": name, "value": row.get(name)} for name in names]
            print_rows(lines, format_, title=f"{title or 'row'} {number}", names_as_they_are=True)
        return
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        known = [value for row in listed if (value := row.get(name)) is not None]
        numeric = bool(known) and all(isinstance(value, int | float | Decimal) for value in known)
        heading = name if names_as_they_are else name.replace("_", " ")
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*(_cell(row.get(name)) for name in names))
    console().print(table if names else Text("(no rows)"))


_READABLE = 24
"""A cell that is wider may be folded and is still read well; a name of a column may not."""


def _fits(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bool:
    """Whether the terminal has room for a table of these rows."""
    from rich.cells import cell_len

    needed = sum(
        max(cell_len(name), *(min(_READABLE, cell_len(_cell(row.get(name)).plain)) for row in rows)) + 3
        for name in names
    )
    return needed <= console().width


def _cell(value: Any) -> Any:
    from rich.text import Text

    colours = {
        "healthy": "green",
        "external": "green",
        "ok": "green",
        "unhealthy": "red",
        "failed": "red",
        "missing": "yellow",
        "stopped": "yellow",
        "warning": "yellow",
    }
    if isinstance(value, str):
        return Text(value, style=colours.get(value, ""))
    if value is None or isinstance(value, int | float | Decimal):
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    else:
        text = json.dumps(value, ensure_ascii=False, default=plain) if isinstance(value, dict | list) else plain(value)
    return Text(text)


def print_error(error: DatongError) -> None:
    """An error on standard error: the thing, the reason, the next step. Never a traceback."""
    from rich.text import Text

    out = console(error=True)
    out.print(Text.assemble(("error ", "bold red"), (error.thing, "bold"), ": ", error.reason.rstrip()))
    if error.next_step:
        out.print(Text.assemble(("next  ", "bold"), error.next_step))


def print_line(text: str = "", style: str = "") -> None:
    """One line for people on standard output, its text taken as it is."""
    from rich.text import Text

    console().print(Text(text, style=style))
