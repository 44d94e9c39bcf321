"""Debezium's change events: what happened, the row, and what its numbers and texts stand for.

From an event `{before, after, source, op}`, with or without its schema, to an operation and a row. Types by the names
that Debezium and Kafka Connect give them (Debezium reference, "Data type mappings"): `io.debezium.time.*` and
`org.apache.kafka.connect.data.*`.
Guards against: events that are no change (heartbeats, transaction marks), a truncated table, which no row can tell,
and the placeholder that stands for a large value that PostgreSQL did not log.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson
import pyarrow as pa
from datong_platform.lake.columns import LOCAL_TIMESTAMP, UTC_TIMESTAMP, compute

from datong_ingestion.source import DELETE, INSERT, SNAPSHOT, UPDATE
from datong_ingestion.values import MisfitError, Rescue, column, to_decimal

PLACEHOLDER = "__debezium_unavailable_value"
_OPERATIONS = {"c": INSERT, "r": SNAPSHOT, "u": UPDATE, "d": DELETE}
_EPOCH = datetime(1970, 1, 1)
_LOWEST, _HIGHEST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999 in microseconds since 1970."""
_DAYS = (-719_162, 2_932_896)


class UnreadableMessageError(Exception):
    """A message that cannot become a row; its words are the reason."""


@dataclass(frozen=True)
class Change:
    """What an event says."""

    operation: str
    row: dict[str, Any] | None
    """None when only the message's key tells the row."""
    source: dict[str, Any] | None


def change(event: Any) -> Change | None:
    """What happened to which row; None for an event that is no change of data."""
    if not isinstance(event, dict):
        raise UnreadableMessageError("it is not a change event")
    if "payload" in event and "schema" in event:
        event = event["payload"]
        if event is None:
            return None
        if not isinstance(event, dict):
            raise UnreadableMessageError("it is not a change event")
    kind = event.get("op")
    if kind is None:
        if "after" not in event and "before" not in event and ("ts_ms" in event or "status" in event):
            return None
        raise UnreadableMessageError("it is not a change event: it has no op")
    if kind == "m":
        return None
    if kind == "t":
        raise UnreadableMessageError("the table was truncated; a new baseline tells which rows are gone")
    operation = _OPERATIONS.get(kind)
    if operation is None:
        raise UnreadableMessageError(f"it has the unknown op {str(kind)[:20]!r}")
    row = event.get("before") if operation == DELETE else event.get("after")
    if row is None and operation != DELETE:
        raise UnreadableMessageError(f"it has op {kind} and no row after it")
    if row is not None and not isinstance(row, dict):
        raise UnreadableMessageError("its row is not an object")
    source = event.get("source")
    return Change(operation, row, source if isinstance(source, dict) else None)


def log_position(source: dict[str, Any] | None) -> tuple[Any, ...] | None:
    """Where a change stands in its database's log, so that later ones compare greater; None where that is not known.

    PostgreSQL: the end of the transaction before it and its own LSN (an LSN alone goes back where transactions run
    side by side). MySQL and MariaDB: file, position, row. SQL Server: commit, change, event number.
    """
    if source is None:
        return None
    connector = source.get("connector")
    try:
        if connector == "postgresql" and source.get("sequence"):
            committed, own = orjson.loads(source["sequence"])
            return (int(committed or 0), int(own or 0))
        if connector in {"mysql", "mariadb"} and source.get("file"):
            name, _, number = str(source["file"]).rpartition(".")
            return (name, int(number), int(source["pos"]), int(source.get("row") or 0))
        if connector == "sqlserver" and source.get("commit_lsn"):
            return (str(source["commit_lsn"]), str(source["change_lsn"] or ""), int(source.get("event_serial_no") or 0))
    except (ValueError, TypeError, KeyError):
        return None
    return None


def position_text(source: dict[str, Any] | None) -> str | None:
    """`log_position` as text that sorts as the log does."""
    found = log_position(source)
    return None if found is None else "-".join(f"{part:020d}" if isinstance(part, int) else part for part in found)


