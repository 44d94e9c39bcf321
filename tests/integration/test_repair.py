"""Drills: one thing is lost, the look says so, one command mends it, and nothing that was committed is missing.

Each drill tells its recovery point (what is there afterwards) by comparing rows, and its time in the record that pytest
keeps of it (`--junit-xml`, property `seconds_to_be_back`).
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datong_infra.backup.make import make
from datong_infra.backup.repository import Repository
from datong_infra.repair.run import Repaired, repair
from datong_platform import engine as engines
from datong_platform.lake import catalog, history, integrity, landing, load, storage, upkeep
from datong_platform.names import TableName, bronze
from datong_platform.settings import settings
from deltalake import write_deltalake

SYSTEM, ENTITY = "drill", "order"
BRONZE, SILVER, LEDGER = bronze(SYSTEM, ENTITY), TableName("silver", "drill"), TableName("ops", "drill")
_SCHEMA = pa.schema([("id", pa.string()), ("amount", pa.int64())])
_BATCHES = 6


def land(number: int, kind: landing.Kind = "changes", mode: str = "changes") -> landing.Manifest:
    """A batch of three rows in the landing zone."""
    batch = landing.Landing(
        SYSTEM,
        ENTITY,
        number,
        mode=mode,
        kind=kind,
        schema=_SCHEMA,
        keys=["id"],
        cursors=[],
        distinct=True,
        position=str(number - 1),
        contract_version="1",
    )
    rows = pa.table({"id": [f"{number}-{row}" for row in range(3)], "amount": [number] * 3}, schema=_SCHEMA)
    batch.add(rows, pa.array(["insert"] * 3), None, frozenset())
    manifest = batch.seal(str(number))
    assert batch.commit(manifest)
    return manifest


def write(table: TableName, number: int) -> None:
    rows = pa.table({"number": pa.array([number], pa.int64())})
    write_deltalake(settings().table_uri(table), rows, mode="append", storage_options=settings().storage_options())


def content(table: TableName) -> list[Any]:
    """All rows of a table, by the columns that say what was committed."""
    delta = history.open_table(table)
    assert delta, table
    column = "id" if table == BRONZE else "number"
    return sorted(delta.to_pyarrow_dataset().to_table(columns=[column])[column].to_pylist())


def lose(key: str) -> None:
    """An object is gone, as by a slip of somebody's hand in the store."""
    assert storage.exists(key), f"{key} was never there"
    storage.delete(key)


def entry(table: TableName, version: int) -> str:
    return f"{table.path}/_delta_log/{version:020d}.json"


def kinds() -> list[str]:
    return [damage.kind for damage in integrity.examine()]


@pytest.fixture
def lake(own_bucket: str) -> Iterator[Repository]:
    """A lake of three tables that was just seen whole, and a place for backups."""
    assert own_bucket
    for number in range(1, _BATCHES + 1):
        load.load(land(number))
        write(SILVER, number)
        write(LEDGER, number)
    assert integrity.examine() == []
    integrity.bear_witness()
    yield Repository(str(Path(os.environ["DATONG_HOME"]) / "drills" / own_bucket))
    spark = engines.session()
    for table in (BRONZE, SILVER, LEDGER):
        spark.sql(f"drop table if exists {table}").collect()


@pytest.fixture
def mend(record_property: Callable[[str, object], None]) -> Callable[..., Repaired]:
    """The one command, timed."""

    def run(repository: Repository | None = None) -> Repaired:
        began = time.monotonic()
        done = repair(repository)
        record_property("seconds_to_be_back", round(time.monotonic() - began, 2))
        return done

    return run


@pytest.mark.parametrize("version", [0, 3, _BATCHES - 1])
def test_a_log_entry_of_any_table_comes_back_from_a_backup(
    lake: Repository, mend: Callable[..., Repaired], version: int
) -> None:
    make(lake)
    write(LEDGER, 100)
    before = content(LEDGER)
    lose(entry(LEDGER, version))
    assert kinds() == ["log"]
    done = mend(lake)
    assert done.ok
    assert done.put_back == [entry(LEDGER, version)]
    assert content(LEDGER) == before, "what was committed after the backup is there as well"
    assert integrity.examine() == []


def test_a_log_entry_of_bronze_is_told_again_by_the_manifest_of_its_batch(
    lake: Repository, mend: Callable[..., Repaired]
) -> None:
    before, loads = content(BRONZE), [one.batch_id for one in history.loads(BRONZE)]
    lose(entry(BRONZE, 3))
    lose(entry(BRONZE, 4))
    assert kinds() == ["log"]
    done = mend()
    assert done.ok, done.left
    assert content(BRONZE) == before
    assert [one.batch_id for one in history.loads(BRONZE)] == loads, "and so are watermarks and history"
    load.load(land(_BATCHES + 1))
    assert len(content(BRONZE)) == len(before) + 3


def test_the_newest_entry_of_bronze_is_noticed_and_its_batch_loaded_again_once(
    lake: Repository, mend: Callable[..., Repaired]
) -> None:
    before = content(BRONZE)
    lose(entry(BRONZE, _BATCHES))
    assert kinds() == ["behind"], "the table opens as if nothing were wrong: only the witness tells"
    assert mend().ok
    assert content(BRONZE) == before
    assert integrity.examine() == []


def test_the_newest_entry_of_the_ledger_needs_a_backup_and_says_so(
    lake: Repository, mend: Callable[..., Repaired]
) -> None:
    make(lake)
    before = content(LEDGER)
    lose(entry(LEDGER, _BATCHES - 1))
    assert kinds() == ["behind"]
    alone = mend()
    assert not alone.ok
    assert "--from PLACE" in alone.mended[0].next_step
    assert mend(lake).ok
    assert content(LEDGER) == before


