"""A first start that is killed half way is no obstacle to the next one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from datong_infra.services import stack

_UP = "from datong_infra.services import stack; stack.up(['postgres'])"


@pytest.fixture
def new_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="datong-first-"))
    monkeypatch.setenv("DATONG_HOME", str(path))
    yield path
    stack.down()
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.slow
def test_a_database_whose_making_was_killed_is_made_anew(new_home: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _UP])
    deadline = time.monotonic() + 120
    # the folder tells of itself what it is before half of it is there
    while not list(new_home.glob("postgres/data*/PG_VERSION")):
        assert process.poll() is None, "PostgreSQL was not begun"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    children = psutil.Process(process.pid).children(recursive=True)
    for victim in (process.pid, *(child.pid for child in children)):
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    process.wait()
    [status] = stack.up(["postgres"])
    assert status.state == "healthy"
