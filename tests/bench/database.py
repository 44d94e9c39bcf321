"""A database read: PostgreSQL's `lineitem` (TPC-H, 16 columns) into a Delta table, beside others (P2).

    uv run python tests/bench/database.py --rows 6000000 --runs 5

Starts its own store and PostgreSQL in a temporary folder, makes the table there, and runs the contenders turn by turn,
each as a process of its own: Datong (land and load, with hashes, manifest and watermark), dlt with ConnectorX, sling,
and Spark's JDBC source. dlt and sling come with `datong bench peers`; a contender that cannot run is left out, and it
is said why. Two limits stand beside them: `copy … (format binary)` to nowhere, and the same rows written to
Parquet on one core.

Seconds are of the whole process, the start of Python included; CPU seconds and memory are the contender's own (not
those of the database or the store). The content is compared: rows, keys and prices.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from frame import Benchmark, Session, checksum

BENCH = Benchmark(
    key="p2",
    title="PostgreSQL, six million rows of lineitem, into bronze",
    goal="no slower than the best peer, 3 x Spark JDBC, 2 GB at most",
    quick={"rows": 100_000},
)
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
SPARK_FETCH, SPARK_MEMORY = "10000", "2g"


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
    """Spark's JDBC source in one partition, into Delta on the same store.

    With no option but the address PostgreSQL's driver takes the whole table into memory before Spark sees a row, more
    than the heap holds, and the tasks that are ended then say InterruptedException. So it gets the `fetchsize` that
    Spark's documents name for such a driver, and the memory that Datong may have.
    """
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
    plain |= {"spark.driver.host": "127.0.0.1", "spark.driver.memory": SPARK_MEMORY}
    for name, value in plain.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    parts = psycopg.conninfo.conninfo_to_dict(task["url"])
    address = f"jdbc:postgresql://{parts['host']}:{parts['port']}/{parts['dbname']}"
    how = {"user": str(parts["user"]), "password": str(parts["password"]), "driver": "org.postgresql.Driver"}
    how |= {"fetchsize": SPARK_FETCH}
    rows = spark.read.jdbc(address, "lineitem", properties=how)
    rows.write.format("delta").mode("overwrite").save(f"s3a://{task['bucket']}/peers/spark/lineitem")
    spark.stop()


CONTENDERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "datong": datong,
    "copy": copy_to_nowhere,
    "parquet": parquet_only,
    "spark": spark_jdbc,
}


def content(table: Any) -> str:
    """Rows, keys and prices; no Delta table is beside sling's."""
    names = {name.lower(): name for name in table.schema.names}
    wanted = [names["l_orderkey"], names["l_linenumber"], names["l_extendedprice"]]
    schema = pa.schema([("key", pa.int64()), ("line", pa.int64()), ("price", pa.decimal128(15, 2))])
    batches = (
        pa.record_batch([batch.column(at).cast(kind) for at, kind in enumerate(schema.types)], schema=schema)
        for batch in table.to_batches(columns=wanted)
    )
    return checksum(pa.RecordBatchReader.from_batches(schema, batches))


def sling_command(peers: str | None, task: dict[str, Any]) -> tuple[list[str], dict[str, str]] | None:
    """sling's own program, from its wheel: into CSV in a local folder. It writes no Delta, and to write Parquet it
    fetches programs and extensions while it runs, so it is spared the store and the format."""
    places = Path(peers).parents[1].glob("lib/python*/site-packages/sling_linux_*/bin/sling-*") if peers else ()
    program = next(iter(places), None)
    if program is None:
        return None
    environment = {
        "BENCH_PG": task["url"] + "?sslmode=disable",
        "SLING_DISABLE_TELEMETRY": "true",
        "SLING_HOME_DIR": task["work"],
    }
    argv = [str(program), "run", "--src-conn", "BENCH_PG", "--src-stream", "public.lineitem"]
    return [*argv, "--tgt-object", f"file://{task['work']}/sling.csv"], environment


