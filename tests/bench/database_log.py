"""How fast the log of PostgreSQL comes into bronze: a backlog of changes, and the latency while changes are made (P8).

With the services up (`datong up`):

    python tests/bench/database_log.py --changes 200000 --rate 5000 --seconds 30

A PostgreSQL of its own with `wal_level = logical` is started. The backlog is inserts and updates of a table of eleven
columns; beside it stands the limit: the same log decoded by the server and thrown away. For the latency a process of
its own commits 50 changes at a time at the given rate while `stream` reads; a change's latency is from its commit, as
the log tells it, to the time of the Delta commit that holds it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import psycopg
from datong_ingestion.run import EntityIngest
from datong_ingestion.source import connect
from datong_ingestion.streaming import stream
from datong_ingestion.systems_config import SystemConfig
from datong_platform.lake import history, storage
from datong_platform.names import bronze
from postgresql_server import LoggingPostgres

COLUMNS = (
    "id bigint primary key, machine text, order_no text, operation int, state text, quantity numeric(13,3), "
    "scrap numeric(13,3), temperature double precision, ok boolean, operator text, made_at timestamptz"
)
ROW = (
    "select i, 'CNC-' || i % 97, 'WO-2026-' || i % 5000, i % 90, 'RUN', i % 1000 + 0.125, i % 7 + 0.5, "
    "20 + i % 100 / 7.0, i % 11 <> 0, '操作员 ' || i % 40, now() from generate_series({first}, {last}) i"
)
WRITER = """
import sys, time, psycopg
from database_log import ROW
started, sent, total = time.monotonic(), 0, int({rate} * {seconds})
with psycopg.connect({url!r}, autocommit=True) as db:
    while sent < total:
        if sent <= (time.monotonic() - started) * {rate}:
            db.execute("insert into event " + ROW.format(first=sent + 1, last=sent + 50))
            sent += 50
        else:
            time.sleep(0.002)
print(sent / (time.monotonic() - started))
"""


def system(server: LoggingPostgres) -> SystemConfig:
    """The definition of the table."""
    return SystemConfig.model_validate(
        {
            "system": f"bench{uuid.uuid4().hex[:6]}",
            "protocol": "postgresql_log",
            "connection": {"url": server.url},
            "entities": [{"name": "event", "source": "event", "mode": "log", "events": True}],
        }
    )


def forget(config: SystemConfig, db: psycopg.Connection[Any]) -> None:
    """Remove the slot, the table and what was landed."""
    db.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")
    for prefix in (f"{bronze(config.system, 'event').path}/", f"landing/{config.system}/"):
        for key in list(storage.keys(prefix)):
            storage.delete(key)


def backlog(server: LoggingPostgres, changes: int) -> dict[str, Any]:
    """Inserts, and as many updates, that wait in the log; each comes once."""
    db, half = server.owner, changes // 2
    db.execute("truncate event")
    config = system(server)
    source = connect(config)
    ingest = EntityIngest(source, config, config.entity("event"))
    ingest.run()
    for first in range(1, half, 1000):
        last = min(first + 999, half)
        db.execute(("insert into event " + ROW.format(first=first, last=last)).encode())
        db.execute(f"update event set state = 'IDLE' where id between {first} and {last}".encode())
    slot = f"datong_{config.system}_event"
    started = time.monotonic()
    db.execute(
        "select count(*) from pg_logical_slot_peek_binary_changes(%s, null, null, 'proto_version', '1', "
        "'publication_names', 'datong')",
        [slot],
    )
    limit = changes / (time.monotonic() - started)
    started, rows = time.monotonic(), 0
    while rows < 2 * half:
        rows += ingest.run().rows
    seconds = time.monotonic() - started
    source.close()
    assert rows == 2 * half, f"{rows} of {2 * half} changes"
    forget(config, db)
    return {"changes": rows, "changes_per_second": round(rows / seconds), "limit_changes_per_second": round(limit)}


def latency(server: LoggingPostgres, rate: float, seconds: float) -> dict[str, Any]:
    """Commit at a rate while `stream` reads; how long changes take to the commit that holds them."""
    db = server.owner
    db.execute("truncate event")
    config = system(server)
    table = bronze(config.system, "event")
    stop = threading.Event()
    reader = threading.Thread(target=stream, args=(config,), kwargs={"stop": stop})
    reader.start()
    while history.open_table(table) is None:
        time.sleep(0.1)
    program = f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\n" + WRITER.format(
        url=f"postgresql://owner@{server.address}", rate=rate, seconds=seconds
    )
    sent = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    total = int(rate * seconds)
    deadline = time.monotonic() + 60
    while True:
        delta = history.open_table(table)
        assert delta is not None
        if delta.count() >= total or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    stop.set()
    reader.join()
    assert delta.count() == total, f"{delta.count()} of {total} changes"
    committed = {
        json.loads(entry[history.METADATA_KEY])["batch_id"]: entry["timestamp"] / 1000
        for entry in delta.history()
        if history.METADATA_KEY in entry
    }
    rows = delta.to_pyarrow_dataset().to_table(columns=["_log_at", "_datong_batch_id"])
    waits = sorted(
        committed[batch] - at.timestamp()
        for at, batch in zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True)
    )
    forget(config, db)
    return {
        "rate": round(float(sent.stdout)),
        "seconds": seconds,
        "commits": len(committed),
        "p50_seconds": round(statistics.median(waits), 2),
        "p95_seconds": round(waits[int(len(waits) * 0.95)], 2),
        "max_seconds": round(waits[-1], 2),
    }


def main() -> None:
    """Run both, and print a line of JSON for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=200_000)
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    server = LoggingPostgres()
    try:
        server.owner.execute(f"create table event ({COLUMNS})".encode())
        server.owner.execute("alter publication datong add table event")
        backlog(server, min(asked.changes, 20_000))  # warm
        for _ in range(asked.runs):
            print(json.dumps({"backlog": "postgresql_log"} | backlog(server, asked.changes)), flush=True)
        print(json.dumps({"latency": "postgresql_log"} | latency(server, asked.rate, asked.seconds)), flush=True)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
