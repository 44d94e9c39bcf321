"""The write-back ledger: Delta table `ops.write_back_ledger`, one row for each transition of one row of a flow.

Append-only. A row's present state is its transition with the highest `step`:

    planned -> sent -> verified | unknown | conflict | failed
    planned -> waiting_for_approval -> planned (approved) | cancelled (rejected)
    failed -> sent (tried again at `next_at`) | dead -> planned (retried or mended by a person)
    planned, waiting_for_approval, failed, dead, conflict, unknown -> cancelled

- `planned`: wanted, nothing was sent yet.
- `waiting_for_approval`: wanted, and a guard of the flow asks for a person's word before it is sent.
- `sent`: the intent. It is committed before the request goes out, so whatever a crash leaves behind is known.
- `verified`: the target was read back and holds the payload (or, after a delete, the record no more).
- `unknown`: sent, and what became of it is not known yet; it is read back before anything else happens to it.
- `conflict`: the target holds something else, or somebody changed it in between (412); `held` is what it holds.
- `failed`: the target refused it, in its own `words`, or it could not be sent; it is tried again at `next_at`.
- `dead`: refused as often as the flow allows. It rests until a person retries, mends or cancels it.
- `cancelled`: not written by us, and no longer wanted; `decision` says when a person decided so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import pyarrow as pa
from datong_platform.lake import history as tables
from datong_platform.lake import upkeep
from datong_platform.lake.patience import patiently
from datong_platform.names import TableName
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

LEDGER = TableName("ops", "write_back_ledger")

State = Literal[
    "planned",
    "waiting_for_approval",
    "sent",
    "verified",
    "unknown",
    "conflict",
    "failed",
    "dead",
    "cancelled",
]
STATES: tuple[State, ...] = get_args(State)
Operation = Literal["create", "update", "delete", "call", "none"]
OPEN: tuple[State, ...] = ("sent", "unknown")
"""States in which the target may or may not hold the payload."""
SETTLED: tuple[State, ...] = ("verified", "cancelled")
"""States in which there is nothing left to do."""

_T = TypeVar("_T")
_TEXT, _MOMENT = pa.string(), pa.timestamp("us", "UTC")
_COLUMNS: dict[str, tuple[pa.DataType, bool, str]] = {
    "flow": (_TEXT, False, "Write-back flow"),
    "key": (_TEXT, False, "Key of the row in the serve table, and of the record at the target"),
    "step": (pa.int64(), False, "Counts the transitions of one key, from 1"),
    "state": (_TEXT, False, ", ".join(STATES[:-1]) + f" or {STATES[-1]}"),
    "operation": (_TEXT, False, "create, update, delete, call, or none where nothing was sent"),
    "idempotency_key": (_TEXT, False, "Stays the same however often one change is sent"),
    "payload_hash": (_TEXT, False, "SHA-256 of the payload"),
    "payload": (_TEXT, True, "The payload as JSON, as it goes over the wire"),
    "attempt": (pa.int32(), False, "How often the change had been sent, this time included"),
    "status": (pa.int32(), True, "HTTP status of the answer; null when there was none"),
    "words": (_TEXT, True, "What the target said, or what we found"),
    "etag": (_TEXT, True, "ETag that was sent as If-Match"),
    "target_key": (_TEXT, True, "The target's own key of the record"),
    "run_id": (_TEXT, False, "The run that made the transition"),
    "at": (_MOMENT, False, "When, UTC"),
    "pre_image": (_TEXT, True, "What the target held before it was written, as JSON of the fields that are written"),
    "held": (_TEXT, True, "What the target holds instead, as JSON of the fields that are written"),
    "wanted_hash": (_TEXT, True, "SHA-256 of the payload that the serve table asks for; differs once mended"),
    "source_digest": (_TEXT, True, "Digest of the serve table's row, by which an unchanged one is passed over"),
    "tries": (pa.int32(), True, "Runs in which the change failed"),
    "next_at": (_MOMENT, True, "When a failed row is tried again, UTC"),
    "build": (_TEXT, True, "The build that published the row's version of the serve table"),
    "plan": (_TEXT, True, "The plan that waits for approval: the id of the run that made it"),
    "decision": (pa.int64(), True, "The person's decision that it carries out: ops.write_back_decision.id"),
}
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=nullable, metadata={"comment": words})
        for name, (kind, nullable, words) in _COLUMNS.items()
    ]
)


@dataclass(frozen=True)
class Entry:
    """One transition."""

    flow: str
    key: str
    step: int
    state: State
    operation: Operation
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
    pre_image: str | None = None
    held: str | None = None
    wanted_hash: str | None = None
    source_digest: str | None = None
    tries: int | None = None
    next_at: datetime | None = None
    build: str | None = None
    plan: str | None = None
    decision: int | None = None


class Ledger:
    """One flow's part of the ledger. ServiceError when the lake does not answer."""

    def __init__(self, flow: str) -> None:
        self.flow = flow
        self._table: DeltaTable | None = None

    def latest(self) -> dict[str, Entry]:
        """The last transition of each key of the flow; its payload only in the open states, where it is needed."""
        payload = f"case when state in {OPEN} then payload end as payload"
        columns = ", ".join(payload if name == "payload" else name for name in SCHEMA.names)
        query = f"select {columns} from ({_latest(self.flow)})"
        return {entry.key: entry for entry in _entries(_ask(self._open, query))}

    def snapshot(self) -> DeltaTable:
        """The ledger's table as it is now; later transitions are not in it."""

        def opened() -> DeltaTable:
            self._open()
            return tables.open_table(LEDGER) or self._open()

        return _patiently(opened)

    def unsettled(self) -> dict[str, Entry]:
        """The last transition of each key that is neither verified nor cancelled."""
        states = ", ".join(map(_text, SETTLED))
        query = f"select * from ({_latest(self.flow)}) where state not in ({states})"
        return {entry.key: entry for entry in _entries(_ask(self._open, query))}

    def of(self, keys: Sequence[str]) -> dict[str, Entry]:
        """The last transition of each of these keys that the ledger knows."""
        if not keys:
            return {}
        query = f"select * from ({_latest(self.flow)}) where key in ({', '.join(map(_text, keys))})"
        return {entry.key: entry for entry in _entries(_ask(self._open, query))}

    def append(self, entries: Sequence[Entry]) -> None:
        """Commit transitions, all or none; a repeated transition counts once, because its step is the same."""
        from deltalake import write_deltalake

        if not entries:
            return
        # column by column: asdict, which copies every value, took more than half of a run's time
        columns = [pa.array([getattr(entry, one.name) for entry in entries], one.type) for one in SCHEMA]
        rows = pa.Table.from_arrays(columns, schema=SCHEMA)

        def write() -> None:
            table = self._open()
            before = table.version()
            write_deltalake(table, rows, mode="append")
            for every in (upkeep.VACUUM_EVERY, upkeep.EVERY):
                # passed by this commit, or by others since our last: small files become few
                if before // every != table.version() // every:
                    upkeep.after_load(LEDGER, table.version() // every * every)
                    break

        _patiently(write)

    def _open(self) -> DeltaTable:
        if self._table is None:
            self._table = _made()
        return self._table


def state_counts(flow: str | None = None) -> dict[str, dict[State, int]]:
    """How many rows of each flow, or of one, are in which state. ServiceError when the lake does not answer."""
    query = f"select flow, state, count(*) as rows from ({_latest(flow)}) group by flow, state order by flow, state"
    counted: dict[str, dict[State, int]] = {}
    for row in _asked(query):
        counted.setdefault(row["flow"], {})[row["state"]] = row["rows"]
    return counted


def rows(
    flow: str | None = None,
    states: Iterable[State] = (),
    *,
    search: str = "",
    limit: int = 100,
    offset: int = 0,
) -> list[Entry]:
    """The last transitions of rows, the newest first: those of a flow, in these states, whose key or words contain a
    text. ServiceError when the lake does not answer."""
    conditions = [f"state in ({', '.join(map(_text, states))})"] if (states := tuple(states)) else []
    if search:
        wanted = _text(search.lower())
        conditions.append(f"(strpos(lower(key), {wanted}) > 0 or strpos(lower(coalesce(words, '')), {wanted}) > 0)")
    where = f" where {' and '.join(conditions)}" if conditions else ""
    query = f"select * from ({_latest(flow)}){where} order by at desc, flow, key limit {limit:d} offset {offset:d}"
    return list(_entries(_asked(query)))


def row(flow: str, key: str) -> Entry | None:
    """The last transition of one row; None when the ledger does not know it."""
    found = history(flow, key)
    return found[-1] if found else None


def history(flow: str, key: str) -> list[Entry]:
    """All transitions of one row, the first one first. ServiceError when the lake does not answer."""
    query = f"select * from ledger where flow = {_text(flow)} and key = {_text(key)} order by step, at"
    return list(_entries(_asked(query)))


def last_of(flow: str, keys: Sequence[str]) -> list[Entry]:
    """The last transitions of some rows of a flow, in full, from one look. ServiceError when the lake does not
    answer."""
    if not keys:
        return []
    chosen = ", ".join(map(_text, keys))
    return list(_entries(_asked(f"select * from ({_latest(flow, f'key in ({chosen})')}) order by key")))


def now() -> datetime:
    """The present moment, UTC, to the microsecond that the ledger keeps."""
    return datetime.now(UTC)


def counts(latest: Mapping[str, Entry]) -> dict[State, int]:
    """How many keys are in which state."""
    return dict(Counter(entry.state for entry in latest.values()))


def _latest(flow: str | None, condition: str = "true") -> str:
    """SQL of the last transition of each row, of those of a flow that meet a condition."""
    where = f"where {condition}" + (f" and flow = {_text(flow)}" if flow else "")
    return (
        f"select {', '.join(SCHEMA.names)} from ("
        f"select *, row_number() over (partition by flow, key order by step desc, at desc) as place from ledger {where}"
        ") where place = 1"
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _entries(found: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    for one in found:
        yield Entry(**{name: one[name] for name in SCHEMA.names})


def _asked(query: str) -> list[dict[str, Any]]:
    """The rows of a query for people; none while there is no ledger yet."""
    if tables.open_table(LEDGER) is None:
        return []
    return _ask(_made, query)


def _ask(opened: Callable[[], DeltaTable], query: str) -> list[dict[str, Any]]:
    from deltalake import QueryBuilder

    def read() -> list[dict[str, Any]]:
        table = opened()
        table.update_incremental()
        return pa.table(QueryBuilder().register("ledger", table).execute(query)).to_pylist()

    return _patiently(read)


def _made() -> DeltaTable:
    """The ledger's table, made where there is none and brought to today's columns where it is older."""
    from deltalake import DeltaTable, Schema

    def make() -> DeltaTable:
        now = settings()
        table = DeltaTable.create(
            now.table_uri(LEDGER),
            Schema.from_arrow(SCHEMA),
            mode="ignore",
            partition_by=["flow"],
            name="write_back_ledger",
            description="Transitions of rows that are written back; the highest step of a key is its state",
            storage_options=now.storage_options(),
        )
        if {field.name for field in table.schema().fields} != set(SCHEMA.names):
            _renewed(table)
        return table

    return _patiently(make)


def _renewed(table: DeltaTable) -> None:
    """Carry an older ledger over to today's columns and names of states, in one commit."""
    from deltalake import QueryBuilder, write_deltalake

    has = {field.name for field in table.schema().fields}
    was = {"operation": "action", "state": "case state when 'withdrawn' then 'cancelled' else state end"}
    columns = ", ".join(
        f"{was[name]} as {name}" if name == "state" or (name not in has and name in was) else name
        for name in SCHEMA.names
        if name in has or name in was
    )
    found = pa.table(QueryBuilder().register("ledger", table).execute(f"select {columns} from ledger"))
    for name, (kind, _, _) in _COLUMNS.items():
        if name not in found.column_names:
            found = found.append_column(name, pa.nulls(found.num_rows, kind))
    write_deltalake(table, found.select(SCHEMA.names).cast(SCHEMA), mode="overwrite", schema_mode="overwrite")


def _patiently(action: Callable[[], _T]) -> _T:
    """With the ledger, and never giving the impression that anything was sent."""
    return patiently(
        LEDGER, action, next_step="run `datong doctor`; nothing is sent that the ledger did not record first."
    )
