"""Where a value comes from: `datong explain TABLE KEY COLUMN`, down to the source rows.

Each step takes one table's row and one of its columns, reads in the SQL that dbt compiled which columns of which tables
it is made of, and finds the rows of those tables that belong to it: by the key columns that both have, else by the
joins of that SQL. Then it proves
them: the table's own SQL is run again over these rows alone, and must give the same value; a step that does not prove
itself says so. At a silver entity the row names its system and key, so the walk goes on in that system's part, down to
the row as the source sent it, with its batch, the contract and its rules, and what stewards decided about the record.

From (table, key, column) to an `Explanation`. ConfigurationError for a table, key or column that is not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from datong_platform import engine
from datong_platform.errors import ConfigurationError, DatongError
from datong_platform.names import public_schema
from datong_platform.standard.sql_text import literal

from datong_assets.dbt import graph as graphs
from datong_assets.dbt import joins
from datong_assets.dbt.graph import Graph, Node

if TYPE_CHECKING:
    from sqlglot import exp

_ROWS = 200
"""Rows of one table that a value is followed into; more are counted and summed up, not listed."""
_DEEP = 12
_LISTED = 25
_NAMED = 100
"""The depth of a row that is named and not followed."""


@dataclass(frozen=True)
class Sent:
    """A row as a source sent it: the fields that the value was made of, as they were sent."""

    system: str
    entity: str
    source_key: str
    batch: str
    ingested_at: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Law:
    """What the standard says of a field: the contract and its version, rules, units, codes; and what people decided."""

    contract: str
    version: str
    rules: tuple[str, ...]
    normalised: tuple[str, ...]
    unit: str
    code_set: str
    decisions: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One value of one row, and the values that it is made of."""

    table: str
    key: Mapping[str, Any]
    column: str
    value: Any
    expression: str = ""
    """The SQL that makes it, where it is more than handing a column on."""
    is_proved: bool | None = None
    """Whether the SQL over the rows found gives this value again; None where it could not be run again."""
    rows: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many rows of each table it is made of."""
    parents: Sequence[Step] = ()
    sent: Sequence[Sent] = ()
    law: Law | None = None
    note: str = ""


def explain(table: str, key: str, column: str) -> Step:
    """The value of a column in the row of this key, and what it was made of, back to the sources.

    `key` is `column=value` pairs separated by commas, enough to name one row. ConfigurationError when the table, the
    column or the row is not there, or several rows have the key.
    """
    return _Walk(graphs.load()).start(table, key, column)


class _Walk:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes = {_relation(node): unique_id for unique_id, node in graph.built.items()}
        self._joins = dict[str, joins.Joins]()

    def start(self, table: str, key: str, column: str) -> Step:
        columns = self._columns(table)
        if table not in self._nodes or not columns:
            raise ConfigurationError(
                f"table {table}", "is not built by the dbt project, or not published yet.", "see `datong inventory`."
            )
        wanted = dict(part.split("=", 1) for part in key.split(",") if "=" in part)
        wanted = {name.strip(): value.strip() for name, value in wanted.items()}
        for name in (column, *wanted):
            if name not in columns:
                raise ConfigurationError(
                    f"column {name} of {table}", "is not there.", f"take one of {', '.join(columns)}."
                )
        where = " and ".join(f"cast({name} as string) = {literal(str(value))}" for name, value in wanted.items())
        rows = _query(f"select * from {table} where {where or 'true'} limit 2")
        if len(rows) != 1:
            names = self._key(table) or columns[:1]
            raise ConfigurationError(
                f"key {key!r} in {table}",
                "names no row." if not rows else "names more than one row.",
                f"write it as {','.join(f'{name}=…' for name in names)}; which there are: "
                f'`datong sql "select {", ".join(names)} from {table}"`.',
            )
        return self._step(table, rows[0], column, 0)

    def _step(self, table: str, row: Mapping[str, Any], column: str, depth: int) -> Step:
        key = {name: row.get(name) for name in self._key(table) or [] if name in row}
        step = Step(table, key, column, row.get(column))
        if depth >= _NAMED:
            return replace(step, key=key or {name: row[name] for name in list(row)[:3]})
        if table.startswith("silver.") and row.get("source_key"):
            return self._silver(row, column, step, depth)
        if depth >= _DEEP:
            return replace(step, note="not followed further")
        unique_id = self._nodes.get(table)
        sql = self._sql(unique_id) if unique_id and not _matched_by(row) else None
        if sql is None:
            return replace(step, note=_matched_by(row) or ("a code list, or made outside dbt" if unique_id else ""))
        try:
            leaves, expression = self._leaves(sql, column)
        except Exception as error:  # noqa: BLE001 - sqlglot raises many kinds; a step that it cannot read is told
            return replace(step, note=f"its SQL could not be read: {str(error).splitlines()[0][:120]}")
        tables = [parent for parent in leaves if not parent.startswith("bronze.")]
        found = self._joined(table, sql, row, {parent: self._matching(table, row, parent) for parent in tables})
        origin = _origin(row, column)
        followed = {name: [column] if origin and column in leaves[name] else leaves[name] for name in tables}
        parents = [*self._parents(followed, found, depth, step.value)]
        if table.startswith("staging.stg_") and f"source_{column}" in row:
            # a code: beside what the crosswalk made of it stands what was sent
            parents.append(self._step(table, row, f"source_{column}", depth + 1))
        return replace(
            step,
            expression=expression,
            is_proved=self._proved(table, sql, row, column, {name: where for name, (where, _) in found.items()}),
            rows={parent: count for parent, (_, count) in found.items()},
            parents=tuple(parents),
            sent=tuple(self._sent(table, row, leaves)),
            note=f"taken from {origin}, which the authority file prefers" if origin else "",
        )

    def _joined(
        self, table: str, sql: str, row: Mapping[str, Any], found: Mapping[str, tuple[str, int]]
    ) -> dict[str, tuple[str, int]]:
        """The rows of each parent that belong to a row, where their names alone did not tell: by the SQL's joins."""
        matched = {parent: one for parent, one in found.items() if one[0] not in {"true", "false"}}
        left = [parent for parent in found if parent not in matched]
        if not left:
            return matched
        if table not in self._joins:
            tree = _parsed(sql)
            try:
                self._joins[table] = joins.read(tree, self._schema(tree))
            except Exception:  # noqa: BLE001 - sqlglot raises many kinds; what it cannot read is counted as a whole
                self._joins[table] = joins.Joins()
        read = self._joins[table]
        sent = _as_sent(table, row)
        key = {name: row[name] for name in self._key(table) or [] if name in row}
        for _ in found:
            for parent in [each for each in left if each not in matched]:
                conditions = read.conditions(parent, key, sent, {name: where for name, (where, _) in matched.items()})
                where = " or ".join(f"({each})" for each in conditions)
                if where and (count := _count(parent, where)):
                    matched[parent] = where, count
        return {**found, **matched}

    def _parents(
        self, leaves: Mapping[str, Sequence[str]], found: Mapping[str, tuple[str, int]], depth: int, value: Any
    ) -> Iterator[Step]:
        for parent, columns in leaves.items():
            where, count = found[parent]
            # a list that is looked up by other columns than the row's own is counted, not followed
            if where in {"true", "false"} or count > _ROWS or parent not in self._nodes:
                continue
            rows = _query(f"select {self._told(parent)} from {parent} where {where} limit {_LISTED}")
            # one that holds the value itself comes first, and so is the one that is followed
            rows.sort(key=lambda row: not any(_same(row.get(name), value) for name in columns))
            for number, row in enumerate(rows):
                for column in columns:
                    # of rows that add up one is followed to its source; the others are named, to be asked about
                    yield self._step(parent, row, column, depth + 1 if number == 0 else _NAMED)

    def _silver(self, row: Mapping[str, Any], column: str, step: Step, depth: int) -> Step:
        """From an entity's row to its system's part: the row as it was read and checked."""
        entity = step.table.partition(".")[2]
        system, source_key = str(row["source_system"]), str(row["source_key"])
        part = f"staging.int_{system}__{entity}"
        law = _law(entity, column, system, source_key)
        if part not in self._nodes or column not in self._columns(part):
            return replace(step, law=law, note="made by the standard's own SQL")
        key = {"source_system": system, "source_key": source_key}
        rows = _query(f"select {self._told(part)} from {part} where {_where(key)} limit 1")
        if not rows:
            return replace(step, law=law, note=f"{part} has this record no more: build to bring silver up to date")
        below = self._step(part, rows[0], column, depth + 1)
        return replace(step, law=law, rows={part: 1}, is_proved=below.value == row.get(column), parents=(below,))

    def _sent(self, table: str, row: Mapping[str, Any], leaves: Mapping[str, Sequence[str]]) -> Iterator[Sent]:
        """What a staging row was made of, as it was sent."""
        if not table.startswith("staging.stg_") or "source_row" not in row:
            return
        sent: Any = row["source_row"]
        sent = json.loads(sent) if isinstance(sent, str) else dict(sent or {})
        for leaf, columns in leaves.items():
            if leaf.startswith("bronze."):
                system, _, entity = leaf.partition(".")[2].partition("__")
                yield Sent(
                    system,
                    entity,
                    str(row.get("source_key")),
                    str(row.get("_datong_batch_id")),
                    str(row.get("_datong_ingested_at")),
                    {name: sent.get(name) for name in columns if not name.startswith("_datong")},
                )

    def _leaves(self, sql: str, column: str) -> tuple[dict[str, list[str]], str]:
        """The columns of tables that a column is made of, and the SQL that makes it."""
        from sqlglot import exp
        from sqlglot.lineage import lineage

        tree = _parsed(sql)
        root = lineage(column, tree.copy(), schema=self._schema(tree), dialect="spark", copy=False)
        found: dict[str, list[str]] = {}
        expressions: list[str] = []
        for node in root.walk():
            made = node.expression.unalias()
            if isinstance(node.source, exp.Table) and not node.downstream:
                columns = found.setdefault(_named(node.source), [])
                if (name := node.name.rpartition(".")[2].strip('`"').lower()) not in columns and name != "*":
                    columns.append(name)
            elif not isinstance(made, exp.Column | exp.Table | exp.Query | exp.Star):
                text = made.sql(dialect="spark")
                if text not in expressions:
                    expressions.append(text)
                if any(isinstance(count.this, exp.Star) for count in made.find_all(exp.Count)):
                    # a count of rows names no column: it is made of the rows themselves, told by their key
                    for counted in _rows_of(node.source, tree):
                        found.setdefault(counted, (self._key(counted) or self._columns(counted))[-1:])
        return {table: self._cased(table, names) for table, names in found.items()}, " ← ".join(expressions)[:600]

    def _cased(self, table: str, names: Sequence[str]) -> list[str]:
        known = {name.lower(): name for name in self._columns(table)}
        return [known.get(name, name) for name in names]

    def _schema(self, tree: exp.Expr) -> dict[str, dict[str, dict[str, str]]]:
        from sqlglot import exp

        found: dict[str, dict[str, dict[str, str]]] = {}
        tables = [table for table in tree.find_all(exp.Table) if table.db]
        # the engine is asked for all of them at once
        with ThreadPoolExecutor(max_workers=4) as pool:
            known = pool.map(_columns_of, [_named(table) for table in tables])
            for table, columns in zip(tables, known, strict=True):
                found.setdefault(table.db, {})[table.name] = dict.fromkeys(columns, "string")
        return found

    def _matching(self, table: str, row: Mapping[str, Any], parent: str) -> tuple[str, int]:
        """The condition for the parent's rows that belong to a row, and how many they are."""
        columns, mine = self._columns(parent), self._key(table) or []
        keys = [*mine, *(self._key(parent) or [])]
        shared = [name for name in columns if name in row and (name in keys or name.endswith("_id"))]
        attempts = [
            [name for name in columns if name in row and name in {"source_system", "source_key"}],
            [name for name in shared if name != "source_key"],
            [name for name in columns if name in row and name in mine and name != "source_key"],
            # another system's rows about the same thing
            [name for name in shared if name not in {"source_system", "source_key"}],
            [name for name in columns if name in row and name in mine and not name.startswith("source_")],
            [],
        ]
        if "source_key" not in columns or "source_key" not in row:
            attempts.pop(0)
        for names in attempts:
            where = _where({name: row[name] for name in names if row[name] is not None}) or "true"
            if count := _count(parent, where):
                return where, count
        return "false", 0

    def _proved(
        self, table: str, sql: str, row: Mapping[str, Any], column: str, found: Mapping[str, str]
    ) -> bool | None:
        """Whether the table's SQL over these rows alone gives the value again."""
        from sqlglot import exp

        key = {name: row[name] for name in self._key(table) or [] if name in row}
        if not key or not found:
            return None
        tree = _parsed(sql).copy()
        for place in list(tree.find_all(exp.Table)):
            where = found.get(_named(place)) if place.db else None
            if where is not None:
                inner = _parsed(f"select * from {_named(place)} where {where}")
                place.replace(exp.Subquery(this=inner.copy(), alias=exp.to_identifier(place.alias_or_name)))
        try:
            rows = _query(f"select {column} from ({tree.sql(dialect='spark')}) as again where {_where(key)}")
        except DatongError:
            return None
        return len(rows) == 1 and _same(rows[0][column], row.get(column))

    def _key(self, table: str) -> list[str] | None:
        if table.startswith(("staging.stg_", "staging.int_")) and "source_key" in self._columns(table):
            return ["source_system", "source_key"]
        return self._keys.get(table)

    @cached_property
    def _keys(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for test in self._graph.tests.values():
            about = test.get("test_metadata") or {}
            node = self._graph.built.get(str(test.get("attached_node")))
            if about.get("name") == "key" and node is not None:
                found[_relation(node)] = list(about["kwargs"]["columns"])
        return found

    def _told(self, table: str) -> str:
        """The columns that are read of a table: of a part not its failures, for which all its rules would be asked."""
        spared = {"_failures"} if table.startswith("staging.stg_") else {"_failures", "source_row"}
        return ", ".join(f"`{name}`" for name in self._columns(table) if name not in spared) or "*"

    def _columns(self, table: str) -> list[str]:
        return list(_columns_of(table))

    def _sql(self, unique_id: str) -> str | None:
        """The SQL that dbt compiled when it last built the node; None for seeds."""
        node = self._graph.built[unique_id]
        if node["resource_type"] != "model":
            return None
        folder = graphs.folder(self._graph.project) / "target" / "compiled" / self._package(unique_id)
        try:
            return (folder / node["original_file_path"]).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"table {_relation(node)}",
                "was not compiled on this machine, so its SQL is not known here.",
                f"run `datong build {node['name']}`.",
            ) from error

    def _package(self, unique_id: str) -> str:
        return unique_id.split(".")[1]


