"""Messages of queues: from the bytes of many messages to the rows of a page; JSON, Avro or text, plain or Debezium.

Every message is read by itself first (a broken one must not hide in its neighbours), then all good ones together, by
columns. A message that cannot be read is refused with a reason, and the rest goes on.
Guards against: messages that only join up into valid JSON, deep nesting, bytes after the end of an Avro record, a
value that does not fit its field (rescued), Debezium's placeholder for a value it did not get (rescued, never stored).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Protocol

import orjson
import pyarrow as pa
from datong_platform.errors import ConfigurationError
from datong_platform.lake.columns import LOCAL_TIMESTAMP, UTC_TIMESTAMP, parse_type

from datong_ingestion.connections.messages import Messages
from datong_ingestion.http import UnreadableBodyError
from datong_ingestion.json_pages import JsonReader
from datong_ingestion.protocols import debezium
from datong_ingestion.protocols.debezium import UnreadableMessageError
from datong_ingestion.source import DELETE, REFUSED
from datong_ingestion.values import MisfitError, Number, Rescue, column, converter, to_text

_GUESSED_DECIMAL = pa.decimal128(38, 9)
_TAUGHT = 100
_SAMPLE = 1000
"""Messages that a guess of the fields looks at."""

Body = tuple[bytes, str | None, dict[str, Any] | None]
"""A row as JSON, what happened to it, and where the database said it (Debezium's source)."""


@dataclass
class Decoded:
    """The rows of some messages."""

    rows: pa.Table
    """The wanted fields."""
    kept: list[int]
    """Which message each row came from."""
    operations: list[str | None]
    """What happened to each row, where its message tells."""
    sources: list[dict[str, Any] | None]
    """Debezium: where each change stands in the database's log."""
    rescued: pa.Array | None = None
    unexpected: frozenset[str] = frozenset()
    refused: list[tuple[int, str]] = field(default_factory=list)
    """Which messages could not be read, and why."""


class Decoder(Protocol):
    """One way to write messages."""

    def guess(self, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> tuple[pa.Schema, tuple[str, ...]]:
        """Fields and keys, from the messages or from what they are declared to be."""
        ...

    def decode(
        self, schema: pa.Schema, row_keys: Sequence[str], values: Sequence[bytes | None], keys: Sequence[bytes | None]
    ) -> Decoded:
        """The messages' rows in the wanted fields."""
        ...


def refusals(found: Sequence[tuple[bytes, str, str]]) -> pa.Table:
    """Refused messages as (bytes, place, reason), as a page carries them."""
    columns = [pa.array([item[i] for item in found], REFUSED.field(i if i < 2 else 3).type) for i in range(3)]
    return pa.Table.from_arrays([columns[0], columns[1], pa.nulls(len(found), pa.string()), columns[2]], schema=REFUSED)


class JsonMessages:
    """Messages that are JSON objects; also those of a serializer that puts a schema's number before them."""

    def __init__(self, how: Messages, key_format: str, thing: str, *, selective: bool = False) -> None:
        """`selective`: fields that are not wanted are left out; otherwise they are rescued."""
        self.how, self.key_format, self.thing, self.selective = how, key_format, thing, selective
        self.logical = {name: debezium.Logical.parse(text) for name, text in how.logical.items()}
        self._reader: JsonReader | None = None
        self._schema: pa.Schema | None = None
        self._posts: dict[str, debezium.Logical] = {}
        self._declared: Any = None
        """The schema of the last event that carried one."""

    def guess(self, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> tuple[pa.Schema, tuple[str, ...]]:
        """Fields of a Debezium schema where events carry one, else types of the values seen."""
        enveloped = self.how.envelope == "debezium"
        if enveloped and (found := self.declared(values, keys)) is not None:
            return found
        rows: list[dict[str, Any]] = []
        for value in values[:_SAMPLE]:
            if value is None:
                continue
            try:
                parsed: Any = json.loads(_unframed(value), parse_float=Number, parse_int=Number, parse_constant=Number)
                if enveloped:
                    event = debezium.change(parsed)
                    parsed = event.row if event else None
            except (ValueError, RecursionError):
                continue
            if isinstance(parsed, dict):
                rows.append(parsed)
        if not rows:
            raise ConfigurationError(
                self.thing,
                "has no readable message yet, so its fields cannot be guessed.",
                "declare them under `fields` in its defs.yaml, or run again when messages have come; messages that are "
                "lines of text need `format: text` among its `options`.",
            )
        kinds = [(item.name, self._logical_kind(item)) for item in guessed_schema(rows)]
        return pa.schema(kinds), debezium.declared_keys(next((key for key in keys if key), None)) if enveloped else ()

    def declared(
        self, values: Sequence[bytes | None], keys: Sequence[bytes | None]
    ) -> tuple[pa.Schema, tuple[str, ...]] | None:
        """Fields and keys as the newest of some Debezium events declares them; None when none carries its schema."""
        for value in reversed(values):
            try:
                event = _loaded(_unframed(value)) if value else None
            except UnreadableMessageError:
                continue
            if (fields := debezium.declared_fields(event)) is not None:
                schema = pa.schema([(name, kind) for name, (kind, _) in fields.items()])
                return schema, debezium.declared_keys(next((key for key in keys if key), None))
        return None

    def decode(
        self, schema: pa.Schema, row_keys: Sequence[str], values: Sequence[bytes | None], keys: Sequence[bytes | None]
    ) -> Decoded:
        """The messages' rows in the wanted fields."""
        body_of = self._event if self.how.envelope == "debezium" else self._plain
        kept: list[int] = []
        bodies: list[bytes] = []
        operations: list[str | None] = []
        sources: list[dict[str, Any] | None] = []
        refused: list[tuple[int, str]] = []
        for index, value in enumerate(values):
            try:
                found = body_of(value, keys[index], row_keys)
            except UnreadableMessageError as error:
                refused.append((index, str(error)))
                continue
            if found is None:
                continue
            kept.append(index)
            bodies.append(found[0])
            operations.append(found[1])
            sources.append(found[2])
        if not bodies:
            return Decoded(schema.empty_table(), [], [], [], refused=refused)
        try:
            reader = self._reader_for(schema, bodies)
            page = reader.parse(b"[" + b",".join(bodies) + b"]")
        except (UnreadableBodyError, RecursionError):
            return self._one_by_one(bodies, Decoded(schema.empty_table(), kept, operations, sources, refused=refused))
        rescue = Rescue()
        columns = [self._finished(item, page.rows.column(item.name), rescue) for item in schema]
        return Decoded(
            pa.Table.from_arrays(columns, schema=schema),
            kept,
            operations,
            sources,
            merged(page.rescued, rescue.column(len(kept))),
            page.unexpected,
            refused,
        )

    def _one_by_one(self, bodies: list[bytes], found: Decoded) -> Decoded:
        """What is valid JSON to one reader and not to the other, as nesting without end."""
        schema = found.rows.schema
        good: list[int] = []
        refused = list(found.refused)
        for position, body in enumerate(bodies):
            try:
                self._new_reader(schema).parse(b"[" + body + b"]")
            except (UnreadableBodyError, RecursionError) as error:
                deep = isinstance(error, RecursionError)
                refused.append((found.kept[position], "it is nested too deeply" if deep else str(error)))
            else:
                good.append(position)
        page = self._new_reader(schema).parse(b"[" + b",".join(bodies[i] for i in good) + b"]")
        rescue = Rescue()
        columns = [self._finished(item, page.rows.column(item.name), rescue) for item in schema]
        return Decoded(
            pa.Table.from_arrays(columns, schema=schema),
            [found.kept[i] for i in good],
            [found.operations[i] for i in good],
            [found.sources[i] for i in good],
            merged(page.rescued, rescue.column(len(good))),
            page.unexpected,
            sorted(refused),
        )

    def _plain(self, value: bytes | None, key: bytes | None, row_keys: Sequence[str]) -> Body | None:
        if value is None:
            return orjson.dumps(self.key_row(key, row_keys)), DELETE, None
        body = value if value[:1] == b"{" else _unframed(value)
        if type(_loaded(body)) is not dict:
            raise UnreadableMessageError("it is JSON, but not an object")
        return body, None, None

    def _event(self, value: bytes | None, key: bytes | None, row_keys: Sequence[str]) -> Body | None:
        if value is None:
            return None  # Debezium's own tombstone: the delete came before it
        event = _loaded(_unframed(value))
        if isinstance(event, dict) and "schema" in event and event["schema"] != self._declared:
            self._declared = event["schema"]
            declared = debezium.declared_fields(event) or {}
            self.logical |= {name: logical for name, (_, logical) in declared.items() if logical}
            self._schema = None  # the next reader is made for what these numbers stand for
        change = debezium.change(event)
        if change is None:
            return None
        row = change.row
        if row is None:
            row = self.key_row(key, row_keys)
        return orjson.dumps(row), change.operation, change.source

    def key_row(self, key: bytes | None, row_keys: Sequence[str]) -> dict[str, Any]:
        """The key fields of a deleted row, from the message's key."""
        return key_row(key, row_keys, self.key_format)

    def _logical_kind(self, item: pa.Field) -> pa.DataType:
        known = self.logical.get(item.name)
        return known.kind if known else item.type

    def _wire(self, schema: pa.Schema) -> pa.Schema:
        self._posts = {
            item.name: logical
            for item in schema
            if (logical := self._logical_of(item)) is not None and logical.fits(item.type)
        }
        return pa.schema(
            [(item.name, self._posts[item.name].wire if item.name in self._posts else item.type) for item in schema]
        )

    def _logical_of(self, item: pa.Field) -> debezium.Logical | None:
        if known := self.logical.get(item.name):
            return known
        # the only number that stands for a date is Debezium's count of days
        if self.how.envelope == "debezium" and item.type == pa.date32():
            return debezium.Logical.parse("Date")
        return None

    def _reader_for(self, schema: pa.Schema, bodies: list[bytes]) -> JsonReader:
        if self._reader is None or self._schema != schema:
            self._schema = schema
            self._reader = self._new_reader(schema)
            if len(bodies) > 2 * _TAUGHT:
                # a few rows teach the shape, so that the whole page is read fast
                self._reader.parse(b"[" + b",".join(bodies[:_TAUGHT]) + b"]")
        return self._reader

    def _new_reader(self, schema: pa.Schema) -> JsonReader:
        if self.selective:
            return JsonReader(self._wire(schema), [()], ignored=lambda _name, _row: True)
        return JsonReader(self._wire(schema), [()])

    def _finished(self, item: pa.Field, found: pa.ChunkedArray, rescue: Rescue) -> pa.Array | pa.ChunkedArray:
        """A column as read, as what its numbers and texts stand for."""
        if logical := self._posts.get(item.name):
            return logical.column(item.name, found, item.type, rescue)
        if self.how.envelope == "debezium" and item.type == pa.string():
            return debezium.without_placeholders(item.name, found, rescue)
        return found


class TextMessages:
    """Messages that are lines of text: one field `value`."""

    def __init__(self, key_format: str) -> None:
        self.key_format = key_format

    def guess(self, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> tuple[pa.Schema, tuple[str, ...]]:
        """One field."""
        return pa.schema([("value", pa.string())]), ()

    def decode(
        self, schema: pa.Schema, row_keys: Sequence[str], values: Sequence[bytes | None], keys: Sequence[bytes | None]
    ) -> Decoded:
        """The messages' texts."""
        texts: list[str] = []
        kept: list[int] = []
        refused: list[tuple[int, str]] = []
        for index, value in enumerate(values):
            try:
                texts.append((value or b"").decode())
                kept.append(index)
            except UnicodeDecodeError as error:
                refused.append((index, f"it is not UTF-8: {error.reason} at byte {error.start}"))
        columns = [
            pa.array(texts, pa.string()) if item.name == "value" else pa.nulls(len(texts), item.type) for item in schema
        ]
        nothing: list[Any] = [None] * len(kept)
        return Decoded(pa.Table.from_arrays(columns, schema=schema), kept, nothing, nothing, refused=refused)


class Registry(Protocol):
    """Where Avro's schemas are."""

    def schema(self, number: int) -> Any:
        """The schema of that number, parsed; UnreadableMessageError when there is none."""
        ...

    def latest(self, subject: str) -> Any:
        """The newest schema of a subject, parsed; None when there is none."""
        ...


class AvroMessages:
    """Avro records, each behind a zero byte and its schema's number (Confluent wire format)."""

    def __init__(
        self, how: Messages, key_format: str, thing: str, registry: Registry, topic: str, *, selective: bool = False
    ) -> None:
        """`selective`: fields that are not wanted are left out; otherwise they are rescued."""
        self.how, self.key_format, self.thing, self.selective = how, key_format, thing, selective
        self.registry, self.topic = registry, topic
        self._readers: dict[int, Callable[..., Any]] = {}

    def guess(self, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> tuple[pa.Schema, tuple[str, ...]]:
        """The fields of the newest schema of the topic, else of the first message's."""
        written = self.registry.latest(f"{self.topic}-value")
        if written is None:
            first = next((value for value in values if value and value[:1] == b"\0" and len(value) > 5), None)
            if first is None:
                raise ConfigurationError(
                    self.thing,
                    f"has no schema {self.topic}-value in the registry and no message yet.",
                    "declare its `fields` in its defs.yaml, or run again when messages have come.",
                )
            written = self.registry.schema(int.from_bytes(first[1:5], "big"))
        record = debezium.avro_row(written) if self.how.envelope == "debezium" else written
        if not isinstance(record, dict) or record.get("type") != "record":
            raise ConfigurationError(
                self.thing,
                "has messages that are not Avro records"
                + (" of before and after." if self.how.envelope == "debezium" else "."),
                "use `envelope: none` for plain records." if self.how.envelope == "debezium" else "use another format.",
            )
        key = self.registry.latest(f"{self.topic}-key") if self.key_format == "avro" else None
        names = tuple(item["name"] for item in key["fields"]) if isinstance(key, dict) and "fields" in key else ()
        return pa.schema([(item["name"], avro_kind(item["type"])) for item in record["fields"]]), names

    def decode(
        self, schema: pa.Schema, row_keys: Sequence[str], values: Sequence[bytes | None], keys: Sequence[bytes | None]
    ) -> Decoded:
        """The messages' rows in the wanted fields."""
        kept: list[int] = []
        rows: list[dict[str, Any]] = []
        operations: list[str | None] = []
        sources: list[dict[str, Any] | None] = []
        refused: list[tuple[int, str]] = []
        enveloped = self.how.envelope == "debezium"
        logical: dict[str, debezium.Logical] = {}
        for index, value in enumerate(values):
            operation: str | None = None
            source: dict[str, Any] | None = None
            try:
                if value is None:
                    if enveloped:
                        continue
                    row, operation = self._key_row(keys[index], row_keys), DELETE
                else:
                    row, written = self.record(value)
                    if enveloped:
                        change = debezium.change(row)
                        if change is None:
                            continue
                        row = change.row if change.row is not None else self._key_row(keys[index], row_keys)
                        operation, source = change.operation, change.source
                        written = debezium.avro_row(written)
                    if isinstance(written, dict) and "fields" in written and not logical:
                        logical = debezium.avro_logical(written)
            except UnreadableMessageError as error:
                refused.append((index, str(error)))
                continue
            kept.append(index)
            rows.append(row)
            operations.append(operation)
            sources.append(source)
        return self._table(schema, rows, logical, Decoded(schema.empty_table(), kept, operations, sources), refused)

    def _table(
        self,
        schema: pa.Schema,
        rows: list[dict[str, Any]],
        logical: dict[str, debezium.Logical],
        decoded: Decoded,
        refused: list[tuple[int, str]],
    ) -> Decoded:
        rescue = Rescue()
        columns: list[Any] = []
        for item in schema:
            values = [row.get(item.name) for row in rows]
            known = logical.get(item.name)
            if known is not None and known.fits(item.type):
                columns.append(column(item.name, item.type, values, known.value, rescue))
            else:
                columns.append(column(item.name, item.type, values, native(item.type), rescue))
        known_names = frozenset(schema.names)
        unexpected: set[str] = set()
        for index, row in enumerate(rows):
            if self.selective or row.keys() <= known_names:
                continue
            for name in row.keys() - known_names:
                unexpected.add(name)
                if row[name] is not None:
                    rescue.add(index, name, _jsonable(row[name]))
        decoded.rows = pa.Table.from_arrays(columns, schema=schema)
        decoded.rescued, decoded.unexpected = rescue.column(len(rows)), frozenset(unexpected)
        decoded.refused = refused
        return decoded

    def record(self, value: bytes) -> tuple[dict[str, Any], Any]:
        """A framed record, and the schema it was written with."""
        if value[:1] != b"\0" or len(value) < 5:
            raise UnreadableMessageError("it does not begin with a zero byte and a schema's number")
        number = int.from_bytes(value[1:5], "big")
        written = self.registry.schema(number)
        if number not in self._readers:
            self._readers[number] = _safe_reader(written)
        body = io.BytesIO(value)
        body.seek(5)
        try:
            row: Any = self._readers[number](body, written, None)
        except (
            EOFError, ValueError, TypeError, IndexError, KeyError, OverflowError, ArithmeticError, RecursionError,
            MemoryError,
        ) as error:  # fmt: skip
            raise UnreadableMessageError(f"it is not what its schema says: {type(error).__name__} {error}") from error
        if body.tell() != len(value):
            raise UnreadableMessageError(f"{len(value) - body.tell()} bytes follow after the end of its record")
        if not isinstance(row, dict):
            raise UnreadableMessageError("it is Avro, but not a record")
        return row, written

    def _key_row(self, key: bytes | None, row_keys: Sequence[str]) -> dict[str, Any]:
        if self.key_format != "avro":
            return key_row(key, row_keys, self.key_format)
        if key is None:
            raise UnreadableMessageError("it has neither a value nor a key, so no row can be named")
        row, _ = self.record(key)
        if missing := [name for name in row_keys if name not in row]:
            raise UnreadableMessageError(f"it has no value, and its key lacks {', '.join(missing)}")
        return {name: row[name] for name in row_keys}


def _safe_reader(written: Any) -> Callable[..., Any]:
    """What reads records of a schema; for one that holds itself a reader that ends at a depth, where the compiled one
    would end the process. UnreadableMessageError for a list whose items take no byte: a message of ten bytes can claim
    any number of them."""
    import fastavro
    from fastavro import _read_py

    known: dict[str, Any] = {}
    recursive = False

    def weightless(part: Any) -> bool:
        part = known.get(part, part) if isinstance(part, str) else part
        if isinstance(part, dict) and part.get("type") == "record":
            return all(weightless(item["type"]) for item in part["fields"])
        if isinstance(part, dict) and part.get("type") == "fixed":
            return part.get("size") == 0
        return part == "null" or (isinstance(part, dict) and part.get("type") == "null")

    def walk(part: Any, around: frozenset[str]) -> None:
        nonlocal recursive
        if isinstance(part, list):
            for one in part:
                walk(one, around)
        elif isinstance(part, str):
            recursive = recursive or part in around
        elif isinstance(part, dict):
            kind = part.get("type")
            if kind == "record":
                known[part["name"]] = part
                for item in part["fields"]:
                    walk(item["type"], around | {part["name"]})
            elif kind == "array":
                walk(part["items"], around)
                if weightless(part["items"]):
                    raise UnreadableMessageError("its schema has a list of items that take no byte")
            elif kind == "map":
                walk(part["values"], around)
            elif isinstance(kind, dict | list):
                walk(kind, around)

    walk(written, frozenset())
    return _read_py.schemaless_reader if recursive else fastavro.schemaless_reader


def key_row(key: bytes | None, row_keys: Sequence[str], key_format: str) -> dict[str, Any]:
    """The key fields of a deleted row, from its message's key; UnreadableMessageError when that does not tell them."""
    if not row_keys:
        raise UnreadableMessageError("it has no value, as a delete has; but the entity declares no keys")
    if key is None or key_format == "none":
        raise UnreadableMessageError("it has no value, and no key that tells which row was deleted")
    if key_format == "json":
        found: Any = _loaded(_unframed(key))
        if isinstance(found, dict) and "payload" in found and "schema" in found:
            found = found["payload"]
        if not isinstance(found, dict):
            found = {row_keys[0]: found} if len(row_keys) == 1 else {}
        if missing := [name for name in row_keys if name not in found]:
            raise UnreadableMessageError(f"it has no value, and its key lacks {', '.join(missing)}")
        return {name: found[name] for name in row_keys}
    if key_format == "text" and len(row_keys) == 1:
        try:
            return {row_keys[0]: key.decode()}
        except UnicodeDecodeError as error:
            raise UnreadableMessageError("it has no value, and its key is not UTF-8") from error
    raise UnreadableMessageError(
        f"it has no value, and a key in {key_format} cannot tell the fields {', '.join(row_keys)}"
    )


def _unframed(value: bytes) -> bytes:
    """JSON without what serializers put before it: a schema's number (Confluent's JSON serializer), or a BOM."""
    if value[:1] == b"\0" and len(value) > 5:
        value = value[5:]
    return value[3:] if value[:3] == b"\xef\xbb\xbf" else value


def _loaded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnreadableMessageError(f"it is not JSON ({error})") from error


def merged(one: pa.Array | None, other: pa.Array | None) -> pa.Array | None:
    """Two rescue columns as one."""
    if one is None or other is None:
        return other if one is None else one
    texts: list[str | None] = []
    for left, right in zip(one.to_pylist(), other.to_pylist(), strict=True):
        both = left if right is None else right
        if left is not None and right is not None:
            both = json.dumps(json.loads(left) | json.loads(right), ensure_ascii=False)
        texts.append(both)
    return pa.array(texts, pa.string())


def guessed_schema(rows: Sequence[dict[str, Any]]) -> pa.Schema:
    """Types of values seen: boolean, long, decimal(38,9), else string. Numbers are `values.Number`."""
    kinds: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            kinds.setdefault(name, set()).update({_guessed(value)} - {""})
    found = {
        frozenset({"boolean"}): pa.bool_(),
        frozenset({"long"}): pa.int64(),
        frozenset({"decimal"}): _GUESSED_DECIMAL,
        frozenset({"long", "decimal"}): _GUESSED_DECIMAL,
    }
    return pa.schema([(name, found.get(frozenset(kind), pa.string())) for name, kind in kinds.items()])


def _guessed(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Number):
        return "long" if value.lstrip("-").isdigit() and len(value) < 19 else "decimal"
    return "string"


_AVRO: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "fixed": pa.binary(),
    "string": pa.string(),
}
_AVRO_LOGICAL: dict[str, pa.DataType] = {
    "date": pa.date32(),
    "timestamp-millis": UTC_TIMESTAMP,
    "timestamp-micros": UTC_TIMESTAMP,
    "local-timestamp-millis": LOCAL_TIMESTAMP,
    "local-timestamp-micros": LOCAL_TIMESTAMP,
    "time-millis": pa.string(),
    "time-micros": pa.string(),
    "uuid": pa.string(),
}


def avro_kind(declared: Any) -> pa.DataType:
    """The lake's type of an Avro type; what is nested becomes its JSON text (Avro 1.11, "Logical Types")."""
    if isinstance(declared, list):
        others = [kind for kind in declared if kind != "null"]
        return avro_kind(others[0]) if len(others) == 1 else pa.string()
    if isinstance(declared, str):
        return _AVRO.get(declared, pa.string())
    if (logical := debezium.connect_logical(declared)) is not None:
        return logical.kind
    name = declared.get("logicalType")
    if name == "decimal" and declared.get("type") in {"bytes", "fixed"}:
        precision, scale = int(declared["precision"]), int(declared.get("scale", 0))
        return parse_type(f"decimal({precision},{scale})") if precision <= 38 else pa.string()
    if name in _AVRO_LOGICAL:
        return _AVRO_LOGICAL[name]
    return avro_kind(declared["type"])


def native(kind: pa.DataType) -> Callable[[Any], Any]:
    """What turns a value of Avro's reader, or of a database's driver, into one of `kind`; MisfitError for others."""
    usual = converter(kind)

    def to_string(value: Any) -> str:
        return value if isinstance(value, str) else to_text(_jsonable(value))

    def to_moment(value: Any) -> Any:
        if not isinstance(value, datetime):
            return usual(value)
        if (value.tzinfo is None) != (kind.tz is None):
            raise MisfitError(value)
        return value

    def to_day(value: Any) -> Any:
        return value if isinstance(value, date) and not isinstance(value, datetime) else usual(value)

    def to_bytes(value: Any) -> Any:
        return value if isinstance(value, bytes) else usual(value)

    if kind == pa.string():
        return to_string
    if pa.types.is_timestamp(kind):
        return to_moment
    if pa.types.is_date(kind):
        return to_day
    if pa.types.is_binary(kind):
        return to_bytes
    return usual


def _jsonable(value: Any) -> Any:
    """A value of Avro's reader in a form that JSON carries, digits kept."""
    if isinstance(value, dict):
        return {str(name): _jsonable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return Number(value)
    return value if isinstance(value, str | int | float | bool | bytes) or value is None else str(value)
