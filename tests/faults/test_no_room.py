"""A full disk is said in words, costs nothing that was there, and is over when there is room again."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from datong_infra import cli
from datong_infra.services import store
from datong_platform import settings
from datong_platform.errors import ServiceError
from datong_platform.lake import sync_log


def _full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/services.json")


def test_a_command_on_a_full_disk_says_so_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("datong_infra.cli.app.app", _full)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "the disk of /somewhere/services.json" in told
    assert "is full" in told
    assert "datong up" in told


def test_a_state_that_cannot_be_written_is_as_it_was_and_leaves_no_half_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATONG_HOME", str(tmp_path))
    settings.write_state("keys.json", {"key": "first"})

    def half(_content: Any, file: io.TextIOBase, **_: Any) -> None:
        file.write('{"key": "sec')
        file.flush()
        _full()

    monkeypatch.setattr(json, "dump", half)
    with pytest.raises(OSError, match="No space left"):
        settings.write_state("keys.json", {"key": "second"})
    assert settings.read_state("keys.json") == {"key": "first"}
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


class _Filer(BaseHTTPRequestHandler):
    """A filer one of whose databases met a full disk: it answers as SeaweedFS does then."""

    refused = ""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        bad = self.path == type(self).refused
        self.send_response(500 if bad else 201)
        self.end_headers()
        self.wfile.write(b'{"error": "persisting: write 000001.log: no space left on device"}' if bad else b"{}")

    def log_message(self, *_: Any) -> None:
        pass


def test_a_store_one_of_whose_databases_refuses_writes_is_not_well() -> None:
    paths = store._probes()
    assert len(paths) == len(set(paths)) == 8
    server = HTTPServer(("127.0.0.1", 0), _Filer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        store._take_writes(server.server_port)
        for path in paths:
            _Filer.refused = path
            with pytest.raises(ServiceError, match=r"takes no writes .500: .*no space left on device.*MB free"):
                store._take_writes(server.server_port)
    finally:
        _Filer.refused = ""
        server.shutdown()
        server.server_close()


def test_the_store_keeps_the_names_of_our_probes_in_every_one_of_its_databases(services: settings.Settings) -> None:
    record = json.loads((settings.home() / "services.json").read_text(encoding="utf-8"))["services"]["store"]
    folder = settings.home() / "store" / "filerldb2"
    assert len(list(folder.iterdir())) == store._DATABASES, "SeaweedFS divides its names in another way now"

    def written() -> dict[str, int]:
        return {
            place.name: sum(file.stat().st_size for file in place.iterdir() if file.suffix in {".log", ".ldb"})
            for place in folder.iterdir()
        }

    before = written()
    store._take_writes(record["port"] + 3)
    after = written()
    assert [name for name in sorted(before) if after[name] == before[name]] == [], "a database got none of the probes"


_SPOOLS = """
import os, resource
from datong_platform.lake.sync_log import Entry, _Spool
spool = _Spool("bucket")
spool.end(Entry("load", "erp", words="第一"))
size = spool.path.stat().st_size
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + size // 2, most))
spool.end(Entry("load", "erp", words="写不下" * 200))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
spool.end(Entry("load", "erp", words="第三"))
print(len(spool.entries))
os._exit(0)
"""


def test_hops_that_find_no_room_cost_no_other_hop_and_no_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATONG_HOME", str(tmp_path))
    told = subprocess.run([sys.executable, "-c", _SPOOLS], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "3", "in memory it is kept all the same"
    [left] = sync_log._left_over("bucket")
    assert [entry.words for entry in left.entries] == ["第一", "第三"]
    left.remove()


def test_a_spool_that_ends_in_the_middle_of_a_character_is_read_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATONG_HOME", str(tmp_path))
    spool = sync_log._Spool("bucket")
    spool.end(sync_log.Entry("load", "erp", words="whole"))
    assert spool.path is not None
    spool.close()
    torn = json.dumps({"end": {"words": "齿轮"}}, ensure_ascii=False).encode()
    with spool.path.open("ab") as file:
        file.write(torn[: torn.index("轮".encode()) + 1])
    [left] = sync_log._left_over("bucket")
    assert [entry.words for entry in left.entries] == ["whole"]
    left.remove()
