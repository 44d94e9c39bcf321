"""The plant's state on disk: one SQLite file, one writer at a time, many readers.

Every change of a row takes the next number of one sequence, so that "what changed since" is a range of it; a delete
leaves a tombstone. Sequence, counters and the plant's clock are committed together with the rows they belong to: an
acknowledged write survives kill -9 (write-ahead log), a half-done one leaves no trace.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sqlite3
import threading
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

from datong_platform.errors import ConfigurationError, ServiceError

from datong_infra.sandbox.model import COLLECTIONS, CRM_TABLES, ENTITY_SETS, LOG_TABLE, EntitySet, schema_sql

PLANT_ZONE = timezone(timedelta(hours=8))
"""The plant's local time, China Standard Time."""

FORMAT = 1
_TICK_MS = 10


class Store:
    """The state of one plant. Open it with the path of its file, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._guard = _only_one(path)
        self.lock = threading.RLock()
        self._depth = 0
        self._local = threading.local()
        self.db = self._connect()
        self.db.execute("pragma cache_size = -32000")
        self.db.execute("pragma journal_mode = wal")
        self.db.execute("pragma synchronous = normal")
        if not self.db.execute("select 1 from sqlite_master where name = 'meta'").fetchone():
            self.db.executescript("begin;" + schema_sql() + f"insert into meta values ('format', '{FORMAT}'); commit;")
        if self.meta("format") != str(FORMAT):
            raise ConfigurationError(
                f"sandbox state {path}",
                f"was written in format {self.meta('format')}, this program reads {FORMAT}.",
                "delete the file to begin a new plant.",
            )
        self.db.execute(LOG_TABLE)
        self.seq = 0
        self.counters: dict[str, int] = {}
        self.clock_ms = 0
        self._load_position()
        self._inserts = {
            e.name: (
                f'insert into "{e.table}" values ({", ".join("?" * len(e.fields))}, ?, ?)',
                tuple((f.name, f.initial) for f in e.fields.values()),
            )
            for e in ENTITY_SETS.values()
        }

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)

    def _load_position(self) -> None:
        self.seq = int(self.meta("seq") or 0)
        self.counters = json.loads(self.meta("counters") or "{}")
        self.clock_ms = int(self.meta("clock_ms") or 0)

    def reader(self) -> sqlite3.Connection:
        """This thread's connection for reading what is committed."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._connect()
            found.execute("pragma query_only = on")
        return found

    @contextlib.contextmanager
    def snapshot(self) -> Generator[sqlite3.Connection]:
        """A connection that sees one state of the plant until the end of the block."""
        connection = self.reader()
        connection.execute("begin")
        try:
            yield connection
        finally:
            connection.execute("commit")

    @contextlib.contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """The writer's connection; all or nothing. Within another transaction it becomes a part of that one."""
        with self.lock:
            if self._depth:
                yield self.db
                return
            self.db.execute("begin immediate")
            self._depth = 1
            try:
                yield self.db
                self._save_position()
            except BaseException:
                self.db.execute("rollback")
                self._load_position()
                raise
            else:
                self.db.execute("commit")
            finally:
                self._depth = 0

    def _save_position(self) -> None:
        self.set_meta("seq", str(self.seq))
        self.set_meta("counters", json.dumps(self.counters, sort_keys=True))
        self.set_meta("clock_ms", str(self.clock_ms))

    def meta(self, name: str) -> str | None:
        """A remembered text, as the writer sees it."""
        with self.lock:
            row = self.db.execute("select value from meta where name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_meta(self, name: str, value: str) -> None:
        """Remember a text; within a transaction it is committed with it."""
        with self.lock:
            self.db.execute("insert or replace into meta values (?, ?)", (name, value))

    def close(self) -> None:
        """Close the writer's connection, and let another process have the state."""
        with self.lock:
            self.db.close()
            self._guard.close()

    def next_seq(self) -> int:
        """The next number of the change sequence."""
        self.seq += 1
        return self.seq

    def count(self, name: str, start: int = 1) -> int:
        """The next number of the counter `name`, `start` at first."""
        value = self.counters.get(name, start - 1) + 1
        self.counters[name] = value
        return value

    def tick(self) -> int:
        """The plant's time for one outside write: a little later than anything before, in milliseconds UTC."""
        self.clock_ms += _TICK_MS
        return self.clock_ms

    def now(self) -> datetime:
        """The plant's present time, in its own zone."""
        return datetime.fromtimestamp(self.clock_ms / 1000, PLANT_ZONE)

    def put(self, entity: str, values: Mapping[str, Any]) -> None:
        """Insert a row of an ERP entity set; fields not given get their initial value."""
        sql, fields = self._inserts[entity]
        seq = self.next_seq()
        row = [values.get(name, initial) for name, initial in fields]
        row += (seq, seq)
        self.db.execute(sql, row)

    def change(self, entity: EntitySet | str, key: Sequence[Any], values: Mapping[str, Any]) -> None:
        """Change fields of one row of an ERP entity set."""
        entity = ENTITY_SETS[entity] if isinstance(entity, str) else entity
        assignments = ", ".join(f'"{name}" = ?' for name in values)
        where = " and ".join(f'"{k}" = ?' for k in entity.keys)
        self.db.execute(
            f'update "{entity.table}" set {assignments}, _seq = ? where {where}',
            [*values.values(), self.next_seq(), *key],
        )

    def remove(self, entity: str, key: Sequence[Any]) -> None:
        """Delete one row of an ERP entity set or a CRM table, and leave a tombstone for those who ask for changes."""
        if entity in ENTITY_SETS:
            table, names = ENTITY_SETS[entity].table, ENTITY_SETS[entity].keys
        else:
            table, names = f"crm_{entity}", ("id",)
        where = " and ".join(f'"{k}" = ?' for k in names)
        self.db.execute(f'delete from "{table}" where {where}', list(key))
        self.db.execute(
            "insert into tombstone values (?, ?, ?)",
            (self.next_seq(), entity, json.dumps(dict(zip(names, key, strict=True)))),
        )

    def log(
        self,
        system: str,
        entity: str,
        key: str,
        operation: str,
        changed: Mapping[str, Any],
        *,
        who: str,
        idempotency_key: str = "",
    ) -> None:
        """Add a write from outside to the system's change documents, in the transaction that is open.

        `changed` holds [before, after] of each field that the write named.
        """
        self.db.execute(
            "insert into plant_write_log values (null, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self.clock_ms, system, entity, key, operation, who, idempotency_key, json.dumps(changed)),
        )

    def logged(self, system: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        """The change documents after number `since`, oldest first; of one system or of all."""
        names = ("number", "at_ms", "system", "entity", "key", "operation", "who", "idempotency_key", "changed")
        with self.snapshot() as db:
            rows = db.execute(
                f"select {', '.join(names)} from plant_write_log where number > ? and system = coalesce(?, system)"
                " order by number",
                (since, system),
            ).fetchall()
        return [dict(zip(names, row[:-1], strict=False)) | {"changed": json.loads(row[-1])} for row in rows]

    def insert(self, table: str, *values: Any) -> None:
        """Insert a row into a MES collection or one of the plant's own tables, all its columns in order."""
        self.db.execute(f"insert into {table} values ({', '.join('?' * len(values))})", values)

    def crm_put(self, table: str, *values: Any) -> None:
        """Insert a row into a CRM table."""
        self.insert(f"crm_{table}", *values, self.next_seq())

    def crm_change(self, table: str, key: int, values: Mapping[str, Any]) -> None:
        """Change columns of one row of a CRM table."""
        assignments = ", ".join(f'"{name}" = ?' for name in values)
        self.db.execute(
            f"update crm_{table} set {assignments}, _seq = ? where id = ?", [*values.values(), self.next_seq(), key]
        )

    def row_counts(self) -> dict[str, int]:
        """How many rows each entity of each system has, as `erp.A_SalesOrder`, `mes.work-orders`, `crm.account`."""
        tables = (
            {f"erp.{e.name}": e.table for e in ENTITY_SETS.values()}
            | {f"mes.{c.path}": c.name for c in COLLECTIONS.values()}
            | {f"crm.{name}": c.name for name, c in CRM_TABLES.items()}
        )
        with self.snapshot() as db:
            return {name: db.execute(f'select count(*) from "{table}"').fetchone()[0] for name, table in tables.items()}


def _only_one(path: Path) -> IO[bytes]:
    """Lock the state for this process: the sequence and the counters are kept in memory between two commits."""
    guard = path.with_suffix(".lock").open("wb")
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        guard.close()
        raise ServiceError(
            f"sandbox state {path}", "is in use by another sandbox.", "stop that one first (`datong down`)."
        ) from error
    return guard


def utc(ms: int) -> datetime:
    """Milliseconds as an aware datetime in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)
