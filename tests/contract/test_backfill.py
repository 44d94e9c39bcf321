"""A backfill reads in parts, several at a time, resumes where it broke off, and is one batch in the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from datong_ingestion.backfill import Progress, backfill
from datong_ingestion.protocols.sql import Sql
from datong_ingestion.source import InterruptedReadError, Page, Partitions, connect
from datong_platform.errors import ConfigurationError
from datong_platform.lake import history, landing, load, storage

Make = Callable[..., dict[str, Any]]
FIELDS = ("Id", "Name", "Amount", "DueOn", "Active", "ChangedAt")


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in FIELDS} for row in rows]


@pytest.fixture
def filled(sql: Any, row: Make) -> list[dict[str, Any]]:
    rows = [row(number) for number in range(40)]
    sql.put(*rows)
    return rows


def system(sql: Any, mode: str = "cursor", **changes: Any) -> Any:
    return sql.system(mode, partitions=5, **changes)


def left_over(sql: Any) -> list[str]:
    return [*storage.keys(f"landing/{sql.name}/thing/backfill/"), *storage.keys(f"landing/{sql.name}/thing/data/backf")]


def test_the_parts_hold_every_row_once(sql: Any, filled: list[dict[str, Any]]) -> None:
    sql.run('insert into thing ("Id", "ChangedAt") values (%s, null)', ["x"])
    config = system(sql)
    source = connect(config)
    assert isinstance(source, Partitions)
    for column in ("Id", "Amount", "ChangedAt", "DueOn", "Name"):
        parts = source.partitions(config.entity("thing"), column, 5)
        counts = [sql.db.execute(f"select count(*) from {sql.name}.thing where {part}").fetchone()[0] for part in parts]
        assert sum(counts) == 41, column
    source.close()


def test_a_backfill_is_one_batch_and_the_next_ingest_goes_on_from_it(
    sql: Any, row: Make, filled: list[dict[str, Any]]
) -> None:
    told: list[Progress] = []
    result = backfill(system(sql), "thing", on_part=told.append)
    assert (result.rows, result.batches) == (40, ["000000000001"])
    assert plain(sql.bronze()) == filled
    assert sorted(part.part for part in told) == [0, 1, 2, 3, 4]
    assert (told[-1].done, sum(part.rows for part in told)) == (5, 40)
    assert history.loads(sql.table)[0].kind == "baseline"
    assert left_over(sql) == []
    manifest = landing.read_manifest(sql.name, "thing", 1)
    assert manifest
    assert (manifest.received_rows, manifest.row_count, manifest.complete) == (40, 40, True)
    sql.put(row(3, Name="later", ChangedAt=row(900)["ChangedAt"]))
    assert sql.ingest().rows == 1


def test_a_backfill_finds_deletes_as_a_baseline_does(sql: Any, filled: list[dict[str, Any]]) -> None:
    sql.ingest(detect_deletes=False)
    sql.remove("00004", "00030")
    result = backfill(system(sql, detect_deletes=False), "thing")
    assert result.deletes == 2
    assert len(sql.current()) == 38


def test_a_full_entity_is_replaced(sql: Any, filled: list[dict[str, Any]]) -> None:
    sql.ingest("full")
    sql.remove("00004")
    result = backfill(system(sql, "full"), "thing")
    assert (result.total_rows, result.batches) == (39, ["000000000002"])
    assert sql.ingest("full").total_rows == 39


class Killed(BaseException):
    """The process is gone."""


def killing(real: Any, when: str, at: int) -> Callable[..., Any]:
    """A function that ends its process at its `at`-th call, before or after it worked."""
    lock, calls = threading.Lock(), [0]

    def killed(*arguments: Any, **named: Any) -> Any:
        with lock:
            calls[0] += 1
            number = calls[0]
        if number < at:
            return real(*arguments, **named)
        if when == "after":
            real(*arguments, **named)
        raise Killed

    return killed


STEPS = {
    "before the plan": (storage, "put_if_absent", "before", 1),
    "after the plan": (storage, "put_if_absent", "after", 1),
    "before a part's data": (storage, "put", "before", 2),
    "after a part's data": (storage, "put", "after", 2),
    "before a part's record": (storage, "put_if_absent", "before", 3),
    "after a part's record": (storage, "put_if_absent", "after", 3),
    "before the manifest": (storage, "put_if_absent", "before", 7),
    "after the manifest": (storage, "put_if_absent", "after", 7),
    "before the load": (load, "load", "before", 1),
    "after the load": (load, "load", "after", 1),
    "while clearing up": (storage, "delete", "after", 3),
    "before the plan is cleared": (storage, "delete", "before", 11),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_and_a_new_start_give_every_row_once(
    sql: Any, filled: list[dict[str, Any]], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, when, at = STEPS[step]
    with monkeypatch.context() as patch:
        patch.setattr(module, name, killing(getattr(module, name), when, at))
        patch.setattr(landing.Landing, "discard", lambda _self: None)
        with pytest.raises(Killed):
            backfill(system(sql), "thing")
    result = backfill(system(sql), "thing")
    assert plain(sql.bronze()) == filled
    assert result.total_rows == 40
    assert left_over(sql) == []


def test_only_parts_without_a_record_are_read_again(
    sql: Any, filled: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    one_at_a_time: dict[str, Any] = {"connection": {"concurrency": 1}}
    with monkeypatch.context() as patch:
        patch.setattr(storage, "put_if_absent", killing(storage.put_if_absent, "before", 5))
        with pytest.raises(Killed):
            backfill(system(sql, **one_at_a_time), "thing")
    told: list[Progress] = []
    backfill(system(sql, **one_at_a_time), "thing", on_part=told.append)
    assert [part.part for part in told] == [3, 4]
    assert plain(sql.bronze()) == filled


def test_a_backfill_that_was_given_up_is_read_anew(
    sql: Any, row: Make, filled: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(storage, "put_if_absent", killing(storage.put_if_absent, "before", 4))
            with pytest.raises(Killed):
                backfill(system(sql), "thing")

    broken_off()
    told: list[Progress] = []
    backfill(system(sql), "thing", anew=True, on_part=told.append)
    assert len(told) == 5
    broken_off()
    told.clear()
    backfill(system(sql, filter='"Active"'), "thing", on_part=told.append)
    assert len(told) == 5, "another definition, another backfill"
    assert len(sql.current()) == 20


def test_what_changes_while_a_backfill_lies_broken_off_is_brought_after_it(
    sql: Any, row: Make, filled: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sql.ingest()
    with monkeypatch.context() as patch:
        patch.setattr(storage, "put_if_absent", killing(storage.put_if_absent, "before", 5))
        with pytest.raises(Killed):
            backfill(system(sql), "thing")
    sql.put(row(1, Name="newer", ChangedAt=row(700)["ChangedAt"]), row(77, ChangedAt=row(701)["ChangedAt"]))
    sql.remove("00002")
    assert sql.ingest().rows == 2
    result = backfill(system(sql), "thing")
    found = {row["Id"]: row["Name"] for row in sql.current()}
    assert found["00001"] == "newer"
    assert "00077" in found
    assert "00002" not in found
    assert len(found) == 40
    assert len(result.batches) == 2


def test_parts_are_read_at_the_same_time_and_a_broken_one_again(
    sql: Any, filled: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier, troubles, lock = threading.Barrier(3, timeout=20), [1, 1], threading.Lock()
    real = Sql.read

    def read(self: Sql, entity: Any, description: Any, position: str | None) -> Iterator[Page]:
        if '"Id" >=' not in entity.filter or '"Id" <' not in entity.filter:
            yield from real(self, entity, description, position)
            return
        with lock:
            trouble = troubles.pop() if troubles else 0
        pages = list(real(self, entity, description, position))
        if trouble:
            yield pages[0]
            raise InterruptedReadError("database", "broke off.")
        barrier.wait()
        yield from pages

    monkeypatch.setattr(Sql, "read", read)
    backfill(system(sql), "thing")
    assert plain(sql.bronze()) == filled


def test_declared_filters_are_parts_too(sql: Any, filled: list[dict[str, Any]]) -> None:
    halves = ['"Active"', 'not "Active" or "Active" is null']
    told: list[Progress] = []
    backfill(system(sql, partition_filters=halves, filter="\"Id\" < '00010'"), "thing", on_part=told.append)
    assert sorted(part.condition for part in told) == sorted(halves)
    assert len(sql.bronze()) == 10


def test_two_backfills_at_once_load_every_row_once(sql: Any, filled: list[dict[str, Any]]) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            backfill(system(sql), "thing")
        except BaseException as error:  # noqa: BLE001 it is told below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert plain(sql.current()) == filled
    assert failures == []
    sql.ingest()
    assert plain(sql.current()) == filled


def test_what_cannot_be_read_in_parts_says_so(sql: Any, rest: Any, odata: Any) -> None:
    with pytest.raises(ConfigurationError, match="without a condition") as told:
        backfill(rest.system(), "thing")
    assert "{filter}" in told.value.next_step
    with pytest.raises(ConfigurationError, match="delta_token"):
        backfill(odata.system(), "thing")
    with pytest.raises(ConfigurationError, match="finds no ranges") as caught:
        backfill(odata.system("cursor"), "thing")
    assert "partition_filters" in caught.value.next_step
    with pytest.raises(ConfigurationError, match="Nope"):
        backfill(system(sql, partition_by="Nope"), "thing")
