"""Runs inside a command: recorded like any other, with results that a command can print."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import psycopg
import pytest
from datong_assets import instance as instances
from datong_assets import runs
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
