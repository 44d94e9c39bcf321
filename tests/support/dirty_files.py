"""A corpus of dirty files with known truth: what systems and people send in CSV, JSON, XML, Excel and Parquet.

`corpus()` gives files by definition, as a source system would be set up for them. Of each file it knows what must
become of every row: its values, what of it must be rescued as it was sent, or that it is refused, and why. Dirt in a
value is written in every format; dirt of a file in the formats that have it. Nothing of the readers' own code is used
to know the truth. The interchanges of EDI are in `dirty_interchanges`.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import escape

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

FIELDS = {
    "Id": "string",
    "Name": "string",
    "Amount": "decimal(13,3)",
    "Due": "date",
    "Qty": "integer",
    "At": "timestamp",
    "Active": "boolean",
}
RULES = {
    "group_mark": ",",
    "date_formats": ["%Y%m%d", "%d.%m.%Y"],
    "serial_dates": "1900",
    "time_zone": "Asia/Shanghai",
    "true_values": ["true", "X", "是"],
    "false_values": ["false", "-", "否"],
    "null_values": ["NULL", "\\N"],
}
NAMES = ("部件甲", "轴承 608ZZ", "Wälzlager", "螺栓 M8×20", "a|b", "電機")


class Rescued:
    """That a value must be null, and kept beside its row as it was sent."""

    def __repr__(self) -> str:
        return "RESCUED"


RESCUED = Rescued()


@dataclass
class Truth:
    """What must become of a file."""

    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The rows that must be in bronze, in their order: values by field; a field that is not named is not looked at."""
    sent: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """For each of them what must stand in its rescue column, exactly."""
    refused: int = 0
    """Parts that must be in quarantine."""
    reason: str = ""
    """What one of the reasons must say."""
    rows_in: int = 0
    """Rows that were sent."""
    lost_with_file: int = 0
    """Rows that went into quarantine with their whole file."""


@dataclass
class DirtyFile:
    """A file as sent, and its truth."""

    name: str
    dirt: str
    body: bytes
    truth: Truth


@dataclass
class Definition:
    """How a source system would be declared for files of one kind."""

    protocol: str
    source: str
    options: dict[str, Any]
    fields: dict[str, str] = field(default_factory=lambda: dict(FIELDS))
    keys: list[str] = field(default_factory=lambda: ["Id", "_file", "_row"])
    files: list[DirtyFile] = field(default_factory=list[DirtyFile])


# --- dirt in values ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Value:
    """A class of dirt in one field: what is sent, and the value it must become."""

    name: str
    field: str
    made: Callable[[random.Random], tuple[str, Any]]


def _fixed(text: str, value: Any) -> Callable[[random.Random], tuple[str, Any]]:
    return lambda _: (text, value)


def _wide(text: str) -> str:
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)


def _number(form: Callable[[Decimal], str], value: Callable[[Decimal], Any] = lambda number: number) -> Any:
    def made(dice: random.Random) -> tuple[str, Any]:
        number = Decimal(dice.randrange(1000, 999_999)) / 8
        return form(number), value(number)

    return made


def _day(form: Callable[[date], str], value: Callable[[date], Any] = lambda day: day) -> Any:
    def made(dice: random.Random) -> tuple[str, Any]:
        day = date(dice.randrange(1995, 2034), dice.randrange(1, 13), dice.randrange(13, 29))
        return form(day), value(day)

    return made


def _choice(*pairs: tuple[str, Any]) -> Callable[[random.Random], tuple[str, Any]]:
    return lambda dice: dice.choice(pairs)


def _rescued(_: Any) -> Any:
    return RESCUED


def _at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type]


