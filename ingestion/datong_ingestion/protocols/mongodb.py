"""MongoDB: the documents of a collection, as rows with nested columns, by MongoDB's own driver.

Reads: a collection or a view, in the order of `_id` (so that no document is missed or met twice while others write),
batch by batch as the server sends them. Changes: a field that tells the last change, with an overlap; documents
without it, or where it is of another kind, are read each time. Deletes: a comparison of the `_id`s, or a field.
Schema: a collection has none, so the oldest and newest documents tell it, and the table's own fields, which are the
law, are kept: an embedded document becomes a struct, an array a list, an ObjectId its text, a number without a
fraction a long. What comes and is not described, or is of another type, goes to the row's rescue under its path
(`lines.3.qty`), never away. Guards against: fields of several types, dates past the year 9999, maps that would become
thousands of columns, documents that cannot be decoded (refused, the rest goes on), a cursor that the server gave up.
Alone: `python -m datong_ingestion SYSTEM`.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
from datong_platform.errors import (
    AuthenticationError,
    ConfigurationError,
    DatongError,
    TerminalError,
    TransientError,
)
from datong_platform.lake.columns import UTC_TIMESTAMP, is_nested, list_of, parse_type

from datong_ingestion import cursor
from datong_ingestion.connections.mongodb import MongoConnection
from datong_ingestion.source import REFUSED, Description, InterruptedReadError, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig
from datong_ingestion.values import Convert, MisfitError, Rescue, column, to_decimal

_MODES: frozenset[Mode] = frozenset({"full", "cursor"})
_DECIMAL = pa.decimal128(38, 18)
_MANY_FIELDS = 200
"""A document with more fields than this is a map whose keys are data; it is kept as JSON."""
_DEEP = 12
_KEY_BATCH = 100_000
# error codes (MongoDB's src/mongo/base/error_codes.yml)
_REFUSED_CODES = frozenset({13, 18, 31, 33, 8000})
_UNKNOWN_CODES = frozenset({2, 9, 14, 26, 73, 17, 40, 17287, 40353})
_PASSING_CODES = frozenset(
    {6, 7, 43, 50, 89, 91, 133, 136, 189, 237, 239, 262, 9001, 10107, 11600, 11602, 13435, 13436}
)


class Mongo:
    """A database of a MongoDB server."""

    def __init__(self, system: SystemConfig) -> None:
        """Looks up address and credentials; ConfigurationError when one is not set. Opens no connection."""
        declared = system.connection
        thing = f"system {system.system}"
        if not isinstance(declared, MongoConnection):
            raise ConfigurationError(thing, "has no MongoDB connection.")
        try:
            import pymongo
            from pymongo.errors import PyMongoError
            from pymongo.uri_parser import parse_uri
        except ImportError as error:
            raise ConfigurationError(
                thing, "needs pymongo, which is not installed.", "run `uv sync --extra mongodb`."
            ) from error
        connection = declared.resolved(thing)
        self.system, self.connection = system.system, connection
        self._credentials = declared.names_of("url") or "the user and the password"
        try:
            # the name of a mongodb+srv address is looked up only when it is connected to
            plain = connection.url.replace("mongodb+srv://", "mongodb://", 1)
            parts: dict[str, Any] = dict(parse_uri(plain, warn=False, validate=False))
        except (PyMongoError, ValueError) as error:
            raise ConfigurationError(
                thing,
                "has a url that cannot be read.",
                "write mongodb://user:password@host:port/database, with user and password percent-encoded.",
            ) from error
        self.database = connection.database or parts.get("database") or ""
        if not self.database:
            raise ConfigurationError(thing, "has no database.", "name it in the url, or as `database`.")
        self._secrets = {str(parts["password"])} if parts.get("password") else set[str]()
        hosts = ",".join(f"{host}:{port or 27017}" for host, port in parts.get("nodelist") or [])
        self.address = f"{hosts}/{self.database}"
        self._pymongo, self._client, self._lock = pymongo, None, threading.Lock()

    def close(self) -> None:
        """Close the driver's connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def entities(self) -> list[str]:
        """The collections and views of the database, but for the server's own."""
        thing = f"system {self.system}"
        try:
            names = self._database(thing).list_collection_names()
        except Exception as error:  # noqa: BLE001 the driver's errors and the resolver's share no class
            raise self.translated(error, thing) from None
        return sorted(name for name in names if not name.startswith("system."))

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """The fields of `known`, those of the documents at both ends of the collection, and the declared ones."""
        thing = self._thing(entity)
        seen = _Seen()
        try:
            for document in self._ends(entity, thing):
                seen.add(document)
        except DatongError:
            raise
        except Exception as error:  # noqa: BLE001 as above
            raise self.translated(error, thing) from None
        fields: dict[str, pa.DataType] = {"_id": pa.string()} | dict(seen.schema())
        for item in known or ():
            fields[item.name] = _merged(item.type, fields.get(item.name, item.type))
        fields |= {name: parse_type(kind) for name, kind in entity.fields.items()}
        if entity.select:
            wanted = {"_id", *entity.select, *entity.keys, entity.cursor}
            fields = {name: kind for name, kind in fields.items() if name in wanted}
        return Description(
            schema=pa.schema(list(fields.items())),
            keys=("_id",),
            cursors=tuple(name for name, kind in fields.items() if pa.types.is_timestamp(kind)),
            modes=_MODES,
            inferred=True,
            unique=entity.mode == "full",
            notes=tuple(seen.notes()),
        )

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        """Documents from a cursor on, or all; at the end the keys that exist, where they are compared."""
        thing = self._thing(entity)
        condition: dict[str, Any] = _filter(entity, thing)
        moving = entity.mode == "cursor"
        if moving and position is not None:
            bound = _since(entity, description.schema.field(entity.cursor).type, position)
            condition = {"$and": [condition, bound]} if condition else bound
        latest = position
        try:
            found = self._collection(entity, thing).find_raw_batches(
                condition, self._projection(entity, description), sort=None if moving else [("_id", 1)]
            )
            number = 0
            for raw in found:
                documents, refused = self._decoded(raw, number)
                number += len(documents) + len(refused)
                rows, rescued, unexpected = to_rows(documents, description.schema)
                if moving:
                    latest = cursor.later(latest, rows.column(entity.cursor))
                yield Page(
                    rows,
                    rescued=rescued,
                    unexpected=unexpected,
                    position=latest if moving else None,
                    refused=pa.Table.from_pylist(refused, REFUSED) if refused else None,
                )
            if entity.detect_deletes:
                yield from self._key_pages(entity, description, thing)
        except (DatongError, GeneratorExit):
            raise
        except Exception as error:  # noqa: BLE001 as above
            translated = self.translated(error, thing)
            if isinstance(translated, TransientError):
                raise InterruptedReadError(translated.thing, translated.reason, translated.next_step) from None
            raise translated from None

    def _key_pages(self, entity: EntityConfig, description: Description, thing: str) -> Iterator[Page]:
        """After the rows: what is written in between is then at worst a key that nobody knows."""
        wanted = pa.schema([description.schema.field(name) for name in description.keys])
        nothing = description.schema.empty_table()
        found = self._collection(entity, thing).find(
            _filter(entity, thing), dict.fromkeys(["_id", *description.keys], 1), sort=[("_id", 1)]
        )
        documents: list[dict[str, Any]] = []
        for document in found:
            documents.append(document)
            if len(documents) == _KEY_BATCH:
                yield Page(nothing, keys=to_rows(documents, wanted)[0])
                documents = []
        yield Page(nothing, keys=to_rows(documents, wanted)[0])

    def _ends(self, entity: EntityConfig, thing: str) -> Iterator[dict[str, Any]]:
        """The newest documents and the oldest, by `_id`; a small collection as a whole."""
        collection, condition = self._collection(entity, thing), _filter(entity, thing)
        half = self.connection.sample // 2
        for order in (-1, 1):
            for raw in collection.find_raw_batches(condition, sort=[("_id", order)], limit=half):
                yield from self._decoded(raw, 0)[0]

    def _decoded(self, raw: bytes, number: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The documents of a batch, and those that cannot be decoded."""
        import bson
        from bson.errors import BSONError

        try:
            return bson.decode_all(raw, self._codec()), []
        except (BSONError, ValueError, OverflowError):
            pass
        documents: list[dict[str, Any]] = []
        refused: list[dict[str, Any]] = []
        start = 0
        while start + 4 <= len(raw):
            end = start + max(5, int.from_bytes(raw[start : start + 4], "little"))
            try:
                documents.append(bson.decode(raw[start:end], self._codec()))
            except (BSONError, ValueError, OverflowError) as error:
                place = f"document {number + len(documents) + len(refused) + 1} of the read"
                refused.append({"raw": raw[start:end], "place": place, "field": None, "reason": str(error)})
            start = end
        return documents, refused

    def _projection(self, entity: EntityConfig, description: Description) -> dict[str, int] | None:
        return dict.fromkeys(["_id", *description.schema.names], 1) if entity.select else None

    def _collection(self, entity: EntityConfig, thing: str) -> Any:
        return self._database(thing)[entity.source].with_options(codec_options=self._codec())

    def _codec(self) -> Any:
        from bson.binary import UuidRepresentation
        from bson.codec_options import CodecOptions, DatetimeConversion

        return CodecOptions(
            tz_aware=True,
            uuid_representation=UuidRepresentation.STANDARD,
            datetime_conversion=DatetimeConversion.DATETIME_AUTO,
        )

    def _database(self, thing: str) -> Any:
        with self._lock:
            if self._client is None:
                wait = int(self.connection.timeout_seconds * 1000)
                try:
                    self._client = self._pymongo.MongoClient(
                        self.connection.url,
                        appname="datong",
                        # the driver itself tries again within this time
                        serverSelectionTimeoutMS=min(wait, 10_000),
                        connectTimeoutMS=min(wait, 10_000),
                        socketTimeoutMS=wait,
                        maxPoolSize=self.connection.concurrency,
                    )
                except Exception as error:  # noqa: BLE001 as above
                    raise self.translated(error, thing) from None
            return self._client[self.database]

    def translated(self, error: Exception, thing: str) -> DatongError:
        """A driver's error in our words, without any secret."""
        from pymongo import errors

        said = " ".join(str(error).split()).split(", Timeout:")[0].split(", full error:")[0].rstrip(".")
        for secret in self._secrets:
            said = said.replace(secret, "***")
        code = getattr(error, "code", None) or 0
        if code in _REFUSED_CODES:
            return AuthenticationError(
                thing, f"{self.address} refused: {said}.", f"check {self._credentials} and the user's roles."
            )
        if code in _PASSING_CODES or isinstance(error, errors.ConnectionFailure | OSError):
            return TransientError(
                thing,
                f"{self.address} cannot be reached or broke off: {said}.",
                "check that the database is running and its address is right, then run again.",
            )
        if code in _UNKNOWN_CODES or isinstance(error, errors.ConfigurationError | errors.InvalidName):
            return ConfigurationError(
                thing, f"{self.address} answered: {said}.", "check url, source and filter in its defs.yaml."
            )
        return TerminalError(thing, f"{self.address} answered: {said}.", "see the reason given by the database.")

    def _thing(self, entity: EntityConfig) -> str:
        return f"{self.system}.{entity.name} ({entity.address})"


def _filter(entity: EntityConfig, thing: str) -> dict[str, Any]:
    """The filter of a definition: a query document, as MongoDB's extended JSON."""
    if not entity.filter:
        return {}
    from bson import json_util

    try:
        found = json_util.loads(entity.filter)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            thing, f"has a filter that is not JSON: {error}.", """write it as '{"status": "open"}'."""
        ) from error
    if not isinstance(found, dict):
        raise ConfigurationError(thing, "has a filter that is no document.", """write it as '{"status": "open"}'.""")
    return found


