"""MySQL and MariaDB, through PyMySQL (MIT licence; its rows are taken as the bytes they came in, straight to Arrow).

One read-only transaction with a consistent snapshot (InnoDB). The session's zone is UTC, so a `timestamp` is an
instant; a `datetime` has no zone and stays without. `tinyint(1)` is MySQL's boolean; a value of it that is neither
0 nor 1 is rescued, and a field declared `short` takes it as a number. Guards against zero dates, `float` columns whose
text loses digits, decimals of more than 38 digits, unsigned numbers, a server that closes a reader that pauses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from datong_platform.errors import ConfigurationError
from datong_platform.lake.columns import LOCAL_TIMESTAMP, UTC_TIMESTAMP

from datong_ingestion.connections.sql import SqlConnection
from datong_ingestion.protocols.databases.dialect import (
    CURSOR,
    Column,
    Dialect,
    Meaning,
    Relation,
    Snapshot,
    address_of,
    from_text,
    missing_driver,
)
from datong_ingestion.systems_config import EntityConfig

if TYPE_CHECKING:
    from pymysql.connections import Connection

_OPTIONS = frozenset({"ssl_ca", "ssl_cert", "ssl_key", "ssl_verify"})
_SYSTEM_SCHEMAS = "('mysql', 'information_schema', 'performance_schema', 'sys')"
_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 65_536

# types of columns in a result (MySQL manual, "Column Definition"); every other is read as its text
_TINY, _BIT = 1, 16
_TEXT: dict[int, Callable[[str], str]] = {
    # as text a float has six digits; as a double it has all
    4: lambda value: f"({value} + 0e0)",
    16: lambda value: f"({value} + 0)",
    255: lambda value: f"st_astext({value})",
}
_INTEGERS = {
    1: (pa.int16(), pa.int16()),
    2: (pa.int16(), pa.int32()),
    3: (pa.int32(), pa.int64()),
    8: (pa.int64(), pa.decimal128(20, 0)),
    9: (pa.int32(), pa.int32()),
}
"""Signed and unsigned."""
_DECIMALS = frozenset({0, 246})
_TEXTS_OR_BYTES = frozenset({15, 249, 250, 251, 252, 253, 254})
_OTHERS = {
    4: pa.float32(),
    5: pa.float64(),
    7: UTC_TIMESTAMP,
    10: pa.date32(),
    12: LOCAL_TIMESTAMP,
    13: pa.int16(),
    14: pa.date32(),
    242: pa.binary(),
}
_UNSIGNED, _ENUM, _SET = 32, 256, 2048
_BINARY = 63
"""The character set of what is no text."""

# error numbers (MySQL manual, "Server Error Message Reference"; 2xxx are the client's)
_REFUSED = frozenset({1044, 1045, 1130, 1142, 1143, 1227, 1370, 1410, 1698, 1820, 1862, 3118, 4151})
_UNKNOWN = frozenset({1046, 1049, 1051, 1054, 1064, 1109, 1146, 1305, 1356, 1060, 1052, 1247})
_DUPLICATE = frozenset({1062, 1169, 1586})
_PASSING = frozenset({1040, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1205, 1213, 1226, 1317, 1412, 1927})


class MySql(Dialect):
    """A MySQL or MariaDB database."""

    schemes = ("mysql", "mariadb")
    example = "mysql://user:password@host:port/database"

    def __init__(self, connection: SqlConnection, thing: str) -> None:
        """ConfigurationError when the URL cannot be read."""
        super().__init__(connection, thing)
        self.parts = address_of(connection.url, 3306, _OPTIONS, thing, self.example)
        self.default_schema = self.parts.database
        self.secrets = {self.parts.password} - {""}
        self.address = f"{self.parts.host}:{self.parts.port}/{self.parts.database}"
        if not (self.default_schema or connection.read_schema):
            raise ConfigurationError(thing, "has a url without a database.", f"write {self.example}.")

    def connect(self, thing: str) -> Connection[Any]:
        """A connection whose session is in UTC; the driver's errors as they are."""
        try:
            import pymysql
        except ImportError as error:
            raise missing_driver(thing, "PyMySQL", "mysql", error) from error
        parts, wait = self.parts, self.connection.timeout_seconds
        verify = parts.options.get("ssl_verify")
        return pymysql.connect(
            host=parts.host,
            port=parts.port,
            user=parts.user,
            password=parts.password,
            database=parts.database or None,
            charset="utf8mb4",
            connect_timeout=max(2, int(min(wait, 10))),
            read_timeout=wait,
            write_timeout=wait,
            autocommit=True,
            program_name="datong",
            # the landing of a page may take longer than the minute that a server waits for its reader
            init_command="set time_zone = '+00:00', net_write_timeout = 3600, sql_mode = ''",
            ssl_ca=parts.options.get("ssl_ca"),
            ssl_cert=parts.options.get("ssl_cert"),
            ssl_key=parts.options.get("ssl_key"),
            ssl_verify_cert=None if verify is None else verify in {"1", "true", "yes"},
            ssl_verify_identity=verify in {"1", "true", "yes"},
        )

    def entities(self, thing: str) -> list[str]:
        """Of all databases but the server's own."""
        with closing(self.connect(thing)) as catalog, catalog.cursor() as rows:
            rows.execute(
                "select concat(table_schema, '.', table_name) from information_schema.tables "
                f"where table_schema not in {_SYSTEM_SCHEMAS} order by 1"
            )
            return [row[0] for row in rows.fetchall()]

    def relation(self, entity: EntityConfig, thing: str) -> Relation:
        """By the description of an empty result, which tells the same of tables and of queries."""
        extra = f", ({entity.cursor_expression}) as {CURSOR}" if entity.cursor_expression else ""
        with closing(self.connect(thing)) as catalog, catalog.cursor() as rows:
            rows.execute(f"select source.*{extra} from {self.source_as(entity)} limit 0")
            fields = _fields(rows.connection)
            keys: list[str] = []
            if not entity.query:
                rows.execute(
                    "select column_name from information_schema.statistics where table_schema = %s "
                    "and table_name = %s and index_name = 'PRIMARY' order by seq_in_index",
                    self.table(entity),
                )
                keys = [row[0] for row in rows.fetchall()]
        columns = [
            Column(item.name, _kind(item), self.quoted(item.name), _TEXT.get(item.type_code))
            for item in fields
            if item.name != CURSOR
        ]
        cursor = [
            Column(CURSOR, _kind(item), f"({entity.cursor_expression})", _TEXT.get(item.type_code))
            for item in fields
            if item.name == CURSOR
        ]
        return Relation(tuple(columns), tuple(keys), cursor[0] if cursor else None, from_text)

    def snapshot(self, thing: str) -> Snapshot:
        """Repeatable read, from one moment on."""
        return _Snapshot(self.connect(thing))

    def writer(self, thing: str) -> Connection[Any]:
        """Strict, whatever the server's default is."""
        connection = self.connect(thing)
        with connection.cursor() as first:
            first.execute("set sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO'")
        connection.autocommit(False)
        return connection

    def argument(self, name: str, place: int) -> str:
        """By its place: MySQL and MariaDB know no names."""
        return self.parameter(place)

    def is_duplicate(self, error: Exception) -> bool:
        return bool(error.args) and error.args[0] in _DUPLICATE

    def meaning(self, error: Exception) -> Meaning:
        """By the error's number."""
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        if number in _REFUSED:
            return "refused"
        if number in _UNKNOWN:
            return "unknown"
        if number in _PASSING or 2000 <= number < 3000 or isinstance(error, OSError):
            return "passing"
        return "other"

    def quoted(self, name: str) -> str:
        """In backticks, which every sql_mode understands."""
        return "`" + name.replace("`", "``") + "`"

    def literal(self, bound: Any, kind: pa.DataType) -> str:
        """Times in the session's zone, UTC; texts as their bytes, which no sql_mode misreads."""
        if isinstance(bound, datetime):
            return f"timestamp '{bound.replace(tzinfo=None).isoformat(' ')}'"
        if isinstance(bound, date):
            return f"date '{bound.isoformat()}'"
        if isinstance(bound, str):
            return f"_utf8mb4 x'{bound.encode().hex()}'" if bound else "''"
        return str(bound)

    def sum_text(self, raw: str) -> str:
        """MySQL casts to `char`."""
        return f"cast(sum({raw}) as char(60))"

    def digest(self, keys: Sequence[str]) -> str:
        """By `md5`, of the key in UTF-8."""
        joined = ", ".join(f"coalesce(convert({key} using utf8mb4), '')" for key in keys)
        hashed = f"conv(substr(md5(concat_ws('/', {joined})), 1, 15), 16, 10)"
        return f"cast(sum(cast({hashed} as decimal(30, 0))) as char(60))"


