"""Reconciliation on the command line: run it, and show what was compared, what differs and how far it is proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import typer

from datong_infra.cli.output import Format, print_error, print_json, print_line, print_rows

_KEYS_SHOWN = 10
_COLUMNS = ("name", "status", "facts", "different", "changed_since", "verified_through", "remark")


def reconcile(what: str | None, options: Sequence[str], *, last: bool, format_: Format) -> None:
    """Reconcile a system, the balances, or everything; exit status 1 when something differs."""
    from datong_platform.quality import record

    if last:
        wanted = record.entries()
        names = _names(what)
        rows = [row for row in wanted if names is None or row["name"].split(".")[0] in names or row["name"] in names]
        _show(rows, [], what, format_)
        return
    results = _run(what, options)
    found = [row for result in results for row in record.entries(result.run_id)]
    errors = [error for result in results for error in result.errors]
    _show(found, errors, what, format_)
    if any(not result.ok for result in results) or any(row["status"] in {"differs", "failed"} for row in found):
        raise typer.Exit(1)


def _names(what: str | None) -> set[str] | None:
    if what is None:
        return None
    if what == "balances":
        from datong_platform.quality.balances import balances

        return {balance.name for balance in balances()}
    return {what}


def _run(what: str | None, options: Sequence[str]) -> list[Any]:
    from datong_ingestion.systems_config import load_systems

    from datong_infra.cli.work import quiet, reporter

    quiet()
    from datong_assets import runs

    chosen = [what] if what else [*load_systems(), "balances"]
    return [runs.reconcile(name, options=options, on_progress=reporter()) for name in chosen]


def _show(found: Sequence[dict[str, Any]], errors: Sequence[Any], what: str | None, format_: Format) -> None:
    from datong_platform.quality import record

    marks = {f"{one.source_system}.{one.entity}": one for one in record.marks()}
    names = {row["name"] for row in found}
    if format_ is Format.json:
        print_json(
            {
                "ok": not errors and all(row["status"] not in {"differs", "failed"} for row in found),
                "compared": list(found),
                "verified_through": [asdict(one) for name, one in marks.items() if what is None or name in names],
                "errors": [{"thing": e.thing, "reason": e.reason, "next_step": e.next_step} for e in errors],
            }
        )
        return
    print_rows(
        [_summed(name, found, marks.get(name)) for name in dict.fromkeys(row["name"] for row in found)],
        format_,
        _COLUMNS,
    )
    for row in found:
        if row["status"] != "differs":
            continue
        print_line(f"{row['name']}, {row['part']}: {row['left_value']} | {row['right_value']}", "yellow")
        for example in row["examples"][:_KEYS_SHOWN]:
            told = ", ".join(f"{name} {value}" for name, value in example.items() if name != "key" and value)
            print_line(f"  {example['key']}: {told}")
        if row["different"] > _KEYS_SHOWN:
            print_line(f"  and {row['different'] - _KEYS_SHOWN:,} more; JSON names the first {len(row['examples'])}")
    for error in errors:
        print_error(error)


def _summed(name: str, found: Sequence[dict[str, Any]], mark: Any) -> dict[str, Any]:
    """An entity's windows, or a balance, as one line."""
    rows = [row for row in found if row["name"] == name]
    states = {row["status"] for row in rows}
    order = ("failed", "differs", "not possible", "nothing", "not connected", "changed since", "agrees", "open")
    status = next((state for state in order if state in states), "agrees")
    is_source = rows[0]["kind"] == "source"
    remark = rows[0]["wrong"] if status in {"failed", "not possible", "nothing", "not connected"} else ""
    if is_source and mark and mark.went_back:
        remark = f"went back {mark.went_back}"
    return {
        "name": name,
        "status": "agrees" if status == "open" else status,
        "facts": sum(row["facts"] for row in rows),
        "different": sum(row["different"] for row in rows),
        "changed_since": sum(row["changed_since"] for row in rows),
        "verified_through": mark.verified_through if is_source and mark else "",
        "remark": remark,
    }
