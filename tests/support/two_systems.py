"""The sandbox's ERP and MES as two systems that people work in at once: their process, a lake that is a little behind,
people who edit, and what the systems' own change documents say in the end.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from datong_ingestion.two_way import SyncConfig
from datong_platform.names import parse
from datong_platform.settings import settings
from deltalake import write_deltalake
from lake_builds import let_read
from sandbox_process import SandboxProcess

ZONE = timezone(timedelta(hours=8))
FIELDS = {
    "planned_start_on": ("MfgOrderPlannedStartDate", "plannedStart"),
    "planned_end_on": ("MfgOrderPlannedEndDate", "plannedEnd"),
}
OWNER = {"planned_start_on": "erp", "planned_end_on": "mes"}
FIRST = {"planned_start_on": date(2027, 1, 1), "planned_end_on": date(2060, 1, 1)}
"""Each field's values come from a range of its own, so that no mixture of both ends before it starts."""
LAST_OF_OLD = date(2059, 12, 31)

_READ = """
    select w."orderNo", o."ManufacturingOrder", o."MfgOrderPlannedStartDate", o."MfgOrderPlannedEndDate",
        o."LastChangeDateTime", w."plannedStart", w."plannedEnd", w.version, w.status not in ('已完成', '已关闭')
    from mes_work_order w join "erp_A_ProductionOrder_2" o on ltrim(o."ManufacturingOrder", '0') = w."orderNo"
"""
_UNKNOWN = """
    select ltrim("ManufacturingOrder", '0'), ltrim("Material", '0'), "TotalQuantity", "ProductionUnit",
        "MfgOrderPlannedStartDate"
    from "erp_A_ProductionOrder_2" o
    where not exists (select 1 from mes_work_order w where w."orderNo" = ltrim(o."ManufacturingOrder", '0'))
"""


class Systems:
    """A sandbox process in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._taken = 0

    def take(self, count: int) -> list[str]:
        """Orders that both systems hold and let people change, and that no other test has."""
        free = sorted(row["order_no"] for row in self.rows() if row["is_open"])[self._taken :]
        assert len(free) >= count
        self._taken += count
        return free[:count]

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._process = SandboxProcess(self.home, "--scale", "0.3", "--seed", "11")
        known = self._process.known
        self.address = known["SANDBOX_URL"]
        for name, value in known.items():
            monkeypatch.setenv(name, value)
        self._send_down(known["MES_URL"], known["MES_TOKEN"])

    def _send_down(self, url: str, token: str) -> None:
        """Let the MES know every order that the ERP has not finished, as the flow production_order_to_mes does."""
        with sqlite3.connect(f"file:{self.home / 'sandbox' / 'plant.sqlite'}?mode=ro", uri=True) as db:
            orders = db.execute(_UNKNOWN).fetchall()
        with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as mes:
            for order, part, quantity, unit, start in orders:
                body = {
                    "orderNo": order,
                    "partNo": part,
                    "quantity": quantity / 1000,
                    "unit": {"ST": "pcs", "KG": "kg", "M": "m", "L": "L"}[unit],
                    "plannedStart": f"{_day(start, UTC)}T08:00:00+08:00",
                    "plannedEnd": f"{LAST_OF_OLD}T17:00:00+08:00",
                }
                self.edit("erp", order, "planned_end_on", LAST_OF_OLD)
                answer = mes.post(f"{url}/work-orders", json=body, headers={"Idempotency-Key": f"down {order}"})
                assert answer.is_success, answer.text

    def stop(self) -> None:
        self._process.kill()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = httpx.request(method, f"{self.address}/_sandbox/{path}", json=body, timeout=60)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def fault(self, system: str, match: str, kind: str, count: int = 1, **more: Any) -> None:
        self.ask("POST", "faults", {"target": system, "kind": kind, "match": match, "count": count, **more})

    def log(self) -> list[dict[str, Any]]:
        return self.ask("GET", "log")

    def edit(self, system: str, order: str, field: str, value: date) -> None:
        """What a person does on a system's own screen."""
        erp, mes = FIELDS[field]
        if system == "erp":
            sent = f"/Date({int(datetime.combine(value, datetime.min.time(), UTC).timestamp() * 1000)})/"
            body = {"system": "erp", "key": order.zfill(12), "fields": {erp: sent}}
        else:
            hour = 8 if field == "planned_start_on" else 17
            body = {"system": "mes", "key": order, "fields": {mes: f"{value.isoformat()}T{hour:02d}:00:00+08:00"}}
        self.ask("POST", "edit", body)

    def rows(self, orders: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """What both systems hold now, as rows of the serve table."""
        chosen = None if orders is None else set(orders)
        with sqlite3.connect(f"file:{self.home / 'sandbox' / 'plant.sqlite'}?mode=ro", uri=True) as db:
            found = db.execute(_READ).fetchall()
        return [
            {
                "order_no": order,
                "erp_key": number,
                "mes_key": order,
                "erp_planned_start_on": _day(start, UTC),
                "erp_planned_end_on": _day(end, UTC),
                "erp_batch_id": str(changed),
                "mes_planned_start_on": _day(mes_start, ZONE),
                "mes_planned_end_on": _day(mes_end, ZONE),
                "mes_batch_id": str(version),
                "is_open": bool(is_open),
            }
            for order, number, start, end, changed, mes_start, mes_end, version, is_open in found
            if chosen is None or order in chosen
        ]


def _day(ms: int | None, zone: Any) -> date | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, zone).date()


