"""What a steward sees of golden records and decides about them.

A question is a pair of records that are too alike to be two and not alike enough to be one (`review`), or that are sure
to be one but for an exclusive key (`conflict`). Decisions are about records of systems, not about ids, so they hold
whatever ids come to be; they take effect at the next build.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from datong_platform.errors import ConfigurationError
from datong_platform.lake import history as lake_history
from datong_platform.lake.columns import compute
from datong_platform.names import TableName
from datong_platform.standard import decisions
from datong_platform.standard.decisions import DecidedOtherwiseError, Decision, NewDecision
from datong_platform.standard.matching import model, pairs, run, store

_KINDS = ("match", "not_match", "merge", "split")


@dataclass(frozen=True)
class Record:
    """A record of a system, and the golden record that it belongs to."""

    source_system: str
    source_key: str
    title: str
    golden_id: str
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    """The record as silver has it; only where one question is shown."""


@dataclass(frozen=True)
class Question:
    """Are these two one?"""

    question_id: str
    entity: str
    state: str
    """review or conflict."""
    probability: float
    weight: float
    left: Record
    right: Record
    sure_by: str | None
    evidence: list[dict[str, Any]]
    """What each comparison found: title, title_zh, level, and the weight that it adds (bits)."""


def question_id(entity: str, left: str, right: str) -> str:
    """The id of a question: the same as long as the two records are."""
    return hashlib.sha256(f"{entity} {left} {right}".encode()).hexdigest()[:12]


def waiting(entity: str | None = None, *, limit: int = 100, offset: int = 0) -> list[Question]:
    """The questions that wait for a steward, the likeliest first."""
    found: list[Question] = []
    for name in [model.load(entity).entity] if entity else model.entities():
        found += _questions(name, limit=offset + limit)
    found.sort(key=lambda asked: (-asked.probability, asked.question_id))
    return found[offset : offset + limit]


def counts() -> dict[str, dict[str, int]]:
    """How many questions of each state wait, by entity."""
    told: dict[str, dict[str, int]] = {}
    for entity in model.entities():
        with _Tables(entity) as tables:
            rows = tables.ask("select state, count(*) from open group by state")
            told[entity] = {"review": 0, "conflict": 0, **{str(state): int(count) for state, count in rows}}
    return told


def question(asked: str) -> Question:
    """One question, both records in full. ConfigurationError when it does not wait."""
    for entity in model.entities():
        for found in _questions(entity, only=asked):
            left, right = (_in_full(entity, side) for side in (found.left, found.right))
            return replace(found, left=left, right=right)
    raise ConfigurationError(
        f"question {asked!r}",
        "does not wait: it is decided, or its records changed.",
        "list them: `datong match list`.",
    )


def accept(asked: str, who: str, why: str) -> Decision:
    """Decide that the two records of a question are one."""
    return _answer(asked, "match", who, why)


def reject(asked: str, who: str, why: str) -> Decision:
    """Decide that the two records of a question are two, for good."""
    return _answer(asked, "not_match", who, why)


def merge(entity: str, one: str, other: str, *, who: str, why: str) -> Decision:
    """Make two golden records one. ConfigurationError when one of them does not exist."""
    if one == other:
        raise ConfigurationError(f"golden record {one}", "cannot be merged with itself.", "name two.")
    left, right = _ids(golden(entity, one)), _ids(golden(entity, other))
    return _decide("merge", entity, left, right, who=who, why=why)


def split(entity: str, golden_id: str, leaving: Sequence[str], *, who: str, why: str) -> Decision:
    """Take records (as system/key) out of a golden record, for good. They are one among themselves, if they were."""
    every = _ids(golden(entity, golden_id))
    unknown = sorted(set(leaving) - set(every))
    if unknown or not leaving or len(set(leaving)) == len(every):
        raise ConfigurationError(
            f"golden record {golden_id}",
            f"does not hold {', '.join(unknown)}." if unknown else "cannot be split so: both sides need a record.",
            f"take some of {', '.join(every)}.",
        )
    return _decide(
        "split", entity, sorted(set(leaving)), [one for one in every if one not in set(leaving)], who=who, why=why
    )


def undo(what: str, who: str, why: str) -> Decision:
    """Take back a decision by its id, or a merge by the golden id that ended in it; what was undone stays undone.

    ConfigurationError when it is neither, or when nothing is left to take apart.
    """
    known = {made.decision_id: made for made in decisions.log() if made.kind in _KINDS}
    if what in known:
        return decisions.withdraw(what, who, why)
    merged = [event for event in events(golden_id=what) if event["event"] == "merged"]
    if not merged:
        raise ConfigurationError(
            f"{what!r}",
            "is neither a decision on golden records nor an id that was merged into another.",
            "see `datong match history`.",
        )
    last = merged[-1]
    entity, into = str(last["entity"]), str(last["other_id"])
    came = {
        f"{event['source_system']}/{event['source_key']}"
        for event in events(golden_id=what)
        if event["event"] == "left" and event["other_id"] == into and event["run"] == last["run"]
    }
    there = _ids(golden(entity, into))
    leaving = [record for record in there if record in came]
    if not leaving or len(leaving) == len(there):
        raise ConfigurationError(
            f"merge of {what} into {into}", "is undone already, or its records are gone.", "see `datong match history`."
        )
    return split(entity, into, leaving, who=who, why=why)


def golden(entity: str, golden_id: str) -> list[Record]:
    """The records of a golden record. ConfigurationError when it does not exist now."""
    with _Tables(entity) as tables:
        rows = tables.ask(
            "select source_system, source_key, title, golden_id from record where golden_id = ? order by unique_id",
            [golden_id],
        )
        if not rows:
            after = tables.ask(
                "select other_id from past where golden_id = ? and event = 'merged' order by run desc", [golden_id]
            )
            raise ConfigurationError(
                f"golden record {golden_id} of {entity}",
                f"was merged into {after[0][0]}." if after else "does not exist.",
                "find it by a record: `datong match find ENTITY SYSTEM/KEY`.",
            )
    return [Record(*row) for row in rows]


def find(entity: str, wanted: str) -> list[Record]:
    """The golden record of a record, given as system/key, or of all records whose name holds a text."""
    with _Tables(entity) as tables:
        rows = tables.ask(
            """
            select source_system, source_key, title, golden_id from record
            where golden_id in (select golden_id from record where unique_id = ? or contains(lower(title), lower(?)))
            order by golden_id, unique_id
            """,
            [wanted, wanted],
        )
    return [Record(*row) for row in rows]


def events(entity: str | None = None, golden_id: str | None = None) -> list[dict[str, Any]]:
    """What ever happened to golden records, the oldest first."""
    delta = lake_history.open_table(store.HISTORY)
    if delta is None:
        return []
    wanted = None
    if entity:
        wanted = compute.field("entity") == entity
    if golden_id:
        same = (compute.field("golden_id") == golden_id) | (compute.field("other_id") == golden_id)
        wanted = same if wanted is None else wanted & same
    found = delta.to_pyarrow_dataset(schema=store.HISTORY_SCHEMA).to_table(filter=wanted).to_pylist()
    rank = {"created": 0, "left": 1, "joined": 2, "merged": 4, "retired": 4}
    return sorted(found, key=lambda event: (event["run"], rank.get(event["event"], 3), event["event_id"]))


def made(entity: str | None = None) -> list[Decision]:
    """The decisions on golden records that are in force."""
    return [found for found in decisions.active(entity=entity) if found.kind in _KINDS]


def _answer(asked: str, kind: decisions.Kind, who: str, why: str) -> Decision:
    found = question(asked)
    left, right = found.left, found.right
    return decisions.record(
        NewDecision(
            kind,
            found.entity,
            who,
            why,
            source_system=left.source_system,
            source_key=left.source_key,
            other_system=right.source_system,
            other_key=right.source_key,
            detail={"probability": round(found.probability, 4), "golden": [left.golden_id, right.golden_id]},
        )
    )


def _decide(
    kind: decisions.Kind, entity: str, left: Sequence[str], right: Sequence[str], *, who: str, why: str
) -> Decision:
    (system, _, key), (other_system, _, other_key) = left[0].partition("/"), right[0].partition("/")
    new = NewDecision(
        kind,
        entity,
        who,
        why,
        source_system=system,
        source_key=key,
        other_system=other_system,
        other_key=other_key,
        detail={"left": list(left), "right": list(right)},
    )
    try:
        return decisions.record(new)
    except DecidedOtherwiseError as error:
        # merging and splitting name what they change: the earlier word on it is replaced, and stays in the log
        return decisions.record(replace(new, withdraws=error.decision.decision_id))


def _ids(records: Iterable[Record]) -> list[str]:
    return [f"{record.source_system}/{record.source_key}" for record in records]


def _questions(entity: str, *, limit: int | None = None, only: str | None = None) -> list[Question]:
    wanted = model.load(entity)
    with _Tables(entity) as tables:
        if only is not None:
            named = tables.ask("select left_id, right_id from open")
            chosen = [pair for pair in named if question_id(entity, *pair) == only]
            if not chosen:
                return []
            where, values = "where left_id = ? and right_id = ?", list(chosen[0])
        else:
            where, values = "", []
        rows = tables.ask(
            f"""
            select
                open.left_id, open.right_id, open.state, open.probability, open.weight, open.sure_by, open.levels,
                one.source_system, one.source_key, one.title, one.golden_id,
                other.source_system, other.source_key, other.title, other.golden_id
            from (
                select * from open {where}
                order by probability desc, left_id, right_id {f"limit {limit}" if limit else ""}
            ) as open
            inner join record as one on open.left_id = one.unique_id
            inner join record as other on open.right_id = other.unique_id
            """,
            values,
        )
    return [
        Question(
            question_id=question_id(entity, row[0], row[1]),
            entity=entity,
            state=row[2],
            probability=row[3],
            weight=row[4],
            sure_by=row[5],
            evidence=pairs.evidence(wanted, row[6]),
            left=Record(*row[7:11]),
            right=Record(*row[11:15]),
        )
        for row in rows
    ]


def _in_full(entity: str, record: Record) -> Record:
    delta = lake_history.open_table(TableName("silver", entity))
    if delta is None:
        return record
    same = (compute.field("source_system") == record.source_system) & (compute.field("source_key") == record.source_key)
    rows = delta.to_pyarrow_dataset().to_table(filter=same).to_pylist()
    return replace(record, fields=rows[0] if rows else {})


def as_json(thing: Question | Record) -> dict[str, Any]:
    """A question or a record for programs."""
    return json.loads(json.dumps(asdict(thing), default=str))


class _Tables:
    """The tables of an entity in DuckDB, read as far as a question needs: `open` are the pairs that wait."""

    def __init__(self, entity: str) -> None:
        self._wanted = model.load(entity)
        self._connection = pairs.connect()

    def __enter__(self) -> _Tables:
        entity = self._wanted.entity
        store.offer(self._connection, store.pairs_of(entity), store.PAIR_SCHEMA, "pair")
        store.read_records(self._connection, self._wanted)
        store.offer(self._connection, store.HISTORY, store.HISTORY_SCHEMA, "past")
        decided = run.decided_pairs(decisions.active(entity=entity))
        named: Mapping[tuple[str, str], str] = {**decided.together, **decided.apart}
        rows = [{"left_id": left, "right_id": right} for left, right in named]
        schema = pa.schema([("left_id", pa.string()), ("right_id", pa.string())])
        self._connection.register("decided", pa.Table.from_pylist(rows, schema=schema))
        self._connection.execute(
            """
            create view open as
            select pair.* from pair anti join decided using (left_id, right_id)
            where pair.state in ('review', 'conflict')
            """
        )
        self._connection.execute("create view record as select * from held where not is_gone")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, list(values)).fetchall()
