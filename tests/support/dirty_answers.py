"""Dirty answers of HTTP systems with known truth: values as JSON and XML carry them, and answers that are none.

`pages()` gives rows of a page as JSON texts, one value of them dirty, with what must become of each row: its values,
and what must be rescued as it was sent; `envelope()` the same for SOAP. `ROWS` are rows that are written strangely.
`BODIES` are answers that cannot be right as a whole: an error must tell why, and nothing of them may arrive. Nothing of
the readers' own code is used to know the truth.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

ODATA_V2, ODATA_V4, REST = "odata_v2", "odata_v4", "rest"
KINDS = (ODATA_V2, ODATA_V4, REST)
_ISO = (ODATA_V4, REST)
_V2 = (ODATA_V2,)


class Rescued:
    """That a value must be null, and kept beside its row as it was sent; `kept`: in which form, if JSON has none."""

    def __init__(self, kept: Any = ...) -> None:
        self.kept = kept


R = Rescued()


@dataclass(frozen=True)
class Value:
    """A class of dirt in one field: JSON texts, and the value of each."""

    name: str
    field: str
    sent: Sequence[tuple[str, Any]]
    kinds: Sequence[str] = KINDS
    """The protocols that carry it."""


def _at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type]


VALUES: tuple[Value, ...] = (
    Value("a number as it is", "Amount", (("1.5", Decimal("1.5")), ("0.1", Decimal("0.1")), ("-0", Decimal(0)))),
    Value("a number in quotes", "Amount", (('"1.5"', Decimal("1.5")), ('" 12 "', Decimal(12)), ('"007"', Decimal(7)))),
    Value("an exponent", "Amount", (("1e2", Decimal(100)), ('"1E+2"', Decimal(100)), ("5E-1", Decimal("0.5")))),
    Value("zeros behind the decimals", "Amount", (("1.500000000000", Decimal("1.5")), ('"2.0000"', Decimal(2)))),
    Value("a decimal comma", "Amount", (('"1,5"', R), ('"1.234,50"', R))),
    Value("thousands", "Amount", (('"1,234.5"', R), ('"1 234"', R), ('"1\'234"', R))),
    Value("a trailing minus", "Amount", (('"5-"', R), ('"1.50-"', R))),
    Value("other digits", "Amount", (('"１２"', R), ('"١٢"', R), ('"½"', R), ('"10²"', R))),
    Value("what only a programmer writes", "Amount", (('"1_000"', R), ('"0x1F"', R), ('"1e"', R), ('"0b11"', R))),
    Value("too many decimals", "Amount", (("1.23456", R), ('"0.0001"', R))),
    Value("too large", "Amount", (("99999999999", R), ('"12345678901.5"', R), ("123456789012345678901234567890", R))),
    Value("beyond every number", "Amount", (("1e400", Rescued("1e400")), ('"1e999999999"', R))),
    Value("no number", "Amount", (('"NaN"', R), ("NaN", Rescued("NaN")), ("-Infinity", Rescued("-Infinity")))),
    Value("empty and blank", "Amount", (('""', R), ('"   "', R))),
    Value("another kind", "Amount", (("true", R), ("[]", R), ("[1.5]", R), ('{"value":1.5}', R))),
    Value("with its unit", "Amount", (('"12 kg"', R), ('"¥12"', R), ('"12%"', R))),
    Value("a spreadsheet's error", "Amount", (('"#N/A"', R), ('"#DIV/0!"', R))),
    Value("null", "Amount", (("null", None),)),
    Value("null in quotes", "Amount", (('"null"', R), ('"NULL"', R))),
    Value("leap days", "DueOn", (('"2024-02-29"', date(2024, 2, 29)), ('"2000-02-29"', date(2000, 2, 29))), _ISO),
    Value("leap days that were not", "DueOn", (('"2023-02-29"', R), ('"1900-02-29"', R))),
    Value("days that were not", "DueOn", (('"2024-04-31"', R), ('"2024-13-01"', R), ('"0000-00-00"', R))),
    Value("SAP's zero date", "DueOn", (('"00000000"', R),)),
    Value("a week, a month, a year", "DueOn", (('"2024-W05"', R), ('"2024W05"', R), ('"2024-01"', R), ('"2024"', R))),
    Value("midnight", "DueOn", (('"2024-01-31T00:00:00"', date(2024, 1, 31)),)),
    Value("a time in a date", "DueOn", (('"2024-01-31T23:15:00"', R), ('"2024-01-31T00:00:01"', R))),
    Value("day first", "DueOn", (('"31.01.2024"', R), ('"03/04/2024"', R))),
    Value("a number as a date", "DueOn", (("45322", R), ("20240131", R))),
    Value("the ends of time", "DueOn", (('"9999-12-31"', date(9999, 12, 31)), ('"0001-01-01"', date(1, 1, 1))), _ISO),
    Value("beyond time", "DueOn", (('"10000-01-01"', R), ('"-0001-01-01"', R))),
    Value("nothing as a date", "DueOn", (('""', R), ('" "', R))),
    Value(
        "milliseconds",
        "DueOn",
        (
            ('"/Date(1709164800000)/"', date(2024, 2, 29)),
            ('"/Date(0)/"', date(1970, 1, 1)),
            ('"/Date(-86400000)/"', date(1969, 12, 31)),
        ),
        _V2,
    ),
    Value("milliseconds of an hour", "DueOn", (('"/Date(1706706000000)/"', R),), _V2),
    Value(
        "milliseconds beyond time",
        "DueOn",
        (('"/Date(253402300800000)/"', R), ('"/Date(9999999999999999999)/"', R)),
        _V2,
    ),
    Value("milliseconds that are none", "DueOn", (('"/Date()/"', R), ('"/Date(1.5)/"', R), ('"Date(0)"', R)), _V2),
    Value(
        "a zone of its own",
        "ChangedAt",
        (('"2024-01-31T08:00:00+08:00"', _at(2024, 1, 31)), ('"2024-01-30T19:00:00-05:00"', _at(2024, 1, 31))),
    ),
    Value("no zone", "ChangedAt", (('"2024-01-31T08:00:00"', R), ('"2024-01-31"', R))),
    Value(
        "finer than the lake",
        "ChangedAt",
        (('"2024-01-31T00:00:00.1234567Z"', _at(2024, 1, 31, 0, 0, 0, 123456)),),
        _ISO,
    ),
    Value("a leap second", "ChangedAt", (('"2016-12-31T23:59:60Z"', R),)),
    Value("hours that were not", "ChangedAt", (('"2024-01-31T25:00:00Z"', R), ('"2024-01-31T10:61:00Z"', R))),
    Value("seconds since 1970", "ChangedAt", (("1706659200", R), ('"1706659200"', R))),
    Value("a word as a time", "ChangedAt", (('"now"', R), ('"Wed, 31 Jan 2024 08:00:00 GMT"', R))),
    Value(
        "milliseconds with an offset",
        "ChangedAt",
        (('"/Date(1706659200000+0480)/"', _at(2024, 1, 31)), ('"/Date(1706659200000-0300)/"', _at(2024, 1, 31))),
        _V2,
    ),
    Value("a flag in quotes", "Active", (('"true"', True), ('"False"', False))),
    Value("neither yes nor no", "Active", (('"X"', R), ("1", R), ("0", R), ('"yes"', R), ('""', R), ('"是"', R))),
    Value("a text like a number", "Name", (('"0012"', "0012"), ('"1e5"', "1e5"), ('"1.10"', "1.10"))),
    Value("a number in a text", "Name", (("12", "12"), ("1.10", "1.10"), ("1e5", "1e5"))),
    Value(
        "another kind in a text",
        "Name",
        (("true", "true"), ('["a",1.10]', '["a",1.10]'), ('{"b":[null,1e2]}', '{"b":[null,1e2]}')),
    ),
    Value("half a character", "Name", (('"\\ud800"', Rescued("\\ud800")), ('"a\\udc00b"', Rescued("a\\udc00b")))),
    Value("a character of nothing", "Name", (('"a\\u0000b"', "a\0b"), ('"\\u0007"', "\x07"))),
    Value("escaped and not", "Name", (('"\\u90e8\\u4ef6"', "部件"), ('"\\ud83d\\ude00"', "😀"), ('"𠀀𪚥"', "𠀀𪚥"))),
    Value(
        "mojibake", "Name", (('"é\u0083¨ä»¶"', "é\u0083¨ä»¶"), ('"锟斤拷"', "锟斤拷"), ('"部\ufffd件"', "部\ufffd件"))
    ),
    Value(
        "invisible characters",
        "Name",
        (('"a\u200bb"', "a\u200bb"), ('"\ufeffa"', "\ufeffa"), ('"\u202eabc"', "\u202eabc")),
    ),
    Value(
        "blanks and line ends",
        "Name",
        (('"  a "', "  a "), ('"a\\r\\nb\\t"', "a\r\nb\t"), ('"\u3000轴承"', "\u3000轴承")),
    ),
    Value("empty", "Name", (('""', ""), ('" "', " "))),
    Value("markup", "Name", (('"<b>&amp;</b>"', "<b>&amp;</b>"), ('"</script>"', "</script>"), ('"&#0;"', "&#0;"))),
)


XML_VALUES: tuple[Value, ...] = (
    Value(
        "a number", "Amount", (("1.5", Decimal("1.5")), (" 12 ", Decimal(12)), ("007", Decimal(7)), ("+1", Decimal(1)))
    ),
    Value("a decimal comma", "Amount", (("1,5", R), ("1.234,50", R), ("1,234.5", R))),
    Value("no number", "Amount", (("NaN", R), ("INF", R), ("a lot", R), ("12 kg", R))),
    Value("what only a programmer writes", "Amount", (("1_000", R), ("0x1F", R))),
    Value("other digits", "Amount", (("１２", R), ("½", R))),
    Value("a day", "DueOn", (("2024-02-29", date(2024, 2, 29)), ("9999-12-31", date(9999, 12, 31)))),
    Value("a day that was not", "DueOn", (("2023-02-29", R), ("0000-00-00", R), ("2024-W05", R))),
    Value("a day with a zone", "DueOn", (("2024-01-31+08:00", R), ("2024-01-31Z", R))),
    Value("a time in a date", "DueOn", (("2024-01-31T23:15:00", R),)),
    Value("a zone of its own", "ChangedAt", (("2024-01-31T08:00:00+08:00", _at(2024, 1, 31)),)),
    Value("a word as a time", "ChangedAt", (("now", R), ("2024-01-31T25:00:00Z", R))),
    Value("a flag of the schema", "Active", (("true", True), ("1", True), ("0", False), (" false ", False))),
    Value("neither yes nor no", "Active", (("X", R), ("2", R), ("是", R))),
    Value("mojibake", "Name", (("锟斤拷", "锟斤拷"), ("é\u0083¨ä»¶", "é\u0083¨ä»¶"))),
    Value("markup", "Name", (("&lt;b&gt;&amp;amp;", "<b>&amp;"), ("<![CDATA[<a>&]]>", "<a>&"), ("&#x90e8;", "部"))),
    Value("blanks", "Name", (("  a ", "  a "), ("a\nb", "a\nb"))),
    Value("a comment within", "Name", (("ab<!-- x -->cd", "abcd"), ("a<?pi x?>b", "ab"))),
)
"""What a SOAP service sends: texts of XML, and the value of each."""


@dataclass
class Sent:
    """A row as a page's text, and what must become of it."""

    text: str
    values: dict[str, Any]
    rescued: dict[str, Any] = field(default_factory=dict[str, Any])
    dirt: str = "clean"


