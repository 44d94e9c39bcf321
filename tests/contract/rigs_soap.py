"""A SOAP service made by spyne: a WSDL of its own, WS-Security, faults, pages by offset and by cursor, sessions."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from socketserver import ThreadingMixIn
from typing import Any, ClassVar
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

SPACE = "urn:datong:things"
_WSSE = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"
_WSU = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd}"


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def made(house: Any) -> type[Any]:
    """The rig's class; `house` is the conftest, whose rows all rigs share."""
    user, password = house.USER, house.PASSWORD

    class SoapSystem:
        """The service. `faults` change its next answers, as with the other systems that speak HTTP."""

        kinds: ClassVar[dict[str, str]] = {
            "Id": "Unicode",
            "Name": "Unicode",
            "Amount": "Decimal",
            "DueOn": "Date",
            "Active": "Boolean",
            "ChangedAt": "DateTime",
        }

        def __init__(self) -> None:
            self.store = house.Rows()
            self.kinds = dict(type(self).kinds)
            self.requests: list[str] = []
            self.page_size = 3
            self.faults: list[Any] = []
            self.every: Any = None
            self.guard = "digest"
            """Who may ask: `digest` and `text` (WS-Security), or `session`."""
            self.nonces: set[str] = set()
            self.sessions: set[str] = set()
            self.log_ins = 0
            self.tokens: set[str] = set()
            self._build()
            self.server = make_server("127.0.0.1", 0, self._wsgi, _Threaded, _Quiet)
            threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
            self.address = f"http://127.0.0.1:{self.server.server_port}"

        def _build(self) -> None:
            import spyne
            from spyne.protocol.soap import Soap11
            from spyne.server.wsgi import WsgiApplication

            system = self
            row = spyne.ComplexModel.__class__(
                "Thing",
                (spyne.ComplexModel,),
                {"__namespace__": SPACE, **{name: getattr(spyne, kind) for name, kind in self.kinds.items()}},
            )
            found = spyne.ComplexModel.__class__(
                "Found",
                (spyne.ComplexModel,),
                {
                    "__namespace__": SPACE,
                    "Thing": row.customize(max_occurs="unbounded"),
                    "HasMore": spyne.Boolean,
                    "Next": spyne.Unicode,
                },
            )

            class Things(spyne.ServiceBase):
                @spyne.rpc(spyne.Integer, spyne.Integer, spyne.DateTime, spyne.Unicode, spyne.Unicode, _returns=found)
                def findThings(  # noqa: N802
                    ctx: Any,  # noqa: N805
                    start: int,
                    count: int,
                    changed_since: Any,
                    after: str,
                    session_id: str,
                ) -> Any:
                    system.admit(ctx.in_document, session_id)
                    rows = system.rows(changed_since)
                    size = min(count or system.page_size, system.page_size)
                    begin = int(after or 0) if after else start or 0
                    more = begin + size < len(rows)
                    page = [row(**one) for one in rows[begin : begin + size]]
                    return found(Thing=page, HasMore=more, Next=str(begin + size) if more else None)

                @spyne.rpc(spyne.Unicode, spyne.Unicode, _returns=spyne.Unicode)
                def logIn(ctx: Any, user_name: str, pass_word: str) -> str:  # noqa: N802, N805
                    if (user_name, pass_word) != (user, password):
                        raise spyne.Fault("Client.Authentication", "wrong user or password")
                    system.log_ins += 1
                    session = f"eas-session-{system.log_ins}"
                    system.sessions.add(session)
                    return session

                @spyne.rpc(spyne.Unicode, _returns=spyne.Boolean)
                def logOut(ctx: Any, session_id: str) -> bool:  # noqa: N802, N805
                    system.sessions.discard(session_id)
                    return True

                @spyne.rpc(spyne.DateTime, spyne.Unicode, _returns=spyne.Unicode)
                def exportThings(ctx: Any, changed_since: Any, session_id: str) -> str:  # noqa: N802, N805
                    system.admit(ctx.in_document, session_id)
                    return system.document(changed_since)

            self._wsgi_app = WsgiApplication(
                spyne.Application([Things], SPACE, in_protocol=Soap11(), out_protocol=Soap11())
            )

        def retyped(self, name: str, kind: str) -> None:
            self.kinds[name] = kind
            self._build()

        def rows(self, since: Any) -> list[dict[str, Any]]:
            found = self.store.sorted()
            if since:
                found = [one for one in found if one["ChangedAt"] >= since]
            return [{name: one.get(name) for name in self.kinds} for one in found]

        def document(self, since: Any) -> str:
            """What an EAI answers: a document in a text, with its success in an attribute."""
            rows = "".join(
                f'<thing id="{one["Id"]}"><name>{one["Name"]}</name><amount>{one["Amount"]}</amount>'
                f"<changed>{one['ChangedAt'].isoformat()}</changed></thing>"
                for one in self.rows(since)
            )
            return f'<?xml version="1.0"?><ufinterface succeed="0" dsc="">{rows}</ufinterface>'

        def admit(self, envelope: Any, session: str | None) -> None:
            """A fault for a message that may not ask."""
            import spyne

            if self.guard == "token":
                return
            if self.guard == "session":
                header = next((item.text for item in envelope.iter() if str(item.tag).endswith("}SessionId")), session)
                if header not in self.sessions:
                    raise spyne.Fault("Server", "session is invalid, please log in again")
                return
            token = next(envelope.iter(f"{_WSSE}UsernameToken"), None)
            if token is None:
                raise spyne.Fault("Client.Security", "no security token")
            given = token.findtext(f"{_WSSE}Password")
            right = password
            if self.guard == "digest":
                nonce = token.findtext(f"{_WSSE}Nonce") or ""
                created = token.findtext(f"{_WSU}Created") or ""
                if nonce in self.nonces:
                    raise spyne.Fault("Client.Security", "a nonce was used twice")
                self.nonces.add(nonce)
                content = base64.b64decode(nonce) + created.encode() + password.encode()
                right = base64.b64encode(hashlib.sha1(content).digest()).decode()
            if (token.findtext(f"{_WSSE}Username"), given) != (user, right):
                raise spyne.Fault("Client.Security", "FailedAuthentication: the security token could not be verified")

        def _wsgi(self, environ: dict[str, Any], start: Any) -> Any:
            self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}")
            head: list[Any] = []
            if environ["PATH_INFO"] == "/system/token" or self.guard == "token":
                query = {name: texts[0] for name, texts in parse_qs(environ["QUERY_STRING"]).items()}
                if environ["PATH_INFO"] == "/system/token":
                    good = query.get("app_secret") == password
                    token = f"u8-token-{len(self.requests)}"
                    self.tokens.add(token)
                    said: dict[str, Any] = {"errcode": "0", "token": {"id": token, "expiresIn": 7200}}
                    said = said if good else {"errcode": "20002", "errmsg": "app_secret错误"}
                elif query.get("token") in self.tokens:
                    said = {}
                else:
                    said = {"errcode": "20003", "errmsg": "token已过期"}
                if said:
                    start("200 OK", [("Content-Type", "application/json")])
                    return [json.dumps(said).encode()]
            body = b"".join(self._wsgi_app(environ, lambda status, headers, *_: head.extend([status, headers])))
            answer: Any = house.Answer(body, int(head[0].split()[0]), dict(head[1]))
            if environ["REQUEST_METHOD"] == "POST":
                if self.every:
                    answer = self.every(answer)
                elif self.faults:
                    answer = self.faults.pop(0)(answer)
            if answer is None:
                raise ConnectionResetError
            headers = {name: text for name, text in answer.headers.items() if name.lower() != "content-length"}
            content = answer.body[: len(answer.body) // 2] if answer.cut else answer.body
            start(f"{answer.status} x", [*headers.items(), ("Content-Length", str(len(content)))])
            return [content]

        def stop(self) -> None:
            self.server.shutdown()
            self.server.server_close()

    class SoapRig(house.Rig):  # type: ignore[name-defined,misc]
        """SOAP."""

        protocol, incremental = "soap", "cursor"

        def __init__(self, _: Any) -> None:
            super().__init__()
            # spyne needs the module cgi, which Python 3.13 no longer has
            pytest.importorskip("cgi")
            self.server = SoapSystem()

        def connection(self) -> dict[str, Any]:
            return {
                "base_url": self.server.address,
                "auth": "none",
                "user": user,
                "password": password,
                "wsdl": "?wsdl",
                "ws_security": {"kind": self.server.guard},
                "paging": {"style": "offset", "limit": 500, "more_path": "findThingsResult.HasMore"},
            }

        def entity(self) -> dict[str, Any]:
            return {
                "source": "findThings",
                "keys": ["Id"],
                "fields": {"Amount": "decimal(13,3)"},
                "options": {
                    "rows_path": "findThingsResult.Thing",
                    "arguments": {"start": "{offset}", "count": "{limit}", "changed_since": "{since}"},
                },
            }

        put, remove, stop = house.ODataRig.put, house.ODataRig.remove, house.ODataRig.stop

    return SoapRig
