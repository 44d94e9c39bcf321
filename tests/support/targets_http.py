"""A small system that takes changes by OData v2 and v4 (with $batch) and by JSON, and fails on request."""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

V2_METADATA = b"""<?xml version="1.0"?><edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx"
xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"><edmx:DataServices m:DataServiceVersion="2.0">
<Schema Namespace="S" xmlns="http://schemas.microsoft.com/ado/2008/09/edm"><EntityType Name="Thing"><Key>
<PropertyRef Name="Id"/></Key><Property Name="Id" Type="Edm.String"/><Property Name="Name" Type="Edm.String"/>
<Property Name="Amount" Type="Edm.Decimal" Precision="13" Scale="3"/><Property Name="DueOn" Type="Edm.DateTime"/>
<Property Name="Active" Type="Edm.Boolean"/><Property Name="Status" Type="Edm.String"/></EntityType>
<EntityContainer Name="C" m:IsDefaultEntityContainer="true"><EntitySet Name="Things" EntityType="S.Thing"/>
<FunctionImport Name="Release" m:HttpMethod="POST" ReturnType="S.Thing" EntitySet="Things">
<Parameter Name="Id" Type="Edm.String" Mode="In"/><Parameter Name="Amount" Type="Edm.Decimal" Mode="In"/>
</FunctionImport></EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"""
V4_METADATA = b"""<?xml version="1.0"?><edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">
<edmx:DataServices><Schema Namespace="S" xmlns="http://docs.oasis-open.org/odata/ns/edm"><EntityType Name="Thing"><Key>
<PropertyRef Name="Id"/></Key><Property Name="Id" Type="Edm.String"/><Property Name="Name" Type="Edm.String"/>
<Property Name="Amount" Type="Edm.Decimal" Precision="13" Scale="3"/><Property Name="DueOn" Type="Edm.Date"/>
<Property Name="Active" Type="Edm.Boolean"/><Property Name="Status" Type="Edm.String"/></EntityType>
<Action Name="Release" IsBound="true"><Parameter Name="it" Type="S.Thing"/><Parameter Name="Amount" Type="Edm.Decimal"/>
</Action><EntityContainer Name="C"><EntitySet Name="Things" EntityType="S.Thing"/></EntityContainer></Schema>
</edmx:DataServices></edmx:Edmx>"""

Reply = tuple[int, Any, dict[str, str]]


class Silence(Exception):  # noqa: N818 it is what the other side sees, not an error
    """The connection breaks without an answer."""


