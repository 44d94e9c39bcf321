"""SQL: tables and queries of PostgreSQL, MySQL and MariaDB, SQL Server and Oracle.

Reads: a table, a view or a declared query, in one read-only snapshot, streamed as Arrow batches. Changes: a cursor
column or expression with an overlap, since a transaction can commit after a later timestamp was read; rows without a
cursor are read each time. Deletes: a soft-delete column, or a comparison of the key set. A big table can be cut into
ranges of a column (`partitions`), each read by itself.
Guards against: values that Arrow or Delta cannot hold, which are rescued; a lost connection, after which the read
begins anew. What is particular to a database is its module in `databases/`.
Alone: `python -m datong_ingestion crm`.
"""

from __future__ import annotations

import importlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

import pyarrow as pa
from datong_platform.errors import ConfigurationError, DatongError, TransientError
from datong_platform.quality.compare import BY
from datong_platform.quality.lake_side import can_digest
from datong_platform.quality.windows import Totals, Window

from datong_ingestion import cursor
from datong_ingestion.connections.sql import SqlConnection
from datong_ingestion.protocols.databases.dialect import CURSOR, Column, Dialect, Relation, Snapshot
from datong_ingestion.protocols.databases.side_by_side import SideBySide, Slots
from datong_ingestion.source import Description, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig
from datong_ingestion.values import Rescue

_MODES: frozenset[Mode] = frozenset({"full", "cursor"})
_RAW = "_datong_raw_"
_WHICH = "datong_window"
_DIALECTS = {
    "postgresql": "postgresql:PostgreSql",
    "postgres": "postgresql:PostgreSql",
    "mysql": "mysql:MySql",
    "mariadb": "mysql:MySql",
    "mssql": "sqlserver:SqlServer",
    "sqlserver": "sqlserver:SqlServer",
    "oracle": "oracle:Oracle",
}
_T = TypeVar("_T")


