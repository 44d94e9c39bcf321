"""Runs inside a command: recorded like any other, with results that a command can print."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import psycopg
import pytest
import sqlalchemy
from datong_assets import event_log, runs
from datong_assets import instance as instances
from datong_assets.alone import alone
from datong_assets.dbt import client
from datong_assets.progress import Progress
from datong_infra.services.dagster import write_instance
from datong_platform.errors import ConfigurationError, ServiceError, TransientError
from datong_platform.settings import Settings, home, read_state, write_state


@pytest.fixture(scope="module")
def instance(services: Settings) -> dg.DagsterInstance:
    """Dagster on PostgreSQL, as `datong up` sets it up."""
    write_instance()
    return instances.instance()


@pytest.fixture
def no_plant(services: Settings) -> Iterator[None]:
    """No system's address is known, though another test of this session may have a plant running."""
    known = read_state("connections.json")
    write_state("connections.json", {})
    yield
    write_state("connections.json", known)


@pytest.mark.usefixtures("no_plant")
def test_a_run_is_recorded_in_the_database_with_its_reason(instance: dg.DagsterInstance) -> None:
    heard: list[Progress] = []
    result = runs.ingest("crm", ["account"], on_progress=heard.append)
    assert not result.ok
    assert [error.thing for error in result.errors] == ["system crm"]
    assert "CRM_URL" in result.errors[0].reason
    assert result.errors[0].next_step
    assert [event.kind for event in heard] == ["step started", "entity", "step finished"]
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert run.job_name == "ingest_crm"
    told = [event.dagster_event for event in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)]
    assert "CRM_URL" in str(told)


def test_an_interrupt_stops_what_would_follow_too(instance: dg.DagsterInstance) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.kind == "entity":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        runs.ingest("crm", on_progress=interrupt)
    run = instance.get_runs(limit=1)[0]
    assert run.status == dg.DagsterRunStatus.FAILURE


def test_what_is_not_defined_is_refused_before_anything_runs(instance: dg.DagsterInstance) -> None:
    before = instance.get_runs_count()
    with pytest.raises(ConfigurationError, match="system nowhere"):
        runs.ingest("nowhere")
    with pytest.raises(ConfigurationError, match=r"crm\.nothing"):
        runs.ingest("crm", ["nothing"])
    with pytest.raises(ConfigurationError, match="write-back flow nothing"):
        runs.write_back("nothing")
    with pytest.raises(ConfigurationError, match="matches no model"):
        runs.build("no_such_model_at_all")
    assert instance.get_runs_count() == before
    client.cool()


def test_nothing_is_published_that_was_never_checked(instance: dg.DagsterInstance, services: Settings) -> None:
    result = runs.publish()
    assert not result.ok
    assert all("was not published yet" in error.reason for error in result.errors)
    assert {error.thing.split(".")[0] for error in result.errors} == {"table serve"}
    with psycopg.connect(services.need("postgres_url")) as connection:
        found = connection.execute("select tablename from pg_tables where schemaname = 'serve'").fetchall()
    assert not {"inventory", "order_fulfilment"} & {row[0] for row in found}


def test_one_cycle_at_a_time(instance: dg.DagsterInstance) -> None:
    with alone("cycle"), pytest.raises(TransientError, match="a cycle"):
        runs.cycle()


def test_storage_keeps_its_connections(instance: dg.DagsterInstance) -> None:
    asked: set[int] = set()
    storage = instance.event_log_storage
    for _ in range(5):
        with storage.index_connection() as connection:  # pyright: ignore[reportAttributeAccessIssue]
            asked.add(connection.exec_driver_sql("select pg_backend_pid()").scalar())
    assert len(asked) == 1


def test_a_connection_that_the_database_closed_fails_nothing(instance: dg.DagsterInstance, services: Settings) -> None:
    def look() -> None:
        instance.get_runs(limit=1)
        instance.get_latest_materialization_event(dg.AssetKey(["silver", "material"]))
        instance.all_instigator_state()

    look()
    # only those of this process: other tests have theirs in the same database
    ports = [one.laddr.port for one in psutil.Process().net_connections() if one.status == psutil.CONN_ESTABLISHED]
    end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where client_port = any(%s)"
    with psycopg.connect(services.need("postgres_url"), autocommit=True) as connection:
        closed = connection.execute(f"{end} and pid <> pg_backend_pid()", (ports,)).fetchone()
    assert closed is not None
    assert closed[0] >= 3, "the run, event and schedule storages each keep one"
    look()


def test_without_dagsters_storage_the_next_step_is_named(
    services: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "services.json").write_text(json.dumps({"settings": {}}), encoding="utf-8")
    monkeypatch.setenv("DATONG_HOME", str(tmp_path))
    assert home() == tmp_path
    with pytest.raises(ServiceError, match="datong up"):
        instances.instance()


