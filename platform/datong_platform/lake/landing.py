"""The landing zone: what was read from a system, as Parquet, and a manifest that makes it a batch.

Files lie at `landing/<system>/<entity>/data/<batch>-<unique>/part-N.parquet`. They mean nothing until the manifest
`landing/<system>/<entity>/manifest/<batch>.json` names them. The manifest is written once, last, and only if there is
none of that number: so it is the lock as well. Of two readers that race, the second finds it taken, throws its own
files away and reads again. A crash before the manifest leaves files that nobody names; they are removed later.

From Arrow pages in memory to a `Manifest` in the bucket. Memory: one part (about 32 MB) per reader.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datong_platform.errors import ServiceError
from datong_platform.lake import storage
from datong_platform.lake.columns import (
    BRONZE_FIELDS,
    ContentHash,
    compute,
    last_of_each,
    row_keys,
    schema_from_json,
    schema_to_json,
)
from datong_platform.lake.refused import DIGEST, prepared
from datong_platform.lake.retention import LANDED_BATCHES
from datong_platform.lake.statistics import delta_statistics
from datong_platform.names import BATCH_ID, INGESTED_AT, OPERATION, RESCUED

PART_BYTES = 32 * 1024 * 1024
"""Arrow bytes after which a part is written."""
KEPT_BATCHES = LANDED_BATCHES
"""How many batches keep their files after they were loaded, where the definition says nothing else."""

_MIX = np.uint64(0x9E3779B97F4A7C15)
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
"""What to keep of a word that holds so many bytes of a text."""

Kind = Literal["full", "baseline", "changes", "rebuild"]
"""`full` replaces the table's rows; `baseline` adds everything that exists and deletes for what is gone; `changes` adds
what changed; `rebuild` replaces rows and schema."""


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of a batch."""

    key: str
    rows: int
    bytes: int
    batch: str = ""
    """The batch whose number its rows bear; empty for a file of other columns than those of bronze."""
    stats: str = ""
    """What Delta's log says of such a file: its rows, and the least and the greatest of some columns, as JSON."""


@dataclass(frozen=True)
class Manifest:
    """A batch: exactly these files, read from `position_before` to `position_after`."""

    system: str
    entity: str
    sequence: int
    mode: str
    kind: Kind
    keys: list[str]
    cursors: list[str]
    """Fields that tell when a row changed."""
    schema: list[dict[str, str]]
    """The source's fields, as [{name, type}]."""
    files: list[DataFile]
    key_files: list[DataFile]
    """Keys of everything that existed when this was read; empty when they were not read."""
    complete: bool
    """The batch holds every key that exists (a baseline), or `key_files` do: what is not there was deleted."""
    row_count: int
    received_rows: int
    """Rows the system sent; received = row_count + superseded_rows + unchanged_rows + refused_rows."""
    superseded_rows: int
    """Rows left out because a later row of the same read has the same key."""
    deleted_rows: int
    """Rows among them that tell a delete."""
    unchanged_rows: int
    """Rows left out because bronze already ends with the very same row, or quarantine has it."""
    rescued_rows: int
    unexpected_fields: list[str]
    content_hash: str
    position_before: str | None
    position_after: str | None
    contract_version: str
    started_at: str
    finished_at: str
    version: int = 1
    refused_files: list[DataFile] = field(default_factory=list[DataFile])
    """What came and could not be read (`refused.LANDED`)."""
    refused_rows: int = 0
    events: list[str] = field(default_factory=list[str])
    """What happened to the source that a person should know, as a new field or a lost position."""
    keys_read_at: str = ""
    """When all keys that exist were last compared, in this batch or before; empty for never."""
    kept_batches: int = 0
    """How many batches of its entity keep their files; 0 for KEPT_BATCHES."""
    kept_days: float = 0
    """For how long they keep them, however many there are."""
    released: list[str] = field(default_factory=list[str])
    """Digests of what was in quarantine and is in this batch, because it could be read after all."""

    @property
    def batch_id(self) -> str:
        """The batch's id; ids of an entity sort in the order of loading."""
        return batch_id(self.sequence)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The source's fields as an Arrow schema."""
        return schema_from_json(self.schema)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.all_files)

    @property
    def all_files(self) -> list[DataFile]:
        """Every file of the batch."""
        return [*self.files, *self.key_files, *self.refused_files]

    def to_json(self) -> bytes:
        """The manifest as it is stored."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_json(cls, body: bytes) -> Manifest:
        """The manifest that `to_json` wrote."""
        content: dict[str, Any] = json.loads(body)
        for name in ("files", "key_files", "refused_files"):
            content[name] = [DataFile(**file) for file in content.get(name, [])]
        return cls(**content)


def batch_id(sequence: int) -> str:
    """A batch's number as its id."""
    return f"{sequence:012d}"