def main() -> None:
    """Compare; or, in a process that this one starts, be one contender."""
    options = BENCH.options(__doc__)
    options.add_argument("--rows", type=int, default=6_000_000)
    if sys.argv[1:2] == ["contender"]:
        CONTENDERS[sys.argv[2]](json.loads(sys.stdin.read()))
        return
    with BENCH.session(options) as bench, bench.services("store", "postgres"):
        compare(bench)


def compare(bench: Session) -> None:
    """Make the table, then turn by turn."""
    from datong_platform.names import bronze
    from datong_platform.settings import home, settings
    from deltalake import DeltaTable

    now, rows, work = settings(), bench.asked.rows, home()
    url, storage = str(now.postgres_url), now.storage_options()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(MAKE.replace("%(last)s", str(rows - 1)))
        connection.execute("alter table lineitem add primary key (l_orderkey, l_linenumber)")
        connection.execute("vacuum analyze lineitem")
    task: dict[str, Any] = {"url": url, "storage": storage, "bucket": now.bucket, "work": str(work)}
    task |= {"backend": "connectorx", "arrow": str(work / "lineitem.arrow")}
    own = [sys.executable, __file__, "contender"]

    def delta(place: str) -> Any:
        return DeltaTable(place, storage_options=storage).to_pyarrow_dataset()

    mine = now.table_uri(bronze("bench", "lineitem"))
    ways: dict[str, tuple[list[str], dict[str, str], Callable[[], Any] | None]] = {
        "datong": ([*own, "datong"], {}, lambda: delta(mine)),
        "limit: copy to nowhere": ([*own, "copy"], {}, None),
        "limit: Parquet on one core": ([*own, "parquet"], {}, None),
        "spark jdbc": ([*own, "spark"], {}, lambda: delta(f"s3://{now.bucket}/peers/spark/lineitem")),
    }
    pyspark = bench.result().versions["pyspark"]
    bench.peer("spark jdbc", pyspark, driver=SPARK_PACKAGE, fetchsize=SPARK_FETCH, memory=SPARK_MEMORY)
    if dlt := bench.peers_python("dlt", "connectorx", "deltalake"):
        script = str(Path(__file__).with_name("peers") / "dlt_database.py")
        ways["dlt, connectorx"] = ([dlt, script], {}, lambda: delta(f"s3://{now.bucket}/peers/dlt/lineitem"))
        bench.peer("dlt, connectorx", bench.peers_version("dlt"), backend="connectorx", table_format="delta")
    else:
        bench.leave_out("dlt, connectorx", "its packages are not there: datong bench peers")
    if sling := sling_command(bench.peers_python(), task):
        ways["sling, to local CSV"] = (*sling, lambda: pa.dataset.dataset(f"{work}/sling.csv", format="csv"))
        bench.peer("sling, to local CSV", bench.peers_version("sling-linux-amd64"), target="CSV on the local disk")
    else:
        bench.leave_out("sling, to local CSV", "its program is not there: datong bench peers")
    for _ in bench.turns():
        for name, (argv, environment, result) in ways.items():
            if not bench.takes(name):
                continue
            if name.startswith("limit: Parquet") and not Path(task["arrow"]).exists():
                if not DeltaTable.is_deltatable(mine, storage):
                    bench.leave_out(name, "it writes what Datong read, and Datong was not asked for")
                    continue
                _keep(delta(mine), task["arrow"])
            run = bench.command(
                name, argv, task=task, environment=environment, amount=rows, unit="rows", check=name == "datong"
            )
            if run and result:
                run.checksum = content(result())


def _keep(table: Any, path: str) -> None:
    wanted = [name for name in table.schema.names if not name.startswith("_datong")]
    with pa.OSFile(path, "wb") as sink:
        batches = table.to_batches(columns=wanted)
        first = next(batches)
        with pa.ipc.new_file(sink, first.schema) as writer:
            writer.write_batch(first)
            for batch in batches:
                writer.write_batch(batch)


if __name__ == "__main__":
    main()
