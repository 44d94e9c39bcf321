"""All services together: up, down, status.

A second `up` finds what runs; one service that died is started again alone, with its data and its port. Two `up` at
once are safe: a lock on `.datong/lock` lets one after the other work, and the second finds the first's services.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

from datong_platform.errors import ConfigurationError, DatongError, ServiceError, TerminalError
from datong_platform.settings import from_environment, home, read_state, settings, write_state

from datong_infra.services import processes
from datong_infra.services.base import Service
from datong_infra.services.dagster import Code, Daemon, Webserver
from datong_infra.services.desk import Desk
from datong_infra.services.engine import Engine
from datong_infra.services.postgres import Postgres
from datong_infra.services.processes import Record
from datong_infra.services.sandbox import Sandbox
from datong_infra.services.store import Store

State = Literal["healthy", "unhealthy", "stopped", "external"]
Progress = Callable[[str, str], None]
"""Called with a service's name and what happens to it."""

_STATE = "services.json"


@dataclass(frozen=True)
class Status:
    """How one service is. `seconds` is how long `up` worked on it, `memory` its resident bytes."""

    name: str
    state: State
    detail: str
    pid: int | None = None
    port: int | None = None
    memory: int = 0
    started_at: str = ""
    seconds: float | None = None
    changed: bool = False
    """Whether this `up` started it."""


def services(*, scale: float = 1, seed: int = 42) -> dict[str, Service]:
    """Every service, in the order in which people think of them. `scale` and `seed` are for a new sandbox plant."""
    found: list[Service] = [Store(), Engine(), Postgres(), Code(), Webserver(), Daemon(), Desk(), Sandbox(scale, seed)]
    return {service.name: service for service in found}


DATA = ("store", "engine", "postgres")
"""What data needs: storage, engine, database."""
DEFAULT = (*DATA, "dagster-code", "dagster-webserver", "dagster-daemon", "desk")
"""What `datong up` starts; the sandbox plant is started when it is asked for."""


@contextlib.contextmanager
def locked(patience: float = 180) -> Generator[None]:
    """Hold the lock of this home; ServiceError when another command keeps it longer than `patience` seconds."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "lock").open("w") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ServiceError(
                        f"state in {home()}",
                        f"is held by another `datong up` or `datong down` for more than {patience:.0f} seconds.",
                        "wait for it to end, or stop it.",
                    ) from None
                time.sleep(0.05)
        yield


class _Registry:
    """`services.json`, written by several threads of one command."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()

    def port(self, name: str) -> int | None:
        """The port that a service had last, so that it comes back at the same address."""
        return read_state(_STATE).get("ports", {}).get(name)

    def records(self) -> dict[str, Record]:
        known: Mapping[str, Any] = read_state(_STATE).get("services", {})
        return {name: Record.from_state(name, state) for name, state in known.items()}

    def set(self, *, records: Iterable[Record] = (), settings: Mapping[str, Any] | None = None) -> None:
        with self._mutex:
            state = read_state(_STATE)
            write_state(
                _STATE,
                {
                    **state,
                    "settings": {**state.get("settings", {}), **(settings or {})},
                    "services": {
                        **state.get("services", {}),
                        **{record.name: record.to_state() for record in records},
                    },
                    "ports": {
                        **state.get("ports", {}),
                        **{record.name: record.port for record in records if record.port is not None},
                    },
                },
            )

    def forget(self, name: str, settings: Iterable[str] = ()) -> None:
        with self._mutex:
            state = read_state(_STATE)
            known = {key: value for key, value in state.get("settings", {}).items() if key not in set(settings)}
            others = {key: value for key, value in state.get("services", {}).items() if key != name}
            write_state(_STATE, {**state, "settings": known, "services": others})


def up(
    names: Iterable[str] | None = None,
    *,
    engine: str | None = None,
    scale: float = 1,
    seed: int = 42,
    progress: Progress | None = None,
) -> list[Status]:
    """Start what is not running of the named services and what they need; return when all are healthy.

    Without names: those of DEFAULT, and any other that was started and not stopped since (a plant that died).

    `engine` (`sail`, `spark` or `sc://…`) is remembered until another one is asked for. Raises ServiceError for the
    first service that cannot be started; the others are left as they are, so that a repeat goes on from there.
    """
    tell = progress or (lambda _name, _text: None)
    every = services(scale=scale, seed=seed)
    with locked():
        registry = _Registry()
        wanted = _with_needs((*DEFAULT, *registry.records()) if names is None else names, every)
        if engine is not None:
            _choose_engine(engine, registry)
        if settings().engine_kind:
            # for commands in a shell that does not have DATONG_ENGINE set
            registry.set(settings={"engine": settings().engine})
        stages = _Stages(wanted)
        with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
            futures = {name: pool.submit(_ensure, every[name], registry, stages, tell) for name in wanted}
        failures = [error for future in futures.values() if (error := future.exception()) is not None]
        for error in failures:
            if not isinstance(error, _SkippedError):
                raise error
        return [future.result() for future in futures.values()]


