"""Records that break a rule of the standard, for the people who clear them: counted, listed, one in full, decided on.

From the tables `quarantine.<entity>` (what is broken as of the last build), `ops.quarantine_case` (since when) and
`ops.steward_decision` (what was decided) to plain records. A decision takes effect at the next build.

    groups()                                             # what is broken, by entity and rule
    page("customer", rule="credit_code", limit=50)       # records, newest first
    record("customer", "erp", "100017")                  # one: as sent, as checked, its failures and decisions
    fix("customer", "erp", "100017", {"phone": "+86…"}, who="li", why="asked them")
    override("sales_order_item", "erp", "500025/40", who="li", why="paper order", until=moment)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datong_platform.errors import ConfigurationError
from datong_platform.lake import history
from datong_platform.names import BATCH_ID, INGESTED_AT, TableName, word
from datong_platform.standard import cases, decisions
from datong_platform.standard.contract import contract
from datong_platform.standard.decisions import Decision, NewDecision

if TYPE_CHECKING:
    from deltalake import DeltaTable

_IDENTITY = ("source_system", "source_key")
NOT_TO_BE_PASSED = ("required", "unique")
"""Kinds of rules that no override lets a key field pass: without its key a record is none."""


@dataclass(frozen=True)
class Group:
    """Records of an entity and a system that break one rule."""

    entity: str
    system: str
    field: str
    rule: str
    rows: int
    withheld: int
    """Those of them that are kept out of silver; the rest is in it, the field emptied or the rule overridden."""
    since: datetime | None
    """When the oldest of them was first noticed, UTC."""
    example: str
    """What is wrong with one of them."""
    example_zh: str


@dataclass(frozen=True)
class Failure:
    """A rule that a record breaks."""

    field: str
    rule: str
    reason: str
    reason_zh: str
    raw: str | None
    """The value as sent, where the rule speaks of one."""
    is_withheld: bool
    """Whether the rule keeps the record out of silver, unless it is overridden."""
    since: datetime | None = None
    """When a build first noticed it, UTC."""


@dataclass(frozen=True)
class Record:
    """A record that breaks a rule."""

    entity: str
    system: str
    key: str
    is_withheld: bool
    failures: tuple[Failure, ...]
    batch: str
    at: datetime | None
    """When the batch that brought the row was read from the source, UTC."""
    contract_version: str | None
    source_row: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """As the source sent it."""
    checked_row: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the standard made of it, by the contract's fields."""
    decisions: tuple[Decision, ...] = ()
    """What is in force about it now, taken into account by the last build or not."""
    history: tuple[Mapping[str, Any], ...] = ()
    """When its cases were opened and released."""


def groups(entity: str | None = None, system: str | None = None) -> list[Group]:
    """What is broken, by entity, system, field and rule; most rows first. ServiceError without the lake."""
    tables = [table for table in cases.quarantines() if entity in {None, table.name}]
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = [group for groups_ in pool.map(_groups, tables) for group in groups_]
    chosen = [group for group in found if system in {None, group.system}]
    return sorted(chosen, key=lambda group: (-group.rows, group.entity, group.system, group.rule, group.field))


def page(
    entity: str,
    *,
    system: str | None = None,
    rule: str | None = None,
    field_: str | None = None,
    text: str | None = None,
    withheld_only: bool = False,
    offset: int = 0,
    limit: int = 50,
) -> tuple[list[Record], int]:
    """Records of an entity that break a rule, newest first, and how many there are in all.

    `text` is looked for in the key, the reason and the row as sent.
    """
    delta = _open(entity)
    if delta is None:
        return [], 0
    conditions = ["true"]
    if system:
        conditions.append(f"source_system = {_text(system)}")
    if withheld_only:
        conditions.append("is_withheld")
    if rule or field_:
        # a record can break several rules; each is told in JSON, its field before its rule
        conditions.append(f"failures like {_text('%' + _failure_pattern(field_, rule) + '%')}")
    if text:
        pattern = _text(f"%{text}%")
        conditions.append(f"(source_key ilike {pattern} or reason ilike {pattern} or source_row ilike {pattern})")
    where = " and ".join(conditions)
    total = _query(delta, f"select count(*) as n from held where {where}")[0]["n"]
    rows = _query(
        delta,
        f"select * from held where {where} order by {INGESTED_AT} desc, source_system, source_key "
        f"limit {int(limit)} offset {int(offset)}",
    )
    return _records(entity, rows), total


def find(entity: str, system: str, key: str) -> Record | None:
    """One record that breaks a rule, in full; None when it breaks none."""
    delta = _open(entity)
    if delta is None:
        return None
    rows = _query(
        delta, f"select * from held where source_system = {_text(system)} and source_key = {_text(key)} limit 1"
    )
    if not rows:
        return None
    found = _records(entity, rows)[0]
    return replace(found, history=tuple(cases.of_record(entity, system, key)))


