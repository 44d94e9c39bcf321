"""The quarantine of a source: rows, messages and segments that came and could not be read, with their bytes as sent.

They are landed and loaded with the batch that they came in, into `quarantine.<system>__<entity>`. That table's commit
comes before the one of bronze and carries the batch as a Delta transaction id: after a crash between the two the load
is repeated, and nothing is in quarantine twice. The table is a log: nothing in it is changed or removed. What a later
batch could read after all (`Manifest.released`) has a second entry, without bytes, that names that batch; from then on
it is no longer told as held.

From the `refused_files` of a `Manifest` to a version of the table. Memory: one part.
"""

from __future__ import annotations

from collections import Counter
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

RELEASED = "_datong_read_again"
"""In place of a field's name, in the entry that says that something was read again."""
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
    found = _held(_read(delta, [DIGEST, "field", INGESTED_AT, "place"])).column(DIGEST)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def held(system: str, entity: str) -> pa.Table:
    """All that could not be read and still cannot: `refused.LANDED`, its batch and when it came, the oldest first."""
    delta = history.open_table(quarantine(system, entity))
    if delta is None:
        return _TABLE.empty_table()
    return _held(_read(delta, _TABLE.names)).sort_by([(INGESTED_AT, "ascending"), ("place", "ascending")])


def _held(found: pa.Table) -> pa.Table:
    """Without what was read again: of alike entries as many of the oldest as were."""
    field = found.column("field")
    is_release = compute.fill_null(compute.equal(field, RELEASED), False)
    released = Counter(found.filter(is_release).column(DIGEST).to_pylist())
    found = found.filter(compute.invert(is_release))
    if not released:
        return found
    keeps = [True] * len(found)
    digests = found.column(DIGEST).to_pylist()
    order = compute.sort_indices(found, [(INGESTED_AT, "ascending"), ("place", "ascending")]).to_pylist()
    for row in order:
        if released[digests[row]] > 0:
            released[digests[row]] -= 1
            keeps[row] = False
    return found.filter(pa.array(keeps))


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
    refused = compute.field("field").is_null() | (compute.field("field") != RELEASED)
    return delta.to_pyarrow_dataset().count_rows(filter=batch & refused)


def summary(system: str, entity: str, reasons: int = 5) -> Refusals | None:
    """What the quarantine of an entity holds; None when it holds nothing."""
    table = quarantine(system, entity)
    delta = history.open_table(table)
    if delta is None:
        return None
    found = _held(_read(delta, ["reason", BATCH_ID, INGESTED_AT, DIGEST, "field", "place"]))
    if not len(found):
        return None
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
    """The newest rows that are held of an entity, or those of one batch; None when nothing was ever refused."""
    delta = history.open_table(quarantine(system, entity))
    if delta is None:
        return None
    # the bytes are read only of the batches that are shown, and of what was read again since
    ids = _held(_read(delta, [BATCH_ID, INGESTED_AT, DIGEST, "field", "place"])).column(BATCH_ID).to_pylist()
    wanted = sorted(ids, reverse=True)[:limit] if batch is None else [batch]
    condition = compute.field(BATCH_ID) >= min(wanted, default="")
    found = _held(_read(delta, _TABLE.names, condition)).drop_columns([DIGEST])
    if batch is not None:
        found = found.filter(compute.equal(found.column(BATCH_ID), batch))
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
    released = manifest.released
    words = f"was read again: batch {manifest.batch_id}"
    for start in range(0, len(released), 4096):
        digests = released[start : start + 4096]
        columns = [
            pa.nulls(len(digests), pa.binary()),
            pa.repeat(pa.scalar(""), len(digests)),
            pa.repeat(pa.scalar(RELEASED), len(digests)),
            pa.repeat(pa.scalar(words), len(digests)),
            pa.array(digests, pa.string()),
            pa.repeat(pa.scalar(manifest.batch_id), len(digests)),
            pa.repeat(ingested_at, len(digests)),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=_TABLE)
