"""Quantities and amounts are added, compared and summed only in one unit or one currency.

From the SQL of models (rendered without any service) and the contracts' `unit_field`, `unit` and `currency_field` to
violations: model, line, column, what was put together. The unit of a column is what the SQL proves of it:

- a fixed code: by the contract, or by `where unit = 'KGM'`;
- the value of another column, carried along, equated in a join, or grouped by;
- a function of other columns: of a table's key (test `key`), or of those that `units_decided_by` in dbt_project.yml
  names and a test proves. Such a unit needs not be carried along: who groups by its columns has one unit in each group.

A quantity times the factor of a column with `meta.converts` is in that table's target unit.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from datong_platform.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlglot import exp

    from datong_platform.standard.contract import Contract

Dimension = Literal["unit", "currency"]
Ident = tuple[int, str]
"""A column of one relation in one FROM clause."""


@dataclass(frozen=True)
class Term:
    """One way to say what a unit is: a fixed code (`fixed`), a function of columns (`label`), or a column itself."""

    label: str
    columns: tuple[str, ...] = ()
    is_fixed: bool = False


COLUMN = ""
"""The label of a term that is the column itself."""


@dataclass(frozen=True)
class Measure:
    """That a column is a quantity or an amount, and all that is known of its unit; no term when it was lost."""

    dimension: Dimension
    terms: frozenset[Term]


@dataclass(frozen=True)
class Relation:
    """What is known of a table, or of a query's result."""

    measures: Mapping[str, Measure] = field(default_factory=dict[str, Measure])
    units: Mapping[str, frozenset[Term]] = field(default_factory=dict[str, frozenset[Term]])
    """What else is known of columns that hold units: functions of other columns."""
    converts: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """Factors: the columns from whose unit and to whose unit they lead."""
    fixed: Mapping[str, str] = field(default_factory=dict[str, str])
    """Columns that hold one value in all rows."""


@dataclass(frozen=True)
class Model:
    """A model to look at: `relation` as other models name it, its file's text, and its SQL rendered."""

    name: str
    relation: str
    path: str
    text: str
    sql: str


@dataclass(frozen=True)
class Violation:
    """Where quantities or amounts of different units meet."""

    model: str
    path: str
    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.model}.{self.column}: {self.reason}"


def check(models: Iterable[Model], known: Mapping[str, Relation]) -> list[Violation]:
    """The violations of `models`, which come in the order in which they are built; `known` are the tables they read."""
    relations = dict(known)
    found: list[Violation] = []
    for model in models:
        result, violations = check_one(model, relations)
        declared = relations.get(model.relation, Relation())
        relations[model.relation] = Relation(
            {**result.measures, **declared.measures},
            {**result.units, **declared.units},
            {**result.converts, **declared.converts},
            result.fixed,
        )
        found += violations
    return found


