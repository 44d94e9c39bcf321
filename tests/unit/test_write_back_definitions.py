"""Flows as configuration, payloads and their comparison: what is checked before anything goes over a wire."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion.systems_config import load_systems
from datong_ingestion.write_back import FlowConfig, load_flow, load_flows
from datong_ingestion.write_back.payload import PayloadBuilder, payload_hash
from datong_platform.errors import ConfigurationError

FLOW = """type: datong_assets.components.WriteBackFlow
attributes:
  flow: order_to_mes
  source: serve.mes__work_order
  key: order_no
  target:
    system: mes
    resource: /work-orders
    lookup: orderNo
    identity: [workOrderNo]
  write: create
  payload:
    orderNo: order_no
    quantity: {column: quantity, as: number}
"""


def flows_of(tmp_path: Path, text: str) -> dict[str, FlowConfig]:
    (tmp_path / "one").mkdir(exist_ok=True)
    (tmp_path / "one" / "defs.yaml").write_text(text, encoding="utf-8")
    return load_flows(tmp_path)


def test_the_projects_flows_name_systems_that_can_be_written_to() -> None:
    flows = load_flows()
    assert set(flows) >= {"consumption_to_erp", "production_order_to_mes", "sales_status_to_erp"}
    systems = load_systems()
    for flow in flows.values():
        assert systems[flow.target.system].protocol in {"odata_v2", "rest"}
        assert flow.key in flow.columns


def test_a_flow_is_read_with_columns_in_short_and_in_full(tmp_path: Path) -> None:
    flow = flows_of(tmp_path, FLOW)["order_to_mes"]
    assert flow.columns == ["order_no", "quantity"]
    assert str(flow.table) == "serve.mes__work_order"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("  write: create", "  write: replace", 11, "'create', 'update' or 'create_or_update'"),
        ("    lookup: orderNo", "    lokup: orderNo", 9, "lokup: Extra inputs are not permitted"),
        ("serve.mes__work_order", "silver.production_order", 4, "reads from serve only"),
        ("as: number", "as: money", 14, "as: Input should be 'text'"),
        ("    orderNo: order_no\n", "", 2, "does not fill orderNo"),
        ("  write: create", "  write: create\n  chunk_rows: 0", 12, "greater than or equal to 1"),
        ("  write: create", "  write: update\n  look_first: false", 2, "look_first can be false only"),
        ("    identity: [workOrderNo]", "    identity: []", 10, "at least 1 item"),
        ("  flow: order_to_mes", "  flow: Order-To-MES", 3, "lower-case letters"),
        ("    lookup: orderNo", "    lookup: orderNo\n    timezone: Asia/Shangai", 10, "is no time zone"),
    ],
)
def test_a_mistake_is_reported_with_file_and_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in FLOW
    with pytest.raises(ConfigurationError) as error:
        flows_of(tmp_path, FLOW.replace(old, new))
    assert re.search(r"defs\.yaml:\d+$", error.value.thing)
    assert f"line {line}: " in error.value.reason
    assert words in error.value.reason


def test_broken_yaml_is_reported_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"defs\.yaml:\d+: is not valid YAML"):
        flows_of(tmp_path, FLOW + "  oops: [")


def test_two_flows_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "defs.yaml").write_text(FLOW, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="defines flow order_to_mes, as does"):
        flows_of(tmp_path, FLOW)


def test_an_unknown_flow_lists_those_there_are(tmp_path: Path) -> None:
    flows_of(tmp_path, FLOW)
    with pytest.raises(ConfigurationError, match=r"flow nowhere: is not defined.*order_to_mes"):
        load_flow("nowhere", tmp_path)


def builder(dialect: Any, payload: dict[str, Any], schema: pa.Schema, zone: str = "UTC") -> PayloadBuilder:
    target = {"system": "x", "resource": "A/B", "lookup": "Key", "identity": ["Key"], "timezone": zone}
    flow = {"flow": "f", "source": "serve.x__y", "key": "key", "target": target, "write": "create", "payload": payload}
    return PayloadBuilder(FlowConfig.model_validate(flow), schema, dialect)


SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("amount", pa.decimal128(15, 3)),
        ("count", pa.int32()),
        ("long", pa.int64()),
        ("is_open", pa.bool_()),
        ("day", pa.date32()),
        ("moment", pa.timestamp("us", "UTC")),
        ("note", pa.string()),
    ]
)
ROW = {
    "key": "0001",
    "amount": Decimal("12.500"),
    "count": 3,
    "long": 2**53 + 1,
    "is_open": True,
    "day": date(2026, 3, 1),
    "moment": datetime(2026, 3, 1, 16, 30, tzinfo=UTC),
    "note": None,
}
PAYLOAD = {
    "Key": "key",
    "Amount": "amount",
    "Count": "count",
    "Long": "long",
    "Open": "is_open",
    "Day": "day",
    "Moment": "moment",
    "Note": "note",
    "Kind": {"value": "03"},
    "Cleared": {"column": "note", "send_null": True},
    "Items": [{"Amount": "amount", "Line": {"value": 1}}],
}


def test_odata_writes_decimals_and_long_integers_as_text_and_times_as_milliseconds() -> None:
    assert builder("odata_v2", PAYLOAD, SCHEMA).build(ROW) == {
        "Key": "0001",
        "Amount": "12.500",
        "Count": 3,
        "Long": "9007199254740993",
        "Open": True,
        "Day": "/Date(1772323200000)/",
        "Moment": "/Date(1772382600000+0000)/",
        "Kind": "03",
        "Cleared": None,
        "Items": [{"Amount": "12.500", "Line": 1}],
    }


def test_rest_writes_numbers_and_times_in_the_zone_of_the_target() -> None:
    made = builder("rest", PAYLOAD, SCHEMA, "Asia/Shanghai").build(ROW)
    assert made["Amount"] == 12.5
    assert made["Long"] == 2**53 + 1
    assert made["Day"] == "2026-03-01"
    assert made["Moment"] == "2026-03-02T00:30:00+08:00"


@pytest.mark.parametrize(
    ("field", "held", "same"),
    [
        ("Amount", "12.5", True),
        ("Amount", 12.5, True),
        ("Amount", "12.501", False),
        ("Amount", "a lot", False),
        ("Amount", None, False),
        ("Key", "1", False),
        ("Key", "0001", True),
        ("Day", "/Date(1772323200000)/", True),
        ("Day", "/Date(1772236800000)/", False),
        ("Moment", "/Date(1772382600000+0480)/", True),
        ("Moment", "2026-03-02T00:30:00+08:00", True),
        ("Moment", "2026-03-02T00:30:00Z", False),
        ("Cleared", "", True),
        ("Cleared", "x", False),
        ("Items", {"results": [{"Amount": "12.5000", "Line": "1", "More": 2}]}, True),
        ("Items", [{"Amount": "12.5", "Line": 2}], False),
        ("Items", {"results": []}, False),
        ("Items", None, False),
    ],
)
def test_what_is_read_back_is_compared_by_meaning(field: str, held: Any, same: bool) -> None:
    made = builder("odata_v2", PAYLOAD, SCHEMA)
    sent = made.build(ROW)
    differences = made.differences(sent, {**sent, field: held})
    assert (differences == []) is same
    if not same:
        assert differences[0].startswith(field)


def test_what_a_target_does_not_keep_is_not_compared() -> None:
    made = builder("rest", {"Key": "key", "Code": {"value": "03", "compare": False}}, SCHEMA)
    assert made.differences(made.build(ROW), {"Key": "0001"}) == []


def test_the_hash_follows_the_content_and_not_the_order() -> None:
    assert payload_hash({"a": 1, "b": "x"}) == payload_hash({"b": "x", "a": 1})
    assert payload_hash({"a": 1}) != payload_hash({"a": "1"})


def test_a_column_type_that_no_target_takes_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"column serve\.x__y\.tags is of type list"):
        builder("rest", {"Key": "key", "Tags": "tags"}, SCHEMA.append(pa.field("tags", pa.list_(pa.string()))))
