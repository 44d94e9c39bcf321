"""Payloads: from a row of a serve table to what the target is sent, and back from what the target holds.

A payload is what goes over the wire: a JSON object of texts, numbers and booleans, the same in the request, in the
ledger and in the hash. OData v2 writes decimals and 64-bit integers as texts and times as `/Date(ms)/`; a JSON API
takes numbers and ISO 8601. Reading back compares meaning, not spelling: 10 equals 10.000, one instant equals itself in
another zone, and an empty text equals null (SAP knows no null text).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

import pyarrow as pa
from datong_platform.errors import ConfigurationError

from datong_ingestion.write_back.config import ColumnValue, ConstantValue, FlowConfig, Kind

Dialect = Literal["odata_v2", "odata_v4", "rest", "sql", "xml"]
"""How values are written; `xml`: decimals as text and ISO 8601, for SOAP and EDI."""
_AS_TEXT: tuple[Dialect, ...] = ("odata_v2", "sql", "xml")
Payload = dict[str, Any]


class Confirmed(dict[str, Any]):
    """What a target that cannot be asked (a queue, a partner) said yes to: exactly what it was sent."""


_ODATA_DATE = re.compile(r"/Date\((-?\d+)([+-]\d+)?\)/\Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class _Leaf:
    kind: Kind
    value: ColumnValue | ConstantValue


Shape = dict[str, "_Leaf | list[dict[str, _Leaf]]"]


class PayloadBuilder:
    """Makes a flow's payloads and compares them with what the target holds.

    `schema` is the serve table's Arrow schema. ConfigurationError when the flow names a column that is not there.
    """

    def __init__(self, flow: FlowConfig, schema: pa.Schema, dialect: Dialect) -> None:
        self.flow = flow
        self.dialect = dialect
        self.zone = ZoneInfo(flow.target.timezone)
        self.shape: Shape = {}
        missing = [name for name in flow.columns if name not in schema.names]
        if missing:
            raise ConfigurationError(
                f"write-back flow {flow.flow}",
                f"names columns that {flow.source} does not have: {', '.join(missing)}.",
                "mend the flow's defs.yaml, or build the model again.",
            )
        called = flow.action.parameters if flow.action else {}
        self.called = {name: self._leaf(value, schema) for name, value in called.items()}
        for name, value in flow.payload.items():
            if isinstance(value, list):
                self.shape[name] = [
                    {inner: self._leaf(item, schema) for inner, item in fields.items()} for fields in value
                ]
            else:
                self.shape[name] = self._leaf(value, schema)

    def _leaf(self, value: ColumnValue | ConstantValue, schema: pa.Schema) -> _Leaf:
        if isinstance(value, ConstantValue):
            kind: Kind = (
                "boolean" if isinstance(value.value, bool) else "integer" if isinstance(value.value, int) else "text"
            )
            return _Leaf(kind, value)
        return _Leaf(value.kind or _kind_of(schema.field(value.column), self.flow), value)

    def build(self, row: Mapping[str, Any]) -> Payload:
        """The payload of one row. ValueError, naming the field, when a value cannot be carried."""
        payload: Payload = {}
        for name, part in self.shape.items():
            payload |= (
                {name: [self._fields(fields, row) for fields in part]}
                if isinstance(part, list)
                else self._fields({name: part}, row)
            )
        return payload

    def parameters(self, row: Mapping[str, Any]) -> Payload:
        """What the flow's action is called with for one row. ValueError when a value cannot be carried."""
        return self._fields(self.called, row)

    def mended(self, given: Mapping[str, Any]) -> Payload:
        """Values that a person wrote, as they go over the wire. ValueError for a field that the flow does not write,
        for the record's key, and for a value that is none of its kind."""
        made: Payload = {}
        for name, value in given.items():
            part = self.shape.get(name)
            if part is None:
                raise ValueError(f"the flow does not write {name}")
            if name in {self.flow.target.lookup, *self.flow.target.identity}:
                # it would be written as a record that nobody asked for, and never be found by the row's own key
                raise ValueError(f"{name} is the record's key, and another key is another record")
            if isinstance(part, list) or value is None:
                made[name] = value
                continue
            try:
                made[name] = self._encode(name, part.kind, _WRITTEN[part.kind](value))
            except (ValueError, ArithmeticError) as error:
                raise ValueError(f"{name}: {value!r} is no {part.kind}") from error
        return made

    def image(self, held: Mapping[str, Any]) -> Payload:
        """The fields that the flow writes, as a target's record holds them."""
        shown: Payload = {}
        for name, part in self.shape.items():
            if isinstance(part, list):
                wanted = {inner for fields in part for inner in fields}
                shown[name] = [{key: one[key] for key in one if key in wanted} for one in _items(held.get(name))]
            elif name in held:
                shown[name] = held[name]
        return shown

    def _fields(self, fields: Mapping[str, _Leaf], row: Mapping[str, Any]) -> Payload:
        made: Payload = {}
        for name, leaf in fields.items():
            value = leaf.value.value if isinstance(leaf.value, ConstantValue) else row[leaf.value.column]
            if value is not None:
                made[name] = self._encode(name, leaf.kind, value)
            elif isinstance(leaf.value, ColumnValue) and leaf.value.send_null:
                made[name] = None
        return made

    def _encode(self, name: str, kind: Kind, value: Any) -> Any:
        odata = self.dialect == "odata_v2"
        if kind == "number":
            number = Decimal(str(value))
            return format(number, "f") if self.dialect in _AS_TEXT else _json_number(name, number)
        if kind == "date":
            day = value.astimezone(self.zone).date() if isinstance(value, datetime) else cast("date", value)
            return f"/Date({(day - _EPOCH.date()).days * 86_400_000})/" if odata else day.isoformat()
        if kind == "datetime":
            moment = _moment(value)
            if odata:
                return f"/Date({(moment - _EPOCH) // timedelta(milliseconds=1)}+0000)/"
            parts = "microseconds" if self.dialect == "sql" else "milliseconds"
            return moment.astimezone(self.zone).isoformat(timespec=parts if moment.microsecond else "seconds")
        plain: dict[str, Callable[[Any], Any]] = {"text": str, "boolean": bool, "integer": int}
        return plain[kind](value)

    def differences(self, sent: Mapping[str, Any], held: Mapping[str, Any]) -> list[str]:
        """Where the target's record differs from a payload, as `Field: sent 3, target holds 4`; empty when equal."""
        found: list[str] = []
        if isinstance(held, Confirmed):
            return found
        for name, value in sent.items():
            part = self.shape.get(name)
            if isinstance(value, list):
                items = _items(held.get(name))
                shapes = part if isinstance(part, list) else []
                if len(items) != len(value):
                    found.append(f"{name}: sent {len(value)} items, target holds {len(items)}")
                    continue
                for place, (one, other) in enumerate(zip(value, items, strict=True)):
                    fields = shapes[place] if place < len(shapes) else {}
                    found += [
                        _told(f"{name}[{place}].{inner}", content, other.get(inner))
                        for inner, content in one.items()
                        if not _same(fields.get(inner), content, other.get(inner))
                    ]
            elif not _same(None if isinstance(part, list) else part, value, held.get(name)):
                found.append(_told(name, value, held.get(name)))
        return found