def root(system: str, entity: str) -> str:
    """The folder of an entity in the landing zone."""
    return f"landing/{system}/{entity}"


def manifest_key(system: str, entity: str, sequence: int) -> str:
    """Where the manifest of a batch is."""
    return f"{root(system, entity)}/manifest/{batch_id(sequence)}.json"


def read_manifest(system: str, entity: str, sequence: int) -> Manifest | None:
    """The manifest of a batch, or None when there is no such batch."""
    body = storage.get(manifest_key(system, entity, sequence))
    return None if body is None else Manifest.from_json(body)


def is_complete(manifest: Manifest) -> bool:
    """Whether the files of a batch are still there."""
    return all(storage.exists(file.key) for file in manifest.all_files)


def first_free_sequence(system: str, entity: str) -> int:
    """The number of the first batch of a table that is not there (any more).

    It is 1, so that readers that begin at once race for one number; unless the table was deleted so late that its
    first batches cannot be loaded again: then the numbers go on.
    """
    first = read_manifest(system, entity, 1)
    if first is None or is_complete(first):
        return 1
    last = max(
        int(key.rsplit("/", 1)[1].removesuffix(".json")) for key in storage.keys(f"{root(system, entity)}/manifest/")
    )
    return last + 1


def lost(key: str, thing: str) -> ServiceError:
    """What to raise when a landed file is not there."""
    return ServiceError(
        thing,
        f"landed file {key} is gone, though its manifest names it.",
        "restore it, or delete the bronze table: the next ingest then starts with a new baseline.",
    )


def read_parts(files: list[DataFile], thing: str) -> Iterator[pa.Table]:
    """The content of files, part by part; ServiceError when one is gone."""
    for file in files:
        body = storage.get(file.key)
        if body is None:
            raise lost(file.key, thing)
        yield pq.read_table(pa.BufferReader(body))


