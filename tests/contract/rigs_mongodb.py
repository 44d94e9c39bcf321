"""A MongoDB server in small, at the level of its wire protocol (OP_MSG, and OP_QUERY for the first hello), so that the
real driver talks to it: SCRAM-SHA-256, cursors with batches, comparisons that hold only within a type, error codes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socketserver
import struct
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument

USER, PASSWORD = "reader", "mongo-word-81d0"
CODEC: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)
Document = dict[str, Any]


class ServerError(Exception):
    """An answer that says no."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def type_of(value: Any) -> str:
    """The name of a value's type, as `$type` has it."""
    if isinstance(value, bool):
        return "bool"
    kinds: list[tuple[Any, str]] = [
        (str, "string"),
        ((int, float, Decimal128), "number"),
        (datetime, "date"),
        (ObjectId, "objectId"),
        (dict, "object"),
        (list, "array"),
        (bytes, "binData"),
    ]
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def number(value: Any) -> Any:
    return value.to_decimal() if isinstance(value, Decimal128) else value


def matches(document: Document, condition: Document) -> bool:
    """Whether a document meets a query."""
    return all(_holds(document, name, wanted) for name, wanted in condition.items())


def _holds(document: Document, name: str, wanted: Any) -> bool:
    if name == "$and":
        return all(matches(document, one) for one in wanted)
    if name == "$or":
        return any(matches(document, one) for one in wanted)
    value = document.get(name)
    if not (isinstance(wanted, dict) and any(key.startswith("$") for key in wanted)):
        return number(value) == number(wanted)
    return all(_compare(value, operator, operand) for operator, operand in wanted.items())


def _compare(value: Any, operator: str, operand: Any) -> bool:
    if operator == "$not":
        return not all(_compare(value, inner, wanted) for inner, wanted in operand.items())
    if operator == "$type":
        return type_of(value) in (operand if isinstance(operand, list) else [operand])
    if operator == "$in":
        return number(value) in [number(item) for item in operand]
    if operator in {"$gte", "$lt"}:
        if type_of(value) != type_of(operand):
            return False
        return (number(value) >= number(operand)) == (operator == "$gte")
    raise ServerError(2, f"unknown operator: {operator}")


