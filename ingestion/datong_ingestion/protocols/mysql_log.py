"""The log of MariaDB and MySQL: every insert, update and delete of a table in the order of commits.

Reads: at first the table itself, in one snapshot whose place in the binlog MariaDB tells (MySQL: the place just before
it, from where some changes come again); then the changes of the row binlog, as a
replica gets them (mysql-replication, Apache-2.0).
Changes: the position is a binlog file and the end of a transaction in it.
Guards against: a crash anywhere, a binlog that the server removed, a truncated or renamed table (each a new baseline),
settings under which the binlog does not tell enough, a changed key, dates that are none.
From the binlog to Arrow pages. Alone: `python -m datong_ingestion shop_log`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from datong_platform.errors import ConfigurationError, DatongError, PositionLostError, TransientError

from datong_ingestion.connections.database_log import MysqlLogConnection
from datong_ingestion.connections.sql import SqlConnection
from datong_ingestion.protocols.database_log import Changes, placed, without_filter
from datong_ingestion.protocols.databases.mysql import MySql
from datong_ingestion.protocols.mysql_rows import NO_DATE, NoDate, Row, Rows, time_text
from datong_ingestion.source import DELETE, INSERT, SNAPSHOT, UPDATE, Description, InterruptedReadError, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig
from datong_ingestion.values import MisfitError, Number, Rescue, column, converter, decimals

_MODES: frozenset[Mode] = frozenset({"log"})
_MOVED_ON = 16 * 1024 * 1024
"""Bytes of a binlog without changes of the table after which the position moves on all the same."""
_SETTINGS = {"log_bin": "ON", "binlog_format": "ROW", "binlog_row_metadata": "FULL", "binlog_row_image": "FULL"}
_ENDS_TABLE = re.compile(
    r"\s*(truncate|drop\s+(?:temporary\s+)?table|rename\s+table|alter\s+table.*\brename\b)", re.I | re.S
)
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_GONE = 1236
"""The server cannot give the binlog from this place on (ER_MASTER_FATAL_ERROR_READING_BINLOG)."""
_YEAR = 13
_SAME_READER = "same server_uuid/server_id"
"""The server's words, under the number of a lost position, when it drops a reader for a newer one of its number."""
_TIMESTAMP = 17
_ZERO = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
"""What the library makes of the timestamp `0000-00-00`."""
_PLAIN: tuple[tuple[Callable[[pa.DataType], bool], type], ...] = (
    (pa.types.is_string, str),
    (pa.types.is_integer, int),
    (pa.types.is_decimal, str),
    (pa.types.is_timestamp, datetime),
    (pa.types.is_date, date),
    (pa.types.is_float64, float),
    (pa.types.is_binary, bytes),
)
"""Types of columns, and the one type of Python of whose values Arrow makes such a column by itself."""


@dataclass(frozen=True, order=True)
class _Position:
    file: str
    offset: int

    @classmethod
    def parse(cls, text: str, thing: str) -> _Position:
        try:
            content = json.loads(text)
            return cls(str(content["file"]), int(content["offset"]))
        except (ValueError, KeyError, TypeError) as error:
            raise PositionLostError(thing, f"has a position that is none of a binlog: {text[:80]!r}.") from error

    def __str__(self) -> str:
        return json.dumps({"file": self.file, "offset": self.offset}, separators=(",", ":"))


