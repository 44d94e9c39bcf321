"""The hops of a write-back for the sync log: plan, send and verify, one row each for a run of a flow.

A run works chunk by chunk, so the three interleave: each begins with its first step and ends with its last.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from datong_platform.lake import sync_log
from datong_platform.lake.sync_log import Entry, HopKind, Outcome

if TYPE_CHECKING:
    from datong_ingestion.write_back.config import FlowConfig
    from datong_ingestion.write_back.results import FlowResult

_HOP_OF: dict[str, HopKind] = {
    "planned": "plan",
    "looked": "plan",
    "intended": "plan",
    "sent": "send",
    "read_back": "verify",
    "recorded": "verify",
}
"""The hop that a step is the end of."""
_NAMED = 3


class Spans:
    """When the hops of a run went on: each from its first step's beginning to its last step's end."""

    def __init__(self) -> None:
        self.began = self._last = datetime.now(UTC)
        self._spans: dict[HopKind, tuple[datetime, datetime]] = {}

    def done(self, kind: HopKind | None) -> None:
        """A step of a hop is done; None for one that belongs to none."""
        now = datetime.now(UTC)
        if kind is not None:
            started_at = self._spans[kind][0] if kind in self._spans else self._last
            self._spans[kind] = started_at, now
        self._last = now

    def record(self, entry: Entry) -> None:
        """Put down a hop with its times."""
        started_at, ended_at = self._spans.get(entry.hop, (self._last, self._last))
        sync_log.record(replace(entry, started_at=started_at, ended_at=ended_at))


class FlowHops:
    """Hears the steps of one run of a flow, and tells its hops when it has ended."""

    def __init__(self, flow: FlowConfig) -> None:
        self._spans = Spans()
        self._resource = f"{flow.target.system}.{flow.target.resource}"
        self._plan = sync_log.begin(
            Entry("plan", flow.target.system, flow.flow, flow.source, (flow.source,), started_at=self._spans.began)
        )

    def step(self, name: str) -> None:
        """A step is done."""
        self._spans.done(_HOP_OF.get(name))

    def failed(self, error: Exception) -> None:
        """The run ended before anything was sent."""
        sync_log.record(replace(self._plan, ended_at=datetime.now(UTC), outcome="failed", words=str(error)))

    def ended(self, result: FlowResult, rows: int) -> None:
        """The run ended; `rows` of the serve table were looked at."""
        told = [f"{key}: {words}" for key, words in list(result.problems.items())[:_NAMED]]
        words = (
            "; ".join(
                [*([str(result.stopped)] if result.stopped else ()), *([result.held] if result.held else ()), *told]
            )
            or None
        )
        # the ledger knows the run by its own id
        plan = replace(self._plan, batch=result.run_id)
        self._spans.record(
            replace(plan, rows_in=rows, rows_out=result.planned, outcome="ok" if result.planned else "nothing new")
        )
        plan = replace(plan, inputs=(*plan.inputs, self._resource), rows_in=result.planned)
        if result.sent:
            outcome: Outcome = "failed" if result.stopped else "ok"
            self._spans.record(
                replace(plan, hop="send", hop_id=uuid.uuid4().hex, rows_out=result.sent, outcome=outcome)
            )
        if result.planned or result.stopped:
            self._spans.record(
                replace(
                    plan,
                    hop="verify",
                    hop_id=uuid.uuid4().hex,
                    rows_out=result.verified,
                    rows_refused=result.planned - result.verified - result.cancelled,
                    outcome="ok" if result.is_green else "partly" if result.ok or result.verified else "failed",
                    words=words,
                )
            )
