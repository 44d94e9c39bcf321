"""Which tables are up to date: a build leaves out what would come out as it is.

A table is up to date when its code, its tests and everything it reads are as they were when it was last built, when it
is still as that build left it, and when every check on it passed then. What was read is a fingerprint in the table's
own materialization in Dagster (`INPUTS`), beside the Delta version that it made: there is no other record that could
disagree, and without one the table is simply built.

What a table reads is told by identities: of a Delta table its id and version, of a view its own fingerprint and the
identities of what it reads. They are taken before the build begins, so a load that commits beside it counts as news for
the next one. Models must be functions of what they read: a test of the project's conventions refuses the time of the
day in them.

A view holds nothing that news could change, unless a test asks for its rows: it is made again when its code is
another, or the columns or the code of what it reads. What reads it is built with every news all the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import dagster as dg
from datong_platform.standard import decisions
from datong_platform.standard.matching import model as matching

from datong_assets import lake_facts
from datong_assets.checked import passed_since
from datong_assets.dbt.facts import Facts
from datong_assets.dbt.graph import Node
from datong_assets.lake_facts import TableFacts

INPUTS = "inputs"
"""Metadata of a materialization: the fingerprint of what the table was built from."""


@dataclass(frozen=True)
class _Record:
    """The last materialization of a table."""

    metadata: Mapping[str, Any]
    timestamp: float


def _value(record: _Record, name: str) -> Any:
    found = record.metadata.get(name)
    return getattr(found, "value", found)


class UpToDate:
    """What the tables of a project were built from, as of now; kept up to date by `built` while a build goes on.

    Given what was `chosen`, it looks at that and at what it is built from, and knows nothing of the rest.
    """

    def __init__(self, facts: Facts, instance: dg.DagsterInstance, chosen: Iterable[str] = ()) -> None:
        self._facts, self._graph = facts, facts.graph
        self._scope = self._graph.lineage(chosen) or {*self._graph.sources, *self._graph.built}
        self._still: dict[str, bool] = {}
        stored = self._stored()
        self._identities = {unique_id: found[0] if found else None for unique_id, found in stored.items()}
        self._shapes = {unique_id: found[1] if found else None for unique_id, found in stored.items()}
        self._made_of: dict[str, str] = {}
        self.materializations: dict[dg.AssetKey, dg.EventLogRecord] = {}
        """The last materialization of each table, as Dagster keeps it."""
        self._records = self._recorded(instance)
        self.rows: dict[str, int | None] = {
            unique_id: _value(record, "dagster/row_count") for unique_id, record in self._records.items()
        }
        """Rows of each table at its last build."""
        self.checks = passed_since(instance, facts, {id_: record.timestamp for id_, record in self._records.items()})
        """The results of the checks on each table that passed them all at its last build."""
        # read after the identities of the tables: what is decided meanwhile is news for the next build
        self._decisions = decisions.identities() if self._reads_decisions() else {}

    def knows(self, unique_id: str) -> bool:
        """Whether it was looked at."""
        return unique_id in self._scope

    def stale(self) -> list[str]:
        """The nodes that have to be built, what reads them included, in the order of the flow."""
        found: dict[str, None] = {}
        news: set[str] = set()
        for unique_id in self._graph.in_order:
            if unique_id not in self._scope:
                continue
            record = self._records.get(unique_id)
            reads_news = any(parent in news for parent in self._graph.parents(unique_id))
            if reads_news:
                news.add(unique_id)
            if (
                record is None
                or unique_id not in self.checks
                or (reads_news and self.holds_news(unique_id))
                or _value(record, INPUTS) != self._fingerprint(unique_id)
                or not self._is_as_built(unique_id, record)
            ):
                found[unique_id] = None
                news.add(unique_id)
        return list(found)

    def built(self, unique_id: str, known: TableFacts | None) -> str:
        """The fingerprint to record for a node that was just built; `known` is the table that it made."""
        fingerprint = self._fingerprint(unique_id)
        if known:
            self._identities[unique_id] = known.identity
        return fingerprint

    def holds(self, unique_id: str) -> bool:
        """Whether the node passed every check at its last build, and is still as that build left it."""
        record = self._records.get(unique_id)
        return record is not None and unique_id in self.checks and self._is_as_built(unique_id, record)

    def holds_news(self, unique_id: str) -> bool:
        """Whether news of what the node reads changes anything in it: its rows, or what a test finds.

        A test that reads a view, and speaks of a table that is built from it, runs with that table.
        """
        if unique_id not in self._still:
            self._still[unique_id] = self._is_view(unique_id) and not self._is_asked(unique_id)
        return not self._still[unique_id]

    def identity(self, unique_id: str) -> str | None:
        """The identity of a node's table as it is now (`id@version`), or None where there is none."""
        return self._identities.get(unique_id)

    def _fingerprint(self, unique_id: str) -> str:
        node = self._graph.built[unique_id]
        content = {
            "project": self.project,
            "code": node["checksum"]["checksum"],
            "config": node["config"],
            "tests": self._tests.get(unique_id, []),
            "matching": self._matching(node),
            "inputs": {
                parent: self._identity(parent, node)
                if self.holds_news(unique_id) or self._is_decisions(parent)
                else self._shape(parent)
                for parent in self._graph.parents(unique_id)
            },
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:24]

    def _identity(self, parent: str, reader: Node) -> Any:
        """What `reader` reads of a parent: of people's decisions only those that it heeds."""
        if parent in self._graph.built and self._is_view(parent):
            view = self._graph.built[parent]
            read = [self._identity(each, view) for each in self._graph.parents(parent)]
            return hashlib.sha256(json.dumps([self._shape(parent), read]).encode()).hexdigest()[:24]
        if not self._is_decisions(parent) or (heeded := self._facts.decisions_heeded(reader)) is None:
            return self._identities.get(parent)
        kinds, entities = heeded
        found = self._decisions.items()
        return sorted(
            f"{kind} {entity} {identity}"
            for (kind, entity), identity in found
            if (not kinds or kind in kinds) and (not entities or entity in entities)
        )

    def _shape(self, unique_id: str) -> str | None:
        """What decides a node's columns: those of a source, else its code and the shapes of what it reads."""
        if unique_id not in self._graph.built:
            return self._shapes.get(unique_id)
        if unique_id not in self._made_of:
            node = self._graph.built[unique_id]
            read = [self._shape(parent) for parent in self._graph.parents(unique_id)]
            content = [self.project, node["checksum"]["checksum"], node["config"], read]
            digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode())
            self._made_of[unique_id] = digest.hexdigest()[:24]
        return self._made_of[unique_id]

    def _is_asked(self, view: str) -> bool:
        """Whether a test asks for the view's rows that does not run with a table built from it."""
        tested = (self._graph.tested.get(test) for test in self._tests_that_read.get(view, []))
        return any(table is None or table == view or view not in self._graph.lineage([table]) for table in tested)

    @cached_property
    def _tests_that_read(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for test in self._graph.tests:
            for parent in self._graph.parents(test):
                found.setdefault(parent, []).append(test)
        return found

    def _matching(self, node: Node) -> str | None:
        """How the records of a crosswalk of golden records are matched."""
        entity = self._facts.meta(node).get("entity")
        return matching.fingerprint(entity) if node["config"].get("materialized") == "matched" and entity else None

    def _is_decisions(self, unique_id: str) -> bool:
        source = self._graph.sources.get(unique_id)
        return source is not None and self._facts.table(source) == decisions.ACTIVE

    def _reads_decisions(self) -> bool:
        return any(self._is_decisions(unique_id) for unique_id in self._graph.sources if unique_id in self._scope)

    def _is_as_built(self, unique_id: str, record: _Record) -> bool:
        if self._is_view(unique_id):
            return True
        stored = self._identities.get(unique_id)
        return stored is not None and stored.endswith(f"@{_value(record, 'delta_version')}")

    def _is_view(self, unique_id: str) -> bool:
        return self._graph.built[unique_id]["config"].get("materialized") == "view"

    def _stored(self) -> dict[str, tuple[str, str] | None]:
        """The identities and the columns' fingerprints of all tables and sources that are in the lake."""
        nodes: dict[str, Node] = {**self._graph.sources, **self._graph.built}
        known = {id_: node for id_, node in nodes.items() if id_ in self._scope}
        tables = {id_: table for id_, node in known.items() if (table := self._facts.table(node))}
        tables = {id_: table for id_, table in tables.items() if id_ in self._graph.sources or not self._is_view(id_)}
        with ThreadPoolExecutor(max_workers=8) as pool:
            return dict(zip(tables, pool.map(lake_facts.identity, tables.values()), strict=True))

    def _recorded(self, instance: dg.DagsterInstance) -> dict[str, _Record]:
        built = {unique_id: node for unique_id, node in self._graph.built.items() if unique_id in self._scope}
        ids = {self._facts.key(node): unique_id for unique_id, node in built.items()}
        found: dict[str, _Record] = {}
        for record in instance.get_asset_records(list(ids)):
            held = record.asset_entry.last_materialization_record
            entry = held.event_log_entry if held else None
            if held is not None and entry is not None and entry.asset_materialization is not None:
                self.materializations[record.asset_entry.asset_key] = held
                found[ids[record.asset_entry.asset_key]] = _Record(
                    entry.asset_materialization.metadata, entry.timestamp
                )
        return found

    @cached_property
    def project(self) -> str:
        """What all models depend on: the project's settings, its macros, dbt and the kind of engine."""
        folder = self._graph.project
        digest = hashlib.sha256(f"{version('dbt-core')} {version('dbt-spark')} {self._facts.engine}".encode())
        for path in [folder / "dbt_project.yml", *sorted((folder / "macros").rglob("*.sql"))]:
            digest.update(path.read_bytes())
        return digest.hexdigest()

    @cached_property
    def _tests(self) -> dict[str, list[Any]]:
        """For each table the tests that speak of it."""
        found: dict[str, list[Any]] = {}
        for unique_id in sorted(self._graph.tested):
            test = self._graph.tests[unique_id]
            found.setdefault(self._graph.tested[unique_id], []).append(
                [unique_id, test["checksum"]["checksum"], test["config"], test.get("test_metadata")]
            )
        return found