class _Snapshot(Snapshot):
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> _Snapshot:
        try:
            with self._connection.cursor() as first:
                first.execute("set session transaction isolation level repeatable read")
                first.execute("start transaction with consistent snapshot, read only")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # not close(): in the middle of a result it would read the rest of it first
        self._connection._force_close()

    def batches(self, statement: str) -> Iterator[pa.Table]:
        connection = self._connection
        connection.query(statement, unbuffered=True)
        names = [item.name for item in _fields(connection)]
        for columns in _rows(connection, len(names)):
            yield pa.Table.from_arrays([pa.array(values, pa.binary()) for values in columns], names=names)


def _rows(connection: Any, width: int) -> Iterator[list[list[bytes | None]]]:
    """The rows of a text result set, as columns of bytes ("Text Resultset Row" of the protocol: strings with their
    length before them, 0xfb for null). PyMySQL's own cursors would decode each value by itself."""
    columns: list[list[bytes | None]] = [[] for _ in range(width)]
    appends = [values.append for values in columns]
    size = rows = 0
    result = connection._result
    try:
        while True:
            data: bytes = connection._read_packet()._data
            if data[0] == 0xFE and len(data) < 9:
                break
            place = 0
            for append in appends:
                length = data[place]
                place += 1
                if length > 250:
                    if length == 0xFB:
                        append(None)
                        continue
                    wide = {0xFC: 2, 0xFD: 3, 0xFE: 8}[length]
                    length = int.from_bytes(data[place : place + wide], "little")
                    place += wide
                end = place + length
                append(data[place:end])
                place = end
            size += len(data)
            rows += 1
            if size >= _BATCH_BYTES or rows >= _BATCH_ROWS:
                yield columns
                columns = [[] for _ in range(width)]
                appends = [values.append for values in columns]
                size = rows = 0
        if rows:
            yield columns
    finally:
        with suppress(AttributeError):
            # else its destructor would read on, from a connection that another statement uses
            result.unbuffered_active = False


def _fields(connection: Any) -> list[Any]:
    """The columns of the result at hand. DB-API's description leaves out flags and character set."""
    return connection._result.fields


def _kind(item: Any) -> pa.DataType:
    code, unsigned = item.type_code, bool(item.flags & _UNSIGNED)
    if code == _TINY and item.length == 1 and not unsigned:
        return pa.bool_()
    if code in _INTEGERS:
        return _INTEGERS[code][unsigned]
    if code in _DECIMALS:
        # the length is that of the text: a point, and a sign unless unsigned
        precision = item.length - bool(item.scale) - (not unsigned)
        return pa.decimal128(min(max(precision, 1), 38), item.scale)
    if code == _BIT:
        return pa.bool_() if item.length == 1 else pa.int64() if item.length < 64 else pa.decimal128(20, 0)
    if code in _TEXTS_OR_BYTES and item.charsetnr == _BINARY and not item.flags & (_ENUM | _SET):
        return pa.binary()
    return _OTHERS.get(code, pa.string())