def _since(entity: EntityConfig, kind: pa.DataType, position: str) -> dict[str, Any]:
    """Documents from a position on, and those that no position tells. A comparison in MongoDB holds only within a
    type, so each way of writing the bound is one condition, and whatever is of none of these types comes along."""
    from bson.objectid import ObjectId

    start = cursor.start(position, kind, entity.overlap_seconds)
    bounds: list[Any] = [start]
    types = ["string"]
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moment = datetime(start.year, start.month, start.day) if not isinstance(start, datetime) else start
        bounds, types = [moment if moment.tzinfo else moment.replace(tzinfo=UTC)], ["date"]
    elif not pa.types.is_string(kind):
        bounds, types = [float(start) if isinstance(start, Decimal) else start], ["number"]
    elif ObjectId.is_valid(position):
        bounds, types = [start, ObjectId(start)], ["string", "objectId"]
    name = entity.cursor
    return {"$or": [*({name: {"$gte": bound}} for bound in bounds), {name: {"$not": {"$type": types}}}]}


@dataclass
class _Seen:
    """What the documents of a sample hold, field by field."""

    depth: int = 0
    kinds: set[pa.DataType] = field(default_factory=set[pa.DataType])
    fields: dict[str, _Seen] = field(default_factory=dict[str, "_Seen"])
    items: _Seen | None = None

    def add(self, document: dict[str, Any]) -> None:
        """Take in the fields of a document."""
        for name, value in document.items():
            self.fields.setdefault(name, _Seen(self.depth + 1)).take(value)

    def take(self, value: Any) -> None:
        """Take in a value."""
        if isinstance(value, dict):
            if self.depth < _DEEP:
                self.add(value)
        elif isinstance(value, list):
            if self.items is None:
                self.items = _Seen(self.depth + 1)
            if self.depth < _DEEP:
                for item in value:
                    self.items.take(item)
        elif value is not None:
            self.kinds.add(_kind(value))

    def kind(self) -> pa.DataType | None:
        """The type that holds what was seen; None when nothing was."""
        shapes = bool(self.kinds) + bool(self.fields) + (self.items is not None)
        if not shapes:
            return None
        if shapes > 1 or len(self.fields) > _MANY_FIELDS:
            return pa.string()
        if self.fields:
            return pa.struct(list(self.schema()))
        if self.items is not None:
            inner = self.items.kind()
            return list_of(inner) if inner is not None else None
        return _common(self.kinds)

    def schema(self) -> Iterator[tuple[str, pa.DataType]]:
        """The fields whose type is known."""
        for name, seen in self.fields.items():
            kind = seen.kind()
            if kind is not None and not (pa.types.is_struct(kind) and not kind.num_fields):
                yield name, kind

    def notes(self) -> Iterator[str]:
        """What a person should know of the sample."""
        for name, seen in self.fields.items():
            if len(seen.fields) > _MANY_FIELDS:
                yield f"{name} has more than {_MANY_FIELDS} fields and is kept as JSON"
            elif bool(seen.kinds) + bool(seen.fields) + (seen.items is not None) > 1 or (
                len(seen.kinds) > 1 and _common(seen.kinds) == pa.string()
            ):
                yield f"{name} holds values of several types and is kept as text"


