"""The audit log: everything that people decided, whoever and wherever, the newest first.

Read from where each decision is kept, never copied: stewards' decisions about data (`ops.steward_decision`), decisions
about what goes back to the systems (`ops.write_back_decision`), and who took which incident on
(`ops.incident_taken`). None of these is ever changed by a later decision; taking one back is an entry of its own or
stands in its outcome.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from datong_ingestion.write_back.decisions import Decision
    from datong_platform.alerts.incidents import Taken
    from datong_platform.standard.decisions import Decision as Steward

Source = Literal["data", "write_back", "alert"]
SOURCES: tuple[Source, ...] = get_args(Source)
_PIECE = 500


@dataclass(frozen=True)
class Entry:
    """One decision of a person. Times are UTC."""

    at: datetime
    who: str
    source: Source
    decision: str
    """What was decided, in one word: approve, fix, take, pause ..."""
    about: str
    """What it speaks of, as people write it."""
    value: str
    """What was set, where something was."""
    why: str
    outcome: str
    """What came of it, as far as that is known; empty while it waits."""
    id: str
    flow: str = ""
    key: str = ""
    entity: str = ""
    system: str = ""
    incident: int = 0

    @property
    def order(self) -> tuple[datetime, str, str]:
        """What the log is sorted by."""
        return (self.at, self.source, self.id)


def entries(
    *,
    who: str = "",
    source: Source | None = None,
    text: str = "",
    since: datetime | None = None,
    before: datetime | None = None,
    limit: int = 50,
) -> list[Entry]:
    """Decisions, the newest first: those of a person, of one kind of thing, that contain a text, in a span of time.

    `since` is included, `before` is not. ServiceError when the lake or PostgreSQL does not answer.
    """
    wanted = text.lower()

    def fits(one: Entry) -> bool:
        told = " ".join((one.who, one.decision, one.about, one.value, one.why, one.outcome)).lower()
        return who in {"", one.who} and wanted in told

    sources = {"data": _of_data, "write_back": _of_write_back, "alert": _of_alerts}
    chosen = [read(before) for name, read in sources.items() if source in {None, name}]
    found: list[Entry] = []
    for one in merge(*chosen, key=lambda one: one.order, reverse=True):
        if since is not None and one.at < since:
            break
        if (before is None or one.at < before) and fits(one):
            found.append(one)
            if len(found) == limit:
                break
    return found


def _of_data(before: datetime | None) -> Iterator[Entry]:
    from datong_platform.standard import decisions

    made = sorted(decisions.log(), key=lambda one: (one.decided_at, one.decision_id), reverse=True)
    taken_back = {one.withdraws: one for one in made if one.kind == "withdraw" and one.withdraws}
    for one in made:
        if before is None or one.decided_at < before:
            yield _steward(one, taken_back.get(one.decision_id))


def _steward(one: Steward, withdrawal: Steward | None) -> Entry:
    about = [f"{one.entity} {one.source_system or ''} {one.source_key or ''}".strip()]
    if one.other_key:
        about.append(f"{one.other_system} {one.other_key}")
    if one.field or one.rule:
        about.append(" ".join(part for part in (one.field, one.rule) if part))
    outcome = f"taken back by {withdrawal.who}: {withdrawal.why}" if withdrawal else ""
    return Entry(
        one.decided_at,
        one.who,
        "data",
        one.kind,
        " / ".join(about),
        one.value or "",
        one.why,
        outcome,
        one.decision_id,
        entity=one.entity,
        system=one.source_system or "",
        key=one.source_key or "",
    )


def _of_write_back(before: datetime | None) -> Iterator[Entry]:
    """Page after page of the log, so that a reader of the newest does not wait for the oldest."""
    from datong_ingestion.write_back import decisions

    last: int | None = None
    while True:
        found = decisions.history(limit=_PIECE, before=last)
        # numbers are given in the order of time, save for two of the same moment
        for one in sorted(found, key=lambda one: (one.decided_at, f"{one.id:012d}"), reverse=True):
            if before is None or one.decided_at < before:
                yield _decision(one)
        if len(found) < _PIECE:
            return
        last = found[-1].id


def _decision(one: Decision) -> Entry:
    value = json.dumps(one.payload, ensure_ascii=False) if one.payload else ""
    return Entry(
        one.decided_at,
        one.who,
        "write_back",
        one.kind,
        one.about,
        value,
        one.why,
        one.outcome or "",
        f"{one.id:012d}",
        flow=one.flow or "",
        key=one.key or "",
    )


def _of_alerts(before: datetime | None) -> Iterator[Entry]:
    from datong_platform.alerts import incidents

    while True:
        found = incidents.taken(before=before, limit=_PIECE)
        yield from map(_taken, found)
        if len(found) < _PIECE:
            return
        before = found[-1].at


def _taken(one: Taken) -> Entry:
    about = f"incident {one.incident_id}: {one.title}"
    return Entry(
        one.at, one.who, "alert", "take", about, "", one.why, "", f"{one.taken_id:012d}", incident=one.incident_id
    )


def people(limit: int = 2000) -> list[str]:
    """Who decided something among the newest so many decisions."""
    return sorted({one.who for one in islice(entries(limit=limit), limit)})
