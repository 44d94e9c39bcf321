"""A change of a contract is told breaking or harmless, with the tables and flows that it hits, column by column."""

import re

import pytest
from datong_assets.dbt import graph
from datong_assets.impact import Lineage
from datong_ingestion.write_back.config import load_flows
from datong_platform.errors import ConfigurationError
from datong_platform.settings import DBT_PROJECT
from datong_platform.standard import diff
from datong_platform.standard.contract import CONTRACTS, Contract, contracts, parse
from datong_platform.standard.diff import Change, compare

ITEM = (CONTRACTS / "sales_order_item.odcs.yaml").read_text("utf-8")


def read(text: str) -> Contract:
    found, wrong = parse(text, CONTRACTS / "sales_order_item.odcs.yaml")
    assert found is not None
    assert wrong == []
    return found


def told(old: str, new: str) -> list[Change]:
    assert old in ITEM
    return compare({"sales_order_item": read(ITEM)}, {"sales_order_item": read(ITEM.replace(old, new, 1))})


def of_field(name: str, text: str = ITEM) -> str:
    return re.split(r"(?m)^(?=      - name: )", text[text.index(f"      - name: {name}\n") :])[1]


@pytest.mark.parametrize(
    ("old", "new", "level", "words"),
    [
        (of_field("item_text"), "", "breaking", "gone"),
        ("name: item_text\n", "name: item_words\n", "breaking", "gone"),
        ("physicalType: decimal(15,3)", "physicalType: decimal(15,2)", "breaking", "was decimal(15,3)"),
        ("physicalType: decimal(15,3)", "physicalType: decimal(18,3)", "harmless", "was decimal(15,3)"),
        ("value: quantity_unit}", "value: currency}", "breaking", "unit currency, was quantity_unit"),
        (
            of_field("plant_id"),
            of_field("plant_id").replace("        classification", "        required: true\n        classification"),
            "breaking",
            "rule required is new",
        ),
        ("logicalTypeOptions: {exclusiveMinimum: 0}\n", "logicalTypeOptions: {minimum: 0}\n", "breaking", "positive"),
        ("Text of the item.", "What the customer reads.", "harmless", "description edited"),
        ("team: {name: sales}", "team: {name: logistics}", "harmless", "owner logistics, was sales"),
        (
            of_field("item_text"),
            of_field("item_text") + of_field("item_text").replace("name: item_text", "name: batch_id"),
            "harmless",
            "new, string",
        ),
    ],
)
def test_breaking_is_told_from_harmless(old: str, new: str, level: str, words: str) -> None:
    found = told(old, new)
    assert level in {change.level for change in found if words in change.what}, found
    assert level == "breaking" or not any(change.is_breaking for change in found)
    assert all(change.why for change in found if change.is_breaking), "somebody has to act"


def test_nothing_changed_is_nothing_told() -> None:
    assert compare(contracts()) == []


def test_a_contract_that_is_gone_breaks_its_readers_and_a_new_one_nobody() -> None:
    known = contracts()
    less = {name: each for name, each in known.items() if name != "scrap"}
    assert [(change.table, change.level) for change in compare(known, less)] == [("silver.scrap", "breaking")]
    assert [(change.table, change.level) for change in compare(less, known)] == [("silver.scrap", "harmless")]


def test_a_version_must_tell_what_changed() -> None:
    was = {"sales_order_item": read(ITEM)}
    gone = [Change("silver.sales_order_item", "item_text", "breaking", "gone", "its readers")]
    (wrong,) = diff.versions_to_raise(was, gone)
    assert (wrong.table, wrong.needed) == ("silver.sales_order_item", "2.0.0")
    new = [Change("silver.sales_order_item", "item_text", "harmless", "new")]
    assert [each.needed for each in diff.versions_to_raise(was, new)] == ["1.1.0"]


def test_a_revision_that_git_does_not_know_is_said_so() -> None:
    with pytest.raises(ConfigurationError, match="no-such-revision"):
        diff.at_revision("no-such-revision")


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> Lineage:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATONG_HOME", str(tmp_path_factory.mktemp("home")))
        return Lineage(graph.load(DBT_PROJECT), load_flows())


@pytest.mark.parametrize(
    ("column", "gold", "serve", "flows"),
    [
        # only passed through to a flow
        (
            ("silver.sales_order", "production_status"),
            set(),
            {"serve.erp__sales_order_status"},
            {"sales_status_to_erp"},
        ),
        # read under another name
        (
            ("silver.production_order_component", "source_reservation"),
            set(),
            {"serve.erp__goods_issue"},
            {"consumption_to_erp"},
        ),
        # read by nobody further down
        (("silver.work_order", "version"), set(), set(), set()),
        # two steps down, by `select *`
        (
            ("silver.sales_order_item", "delivered_quantity"),
            {"gold.fct_sales_order_item", "gold.mart_order_fulfilment"},
            {"serve.bi__order_fulfilment"},
            set(),
        ),
    ],
)
def test_a_change_names_the_tables_and_flows_that_read_the_column(
    lineage: Lineage, column: tuple[str, str], gold: set[str], serve: set[str], flows: set[str]
) -> None:
    found = lineage.impact(Change(*column, "breaking", "gone", "its readers"))
    assert set(found.gold) == gold
    assert set(found.serve) == serve
    assert set(found.flows) == flows


def test_a_column_that_is_gone_still_finds_who_reads_it(lineage: Lineage) -> None:
    change = Change("silver.sales_order_item", "old_text", "breaking", "gone", "its readers")
    assert lineage.impact(change).gold == ()
    known = Lineage(lineage.graph, lineage.flows, {"silver.sales_order_item": ["old_text"]})
    # the fact names its columns, so only a column that it names is read; a table that is gone hits all of them
    assert known.impact(change).gold == ()
    gone = Change("silver.sales_order_item", "", "breaking", "the contract is gone", "its readers")
    assert "gold.fct_sales_order_item" in known.impact(gone).gold
