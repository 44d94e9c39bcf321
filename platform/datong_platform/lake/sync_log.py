"""The sync log: Delta table `ops.sync_log`, one row for every hop that data made, only ever added to.

    extract   a system was asked                         load      a landed batch became part of its bronze table
    build     dbt made a table                           check     a check was made
    publish   a table went to PostgreSQL                 plan      a flow found what is to be written back
    send      requests went out to a target              verify    the target was read back

A hop that found nothing to do is told, too (`nothing new`): without it nobody could tell a quiet source from one that
was not asked. What was left as it is because it is up to date made no hop.

Hops are buffered and committed together when the outermost `run` of the process ends, or every minute of a long one. A
spool file in this installation's state holds what is not committed yet: whoever commits next also commits what a
process that was killed left there, and tells the hops that it had begun and not ended as `interrupted`. When the store
cannot be reached the spool stays, and the work that it tells of does not fail for it.

What a stream does again and again is one row for each minute: hops of one run, kind and table that ended alike and are
committed together are told as one, with the sum of their rows.

From `Entry` to rows of `ops.sync_log`, and back.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa

from datong_platform import engine
from datong_platform.errors import DatongError
from datong_platform.lake import commits, held, history, upkeep
from datong_platform.names import TableName
from datong_platform.settings import home, settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

_LOG = logging.getLogger(__name__)

SYNC_LOG = TableName("ops", "sync_log")

HopKind = Literal["extract", "load", "build", "check", "publish", "plan", "send", "verify"]
HOPS: tuple[HopKind, ...] = get_args(HopKind)
Outcome = Literal["ok", "nothing new", "partly", "failed", "interrupted"]
"""partly: it went through and held something back (rows refused, not verified, a check that warned); failed: it did
not go through; interrupted: the process that did it was killed."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

KEPT = timedelta(days=400)
"""How long hops are kept."""
_FORGET_EVERY = 500
"""Commits between two looks for hops that are older."""
_FLUSH_SECONDS = 60.0
_FLUSH_ROWS = 5000
_MAX_WORDS = 2000
_MAX_UNTIL = 500
_RANGE = " to "
_COLUMNS: dict[str, tuple[pa.DataType, bool, str]] = {
    "hop_id": (pa.string(), False, "Id of the hop"),
    "hop": (pa.string(), False, f"What was done: {', '.join(HOPS)}"),
    "system": (pa.string(), True, "The system that was read or written; null inside the lake"),
    "flow": (pa.string(), True, "The write-back flow"),
    "table_name": (pa.string(), True, "The table that was written, checked, or read for a write-back"),
    "inputs": (pa.list_(pa.string()), True, "What it was made from: tables, or system.entity of a source"),
    "run_id": (pa.string(), False, "The run that did it"),
    "cycle_id": (pa.string(), True, "The cycle that the run was part of"),
    "batch": (pa.string(), True, "Number of the batch that was landed or loaded, or id of the build"),
    "started_at": (pa.timestamp("us", "UTC"), False, "When it began, UTC"),
    "ended_at": (pa.timestamp("us", "UTC"), False, "When it ended, UTC"),
    "rows_in": (pa.int64(), True, "Rows that came, or that were looked at; of hop check the checks that were made"),
    "rows_out": (pa.int64(), True, "Rows that went on; of hop check the checks that passed"),
    "rows_refused": (pa.int64(), True, "Rows held back: unreadable, not verified; of hop check the checks that failed"),
    "until": (pa.string(), True, "How far it reached: a cursor, token or offset of the source, a version of the table"),
    "bytes": (pa.int64(), True, "Bytes written"),
    "outcome": (pa.string(), False, f"How it ended: {', '.join(OUTCOMES)}"),
    "words": (pa.string(), True, "What a person should know, the reason of a failure first of all"),
}
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=nullable, metadata={"comment": comment})
        for name, (kind, nullable, comment) in _COLUMNS.items()
    ]
)
_TIMES = ("started_at", "ended_at")


@dataclass
class Entry:
    """One hop; what its fields mean is said in `ops.sync_log`. Times are UTC; those of `hop()` are set by it."""

    hop: HopKind
    system: str | None = None
    flow: str | None = None
    table_name: str | None = None
    inputs: Sequence[str] = ()
    run_id: str = ""
    cycle_id: str | None = None
    batch: str | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    rows_in: int | None = None
    rows_out: int | None = None
    rows_refused: int | None = None
    until: str | None = None
    bytes: int | None = None
    outcome: Outcome = "ok"
    words: str | None = None
    hop_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def subject(self) -> str:
        """What it happened to, in one word: the flow, the table, or the system."""
        return self.flow or self.table_name or self.system or ""


