"""One at a time: a lock across processes and machines, held in the operational database."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from datong_platform import operational
from datong_platform.errors import TransientError


@contextmanager
def alone(work: str) -> Generator[None]:
    """Do `work` while nobody else does; TransientError when somebody is at it.

    The database lets go of the lock when this process dies, however it dies.
    """
    with operational.connected() as connection:
        row = connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", [f"datong {work}"]).fetchone()
        if not row or not row[0]:
            raise TransientError(f"a {work}", "is running already in another process.", "wait until it has ended.")
        yield
