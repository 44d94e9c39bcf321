"""Profiles: exact where they say so, close where they estimate, and bounded however much comes."""

from __future__ import annotations

import random
import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datong_ingestion.discovery.profile import EntityProfile, FieldProfile, KeyProfile, Profiler, hashes
from datong_ingestion.discovery.profile_page import html, markdown, rate
from datong_ingestion.source import Description


def profiled(*pages: dict[str, list[Any]], schema: pa.Schema, keys: tuple[str, ...] = (), **options: Any) -> Profiler:
    profiler = Profiler(Description(schema, keys=keys), **options)
    for page in pages:
        profiler.add(pa.table(page, schema=schema))
    return profiler


def fields(profiler: Profiler) -> dict[str, FieldProfile]:
    return {item.name: item for item in profiler.field_profiles()}


def keys(profiler: Profiler) -> dict[tuple[str, ...], KeyProfile]:
    return {item.fields: item for item in profiler.key_profiles()}


MIXED = pa.schema(
    [
        ("text", pa.string()),
        ("amount", pa.decimal128(15, 3)),
        ("number", pa.int64()),
        ("rate", pa.float64()),
        ("active", pa.bool_()),
        ("moment", pa.timestamp("us", "UTC")),
        ("raw", pa.binary()),
    ]
)


def test_nulls_blanks_ranges_and_frequent_values_are_counted_over_pages() -> None:
    def page(*rows: tuple[Any, ...]) -> dict[str, list[Any]]:
        return {name: [row[at] for row in rows] for at, name in enumerate(MIXED.names)}

    first = datetime(2026, 1, 1, tzinfo=UTC)
    last = datetime(2026, 6, 1, tzinfo=UTC)
    found = fields(
        profiled(
            page(("上海", Decimal("-1.500"), 5, 0.5, True, last, b"\x00")),
            page(
                ("  ", None, 7, float("nan"), False, first, None),
                ("上海", Decimal("10.25"), 5, 2.5, None, None, b"\x00"),
            ),
            schema=MIXED,
        )
    )
    assert {name: item.nulls for name, item in found.items()} == {
        **dict.fromkeys(MIXED.names, 0),
        **dict.fromkeys(["amount", "active", "moment", "raw"], 1),
    }
    text = found["text"]
    assert (text.empty, text.shortest, text.longest, text.distinct) == (1, 2, 2, 2)
    assert text.frequent == [("上海", 2), ("  ", 1)]
    assert (found["amount"].minimum, found["amount"].maximum) == (Decimal("-1.500"), Decimal("10.250"))
    assert found["amount"].mean == pytest.approx(4.375)
    assert (found["rate"].minimum, found["rate"].maximum) == (0.5, 2.5)
    assert (found["moment"].minimum, found["moment"].maximum) == (first, last)
    assert found["active"].frequent == [(True, 1), (False, 1)] or found["active"].distinct == 2
    assert all(item.distinct_exact for item in found.values())


def test_a_rare_null_is_never_told_as_none() -> None:
    item = FieldProfile("a", "string", rows=1_000_000, nulls=1, empty=0, distinct=9, distinct_exact=True)
    assert rate(item) == "< 0.1 %"


