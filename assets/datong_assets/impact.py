"""What a change of a contract hits: gold and serve tables, and write-back flows.

From `datong_platform.standard.diff.Change`s to the tables that read the changed column, through the project's lineage
column by column. The SQL of gold and serve is rendered from the models' files and read by sqlglot, without the engine;
a column counts as read where the SQL selects it, joins or filters by it, or passes it on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datong_ingestion.two_way.config import load_flows_and_ways
from datong_ingestion.write_back.config import FlowConfig
from datong_platform import settings
from datong_platform.errors import ConfigurationError
from datong_platform.standard.contract import contracts
from datong_platform.standard.diff import Change

from datong_assets.dbt.graph import Graph, Node, load
from datong_assets.dbt.render import Renderer

if TYPE_CHECKING:
    from sqlglot import exp

_LAYERS = ("models/gold/", "models/serve/")
Column = tuple[str, str]
"""A table with its schema, and one of its columns."""


@dataclass(frozen=True)
class Impact:
    """What one change hits."""

    change: Change
    gold: tuple[str, ...] = ()
    serve: tuple[str, ...] = ()
    flows: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Reads:
    """What a model reads: columns anywhere in its SQL, and for each of its own columns those that it is made of."""

    anywhere: frozenset[Column]
    made_of: Mapping[str, frozenset[Column]]


@dataclass
class Lineage:
    """The columns of gold and serve, and what they are made of. Reads the project when it is first asked."""

    graph: Graph
    flows: Mapping[str, FlowConfig]
    extra_columns: Mapping[str, Iterable[str]] = field(default_factory=dict[str, Iterable[str]])
    """Columns that a table had at the revision compared with, so that models which still read them are found."""

    def impact(self, change: Change) -> Impact:
        """The tables and flows that read the changed column, or any column of the table when it is the whole table."""
        names = [change.field] if change.field else self._columns_of(change.table)
        hit: dict[str, set[str]] = {change.table: set(names)}
        for table, reads in self._models.items():
            own = {
                column
                for column, origins in reads.made_of.items()
                if any(name in hit.get(parent, ()) for parent, name in origins)
            }
            if own or any(name in hit.get(parent, ()) for parent, name in reads.anywhere):
                hit.setdefault(table, set()).update(own)
        flows = [
            name
            for name, flow in self.flows.items()
            if flow.source in hit and (flow.source == change.table or hit[flow.source])
            if not hit[flow.source] or hit[flow.source] & set(flow.columns)
        ]
        found = [table for table in hit if table != change.table]
        return Impact(
            change,
            tuple(sorted(table for table in found if table.startswith("gold."))),
            tuple(sorted(table for table in found if table.startswith("serve."))),
            tuple(sorted(flows)),
        )

    def _columns_of(self, table: str) -> list[str]:
        return list(self._schema.get(table, ()))

    @cached_property
    def _schema(self) -> dict[str, list[str]]:
        """The columns of every table that models read, as contracts and properties declare them."""
        found: dict[str, list[str]] = {}
        for node in self.graph.built.values():
            found[_relation(node)] = [str(each["name"]) for each in (node.get("columns") or {}).values()]
        for each in contracts().values():
            found[each.table] = [field.name for field in each.columns]
        for table, names in self.extra_columns.items():
            found[table] = list(dict.fromkeys([*found.get(table, []), *names]))
        return found

    @cached_property
    def _models(self) -> dict[str, _Reads]:
        """gold and serve in the order in which they are built, so that one pass follows a column all the way."""
        renderer = Renderer(self.graph)
        found: dict[str, _Reads] = {}
        for unique_id in self.graph.in_order:
            node = self.graph.built[unique_id]
            path = str(node["original_file_path"])
            if node["resource_type"] == "model" and path.startswith(_LAYERS):
                text = (self.graph.project / path).read_text("utf-8")
                sql = renderer.sql(str(node["name"]), text)
                found[_relation(node)] = _reads(sql, self._schema, f"{self.graph.project.name}/{path}")
        return found


def impacts(
    changes: Iterable[Change], old_columns: Mapping[str, Iterable[str]], project: Path = settings.DBT_PROJECT
) -> list[Impact]:
    """What each change hits. `old_columns` are those that the contracts had, by table."""
    lineage = Lineage(load(project), load_flows_and_ways(), old_columns)
    return [lineage.impact(change) for change in changes]


def _relation(node: Node) -> str:
    return f"{node['schema']}.{node.get('alias') or node['name']}".lower()


def _reads(sql: str, schema: Mapping[str, Iterable[str]], path: str) -> _Reads:
    """What the SQL of a model reads. ConfigurationError when it cannot be parsed."""
    import sqlglot
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.scope import build_scope

    try:
        tree = sqlglot.parse_one(sql, read="spark")
        root = build_scope(tree)
    except SqlglotError as error:
        raise ConfigurationError(f"model {path}", f"cannot be parsed: {error}.", f"mend {path}.") from error
    if root is None:
        return _Reads(frozenset(), {})
    reader = _Scopes(schema)
    made_of = reader.columns(root)
    return _Reads(frozenset(reader.anywhere), {name: frozenset(origins) for name, origins in made_of.items()})


class _Scopes:
    """Follows columns through the CTEs and subqueries of one statement."""

    def __init__(self, schema: Mapping[str, Iterable[str]]) -> None:
        self.schema = schema
        self.anywhere: set[Column] = set()
        self._done: dict[int, dict[str, set[Column]]] = {}

    def columns(self, scope: Any) -> dict[str, set[Column]]:
        """The columns of a query, each with the columns of tables that it is made of."""
        if id(scope) not in self._done:
            self._done[id(scope)] = {}  # a recursion would find nothing more
            self._done[id(scope)] = self._union(scope) if scope.set_operation_scopes else self._select(scope)
        return self._done[id(scope)]

    def _union(self, scope: Any) -> dict[str, set[Column]]:
        first, *others = [self.columns(each) for each in scope.set_operation_scopes]
        for other in others:
            for name, origins in zip(first, other.values(), strict=False):
                first[name] = first[name] | origins
        return first

    def _select(self, scope: Any) -> dict[str, set[Column]]:
        from sqlglot import exp

        sources = {
            name: self._source(source) for name, source in scope.sources.items() if name in scope.selected_sources
        }
        made: dict[str, set[Column]] = {}
        for item in scope.expression.selects:
            if item.is_star:
                wanted = item.table if isinstance(item, exp.Column) else ""
                for name, columns in sources.items():
                    if not wanted or name == wanted:
                        made |= columns
            else:
                made[item.alias_or_name] = self._origins(item, sources)
        for part in ("where", "group", "having", "order", "qualify"):
            if (clause := scope.expression.args.get(part)) is not None:
                self.anywhere |= self._origins(clause, sources)
        for join in scope.expression.args.get("joins") or []:
            self.anywhere |= self._origins(join, sources)
        for columns in made.values():
            self.anywhere |= columns if scope.parent is None else set()
        for inner in scope.subquery_scopes:
            for columns in self.columns(inner).values():
                self.anywhere |= columns
        return made

    def _source(self, source: Any) -> dict[str, set[Column]]:
        from sqlglot import exp

        if isinstance(source, exp.Table):
            table = ".".join(part for part in (source.db, source.name) if part).lower()
            return {name: {(table, name)} for name in self.schema.get(table, ())}
        return self.columns(source)

    def _origins(self, expression: Any, sources: Mapping[str, Mapping[str, set[Column]]]) -> set[Column]:
        from sqlglot import exp

        return {origin for column in expression.find_all(exp.Column) for origin in _of(column, sources)}


def _of(column: exp.Column, sources: Mapping[str, Mapping[str, set[Column]]]) -> set[Column]:
    if column.table:
        return set(sources.get(column.table, {}).get(column.name, ()))
    return {origin for columns in sources.values() for origin in columns.get(column.name, ())}
