"""How fast events come from Kafka into bronze: a backlog, and the latency while events keep coming (P8).

With the services up (`datong up`):

    python tests/bench/kafka_events.py --events 500000 --rate 5000 --seconds 30 --side datong --side spark

A broker of its own is started (KRaft, its jars from Maven). The backlog is read in batches of `batch_rows`, once as
plain JSON and once as Debezium's change events; beside it stands the limit: the same messages consumed and parsed
(orjson) by the same driver, and thrown away. For the latency a process of its own sends at the given rate while
`stream` reads; an event's latency is from Kafka's timestamp to the time of the Delta commit that holds it. `--side
spark` does both with Spark's Structured Streaming and a merge in foreachBatch, its start not counted (its jars are
fetched from Maven). CPU seconds are those of the reader, Spark's with all of its JVM: a busy machine bends them less.
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
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import orjson
import psutil
from confluent_kafka import Consumer, TopicPartition
from datong_ingestion.run import EntityIngest
from datong_ingestion.source import connect
from datong_ingestion.streaming import stream
from datong_ingestion.systems_config import SystemConfig
from datong_platform.lake import history, storage
from datong_platform.lake.columns import compute
from datong_platform.names import bronze
from datong_platform.settings import settings
from kafka_server import KafkaServer

PARTITIONS = 4
FIELDS = {
    "event_id": "string",
    "machine": "string",
    "order_no": "string",
    "operation": "integer",
    "state": "string",
    "quantity": "decimal(13,3)",
    "scrap": "decimal(13,3)",
    "temperature": "double",
    "ok": "boolean",
    "operator": "string",
    "made_at": "timestamp",
}
PRODUCER = """
import sys, time
sys.path[:0] = [{here!r}, {support!r}]
from kafka_events import event
from confluent_kafka import Producer
producer = Producer({{"bootstrap.servers": {address!r}, "linger.ms": 5}})
started, sent, total = time.monotonic(), 0, int({rate} * {seconds})
while sent < total:
    due = min(total, int((time.monotonic() - started) * {rate}) + 1)
    while sent < due:
        producer.produce({topic!r}, event(sent), str(sent))
        sent += 1
    producer.poll(0)
    time.sleep(0.005)
producer.flush(30)
print(sent / (time.monotonic() - started))
"""


def event(number: int) -> bytes:
    """A machine's event, about 300 bytes."""
    return orjson.dumps(
        {
            "event_id": f"e-{number:012d}",
            "machine": f"CNC-{number % 97:03d}",
            "order_no": f"WO-2026-{number % 5000:06d}",
            "operation": number % 90,
            "state": ("RUN", "IDLE", "DOWN", "SETUP")[number % 4],
            "quantity": number % 1000 + 0.125,
            "scrap": number % 7 + 0.5,
            "temperature": 20 + number % 100 / 7,
            "ok": number % 11 != 0,
            "operator": f"操作员 {number % 40}",
            "made_at": f"2026-03-{number % 28 + 1:02d}T08:{number % 60:02d}:00Z",
        }
    )


def change(number: int) -> bytes:
    """The same as Debezium tells it."""
    source = {"connector": "postgresql", "ts_ms": 1772352000000 + number, "sequence": f'["{number}","{number + 1}"]'}
    return orjson.dumps({"before": None, "after": orjson.loads(event(number)), "source": source, "op": "c"})


def system(server: KafkaServer, topic: str, **options: Any) -> SystemConfig:
    """The definition of one topic."""
    return SystemConfig.model_validate(
        {
            "system": f"bench{uuid.uuid4().hex[:6]}",
            "protocol": "kafka",
            "connection": {"bootstrap_servers": server.address},
            "entities": [
                {
                    "name": "event",
                    "source": topic,
                    "mode": "stream",
                    "fields": FIELDS,
                    "events": True,
                    "options": options,
                }
            ],
        }
    )