def told_of_a_run(instance: dg.DagsterInstance, name: str) -> tuple[list[str], list[tuple[object, ...]], int]:
    """The kinds of events of a run of ten assets with a check each, what Dagster knows of them after it, and the
    statements that this took."""
    keys = [dg.AssetKey([name, f"part_{number}"]) for number in range(10)]
    statements: list[str] = []
    storage: Any = instance.event_log_storage

    @dg.multi_asset(
        name=name,
        specs=[
            dg.AssetSpec(key, deps=[before] if before else [])
            for key, before in zip(keys, [None, *keys[:-1]], strict=True)
        ],
        check_specs=[dg.AssetCheckSpec("is_whole", asset=key) for key in keys],
    )
    def make() -> Iterator[Any]:
        event_log.remembering(dg.AssetExecutionContext.get())
        for number, key in enumerate(keys):
            yield dg.MaterializeResult(asset_key=key, metadata={"number": number})
            yield dg.AssetCheckResult(asset_key=key, check_name="is_whole", passed=number != 3)

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    sqlalchemy.event.listen(storage._engine, "before_cursor_execute", count)
    try:
        done = dg.materialize([make], instance=instance, raise_on_error=False)
    finally:
        sqlalchemy.event.remove(storage._engine, "before_cursor_execute", count)
    kinds = [entry.dagster_event.event_type_value for entry in instance.all_logs(done.run_id) if entry.dagster_event]
    checks = storage.get_latest_asset_check_execution_by_key([dg.AssetCheckKey(key, "is_whole") for key in keys])
    known: list[tuple[object, ...]] = []
    for record in sorted(instance.get_asset_records(keys), key=lambda record: record.asset_entry.asset_key.path):
        entry = record.asset_entry
        assert entry.last_materialization
        assert entry.last_materialization.asset_materialization
        check = checks[dg.AssetCheckKey(entry.asset_key, "is_whole")]
        evaluation = check.event.dagster_event.asset_check_evaluation_data
        known.append(
            (
                entry.asset_key.path[-1],
                entry.last_materialization.asset_materialization.metadata["number"].value,
                entry.last_run_id == done.run_id,
                check.status.value,
                evaluation.target_materialization_data.storage_id == entry.last_materialization_storage_id,
            )
        )
    return kinds, known, len(statements)


def test_dagster_knows_the_same_after_a_third_of_the_statements(instance: dg.DagsterInstance) -> None:
    storage: Any = instance.event_log_storage
    lean = {name: vars(storage).pop(name) for name in ("store_event", "store_event_batch", event_log.MADE)}
    try:
        plain_kinds, plain, statements = told_of_a_run(instance, "told_plainly")
    finally:
        vars(storage).update(lean)
    kinds, known, fewer = told_of_a_run(instance, "told_in_few_words")
    assert known == plain
    assert [each[3] for each in known].count("FAILED") == 1
    assert all(each[2] and each[4] for each in known)
    assert sorted(kinds) == sorted(kind for kind in plain_kinds if kind != "STEP_OUTPUT")
    assert "STEP_OUTPUT" in plain_kinds
    assert fewer < statements / 3, f"{fewer} statements instead of {statements}"


def test_a_step_that_leaves_a_table_out_asks_nothing_of_what_was_read_before(instance: dg.DagsterInstance) -> None:
    read, made = dg.AssetKey(["told_before", "read"]), dg.AssetKey(["told_before", "made"])
    known: dict[dg.AssetKey, dg.EventLogRecord] = {}
    made_now = [read, made]
    asked: list[Sequence[dg.AssetKey]] = []

    @dg.multi_asset(
        name="told_before",
        specs=[dg.AssetSpec(read, skippable=True), dg.AssetSpec(made, deps=[read], skippable=True)],
    )
    def make() -> Iterator[Any]:
        event_log.remembering(dg.AssetExecutionContext.get(), known)
        for key in made_now:
            yield dg.MaterializeResult(asset_key=key)

    def record(key: dg.AssetKey) -> dg.EventLogRecord:
        found = instance.get_asset_records([key])[0].asset_entry.last_materialization_record
        assert found
        return found

    dg.materialize([make], instance=instance)
    known[read] = record(read)
    made_now.remove(read)
    get = instance.get_asset_records

    def counting(keys: Any) -> Any:
        asked.append(keys)
        return get(keys)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instance, "get_asset_records", counting)
        dg.materialize([make], instance=instance)
    materialization = record(made).event_log_entry.asset_materialization
    assert materialization
    assert materialization.tags
    assert materialization.tags["dagster/input_event_pointer/told_before/read"] == str(known[read].storage_id)
    assert not [keys for keys in asked if read in keys]
