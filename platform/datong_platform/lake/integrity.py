"""Whether the lake is whole: does every table have its log, and every file that the log names?

A table is what its log says. So each log is looked at: are its entries there without a gap since the newest checkpoint,
is that checkpoint there, does it end where it ended when it was last seen whole, is every file there that it names? And
the landing zone: are the files there of every batch that is not loaded yet?

A log whose last entry is gone does not show it: the table is merely as it was before. So a witness is kept in the
bucket, the version of every table as of the last upkeep, build or backup; a table that is behind it has lost something.
Sail's checksums, which lie beside its commits, bear witness as well.

Nothing is changed here; `lake.mending` mends what the lake itself can mend.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from datong_platform.errors import ServiceError, TerminalError
from datong_platform.lake import builds, history, landing, storage
from datong_platform.names import CANDIDATES, SCHEMAS, TableName, bronze, parse
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

WITNESS = "_datong/witness.json"
_AT_ONCE = 8
_PARTS = re.compile(r"^(?P<version>\d{20})\.checkpoint(?:\.(?P<part>\d{10})\.(?P<of>\d{10}))?(?:\..+)?\.parquet$")
_ENTRY = re.compile(r"^(?P<version>\d{20})\.(?P<kind>json|crc)$")

Kind = Literal["log", "behind", "checkpoint", "history", "files", "landing"]
"""log: the table cannot be opened; behind: it can, and its newest versions are gone; checkpoint: it cannot be opened
because the one that is pointed to is gone; history: an older version cannot be read; files: rows are gone; landing: a
batch cannot be loaded."""


@dataclass(frozen=True)
class Damage:
    """What was lost of one table, or of one batch that waits to be loaded."""

    thing: str
    kind: Kind
    reason: str
    keys: tuple[str, ...] = ()
    """The objects that are gone, where it is known which."""

    @property
    def is_loss(self) -> bool:
        """Whether rows, or the way to them, are gone; else only a look back is."""
        return self.kind != "history"


@dataclass
class Log:
    """What lies in a table's folder: the versions of its log, and its other objects."""

    table: TableName
    commits: set[int] = field(default_factory=set[int])
    checkpoints: set[int] = field(default_factory=set[int])
    checksums: set[int] = field(default_factory=set[int])
    objects: dict[str, datetime] = field(default_factory=dict[str, datetime])
    """Keys below the folder, without its path, and when each was written."""

    @property
    def last(self) -> int:
        """The newest version that the log tells of; -1 for none."""
        return max(self.commits | self.checkpoints, default=-1)

    @property
    def first_needed(self) -> int:
        """The first commit that is needed to open the newest version."""
        return max(self.checkpoints, default=-1) + 1

    def key(self, version: int) -> str:
        """The key of a commit."""
        return f"{self.table.path}/_delta_log/{version:020d}.json"


def look_into(table: TableName) -> Log:
    """The log of a table as its folder shows it; empty when there is none."""
    found = Log(table)
    parts: dict[int, list[re.Match[str]]] = {}
    for listed in storage.listing(f"{table.path}/"):
        name = listed.key.removeprefix(f"{table.path}/")
        found.objects[name] = listed.written_at
        entry = name.removeprefix("_delta_log/")
        if entry == name:
            continue
        if match := _ENTRY.match(entry):
            (found.commits if match["kind"] == "json" else found.checksums).add(int(match["version"]))
        elif match := _PARTS.match(entry):
            parts.setdefault(int(match["version"]), []).append(match)
    for version, matches in parts.items():
        if any(match["of"] is None or len(matches) == int(match["of"]) for match in matches):
            found.checkpoints.add(version)
    return found


def examine() -> list[Damage]:
    """All that is damaged in the lake, by table. ServiceError when the store does not answer."""
    witness = read_witness()
    folders = {TableName(schema, name) for schema in SCHEMAS for name in storage.folders(f"{schema}/")}
    tables = sorted(folders | witness.keys())
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        found = [damage for damages in pool.map(partial(_examined, witness), tables) for damage in damages]
    return [*found, *_landing()]


def examine_table(table: TableName) -> list[Damage]:
    """All that is damaged of one table."""
    return _examined(read_witness(), table)


def _examined(witness: Mapping[TableName, tuple[str, int]], table: TableName) -> list[Damage]:
    return list(_examine(look_into(table), witness.get(table)))


def _examine(log: Log, seen: tuple[str, int] | None) -> Iterator[Damage]:
    thing = f"table {log.table}"
    if log.last < 0:
        if seen is not None or log.checksums:
            yield Damage(thing, "log", "its whole log is gone.", (log.key(seen[1]),) if seen else ())
        return
    gone = [version for version in range(log.first_needed, log.last + 1) if version not in log.commits]
    if gone:
        without = "the checkpoint before it" if gone[0] == 0 and log.commits and min(log.commits) > 0 else "an entry"
        lacks, keys = _ranges(gone), [log.key(version) for version in gone]
        if (pointer := _pointer(log, thing)) is not None:
            keys += pointer.keys
        yield Damage(
            thing,
            "log",
            f"cannot be opened: {without} of its log is gone (version {lacks} of {log.last}).",
            tuple(keys),
        )
        return
    if (dangling := _pointer(log, thing)) is not None:
        # readers follow the pointer, so the table cannot be opened until it is mended
        yield dangling
        return
    try:
        delta = history.open_table(log.table)
    except ServiceError as error:
        yield Damage(thing, "log", error.reason)
        return
    if delta is None:
        return
    last_seen = max([seen[1] if seen and seen[0] == str(delta.metadata().id) else -1, *log.checksums])
    if last_seen > log.last:
        yield Damage(
            thing,
            "behind",
            f"was at version {last_seen} and is at {log.last}: the newest entries of its log are gone.",
            tuple(log.key(version) for version in range(log.last + 1, last_seen + 1)),
        )
    if earlier := [v for v in range(min(log.commits, default=0), log.first_needed) if v not in log.commits]:
        yield Damage(
            thing,
            "history",
            f"is whole, but versions {_ranges(earlier)} of its past cannot be told any more.",
            tuple(log.key(version) for version in earlier),
        )
    yield from _files(log, delta, thing)


