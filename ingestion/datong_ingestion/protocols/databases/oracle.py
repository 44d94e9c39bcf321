"""Oracle Database, through Oracle's own driver (python-oracledb, thin mode: no client to install; it hands out Arrow).

Types come from the description of an empty result, which carries precision and scale. Numbers and times are read as
text that the server writes, with the point and the formats that the session sets: a `number` keeps all of its 38
digits, a `date` its time of day, a time with a zone becomes UTC, a date before Christ is rescued. One read-only
transaction. Names are as the catalog has them (usually upper-case). Oracle holds an empty text as null.
"""

from __future__ import annotations

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

_OPTIONS = frozenset({"sid", "protocol", "wallet_location", "config_dir"})
_BATCH_ROWS = 32_768
_UNBOUNDED = pa.decimal128(38, 18)
_SESSION = (
    "alter session set nls_numeric_characters = '.,' nls_calendar = 'GREGORIAN' time_zone = '+00:00' "
    "nls_timestamp_format = 'YYYY-MM-DD\"T\"HH24:MI:SS.FF6'"
)
_SECONDS, _MICROSECONDS = "'YYYY-MM-DD\"T\"HH24:MI:SS'", "'YYYY-MM-DD\"T\"HH24:MI:SS.FF6'"
_FIRST_DAY = "date '0001-01-01'"

_PLAIN: dict[str, pa.DataType] = {
    "DB_TYPE_BINARY_FLOAT": pa.float32(),
    "DB_TYPE_BINARY_DOUBLE": pa.float64(),
    "DB_TYPE_BOOLEAN": pa.bool_(),
    "DB_TYPE_RAW": pa.binary(),
    "DB_TYPE_LONG_RAW": pa.binary(),
    "DB_TYPE_BLOB": pa.binary(),
    "DB_TYPE_VARCHAR": pa.string(),
    "DB_TYPE_NVARCHAR": pa.string(),
    "DB_TYPE_CHAR": pa.string(),
    "DB_TYPE_NCHAR": pa.string(),
    "DB_TYPE_CLOB": pa.string(),
    "DB_TYPE_NCLOB": pa.string(),
    "DB_TYPE_LONG": pa.string(),
}
_TEXT: dict[str, Callable[[str], str]] = {
    "DB_TYPE_ROWID": lambda value: f"rowidtochar({value})",
    "DB_TYPE_UROWID": lambda value: f"rowidtochar({value})",
    "DB_TYPE_XMLTYPE": lambda value: f"xmlserialize(content {value} as clob)",
    "DB_TYPE_JSON": lambda value: f"json_serialize({value} returning clob)",
    "DB_TYPE_OBJECT": lambda value: f"to_char({value})",
}
_TIMES: dict[str, tuple[pa.DataType, Callable[[str], str]]] = {
    "DB_TYPE_DATE": (LOCAL_TIMESTAMP, lambda value: f"to_char({value}, {_SECONDS})"),
    "DB_TYPE_TIMESTAMP": (LOCAL_TIMESTAMP, lambda value: f"to_char({value}, {_MICROSECONDS})"),
    "DB_TYPE_TIMESTAMP_TZ": (UTC_TIMESTAMP, lambda value: f"to_char(sys_extract_utc({value}), {_MICROSECONDS})"),
    "DB_TYPE_TIMESTAMP_LTZ": (UTC_TIMESTAMP, lambda value: f"to_char(sys_extract_utc({value}), {_MICROSECONDS})"),
}

_ENTITIES = (
    "select owner || '.' || name from (select owner, table_name as name from all_tables where nested = 'NO' "
    "and secondary = 'N' union all select owner, view_name from all_views) where owner not in "
    "(select username from all_users where oracle_maintained = 'Y') order by 1"
)
_KEYS = (
    "select c.column_name from all_constraints k join all_cons_columns c on c.owner = k.owner "
    "and c.constraint_name = k.constraint_name where k.constraint_type = 'P' and k.owner = :1 and k.table_name = :2 "
    "order by c.position"
)

