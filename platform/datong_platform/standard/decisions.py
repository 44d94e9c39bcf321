"""What people decided: Delta table `ops.steward_decision`, a log that is only ever added to.

An override lets a record pass a rule, a fix replaces a value, a code mapping says what a system's code means, match and
split speak of golden records; a withdrawal takes any of them back. Each says who decided, why, and until when.

Two people at once: every commit carries the log's next number as a Delta transaction id, so of two that were made from
the same state the store lets one through. The other looks again, and is refused when what was decided in between speaks
of the same thing. Deciding the same thing twice is deciding it once.

dbt reads `ops.active_decision`: what is in force, without what was withdrawn or has expired. `refresh()` writes it
before a build, and only when it changed, because models may not ask for the time of the day.

From a `NewDecision` to a row of `ops.steward_decision`; from its rows to `ops.active_decision`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import pyarrow as pa

from datong_platform.errors import ConfigurationError, TerminalError
from datong_platform.lake import upkeep
from datong_platform.lake.patience import patiently
from datong_platform.names import TableName
from datong_platform.settings import DBT_PROJECT, settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

DECISIONS = TableName("ops", "steward_decision")
ACTIVE = TableName("ops", "active_decision")

Kind = Literal["override", "fix", "code_mapping", "match", "not_match", "merge", "split", "withdraw"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_FAMILIES: dict[str, str] = {"not_match": "match", "merge": "match", "split": "match"}
"""Kinds of which only one can be in force for the same two records."""

_APPLICATION = "datong:steward_decision"
_ATTEMPTS = 30
_T = TypeVar("_T")
_NEVER = datetime.min.replace(tzinfo=UTC)
_COLUMNS: dict[str, tuple[pa.DataType, bool, str]] = {
    "number": (pa.int64(), False, "Place of the decision in the log, from 1"),
    "decision_id": (pa.string(), False, "Id of the decision"),
    "kind": (pa.string(), False, f"What was decided: {', '.join(KINDS)}"),
    "entity": (pa.string(), False, "Entity of the standard, or the code set of a code mapping"),
    "source_system": (pa.string(), True, "System of the record"),
    "source_key": (pa.string(), True, "The record's key in that system; of a code mapping the system's code"),
    "other_system": (pa.string(), True, "System of the other record, where a decision speaks of two"),
    "other_key": (pa.string(), True, "The other record's key in its system"),
    "field": (pa.string(), True, "Field that it speaks of"),
    "rule": (pa.string(), True, "Rule that it speaks of"),
    "value": (pa.string(), True, "The value decided on, as text"),
    "detail": (pa.string(), True, "Evidence, and how things were, JSON"),
    "who": (pa.string(), False, "Who decided"),
    "why": (pa.string(), False, "Why"),
    "decided_at": (pa.timestamp("us", "UTC"), False, "When, UTC"),
    "valid_until": (pa.timestamp("us", "UTC"), True, "In force before this moment, UTC; null for always"),
    "withdraws": (pa.string(), True, "Id of the decision that this one takes back or replaces"),
}
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=nullable, metadata={"comment": comment})
        for name, (kind, nullable, comment) in _COLUMNS.items()
    ]
)


class DecidedOtherwiseError(TerminalError):
    """Somebody decided otherwise about the same thing; `decision` is theirs, and it is in force."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        super().__init__(
            f"{decision.kind} of {decision.subject}",
            f"{decision.who} decided {decision.words} at {decision.decided_at:%Y-%m-%d %H:%M} UTC: {decision.why}",
            f"leave it, or replace that decision, {decision.decision_id}, by yours.",
        )


@dataclass(frozen=True)
class NewDecision:
    """What somebody decides. `entity`, `source_system` and `source_key` name the record, or the code, it is about."""

    kind: Kind
    entity: str
    who: str
    why: str
    source_system: str | None = None
    source_key: str | None = None
    other_system: str | None = None
    other_key: str | None = None
    field: str | None = None
    rule: str | None = None
    value: str | None = None
    detail: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    """Evidence, and how things were; what is decided is `value`, so two decisions that differ in this only are one."""
    valid_until: datetime | None = None
    withdraws: str | None = None
    """The decision that this one replaces (for kind withdraw: takes back)."""


