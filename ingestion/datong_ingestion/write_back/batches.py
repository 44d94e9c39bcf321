"""Bodies of OData `$batch`: multipart/mixed, each change a part of its own.

v2: every change is a changeset of its own, so that one that is refused takes no other with it. v4: requests stand by
themselves, with `Prefer: odata.continue-on-error`. From changes to one body, and from the answer's body back to one
answer for each change; what the answer does not speak of (a batch that broke off in the middle) is None.

Sources: OData v2 "Batch Processing"; OData Protocol 4.01, 11.7.7 (multipart batch).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx

_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


@dataclass(frozen=True)
class Part:
    """A request of a batch; `path` is relative to the service."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None


def joined(parts: Sequence[Part], *, changesets: bool) -> tuple[str, bytes]:
    """Content type and body of a batch."""
    batch = f"batch_{uuid.uuid4().hex}"
    lines: list[bytes] = []
    for number, part in enumerate(parts, 1):
        lines.append(f"--{batch}".encode())
        if changesets:
            changeset = f"changeset_{number}_{uuid.uuid4().hex[:8]}"
            lines += [f"Content-Type: multipart/mixed; boundary={changeset}".encode(), b"", f"--{changeset}".encode()]
            lines += [*_request(number, part), f"--{changeset}--".encode(), b""]
        else:
            lines += _request(number, part)
    lines += [f"--{batch}--".encode(), b""]
    return f"multipart/mixed; boundary={batch}", b"\r\n".join(lines)


def _request(number: int, part: Part) -> list[bytes]:
    headers = dict(part.headers)
    if part.body is not None:
        headers["Content-Length"] = str(len(part.body))
    return [
        b"Content-Type: application/http",
        b"Content-Transfer-Encoding: binary",
        f"Content-ID: {number}".encode(),
        b"",
        f"{part.method} {part.path} HTTP/1.1".encode(),
        *(f"{name}: {value}".encode() for name, value in headers.items()),
        b"",
        part.body or b"",
    ]


def split(response: httpx.Response, count: int) -> list[httpx.Response | None]:
    """The answer to each of `count` requests, in their order; None for those that the batch says nothing of.

    Answers are told apart by their Content-ID where they bear one, else by their place, which counts only if there are
    as many as requests.
    """
    found = list(_answers(response.headers.get("content-type", ""), response.content))
    by_id = {number: answer for number, answer in found if number is not None}
    if len(by_id) == len(found) and set(by_id) <= set(range(1, count + 1)):
        return [by_id.get(number) for number in range(1, count + 1)]
    if len(found) == count:
        return [answer for _, answer in found]
    return [None] * count


def _answers(content_type: str, body: bytes) -> Iterator[tuple[int | None, httpx.Response]]:
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return
    for chunk in _chunks(body, boundary[1].encode()):
        headers, content = _headed(chunk)
        kind = headers.get("content-type", "")
        if kind.startswith("multipart/"):
            yield from _answers(kind, content)
        elif answer := _answer(content):
            named = headers.get("content-id") or str(answer.headers.get("content-id") or "")
            yield (int(named) if named.isdigit() else None), answer


def _chunks(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """What stands between the delimiters; a last part without its delimiter was cut off and is left out."""
    pieces = re.split(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(?:--)?[ \t]*(?=\r?\n|\Z)", body)
    for piece in pieces[1:-1]:
        yield piece.lstrip(b"\r\n")


def _headed(chunk: bytes) -> tuple[dict[str, str], bytes]:
    """Headers, by lower-case name, and what follows them."""
    if chunk.startswith((b"\r\n", b"\n")):
        return {}, chunk
    end = re.search(rb"\r?\n\r?\n", chunk)
    head, content = (chunk[: end.start()], chunk[end.end() :]) if end else (chunk, b"")
    lines = (line.partition(b":") for line in head.splitlines() if b":" in line)
    return {name.strip().lower().decode("latin-1"): text.strip().decode("latin-1") for name, _, text in lines}, content


def _answer(content: bytes) -> httpx.Response | None:
    content = content.lstrip(b"\r\n")
    status = _STATUS.match(content)
    if status is None:
        return None
    headers, body = _headed(content.split(b"\n", 1)[1] if b"\n" in content else b"")
    # the length is that of the body as it was sent; httpx would decode what these two name
    told = {name: value for name, value in headers.items() if name not in {"content-length", "content-encoding"}}
    return httpx.Response(int(status[1]), headers=told, content=body)
