"""The peer Spark: events from Kafka by Structured Streaming, each micro-batch merged into a Delta table (foreachBatch).

Run by `tests/bench/kafka_events.py`; as Spark's and Delta's documents have it, with nothing tuned but what makes both
sides equal: the same store, the same fields parsed by `from_json`, one merge by the event's key per micro-batch. Its
task comes as JSON by standard input; it makes a file `ready` when its query is about to start, and tells its figures in
the end: seconds from there to the last event committed, and how long events took to the commit that holds them.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from kafka_server import fetched

# not 4.1.3: its token provider is not in every mirror of Maven Central
PACKAGES = ("org.apache.spark:spark-sql-kafka-0-10_2.13:4.1.1",)
SHIPPED = (
    "org.slf4j:slf4j-api",
    "org.scala-lang:scala-library",
    "com.google.code.findbugs:jsr305",
    "org.apache.hadoop:hadoop-client-api",
    "org.apache.hadoop:hadoop-client-runtime",
)
SCHEMA = (
    "event_id string, machine string, order_no string, operation int, state string, quantity decimal(13,3), "
    "scrap decimal(13,3), temperature double, ok boolean, operator string, made_at timestamp"
)


def session(work: str) -> Any:
    """A Spark of its own on all cores, with Delta, the store and Kafka."""
    from datong_infra.services.spark import jars, server
    from pyspark.sql import SparkSession

    folders = [jars.prepare() / "jars", fetched("spark-kafka", PACKAGES, without=SHIPPED)]
    options = server.properties(0, Path(work))
    kept = ("spark.hadoop.", "spark.sql.extensions", "spark.sql.catalog.spark_catalog", "spark.sql.session.timeZone")
    plain = {name: value for name, value in options.items() if name.startswith(kept)}
    plain |= {
        "spark.driver.extraClassPath": ":".join(str(jar) for folder in folders for jar in sorted(folder.glob("*.jar"))),
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
    """Read the topic until `count` events are in the table."""
    task = json.loads(sys.stdin.read())
    spark = session(task["work"])
    spark.sparkContext.setLogLevel("ERROR")
    from delta.tables import DeltaTable
    from pyspark.sql import functions as f

    path = f"s3a://{task['bucket']}/peers/spark_kafka/{task['topic']}"
    schema = f"{SCHEMA}, kafka_at timestamp, batch bigint"
    spark.sql(f"create table delta.`{path}` ({schema}) using delta")
    committed: dict[int, float] = {}

    def merge(frame: Any, batch: int) -> None:
        rows = frame.withColumn("batch", f.lit(batch))
        (
            DeltaTable.forPath(spark, path)
            .alias("t")
            .merge(rows.alias("s"), "t.event_id = s.event_id")
            .whenMatchedUpdateAll()
            .whenNotMatchedInsertAll()
            .execute()
        )
        committed[batch] = time.time()

    stream = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", task["address"])
        .option("subscribe", task["topic"])
        .option("startingOffsets", "earliest")
    )
    if task["most"]:
        stream = stream.option("maxOffsetsPerTrigger", task["most"])
    rows = stream.load().select(
        f.from_json(f.col("value").cast("string"), SCHEMA).alias("e"), f.col("timestamp").alias("kafka_at")
    )
    Path(task["work"], "ready").touch()
    started = time.monotonic()
    query = (
        rows.select("e.*", "kafka_at")
        .writeStream.foreachBatch(merge)
        .option("checkpointLocation", f"{task['work']}/checkpoint-{task['topic']}")
        .start()
    )
    table, count, deadline = None, 0, time.monotonic() + task["limit_seconds"]
    while count < task["count"] and time.monotonic() < deadline and query.isActive:
        time.sleep(0.2)
        if len(committed) != table:
            table = len(committed)
            count = spark.read.format("delta").load(path).count()
    seconds = time.monotonic() - started
    query.stop()
    if query.exception() is not None:
        raise SystemExit(str(query.exception()))
    found = spark.read.format("delta").load(path).select("event_id", "kafka_at", "batch").toPandas()
    waits = sorted(
        committed[batch] - at.timestamp()
        for at, batch in zip(found["kafka_at"].dt.tz_localize("UTC"), found["batch"], strict=True)
    )
    print(
        json.dumps(
            {
                "events": len(found),
                "distinct": int(found["event_id"].nunique()),
                "seconds": seconds,
                "commits": len(committed),
                "p50_seconds": round(statistics.median(waits), 2),
                "p95_seconds": round(waits[int(len(waits) * 0.95)], 2),
                "max_seconds": round(waits[-1], 2),
            }
        ),
        flush=True,
    )
    spark.stop()


if __name__ == "__main__":
    main()