VALUES: tuple[Value, ...] = (
    # numbers
    Value("trailing minus", "Amount", _number(lambda n: f"{n}-", lambda n: -n)),
    Value("full-width number", "Amount", _number(lambda n: _wide(str(n)))),
    Value("thousands", "Amount", _number(lambda n: f"{n:,}")),
    Value("thousands with trailing minus", "Amount", _number(lambda n: f"{n:,}-", lambda n: -n)),
    Value("wrong groups", "Amount", _choice(("1,23,4", RESCUED), ("12,34", RESCUED), ("1,2345.6", RESCUED))),
    Value("decimal comma", "Amount", _choice(("12,5", RESCUED), ("1.234,50", RESCUED), ("0,1", RESCUED))),
    Value("blanks around a number", "Amount", _number(lambda n: f"  {n}\u00a0")),
    Value("plus sign", "Amount", _number(lambda n: f"+{n}")),
    Value("exponent", "Amount", _choice(("1.25E+1", Decimal("12.5")), ("5e-1", Decimal("0.5")), ("1e400", RESCUED))),
    Value("two points", "Amount", _number(lambda n: f"{n}.1.2", _rescued)),
    Value("hexadecimal", "Qty", _choice(("0x1F", RESCUED), ("0X10", RESCUED), ("1Fh", RESCUED))),
    Value("underscores", "Qty", _choice(("1_000", RESCUED), ("_1", RESCUED))),
    Value("no number", "Amount", _choice(("NaN", RESCUED), ("Infinity", RESCUED), ("-inf", RESCUED), ("nan", RESCUED))),
    Value("too many decimals", "Amount", _choice(("1.23456", RESCUED), ("0.0001", RESCUED), ("-9.9999", RESCUED))),
    Value("zeros behind the decimals", "Amount", _number(lambda n: f"{n:.3f}00000")),
    Value("too large", "Amount", _choice(("99999999999", RESCUED), ("-12345678901.5", RESCUED), ("9" * 40, RESCUED))),
    Value("with its unit", "Amount", _choice(("12kg", RESCUED), ("3.5万", RESCUED), ("12 %", RESCUED))),
    Value("with a currency", "Amount", _choice(("¥12", RESCUED), ("$1.5", RESCUED), ("12元", RESCUED))),
    Value("other digits", "Amount", _choice(("10²", RESCUED), ("١٢", RESCUED), ("½", RESCUED), ("一二", RESCUED))),
    Value("typographic minus", "Amount", _choice(("−12", RESCUED), ("–1.5", RESCUED))),
    Value("accountant's brackets", "Amount", _number(lambda n: f"({n})", _rescued)),
    Value("spreadsheet error", "Amount", _choice(("#N/A", RESCUED), ("#REF!", RESCUED), ("#DIV/0!", RESCUED))),
    Value("a word", "Amount", _choice(("若干", RESCUED), ("N/A", RESCUED), ("-", RESCUED), (".", RESCUED))),
    Value("null words", "Amount", _choice(("NULL", None), ("\\N", None))),
    Value("blank", "Amount", _choice(("   ", None), ("\u3000", None))),
    Value("leading zeros", "Qty", _choice(("000123", 123), ("-007", -7), ("0000", 0))),
    Value("whole with decimals", "Qty", _choice(("12.000", 12), ("1.5", RESCUED), ("12.", 12))),
    Value(
        "beyond an integer",
        "Qty",
        _choice(("2147483648", RESCUED), ("-2147483649", RESCUED), ("2147483647", 2**31 - 1)),
    ),
    Value("minus zero", "Qty", _choice(("-0", 0), ("0-", 0))),
    Value("minus on both sides", "Amount", _choice(("-5-", RESCUED), ("--5", RESCUED), ("5--", RESCUED))),
    # days
    Value("eight digits", "Due", _day(lambda d: f"{d:%Y%m%d}")),
    Value("SAP's zero date", "Due", _choice(("00000000", None), ("0000-00-00", None))),
    Value("a day that was not", "Due", _choice(("20240230", RESCUED), ("20231301", RESCUED), ("31.04.2024", RESCUED))),
    Value("leap days", "Due", _choice(("20240229", date(2024, 2, 29)), ("2000-02-29", date(2000, 2, 29)))),
    Value(
        "leap days that were not",
        "Due",
        _choice(("20230229", RESCUED), ("1900-02-29", RESCUED), ("29.02.2100", RESCUED)),
    ),
    Value("day first with dots", "Due", _day(lambda d: f"{d.day}.{d.month}.{d.year}")),
    Value("an Excel serial", "Due", _day(lambda d: str((d - date(1899, 12, 30)).days))),
    Value("an Excel serial with a time", "Due", _day(lambda d: f"{(d - date(1899, 12, 30)).days}.5", _rescued)),
    Value("29 February 1900", "Due", _choice(("60", RESCUED), ("0", RESCUED), ("2958466", RESCUED))),
    Value("midnight", "Due", _day(lambda d: f"{d}T00:00:00")),
    Value("a time in a date", "Due", _day(lambda d: f"{d}T23:15:00", _rescued)),
    Value("two ways to read it", "Due", _choice(("03/04/2024", RESCUED), ("04-03-24", RESCUED))),
    Value("the ends of time", "Due", _choice(("9999-12-31", date(9999, 12, 31)), ("0001-01-01", date(1, 1, 1)))),
    Value("beyond time", "Due", _choice(("10000-01-01", RESCUED), ("0000-01-01", RESCUED), ("-0001-01-01", RESCUED))),
    Value("OData's date in a file", "Due", _choice(("/Date(1706659200000)/", RESCUED), ("/Date(0)/", RESCUED))),
    Value("a Chinese date", "Due", _day(lambda d: f"{d.year}年{d.month}月{d.day}日", _rescued)),
    Value("a full-width date", "Due", _day(lambda d: _wide(d.isoformat()))),
    # times
    Value(
        "local time", "At", _choice(("2024-01-31 08:00:00", _at(2024, 1, 31)), ("2024-07-01T08:00", _at(2024, 7, 1)))
    ),
    Value(
        "a zone of its own",
        "At",
        _choice(("2024-01-31T08:00:00+08:00", _at(2024, 1, 31)), ("2024-01-31T00:00:00Z", _at(2024, 1, 31))),
    ),
    Value(
        "nanoseconds, finer than the lake",
        "At",
        _choice(
            ("2024-01-31T00:00:00.123456789Z", _at(2024, 1, 31, 0, 0, 0, 123456)),
            ("2024-01-31T08:00:00.0000019", _at(2024, 1, 31, 0, 0, 0, 1)),
        ),
    ),
    Value(
        "zeros behind the microseconds",
        "At",
        _choice(
            ("2024-01-31T00:00:00.123456000Z", _at(2024, 1, 31, 0, 0, 0, 123456)),
        ),
    ),
    Value(
        "a leap second",
        "At",
        _choice(
            ("2016-12-31T23:59:60Z", RESCUED),
        ),
    ),
    Value("24 o'clock", "At", _choice(("2024-01-31T25:00:00Z", RESCUED), ("2024-01-31T10:61:00Z", RESCUED))),
    Value("an hour that came twice", "At", _choice(("1991-09-15 01:30:00", RESCUED), ("1988-09-11 01:59:59", RESCUED))),
    Value("a time alone", "At", _choice(("08:00:00", RESCUED), ("T08:00", RESCUED), ("noon", RESCUED))),
    # flags
    Value("X and 是", "Active", _choice(("X", True), ("是", True), ("否", False), ("-", False))),
    Value(
        "neither yes nor no", "Active", _choice(("maybe", RESCUED), ("2", RESCUED), ("TRUE", RESCUED), ("x", RESCUED))
    ),
    # texts: exactly as sent
    Value(
        "a text like a number",
        "Name",
        _choice(("0012", "0012"), ("1e5", "1e5"), ("1.10", "1.10"), ("00000000", "00000000")),
    ),
    Value("mojibake", "Name", _choice(("é\u0083¨ä»¶", "é\u0083¨ä»¶"), ("锟斤拷", "锟斤拷"), ("ä¸\u00ad", "ä¸\u00ad"))),
    Value(
        "replacement characters",
        "Name",
        _choice(
            ("部\ufffd件", "部\ufffd件"),
        ),
    ),
    Value(
        "rare characters",
        "Name",
        _choice(("𠀀𪚥", "𠀀𪚥"), ("〇㎡㊣", "〇㎡㊣"), ("👷🏽‍♀️", "👷🏽‍♀️"), ("e\u0301", "e\u0301")),
    ),
    Value(
        "invisible characters",
        "Name",
        _choice(("a\u200bb", "a\u200bb"), ("a\ufeffb", "a\ufeffb"), ("\u202eabc", "\u202eabc")),
    ),
    Value(
        "a formula", "Name", _choice(("=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"), ("+1", "+1"), ("@SUM(1)", "@SUM(1)"))
    ),
    Value("blanks around a text", "Name", _choice(("  a ", "  a "), ("\u3000轴承", "\u3000轴承"))),
    Value(
        "quotes and commas", "Name", _choice(('5" pipe, "new"', '5" pipe, "new"'), ('"', '"'), ("a,b;c|d", "a,b;c|d"))
    ),
    Value("line ends in a text", "Name", _choice(("two\nlines", "two\nlines"), ("a\n\nb\n", "a\n\nb\n"))),
    Value("markup in a text", "Name", _choice(("<b>&amp;</b>", "<b>&amp;</b>"), ("]]>", "]]>"), ("&#0;", "&#0;"))),
    Value("private use", "Name", _choice(("\U000f0041", "\U000f0041"), ("\ue000", "\ue000"))),
    Value("a key of blanks", "Id", _choice(("  ", "  "), ("000000", "000000"))),
)


