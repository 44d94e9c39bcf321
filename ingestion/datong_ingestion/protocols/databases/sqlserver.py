"""SQL Server and Azure SQL, through Microsoft's own driver (mssql-python, MIT licence; it brings the ODBC driver 18 and
hands out Arrow).

Types come from the server's own description of a statement (`sys.dm_exec_describe_first_result_set`), of tables and of
queries alike. What a driver could round or shift is read as text that the server writes: decimals and money with all
digits, times in ISO 8601 to the microsecond, `datetimeoffset` in UTC. Reads under snapshot isolation where the
database allows it; where it does not, a read sees several moments, which is said, and a key that it meets twice is
kept once. For SQL Server's `rowversion` as cursor: `cursor_expression: cast(row_version as bigint)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import date, datetime
from typing import Any

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
    from_any,
    missing_driver,
)
from datong_ingestion.systems_config import EntityConfig

_OPTIONS = {
    "encrypt": "Encrypt",
    "trust_server_certificate": "TrustServerCertificate",
    "authentication": "Authentication",
    "host_name_in_certificate": "HostnameInCertificate",
    "server_certificate": "ServerCertificate",
    "application_intent": "ApplicationIntent",
    "multi_subnet_failover": "MultiSubnetFailover",
}
_BATCH_ROWS = 32_768
_LOGIN_TIMEOUT = 103
"""SQL_ATTR_LOGIN_TIMEOUT of ODBC."""

_PLAIN: dict[str, pa.DataType] = {
    "bit": pa.bool_(),
    "tinyint": pa.int16(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "char": pa.string(),
    "varchar": pa.string(),
    "nchar": pa.string(),
    "nvarchar": pa.string(),
    "sysname": pa.string(),
    "binary": pa.binary(),
    "varbinary": pa.binary(),
}


def _iso(value: str) -> str:
    # seven digits are more than the lake's microseconds; left() cuts, where a conversion would round up to a new year
    return f"left(convert(varchar(27), {value}, 126), 26)"


_TEXT: dict[str, tuple[pa.DataType, Callable[[str], str]]] = {
    "money": (pa.decimal128(19, 4), lambda value: f"convert(varchar(30), {value}, 2)"),
    "smallmoney": (pa.decimal128(10, 4), lambda value: f"convert(varchar(30), {value}, 2)"),
    "date": (pa.date32(), lambda value: f"convert(char(10), {value}, 23)"),
    "datetime": (LOCAL_TIMESTAMP, _iso),
    "datetime2": (LOCAL_TIMESTAMP, _iso),
    "smalldatetime": (LOCAL_TIMESTAMP, _iso),
    "datetimeoffset": (UTC_TIMESTAMP, lambda value: _iso(f"cast(switchoffset({value}, '+00:00') as datetime2(7))")),
    "time": (pa.string(), lambda value: f"convert(varchar(16), {value})"),
    "uniqueidentifier": (pa.string(), lambda value: f"lower(convert(char(36), {value}))"),
    "text": (pa.string(), lambda value: f"cast({value} as nvarchar(max))"),
    "ntext": (pa.string(), lambda value: f"cast({value} as nvarchar(max))"),
    "xml": (pa.string(), lambda value: f"cast({value} as nvarchar(max))"),
    "json": (pa.string(), lambda value: f"cast({value} as nvarchar(max))"),
    "sql_variant": (pa.string(), lambda value: f"cast({value} as nvarchar(4000))"),
    "image": (pa.binary(), lambda value: f"cast({value} as varbinary(max))"),
    "timestamp": (pa.binary(), lambda value: f"cast({value} as binary(8))"),
    "rowversion": (pa.binary(), lambda value: f"cast({value} as binary(8))"),
    "float": (pa.float64(), lambda value: value),
}
_SPATIAL = frozenset({"geometry", "geography", "hierarchyid"})

_DESCRIBE = (
    "select name, system_type_name, [precision], [scale], user_type_name, [error_message] "
    "from sys.dm_exec_describe_first_result_set(?, null, 0) order by column_ordinal"
)
_KEYS = (
    "select c.name from sys.indexes i "
    "join sys.index_columns k on k.object_id = i.object_id and k.index_id = i.index_id "
    "join sys.columns c on c.object_id = k.object_id and c.column_id = k.column_id "
    "where i.is_primary_key = 1 and i.object_id = object_id(?) order by k.key_ordinal"
)
_ISOLATION = "select snapshot_isolation_state from sys.databases where database_id = db_id()"
_ENTITIES = "select table_schema + '.' + table_name from information_schema.tables order by 1"

# the server's messages, as the driver passes them on without their numbers; SQLSTATEs become classes of error
_REFUSED = ("login failed", "permission was denied", "is not able to access the database", "cannot open database")
_UNKNOWN = ("invalid object name", "invalid column name", "incorrect syntax", "could not find", "ambiguous column")
_DUPLICATE = ("cannot insert duplicate key",)
_PASSING = (
    "connection",
    "communication link",
    "timeout",
    "timed out",
    "deadlock",
    "is not currently available",
    "server is not found",
    "server was not found",
    "is being shut down",
    "snapshot isolation transaction aborted",
    "operation failed",
)


class SqlServer(Dialect):
    """A SQL Server database."""

    schemes = ("mssql", "sqlserver")
    example = "mssql://user:password@host:port/database"
    default_schema = "dbo"

    def __init__(self, connection: SqlConnection, thing: str) -> None:
        """ConfigurationError when the URL cannot be read."""
        super().__init__(connection, thing)
        parts = self._parts = address_of(connection.url, 1433, frozenset(_OPTIONS), thing, self.example)
        if not parts.database:
            raise ConfigurationError(thing, "has a url without a database.", f"write {self.example}.")
        self.secrets = {parts.password, parts.password.replace("}", "}}")} - {""}
        self.address = f"{parts.host}:{parts.port}/{parts.database}"

    def connection_string(self) -> str:
        """What ODBC is told. A value in braces may hold anything; a brace is doubled."""
        parts = self._parts
        words = {"Server": f"tcp:{parts.host},{parts.port}", "Database": parts.database}
        words |= {"UID": parts.user, "PWD": parts.password} if parts.user else {}
        words |= {"Encrypt": "yes", "ConnectRetryCount": "0"}
        words |= {_OPTIONS[name]: value for name, value in parts.options.items()}
        return "".join(f"{name}={{{value.replace('}', '}}')}}};" for name, value in words.items())

    def _connect(self, thing: str) -> Any:
        try:
            import mssql_python
        except ImportError as error:
            raise missing_driver(thing, "mssql-python", "mssql", error) from error
        try:
            return mssql_python.connect(
                self.connection_string(),
                autocommit=True,
                attrs_before={_LOGIN_TIMEOUT: max(2, int(min(self.connection.timeout_seconds, 10)))},
                timeout=int(self.connection.timeout_seconds),
            )
        except Exception as error:
            if "failed to load the driver" in str(error).lower():
                raise ConfigurationError(
                    thing,
                    "needs libraries of the operating system for Microsoft's driver, which are not installed.",
                    "on Debian and Ubuntu: `apt-get install libltdl7 libkrb5-3 libgssapi-krb5-2`.",
                ) from error
            raise

    def entities(self, thing: str) -> list[str]:
        """The tables and views that the user sees."""
        with closing(self._connect(thing)) as catalog:
            return [row[0] for row in _asked(catalog, _ENTITIES)]

    def relation(self, entity: EntityConfig, thing: str) -> Relation:
        """By the server's description of the statement, without running it."""
        extra = f", ({entity.cursor_expression}) as {CURSOR}" if entity.cursor_expression else ""
        statement = f"select source.*{extra} from {self.source_as(entity)}"
        with closing(self._connect(thing)) as catalog:
            described = _asked(catalog, _DESCRIBE, [statement])
            if len(described) == 1 and described[0][5]:
                raise ConfigurationError(
                    thing,
                    f"{self.address} answered: {str(described[0][5]).rstrip('.')}.",
                    "check source, query and cursor in its defs.yaml.",
                )
            keys = [] if entity.query else [row[0] for row in _asked(catalog, _KEYS, [self.source(entity)])]
            isolation = _asked(catalog, _ISOLATION)
        consistent = bool(isolation) and isolation[0][0] == 1
        columns = [_column(row, self.quoted(row[0])) for row in described if row[0] != CURSOR]
        cursor = [_column(row, f"({entity.cursor_expression})") for row in described if row[0] == CURSOR]
        note = (
            "the database does not allow snapshot isolation (alter database … set allow_snapshot_isolation on), "
            "so that a read sees several moments"
        )
        return Relation(
            tuple(columns),
            tuple(keys),
            cursor[0] if cursor else None,
            from_any,
            consistent,
            () if consistent else (note,),
        )

    def snapshot(self, thing: str) -> Snapshot:
        """Snapshot isolation, where the database allows it."""
        return _Snapshot(self._connect(thing))

    def writer(self, thing: str) -> Any:
        """Read committed."""
        connection = self._connect(thing)
        connection.autocommit = False
        return connection

    def parameter(self, place: int) -> str:
        return "?"

    def procedure(self, name: str, parameters: Sequence[str]) -> str:
        given = ", ".join(f"@{one} = {self.parameter(place)}" for place, one in enumerate(parameters, 1))
        return f"exec {'.'.join(map(self.quoted, name.split('.')))} {given}".rstrip()

    def locked(self, source: str, condition: str) -> str:
        return f"select 1 from {source} with (updlock, rowlock) where {condition}"

    def is_duplicate(self, error: Exception) -> bool:
        return any(word in str(error).lower() for word in _DUPLICATE)

    def meaning(self, error: Exception) -> Meaning:
        """By the server's words: the driver passes on neither their number nor the SQLSTATE."""
        said = str(error).lower()
        if any(word in said for word in _REFUSED):
            return "refused"
        if any(word in said for word in _UNKNOWN):
            return "unknown"
        passing = any(word in said for word in _PASSING) or isinstance(error, OSError)
        return "passing" if passing else "other"

    def quoted(self, name: str) -> str:
        """In brackets, which hold whatever QUOTED_IDENTIFIER says."""
        return "[" + name.replace("]", "]]") + "]"

    def literal(self, bound: Any, kind: pa.DataType) -> str:
        """Times as ISO 8601 and with their type, so that no language setting reads day and month the other way."""
        if isinstance(bound, datetime):
            zone = "datetimeoffset(6)" if kind.tz else "datetime2(6)"
            return f"cast('{bound.isoformat()}' as {zone})"
        if isinstance(bound, date):
            return f"cast('{bound.isoformat()}' as date)"
        if isinstance(bound, str):
            return "N'" + bound.replace("'", "''") + "'"
        return str(bound)


