"""Scores of data quality by entity, source and dimension of GB/T 36344, kept over time in `ops.quality_score`.

Conformity, completeness, accuracy and consistency are the share of records that keep all rules of the dimension, as
silver and quarantine have them; timeliness is whether the tables that feed the entity were loaded, or proven equal to
their source, within the hours that the contract allows; accessibility is whether the table answers and a contract says
what it means and who answers for it. A dimension without any rule has no score: nothing measured is not perfect.

From `silver`, `quarantine`, the contracts and `ops.verified_through` to rows of `ops.quality_score`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from datong_platform import engine
from datong_platform.errors import DatongError, ServiceError
from datong_platform.lake import commits, history
from datong_platform.lake.columns import UTC_TIMESTAMP
from datong_platform.names import TableName, bronze
from datong_platform.quality import record
from datong_platform.standard.contract import Contract, contracts
from datong_platform.standard.rules import DIMENSIONS, RULES

SCORES = TableName("ops", "quality_score")
_AT_ONCE = 4
_STALE = timedelta(hours=20)
"""After that an entity is measured again although its tables did not change: its age is part of the score."""

_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("measured_at", UTC_TIMESTAMP),
        ("entity", pa.string()),
        ("source_system", pa.string()),
        ("dimension", pa.string()),
        ("score", pa.float64()),
        ("records", pa.int64()),
        ("broken", pa.int64()),
        ("rules", pa.string()),
        ("state", pa.string()),
    ]
)


@dataclass(frozen=True)
class Score:
    """How good the records of an entity are in one dimension, or in all (`overall`)."""

    entity: str
    source_system: str
    """Empty for all sources together."""
    dimension: str
    score: float
    """0 to 1."""
    records: int
    broken: int
    """Records that break a rule of the dimension."""
    rules: Mapping[str, int]
    """How often each rule was broken."""
    state: str = ""
    """The versions of the tables that were measured."""


OVERALL = "overall"


def stale(now: datetime | None = None) -> list[str]:
    """The entities that are built and whose tables changed since they were last measured, or were measured long ago."""
    now = now or datetime.now(UTC)
    before = _measured_states()
    known = contracts("silver")
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        states = dict(zip(known, pool.map(_state, known.values()), strict=True))

    def is_stale(name: str) -> bool:
        state, held = states[name], before.get(name)
        return state is not None and (held is None or held[0] != state or now - held[1] >= _STALE)

    return [name for name in known if is_stale(name)]


def measure(entities: Sequence[str] | None = None, *, now: datetime | None = None) -> list[Score]:
    """The scores of silver's entities that are built, or of some. Nothing is kept yet."""
    now = now or datetime.now(UTC)
    known = contracts("silver")
    chosen = [known[name] for name in (entities or sorted(known)) if name in known]

    def one(contract: Contract) -> list[Score]:
        state = _state(contract)
        return [] if state is None else _scores(contract, state, now)

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return [score for scores in pool.map(one, chosen) for score in scores]


def keep(run_id: str, scores: Sequence[Score], measured_at: datetime | None = None) -> None:
    """Append scores to `ops.quality_score`."""
    if not scores:
        return
    moment = measured_at or datetime.now(UTC)
    rows = [
        {**asdict(one), "rules": json.dumps(dict(one.rules)), "run_id": run_id, "measured_at": moment} for one in scores
    ]
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    commits.append(SCORES, record.opened(SCORES, _SCHEMA), table)


def latest(entity: str | None = None) -> list[dict[str, Any]]:
    """The newest scores of each entity, as rows; `rules` as a mapping, `dimension_zh` added."""
    rows = history_of(entity)
    newest: dict[str, datetime] = {}
    for row in rows:
        newest[row["entity"]] = max(newest.get(row["entity"], row["measured_at"]), row["measured_at"])
    return [row for row in rows if row["measured_at"] == newest[row["entity"]]]


def overall() -> dict[str, float]:
    """The newest score of each silver table, all sources and dimensions together, 0 to 1."""
    return {
        f"silver.{row['entity']}": row["score"]
        for row in latest()
        if not row["source_system"] and row["dimension"] == OVERALL
    }


def history_of(entity: str | None = None) -> list[dict[str, Any]]:
    """Every score there was, of an entity or of all: by entity, source and dimension, oldest first."""
    rows = [row for row in record.held(SCORES) if entity in {None, row["entity"]}]
    order = {name: place for place, name in enumerate([OVERALL, *DIMENSIONS])}
    rows.sort(
        key=lambda row: (row["entity"], row["source_system"], order.get(row["dimension"], 99), row["measured_at"])
    )
    return [
        {
            **row,
            "rules": json.loads(row["rules"] or "{}"),
            "dimension_zh": DIMENSIONS.get(row["dimension"], "总分"),
        }
        for row in rows
    ]


def create() -> None:
    """Make the table where it is not there yet."""
    record.opened(SCORES, _SCHEMA)


def _measured_states() -> dict[str, tuple[str, datetime]]:
    found: dict[str, tuple[str, datetime]] = {}
    for row in record.held(SCORES):
        held = found.get(row["entity"])
        if held is None or row["measured_at"] > held[1]:
            found[row["entity"]] = (row["state"], row["measured_at"])
    return found