# Oracle's and the driver's codes ("Database Error Messages"; python-oracledb, "Error Handling")
_REFUSED = frozenset({"ORA-01017", "ORA-01031", "ORA-01045", "ORA-28000", "ORA-28001", "ORA-28002", "ORA-41900"})
_UNKNOWN = frozenset(
    {
        "ORA-00900",
        "ORA-00903",
        "ORA-00904",
        "ORA-00907",
        "ORA-00911",
        "ORA-00918",
        "ORA-00920",
        "ORA-00923",
        "ORA-00933",
        "ORA-00936",
        "ORA-00942",
        "ORA-01740",
        "ORA-01747",
        "ORA-01756",
        "ORA-12504",
        "ORA-12505",
        "ORA-12514",
        "DPY-4000",
        "DPY-4001",
        "DPY-4026",
        "DPY-6001",
        "DPY-6003",
        "ORA-03048",
        "ORA-03049",
    }
)
_PASSING = frozenset(
    {
        "ORA-00018",
        "ORA-00020",
        "ORA-00028",
        "ORA-00060",
        "ORA-01012",
        "ORA-01033",
        "ORA-01034",
        "ORA-01089",
        "ORA-01090",
        "ORA-01092",
        "ORA-01555",
        "ORA-02396",
        "ORA-02391",
        "ORA-03113",
        "ORA-03114",
        "ORA-03135",
        "ORA-03136",
        "ORA-08176",
        "ORA-08177",
        "ORA-12170",
        "ORA-12516",
        "ORA-12518",
        "ORA-12519",
        "ORA-12520",
        "ORA-12528",
        "ORA-12537",
        "ORA-12541",
        "ORA-12543",
        "ORA-12545",
        "ORA-12547",
        "ORA-12571",
        "ORA-17002",
        "DPY-1001",
        "DPY-4011",
        "DPY-4024",
        "DPY-6000",
        "DPY-6002",
        "DPY-6005",
    }
)


class Oracle(Dialect):
    """An Oracle database."""

    schemes = ("oracle",)
    example = "oracle://user:password@host:port/service"

    def __init__(self, connection: SqlConnection, thing: str) -> None:
        """ConfigurationError when the URL cannot be read."""
        super().__init__(connection, thing)
        parts = self._parts = address_of(connection.url, 1521, _OPTIONS, thing, self.example)
        if not parts.database and not parts.options.get("sid"):
            raise ConfigurationError(thing, "has a url without a service.", f"write {self.example}, or ?sid=….")
        self.default_schema = parts.user.upper()
        self.secrets = {parts.password} - {""}
        self.address = f"{parts.host}:{parts.port}/{parts.database or parts.options['sid']}"

    def _connect(self, thing: str) -> Any:
        try:
            import oracledb
        except ImportError as error:
            raise missing_driver(thing, "python-oracledb", "oracle", error) from error
        parts = self._parts
        ways = {name: value for name, value in parts.options.items() if name != "sid"}
        ways |= {"service_name": parts.database} if parts.database else {"sid": parts.options["sid"]}
        found = oracledb.connect(
            user=parts.user,
            password=parts.password,
            host=parts.host,
            port=parts.port,
            tcp_connect_timeout=max(2.0, min(self.connection.timeout_seconds, 10.0)),
            # the tries are counted here, where they are counted for every database
            retry_count=0,
            program="datong",
            **ways,
        )
        found.call_timeout = int(self.connection.timeout_seconds * 1000)
        try:
            with closing(found.cursor()) as first:
                first.execute(_SESSION)
        except BaseException:
            found.close()
            raise
        return found

    def entities(self, thing: str) -> list[str]:
        """The tables and views that the user sees, but for Oracle's own."""
        with closing(self._connect(thing)) as catalog, closing(catalog.cursor()) as rows:
            rows.execute(_ENTITIES)
            return [row[0] for row in rows.fetchall()]

    def relation(self, entity: EntityConfig, thing: str) -> Relation:
        """By the description of an empty result."""
        # a name without quotes is Oracle's in upper case
        extra = f', ({entity.cursor_expression}) as "{CURSOR}"' if entity.cursor_expression else ""
        with closing(self._connect(thing)) as catalog, closing(catalog.cursor()) as rows:
            rows.execute(f"select source.*{extra} from {self.source_as(entity)} where 1 = 0")
            described = list(rows.description or [])
            keys: list[str] = []
            if not entity.query:
                rows.execute(_KEYS, list(self.table(entity)))
                keys = [row[0] for row in rows.fetchall()]
        columns = [_column(item, self.quoted(item.name)) for item in described if item.name != CURSOR]
        cursor = [_column(item, f"({entity.cursor_expression})") for item in described if item.name == CURSOR]
        return Relation(tuple(columns), tuple(keys), cursor[0] if cursor else None, from_any)

    def source(self, entity: EntityConfig) -> str:
        """What stands after `from`; Oracle knows no `as` there."""
        if entity.query:
            return f"({entity.query.strip().rstrip(';')}) source"
        return super().source(entity)

    def snapshot(self, thing: str) -> Snapshot:
        """A read-only transaction."""
        return _Snapshot(self._connect(thing))

    def writer(self, thing: str) -> Any:
        """Read committed."""
        return self._connect(thing)

    def parameter(self, place: int) -> str:
        return f":{place}"

    def procedure(self, name: str, parameters: Sequence[str]) -> str:
        return f"begin {super().procedure(name, parameters).removeprefix('call ')}; end;"

    def is_duplicate(self, error: Exception) -> bool:
        return _code(error) == "ORA-00001"

    def meaning(self, error: Exception) -> Meaning:
        """By the code of the first message."""
        code = _code(error)
        if code in _REFUSED:
            return "refused"
        if code in _UNKNOWN:
            return "unknown"
        return "passing" if code in _PASSING or isinstance(error, OSError) else "other"

    def sum_text(self, raw: str) -> str:
        """With a point, whatever the session's language writes."""
        return f"to_char(sum({raw}), 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')"

    def literal(self, bound: Any, kind: pa.DataType) -> str:
        """Times as they are in any session. A local one as a `date`, cut to the second: so an index on a `date` column
        serves, and as a lower bound it leaves nothing out."""
        if isinstance(bound, datetime):
            if kind.tz:
                return f"timestamp '{bound.replace(tzinfo=None).isoformat(' ', 'microseconds')} +00:00'"
            return f"to_date('{bound.isoformat('T', 'seconds')}', {_SECONDS})"
        if isinstance(bound, date):
            return f"date '{bound.isoformat()}'"
        if isinstance(bound, str):
            return "'" + bound.replace("'", "''") + "'"
        return str(bound)