_CLEAN: dict[str, Callable[[str], tuple[str, Any]]] = {
    "Name": lambda _: ('"部件"', "部件"),
    "Amount": lambda kind: ('"1.250"' if kind == ODATA_V2 else "1.250", Decimal("1.250")),
    "DueOn": lambda kind: (
        ('"/Date(1706659200000)/"' if kind == ODATA_V2 else '"2024-01-31"'),
        date(2024, 1, 31),
    ),
    "Active": lambda _: ("true", True),
    "ChangedAt": lambda kind: (
        '"/Date(1706659200000+0000)/"' if kind == ODATA_V2 else '"2024-01-31T00:00:00Z"',
        _at(2024, 1, 31),
    ),
}


def row_of(kind: str, number: int, name: str = "", text: str = "", value: Any = None) -> Sent:
    """A row, with a text in one of its fields that must become this value."""
    fields = {field_: clean(kind) for field_, clean in _CLEAN.items()}
    key = f"{number:05d}"
    sent = Sent("", {"Id": key, **{field_: pair[1] for field_, pair in fields.items()}})
    if name:
        fields[name] = (text, value)
        sent.values[name] = None if isinstance(value, Rescued) else value
        if isinstance(value, Rescued):
            sent.rescued[name] = json.loads(text) if value.kept is ... else value.kept
    inside = ",".join(f'"{field_}":{pair[0]}' for field_, pair in fields.items())
    sent.text = f'{{"Id":"{key}",{inside}}}'
    return sent


