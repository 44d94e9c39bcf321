"""What a run would do, without doing it: counts by kind, what would hold it back, and changes before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from datong_platform.errors import DatongError

from datong_ingestion.write_back import decisions
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.guards import beyond, hold
from datong_ingestion.write_back.items import several
from datong_ingestion.write_back.kinds import Kinds
from datong_ingestion.write_back.ledger import SETTLED, State
from datong_ingestion.write_back.payload import PayloadBuilder
from datong_ingestion.write_back.plan import Source
from datong_ingestion.write_back.results import Preview, Sample
from datong_ingestion.write_back.target import Target


def preview(flow: FlowConfig, source: Source, builder: PayloadBuilder, target: Target, samples: int) -> Preview:
    """What a run would do; samples with what the target holds."""
    found = counted(flow, source, Kinds(flow, builder), samples)
    pause = decisions.paused(flow.flow)
    holds = [f"{pause.about} is paused: {pause.told}"] if pause else []
    holds += [why] if (why := hold(flow)) else []
    holds += beyond(flow, found)
    guards = flow.guards
    if guards.approve_above is not None and found.changes > guards.approve_above:
        holds.append(f"{found.changes} changes wait for approval: it is asked for above {guards.approve_above}")
    elif guards.approve_deletes and found.deletes:
        holds.append(f"{found.deletes} deletes wait for approval")
    return replace(found, holds=holds, samples=_before(flow, builder, target, found.samples))


def counted(flow: FlowConfig, source: Source, kinds: Kinds, samples: int = 0) -> Preview:
    """How many rows a run would do, by what they are; the first changes of them as samples, without what is there
    before."""
    count: Counter[str] = Counter()
    resting: Counter[State] = Counter()
    shown: list[Sample] = []
    for candidate in source.candidates():
        item, kind = kinds.of(candidate)
        count[kind] += 1
        if candidate.last is not None and candidate.last.state not in SETTLED:
            resting[candidate.last.state] += 1
        if kind in {"new", "changed", "delete", "wrong"} and len(shown) < samples:
            after = item.wanted.payload if item.wanted and not item.wanted.is_delete else None
            change = "delete" if kind == "delete" else "create" if kind == "new" else "update"
            shown.append(Sample(item.key, change, None, after, item.error))
    return Preview(
        flow=flow.flow,
        build=source.build,
        new=count["new"],
        changed=count["changed"],
        deletes=count["delete"],
        rechecks=count["recheck"],
        wrong=count["wrong"],
        known=source.known(),
        resting=dict(resting),
        holds=[],
        samples=shown,
    )


def _before(flow: FlowConfig, builder: PayloadBuilder, target: Target, samples: Sequence[Sample]) -> list[Sample]:
    held = target.lookup([one.key for one in samples]) if samples else {}
    told: list[Sample] = []
    for one in samples:
        found = held.get(one.key, [])
        if isinstance(found, DatongError):
            told.append(replace(one, words=f"could not be looked up: {found}"))
            continue
        if len(found) > 1:
            told.append(replace(one, words=several(found)))
            continue
        before = builder.image(found[0].fields) if found else None
        change = one.change if one.change == "delete" else "create" if before is None else "update"
        if change == "update" and "call" in flow.operations:
            change = "call"
        same = found and one.after is not None and not builder.differences(one.after, found[0].fields)
        told.append(replace(one, before=before, change=change, words="the target holds it already" if same else ""))
    return told
