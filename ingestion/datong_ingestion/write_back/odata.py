"""Write-back to OData v2 (SAP Gateway) and v4 (S/4HANA, Dynamics 365, Business Central): POST with deep insert, PATCH
with If-Match.

Guards against: a missing or expired CSRF token (fetched with its cookie, and again when the gateway asks; a v4 service
that wants none is never asked for one), a lost update (the ETag is the one just read; 412 is a conflict), an answer
that says nothing of the record (it is read back), a field that the service does not have (told before sending).
Records are looked up by an `or` filter over many keys, and their pages followed to the end. Keys are written as the
service's `$metadata` types them.

Sources: OData v2 "Operations"; OData Protocol 4.01, 11.4 (data modification), 8.2.8.8 (Prefer: return); OData ABNF.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast
from urllib.parse import quote

from datong_platform.errors import AuthenticationError, ConfigurationError, DatongError, ProtocolError, TransientError

from datong_ingestion.protocols.odata import EntitySet, OData
from datong_ingestion.systems_config import EntityConfig
from datong_ingestion.write_back.config import FlowConfig, Operation
from datong_ingestion.write_back.payload import Dialect
from datong_ingestion.write_back.target import Change, Found, Outcome, gathered
from datong_ingestion.write_back.wire import Answer, Wire, rows_with_keys

_MAX_PAGES = 1000
_V2_DATE = re.compile(r"/Date\((-?\d+)(?:[+-]\d+)?\)/\Z")


@dataclass(frozen=True)
class _Session:
    token: str
    cookies: dict[str, str]


class ODataTarget:
    """An entity set of an OData service, as a write-back target."""

    operations: frozenset[Operation] = frozenset({"create", "update"})

    def __init__(self, flow: FlowConfig, source: OData, version: Literal["odata_v2", "odata_v4"]) -> None:
        self.dialect: Dialect = version
        self._config = flow.target
        self._flow = flow
        self._thing = f"{flow.target.system} {flow.target.resource} (write-back flow {flow.flow})"
        self._wire = Wire(self._thing, source.http)
        self._source = source
        self._entity = EntityConfig(name="target", source=flow.target.resource)
        service, path = source.address(self._entity)
        if not path or (version == "odata_v2" and not service):
            raise ConfigurationError(
                f"write-back flow {flow.flow}",
                f"resource {flow.target.resource!r} is not SERVICE/EntitySet.",
                "write it as API_MATERIAL_DOCUMENT_SRV/A_MaterialDocumentHeader.",
            )
        self._service = source.root(service)
        self._set = f"{self._service}{path}"
        self._known: EntitySet | None = None
        self._known_lock = threading.Lock()
        self._pool = ThreadPoolExecutor(source.connection.concurrency, thread_name_prefix=f"write-back-{flow.flow}")
        self._session: _Session | None = None
        self._session_lock = threading.Lock()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._source.close()

    @property
    def _entity_set(self) -> EntitySet:
        """What the service says of the entity set; ConfigurationError when it lacks a field that the flow names."""
        with self._known_lock:
            if self._known is None:
                found = self._source.entity_set(self._entity)
                fields = {item.name for item in found.properties}
                named = [self._config.lookup, *self._config.identity, *self._flow.payload, *self._config.expand]
                missing = [
                    name for name in dict.fromkeys(named) if name not in fields and name not in found.navigations
                ]
                if missing:
                    raise ConfigurationError(
                        f"write-back flow {self._flow.flow}",
                        f"names fields that {self._config.resource} does not have: {', '.join(missing)}.",
                        f"mend its defs.yaml; the service has {', '.join(sorted(fields | found.navigations.keys()))}.",
                    )
                self._known = found
            return self._known

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
        field = self._config.lookup
        params = {"$filter": " or ".join(f"{field} eq {self._literal(field, key)}" for key in keys)}
        params |= {"$format": "json"} if self.dialect == "odata_v2" else {}
        if self._config.expand:
            params["$expand"] = ",".join(self._config.expand)
        rows: list[dict[str, Any]] = []
        content = self._wire.get_json(self._set, params, self._source.headers)
        for _ in range(_MAX_PAGES):
            results, following = self._page(content)
            rows += results
            if not following:
                break
            content = self._wire.get_json(self._wire.client.url(following, self._set), {}, self._source.headers)
        else:
            raise ProtocolError(self._thing, f"has more than {_MAX_PAGES} pages for {len(keys)} keys.")
        rows_with_keys(self._thing, rows, self._config.lookup, set(keys))
        return rows

    def _page(self, content: Any) -> tuple[list[dict[str, Any]], str | None]:
        """The rows of an answer, and the link to what follows."""
        if self.dialect == "odata_v2":
            page = content.get("d") if isinstance(content, dict) else None
            results = page.get("results") if isinstance(page, dict) else page
            following = page.get("__next") if isinstance(page, dict) else None
        else:
            results = content.get("value") if isinstance(content, dict) else None
            following = content.get("@odata.nextLink") or content.get("@nextLink") if results is not None else None
        if not isinstance(results, list):
            raise ProtocolError(self._thing, "answered a query without a list of results.", "check the service.")
        return results, following

    def _found(self, row: Mapping[str, Any]) -> Found:
        identity = self._identity(row)
        return Found(dict(row), _etag(row), "/".join(identity), identity)

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
            if self.dialect == "odata_v2":
                session = self._open_session(session)
            answer = self._request(change, session)
            if _wants_token(answer):
                # the session ended, or the first write of a v4 service that wants a token: it was refused unread
                answer = self._request(change, self._open_session(session, stale=True))
        except DatongError as error:
            return Outcome("not_sent", None, f"no CSRF token: {error}")
        return self._with_key(answer)

    def _request(self, change: Change, session: _Session | None) -> Answer:
        headers, cookies = dict(self._source.headers), session.cookies if session else None
        if session:
            headers["X-CSRF-Token"] = session.token
        if change.found is None:
            return self._wire.write("POST", self._set, change.payload, headers=headers, cookies=cookies)
        if change.found.etag:
            headers["If-Match"] = change.found.etag
        url = f"{self._set}({self._key_predicate(change.found.identity)})"
        # the key stands in the address; sending it along is refused by some services
        body = {name: value for name, value in change.payload.items() if name not in self._config.identity}
        return self._wire.write("PATCH", url, body, headers=headers, cookies=cookies)

    def _open_session(self, known: _Session | None, *, stale: bool = False) -> _Session:
        """A CSRF token with its cookies, fetched once for all threads."""
        if known is not None and not stale:
            return known
        with self._session_lock:
            if self._session is None or self._session is known:
                response = self._wire.client.request(
                    "GET",
                    self._service,
                    thing=self._thing,
                    headers={**self._source.headers, "X-CSRF-Token": "Fetch", "Accept": "application/json"},
                )
                token = response.headers.get("x-csrf-token")
                if not token:
                    raise TransientError(self._thing, "gave no CSRF token.", "check that the service allows writing.")
                self._session = _Session(token, dict(response.cookies))
            return self._session

    def _with_key(self, answer: Answer) -> Outcome:
        content = answer.json
        if self.dialect == "odata_v2":
            content = content.get("d") if isinstance(content, dict) else None
        if answer.outcome.kind != "accepted" or not isinstance(content, dict):
            return answer.outcome
        key = "/".join(str(content[name]) for name in self._config.identity if name in content)
        return Outcome(answer.outcome.kind, answer.outcome.status, answer.outcome.words, key or None)

    def _key_predicate(self, values: Sequence[str]) -> str:
        names = self._config.identity
        quoted = [quote(self._literal(name, value), safe="'") for name, value in zip(names, values, strict=True)]
        if len(names) == 1:
            return quoted[0]
        return ",".join(f"{name}={value}" for name, value in zip(names, quoted, strict=True))

    def _literal(self, field: str, value: str) -> str:
        """A value, as it stands in JSON, as it stands in an address: by the field's type in `$metadata`."""
        edm = next((item.edm for item in self._entity_set.properties if item.name == field), "Edm.String")
        if edm == "Edm.String":
            return "'" + value.replace("'", "''") + "'"
        if self.dialect == "odata_v4":
            return value.lower() if edm == "Edm.Boolean" else value
        return _V2_LITERALS.get(edm, str)(value)


def _v2_moment(value: str) -> str:
    """A time without zone, from `/Date(ms)/` or ISO 8601."""
    if match := _V2_DATE.match(value):
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(match[1]))).isoformat()[:19]
    return value[:19]


_V2_LITERALS: dict[str, Callable[[str], str]] = {
    "Edm.Guid": lambda value: f"guid'{value}'",
    "Edm.Int64": lambda value: f"{value}L",
    "Edm.Decimal": lambda value: f"{value}M",
    "Edm.DateTime": lambda value: f"datetime'{_v2_moment(value)}'",
    "Edm.DateTimeOffset": lambda value: f"datetimeoffset'{_v2_moment(value)}Z'",
    "Edm.Boolean": str.lower,
}
"""Primitive literals that are not written as they are (OData v2, "Abstract Type System")."""


def _etag(row: Mapping[str, Any]) -> str | None:
    metadata: Mapping[str, Any] = row.get("__metadata") or {}
    return metadata.get("etag") or row.get("@odata.etag") or row.get("@etag")


def _wants_token(answer: Answer) -> bool:
    return answer.outcome.status == 403 and answer.headers.get("x-csrf-token", "").lower() == "required"