def _rows_of(select: exp.Expr, tree: exp.Expr) -> list[str]:
    """The tables whose rows a query reads first, through the named steps (CTEs) of the whole."""
    from sqlglot import exp

    steps = {step.alias: step.this for step in tree.find_all(exp.CTE)}
    source = select.find(exp.From)
    while source is not None:
        first = source.this
        if isinstance(first, exp.Table) and first.db:
            return [_named(first)]
        inner = steps.pop(first.name, None) if isinstance(first, exp.Table) else first
        source = inner.find(exp.From) if inner is not None else None
    return []


def _law(entity: str, column: str, system: str, source_key: str) -> Law | None:
    """What the contract says of a field, and what is in force about the record."""
    from datong_platform.standard import contract as contracts
    from datong_platform.standard import decisions

    known = contracts.contracts("silver").get(entity)
    if known is None:
        return None
    about = next((each for each in known.columns if each.name == column), None)
    said = [
        f"{each.kind} {each.words} by {each.who}, {each.decided_at:%Y-%m-%d}: {each.why}"
        for each in decisions.active(entity=entity)
        if each.source_system == system and each.source_key == source_key and each.field in {None, column}
    ]
    return Law(
        contract=str(known.path.name),
        version=known.version,
        rules=tuple(rule.name for rule in known.rules_of(column)),
        normalised=tuple(about.normalise) if about else (),
        unit=(about.unit_field or about.currency_field or about.unit or "") if about else "",
        code_set=(about.code_set or "") if about else "",
        decisions=tuple(said),
    )


