"""Ingestion as Dagster runs it: what succeeded is recorded, what failed is named, and the run tells."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from datong_assets.components import SourceSystem
from datong_assets.components.source_system import disagreements
from datong_assets.progress import Progress, watching
from datong_ingestion.systems_config import SystemConfig, load_systems
from datong_platform.settings import Settings
from pydantic import ValidationError

SECRET = "not-to-be-seen"
DEFINITION = """
type: datong_assets.components.SourceSystem
attributes:
  system: dagster_shop
  protocol: rest
  owner: team:shop
  connection:
    {base_url: "${DAGSTER_SHOP_URL}", auth: bearer, token: "${DAGSTER_SHOP_TOKEN}", data_path: data, attempts: 1}
  entities:
    - {name: order, source: /orders, keys: [id], fields: {id: long, amount: string}}
    - {name: part, source: /parts, keys: [id], fields: {id: long}}
"""


class Shop:
    """A JSON API with two collections; `rows` is what it answers, None refuses."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]] | None] = {}
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = shop.rows[self.path.split("?")[0]]
                body = json.dumps({"data": found} if found is not None else {"error": "no"}).encode()
                self.send_response(200 if found is not None else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def shop(services: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    made = Shop()
    monkeypatch.setenv("DAGSTER_SHOP_URL", made.url)
    monkeypatch.setenv("DAGSTER_SHOP_TOKEN", SECRET)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> SystemConfig:
    folder = tmp_path_factory.mktemp("defs")
    (folder / "defs.yaml").write_text(DEFINITION, encoding="utf-8")
    return load_systems(Path(folder))["dagster_shop"]


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def run(
    config: SystemConfig, instance: dg.DagsterInstance, **options: Any
) -> tuple[dg.ExecuteInProcessResult, list[Progress]]:
    definitions = SourceSystem(config).build_defs(dg.ComponentTree.for_test().load_context)
    heard: list[Progress] = []
    with watching(heard.append):
        done = definitions.resolve_job_def("ingest_dagster_shop").execute_in_process(
            instance=instance, raise_on_error=False, **options
        )
    return done, heard


def materialized(done: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    return {
        event.asset_key.to_user_string(): {
            name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in done.get_asset_materialization_events()
        if event.asset_key
    }


def test_an_entity_that_fails_is_named_and_the_others_are_recorded(
    shop: Shop, config: SystemConfig, instance: dg.DagsterInstance
) -> None:
    shop.rows = {"/orders": [{"id": 1, "amount": "9.50"}, {"id": 2, "amount": "1.00"}], "/parts": None}
    done, heard = run(config, instance)
    assert not done.success
    found = materialized(done)
    assert list(found) == ["bronze/dagster_shop__order"]
    assert found["bronze/dagster_shop__order"]["dagster/row_count"] == 2
    assert found["bronze/dagster_shop__order"]["batches"] == "000000000001"
    failed = next(event for event in heard if not event.ok)
    assert (failed.kind, failed.name) == ("entity", "part")
    assert failed.error is not None
    assert "dagster_shop.part" in failed.error.thing
    assert failed.error.next_step
    told = [event for event in done.all_events if event.is_step_failure]
    assert len(told) == 1
    assert "dagster_shop.part" in str(told[0].step_failure_data.user_failure_data)
    assert SECRET not in "".join(str(event) for event in done.all_events)


def test_checks_tell_conservation_and_a_field_that_is_new(
    shop: Shop, config: SystemConfig, instance: dg.DagsterInstance
) -> None:
    shop.rows = {"/orders": [{"id": 1, "amount": "9.50"}], "/parts": [{"id": 7}]}
    done, _ = run(config, instance)
    assert done.success
    assert {(check.check_name, check.passed) for check in done.get_asset_check_evaluations()} == {
        ("conservation", True),
        ("schema_unchanged", True),
        ("nothing_refused", True),
    }
    shop.rows["/parts"] = [{"id": 7, "colour": "red"}]
    done, _ = run(config, instance)
    assert done.success, "a new field is a warning: its values are kept, as rescued"
    checks = {(check.asset_key.path[-1], check.check_name): check for check in done.get_asset_check_evaluations()}
    changed = checks["dagster_shop__part", "schema_unchanged"]
    assert not changed.passed
    assert changed.severity == dg.AssetCheckSeverity.WARN
    assert "colour" in str(changed.description)
    assert checks["dagster_shop__order", "schema_unchanged"].passed


def test_one_entity_can_be_chosen(shop: Shop, config: SystemConfig, instance: dg.DagsterInstance) -> None:
    shop.rows = {"/orders": [{"id": 1, "amount": "9.50"}], "/parts": None}
    done, _ = run(config, instance, asset_selection=[dg.AssetKey(["bronze", "dagster_shop__order"])])
    assert done.success
    assert list(materialized(done)) == ["bronze/dagster_shop__order"]


def test_a_batch_whose_commit_lacks_rows_breaks_conservation(
    shop: Shop, config: SystemConfig, instance: dg.DagsterInstance
) -> None:
    from dataclasses import replace

    from datong_ingestion.run import ingest_entity
    from datong_platform.lake import storage
    from datong_platform.lake.landing import manifest_key

    shop.rows = {"/orders": [{"id": 1, "amount": "10.00"}, {"id": 3, "amount": "3.00"}], "/parts": []}
    result = ingest_entity(config, "order")
    assert result.batches
    assert disagreements("dagster_shop", "order", result) == []
    told = [f"batch {result.batches[-1]}: 3 rows landed, 2 committed"]
    *others, last = result.loads
    assert last.manifest
    landed = replace(last.manifest, row_count=last.manifest.row_count + 1)
    assert (
        disagreements("dagster_shop", "order", replace(result, loads=[*others, replace(last, manifest=landed)])) == told
    )
    # of a batch that this process did not load itself, both are read back
    read_back = replace(result, loads=[])
    assert disagreements("dagster_shop", "order", read_back) == []
    storage.put(manifest_key("dagster_shop", "order", int(result.batches[-1])), landed.to_json())
    assert disagreements("dagster_shop", "order", read_back) == told


def test_what_cannot_be_read_is_shown_with_place_and_reason_and_counted(
    shop: Shop, config: SystemConfig, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from datong_ingestion.protocols.rest import Rest
    from datong_ingestion.run import ingest_entity
    from datong_ingestion.source import REFUSED
    from datong_platform.lake import storage
    from datong_platform.lake.landing import manifest_key

    real = Rest.read
    bad = {"raw": b"{id: secret", "place": "page 1, row 2", "field": "id", "reason": "is not JSON"}

    def read(self: Any, *arguments: Any) -> Any:
        for page in real(self, *arguments):
            yield replace(page, refused=pa.Table.from_pylist([bad], REFUSED))

    monkeypatch.setattr(Rest, "read", read)
    shop.rows = {"/orders": [{"id": 71, "amount": "9.50"}], "/parts": []}
    done, _ = run(config, instance)
    assert done.success, "what was refused is a warning: the rest goes on"
    assert materialized(done)["bronze/dagster_shop__order"]["refused"] == 1
    checks = {(check.asset_key.path[-1], check.check_name): check for check in done.get_asset_check_evaluations()}
    assert checks["dagster_shop__order", "conservation"].passed
    refused = checks["dagster_shop__order", "nothing_refused"]
    assert not refused.passed
    assert refused.severity == dg.AssetCheckSeverity.WARN
    assert "page 1, row 2: is not JSON" in str(refused.description)
    assert "secret" not in str(refused)
    bad["place"] = "page 2"
    result = ingest_entity(config, "order", baseline=True)
    assert disagreements("dagster_shop", "order", result) == []
    # as of a batch that another process loaded, whose manifest and commit are read back
    result = replace(result, loads=[])
    assert disagreements("dagster_shop", "order", result) == []
    key = manifest_key("dagster_shop", "order", int(result.batches[-1]))
    told = json.loads(storage.get(key) or b"")
    storage.put(key, json.dumps({**told, "refused_rows": 2, "received_rows": told["received_rows"] + 1}).encode())
    assert disagreements("dagster_shop", "order", result) == [
        f"batch {result.batches[-1]}: 2 rows refused, 1 in quarantine"
    ]
    storage.put(key, json.dumps({**told, "received_rows": told["received_rows"] + 1}).encode())
    assert "accounted for" in disagreements("dagster_shop", "order", result)[0]
    assert_command_shows_them()


def test_what_a_stream_loads_is_reported_on_the_asset_with_its_sums(
    shop: Shop, config: SystemConfig, instance: dg.DagsterInstance
) -> None:
    from datong_assets.streaming import run as stream
    from datong_ingestion.run import IngestOutcome

    shop.rows = {"/orders": [{"id": 501, "amount": "1.00"}], "/parts": []}
    stop = threading.Event()
    heard: list[IngestOutcome] = []

    def on_batch(outcome: IngestOutcome) -> None:
        heard.append(outcome)
        shop.rows["/orders"] = [{"id": number, "amount": "1.00"} for number in range(501 + len(heard), 510)]
        if len(heard) == 4:
            stop.set()

    assert stream(config, ["order"], instance=instance, stop=stop, pause=0.01, on_batch=on_batch) == []
    key = dg.AssetKey(["bronze", "dagster_shop__order"])
    records = instance.fetch_materializations(key, limit=2).records
    found = [record.asset_materialization for record in records if record.asset_materialization]
    assert [event.tags.get("datong/stream") for event in found] == ["true", "true"]
    rows = [outcome.result.rows for outcome in heard if not isinstance(outcome.result, Exception)]
    # the first is told at once, what comes within the next seconds as one
    assert [event.metadata["rows_loaded"].value for event in reversed(found)] == [rows[0], sum(rows[1:])]


def test_a_system_is_ingested_as_often_as_it_says_and_never_twice_at_once(
    config: SystemConfig, instance: dg.DagsterInstance
) -> None:
    component = SourceSystem(config.model_copy(update={"schedule": "* * * * *"}))
    definitions = component.build_defs(dg.ComponentTree.for_test().load_context)
    schedule = definitions.resolve_schedule_def("ingest_dagster_shop")
    assert (schedule.cron_schedule, schedule.default_status) == ("* * * * *", dg.DefaultScheduleStatus.RUNNING)
    context = dg.build_schedule_context(instance, scheduled_execution_time=datetime(2026, 3, 1, tzinfo=UTC))
    assert len(schedule.evaluate_tick(context).run_requests or []) == 1
    job = definitions.resolve_job_def("ingest_dagster_shop")
    going = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert not schedule.evaluate_tick(context).run_requests
    instance.delete_run(going.run_id)
    assert SourceSystem(config).build_defs(dg.ComponentTree.for_test().load_context).schedules == []
    with pytest.raises(ValidationError, match="schedule"):
        SystemConfig.model_validate({**config.model_dump(), "schedule": "hourly"})


def assert_command_shows_them() -> None:
    from datong_infra.cli.app import app
    from typer.testing import CliRunner

    listed = CliRunner().invoke(app, ["quarantine", "list", "dagster_shop", "--format", "json"])
    found = json.loads(listed.stdout)
    assert [(row["entity"], row["reasons"]) for row in found] == [
        ("order", {"is not JSON": 2}),
        ("part", {"is not JSON": 1}),
    ]
    shown = CliRunner().invoke(app, ["quarantine", "show", "dagster_shop", "order"])
    assert "page 2" in shown.stdout
    assert "{id: secret" in shown.stdout
    raw = CliRunner().invoke(app, ["quarantine", "show", "dagster_shop", "order", "-n", "1", "--format", "json"])
    assert [row["place"] for row in json.loads(raw.stdout)] == ["page 2"]
