"""Ingest: read an entity, land what was read, load it into bronze. The same for every protocol.

First the batches that an earlier run landed and did not load; then a read from the watermark that the table's log
holds. A crash at any point leaves either nothing new, or a landed batch that the next run loads: no row is lost, none
is there twice. A lost position starts a new baseline whose key set tells the deletes.

Works alone: `python -m datong_ingestion SYSTEM [ENTITY…]`.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from datong_platform.errors import (
    ConfigurationError,
    DatongError,
    PositionLostError,
    ProtocolError,
    ServiceError,
    TransientError,
)
from datong_platform.lake import held, history, landing, load, quarantine, sync_log, upkeep
from datong_platform.lake.columns import compute, row_keys, schema_to_json, source_fields
from datong_platform.lake.history import Loaded
from datong_platform.lake.landing import Kind, Landing, Manifest
from datong_platform.lake.load import bronze_schema
from datong_platform.lake.sync_log import Entry
from datong_platform.names import BATCH_ID, OPERATION, TableName
from datong_platform.settings import settings

from datong_ingestion.agreement import Agreement, agreed, frozen, without_extra
from datong_ingestion.source import (
    DELETE,
    INSERT,
    SNAPSHOT,
    UPDATE,
    Confirms,
    InterruptedReadError,
    Source,
    Waits,
    connect,
)
from datong_ingestion.systems_config import EntityConfig, SoftDelete, SystemConfig

if TYPE_CHECKING:
    from deltalake import DeltaTable

_ROUNDS = 5
_MANY = 100
"""Of fewer rows any number may be deleted at once."""
_TELLING = {
    "delta_token": (
        "rows and no delta token",
        "check that the service has change tracking for this entity set, or use mode cursor or full.",
    ),
    "log": ("no position in the log", "check the database's settings for logical replication, or use another mode."),
}
"""Modes whose reads have to say where the next one begins, and what to do when one does not."""


@dataclass(frozen=True)
class IngestResult:
    """What one ingest of one entity did. Holds no secret."""

    table: TableName
    mode: str
    batches: list[str]
    """Batches loaded now, those included that an earlier run had landed."""
    rows: int
    """Rows loaded that are not deletes."""
    deletes: int
    rescued: int
    """Rows with a value that did not fit its field, or with a field that is not described."""
    new_columns: list[str]
    """Fields seen for the first time: added to the table when the source's metadata describes them, else rescued."""
    position: str | None
    """Where the next read begins."""
    seconds: float
    bytes: int
    """Bytes landed."""
    delta_version: int
    schema: pa.Schema
    """Schema of the bronze table."""
    total_rows: int
    """Rows of the bronze table now."""
    unchanged_rows: int = 0
    """Rows that were read again and were in bronze already."""
    widened_columns: list[str] = field(default_factory=list)
    new_table: bool = False
    """The bronze table was made by this ingest."""
    notes: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    """What happened to the source that a person should know: a changed schema, a position that was lost."""
    versions: Mapping[str, int] = field(default_factory=dict[str, int])
    """The version of the table that the load of each batch made."""
    refused: int = 0
    """Rows, messages or segments that could not be read: they are in quarantine, as sent."""
    loads: Sequence[load.LoadResult] = field(default=(), repr=False)
    """The loads, in their order."""


@dataclass(frozen=True)
class IngestOutcome:
    """An entity, and what its ingest came to."""

    entity: str
    result: IngestResult | DatongError

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return isinstance(self.result, IngestResult)


def ingest_entity(system: SystemConfig, entity: str, *, baseline: bool = False, rebuild: bool = False) -> IngestResult:
    """Bring the bronze table of one entity up to date.

    `baseline` reads everything anew and appends it, with deletes for the keys that are gone. `rebuild` does so and
    replaces the table, its schema included. Raises a DatongError that names system, entity, reason and next step.
    """
    config = system.entity(entity)
    with sync_log.run():
        pending = load_pending(system, config)
        try:
            source = connect(system)
        except DatongError as error:
            _not_connected(system, config, error)
            raise
        try:
            return EntityIngest(source, system, config).run(pending, baseline=baseline, rebuild=rebuild)
        finally:
            source.close()


