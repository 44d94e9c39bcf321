"""Which strikes a day gets: by a seed, or so that each point gets one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence

from kill_points import HOWS, POINTS, STEPS, How, Strike

FIRST_RUN_ONLY = frozenset(
    f"{step}: {when} {name}"
    for step, name in (
        ("load", "the table is made"),
        ("publish", "the new table is made"),
        ("publish", "the new table takes its place"),
    )
    for when in ("before", "after")
)
"""Points that only the first run of a lake passes."""
_WEIGHTS: dict[How, int] = {
    "kill": 10,
    "term": 3,
    "memory": 2,
    "dbt killed": 2,
    "engine killed": 3,
    "engine memory": 2,
    "store killed": 3,
    "postgres killed": 3,
    "disk": 3,
}


def by_seed(dice: random.Random, passed: Counter[str], *, disk: bool) -> list[Strike]:
    """One to four strikes, each at a random call of a random point that a run passes so often."""
    known = sorted(name for name in POINTS if passed[name])
    hows = [how for how in HOWS if disk or how != "disk"]
    found: list[Strike] = []
    for name in dice.sample(known, dice.randint(1, 4)):
        chosen = dice.choices(hows, [_WEIGHTS[how] for how in hows])[0]
        how: How = "kill" if chosen == "dbt killed" and not name.startswith("build") else chosen
        found.append(Strike(name, dice.randint(1, passed[name]), how))
    return in_order(found)


def each_point(dice: random.Random, passed: Counter[str], portion: int = 6) -> Iterator[list[Strike]]:
    """Days that between them kill a run at every point that it passes."""
    names = sorted(name for name in POINTS if passed[name])
    dice.shuffle(names)
    for at in range(0, len(names), portion):
        yield in_order([Strike(name, dice.randint(1, passed[name])) for name in names[at : at + portion]])


def in_order(strikes: Sequence[Strike]) -> list[Strike]:
    """Strikes in the order in which a run passes their points, so that each finds something still to be done."""
    return sorted(strikes, key=lambda one: STEPS.index(one.point.partition(":")[0]))
