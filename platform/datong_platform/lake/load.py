"""The load: exactly the files of one manifest, in one commit of the bronze table.

The files become the table's own as they are, copied within the store, wherever their types are the table's; else they
are read and written anew. The commit carries the batch's number as a Delta transaction id, so that loading a batch
again does nothing, and the position that the batch reached, so that the next read starts there. A crash before the
commit leaves the table as it was; after it, nothing is left to do.

From a `Manifest` to a version of `bronze.<system>__<entity>`. Memory: one part, and for a batch that tells deletes by
its key set, the keys of the table.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from datong_platform.errors import SchemaError, ServiceError
from datong_platform.lake import held, history, landing, quarantine, storage
from datong_platform.lake.columns import (
    BRONZE_FIELDS,
    compute,
    lake_type,
    last_of_each,
    row_keys,
    source_fields,
    type_name,
    widens,
)
from datong_platform.lake.history import Committed, Loaded
from datong_platform.lake.landing import DataFile, Manifest
from datong_platform.lake.statistics import delta_statistics
from datong_platform.names import BATCH_ID, INGESTED_AT, OPERATION, TableName, bronze
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, RemoveAction

_ATTEMPTS = 5
_COPIES = 8
"""Landed files that the store copies at once."""


@dataclass(frozen=True)
class LoadResult:
    """What one load did."""

    loaded: Loaded
    new_columns: list[str] = field(default_factory=list)
    widened_columns: list[str] = field(default_factory=list)
    bytes: int = 0
    created: bool = False
    """The load made the table."""
    manifest: Manifest | None = None
    """The batch, where it was loaded now."""
    committed: Committed | None = None
    """Its commit, as the store gave it back."""


def bronze_schema(delta: DeltaTable) -> pa.Schema:
    """The schema of an open bronze table in the lake's own types, added columns included."""
    schema = pa.schema(delta.schema())
    return pa.schema([pa.field(column.name, lake_type(column.type)) for column in schema])


class Pending(NamedTuple):
    """What was loaded of the batches that an earlier run had landed; and the table, open, as it is after that."""

    results: list[LoadResult]
    table: DeltaTable | None


def load_landed(system: str, entity: str) -> Pending:
    """Load the batches that were landed and not yet loaded, in their order; usually there are none."""
    table = bronze(system, entity)
    results: list[LoadResult] = []
    delta = held.take(table)
    while True:
        last = history.last_batch(table, delta) if delta else 0
        manifest = landing.read_manifest(system, entity, last + 1)
        if manifest is None:
            return Pending(results, delta)
        if delta is None and not landing.is_complete(manifest):
            # the table was deleted long after its first batches: their files are gone, and a baseline follows
            return Pending(results, None)
        if result := load(manifest, delta):
            results.append(result)
        # a load that met another writer opened the table anew
        if delta is None or result is None or delta.version() != result.loaded.version:
            delta = history.open_table(table)


def load(manifest: Manifest, delta: DeltaTable | None = None) -> LoadResult | None:
    """Commit the batch of a manifest to its bronze table; None when that was done before.

    SchemaError when a field's type neither equals nor safely widens that of the table. ServiceError when the store
    fails, or when other writers win again and again.
    """
    from deltalake.exceptions import CommitFailedError, DeltaError, DeltaProtocolError

    table = bronze(manifest.system, manifest.entity)
    failure: Exception | None = None
    for attempt in range(_ATTEMPTS):
        if delta is None or attempt:
            delta = history.open_table(table)
        try:
            # two first loads that made the table each would not see each other's batch; on a table that is there
            # already, the store lets only one of them commit it
            result = _load(manifest, table, delta or _create(manifest, table))
            if result is None and attempt:
                # it was refused because the batch is in: by another loader, or by this one, whose reply was lost
                return _found(table, manifest)
            return replace(result, created=result.loaded.version == 1) if result else None
        except (CommitFailedError, DeltaProtocolError) as error:
            # another writer was first; the table is read again, and may turn out to hold this very batch
            failure = error
        except (DeltaError, OSError) as error:
            failure = error
            break
    delta = history.open_table(table)
    if delta is not None and history.last_batch(table, delta) >= manifest.sequence:
        # another loader committed it, and cleared its files away while this one read them
        return _found(table, manifest)
    raise ServiceError(
        f"table {table}",
        f"batch {manifest.batch_id} could not be committed: {failure}",
        "run the ingest again: what was landed is loaded first, exactly once.",
    ) from failure


