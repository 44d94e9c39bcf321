"""Write-back to a JSON API: POST and PATCH with an Idempotency-Key, GET by our key to read back.

Guards against: a second record (the same Idempotency-Key however often one change is sent), a lost update (If-Match
with the version just read), an error that comes with status 200, an API that ignores the query parameter and returns
everything, which would make a present record look absent or an absent one present.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from datong_platform.errors import AuthenticationError, ConfigurationError, DatongError, ProtocolError

from datong_ingestion.connections.rest import RestConnection
from datong_ingestion.write_back.config import FlowConfig, Operation
from datong_ingestion.write_back.payload import Dialect
from datong_ingestion.write_back.target import Change, Found, Outcome, gathered
from datong_ingestion.write_back.wire import Wire, at, rows_with_keys


class RestTarget:
    """A collection of a JSON API, as a write-back target."""

    dialect: Dialect = "rest"
    operations: frozenset[Operation] = frozenset({"create", "update"})

    def __init__(self, flow: FlowConfig, connection: RestConnection, wire: Wire) -> None:
        self._config = flow.target
        self._connection = connection
        self._thing = wire.thing
        self._wire = wire
        self._url = f"{connection.base_url.rstrip('/')}/{flow.target.resource.strip('/')}"
        self._pool = ThreadPoolExecutor(connection.concurrency, thread_name_prefix=f"write-back-{flow.flow}")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._wire.close()

    def lookup(self, keys: Sequence[str]) -> dict[str, list[Found] | DatongError]:
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
        method, url = "POST", self._url
        if change.found is not None:
            method, url = "PATCH", "/".join([self._url, *(quote(part, safe="") for part in change.found.identity)])
            if change.found.etag:
                headers["If-Match"] = change.found.etag
        answer = self._wire.write(method, url, change.payload, headers=headers)
        if answer.outcome.kind != "accepted":
            return answer.outcome
        if refusal := self._refusal(answer.json):
            return Outcome("refused", answer.outcome.status, refusal)
        key = "/".join(
            str(answer.json[name])
            for name in self._config.identity
            if isinstance(answer.json, dict) and name in answer.json
        )
        return Outcome("accepted", answer.outcome.status, "", key or None)

    def _refusal(self, content: Any) -> str:
        """What a body of status 200 says against it."""
        if self._connection.error_path and (said := at(content, self._connection.error_path)):
            return str(said)
        if self._connection.success_path:
            value = at(content, self._connection.success_path)
            if str(value) not in self._connection.success_values:
                return f"{self._connection.success_path} is {value!r}"
        return ""