class MysqlLog:
    """A database and its binlog."""

    def __init__(self, system: SystemConfig) -> None:
        """Looks up address and credentials; ConfigurationError when one is not set. Opens no connection."""
        declared = system.connection
        if not isinstance(declared, MysqlLogConnection):
            raise ConfigurationError(f"system {system.system}", "has no connection to a binlog.")
        connection = declared.resolved(f"system {system.system}")
        self.definition, self.system, self.connection = system, system.system, connection
        self._credentials = declared.names_of("url") or "the user and the password"
        self._driver()
        self.dialect = MySql(
            SqlConnection(
                url=connection.url,
                timeout_seconds=connection.timeout_seconds,
                attempts=connection.attempts,
                max_wait_seconds=connection.max_wait_seconds,
            ),
            f"system {system.system}",
        )

    def close(self) -> None:
        """Nothing to close: each read opens its own connections."""

    def entities(self) -> list[str]:
        """The tables that the user may read, as `database.table`."""
        thing = f"system {self.system}"
        return self._tried(thing, lambda: self.dialect.entities(thing))

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """Schema and primary key from the catalog; ConfigurationError for a setting that the binlog needs."""
        thing = self._thing(entity)
        without_filter(entity, thing)
        self._prepared(thing)
        relation = self._tried(thing, lambda: self.dialect.relation(entity, thing))
        wanted = {*entity.select, *entity.keys, *relation.keys}
        columns = [item for item in relation.columns if not entity.select or item.name in wanted]
        schema = pa.schema([(item.name, item.kind) for item in columns])
        return Description(schema=pa.schema([*schema, *placed(entity)]), keys=relation.keys, modes=_MODES)

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        """The table and its place in the binlog when there is no position, else the changes since it."""
        thing = self._thing(entity)
        try:
            if position is None:
                yield from self._baseline(entity, description, thing)
            else:
                yield from self._changes(entity, description, _Position.parse(position, thing), thing)
        except (DatongError, GeneratorExit):
            raise
        except Exception as error:  # noqa: BLE001 what a driver raises is translated
            translated = self.dialect.translated(error, thing, self._credentials)
            if isinstance(translated, TransientError):
                raise InterruptedReadError(translated.thing, translated.reason, translated.next_step) from None
            raise translated from None

    def _baseline(self, entity: EntityConfig, description: Description, thing: str) -> Iterator[Page]:
        relation = self.dialect.relation(entity, thing)
        schema = description.schema
        columns = [item for item in relation.columns if item.name in schema.names]
        before = self._end(thing)
        with self.dialect.snapshot(thing) as snapshot:
            told = {
                name.as_py().decode().lower(): value.as_py().decode()
                for part in snapshot.batches("show status like 'binlog_snapshot_%'")
                for name, value in zip(part.column(0), part.column(1), strict=True)
            }
            if told.get("binlog_snapshot_file"):
                before = _Position(told["binlog_snapshot_file"], int(told["binlog_snapshot_position"]))
            parts = ", ".join(f"{item.select} as {self.dialect.quoted(item.name)}" for item in columns)
            for table in snapshot.batches(f"select {parts} from {self.dialect.source(entity)}"):
                rescue = Rescue()
                found = {
                    item.name: relation.fit(
                        table.column(item.name).combine_chunks(), schema.field(item.name).type, item.name, rescue
                    )
                    for item in columns
                }
                arrays = [found.get(item.name, pa.nulls(len(table), item.type)) for item in schema]
                yield Page(
                    pa.Table.from_arrays(arrays, schema=schema),
                    pa.repeat(pa.scalar(SNAPSHOT), len(table)),
                    rescue.column(len(table)),
                )
        yield Page(schema.empty_table(), position=str(before))

    def _changes(
        self, entity: EntityConfig, description: Description, position: _Position, thing: str
    ) -> Iterator[Page]:
        from pymysqlreplication.event import QueryEvent, RotateEvent, XidEvent
        from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

        rows_of = Rows()
        _, table = self.dialect.table(entity)
        changes = Changes(description.schema, _column, selective=bool(entity.select))
        keys = set(entity.keys or description.keys)
        reached = position
        total = 0
        pending = 0
        with closing(self._stream(entity, position)) as stream:
            for event in self._events(stream, thing):
                if isinstance(event, WriteRowsEvent | UpdateRowsEvent | DeleteRowsEvent):
                    place = (
                        f"{stream.log_file}:{event.packet.log_pos:012d}",
                        datetime.fromtimestamp(event.timestamp, UTC),
                    )
                    changes.size += event.packet.event_size
                    for before, after in rows_of.of(event) or _read_by_library(event):
                        pending += 1
                        _take(before, after, changes, place=place, keys=keys)
                    if changes.full:
                        yield changes.page(None)
                    continue
                if isinstance(event, QueryEvent):
                    query = _COMMENT.sub("", event.query if isinstance(event.query, str) else str(event.query)).strip()
                    if query.upper() == "BEGIN":
                        continue
                    if _ENDS_TABLE.match(query) and re.search(rf"\b{re.escape(table)}\b", query, re.I):
                        raise PositionLostError(thing, f"the table was emptied or renamed: {query[:120]}.")
                elif not isinstance(event, XidEvent):
                    if isinstance(event, RotateEvent):
                        # tables are numbered anew by a server that was restarted
                        stream.table_map = {}
                        rows_of.forget()
                    continue
                # the end of a transaction: only from here can a read go on
                reached = _Position(str(stream.log_file), int(stream.log_pos))
                total, pending = total + pending, 0
                if total >= self.connection.batch_rows:
                    break
        idle = not total and reached.file == position.file and reached.offset - position.offset < _MOVED_ON
        yield changes.page(str(position if idle else reached))

    def _events(self, stream: Any, thing: str) -> Iterator[Any]:
        import pymysql

        try:
            yield from stream
        except pymysql.err.MySQLError as error:
            if _SAME_READER in str(error):
                raise InterruptedReadError(
                    thing,
                    f"another reader took its server_id ({error.args[-1]}).",
                    "let one read end before the other, or choose a server_id that no replica has.",
                ) from None
            if error.args and error.args[0] == _GONE:
                raise PositionLostError(thing, f"the server has no binlog from there on: {error.args[-1]}.") from None
            raise

    def _stream(self, entity: EntityConfig, position: _Position) -> Any:
        from pymysqlreplication import BinLogStreamReader
        from pymysqlreplication.event import QueryEvent, RotateEvent, XidEvent
        from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

        parts, wait = self.dialect.parts, self.connection.timeout_seconds
        schema, table = self.dialect.table(entity)
        settings: dict[str, Any] = {
            "host": parts.host,
            "port": parts.port,
            "user": parts.user,
            "password": parts.password,
            "connect_timeout": max(2, int(min(wait, 10))),
            "read_timeout": wait,
        }
        if ca := parts.options.get("ssl_ca"):
            settings["ssl"] = {"ca": ca}
        index = next(i for i, item in enumerate(self.definition.entities) if item.name == entity.name)
        return BinLogStreamReader(
            connection_settings=settings,
            server_id=self.connection.server_id + index,
            only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent, XidEvent, QueryEvent, RotateEvent],
            only_schemas=[schema],
            only_tables=[table],
            log_file=position.file,
            log_pos=position.offset,
            resume_stream=True,
            blocking=False,
            enable_logging=False,
            # what a table is like is told before every statement, and is the same as long as its number is
            freeze_schema=True,
        )

    def _end(self, thing: str) -> _Position:
        """Where the binlog ends now."""
        with closing(self.dialect.connect(thing)) as catalog, catalog.cursor() as rows:
            try:
                rows.execute("show master status")
            except Exception:  # noqa: BLE001 MySQL 8.4 knows it by another name only
                rows.execute("show binary log status")
            found = rows.fetchone()
        if not found:
            raise ConfigurationError(thing, f"{self.dialect.address} writes no binlog.", "have log_bin set.")
        return _Position(str(found[0]), int(found[1]))

    def _prepared(self, thing: str) -> None:
        """ConfigurationError for the settings without which the binlog does not tell enough."""

        def settings() -> dict[str, str]:
            with closing(self.dialect.connect(thing)) as catalog, catalog.cursor() as rows:
                names = ", ".join(f"'{name}'" for name in _SETTINGS)
                rows.execute(f"show global variables where variable_name in ({names})")
                return {name.lower(): str(value).upper() for name, value in rows.fetchall()}

        found = self._tried(thing, settings)
        if wrong := [name for name, value in _SETTINGS.items() if found.get(name) != value]:
            told = ", ".join(f"{name} = {found.get(name, 'unknown')}" for name in wrong)
            asked = ", ".join(f"{name} = {_SETTINGS[name]}" for name in wrong)
            raise ConfigurationError(
                thing, f"{self.dialect.address} has {told}.", f"have {asked} set in the server's configuration."
            )

    def _driver(self) -> None:
        try:
            import pymysqlreplication  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ImportError as error:
            raise ConfigurationError(
                f"system {self.system}", "needs mysql-replication.", "run `uv sync --extra mysql_log`."
            ) from error

    def _tried(self, thing: str, act: Callable[[], Any]) -> Any:
        for attempt in range(self.connection.attempts):
            try:
                return act()
            except DatongError:
                raise
            except Exception as error:  # noqa: BLE001 what a driver raises is translated
                translated = self.dialect.translated(error, thing, self._credentials)
                if not isinstance(translated, TransientError) or attempt == self.connection.attempts - 1:
                    raise translated from None
                time.sleep(min(0.2 * 2**attempt, self.connection.max_wait_seconds))
        raise AssertionError("unreachable")

    def _thing(self, entity: EntityConfig) -> str:
        return f"{self.system}.{entity.name} ({entity.address})"


