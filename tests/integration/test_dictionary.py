"""The data dictionary: made of the contracts and of what flows where, in two languages, and found by searching."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from datong_assets import dictionary_page as pages
from datong_assets.dictionary import Dictionary, dictionary
from datong_platform.settings import Settings
from datong_platform.standard.contract import contracts


@pytest.fixture(scope="module")
def found(services: Settings) -> Dictionary:
    return dictionary(scores={"silver.sales_order_item": 0.99951})


def test_every_contract_is_in_it_with_every_field(found: Dictionary) -> None:
    for contract in contracts().values():
        table = found.by_name[contract.table]
        assert [column.name for column in table.fields] == [column.name for column in contract.columns]
        assert (table.owner, table.version, table.title_zh) == (contract.owner, contract.version, contract.title_zh)
    assert found.notes == ()
    assert "gold.fct_sales_order_item" in found.by_name, "tables without a contract are there, too"


def test_its_chinese_pages_explain_tables_and_fields_in_chinese(found: Dictionary) -> None:
    index, customer = pages.content(found, pages.INDEX, "zh"), pages.content(found, "silver.customer.html", "zh")
    english = pages.content(found, "silver.customer.html", "en")
    assert index
    assert customer
    assert english
    assert "各系统各自登记的客户；哪些是同一家公司" in "".join(index.body)
    text = "".join(customer.body)
    assert "每个系统的每个客户一行。" in text
    assert "统一社会信用代码（GB 32100）；校验位错误时为空。" in text
    assert "Unified social credit code" not in text
    assert "Unified social credit code" in "".join(english.body)
    assert "校验位错误时为空" in pages.words(found, "zh")
    assert "校验位错误时为空" not in pages.words(found, "en")


def test_a_field_tells_its_unit_its_codes_its_rules_and_what_it_names(found: Dictionary) -> None:
    columns = {column.name: column for column in found.by_name["silver.sales_order_item"].fields}
    assert columns["quantity"].unit == "quantity_unit"
    assert columns["quantity_unit"].code_set == "unit"
    assert columns["material_id"].refers_to == "material.material_id"
    assert {rule.on_failure for rule in columns["material_id"].rules} == {"withhold"}
    assert all(rule.title_zh and rule.dimension_zh for column in columns.values() for rule in column.rules)


def test_lineage_leads_from_the_systems_fields_to_the_flows_that_write_back(found: Dictionary) -> None:
    order = found.by_name["serve.mes__work_order"]
    assert {link.name for link in order.goes_into if link.kind == "flow"} == {"production_order_to_mes"}
    assert set(order.origins) >= {"erp", "mes"}
    written = {column.name: column.written_to for column in order.fields}
    assert any("quantity" in one for one in written["quantity"])
    item = found.by_name["silver.sales_order_item"]
    assert ("source", "erp.sales_order_item") in {(link.kind, link.name) for link in item.made_of}
    assert "gold.fct_sales_order_item" in {link.name for link in item.goes_into}


def test_code_lists_say_what_each_system_calls_a_code(found: Dictionary) -> None:
    units = next(one for one in found.code_sets if one.name == "unit")
    kilogram = next(code for code in units.codes if code.code == "KGM")
    assert "KG" in kilogram.systems["erp"]
    assert kilogram.title_zh == "千克"
    assert "silver.sales_order_item.quantity_unit" in units.used_by


def test_the_glossary_and_the_columns_that_hold_its_words_lead_to_each_other(found: Dictionary) -> None:
    assert {term.kind for term in found.terms} == {"term", "metric"}
    for lang, title in (("en", "Inventory turnover"), ("zh", "库存周转率")):
        glossary = pages.content(found, pages.TERMS, "zh" if lang == "zh" else "en")
        assert glossary
        text = "".join(glossary.body)
        assert 'id="inventory_turnover"' in text
        assert 'href="serve.bi__inventory_turnover.html#turnover_rate"' in text
        mart = pages.content(found, "gold.mart_inventory_turnover.html", "zh" if lang == "zh" else "en")
        assert mart
        assert f'href="terms.html#inventory_turnover">{title}</a>' in "".join(mart.body)
    assert "terms.html#late_order_item" in pages.words(found, "en")
    assert found.as_dict()["terms"][0].keys() >= {"definition_zh", "formula"}


def test_the_site_is_whole_in_both_languages_and_needs_no_network(found: Dictionary, tmp_path: Path) -> None:
    first = pages.site(found, tmp_path)
    assert first.exists()
    stale = tmp_path / "zh" / "silver.no_more.html"
    stale.write_text("old", encoding="utf-8")
    pages.site(found, tmp_path)
    assert not stale.exists(), "a table that is gone has no page"
    for lang in ("en", "zh"):
        folder = tmp_path / lang
        ids = {
            path.name: set(re.findall(r'id="([^"]+)"', path.read_text(encoding="utf-8")))
            for path in folder.glob("*.html")
        }
        assert len(ids) == len(pages.names(found))
        for path in folder.glob("*.html"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r'(?:src|href)="(?:[a-z]+:)?//', text)
            # the tab's icon is in the page itself
            for target in re.findall(r'href="(?!data:image/)([^"]+)"', text):
                page, _, anchor = target.partition("#")
                name = page or path.name
                if name.startswith("../"):
                    assert (folder / name).exists(), f"{path.name} leads to {target}"
                    continue
                assert name in ids, f"{path.name} leads to {target}"
                assert not anchor or anchor in ids[name], f"{path.name} leads to {target}"
    zh = (tmp_path / "zh" / "silver.sales_order_item.html").read_text(encoding="utf-8")
    assert "销售订单行" in zh
    assert "拦截整行" in zh
    assert "99.9 %" in zh, "a score is not rounded up"


def test_what_the_search_reads_names_every_table_field_and_code_and_leads_somewhere(found: Dictionary) -> None:
    rows = json.loads(pages.words(found, "zh").removeprefix("window.datongWords = ").rstrip().removesuffix(";"))
    named = {row[1]: row for row in rows}
    assert named["silver.sales_order_item.quantity"][3] == "数量"
    assert named["unit KGM"][0] == "codes.unit.html#KGM"
    assert {row[0].partition("#")[0] for row in rows} <= set(pages.names(found))
