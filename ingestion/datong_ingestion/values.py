"""From values as a system sends them to Arrow columns of the agreed types; what does not fit is rescued, never bent.

Whole columns are tried first. Only a column that fails is gone through value by value: the good ones stay, each bad
one becomes null and goes, raw, into the row's rescue JSON.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
from datong_platform.lake.columns import compute

Convert = Callable[[Any], Any]

_INTEGER = re.compile(r"[+-]?\d+\Z", re.ASCII)
# Python also takes 1_000 and digits of other scripts, which may be meant otherwise
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_NO_NUMBER = re.compile(r"[+-]?(nan|inf|infinity)\Z", re.IGNORECASE)
# Python also takes 2024-W05 (for its Monday) and 2024-01-31+08:00 (for eight o'clock)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d-?\d)([Tt ].*)?\Z", re.ASCII)
_ODATA_DATE = re.compile(r"/Date\((-?\d+)([+-]\d{1,4})?\)/\Z")
_TIME_SPAN = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d+))?S)?\Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RANGES = {pa.int16(): 2**15, pa.int32(): 2**31, pa.int64(): 2**63}


class Number(str):
    """A JSON number as it was written, so that no digit is lost before its type is known."""

    __slots__ = ()


class MisfitError(ValueError):
    """A value that its field's type cannot hold as it is."""


class Several:
    """The values of a JSON object's field that stands there more than once: which of them counts nobody can tell."""

    __slots__ = ("values",)

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __str__(self) -> str:
        return f"{len(self.values)} values of one field"


def json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of its fields (`object_pairs_hook`); one with different values for one field has them all."""
    found = dict(pairs)
    if len(found) < len(pairs):
        sent: dict[str, list[Any]] = {}
        for name, value in pairs:
            sent.setdefault(name, []).append(value)
        for name, values in sent.items():
            if any(value != values[0] or type(value) is not type(values[0]) for value in values[1:]):
                found[name] = Several(*values)
    return found


def readable(text: str) -> str:
    """A text without halves of characters, which no file takes: they stand there as \\udcXX."""
    return text.encode("utf-8", "backslashreplace").decode()


def _raw(value: Any) -> Any:  # noqa: PLR0911 a way out for each kind of value
    """A raw value in a form that JSON carries."""
    if isinstance(value, Number):
        try:
            number = json.loads(value)
            return number if repr(number) == str(value) else str(value)
        except ValueError:
            return str(value)  # of so many digits that Python makes no number of them
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {readable(str(name)): _raw(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_raw(inner) for inner in value]
    if isinstance(value, Several):
        return [_raw(inner) for inner in value.values]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if isinstance(value, int | float | bool) or value is None else str(value)


class Rescue:
    """What did not fit, by row."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, Any]] = {}
        self._several: dict[int, set[str]] = {}
        """The fields of a row of which more than one value is kept, as a list."""

    def add(self, row: int, field: str, raw: Any) -> None:
        """Keep a raw value of a row."""
        self._rows.setdefault(row, {})[readable(field)] = _raw(raw)

    def add_beside(self, row: int, field: str, raw: Any) -> None:
        """Keep a further raw value of a row under a name that may have one already."""
        held, field = self._rows.setdefault(row, {}), readable(field)
        if field not in held:
            held[field] = _raw(raw)
        elif field in self._several.setdefault(row, set()):
            held[field].append(_raw(raw))
        else:
            self._several[row].add(field)
            held[field] = [held[field], _raw(raw)]

    def column(self, rows: int) -> pa.Array | None:
        """The rescue column for so many rows, or None when there is nothing in it."""
        if not self._rows:
            return None
        texts = [
            json.dumps(self._rows[row], ensure_ascii=False, allow_nan=False) if row in self._rows else None
            for row in range(rows)
        ]
        return pa.array(texts, pa.string())


