"""The landing zone and the load by themselves: parts, locks, kills, left-overs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datong_platform.errors import ServiceError
from datong_platform.lake import landing, load, storage
from datong_platform.names import bronze
from deltalake.exceptions import CommitFailedError

Make = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[2]


def test_a_batch_of_many_parts_keeps_the_last_row_of_a_key(
    rest: Any, row: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "PART_BYTES", 1)
    rest.put(*[row(i) for i in range(8)])
    for number, key in enumerate(["00001", "00004", "00001"]):
        rest.server.store.rows[f"again {number}"] = row(
            0, Id=key, Name=f"again {number}", ChangedAt=row(90)["ChangedAt"]
        )
    result = rest.ingest("full")
    manifest = landing.read_manifest(rest.name, "thing", 1)
    assert manifest
    assert len(manifest.files) == 4
    assert (manifest.received_rows, manifest.row_count, manifest.superseded_rows) == (11, 8, 3)
    assert result.total_rows == 8
    names = {r["Id"]: r["Name"] for r in rest.bronze()}
    assert (names["00001"], names["00004"]) == ("again 2", "again 1")


def test_rows_without_a_key_never_push_each_other_out(rest: Any, row: Make) -> None:
    rest.server.store.rows = {str(i): row(i) | {"Id": None} for i in range(4)}
    assert rest.ingest("full").total_rows == 4


def test_the_second_reader_of_a_batch_throws_its_files_away(services: Any) -> None:
    import pyarrow as pa

    def batch() -> landing.Landing:
        made = landing.Landing(
            "lock",
            "thing",
            1,
            mode="full",
            kind="full",
            schema=pa.schema([("id", pa.string())]),
            keys=["id"],
            cursors=[],
            distinct=True,
            position=None,
            contract_version="1",
        )
        made.add(pa.table({"id": ["a"]}), pa.array(["snapshot"]), None, frozenset())
        return made

    first, second = batch(), batch()
    one, other = first.seal(None), second.seal(None)
    assert first.commit(one)
    assert not second.commit(other)
    left = list(storage.keys("landing/lock/thing/data/"))
    assert left == [file.key for file in one.files]


def test_files_of_old_batches_and_crashes_are_removed(rest: Any, row: Make) -> None:
    storage.put(f"landing/{rest.name}/thing/data/{landing.batch_id(2)}-left-over/part-00000.parquet", b"x")
    for number in range(6):
        rest.put(row(number))
        rest.ingest("full", retention={"landed_batches": 3})
    kept = {key.split("/data/")[1][:12] for key in storage.keys(f"landing/{rest.name}/thing/data/")}
    assert kept == {landing.batch_id(n) for n in (4, 5, 6)}


def test_a_landed_file_that_is_gone_is_named(rest: Any, row: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rest.put(row(1))
    rest.ingest("full")
    rest.put(row(2))
    monkeypatch.setattr(load, "load", lambda *_: None)
    rest.ingest("full")
    monkeypatch.undo()
    manifest = landing.read_manifest(rest.name, "thing", 2)
    assert manifest
    storage.delete(manifest.files[0].key)
    with pytest.raises(ServiceError) as caught:
        rest.ingest("full")
    assert manifest.files[0].key in str(caught.value)
    assert caught.value.next_step


def test_landed_files_become_the_tables_own_and_others_are_written_anew(rest: Any, row: Make) -> None:
    rest.put(*[row(i) for i in range(5)])
    rest.ingest("full")
    manifest = landing.read_manifest(rest.name, "thing", 1)
    assert manifest
    table = bronze(rest.name, "thing")

    def files() -> list[bytes]:
        return [storage.get(key) or b"" for key in storage.keys(f"{table.path}/") if key.endswith(".parquet")]

    assert files() == [storage.get(manifest.files[0].key)]
    kept = rest.bronze()
    assert {found["_datong_batch_id"] for found in kept} == {manifest.batch_id}
    # a batch that was landed before its files had all columns of bronze, or under another number
    for number, batch in ((2, ""), (3, "000000000001")):
        old = [replace(file, batch=batch) for file in manifest.files]
        load.load(replace(manifest, sequence=number, files=old))
        found = rest.bronze()
        assert {one["_datong_batch_id"] for one in found} == {landing.batch_id(number)}
        own = ("_datong_batch_id", "_datong_ingested_at")
        assert [{n: one[n] for n in one if n not in own} for one in found] == [
            {n: one[n] for n in one if n not in own} for one in kept
        ]


KILLER = """
import os, signal, sys
from datong_ingestion.run import ingest_entity
from datong_ingestion.systems_config import SystemConfig
from datong_platform.lake import load, storage
where, definition = sys.argv[1:]
module, name, when = {"put": (storage, "put", "after"), "manifest": (storage, "put_if_absent", "after"),
                      "copied": (storage, "copy", "after"),
                      "loading": (load, "_load", "before"), "loaded": (load, "_load", "after")}[where]
real = getattr(module, name)
def die(*arguments, **named):
    if when == "after":
        real(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(module, name, die)
ingest_entity(SystemConfig.model_validate_json(definition), "thing")
"""


@pytest.mark.parametrize("where", ["put", "manifest", "loading", "copied", "loaded"])
def test_kill_9_and_a_new_run_lose_and_double_nothing(odata: Any, row: Make, where: str) -> None:
    odata.put(*[row(i) for i in range(7)])
    odata.ingest()
    odata.put(row(2, Name="second"), row(30))
    odata.remove("00005")
    died = subprocess.run(
        [sys.executable, "-c", KILLER, where, odata.system().model_dump_json(by_alias=True)],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    odata.ingest()
    assert len(odata.bronze()) == 10
    assert [r["Id"] for r in odata.current()] == ["00000", "00001", "00002", "00003", "00004", "00006", "00030"]
    assert odata.ingest().rows == 0


def test_a_manifest_whose_reply_was_lost_is_known_as_ours(
    rest: Any, row: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage.put_if_absent

    def reply_lost(key: str, body: bytes) -> bool:
        assert real(key, body)
        return real(key, body)

    monkeypatch.setattr(storage, "put_if_absent", reply_lost)
    rest.put(row(1))
    assert rest.ingest("full").batches == ["000000000001"]
    assert len(rest.bronze()) == 1


def test_a_store_that_is_away_is_named(rest: Any, row: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rest.put(row(1))
    rest.ingest("full")
    rest.put(row(2))
    monkeypatch.setenv("DATONG_S3_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9") as caught:
        rest.ingest("full")
    assert "datong" in caught.value.next_step
    monkeypatch.delenv("DATONG_S3_ENDPOINT")
    assert rest.ingest("full").rows == 2


def test_a_commit_whose_reply_was_lost_is_neither_repeated_nor_unreported(
    rest: Any, row: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest.put(row(1))
    rest.ingest()
    rest.put(row(2, ChangedAt=row(500)["ChangedAt"]))
    real, replies = load._load, iter([True])

    def reply_lost(*arguments: Any) -> Any:
        found = real(*arguments)
        if next(replies, False):
            raise CommitFailedError("the reply was lost")
        return found

    monkeypatch.setattr(load, "_load", reply_lost)
    result = rest.ingest()
    assert (result.batches, result.rows, result.total_rows) == (["000000000002"], 1, 2)
