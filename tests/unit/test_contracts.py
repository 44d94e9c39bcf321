"""Contracts: every file is right, and a mistake is told with file, line, field, and what to do about it."""

import shutil
from pathlib import Path

import pytest
from datong_platform.errors import ConfigurationError
from datong_platform.lake.indexes import Index
from datong_platform.settings import DBT_PROJECT
from datong_platform.standard import compile as compiler
from datong_platform.standard import conform, odcs
from datong_platform.standard import contract as contracts_of
from datong_platform.standard.contract import (
    CONTRACTS,
    Contract,
    Problem,
    contract,
    contract_files,
    contracts,
    parse,
    problems,
)

ITEM = (CONTRACTS / "sales_order_item.odcs.yaml").read_text("utf-8")


def edited(old: str, new: str) -> tuple[Contract | None, list[contracts_of.Problem]]:
    assert old in ITEM
    return parse(ITEM.replace(old, new, 1), CONTRACTS / "sales_order_item.odcs.yaml")


def line_of(words: str, text: str = ITEM) -> int:
    return text[: text.index(words)].count("\n") + 1


def test_every_contract_of_the_project_is_right() -> None:
    assert problems() == []
    assert len(contracts("silver")) >= 19
    assert len(contracts("serve")) >= 7
    assert len(contracts()) == len(contract_files())


def test_a_contract_tells_types_units_and_what_a_row_must_keep_to() -> None:
    item = contract("sales_order_item")
    quantity = item.field("quantity")
    assert (quantity.unit_field, quantity.physical_type, quantity.precision, quantity.scale) == (
        "quantity_unit",
        "decimal(15,3)",
        15,
        3,
    )
    assert item.field("amount").currency_field == "currency"
    assert item.key == ("source_system", "source_key")
    assert item.title_zh == "销售订单行"
    assert {(rule.field, rule.name) for rule in item.rules} >= {
        ("quantity", "positive"),
        ("quantity_unit", "known_unit"),
        ("material_id", "refers_to_material"),
        ("sales_order_id", "required"),
    }
    assert [field.name for field in contract("scrap").columns[-3:]] == [
        "_datong_version",
        "_datong_batch_id",
        "_datong_ingested_at",
    ]


def test_a_reference_of_several_fields_is_a_rule_too() -> None:
    rule = next(rule for rule in contract("material_movement").rules if rule.name == "refers_to_material_document")
    assert rule.params["fields"] == ["material_document_year", "material_document_id"]
    assert rule.field == "material_document_id"


@pytest.mark.parametrize(
    "mistake",
    [
        ("logicalType: number", "logicalType: numeric", "logicalType: number", "logicalType", "string, integer"),
        ("physicalType: decimal(15,3)", "physicalType: text", "physicalType: decimal", "no type", "decimal"),
        ("value: quantity_unit}", "value: quantity_unity}", "- name: quantity\n", "quantity_unity", "name the field"),
        ("{property: unit_field,", "{property: unitfield,", "unit_field", "unitfield", "unit_field, currency_field"),
        ("apiVersion: v3.2.0", "apiVersion: v2.2.0", "apiVersion", "v2.2.0", "v3.2.0"),
        ("      - name: item_text", "      - name: material_id", "- name: item_text", "already on line", "keep one"),
        ("classification: general", "classification: secret", "classification", "secret", "personal"),
        ("classification: general", "classification: personal", "classification", "mask is missing", "add the custom"),
        ("latency, value: 24, unit: h", "latency, value: 24, unit: moons", "latency", "not understood", "h or d"),
        ("properties/material_id", "properties/material_no", "properties/material_id", "material_no", "name the field"),
    ],
)
def test_a_mistake_names_its_line_its_field_and_the_next_step(
    mistake: tuple[str, str, str, str, str], tmp_path: Path
) -> None:
    old, new, place, reason, next_step = mistake
    folder = tmp_path / "contracts"
    folder.mkdir()
    for path in (CONTRACTS / "sales_order.odcs.yaml", CONTRACTS / "material.odcs.yaml"):
        (folder / path.name).write_text(path.read_text("utf-8"), "utf-8")
    (folder / "sales_order_item.odcs.yaml").write_text(ITEM.replace(old, new, 1), "utf-8")
    (found,) = problems(folder)
    assert found.line == line_of(place)
    assert reason in found.reason
    assert next_step in found.next_step
    with pytest.raises(ConfigurationError) as raised:
        contracts(folder=folder)
    assert f"sales_order_item.odcs.yaml:{found.line}" in raised.value.thing


BI = (CONTRACTS / "serve__bi__order_fulfilment.odcs.yaml").read_text("utf-8")


