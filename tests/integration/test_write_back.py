"""Write-back against a small faithful target: nothing lost, nothing twice, whatever breaks and whenever."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg
import pyarrow as pa
import pytest
from datong_infra.sandbox.odata_metadata import metadata
from datong_ingestion.systems_config import SystemConfig
from datong_ingestion.write_back import FlowConfig, decisions, ledger, load_flow, run_flow
from datong_ingestion.write_back.ledger import LEDGER, Ledger
from datong_ingestion.write_back.systems import open_target
from datong_platform.errors import ConfigurationError, SchemaError, TerminalError, TransientError
from datong_platform.settings import Settings, settings
from deltalake import DeltaTable, write_deltalake
from lake_builds import let_read

ORDERS = "API_SALES_ORDER_SRV/A_SalesOrder"
DOCUMENTS = "API_MATERIAL_DOCUMENT_SRV/A_MaterialDocumentHeader"
WORK_ORDERS = "work-orders"
V4 = "releasedOrders"
V4_METADATA = b"""<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="shop" xmlns="http://docs.oasis-open.org/odata/ns/edm">
<EntityType Name="releasedOrder"><Key><PropertyRef Name="id"/></Key>
<Property Name="id" Type="Edm.Guid" Nullable="false"/><Property Name="orderNumber" Type="Edm.Int64"/>
<Property Name="quantity" Type="Edm.Decimal" Precision="15" Scale="3"/>
<Property Name="startsAt" Type="Edm.DateTimeOffset"/>
<NavigationProperty Name="lines" Type="Collection(shop.line)"/></EntityType>
<EntityType Name="line"><Key><PropertyRef Name="part"/></Key><Property Name="part" Type="Edm.String"/>
<Property Name="unit" Type="Edm.String"/></EntityType>
<EntityContainer Name="c"><EntitySet Name="releasedOrders" EntityType="shop.releasedOrder"/></EntityContainer>
</Schema></edmx:DataServices></edmx:Edmx>"""
PAGE = 7


class FakeSystem:
    """An ERP (OData v2) and a MES (JSON) in one; records what it did, and fails on request."""

    def __init__(self) -> None:
        self.records: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.calls: list[str] = []
        self.faults: dict[str, list[str]] = defaultdict(list)
        """By method: what happens to the next requests, in turn."""
        self.dice: Callable[[str], str] | None = None
        self.answered: dict[str, dict[str, Any]] = {}
        self.slow_seconds = 0.0
        self.sessions = 0
        self.v4_wants_token = False
        self._lock = threading.RLock()
        system = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    answer = system.handle(self.command, self.path, self.headers, json.loads(body or b"null"))
                except ConnectionAbortedError:
                    self.close_connection = True
                    return
                status, content, headers = answer
                sent = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST = do_PATCH = _handle  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def handle(self, method: str, path: str, headers: Any, body: Any) -> tuple[int, Any, dict[str, str]]:
        parts = urlsplit(path)
        with self._lock:
            self.calls.append(f"{method} {unquote(parts.path)}")
            fault = self.faults[method].pop(0) if self.faults[method] else self.dice(method) if self.dice else ""
        if fault == "lost before":
            raise ConnectionAbortedError
        if fault == "500 before":
            return 500, {"error": {"code": "X", "message": "crashed"}}, {}
        if fault == "429":
            return 429, {"error": "slow down"}, {"Retry-After": "0"}
        if fault == "lie":
            return 201, {"d": {"MaterialDocumentYear": "2026", "MaterialDocument": "4900000000"}}, {}
        if fault == "refuse":
            return 400, _sap_error("M7/021", "Deficit of SL Unrestricted-use 3 KG : RM-1 1010 101A"), {}
        if fault.startswith("wait "):
            time.sleep(float(fault.removeprefix("wait ")))
        time.sleep(self.slow_seconds)
        served = {"sap": self._erp, "v4": self._erp_v4}.get(parts.path.split("/")[1], self._mes)
        with self._lock:
            answer = served(
                method=method,
                path=parts.path,
                query=parse_qs(parts.query),
                headers=headers,
                body=body,
                fault=fault,
            )
        if fault == "lost after":
            raise ConnectionAbortedError
        if fault == "answer late":
            time.sleep(2)
        if fault in {"500 after", "503 after"}:
            return int(fault[:3]), {"error": {"code": "X", "message": "crashed after the effect"}}, {}
        return answer

    # the ERP

    def _erp(  # noqa: PLR0911
        self, *, method: str, path: str, query: dict[str, list[str]], headers: Any, body: Any, fault: str
    ) -> tuple[int, Any, dict[str, str]]:
        resource = path.removeprefix("/sap/").rstrip("/")
        if method == "GET" and "/" not in resource:
            self.sessions += 1
            token = {"x-csrf-token": f"token-{self.sessions}", "Set-Cookie": f"SAP_SESSION=s{self.sessions}; Path=/"}
            return 200, {"d": {}}, token
        if resource.endswith("/$metadata"):
            return 200, metadata(resource.partition("/")[0], {}), {"Content-Type": "application/xml"}
        if method == "GET":
            wanted = dict.fromkeys(re.findall(r"eq '([^']*)'", query["$filter"][0]))
            field = re.match(r"\w+", query["$filter"][0])
            assert field
            rows = [row for row in self.records[resource] if row[field[0]] in wanted]
            start = int(query.get("$skiptoken", ["0"])[0])
            page: dict[str, Any] = {"results": [self._shown(row) for row in rows[start : start + PAGE]]}
            if start + PAGE < len(rows):
                condition = query["$filter"][0].replace(" ", "%20")
                page["__next"] = f"https://inner-host:44300{path}?$filter={condition}&$skiptoken={start + PAGE}"
            return 200, {"d": page}, {}
        token, cookie = f"token-{self.sessions}", f"SAP_SESSION=s{self.sessions}"
        if headers.get("X-CSRF-Token") != token or cookie not in (headers.get("Cookie") or ""):
            return 403, _sap_error("CSRF", "CSRF token validation failed"), {"x-csrf-token": "Required"}
        if method == "POST":
            row = {**body, "MaterialDocumentYear": "2026", "MaterialDocument": f"49{len(self.records[resource]):08d}"}
            self.records[resource].append(row)
            return 201, {"d": self._shown(row)}, {}
        resource, _, key = resource.partition("('")
        row = next((row for row in self.records[resource] if row["SalesOrder"] == key.rstrip("')")), None)
        if row is None:
            return 404, _sap_error("404", "Resource not found"), {}
        if fault == "changed meanwhile":
            row["version"] += 1
        if "If-Match" not in headers:
            return 428, _sap_error("428", "Precondition required"), {}
        if headers["If-Match"] != f'W/"{row["version"]}"':
            return 412, _sap_error("412", "Precondition failed: changed by JDOE"), {}
        row.update(body, version=row["version"] + 1)
        return 204, None, {}

    def _shown(self, row: dict[str, Any]) -> dict[str, Any]:
        shown = {name: {"results": value} if isinstance(value, list) else value for name, value in row.items()}
        etag = {"etag": f'W/"{row["version"]}"'} if "version" in row else {}
        return {**shown, "__metadata": {"uri": "https://inner-host:44300/x", **etag}}

    # an ERP that speaks OData v4

    def _erp_v4(  # noqa: PLR0911
        self, *, method: str, path: str, query: dict[str, list[str]], headers: Any, body: Any, fault: str
    ) -> tuple[int, Any, dict[str, str]]:
        resource, _, key = unquote(path).removeprefix("/v4/").partition("(")
        rows = self.records[V4]
        if resource == "$metadata":
            return 200, V4_METADATA, {"Content-Type": "application/xml"}
        if resource == "":
            self.sessions += 1
            return 200, {"value": []}, {"x-csrf-token": f"token-{self.sessions}", "Set-Cookie": "S=1; Path=/"}
        if method == "GET":
            wanted = re.findall(r"orderNumber eq (\d+)(?: or |\Z)", query["$filter"][0])
            found = [row for row in rows if str(row["orderNumber"]) in wanted]
            start = int(query.get("$skiptoken", ["0"])[0])
            page: dict[str, Any] = {"value": [self._shown_v4(row) for row in found[start : start + PAGE]]}
            if start + PAGE < len(found):
                condition = query["$filter"][0].replace(" ", "%20")
                page["@odata.nextLink"] = f"releasedOrders?$filter={condition}&$skiptoken={start + PAGE}"
            return 200, page, {}
        if self.v4_wants_token and headers.get("X-CSRF-Token") != f"token-{self.sessions}":
            return 403, {"error": {"code": "403", "message": "token"}}, {"x-csrf-token": "Required"}
        if headers.get("OData-Version") != "4.0":
            return 400, {"error": {"code": "400", "message": "which version?"}}, {}
        if method == "POST":
            if any(row["orderNumber"] == body["orderNumber"] for row in rows):
                return 409, {"error": {"code": "409", "message": "it is there"}}, {}
            row = {**body, "id": str(uuid.uuid4()), "version": 1}
            rows.append(row)
            return 201, self._shown_v4(row), {}
        row = next((row for row in rows if f"{row['id']})" == key), None)
        if row is None:
            return 404, {"error": {"code": "404", "message": f"no {key}"}}, {}
        if headers.get("If-Match") != f'W/"{row["version"]}"':
            return 412, {"error": {"code": "412", "message": "changed by JDOE"}}, {}
        row.update(body, version=row["version"] + 1)
        return 204, None, {}

    def _shown_v4(self, row: dict[str, Any]) -> dict[str, Any]:
        shown = {name: value for name, value in row.items() if name != "version"}
        return {"@odata.etag": f'W/"{row["version"]}"', **shown}

    # the MES

    def _mes(  # noqa: PLR0911
        self, *, method: str, path: str, query: dict[str, list[str]], headers: Any, body: Any, fault: str
    ) -> tuple[int, Any, dict[str, str]]:
        if headers.get("Authorization") != "Bearer secret-token":
            return 401, {"error": "who are you?"}, {}
        rows = self.records[WORK_ORDERS]
        if method == "GET":
            return 200, {"data": [row for row in rows if row["orderNo"] in query["orderNo"]], "next_cursor": None}, {}
        if method == "PATCH":
            row = next(row for row in rows if path.endswith("/" + row["workOrderNo"]))
            if headers.get("If-Match") != f'"{row["version"]}"':
                return 412, {"error": "stale"}, {}
            row.update(body, version=row["version"] + 1)
            return 200, row, {}
        known = headers["Idempotency-Key"]
        if known in self.answered:
            return 200, self.answered[known], {}
        if any(row["orderNo"] == body["orderNo"] for row in rows):
            return 409, {"error": f"order {body['orderNo']} has a work order"}, {}
        row = {**body, "workOrderNo": f"WO-{len(rows):06d}", "version": 1}
        rows.append(row)
        self.answered[known] = row
        return 201, row, {}


def _sap_error(code: str, text: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": {"lang": "en", "value": text}, "innererror": {"errordetails": []}}}


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSystem]:
    fake = FakeSystem()
    for name, value in {
        "ERP_URL": f"{fake.url}/sap",
        "ERP_USER": "datong",
        "ERP_PASSWORD": "secret",
        "MES_URL": fake.url,
        "MES_TOKEN": "secret-token",
    }.items():
        monkeypatch.setenv(name, value)
    yield fake
    fake.stop()


def flow_like(name: str, **changes: Any) -> FlowConfig:
    """The project's own flow, under a name and on a table of the test's own."""
    mark = uuid.uuid4().hex[:8]
    own = {
        "flow": f"test_{mark}",
        "source": f"serve.test__t{mark}",
        "settle_seconds": 0.3,
        "retry": {"wait_seconds": 0},
    }
    return FlowConfig.model_validate(load_flow(name).model_dump(by_alias=True) | own | changes)


def write_rows(flow: FlowConfig, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    now = settings()
    write_deltalake(
        now.table_uri(flow.table),
        pa.Table.from_pylist(rows, schema=schema),
        mode="overwrite",
        schema_mode="overwrite",
        storage_options=now.storage_options(),
    )
    let_read(flow.table)


_TEXTS = (
    *("reference_document", "goods_movement_code", "header_text", "goods_movement_type", "material", "plant"),
    *("storage_location", "manufacturing_order", "reservation", "reservation_item", "entry_unit", "source_system"),
)
ISSUES = pa.schema(
    [(name, pa.string()) for name in _TEXTS]
    + [
        ("document_date", pa.date32()),
        ("posting_date", pa.date32()),
        ("quantity", pa.decimal128(15, 3)),
        ("is_pending", pa.bool_()),
    ]
)
WORK = pa.schema(
    [
        ("order_no", pa.string()),
        ("part_no", pa.string()),
        ("quantity", pa.decimal128(15, 3)),
        ("unit", pa.string()),
        ("status", pa.string()),
        ("planned_start_at", pa.timestamp("us", "UTC")),
        ("planned_end_at", pa.timestamp("us", "UTC")),
        ("is_pending", pa.bool_()),
        ("source_system", pa.string()),
    ]
)
STATUS = pa.schema(
    [
        ("sales_order", pa.string()),
        ("production_status", pa.string()),
        ("is_pending", pa.bool_()),
        ("source_system", pa.string()),
    ]
)


def issue(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "reference_document": f"MC{number:012d}",
        "goods_movement_code": "03",
        "document_date": date(2026, 3, 1),
        "posting_date": date(2026, 3, 1),
        "header_text": "Datong",
        "goods_movement_type": "261",
        "material": "RM-1",
        "plant": "1010",
        "storage_location": "101A",
        "manufacturing_order": "000001000001",
        "reservation": None,
        "reservation_item": None,
        "quantity": Decimal("2.500") + number,
        "entry_unit": "KG",
        "is_pending": True,
        "source_system": "erp",
        **changes,
    }


def work_order(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "order_no": str(1000000 + number),
        "part_no": "FG-1001",
        "quantity": Decimal(10 + number),
        "unit": "pcs",
        "status": "已下达",
        "planned_start_at": datetime(2026, 3, 1, 16, 0, tzinfo=UTC),
        "planned_end_at": datetime(2026, 3, 3, 9, 30, tzinfo=UTC),
        "is_pending": True,
        "source_system": "erp",
        **changes,
    }


def status(number: int, value: str) -> dict[str, Any]:
    return {"sales_order": f"{number:010d}", "production_status": value, "is_pending": True, "source_system": "erp"}


def times_posted(system: FakeSystem) -> Counter[str]:
    return Counter(row["ReferenceDocument"] for row in system.records[DOCUMENTS])


def states(flow: FlowConfig) -> Counter[str]:
    return Counter(entry.state for entry in Ledger(flow.flow).latest().values())


def history(flow: FlowConfig, key: str) -> list[tuple[str, int, str]]:
    now = settings()
    table = DeltaTable(now.table_uri(LEDGER), storage_options=now.storage_options()).to_pyarrow_table(
        filters=[("flow", "=", flow.flow)]
    )
    rows = sorted((row for row in table.to_pylist() if row["key"] == key), key=lambda row: row["step"])
    return [(row["state"], row["attempt"], row["idempotency_key"]) for row in rows]


@pytest.mark.usefixtures("services")
class TestConsumption:
    def test_each_event_becomes_one_document_that_is_read_back(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [issue(n) for n in range(100)] + [issue(500, is_pending=False)], ISSUES)
        result = run_flow(flow)
        assert (result.planned, result.sent, result.verified, result.ok) == (100, 100, 100, True)
        assert times_posted(system) == {f"MC{n:012d}": 1 for n in range(100)}
        document = system.records[DOCUMENTS][0]
        assert document["PostingDate"] == "/Date(1772323200000)/"
        item = document["to_MaterialDocumentItem"][0]
        assert Decimal(item["QuantityInEntryUnit"]) == Decimal("2.500") + int(document["ReferenceDocument"][2:])
        assert "Reservation" not in item
        assert [step[0] for step in history(flow, "MC000000000007")] == ["planned", "sent", "verified"]
        again = run_flow(flow)
        assert (again.planned, again.sent, again.ok) == (0, 0, True)

    def test_documents_of_others_are_recognised_and_not_posted_again_even_when_the_ledger_is_lost(
        self, system: FakeSystem
    ) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [issue(n) for n in range(5)], ISSUES)
        run_flow(flow)
        forgetful = flow.model_copy(update={"flow": f"{flow.flow}_again"})
        result = run_flow(forgetful)
        assert (result.sent, result.already, result.verified, result.ok) == (0, 5, 5, True)
        assert times_posted(system).total() == 5

    def test_an_expired_session_is_renewed(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp", chunk_rows=5)
        write_rows(flow, [issue(n) for n in range(10)], ISSUES)

        def expire(step: str, _what: str) -> None:
            if step == "recorded":
                system.sessions += 1

        assert run_flow(flow, on_step=expire).ok
        assert times_posted(system).total() == 10

    def test_a_refusal_is_recorded_in_the_words_of_the_target_and_stops_no_other_row(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [issue(n) for n in range(4)], ISSUES)
        system.faults["POST"] = ["", "refuse"]
        result = run_flow(flow)
        assert (result.verified, result.failed, result.ok) == (3, 1, False)
        [(key, words)] = result.problems.items()
        assert "M7/021 Deficit of SL Unrestricted-use 3 KG" in words
        assert Ledger(flow.flow).latest()[key].state == "failed"
        assert run_flow(flow).ok
        assert set(times_posted(system).values()) == {1}
        first, second = [step for step in history(flow, key) if step[0] == "sent"]
        assert first[2] != second[2], "a refused change is a new one when it is tried again"

    @pytest.mark.parametrize("fault", ["lost after", "lost before", "500 after", "500 before", "503 after", "429"])
    def test_an_unclear_outcome_is_settled_by_reading_back(self, system: FakeSystem, fault: str) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [issue(n) for n in range(3)], ISSUES)
        system.faults["POST"] = [fault]
        result = run_flow(flow)
        assert (result.verified, result.ok) == (3, True), result
        assert times_posted(system) == {f"MC{n:012d}": 1 for n in range(3)}
        sent = [step for n in range(3) for step in history(flow, f"MC{n:012d}") if step[0] == "sent"]
        assert len(sent) == (4 if fault in {"lost before", "500 before"} else 3)

    def test_an_answer_that_never_comes_is_settled_by_reading_back(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [issue(1)], ISSUES)
        system.faults["POST"] = ["answer late"]
        target = open_target(flow, timeout_seconds=0.5)
        result = run_flow(flow, target=target)
        target.close()
        assert (result.verified, result.ok) == (1, True)
        assert times_posted(system) == {"MC000000000001": 1}

    def test_a_slow_target_that_posts_after_we_gave_up_is_not_posted_to_twice(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp", settle_seconds=2.5)
        write_rows(flow, [issue(1)], ISSUES)
        system.faults["POST"] = ["wait 1.5"]
        target = open_target(flow, timeout_seconds=0.5)
        result = run_flow(flow, target=target)
        target.close()
        assert (result.verified, result.ok) == (1, True)
        assert times_posted(system) == {"MC000000000001": 1}

    def test_a_document_with_another_quantity_is_a_conflict_and_left_alone(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [issue(1)], ISSUES)
        run_flow(flow)
        write_rows(flow, [issue(1, quantity=Decimal("9.000"))], ISSUES)
        result = run_flow(flow)
        assert (result.conflict, result.sent, result.ok) == (1, 0, False)
        assert "QuantityInEntryUnit: sent '9.000', target holds '3.500'" in result.problems["MC000000000001"]

    def test_a_row_left_unknown_and_no_longer_wanted_is_read_back_all_the_same(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp", attempts=1)
        write_rows(flow, [issue(1), issue(2)], ISSUES)
        system.faults["POST"] = ["lost before", "lost before"]
        first = run_flow(flow)
        assert (first.unknown, first.ok) == (2, False)
        system.records[DOCUMENTS].append(
            json.loads(Ledger(flow.flow).latest()["MC000000000001"].payload or "")
            | {"MaterialDocumentYear": "2026", "MaterialDocument": "1"}
        )
        write_rows(flow, [], ISSUES)
        second = run_flow(flow)
        assert (second.verified, second.cancelled, second.sent, second.ok) == (1, 1, 0, True)

    def test_rows_that_cannot_be_read_back_stay_unknown_and_are_not_sent_again(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [issue(1)], ISSUES)

        def deaf(_key: str, _outcome: str) -> None:
            system.faults["GET"] = ["500 before"] * 2

        system.faults["POST"] = ["lost after"]
        target = open_target(flow, attempts=2)
        result = run_flow(flow, target=target, on_reply=deaf)
        target.close()
        assert (result.unknown, result.ok) == (1, False)
        assert run_flow(flow).verified == 1
        assert times_posted(system) == {"MC000000000001": 1}

    def test_what_the_target_accepted_and_does_not_show_is_left_to_people(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [issue(1), issue(2)], ISSUES)
        system.faults["POST"] = ["lie"]
        first = run_flow(flow)
        assert (first.verified, first.unknown, first.ok) == (1, 1, False)
        second = run_flow(flow)
        assert (second.conflict, second.sent, second.ok) == (1, 0, False)
        [(_, words)] = second.problems.items()
        assert "accepted it earlier and does not show it now" in words
        steps = len(history(flow, "MC000000000001")) + len(history(flow, "MC000000000002"))
        assert run_flow(flow).conflict == 1
        assert system.calls.count(f"POST /sap/{DOCUMENTS}") == 2
        assert len(history(flow, "MC000000000001")) + len(history(flow, "MC000000000002")) == steps
        for key in second.problems:
            decisions.decide(flow.flow, "retry", key=key, who="wang", why="it is not there, I looked")
        released = run_flow(flow)
        assert (released.sent, released.verified, released.ok) == (1, 1, True)

    def test_hundreds_of_rows_with_every_kind_of_fault_arrive_exactly_once(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp", attempts=2, chunk_rows=50, settle_seconds=0.05)
        write_rows(flow, [issue(n) for n in range(300)], ISSUES)
        dice = random.Random(7)
        kinds = ["lost after", "lost before", "500 after", "503 after", "500 before", "429", "refuse"]
        system.dice = lambda method: dice.choice(kinds) if method == "POST" and dice.random() < 0.3 else ""
        for _ in range(20):
            result = run_flow(flow)
            assert result.planned == (
                result.verified + result.failed + result.conflict + result.unknown + result.cancelled + result.waiting
            )
            if result.ok:
                break
        assert result.ok
        assert times_posted(system) == {f"MC{n:012d}": 1 for n in range(300)}
        assert states(flow) == {"verified": 300}


@pytest.mark.usefixtures("services")
class TestODataV4:
    @pytest.fixture
    def flow(self, system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> FlowConfig:
        """Work orders to an entity set of OData v4, deep insert and all."""
        definition = SystemConfig.model_validate(
            {
                "system": "shop",
                "protocol": "odata_v4",
                "connection": {"base_url": f"{system.url}/v4", "concurrency": 4},
                "entities": [{"name": "released_order", "source": V4}],
            }
        )
        monkeypatch.setattr("datong_ingestion.write_back.systems.load_system", lambda _name: definition)
        return flow_like(
            "production_order_to_mes",
            operations=["create", "update"],
            look_first=True,
            target={
                "system": "shop",
                "resource": V4,
                "lookup": "orderNumber",
                "identity": ["id"],
                "expand": ["lines"],
                "lookup_rows": 30,
            },
            payload={
                "orderNumber": {"column": "order_no", "as": "integer"},
                "quantity": "quantity",
                "startsAt": "planned_start_at",
                "lines": [{"part": "part_no", "unit": "unit"}],
            },
        )

    @pytest.mark.parametrize("wants_token", [False, True])
    def test_records_are_made_found_by_typed_keys_and_updated_with_the_etag_just_read(
        self, system: FakeSystem, flow: FlowConfig, wants_token: bool
    ) -> None:
        system.v4_wants_token = wants_token
        write_rows(flow, [work_order(n) for n in range(20)], WORK)
        result = run_flow(flow)
        assert (result.sent, result.verified, result.ok) == (20, 20, True), result.problems
        assert system.records[V4][3]["lines"] == [{"part": "FG-1001", "unit": "pcs"}]
        assert system.records[V4][3]["startsAt"] == "2026-03-01T16:00:00+00:00"
        assert (system.sessions > 0) == wants_token
        write_rows(flow, [work_order(n, quantity=Decimal("77.125")) for n in range(20)], WORK)
        again = run_flow(flow)
        assert (again.sent, again.verified, again.ok) == (20, 20, True), again.problems
        assert {row["quantity"] for row in system.records[V4]} == {77.125}
        assert len(system.records[V4]) == 20

    def test_lost_replies_and_half_answers_lead_to_no_second_record(self, system: FakeSystem, flow: FlowConfig) -> None:
        write_rows(flow, [work_order(n) for n in range(6)], WORK)
        system.faults["POST"] = ["lost after", "lost before", "500 after", "503 after", "429"]
        result = run_flow(flow)
        assert (result.verified, result.ok) == (6, True), result.problems
        assert Counter(row["orderNumber"] for row in system.records[V4]) == {1000000 + n: 1 for n in range(6)}

    def test_a_change_of_somebody_else_in_between_is_a_conflict(self, system: FakeSystem, flow: FlowConfig) -> None:
        write_rows(flow, [work_order(1)], WORK)
        assert run_flow(flow).ok
        write_rows(flow, [work_order(1, quantity=Decimal(5))], WORK)

        def meanwhile(step: str, _: str) -> None:
            if step == "intended":
                system.records[V4][0].update(quantity=3, version=9)

        result = run_flow(flow, on_step=meanwhile)
        assert (result.conflict, result.ok) == (1, False)
        assert system.records[V4][0]["quantity"] == 3

    def test_a_field_that_the_service_does_not_have_is_named_before_anything_is_sent(
        self, system: FakeSystem, flow: FlowConfig
    ) -> None:
        wrong = FlowConfig.model_validate(
            flow.model_dump(by_alias=True) | {"payload": {"orderNumber": "order_no", "colour": "unit"}}
        )
        write_rows(wrong, [work_order(1)], WORK)
        result = run_flow(wrong)
        assert result.stopped is not None
        assert "does not have: colour" in str(result.stopped)
        assert "quantity" in str(result.stopped)
        assert not system.records[V4]


@pytest.mark.usefixtures("services")
class TestWorkOrders:
    def test_orders_arrive_with_plant_time_and_are_verified_after_the_shop_floor_began(
        self, system: FakeSystem
    ) -> None:
        flow = flow_like("production_order_to_mes")
        write_rows(flow, [work_order(n) for n in range(20)], WORK)

        def shop_floor(_key: str, _outcome: str) -> None:
            for row in system.records[WORK_ORDERS]:
                row["status"] = "生产中"

        result = run_flow(flow, on_reply=shop_floor)
        assert (result.sent, result.verified, result.ok) == (20, 20, True)
        assert system.records[WORK_ORDERS][0]["plannedStart"] == "2026-03-02T00:00:00+08:00"
        assert Ledger(flow.flow).latest()["1000003"].target_key is not None

    def test_a_lost_reply_is_sent_again_with_the_same_idempotency_key(self, system: FakeSystem) -> None:
        flow = flow_like("production_order_to_mes")
        write_rows(flow, [work_order(1)], WORK)
        system.faults["POST"] = ["lost before", "lost after"]
        assert run_flow(flow).ok
        assert len(system.records[WORK_ORDERS]) == 1
        assert len({key for _, _, key in history(flow, "1000001")}) == 1
        assert [(state, attempt) for state, attempt, _ in history(flow, "1000001")] == [
            ("planned", 0),
            ("sent", 1),
            ("sent", 2),
            ("verified", 2),
        ]

    def test_orders_the_mes_has_already_are_verified_even_when_the_ledger_is_lost(self, system: FakeSystem) -> None:
        flow = flow_like("production_order_to_mes")
        write_rows(flow, [work_order(n) for n in range(3)], WORK)
        assert run_flow(flow).ok
        forgetful = flow.model_copy(update={"flow": f"{flow.flow}_again"})
        result = run_flow(forgetful)
        assert (result.verified, result.ok) == (3, True)
        assert len(system.records[WORK_ORDERS]) == 3

    def test_an_order_that_someone_else_entered_differently_is_a_conflict(self, system: FakeSystem) -> None:
        flow = flow_like("production_order_to_mes")
        write_rows(flow, [work_order(1), work_order(2)], WORK)
        system.records[WORK_ORDERS].append(
            {"workOrderNo": "WO-X", "orderNo": "1000001", "partNo": "FG-9", "version": 1, "quantity": 11}
        )
        result = run_flow(flow)
        assert (result.verified, result.conflict, result.ok) == (1, 1, False)
        assert "partNo: sent 'FG-1001', target holds 'FG-9'" in result.problems["1000001"]

    def test_a_changed_order_is_updated_where_the_flow_allows_it(self, system: FakeSystem) -> None:
        flow = flow_like("production_order_to_mes", operations=["create", "update"], look_first=True)
        write_rows(flow, [work_order(1)], WORK)
        assert run_flow(flow).ok
        write_rows(flow, [work_order(1, quantity=Decimal("12.5"))], WORK)
        result = run_flow(flow)
        assert (result.sent, result.verified, result.ok) == (1, 1, True)
        assert [row["quantity"] for row in system.records[WORK_ORDERS]] == [12.5]

    def test_a_wrong_token_stops_the_run_and_says_which(
        self, system: FakeSystem, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MES_TOKEN", "stolen")
        flow = flow_like("production_order_to_mes")
        write_rows(flow, [work_order(1)], WORK)
        result = run_flow(flow)
        assert (result.waiting, result.sent, result.ok) == (1, 0, False)
        assert "mes /work-orders" in str(result.stopped)
        assert "${MES_TOKEN}" in str(result.stopped)
        assert "stolen" not in str(result.stopped)

    def test_an_unreachable_target_stops_the_run_and_nothing_counts_as_sent(
        self, system: FakeSystem, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MES_URL", "http://127.0.0.1:1")
        flow = flow_like("production_order_to_mes")
        write_rows(flow, [work_order(n) for n in range(10)], WORK)
        target = open_target(flow, attempts=2)
        result = run_flow(flow, target=target)
        target.close()
        assert (result.planned, result.waiting, result.sent) == (10, 10, 0)
        assert isinstance(result.stopped, TransientError)
        assert states(flow) == {"planned": 10}

    @pytest.mark.parametrize("look_first", [True, False])
    def test_an_api_that_ignores_the_query_is_not_written_to(
        self, system: FakeSystem, monkeypatch: pytest.MonkeyPatch, look_first: bool
    ) -> None:
        flow = flow_like("production_order_to_mes", look_first=look_first)
        write_rows(flow, [work_order(1), work_order(2)], WORK)
        everything = {"data": [{"orderNo": "7", "workOrderNo": "WO-7", "version": 1}]}
        monkeypatch.setattr(system, "_mes", lambda **_: (200, everything, {}))
        result = run_flow(flow)
        assert (result.failed + result.waiting, result.sent) == (2, 0)
        assert "ignores the condition on orderNo" in f"{result.problems} {result.stopped}"

    def test_a_number_that_json_cannot_carry_exactly_is_refused_before_sending(self, system: FakeSystem) -> None:
        flow = flow_like("production_order_to_mes")
        exact = WORK.set(2, pa.field("quantity", pa.decimal128(38, 18)))
        write_rows(flow, [work_order(1, quantity=Decimal("123456789012.123456789"))], exact)
        result = run_flow(flow)
        assert (result.failed, result.sent) == (1, 0)
        assert "not exact as a JSON number" in result.problems["1000001"]


@pytest.mark.usefixtures("services")
class TestSalesStatus:
    def test_status_is_set_with_the_etag_just_read_and_follows_every_change(self, system: FakeSystem) -> None:
        flow = flow_like("sales_status_to_erp")
        system.records[ORDERS] = [
            {"SalesOrder": f"{n:010d}", "YY1_ProductionStatus_SDH": "", "version": 1} for n in range(50)
        ]
        for value in ("NOT_STARTED", "IN_PRODUCTION", "NOT_STARTED"):
            write_rows(flow, [status(n, value) for n in range(50)], STATUS)
            result = run_flow(flow)
            assert (result.sent, result.verified, result.ok) == (50, 50, True)
            assert {row["YY1_ProductionStatus_SDH"] for row in system.records[ORDERS]} == {value}
        assert len({key for state, _, key in history(flow, "0000000001") if state == "sent"}) == 3

    def test_a_change_of_other_fields_in_between_is_shown_as_a_conflict_and_settled_with_the_new_etag(
        self, system: FakeSystem
    ) -> None:
        flow = flow_like("sales_status_to_erp")
        system.records[ORDERS] = [{"SalesOrder": "0000000001", "YY1_ProductionStatus_SDH": "", "version": 1}]
        write_rows(flow, [status(1, "PRODUCED")], STATUS)
        system.faults["PATCH"] = ["changed meanwhile"]
        result = run_flow(flow)
        assert (result.conflict, result.verified, result.ok) == (0, 1, True)
        steps = [(entry.state, entry.words or "") for entry in ledger.history(flow.flow, "0000000001")]
        assert [state for state, _ in steps] == ["planned", "sent", "conflict", "sent", "verified"]
        assert "changed by JDOE" in steps[2][1]
        assert "none of the fields that we write was touched" in steps[2][1]

    def test_a_value_that_was_changed_back_at_the_target_is_set_again(self, system: FakeSystem) -> None:
        flow = flow_like("sales_status_to_erp")
        system.records[ORDERS] = [{"SalesOrder": "0000000001", "YY1_ProductionStatus_SDH": "", "version": 1}]
        write_rows(flow, [status(1, "PRODUCED")], STATUS)
        assert run_flow(flow).sent == 1
        assert run_flow(flow).sent == 0
        system.records[ORDERS][0].update(YY1_ProductionStatus_SDH="", version=9)
        assert run_flow(flow).sent == 1

    def test_an_order_the_erp_does_not_know_is_a_failure(self, system: FakeSystem) -> None:
        flow = flow_like("sales_status_to_erp")
        write_rows(flow, [status(404, "PRODUCED")], STATUS)
        result = run_flow(flow)
        assert (result.failed, result.sent) == (1, 0)
        assert "no such record" in result.problems["0000000404"]


_DYING = """
import os, sys, threading
from datong_infra.sandbox.odata_metadata import metadata
from datong_ingestion.systems_config import SystemConfig
from datong_ingestion.write_back import FlowConfig, run_flow
flow = FlowConfig.model_validate_json(sys.stdin.read())
point, _, count = sys.argv[1].partition(":")
left = int(count or 1)
def reach(step):
    global left
    if step == point:
        left -= 1
        if left == 0:
            os._exit(9)
