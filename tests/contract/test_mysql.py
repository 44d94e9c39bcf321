"""What is particular to MySQL and MariaDB, on a real MariaDB."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion.backfill import Progress, backfill
from datong_ingestion.source import connect
from datong_platform.errors import ConfigurationError
from datong_platform.lake import history

Make = Callable[..., dict[str, Any]]


def _rows(mysql: Any) -> list[dict[str, Any]]:
    delta = history.open_table(mysql.table)
    assert delta
    return delta.to_pyarrow_table().to_pylist()


def test_every_catalog_type_arrives_exactly(mysql: Any) -> None:
    mysql.run(
        "create table all_types (id bigint unsigned primary key, t tinyint, tu tinyint unsigned, b boolean, "
        "s smallint, su smallint unsigned, m mediumint, mu mediumint unsigned, i int, iu int unsigned, l bigint, "
        "f float, d double, n decimal(38,9), whole decimal(5), wide decimal(65,30), unsigned_n decimal(9,2) unsigned, "
        "y year, day date, clock time(3), moment datetime(6), instant timestamp(6) null, c char(3), v varchar(20), "
        "txt longtext, e enum('good','bad'), st set('x','y'), j json, bin binary(3), vb varbinary(9), bl blob, "
        "one bit(1), bits bit(9), place point, latin varchar(20) character set latin1, "
        "gbk varchar(20) character set gbk)"
    )
    mysql.run(
        "insert into all_types values (18446744073709551615, -128, 255, true, -32768, 65535, -8388608, 16777215, "
        "-2147483648, 4294967295, -9223372036854775808, 0.1, 0.1, 12345678901234567890123456789.123456789, -99999, "
        "12345.000000000000000000000000000001, 1234567.89, 2026, '1900-02-28', '-838:59:59.000', "
        "'2026-03-29 02:30:00.123456', '2026-03-29 02:30:00.5', 'ab', '全角Ａ😀', repeat('长', 70000), 'bad', 'x,y', "
        "'{\"a\": 1}', 'ab', x'00ff', x'fffe00', b'1', b'100000001', point(1, 2), 'café', '中文')"
    )
    mysql.run("insert into all_types (id) values (2)")
    result = mysql.ingest("full", source="all_types")
    second, first = sorted(_rows(mysql), key=lambda r: r["id"])
    expected_types = {
        "id": pa.decimal128(20, 0),
        "b": pa.bool_(),
        "tu": pa.int16(),
        "su": pa.int32(),
        "iu": pa.int64(),
        "f": pa.float32(),
        "n": pa.decimal128(38, 9),
        "whole": pa.decimal128(5, 0),
        "wide": pa.decimal128(38, 30),
        "unsigned_n": pa.decimal128(9, 2),
        "moment": pa.timestamp("us"),
        "instant": pa.timestamp("us", "UTC"),
        "vb": pa.binary(),
        "one": pa.bool_(),
        "bits": pa.int64(),
    }
    assert {name: result.schema.field(name).type for name in expected_types} == expected_types
    expected = {
        "id": Decimal(18446744073709551615),
        "t": -128,
        "tu": 255,
        "b": True,
        "s": -32768,
        "su": 65535,
        "m": -8388608,
        "mu": 16777215,
        "i": -2147483648,
        "iu": 4294967295,
        "l": -9223372036854775808,
        "d": 0.1,
        "n": Decimal("12345678901234567890123456789.123456789"),
        "whole": Decimal(-99999),
        "wide": Decimal("12345.000000000000000000000000000001"),
        "unsigned_n": Decimal("1234567.89"),
        "y": 2026,
        "day": datetime(1900, 2, 28).date(),
        "clock": "-838:59:59.000",
        "moment": datetime(2026, 3, 29, 2, 30, 0, 123456),
        "instant": datetime(2026, 3, 29, 2, 30, 0, 500000, UTC),
        "c": "ab",
        "v": "全角Ａ😀",
        "txt": "长" * 70000,
        "e": "bad",
        "st": "x,y",
        "j": '{"a": 1}',
        "bin": b"ab\x00",
        "vb": b"\x00\xff",
        "bl": b"\xff\xfe\x00",
        "one": True,
        "bits": 257,
        "place": "POINT(1 2)",
        "latin": "café",
        "gbk": "中文",
    }
    assert {name: first[name] for name in expected} == expected
    assert first["f"] == pa.scalar(0.1, pa.float32()).as_py()
    assert all(second[name] is None for name in expected if name != "id")
    assert first["_datong_rescued"] is None


def test_a_float_keeps_all_its_digits(mysql: Any) -> None:
    mysql.run("create table measured (id int primary key, value float)")
    mysql.run("insert into measured values (1, 16777215), (2, 1234567.9), (3, 3.4028235e38)")
    mysql.ingest("full", source="measured")
    values = [r["value"] for r in sorted(_rows(mysql), key=lambda r: r["id"])]
    assert values == [pa.scalar(value, pa.float32()).as_py() for value in (16777215.0, 1234567.875, 3.4028235e38)]


def test_what_the_lake_cannot_hold_is_rescued_as_it_was(mysql: Any) -> None:
    mysql.run("create table odd (id int primary key, day date, moment datetime, flag boolean, n decimal(65,10))")
    mysql.run(
        "insert into odd values (1, '0000-00-00', '2026-00-10 00:00:00', 7, 1), "
        "(2, '0000-01-01', '0000-01-01 05:06:07', 1, 12345678901234567890123456789012345.5), (3, '2026-01-02', "
        "'2026-01-02 03:04:05', 0, -2.5)"
    )
    result = mysql.ingest("full", source="odd")
    first, second, third = sorted(_rows(mysql), key=lambda r: r["id"])
    assert result.rescued == 2
    assert json.loads(first["_datong_rescued"]) == {"day": "0000-00-00", "moment": "2026-00-10 00:00:00", "flag": "7"}
    assert json.loads(second["_datong_rescued"]) == {
        "day": "0000-01-01",
        "moment": "0000-01-01 05:06:07",
        "n": "12345678901234567890123456789012345.5000000000",
    }
    assert (third["day"], third["flag"], third["n"]) == (datetime(2026, 1, 2).date(), False, Decimal("-2.5"))
    assert third["_datong_rescued"] is None
    assert second["flag"] is True


def test_a_flag_declared_as_a_number_keeps_its_value(mysql: Any) -> None:
    mysql.run("create table odd (id int primary key, flag boolean)")
    mysql.run("insert into odd values (1, 7)")
    assert mysql.ingest("full", source="odd", fields={"flag": "short"}).rescued == 0
    assert _rows(mysql)[0]["flag"] == 7


def test_a_query_with_a_cursor_expression_finds_rows_never_updated(mysql: Any) -> None:
    mysql.run("create table orders (id int primary key, note text, create_date datetime, write_date datetime)")
    mysql.run("insert into orders values (1, 'a', '2026-01-01', null), (2, 'b', '2026-01-02', '2026-01-05')")
    ways = {
        "source": "",
        "query": "select * from orders where id > 0;",
        "keys": ["id"],
        "cursor": "",
        "cursor_expression": "coalesce(write_date, create_date)",
        "detect_deletes": True,
    }
    assert mysql.ingest("cursor", **ways).rows == 2
    mysql.run("insert into orders values (3, 'c', '2026-01-06', null)")
    mysql.run("update orders set note = 'a2', write_date = '2026-01-07' where id = 1")
    mysql.run("delete from orders where id = 2")
    result = mysql.ingest("cursor", **ways)
    assert (result.rows, result.deletes) == (2, 1)
    assert result.position == "2026-01-07T00:00:00"
    assert mysql.ingest("cursor", **ways).batches == []
    assert "_datong_cursor" not in result.schema.names


def test_a_zero_date_as_cursor_is_read_each_time_and_hides_nothing(mysql: Any, row: Make) -> None:
    mysql.put(row(1), row(2))
    mysql.run("update thing set ChangedAt = '0000-00-00' where Id = '00001'")
    assert mysql.ingest().rows == 2
    assert mysql.ingest().rows == 0
    mysql.put(row(3))
    assert mysql.ingest().rows == 1


def test_the_first_read_and_its_key_set_see_one_moment(mysql: Any, row: Make) -> None:
    mysql.put(*[row(i) for i in range(5)])
    system = mysql.system()
    source = connect(system)
    pages = source.read(system.entity("thing"), source.describe(system.entity("thing")), None)
    first = next(pages)
    mysql.remove("00001")
    keys = [key for page in pages if page.keys is not None for key in page.keys.column("Id").to_pylist()]
    assert (len(first.rows), len(keys)) == (5, 5)


def test_a_connection_lost_in_the_middle_begins_anew(
    mysql: Any, row: Make, no_waiting: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    mysql.put(*[row(i) for i in range(3)])
    mysql.run("insert into thing (Id, Name) select concat('x', seq), repeat(md5(seq), 2) from seq_1_to_200000")
    from datong_ingestion.protocols import sql as module

    real, kills = module.cursor.later, iter([True])

    def later(position: str | None, column: Any) -> str | None:
        if next(kills, False):
            with mysql.db.cursor() as running:
                running.execute("select id from information_schema.processlist where db = %s", [mysql.name])
                for (number,) in running.fetchall():
                    if number != mysql.db.thread_id():
                        running.execute(f"kill {number}")
        return real(position, column)

    monkeypatch.setattr(module.cursor, "later", later)
    result = mysql.ingest()
    assert next(kills, None) is None
    assert result.rows == result.total_rows == 200003


def test_a_missing_table_names_it(mysql: Any) -> None:
    with pytest.raises(ConfigurationError, match="nothing_here"):
        mysql.ingest("full", source="nothing_here")


def test_a_name_that_needs_quotes_is_read(mysql: Any) -> None:
    mysql.run("create table `odd-table` (`from` int primary key, `单价 %` decimal(9,2))")
    mysql.run("insert into `odd-table` values (1, 2.5)", None)
    assert mysql.ingest("full", source="odd-table").rows == 1
    assert _rows(mysql)[0]["单价 %"] == Decimal("2.5")


def test_an_option_nobody_knows_is_a_configuration_error(mysql: Any) -> None:
    with pytest.raises(ConfigurationError, match="tls_mode"):
        mysql.ingest(connection={"url": f"{mysql.url}?tls_mode=1"})


@pytest.mark.parametrize("column", ["Id", "Amount", "ChangedAt", "DueOn"])
def test_a_table_is_read_in_parts_and_followed_from_there(mysql: Any, row: Make, column: str) -> None:
    rows = [row(number) for number in range(40)]
    mysql.put(*rows)
    told: list[Progress] = []
    result = backfill(mysql.system(partition_by=column, partitions=4), "thing", on_part=told.append)
    assert (result.rows, len(result.batches), len(told)) == (40, 1, 4)
    assert max(part.rows for part in told) <= 15
    assert mysql.current() == rows
    mysql.put(row(99))
    assert mysql.ingest().rows == 1
    assert mysql.current() == [*rows, row(99)]