def _found(table: TableName, manifest: Manifest) -> LoadResult | None:
    """The load of a batch that is in the table already, if its log still tells it."""
    found = [loaded for loaded in history.loads(table, 20) if loaded.batch_id == manifest.batch_id]
    return LoadResult(found[0], bytes=manifest.bytes) if found else None


def merge_schemas(table: TableName, old: pa.Schema, new: pa.Schema) -> tuple[pa.Schema, list[str], list[str]]:
    """The schema of a table `old` after fields `new` are taken in; with the names added, and the names widened.

    A field that is narrower now keeps the table's type. SchemaError for any other change of type.
    """
    merged: dict[str, pa.DataType] = {column.name: column.type for column in old}
    added: list[str] = []
    widened: list[str] = []
    for column in new:
        known = merged.get(column.name)
        if known is None:
            added.append(column.name)
            merged[column.name] = column.type
        elif known != column.type and not widens(column.type, known):
            if not widens(known, column.type):
                raise SchemaError(
                    f"field {table}.{column.name}",
                    f"was {type_name(known)} and is {type_name(column.type)} in the source now.",
                    f"to keep the old type, declare `fields: {{{column.name}: {type_name(known)}}}` for the entity in "
                    "its defs.yaml (values that do not fit are rescued); to take the new one, run "
                    f"`datong ingest {table.name.replace('__', ' ', 1)} --rebuild`.",
                )
            widened.append(column.name)
            merged[column.name] = column.type
    return pa.schema(list(merged.items())), added, widened


def _load(manifest: Manifest, table: TableName, delta: DeltaTable) -> LoadResult | None:
    from deltalake import CommitProperties, PostCommitHookProperties, Transaction, write_deltalake

    added: list[str] = []
    widened: list[str] = []
    fields = manifest.arrow_schema
    if manifest.kind != "rebuild":
        fields, added, widened = merge_schemas(table, source_fields(bronze_schema(delta)), fields)
        if widened and manifest.kind != "full" and history.last_batch(table, delta) < manifest.sequence:
            _widen(delta, fields)
    # asked of the very snapshot that the commit will be checked against: whoever loads this batch after it conflicts
    if history.last_batch(table, delta) >= manifest.sequence:
        return None
    schema = pa.schema([*fields, *BRONZE_FIELDS.values()])
    replaces = manifest.kind in {"full", "rebuild"}
    vanished = vanished_keys(manifest, delta) if manifest.complete and not replaces else None
    found = len(vanished) if vanished is not None else 0
    loaded = Loaded(
        batch_id=manifest.batch_id,
        mode=manifest.mode,
        kind=manifest.kind,
        position=manifest.position_after,
        content_hash=manifest.content_hash,
        rows=manifest.row_count - manifest.deleted_rows,
        deletes=manifest.deleted_rows + found,
        rescued=manifest.rescued_rows,
        contract_version=manifest.contract_version,
        started_at=manifest.started_at,
        finished_at=manifest.finished_at,
        refused=manifest.refused_rows,
        events=manifest.events,
        keys_read_at=manifest.keys_read_at,
    )
    if manifest.refused_files or manifest.released:
        quarantine.load(manifest)
    commit = CommitProperties(
        app_transactions=[Transaction(history.application_id(table), manifest.sequence)],
        custom_metadata={history.METADATA_KEY: json.dumps(asdict(loaded), ensure_ascii=False)},
    )
    # files that are taken over keep the table's schema, which is not wide enough for them
    if not added and not (replaces and widened) and _fits(manifest, schema):
        actions = _taken_over(manifest, table)
        if vanished is not None and len(vanished):
            actions.append(_deletes(manifest, table, schema, vanished))
        mode = "overwrite" if replaces else "append"
        # old entries of the log are upkeep's: to look for them after each load is a listing of the whole log
        hooks = PostCommitHookProperties(cleanup_expired_logs=False)
        delta.create_write_transaction(
            actions, mode, delta.schema(), commit_properties=commit, post_commithook_properties=hooks
        )
    else:
        write_deltalake(
            delta,
            pa.RecordBatchReader.from_batches(schema, _batches(manifest, schema, vanished)),
            mode="overwrite" if replaces else "append",
            schema_mode="overwrite" if replaces else "merge" if added else None,
            commit_properties=commit,
        )
    delta.update_incremental()
    landing.remove_old(manifest)
    loaded = replace(loaded, version=delta.version())
    committed = None
    with suppress(ServiceError):
        # it is committed, whether or not the store answers now
        committed = history.committed(table, loaded.version)
    if committed is not None and committed.loaded == loaded:
        history.loaded_now(delta, loaded)
        held.mark(delta, loaded.version, committed.etag)
    return LoadResult(loaded, added, widened, manifest.bytes, manifest=manifest, committed=committed)


