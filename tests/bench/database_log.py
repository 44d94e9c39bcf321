"""How fast the log of a database comes into bronze: a backlog of changes, and the latency while changes are made (P8).

    uv run python tests/bench/database_log.py --changes 200000 --rate 5000 --seconds 30
    uv run python tests/bench/database_log.py --database mariadb --changes 200000 --rate 5000 --seconds 30

A PostgreSQL of its own with `wal_level = logical`, or a MariaDB with a row binlog, is started. The backlog is inserts
and updates of a table of eleven columns; beside it stands the limit: the same log decoded by the server and thrown away
(PostgreSQL), or read by the replication library alone (MariaDB). For the latency a process of its own commits 50
changes at a time at the given rate while `stream` reads; a change's latency is from its commit, as the log tells it, to
the time of the Delta commit that holds it. MariaDB's log tells whole seconds, so its latencies are up to a second less
than they look.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import psutil
import psycopg
import pymysql
from datong_ingestion.run import EntityIngest
from datong_ingestion.source import connect
from datong_ingestion.streaming import stream
from datong_ingestion.systems_config import SystemConfig
from datong_platform.lake import history, storage
from datong_platform.names import bronze
from frame import Benchmark, Session
from mariadb_server import MariaDb, mariadb_server
from postgresql_server import LoggingPostgres
from stream_waits import waits

BENCH = Benchmark(
    key="p8-database-log",
    title="The log of a database into bronze: a backlog of changes, and at 5,000 a second",
    goal="50,000 changes/s backlog; at 5,000/s p95 5 s to bronze",
    quick={"changes": 4000, "rate": 500, "seconds": 5},
)

COLUMNS = (
    "id bigint primary key, machine text, order_no text, operation int, state text, quantity numeric(13,3), "
    "scrap numeric(13,3), temperature double precision, ok boolean, operator text, made_at timestamptz"
)
ROW = (
    "select i, 'CNC-' || i % 97, 'WO-2026-' || i % 5000, i % 90, 'RUN', i % 1000 + 0.125, i % 7 + 0.5, "
    "20 + i % 100 / 7.0, i % 11 <> 0, '操作员 ' || i % 40, now() from generate_series({first}, {last}) i"
)
MY_COLUMNS = (
    "id bigint primary key, machine varchar(40), order_no varchar(40), operation int, state varchar(20), "
    "quantity decimal(13,3), scrap decimal(13,3), temperature double, ok tinyint(1), operator varchar(80), "
    "made_at timestamp(6) null"
)
MY_ROW = (
    "select seq, concat('CNC-', seq % 97), concat('WO-2026-', seq % 5000), seq % 90, 'RUN', seq % 1000 + 0.125, "
    "seq % 7 + 0.5, 20 + seq % 100 / 7.0, seq % 11 <> 0, concat('操作员 ', seq % 40), now(6) "
    "from seq_{first}_to_{last}"
)
WRITER = """
import sys, time
from database_log import Maria, Postgres
database = {kind}.{connect}
started, sent, total = time.monotonic(), 0, int({rate} * {seconds})
while sent < total:
    if sent <= (time.monotonic() - started) * {rate}:
        database.fill(sent + 1, sent + 50)
        sent += 50
    else:
        time.sleep(0.002)
