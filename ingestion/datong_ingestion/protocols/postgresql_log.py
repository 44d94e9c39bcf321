"""The log of PostgreSQL: every insert, update and delete of a table in the order of commits, by logical decoding.

Reads: at first the table itself, in one snapshot; then the changes that the server decodes (pgoutput, protocol 1) from
a replication slot of the entity's own. Transactions that the snapshot showed already are left out, by their numbers.
Changes: the position is the end of the last transaction in the log; the slot moves on only after the load.
Guards against: a crash anywhere (the slot is peeked, never emptied), a slot that is gone, was moved by others or was
cut off by the server, a truncated table (each a new baseline), a changed key, large values that the log leaves out.
No JVM and no extension is needed: the functions are PostgreSQL's own (manual, "Replication Management Functions").
From the log to Arrow pages. Alone: `python -m datong_ingestion crm_log`.
"""

from __future__ import annotations

import json
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
import pyarrow.csv
from datong_platform.errors import (
    AuthenticationError,
    ConfigurationError,
    DatongError,
    PositionLostError,
    TransientError,
)
from datong_platform.lake.columns import LOCAL_TIMESTAMP, UTC_TIMESTAMP, compute
from datong_platform.silence import patient
from psycopg import conninfo, sql

from datong_ingestion.connections.database_log import PostgresqlLogConnection
from datong_ingestion.protocols.database_log import Changes, placed, without_filter
from datong_ingestion.source import DELETE, INSERT, SNAPSHOT, UPDATE, Description, InterruptedReadError, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig
from datong_ingestion.values import MisfitError, Rescue, cast_texts, column, converter