def clean(number: int, dice: random.Random) -> dict[str, str]:
    """A row as texts that every format carries."""
    return {
        "Id": f"{number:06d}",
        "Name": dice.choice(NAMES),
        "Amount": str(Decimal(dice.randrange(10**7)) / 1000),
        "Due": f"20{dice.randrange(10, 30)}-0{dice.randrange(1, 10)}-1{dice.randrange(10)}",
        "Qty": str(dice.randrange(1000)),
        "At": f"2024-01-0{dice.randrange(1, 10)}T10:00:00Z",
        "Active": dice.choice(("true", "false")),
    }


def meant(row: dict[str, str]) -> dict[str, Any]:
    """The values that a clean row stands for."""
    return {
        "Id": row["Id"],
        "Name": row["Name"],
        "Amount": Decimal(row["Amount"]),
        "Due": date.fromisoformat(row["Due"]),
        "Qty": int(row["Qty"]),
        "At": datetime.fromisoformat(row["At"]),
        "Active": row["Active"] == "true",
    }


def _with_value(dirt: Value, dice: random.Random) -> tuple[list[dict[str, str]], Truth]:
    """A few rows, one of them with the dirt, and their truth."""
    count = dice.randrange(1, 5)
    rows = [clean(number, dice) for number in range(count)]
    truth = Truth([meant(row) for row in rows], [{} for _ in rows], rows_in=count)
    place = dice.randrange(count)
    sent, value = dirt.made(dice)
    rows[place][dirt.field] = sent
    if value is RESCUED:
        truth.rows[place][dirt.field] = None
        truth.sent[place][dirt.field] = sent
    else:
        truth.rows[place][dirt.field] = value
    return rows, truth


# --- the formats ------------------------------------------------------------------------------------------------------

Rows = list[dict[str, str]]


def as_csv(rows: Rows, *, end: str = "\n", delimiter: str = ",") -> str:
    """CSV with every value in quotes."""
    lines = [delimiter.join(FIELDS)]
    lines += [delimiter.join('"{}"'.format(row[name].replace('"', '""')) for name in FIELDS) for row in rows]
    return end.join(lines) + end


def as_json(rows: Rows) -> str:
    return json.dumps(rows, ensure_ascii=False)


def as_list(texts: list[str]) -> bytes:
    return f"[{','.join(texts)}]".encode()


def as_lines(rows: Rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def as_xml(rows: Rows) -> str:
    things = "".join(
        "<Thing>" + "".join(f"<{name}>{escape(value)}</{name}>" for name, value in row.items()) + "</Thing>"
        for row in rows
    )
    return f"<Things>{things}</Things>"


def as_workbook(rows: list[dict[str, Any]], names: list[str] | None = None) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("物料")
    sheet.append(names or list(FIELDS))
    for row in rows:
        cells: list[Any] = []
        for value in row.values():
            cell = openpyxl.cell.WriteOnlyCell(sheet, value=value)
            if isinstance(value, str) and value.startswith(("=", "#")):
                cell.data_type = "s"  # a text, whatever it looks like
            cells.append(cell)
        sheet.append(cells)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def as_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _parquet_of_texts(rows: Rows) -> bytes:
    return as_parquet(pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in FIELDS}))


WRITERS: dict[str, Callable[[Rows], bytes]] = {
    "csv": lambda rows: as_csv(rows).encode(),
    "json": lambda rows: as_json(rows).encode(),
    "jsonl": lambda rows: as_lines(rows).encode(),
    "xml": lambda rows: as_xml(rows).encode(),
    "xlsx": lambda rows: as_workbook(list(rows)),
    "parquet": _parquet_of_texts,
}
_NOT_IN = {"xlsx": {"a key of blanks"}}
"""A workbook's own reader gives a cell of blanks back as one; a key of blanks alone would be a row of nothing."""

