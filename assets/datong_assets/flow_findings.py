"""What of the write-back waits for a person, as findings: rows to be approved, and flows that somebody paused.

What went wrong with a flow's rows fails its run, and is a finding by that (see `findings`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from datong_ingestion.write_back import decisions, ledger
from datong_ingestion.write_back.ledger import State
from datong_platform.alerts.findings import Finding
from datong_platform.errors import ServiceError
from datong_platform.lake import history

from datong_assets import called

_kept: dict[str, tuple[str, dict[str, dict[State, int]]]] = {}


def findings(owners: Mapping[str, str]) -> list[Finding]:
    """All that waits now. `owners` are those of flows, `write_back.<flow>`."""
    try:
        return [*_approvals(owners), *_pauses(owners)]
    except ServiceError:
        # a store or a database that is away is told as such
        return []


def _approvals(owners: Mapping[str, str]) -> Iterator[Finding]:
    for flow, states in _counts().items():
        if count := states.get("waiting_for_approval", 0):
            name, name_zh = called.thing(f"write_back.{flow}")
            yield Finding(
                f"approval:write_back.{flow}",
                "write_back",
                f"write_back.{flow}",
                "warning",
                f"{name}: {count:,} changes wait for approval",
                f"{name_zh}：{count:,} 项变更待批准",
                f"Next step: look at samples with `datong flows show {flow}`, then approve or reject them there or on "
                "the desk.",
                owner=owners.get(f"write_back.{flow}", ""),
            )


def _pauses(owners: Mapping[str, str]) -> Iterator[Finding]:
    for one in decisions.pauses():
        # a pause of all flows is one finding, of which nothing else is the cause
        subject = f"write_back.{one.flow}" if one.flow else "write_back"
        name, name_zh = called.thing(subject) if one.flow else ("Everything written back to systems", "全部回写")
        yield Finding(
            f"paused:{subject}",
            "write_back",
            subject,
            "warning",
            f"{name}: is paused",
            f"{name_zh}：已暂停",
            f"{one.told}. Next step: `datong flows resume {one.flow or '--all'} --why …` when the reason is gone.",
            owner=owners.get(subject, ""),
        )


def _counts() -> dict[str, dict[State, int]]:
    """Rows by flow and state, counted again only when the ledger changed: this is asked every minute."""
    table = history.open_table(ledger.LEDGER)
    if table is None:
        return {}
    place, state = table.table_uri, f"{table.metadata().id}@{table.version()}"
    if _kept.get(place, ("", {}))[0] != state:
        _kept[place] = state, ledger.state_counts()
    return _kept[place][1]
