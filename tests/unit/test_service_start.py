"""A service that ends while it starts: another attempt where that helps, and the words of its log where it does not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datong_infra.services import stack
from datong_infra.services.base import Launch, Service
from datong_infra.services.dagster import Daemon
from datong_infra.services.processes import Record
from datong_platform.errors import ServiceError

SCRIPT = """
import pathlib, sys, time
starts = pathlib.Path("starts")
with starts.open("a") as file:
    file.write("start ")
if len(starts.read_text().split()) <= {failures}:
    sys.exit('psycopg2.errors.DuplicateObject: type "jobs" already exists')
pathlib.Path("well").touch()
time.sleep(60)
"""


class Racer(Service):
    """Ends as Dagster's parts do when another makes the storage's tables, so many times, and then runs."""

    name = "racer"
    listens = False
    lost_a_race = Daemon.lost_a_race  # pyright: ignore[reportAssignmentType]

    def __init__(self, folder: Path) -> None:
        self._folder, self.failures = folder, 0

    def launch(self, port: int) -> Launch:
        return Launch([sys.executable, "-c", SCRIPT.format(failures=self.failures)], cwd=self._folder)

    def settings(self, port: int) -> dict[str, Any]:
        return {}

    def check(self, record: Record | None) -> str:
        if not (self._folder / "well").exists():
            raise ServiceError(self.name, "is not well yet.", "wait.")
        return "well"

    @property
    def starts(self) -> int:
        return len((self._folder / "starts").read_text("utf-8").split())


@pytest.fixture
def racer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Racer]:
    monkeypatch.setenv("DATONG_HOME", str(tmp_path))
    racer = Racer(tmp_path)
    monkeypatch.setattr(stack, "services", lambda **_: {"racer": racer})
    yield racer
    stack.down()


def test_what_lost_a_race_is_started_again(racer: Racer) -> None:
    racer.failures = 2
    assert [status.state for status in stack.up(["racer"])] == ["healthy"]
    assert racer.starts == 3


def test_what_loses_again_and_again_is_told_with_the_words_of_its_log(racer: Racer) -> None:
    racer.failures = 9
    with pytest.raises(ServiceError, match=r"ended while it started(.|\n)*already exists"):
        stack.up(["racer"])
    assert racer.starts == 3