@dataclass(frozen=True)
class Logical:
    """What a number or a text of an event stands for."""

    name: str
    scale: int | None = None

    @classmethod
    def parse(cls, text: str) -> Logical:
        """From `Date`, `MicroTimestamp` or `Decimal(2)`."""
        name, _, scale = text.partition("(")
        return cls(name, int(scale.rstrip(")")) if scale else None)

    @property
    def wire(self) -> pa.DataType:
        """The type in which it is sent."""
        return pa.string() if self.name in {"Decimal", "ZonedTimestamp", "VariableScaleDecimal"} else pa.int64()

    @property
    def kind(self) -> pa.DataType:
        """The type of what it stands for. Debezium's timestamps without a zone are local times."""
        if self.name == "Decimal":
            return pa.decimal128(38, self.scale or 0)
        if self.name == "VariableScaleDecimal":
            return pa.decimal128(38, 18)
        if self.name == "Date":
            return pa.date32()
        if self.name == "ZonedTimestamp":
            return UTC_TIMESTAMP
        return LOCAL_TIMESTAMP if self.name.endswith("Timestamp") else pa.string()

    def fits(self, kind: pa.DataType) -> bool:
        """Whether a field of `kind` can hold it."""
        if self.name.endswith("Decimal"):
            return pa.types.is_decimal(kind)
        if self.name == "Date":
            return pa.types.is_date(kind)
        if self.name == "ZonedTimestamp":
            return kind == UTC_TIMESTAMP
        return pa.types.is_timestamp(kind) if self.name.endswith("Timestamp") else kind == pa.string()

    def column(self, name: str, found: pa.ChunkedArray, kind: pa.DataType, rescue: Rescue) -> pa.Array:
        """A column of the wire's type as what it stands for; what does not fit is rescued."""
        if self.name == "ZonedTimestamp" or self.wire != pa.int64():
            return column(name, kind, found.to_pylist(), self.value, rescue)
        lowest, highest = (item.as_py() for item in compute.min_max(found).values())
        if lowest is None:
            return pa.nulls(len(found), kind)
        if self.name == "Date" and _DAYS[0] <= lowest and highest <= _DAYS[1]:
            return found.cast(pa.int32()).cast(kind)
        factor = {"Timestamp": 1000, "MicroTimestamp": 1}.get(self.name)
        if factor and lowest * factor >= _LOWEST and highest * factor <= _HIGHEST:
            # a UTC time and a local time of the same number are cast, not shifted: Debezium counts local time as UTC
            return compute.multiply(found, factor).cast(pa.timestamp("us", kind.tz))
        return column(name, kind, found.to_pylist(), self.value, rescue)

    def value(self, value: Any) -> Any:
        """One value as what it stands for; MisfitError when it is not what it should be."""
        if self.name.endswith("Decimal"):
            return self._decimal(value)
        if self.name == "ZonedTimestamp":
            try:
                return datetime.fromisoformat(str(value)).astimezone(UTC)
            except (ValueError, OverflowError) as error:
                raise MisfitError(value) from error
        if isinstance(value, datetime | date):
            return value
        if isinstance(value, bool) or not isinstance(value, int):
            raise MisfitError(value)
        return _TIMES[self.name](value)

    def _decimal(self, value: Any) -> Decimal:
        scale = self.scale
        if isinstance(value, Decimal):
            return value
        if isinstance(value, str) and value.startswith("{"):
            value = json.loads(value)
        if isinstance(value, dict):
            scale, value = int(value["scale"]), value["value"]
        if isinstance(value, str):
            if scale is None:
                return to_decimal(value, 38, 18)
            try:
                value = base64.b64decode(value, validate=True)
            except ValueError as error:
                raise MisfitError(value) from error
        if not isinstance(value, bytes) or not value:
            raise MisfitError(value)
        try:
            return Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-(scale or 0))
        except InvalidOperation as error:
            raise MisfitError(value) from error


def _moment(micros: int) -> datetime:
    if not _LOWEST <= micros <= _HIGHEST:
        raise MisfitError(micros)
    return _EPOCH + timedelta(microseconds=micros)


