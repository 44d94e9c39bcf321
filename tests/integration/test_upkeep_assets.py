"""Upkeep as Dagster runs it: every schema looked after, no row changed, nobody in whose way it stands."""

from __future__ import annotations

import threading
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from datong_assets import lake_facts, runs
from datong_assets.alone import alone
from datong_assets.components.upkeep import PLACES
from datong_platform import engine as engines
from datong_platform.errors import ConfigurationError
from datong_platform.lake import builds, history, storage, upkeep
from datong_platform.names import TableName
from datong_platform.settings import settings
from deltalake import DeltaTable, write_deltalake
from lake_builds import let_read

SILVER, LEDGER, GOLD = TableName("silver", "worn"), TableName("ops", "worn"), TableName("gold", "worn")
_COMMITS = 22


def write(table: TableName, number: int, mode: Any = "append") -> None:
    rows = pa.table({"number": pa.array([number], pa.int64())})
    now = settings()
    write_deltalake(now.table_uri(table), rows, mode=mode, storage_options=now.storage_options())


def rows_of(table: TableName) -> list[int]:
    found = history.open_table(table)
    assert found
    return sorted(found.to_pyarrow_table()["number"].to_pylist())


def keep_up(*places: str) -> runs.StepResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return runs.upkeep(places, instance=instance)


@pytest.fixture
def worn(own_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lake whose tables have many small files, and of which nothing is kept longer than needed."""
    assert own_bucket
    monkeypatch.setattr(upkeep, "KEPT_DAYS", 0)
    for number in range(_COMMITS):
        write(SILVER, number)
        write(LEDGER, number)


def test_small_files_go_together_old_ones_go_and_no_table_looks_changed(worn: None) -> None:
    storage.put(f"{SILVER.path}/left-by-a-killed-writer.parquet", b"half a file")
    before = lake_facts.identity(SILVER)
    done = keep_up()
    assert done.ok, done.errors
    assert [one.name for one in done.events] == list(PLACES)
    for table in (SILVER, LEDGER):
        assert rows_of(table) == list(range(_COMMITS))
        files = [key for key in storage.keys(f"{table.path}/") if key.endswith(".parquet") and "_delta_log" not in key]
        assert len(files) == 1, "one file is left, the small ones and what a killed writer left are gone"
        assert history.last_checkpoint(table) is not None
    assert lake_facts.identity(SILVER) == before, "readers must not build anew for what upkeep did"
    write(SILVER, 99)
    assert lake_facts.identity(SILVER) != before


def test_what_a_build_writes_is_left_alone_while_one_runs(worn: None) -> None:
    held, let_go = threading.Event(), threading.Event()

    def build() -> None:
        with alone("build"):
            held.set()
            let_go.wait(60)

    thread = threading.Thread(target=build)
    thread.start()
    try:
        assert held.wait(30)
        done = keep_up("silver", "ops")
    finally:
        let_go.set()
        thread.join(30)
    assert done.ok, done.errors
    assert {one.name: one.skipped for one in done.events} == {"silver": True, "ops": False}
    found = history.open_table(SILVER)
    assert found
    assert found.version() == _COMMITS - 1


def test_what_people_read_stays_readable_however_long_ago_it_passed(worn: None) -> None:
    write(GOLD, 1, "overwrite")
    write(GOLD, 2, "overwrite")
    let_read(GOLD)
    for number in range(3, 6):
        write(GOLD, number, "overwrite")
    built = lake_facts.identity(GOLD)
    assert keep_up("gold").ok
    assert lake_facts.identity(GOLD) == built
    assert builds.open_published(GOLD).to_pyarrow_table()["number"].to_pylist() == [2]
    files = [key for key in storage.keys(f"{GOLD.path}/") if "_delta_log" not in key]
    assert len(files) == 2, "what people read, and what was built last"


def test_the_log_of_what_sail_writes_is_cleared_with_its_checksums(worn: None) -> None:
    now, table = settings(), TableName("silver", "of_sail")
    sail = engines.session()
    sail.sql("create schema if not exists silver").collect()
    sail.sql(
        f"create table {table} (number bigint) using delta location '{now.engine_table_uri(table)}' "
        "tblproperties ('delta.logRetentionDuration' = 'interval 0 days')"
    ).collect()
    try:
        for number in range(12):
            sail.sql(f"insert into {table} values ({number})").collect()
        before = list(storage.keys(f"{table.path}/_delta_log/"))
        assert any(key.endswith(".crc") for key in before)
        assert keep_up("silver").ok
        assert rows_of(table) == list(range(12))
        left = list(storage.keys(f"{table.path}/_delta_log/"))
        assert len(left) < len(before) / 2
        kept = {int(key.rsplit("/", 1)[1].split(".")[0]) for key in left if "_last_checkpoint" not in key}
        assert min(kept) >= 10, "no checksum outlives its commit"
        sail.sql(f"insert into {table} values (100)").collect()
        assert DeltaTable(now.table_uri(table), storage_options=now.storage_options()).count() == 13
    finally:
        sail.sql(f"drop table if exists {table}").collect()


def test_a_schema_that_is_none_is_named(services: Any) -> None:
    with pytest.raises(ConfigurationError, match="silwer"):
        runs.upkeep(["silwer"])
