"""How fast write-back is: rows verified per second, beside a loop of single requests and an asyncio script.

With the services up (`datong up`):

    python tests/bench/write_back.py --rows 10000 --latency-ms 20 --concurrency 32

The target is a JSON API in a process of its own that answers after the given latency and tells in the end whether
anything came twice. All three create each record and read it back; only the flow keeps a ledger. They take turns, and
the loop does a part of the rows (`--loop-rows`), because it only waits; its time for all is that times so many. The CPU
seconds are those of this process, all threads included: they tell what each costs where a machine is shared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pyarrow as pa
from datong_ingestion.write_back import FlowConfig, FlowResult, load_flow, run_flow
from datong_ingestion.write_back.systems import open_target
from datong_platform.settings import settings
from deltalake import write_deltalake

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from lake_builds import let_read

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
    if scope["path"] == "/count":
        answer = {"records": sum(map(len, records.values())), "keys": len(records), "calls": calls[0]}
    elif scope["method"] == "POST":
        row = json.loads(body)
        row |= {"workOrderNo": f"WO-{calls[0]}", "version": 1}
        records.setdefault(row["orderNo"], []).append(row)
        answer, status = row, 201
    else:
        answer = {"data": records.get(parse_qs(scope["query_string"].decode())["orderNo"][0], [])}
    content = json.dumps(answer).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": content})
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""


def body(key: str) -> dict[str, object]:
    return {"orderNo": key, "partNo": "FG-1001", "quantity": 12.5, "unit": "pcs"}


def flow_over(keys: list[str], concurrency: int) -> FlowConfig:
    mark = uuid.uuid4().hex[:8]
    flow = load_flow("production_order_to_mes").model_dump(by_alias=True)
    payload = {"orderNo": "order_no", "partNo": "part_no", "quantity": "quantity", "unit": "unit"}
    changes = {"flow": f"bench_{mark}", "source": f"serve.bench__t{mark}", "payload": payload}
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


async def script(url: str, keys: list[str], concurrency: int) -> None:
    gate = asyncio.Semaphore(concurrency)
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=concurrency)) as client:

        async def one(key: str) -> None:
            async with gate:
                (await client.post(f"{url}/work-orders", json=body(key), timeout=60)).raise_for_status()
                found = (await client.get(f"{url}/work-orders", params={"orderNo": key}, timeout=60)).json()["data"]
                assert found[0]["quantity"] == 12.5

        await asyncio.gather(*(one(key) for key in keys))


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the CPU."""
    started, used = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - started, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--loop-rows", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--latency-ms", type=float, default=20)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--port", type=int, default=18951)
    chosen = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(chosen.port), str(chosen.latency_ms)])
    url = f"http://127.0.0.1:{chosen.port}"
    os.environ |= {"MES_URL": url, "MES_TOKEN": "none"}
    try:
        for _ in range(100):
            try:
                httpx.get(f"{url}/count")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        runs = [once(url, chosen, number) for number in range(chosen.runs)]
        counted = httpx.get(f"{url}/count").json()
    finally:
        server.terminate()
        server.wait(10)
    expected = chosen.runs * (2 * chosen.rows + min(chosen.rows, chosen.loop_rows))
    assert counted["records"] == counted["keys"] == expected, "a record came twice, or did not come"
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    print(
        json.dumps(
            {
                "rows": chosen.rows,
                "latency_ms": chosen.latency_ms,
                "concurrency": chosen.concurrency,
                "load": round(os.getloadavg()[0], 1),
                "median": {name: round(value, 2) for name, value in middle.items()},
                "rows_per_second": round(chosen.rows / middle["flow"]),
                "times_the_loop": round(middle["loop"] / middle["flow"], 1),
                "of_the_script": round(middle["flow"] / middle["script"], 2),
                "of_the_script_by_cpu": round(middle["flow_cpu"] / middle["script_cpu"], 2),
                "spread_of_flow": [round(run["flow"], 2) for run in sorted(runs, key=lambda run: run["flow"])],
            }
        )
    )


def once(url: str, chosen: argparse.Namespace, number: int) -> dict[str, float]:
    """One turn of each: seconds by name, and CPU seconds by name with `_cpu`."""
    looped = min(chosen.rows, chosen.loop_rows)
    keys = {name: [f"{name}{number}-{n:07d}" for n in range(chosen.rows)] for name in ("L", "A", "F")}
    flow = flow_over(keys["F"], chosen.concurrency)
    target = open_target(flow, concurrency=chosen.concurrency)
    results: list[FlowResult] = []
    loop_time = timed(lambda: loop(url, keys["L"][:looped]))
    script_time = timed(lambda: asyncio.run(script(url, keys["A"], chosen.concurrency)))
    flow_time = timed(lambda: results.append(run_flow(flow, target=target)))
    target.close()
    assert results[0].ok, results[0]
    again = timed(lambda: run_flow(flow))
    scale = chosen.rows / looped
    return {
        "loop": loop_time[0] * scale,
        "loop_cpu": loop_time[1] * scale,
        "script": script_time[0],
        "script_cpu": script_time[1],
        "flow": flow_time[0],
        "flow_cpu": flow_time[1],
        "nothing_new": again[0],
    }


if __name__ == "__main__":
    main()