class Landing:
    """A batch in the making. Add pages, then `seal` and `commit` it, or `discard` it."""

    def __init__(
        self,
        system: str,
        entity: str,
        sequence: int,
        *,
        mode: str,
        kind: Kind,
        schema: pa.Schema,
        keys: list[str],
        cursors: list[str],
        distinct: bool,
        position: str | None,
        contract_version: str,
        events: Sequence[str] = (),
        keys_read_at: str = "",
        folder: str = "",
        kept_batches: int = 0,
        kept_days: float = 0,
    ) -> None:
        """`distinct`: of several rows with one key only the last is kept. `position`: where the read begins.
        `keys_read_at`: when all keys were compared before. `folder`: begins the name of the folder of its files.
        `kept_batches`, `kept_days`: as the manifest has them."""
        self.system, self.entity, self.sequence, self.mode = system, entity, sequence, mode
        self.kind: Kind = kind
        self.schema, self.keys, self.position_before = schema, keys, position
        self.cursors = cursors
        self._distinct = distinct and bool(keys)
        self.contract_version = contract_version
        self.events = list(events)
        self._keys_read_at = keys_read_at
        self._kept_batches, self._kept_days = kept_batches, kept_days
        self._folder = f"{root(system, entity)}/data/{folder or batch_id(sequence)}-{uuid.uuid4().hex[:12]}"
        self._landed = pa.schema([*schema, BRONZE_FIELDS[OPERATION], BRONZE_FIELDS[RESCUED]])
        self._hash = ContentHash(schema) if kind == "full" else None
        self._rescued_hash = hashlib.sha256()
        self._rows = 0
        self._started_at = datetime.now(UTC)
        self._pending: list[pa.Table] = []
        self._unhashed = 0
        """How many of the last pending pages are not in the hash yet."""
        self._pending_bytes = 0
        self._parts = _Parts(self._folder, "part", batch_id(sequence), (*keys, *cursors))
        self._key_parts = _Parts(self._folder, "keys")
        self._refused_parts = _Parts(self._folder, "refused")
        self._refused: list[pa.Table] = []
        self._refused_bytes = 0
        self._refused_again = 0
        self._digests: list[np.ndarray] = []
        self.received_rows = 0
        self.rescued_rows = 0
        self.refused_rows = 0
        self.has_refused = False
        self.unexpected: set[str] = set()
        self.has_key_set = False
        self.may_lack_keys = True
        """Keys of the table may be missing from the batch; who compared them knows better."""

    def add(self, rows: pa.Table, operations: pa.Array, rescued: pa.Array | None, unexpected: frozenset[str]) -> None:
        """Take in a page: rows of the schema, what happened to each, and what did not fit."""
        self.received_rows += len(rows)
        self.unexpected |= unexpected
        if rescued is None:
            rescued = pa.nulls(len(rows), pa.string())
        elif rescued.null_count < len(rescued):
            self._hash_rescued(rescued, self._rows)
            self.rescued_rows += len(rescued) - rescued.null_count
        self._rows += len(rows)
        columns: list[Any] = [*rows.columns, operations, rescued]
        table = pa.Table.from_arrays(columns, schema=self._landed)
        self._pending.append(table)
        self._unhashed += 1
        self._pending_bytes += table.nbytes
        if self._pending_bytes >= PART_BYTES:
            self._flush()

    def add_refused(self, refused: pa.Table, known: pa.Array | None = None) -> None:
        """Take in what could not be read (`refused.REFUSED`), but for what has a digest that is `known`."""
        self.received_rows += len(refused)
        self.has_refused |= len(refused) > 0
        table = prepared(refused)
        if known is not None:
            table = table.filter(compute.invert(compute.is_in(table.column(DIGEST), value_set=known)))
            self._refused_again += len(refused) - len(table)
        self.refused_rows += len(table)
        if not len(table):
            return
        self._refused.append(table)
        self._refused_bytes += table.nbytes
        if self._refused_bytes >= PART_BYTES:
            self._flush_refused()

    def add_keys(self, keys: pa.Table) -> None:
        """Take in a page of the keys of everything that exists."""
        self.has_key_set = True
        self._key_parts.write(keys.select(self.keys))

    @property
    def key_files(self) -> list[DataFile]:
        """The keys that were taken in so far."""
        return self._key_parts.files

    @property
    def content_hash(self) -> str:
        """The hash of what was read so far; only for a full read."""
        if self._hash is None:
            return ""
        self._hash_pending()
        digest = self._hash.hexdigest()
        if not self.rescued_rows:
            return digest
        return hashlib.sha256(digest.encode() + self._rescued_hash.digest()).hexdigest()

    def _hash_pending(self) -> None:
        """Take pages into the hash, many at once: each call costs as much as a thousand rows."""
        if self._hash is not None and self._unhashed:
            pages = self._pending[-self._unhashed :]
            self._hash.add(pa.concat_tables(pages).combine_chunks() if pages[1:] else pages[0])
        self._unhashed = 0

    def _hash_rescued(self, rescued: pa.Array, first: int) -> None:
        """What did not fit is content as well: a full read that differs only there is news."""
        if self._hash is None:
            return
        for row, text in enumerate(rescued.to_pylist(), first):
            if text is not None:
                self._rescued_hash.update(f"{row}:{len(text)}:{text}".encode())

    def seal(self, position: str | None, without_known: Callable[[pa.Table], pa.Table] | None = None) -> Manifest:
        """Write the files and draw up the manifest; `commit` makes it count.

        `without_known` takes away rows that are known already; it is asked only when the batch is a single part, for
        it is there to keep small increments small, and nothing depends on it.
        """
        superseded, unchanged = 0, self._refused_again
        self._hash_pending()
        self._flush_refused()
        if not self._parts.files:
            table = pa.concat_tables(self._pending) if self._pending else self._landed.empty_table()
            if self._distinct:
                table, superseded = self._without_superseded(table)
            if without_known is not None and len(table):
                before = len(table)
                table = without_known(table)
                unchanged += before - len(table)
            self._pending = []
            if len(table):
                self._parts.write(table)
        else:
            self._flush()
            superseded = self._rewrite_superseded()
        # a row that could not be read is there all the same: its key must not count as deleted
        complete = bool(self.keys) and (self.has_key_set or (self.kind == "baseline" and not self.has_refused))
        now = datetime.now(UTC).isoformat()
        return Manifest(
            system=self.system,
            entity=self.entity,
            sequence=self.sequence,
            mode=self.mode,
            kind=self.kind,
            keys=self.keys,
            cursors=self.cursors,
            schema=schema_to_json(self.schema),
            files=self._parts.files,
            key_files=self._key_parts.files,
            complete=complete,
            row_count=sum(file.rows for file in self._parts.files),
            received_rows=self.received_rows,
            superseded_rows=superseded,
            deleted_rows=self._parts.deletes,
            unchanged_rows=unchanged,
            rescued_rows=self.rescued_rows,
            unexpected_fields=sorted(self.unexpected),
            content_hash=self.content_hash,
            position_before=self.position_before,
            position_after=position,
            contract_version=self.contract_version,
            started_at=self._started_at.isoformat(),
            finished_at=now,
            refused_files=self._refused_parts.files,
            refused_rows=self.refused_rows,
            events=self.events,
            kept_batches=self._kept_batches,
            kept_days=self._kept_days,
            keys_read_at=now if complete else self._keys_read_at,
        )

    def commit(self, manifest: Manifest) -> bool:
        """Make the batch count: False when another reader was first with this number, and this one's files are gone."""
        key, body = manifest_key(self.system, self.entity, self.sequence), manifest.to_json()
        # a refusal can be the echo of our own write whose reply was lost
        if storage.put_if_absent(key, body) or storage.get(key) == body:
            return True
        self.discard()
        return False

    def discard(self) -> None:
        """Throw away what was written."""
        for file in (*self._parts.files, *self._key_parts.files, *self._refused_parts.files):
            storage.delete(file.key)

    def _flush_refused(self) -> None:
        if self._refused:
            self._refused_parts.write(pa.concat_tables(self._refused))
            self._refused, self._refused_bytes = [], 0

    def _flush(self) -> None:
        if not self._pending:
            return
        self._hash_pending()
        table = pa.concat_tables(self._pending)
        if self._distinct:
            self._digests.append(digests(row_keys(table, self.keys)))
        self._parts.write(table)
        self._pending, self._pending_bytes = [], 0

    def _without_superseded(self, table: pa.Table) -> tuple[pa.Table, int]:
        keys = row_keys(table, self.keys)
        kept = last_of_each(_apart_when_null(keys, table, self.keys))
        return (table, 0) if len(kept) == len(table) else (table.take(pa.array(kept)), len(table) - len(kept))

    def _rewrite_superseded(self) -> int:
        """Leave out rows whose key comes again later, in a batch of several parts. Digests find the few keys that may
        come twice, the keys themselves decide."""
        if not self._digests:
            return 0
        digests, counts = np.unique(np.concatenate(self._digests), return_counts=True)
        twice = digests[counts > 1]
        if not len(twice):
            return 0
        seen: set[str] = set()
        superseded = 0
        for index in range(len(self._parts.files) - 1, -1, -1):
            suspects = np.flatnonzero(np.isin(self._digests[index], twice))
            if not len(suspects):
                continue
            table = next(read_parts([self._parts.files[index]], f"{self.system}.{self.entity}"))
            keys = _apart_when_null(row_keys(table, self.keys), table, self.keys, index).take(pa.array(suspects))
            keep = np.ones(len(table), dtype=bool)
            for row, key in reversed(list(zip(suspects.tolist(), keys.to_pylist(), strict=True))):
                keep[row] = key not in seen
                seen.add(key)
            if not keep.all():
                superseded += int((~keep).sum())
                self._parts.rewrite(index, table.filter(pa.array(keep)))
        return superseded