@dataclass(frozen=True)
class Decision(NewDecision):
    """A decision that is in the log."""

    decision_id: str = ""
    number: int = 0
    decided_at: datetime = _NEVER

    @property
    def subject(self) -> str:
        """What it speaks of, in words."""
        parts = [self.entity, "/".join(filter(None, (self.source_system, self.source_key)))]
        if self.other_key:
            parts.append(f"and {'/'.join(filter(None, (self.other_system, self.other_key)))}")
        parts += [text for text in (self.field and f"field {self.field}", self.rule and f"rule {self.rule}") if text]
        return " ".join(part for part in parts if part)

    @property
    def words(self) -> str:
        """What was decided, in words."""
        return self.kind.replace("_", " ") + (f" {self.value!r}" if self.value is not None else "")

    def is_in_force(self, at: datetime) -> bool:
        """Whether it has not expired by then. What was withdrawn only the log can tell."""
        return self.valid_until is None or at < self.valid_until


def record(decision: NewDecision) -> Decision:
    """Write one decision down; see `record_all`."""
    return record_all([decision])[0]


def record_all(new: Sequence[NewDecision]) -> list[Decision]:
    """Write decisions down, all or none; what is in force word for word already is given back instead of written again.

    DecidedOtherwiseError when something else about the same thing is in force and the new decision does not replace it.
    ConfigurationError for one that nobody signed, that gives no reason, or that withdraws what is not in force.
    ServiceError when the lake does not answer.
    """
    for decision in new:
        _refuse_incomplete(decision)

    def write() -> list[Decision]:
        from deltalake import CommitProperties, Transaction, write_deltalake

        table = _open(DECISIONS, "Decisions of people; only ever added to")
        held = _read(table)
        done, added = _added(held, new)
        if added:
            last = table.transaction_version(_APPLICATION) or 0
            write_deltalake(
                table,
                _rows(added),
                mode="append",
                commit_properties=CommitProperties(app_transactions=[Transaction(_APPLICATION, last + 1)]),
            )
            upkeep.after_load(DECISIONS, last + 1)
        return done

    return patiently(DECISIONS, write, attempts=_ATTEMPTS)


def withdraw(decision_id: str, who: str, why: str) -> Decision:
    """Take a decision back. ConfigurationError when it is not known or not in force."""
    found = {decision.decision_id: decision for decision in log()}.get(decision_id)
    if found is None:
        raise ConfigurationError(
            f"decision {decision_id}", "is not known.", "list them: `datong quarantine decisions`."
        )
    about = {name: getattr(found, name) for name in _ABOUT if name != "kind"}
    return record(NewDecision("withdraw", who=who, why=why, withdraws=decision_id, **about))


def log(kind: str | None = None, entity: str | None = None) -> list[Decision]:
    """Every decision there ever was, in their order; of one kind, or of one entity."""

    def read() -> list[Decision]:
        return _read(_open(DECISIONS, "Decisions of people; only ever added to"))

    return _only(patiently(DECISIONS, read, attempts=_ATTEMPTS), kind, entity)


def active(kind: str | None = None, entity: str | None = None, *, at: datetime | None = None) -> list[Decision]:
    """The decisions in force, by default now: neither withdrawn nor expired."""
    return _only(in_force(log(), at), kind, entity)


def in_force(every: Sequence[Decision], at: datetime | None = None) -> list[Decision]:
    """Of a log those in force, by default now."""
    return _in_force(every, at or datetime.now(UTC))


def expired(at: datetime | None = None) -> list[Decision]:
    """What nobody withdrew and is over: a steward decides it again, or lets it be."""
    now, every = at or datetime.now(UTC), log()
    gone = {decision.withdraws for decision in every}
    return [
        decision
        for decision in every
        if decision.kind != "withdraw" and decision.decision_id not in gone and not decision.is_in_force(now)
    ]


