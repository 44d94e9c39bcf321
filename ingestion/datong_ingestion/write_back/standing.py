"""How the rows of all flows stand now, for pages that people wait for: the ledger, folded and kept in memory.

From `ops.write_back_ledger` (every transition) to the last transition of each row, without what takes room (payloads).
The fold is made once; afterwards only the files that were added since are read, so that a page over 100,000 open rows
costs a filter in memory. Settled rows are kept by key and state alone. One fold a process, for the lake in force.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute
from datong_platform.errors import ServiceError
from datong_platform.lake import history
from datong_platform.settings import settings

from datong_ingestion.write_back.ledger import LEDGER, SCHEMA, SETTLED, State

if TYPE_CHECKING:
    from deltalake import DeltaTable

pc: Any = pyarrow.compute
"""Its functions are made at import, so that no type checker sees them."""

_KEPT = (
    *("flow", "key", "step", "state", "operation", "attempt", "status", "words", "target_key"),
    *("run_id", "at", "tries", "next_at", "plan"),
)
_OF_OPEN_ROWS = ("words", "target_key", "run_id", "plan", "next_at", "status")
"""What is forgotten of settled rows, of which there may be millions."""
_FOLDED = pa.schema([SCHEMA.field(name).with_nullable(True) for name in _KEPT])
_ATTEMPTS = 5


@dataclass(frozen=True)
class Row:
    """How one row stands. Times are UTC; the names are the ledger's."""

    flow: str
    key: str
    step: int
    state: State
    operation: str
    attempt: int
    status: int | None
    words: str | None
    target_key: str | None
    run_id: str | None
    at: datetime
    tries: int | None
    next_at: datetime | None
    plan: str | None


@dataclass(frozen=True)
class Totals:
    """How the rows of one flow stand. `since` is when the row that is open longest came into its state, `last_at` the
    flow's newest transition, both UTC."""

    flow: str
    states: dict[State, int]
    operations: dict[tuple[State, str], int]
    last_at: datetime
    since: dict[State, datetime]

    def rows(self, *states: State) -> int:
        """How many rows are in one of these states."""
        return sum(self.states.get(state, 0) for state in states)

    @property
    def open(self) -> int:
        """How many rows are not settled."""
        return sum(count for state, count in self.states.items() if state not in SETTLED)


@dataclass(frozen=True)
class Plan:
    """Rows of a flow that wait for one approval: how many of each operation, since when (UTC), and why they wait."""

    flow: str
    plan: str
    operations: dict[str, int]
    since: datetime
    words: str

    @property
    def rows(self) -> int:
        """How many rows wait."""
        return sum(self.operations.values())


class _Fold:
    """The last transition of each row as of a version of the ledger, the newest first."""

    def __init__(self) -> None:
        self.uri = ""
        self.version = -1
        self.files: frozenset[str] = frozenset()
        self.rows = _FOLDED.empty_table()
        self.totals: dict[str, Totals] = {}


_lock = threading.Lock()
_fold = _Fold()


def totals() -> dict[str, Totals]:
    """How the rows of each flow stand, by flow. ServiceError when the lake does not answer."""
    return _present().totals


def plans() -> list[Plan]:
    """What waits for an approval, the longest first. ServiceError when the lake does not answer."""
    rows = _present().rows
    rows = rows.filter(pc.equal(rows["state"], "waiting_for_approval"))
    rows = rows.set_column(rows.schema.get_field_index("plan"), "plan", pc.fill_null(rows["plan"], ""))
    counted = rows.group_by(["flow", "plan", "operation"]).aggregate(
        [("at", "min"), ("key", "count"), ("words", "min")]
    )
    found: dict[tuple[str, str], Plan] = {}
    for one in counted.to_pylist():
        name = (one["flow"], one["plan"])
        before = found.get(name)
        found[name] = Plan(
            *name,
            {**(before.operations if before else {}), one["operation"]: one["key_count"]},
            min(before.since, one["at_min"]) if before else one["at_min"],
            (before.words if before else "") or one["words_min"] or "",
        )
    return sorted(found.values(), key=lambda plan: (plan.since, plan.flow, plan.plan))


def page(
    flow: str | None = None,
    states: Collection[State] = (),
    *,
    operation: str | None = None,
    text: str = "",
    plan: str | None = None,
    offset: int = 0,
    limit: int = 50,
) -> tuple[list[Row], int]:
    """Rows that stand so, the one that changed last first, and how many there are in all; without `states` all that are
    not settled.

    `text` is looked for in the key, the target's key and the words, whatever the case. ServiceError when the lake does
    not answer.
    """
    rows = _present().rows
    chosen = pc.is_in(rows["state"], pa.array(list(states), pa.string())) if states else pc.invert(_settled(rows))
    for name, wanted in (("flow", flow), ("operation", operation), ("plan", plan)):
        if wanted:
            chosen = pc.and_(chosen, pc.fill_null(pc.equal(rows[name], wanted), False))
    rows = rows.filter(chosen)
    if text:
        hits = [
            pc.fill_null(pc.match_substring(rows[name], text, ignore_case=True), False)
            for name in ("key", "words", "target_key")
        ]
        rows = rows.filter(pc.or_(pc.or_(hits[0], hits[1]), hits[2]))
    return [Row(**found) for found in rows.slice(offset, limit).to_pylist()], rows.num_rows


def forget() -> None:
    """Fold the ledger anew at the next question."""
    global _fold  # noqa: PLW0603 one fold a process
    with _lock:
        _fold = _Fold()


