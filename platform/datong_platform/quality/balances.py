"""Balances: what must add up in the business, between systems and between layers, from `standard/reconciliation.yaml`.

Each side is a sum by the balance's keys, computed by the engine. Quantities are brought to the base unit of their
dimension, and amounts stay in their currency: what has another dimension or currency is another row of the comparison,
never a part of the same sum. A difference beyond the tolerance names its keys.

From tables of the lake to `Balanced`. Only totals and the keys that differ come into this process.
"""

from __future__ import annotations

import string
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from datong_platform import engine
from datong_platform.errors import ConfigurationError, DatongError, ServiceError
from datong_platform.lake import catalog
from datong_platform.names import TableName, parse
from datong_platform.quality.lake_side import quoted, text_literal
from datong_platform.quality.record import Entry
from datong_platform.settings import DBT_PROJECT

NAMED = 200
"""Keys that a balance names; it counts the rest."""
DEFINITIONS = DBT_PROJECT / "standard" / "reconciliation.yaml"
_UNITS = TableName("staging", "unit")
_MATERIAL_UNITS = TableName("staging", "material_unit")

Kind = Literal["balance", "systems", "layers"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Term(_Model):
    """What is summed: an expression over a table or a query."""

    table: str = ""
    query: str = ""
    reads: list[str] = []
    """The tables of a query."""
    value: str
    unit: str = ""
    """The column of its unit or currency; empty for a plain number."""
    material: str = ""
    """The column of the material whose own units (a box of ten) are converted as well."""
    material_system: str = "_of.source_system"
    """The system that knows the material, as an expression."""
    where: str = ""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if bool(self.table) == bool(self.query) or bool(self.query) != bool(self.reads):
            raise ValueError("a term needs either `table`, or `query` and the tables that it `reads`")
        return self

    @property
    def tables(self) -> list[TableName]:
        """The tables it reads."""
        return [parse(name) for name in (self.reads or [self.table])]


class Tolerance(_Model):
    """How far two sides may be apart."""

    absolute: Annotated[Decimal, Field(ge=0)] = Decimal("0.0005")
    """In the base unit of a dimension, or in a currency's unit; half of the last digit that quantities have here."""
    percent: Annotated[Decimal, Field(ge=0, le=100)] = Decimal(0)
    """Of the greater side."""
    units: dict[str, Decimal] = {"count": Decimal(0)}
    """`absolute` for a dimension (count, mass, length, volume, time) or a currency: pieces have no fractions."""


class Balance(_Model):
    """Two sides that must be equal for each key."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    kind: Kind
    title: str
    title_zh: str = ""
    description: str = ""
    checked_on: str
    """The table that bears its check in Dagster."""
    keys: Annotated[list[str], Field(min_length=1)]
    left: Annotated[list[Term], Field(min_length=1)]
    right: Annotated[list[Term], Field(min_length=1)]
    tolerance: Tolerance = Tolerance()

    @property
    def tables(self) -> list[TableName]:
        """Every table that it reads."""
        found = [table for term in (*self.left, *self.right) for table in term.tables]
        return list(dict.fromkeys([*found, parse(self.checked_on)]))


@dataclass(frozen=True)
class Difference:
    """A key whose sides differ."""

    key: str
    unit: str
    left: Decimal
    right: Decimal

    @property
    def difference(self) -> Decimal:
        """Left less right."""
        return self.left - self.right


@dataclass(frozen=True)
class Balanced:
    """What a balance came to."""

    balance: Balance
    status: Literal["agrees", "differs", "not connected", "failed"]
    facts: int = 0
    """Keys that were compared."""
    different: int = 0
    totals: Mapping[str, tuple[Decimal, Decimal]] = field(default_factory=dict[str, tuple[Decimal, Decimal]])
    """Left and right by unit."""
    differences: Sequence[Difference] = ()
    reason: str = ""
    seconds: float = 0

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against it."""
        return self.status in {"agrees", "not connected"}

    def entry(self) -> Entry:
        """As a row of `ops.reconciliation`."""
        left = "; ".join(f"{value[0].normalize():f} {unit}".strip() for unit, value in self.totals.items())
        right = "; ".join(f"{value[1].normalize():f} {unit}".strip() for unit, value in self.totals.items())
        return Entry(
            self.balance.kind,
            self.balance.name,
            self.status,
            part=", ".join(self.balance.keys),
            wrong=self.reason,
            left_value=left,
            right_value=right,
            unit=", ".join(unit for unit in self.totals if unit),
            facts=self.facts,
            different=self.different,
            examples=[
                {
                    "key": one.key,
                    "left": f"{one.left:f}",
                    "right": f"{one.right:f}",
                    "difference": f"{one.difference:f}",
                    "unit": one.unit,
                }
                for one in self.differences
            ],
            seconds=round(self.seconds, 3),
        )


def balances(path: Path = DEFINITIONS) -> list[Balance]:
    """The balances that are defined; ConfigurationError names what is wrong in the file."""
    try:
        stamp = path.stat().st_mtime_ns
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path.name}", "is not there.", f"restore {path} from git.") from error
    return list(_balances(path, stamp))


