"""Queues, logs of databases and files in S3 that hold the same rows as the other rigs, for what befalls a connection.

Each is a real server. They have suites of their own for what they promise; these are only reached through a proxy.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import boto3
import psycopg
from datong_platform.settings import settings
from fault_proxy import Proxy
from kafka_server import KafkaServer
from postgresql_server import PASSWORD as LOG_PASSWORD
from postgresql_server import LoggingPostgres
from rabbitmq_server import PASSWORD as RABBIT_PASSWORD
from rabbitmq_server import USER as RABBIT_USER
from rabbitmq_server import RabbitMqServer


def made(house: Any) -> dict[str, Callable[[Any], Any]]:
    """The rigs' classes by their names; `house` is the conftest, whose rows all rigs share."""
    fields: dict[str, str] = {
        "Id": "string",
        "Name": "string",
        "Amount": "decimal(13,3)",
        "DueOn": "date",
        "Active": "boolean",
        "ChangedAt": "timestamp",
    }

    class KafkaRig(house.Rig):  # type: ignore[name-defined,misc]
        protocol, incremental, server = "kafka", "stream", "kafka"
        patience = 5
        """Seconds: its driver tries a broken connection again until then."""

        def __init__(self, server: KafkaServer) -> None:
            super().__init__()
            self.broker = server
            self.topic = server.topic(f"plant.{self.name}.things", 2)

        def proxy(self) -> Proxy:
            # a client goes where the broker says it is: only this door of it names another address than its own
            return Proxy("127.0.0.1", self.broker.behind_port, listen=self.broker.named_port)

        def connection(self) -> dict[str, Any]:
            return {"bootstrap_servers": f"127.0.0.1:{self.broker.behind_port}", "batch_seconds": 200}

        def entity(self) -> dict[str, Any]:
            return {"source": self.topic, "keys": ["Id"], "fields": fields}

        def put(self, *rows: Any) -> None:
            self.broker.send(self.topic, [(row["Id"], row) for row in rows])

    class RabbitRig(house.Rig):  # type: ignore[name-defined,misc]
        protocol, incremental, server, secret = "rabbitmq", "stream", "rabbitmq", RABBIT_PASSWORD
        in_portions = True
        """A read ends when no message came for a second, whatever the queue still holds: others take from it, too."""

        def __init__(self, server: RabbitMqServer) -> None:
            super().__init__()
            self.broker = server
            self.queue = server.queue(f"plant.{self.name}")
            self._port = server.port

        def proxy(self) -> Proxy:
            found = Proxy("127.0.0.1", self.broker.port)
            self._port = found.port
            return found

        def connection(self) -> dict[str, Any]:
            login = {"user": RABBIT_USER, "password": RABBIT_PASSWORD}
            return {"host": "127.0.0.1", "port": self._port, "batch_seconds": 200, **login}

        def entity(self) -> dict[str, Any]:
            return {"source": self.queue, "keys": ["Id"], "fields": fields}

        def put(self, *rows: Any) -> None:
            self.broker.send(self.queue, [json.dumps(row, default=_text).encode() for row in rows])

    class PostgresqlLogRig(house.SqlRig):  # type: ignore[name-defined,misc]
        protocol, incremental, server = "postgresql_log", "log", "postgres_log"

        def __init__(self, server: LoggingPostgres) -> None:
            house.Rig.__init__(self)
            self.url, self.secret = server.url, LOG_PASSWORD
            self.db = psycopg.connect(f"postgresql://owner@{server.address}", autocommit=True)
            self.db.execute(f"create schema {self.name}")  # pyright: ignore[reportArgumentType]
            self.run(
                'create table thing ("Id" text primary key, "Name" varchar(80), "Amount" numeric(13,3), "DueOn" date, '
                '"Active" boolean, "ChangedAt" timestamptz)'
            )
            self.run(f"alter publication datong add table {self.name}.thing")

        def stop(self) -> None:
            # a backend whose client is gone behind the proxy may hold it still
            self.run(
                "select pg_terminate_backend(active_pid) from pg_replication_slots "
                "where slot_name = %s and active_pid is not null",
                [f"datong_{self.name}_thing"],
            )
            self.run(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                "where slot_name = %s and not active",
                [f"datong_{self.name}_thing"],
            )
            super().stop()

    class MysqlLogRig(house.MySqlRig):  # type: ignore[name-defined,misc]
        protocol, incremental = "mysql_log", "log"

        def connection(self) -> dict[str, Any]:
            return {"url": self.url}

    class S3Rig(house.RIGS["files"]):  # type: ignore[name-defined,misc]
        def __init__(self, services: Any) -> None:
            self._bucket = boto3.client(
                "s3",
                endpoint_url=services.s3_endpoint,
                aws_access_key_id=services.s3_access_key_id,
                aws_secret_access_key=services.s3_secret_access_key,
                region_name=services.s3_region,
            )
            self._made: set[str] = set()
            super().__init__(services)
            self.secret = services.s3_secret_access_key

        def proxy(self) -> Proxy:
            place = urlsplit(settings().need("s3_endpoint"))
            assert place.hostname
            assert place.port
            return Proxy(place.hostname, place.port, by_http=True)

        def connection(self) -> dict[str, Any]:
            now = settings()
            return {
                "location": f"s3://{now.bucket}/in-{self.name}",
                "endpoint": now.s3_endpoint,
                "user": now.s3_access_key_id,
                "password": now.s3_secret_access_key,
                "order": "name",
                "taken_once_by": "file",
            }

        def _put(self, name: str, body: bytes) -> None:
            key = f"in-{self.name}/{name}"
            self._bucket.put_object(Bucket=settings().bucket, Key=key, Body=body)
            self._made.add(key)

        def stop(self) -> None:
            for key in self._made:
                self._bucket.delete_object(Bucket=settings().bucket, Key=key)
            super().stop()

    return {
        "kafka": KafkaRig,
        "rabbitmq": RabbitRig,
        "postgresql_log": PostgresqlLogRig,
        "mysql_log": MysqlLogRig,
        "s3": S3Rig,
    }


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(Decimal(value))