def forget(config: SystemConfig) -> None:
    """Remove the table and what was landed."""
    for prefix in (f"{bronze(config.system, 'event').path}/", f"landing/{config.system}/"):
        for key in list(storage.keys(prefix)):
            storage.delete(key)


def limit(server: KafkaServer, topic: str, count: int) -> float:
    """Messages per second that the driver gives and orjson parses, for nothing."""
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": uuid.uuid4().hex})
    started = time.monotonic()
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    seen = 0
    while seen < count:
        for message in consumer.consume(2000, 0.1):
            orjson.loads(message.value() or b"")
            seen += 1
    consumer.close()
    return count / (time.monotonic() - started)


def backlog(server: KafkaServer, name: str, make: Any, count: int, **options: Any) -> dict[str, Any]:
    """Read `count` waiting messages into bronze, and see that each is there once."""
    topic = server.topic(f"bench.{name}.{uuid.uuid4().hex[:6]}", PARTITIONS)
    server.send(topic, ((str(number), make(number), number % PARTITIONS) for number in range(count)))
    config = system(server, topic, **options)
    process = psutil.Process()
    source = connect(config)
    ingest = EntityIngest(source, config, config.entity("event"))
    cpu, started, rows, peak = sum(process.cpu_times()[:2]), time.monotonic(), 0, 0
    while rows < count:
        rows += ingest.run().rows
        peak = max(peak, process.memory_info().rss)
    seconds = time.monotonic() - started
    used = sum(process.cpu_times()[:2]) - cpu
    source.close()
    delta = history.open_table(bronze(config.system, "event"))
    assert delta is not None
    distinct = compute.count_distinct(delta.to_pyarrow_dataset().to_table(columns=["event_id"]).column(0)).as_py()
    assert (delta.count(), distinct) == (count, count), "each event once"
    found = {
        "events": count,
        "events_per_second": round(count / seconds),
        "limit_events_per_second": round(limit(server, topic, count)),
        "cpu_seconds": round(used, 1),
        "peak_memory_mb": round(peak / 2**20),
    }
    forget(config)
    return found


class Peer:
    """Spark in a process of its own, reading one topic."""

    def __init__(self, server: KafkaServer, topic: str, count: int, *, most: int, limit_seconds: float) -> None:
        """Returns when its query is about to start."""
        self.work = tempfile.mkdtemp(prefix="datong-peer-")
        self.topic = topic
        script = str(Path(__file__).parent / "peers" / "spark_kafka.py")
        self.process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self.work
        )
        assert self.process.stdin
        assert self.process.stdout
        task = {
            "work": self.work,
            "bucket": settings().bucket,
            "address": server.address,
            "topic": topic,
            "count": count,
            "most": most,
            "limit_seconds": limit_seconds,
        }
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == "ready", "the peer did not start"
        self.cpu = self._used()

    def _used(self) -> float:
        found = psutil.Process(self.process.pid)
        return sum(sum(one.cpu_times()[:2]) for one in [found, *found.children(recursive=True)])

    def figures(self) -> dict[str, Any]:
        """What it measured, when it has ended."""
        assert self.process.stdout
        used, text = self.cpu, ""
        reader: list[str] = []
        waiting = threading.Thread(target=lambda: reader.append(self.process.stdout.read()))  # type: ignore[union-attr]
        waiting.start()
        while waiting.is_alive():
            with suppress(psutil.Error):
                used = max(used, self._used())
            waiting.join(0.5)
        text = reader[0]
        assert self.process.wait() == 0, text
        found = json.loads(text.strip().splitlines()[-1]) | {"cpu_seconds": round(used - self.cpu, 1)}
        shutil.rmtree(self.work, ignore_errors=True)
        for key in list(storage.keys(f"peers/spark_kafka/{self.topic}/")):
            storage.delete(key)
        return found


