"""Quarantine on the command line: what nobody could read and what breaks a rule; looking at it, and clearing it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer
from datong_platform.errors import ConfigurationError, DatongError

from datong_infra.cli.output import Format, print_json, print_line, print_rows

if TYPE_CHECKING:
    from datong_platform.lake.quarantine import Refusals
    from datong_platform.standard.decisions import Decision
    from datong_platform.standard.withheld import Record

_SHOWN = 200
"""Characters of a refused row that the table shows; JSON has all."""


def listing(system: str | None, entity: str | None, format_: Format) -> None:
    """Everything in quarantine: by source entity what could not be read, by rule what is not as the standard asks."""
    from datong_platform.standard import withheld

    rows: list[dict[str, Any]] = [
        {
            "kind": "unreadable",
            "system": name,
            "entity": of,
            "field": "",
            "rule": "",
            "rows": found.rows,
            "withheld": found.rows,
            "since": "",
            "batches": found.batches,
            "last_at": _moment(found.last_at),
            "most_frequent_reason": next(iter(found.reasons), ""),
            "reasons": found.reasons,
        }
        for name, of, found in _held(system)
        if entity in {None, of}
    ]
    rows += [
        {
            "kind": "withheld" if group.withheld else "reported",
            "system": group.system,
            "entity": group.entity,
            "field": group.field,
            "rule": group.rule,
            "rows": group.rows,
            "withheld": group.withheld,
            "since": _moment(group.since),
            "most_frequent_reason": group.example,
        }
        for group in withheld.groups(entity, system)
    ]
    print_rows(
        rows,
        format_,
        ("kind", "system", "entity", "field", "rule", "rows", "withheld", "since", "most_frequent_reason"),
    )
    if format_ is Format.table and rows:
        print_line("Look at them: datong quarantine show SYSTEM ENTITY; one record in full: with --key KEY.")


def show(
    system: str,
    entity: str,
    *,
    key: str | None,
    rule: str | None,
    batch: str | None,
    limit: int,
    format_: Format,
) -> None:
    """Refused rows of a source entity, records of a standard's entity, or one record in full."""
    from datong_platform.lake import quarantine
    from datong_platform.standard import withheld

    if key is not None:
        _show_record(withheld.record(entity, system, key), format_)
        return
    refused = None if rule else quarantine.rows(system, entity, batch=batch, limit=limit)
    records, total = ([], 0) if batch else withheld.page(entity, system=system, rule=rule, limit=limit)
    if refused is None and not records:
        raise ConfigurationError(
            f"quarantine of {system}.{entity}",
            "is empty: nothing that it sent was ever refused, and none of its records breaks a rule.",
            "see where there is something: `datong quarantine list`.",
        )
    rows = [_refused_row(row, format_) for row in (refused.to_pylist() if refused is not None else [])]
    kept = [_record_row(found) for found in records]
    if format_ is Format.json:
        print_json([*rows, *kept])
        return
    if rows:
        print_rows(rows, format_)
    if kept:
        print_rows(kept, format_, ("key", "withheld", "field", "rule", "reason", "batch", "at", "since", "decision"))
        print_line(f"{len(kept)} of {total}. One in full: datong quarantine show {system} {entity} --key KEY")


def override(
    system: str,
    entity: str,
    key: str,
    *,
    rule: str | None,
    who: str | None,
    why: str,
    until: str | None,
    instead: bool,
    format_: Format,
) -> None:
    """Let a record pass its rules."""
    from datong_platform.standard import withheld

    made = withheld.override(
        entity, system, key, who=signed(who), why=why, until=_until(until), rule=rule, instead=instead
    )
    _print_decisions(made, format_, "From the next build on it passes: datong quarantine replay")