class ChangingSystem:
    """`faults` befall the next writes, in turn: `lost before`, `lost after`, `refuse`, `500 after`, `429`, `quota`, and
    `half` of a batch, whose first half is carried out and answered."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.effects: list[tuple[str, str]] = []
        self.faults: list[str] = []
        self.requests: list[tuple[float, str]] = []
        self.by_request: dict[str, Reply] = {}
        self.several = "repeat"
        """How its list takes several keys: by repeating the parameter, by commas, or not at all."""
        self.page = 100
        """The most records that one answer of its list holds."""
        self.lookups: list[int] = []
        """How many keys each request for its list named."""
        self.versions: dict[str, int] = defaultdict(int)
        self._lock = threading.RLock()
        system = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): text for name, text in self.headers.items()}
                try:
                    status, content, more = system.handle(self.command, self.path, headers, body)
                except Silence:
                    self.close_connection = True
                    return
                sent = (
                    content if isinstance(content, bytes) else b"" if content is None else json.dumps(content).encode()
                )
                self.send_response(status)
                for name, text in {"Content-Type": "application/json", **more}.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _handle  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        with self._lock:
            parts = urlsplit(path)
            protocol, _, rest = unquote(parts.path).strip("/").partition("/")
            if method == "GET":
                return self._read(protocol, rest, parse_qs(parts.query))
            fault = self.faults.pop(0) if self.faults else ""
            self.requests.append((threading.get_ident(), f"{method} {rest}"))
            if fault == "lost before":
                raise Silence
            if fault == "429":
                return 429, {"error": "slow down"}, {"Retry-After": "1"}
            if protocol == "v2" and headers.get("x-csrf-token") != "token":
                return 403, None, {"x-csrf-token": "Required"}
            reply = (
                self._batch(protocol, headers, body, fault)
                if rest.endswith("$batch")
                else self._one(protocol, method, rest, parts.query, headers, body, fault)
            )
            if fault == "lost after":
                raise Silence
            if fault == "500 after":
                return 500, {"error": {"message": "crashed after the effect"}}, {}
            if fault == "quota":
                return reply[0], reply[1], {**reply[2], "RateLimit-Remaining": "0", "RateLimit-Reset": "1"}
            return reply

    def _read(self, protocol: str, rest: str, query: dict[str, list[str]]) -> Reply:
        if rest.endswith("$metadata"):
            return 200, V2_METADATA if protocol == "v2" else V4_METADATA, {"Content-Type": "application/xml"}
        if protocol != "rest" and not rest.endswith("Things"):
            return 200, {"d": {}, "value": []}, {"x-csrf-token": "token", "Set-Cookie": "s=1; Path=/"}
        if protocol == "rest":
            asked = query["Id"] if self.several != "comma" else ",".join(query["Id"]).split(",")
            found = [row for key, row in self.rows.items() if key in (asked if self.several else asked[:1])]
            self.lookups.append(len(asked))
            return 200, {"data": found[: self.page]}, {}
        keys = re.findall(r"Id eq '([^']*)'", query["$filter"][0])
        found = [self.rows[key] for key in keys if key in self.rows]
        if protocol == "v2":
            return 200, {"d": {"results": [{**row, "__metadata": {"etag": self._etag(row)}} for row in found]}}, {}
        return 200, {"value": [{"@odata.etag": self._etag(row), **row} for row in found]}, {}

    def _etag(self, row: dict[str, Any]) -> str:
        return f'W/"{self.versions[row["Id"]]}"'

    def _one(  # noqa: PLR0917 the parts of a request
        self, protocol: str, method: str, rest: str, query: str, headers: dict[str, str], body: bytes, fault: str
    ) -> Reply:
        if fault == "refuse":
            return 400, {"error": {"code": "X/1", "message": "Deficit of stock for <this>"}}, {}
        content: dict[str, Any] = json.loads(body) if body else {}
        known = headers.get("idempotency-key", "")
        if known and known in self.by_request:
            return self.by_request[known]
        key, action = self._named(protocol, rest, query)
        reply = self._done(method, key, action, content, headers)
        if known:
            self.by_request[known] = reply
        return reply

    def _named(self, protocol: str, rest: str, query: str) -> tuple[str, str]:
        """The key and the action of an address."""
        if protocol == "rest":
            parts = rest.split("/")
            return (parts[1] if len(parts) > 1 else ""), (parts[2] if len(parts) > 2 else "")
        if "Release" in rest and protocol == "v2":
            return parse_qs(query)["Id"][0].strip("'"), "Release"
        found = re.search(r"\('([^']*)'\)", rest)
        return (found[1] if found else ""), ("Release" if rest.endswith("Release") else "")

    def _done(self, method: str, key: str, action: str, content: dict[str, Any], headers: dict[str, str]) -> Reply:
        if not key:
            key = content["Id"]
            if key in self.rows:
                return 409, {"error": {"message": f"{key} is there"}}, {}
            self.rows[key] = {"Status": "new", **content, "version": 0}
            self.effects.append(("create", key))
            return 201, {"d": self.rows[key], **self.rows[key]}, {}
        if key not in self.rows:
            return 404, {"error": {"message": f"no {key}"}}, {}
        if headers.get("if-match", "").strip('W/"') != str(self.versions[key]):
            return 412, {"error": {"message": "changed by JDOE"}}, {}
        self.versions[key] += 1
        if action:
            self.effects.append(("call", key))
            self.rows[key] |= {"Status": "released"}
        elif method == "DELETE":
            self.effects.append(("delete", key))
            del self.rows[key]
            return 204, None, {}
        else:
            self.effects.append(("update", key))
            kept = {"Id": key, "Status": self.rows[key]["Status"]} if method == "PUT" else self.rows[key]
            self.rows[key] = {**kept, **content}
        self.rows[key]["version"] = self.versions[key]
        return 200, self.rows[key], {}

    def _batch(self, protocol: str, headers: dict[str, str], body: bytes, fault: str) -> Reply:
        """What it understands of multipart is read apart from what Datong writes: by the requests in it."""
        assert headers["content-type"].startswith("multipart/mixed; boundary=")
        requests = re.findall(
            rb"Content-ID: (\d+)\r\n\r\n(\w+) (\S+) HTTP/1\.1\r\n(.*?)\r\n\r\n(.*?)\r\n--", body, re.DOTALL
        )
        if protocol == "v2":
            assert body.count(b"Content-Type: multipart/mixed; boundary=changeset") == len(requests)
        else:
            assert headers["prefer"] == "odata.continue-on-error"
        if fault == "half":
            requests = requests[: len(requests) // 2]
        parts: list[str] = []
        for number, method, path, head, content in requests:
            inner = {
                name.lower(): text for name, _, text in (line.partition(": ") for line in head.decode().split("\r\n"))
            }
            assert int(inner.get("content-length", "0")) == len(content)
            where = urlsplit(path.decode())
            refused = "refuse" if fault == f"refuse {number.decode()}" else ""
            status, answer, _ = self._one(
                protocol, method.decode(), unquote(where.path), where.query, inner, content, refused
            )
            text = "" if answer is None else json.dumps(answer)
            http = (
                f"Content-Type: application/http\r\nContent-ID: {number.decode()}\r\n\r\nHTTP/1.1 {status} x\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}\r\n"
            )
            if protocol == "v2" and status < 300:
                http = f"Content-Type: multipart/mixed; boundary=cs\r\n\r\n--cs\r\n{http}--cs--\r\n"
            parts.append(f"--b\r\n{http}")
        return 202, f"{''.join(parts)}--b--\r\n".encode(), {"Content-Type": "multipart/mixed; boundary=b"}