def test_a_lost_checkpoint_is_made_anew(lake: Repository, mend: Callable[..., Repaired]) -> None:
    delta = history.open_table(LEDGER)
    assert delta
    delta.create_checkpoint()
    before = content(LEDGER)
    lose(f"{LEDGER.path}/_delta_log/{delta.version():020d}.checkpoint.parquet")
    assert kinds() == ["checkpoint"]
    assert mend().ok
    assert integrity.examine() == []
    assert content(LEDGER) == before
    assert history.last_checkpoint(LEDGER) == delta.version()


def test_a_checkpoint_whose_entries_were_cleared_away_comes_from_a_backup(
    lake: Repository, mend: Callable[..., Repaired]
) -> None:
    delta = history.open_table(LEDGER)
    assert delta
    delta.create_checkpoint()
    for version in range(3):
        storage.delete(entry(LEDGER, version))
    assert integrity.examine() == []
    make(lake)
    before = content(LEDGER)
    lose(checkpoint := f"{LEDGER.path}/_delta_log/{delta.version():020d}.checkpoint.parquet")
    assert kinds() == ["log"]
    # no entry names the checkpoint that is gone, but the pointer does
    done = mend(lake)
    assert done.ok, done.left
    assert checkpoint in done.put_back
    assert content(LEDGER) == before


def test_a_checkpoint_and_an_entry_after_it_are_both_made_good(lake: Repository, mend: Callable[..., Repaired]) -> None:
    delta = history.open_table(BRONZE)
    assert delta
    delta.create_checkpoint()
    load.load(land(_BATCHES + 1))
    load.load(land(_BATCHES + 2))
    before = content(BRONZE)
    lose(f"{BRONZE.path}/_delta_log/{delta.version():020d}.checkpoint.parquet")
    lose(entry(BRONZE, _BATCHES + 1))
    assert kinds() == ["log"]
    done = mend()
    assert done.ok, done.left
    assert content(BRONZE) == before


def test_a_file_of_bronze_comes_again_from_the_landing_zone(lake: Repository, mend: Callable[..., Repaired]) -> None:
    before = content(BRONZE)
    lose(next(key for key in storage.keys(f"{BRONZE.path}/") if key.endswith(".parquet") and "_delta_log" not in key))
    assert kinds() == ["files"]
    assert mend().ok
    assert content(BRONZE) == before


def test_a_table_that_builds_make_is_set_aside_to_be_built_anew(
    lake: Repository, mend: Callable[..., Repaired]
) -> None:
    lose(entry(SILVER, 2))
    assert kinds() == ["log"]
    done = mend()
    assert done.ok, done.left
    assert [one.next_step for one in done.mended] == ["`datong build`."]
    assert history.open_table(SILVER) is None
    aside = [key for key in storage.keys("_datong/set_aside/") if f"/{SILVER.path}/" in key]
    assert len(aside) == _BATCHES - 1, "nothing is deleted"
    assert {item.name for item in make(lake).lake} >= set(aside), "and a backup can be made all the same"


def test_a_landed_batch_without_its_file_is_read_again_and_not_skipped(
    lake: Repository, mend: Callable[..., Repaired]
) -> None:
    manifest = land(_BATCHES + 1)
    lose(manifest.files[0].key)
    assert kinds() == ["landing"]
    assert mend().ok
    assert landing.read_manifest(SYSTEM, ENTITY, _BATCHES + 1) is None
    delta = history.open_table(BRONZE)
    loaded = history.watermark(BRONZE, delta)
    assert loaded
    assert loaded.position == str(_BATCHES), "the next read begins where the table ends"
    assert load.load(land(_BATCHES + 1))


def test_a_batch_that_its_system_does_not_send_again_is_not_thrown_away(
    lake: Repository, mend: Callable[..., Repaired]
) -> None:
    manifest = land(_BATCHES + 1, mode="stream")
    make(lake)
    lose(manifest.files[0].key)
    alone = mend()
    assert not alone.ok
    assert "does not send them again" in alone.mended[0].next_step
    assert mend(lake).ok
    assert load.load(manifest)
    assert len(content(BRONZE)) == 3 * (_BATCHES + 1)


def test_the_engine_learns_its_catalog_again(lake: Repository, mend: Callable[..., Repaired]) -> None:
    catalog.register()
    spark = engines.session()
    for table in (BRONZE, SILVER, LEDGER):
        spark.sql(f"drop table {table}").collect()
    assert mend().ok
    assert spark.sql(f"select count(*) from {LEDGER}").collect()[0][0] == _BATCHES


def test_a_compaction_that_was_lost_doubles_no_row(lake: Repository, mend: Callable[..., Repaired]) -> None:
    before = content(BRONZE)
    assert upkeep.compact(BRONZE, fewest_files=2) > 0
    compacted = history.open_table(BRONZE)
    assert compacted
    load.load(land(_BATCHES + 1))
    lose(entry(BRONZE, compacted.version()))
    done = mend()
    assert done.ok, done.left
    assert content(BRONZE) == sorted([*before, *(f"{_BATCHES + 1}-{row}" for row in range(3))])


def test_a_whole_lake_is_left_as_it_is(lake: Repository, mend: Callable[..., Repaired]) -> None:
    objects = sorted(storage.keys(""))
    done = mend(lake)
    assert (done.found, done.put_back, done.mended, done.left) == ([], [], [], [])
    assert sorted(storage.keys("")) == objects


def test_what_a_backup_holds_is_never_put_over_what_is_there(lake: Repository) -> None:
    make(lake)
    key = f"landing/{SYSTEM}/{ENTITY}/{uuid.uuid4().hex}"
    storage.put(key, b"new")
    assert not storage.put_if_absent(key, b"old")