def pages(kind: str, of_each: int, seed: int) -> Iterator[list[Sent]]:
    """Pages of three rows, the middle one dirty; before them a clean one, as a reader that learns from pages sees."""
    dice, number = random.Random(seed), 0

    def row(*dirt: Any) -> Sent:
        nonlocal number
        number += 1
        return row_of(kind, number, *dirt)

    yield [row(), row()]
    for value in VALUES:
        if kind not in value.kinds:
            continue
        for text, meant in dice.sample(list(value.sent), min(of_each, len(value.sent))):
            dirty = row(value.field, text, meant)
            dirty.dirt = f"{kind}: {value.name} {text}"
            yield [row(), dirty, row()]


def body(kind: str, rows: Sequence[str], more: str = "") -> str:
    """Rows in the envelope of a protocol; `more`: where the next page is."""
    inside = f"[{','.join(rows)}]"
    if kind == ODATA_V2:
        return f'{{"d":{{"results":{inside}' + (f',"__next":"{more}"' if more else "") + "}}"
    if kind == ODATA_V4:
        return f'{{"value":{inside}' + (f',"@odata.nextLink":"{more}"' if more else "") + "}"
    return f'{{"data":{inside},"error":null,"next_cursor":{json.dumps(more or None)}}}'


def envelope() -> tuple[bytes, list[Sent]]:
    """The answer of a SOAP service, each row of it with one dirty value, and what must become of the rows."""
    rows: list[Sent] = []
    for value in XML_VALUES:
        for text, meant in value.sent:
            key = f"{len(rows):05d}"
            is_kept = isinstance(meant, Rescued)
            values = {"Id": key, value.field: None if is_kept else meant}
            rescued = {value.field: text} if is_kept else {}
            inside = f"<Thing><Id>{key}</Id><{value.field}>{text}</{value.field}></Thing>"
            rows.append(Sent(inside, values, rescued, f"soap: {value.name} {text}"))
    things = "".join(row.text for row in rows)
    text = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><findThingsResponse><findThingsResult>'
        f"{things}</findThingsResult></findThingsResponse></e:Body></e:Envelope>"
    )
    return text.encode(), rows


