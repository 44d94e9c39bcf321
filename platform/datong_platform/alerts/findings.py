"""Findings: what is wrong at this moment, and which of them have one cause.

One broken source makes dozens of tables late and their checks fail. Along the lineage all of that is one incident,
named by the finding that none of its ancestors explains.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from datong_platform.alerts.channels import Severity, severity_rank

FindingKind = Literal["ingest", "build", "check", "publish", "write_back", "service", "late"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong now. `key` stays the same as long as it is wrong."""

    key: str
    kind: FindingKind
    subject: str
    """The table, flow or service: `bronze.erp__sales_order`."""
    severity: Severity
    title: str
    title_zh: str
    detail: str = ""
    """The reason and the next step, in the words of the error."""
    system: str = ""
    owner: str = ""
    cause: str = ""
    """The reason alone: tables of one system that cannot be read for the same reason have one cause."""
    system_title: str = ""
    system_title_zh: str = ""
    """What people call the system, where its tables have one cause; its name where nobody says."""


@dataclass(frozen=True)
class Group:
    """Findings with one cause. `root` is the one that explains the others."""

    key: str
    root: Finding
    findings: tuple[Finding, ...] = field(default=())

    @property
    def severity(self) -> Severity:
        """The worst of them."""
        return max((one.severity for one in self.findings), key=severity_rank)


def grouped(findings: Iterable[Finding], upstream: Mapping[str, Sequence[str]]) -> list[Group]:
    """Findings by their cause; `upstream` are the tables that each table is made from.

    A finding belongs to the topmost finding among what its table is made from. Of a system's tables that cannot be
    read for one reason the first stands for all.
    """
    known = {one.key: one for one in sorted(findings, key=lambda one: one.key)}
    by_subject: dict[str, list[Finding]] = defaultdict(list)
    for one in known.values():
        by_subject[one.subject].append(one)
    groups: dict[str, list[Finding]] = defaultdict(list)
    roots: dict[str, Finding] = {}
    for one in known.values():
        root = _root(one, by_subject, upstream)
        key = f"system:{root.system}:{root.cause}" if root.kind == "ingest" and root.system and root.cause else root.key
        roots.setdefault(key, root)
        groups[key].append(one)
    return [Group(key, _named(roots[key], members), tuple(members)) for key, members in groups.items()]


def _named(root: Finding, members: Sequence[Finding]) -> Finding:
    """The root, named after its system where it stands for several of its tables."""
    tables = {one.subject for one in members if one.kind == "ingest" and one.system == root.system}
    if root.kind != "ingest" or len(tables) < 2:
        return root
    return replace(
        root,
        subject=root.system,
        title=f"{root.system_title or root.system}: {len(tables)} tables cannot be read",
        title_zh=f"{root.system_title_zh or root.system}：{len(tables)} 张表无法读取",
    )


def _root(one: Finding, by_subject: Mapping[str, Sequence[Finding]], upstream: Mapping[str, Sequence[str]]) -> Finding:
    """The topmost finding above; the table's own failing ingest or build explains its checks and its lateness."""
    seen = {one.subject}
    level = [one.subject]
    best = _first(by_subject[one.subject])
    while level:
        above = sorted({parent for subject in level for parent in upstream.get(subject, ())} - seen)
        seen.update(above)
        found = [finding for subject in above for finding in by_subject.get(subject, ())]
        if found:
            best = _first(found)
        level = above
    return best


_ORDER: tuple[FindingKind, ...] = ("service", "ingest", "build", "publish", "write_back", "check", "late")


def _first(findings: Sequence[Finding]) -> Finding:
    return min(findings, key=lambda one: (_ORDER.index(one.kind), one.key))