def _code(error: Exception) -> str:
    return str(getattr(error.args[0] if error.args else None, "full_code", "") or "")


class _Snapshot(Snapshot):
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> _Snapshot:
        try:
            with closing(self._connection.cursor()) as first:
                first.execute("set transaction read only")
        except BaseException:
            self._connection.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def batches(self, statement: str) -> Iterator[pa.Table]:
        for frame in self._connection.fetch_df_batches(statement=statement, size=_BATCH_ROWS):
            table = pa.table(frame)
            if len(table):
                yield table


def _column(item: Any, raw: str) -> Column:
    """A column of a result's description."""
    code = item.type_code.name
    if code == "DB_TYPE_NUMBER":
        return Column(item.name, _number(item.precision, item.scale), raw, lambda value: f"to_char({value}, 'TM9')")
    if code in _TIMES:
        kind, text = _TIMES[code]
        inside = f"case when {raw} >= {_FIRST_DAY} then {text(raw)} end"
        # a year before Christ has a sign of its own
        before = text(raw).replace("'YYYY", "'SYYYY")
        outside = f"case when {raw} < {_FIRST_DAY} then {before} end"
        return Column(item.name, kind, raw, text, inside=inside, outside=outside)
    if code in _PLAIN:
        return Column(item.name, _PLAIN[code], raw)
    return Column(item.name, pa.string(), raw, _TEXT.get(code, lambda value: f"to_char({value})"))


def _number(precision: int | None, scale: int | None) -> pa.DataType:
    """`number(p,s)`: without a precision, or a `float`, which Oracle keeps as a number, what the lake can hold at most.
    A negative scale rounds left of the point; a scale above the precision leaves zeros right of it."""
    if not precision or scale is None or scale == -127:
        return _UNBOUNDED
    if scale == 0:
        for digits, kind in ((4, pa.int16()), (9, pa.int32()), (18, pa.int64())):
            if precision <= digits:
                return kind
    if scale < 0:
        return pa.decimal128(min(precision - scale, 38), 0)
    return pa.decimal128(max(precision, scale), scale) if scale <= 38 else _UNBOUNDED
