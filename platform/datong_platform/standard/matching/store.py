"""The tables of golden records, all in `ops`, written by delta-rs.

- `golden_<entity>`: the crosswalk, one row per record of a system with its golden id. The golden tables come from it.
- `match_record_<entity>`: what is known of each record, also of those that are gone, so that they get their id back
  when they return. A log: a run adds the records that it changed, and what a later `run` says of a record counts. So
  a thousand new records cost a thousand rows, however many there are; when much is superseded, it is written anew.
- `match_pair_<entity>`: pairs that were joined, or that a steward is asked about, each with its evidence.
- `golden_history`: what ever happened to an id; only added to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from datong_platform.lake import history
from datong_platform.names import TableName
from datong_platform.settings import settings
from datong_platform.standard.matching import features, pairs
from datong_platform.standard.matching.identity import Happened
from datong_platform.standard.matching.model import Model

if TYPE_CHECKING:
    import duckdb
    from deltalake import DeltaTable

HISTORY = TableName("ops", "golden_history")
GOLDEN_SCHEMA = pa.schema(
    [
        ("golden_id", pa.string()),
        ("source_system", pa.string()),
        ("source_key", pa.string()),
        ("matched_by", pa.string()),
        ("score", pa.float64()),
        ("record_count", pa.int32()),
    ]
)
PAIR_SCHEMA = pa.schema([*pairs.PAIR, ("state", pa.string()), ("decision_id", pa.string())])
"""`state`: joined, review (a steward is asked), conflict (sure, and refused by an exclusive key), apart (decided)."""
HISTORY_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("entity", pa.string()),
        ("golden_id", pa.string()),
        ("event", pa.string()),
        ("source_system", pa.string()),
        ("source_key", pa.string()),
        ("other_id", pa.string()),
        ("run", pa.int64()),
        ("happened_at", pa.timestamp("us", "UTC")),
    ]
)


def golden(entity: str) -> TableName:
    """The crosswalk of an entity."""
    return TableName("ops", f"golden_{entity}")


def records(entity: str) -> TableName:
    """What is known of the records of an entity."""
    return TableName("ops", f"match_record_{entity}")


def pairs_of(entity: str) -> TableName:
    """The pairs of an entity."""
    return TableName("ops", f"match_pair_{entity}")


def record_schema(kind: str) -> pa.Schema:
    """What is known of a record: what is compared, its id, and the run that says so."""
    held = [("golden_id", pa.string()), ("golden_run", pa.int64()), ("first_run", pa.int64()), ("is_gone", pa.bool_())]
    return pa.schema([*features.SCHEMAS[kind], *held, ("run", pa.int64())])


def offer(connection: duckdb.DuckDBPyConnection, table: TableName, schema: pa.Schema, name: str) -> DeltaTable | None:
    """Let DuckDB read a Delta table as it is now as `name`; empty where there is none yet. Gives the table back."""
    delta = history.open_table(table)
    rows: Any = schema.empty_table() if delta is None else delta.to_pyarrow_dataset(schema=schema)
    connection.register(name, rows)
    return delta


def read_records(connection: duckdb.DuckDBPyConnection, wanted: Model) -> DeltaTable | None:
    """View `held`: what is known of each record of an entity. Only the columns that are asked for leave the store."""
    table = offer(connection, records(wanted.entity), record_schema(wanted.kind), "held_log")
    rows = connection.execute("select coalesce(min(run), 0) from held_log").fetchall()
    connection.execute(
        f"""
        create or replace table held_later as
        select unique_id, max(run) as run from held_log where run > {int(rows[0][0])} group by unique_id
        """
    )
    connection.execute(
        """
        create or replace view held as
        select held_log.* from held_log
        left join held_later on held_log.unique_id = held_later.unique_id
        where held_later.run is null or held_later.run = held_log.run
        """
    )
    return table


def write(
    table: TableName,
    rows: pa.Table | pa.RecordBatchReader,
    *,
    mode: Literal["overwrite", "append"] = "overwrite",
    note: tuple[str, int] | None = None,
) -> None:
    """Replace a table by rows, or add them, in one commit; `note` is for `noted` to tell."""
    from deltalake import CommitProperties, Transaction, write_deltalake

    write_deltalake(
        settings().table_uri(table),
        rows,
        mode=mode,
        schema_mode="overwrite" if mode == "overwrite" else None,
        configuration={"delta.logRetentionDuration": "interval 30 days"},
        storage_options=settings().storage_options(),
        commit_properties=CommitProperties(app_transactions=[Transaction(*note)]) if note else None,
    )


def has_columns(table: DeltaTable | None, names: Sequence[str]) -> bool:
    """Whether a table was written with these columns: not as an earlier version of Datong wrote it."""
    return table is not None and [field.name for field in table.schema().fields] == list(names)


def noted(table: DeltaTable | None, what: str) -> int | None:
    """The number under `what` in the last commit of a table that had one."""
    return None if table is None else table.transaction_version(what)


def is_there(table: TableName) -> bool:
    """Whether a table was ever written."""
    return history.open_table(table) is not None


def remember(entity: str, run: int, events: Sequence[Happened]) -> None:
    """Add what a run did to the history, once: a run that is repeated after a crash finds its events there."""
    from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake

    if not events:
        return
    delta = DeltaTable.create(
        settings().table_uri(HISTORY),
        Schema.from_arrow(HISTORY_SCHEMA),
        mode="ignore",
        name=HISTORY.name,
        description="What ever happened to golden records; only added to",
        storage_options=settings().storage_options(),
    )
    ids = [_event_id(entity, run, event) for event in events]
    application = f"datong:golden:{entity}:{hashlib.sha256(''.join(ids).encode()).hexdigest()[:16]}"
    if delta.transaction_version(application) is not None:
        return
    now = datetime.now(UTC)
    rows = [
        {
            "event_id": event_id,
            "entity": entity,
            "golden_id": event.golden_id,
            "event": event.event,
            "source_system": event.unique_id.partition("/")[0] or None,
            "source_key": event.unique_id.partition("/")[2] or None,
            "other_id": event.other_id or None,
            "run": run,
            "happened_at": now,
        }
        for event_id, event in zip(ids, events, strict=True)
    ]
    write_deltalake(
        delta,
        pa.Table.from_pylist(rows, schema=HISTORY_SCHEMA),
        mode="append",
        commit_properties=CommitProperties(app_transactions=[Transaction(application, 1)]),
    )


def _event_id(entity: str, run: int, event: Happened) -> str:
    said = f"{entity} {run} {event.event} {event.golden_id} {event.unique_id} {event.other_id}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]