class MongoServer:
    """The server; `faults` are asked before each command, by its name."""

    def __init__(self) -> None:
        self.collections: dict[str, dict[Any, Document | RawBSONDocument]] = {"things": {}}
        self.batch = 3
        self.faults: list[Callable[[str], None]] = []
        self.commands: list[str] = []
        self.cursors: dict[int, list[Any]] = {}
        server = self

        class Handler(socketserver.BaseRequestHandler):
            user = ""
            scram: tuple[str, str, bytes] | None = None

            def handle(self) -> None:
                while header := self._exactly(16):
                    length, request, _, code = struct.unpack("<iiii", header)
                    body = self._exactly(length - 16)
                    try:
                        if code == 2004:
                            start = body.index(b"\0", 4) + 9
                            reply = server.hello(bson.decode(body[start:], CODEC))
                            content = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(reply)
                            self._send(1, request, content)
                            continue
                        size = struct.unpack_from("<i", body, 5)[0]
                        command = bson.decode(body[5 : 5 + size], CODEC)
                        self._send(2013, request, struct.pack("<IB", 0, 0) + bson.encode(self._answer(command)))
                    except ConnectionAbortedError:
                        return

            def _answer(self, command: Document) -> Document:
                name = next(iter(command))
                try:
                    for fault in list(server.faults):
                        fault(name)
                    return {**self._run(name, command), "ok": 1.0}
                except ServerError as error:
                    return {"ok": 0.0, "errmsg": error.message, "code": error.code, "codeName": "Error"}

            def _run(self, name: str, command: Document) -> Document:  # noqa: PLR0911 one way out per command
                if name in {"hello", "isMaster", "ismaster"}:
                    return server.hello(command)
                if name in {"ping", "endSessions", "killCursors"}:
                    return {}
                if name == "saslStart":
                    return self._first(bytes(command["payload"]).decode())
                if name == "saslContinue":
                    return self._final(bytes(command["payload"]).decode())
                if not self.user:
                    raise ServerError(13, f"Command {name} requires authentication")
                server.commands.append(name)
                if name == "listCollections":
                    found = [{"name": item, "type": "collection"} for item in [*server.collections, "system.views"]]
                    return {"cursor": {"id": 0, "ns": "plant.$cmd.listCollections", "firstBatch": found}}
                if name == "find":
                    return server.find(command)
                if name == "getMore":
                    return server.more(command)
                raise ServerError(59, f"no such command: '{name}'")

            def _first(self, said: str) -> Document:
                parts = dict(part.split("=", 1) for part in said.removeprefix("n,,").split(","))
                salt, nonce = secrets.token_bytes(16), parts["r"] + secrets.token_hex(8)
                first = f"r={nonce},s={base64.b64encode(salt).decode()},i=4096"
                self.scram = (said.removeprefix("n,,"), first, salt)
                return {"conversationId": 1, "done": False, "payload": first.encode()}

            def _final(self, said: str) -> Document:
                assert self.scram
                bare, first, salt = self.scram
                salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, 4096)
                client = hmac.digest(salted, b"Client Key", "sha256")
                without, _, proof = said.rpartition(",p=")
                message = f"{bare},{first},{without}".encode()
                signature = hmac.digest(hashlib.sha256(client).digest(), message, "sha256")
                expected = bytes(a ^ b for a, b in zip(client, signature, strict=True))
                if f"n={USER}," not in bare or base64.b64decode(proof) != expected:
                    raise ServerError(18, "Authentication failed.")
                self.user = USER
                verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
                return {"conversationId": 1, "done": True, "payload": b"v=" + base64.b64encode(verifier)}

            def _exactly(self, size: int) -> bytes:
                found = b""
                while len(found) < size:
                    try:
                        part = self.request.recv(size - len(found))
                    except OSError:
                        return b""
                    if not part:
                        return b""
                    found += part
                return found

            def _send(self, code: int, request: int, content: bytes) -> None:
                self.request.sendall(struct.pack("<iiii", 16 + len(content), 1, request, code) + content)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def hello(self, command: Document) -> Document:
        return {
            "ismaster": True,
            "isWritablePrimary": True,
            "maxBsonObjectSize": 16 << 20,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "localTime": datetime.now(UTC),
            "logicalSessionTimeoutMinutes": 30,
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "readOnly": False,
            "ok": 1.0,
            **({"saslSupportedMechs": ["SCRAM-SHA-256"]} if "saslSupportedMechs" in command else {}),
        }

    def find(self, command: Document) -> Document:
        found = list(self.collections.get(command["find"], {}).values())
        found = [
            item for item in found if isinstance(item, RawBSONDocument) or matches(item, command.get("filter") or {})
        ]
        for name, direction in reversed((command.get("sort") or {}).items()):
            found.sort(
                key=lambda item: "~" if isinstance(item, RawBSONDocument) else str(item[name]),
                reverse=direction < 0,
            )
        if wanted := command.get("projection"):
            found = [{name: item[name] for name in wanted if name in item} for item in found]
        if limit := command.get("limit"):
            found = found[:limit]
        first, rest = found[: self.batch], found[self.batch :]
        number = 0
        if rest:
            number = secrets.randbelow(1 << 40) + 1
            self.cursors[number] = rest
        return {"cursor": {"id": number, "ns": f"plant.{command['find']}", "firstBatch": first}}

    def more(self, command: Document) -> Document:
        number = command["getMore"]
        if number not in self.cursors:
            raise ServerError(43, f"cursor id {number} not found")
        found = self.cursors.pop(number)
        rest = found[self.batch :]
        if rest:
            self.cursors[number] = rest
        return {
            "cursor": {
                "id": number if rest else 0,
                "ns": f"plant.{command['collection']}",
                "nextBatch": found[: self.batch],
            }
        }

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def encoded(value: Any) -> Any:
    """A value of a row as a document holds it."""
    if isinstance(value, Decimal):
        return Decimal128(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def made(house: Any) -> type[Any]:
    """The rig's class; `house` is the conftest."""

    class MongoRig(house.Rig):  # type: ignore[name-defined,misc]
        protocol, secret = "mongodb", PASSWORD

        def __init__(self, _: Any) -> None:
            super().__init__()
            self.server = MongoServer()
            self.url = f"mongodb://{USER}:{PASSWORD}@{self.server.address}/plant?authSource=admin"

        def connection(self) -> Document:
            return {"url": self.url, "timeout_seconds": 2}

        def entity(self) -> Document:
            return {"source": "things", "keys": ["Id"], "fields": self.fields()}

        def fields(self) -> dict[str, str]:
            return {
                "Id": "string",
                "Name": "string",
                "Amount": "decimal(13,3)",
                "DueOn": "date",
                "Active": "boolean",
                "ChangedAt": "timestamp",
            }

        def system(self, mode: str | None = None, **changes: Any) -> Any:
            if (mode or self.incremental) == "cursor":
                changes = {"detect_deletes": True} | changes
            return super().system(mode, **changes)

        def put(self, *rows: Document) -> None:
            for row in rows:
                document = {"_id": row["Id"], **{name: encoded(value) for name, value in row.items()}}
                self.server.collections["things"][row["Id"]] = document

        def remove(self, *ids: str) -> None:
            for key in ids:
                del self.server.collections["things"][key]

        def stop(self) -> None:
            self.server.stop()

    return MongoRig