@dataclass(frozen=True)
class Scope:
    """The run that hops belong to."""

    run_id: str
    cycle_id: str | None = None


_scope: ContextVar[Scope | None] = ContextVar("datong_sync_run", default=None)


class _Spool:
    """The hops of this process that are not committed, in memory and in a file that survives it."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.pid = os.getpid()
        self.entries: list[Entry] = []
        self.open: dict[str, Entry] = {}
        self.since = time.monotonic()
        self.path: Path | None = None
        self.file: IO[bytes] | None = None

    def write(self, kind: str, content: Any) -> None:
        """A line of the file, which is made with the first one; memory alone where no file can be."""
        try:
            if self.file is None:
                folder = _folder()
                folder.mkdir(parents=True, exist_ok=True)
                self.path = folder / f"{self.bucket}.{uuid.uuid4().hex}.jsonl"
                # not buffered: what a full disk refused would be written, or refused, once more when it is closed
                self.file = self.path.open("ab", buffering=0)
                # held for as long as this process lives: whoever gets it knows that the file is left over
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _append_line(self.file, json.dumps({kind: content}, ensure_ascii=False))
        except OSError as error:
            _LOG.warning("the sync log's spool cannot be written, hops are kept in memory: %s", error)

    def begin(self, entry: Entry) -> None:
        self.open[entry.hop_id] = entry
        self.write("begin", _plain(entry))

    def end(self, entry: Entry) -> None:
        self.open.pop(entry.hop_id, None)
        self.entries.append(entry)
        self.write("end", _plain(entry))

    def hand_over(self, other: _Spool) -> None:
        """The hops that are under way go on in another spool."""
        for entry in self.open.values():
            other.begin(entry)
            self.write("moved", entry.hop_id)

    def remove(self) -> None:
        """What it holds is committed."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the file; whoever commits next commits what it holds."""
        if self.file is not None:
            self.file.close()


def _append_line(file: IO[bytes], text: str) -> None:
    """Add a whole line, or nothing and OSError: a disk that is full takes the half of one."""
    line, end = f"{text}\n".encode(), file.seek(0, os.SEEK_END)
    if file.write(line) < len(line):
        file.truncate(end)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_lock = threading.RLock()
_committing = threading.Lock()
_spool: _Spool | None = None
_scopes: list[Scope] = []


@contextmanager
def run(run_id: str = "", cycle_id: str | None = None) -> Generator[Scope]:
    """The run that the hops of this block belong to; what was recorded is committed when the outermost block ends.

    Threads that the block starts record into it as well.
    """
    outer = _scope.get() or (_scopes[-1] if _scopes else None)
    scope = Scope(run_id or (outer.run_id if outer else uuid.uuid4().hex), cycle_id or (outer and outer.cycle_id))
    token = _scope.set(scope)
    with _lock:
        _scopes.append(scope)
    try:
        yield scope
    finally:
        with contextlib.suppress(ValueError):
            # a generator that was given up is closed wherever it was left
            _scope.reset(token)
        with _lock:
            _scopes.remove(scope)
            last = not _scopes
        if last:
            flush()


def record(entry: Entry) -> None:
    """Keep a hop that has ended. Outside of a `run` it is committed at once."""
    with _lock:
        _current().end(_scoped(entry))
        due = not _scopes or _is_due(_current())
    if due:
        flush()


def begin(entry: Entry) -> Entry:
    """A hop that is under way, for `record` to end; should this process be killed, it is told as interrupted."""
    with _lock:
        _current().begin(_scoped(entry))
    return entry


@contextmanager
def hop(
    kind: HopKind,
    *,
    system: str | None = None,
    flow: str | None = None,
    table_name: str | None = None,
    inputs: Sequence[str] = (),
    batch: str | None = None,
) -> Generator[Entry]:
    """A hop under way: fill in what is known of it; an error of the block makes it `failed` with its words."""
    entry = begin(Entry(kind, system, flow, table_name, tuple(inputs), batch=batch))
    try:
        yield entry
    except BaseException as error:
        entry.outcome = "failed" if isinstance(error, Exception) else "interrupted"
        entry.words = entry.words or (
            str(error) if isinstance(error, DatongError) else f"{type(error).__name__}: {error}"
        )
        raise
    finally:
        entry.ended_at = datetime.now(UTC)
        record(entry)