# --- dirt of files ----------------------------------------------------------------------------------------------------

FileDirt = Callable[[random.Random], tuple[bytes, Truth]]
FILES: dict[str, list[tuple[str, str, dict[str, Any], FileDirt]]] = {}
"""By format: name of the dirt, ending of the file, options besides the usual, and what makes it."""


def dirt(kind: str, name: str, ending: str = "", **options: Any) -> Callable[[FileDirt], FileDirt]:
    def take(made: FileDirt) -> FileDirt:
        FILES.setdefault(kind, []).append((name, ending or kind, options, made))
        return made

    return take


def _some(dice: random.Random, least: int = 2) -> tuple[Rows, Truth]:
    rows = [clean(number, dice) for number in range(dice.randrange(least, least + 5))]
    return rows, Truth([meant(row) for row in rows], [{} for _ in rows], rows_in=len(rows))


def _whole(rows: int, reason: str) -> Truth:
    """A file that is refused whole."""
    return Truth(refused=1, reason=reason, rows_in=rows, lost_with_file=rows)


def _without(truth: Truth, place: int, reason: str) -> Truth:
    """One of the rows is refused by itself."""
    del truth.rows[place], truth.sent[place]
    truth.refused += 1
    truth.reason = reason
    return truth


def _encoded(kind: str, coded: str, written: Callable[[Rows, str], str], ending: str = "", **options: Any) -> None:
    @dirt(kind, f"{coded}, declared", ending, **options)
    def _(dice: random.Random) -> tuple[bytes, Truth]:
        rows, truth = _some(dice)
        for row, value in zip(rows, truth.rows, strict=True):
            row["Name"] = value["Name"] = dice.choice(("甲", "開關" if coded == "big5" else "轴承", "abc"))
        return written(rows, coded).encode(coded), truth


for _encoding in ("gbk", "gb18030", "big5", "utf-16", "utf-16-le", "utf-8-sig"):
    _encoded("csv", _encoding, lambda rows, _: as_csv(rows), encoding=_encoding)
for _encoding in ("gbk", "gb18030", "utf-16", "utf-8"):
    _encoded("xml", _encoding, lambda rows, encoding: f'<?xml version="1.0" encoding="{encoding}"?>{as_xml(rows)}')
_encoded("jsonl", "utf-8-sig", lambda rows, _: as_lines(rows))
_encoded("json", "utf-8-sig", lambda rows, _: as_json(rows))
_encoded("json", "gb18030", lambda rows, _: as_json(rows), encoding="gb18030")


def _as_kept(raw: bytes) -> str:
    """Bytes as a rescue column keeps them: each that is not UTF-8 as \\udcXX."""
    return raw.decode("utf-8", "surrogateescape").encode("utf-8", "backslashreplace").decode()


@dirt("csv", "bytes of another encoding")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place = dice.randrange(len(rows))
    rows[place]["Name"] = "@@@"
    name = dice.choice(("部件", "轴承甲乙", "螺栓"))
    truth.rows[place]["Name"] = None
    truth.sent[place] = {"Name": _as_kept(name.encode("gbk"))}
    return as_csv(rows).encode().replace(b"@@@", name.encode("gbk")), truth


@dirt("csv", "a character cut in two at the end")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    body = as_csv(rows).encode() + '999999,"部'.encode()[:-1]
    return body, _whole(len(rows) + 1, "quotes")


@dirt("csv", "UTF-16 that nobody declared")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    return as_csv(rows).encode("utf-16"), _whole(len(rows), "UTF-16")


for _end, _called in (("\r\n", "CRLF"), ("\r", "CR alone")):

    @dirt("csv", f"line ends: {_called}")
    def _(dice: random.Random, end: str = _end) -> tuple[bytes, Truth]:
        rows, truth = _some(dice)
        return as_csv(rows, end=end).encode(), truth


@dirt("csv", "mixed line ends")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    lines = as_csv(rows).split("\n")
    return "".join(line + dice.choice(("\n", "\r\n")) for line in lines if line).encode(), truth


@dirt("csv", "no line end at the end")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    return as_csv(rows).rstrip("\n").encode(), truth


@dirt("csv", "blank lines")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    return as_csv(rows).replace("\n", "\n\n").encode(), truth


@dirt("csv", "too few values")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    lines, place = as_csv(rows).split("\n"), dice.randrange(len(rows))
    lines[place + 1] = dice.choice(("1", "1,2", '"1","x","1"'))
    return "\n".join(lines).encode(), _without(truth, place, "values, and there are 7 columns")


@dirt("csv", "too many values")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    lines, place = as_csv(rows).split("\n"), dice.randrange(len(rows))
    lines[place + 1] += dice.choice((",x", ",,", ',"a","b"'))
    return "\n".join(lines).encode(), _without(truth, place, "values, and there are 7 columns")


@dirt("csv", "stray quotes within a value")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place, name = dice.randrange(len(rows)), dice.choice(('5" pipe', 'a"b"c', "it''s"))
    rows[place]["Name"] = "@@@"
    truth.rows[place]["Name"] = name
    return as_csv(rows).replace('"@@@"', name).encode(), truth


@dirt("csv", "text behind a closing quote")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place, name = dice.randrange(len(rows)), dice.choice(('"M8" bolt', '"a"b', '"5""" x'))
    rows[place]["Name"] = "@@@"
    body = as_csv(rows).replace('"@@@"', name).encode()
    return body, _without(truth, place, "quote")


@dirt("csv", "a quote that is never closed")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    return as_csv(rows).encode() + b'9,"never closed,1,2024-01-31,1,,\n10,x,1,,1,,\n', _whole(len(rows) + 2, "quotes")