class _Parts:
    """Parquet files in one folder."""

    def __init__(self, folder: str, name: str, batch: str = "", told: Sequence[str] = ()) -> None:
        """`batch`: its rows get the columns of bronze, so that the load can take the files over as they are. `told`:
        columns whose bounds Delta's log is to tell."""
        self._folder, self._name, self._batch = folder, name, batch
        self._told = (*told, BATCH_ID, INGESTED_AT, OPERATION)
        self.files: list[DataFile] = []
        self._deletes: list[int] = []

    @property
    def deletes(self) -> int:
        return sum(self._deletes)

    def write(self, table: pa.Table) -> None:
        self._deletes.append(_deletes(table))
        self.files.append(self._put(f"{self._folder}/{self._name}-{len(self.files):05d}.parquet", table))

    def rewrite(self, index: int, table: pa.Table) -> None:
        self._deletes[index] = _deletes(table)
        self.files[index] = self._put(self.files[index].key, table)

    def _put(self, key: str, table: pa.Table) -> DataFile:
        if self._batch:
            table = with_batch(table, self._batch, datetime.now(UTC))
        body = parquet(table)
        storage.put(key, body)
        stats = delta_statistics(table, self._told) if self._batch else ""
        return DataFile(key, len(table), len(body), self._batch, stats)


