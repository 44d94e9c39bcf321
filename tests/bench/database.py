"""Benchmark of a database read: PostgreSQL's `lineitem` (TPC-H, 16 columns) into a Delta table, beside others.

    uv run python tests/bench/database.py --rows 6000000 --runs 5 --peers /path/to/venv/bin/python

Starts its own store and PostgreSQL in a temporary folder, makes the table there, and runs the contenders turn by turn,
each as a process of its own: Datong (land and load, with hashes, manifest and watermark), dlt with ConnectorX, sling,
and Spark's JDBC source as it comes. The Python given by `--peers` has `dlt[deltalake,filesystem,s3,sql_database]`,
`connectorx` and `sling-linux-amd64`; a contender that cannot run is left out, and it is said why. Two limits stand
beside them: `copy … (format binary)` to nowhere, and the same rows written to Parquet on one core.

Seconds are of the whole process, the start of Python included; CPU seconds are the contender's own (not those of the
database or the store); memory is the peak of its process tree (PSS). The content is compared: rows, and sums of key
and price. Nothing is asserted of speed: machines are noisy, and a benchmark reports.
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
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

MAKE = """
create table lineitem as select
    (g / 4 + 1)::bigint as l_orderkey, (hashint4(g)::bigint & 2147483647) % 200000 + 1 as l_partkey,
    (hashint4(g + 1)::bigint & 2147483647) % 10000 + 1 as l_suppkey, (g % 4 + 1)::int as l_linenumber,
    (g % 50 + 1)::numeric(15,2) as l_quantity,
    ((g % 50 + 1) * (900 + g % 1000) + 0.25)::numeric(15,2) as l_extendedprice,
    (g % 11 / 100.0)::numeric(15,2) as l_discount, (g % 9 / 100.0)::numeric(15,2) as l_tax,
    substr('RAN', g % 3 + 1, 1)::char(1) as l_returnflag, substr('OF', g % 2 + 1, 1)::char(1) as l_linestatus,
    date '1992-01-01' + g % 2500 as l_shipdate, date '1992-01-15' + g % 2500 as l_commitdate,
    date '1992-02-01' + g % 2500 as l_receiptdate,
    (array['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN'])[g % 4 + 1]::char(25) as l_shipinstruct,
    (array['REG AIR', 'AIR', 'RAIL', 'SHIP', 'TRUCK', 'MAIL', 'FOB'])[g % 7 + 1]::char(10) as l_shipmode,
    substr('carefully final deposits detect slyly agai regular packages', g % 20 + 1, 10 + g % 33)::varchar(44)
        as l_comment
from generate_series(0, %(last)s) g
"""
SPARK_PACKAGE = "org.postgresql:postgresql:42.7.8"


class Watch(threading.Thread):
    """The peak memory and the CPU seconds of a process and all it starts."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak, self.stopped = psutil.Process(pid), 0, threading.Event()
        self.cpu: dict[int, float] = {}
        """By process, as last seen: a JVM that nobody waits for leaves no other trace."""

    def run(self) -> None:
        while not self.stopped.wait(0.1):
            with suppress(psutil.Error):
                total = 0
                for member in [self.process, *self.process.children(recursive=True)]:
                    with suppress(psutil.Error):
                        total += member.memory_full_info().pss
                        times = member.cpu_times()
                        self.cpu[member.pid] = times.user + times.system
                self.peak = max(self.peak, total)


def measured(argv: list[str], task: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Run a contender: seconds, CPU seconds, peak memory. RuntimeError with the end of what it said when it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environment}
    )
    watch = Watch(process.pid)
    watch.start()
    said, _ = process.communicate(json.dumps(task).encode())
    seconds = time.perf_counter() - started
    watch.stopped.set()
    if process.returncode:
        raise RuntimeError(said.decode(errors="replace")[-700:])
    return {"seconds": seconds, "cpu_seconds": sum(watch.cpu.values()), "peak_memory_bytes": watch.peak}


def datong(task: dict[str, Any]) -> None:
    """Datong's own read, as `datong ingest` does it."""
    from datong_ingestion.run import ingest_entity
    from datong_ingestion.systems_config import SystemConfig

    entity = {"name": "lineitem", "source": "lineitem", "keys": ["l_orderkey", "l_linenumber"]}
    system = SystemConfig.model_validate(
        {"system": "bench", "protocol": "sql", "connection": {"url": task["url"]}, "entities": [entity]}
    )
    ingest_entity(system, "lineitem", rebuild=True)


