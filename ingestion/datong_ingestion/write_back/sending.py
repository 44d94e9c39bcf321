"""Sending a chunk of items: look, commit the intent, send at the flow's rate, read back, have it judged, commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from datong_platform.errors import DatongError

from datong_ingestion.write_back.book import Book
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.items import Item, keys_sent, stuck
from datong_ingestion.write_back.judging import Judge
from datong_ingestion.write_back.lease import Lease
from datong_ingestion.write_back.target import Change, Found, Outcome, Target

OnStep = Callable[[str, str], None]
"""Told each step and what it did, when it is done: planned, looked, intended, sent, read_back, recorded."""
OnReply = Callable[[str, str], None]
"""Told the key of each change that was sent, and its outcome; called from several threads."""

_LOOKS = 3


class Sender:
    """Carries items to a target, a chunk at a time, while the flow's lock is held."""

    def __init__(
        self,
        flow: FlowConfig,
        target: Target,
        book: Book,
        judge: Judge,
        lease: Lease,
        *,
        on_step: OnStep,
        on_reply: OnReply,
    ) -> None:
        self._flow, self._target, self._book, self._judge, self._lease = flow, target, book, judge, lease
        self._on_step, self._on_reply = on_step, on_reply
        self._paced_until = 0.0

    def chunk(self, chunk: Sequence[Item]) -> list[Item]:
        """Work on a chunk; returns the items that have to be tried again later."""
        self._lease.check()
        held = self._look(chunk)
        self._on_step("looked", f"{len(held)} keys")
        again: list[Item] = []
        changes: list[tuple[Item, Change]] = []
        for item in chunk:
            found = held.get(item.key, [])
            if isinstance(found, DatongError):
                self._judge.not_known(item, found)
                continue
            verdict = self._judge.decide(item, found)
            if verdict == "later":
                again.append(item)
            elif verdict != "finished":
                changes.append((item, self._judge.intend(item, None if verdict == "create" else verdict)))
        self._book.commit(held)
        self._on_step("intended", f"{len(changes)} rows")
        return again + self._send(changes) if changes else again

    def _look(self, chunk: Sequence[Item]) -> dict[str, list[Found] | DatongError]:
        """What the target holds for the chunk's keys; raises when it is not there or does not let us in."""
        asked = [
            item.key
            for item in chunk
            if item.open or (item.wanted and (self._flow.look_first or stuck(item.last, item.wanted)))
        ]
        if asked or not any(item.wanted for item in chunk):
            return self._target.lookup(asked, keys_sent(chunk)) if asked else {}
        # one is looked up all the same, before a whole chunk is sent to a target that is down or was moved
        probe = next(item.key for item in chunk if item.wanted)
        held = self._target.lookup([probe], {})
        if isinstance(error := held[probe], DatongError):
            raise error
        return held

    def _send(self, changes: Sequence[tuple[Item, Change]]) -> list[Item]:
        self._lease.check()
        outcomes: dict[str, Outcome] = {}
        for paced in self._paced([change for _, change in changes]):
            outcomes |= self._target.send(paced, lambda change, outcome: self._on_reply(change.key, outcome.kind))
        self._on_step("sent", f"{len(changes)} rows")
        for item, _ in changes:
            item.not_before = time.monotonic() + self._flow.settle_seconds
        held = self._read_back([item for item, _ in changes], outcomes)
        self._on_step("read_back", f"{len(held)} keys")
        again = [
            item for item, change in changes if self._judge.judge(item, change, outcomes[item.key], held.get(item.key))
        ]
        self._book.commit(held)
        self._on_step("recorded", f"{len(changes)} rows")
        return again

    def _paced(self, changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
        """The changes in portions, not faster than the flow's rate."""
        if self._flow.rate is None:
            yield changes
            return
        size = max(1, int(self._flow.rate))
        for at in range(0, len(changes), size):
            time.sleep(max(0.0, self._paced_until - time.monotonic()))
            portion = changes[at : at + size]
            self._paced_until = time.monotonic() + len(portion) / self._flow.rate
            yield portion

    def _read_back(self, items: Sequence[Item], outcomes: dict[str, Outcome]) -> dict[str, list[Found] | DatongError]:
        """What the target holds now; what it accepted and does not show yet is asked for again, briefly."""
        held: dict[str, list[Found] | DatongError] = {}
        pending = [item for item in items if outcomes[item.key].kind not in {"refused", "not_sent"}]
        for look in range(_LOOKS):
            if not pending:
                break
            time.sleep(0.2 * look)
            try:
                held |= self._target.lookup([item.key for item in pending], keys_sent(pending))
            except DatongError as error:
                held |= {item.key: error for item in pending}
            pending = [item for item in pending if outcomes[item.key].kind == "accepted" and self._is_late(item, held)]
        return held

    def _is_late(self, item: Item, held: dict[str, list[Found] | DatongError]) -> bool:
        """Whether the target does not show yet what it accepted."""
        found = held.get(item.key, [])
        if item.open is not None and item.open.is_delete and self._target.can_be_asked:
            return bool(found)
        return found == []
