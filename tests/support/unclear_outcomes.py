"""The proof of the way back: so many changes, a tenth of them with an unclear outcome, the process killed again and
again; then the ledger is held against the target's own change documents, row by row.

The target is the sandbox's ERP. New material documents go out in `$batch`es: replies are lost before and after the
effect, requests run into the client's time limit and take effect after it, errors come after the effect, batches break
in the middle. Work orders of the MES are changed while its people change them, too: each 412 must be shown.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
from datong_ingestion.write_back import FlowConfig, load_flow, run_flow
from datong_ingestion.write_back.ledger import LEDGER
from datong_ingestion.write_back.systems import open_target
from datong_platform.settings import settings
from deltalake import DeltaTable, write_deltalake
from lake_builds import let_read
from two_systems import Systems

KINDS = ("drop_connection", "lost_reply", "slow", "error_after", "half_batch")
PATIENCE = 0.8
"""Seconds that the client waits for an answer; a slow one takes longer, and takes effect all the same."""

_COMPONENT = """
    select c."Material", c."Plant", c."StorageLocation", c."ManufacturingOrder", c."Reservation", c."ReservationItem",
        c."BaseUnit", s."MatlWrhsStkQtyInMatlBaseUnit"
    from "erp_A_ProductionOrderComponent_2" c
    join "erp_A_ProductionOrder_2" o using ("ManufacturingOrder")
    join "erp_A_MatlStkInAcctMod" s
        on s."Material" = c."Material" and s."Plant" = c."Plant" and s."StorageLocation" = c."StorageLocation"
    where o."OrderIsReleased" = 'X' order by s."MatlWrhsStkQtyInMatlBaseUnit" desc limit 1
"""
_RUN = """
import json, sys
from datong_ingestion.write_back import FlowConfig, run_flow
from datong_ingestion.write_back.systems import open_target
flow = FlowConfig.model_validate_json(sys.stdin.read())
target = open_target(flow, timeout_seconds=float(sys.argv[1]))
result = run_flow(flow, target=target)
print(json.dumps({"green": result.is_green, "planned": result.planned, "sent": result.sent,
    "stopped": str(result.stopped) if result.stopped else "", "problems": dict(list(result.problems.items())[:3])}))
"""


@dataclass(frozen=True)
class Figures:
    """What a proof came to. Seconds are by the wall clock; `load` is the machine's while it ran."""

    changes: int
    runs: int
    kills: int
    requests_struck: int
    intents_without_answer: int
    verified: int
    seconds: float
    load: float


def posted_once(
    systems: Systems,
    changes: int,
    *,
    seed: int = 0,
    share: float = 0.1,
    kills: int = 5,
    kill_after: tuple[float, float] = (3, 12),
) -> Figures:
    """Post so many goods issues through a tenth of unclear outcomes and so many kills; AssertionError when one is lost,
    is there twice, or the ledger says something else than the ERP's own change documents."""
    dice = random.Random(seed)
    flow = _issues(systems, changes)
    keys = {f"PX{number:012d}" for number in range(changes)}
    known = {entry["number"] for entry in systems.log()}
    for kind in KINDS:
        more = {"seconds": PATIENCE * 1.5} if kind == "slow" else {}
        body = {"target": "erp", "kind": kind, "match": r"POST .*\$batch", "count": None, "share": share / len(KINDS)}
        systems.ask("POST", "faults", body | more)
    started, runs, done, killed = time.monotonic(), 0, False, 0
    while not done:
        runs += 1
        assert runs < 60 + kills, "it does not come to an end"
        done, was_killed = _run(flow, dice.uniform(*kill_after) if killed < kills else None)
        killed += was_killed
    seconds = time.monotonic() - started
    struck = sum(fault["struck"] for fault in systems.ask("GET", "faults"))
    systems.ask("DELETE", "faults")
    mine = [
        entry
        for entry in systems.log()
        if entry["number"] not in known and entry["operation"] == "create" and entry["system"] == "erp"
    ]
    posted = Counter(entry["changed"]["ReferenceDocument"][1] for entry in mine)
    assert not keys - posted.keys(), f"{len(keys - posted.keys())} were lost"
    assert posted.keys() == keys, "something was posted that nobody wanted"
    twice = [key for key, count in posted.items() if count > 1]
    assert not twice, f"{len(twice)} were posted twice: {twice[:5]}"
    documents = {entry["changed"]["ReferenceDocument"][1]: entry["key"] for entry in mine}
    transitions = _transitions(flow)
    last = _last(transitions)
    states = Counter(last["state"].to_pylist())
    assert states == {"verified": changes}, states
    told = dict(zip(last["key"].to_pylist(), last["target_key"].to_pylist(), strict=True))
    assert told == documents, "the ledger names other documents than the ERP posted"
    sent = transitions.filter(pc.field("state") == "sent")
    identities = sent.group_by("key").aggregate([("idempotency_key", "count_distinct")])
    assert pc.max(identities["idempotency_key_count_distinct"]).as_py() == 1, "a change went out under two identities"
    answered = transitions.filter(pc.field("status").is_valid())
    unanswered = sent.num_rows - answered.num_rows
    return Figures(changes, runs, killed, struck, max(0, unanswered), changes, round(seconds, 1), os.getloadavg()[1])