def _state(contract: Contract) -> str | None:
    """The versions of an entity's tables, as one text; None when it is not built."""
    tables = [TableName("silver", contract.entity), TableName("quarantine", contract.entity)]
    opened = [history.open_table(table) for table in tables]
    if opened[0] is None:
        return None
    return " ".join([contract.version, *(f"{one.metadata().id}@{one.version()}" for one in opened if one is not None)])


def _scores(contract: Contract, state: str, now: datetime) -> list[Score]:
    published = {row["source_system"]: row["n"] for row in _counted(f"silver.{contract.entity}", "count(*) as n")}
    broken: dict[str, list[tuple[list[str], int, bool]]] = {}
    quarantine = TableName("quarantine", contract.entity)
    if history.open_table(quarantine) is not None:
        for row in _counted(str(quarantine), "rule, is_withheld, count(*) as n", "rule, is_withheld"):
            rules = [name for name in (row["rule"] or "").split(", ") if name]
            broken.setdefault(row["source_system"], []).append((rules, row["n"], bool(row["is_withheld"])))
    systems = sorted({*published, *broken})
    found: list[Score] = []
    for system in ["", *systems] if len(systems) > 1 else [""]:
        wanted = systems if system == "" else [system]
        cases = [case for name in wanted for case in broken.get(name, [])]
        withheld = sum(count for _, count, is_withheld in cases if is_withheld)
        records = sum(published.get(name, 0) for name in wanted) + withheld
        parts = by_rules(contract, system, records, cases, state)
        if records:
            late, worst = _lateness(contract, wanted, now)
            parts.append(Score(contract.entity, system, "timeliness", worst, records, 0, late, state))
        parts.append(_accessibility(contract, system, records, state))
        overall = sum(one.score for one in parts) / len(parts)
        whole = Score(contract.entity, system, OVERALL, overall, records, sum(n for _, n, _ in cases), {}, state)
        found += [whole, *parts]
    return found


def by_rules(
    contract: Contract, system: str, records: int, cases: Iterable[tuple[list[str], int, bool]], state: str
) -> list[Score]:
    """One score for each dimension that has rules. `cases` are the rules that some records break, how many these are,
    and whether they are withheld; a record counts once in a dimension, whatever it breaks there."""
    dimension_of = {rule.name: RULES[rule.kind].dimension for rule in contract.rules if rule.kind in RULES}
    measured = dict.fromkeys(dimension_of.values())
    counted: Counter[str] = Counter()
    times: dict[str, Counter[str]] = {}
    for rules, count, _ in cases:
        dimensions = {name: dimension_of.get(name, "conformity") for name in rules}
        measured |= dict.fromkeys(dimensions.values())
        for dimension in set(dimensions.values()):
            counted[dimension] += count
        for name in rules:
            times.setdefault(dimensions[name], Counter())[name] += count
    if not records:
        return []
    return [
        Score(
            contract.entity,
            system,
            dimension,
            1 - min(counted[dimension], records) / records,
            records,
            counted[dimension],
            dict(times.get(dimension, {})),
            state,
        )
        for dimension in DIMENSIONS
        if dimension in measured and dimension != "timeliness"
    ]


def _lateness(contract: Contract, systems: Sequence[str], now: datetime) -> tuple[dict[str, int], float]:
    """The feeding tables that are late, and the score: 1 while each was loaded or proven within the hours of the
    contract, then falling with its age."""
    hours = contract.freshness_hours or 24.0
    proven = {(one.source_system, one.entity): one.verified_at for one in record.marks() if one.verified_at}
    worst, late = 1.0, dict[str, int]()
    for feed in contract.conservation:
        if feed.get("system") not in systems:
            continue
        name = (str(feed["system"]), str(feed["entity"]))
        loads = history.loads(bronze(*name), limit=20)
        moments = [datetime.fromisoformat(loads[0].finished_at)] if loads else []
        moments += [proven[name]] if name in proven else []
        if not moments:
            continue
        age = (now - max(moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in moments)) / timedelta(
            hours=1
        )
        if age > hours:
            late[f"{name[0]}.{name[1]} is {age:.0f} hours old"] = 1
            worst = min(worst, hours / age)
    return late, worst


def _accessibility(contract: Contract, system: str, records: int, state: str) -> Score:
    """The table answered; the rest is whether each field is explained, and somebody answers for them."""
    told = [bool(each.description and each.title_zh) for each in contract.fields]
    missing = {each.name: 1 for each, fine in zip(contract.fields, told, strict=True) if not fine}
    if not contract.owner:
        missing["owner"] = 1
    share = (sum(told) + bool(contract.owner)) / (len(told) + 1)
    return Score(contract.entity, system, "accessibility", share, records, 0, missing, state)


def _counted(table: str, columns: str, groups: str = "") -> list[dict[str, Any]]:
    by = f"source_system, {groups}" if groups else "source_system"
    try:
        return engine.query(f"select source_system, {columns} from {table} group by {by}").to_pylist()
    except DatongError:
        raise
    except Exception as error:
        said = str(error).strip().splitlines()
        raise ServiceError(
            f"table {table}",
            f"cannot be scored: {said[0] if said else type(error).__name__}.",
            "run `datong build`, or `datong doctor`.",
        ) from error
