"""The write-back ledger: Delta table `ops.write_back_ledger`, one row for each transition of one row of a flow.

Append-only. A row's present state is its transition with the highest `step`:

    planned -> sent -> verified | unknown | conflict | failed        planned, failed, conflict, unknown -> withdrawn

- `planned`: wanted, nothing was sent yet.
- `sent`: the intent. It is committed before the request goes out, so whatever a crash leaves behind is known.
- `verified`: the target was read back and holds the payload.
- `unknown`: sent, and what became of it is not known yet; it is read back before anything else happens to it.
- `conflict`: the target holds something else, or somebody changed it in between (412).
- `failed`: the target refused it, in its own `words`, or it could not be sent.
- `withdrawn`: not written by us, and no longer wanted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pyarrow as pa
from datong_platform.errors import ServiceError
from datong_platform.names import TableName
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

LEDGER = TableName("ops", "write_back_ledger")

State = Literal["planned", "sent", "verified", "unknown", "conflict", "failed", "withdrawn"]
Action = Literal["create", "update", "none"]
OPEN: tuple[State, ...] = ("sent", "unknown")
"""States in which the target may or may not hold the payload."""

_T = TypeVar("_T")
_COMMENTS = {
    "flow": "Write-back flow",
    "key": "Key of the row in the serve table, and of the record at the target",
    "step": "Counts the transitions of one key, from 1",
    "state": "planned, sent, verified, unknown, conflict, failed or withdrawn",
    "action": "create, update, or none where nothing was sent",
    "idempotency_key": "Stays the same however often one change is sent",
    "payload_hash": "SHA-256 of the payload",
    "payload": "The payload as JSON, as it goes over the wire",
    "attempt": "How often the change had been sent, this time included",
    "status": "HTTP status of the answer; null when there was none",
    "words": "What the target said, or what we found",
    "etag": "ETag that was sent as If-Match",
    "target_key": "The target's own key of the record",
    "run_id": "The run that made the transition",
    "at": "When, UTC",
}
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=nullable, metadata={"comment": _COMMENTS[name]})
        for name, kind, nullable in (
            ("flow", pa.string(), False),
            ("key", pa.string(), False),
            ("step", pa.int64(), False),
            ("state", pa.string(), False),
            ("action", pa.string(), False),
            ("idempotency_key", pa.string(), False),
            ("payload_hash", pa.string(), False),
            ("payload", pa.string(), True),
            ("attempt", pa.int32(), False),
            ("status", pa.int32(), True),
            ("words", pa.string(), True),
            ("etag", pa.string(), True),
            ("target_key", pa.string(), True),
            ("run_id", pa.string(), False),
            ("at", pa.timestamp("us", "UTC"), False),
        )
    ]
)


@dataclass(frozen=True)
class Entry:
    """One transition."""

    flow: str
    key: str
    step: int
    state: State
    action: Action
    idempotency_key: str
    payload_hash: str
    payload: str | None
    attempt: int
    run_id: str
    at: datetime
    status: int | None = None
    words: str | None = None
    etag: str | None = None
    target_key: str | None = None


class Ledger:
    """One flow's part of the ledger. ServiceError when the lake does not answer."""

    def __init__(self, flow: str) -> None:
        self.flow = flow
        self._table: DeltaTable | None = None

    def latest(self) -> dict[str, Entry]:
        """The last transition of each key of the flow; its payload only in the open states, where it is needed."""
        from deltalake import QueryBuilder

        query = f"""
            select * from (
                select flow, key, step, state, action, idempotency_key, payload_hash,
                    case when state in ('sent', 'unknown') then payload end as payload,
                    attempt, run_id, at, status, words, etag, target_key,
                    row_number() over (partition by key order by step desc) as place
                from ledger where flow = '{self.flow}'
            ) where place = 1
        """

        def read() -> list[dict[str, Any]]:
            table = self._open()
            table.update_incremental()
            return pa.table(QueryBuilder().register("ledger", table).execute(query)).to_pylist()

        return {row["key"]: Entry(**{name: row[name] for name in SCHEMA.names}) for row in _patiently(read)}

    def append(self, entries: Sequence[Entry]) -> None:
        """Commit transitions, all or none; a repeated transition counts once, because its step is the same."""
        from deltalake import write_deltalake

        if not entries:
            return
        rows = pa.Table.from_pylist([asdict(entry) for entry in entries], schema=SCHEMA)

        def write() -> None:
            write_deltalake(self._open(), rows, mode="append")

        _patiently(write)

    def _open(self) -> DeltaTable:
        from deltalake import DeltaTable, Schema

        if self._table is None:
            now = settings()
            self._table = DeltaTable.create(
                now.table_uri(LEDGER),
                Schema.from_arrow(SCHEMA),
                mode="ignore",
                partition_by=["flow"],
                name="write_back_ledger",
                description="Transitions of rows that are written back; the highest step of a key is its state",
                storage_options=now.storage_options(),
            )
        return self._table


def now() -> datetime:
    """The present moment, UTC, to the microsecond that the ledger keeps."""
    return datetime.now(UTC)


def counts(latest: Mapping[str, Entry]) -> dict[State, int]:
    """How many keys are in which state."""
    return dict(Counter(entry.state for entry in latest.values()))


def _patiently(action: Callable[[], _T], attempts: int = 5) -> _T:
    """Repeat what the store or another writer's commit got in the way of."""
    from deltalake.exceptions import DeltaError

    for attempt in range(attempts):
        try:
            return action()
        except (DeltaError, OSError) as error:
            if attempt == attempts - 1:
                raise ServiceError(
                    f"table {LEDGER}",
                    f"cannot be read or written: {' '.join(str(error).split())}",
                    "run `datong doctor`; nothing is sent that the ledger did not record first.",
                ) from error
            time.sleep(0.1 * 2**attempt)
    raise AssertionError("unreachable")
