"""PostgreSQL, through ADBC (Arrow-native, binary COPY underneath); its catalog through psycopg.

A big table is read in ranges of its pages (`ctid`), by several connections in one exported snapshot: the driver takes
rows apart in one thread a connection, and needs longer for it than all the rest needs with them.
Types from the catalog: numeric(p,s) to an exact decimal (38,18 where it has none), timestamptz to UTC, what has no
counterpart to its text. Guards against values that Arrow or Delta cannot hold: infinite dates, NaN in a decimal, texts
of a database in SQL_ASCII.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import date, datetime
from typing import Any

import psycopg
import pyarrow as pa
from datong_platform.errors import ConfigurationError
from datong_platform.lake.columns import LOCAL_TIMESTAMP, UTC_TIMESTAMP
from datong_platform.silence import Watch, patient
from psycopg import conninfo

from datong_ingestion.connections.sql import SqlConnection
from datong_ingestion.protocols.databases.dialect import CURSOR, Column, Dialect, Meaning, Relation, Snapshot, cast
from datong_ingestion.systems_config import EntityConfig
from datong_ingestion.values import Rescue, column, converter

_UNBOUNDED_DECIMAL = pa.decimal128(38, 18)

# types by their OIDs (pg_type.dat); every other is read as its text
_TYPES: dict[int, pa.DataType] = {
    16: pa.bool_(),
    17: pa.binary(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    25: pa.string(),
    700: pa.float32(),
    701: pa.float64(),
    1042: pa.string(),
    1043: pa.string(),
    1082: pa.date32(),
    1114: LOCAL_TIMESTAMP,
    1184: UTC_TIMESTAMP,
}
_NUMERIC = 1700
# SQLSTATE classes (PostgreSQL manual, appendix A); a failed connection tells its reason in words only
_REFUSED_STATES = ("28", "42501")
_REFUSED_WORDS = ("password authentication failed", "permission denied", "no pg_hba.conf", "no password supplied")
_UNKNOWN_STATES = ("3D", "3F", "42P01", "42703", "42601", "42883")
_PASSING_STATES = ("08", "53", "57P", "40001")
_PASSING_WORDS = ("connection", "timeout", "timed out", "could not translate", "server closed", "terminating")
MUCH_BYTES = 64 * 1024 * 1024
"""A read of so much takes seconds: another connection pays."""
RANGE_BYTES = 16 * 1024 * 1024
"""What one statement reads of it: enough that the statement itself is nothing."""
_DEARER = 1.5
"""How much more all ranges together may cost than the whole, in the planner's words: a page more or less for each."""
_SIZE = """
with recursive part as (
    select c.oid from pg_class c where c.oid = %s::regclass and c.relkind in ('r', 'm', 'p')
    union all select i.inhrelid from pg_inherits i join part on i.inhparent = part.oid
)
select sum(pg_table_size(oid)), max(pg_relation_size(oid)) / current_setting('block_size')::bigint from part
"""
# a proxy may lead each connection to another server, and a server may have an older snapshot of the same name
_MOMENT = "pg_postmaster_start_time()::text || ' ' || current_database() || ' ' || pg_current_snapshot()::text"
# what Delta, Spark and BI tools hold; PostgreSQL goes from 4713 BC to 294276 AD and to infinity
_RANGES = {
    1082: ("date '0001-01-01'", "date '9999-12-31'"),
    1114: ("timestamp '0001-01-01'", "timestamp '9999-12-31 23:59:59.999999'"),
    1184: ("timestamptz '0001-01-01 00:00:00+00'", "timestamptz '9999-12-31 23:59:59.999999+00'"),
}