def _nanos(value: int) -> datetime:
    if value % 1000:
        raise MisfitError(value)
    return _moment(value // 1000)


def _day(value: int) -> date:
    if not _DAYS[0] <= value <= _DAYS[1]:
        raise MisfitError(value)
    return date(1970, 1, 1) + timedelta(days=value)


def _clock(nanos: int) -> str:
    if not 0 <= nanos <= 86_400 * 10**9:
        raise MisfitError(nanos)
    seconds, rest = divmod(nanos, 10**9)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{rest:09d}".rstrip("0") if rest else text


_TIMES: dict[str, Callable[[int], Any]] = {
    "Date": _day,
    "Timestamp": lambda value: _moment(value * 1000),
    "MicroTimestamp": _moment,
    "NanoTimestamp": _nanos,
    "Time": lambda value: _clock(value * 10**6),
    "MicroTime": lambda value: _clock(value * 1000),
    "NanoTime": _clock,
}

_NAMES = {
    **{f"io.debezium.time.{name}": name for name in (*_TIMES, "ZonedTimestamp")},
    "io.debezium.data.VariableScaleDecimal": "VariableScaleDecimal",
    **{f"org.apache.kafka.connect.data.{name}": name for name in ("Date", "Time", "Timestamp", "Decimal")},
}
_CONNECT: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "int8": pa.int16(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float": pa.float32(),
    "float32": pa.float32(),
    "double": pa.float64(),
    "float64": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}


def connect_logical(declared: dict[str, Any]) -> Logical | None:
    """What a field of a Connect schema (or of an Avro schema that Connect wrote) stands for."""
    name = _NAMES.get(str(declared.get("connect.name") or declared.get("name") or ""))
    if name is None:
        return None
    if name == "Decimal":
        parameters = declared.get("connect.parameters") or declared.get("parameters") or {}
        return Logical(name, int(parameters.get("scale", declared.get("scale", 0))))
    return Logical(name)


def declared_fields(event: Any) -> dict[str, tuple[pa.DataType, Logical | None]] | None:
    """The row's fields as an event's own schema declares them; None when it carries none."""
    if not isinstance(event, dict) or not isinstance(event.get("schema"), dict) or "payload" not in event:
        return None
    for part in event["schema"].get("fields") or []:
        if part.get("field") in {"after", "before"} and part.get("fields"):
            return {item["field"]: _declared(item) for item in part["fields"]}
    return None


def declared_keys(key: bytes | None) -> tuple[str, ...]:
    """The key fields, where a message's key is a JSON object, with or without its schema."""
    try:
        found: Any = orjson.loads(key) if key else None
    except orjson.JSONDecodeError:
        return ()
    if isinstance(found, dict) and "payload" in found and "schema" in found:
        found = found["payload"]
    return tuple(found) if isinstance(found, dict) else ()


def _declared(item: dict[str, Any]) -> tuple[pa.DataType, Logical | None]:
    logical = connect_logical(item)
    if logical is None:
        return _CONNECT.get(str(item.get("type")), pa.string()), None
    parameters = item.get("parameters") or {}
    if logical.name == "Decimal" and "connect.decimal.precision" in parameters:
        precision = int(parameters["connect.decimal.precision"])
        if precision <= 38:
            return pa.decimal128(precision, logical.scale or 0), logical
    return logical.kind, logical


def avro_row(declared: Any) -> Any:
    """The record of the row in the Avro schema of an envelope; None when there is none."""
    known: dict[str, Any] = {}

    def collect(part: Any, space: str) -> None:
        if isinstance(part, list):
            for one in part:
                collect(one, space)
        elif isinstance(part, dict):
            space = part.get("namespace", space)
            if part.get("type") == "record":
                known[part["name"]] = part
                known[part["name"] if "." in part["name"] else f"{space}.{part['name']}"] = part
                for item in part.get("fields", []):
                    collect(item["type"], space)

    collect(declared, "")
    if not isinstance(declared, dict):
        return None
    for item in declared.get("fields", []):
        if item["name"] in {"after", "before"}:
            kinds = item["type"] if isinstance(item["type"], list) else [item["type"]]
            for kind in kinds:
                if isinstance(kind, dict) and kind.get("type") == "record":
                    return kind
                if isinstance(kind, str) and kind in known:
                    return known[kind]
    return None


def avro_logical(record: dict[str, Any]) -> dict[str, Logical]:
    """What the fields of an Avro record that Connect wrote stand for."""
    found: dict[str, Logical] = {}
    for item in record.get("fields", []):
        kinds = item["type"] if isinstance(item["type"], list) else [item["type"]]
        for kind in kinds:
            if isinstance(kind, dict) and (logical := connect_logical(kind)) is not None:
                found[item["name"]] = logical
    return found


def without_placeholders(name: str, found: pa.ChunkedArray, rescue: Rescue) -> pa.Array | pa.ChunkedArray:
    """A text column in which the placeholder of a value that was not logged is null, and told in the rescue."""
    marked = compute.fill_null(compute.equal(found, PLACEHOLDER), False)
    if not compute.any(marked).as_py():
        return found
    for index in compute.indices_nonzero(marked).to_pylist():
        rescue.add(index, name, PLACEHOLDER)
    return compute.if_else(marked, pa.scalar(None, pa.string()), found)
