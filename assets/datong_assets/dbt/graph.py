"""The parsed dbt project: its models, seeds, snapshots, sources and tests, read without dbt.

The worker, which parses, keeps the part of dbt's manifest that assets need, whole or not at all, in
`.datong/dbt/<project>/graph.json`, with a stamp of the files it was parsed from. `load` reads that, and has it made
again when a file of the project changed: a few milliseconds where nothing did.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datong_platform import settings
from datong_platform.errors import ConfigurationError
from datong_platform.names import public_schema

_log = logging.getLogger(__name__)

Node = Mapping[str, Any]

BUILT = ("model", "seed", "snapshot")
"""Kinds of nodes that become a table or a view."""

_FOLDERS = ("models", "seeds", "snapshots", "tests", "macros", "analyses", "standard")
_FORGOTTEN_OF_NODES = ("raw_code", "compiled_code", "created_at", "build_path", "unrendered_config")


def folder(project: Path) -> Path:
    """Where this installation keeps what it knows of a dbt project: graph, target and logs."""
    return settings.home() / "dbt" / project.name


def stamp(project: Path = settings.DBT_PROJECT) -> str:
    """A fingerprint of the project's files (path, size, time of change) and of dbt's versions.

    What an editor leaves beside a file while it is open does not count.
    """
    digest = hashlib.sha256(f"{project} {_versions()}".encode())
    # by names, not by paths: somebody who watches a project asks several times a second
    paths = [str(path) for path in project.iterdir() if path.suffix in {".yml", ".yaml"} and path.is_file()]
    for name in _FOLDERS:
        for where, _, files in os.walk(project / name):
            paths.extend(f"{where}{os.sep}{file}" for file in files if not _is_scratch(file))
    for path in sorted(paths):
        # an editor saves by renaming, so a file may be gone for a moment
        with suppress(FileNotFoundError):
            status = os.stat(path)  # noqa: PTH116
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _versions() -> str:
    return f"{version('dbt-core')} {version('dbt-spark')}"


def _is_scratch(name: str) -> bool:
    return name.startswith((".", "#")) or name.endswith(("~", ".swp", ".tmp")) or "." not in name


def write(project: Path, stamp_: str, described: Mapping[str, Mapping[str, Node]]) -> None:
    """Keep what assets need of a parsed project, replacing what was kept before in one move.

    `described` has the parts of dbt's manifest by kind and unique id; it is not changed.
    """
    # assets and people know a table by the name that it is read by, not by the one that it is built under
    nodes = {
        unique_id: {
            **{name: value for name, value in node.items() if name not in _FORGOTTEN_OF_NODES},
            "schema": public_schema(node["schema"]),
        }
        for unique_id, node in described["nodes"].items()
    }
    target = folder(project) / "graph.json"
    draft = target.with_suffix(f".{os.getpid()}.tmp")
    content = {"stamp": stamp_, **described, "nodes": nodes}
    draft.write_text(json.dumps(content, ensure_ascii=False, default=str), encoding="utf-8")
    draft.replace(target)


def load(project: Path = settings.DBT_PROJECT) -> Graph:
    """The graph of the project as it is now; parsed first when a file changed.

    A project that cannot be parsed is shown as it was when it could: a slip in one model must not stop the ingestion.
    The build says what is wrong. ConfigurationError with dbt's own words when it could never be parsed.
    """
    found = _kept(project)
    if found is not None and (_patient.get() or found.content["stamp"] == stamp(project)):
        return found
    from datong_assets.dbt import client

    try:
        client.parse(project)
    except ConfigurationError as error:
        if found is None and not _patient.get():
            raise
        _log.warning("%s Going on with the models as they were last parsed.", error)
        return found or Graph(project, folder(project) / "graph.json", {"stamp": "", "nodes": {}, "sources": {}})
    # a file can change while it is parsed; then the next load sees to it
    parsed = _kept(project)
    if parsed is None:
        raise ConfigurationError(f"dbt project {project.name}", "was parsed and left nothing.", "run it again.")
    return parsed


def is_current(project: Path = settings.DBT_PROJECT) -> bool:
    """Whether the project is as it was last parsed."""
    found = _kept(project)
    return found is not None and found.content["stamp"] == stamp(project)


_patient: ContextVar[bool] = ContextVar("datong_dbt_as_last_parsed", default=False)


@contextmanager
def as_last_parsed() -> Generator[None]:
    """Within this block any graph is good enough, even none: for work that needs no model."""
    token = _patient.set(True)
    try:
        yield
    finally:
        _patient.reset(token)


def _kept(project: Path) -> Graph | None:
    path = folder(project) / "graph.json"
    try:
        return _read(project, path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return None


@lru_cache(maxsize=4)
def _read(project: Path, path: Path, _changed: int) -> Graph:
    return Graph(project, path, json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Graph:
    """A parsed dbt project."""

    project: Path
    path: Path
    """The file this was read from; it has the form of dbt's manifest."""
    content: dict[str, Any]

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Models, seeds, snapshots and tests that are switched on, by their unique id."""
        return self.content["nodes"]

    @cached_property
    def built(self) -> dict[str, Node]:
        """The nodes that become a table or a view; ephemeral models do not."""
        return {
            id_: node
            for id_, node in self.nodes.items()
            if node["resource_type"] in BUILT and node["config"].get("materialized") != "ephemeral"
        }

    @cached_property
    def tests(self) -> dict[str, Node]:
        """The data tests, by their unique id. dbt keeps those of a model that is switched off, as switched off."""
        tests = {id_: node for id_, node in self.nodes.items() if node["resource_type"] == "test"}
        return {id_: node for id_, node in tests.items() if node["config"].get("enabled", True)}

    @cached_property
    def sources(self) -> dict[str, Node]:
        """The declared sources, by their unique id."""
        return self.content["sources"]

    def node(self, unique_id: str) -> Node:
        """A node or source."""
        return self.nodes.get(unique_id) or self.sources[unique_id]

    def parents(self, unique_id: str) -> list[str]:
        """The tables, views and sources that a node reads, through ephemeral models."""
        found: list[str] = []
        for parent in self.nodes[unique_id]["depends_on"].get("nodes", []):
            if parent in self.sources or parent in self.built:
                found.append(parent)
            elif parent in self.nodes:
                found.extend(self.parents(parent))
        return list(dict.fromkeys(found))

    def lineage(self, unique_ids: Iterable[str]) -> set[str]:
        """These nodes and all that they are built from, sources included."""
        found: set[str] = set()
        left = list(unique_ids)
        while left:
            if (each := left.pop()) not in found:
                found.add(each)
                left.extend(self.parents(each) if each in self.nodes else ())
        return found

    def named(self, word: str) -> list[str] | None:
        """What dbt selects by the bare name of one node: it, and the tests that read it. None for any other word."""
        # a folder's name means all that is in it
        meant = [unique_id for unique_id, node in self.nodes.items() if word in node["fqn"]]
        if len(meant) != 1 or meant[0] not in self.built or self.nodes[meant[0]]["fqn"][-1] != word:
            return None
        return [*meant, *(test for test in self.tests if meant[0] in self.parents(test))]

    def spoken_of(self, unique_ids: Iterable[str]) -> list[str]:
        """What is built of a list of nodes: the tables themselves, and for a test the table it speaks of."""
        tables = (self.tested.get(unique_id, unique_id) for unique_id in unique_ids)
        return [unique_id for unique_id in dict.fromkeys(tables) if unique_id in self.built]

    def with_parts(self, unique_ids: Iterable[str]) -> list[str]:
        """These nodes, and the tables of `models/silver/parts` they are made of: without these they show no news."""
        found, waiting = dict[str, None](), list(unique_ids)
        while waiting:
            unique_id = waiting.pop(0)
            found[unique_id] = None
            waiting += [each for each in self.parents(unique_id) if self._is_part(each) and each not in found]
        return list(found)

    def _is_part(self, unique_id: str) -> bool:
        node = self.built.get(unique_id)
        return (
            node is not None
            and str(node["original_file_path"]).startswith("models/silver/parts/")
            and node["config"].get("materialized") == "table"
        )

    @cached_property
    def in_order(self) -> list[str]:
        """What is built, each after all that it reads."""
        return sorted(self.built, key=lambda unique_id: (self._depth[unique_id], unique_id))

    @cached_property
    def tested(self) -> dict[str, str]:
        """For each test, the table it speaks of: the one it is declared on, else the last one in the flow."""
        return {id_: table for id_, node in self.tests.items() if (table := self._tested(id_, node))}

    def _tested(self, unique_id: str, test: Node) -> str | None:
        declared = test.get("attached_node")
        if declared and (declared in self.built or declared in self.sources):
            return declared
        return max(self.parents(unique_id), key=lambda parent: (self._depth[parent], parent), default=None)

    @cached_property
    def _depth(self) -> dict[str, int]:
        depth: dict[str, int] = dict.fromkeys(self.sources, 0)

        def of(unique_id: str) -> int:
            if unique_id not in depth:
                depth[unique_id] = 1 + max((of(parent) for parent in self.parents(unique_id)), default=0)
            return depth[unique_id]

        for unique_id in self.built:
            of(unique_id)
        return depth
