"""Fixtures that every test shares: a home of their own, and the real services, started once a session."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from datong_infra.services import stack
from datong_platform.settings import Settings, settings


@pytest.fixture(scope="session", autouse=True)
def datong_home() -> Iterator[Path]:
    """A temporary DATONG_HOME for the session: no test sees the state of the one who runs it, nor changes it."""
    before = {name: value for name, value in os.environ.items() if name.startswith("DATONG_")}
    for name in before:
        del os.environ[name]
    # not pytest's own tmp_path: PostgreSQL's and the engine's paths would be long, and it keeps old ones
    path = Path(tempfile.mkdtemp(prefix="datong-test-"))
    os.environ["DATONG_HOME"] = str(path)
    yield path
    os.environ["DATONG_HOME"] = str(path)
    stack.down()
    del os.environ["DATONG_HOME"]
    os.environ.update(before)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def services(datong_home: Path) -> Settings:
    """The real store, Sail and PostgreSQL, running until the session ends; gives the settings that reach them."""
    stack.up(["store", "engine", "postgres"])
    return settings()
