"""What a run puts down: the transitions of its items, and what came of people's decisions.

Transitions are gathered and committed together; a commit of theirs comes before what depends on it: before requests go
out, before a decision counts as carried out, before a target may forget an answer.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection
from typing import Any, Literal

from datong_ingestion.write_back import decisions
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.items import Item
from datong_ingestion.write_back.ledger import OPEN, SETTLED, Entry, Ledger, Operation, State, now
from datong_ingestion.write_back.payload import dumps
from datong_ingestion.write_back.target import Target

MAX_WORDS = 2000
_MAX_PROBLEMS = 20


class Book:
    """The transitions of one run of a flow. `build` is the build that published its serve table."""

    def __init__(self, flow: FlowConfig, target: Target, ledger: Ledger, build: str | None) -> None:
        self.flow = flow
        self.run_id = uuid.uuid4().hex
        self.entries: list[Entry] = []
        """Transitions to commit with the next append."""
        self.done: Counter[State] = Counter()
        """Items whose work in this run is over, by their state."""
        self.problems: dict[str, str] = {}
        self.total = self.sent = self.already = self.gated = 0
        self.asks: frozenset[str] = frozenset()
        """What waits for approval of what is planned newly: change, delete."""
        self.outcomes: dict[int, str] = {}
        """What came of decisions, by their ids, to tell with the next commit."""
        self.touched: Counter[int] = Counter()
        """Rows that each decision about a whole flow was carried out on."""
        self._target, self._ledger, self._build = target, ledger, build

    def plan(self, item: Item) -> bool:
        """Record what is wanted newly; whether it may go out."""
        if ("delete" if item.wanted and item.wanted.is_delete else "change") in self.asks:
            self.close(item, "waiting_for_approval", "waits for approval", plan=self.run_id)
            return False
        self.record(item, "planned")
        return True

    def close(self, item: Item, state: State, words: str, **told: Any) -> Literal["finished"]:
        """The item's last transition in this run; a conflict that is as it was needs none."""
        last = item.last
        if state == "failed":
            tries = self._tries(item) + 1
            if tries >= self.flow.retry.attempts:
                state = "dead"
            told |= {"tries": tries, "next_at": None if state == "dead" else now() + self.flow.retry.wait(tries)}
        as_it_was = (
            state == "conflict"
            and last is not None
            and last.state == state
            and (last.held == told.get("held") if last.held else last.words == words[:MAX_WORDS])
        )
        if not as_it_was:
            self.record(item, state, words, **told)
        return self.finish(item, state, words)

    def finish(self, item: Item, state: State, words: str = "") -> Literal["finished"]:
        self.done[state] += 1
        if state not in {"verified", "cancelled"} and len(self.problems) < _MAX_PROBLEMS:
            self.problems[item.key] = f"{state}: {words}"
        self.carried(item, f"{state}: {words}"[:MAX_WORDS] if words else state)
        return "finished"

    def carried(self, item: Item, outcome: str) -> None:
        """What came of the decision about an item."""
        if item.decision is None:
            return
        if item.decision.key is None:
            self.touched[item.decision.id] += 1
        else:
            self.outcomes[item.decision.id] = outcome

    def record(
        self,
        item: Item,
        state: State,
        words: str = "",
        operation: Operation | None = None,
        *,
        keep: bool = False,
        **told: Any,
    ) -> Entry:
        """Add the item's next transition to the next commit.

        A change keeps its idempotency key until it is closed: a target that remembers a refusal under a key would
        otherwise repeat it forever. What is cancelled by nobody's word may be planned again as it is: it keeps neither
        hash nor digest (`keep`: a rule's word).
        """
        last = item.last
        subject = item.subject
        digest = subject.hash if subject else last.payload_hash if last else ""
        going_on = (
            last is not None
            and last.state in {"planned", "waiting_for_approval", *OPEN}
            and last.payload_hash == digest
        )
        step = (last.step if last else 0) + 1
        name = f"datong:write-back:{self.flow.flow}|{item.key}|{digest}|{step}"
        goes_on = last if going_on else None
        kept = keep or state != "cancelled" or told.get("decision") is not None
        none: Operation = "delete" if subject is not None and subject.is_delete else "none"
        given: dict[str, Any] = {
            "tries": self._tries(item) or None,
            "plan": goes_on.plan if goes_on else None,
            "decision": goes_on.decision if goes_on else None,
            "build": self._build,
            "wanted_hash": (subject.asked or subject.hash) if subject and kept else None,
            "source_digest": item.digest if kept else None,
            **told,
        }
        entry = Entry(
            flow=self.flow.flow,
            key=item.key,
            step=step,
            state=state,
            operation=operation or (goes_on.operation if goes_on and goes_on.operation != "none" else none),
            idempotency_key=goes_on.idempotency_key if goes_on else str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            payload_hash=digest,
            payload=dumps(subject.payload) if subject else None,
            attempt=(goes_on.attempt if goes_on else 0) + (state == "sent"),
            run_id=self.run_id,
            at=now(),
            words=words[:MAX_WORDS] or None,
            **given,
        )
        item.last = entry
        self.entries.append(entry)
        return entry

    def commit(self, looked_up: Collection[str] = ()) -> None:
        """Commit the transitions, and then what they carry out; `looked_up` are the keys that they tell of."""
        self._ledger.append(self.entries)
        self.entries = []
        if looked_up:
            self._target.recorded(list(looked_up))
        decisions.carried_out(self.outcomes)
        self.outcomes = {}

    def _tries(self, item: Item) -> int:
        """Runs in which this very change failed so far."""
        last, subject = item.last, item.subject
        if last is None or last.state in SETTLED:
            return 0
        same = last.wanted_hash == (subject.asked or subject.hash) if subject else last.source_digest == item.digest
        return (last.tries or 0) if same else 0
