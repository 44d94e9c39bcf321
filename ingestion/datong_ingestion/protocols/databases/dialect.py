"""What a database must be able to do, so that the SQL protocol treats all alike.

A dialect knows how its database is reached, what it says of a relation, how a value is written and read, and what its
errors mean. Everything about modes, cursors, key sets and partitions is `protocols/sql.py`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa
from datong_platform.errors import AuthenticationError, ConfigurationError, DatongError, TerminalError, TransientError
from datong_platform.lake.columns import compute

from datong_ingestion.connections.sql import SqlConnection
from datong_ingestion.source import InterruptedReadError
from datong_ingestion.systems_config import EntityConfig
from datong_ingestion.values import Rescue, column, converter, decimals

CURSOR = "_datong_cursor"
"""The column of a statement that holds the cursor's expression."""

Meaning = Literal["refused", "unknown", "passing", "other"]
"""What an error comes to: a log-in or a grant is missing; there is no such thing; it may pass; none of these."""


@dataclass(frozen=True)
class Column:
    """A column of a relation, or the cursor's expression."""

    name: str
    kind: pa.DataType
    raw: str
    """The expression that is it."""
    text: Callable[[str], str] | None = None
    """What makes of an expression of this type one that is read without loss."""
    inside: str = ""
    """The expression that reads it, null where `kind` cannot hold the value."""
    outside: str = ""
    """The expression that gives, as text, a value that `kind` cannot hold, and null for all others."""

    @property
    def select(self) -> str:
        """The expression that reads it."""
        return self.inside or (self.text(self.raw) if self.text else self.raw)

    def extreme(self, function: str) -> str:
        """The expression that reads its least or greatest value."""
        return self.text(f"{function}({self.raw})") if self.text else f"{function}({self.select})"


Fit = Callable[[pa.Array, pa.DataType, str, Rescue], pa.Array]
"""A column as the database sent it, in the agreed type; what does not fit becomes null and goes to the rescue."""


@dataclass(frozen=True)
class Relation:
    """What the catalog says of a table, a view or a query."""

    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    cursor: Column | None
    """The cursor's expression, where the entity has one."""
    fit: Fit
    consistent: bool = True
    """A read sees one moment, and so each key once."""
    notes: tuple[str, ...] = ()


class Snapshot(ABC):
    """A read-only transaction that sees one moment of the database. Leaving it ends it, and closes its connection, or
    keeps that for the next."""

    @abstractmethod
    def __enter__(self) -> Snapshot: ...

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    def batches(self, statement: str) -> Iterator[pa.Table]:
        """The rows of a statement, in the driver's own types, batch by batch; the driver's errors as they are."""

    def in_step(self, statement: str) -> Iterator[pa.Table]:
        """As `batches`, and nothing is read ahead of what is taken."""
        return self.batches(statement)

    def shared(self) -> Callable[[], Snapshot] | None:
        """What opens another connection that sees the very same moment, for as long as this one lasts; None where the
        database or what stands before it does not allow it. To be asked before the first row is read."""
        return None

    def cut(self) -> None:  # noqa: B027 most drivers cannot
        """End the connection: whoever waits for it in another thread gets the driver's error."""


