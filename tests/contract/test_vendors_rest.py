"""Vendors' systems that are a profile of REST: Kingdee K3Cloud and Oracle ERP Cloud."""

from __future__ import annotations

import hmac
import importlib.util
import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import yaml
from datong_ingestion.run import ingest_entity
from datong_ingestion.systems_config import SystemConfig, load_systems
from datong_platform.errors import AuthenticationError, ConfigurationError, DatongError, ProtocolError
from datong_platform.lake import history, storage
from datong_platform.names import bronze
from datong_platform.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("vendors", Path(__file__).with_name("vendors.py"))
assert _SPEC
assert _SPEC.loader
vendors = importlib.util.module_from_spec(_SPEC)
__import__("sys").modules["vendors"] = vendors
_SPEC.loader.exec_module(vendors)


class Kingdee:
    """A K3Cloud, and its bills in the lake."""

    def __init__(self) -> None:
        self.cloud = vendors.K3Cloud()
        self.name = f"k{uuid.uuid4().hex[:8]}"
        self.table = bronze(self.name, "bill")

    def put(self, *ids: int, day: int = 1, **changes: Any) -> None:
        for number in ids:
            self.cloud.bills[number] = {
                "FID": number,
                "FBillNo": f"采购-{number:05d}",
                "FQty": float(number) + 0.25,
                "FDocumentStatus": "C",
                "FModifyDate": f"2026-03-{day:02d}T08:00:{number % 60:02d}.123",
                **changes,
            }

    def ingest(self, connection: dict[str, Any] | None = None, **entity: Any) -> Any:
        fields = {"FID": "long", "FBillNo": "string", "FQty": "decimal(23,10)", "FDocumentStatus": "string"}
        fields |= {"FModifyDate": "timestamp_ntz"}
        declared = {
            "profile": "kingdee_k3cloud",
            "base_url": f"{self.cloud.server.address}/k3cloud",
            "user": self.cloud.user,
            "password": self.cloud.password,
            "variables": {"database": self.cloud.database},
            "attempts": 2,
            "max_wait_seconds": 0.1,
            **(connection or {}),
        }
        entity = {"name": "bill", "source": "PUR_PurchaseOrder", "keys": ["FID"], "fields": fields, **entity}
        system = {"system": self.name, "protocol": "rest", "connection": declared, "entities": [entity]}
        return ingest_entity(SystemConfig.model_validate(system), "bill")

    def rows(self) -> dict[int, dict[str, Any]]:
        delta = history.open_table(self.table)
        assert delta
        found = sorted(delta.to_pyarrow_table().to_pylist(), key=lambda row: row["_datong_batch_id"])
        last = {row["FID"]: row for row in found}
        return {key: row for key, row in sorted(last.items()) if row["_datong_operation"] != "delete"}


@pytest.fixture
def kingdee(services: Settings) -> Iterator[Kingdee]:
    made = Kingdee()
    yield made
    made.cloud.server.stop()


OFFSET = {"paging": {"style": "offset", "offset_param": "", "limit_param": "", "limit": 2000}}


@pytest.mark.parametrize("options", [None, OFFSET])
def test_bills_of_several_pages_come_once_with_their_names(kingdee: Kingdee, options: Any) -> None:
    kingdee.put(*range(1, 4502))
    result = kingdee.ingest(options=options)
    assert (result.rows, result.total_rows) == (4501, 4501)
    row = kingdee.rows()[4501]
    assert row["FBillNo"] == "采购-04501"
    assert row["FQty"] == Decimal("4501.2500000000")
    assert row["FModifyDate"] == datetime(2026, 3, 1, 8, 0, 1, 123000)
    queries = [asked.json["data"] for asked in kingdee.cloud.server.asked if b"FormId" in asked.body]
    assert {asked["FormId"] for asked in queries} == {"PUR_PurchaseOrder"}
    assert {asked["FieldKeys"] for asked in queries} == {"FID,FBillNo,FQty,FDocumentStatus,FModifyDate"}
    assert [asked["StartRow"] for asked in queries[:3]] == ([0, 0, 0] if options is None else [0, 1999, 3998])


def test_a_change_is_asked_for_by_its_date_and_a_delete_found_by_the_keys(kingdee: Kingdee) -> None:
    kingdee.put(*range(1, 40))
    kingdee.ingest(detect_deletes=True)
    kingdee.put(7, 41, day=9, FDocumentStatus="D")
    del kingdee.cloud.bills[9]
    result = kingdee.ingest(detect_deletes=True, overlap_seconds=60, filter="FDocumentStatus <> 'Z'")
    assert (result.rows, result.deletes) == (2, 1)
    assert kingdee.rows()[7]["FDocumentStatus"] == "D"
    assert set(kingdee.rows()) == {*range(1, 42)} - {9, 40}
    conditions = [asked.json["data"]["FilterString"] for asked in kingdee.cloud.server.asked if b"FormId" in asked.body]
    assert "(FDocumentStatus <> 'Z') and (FModifyDate >= '2026-03-01 07:59:39')" in conditions
    assert kingdee.ingest(detect_deletes=True).batches == []


