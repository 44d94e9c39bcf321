"""SQL: tables and queries of a PostgreSQL database, through ADBC (Arrow-native, binary COPY underneath).

Reads: a table, a view or a declared query, in one read-only snapshot (repeatable read), streamed as Arrow batches.
Changes: a cursor column or expression with an overlap, since a transaction can commit after a later timestamp was
read; rows without a cursor are read each time. Deletes: a soft-delete column, or a comparison of the key set.
Guards against: values that Arrow or Delta cannot hold (infinite dates, NaN in a decimal), which are rescued; a lost
connection, after which the read begins anew.
Types from the catalog: numeric(p,s) to an exact decimal (38,18 where it has none), timestamptz to UTC, what has no
counterpart to its text. Alone: `python -m datong_ingestion crm`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
import pyarrow as pa
from datong_platform.errors import (
    AuthenticationError,
    ConfigurationError,
    DatongError,
    TerminalError,
    TransientError,
)
from datong_platform.lake.columns import LOCAL_TIMESTAMP, UTC_TIMESTAMP, compute
from psycopg import conninfo

from datong_ingestion import cursor
from datong_ingestion.connections.sql import SqlConnection
from datong_ingestion.source import Description, InterruptedReadError, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig
from datong_ingestion.values import Rescue, column, converter

_MODES: frozenset[Mode] = frozenset({"full", "cursor"})
_CURSOR = "_datong_cursor"
_RAW = "_datong_raw_"
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
_TEXTS = frozenset({25, 1042, 1043})
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


@dataclass(frozen=True)
class _Column:
    name: str
    oid: int
    kind: pa.DataType
    is_array: bool


@dataclass(frozen=True)
class _Relation:
    columns: tuple[_Column, ...]
    keys: tuple[str, ...]
    cursor_kind: pa.DataType | None
    checked_text: bool
    """Texts may hold bytes that are not UTF-8 (a database in SQL_ASCII)."""


class Sql:
    """A database."""

    def __init__(self, system: SystemConfig) -> None:
        """Looks up address and credentials; ConfigurationError when one is not set. Opens no connection."""
        declared = system.connection
        if not isinstance(declared, SqlConnection):
            raise ConfigurationError(f"system {system.system}", "has no SQL connection.")
        connection = declared.resolved(f"system {system.system}")
        self.definition, self.system, self.connection = system, system.system, connection
        self._credentials = declared.names_of("url") or "the user and the password"
        if not connection.url.startswith(("postgresql://", "postgres://")):
            raise ConfigurationError(
                f"system {system.system}",
                "has a url of a database that is not PostgreSQL.",
                "write postgresql://user:password@host:port/database.",
            )
        try:
            parts = conninfo.conninfo_to_dict(connection.url)
        except psycopg.ProgrammingError as error:
            raise ConfigurationError(
                f"system {system.system}", "has a url that cannot be read.", "percent-encode its user and password."
            ) from error
        self._secrets = {str(parts[name]) for name in ("password", "sslpassword") if parts.get(name)}
        self.address = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
        wait = str(max(2, int(min(connection.timeout_seconds, 10))))
        silence = str(int(connection.timeout_seconds * 1000))
        given = {name: value for name, value in parts.items() if value is not None}
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
        self._gate = threading.BoundedSemaphore(connection.concurrency)
        self._unreachable = threading.Event()

    def close(self) -> None:
        """Nothing to close: each read opens its own connection."""

    def entities(self) -> list[str]:
        """The tables and views that the user may read, as `schema.table`."""
        with self._catalog(f"system {self.system}") as catalog:
            rows = catalog.execute(
                "select table_schema || '.' || table_name from information_schema.tables "
                "where table_schema not in ('pg_catalog', 'information_schema') order by 1"
            ).fetchall()
        return [row[0] for row in rows]

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """Schema and primary key from the catalog; ConfigurationError when there is no such table or column."""
        thing = self._thing(entity)
        relation = self._relation(entity, thing)
        wanted = {*entity.select, *entity.keys, *relation.keys, entity.cursor}
        columns = [item for item in relation.columns if not entity.select or item.name in wanted]
        return Description(
            schema=pa.schema([(item.name, item.kind) for item in columns]),
            keys=relation.keys,
            cursors=tuple(item.name for item in columns if pa.types.is_timestamp(item.kind)),
            modes=_MODES,
            unique=bool(relation.keys),
        )

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        """Rows from a cursor on, or all; at the end the key set, where it is compared."""
        thing = self._thing(entity)
        relation = self._relation(entity, thing)
        columns = [item for item in relation.columns if item.name in description.schema.names]
        latest = position
        with self._gate, self._snapshot(thing) as snapshot:
            for table in snapshot.stream(self._statement(entity, columns, relation, position)):
                if entity.mode == "cursor":
                    name = _CURSOR if entity.cursor_expression else entity.cursor
                    latest = cursor.later(latest, table.column(name))
                rows, rescued = _agreed(table, columns, description.schema, relation.checked_text)
                yield Page(rows, rescued=rescued, position=latest if entity.mode == "cursor" else None)
            if entity.detect_deletes:
                keys = [item for item in columns if item.name in description.keys]
                if not keys:
                    raise ConfigurationError(
                        thing, "has no key to compare.", "name its `keys`, or leave out detect_deletes."
                    )
                wanted = pa.schema([description.schema.field(item.name) for item in keys])
                told = False
                for table in snapshot.stream(self._select(entity, keys, _conditions(entity))):
                    told = True
                    yield Page(
                        description.schema.empty_table(), keys=_agreed(table, keys, wanted, relation.checked_text)[0]
                    )
                if not told:
                    yield Page(description.schema.empty_table(), keys=wanted.empty_table())

    def _statement(
        self, entity: EntityConfig, columns: list[_Column], relation: _Relation, position: str | None
    ) -> str:
        conditions = _conditions(entity)
        expression = entity.cursor_expression or (_quoted(entity.cursor) if entity.cursor else "")
        kind = relation.cursor_kind or next((item.kind for item in columns if item.name == entity.cursor), None)
        if entity.mode == "cursor" and position is not None and kind is not None:
            bound = _literal(cursor.start(position, kind, entity.overlap_seconds), kind)
            conditions.append(f"({expression}) >= {bound} or ({expression}) is null")
        extra = f"({entity.cursor_expression}) as {_CURSOR}" if entity.cursor_expression else ""
        return self._select(entity, columns, conditions, extra)

    def _select(self, entity: EntityConfig, columns: list[_Column], conditions: list[str], extra: str = "") -> str:
        parts: list[str] = []
        for index, item in enumerate(columns):
            name = _quoted(item.name)
            if item.oid in _RANGES:
                low, high = _RANGES[item.oid]
                parts.append(f"case when {name} between {low} and {high} then {name} end as {name}")
                parts.append(f"case when {name} not between {low} and {high} then {name}::text end as {_RAW}{index}")
            elif item.is_array:
                parts.append(f"to_json({name})::text as {name}")
            elif item.oid in _TYPES:
                parts.append(name)
            else:
                parts.append(f"{name}::text as {name}")
        if extra:
            parts.append(extra)
        where = " and ".join(f"({condition})" for condition in conditions)
        return f"select {', '.join(parts)} from {self._from(entity)}{f' where {where}' if where else ''}"

    def _from(self, entity: EntityConfig) -> str:
        if entity.query:
            return f"({entity.query.strip().rstrip(';')}) as source"
        return ".".join(_quoted(part) for part in self._table(entity))

    def _table(self, entity: EntityConfig) -> tuple[str, str]:
        schema, _, name = entity.source.rpartition(".")
        return schema or self.connection.read_schema, name

    def _relation(self, entity: EntityConfig, thing: str) -> _Relation:
        with self._catalog(thing) as catalog:
            extra = f", ({entity.cursor_expression}) as {_CURSOR}" if entity.cursor_expression else ""
            try:
                described = (
                    catalog.execute(f"select *{extra} from {self._from(entity)} limit 0".encode()).description or []
                )
                keys: list[tuple[Any, ...]] = []
                if not entity.query:
                    keys = catalog.execute(
                        "select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid "
                        "and a.attnum = any(i.indkey) where i.indrelid = %s::regclass and i.indisprimary "
                        "order by array_position(i.indkey::int2[], a.attnum)",
                        [self._from(entity)],
                    ).fetchall()
                oids = [item.type_code for item in described]
                arrays = {
                    row[0]
                    for row in catalog.execute(
                        "select oid from pg_type where oid = any(%s) and typcategory = 'A'", [oids]
                    ).fetchall()
                }
                encoding = catalog.execute("select current_setting('server_encoding')").fetchone()
            except psycopg.Error as error:
                raise self.translated(error, thing) from error
        columns = [
            _Column(item.name, item.type_code, _kind(item), item.type_code in arrays)
            for item in described
            if item.name != _CURSOR
        ]
        cursor_kind = next((_kind(item) for item in described if item.name == _CURSOR), None)
        checked = encoding is not None and encoding[0] == "SQL_ASCII"
        return _Relation(tuple(columns), tuple(row[0] for row in keys), cursor_kind, checked)

    def _catalog(self, thing: str) -> psycopg.Connection[tuple[Any, ...]]:
        return self._connected(thing, lambda: psycopg.connect(self._conninfo, autocommit=True))

    def _snapshot(self, thing: str) -> _Snapshot:
        from adbc_driver_postgresql import dbapi

        return _Snapshot(self, thing, self._connected(thing, lambda: dbapi.connect(self._conninfo)))

    def _connected(self, thing: str, connect: Any) -> Any:
        """A connection, tried for as long as the definition allows; once it failed, others try only once."""
        attempts = 1 if self._unreachable.is_set() else self.connection.attempts
        for attempt in range(attempts):
            try:
                made = connect()
            except Exception as error:  # noqa: BLE001 the two drivers share no class of error
                translated = self.translated(error, thing)
                if not isinstance(translated, TransientError) or attempt == attempts - 1:
                    if isinstance(translated, TransientError):
                        self._unreachable.set()
                    raise translated from None
                time.sleep(min(0.2 * 2**attempt, self.connection.max_wait_seconds))
            else:
                self._unreachable.clear()
                return made
        raise AssertionError("unreachable")

    def translated(self, error: Exception, thing: str) -> DatongError:
        """A driver's error in our words. Both drivers speak through libpq, whose messages carry the SQLSTATE or not."""
        said = " ".join(str(error).split())
        for secret in self._secrets:
            said = said.replace(secret, "***")
        state = str(getattr(error, "sqlstate", "") or "")
        lowered = said.lower()

        def is_one(states: tuple[str, ...], words: tuple[str, ...]) -> bool:
            return state.startswith(states) or any(word in lowered for word in words)

        if is_one(_REFUSED_STATES, _REFUSED_WORDS):
            return AuthenticationError(
                thing, f"{self.address} refused: {said}.", f"check {self._credentials} and the user's grants."
            )
        if is_one(_UNKNOWN_STATES, ("does not exist",)):
            return ConfigurationError(
                thing, f"{self.address} answered: {said}.", "check source, query and cursor in its defs.yaml."
            )
        if is_one(_PASSING_STATES, _PASSING_WORDS):
            return TransientError(
                thing,
                f"{self.address} cannot be reached or broke off: {said}.",
                "check that the database is running and its address is right, then run again.",
            )
        return TerminalError(thing, f"{self.address} answered: {said}.", "see the reason given by the database.")

    def _thing(self, entity: EntityConfig) -> str:
        return f"{self.system}.{entity.name} ({entity.address})"


