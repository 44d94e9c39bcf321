"""How fast events come from Kafka into bronze: a backlog, and the latency while events keep coming (P8).

    uv run python tests/bench/kafka_events.py --events 500000 --rate 5000 --seconds 30 --spark

A broker of its own is started (KRaft, its jars from Maven). The backlog is read in batches of `batch_rows`, once as
plain JSON and once as Debezium's change events; beside it stands the limit: the same messages consumed and parsed
(orjson) by the same driver, and thrown away. For the latency a process of its own sends at the given rate while
`stream` reads; an event's latency is from Kafka's timestamp to the time of the Delta commit that holds it. `--spark`
does both with Spark's Structured Streaming and a merge in foreachBatch; its start counts in the seconds, and
`without_start_seconds` are from the start of its query. CPU seconds are those of the reader and of the store, Spark's
with all of its JVM; the broker counts for nobody.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import orjson
from confluent_kafka import Consumer, TopicPartition
from datong_ingestion.run import EntityIngest
from datong_ingestion.source import connect
from datong_ingestion.streaming import stream
from datong_ingestion.systems_config import SystemConfig
from datong_platform.lake import history, storage
from datong_platform.names import bronze
from datong_platform.settings import settings
from frame import Benchmark, Session, checksum
from kafka_server import KafkaServer
from stream_waits import waits

BENCH = Benchmark(
    key="p8-kafka",
    title="Change events from Kafka into bronze: a backlog, and at 5,000 a second",
    goal="50,000 events/s backlog; at 5,000/s p95 5 s to bronze",
    quick={"events": 5000, "rate": 500, "seconds": 5},
)
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


def limit(server: KafkaServer, topic: str, count: int) -> None:
    """Take all messages from the driver and parse them, for nothing."""
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": uuid.uuid4().hex})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    seen = 0
    while seen < count:
        for message in consumer.consume(2000, 0.1):
            orjson.loads(message.value() or b"")
            seen += 1
    consumer.close()


def backlog(bench: Session, server: KafkaServer, form: str, make: Any, **options: Any) -> None:
    """Read waiting messages into bronze, and see that each is there once; beside it the limit."""
    count: int = bench.asked.events
    topic = server.topic(f"bench.{form}.{uuid.uuid4().hex[:6]}", PARTITIONS)
    server.send(topic, ((str(number), make(number), number % PARTITIONS) for number in range(count)))
    config = system(server, topic, **options)
    source = connect(config)
    ingest = EntityIngest(source, config, config.entity("event"))
    rows, case = 0, f"backlog, {form}"
    with bench.measured("datong", case, amount=count, unit="events") as run:
        while rows < count:
            rows += ingest.run().rows
    source.close()
    delta = history.open_table(bronze(config.system, "event"))
    assert delta is not None
    run.checksum = checksum(delta.to_pyarrow_dataset(), ["event_id"])
    forget(config)
    if bench.takes("limit: consume and parse"):
        with bench.measured("limit: consume and parse", case, services=(), amount=count, unit="events"):
            limit(server, topic, count)


def peer(bench: Session, server: KafkaServer, case: str, count: int, *, rate: float = 0) -> None:
    """Spark in a process of its own reads one topic: what waits there, or what is sent at a rate while it reads."""
    topic = server.topic(f"bench.peer.{uuid.uuid4().hex[:6]}", PARTITIONS)
    task = {"bucket": settings().bucket, "address": server.address, "topic": topic, "count": count}
    with tempfile.TemporaryDirectory(prefix="datong-peer-") as work:
        task |= {"work": work, "most": 0 if rate else 50_000, "limit_seconds": 600}
        sender: threading.Thread | None = None
        if rate:
            sender = threading.Thread(target=send_when_ready, args=(bench, server, topic, Path(work)))
            sender.start()
        else:
            server.send(topic, ((str(number), event(number), number % PARTITIONS) for number in range(count)))
        script = str(Path(__file__).parent / "peers" / "spark_kafka.py")
        run = bench.command(
            "spark",
            [sys.executable, script],
            case,
            services=["store"],
            task=task,
            cwd=Path(work),
            amount=count,
            unit="events",
            check=False,
        )
        if sender:
            sender.join()
    if run is not None:
        found = run.last_json()
        assert (found["events"], found["distinct"]) == (count, count), "each event once"
        run.figures["without_start_seconds"] = found["seconds"]
        if rate:
            run.figures |= {name: found[name] for name in ("p50_seconds", "p95_seconds", "max_seconds")}
    for key in list(storage.keys(f"peers/spark_kafka/{topic}/")):
        storage.delete(key)


def send_when_ready(bench: Session, server: KafkaServer, topic: str, work: Path) -> None:
    """Send once the peer's query runs; it says so by a file."""
    deadline = time.monotonic() + 300
    while not (work / "ready").exists() and work.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    if (work / "ready").exists():
        produce(bench, server, topic, bench.asked.rate, bench.asked.seconds)


def produce(bench: Session, server: KafkaServer, topic: str, rate: float, seconds: float) -> float:
    """Send events at a rate from a process of its own; the rate that came about."""
    here, support = str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")
    program = PRODUCER.format(
        here=here, support=support, address=server.address, topic=topic, rate=rate, seconds=seconds
    )
    return float(bench.aside([sys.executable, "-c", program]))


def latency(bench: Session, server: KafkaServer, case: str) -> None:
    """Send at a rate while `stream` reads; how long events take to the commit that holds them."""
    rate, seconds = bench.asked.rate, bench.asked.seconds
    total = int(rate * seconds)
    topic = server.topic(f"bench.latency.{uuid.uuid4().hex[:6]}", PARTITIONS)
    config = system(server, topic)
    table = bronze(config.system, "event")
    stop = threading.Event()
    reader = threading.Thread(target=stream, args=(config,), kwargs={"stop": stop})
    with bench.measured("datong", case, amount=total, unit="events") as run:
        reader.start()
        while history.open_table(table) is None:
            time.sleep(0.1)
        sent = produce(bench, server, topic, rate, seconds)
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
    run.figures |= {"rate": sent, **waits(delta, "_kafka_timestamp")}
    forget(config)


def main() -> None:
    options = BENCH.options(__doc__)
    options.add_argument("--events", type=int, default=500_000)
    options.add_argument("--rate", type=float, default=5000)
    options.add_argument("--seconds", type=float, default=30)
    options.add_argument("--spark", action="store_true", help="also Spark's Structured Streaming")
    options.set_defaults(runs=3)
    with BENCH.session(options) as bench, bench.services("store"):
        server = KafkaServer()
        try:
            if server.process:
                bench.not_counted(server.process.pid)
            compare(bench, server)
        finally:
            server.remove()


def compare(bench: Session, server: KafkaServer) -> None:
    """The backlogs, then the latency, turn by turn."""
    asked = bench.asked
    at_rate = f"at {asked.rate:,.0f} a second"
    if asked.spark:
        version = bench.result().versions["pyspark"]
        bench.peer("spark", version, trigger="as it comes", most_of_backlog=50_000, merge="by the event's key")
    for _ in bench.turns():
        if bench.takes("datong"):
            backlog(bench, server, "JSON", event)
            backlog(bench, server, "Debezium", change, envelope="debezium")
        if asked.spark and bench.takes("spark"):
            peer(bench, server, "backlog, JSON", asked.events)
        if bench.takes("datong"):
            latency(bench, server, at_rate)
        if asked.spark and bench.takes("spark"):
            peer(bench, server, at_rate, int(asked.rate * asked.seconds), rate=asked.rate)


if __name__ == "__main__":
    main()
