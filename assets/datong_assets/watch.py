"""Build what is edited, as soon as it is saved, in a process that stays warm.

From a changed file of the dbt project to the models whose code, settings or tests are others now, built and checked,
with the first rows of each. A file that dbt refuses is told in dbt's words, a model that fails in the engine's; what
failed is tried again at the next save.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from datong_platform.errors import DatongError, ServiceError
from datong_platform.names import TableName
from datong_platform.settings import DBT_PROJECT

from datong_assets import runs
from datong_assets.dbt import client, graph
from datong_assets.dbt.graph import Graph, Node
from datong_assets.progress import Listener

_EVERY = 0.2
"""Seconds between two looks at the files."""
_ROWS = 3


@dataclass(frozen=True)
class Edit:
    """One save, and what it came to.

    `models` are those that were built, or should have been: none where the save changed none. `rows` are the first of
    each that was built, by `schema.name`, checked or not. `seconds` are from the moment the save was noticed.
    """

    models: list[str]
    errors: list[DatongError]
    rows: dict[str, pa.Table]
    seconds: float


@dataclass
class _Attempt:
    models: list[str] = field(default_factory=list[str])
    errors: list[DatongError] = field(default_factory=list[DatongError])
    rows: dict[str, pa.Table] = field(default_factory=dict[str, pa.Table])


def edits(
    on_progress: Listener | None = None,
    *,
    ready: Callable[[], Any] = lambda: None,
    wait: Callable[[float], Any] = time.sleep,
) -> Iterator[Edit]:
    """Each save from now on, when it is built. `ready` is called once, when saves are noticed.

    `wait` is called between two looks, and ends the watch by raising. A project that dbt refuses at the start is the
    first that is told.
    """
    stamp, started = graph.stamp(), time.monotonic()
    known, error = _parsed()
    if error:
        yield Edit([], [error], {}, time.monotonic() - started)
    ready()
    owed: list[str] = []
    while True:
        if (now := graph.stamp()) == stamp:
            wait(_EVERY)
            continue
        stamp, started, attempt = now, time.monotonic(), _Attempt()
        parsed, error = _parsed()
        if error:
            attempt.errors.append(error)
        else:
            new = {*owed, *changed(known if known.built else parsed, parsed)}
            known, owed = parsed, [unique_id for unique_id in parsed.in_order if unique_id in new]
            if owed and _build(parsed, owed, attempt, on_progress):
                owed = []
        yield Edit(attempt.models, attempt.errors, attempt.rows, time.monotonic() - started)


def changed(before: Graph, after: Graph) -> list[str]:
    """The unique ids of what is new, or whose code, settings or tests are others than before, in the order to build."""
    was, is_now = _definitions(before), _definitions(after)
    return [unique_id for unique_id in after.in_order if was.get(unique_id) != is_now[unique_id]]


def _parsed() -> tuple[Graph, DatongError | None]:
    """The project as it is now, or as it was when dbt took it last (empty when never), and why dbt refuses it now."""
    try:
        client.warm()
        # not by `client.process()`: it ends a process that refuses, and the next one takes seconds to start
        client.parse(DBT_PROJECT)
        return graph.load(), None
    except DatongError as error:
        with graph.as_last_parsed():
            return graph.load(), error


def _build(parsed: Graph, unique_ids: Sequence[str], attempt: _Attempt, on_progress: Listener | None) -> bool:
    """Build these and show them; whether all of it is as it should be."""
    names = [_name(parsed.built[unique_id]) for unique_id in unique_ids]
    attempt.models.extend(str(name) for name in names)
    try:
        result = runs.build(nodes=unique_ids, on_progress=on_progress)
        attempt.errors.extend(result.errors)
        made = {event.name for event in result.events if event.kind == "model" and event.ok and not event.skipped}
        attempt.rows.update({str(name): _first_rows(name) for name in names if str(name) in made})
    except DatongError as error:
        attempt.errors.append(error)
    return not attempt.errors


def _name(node: Node) -> TableName:
    return TableName(node["schema"], str(node.get("alias") or node["name"]))


def _definitions(parsed: Graph) -> dict[str, str]:
    tests: dict[str, list[Any]] = {}
    for test, table in sorted(parsed.tested.items()):
        about = parsed.tests[test]
        tests.setdefault(table, []).append(
            [test, about["checksum"]["checksum"], about["config"], about.get("test_metadata")]
        )
    return {
        unique_id: json.dumps(
            [node["checksum"]["checksum"], _inlined(parsed, node), node["config"], tests.get(unique_id)],
            sort_keys=True,
            default=str,
        )
        for unique_id, node in parsed.built.items()
    }


def _inlined(parsed: Graph, node: Node) -> list[str]:
    """The code of the ephemeral models that are a part of the node's own SQL."""
    found: list[str] = []
    for parent in node["depends_on"].get("nodes", []):
        if parent in parsed.nodes and parent not in parsed.built:
            found += [parsed.nodes[parent]["checksum"]["checksum"], *_inlined(parsed, parsed.nodes[parent])]
    return found


def _first_rows(name: TableName) -> pa.Table:
    from datong_platform import engine

    try:
        return engine.query(f"select * from {name.candidate} limit {_ROWS}")
    except DatongError:
        raise
    except Exception as error:
        words = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ServiceError(f"table {name}", f"is built, and cannot be read: {words}", "run `datong doctor`.") from error
