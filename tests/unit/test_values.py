"""Values as systems send them, in the types that were agreed."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion.http import HttpClient, address, retry_after
from datong_ingestion.json_pages import JsonReader
from datong_ingestion.protocols import odata_v2
from datong_ingestion.values import MisfitError, Number, Rescue, column, converter, to_time
from datong_platform.lake import landing
from datong_platform.lake.columns import ContentHash, last_of_each, parse_type, row_keys, widens
from datong_platform.lake.statistics import delta_statistics


@pytest.mark.parametrize(
    ("kind", "sent", "kept"),
    [
        ("decimal(13,3)", "1234.500", Decimal("1234.500")),
        ("decimal(13,3)", "1.50000", Decimal("1.5")),
        ("decimal(5,0)", "1E+3", Decimal("1000")),
        ("decimal(38,0)", Number("9" * 38), Decimal("9" * 38)),
        ("long", "9007199254740993", 9007199254740993),
        ("long", Number("5.0"), 5),
        ("double", "1.5E+02", 150.0),
        ("timestamp", "/Date(1700000000000+0480)/", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("timestamp", "/Date(-62135596800000)/", datetime(1, 1, 1, tzinfo=UTC)),
        ("timestamp_ntz", "/Date(1700000000000)/", datetime(2023, 11, 14, 22, 13, 20)),
        ("timestamp", "2026-02-29T08:00:00Z", None),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("date", "/Date(1709164800000)/", date(2024, 2, 29)),
        ("string", Number("1.10"), "1.10"),
        ("string", {"a": [Number("1"), None]}, '{"a":[1,null]}'),
        ("boolean", "true", True),
        ("decimal(13,3)", "1.2345", None),
        ("decimal(13,3)", "12345678901", None),
        ("decimal(13,3)", "NaN", None),
        ("decimal(13,3)", "", None),
        ("decimal(13,3)", True, None),
        ("integer", Number("2147483648"), None),
        ("long", Number("1.5"), None),
        ("timestamp", "2024-01-01T00:00:00", None),
        ("timestamp_ntz", "2024-01-01T00:00:00+08:00", None),
        ("date", "2023-02-29", None),
        ("date", "0000-00-00", None),
        ("boolean", Number("1"), None),
        ("binary", "not base64!", None),
        ("string", "\ud800", None),
    ],
)
def test_a_value_is_kept_exactly_or_rescued(kind: str, sent: Any, kept: Any) -> None:
    rescue = Rescue()
    array = column("f", parse_type(kind), [sent, None], converter(parse_type(kind)), rescue)
    assert array.to_pylist() == [kept, None]
    rescued = rescue.column(2)
    assert (rescued is None) == (kept is not None)
    if rescued is not None:
        assert "f" in json.loads(rescued[0].as_py())
        assert rescued[1].as_py() is None


def test_one_bad_value_leaves_the_others_in_place() -> None:
    rescue = Rescue()
    kind = parse_type("long")
    assert column("n", kind, [Number("1"), "x", Number("3")], converter(kind), rescue).to_pylist() == [1, None, 3]


@pytest.mark.parametrize(
    ("sent", "text"),
    [("PT13H05M07S", "13:05:07"), ("PT0H", "00:00:00"), ("PT7.5S", "00:00:07.5"), ("P1D", None), ("", None)],
)
def test_edm_time(sent: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(MisfitError):
            to_time(sent)
    else:
        assert to_time(sent) == text


@pytest.mark.parametrize(
    ("old", "new", "wider"),
    [
        ("integer", "long", True),
        ("long", "integer", False),
        ("decimal(13,3)", "decimal(15,3)", True),
        ("decimal(13,3)", "decimal(13,5)", False),
        ("decimal(13,3)", "decimal(15,5)", True),
        ("integer", "decimal(10,0)", True),
        ("integer", "decimal(9,0)", False),
        ("long", "double", False),
        ("float", "double", True),
        ("date", "timestamp_ntz", True),
        ("date", "timestamp", False),
        ("string", "long", False),
    ],
)
def test_a_type_widens_only_where_no_value_changes(old: str, new: str, wider: bool) -> None:
    assert widens(parse_type(old), parse_type(new)) is wider


def test_the_fast_and_the_exact_path_read_a_page_alike() -> None:
    schema = pa.schema(
        [("s", pa.string()), ("d", pa.decimal128(9, 2)), ("t", pa.timestamp("us", "UTC")), ("n", pa.int64())]
    )
    rows = [
        {"s": "甲", "d": 1.25, "t": "2026-01-01T08:00:00+08:00", "n": 1},
        {"s": None, "d": None, "t": None, "n": None},
        {"s": "", "d": -3, "t": "2026-01-01T00:00:00.123456Z", "n": 2},
    ]
    body = json.dumps({"page": {"of": 1}, "data": rows}, ensure_ascii=False).encode()
    reader = JsonReader(schema, [("data",)])
    exact, fast = reader.parse(body), reader.parse(body)
    assert exact.rows.equals(fast.rows)
    assert reader.parse(body.replace(b"1.25", b"1.256")).rescued is not None


def test_a_number_longer_than_any_type_is_rescued_on_the_fast_path_too() -> None:
    """Arrow's own cast would take 2**128 + 1 for 1, in silence."""
    schema = pa.schema([("Id", pa.string()), ("Amount", pa.decimal128(13, 3))])
    reader = JsonReader(schema, [("data",)])
    usual = b'{"data": [' + b", ".join(b'{"Id": "%d", "Amount": "1.250"}' % n for n in range(300)) + b"]}"
    for _ in range(2):
        assert reader.parse(usual).rows.schema == schema
    page = reader.parse(usual.replace(b'"7", "Amount": "1.250"', b'"7", "Amount": "%d.000"' % (2**128 + 1)))
    assert page.rows.column("Amount")[7].as_py() is None
    assert page.rescued is not None
    assert json.loads(page.rescued[7].as_py()) == {"Amount": f"{2**128 + 1}.000"}


