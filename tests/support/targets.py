"""Targets of write-back, each with what a test can do behind its back: see what it holds, and make it fail."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pyarrow as pa
from datong_ingestion.systems_config import SystemConfig
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.payload import PayloadBuilder
from datong_ingestion.write_back.systems import open_target
from datong_ingestion.write_back.target import Change, Found, Operation, Target
from datong_platform.settings import Settings
from targets_http import ChangingSystem
from targets_soap import SoapSystem

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("name", pa.string()),
        ("amount", pa.decimal128(13, 3)),
        ("due_on", pa.date32()),
        ("active", pa.bool_()),
    ]
)
PAYLOAD = {"Id": "id", "Name": "name", "Amount": "amount", "DueOn": "due_on", "Active": "active"}


def row(key: str, **changes: Any) -> dict[str, Any]:
    known = {"name": f'部件 <{key}> & "it\'s", {{session}}', "amount": Decimal("12.500"), "due_on": date(2026, 1, 31)}
    return {"id": key, **known, "active": True} | changes


class TargetRig:
    """One target. `asked`: it can be asked what it holds, whoever wrote it; else it knows what it was sent."""

    asked = True
    takes_once = True
    """A change that is sent twice under one idempotency key takes effect once."""
    operations: ClassVar[set[Operation]] = {"create", "update", "delete"}
    faults: ClassVar[set[str]] = set()
    batch = 1
    action: ClassVar[dict[str, Any] | None] = None

    def __init__(self) -> None:
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.opened: list[Target] = []

    def definition(self) -> SystemConfig:
        return SystemConfig.model_validate(
            {"system": self.name, "connection": self.connection(), "entities": [self.entity()], **self.system()}
        )

    def entity(self) -> dict[str, Any]:
        """What the system's definition reads; a target has no use for it."""
        return {"name": "thing", "source": "SRV/Things", "mode": "full"}

    def system(self) -> dict[str, Any]:
        raise NotImplementedError

    def connection(self) -> dict[str, Any]:
        raise NotImplementedError

    def target(self) -> dict[str, Any]:
        raise NotImplementedError

    def flow(self, **changes: Any) -> FlowConfig:
        return FlowConfig.model_validate(
            {
                "flow": f"to_{self.name}",
                "source": "serve.test__things",
                "key": "id",
                "target": {"system": self.name, "lookup": "Id", "identity": ["Id"], **self.target()},
                "operations": ["create", "call"] if self.action else ["create", "update", "delete"],
                "action": self.action,
                "payload": PAYLOAD,
                "batch": self.batch,
                **changes,
            }
        )

    def open(self, **changes: Any) -> Target:
        target = open_target(self.flow(**changes), self.definition())
        self.opened.append(target)
        return target

    def builder(self, target: Target) -> PayloadBuilder:
        return PayloadBuilder(self.flow(), SCHEMA, target.dialect)

    def change(
        self, target: Target, key: str, operation: Operation = "create", found: Found | None = None, **values: Any
    ) -> Change:
        payload = self.builder(target).build(row(key, **values))
        digest = hashlib.sha256(f"{self.name}{key}{operation}{sorted(values.items())}".encode()).hexdigest()
        return Change(key, payload, str(uuid.UUID(digest[:32])), found, operation, {})

    def found(self, target: Target, change: Change) -> list[Found]:
        """What the target says of a change that was sent."""
        held = target.lookup([change.key], {change.key: change.idempotency_key})[change.key]
        assert isinstance(held, list), held
        return held

    def held(self) -> dict[str, str]:
        """What the target really holds: the name under each key."""
        raise NotImplementedError

    def effects(self) -> list[tuple[str, str]]:
        """What happened to it, in order: operation and key."""
        raise NotImplementedError

    def fault(self, *kinds: str) -> None:
        raise NotImplementedError

    def behind(self, key: str) -> None:
        """Somebody else changes a record."""
        raise NotImplementedError

    def stop(self) -> None:
        for target in self.opened:
            target.close()


class HttpRig(TargetRig):
    faults: ClassVar[set[str]] = {"lost before", "lost after", "500 after", "refuse", "429", "quota"}

    def __init__(self) -> None:
        super().__init__()
        self.server = ChangingSystem()

    def held(self) -> dict[str, str]:
        return {key: row["Name"] for key, row in self.server.rows.items()}

    def effects(self) -> list[tuple[str, str]]:
        return self.server.effects

    def fault(self, *kinds: str) -> None:
        self.server.faults += kinds

    def behind(self, key: str) -> None:
        self.server.versions[key] += 1
        self.server.rows[key] |= {"Name": "JDOE's", "version": self.server.versions[key]}

    def stop(self) -> None:
        super().stop()
        self.server.stop()


