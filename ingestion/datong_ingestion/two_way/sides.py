"""Both systems of a synchronisation at once: their targets, one record of each, and what their fields shall be."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from datong_platform.errors import DatongError, ProtocolError

from datong_ingestion.two_way.config import SyncConfig
from datong_ingestion.two_way.decide import UNKNOWN, Base, Settlement, Value, equal, settle
from datong_ingestion.two_way.values import Side
from datong_ingestion.write_back.target import Found, Target

Held = Mapping[str, Mapping[str, list[Found] | DatongError]]
"""What each system answered to a look-up."""


@contextmanager
def opened(sync: SyncConfig, targets: Mapping[str, Target] | None = None) -> Generator[Mapping[str, Target]]:
    """The targets of both systems; those given are not closed."""
    from datong_ingestion.write_back.systems import open_target

    with ExitStack() as stack:
        if targets is None:
            targets = {}
            for system in sync.systems:
                target = open_target(sync.flow(system))
                stack.callback(target.close)
                targets = {**targets, system: target}
        yield targets


def owners_of(sync: SyncConfig) -> dict[str, list[str]]:
    """For each field the two systems, from the one that knows it best."""
    return {name: [one for one in sync.owners(name) if one in sync.systems] for name in sync.fields}


def looked_up(targets: Mapping[str, Target], rows: Sequence[Mapping[str, Any]]) -> Held:
    """What both systems hold for rows of the serve table. Raises as `Target.lookup`."""
    return {system: target.lookup([str(row[f"{system}_key"]) for row in rows]) for system, target in targets.items()}


def record_of(side: Side, row: Mapping[str, Any], held: Held) -> Found | str:
    """The one record of a row's thing in one system, or why there is none to decide by. ProtocolError when the system
    lacks a field that the definition names."""
    system, key = side.system, str(row[f"{side.system}_key"])
    found = held[system].get(key, [])
    if isinstance(found, DatongError):
        return f"could not be looked up: {found}"
    if len(found) != 1:
        told = "no record" if not found else f"{len(found)} records"
        return f"{system} holds {told} with the key {key}"
    if missing := side.missing(found[0].fields):
        raise ProtocolError(side.thing, f"has no field {', '.join(missing)}.", "mend `fields` in the defs.yaml.")
    return found[0]


def base_of(sync: SyncConfig, row: Mapping[str, Any]) -> dict[str, Base]:
    """What both systems agreed on last, by field, from a row of `Memory.news`."""
    return {name: row[f"agreed_{name}"] if row[f"has_{name}"] else UNKNOWN for name in sync.fields}


def settled_all(
    base: Mapping[str, Base], held: Mapping[str, Mapping[str, Value]], owners: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Settlement], dict[str, dict[str, Value]]]:
    """What each field shall be, and the values that each system has to be given for it."""
    settled = {name: settle(base[name], {system: held[system][name] for system in held}, owners[name]) for name in base}
    wanted = {
        system: {name: one.value for name, one in settled.items() if not equal(held[system][name], one.value)}
        for system in held
    }
    return settled, wanted


def gives_up(one: Settlement, lost: Value) -> bool:
    """Whether a system's value is lost for somebody's: an empty one that was never compared before is none."""
    return one.is_decided and not (one.why == "first" and lost is None)