def _fits(manifest: Manifest, schema: pa.Schema) -> bool:
    """Whether the landed files are as the table would have them, so that nothing has to be read and written again."""
    if manifest.kind == "rebuild" or any(file.batch != manifest.batch_id for file in manifest.files):
        return False
    return all(schema.field(column.name).type == column.type for column in manifest.arrow_schema)


def _taken_over(manifest: Manifest, table: TableName) -> list[AddAction | RemoveAction]:
    """The landed files as files of the table: copies, for those of the landing zone go after some batches.

    A copy's name follows from the batch, so that a load that is repeated after a crash makes no second one.
    """

    def one(file: DataFile) -> AddAction:
        name = "-".join(file.key.split("/")[-2:])
        if not storage.copy(file.key, f"{table.path}/{name}"):
            raise landing.lost(file.key, f"{manifest.system}.{manifest.entity} batch {manifest.batch_id}")
        return _added(name, file.bytes, file.stats)

    with ThreadPoolExecutor(max_workers=min(_COPIES, len(manifest.files) or 1)) as pool:
        return list(pool.map(one, manifest.files))


def _deletes(manifest: Manifest, table: TableName, schema: pa.Schema, vanished: pa.Table) -> AddAction:
    """A file of the table with the deletes that the key set of a batch tells."""
    rows = _completed(manifest, schema, vanished.append_column(*_deleted(len(vanished))))
    name, body = f"{manifest.batch_id}-{uuid.uuid4().hex[:12]}-deletes.parquet", landing.parquet(rows)
    storage.put(f"{table.path}/{name}", body)
    return _added(name, len(body), delta_statistics(rows, [*manifest.keys, BATCH_ID, INGESTED_AT, OPERATION]))


