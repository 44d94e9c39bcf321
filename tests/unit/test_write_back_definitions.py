"""Flows as configuration, payloads and their comparison: what is checked before anything goes over a wire."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from datong_ingestion.systems_config import load_systems
from datong_ingestion.write_back import FlowConfig, load_flow, load_flows
from datong_ingestion.write_back.config import Freeze, Retry, ordered
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
  operations: [create]
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
        ("  operations: [create]", "  operations: [replace]", 11, "'create', 'update', 'delete' or 'call'"),
        ("    lookup: orderNo", "    lokup: orderNo", 9, "lokup: Extra inputs are not permitted"),
        ("serve.mes__work_order", "silver.production_order", 4, "reads from serve only"),
        ("as: number", "as: money", 14, "as: Input should be 'text'"),
        ("    orderNo: order_no\n", "", 2, "does not fill orderNo"),
        ("  operations: [create]", "  operations: [create]\n  chunk_rows: 0", 12, "greater than or equal to 1"),
        ("  operations: [create]", "  operations: [update]\n  look_first: false", 2, "look_first can be false only"),
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
    flow = {
        "flow": "f",
        "source": "serve.x__y",
        "key": "key",
        "target": target,
        "operations": ["create"],
        "payload": payload,
    }
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


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("operations: [create]", "operations: [create, create]", 2, "each is named once"),
        ("operations: [create]", "operations: [update, call]\n  action: {name: release}", 2, "choose one of them"),
        ("operations: [create]", "operations: [call]", 2, "call and action go together"),
        ("operations: [create]", "operations: [create]\n  after: [order_to_mes]", 2, "cannot come after itself"),
        ("operations: [create]", "operations: [create]\n  guards: {max_share: 1.5}", 12, "less than or equal to 1"),
        (
            "operations: [create]",
            "operations: [create]\n  guards:\n    freeze:\n      - {why: close, timezone: Asia/Shanghai}",
            14,
            "says no time",
        ),
        ("operations: [create]", "operations: [create]\n  retry: {attempts: 0}", 12, "greater than or equal to 1"),
    ],
)
def test_a_wrong_guard_order_or_operation_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(words)) as told:
        flows_of(tmp_path, FLOW.replace(old, new))
    assert f"defs.yaml:{line}" in told.value.thing


def test_flows_run_after_those_that_they_name_and_a_circle_is_refused(tmp_path: Path) -> None:
    second = FLOW.replace("order_to_mes", "second").replace("operations:", "after: [order_to_mes]\n  operations:")
    flows = flows_of(tmp_path, f"{second}---\n{FLOW}")
    assert [flow.flow for flow in ordered(flows)] == ["order_to_mes", "second"]
    first = FLOW.replace("operations:", "after: [{flow: second, by: order_no}]\n  operations:")
    with pytest.raises(ConfigurationError, match=r"in a circle: .* after "):
        flows_of(tmp_path, f"{second}---\n{first}")


def test_a_field_that_the_target_owns_is_refused_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners = {"work_order": {"*": ["erp", "mes"], "quantity": ["mes", "erp"]}}
    monkeypatch.setattr("datong_platform.standard.authority.load", lambda: owners)
    assert flows_of(tmp_path, FLOW.replace("operations:", "entity: work_order\n  operations:")), "what is made is ours"
    text = FLOW.replace("operations: [create]", "entity: work_order\n  operations: [update]")
    with pytest.raises(ConfigurationError, match=r"work_order\.quantity is owned by mes itself") as told:
        flows_of(tmp_path, text)
    assert told.value.thing.endswith("defs.yaml:15")
    with pytest.raises(ConfigurationError, match="does not say of which `entity`"):
        flows_of(tmp_path, FLOW.replace("operations: [create]", "operations: [update]"))
    with pytest.raises(ConfigurationError, match="knows no entity work_ordr"):
        flows_of(tmp_path, text.replace("entity: work_order", "entity: work_ordr"))


@pytest.mark.parametrize(
    ("freeze", "moment", "ends"),
    [
        ({"days": [-2, -1, 1]}, "2026-02-27T12:00+08:00", "2026-02-28T00:00+08:00"),
        ({"days": [-2, -1, 1]}, "2026-02-26T23:59+08:00", None),
        ({"days": [-1], "from": "18:00", "until": "08:00"}, "2026-02-28T17:59+08:00", None),
        ({"days": [-1], "from": "18:00", "until": "08:00"}, "2026-02-28T15:00+00:00", "2026-03-01T08:00+08:00"),
        ({"days": [-1], "from": "18:00", "until": "08:00"}, "2026-03-01T07:59+08:00", "2026-03-01T08:00+08:00"),
        ({"weekdays": ["sat", "sun"]}, "2026-02-28T12:00+08:00", "2026-03-01T00:00+08:00"),
        ({"weekdays": ["sat"], "months": [12]}, "2026-02-28T12:00+08:00", None),
        (
            {"starts": "2026-12-24T18:00", "ends": "2026-12-27T06:00"},
            "2026-12-24T10:00+00:00",
            "2026-12-27T06:00+08:00",
        ),
        ({"starts": "2026-12-24T18:00", "ends": "2026-12-27T06:00"}, "2026-12-24T09:59+00:00", None),
    ],
)
def test_a_freeze_holds_by_the_clock_of_its_own_zone(freeze: dict[str, Any], moment: str, ends: str | None) -> None:
    found = Freeze.model_validate({"why": "month-end close", "timezone": "Asia/Shanghai", **freeze})
    until = found.until_when(datetime.fromisoformat(moment))
    assert until == (datetime.fromisoformat(ends) if ends else None)


def test_failed_rows_wait_longer_each_time_but_not_for_ever() -> None:
    retry = Retry(wait_seconds=60, factor=4, longest_seconds=1000)
    assert [retry.wait(tries).total_seconds() for tries in (1, 2, 3, 4)] == [60, 240, 960, 1000]


GUIDE = Path(__file__).parents[2] / "ingestion" / "guides" / "write_back_targets.md"


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))
def test_the_flows_in_the_guide_of_targets_are_flows(text: str) -> None:
    flow = FlowConfig.model_validate(yaml.safe_load(text))
    assert flow.columns[0] == flow.key
