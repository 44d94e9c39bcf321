"""Dagster's event log in a third of the statements: what a cycle writes to it was most of what a cycle cost.

For an asset Dagster stores that its output came and that it was materialized, each with a NOTIFY that nobody listens
to; and of hundreds of planned assets and checks one by one. Here the first is left out (nobody passes values between
our assets, and the materialization says it), NOTIFY is not sent, what a run plans is written together, and so are the
results of the checks of about a second. What Dagster reads is as it was: events, index of assets, executions of checks.
A step that asks which materialization its checks and its next tables are about is told from memory where it made it
itself, or has read it before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.data_version import extract_data_version_from_entry
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.execution.context.data_version_cache import InputAssetVersionInfo
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, AssetKeyTable, SqlEventLogStorageTable

if TYPE_CHECKING:
    from dagster._core.events.log import EventLogEntry

_PLANNED = 500
"""Planned events that are written together."""
MADE = "datong_made"
"""Where the storage keeps the last materialization of each asset that this process stored."""
_WAITING = "datong_waiting"
"""Where it keeps results of checks, until the next event that is neither a check's nor a table's, the end of their step
for one, or until one is told a second later."""
_LONGEST = 1.0
"""Seconds that a result waits while tables are told; longer only while nothing at all is."""
_taking = threading.Lock()


def lean(of: dg.DagsterInstance) -> None:
    """Have this instance write its event log so, where PostgreSQL holds it."""
    storage: Any = of.event_log_storage
    if type(storage).__name__ != "PostgresEventLogStorage":
        return
    setattr(storage, MADE, getattr(storage, MADE, {}))
    setattr(storage, _WAITING, getattr(storage, _WAITING, []))
    storage.store_event = lambda event: _store(storage, event)
    storage.store_event_batch = lambda events: _store_together(storage, events)
    instance: Any = of
    instance._get_event_batch_size = lambda: _PLANNED


def remembering(
    context: dg.AssetExecutionContext, known: Mapping[dg.AssetKey, dg.EventLogRecord] | None = None
) -> None:
    """Let this step know its own materializations without asking the storage for each of them again.

    `known` are the last ones of assets that nobody else makes meanwhile, where the caller has read them.
    """
    made: dict[dg.AssetKey, tuple[int, EventLogEntry]] | None
    made = getattr(context.instance.event_log_storage, MADE, None)
    if made is None:
        return
    step: Any = context.get_step_execution_context()
    # asked for every table that is told, and made anew from all outputs of the step each time
    step.get_output_asset_keys = cache(step.get_output_asset_keys)
    # told of every output and check, with the resources bound anew: they are those of the step
    step.for_type = cache(step.for_type)
    versions = step._data_version_cache
    fetch, run_id = versions._fetch_input_asset_version_info, context.run.run_id

    def from_memory(keys: Sequence[dg.AssetKey]) -> None:
        unknown: list[dg.AssetKey] = []
        for key in keys:
            event_id, event = made.get(key, (0, None))
            if event is None or event.run_id != run_id:
                record = (known or {}).get(key)
                if record is None:
                    unknown.append(key)
                    continue
                event_id, event = record.storage_id, record.event_log_entry
            versions.input_asset_version_info[key] = InputAssetVersionInfo(
                event_id,
                dg.DagsterEventType.ASSET_MATERIALIZATION,
                extract_data_version_from_entry(event),
                event.run_id,
                event.timestamp,
            )
        if unknown:
            fetch(unknown)

    versions._fetch_input_asset_version_info = from_memory


def _says_nothing(event: EventLogEntry) -> bool:
    about = event.dagster_event
    if about is None or about.event_type != dg.DagsterEventType.STEP_OUTPUT:
        return False
    checked = about.step_output_data.type_check_data
    return checked is None or checked.success


def _store(storage: Any, event: EventLogEntry) -> None:
    if _says_nothing(event):
        return
    about = event.dagster_event
    if about is not None and about.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION and event.run_id:
        with _taking:
            getattr(storage, _WAITING).append(event)
            is_enough = len(getattr(storage, _WAITING)) >= _PLANNED
        if is_enough:
            _store_waiting(storage)
        return
    if about is None or about.event_type != dg.DagsterEventType.ASSET_MATERIALIZATION or _waited(storage):
        _store_waiting(storage)
    with storage._connect() as connection:
        inserted = storage.prepare_insert_event(event).returning(SqlEventLogStorageTable.c.id)
        event_id = int(connection.execute(inserted).scalar_one())
        if about is not None and about.event_type in ASSET_EVENTS and about.asset_key:
            storage._store_asset_event_tags(connection, [event], [event_id])
            storage._store_asset_event(connection, event, event_id)
            if about.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
                getattr(storage, MADE)[about.asset_key] = (event_id, event)
    if about is not None and about.event_type in ASSET_CHECK_EVENTS:
        storage.store_asset_check_event(event, event_id)


def _waited(storage: Any) -> bool:
    with _taking:
        waiting: list[EventLogEntry] = getattr(storage, _WAITING)
        return bool(waiting) and time.time() - waiting[0].timestamp > _LONGEST


def _store_waiting(storage: Any) -> None:
    """Store the results of checks that wait for what comes after them: two statements for all of them."""
    import sqlalchemy as db

    with _taking:
        events: list[EventLogEntry] = getattr(storage, _WAITING)
        setattr(storage, _WAITING, [])
    if not events:
        return
    table, names = AssetCheckExecutionsTable, ("asset_key", "check_name", "run_id")
    with storage._connect() as connection:
        stored = [storage._event_to_row(event) for event in events]
        ids = _inserted(connection, stored)
        rows = [
            _evaluated(storage, event, event_id, row["event"])
            for event, event_id, row in zip(events, ids, stored, strict=True)
        ]
        told = db.values(*(db.column(name, table.c[name].type) for name in rows[0]), name="told")
        told = told.data([tuple(row.values()) for row in rows])
        changed = (
            table.update()
            .where(*(table.c[name] == told.c[name] for name in names), table.c.partition.is_(None))
            .values({name: db.cast(told.c[name], table.c[name].type) for name in rows[0] if name not in names})
            .returning(*(table.c[name] for name in names))
        )
        planned = {tuple(row) for row in connection.execute(changed).fetchall()}
        if unplanned := [row for row in rows if tuple(row[name] for name in names) not in planned]:
            connection.execute(table.insert(), unplanned)


def _inserted(connection: Any, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """The ids of events that are stored now."""
    inserted = SqlEventLogStorageTable.insert().values(rows).returning(SqlEventLogStorageTable.c.id)
    return [int(row[0]) for row in connection.execute(inserted).fetchall()]


def _evaluated(storage: Any, event: EventLogEntry, event_id: int, written: str) -> dict[str, Any]:
    """The row of a check's result, as `SqlEventLogStorage` writes it."""
    about: Any = event.get_dagster_event().event_specific_data
    ended = AssetCheckExecutionRecordStatus
    target = about.target_materialization_data
    return {
        "asset_key": about.asset_key.to_string(),
        "check_name": about.check_name,
        "run_id": event.run_id,
        "execution_status": (ended.SUCCEEDED if about.passed else ended.FAILED).value,
        "evaluation_event": written,
        "evaluation_event_timestamp": storage._event_insert_timestamp(event),
        "evaluation_event_storage_id": event_id,
        "materialization_event_storage_id": target.storage_id if target else None,
    }


