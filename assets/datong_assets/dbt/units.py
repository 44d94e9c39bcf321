"""Whether the models of gold and serve keep units and currencies apart, told before any of them runs.

From the parsed project and the contracts to the violations that `datong_platform.standard.unit_algebra` finds, without
dbt and without any service.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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

from datong_assets.dbt.graph import Graph
from datong_assets.dbt.render import Renderer, relation

_LAYERS = ("models/gold/", "models/serve/")


def violations(graph: Graph, chosen: Collection[str] = ()) -> list[Violation]:
    """Where models add, compare or sum what is in different units. ConfigurationError for a model that has no SQL.

    With `chosen`, only these models and what they are built from are looked at.
    """
    models = _models(graph, graph.lineage(chosen) or set(graph.built))
    return check(models, _relations(graph)) if models else []


def demand(graph: Graph, chosen: Collection[str] = ()) -> None:
    """ConfigurationError that lists every violation, in all models or in those that were `chosen`, if there is any."""
    if found := violations(graph, chosen):
        raise ConfigurationError(
            "units and currencies",
            "\n".join(["are mixed:", *(f"  {each}" for each in found)]),
            "convert with join_unit_conversion or join_currency_conversion, or keep the unit in the grouping.",
        )


def _models(graph: Graph, wanted: Collection[str]) -> list[Model]:
    found: list[Model] = []
    renderer: Renderer | None = None
    for unique_id in graph.in_order:
        node = graph.built[unique_id]
        path = str(node["original_file_path"])
        if unique_id in wanted and node["resource_type"] == "model" and path.startswith(_LAYERS):
            renderer = renderer or Renderer(graph)
            text = (graph.project / path).read_text("utf-8")
            name = f"{graph.project.name}/{path}"
            found.append(Model(str(node["name"]), relation(node), name, text, renderer.sql(str(node["name"]), text)))
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
            found[relation(node)] = Relation(converts=converts)
    keys: dict[str, list[list[str]]] = {}
    for test in graph.tests.values():
        about = test.get("test_metadata") or {}
        if about.get("name") == "key" and (table := graph.built.get(str(test.get("attached_node")))):
            keys.setdefault(relation(table), []).append(list(about["kwargs"]["columns"]))
    by_name = {str(node["name"]): relation(node) for node in graph.built.values()}
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


def _meta(column: Mapping[str, Any]) -> Mapping[str, Any]:
    return (column.get("config") or {}).get("meta") or column.get("meta") or {}


def _variables(project: Path) -> dict[str, Any]:
    return yaml.safe_load((project / "dbt_project.yml").read_text("utf-8")).get("vars") or {}
