"""What is written back keeps to the schemas made from the contracts, in JSON and in XML; what does not is refused."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import jsonschema
import pyarrow as pa
import pytest
from datong_ingestion.write_back import mending, schemas
from datong_ingestion.write_back.config import FlowConfig, load_flows
from datong_ingestion.write_back.payload import Dialect, PayloadBuilder
from datong_platform.errors import ConfigurationError
from datong_platform.lake.columns import parse_type
from datong_platform.settings import DBT_PROJECT
from datong_platform.standard import compile as compiler
from datong_platform.standard.contract import contract
from lxml import etree

FLOWS = load_flows()
GOODS_ISSUE = {
    "goods_movement_code": "03",
    "document_date": date(2026, 10, 1),
    "posting_date": date(2026, 10, 1),
    "reference_document": "MC000000000040",
    "header_text": "MES MC000000000040",
    "goods_movement_type": "261",
    "material": "30000001",
    "plant": "1010",
    "storage_location": "0001",
    "manufacturing_order": "000001000005",
    "reservation": None,
    "reservation_item": None,
    "quantity": Decimal("12.500"),
    "entry_unit": "KG",
}
WORK_ORDER = {
    "order_no": "1000005",
    "part_no": "FG-1001",
    "quantity": Decimal("3.000"),
    "unit": "pcs",
    "planned_start_at": datetime(2026, 10, 1, tzinfo=UTC),
    "planned_end_at": None,
}
ROWS: dict[str, tuple[dict[str, Any], Dialect]] = {
    "consumption_to_erp": (GOODS_ISSUE, "odata_v2"),
    "production_order_to_mes": (WORK_ORDER, "rest"),
    "sales_status_to_erp": ({"sales_order": "0000500002", "production_status": "PRODUCED"}, "odata_v2"),
}


def payload(flow: FlowConfig, row: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    fields = contract(flow.table.name).fields
    types = {"int": "integer", "bigint": "long"}
    schema = pa.schema([(each.name, parse_type(types.get(each.physical_type, each.physical_type))) for each in fields])
    return PayloadBuilder(flow, schema, dialect).build({name: row.get(name) for name in schema.names})


def validator(name: str) -> Any:
    content = json.loads((DBT_PROJECT / schemas.OUTBOUND / f"{name}.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(content)
    return jsonschema.Draft202012Validator(content)


def test_the_files_are_as_the_contracts_and_the_flows_say() -> None:
    assert compiler.differences(also=schemas.generated()) == [], "run `datong standard compile`"
    assert {path.stem.removesuffix(".schema") for path in schemas.generated()} == set(FLOWS) == set(ROWS)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_what_a_flow_sends_is_valid_to_its_schema(name: str) -> None:
    row, dialect = ROWS[name]
    assert list(validator(name).iter_errors(payload(FLOWS[name], row, dialect))) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reference_document": "MC" + "0" * 20}, "too long"),
        ({"quantity": Decimal("-1.000")}, "does not match"),
        ({"posting_date": None}, "required property"),
    ],
)
def test_what_breaks_the_contract_is_refused_by_the_schema(change: dict[str, Any], words: str) -> None:
    sent = payload(FLOWS["consumption_to_erp"], GOODS_ISSUE | change, "odata_v2")
    (error,) = validator("consumption_to_erp").iter_errors(sent)
    assert words in error.message


def xml_of(quantity: str, reference: str = "MC000000000040") -> etree._Element:
    space = "urn:datong:outbound:consumption_to_erp"
    root = etree.Element(f"{{{space}}}A_MaterialDocumentHeader")
    for name, text in (
        ("GoodsMovementCode", "03"),
        ("DocumentDate", "2026-10-01"),
        ("PostingDate", "2026-10-01"),
        ("ReferenceDocument", reference),
        ("MaterialDocumentHeaderText", "MES"),
    ):
        etree.SubElement(root, f"{{{space}}}{name}").text = text
    item = etree.SubElement(root, f"{{{space}}}to_MaterialDocumentItem")
    for name, text in (
        ("Material", "30000001"),
        ("GoodsMovementType", "261"),
        ("ManufacturingOrder", "000001000005"),
        ("QuantityInEntryUnit", quantity),
        ("EntryUnit", "KG"),
    ):
        etree.SubElement(item, f"{{{space}}}{name}").text = text
    return root


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_xml_schema_is_one(name: str) -> None:
    etree.XMLSchema(etree.parse(DBT_PROJECT / schemas.OUTBOUND / f"{name}.xsd"))


def test_the_xml_schema_takes_a_right_record_and_refuses_wrong_ones() -> None:
    schema = etree.XMLSchema(etree.parse(DBT_PROJECT / schemas.OUTBOUND / "consumption_to_erp.xsd"))
    schema.assertValid(xml_of("12.500"))
    assert not schema.validate(xml_of("0"))
    assert not schema.validate(xml_of("1.2345"))
    assert not schema.validate(xml_of("1", reference="MC" + "0" * 20))


def test_a_flow_that_sends_what_the_contract_lacks_names_both() -> None:
    flow = FLOWS["sales_status_to_erp"].model_copy(update={"payload": FLOWS["production_order_to_mes"].payload})
    with pytest.raises(ConfigurationError, match="sends order_no, which is not in serve__erp__sales_order_status"):
        schemas.json_schema(flow, contract("erp__sales_order_status"), "odata_v2")


def test_values_that_a_person_gives_keep_the_contract_too() -> None:
    goods, order = FLOWS["consumption_to_erp"], FLOWS["production_order_to_mes"]
    mending.check(goods, "MC1", {"MaterialDocumentHeaderText": "counted again", "PostingDate": "2026-10-02"})
    mending.check(order, "1000005", {"quantity": "7.5", "plannedEnd": None})
    items = [{"Material": "30000001", "QuantityInEntryUnit": "-1", "EntryUnit": "KG"}]
    for flow, given, words in (
        (goods, {"MaterialDocumentHeaderText": "x" * 26}, "MaterialDocumentHeaderText: .* is too long"),
        (
            goods,
            {"to_MaterialDocumentItem": items},
            "Item.0.QuantityInEntryUnit: '-1' does not match",
        ),
        (goods, {"PostingDate": None}, "PostingDate: None is not of type 'string'"),
        (goods, {"PostingDate": "soon"}, "PostingDate: 'soon' is no date"),
        (order, {"quantity": "0"}, "quantity: 0 is less than or equal to"),
        (order, {"colour": "red"}, "the flow does not write colour"),
    ):
        with pytest.raises(ConfigurationError, match=words) as caught:
            mending.check(flow, "1", given)
        assert flow.flow in caught.value.thing
        assert "odcs.yaml" in caught.value.next_step


def test_a_mended_row_is_never_another_record() -> None:
    with pytest.raises(ConfigurationError, match="orderNo is the record's key"):
        mending.check(FLOWS["production_order_to_mes"], "1000005", {"orderNo": "1000006"})
    with pytest.raises(ConfigurationError, match="ReferenceDocument is the record's key"):
        mending.check(FLOWS["consumption_to_erp"], "MC1", {"ReferenceDocument": "MC2"})