if point == "under way":
    reach = lambda step: step == "intended" and threading.Timer(0.5, os._exit, [9]).start()
run_flow(flow, on_step=lambda step, what: reach(step), on_reply=lambda key, outcome: reach("replied"))
"""


def die_at(point: str, flow: FlowConfig) -> None:
    """Run a flow in a process of its own that ends at a point, without any chance to tidy up."""
    killed = subprocess.run(
        [sys.executable, "-c", _DYING, point],
        input=flow.model_dump_json(by_alias=True).encode(),
        env=os.environ,
        check=False,
        capture_output=True,
    )
    assert killed.returncode == 9, killed.stderr.decode()


@pytest.mark.usefixtures("services")
def test_a_run_killed_while_a_slow_target_is_still_at_it_does_not_repeat(system: FakeSystem) -> None:
    flow = flow_like("consumption_to_erp", settle_seconds=4)
    write_rows(flow, [issue(1)], ISSUES)
    system.faults["POST"] = ["wait 3"]
    die_at("under way", flow)
    assert not times_posted(system), "the target has not posted yet, so looking alone would not help"
    result = run_flow(flow)
    assert (result.verified, result.sent, result.ok) == (1, 0, True)
    time.sleep(1)
    assert times_posted(system) == {"MC000000000001": 1}


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("consumption_to_erp", point)
        for point in ("planned", "looked:2", "intended", "replied:3", "replied:14", "read_back", "recorded:2")
    ]
    + [("production_order_to_mes", point) for point in ("intended", "replied:14", "recorded")],
)
def test_a_run_killed_anywhere_neither_loses_nor_repeats(system: FakeSystem, name: str, point: str) -> None:
    flow = flow_like(name, chunk_rows=10, settle_seconds=0.1)
    if name == "consumption_to_erp":
        write_rows(flow, [issue(n) for n in range(25)], ISSUES)
    else:
        write_rows(flow, [work_order(n) for n in range(25)], WORK)
    die_at(point, flow)
    result = run_flow(flow)
    assert result.ok, result
    assert states(flow) == {"verified": 25}
    if name == "consumption_to_erp":
        assert times_posted(system) == {f"MC{n:012d}": 1 for n in range(25)}
    else:
        assert Counter(row["orderNo"] for row in system.records[WORK_ORDERS]) == {
            str(1000000 + n): 1 for n in range(25)
        }


@pytest.mark.usefixtures("services")
class TestRunsAndSources:
    def test_two_runs_at_once_never_send_the_same_row(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [issue(n) for n in range(10)], ISSUES)
        looking, go_on = threading.Event(), threading.Event()

        def pause(step: str, _what: str) -> None:
            if step == "looked":
                looking.set()
                go_on.wait(20)

        first = threading.Thread(target=lambda: run_flow(flow, on_step=pause))
        first.start()
        assert looking.wait(20)
        with pytest.raises(TransientError, match="is being run by another process") as refused:
            run_flow(flow, wait_seconds=0)
        assert str(os.getpid()) in str(refused.value)
        waiting: list[int] = []
        second = threading.Thread(target=lambda: waiting.append(run_flow(flow, wait_seconds=20).planned))
        second.start()
        go_on.set()
        first.join(30)
        second.join(30)
        assert waiting == [0]
        assert times_posted(system) == {f"MC{n:012d}": 1 for n in range(10)}

    def test_a_run_that_lost_its_lock_sends_nothing_more(self, system: FakeSystem, services: Settings) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [issue(n) for n in range(3)], ISSUES)

        def cut(step: str, _what: str) -> None:
            if step == "intended":
                with psycopg.connect(services.need("postgres_url")) as connection:
                    connection.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like %s",
                        (f"datong write-back {flow.flow}%",),
                    )

        result = run_flow(flow, on_step=cut)
        assert (result.waiting, result.verified, result.ok) == (3, 0, False)
        assert "lost its lock" in str(result.stopped)
        assert not times_posted(system)
        assert run_flow(flow).ok
        assert set(times_posted(system).values()) == {1}

    def test_a_serve_table_that_is_not_built_is_named(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp")
        with pytest.raises(TerminalError, match=rf"{flow.source}.*was not published yet"):
            run_flow(flow)

    def test_double_keys_in_the_serve_table_are_refused_before_anything_is_sent(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [issue(1), issue(1)], ISSUES)
        with pytest.raises(SchemaError, match="MC000000000001 more than once"):
            run_flow(flow)
        assert not system.calls

    def test_a_missing_column_is_named(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [], ISSUES.remove(ISSUES.get_field_index("plant")))
        with pytest.raises(ConfigurationError, match="does not have: plant"):
            run_flow(flow)

    def test_rows_of_another_system_are_not_touched(self, system: FakeSystem) -> None:
        flow = flow_like("consumption_to_erp")
        write_rows(flow, [issue(1), issue(2, source_system="tryton")], ISSUES)
        assert run_flow(flow).planned == 1
        assert times_posted(system) == {"MC000000000001": 1}