def _relation(node: Node) -> str:
    return f"{node['schema']}.{node.get('alias') or node['name']}"


def _named(table: exp.Table) -> str:
    """A table of compiled SQL by the name that people read it by."""
    return f"{public_schema(table.db)}.{table.name}"


@lru_cache(maxsize=256)
def _parsed(sql: str) -> exp.Expr:
    import sqlglot

    return sqlglot.parse_one(sql, dialect="spark")


@lru_cache(maxsize=512)
def _columns_of(table: str) -> tuple[str, ...]:
    try:
        # the plan tells them; nothing is read
        return tuple(engine.session().table(table).columns)
    except Exception:  # noqa: BLE001 - each engine has its own kinds; a table that is not there has no columns
        return ()


def _query(sql: str) -> list[dict[str, Any]]:
    try:
        return engine.query(sql).to_pylist()
    except Exception as error:
        raise DatongError("a step of the explanation", f"is refused by the engine: {str(error)[:300]}") from error


def _count(table: str, where: str) -> int:
    return int(_query(f"select count(*) as n from {table} where {where}")[0]["n"])


def _matched_by(row: Mapping[str, Any]) -> str:
    """How a record came to its golden record; empty where the row is none that matching made."""
    if not row.get("golden_id") or not row.get("matched_by"):
        return ""
    score = f", {row['score']:.2f}" if row.get("score") is not None else ""
    return f"put together by matching: {row['matched_by']}{score}"


def _origin(row: Mapping[str, Any], column: str) -> str:
    """Of a golden record's cell the record that it comes from, as system:number; empty of any other."""
    told: Any = row.get("sources")
    return str(told[column]) if isinstance(told, Mapping) and told.get(column) else ""


def _as_sent(table: str, row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The row as it was sent, by the bronze table of a staging view; names in lower case, as in parsed SQL."""
    sent: Any = row.get("source_row")
    if not table.startswith("staging.stg_") or sent is None:
        return {}
    fields = json.loads(sent) if isinstance(sent, str) else dict(sent)
    return {f"bronze.{table.removeprefix('staging.stg_')}": {str(name).lower(): fields[name] for name in fields}}


def _where(key: Mapping[str, Any]) -> str:
    return " and ".join(
        f"cast({name} as string) = cast({literal(str(value))} as string)" for name, value in key.items()
    )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Decimal | int | float) and isinstance(other, Decimal | int | float):
        return Decimal(str(one)) == Decimal(str(other))
    return one == other