class ODataV2Rig(HttpRig):
    def system(self) -> dict[str, Any]:
        return {"protocol": "odata_v2"}

    def connection(self) -> dict[str, Any]:
        return {"base_url": f"{self.server.address}/v2", "attempts": 3, "max_wait_seconds": 3}

    def target(self) -> dict[str, Any]:
        return {"resource": "SRV/Things"}


class ODataV2BatchRig(ODataV2Rig):
    faults: ClassVar[set[str]] = HttpRig.faults - {"refuse"} | {"half", "refuse 2"}
    batch = 10


class ODataV2ActionRig(ODataV2Rig):
    operations: ClassVar[set[Operation]] = {"create", "call"}
    action: ClassVar[dict[str, Any] | None] = {"name": "Release", "parameters": {"Amount": "amount"}}


class ODataV4Rig(ODataV2Rig):
    def system(self) -> dict[str, Any]:
        return {"protocol": "odata_v4"}

    def connection(self) -> dict[str, Any]:
        return {"base_url": f"{self.server.address}/v4", "attempts": 3, "max_wait_seconds": 3}

    def target(self) -> dict[str, Any]:
        return {"resource": "Things"}


class ODataV4BatchRig(ODataV4Rig):
    faults: ClassVar[set[str]] = ODataV2BatchRig.faults
    batch = 10


class ODataV4ActionRig(ODataV4Rig):
    operations: ClassVar[set[Operation]] = {"create", "call"}
    action: ClassVar[dict[str, Any] | None] = {"name": "Release", "parameters": {"Amount": "amount"}}


class RestRig(HttpRig):
    def system(self) -> dict[str, Any]:
        return {"protocol": "rest"}

    def connection(self) -> dict[str, Any]:
        known = {"attempts": 3, "max_wait_seconds": 3, "data_path": "data"}
        return {"base_url": f"{self.server.address}/rest", **known}

    def target(self) -> dict[str, Any]:
        return {"resource": "things", "etag_field": "version"}


class RestPutRig(RestRig):
    def target(self) -> dict[str, Any]:
        return {**super().target(), "rest": {"update": "PUT", "read_only": ["version"]}}


class RestManyRig(RestRig):
    """Several keys by one request."""

    def __init__(self, how: str = "repeat") -> None:
        super().__init__()
        self.how = how

    def target(self) -> dict[str, Any]:
        return {**super().target(), "lookup_rows": 5, "rest": {"lookup_many": self.how}}


class RestActionRig(RestRig):
    operations: ClassVar[set[Operation]] = {"create", "call"}
    action: ClassVar[dict[str, Any] | None] = {"name": "release", "parameters": {"Amount": "amount"}}


class SoapRig(TargetRig):
    """Operations with elements."""

    faults: ClassVar[set[str]] = {"lost before", "lost after", "500 after", "refuse"}

    def __init__(self) -> None:
        super().__init__()
        self.server = SoapSystem()

    def entity(self) -> dict[str, Any]:
        return {
            "name": "thing",
            "source": "getThings",
            "mode": "full",
            "options": {"rows_path": "getThingsResult"},
        }

    def system(self) -> dict[str, Any]:
        return {"protocol": "soap"}

    def connection(self) -> dict[str, Any]:
        return {"base_url": self.server.address, "wsdl": "?wsdl", "attempts": 2, "max_wait_seconds": 0.2}

    def target(self) -> dict[str, Any]:
        return {"resource": "Things", "etag_field": "Version", "soap": self.operations_of()}

    def operations_of(self) -> dict[str, Any]:
        version = "{found.Version}"
        return {
            "read": {"operation": "getThings", "rows_path": "getThingsResult", "arguments": {"key": "{key}"}},
            "create": {
                "operation": "createThing",
                "arguments": {"thing": "{payload}"},
                "key_path": "createThingResult",
            },
            "update": {"operation": "updateThing", "arguments": {"thing": "{payload}", "version": version}},
            "delete": {"operation": "deleteThing", "arguments": {"key": "{key}", "version": version}},
            "call": {"operation": "releaseThing", "arguments": {"key": "{key}", "amount": "{parameters.Amount}"}},
            "refused_texts": ["JBO-"],
        }

    def held(self) -> dict[str, str]:
        return {key: row["Name"] for key, row in self.server.rows.items()}

    def effects(self) -> list[tuple[str, str]]:
        return self.server.effects

    def fault(self, *kinds: str) -> None:
        self.server.faults += kinds

    def behind(self, key: str) -> None:
        self.server.versions[key] += 1
        self.server.rows[key] |= {"Name": "JDOE's"}

    def stop(self) -> None:
        super().stop()
        self.server.stop()


