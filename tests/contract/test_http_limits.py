"""Answers over HTTP that are poison: they are refused before they are in memory, and whole ones come through whole."""

from __future__ import annotations

import gzip
import random
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from datong_ingestion.http import HttpClient
from datong_ingestion.limits import MIB, TooLargeError, bounded
from datong_platform.errors import ProtocolError, TransientError
from datong_platform.lake import history

Make = Callable[..., dict[str, Any]]


class Blocks(httpx.SyncByteStream):
    """A body that arrives in blocks."""

    def __init__(self, body: bytes, size: int) -> None:
        self.body, self.size = body, size

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self.body), self.size):
            yield self.body[start : start + self.size]


def content(body: bytes, encoding: str = "", *, limit: int = MIB, size: int = 7) -> bytes:
    headers = {"Content-Encoding": encoding} if encoding else {}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, stream=Blocks(body, size)))
    with httpx.Client(transport=transport, event_hooks={"response": [bounded(limit)]}) as client:
        return client.get("http://x/").content


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


TEXT = random.Random(1).randbytes(5000) + b"a" * 200_000 + "物料".encode() * 50


@pytest.mark.parametrize("size", [1, 7, 4096, 10**7])
@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT)),
        ("GZIP", gzip.compress(TEXT[:6000]) + gzip.compress(TEXT[6000:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
    ],
)
def test_a_body_comes_through_as_it_was_packed(encoding: str, packed: bytes, size: int) -> None:
    assert content(packed, encoding, size=size) == TEXT


def test_an_empty_body_needs_no_gzip() -> None:
    assert content(b"", "gzip") == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_that_ends_too_early_is_not_taken_for_whole(encoding: str) -> None:
    packed = gzip.compress(TEXT) if encoding == "gzip" else zlib.compress(TEXT)
    with pytest.raises(httpx.DecodingError):
        content(packed[:-20], encoding)
    with pytest.raises(httpx.DecodingError):
        content(b"not packed at all", encoding)


def test_an_encoding_that_cannot_be_bounded_is_refused() -> None:
    with pytest.raises(httpx.DecodingError, match="br was not asked for"):
        content(b"x", "br")


def test_a_zip_bomb_is_refused_with_little_memory() -> None:
    packer = zlib.compressobj(1, wbits=31)
    bomb = b"".join([*(packer.compress(bytes(16 * MIB)) for _ in range(40)), packer.flush()])
    assert len(bomb) < 8 * MIB
    tracemalloc.start()
    with pytest.raises(TooLargeError, match="more than 20 MiB"):
        content(bomb, "gzip", limit=20 * MIB, size=65536)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * MIB, "of 640 that it unpacks to"


@pytest.fixture
def endless() -> Iterator[str]:
    """A server whose answer never ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500 if "fail" in self.path else 200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b'{"data": 1}' * 10000)
            except OSError:
                pass

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["page", "fail"])
def test_an_endless_answer_is_cut_off_and_not_asked_for_again(endless: str, path: str, no_waiting: list[float]) -> None:
    client = HttpClient("erp", endless, answer_mib=2)
    with pytest.raises(ProtocolError, match="more than 2 MiB") as caught:
        client.request("GET", client.below(path), thing="erp.order")
    client.close()
    assert caught.value.thing == "erp.order"
    assert "answer_mib" in caught.value.next_step
    assert no_waiting == []


def test_a_protocol_is_bounded_by_its_connection(http_rig: Any, row: Make, no_waiting: list[float]) -> None:
    http_rig.put(row(1))
    bomb = gzip.compress(b'{"data": [' + b" " * (8 * MIB))
    http_rig.http.every = lambda answer: type(answer)(bomb, 200, {"Content-Encoding": "gzip"})
    with pytest.raises(ProtocolError, match="more than 1 MiB"):
        http_rig.ingest("full", connection={"answer_mib": 1})
    assert history.open_table(http_rig.table) is None
    http_rig.http.every = lambda answer: type(answer)(
        gzip.compress(answer.body)[:-3], 200, {"Content-Encoding": "gzip"}
    )
    with pytest.raises(TransientError, match="ends too early"):
        http_rig.ingest("full")
    http_rig.http.every = lambda answer: type(answer)(gzip.compress(answer.body), 200, {"Content-Encoding": "gzip"})
    assert http_rig.ingest("full").rows == 1
