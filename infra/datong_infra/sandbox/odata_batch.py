"""Bodies of $batch: multipart/mixed with application/http parts, changesets nested (OData 2.0, batch processing)."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from http import HTTPStatus

from datong_infra.sandbox.odata_query import ODataError
from datong_infra.sandbox.odata_server import Request, Response

_CRLF = b"\r\n"


@dataclass
class Part:
    """The answer to one part, with the Content-ID that it had."""

    response: Response
    content_id: str


def split_batch(request: Request) -> list[Request | list[Request]]:
    """The operations of a batch, in order: a request, or the requests of a changeset. Paths are as they were sent."""
    operations: list[Request | list[Request]] = []
    for headers, body in _parts(request.headers.get("content-type", ""), request.body):
        kind = headers.get("content-type", "")
        if kind.lower().startswith("multipart/mixed"):
            operations.append([_request(h, b) for h, b in _parts(kind, body)])
        else:
            operations.append(_request(headers, body))
    return operations


def _unreadable(why: str) -> ODataError:
    return ODataError(400, "/IWBEP/CM_MGW_RT/077", f"Error while parsing the batch: {why}")


def _parts(content_type: str, body: bytes) -> list[tuple[dict[str, str], bytes]]:
    match = re.search(r'boundary="?([^";,]+)"?', content_type)
    if not match:
        raise _unreadable("the Content-Type has no boundary")
    pieces = re.split(rb"(?:\A|\r?\n)--" + re.escape(match[1].strip().encode()) + rb"(--)?[ \t]*(?:\r?\n|\Z)", body)
    if len(pieces) < 3 or b"--" not in pieces:
        raise _unreadable(f"the boundary '{match[1]}' does not enclose any part")
    found: list[tuple[dict[str, str], bytes]] = []
    # re.split gives: preamble, closing mark or None, part, mark or None, part, …
    for piece, closing in zip(pieces[2::2], pieces[1::2], strict=False):
        if closing:
            break
        found.append(_headers(piece))
    return found


def _headers(text: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = re.sub(rb"\r?\n", b"\n", text).partition(b"\n\n")
    headers: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\n"):
        name, separator, value = line.partition(":")
        if separator:
            headers[name.strip().lower()] = value.strip()
    return headers, body


def _request(headers: dict[str, str], body: bytes) -> Request:
    line, _, rest = body.lstrip(b"\n").partition(b"\n")
    match = re.fullmatch(r"([A-Z]+) (\S+)(?: HTTP/1\.\d)?", line.decode("utf-8", "replace").strip())
    if not match:
        raise _unreadable(f"'{line[:80].decode('utf-8', 'replace')}' is not a request line")
    inner, content = _headers(rest) if not rest.startswith(b"\n") else ({}, rest[1:])
    if "content-id" in headers:
        inner.setdefault("content-id", headers["content-id"])
    return Request(match[1], match[2], "", inner, content.strip())


def join_parts(answers: list[Part | list[Part]]) -> Response:
    """The answer to a batch; a list stands for a changeset that succeeded."""
    boundary = secrets.token_hex(16).upper()
    pieces: list[bytes] = []
    for answer in answers:
        if isinstance(answer, list):
            inner = secrets.token_hex(16).upper()
            body = b"".join(b"--%s\r\n%s\r\n" % (inner.encode(), _part(one)) for one in answer)
            body += b"--%s--\r\n" % inner.encode()
            head = f"Content-Type: multipart/mixed; boundary={inner}\r\nContent-Length: {len(body)}\r\n\r\n"
            pieces.append(head.encode() + body)
        else:
            pieces.append(_part(answer))
    text = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), piece) for piece in pieces)
    text += b"--%s--\r\n" % boundary.encode()
    return Response(202, text, {"content-type": f"multipart/mixed; boundary={boundary}", "dataserviceversion": "2.0"})


def _part(part: Part) -> bytes:
    response = part.response
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name.title()}: {value}" for name, value in response.headers.items()]
    lines.append(f"Content-Length: {len(response.body)}")
    http = "\r\n".join(lines).encode() + _CRLF * 2 + response.body
    head = f"Content-Type: application/http\r\nContent-Length: {len(http)}\r\ncontent-transfer-encoding: binary\r\n"
    if part.content_id:
        head += f"Content-ID: {part.content_id}\r\n"
    return head.encode() + _CRLF + http
