"""Looking at what is read by messages or by a log takes nothing from the ingest: a real broker, a real database."""

from __future__ import annotations

import json
import uuid
from typing import Any

import psycopg
from datong_ingestion.discovery.profile import profile
from datong_ingestion.discovery.proposal import Wishes, propose
from datong_ingestion.discovery.sample import preview
from datong_ingestion.run import ingest_entity
from datong_ingestion.systems_config import parse_system
from datong_platform.settings import Settings
from postgresql_server import LoggingPostgres
from rabbitmq_server import PASSWORD, USER, RabbitMqServer


def test_messages_that_were_looked_at_are_still_in_the_queue(services: Settings, rabbitmq: RabbitMqServer) -> None:
    name = f"look{uuid.uuid4().hex[:8]}"
    queue = rabbitmq.queue(f"plant.{name}")
    orders = [{"orderNo": f"A{number:03}", "at": f"2026-03-01T08:{number:02}:00Z"} for number in range(40)]
    rabbitmq.send(queue, [json.dumps(order).encode() for order in orders])
    connection = {"host": "127.0.0.1", "port": rabbitmq.port, "user": USER, "password": PASSWORD}
    content: dict[str, Any] = {"system": name, "protocol": "rabbitmq", "connection": connection}
    proposal = propose(content, [queue], Wishes(names={queue: "order"}))
    (entity,) = proposal.entities
    assert (entity.content["mode"], entity.content["keys"]) == ("stream", ["orderNo"])
    assert entity.content["fields"]["at"] == "timestamp"
    system = proposal.system
    seen = preview(system, "order", 7)
    assert seen.rows.column("orderNo").to_pylist() == [order["orderNo"] for order in orders[:7]]
    assert profile(system, "order").rows == len(orders)
    result = ingest_entity(system, "order")
    assert (result.rows, result.rescued, result.total_rows) == (len(orders), 0, len(orders))


def test_a_slot_stays_where_the_ingest_left_it(services: Settings, postgres_log: LoggingPostgres) -> None:
    name = f"look{uuid.uuid4().hex[:8]}"
    content: dict[str, Any] = {
        "system": name,
        "protocol": "postgresql_log",
        "connection": {"url": postgres_log.url, "schema": name},
    }
    with psycopg.connect(f"postgresql://owner@{postgres_log.address}", autocommit=True) as db:
        db.execute(f"create schema {name}".encode())
        db.execute(f"create table {name}.thing (id int primary key, name text)".encode())
        db.execute(f"alter publication datong add table {name}.thing".encode())
        db.execute(f"insert into {name}.thing values (1, 'a'), (2, 'b')".encode())

        def slots() -> list[tuple[Any, ...]]:
            return db.execute(
                "select slot_name, confirmed_flush_lsn::text from pg_replication_slots where slot_name like %s",
                [f"%{name}%"],
            ).fetchall()

        try:
            proposal = propose(content, ["thing"], Wishes())
            assert proposal.entities[0].content == {"name": "thing", "source": "thing", "keys": ["id"], "mode": "log"}
            assert slots() == [], "a proposal makes no slot"
            system = parse_system({**content, "entities": [proposal.entities[0].content]})
            ingest_entity(system, "thing")
            before = slots()
            assert len(before) == 1
            db.execute(f"insert into {name}.thing values (3, 'c')".encode())
            seen = preview(system, "thing", 5)
            assert (len(seen.rows), seen.description.schema.names[:2]) == (0, ["id", "name"])
            assert slots() == before
            assert ingest_entity(system, "thing").rows == 1
        finally:
            for slot, _ in slots():
                db.execute("select pg_drop_replication_slot(%s)", [slot])
            db.execute(f"drop schema {name} cascade".encode())
