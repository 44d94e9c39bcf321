"""Cases: since when a record breaks a rule, and when it no longer did. Delta table `ops.quarantine_case`, a log.

The tables `quarantine.<entity>` say what is broken now; they are made anew by a build and have no memory. After a build
`update` compares them with the cases that are open and writes down the difference: opened, released (mended, deleted at
the source, or no rule any more). A table that did not change since the last comparison is not read again.

From `quarantine.<entity>` to rows of `ops.quarantine_case`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datong_platform.lake import catalog, history, upkeep
from datong_platform.lake.patience import patiently
from datong_platform.names import BATCH_ID, TableName
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

CASES = TableName("ops", "quarantine_case")
_APPLICATION = "datong:quarantine_case"
_METADATA = "datong_compared"
_COLUMNS: dict[str, tuple[pa.DataType, bool, str]] = {
    "case_id": (pa.string(), False, "The record, field and rule as one id; a case that opens again has the same"),
    "state": (pa.string(), False, "opened or released"),
    "entity": (pa.string(), False, "Entity of the standard"),
    "source_system": (pa.string(), False, "System of the record"),
    "source_key": (pa.string(), False, "The record's key in that system"),
    "field": (pa.string(), False, "Field that breaks the rule"),
    "rule": (pa.string(), False, "Rule that is broken"),
    "reason": (pa.string(), True, "What was wrong, for people"),
    "batch_id": (pa.string(), True, "Batch that brought the row"),
    "run_id": (pa.string(), False, "Build that noticed it"),
    "at": (pa.timestamp("us", "UTC"), False, "When that build ended, UTC"),
}
SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=nullable, metadata={"comment": comment})
        for name, (kind, nullable, comment) in _COLUMNS.items()
    ]
)


@dataclass(frozen=True)
class Change:
    """What one build came to: cases opened and released, by entity and rule."""

    opened: dict[tuple[str, str], int]
    released: dict[tuple[str, str], int]

    @property
    def words(self) -> str:
        """In one line; empty when nothing changed."""
        counts = (("opened", sum(self.opened.values())), ("released", sum(self.released.values())))
        return ", ".join(f"{count} {word}" for word, count in counts if count)


def quarantines() -> list[TableName]:
    """The tables of records that break a rule; those of unreadable rows, `<system>__<entity>`, are not among them."""
    return [table for table in catalog.stored_tables(["quarantine"]) if "__" not in table.name]


def update(run_id: str, at: datetime | None = None) -> Change:
    """Write down which cases a build opened and released; the same build again writes nothing.

    ServiceError when the lake does not answer.
    """
    moment, tables = at or datetime.now(UTC), quarantines()

    def write() -> Change:
        from deltalake import CommitProperties, Transaction, write_deltalake

        log = _open()
        compared = _compared(log)
        with ThreadPoolExecutor(max_workers=8) as pool:
            now = dict(zip(tables, pool.map(_identity, tables), strict=True))
            changed = [table for table in tables if now[table] != compared.get(table.name)]
            gone = sorted(compared.keys() - {table.name for table in tables})
            if not changed and not gone:
                return Change({}, {})
            held = _latest(log, [*(table.name for table in changed), *gone])
            found = pool.map(_failures, changed)
            rows = [
                row for table, broken in zip(changed, found, strict=True) for row in _difference(table, held, broken)
            ]
        rows += [{**row, "state": "released"} for row in held if row["state"] == "opened" and row["entity"] in gone]
        number = (log.transaction_version(_APPLICATION) or 0) + 1
        stamped = [{**row, "run_id": run_id, "at": moment} for row in rows]
        write_deltalake(
            log,
            pa.Table.from_pylist(stamped, schema=SCHEMA),
            mode="append",
            commit_properties=CommitProperties(
                app_transactions=[Transaction(_APPLICATION, number)],
                custom_metadata={_METADATA: json.dumps({table.name: now[table] for table in tables})},
            ),
        )
        upkeep.after_load(CASES, number)
        return Change(_counted(stamped, "opened"), _counted(stamped, "released"))

    return patiently(CASES, write, attempts=30)


def first_seen(entity: str, keys: Iterable[tuple[str, str]] | None = None) -> dict[tuple[str, str, str, str], datetime]:
    """Since when (system, key, field, rule) of an entity are broken; all of them, or those of some (system, key)."""
    log = history.open_table(CASES)
    wanted = None if keys is None else set(keys)
    if log is None or wanted == set():
        return {}
    only = f" and source_key in ({', '.join(sorted({_text(key) for _, key in wanted}))})" if wanted else ""
    return {
        (row["source_system"], row["source_key"], row["field"], row["rule"]): row["at"]
        for row in _query(log, f"select * from ({_latest_of([entity], only)}) as latest where state = 'opened'")
        if wanted is None or (row["source_system"], row["source_key"]) in wanted
    }


def oldest(entity: str) -> dict[tuple[str, str, str], datetime]:
    """Since when the oldest open case of each (system, field, rule) of an entity is open."""
    log = history.open_table(CASES)
    if log is None:
        return {}
    rows = _query(
        log,
        f"select source_system, field, rule, min(at) as at from ({_latest_of([entity])}) as latest "
        "where state = 'opened' group by source_system, field, rule",
    )
    return {(row["source_system"], row["field"], row["rule"]): row["at"] for row in rows}


def of_record(entity: str, system: str, key: str) -> list[dict[str, Any]]:
    """All that happened to a record in quarantine, in its order."""
    log = history.open_table(CASES)
    if log is None:
        return []
    return _query(
        log,
        f"select * from cases where entity = {_text(entity)} and source_system = {_text(system)} "
        f"and source_key = {_text(key)} order by at, field, rule",
    )


def _difference(table: TableName, held: Sequence[dict[str, Any]], broken: dict[str, dict[str, Any]]) -> list[Any]:
    known = {row["case_id"] for row in held if row["state"] == "opened" and row["entity"] == table.name}
    opened = [{**row, "state": "opened"} for case, row in broken.items() if case not in known]
    released = [
        {**row, "state": "released"}
        for row in held
        if row["entity"] == table.name and row["state"] == "opened" and row["case_id"] not in broken
    ]
    return opened + released


def _failures(table: TableName) -> dict[str, dict[str, Any]]:
    """What a quarantine table says is broken, by case."""
    delta = history.open_table(table)
    if delta is None:
        return {}
    columns = ["source_system", "source_key", "failures", BATCH_ID]
    if "failures" not in {field.name for field in delta.schema().fields}:
        # made by a build before failures were kept one by one: the next build of it has them
        return {}
    found: dict[str, dict[str, Any]] = {}
    for row in delta.to_pyarrow_dataset().to_table(columns=columns).to_pylist():
        for failure in json.loads(row["failures"] or "[]"):
            about = (table.name, row["source_system"], row["source_key"], failure["field"], failure["rule"])
            case = hashlib.sha256("\0".join(str(part) for part in about).encode()).hexdigest()[:20]
            found[case] = {
                "case_id": case,
                **dict(zip(("entity", "source_system", "source_key", "field", "rule"), about, strict=True)),
                "reason": failure.get("reason"),
                "batch_id": row[BATCH_ID],
            }
    return found


def _latest(log: DeltaTable, entities: Sequence[str]) -> list[dict[str, Any]]:
    """The last transition of each case of some entities."""
    if not entities:
        return []
    return _query(log, _latest_of(entities))


def _latest_of(entities: Sequence[str], only: str = "") -> str:
    """The query of the last transition of each case of some entities; `only` narrows it further."""
    names, columns = ", ".join(_text(name) for name in entities), ", ".join(_COLUMNS)
    return (
        f"select {columns} from (select *, row_number() over (partition by case_id order by at desc) as place "
        f"from cases where entity in ({names}){only}) as aged where place = 1"
    )


def _query(log: DeltaTable, sql: str) -> list[dict[str, Any]]:
    from deltalake import QueryBuilder

    return pa.table(QueryBuilder().register("cases", log).execute(sql)).to_pylist()


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _counted(rows: Iterable[dict[str, Any]], state: str) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        if row["state"] == state:
            about = (row["entity"], row["rule"])
            counts[about] = counts.get(about, 0) + 1
    return counts


def _identity(table: TableName) -> str | None:
    delta = history.open_table(table)
    return f"{delta.metadata().id}@{delta.version()}" if delta else None


def _compared(log: DeltaTable) -> dict[str, str]:
    """The identity of each quarantine table when it was compared last; upkeep's commits do not say it."""
    # each entry is a request, and the newest is nearly always ours
    for limit in (1, 50):
        for entry in log.history(limit):
            if text := entry.get(_METADATA):
                return json.loads(text)
    return {}


def _open() -> DeltaTable:
    from deltalake import DeltaTable, Schema

    now = settings()
    return DeltaTable.create(
        now.table_uri(CASES),
        Schema.from_arrow(SCHEMA),
        mode="ignore",
        name=CASES.name,
        description="When a record began and ceased to break a rule",
        storage_options=now.storage_options(),
    )
