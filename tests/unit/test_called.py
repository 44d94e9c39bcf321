"""Titles of alerts are words for people in the plant, in both languages, whatever is wrong."""

from __future__ import annotations

import re

import pytest
from datong_assets import called
from datong_assets.components.quality import NOT_WORSE, RECONCILED, UNUSUAL
from datong_assets.components.source_system import CONSERVATION, REFUSED, SCHEMA
from datong_ingestion.systems_config import load_systems
from datong_ingestion.two_way.config import load_flows_and_ways, load_syncs
from datong_platform.errors import ConfigurationError
from datong_platform.quality.balances import balances

TECHNICAL = re.compile(r"[a-z]_[a-z]|\b[a-z]+\.[a-z]")
"""A name of the lake: `erp__sales_order`, `silver.customer`."""
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def _is_for_people(title: str, title_zh: str) -> None:
    assert not TECHNICAL.search(title), title
    assert not TECHNICAL.search(title_zh), title_zh
    assert CHINESE.search(title_zh), title_zh


def test_every_table_of_the_sources_and_every_flow_has_a_name_for_people() -> None:
    tables = [str(system.table(entity.name)) for system in load_systems().values() for entity in system.entities]
    flows = [f"write_back.{name}" for name in {**load_flows_and_ways(), **load_syncs()}]
    systems = [f"system.{name}" for name in load_systems()]
    for subject in [*tables, *flows, *systems]:
        _is_for_people(*called.thing(subject))


def test_names_tell_entity_and_system() -> None:
    assert called.thing("bronze.mes__work_order") == (
        "Work order (Manufacturing execution system)",
        "工单（制造执行系统）",
    )
    assert called.thing("source.mes.work_order") == called.thing("bronze.mes__work_order")
    assert called.thing("silver.customer") == ("Customer", "客户")
    assert called.thing("quarantine.customer") == ("Held back of Customer", "客户的隔离数据")
    assert called.thing("write_back.consumption_to_erp") == ("Actual consumption to the ERP", "实际消耗回写 ERP")
    assert called.thing("ingest_crm") == (
        "The reading of Customer relationship management",
        "客户关系管理的读取",
    )


@pytest.mark.parametrize("check", [NOT_WORSE, RECONCILED, CONSERVATION, REFUSED, SCHEMA, UNUSUAL[1], "verified"])
def test_a_failed_check_of_a_source_says_what_is_wrong(check: str) -> None:
    title, title_zh = called.failed_check("bronze.crm__contact", check)
    assert title.startswith("Contact (Customer relationship management): ")
    assert title_zh.startswith("联系人（客户关系管理）：")
    assert "check" not in title
    assert "检查" not in title_zh


def test_a_failed_check_of_a_column_names_the_column_as_the_standard_does() -> None:
    assert called.failed_check("silver.customer", "not_null_customer_name") == (
        "Customer: Customer name is empty",
        "客户：客户名称 为空",
    )


def test_a_check_that_could_not_be_made_says_nothing_of_the_rows() -> None:
    assert called.failed_check("silver.customer", "key", is_run=False) == (
        "Customer: a check could not be made",
        "客户：有检查未能执行",
    )


def test_a_balance_is_named_by_its_own_title() -> None:
    for one in balances():
        title, title_zh = called.failed_check(one.checked_on, one.name)
        assert title == f"Does not add up: {one.title}"
        assert title_zh == f"不平衡：{one.title_zh}"


def test_what_has_no_words_yet_is_named_all_the_same() -> None:
    assert called.thing("somewhere.else") == ("somewhere.else", "somewhere.else")
    assert called.failed_check("silver.customer", "my_own_rule")[0] == "Customer: failed its check “my own rule”"


def test_a_contract_that_is_wrong_does_not_stop_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ConfigurationError("contract customer", "is half written.", "finish it.")

    monkeypatch.setattr(called, "contracts", refuse)
    monkeypatch.setattr(called, "load_systems", refuse)
    monkeypatch.setattr(called, "load_flows_and_ways", refuse)
    assert called.thing("bronze.crm__contact") == ("Contact (crm)", "Contact（crm）")
    assert "customer" in called.failed_check("silver.customer", "key")[0].lower()
    assert called.thing("write_back.consumption_to_erp") == ("Consumption to erp", "Consumption to erp")