def flush() -> int:
    """Commit what is buffered, and what killed processes left; returns how many hops. Never raises for the store."""
    global _spool  # noqa: PLW0603 one buffer a process
    with _committing:
        with _lock:
            mine = _spool
            if mine is not None and mine.pid == os.getpid() and mine.entries:
                _spool = _Spool(settings().bucket)
                mine.hand_over(_spool)
            else:
                mine = None
        left = list(_left_over(settings().bucket))
        try:
            # merged spool by spool, as they would have been: so those that were committed are known again
            old = [entry for spool in left for entry in _merged(spool.entries)]
            entries = [*_merged(mine.entries if mine else ()), *_unknown(old)]
            if entries:
                _append(entries)
        except Exception as error:  # noqa: BLE001 the work that is logged must not fail for it
            _LOG.warning("the sync log could not be committed; its spool is kept for the next time: %s", error)
            for spool in (*left, *([mine] if mine else ())):
                spool.close()
            if mine is not None and mine.path is None:
                with _lock:
                    _current().entries[:0] = mine.entries
            return 0
        for spool in (*left, *([mine] if mine else ())):
            spool.remove()
        return len(entries)


def entries(
    *,
    system: str | None = None,
    flow: str | None = None,
    table_name: str | None = None,
    hop: HopKind | Collection[HopKind] | None = None,
    outcome: Outcome | None = None,
    run_id: str | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
    limit: int = 200,
) -> list[Entry]:
    """Hops that are committed, the newest first. ServiceError when the store cannot be reached."""
    wanted = {
        "system": system,
        "flow": flow,
        "table_name": table_name,
        "outcome": outcome,
        "run_id": run_id,
    }
    conditions = [f"{name} = {_text(value)}" for name, value in wanted.items() if value is not None]
    if hop is not None:
        kinds = [hop] if isinstance(hop, str) else sorted(hop)
        conditions.append(f"hop in ({', '.join(map(_text, kinds))})")
    if since is not None:
        conditions.append(f"started_at >= {_moment(since)}")
    if before is not None:
        conditions.append(f"started_at < {_moment(before)}")
    where = f"where {' and '.join(conditions)} " if conditions else ""
    return from_table(query(f"select * from log {where}order by started_at desc, hop_id limit {int(limit)}"))


def query(sql: str) -> pa.Table:
    """The result of SQL (DataFusion's) over the table `log`; no rows and no columns when there is no log yet."""
    from deltalake import QueryBuilder

    log = history.open_table(SYNC_LOG)
    if log is None:
        return pa.table({})
    return pa.table(QueryBuilder().register("log", log).execute(sql))


def last_read() -> dict[str, datetime]:
    """When each table of a source was last read to the end, UTC, by its name; also when there was nothing new."""
    found = query(
        "select table_name, max(ended_at) as ended_at from log where hop = 'extract' and table_name is not null "
        "and outcome <> 'failed' and outcome <> 'interrupted' group by table_name"
    )
    return {row["table_name"]: row["ended_at"] for row in found.to_pylist()}


def create() -> DeltaTable:
    """The log, made when it is not there yet."""
    from deltalake import DeltaTable, Schema

    now = settings()
    return DeltaTable.create(
        now.table_uri(SYNC_LOG),
        Schema.from_arrow(SCHEMA),
        mode="ignore",
        name=SYNC_LOG.name,
        description="What every hop moved: when, how much, how far, and how it ended",
        configuration={
            "delta.logRetentionDuration": "interval 30 days",
            "delta.dataSkippingStatsColumns": "started_at,ended_at,system,flow,table_name,hop,outcome",
        },
        storage_options=now.storage_options(),
    )


def _append(found: Sequence[Entry]) -> None:
    rows = pa.Table.from_pylist([{**asdict(entry), "inputs": list(entry.inputs)} for entry in found], schema=SCHEMA)
    log = held.take(SYNC_LOG) or create()
    commits.append(SYNC_LOG, log, rows)
    if log.version() % _FORGET_EVERY == 0:
        engine.retry_conflicts(lambda: log.delete(f"started_at < '{(datetime.now(UTC) - KEPT).isoformat()}'"))
    upkeep.after_load(SYNC_LOG, log.version(), log)
    held.give_back(SYNC_LOG, log)


def _current() -> _Spool:
    """The spool of this process for the bucket in force; a forked child begins its own."""
    global _spool  # noqa: PLW0603 one buffer a process
    bucket = settings().bucket
    if _spool is None or _spool.pid != os.getpid():
        _spool = _Spool(bucket)
    elif _spool.bucket != bucket:
        # another lake is spoken of now: what was buffered waits in its file for the next time that its own one is
        _spool.close()
        _spool = _Spool(bucket)
    return _spool


