"""Reading an open table by a condition: every type comes back as the lake has it, and is compared by its own value."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from datong_platform.lake.load import literal, quoted, scan
from deltalake import DeltaTable, write_deltalake

_LONG = Decimal("12345678901234567890.123456789")
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999999)
_COLUMNS = {
    "whole": pa.array([1, 2, None], pa.int64()),
    "exact": pa.array([_LONG, _LONG + Decimal("0.000000001"), None], pa.decimal128(38, 9)),
    "floating": pa.array([0.7, 2.2e300, None], pa.float64()),
    "single": pa.array([0.7, 2.2, None], pa.float32()),
    "day": pa.array([date(1, 1, 1), date(9999, 12, 31), None], pa.date32()),
    "at": pa.array(
        [datetime(1, 1, 1, tzinfo=UTC), _LAST.replace(tzinfo=UTC), None],
        pa.timestamp("us", "UTC"),
    ),
    "local": pa.array([datetime(1, 1, 1), _LAST, None], pa.timestamp("us")),
    "text": pa.array(["a'b", 'c"\\中', None], pa.string()),
    "raw": pa.array([b"a\xff", b"b", None], pa.binary()),
    'wé"ird. Name': pa.array([1, 2, None], pa.int32()),
}
_NESTED = {
    "struct": pa.array([{"a": "x", "l": ["q"]}, None, {"a": None, "l": None}]),
    "structs": pa.array([[{"k": "v"}], [], None]),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> DeltaTable:
    """Three rows with every type, in a file each, so that conditions are also put to their statistics."""
    place = str(tmp_path_factory.mktemp("bronze"))
    rows = pa.table({**_COLUMNS, **_NESTED})
    for number in range(3):
        write_deltalake(place, rows.slice(number, 1), mode="append")
    return DeltaTable(place)


@pytest.mark.parametrize("name", _COLUMNS)
def test_a_value_finds_itself_and_what_is_greater(table: DeltaTable, name: str) -> None:
    smaller, greater, _ = pa.table(_COLUMNS).column(name)
    column = quoted(name)

    def found(condition: str) -> list[object]:
        values = scan(table, [name], condition)
        assert values.schema.field(name).type == _COLUMNS[name].type
        return sorted(values.column(name).to_pylist(), key=lambda value: (value is not None, value))

    assert found(f"{column} = {literal(smaller)}") == [smaller.as_py()]
    assert found(f"{column} > {literal(smaller)}") == [greater.as_py()]
    assert found(f"{column} is null or {column} >= {literal(greater)}") == [None, greater.as_py()]


def test_nested_columns_come_back_in_the_lakes_own_types(table: DeltaTable) -> None:
    found = scan(table, list(_NESTED), "whole = 1")
    assert found.to_pylist() == [{"struct": {"a": "x", "l": ["q"]}, "structs": [{"k": "v"}]}]
    assert pa.types.is_string(found.schema.field("struct").type.field("a").type)


def test_a_time_past_its_files_statistics_which_end_in_milliseconds_is_found(tmp_path: Path) -> None:
    at = pa.scalar(datetime(2026, 1, 1, 0, 0, 0, 123999, UTC), pa.timestamp("us", "UTC"))
    for number in range(3):
        write_deltalake(str(tmp_path), pa.table({"n": [number], "at": pa.array([at], at.type)}), mode="append")
    delta = DeltaTable(str(tmp_path))
    delta.optimize.compact()
    delta.update_incremental()
    assert sorted(scan(delta, ["n"], f"at >= {literal(at)}").column("n").to_pylist()) == [0, 1, 2]
