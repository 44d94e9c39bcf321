"""The standard on the command line: its contracts, what is made from them, and what is wrong with them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from datong_platform.errors import DatongError

from datong_infra.cli.output import Format, print_error, print_json, print_line, print_rows


def compile_(*, check: bool, format_: Format) -> None:
    """Write what the contracts say, or with `check` only tell which files differ (exit status 1)."""
    from datong_platform.standard import compile as compiler

    try:
        changes = compiler.differences() if check else compiler.write()
        count = len(compiler.generated())
    except DatongError as error:
        print_error(error)
        raise typer.Exit(1) from None
    if format_ is Format.json:
        print_json([{"path": str(each.path), "kind": each.kind} for each in changes])
    else:
        for each in changes:
            print_line(f"  {each.kind:8} dbt_project/{each.path}")
        if check and changes:
            print_line(f"{len(changes)} of {count} files are not as the contracts say. Next: datong standard compile")
        elif changes:
            print_line(f"{len(changes)} of {count} files written.")
        else:
            print_line(f"All {count} files are as the contracts say.")
    if check and changes:
        raise typer.Exit(1)


def lint(format_: Format) -> None:
    """Say everything that is wrong with the contracts, with file, line, field and next step (exit status 1)."""
    from datong_platform.standard import contract, odcs

    found = [*contract.problems(), *odcs.problems()]
    rows = [_row(asdict(each), each.place) for each in sorted(found, key=lambda each: (each.file, each.line))]
    if format_ is Format.json:
        print_json(rows)
    elif rows:
        print_rows(rows, format_, ["place", "reason", "next_step"])
    else:
        count = len(contract.contract_files())
        print_line(f"All {count} contracts are right, and valid to ODCS {contract.API_VERSION}.")
    if rows:
        raise typer.Exit(1)


def _row(found: dict[str, Any], place: str) -> dict[str, Any]:
    return {"place": place, **{key: str(value) if isinstance(value, Path) else value for key, value in found.items()}}


def listing(layer: str | None, format_: Format) -> None:
    """List the contracts."""
    from datong_platform.standard.contract import contracts

    try:
        known = contracts()
    except DatongError as error:
        print_error(error)
        raise typer.Exit(1) from None
    rows = [
        {
            "table": each.table,
            "title": each.title,
            "title_zh": each.title_zh,
            "version": each.version,
            "fields": len(each.fields),
            "rules": len(each.rules),
            "personal_fields": sum(field.is_personal for field in each.fields),
            "owner": each.owner,
            "file": str(each.path.name),
        }
        for each in known.values()
        if layer in {None, each.layer}
    ]
    print_rows(rows, format_)