def _is_due(spool: _Spool) -> bool:
    return len(spool.entries) >= _FLUSH_ROWS or time.monotonic() - spool.since > _FLUSH_SECONDS


def _scoped(entry: Entry) -> Entry:
    scope = _scope.get() or (_scopes[-1] if _scopes else None)
    if not entry.run_id:
        entry.run_id = scope.run_id if scope else uuid.uuid4().hex
    if entry.cycle_id is None and scope is not None:
        entry.cycle_id = scope.cycle_id
    if entry.words:
        entry.words = entry.words[:_MAX_WORDS]
    if entry.until:
        entry.until = entry.until[:_MAX_UNTIL]
    return entry


def _folder() -> Path:
    return home() / "sync_log"


def _left_over(bucket: str) -> Iterable[_Spool]:
    """The spools of processes that are gone, theirs to commit no more; each is locked while it is held."""
    folder = _folder()
    for path in sorted(folder.glob(f"{bucket}.*.jsonl")) if folder.is_dir() else ():
        if _spool is not None and path == _spool.path:
            continue
        try:
            file = path.open("rb+")
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        spool = _Spool(bucket)
        spool.path, spool.file = path, file
        begun: dict[str, Entry] = {}
        ended = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        for line in file:
            # a line can be cut off, in the middle of a character too, where the process was killed or the disk full
            with contextlib.suppress(ValueError, TypeError, KeyError):
                content: dict[str, Any] = json.loads(line)
                if "begin" in content:
                    entry = _from_plain(content["begin"])
                    begun[entry.hop_id] = entry
                elif "end" in content:
                    entry = _from_plain(content["end"])
                    begun.pop(entry.hop_id, None)
                    spool.entries.append(entry)
                elif "moved" in content:
                    begun.pop(content["moved"], None)
        words = "the process that did it was killed; the next run goes on from what was committed"
        spool.entries += [
            replace(entry, outcome="interrupted", ended_at=max(entry.started_at, ended), words=words)
            for entry in begun.values()
        ]
        yield spool


def _merged(found: Sequence[Entry]) -> list[Entry]:
    """Hops as rows: of one run, kind, table and flow those that went well are one, as are those with nothing new."""
    rows: dict[Any, Entry] = {}
    for entry in found:
        alike = entry.outcome in {"ok", "nothing new"}
        key = (
            (entry.run_id, entry.hop, entry.system, entry.table_name, entry.flow, entry.outcome) if alike else id(entry)
        )
        first = rows.get(key)
        rows[key] = entry if first is None else _together(first, entry)
    return list(rows.values())


def _together(one: Entry, two: Entry) -> Entry:
    def total(name: str) -> int | None:
        values = [value for entry in (one, two) if (value := getattr(entry, name)) is not None]
        return sum(values) if values else None

    first, last = (one.batch or "").partition(_RANGE)[0], two.batch
    return replace(
        two,
        hop_id=one.hop_id,
        started_at=one.started_at,
        batch=f"{first}{_RANGE}{last}" if first and last and first != last else last or one.batch,
        rows_in=total("rows_in"),
        rows_out=total("rows_out"),
        rows_refused=total("rows_refused"),
        bytes=total("bytes"),
        words=two.words or one.words,
    )


def _unknown(found: Sequence[Entry]) -> list[Entry]:
    """Those that the log does not hold: a process can be killed between its commit and the removal of its spool."""
    if not found:
        return []
    first = min(entry.started_at for entry in found)
    held = query(f"select hop_id from log where started_at >= {_moment(first)}")
    known = set(held.column("hop_id").to_pylist()) if held.num_columns else set()
    return [entry for entry in found if entry.hop_id not in known]


def _plain(entry: Entry) -> dict[str, Any]:
    return {**asdict(entry), **{name: getattr(entry, name).isoformat() for name in _TIMES}}


def _from_plain(content: dict[str, Any]) -> Entry:
    times: dict[str, Any] = {name: datetime.fromisoformat(content[name]) for name in _TIMES}
    return Entry(**{**content, **times})


def from_table(rows: pa.Table) -> list[Entry]:
    """Rows of the log as entries, in their order."""
    names = {item.name for item in fields(Entry)}
    found = [Entry(**{name: value for name, value in row.items() if name in names}) for row in rows.to_pylist()]
    for entry in found:
        entry.inputs = tuple(entry.inputs or ())
    return found


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _moment(at: datetime) -> str:
    return f"to_timestamp_micros({int(at.timestamp() * 1_000_000)})"
