"""Normalisers and rules of the standard, run by the engine: what people and systems write, and what it must become."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from datong_platform.engine import query
from datong_platform.errors import ConfigurationError
from datong_platform.settings import Settings
from datong_platform.standard.normalise import NORMALISERS, normalise, typed
from datong_platform.standard.rules import DIMENSIONS, FAILURE_FIELDS, RULES, failures, is_withheld, rule
from datong_platform.standard.sql_text import literal

NORMALISED: dict[str, list[tuple[str | None, Any]]] = {
    "blank_to_null": [
        ("  a b ", "a b"),
        ("   ", None),
        ("", None),
        (None, None),
        ("昆山　设备\u3000", "昆山　设备"),
        ("\ufeff\u00a0\t上海\u2003\u2028\r\n", "上海"),
        ("\u3000\u200b\x0b", None),
        ("nut", "nut"),
        ("\\u3000 \\", "\\u3000 \\"),
    ],
    "half_width": [("ＡＢ１２（上海）＇＼　x", "AB12(上海)'\\ x"), ("~｜", "~|"), (None, None)],
    "clean_text": [
        ("  上海\t\n 机床\u00a0厂 ", "上海 机床 厂"),
        ("ab\u200bc\ufeff", "abc"),
        ("\u3000", None),
        ("O'Neil＆Co", "O'Neil&Co"),
    ],
    "compact": [(" 9135 0100ｍ000100ｙ43 ", "91350100M000100Y43"), ("\u200b", None)],
    "upper": [(" cny ", "CNY"), (" ", None)],
    "lower": [(" A@B ", "a@b")],
    "without_zeros": [("0000004711", "4711"), ("000", None), ("A01", "A01"), (" 07 ", "7"), ("\u300007\u00a0", "7")],
    "material_number": [
        ("000000000000001234", "1234"),
        ("fg-100", "FG-100"),
        ("00A1", "00A1"),
        ("  ", None),
        ("0012\u3000", "12"),
    ],
    "company_name_key": [
        ("上海 大通 机床（集团）有限公司", "上海大通机床"),
        ("ACME Co., Ltd.", "ACME"),
        ("有限公司", None),
    ],
    "phone_number": [
        ("138 0013 8000", "+8613800138000"),
        ("+86-138-0013-8000", "+8613800138000"),
        ("8613800138000", "+8613800138000"),
        ("008613800138000", "+8613800138000"),
        ("（021）5888－6666", "+862158886666"),
        ("021-58886666", "+862158886666"),
        ("0512-66668888-801", "+8651266668888;ext=801"),
        ("021-5888 6666 转 801", "+862158886666;ext=801"),
        ("021 58886666 Ext. 12", "+862158886666;ext=12"),
        ("+49 30 901820", "+4930901820"),
        ("0049 30 901820", "+4930901820"),
        ("无", None),
        ("13800138000/13900139000", "+861380013800013900139000"),
    ],
    "email": [(" ＬＩ.Ming@Example.COM ", "li.ming@example.com"), ("mailto:a@b.cn", "a@b.cn"), ("", None)],
    "digits_only": [("6 901234-567892", "6901234567892"), ("６９０１", "6901")],
    "number": [
        ("12.50", "12.50"),
        ("123.45-", "-123.45"),
        ("1,234,567.8", "1234567.8"),
        ("１２３．５", "123.5"),
        ("(1,200.00)", "-1200.00"),
        ("¥ 99", "99"),
        ("+5", "5"),
        (".5", ".5"),
        ("−7", "-7"),
        ("1,23", None),
        ("1.234,50", None),
        ("12,34,567", None),
        ("3.5万", None),
        ("1e5", None),
        ("--5", None),
        ("-", None),
        ("N/A", None),
        ("", None),
    ],
    "number_decimal_comma": [("1.234,50", "1234.50"), ("12,5-", "-12.5"), ("1,234.5", None), ("7", "7")],
    "date": [
        ("2024-01-05", "2024-01-05"),
        ("20240105", "2024-01-05"),
        ("2024/1/5", "2024-01-05"),
        ("2024.01.05", "2024-01-05"),
        ("2024年1月5日", "2024-01-05"),
        ("２０２４－０１－０５", "2024-01-05"),
        ("05.01.2024", "2024-01-05"),
        ("2024-01-05T00:00:00", "2024-01-05"),
        ("2024-01-05 00:00:00.000", "2024-01-05"),
        ("/Date(1704412800000)/", "2024-01-05"),
        ("45296", "2024-01-05"),
        ("45296.0", "2024-01-05"),
        ("99991231", "9999-12-31"),
        ("00000000", None),
        ("0000-00-00", None),
        ("2024-02-30", None),
        ("20241301", None),
        ("2024-01-05T23:59:00", None),
        ("/Date(1704412800001)/", None),
        ("05/01/2024", None),
        ("24-01-05", None),
        ("2024", None),
        ("tomorrow", None),
        ("\u00a02024-01-05\u200b", "2024-01-05"),
    ],
    "date_day_first": [("05/01/2024", "2024-01-05"), ("31-12-2024", "2024-12-31"), ("13/13/2024", None)],
    "date_month_first": [("01/05/2024", "2024-01-05"), ("13/01/2024", None), ("20240105", "2024-01-05")],
    "timestamp": [
        ("2024-01-05T09:30:00Z", "2024-01-05 09:30:00"),
        ("2024-01-05T09:30:00+08:00", "2024-01-05 01:30:00"),
        ("2024-01-05 09:30:00+0800", "2024-01-05 01:30:00"),
        ("2024/1/5 9:30", "2024-01-05 09:30:00"),
        ("20240105093000", "2024-01-05 09:30:00"),
        ("/Date(1704447000000+0000)/", "2024-01-05 09:30:00"),
        ("1704447000000", "2024-01-05 09:30:00"),
        ("45296.5", "2024-01-05 12:00:00"),
        ("2024-01-05", "2024-01-05 00:00:00"),
        ("00000000000000", None),
        ("2024-01-05T25:00:00Z", None),
        ("yesterday", None),
    ],
    "boolean": [("X", True), ("是", True), ("true", True), ("０", False), ("no", False), ("", None), ("maybe", None)],
    "flag": [("X", True), ("  ", False), ("\u3000", False), (None, False), ("01", True)],
}


@pytest.mark.parametrize("name", sorted(NORMALISERS))
def test_normaliser(services: Settings, name: str) -> None:
    samples = NORMALISED.get(name) or NORMALISED["compact"]
    normaliser = NORMALISERS[name]
    value = normalise([name], "value")
    if normaliser.result in {"date", "timestamp"}:
        value = f"cast({value} as string)"
    found = _each(value, [sample for sample, _ in samples])
    wrong = [
        f"{sample!r} became {got!r}, not {wanted!r}"
        for (sample, wanted), got in zip(samples, found, strict=True)
        if got != wanted
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("sql_type", "sample", "wanted"),
    [
        ("decimal(15,3)", "1,234.5-", "-1234.500"),
        ("decimal(15,3)", "1000000000000", None),
        ("int", "12.0", "12"),
        ("int", "12.5", None),
        ("int", "3000000000", None),
        ("date", "20240230", None),
        ("string", "x", "x"),
    ],
)
def test_typed(services: Settings, sql_type: str, sample: str, wanted: str | None) -> None:
    assert _each(f"cast({typed('value', sql_type)} as string)", [sample]) == [wanted]


def _each(expression: str, samples: list[str | None]) -> list[Any]:
    rows = ", ".join(
        f"({place}, {'cast(null as string)' if sample is None else literal(sample)})"
        for place, sample in enumerate(samples)
    )
    return query(
        f"select {expression} as found from (select * from values {rows} as samples (place, value)) order by place"
    )["found"].to_pylist()


def credit_code(seventeen: str) -> str:
    """A valid code of these 17 characters, worked out here by another road than in SQL."""
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    total = sum(alphabet.index(letter) * 3**place for place, letter in enumerate(seventeen))
    return seventeen + alphabet[(31 - total % 31) % 31]


def resident_id(seventeen: str) -> str:
    remainder = 0
    for digit in seventeen:
        remainder = (remainder + int(digit)) * 2 % 11
    return seventeen + "0123456789X"[(12 - remainder) % 11]


def gs1(body: str) -> str:
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(body)))
    return body + str(-total % 10)


_LONG = "x" * 41

BROKEN: dict[str, list[tuple[dict[str, Any], list[str | None], list[str | None]]]] = {
    # rule: parameters, values that keep it, values that break it
    "required": [({}, ["x"], [None])],
    "required_if": [({"condition": "true", "because": "b", "because_zh": "不可"}, ["x"], [None])],
    "required_with": [({"other": "'KGM'"}, ["x"], [None]), ({"other": "null"}, ["x", None], [])],
    "not_placeholder": [({}, ["上海", "nano", None], ["N/A", " 暂无 ", "-", "#REF!", "TBD", "null"])],
    "pattern": [({"pattern": "^[A-Z]{2}-[0-9]+$", "form": "AB-1"}, ["AB-12", None], ["ab-12", "AB-", ""])],
    "one_of": [({"values": ["A", "B"]}, ["A", None], ["C", "a"])],
    "known_code": [({"code_set": "unit", "source": "'XX'"}, ["KGM"], [None])],
    "code_in_force": [
        ({"code_set": "currency", "other": "date'2022-12-31'"}, ["HRK", "BGN", "CNY", None], []),
        ({"code_set": "currency", "other": "date'2023-01-01'"}, ["BGN", "CNY"], ["HRK"]),
        ({"code_set": "unit", "other": "date'2023-01-01'"}, ["KGM"], []),
    ],
    "max_length": [({"maximum": 40}, ["机" * 40, None], [_LONG])],
    "min_length": [({"minimum": 2}, ["机床", None], ["机"])],
    "readable_text": [({}, ["上海·机床 Ä é", None], ["ä¸Šæµ·ï¼Œ", "锟斤拷", "a\ufffdb", "a\u0007b", "Ã\u00a4"])],
    "telephone": [
        (
            {},
            ["+8613800138000", "+862158886666;ext=801", "+8651266668888", "+864008001234", "+4930901820", None],
            [
                "+8612345678901",
                "+86138001380",
                "+8613800138000;13900139000",
                "+861380013800013900139000",
                "+0123",
                "+86",
            ],
        )
    ],
    "email": [
        (
            {},
            ["a@b.cn", "li.ming+x@mail.example.com", None],
            [
                "a@b",
                "a b@c.cn",
                "@b.cn",
                "a..b@c.cn",
                "a@-b.cn",
                "a@b..cn",
                "a@b.c",
                "a.b.cn",
                "a@@b.cn",
                "a@b.cn;c@d.cn",
            ],
        )
    ],
    "postal_code_cn": [({}, ["200000", "010000", None], ["20000", "2000000", "900000", "20000O"])],
    "credit_code": [
        (
            {},
            ["91350100M000100Y43", credit_code("91310000607218231"), credit_code("9144030071526726X"), None],
            ["91350100M000100Y44", "91350100M000100Y4", "91350100I000100Y43", "19350100M000100Y43", ""],
        )
    ],
    "resident_id": [
        (
            {},
            ["11010519491231002X", resident_id("44030119900307123"), None],
            ["110105194912310021", "110105194902310020", "11010519491231002", "910105194912310020", ""],
        )
    ],
    "gtin": [
        (
            {},
            ["6901234567892", "96385074", "012345678905", gs1("1690123456789"), None],
            ["6901234567893", "690123456789", "69012345678A2", "9638507", ""],
        )
    ],
    "gln": [({}, [gs1("690123456001"), None], [gs1("69012345600")[:-1] + "x", "96385074", "6901234560017"])],
    "sscc": [({}, ["106141412345678908", gs1("36901234567890123"), None], ["106141412345678909", "1061414123456789"])],
    "positive": [({}, ["0.001"], ["0", "-1", None])],
    "not_negative": [({}, ["0", "5", None], ["-0.001"])],
    "minimum": [({"minimum": 1}, ["1", None], ["0.999"])],
    "maximum": [({"maximum": 100}, ["100", None], ["100.001"])],
    "range": [({"minimum": 0, "maximum": 1}, ["0", "1", None], ["1.001", "-0.001"])],
    "plausible_date": [({}, ["1990-01-01", "2024-02-29", None], ["1900-01-01", "9999-12-31"])],
    "compare": [
        (
            {"other": "date'2024-01-05'", "operator": ">=", "other_name": "a", "other_name_zh": "a"},
            ["2024-01-05", None],
            ["2024-01-04"],
        )
    ],
    "expression": [
        ({"holds": "value <> 'x'", "because": "b", "because_zh": "不可", "name": "no_x"}, ["y", None], ["x"])
    ],
    "unique": [({"occurrences": "2"}, [None], ["x"]), ({"occurrences": "1"}, ["x"], [])],
    "refers_to": [
        ({"entity": "material", "found": "null"}, [None], ["M1"]),
        ({"entity": "material", "found": "'M1'"}, ["M1"], []),
    ],
    "type": [
        (
            {"source": "value", "sql_type": "decimal(15,3)"},
            ["1", "1,000.5-", "", "  ", None],
            ["abc", "1,23", "9999999999999"],
        ),
        ({"source": "value", "sql_type": "date"}, ["20240105", "00000000", "0000-00-00", None], ["20240230", "n/a"]),
    ],
    "decimals": [
        ({"scale": 3, "source": "value"}, ["1.123", "1.1230000", "12", "1,000.5-", None], ["1.1234", "0.0001-"])
    ],
    "not_after_batch": [
        ({"batch_at": "timestamp'2024-01-05 00:00:00'"}, ["2024-01-05", None], ["2024-01-07", "2099-01-01"])
    ],
}
_TYPES = {
    **dict.fromkeys(("positive", "not_negative", "minimum", "maximum", "range"), "decimal(15,3)"),
    **dict.fromkeys(("plausible_date", "compare", "not_after_batch"), "date"),
}


@pytest.mark.parametrize("name", sorted(RULES))
def test_rule(services: Settings, name: str) -> None:
    wrong: list[str] = []
    for params, keeping, breaking in BROKEN[name]:
        of_type = str(params.get("sql_type", _TYPES.get(name, "string")))
        expression = "value" if of_type == "string" else f"({typed('value', of_type)})"
        failure = RULES[name].failure("amount", expression, params, title_zh="金额", withholds=False)
        found = _each(f"to_json({failure.element})", [*keeping, *breaking])
        wrong += [
            f"{value!r} was refused: {got}" for value, got in zip(keeping, found, strict=False) if got is not None
        ]
        for value, got in zip(breaking, found[len(keeping) :], strict=True):
            if got is None:
                wrong.append(f"{value!r} was let pass")
                continue
            told = json.loads(got)
            assert tuple(told) == FAILURE_FIELDS or (value is None and set(told) < set(FAILURE_FIELDS))
            assert told["field"] == "amount"
            assert told["rule"] == RULES[name].named(params)
            assert told["is_withheld"] is False
            assert re.search(r"[一-龥]", told["reason_zh"])
            assert not re.search(r"[{}]", told["reason"] + told["reason_zh"])
    assert not wrong


def test_a_row_that_keeps_every_rule_has_no_failures_and_one_that_breaks_two_tells_both(services: Settings) -> None:
    checks = [
        rule("required").failure("a", "value"),
        rule("max_length").failure("a", "value", {"maximum": 2}, withholds=False),
        rule("one_of").failure("b", "value", {"values": ["ok", "fine"]}),
    ]
    told = f"to_json(struct({failures(checks)} as f))"
    found = [json.loads(row).get("f") for row in _each(told, ["ok", "fine", "other", None])]
    assert [[failure["rule"] for failure in row or []] for row in found] == [
        [],
        ["max_length"],
        ["max_length", "one_of"],
        ["required"],
    ]
    assert found[0] is None
    assert _each(is_withheld(f"({failures(checks)})"), ["ok", "fine", "other", None]) == [False, False, True, True]
    assert _each(is_withheld(f"({failures([])})"), ["ok"]) == [False]


def test_every_rule_belongs_to_a_dimension_and_names_itself_in_both_languages() -> None:
    for kind in RULES.values():
        assert kind.dimension in DIMENSIONS
        assert re.search(r"[一-龥]", kind.title_zh)
    assert {kind.dimension for kind in RULES.values()} == set(DIMENSIONS) - {"accessibility"}


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("maximum", {}, "lacks maximum"),
        ("required", {"maximum": 3}, "does not know maximum"),
        (
            "compare",
            {"other": "b", "operator": "~", "other_name": "b", "other_name_zh": "b"},
            "does not know the operator ~",
        ),
    ],
)
def test_a_rule_that_is_written_wrongly_is_refused_by_name(name: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        RULES[name].failure("amount", "amount", params)
    with pytest.raises(ConfigurationError, match="rule nothing_such"):
        rule("nothing_such")
