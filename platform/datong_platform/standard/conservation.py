"""Conservation, run by run: of every table that can drop rows, how many came, and what became of each.

    rows in = published + quarantined + deduplicated + left out + waiting + rows lost, and rows lost is 0

- bronze: counted batch by batch when a source is ingested; what could not be read is quarantined.
- silver: dbt's test `conservation` counts in bronze by the source's keys, and in silver and quarantine.
- gold: dbt's test `conserved`; `left_out` is what the table leaves out by its meaning, `waiting` what refers to a
  record that a rule withholds. Of golden records `golden_conserved`: `deduplicated` are records merged into others.

The tests keep their counts in `ops.counted_<schema>__<table>`; after a build `record_build` adds those that were
counted anew to `ops.conservation`. A table that a run left out, because it was up to date, is in that run as it was
counted last.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datong_platform.lake import catalog, commits, held, history, table_log, upkeep
from datong_platform.lake.patience import patiently
from datong_platform.names import TableName, public_schema
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

CONSERVATION = TableName("ops", "conservation")
LAYERS = ("bronze", "silver", "gold")
_COUNTED = "counted_"
_METADATA = "datong_counted"
_COMMENTS: dict[str, tuple[pa.DataType, bool, str]] = {
    "run_id": (pa.string(), False, "The run that counted"),
    "at": (pa.timestamp("us", "UTC"), False, "When, UTC"),
    "layer": (pa.string(), False, "bronze, silver or gold"),
    "table_name": (pa.string(), False, "The table that the rows went to"),
    "source_system": (pa.string(), True, "The system that they come from; null where all are counted together"),
    "source_table": (pa.string(), False, "Where they came from"),
    "rows_in": (pa.int64(), False, "Rows that came"),
    "published": (pa.int64(), False, "Rows of the table"),
    "quarantined": (pa.int64(), False, "Rows withheld by a rule, or not readable"),
    "deduplicated": (pa.int64(), False, "Superseded versions, repeats and deleted records"),
    "left_out": (pa.int64(), False, "Rows that the table leaves out by its meaning"),
    "waiting": (pa.int64(), False, "Rows that refer to a record which a rule withholds"),
    "rows_lost": (pa.int64(), False, "What does not add up; not 0 fails the run"),
}
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=nullable, metadata={"comment": comment})
        for name, (kind, nullable, comment) in _COMMENTS.items()
    ]
)


@dataclass(frozen=True)
class Count:
    """What became of the rows of one source in one table."""

    layer: str
    table_name: str
    source_system: str | None
    source_table: str
    rows_in: int
    published: int
    quarantined: int = 0
    deduplicated: int = 0
    left_out: int = 0
    waiting: int = 0
    rows_lost: int = 0
    run_id: str = ""
    """The run that counted it."""
    at: datetime | None = None


@dataclass(frozen=True)
class Run:
    """A run that counted something."""

    run_id: str
    at: datetime
    tables: int
    rows_in: int
    quarantined: int
    waiting: int
    rows_lost: int


def record(run_id: str, counts: Sequence[Count], at: datetime | None = None) -> None:
    """Keep what a run counted; nothing to count is nothing to keep. ServiceError when the lake does not answer."""
    if counts:
        _append(run_id, counts, at or datetime.now(UTC), None)


def record_build(run_id: str, at: datetime | None = None) -> list[Count]:
    """Keep what the tests of a build counted since the last one, and give it back; repeated, there is nothing."""
    tables = [table for table in catalog.stored_tables(["ops"]) if table.name.startswith(_COUNTED)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        now = dict(zip((table.name for table in tables), pool.map(_identity, tables), strict=True))
        seen = _seen(history.open_table(CONSERVATION))
        changed = [table for table in tables if now[table.name] != seen.get(table.name)]
        counts = [count for found in pool.map(_counts, changed) for count in found]
    if changed:
        _append(run_id, counts, at or datetime.now(UTC), now)
    return counts


def latest(run_id: str | None = None) -> list[Count]:
    """The last count of every table and source, in the order of the flow; as it was when run `run_id` ended."""
    log = history.open_table(CONSERVATION)
    if log is None:
        return []
    upto = "" if run_id is None else f"where at <= (select max(at) from counts where run_id = {_text(run_id)})"
    rows = _query(
        log,
        "select * from (select *, row_number() over (partition by table_name, source_system, source_table "
        f"order by at desc) as place from counts {upto}) as aged where place = 1",
    )
    found = [Count(**{name: row[name] for name in SCHEMA.names}) for row in rows]
    return sorted(found, key=lambda count: (LAYERS.index(count.layer), count.table_name, count.source_system or ""))


def runs(limit: int = 20) -> list[Run]:
    """The newest runs that counted something, newest first."""
    log = history.open_table(CONSERVATION)
    if log is None:
        return []
    rows = _query(
        log,
        "select run_id, max(at) as at, count(distinct table_name) as tables, sum(rows_in) as rows_in, "
        "sum(quarantined) as quarantined, sum(waiting) as waiting, sum(abs(rows_lost)) as rows_lost "
        f"from counts group by run_id order by at desc limit {int(limit)}",
    )
    return [Run(**row) for row in rows]


def _counts(table: TableName) -> list[Count]:
    delta = history.open_table(table)
    if delta is None:
        return []
    folder, _, name = table.name.removeprefix(_COUNTED).partition("__")
    schema = public_schema(folder)
    columns = ("source_system", "source_table", *SCHEMA.names[6:])
    rows = delta.to_pyarrow_table(columns=list(columns)).to_pylist()
    return [Count(layer=schema, table_name=f"{schema}.{name}", **row) for row in rows]


def _append(run_id: str, counts: Sequence[Count], at: datetime, seen: dict[str, str | None] | None) -> None:
    rows = [{**asdict(count), "run_id": run_id, "at": at} for count in counts]

    def write() -> None:
        log = held.take_held(CONSERVATION) or _open()
        known = json.dumps(seen if seen is not None else _seen(log))
        commits.append(CONSERVATION, log, pa.Table.from_pylist(rows, schema=SCHEMA), {_METADATA: known})
        upkeep.after_load(CONSERVATION, log.version(), log)
        held.give_back(CONSERVATION, log)

    patiently(CONSERVATION, write, attempts=30)


def _seen(log: DeltaTable | None) -> dict[str, str]:
    """Which version of each table of counts was kept last; every commit of ours says it, upkeep's do not."""
    # each entry is a request, and the newest is nearly always ours
    for limit in (1, 50):
        for entry in log.history(limit) if log else ():
            if text := entry.get(_METADATA):
                return json.loads(text)
    return {}


def _identity(table: TableName) -> str | None:
    found = table_log.read(table)
    return f"{found.delta_id}@{found.version}" if found else None


def _query(log: DeltaTable, sql: str) -> list[dict[str, Any]]:
    from deltalake import QueryBuilder

    return pa.table(QueryBuilder().register("counts", log).execute(sql)).to_pylist()


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _open() -> DeltaTable:
    from deltalake import DeltaTable, Schema

    now = settings()
    return DeltaTable.create(
        now.table_uri(CONSERVATION),
        Schema.from_arrow(SCHEMA),
        mode="ignore",
        name=CONSERVATION.name,
        description="What became of the rows that came, table by table and run by run",
        storage_options=now.storage_options(),
    )
