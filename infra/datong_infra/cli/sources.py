"""Getting to know sources on the command line: preview, profile, inventory, secrets, and a new source's definition."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer
from datong_platform import settings
from datong_platform.errors import ServiceError

from datong_infra.cli.output import Format, console, print_json, print_line, print_rows


def preview(system: str, entity: str, rows: int, format_: Format) -> None:
    """Print an entity's types and its first rows."""
    from datong_ingestion.discovery.sample import preview as look
    from datong_ingestion.systems_config import load_system
    from datong_platform.lake.columns import type_name

    found = look(load_system(system), entity, rows)
    description = found.description
    fields = [
        {
            "field": field.name,
            "type": type_name(field.type),
            "role": ", ".join(
                role
                for role, names in (("key", description.keys), ("cursor candidate", description.cursors))
                if field.name in names
            ),
        }
        for field in description.schema
    ]
    listed = found.rows.to_pylist()
    refused = [_readable(row) for row in found.refused.to_pylist()]
    rescued = [{"row": at + 1, "value": json.loads(mark)} for at, mark in enumerate(found.rescued) if mark]
    if format_ is Format.json:
        print_json(
            {
                "fields": fields,
                "keys": list(description.keys),
                "cursors": list(description.cursors),
                "modes": sorted(description.modes),
                "inferred": description.inferred,
                "notes": list(description.notes),
                "rows": listed,
                "rescued": rescued,
                "refused": refused,
                "complete": found.complete,
            }
        )
        return
    origin = "guessed from values" if description.inferred else "as the source or the definition declares them"
    print_rows(fields, Format.table, ("field", "type", "role"), title=f"Types, {origin}")
    if listed and len(description.schema) > _WIDE:
        # a row of forty fields is no line that a person can read
        for at, row in enumerate(listed, start=1):
            told = [{"field": name, "value": value} for name, value in row.items()]
            print_rows(told, Format.table, ("field", "value"), title=f"Row {at}")
    elif listed:
        print_rows(listed, Format.table, list(description.schema.names), title="Rows")
    if rescued:
        print_rows(rescued, Format.table, title="Values that do not fit their field")
    if refused:
        print_rows(refused, Format.table, title="Not readable")
    more = "all there are" if found.complete else f"the first {len(listed)}; --rows shows more"
    print_line(
        f"{len(listed)} rows, {more}. Ways to read it: {', '.join(sorted(description.modes))}. Nothing was loaded."
    )
    for note in description.notes:
        print_line(note, "yellow")


_WIDE = 12


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    raw = row.pop("raw") or b""
    return {**row, "raw": raw[:200].decode("utf-8", "backslashreplace")}


def profile(
    system: str, entity: str, *, limit: int | None, page: Path | None, values: bool, record: bool, format_: Format
) -> None:
    """Profile an entity: to the terminal or JSON, as a page, and into Dagster's metadata of its bronze table."""
    from datong_ingestion.discovery import profile_page
    from datong_ingestion.discovery.profile import profile as take
    from datong_ingestion.systems_config import load_system

    config = load_system(system)
    with console(error=True).status(f"reading {system}.{entity}") as progress:
        found = take(
            config,
            entity,
            limit=limit,
            on_page=lambda rows: progress.update(f"reading {system}.{entity}: {rows:,} rows"),
        )
    path = page or settings.home() / "profiles" / f"{system}__{entity}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(profile_page.html(found, values=values), encoding="utf-8")
    recorded = ""
    if record:
        recorded = _record(found, str(path))
    if format_ is Format.json:
        print_json(found.as_dict(values=values) | {"page": str(path), "recorded": recorded or None})
        return
    rows = [
        {
            "field": item.name,
            "type": item.type,
            "null": profile_page.rate(item),
            "distinct": profile_page.distinct(item),
            "range": profile_page.span(item) if values else "",
            "looks_like": item.looks_like,
            "frequent": ", ".join(f"{profile_page.said(value)} ({count:,})" for value, count in item.frequent[:3])
            if values
            else "",
        }
        for item in found.fields
    ]
    print_rows(rows, Format.table, title=f"{system}.{entity} ({found.address}): {found.rows:,} rows")
    keys = [
        {
            "key": ", ".join(key.fields),
            "from": "declared" if key.declared else "found",
            "verdict": profile_page.key_words(key),
            "rows_compared": key.compared,
        }
        for key in found.keys
    ]
    print_rows(keys, Format.table, ("key", "from", "verdict", "rows_compared"), title="Keys")
    for note in found.notes:
        print_line(note, "yellow")
    whole = "the whole entity" if found.complete else "only its first rows"
    print_line(f"Read {whole} in {found.seconds:.1f} s; nothing was loaded.")
    print_line(f"Page: {path}")
    if recorded:
        print_line(f"Recorded in Dagster with {recorded}.")


