"""Receivers of alerts that answer as the chat platforms document it, refusals with status 200 included."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

DING_SECRET = "SECding-1f0c"
FEISHU_SECRET = "feishu-77aa"
HOOK_SECRET = "hook-90be"
Answer = tuple[int, Any, dict[str, str]]


class Receivers:
    """All of them on one port, a path each; `taken` holds the messages that were accepted, by path."""

    def __init__(self) -> None:
        self.taken: dict[str, list[Any]] = {}
        self.faults: list[Answer] = []
        """What the next requests are answered instead."""
        receivers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, said, headers = receivers.answer(self.path, content, dict(self.headers))
                body = said.encode() if isinstance(said, str) else json.dumps(said).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, address: str, content: bytes, headers: dict[str, str]) -> Answer:
        if self.faults:
            return self.faults.pop(0)
        parts = urlsplit(address)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        known = {
            "/cgi-bin/webhook/send": self._wecom,
            "/robot/send": self._dingtalk,
            "/open-apis/bot/v2/hook/abc": self._feishu,
            "/services/T0/B0/x": self._slack,
            "/hook": self._hook,
        }
        if parts.path not in known:
            return 404, "no such receiver", {}
        body = json.loads(content)
        answer = known[parts.path](asked, body, content, headers)
        if answer[0] == 200 and (answer[1] == "ok" or not any(answer[1].get(name) for name in ("errcode", "code"))):
            self.taken.setdefault(parts.path, []).append(body)
        return answer

    def _wecom(self, asked: dict[str, str], body: Any, *_: Any) -> Answer:
        if asked.get("key") != "wecom-key":
            return 200, {"errcode": 93000, "errmsg": "invalid webhook url, hint: [1]"}, {}
        if body["msgtype"] != "markdown" or len(body["markdown"]["content"].encode()) > 4096:
            return 200, {"errcode": 40058, "errmsg": "markdown.content exceed max length 4096"}, {}
        return 200, {"errcode": 0, "errmsg": "ok"}, {}

    def _dingtalk(self, asked: dict[str, str], body: Any, *_: Any) -> Answer:
        moment = asked.get("timestamp", "0")
        digest = hmac.new(DING_SECRET.encode(), f"{moment}\n{DING_SECRET}".encode(), hashlib.sha256).digest()
        late = abs(time.time() * 1000 - int(moment)) > 3_600_000
        if late or asked.get("sign") != base64.b64encode(digest).decode():
            return 200, {"errcode": 310000, "errmsg": "sign not match"}, {}
        assert body["markdown"]["title"]
        assert body["markdown"]["text"]
        return 200, {"errcode": 0, "errmsg": "ok"}, {}

    def _feishu(self, asked: dict[str, str], body: Any, *_: Any) -> Answer:
        key = f"{body.get('timestamp')}\n{FEISHU_SECRET}".encode()
        digest = base64.b64encode(hmac.new(key, digestmod=hashlib.sha256).digest()).decode()
        if body.get("sign") != digest or abs(time.time() - int(body["timestamp"])) > 3600:
            return 200, {"code": 19021, "data": {}, "msg": "sign match fail or timestamp is not within one hour"}, {}
        if body["msg_type"] != "interactive" or not body["card"]["elements"]:
            return 200, {"code": 9499, "msg": "Bad Request", "data": {}}, {}
        return 200, {"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"}, {}

    def _slack(self, asked: dict[str, str], body: Any, *_: Any) -> Answer:
        return (200, "ok", {}) if body.get("text") else (400, "no_text", {})

    def _hook(self, asked: dict[str, str], body: Any, content: bytes, headers: dict[str, str]) -> Answer:
        digest = hmac.new(HOOK_SECRET.encode(), content, hashlib.sha256).hexdigest()
        if headers.get("X-Datong-Signature") != f"sha256={digest}":
            return 401, {"error": "who are you?"}, {}
        return 200, {}, {}