class SoapActionRig(SoapRig):
    operations: ClassVar[set[Operation]] = {"create", "call"}
    action: ClassVar[dict[str, Any] | None] = {"name": "releaseThing", "parameters": {"Amount": "amount"}}


class SoapDocumentRig(SoapRig):
    """A document in a text, and an answer that is one, too."""

    operations: ClassVar[set[Operation]] = {"create"}

    def operations_of(self) -> dict[str, Any]:
        return {
            "read": super().operations_of()["read"],
            "create": {
                "operation": "eai",
                "document": '<ufinterface sender="{sender}" proc="add"><thing>{payload}</thing></ufinterface>',
                "arguments": {"document": "{document}"},
                "reply": "xml_in_text",
                "success_path": "item.@succeed",
                "success_values": ["0"],
                "message_path": "item.@dsc",
                "key_path": "item.@u8key",
            },
        }

    def connection(self) -> dict[str, Any]:
        return {**super().connection(), "variables": {"sender": "datong"}}


class SqlRig(TargetRig):
    """A table of PostgreSQL, which keeps a log of its own by a trigger."""

    def __init__(self, services: Settings) -> None:
        super().__init__()
        self.dsn = services.postgres_url or ""
        self.run(
            f'create table {self.name} ("Id" text primary key, "Name" text, "Amount" numeric(13,3), '
            '"DueOn" date, "Active" boolean);'
            f"create table {self.name}_log (n serial, operation text, id text);"
            f"create function {self.name}_told() returns trigger language plpgsql as $$ begin "
            f'insert into {self.name}_log (operation, id) values (lower(tg_op), coalesce(new."Id", old."Id")); '
            "return null; end $$;"
            f"create trigger told after insert or update or delete on {self.name} for each row "
            f"execute function {self.name}_told();"
        )

    def run(self, statement: str) -> list[Any]:
        with psycopg.connect(self.dsn) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def entity(self) -> dict[str, Any]:
        return {"name": "thing", "source": f"public.{self.name}", "mode": "full"}

    def system(self) -> dict[str, Any]:
        return {"protocol": "sql"}

    def connection(self) -> dict[str, Any]:
        return {"url": self.dsn, "attempts": 2}

    def target(self) -> dict[str, Any]:
        return {"resource": f"public.{self.name}"}

    def held(self) -> dict[str, str]:
        return dict(self.run(f'select "Id", "Name" from {self.name}'))

    def effects(self) -> list[tuple[str, str]]:
        found = self.run(f"select operation, id from {self.name}_log order by n")
        return [("create" if operation == "insert" else str(operation), key) for operation, key in found]

    def behind(self, key: str) -> None:
        self.run(f"update {self.name} set \"Name\" = 'JDOE''s' where \"Id\" = '{key}'")

    def stop(self) -> None:
        super().stop()
        self.run(f"drop table {self.name}, {self.name}_log; drop function {self.name}_told")


class KafkaRig(TargetRig):
    takes_once = False
    """A producer that was started anew knows nothing of the one before: the topic is read instead."""

    def __init__(self, server: Any) -> None:
        super().__init__()
        self.server = server
        self.topic = server.topic(f"{self.name}.things", 3)

    def entity(self) -> dict[str, Any]:
        return {"name": "thing", "source": "other", "mode": "stream", "keys": ["Id"], "fields": {"Id": "string"}}

    def system(self) -> dict[str, Any]:
        return {"protocol": "kafka"}

    def connection(self) -> dict[str, Any]:
        return {"bootstrap_servers": self.server.address, "attempts": 2, "timeout_seconds": 10}

    def target(self) -> dict[str, Any]:
        return {"resource": self.topic}

    def _messages(self) -> Iterator[Any]:
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(
            {"bootstrap.servers": self.server.address, "group.id": "look", "enable.partition.eof": True}
        )
        try:
            found = consumer.list_topics(self.topic, timeout=10).topics[self.topic].partitions
            consumer.assign([TopicPartition(self.topic, part, 0) for part in found])
            ended = 0
            while ended < len(found):
                message = consumer.poll(1)
                if message is not None and message.error() is None:
                    yield message
                elif message is not None:
                    ended += 1
        finally:
            consumer.close()

    def held(self) -> dict[str, str]:
        held: dict[str, str] = {}
        for message in self._messages():
            key = message.key().decode()
            held.pop(key, None)
            if message.value() is not None:
                held[key] = json.loads(message.value())["Name"]
        return held

    def effects(self) -> list[tuple[str, str]]:
        told = sorted(self._messages(), key=lambda message: message.timestamp()[1])
        return [(dict(one.headers())["datong-operation"].decode(), one.key().decode()) for one in told]

    def behind(self, key: str) -> None:
        self.server.send(self.topic, [(key, {"Id": key, "Name": "JDOE's"})])