class _Snapshot:
    """One read-only transaction that sees one moment of the database."""

    def __init__(self, source: Sql, thing: str, connection: Any) -> None:
        self._source, self._thing, self._connection = source, thing, connection

    def __enter__(self) -> _Snapshot:
        try:
            with self._connection.cursor() as first:
                first.execute("set transaction isolation level repeatable read, read only")
        except Exception as error:  # noqa: BLE001 as above
            self._connection.close()
            raise self._source.translated(error, self._thing) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def stream(self, statement: str) -> Iterator[pa.Table]:
        """The rows of a statement, batch by batch. InterruptedReadError when the connection breaks off."""
        try:
            with self._connection.cursor() as rows:
                rows.execute(statement)
                reader = rows.fetch_record_batch()
                while True:
                    try:
                        batch = reader.read_next_batch()
                    except StopIteration:
                        return
                    yield pa.Table.from_batches([batch])
        except (DatongError, GeneratorExit):
            raise
        except Exception as error:  # noqa: BLE001 as above
            translated = self._source.translated(error, self._thing)
            if isinstance(translated, TransientError):
                raise InterruptedReadError(translated.thing, translated.reason, translated.next_step) from None
            raise translated from None


def _kind(item: Any) -> pa.DataType:
    if item.type_code != _NUMERIC:
        return _TYPES.get(item.type_code, pa.string())
    if item.precision is None or not 1 <= item.precision <= 38 or not 0 <= (item.scale or 0) <= item.precision:
        return _UNBOUNDED_DECIMAL
    return pa.decimal128(item.precision, item.scale or 0)


