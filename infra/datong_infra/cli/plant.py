"""The sandbox plant on the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import typer

from datong_infra.cli.commands import teller
from datong_infra.cli.output import Format, print_json, print_line, print_rows


def up(scale: float, seed: int) -> None:
    """Start the plant, and PostgreSQL, which its CRM needs."""
    from datong_infra.services import stack

    done = stack.up(["sandbox"], scale=scale, seed=seed, progress=teller())
    print_line(f"The sandbox plant answers at {done[-1].detail}.")


def advance(days: int, seed: int | None) -> None:
    """Let days pass."""
    from datong_infra.sandbox import client

    print_json(client.advance(days, seed))


def truth() -> None:
    """Print the plant's truth."""
    from datong_infra.sandbox import client

    print_json(client.truth())


def status(format_: Format) -> None:
    """Show the plant."""
    from datong_infra.sandbox import client

    known = client.status()
    if format_ is Format.json:
        print_json(known)
        return
    print_rows([{"what": name, "value": _short(value)} for name, value in known.items()], format_)


def edit(system: str, key: str, changes: list[str]) -> None:
    """Change a record as a person does. A date for the ERP is put into its own spelling."""
    from datong_infra.sandbox import client

    given = [one.partition("=") for one in changes]
    fields: dict[str, Any] = {name: _as_odata(value) if system == "erp" else value for name, _, value in given}
    client.edit(system, key, fields)
    print_line(f"{system} {key}: {', '.join(changes)}.")


def _as_odata(value: str) -> str:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    return f"/Date({int(moment.replace(tzinfo=UTC).timestamp() * 1000)})/"


def log(system: str | None, since: int, format_: Format) -> None:
    """The systems' own change documents."""
    from datong_infra.sandbox import client

    rows = client.log(system, since)
    if format_ is Format.table:
        rows = [
            {**row, "at": f"{datetime.fromtimestamp(row['at_ms'] / 1000, UTC):%Y-%m-%d %H:%M:%S}"}
            | {"changed": ", ".join(row["changed"])}
            for row in rows
        ]
    print_rows(rows, format_, ("number", "at", "system", "entity", "key", "operation", "who", "changed"))


def _short(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > 6:
        return f"{len(value)} of them, {sum(v for v in value.values() if isinstance(v, int)):,} in all"
    return value


def faults(
    target: str | None,
    kind: str | None,
    *,
    match: str | None,
    count: int | None,
    options: list[str],
    clear: bool,
    format_: Format,
) -> None:
    """Switch a fault on, list those that are on, or switch all off."""
    from datong_infra.sandbox import client

    if clear:
        client.clear_faults()
        print_line("All faults are off.")
        return
    if target is not None:
        if kind is None:
            raise typer.BadParameter("say what goes wrong, such as rate_limit", param_hint="KIND")
        # without a count it strikes until it is switched off
        fields: dict[str, Any] = {"target": target, "kind": kind, "count": count}
        if match is not None:
            fields["match"] = match
        for option in options:
            name, separator, value = option.partition("=")
            if not separator:
                raise typer.BadParameter(f"{option!r} is not NAME=VALUE", param_hint="--set")
            fields[name] = value
        client.add_fault(**fields)
    print_rows(client.faults(), format_)
