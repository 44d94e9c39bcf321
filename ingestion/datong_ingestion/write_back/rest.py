"""Write-back to a JSON API: POST, PATCH (or PUT), DELETE and actions with an Idempotency-Key, GET by our key to read
back.

Guards against: a second record (the same Idempotency-Key however often one change is sent), a lost update (If-Match
with the version just read), an error that comes with status 200, an API that ignores the query parameter and returns
everything, which would make a present record look absent or an absent one present, a PUT that empties the fields that
it does not name (the whole record goes out, as it was read, with the changes in it), an answer to several keys that
ends where a page does (a key that is not in it is asked for alone, until a longer answer was seen).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote, urlencode

from datong_platform.errors import ProtocolError

from datong_ingestion.connections.rest import RestConnection
from datong_ingestion.pace import Pace
from datong_ingestion.write_back.config import FlowConfig, Operation
from datong_ingestion.write_back.payload import Dialect
from datong_ingestion.write_back.pooled import Pooled, found_of
from datong_ingestion.write_back.target import Change, Found, Outcome
from datong_ingestion.write_back.wire import Wire, at, rows_with_keys


class RestTarget(Pooled):
    """A collection of a JSON API, as a write-back target."""

    dialect: Dialect = "rest"
    operations: frozenset[Operation] = frozenset({"create", "update", "delete", "call"})

    def __init__(self, flow: FlowConfig, connection: RestConnection, wire: Wire, pace: Pace | None = None) -> None:
        wire.client.pace = pace or Pace()
        super().__init__(flow, wire.thing, connection.concurrency, wire.client.pace)
        self._connection, self._wire = connection, wire
        self._base = connection.base_url.rstrip("/")
        self._url = f"{self._base}/{flow.target.resource.strip('/')}"
        self._most = 0
        """The most records that one answer was seen to hold."""

    def _let_go(self) -> None:
        self._wire.close()

    @property
    def _keys_at_once(self) -> int:
        return self._config.lookup_rows if self._config.rest.lookup_many else 1

    def _rows(self, keys: Sequence[str]) -> Sequence[tuple[str, Found]]:
        alone = [key for key in keys if "," in key] if self._config.rest.lookup_many == "comma" else []
        together = [key for key in keys if key not in alone]
        if len(together) < 2:
            return [found for key in keys for found in self._asked([key])]
        rows = self._asked(together)
        self._most = max(self._most, len(rows))
        if len(rows) >= self._most or self._most < 2:
            # nothing tells yet that such an answer is whole: it may end where a page does, or know one key only
            absent = set(together) - {key for key, _ in rows}
            alone += [key for key in together if key in absent]
        return [*rows, *(found for key in alone for found in self._asked([key]))]

    def _asked(self, keys: Sequence[str]) -> list[tuple[str, Found]]:
        """The records of one request."""
        field = self._config.lookup
        url, params = self._url, {field: ",".join(keys)}
        if len(keys) > 1 and self._config.rest.lookup_many == "repeat":
            url, params = f"{url}?{urlencode([(field, key) for key in keys])}", {}
        rows = at(self._wire.get_json(url, params), self._connection.data_path)
        if not isinstance(rows, list):
            raise ProtocolError(
                self._thing, f"answered without a list at {self._connection.data_path!r}.", "check data_path."
            )
        rows_with_keys(self._thing, rows, field, set(keys))
        return [(str(row[field]), self._found(row)) for row in cast("list[dict[str, Any]]", rows)]

    def _found(self, row: Mapping[str, Any]) -> Found:
        field = self._config.etag_field
        return found_of(self._thing, self._config, row, f'"{row.get(field)}"' if field else None)

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