def _kind(value: Any) -> pa.DataType:
    from bson.datetime_ms import DatetimeMS
    from bson.decimal128 import Decimal128
    from bson.timestamp import Timestamp

    for kinds, found in (
        (bool, pa.bool_()),
        (int, pa.int64()),
        (float, pa.float64()),
        (Decimal128, _DECIMAL),
        ((datetime, DatetimeMS, Timestamp), UTC_TIMESTAMP),
        (bytes, pa.binary()),
    ):
        if isinstance(value, kinds):
            return found
    return pa.string()


def _common(kinds: set[pa.DataType]) -> pa.DataType:
    """One type for values of several: numbers become the wider number, everything else text."""
    if len(kinds) == 1:
        return next(iter(kinds))
    if kinds == {pa.int64(), pa.float64()}:
        return pa.float64()
    return _DECIMAL if kinds <= {pa.int64(), pa.float64(), _DECIMAL} else pa.string()


def _merged(known: pa.DataType, seen: pa.DataType) -> pa.DataType:
    """The type of the table, grown by the fields that documents hold now."""
    if pa.types.is_struct(known) and pa.types.is_struct(seen):
        fields = {item.name: item.type for item in known}
        for item in seen:
            fields[item.name] = _merged(fields[item.name], item.type) if item.name in fields else item.type
        return pa.struct(list(fields.items()))
    if pa.types.is_list(known) and pa.types.is_list(seen):
        return list_of(_merged(known.value_type, seen.value_type))
    return known