def payload_hash(payload: Mapping[str, Any]) -> str:
    """SHA-256 of a payload's canonical JSON."""
    return hashlib.sha256(dumps(payload).encode()).hexdigest()


def dumps(payload: Mapping[str, Any]) -> str:
    """A payload as canonical JSON: sorted, without blanks."""
    return json.dumps(payload, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _kind_of(column: pa.Field, flow: FlowConfig) -> Kind:
    kind = column.type
    if pa.types.is_decimal(kind) or pa.types.is_floating(kind) or kind == pa.int64():
        return "number"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_date(kind):
        return "date"
    if pa.types.is_timestamp(kind):
        return "datetime"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    raise ConfigurationError(
        f"write-back flow {flow.flow}",
        f"column {flow.source}.{column.name} is of type {kind}, which no target takes.",
        "give it a plain type in the model.",
    )


def _moment(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _items(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, dict):
        value = cast("dict[str, Any]", value).get("results", [])
    return cast("list[Mapping[str, Any]]", value) if isinstance(value, list) else []


def _told(name: str, sent: Any, held: Any) -> str:
    return f"{name}: sent {_shown(sent)}, target holds {_shown(held)}"


def _shown(value: Any) -> str:
    """A value for people: times as times."""
    try:
        return read_moment(value).isoformat() if isinstance(value, str) and _ODATA_DATE.match(value) else repr(value)
    except ValueError:
        return repr(value)


def _same(leaf: _Leaf | None, sent: Any, held: Any) -> bool:
    if leaf is not None and not leaf.value.compare:
        return True
    if sent in (None, "") or held in (None, ""):
        return sent in (None, "") and held in (None, "")
    try:
        return _MEANINGS[leaf.kind if leaf else "text"](sent, held)
    except (InvalidOperation, ValueError, OverflowError):
        return False


def _json_number(name: str, number: Decimal) -> int | float:
    if number == number.to_integral_value():
        return int(number)
    if Decimal(repr(float(number))) != number:
        raise ValueError(f"{name}: {number} is not exact as a JSON number; send it `as: text`")
    return float(number)


def read_day(value: Any) -> date:
    """A day as a target writes it: `/Date(ms)/` or ISO 8601. ValueError for anything else."""
    if match := _ODATA_DATE.match(str(value)):
        return (_EPOCH + timedelta(milliseconds=int(match[1]))).date()
    return date.fromisoformat(str(value)[:10])


def read_moment(value: Any) -> datetime:
    """A moment as a target writes it, with its zone (UTC where it names none). ValueError for anything else."""
    if match := _ODATA_DATE.match(str(value)):
        return _EPOCH + timedelta(milliseconds=int(match[1]))
    return _moment(datetime.fromisoformat(str(value)))


def _truth(value: Any) -> bool:
    """ValueError when it is none; XML Schema writes true as `true` or `1`."""
    if isinstance(value, bool):
        return value
    try:
        return {"true": True, "1": True, "false": False, "0": False}[str(value).strip().lower()]
    except KeyError:
        raise ValueError(f"{value!r} is neither true nor false") from None


_MEANINGS: dict[Kind, Callable[[Any, Any], bool]] = {
    "text": lambda sent, held: sent == held,
    "boolean": lambda sent, held: _truth(sent) == _truth(held),
    "integer": lambda sent, held: Decimal(str(sent)) == Decimal(str(held)),
    "number": lambda sent, held: Decimal(str(sent)) == Decimal(str(held)),
    "date": lambda sent, held: read_day(sent) == read_day(held),
    # many targets keep whole seconds
    "datetime": lambda sent, held: abs(read_moment(sent) - read_moment(held)) < _SECOND,
}

_WRITTEN: dict[Kind, Callable[[Any], Any]] = {
    "text": str,
    "number": lambda value: Decimal(str(value)),
    "integer": lambda value: int(str(value)),
    "boolean": _truth,
    "date": lambda value: date.fromisoformat(str(value)),
    "datetime": lambda value: datetime.fromisoformat(str(value)),
}
"""From what a person writes to a value of a kind; a time without a zone is UTC."""
