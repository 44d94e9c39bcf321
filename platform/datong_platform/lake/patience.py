"""Patience with the store and with other writers: what either got in the way of is done again, briefly."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from datong_platform.errors import ServiceError
from datong_platform.names import TableName

_T = TypeVar("_T")
_LONGEST_SECONDS = 0.8


def patiently(
    table: TableName,
    action: Callable[[], _T],
    *,
    attempts: int = 8,
    next_step: str = "run `datong doctor`, then try again: nothing was written.",
) -> _T:
    """Do something to a table, and again where the store or another writer's commit got in the way.

    ServiceError, with `next_step`, when it still fails at the last of `attempts`.
    """
    from deltalake.exceptions import DeltaError

    for attempt in range(attempts):
        try:
            return action()
        except (DeltaError, OSError) as error:
            if attempt == attempts - 1:
                raise ServiceError(
                    f"table {table}", f"cannot be read or written: {' '.join(str(error).split())}", next_step
                ) from error
            # at random, or two that met would meet again
            time.sleep(random.uniform(0.5, 1) * min(_LONGEST_SECONDS, 0.1 * 2**attempt))  # noqa: S311
    raise AssertionError("unreachable")