class Dialect(ABC):
    """A kind of database, and the address of one."""

    schemes: tuple[str, ...]
    example: str
    default_schema: str

    def __init__(self, connection: SqlConnection, thing: str) -> None:
        self.connection = connection
        self.secrets: set[str] = set()
        self.address = ""

    @abstractmethod
    def entities(self, thing: str) -> list[str]:
        """The tables and views that the user may read, as `schema.table`; the driver's errors as they are."""

    @abstractmethod
    def relation(self, entity: EntityConfig, thing: str) -> Relation:
        """Columns, types and keys; the driver's errors as they are."""

    @abstractmethod
    def snapshot(self, thing: str) -> Snapshot:
        """A connection with a read-only transaction; the driver's errors as they are."""

    def cuts(self, entity: EntityConfig, statement: Callable[[str], str]) -> list[str]:
        """Conditions that cut a read of much into ranges, which between them hold every row once, and in the order of
        the whole; none where that does not pay or is not possible. `statement`: the read under a condition."""
        return []

    def close(self) -> None:  # noqa: B027 most dialects keep none
        """Let go of connections that are kept for the next read."""

    @abstractmethod
    def writer(self, thing: str) -> Any:
        """A DB-API connection to write by: a transaction begins with its first statement, its session is in UTC, and
        the database refuses a value that does not fit instead of cutting it. The driver's errors as they are."""

    def parameter(self, place: int) -> str:
        """How a statement marks its parameter at a place, from 1."""
        return "%s"

    @abstractmethod
    def is_duplicate(self, error: Exception) -> bool:
        """Whether a statement was refused because a row with this unique key is there."""

    @abstractmethod
    def meaning(self, error: Exception) -> Meaning:
        """What an error of the driver comes to."""

    @abstractmethod
    def literal(self, bound: Any, kind: pa.DataType) -> str:
        """A value as this database writes it."""

    def quoted(self, name: str) -> str:
        """A name that means itself."""
        return '"' + name.replace('"', '""') + '"'

    def source(self, entity: EntityConfig) -> str:
        """What stands after `from`."""
        if entity.query:
            return f"({entity.query.strip().rstrip(';')}) as source"
        return ".".join(self.quoted(part) for part in self.table(entity) if part)

    def procedure(self, name: str, parameters: Sequence[str]) -> str:
        """The statement that calls a stored procedure, `schema.name` or `name`, its parameters given in this order."""
        places = ", ".join(self.argument(parameter, place) for place, parameter in enumerate(parameters, 1))
        return f"call {'.'.join(map(self.quoted, name.split('.')))}({places})"

    def locked(self, source: str, condition: str) -> str:
        """A query that gives a row for each that meets a condition, and keeps others from changing them until the
        transaction ends."""
        return f"select 1 from {source} where {condition} for update"

    def argument(self, name: str, place: int) -> str:
        """A parameter of a procedure: by its name, where the database can."""
        return f"{self.quoted(name)} => {self.parameter(place)}"

    def source_as(self, entity: EntityConfig) -> str:
        """What stands after `from`, by the name `source`."""
        return self.source(entity) if entity.query else f"{self.source(entity)} source"

    def sum_text(self, raw: str) -> str:
        """The exact sum of a column, as text, so that no driver rounds it."""
        return f"cast(sum({raw}) as varchar(60))"

    def digest(self, keys: Sequence[str]) -> str:
        """The sum, as text, of the first 60 bits of the MD5 of keys, their texts joined by a slash, in UTF-8; empty
        where this database has no such hash."""
        return ""

    def table(self, entity: EntityConfig) -> tuple[str, str]:
        """Schema and name of an entity that is a table."""
        schema, _, name = entity.source.rpartition(".")
        return schema or self.connection.read_schema or self.default_schema, name

    def translated(self, error: Exception, thing: str, credentials: str) -> DatongError:
        """A driver's error in our words, without any secret."""
        said = " ".join(str(error).split()).rstrip(".")
        for secret in self.secrets:
            said = said.replace(secret, "***")
        meaning = self.meaning(error)
        if meaning == "refused":
            return AuthenticationError(
                thing, f"{self.address} refused: {said}.", f"check {credentials} and the user's grants."
            )
        if meaning == "unknown":
            return ConfigurationError(
                thing,
                f"{self.address} answered: {said}.",
                f"check source, query and cursor in its defs.yaml, and the database that {credentials} names.",
            )
        if meaning == "passing":
            return TransientError(
                thing,
                f"{self.address} cannot be reached or broke off: {said}.",
                "check that the database is running and its address is right, then run again.",
            )
        return TerminalError(thing, f"{self.address} answered: {said}.", "see the reason given by the database.")

    def stream(
        self, snapshot: Snapshot, statement: str, thing: str, credentials: str, *, in_step: bool = False
    ) -> Generator[pa.Table]:
        """The rows of a statement. InterruptedReadError when the connection breaks off."""
        with self.reading(thing, credentials):
            yield from snapshot.in_step(statement) if in_step else snapshot.batches(statement)

    @contextmanager
    def reading(self, thing: str, credentials: str) -> Generator[None]:
        """Within this block errors of the driver become ours. InterruptedReadError when the connection breaks off."""
        try:
            yield
        except (DatongError, GeneratorExit):
            raise
        except Exception as error:  # noqa: BLE001 the drivers share no class of error
            translated = self.translated(error, thing, credentials)
            if isinstance(translated, TransientError):
                raise InterruptedReadError(translated.thing, translated.reason, translated.next_step) from None
            raise translated from None


