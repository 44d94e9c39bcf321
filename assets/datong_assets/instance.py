"""The Dagster instance of this installation, as commands use it."""

from __future__ import annotations

import os
import select
import socket
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from datong_platform import settings
from datong_platform.errors import ServiceError

from datong_assets import event_log

_STATEMENT = 60
"""Seconds after which the storage itself ends a statement."""
_SILENCE = _STATEMENT + 15
"""Seconds without an answer after which the storage is gone: at work it would have said so."""
_POOLED = "datong_pooled"
PROCESS = ".dagster/datong_process"
"""Tag of a run that works inside a command: host, process id and the process's start. The UI hides such a prefix."""


def instance() -> dg.DagsterInstance:
    """The instance whose runs the UI shows. ServiceError when `datong up` has not made it yet."""
    folder = settings.home() / "dagster"
    if not (folder / "dagster.yaml").is_file():
        raise ServiceError("Dagster", f"has no storage yet: there is no {folder}/dagster.yaml.", "run `datong up`.")
    return _instance(folder)


@lru_cache(maxsize=2)
def _instance(folder: Path) -> dg.DagsterInstance:
    # a command shows its own progress; catching what it prints would start two processes a step
    quiet = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    try:
        found = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides={"compute_logs": quiet}))
    except Exception as error:
        raise ServiceError(
            "Dagster's storage", f"cannot be opened: {error}", "run `datong doctor`, then `datong up`."
        ) from error
    pooled(found)
    close_dead_runs(found)
    return found


def pooled(of: dg.DagsterInstance) -> None:
    """Keep connections to the storage: Dagster opens one for every statement otherwise, and a build with 300 checks
    took 25 seconds instead of 6 for its event log alone. An instance that keeps them already is left as it is."""
    if getattr(of, _POOLED, False):
        return
    setattr(of, _POOLED, True)
    from psycopg2.extensions import set_wait_callback

    # its driver has no time limit of its own
    set_wait_callback(_answered)
    of.optimize_for_webserver(statement_timeout=_STATEMENT * 1000, pool_recycle=3_600, max_overflow=20)
    for part in (of.run_storage, of.event_log_storage, of.schedule_storage):
        if (engine := getattr(part, "_engine", None)) is not None:
            # one that broke because the database was started again would fail whatever asks next
            engine.pool._pre_ping = True
    storage = of.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        # asked twice for every check and three times for every asset; a table or a column of Dagster's stays there
        storage.has_table = cache(storage.has_table)
        storage.has_asset_key_col = cache(storage.has_asset_key_col)
    event_log.lean(of)


def _answered(connection: Any) -> None:
    """Wait until the storage has answered. OperationalError when nothing comes, as from a connection that stays open
    though its other side is gone; the driver closes it then."""
    from psycopg2 import OperationalError
    from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE

    waits = {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}
    while (state := connection.poll()) != POLL_OK:
        ready = select.poll()
        ready.register(connection.fileno(), waits[state])
        if not ready.poll(_SILENCE * 1000):
            raise OperationalError(f"nothing arrived from Dagster's storage for {_SILENCE} seconds")


def this_process() -> str:
    """This process, as the tag of its runs."""
    return _words(psutil.Process())


def _words(process: psutil.Process) -> str:
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.0f}"


def close_dead_runs(of: dg.DagsterInstance) -> None:
    """Mark runs as failed whose command was killed: nobody else would, and they would look as if they still ran."""
    going = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
    for run in of.get_runs(dg.RunsFilter(statuses=going), limit=100):
        host, pid, *_ = (*run.tags.get(PROCESS, "").split(":"), "", "")
        if host != socket.gethostname() or not pid.isdigit() or int(pid) == os.getpid():
            continue
        try:
            alive = _words(psutil.Process(int(pid))) == run.tags[PROCESS]
        except psutil.NoSuchProcess:
            alive = False
        if not alive:
            of.report_run_failed(run, "The process of this run ended before the run did.")