def column(name: str, kind: pa.DataType, values: list[Any], convert: Convert, rescue: Rescue) -> pa.Array:
    """Values as an Arrow array of `kind`; `convert` turns one value into what Arrow takes, or raises MisfitError."""
    try:
        return pa.array([None if value is None else convert(value) for value in values], kind)
    except (MisfitError, pa.ArrowException, UnicodeError, OverflowError, ValueError, TypeError):
        pass
    kept: list[Any] = []
    for row, value in enumerate(values):
        fitting = None
        if value is not None:
            try:
                fitting = convert(value)
                pa.array([fitting], kind)
            except (MisfitError, pa.ArrowException, UnicodeError, OverflowError, ValueError, TypeError):
                fitting = None
                rescue.add(row, name, value)
        kept.append(fitting)
    return pa.array(kept, kind)


def decimals(text: pa.Array, kind: pa.DataType) -> pa.Array:
    """Texts of plain numbers as exact decimals; ArrowInvalid when one does not fit.

    Arrow's own cast wraps a number with too many digits around, in silence (seen with 26.0.1: twelve billion billion
    billion as a negative number), so the length is looked at before it is trusted.
    """
    longest = compute.max(compute.binary_length(text)).as_py() or 0
    room = kind.precision - kind.scale
    if longest > room:
        point = compute.find_substring(text, ".")
        whole = compute.if_else(compute.equal(point, -1), compute.binary_length(text), point)
        unsigned = compute.subtract(whole, compute.starts_with(text, "-").cast(pa.int32()))
        if longest > 40 or compute.max(unsigned).as_py() > room:
            raise pa.ArrowInvalid("too many digits for the type")
    if compute.any(compute.match_substring(text, "e", ignore_case=True)).as_py():
        raise pa.ArrowInvalid("an exponent, which tells more digits than it is long")
    return text.cast(kind)


_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999


def in_calendar(moments: pa.Array) -> pa.Array:
    """Days or times of the years 1 to 9999; ArrowInvalid for others, which Arrow has, and Python has not."""
    kind = moments.type
    if pa.types.is_date32(kind):
        first, last, numbers = -719_162, 2_932_896, moments.cast(pa.int32())
    else:
        parts = {"s": 1_000_000, "ms": 1000, "us": 1}.get(kind.unit)
        if parts is None:
            return moments  # nanoseconds in 64 bits end in 2262
        first, last, numbers = _FIRST_US // parts, _LAST_US // parts, moments.cast(pa.int64())
    found = compute.min_max(numbers).as_py()
    if found["min"] is not None and not first <= found["min"] <= found["max"] <= last:
        raise pa.ArrowInvalid("a year that no calendar has")
    return moments