def _take(
    before: Row | None, after: Row | None, changes: Changes, *, place: tuple[str, datetime], keys: set[str]
) -> None:
    if after is None:
        changes.add(DELETE, before or {}, place)
    elif before is None:
        changes.add(INSERT, after, place)
    else:
        if any(before.get(name) != after.get(name) for name in keys):
            changes.add(DELETE, before, place)
        changes.add(UPDATE, after, place)


def _read_by_library(event: Any) -> Iterator[tuple[Row | None, Row | None]]:
    """Each row before and after its change, as the library reads it."""
    deletes = type(event).__name__ == "DeleteRowsEvent"
    for row in event.rows or []:
        if "after_values" in row:
            before = _values(event, row["before_values"], row.get("before_none_sources"))
            yield before, _values(event, row["after_values"], row.get("after_none_sources"))
        else:
            values = _values(event, row["values"], row.get("none_sources"))
            yield (values, None) if deletes else (None, values)


def _values(event: Any, values: Row, sources: dict[str, str] | None) -> Row:
    """A row as the server would write it, where the library's values differ from that."""
    for item in event.columns:
        value = values.get(item.name)
        if isinstance(value, set):
            # a set comes without the order in which its column names the members
            values[item.name] = ",".join(member for member in item.set_values if member in value)
        elif isinstance(value, timedelta):
            values[item.name] = time_text(value, getattr(item, "fsp", 0))
        elif item.type == _YEAR and value == 1900:
            values[item.name] = 0  # the library adds 1900 to the year 0000, too; the least other year is 1901
        elif item.type == _TIMESTAMP and value == _ZERO:
            values[item.name] = NO_DATE
    for name, source in (sources or {}).items():
        if str(source).startswith("out of"):
            values[name] = NO_DATE
        elif source == "empty set":
            values[name] = ""
    return values


