"""How fast write-back is: rows verified per second, beside a loop of single requests and an asyncio script (P11).

    uv run python tests/bench/write_back.py --rows 10000 --latency-ms 20 --concurrency 32

The target is a JSON API in a process of its own that answers after the given latency and tells what it holds. All
create each record and read it back; only the flow keeps a ledger. Flow and script do so in two ways: each record is
looked up by a request of its own, or 30 of them by one. The loop does a part of the rows (`--loop-rows`), because it
only waits. `nothing new` is the flow's next run. The CPU seconds of the flow count the store, too; what each part took
is in the record (--format json).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
from datong_infra.services.processes import free_port
from datong_ingestion.write_back import FlowConfig, FlowResult, load_flow, run_flow
from datong_ingestion.write_back.systems import open_target
from datong_platform.settings import settings
from deltalake import write_deltalake
from frame import Benchmark, Session, checksum

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from lake_builds import let_read

BENCH = Benchmark(
    key="p11",
    title="Write-back of 10,000 changes to a target that answers in 20 ms",
    goal="20 x the loop, 1.2 x the script, no double",
    quick={"rows": 1000, "loop_rows": 100},
)

ALONE, TOGETHER = "each key looked up alone", "keys looked up together"

SERVER = """
import asyncio, json, sys, uvicorn
from urllib.parse import parse_qs
LATENCY = float(sys.argv[2]) / 1000
records, calls = {}, [0]
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await asyncio.sleep(LATENCY)
    calls[0] += 1
    status = 200
    if scope["path"] == "/content":
        answer = [row for rows in records.values() for row in rows]
        records.clear()
    elif scope["method"] == "POST":
        row = json.loads(body)
        row |= {"workOrderNo": f"WO-{calls[0]}", "version": 1}
        records.setdefault(row["orderNo"], []).append(row)
        answer, status = row, 201
    else:
        keys = parse_qs(scope["query_string"].decode())["orderNo"][0].split(",")
        answer = {"data": [row for key in keys for row in records.get(key, [])]}
    content = json.dumps(answer).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": content})
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", timeout_keep_alive=300)
"""


def body(key: str) -> dict[str, object]:
    return {"orderNo": key, "partNo": "FG-1001", "quantity": 12.5, "unit": "pcs"}


def flow_over(keys: list[str], concurrency: int, together: str) -> FlowConfig:
    mark = uuid.uuid4().hex[:8]
    flow = load_flow("production_order_to_mes").model_dump(by_alias=True)
    payload = {"orderNo": "order_no", "partNo": "part_no", "quantity": "quantity", "unit": "unit"}
    changes = {"flow": f"bench_{mark}", "source": f"serve.bench__t{mark}", "payload": payload}
    flow["target"]["rest"]["lookup_many"] = together
    found = FlowConfig.model_validate(flow | changes | {"chunk_rows": max(200, 8 * concurrency)})
    rows = pa.table(
        {
            "order_no": keys,
            "part_no": ["FG-1001"] * len(keys),
            "quantity": pa.array([12.5] * len(keys)).cast(pa.decimal128(15, 3)),
            "unit": ["pcs"] * len(keys),
            "is_pending": [True] * len(keys),
            "source_system": ["erp"] * len(keys),
        }
    )
    now = settings()
    write_deltalake(now.table_uri(found.table), rows, storage_options=now.storage_options())
    let_read(found.table)
    return found


def loop(url: str, keys: list[str]) -> None:
    with httpx.Client() as client:
        for key in keys:
            client.post(f"{url}/work-orders", json=body(key)).raise_for_status()
            found = client.get(f"{url}/work-orders", params={"orderNo": key}).json()["data"]
            assert found[0]["quantity"] == 12.5


_AT_ONCE = 30
"""Keys that are looked up by one request, where they are together."""


async def script(url: str, keys: list[str], concurrency: int, *, together: bool) -> None:
    gate = asyncio.Semaphore(concurrency)
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=concurrency)) as client:

        async def one(key: str) -> None:
            async with gate:
                (await client.post(f"{url}/work-orders", json=body(key), timeout=60)).raise_for_status()
                if not together:
                    await look([key])

        async def look(some: list[str]) -> None:
            asked = {"orderNo": ",".join(some)}
            found = (await client.get(f"{url}/work-orders", params=asked, timeout=60)).json()["data"]
            assert [row["quantity"] for row in found] == [12.5] * len(some)

        async def looked(some: list[str]) -> None:
            async with gate:
                await look(some)

        await asyncio.gather(*(one(key) for key in keys))
        if together:
            await asyncio.gather(*(looked(keys[at : at + _AT_ONCE]) for at in range(0, len(keys), _AT_ONCE)))


def content(url: str, expected: int) -> pa.Table:
    """What the target holds, which it then forgets. RuntimeError when a record came twice, or did not come."""
    found: list[dict[str, Any]] = httpx.get(f"{url}/content", timeout=60).json()
    keys = {row["orderNo"] for row in found}
    if len(found) != expected or len(keys) != expected:
        raise RuntimeError(f"the target holds {len(found)} records of {len(keys)} keys where {expected} were sent")
    return pa.Table.from_pylist([{name: row[name] for name in body("")} for row in found])


def main() -> None:
    options = BENCH.options(__doc__)
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--loop-rows", type=int, default=500)
    options.add_argument("--latency-ms", type=float, default=20)
    options.add_argument("--concurrency", type=int, default=32)
    with BENCH.session(options) as bench, bench.services("store", "postgres"):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        os.environ |= {"MES_URL": url, "MES_TOKEN": "none"}
        with bench.beside([sys.executable, "-c", SERVER, str(port), str(bench.asked.latency_ms)]):
            for _ in range(100):
                try:
                    httpx.get(f"{url}/content")
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            bench.peer("loop", httpx.__version__, requests="one after the other, on one connection")
            bench.peer("script", httpx.__version__, requests=f"asyncio, {bench.asked.concurrency} at a time")
            for _ in bench.turns():
                once(url, bench)


def once(url: str, bench: Session) -> None:
    """One turn of each."""
    chosen = bench.asked
    # numbered anew in every turn: a flow is a new one each time, and the target forgets
    keys = [f"K-{n:07d}" for n in range(chosen.rows)]
    looped = min(chosen.rows, chosen.loop_rows)
    if bench.takes("loop"):
        with bench.measured("loop", ALONE, services=(), amount=looped, unit="rows"):
            loop(url, keys[:looped])
        content(url, looped)
    for case, together in ((ALONE, ""), (TOGETHER, "comma")):
        if bench.takes("script"):
            with bench.measured("script", case, services=(), amount=chosen.rows, unit="rows") as run:
                asyncio.run(script(url, keys, chosen.concurrency, together=bool(together)))
            run.checksum = checksum(content(url, chosen.rows))
        if bench.takes("datong"):
            flow = flow_over(keys, chosen.concurrency, together)
            target = open_target(flow, concurrency=chosen.concurrency)
            results: list[FlowResult] = []
            with bench.measured("datong", case, amount=chosen.rows, unit="rows") as run:
                results.append(run_flow(flow, target=target))
            target.close()
            assert results[0].ok, results[0]
            with bench.measured("datong", f"nothing new ({case})", amount=chosen.rows, unit="rows"):
                run_flow(flow)
            run.checksum = checksum(content(url, chosen.rows))


if __name__ == "__main__":
    main()