_HTML = b"<!DOCTYPE html><html><body><form action='/login'>Please log in</form></body></html>"
Broken = Callable[[str, Sequence[str]], bytes]
BODIES: dict[str, Broken] = {
    "nothing": lambda _, __: b"",
    "blanks": lambda _, __: b" \r\n\t",
    "a page to log in": lambda _, __: _HTML,
    "cut off": lambda kind, rows: body(kind, rows).encode()[:-7],
    "cut off within a character": lambda kind, rows: body(kind, rows).encode().split("件".encode())[0] + b"\xe4",
    "a comma too many": lambda kind, rows: body(kind, [*rows, ""]).encode(),
    "a comment": lambda kind, rows: body(kind, ["/* all */" + rows[0]]).encode(),
    "two documents": lambda kind, rows: (body(kind, rows) * 2).encode(),
    "text behind it": lambda kind, rows: body(kind, rows).encode() + b"Warning: Undefined index in /var/www/api.php",
    "text before it": lambda kind, rows: b"<br/>Notice: x" + body(kind, rows).encode(),
    "single quotes": lambda kind, rows: body(kind, rows).replace('"', "'").encode(),
    "UTF-16": lambda kind, rows: body(kind, rows).encode("utf-16"),
    "a raw line end in a text": lambda kind, rows: body(kind, rows).replace("部件", "部\n件").encode(),
    "no list of rows": lambda _, __: b'{"status":"ok"}',
    "rows that are an object": lambda kind, rows: body(kind, []).replace("[]", rows[0]).encode(),
    "rows that are a text": lambda kind, _: body(kind, []).replace("[]", '"none"').encode(),
    "a row that is null": lambda kind, rows: body(kind, [*rows, "null"]).encode(),
    "a row that is a text": lambda kind, rows: body(kind, [*rows, '"total: 2"']).encode(),
    "a row that is a list": lambda kind, rows: body(kind, [*rows, "[1,2]"]).encode(),
    "a number": lambda _, __: b"17",
    "null": lambda _, __: b"null",
    "very deep": lambda kind, rows: body(kind, [*rows, '{"Id":' + "[" * 200_000 + "]" * 200_000 + "}"]).encode(),
    "a PDF": lambda _, __: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "a zip": lambda _, __: b"PK\x03\x04" + bytes(40),
}
"""Answers with status 200 that hold no rows anyone could take."""


