"""What Dagster shows of a dbt node, one method per fact."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg
from datong_platform.names import SCHEMAS, TableName

from datong_assets.dbt.graph import Graph, Node

# Dagster warns of its own code references, at every model
warnings.filterwarnings("ignore", category=dg.BetaWarning)

UNIQUE_ID = "dbt/unique_id"
_ON_RECORDS = frozenset({"override", "fix"})
_PART = re.compile(r"int_(?P<system>[a-z0-9]+(_[a-z0-9]+)*)__(?P<entity>[a-z0-9_]+)\Z")


@dataclass(frozen=True)
class Facts:
    """Derives assets and checks from the parsed project.

    `owner` answers for every table whose `meta.owner`, or dbt group, names nobody else. `engine` is the kind of engine
    that builds them.
    """

    graph: Graph
    owner: str
    engine: str

    def table(self, node: Node) -> TableName | None:
        """The table in the lake, or None for a relation outside the schemas of the lake."""
        schema, name = node["schema"], node.get("alias") or node.get("identifier") or node["name"]
        return TableName(schema, name) if schema in SCHEMAS else None

    def key(self, node: Node) -> dg.AssetKey:
        """[schema, table]; so a source is the bronze asset that the ingestion makes."""
        return dg.AssetKey([node["schema"], node.get("alias") or node.get("identifier") or node["name"]])

    def group(self, node: Node) -> str:
        """The layer, and the domain where the layer has folders: `models/staging/erp/x.sql` is in `staging_erp`."""
        if node["resource_type"] == "seed":
            return "standard"
        return "_".join(node["fqn"][1:-1][:2]) or str(node["schema"])

    def description(self, node: Node) -> str:
        """The model's description, which ends in its grain."""
        meta, words = self.meta(node), str(node.get("description") or "").strip()
        title = meta.get("title_zh", "")
        return (
            f"{title} · {words}"
            if title and words
            else title or words or f"The {node['resource_type']} {node['name']}."
        )

    def owners(self, node: Node) -> list[str]:
        """`meta.owner` of the node or of its dbt group, else the project's owner."""
        named = self.meta(node).get("owner") or self._owner_of_group(node) or self.owner
        return [str(item) for item in named] if isinstance(named, list) else [str(named)]

    def kinds(self, node: Node) -> set[str]:
        """What it is made by and of."""
        form = {"view": "view", "seed": "seed"}.get(str(node["config"].get("materialized")), "delta")
        return {"dbt", self.engine, form}

    def code_version(self, node: Node) -> str:
        """Changes when the model's text does."""
        return str(node["checksum"]["checksum"])[:16]

    def metadata(self, node: Node) -> dict[str, Any]:
        """Table name, declared columns and where the code is."""
        file = self.graph.project / node["original_file_path"]
        return {
            "dagster/table_name": ".".join(self.key(node).path),
            "dagster/code_references": dg.CodeReferencesMetadataValue(
                code_references=[dg.LocalFileCodeReference(file_path=str(file), line_number=1)]
            ),
            "materialized": str(node["config"].get("materialized")),
            UNIQUE_ID: node["unique_id"],
            **({"dagster/column_schema": schema} if (schema := self.columns(node)) else {}),
        }

    def columns(self, node: Node) -> dg.TableSchema | None:
        """The declared columns with their types and meaning."""
        columns = [
            dg.TableColumn(
                name=column["name"],
                type=column.get("data_type") or "unknown",
                description=" ".join(str(column.get("description") or "").split()) or None,
            )
            for column in (node.get("columns") or {}).values()
        ]
        return dg.TableSchema(columns) if columns else None

    def deps(self, unique_id: str) -> list[dg.AssetKey]:
        """The tables and sources it reads."""
        return [self.key(self.graph.node(parent)) for parent in self.graph.parents(unique_id)]

    def tags(self, node: Node) -> dict[str, str]:
        """dbt's own tags."""
        return {str(tag): "" for tag in node.get("tags") or []}

    def asset(self, unique_id: str) -> dg.AssetSpec:
        """The asset of a model, seed or snapshot."""
        node = self.graph.built[unique_id]
        return dg.AssetSpec(
            key=self.key(node),
            deps=self.deps(unique_id),
            description=self.description(node),
            metadata=self.metadata(node),
            skippable=True,
            group_name=self.group(node),
            code_version=self.code_version(node),
            owners=self.owners(node),
            tags=self.tags(node),
            kinds=self.kinds(node),
        )

    def source(self, unique_id: str) -> dg.AssetSpec:
        """The asset of a source that no ingestion makes: what the platform itself writes down, in `ops`."""
        node = self.graph.sources[unique_id]
        return dg.AssetSpec(
            key=self.key(node),
            description=self.description(node),
            group_name=str(node["schema"]),
            owners=self.owners(node),
            kinds={"delta"},
            metadata={"dagster/column_schema": schema} if (schema := self.columns(node)) else {},
        )

    def check(self, unique_id: str) -> dg.AssetCheckSpec | None:
        """The asset check of a test, or None for a test that reads no table of the project."""
        test = self.graph.tests[unique_id]
        if unique_id not in self.graph.tested:
            return None
        asset = self.key(self.graph.node(self.graph.tested[unique_id]))
        others = [self.key(self.graph.node(parent)) for parent in self.graph.parents(unique_id)]
        return dg.AssetCheckSpec(
            name=self.check_name(test),
            asset=asset,
            description=self.check_description(test),
            blocking=self.severity(test) == dg.AssetCheckSeverity.ERROR,
            additional_deps=[key for key in dict.fromkeys(others) if key != asset],
            metadata={UNIQUE_ID: unique_id},
        )

    def check_name(self, test: Node) -> str:
        """The kind of test and its column, such as `key` or `not_null_unit`; dbt's own name where a table has two."""
        return self._check_names[str(test["unique_id"])]

    @cached_property
    def checks(self) -> dict[dg.AssetKey, list[str]]:
        """The names of the checks on each asset."""
        found: dict[dg.AssetKey, list[str]] = {}
        for test, table in self.graph.tested.items():
            found.setdefault(self.key(self.graph.node(table)), []).append(self.check_name(self.graph.tests[test]))
        return found

    @cached_property
    def _check_names(self) -> dict[str, str]:
        short: dict[str, str] = {}
        for unique_id, test in self.graph.tests.items():
            kind = (test.get("test_metadata") or {}).get("name") or test["name"]
            short[unique_id] = f"{kind}_{test['column_name']}" if test.get("column_name") else kind
        taken = Counter((self.graph.tested.get(unique_id), name) for unique_id, name in short.items())
        return {
            unique_id: name
            if taken[self.graph.tested.get(unique_id), name] == 1
            else self.graph.tests[unique_id]["name"]
            for unique_id, name in short.items()
        }

    def check_description(self, test: Node) -> str:
        """The test's description, else what is tested: `key: columns [order_no]`, or the words of its file's name."""
        if words := str(test.get("description") or "").strip():
            return words
        generic = test.get("test_metadata")
        if not generic:
            return f"{str(test['name']).replace('_', ' ').capitalize()}."
        given = {name: value for name, value in generic.get("kwargs", {}).items() if name != "model"}
        return f"{generic['name']}: {', '.join(f'{name} {value}' for name, value in given.items())}"

    def severity(self, test: Node) -> dg.AssetCheckSeverity:
        """Whether a failure of the test stops what reads the table."""
        warns = str(test["config"].get("severity", "error")).lower() == "warn"
        return dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR

    def meta(self, node: Node) -> dict[str, Any]:
        """The node's `meta`."""
        return {**(node.get("meta") or {}), **(node["config"].get("meta") or {})}

    def decisions_heeded(self, node: Node) -> tuple[frozenset[str], frozenset[str]] | None:
        """Kinds and entities of the decisions that a model heeds; an empty set means all of them, None everything.

        `meta.decisions` says so; silver, quarantine and their parts heed the overrides and fixes of their entity.
        """
        if said := self.meta(node).get("decisions"):
            return frozenset(said.get("kinds") or ()), frozenset(said.get("entities") or ())
        if part := _PART.match(str(node["name"])):
            return _ON_RECORDS, frozenset({part["entity"]})
        if node["schema"] in {"silver", "quarantine"}:
            return _ON_RECORDS, frozenset({self.key(node).path[-1]})
        return None

    def _owner_of_group(self, node: Node) -> str | None:
        group = next(
            (item for item in self.graph.content.get("groups", {}).values() if item["name"] == node.get("group")), None
        )
        owner = (group or {}).get("owner") or {}
        return owner.get("email") or (f"team:{owner['name']}" if owner.get("name") else None)
