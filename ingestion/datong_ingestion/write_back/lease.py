"""One run of a flow at a time, across processes and machines.

An advisory lock of PostgreSQL, held by a connection that stays open for the run. It ends with the process, however the
process ends, so nothing has to expire and no clock has to agree: a paused process keeps it, a killed one frees it at
once. Before each chunk is sent the connection is asked whether it is still there (`Lease.check`).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from datong_platform.errors import ServiceError, TransientError
from datong_platform.settings import settings

if TYPE_CHECKING:
    from psycopg import Connection


class Lease:
    """The right to run one flow, as long as `check()` returns."""

    def __init__(self, flow: str, connection: Connection) -> None:
        self._flow = flow
        self._connection = connection

    def check(self) -> None:
        """ServiceError when the lock was lost: the connection is gone, so another run may have begun."""
        import psycopg

        try:
            self._connection.execute("select 1")
        except psycopg.Error as error:
            raise ServiceError(
                f"write-back flow {self._flow}",
                f"lost its lock, because the connection to PostgreSQL broke ({type(error).__name__}); nothing more is "
                "sent.",
                "run `datong doctor`, then write back again: the ledger knows what was sent.",
            ) from error


@contextmanager
def lease(flow: str, *, wait_seconds: float = 60) -> Generator[Lease]:
    """Hold a flow's lock; TransientError when another run holds it for longer than `wait_seconds`, ServiceError when
    PostgreSQL cannot be reached."""
    import psycopg
    from datong_platform.silence import patient

    name = f"datong.write_back.{flow}"
    try:
        connection = patient(
            settings().need("postgres_url"),
            connect_timeout=10,
            application_name=f"datong write-back {flow} {socket.gethostname()}:{os.getpid()}"[:63],
            keepalives_idle=15,
            keepalives_interval=5,
            keepalives_count=3,
        )
    except psycopg.OperationalError as error:
        raise ServiceError(
            f"write-back flow {flow}",
            f"cannot take its lock, because PostgreSQL cannot be reached: {' '.join(str(error).split())}",
            "run `datong doctor`, then `datong up`.",
        ) from error
    with connection:
        try:
            _taken(connection, name, flow, wait_seconds)
        except psycopg.Error as error:
            raise ServiceError(
                f"write-back flow {flow}",
                f"cannot take its lock, because PostgreSQL stopped answering: {' '.join(str(error).split())}",
                "run `datong doctor`, then write back again; nothing was sent.",
            ) from error
        yield Lease(flow, connection)


def _taken(connection: Connection, name: str, flow: str, wait_seconds: float) -> None:
    """Take the lock. TransientError when another run holds it for longer."""
    deadline = time.monotonic() + wait_seconds
    while True:
        row = connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", (name,)).fetchone()
        if row and row[0]:
            return
        if time.monotonic() >= deadline:
            raise TransientError(
                f"write-back flow {flow}",
                f"is being run by another process ({_holder(connection, name)}).",
                "wait until that run has ended; two runs never send at once.",
            )
        time.sleep(0.2)


def _holder(connection: Connection, name: str) -> str:
    row = connection.execute(
        """
        select a.application_name, to_char(a.backend_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
        from pg_locks l join pg_stat_activity a using (pid)
        where l.locktype = 'advisory' and l.granted and l.objsubid = 1
            and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(%s, 0)
        """,
        (name,),
    ).fetchone()
    return f"{row[0]}, since {row[1]}" if row else "its name is not known"
