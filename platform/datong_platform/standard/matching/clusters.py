"""From pairs to groups of records, each group one thing.

The surest pairs are joined first. A join is refused when it would bring together what people took apart, or two values
of an exclusive key: two credit codes are two companies, however alike their names. So one weak pair in the middle can
not chain two companies into one. The outcome depends on the pairs and the decisions only, never on the order in which
records arrived.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pair:
    """Two records that may be one, and how sure that is."""

    left: str
    right: str
    probability: float
    sure_by: str | None = None


@dataclass(frozen=True)
class Decisions:
    """What people decided about pairs, each the last word on it."""

    together: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    """Pairs (left before right) that are one, and the decision that says so."""
    apart: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])


@dataclass
class Groups:
    """Who is together. A record that no pair names is alone and not in here."""

    members: list[list[str]]
    joined_by: dict[str, str]
    """For a record that was joined to others: the decision, the sure key or `score`."""
    refused: set[tuple[str, str]]
    """Pairs sure enough to be joined, and not joined because of an exclusive key."""


def grouped(
    pairs: Iterable[Pair], exclusive: Mapping[str, frozenset[str]], decisions: Decisions, accept: float
) -> Groups:
    """The groups. `exclusive`: the values of exclusive keys that a record has, as `key value`."""
    forest = _Forest(exclusive, decisions.apart)
    for (left, right), _ in sorted(decisions.together.items()):
        # a person may say that two credit codes are one company
        forest.join(left, right, "decision", by_force=True)
    refused: set[tuple[str, str]] = set()
    sure = [pair for pair in pairs if pair.sure_by or pair.probability >= accept]
    for pair in sorted(sure, key=lambda pair: (pair.sure_by is None, -pair.probability, pair.left, pair.right)):
        named = (pair.left, pair.right)
        if named in decisions.apart:
            continue
        if not forest.join(pair.left, pair.right, pair.sure_by or "score"):
            refused.add(named)
    return Groups(forest.groups(), forest.joined_by, refused)


class _Forest:
    """Groups that grow, knowing what may not come together."""

    def __init__(self, exclusive: Mapping[str, frozenset[str]], apart: Iterable[tuple[str, str]]) -> None:
        self._root: dict[str, str] = {}
        self._members: dict[str, list[str]] = {}
        self._values: dict[str, dict[str, set[str]]] = {}
        self._exclusive = exclusive
        self._apart: dict[str, set[str]] = defaultdict(set)
        for left, right in apart:
            self._apart[left].add(right)
            self._apart[right].add(left)
        self.joined_by: dict[str, str] = {}

    def find(self, record: str) -> str:
        if record not in self._root:
            self._root[record] = record
            self._members[record] = [record]
            self._values[record] = {}
            for value in self._exclusive.get(record, ()):
                self._values[record].setdefault(value.split(" ", 1)[0], set()).add(value)
        root = record
        while self._root[root] != root:
            root = self._root[root]
        while self._root[record] != root:
            self._root[record], record = root, self._root[record]
        return root

    def join(self, left: str, right: str, by: str, *, by_force: bool = False) -> bool:
        """Join the groups of two records; False when that may not be."""
        one, other = self.find(left), self.find(right)
        if one != other:
            if self._is_apart(one, other) or (not by_force and self._collide(one, other)):
                return False
            if len(self._members[one]) < len(self._members[other]):
                one, other = other, one
            self._root[other] = one
            self._members[one] += self._members.pop(other)
            for key, values in self._values.pop(other).items():
                self._values[one].setdefault(key, set()).update(values)
        for record in (left, right):
            self.joined_by.setdefault(record, by)
        return True

    def _is_apart(self, one: str, other: str) -> bool:
        if len(self._members[one]) > len(self._members[other]):
            one, other = other, one
        return any(self.find(there) == other for record in self._members[one] for there in self._apart.get(record, ()))

    def _collide(self, one: str, other: str) -> bool:
        mine, theirs = self._values[one], self._values[other]
        # a group that people made holds two values already: who has one of them may still come in
        return any(key in theirs and not (mine[key] & theirs[key]) for key in mine)

    def groups(self) -> list[list[str]]:
        return sorted(sorted(members) for members in self._members.values())