def ingest_system(
    system: SystemConfig,
    entities: Sequence[str] | None = None,
    *,
    baseline: bool = False,
    rebuild: bool = False,
    on_done: Callable[[IngestOutcome], None] | None = None,
) -> list[IngestOutcome]:
    """Ingest entities of a system (default: all), as many at once as its connection allows.

    One entity's failure does not stop the others. `on_done` hears of each as it ends, in the worker's thread. The
    outcomes come in the order of the definition. ConfigurationError for an entity that is not defined.
    """
    configs = [system.entity(name) for name in entities] if entities is not None else list(system.entities)
    source: Source | None = None
    trouble: DatongError | None = None
    try:
        source = connect(system)
    except DatongError as error:
        trouble = error

    def one(config: EntityConfig) -> IngestOutcome:
        try:
            pending = load_pending(system, config)
            if source is None:
                error = trouble or ConfigurationError(f"system {system.system}", "has no connection.")
                _not_connected(system, config, error)
                raise error
            result = EntityIngest(source, system, config).run(pending, baseline=baseline, rebuild=rebuild)
            outcome = IngestOutcome(config.name, result)
        except DatongError as error:
            outcome = IngestOutcome(config.name, error)
        except Exception as error:  # noqa: BLE001 a fault in one entity's data must not stop the others
            failure = DatongError(
                f"{system.system}.{config.name}",
                f"failed unexpectedly: {type(error).__name__}: {error}",
                f"run `python -m datong_ingestion {system.system} {config.name} --traceback` and report it.",
            )
            failure.__cause__ = error
            outcome = IngestOutcome(config.name, failure)
        if on_done:
            on_done(outcome)
        return outcome

    with sync_log.run():
        try:
            with ThreadPoolExecutor(max_workers=min(system.connection.concurrency, len(configs) or 1)) as pool:
                return list(pool.map(one, configs))
        finally:
            if source is not None:
                source.close()


def load_pending(system: SystemConfig, config: EntityConfig) -> load.Pending:
    """Load what an earlier run landed and did not load."""
    entry = _hop(system, config, "load")
    try:
        pending = load.load_landed(system.system, config.name)
    except DatongError as error:
        sync_log.record(replace(entry, ended_at=datetime.now(UTC), outcome="failed", words=str(error)))
        raise
    for result in pending.results:
        sync_log.record(_told(replace(entry, hop_id=uuid.uuid4().hex, words="landed by an earlier run"), result))
    return pending


def _hop(system: SystemConfig, config: EntityConfig, kind: Literal["extract", "load"]) -> Entry:
    """A hop of an entity that begins now, for the sync log."""
    table = str(system.table(config.name))
    return Entry(kind, system.system, table_name=table, inputs=(f"{system.system}.{config.name}",))


def _told(entry: Entry, result: load.LoadResult) -> Entry:
    """The hop of a load that ended now."""
    loaded = result.loaded
    entry.ended_at, entry.batch, entry.until = datetime.now(UTC), loaded.batch_id, str(loaded.version)
    entry.rows_in = entry.rows_out = loaded.rows + loaded.deletes
    entry.bytes, entry.rows_refused = result.bytes, loaded.refused
    return entry


def _not_connected(system: SystemConfig, config: EntityConfig, error: DatongError) -> None:
    sync_log.record(replace(_hop(system, config, "extract"), outcome="failed", words=str(error)))


@dataclass
class _Read:
    """What one read came to."""

    raced: bool = False
    landed: Manifest | None = None
    """The batch that is to be loaded."""
    loaded: load.LoadResult | None = None
    unexpected: set[str] = field(default_factory=set)
    received: int = 0
    unchanged: int = 0
    notes: tuple[str, ...] = ()
    delta: DeltaTable | None = None
    """The table, where the read found nothing that had to be loaded."""


@dataclass(frozen=True)
class Plan:
    """What to read, and what is known before."""

    agreement: Agreement
    sequence: int
    kind: Kind
    position: str | None
    last: Loaded | None
    delta: DeltaTable | None
    asked_for: bool
    """Someone asked for this baseline, so it is committed even when it says nothing new."""
    events: tuple[str, ...] = ()
    """What happened to the source that a person should know; it is kept in the batch's commit."""
    accepted: bool = False
    """A person asked for all of it anew, and with that for every delete that it tells."""


