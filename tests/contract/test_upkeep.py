"""Small files of many loads become few, beside loads that go on, and no row changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from datong_platform.lake import history, landing, storage, superseded, upkeep
from datong_platform.lake.retention import Retention

Make = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "EVERY", 4)
    monkeypatch.setattr(upkeep, "VACUUM_EVERY", 8)
    monkeypatch.setattr(upkeep, "_FILES", 3)


def files(rig: Any) -> int:
    delta = history.open_table(rig.table)
    return len(delta.file_uris()) if delta else 0


def test_small_files_are_put_together_and_every_row_stays(sql: Any, row: Make) -> None:
    for number in range(9):
        sql.put(row(number, ChangedAt=row(number * 60)["ChangedAt"]))
        sql.ingest()
    assert files(sql) < 5, "nine loads, two compactions"
    assert [found["Id"] for found in sql.bronze()] == [f"{number:05d}" for number in range(9)]
    assert len({found["_datong_batch_id"] for found in sql.bronze()}) == 9
    assert next(iter(history.loads(sql.table))).batch_id == "000000000009"
    delta = history.open_table(sql.table)
    loaded = history.watermark(sql.table, delta)
    assert loaded
    assert loaded.sequence == 9
    assert sql.ingest().batches == []


def test_a_log_of_many_loads_is_summed_up_and_every_load_is_still_told(
    sql: Any, row: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "CHECKPOINT_EVERY", 3)
    for number in range(7):
        sql.put(row(number, ChangedAt=row(number * 60)["ChangedAt"]))
        assert sql.ingest().rows == 1
    log = list(storage.keys(f"{sql.table.path}/_delta_log/"))
    assert len([key for key in log if ".checkpoint" in key]) == 2, "seven loads"
    assert [loaded.sequence for loaded in history.loads(sql.table)] == [7, 6, 5, 4, 3, 2, 1]
    assert sorted(history.loads_of(sql.table, ["000000000007", "000000000002"])) == ["000000000002", "000000000007"]
    assert [found["Id"] for found in sql.bronze()] == [f"{number:05d}" for number in range(7)]
    assert sql.ingest().batches == []


def test_loads_and_compactions_at_once_lose_nothing(sql: Any, row: Make) -> None:
    stop = threading.Event()
    fewer: list[int] = []

    def work() -> None:
        while not stop.is_set():
            fewer.append(upkeep.compact(sql.table))

    sql.put(row(0))
    sql.ingest()
    thread = threading.Thread(target=work)
    thread.start()
    for number in range(1, 15):
        sql.put(row(number, ChangedAt=row(number * 60)["ChangedAt"]))
        sql.ingest()
    stop.set()
    thread.join(30)
    assert sum(fewer) > 0
    assert [found["Id"] for found in sql.bronze()] == [f"{number:05d}" for number in range(15)]


def test_files_of_the_last_days_survive_the_vacuum(sql: Any, row: Make) -> None:
    for number in range(4):
        sql.put(row(number, ChangedAt=row(number * 60)["ChangedAt"]))
        sql.ingest()
    assert upkeep.vacuum(sql.table) == 0
    delta = history.open_table(sql.table)
    assert delta
    delta.load_as_version(2)
    assert delta.count() == 2


def names(rig: Any) -> list[tuple[str, str, str]]:
    """What bronze holds: batch, key and a value of each row."""
    return [(found["_datong_batch_id"][-1], found["Id"][-1], found["Name"]) for found in rig.bronze()]


def test_replaced_states_go_after_their_time_and_the_last_one_of_each_record_never(sql: Any, row: Make) -> None:
    def changed(number: int, name: str, minute: int) -> dict[str, Any]:
        return row(number, Name=name, ChangedAt=row(minute)["ChangedAt"])

    deletes = {"detect_deletes": True, "deletes_limit_percent": 100}
    sql.put(changed(1, "one", 0), changed(2, "two", 0), changed(3, "three", 0))
    sql.ingest(**deletes)
    sql.put(changed(1, "one, later", 60))
    sql.remove("00003")
    sql.ingest(**deletes)
    sql.put(changed(1, "one, last", 120))
    sql.ingest(**deletes)
    before = names(sql)
    assert len(before) == 6, "three new, one changed and one deleted, one changed"
    current = sql.current()
    delta = history.open_table(sql.table)
    assert delta
    yet = superseded.find(sql.table, delta, 1)
    assert yet
    assert yet.rows == 0, "a newer state came, but not a day ago"
    kept = upkeep.keep_up(sql.table, Retention(history_days=1))
    assert kept
    assert (kept.states_removed, kept.put_off) == (0, "")
    assert upkeep.due(sql.table, Retention(history_days=0))[-1].count == 3
    assert names(sql) == before, "the look changes nothing"
    kept = upkeep.keep_up(sql.table, Retention(history_days=0))
    assert kept
    assert (kept.states_removed, kept.put_off) == (3, "")
    assert next((key, name) for _, key, name in names(sql)) == ("2", "two")
    assert sorted(key for _, key, _ in names(sql)) == ["1", "2", "3"]
    assert sql.current() == current
    delta = history.open_table(sql.table)
    assert delta
    assert delta.history(1)[0]["datong_upkeep"] == "states replaced more than 0 days ago"
    assert sql.ingest(**deletes).batches == [], "the next read goes on from where the last one ended"
    sql.put(changed(3, "three again", 180))
    sql.ingest(**deletes)
    assert [one["Name"] for one in sql.current()] == ["one, last", "two", "three again"]


def test_events_replace_nothing(sql: Any, row: Make) -> None:
    for minute in (0, 60):
        sql.put(row(1, ChangedAt=row(minute)["ChangedAt"]))
        sql.ingest(events=True, detect_deletes=False)
    delta = history.open_table(sql.table)
    assert delta
    assert superseded.find(sql.table, delta, 0) is None
    kept = upkeep.keep_up(sql.table, Retention(history_days=0))
    assert kept
    assert kept.states_removed == 0
    assert len(sql.bronze()) == 2


def test_landed_files_stay_for_their_batches_and_for_their_days(sql: Any, row: Make) -> None:
    def landed() -> list[int]:
        keys = storage.keys(f"{landing.root(sql.name, 'thing')}/data/")
        return sorted({int(key.split("/data/")[1][:12]) for key in keys})

    for number in range(5):
        sql.put(row(number, ChangedAt=row(number * 60)["ChangedAt"]))
        sql.ingest(retention={"landed_batches": 2, "landed_days": 1}, detect_deletes=False)
    assert landed() == [1, 2, 3, 4, 5], "none of them is a day old"
    place = (sql.name, "thing")
    assert upkeep.clear_landing({place: Retention(landed_batches=2, landed_days=1)}) == {}
    storage.put(f"{landing.root(*place)}/data/{landing.batch_id(6)}-being-written/part-00000.parquet", b"x")
    (due,) = upkeep.landing_due(*place, Retention(landed_batches=2))
    assert (due.what, due.count, due.kept) == ("landed files", 3, "2 batches")
    assert upkeep.clear_landing({place: Retention(landed_batches=2)}) == {place: 3}
    assert landed() == [4, 5, 6], "the last two, and what somebody writes just now"


def test_a_version_can_be_read_for_as_long_as_the_definition_says(sql: Any, row: Make) -> None:
    sql.put(row(1))
    sql.ingest()
    for days in (400, 7):
        assert upkeep.keep_up(sql.table, Retention(versions_days=days))
        delta = history.open_table(sql.table)
        assert delta
        assert delta.metadata().configuration["delta.logRetentionDuration"] == f"interval {days} days"
    version = delta.version()
    assert upkeep.keep_up(sql.table, Retention(versions_days=7))
    delta.update_incremental()
    assert delta.version() == version, "nothing is said twice"