class _SkippedError(Exception):
    """A service was not started because one that it needs could not be."""


class _Stages:
    """How far each service has come, for those that wait for it."""

    def __init__(self, names: Iterable[str]) -> None:
        self._stage = dict.fromkeys(names, "waiting")
        self._changed = threading.Condition()

    def reach(self, name: str, stage: Literal["launched", "healthy", "failed"]) -> None:
        with self._changed:
            self._stage[name] = stage
            self._changed.notify_all()

    def wait(self, names: Iterable[str], stage: Literal["launched", "healthy"]) -> None:
        enough = {"launched": {"launched", "healthy"}, "healthy": {"healthy"}}[stage]
        with self._changed:
            for name in names:
                self._changed.wait_for(lambda name=name: self._stage[name] in {*enough, "failed"})
                if self._stage[name] == "failed":
                    raise _SkippedError(name)


def _with_needs(names: Iterable[str], every: Mapping[str, Service]) -> list[str]:
    found: list[str] = []

    def add(name: str) -> None:
        if name not in every:
            raise ConfigurationError(
                f"service {name!r}", "is not one that Datong has.", f"use one of {', '.join(every)}."
            )
        for need in every[name].needs:
            add(need)
        if name not in found:
            found.append(name)

    for name in names:
        add(name)
    return found


def _choose_engine(engine: str, registry: _Registry) -> None:
    fixed = from_environment("engine")
    if fixed is not None and fixed != engine:
        raise ConfigurationError(
            f"engine {engine}",
            f"cannot be chosen while DATONG_ENGINE={fixed} is set in the environment.",
            "unset DATONG_ENGINE, or leave out --engine.",
        )
    registry.set(settings={"engine": engine})


def _ensure(service: Service, registry: _Registry, stages: _Stages, tell: Progress) -> Status:
    """The service, healthy: found, repaired or started."""
    try:
        status = _find_or_start(service, registry, stages, tell)
    except BaseException:
        stages.reach(service.name, "failed")
        raise
    stages.reach(service.name, "healthy")
    return status


def _find_or_start(service: Service, registry: _Registry, stages: _Stages, tell: Progress) -> Status:
    began = time.monotonic()
    address = service.external()
    if address is not None:
        return _use_external(service, address, registry, stages, tell)
    stages.wait(service.needs, "launched")
    record = registry.records().get(service.name)
    if record is not None and record.process() is not None:
        if service.fits(record):
            # what it needs may just be started again, and it is as well as that
            stages.wait(service.needs, "healthy")
            try:
                detail = service.check(record)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is started again
                tell(service.name, f"does not answer ({error}); starting it again")
            else:
                tell(service.name, "runs already")
                if not record.usable:
                    stages.reach(service.name, "launched")
                    record = _complete(service, record, registry, stages)
                return _status(service, record, "healthy", detail, began)
        else:
            tell(service.name, "is not the one asked for; stopping it")
    if record is not None:
        # also when it ended: what it started may have outlived it
        _stop(service, record)
    for stray in processes.strays(service.name, record):
        _stop(service, stray)
    return _start(service, registry, stages, tell)


def _use_external(service: Service, address: str, registry: _Registry, stages: _Stages, tell: Progress) -> Status:
    began = time.monotonic()
    old = registry.records().get(service.name)
    if old is not None:
        _stop(service, old)
        registry.forget(service.name, service.settings(0))
    if service.name == "engine":
        registry.set(settings={"engine_address": address})
    stages.reach(service.name, "launched")
    stages.wait(service.needs, "healthy")
    tell(service.name, "is reached at the address that was given")
    try:
        detail = service.check(None)
    except DatongError:
        raise
    except Exception as error:
        raise ServiceError(
            service.name,
            f"does not answer at the address that the environment gives ({type(error).__name__}: {error}).",
            "check that address and its keys, or unset it to have Datong start one.",
        ) from error
    service.complete()
    return Status(service.name, "external", detail, seconds=time.monotonic() - began)


