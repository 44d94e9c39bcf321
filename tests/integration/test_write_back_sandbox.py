"""Write-back to the sandbox plant: its ERP and MES check what arrives, and its truth tells what was posted twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from datong_ingestion.write_back import FlowConfig, FlowResult, load_flow, run_flow
from datong_ingestion.write_back.config import Retry
from datong_platform.settings import settings
from deltalake import write_deltalake
from lake_builds import let_read
from sandbox_process import SandboxProcess

UNITS = {"pcs": "ST", "kg": "KG", "m": "M", "L": "L"}
COMPONENTS = "API_PRODUCTION_ORDER_2_SRV/A_ProductionOrderComponent_2"
PRODUCTION_ORDERS = "API_PRODUCTION_ORDER_2_SRV/A_ProductionOrder_2"
DOCUMENTS = "API_MATERIAL_DOCUMENT_SRV/A_MaterialDocumentHeader"
SALES_ORDERS = "API_SALES_ORDER_SRV/A_SalesOrder"


class Plant:
    """A sandbox process, and what a person could read from its systems."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._process = SandboxProcess(self.home, "--scale", "0.1", "--seed", "11")
        self.known = self._process.known
        for name, value in self.known.items():
            monkeypatch.setenv(name, value)

    def stop(self) -> None:
        self._process.kill()

    def control(self, method: str, path: str, body: Any = None) -> Any:
        return httpx.request(method, f"{self.known['SANDBOX_URL']}/_sandbox/{path}", json=body, timeout=60).json()

    def faults(self, target: str, match: str, *kinds: str, **more: Any) -> None:
        for kind in kinds:
            self.control("POST", "faults", {"target": target, "kind": kind, "match": match, "count": 2, **more})

    def erp(self, address: str) -> list[dict[str, Any]]:
        answer = httpx.get(
            f"{self.known['ERP_URL']}/{address}",
            auth=(self.known["ERP_USER"], self.known["ERP_PASSWORD"]),
            headers={"Prefer": "odata.maxpagesize=100000"},
            timeout=60,
        )
        assert answer.is_success, answer.text
        content = answer.json()["d"]
        assert "__next" not in content
        return content["results"]

    def mes(self, collection: str) -> list[dict[str, Any]]:
        answer = httpx.get(
            f"{self.known['MES_URL']}/{collection}",
            params={"limit": 5000},
            headers={"Authorization": f"Bearer {self.known['MES_TOKEN']}"},
        )
        content = answer.json()
        assert content["next_cursor"] is None
        return content["data"]

    def unposted(self) -> list[dict[str, Any]]:
        """Rows for the consumption events that have no document yet and are not dirty."""
        posted = {row["ReferenceDocument"] for row in self.erp(DOCUMENTS)}
        components = {
            (row["ManufacturingOrder"].lstrip("0"), row["ReservationItem"].lstrip("0")): row
            for row in self.erp(COMPONENTS)
        }
        rows: dict[str, dict[str, Any]] = {}
        for event in self.mes("material-consumptions"):
            component = components.get((event["orderNo"].lstrip("0"), event["reservationItem"].lstrip("0")))
            if event["eventId"] in posted or component is None or event["unit"] not in UNITS:
                continue
            rows[event["eventId"]] = {
                "reference_document": event["eventId"],
                "goods_movement_code": "03",
                "document_date": date.fromisoformat(event["consumedAt"][:10]),
                "posting_date": date.fromisoformat(event["consumedAt"][:10]),
                "header_text": "MES",
                "goods_movement_type": "261",
                "material": component["Material"],
                "plant": component["Plant"],
                "storage_location": component["StorageLocation"],
                "manufacturing_order": component["ManufacturingOrder"],
                "reservation": component["Reservation"],
                "reservation_item": component["ReservationItem"],
                "quantity": Decimal(str(event["quantity"])),
                "entry_unit": UNITS[event["unit"]],
                "is_pending": True,
                "source_system": "erp",
            }
        return list(rows.values())


@pytest.fixture(scope="module")
def plant_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plant")