@dirt("csv", "a heading twice")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    return as_csv(rows).replace("Amount", "Name", 1).encode(), _whole(len(rows), "twice")


@dirt("csv", "no key column")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    return as_csv(rows).replace("Id", "Number", 1).encode(), _whole(len(rows), "which is a key")


@dirt("csv", "another delimiter")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    return as_csv(rows, delimiter=dice.choice(";\t|")).encode(), _whole(len(rows), "it has")


@dirt("csv", "columns in another order")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    order = list(FIELDS)
    dice.shuffle(order)
    lines = [",".join(order), *[",".join(f'"{row[name]}"' for name in order) for row in rows]]
    return "\n".join(lines).encode(), truth


@dirt("csv", "a column more")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    lines = as_csv(rows).strip("\n").split("\n")
    truth.sent = [{"新字段": f"v{place}"} for place in range(len(rows))]
    body = "\n".join([lines[0] + ",新字段", *[f"{line},v{place}" for place, line in enumerate(lines[1:])]])
    return body.encode(), truth


@dirt("csv", "a column without a name")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    lines = as_csv(rows).strip("\n").split("\n")
    truth.sent = [{"column_8": "x"} for _ in rows]
    return "\n".join([lines[0] + ",", *[f"{line},x" for line in lines[1:]]]).encode(), truth


@dirt("csv", "a column less")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    names = [name for name in FIELDS if name != "Due"]
    truth.rows = [row | {"Due": None} for row in truth.rows]
    lines = [",".join(names), *[",".join(f'"{row[name]}"' for name in names) for row in rows]]
    return "\n".join(lines).encode(), truth


@dirt("csv", "double keys")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    rows[-1]["Id"] = truth.rows[-1]["Id"] = rows[0]["Id"]
    return as_csv(rows).encode(), truth


@dirt("csv", "an empty key")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    rows[-1]["Id"] = truth.rows[-1]["Id"] = ""
    return as_csv(rows).encode(), truth


@dirt("csv", "nothing at all")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    return dice.choice((b"", b"\n\n", b"\xef\xbb\xbf")) + b" " * 0 + b"\n" * dice.randrange(50), _whole(0, "no header")


@dirt("csv", "a header and no row")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    return as_csv([]).encode() + b"\n" * dice.randrange(50), Truth()


@dirt("csv", "NUL bytes")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    body = as_csv(rows).encode()
    place = dice.randrange(len(body))
    return body[:place] + b"\0" + body[place:], _whole(len(rows), "NUL")


@dirt("csv", "a log-in page")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    return f"<html><body>Please log in {dice.random()}</body></html>\n".encode(), _whole(0, "it has")


@dirt("csv", "a workbook by another name")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    return as_workbook(list(rows)), _whole(len(rows), "")


@dirt("csv", "gzip", "csv.gz")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    middle = as_csv(rows).encode()
    return gzip.compress(middle[:9]) + gzip.compress(middle[9:]), truth


@dirt("csv", "gzip cut off", "csv.gz")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    packed = gzip.compress(as_csv(rows).encode())
    return packed[: -dice.randrange(1, len(packed) - 20)], _whole(len(rows), "gzip")


@dirt("csv", "gzip with wrong bytes", "csv.gz")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    packed = bytearray(gzip.compress(as_csv(rows).encode()))
    packed[-dice.randrange(1, 9)] ^= 1 << dice.randrange(8)  # the checksum or the length
    return bytes(packed), _whole(len(rows), "gzip")


@dirt("csv", "gzip with more behind it", "csv.gz")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    return gzip.compress(as_csv(rows).encode()) + b"more" + dice.randbytes(4), _whole(len(rows), "gzip")


# JSON


@dirt("jsonl", "a line cut off")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    lines, place = as_lines(rows).strip("\n").split("\n"), dice.randrange(len(rows))
    lines[place] = lines[place][: dice.randrange(1, len(lines[place]) - 1)]
    return "\n".join(lines).encode(), _without(truth, place, "it is not JSON")


@dirt("jsonl", "a row over two lines beside two rows in one")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice, 4)
    lines = as_lines(rows).strip("\n").split("\n")
    cut = lines[0].index('"Name"')
    # three lines, three rows: only no line is one
    broken = [lines[0][: cut - 2], lines[0][cut:], f"{lines[1]},{lines[2]}"]
    truth.rows, truth.sent = truth.rows[3:], truth.sent[3:]
    truth.refused, truth.reason = 3, "it is not JSON"
    return "\n".join([*broken, *lines[3:]]).encode(), truth


@dirt("jsonl", "a line that is no object")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    lines, place = as_lines(rows).strip("\n").split("\n"), dice.randrange(len(rows))
    lines[place] = dice.choice(("[1,2]", "null", '"text"', "17", "true"))
    return "\n".join(lines).encode(), _without(truth, place, "it is not an object")


def _said_twice(dice: random.Random, rows: Rows, truth: Truth) -> list[str]:
    """Rows as JSON, in one of which a field stands twice: both values are kept, and neither counts."""
    texts, place, name = (
        [json.dumps(row, ensure_ascii=False) for row in rows],
        dice.randrange(len(rows)),
        dice.choice(("Amount", "Name", "Id")),
    )
    texts[place] = f'{texts[place][:-1]}, "{name}": 7}}'
    truth.sent[place] = {name: [rows[place][name], 7]}
    truth.rows[place][name] = None
    return texts


@dirt("jsonl", "a field twice in a row")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    return "\n".join(_said_twice(dice, rows, truth)).encode(), truth


@dirt("json", "a field twice in a row of a document")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    return as_list(_said_twice(dice, rows, truth)), truth