class RabbitMqRig(TargetRig):
    asked, takes_once = False, False

    def __init__(self, server: Any) -> None:
        super().__init__()
        self.server = server
        self.taken: list[Any] = []
        with self._channel() as channel:
            channel.queue_declare(self.name, durable=True)

    @contextmanager
    def _channel(self) -> Generator[Any]:
        connection = self.server.connect()
        try:
            yield connection.channel()
        finally:
            connection.close()

    def entity(self) -> dict[str, Any]:
        return {"name": "thing", "source": "other", "mode": "stream", "keys": ["Id"], "fields": {"Id": "string"}}

    def system(self) -> dict[str, Any]:
        return {"protocol": "rabbitmq"}

    def connection(self) -> dict[str, Any]:
        from rabbitmq_server import PASSWORD, USER

        return {"host": "127.0.0.1", "port": self.server.port, "user": USER, "password": PASSWORD, "attempts": 2}

    def target(self) -> dict[str, Any]:
        return {"resource": self.name}

    def _take(self) -> None:
        with self._channel() as channel:
            while True:
                method, properties, body = channel.basic_get(self.name, auto_ack=True)
                if method is None:
                    return
                assert properties.delivery_mode == 2
                self.taken.append((properties.type, json.loads(body), properties))

    def held(self) -> dict[str, str]:
        self._take()
        held: dict[str, str] = {}
        for operation, body, _ in self.taken:
            if operation == "delete":
                held.pop(body["Id"], None)
            else:
                held[body["Id"]] = body["Name"]
        return held

    def effects(self) -> list[tuple[str, str]]:
        self._take()
        return [(operation, body["Id"]) for operation, body, _ in self.taken]


class FilesRig(TargetRig):
    asked = False

    def __init__(self, folder: Path, form: str = "json", batch: int = 1) -> None:
        super().__init__()
        self.folder, self.form, self.batch = folder, form, batch
        folder.mkdir(exist_ok=True)

    def system(self) -> dict[str, Any]:
        return {"protocol": "files"}

    def connection(self) -> dict[str, Any]:
        return {"location": str(self.folder)}

    def target(self) -> dict[str, Any]:
        return {"resource": "out", "files": {"format": self.form, "operation_field": "op", "marker": "{name}.ok"}}

    def records(self) -> list[dict[str, Any]]:
        """What a receiver makes of the complete files, the oldest first."""
        import csv
        from xml.etree import ElementTree as ET

        found: list[dict[str, Any]] = []
        files = (path for path in (self.folder / "out").glob("*") if path.suffix.strip(".") == self.form)
        for path in sorted(files, key=lambda path: path.stat().st_mtime_ns):
            assert path.with_name(path.name + ".ok").exists()
            text = path.read_text(encoding="utf-8")
            if self.form == "json":
                content = json.loads(text)
                found += content if isinstance(content, list) else [content]
            elif self.form == "jsonl":
                found += [json.loads(line) for line in text.splitlines()]
            elif self.form == "csv":
                found += list(csv.DictReader(text.splitlines()))
            else:
                found += [{item.tag: item.text for item in record} for record in ET.fromstring(text)]
        return found

    def held(self) -> dict[str, str]:
        held: dict[str, str] = {}
        for record in self.records():
            if record["op"] == "delete":
                held.pop(record["Id"], None)
            else:
                held[record["Id"]] = record["Name"]
        return held

    def effects(self) -> list[tuple[str, str]]:
        return [(record["op"], record["Id"]) for record in self.records()]

    def stop(self) -> None:
        with suppress(OSError):
            super().stop()
