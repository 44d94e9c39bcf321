"""What a synchronisation would do, without doing it: both systems are read, each difference is decided, and told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from datong_platform.errors import ProtocolError

from datong_ingestion.two_way.agreed import Memory
from datong_ingestion.two_way.config import SyncConfig, load_syncs
from datong_ingestion.two_way.decide import text
from datong_ingestion.two_way.results import SyncPreview, SyncSample
from datong_ingestion.two_way.sides import base_of, gives_up, looked_up, opened, owners_of, record_of, settled_all
from datong_ingestion.two_way.values import Side
from datong_ingestion.write_back import decisions, ledger
from datong_ingestion.write_back.ledger import Ledger, now
from datong_ingestion.write_back.results import Preview, Sample
from datong_ingestion.write_back.target import Found, Target

_MAX_SAMPLES = 10


def dry_run(
    sync: SyncConfig, *, targets: Mapping[str, Target] | None = None, samples: int = _MAX_SAMPLES
) -> SyncPreview:
    """What a run would do now, with a few values before and after; the systems are only read.

    Raises as `run_sync` does before anything was sent, and TransientError or AuthenticationError when a system does not
    answer or let us in.
    """
    memory, owners = Memory(sync), owners_of(sync)
    left = {system: Ledger(sync.flow_name(system)).unsettled() for system in sync.systems}
    unsettled = list(dict.fromkeys(key for known in left.values() for key in known))
    count: Counter[str] = Counter()
    changes: Counter[str] = Counter(dict.fromkeys(sync.systems, 0))
    shown: list[SyncSample] = []
    with opened(sync, targets) as both:
        sides = {name: Side(sync, name, memory.kinds, target.dialect) for name, target in both.items()}
        for rows in memory.news([], unsettled, met_only=True):
            held = looked_up(both, rows)
            for row in rows:
                count["looked"] += 1
                records = {system: record_of(side, row, held) for system, side in sides.items()}
                try:
                    read = {
                        system: sides[system].read(record.fields)
                        for system, record in records.items()
                        if isinstance(record, Found)
                    }
                except ProtocolError as error:
                    records, read = {"": str(error)}, {}
                if len(read) < len(sides):
                    count["unreadable"] += 1
                    words = next(one for one in records.values() if isinstance(one, str))
                    shown.append(_sample(sync, row, words=words))
                    continue
                settled, wanted = settled_all(base_of(sync, row), read, owners)
                count["agreed"] += not any(wanted.values())
                for system, fields in wanted.items():
                    changes[system] += bool(fields)
                    for name, value in fields.items():
                        one, before = settled[name], read[system][name]
                        count["given_up"] += gives_up(one, before)
                        if len(shown) < samples:
                            told = {"before": text(before), "after": text(value), "winner": one.winner, "why": one.why}
                            shown.append(_sample(sync, row, system=system, field=name, **told))
    resting: Counter[str] = Counter(entry.state for known in left.values() for entry in known.values())
    return SyncPreview(
        sync=sync.sync,
        looked=count["looked"],
        agreed=count["agreed"],
        changes=dict(changes),
        given_up=count["given_up"],
        unreadable=count["unreadable"],
        resting=dict(resting),
        holds=_holds(sync, count),
        samples=shown[:samples],
    )


def dry_run_of_way(name: str, *, samples: int = _MAX_SAMPLES) -> Preview | None:
    """The same for what goes to one system, by its name in the ledger, as the dry run of a flow; None for a name that
    no synchronisation has."""
    found = next(
        ((one, system) for one in load_syncs().values() for system in one.systems if one.flow_name(system) == name),
        None,
    )
    if found is None:
        return None
    sync, system = found
    told = dry_run(sync, samples=samples * len(sync.systems) * len(sync.fields))
    by_key: dict[str, list[SyncSample]] = {}
    for one in told.samples:
        if one.system in {system, ""}:
            by_key.setdefault(one.key, []).append(one)
    counts = ledger.state_counts(name).get(name, {})
    return Preview(
        flow=name,
        build=None,
        new=0,
        changed=told.changes[system],
        deletes=0,
        rechecks=0,
        wrong=told.unreadable,
        known=counts.get("verified", 0),
        resting={state: count for state, count in counts.items() if state not in ledger.SETTLED},
        holds=told.holds,
        samples=[
            Sample(
                key,
                "update",
                {one.field: one.before for one in ones if one.field},
                {one.field: one.after for one in ones if one.field},
                next((one.words for one in ones if one.words), ""),
            )
            for key, ones in list(by_key.items())[:samples]
        ],
    )


def _sample(sync: SyncConfig, row: Mapping[str, Any], **told: Any) -> SyncSample:
    nothing: dict[str, Any] = {"system": "", "field": "", "before": None, "after": None, "winner": "", "why": ""}
    return SyncSample(str(row[sync.key]), **(nothing | told))


def _holds(sync: SyncConfig, count: Mapping[str, int]) -> list[str]:
    """What would keep a run from sending, in words."""
    held: dict[str, None] = {}
    for system in sync.systems:
        if pause := decisions.paused(sync.flow_name(system)):
            held[f"{pause.about} is paused: {pause.told}"] = None
    for freeze in sync.guards.freeze:
        if ends := freeze.until_when(now()):
            held[f"nothing is sent until {ends.isoformat()}: {freeze.why}"] = None
    if words := too_many(sync, count["looked"]):
        held[words] = None
    above = sync.guards.approve_above
    if above is not None and count["looked"] > above:
        held[f"{count['looked']} things would wait for approval: it is asked for above {above}"] = None
    elif sync.guards.approve_given_up and count["given_up"]:
        held[f"{count['given_up']} values that would be given up wait for approval"] = None
    return list(held)


def too_many(sync: SyncConfig, count: int) -> str:
    """That a run would look at more things than the ceiling allows, in words; empty when it would not."""
    most = sync.guards.max_changes
    return (
        f"would look at {count} things to change them, more than max_changes {most} allows"
        if most is not None and count > most
        else ""
    )
