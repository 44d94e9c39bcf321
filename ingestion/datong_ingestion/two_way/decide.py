"""What a field shall be, from what both systems hold, what they agreed on last, and who owns it.

Three ways: against the last agreed value it is seen which system changed the field. One did: its value is carried over.
Both did: the owner's value counts, and the other's is told as lost. A value that is back where our own write put it is
no news (`landed`), so nothing echoes. Pure: no clock, no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal

Value = str | int | bool | Decimal | date | datetime | None


class _Unknown:
    def __repr__(self) -> str:
        return "nothing was agreed yet"


UNKNOWN = _Unknown()
"""Stands for a field that the two never agreed on."""

Base = Value | _Unknown
Why = Literal["agreed", "carried", "owner", "first"]


@dataclass(frozen=True)
class Settlement:
    """What a field shall be in both systems.

    `why`: `agreed` (they hold it both), `carried` (`winner` changed it, the other did not), `owner` (both changed it,
    `winner` owns it), `first` (they were never compared before and differ; `winner` owns it, or alone has a value).
    """

    value: Value
    why: Why
    winner: str = ""

    @property
    def is_decided(self) -> bool:
        """Whether somebody's value is given up for it."""
        return self.why in {"owner", "first"}


def equal(one: Base, other: Base) -> bool:
    """Whether two values mean the same; times to the second, because many systems keep no more."""
    if isinstance(one, datetime) and isinstance(other, datetime):
        return _second(one) == _second(other)
    if one is UNKNOWN or other is UNKNOWN:
        return one is other
    return one == other


def landed(base: Base, held: Value, sent: Base) -> Base:
    """The last agreed value, when a change whose outcome is open turns out to be there: it was agreed when sent."""
    return sent if sent is not UNKNOWN and equal(held, sent) else base


def settle(base: Base, held: Mapping[str, Value], owners: Sequence[str]) -> Settlement:
    """What a field shall be. `held` has one entry for each of the two systems, `owners` their order of knowing it."""
    (one, value), (other, its_value) = held.items()
    if equal(value, its_value):
        return Settlement(value, "agreed")
    first, second = sorted((one, other), key=owners.index)
    if base is UNKNOWN:
        winner = second if held[first] is None else first
        return Settlement(held[winner], "first", winner)
    changed = [system for system in (first, second) if not equal(held[system], base)]
    if len(changed) == 1:
        return Settlement(held[changed[0]], "carried", changed[0])
    return Settlement(held[first], "owner", first)


def text(value: Base) -> str | None:
    """A value for people and for the tables of what was decided: ISO 8601, plain decimals."""
    if value is None or value is UNKNOWN:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)


def _second(moment: datetime) -> datetime:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.replace(microsecond=0)