def test_a_later_page_that_tells_an_error_is_noticed_on_the_fast_path() -> None:
    """An answer of the usual shape, without rows and with its error filled in, would look like the end."""
    said: list[Any] = []
    reader = JsonReader(pa.schema([("Id", pa.string())]), [("data", "rows")], check=said.append)
    rows = json.dumps([{"Id": str(n)} for n in range(300)])
    for code in ("0", "0", "500"):
        reader.parse(b'{"code": %b, "message": "", "data": {"rows": %b, "next": 12}}' % (code.encode(), rows.encode()))
    assert [int(float(page["code"])) for page in said] == [0, 0, 500]
    assert all("rows" in page["data"] for page in said)


@pytest.mark.parametrize("rows", [3, 3000], ids=["small", "large"])
def test_marks_and_fields_that_are_not_described_are_told_by_every_page(rows: int) -> None:
    schema = pa.schema([("Id", pa.string()), ("Change", pa.string())])
    reader = JsonReader(schema, [("data",)], marks=["Change"])
    body = json.dumps({"data": [{"Id": f"{n:020d}", "Change": "D"} for n in range(rows)]}).encode()
    for _ in range(3):
        assert reader.parse(body).marks == {"Change": ["D"] * rows}
    anew = JsonReader(schema, [("data",)])
    body = json.dumps({"data": [{"Id": f"{n:020d}", "Change": None, "New": n} for n in range(rows)]}).encode()
    for _ in range(3):
        page = anew.parse(body)
        assert page.unexpected == {"New"}
        assert page.rescued is not None
        assert page.rescued[2].as_py() == '{"New": 2}'


@pytest.mark.parametrize("null", [False, True], ids=["all there", "some null"])
@pytest.mark.parametrize("form", ["/Date(%d)/", "/Date(%d+0000)/"])
@pytest.mark.parametrize("first", [1_700_000_000_000, 999_999_990_000, -5000, 0])
def test_dates_of_one_form_are_read_like_any_others(first: int, form: str, null: bool) -> None:
    numbers = [None if null and n % 3 == 0 else first + 10 * n for n in range(2000)]
    texts = pa.array([None if n is None else form % n for n in numbers])
    assert odata_v2.milliseconds(texts).to_pylist() == numbers
    assert odata_v2.milliseconds(texts.slice(7, 90)).to_pylist() == numbers[7:97]


