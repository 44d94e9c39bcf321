"""The standard on the command line: its contracts, what is made from them, and what is wrong with them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from datong_platform.errors import ConfigurationError, DatongError

from datong_infra.cli.output import Format, print_error, print_json, print_line, print_rows


def compile_(*, check: bool, format_: Format) -> None:
    """Write what the contracts say, or with `check` only tell which files differ (exit status 1)."""
    from datong_ingestion.write_back import schemas
    from datong_platform.standard import compile as compiler

    try:
        outbound = schemas.generated()
        changes = compiler.differences(also=outbound) if check else compiler.write(also=outbound)
        count = len(compiler.generated()) + len(outbound)
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
    """Say all that is wrong with contracts and glossary, with file, line, field and next step (exit status 1)."""
    from datong_platform.standard import contract, in_chinese, odcs, terms

    found = [*contract.problems(), *odcs.problems()]
    # columns are looked up in contracts, so these come first
    found += [] if found else terms.problems()
    rows = [_row(asdict(each), each.place) for each in sorted(found, key=lambda each: (each.file, each.line))]
    if format_ is Format.json:
        print_json(rows)
    elif rows:
        print_rows(rows, format_, ["place", "reason", "next_step"])
    else:
        known = contract.contracts()
        print_line(f"All {len(known)} contracts are right, and valid to ODCS {contract.API_VERSION}.")
        print_line(f"All {len(terms.terms())} terms of the glossary name columns that are there.")
        said = [(one.description, one.grain, *(each.description for each in one.columns)) for one in known.values()]
        owed = in_chinese.missing(sentence for sentences in said for sentence in sentences)
        if owed:
            # nothing is wrong without it: the dictionary's Chinese pages show the English sentence
            print_line(f"{len(owed)} descriptions have no Chinese in {in_chinese.TRANSLATIONS.name} yet:")
            for sentence in owed:
                print_line(f"  {sentence}")
        else:
            print_line("Every description has its Chinese.")
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


def check(entity: str, record: str, system: str, format_: Format) -> None:
    """Check records by the standard (exit status 1 when one would be refused)."""
    from datong_platform.standard.check import check_records

    checked = check_records(entity, _records(record), system=system)
    if format_ is Format.json:
        print_json(
            [
                {
                    "is_taken": each.is_taken,
                    "values": dict(each.values),
                    "failures": [asdict(failure) for failure in each.failures],
                }
                for each in checked
            ]
        )
    else:
        for place, each in enumerate(checked, start=1):
            told = "would be taken" if each.is_taken else "would be refused"
            print_line(f"Record {place} {told}." if len(checked) > 1 else f"The record {told}.")
            if each.failures:
                rows = [{**asdict(failure), "is_refused": failure.is_withheld} for failure in each.failures]
                print_rows(rows, format_, ["field", "rule", "reason", "reason_zh", "is_refused"])
            elif each.is_taken:
                print_rows([{"field": name, "value": value} for name, value in each.values.items()], format_)
    if not all(each.is_taken for each in checked):
        raise typer.Exit(1)


def _records(given: str) -> list[dict[str, Any]]:
    """The records that an option gives: as JSON, in a file, or on standard input."""
    text = sys.stdin.read() if given == "-" else given
    if given != "-" and not given.lstrip().startswith(("{", "[")):
        try:
            text = Path(given).read_text("utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"file {given}", f"cannot be read: {error.strerror}.", "give a file's path, or the JSON itself."
            ) from error
    try:
        found: Any = json.loads(text, parse_float=str)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            "the record", f"is not JSON: {error}.", 'write it as {"field": "value"}, or a list of these.'
        ) from error
    listed: list[Any] = found if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) for each in listed):
        raise ConfigurationError("the record", "is no JSON object.", 'write it as {"field": "value"}.')
    return listed


def codes(system: str | None, format_: Format) -> None:
    """List the codes that the standard does not know, with proposals."""
    from datong_platform.standard import codes as standard_codes

    found = standard_codes.unmapped(system)
    rows: list[dict[str, Any]] = []
    for each in found:
        best = each.proposals[0] if each.proposals else None
        rows.append(
            {
                **asdict(each),
                "entities": ", ".join(each.entities) if format_ is Format.table else list(each.entities),
                "code": each.source_code or "(none)",
                "proposal": f"{best.code} {best.title_zh}" if best else "",
                "score": best.score if best else None,
                "evidence": best.evidence if best else "",
            }
        )
    print_rows(
        rows,
        format_,
        ["source_system", "code_set", "code", "rows", "withheld_rows", "entities", "proposal", "score", "evidence"],
    )
    if format_ is Format.table and rows:
        print_line("Decide: datong standard map SYSTEM CODE_SET SOURCE_CODE CODE --who YOU --why REASON")


def map_code(
    system: str,
    code_set: str,
    source_code: str,
    code: str,
    *,
    who: str,
    why: str,
    until: str | None,
    replaces: str | None,
) -> None:
    """Write a steward's word on a code down."""
    from datong_platform.standard import codes as standard_codes
    from datong_platform.standard import decisions

    moment = decisions.until(until, decisions.plant_time_zone()) if until else None
    made = standard_codes.map_code(
        system, code_set, source_code, code, who=who, why=why, valid_until=moment, replaces=replaces
    )
    print_line(f"{system}'s {code_set} {source_code} means {code}: decision {made.decision_id}. Next: datong build")


def diff(revision: str, *, breaking: bool, format_: Format) -> None:
    """Tell what changed since a revision, and what it hits; exit status 1 when a version does not tell."""
    from datong_assets.impact import impacts
    from datong_platform.standard import diff as differ

    try:
        old = differ.at_revision(revision)
        changes = differ.compare(old)
        wrong = differ.versions_to_raise(old, changes)
        columns = {each.table: [field.name for field in each.fields] for each in old.values()}
        found = impacts([change for change in changes if change.is_breaking or not breaking], columns)
    except DatongError as error:
        print_error(error)
        raise typer.Exit(1) from None
    rows: list[dict[str, Any]] = [
        {
            "table": each.change.table,
            "field": each.change.field,
            "level": each.change.level,
            "change": each.change.what,
            "who_acts": each.change.why,
            "gold": list(each.gold),
            "serve": list(each.serve),
            "write_back": list(each.flows),
        }
        for each in found
    ]
    if format_ is Format.json:
        print_json({"since": revision, "changes": rows, "versions_to_raise": [asdict(each) for each in wrong]})
    elif not rows:
        print_line(f"Nothing {'breaking ' if breaking else ''}changed in the contracts since {revision}.")
    else:
        shown = [
            {
                "level": row["level"],
                "field": ".".join(filter(None, (row["table"], row["field"]))),
                "change": f"{row['change']}; look at: {row['who_acts']}" if row["who_acts"] else row["change"],
                "hits": ", ".join([*row["gold"], *row["serve"], *(f"write-back {each}" for each in row["write_back"])])
                or "nothing further",
            }
            for row in rows
        ]
        print_rows(shown, format_)
    for each in wrong:
        print_error(
            ConfigurationError(
                f"contract of {each.table}",
                f"has version {each.version}, was {each.was}, which does not tell what changed.",
                f"write `version: {each.needed}`.",
            )
        )
    if wrong:
        raise typer.Exit(1)
