"""Golden records on the command line: the queue of pairs that a steward decides, and what stands for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datong_infra.cli.output import Format, print_json, print_line, print_rows

if TYPE_CHECKING:
    from datong_platform.standard.decisions import Decision

_NEXT = "It takes effect at the next build: datong build."


def listing(entity: str | None, limit: int, format_: Format) -> None:
    """The pairs that wait."""
    from datong_platform.standard.matching import queue

    waiting = queue.waiting(entity, limit=limit)
    if format_ is Format.json:
        print_json([queue.as_json(asked) for asked in waiting])
        return
    print_rows(
        [
            {
                "question": asked.question_id,
                "entity": asked.entity,
                "state": asked.state,
                "probability": round(asked.probability, 3),
                "one": f"{asked.left.title} ({asked.left.source_system}/{asked.left.source_key})",
                "other": f"{asked.right.title} ({asked.right.source_system}/{asked.right.source_key})",
            }
            for asked in waiting
        ],
        format_,
    )
    told = queue.counts()
    every = sum(sum(states.values()) for name, states in told.items() if entity in {None, name})
    print_line(f"{len(waiting)} of {every} shown. Look at one: datong match show QUESTION.")


def show(question: str, format_: Format) -> None:
    """One pair side by side, and its evidence."""
    from datong_platform.standard.matching import queue

    asked = queue.question(question)
    if format_ is Format.json:
        print_json(queue.as_json(asked))
        return
    names = [name for name in {**asked.left.fields, **asked.right.fields} if not name.startswith("_")]
    rows: list[dict[str, Any]] = [
        {
            "": "" if asked.left.fields.get(name) == asked.right.fields.get(name) else "≠",
            "field": name,
            "one": asked.left.fields.get(name),
            "other": asked.right.fields.get(name),
        }
        for name in names
    ]
    rows.append({"": "", "field": "golden record", "one": asked.left.golden_id, "other": asked.right.golden_id})
    print_rows(rows, format_, ("field", "", "one", "other"), title=f"{asked.entity}, {asked.state}")
    print_rows(
        [
            {"evidence": told["title"], "found": told["level"], "weight (bits)": told["weight"]}
            for told in asked.evidence
        ],
        format_,
    )
    sure = (
        f" They share {asked.sure_by}, which is sure, and differ in a key that is exclusive." if asked.sure_by else ""
    )
    print_line(f"Together {asked.weight:.1f} bits: they are one with probability {asked.probability:.3f}.{sure}")
    print_line(f"Decide: datong match accept {question} --why …, or datong match reject {question} --why …")


def accept(question: str, who: str | None, why: str, format_: Format) -> None:
    """The two are one."""
    from datong_platform.standard.matching import queue

    _told(queue.accept(question, _signed(who), why), format_)


def reject(question: str, who: str | None, why: str, format_: Format) -> None:
    """The two are two."""
    from datong_platform.standard.matching import queue

    _told(queue.reject(question, _signed(who), why), format_)


def merge(entity: str, one: str, other: str, *, who: str | None, why: str, format_: Format) -> None:
    """Two golden records become one."""
    from datong_platform.standard.matching import queue

    _told(queue.merge(entity, one, other, who=_signed(who), why=why), format_)


def split(entity: str, golden_id: str, records: Sequence[str], *, who: str | None, why: str, format_: Format) -> None:
    """Records leave a golden record."""
    from datong_platform.standard.matching import queue

    _told(queue.split(entity, golden_id, records, who=_signed(who), why=why), format_)


def undo(what: str, who: str | None, why: str, format_: Format) -> None:
    """A decision, or a merge, is taken back."""
    from datong_platform.standard.matching import queue

    _told(queue.undo(what, _signed(who), why), format_)


def find(entity: str, wanted: str, format_: Format) -> None:
    """What stands for what."""
    from datong_platform.standard.matching import queue

    found = queue.golden(entity, wanted) if _is_id(entity, wanted) else queue.find(entity, wanted)
    rows = [
        {
            "golden_id": record.golden_id,
            "source_system": record.source_system,
            "source_key": record.source_key,
            "name": record.title,
        }
        for record in found
    ]
    print_rows(rows, format_)


def history(entity: str | None, golden_id: str | None, format_: Format) -> None:
    """What happened to golden records."""
    from datong_platform.standard.matching import queue

    rows = queue.events(entity, golden_id)
    columns = ("run", "happened_at", "entity", "golden_id", "event", "source_system", "source_key", "other_id")
    print_rows(rows, format_, columns)


def _is_id(entity: str, wanted: str) -> bool:
    from datong_platform.standard.matching import model

    return wanted.startswith(f"{model.load(entity).id_prefix}-")


def _told(made: Decision, format_: Format) -> None:
    if format_ is Format.json:
        print_json({"decision_id": made.decision_id, "kind": made.kind, "entity": made.entity, "who": made.who})
        return
    print_line(f"Decision {made.decision_id}: {made.words} of {made.subject}, by {made.who}.")
    print_line(_NEXT)


def _signed(who: str | None) -> str:
    from datong_infra.cli import quarantine

    return quarantine.signed(who)