def test_a_session_that_ended_is_opened_anew_and_closed_in_the_end(kingdee: Kingdee) -> None:
    kingdee.put(*range(1, 4100))
    real, count = kingdee.cloud._query, iter(range(100))

    def forgetting(said: Any) -> Any:
        if next(count) == 1:
            kingdee.cloud.sessions.clear()
        return real(said)

    kingdee.cloud._query = forgetting
    assert kingdee.ingest().rows == 4099
    assert kingdee.cloud.log_ins == 2
    assert kingdee.cloud.sessions == set()


def test_an_error_at_status_200_is_an_error_with_its_words(kingdee: Kingdee) -> None:
    kingdee.put(1)
    fields = {"FID": "long", "FGone": "string", "FModifyDate": "timestamp_ntz"}
    with pytest.raises(ProtocolError, match="FGone的字段不存在"):
        kingdee.ingest(fields=fields)
    assert history.open_table(kingdee.table) is None


def test_a_refused_log_in_names_the_next_step_and_no_password(kingdee: Kingdee) -> None:
    with pytest.raises(AuthenticationError, match="用户名或密码错误") as caught:
        kingdee.ingest({"password": "wrong-pass-9"})
    assert "wrong-pass-9" not in str(caught.value)


def test_no_password_and_no_session_is_written(kingdee: Kingdee, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    kingdee.put(1, 2)
    result = kingdee.ingest()
    written = [caplog.text, repr(result)]
    written += [(storage.get(key) or b"").decode(errors="replace") for key in storage.keys(f"{kingdee.table.path}/")]
    for text in written:
        assert kingdee.cloud.password not in text
        assert "kd-session" not in text


def test_a_profile_without_its_database_is_a_mistake_of_the_definition(kingdee: Kingdee) -> None:
    with pytest.raises(ConfigurationError, match=r"needs variables\.database"):
        kingdee.ingest({"variables": {}})
    with pytest.raises(ConfigurationError, match="choose from business_central"):
        kingdee.ingest({"profile": "kingdee_k4"})


class Oracle:
    """Oracle's REST: items, hasMore, at most 500 rows, errors in words."""

    def __init__(self) -> None:
        self.rows = {number: self.row(number) for number in range(1, 1203)}
        self.server = vendors.Server(self.answer)

    @staticmethod
    def row(number: int, day: int = 1) -> dict[str, Any]:
        stamp = f"2026-03-{day:02d}T08:00:00.000+00:00"
        return {
            "POHeaderId": 300000000000000 + number,
            "OrderNumber": f"P{number}",
            "Total": 1.5,
            "LastUpdateDate": stamp,
        }

    def answer(self, asked: Any) -> Any:
        if not asked.headers.get("authorization", "").startswith("Basic "):
            return vendors.Reply(b"", 401)
        assert asked.headers["rest-framework-version"] == "4"
        query = asked.query
        assert query["orderBy"] == "POHeaderId"
        rows = [self.rows[key] for key in sorted(self.rows)]
        if condition := query.get("q"):
            assert condition.startswith("LastUpdateDate >= '")
            rows = [row for row in rows if row["LastUpdateDate"] >= condition.split("'")[1]]
        start, limit = int(query["offset"]), min(int(query["limit"]), 500)
        page = [{name: row[name] for name in query["fields"].split(",")} for row in rows[start : start + limit]]
        return vendors.Reply(
            {"items": page, "count": len(page), "hasMore": start + limit < len(rows), "limit": limit, "offset": start}
        )


def test_oracle_pages_by_has_more_and_asks_for_changes_in_its_query(services: Settings) -> None:
    oracle = Oracle()
    name = f"o{uuid.uuid4().hex[:8]}"
    entity = {
        "name": "purchase_order",
        "source": "purchaseOrders",
        "keys": ["POHeaderId"],
        "detect_deletes": True,
        "fields": {
            "POHeaderId": "long",
            "OrderNumber": "string",
            "Total": "decimal(28,10)",
            "LastUpdateDate": "timestamp",
        },
    }
    connection = {"profile": "oracle_erp_rest", "base_url": oracle.server.address, "user": "u", "password": "p-33-x"}
    system = SystemConfig.model_validate(
        {"system": name, "protocol": "rest", "connection": connection, "entities": [entity]}
    )
    assert ingest_entity(system, "purchase_order").rows == 1202
    offsets = [asked.query["offset"] for asked in oracle.server.asked[:3]]
    assert offsets == ["0", "499", "998"], "each page begins with the last row of the one before"
    oracle.rows[5] = Oracle.row(5, day=4)
    del oracle.rows[8]
    result = ingest_entity(system, "purchase_order")
    assert (result.rows, result.deletes) == (1, 1)
    assert any(
        asked.query.get("q") == "LastUpdateDate >= '2026-03-01T07:55:00.000+00:00'" for asked in oracle.server.asked
    )
    oracle.server.stop()


EXAMPLES = [
    "kingdee_k3cloud",
    "oracle_erp_rest",
    "dynamics_365",
    "business_central",
    "oracle_erp_soap",
    "kingdee_eas",
    "yonyou_u8",
]


@pytest.mark.parametrize("example", ["sap_gateway", "mes_rest", "crm_rest"])
def test_an_example_without_a_profile_is_a_right_definition(example: str) -> None:
    (system,) = load_systems(ROOT / "ingestion" / "examples" / example).values()
    assert all(entity.title_zh and entity.description for entity in system.entities)
    with pytest.raises(ConfigurationError, match="is not set"):
        system.connection.resolved("the example")


class Crm:
    """What the example of a generic CRM is made for: signed requests, counted pages, errors at status 200."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, str]] = []
        self.server = vendors.Server(self._answer)

    def put(self, key: str, minute: int, **changes: Any) -> None:
        moment = f"2026-03-01T08:{minute:02d}:00Z"
        empty = {"creditCode": None, "phone": None, "ownerEmail": None, "isDeleted": False}
        self.rows[key] = {"id": key, "name": f"客户 {key}", **empty, "modifiedAt": moment, **changes}

    def _answer(self, asked: Any) -> Any:
        stamp, nonce = asked.headers["x-timestamp"], asked.headers["x-nonce"]
        query = urlencode(sorted(asked.query.items()), quote_via=quote)
        text = f"{asked.method}\n{asked.path}\n{query}\n{stamp}\n{nonce}"
        right = hmac.new(b"crm-secret-5512", text.encode(), "sha256").hexdigest()
        if (asked.headers["x-app-key"], asked.headers["x-signature"]) != ("app-7", right):
            return vendors.Reply({"code": 401, "message": "bad signature"})
        self.asked.append(asked.query)
        since = asked.query.get("modifiedSince", "").replace(" ", "T")
        rows = sorted(self.rows.values(), key=lambda row: (row["modifiedAt"], row["id"]))
        rows = [row for row in rows if row["modifiedAt"] >= since]
        size, page = int(asked.query["pageSize"]), int(asked.query["page"])
        return vendors.Reply({"code": 0, "data": {"total": len(rows), "list": rows[(page - 1) * size : page * size]}})


@pytest.mark.usefixtures("services")
def test_the_example_of_a_crm_reads_such_a_system_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    crm = Crm()
    for name, value in (("URL", crm.server.address), ("KEY", "app-7"), ("SECRET", "crm-secret-5512")):
        monkeypatch.setenv(f"CRM_CLOUD_{name}", value)
    (example,) = load_systems(ROOT / "ingestion" / "examples" / "crm_rest").values()
    system = example.model_copy(update={"system": f"c{uuid.uuid4().hex[:8]}"})
    table = bronze(system.system, "customer")

    def state() -> dict[str, tuple[str, str]]:
        delta = history.open_table(table)
        assert delta is not None
        rows = sorted(delta.to_pyarrow_table().to_pylist(), key=lambda row: row["_datong_batch_id"])
        return {row["id"]: (row["name"], row["_datong_operation"]) for row in rows}

    for number in range(450):
        crm.put(f"{number:04d}", minute=number // 20)
    assert ingest_entity(system, "customer").rows == 450
    assert [asked["page"] for asked in crm.asked if asked["pageSize"] == "200"][-3:] == ["1", "2", "3"]
    crm.put("0007", minute=50, name="改名")
    crm.put("0008", minute=51, isDeleted=True)
    result = ingest_entity(system, "customer")
    assert (result.rows, result.deletes) == (1, 1)
    assert crm.asked[-1]["modifiedSince"] == "2026-03-01 08:17:00", "the last change, less the overlap"
    assert state()["0007"] == ("改名", "update")
    assert state()["0008"][1] == "delete"
    monkeypatch.setenv("CRM_CLOUD_SECRET", "another-5513")
    with pytest.raises(DatongError, match="bad signature") as caught:
        ingest_entity(system, "customer")
    assert "another-5513" not in str(caught.value)
    crm.server.stop()


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_worked_example_is_a_right_definition_and_holds_no_secret(example: str) -> None:
    folder = ROOT / "ingestion" / "examples" / example
    (system,) = load_systems(folder).values()
    text = (folder / "defs.yaml").read_text("utf-8")
    declared = yaml.safe_load(text)["attributes"]["connection"]
    assert declared["profile"] == example
    assert "${" in json.dumps(declared)
    assert system.connection.profile == example  # pyright: ignore[reportAttributeAccessIssue]
    assert all(entity.title_zh and entity.description for entity in system.entities)


def test_a_bill_that_is_deleted_while_pages_are_read_hides_no_other(kingdee: Kingdee) -> None:
    kingdee.put(*range(1, 4101))
    real, count = kingdee.cloud._query, iter(range(100))

    def shifting(said: Any) -> Any:
        if next(count) == 1:
            for gone in range(10, 20):
                del kingdee.cloud.bills[gone]
        return real(said)

    kingdee.cloud._query = shifting
    kingdee.ingest()
    assert set(kingdee.rows()) == set(range(1, 4101)), "each that was there at its page; the deletes come with the keys"
