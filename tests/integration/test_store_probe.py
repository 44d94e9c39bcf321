"""A store whose conditional writes cannot be trusted is refused before anything is written to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from datong_infra.services import stack
from datong_platform.errors import ServiceError
from datong_platform.lake import storage
from datong_platform.settings import Settings


class _Store(ThreadingHTTPServer):
    """The few verbs of S3 that the probe uses, with a chosen honesty."""

    daemon_threads = True

    def __init__(self, behaviour: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour = behaviour
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self.puts = 0


class _Handler(BaseHTTPRequestHandler):
    server: _Store
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = unquote(urlsplit(self.path).path)
        if key.count("/") == 1:
            return self._answer(200)
        self.server.puts += 1
        conditional = self.headers.get("If-None-Match") == "*"
        if self.server.behaviour == "looks, then writes":
            there = key in self.server.objects
            time.sleep(0.02)
            if conditional and there:
                return self._answer(412)
        elif self.server.behaviour == "honest":
            with self.server.lock:
                if conditional and key in self.server.objects:
                    return self._answer(412)
                self.server.objects[key] = body
                return self._answer(200)
        self.server.objects[key] = body
        return self._answer(200)

    def do_GET(self) -> None:
        body = self.server.objects.get(unquote(urlsplit(self.path).path))
        self._answer(200 if body is not None else 404, body or b"")

    def do_HEAD(self) -> None:
        self._answer(200)

    def do_DELETE(self) -> None:
        self.server.objects.pop(unquote(urlsplit(self.path).path), None)
        self.send_response(204)
        self.end_headers()


@pytest.fixture
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Store]:
    server = _Store(request.param)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DATONG_S3_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("DATONG_S3_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("DATONG_S3_SECRET_ACCESS_KEY", "secret")
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("store", ["ignores the condition"], indirect=True)
def test_a_store_that_ignores_the_condition_is_refused(store: _Store) -> None:
    with pytest.raises(ServiceError, match="ignores `If-None-Match") as caught:
        storage.probe()
    assert str(store.server_port) in caught.value.thing
    assert "SeaweedFS" in caught.value.next_step


@pytest.mark.parametrize("store", ["looks, then writes"], indirect=True)
def test_a_store_that_lets_several_writers_win_is_refused(store: _Store) -> None:
    with pytest.raises(ServiceError, match=r"told \d of 8 concurrent writers that theirs was the first"):
        storage.probe()


@pytest.mark.parametrize("store", ["honest"], indirect=True)
def test_an_honest_store_passes_every_round_and_keeps_no_trace_of_the_probe(store: _Store) -> None:
    storage.probe(rounds=3, writers=6)
    assert store.puts == 3 * (6 + 1)
    assert not store.objects


@pytest.mark.parametrize("store", ["ignores the condition"], indirect=True)
def test_up_stops_at_a_store_that_lies(store: _Store, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("DATONG_HOME", str(tmp_path))
    with pytest.raises(ServiceError, match="ignores `If-None-Match"):
        stack.up(["store", "engine"])
    states = {status.name: status.state for status in stack.status()}
    stack.down()
    assert states["engine"] == "stopped"


def test_the_store_of_the_services_is_safe(services: Settings) -> None:
    storage.probe(rounds=8, writers=16)
