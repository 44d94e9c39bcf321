"""Write-back to OData v2 (SAP Gateway): POST with deep insert, PATCH with If-Match.

Guards against: a missing or expired CSRF token (fetched with its cookie, and again when the gateway asks), a lost
update (the ETag is the one just read; 412 is a conflict), an answer that says nothing of the record (it is read back).
Records are looked up by an `or` filter over many keys, and their pages followed to the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

from datong_platform.errors import AuthenticationError, ConfigurationError, DatongError, ProtocolError, TransientError

from datong_ingestion.connections.odata import ODataConnection
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.payload import Dialect
from datong_ingestion.write_back.target import Change, Found, Outcome
from datong_ingestion.write_back.wire import Answer, Wire, rows_with_keys

_MAX_PAGES = 1000


@dataclass(frozen=True)
class _Session:
    token: str
    cookies: dict[str, str]


class ODataTarget:
    """An entity set of an OData v2 service, as a write-back target."""

    dialect: Dialect = "odata_v2"

    def __init__(self, flow: FlowConfig, connection: ODataConnection, wire: Wire) -> None:
        service, _, entity_set = flow.target.resource.partition("/")
        if not entity_set:
            raise ConfigurationError(
                f"write-back flow {flow.flow}",
                f"resource {flow.target.resource!r} is not SERVICE/EntitySet.",
                "write it as API_MATERIAL_DOCUMENT_SRV/A_MaterialDocumentHeader.",
            )
        self._config = flow.target
        self._thing = wire.thing
        self._wire = wire
        self._service = f"{connection.base_url.rstrip('/')}/{service}"
        self._set = f"{self._service}/{entity_set}"
        self._pool = ThreadPoolExecutor(connection.concurrency, thread_name_prefix=f"write-back-{flow.flow}")
        self._session: _Session | None = None
        self._session_lock = threading.Lock()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._wire.close()

    def lookup(self, keys: Sequence[str]) -> dict[str, list[Found] | DatongError]:
        size = self._config.lookup_rows
        return gathered(self._pool.map(self._look, [keys[at : at + size] for at in range(0, len(keys), size)]))

    def _look(self, keys: Sequence[str]) -> dict[str, list[Found] | DatongError]:
        try:
            rows = self._read(keys)
        except (AuthenticationError, ConfigurationError):
            raise
        except DatongError as error:
            return dict.fromkeys(keys, error)
        held: dict[str, list[Found] | DatongError] = {key: [] for key in keys}
        for row in rows:
            cast("list[Found]", held[str(row[self._config.lookup])]).append(self._found(row))
        return held

    def _read(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        condition = " or ".join(f"{self._config.lookup} eq {_literal(key)}" for key in keys)
        params = {"$filter": condition, "$format": "json"}
        if self._config.expand:
            params["$expand"] = ",".join(self._config.expand)
        rows: list[dict[str, Any]] = []
        content = self._wire.get_json(self._set, params)
        for _ in range(_MAX_PAGES):
            page = content.get("d") if isinstance(content, dict) else None
            results = page.get("results") if isinstance(page, dict) else page
            if not isinstance(results, list):
                raise ProtocolError(self._thing, "answered a query without a list of results.", "check the service.")
            rows += results
            following = page.get("__next") if isinstance(page, dict) else None
            if not following:
                break
            content = self._wire.get_json(self._wire.client.url(following, self._set), {})
        else:
            raise ProtocolError(self._thing, f"has more than {_MAX_PAGES} pages for {len(keys)} keys.")
        rows_with_keys(self._thing, rows, self._config.lookup, set(keys))
        return rows

    def _found(self, row: Mapping[str, Any]) -> Found:
        identity = self._identity(row)
        metadata: Mapping[str, Any] = row.get("__metadata") or {}
        return Found(dict(row), metadata.get("etag"), "/".join(identity), identity)

    def _identity(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        missing = [name for name in self._config.identity if name not in row]
        if missing:
            raise ConfigurationError(
                self._thing, f"has no field {', '.join(missing)}, which `identity` names.", "mend the flow's defs.yaml."
            )
        return tuple(str(row[name]) for name in self._config.identity)

    def send(self, changes: Sequence[Change], on_reply: Callable[[Change, Outcome], None]) -> dict[str, Outcome]:
        def one(change: Change) -> tuple[str, Outcome]:
            outcome = self._send(change)
            on_reply(change, outcome)
            return change.key, outcome

        return dict(self._pool.map(one, changes))

    def _send(self, change: Change) -> Outcome:
        session = self._session
        try:
            session = self._open_session(session)
            answer = self._request(change, session)
            if _wants_token(answer):
                # the session ended: the gateway refused the request before looking at it
                answer = self._request(change, self._open_session(session, stale=True))
        except DatongError as error:
            return Outcome("not_sent", None, f"no CSRF token: {error}")
        return self._with_key(answer)

    def _request(self, change: Change, session: _Session) -> Answer:
        headers = {"X-CSRF-Token": session.token}
        if change.found is None:
            return self._wire.write("POST", self._set, change.payload, headers=headers, cookies=session.cookies)
        if change.found.etag:
            headers["If-Match"] = change.found.etag
        url = f"{self._set}({_key_predicate(self._config.identity, change.found.identity)})"
        # the key stands in the address; sending it along is refused by some services
        body = {name: value for name, value in change.payload.items() if name not in self._config.identity}
        return self._wire.write("PATCH", url, body, headers=headers, cookies=session.cookies)

    def _open_session(self, known: _Session | None, *, stale: bool = False) -> _Session:
        """A CSRF token with its cookies, fetched once for all threads."""
        if known is not None and not stale:
            return known
        with self._session_lock:
            if self._session is None or self._session is known:
                response = self._wire.client.request(
                    "GET",
                    f"{self._service}/",
                    thing=self._thing,
                    headers={"X-CSRF-Token": "Fetch", "Accept": "application/json"},
                )
                token = response.headers.get("x-csrf-token")
                if not token:
                    raise TransientError(self._thing, "gave no CSRF token.", "check that the service allows writing.")
                self._session = _Session(token, dict(response.cookies))
            return self._session

    def _with_key(self, answer: Answer) -> Outcome:
        record = answer.json.get("d") if isinstance(answer.json, dict) else None
        if answer.outcome.kind != "accepted" or not isinstance(record, dict):
            return answer.outcome
        key = "/".join(str(record[name]) for name in self._config.identity if name in record)
        return Outcome(answer.outcome.kind, answer.outcome.status, answer.outcome.words, key or None)


def gathered(pieces: Iterable[dict[str, list[Found] | DatongError]]) -> dict[str, list[Found] | DatongError]:
    """The pieces of a lookup; TransientError when every one of them failed for a passing reason: nobody is there."""
    held: dict[str, list[Found] | DatongError] = {}
    for piece in pieces:
        held |= piece
    failures = [item for item in held.values() if isinstance(item, TransientError)]
    if failures and len(failures) == len(held):
        raise failures[0]
    return held


def _wants_token(answer: Answer) -> bool:
    return answer.outcome.status == 403 and answer.headers.get("x-csrf-token", "").lower() == "required"


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _key_predicate(names: Sequence[str], values: Sequence[str]) -> str:
    quoted = [quote(_literal(value), safe="'") for value in values]
    if len(names) == 1:
        return quoted[0]
    return ",".join(f"{name}={value}" for name, value in zip(names, quoted, strict=True))