@pytest.mark.parametrize("wrong", ["/Date(17x0000000000)/", "/Date(1700000000000)]", "2026-01-01T00:00:00.00", ""])
def test_a_text_that_only_looks_like_a_date_is_left_to_the_exact_path(wrong: str) -> None:
    with pytest.raises((MisfitError, pa.ArrowInvalid)):
        odata_v2.milliseconds(pa.array(["/Date(1700000000000)/", wrong, "/Date(1700000000000)/"]))


def test_texts_have_one_digest_if_and_only_if_they_are_equal() -> None:
    texts = ["", "a", "b", "a" * 8, "a" * 9, "ab" * 9, "a\0", "a\0\0", "部件", *[f"10:{n:010d}" for n in range(50_000)]]
    digests = landing.digests(pa.array([*texts, *texts]))
    assert (digests[: len(texts)] == digests[len(texts) :]).all()
    assert len(set(digests.tolist())) == len(texts)
    assert (landing.digests(pa.array(texts).slice(3, 4)) == digests[3:7]).all()


def test_the_bounds_that_the_log_tells_hold_every_value() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    told = json.loads(
        delta_statistics(
            pa.table(
                {
                    "key": ["b", "a", None],
                    "at": pa.array([moment, None, moment], pa.timestamp("us", "UTC")),
                    "long": ["x" * 65, "", None],
                    "far": pa.array([2**62, 0, 1]).cast(pa.timestamp("us")),
                    "amount": pa.array([1, 2, 3], pa.decimal128(38, 9)),
                }
            ),
            ["key", "at", "long", "far", "amount", "absent"],
        )
    )
    assert told == {
        "numRecords": 3,
        "minValues": {"key": "a", "at": "2026-01-02T03:04:05.678Z"},
        "maxValues": {"key": "b", "at": "2026-01-02T03:04:05.679Z"},
        "nullCount": {"key": 1, "at": 1, "long": 1, "far": 0, "amount": 0},
    }


def test_the_content_hash_does_not_see_page_boundaries_and_sees_everything_else() -> None:
    table = pa.table({"a": ["x", None, "", "yz"], "d": pa.array([1, None, 2, 3], pa.decimal128(9, 2))})

    def hashed(*pages: pa.Table) -> str:
        digest = ContentHash(table.schema)
        for page in pages:
            digest.add(page)
        return digest.hexdigest()

    assert hashed(table) == hashed(table.slice(0, 1), table.slice(1, 2), table.slice(3))
    assert hashed(table) != hashed(table.take([1, 0, 2, 3]))
    assert hashed(table) != hashed(table.set_column(0, "a", pa.array(["x", "", None, "yz"])))


def test_row_keys_are_equal_only_for_equal_rows() -> None:
    table = pa.table({"a": ["a", "ab", None, "a"], "b": ["bc", "c", "x", "bc"]})
    keys = row_keys(table, ["a", "b"])
    assert len(set(keys.to_pylist())) == 3
    assert last_of_each(keys).tolist() == [1, 2, 3]


def test_retry_after_takes_seconds_and_dates() -> None:
    assert retry_after("7") == 7
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("soon") is None
    assert retry_after(None) is None


def test_an_address_for_messages_holds_no_credentials() -> None:
    assert address("https://user:secret@host:1/path?key=secret#x") == "https://host:1/path"


def test_a_link_to_another_host_leads_to_our_own() -> None:
    client = HttpClient("x", "https://erp.example.com:8443/sap/odata", auth="basic", user="u", secret="p")
    assert (
        client.url("http://inner:8000/sap/odata/A?$skiptoken=1")
        == "https://erp.example.com:8443/sap/odata/A?$skiptoken=1"
    )
    client.close()
