"""Which golden id a group of records has: the one that it had before, whatever came, changed or went.

A record's own id is made from its system and key, so an id tells the record that it began with. When a group holds
several ids, the oldest stays and the others are merged into it. When the records of one id are in several groups, the
group of the record that the id began with keeps it, else the largest; the others get an id of one of their own records:
so what a person takes apart gets back the id that it had before it was put together.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Event = Literal["created", "joined", "left", "removed", "returned", "merged", "retired"]


class Held(NamedTuple):
    """The id of a record after a run: the run in which the id was first used, and the record's own first run."""

    golden_id: str
    golden_run: int
    first_run: int
    is_gone: bool = False


@dataclass(frozen=True)
class Happened:
    """One thing that a run did to an id. `other_id`: what it was merged into, or where a record came from."""

    event: Event
    golden_id: str
    unique_id: str = ""
    other_id: str = ""


def own_id(prefix: str, entity: str, unique_id: str, number: int = 0) -> str:
    """The id that a record begins, as in C-9F2A61C04B7D."""
    salt = f"#{number}" if number else ""
    return f"{prefix}-{hashlib.sha256(f'{entity} {unique_id}{salt}'.encode()).hexdigest()[:12].upper()}"


def assigned(
    entity: str,
    prefix: str,
    groups: Sequence[Sequence[str]],
    before: Mapping[str, Held],
    run: int,
    *,
    reserved: Iterable[str] = (),
) -> dict[str, Held]:
    """The id of every record of the groups; `before`: what the last run left of these records and of those now gone.

    `reserved`: ids of groups that are not given, because nothing about them changed.
    """
    present = {record: index for index, group in enumerate(groups) for record in group}
    claims = _claims(groups, before, present, entity, prefix)
    used = {claim for claims_ in claims.values() for claim in claims_[:1]}
    given: dict[str, Held] = {}
    without: list[int] = []
    for index, group in enumerate(groups):
        if not claims.get(index):
            without.append(index)
            continue
        claim = claims[index][0]
        for record in group:
            given[record] = Held(claim[1], claim[0], before[record].first_run if record in before else run)
    taken = {*(golden_id for _, golden_id in used), *reserved}
    for index in without:
        group = groups[index]
        golden_id = _fresh(entity, prefix, group, before, taken)
        taken.add(golden_id)
        for record in group:
            given[record] = Held(golden_id, run, before[record].first_run if record in before else run)
    for record, held in before.items():
        if record not in present:
            given[record] = Held(held.golden_id, held.golden_run, held.first_run, is_gone=True)
    return given


def _claims(
    groups: Sequence[Sequence[str]], before: Mapping[str, Held], present: Mapping[str, int], entity: str, prefix: str
) -> dict[int, list[tuple[int, str]]]:
    """For each group the ids that are its own, the oldest first."""
    held_by: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    begun: dict[str, int] = {}
    since: dict[str, int] = {}
    returned: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for index, group in enumerate(groups):
        for record in group:
            held = before.get(record)
            if held is None:
                continue
            since[held.golden_id] = held.golden_run
            # an id lives on with the records that stayed; one that comes back asks for it only if nobody has it
            (returned if held.is_gone else held_by)[held.golden_id][index] += 1
    for record, index in present.items():
        held = before.get(record)
        if held and not held.is_gone and len(held_by[held.golden_id]) > 1 and _begins(entity, prefix, record, held):
            begun[held.golden_id] = index
    claims: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for golden_id, where in [*held_by.items(), *((id_, at) for id_, at in returned.items() if id_ not in held_by)]:
        index = begun.get(golden_id, max(where, key=lambda index: (where[index], -index)))
        claims[index].append((since[golden_id], golden_id))
    return {index: sorted(found) for index, found in claims.items()}


def _begins(entity: str, prefix: str, record: str, held: Held) -> bool:
    """Whether the id that a record has began with it."""
    return own_id(prefix, entity, record) == held.golden_id


def _fresh(entity: str, prefix: str, group: Sequence[str], before: Mapping[str, Held], taken: set[str]) -> str:
    """An id for a group that has none: that of its oldest record whose id nobody uses."""
    order = sorted(group, key=lambda record: (before[record].first_run if record in before else 1 << 62, record))
    number = 0
    while True:
        for record in order:
            golden_id = own_id(prefix, entity, record, number)
            if golden_id not in taken:
                return golden_id
        number += 1


def happened(before: Mapping[str, Held], after: Mapping[str, Held]) -> list[Happened]:
    """What a run did, as history: ids created, records that joined and left, ids merged into others or retired."""
    told: list[Happened] = []
    was = {held.golden_id for held in before.values() if not held.is_gone}
    now = {held.golden_id for held in after.values() if not held.is_gone}
    moved: dict[str, set[str]] = defaultdict(set)
    for record in sorted(after):
        held, old = after[record], before.get(record)
        if old is None:
            told.append(Happened("joined", held.golden_id, record))
        elif held.is_gone != old.is_gone:
            told.append(Happened("removed" if held.is_gone else "returned", held.golden_id, record))
        elif held.golden_id != old.golden_id and not held.is_gone:
            told.append(Happened("left", old.golden_id, record, held.golden_id))
            told.append(Happened("joined", held.golden_id, record, old.golden_id))
            moved[old.golden_id].add(held.golden_id)
    created = [Happened("created", golden_id) for golden_id in sorted(now - was)]
    ended: list[Happened] = []
    for golden_id in sorted(was - now):
        into = sorted(moved.get(golden_id, ()))
        ended.append(
            Happened("merged", golden_id, other_id=into[0]) if len(into) == 1 else Happened("retired", golden_id)
        )
    return [*created, *told, *ended]


def records_of(held: Mapping[str, Held]) -> dict[str, list[str]]:
    """The present records of each id."""
    found: dict[str, list[str]] = defaultdict(list)
    for record, now in held.items():
        if not now.is_gone:
            found[now.golden_id].append(record)
    return {golden_id: sorted(records) for golden_id, records in found.items()}
