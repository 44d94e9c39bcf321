"""Named points of a run at which it can be struck, found from outside: no line of the product knows of them.

A point is a function of the product, before it is called or after it has returned. `strike` wraps that function in this
process; at the call of the given number it kills this process, a service or the dbt process, takes away the memory or
the room on the disk. What is not struck runs as it always does.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal, get_args

import psutil

When = Literal["before", "after"]
How = Literal[
    "kill", "term", "memory", "dbt killed", "engine killed", "engine memory", "store killed", "postgres killed", "disk"
]
"""What happens at a point: SIGKILL or SIGTERM of the process, no more memory for it; SIGKILL of the dbt process or a
service, no more memory for the engine; no more room on the disk that holds the store, PostgreSQL and the state."""
HOWS: tuple[How, ...] = get_args(How)
STEPS = ("extract", "land", "load", "build", "publish", "plan", "send", "verify", "upkeep")

_LAKE, _BACK = "datong_platform.lake", "datong_ingestion.write_back"
_FUNCTIONS: Mapping[str, Mapping[str, str]] = {
    # name of the point: module:function, and what its arguments have to hold
    "extract": {
        "the source is opened": "datong_ingestion.run:connect",
        "the read is planned": "datong_ingestion.run:EntityIngest.plan",
        "a page is taken in": f"{_LAKE}.landing:Landing.add",
        "refused rows are taken in": f"{_LAKE}.landing:Landing.add_refused",
        "keys are taken in": f"{_LAKE}.landing:Landing.add_keys",
    },
    "land": {
        "the batch is sealed": f"{_LAKE}.landing:Landing.seal",
        "a data file is written": f"{_LAKE}.storage:put landing/",
        "the manifest is written": f"{_LAKE}.storage:put_if_absent /manifest/",
    },
    "load": {
        "the landed batch is loaded": f"{_LAKE}.load:load",
        "the table is made": "deltalake:DeltaTable.create /bronze/",
        "a landed file is taken over": f"{_LAKE}.storage:copy /data/",
        "the refused rows are loaded": f"{_LAKE}.quarantine:load",
        "the batch is committed": "deltalake:DeltaTable.create_write_transaction /bronze/",
        "the rewritten batch is committed": "deltalake:write_deltalake /bronze/",
        "old landed files are removed": f"{_LAKE}.landing:remove_old",
        "the result is told": "datong_ingestion.run:EntityIngest.result",
        "the hops are committed": f"{_LAKE}.sync_log:flush",
    },
    "build": {
        "the lock is taken": "datong_assets.dbt.building:alone",
        "people's decisions are read": "datong_platform.standard.decisions:refresh",
        "dbt is asked": "datong_assets.dbt.client:Dbt._ask build",
        "dbt tells of a node": "datong_assets.dbt.client:Dbt._answer",
        "a built table is looked at": "datong_assets.lake_facts:read",
        "the counts are kept": "datong_platform.standard.conservation:record_build",
        "the cases are kept": "datong_platform.standard.cases:update",
        "people are let read": f"{_LAKE}.builds:record",
        "the readers' names move": f"{_LAKE}.catalog:show_published",
    },
    "publish": {
        "a table is published": f"{_LAKE}.publish:publish_table",
        "the schemas are made": f"{_LAKE}.publish:_prepare",
        "rows are copied": f"{_LAKE}.publish:_copy",
        "differences are applied": f"{_LAKE}.publish:_apply_differences",
        "the new table is made": f"{_LAKE}.publish:_build",
        "the new table takes its place": f"{_LAKE}.publish:_swap",
    },
    "plan": {
        "the candidates are found": f"{_BACK}.plan:Source.candidates",
        "transitions are committed": f"{_BACK}.ledger:Ledger.append",
    },
    "send": {
        "the target is asked": f"{_BACK}.sql:SqlTarget.lookup",
        "a portion is sent": f"{_BACK}.sql:SqlTarget.send",
        "one change is sent": f"{_BACK}.sql:SqlTarget._send",
    },
    "verify": {
        "the target is told that all is recorded": f"{_BACK}.sql:SqlTarget.recorded",
        "decisions are carried out": f"{_BACK}.decisions:carried_out",
        "the lock is let go": f"{_BACK}.hops:FlowHops.ended",
    },
    "upkeep": {
        "small files are put together": f"{_LAKE}.upkeep:compact",
        "old files are removed": f"{_LAKE}.upkeep:vacuum",
        "old files of builds are removed": f"{_LAKE}.upkeep:vacuum_builds",
    },
}


@dataclass(frozen=True)
class Point:
    """A place in a run. `holds`: only calls count whose arguments hold this text."""

    step: str
    name: str
    when: When
    module: str
    path: str
    holds: str = ""

    def __str__(self) -> str:
        return f"{self.step}: {self.when} {self.name}"


def _points() -> dict[str, Point]:
    found: dict[str, Point] = {}
    for step, functions in _FUNCTIONS.items():
        for name, place in functions.items():
            dotted, _, holds = place.partition(" ")
            module, _, path = dotted.partition(":")
            for when in get_args(When):
                point = Point(step, name, when, module, path, holds)
                found[str(point)] = point
    return found


POINTS: Mapping[str, Point] = _points()


@dataclass(frozen=True)
class Strike:
    """What happens where: at the call of this number (from 1) of a point."""

    point: str
    call: int = 1
    how: How = "kill"

    def __str__(self) -> str:
        return f"{self.how} at {self.point} (call {self.call})"


@dataclass(frozen=True)
class Victims:
    """Whom a strike can hit besides its own process."""

    services: Mapping[str, int]
    """Process ids by service."""
    filler: Path | None = None
    """The file that fills the disk of the state."""


@contextmanager
def struck(strike: Strike, victims: Victims, told: Callable[[str], None]) -> Generator[None]:
    """What runs within this block is struck; `told` hears of it the moment before it happens, and must not buffer."""
    point = POINTS[strike.point]
    lock, calls = threading.Lock(), 0

    def hit() -> None:
        nonlocal calls
        with lock:
            calls += 1
            if calls != strike.call:
                return
        told(str(strike))
        _hit(strike.how, victims)

    with _wrapped(point, hit):
        yield


@contextmanager
def counted() -> Generator[Counter[str]]:
    """How often each point is passed within this block."""
    calls: Counter[str] = Counter()
    lock = threading.Lock()

    def passed(name: str) -> None:
        with lock:
            calls[name] += 1

    with _all_wrapped([(point, lambda name=name: passed(name)) for name, point in POINTS.items()]):
        yield calls


@contextmanager
def _all_wrapped(every: list[tuple[Point, Callable[[], None]]]) -> Generator[None]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        for point, hit in every:
            stack.enter_context(_wrapped(point, hit))
        yield


@contextmanager
def _wrapped(point: Point, hit: Callable[[], None]) -> Generator[None]:
    owner: Any = importlib.import_module(point.module)
    *parents, name = point.path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    if isinstance(owner, type):
        # where it is defined, which may be a class above
        owner = next(one for one in owner.__mro__ if name in vars(one))
    # as it lies in the class, so that a class method stays one
    raw = vars(owner)[name] if isinstance(owner, type) else getattr(owner, name)
    bound = isinstance(raw, classmethod)
    real: Any = raw.__func__ if bound else raw

    @wraps(real)
    def instead(*arguments: Any, **named: Any) -> Any:
        counts = not point.holds or point.holds in _words(arguments, named)
        if counts and point.when == "before":
            hit()
        result = real(*arguments, **named)
        if counts and point.when == "after":
            hit()
        return result

    setattr(owner, name, classmethod(instead) if bound else instead)
    try:
        yield
    finally:
        setattr(owner, name, raw)


def _words(arguments: tuple[Any, ...], named: Mapping[str, Any]) -> str:
    """What a call is about: its texts, and the places of its tables."""
    every = [*arguments, *named.values()]
    return " ".join(one if isinstance(one, str) else str(getattr(one, "table_uri", "")) for one in every)


def _hit(how: How, victims: Victims) -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    elif how == "memory":
        _no_more_memory(os.getpid())
    elif how == "engine memory":
        _no_more_memory(victims.services["engine"])
    elif how == "dbt killed":
        for child in psutil.Process().children():
            if "datong_assets.dbt.worker" in child.cmdline():
                child.kill()
    elif how == "disk":
        assert victims.filler is not None
        fill(victims.filler)
    else:
        os.kill(victims.services[how.removesuffix(" killed")], signal.SIGKILL)


def _no_more_memory(pid: int) -> None:
    """What a process has it keeps, and gets no more than a little."""
    has = psutil.Process(pid).memory_info().vms
    _, most = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (has + 4 * 1024 * 1024, most))


def fill(filler: Path) -> None:
    """Fill the disk that holds `filler` to the last byte."""
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