def to_rows(documents: Sequence[dict[str, Any]], schema: pa.Schema) -> tuple[pa.Table, pa.Array | None, frozenset[str]]:
    """Documents as rows of a schema; what does not fit, by row and path; and the top-level fields not in it."""
    rescue, unexpected = Rescue(), set[str]()
    expected = frozenset(schema.names)
    for row, document in enumerate(documents):
        if not expected.issuperset(document):
            for name in document.keys() - expected:
                if document[name] is not None:
                    unexpected.add(name)
                    rescue.add(row, name, plain(document[name]))
    places = _Places(range(len(documents)), "")
    arrays = [
        _array([document.get(item.name) for document in documents], item.type, places.field(item.name), rescue)
        for item in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema), rescue.column(len(documents)), frozenset(unexpected)


class _Places:
    """Where each value of a nested column is: its row, and its path in the document."""

    def __init__(self, rows: Sequence[int], path: str, indexes: Sequence[str] | None = None) -> None:
        self.rows, self.path, self.indexes = rows, path, indexes

    def field(self, name: str) -> _Places:
        return _Places(self.rows, f"{self.path}.{name}" if self.path else name, self.indexes)

    def items(self, lists: Sequence[Any]) -> _Places:
        rows: list[int] = []
        indexes: list[str] = []
        for place, values in enumerate(lists):
            if values is not None:
                rows += [self.rows[place]] * len(values)
                at = self.name(place)
                indexes += [f"{at}.{index}" for index in range(len(values))]
        return _Places(rows, "", indexes)

    def name(self, place: int) -> str:
        if self.indexes is None:
            return self.path
        return f"{self.indexes[place]}.{self.path}" if self.path else self.indexes[place]


