"""What holds a flow back: ceilings, freezes, and flows that come first. Each says why, in words."""

from __future__ import annotations

from datetime import UTC, datetime

from datong_ingestion.write_back import ledger
from datong_ingestion.write_back.config import FlowConfig, Guards
from datong_ingestion.write_back.decisions import Decision
from datong_ingestion.write_back.ledger import SETTLED
from datong_ingestion.write_back.results import Preview


def beyond(flow: FlowConfig, counted: Preview) -> list[str]:
    """Where a plan goes beyond the flow's ceilings, in words; empty when it does not."""
    guards, known = flow.guards, counted.known
    told: list[str] = []
    for name, number, most, share in (
        ("changes", counted.changes, guards.max_changes, guards.max_share),
        ("deletes", counted.deletes, guards.max_deletes, guards.max_delete_share),
    ):
        if most is not None and number > most:
            told.append(f"{number} {name}, and the ceiling is {most}")
        if share is not None and known and number > share * known:
            told.append(
                f"{number} {name} are {number / known:.1%} of the {known} rows known, and the ceiling is {share:.1%}"
            )
    return told


def has_ceilings(guards: Guards) -> bool:
    """Whether a plan has to be counted before it is made."""
    return guards.max_changes is not None or guards.max_share is not None


def is_enough(approval: Decision, counted: Preview) -> bool:
    """Whether a person let this many through."""
    given = approval.payload or {}
    return counted.changes <= int(given.get("changes", 0)) and counted.deletes <= int(given.get("deletes", 0))


def hold(flow: FlowConfig) -> str:
    """Why a flow sends nothing now: a freeze, or rows of a flow that comes first; empty when it may."""
    for freeze in flow.guards.freeze:
        if until := freeze.until_when(datetime.now(UTC)):
            return f"frozen until {until:%Y-%m-%d %H:%M} ({freeze.timezone}): {freeze.why}"
    for gate in flow.after:
        if not gate.by:
            counted = ledger.state_counts(gate.flow).get(gate.flow, {})
            if left := {state: number for state, number in counted.items() if state not in SETTLED}:
                told = ", ".join(f"{number} {state}" for state, number in left.items())
                return f"flow {gate.flow} comes first and is not done: {told}"
    return ""
