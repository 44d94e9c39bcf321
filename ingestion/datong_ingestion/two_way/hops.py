"""The hops of a two-way synchronisation for the sync log: plan, send and verify, for each system a run writes to.

What goes to each system is told under its own name (`<sync>_to_<system>`), by which the ledger knows it. A run looks
again after it has sent, so what follows a request belongs to verifying.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from datong_platform.lake import sync_log
from datong_platform.lake.sync_log import Entry, HopKind, Outcome

from datong_ingestion.write_back.hops import Spans

if TYPE_CHECKING:
    from datong_ingestion.two_way.config import SyncConfig
    from datong_ingestion.two_way.results import SyncResult

_NAMED = 3


class SyncHops:
    """Hears the steps of one run of a synchronisation, and tells its hops when it has ended."""

    def __init__(self, sync: SyncConfig) -> None:
        self._sync = sync
        self._spans = Spans()
        self._looking: HopKind = "plan"
        self._has_sent = False
        self._plans = {
            system: sync_log.begin(
                Entry(
                    "plan",
                    system,
                    sync.flow_name(system),
                    sync.source,
                    (sync.source,),
                    started_at=self._spans.began,
                )
            )
            for system in sync.systems
        }

    def step(self, name: str) -> None:
        """A step is done."""
        if name == "sent":
            self._spans.done("send")
            self._has_sent = True
            return
        if name == "looked":
            self._looking, self._has_sent = "verify" if self._has_sent else "plan", False
        self._spans.done(self._looking if name in {"looked", "intended", "planned"} else None)

    def failed(self, error: Exception) -> None:
        """The run ended before anything was sent."""
        for plan in self._plans.values():
            sync_log.record(replace(plan, ended_at=datetime.now(UTC), outcome="failed", words=str(error)))

    def ended(self, result: SyncResult) -> None:
        """The run ended."""
        problems = [f"{key}: {words}" for key, words in list(result.problems.items())[:_NAMED]]
        told = "; ".join([*([str(result.stopped)] if result.stopped else ()), *problems]) or None
        is_idle = result.ok and not result.looked
        outcome: Outcome = "failed" if result.stopped else "ok" if result.ok else "partly"
        for system, begun in self._plans.items():
            sent, verified = result.sent[system], result.verified_at.get(system, 0)
            # the ledger knows the run by its own id
            plan = replace(begun, batch=result.run_id, rows_in=result.looked)
            self._spans.record(replace(plan, rows_out=sent, outcome="nothing new" if is_idle else outcome, words=told))
            plan = replace(plan, inputs=(*plan.inputs, f"{system}.{self._sync.systems[system].resource}"))
            if sent:
                send = replace(plan, hop="send", hop_id=uuid.uuid4().hex, rows_in=sent, rows_out=sent)
                self._spans.record(replace(send, outcome="failed" if result.stopped else "ok"))
            if sent or verified:
                self._spans.record(
                    replace(
                        plan,
                        hop="verify",
                        hop_id=uuid.uuid4().hex,
                        rows_in=sent,
                        rows_out=verified,
                        rows_refused=max(0, sent - verified),
                        outcome="ok" if verified >= sent else "partly" if verified else "failed",
                        words=None if verified >= sent else told,
                    )
                )