@dirt("json", "a field twice with one value")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    texts = [json.dumps(row, ensure_ascii=False) for row in rows]
    return as_list(
        [text[:-1] + ', "Qty": ' + json.dumps(row["Qty"]) + "}" for text, row in zip(texts, rows, strict=True)]
    ), truth


@dirt("jsonl", "JSON that JavaScript would take")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    lines, place = as_lines(rows).strip("\n").split("\n"), dice.randrange(len(rows))
    lines[place] = dice.choice(
        (
            lines[place].replace('"', "'"),
            lines[place][:-1] + ",}",
            lines[place] + " // x",
            '{"Qty": 01}',
            '{"Qty": +1}',
            '{"Qty": .5}',
        )
    )
    return "\n".join(lines).encode(), _without(truth, place, "it is not JSON")


@dirt("jsonl", "numbers with all their digits")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    lines, place = as_lines(rows).strip("\n").split("\n"), dice.randrange(len(rows))
    text, name, value = dice.choice(
        (
            ("9007199254740993", "Name", "9007199254740993"),
            ("1.10", "Name", "1.10"),
            ("1234567890.123", "Amount", Decimal("1234567890.123")),
            ("0.1", "Amount", Decimal("0.1")),
            ("1e3", "Amount", Decimal(1000)),
            ("-0", "Qty", 0),
        )
    )
    sent = json.dumps(rows[place] | {name: "@@@"}, ensure_ascii=False).replace('"@@@"', text)
    lines[place] = sent
    truth.rows[place][name] = value
    return "\n".join(lines).encode(), truth


@dirt("jsonl", "values of another type")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place = dice.randrange(len(rows))
    name, value = dice.choice(
        (
            ("Amount", True),
            ("Qty", [1]),
            ("Due", {"y": 2024}),
            ("Active", 1),
            ("At", 17),
            ("Qty", 1.5),
            ("Due", 20240131),
        )
    )
    changed: list[dict[str, Any]] = [dict(row) for row in rows]
    changed[place][name] = value
    truth.rows[place][name] = None
    truth.sent[place] = {name: value}
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in changed).encode(), truth


@dirt("jsonl", "a half of a character")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    lines, place = as_lines(rows).strip("\n").split("\n"), dice.randrange(len(rows))
    lines[place] = json.dumps(rows[place] | {"Name": "@@@"}, ensure_ascii=False).replace("@@@", "a\\ud800b")
    truth.rows[place]["Name"] = None
    truth.sent[place] = {"Name": "a\\ud800b"}
    return "\n".join(lines).encode(), truth


@dirt("jsonl", "bytes that are not UTF-8")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place = dice.randrange(len(rows))
    rows[place]["Name"] = "@@@"
    truth.rows[place]["Name"] = None
    truth.sent[place] = {"Name": _as_kept("部件".encode("gbk"))}
    return as_lines(rows).encode().replace(b"@@@", "部件".encode("gbk")), truth


@dirt("jsonl", "fields that nobody described")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    extra = [{"More": place, "": "x"} if place % 2 else {"More": {"a": [1, None]}} for place in range(len(rows))]
    truth.sent = [dict(one) for one in extra]
    body = "".join(json.dumps(row | one, ensure_ascii=False) + "\n" for row, one in zip(rows, extra, strict=True))
    return body.encode(), truth


@dirt("jsonl", "fields that are not there")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place = dice.randrange(len(rows))
    for name in ("Due", "Amount"):
        del rows[place][name]
        truth.rows[place][name] = None
    return as_lines(rows).encode(), truth


@dirt("jsonl", "NaN and Infinity")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place, word = dice.randrange(len(rows)), dice.choice(("NaN", "Infinity", "-Infinity"))
    rows[place]["Amount"] = "@@@"
    truth.rows[place]["Amount"] = None
    truth.sent[place] = {"Amount": word}
    return as_lines(rows).replace('"@@@"', word).encode(), truth


@dirt("json", "a document cut off")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    body = as_json(rows)
    return body[: -dice.randrange(1, len(body) - 2)].encode(), _whole(len(rows), "")


@dirt("json", "two documents")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    return (as_json(rows) + dice.choice(("", "\n", ",")) + as_json(rows)).encode(), _whole(2 * len(rows), "JSON")


@dirt("json", "no list of rows")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    body = dice.choice(('{"rows": 1}', "null", '"x"', '{"Id": "1"}', "[[1]]", '["a"]', "17"))
    return f"{body}{' ' * dice.randrange(60)}".encode(), _whole(0, "")


@dirt("json", "a row that is null")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    return (as_json(rows)[:-1] + ", null]").encode(), _whole(len(rows) + 1, "not objects")


# XML


@dirt("xml", "a document cut off")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    body = as_xml(rows).encode()
    return body[: -dice.randrange(1, len(body) - 10)], _whole(len(rows), "")


@dirt("xml", "another encoding than it says")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    rows[0]["Name"] = "部件甲乙"
    return b'<?xml version="1.0" encoding="utf-8"?>' + as_xml(rows).encode("gb18030"), _whole(len(rows), "not valid")


@dirt("xml", "text in character data")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place = dice.randrange(len(rows))
    rows[place]["Name"] = "@@@"
    truth.rows[place]["Name"] = "a<b>&c"
    return as_xml(rows).replace("@@@", "<![CDATA[a<b>]]>&#38;c").encode(), truth


@dirt("xml", "a comment within a value")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place = dice.randrange(len(rows))
    rows[place]["Qty"] = "@@@"
    truth.rows[place]["Qty"] = 1234
    return as_xml(rows).replace("@@@", "12<!-- x -->34<?pi?>").encode(), truth


