"""A server between a client and the store: passes every request on as it came, and lets a test act before a commit."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_COMMIT = re.compile(r"/_delta_log/\d{20}\.json$")


class GoBetween(ThreadingHTTPServer):
    """Passes every request on to the store as it came; before the first commit by Spark it lets another one happen."""

    daemon_threads = True

    def __init__(self, store: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.store = urlsplit(store)
        self.before_commit: Callable[[], None] | None = None
        self.before_each_commit: Callable[[str], None] | None = None
        """Called with the path of every commit that comes by."""
        self.conditions: list[str | None] = []
        self.answers: list[int] = []


class _Passing(BaseHTTPRequestHandler):
    server: GoBetween
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        commit = self.command == "PUT" and _COMMIT.search(urlsplit(self.path).path) is not None
        if commit:
            self.server.conditions.append(self.headers.get("If-None-Match"))
            act, self.server.before_commit = self.server.before_commit, None
            if act:
                act()
            if self.server.before_each_commit:
                self.server.before_each_commit(self.path)
        store = http.client.HTTPConnection(self.server.store.hostname or "", self.server.store.port, timeout=60)
        # the Host header is signed: the store must see the one that Spark signed
        store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in {"expect", "connection"}:
                store.putheader(name, value)
        store.endheaders(body)
        answer = store.getresponse()
        content = answer.read()
        if commit:
            self.server.answers.append(answer.status)
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in {"connection", "transfer-encoding"}:
                self.send_header(name, value)
        if answer.getheader("Content-Length") is None:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        store.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815