@pytest.mark.parametrize("true_count", [100, 4096, 50_000, 400_000])
def test_distinct_values_are_exact_when_few_and_close_when_many(true_count: int) -> None:
    schema = pa.schema([("code", pa.string())])
    profiler = Profiler(Description(schema))
    values = [f"M-{number:07d}" for number in range(true_count)]
    for start in range(0, true_count, 20_000):
        part = values[start : start + 20_000]
        profiler.add(pa.table({"code": part + part[: len(part) // 2]}, schema=schema))
    (found,) = profiler.field_profiles()
    assert found.distinct_exact is (true_count <= 4096)
    assert found.distinct == pytest.approx(true_count, rel=0 if found.distinct_exact else 0.06)


def test_a_repeat_a_million_rows_later_disproves_a_key() -> None:
    schema = pa.schema([("id", pa.int64()), ("other", pa.int64())])
    profiler = Profiler(Description(schema, keys=("id",)))
    for start in range(0, 1_000_000, 50_000):
        numbers = np.arange(start, start + 50_000)
        profiler.add(pa.table({"id": numbers, "other": numbers + 7}, schema=schema))
    assert keys(profiler)["id",].unique
    assert keys(profiler)["other",].unique
    profiler.add(pa.table({"id": [3], "other": [-1]}, schema=schema))
    found = keys(profiler)
    assert (found["id",].unique, found["id",].repeated, found["id",].compared) == (False, 1, 1_000_001)
    assert found["other",].unique


def test_a_key_of_several_fields_is_found_and_a_false_one_is_not() -> None:
    schema = pa.schema([("plant", pa.string()), ("item", pa.int32()), ("words", pa.string())])
    rows = [(f"P{plant}", item, f"w{(plant * 7 + item) % 5}") for plant in range(20) for item in range(20)]
    random.Random(4).shuffle(rows)
    profiler = profiled({name: [row[at] for row in rows] for at, name in enumerate(schema.names)}, schema=schema)
    assert list(keys(profiler)) == [("plant", "item")]
    profiler.add(pa.table({"plant": ["P3"], "item": [4], "words": ["new"]}, schema=schema))
    assert keys(profiler) == {}


def test_a_declared_key_that_is_null_or_repeated_is_told_not_dropped() -> None:
    schema = pa.schema([("id", pa.string())])
    found = keys(profiled({"id": ["a", "a", None]}, {"id": ["a"]}, schema=schema, keys=("id",)))
    key = found["id",]
    assert (key.declared, key.unique, key.repeated, key.nulls) == (True, False, 2, 1)


def test_where_memory_for_keys_ends_the_declared_one_goes_on() -> None:
    schema = pa.schema([("id", pa.int64()), ("also", pa.int64())])
    profiler = Profiler(Description(schema, keys=("id",)), key_bytes=600_000)
    for start in range(0, 60_000, 10_000):
        numbers = np.arange(start, start + 10_000)
        profiler.add(pa.table({"id": numbers, "also": numbers}, schema=schema))
    found = keys(profiler)
    assert found["id",].compared == 60_000
    assert found["also",].compared < 60_000


def test_memory_does_not_grow_with_the_rows() -> None:
    schema = pa.schema([("code", pa.string()), ("value", pa.float64())])
    profiler = Profiler(Description(schema), key_bytes=2**20)

    def feed(first: int, pages: int) -> None:
        for number in range(first, first + pages):
            codes = [f"C{number}-{row % 9000}" for row in range(10_000)]
            profiler.add(pa.table({"code": codes, "value": np.arange(10_000.0)}, schema=schema))

    feed(0, 5)
    tracemalloc.start()
    feed(5, 5)
    low, _ = tracemalloc.get_traced_memory()
    feed(10, 20)
    high, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert profiler.rows == 300_000
    assert high - low < 500_000


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2026-01-31", "2026-02-28"], "date"),
        (["2026-01-31", "2026-02-30"], ""),
        (["2026-01-31T10:00:00Z", "2026-01-31T10:00:00.123+08:00"], "timestamp"),
        (["2026-01-31T10:00:00", "2026-01-31 10:00"], "timestamp_ntz"),
        (["2026-01-31T10:00:00", "2026-01-31T10:00:00Z"], ""),
        (["0010", "20"], "digits"),
        (["1.5", "-2"], "number"),
        (["1.5", "", "2"], ""),
    ],
)
def test_texts_are_recognised_only_when_all_of_them_fit(texts: list[str], expected: str) -> None:
    schema = pa.schema([("text", pa.string())])
    (found,) = profiled({"text": [*texts, None]}, schema=schema).field_profiles()
    assert found.looks_like == expected


def test_nested_values_are_counted_and_are_no_key() -> None:
    schema = pa.schema([("id", pa.int64()), ("lines", pa.list_(pa.struct([("part", pa.string())])))])
    found = profiled({"id": [1, 2, 3], "lines": [[{"part": "a"}], [{"part": "a"}], None]}, schema=schema)
    lines = fields(found)["lines"]
    assert (lines.nulls, lines.distinct, lines.frequent) == (1, 1, [('[{"part": "a"}]', 2)])
    assert list(keys(found)) == [("id",)]


def test_hashes_are_the_same_wherever_a_value_stands() -> None:
    one = hashes(pa.chunked_array([["a", None], ["b", "a"]]))
    other = hashes(pa.chunked_array([["b", "a", None]]))
    assert one[0] == one[3] == other[1]
    assert (one[1], one[2]) == (other[2], other[0])
    assert len({int(value) for value in one}) == 3


def page_of(**changes: Any) -> EntityProfile:
    profiler = profiled(
        {"name": ["<b>Zhang & 'Li'</b>"] * 3, "note": [None, None, "x"]},
        schema=pa.schema([("name", pa.string()), ("note", pa.string())]),
    )
    given: dict[str, Any] = {
        "system": "crm",
        "entity": "contact",
        "address": "public.contact",
        "rows": 3,
        "complete": True,
        "rescued": 0,
        "refused": 0,
        "fields": profiler.field_profiles(),
        "keys": profiler.key_profiles(),
        "taken_at": datetime(2026, 1, 1, tzinfo=UTC),
        "seconds": 0.1,
    }
    return EntityProfile(**{**given, **changes})


def test_a_page_escapes_what_the_data_holds() -> None:
    page = html(page_of())
    assert "<b>Zhang" not in page
    assert "&lt;b&gt;Zhang &amp; &#x27;Li&#x27;" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_without_values_no_value_of_the_data_is_told() -> None:
    profile = page_of()
    assert "Zhang" in html(profile)
    assert "Zhang" not in html(profile, values=False)
    assert "Zhang" not in str(profile.as_dict(values=False))
    assert "Zhang" not in markdown(profile), "Dagster's metadata is read by more people"


def test_a_read_that_was_cut_short_says_so() -> None:
    assert "Only the first rows were read" in html(page_of(complete=False))