def fix(
    system: str,
    entity: str,
    key: str,
    values: Sequence[str],
    *,
    who: str | None,
    why: str,
    until: str | None,
    instead: bool,
    format_: Format,
) -> None:
    """Put values in place of those that came."""
    from datong_platform.standard import withheld

    given: dict[str, str] = {}
    for text in values:
        name, separator, value = text.partition("=")
        if not separator:
            raise ConfigurationError(f"value {text!r}", "names no field.", "write FIELD=VALUE.")
        given[name] = value
    made = withheld.fix(entity, system, key, given, who=signed(who), why=why, until=_until(until), instead=instead)
    _print_decisions(made, format_, "It is checked at the next build: datong quarantine replay")


def withdraw(decision_id: str, who: str | None, why: str, format_: Format) -> None:
    """Take a decision back."""
    from datong_platform.standard import decisions

    made = decisions.withdraw(decision_id, signed(who), why)
    _print_decisions([made], format_, "It holds until the next build: datong quarantine replay")


def decided(entity: str | None, kind: str | None, *, everything: bool, format_: Format) -> None:
    """What is in force, what has expired, or the whole log."""
    from datong_platform.standard import decisions

    force = {decision.decision_id for decision in decisions.active(kind, entity)}
    over = {decision.decision_id for decision in decisions.expired()}
    rows = [
        {
            "state": "in force"
            if decision.decision_id in force
            else "expired"
            if decision.decision_id in over
            else "a withdrawal"
            if decision.kind == "withdraw"
            else "taken back",
            **_decision_row(decision),
        }
        for decision in decisions.log(kind, entity)
        if everything or decision.decision_id in force or decision.decision_id in over
    ]
    print_rows(rows, format_)


def replay(format_: Format) -> None:
    """Read again what sources refused, build what decisions, crosswalks, rules and late parents change, and say what
    both came to."""
    from datong_assets import runs
    from datong_platform.standard import withheld

    from datong_infra.cli.work import print_errors, reporter

    read, troubles = read_again(format_)
    before = {(group.entity, group.system, group.field, group.rule): group.rows for group in withheld.groups()}
    result = runs.build(on_progress=reporter())
    after = {(group.entity, group.system, group.field, group.rule): group.rows for group in withheld.groups()}
    rows = [
        dict(zip(("entity", "system", "field", "rule"), about, strict=True))
        | {"before": before.get(about, 0), "now": after.get(about, 0)}
        for about in sorted(before.keys() | after.keys())
        if before.get(about, 0) != after.get(about, 0)
    ]
    rows = [*read, *rows]
    print_rows(rows, format_)
    if format_ is Format.table and not rows:
        print_line("Quarantine is as it was.")
    if troubles or not result.ok:
        print_errors([*troubles, *result.errors])
        raise typer.Exit(1)


def read_again(format_: Format) -> tuple[list[dict[str, Any]], list[DatongError]]:
    """What sources refused, read again by their definitions as they are now: what changed, and what went wrong."""
    import uuid

    from datong_assets.components.source_system import batches_of, counted
    from datong_ingestion.reread import reread
    from datong_ingestion.systems_config import load_systems
    from datong_platform.standard import conservation

    systems = load_systems()
    changed: list[dict[str, Any]] = []
    troubles: list[DatongError] = []
    for name, entity, _ in list(_held(None)):
        if name not in systems or entity not in {each.name for each in systems[name].entities}:
            continue
        try:
            done = reread(systems[name], entity)
        except ConfigurationError as error:
            if format_ is Format.table:
                print_line(f"{error.thing} {error.reason} Next: {error.next_step}")
            continue
        except DatongError as error:
            troubles.append(error)
            continue
        if done.result is not None:
            batches = batches_of(name, entity, done.result)
            conservation.record(uuid.uuid4().hex, counted(name, entity, done.result, batches))
            about = {"entity": entity, "system": name, "field": "", "rule": "unreadable"}
            changed.append(about | {"before": done.held, "now": done.still_held})
    return changed, troubles