def copy_to_nowhere(task: dict[str, Any]) -> None:
    """The limit of the database's side."""
    with (
        psycopg.connect(task["url"]) as connection,
        connection.cursor() as cursor,
        cursor.copy("copy lineitem to stdout (format binary)") as rows,
    ):
        for _ in rows:
            pass


def parquet_only(task: dict[str, Any]) -> None:
    """The limit of the writer's side: the rows of the finished table, from memory-mapped Arrow to Parquet."""
    pa.set_cpu_count(1)
    with pa.memory_map(task["arrow"]) as source:
        reader = pa.ipc.open_file(source)
        with pq.ParquetWriter(f"{task['work']}/limit.parquet", reader.schema, compression="zstd") as writer:
            for index in range(reader.num_record_batches):
                writer.write_batch(reader.get_batch(index))


def spark_jdbc(task: dict[str, Any]) -> None:
    """Spark's JDBC source with no option but the address, into Delta on the same store."""
    from datong_infra.services.spark import jars, server
    from pyspark.sql import SparkSession

    made = jars.prepare()
    options = server.properties(0, Path(task["work"]))
    plain = {
        name: value
        for name, value in options.items()
        if name.startswith(("spark.hadoop.", "spark.sql.extensions", "spark.sql.catalog.spark_catalog"))
    }
    classes = ":".join(str(path) for path in sorted((made / "jars").glob("*.jar")))
    builder = SparkSession.builder.master("local[*]").appName("bench")
    plain |= {"spark.driver.extraClassPath": classes, "spark.ui.enabled": "false"}
    plain |= {"spark.jars.packages": SPARK_PACKAGE, "spark.driver.bindAddress": "127.0.0.1"}
    plain |= {"spark.driver.host": "127.0.0.1"}
    for name, value in plain.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    parts = psycopg.conninfo.conninfo_to_dict(task["url"])
    address = f"jdbc:postgresql://{parts['host']}:{parts['port']}/{parts['dbname']}"
    how = {"user": str(parts["user"]), "password": str(parts["password"]), "driver": "org.postgresql.Driver"}
    how |= task["options"]
    rows = spark.read.jdbc(address, "lineitem", properties=how)
    rows.write.format("delta").mode("overwrite").save(f"s3a://{task['bucket']}/peers/spark/lineitem")
    spark.stop()


CONTENDERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "datong": datong,
    "copy": copy_to_nowhere,
    "parquet": parquet_only,
    "spark": spark_jdbc,
}


def content(table: Any) -> tuple[int, int, Decimal]:
    """Rows, the sum of the keys, and the sum of the prices in cents."""
    names = {name.lower(): name for name in table.schema.names}
    rows, keys, prices = 0, 0, Decimal(0)
    wanted = [names["l_orderkey"], names["l_extendedprice"]]
    for batch in table.to_batches(columns=wanted):
        rows += batch.num_rows
        compute: Any = pa.compute
        keys += int(compute.sum(batch.column(0)).as_py() or 0)
        prices += Decimal(compute.sum(batch.column(1).cast(pa.decimal128(38, 2))).as_py() or 0)
    return rows, keys, prices