def _conditions(entity: EntityConfig) -> list[str]:
    return [entity.filter] if entity.filter else []


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(bound: Any, kind: pa.DataType) -> str:
    if isinstance(bound, datetime):
        return f"{'timestamptz' if kind.tz else 'timestamp'} '{bound.isoformat()}'"
    if isinstance(bound, date):
        return f"date '{bound.isoformat()}'"
    if isinstance(bound, str):
        return "'" + bound.replace("'", "''") + "'"
    return str(bound)


def _agreed(
    table: pa.Table, columns: list[_Column], schema: pa.Schema, checked_text: bool
) -> tuple[pa.Table, pa.Array | None]:
    """A batch in the agreed types, with what did not fit."""
    rescue = Rescue()
    arrays: list[pa.Array] = []
    for index, item in enumerate(columns):
        array = table.column(item.name).combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        if item.oid in _RANGES:
            raw = table.column(f"{_RAW}{index}")
            if raw.null_count < len(raw):
                for row in compute.indices_nonzero(compute.is_valid(raw)).to_pylist():
                    rescue.add(row, item.name, raw[row].as_py())
        arrays.append(_cast(item.name, array, schema.field(item.name).type, checked_text, rescue))
    return pa.Table.from_arrays(arrays, schema=schema), rescue.column(len(table))


def _cast(name: str, array: pa.Array, kind: pa.DataType, checked_text: bool, rescue: Rescue) -> pa.Array:
    if checked_text and pa.types.is_string(array.type):
        raw = array.cast(pa.binary()).to_pylist()
        texts = [None if value is None else value.decode("utf-8", "surrogateescape") for value in raw]
        return column(name, kind, texts, converter(kind), rescue)
    if array.type == kind:
        return array
    try:
        return array.cast(kind)
    except pa.ArrowException:
        values = [None if value is None else str(value) for value in array.to_pylist()]
        return column(name, kind, values, converter(kind), rescue)