def _start(service: Service, registry: _Registry, stages: _Stages, tell: Progress) -> Status:
    service.prepare()
    stages.wait(service.needs, "launched" if service.launches_early else "healthy")
    began = time.monotonic()
    tell(service.name, "starting")
    previous = registry.port(service.name)
    for attempt in range(3):
        port = service.choose_port(previous) if service.listens else None
        launch = service.launch(port or 0)
        record = processes.spawn(
            service.name,
            launch.argv,
            port=port,
            environment=launch.environment,
            cwd=launch.cwd,
            extra=launch.extra,
        )
        registry.set(records=[record], settings=service.settings(port or 0))
        stages.reach(service.name, "launched")
        try:
            detail = _wait_until_healthy(service, record)
            break
        except ServiceError:
            _stop(service, record)
            if attempt < 2 and service.lost_a_race(processes.log_tail(service.name, 400)):
                continue
            taken = port is not None and not service.suits(port)
            if attempt == 2 or not taken or service.wanted_port() is not None:
                raise
            # another program took the port between the look and the start
            previous = None
    else:
        raise AssertionError("unreachable")
    answered = time.monotonic() - began
    try:
        record = _complete(service, record, registry, stages)
    except _SkippedError:
        # launched before what it needs was known to be well: nobody shall find it half ready
        _stop(service, record)
        registry.forget(service.name, service.settings(port or 0))
        raise
    tell(service.name, f"healthy: answered after {answered:.1f} s, usable after {time.monotonic() - began:.1f} s")
    return _status(service, record, "healthy", detail, began, changed=True)


def _complete(service: Service, record: Record, registry: _Registry, stages: _Stages) -> Record:
    stages.wait(service.needs, "healthy")
    service.complete()
    record = replace(record, usable=True)
    registry.set(records=[record])
    return record


def _wait_until_healthy(service: Service, record: Record) -> str:
    deadline = time.monotonic() + service.patience
    pause = 0.02
    while True:
        try:
            return service.check(record)
        except TerminalError:
            # waiting would not help
            raise
        except Exception as error:
            if record.process() is None:
                raise ServiceError(
                    service.name,
                    f"ended while it started. The end of its log:\n{processes.log_tail(service.name)}\n",
                    f"mend what the log names; all of it: `datong logs {service.name}`.",
                ) from error
            if time.monotonic() > deadline:
                raise ServiceError(
                    service.name,
                    f"was not healthy within {service.patience:.0f} seconds ({error}). "
                    f"The end of its log:\n{processes.log_tail(service.name)}\n",
                    f"see `datong logs {service.name}`; then run `datong up` again.",
                ) from error
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)


def _status(
    service: Service, record: Record, state: State, detail: str, began: float | None = None, *, changed: bool = False
) -> Status:
    return Status(
        service.name,
        state,
        detail,
        pid=record.pid,
        port=record.port,
        memory=record.memory(),
        started_at=record.started_at,
        seconds=None if began is None else time.monotonic() - began,
        changed=changed,
    )


def _stop(service: Service, record: Record) -> bool:
    return processes.stop(
        record, ask=service.stop_signal, leader_only=service.stop_leader_only, patience=service.stop_patience
    )


def down(names: Iterable[str] | None = None, progress: Progress | None = None) -> list[str]:
    """Stop the named services, or all: those that Datong started and nothing else. Returns the names of those stopped.

    Services that need another one are stopped before it.
    """
    tell = progress or (lambda _name, _text: None)
    every = services()
    stopped: list[str] = []
    with locked():
        registry = _Registry()
        records = registry.records()
        asked = set(every if names is None else _checked(names, every))
        if names is None:
            asked |= records.keys()
        left = [name for name in every if name in asked]
        while left:
            # one rank at a time: first what nothing else still running needs
            rank = [name for name in left if not any(name in every[other].needs for other in left if other != name)]
            with ThreadPoolExecutor(max_workers=len(rank)) as pool:
                for name, ran in zip(
                    rank, pool.map(lambda name: _stop_one(every[name], records.get(name), registry), rank), strict=True
                ):
                    if ran:
                        stopped.append(name)
                        tell(name, "stopped")
            left = [name for name in left if name not in rank]
    return stopped


def _checked(names: Iterable[str], every: Mapping[str, Service]) -> list[str]:
    asked = list(names)
    for name in asked:
        _with_needs([name], every)
    return asked


def _stop_one(service: Service, record: Record | None, registry: _Registry) -> bool:
    ran = _stop(service, record) if record is not None else False
    for stray in processes.strays(service.name):
        ran = _stop(service, stray) or ran
    if record is not None:
        registry.forget(service.name, service.settings(record.port or 0))
    return ran


def status() -> list[Status]:
    """How every service is, asked all at once; nothing is started or mended."""
    every = services()
    records = _Registry().records()
    with ThreadPoolExecutor(max_workers=len(every)) as pool:
        return list(pool.map(lambda service: _look(service, records.get(service.name)), every.values()))


def _look(service: Service, record: Record | None) -> Status:
    external = service.external() is not None
    if record is None and not external:
        return Status(service.name, "stopped", "not started")
    if record is not None and record.process() is None and not external:
        return Status(service.name, "stopped", f"its process {record.pid} ended by itself", port=record.port)
    try:
        detail = service.check(record)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        text = str(error) or type(error).__name__
        if record is None:
            return Status(service.name, "unhealthy", text)
        return _status(service, record, "unhealthy", text)
    if record is None:
        return Status(service.name, "external", detail)
    return _status(service, record, "healthy", detail)
