"""The one door to the engine: a Spark Connect session, shared by Python, dbt and the command line.

The address in the settings carries a fixed session id, because Sail keeps its catalog per session. So nobody calls
`stop()` on this session: that would end it for everyone.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeVar

from datong_platform.errors import ServiceError
from datong_platform.settings import from_environment, home, settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

T = TypeVar("T")

CONFLICTS = (
    "Failed to commit transaction",
    "CONCURRENT",
    "ConcurrentAppend",
    "DELTA_CONCURRENT",
    "ConcurrentModification",
)


RENEWING = "DATONG_RENEWS_ENGINE"
"""Set in the environment of who prepares a renewed engine for all others."""
_QUERY = re.compile(r"(?:\s|--[^\n]*\n|/\*(?:(?!\*/).)*\*/)*select\b", re.IGNORECASE | re.DOTALL)
"""A statement that can only be a query; what begins with `with` may insert."""

_sessions: dict[str, SparkSession] = {}
_opening = threading.Lock()


def session(address: str | None = None) -> SparkSession:
    """The Spark Connect session at `address`, by default that of the settings. ServiceError when nobody answers."""
    remote = address or settings().need("engine_address")
    try:
        with _opening:
            spark = _sessions.get(remote) or _open(remote)
        answer(spark, "select 1")
        _sessions[remote] = spark
    except Exception as error:
        _sessions.pop(remote, None)
        raise ServiceError(
            f"engine at {remote.split(';')[0].rstrip('/')}",
            f"does not answer ({type(error).__name__}).",
            "run `datong doctor`, then `datong up`.",
        ) from error
    return spark


def _open(remote: str) -> SparkSession:
    import atexit

    from pyspark.sql import SparkSession
    from pyspark.sql.connect.client.retries import DefaultPolicy
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    # not getOrCreate(): it gives the first session of the process, whatever address is asked for
    spark = SparkSession.builder.remote(remote).create()
    # dbt-spark does ask by getOrCreate(), in threads of its own
    ConnectSession._default_session = spark  # pyright: ignore
    client = spark.client  # pyright: ignore[reportAttributeAccessIssue]
    # PySpark's own policy goes on for ten minutes when the engine is gone, and asks it once more when the process ends
    client.set_retry_policies([DefaultPolicy(max_retries=4, initial_backoff=50, backoff_multiplier=4.0)])
    atexit.unregister(client._cleanup_ml_cache)
    # days are cut from times in UTC, wherever the engine runs; and only so does Sail take a Delta table's own schema
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    return spark


def query(sql: str) -> pa.Table:
    """The result of one statement as an Arrow table."""
    return answer(session(), sql)


def answer(spark: SparkSession, sql: str) -> pa.Table:
    """The result of one statement in this session, as an Arrow table. A query is one request.

    PySpark asks the engine first whether a text is a command, for which Sail resolves its tables: a query so asked read
    the log of each of its tables twice.
    """
    with in_use():
        if not _QUERY.match(sql):
            return spark.sql(sql).toArrow()
        from pyspark.sql.connect.dataframe import DataFrame
        from pyspark.sql.connect.plan import SQL

        connected: Any = spark
        return DataFrame(SQL(sql, [], {}, []), connected).toArrow()


@contextmanager
def in_use() -> Generator[None]:
    """As long as this lasts, the embedded engine is not renewed (`datong_infra.services.sail`); a statement or a build
    that meets a renewal waits for its end. Nothing where the engine is another one."""
    if settings().engine_kind != "sail" or from_environment("renews_engine"):
        yield
        return
    with _lock() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def lock_for_renewal() -> int | None:
    """A file descriptor that keeps everyone out of the embedded engine until it is closed; None while it is in use."""
    file = _lock()
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return os.dup(file.fileno())


def _lock() -> IO[str]:
    home().mkdir(parents=True, exist_ok=True)
    return (home() / "engine.lock").open("a")


def retry_conflicts(action: Callable[[], T], attempts: int = 8) -> T:
    """Run `action` again when another writer's commit came first: a refused commit has changed nothing."""
    for attempt in range(attempts):
        try:
            return action()
        except Exception as error:
            if attempt == attempts - 1 or not any(mark in str(error) for mark in CONFLICTS):
                raise
            time.sleep(0.05 * 2**attempt)
    raise AssertionError("unreachable")