def _record(found: Any, path: str) -> str:
    """Record it in Dagster where there is one; a profile is worth having without it, too."""
    from datong_assets import profiles

    try:
        return profiles.record(found, path)
    except ServiceError as error:
        console(error=True).print(f"Not recorded in Dagster: {error.reason} {error.next_step}")
        return ""


def secrets_list(system: str | None, format_: Format) -> None:
    """List the values that definitions name and where each is found; exit status 1 when one is found nowhere."""
    from datong_ingestion.systems_config import load_system, load_systems

    systems = [load_system(system)] if system else list(load_systems().values())
    rows: list[dict[str, Any]] = []
    for config in systems:
        connection = config.connection.model_dump_json(by_alias=True)
        for name in dict.fromkeys(settings.references(connection)):
            found = settings.find_value(name, f"system {config.system}")
            rows.append(
                {
                    "name": name,
                    "system": config.system,
                    "state": "ok" if found else "missing",
                    "from": found.origin if found else "",
                    "place": found.place if found else "",
                }
            )
    print_rows(rows, format_, ("name", "system", "state", "from", "place"))
    if any(row["state"] == "missing" for row in rows):
        raise typer.Exit(1)


def secrets_set(name: str, *, in_keyring: bool) -> None:
    """Keep one secret."""
    if settings.references(f"${{{name}}}") != [name]:
        raise typer.BadParameter(f"{name!r} is not a NAME: capital letters, digits, underscores", param_hint="NAME")
    if sys.stdin.isatty():
        value = str(typer.prompt(name, hide_input=True, confirmation_prompt=True, err=True))
    else:
        value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not value:
        raise typer.BadParameter("it is empty", param_hint="the value")
    print_line(f"{name} is kept in {settings.keep_value(name, value, in_keyring=in_keyring)}")


_WHATS = ("all", "systems", "interfaces", "fields", "flows", "diagram")


def inventory(what: str, systems: list[str], page: Path | None, *, live: bool, format_: Format) -> None:
    """Print the inventory or a part of it, and write it as a page where one is asked for."""
    if what not in _WHATS:
        raise typer.BadParameter(f"{what!r} is none of {', '.join(_WHATS)}", param_hint="WHAT")
    from datong_assets import inventory_page
    from datong_assets.inventory import inventory as take

    found = take(live=live)
    for name in systems:
        if name not in found.titles():
            from datong_ingestion.systems_config import load_system

            load_system(name)
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        made = inventory_page.markdown if page.suffix.lower() == ".md" else inventory_page.page_of
        page.write_text(made(found), encoding="utf-8")
    parts: dict[str, list[dict[str, Any]]] = {
        name: [row for row in rows if not systems or _of(row, systems)]
        for name, rows in found.as_dict().items()
        if name in _WHATS
    }
    if what == "diagram":
        typer.echo(inventory_page.mermaid(found), nl=False)
    elif format_ is Format.json:
        print_json(parts[what] if what != "all" else {**parts, "layers": found.layers, "notes": found.notes})
    else:
        shown = [what] if what != "all" else ["systems", "interfaces", "flows"]
        for name in shown:
            print_rows([_told(name, row) for row in parts[name]], Format.table, title=name.capitalize())
    for note in found.notes:
        console(error=True).print(note, style="yellow", markup=False)
    if page is not None:
        console(error=True).print(f"Page: {page}", markup=False)


def _of(row: dict[str, Any], systems: list[str]) -> bool:
    return row.get("system", row.get("target")) in systems or any(name in systems for name in row.get("origins", ()))


def _told(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row of the inventory with what fits a terminal."""
    if name == "interfaces":
        columns = ("system", "name", "direction", "address", "how", "keys", "cursor", "table", "fields")
        return {column: ", ".join(row[column]) if column == "keys" else row[column] for column in columns}
    if name == "flows":
        origins = "; ".join(
            f"{system}: {len(names)} {'entity' if len(names) == 1 else 'entities'}"
            for system, names in row["origins"].items()
        )
        return {
            "flow": row["flow"],
            "made_of": origins,
            "through": row["through"],
            "to": row["target"],
            "writes": row["write"],
        }
    if name == "systems":
        return {
            **{key: row[key] for key in ("system", "protocol", "address", "owner", "read", "written")},
            "title": row["title_zh"] or row["title"],
        }
    return row