def pointed_to(table: TableName) -> int | None:
    """The version of the checkpoint that a table's log points readers to; None when it points to none."""
    body = storage.get(f"{table.path}/_delta_log/_last_checkpoint")
    return None if body is None else _version(body)


def _pointer(log: Log, thing: str) -> Damage | None:
    version = pointed_to(log.table)
    if version is None or version in log.checkpoints:
        return None
    words = f"cannot be opened: its newest checkpoint, of version {version}, is gone."
    return Damage(thing, "checkpoint", words, (_checkpoint_key(log, version),))


def _checkpoint_key(log: Log, version: int) -> str:
    return f"{log.table.path}/_delta_log/{version:020d}.checkpoint.parquet"


def _version(pointer: bytes) -> int:
    try:
        return int(json.loads(pointer)["version"])
    except (ValueError, KeyError, TypeError):
        return -1


def _files(log: Log, delta: DeltaTable, thing: str) -> Iterator[Damage]:
    """Files that the newest version names, or the one that people read, and that are not there."""
    yield from _missing(log, delta, thing, "rows are gone: ")
    if log.table.schema not in CANDIDATES:
        return
    shown = builds.published().get(log.table)
    if shown is None or shown.version.number == delta.version():
        return
    try:
        yield from _missing(log, builds.open_version(log.table, shown.version), thing, "people read a version whose ")
    except TerminalError as error:
        yield Damage(thing, "files", f"what people read cannot be opened: it {error.reason}")


def _missing(log: Log, delta: DeltaTable, thing: str, words: str) -> Iterator[Damage]:
    place = f"{delta.table_uri.rstrip('/')}/"
    named = [uri.removeprefix(place) for uri in delta.file_uris()]
    if gone := [name for name in named if name not in log.objects]:
        yield Damage(
            thing,
            "files",
            f"{words}{len(gone)} of {len(named)} files are not there, {gone[0]} for one.",
            tuple(f"{log.table.path}/{name}" for name in gone),
        )


def _landing() -> Iterator[Damage]:
    """Batches that are not loaded yet and lack a file."""
    for system in storage.folders("landing/"):
        for entity in storage.folders(f"landing/{system}/"):
            delta = _opened(bronze(system, entity))
            last = delta.transaction_version(history.application_id(bronze(system, entity))) or 0 if delta else 0
            number = last + 1
            while manifest := landing.read_manifest(system, entity, number):
                gone = tuple(file.key for file in manifest.all_files if not storage.exists(file.key))
                if gone and (delta is not None or number > landing.KEPT_BATCHES or not _was_loaded(manifest)):
                    yield Damage(
                        f"batch {system}.{entity} {manifest.batch_id}",
                        "landing",
                        f"waits to be loaded, and {len(gone)} of its landed files are gone, {gone[0]} for one.",
                        gone,
                    )
                number += 1


def _was_loaded(manifest: landing.Manifest) -> bool:
    """Whether later batches exist: then its files went because it was loaded, and its table was deleted since."""
    return landing.read_manifest(manifest.system, manifest.entity, manifest.sequence + 1) is not None


def _opened(table: TableName) -> DeltaTable | None:
    try:
        return history.open_table(table)
    except ServiceError:
        # its own log is damaged, which is told by itself
        return None


def read_witness() -> dict[TableName, tuple[str, int]]:
    """The id and version of each table when the lake was last seen."""
    body = storage.get(WITNESS)
    content: dict[str, Any] = json.loads(body)["tables"] if body else {}
    return {parse(name): (entry["id"], entry["version"]) for name, entry in content.items()}


def bear_witness() -> int:
    """Write down the version of every table that can be opened; how many. A table that is behind stays as it was seen,
    until it was mended (`forget`)."""
    before = read_witness()
    tables = sorted({TableName(schema, name) for schema in SCHEMAS for name in storage.folders(f"{schema}/")})
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        opened = pool.map(_opened, tables)
        now = {
            table: (str(delta.metadata().id), delta.version())
            for table, delta in zip(tables, opened, strict=True)
            if delta is not None
        }
    for table, (delta_id, version) in before.items():
        known = now.get(table)
        if known is None or (known[0] == delta_id and known[1] < version):
            now[table] = (delta_id, version)
    _write_witness(now)
    return len(now)


def forget(table: TableName) -> None:
    """Take a table as it is now: it was mended as far as it can be, or is meant to be made anew."""
    known = read_witness()
    if table not in known:
        return
    delta = _opened(table)
    if delta is None:
        del known[table]
    else:
        known[table] = (str(delta.metadata().id), delta.version())
    _write_witness(known)


def _write_witness(tables: Mapping[TableName, tuple[str, int]]) -> None:
    content = {
        "at": datetime.now(UTC).isoformat(),
        "bucket": settings().bucket,
        "tables": {str(name): {"id": id_, "version": version} for name, (id_, version) in sorted(tables.items())},
    }
    storage.put(WITNESS, json.dumps(content, indent=1).encode())


def _ranges(versions: list[int]) -> str:
    """Versions in words: 3, 5 to 9."""
    found: list[list[int]] = []
    for version in versions:
        if found and version == found[-1][1] + 1:
            found[-1][1] = version
        else:
            found.append([version, version])
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in found)
