"""Backfill: the whole of an entity, part by part, several at a time, and resumed where it broke off.

The parts are conditions that between them hold every row once: ranges of the field `partition_by`, or the entity's own
`partition_filters`. Each part is landed by itself and has a record; a start after a crash reads only the parts that
have none. When all are there, one manifest makes them a batch like any other: one commit of bronze, and nothing of a
backfill that did not end. A cursor is taken before the first part is read, so the ingest that follows brings what
changed since.

From a plan at `landing/<system>/<entity>/backfill/plan.json` to a batch. Memory: one landed part file per reader.
Alone: `python -m datong_ingestion SYSTEM ENTITY --backfill`.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
from datong_platform.errors import ConfigurationError, TransientError
from datong_platform.lake import landing, load, storage, sync_log
from datong_platform.lake.columns import schema_to_json
from datong_platform.lake.landing import Landing, Manifest

from datong_ingestion.connections.rest import RestConnection, RestOptions
from datong_ingestion.run import EntityIngest, IngestResult, Plan, contract_version, load_pending
from datong_ingestion.source import InterruptedReadError, Partitions, Source, connect
from datong_ingestion.systems_config import EntityConfig, SystemConfig

_JOINED = frozenset({"sql", "odata_v2", "odata_v4", "rest", "mongodb"})
"""Protocols whose filters can be joined with the condition of a part."""
_WHOLE = {
    "soap": "a request has no condition that Datong could know to cut by",
    "files": "each file is taken once, by itself, and that resumes",
    "xml": "each file is taken once, by itself, and that resumes",
    "edi": "each file is taken once, by itself, and that resumes",
}
"""Why others are read as one."""
_MODES = frozenset({"full", "cursor"})
_ROUNDS = 5


@dataclass(frozen=True)
class Progress:
    """A part that was landed."""

    part: int
    condition: str
    rows: int
    seconds: float
    done: int
    """Parts that are landed now, those of earlier starts included."""
    parts: int


@dataclass(frozen=True)
class _Stored:
    """What a backfill is to read: the same after every crash."""

    id: str
    created_at: str
    fingerprint: str
    """Of everything that decides what its parts hold."""
    sequence_before: int
    """Number of the last batch before it."""
    position: str | None
    conditions: list[str]


def backfill(
    system: SystemConfig,
    entity: str,
    *,
    anew: bool = False,
    on_part: Callable[[Progress], None] | None = None,
) -> IngestResult:
    """Read the whole of an entity in parts and load it as one batch; then, in mode cursor, what changed meanwhile.

    A backfill that broke off goes on, unless the definition changed or `anew` is asked for. ConfigurationError when the
    entity cannot be read in parts.
    """
    config = system.entity(entity)
    _check(system, config)
    with sync_log.run():
        pending = load_pending(system, config)
        source = connect(system)
        try:
            return _Backfill(source, system, config, on_part).run(pending, anew=anew)
        finally:
            source.close()


def _check(system: SystemConfig, config: EntityConfig) -> None:
    thing = f"{system.system}.{config.name} ({config.address})"
    if config.mode not in _MODES:
        raise ConfigurationError(
            thing,
            f"is read in mode {config.mode}, whose first read is its own backfill.",
            "leave out --backfill; or use mode cursor or full.",
        )
    if system.protocol not in _JOINED:
        raise ConfigurationError(
            thing,
            f"speaks {system.protocol}, which is not read in parts: {_WHOLE.get(system.protocol, 'it has no filter')}.",
            f"leave out --backfill; it is there for {', '.join(sorted(_JOINED))}.",
        )
    if system.protocol == "rest" and isinstance(system.connection, RestConnection):
        options = config.options if isinstance(config.options, RestOptions) else RestOptions()
        if "{filter}" not in str(options.request or system.connection.request):
            raise ConfigurationError(
                thing,
                "asks for its pages without a condition, so every part would be the whole.",
                "declare a `request` in which {filter} stands, and `partition_filters` in the API's own words.",
            )


class _Backfill:
    def __init__(
        self, source: Source, system: SystemConfig, entity: EntityConfig, on_part: Callable[[Progress], None] | None
    ) -> None:
        self.source, self.system, self.on_part = source, system, on_part
        self.ingest = EntityIngest(source, system, entity)
        self.entity, self._declared = self.ingest.entity, entity
        self.folder = f"{landing.root(system.system, entity.name)}/backfill"

    def run(self, pending: load.Pending, *, anew: bool) -> IngestResult:
        started = time.monotonic()
        plan = self.ingest.plan(pending.table)
        stored = self._stored(plan, anew=anew)
        result = None if self._is_loaded(stored, plan) else self._loaded(stored, plan)
        self._clean(stored.id)
        loads = [*pending.results, *([result] if result else [])]
        if self.entity.mode == "cursor":
            return replace(self.ingest.run(load.Pending(loads, None)), seconds=time.monotonic() - started)
        return self.ingest.result(loads, started)

    def _stored(self, plan: Plan, *, anew: bool) -> _Stored:
        """The plan of a backfill that broke off, or a new one."""
        key = f"{self.folder}/plan.json"
        fingerprint = self._fingerprint(plan)
        while True:
            body = storage.get(key)
            if body is not None:
                found = _Stored(**json.loads(body))
                if found.fingerprint == fingerprint and not anew:
                    return found
                self._clean(found.id)
                anew = False
            made = _Stored(
                id=uuid.uuid4().hex[:12],
                created_at=datetime.now(UTC).isoformat(),
                fingerprint=fingerprint,
                sequence_before=plan.sequence - 1,
                # before any part is read: what changes from now on is read again by the cursor
                position=self._newest(plan) if self.entity.mode == "cursor" else None,
                conditions=self._conditions(),
            )
            if storage.put_if_absent(key, json.dumps(asdict(made), ensure_ascii=False).encode()):
                return made

    def _fingerprint(self, plan: Plan) -> str:
        said = {
            "contract": contract_version(plan.agreement),
            "read": schema_to_json(plan.agreement.description.schema),
            "entity": self._declared.model_dump(mode="json", exclude={"title", "title_zh", "description"}),
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def _conditions(self) -> list[str]:
        entity = self.entity
        if entity.partition_filters:
            return list(entity.partition_filters)
        if not isinstance(self.source, Partitions):
            raise ConfigurationError(
                self.ingest.thing,
                f"speaks {self.system.protocol}, which finds no ranges by itself.",
                "declare `partition_filters`: conditions that between them hold every row exactly once.",
            )
        keys = entity.keys or self.source.describe(entity).keys
        column = entity.partition_by or (keys[0] if keys else "")
        if not column:
            raise ConfigurationError(
                self.ingest.thing,
                "has no key, so nothing tells by which field it is to be cut.",
                "declare `partition_by`: a field that never changes.",
            )
        return self.source.partitions(entity, column, entity.partitions)

    def _newest(self, plan: Plan) -> str | None:
        """The cursor as it is now, from a read of that field alone."""
        description, cursor = plan.agreement.description, self.entity.cursor
        names = [cursor] if cursor else list(description.keys) or description.schema.names[:1]
        asked = self.entity.model_copy(update={"select": names, "detect_deletes": False, "soft_delete": None})
        fields = pa.schema([description.schema.field(name) for name in names])
        position: str | None = None
        for page in self.source.read(asked, replace(description, schema=fields), None):
            position = page.position if page.position is not None else position
        return position

    def _loaded(self, stored: _Stored, plan: Plan) -> load.LoadResult | None:
        """All parts landed, then loaded as one batch."""
        source, table = f"{self.system.system}.{self.entity.name}", str(self.ingest.table)
        with sync_log.hop("extract", system=self.system.system, table_name=table, inputs=[source]) as hop:
            parts = self._landed(stored, plan)
            hop.rows_in, hop.rows_out = sum(part.received_rows for part in parts), sum(part.row_count for part in parts)
            hop.rows_refused, hop.bytes = sum(part.refused_rows for part in parts), sum(part.bytes for part in parts)
            hop.until, hop.words = stored.position, f"a backfill in {len(parts)} parts"
        for _ in range(_ROUNDS):
            now = self.ingest.plan()
            if self._is_loaded(stored, now):
                return None
            manifest = self._manifest(stored, parts, now)
            key, body = (
                landing.manifest_key(manifest.system, manifest.entity, manifest.sequence),
                manifest.to_json(),
            )
            if storage.put_if_absent(key, body) or storage.get(key) == body:
                return self.ingest.load(manifest)
            load_pending(self.system, self.entity)
        raise TransientError(
            self.ingest.thing,
            f"another ingest of it was faster {_ROUNDS} times in a row.",
            "let it finish, then start the backfill again: it goes on with what was landed.",
        )

    def _is_loaded(self, stored: _Stored, plan: Plan) -> bool:
        """Whether the batch is in bronze: a crash can have come before the clearing up."""
        numbers = range(stored.sequence_before + 1, plan.sequence)
        found = (landing.read_manifest(self.system.system, self.entity.name, number) for number in numbers)
        return any(manifest is not None and manifest.started_at == stored.created_at for manifest in found)

    def _landed(self, stored: _Stored, plan: Plan) -> list[Manifest]:
        """The parts, each read unless it was before."""
        found: dict[int, Manifest] = {}
        for number in range(len(stored.conditions)):
            body = storage.get(self._record(stored, number))
            manifest = Manifest.from_json(body) if body else None
            if manifest is not None and landing.is_complete(manifest):
                found[number] = manifest
        left = [number for number in range(len(stored.conditions)) if number not in found]

        def one(number: int) -> None:
            began = time.monotonic()
            found[number] = part = self._part(stored, plan, number)
            if self.on_part:
                condition, seconds = stored.conditions[number], time.monotonic() - began
                self.on_part(
                    Progress(number, condition, part.received_rows, seconds, len(found), len(stored.conditions))
                )

        with ThreadPoolExecutor(max_workers=min(self.system.connection.concurrency, len(left) or 1)) as pool:
            running = [pool.submit(one, number) for number in left]
            try:
                for future in running:
                    future.result()
            except BaseException:
                for future in running:
                    future.cancel()
                raise
        return [found[number] for number in sorted(found)]

    def _record(self, stored: _Stored, number: int) -> str:
        return f"{self.folder}/{stored.id}/{number:05d}.json"

    def _part(self, stored: _Stored, plan: Plan, number: int) -> Manifest:
        """Read and land one part."""
        condition = stored.conditions[number]
        if self.entity.filter:
            condition = self._joined(self.entity.filter, condition)
        entity = self.entity.model_copy(update={"filter": condition, "detect_deletes": False})
        ingest = EntityIngest(self.source, self.system, entity)
        whole = replace(plan, kind="baseline", position=None)
        attempts = 0
        while True:
            batch = ingest.landing(whole, f"backfill-{stored.id}-{number:05d}")
            try:
                manifest = batch.seal(ingest.fill(batch, whole))
            except InterruptedReadError:
                batch.discard()
                attempts += 1
                if attempts >= self.system.connection.attempts:
                    raise
                time.sleep(min(0.2 * 2**attempts, self.system.connection.max_wait_seconds))
            except BaseException:
                batch.discard()
                raise
            else:
                return self._recorded(stored, number, manifest, batch)

    def _joined(self, one: str, other: str) -> str:
        """Two conditions as one, in the words of the protocol."""
        if self.system.protocol == "mongodb":
            return f'{{"$and": [{one}, {other}]}}'
        word = " and "
        if isinstance(self.system.connection, RestConnection):
            options = self.entity.options if isinstance(self.entity.options, RestOptions) else RestOptions()
            word = (options.request or self.system.connection.request).and_word
        return f"({one}){word}({other})"

    def _recorded(self, stored: _Stored, number: int, manifest: Manifest, batch: Landing) -> Manifest:
        key, body = self._record(stored, number), manifest.to_json()
        if storage.put_if_absent(key, body) or (there := storage.get(key)) is None or there == body:
            return manifest
        other = Manifest.from_json(there)
        if landing.is_complete(other):
            batch.discard()
            return other
        storage.put(key, body)
        return manifest

    def _manifest(self, stored: _Stored, parts: list[Manifest], now: Plan) -> Manifest:
        """The parts as one batch."""
        alone = now.sequence - 1 == stored.sequence_before
        is_full = self.entity.mode == "full"
        keys = [] if self.entity.events else list(now.agreement.description.keys)
        complete = bool(keys) and not is_full and alone and all(part.complete for part in parts)
        finished = datetime.now(UTC).isoformat()
        before = now.last.keys_read_at if now.last else ""
        return Manifest(
            system=self.system.system,
            entity=self.entity.name,
            sequence=now.sequence,
            mode=self.entity.mode,
            kind="full" if is_full else "baseline",
            keys=keys,
            cursors=list(now.agreement.description.cursors),
            schema=schema_to_json(now.agreement.landed),
            files=[file for part in parts for file in part.files],
            key_files=[],
            # what other batches brought meanwhile is not in the parts that were read before it: nothing is a delete
            complete=complete,
            row_count=sum(part.row_count for part in parts),
            received_rows=sum(part.received_rows for part in parts),
            superseded_rows=sum(part.superseded_rows for part in parts),
            deleted_rows=sum(part.deleted_rows for part in parts),
            unchanged_rows=sum(part.unchanged_rows for part in parts),
            rescued_rows=sum(part.rescued_rows for part in parts),
            unexpected_fields=sorted({name for part in parts for name in part.unexpected_fields}),
            content_hash="",
            position_before=None,
            # not that of other batches meanwhile: parts that are older than those are mended by what is read again
            position_after=stored.position,
            contract_version=contract_version(now.agreement),
            started_at=stored.created_at,
            finished_at=finished,
            refused_files=[file for part in parts for file in part.refused_files],
            refused_rows=sum(part.refused_rows for part in parts),
            events=list(now.events),
            keys_read_at=finished if complete else before,
        )

    def _clean(self, identity: str) -> None:
        """Clear up after a backfill that is loaded or given up; its plan goes last, for it says what there is."""
        root = landing.root(self.system.system, self.entity.name)
        for folder in (f"{root}/data/backfill-{identity}-", f"{self.folder}/{identity}/"):
            for key in list(storage.keys(folder)):
                storage.delete(key)
        storage.delete(f"{self.folder}/plan.json")