def of_bi(more: str) -> tuple[Contract | None, list[Problem]]:
    """The contract of a table that reports read, with further custom properties of the table."""
    audience = "      - {property: audience, value: bi}\n"
    assert audience in BI
    return parse(BI.replace(audience, audience + more), CONTRACTS / "serve__bi__order_fulfilment.odcs.yaml")


def test_a_contract_tells_the_indexes_and_the_order_of_a_table_that_reports_read() -> None:
    found, wrong = of_bi(
        "      - property: indexes\n"
        "        value: [ordered_on, [plant_id, material_id], {columns: [as_of_on], method: brin}]\n"
        "      - {property: cluster_by, value: requested_delivery_on}\n"
    )
    assert not wrong
    assert found
    assert found.indexes == (
        Index(("ordered_on",)),
        Index(("plant_id", "material_id")),
        Index(("as_of_on",), "brin"),
    )
    assert found.cluster_by == "requested_delivery_on"
    by_default, _ = of_bi("")
    assert by_default
    assert (by_default.indexes, by_default.cluster_by) == (None, None)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("      - {property: indexes, value: [order_on]}\n", "order_on, which is no field"),
        ("      - {property: indexes, value: [{columns: [amount], method: hash}]}\n", "method hash"),
        ("      - {property: cluster_by, value: plant_id}\n", "no date and no whole number"),
    ],
)
def test_an_index_or_order_that_cannot_be_is_told(more: str, reason: str) -> None:
    _, (found,) = of_bi(more)
    assert reason in found.reason


def test_a_file_that_is_no_yaml_names_the_line() -> None:
    _, (found,) = edited("    businessName: Sales order item", "    businessName: Sales: order: item")
    assert found.line == line_of("    businessName: Sales order item")
    assert "not YAML" in found.reason


def test_a_key_given_twice_is_told_not_overwritten() -> None:
    _, (found,) = edited("domain: sales", "domain: sales\ndomain: logistics")
    assert found.line == line_of("domain: sales") + 1
    assert "given twice" in found.reason


def test_an_entity_without_a_contract_lists_those_that_have_one() -> None:
    with pytest.raises(ConfigurationError, match="sales_order_item"):
        contract("sales_order_itm")


def test_generated_files_are_as_the_contracts_say() -> None:
    assert [f"{change.kind} {change.path}" for change in compiler.differences()] == [], "run `datong standard compile`"


def test_an_edited_contract_or_a_touched_file_is_seen_and_mended_by_compile(tmp_path: Path) -> None:
    for path in (
        compiler.MACROS,
        compiler.LINT.parent,
        compiler.SILVER,
        compiler.QUARANTINE,
        compiler.MASKED,
        compiler.SERVE,
    ):
        shutil.copytree(DBT_PROJECT / path, tmp_path / path)
    touched = tmp_path / compiler.SILVER / "supplier.yml"
    touched.write_text(touched.read_text("utf-8").replace("data_type: boolean", "data_type: string"), "utf-8")
    (tmp_path / compiler.MACROS / "conform__ghost.sql").write_text("{# #}", "utf-8")
    (tmp_path / compiler.QUARANTINE / "quarantine_customer.sql").unlink()
    found = {(change.kind, change.path.name) for change in compiler.differences(tmp_path)}
    assert found == {
        ("changed", "supplier.yml"),
        ("stale", "conform__ghost.sql"),
        ("missing", "quarantine_customer.sql"),
    }
    compiler.write(tmp_path)
    assert compiler.differences(tmp_path) == []
    assert touched.read_text("utf-8") == (DBT_PROJECT / compiler.SILVER / "supplier.yml").read_text("utf-8")


def test_every_contract_is_valid_to_the_published_schema_of_odcs() -> None:
    assert odcs.problems() == []


def test_what_the_published_schema_refuses_is_told_with_line_and_field() -> None:
    text = ITEM.replace("        required: true\n", "        requird: true\n", 1)
    found = list(odcs.problems_of(text, CONTRACTS / "sales_order_item.odcs.yaml"))
    assert any(each.field == "source_system" and "requird" in each.reason for each in found)


def test_a_part_that_does_not_name_a_parent_of_its_entity_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="material"):
        conform.sql(contract("sales_order_item"), "given_rows", parents={"sales_order": "orders"})


def test_the_same_sql_is_made_for_a_relation_of_ones_own() -> None:
    made = conform.sql(contract("sales_order_item"), "(select 1)", parents={"sales_order": "orders", "material": None})
    assert "left join (select distinct sales_order_id" in made
    assert "refers_to_material" not in made, "nothing was named to look the material up in"
    assert "{{" not in made
    assert "{%" not in made