def sling_command(peers: Path, task: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """sling's own program, from its wheel: into CSV in a local folder. It writes no Delta, and to write Parquet it
    fetches programs and extensions while it runs, so it is spared the store and the format."""
    program = next(peers.parent.parent.glob("lib/python*/site-packages/sling_linux_*/bin/sling-*"), None)
    if program is None:
        raise RuntimeError("its program is not installed")
    environment = {
        "BENCH_PG": task["url"] + "?sslmode=disable",
        "SLING_DISABLE_TELEMETRY": "true",
        "SLING_HOME_DIR": task["work"],
    }
    argv = [str(program), "run", "--src-conn", "BENCH_PG", "--src-stream", "public.lineitem"]
    return [*argv, "--tgt-object", f"file://{task['work']}/sling.csv"], environment


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=6_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--only", action="append")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--contender", choices=sorted(CONTENDERS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        CONTENDERS[arguments.contender](json.loads(sys.stdin.read()))
        return
    from datong_infra.services import stack
    from datong_platform.names import bronze
    from datong_platform.settings import settings
    from deltalake import DeltaTable

    home = Path(tempfile.mkdtemp(prefix="datong-bench-"))
    os.environ["DATONG_HOME"] = str(home)
    figures: dict[str, list[dict[str, Any]]] = {}
    contents: dict[str, tuple[int, int, Decimal]] = {}
    left_out: dict[str, str] = {}
    try:
        stack.up(["store", "postgres"])
        now = settings()
        url = str(now.postgres_url)
        storage = now.storage_options()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(MAKE.replace("%(last)s", str(arguments.rows - 1)))
            connection.execute("alter table lineitem add primary key (l_orderkey, l_linenumber)")
            connection.execute("vacuum analyze lineitem")
        task = {"url": url, "storage": storage, "bucket": now.bucket, "work": str(home), "backend": "connectorx"}
        task |= {"options": {}, "arrow": str(home / "lineitem.arrow")}
        own = [sys.executable, __file__, "--contender"]

        def delta(place: str) -> Any:
            return DeltaTable(place, storage_options=storage).to_pyarrow_dataset()

        ways: dict[str, tuple[Callable[[], tuple[list[str], dict[str, str]]], Callable[[], Any] | None]] = {
            "datong": (
                lambda: ([*own, "datong"], {}),
                lambda: delta(now.table_uri(bronze("bench", "lineitem"))),
            ),
            "limit: copy binary to nowhere": (lambda: ([*own, "copy"], {}), None),
            "limit: Parquet on one core": (lambda: ([*own, "parquet"], {}), None),
            "spark jdbc": (
                lambda: ([*own, "spark"], {}),
                lambda: delta(f"s3://{now.bucket}/peers/spark/lineitem"),
            ),
        }
        if arguments.peers:
            peers = arguments.peers
            script = str(Path(__file__).with_name("peers") / "dlt_database.py")
            ways["dlt, connectorx"] = (
                lambda: ([str(peers), script], {}),
                lambda: delta(f"s3://{now.bucket}/peers/dlt/lineitem"),
            )
            ways["sling, to local CSV"] = (
                lambda: sling_command(peers, task),
                lambda: pa.dataset.dataset(f"{home}/sling.csv", format="csv"),
            )
        for turn in range(arguments.runs + 1):
            for name, (command, result) in ways.items():
                if name in left_out or (arguments.only and not any(word in name for word in arguments.only)):
                    continue
                if name.startswith("limit: Parquet") and not Path(task["arrow"]).exists():
                    _keep(delta(now.table_uri(bronze("bench", "lineitem"))), task["arrow"])
                try:
                    figure = measured(command()[0], task, command()[1])
                except RuntimeError as error:
                    left_out[name] = str(error)
                    continue
                if turn:  # the first is the warm-up
                    figures.setdefault(name, []).append(figure)
                elif result:
                    contents[name] = content(result())
    finally:
        with suppress(Exception):
            stack.down()
        shutil.rmtree(home, ignore_errors=True)
    _report(arguments, figures, contents, left_out)


def _keep(table: Any, path: str) -> None:
    wanted = [name for name in table.schema.names if not name.startswith("_datong")]
    with pa.OSFile(path, "wb") as sink:
        batches = table.to_batches(columns=wanted)
        first = next(batches)
        with pa.ipc.new_file(sink, first.schema) as writer:
            writer.write_batch(first)
            for batch in batches:
                writer.write_batch(batch)


def _report(arguments: Any, figures: Any, contents: Any, left_out: dict[str, str]) -> None:
    print(f"{arguments.rows:,} rows, {arguments.runs} runs: median (lowest to highest)")
    for name, runs in figures.items():
        seconds = [run["seconds"] for run in runs]
        middle = statistics.median(seconds)
        cpu = statistics.median(run["cpu_seconds"] for run in runs)
        peak = statistics.median(run["peak_memory_bytes"] for run in runs) / 2**30
        spread = f"({min(seconds):.1f} to {max(seconds):.1f})"
        rate = arguments.rows / middle / 1e6
        print(f"  {name:<32}{middle:7.1f} s {spread:<16} CPU {cpu:6.1f} s  {peak:5.2f} GiB  {rate:5.2f} M rows/s")
    if "datong" in figures:
        mine = statistics.median(run["seconds"] for run in figures["datong"])
        ratios = {name: statistics.median(run["seconds"] for run in runs) / mine for name, runs in figures.items()}
        print("  times Datong's: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    same = len(set(contents.values())) == 1
    print(f"  content: {'the same everywhere' if same else contents}")
    for name, reason in left_out.items():
        print(f"  left out, {name}: {reason.strip()[-300:]}")
    if arguments.json:
        kept = {"rows": arguments.rows, "figures": figures, "left_out": left_out}
        arguments.json.write_text(json.dumps(kept, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