def dialect_of(connection: SqlConnection, thing: str) -> Dialect:
    """The kind of database that a URL leads to; ConfigurationError when it is none that is known."""
    scheme = connection.url.partition("://")[0].lower()
    if scheme not in _DIALECTS:
        raise ConfigurationError(
            thing,
            "has a url of a database that is not known.",
            "write {}, or one that begins with {}.".format(
                "postgresql://user:password@host:port/database",
                ", ".join(f"{name}://" for name in _DIALECTS if name not in {"postgresql", "postgres"}),
            ),
        )
    module, name = _DIALECTS[scheme].split(":")
    kind = getattr(importlib.import_module(f"datong_ingestion.protocols.databases.{module}"), name)
    return kind(connection, thing)


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
        self.dialect = dialect_of(connection, f"system {system.system}")
        self._gate = Slots(connection.concurrency)
        self._unreachable = threading.Event()
        self._described: dict[str, tuple[EntityConfig, Relation]] = {}

    def close(self) -> None:
        """Let go of the connections that were kept for the next read."""
        self.dialect.close()

    def entities(self) -> list[str]:
        """The tables and views that the user may read, as `schema.table`."""
        thing = f"system {self.system}"
        return self._tried(thing, lambda: self.dialect.entities(thing))

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """Schema and primary key from the catalog; ConfigurationError when there is no such table or column."""
        relation = self._relation(entity, self._thing(entity))
        self._described[entity.name] = entity, relation
        wanted = {*entity.select, *entity.keys, *relation.keys, entity.cursor}
        columns = [item for item in relation.columns if not entity.select or item.name in wanted]
        return Description(
            schema=pa.schema([(item.name, item.kind) for item in columns]),
            keys=relation.keys,
            cursors=tuple(item.name for item in columns if pa.types.is_timestamp(item.kind)),
            modes=_MODES,
            unique=bool(relation.keys) and relation.consistent,
            notes=relation.notes,
        )

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        """Rows from a cursor on, or all; at the end the key set, where it is compared."""
        thing = self._thing(entity)
        relation = self._just_described(entity) or self._relation(entity, thing)
        columns = [item for item in relation.columns if item.name in description.schema.names]
        latest = position

        def statement(condition: str) -> str:
            return self._statement(entity, columns, relation, position, condition)

        def page(table: pa.Table) -> tuple[pa.Table, pa.Array | None, Any]:
            rows, rescued = _agreed(table, columns, description.schema, relation)
            moved = _cursor_values(entity, table, rows, columns, relation) if entity.mode == "cursor" else None
            return rows, rescued, moved

        with self._gate, self._snapshot(thing) as snapshot:
            for rows, rescued, moved in self._rows(snapshot, entity, statement, page, thing, whole=position is None):
                if entity.mode == "cursor":
                    latest = cursor.later(latest, moved)
                yield Page(rows, rescued=rescued, position=latest if entity.mode == "cursor" else None)
            if entity.detect_deletes:
                yield from self._key_pages(entity, description, relation, snapshot, thing)

    def _key_pages(
        self, entity: EntityConfig, description: Description, relation: Relation, snapshot: Snapshot, thing: str
    ) -> Iterator[Page]:
        keys = [item for item in relation.columns if item.name in description.keys]
        if not keys:
            raise ConfigurationError(thing, "has no key to compare.", "name its `keys`, or leave out detect_deletes.")
        wanted = pa.schema([description.schema.field(item.name) for item in keys])
        nothing, told = description.schema.empty_table(), False

        def statement(condition: str) -> str:
            return self._select(entity, keys, _conditions(entity, condition))

        def rows(table: pa.Table) -> pa.Table:
            return _agreed(table, keys, wanted, relation)[0]

        for found in self._rows(snapshot, entity, statement, rows, thing):
            told = True
            yield Page(nothing, keys=found)
        if not told:
            yield Page(nothing, keys=wanted.empty_table())

    def partitions(self, entity: EntityConfig, column: str, count: int) -> list[str]:
        """At most `count` conditions on a column that between them hold every row exactly once, rows without a value
        in it included. Each is fit to be an entity's `filter`, so that ranges are read apart and at the same time.

        Numbers, dates and times are cut into ranges of one width, other types into ranges of as many rows.
        ConfigurationError when there is no such column.
        """
        thing = self._thing(entity)
        relation = self._relation(entity, thing)
        found = next((item for item in relation.columns if item.name == column), None)
        if found is None:
            raise ConfigurationError(
                thing,
                f"has no field {column}, by which it is to be partitioned.",
                f"choose from {', '.join(item.name for item in relation.columns)}.",
            )
        if pa.types.is_boolean(found.kind):
            raise ConfigurationError(
                thing,
                f"is to be partitioned by {column}, which is only true or false.",
                "choose a field of many values, such as its key.",
            )
        name, bounds = self.dialect.quoted(column), self._bounds(entity, found, relation, count, thing)
        literals = [self.dialect.literal(bound, found.kind) for bound in bounds]
        if not literals:
            return ["1 = 1"]
        middle = [f"{name} >= {low} and {name} < {high}" for low, high in itertools.pairwise(literals)]
        return [f"{name} < {literals[0]} or {name} is null", *middle, f"{name} >= {literals[-1]}"]

    def reconciles(self, entity: EntityConfig, description: Description, window: Window) -> bool:
        """A database counts whatever it holds."""
        return True

    def totals(
        self, entity: EntityConfig, description: Description, windows: Sequence[Window], sums: Sequence[str]
    ) -> list[Totals]:
        """Counts, sums and, where the database hashes as the lake does, the digest of the keys: one statement."""
        if not windows:
            return []
        thing = self._thing(entity)
        relation = self._relation(entity, thing)
        columns = {item.name: item for item in relation.columns}
        chosen = [name for name in sums if name in columns]
        digest = self._digest(entity, description, columns)
        cases = " ".join(
            f"when {self._within(window, columns, relation)} then {index}" for index, window in enumerate(windows)
        )
        added = [self.dialect.sum_text(columns[name].raw) for name in chosen]
        measured = ["count(*) as n", *(f"{text} as s{index}" for index, text in enumerate(added))]
        if digest:
            measured.append(f"{digest} as digest")
        where = " and ".join(f"({text})" for text in _conditions(entity)) or "1 = 1"
        placed = f"select source.*, case {cases} end as {_WHICH} from {self.dialect.source_as(entity)} where {where}"
        told_of = f"from ({placed}) placed where {_WHICH} is not null group by {_WHICH}"
        statement = f"select {_WHICH}, {', '.join(measured)} {told_of}"
        told: dict[int, Totals] = {}
        with self._gate, self._snapshot(thing) as snapshot:
            for table in self._stream(snapshot, statement, thing):
                for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
                    values = [Decimal(str(_decoded(value) or 0)) for value in row[2:]]
                    told[int(row[0])] = Totals(
                        int(row[1]), dict(zip(chosen, values, strict=False)), values[-1] if digest else None
                    )
        nothing = Totals(0, dict.fromkeys(chosen, Decimal(0)), Decimal(0) if digest else None)
        return [told.get(index, nothing) for index in range(len(windows))]

    def listed(
        self, entity: EntityConfig, description: Description, window: Window, fields: Sequence[str]
    ) -> Iterator[pa.Table]:
        """Keys and fields of a window's rows, read as rows are."""
        thing = self._thing(entity)
        relation = self._relation(entity, thing)
        columns = {item.name: item for item in relation.columns}
        names = list(dict.fromkeys([*description.keys, *(name for name in fields if name in columns)]))
        chosen = [columns[name] for name in names]
        conditions = [*_conditions(entity), self._within(window, columns, relation)]
        by = relation.cursor if window.is_expression else columns.get(window.by)
        extra = f"{by.select} as {self.dialect.quoted(BY)}" if by else ""
        schema = pa.schema([description.schema.field(name) for name in names])
        with self._gate, self._snapshot(thing) as snapshot:
            for table in self._stream(snapshot, self._select(entity, chosen, conditions, extra), thing):
                rows = _agreed(table, chosen, schema, relation)[0]
                told = relation.fit(_whole(table.column(BY)), by.kind, BY, Rescue()) if by else pa.nulls(len(rows))
                yield rows.append_column(BY, told)

    def _within(self, window: Window, columns: Mapping[str, Column], relation: Relation) -> str:
        """The condition of a window."""
        if not window.by:
            return "1 = 1"
        found = relation.cursor if window.is_expression else columns.get(window.by)
        if found is None:
            raise ConfigurationError(
                f"system {self.system}",
                f"has no field {window.by}, whose windows are to be compared.",
                "name another as `reconcile.by` in the entity's defs.yaml.",
            )
        raw, kind = (f"({window.by})" if window.is_expression else found.raw), found.kind
        if window.is_null:
            return f"{raw} is null"
        parts = [f"{raw} >= {self.dialect.literal(window.low, kind)}"] if window.low is not None else []
        parts += [f"{raw} < {self.dialect.literal(window.high, kind)}"] if window.high is not None else []
        return f"({' and '.join(parts) or f'{raw} is not null'})"

    def _digest(self, entity: EntityConfig, description: Description, columns: Mapping[str, Column]) -> str:
        """The expression of the keys' digest; empty where this database or these keys have none."""
        keys = [columns[name] for name in description.keys if name in columns]
        if entity.events or not keys or not can_digest([item.kind for item in keys]):
            return ""
        return self.dialect.digest([item.raw for item in keys])

    def _bounds(self, entity: EntityConfig, item: Column, relation: Relation, count: int, thing: str) -> list[Any]:
        """Where one range ends and the next begins, ascending."""
        if count < 2:
            return []
        name, source = self.dialect.quoted(item.name), self.dialect.source(entity)
        where = f"where {name} is not null" + "".join(f" and ({text})" for text in _conditions(entity))
        even = pa.types.is_integer(item.kind) or pa.types.is_decimal(item.kind) or pa.types.is_temporal(item.kind)
        if even:
            statement = f"select {item.extreme('min')} as low, {item.extreme('max')} as high from {source} {where}"
        else:
            least = item.text("min(cut)") if item.text else "min(cut)"
            statement = (
                f"select {least} as low from (select {name} as cut, ntile({count}) over (order by {name}) as part "
                f"from {source} {where}) parts group by part order by 1"
            )
        rows: list[Any] = []
        with self._gate, self._snapshot(thing) as snapshot:
            for table in self._stream(snapshot, statement, thing):
                for array in table.columns:
                    fitted = relation.fit(_whole(array), item.kind, item.name, Rescue())
                    rows += [value for value in fitted.to_pylist() if value is not None]
        if not even:
            return sorted(set(rows[1:]), key=rows.index)
        return _even(rows[0], rows[1], count) if len(rows) == 2 else []

    def _rows(
        self,
        snapshot: Snapshot,
        entity: EntityConfig,
        statement: Callable[[str], str],
        made: Callable[[pa.Table], _T],
        thing: str,
        *,
        whole: bool = True,
    ) -> Iterator[_T]:
        """What is made of the rows of a statement, in which a condition may stand; a read of much that is there, and
        not only what is new, by several connections at once, if the database can."""
        ranges = self.dialect.cuts(entity, statement) if whole and self.connection.concurrency > 1 else []
        if not ranges:
            yield from map(made, self._stream(snapshot, statement(""), thing))
            return

        def rows(one: Snapshot, text: str) -> Generator[pa.Table]:
            return self.dialect.stream(one, text, thing, self._credentials, in_step=True)

        with self.dialect.reading(thing, self._credentials):
            another = snapshot.shared()
        statements = [statement(text) for text in ranges]
        several = SideBySide(statements, snapshot, another=another, slots=self._gate, rows=rows, made=made)
        with closing(several.read(min(self.connection.concurrency, max(2, os.cpu_count() or 1)))) as found:
            yield from found

    def _statement(
        self,
        entity: EntityConfig,
        columns: list[Column],
        relation: Relation,
        position: str | None,
        condition: str = "",
    ) -> str:
        conditions = _conditions(entity, condition)
        expression = entity.cursor_expression or (self.dialect.quoted(entity.cursor) if entity.cursor else "")
        kind = _cursor_kind(entity, columns, relation)
        if entity.mode == "cursor" and position is not None and kind is not None:
            bound = self.dialect.literal(cursor.start(position, kind, entity.overlap_seconds), kind)
            conditions.append(f"({expression}) >= {bound} or ({expression}) is null")
        extra = f"{relation.cursor.select} as {self.dialect.quoted(CURSOR)}" if relation.cursor else ""
        return self._select(entity, columns, conditions, extra)

    def _select(self, entity: EntityConfig, columns: list[Column], conditions: list[str], extra: str = "") -> str:
        parts: list[str] = []
        for index, item in enumerate(columns):
            parts.append(f"{item.select} as {self.dialect.quoted(item.name)}")
            if item.outside:
                parts.append(f"{item.outside} as {self.dialect.quoted(f'{_RAW}{index}')}")
        if extra:
            parts.append(extra)
        where = " and ".join(f"({condition})" for condition in conditions)
        return f"select {', '.join(parts)} from {self.dialect.source(entity)}{f' where {where}' if where else ''}"

    def _just_described(self, entity: EntityConfig) -> Relation | None:
        """What the catalog said when this read was described, for its first use: later it may be another."""
        described, relation = self._described.pop(entity.name, (None, None))
        unlike = ("source", "query", "cursor_expression")
        if described is None or any(getattr(described, name) != getattr(entity, name) for name in unlike):
            return None
        return relation

    def _relation(self, entity: EntityConfig, thing: str) -> Relation:
        return self._tried(thing, lambda: self.dialect.relation(entity, thing))

    def _snapshot(self, thing: str) -> Snapshot:
        def opened() -> Snapshot:
            return self.dialect.snapshot(thing)

        return self._tried(thing, opened)

    def _stream(self, snapshot: Snapshot, statement: str, thing: str) -> Iterator[pa.Table]:
        return self.dialect.stream(snapshot, statement, thing, self._credentials)

    def _tried(self, thing: str, act: Callable[[], _T]) -> _T:
        """What `act` gives, tried for as long as the definition allows; once that failed, others try only once."""
        attempts = 1 if self._unreachable.is_set() else self.connection.attempts
        for attempt in range(attempts):
            try:
                made = act()
            except DatongError:
                raise
            except Exception as error:  # noqa: BLE001 the drivers share no class of error
                translated = self.dialect.translated(error, thing, self._credentials)
                if not isinstance(translated, TransientError) or attempt == attempts - 1:
                    if isinstance(translated, TransientError):
                        self._unreachable.set()
                    raise translated from None
                time.sleep(min(0.2 * 2**attempt, self.connection.max_wait_seconds))
            else:
                self._unreachable.clear()
                return made
        raise AssertionError("unreachable")

    def _thing(self, entity: EntityConfig) -> str:
        return f"{self.system}.{entity.name} ({entity.address})"