def classes() -> int:
    """How many classes of dirt there are: those of values, and those of answers."""
    return len(VALUES) + len(XML_VALUES) + len(BODIES) + len(ROWS)


ROWS: dict[str, Callable[[str], tuple[str, dict[str, Any], dict[str, Any]]]] = {
    "a field twice, with one value": lambda text: (
        text.replace('"Active":true', '"Active":true,"Active":true'),
        {},
        {},
    ),
    "a field twice, with two": lambda text: (
        text.replace('"Active":true', '"Active":true,"Active":false'),
        {"Active": None},
        {"Active": [True, False]},
    ),
    "a field that is not there": lambda text: (text.replace(',"Active":true', ""), {"Active": None}, {}),
    "a field that nobody described": lambda text: (
        f'{text[:-1]},"More":{{"a":[1,null]}}}}',
        {},
        {"More": {"a": [1, None]}},
    ),
    "a field without a name": lambda text: (f'{text[:-1]},"":"x"}}', {}, {"": "x"}),
    "bytes of another encoding": lambda text: (
        text.replace("部件", "部件".encode("gbk").decode("utf-8", "surrogateescape")),
        {"Name": None},
        {"Name": "\\udcb2\\udcbf\\udcbc\\udcfe"},
    ),
    "a field within whose name is of another encoding": lambda text: (
        f'{text[:-1]},"More":{{"\udcb2\udcbf":1}}}}',
        {},
        {"More": {"\\udcb2\\udcbf": 1}},
    ),
    "blanks between": lambda text: (text.replace(",", " ,\r\n\t").replace(":", " : ", 1), {}, {}),
}
"""Dirt of a row: its text, values that differ, and what must be rescued."""
