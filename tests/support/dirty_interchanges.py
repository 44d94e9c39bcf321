"""Dirty EDI interchanges with known truth: orders as X12 850 and EDIFACT ORDERS, read as messages and as lines.

Dirt in a value, in a message, in a group, in the envelope and around it. Of each order it is known what must become of
it: its values, what of them must be rescued as it was sent, or that it is refused (by itself, with its group, or with
its file), and why. The form of the definitions is that of `dirty_files`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from dirty_files import RESCUED, Definition, DirtyFile, Truth

X12, EDIFACT = "x12", "edifact"
BOTH = (X12, EDIFACT)
_MESSAGE = {X12: "850", EDIFACT: "ORDERS"}
_HEADER = {
    X12: {"number": "BEG03", "day": "BEG05", "currency": "CUR02"},
    EDIFACT: {"number": "BGM_1004", "day": "DTM_2380_137", "currency": "CUX_6345"},
}
_LINE = {
    X12: {"item": "PO107", "quantity": "PO102", "unit": "PO103", "price": "PO104"},
    EDIFACT: {
        "item": "LIN_7140",
        "quantity": "QTY_6060_21",
        "unit": "QTY_6411",
        "price": "PRI_5118_AAA",
    },
}
"""From what an order holds to the field it must arrive in."""


@dataclass
class Part:
    """The head of an order, or one of its lines: as text, and the values that must come of it."""

    texts: dict[str, str]
    values: dict[str, Any]
    rescued: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class Order:
    """An order that somebody sends."""

    head: Part
    lines: list[Part]

    @property
    def parts(self) -> list[Part]:
        """Its head and its lines."""
        return [self.head, *self.lines]


@dataclass
class Sent:
    """A file of orders, and what must become of them."""

    body: bytes
    taken: Sequence[Order] = ()
    lost: Sequence[Order] = ()
    """Those that are refused."""
    refused: int = 0
    reason: str = ""


class Pen:
    """Writes orders in one of the standards; each interchange bears a number of its own."""

    def __init__(self, standard: str, dice: random.Random, control: int) -> None:
        self.standard, self.dice, self._control = standard, dice, control

    def orders(self, least: int = 1, more: int = 3) -> list[Order]:
        """Some orders without a flaw."""
        return [self._order() for _ in range(self.dice.randrange(least, least + more))]

    def _order(self) -> Order:
        dice = self.dice
        day = date(dice.randrange(2015, 2030), dice.randrange(1, 13), dice.randrange(1, 29))
        number, currency = f"PO-{dice.randrange(10**8)}", dice.choice(("CNY", "EUR", "USD"))
        moment = day if self.standard == X12 else datetime(day.year, day.month, day.day)
        head = Part(
            {"number": number, "day": f"{day:%Y%m%d}", "currency": currency},
            {"number": number, "day": moment, "currency": currency},
        )
        lines: list[Part] = []
        for _ in range(dice.randrange(1, 4)):
            quantity, price = Decimal(dice.randrange(1, 99_999)) / 100, Decimal(dice.randrange(1, 99_999)) / 1000
            item, unit = f"A{dice.randrange(10**6):06d}", dice.choice(("PCE", "KGM", "EA"))
            lines.append(
                Part(
                    {"item": item, "quantity": str(quantity), "unit": unit, "price": str(price)},
                    {"item": item, "quantity": quantity, "unit": unit, "price": price},
                )
            )
        return Order(head, lines)

    def control(self) -> str:
        """The number of the next interchange."""
        self._control += 1
        return f"{self._control:09d}"

    def message(self, order: Order, place: int = 1, *, count: int | None = None, ends: str = "", body: str = "") -> str:
        """An order as a message."""
        number = f"{place:04d}"
        body = body or self.body(order)
        segments = (count if count is not None else body.count("~") + 2) if self.standard == X12 else count
        if self.standard == X12:
            return f"ST*850*{number}~{body}SE*{segments}*{ends or number}~"
        if segments is None:
            segments = len(re.findall(r"(?<!\?)(?:\?\?)*'", body)) + 2
        return f"UNH+{number}+ORDERS:D:96A:UN'{body}UNT+{segments}+{ends or number}'"

    def body(self, order: Order) -> str:
        """What stands between the first and the last segment of a message."""
        head = order.head.texts
        if self.standard == X12:
            lines = "".join(
                f"PO1*{place}*{one['quantity']}*{one['unit']}*{one['price']}**BP*{one['item']}~"
                for place, one in enumerate((line.texts for line in order.lines), 1)
            )
            return f"BEG*00*SA*{head['number']}**{head['day']}~CUR*BY*{head['currency']}~{lines}CTT*{len(order.lines)}~"
        texts = {name: _released(text) for name, text in head.items()}
        lines = "".join(
            f"LIN+{place}++{one['item']}:BP'QTY+21:{one['quantity']}:{one['unit']}'PRI+AAA:{one['price']}'"
            for place, one in enumerate(
                ({name: _released(text) for name, text in line.texts.items()} for line in order.lines), 1
            )
        )
        return (
            f"BGM+220+{texts['number']}+9'DTM+137:{texts['day']}:102'CUX+2:{texts['currency']}:9'"
            f"{lines}UNS+S'CNT+2:{len(order.lines)}'"
        )

    def messages(self, orders: Sequence[Order]) -> list[str]:
        """Each order as a message, numbered from 1."""
        return [self.message(order, place) for place, order in enumerate(orders, 1)]

    def interchange(
        self,
        messages: Sequence[str],
        *,
        control: str = "",
        ends: str = "",
        said: int | None = None,
        group_ends: str = "7",
        characters: str = "UNOC",
        group: str = "PO",
    ) -> str:
        """Messages in their envelope."""
        control = control or self.control()
        said = len(messages) if said is None else said
        if self.standard == EDIFACT:
            head = f"UNB+{characters}:3+BUYER:14+SELLER:14+240131:1200+{control}'"
            return f"{head}{''.join(messages)}UNZ+{said}+{ends or control}'"
        isa = f"ISA*00*{'':10}*00*{'':10}*ZZ*{'BUYER':15}*ZZ*{'SELLER':15}*240131*1200*U*00401*{control}*0*P*>~"
        inside = f"GS*{group}*B*S*20240131*1200*7*X*004010~{''.join(messages)}GE*{said}*{group_ends}~"
        return f"{isa}{inside}IEA*1*{ends or control}~"

    def all_of(self, orders: Sequence[Order]) -> str:
        """Orders in an interchange without a flaw."""
        return self.interchange(self.messages(orders))


def _released(text: str) -> str:
    return re.sub(r"([?+:'])", r"?\1", text)


# --- dirt in values ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Value:
    """A class of dirt in one value, with what it is in each of the standards, if it is sent in it."""

    name: str
    where: str
    sent: Sequence[tuple[str, dict[str, Any]]]
    """Texts, and the value of each by standard."""


def _in(*standards: str, value: Any) -> dict[str, Any]:
    return dict.fromkeys(standards or BOTH, value)


def _same(*pairs: tuple[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(text, _in(value=value)) for text, value in pairs]


def _day(text: str, year: int, month: int, day: int) -> tuple[str, dict[str, Any]]:
    return text, {X12: date(year, month, day), EDIFACT: datetime(year, month, day)}


VALUES: tuple[Value, ...] = (
    Value("trailing minus", "quantity", _same(("5-", Decimal(-5)), ("1.5-", Decimal("-1.5")))),
    Value("signs in front", "quantity", _same(("-5", Decimal(-5)), ("+5", Decimal(5)))),
    Value("leading zeros", "quantity", _same(("007", Decimal(7)), ("000", Decimal(0)))),
    Value("no digit beside the point", "quantity", _same((".5", Decimal("0.5")), ("5.", Decimal(5)))),
    Value("exponent", "quantity", _same(("1e3", Decimal(1000)), ("1.25E+1", Decimal("12.5")))),
    Value("blanks around a number", "quantity", _same((" 12 ", Decimal(12)), ("12  ", Decimal(12)))),
    Value("nothing", "quantity", _same(("", None), ("   ", None))),
    Value("a word", "quantity", _same(("some", RESCUED), ("N/A", RESCUED), ("-", RESCUED))),
    Value("with its unit", "quantity", _same(("10kg", RESCUED), ("5 PCE", RESCUED))),
    Value("no number", "quantity", _same(("NaN", RESCUED), ("Infinity", RESCUED))),
    Value("signs on both sides", "quantity", _same(("-5-", RESCUED), ("--5", RESCUED))),
    Value("too many decimals", "quantity", _same(("0.0000000001", RESCUED), ("1.1234567891", RESCUED))),
    Value("zeros behind the decimals", "price", _same(("1.50000000000000", Decimal("1.5")))),
    Value("too large", "price", _same(("9" * 16, RESCUED), ("1e20", RESCUED))),
    Value(
        "decimal comma",
        "price",
        [
            ("1,5", {X12: RESCUED, EDIFACT: Decimal("1.5")}),
            ("0,125", {X12: RESCUED, EDIFACT: Decimal("0.125")}),
            (",5", {X12: RESCUED, EDIFACT: Decimal("0.5")}),
        ],
    ),
    Value("thousands", "price", _same(("1.234,50", RESCUED), ("1,234.50", RESCUED), ("1,234,567", RESCUED))),
    Value(
        "full-width number",
        "quantity",
        [("１２", _in(X12, value=Decimal(12))), ("１．５", _in(X12, value=Decimal("1.5")))],
    ),
    Value("hexadecimal", "quantity", _same(("0x1F", RESCUED), ("1_000", RESCUED))),
    Value("leap day", "day", [_day("20240229", 2024, 2, 29), _day("20000229", 2000, 2, 29)]),
    Value("a day that was not", "day", _same(("20230229", RESCUED), ("20241301", RESCUED), ("20240431", RESCUED))),
    Value("zero date", "day", _same(("00000000", None), ("000000", None))),
    Value("no date", "day", _same(("", None))),
    Value("year of two digits", "day", [_day("240131", 2024, 1, 31)]),
    Value("a date with dashes", "day", [_day("2024-01-31", 2024, 1, 31)]),
    Value("day first", "day", _same(("31.01.2024", RESCUED), ("31/01/2024", RESCUED))),
    Value("a date and a time", "day", [("202401311345", {X12: RESCUED, EDIFACT: datetime(2024, 1, 31, 13, 45)})]),
    Value("the ends of time", "day", [_day("99991231", 9999, 12, 31)]),
    Value("a week", "day", _same(("2024W05", RESCUED), ("2024-W05", RESCUED), ("Q1-2024", RESCUED))),
    Value("blanks around a text", "item", _same(("  A1 ", "  A1 "))),
    Value("a text like a number", "item", _same(("0012", "0012"), ("1e5", "1e5"), ("1.10", "1.10"))),
    Value("quotes and commas", "item", _same(('5" pipe, new', '5" pipe, new'), ("a;b|c", "a;b|c"))),
    Value("control characters", "item", _same(("a\x07b", "a\x07b"), ("a\tb", "a\tb"))),
    Value("line ends in a text", "item", _same(("two\r\nlines", "two\r\nlines"), ("a\nb", "a\nb"))),
    Value("Chinese", "item", [("轴承甲", _in(X12, value="轴承甲")), ("𠀀𪚥", _in(X12, value="𠀀𪚥"))]),
    Value("Latin-1", "item", [("Wälzlager", _in(value="Wälzlager")), ("ñ°", _in(value="ñ°"))]),
    Value("mojibake", "item", [("ä¸\xad", _in(value="ä¸\xad")), ("锟斤拷", _in(X12, value="锟斤拷"))]),
    Value(
        "separators that are data",
        "item",
        [(text, _in(EDIFACT, value=text)) for text in ("a'b", "a+b:c", "why??", "?", "'", "end?")],
    ),
    Value("a formula", "item", _same(("=cmd|x", "=cmd|x"), ("@SUM(1)", "@SUM(1)"))),
    Value("nothing in a text", "unit", _same(("", None))),
    Value("lower case", "currency", _same(("eur", "eur"), ("RMB", "RMB"))),
)
"""Texts stay as they were sent; an element of nothing is no value."""


def _with_value(dirt: Value, pen: Pen) -> Sent | None:
    """Orders, one of which has the dirt; None where it is not sent in this standard."""
    choices = [(text, values[pen.standard]) for text, values in dirt.sent if pen.standard in values]
    if not choices:
        return None
    text, value = pen.dice.choice(choices)
    orders = pen.orders()
    order = pen.dice.choice(orders)
    part = order.head if dirt.where in order.head.texts else pen.dice.choice(order.lines)
    part.texts[dirt.where] = text
    part.values[dirt.where] = None if value is RESCUED else value
    if value is RESCUED:
        part.rescued[dirt.where] = text
    body = pen.all_of(orders)
    return Sent(body.encode("utf-8" if pen.standard == X12 else "latin-1"), orders)


# --- dirt in messages and envelopes -----------------------------------------------------------------------------------

Dirt = Callable[[Pen], Sent]
ENVELOPES: list[tuple[str, Sequence[str], Dirt]] = []
"""Name, the standards that have it, and what makes it."""


def dirt(name: str, *standards: str) -> Callable[[Dirt], Dirt]:
    def take(made: Dirt) -> Dirt:
        ENVELOPES.append((name, standards or BOTH, made))
        return made

    return take


def _one_wrong(pen: Pen, wrong: Callable[[Order, int], str], reason: str, least: int = 2) -> Sent:
    """An interchange one of whose messages is refused by itself."""
    orders = pen.orders(least)
    place = pen.dice.randrange(len(orders))
    messages = pen.messages(orders)
    messages[place] = wrong(orders[place], place + 1)
    taken = [order for at, order in enumerate(orders) if at != place]
    return Sent(pen.interchange(messages).encode(), taken, [orders[place]], 1, reason)


def _whole(body: bytes | str, orders: Sequence[Order], reason: str) -> Sent:
    """A file that is refused whole."""
    return Sent(body if isinstance(body, bytes) else body.encode(), (), orders, 1, reason)


@dirt("a message counts wrong")
def _(pen: Pen) -> Sent:
    count = pen.dice.choice((0, 2, 99))
    return _one_wrong(pen, lambda order, at: pen.message(order, at, count=count), f"counts {count} segments")


@dirt("a wrong one among many")
def _(pen: Pen) -> Sent:
    return _one_wrong(pen, lambda order, at: pen.message(order, at, count=99), "counts 99 segments", least=60)


@dirt("a message ends with another number")
def _(pen: Pen) -> Sent:
    return _one_wrong(pen, lambda order, at: pen.message(order, at, ends="0999"), "bears number 0999")


@dirt("a message without its first segment")
def _(pen: Pen) -> Sent:
    def wrong(order: Order, at: int) -> str:
        end = "~" if pen.standard == X12 else "'"
        return pen.message(order, at, body=pen.body(order).split(end, 1)[1])

    return _one_wrong(pen, wrong, "does not begin with")


@dirt("a segment that is none")
def _(pen: Pen) -> Sent:
    mark, end = ("*", "~") if pen.standard == X12 else ("+", "'")
    tag = pen.dice.choice(("X", "TOOLONG", "é1", "P 1"))

    def wrong(order: Order, at: int) -> str:
        return pen.message(order, at, body=f"{pen.body(order)}{tag}{mark}x{end}")

    return _one_wrong(pen, wrong, "is not a segment")


@dirt("a number twice")
def _(pen: Pen) -> Sent:
    orders = pen.orders(2)
    messages = [pen.message(orders[0], 1), pen.message(orders[1], 1)]
    return Sent(pen.interchange(messages).encode(), orders[:1], orders[1:2], 1, "stands twice")


@dirt("bytes that are not the declared text")
def _(pen: Pen) -> Sent:
    orders = pen.orders(2)
    orders[-1].lines[0].texts["item"] = "@@@"
    text = pen.interchange(pen.messages(orders), characters="UNOY").encode()
    return Sent(text.replace(b"@@@", "轴承".encode("gbk")), orders[:-1], orders[-1:], 1, "it is not utf-8")


@dirt("a message of another kind among them")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    messages = pen.messages(orders)
    if pen.standard == X12:
        other = "ST*864*9000~BMG*00*x~MSG*Hello~SE*4*9000~"
    else:
        other = "UNH+9000+GENRAL:D:96A:UN'BGM+x'FTX+AAI+++Hello'UNT+4+9000'"
    messages.insert(pen.dice.randrange(len(messages) + 1), other)
    return Sent(pen.interchange(messages).encode(), orders)


@dirt("an order in a group of invoices", X12)
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    text = pen.interchange(pen.messages(orders), group="IN")
    return Sent(text.encode(), (), orders, len(orders), "does not belong in a group IN")


@dirt("a group counts wrong", X12)
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    return Sent(pen.interchange(pen.messages(orders), said=9).encode(), (), orders, 1, "GE counts 9")


@dirt("a group ends with another number", X12)
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    return Sent(pen.interchange(pen.messages(orders), group_ends="8").encode(), (), orders, 1, "GE bears number 8")


@dirt("an interchange counts wrong")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    text = pen.interchange(pen.messages(orders), said=None if pen.standard == X12 else 9)
    return _whole(text.replace("IEA*1*", "IEA*3*"), orders, "counts 3" if pen.standard == X12 else "counts 9")


@dirt("an interchange ends with another number")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    return _whole(pen.interchange(pen.messages(orders), ends="000000000"), orders, "bears number 000000000")


@dirt("cut off")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    text = pen.all_of(orders)
    # behind the envelope's first segment and before the last one's end
    return _whole(text[: pen.dice.randrange(140, len(text) - 1)], orders, "cut off")


@dirt("a segment between messages")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    stray = "N1*ST*x~" if pen.standard == X12 else "NAD+BY+1'"
    messages = pen.messages(orders)
    messages[0] += stray
    return _whole(pen.interchange(messages, said=len(orders)), orders, "stands between")


@dirt("an interchange twice in a file")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    text = pen.all_of(orders)
    return Sent((text + text).encode(), orders, orders, 1, "duplicate")


@dirt("an interchange behind another")
def _(pen: Pen) -> Sent:
    first, second = pen.orders(), pen.orders()
    between = pen.dice.choice(("", "\r\n", "\n\n  \n"))
    return Sent(f"{pen.all_of(first)}{between}{pen.all_of(second)}".encode(), [*first, *second])


@dirt("line ends behind segments")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    end = "~" if pen.standard == X12 else "'"
    return Sent(pen.all_of(orders).replace(end, end + pen.dice.choice(("\n", "\r\n"))).encode(), orders)


@dirt("a byte order mark, and blanks around")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    before, behind = pen.dice.choice((b"\xef\xbb\xbf", b"\r\n", b"  ")), pen.dice.choice((b"\x1a", b"\0\0\0", b"\n \n"))
    return Sent(before + pen.all_of(orders).encode() + behind, orders)


@dirt("other separators")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    text = pen.all_of(orders)
    if pen.standard == X12:
        signs = str.maketrans("*~>", pen.dice.choice(("|\n:", "\x1d\x1c\x1f", "+'<")))
        return Sent(text.translate(signs).encode(), orders)
    element, component, end, release = signs = pen.dice.choice(("|;~!", "*>\n\\", "\x1d\x1f\x1c?"))
    advice = f"UNA{component}{element}.{release} {end}"
    return Sent(f"{advice}{text.translate(str.maketrans('+:' + chr(39) + '?', signs))}".encode(), orders)


@dirt("a service string advice as usual", EDIFACT)
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    return Sent(f"UNA:+.? '{pen.dice.choice(('', chr(13) + chr(10)))}{pen.all_of(orders)}".encode(), orders)


@dirt("functional groups", EDIFACT)
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    inside = [f"UNG+ORDERS+B+S+240131:1200+5+UN+D:96A'{''.join(pen.messages(orders))}UNE+{len(orders)}+5'"]
    return Sent(pen.interchange(inside).encode(), orders)


@dirt("empty elements at the end of a segment")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    mark, end = ("***", "~") if pen.standard == X12 else ("+++", "'")
    messages = [
        pen.message(order, place, body=pen.body(order).replace(end, mark + end))
        for place, order in enumerate(orders, 1)
    ]
    return Sent(pen.interchange(messages).encode(), orders)


@dirt("segments that nobody described")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    more = "ZZ9*free*text~" if pen.standard == X12 else "FTX+AAI+++free text'"
    messages = [pen.message(order, at, body=f"{pen.body(order)}{more}") for at, order in enumerate(orders, 1)]
    return Sent(pen.interchange(messages).encode(), orders)


@dirt("no interchange at all")
def _(pen: Pen) -> Sent:
    body = pen.dice.choice((b"%PDF-1.7 ...", b"hello", b"<xml/>", b"PK\3\4", b"isa*00*", b"GS*PO*"))
    return _whole(body + bytes(f"{pen.control()}{pen.standard}", "ascii"), [], "there is no interchange")


@dirt("nothing in it")
def _(pen: Pen) -> Sent:
    body = pen.dice.choice((b" ", b"\r\n", b"\x1a", b"\0")) * pen.dice.randrange(1, 10**6)
    return _whole(body, [], "there is no interchange")


@dirt("a short first segment", X12)
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    text = pen.all_of(orders).replace(f"*{'BUYER':15}*", "*BUYER*", 1)
    return _whole(text, orders, "106 characters")


@dirt("separators that are the same")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    text = pen.all_of(orders)
    if pen.standard == X12:
        return _whole(text.replace("*P*>~", "*P*~~", 1), orders, "not three different signs")
    return _whole("UNA++.? '" + text, orders, "not different")


@dirt("a character set that is not known", EDIFACT)
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    text = pen.interchange(pen.messages(orders), characters=pen.dice.choice(("UNOZ", "KECA", "    ")))
    return _whole(text, orders, "is not known")


@dirt("a message that never ends")
def _(pen: Pen) -> Sent:
    orders = pen.orders(2)
    messages = pen.messages(orders)
    last = messages[0].rindex("SE*" if pen.standard == X12 else "UNT+")
    messages[0] = messages[0][:last]
    return _whole(pen.interchange(messages), orders, "is cut off")


@dirt("segments without content")
def _(pen: Pen) -> Sent:
    orders = pen.orders()
    end = "~" if pen.standard == X12 else "'"
    # a terminator alone is no segment, and counts for none
    return Sent(pen.all_of(orders).replace(f"{end}GE*", f"{end}{end}GE*").replace("'UNZ", "''UNZ").encode(), orders)


# --- all of it --------------------------------------------------------------------------------------------------------


def _truth(sent: Sent, standard: str, level: str) -> Truth:
    header, line = _HEADER[standard], _LINE[standard]
    rows: list[dict[str, Any]] = []
    rescued: list[dict[str, str]] = []
    for order in sent.taken:
        if level == "message":
            rows.append({header[name]: value for name, value in order.head.values.items()})
            rescued.append({header[name]: text for name, text in order.head.rescued.items()})
            continue
        for place, part in enumerate(order.lines, 1):
            own = {line[name]: value for name, value in part.values.items()}
            rows.append({header["number"]: order.head.values["number"], "line_number": place, **own})
            rescued.append({line[name]: text for name, text in part.rescued.items()})
    lost = sum(1 if level == "message" else len(order.lines) for order in sent.lost)
    return Truth(
        rows,
        rescued,
        refused=sent.refused,
        reason=sent.reason,
        rows_in=len(rows) + lost,
        lost_with_file=lost,
    )


def _made(standard: str, of_each: int, dice: random.Random) -> Iterator[tuple[str, Sent]]:
    control = 0
    for value in VALUES:
        for _ in range(of_each):
            control += 10
            if (sent := _with_value(value, Pen(standard, dice, control))) is not None:
                yield value.name, sent
    for name, standards, made in ENVELOPES:
        for _ in range(of_each if standard in standards else 0):
            control += 10
            yield name, made(Pen(standard, dice, control))


def corpus(of_each: int = 4, seed: int = 7) -> list[Definition]:
    """Definitions with their files, `of_each` files for each class of dirt, standard and level."""
    dice = random.Random(seed)
    found: list[Definition] = []
    for standard in BOTH:
        for level in ("message", "line"):
            options = {"message": _MESSAGE[standard], "level": level}
            one = Definition("edi", "*.edi", options, fields={}, keys=[])
            for name, sent in _made(standard, of_each, dice):
                truth = _truth(sent, standard, level)
                file = DirtyFile(f"{len(one.files):05d}.edi", f"{standard} {level}: {name}", sent.body, truth)
                one.files.append(file)
            found.append(one)
    return found


def classes() -> int:
    """How many classes of dirt there are: those of values, and those of messages and envelopes."""
    return len(VALUES) + len(ENVELOPES)