def _array(values: list[Any], kind: pa.DataType, places: _Places, rescue: Rescue) -> pa.Array:
    """Values as an array of a type, whole columns at a time."""
    if not is_nested(kind):
        return _plain_array(values, kind, places, rescue)
    wanted = dict if pa.types.is_struct(kind) else list
    for place, value in enumerate(values):
        if value is not None and not isinstance(value, wanted):
            rescue.add(places.rows[place], places.name(place), plain(value))
            values[place] = None
    missing = pa.array([value is None for value in values], pa.bool_())
    if wanted is list:
        lengths = [0 if value is None else len(value) for value in values]
        offsets, total = [0], 0
        for length in lengths:
            total += length
            offsets.append(total)
        items = [item for value in values if value is not None for item in value]
        content = _array(items, kind.value_type, places.items(values), rescue)
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), content, type=kind, mask=missing)
    expected = frozenset(item.name for item in kind)
    for place, value in enumerate(values):
        if value is not None and not expected.issuperset(value):
            for name in value.keys() - expected:
                if value[name] is not None:
                    rescue.add(places.rows[place], f"{places.name(place)}.{name}", plain(value[name]))
    children = [
        _array([None if value is None else value.get(item.name) for value in values], item.type, at, rescue)
        for item in kind
        for at in [places.field(item.name)]
    ]
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=missing)


