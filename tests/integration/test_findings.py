"""What is wrong now, read from real Dagster runs: named by table, and over with the next run that meant it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from datong_assets.alerting import load_alerts
from datong_assets.failing import NOT_RUN, fail
from datong_assets.findings import gather, upstream
from datong_platform.errors import ConfigurationError, TransientError

BROKEN: dict[str, str] = {}
"""Things that fail, and why."""


@dg.multi_asset(
    name="erp_tables",
    specs=[dg.AssetSpec(["bronze", f"erp__{name}"], skippable=True, owners=["team:erp"]) for name in ("order", "item")],
    can_subset=True,
)
def ingest(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
    errors = [TransientError(thing, why, "wait.") for thing, why in BROKEN.items() if thing.startswith("erp")]
    for key in context.selected_asset_keys:
        if not any(error.thing.startswith(key.path[1].replace("__", ".")) for error in errors):
            yield dg.MaterializeResult(asset_key=key)
    fail(errors)


@dg.asset(key=["silver", "order"], deps=[["bronze", "erp__order"]])
def silver() -> None:
    fail([TransientError(thing, why) for thing, why in BROKEN.items() if thing.startswith("table")])


@dg.asset_check(asset=["silver", "order"])
def key() -> dg.AssetCheckResult:
    passed = "key" not in BROKEN
    told = {NOT_RUN: True} if BROKEN.get("key") == "not run" else {}
    return dg.AssetCheckResult(passed=passed, description="finds 3 rows", metadata=told)


@dg.asset_check(asset=["silver", "order"])
def freshness() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed="late" not in BROKEN, severity=dg.AssetCheckSeverity.WARN)


DEFINITIONS = dg.Definitions(
    assets=[ingest, silver],
    asset_checks=[key, freshness],
    jobs=[
        dg.define_asset_job(
            "ingest_erp", selection=dg.AssetSelection.groups("default") & dg.AssetSelection.assets(ingest)
        ),
        dg.define_asset_job("build", selection=dg.AssetSelection.assets(silver)),
    ],
)


class Plant:
    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.repository = DEFINITIONS.get_repository_def()

    def run(self, job: str, only: list[list[str]] | None = None, **broken: str) -> None:
        BROKEN.clear()
        BROKEN.update({name.replace("__", "."): why for name, why in broken.items()})
        selection = [dg.AssetKey(path) for path in only] if only else None
        DEFINITIONS.resolve_job_def(job).execute_in_process(
            instance=self.instance, asset_selection=selection, raise_on_error=False
        )

    @property
    def found(self) -> dict[str, Any]:
        jobs = {job.name: list(job.asset_layer.executable_asset_keys) for job in self.repository.get_all_jobs()}
        graph: Any = self.repository.asset_graph
        return {one.key: one for one in gather(self.instance, graph, jobs)}


@pytest.fixture
def plant() -> Iterator[Plant]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Plant(instance)


def test_a_table_that_cannot_be_read_is_named_with_owner_system_and_reason(plant: Plant) -> None:
    plant.run("ingest_erp", erp__order="it answers 503.")
    [one] = plant.found.values()
    assert (one.key, one.system, one.owner) == ("ingest:bronze.erp__order", "erp", "team:erp")
    assert one.cause == "it answers 503."
    assert "读取失败" in one.title_zh


def test_a_run_that_did_not_mean_a_table_does_not_heal_it_and_one_that_did_does(plant: Plant) -> None:
    plant.run("ingest_erp", erp__order="it answers 503.")
    plant.run("ingest_erp", [["bronze", "erp__item"]])
    assert set(plant.found) == {"ingest:bronze.erp__order"}
    plant.run("ingest_erp", [["bronze", "erp__order"]])
    assert not plant.found


def test_checks_and_lateness_are_findings_until_they_pass(plant: Plant) -> None:
    plant.run("build", key="yes", late="yes")
    found = plant.found
    assert {name: one.severity for name, one in found.items()} == {
        "check:silver.order:key": "error",
        "late:silver.order:freshness": "warning",
    }
    assert found["check:silver.order:key"].detail == "silver.order, check key: finds 3 rows"
    assert found["check:silver.order:key"].title == "silver.order: a record is there twice, or has no number"
    plant.run("build", key="not run")
    assert plant.found["check:silver.order:key"].title == "silver.order: a check could not be made"
    plant.run("build")
    assert not plant.found


def test_a_build_that_fails_names_its_table_and_the_graph_says_what_stands_behind(plant: Plant) -> None:
    plant.run("build", **{"table silver.order": "cannot be built"})
    assert "build:silver.order" in plant.found
    graph: Any = plant.repository.asset_graph
    assert upstream(graph)["silver.order"] == ["bronze.erp__order"]


def test_the_definition_of_alerts_is_read_and_a_mistake_is_told_with_its_line(tmp_path: Any) -> None:
    assert load_alerts().languages == ["zh", "en"]
    folder = tmp_path / "alerts"
    folder.mkdir()
    (folder / "defs.yaml").write_text(
        "type: datong_assets.components.Alerts\nattributes:\n  channels:\n    a: {kind: pigeon, url: x}\n"
    )
    with pytest.raises(ConfigurationError, match=r"line 4: channels.a: .*wecom"):
        load_alerts(tmp_path)
