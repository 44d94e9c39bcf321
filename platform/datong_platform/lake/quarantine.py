"""The quarantine of a source: rows, messages and segments that came and could not be read, with their bytes as sent.

They are landed and loaded with the batch that they came in, into `quarantine.<system>__<entity>`. That table's commit
comes before the one of bronze and carries the batch as a Delta transaction id: after a crash between the two the load
is repeated, and nothing is in quarantine twice. The table is a log: nothing in it is changed or removed.

From the `refused_files` of a `Manifest` to a version of the table. Memory: one part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datong_platform.lake import history, landing
from datong_platform.lake.columns import BRONZE_FIELDS, compute, lake_type
from datong_platform.lake.refused import DIGEST, LANDED
from datong_platform.names import BATCH_ID, INGESTED_AT, TableName, quarantine
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from datong_platform.lake.landing import Manifest

_TABLE = pa.schema([*LANDED, BRONZE_FIELDS[BATCH_ID], BRONZE_FIELDS[INGESTED_AT]])


@dataclass(frozen=True)
class Refusals:
    """What one source table's quarantine holds."""

    table: TableName
    rows: int
    batches: int
    last_batch: str
    last_at: datetime | None
    """When the newest of them came (UTC)."""
    reasons: dict[str, int]
    """The most frequent reasons, and how often."""


def known_digests(system: str, entity: str) -> pa.Array:
    """The digests of what is in quarantine already."""
    delta = history.open_table(quarantine(system, entity))
    if delta is None:
        return pa.array([], pa.string())
    found = delta.to_pyarrow_dataset().to_table(columns=[DIGEST]).column(DIGEST).cast(pa.string())
    return found.combine_chunks()


def load(manifest: Manifest) -> None:
    """Commit the refused rows of a batch, once. Raises what delta-rs raises; the load of the batch tries again."""
    from deltalake import CommitProperties, Transaction, write_deltalake

    table = quarantine(manifest.system, manifest.entity)
    # of two loaders that make the table at once one would not see the other's batch; on a table that is there already
    # the store lets only one of them commit it
    delta = history.open_table(table) or _create(table)
    # a bronze table that was deleted counts its batches from the first again, so the number alone is not enough
    application = f"datong:refused:{manifest.system}:{manifest.entity}:{manifest.batch_id}:{manifest.started_at}"
    if delta.transaction_version(application) is not None:
        return
    write_deltalake(
        delta,
        pa.RecordBatchReader.from_batches(_TABLE, _batches(manifest)),
        mode="append",
        commit_properties=CommitProperties(app_transactions=[Transaction(application, 1)]),
    )


def count(manifest: Manifest) -> int:
    """How many rows of a batch are in quarantine."""
    delta = history.open_table(quarantine(manifest.system, manifest.entity))
    if delta is None:
        return 0
    moment = pa.scalar(datetime.fromisoformat(manifest.finished_at), _TABLE.field(INGESTED_AT).type)
    batch = (compute.field(BATCH_ID) == manifest.batch_id) & (compute.field(INGESTED_AT) == moment)
    return delta.to_pyarrow_dataset().count_rows(filter=batch)


def summary(system: str, entity: str, reasons: int = 5) -> Refusals | None:
    """What the quarantine of an entity holds; None when nothing was ever refused."""
    table = quarantine(system, entity)
    delta = history.open_table(table)
    if delta is None:
        return None
    found = _read(delta, ["reason", BATCH_ID, INGESTED_AT])
    said = found.column("reason").value_counts().to_pylist() if len(found) else []
    said.sort(key=lambda entry: -entry["counts"])
    return Refusals(
        table=table,
        rows=len(found),
        batches=len(found.column(BATCH_ID).unique()),
        last_batch=compute.max(found.column(BATCH_ID)).as_py() or "",
        last_at=compute.max(found.column(INGESTED_AT)).as_py(),
        reasons={str(entry["values"]): entry["counts"] for entry in said[:reasons]},
    )


def rows(system: str, entity: str, *, batch: str | None = None, limit: int = 20) -> pa.Table | None:
    """The newest refused rows of an entity, or those of one batch; None when nothing was ever refused."""
    delta = history.open_table(quarantine(system, entity))
    if delta is None:
        return None
    condition = None if batch is None else compute.field(BATCH_ID) == batch
    if condition is None:
        # the bytes are read only of the batches that are shown
        ids = sorted(_read(delta, [BATCH_ID]).column(BATCH_ID).to_pylist(), reverse=True)
        condition = compute.field(BATCH_ID) >= ids[:limit][-1] if ids else None
    names = [name for name in _TABLE.names if name != DIGEST]
    found = _read(delta, names, condition)
    return found.sort_by([(INGESTED_AT, "descending"), ("place", "ascending")]).slice(0, limit)


def _read(delta: DeltaTable, columns: list[str], condition: Any = None) -> pa.Table:
    found = delta.to_pyarrow_dataset().to_table(columns=columns, filter=condition)
    return pa.Table.from_arrays([column.cast(lake_type(column.type)) for column in found.columns], names=columns)


def _create(table: TableName) -> DeltaTable:
    from deltalake import DeltaTable

    return DeltaTable.create(
        settings().table_uri(table),
        _TABLE,
        mode="ignore",
        configuration={
            "delta.dataSkippingStatsColumns": f"{BATCH_ID},{INGESTED_AT}",
            "delta.logRetentionDuration": "interval 30 days",
        },
        storage_options=settings().storage_options(),
    )


def _batches(manifest: Manifest) -> Iterator[pa.RecordBatch]:
    thing = f"{manifest.system}.{manifest.entity} batch {manifest.batch_id}"
    ingested_at = pa.scalar(datetime.fromisoformat(manifest.finished_at), _TABLE.field(INGESTED_AT).type)
    for part in landing.read_parts(manifest.refused_files, thing):
        constants = [pa.repeat(pa.scalar(manifest.batch_id), len(part)), pa.repeat(ingested_at, len(part))]
        table = pa.Table.from_arrays([*part.select(LANDED.names).columns, *constants], schema=_TABLE)
        yield from table.to_batches(max_chunksize=4096)