_MODES: frozenset[Mode] = frozenset({"log"})
_MOVED_ON = 16 * 1024 * 1024
"""Bytes of a log without changes of the table after which the slot moves on all the same, so that the server can let
them go."""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_SETTINGS = "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 -c bytea_output=hex"
# types by their OIDs (pg_type.dat); every other is read as its text
_TYPES: dict[int, pa.DataType] = {
    16: pa.bool_(),
    17: pa.binary(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1114: LOCAL_TIMESTAMP,
    1184: UTC_TIMESTAMP,
}
_NUMERIC = 1700


@dataclass(frozen=True)
class _Position:
    lsn: int
    snapshot: str = ""
    """What the baseline saw (`xmin:xmax:xip`), until the log is past it."""
    until: int = 0
    """Where the log was past it."""

    @classmethod
    def parse(cls, text: str, thing: str) -> _Position:
        try:
            content = json.loads(text)
            return cls(_number(content["lsn"]), content.get("snapshot", ""), _number(content.get("until", "0/0")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PositionLostError(thing, f"has a position that is none of PostgreSQL's: {text[:80]!r}.") from error

    def at(self, lsn: int) -> _Position:
        return _Position(lsn, self.snapshot, self.until) if lsn < self.until else _Position(lsn)

    def __str__(self) -> str:
        content = {"lsn": _lsn(self.lsn)}
        if self.snapshot:
            content |= {"snapshot": self.snapshot, "until": _lsn(self.until)}
        return json.dumps(content, separators=(",", ":"))


@dataclass
class _Transaction:
    end: int
    place: str
    at: datetime
    skipped: bool


@dataclass
class _Relation:
    ours: bool
    names: list[str] = field(default_factory=list[str])


class PostgresqlLog:
    """A database and its log."""

    def __init__(self, system: SystemConfig) -> None:
        """Looks up address and credentials; ConfigurationError when one is not set. Opens no connection."""
        declared = system.connection
        if not isinstance(declared, PostgresqlLogConnection):
            raise ConfigurationError(f"system {system.system}", "has no connection to a PostgreSQL log.")
        connection = declared.resolved(f"system {system.system}")
        self.system, self.connection = system.system, connection
        self._credentials = declared.names_of("url") or "the user and the password"
        try:
            parts = conninfo.conninfo_to_dict(connection.url)
        except psycopg.ProgrammingError as error:
            raise ConfigurationError(
                f"system {system.system}", "has a url that cannot be read.", "percent-encode its user and password."
            ) from error
        self._secrets = {str(parts[name]) for name in ("password", "sslpassword") if parts.get(name)}
        self.address = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
        given = {name: value for name, value in parts.items() if value is not None}
        defaults = {
            "connect_timeout": str(max(2, int(min(connection.timeout_seconds, 10)))),
            "application_name": "datong",
            "client_encoding": "UTF8",
            "options": _SETTINGS,
            "keepalives_idle": "30",
        }
        self._conninfo = conninfo.make_conninfo("", **{**defaults, **given})

    def close(self) -> None:
        """Nothing to close: each read opens its own connection."""

    def entities(self) -> list[str]:
        """The tables of the publication, as `schema.table`."""
        with self._connected(f"system {self.system}") as database:
            rows = database.execute(
                "select schemaname || '.' || tablename from pg_publication_tables where pubname = %s order by 1",
                [self.connection.publication],
            ).fetchall()
        return [row[0] for row in rows]

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """Schema and primary key from the catalog; ConfigurationError with the statement that is still to be run."""
        thing = self._thing(entity)
        without_filter(entity, thing)
        schema, table = self._table(entity)
        with self._connected(thing) as database:
            try:
                columns, keys = self._columns(database, thing, schema, table)
                self._prepared(database, thing, schema, table, keys)
            except psycopg.Error as error:
                raise self._translated(error, thing) from None
        if entity.select:
            columns = [item for item in columns if item.name in {*entity.select, *entity.keys, *keys}]
        return Description(schema=pa.schema([*columns, *placed(entity)]), keys=keys, modes=_MODES, unique=False)

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        """The table and its place in the log when there is no position, else the changes since it."""
        thing = self._thing(entity)
        try:
            with self._connected(thing) as database:
                if position is None:
                    yield from self._baseline(database, entity, description, thing)
                else:
                    yield from self._changes(database, entity, description, _Position.parse(position, thing), thing)
        except psycopg.Error as error:
            translated = self._translated(error, thing)
            if isinstance(translated, TransientError):
                raise InterruptedReadError(translated.thing, translated.reason, translated.next_step) from None
            raise translated from None

    def confirm(self, entity: EntityConfig, position: str) -> None:
        """Move the slot on, so that the server can let the log before it go."""
        thing = self._thing(entity)
        try:
            reached = _Position.parse(position, thing)
        except PositionLostError:
            return
        with self._connected(thing) as database:
            try:
                database.execute(
                    "select pg_replication_slot_advance(slot_name, %s::pg_lsn) from pg_replication_slots "
                    "where slot_name = %s and not active and confirmed_flush_lsn < %s::pg_lsn",
                    [_lsn(reached.lsn), self._slot(entity), _lsn(reached.lsn)],
                )
            except psycopg.errors.ObjectInUse:
                return  # another read has it; the next confirmation moves it on
            except psycopg.Error as error:
                raise self._translated(error, thing) from None

    def _baseline(
        self, database: psycopg.Connection[Any], entity: EntityConfig, description: Description, thing: str
    ) -> Iterator[Page]:
        slot = self._slot(entity)
        database.execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s", [slot]
        )
        created: str = _value(
            database, "select lsn::text from pg_create_logical_replication_slot(%s, 'pgoutput')", [slot]
        )
        schema = description.schema
        fields = [item for item in schema if item.name not in placed(entity).names]
        with database.transaction(), database.cursor() as cursor:
            # the slot is older than the snapshot, so nothing is between the two; what both hold is told by its number
            cursor.execute("set transaction isolation level repeatable read, read only")
            seen: str = _value(database, "select pg_current_snapshot()::text")
            names = sql.SQL(", ").join(sql.Identifier(item.name) for item in fields)
            relation = sql.Identifier(*self._table(entity))
            statement = sql.SQL("copy (select {} from {}) to stdout (format csv)").format(names, relation)
            with cursor.copy(statement) as copy:
                yield from _copied(copy, schema, fields)
        now: str = _value(database, "select pg_current_wal_insert_lsn()::text")
        reached = _Position(_number(created), seen, _number(now))
        yield Page(schema.empty_table(), position=str(reached))

    def _changes(
        self,
        database: psycopg.Connection[Any],
        entity: EntityConfig,
        description: Description,
        position: _Position,
        thing: str,
    ) -> Iterator[Page]:
        end = self._checked(database, entity, position, thing)
        changes = Changes(description.schema, _column, selective=bool(entity.select))
        visible = _visibility(position.snapshot)
        relations: dict[int, _Relation] = {}
        current: _Transaction | None = None
        reached = position
        wanted = self._table(entity)
        keys = set(entity.keys or description.keys)
        with database.cursor() as cursor:
            for (data,) in cursor.stream(
                "select data from pg_logical_slot_peek_binary_changes(%s, %s::pg_lsn, %s, "
                "'proto_version', '1', 'publication_names', %s)",
                [self._slot(entity), _lsn(end), self.connection.batch_rows, self.connection.publication],
                binary=True,
            ):
                kind = data[:1]
                if kind == b"B":
                    final, stamp, number = struct.unpack_from(">QqI", data, 1)
                    at = _EPOCH + timedelta(microseconds=stamp)
                    # a transaction begins with where its commit stands; one before the position was read already
                    skipped = final < position.lsn or visible(number)
                    current = _Transaction(final, f"{final >> 32:08X}/{final & 0xFFFFFFFF:08X}", at, skipped)
                elif kind == b"C":
                    reached = reached.at(max(reached.lsn, struct.unpack_from(">Q", data, 10)[0]))
                    if changes.full:
                        yield changes.page(None)
                elif kind == b"R":
                    number, relation = _relation(data, wanted)
                    relations[number] = relation
                elif current is not None and not current.skipped:
                    if kind == b"T":
                        if _truncates(data, relations):
                            raise PositionLostError(thing, "the table was truncated.")
                    elif kind in {b"I", b"U", b"D"}:
                        _take(data, relations, changes, current, keys)
                        if changes.full:
                            yield changes.page(None)
        if reached.lsn == position.lsn and end - position.lsn > _MOVED_ON:
            reached = reached.at(end)
        yield changes.page(str(reached))

    def _checked(self, database: psycopg.Connection[Any], entity: EntityConfig, position: _Position, thing: str) -> int:
        """Where the log ends now; PositionLostError when the slot does not reach back to the position."""
        slot = self._slot(entity)
        row = database.execute(
            "select confirmed_flush_lsn, coalesce(wal_status, '') from pg_replication_slots where slot_name = %s",
            [slot],
        ).fetchone()
        if row is None:
            raise PositionLostError(thing, f"replication slot {slot} is gone.")
        if row[1] == "lost" or row[0] is None:
            raise PositionLostError(thing, f"the server removed log that slot {slot} still needed.")
        if _number(row[0]) > position.lsn:
            raise PositionLostError(thing, f"slot {slot} was moved on to {row[0]} by someone else.")
        return _number(_value(database, "select pg_current_wal_lsn()::text"))

    def _columns(
        self, database: psycopg.Connection[Any], thing: str, schema: str, table: str
    ) -> tuple[list[pa.Field], tuple[str, ...]]:
        rows = database.execute(
            "select a.attname, a.atttypid::int8, a.atttypmod, t.typbasetype::int8, t.typtypmod "
            "from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace "
            "join pg_type t on t.oid = a.atttypid where n.nspname = %s and c.relname = %s and a.attnum > 0 "
            "and not a.attisdropped and a.attgenerated = '' order by a.attnum",
            [schema, table],
        ).fetchall()
        if not rows:
            raise ConfigurationError(
                thing,
                f"there is no table {schema}.{table} at {self.address} that the user may see.",
                "check `source` in its defs.yaml.",
            )
        keys = database.execute(
            "select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid "
            "and a.attnum = any(i.indkey) join pg_class c on c.oid = i.indrelid "
            "join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relname = %s and i.indisprimary "
            "order by array_position(i.indkey::int2[], a.attnum)",
            [schema, table],
        ).fetchall()
        columns = [
            pa.field(name, _kind(base or oid, base_modifier if base else modifier))
            for name, oid, modifier, base, base_modifier in rows
        ]
        return columns, tuple(row[0] for row in keys)

    def _prepared(
        self, database: psycopg.Connection[Any], thing: str, schema: str, table: str, keys: tuple[str, ...]
    ) -> None:
        """ConfigurationError with what the database's owner still has to do."""
        level = _value(database, "select current_setting('wal_level')")
        if level != "logical":
            raise ConfigurationError(
                thing,
                f"{self.address} has wal_level {level}.",
                "have `alter system set wal_level = logical` run, and the server restarted.",
            )
        found = database.execute(
            "select c.relreplident::text, exists (select from pg_publication_tables p where p.pubname = %s "
            "and p.schemaname = n.nspname and p.tablename = c.relname) from pg_class c "
            "join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relname = %s",
            [self.connection.publication, schema, table],
        ).fetchone() or ("d", False)
        name = f'"{schema}"."{table}"'
        self._published(database, thing, name)
        if not found[1]:
            exists = _value(database, "select 1 from pg_publication where pubname = %s", [self.connection.publication])
            what = "alter publication {} add table {}" if exists else "create publication {} for table {}"
            raise ConfigurationError(
                thing,
                f"is not in publication {self.connection.publication}.",
                f"have its owner run: {what.format(self.connection.publication, name)};",
            )
        if not keys and found[0] in {"d", "n"}:
            raise ConfigurationError(
                thing,
                "has no primary key, so its updates and deletes would not tell which row they mean.",
                f"have its owner run: alter table {name} replica identity full;",
            )

    def _published(self, database: psycopg.Connection[Any], thing: str, name: str) -> None:
        """ConfigurationError for a publication that leaves changes out in silence."""
        publication = self.connection.publication
        flags = database.execute(
            "select p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate, p.pubviaroot, "
            "coalesce((select relkind = 'p' from pg_class where oid = %s::regclass), false) "
            "from pg_publication p where p.pubname = %s",
            [name, publication],
        ).fetchone() or (True, True, False)
        if not flags[0]:
            raise ConfigurationError(
                thing,
                f"is in publication {publication}, which leaves out some kinds of changes.",
                f"have its owner run: alter publication {publication} "
                "set (publish = 'insert, update, delete, truncate');",
            )
        if flags[2] and not flags[1]:
            raise ConfigurationError(
                thing,
                f"is partitioned, and publication {publication} tells its changes under the partitions' names.",
                f"have its owner run: alter publication {publication} set (publish_via_partition_root = true);",
            )

    def _slot(self, entity: EntityConfig) -> str:
        return f"{self.connection.slot_prefix}_{self.system}_{entity.name}"[:63]

    def _table(self, entity: EntityConfig) -> tuple[str, str]:
        schema, _, name = entity.source.rpartition(".")
        return schema or self.connection.read_schema, name

    def _thing(self, entity: EntityConfig) -> str:
        return f"{self.system}.{entity.name} ({entity.address})"

    def _connected(self, thing: str) -> psycopg.Connection[Any]:
        for attempt in range(self.connection.attempts):
            try:
                return patient(self._conninfo, self.connection.timeout_seconds)
            except psycopg.Error as error:
                translated = self._translated(error, thing)
                if not isinstance(translated, TransientError) or attempt == self.connection.attempts - 1:
                    raise translated from None
                time.sleep(min(0.2 * 2**attempt, self.connection.max_wait_seconds))
        raise AssertionError("unreachable")

    def _translated(self, error: Exception, thing: str) -> DatongError:
        said = " ".join(str(error).split())
        for secret in self._secrets:
            said = said.replace(secret, "***")
        state = str(getattr(error, "sqlstate", "") or "")
        lowered = said.lower()
        if state.startswith("28") or "password authentication failed" in lowered or "no pg_hba.conf" in lowered:
            return AuthenticationError(thing, f"{self.address} refused: {said}.", f"check {self._credentials}.")
        if state == "42501":
            return AuthenticationError(
                thing,
                f"{self.address} refused: {said}.",
                "have the user given what it lacks: `alter role … replication` and `grant select on … to …`.",
            )
        if state == "53400" or "all replication slots are in use" in lowered:
            return ConfigurationError(
                thing, f"{self.address} has no free replication slot.", "raise max_replication_slots on the server."
            )
        if state.startswith(("3D", "42", "22")):
            return ConfigurationError(thing, f"{self.address} answered: {said}.", "check its definition.")
        return TransientError(
            thing, f"{self.address}: {said}.", "check that the database is running and reachable, then run again."
        )


def _value(database: psycopg.Connection[Any], statement: LiteralString, values: list[Any] | None = None) -> Any:
    """The only value of a query's only row."""
    row = database.execute(statement, values).fetchone()
    return row[0] if row else None


def _copied(copy: psycopg.Copy, schema: pa.Schema, fields: list[pa.Field]) -> Iterator[Page]:
    """The rows of a COPY in CSV, as pages."""
    options = pyarrow.csv.ConvertOptions(
        column_types={item.name: pa.binary() for item in fields},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    try:
        reader = pyarrow.csv.open_csv(
            _Readable(copy),
            read_options=pyarrow.csv.ReadOptions(
                column_names=[item.name for item in fields], block_size=8 * 1024 * 1024, use_threads=False
            ),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=options,
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        raise
    for batch in reader:
        if not len(batch):
            continue
        rescue = Rescue()
        found = {item.name: _converted(item.name, item.type, batch.column(item.name), rescue) for item in fields}
        columns = [found[item.name] if item.name in found else pa.nulls(len(batch), item.type) for item in schema]
        operations = pa.repeat(pa.scalar(SNAPSHOT), len(batch))
        yield Page(pa.Table.from_arrays(columns, schema=schema), operations, rescue.column(len(batch)))


class _Readable:
    """A COPY as a file that Arrow reads."""

    closed = False

    def __init__(self, copy: psycopg.Copy) -> None:
        self._copy, self._rest = copy, b""

    def read(self, size: int = -1) -> bytes:
        """Some bytes; none at the end."""
        parts, length = [self._rest], len(self._rest)
        while size < 0 or length < size:
            part = bytes(self._copy.read())
            if not part:
                break
            parts.append(part)
            length += len(part)
        content = b"".join(parts)
        self._rest = content[size:] if size >= 0 else b""
        return content[:size] if size >= 0 else content

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is not."""
        return False

    def writable(self) -> bool:
        """It is not."""
        return False

    def close(self) -> None:
        """The COPY is closed by who opened it."""

    def flush(self) -> None:
        """Nothing to do."""


def _column(name: str, kind: pa.DataType, values: list[Any], rescue: Rescue) -> Any:
    return _converted(name, kind, pa.array(values, pa.binary()), rescue)


def _converted(name: str, kind: pa.DataType, texts: Any, rescue: Rescue) -> Any:
    """A column of PostgreSQL's texts in the agreed type; what does not fit is rescued."""
    try:
        strings = texts.cast(pa.string())
        if kind == pa.string():
            return strings
        if kind == pa.bool_():
            return compute.equal(strings, "t")
        if not pa.types.is_binary(kind):
            return cast_texts(strings, kind)
    except pa.ArrowInvalid:
        pass
    usual = _to_binary if pa.types.is_binary(kind) else converter(kind)

    def convert(value: bytes) -> Any:
        return usual({b"t": "true", b"f": "false"}.get(value, "?") if kind == pa.bool_() else value.decode())

    return column(name, kind, texts.to_pylist(), convert, _Decoding(rescue))


class _Decoding(Rescue):
    """Rescues bytes as the texts they are."""

    def __init__(self, rescue: Rescue) -> None:
        super().__init__()
        self._inner = rescue

    def add(self, row: int, field: str, raw: Any) -> None:
        self._inner.add(row, field, raw.decode(errors="backslashreplace") if isinstance(raw, bytes) else raw)


def _to_binary(value: str) -> bytes:
    if not value.startswith("\\x"):
        raise MisfitError(value)
    return bytes.fromhex(value[2:])


def _kind(oid: int, modifier: int) -> pa.DataType:
    if oid != _NUMERIC:
        return _TYPES.get(oid, pa.string())
    if modifier < 4:
        return pa.decimal128(38, 18)
    precision, scale = (modifier - 4) >> 16, ((modifier - 4) & 0x7FF) ^ 1024
    scale -= 1024
    return pa.decimal128(precision, scale) if precision <= 38 and 0 <= scale <= precision else pa.string()


def _visibility(snapshot: str) -> Any:
    """Whether a transaction's number (its lower 32 bits) is of one that a snapshot shows."""
    if not snapshot:
        return lambda _: False
    lowest, highest, running = snapshot.split(":")
    xmin, xmax = int(lowest), int(highest)
    going = {int(number) for number in running.split(",") if number}

    def visible(number: int) -> bool:
        distance = (number - xmax) & 0xFFFFFFFF
        if distance < 0x80000000:
            return False
        full = xmax + distance - 0x100000000
        return full < xmin or full not in going

    return visible


def _relation(data: bytes, wanted: tuple[str, str]) -> tuple[int, _Relation]:
    number = struct.unpack_from(">I", data, 1)[0]
    schema, table, rest = data[5:].split(b"\0", 2)
    if (schema.decode(), table.decode()) != wanted:
        return number, _Relation(False)
    names: list[str] = []
    count = struct.unpack_from(">H", rest, 1)[0]
    offset = 3
    for _ in range(count):
        stop = rest.index(b"\0", offset + 1)
        names.append(rest[offset + 1 : stop].decode())
        offset = stop + 9
    return number, _Relation(True, names)


def _truncates(data: bytes, relations: dict[int, _Relation]) -> bool:
    count = struct.unpack_from(">I", data, 1)[0]
    numbers = struct.unpack_from(f">{count}I", data, 6)
    return any(relations[number].ours for number in numbers if number in relations)


def _take(
    data: bytes, relations: dict[int, _Relation], changes: Changes, transaction: _Transaction, keys: set[str]
) -> None:
    relation = relations[struct.unpack_from(">I", data, 1)[0]]
    if not relation.ours:
        return
    kind, offset = data[:1], 5
    old: dict[str, Any] | None = None
    place = (transaction.place, transaction.at)
    changes.size += len(data)
    if data[5:6] in {b"K", b"O"}:
        old, _, offset = _tuple(data, 6, relation.names)
    if kind == b"D":
        changes.add(DELETE, old or {}, place)
        return
    row, unchanged, _ = _tuple(data, offset + 1, relation.names)
    if old is not None:
        # a row that is logged whole tells what the new one leaves out
        row |= {name: old[name] for name in unchanged if old.get(name) is not None}
        unchanged = [name for name in unchanged if old.get(name) is None]
        if any(old.get(name) != row.get(name) for name in keys if name in old):
            changes.add(DELETE, old, place)
    changes.add(INSERT if kind == b"I" else UPDATE, row, place, tuple(unchanged))


def _tuple(data: bytes, offset: int, names: list[str]) -> tuple[dict[str, Any], list[str], int]:
    """A row's values as texts, the names of those left out, and where the row ends."""
    count = (data[offset] << 8) | data[offset + 1]
    offset += 2
    row: dict[str, Any] = {}
    unchanged: list[str] = []
    for index in range(count):
        kind = data[offset]
        offset += 1
        if kind == 116:  # t: a text behind its length
            stop = offset + 4 + int.from_bytes(data[offset : offset + 4], "big")
            row[names[index]] = data[offset + 4 : stop]
            offset = stop
        elif kind == 117:  # u: large, not changed, not logged
            unchanged.append(names[index])
            row[names[index]] = None
        else:
            row[names[index]] = None
    return row, unchanged, offset


_LSN = re.compile(r"([0-9A-Fa-f]+)/([0-9A-Fa-f]+)\Z")


def _number(lsn: str) -> int:
    found = _LSN.match(lsn)
    if not found:
        raise ValueError(lsn)
    return (int(found[1], 16) << 32) | int(found[2], 16)


def _lsn(number: int) -> str:
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"
