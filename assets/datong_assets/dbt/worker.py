"""The process that runs dbt: parses the project, then does what it is asked, and tells what happens as it happens.

Run as `python -m datong_assets.dbt.worker PROJECT`. Requests come as JSON lines on standard input, answers go as JSON
lines to standard output; dbt's own words go to standard error. It is a process of its own so that importing dbt and
parsing (4 to 5 seconds of one core) happens beside the ingestion, not after it, and so that dbt's global state and the
event log of Dagster never wait for each other. It ends when standard input closes, so it never outlives its client.

    -> {"event": "ready", "seconds": 4.2}            or {"event": "refused", "message": "..."}
    <- {"command": "parse"}, when a file changed since
    -> {"event": "ready", ...}
    <- {"command": "list", "select": ["+bi__inventory"]}
    -> {"event": "listed", "ids": ["model.datong.bi__inventory", ...]}
    <- {"command": "build", "select": [], "exclude": [], "full_refresh": false}
    -> {"event": "started", "id": ...} and {"event": "finished", "id": ..., "status": ..., "message": ..., ...}
    -> {"event": "ended", "ok": true, "message": ""}
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datong_platform import engine

from datong_assets.dbt import graph, kept

_Tell = Callable[..., None]
_HEARD = frozenset({"NodeStart", "NodeFinished"})
"""dbt's events that are told on."""


def main() -> None:
    """Serve requests until standard input closes."""
    project = Path(sys.argv[1])
    tell = _teller()
    requests = _requests()
    folder = graph.folder(project)
    folder.mkdir(parents=True, exist_ok=True)
    options = [
        *("--project-dir", str(project), "--profiles-dir", str(project)),
        *("--target-path", str(folder / "target"), "--log-path", str(folder / "logs")),
        *("--no-use-colors", "--no-send-anonymous-usage-stats", "--partial-parse", "--log-level-file", "info"),
    ]
    started = time.monotonic()
    leave_unsaid()
    manifest = _parse(project, folder, options, tell)
    if manifest is not None:
        tell(event="ready", seconds=round(time.monotonic() - started, 2))
    # the engine's client takes a second to import: now, while nobody waits
    import pyspark.sql.connect.session as _  # noqa: F401

    while True:
        request = requests.get()
        started = time.monotonic()
        if manifest is None or request["command"] == "parse":
            manifest = _parse(project, folder, options, tell)
        if manifest is None:
            continue
        if request["command"] == "parse":
            tell(event="ready", seconds=round(time.monotonic() - started, 2))
        elif request["command"] == "list":
            _list(manifest, request, options, tell)
        else:
            _build(manifest, request, options, tell)
            if not gc.get_freeze_count():
                # what is there now stays: looking through it for what can go took a third of a second of every build
                gc.freeze()


def _parse(project: Path, folder: Path, options: list[str], tell: _Tell) -> Any:
    """Parse the project and keep its graph; None when dbt refuses it, which is told."""
    # two parsers would write the same files
    with (folder / "parse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = graph.stamp(project)
        manifest, error = kept.parsed(options)
        if manifest is None:
            tell(event="refused", message=_words(error))
            return None
        if not graph.is_current(project):
            graph.write(project, stamp, kept.described(manifest))
    return manifest


def _teller() -> _Tell:
    """A function that writes one JSON line to what was standard output; what prints from now on goes to the log."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def tell(**message: Any) -> None:
        with lock:
            channel.write(json.dumps(message, ensure_ascii=False) + "\n")

    return tell


def _requests() -> queue.Queue[dict[str, Any]]:
    incoming: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            incoming.put(json.loads(line))
        # the client is gone, and what is being built is nobody's any more. No orderly end: PySpark's would take
        # seconds, and could release the session that everybody shares
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return incoming


def _selection(request: dict[str, Any]) -> list[str]:
    return [
        *(("--select", *request["select"]) if request.get("select") else ()),
        *(("--exclude", *request["exclude"]) if request.get("exclude") else ()),
        *(("--indirect-selection", request["indirect"]) if request.get("indirect") else ()),
    ]


def _list(manifest: Any, request: dict[str, Any], options: list[str], tell: _Tell) -> None:
    from dbt.cli.main import dbtRunner

    arguments = ["list", *_selection(request), "--output", "json", "--output-keys", "unique_id", "--quiet", *options]
    done = dbtRunner(manifest=kept.for_a_run(manifest)).invoke(arguments)
    if done.success:
        lines: Any = done.result
        tell(event="listed", ids=[json.loads(line)["unique_id"] for line in lines])
    else:
        tell(event="refused", message=_words(done.exception))


def _build(manifest: Any, request: dict[str, Any], options: list[str], tell: _Tell) -> None:
    from dbt.cli.main import dbtRunner
    from dbt_datong import prepared

    prepared(request.get("schemas") or ())
    arguments = [
        "build",
        *_selection(request),
        # unit tests try the logic on made-up rows: they belong to development, and run in plain `dbt build`
        *("--exclude-resource-type", "unit_test"),
        *(("--full-refresh",) if request.get("full_refresh") else ()),
        # its manifest is the one that was parsed, and another process may be reading that file
        "--no-write-json",
        # the same edges found faster, says dbt
        "--use-fast-test-edges",
        *options,
    ]
    runner = dbtRunner(manifest=kept.for_a_run(manifest), callbacks=[lambda event: _node(event, tell)])
    with engine.in_use():
        done = runner.invoke(arguments)
    tell(event="ended", ok=done.success, message=_words(done.exception) if done.exception else "")


def _node(event: Any, tell: _Tell) -> None:
    if event.info.name == "NodeStart":
        tell(event="started", id=event.data.node_info.unique_id)
    elif event.info.name == "NodeFinished":
        result = event.data.run_result
        tell(
            event="finished",
            id=event.data.node_info.unique_id,
            status=str(result.status),
            message=str(result.message),
            seconds=round(float(result.execution_time), 3),
            failures=int(result.num_failures),
        )


def leave_unsaid() -> None:
    """Let dbt form no words that no log takes: most events are for a debug log, and dbt writes them all out first."""
    from dbt.adapters.events.logging import AdapterLogger
    from dbt_common.events.base_types import EventLevel
    from dbt_common.events.event_manager import EventManager
    from dbt_common.events.event_manager_client import get_event_manager

    manager: Any = EventManager
    logger: Any = AdapterLogger
    fire, debug = manager.fire_event, logger.debug
    unsaid = {EventLevel.DEBUG, EventLevel.TEST}

    def is_said(self: Any) -> bool:
        return any(log.level in unsaid for log in self.loggers)

    def fire_event(self: Any, e: Any, level: Any = None, *others: Any, **named: Any) -> None:
        if type(e).__name__ in _HEARD or (level or e.level_tag()) not in unsaid or is_said(self):
            fire(self, e, level, *others, **named)

    def debug_of_adapter(self: Any, msg: Any, *args: Any) -> None:
        if is_said(get_event_manager()):
            debug(self, msg, *args)

    manager.fire_event, logger.debug = fire_event, debug_of_adapter


def _words(error: BaseException | None) -> str:
    return str(error).strip() if error else "dbt failed without saying why; see its log"


if __name__ == "__main__":
    main()
