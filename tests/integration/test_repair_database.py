"""Drills: PostgreSQL's data folder is lost, or Dagster's database alone; the look says so, and one command brings back
what people decided and the history of runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.utils import make_new_run_id
from datong_infra.backup.make import make
from datong_infra.backup.repository import Repository
from datong_infra.repair.run import repair
from datong_infra.services import dagster, doctor, postgres, stack
from datong_infra.services.base import data_folder
from datong_platform.lake import storage
from datong_platform.settings import settings


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of the test's own with the services that data needs, nothing of it left running."""
    path = Path(tempfile.mkdtemp(prefix="datong-drill-")).resolve()
    monkeypatch.setenv("DATONG_HOME", str(path))
    stack.up(stack.DATA)
    storage.ensure_bucket()
    yield path
    stack.down()
    shutil.rmtree(path, ignore_errors=True)


def execute(statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(settings().need("postgres_url"), autocommit=True) as connection:
        cursor = connection.execute(statement)  # pyright: ignore
        return cursor.fetchall() if cursor.description else []


@pytest.mark.slow
def test_a_database_that_was_made_anew_is_noticed_and_filled_from_the_backup(home: Path) -> None:
    assert not postgres.is_new()
    execute("create table ops.decided (word text)")
    execute("insert into ops.decided values ('决定')")
    repository = Repository(str(home / "kept"))
    make(repository)
    stack.down(["postgres"])
    shutil.rmtree(home / "postgres")
    stack.up(["postgres"])
    assert postgres.is_new()
    execute("create table ops.since (word text)")
    done = repair(repository)
    assert done.ok
    assert done.databases == ["datong", "dagster"]
    assert execute("select word from ops.decided") == [("决定",)]
    assert not postgres.is_new()
    aside = list((home / "set_aside").rglob("datong.dump"))
    assert len(aside) == 1, "what the new one held is kept"
    assert aside[0].read_bytes()[:5] == b"PGDMP"
    with psycopg.connect(settings().need("postgres_reader_url")) as connection:
        row = connection.execute("select count(*) from information_schema.tables where table_schema = 'serve'")
        assert row.fetchone() is not None
    assert repair(repository).databases == []


def runs() -> list[str]:
    """The runs that Dagster's storage knows."""
    with dg.DagsterInstance.from_config(str(data_folder("dagster"))) as instance:
        return [run.job_name for run in instance.get_runs()]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["dropped", "emptied"])
def test_the_history_of_runs_comes_back_and_decisions_since_the_backup_stay(home: Path, how: str) -> None:
    dagster.write_instance()
    with dg.DagsterInstance.from_config(str(data_folder("dagster"))) as instance:
        instance.add_run(dg.DagsterRun(job_name="cycle", run_id=make_new_run_id(), status=dg.DagsterRunStatus.SUCCESS))
    repository = Repository(str(home / "kept"))
    make(repository)
    execute("create table ops.decided_since (word text)")
    if how == "dropped":
        execute("drop database dagster with (force)")
        (status,) = [one for one in stack.status() if one.name == "postgres"]
        assert status.state == "unhealthy"
        assert "no database dagster any more" in status.detail
        stack.up(["postgres"])
    else:
        with psycopg.connect(postgres.dagster_url(), autocommit=True) as connection:
            connection.execute("drop schema public cascade")
            connection.execute("create schema public")
    assert postgres.lost() == ["dagster"]
    assert runs() == [], "Dagster made its tables anew, and goes on without a word"
    finding = doctor._database()  # pyright: ignore[reportPrivateUsage]
    assert isinstance(finding, doctor.Finding)
    assert finding.state == "failed"
    assert "Dagster's runs" in finding.detail
    done = repair(repository)
    assert done.ok
    assert done.databases == ["dagster"], "what is whole is left as it is"
    assert runs() == ["cycle"]
    assert execute("select count(*) from ops.decided_since") == [(0,)]
    assert postgres.lost() == []
