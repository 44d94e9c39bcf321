"""PostgreSQL, through ADBC (Arrow-native, binary COPY underneath); its catalog through psycopg.

Types from the catalog: numeric(p,s) to an exact decimal (38,18 where it has none), timestamptz to UTC, what has no
counterpart to its text. Guards against values that Arrow or Delta cannot hold: infinite dates, NaN in a decimal, texts
of a database in SQL_ASCII.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
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
        plain = item.type_code in _TYPES or item.type_code == _NUMERIC
        inside = f"to_json({name})::text" if is_array else "" if plain else f"{name}::text"
        return Column(item.name, _kind(item), name, inside=inside)

    def snapshot(self, thing: str) -> Snapshot:
        """Repeatable read, on a connection that an earlier read of this source left when it ended well."""
        with suppress(IndexError):
            while True:
                reader = self._readers.popleft()
                # one that broke while nobody used it is left for a new one
                with suppress(Exception):
                    reader.begin()
                    return _Snapshot(reader, self._readers)
        reader = _Reader(self._conninfo, self.connection.timeout_seconds)
        reader.begin()
        return _Snapshot(reader, self._readers)

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


class _Reader:
    """A connection of ADBC, which can read snapshot after snapshot, and what watches it for silence."""

    def __init__(self, parts: str, seconds: float) -> None:
        from adbc_driver_postgresql import dbapi

        self.watch = Watch(parts, seconds)
        try:
            with self.watch.waiting():
                self.connection = dbapi.connect(parts)
            self.watch.connected()
        except BaseException:
            self.watch.end()
            raise

    def begin(self) -> None:
        """Begin a transaction; the connection is closed when that fails."""
        try:
            with self.watch.waiting(), self.connection.cursor() as first:
                first.execute("set transaction isolation level repeatable read, read only")
                if not self.watch.backend:
                    first.execute("select pg_backend_pid()")
                    found = first.fetchone()
                    self.watch.backend = found[0] if found else 0
        except BaseException:
            self.close()
            raise

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


class _Snapshot(Snapshot):
    """A transaction that has begun; its connection goes to `idle` when it ends well."""

    def __init__(self, reader: _Reader, idle: deque[_Reader]) -> None:
        self._reader, self._idle = reader, idle

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
        watch = self._reader.watch
        with self._reader.connection.cursor() as rows:
            with watch.waiting():
                rows.execute(statement)
                reader = rows.fetch_record_batch()

            def following() -> pa.RecordBatch | None:
                with watch.waiting():
                    return next(reader, None)

            # the driver needs longer to take rows apart than all the rest needs with them: it goes on meanwhile
            with ThreadPoolExecutor(1, thread_name_prefix="read ahead") as ahead:
                coming = ahead.submit(following)
                while (batch := coming.result()) is not None:
                    coming = ahead.submit(following)
                    yield pa.Table.from_batches([batch])


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
