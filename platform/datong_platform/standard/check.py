"""One record by the standard: the very SQL that checks an import, run for what somebody enters by hand.

From a record in the contract's field names (texts as people write them, codes as its system writes them) to the values
that silver would hold and the rules that it breaks.
"""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from datong_platform.errors import ConfigurationError
from datong_platform.standard import conform
from datong_platform.standard.contract import Contract, contract
from datong_platform.standard.rules import RULES
from datong_platform.standard.sql_text import literal

BY_HAND = "manual"
"""The system of a record that nobody sent: its codes are the standard's own."""


@dataclass(frozen=True)
class Failure:
    """A rule that a record breaks."""

    field: str
    rule: str
    dimension: str
    """By GB/T 36344."""
    reason: str
    reason_zh: str
    raw: str | None
    is_withheld: bool
    """False when the record is taken all the same, with a note or without the field."""


@dataclass(frozen=True)
class CheckedRecord:
    """What the standard says of a record."""

    entity: str
    values: Mapping[str, Any]
    """The fields as silver would hold them."""
    failures: tuple[Failure, ...]

    @property
    def is_taken(self) -> bool:
        """Whether it would be in silver, not in quarantine."""
        return not any(failure.is_withheld for failure in self.failures)


def check_record(entity: str, record: Mapping[str, Any], *, system: str = BY_HAND) -> CheckedRecord:
    """What the standard says of one record; see `check_records`."""
    return check_records(entity, [record], system=system)[0]


def check_records(entity: str, records: Sequence[Mapping[str, Any]], *, system: str = BY_HAND) -> list[CheckedRecord]:
    """What the standard says of records of `system`, in their order; nothing is written.

    Codes are read by the system's crosswalk, or as the standard's own for records entered by hand. What they refer to
    is looked for in silver. ConfigurationError for an entity without a contract, for a field that it does not have,
    and when silver lacks a table that it refers to. ServiceError when the engine does not answer.
    """
    from datong_platform.engine import query

    of = contract(entity)
    if of.layer != "silver":
        raise ConfigurationError(
            f"entity {entity}", "is a serve table: nobody enters records there.", "name an entity of silver."
        )
    if not records:
        return []
    for record in records:
        _demand_known_fields(of, record)
    columns = [each.name for each in of.fields]
    listed = ", ".join(columns)
    statement = f"select {listed}, to_json(_failures) as _failures, _place from ({statement_for(of, records, system)})"
    rows = sorted(query(statement).to_pylist(), key=lambda row: int(row["_place"]))
    dimensions = {rule.name: RULES[rule.kind].dimension for rule in of.rules}
    return [
        CheckedRecord(
            entity,
            {name: row[name] for name in columns if name not in conform.KEYS or name in given},
            tuple(
                Failure(
                    found["field"],
                    found["rule"],
                    dimensions.get(found["rule"], ""),
                    found["reason"],
                    found["reason_zh"],
                    found.get("raw"),
                    found["is_withheld"],
                )
                for found in json.loads(row["_failures"] or "[]")
            ),
        )
        for row, given in zip(rows, records, strict=True)
    ]


def statement_for(
    of: Contract,
    records: Sequence[Mapping[str, Any]],
    system: str,
    parents: Mapping[str, str | None] | None = None,
) -> str:
    """The SQL that checks `records`: the contract's own, upon their values. `parents` tells where the records are that
    they refer to, by entity; in silver when it is not given.
    """
    mapping = code_mapping(system)
    names = [each.name for each in of.fields if each.name not in conform.KEYS and not each.derived_from]
    coded = {each.name: each.code_set for each in of.fields if each.code_set}
    rows: list[list[str | None]] = []
    for place, record in enumerate(records):
        cells: list[str | None] = [str(place), system, _text(record.get("source_key")) or f"{BY_HAND}/{place + 1}"]
        for name in names:
            sent = _text(record.get(name))
            code_set = coded.get(name)
            cells += [mapping.get((code_set, sent or "")), sent] if code_set else [sent]
        rows.append(cells)
    columns = [column for name in names for column in ((name, f"source_{name}") if name in coded else (name,))]
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    version = "cast(null as string) as _datong_version, " if of.is_merged else ""
    entered = _relation(["_place", "source_system", "source_key", *columns], rows)
    relation = (
        f"(select *, {version}cast(null as string) as _datong_batch_id, timestamp'{now}' as _datong_ingested_at, "
        f"cast(null as string) as source_row from {entered})"
    )
    return conform.sql(of, relation, parents=_parents(of) if parents is None else parents, carry=["_place"])


def code_mapping(system: str) -> dict[tuple[str, str], str]:
    """What the codes of `system` mean now, by code set and code: its crosswalk, and what stewards decided since."""
    from datong_platform.standard import codes, decisions

    if system == BY_HAND:
        return {(name, code): code for name, known in codes.code_sets().items() for code in known}
    lines = codes.crosswalks()
    if system not in lines:
        raise ConfigurationError(
            f"system {system}", "has no crosswalk.", f"name one of {', '.join(sorted(lines))}, or leave it out."
        )
    found = dict(lines[system])
    for decision in decisions.active("code_mapping"):
        if decision.source_system == system and decision.source_key and decision.value:
            found[decision.entity, decision.source_key] = decision.value
    return found


def _parents(of: Contract) -> dict[str, str | None]:
    from datong_platform.lake.catalog import stored_tables

    wanted = {str(rule.params["entity"]) for rule in of.rules if rule.kind == "refers_to"}
    if not wanted:
        return {}
    built = {table.name for table in stored_tables(["silver"])}
    if missing := sorted(wanted - built):
        raise ConfigurationError(
            f"silver.{missing[0]}", f"is not there, and {of.entity} refers to it.", "run `datong build` once."
        )
    return {name: f"silver.{name}" for name in wanted}


def _demand_known_fields(of: Contract, record: Mapping[str, Any]) -> None:
    known = [each.name for each in of.fields if not each.derived_from]
    for name in record:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigurationError(
                f"field {name} of {of.entity}",
                "is not in its contract.",
                f"did you mean {near[0]}?" if near else f"its fields are {', '.join(known)}.",
            )


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    return str(value)


def _relation(columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> str:
    """The rows as SQL, all of them text. Each is one literal: engines take five times as long to read one a cell."""
    used = {mark for row in rows for cell in row for mark in cell or ""}
    # of private use, so that no regular expression means something by them
    between, nothing = itertools.islice((mark for mark in map(chr, range(0xE000, 0xF900)) if mark not in used), 2)
    lines = ", ".join(literal(between.join(nothing if cell is None else cell for cell in row)) for row in rows)
    cells = ", ".join(f"nullif(cells[{place}], '{nothing}') as {column}" for place, column in enumerate(columns))
    listed = f"select explode(array({lines})) as line"
    return f"(select {cells} from (select split(line, '{between}') as cells from ({listed})))"
