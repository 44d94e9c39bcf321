"""What a model's SQL says of which rows belong together: its keys, and the equalities of its joins.

    from record join golden on record.source_system = golden.source_system     rows of the one are found by the other
    golden.golden_id as customer_id                                            the model's key names rows of golden

From compiled SQL to `Joins`. Only equalities of plain columns and of fixed values are understood; no engine is asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from datong_platform.names import public_schema
from datong_platform.standard.sql_text import literal

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope


@dataclass(frozen=True)
class Place:
    """A column of a table, at one of the places at which the SQL reads that table."""

    table: str
    column: str
    at: str


@dataclass
class Joins:
    """Which rows of the tables that a model reads belong to one of its rows."""

    keys: dict[str, Place] = field(default_factory=dict[str, Place])
    """The model's columns that are handed on as they are, and where from."""
    pairs: dict[Place, list[Place]] = field(default_factory=lambda: defaultdict(list))
    """What a column must be equal to for its row to be joined."""
    fixed: dict[Place, str] = field(default_factory=dict[Place, str])
    """Columns that must be a value, as SQL."""

    def conditions(
        self, table: str, known: Mapping[str, Any], sent: Mapping[str, Mapping[str, Any]], found: Mapping[str, str]
    ) -> list[str]:
        """Conditions, any of which a row of the table fulfils that belongs to a row.

        `known`: that row's key; `sent`: a row of other tables; `found`: the condition of those rows of other tables
        that belong to it. Empty when nothing leads to the table.
        """
        made: list[str] = []
        for at in dict.fromkeys(place.at for place in self._places() if place.table == table):
            parts = [
                f"cast({place.column} as string) = {literal(str(known[name]))}"
                for name, place in self.keys.items()
                if (place.table, place.at) == (table, at) and known.get(name) is not None
            ]
            others: dict[str, list[tuple[str, str]]] = defaultdict(list)
            for place, equal in self.pairs.items():
                if (place.table, place.at) != (table, at):
                    continue
                for other in equal:
                    if (value := sent.get(other.table, {}).get(other.column)) is not None:
                        parts.append(f"cast({place.column} as string) = {literal(str(value))}")
                    elif other.table in found:
                        others[other.table].append((place.column, other.column))
            parts += [
                f"{_together([mine for mine, _ in pairs])} in "
                f"(select {_together([theirs for _, theirs in pairs])} from {other} where {found[other]})"
                for other, pairs in others.items()
            ]
            if parts:
                parts += [f"{p.column} = {text}" for p, text in self.fixed.items() if (p.table, p.at) == (table, at)]
                made.append(" and ".join(dict.fromkeys(parts)))
        return list(dict.fromkeys(made))

    def _places(self) -> Iterator[Place]:
        yield from self.keys.values()
        yield from self.pairs


def read(tree: exp.Expr, schema: Mapping[str, Any]) -> Joins:
    """The joins of a query; `schema` are the columns of its tables. SqlglotError for SQL that cannot be read."""
    from sqlglot import exp
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    whole = qualify(tree.copy(), dialect="spark", schema=dict(schema), validate_qualify_columns=False, identify=False)
    root = build_scope(whole)
    joins = Joins()
    if root is None or not isinstance(root.expression, exp.Select):
        return joins
    for selected in root.expression.selects:
        if (place := _leaf(root, selected.unalias())) is not None:
            joins.keys[selected.alias_or_name] = place
    for scope in root.traverse():
        if isinstance(scope.expression, exp.Select):
            for join in scope.expression.args.get("joins") or []:
                _add(joins, scope, join)
    return joins


def _add(joins: Joins, scope: Scope, join: exp.Join) -> None:
    """The equalities of one join: they hold for what is joined, and for the other side if rows without are left out."""
    from sqlglot import exp

    on = join.args.get("on")
    for equal in (part for part in (on.flatten() if isinstance(on, exp.And) else [on]) if isinstance(part, exp.EQ)):
        sides = [side.unnest() for side in (equal.left, equal.right)]
        for mine, other in (sides, sides[::-1]):
            place = _leaf(scope, mine)
            is_joined = isinstance(mine, exp.Column) and mine.table == join.alias_or_name
            if place is None or not (is_joined or not join.side):
                continue
            if isinstance(other, exp.Literal):
                joins.fixed[place] = other.sql(dialect="spark")
            elif (its := _leaf(scope, other)) is not None:
                joins.pairs[place].append(its)


def _leaf(scope: Scope, made: exp.Expr) -> Place | None:
    """The table's column that an expression is, through all the names that it goes by; None when it is made of it."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope

    if not isinstance(made, exp.Column):
        return None
    source = scope.sources.get(made.table)
    if isinstance(source, exp.Table):
        return Place(f"{public_schema(source.db)}.{source.name}", made.name, str(id(source)))
    if isinstance(source, Scope) and isinstance(source.expression, exp.Select):
        inner = next((each for each in source.expression.selects if each.alias_or_name == made.name), None)
        return None if inner is None else _leaf(source, inner.unalias())
    return None


def _together(columns: Sequence[str]) -> str:
    """Several columns as one text, to be compared at once."""
    return f"concat_ws('|', {', '.join(f'cast({name} as string)' for name in columns)})"
