"""Normalisers and rules of the standard, run by the engine: what people and systems write, and what it must become."""

from __future__ import annotations

from typing import Any

import pytest
from datong_platform.engine import query
from datong_platform.settings import Settings
from datong_platform.standard.normalise import NORMALISERS, normalise, typed
from datong_platform.standard.sql_text import literal

NORMALISED: dict[str, list[tuple[str | None, Any]]] = {
    "blank_to_null": [("  a b ", "a b"), ("   ", None), ("", None), (None, None)],
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
    "without_zeros": [("0000004711", "4711"), ("000", None), ("A01", "A01"), (" 07 ", "7")],
    "material_number": [("000000000000001234", "1234"), ("fg-100", "FG-100"), ("00A1", "00A1"), ("  ", None)],
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
    "flag": [("X", True), ("  ", False), (None, False), ("01", True)],
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
