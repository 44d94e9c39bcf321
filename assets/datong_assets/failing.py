"""Failing a run in the product's own words: the thing, the reason, the next step."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import dagster as dg
from datong_platform.errors import DatongError

from datong_assets.progress import Progress, tell

NOT_RUN = "not_run"
"""Metadata of a check's result that did not pass because the check could not be run: nothing is known by it."""


def fail(errors: Sequence[DatongError]) -> None:
    """dg.Failure that names every error; nothing when there is none. It is never retried: what could be was."""
    if errors:
        raise dg.Failure(
            description="\n".join(str(error) for error in errors),
            metadata={error.thing: error.reason for error in errors},
            allow_retries=False,
        )


@contextmanager
def explained(step: str) -> Generator[None]:
    """Turn a DatongError of this block, which stops the step as a whole, into dg.Failure, and tell who watches."""
    try:
        yield
    except DatongError as error:
        tell(Progress("failure", step, ok=False, error=error))
        raise dg.Failure(description=str(error), allow_retries=False) from error