def cast_texts(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column of texts in a type, by Arrow's cast where that can be trusted; ArrowInvalid when one does not fit."""
    if pa.types.is_decimal(kind):
        return decimals(texts, kind)
    found = texts.cast(kind)
    return in_calendar(found) if pa.types.is_temporal(kind) else found


def converter(kind: pa.DataType) -> Convert:
    """What turns a JSON (or OData v2 JSON) value into a value of `kind`, exactly, or raises MisfitError."""
    if pa.types.is_decimal(kind):
        return lambda value: to_decimal(value, kind.precision, kind.scale)
    if pa.types.is_integer(kind):
        bound = _RANGES[kind]
        return lambda value: _to_integer(value, bound)
    if pa.types.is_timestamp(kind):
        return _to_instant if kind.tz else _to_local
    if pa.types.is_float32(kind):
        return lambda value: float(pa.scalar(_to_float(value), pa.float32()).as_py())
    return {
        pa.string(): to_text,
        pa.bool_(): _to_boolean,
        pa.float64(): _to_float,
        pa.date32(): _to_date,
        pa.binary(): _to_binary,
    }[kind]


def to_text(value: Any) -> str:
    """Text as it is; a number as it was written; anything else as JSON."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Several):
        raise MisfitError(value)
    return _as_json(value)


def _as_json(value: Any) -> str:
    """A value as JSON in which every number stands as it was written: 1.10 is neither 1.1 nor a text."""
    if isinstance(value, Number) and _NUMBER.match(value):
        return str(value)
    if isinstance(value, dict):
        pairs = (f"{json.dumps(str(name), ensure_ascii=False)}:{_as_json(inner)}" for name, inner in value.items())
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(_as_json(inner) for inner in value)}]"
    return json.dumps(_raw(value), ensure_ascii=False, separators=(",", ":"))


def to_decimal(value: Any, precision: int, scale: int) -> Decimal:
    """An exact decimal; MisfitError when digits would be lost."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise MisfitError(value)
    if isinstance(value, str) and not _NUMBER.match(value.strip()):
        raise MisfitError(value)
    try:
        number = Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation as error:
        raise MisfitError(value) from error
    if not number.is_finite():
        raise MisfitError(value)
    _, digits, exponent = number.as_tuple()
    whole = len(digits) + int(exponent) if number else 0
    if number and (whole > precision - scale or -int(exponent) > scale):
        try:
            trimmed = number.normalize()
        except ArithmeticError as error:
            raise MisfitError(value) from error  # an exponent beyond what numbers have
        _, digits, exponent = trimmed.as_tuple()
        if len(digits) + int(exponent) > precision - scale or -int(exponent) > scale:
            raise MisfitError(value)
        return trimmed
    return number


def _to_integer(value: Any, bound: int) -> int:
    if isinstance(value, bool):
        raise MisfitError(value)
    if isinstance(value, str):
        if not _INTEGER.match(value.strip()):
            number = to_decimal(value, 38, 0)
            value = int(number)
        value = int(value)
    if not isinstance(value, int) or not -bound <= value < bound:
        raise MisfitError(value)
    return value


def _to_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise MisfitError(value)
    if isinstance(value, str) and not (_NUMBER.match(value.strip()) or _NO_NUMBER.match(value.strip())):
        raise MisfitError(value)
    return float(value)


def _to_boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise MisfitError(value)


def _to_binary(value: Any) -> bytes:
    if not isinstance(value, str):
        raise MisfitError(value)
    return base64.b64decode(value, validate=True)


def odata_date(value: str) -> datetime | None:
    """The UTC time of `/Date(ms)/`; an offset in minutes is where it was written, not when (OData v2 JSON, 4).
    None when the text is something else."""
    found = _ODATA_DATE.match(value)
    if not found:
        return None
    try:
        return _EPOCH + timedelta(milliseconds=int(found[1]))
    except OverflowError as error:
        raise MisfitError(value) from error


def iso_moment(text: str) -> datetime:
    """A day or a time by ISO 8601; MisfitError for anything else, a week or a day with a zone included."""
    if not _MOMENT.match(text):
        raise MisfitError(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise MisfitError(text) from error


def _parsed(value: Any) -> datetime:
    if not isinstance(value, str) or isinstance(value, Number):
        raise MisfitError(value)
    found = odata_date(value)
    return iso_moment(value.strip()) if found is None else found


def _to_instant(value: Any) -> datetime:
    moment = _parsed(value)
    if moment.tzinfo is None:
        # without a zone it is not known when this was
        raise MisfitError(value)
    return moment.astimezone(UTC)


def _to_local(value: Any) -> datetime:
    moment = _parsed(value)
    if moment.tzinfo is not None and not (isinstance(value, str) and odata_date(value)):
        raise MisfitError(value)
    return moment.replace(tzinfo=None)


def _to_date(value: Any) -> date:
    moment = _parsed(value)
    if (moment.hour, moment.minute, moment.second, moment.microsecond) != (0, 0, 0, 0):
        raise MisfitError(value)
    return moment.date()


def to_time(value: Any) -> str:
    """A time of day from an Edm.Time (an XML duration, `PT13H05M00S`) as `13:05:00`; text that is none stays."""
    if not isinstance(value, str):
        raise MisfitError(value)
    found = _TIME_SPAN.match(value)
    if not found or value == "PT":
        raise MisfitError(value)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()[:3])
    if hours > 24 or minutes > 59 or seconds > 59:
        raise MisfitError(value)
    fraction = f".{found[4]}" if found[4] and found[4].strip("0") else ""
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{fraction}"