def record(entity: str, system: str, key: str) -> Record:
    """One record that breaks a rule, in full. ConfigurationError when it breaks none."""
    found = find(entity, system, key)
    if found is None:
        raise ConfigurationError(
            f"{entity} {system}/{key}",
            "breaks no rule as of the last build.",
            f"see which do: `datong quarantine show {system} {entity}`.",
        )
    return found


def override(
    entity: str,
    system: str,
    key: str,
    *,
    who: str,
    why: str,
    until: datetime | None = None,
    rule: str | None = None,
    instead: bool = False,
) -> list[Decision]:
    """Let a record pass a rule, or every one that withholds it; from the next build on, until it expires.

    `instead` takes back what was decided otherwise before. ConfigurationError when it breaks no such rule, or when the
    rule holds a key together. DecidedOtherwiseError when another override is in force.
    """
    found = record(entity, system, key)
    chosen = [failure for failure in found.failures if failure.is_withheld and rule in {None, failure.rule}]
    if not chosen:
        broken = ", ".join(failure.rule for failure in found.failures if failure.is_withheld)
        raise ConfigurationError(
            f"{entity} {system}/{key}",
            f"is not withheld by {f'rule {rule}' if rule else 'any rule'}"
            + (f"; it is by {broken}." if broken else ": it is in silver."),
            f"see `datong quarantine show {system} {entity} --key {key}`.",
        )
    for failure in chosen:
        _refuse_keyless(entity, failure)
    new = [
        NewDecision(
            "override",
            entity,
            who,
            why,
            source_system=system,
            source_key=key,
            field=failure.field,
            rule=failure.rule,
            detail={"reason": failure.reason, "raw": failure.raw},
            valid_until=until,
        )
        for failure in chosen
    ]
    return decisions.record_all(_replacing(new, found.decisions) if instead else new)


def fix(
    entity: str,
    system: str,
    key: str,
    values: Mapping[str, str],
    *,
    who: str,
    why: str,
    until: datetime | None = None,
    instead: bool = False,
) -> list[Decision]:
    """Put values in place of those that came, by the contract's field names; they are checked as if they had been sent.

    A record need not break a rule to be fixed. ConfigurationError for one that is not there, for a field that the
    contract does not have, or that is part of the record's identity. DecidedOtherwiseError when another value was put
    there and `instead` is not given.
    """
    for name, value in values.items():
        _refuse_unfit(entity, name, value)
    found = find(entity, system, key)
    if found is None and not _is_in_silver(entity, system, key):
        raise ConfigurationError(
            f"{entity} {system}/{key}",
            "is neither in quarantine nor in silver, so there is nothing to fix.",
            f"take a key of `datong quarantine show {system} {entity}`, or of `source_key` in silver.{entity}.",
        )
    new = [
        NewDecision(
            "fix",
            entity,
            who,
            why,
            source_system=system,
            source_key=key,
            field=name,
            value=value,
            detail={"was": found.checked_row.get(name) if found else None},
            valid_until=until,
        )
        for name, value in values.items()
    ]
    if instead:
        new = _replacing(new, [one for one in decisions.active("fix", entity) if one.source_key == key])
    return decisions.record_all(new)


def _is_in_silver(entity: str, system: str, key: str) -> bool:
    delta = history.open_table(TableName("silver", word(entity, "entity")))
    if delta is None:
        return False
    mine = f"source_system = {_text(system)} and source_key = {_text(key)}"
    return bool(_query(delta, f"select source_key from held where {mine} limit 1"))


def _refuse_unfit(entity: str, name: str, value: str) -> None:
    """A value that its field cannot hold would be none, and the row would go on as it came."""
    known = contract(entity)
    fixable = {each.name: each for each in known.fields if each.name not in _IDENTITY and not each.derived_from}
    each = fixable.get(name)
    if each is None:
        derived = {one.name: one.derived_from for one in known.fields}
        reason = (
            f"is made from {derived[name]}: fix that."
            if derived.get(name)
            else "is the record's identity."
            if name in _IDENTITY
            else "is not in the contract."
        )
        raise ConfigurationError(
            f"field {entity}.{name}", f"cannot be fixed: it {reason}", f"take one of {', '.join(sorted(fixable))}."
        )
    try:
        if each.logical_type == "integer":
            int(value)
        elif each.logical_type == "number":
            if not Decimal(value).is_finite():
                raise ValueError(value)
        elif each.logical_type == "date":
            date.fromisoformat(value)
        elif each.logical_type == "timestamp":
            datetime.fromisoformat(value)
        elif each.logical_type == "boolean" and value not in {"true", "false"}:
            raise ValueError(value)
    except (ValueError, ArithmeticError) as error:
        raise ConfigurationError(
            f"value {value!r} of {entity}.{name}",
            f"is no {each.physical_type}.",
            "write numbers with a point, days as 2026-01-31, truth as true or false.",
        ) from error