def check_one(model: Model, relations: Mapping[str, Relation]) -> tuple[Relation, list[Violation]]:
    """What the model's columns are, and its violations. ConfigurationError when its SQL cannot be parsed."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        tree = sqlglot.parse_one(model.sql, read="spark")
    except SqlglotError as error:
        raise ConfigurationError(
            f"model {model.name}", f"cannot be parsed: {error}.", f"mend {model.path}; dbt would fail on it, too."
        ) from error
    analysis = _Analysis(model, relations)
    return analysis.query(tree, {}), analysis.violations


@dataclass(frozen=True)
class _Value:
    """What an expression is: a measure, a plain column, a factor, a literal, or none of these."""

    measure: Measure | None = None
    ident: Ident | None = None
    converts: tuple[Ident, Ident] | None = None
    literal: str | None = None
    is_neutral: bool = False
    """A literal: zero or null can be added to anything."""


class _Scope:
    """The relations of one FROM clause, and which of their columns are equal."""

    def __init__(self) -> None:
        self.sources: dict[str, tuple[int, Relation]] = {}
        self.parent: dict[Ident, Ident] = {}

    def root(self, ident: Ident) -> Ident:
        """The one of all equal columns that stands for them; a constant, when they are equal to one."""
        while ident in self.parent:
            ident = self.parent[ident]
        return ident

    def equate(self, left: Ident, right: Ident) -> None:
        one, other = self.root(left), self.root(right)
        if one[0] == _CONSTANT:
            one, other = other, one
        if one != other and one[0] != _CONSTANT:
            self.parent[one] = other

    def fix(self, ident: Ident, code: str) -> None:
        self.equate(ident, (_CONSTANT, code))

    def copy(self) -> _Scope:
        made = _Scope()
        made.sources, made.parent = self.sources, dict(self.parent)
        return made


_CONSTANT = 0
"""The number of the relation to which constants belong: (0, 'erp') is the text erp."""

Canonical = tuple[str, tuple[Ident, ...] | str]


class _Analysis:
    def __init__(self, model: Model, relations: Mapping[str, Relation]) -> None:
        self.model = model
        self.relations = relations
        self.violations: list[Violation] = []
        self.count = 0
        self.named: Mapping[str, Relation] = {}
        self.made: dict[Term, Canonical] = {}
        self.output = ""
        self.line = 1
        self.lines = _raw_lines(model.text, model.sql)

    # -- queries ------------------------------------------------------------------------------------------------------

    def query(self, tree: exp.Expr, outer: Mapping[str, Relation]) -> Relation:
        from sqlglot import exp

        named = dict(outer)
        with_ = tree.args.get("with_") or tree.args.get("with")
        for cte in with_.expressions if with_ else ():
            named[cte.alias.lower()] = self.query(cte.this, named)
        if isinstance(tree, exp.Subquery | exp.Paren):
            return self.query(tree.this, named)
        if isinstance(tree, exp.SetOperation):
            return self._union(self.query(tree.left, named), self.query(tree.right, named))
        if isinstance(tree, exp.Select):
            return self._select(tree, named)
        return Relation()

    def _union(self, left: Relation, right: Relation) -> Relation:
        measures: dict[str, Measure] = {}
        for name in left.measures.keys() | right.measures.keys():
            one, other = left.measures.get(name), right.measures.get(name)
            if one and other:
                measures[name] = Measure(one.dimension, one.terms & other.terms)
            else:
                # the other branch gives null, or a number of which nothing is known
                measures.update((name, known) for known in (one, other) if known)
        units = {name: left.units[name] & right.units[name] for name in left.units.keys() & right.units.keys()}
        return Relation(measures, units)

    def _select(self, tree: exp.Select, named: Mapping[str, Relation]) -> Relation:
        self.named = named
        scope = self._from(tree, named)
        self.named = named
        group = tree.args.get("group")
        grouped = self._grouped(tree, group, scope)
        for clause in ("having", "qualify", "order"):
            if part := tree.args.get(clause):
                self._at(part, clause)
                for child in part.expressions or [part.this]:
                    self.value(child, scope, grouped)
        columns: dict[str, _Value] = {}
        stars: list[tuple[int, Relation]] = []
        for item in tree.expressions:
            if item.is_star and not item.alias:
                table = item.table.lower() if hasattr(item, "table") else ""
                stars += [source for name, source in scope.sources.items() if table in {"", name}]
                continue
            name = item.alias_or_name.lower()
            self._at(item, name)
            columns[name] = self.value(item.unalias(), scope, grouped)
        return self._result(scope, columns, stars)

    def _from(self, tree: exp.Select, named: Mapping[str, Relation]) -> _Scope:
        """The relations that a select reads, with what its joins and its filter equate; both are looked through."""
        scope = _Scope()
        from_ = tree.args.get("from_") or tree.args.get("from")
        joins: list[exp.Join] = list(tree.args.get("joins") or ())
        for source in [from_.this] if from_ else []:
            self._add(source, scope, named)
        for join in joins:
            self._add(join.this, scope, named)
            self._equate(join.args.get("on"), scope)
            for column in join.args.get("using") or ():
                self._equate_using(column.name, scope)
        where = tree.args.get("where")
        if where:
            self._equate(where.this, scope)
        for join in joins:
            if on := join.args.get("on"):
                self._at(on, "on")
                self.value(on, scope, None)
        if where:
            self._at(where, "where")
            self.value(where.this, scope, None)
        return scope

    def _grouped(self, tree: exp.Select, group: exp.Expr | None, scope: _Scope) -> list[Ident] | None:
        """The columns grouped by; an empty list for one group of all rows, None when nothing is aggregated."""
        from sqlglot import exp

        if group is None:
            aggregates = any(
                not agg.find_ancestor(exp.Window) and agg.parent_select is tree
                for item in tree.expressions
                for agg in item.find_all(exp.AggFunc)
                if not isinstance(agg.parent, exp.Window)
            )
            return [] if aggregates else None
        found: list[Ident] = []
        for item in group.expressions:
            target = item
            if isinstance(item, exp.Literal) and item.is_int:
                target = tree.expressions[int(item.name) - 1].unalias()
            value = self.value(target, scope, None)
            if value.ident:
                found.append(value.ident)
        return found

    def _result(self, scope: _Scope, columns: Mapping[str, _Value], stars: Sequence[tuple[int, Relation]]) -> Relation:
        names: dict[Ident, str] = {}
        for number, relation in stars:
            for name in {*relation.measures, *relation.units, *relation.converts, *_columns_of(relation)}:
                names.setdefault(scope.root((number, name)), name)
        for name, value in columns.items():
            if value.ident:
                names.setdefault(scope.root(value.ident), name)
        star_numbers = {number for number, _ in stars}

        def told(ident: Ident) -> str | None:
            root = scope.root(ident)
            if root[0] == _CONSTANT:
                return f"={root[1]}"
            if root in names:
                return names[root]
            equal = (ident, root, *(each for each in scope.parent if scope.root(each) == root))
            return next((each[1] for each in equal if each[0] in star_numbers), None)

        def outward(terms: Iterable[Canonical]) -> frozenset[Term]:
            made: set[Term] = set()
            for label, arguments in terms:
                if isinstance(arguments, str):
                    made.add(Term(arguments, is_fixed=True))
                    continue
                found = [told(each) for each in arguments]
                if all(each is not None for each in found):
                    made.add(Term(label, tuple(each for each in found if each is not None)))
            return frozenset(made)

        measures: dict[str, Measure] = {}
        units: dict[str, frozenset[Term]] = {}
        converts: dict[str, tuple[str, str]] = {}
        fixed = {
            each[1]: scope.root(each)[1]
            for each in scope.parent
            if each[0] in star_numbers and scope.root(each)[0] == _CONSTANT
        }

        def publish(name: str, value: _Value) -> None:
            if value.measure:
                measures[name] = Measure(value.measure.dimension, outward(self._canonical(value, scope)))
            elif value.ident and (known := self._functions(value.ident, scope)):
                units[name] = outward(known)
            if value.converts:
                ends = (told(value.converts[0]), told(value.converts[1]))
                if ends[0] is not None and ends[1] is not None:
                    converts[name] = (ends[0], ends[1])

        for number, relation in stars:
            for name in {*relation.measures, *relation.units, *relation.converts}:
                publish(name, self._column((number, name), relation))
        for name, value in columns.items():
            for known in (measures, units, converts, fixed):
                known.pop(name, None)
            publish(name, value)
            if value.literal is not None:
                fixed[name] = value.literal
            elif value.ident and scope.root(value.ident)[0] == _CONSTANT:
                fixed[name] = scope.root(value.ident)[1]
        return Relation(measures, units, converts, fixed)

    def _add(self, source: exp.Expr, scope: _Scope, named: Mapping[str, Relation]) -> None:
        from sqlglot import exp

        self.count += 1
        number = self.count
        if isinstance(source, exp.Subquery):
            relation = self.query(source.this, named)
            scope.sources[source.alias.lower()] = (number, relation)
        elif isinstance(source, exp.Table):
            name = ".".join(part.name for part in source.parts).lower().replace("`", "")
            relation = named.get(name) or self.relations.get(name) or Relation()
            scope.sources[(source.alias or source.name).lower()] = (number, relation)
        else:
            return
        for column, constant in relation.fixed.items():
            scope.fix((number, column), constant)

    def _equate(self, condition: exp.Expr | None, scope: _Scope) -> None:
        from sqlglot import exp

        if condition is None:
            return
        if isinstance(condition, exp.Paren):
            self._equate(condition.this, scope)
        elif isinstance(condition, exp.And):
            self._equate(condition.left, scope)
            self._equate(condition.right, scope)
        elif isinstance(condition, exp.EQ | exp.NullSafeEQ):
            one, other = self._plain(condition.left, scope), self._plain(condition.right, scope)
            if one.ident and other.ident:
                scope.equate(one.ident, other.ident)
            elif one.ident and other.literal is not None:
                scope.fix(one.ident, other.literal)
            elif other.ident and one.literal is not None:
                scope.fix(other.ident, one.literal)

    def _equate_using(self, name: str, scope: _Scope) -> None:
        numbers = [number for number, _ in scope.sources.values()]
        for number in numbers[1:]:
            scope.equate((numbers[0], name.lower()), (number, name.lower()))

    def _plain(self, item: exp.Expr, scope: _Scope) -> _Value:
        from sqlglot import exp

        if isinstance(item, exp.Column):
            return self._lookup(item, scope)
        if isinstance(item, exp.Literal) and item.is_string:
            return _Value(literal=item.name)
        return _Value()

    # -- values -------------------------------------------------------------------------------------------------------

    def _lookup(self, item: exp.Column, scope: _Scope) -> _Value:
        name, table = item.name.lower(), item.table.lower()
        if table:
            source = scope.sources.get(table)
            return self._column((source[0], name), source[1]) if source else _Value()
        owners = [each for each in scope.sources.values() if name in _columns_of(each[1])]
        if not owners and len(scope.sources) == 1:
            owners = list(scope.sources.values())
        return self._column((owners[0][0], name), owners[0][1]) if owners else _Value()

    def _column(self, ident: Ident, relation: Relation) -> _Value:
        number, name = ident
        converts = relation.converts.get(name)
        return _Value(
            measure=relation.measures.get(name),
            ident=ident,
            converts=((number, converts[0]), (number, converts[1])) if converts else None,
        )

    def _functions(self, ident: Ident, scope: _Scope) -> set[Canonical]:
        """The functions that a unit column, or one equal to it, is of other columns."""
        found: set[Canonical] = set()
        for number, relation in scope.sources.values():
            for name, terms in relation.units.items():
                if scope.root((number, name)) == scope.root(ident):
                    found |= {self._resolved(term, number, scope) for term in terms}
        return found

    def _resolved(self, term: Term, number: int, scope: _Scope) -> Canonical:
        if term.is_fixed:
            return ("=", term.label)
        arguments = tuple(
            (_CONSTANT, column[1:]) if column.startswith("=") else scope.root((number, column))
            for column in term.columns
        )
        if term.label == COLUMN and arguments[0][0] == _CONSTANT:
            return ("=", arguments[0][1])
        return (term.label, arguments)

    def _canonical(self, value: _Value, scope: _Scope) -> set[Canonical]:
        """Everything that is known of the unit of a measure here: its own terms, the columns that these are equal to,
        and the functions that those are of others.
        """
        if value.measure is None:
            return set()
        number = value.ident[0] if value.ident else _CONSTANT
        found = {
            self._resolved(term, number, scope) if value.ident else self.made[term] for term in value.measure.terms
        }
        columns = {
            (owner, name): {self._resolved(term, owner, scope) for term in terms}
            for owner, relation in scope.sources.values()
            for name, terms in relation.units.items()
        }
        while True:
            more = set(found)
            for ident, functions in columns.items():
                column = self._resolved(Term(COLUMN, (ident[1],)), ident[0], scope)
                if column in more or functions & more:
                    more |= {column, *functions}
            # what was found in another scope, as in the branch of a case, may be equal to more in this one
            more |= {
                (label, tuple(scope.root(each) for each in arguments))
                for label, arguments in more
                if not isinstance(arguments, str)
            }
            if more == found:
                return found
            found = more

    def _made(self, dimension: Dimension, terms: Iterable[Canonical]) -> _Value:
        """A measure that is no column: its terms are kept as they were found in this scope."""
        kept: set[Term] = set()
        for canonical in terms:
            term = Term(repr(canonical))
            self.made[term] = canonical
            kept.add(term)
        return _Value(measure=Measure(dimension, frozenset(kept)))

    def value(  # noqa: PLR0911, PLR0912 - one branch for each kind of expression
        self, item: exp.Expr, scope: _Scope, grouped: list[Ident] | None
    ) -> _Value:
        """What an expression is; violations in it are written down."""
        from sqlglot import exp

        if isinstance(item, exp.Column):
            return self._lookup(item, scope)
        if isinstance(item, exp.Null | exp.Literal):
            return _Value(
                literal=item.name if isinstance(item, exp.Literal) and item.is_string else None, is_neutral=True
            )
        if isinstance(item, exp.Subquery | exp.Select | exp.SetOperation):
            self.query(item, self.named)
            return _Value()
        if isinstance(item, exp.Window):
            partition = [self.value(each, scope, None).ident for each in item.args.get("partition_by") or ()]
            return self._aggregate(item.this, scope, [each for each in partition if each])
        if isinstance(item, exp.Sum | exp.Avg | exp.Min | exp.Max | exp.AnyValue | exp.Median):
            return self._aggregate(item, scope, grouped or [])
        if isinstance(item, exp.Add | exp.Sub):
            verb = "added to" if isinstance(item, exp.Add) else "subtracted from"
            return self._together([item.left, item.right], scope, grouped, verb)
        if isinstance(item, exp.Coalesce | exp.Greatest | exp.Least):
            return self._together([item.this, *item.expressions], scope, grouped, "put in place of")
        if isinstance(item, exp.Case):
            return self._case(item, scope, grouped)
        if isinstance(item, exp.If):
            parts = [part for part in (item.args.get("true"), item.args.get("false")) if part]
            self.value(item.this, scope, grouped)
            return self._together(parts, scope, grouped, "put in place of")
        if isinstance(item, exp.GT | exp.GTE | exp.LT | exp.LTE | exp.EQ | exp.NEQ):
            self._together([item.left, item.right], scope, grouped, "compared with")
            return _Value()
        if isinstance(item, exp.Mul):
            return self._product(self.value(item.left, scope, grouped), self.value(item.right, scope, grouped), scope)
        if isinstance(item, exp.Div):
            return self._quotient(self.value(item.left, scope, grouped), self.value(item.right, scope, grouped), scope)
        if isinstance(item, exp.Nullif):
            self.value(item.expression, scope, grouped)
            return self.value(item.this, scope, grouped)
        if isinstance(item, exp.Paren | exp.Cast | exp.Neg | exp.Abs | exp.Round | exp.Floor | exp.Ceil | exp.Alias):
            return self.value(item.this, scope, grouped)
        for child in item.iter_expressions():
            self.value(child, scope, grouped)
        return _Value()

    def _case(self, item: exp.Case, scope: _Scope, grouped: list[Ident] | None) -> _Value:
        results: list[_Value] = []
        for branch in item.args.get("ifs") or ():
            inside = scope.copy()
            if item.this is None:
                self._equate(branch.this, inside)
            self.value(branch.this, scope, grouped)
            value = self.value(branch.args["true"], inside, grouped)
            if value.measure:
                value = self._made(value.measure.dimension, self._canonical(value, inside))
            results.append(value)
        if default := item.args.get("default"):
            results.append(self.value(default, scope, grouped))
        return self._combined(results, scope, "put in place of")

    def _together(self, items: Sequence[exp.Expr], scope: _Scope, grouped: list[Ident] | None, verb: str) -> _Value:
        return self._combined([self.value(item, scope, grouped) for item in items], scope, verb)

    def _combined(self, values: Sequence[_Value], scope: _Scope, verb: str) -> _Value:
        measured = [(value, value.measure) for value in values if value.measure]
        if not measured:
            conversions = [value for value in values if value.converts]
            if conversions and all(value.converts or value.is_neutral for value in values):
                return conversions[0]
            return _Value()
        (first, measure), *others = measured
        common = self._canonical(first, scope)
        for other, theirs in others:
            if theirs.dimension != measure.dimension:
                self._violated(f"an amount is {verb} a quantity.")
                return _Value()
            terms = self._canonical(other, scope)
            if not common & terms:
                self._violated(
                    f"{_WORDS[theirs.dimension]} {self._said(terms)} is {verb} {_WORDS[measure.dimension]} "
                    f"{self._said(common)}, and nothing says that the two are the same: convert one, or join or "
                    f"group by the {measure.dimension}."
                )
                return _Value()
            common &= terms
        return first if first.ident and not others else self._made(measure.dimension, common)

    def _product(self, left: _Value, right: _Value, scope: _Scope) -> _Value:
        for one, other in ((left, right), (right, left)):
            if one.measure and other.converts:
                target = self._canonical(
                    _Value(
                        measure=Measure(one.measure.dimension, frozenset({Term(COLUMN, (other.converts[1][1],))})),
                        ident=other.converts[1],
                    ),
                    scope,
                )
                return self._made(one.measure.dimension, target)
        if left.measure and right.measure:
            prices = [value for value in (left, right) if value.measure and value.measure.dimension == "currency"]
            return self._made("currency", self._canonical(prices[0], scope)) if len(prices) == 1 else _Value()
        one = left if left.measure else right
        return self._made(one.measure.dimension, self._canonical(one, scope)) if one.measure else _Value()

    def _quotient(self, left: _Value, right: _Value, scope: _Scope) -> _Value:
        if left.measure and right.measure and left.measure.dimension == right.measure.dimension:
            self._combined([left, right], scope, "divided by")
            return _Value()
        if left.measure and not right.converts:
            return self._made(left.measure.dimension, self._canonical(left, scope))
        return _Value()

    def _aggregate(self, item: exp.Expr, scope: _Scope, grouped: Sequence[Ident]) -> _Value:
        from sqlglot import exp

        if isinstance(item, exp.Lag | exp.Lead | exp.FirstValue | exp.LastValue | exp.IgnoreNulls):
            return self.value(item.this, scope, None)
        if not isinstance(item, exp.Sum | exp.Avg | exp.Min | exp.Max | exp.AnyValue | exp.Median):
            for child in item.iter_expressions():
                self.value(child, scope, None)
            return _Value()
        value = self.value(item.this, scope, None)
        if value.measure is None:
            # the one unit of a group, told by min or max, is still that unit
            return value if isinstance(item, exp.Min | exp.Max | exp.AnyValue) and value.ident else _Value()
        roots = {scope.root(each) for each in grouped}
        terms = self._canonical(value, scope)
        if not any(
            isinstance(arguments, str) or all(each[0] == _CONSTANT or scope.root(each) in roots for each in arguments)
            for _, arguments in terms
        ):
            what = "quantities" if value.measure.dimension == "unit" else "amounts"
            self._violated(
                f"{item.key} over {what} {self._said(terms)}, of which a group can hold several: group by the "
                f"{value.measure.dimension}, convert, or let `units_decided_by` in dbt_project.yml say what decides it."
            )
            return _Value()
        return self._made(value.measure.dimension, terms)

    # -- words --------------------------------------------------------------------------------------------------------

    def _said(self, terms: Iterable[Canonical]) -> str:
        words = sorted(
            arguments if isinstance(arguments, str) else arguments[0][1]
            for label, arguments in terms
            if label in {COLUMN, "="} and arguments
        ) or sorted(label for label, _ in terms)
        return f"in {words[0]}" if words else "of a unit that was left out before"

    def _at(self, item: exp.Expr, output: str) -> None:
        self.output = output
        for part in item.walk():
            if line := part.meta.get("line"):
                self.line = int(line)
                return

    def _violated(self, reason: str) -> None:
        line = self.lines[min(self.line, len(self.lines)) - 1] if self.lines else 1
        found = Violation(self.model.name, self.model.path, line, self.output, reason)
        if found not in self.violations:
            self.violations.append(found)


_WORDS: dict[Dimension, str] = {"unit": "a quantity", "currency": "an amount"}


def _columns_of(relation: Relation) -> set[str]:
    """The columns of a relation that anything is known of."""
    named = {
        column
        for terms in (*(each.terms for each in relation.measures.values()), *relation.units.values())
        for term in terms
        if not term.is_fixed
        for column in term.columns
    }
    ends = {column for pair in relation.converts.values() for column in pair}
    return {*relation.measures, *relation.units, *relation.converts, *named, *ends}


def _raw_lines(text: str, sql: str) -> list[int]:
    """For each line of the rendered SQL, the line of the file that it comes from."""
    rendered, raw = sql.splitlines(), text.splitlines()
    found = [0] * len(rendered)
    for block in difflib.SequenceMatcher(None, rendered, raw, autojunk=False).get_matching_blocks():
        for step in range(block.size):
            found[block.a + step] = block.b + step + 1
    last = 1
    for place, line in enumerate(found):
        if line == 0:
            found[place] = last
        else:
            last = line
    return found


def relation_with(
    base: Relation, *, keys: Iterable[Sequence[str]] = (), label: str = "", decided: Iterable[Decided] = ()
) -> Relation:
    """`base` with what tests prove: every unit column is a function of the table's key, and of what decides it."""
    units = {name: set(terms) for name, terms in base.units.items()}
    for column in {term.columns[0] for each in base.measures.values() for term in each.terms if term.label == COLUMN}:
        for key in keys:
            if column not in key:
                units.setdefault(column, set()).add(Term(f"{label}.{column}", tuple(key)))
    for each in decided:
        units.setdefault(each.unit, set()).add(Term(each.same_as or f"{label}.{each.unit}", each.columns))
    return dataclasses.replace(base, units={name: frozenset(terms) for name, terms in units.items()})


@dataclass(frozen=True)
class Decided:
    """That a test proves: `unit` is one for each combination of `columns`; `same_as` names the function, as in
    material.base_unit, which other tables can share.
    """

    unit: str
    columns: tuple[str, ...]
    same_as: str | None = None


def relation_of(contract: Contract) -> Relation:
    """What a contract says of its table's quantities and amounts."""
    measures: dict[str, Measure] = {}
    for each in contract.fields:
        if each.unit_field:
            measures[each.name] = Measure("unit", frozenset({Term(COLUMN, (each.unit_field,))}))
        elif each.unit:
            measures[each.name] = Measure("unit", frozenset({Term(each.unit, is_fixed=True)}))
        elif each.currency_field:
            measures[each.name] = Measure("currency", frozenset({Term(COLUMN, (each.currency_field,))}))
    return Relation(measures)