print(sent / (time.monotonic() - started))
"""


class Postgres:
    """A PostgreSQL whose log is read."""

    protocol = "postgresql_log"

    def __init__(self, url: str, db: psycopg.Connection[Any]) -> None:
        self.url, self.db = url, db

    @classmethod
    def at(cls, url: str) -> Postgres:
        """One that runs already."""
        return cls(url, psycopg.connect(url, autocommit=True))

    def again(self) -> str:
        """How another process makes the same."""
        owner = "postgresql://owner@" + self.url.rpartition("@")[2]
        return f"at({owner!r})"

    def run(self, statement: str) -> None:
        self.db.execute(statement.encode())

    def prepare(self) -> None:
        self.run(f"create table event ({COLUMNS})")
        self.run("alter publication datong add table event")

    def fill(self, first: int, last: int) -> None:
        """Insert rows, in one transaction."""
        self.run("insert into event " + ROW.format(first=first, last=last))

    def place(self) -> Any:
        """Where the log is now."""
        return None

    def limit(self, config: SystemConfig, place: Any) -> float:
        """Seconds in which the server decodes what waits in the log, and throws it away."""
        started = time.monotonic()
        self.db.execute(
            "select count(*) from pg_logical_slot_peek_binary_changes(%s, null, null, 'proto_version', '1', "
            "'publication_names', 'datong')",
            [f"datong_{config.system}_event"],
        )
        return time.monotonic() - started

    def forget(self) -> None:
        self.run("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")


class Maria:
    """A MariaDB whose binlog is read."""

    protocol = "mysql_log"

    def __init__(self, server: MariaDb) -> None:
        self.server, self.url = server, server.url("plant")
        self.db = pymysql.connect(
            host=server.host, port=server.port, user=server.user, password=server.password, autocommit=True
        )
        self.run("create database if not exists plant character set utf8mb4")
        self.run("use plant")

    def again(self) -> str:
        """How another process makes the same."""
        server = self.server
        return f"of({server.host!r}, {server.port}, {server.user!r}, {server.password!r})"

    @classmethod
    def of(cls, *address: Any) -> Maria:
        """One that runs already."""
        return cls(MariaDb(*address))

    def run(self, statement: str) -> Any:
        with self.db.cursor() as rows:
            rows.execute(statement)
            return rows.fetchall()

    def prepare(self) -> None:
        self.run(f"create table event ({MY_COLUMNS})")

    def fill(self, first: int, last: int) -> None:
        """Insert rows, in one transaction."""
        self.run("insert into event " + MY_ROW.format(first=first, last=last))

    def place(self) -> Any:
        """Where the log is now."""
        return self.run("show master status")[0][:2]

    def limit(self, config: SystemConfig, place: Any) -> float:
        """Seconds in which the replication library alone reads what waits in the log."""
        from pymysqlreplication import BinLogStreamReader
        from pymysqlreplication.row_event import UpdateRowsEvent, WriteRowsEvent

        server = self.server
        started = time.monotonic()
        reader: Any = BinLogStreamReader(
            connection_settings={
                "host": server.host, "port": server.port, "user": server.user, "password": server.password
            },
            server_id=4711, only_events=[WriteRowsEvent, UpdateRowsEvent], only_tables=["event"],
            log_file=place[0], log_pos=place[1], resume_stream=True, blocking=False,
        )  # fmt: skip
        assert sum(len(event.rows) for event in reader)
        reader.close()
        return time.monotonic() - started

    def forget(self) -> None:
        """A binlog remembers no reader."""


Database = Postgres | Maria


def system(database: Database) -> SystemConfig:
    """The definition of the table."""
    return SystemConfig.model_validate(
        {
            "system": f"bench{uuid.uuid4().hex[:6]}",
            "protocol": database.protocol,
            "connection": {"url": database.url},
            "entities": [{"name": "event", "source": "event", "mode": "log", "events": True}],
        }
    )


def forget(config: SystemConfig, database: Database) -> None:
    """Remove what the server keeps for the reader, the table and what was landed."""
    database.forget()
    for prefix in (f"{bronze(config.system, 'event').path}/", f"landing/{config.system}/"):
        for key in list(storage.keys(prefix)):
            storage.delete(key)


def backlog(bench: Session, database: Database, changes: int) -> None:
    """Inserts, and as many updates, that wait in the log; each comes once. Beside it the limit."""
    half, case = changes // 2, f"backlog, {database.protocol}"
    database.run("truncate table event")
    config = system(database)
    source = connect(config)
    ingest = EntityIngest(source, config, config.entity("event"))
    ingest.run()
    place = database.place()
    for first in range(1, half, 1000):
        last = min(first + 999, half)
        database.fill(first, last)
        database.run(f"update event set state = 'IDLE' where id between {first} and {last}")
    if bench.takes("limit: decoding alone"):
        with bench.measured("limit: decoding alone", case, services=(), amount=2 * half, unit="changes") as run:
            run.figures["decoding_seconds"] = database.limit(config, place)
    rows = 0
    with bench.measured("datong", case, amount=2 * half, unit="changes"):
        while rows < 2 * half:
            rows += ingest.run().rows
    source.close()
    assert rows == 2 * half, f"{rows} of {2 * half} changes"
    forget(config, database)


def latency(bench: Session, database: Database) -> None:
    """Commit at a rate while `stream` reads; how long changes take to the commit that holds them."""
    rate, seconds = bench.asked.rate, bench.asked.seconds
    total = int(rate * seconds)
    database.run("truncate table event")
    config = system(database)
    table = bronze(config.system, "event")
    stop = threading.Event()
    reader = threading.Thread(target=stream, args=(config,), kwargs={"stop": stop})
    program = f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\n" + WRITER.format(
        kind=type(database).__name__, connect=database.again(), rate=rate, seconds=seconds
    )
    case = f"{database.protocol} at {rate:,.0f} a second"
    with bench.measured("datong", case, amount=total, unit="changes") as run:
        reader.start()
        while history.open_table(table) is None:
            time.sleep(0.1)
        sent = float(bench.aside([sys.executable, "-c", program]))
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
    run.figures |= {"rate": sent, **waits(delta, "_log_at")}
    forget(config, database)


def main() -> None:
    options = BENCH.options(__doc__)
    options.add_argument("--database", choices=["postgresql", "mariadb"], default="postgresql")
    options.add_argument("--changes", type=int, default=200_000)
    options.add_argument("--rate", type=float, default=5000)
    options.add_argument("--seconds", type=float, default=30)
    options.set_defaults(runs=3)
    with BENCH.session(options) as bench, bench.services("store"):
        # what was started before belongs to the home; what comes now is the database, which counts for nobody
        before = {child.pid for child in psutil.Process().children()}
        if bench.asked.database == "mariadb":
            with mariadb_server() as server:
                compare(bench, Maria(server), before)
            return
        server = LoggingPostgres()
        try:
            compare(bench, Postgres(server.url, server.owner), before)
        finally:
            server.remove()


def compare(bench: Session, database: Database, before: set[int]) -> None:
    """The backlog and the latency, turn by turn."""
    for child in psutil.Process().children():
        if child.pid not in before:
            bench.not_counted(child.pid)
    database.prepare()
    for _ in bench.turns():
        backlog(bench, database, bench.asked.changes)
        latency(bench, database)


if __name__ == "__main__":
    main()