@dirt("xml", "text behind a child of a value")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place = dice.randrange(len(rows))
    rows[place]["Name"] = "@@@"
    truth.rows[place]["Name"] = '{"br":"","#text":["above","below"]}'
    return as_xml(rows).replace("@@@", "above<br/>below").encode(), truth


@dirt("xml", "text between the values of a row")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place = dice.randrange(len(rows))
    rows[place]["Amount"] += "@@@"
    truth.sent[place] = {"#text": "stray"}
    return as_xml(rows).replace("@@@</Amount>", "</Amount> stray ").encode(), truth


@dirt("xml", "a value twice")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place = dice.randrange(len(rows))
    rows[place]["Qty"] = "@@@"
    truth.rows[place]["Qty"] = None
    truth.sent[place] = {"Qty": ["1", "2", "3"]}
    return as_xml(rows).replace("@@@", "1</Qty><Qty>2</Qty><Qty>3").encode(), truth


@dirt("xml", "attributes that nobody described")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    truth.sent = [{"@unit": "KG", "Amount/@cur": "EUR"} for _ in rows]
    body = as_xml(rows).replace("<Thing>", '<Thing unit="KG">').replace("<Amount>", '<Amount cur="EUR">')
    return body.encode(), truth


@dirt("xml", "elements that nobody described")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    truth.sent = [{"More": {"a": ["1", "2"]}} for _ in rows]
    return as_xml(rows).replace("</Thing>", "<More><a>1</a><a>2</a></More></Thing>").encode(), truth


@dirt("xml", "nil, empty and absent")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place = dice.randrange(len(rows))
    rows[place]["Name"], rows[place]["Amount"] = "", "@@@"
    truth.rows[place] |= {"Name": "", "Amount": None, "Due": None}
    del rows[place]["Due"]
    nil = '<Amount xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"/>'
    return as_xml(rows).replace("<Amount>@@@</Amount>", nil).encode(), truth


@dirt("xml", "another root")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    return as_xml(rows).replace("Things>", f"{dice.choice(('Items', 'Error', 'html'))}>").encode(), _whole(
        len(rows), "root"
    )


@dirt("xml", "characters that XML has not")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    rows[0]["Name"] = "@@@"
    return as_xml(rows).replace("@@@", dice.choice(("&#0;", "\x07", "&#xFFFE;", "&#xD800;"))).encode(), _whole(
        len(rows), "not valid"
    )


@dirt("xml", "an entity that nobody declared")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    rows[0]["Name"] = "@@@"
    return as_xml(rows).replace("@@@", dice.choice(("&nbsp;", "&x;"))).encode(), _whole(len(rows), "not valid")


@dirt("xml", "tags that do not fit")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    return as_xml(rows).replace("</Qty>", "</QTY>", 1).encode(), _whole(len(rows), "not valid")


# workbooks


def _typed(rows: Rows) -> list[dict[str, Any]]:
    """Rows with cells of their own types, as a person enters them."""
    return [
        row
        | {
            "Amount": float(row["Amount"]),
            "Due": datetime.fromisoformat(row["Due"]),
            "Qty": int(row["Qty"]),
            "Active": row["Active"] == "true",
        }
        for row in rows
    ]


@dirt("xlsx", "cells of their own types")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    return as_workbook(_typed(rows)), truth


@dirt("xlsx", "cells of another type")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place = dice.randrange(len(rows))
    name, cell, sent = dice.choice(
        (
            ("Due", datetime(2024, 2, 29, 13), "2024-02-29 13:00:00"),
            ("Qty", 1.5, "1.5"),
            ("Amount", 1e-7, "0.0000001"),
            ("Qty", True, "true"),
            ("Active", 1, "1"),
        )
    )
    typed = _typed(rows)
    typed[place][name] = cell
    truth.rows[place][name] = None
    truth.sent[place] = {name: sent}
    return as_workbook(typed), truth


@dirt("xlsx", "rows of nothing between")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    typed: list[dict[str, Any]] = _typed(rows)
    typed.insert(dice.randrange(len(typed)), dict.fromkeys(FIELDS))
    return as_workbook(typed), truth


@dirt("xlsx", "a value beyond the columns")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    place = dice.randrange(len(rows))
    typed = _typed(rows)
    typed[place] |= {"a": None, "b": "总计"}
    return as_workbook(typed), _without(truth, place, "beyond")


@dirt("xlsx", "a formula that nobody calculated")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, truth = _some(dice)
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(list(FIELDS))
    for row in _typed(rows):
        sheet.append(list(row.values()))
    place = dice.randrange(len(rows))
    sheet.cell(place + 2, 3).value = "=SUM(A1:A9)"
    truth.rows[place]["Amount"] = None
    truth.sent[place] = {"Amount": "=SUM(A1:A9)"}
    file = io.BytesIO()
    book.save(file)
    return file.getvalue(), truth


@dirt("xlsx", "a heading twice")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    names = ["Id", "Name", "Name", "Due", "Qty", "At", "Active"]
    return as_workbook(list(rows), names), _whole(len(rows), "twice")


@dirt("xlsx", "cut off")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    body = as_workbook(list(rows))
    return body[: -dice.randrange(30, len(body) - 10)], _whole(len(rows), "workbook")


