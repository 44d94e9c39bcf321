"""Backup and restore: a drill from a lake that is at work to an installation that had nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from buckets import bucket_in_force
from datong_infra.backup.make import make
from datong_infra.backup.repository import Repository
from datong_infra.backup.restore import restore
from datong_platform.errors import ConfigurationError, TerminalError, TransientError
from datong_platform.lake import storage
from datong_platform.names import TableName
from datong_platform.settings import Settings, settings
from deltalake import DeltaTable, write_deltalake

ORDERS = TableName("silver", "kept_order")


def add(*numbers: int) -> None:
    rows = pa.table({"number": pa.array(numbers, pa.int64()), "word": pa.array([f"订单 {n}" for n in numbers])})
    write_deltalake(settings().table_uri(ORDERS), rows, mode="append", storage_options=settings().storage_options())


def objects(repository: Repository) -> set[str]:
    return {path.name for path in Path(repository.place, "objects").rglob("*") if path.is_file()}


def rows_of(uri: str, options: dict[str, str]) -> list[int]:
    return sorted(DeltaTable(uri, storage_options=options).to_pyarrow_table()["number"].to_pylist())


@pytest.fixture
def lake(own_bucket: str) -> Repository:
    """A lake with a table of three rows and a compacted, checkpointed log; and the place of its backups."""
    assert own_bucket
    for number in (1, 2, 3):
        add(number)
    DeltaTable(settings().table_uri(ORDERS), storage_options=settings().storage_options()).create_checkpoint()
    storage.put("landing/erp/order/manifest/000001.json", b"{}")
    return Repository(str(Path(os.environ["DATONG_HOME"]) / "kept" / own_bucket))


def test_a_drill_brings_everything_back_to_another_home(lake: Repository, tmp_path: Path) -> None:
    with psycopg.connect(settings().need("postgres_url"), autocommit=True) as connection:
        connection.execute("create table if not exists serve.kept (word text)")
        connection.execute("insert into serve.kept values ('决定')")
    first = make(lake)
    add(4)
    second = make(lake)
    add(5)
    assert len(second.lake) > len(first.lake)
    # an empty home, as after a fire
    home = tmp_path / "h"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DATONG_")}
    environment |= {"DATONG_HOME": str(home), "DATONG_BUCKET": "elsewhere"}

    def datong(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "datong_infra.cli", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)

    try:
        done = datong("restore", lake.place)
        assert done.returncode == 0, done.stderr
        assert second.backup_id in done.stdout
        state = json.loads((home / "services.json").read_text())["settings"]
        options = {
            "AWS_ENDPOINT_URL": state["s3_endpoint"],
            "AWS_ACCESS_KEY_ID": state["s3_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": state["s3_secret_access_key"],
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
        }
        # the recovery point: all that was committed before the backup began, and nothing after it
        assert rows_of("s3://elsewhere/silver/kept_order", options) == [1, 2, 3, 4]
        with psycopg.connect(state["postgres_reader_url"]) as connection:
            assert connection.execute("select word from serve.kept").fetchall() == [("决定",)]
        again = datong("restore", lake.place)
        assert again.returncode == 1
        assert "is not empty" in again.stderr
    finally:
        datong("down")
        with psycopg.connect(settings().need("postgres_url"), autocommit=True) as connection:
            connection.execute("drop table serve.kept")


def test_what_an_earlier_backup_holds_is_not_copied_again(lake: Repository) -> None:
    first = make(lake)
    content = objects(lake)
    second = make(lake)
    assert {item.sha256 for item in first.lake} == {item.sha256 for item in second.lake}
    dumps = {item.sha256 for item in second.databases}
    assert objects(lake) - content <= dumps


def test_a_restore_that_broke_off_goes_on_and_ends_the_same(
    lake: Repository, services: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backup = make(lake)
    whole = [item.name for item in backup.lake]
    with bucket_in_force("restored-half"), monkeypatch.context() as patch:
        # only the bucket is another one: the databases stay as they are
        patch.setattr("datong_infra.backup.restore.databases.load", lambda _name, _pieces: None)
        target = settings()
        assert target.bucket == "restored-half" != services.bucket
        real, told = storage.client().upload_fileobj, list[str]()

        def upload(file: object, bucket: str, name: str) -> None:
            if len(told) == 3:
                raise KeyboardInterrupt
            told.append(name)
            real(file, bucket, name)

        with monkeypatch.context() as breaking:
            breaking.setattr(storage.client(), "upload_fileobj", upload)
            with pytest.raises(KeyboardInterrupt):
                restore(lake, backup)
        restore(lake, backup)
        assert sorted(storage.keys("")) == sorted(whole)
        assert rows_of(target.table_uri(ORDERS), target.storage_options()) == [1, 2, 3]


def test_a_bucket_of_another_store_is_a_place_as_well(lake: Repository) -> None:
    now = settings()
    address = str(now.s3_endpoint).removeprefix("http://")
    place = (
        f"s3://{now.s3_access_key_id}:{now.s3_secret_access_key}@kept/backups"
        f"?scheme=http&endpoint_override={address}&allow_bucket_creation=true"
    )
    kept = Repository(place)
    backup = make(kept)
    assert Repository(place).ids() == [backup.backup_id]
    assert [item.name for item in kept.read().lake] == [item.name for item in backup.lake]
    for item in (*backup.lake, *backup.databases):
        assert sum(map(len, kept.pieces(item))) == item.size
    assert lake.ids() == []
    with pytest.raises(ConfigurationError) as told:
        kept.read("other")
    assert str(now.s3_secret_access_key) not in str(told.value)


def test_damaged_content_is_told_and_not_restored(lake: Repository) -> None:
    backup = make(lake)
    victim = max(backup.lake, key=lambda item: item.size)
    path = Path(lake.place, "objects", victim.sha256[:2], victim.sha256)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(TerminalError, match=victim.name):
        list(lake.pieces(victim))


def test_a_table_whose_file_is_gone_makes_no_backup(lake: Repository) -> None:
    table = DeltaTable(settings().table_uri(ORDERS), storage_options=settings().storage_options())
    lost = table.file_uris()[0].removeprefix(f"s3://{settings().bucket}/")
    storage.delete(lost)
    with pytest.raises(TransientError, match="gone that a table still names"):
        make(lake)
    assert lake.ids() == []


def test_only_the_newest_are_kept_and_what_they_share_stays(lake: Repository) -> None:
    first, second = make(lake), make(lake)
    for path in Path(lake.place, "objects").rglob("*"):
        os.utime(path, (0, 0))
    assert lake.keep(1) == 1
    assert lake.ids() == [second.backup_id]
    for item in (*second.lake, *second.databases):
        list(lake.pieces(item))
    gone = {item.sha256 for item in first.databases} - {item.sha256 for item in second.databases}
    assert not any(Path(lake.place, "objects", name[:2], name).exists() for name in gone)
    with pytest.raises(ConfigurationError, match=second.backup_id):
        lake.read(first.backup_id)