def shown_stale(systems: Systems, orders: list[str], rounds: int) -> tuple[int, int, int]:
    """Move work orders while the MES's people move them, too: how many changes arrived, how many 412 the MES gave, and
    how many the ledger shows. AssertionError when a change is lost or was made twice."""
    flow, table = _moves(orders)
    dice = random.Random(1)
    before = systems.ask("GET", "status")["stale_writes_refused"]
    known = {entry["number"] for entry in systems.log()}
    target = open_target(flow)
    stop = threading.Event()

    def people() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            order = dice.choice(orders)
            systems.edit("mes", order, "planned_start_on", date(2027, 1, 1) + timedelta(days=number % 5000))

    worker = threading.Thread(target=people, daemon=True)
    try:
        for number in range(rounds):
            day = datetime(2065, 1, 1, 9, tzinfo=UTC) + timedelta(days=number)
            _write(table, pa.table({"order_no": orders, "planned_end_at": [day] * len(orders)}))
            if not worker.is_alive():
                worker.start()
            for _ in range(20):
                if run_flow(flow, target=target).is_green:
                    break
            else:
                raise AssertionError("others are always faster")
    finally:
        stop.set()
        worker.join(30)
        target.close()
    mine = [e for e in systems.log() if e["number"] not in known and e["who"] == "api" and e["operation"] == "update"]
    made = Counter((entry["key"], entry["changed"]["plannedEnd"][1]) for entry in mine)
    assert set(made.values()) == {1}, "a change was made twice"
    assert len(made) == len(orders) * rounds, f"{len(orders) * rounds - len(made)} changes were lost"
    refused = systems.ask("GET", "status")["stale_writes_refused"] - before
    shown = _transitions(flow).filter((pc.field("status") == 412) & (pc.field("state") != "sent")).num_rows
    return len(made), refused, shown


def _run(flow: FlowConfig, kill_after: float | None) -> tuple[bool, bool]:
    """One run in a process of its own: whether it left nothing unverified, and whether it was killed."""
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(PATIENCE)], stdin=subprocess.PIPE, stdout=told, stderr=told
        )
        assert process.stdin is not None
        process.stdin.write(flow.model_dump_json(by_alias=True).encode())
        process.stdin.close()
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            return False, True
        told.seek(0)
        words = told.read().decode()
        assert process.returncode == 0, words
        return '"green": true' in words, False


def _issues(systems: Systems, count: int) -> FlowConfig:
    """The project's own flow of consumption, over so many tiny goods issues of one component."""
    with sqlite3.connect(f"file:{systems.home / 'sandbox' / 'plant.sqlite'}?mode=ro", uri=True) as db:
        material, plant, place, order, reservation, item, unit, stock = db.execute(_COMPONENT).fetchone()
    assert stock > count, "the plant has too little of everything"
    same = {
        "goods_movement_code": "03",
        "document_date": date(2026, 10, 30),
        "posting_date": date(2026, 10, 30),
        "header_text": "proof",
        "goods_movement_type": "261",
        "material": material,
        "plant": plant,
        "storage_location": place,
        "manufacturing_order": order,
        "reservation": reservation,
        "reservation_item": item,
        "quantity": Decimal("0.001"),
        "entry_unit": unit,
        "is_pending": True,
        "source_system": "erp",
    }
    rows = pa.table(
        {
            "reference_document": [f"PX{number:012d}" for number in range(count)],
            **{name: pa.repeat(pa.scalar(value), count) for name, value in same.items()},
        }
    )
    place_of_quantity = rows.schema.get_field_index("quantity")
    rows = rows.set_column(place_of_quantity, "quantity", rows["quantity"].cast(pa.decimal128(15, 3)))
    mark = uuid.uuid4().hex[:8]
    changes = {
        "flow": f"proof_{mark}",
        "source": f"serve.proof__t{mark}",
        "batch": 20,
        "chunk_rows": 1000,
        "settle_seconds": PATIENCE * 4,
        "attempts": 10,
        "retry": {"wait_seconds": 0, "attempts": 100},
        "guards": {},
    }
    flow = FlowConfig.model_validate(load_flow("consumption_to_erp").model_dump(by_alias=True) | changes)
    _write(flow, rows)
    return flow


def _moves(orders: list[str]) -> tuple[FlowConfig, FlowConfig]:
    mark = uuid.uuid4().hex[:8]
    flow = FlowConfig.model_validate(
        {
            "flow": f"stale_{mark}",
            "source": f"serve.stale__t{mark}",
            "key": "order_no",
            "target": {
                "system": "mes",
                "resource": "/work-orders",
                "lookup": "orderNo",
                "identity": ["workOrderNo"],
                "etag_field": "version",
                "timezone": "Asia/Shanghai",
            },
            "operations": ["update"],
            "on_conflict": "ours",
            "settle_seconds": 0.3,
            "retry": {"wait_seconds": 0, "attempts": 100},
            "payload": {"plannedEnd": "planned_end_at"},
        }
    )
    return flow, flow


def _write(flow: FlowConfig, rows: pa.Table) -> None:
    now = settings()
    write_deltalake(now.table_uri(flow.table), rows, mode="overwrite", storage_options=now.storage_options())
    let_read(flow.table)


def _transitions(flow: FlowConfig) -> pa.Table:
    now = settings()
    ledger = DeltaTable(now.table_uri(LEDGER), storage_options=now.storage_options())
    columns = ["key", "step", "state", "status", "target_key", "idempotency_key"]
    return ledger.to_pyarrow_table(filters=[("flow", "=", flow.flow)], columns=columns)


def _last(transitions: pa.Table) -> pa.Table:
    highest = transitions.group_by("key").aggregate([("step", "max")]).rename_columns(["key", "step"])
    return highest.join(transitions, ["key", "step"])