class _Snapshot(Snapshot):
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> _Snapshot:
        try:
            isolation = _asked(self._connection, _ISOLATION)
            level = "snapshot" if isolation and isolation[0][0] == 1 else "read committed"
            with closing(self._connection.cursor()) as first:
                first.execute(f"set transaction isolation level {level}")
            self._connection.autocommit = False
        except BaseException:
            self._connection.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def batches(self, statement: str) -> Iterator[pa.Table]:
        with closing(self._connection.cursor()) as rows:
            rows.execute(statement)
            with closing(rows.arrow_reader(batch_size=_BATCH_ROWS)) as reader:
                for batch in reader:
                    yield pa.Table.from_batches([batch])


def _asked(connection: Any, statement: str, values: list[Any] | None = None) -> list[Any]:
    with closing(connection.cursor()) as rows:
        rows.execute(statement, *([values] if values else []))
        return rows.fetchall()


def _column(row: Any, raw: str) -> Column:
    """A column of the server's description: name, type with its size, precision, scale, type of the user."""
    name, described, precision, scale, of_user = row[:5]
    base = re.sub(r"\(.*", "", str(described or of_user or "")).strip().lower()
    if base in {"decimal", "numeric"}:
        return Column(name, pa.decimal128(precision, scale), raw, lambda value: f"convert(varchar(41), {value})")
    if base in _PLAIN:
        return Column(name, _PLAIN[base], raw)
    if base in _TEXT:
        kind, text = _TEXT[base]
        return Column(name, kind, raw, text if text("") else None)
    if base in _SPATIAL or str(of_user or "").lower() in _SPATIAL:
        return Column(name, pa.string(), raw, lambda value: f"{value}.ToString()")
    return Column(name, pa.string(), raw, lambda value: f"cast({value} as nvarchar(max))")