class EntityIngest:
    """The ingest of one entity; it can be run again and again, by one thread at a time."""

    def __init__(self, source: Source, system: SystemConfig, entity: EntityConfig) -> None:
        self.source, self.system, self.entity = source, system, entity.resolved(system.system)
        self.table: TableName = system.table(entity.name)
        self.thing = f"{system.system}.{entity.name} ({entity.address})"
        self._confirmed = False
        self._settled = False

    def run(
        self, pending: load.Pending | None = None, *, baseline: bool = False, rebuild: bool = False
    ) -> IngestResult:
        """Bring the bronze table up to date. `pending`: what was loaded of an earlier run's landed batches, which
        happens here when it is not given."""
        started = time.monotonic()
        if pending is None and not self._settled:
            pending = load_pending(self.system, self.entity)
        # until this run ends well, there may be a batch that is landed and not loaded
        self._settled = False
        loads = list(pending.results) if pending else []
        for _ in range(_ROUNDS):
            read = self._read(pending.table if pending else None, baseline=baseline, rebuild=rebuild)
            if not read.raced:
                break
            # another run landed this batch: load it, and read on from where it ended
            pending = load_pending(self.system, self.entity)
            loads += pending.results
        else:
            raise TransientError(
                self.thing,
                f"another ingest of it was faster {_ROUNDS} times in a row.",
                "let one run finish, then start the other.",
            )
        if read.loaded:
            loads.append(read.loaded)
            upkeep.after_load(self.table, read.loaded.loaded.sequence, read.delta)
        return self.result(loads, started, read)

    def result(self, loads: list[load.LoadResult], started: float, read: _Read | None = None) -> IngestResult:
        """What loads came to, and how bronze is now; a source that asks for it is told. `started`: monotonic time."""
        read = read or _Read()
        delta = read.delta or history.open_table(self.table)
        if delta is None:
            raise ServiceError(f"table {self.table}", "is not there after its load.", "run `datong doctor`.")
        mine = read.loaded.loaded if read.loaded else None
        last = mine if mine and mine.version == delta.version() else history.watermark(self.table, delta)
        self._confirm(last)
        self._settled = True
        if any(one.widened_columns or one.loaded.kind == "rebuild" for one in loads):
            _tell_engine(self.table)
        added = {name for one in loads for name in one.new_columns}
        found = IngestResult(
            table=self.table,
            mode=self.entity.mode,
            batches=[one.loaded.batch_id for one in loads],
            versions={one.loaded.batch_id: one.loaded.version for one in loads},
            rows=sum(one.loaded.rows for one in loads),
            deletes=sum(one.loaded.deletes for one in loads),
            rescued=sum(one.loaded.rescued for one in loads),
            new_columns=sorted(added | read.unexpected),
            position=last.position if last else None,
            seconds=time.monotonic() - started,
            bytes=sum(one.bytes for one in loads),
            delta_version=delta.version(),
            schema=bronze_schema(delta),
            total_rows=delta.count(),
            unchanged_rows=read.unchanged,
            widened_columns=sorted({name for one in loads for name in one.widened_columns}),
            new_table=any(one.created for one in loads),
            notes=[*read.notes, *self._waiting()],
            events=[event for one in loads for event in one.loaded.events],
            refused=sum(one.loaded.refused for one in loads),
            loads=loads,
        )
        held.give_back(self.table, delta)
        return found

    def _waiting(self) -> list[str]:
        """What the source left for the next read: told, since no rows and no error would look like a fault."""
        words = self.source.waiting(self.entity) if isinstance(self.source, Waits) else ""
        return [words] if words else []

    def _confirm(self, last: Loaded | None) -> None:
        """Tell a source that asks for it how far its rows are kept."""
        if last is not None and last.position is not None and isinstance(self.source, Confirms):
            self.source.confirm(self.entity, last.position)
        self._confirmed = True

    def _read(self, table: DeltaTable | None, *, baseline: bool, rebuild: bool) -> _Read:
        """Read, land and load one batch; each of the two is a hop in the sync log."""
        begun = _hop(self.system, self.entity, "extract")
        with sync_log.hop("extract", system=begun.system, table_name=begun.table_name, inputs=begun.inputs) as hop:
            read, plan = self._asked(table, baseline=baseline, rebuild=rebuild)
            hop.rows_in, hop.rows_out, hop.until = read.received, 0, plan.position
            hop.words = "; ".join((*plan.events, *read.notes)) or None
            if (landed := read.landed) is not None:
                hop.batch, hop.until, hop.bytes = landed.batch_id, landed.position_after, landed.bytes
                hop.rows_out, hop.rows_refused = landed.row_count, landed.refused_rows
                hop.outcome = "partly" if landed.refused_rows else "ok"
            else:
                hop.outcome = "nothing new"
                hop.words = "another run was faster" if read.raced else hop.words
        if landed is not None:
            read.loaded = self.load(landed, plan.delta)
            if read.loaded and plan.delta is not None and plan.delta.version() == read.loaded.loaded.version:
                # the load brought it up to date
                read.delta = plan.delta
        return read

    def load(self, manifest: Manifest, delta: DeltaTable | None = None) -> load.LoadResult | None:
        """Load a batch, as a hop in the sync log; None when another run did."""
        begun = _hop(self.system, self.entity, "load")
        with sync_log.hop(
            "load", system=begun.system, table_name=begun.table_name, inputs=begun.inputs, batch=manifest.batch_id
        ) as hop:
            result = load.load(manifest, delta)
            if result is not None:
                _told(hop, result)
            else:
                hop.outcome, hop.words = "nothing new", "another run loaded it"
        return result

    def _asked(self, table: DeltaTable | None, *, baseline: bool, rebuild: bool) -> tuple[_Read, Plan]:
        """Read and land one batch, also when the position is lost on the way; and by what plan."""
        plan = self.plan(table, baseline=baseline, rebuild=rebuild)
        interruptions = 0
        while True:
            try:
                return self._land(plan), plan
            except PositionLostError as error:
                if plan.position is None:
                    raise
                if _sequence(history.watermark(self.table, history.open_table(self.table))) != _sequence(plan.last):
                    # not lost: another run read on from it, and the source let go of what that run loaded
                    return _Read(raced=True), plan
                plan = replace(
                    plan,
                    kind=self._kind(None),
                    position=None,
                    asked_for=True,
                    events=(*plan.events, f"its position was lost, everything was read anew: {error.reason}"),
                )
            except InterruptedReadError:
                interruptions += 1
                if interruptions >= self.system.connection.attempts:
                    raise
                time.sleep(min(0.2 * 2**interruptions, self.system.connection.max_wait_seconds))

    def plan(self, table: DeltaTable | None = None, *, baseline: bool = False, rebuild: bool = False) -> Plan:
        """What the next batch reads, and what is known before. `table`: bronze, where it was opened a moment ago."""
        mode = self.entity.mode
        delta = held.take(self.table) if table is None else table
        last = history.watermark(self.table, delta)
        if not self._confirmed:
            self._confirm(last)
        rebuild = rebuild and delta is not None
        law = None if rebuild else delta
        known = source_fields(bronze_schema(law)) if law is not None else None
        agreement = agreed(self.source.describe(self.entity, known), self.entity, self.table, known)
        asked_for = baseline or rebuild or (last is not None and last.mode != mode)
        position = None if asked_for or mode == "full" or last is None else last.position
        kind = "rebuild" if rebuild else self._kind(position)
        sequence = last.sequence + 1 if last else landing.first_free_sequence(self.system.system, self.entity.name)
        accepted = baseline or rebuild
        return Plan(agreement, sequence, kind, position, last, delta, asked_for, agreement.events, accepted)

    def _kind(self, position: str | None) -> Kind:
        """What a read from `position` gives. A queue never tells all that exists, so it has no baseline."""
        if self.entity.mode == "full":
            return "full"
        return "baseline" if position is None and self.entity.mode != "stream" else "changes"

    def _land(self, plan: Plan) -> _Read:
        """Read and land one batch."""
        read = _Read(notes=plan.agreement.description.notes)
        batch = self.landing(plan)
        try:
            reached = self.fill(batch, plan)
            read.received = batch.received_rows
            read.unexpected = {*batch.unexpected, *plan.agreement.extra}
            if plan.kind == "full" and not plan.asked_for and plan.last is not None and _same(batch, plan.last):
                batch.discard()
                read.delta = plan.delta
                return read
            overlaps = plan.kind == "changes" and self.entity.mode == "cursor"
            manifest = batch.seal(reached, self._without_known(plan) if overlaps else None)
            read.unchanged = manifest.unchanged_rows
            gone = 0
            if manifest.complete and plan.delta is not None and batch.may_lack_keys:
                gone = len(load.vanished_keys(manifest, plan.delta))
            if plan.kind != "full" and not plan.asked_for and not gone and self._nothing_new(manifest, plan):
                batch.discard()
                read.delta = plan.delta
                return read
            self._check_deletes(manifest, plan, gone)
        except BaseException:
            batch.discard()
            raise
        if batch.commit(manifest):
            read.landed = manifest
        else:
            read.raced = True
        return read

    def landing(self, plan: Plan, folder: str = "") -> Landing:
        """An empty batch of a plan; `folder` names where its files lie, if it is not to be the batch's own place."""
        description = plan.agreement.description
        kept = self.system.retention_of(self.entity)
        return Landing(
            self.system.system,
            self.entity.name,
            plan.sequence,
            mode=self.entity.mode,
            kind=plan.kind,
            schema=plan.agreement.landed,
            keys=[] if self.entity.events else list(description.keys),
            cursors=list(description.cursors),
            distinct=not self.entity.events and not description.unique,
            position=plan.position,
            contract_version=contract_version(plan.agreement),
            events=plan.events,
            keys_read_at=plan.last.keys_read_at if plan.last else "",
            folder=folder,
            kept_batches=kept.landed_batches,
            kept_days=kept.landed_days,
        )

    def fill(self, batch: Landing, plan: Plan) -> str | None:
        """Read all pages into the batch; returns the position reached."""
        usual = SNAPSHOT if plan.kind != "changes" else INSERT if self.entity.events else UPDATE
        reached: str | None = None
        known: pa.Array | None = None
        description = plan.agreement.description
        entity = self.entity
        if entity.detect_deletes and not _keys_are_due(entity, plan.last):
            entity = entity.model_copy(update={"detect_deletes": False})
        for found in self.source.read(entity, description, plan.position):
            page = without_extra(found, plan.agreement.extra)
            if page.unexpected and self.entity.schema_policy == "freeze":
                raise frozen(self.thing, self.table, [f"field {name} is new" for name in sorted(page.unexpected)])
            operations = page.operations
            if operations is None:
                operations = pa.repeat(pa.scalar(usual), len(page.rows))
            if self.entity.soft_delete is not None:
                operations = _soft_deleted(self.entity.soft_delete, page.rows, operations)
            batch.add(page.rows, operations, page.rescued, page.unexpected)
            if page.refused is not None and len(page.refused):
                if known is None and self.entity.mode not in {"log", "stream"}:
                    # a log or a queue gives nothing twice, so two messages that are alike are two
                    known = quarantine.known_digests(self.system.system, self.entity.name)
                batch.add_refused(page.refused, known)
            if page.keys is not None:
                batch.add_keys(page.keys)
            reached = page.position if page.position is not None else reached
        if batch.has_key_set and plan.delta is not None:
            batch.may_lack_keys = bool(
                len(load.missing_keys(plan.delta, list(description.keys), batch.key_files, self.thing))
            )
            if batch.may_lack_keys:
                # pages that shift while they are read leave out keys that are there: only what is missing twice is gone
                for keys in self._keys(plan):
                    batch.add_keys(keys)
        if reached is None and self.entity.mode in _TELLING and (batch.received_rows or plan.position is None):
            what, advice = _TELLING[self.entity.mode]
            raise ProtocolError(self.thing, f"gave {what}, so later changes could not be told from the rest.", advice)
        return reached if reached is not None else plan.position

    def _keys(self, plan: Plan) -> Iterator[pa.Table]:
        """The keys of everything that exists now, read once more."""
        description = plan.agreement.description
        keys = list(description.keys)
        asked = self.entity.model_copy(
            update={"mode": "full", "cursor": "", "select": keys, "detect_deletes": False, "soft_delete": None}
        )
        fields = pa.schema([description.schema.field(name) for name in keys])
        for page in self.source.read(asked, replace(description, schema=fields, cursors=()), None):
            yield page.rows

    def _nothing_new(self, manifest: Manifest, plan: Plan) -> bool:
        """Whether a batch, which tells no delete by absence, has no row and no new position, and needs no commit."""
        last = plan.last
        if last is None or plan.delta is None or manifest.row_count or manifest.refused_rows:
            return False
        if manifest.position_after != last.position or manifest.contract_version != last.contract_version:
            return False
        # when the keys were compared is news, too, where it says when to compare them next
        return not (manifest.complete and self.entity.detect_deletes_every_hours)

    def _check_deletes(self, manifest: Manifest, plan: Plan, gone: int) -> None:
        """ProtocolError when so much is gone at once that something else is the likelier reason.

        A user who lost an authorization, a filter, or a table that is being reloaded look just like that.
        """
        delta, percent = plan.delta, self.entity.deletes_limit_percent
        if delta is None or plan.accepted or percent >= 100:
            return
        if manifest.kind == "full":
            before = delta.count()
            gone = before - manifest.row_count
        elif gone:
            before = len(load.current_keys(delta, manifest.keys))
        else:
            return
        if before >= _MANY and gone > before * percent / 100:
            raise ProtocolError(
                self.thing,
                f"lacks {gone:,} of the {before:,} rows that it had, more than deletes_limit_percent ({percent:g}) "
                "allows at once; a lost authorization or a table that is being reloaded looks like that.",
                "look into the system; if they really are deleted, accept it: "
                f"`python -m datong_ingestion {self.system.system} {self.entity.name} --baseline`.",
            )

    def _without_known(self, plan: Plan) -> Callable[[pa.Table], pa.Table] | None:
        """What takes away the rows that an overlapping read brings again: for states those equal to the last row of
        their key, for events those equal to any row."""
        delta, cursor = plan.delta, self.entity.cursor
        keys = [] if self.entity.events else list(plan.agreement.description.keys)
        if delta is None:
            return None

        def without_known(rows: pa.Table) -> pa.Table:
            content = [name for name in rows.column_names if name != OPERATION]
            if not set(content) <= set(bronze_schema(delta).names):
                return rows
            condition = ""
            if cursor in content:
                condition = f"{load.quoted(cursor)} is null"
                lowest = compute.min(rows.column(cursor))
                if lowest.is_valid:
                    condition += f" or {load.quoted(cursor)} >= {load.literal(lowest)}"
            sent = row_keys(rows, content)
            known = load.scan(delta, [*content, BATCH_ID], condition)
            known = known.filter(compute.is_in(row_keys(known, content), value_set=sent)) if len(known) else known
            if len(known) and keys:
                # a later batch may have changed the row since; then its return to an old state is news
                first = compute.min(known.column(BATCH_ID))
                later = load.scan(delta, [*content, BATCH_ID], f"{BATCH_ID} > {load.literal(first)}")
                known = load.last_rows(pa.concat_tables([known, later]), keys)
            if not len(known):
                return rows
            return rows.filter(compute.invert(compute.is_in(sent, value_set=row_keys(known, content))))

        return without_known


