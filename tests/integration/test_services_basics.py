"""The services that `datong up` starts do their work and are found again."""

from __future__ import annotations

import psycopg
import pytest
from datong_infra.services import stack
from datong_platform import engine
from datong_platform.lake import storage
from datong_platform.settings import Settings


def test_every_service_is_healthy_and_a_second_up_starts_nothing(services: Settings) -> None:
    assert {status.name: status.state for status in stack.status()} | {
        "store": "healthy",
        "engine": "healthy",
        "postgres": "healthy",
    } == {status.name: status.state for status in stack.status()}
    pids = {status.name: status.pid for status in stack.status()}
    again = stack.up(["store", "engine", "postgres"])
    assert not any(status.changed for status in again)
    assert {status.name: status.pid for status in again}.items() <= pids.items()


def test_the_engine_writes_delta_tables_to_the_store(services: Settings) -> None:
    spark = engine.session()
    spark.sql("create schema if not exists ops")
    uri = f"{services.lake_scheme}://{services.bucket}/ops/services_test"
    spark.sql(f"create or replace table ops.services_test using delta location '{uri}' as select 7 as n").collect()
    assert engine.query("select n from ops.services_test").to_pylist() == [{"n": 7}]
    assert any(key.endswith(".json") for key in storage.keys("ops/services_test/_delta_log/"))


def test_a_reader_sees_tables_of_serve_that_came_later_and_changes_nothing(services: Settings) -> None:
    assert services.postgres_url
    assert services.postgres_reader_url
    with psycopg.connect(services.postgres_url, autocommit=True) as owner:
        owner.execute("create table serve.later (n int)")
        owner.execute("create table ops.secret (n int)")
        owner.execute("insert into serve.later values (1)")
    try:
        with psycopg.connect(services.postgres_reader_url, autocommit=True) as reader:
            assert reader.execute("select n from later").fetchall() == [(1,)]
            for forbidden in (
                "select * from ops.secret",
                "insert into serve.later values (2)",
                "create table serve.mine (n int)",
                "create table public.mine (n int)",
                "create temporary table mine (n int)",
                "set role datong",
            ):
                with pytest.raises(psycopg.errors.DatabaseError):
                    reader.execute("set default_transaction_read_only = off; " + forbidden)
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(services.postgres_reader_url.rsplit("/", 1)[0] + "/dagster")
    finally:
        with psycopg.connect(services.postgres_url, autocommit=True) as owner:
            owner.execute("drop table serve.later, ops.secret")