def _show_record(found: Record, format_: Format) -> None:
    from dataclasses import asdict

    if format_ is Format.json:
        print_json(asdict(found))
        return
    state = "withheld from silver" if found.is_withheld else "in silver"
    version = f", contract {found.contract_version}" if found.contract_version else ""
    print_line(
        f"{found.entity} {found.system}/{found.key}: {state}; batch {found.batch} of {_moment(found.at)}{version}"
    )
    failures = [
        {"field": one.field, "rule": one.rule, "reason": one.reason, "as_sent": one.raw, "since": _moment(one.since)}
        for one in found.failures
    ]
    print_rows(failures, format_, title="What it breaks")
    print_rows(_fields(found.source_row), format_, title="As sent")
    print_rows(_fields(found.checked_row), format_, title="As checked")
    if found.decisions:
        print_rows([_decision_row(one) for one in found.decisions], format_, title="Decided")
    if found.history:
        columns = ("at", "state", "field", "rule", "run_id")
        print_rows([{**one, "at": _moment(one["at"])} for one in found.history], format_, columns, title="History")


def _fields(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"field": name, "value": str(value)} for name, value in row.items()]


def _record_row(found: Record) -> dict[str, Any]:
    since = [one.since for one in found.failures if one.since]
    return {
        "kind": "withheld" if found.is_withheld else "reported",
        "system": found.system,
        "entity": found.entity,
        "key": found.key,
        "withheld": found.is_withheld,
        "field": ", ".join(one.field for one in found.failures),
        "rule": ", ".join(one.rule for one in found.failures),
        "reason": "; ".join(one.reason for one in found.failures),
        "batch": found.batch,
        "at": _moment(found.at),
        "since": _moment(min(since)) if since else "",
        "contract_version": found.contract_version,
        "decision": ", ".join(f"{one.kind} {one.decision_id}" for one in found.decisions),
        "source_row": found.source_row,
    }


def _decision_row(decision: Decision) -> dict[str, Any]:
    return {
        "id": decision.decision_id,
        "kind": decision.kind,
        "entity": decision.entity,
        "system": decision.source_system,
        "key": decision.source_key,
        "field": decision.field,
        "rule": decision.rule,
        "value": decision.value,
        "who": decision.who,
        "why": decision.why,
        "at": _moment(decision.decided_at),
        "until": _moment(decision.valid_until),
    }


def _print_decisions(made: Sequence[Decision], format_: Format, next_: str) -> None:
    print_rows([_decision_row(one) for one in made], format_)
    if format_ is Format.table:
        print_line(next_)


def _refused_row(row: Mapping[str, Any], format_: Format) -> dict[str, Any]:
    from datong_platform.names import BATCH_ID, INGESTED_AT

    return {
        "batch": row[BATCH_ID],
        "at": _moment(row[INGESTED_AT]),
        "place": row["place"],
        "field": row["field"],
        "reason": row["reason"],
        **_raw(row["raw"], format_),
    }


def signed(who: str | None) -> str:
    """Who decides: the given name, else the user of this machine."""
    import os
    import pwd

    return who or pwd.getpwuid(os.getuid()).pw_name


def _until(text: str | None) -> datetime | None:
    from datong_platform.standard import decisions

    return decisions.until(text, decisions.plant_time_zone()) if text else None


def _moment(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def _held(system: str | None) -> Iterator[tuple[str, str, Refusals]]:
    from datong_platform.lake import catalog, quarantine

    for table in catalog.stored_tables(["quarantine"]):
        name, separator, entity = table.name.partition("__")
        if separator and system in {None, name} and (found := quarantine.summary(name, entity)):
            yield name, entity, found


def _raw(raw: bytes | None, format_: Format) -> dict[str, Any]:
    if raw is None:
        return {"raw": None}
    if format_ is Format.json:
        try:
            return {"raw": raw.decode()}
        except UnicodeDecodeError:
            return {"raw_base64": base64.b64encode(raw).decode()}
    text = raw[: 4 * _SHOWN].decode("utf-8", "backslashreplace")
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return {"raw": text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(raw):,} bytes)"}
