"""Write-back to OData v2 (SAP Gateway) and v4 (S/4HANA, Dynamics 365, Business Central): POST with deep insert, PATCH
and DELETE with If-Match, function imports (v2) and actions (v4), one by one or many in a `$batch`.

Guards against: half a batch that failed (each change is answered for itself, and what is not answered is unclear), a
missing or expired CSRF token (fetched with its cookie, and again when the gateway asks; a v4 service that wants none is
never asked for one), a lost update (the ETag is the one just read; 412 is a conflict), an answer that says nothing of
the record (it is read back), a field that the service does not have (told before sending).
Records are looked up by an `or` filter over many keys, and their pages followed to the end. Keys are written as the
service's `$metadata` types them.

Sources: OData v2 "Operations"; OData Protocol 4.01, 11.4 (data modification), 11.5.5 (actions), 8.2.8.8 (Prefer:
return); OData ABNF.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast
from urllib.parse import quote

import httpx
from datong_platform.errors import AuthenticationError, ConfigurationError, DatongError, ProtocolError, TransientError

from datong_ingestion.pace import Pace
from datong_ingestion.protocols.odata import Action, EntitySet, OData
from datong_ingestion.systems_config import EntityConfig
from datong_ingestion.write_back.batches import Part, joined, split
from datong_ingestion.write_back.config import FlowConfig, Operation
from datong_ingestion.write_back.payload import Dialect
from datong_ingestion.write_back.target import Change, Found, Outcome, gathered
from datong_ingestion.write_back.wire import Answer, Wire, encoded, json_headers, judged, rows_with_keys

_MAX_PAGES = 1000
_SAFE = "'():,"
"""What stands in an address as it is: the signs of keys and of literals."""
_V2_DATE = re.compile(r"/Date\((-?\d+)(?:[+-]\d+)?\)/\Z")


@dataclass(frozen=True)
class _Session:
    token: str
    cookies: dict[str, str]


class ODataTarget:
    """An entity set of an OData service, as a write-back target."""

    can_be_asked = True
    operations: frozenset[Operation] = frozenset({"create", "update", "delete", "call"})

    def __init__(
        self, flow: FlowConfig, source: OData, version: Literal["odata_v2", "odata_v4"], pace: Pace | None = None
    ) -> None:
        self.dialect: Dialect = version
        self._config = flow.target
        self._flow = flow
        self._thing = f"{flow.target.system} {flow.target.resource} (write-back flow {flow.flow})"
        self._wire = Wire(self._thing, source.http)
        self._source = source
        self._pace = source.http.pace = pace or Pace()
        self._entity = EntityConfig(name="target", source=flow.target.resource)
        service, path = source.address(self._entity)
        if not path or (version == "odata_v2" and not service):
            raise ConfigurationError(
                f"write-back flow {flow.flow}",
                f"resource {flow.target.resource!r} is not SERVICE/EntitySet.",
                "write it as API_MATERIAL_DOCUMENT_SRV/A_MaterialDocumentHeader.",
            )
        self._service = source.root(service)
        self._path = path
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

    def recorded(self, keys: Sequence[str]) -> None:
        """Nothing to forget: the records stay where they are."""

    def lookup(
        self, keys: Sequence[str], sent: Mapping[str, str] | None = None
    ) -> dict[str, list[Found] | DatongError]:
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
        size = self._flow.batch
        groups = [changes[at : at + size] for at in range(0, len(changes), size)]

        def work(group: Sequence[Change]) -> dict[str, Outcome]:
            outcomes = self._send(group)
            for change in group:
                on_reply(change, outcomes[change.key])
            return outcomes

        return {key: outcome for told in self._pool.map(work, groups) for key, outcome in told.items()}

    def _send(self, changes: Sequence[Change]) -> dict[str, Outcome]:
        """Some changes by one request."""
        told: dict[str, Outcome] = {}
        parts: list[tuple[Change, Part]] = []
        for change in changes:
            try:
                parts.append((change, self._part(change)))
            except DatongError as error:
                told[change.key] = Outcome("not_sent", None, error.reason)
        if not parts:
            return told
        self._pace.take(len(parts))
        session = self._session
        try:
            if self.dialect == "odata_v2":
                session = self._open_session(session)
            found = self._request(parts, session)
            if isinstance(found, httpx.Response) and _wants_token(found):
                # the session ended, or the first write of a v4 service that wants a token: it was refused unread
                found = self._request(parts, self._open_session(session, stale=True))
        except DatongError as error:
            again = getattr(error, "retry_after", None)
            outcome = Outcome("not_sent", None, f"no CSRF token: {error}", retry_after=again)
            return told | {change.key: outcome for change, _ in parts}
        return told | self._told(parts, found)

    def _told(self, parts: Sequence[tuple[Change, Part]], found: httpx.Response | Outcome) -> dict[str, Outcome]:
        """What is known of each change of a request."""
        if isinstance(found, Outcome):
            return {change.key: found for change, _ in parts}
        redact = self._wire.client.redact
        if len(parts) == 1:
            [(change, part)] = parts
            return {change.key: self._with_key(judged(found, redact, part.method), change)}
        whole = judged(found, redact)
        if whole.outcome.kind != "accepted":
            return {change.key: whole.outcome for change, _ in parts}
        silence = Outcome("unclear", found.status_code, "the batch was answered without a word of this change")
        return {
            change.key: silence if answer is None else self._with_key(judged(answer, redact, part.method), change)
            for (change, part), answer in zip(parts, split(found, len(parts)), strict=True)
        }

    def _request(self, parts: Sequence[tuple[Change, Part]], session: _Session | None) -> httpx.Response | Outcome:
        token = {"X-CSRF-Token": session.token} if session else {}
        cookies = session.cookies if session else None
        if len(parts) == 1:
            part = parts[0][1]
            url = f"{self._service}{part.path}"
            headers = {**part.headers, **token}
            return self._wire.exchange(part.method, url, part.body, headers=headers, cookies=cookies)
        kind, body = joined([part for _, part in parts], changesets=self.dialect == "odata_v2")
        headers = {**self._source.headers, "Accept": "multipart/mixed", "Content-Type": kind, **token}
        if self.dialect == "odata_v4":
            headers["Prefer"] = "odata.continue-on-error"
        return self._wire.exchange("POST", f"{self._service}$batch", body, headers=headers, cookies=cookies)

    def _part(self, change: Change) -> Part:
        """The request of one change, its path relative to the service."""
        found, headers = change.found, dict(self._source.headers)
        if found is not None and found.etag:
            headers["If-Match"] = found.etag
        body: Mapping[str, Any] | None = change.payload
        method, path = "POST", self._path
        if change.operation == "call":
            method, path, body = self._call(change)
        elif found is not None:
            method, path = "PATCH", f"{path}({self._key_predicate(found.identity)})"
            # the key stands in the address; sending it along is refused by some services
            body = {name: value for name, value in change.payload.items() if name not in self._config.identity}
            if change.operation == "delete":
                method, body = "DELETE", None
        return Part(method, path, {**headers, **json_headers(body)}, encoded(body))

    def _call(self, change: Change) -> tuple[str, str, Mapping[str, Any] | None]:
        """Method, path and body of an action: v2 takes parameters in the address, v4 as JSON."""
        action = self._action()
        identity = dict(zip(self._config.identity, change.found.identity, strict=True)) if change.found else {}
        if self.dialect == "odata_v4":
            if not action.is_bound:
                return "POST", action.name, change.parameters
            if change.found is None:
                raise ConfigurationError(self._thing, f"action {action.name} needs a record, and none was found.")
            return (
                "POST",
                f"{self._path}({self._key_predicate(change.found.identity)})/{action.name}",
                change.parameters,
            )
        given = {name: value for name, value in identity.items() if name in action.parameters} | dict(change.parameters)
        options = "&".join(
            f"{name}={quote(self._written(action.parameters[name], str(value)), safe=_SAFE)}"
            for name, value in given.items()
        )
        return action.method, f"{action.name}?{options}" if options else action.name, None

    def _action(self) -> Action:
        """What the service says of the flow's action; ConfigurationError when it has none of this name, or other
        parameters."""
        name = self._flow.action.name if self._flow.action else ""
        service = self._source.address(self._entity)[0]
        actions = self._source.service(service, self._thing).actions
        if name not in actions:
            raise ConfigurationError(
                f"write-back flow {self._flow.flow}",
                f"calls {name!r}, which the service of {self._config.resource} does not offer.",
                f"choose from {', '.join(sorted(actions)) or 'none: the service has no actions'}.",
            )
        given = self._flow.action.parameters if self._flow.action else {}
        if unknown := [item for item in given if item not in actions[name].parameters]:
            raise ConfigurationError(
                f"write-back flow {self._flow.flow}",
                f"calls {name} with {', '.join(unknown)}, which it does not take.",
                f"choose from {', '.join(actions[name].parameters) or 'none: it takes no parameters'}.",
            )
        return actions[name]

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

    def _with_key(self, answer: Answer, change: Change) -> Outcome:
        content = answer.json
        if change.operation in {"delete", "call"}:
            held = change.found.target_key if change.found else None
            return replace(answer.outcome, target_key=held)
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
        return self._written(
            next((item.edm for item in self._entity_set.properties if item.name == field), "Edm.String"), value
        )

    def _written(self, edm: str, value: str) -> str:
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


def _wants_token(answer: httpx.Response) -> bool:
    return answer.status_code == 403 and answer.headers.get("x-csrf-token", "").lower() == "required"
