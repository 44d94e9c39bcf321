"""Judging one item by what the target holds: before anything is sent, and after.

Before: it is there already, it is in doubt, it is to be created or changed, or it is for a person to decide. After:
only what the target holds is `verified`; a refusal changed nothing, a conflict (412, 409) is shown, and an outcome that
nobody knows stays `unknown` until it is known.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

from datong_platform.errors import DatongError

from datong_ingestion.write_back.book import MAX_WORDS, Book
from datong_ingestion.write_back.config import FlowConfig, Operation
from datong_ingestion.write_back.items import DELETED, Item, Verdict, Wanted, accepted, as_json, several, stuck
from datong_ingestion.write_back.ledger import Entry
from datong_ingestion.write_back.payload import PayloadBuilder
from datong_ingestion.write_back.target import AwaitedError, Change, Found, Outcome, RefusedLaterError, Target


class Judge:
    """What becomes of each item of a run, put down in its book."""

    def __init__(self, flow: FlowConfig, target: Target, builder: PayloadBuilder, book: Book) -> None:
        self._flow, self._target, self._builder, self._book = flow, target, builder, book

    # before

    def not_known(self, item: Item, error: DatongError) -> None:
        """What the target holds for an item cannot be had now; nothing is sent without having looked first."""
        if isinstance(error, RefusedLaterError) and item.open is not None:
            self._book.close(item, "failed", error.reason)
            return
        words = error.reason if isinstance(error, AwaitedError) else f"could not be looked up: {error}"
        last = item.last
        if item.open is None:
            self._book.close(item, "failed", words)
        elif last is not None and last.state == "unknown" and last.words == words[:MAX_WORDS]:
            self._book.finish(item, "unknown", words)
        else:
            self._book.close(item, "unknown", words, status=last.status if last else None)

    def decide(self, item: Item, found: Sequence[Found]) -> Verdict:
        """What to do with an item, given what the target holds for its key."""
        if len(found) > 1:
            return self._book.close(item, "conflict", several(found))
        record = found[0] if found else None
        if item.open is not None and (verdict := self._decide_open(item, item.open, record)):
            return verdict
        if item.wanted is None:
            return self._book.close(item, "failed", item.error)
        return self._decide_wanted(item, item.wanted, record)

    def _decide_open(  # noqa: PLR0911 each case has its own verdict
        self, item: Item, sent: Wanted, record: Found | None
    ) -> Verdict | None:
        """The same for an item that was sent before; None to go on with what is wanted now."""
        different = self._differences(sent, record)
        wanted = item.wanted
        changed = item.error or (wanted and (wanted.hash, wanted.is_delete) != (sent.hash, sent.is_delete))
        if not different:
            told: dict[str, Any] = {"target_key": record.target_key, "etag": record.etag} if record else {}
            self._book.record(item, "verified", "read back", **told)
            if not changed:
                return self._book.finish(item, "verified")
        elif record is None and item.last is not None and accepted(item.last):
            # it was there, or the target lied: to make another one is a decision for people
            return self._vanished(item, item.last)
        elif time.monotonic() < item.not_before:
            return "later"
        elif wanted is None and not item.error:
            if record is None or sent.is_delete:
                return self._book.close(item, "cancelled", f"{'; '.join(different)}, and not wanted any more")
            return self._conflict(item, "; ".join(different), record)
        elif changed:
            self._book.record(
                item, "cancelled", f"did not arrive ({'; '.join(different)}); something else is wanted by now"
            )
        if changed:
            item.open = None
            if wanted is not None and not self._book.plan(item):
                return "finished"
        return None

    def _decide_wanted(  # noqa: PLR0911 each case has its own verdict
        self, item: Item, wanted: Wanted, record: Found | None
    ) -> Verdict:
        """The same for what is wanted now, when nothing sent before is in doubt."""
        if record is None:
            if wanted.is_delete:
                # a target that cannot be asked is told, whatever it holds
                return self._held_already(item, None) if self._target.can_be_asked else "create"
            if item.last is not None and stuck(item.last, wanted) and not item.is_forced:
                return self._vanished(item, item.last)
            if "create" not in self._flow.operations:
                return self._book.close(item, "failed", "the target has no such record")
            return "create"
        different = self._differences(wanted, record)
        if not different:
            return self._held_already(item, record)
        rests = item.last is not None and item.last.state == "conflict" and not item.is_forced
        if rests and self._flow.on_conflict != "ours":
            return self._conflict(item, "; ".join(different), record)
        if not wanted.is_delete and not self._flow.changes_records:
            return self._conflict(item, "; ".join(different), record)
        return record

    def _held_already(self, item: Item, record: Found | None) -> Literal["finished"]:
        """The target is as it should be without anything being sent."""
        self._book.already += 1
        if item.last is None or item.last.state != "verified" or item.last.source_digest != item.digest:
            words = "the target held it already" if record else "the target did not hold it any more"
            told: dict[str, Any] = {"target_key": record.target_key, "etag": record.etag} if record else {}
            self._book.record(item, "verified", words, **told)
        return self._book.finish(item, "verified")

    def _vanished(self, item: Item, last: Entry) -> Literal["finished"]:
        """It was there, or the target lied: whether to make another one is a decision for people."""
        words = (
            "the target accepted it earlier and does not show it now; if it shall be sent again: "
            f"`datong flows retry {self._flow.flow} {item.key} --why ...`"
        )
        return self._book.close(item, "conflict", words, status=last.status, target_key=last.target_key)

    def intend(self, item: Item, record: Found | None) -> Change:
        """The intent to send, as the item's next transition."""
        wanted = item.open = item.wanted or DELETED
        item.sends += 1
        self._book.sent += item.sends == 1
        operation: Operation = (
            "delete"
            if wanted.is_delete
            else "create"
            if record is None
            else "call"
            if "call" in self._flow.operations
            else "update"
        )
        item.pre_image = self._builder.image(record.fields) if record else None
        entry = self._book.record(
            item,
            "sent",
            operation=operation,
            etag=record.etag if record else None,
            target_key=record.target_key if record else None,
            pre_image=as_json(item.pre_image) if item.pre_image is not None else None,
        )
        return Change(item.key, wanted.payload, entry.idempotency_key, record, operation, wanted.parameters)

    # after

    def judge(self, item: Item, change: Change, outcome: Outcome, found: list[Found] | DatongError | None) -> bool:
        """Record what became of a change that was sent; True when it has to be tried again later."""
        told: dict[str, Any] = {
            "status": outcome.status,
            "operation": change.operation,
            "etag": change.found.etag if change.found else None,
            "target_key": outcome.target_key or (change.found.target_key if change.found else None),
        }
        if outcome.kind == "refused":
            self._book.close(item, "failed", outcome.words, **told)
        elif outcome.kind == "not_sent":
            if item.sends < self._flow.attempts:
                item.not_before = time.monotonic() + (outcome.retry_after or min(1.0, self._flow.settle_seconds))
                return True
            self._book.close(item, "failed", outcome.words, **told)
        elif isinstance(found, AwaitedError):
            self._book.close(item, "unknown", f"{outcome.words} {found.reason}".strip(), **told)
        elif isinstance(found, RefusedLaterError):
            self._book.close(item, "failed", f"{outcome.words} {found.reason}".strip(), **told)
        elif found is None or isinstance(found, DatongError):
            self._book.close(item, "unknown", f"{outcome.words} Could not be read back: {found}", **told)
        elif len(found) > 1:
            self._book.close(item, "conflict", several(found), **told)
        else:
            return self._judge_found(item, outcome, found[0] if found else None, told)
        return False

    def _judge_found(self, item: Item, outcome: Outcome, record: Found | None, told: dict[str, Any]) -> bool:
        """The same, by what the target holds now."""
        different = self._differences(item.open or DELETED, record)
        words = f"{outcome.words} Read back: {'; '.join(different)}".strip()
        if not different:
            told |= {"target_key": record.target_key, "etag": record.etag} if record else {}
            self._book.record(item, "verified", outcome.words or "read back", **told)
            self._book.finish(item, "verified")
        elif outcome.kind == "conflict":
            return self._contested(item, words, record, told)
        elif outcome.kind == "accepted" and record is not None:
            self._conflict(item, words, record, **told)
        elif outcome.kind == "unclear" and item.sends < self._flow.attempts:
            return True
        else:
            self._book.close(item, "unknown", words, **told)
        return False

    def _contested(self, item: Item, words: str, record: Found | None, told: dict[str, Any]) -> bool:
        """Somebody was quicker (412), or made the record (409). It is shown, and tried again where the flow's rule says
        so or where the fields that we write are as they were."""
        image = self._builder.image(record.fields) if record else None
        untouched = image is not None and image == item.pre_image
        ours = self._flow.on_conflict == "ours" and (self._flow.changes_records or record is None)
        if not (untouched or ours or item.is_forced) or item.sends >= self._flow.attempts:
            self._conflict(item, words, record, **told)
            return False
        why = "none of the fields that we write was touched" if untouched else "our value is to stand"
        held: dict[str, Any] = {"held": as_json(image)} if image is not None else {}
        self._book.record(item, "conflict", f"{words} Sent again: {why}.", **told, **held)
        # it was refused, so nothing is in doubt, and the record is read anew before it is sent again
        item.open, item.is_forced, item.not_before = None, True, time.monotonic()
        return True

    # both

    def _conflict(self, item: Item, words: str, record: Found | None, **told: Any) -> Literal["finished"]:
        """A conflict, shown with what the target holds, and settled at once where the flow's rule is theirs."""
        if record is not None:
            told |= {"target_key": record.target_key, "held": as_json(self._builder.image(record.fields))}
        if self._flow.on_conflict != "theirs":
            return self._book.close(item, "conflict", words, **told)
        self._book.record(item, "conflict", words, **told)
        return self._book.close(
            item, "cancelled", "what the target holds stays, by the flow's rule for conflicts", keep=True
        )

    def _differences(self, wanted: Wanted, record: Found | None) -> list[str]:
        """Where the target is not as wanted; empty when it is."""
        if wanted.is_delete and not self._target.can_be_asked:
            return [] if record else ["not taken"]
        if wanted.is_delete:
            return ["the target holds it"] if record else []
        return self._builder.differences(wanted.payload, record.fields) if record else ["not found"]