def refresh(at: datetime | None = None) -> bool:
    """Bring `ops.active_decision` up to date; whether it changed. It is made when there is none yet."""

    def write() -> bool:
        from deltalake import CommitProperties, Transaction, write_deltalake

        # opened before the log is read: who commits in between makes this commit a conflict, and it looks again
        table = _open(ACTIVE, "Decisions in force at the last build")
        wanted = _rows(active(at=at))
        held = table.to_pyarrow_table().select(SCHEMA.names).cast(_PLAIN).sort_by("number")
        if held.equals(wanted):
            return False
        number = (table.transaction_version(_APPLICATION) or 0) + 1
        write_deltalake(
            table,
            wanted,
            mode="overwrite",
            commit_properties=CommitProperties(app_transactions=[Transaction(_APPLICATION, number)]),
        )
        return True

    return patiently(ACTIVE, write, attempts=_ATTEMPTS)


def identities() -> dict[tuple[str, str], str]:
    """A fingerprint of the decisions in `ops.active_decision` for each (kind, entity) that has any."""

    def read() -> list[Decision]:
        return _decisions(_open(ACTIVE, "Decisions in force at the last build").to_pyarrow_table())

    ids: dict[tuple[str, str], list[str]] = {}
    for decision in patiently(ACTIVE, read, attempts=_ATTEMPTS):
        ids.setdefault((decision.kind, decision.entity), []).append(decision.decision_id)
    return {about: hashlib.sha256(",".join(sorted(found)).encode()).hexdigest()[:16] for about, found in ids.items()}


def until(text: str, time_zone: str) -> datetime:
    """The moment before which something holds: an ISO 8601 time with a zone, a day (its end in `time_zone`), or 30d.

    ConfigurationError for anything else, and for a moment that has passed.
    """
    from zoneinfo import ZoneInfo

    now = datetime.now(UTC)
    try:
        if text.endswith("d") and text[:-1].isdigit():
            moment = now + timedelta(days=int(text[:-1]))
        elif len(text) == len("2026-01-31"):
            day = date.fromisoformat(text) + timedelta(days=1)
            moment = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone))
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(time_zone))
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"valid until {text!r}", "is not a time.", "write a day as 2026-01-31, a time in ISO 8601, or days as 30d."
        ) from error
    if moment <= now:
        raise ConfigurationError(f"valid until {text!r}", "has passed.", "give a time that is to come.")
    return moment.astimezone(UTC)


@lru_cache(maxsize=1)
def plant_time_zone() -> str:
    """The time zone in which the plant's days are cut, as the dbt project says it."""
    import yaml

    content: dict[str, Any] = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text(encoding="utf-8"))
    return str(content["vars"]["plant_time_zone"])


_ABOUT = ("kind", "entity", "source_system", "source_key", "other_system", "other_key", "field", "rule")


def _refuse_incomplete(decision: NewDecision) -> None:
    thing = f"decision {decision.kind} on {decision.entity}"
    if decision.kind not in KINDS:
        raise ConfigurationError(thing, "is of no known kind.", f"take one of {', '.join(KINDS)}.")
    for name in ("who", "why", "entity"):
        if not str(getattr(decision, name)).strip():
            raise ConfigurationError(thing, f"does not say {name}.", "nothing is decided without it.")
    if decision.kind == "withdraw" and not decision.withdraws:
        raise ConfigurationError(thing, "does not say which decision it takes back.", "give its id.")
    if decision.valid_until is not None and decision.valid_until.tzinfo is None:
        raise ConfigurationError(thing, "is valid until a time without a zone.", "give it in UTC.")


def _thing(decision: NewDecision) -> tuple[Any, ...]:
    """What only one decision can be in force about. A pair of records is the same pair either way round."""
    one = (decision.source_system or "", decision.source_key or "")
    other = (decision.other_system or "", decision.other_key or "")
    pair = tuple(sorted((one, other))) if decision.other_key else (one, ("", ""))
    kind = _FAMILIES.get(decision.kind, decision.kind)
    return (kind, decision.entity, *pair, decision.field or "", decision.rule or "")


def _content(decision: NewDecision) -> str:
    """What is decided, for telling whether two decisions are one; who says it, why and on what evidence is not it."""
    said = {name: getattr(decision, name) for name in (*_ABOUT, "value", "valid_until")}
    return json.dumps(said, sort_keys=True, default=str, ensure_ascii=False)


