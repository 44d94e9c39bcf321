"""What Dagster is told: complete, quick to load, and clear about mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from datong_assets.components import SourceSystem, WriteBackFlow
from datong_assets.definitions import defs
from datong_ingestion.systems_config import load_systems
from datong_ingestion.write_back.config import load_flows
from datong_platform.errors import ConfigurationError
from datong_platform.settings import PROJECT_ROOT

LOADS = """
import socket, sys, time
def refuse(*_): raise AssertionError("the network was asked")
socket.socket.connect = refuse
started = time.monotonic()
from datong_assets.definitions import defs
keys = defs().resolve_all_asset_keys()
print(len(keys), time.monotonic() - started)
heavy = [name for name in ("dbt", "pyspark", "pandas", "boto3", "psycopg", "deltalake", "httpx") if name in sys.modules]
print(",".join(heavy))
"""


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return defs()


def test_definitions_load_without_services_secrets_network_or_engine(
    definitions: dg.Definitions, datong_home: Path
) -> None:
    # the first load of a home parses the dbt project; every other one does not even import dbt
    environment = {
        name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "DATONG_HOME", "VIRTUAL_ENV"}
    }
    done = subprocess.run(
        [sys.executable, "-c", LOADS], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    counted, heavy = done.stdout.splitlines()
    assert int(counted.split()[0]) == len(definitions.resolve_all_asset_keys())
    assert heavy == ""


def test_every_asset_says_what_it_is_who_answers_for_it_and_what_it_is_made_of(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        assert spec.description, name
        assert spec.owners, name
        assert spec.group_name not in {None, "default"}, name
        assert spec.kinds, name


def test_the_graph_is_one_from_source_entity_to_bronze_to_models(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for system in load_systems().values():
        for entity in system.entities:
            bronze = dg.AssetKey(["bronze", f"{system.system}__{entity.name}"])
            assert graph.get(bronze).parent_keys == {dg.AssetKey(["source", system.system, entity.name])}
    read = {key for node in graph.asset_nodes if node.key.path[0] == "staging" for key in node.parent_keys}
    assert dg.AssetKey(["bronze", "erp__sales_order"]) in read
    # what dbt reads must be made by somebody: a source that no system defines would be a stray asset
    stray = [key for key in read if key.path[0] == "bronze" and not graph.get(key).is_materializable]
    assert stray == []


def test_write_back_follows_the_table_that_it_carries(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for flow in load_flows().values():
        node = graph.get(dg.AssetKey(["write_back", flow.flow]))
        assert node.parent_keys == {dg.AssetKey([flow.table.schema, flow.table.name])}


def test_every_bronze_table_has_a_freshness_policy_and_its_checks(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    checks = {(key.asset_key, key.name) for key in graph.asset_check_keys}
    bronze = [spec for spec in definitions.resolve_all_asset_specs() if spec.key.path[0] == "bronze"]
    assert len(bronze) >= 20
    for spec in bronze:
        assert spec.freshness_policy is not None
        assert {(spec.key, "conservation"), (spec.key, "schema_unchanged")} <= checks


def test_there_is_a_job_for_each_system_and_each_step_and_a_schedule_that_is_off(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    names = {job.name for job in repository.get_all_jobs()}
    assert {f"ingest_{system}" for system in load_systems()} <= names
    assert {"build", "publish", "write_back", "cycle"} <= names
    schedule = repository.get_schedule_def("cycle")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_no_metadata_holds_a_secret(definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [str(spec.metadata) + str(spec.description) for spec in definitions.resolve_all_asset_specs()]
    assert not any("PASSWORD" in text or "TOKEN}" in text or "_URL}" in text for text in texts)


SYSTEM = """\
type: datong_assets.components.SourceSystem
attributes:
  system: shop
  protocol: rest
  connection: {{base_url: "${{SHOP_URL}}"}}
  entities:
    - name: order
      source: /orders
      mode: {mode}
"""
FLOW = """\
type: datong_assets.components.WriteBackFlow
attributes:
  flow: order_to_shop
  source: {source}
  key: order_id
  target: {{system: shop, resource: /orders, lookup: orderId, identity: [id]}}
  operations: [create]
  payload: {{orderId: order_id}}
"""


@pytest.mark.parametrize(
    ("component", "text", "line"),
    [
        (SourceSystem, SYSTEM.format(mode="sometimes"), 9),
        (SourceSystem, SYSTEM.format(mode="full") + "      colour: red\n", 10),
        (WriteBackFlow, FLOW.format(source="gold.fct_delivery"), 4),
    ],
)
def test_a_mistake_in_a_definition_is_named_with_file_and_line(
    component: type[SourceSystem | WriteBackFlow], text: str, line: int, tmp_path: Path
) -> None:
    project = _project(tmp_path, text)
    with pytest.raises(Exception, match=r"defs\.yaml") as caught:
        dg.load_from_defs_folder(path_within_project=project)
    causes = [caught.value]
    while causes[-1].__cause__:
        causes.append(causes[-1].__cause__)
    cause = causes[-1] if isinstance(causes[-1], ConfigurationError) else causes[-2]
    assert isinstance(cause, ConfigurationError), causes
    assert cause.thing.endswith(f"shop/defs.yaml:{line}")
    assert str(tmp_path) in cause.thing


def test_a_new_system_is_one_file(tmp_path: Path) -> None:
    found = dg.load_from_defs_folder(path_within_project=_project(tmp_path, SYSTEM.format(mode="full")))
    keys = {key.to_user_string() for key in found.resolve_all_asset_keys()}
    assert keys == {"source/shop/order", "bronze/shop__order"}


def test_dg_check_yaml_finds_the_definitions_of_the_project_right() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dg"), "check", "yaml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT_ROOT / "assets",
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _project(folder: Path, defs_yaml: str) -> Path:
    """A Dagster project with one definition, importable under a name of its own."""
    name = f"datong_{folder.name.replace('-', '_')}"
    where = folder / name / "defs" / "shop"
    where.mkdir(parents=True)
    (where / "defs.yaml").write_text(defs_yaml, encoding="utf-8")
    (folder / "dg.toml").write_text(
        f'directory_type = "project"\n[project]\nroot_module = "{name}"\n', encoding="utf-8"
    )
    sys.path.insert(0, str(folder))
    return folder
