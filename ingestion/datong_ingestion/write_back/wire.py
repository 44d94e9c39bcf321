"""HTTP for write-back: reads that may be repeated, and writes that never are without having read back.

A write is one request. Whatever leaves open whether it took effect (no answer, half an answer, a 5xx) is told as
unclear and decided by reading back. Only what certainly had no effect is repeated here: a 429, which asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from datong_platform.errors import DatongError, ProtocolError

from datong_ingestion.http import HttpClient, UnclearOutcomeError, UnreadableBodyError
from datong_ingestion.write_back.target import Outcome

_CONFLICTS = {409, 412, 428}
_GONE = {404, 410}
_TOLD = frozenset(range(300, 600)) - {429}
"""Statuses that are judged here. 503 is one of them: proxies answer it for requests that did arrive."""
_ERRORS_SHOWN = 5


@dataclass(frozen=True)
class Answer:
    """A write's outcome with what the target answered; `json` is None when that was no JSON."""

    outcome: Outcome
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    json: Any = None


class Wire:
    """The shared client, as write-back uses it. `thing` names the target in messages."""

    def __init__(self, thing: str, client: HttpClient) -> None:
        self.thing = thing
        self.client = client

    def close(self) -> None:
        """Close its connections."""
        self.client.close()

    def get_json(self, url: str, params: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Any:
        """The JSON at an address; tried again when it cannot be read."""

        def read(response: httpx.Response) -> Any:
            try:
                return response.json()
            except ValueError as error:
                raise UnreadableBodyError(f"it is no JSON ({error})") from error

        return self.client.fetch(
            read, "GET", url, thing=self.thing, params=params, headers={"Accept": "application/json", **(headers or {})}
        )

    def write(
        self,
        method: str,
        url: str,
        body: Any,
        *,
        headers: Mapping[str, str],
        cookies: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a write and tell what is known afterwards. `body` is sent as JSON, None sends none."""
        found = self.exchange(method, url, encoded(body), headers={**json_headers(body), **headers}, cookies=cookies)
        return Answer(found) if isinstance(found, Outcome) else judged(found, self.client.redact, method)

    def exchange(
        self,
        method: str,
        url: str,
        content: bytes | None,
        *,
        headers: Mapping[str, str],
        cookies: Mapping[str, str] | None = None,
    ) -> httpx.Response | Outcome:
        """Send a request once and return its answer, whatever its status, or what is known when there is none."""
        try:
            return self.client.request(
                method,
                url,
                thing=self.thing,
                headers=headers,
                content=content,
                cookies=cookies,
                repeatable=False,
                accept=_TOLD,
            )
        except UnclearOutcomeError as error:
            return Outcome("unclear", None, error.reason)
        except ProtocolError as error:
            # an answer came and could not be taken in (too large, cut off): the request may have been carried out
            return Outcome("unclear", None, error.reason)
        except DatongError as error:
            # what is left of the client's errors (no connection, 429 to the end) had no effect for sure
            return Outcome("not_sent", None, error.reason, retry_after=getattr(error, "retry_after", None))


def encoded(body: Any) -> bytes | None:
    """A body as JSON in UTF-8; None when there is none."""
    return None if body is None else json.dumps(body, ensure_ascii=False).encode()


def json_headers(body: Any) -> dict[str, str]:
    """What a request with this JSON body says of it."""
    return {"Accept": "application/json", **({} if body is None else {"Content-Type": "application/json"})}


def judged(response: httpx.Response, redact: Callable[[str], str], method: str = "") -> Answer:
    """What an answer to a write tells."""
    words = redact(words_of(response))
    status = response.status_code
    try:
        content = response.json()
    except ValueError:
        content = None
    if 200 <= status < 300:
        outcome = Outcome("accepted", status)
    elif method == "DELETE" and status in _GONE:
        outcome = Outcome("accepted", status, f"it was gone already: {words}")
    elif status in _CONFLICTS:
        outcome = Outcome("conflict", status, words)
    elif status == 408 or status >= 500:
        outcome = Outcome("unclear", status, words)
    else:
        outcome = Outcome("refused", status, words)
    return Answer(outcome, response.headers, content)


def words_of(response: httpx.Response) -> str:
    """What the other side said, in one line: SAP's error with its details, the usual JSON shapes, else the text."""
    try:
        content = response.json()
    except ValueError:
        text = " ".join(response.text.split())[:500]
        return f"{response.status_code} {text or response.reason_phrase}"
    return f"{response.status_code} {_said(content)}"


def _said(content: Any) -> str:
    if isinstance(content, dict):
        error = content.get("error", content)
        if isinstance(error, dict):
            message = error.get("message", error.get("detail", error.get("title")))
            if isinstance(message, dict):
                message = message.get("value")
            if message:
                details = error.get("innererror", {})
                listed = details.get("errordetails", []) if isinstance(details, dict) else []
                more = [
                    f"{item.get('code', '')} {item.get('message', '')}".strip()
                    for item in listed[:_ERRORS_SHOWN]
                    if isinstance(item, dict) and item.get("message") != message
                ]
                return "; ".join(filter(None, [f"{error.get('code', '')} {message}".strip(), *more]))
        elif error:
            return str(error)
    return json.dumps(content, ensure_ascii=False)[:500]


def at(content: Any, path: str) -> Any:
    """What lies at a dotted path in JSON; None when nothing does."""
    for part in filter(None, path.split(".")):
        if not isinstance(content, dict):
            return None
        content = content.get(part)
    return content


def rows_with_keys(thing: str, rows: list[dict[str, Any]], field_name: str, keys: set[str]) -> None:
    """ProtocolError when the target returned records that nobody asked for: it ignores the condition, so that a record
    that is not in the answer may well exist."""
    strangers = [str(row.get(field_name)) for row in rows if str(row.get(field_name)) not in keys]
    if strangers:
        raise ProtocolError(
            thing,
            f"ignores the condition on {field_name}: asked for {', '.join(sorted(keys)[:3])}, it returned "
            f"{', '.join(strangers[:3])}.",
            "nothing was sent; mend `lookup` in the flow's defs.yaml.",
        )
