"""Planning: which of the candidates are worked on now, by the flow's guards and by what people decided.

From `Candidate`s to `Item`s. What is wanted newly is recorded as `planned`, or as `waiting_for_approval` where a person
has to say yes; what an earlier run left goes on where its time has come.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

from datong_platform.errors import DatongError, TerminalError

from datong_ingestion.write_back import decisions, ledger, mending
from datong_ingestion.write_back.book import Book
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.decisions import Decision
from datong_ingestion.write_back.guards import beyond, has_ceilings, hold, is_enough
from datong_ingestion.write_back.items import Item, Wanted
from datong_ingestion.write_back.kinds import Kinds
from datong_ingestion.write_back.ledger import Entry, now
from datong_ingestion.write_back.payload import PayloadBuilder, payload_hash
from datong_ingestion.write_back.plan import Candidate, Source
from datong_ingestion.write_back.preview import counted


class Planner:
    """What one run of a flow has to do."""

    def __init__(self, flow: FlowConfig, source: Source, builder: PayloadBuilder, book: Book) -> None:
        self._flow, self._source, self._builder, self._book = flow, source, builder, book
        self._kinds = Kinds(flow, builder)
        self.held = hold(flow)
        """Why nothing is sent in this run; empty when it is."""
        self.too_much: DatongError | None = None
        """Why nothing new is planned: a ceiling."""
        self._verdicts = decisions.waiting(flow.flow)
        self._by_key = {one.key: one for one in self._verdicts if one.key is not None}
        self._gated_keys: set[str] = set()
        """Keys with a decision that waits with them."""

    def guard(self) -> None:
        """Hold what would be planned newly against the ceilings, and see whether a person is to be asked."""
        guards = self._flow.guards
        deletes = "delete" in self._flow.operations
        if guards.approve_above is None and not has_ceilings(guards) and not deletes:
            return
        told = counted(self._flow, self._source, self._kinds)
        if words := beyond(self._flow, told):
            through = next(
                (one for one in self._verdicts if one.plan == decisions.CEILING and is_enough(one, told)), None
            )
            if through is None:
                self.too_much = TerminalError(
                    f"write-back flow {self._flow.flow}",
                    f"plans too much, so nothing new is planned: {'; '.join(words)}.",
                    f"look at it (`datong write-back {self._flow.flow} --dry-run`); if it is right, let it through "
                    f"once: `datong flows approve {self._flow.flow} --ceiling --changes {told.changes} "
                    f"--deletes {told.deletes} --why ...`.",
                )
            else:
                self._book.outcomes[through.id] = f"let through: {told.changes} changes, {told.deletes} of them deletes"
        asks = {"delete"} if guards.approve_deletes else set[str]()
        if guards.approve_above is not None and told.changes > guards.approve_above:
            asks |= {"change", "delete"}
        self._book.asks = frozenset(asks)

    def item(self, one: Candidate) -> Item | None:
        """The item to work on now; None when it is left as it is, or for later."""
        item, kind = self._kinds.of(one)
        if kind == "none":
            return None
        if kind == "renew":
            last = item.last
            if last is not None and last.source_digest != item.digest:
                told: dict[str, Any] = {"target_key": last.target_key, "etag": last.etag, "decision": last.decision}
                self._book.record(
                    item, last.state, "unchanged; its digest is made in another way now", last.operation, **told
                )
            return None
        self._book.total += 1
        item.decision = self._decision(item)
        if kind == "open":
            self._reopen(item)
        elif kind == "cancel":
            self._book.close(item, "cancelled", "not wanted any more, or done by others")
            return None
        elif kind in {"new", "changed", "delete"}:
            if item.decision is not None:
                self._book.carried(item, "not carried out: something else is wanted by now")
            if self.too_much is not None or not self._book.plan(item):
                return None
        elif not self._resume(item, kind):
            return None
        if one.is_gated:
            self._book.gated += 1
            if item.decision is not None:
                self._gated_keys.add(one.key)
        return None if one.is_gated or self.held else item

    def _resume(self, item: Item, kind: str) -> bool:  # noqa: PLR0911 each state has its own way on
        """Go on with what an earlier run left, by what a person decided about it; whether it may go out now."""
        last, decided = item.last, item.decision
        if kind in {"wrong", "recheck"} or last is None:
            if kind == "wrong":
                self._book.close(item, "failed", item.error)
            return kind == "recheck"
        if decided is not None:
            return self._carry_out(item, last, decided)
        if last.state == "failed" and (last.next_at is None or last.next_at <= now()):
            if item.error:
                self._book.close(item, "failed", item.error)
                return False
            self._book.record(item, "planned", "tried again")
            return True
        if last.state in {"failed", "dead", "waiting_for_approval"}:
            self._book.finish(item, last.state, last.words or "")
            return False
        if last.state == "conflict" and self.held:
            self._book.finish(item, last.state, last.words or "")
            return False
        return True

    def _decision(self, item: Item) -> Decision | None:
        """What a person decided about an item: about its key, else about all of its state."""
        last = item.last
        if (own := self._by_key.get(item.key)) is not None:
            return own
        for one in self._verdicts:
            if one.key is not None or one.plan == decisions.CEILING or last is None:
                continue
            states = decisions.OF_A_FLOW.get(one.kind, ())
            if last.state in states and last.at <= one.decided_at and one.plan in {None, last.plan}:
                return one
        return None

    def _carry_out(self, item: Item, last: Entry, decided: Decision) -> bool:
        """Do what a person decided about an item that rests; whether it may go out now."""
        kind, words = decided.kind, f"{decided.kind} by {decided.who}: {decided.why}"
        goes_on = last.state == "planned" and last.decision == decided.id
        if not goes_on and last.state not in decisions.ALLOWED.get(kind, ()):
            self._book.carried(item, f"not carried out: it is {last.state} by now")
            item.decision = None
            return self._resume(item, last.state)
        if kind in {"reject", "cancel", "accept_theirs"}:
            self._book.close(item, "cancelled", words, decision=decided.id, held=None)
            return False
        may_change = self._flow.changes_records or (item.wanted is not None and item.wanted.is_delete)
        if kind == "accept_ours" and not may_change and last.held is not None:
            self._book.carried(item, "not carried out: the flow may not change a record that exists")
            item.decision = None
            return self._resume(item, last.state)
        if item.error:
            self._book.close(item, "failed", item.error, decision=decided.id)
            return False
        if kind == "mend" and not goes_on and not self._mend(item, decided):
            item.decision = None
            return self._resume(item, last.state)
        item.is_forced = kind in {"retry", "mend", "accept_ours"}
        if not goes_on:
            self._book.record(item, "planned", words, decision=decided.id, tries=0)
        return True

    def _mend(self, item: Item, decided: Decision) -> bool:
        """Give an item the new values that a person decided on; False where they cannot be sent."""
        if item.wanted is None or item.wanted.is_delete:
            self._book.carried(item, "not carried out: the record is to be deleted")
            return False
        try:
            given = self._builder.mended(decided.payload or {})
        except ValueError as error:
            self._book.carried(item, f"not carried out: {error}")
            return False
        if words := mending.breach(self._flow, given):
            self._book.carried(item, f"not carried out: {words}")
            return False
        payload = {**item.wanted.payload, **given}
        asked = item.wanted.asked or item.wanted.hash
        item.wanted = replace(item.wanted, payload=payload, hash=payload_hash(payload), asked=asked)
        return True

    def close_decisions(self) -> None:
        """Mark the decisions that this run has carried out as far as it goes; those of a held run wait."""
        if self.held:
            return
        for one in self._verdicts:
            if one.plan == decisions.CEILING:
                continue
            if one.key is None:
                self._book.outcomes[one.id] = f"carried out on {self._book.touched[one.id]} rows"
            elif one.id not in self._book.outcomes and one.key not in self._gated_keys:
                last = ledger.row(self._flow.flow, one.key)
                self._book.outcomes[one.id] = f"not carried out: it is {last.state if last else 'unknown to us'} by now"
        self._book.commit()

    def _reopen(self, item: Item) -> None:
        last = item.last
        if last is None:
            return
        is_delete = last.operation == "delete"
        sent = Wanted(json.loads(last.payload or "{}"), last.payload_hash, is_delete, asked=last.wanted_hash or "")
        if item.wanted is not None and (item.wanted.hash, item.wanted.is_delete) == (sent.asked, is_delete):
            # what a person mended stays so while the serve table asks for the same
            item.wanted = replace(item.wanted, payload=sent.payload, hash=sent.hash, asked=sent.asked)
        item.open = sent
        age = max(0.0, (now() - last.at).total_seconds())
        item.not_before = time.monotonic() + max(0.0, self._flow.settle_seconds - age)
