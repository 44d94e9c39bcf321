"""Small files of many loads become few, beside loads that go on, and no row changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from datong_platform.lake import history, storage, upkeep

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
