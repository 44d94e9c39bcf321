"""Starting the dbt process and talking to it (see `worker`)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from datong_platform import settings
from datong_platform.errors import ConfigurationError, ServiceError

from datong_assets.dbt import graph


@dataclass(frozen=True)
class NodeStarted:
    """dbt began with a node."""

    unique_id: str


@dataclass(frozen=True)
class NodeFinished:
    """dbt is done with a node.

    `status` is dbt's: success, error or skipped for a table; pass, warn, fail, error or skipped for a test.
    `failures` is the number of rows that a test found.
    """

    unique_id: str
    status: str
    message: str
    seconds: float
    failures: int


class Dbt:
    """A dbt process for one project. Use `process()`; close it after use."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.log = graph.folder(project) / "logs" / "worker.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.stamp = graph.stamp(project)
        self._is_parsing = True
        with self.log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "datong_assets.dbt.worker", str(project)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=settings.subprocess_environment(DATONG_HOME=str(settings.home())),
            )
        self._requests: IO[str] = self._process.stdin  # pyright: ignore[reportAttributeAccessIssue]
        self._answers: IO[str] = self._process.stdout  # pyright: ignore[reportAttributeAccessIssue]

    def ready(self) -> None:
        """Wait until the project is parsed as it is now. ConfigurationError with dbt's words when it cannot be."""
        try:
            if self._is_parsing:
                self._is_parsing = False
                self._parsed()
            if self.stamp != (now := graph.stamp(self.project)):
                self.stamp = now
                self._ask(command="parse")
                self._parsed()
        except ConfigurationError:
            self.stamp = ""
            raise

    def _parsed(self) -> None:
        self._expect("ready", f"dbt project {self.project.name}", "mend the file that dbt names, then run it again.")

    def list(self, select: Sequence[str], exclude: Sequence[str] = ()) -> list[str]:
        """The unique ids of what a selection in dbt's syntax means, tests included."""
        self.ready()
        self._ask(command="list", select=list(select), exclude=list(exclude))
        words = " ".join(select)
        found = self._expect("listed", f"selection {words!r}", "write it in dbt's syntax, as in +gold.fct_delivery.")
        return found["ids"]

    def build(
        self, select: Sequence[str] = (), *, indirect: str = "", full_refresh: bool = False, schemas: Sequence[str] = ()
    ) -> Iterator[NodeStarted | NodeFinished]:
        """Build and test, telling each node as it starts and finishes.

        `schemas` are those that the selection writes and reads, where the caller knows; else all are looked through for
        what the engine does not know. People's decisions are brought up to date by the caller.

        ServiceError at the end when dbt stopped for a reason that no node tells. A node that failed is no error here.
        """
        self.ready()
        self._ask(
            command="build", select=list(select), indirect=indirect, full_refresh=full_refresh, schemas=list(schemas)
        )
        while (answer := self._answer())["event"] in {"started", "finished"}:
            if answer["event"] == "started":
                yield NodeStarted(answer["id"])
            else:
                yield NodeFinished(
                    answer["id"], answer["status"], answer["message"], answer["seconds"], answer["failures"]
                )
        if answer["message"]:
            raise ServiceError(
                f"dbt project {self.project.name}", answer["message"], f"see {self.log}; run `datong doctor`."
            )

    def close(self) -> None:
        """End the process, in the middle of a build too."""
        with suppress(BrokenPipeError):
            self._requests.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def _ask(self, **request: Any) -> None:
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise ServiceError(
                f"dbt project {self.project.name}",
                f"the dbt process ended on its own (exit status {self._process.wait()}): {_tail(self.log)}",
                f"see {self.log}, then run it again.",
            )
        return json.loads(line)

    def _expect(self, event: str, thing: str, next_step: str) -> dict[str, Any]:
        answer = self._answer()
        if answer["event"] != event:
            raise ConfigurationError(thing, f"dbt refuses it: {answer['message']}", next_step)
        return answer


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


_warm: dict[Path, Dbt] = {}


def warm(project: Path = settings.DBT_PROJECT) -> None:
    """Start the dbt process now, so that it is ready when it is needed."""
    dbt = _warm.get(project)
    if dbt and not dbt.is_alive:
        dbt.close()
    if not dbt or not dbt.is_alive:
        _warm[project] = Dbt(project)


@contextmanager
def process(project: Path = settings.DBT_PROJECT) -> Generator[Dbt]:
    """A dbt process: the one that was used or warmed up before, if it still runs, else a new one.

    It is kept for its next use. It ends with this process, or at `cool()`, or here when its use failed.
    """
    dbt = _warm.pop(project, None)
    if dbt and not dbt.is_alive:
        dbt.close()
        dbt = None
    dbt = dbt or Dbt(project)
    try:
        yield dbt
    except BaseException:
        dbt.close()
        raise
    _warm[project] = dbt


def parse(project: Path) -> None:
    """Have the project parsed, by the process that was warmed up or by one for this purpose only.

    ConfigurationError with dbt's words when it cannot be.
    """
    dbt = _warm.get(project)
    if dbt and dbt.is_alive:
        dbt.ready()
        return
    dbt = Dbt(project)
    try:
        dbt.ready()
    finally:
        dbt.close()


def cool() -> None:
    """End the processes that were warmed up and not used."""
    while _warm:
        _warm.popitem()[1].close()
