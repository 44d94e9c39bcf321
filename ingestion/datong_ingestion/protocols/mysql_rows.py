"""The rows of MariaDB's and MySQL's binlog, decoded by a plan made once for a table.

The replication library reads the stream, its events and what they say of a table. Its own reading of rows asks anew for
every value which type it has, and takes ten times as long as this. A table with a type that is not known here (JSON of
MySQL, geometry, the formats of before 5.6) is left to the library.

From the bytes of a row event to Python values, the library's own but for these: decimals, times and sets come as the
server writes them, a date or time that is none as `NoDate`, a text that its character set cannot explain as bytes.

Sources: MySQL internals, "Rows_event" and "Date and Time Data Type Representation"; MariaDB, "Rows_event_v1".
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

Read = Callable[[bytes, int], tuple[Any, int]]
Row = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
_FRACTION_BYTES = (0, 1, 1, 2, 2, 3, 3)
_WHOLE = {1: 1, 2: 2, 9: 3, 3: 4, 8: 8}
"""Bytes of the whole numbers, by their type."""
_FLOAT, _DOUBLE, _DATE, _YEAR, _VARCHAR, _BIT = 4, 5, 10, 13, 15, 16
_TIMESTAMP2, _DATETIME2, _TIME2 = 17, 18, 19
_DECIMAL, _ENUM, _SET, _BLOB, _STRING = 246, 247, 248, 252, 254


class NoDate(str):
    """Stands for a date that is none, which a column cannot hold."""

    __slots__ = ()


NO_DATE = NoDate("a date or time that is none, as 0000-00-00")


class Rows:
    """What the row events of one stream hold."""

    def __init__(self) -> None:
        self._plans: dict[int, list[tuple[str, Read]] | None] = {}

    def forget(self) -> None:
        """Another file of the binlog begins, in which a table's number may stand for another table."""
        self._plans.clear()

    def of(self, event: Any) -> list[tuple[Row | None, Row | None]] | None:
        """Each row before and after its change, in the event's order; None where the library has to read it."""
        if event.table_id not in self._plans:
            self._plans[event.table_id] = _plan(event.columns)
        plan = self._plans[event.table_id]
        present = [event.columns_present_bitmap]
        if hasattr(event, "columns_present_bitmap2"):
            present.append(event.columns_present_bitmap2)
        if plan is None or not event.complete or any(_count(bits) != len(plan) for bits in present):
            return None
        body = event.packet.read(event.event_size - event.packet.read_bytes)
        found: list[tuple[Row | None, Row | None]] = []
        place, end = 0, len(body)
        deletes = type(event).__name__ == "DeleteRowsEvent"
        while place < end:
            row, place = _row(plan, body, place)
            if len(present) == 1:
                found.append((row, None) if deletes else (None, row))
            else:
                after, place = _row(plan, body, place)
                found.append((row, after))
        return found


