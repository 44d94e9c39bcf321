"""Streams in Dagster: what `datong stream` loads is reported on the bronze assets, though no Dagster run loads it.

A materialization for each entity at most every REPORT_SECONDS, with the rows since the one before; an event a batch
would be several a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import dagster as dg
from datong_ingestion.run import IngestOutcome, IngestResult
from datong_ingestion.streaming import stream
from datong_ingestion.systems_config import SystemConfig

from datong_assets.components.source_system import metadata_of

REPORT_SECONDS = 10.0


class Reporter:
    """Adds up what entities loaded, and reports it to a Dagster instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self._lock = threading.Lock()
        self._sums: dict[str, IngestResult] = {}
        self._last: dict[str, float] = {}

    def add(self, outcome: IngestOutcome) -> None:
        """Take in the result of one ingest."""
        result = outcome.result
        if not isinstance(result, IngestResult):
            return
        with self._lock:
            before = self._sums.get(outcome.entity)
            self._sums[outcome.entity] = result if before is None else _sum(before, result)
            due = time.monotonic() - self._last.get(outcome.entity, 0.0) >= REPORT_SECONDS
        if due:
            self.report(outcome.entity)

    def report(self, entity: str) -> None:
        """Tell Dagster what an entity loaded since the last report."""
        with self._lock:
            result = self._sums.pop(entity, None)
            self._last[entity] = time.monotonic()
        if result is not None:
            key = dg.AssetKey([result.table.schema, result.table.name])
            event = dg.AssetMaterialization(asset_key=key, metadata=metadata_of(result), tags={"datong/stream": "true"})
            self.instance.report_runless_asset_event(event)

    def close(self) -> None:
        """Report what is left."""
        for entity in list(self._sums):
            self.report(entity)


def run(
    system: SystemConfig,
    entities: Sequence[str] | None,
    *,
    instance: dg.DagsterInstance,
    stop: threading.Event,
    pause: float,
    on_batch: Callable[[IngestOutcome], None],
) -> list[IngestOutcome]:
    """Stream until `stop` is set, reporting to the instance; returns the entities that ended by an error."""
    reporter = Reporter(instance)

    def heard(outcome: IngestOutcome) -> None:
        on_batch(outcome)
        reporter.add(outcome)

    try:
        return stream(system, entities, stop=stop, pause=pause, on_batch=heard)
    finally:
        reporter.close()


def _sum(one: IngestResult, two: IngestResult) -> IngestResult:
    """Two ingests of an entity as one: the counts of both, the state of the later."""
    return replace(
        two,
        batches=[*one.batches, *two.batches],
        rows=one.rows + two.rows,
        deletes=one.deletes + two.deletes,
        rescued=one.rescued + two.rescued,
        refused=one.refused + two.refused,
        unchanged_rows=one.unchanged_rows + two.unchanged_rows,
        bytes=one.bytes + two.bytes,
        seconds=one.seconds + two.seconds,
        events=[*one.events, *two.events],
        new_columns=sorted({*one.new_columns, *two.new_columns}),
        widened_columns=sorted({*one.widened_columns, *two.widened_columns}),
        new_table=one.new_table or two.new_table,
    )
