"""A proposed definition: names, questions, secrets that stay out of it, and text that reads back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datong_infra.cli.app import app
from datong_ingestion.connections.rest import Paging
from datong_ingestion.discovery import definition_text
from datong_ingestion.discovery import proposal as proposing
from datong_ingestion.discovery.answers import connection_of, protocols, questions
from datong_ingestion.discovery.json_shape import of_answer, shape
from datong_ingestion.discovery.proposal import Proposal, ProposedEntity, entity_name, seed
from datong_ingestion.http import HttpClient
from datong_ingestion.systems_config import PROTOCOLS, load_systems
from datong_platform.errors import ConfigurationError, DatongError
from typer.testing import CliRunner


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("API_SALES_ORDER_SRV/A_SalesOrder", "sales_order"),
        ("API_MATERIAL_STOCK_SRV/A_MatlStkInAcctMod", "matl_stk_in_acct_mod"),
        ("API_PRODUCTION_ORDER_2_SRV/A_ProductionOrder_2", "production_order_2"),
        ("public.sale_order_line", "sale_order_line"),
        ("/api/v2/work-orders", "work_orders"),
        ("dbo.T_BD_Material", "bd_material"),
        ("orders/2026/orders.csv", "orders"),
        ("plant1.mes.events", "events"),
        ("BD_MATERIAL", "bd_material"),
        ("data.销售订单", "data"),
        ("销售订单", "entity"),
        ("/3rd-party/*", "rd_party"),
    ],
)
def test_an_entity_is_named_after_the_last_telling_part_of_its_address(address: str, name: str) -> None:
    assert entity_name(address) == name


def test_every_protocol_tells_what_its_connection_needs() -> None:
    assert set(protocols()) == set(PROTOCOLS)
    for protocol in protocols():
        found = {question.name: question for question in questions(protocol)}
        assert "concurrency" in found, protocol
        required = [name for name, question in found.items() if question.required]
        assert list(found)[: len(required)] == required, "what must be answered is asked first"


def test_every_protocol_can_be_asked_about_an_entity() -> None:
    for protocol, kind in PROTOCOLS.items():
        least = seed(protocol, "thing", "somewhere", {})
        assert least["mode"] in kind.modes, protocol


def test_secrets_given_in_plain_become_references() -> None:
    given = {
        "base_url": "https://mes.example",
        "auth": "bearer",
        "token": "plain-token",
        "headers.X-Api-Key": "plain-key",
        "headers.Accept-Language": "zh",
        "paging.style": "next_cursor",
        "paging.limit": "200",
    }
    found = connection_of("shop_floor", "rest", given)
    assert found.connection == {
        "base_url": "https://mes.example",
        "auth": "bearer",
        "token": "${SHOP_FLOOR_TOKEN}",
        "headers": {"X-Api-Key": "${SHOP_FLOOR_HEADERS_X_API_KEY}", "Accept-Language": "zh"},
        "paging": {"style": "next_cursor", "limit": 200},
    }
    assert found.secrets == {"SHOP_FLOOR_TOKEN": "plain-token", "SHOP_FLOOR_HEADERS_X_API_KEY": "plain-key"}


def test_parts_of_parts_can_be_said_and_hide_their_secrets() -> None:
    given = {
        "base_url": "https://x",
        "auth": "oauth2",
        "oauth2.token_url": "https://x/token",
        "oauth2.client_id": "me",
        "oauth2.client_secret": "plain",
        "oauth2.params.resource": "https://x/api",
    }
    found = connection_of("d365", "odata_v4", given)
    assert found.connection["oauth2"] == {
        "token_url": "https://x/token",
        "client_id": "me",
        "client_secret": "${D365_OAUTH2_CLIENT_SECRET}",
        "params": {"resource": "https://x/api"},
    }
    within = {question.name for question in questions("odata_v4") if question.within == "oauth2"}
    assert within == {"oauth2.token_url", "oauth2.client_id", "oauth2.client_secret"}


def test_an_address_with_a_log_in_is_a_secret_too() -> None:
    found = connection_of("shop", "rest", {"base_url": "https://reader:pass@mes.example"})
    assert found.connection == {"base_url": "${SHOP_BASE_URL}"}
    assert connection_of("shop", "sql", {"url": "${CRM_URL}"}).secrets == {}


def test_a_field_that_the_protocol_does_not_know_is_refused_with_those_it_knows() -> None:
    with pytest.raises(ConfigurationError, match=r"connection\.adress") as caught:
        connection_of("shop", "rest", {"adress": "x"})
    assert "base_url" in caught.value.next_step


def proposal(**connection: Any) -> Proposal:
    content = {
        "system": "shop",
        "title": "Shop: the 'first' one",
        "protocol": "rest",
        "connection": {"base_url": "${SHOP_URL}", "auth": "bearer", "token": "${SHOP_TOKEN}", **connection},
    }
    order = {
        "name": "order",
        "source": "/orders",
        "keys": ["id"],
        "mode": "cursor",
        "cursor": "changed",
        "fields": {"id": "long", "changed": "timestamp", "yes": "string", "amount": "decimal(15,3)", "单号": "string"},
    }
    remarks = ["5 fields; seen: 12 rows, all there are.", "A remark that goes on " * 9]
    return Proposal(content, [ProposedEntity(order, 5, 12, True, remarks)], [])


def test_the_text_reads_back_as_what_was_proposed(tmp_path: Path) -> None:
    made = proposal(paging={"style": "page", "limit": 100}, headers={"X: odd": "#1"})
    path = definition_text.write(made, tmp_path)
    assert path == tmp_path / "shop" / "defs.yaml"
    assert load_systems(tmp_path)["shop"] == made.system
    text = path.read_text(encoding="utf-8")
    assert 'token: "${SHOP_TOKEN}"' in text
    assert "# 5 fields; seen: 12 rows, all there are." in text
    assert "单号: string" in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_definition_is_replaced_only_when_that_is_asked_for(tmp_path: Path) -> None:
    definition_text.write(proposal(), tmp_path)
    with pytest.raises(ConfigurationError, match="is defined already"):
        definition_text.write(proposal(), tmp_path)
    definition_text.write(proposal(data_path="rows"), tmp_path, replace=True)
    assert "data_path: rows" in (tmp_path / "shop" / "defs.yaml").read_text(encoding="utf-8")


def test_a_name_that_is_taken_is_refused_before_its_secret_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATONG_SECRETS_FOLDER", str(tmp_path / "secrets"))
    definition_text.write(proposal(), tmp_path / "defs")
    asked = ["new", "source", "shop", "--protocol", "sql", "-c", "url=postgresql://me:word@127.0.0.1:9/x", "-e", "t"]
    done = CliRunner().invoke(app, [*asked, "--yes", "--folder", str(tmp_path / "defs")])
    assert isinstance(done.exception, ConfigurationError)
    assert "is defined already" in done.exception.reason
    assert not (tmp_path / "secrets").exists()


def test_a_dry_run_keeps_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATONG_SECRETS_FOLDER", str(tmp_path / "secrets"))
    monkeypatch.setenv("DRY_URL", "")
    asked = ["new", "source", "dry", "--protocol", "sql", "-c", "url=postgresql://me:word@127.0.0.1:9/x", "-e", "t"]
    done = CliRunner().invoke(app, [*asked, "--yes", "--dry-run"])
    assert isinstance(done.exception, DatongError), "nobody answers there"
    assert not (tmp_path / "secrets").exists()


@pytest.mark.parametrize("protocol", ["kafka", "mysql_log", "postgresql_log", "sql"])
def test_a_pattern_takes_what_a_system_offers_whatever_its_modes(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Offers:
        def entities(self) -> list[str]:
            return ["plant1.state", "plant2.state"]

        def close(self) -> None:
            pass

    monkeypatch.setattr(proposing, "connect", lambda _: Offers())
    name = "bootstrap_servers" if protocol == "kafka" else "url"
    content = {"system": "shop", "protocol": protocol, "connection": {name: "127.0.0.1:9"}}
    assert proposing.offered(content, ["plant1.*"], {}) == ["plant1.state"]


def test_a_system_of_that_name_in_another_file_is_not_defined_a_second_time(tmp_path: Path) -> None:
    definition_text.write(proposal(), tmp_path)
    (tmp_path / "shop").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="is defined already"):
        definition_text.write(proposal(), tmp_path, replace=True)


@pytest.mark.parametrize(
    ("answer", "link", "expected"),
    [
        ([{"id": 1}], False, {}),
        ([{"id": 1}], True, {"paging": {"style": "link_header"}}),
        (
            {"data": [{"id": 1, "lines": [{"n": 1}, {"n": 2}, {"n": 3}]}], "next_cursor": None},
            False,
            {"data_path": "data", "paging": {"style": "next_cursor", "next_path": "next_cursor"}},
        ),
        (
            {"result": {"items": [{"id": 1}], "links": [{"rel": "self"}], "next": "/orders?page=2"}},
            False,
            {"data_path": "result.items", "paging": {"style": "next_link", "next_path": "result.next"}},
        ),
        (
            {"rows": [{"id": 1}], "meta": {"nextPageToken": "abc"}},
            False,
            {
                "data_path": "rows",
                "paging": {"style": "next_cursor", "next_path": "meta.nextPageToken", "cursor_param": "pageToken"},
            },
        ),
        ({"rows": [{"id": 1}], "total": 900}, False, {"data_path": "rows"}),
        ({"message": "hello"}, False, {}),
    ],
)
def test_an_answer_shows_where_rows_are_and_how_pages_go(answer: Any, link: bool, expected: dict[str, Any]) -> None:
    assert of_answer(answer, link=link)[0] == expected


@pytest.mark.parametrize(
    ("beside", "asked", "style"),
    [
        ({"page": 1, "pageSize": 3, "total": 8}, {"page": "2", "pageSize": "3"}, "page"),
        ({"pageIndex": 0, "size": 3}, {"pageIndex": "1", "size": "3"}, "page"),
        ({"offset": 0, "limit": 3, "count": 8}, {"offset": "3", "limit": "3"}, "offset"),
        ({"page": 1, "pageSize": 50}, None, ""),
        ({"total": 8}, None, ""),
    ],
)
def test_counted_pages_are_proposed_where_the_second_one_came(
    monkeypatch: pytest.MonkeyPatch, beside: dict[str, Any], asked: dict[str, str] | None, style: str
) -> None:
    requests: list[dict[str, str]] = []

    def answers(*, deaf: bool) -> dict[str, Any]:
        def fetch(_self: Any, _read: Any, _method: str, _url: str, **named: Any) -> Any:
            requests.append(dict(named["params"]))
            first = 0 if deaf or not named["params"] else 3
            return {"items": [{"id": first + n} for n in range(3)], **beside}, False

        monkeypatch.setattr(HttpClient, "fetch", fetch)
        requests.clear()
        connection = {"base_url": "http://127.0.0.1:9"}
        return shape({"system": "mes", "protocol": "rest", "connection": connection}, "orders")[0]

    found = answers(deaf=False)
    assert requests[1:] == ([asked] if asked else [])
    assert found.get("paging", {}).get("style", "") == style
    if "total" in beside and style:
        assert found["paging"]["total_path"] == "total"
    Paging.model_validate(found.get("paging", {}))
    assert "paging" not in answers(deaf=True), "a server that ignores the parameters is not read page by page"


def test_a_count_without_a_way_to_the_next_page_is_told() -> None:
    (remark,) = of_answer({"rows": [{"id": 1}], "total": 900})[1]
    assert "counts 900 rows at total and sent 1" in remark


def test_a_rebuild_names_one_entity_and_stands_alone() -> None:
    done = CliRunner().invoke(app, ["ingest", "shop", "--rebuild"])
    assert isinstance(done.exception, ConfigurationError)
    assert "datong ingest shop ENTITY --rebuild" in done.exception.next_step
    both = CliRunner().invoke(app, ["ingest", "shop", "order", "--rebuild", "--backfill"])
    assert both.exit_code == 2
