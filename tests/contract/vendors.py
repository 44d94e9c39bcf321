"""Servers of vendors' systems in small, with their faults: one function answers a request, as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Asked:
    """A request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class Reply:
    """An answer: bytes as they are, anything else as JSON."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Server:
    """Answers on loopback, and remembers what was asked."""

    def __init__(self, answer: Callable[[Asked], Reply]) -> None:
        self.asked: list[Asked] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, parts.path, query, headers, body)
                server.asked.append(asked)
                reply = answer(asked)
                content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _do  # noqa: N815 named by the standard library

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


class K3Cloud:
    """Kingdee K3Cloud: ValidateUser, ExecuteBillQuery, Logout. Errors come with status 200, pages end at 2,000 rows."""

    user, password, database = "reader", "k3-pass-81f2", "5f0d1c"

    def __init__(self) -> None:
        self.bills: dict[int, dict[str, Any]] = {}
        self.sessions: set[str] = set()
        self.log_ins = 0
        self.most = 2000
        self.broken = ""
        self.server = Server(self.answer)

    def answer(self, asked: Asked) -> Reply:
        name = asked.path.rpartition("Kingdee.BOS.WebApi.ServicesStub.")[2]
        if name == "AuthService.ValidateUser.common.kdsvc":
            said = asked.json
            self.log_ins += 1
            if (said["acctID"], said["username"], said["password"]) != (self.database, self.user, self.password):
                return Reply({"LoginResultType": 0, "Message": f"用户名或密码错误 {said['password']}", "Context": None})
            session = f"kd-session-{self.log_ins}"
            self.sessions.add(session)
            return Reply(
                {"LoginResultType": 1, "Message": None, "Context": {"UserName": self.user}},
                headers={"Set-Cookie": f"kdservice-sessionid={session}; path=/; HttpOnly"},
            )
        session = asked.headers.get("cookie", "").partition("kdservice-sessionid=")[2].partition(";")[0]
        if session not in self.sessions:
            return self._failed("会话信息已丢失，请重新登录", 1)
        if name == "AuthService.Logout.common.kdsvc":
            self.sessions.discard(session)
            return Reply(b"true")
        assert name == "DynamicFormService.ExecuteBillQuery.common.kdsvc", name
        return self._query(asked.json["data"])

    def _query(self, said: dict[str, Any]) -> Reply:
        assert isinstance(said["StartRow"], int)
        assert isinstance(said["Limit"], int)
        if self.broken:
            return self._failed(self.broken, 5)
        fields = said["FieldKeys"].split(",")
        if unknown := [
            name for name in fields if name not in {"FID", "FBillNo", "FQty", "FDocumentStatus", "FModifyDate"}
        ]:
            return self._failed(f"元数据中标识为{unknown[0]}的字段不存在", 4)
        rows = [self.bills[key] for key in sorted(self.bills)]
        condition = said["FilterString"]
        if "FModifyDate >= '" in condition:
            bound = condition.split("FModifyDate >= '")[1].split("'")[0].replace(" ", "T")
            rows = [row for row in rows if row["FModifyDate"] >= bound]
        if "FID > " in condition:
            after = int(condition.split("FID > ")[1].split(")")[0])
            rows = [row for row in rows if row["FID"] > after]
        assert said["OrderString"] == "FID"
        start = said["StartRow"]
        page = rows[start : start + min(said["Limit"], self.most)]
        return Reply([[row[name] for name in fields] for row in page])

    def _failed(self, message: str, code: int) -> Reply:
        errors = [{"FieldName": None, "Message": message, "DIndex": 0}]
        status = {"IsSuccess": False, "ErrorCode": 500, "Errors": errors, "MsgCode": code}
        return Reply([[{"Result": {"ResponseStatus": status}}]])
