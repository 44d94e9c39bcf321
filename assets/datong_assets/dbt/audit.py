"""The audit of a build: which of the tables that people read may move on to what was built.

A table of gold or serve is let through when it was built (or is up to date), every check on it passed, and so did
every check on all that it was built from, back to the sources. A check that reads several tables speaks of each of
them. A check that only warns holds nothing back. What is not let through stays as people have it, and the reason is
told. `heard` takes what dbt says while it builds, `result` is the verdict, for `lake.builds` to write down.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal

from datong_platform.lake import builds
from datong_platform.lake.builds import Build, BuiltTable, Outcome, Published, Version
from datong_platform.names import CANDIDATES, TableName

from datong_assets.dbt.client import NodeFinished
from datong_assets.dbt.facts import Facts
from datong_assets.dbt.graph import Node
from datong_assets.dbt.up_to_date import UpToDate
from datong_assets.lake_facts import TableFacts

_PASSED = {"pass", "warn"}
_COUNTING = {"conservation", "conserved", "golden_conserved"}
"""Tests that write down what they count, see `datong_platform.standard.conservation`."""


class Audit:
    """What one build did, and what of it people may read. One for each build, under the build's lock.

    Of a selection the verdict is on what was chosen and what that is built from; the rest stays as the last build left
    it.
    """

    def __init__(self, facts: Facts, inputs: UpToDate, build_id: str, *, scope: Literal["full", "selection"]) -> None:
        self._facts, self._graph, self._inputs = facts, facts.graph, inputs
        self._build_id, self._scope = build_id, scope
        self._stale = set(inputs.stale())
        self._started_at = datetime.now(UTC)
        self._ended: dict[str, NodeFinished] = {}
        self._made: dict[str, TableFacts] = {}
        self._tests: dict[str, NodeFinished] = {}
        self._broke_off = False
        self._known: dict[str, str] = {}

    def heard(self, event: NodeFinished, known: TableFacts | None) -> None:
        """Take note of a node that dbt is done with, and of the table that it made."""
        if event.unique_id in self._graph.built:
            self._ended[event.unique_id] = event
            self._stale.update(self._readers_of.get(event.unique_id, []))
            if known is not None:
                self._made[event.unique_id] = known
        elif event.unique_id in self._graph.tests:
            self._tests[event.unique_id] = event

    def broke_off(self) -> None:
        """Take note that the build ended before its end: what was not told did not pass."""
        self._broke_off = True

    def result(self) -> Build:
        """The verdict on every table that people read. ServiceError when the lake does not answer."""
        last = self.before
        before = last.published if last else {}
        held = {table.table: table for table in last.tables} if last else {}
        tables = [
            self._verdict(unique_id, table, before) if self._inputs.knows(unique_id) else _left(table, held.get(table))
            for unique_id, table in self._read_by_people.items()
        ]
        here = {table.table for table in tables}
        tables += [self._others(table, shown) for table, shown in before.items() if table not in here]
        told = [*self._ended.values(), *self._tests.values()]
        return Build(
            build_id=self._build_id,
            started_at=self._started_at,
            finished_at=datetime.now(UTC),
            is_ok=not self._broke_off and all(event.status in {"success", *_PASSED} for event in told),
            scope=self._scope,
            engine=self._facts.engine,
            code=self._inputs.project[:24],
            tables=tables,
        )

    @cached_property
    def before(self) -> Build | None:
        """The build before this one, read when it is first asked for."""
        return builds.latest()

    @property
    def counted(self) -> bool:
        """Whether there may be new counts of what became of rows: a full build, or a test that counts was run."""
        names = ((self._graph.tests[test].get("test_metadata") or {}).get("name") for test in self._tests)
        return self._scope == "full" or any(name in _COUNTING for name in names)

    @property
    def judged(self) -> bool:
        """Whether other records may be in quarantine than before: a full build, or a table of it was built."""
        return self._scope == "full" or any(
            self._graph.built[unique_id]["schema"] == "quarantine" for unique_id in self._ended
        )

    @cached_property
    def _read_by_people(self) -> dict[str, TableName]:
        found: dict[str, TableName] = {}
        for unique_id in self._graph.in_order:
            node = self._graph.built[unique_id]
            table = self._facts.table(node)
            if table is not None and table.schema in CANDIDATES and node["config"].get("materialized") != "view":
                found[unique_id] = table
        return found

    def _verdict(self, unique_id: str, table: TableName, before: dict[TableName, Published]) -> BuiltTable:
        shown, made, trouble = before.get(table), self._made.get(unique_id), self._trouble(unique_id)
        identity = made.identity if made else self._inputs.identity(unique_id)
        version = Version.parse(identity) if identity else None
        rows = made.rows if made else self._inputs.rows.get(unique_id)
        outcome: Outcome
        if not trouble and version is not None:
            outcome = "unchanged" if shown is not None and shown.version == version else "published"
            if outcome == "published":
                shown = Published(version, self._build_id, rows)
        else:
            status = self._ended[unique_id].status if unique_id in self._ended else ""
            is_new = version is not None and (shown is None or shown.version != version)
            outcome = (
                "failed"
                if status in {"error", "partial success", "runtime error"}
                else "skipped"
                if status == "skipped"
                else "held"
                if status or is_new
                else "unchanged"
            )
        contract = self._facts.meta(self._graph.built[unique_id]).get("contract_version")
        return BuiltTable(
            table=table,
            outcome=outcome,
            reason=trouble if outcome != "unchanged" else "",
            built=version,
            rows=rows,
            published=shown,
            project=self._graph.project.name,
            contract_version=str(contract or ""),
        )

    def _others(self, table: TableName, shown: Published) -> BuiltTable:
        """A table that people read and this project does not have: another project's, or one that is gone from it."""
        mine = self._owners.get(table) == self._graph.project.name
        if mine and self._scope == "full":
            reason = f"the project {self._graph.project.name} has it no more; its versions stay in storage."
            return BuiltTable(table, "withdrawn", reason, rows=shown.rows, project=self._graph.project.name)
        return BuiltTable(table, "unchanged", rows=shown.rows, published=shown, project=self._owners.get(table, ""))

    @cached_property
    def _owners(self) -> dict[TableName, str]:
        return {table.table: table.project for table in self.before.tables} if self.before else {}

    def _trouble(self, unique_id: str) -> str:
        """Why the node may not be shown; empty when it may."""
        if unique_id not in self._known:
            found = self._own_trouble(unique_id)
            for parent in self._graph.parents(unique_id) if not found else ():
                if parent in self._graph.built and (theirs := self._trouble(parent)):
                    # the first cause is named, not the whole way there
                    found = theirs if "one of what it was built from" in theirs else _from(self._name(parent), theirs)
                    break
            self._known[unique_id] = found
        return self._known[unique_id]

    def _own_trouble(self, unique_id: str) -> str:
        ended = self._ended.get(unique_id)
        if ended is not None and ended.status == "skipped":
            return "it was not built, because something that it is built from failed"
        if ended is not None and ended.status != "success":
            return f"it could not be built: {ended.message}"
        for test in self._tests_of[unique_id]:
            if trouble := self._trouble_of_test(test, is_due=ended is not None and self._is_of(test, unique_id)):
                return trouble
        if ended is None and not self._inputs.holds(unique_id):
            return "its last build was not checked, or did not pass"
        if ended is None and unique_id in self._stale:
            return "it was not built since its code, its checks or what it reads changed"
        return ""

    def _is_of(self, test: str, unique_id: str) -> bool:
        """Whether it is the table that the test speaks of. A test of several runs when the last of them was built."""
        return self._graph.tested.get(test) == unique_id

    def _trouble_of_test(self, test: str, *, is_due: bool) -> str:
        told, name = self._tests.get(test), self._facts.check_name(self._graph.tests[test])
        if told is None or told.status == "skipped":
            return f"its check {name} was not run" if is_due else ""
        if told.status in _PASSED:
            return ""
        return f"its check {name} " + (
            f"finds {told.failures} rows" if told.status == "fail" else f"cannot be run: {told.message}"
        )

    @cached_property
    def _readers_of(self) -> dict[str, list[str]]:
        """What reads each node: it is out of date as soon as the node is built anew."""
        found: dict[str, list[str]] = defaultdict(list)
        for reader in filter(self._inputs.knows, self._graph.built):
            for parent in self._read_by(reader):
                found[parent].append(reader)
        return found

    def _read_by(self, reader: str) -> set[str]:
        """What a node reads, also through views that need not be made again for news."""
        found, left = set[str](), list(self._graph.parents(reader) if self._inputs.holds_news(reader) else ())
        while left:
            if (parent := left.pop()) not in found:
                found.add(parent)
                if parent in self._graph.built and not self._inputs.holds_news(parent):
                    left.extend(self._graph.parents(parent))
        return found

    @cached_property
    def _tests_of(self) -> dict[str, list[str]]:
        """For each node the tests that read it."""
        found: dict[str, list[str]] = defaultdict(list)
        for test in self._graph.tests:
            for parent in self._graph.parents(test):
                found[parent].append(test)
        return found

    def _name(self, unique_id: str) -> str:
        node: Node = self._graph.node(unique_id)
        return ".".join(self._facts.key(node).path)


def _left(table: TableName, before: BuiltTable | None) -> BuiltTable:
    """A table that a selection has nothing to do with, as the last build left it."""
    if before is None:
        return BuiltTable(table, "unchanged")
    is_waiting = before.built is not None and (before.published is None or before.published.version != before.built)
    if is_waiting and before.outcome in {"held", "failed", "skipped"}:
        return replace(before, outcome="held")
    return replace(before, outcome="unchanged", reason="")


def _from(name: str, trouble: str) -> str:
    return f"{name}, one of what it was built from, did not pass: {trouble}"
