"""`datong stream`: a line for each batch, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from datong_platform.errors import DatongError

from datong_infra.cli.output import Format, print_error, print_line

if TYPE_CHECKING:
    from datong_ingestion.run import IngestOutcome


_AT_ONCE = 1.0
"""Seconds within which several signals are one wish."""


def stream(system: str, entities: list[str] | None, pause: float, format_: Format) -> None:
    """Stream a system; the exit status is 1 when an entity ended by an error."""
    from datong_assets import instance, streaming
    from datong_ingestion.streaming import streamed
    from datong_ingestion.systems_config import load_system

    config = load_system(system)
    names = [entity.name for entity in streamed(config, entities)]
    if format_ is Format.table:
        print_line(f"Streaming {', '.join(names)} of {system}. Ctrl-C ends it; the next start goes on from there.")
    with stopped_by_signals() as stop:
        ended = streaming.run(
            config,
            names,
            instance=instance.instance(),
            stop=stop,
            pause=pause,
            on_batch=lambda outcome: _tell(outcome, format_),
        )
    if format_ is Format.table:
        print_line("Stopped." if not ended else f"Ended by errors: {', '.join(outcome.entity for outcome in ended)}.")
    if ended:
        raise typer.Exit(1)


@contextmanager
def stopped_by_signals() -> Generator[threading.Event, None, None]:
    """An event that Ctrl-C or SIGTERM sets, so that the batch at work is finished; a second one, later, breaks off."""
    stop = threading.Event()
    first: list[float] = []
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def asked(_number: int, _frame: Any) -> None:
        stop.set()
        now = time.monotonic()
        # what starts a command passes on a signal that the terminal sent to both: one key, two signals
        if first and now - first[0] > _AT_ONCE:
            raise KeyboardInterrupt
        first.append(now)

    for number in before:
        signal.signal(number, asked)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(outcome: IngestOutcome, format_: Format) -> None:
    from datong_ingestion.__main__ import record

    if format_ is Format.json:
        sys.stdout.write(json.dumps(record(outcome), ensure_ascii=False) + "\n")
        sys.stdout.flush()
        return
    if isinstance(outcome.result, DatongError):
        print_error(outcome.result)
        return
    found = record(outcome)
    counts = {"deletes": found["deletes"], "rescued": found["rescued"], "refused": found["refused"]}
    more = "".join(f", {count:,} {what}" for what, count in counts.items() if count)
    events = "".join(f"; {event}" for event in found["events"])
    print_line(
        f"{time.strftime('%H:%M:%S')}  {outcome.entity:32} {found['rows']:>9,} rows{more}, "
        f"{found['total_rows']:,} in {found['table']}, {found['seconds']:.2f} s{events}"
    )
