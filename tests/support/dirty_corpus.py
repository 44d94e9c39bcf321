"""A corpus of dirty records with known truth: what three systems send of the same parties, materials and orders.

`corpus()` gives records in a contract's field names, as a part delivers them. Of each it knows the dirt, and what must
become of it: the value that silver must hold, and the rule that must tell of it. Nothing of the standard's own code is
used to know that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

SYSTEMS = {"customer": ("erp", "crm", "tryton"), "sales_order_item": ("erp", "tryton", "manual")}
"""Who sends each entity, each with codes of its own; `manual` is what people enter by hand."""


@dataclass(frozen=True)
class Dirt:
    """One class of dirt in one field.

    `spoil` makes the value as sent from a clean one. `becomes` gives what silver must hold from the clean value and the
    one sent; none is the clean value. `rule` must tell of it, where it cannot be mended; `withholds` says whether the
    row must stay out of silver then.
    """

    name: str
    entity: str
    field: str
    spoil: Callable[[Any], str | None]
    becomes: Callable[[Any, str | None], Any] | None = None
    rule: str | None = None
    withholds: bool = False
    clean: Callable[[random.Random], Any] | None = None
    """A clean value that this dirt needs, in place of the record's own."""


@dataclass
class Record:
    """A record as sent, and what must become of it."""

    entity: str
    system: str
    key: str
    dirt: str
    sent: dict[str, str | None]
    expected: dict[str, Any] = field(default_factory=dict[str, Any])
    failures: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Field and rule."""
    is_withheld: bool = False


def _full_width(text: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


def credit_code(dice: random.Random) -> str:
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    body = (
        "91"
        + "".join(dice.choice("0123456789") for _ in range(6))
        + "MA"
        + "".join(dice.choice(alphabet) for _ in range(7))
    )
    total = sum(alphabet.index(letter) * 3**place for place, letter in enumerate(body))
    return body + alphabet[-total % 31]


def _other(letter: str) -> str:
    return "1" if letter != "1" else "2"


def _mobile(dice: random.Random) -> str:
    return "+861" + dice.choice("3456789") + "".join(dice.choice("0123456789") for _ in range(9))


def _swap(text: str, first: int, second: int) -> str:
    letters = list(text)
    letters[first], letters[second] = letters[second], letters[first]
    return "".join(letters)


def _excel(day: date) -> str:
    return str((day - date(1899, 12, 30)).days)


def _grouped(value: Decimal) -> str:
    return f"{value:,}"


def _empty(_clean: Any, _sent: str | None) -> Any:
    return None


def _as_sent(_clean: Any, sent: str | None) -> Any:
    return sent


def _negative(clean: Any, _sent: str | None) -> Any:
    return -clean


def _place(dice: random.Random) -> str:
    return dice.choice(("上海", "苏州", "宁波", "东莞"))


# fmt: off
DIRT: tuple[Dirt, ...] = (
    # names
    Dirt("blanks around", "customer", "customer_name", lambda v: f"  {v} "),
    Dirt("a name that is blank", "customer", "customer_name", lambda _: "   ", _empty, "required", True),
    Dirt("no name at all", "customer", "customer_name", lambda _: None, _empty, "required", True),
    Dirt("a placeholder in Latin", "customer", "customer_name", lambda _: "N/A", _as_sent, "not_placeholder", True),
    Dirt("a placeholder in Chinese", "customer", "customer_name", lambda _: "暂无", _as_sent, "not_placeholder", True),
    Dirt("a spreadsheet's error", "customer", "customer_name", lambda _: "#REF!", _as_sent, "not_placeholder", True),
    Dirt("a test record", "customer", "customer_name", lambda _: "测试", _as_sent, "not_placeholder", True),
    Dirt("a replacement character", "customer", "customer_name",
         lambda v: f"{v[:2]}\ufffd{v[3:]}", _as_sent, "readable_text"),
    Dirt("UTF-8 read as GBK", "customer", "customer_name", lambda v: f"锟斤拷{v[-4:]}", _as_sent, "readable_text"),
    Dirt("UTF-8 read as Latin-1", "customer", "customer_name",
         lambda v: v.encode().decode("latin-1"), _as_sent, "readable_text",
         clean=lambda _: "Müller Präzision GmbH"),
    Dirt("a control character", "customer", "customer_name", lambda v: f"{v}\u0007", _as_sent, "readable_text"),
    Dirt("a key that is missing", "customer", "customer_id", lambda _: None, _empty, "required", True),
    Dirt("a padded key", "customer", "customer_id", lambda v: v.zfill(10)),
    Dirt("a key of zeros only", "customer", "customer_id", lambda _: "0000000000", _empty, "required", True),
    # credit codes
    Dirt("a credit code in small letters", "customer", "credit_code", lambda v: v.lower()),
    Dirt("a credit code in full width", "customer", "credit_code", _full_width),
    Dirt("a credit code in groups", "customer", "credit_code", lambda v: f"{v[:4]} {v[4:8]} {v[8:]}"),
    Dirt("a credit code with a zero-width space", "customer", "credit_code", lambda v: f"{v[:9]}\u200b{v[9:]}"),
    Dirt("a wrong check character", "customer", "credit_code", lambda v: v[:-1] + _other(v[-1]), _empty, "credit_code"),
    Dirt("two characters swapped", "customer", "credit_code", lambda v: _swap(v, 3, 7), _empty, "credit_code",
         clean=lambda _: "91350100M000100Y43"),
    Dirt("a credit code cut off", "customer", "credit_code", lambda v: v[:-1], _empty, "credit_code"),
    Dirt("a letter that credit codes lack", "customer", "credit_code",
         lambda v: v[:8] + "O" + v[9:], _empty, "credit_code"),
    Dirt("a number of the old kind", "customer", "credit_code", lambda _: "310115600000000", _empty, "credit_code"),
    # telephones
    Dirt("a mobile number in groups", "customer", "phone", lambda v: f"{v[3:6]} {v[6:10]} {v[10:]}"),
    Dirt("a mobile number with hyphens", "customer", "phone", lambda v: f"+86-{v[3:6]}-{v[6:10]}-{v[10:]}"),
    Dirt("a mobile number in full width", "customer", "phone", lambda v: _full_width(v[3:])),
    Dirt("0086 before the number", "customer", "phone", lambda v: f"0086{v[3:]}"),
    Dirt("86 without the plus", "customer", "phone", lambda v: v[1:]),
    Dirt("a landline with brackets", "customer", "phone", lambda v: f"（0{v[3:5]}）{v[5:9]}－{v[9:]}",
         clean=lambda d: f"+8621{d.randint(20000000, 69999999)}"),
    Dirt("an extension", "customer", "phone", lambda v: f"0{v[3:5]}-{v[5:13]}转{v.rpartition('=')[2]}",
         clean=lambda d: f"+8621{d.randint(20000000, 69999999)};ext={d.randint(100, 999)}"),
    Dirt("an extension behind a hyphen", "customer", "phone", lambda v: f"0{v[3:6]}-{v[6:14]}-{v.rpartition('=')[2]}",
         clean=lambda d: f"+86512{d.randint(20000000, 69999999)};ext={d.randint(100, 999)}"),
    Dirt("a digit too few", "customer", "phone", lambda v: v[:-1], _empty, "telephone"),
    Dirt("a digit too many", "customer", "phone", lambda v: v + "0", _empty, "telephone"),
    Dirt("two numbers in one field", "customer", "phone", lambda v: f"{v[3:]}/{v[3:]}", _empty, "telephone"),
    Dirt("a letter O for a zero", "customer", "phone", lambda v: v[3:-1] + "O", _empty, "telephone"),
    Dirt("words for a number", "customer", "phone", lambda _: "见名片", _empty, "telephone"),
    # e-mail
    Dirt("an address in capitals", "customer", "email", lambda v: v.upper()),
    Dirt("an address in full width", "customer", "email", _full_width),
    Dirt("a mailto", "customer", "email", lambda v: f"mailto:{v}"),
    Dirt("an address without at", "customer", "email", lambda v: v.replace("@", "."), _empty, "email"),
    Dirt("two addresses", "customer", "email", lambda v: f"{v};{v}", _empty, "email"),
    Dirt("two dots", "customer", "email", lambda v: v.replace("@", "@.."), _empty, "email"),
    # dates
    Dirt("eight digits", "customer", "created_on", lambda v: f"{v:%Y%m%d}"),
    Dirt("slashes", "customer", "created_on", lambda v: f"{v.year}/{v.month}/{v.day}"),
    Dirt("Chinese characters in a date", "customer", "created_on", lambda v: f"{v.year}年{v.month}月{v.day}日"),
    Dirt("a date in full width", "customer", "created_on", lambda v: _full_width(v.isoformat())),
    Dirt("dots, day first", "customer", "created_on", lambda v: f"{v:%d.%m.%Y}"),
    Dirt("an Excel serial", "customer", "created_on", _excel),
    Dirt("an Excel serial as a float", "customer", "created_on", lambda v: f"{_excel(v)}.0"),
    Dirt("OData's milliseconds", "customer", "created_on",
         lambda v: f"/Date({(v - date(1970, 1, 1)).days * 86400000})/"),
    Dirt("a date with midnight", "customer", "created_on", lambda v: f"{v.isoformat()}T00:00:00Z"),
    Dirt("SAP's zero date", "customer", "created_on", lambda _: "00000000", _empty),
    Dirt("MySQL's zero date", "customer", "created_on", lambda _: "0000-00-00", _empty),
    Dirt("a day that the month lacks", "customer", "created_on", lambda _: "2026-02-30", _empty, "type"),
    Dirt("a month that the year lacks", "customer", "created_on", lambda _: "20261301", _empty, "type"),
    Dirt("a date that can be read in two ways", "customer", "created_on", lambda _: "03/04/2026", _empty, "type"),
    Dirt("a date with a time of day", "customer", "created_on", lambda v: f"{v.isoformat()}T23:15:00", _empty, "type"),
    Dirt("a year of two digits", "customer", "created_on", lambda v: f"{v:%y-%m-%d}", _empty, "type"),
    Dirt("the end of time", "customer", "created_on", lambda _: "9999-12-31", _empty, "plausible_date"),
    Dirt("the beginning of time", "customer", "created_on", lambda _: "1900-01-01", _empty, "plausible_date"),
    # flags
    Dirt("an X for yes", "customer", "is_blocked", lambda _: "X", clean=lambda _: True),
    Dirt("是 for yes", "customer", "is_blocked", lambda _: "是", clean=lambda _: True),
    Dirt("N for no", "customer", "is_blocked", lambda _: "N", clean=lambda _: False),
    Dirt("a word that is neither yes nor no", "customer", "is_blocked", lambda _: "maybe", _empty, "type"),
    # quantities
    Dirt("thousands' commas", "sales_order_item", "quantity",
         _grouped, clean=lambda d: Decimal(d.randint(1000, 99999))),
    Dirt("a quantity in full width", "sales_order_item", "quantity", lambda v: _full_width(str(v))),
    Dirt("a plus sign", "sales_order_item", "quantity", lambda v: f"+{v}"),
    Dirt("a quantity with blanks", "sales_order_item", "quantity", lambda v: f" {v}\u00a0"),
    Dirt("SAP's trailing minus", "sales_order_item", "quantity", lambda v: f"{v}-", _negative, "positive", True),
    Dirt("a quantity of zero", "sales_order_item", "quantity", lambda _: "0", lambda *_: Decimal(0), "positive", True),
    Dirt("a decimal comma", "sales_order_item", "quantity", lambda _: "12,5", _empty, "type", True),
    Dirt("a word for a number", "sales_order_item", "quantity", lambda _: "若干", _empty, "type", True),
    Dirt("a number with its unit", "sales_order_item", "quantity", lambda v: f"{v}kg", _empty, "type", True),
    Dirt("a number of ten thousands", "sales_order_item", "quantity", lambda _: "3.5万", _empty, "type", True),
    Dirt("a number too large", "sales_order_item", "quantity", lambda _: "9999999999999", _empty, "type", True),
    Dirt("an exponent", "sales_order_item", "quantity", lambda _: "1.2E+3", _empty, "type", True),
    Dirt("two points", "sales_order_item", "quantity", lambda _: "1.2.3", _empty, "type", True),
    Dirt("more decimals than the field has", "sales_order_item", "quantity", lambda v: f"{v}.12345",
         lambda v, _: v + Decimal("0.123"), "decimals", clean=lambda d: Decimal(d.randint(1, 99))),
    Dirt("zeros after the last decimal", "sales_order_item", "quantity", lambda v: f"{v}.5000000",
         lambda v, _: v + Decimal("0.5"), clean=lambda d: Decimal(d.randint(1, 99))),
    # amounts
    Dirt("a yuan sign", "sales_order_item", "amount", lambda v: f"¥{v}"),
    Dirt("a yuan sign in full width", "sales_order_item", "amount", lambda v: f"￥{v}"),
    Dirt("an accountant's brackets", "sales_order_item", "amount", lambda v: f"({v})", _negative),
    Dirt("a minus of typography", "sales_order_item", "amount", lambda v: f"−{v}", _negative),
    Dirt("a credit note's trailing minus", "sales_order_item", "amount", lambda v: f"{_grouped(v)}-", _negative),
    Dirt("an amount that is a word", "sales_order_item", "amount", lambda _: "面议", _empty, "type"),
    # codes
    Dirt("a unit that nobody knows", "sales_order_item", "quantity_unit", lambda _: "XX", _empty, "known_unit", True),
    Dirt("no unit", "sales_order_item", "quantity_unit", lambda _: None, _empty, "known_unit", True),
    Dirt("a currency that nobody knows", "sales_order_item", "currency",
         lambda _: "XXX", _empty, "known_currency", True),
    Dirt("a state that nobody knows", "sales_order_item", "status", lambda _: "Q7", _empty, "known_document_status"),
    # references
    Dirt("a parent that never came", "sales_order_item", "sales_order_id",
         lambda _: "9999999", _as_sent, "refers_to_sales_order", True),
    Dirt("a material that nobody knows", "sales_order_item", "material_id",
         lambda _: "FG-404", _as_sent, "refers_to_material", True),
    Dirt("a parent's number with padding", "sales_order_item", "sales_order_id", lambda v: v.zfill(10)),
    Dirt("a material in small letters", "sales_order_item", "material_id", lambda v: v.lower()),
    Dirt("no parent", "sales_order_item", "sales_order_id", lambda _: None, _empty, "required", True),
)
# fmt: on

CODES = {
    "erp": {"quantity_unit": "ST", "currency": "RMB", "status": "A"},
    "tryton": {"quantity_unit": "u", "currency": "CNY", "status": "confirmed"},
    "manual": {"quantity_unit": "H87", "currency": "CNY", "status": "OPEN"},
}
"""How each system writes the same codes."""
MEANING = {"quantity_unit": "H87", "currency": "CNY", "status": "OPEN"}
ORDERS = [str(4711 + place) for place in range(40)]
MATERIALS = [f"FG-{100 + place}" for place in range(40)]


def corpus(rows_of_each: int = 36, seed: int = 7) -> list[Record]:
    """Records of every class of dirt, `rows_of_each` of them over the three systems, and as many clean ones again."""
    dice = random.Random(seed)
    made = list(_made(rows_of_each, dice))
    dice.shuffle(made)
    return made


def _made(rows_of_each: int, dice: random.Random) -> Iterator[Record]:
    for place in range(len(DIRT) * rows_of_each // 2):
        entity = "customer" if place % 2 else "sales_order_item"
        yield _clean(entity, SYSTEMS[entity][place % 3], f"clean/{place}", dice)[0]
    for number, dirt in enumerate(DIRT):
        for place in range(rows_of_each):
            record, values = _clean(dirt.entity, SYSTEMS[dirt.entity][place % 3], f"{number}/{place}", dice)
            value = dirt.clean(dice) if dirt.clean else values[dirt.field]
            sent = dirt.spoil(value)
            record.dirt = dirt.name
            record.sent[dirt.field] = sent
            record.expected[dirt.field] = dirt.becomes(value, sent) if dirt.becomes else value
            if dirt.field in MEANING and dirt.becomes is None:
                record.expected[dirt.field] = MEANING[dirt.field]
            if dirt.rule:
                record.failures.add((dirt.field, dirt.rule))
                record.is_withheld = dirt.withholds
            if dirt.field == "quantity" and record.expected["quantity"] is None:
                record.failures.add(("quantity", "positive"))
            yield record


def _clean(entity: str, system: str, key: str, dice: random.Random) -> tuple[Record, dict[str, Any]]:
    if entity == "customer":
        values: dict[str, Any] = {
            "customer_id": str(dice.randint(1_000_000, 9_999_999)),
            "customer_name": f"{_place(dice)}{dice.choice('华兴瑞德恒')}{dice.choice('达泰川丰')}机械有限公司",
            "credit_code": credit_code(dice),
            "phone": _mobile(dice),
            "email": f"sales{dice.randint(1, 9999)}@example.com",
            "created_on": date(2015, 1, 1) + timedelta(days=dice.randint(0, 4000)),
            "is_blocked": dice.random() < 0.1,
        }
    else:
        values = {
            "sales_order_id": dice.choice(ORDERS),
            "sales_order_item_id": str(dice.randint(1, 99) * 10),
            "material_id": dice.choice(MATERIALS),
            "quantity": Decimal(dice.randint(1, 99999)) / 8,
            "amount": Decimal(dice.randint(100, 9_999_999)) / 100,
            **CODES[system],
        }
    sent = {name: _written(value) for name, value in values.items()}
    expected = {**values, **{name: MEANING[name] for name in values if name in MEANING}}
    return Record(entity, system, key, "", sent, expected), values


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)