@dataclass(frozen=True)
class Address:
    """The parts of a URL `scheme://user:password@host:port/database?option=value`."""

    host: str
    port: int
    user: str
    password: str
    database: str
    options: dict[str, str]


def address_of(url: str, default_port: int, options: frozenset[str], thing: str, example: str) -> Address:
    """The parts of a URL; ConfigurationError when it cannot be read, or has an option that is not known."""
    try:
        parts = urlsplit(url)
        found = Address(
            host=parts.hostname or "localhost",
            port=parts.port or default_port,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.lstrip("/")),
            options=dict(parse_qsl(parts.query)),
        )
    except ValueError as error:
        raise ConfigurationError(
            thing, "has a url that cannot be read.", f"write {example}, with user and password percent-encoded."
        ) from error
    if unknown := sorted(found.options.keys() - options):
        raise ConfigurationError(
            thing,
            f"has a url with the option {', '.join(unknown)}, which is not known.",
            f"choose from {', '.join(sorted(options))}.",
        )
    return found


def missing_driver(thing: str, package: str, extra: str, error: ImportError) -> ConfigurationError:
    """The error of a driver that is not installed."""
    failure = ConfigurationError(thing, f"needs {package}, which is not installed.", f"run `uv sync --extra {extra}`.")
    failure.__cause__ = error
    return failure


def cast(array: pa.Array, kind: pa.DataType, name: str, rescue: Rescue) -> pa.Array:
    """Arrow's own types in the agreed one; value by value only where a whole column does not fit."""
    if array.type == kind:
        return array
    try:
        if pa.types.is_decimal(kind) and pa.types.is_string(array.type):
            return decimals(array, kind)
        return array.cast(kind)
    except pa.ArrowException:
        values = [None if value is None else str(value) for value in array.to_pylist()]
        return column(name, kind, values, converter(kind), rescue)


def text_as(text: bytes, kind: pa.DataType) -> Any:
    """A database's text in the form that `converter(kind)` takes: booleans by name, times with their zone."""
    said = text.decode("utf-8", "surrogateescape")
    if pa.types.is_boolean(kind):
        return {"0": "false", "1": "true"}.get(said, said)
    if pa.types.is_timestamp(kind) and kind.tz:
        return f"{said}+00:00"
    return said


def from_text(array: pa.Array, kind: pa.DataType, name: str, rescue: Rescue) -> pa.Array:
    """Values that came as text (binary in Arrow; times of an instant in UTC) in the agreed type."""
    if pa.types.is_binary(kind):
        return array
    try:
        text = array.cast(pa.string())
        if pa.types.is_string(kind):
            return text
        if pa.types.is_timestamp(kind):
            return _of_our_era(text.cast(pa.timestamp("us"))).cast(kind)
        return decimals(text, kind) if pa.types.is_decimal(kind) else _of_our_era(text.cast(kind))
    except pa.ArrowException:
        pass
    known = converter(kind)
    values = array.to_pylist()

    def convert(value: bytes) -> Any:
        return known(text_as(value, kind))

    kept = Rescue()
    fitted = column(name, kind, values, convert, kept)
    for row, value in enumerate(values):
        if value is not None and not fitted[row].is_valid:
            rescue.add(row, name, value.decode("utf-8", "surrogateescape"))
    return fitted


def from_any(array: pa.Array, kind: pa.DataType, name: str, rescue: Rescue) -> pa.Array:
    """Values of which some came as text and others in a type of their own, in the agreed type."""
    if pa.types.is_large_string(array.type) or array.type == pa.string_view():
        array = array.cast(pa.string())
    if pa.types.is_string(array.type) and not pa.types.is_string(kind):
        return from_text(array.cast(pa.binary()), kind, name, rescue)
    return cast(array, kind, name, rescue)


def _of_our_era(array: pa.Array) -> pa.Array:
    """Dates from year 1 on; ArrowInvalid for the year 0, which MySQL stores and nothing after it reads."""
    if pa.types.is_temporal(array.type) and len(array):
        first = compute.min(array).cast(pa.timestamp("s") if pa.types.is_timestamp(array.type) else pa.date32())
        lowest = -62135596800 if pa.types.is_timestamp(array.type) else -719162
        if first.is_valid and first.value < lowest:
            raise pa.ArrowInvalid("a year before 1")
    return array