def _store_together(storage: Any, events: Sequence[EventLogEntry]) -> None:
    from sqlalchemy.dialects import postgresql

    _store_waiting(storage)
    if any(_kind(event) is None for event in events):
        type(storage).store_event_batch(storage, events)
        return
    with storage._connect() as connection:
        stored = [storage._event_to_row(event) for event in events]
        ids = _inserted(connection, stored)
        assets: dict[str, dict[str, Any]] = {}
        for event, event_id in zip(events, ids, strict=True):
            about = event.get_dagster_event()
            if _kind(event) == dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED and about.asset_key:
                key = about.asset_key.to_string()
                assets[key] = {"asset_key": key, **storage._get_asset_entry_values(event, event_id, True)}
        if assets:
            query = postgresql.insert(AssetKeyTable).values(list(assets.values()))
            changed = {name: query.excluded[name] for name in next(iter(assets.values())) if name != "asset_key"}
            connection.execute(query.on_conflict_do_update(index_elements=[AssetKeyTable.c.asset_key], set_=changed))
    checks = [
        (event, event_id, row["event"])
        for event, event_id, row in zip(events, ids, stored, strict=True)
        if _kind(event) == dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
    ]
    planned: list[Any] = [event.get_dagster_event().event_specific_data for event, *_ in checks]
    if any(each.partitions_subset for each in planned):
        for event, event_id, _ in checks:
            storage.store_asset_check_event(event, event_id)
    elif checks:
        with storage.index_connection() as connection:
            connection.execute(AssetCheckExecutionsTable.insert(), [_planned(storage, *check) for check in checks])


def _planned(storage: Any, event: EventLogEntry, event_id: int, written: str) -> dict[str, Any]:
    """The row that says that a check is planned, as `SqlEventLogStorage` writes it."""
    about: Any = event.get_dagster_event().event_specific_data
    return {
        "asset_key": about.asset_key.to_string(),
        "check_name": about.check_name,
        "run_id": event.run_id,
        "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
        "evaluation_event": written,
        "evaluation_event_timestamp": storage._event_insert_timestamp(event),
        "evaluation_event_storage_id": event_id,
    }


def _kind(event: EventLogEntry) -> dg.DagsterEventType | None:
    """The kind of a planned event; None for any other."""
    about = event.dagster_event
    planned = (
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
    )
    return about.event_type if about is not None and about.event_type in planned else None
