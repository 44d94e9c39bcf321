"""The shared suite, second part: every protocol keeps the schema policy, counts what came, streams, and waits."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from adbc_driver_postgresql import dbapi
from datong_ingestion import streaming
from datong_ingestion.protocols.databases import mysql
from datong_ingestion.run import IngestOutcome, ingest_entity
from datong_ingestion.source import Page, connect
from datong_platform.errors import SchemaError
from datong_platform.lake import history, landing, quarantine

Make = Callable[..., dict[str, Any]]


def _add_field(rig: Any) -> None:
    if rig.protocol == "soap":
        pytest.skip("a service that types its answers cannot send it; test_soap changes them on the wire")
    if rig.protocol == "sql":
        rig.add_text("Extra")


def test_rescue_keeps_the_table_as_it_is_and_the_new_value_in_its_row(rig: Any, row: Make) -> None:
    rig.put(row(1))
    schema = rig.ingest("full", schema_policy="rescue").schema
    _add_field(rig)
    rig.put(row(2) | {"Extra": "new"})
    result = rig.ingest("full", schema_policy="rescue")
    assert result.schema == schema
    assert result.rescued == 1
    first, second = rig.bronze()
    assert first["_datong_rescued"] is None
    assert json.loads(second["_datong_rescued"]) == {"Extra": "new"}
    assert second["Name"] == row(2)["Name"]


def test_freeze_stops_at_a_new_field_and_commits_nothing(rig: Any, row: Make) -> None:
    rig.put(row(1))
    rig.ingest("full", schema_policy="freeze")
    loads = len(history.loads(rig.table))
    _add_field(rig)
    rig.put(row(2) | {"Extra": "new"})
    with pytest.raises(SchemaError, match="Extra") as caught:
        rig.ingest("full", schema_policy="freeze")
    assert f"{rig.name}.thing" in str(caught.value)
    assert caught.value.next_step
    assert len(history.loads(rig.table)) == loads
    assert [found["Id"] for found in rig.bronze()] == ["00001"]
    ingest_entity(rig.system("full"), "thing")
    assert {found["Id"] for found in rig.bronze()} == {"00001", "00002"}


def test_every_batch_accounts_for_all_that_was_received(rig: Any, row: Make) -> None:
    rig.put(*[row(number) for number in range(9)])
    rig.ingest()
    rig.put(row(4, Name="second", ChangedAt=row(600)["ChangedAt"]))
    result = rig.ingest()
    for batch in history.loads(rig.table):
        found = landing.read_manifest(rig.name, "thing", batch.sequence)
        assert found
        kept = found.row_count + found.superseded_rows + found.unchanged_rows + found.refused_rows
        assert found.received_rows == kept
        assert quarantine.count(found) == found.refused_rows
    assert result.refused == 0


def test_a_stream_of_it_brings_a_change_without_being_asked(rig: Any, row: Make) -> None:
    system, heard, stop = rig.system(), list[IngestOutcome](), threading.Event()
    rig.put(row(1))
    thread = threading.Thread(
        target=lambda: streaming.stream(system, ["thing"], stop=stop, pause=0.05, on_batch=heard.append)
    )
    thread.start()

    def until(name: str) -> None:
        deadline = time.monotonic() + 60
        while name not in [found["Name"] for found in rig.current()]:
            assert time.monotonic() < deadline, heard
            time.sleep(0.1)

    try:
        until(row(1)["Name"])
        rig.put(row(1, Name="later", ChangedAt=row(900)["ChangedAt"]))
        until("later")
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    assert all(outcome.ok for outcome in heard)
    assert len(rig.current()) == 1


def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows or so in a page of a database, as the other systems cut their answers themselves."""
    monkeypatch.setattr(mysql, "_BATCH_ROWS", 3)
    plain = dbapi.Connection.cursor

    def small(self: Any, **options: Any) -> Any:
        cursor = plain(self, **options)
        cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": "150"})
        return cursor

    monkeypatch.setattr(dbapi.Connection, "cursor", small)


def test_a_reader_that_is_slow_holds_the_source_back(rig: Any, row: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(number) for number in range(60)]
    # a document is read whole before any of it counts: what waits is the next one
    portion = 3 if rig.incremental == "stream" else len(rows)
    for start in range(0, len(rows), portion):
        rig.put(*rows[start : start + portion])
    _small_pages(monkeypatch)
    made: list[int] = []
    whole = Page.__post_init__

    def counted(page: Page) -> None:
        whole(page)
        made.append(len(page.rows))

    monkeypatch.setattr(Page, "__post_init__", counted)
    system = rig.system("stream" if rig.incremental == "stream" else "full")
    entity, source = system.entity("thing"), connect(system)
    try:
        with closing(source.read(entity, source.describe(entity), None)) as pages:
            made.clear()
            first = next(pages)
            while (before := len(made)) != (time.sleep(0.1), len(made))[1]:
                assert before < 60
            assert sum(made) <= 30, "it reads on although nobody takes what it has read"
            taken = [first.rows, *(page.rows for page in pages)]
    finally:
        source.close()
    assert len(made) >= 15, "pages are too large for this test to tell anything"
    assert sorted(key for table in taken for key in table.column("Id").to_pylist()) == [one["Id"] for one in rows]
