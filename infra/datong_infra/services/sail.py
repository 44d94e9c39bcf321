"""The program that the embedded engine runs as: Sail's server, which takes a fresh process when it has grown too large.

Sail 0.7.2 keeps some 110 KB of every SQL text that it reads for as long as it lives (lakehq/sail, pull request 2528), a
gigabyte after ten thousand statements. So this program looks at its own memory, and when that is much and nobody is
being served, it starts itself anew in its place (`exec`): the process's number, the port, the log and the session's
name stay, and the catalog, which a fresh engine has not, is registered again before anyone is let in.

Nobody is being served when no process of ours is amid a statement or a build (`datong_platform.engine.in_use`), and for
the sake of other clients, when the process has rested: for `_REST` seconds at first, for a moment once it has grown
to twice the limit.

Run as `python -m datong_infra.services.sail PORT LIMIT`, the limit in MiB; the new image is told by two numbers more
the file descriptor of the lock that the old one took, and the MiB that it had grown to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import NoReturn

import psutil
from datong_platform import engine
from datong_platform.settings import subprocess_environment

_REST = 5.0
_MOMENT = 0.2
_IDLE = 0.02
"""CPU seconds a second of a process that rests."""
_ATTEMPTS = 3


def main() -> None:
    """Serve until the process is asked to end."""
    port, limit, *renewed = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_serve, args=(port,), daemon=True).start()
    if renewed:
        lock, held = renewed
        _register()
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        print(f"{now} renewed at {held:,} MiB, {_memory() >> 20:,} MiB now", flush=True)
        # whoever waited for the engine goes on
        os.close(lock)
    _watch(max(limit << 20, 2 * _memory()))


def _serve(port: int) -> NoReturn:
    from pysail.spark import SparkConnectServer

    status = 1
    try:
        SparkConnectServer("127.0.0.1", port).start(background=False)
        status = 0
    except (RuntimeError, OSError) as error:
        print(f"the engine's server ended: {error}", file=sys.stderr, flush=True)
    finally:
        # without its server this process is of no use, and `datong up` starts another
        os._exit(status)


def _register() -> None:
    """Let the fresh engine know the lake's tables. Where that fails, the next run of dbt does it."""
    for attempt in range(_ATTEMPTS):
        done = subprocess.run(
            [sys.executable, "-m", "datong_platform.lake.catalog"],
            env=subprocess_environment(**{engine.RENEWING: "1"}),
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode == 0:
            return
        time.sleep(attempt)


def _watch(limit: int) -> NoReturn:
    """Look after the memory, for good."""
    worked, at = _cpu_seconds(), time.monotonic()
    resting_since = at
    while True:
        held = _memory()
        time.sleep(_MOMENT if held > 2 * limit else 1.0)
        now, works = time.monotonic(), _cpu_seconds()
        if works - worked > _IDLE * (now - at):
            resting_since = now
        worked, at = works, now
        rest = 0.0 if held > 2 * limit else _REST
        if held > limit and now > resting_since and now - resting_since >= rest:
            try:
                _renew(held)
            except OSError as error:
                print(f"could not be renewed at {held >> 20:,} MiB: {error}", file=sys.stderr, flush=True)
                limit = 2 * held


def _renew(held: int) -> None:
    """Become a fresh process, unless someone is being served. OSError when that fails; then all is as before."""
    lock = engine.lock_for_renewal()
    if lock is None:
        return
    os.set_inheritable(lock, True)
    program = [sys.executable, "-m", "datong_infra.services.sail", *sys.argv[1:3], str(lock), str(held >> 20)]
    try:
        os.execv(sys.executable, program)  # noqa: S606
    finally:
        os.close(lock)


def _memory() -> int:
    return psutil.Process().memory_info().rss


def _cpu_seconds() -> float:
    return sum(os.times()[:2])


if __name__ == "__main__":
    main()