class PostgreSql(Dialect):
    """A PostgreSQL database."""

    schemes = ("postgresql", "postgres")
    example = "postgresql://user:password@host:port/database"
    default_schema = "public"

    def __init__(self, connection: SqlConnection, thing: str) -> None:
        """ConfigurationError when the URL cannot be read."""
        super().__init__(connection, thing)
        try:
            parts = conninfo.conninfo_to_dict(connection.url)
        except psycopg.ProgrammingError as error:
            raise ConfigurationError(
                thing, "has a url that cannot be read.", "percent-encode its user and password."
            ) from error
        self.secrets = {str(parts[name]) for name in ("password", "sslpassword") if parts.get(name)}
        self.address = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
        wait = str(max(2, int(min(connection.timeout_seconds, 10))))
        silence = str(int(connection.timeout_seconds * 1000))
        given = {name: value for name, value in parts.items() if value is not None}
        self._catalogs: deque[psycopg.Connection[tuple[Any, ...]]] = deque()
        self._readers: deque[_Reader] = deque()
        self._conninfo = conninfo.make_conninfo(
            "",
            **{
                "connect_timeout": wait,
                "application_name": "datong",
                "client_encoding": "UTF8",
                "keepalives_idle": "30",
                "tcp_user_timeout": silence,
                **given,
            },
        )

    def entities(self, thing: str) -> list[str]:
        """Of all schemas but PostgreSQL's own."""
        with self._catalog() as catalog:
            rows = catalog.execute(
                "select table_schema || '.' || table_name from information_schema.tables "
                "where table_schema not in ('pg_catalog', 'information_schema') order by 1"
            ).fetchall()
        return [row[0] for row in rows]

    def relation(self, entity: EntityConfig, thing: str) -> Relation:
        """By the description of an empty result, whose types carry precision and scale."""
        with self._catalog() as catalog:
            extra = f", ({entity.cursor_expression}) as {CURSOR}" if entity.cursor_expression else ""
            described = (
                catalog.execute(f"select *{extra} from {self.source(entity)} limit 0".encode()).description or []
            )
            keys: list[tuple[Any, ...]] = []
            if not entity.query:
                keys = catalog.execute(
                    "select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid "
                    "and a.attnum = any(i.indkey) where i.indrelid = %s::regclass and i.indisprimary "
                    "order by array_position(i.indkey::int2[], a.attnum)",
                    [self.source(entity)],
                ).fetchall()
            oids = [item.type_code for item in described]
            arrays = {
                row[0]
                for row in catalog.execute(
                    "select oid from pg_type where oid = any(%s) and typcategory = 'A'", [oids]
                ).fetchall()
            }
            encoding = catalog.execute("select current_setting('server_encoding')").fetchone()
        columns = [self._column(item, item.type_code in arrays) for item in described if item.name != CURSOR]
        cursor = [
            Column(CURSOR, _kind(item), f"({entity.cursor_expression})") for item in described if item.name == CURSOR
        ]
        checked = encoding is not None and encoding[0] == "SQL_ASCII"
        return Relation(
            tuple(columns), tuple(row[0] for row in keys), cursor[0] if cursor else None, _checked if checked else cast
        )

    def _column(self, item: Any, is_array: bool) -> Column:
        name = self.quoted(item.name)
        if item.type_code in _RANGES:
            low, high = _RANGES[item.type_code]
            return Column(
                item.name,
                _kind(item),
                name,
                inside=f"case when {name} between {low} and {high} then {name} end",
                outside=f"case when {name} not between {low} and {high} then {name}::text end",
            )
        if item.type_code == _NUMERIC:
            # the driver takes four times as long to write a number down as the server does
            return Column(item.name, _kind(item), name, text="{}::text".format)
        plain = item.type_code in _TYPES
        inside = f"to_json({name})::text" if is_array else "" if plain else f"{name}::text"
        return Column(item.name, _kind(item), name, inside=inside)

    def snapshot(self, thing: str) -> Snapshot:
        """Repeatable read, on a connection that an earlier read of this source left when it ended well."""
        reader = _begun(self._readers)
        if reader is None:
            reader = self._reader().open()
            reader.begin()
        return _Snapshot(reader, self._readers, self._reader)

    def _reader(self) -> _Reader:
        return _Reader(self._conninfo, self.connection.timeout_seconds)

    def cuts(self, entity: EntityConfig, statement: Callable[[str], str]) -> list[str]:
        """Ranges of pages, of a table or a materialized view with what it inherits.

        Only where the planner finds the rows of a range by their place (PostgreSQL 14 and later, and no foreign table),
        so that all ranges together cost the server no more than the whole.
        """
        if entity.query:
            return []
        # what cannot tell its size or explain a read is read as a whole
        with suppress(psycopg.Error), self._catalog() as catalog:
            found = catalog.execute(_SIZE, [self.source(entity)]).fetchone()
            size, pages = (int(found[0] or 0), int(found[1] or 0)) if found else (0, 0)
            count = min(size // RANGE_BYTES, pages)
            if size < MUCH_BYTES or count < 2:
                return []
            bounds = [pages * part // count for part in range(1, count)]
            ranges = [
                f"ctid < '({bounds[0]},0)'",
                *(f"ctid >= '({low},0)' and ctid < '({high},0)'" for low, high in itertools.pairwise(bounds)),
                f"ctid >= '({bounds[-1]},0)'",
            ]
            whole, part = (_explained(catalog, statement(text)) for text in ("", ranges[count // 2]))
            if (
                whole["Plan Rows"] * whole["Plan Width"] >= MUCH_BYTES
                and part["Total Cost"] * count <= whole["Total Cost"] * _DEARER
                and _by_place(part)
            ):
                return ranges
        return []

    def writer(self, thing: str) -> psycopg.Connection[tuple[Any, ...]]:
        """Read committed, as the server has it by default."""
        connection = patient(self._conninfo, self.connection.timeout_seconds)
        connection.execute("set time zone 'UTC'")
        connection.autocommit = False
        return connection

    def is_duplicate(self, error: Exception) -> bool:
        return isinstance(error, psycopg.errors.UniqueViolation)

    def close(self) -> None:
        """Let go of the connections that wait for their next use."""
        for idle in (self._catalogs, self._readers):
            with suppress(IndexError):
                while True:
                    idle.popleft().close()

    @contextmanager
    def _catalog(self) -> Generator[psycopg.Connection[tuple[Any, ...]]]:
        """A connection for questions to the catalog. It is kept for the next: to open one costs the server more than
        all that is asked of it."""
        connection = self._idle_catalog() or patient(self._conninfo, self.connection.timeout_seconds)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._catalogs.append(connection)

    def _idle_catalog(self) -> psycopg.Connection[tuple[Any, ...]] | None:
        with suppress(IndexError):
            while True:
                connection = self._catalogs.popleft()
                with suppress(psycopg.Error):
                    connection.execute("select 1")
                    return connection
                connection.close()
        return None

    def meaning(self, error: Exception) -> Meaning:
        """Both drivers speak through libpq, whose messages carry the SQLSTATE or not."""
        state = str(getattr(error, "sqlstate", "") or "")
        said = str(error).lower()

        def is_one(states: tuple[str, ...], words: tuple[str, ...]) -> bool:
            return state.startswith(states) or any(word in said for word in words)

        if is_one(_REFUSED_STATES, _REFUSED_WORDS):
            return "refused"
        if is_one(_UNKNOWN_STATES, ("does not exist",)):
            return "unknown"
        return "passing" if is_one(_PASSING_STATES, _PASSING_WORDS) else "other"

    def literal(self, bound: Any, kind: pa.DataType) -> str:
        """As PostgreSQL writes it, with its type."""
        if isinstance(bound, datetime):
            return f"{'timestamptz' if kind.tz else 'timestamp'} '{bound.isoformat()}'"
        if isinstance(bound, date):
            return f"date '{bound.isoformat()}'"
        if isinstance(bound, str):
            return "'" + bound.replace("'", "''") + "'"
        return str(bound)

    def digest(self, keys: Sequence[str]) -> str:
        """By `md5`, of the key in UTF-8 whatever the database's encoding is."""
        joined = ", ".join(f"coalesce({key}::text, '')" for key in keys)
        hashed = f"md5(convert_to(concat_ws('/', {joined}), 'UTF8'))"
        return f"sum(('x' || substr({hashed}, 1, 15))::bit(60)::bigint)::text"


def _explained(catalog: psycopg.Connection[tuple[Any, ...]], statement: str) -> dict[str, Any]:
    found = catalog.execute(f"explain (format json) {statement}".encode()).fetchone()
    return found[0][0]["Plan"] if found else {}


def _by_place(plan: dict[str, Any]) -> bool:
    """Whether a range is found by the place of its rows; the planner takes small partitions as a whole."""
    other = sum(leaf["Total Cost"] for leaf in _leaves(plan) if leaf["Node Type"] != "Tid Range Scan")
    return other <= plan["Total Cost"] / 10


def _leaves(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    # conditions of row security have plans of their own, below the scan that they belong to
    below = [one for one in plan.get("Plans", []) if one.get("Parent Relationship") not in {"SubPlan", "InitPlan"}]
    for one in below:
        yield from _leaves(one)
    if not below:
        yield plan


class _Reader:
    """A connection of ADBC, which can read snapshot after snapshot, and what watches it for silence."""

    def __init__(self, parts: str, seconds: float) -> None:
        self.watch = Watch(parts, seconds)
        self.connection: Any = None

    def open(self) -> _Reader:
        """Connect."""
        from adbc_driver_postgresql import dbapi

        try:
            with self.watch.waiting():
                self.connection = dbapi.connect(self.watch.parts)
        except BaseException:
            self.watch.end()
            raise
        return self

    def begin(self, shared: str = "") -> None:
        """Begin a transaction, in a snapshot that another one exported if that is named; the connection is closed when
        that fails."""
        try:
            with self.watch.waiting(), self.connection.cursor() as first:
                first.execute("set transaction isolation level repeatable read, read only")
                if shared:
                    first.execute(f"set transaction snapshot '{shared}'")
                if not self.watch.backend:
                    first.execute("select pg_backend_pid()")
                    found = first.fetchone()
                    self.watch.backend = found[0] if found else 0
        except BaseException:
            self.close()
            raise

    def asked(self, statement: str) -> tuple[Any, ...]:
        """The row that a question gives."""
        with self.watch.waiting(), self.connection.cursor() as rows:
            rows.execute(statement)
            return rows.fetchone()

    def end(self) -> None:
        """End the transaction; the connection is closed when that fails."""
        try:
            with self.watch.waiting():
                self.connection.rollback()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        try:
            with self.watch.waiting():
                self.connection.close()
        finally:
            self.watch.end()


def _begun(idle: deque[_Reader], shared: str = "") -> _Reader | None:
    """A connection that was left for the next use, in a transaction that has begun; None when there is none."""
    with suppress(IndexError):
        while True:
            reader = idle.popleft()
            # one that broke while nobody used it is left for a new one
            with suppress(Exception):
                reader.begin(shared)
                return reader
    return None


class _Snapshot(Snapshot):
    """A transaction that has begun; its connection goes to `idle` when it ends well."""

    def __init__(self, reader: _Reader, idle: deque[_Reader], another: Callable[[], _Reader]) -> None:
        self._reader, self._idle, self._another = reader, idle, another

    def __enter__(self) -> _Snapshot:
        return self

    def __exit__(self, kind: object = None, *_: object) -> None:
        if kind is not None:
            self._reader.close()
            return
        # the rows are read: that their transaction cannot be ended any more takes none of them away
        with suppress(Exception):
            self._reader.end()
            self._idle.append(self._reader)

    def batches(self, statement: str) -> Iterator[pa.Table]:
        # the driver needs longer to take rows apart than all the rest needs with them: it goes on meanwhile
        with closing(self.in_step(statement)) as rows, ThreadPoolExecutor(1, thread_name_prefix="read ahead") as ahead:
            coming = ahead.submit(next, rows, None)
            while (batch := coming.result()) is not None:
                coming = ahead.submit(next, rows, None)
                yield batch

    def in_step(self, statement: str) -> Generator[pa.Table]:
        watch = self._reader.watch
        with self._reader.connection.cursor() as rows:
            with watch.waiting():
                rows.execute(statement)
                reader = rows.fetch_record_batch()
            while True:
                with watch.waiting():
                    batch = next(reader, None)
                if batch is None:
                    return
                yield pa.Table.from_batches([batch])

    def shared(self) -> Callable[[], Snapshot] | None:
        try:
            name, moment = self._reader.asked(f"select pg_export_snapshot(), {_MOMENT}")
        except Exception:  # noqa: BLE001 the driver has no class for what a server does not know or allow
            # its transaction is of no more use; where the connection is not either, this says so
            self._reader.end()
            self._reader.begin()
            return None
        return lambda: _Twin(self._idle, self._another, name, moment)

    def cut(self) -> None:
        self._reader.watch.cut()


class _Twin(_Snapshot):
    """A transaction in the snapshot that another one exported; it begins when it is entered."""

    def __init__(self, idle: deque[_Reader], another: Callable[[], _Reader], name: str, moment: str) -> None:
        self._idle, self._another, self._name, self._moment = idle, another, name, moment
        self._made: _Reader | None = None
        self._is_cut = False

    def __enter__(self) -> _Twin:
        reader = _begun(self._idle, self._name)
        if reader is None:
            self._made = reader = self._another()
            if self._is_cut:
                reader.watch.end()
                raise ConnectionAbortedError("not needed any more")
            reader.open()
            reader.begin(self._name)
        self._made = self._reader = reader
        try:
            if reader.asked(f"select {_MOMENT}") != (self._moment,):
                raise ConnectionRefusedError("another server, or another moment of it")
        except BaseException:
            reader.close()
            raise
        return self

    def cut(self) -> None:
        self._is_cut = True
        if self._made is not None:
            self._made.watch.cut()


def _kind(item: Any) -> pa.DataType:
    if item.type_code != _NUMERIC:
        return _TYPES.get(item.type_code, pa.string())
    if item.precision is None or not 1 <= item.precision <= 38 or not 0 <= (item.scale or 0) <= item.precision:
        return _UNBOUNDED_DECIMAL
    return pa.decimal128(item.precision, item.scale or 0)


def _checked(array: pa.Array, kind: pa.DataType, name: str, rescue: Rescue) -> pa.Array:
    """As `cast`, where texts may hold bytes that are not UTF-8."""
    if not pa.types.is_string(array.type):
        return cast(array, kind, name, rescue)
    raw = array.cast(pa.binary()).to_pylist()
    texts = [None if value is None else value.decode("utf-8", "surrogateescape") for value in raw]
    return column(name, kind, texts, converter(kind), rescue)
