"""The rules that every dbt model keeps: what it is, what a row of it is, and the tests that hold it to that."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datong_assets.dbt import units
from datong_assets.dbt.graph import Graph
from datong_platform.errors import ConfigurationError
from datong_platform.names import public_schema
from datong_platform.settings import DBT_PROJECT


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The project as dbt parses it, without any service, every system's models included."""
    target = tmp_path_factory.mktemp("dbt")
    systems = sorted(path.name for path in (DBT_PROJECT / "models" / "staging").iterdir() if path.is_dir())
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dbt.cli.main", "parse"),
            *("--target-path", str(target), "--log-path", str(target)),
            *("--vars", json.dumps({"systems": systems})),
        ],
        cwd=DBT_PROJECT,
        env={**os.environ, "DATONG_HOME": str(target)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "WARNING" not in done.stdout, done.stdout[-3000:]
    parsed: dict[str, Any] = json.loads((target / "manifest.json").read_text("utf-8"))
    for node in parsed["nodes"].values():
        node["schema"] = public_schema(node["schema"])
    return parsed


def models(manifest: dict[str, Any], *schemas: str) -> list[dict[str, Any]]:
    found = [node for node in manifest["nodes"].values() if node["resource_type"] in {"model", "seed"}]
    assert len(found) > 100
    return [node for node in found if not schemas or node["schema"] in schemas]


def keeping(manifest: dict[str, Any], kind: str) -> set[str]:
    return {
        node["attached_node"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and (node.get("test_metadata") or {}).get("name") == kind
    }


def test_every_model_has_a_yml_beside_it_whose_description_ends_in_its_grain(manifest: dict[str, Any]) -> None:
    wrong = []
    for node in models(manifest):
        beside = (node["patch_path"] or "").removeprefix("datong://")
        folder = str(Path(node["original_file_path"]).parent)
        last = node["description"].strip().split(". ")[-1]
        if node["resource_type"] == "model" and str(Path(beside).parent) != folder:
            wrong.append(f"{node['name']}: its yml is {beside or 'missing'}")
        if "Grain: one row per" not in node["description"] or not last.startswith(("Grain:", "one row per")):
            wrong.append(f"{node['name']}: its description does not end in its grain")
        if not node["config"]["meta"].get("title_zh"):
            wrong.append(f"{node['name']}: no Chinese title")
    assert not wrong


def test_every_table_of_silver_gold_and_serve_is_tested_on_its_key(manifest: dict[str, Any]) -> None:
    tables = {node["unique_id"] for node in models(manifest, "silver", "gold", "serve")}
    assert len(tables) > 35
    assert not tables - keeping(manifest, "key")


def test_every_seed_is_tested_on_its_key(manifest: dict[str, Any]) -> None:
    seeds = {node["unique_id"] for node in models(manifest) if node["resource_type"] == "seed"}
    assert not seeds - keeping(manifest, "key")


def test_every_model_that_can_drop_rows_has_a_quarantine_and_is_counted(manifest: dict[str, Any]) -> None:
    silver = {node["name"]: node["unique_id"] for node in models(manifest, "silver")}
    quarantine = {node["alias"] for node in models(manifest, "quarantine")}
    assert set(silver) == quarantine
    assert not set(silver.values()) - keeping(manifest, "conservation")


def test_every_table_of_golden_records_is_counted(manifest: dict[str, Any]) -> None:
    crosswalks = {id_ for id_, node in manifest["nodes"].items() if node["config"].get("materialized") == "matched"}
    golden = {
        node["unique_id"]
        for node in models(manifest, "gold")
        if node["name"].startswith("dim_") and crosswalks & set(node["depends_on"]["nodes"])
    }
    assert len(golden) == len(crosswalks) >= 3
    assert not golden - keeping(manifest, "golden_conserved")


def test_every_column_of_silver_gold_and_serve_says_what_it_is_in_two_languages(manifest: dict[str, Any]) -> None:
    wrong = []
    for node in models(manifest, "silver", "gold", "serve"):
        assert node["columns"], node["name"]
        for column in node["columns"].values():
            if not column["description"] or not column["config"]["meta"].get("title_zh"):
                wrong.append(f"{node['name']}.{column['name']}")
    assert not wrong


def test_a_report_table_names_the_key_it_is_published_with(manifest: dict[str, Any]) -> None:
    for node in models(manifest, "serve"):
        if node["name"].startswith("bi__"):
            key = node["config"]["meta"]["key"]
            assert key
            assert set(key) <= set(node["columns"])


def test_layers_read_only_from_the_layer_below_or_their_own(manifest: dict[str, Any]) -> None:
    """Staging reads bronze, silver reads its parts and what stewards decided, gold reads silver, serve reads gold,
    silver and code tables."""
    allowed = {
        "stg_": ("source", "seed"),
        "silver": ("int_", "decisions"),
        "quarantine": ("int_", "decisions"),
        "gold": ("silver", "gold", "int_", "seed", "ops"),
        "ops": ("silver", "decisions"),
        "serve": ("gold", "silver", "seed"),
    }

    def kind(unique_id: str) -> str:
        if unique_id.startswith("source.datong.ops."):
            return "decisions"
        if unique_id.startswith(("source.", "seed.")):
            return unique_id.split(".", maxsplit=1)[0]
        node = manifest["nodes"][unique_id]
        name: str = node["name"]
        if node["fqn"][1] == "standard":
            return "seed"
        return "stg_" if name.startswith("stg_") else "int_" if name.startswith("int_") else node["schema"]

    wrong = []
    for node in models(manifest):
        if node["resource_type"] == "model" and (own := kind(node["unique_id"])) in allowed:
            wrong += [
                f"{node['name']} reads {parent}"
                for parent in node["depends_on"]["nodes"]
                if kind(parent) not in allowed[own]
            ]
    assert not wrong


def test_a_model_is_a_function_of_what_it_reads(manifest: dict[str, Any]) -> None:
    """A build leaves out what is up to date; a model that asked for the time, or for chance, would never be that."""
    asking = re.compile(r"\b(current_date|current_timestamp|now|localtimestamp|rand|randn|uuid|shuffle)\b\s*\(?", re.I)
    wrong = {}
    for node in models(manifest):
        code = re.sub(r"--[^\n]*|\{#.*?#\}|'[^']*'", "", node.get("raw_code") or "", flags=re.S)
        if found := asking.findall(code):
            wrong[node["name"]] = found
    assert wrong == {}


def test_no_model_mixes_units_or_currencies(manifest: dict[str, Any]) -> None:
    graph = Graph(DBT_PROJECT, DBT_PROJECT, manifest)
    assert units.violations(graph) == []


def test_a_sum_without_its_unit_stops_the_build_before_it_runs(manifest: dict[str, Any], tmp_path: Path) -> None:
    project = tmp_path / DBT_PROJECT.name
    shutil.copytree(DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    mart = project / "models" / "gold" / "marts" / "mart_inventory.sql"
    text = mart.read_text("utf-8")
    line = "    group by source_system, plant_id, material_id"
    assert line in text
    mart.write_text(text.replace(line, "    group by source_system, plant_id", 1), "utf-8")
    with pytest.raises(ConfigurationError, match=r"mart_inventory\.sql:\d+ mart_inventory\.book_quantity: sum over"):
        units.demand(Graph(project, project, manifest))
