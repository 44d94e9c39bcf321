"""From text to the declared types of fields, whole columns at once.

A text field keeps exactly what was sent. For the other types a text is read as the value it stands for, and only where
it can stand for nothing else: a minus at the end (SAP), full-width digits, thousands in groups of three when a group
mark is declared. What a source writes for "no date" (`00000000`) is null. Anything else is rescued as it was sent.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from datong_platform.lake.columns import compute

from datong_ingestion.connections.files import Format
from datong_ingestion.values import MisfitError, Rescue, cast_texts, converter, in_calendar, iso_moment

_FULL_WIDTH, _ASCII = "０１２３４５６７８９．－＋，／：　", "0123456789.-+,/: "
# only what has one ASCII counterpart: NFKC would also make "10²" into "102"
_WIDE = {
    ord(wide): narrow for wide, narrow in zip("０１２３４５６７８９．－＋，／：　", "0123456789.-+,/: ", strict=True)
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\Z", re.ASCII)
_SERIAL = re.compile(r"\d{1,7}(\.\d+)?\Z", re.ASCII)
_ZERO_AHEAD = re.compile(r"\b0+(?=\d)")
_FEW = 100
_LAST_SERIAL = 2958465
_SAFE = (MisfitError, pa.ArrowException, UnicodeError, OverflowError, ValueError, TypeError)


class Texts:
    """Reads texts as the types of a schema."""

    def __init__(self, rules: Format) -> None:
        self.rules = rules
        self._nulls = pa.array(rules.null_values, pa.string()) if rules.null_values else None
        self._empty_dates = pa.array(rules.empty_dates, pa.string())
        group, mark = re.escape(rules.group_mark), re.escape(rules.decimal_mark)
        self._grouped = f"^[+-]?[0-9]{{1,3}}({group}[0-9]{{3}})+({mark}[0-9]*)?-?$" if rules.group_mark else ""
        self._zone = ZoneInfo(rules.time_zone) if rules.time_zone else None

    def column(self, name: str, kind: pa.DataType, texts: pa.Array, rescue: Rescue) -> pa.Array:
        """Texts as a column of `kind`; each that does not fit becomes null and is rescued."""
        if self._nulls is not None:
            texts = compute.if_else(compute.is_in(texts, value_set=self._nulls), pa.scalar(None, pa.string()), texts)
        if pa.types.is_string(kind):
            return texts
        try:
            if pa.types.is_temporal(kind) and len(texts) > _FEW:
                # days repeat, and reading a date costs more than finding its like
                coded = texts.dictionary_encode()
                if len(coded.dictionary) * 4 < len(texts):
                    return self._fast(coded.dictionary, kind).take(coded.indices)
            return self._fast(texts, kind)
        except _SAFE:
            pass
        kept: list[Any] = []
        for row, text in enumerate(texts.to_pylist()):
            value = None
            if text is not None:
                try:
                    value = self.value(text, kind)
                    pa.array([value], kind)
                except _SAFE:
                    value = None
                    rescue.add(row, name, text)
            kept.append(value)
        return pa.array(kept, kind)

    def value(self, text: str, kind: pa.DataType) -> Any:  # noqa: PLR0911 a way out for each family
        """One text as a value of `kind`, or MisfitError."""
        if pa.types.is_string(kind):
            return text
        text = text.translate(_WIDE).strip()
        if not text:
            return None
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            return self._moment(text, kind)
        if pa.types.is_boolean(kind):
            if text in self.rules.true_values:
                return True
            if text in self.rules.false_values:
                return False
            raise MisfitError(text)
        if pa.types.is_binary(kind):
            return base64.b64decode(text, validate=True)
        return converter(kind)(self._number(text))

    def _number(self, text: str) -> str:
        rules = self.rules
        if self._grouped and re.match(self._grouped, text):
            text = text.replace(rules.group_mark, "")
        if rules.decimal_mark != ".":
            if "." in text:
                raise MisfitError(text)
            text = text.replace(rules.decimal_mark, ".")
        if text.endswith("-") and text[:1] not in {"-", "+"}:
            text = f"-{text[:-1].rstrip()}"
        if not _NUMBER.match(text):
            raise MisfitError(text)
        return text

    def _moment(self, text: str, kind: pa.DataType) -> Any:
        if text in self.rules.empty_dates:
            return None
        moment = self._written(text)
        if pa.types.is_date(kind):
            if moment.tzinfo is not None or (moment.hour, moment.minute, moment.second, moment.microsecond) != (0,) * 4:
                raise MisfitError(text)
            return date(moment.year, moment.month, moment.day)
        if kind.tz is None:
            if moment.tzinfo is not None:
                raise MisfitError(text)
            return moment
        if moment.tzinfo is None:
            if self._zone is None:
                raise MisfitError(text)
            found = moment.replace(tzinfo=self._zone)
            # at the end of summer an hour comes twice, and at its beginning one never comes: no guess is made
            if found.utcoffset() != found.replace(fold=1).utcoffset():
                raise MisfitError(text)
            moment = found
        return moment.astimezone(UTC)

    def _written(self, text: str) -> datetime:
        for form in self.rules.date_formats:
            try:
                moment = datetime.strptime(text, form)
            except ValueError:
                continue
            # strptime takes "2024131" for %Y%m%d; only zeros in front of a part may be missing
            if _ZERO_AHEAD.sub("", moment.strftime(form)) == _ZERO_AHEAD.sub("", text):
                return moment
        if self.rules.serial_dates and _SERIAL.match(text):
            return serial_date(Decimal(text), self.rules.serial_dates)
        if text.isdigit():
            # ISO 8601 has 20240131, which may as well be a number: only where that is declared
            raise MisfitError(text)
        return iso_moment(text)

    def _fast(self, texts: pa.Array, kind: pa.DataType) -> pa.Array:
        """The whole column by Arrow's own functions; raises where only the exact way is sure to be right."""
        if compute.any(compute.invert(compute.string_is_ascii(texts))).as_py():
            raise MisfitError(texts)
        texts = compute.ascii_trim_whitespace(texts)
        texts = compute.if_else(compute.equal(texts, ""), pa.scalar(None, pa.string()), texts)
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            return self._fast_moments(texts, kind)
        if pa.types.is_boolean(kind):
            yes = compute.is_in(texts, value_set=pa.array(self.rules.true_values, pa.string()))
            no = compute.is_in(texts, value_set=pa.array(self.rules.false_values, pa.string()))
            if not compute.all(compute.or_(compute.or_(yes, no), compute.is_null(texts))).as_py():
                raise MisfitError(texts)
            return compute.if_else(compute.is_null(texts), pa.scalar(None, pa.bool_()), yes)
        if pa.types.is_binary(kind):
            raise MisfitError(texts)
        if self._grouped:
            grouped = compute.match_substring_regex(texts, self._grouped)
            texts = compute.if_else(grouped, compute.replace_substring(texts, self.rules.group_mark, ""), texts)
        if self.rules.decimal_mark != ".":
            if compute.any(compute.match_substring(texts, ".")).as_py():
                raise MisfitError(texts)
            texts = compute.replace_substring(texts, self.rules.decimal_mark, ".")
        if compute.any(compute.ends_with(texts, "-")).as_py():
            texts = compute.replace_substring_regex(texts, r"^([0-9.]+)-$", r"-\1")
        plain = compute.match_substring_regex(texts, r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)$")
        if not compute.all(compute.fill_null(plain, True)).as_py():
            raise MisfitError(texts)
        return cast_texts(texts, kind)

    def _fast_moments(self, texts: pa.Array, kind: pa.DataType) -> pa.Array:
        empty = compute.is_in(texts, value_set=self._empty_dates)
        texts = compute.if_else(empty, pa.scalar(None, pa.string()), texts)
        wanted = compute.invert(compute.is_null(texts))
        is_zoned = pa.types.is_timestamp(kind) and kind.tz is not None
        plain = pa.timestamp("us") if is_zoned and self._zone is not None else kind
        for form in self.rules.date_formats:
            found = compute.strptime(texts, format=form, unit="us", error_is_null=True)
            same = compute.equal(compute.strftime(found.cast(pa.timestamp("s")), format=form), texts)
            if compute.all(compute.or_(compute.fill_null(same, False), compute.invert(wanted))).as_py():
                return self._zoned(in_calendar(found), kind)
        if compute.any(compute.match_substring_regex(texts, "^[0-9.]+$")).as_py():
            raise MisfitError(texts)
        return self._zoned(cast_texts(texts, plain), kind)

    def _zoned(self, moments: pa.Array, kind: pa.DataType) -> pa.Array:
        if moments.type == kind:
            return moments
        if pa.types.is_timestamp(kind) and kind.tz is not None:
            if self._zone is None:
                raise MisfitError(moments)
            return in_calendar(compute.assume_timezone(moments, self.rules.time_zone).cast(kind))
        found = moments.cast(kind)
        # Arrow cuts a time of day off without a word
        if pa.types.is_date(kind) and compute.any(compute.not_equal(found.cast(moments.type), moments)).as_py():
            raise MisfitError(moments)
        return found


def serial_date(number: Decimal, calendar: str) -> datetime:
    """A day number of Excel's calendar as a time; MisfitError for a day that there was not.

    In the calendar of 1900 day 60 is 29 February 1900, which Excel has and the world had not.
    """
    if not 0 < number <= _LAST_SERIAL or (calendar == "1900" and 60 <= number < 61):
        raise MisfitError(number)
    start = datetime(1904, 1, 1) if calendar == "1904" else datetime(1899, 12, 31 if number < 60 else 30)
    seconds = (number * 86400).quantize(Decimal(1))
    return start + timedelta(seconds=int(seconds))


def columns(schema: pa.Schema, texts: Sequence[pa.Array | None], rows: int, reader: Texts, rescue: Rescue) -> pa.Table:
    """Columns of text as a table of the schema; a column that did not come is null."""
    made = [
        pa.nulls(rows, item.type) if column is None else reader.column(item.name, item.type, column, rescue)
        for item, column in zip(schema, texts, strict=True)
    ]
    return pa.Table.from_arrays(made, schema=schema)
