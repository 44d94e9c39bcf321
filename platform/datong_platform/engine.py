"""The one door to the engine: a Spark Connect session, shared by Python, dbt and the command line.

The address in the settings carries a fixed session id, because Sail keeps its catalog per session. So nobody calls
`stop()` on this session: that would end it for everyone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from datong_platform.errors import ServiceError
from datong_platform.settings import settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

T = TypeVar("T")

_CONFLICTS = (
    "Failed to commit transaction",
    "CONCURRENT",
    "ConcurrentAppend",
    "DELTA_CONCURRENT",
    "ConcurrentModification",
)


def session(address: str | None = None) -> SparkSession:
    """The Spark Connect session at `address`, by default that of the settings. ServiceError when nobody answers."""
    from pyspark.sql import SparkSession

    remote = address or settings().need("engine_address")
    try:
        spark = SparkSession.builder.remote(remote).getOrCreate()
        spark.sql("select 1").collect()
    except Exception as error:
        raise ServiceError(
            f"engine at {remote.split(';')[0]}",
            f"does not answer ({type(error).__name__}).",
            "run `datong doctor`, then `datong up`.",
        ) from error
    return spark  # pyright: ignore[reportReturnType]


def query(sql: str) -> pa.Table:
    """The result of one statement as an Arrow table."""
    return session().sql(sql).toArrow()


def retry_conflicts(action: Callable[[], T], attempts: int = 8) -> T:
    """Run `action` again when another writer's commit came first: a refused commit has changed nothing."""
    for attempt in range(attempts):
        try:
            return action()
        except Exception as error:
            if attempt == attempts - 1 or not any(mark in str(error) for mark in _CONFLICTS):
                raise
            time.sleep(0.05 * 2**attempt)
    raise AssertionError("unreachable")