def _unread(error: Exception) -> ServiceError:
    return ServiceError(f"table {LEDGER}", f"cannot be read: {' '.join(str(error).split())}", "run `datong doctor`.")


def _present() -> _Fold:
    """The fold, brought up to the ledger's newest version."""
    global _fold  # noqa: PLW0603 one fold a process
    from deltalake.exceptions import DeltaError

    with _lock:
        for attempt in range(_ATTEMPTS):
            try:
                delta = history.open_table(LEDGER)
                if delta is None:
                    return _Fold()
                _fold = _caught_up(_fold, delta)
            except (DeltaError, OSError) as error:
                # a file that we were about to read can be compacted away
                if attempt == _ATTEMPTS - 1:
                    raise _unread(error) from error
                time.sleep(0.1 * 2**attempt)
            else:
                return _fold
    raise AssertionError("unreachable")


def _caught_up(before: _Fold, delta: DeltaTable) -> _Fold:
    uri = settings().table_uri(LEDGER)
    if before.uri == uri and before.version == delta.version():
        return before
    files = frozenset(delta.get_add_actions(flatten=True).column("path").to_pylist())
    fold = _Fold()
    fold.uri, fold.version, fold.files = uri, delta.version(), files
    if before.uri == uri and before.files <= files:
        fold.rows = _joined(before.rows, _last(_read(delta, files - before.files)))
    else:
        fold.rows = _newest_first(_slim(_folded(delta)))
    fold.totals = _totals(fold.rows)
    return fold


def _folded(delta: DeltaTable) -> pa.Table:
    from deltalake import QueryBuilder

    has = {field.name for field in delta.schema().fields}
    columns = ", ".join(name for name in _KEPT if name in has)
    sql = (
        f"select {columns} from (select {columns}, "
        "row_number() over (partition by flow, key order by step desc, at desc) as place from ledger) where place = 1"
    )
    return _typed(pa.table(QueryBuilder().register("ledger", delta).execute(sql)))


def _read(delta: DeltaTable, files: Collection[str]) -> pa.Table:
    """Transitions of some files of the ledger."""
    import pyarrow.parquet as pq
    from deltalake.fs import DeltaStorageHandler
    from pyarrow import fs

    now = settings()
    store = fs.PyFileSystem(DeltaStorageHandler(now.table_uri(LEDGER), options=now.storage_options()))
    actions = delta.get_add_actions(flatten=True)
    flows = dict(zip(actions.column("path").to_pylist(), actions.column("partition.flow").to_pylist(), strict=True))
    tables: list[pa.Table] = []
    for path in sorted(files):
        with store.open_input_file(path) as file:
            content = pq.ParquetFile(file)
            has = [name for name in _KEPT if name in content.schema_arrow.names]
            read = content.read(columns=has)
        tables.append(_typed(read.append_column("flow", pa.array([flows[path]] * len(read), pa.string()))))
    return pa.concat_tables(tables) if tables else _FOLDED.empty_table()


def _typed(rows: pa.Table) -> pa.Table:
    for field in _FOLDED:
        if field.name not in rows.column_names:
            rows = rows.append_column(field.name, pa.nulls(len(rows), field.type))
    return rows.select(_FOLDED.names).cast(_FOLDED)


def _last(rows: pa.Table) -> pa.Table:
    """The last transition of each row among these."""
    if not len(rows):
        return rows
    ranked = rows.take(
        pc.sort_indices(
            rows.select(["flow", "key", "step", "at"]),
            sort_keys=[("flow", "ascending"), ("key", "ascending"), ("step", "descending"), ("at", "descending")],
        )
    )
    names = _names(ranked).combine_chunks()
    first = pa.concat_arrays([pa.array([True]), pc.not_equal(names[1:], names[:-1])])
    return ranked.filter(first)


def _joined(known: pa.Table, news: pa.Table) -> pa.Table:
    if not len(news):
        return known
    old = known.filter(pc.invert(pc.is_in(_names(known), _names(news).combine_chunks())))
    return _newest_first(_slim(pa.concat_tables([news, old])))


def _names(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows["flow"], rows["key"], "\x00")


def _slim(rows: pa.Table) -> pa.Table:
    """Without the words of rows that are settled."""
    settled = _settled(rows)
    for name in _OF_OPEN_ROWS:
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, name, pc.if_else(settled, pa.scalar(None, rows[name].type), rows[name]))
    return rows


def _settled(rows: pa.Table) -> Any:
    return pc.is_in(rows["state"], pa.array(list(SETTLED), pa.string()))


def _newest_first(rows: pa.Table) -> pa.Table:
    order = [("at", "descending"), ("flow", "ascending"), ("key", "ascending")]
    return rows.take(pc.sort_indices(rows, sort_keys=order)).combine_chunks()


def _totals(rows: pa.Table) -> dict[str, Totals]:
    found: dict[str, Totals] = {}
    grouped = rows.group_by(["flow", "state", "operation"]).aggregate([("at", "min"), ("at", "max"), ("key", "count")])
    for one in grouped.to_pylist():
        flow, state, count = one["flow"], one["state"], one["key_count"]
        before = found.get(flow) or Totals(flow, {}, {}, one["at_max"], {})
        found[flow] = Totals(
            flow,
            {**before.states, state: before.states.get(state, 0) + count},
            {**before.operations, (state, one["operation"]): count},
            max(before.last_at, one["at_max"]),
            {**before.since, state: min(before.since.get(state) or one["at_min"], one["at_min"])},
        )
    return found
