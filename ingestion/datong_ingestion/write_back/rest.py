"""Write-back to a JSON API: POST, PATCH (or PUT), DELETE and actions with an Idempotency-Key, GET by our key to read
back.

Guards against: a second record (the same Idempotency-Key however often one change is sent), a lost update (If-Match
with the version just read), an error that comes with status 200, an API that ignores the query parameter and returns
everything, which would make a present record look absent or an absent one present, a PUT that empties the fields that
it does not name (the whole record goes out, as it was read, with the changes in it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from datong_platform.errors import AuthenticationError, ConfigurationError, DatongError, ProtocolError

from datong_ingestion.connections.rest import RestConnection
from datong_ingestion.pace import Pace
from datong_ingestion.write_back.config import FlowConfig, Operation
from datong_ingestion.write_back.payload import Dialect
from datong_ingestion.write_back.target import Change, Found, Outcome, gathered
from datong_ingestion.write_back.wire import Wire, at, rows_with_keys


class RestTarget:
    """A collection of a JSON API, as a write-back target."""

    can_be_asked = True
    dialect: Dialect = "rest"
    operations: frozenset[Operation] = frozenset({"create", "update", "delete", "call"})

    def __init__(self, flow: FlowConfig, connection: RestConnection, wire: Wire, pace: Pace | None = None) -> None:
        self._flow, self._config = flow, flow.target
        self._connection = connection
        self._thing = wire.thing
        self._wire = wire
        self._pace = wire.client.pace = pace or Pace()
        self._base = connection.base_url.rstrip("/")
        self._url = f"{self._base}/{flow.target.resource.strip('/')}"
        self._pool = ThreadPoolExecutor(connection.concurrency, thread_name_prefix=f"write-back-{flow.flow}")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._wire.close()

    def recorded(self, keys: Sequence[str]) -> None:
        """Nothing to forget: the records stay where they are."""

    def lookup(
        self, keys: Sequence[str], sent: Mapping[str, str] | None = None
    ) -> dict[str, list[Found] | DatongError]:
        return gathered(self._pool.map(self._look, keys))

    def _look(self, key: str) -> dict[str, list[Found] | DatongError]:
        try:
            content = self._wire.get_json(self._url, {self._config.lookup: key})
            rows = at(content, self._connection.data_path)
            if not isinstance(rows, list):
                raise ProtocolError(
                    self._thing, f"answered without a list at {self._connection.data_path!r}.", "check data_path."
                )
            rows_with_keys(self._thing, rows, self._config.lookup, {key})
            return {key: [self._found(row) for row in rows]}
        except (AuthenticationError, ConfigurationError):
            raise
        except DatongError as error:
            return {key: error}

    def _found(self, row: Mapping[str, Any]) -> Found:
        missing = [name for name in (*self._config.identity, self._config.etag_field) if name and name not in row]
        if missing:
            raise ConfigurationError(
                self._thing, f"has no field {', '.join(missing)}, which the flow names.", "mend the flow's defs.yaml."
            )
        identity = tuple(str(row[name]) for name in self._config.identity)
        etag = f'"{row[self._config.etag_field]}"' if self._config.etag_field else None
        return Found(dict(row), etag, "/".join(identity), identity)

    def send(self, changes: Sequence[Change], on_reply: Callable[[Change, Outcome], None]) -> dict[str, Outcome]:
        def one(change: Change) -> tuple[str, Outcome]:
            outcome = self._send(change)
            on_reply(change, outcome)
            return change.key, outcome

        return dict(self._pool.map(one, changes))

    def _send(self, change: Change) -> Outcome:
        headers = {"Idempotency-Key": change.idempotency_key}
        if change.found is not None and change.found.etag:
            headers["If-Match"] = change.found.etag
        method, path, body = self._request(change)
        url = f"{self._base}/{path.strip('/')}"
        self._pace.take()
        answer = self._wire.write(method, url, body, headers=headers)
        if answer.outcome.kind != "accepted":
            return answer.outcome
        if refusal := self._refusal(answer.json):
            return Outcome("refused", answer.outcome.status, refusal)
        if change.operation in {"delete", "call"}:
            return replace(answer.outcome, target_key=change.found.target_key if change.found else None)
        key = "/".join(
            str(answer.json[name])
            for name in self._config.identity
            if isinstance(answer.json, dict) and name in answer.json
        )
        return Outcome("accepted", answer.outcome.status, "", key or None)

    def _request(self, change: Change) -> tuple[str, str, dict[str, Any] | None]:
        """Method, path and body of a change."""
        writes, found = self._config.rest, change.found
        action = self._flow.action
        words = {
            "resource": self._config.resource.strip("/"),
            "identity": "/".join(quote(part, safe="") for part in found.identity) if found else "",
            "action": action.name if action else "",
        }
        if change.operation == "call":
            path = writes.action if change.found else writes.free_action
            return writes.action_method, path.format_map(words), change.parameters
        if found is None:
            return "POST", words["resource"], change.payload
        path = writes.record.format_map(words)
        if change.operation == "delete":
            return "DELETE", path, None
        if writes.update == "PATCH":
            return "PATCH", path, change.payload
        whole = {name: value for name, value in found.fields.items() if name not in writes.read_only}
        return "PUT", path, whole | change.payload

    def _refusal(self, content: Any) -> str:
        """What a body of status 200 says against it."""
        if self._connection.error_path and (said := at(content, self._connection.error_path)):
            return str(said)
        if self._connection.success_path:
            value = at(content, self._connection.success_path)
            if str(value) not in self._connection.success_values:
                return f"{self._connection.success_path} is {value!r}"
        return ""
