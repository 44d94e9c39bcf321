"""Benchmark P1: OData v2 and v4 in pages of 5,000 rows into bronze, beside dlt's rest_api source and a core's limit.

    uv run python tests/bench/odata.py --rows 1000000 --runs 5 --dlt-python /path/to/a/venv/with/dlt/bin/python

A server in a process of its own hands out pages of 21 fields, as SAP Gateway (v2) and Dynamics (v4) write them. Turn by
turn, each in a new process and with the start of Python apart:

- datong: an ingest as `datong ingest` does it, through the landing zone into a Delta table on the local store;
- dlt: its rest_api source as its documents say, into a Delta table on the local disk (so without the store's cost);
  pip install "dlt[deltalake]";
- limit: the same bytes from memory through Arrow's JSON reader and Parquet writer, on one core.

Prints rows per second, rows per CPU second (which a busy machine bends less) and peak memory (PSS of the process tree),
and checks the content of each table by count, distinct keys and the sum of amounts. Nothing else is asserted: a
benchmark reports.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PAGE = 5000
MARK = "@@@@@"
"""Stands for the number of the page in its bytes, so that a page is made by one replacement."""
TYPES = {
    "SalesOrder": 'Edm.String" MaxLength="10',
    "SalesOrderType": "Edm.String",
    "SalesOrganization": "Edm.String",
    "DistributionChannel": "Edm.String",
    "SoldToParty": "Edm.String",
    "Material": "Edm.String",
    "MaterialText": "Edm.String",
    "Plant": "Edm.String",
    "Quantity": 'Edm.Decimal" Precision="15" Scale="3',
    "Unit": "Edm.String",
    "NetAmount": 'Edm.Decimal" Precision="16" Scale="2',
    "TaxAmount": 'Edm.Decimal" Precision="16" Scale="2',
    "Currency": "Edm.String",
    "CreationDate": "day",
    "LastChange": "Edm.DateTimeOffset",
    "RequestedDate": "day",
    "Blocked": "Edm.Boolean",
    "ItemCount": "Edm.Int32",
    "Status": "Edm.String",
    "CreatedBy": "Edm.String",
    "Note": "Edm.String",
}


def row(i: int, version: str) -> dict[str, Any]:
    """The row at place `i` of a page, in the words of a version."""
    key = f"{MARK}{i:05d}"
    day, moment = 19_700 + i % 700, 1_700_000_000 + i * 37
    iso = time.strftime("%Y-%m-%d", time.gmtime(day * 86_400))
    v2 = version == "v2"
    address = f"http://sap.example/odata/API/Orders('{key}')"
    fields: dict[str, Any] = {
        "SalesOrder": key,
        "SalesOrderType": "OR",
        "SalesOrganization": "1010",
        "DistributionChannel": "10",
        "SoldToParty": f"{i * 7 % 5000:08d}",
        "Material": f"MAT-{i * 13 % 9000:06d}",
        "MaterialText": f"部件 {i * 13 % 9000} 规格 A",
        "Plant": "1010",
        "Quantity": f"{i % 997}.125" if v2 else i % 997 + 0.125,
        "Unit": "PC",
        "NetAmount": f"{i * 31 % 99991}.37" if v2 else i * 31 % 99991 + 0.37,
        "TaxAmount": f"{i % 991}.11" if v2 else i % 991 + 0.11,
        "Currency": "CNY",
        "CreationDate": f"/Date({day * 86_400_000})/" if v2 else iso,
        "LastChange": f"/Date({moment * 1000}+0000)/"
        if v2
        else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)),
        "RequestedDate": f"/Date({day * 86_400_000})/" if v2 else iso,
        "Blocked": i % 7 == 0,
        "ItemCount": i % 40,
        "Status": "C",
        "CreatedBy": f"USER{i % 50:03d}",
        "Note": None if i % 3 else "急",
    }
    if v2:
        about = {"id": address, "uri": address, "type": "API.OrderType", "etag": f'W/"{moment}"'}
        return {"__metadata": about, **fields, "to_Items": {"__deferred": {"uri": f"{address}/to_Items"}}}
    return {"@odata.etag": f'W/"{moment}"', **fields}


def template(version: str) -> bytes:
    """A page, with MARK where its number belongs and NEXT where the link to the next one does."""
    rows = [row(i, version) for i in range(PAGE)]
    page = {"d": {"results": rows, "NEXT": 0}} if version == "v2" else {"@odata.context": "x", "value": rows, "NEXT": 0}
    return json.dumps(page, ensure_ascii=False, separators=(",", ":")).encode()


def metadata(version: str) -> bytes:
    """The service's $metadata."""
    day = 'Edm.DateTime" sap:display-format="Date' if version == "v2" else "Edm.Date"
    fields = "".join(
        f'<Property Name="{name}" Type="{day if kind == "day" else kind}"/>' for name, kind in TYPES.items()
    )
    return (
        '<edmx:Edmx xmlns:edmx="e" xmlns:sap="s"><edmx:DataServices><Schema Namespace="API" xmlns="n">'
        f'<EntityType Name="Order"><Key><PropertyRef Name="SalesOrder"/></Key>{fields}'
        '</EntityType><EntityContainer Name="C"><EntitySet Name="Orders" EntityType="API.Order"/></EntityContainer>'
        "</Schema></edmx:DataServices></edmx:Edmx>"
    ).encode()


