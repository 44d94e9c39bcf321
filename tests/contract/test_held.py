"""A table that stays open from one ingest to the next is the table as it is now, and one caller's at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from datong_platform.lake import held, history, landing, storage
from datong_platform.names import TableName

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[TableName]:
    """The tables that are opened anew."""
    found: list[TableName] = []
    real = history.open_table

    def open_table(table: TableName) -> Any:
        found.append(table)
        return real(table)

    monkeypatch.setattr(history, "open_table", open_table)
    return found


def ids(rig: Any) -> list[str]:
    return [found["Id"] for found in rig.bronze()]


def test_ingests_that_follow_each_other_open_the_table_once(rest: Any, row: Make, opened: list[TableName]) -> None:
    for number in range(4):
        rest.put(row(number, ChangedAt=row(number * 60)["ChangedAt"]))
        found = rest.ingest("cursor", cursor="ChangedAt")
        assert (found.rows, found.total_rows) == (1, number + 1)
        assert found.batches == [landing.batch_id(number + 1)]
        assert rest.ingest("cursor", cursor="ChangedAt").batches == []
        if not number:
            opened.clear()
    assert rest.table not in opened


def test_the_commits_of_others_are_seen(rest: Any, row: Make, opened: list[TableName]) -> None:
    rest.put(row(0))
    rest.ingest("full")
    other = history.open_table(rest.table)
    assert other
    other.alter.set_table_properties({"delta.logRetentionDuration": "interval 40 days"})
    opened.clear()
    found = held.take(rest.table)
    assert found
    assert found.version() == other.version()
    assert found.metadata().configuration["delta.logRetentionDuration"] == "interval 40 days"
    last = history.watermark(rest.table, found)
    assert last
    assert last.sequence == 1
    assert not opened


def test_a_batch_that_another_process_loaded_is_not_loaded_again(rest: Any, row: Make) -> None:
    rest.put(row(0))
    rest.ingest("full")
    mine = held.take(rest.table)
    assert mine
    rest.put(row(1))
    assert rest.ingest("full").batches == [landing.batch_id(2)]
    # what an ingest of another process would have left open in this one: the table as it was before
    held.give_back(rest.table, mine)
    assert history.last_batch(rest.table, mine) == 1
    assert rest.ingest("full").batches == []
    rest.put(row(2))
    assert rest.ingest("full").batches == [landing.batch_id(3)]
    assert ids(rest) == ["00000", "00001", "00002"]


def test_a_table_that_was_deleted_or_made_anew_is_not_taken_for_the_one_that_was_held(rest: Any, row: Make) -> None:
    rest.put(row(0))
    rest.ingest("full")
    before = held.take(rest.table)
    assert before
    held.give_back(rest.table, before)
    for key in list(storage.keys(f"{rest.table.path}/")):
        storage.delete(key)
    assert held.take(rest.table) is None
    held.give_back(rest.table, before)
    assert held.take(rest.table) is None, "its last commit is not there"

    rest.ingest("full")
    after = history.open_table(rest.table)
    assert after
    # as long a log as before, at the same place
    assert after.version() == before.version()
    held.give_back(rest.table, before)
    found = held.take(rest.table)
    assert found
    assert found.metadata().id == after.metadata().id != before.metadata().id


def test_two_at_once_have_each_their_own(rest: Any, row: Make) -> None:
    rest.put(row(0))
    rest.ingest("full")
    one, two = held.take(rest.table), held.take(rest.table)
    assert one is not None
    assert two is not None
    assert one is not two
