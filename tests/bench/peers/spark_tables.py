"""The peer Spark as one warm process: pages that were saved, appended to a Delta table and merged into another.

Run by `small_tables.py`: a local Spark on all cores, with Delta and the store of Datong, as their documents have it. Of
every table the rows that changed lie in a file of JSON lines; they are read with their schema, appended to bronze,
and the last of each key is merged into silver, table after table. Nothing is tuned.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from workers import serve


def session(work: Path) -> Any:
    """A Spark of its own, with Delta and the store."""
    # what waits for Sail sets this, and the benchmark hands its environment on
    os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)
    from datong_infra.services.spark import jars, server
    from pyspark.sql import SparkSession

    kept = ("spark.hadoop.", "spark.sql.extensions", "spark.sql.catalog.spark_catalog", "spark.sql.session.timeZone")
    plain = {name: value for name, value in server.properties(0, work).items() if name.startswith(kept)}
    plain |= {
        "spark.driver.extraClassPath": ":".join(str(jar) for jar in sorted((jars.prepare() / "jars").glob("*.jar"))),
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "2g",
    }
    builder = SparkSession.builder.master("local[*]").appName("bench")
    for name, value in plain.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def main() -> None:
    """Serve: load and merge what lies in the pages."""
    pages, tables = Path(sys.argv[1]), os.environ["BENCH_TABLES"].split()
    schema, root = os.environ["BENCH_SCHEMA"], os.environ["BENCH_ROOT"]
    spark = session(pages / "work")
    spark.sparkContext.setLogLevel("ERROR")
    from delta.tables import DeltaTable
    from pyspark.sql import Window
    from pyspark.sql import functions as f

    newest = Window.partitionBy("id").orderBy(f.col("changed_at").desc())
    known: set[str] = set()

    def cycle() -> dict[str, float]:
        began = time.perf_counter()
        for name in tables:
            rows = spark.read.schema(schema).json(str(pages / f"{name}.jsonl"))
            rows.write.format("delta").mode("append").save(f"{root}/bronze/{name}")
            last = rows.withColumn("place", f.row_number().over(newest)).where("place = 1").drop("place")
            place = f"{root}/silver/{name}"
            if name not in known:
                last.write.format("delta").save(place)
                known.add(name)
                continue
            held = DeltaTable.forPath(spark, place).alias("held")
            merge = held.merge(last.alias("changed"), "held.id = changed.id")
            merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
        return {"cycle": time.perf_counter() - began}

    serve({"cycle": cycle})


if __name__ == "__main__":
    main()
