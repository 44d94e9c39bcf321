"""What happens while a run works, for whoever watches: the command line, the cycle's own summary, a test.

Assets tell it with `tell(...)`; `watching(listener)` hears all that is told in its thread. Nobody watching costs
nothing. Dagster's event log is told separately, by Dagster's own means.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from datong_platform.errors import DatongError

Kind = Literal["step started", "step finished", "failure", "entity", "model", "check", "table", "flow"]


@dataclass(frozen=True)
class Progress:
    """One thing that happened.

    `step` is the part of the cycle (`ingest erp`, `build`, `publish`, `write-back`), `name` what it happened to: an
    entity, a table `schema.name`, a check, a flow; empty for the step itself (a `failure` stops it as a whole). `rows`
    are rows of data where that means something, `total` those that an entity's table holds now, `failed` rows of a flow
    that are not verified. What is `unchanged` was found up to date and left as it is. `error` says why it is not `ok`.
    """

    kind: Kind
    step: str
    name: str = ""
    ok: bool = True
    skipped: bool = False
    unchanged: bool = False
    rows: int | None = None
    total: int | None = None
    failed: int = 0
    seconds: float = 0.0
    detail: str = ""
    error: DatongError | None = None


Listener = Callable[[Progress], None]

_listener: ContextVar[Listener | None] = ContextVar("datong_progress", default=None)


def tell(progress: Progress) -> None:
    """Tell who watches."""
    if listener := _listener.get():
        listener(progress)


@contextmanager
def watching(listener: Listener) -> Generator[None]:
    """Within this block `listener` hears what is told in this thread, and so does who watched before."""
    outer = _listener.get()

    def both(progress: Progress) -> None:
        listener(progress)
        if outer:
            outer(progress)

    token = _listener.set(both)
    try:
        yield
    finally:
        _listener.reset(token)