def _conditions(entity: EntityConfig, *more: str) -> list[str]:
    return [text for text in (entity.filter, *more) if text]


def _cursor_kind(entity: EntityConfig, columns: list[Column], relation: Relation) -> pa.DataType | None:
    return (
        relation.cursor.kind
        if relation.cursor
        else next((item.kind for item in columns if item.name == entity.cursor), None)
    )


def _cursor_values(
    entity: EntityConfig, table: pa.Table, rows: pa.Table, columns: list[Column], relation: Relation
) -> Any:
    """The cursor's values in the database's type, whatever type was declared for the field."""
    kind = _cursor_kind(entity, columns, relation)
    if not entity.cursor_expression and rows.schema.field(entity.cursor).type == kind:
        return rows.column(entity.cursor)
    name = CURSOR if entity.cursor_expression else entity.cursor
    return relation.fit(_whole(table.column(name)), kind, name, Rescue())


def _decoded(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _even(low: Any, high: Any, count: int) -> list[Any]:
    """The inner bounds of `count` ranges of one width."""
    if isinstance(low, datetime):
        cuts = [low + (high - low) * part / count for part in range(1, count)]
    elif isinstance(low, date):
        cuts = [low + (high - low) * part // count for part in range(1, count)]
    elif isinstance(low, Decimal):
        unit = Decimal(1).scaleb(int(low.as_tuple().exponent))
        cuts = [(low + (high - low) * part / count).quantize(unit) for part in range(1, count)]
    else:
        cuts = [low + (high - low) * part // count for part in range(1, count)]
    return sorted({cut for cut in cuts if low < cut <= high})


def _whole(column: Any) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _agreed(
    table: pa.Table, columns: list[Column], schema: pa.Schema, relation: Relation
) -> tuple[pa.Table, pa.Array | None]:
    """A batch in the agreed types, with what did not fit."""
    rescue = Rescue()
    arrays: list[pa.Array] = []
    for index, item in enumerate(columns):
        array = relation.fit(_whole(table.column(item.name)), schema.field(item.name).type, item.name, rescue)
        if item.outside:
            outside = relation.fit(_whole(table.column(f"{_RAW}{index}")), pa.string(), item.name, Rescue())
            if outside.null_count < len(outside):
                for row, text in enumerate(outside.to_pylist()):
                    if text is not None:
                        rescue.add(row, item.name, text)
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=schema), rescue.column(len(table))
