"""The operational database: PostgreSQL's schema `ops`, where people's decisions, incidents and log-ins are kept."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, LiteralString

from datong_platform.errors import ServiceError
from datong_platform.settings import settings

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg import Connection

_LOCK = 0x64_61_74_62  # advisory lock: one maker of tables at a time


@contextmanager
def connected(tables: LiteralString = "", newest: str = "") -> Generator[Connection[Any]]:
    """A connection that commits each statement, with the tables of its user there.

    `tables` are statements that may be run again; they are run when `newest`, the last table (or index) they make, is
    not there. ServiceError when PostgreSQL has no address or does not answer, also when it falls silent.
    """
    import psycopg

    from datong_platform.silence import patient

    try:
        with patient(settings().need("postgres_url"), connect_timeout=10) as database:
            if newest and database.execute("select to_regclass(%s)", [newest]).fetchone() == (None,):
                with database.transaction():
                    # two that make the tables at once: one waits for the other
                    database.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
                    database.execute(tables)
            yield database
    except psycopg.OperationalError as error:
        raise ServiceError(
            "PostgreSQL", f"does not answer: {' '.join(str(error).split())}.", "run `datong doctor`, then `datong up`."
        ) from error