def sync_over(systems: Systems, orders: Sequence[str] | None = None, **changes: Any) -> SyncConfig:
    """A synchronisation of these orders on a table of its own, which shows the systems as they are now."""
    mark = uuid.uuid4().hex[:8]
    sync = SyncConfig.model_validate(
        {
            "sync": f"test_{mark}",
            "source": f"serve.test__t{mark}",
            "key": "order_no",
            "open": "is_open",
            "entity": "production_order",
            "systems": {
                "erp": {
                    "resource": "API_PRODUCTION_ORDER_2_SRV/A_ProductionOrder_2",
                    "lookup": "ManufacturingOrder",
                    "identity": ["ManufacturingOrder"],
                },
                "mes": {
                    "resource": "/work-orders",
                    "lookup": "orderNo",
                    "identity": ["workOrderNo"],
                    "etag_field": "version",
                    "timezone": "Asia/Shanghai",
                    "rest": {"lookup_many": "comma"},
                },
            },
            "fields": {
                name: {"erp": erp, "mes": {"field": mes, "as": "datetime"}} for name, (erp, mes) in FIELDS.items()
            },
            "settle_seconds": 0.5,
            "retry": {"wait_seconds": 0, "attempts": 50},
            **changes,
        }
    )
    show(sync, systems.rows(orders))
    return sync


def show(sync: SyncConfig, rows: list[dict[str, Any]]) -> None:
    """Let the lake hold these rows: what both systems held when they were last read."""
    table = parse(sync.source)
    now = settings()
    write_deltalake(
        now.table_uri(table), pa.Table.from_pylist(rows), mode="overwrite", storage_options=now.storage_options()
    )
    let_read(table)


class People(threading.Thread):
    """People of one system who change random fields of random orders, each time to a day that nobody chose before."""

    def __init__(self, systems: Systems, system: str, orders: Sequence[str], edits: int, seed: int) -> None:
        super().__init__(name=f"people of {system}", daemon=True)
        self.systems, self.system, self.orders, self.edits = systems, system, orders, edits
        self.dice = random.Random(f"{seed}/{system}")
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for number in range(self.edits):
                order, field = self.dice.choice(self.orders), self.dice.choice(list(FIELDS))
                # odd days are the ERP's, even ones the MES's
                day = FIRST[field] + timedelta(days=2 * number + (self.system == "erp"))
                self.systems.edit(self.system, order, field, day)
                time.sleep(self.dice.random() * 0.01)
        except BaseException as error:  # noqa: BLE001 - told to the test, which is another thread
            self.error = error


@dataclass(frozen=True)
class Write:
    """One field of one entry of a system's change documents."""

    number: int
    system: str
    order: str
    field: str
    before: date | None
    after: date | None
    is_persons: bool


def writes(log: list[dict[str, Any]]) -> list[Write]:
    """The change documents, field by field."""
    names = {name: field for field, pair in FIELDS.items() for name in pair}
    found: list[Write] = []
    for entry in log:
        if entry["operation"] != "update":
            continue
        zone = UTC if entry["system"] == "erp" else ZONE
        for name, (before, after) in entry["changed"].items():
            order = entry["key"].lstrip("0")
            values = (_day(before, zone), _day(after, zone))
            found.append(Write(entry["number"], entry["system"], order, names[name], *values, entry["who"] == "person"))
    return found


def truth(history: Sequence[Write], first: date | None) -> date | None:
    """What a field of an order must be in the end, from all that was written to it, in the order it was.

    The last word of each system's people counts. Where one of the two was there when the other was spoken, the later
    one does; where neither knew the other, the owner's.
    """
    last: dict[str, Write] = {}
    for write in history:
        if write.is_persons:
            last[write.system] = write
    if not last:
        return first
    if len(last) == 1:
        return next(iter(last.values())).after
    for one, other in (("erp", "mes"), ("mes", "erp")):
        arrived = [w for w in history if not w.is_persons and w.system == other and w.after == last[one].after]
        if arrived and arrived[0].number < last[other].number:
            return last[other].after
    return last[OWNER[history[0].field]].after


def by_field(found: Iterable[Write]) -> dict[tuple[str, str], list[Write]]:
    """The writes of each order's field, in the order they were made."""
    grouped: dict[tuple[str, str], list[Write]] = defaultdict(list)
    for write in found:
        grouped[write.order, write.field].append(write)
    return grouped