def serve(port: int, rows: int) -> None:
    """Hand out the pages."""
    import uvicorn

    pages = {version: template(version) for version in ("v2", "v4")}
    link = {
        "v2": b'"__next":"http://127.0.0.1:%d/v2/API/Orders?$skiptoken=%d"',
        "v4": b'"@odata.nextLink":"http://127.0.0.1:%d/v4/API/Orders?$skiptoken=%d"',
    }

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        version = scope["path"].split("/")[1]
        kind = b"application/json"
        if scope["path"].endswith("$metadata"):
            body, kind = metadata(version), b"application/xml"
        else:
            query = scope["query_string"].decode().replace("%24", "$")
            number = int(query.partition("$skiptoken=")[2].partition("&")[0] or 0)
            following = link[version] % (port, number + 1) if (number + 1) * PAGE < rows else b'"x":0'
            body = pages[version].replace(MARK.encode(), b"%05d" % number).replace(b'"NEXT":0', following)
            if following == b'"x":0':
                body = body.replace(b',"x":0', b"")
        head = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


def read_with_datong(port: int, version: str) -> dict[str, Any]:
    """One ingest into a new bronze table; the time is that of the ingest alone."""
    import uuid

    from datong_ingestion.run import ingest_entity
    from datong_ingestion.systems_config import SystemConfig
    from datong_platform.lake import history

    system = SystemConfig.model_validate(
        {
            "system": f"p{uuid.uuid4().hex[:8]}",
            "protocol": f"odata_{version}",
            "connection": {"base_url": f"http://127.0.0.1:{port}/{version}/{'' if version == 'v2' else 'API'}"},
            "entities": [{"name": "order", "source": "API/Orders" if version == "v2" else "Orders"}],
        }
    )
    started, cpu = time.perf_counter(), time.process_time()
    result = ingest_entity(system, "order")
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    delta = history.open_table(result.table)
    assert delta
    return {"seconds": seconds, "cpu": cpu, **_content(delta.to_pyarrow_dataset(), "SalesOrder", "NetAmount")}


def read_with_dlt(port: int, version: str, folder: Path) -> dict[str, Any]:
    """dlt's rest_api source into a Delta table on the disk."""
    import dlt  # pyright: ignore[reportMissingImports]
    from deltalake import DeltaTable
    from dlt.sources.rest_api import rest_api_source  # pyright: ignore[reportMissingImports]

    link, rows = ("d.__next", "d.results") if version == "v2" else ("'@odata.nextLink'", "value")
    source = rest_api_source(
        {
            "client": {
                "base_url": f"http://127.0.0.1:{port}/{version}/API/",
                "paginator": {"type": "json_link", "next_url_path": link},
            },
            "resource_defaults": {"primary_key": "SalesOrder", "write_disposition": "append"},
            "resources": [{"name": "orders", "endpoint": {"path": "Orders", "data_selector": rows}}],
        }
    )
    pipeline = dlt.pipeline(
        "p1",
        pipelines_dir=str(folder / "pipelines"),
        destination=dlt.destinations.filesystem(bucket_url=(folder / "lake").as_uri()),
        dataset_name="bronze",
    )
    source.orders.apply_hints(table_format="delta")
    started, cpu = time.perf_counter(), time.process_time()
    pipeline.run(source, loader_file_format="parquet")
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    delta = DeltaTable(str(folder / "lake" / "bronze" / "orders"))
    return {"seconds": seconds, "cpu": cpu, **_content(delta.to_pyarrow_dataset(), "sales_order", "net_amount")}