def peer_backlog(server: KafkaServer, count: int) -> dict[str, Any]:
    """Spark reads `count` waiting messages."""
    topic = server.topic(f"bench.peer.{uuid.uuid4().hex[:6]}", PARTITIONS)
    server.send(topic, ((str(number), event(number), number % PARTITIONS) for number in range(count)))
    found = Peer(server, topic, count, most=50_000, limit_seconds=600).figures()
    assert (found["events"], found["distinct"]) == (count, count), "each event once"
    kept = ("events", "cpu_seconds", "commits")
    return {name: found[name] for name in kept} | {"events_per_second": round(count / found["seconds"])}


def peer_latency(server: KafkaServer, rate: float, seconds: float) -> dict[str, Any]:
    """Send at a rate while Spark reads."""
    topic = server.topic(f"bench.peer.{uuid.uuid4().hex[:6]}", PARTITIONS)
    total = int(rate * seconds)
    peer = Peer(server, topic, total, most=0, limit_seconds=seconds + 120)
    sent = produce(server, topic, rate, seconds)
    return peer.figures() | {"rate": round(sent)}


def produce(server: KafkaServer, topic: str, rate: float, seconds: float) -> float:
    """Send events at a rate from a process of its own; the rate that came about."""
    here, support = str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")
    program = PRODUCER.format(
        here=here, support=support, address=server.address, topic=topic, rate=rate, seconds=seconds
    )
    sent = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=dict(os.environ)
    )
    return float(sent.stdout)


def latency(server: KafkaServer, rate: float, seconds: float) -> dict[str, Any]:
    """Send at a rate while `stream` reads; how long events take to the commit that holds them."""
    topic = server.topic(f"bench.latency.{uuid.uuid4().hex[:6]}", PARTITIONS)
    config = system(server, topic)
    stop = threading.Event()
    reader = threading.Thread(target=stream, args=(config,), kwargs={"stop": stop})
    reader.start()
    table = bronze(config.system, "event")
    while history.open_table(table) is None:
        time.sleep(0.1)
    sent = produce(server, topic, rate, seconds)
    total = int(rate * seconds)
    deadline = time.monotonic() + 60
    delta = history.open_table(table)
    while (delta is None or delta.count() < total) and time.monotonic() < deadline:
        time.sleep(0.5)
        delta = history.open_table(table)
    stop.set()
    reader.join()
    delta = history.open_table(table)
    assert delta is not None
    assert delta.count() == total, f"{delta.count()} of {total} events"
    committed = {
        json.loads(entry[history.METADATA_KEY])["batch_id"]: entry["timestamp"] / 1000
        for entry in delta.history()
        if history.METADATA_KEY in entry
    }
    rows = delta.to_pyarrow_dataset().to_table(columns=["_kafka_timestamp", "_datong_batch_id"])
    waits = sorted(
        committed[batch] - at.timestamp()
        for at, batch in zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True)
    )
    found = {
        "rate": round(sent),
        "seconds": seconds,
        "commits": len(committed),
        "p50_seconds": round(statistics.median(waits), 2),
        "p95_seconds": round(waits[int(len(waits) * 0.95)], 2),
        "max_seconds": round(waits[-1], 2),
    }
    forget(config)
    return found


def main() -> None:
    """Run all, and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--side", choices=["datong", "spark"], action="append")
    asked = parser.parse_args()
    sides = asked.side or ["datong"]
    server = KafkaServer()
    try:
        if "datong" in sides:
            backlog(server, "json", event, min(asked.events, 20_000))  # warm
        for _ in range(asked.runs):
            if "datong" in sides:
                print(json.dumps({"backlog": "json"} | backlog(server, "json", event, asked.events)), flush=True)
                found = backlog(server, "debezium", change, asked.events, envelope="debezium")
                print(json.dumps({"backlog": "debezium"} | found), flush=True)
            if "spark" in sides:
                print(json.dumps({"backlog": "spark"} | peer_backlog(server, asked.events)), flush=True)
        for side in sides:
            measured = latency if side == "datong" else peer_latency
            print(json.dumps({"latency": side} | measured(server, asked.rate, asked.seconds)), flush=True)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
