"""A proxy that stands before any server and lets its answers go wrong: by bytes, or by whole HTTP answers.

By bytes it knows no protocol: a fault begins after so many bytes of answer, wherever in a message that is. By HTTP it
reads each request and each answer in full, so that it can answer in the server's place, change what the server said,
or lose the answer to something that the server has done. Links in answers are left as they are; a client that follows
them past the proxy is not tested by it, and `Proxy.connections` shows that.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import Any, Literal

TcpKind = Literal["refused", "reset", "half open", "slow", "truncated", "corrupt"]
"""`refused`: a new connection ends at once. `reset`, `truncated`: the connection breaks, with an RST or as if the
answer were over. `half open`: it stays open and nothing more arrives. `slow`: what follows arrives in small pieces.
`corrupt`: one bit is turned, which a server that sends no checksum cannot be protected from."""
HttpKind = Literal[
    "reply lost",
    "500 after",
    "503 after",
    "cut off",
    "chunks cut off",
    "no length",
    "too long",
    "too short",
    "gzip cut off",
    "gzip corrupt",
    "401",
    "403",
    "429",
    "500",
    "503",
    "skewed",
    "proxy page",
]
"""`reply lost`: the server has done it, and the connection breaks; `500 after`, `503 after`: it has done it and says
otherwise. `cut off`: half of the body, then the end; `chunks cut off` and `no length` the same without a
Content-Length. `too long`, `too short`: the Content-Length lies. `proxy page`: HTML with status 200, as a firewall
sends it. `skewed`: the server's clock is an hour off, in its `Date`."""
TCP_KINDS: tuple[TcpKind, ...] = ("refused", "reset", "half open", "slow", "truncated")
HTTP_KINDS: tuple[HttpKind, ...] = (
    *(
        "reply lost",
        "500 after",
        "503 after",
        "cut off",
        "chunks cut off",
        "no length",
        "too long",
        "too short",
        "gzip cut off",
        "gzip corrupt",
    ),
    *("401", "403", "429", "500", "503", "skewed", "proxy page"),
)
_RST = struct.pack("ii", 1, 0)
_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "content-encoding"}


@dataclass
class Request:
    """An HTTP request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def what(self) -> str:
        return f"{self.method} {self.path.split('?')[0]}"


@dataclass
class Reply:
    """An HTTP answer of the server, its body as it was sent."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class Strike:
    """A fault that waits for its moment. `times`: how often, None for as long as it stands."""

    kind: str
    times: int | None = 1
    after: int = 0
    """Bytes of answer, over all connections, before a fault by bytes begins; whole answers before one by HTTP."""
    match: str = ""
    """Which requests: a pattern of "METHOD path", for a fault by HTTP; by bytes, words of the answer that the fault
    begins at."""
    struck: int = 0
    seen: int = field(default=0, repr=False)

    @property
    def over(self) -> bool:
        return self.times is not None and self.struck >= self.times