@dirt("xlsx", "locked or of another program")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    body = dice.choice((b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PK\3\4", b"%PDF-1.7", b"")) + dice.randbytes(600)
    return body, _whole(0, "")


@dirt("xlsx", "a zip without a workbook")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", dice.randbytes(20))
    return file.getvalue(), _whole(0, "workbook")


# Parquet


def _column_of(name: str, values: pa.Array, expected: list[Any], sent: list[dict[str, Any]]) -> None:
    """A column of a type of its own, in a file whose other columns are right."""

    @dirt("parquet", name)
    def _(dice: random.Random) -> tuple[bytes, Truth]:
        rows = [clean(number, dice) for number in range(len(values))]
        truth = Truth([meant(row) for row in rows], [dict(one) for one in sent], rows_in=len(rows))
        column = name.partition(":")[0]
        table = pa.table(
            {item: pa.array([row[item] for row in rows], pa.string()) for item in FIELDS if item != column}
        )
        for row, value in zip(truth.rows, expected, strict=True):
            row[column] = value
        return as_parquet(table.append_column(column, values)), truth


_column_of(
    "Amount: doubles",
    pa.array([1.5, 0.1, 1.23456]),
    [Decimal("1.5"), Decimal("0.1"), None],
    [{}, {}, {"Amount": "1.23456"}],
)
_column_of(
    "Amount: long decimals",
    pa.array([Decimal("1.500000"), Decimal("1.234567")], pa.decimal128(20, 6)),
    [Decimal("1.5"), None],
    [{}, {"Amount": "1.234567"}],
)
_column_of("Amount: integers", pa.array([1, 10**12], pa.int64()), [Decimal(1), None], [{}, {"Amount": "1000000000000"}])
_column_of("Amount: truth values", pa.array([True, False]), [None, None], [{"Amount": "true"}, {"Amount": "false"}])
_column_of("Qty: longs", pa.array([1, 2**31], pa.int64()), [1, None], [{}, {"Qty": "2147483648"}])
_column_of("Qty: doubles", pa.array([1.0, 1.5, float("nan")]), [1, None, None], [{}, {"Qty": "1.5"}, {"Qty": "nan"}])
_column_of("Qty: unsigned", pa.array([1, 2**64 - 1], pa.uint64()), [1, None], [{}, {"Qty": str(2**64 - 1)}])
_column_of(
    "Due: times",
    pa.array([datetime(2024, 1, 31), datetime(2024, 1, 31, 13)], pa.timestamp("us")),
    [date(2024, 1, 31), None],
    [{}, {"Due": "2024-01-31 13:00:00"}],
)
_column_of("Due: day numbers", pa.array([45322, -1], pa.int32()), [date(2024, 1, 31), None], [{}, {"Due": "-1"}])
_column_of(
    "At: nanoseconds",
    pa.array([1_706_659_200_000_000_000, 1_706_659_200_000_000_001], pa.timestamp("ns", "UTC")),
    [_at(2024, 1, 31)] * 2,
    [{}, {}],
)
_column_of(
    "At: times without a zone", pa.array([datetime(2024, 1, 31, 8)], pa.timestamp("us")), [_at(2024, 1, 31)], [{}]
)
_column_of("At: days", pa.array([date(2024, 1, 31)], pa.date32()), [_at(2024, 1, 30, 16)], [{}])
_column_of(
    "Active: numbers",
    pa.array([1, 0, 5], pa.int32()),
    [None, None, None],
    [{"Active": "1"}, {"Active": "0"}, {"Active": "5"}],
)
_column_of("Name: numbers", pa.array([1.5, None]), ["1.5", None], [{}, {}])
_column_of(
    "Name: bytes",
    pa.array(["部件".encode(), "部件".encode("gbk")], pa.binary()),
    ["部件", None],
    [{}, {"Name": "\\udcb2\\udcbf\\udcbc\\udcfe"}],
)
_column_of("Name: lists", pa.array([["a"], None]), ['["a"]', None], [{}, {}])
_column_of("Name: dictionary", pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"], [{}, {}, {}])
_column_of("Qty: nothing", pa.nulls(2), [None, None], [{}, {}])


@dirt("parquet", "cut off")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    body = _parquet_of_texts(rows)
    return body[: -dice.randrange(1, len(body) - 10)], _whole(len(rows), "Parquet")


@dirt("parquet", "no key column")
def _(dice: random.Random) -> tuple[bytes, Truth]:
    rows, _truth = _some(dice)
    table = pa.table({name: [row[name] for row in rows] for name in FIELDS if name != "Id"})
    return as_parquet(table), _whole(len(rows), "which is a key")


# --- all of it --------------------------------------------------------------------------------------------------------


def corpus(of_each: int = 4, seed: int = 7) -> list[Definition]:
    """Definitions with their files, `of_each` files for each class of dirt and format it can be written in."""
    dice = random.Random(seed)
    found: dict[str, Definition] = {}
    for kind, ending, options, name, body, truth in _made(of_each, dice):
        own = {"values": RULES, **options} | ({"rows": "/Things/Thing"} if kind == "xml" else {})
        label = f"{kind}{len(options) and '-' + '-'.join(map(str, options.values()))}"
        one = found.setdefault(label, Definition("xml" if kind == "xml" else "files", "*", own))
        one.files.append(DirtyFile(f"{len(one.files):05d}.{ending}", name, body, truth))
    return list(found.values())


def _made(of_each: int, dice: random.Random) -> Iterator[tuple[str, str, dict[str, Any], str, bytes, Truth]]:
    for kind, write in WRITERS.items():
        for value in VALUES:
            if value.name in _NOT_IN.get(kind, ()):
                continue
            for _ in range(of_each):
                rows, truth = _with_value(value, dice)
                yield kind, kind, {}, f"{kind}: {value.name}", write(rows), truth
    for kind, all_of_them in FILES.items():
        for name, ending, options, made in all_of_them:
            for _ in range(of_each):
                body, truth = made(dice)
                yield kind, ending, options, f"{kind}: {name}", body, truth


def classes() -> int:
    """How many classes of dirt there are: those of values, and those of files."""
    return len(VALUES) + sum(len(found) for found in FILES.values())