def _row(plan: list[tuple[str, Read]], body: bytes, place: int) -> tuple[Row, int]:
    row: Row = {}
    nulls = int.from_bytes(body[place : place + (len(plan) + 7) // 8], "little")
    place += (len(plan) + 7) // 8
    for name, read in plan:
        if nulls & 1:
            row[name] = None
        else:
            row[name], place = read(body, place)
        nulls >>= 1
    return row, place


def _count(bits: bytes) -> int:
    return int.from_bytes(bits, "little").bit_count()


def _plan(columns: list[Any]) -> list[tuple[str, Read]] | None:
    """How to read each column of a table; None when the library has to."""
    found = [(item.name, _reader(item)) for item in columns]
    plan = [(name, read) for name, read in found if name and read is not None]
    return plan if len(plan) == len(columns) else None


def _reader(item: Any) -> Read | None:
    makers: dict[int, Callable[[Any], Read | None]] = {
        **dict.fromkeys(_WHOLE, _whole),
        _FLOAT: lambda _: _packed("<f"),
        _DOUBLE: lambda _: _packed("<d"),
        _DATE: lambda _: _date,
        _YEAR: lambda _: _year,
        _VARCHAR: lambda item: _text(item, 2 if item.max_length > 255 else 1),
        _STRING: lambda item: _text(item, 2 if item.max_length > 255 else 1),
        _BLOB: lambda item: _text(item, item.length_size),
        _BIT: _bits,
        _TIMESTAMP2: _timestamp,
        _DATETIME2: _moment,
        _TIME2: _time,
        _DECIMAL: _decimal,
        _ENUM: _one_of,
        _SET: _some_of,
    }
    maker = makers.get(item.type)
    return maker(item) if maker else None


def _packed(form: str) -> Read:
    unpack, size = struct.Struct(form).unpack_from, struct.calcsize(form)

    def read(body: bytes, place: int) -> tuple[Any, int]:
        return unpack(body, place)[0], place + size

    return read


def _whole(item: Any) -> Read:
    size, signed = _WHOLE[item.type], not item.unsigned

    def read(body: bytes, place: int) -> tuple[int, int]:
        end = place + size
        return int.from_bytes(body[place:end], "little", signed=signed), end

    return read


def _text(item: Any, size: int) -> Read:
    from pymysqlreplication.row_event import RowsEvent

    name = item.character_set_name
    encoding: str | None = RowsEvent.charset_to_encoding(name) if name is not None else "utf-8"
    try:
        codecs.lookup(encoding or "")
    except LookupError:
        # `binary`, and character sets that Python does not know: the bytes as they are
        encoding = None

    def read(body: bytes, place: int) -> tuple[Any, int]:
        start = place + size
        end = start + int.from_bytes(body[place:start], "little")
        found = body[start:end]
        if encoding is None:
            return found, end
        try:
            return found.decode(encoding), end
        except UnicodeDecodeError:
            return found, end

    return read


def _decimal(item: Any) -> Read:
    scale = item.decimals
    whole, fraction = divmod(item.precision - scale, 9), divmod(scale, 9)
    # the digits that do not fill a group of nine stand first before the point and last behind it
    groups = [(_DIGIT_BYTES[whole[1]], whole[1])] * bool(whole[1]) + [(4, 9)] * whole[0]
    behind = [(4, 9)] * fraction[0] + [(_DIGIT_BYTES[fraction[1]], fraction[1])] * bool(fraction[1])
    size = sum(length for length, _ in groups + behind)
    everything = (1 << 8 * size) - 1
    sign = 1 << (8 * size - 1)

    def read(body: bytes, place: int) -> tuple[str, int]:
        end = place + size
        bits = int.from_bytes(body[place:end], "big") ^ sign
        minus = ""
        if bits & sign:
            bits ^= everything
            minus = "-"
        left, total = 8 * size, 0
        for length, digits in groups:
            left -= 8 * length
            total = total * 10**digits + ((bits >> left) & ((1 << 8 * length) - 1))
        if not scale:
            return f"{minus}{total}", end
        rest = 0
        for length, digits in behind:
            left -= 8 * length
            rest = rest * 10**digits + ((bits >> left) & ((1 << 8 * length) - 1))
        return f"{minus}{total}.{rest:0{scale}d}", end

    return read


def _date(body: bytes, place: int) -> tuple[Any, int]:
    bits, end = int.from_bytes(body[place : place + 3], "little"), place + 3
    try:
        return date(bits >> 9, (bits >> 5) & 15, bits & 31), end
    except ValueError:
        return NO_DATE, end


def _year(body: bytes, place: int) -> tuple[int, int]:
    return body[place] + 1900 if body[place] else 0, place + 1


def _fraction(fsp: int) -> tuple[int, int]:
    """Bytes of a part of a second, and by what they are multiplied for microseconds."""
    size = _FRACTION_BYTES[fsp]
    return size, 10 ** (6 - 2 * size)


def _timestamp(item: Any) -> Read:
    size, factor = _fraction(item.fsp)

    def read(body: bytes, place: int) -> tuple[Any, int]:
        start, end = place + 4, place + 4 + size
        seconds = int.from_bytes(body[place:start], "big")
        micros = int.from_bytes(body[start:end], "big") * factor
        # zero is kept for `0000-00-00`: the first timestamp is a second later
        return (_EPOCH + timedelta(0, seconds, micros) if seconds or micros else NO_DATE), end

    return read


def _moment(item: Any) -> Read:
    size, factor = _fraction(item.fsp)

    def read(body: bytes, place: int) -> tuple[Any, int]:
        start, end = place + 5, place + 5 + size
        bits = int.from_bytes(body[place:start], "big")
        months = (bits >> 22) & 0x1FFFF
        micros = int.from_bytes(body[start:end], "big") * factor
        try:
            return datetime(
                months // 13,
                months % 13,
                (bits >> 17) & 31,
                (bits >> 12) & 31,
                (bits >> 6) & 63,
                bits & 63,
                micros,
            ), end
        except ValueError:
            return NO_DATE, end

    return read


def _time(item: Any) -> Read:
    size, factor = _fraction(item.fsp)
    zero = 1 << (8 * (3 + size) - 1)

    def read(body: bytes, place: int) -> tuple[str, int]:
        end = place + 3 + size
        # a negative time is the complement of all its bytes, the part of a second included
        bits = int.from_bytes(body[place:end], "big") - zero
        sign, bits = (-1, -bits) if bits < 0 else (1, bits)
        micros, bits = (bits & ((1 << 8 * size) - 1)) * factor, bits >> 8 * size
        hours, minutes, seconds = (bits >> 12) & 0x3FF, (bits >> 6) & 63, bits & 63
        return time_text(sign * timedelta(0, hours * 3600 + minutes * 60 + seconds, micros), item.fsp), end

    return read


def time_text(value: timedelta, digits: int) -> str:
    """A TIME as the server writes it, with so many digits of a second's part."""
    time = abs(value)
    whole = time.days * 86_400 + time.seconds
    text = f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    fraction = f".{time.microseconds:06d}"[: digits + 1] if digits else ""
    return f"{'-' if value < timedelta(0) else ''}{text}{fraction}"


def _bits(item: Any) -> Read:
    size, width = item.bytes, item.bits

    def read(body: bytes, place: int) -> tuple[str, int]:
        end = place + size
        return f"{int.from_bytes(body[place:end], 'big'):0{width}b}", end

    return read


def _one_of(item: Any) -> Read | None:
    size, words = item.size, item.enum_values
    if not words:
        return None

    def read(body: bytes, place: int) -> tuple[str, int]:
        end = place + size
        return words[int.from_bytes(body[place:end], "little")], end

    return read


def _some_of(item: Any) -> Read | None:
    size, words = item.size, item.set_values
    if not words:
        return None

    def read(body: bytes, place: int) -> tuple[str, int]:
        end = place + size
        bits = int.from_bytes(body[place:end], "little")
        # in the order in which the column names them, as the server writes it
        return ",".join(word for number, word in enumerate(words) if bits >> number & 1), end

    return read