def _column(name: str, kind: pa.DataType, values: list[Any], rescue: Rescue) -> Any:
    sent = set(map(type, values)) - {type(None)}
    if len(sent) == 1 and any(tells(kind) and sent == {word} for tells, word in _PLAIN):
        try:
            if pa.types.is_decimal(kind):
                return decimals(pa.array(values, pa.string()), kind)
            return pa.array(values, kind)
        except (pa.ArrowException, OverflowError, UnicodeError):
            pass
    return column(name, kind, values, _native(kind), rescue)


def _native(kind: pa.DataType) -> Callable[[Any], Any]:  # noqa: PLR0911 one way out per type
    """What turns a value of the binlog's reader into one of `kind`; MisfitError for others."""
    usual = converter(kind)

    def plain(value: Any) -> Any:
        return usual(Number(value) if isinstance(value, float) else value)

    def to_boolean(value: Any) -> bool:
        if value in {0, 1, "0", "1"} and not isinstance(value, NoDate):
            return value in {1, "1"}
        raise MisfitError(value)

    def to_whole(value: Any) -> Any:
        # the reader gives the bits of a BIT as a text of zeros and ones
        return int(value, 2) if isinstance(value, str) and value and set(value) <= {"0", "1"} else usual(value)

    def to_moment(value: Any) -> Any:
        if not isinstance(value, datetime):
            raise MisfitError(value)
        return value.replace(tzinfo=UTC) if kind.tz else value

    def to_day(value: Any) -> Any:
        if not isinstance(value, date) or isinstance(value, datetime):
            raise MisfitError(value)
        return value

    def to_bytes(value: Any) -> Any:
        return value if isinstance(value, bytes) else str(value).encode()

    if kind == pa.bool_():
        return to_boolean
    if pa.types.is_integer(kind):
        return to_whole
    if pa.types.is_timestamp(kind):
        return to_moment
    if pa.types.is_date(kind):
        return to_day
    if pa.types.is_binary(kind):
        return to_bytes
    if pa.types.is_floating(kind):
        return lambda value: value if isinstance(value, float) else plain(value)
    return _to_text if kind == pa.string() else plain


def _to_text(value: Any) -> str:
    """A value as the server itself writes it."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Decimal | int | float):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))