def limit(version: str, rows: int) -> dict[str, Any]:
    """Arrow's JSON reader and Parquet writer on one core, over bytes that are there."""
    import io

    import pyarrow as pa
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    numbers = range(rows // PAGE)
    page = template(version).replace(b',"NEXT":0', b"")
    seconds, cpu, writer, sink = 0.0, 0.0, None, io.BytesIO()
    for number in numbers:
        body = page.replace(MARK.encode(), b"%05d" % number)
        started, before = time.perf_counter(), time.process_time()
        options = pj.ReadOptions(use_threads=False, block_size=len(body) + 64)
        table = pj.read_json(io.BytesIO(body), read_options=options)
        holder = table.column(0 if version == "v2" else 1).chunk(0)
        flat = (holder.field("results") if version == "v2" else holder).flatten()
        found = pa.Table.from_arrays([flat.field(name) for name in TYPES], names=list(TYPES))
        writer = writer or pq.ParquetWriter(sink, found.schema)
        writer.write_table(found.cast(writer.schema))
        seconds, cpu = seconds + time.perf_counter() - started, cpu + time.process_time() - before
    return {"seconds": seconds, "cpu": cpu, "rows": rows, "keys": rows, "amount": ""}


def _content(dataset: Any, key: str, amount: str) -> dict[str, Any]:
    import pyarrow.compute as pc

    table = dataset.to_table(columns=[key, amount])
    total = pc.sum(pc.round(pc.multiply(table.column(amount).cast("double"), 100)).cast("int64")).as_py()
    return {"rows": len(table), "keys": pc.count_distinct(table.column(key)).as_py(), "amount": str(total)}


class Watch(threading.Thread):
    """Peak memory of a process and its children."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        import psutil  # not in dlt's own venv

        self.gone = psutil.Error
        self.process, self.peak, self.stopped = psutil.Process(pid), 0, threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.2):
            with suppress(self.gone):
                members = [self.process, *self.process.children(recursive=True)]
                self.peak = max(self.peak, sum(member.memory_full_info().pss for member in members))


def measured(python: str, arguments: list[str], home: Path) -> dict[str, Any]:
    """Run one reader in a process of its own."""
    process = subprocess.Popen(
        [python, __file__, *arguments],
        env={**os.environ, "DATONG_HOME": str(home), "RUNTIME__DLTHUB_TELEMETRY": "false"},
        stdout=subprocess.PIPE,
    )
    watch = Watch(process.pid)
    watch.start()
    answer, _ = process.communicate()
    watch.stopped.set()
    if process.returncode:
        raise SystemExit(f"{arguments} failed")
    found = json.loads(answer.decode().splitlines()[-1])
    return {**found, "peak": watch.peak}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--version", action="append", choices=["v2", "v4"])
    parser.add_argument("--dlt-python", help="a Python that has dlt[deltalake]; without it dlt is left out")
    parser.add_argument("--dlt-rows", type=int, help="rows for dlt, where its pace is known from fewer")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.role == "serve":
        return serve(asked.port, asked.rows)
    if asked.role:
        version = asked.version[0]
        if asked.role == "datong":
            found = read_with_datong(asked.port, version)
        elif asked.role == "dlt":
            found = read_with_dlt(asked.port, version, asked.folder)
        else:
            found = limit(version, asked.rows)
        print(json.dumps(found))
        return None
    return _compare(asked)


def _compare(asked: argparse.Namespace) -> None:
    from datong_infra.services import stack
    from datong_infra.services.processes import free_port

    home = Path(tempfile.mkdtemp(prefix="datong-p1-"))
    os.environ["DATONG_HOME"] = str(home)
    servers: list[subprocess.Popen[bytes]] = []

    def server(rows: int) -> int:
        port = free_port()
        servers.append(
            subprocess.Popen([sys.executable, __file__, "--role", "serve", "--port", str(port), "--rows", str(rows)])
        )
        time.sleep(3)
        return port

    results: list[dict[str, Any]] = []
    try:
        stack.up(["store"])
        port = server(asked.rows)
        fewer = asked.dlt_rows or asked.rows
        other = port if fewer == asked.rows else server(fewer)
        for version in asked.version or ["v2", "v4"]:
            for run in range(asked.runs + 1):
                for who in ("datong", "limit", *(("dlt",) if asked.dlt_python else ())):
                    arguments = ["--role", who, "--version", version, "--rows", str(asked.rows)]
                    arguments += ["--port", str(other if who == "dlt" else port)]
                    python = asked.dlt_python if who == "dlt" else sys.executable
                    with tempfile.TemporaryDirectory() as folder:
                        found = measured(python, [*arguments, "--folder", folder], home)
                    wanted = fewer if who == "dlt" else asked.rows
                    assert found["rows"] == found["keys"] == wanted, found
                    if run:  # the first warms up
                        found |= {"pace": wanted / found["seconds"], "cpu_pace": wanted / found["cpu"]}
                        results.append({"who": who, "version": version, **found})
        _print(results)
        if asked.json:
            asked.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    finally:
        for one in servers:
            one.terminate()
        stack.down()
        shutil.rmtree(home, ignore_errors=True)


def _print(results: list[dict[str, Any]]) -> None:
    for version in dict.fromkeys(found["version"] for found in results):
        median: dict[str, float] = {}
        by_cpu: dict[str, float] = {}
        for who in dict.fromkeys(found["who"] for found in results):
            mine = [found for found in results if (found["who"], found["version"]) == (who, version)]
            if not mine:
                continue
            paces = sorted(found["pace"] for found in mine)
            median[who] = statistics.median(paces)
            by_cpu[who] = statistics.median(found["cpu_pace"] for found in mine)
            print(
                f"{version} {who:7} {median[who]:>10,.0f} rows/s ({paces[0]:,.0f} to {paces[-1]:,.0f}), "
                f"{by_cpu[who]:,.0f} rows per CPU second, "
                f"peak {max(found['peak'] for found in mine) / 2**20:,.0f} MB, "
                f"sum of amounts {mine[0]['amount'] or '-'}"
            )
        for what, paces_of in (("time", median), ("CPU", by_cpu)):
            print(
                f"{version} by {what}: datong is {paces_of['datong'] / paces_of['limit']:.2f} of a core's limit", end=""
            )
            print(f", {paces_of['datong'] / paces_of['dlt']:.1f} x dlt" if "dlt" in paces_of else "")


if __name__ == "__main__":
    main()