_EXACT: dict[pa.DataType, set[type]] = {
    pa.string(): {str},
    pa.bool_(): {bool},
    pa.float64(): {float},
    UTC_TIMESTAMP: {datetime},
    pa.binary(): {bytes},
}


def _plain_array(values: list[Any], kind: pa.DataType, places: _Places, rescue: Rescue) -> pa.Array:
    from bson.int64 import Int64

    types = set(map(type, values)) - {type(None)}
    if types <= _EXACT.get(kind, {int, Int64} if kind == pa.int64() else set[type]()):
        try:
            return pa.array(values, kind)
        except (pa.ArrowException, UnicodeError, OverflowError, ValueError):
            pass
    kept = Rescue()
    fitted = column("", kind, values, _converter(kind), kept)
    if fitted.null_count != sum(value is None for value in values):
        for place, value in enumerate(values):
            if value is not None and not fitted[place].is_valid:
                rescue.add(places.rows[place], places.name(place), plain(value))
    return fitted


def plain(value: Any) -> Any:
    """A value of a document in a form that JSON carries."""
    from bson import json_util
    from bson.decimal128 import Decimal128
    from bson.objectid import ObjectId

    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, ObjectId | Decimal128 | UUID) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    if isinstance(value, str | bool | int | float | bytes) or value is None:
        return value
    return json.loads(json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS))


def _converter(kind: pa.DataType) -> Convert:
    """What turns a document's value into a value of `kind`, exactly, or raises MisfitError."""
    if pa.types.is_decimal(kind):
        return lambda value: to_decimal(_number(value), kind.precision, kind.scale)
    if pa.types.is_integer(kind):
        return lambda value: _whole(value, kind)
    if pa.types.is_floating(kind):
        return lambda value: _floating(value, kind)
    if pa.types.is_timestamp(kind):
        return lambda value: _moment(value) if kind.tz else _moment(value).replace(tzinfo=None)
    others = {pa.date32(): _day, pa.string(): _text, pa.bool_(): _exactly(bool), pa.binary(): _exactly(bytes)}
    return others[kind]


def _exactly(kind: type) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, kind):
            raise MisfitError(value)
        return value

    return convert


def _number(value: Any) -> Decimal:
    from bson.decimal128 import Decimal128

    if isinstance(value, Decimal128):
        return value.to_decimal()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MisfitError(value)
    return Decimal(value) if isinstance(value, int) else Decimal(repr(value))


def _whole(value: Any, kind: pa.DataType) -> int:
    number, bound = _number(value), 1 << (kind.bit_width - 1)
    if not number.is_finite() or number != int(number) or not -bound <= number < bound:
        raise MisfitError(value)
    return int(number)


def _floating(value: Any, kind: pa.DataType) -> float:
    if isinstance(value, float):
        number = value
    else:
        exact = _number(value)
        number = float(exact)
        if Decimal(number) != exact:
            raise MisfitError(value)
    return number if pa.types.is_float64(kind) else float(pa.scalar(number, kind).as_py())


def _moment(value: Any) -> datetime:
    from bson.timestamp import Timestamp

    if isinstance(value, Timestamp):
        return value.as_datetime()
    if not isinstance(value, datetime):
        raise MisfitError(value)
    return value


def _day(value: Any) -> date:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError as error:
            raise MisfitError(value) from error
    moment = _moment(value)
    if (moment.hour, moment.minute, moment.second, moment.microsecond) != (0, 0, 0, 0):
        raise MisfitError(value)
    return moment.date()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        raise MisfitError(value)
    simple = plain(value)
    return (
        simple
        if isinstance(simple, str)
        else json.dumps(simple, ensure_ascii=False, separators=(",", ":"), default=str)
    )