def _added(name: str, size: int, stats: str) -> AddAction:
    from deltalake.transaction import AddAction

    return AddAction(name, size, {}, time.time_ns() // 1_000_000, True, stats)


def _create(manifest: Manifest, table: TableName) -> DeltaTable:
    """The table of a first batch, without rows; another loader's when that was faster."""
    from deltalake import DeltaTable

    # statistics only where reads skip files by them: a wide SAP table has hundreds of columns, and the first 32
    # (Delta's default) are seldom the ones asked for
    columns = [*manifest.keys, *manifest.cursors, BATCH_ID, INGESTED_AT, OPERATION]
    return DeltaTable.create(
        settings().table_uri(table),
        pa.schema([*manifest.arrow_schema, *BRONZE_FIELDS.values()]),
        mode="ignore",
        configuration={
            "delta.dataSkippingStatsColumns": ",".join(f"`{name}`" for name in dict.fromkeys(columns)),
            "delta.logRetentionDuration": "interval 30 days",
        },
        storage_options=settings().storage_options(),
    )


def _completed(manifest: Manifest, schema: pa.Schema, part: pa.Table) -> pa.Table:
    """Landed rows as rows of the table."""
    part = landing.with_batch(part, manifest.batch_id, datetime.fromisoformat(manifest.finished_at))
    columns = [
        part.column(column.name).cast(column.type)
        if column.name in part.column_names
        else pa.nulls(len(part), column.type)
        for column in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _deleted(rows: int) -> tuple[pa.Field, pa.Array]:
    return BRONZE_FIELDS[OPERATION], pa.repeat(pa.scalar("delete"), rows)


def _batches(manifest: Manifest, schema: pa.Schema, vanished: pa.Table | None) -> Iterator[pa.RecordBatch]:
    thing = f"{manifest.system}.{manifest.entity} batch {manifest.batch_id}"
    for part in landing.read_parts(manifest.files, thing):
        yield from _completed(manifest, schema, part).to_batches(max_chunksize=65536)
    if vanished is not None and len(vanished):
        rows = vanished.append_column(*_deleted(len(vanished)))
        yield from _completed(manifest, schema, rows).to_batches(max_chunksize=65536)


def vanished_keys(manifest: Manifest, delta: DeltaTable) -> pa.Table:
    """The key columns of what exists in the open table and is not among the keys of the batch: it was deleted.

    A row of the batch itself counts as there, though its key may be gone a moment later when the keys are read: of two
    rows of one key in one batch nobody could tell the later. The next batch tells that delete.
    """
    thing = f"{manifest.system}.{manifest.entity} batch {manifest.batch_id}"
    return missing_keys(delta, manifest.keys, [*manifest.key_files, *manifest.files], thing)


def missing_keys(delta: DeltaTable, keys: list[str], files: list[DataFile], thing: str) -> pa.Table:
    """The keys that exist in the open table and are in none of the landed files. `thing` is for errors."""
    state = current_keys(delta, keys)
    if not len(state):
        return state
    gone = np.ones(len(state), dtype=bool)
    known = row_keys(state, keys)
    for part in landing.read_parts(files, thing):
        columns = [part.column(name).cast(state.schema.field(name).type) for name in keys]
        present = row_keys(pa.Table.from_arrays(columns, names=keys), keys)
        gone &= ~compute.is_in(known, value_set=present).to_numpy(zero_copy_only=False)
    return state.filter(pa.array(gone))


def current_keys(delta: DeltaTable, keys: list[str]) -> pa.Table:
    """The keys of the rows that exist: those whose last batch did not delete them."""
    table = last_rows(scan(delta, [*keys, BATCH_ID, OPERATION]), keys)
    return table.filter(compute.not_equal(table.column(OPERATION), "delete")).select(keys)


def last_rows(table: pa.Table, keys: list[str]) -> pa.Table:
    """The row of the latest batch for each key."""
    table = table.sort_by([(BATCH_ID, "ascending")])
    return table.take(pa.array(last_of_each(row_keys(table, keys)))) if len(table) else table


def scan(delta: DeltaTable, columns: Sequence[str], condition: str = "") -> pa.Table:
    """Columns of an open table's rows, in the lake's own types; `condition` is SQL, whose values are `literal`s.

    Files whose statistics exclude the condition are not opened. A pyarrow dataset would first make an expression of
    every statistic of every file, which after a hundred small batches takes longer than all else that a read does.
    """
    from deltalake import QueryBuilder

    selected = ", ".join(map(quoted, columns))
    where = f" where {condition}" if condition else ""
    answer = QueryBuilder().register("bronze", delta).execute(f"select {selected} from bronze{where}")
    found = pa.RecordBatchReader.from_stream(answer).read_all()
    return pa.Table.from_arrays(
        [column.cast(lake_type(column.type)) for column in found.columns], names=found.column_names
    )


def quoted(column: str) -> str:
    """A column's name that means itself in the SQL of `scan`."""
    return '"' + column.replace('"', '""') + '"'


def literal(value: pa.Scalar) -> str:
    """A value of a column in the SQL of `scan`, in the column's own type: a number with decimals would be taken for a
    floating one, and a time be kept in nanoseconds, which end in the year 2262."""
    kind = value.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return str(value.as_py())
    if pa.types.is_binary(kind):
        return f"X'{value.as_py().hex()}'"
    if pa.types.is_floating(kind):
        # as_py() widens it without loss; its own text would be shorter than its value
        return f"arrow_cast('{value.as_py()!r}', 'Float64')"
    text = value.cast(pa.string()).as_py().replace("'", "''")
    if pa.types.is_timestamp(kind):
        arrow = 'Timestamp(Microsecond, Some("UTC"))' if kind.tz else "Timestamp(Microsecond, None)"
    elif pa.types.is_decimal(kind):
        arrow = f"Decimal128({kind.precision}, {kind.scale})"
    else:
        arrow = "Date32" if pa.types.is_date(kind) else "Utf8"
    return f"arrow_cast('{text}', '{arrow}')"


def _widen(delta: DeltaTable, fields: pa.Schema) -> None:
    """Rewrite the table in wider types, in a commit of its own: neither engine reads Delta's type widening."""
    from deltalake import write_deltalake

    schema = pa.schema([*fields, *BRONZE_FIELDS.values()])
    content = delta.to_pyarrow_dataset().scanner(batch_size=65536).to_batches()

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in content:
            part = pa.Table.from_batches([batch])
            columns = [
                part.column(column.name).cast(column.type)
                if column.name in part.column_names
                else pa.nulls(len(part), column.type)
                for column in schema
            ]
            yield from pa.Table.from_arrays(columns, schema=schema).to_batches()

    write_deltalake(
        delta, pa.RecordBatchReader.from_batches(schema, batches()), mode="overwrite", schema_mode="overwrite"
    )
    delta.update_incremental()