@lru_cache(maxsize=4)
def _balances(path: Path, _stamp: int) -> tuple[Balance, ...]:
    variables = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text(encoding="utf-8")).get("vars", {})
    plain = {name: value for name, value in variables.items() if isinstance(value, str)}
    try:
        text = string.Template(path.read_text(encoding="utf-8")).substitute(plain)
        found = [Balance.model_validate(item) for item in yaml.safe_load(text)["balances"]]
    except KeyError as error:
        raise ConfigurationError(
            path.name, f"names {error}, which is not there.", f"choose a variable from {', '.join(sorted(plain))}."
        ) from error
    except ValueError as error:
        said = error.errors()[0] if isinstance(error, ValidationError) else None
        reason = f"{'.'.join(map(str, said['loc']))}: {said['msg']}" if said else str(error)
        raise ConfigurationError(
            path.name, f"cannot be read: {reason}.", "mend it; RECONCILIATION.md explains it."
        ) from error
    names = [balance.name for balance in found]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(path.name, f"defines {', '.join(doubled)} twice.", "rename one of them.")
    return tuple(found)


def run(chosen: Sequence[Balance] | None = None) -> list[Balanced]:
    """Compute balances, all that are defined by default; one that fails does not stop the others."""
    wanted = balances() if chosen is None else list(chosen)
    catalog.ensure()
    known = _known_tables()
    # what is written beside the engine, as the write-back's ledger is, it learns of when it is asked for
    unknown = {table for balance in wanted for table in balance.tables if table.schema == "ops"}
    if unknown := {table for table in unknown if str(table) not in known}:
        catalog.register([table for table in catalog.stored_tables(["ops"]) if table in unknown])
        known = _known_tables()
    return [_attempt(balance, known) for balance in wanted]


def _attempt(balance: Balance, known: set[str]) -> Balanced:
    started = time.monotonic()
    missing = [str(table) for table in balance.tables if str(table) not in known]
    if missing:
        return Balanced(balance, "not connected", reason=f"{', '.join(missing)} is not there")
    try:
        return _computed(balance, known, started)
    except DatongError as error:
        return Balanced(balance, "failed", reason=str(error), seconds=time.monotonic() - started)


def _computed(balance: Balance, known: set[str], started: float) -> Balanced:
    compared = _statement(balance, known)
    totals = _asked(
        balance,
        f"select _unit, count(*) as facts, sum(case when _differs then 1 else 0 end) as different, "
        f"cast(sum(_left) as string) as left_value, cast(sum(_right) as string) as right_value "
        f"from ({compared}) as compared group by _unit order by _unit",
    )
    different = sum(row["different"] for row in totals)
    rows: list[dict[str, Any]] = []
    if different:
        keys = ", ".join(f"cast({quoted(name)} as string) as {quoted(name)}" for name in balance.keys)
        rows = _asked(
            balance,
            f"select {keys}, _unit, cast(_left as string) as left_value, cast(_right as string) as right_value "
            f"from ({compared}) as compared where _differs order by abs(_left - _right) desc, "
            f"{', '.join(quoted(name) for name in balance.keys)} limit {NAMED}",
        )
    return Balanced(
        balance,
        "differs" if different else "agrees",
        sum(row["facts"] for row in totals),
        different,
        {row["_unit"]: (Decimal(row["left_value"]), Decimal(row["right_value"])) for row in totals},
        [
            Difference(
                "/".join(str(row[name] or "") for name in balance.keys),
                row["_unit"],
                Decimal(row["left_value"]),
                Decimal(row["right_value"]),
            )
            for row in rows
        ],
        seconds=time.monotonic() - started,
    )