def with_batch(table: pa.Table, batch: str, moment: datetime) -> pa.Table:
    """Rows with the columns that say in which batch and when they came, those that they had replaced."""
    table = table.drop_columns([name for name in (BATCH_ID, INGESTED_AT) if name in table.column_names])
    for name, value in ((BATCH_ID, batch), (INGESTED_AT, moment)):
        field = BRONZE_FIELDS[name]
        table = table.append_column(field, pa.repeat(pa.scalar(value, field.type), len(table)))
    return table


def parquet(table: pa.Table) -> bytes:
    """Rows as the Parquet file that is kept of them."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=1, store_decimal_as_integer=True)
    return sink.getvalue().to_pybytes()


def _deletes(table: pa.Table) -> int:
    if OPERATION not in table.column_names:
        return 0
    return compute.sum(compute.equal(table.column(OPERATION), "delete")).as_py() or 0


def digests(keys: pa.Array) -> np.ndarray:
    """A number of 64 bits for each text, the same for the same text: eight bytes at a time of all texts at once."""
    _, offsets, content = keys.buffers()
    ends = np.frombuffer(offsets, np.int32)[keys.offset : keys.offset + len(keys) + 1].astype(np.int64)
    found = (ends[1:] - ends[:-1]).astype(np.uint64) * _MIX
    if content is None:
        return found
    # seven bytes more, so that the last word of the last text can be taken from where it begins
    padded = np.concatenate([np.frombuffer(content, np.uint8)[: int(ends[-1])], np.zeros(8, np.uint8)])
    words = np.lib.stride_tricks.as_strided(padded[: len(padded) - 7].view(), (len(padded) - 7, 8), (1, 1))
    starts, left = ends[:-1].copy(), ends[1:] - ends[:-1]
    rows = np.flatnonzero(left > 0)
    while len(rows):
        word = words[starts[rows]].reshape(-1).view(np.uint64)
        short = np.minimum(left[rows], 8)
        word &= _MASKS[short]
        mixed = (found[rows] ^ word) * _MIX
        found[rows] = mixed ^ (mixed >> np.uint64(29))
        starts[rows] += 8
        left[rows] -= 8
        rows = rows[left[rows] > 0]
    return found


def _apart_when_null(keys: pa.Array, table: pa.Table, columns: list[str], part: int = 0) -> pa.Array:
    """Keys in which a row without a complete key equals no other: it must not push another out."""
    incomplete = np.zeros(len(table), dtype=bool)
    for name in columns:
        if table.column(name).null_count:
            incomplete |= compute.is_null(table.column(name)).to_numpy(zero_copy_only=False)
    if not incomplete.any():
        return keys
    texts = keys.to_pylist()
    return pa.array([f"?{part}:{i}" if lone else texts[i] for i, lone in enumerate(incomplete)], pa.string())


def remove_old(manifest: Manifest) -> None:
    """Remove the files of the batch that is the first that need not be kept after this one, left-overs of crashes
    included. What is kept for its days is left to upkeep."""
    system, entity = manifest.system, manifest.entity
    old = manifest.sequence - (manifest.kept_batches or KEPT_BATCHES)
    if old <= 0:
        return
    limit = datetime.now(UTC) - timedelta(days=manifest.kept_days)
    for found in list(storage.listing(f"{root(system, entity)}/data/{batch_id(old)}-")):
        if not manifest.kept_days or found.written_at < limit:
            storage.delete(found.key)


def left_over(
    system: str, entity: str, age: timedelta, loaded: int, *, batches: int = 0, days: float = 0
) -> list[storage.Listed]:
    """Landed files that need not be kept: of batches that were loaded, beyond the last `batches` (KEPT_BATCHES for 0)
    and older than `days`; and files older than `age` that no manifest of the last batches names.

    What a batch that waits to be loaded names, one after number `loaded`, is kept however old it is.
    """
    kept_batches = batches or KEPT_BATCHES
    folder = f"{root(system, entity)}/manifest/"
    last = max((int(key[len(folder) :].removesuffix(".json")) for key in storage.keys(folder)), default=0)
    first = max(1, min(last, loaded) - kept_batches + 1)
    kept = [read_manifest(system, entity, number) for number in range(first, last + 1)]
    named = {file.key for manifest in kept if manifest for file in manifest.all_files}
    now = datetime.now(UTC)
    data = f"{root(system, entity)}/data/"

    def is_done(key: str) -> bool:
        number = key[len(data) :].partition("-")[0]
        return number.isdigit() and int(number) < first

    return [
        found
        for found in storage.listing(data)
        if found.key not in named
        and found.written_at < now - timedelta(days=days)
        and (found.written_at < now - age or is_done(found.key))
    ]