@pytest.fixture
def plant(plant_home: Path, services: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    found = Plant(plant_home)
    found.start(monkeypatch)
    yield found
    found.stop()


def flow_over(name: str, rows: list[dict[str, Any]], **types: pa.DataType) -> FlowConfig:
    """The project's own flow under another name, on a table of these rows; what failed is due again in the next run."""
    mark = uuid.uuid4().hex[:8]
    changes: dict[str, Any] = {
        "flow": f"test_{mark}",
        "source": f"serve.test__t{mark}",
        "settle_seconds": 0.3,
        "chunk_rows": 20,
        "retry": Retry(wait_seconds=0),
    }
    flow = FlowConfig.model_validate(load_flow(name).model_copy(update=changes).model_dump(by_alias=True))
    table = pa.Table.from_pylist(rows)
    for column, kind in types.items():
        place = table.schema.get_field_index(column)
        table = table.set_column(place, column, table[column].cast(kind))
    now = settings()
    write_deltalake(now.table_uri(flow.table), table, storage_options=now.storage_options())
    let_read(flow.table)
    return flow


def until_verified(flow: FlowConfig) -> list[FlowResult]:
    results: list[FlowResult] = []
    for _ in range(6):
        results.append(run_flow(flow))
        if results[-1].ok:
            return results
    raise AssertionError(results)


def test_consumption_is_posted_once_whatever_the_erp_does_meanwhile(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = plant.unposted()
    assert len(rows) > 30
    before = plant.control("GET", "truth")["consumption"]
    flow = flow_over("consumption_to_erp", rows, quantity=pa.decimal128(15, 3))
    kinds = ("lost_reply", "drop_connection", "unavailable", "rate_limit", "truncate")
    plant.faults("erp", "POST .*A_MaterialDocumentHeader", *kinds)
    plant.faults("erp", r"GET .*A_MaterialDocumentHeader\?", "truncate", "unavailable")

    def crash(key: str, _outcome: str) -> None:
        if key == rows[len(rows) // 2]["reference_document"]:
            plant.stop()

    broken = run_flow(flow.model_copy(update={"attempts": 1}), on_reply=crash)
    assert not broken.ok
    plant.start(monkeypatch)
    until_verified(flow)
    after = plant.control("GET", "truth")["consumption"]
    assert after["posted_twice"] == 0
    assert after["posted"] == before["posted"] + len(rows)
    assert plant.unposted() == []
    assert run_flow(flow).planned == 0


def test_postings_in_batches_are_made_once_each_though_half_of_a_batch_is_lost(
    tmp_path: Path, services: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = Plant(tmp_path)
    plant.start(monkeypatch)
    try:
        before = plant.control("GET", "truth")["consumption"]
        rows = plant.unposted()
        assert len(rows) > 25
        wrong = {**rows[3], "entry_unit": "XX"}
        flow = flow_over("consumption_to_erp", [*rows[:3], wrong, *rows[4:]], quantity=pa.decimal128(15, 3))
        flow = flow.model_copy(update={"batch": 10})
        plant.faults("erp", r"POST .*\$batch", "lost_reply", "truncate", "unavailable")
        results = [run_flow(flow) for _ in range(4)]
        assert all("XX" in one.problems[wrong["reference_document"]] for one in results)
        last = results[-1]
        assert (last.unknown, last.conflict, last.failed + last.dead) == (0, 0, 1), last
        after = plant.control("GET", "truth")["consumption"]
        assert (after["posted_twice"], after["posted"]) == (0, before["posted"] + len(rows) - 1)
        assert [row["reference_document"] for row in plant.unposted()] == [wrong["reference_document"]]
    finally:
        plant.stop()


def test_a_posting_the_erp_refuses_fails_in_the_words_of_the_erp(plant: Plant) -> None:
    [component] = plant.erp(f"{COMPONENTS}?$top=1")
    row = {
        "reference_document": "MCX",
        "goods_movement_code": "03",
        "document_date": date(2026, 10, 30),
        "posting_date": date(2026, 10, 30),
        "header_text": "MES",
        "goods_movement_type": "261",
        "material": component["Material"],
        "plant": component["Plant"],
        "storage_location": component["StorageLocation"],
        "manufacturing_order": component["ManufacturingOrder"],
        "reservation": component["Reservation"],
        "reservation_item": component["ReservationItem"],
        "quantity": Decimal("1"),
        "entry_unit": "XX",
        "is_pending": True,
        "source_system": "erp",
    }
    result = run_flow(flow_over("consumption_to_erp", [row], quantity=pa.decimal128(15, 3)))
    assert (result.failed, result.verified, result.ok) == (1, 0, False)
    assert "XX" in result.problems["MCX"]
    assert result.problems["MCX"].startswith("failed: 400 ")


def test_released_orders_reach_the_mes_once(plant: Plant) -> None:
    known = {row["orderNo"] for row in plant.mes("work-orders")}
    released = [
        row
        for row in plant.erp(PRODUCTION_ORDERS)
        if row["OrderIsReleased"] and row["ManufacturingOrder"].lstrip("0") not in known
    ]
    assert len(released) > 3
    start = datetime(2026, 11, 2, 16, tzinfo=UTC)
    rows = [
        {
            "order_no": row["ManufacturingOrder"].lstrip("0"),
            "part_no": row["Material"].lstrip("0"),
            "quantity": Decimal(row["TotalQuantity"]),
            "unit": next(mes for mes, erp in UNITS.items() if erp == row["ProductionUnit"]),
            "planned_start_at": start,
            "planned_end_at": start,
            "is_pending": True,
            "source_system": "erp",
        }
        for row in released
    ]
    flow = flow_over(
        "production_order_to_mes",
        rows,
        quantity=pa.decimal128(15, 3),
        planned_start_at=pa.timestamp("us", "UTC"),
        planned_end_at=pa.timestamp("us", "UTC"),
    )
    plant.faults("mes", "POST .*work-orders", "lost_reply", "drop_connection", "unavailable", "rate_limit", "truncate")
    until_verified(flow)
    orders = [row["orderNo"] for row in plant.mes("work-orders")]
    assert len(orders) == len(set(orders)) == len(known) + len(rows)
    assert plant.control("GET", "truth")["work_orders"]["not_in_mes"] == 0


def test_sales_orders_show_the_status_they_should(plant: Plant) -> None:
    truth = plant.control("GET", "truth")["sales_orders"]
    known = {row["SalesOrder"].lstrip("0"): row for row in plant.erp(SALES_ORDERS)}
    rows = [
        {
            "sales_order": known[row["order"]]["SalesOrder"],
            "production_status": row["status"],
            "is_pending": True,
            "source_system": "erp",
        }
        for row in truth
        if row["status"] and known[row["order"]]["YY1_ProductionStatus_SDH"] != row["status"]
    ]
    assert len(rows) > 20
    flow = flow_over("sales_status_to_erp", rows)
    plant.faults("erp", "PATCH .*A_SalesOrder", "lost_reply", "drop_connection", "unavailable")
    until_verified(flow)
    held = {row["SalesOrder"]: row["YY1_ProductionStatus_SDH"] for row in plant.erp(SALES_ORDERS)}
    assert {row["sales_order"]: row["production_status"] for row in rows}.items() <= held.items()