def _statement(balance: Balance, known: set[str]) -> str:
    """One row for each key and unit: both sides, and whether they differ."""
    terms = [_term(balance, term, "_left", known) for term in balance.left]
    terms += [_term(balance, term, "_right", known) for term in balance.right]
    keys = ", ".join(quoted(name) for name in balance.keys)
    summed = (
        f"select {keys}, _unit, _dimension, sum(_left) as _left, sum(_right) as _right "
        f"from ({' union all '.join(terms)}) as terms group by {keys}, _unit, _dimension"
    )
    return f"select *, abs(_left - _right) > {_allowed(balance.tolerance)} as _differs from ({summed}) as summed"


def _term(balance: Balance, term: Term, side: str, known: set[str]) -> str:
    keys = ", ".join(f"_of.{quoted(name)}" for name in balance.keys)
    relation = f"({term.query})" if term.query else term.table
    where = f"where {term.where}" if term.where.strip() else ""
    unit = f"cast({term.unit} as string)" if term.unit else "''"
    inner = f"(select *, {term.value} as _value, {unit} as _said from {relation} as _read {where}) as _of"
    converted, said = "cast(_of._value as decimal(38, 9))", "_of._said"
    if str(_UNITS) in known and term.unit:
        if term.material and str(_MATERIAL_UNITS) in known:
            # a box of this material is so many pieces
            inner += (
                f" left join {_MATERIAL_UNITS} as _m on _of.{quoted(term.material)} = _m.material_id "
                f"and _of._said = _m.unit and _m.source_system = {term.material_system}"
            )
            converted = f"cast(cast({converted} as decimal(26, 9)) * coalesce(_m.factor, 1) as decimal(38, 9))"
            said = "coalesce(_m.base_unit, _of._said)"
        inner += f" left join {_UNITS} as _u on {said} = _u.unit and _u.factor is not null"
        times = "coalesce(cast(_u.factor as decimal(18, 9)), 1)"
        converted = f"cast(cast({converted} as decimal(26, 9)) * {times} as decimal(38, 9))"
        # of units that are no dimension's, as currencies are, each is its own
        inner += (
            f" left join (select dimension, min(unit) as unit from {_UNITS} where factor = 1 group by dimension) as _b "
            "on _u.dimension = _b.dimension"
        )
        name, dimension = f"coalesce(_b.unit, {said}, '')", f"coalesce(_u.dimension, {said}, '')"
    else:
        name = dimension = "coalesce(_of._said, '')"
    nothing = "cast(0 as decimal(38, 9))"
    left, right = (converted, nothing) if side == "_left" else (nothing, converted)
    return (
        f"select {keys}, {name} as _unit, {dimension} as _dimension, "
        f"coalesce({left}, {nothing}) as _left, coalesce({right}, {nothing}) as _right from {inner}"
    )


def _allowed(tolerance: Tolerance) -> str:
    cases = " ".join(f"when _dimension = {text_literal(name)} then {value}" for name, value in tolerance.units.items())
    absolute = f"case {cases} else {tolerance.absolute} end" if cases else str(tolerance.absolute)
    if not tolerance.percent:
        return absolute
    return f"greatest({absolute}, greatest(abs(_left), abs(_right)) * {tolerance.percent} / 100)"


def _known_tables() -> set[str]:
    """The tables and views that the engine knows."""
    spark = engine.session()
    found: set[str] = set()
    for row in spark.sql("show schemas").collect():
        for table in spark.sql(f"show tables in {row[0]}").collect():
            found.add(f"{row[0]}.{table.tableName}")
    return found


def _asked(balance: Balance, sql: str) -> list[dict[str, Any]]:
    try:
        return engine.query(sql).to_pylist()
    except ServiceError:
        raise
    except Exception as error:
        said = str(error).strip().splitlines()
        raise ConfigurationError(
            f"balance {balance.name}",
            f"cannot be computed: {said[0] if said else type(error).__name__}.",
            f"mend it in {DEFINITIONS.name}, or build its tables: {', '.join(map(str, balance.tables))}.",
        ) from error
