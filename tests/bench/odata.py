"""OData v2 and v4 in pages of 5,000 rows into bronze, beside dlt's rest_api source and a core's limit (P1).

    uv run python tests/bench/odata.py --rows 1000000 --runs 5

A server in a process of its own hands out pages of 21 fields, as SAP Gateway (v2) and Dynamics (v4) write them. Turn by
turn, each in a new process, its start included:

- datong: an ingest as `datong ingest` does it, through the landing zone into a Delta table on the local store, whose
  CPU and memory count;
- dlt: its rest_api source as its documents say, into a Delta table on the local disk (so without the store's cost),
  by the Python of `datong bench peers`;
- limit: the same bytes from memory through Arrow's JSON reader and Parquet writer, on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from frame import Benchmark, Run, Session, checksum

BENCH = Benchmark(
    key="p1",
    title="OData v2 and v4, a million rows in pages of 5,000, into bronze",
    goal="half the limit of a core, 5 x dlt",
    quick={"rows": 20_000},
)
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

    system = SystemConfig.model_validate(
        {
            "system": f"p{uuid.uuid4().hex[:8]}",
            "protocol": f"odata_{version}",
            "connection": {"base_url": f"http://127.0.0.1:{port}/{version}/{'' if version == 'v2' else 'API'}"},
            "entities": [{"name": "order", "source": "API/Orders" if version == "v2" else "Orders"}],
        }
    )
    started, cpu = time.perf_counter(), time.process_time()
    ingest_entity(system, "order")
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {"own_seconds": seconds, "own_cpu": cpu, "system": system.system}


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
    return {"own_seconds": seconds, "own_cpu": cpu}


def main() -> None:
    """Compare; or, in a process that this one starts, serve or read."""
    options = BENCH.options(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--version", action="append", choices=["v2", "v4"])
    options.add_argument("--dlt-rows", type=int, help="rows for dlt, where its pace is known from fewer")
    options.add_argument("--role", help=argparse.SUPPRESS)
    options.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    asked, _ = options.parse_known_args()
    if asked.role == "serve":
        serve(asked.port, asked.rows)
    elif asked.role:
        version = asked.version[0]
        found = read_with_datong(asked.port, version) if asked.role == "datong" else limit(version, asked.rows)
        print(json.dumps(found))
    else:
        with BENCH.session(options) as bench, bench.services("store"):
            compare(bench)


def compare(bench: Session) -> None:
    """Turn by turn."""
    from datong_infra.services.processes import free_port

    asked = bench.asked
    fewer = asked.dlt_rows or asked.rows
    dlt = bench.peers_python("dlt", "deltalake")
    if dlt is None:
        bench.leave_out("dlt", "its packages are not there: datong bench peers")
    else:
        bench.peer("dlt", bench.peers_version("dlt"), source="rest_api", paginator="json_link", table_format="delta")
    ports = {rows: free_port() for rows in (asked.rows, fewer)}
    servers = [
        bench.beside([sys.executable, __file__, "--role", "serve", "--port", str(port), "--rows", str(rows)])
        for rows, port in ports.items()
    ]
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        time.sleep(3)
        for _ in bench.turns():
            for version in asked.version or ["v2", "v4"]:
                one_turn(bench, version, ports, fewer, dlt)


def one_turn(bench: Session, version: str, ports: dict[int, int], fewer: int, dlt: str | None) -> None:
    """Each contender once."""
    from datong_platform.lake import history
    from datong_platform.names import bronze
    from deltalake import DeltaTable

    rows: int = bench.asked.rows
    common = [sys.executable, __file__, "--version", version, "--rows", str(rows), "--port", str(ports[rows]), "--role"]
    if bench.takes("datong"):
        run = bench.command("datong", [*common, "datong"], version, services=["store"], amount=rows, unit="rows")
        assert run
        told = run.last_json()
        delta = history.open_table(bronze(told["system"], "order"))
        assert delta
        without_start(run, told)
        run.checksum = content(delta, {"SalesOrder": "key", "NetAmount": "amount", "MaterialText": "text"}, rows)
    if bench.takes("limit: a core"):
        run = bench.command("limit: a core", [*common, "limit"], version, amount=rows, unit="rows")
        assert run
        without_start(run, run.last_json())
    if dlt and bench.takes("dlt"):
        with bench.folder() as folder:
            task = {"port": ports[fewer], "version": version, "folder": str(folder)}
            script = str(Path(__file__).parent / "peers" / "dlt_odata.py")
            run = bench.command("dlt", [dlt, script], version, task=task, amount=fewer, unit="rows", check=False)
            if run is None:
                return
            without_start(run, run.last_json())
            names = {"sales_order": "key", "net_amount": "amount", "material_text": "text"}
            made = content(DeltaTable(str(folder / "lake" / "bronze" / "orders")), names, fewer)
            run.checksum = made if fewer == rows else None


def without_start(run: Run, told: dict[str, Any]) -> None:
    """What the reader told of itself, the start of Python apart."""
    run.figures |= {"without_start_seconds": told["own_seconds"], "without_start_cpu_seconds": told["own_cpu"]}


def content(delta: Any, names: dict[str, str], expected: int) -> str:
    """The checksum of three columns, a number as a number; each key once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = delta.to_pyarrow_dataset().to_table(columns=list(names)).rename_columns(list(names.values()))
    keys = pc.count_distinct(table.column("key")).as_py()
    assert len(table) == keys == expected, f"{len(table)} rows of {keys} keys where {expected} were served"
    at = table.column_names.index("amount")
    return checksum(table.set_column(at, "amount", table.column("amount").cast(pa.float64())), digits=2)


if __name__ == "__main__":
    main()
