"""One key's work in a run: what is wanted, what was sent, what the ledger and a person said of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from datong_ingestion.write_back.decisions import Decision
from datong_ingestion.write_back.ledger import Entry
from datong_ingestion.write_back.payload import Payload, payload_hash
from datong_ingestion.write_back.target import Found


@dataclass(frozen=True)
class Wanted:
    """What the target is to hold for a key."""

    payload: Payload
    hash: str
    is_delete: bool = False
    parameters: Payload = field(default_factory=dict[str, Any])
    asked: str = ""
    """Hash of the payload that the serve table asks for, where a person mended it."""


DELETED = Wanted({}, payload_hash({}), is_delete=True)


@dataclass
class Item:
    """One key's work in this run."""

    key: str
    wanted: Wanted | None = None
    """What the target should hold; None when no row asks for it any more, or none can be made (`error`)."""
    error: str = ""
    last: Entry | None = None
    """Its last transition, kept up to date."""
    digest: str | None = None
    open: Wanted | None = None
    """What was sent, in this run or an earlier one, and may or may not be at the target."""
    sends: int = 0
    not_before: float = 0
    """Monotonic time before which it must not be sent again when it cannot be found."""
    is_forced: bool = False
    """Whether a conflict is settled in our favour, by a person or by the flow's rule."""
    decision: Decision | None = None
    pre_image: Payload | None = None

    @property
    def subject(self) -> Wanted | None:
        """What its next transition is about."""
        return self.open or self.wanted


Verdict = Literal["finished", "later", "create"] | Found
"""What to do with an item: nothing more, wait, create its record, or change the one that was found."""


def was_ours(last: Entry | None) -> bool:
    """Whether the target is known to hold the record, or is being told to delete it."""
    if last is None:
        return False
    return last.operation != "delete" if last.state == "verified" else last.operation == "delete"


def stuck(last: Entry | None, wanted: Wanted) -> bool:
    """Whether this very change was accepted once and then could not be found."""
    return last is not None and last.state == "conflict" and last.payload_hash == wanted.hash and accepted(last)


def accepted(entry: Entry) -> bool:
    """Whether the target said yes to it."""
    return entry.status is not None and 200 <= entry.status < 300


def keys_sent(items: Sequence[Item]) -> dict[str, str]:
    """The idempotency keys of those that were sent and may be at the target."""
    return {item.key: item.last.idempotency_key for item in items if item.open is not None and item.last is not None}


def several(found: Sequence[Found]) -> str:
    """That a key means more than one record, in words."""
    return f"the target holds {len(found)} records for it: {', '.join(one.target_key for one in found[:5])}"


def as_json(image: Payload) -> str:
    """An image for the ledger."""
    return json.dumps(image, sort_keys=True, ensure_ascii=False, default=str)
