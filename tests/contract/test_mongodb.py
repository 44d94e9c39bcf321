"""What is particular to MongoDB: documents become nested columns, and nothing of them is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import bson
import pyarrow as pa
import pytest
from bson.binary import Binary, UuidRepresentation
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from bson.regex import Regex
from bson.timestamp import Timestamp
from datong_ingestion.backfill import Progress, backfill
from datong_ingestion.protocols.mongodb import to_rows
from datong_ingestion.source import connect
from datong_platform.errors import ConfigurationError, TransientError
from datong_platform.lake import history
from datong_platform.lake.columns import type_name

Make = Callable[..., dict[str, Any]]
NOON = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)
ORDER = {"source": "orders", "keys": [], "fields": {}}


def order(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "_id": ObjectId(f"{number:024x}"),
        "customer": {"name": f"客户 {number}", "address": {"city": "苏州", "zip": "215000"}},
        "lines": [{"sku": f"A-{line}", "qty": Int64(line), "price": Decimal128("1.50")} for line in range(number % 3)],
        "tags": ["urgent", "export"],
        "changed": datetime(2026, 3, 1, 12, number, tzinfo=UTC),
    } | changes


def put(mongodb: Any, *documents: dict[str, Any]) -> None:
    mongodb.server.collections.setdefault("orders", {}).update({item["_id"]: item for item in documents})


def rows(mongodb: Any) -> list[dict[str, Any]]:
    delta = history.open_table(mongodb.table)
    assert delta
    found = delta.to_pyarrow_table().to_pylist()
    return sorted(found, key=lambda item: (item["_datong_batch_id"], item["_id"]))


def test_embedded_documents_and_arrays_become_nested_columns(mongodb: Any) -> None:
    put(mongodb, *[order(number) for number in range(1, 6)])
    result = mongodb.ingest("full", **ORDER)
    types = {item.name: type_name(item.type) for item in result.schema}
    assert types["customer"] == "struct<name:string,address:struct<city:string,zip:string>>"
    assert types["lines"] == "array<struct<sku:string,qty:long,price:decimal(38,18)>>"
    assert types["tags"] == "array<string>"
    second = rows(mongodb)[1]
    assert second["_id"] == f"{2:024x}"
    assert second["customer"] == {"name": "客户 2", "address": {"city": "苏州", "zip": "215000"}}
    assert second["lines"] == [
        {"sku": "A-0", "qty": 0, "price": Decimal("1.5")},
        {"sku": "A-1", "qty": 1, "price": Decimal("1.5")},
    ]
    assert result.rescued == 0
    assert mongodb.ingest("full", **ORDER).batches == [], "the same content again makes no commit"
    put(mongodb, order(2, tags=["urgent"]))
    assert mongodb.ingest("full", **ORDER).rows == 5, "a change deep in a document is a change"


def test_every_kind_of_value_arrives_exactly(mongodb: Any) -> None:
    put(
        mongodb,
        {
            "_id": 7,
            "text": "全角Ａ😀",
            "int": 2147483647,
            "long": Int64(-9007199254740993),
            "double": 0.1,
            "decimal": Decimal128("1234567890123456.000000000000000001"),
            "yes": True,
            "moment": NOON,
            "link": ObjectId("65f0a1b2c3d4e5f601020304"),
            "data": b"\x00\xff",
            "uuid": Binary.from_uuid(UUID("9b55c9a8-6fb8-4b07-bc52-424c115bcf29"), UuidRepresentation.STANDARD),
            "pattern": Regex("^a", "i"),
            "oplog": Timestamp(1772366400, 1),
            "nothing": None,
        },
    )
    result = mongodb.ingest("full", **ORDER)
    found = rows(mongodb)[0]
    expected = {
        "_id": 7,
        "text": "全角Ａ😀",
        "int": 2147483647,
        "long": -9007199254740993,
        "double": 0.1,
        "decimal": Decimal("1234567890123456.000000000000000001"),
        "yes": True,
        "moment": NOON,
        "link": "65f0a1b2c3d4e5f601020304",
        "data": b"\x00\xff",
        "uuid": "9b55c9a8-6fb8-4b07-bc52-424c115bcf29",
        "oplog": datetime(2026, 3, 1, 12, tzinfo=UTC),
    }
    assert {name: found[name] for name in expected} == expected
    assert json.loads(found["pattern"]) == {"$regularExpression": {"pattern": "^a", "options": "i"}}
    assert "nothing" not in result.schema.names
    assert result.rescued == 0


def test_a_field_that_appears_deep_in_documents_is_added_there(mongodb: Any) -> None:
    put(mongodb, order(1), order(2))
    ways = ORDER | {"cursor": "changed", "overlap_seconds": 0}
    assert mongodb.ingest("cursor", **ways).rows == 2
    address = {"city": "Köln", "zip": "50667", "country": "DE"}
    put(mongodb, order(30, customer={"name": "neu", "address": address}, lines=[{"sku": "B", "lot": "L1"}]))
    result = mongodb.ingest("cursor", **ways)
    assert result.widened_columns == ["customer", "lines"]
    assert "country:string" in type_name(result.schema.field("customer").type)
    found = list({item["_id"]: item for item in rows(mongodb)}.values())
    assert [item["customer"]["address"]["country"] for item in found] == [None, None, "DE"]
    assert found[2]["lines"] == [{"sku": "B", "qty": None, "price": None, "lot": "L1"}]
    assert found[1]["lines"][1] == {"sku": "A-1", "qty": 1, "price": Decimal("1.5"), "lot": None}
    assert mongodb.ingest("cursor", **ways).rows == 0


def test_what_the_sample_did_not_show_is_rescued_under_its_path(mongodb: Any) -> None:
    put(mongodb, *[order(number, lines=[{"sku": "A", "qty": 1}]) for number in range(1, 10)])
    odd = order(
        5, lines=[{"sku": "A", "qty": 1}, {"sku": "B", "qty": "many"}, "no line"], customer={"name": "x", "vip": 1}
    )
    put(mongodb, odd | {"extra": {"deep": [1, {"a": ObjectId("65f0a1b2c3d4e5f601020304")}]}})
    result = mongodb.ingest("full", connection={"sample": 2}, **ORDER)
    found = rows(mongodb)
    assert json.loads(found[4]["_datong_rescued"]) == {
        "lines.1.qty": "many",
        "lines.2": "no line",
        "customer.vip": 1,
        "extra": {"deep": [1, {"a": "65f0a1b2c3d4e5f601020304"}]},
    }
    assert found[4]["lines"] == [{"sku": "A", "qty": 1}, {"sku": "B", "qty": None}, None]
    assert found[4]["customer"]["name"] == "x"
    assert (result.rescued, result.new_columns) == (1, ["extra"])
    assert all(item["_datong_rescued"] is None for item in found[:4] + found[5:])


def test_a_field_of_several_types_is_kept_as_text_and_said_so(mongodb: Any) -> None:
    values: list[Any] = ["a", 7, {"x": 1}, [1, 2], 1.5]
    put(mongodb, *[order(number, mixed=value) for number, value in enumerate(values, 1)])
    system = mongodb.system("full", **ORDER)
    source = connect(system)
    notes = source.describe(system.entity("thing")).notes
    source.close()
    assert any("mixed holds values of several types" in note for note in notes)
    mongodb.ingest("full", **ORDER)
    assert [item["mixed"] for item in rows(mongodb)] == ["a", "7", '{"x":1}', "[1,2]", "1.5"]


def test_numbers_of_several_kinds_become_the_wider_one(mongodb: Any) -> None:
    put(mongodb, order(1, n=1, m=1), order(2, n=1.5, m=Decimal128("0.1")), order(3, n=2**53 + 1, m=2))
    result = mongodb.ingest("full", **ORDER)
    assert type_name(result.schema.field("n").type) == "double"
    found = rows(mongodb)
    assert [item["n"] for item in found] == [1.0, 1.5, None]
    assert json.loads(found[2]["_datong_rescued"]) == {"n": 2**53 + 1}, "it is no double, so it is not bent into one"
    assert [item["m"] for item in found] == [Decimal(1), Decimal("0.1"), Decimal(2)]


def test_a_map_with_keys_that_are_data_does_not_become_columns(mongodb: Any) -> None:
    put(mongodb, order(1, stock={f"bin-{number}": number for number in range(300)}))
    result = mongodb.ingest("full", **ORDER)
    assert type_name(result.schema.field("stock").type) == "string"
    assert json.loads(rows(mongodb)[0]["stock"])["bin-299"] == 299


def test_a_date_past_all_calendars_is_rescued(mongodb: Any) -> None:
    from bson.datetime_ms import DatetimeMS

    put(mongodb, order(1, changed=DatetimeMS(1 << 52)), order(2))
    result = mongodb.ingest("cursor", cursor="changed", **ORDER)
    assert (result.rows, result.rescued, result.position) == (2, 1, "2026-03-01T12:02:00+00:00")
    assert "changed" in json.loads(rows(mongodb)[0]["_datong_rescued"])


def test_documents_that_tell_no_change_are_read_each_time(mongodb: Any) -> None:
    put(mongodb, order(1), order(2, changed="yesterday"), order(3))
    ways = ORDER | {"fields": {"changed": "timestamp"}, "overlap_seconds": 0}
    assert mongodb.ingest("cursor", cursor="changed", **ways).rows == 3
    assert mongodb.ingest("cursor", cursor="changed", **ways).rows == 0
    put(mongodb, order(2, changed="today"))
    late = order(4)
    del late["changed"]
    put(mongodb, late)
    assert mongodb.ingest("cursor", cursor="changed", **ways).rows == 2


def test_documents_that_are_only_added_are_followed_by_their_id(mongodb: Any) -> None:
    put(mongodb, order(1), order(2))
    assert mongodb.ingest("cursor", cursor="_id", **ORDER).rows == 2
    put(mongodb, order(3))
    result = mongodb.ingest("cursor", cursor="_id", **ORDER)
    assert (result.rows, result.position) == (1, f"{3:024x}")


def test_a_document_that_cannot_be_decoded_is_refused_and_the_rest_goes_on(mongodb: Any) -> None:
    put(mongodb, *[order(number) for number in range(1, 5)])
    broken = bson.encode({"_id": 9, "name": "AAAA"}).replace(b"AAAA", b"\xff\xfe\xff\xfe")
    mongodb.server.collections["orders"]["broken"] = RawBSONDocument(broken)
    result = mongodb.ingest("full", **ORDER)
    assert (result.rows, result.refused) == (4, 1)
    assert [item["_id"] for item in rows(mongodb)] == [f"{number:024x}" for number in range(1, 5)]


def test_a_cursor_that_the_server_gave_up_begins_anew(mongodb: Any, no_waiting: list[float]) -> None:
    put(mongodb, *[order(number) for number in range(1, 21)])
    lost = iter([True])

    def lose(command: str) -> None:
        if command == "getMore" and next(lost, False):
            mongodb.server.cursors.clear()

    mongodb.server.faults.append(lose)
    result = mongodb.ingest("full", connection={"sample": 2}, **ORDER)
    assert result.rows == result.total_rows == 20
    assert next(lost, None) is None


def test_a_connection_that_breaks_each_time_is_an_error_that_may_pass(mongodb: Any, no_waiting: list[float]) -> None:
    put(mongodb, *[order(number) for number in range(1, 21)])

    def breaks(command: str) -> None:
        if command == "getMore":
            raise ConnectionAbortedError

    mongodb.server.faults.append(breaks)
    with pytest.raises(TransientError) as caught:
        mongodb.ingest("full", connection={"sample": 2}, **ORDER)
    assert f"{mongodb.name}.thing" in str(caught.value)


def test_a_filter_is_extended_json(mongodb: Any) -> None:
    put(mongodb, *[order(number) for number in range(1, 6)])
    text = '{"changed": {"$gte": {"$date": "2026-03-01T12:04:00Z"}}}'
    assert mongodb.ingest("full", filter=text, **ORDER).rows == 2
    with pytest.raises(ConfigurationError, match="not JSON"):
        mongodb.ingest("full", filter="changed > 4", **ORDER)


def test_a_backfill_reads_declared_parts_beside_the_filter(mongodb: Any) -> None:
    put(mongodb, *[order(number) for number in range(1, 9)])
    noon = '{"$date": "2026-03-01T12:04:00Z"}'
    since, before = f'{{"changed": {{"$gte": {noon}}}}}', f'{{"changed": {{"$lt": {noon}}}}}'
    kept = '{"changed": {"$gte": {"$date": "2026-03-01T12:02:00Z"}}}'
    told: list[Progress] = []
    config = mongodb.system("full", filter=kept, partition_filters=[since, before], **ORDER)
    result = backfill(config, "thing", on_part=told.append)
    assert (result.rows, result.batches) == (7, ["000000000001"])
    assert sorted(part.rows for part in told) == [2, 5]


def test_only_the_selected_fields_are_read(mongodb: Any) -> None:
    put(mongodb, *[order(number) for number in range(1, 4)])
    result = mongodb.ingest("full", select=["tags"], **ORDER)
    assert [name for name in result.schema.names if not name.startswith("_datong")] == ["_id", "tags"]
    assert result.rescued == 0


def test_nested_values_keep_their_places_in_slices_and_nulls() -> None:
    kind = pa.list_(pa.field("element", pa.struct([("a", pa.list_(pa.field("element", pa.int64())))])))
    documents: list[dict[str, Any]] = [{"x": None}, {"x": [{"a": [1, "b", 3]}, None, {"a": None}]}, {}, {"x": []}]
    table, rescued, _ = to_rows(documents, pa.schema([("x", kind)]))
    assert table.column("x").to_pylist() == [None, [{"a": [1, None, 3]}, None, {"a": None}], None, []]
    assert rescued is not None
    assert rescued.to_pylist() == [None, '{"x.0.a.1": "b"}', None, None]


def test_sail_reads_the_nested_columns(mongodb: Any) -> None:
    from datong_platform.engine import query
    from datong_platform.settings import settings

    put(mongodb, *[order(number) for number in range(1, 6)])
    mongodb.ingest("full", **ORDER)
    found = query(
        "select customer.address.city as city, size(lines) as many, get(lines, 0).price as price "
        f"from delta.`{settings().table_uri(mongodb.table)}` order by _id"
    ).to_pylist()
    assert [(item["city"], item["many"]) for item in found] == [("苏州", number % 3) for number in range(1, 6)]
    assert [item["price"] for item in found] == [Decimal("1.5") if number % 3 else None for number in range(1, 6)]
