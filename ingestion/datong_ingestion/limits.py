"""What an answer over HTTP may cost at most: a compressed body that unpacks without end, or a page that never ends, is
refused before it is in memory.

From a response's raw bytes to its content, unpacked block by block. Works as a hook of an httpx client, so that log-ins
and error bodies are bounded, too.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import httpx

MIB = 1024 * 1024
_BLOCK = MIB
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""zlib's window sizes: with gzip's header, with zlib's."""
ENCODINGS = "gzip, deflate"
"""What a client may say that it accepts: others would be unpacked without a bound."""


class TooLargeError(Exception):
    """An answer has more bytes than is allowed."""


def bounded(limit: int) -> Callable[[httpx.Response], None]:
    """A response hook that lets no more than `limit` bytes of content through, unpacked ones."""

    def hook(response: httpx.Response) -> None:
        encodings = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
        chosen = [name for name in encodings if name not in {"", "identity"}]
        if isinstance(response.stream, httpx.SyncByteStream):
            if len(chosen) == 1 and chosen[0] in _WINDOWS:
                del response.headers["content-encoding"]
                response.stream = _Bounded(response.stream, limit, _WINDOWS[chosen[0]])
            elif chosen:
                raise httpx.DecodingError(
                    f"its encoding {', '.join(chosen)} was not asked for", request=response.request
                )
            else:
                response.stream = _Bounded(response.stream, limit, None)

    return hook


class _Bounded(httpx.SyncByteStream):
    """A stream that unpacks itself and ends with TooLargeError at its limit."""

    def __init__(self, stream: httpx.SyncByteStream, limit: int, window: int | None) -> None:
        self._stream, self._limit, self._window = stream, limit, window

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        blocks = self._stream if self._window is None else _unpacked(self._stream, self._window)
        for block in blocks:
            size += len(block)
            if size > self._limit:
                raise TooLargeError(f"more than {self._limit / MIB:,.0f} MiB")
            yield block

    def close(self) -> None:
        self._stream.close()


def _unpacked(stream: httpx.SyncByteStream, window: int) -> Iterator[bytes]:
    """The content of compressed blocks, at most _BLOCK bytes at a time; httpx.DecodingError when it is not whole."""
    unpack, received = zlib.decompressobj(window), False
    blocks: Iterable[bytes] = stream
    if window == _WINDOWS["deflate"]:
        blocks, is_zlib = _looked_at(stream)
        if not is_zlib:
            # many servers call raw deflate so, and browsers take it
            unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for block in blocks:
            data = block
            while data:
                received = True
                if unpack.eof:
                    # gzip allows several members one after the other
                    unpack = zlib.decompressobj(window)
                content = unpack.decompress(data, _BLOCK)
                if content:
                    yield content
                data = unpack.unconsumed_tail or unpack.unused_data
                while not data and len(content) == _BLOCK and not unpack.eof:
                    # what the window still holds though all input is taken
                    if content := unpack.decompress(b"", _BLOCK):
                        yield content
    except zlib.error as error:
        raise httpx.DecodingError(str(error)) from error
    if received and not unpack.eof:
        raise httpx.DecodingError("the compressed body ends too early")


def _looked_at(stream: Iterable[bytes]) -> tuple[Iterable[bytes], bool]:
    """The blocks of a stream, and whether they begin with zlib's header (RFC 1950, section 2.2)."""
    blocks = iter(stream)
    head = b""
    for block in blocks:
        head += block
        if len(head) > 1:
            break
    is_zlib = len(head) < 2 or (head[0] & 15 == zlib.DEFLATED and int.from_bytes(head[:2]) % 31 == 0)
    return chain([head], blocks), is_zlib