def _added(held: Sequence[Decision], new: Sequence[NewDecision]) -> tuple[list[Decision], list[Decision]]:
    """What the new decisions come to after those that the log holds, and which of it must be written."""
    now = datetime.now(UTC)
    known = {decision.decision_id: decision for decision in held}
    force = {decision.decision_id: decision for decision in _in_force(held, now)}
    about = {_thing(decision): decision for decision in force.values()}
    # withdrawing what has expired is allowed: it says that it shall not be asked about again
    open_ = known.keys() - {decision.withdraws for decision in held}
    number = max((decision.number for decision in held), default=0)
    done: list[Decision] = []
    added: list[Decision] = []
    for decision in new:
        if decision.withdraws and decision.withdraws not in open_:
            _refuse_withdrawn(decision, held)
        same = about.get(_thing(decision)) if decision.kind != "withdraw" else None
        if same and _content(same) == _content(decision):
            done.append(same)
            continue
        if same and same.decision_id != decision.withdraws:
            raise DecidedOtherwiseError(same)
        number += 1
        digest = hashlib.sha256(f"{number} {_content(decision)} {decision.withdraws}".encode()).hexdigest()
        made = Decision(
            **{item.name: getattr(decision, item.name) for item in fields(NewDecision)},
            decision_id=digest[:16],
            number=number,
            decided_at=now,
        )
        if decision.withdraws:
            open_ -= {decision.withdraws}
            taken_back = known.get(decision.withdraws)
            if taken_back and about.get(_thing(taken_back)) == taken_back:
                del about[_thing(taken_back)]
        if made.kind != "withdraw":
            about[_thing(made)] = known[made.decision_id] = made
            open_ |= {made.decision_id}
        done.append(made)
        added.append(made)
    return done, added


def _refuse_withdrawn(decision: NewDecision, held: Sequence[Decision]) -> None:
    by = next((later for later in held if later.withdraws == decision.withdraws), None)
    reason = (
        f"was taken back by {by.who} at {by.decided_at:%Y-%m-%d %H:%M} UTC: {by.why}" if by else "is not in the log."
    )
    raise ConfigurationError(
        f"decision {decision.withdraws}", reason, "list what is in force: `datong quarantine decisions`."
    )


def _in_force(held: Iterable[Decision], at: datetime) -> list[Decision]:
    every = list(held)
    gone = {decision.withdraws for decision in every if decision.withdraws}
    return [
        decision
        for decision in every
        if decision.kind != "withdraw" and decision.decision_id not in gone and decision.is_in_force(at)
    ]


def _only(found: list[Decision], kind: str | None, entity: str | None) -> list[Decision]:
    return [
        decision
        for decision in found
        if (kind is None or decision.kind == kind) and (entity is None or decision.entity == entity)
    ]


# without the comments: a table that was made with other words about a column takes rows all the same
_PLAIN = pa.schema([pa.field(each.name, each.type, nullable=each.nullable) for each in SCHEMA])


def _rows(decisions: Sequence[Decision]) -> pa.Table:
    rows = [
        {**asdict(decision), "detail": json.dumps(dict(decision.detail), ensure_ascii=False, default=str)}
        for decision in sorted(decisions, key=lambda decision: decision.number)
    ]
    return pa.Table.from_pylist(rows, schema=_PLAIN)


_cached_log: dict[tuple[str, str], tuple[int, list[Decision]]] = {}


def _read(table: DeltaTable) -> list[Decision]:
    """The log in its order. A version of the table never changes, so it is read once."""
    place, version = (table.table_uri, str(table.metadata().id)), table.version()
    kept = _cached_log.get(place)
    if kept is None or kept[0] != version:
        kept = (version, _decisions(table.to_pyarrow_table()))
        _cached_log[place] = kept
    return list(kept[1])


def _decisions(rows: pa.Table) -> list[Decision]:
    return [
        Decision(**{**row, "detail": json.loads(row["detail"] or "{}")})
        for row in rows.select(SCHEMA.names).cast(SCHEMA).sort_by("number").to_pylist()
    ]


def _open(table: TableName, description: str) -> DeltaTable:
    from deltalake import DeltaTable, Schema

    now = settings()
    return DeltaTable.create(
        now.table_uri(table),
        Schema.from_arrow(SCHEMA),
        mode="ignore",
        name=table.name,
        description=description,
        storage_options=now.storage_options(),
    )
