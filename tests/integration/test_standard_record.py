"""One record entered by hand obeys the law of an import, and a steward's word on a code counts at once."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from datetime import date

import pytest
from datong_platform.errors import ConfigurationError
from datong_platform.settings import Settings
from datong_platform.standard import codes, decisions
from datong_platform.standard.check import check_record, check_records, code_mapping
from datong_platform.standard.decisions import DecidedOtherwiseError

OPPORTUNITY = {"opportunity_id": "7", "customer_id": "12", "amount": "1,200.50", "currency": "CNY"}


def test_a_record_is_written_as_silver_would_hold_it(services: Settings) -> None:
    checked = check_record(
        "customer",
        {
            "customer_id": "0000001234",
            "customer_name": " 上海大通机床有限公司 ",
            "credit_code": "91350100ｍ000100Ｙ43",
            "phone": "021-58886666转801",
            "created_on": 45296,
        },
    )
    assert checked.is_taken
    assert checked.failures == ()
    assert checked.values["customer_id"] == "1234"
    assert checked.values["customer_name"] == "上海大通机床有限公司"
    assert checked.values["name_key"] == "上海大通机床"
    assert checked.values["credit_code"] == "91350100M000100Y43"
    assert checked.values["phone"] == "+862158886666;ext=801"
    assert checked.values["created_on"] == date(2024, 1, 5)


def test_every_broken_rule_of_every_record_is_told_in_their_order(services: Settings) -> None:
    first, second = check_records(
        "customer",
        [{"customer_id": "1", "customer_name": "N/A", "phone": "123"}, {"customer_id": "2", "customer_name": "大通"}],
    )
    assert {(each.field, each.rule, each.is_withheld) for each in first.failures} == {
        ("customer_name", "not_placeholder", True),
        ("phone", "telephone", False),
    }
    assert {each.dimension for each in first.failures} == {"completeness", "conformity"}
    assert not first.is_taken
    assert first.values["phone"] is None
    assert second.is_taken


def test_a_field_that_the_contract_lacks_is_named_with_the_one_meant(services: Settings) -> None:
    with pytest.raises(ConfigurationError, match="did you mean customer_name"):
        check_record("customer", {"customers_name": "x"})
    with pytest.raises(ConfigurationError, match="system sap: has no crosswalk"):
        check_record("customer", {"customer_id": "1"}, system="sap")


def test_a_steward_says_what_a_code_means_and_takes_it_back(services: Settings) -> None:
    sent = f"元{uuid.uuid4().hex[:6]}"
    record = {**OPPORTUNITY, "currency": sent}
    assert [each.rule for each in check_record("opportunity", record, system="crm").failures] == ["known_currency"]
    decided = codes.map_code("crm", "currency", sent, "CNY", who="li", why="they write 元")
    try:
        assert code_mapping("crm")["currency", sent] == "CNY"
        checked = check_record("opportunity", record, system="crm")
        assert checked.is_taken
        assert checked.values["currency"] == "CNY"
        with pytest.raises(DecidedOtherwiseError):
            codes.map_code("crm", "currency", sent, "USD", who="wang", why="no")
    finally:
        decisions.withdraw(decided.decision_id, "li", "a mistake")
    assert not check_record("opportunity", record, system="crm").is_taken


def test_the_command_tells_programs_and_its_status_says_whether_it_would_be_taken(services: Settings) -> None:
    record = json.dumps({"customer_id": "1", "customer_name": "暂无"}, ensure_ascii=False)
    command = [sys.executable, "-m", "datong_infra.cli", "standard", "check", "customer", "--format", "json"]
    done = subprocess.run([*command, "--record", "-"], input=record, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    (told,) = json.loads(done.stdout)
    assert told["is_taken"] is False
    assert told["failures"][0]["reason_zh"].endswith("暂无")
    wrong = subprocess.run([*command, "--record", "{"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "is not JSON" in wrong.stderr
