"""A SOAP service that takes changes, by operations with elements and by documents in a text, as Yonyou's EAI does."""

from __future__ import annotations

import threading
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest

SPACE = "urn:datong:changes"


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class SoapSystem:
    """`faults` befall the next messages that change something: `lost before`, `lost after`, `500 after`, `refuse`,
    `server fault after`, `server refuses`, `session over`."""

    def __init__(self) -> None:
        # spyne needs the module cgi, which Python 3.13 no longer has
        pytest.importorskip("cgi")
        self.rows: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, int] = {}
        self.effects: list[tuple[str, str]] = []
        self.faults: list[str] = []
        self.sessions: set[str] = set()
        self._lock = threading.Lock()
        self._wsgi_app = self._application()
        self.server = make_server("127.0.0.1", 0, self._wsgi, _Threaded, _Quiet)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _application(self) -> Any:
        import spyne
        from spyne.protocol.soap import Soap11
        from spyne.server.wsgi import WsgiApplication

        system = self
        fields = {
            "Id": spyne.Unicode,
            "Name": spyne.Unicode,
            "Amount": spyne.Decimal,
            "DueOn": spyne.Date,
            "Active": spyne.Boolean,
            "Version": spyne.Integer,
            "Status": spyne.Unicode,
        }
        thing = spyne.ComplexModel.__class__("Thing", (spyne.ComplexModel,), {"__namespace__": SPACE, **fields})

        class Changes(spyne.ServiceBase):
            @spyne.rpc(spyne.Unicode, _returns=thing.customize(max_occurs="unbounded"))
            def getThings(ctx: Any, key: str) -> Any:  # noqa: N802, N805
                row = system.rows.get(key)
                return [thing(**row, Version=system.versions[key])] if row else []

            @spyne.rpc(thing, spyne.Unicode, _returns=spyne.Unicode)
            def createThing(ctx: Any, thing: Any, session: str) -> str:  # noqa: N802, N805
                return system.create(system.fields(thing), session)

            @spyne.rpc(thing, spyne.Integer, _returns=spyne.Unicode)
            def updateThing(ctx: Any, thing: Any, version: int) -> str:  # noqa: N802, N805
                return system.update(system.fields(thing), version)

            @spyne.rpc(spyne.Unicode, spyne.Integer, _returns=spyne.Unicode)
            def deleteThing(ctx: Any, key: str, version: int) -> str:  # noqa: N802, N805
                return system.delete(key, version)

            @spyne.rpc(spyne.Unicode, spyne.Decimal, _returns=spyne.Unicode)
            def releaseThing(ctx: Any, key: str, amount: Any) -> str:  # noqa: N802, N805
                system.rows[key] |= {"Status": "released"}
                system.versions[key] += 1
                system.effects.append(("call", key))
                return key

            @spyne.rpc(spyne.Unicode, _returns=spyne.Unicode)
            def eai(ctx: Any, document: str) -> str:  # noqa: N805
                return system.eai(document)

            @spyne.rpc(spyne.Unicode, spyne.Unicode, _returns=spyne.Unicode)
            def logIn(ctx: Any, user: str, password: str) -> str:  # noqa: N802, N805
                session = f"session-{len(system.sessions)}"
                system.sessions.add(session)
                return session

        return WsgiApplication(spyne.Application([Changes], SPACE, in_protocol=Soap11(), out_protocol=Soap11()))

    def fields(self, thing: Any) -> dict[str, Any]:
        names = ("Id", "Name", "Amount", "DueOn", "Active")
        return {name: getattr(thing, name) for name in names if getattr(thing, name) is not None}

    def create(self, row: dict[str, Any], session: str | None = None) -> str:
        import spyne

        if self.sessions and session not in self.sessions:
            raise spyne.Fault("Server", "session is invalid")
        if row["Id"] in self.rows:
            raise spyne.Fault("Client.Data", f"{row['Id']} already exists")
        self.rows[row["Id"]], self.versions[row["Id"]] = {"Status": "new", **row}, 1
        self.effects.append(("create", row["Id"]))
        return row["Id"]

    def update(self, row: dict[str, Any], version: int) -> str:
        self._as_it_was(row["Id"], version)
        self.rows[row["Id"]] |= row
        self.versions[row["Id"]] += 1
        self.effects.append(("update", row["Id"]))
        return row["Id"]

    def delete(self, key: str, version: int) -> str:
        self._as_it_was(key, version)
        del self.rows[key]
        self.effects.append(("delete", key))
        return key

    def _as_it_was(self, key: str, version: int) -> None:
        import spyne

        if key not in self.rows:
            raise spyne.Fault("Client.Data", f"{key} does not exist")
        if self.versions[key] != version:
            raise spyne.Fault("Client.Data", f"{key} was changed by JDOE: version conflict")

    def eai(self, document: str) -> str:
        """U8's: the order is a document, and so is the answer; a failure is told in an attribute."""
        root = ET.fromstring(document)
        [thing] = root.findall("thing")
        row: dict[str, Any] = {item.tag: item.text for item in thing}
        if row["Id"] in self.rows:
            return self._eai("-1", f"单据 {row['Id']} 已存在")
        if row["Name"].startswith("bad"):
            return self._eai("-1", "存货编码错误")
        self.rows[row["Id"]], self.versions[row["Id"]] = row, 1
        self.effects.append(("create", row["Id"]))
        return self._eai("0", "", row["Id"])

    def _eai(self, code: str, words: str, key: str = "") -> str:
        return f'<ufinterface><item succeed="{code}" dsc="{escape(words)}" u8key="{escape(key)}"/></ufinterface>'

    def _wsgi(self, environ: dict[str, Any], start: Any) -> Any:
        size = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(size) if size else b""
        changes = any(name in body for name in (b"createThing", b"updateThing", b"deleteThing", b":eai"))
        with self._lock:
            fault = self.faults.pop(0) if changes and self.faults else ""
            if fault == "lost before":
                raise ConnectionResetError
            if fault in {"refuse", "server refuses"}:
                code = "soap11env:Client" if fault == "refuse" else "soap11env:Server"
                return self._fault(start, code, "JBO-27024: Deficit of stock for &lt;this>")
            head: list[Any] = []
            import io

            environ["wsgi.input"] = io.BytesIO(body)
            answer = b"".join(self._wsgi_app(environ, lambda status, headers, *_: head.extend([status, headers])))
        if fault == "lost after":
            raise ConnectionResetError
        if fault == "500 after":
            start("500 x", [("Content-Type", "text/html"), ("Content-Length", "4")])
            return [b"oops"]
        if fault == "server fault after":
            return self._fault(start, "soap11env:Server", "timeout while answering")
        headers = [item for item in head[1] if item[0] != "Content-Length"]
        start(head[0], [*headers, ("Content-Length", str(len(answer)))])
        return [answer]

    def _fault(self, start: Any, code: str, words: str) -> list[bytes]:
        text = (
            '<soap11env:Envelope xmlns:soap11env="http://schemas.xmlsoap.org/soap/envelope/"><soap11env:Body>'
            f"<soap11env:Fault><faultcode>{code}</faultcode><faultstring>{words}</faultstring></soap11env:Fault>"
            "</soap11env:Body></soap11env:Envelope>"
        ).encode()
        start("500 x", [("Content-Type", "text/xml"), ("Content-Length", str(len(text)))])
        return [text]