def _same(batch: Landing, last: Loaded) -> bool:
    """Whether a full read found what bronze holds already."""
    return (
        not batch.refused_rows
        and batch.contract_version == last.contract_version
        and batch.content_hash == last.content_hash
    )


def _keys_are_due(entity: EntityConfig, last: Loaded | None) -> bool:
    """Whether the keys are to be compared in this read."""
    if last is None or not last.keys_read_at or not entity.detect_deletes_every_hours:
        return True
    since = datetime.now(UTC) - datetime.fromisoformat(last.keys_read_at)
    return since >= timedelta(hours=entity.detect_deletes_every_hours)


def _tell_engine(table: TableName) -> None:
    """Let the engine know a table's new types, if it runs: when it starts, it learns them anyhow."""
    from datong_platform.lake import catalog

    if settings().engine_address:
        with suppress(ServiceError):
            catalog.renew([table])


def _sequence(last: Loaded | None) -> int:
    return last.sequence if last else 0


def _soft_deleted(mark: SoftDelete, rows: pa.Table, operations: pa.Array) -> pa.Array:
    """Operations with a delete for each row that says of itself that it was deleted."""
    texts = compute.utf8_lower(rows.column(mark.column).cast(pa.string()))
    gone = compute.fill_null(compute.is_in(texts, value_set=pa.array([value.lower() for value in mark.values])), False)
    chosen = compute.if_else(gone, pa.scalar(DELETE), operations)
    return chosen.combine_chunks() if isinstance(chosen, pa.ChunkedArray) else chosen


def contract_version(agreement: Agreement) -> str:
    """A short hash of what was agreed on: fields, types and keys."""
    content = {"schema": schema_to_json(agreement.landed), "keys": list(agreement.description.keys)}
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()[:12]