class Proxy:
    """Listens on loopback before a server of this machine."""

    def __init__(self, host: str, port: int, *, by_http: bool = False, listen: int = 0, pause: float = 0.4) -> None:
        """`by_http`: read it as HTTP. `listen`: the port, 0 for any. `pause`: between pieces of what is slow."""
        self.upstream = (host, port)
        self.by_http, self.pause = by_http, pause
        self.strikes: list[Strike] = []
        self.connections = 0
        self.answered = 0
        """Bytes of answer that passed; with HTTP, answers."""
        self.requests: list[tuple[str, str]] = []
        """Method and path of each request that was carried out."""
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", listen), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.host = "127.0.0.1"
        self._ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def through(self, text: str) -> str:
        """An address of the server, in whatever text, as one of the proxy."""
        for host in {self.upstream[0], "127.0.0.1", "localhost"}:
            text = text.replace(f"{host}:{self.upstream[1]}", self.address)
        return text

    def strike(self, kind: str, **how: Any) -> Strike:
        """Let a fault befall what comes next."""
        made = Strike(kind, **how)
        with self._lock:
            self.strikes.append(made)
        return made

    def heal(self) -> None:
        """No fault from now on; what hangs is let go."""
        with self._lock:
            self.strikes.clear()
            hanging = list(self._open)
        for connection in hanging:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Close everything."""
        self._ended.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.heal()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                if self._ended.is_set():
                    return
                continue
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.add(client)
        try:
            if self._due(("refused",)) is not None:
                _reset(client)
            elif self.by_http:
                _Http(self, client).handle()
            else:
                self._relay(client)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            with self._lock:
                self._open.discard(client)
            with suppress(OSError):
                client.close()

    def _due(self, kinds: tuple[str, ...], *, request: Request | None = None) -> Strike | None:
        """The fault that is to happen now; it counts as having struck."""
        with self._lock:
            for strike in self.strikes:
                if (
                    strike.over
                    or strike.kind not in kinds
                    or (request is not None and not re.search(strike.match, request.what))
                ):
                    continue
                strike.seen += 1
                if strike.kind != "refused" and strike.seen <= strike.after:
                    continue
                strike.struck += 1
                return strike
        return None

    def _relay(self, client: socket.socket) -> None:
        server = socket.create_connection(self.upstream, timeout=30)
        server.settimeout(None)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.add(server)
        threading.Thread(target=_pump, args=(client, server), daemon=True).start()
        try:
            while chunk := server.recv(65536):
                if not self._pass(chunk, client):
                    return
        finally:
            with self._lock:
                self._open.discard(server)
            _reset(server)

    def _beginning(self, chunk: bytes) -> tuple[Strike | None, int]:
        """The fault that begins in a piece of answer, and how much of the piece comes before it."""
        with self._lock:
            self.answered += len(chunk)
            strike = next((one for one in self.strikes if not one.over and one.kind != "refused"), None)
            if strike is None:
                return None, len(chunk)
            begins = chunk.find(strike.match.encode()) if strike.match else max(0, strike.after - strike.seen)
            strike.seen += len(chunk)
            if not 0 <= begins < len(chunk):
                return None, len(chunk)
            strike.struck += 1
            return strike, begins

    def _pass(self, chunk: bytes, client: socket.socket) -> bool:
        """Pass on a piece of answer; False when the connection is over."""
        strike, whole = self._beginning(chunk)
        if whole:
            client.sendall(chunk[:whole])
        if strike is None:
            return True
        rest = chunk[whole:]
        if strike.kind == "corrupt":
            client.sendall(bytes([rest[0] ^ 1]) + rest[1:])
            return True
        if strike.kind == "slow":
            piece = max(1, len(rest) // 5)
            for start in range(0, len(rest), piece):
                time.sleep(self.pause)
                client.sendall(rest[start : start + piece])
            return True
        if strike.kind == "half open":
            _silence(client)
        elif strike.kind == "reset":
            _reset(client)
        else:
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            _silence(client, 2)
        return False


class _Http(BaseHTTPRequestHandler):
    """One connection of a client that speaks HTTP. The library only parses; what is said is the proxy's."""

    protocol_version = "HTTP/1.1"

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.proxy, self.connection = proxy, client
        self.rfile, self.wfile = client.makefile("rb"), client.makefile("wb")
        self.client_address = ("127.0.0.1", 0)
        self.close_connection = True
        self._upstream: http.client.HTTPConnection | None = None

    def handle(self) -> None:
        try:
            super().handle()
        finally:
            # a socket is closed only when the files made of it are
            for file in (self.rfile, self.wfile):
                with suppress(OSError):
                    file.close()
            if self._upstream:
                self._upstream.close()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            whole = BytesIO()
            while size := int(self.rfile.readline().split(b";")[0], 16):
                whole.write(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return whole.getvalue()
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _pass(self) -> None:
        request = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, self._body())
        strike = self.proxy._due((*HTTP_KINDS, "half open", "slow", "reset", "truncated"), request=request)
        kind = strike.kind if strike else ""
        if kind.isdigit():
            self._say(_refusal(int(kind), request))
            return
        reply = self._ask(request)
        with self.proxy._lock:
            self.proxy.requests.append((request.method, request.path))
            self.proxy.answered += 1
        self._say(reply, kind)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = _pass  # noqa: N815

    def handle_expect_100(self) -> bool:
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.wfile.flush()
        return True

    def _ask(self, request: Request) -> Reply:
        for fresh in (False, True):
            if self._upstream is None or fresh:
                self._upstream = http.client.HTTPConnection(*self.proxy.upstream, timeout=120)
            try:
                # the Host header may be signed: the server must see the one that the client signed
                self._upstream.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in {"expect", "connection", "transfer-encoding", "content-length"}:
                        self._upstream.putheader(name, value)
                if request.body or request.method in {"PUT", "POST", "PATCH"}:
                    self._upstream.putheader("Content-Length", str(len(request.body)))
                self._upstream.endheaders(request.body)
                answer = self._upstream.getresponse()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # it had closed a connection that was idle; what it carried out it would have answered
                if fresh:
                    raise
                continue
            return Reply(answer.status, answer.reason, answer.getheaders(), answer.read())
        raise AssertionError("unreachable")

    def _say(self, reply: Reply, kind: str = "") -> None:  # noqa: PLR0912 one branch for each way to go wrong
        if kind in {"reply lost", "reset"}:
            self._end()
            return
        if kind.endswith(" after"):
            status = int(kind.split(maxsplit=1)[0])
            reply, kind = _refusal(status, Request(self.command, self.path, {}, b"")), ""
        body, head = reply.body, [(name, value) for name, value in reply.headers if name.lower() not in _HOP]
        packed = [(name, value) for name, value in reply.headers if name.lower() == "content-encoding"]
        length: int | None = len(body)
        half = len(body) // 2
        sent, over = body, False
        if kind in {"cut off", "truncated", "half open"}:
            sent, over = body[:half], True
        elif kind == "too long":
            length, over = len(body) + 7, True
        elif kind == "too short":
            length = half
        elif kind == "no length":
            length, sent, over = None, body[:half], True
        elif kind == "chunks cut off":
            length, over = None, True
            head.append(("Transfer-Encoding", "chunked"))
            sent = b"%x\r\n%s\r\n" % (half, body[:half]) if half else b""
        elif kind.startswith("gzip") and not packed:
            small = bytearray(gzip.compress(body))
            if kind == "gzip corrupt":
                small[len(small) // 2] ^= 0xFF
                small[-6] ^= 0xFF
            packed = [("Content-Encoding", "gzip")]
            sent = bytes(small[:-9]) if kind == "gzip cut off" else bytes(small)
            length = len(sent)
        elif kind == "skewed":
            head = [pair for pair in head if pair[0].lower() != "date"]
            head.append(("Date", formatdate(time.time() - 3600, usegmt=True)))
        elif kind == "proxy page":
            sent = b"<html><body>Please log in to the network</body></html>"
            head, packed, length = [("Content-Type", "text/html")], [], len(sent)
        if reply.status in {204, 304} or self.command == "HEAD":
            sent = b""
            told = next((value for name, value in reply.headers if name.lower() == "content-length"), None)
            length = int(told) if told is not None and self.command == "HEAD" else None
        self.send_response_only(reply.status, reply.reason)
        for name, value in [*head, *packed]:
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if over:
            self.send_header("Connection", "close")
        self.end_headers()
        if kind == "slow":
            for start in range(0, len(sent), max(1, len(sent) // 5)):
                time.sleep(self.proxy.pause)
                self.wfile.write(sent[start : start + max(1, len(sent) // 5)])
                self.wfile.flush()
        else:
            self.wfile.write(sent)
        self.wfile.flush()
        if kind == "half open":
            _silence(self.connection)
        if over:
            self.close_connection = True

    def _end(self) -> None:
        self.close_connection = True
        _reset(self.connection)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _refusal(status: int, request: Request) -> Reply:
    words = {401: "Unauthorized", 403: "Forbidden", 429: "Too Many Requests", 500: "Oops", 503: "Service Unavailable"}
    head = [("Content-Type", "application/json")]
    if status == 429:
        head.append(("Retry-After", "0"))
    body = b'{"error":{"code":"X","message":"told by the proxy"}}' if request.method != "HEAD" else b""
    return Reply(status, words.get(status, "Error"), head, body)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        _reset(target)


def _reset(connection: socket.socket) -> None:
    """End a connection with an RST; a reader of it that waits is woken."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        connection.shutdown(socket.SHUT_RD)
    with suppress(OSError):
        connection.close()


def _silence(connection: socket.socket, seconds: float | None = None) -> None:
    """Say nothing until the client goes away."""
    connection.settimeout(seconds)
    with suppress(OSError):
        while connection.recv(65536):
            pass


class ProxyProcess:
    """A proxy by HTTP in a process of its own, for clients that hold Python's lock while they wait (delta-rs)."""

    def __init__(self, host: str, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, host, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        self.address = f"127.0.0.1:{json.loads(self._process.stdout.readline())}"

    def _ask(self, what: str, **how: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([what, how]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def strike(self, kind: str, **how: Any) -> None:
        """Let a fault befall what comes next."""
        self._ask("strike", kind=kind, **how)

    def heal(self) -> int:
        """No fault from now on; how often those before struck."""
        return self._ask("heal")

    def requests(self, pattern: str) -> int:
        """How many requests of this kind were carried out."""
        return self._ask("requests", pattern=pattern)

    def stop(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(20)

    def __enter__(self) -> ProxyProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def main() -> None:
    """Stand before the server of the command line, and do what the lines of the input say until they end."""
    with Proxy(sys.argv[1], int(sys.argv[2]), by_http=True) as proxy:
        print(proxy.port, flush=True)
        for line in sys.stdin:
            what, how = json.loads(line)
            told: int = 0
            if what == "strike":
                proxy.strike(how.pop("kind"), **how)
            elif what == "heal":
                told = sum(strike.struck for strike in proxy.strikes)
                proxy.heal()
            else:
                told = sum(bool(re.search(how["pattern"], " ".join(request))) for request in proxy.requests)
            print(told, flush=True)


if __name__ == "__main__":
    main()
