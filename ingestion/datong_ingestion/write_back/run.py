"""Running a flow: plan, look, commit the intent, send, read back, record.

From a serve table's rows to records of a target system. The order is the guarantee:

1. What changed is found (`plan`), held against the flow's guards, and recorded as `planned`, or as
   `waiting_for_approval` where a person has to say yes. What people decided since the last run is carried out.
2. Per chunk the target is asked what it holds for the keys. What is already there and equal is verified without
   sending anything; so neither a lost ledger nor a record made by somebody else leads to a second one.
3. The intent to send (`sent`) is committed, with what the target held before; only then do the requests go out, a few
   at a time and not faster than the flow's rate.
4. Everything that may have had an effect is read back and compared. Only what the target holds is `verified`.

A crash after any step leaves a ledger from which the next run goes on. A row whose outcome was unclear and which cannot
be found is sent again, with the same idempotency key, once `settle_seconds` have passed. A row that failed comes back
with a growing distance and rests in the dead letter (`dead`) in the end.

A pause is looked for before each chunk. While a flow is frozen, or waits for one that comes before it, its changes are
planned and none is sent.

What a candidate is, is told by `kinds`; which are worked on now by `planning`; a chunk is carried by `sending`, each of
its rows judged by `judging`; and all of it is put down in the `book`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from datong_platform.errors import DatongError
from datong_platform.lake import sync_log

from datong_ingestion.write_back import decisions, ledger
from datong_ingestion.write_back.book import Book
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.decisions import Decision
from datong_ingestion.write_back.hops import FlowHops
from datong_ingestion.write_back.items import Item
from datong_ingestion.write_back.judging import Judge
from datong_ingestion.write_back.lease import Lease, lease
from datong_ingestion.write_back.ledger import SETTLED, Ledger
from datong_ingestion.write_back.payload import PayloadBuilder
from datong_ingestion.write_back.plan import Source
from datong_ingestion.write_back.planning import Planner
from datong_ingestion.write_back.preview import preview
from datong_ingestion.write_back.results import FlowResult, Preview
from datong_ingestion.write_back.sending import OnReply, OnStep, Sender
from datong_ingestion.write_back.target import Target, check_operations

_MAX_SAMPLES = 10
_PLAN_ROWS = 5000
_BIG_CHUNK_ROWS = 1000
"""Rows that are planned before the first of them is sent."""


def run_flow(
    flow: FlowConfig,
    *,
    target: Target | None = None,
    on_step: OnStep | None = None,
    on_reply: OnReply | None = None,
    wait_seconds: float = 60,
) -> FlowResult:
    """Run one flow and say what became of its rows; failures of single rows do not stop the others.

    `target` is opened from the flow's definition unless given. `on_step` is called a few times a chunk, `on_reply` for
    each row. `wait_seconds` is how long to wait for another run of the same flow.

    Raised, all before anything was sent: ConfigurationError (a column, a system or a value that is missing, an
    operation that the target does not have), TransientError (another run holds the flow), ServiceError (lake or
    PostgreSQL), SchemaError (null or double keys in the serve table), TerminalError (the serve table is not built).
    What goes wrong later, an unreachable or refusing target included, is in the result: `stopped` and the counts.
    """
    with sync_log.run():
        hops = FlowHops(flow)

        def step(name: str, what: str) -> None:
            hops.step(name)
            if on_step:
                on_step(name, what)

        try:
            with lease(flow.flow, wait_seconds=wait_seconds) as held:
                if pause := decisions.paused(flow.flow):
                    result, rows = _paused(flow, pause), 0
                else:
                    result, rows = _run(flow, target, held, step, on_reply)
        except Exception as error:
            hops.failed(error)
            raise
        hops.ended(result, rows)
        return result


def _run(
    flow: FlowConfig, target: Target | None, held: Lease, on_step: OnStep, on_reply: OnReply | None
) -> tuple[FlowResult, int]:
    """The result of a run, and how many rows its serve table has."""
    opened = target or _open(flow)
    try:
        run = _Run(flow, opened, held, on_step, on_reply or (lambda _key, _outcome: None))
        return run.run(), run.source.rows
    finally:
        if target is None:
            opened.close()


def dry_run(flow: FlowConfig, *, target: Target | None = None, samples: int = _MAX_SAMPLES) -> Preview:
    """What a run would do now, with a few changes before and after; the target is only read. Raises as `run_flow`."""
    opened = target or _open(flow)
    try:
        check_operations(flow, opened)
        source = Source(flow, Ledger(flow.flow))
        return preview(flow, source, PayloadBuilder(flow, source.schema, opened.dialect), opened, samples)
    finally:
        if target is None:
            opened.close()


def _open(flow: FlowConfig) -> Target:
    from datong_ingestion.write_back.systems import open_target

    return open_target(flow)


def _paused(flow: FlowConfig, pause: Decision) -> FlowResult:
    counted = ledger.state_counts(flow.flow).get(flow.flow, {})
    left = {state: number for state, number in counted.items() if state not in SETTLED}
    return FlowResult(
        flow=flow.flow,
        run_id="",
        planned=sum(left.values()),
        verified=0,
        cancelled=0,
        waiting=left.get("planned", 0) + left.get("sent", 0),
        sent=0,
        already=0,
        seconds=0,
        problems={},
        failed=left.get("failed", 0),
        dead=left.get("dead", 0),
        conflict=left.get("conflict", 0),
        unknown=left.get("unknown", 0),
        waiting_for_approval=left.get("waiting_for_approval", 0),
        held=f"{pause.about} is paused: {pause.told}",
    )


class _HeldError(Exception):
    """A person paused the flow while it ran."""


class _Run:
    def __init__(self, flow: FlowConfig, target: Target, held: Lease, on_step: OnStep, on_reply: OnReply) -> None:
        check_operations(flow, target)
        self.flow = flow
        its_ledger = Ledger(flow.flow)
        self.source = Source(flow, its_ledger)
        builder = PayloadBuilder(flow, self.source.schema, target.dialect)
        self.book = Book(flow, target, its_ledger, self.source.build)
        self.planner = Planner(flow, self.source, builder, self.book)
        judge = Judge(flow, target, builder, self.book)
        self.sender = Sender(flow, target, self.book, judge, held, on_step=on_step, on_reply=on_reply)
        self.on_step = on_step

    def run(self) -> FlowResult:
        started = time.monotonic()
        stopped: DatongError | None = None
        try:
            self.planner.guard()
            self._work()
        except _HeldError as pause:
            self.planner.held = str(pause)
        except DatongError as error:
            stopped = error
        stopped = stopped or self.planner.too_much
        if stopped is None:
            self.planner.close_decisions()
        return FlowResult(
            flow=self.flow.flow,
            run_id=self.book.run_id,
            planned=self.book.total,
            verified=self.book.done["verified"],
            failed=self.book.done["failed"],
            dead=self.book.done["dead"],
            conflict=self.book.done["conflict"],
            unknown=self.book.done["unknown"],
            cancelled=self.book.done["cancelled"],
            waiting_for_approval=self.book.done["waiting_for_approval"],
            waiting=self.book.total - self.book.done.total(),
            gated=self.book.gated,
            sent=self.book.sent,
            already=self.book.already,
            seconds=round(time.monotonic() - started, 3),
            problems=self.book.problems,
            stopped=stopped,
            held=self.planner.held,
        )

    def _work(self) -> None:
        """Plan and work through the candidates, a chunk at a time; what has to wait is taken up again when due."""
        ready: list[Item] = []
        later: list[Item] = []
        for candidate in self.source.candidates():
            if (item := self.planner.item(candidate)) is not None:
                ready.append(item)
            if len(ready) >= _PLAN_ROWS:
                later += self._go(ready)
                ready = []
            elif len(self.book.entries) >= _PLAN_ROWS:
                self.book.commit()
        self.book.commit()
        self.on_step("planned", f"{self.book.total} rows")
        later += self._go(ready)
        while later:
            time.sleep(max(0.0, min(item.not_before for item in later) - time.monotonic()))
            due = time.monotonic()
            ready = [item for item in later if item.not_before <= due]
            later = [item for item in later if item.not_before > due]
            later += self._go(ready)

    def _go(self, items: Sequence[Item]) -> list[Item]:
        """Work on items, a chunk at a time; returns those that have to be tried again later."""
        self.book.commit()
        # a big plan in bigger chunks: every chunk is two commits to the ledger
        size = max(self.flow.chunk_rows, _BIG_CHUNK_ROWS if len(items) >= _PLAN_ROWS else 0)
        later: list[Item] = []
        for at in range(0, len(items), size):
            if pause := decisions.paused(self.flow.flow):
                raise _HeldError(f"{pause.about} is paused: {pause.told}")
            later += self.sender.chunk(items[at : at + size])
        return later
