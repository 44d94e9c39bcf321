"""Whether the models of gold and serve keep units and currencies apart, told before any of them runs.

From the parsed project and the contracts to the violations that `datong_platform.standard.unit_algebra` finds. The SQL
is rendered here from the models' files and the project's macros, without dbt and without any service: what needs the
engine to be rendered is no part of gold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from datong_platform.errors import ConfigurationError
from datong_platform.standard.contract import contracts
from datong_platform.standard.unit_algebra import (
    Decided,
    Model,
    Relation,
    Violation,
    check,
    relation_of,
    relation_with,
)

from datong_assets.dbt.graph import Graph, Node

_LAYERS = ("models/gold/", "models/serve/")
_MACRO = re.compile(r"\{%-?\s*macro\s+(?P<name>\w+)\(.*?\{%-?\s*endmacro\s*-?%\}", re.DOTALL)


def violations(graph: Graph) -> list[Violation]:
    """Where models add, compare or sum what is in different units. ConfigurationError for a model that has no SQL."""
    return check(_models(graph), _relations(graph))


def demand(graph: Graph) -> None:
    """ConfigurationError that lists every violation, when there is any."""
    if found := violations(graph):
        raise ConfigurationError(
            "units and currencies",
            "\n".join(["are mixed:", *(f"  {each}" for each in found)]),
            "convert with join_unit_conversion or join_currency_conversion, or keep the unit in the grouping.",
        )


def _models(graph: Graph) -> list[Model]:
    renderer = _Renderer(graph)
    found: list[Model] = []
    for unique_id in graph.in_order:
        node = graph.built[unique_id]
        path = str(node["original_file_path"])
        if node["resource_type"] == "model" and path.startswith(_LAYERS):
            text = (graph.project / path).read_text("utf-8")
            name = f"{graph.project.name}/{path}"
            found.append(Model(str(node["name"]), _relation(node), name, text, renderer.sql(str(node["name"]), text)))
    return found


def _relations(graph: Graph) -> dict[str, Relation]:
    found = {each.table: relation_of(each) for each in contracts("silver").values()}
    for node in graph.built.values():
        converts = {
            str(column["name"]).lower(): (str(ends["from"]), str(ends["to"]))
            for column in (node.get("columns") or {}).values()
            if (ends := _meta(column).get("converts"))
        }
        if converts:
            found[_relation(node)] = Relation(converts=converts)
    keys: dict[str, list[list[str]]] = {}
    for test in graph.tests.values():
        about = test.get("test_metadata") or {}
        if about.get("name") == "key" and (table := graph.built.get(str(test.get("attached_node")))):
            keys.setdefault(_relation(table), []).append(list(about["kwargs"]["columns"]))
    by_name = {str(node["name"]): _relation(node) for node in graph.built.values()}
    decided: dict[str, list[Decided]] = {}
    for said in _variables(graph.project).get("units_decided_by", []):
        table = by_name.get(said["table"])
        if table is None:
            continue  # of a system that is not connected
        same_as = said.get("same_as")
        label = f"{by_name[same_as['table']]}.{same_as['unit']}" if same_as else None
        decided.setdefault(table, []).append(Decided(said["unit"], tuple(said["columns"]), label))
    return {
        table: relation_with(
            found.get(table, Relation()), keys=keys.get(table, ()), label=table, decided=decided.get(table, ())
        )
        for table in {*found, *decided}
    }


def _relation(node: Node) -> str:
    return f"{node['schema']}.{node.get('alias') or node['name']}".lower()


def _meta(column: Mapping[str, Any]) -> Mapping[str, Any]:
    return (column.get("config") or {}).get("meta") or column.get("meta") or {}


def _variables(project: Path) -> dict[str, Any]:
    return yaml.safe_load((project / "dbt_project.yml").read_text("utf-8")).get("vars") or {}


class _ReturnedError(Exception):
    """Carries what a macro returns, as dbt's own `return` does."""

    def __init__(self, value: Any) -> None:
        self.value = value
        super().__init__()


def _return(value: Any = None) -> None:
    raise _ReturnedError(value)


def _source(source: str, table: str) -> str:
    return f"{source}.{table}"


class _Renderer:
    """Renders a model's Jinja with the project's macros; `ref` and `source` become names of tables."""

    def __init__(self, graph: Graph) -> None:
        import jinja2

        self._named = {str(node["name"]): _relation(node) for node in graph.built.values()}
        variables = _variables(graph.project)
        self._environment = jinja2.Environment(  # noqa: S701 - it renders SQL
            extensions=["jinja2.ext.do"], undefined=jinja2.StrictUndefined, keep_trailing_newline=True
        )
        known: dict[str, Any] = {
            "ref": self._ref,
            "source": _source,
            "var": variables.get,
            "config": lambda *_, **__: "",
            "is_incremental": lambda: False,
            "execute": False,
            "this": "this",
            "return": _return,
        }
        self._environment.globals.update(known)
        macros: dict[str, Any] = {}
        for file in sorted((graph.project / "macros").rglob("*.sql")):
            for found in _MACRO.finditer(file.read_text("utf-8")):
                macros[found["name"]] = self._macro(found["name"], found[0])
        self._environment.globals.update(macros)

    def _macro(self, name: str, text: str) -> Callable[..., Any]:
        """A macro as dbt calls it: what it returns is its value, else the text that it renders."""
        compiled: list[Any] = []

        def call(*arguments: Any, **named: Any) -> Any:
            if not compiled:
                compiled.append(getattr(self._environment.from_string(text).module, name))
            try:
                return compiled[0](*arguments, **named)
            except _ReturnedError as returned:
                return returned.value

        return call

    def _ref(self, *names: str) -> str:
        return self._named.get(names[-1], names[-1])

    def sql(self, name: str, text: str) -> str:
        import jinja2

        try:
            return self._environment.from_string(text).render()
        except jinja2.TemplateError as error:
            raise ConfigurationError(
                f"model {name}",
                f"cannot be rendered without the engine: {error}.",
                "keep what asks the engine out of gold and serve, or mend the macro's name.",
            ) from error