def _refuse_keyless(entity: str, failure: Failure) -> None:
    """A record whose key is missing would be nobody's in gold."""
    checked = contract(entity)
    named = next((one for one in checked.rules if one.name == failure.rule and one.field == failure.field), None)
    kind = named.kind if named else failure.rule
    identifies = {*checked.key, *(name for reference in checked.references for name in reference.fields)}
    if kind in NOT_TO_BE_PASSED and failure.field in identifies:
        raise ConfigurationError(
            f"rule {failure.rule} of {entity}.{failure.field}",
            "cannot be overridden: other records are found by this field.",
            f"put the right value there: `datong quarantine fix … {failure.field}=VALUE`.",
        )


def _replacing(new: Sequence[NewDecision], held: Sequence[Decision]) -> list[NewDecision]:
    def about(decision: NewDecision) -> tuple[Any, ...]:
        return (decision.kind, decision.source_system, decision.source_key, decision.field, decision.rule)

    before = {about(decision): decision.decision_id for decision in held}
    return [replace(decision, withdraws=before.get(about(decision))) for decision in new]


def _groups(table: TableName) -> list[Group]:
    delta = history.open_table(table)
    if delta is None or not _has_failures(delta):
        return []
    rows = _query(
        delta,
        "select source_system, field, rule, is_withheld, count(*) as n, min(failures) as example from held "
        "group by source_system, field, rule, is_withheld",
    )
    since = cases.oldest(table.name)
    counts: dict[tuple[str, str, str], list[Any]] = {}
    for row in rows:
        # several broken rules stand in one text, as the table shows them
        for broken, rule in zip(row["field"].split(", "), row["rule"].split(", "), strict=True):
            example = _failure(row["example"], broken, rule)
            entry = counts.setdefault((row["source_system"], broken, rule), [0, 0, example])
            entry[0] += row["n"]
            entry[1] += row["n"] if row["is_withheld"] else 0
    return [
        Group(table.name, system, broken, rule, rows_, withheld, since.get((system, broken, rule)), *example)
        for (system, broken, rule), (rows_, withheld, example) in counts.items()
    ]


def _failure(told: str | None, broken: str, rule: str) -> tuple[str, str]:
    """What a record's failures say of one field and rule, in English and Chinese."""
    for said in json.loads(told or "[]"):
        if (said.get("field"), said.get("rule")) == (broken, rule):
            reason = str(said.get("reason") or "")
            return reason, str(said.get("reason_zh") or reason)
    return "", ""


def _records(entity: str, rows: Sequence[Mapping[str, Any]]) -> list[Record]:
    keys = [(row["source_system"], row["source_key"]) for row in rows]
    since = cases.first_seen(entity, keys)
    wanted = set(keys)
    decided: dict[tuple[str, str], list[Decision]] = {}
    for decision in decisions.active(entity=entity):
        if (about := (decision.source_system or "", decision.source_key or "")) in wanted:
            decided.setdefault(about, []).append(decision)
    return [_record(entity, row, since, decided.get((row["source_system"], row["source_key"]), [])) for row in rows]


def _record(
    entity: str,
    row: Mapping[str, Any],
    since: Mapping[tuple[str, str, str, str], datetime],
    decided: Sequence[Decision],
) -> Record:
    system, key = row["source_system"], row["source_key"]
    failures = tuple(
        Failure(
            field=str(said["field"]),
            rule=str(said["rule"]),
            reason=str(said.get("reason") or ""),
            reason_zh=str(said.get("reason_zh") or said.get("reason") or ""),
            raw=said.get("raw"),
            is_withheld=bool(said["is_withheld"]),
            since=since.get((system, key, str(said["field"]), str(said["rule"]))),
        )
        for said in json.loads(row["failures"] or "[]")
    )
    return Record(
        entity=entity,
        system=system,
        key=key,
        is_withheld=bool(row["is_withheld"]),
        failures=failures,
        batch=row[BATCH_ID] or "",
        at=row[INGESTED_AT],
        contract_version=row.get("contract_version"),
        source_row=json.loads(row["source_row"] or "{}"),
        checked_row=json.loads(row.get("checked_row") or "{}"),
        decisions=tuple(decided),
    )


def _open(entity: str) -> DeltaTable | None:
    delta = history.open_table(TableName("quarantine", word(entity, "entity")))
    return delta if delta is not None and _has_failures(delta) else None


def _has_failures(delta: DeltaTable) -> bool:
    """A table that was made before failures were kept one by one has none to show until it is built again."""
    return "failures" in {column.name for column in delta.schema().fields}


def _failure_pattern(field_: str | None, rule: str | None) -> str:
    named = f'"field":"{field_}",' if field_ else ""
    return f'{named}"rule":"{rule}"' if rule else f'"field":"{field_}"'


def _query(delta: DeltaTable, sql: str) -> list[dict[str, Any]]:
    from deltalake import QueryBuilder

    return pa.table(QueryBuilder().register("held", delta).execute(sql)).to_pylist()


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
