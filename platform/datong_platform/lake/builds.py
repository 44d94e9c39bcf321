"""Builds, and what each let people see: Delta table `ops.build`, one row a build, only ever added to.

dbt builds gold and serve under names that nobody reads (`gold_candidate.x`, `serve_candidate.x`). When the checks of a
table and of all that it was built from passed, the reader's name `gold.x` moves on to the version that was built: the
row that says so is one commit, so the names of all tables of a build move together, or none does. Until then, and when
a check fails, people read the version that passed last, and what failed lies beside it to be looked at. No row is
copied: both are versions of one Delta table.

The row is the only truth. The engine's views are made from it (lake.catalog), PostgreSQL and the write-back open the
version that it names, and a look back at a build reads the versions of its row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa

from datong_platform.errors import ConfigurationError, ServiceError, TerminalError
from datong_platform.lake import commits, history
from datong_platform.names import TableName, parse
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

BUILDS = TableName("ops", "build")
_APPLICATION = "datong:build"

Outcome = Literal["published", "unchanged", "held", "failed", "skipped", "withdrawn"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True)
class Version:
    """One version of a Delta table; `delta_id` tells it from a table that was made anew at the same place."""

    delta_id: str
    number: int

    def __str__(self) -> str:
        return f"{self.delta_id}@{self.number}"

    @classmethod
    def parse(cls, identity: str) -> Version:
        """From the form `id@number`."""
        delta_id, _, number = identity.rpartition("@")
        return cls(delta_id, int(number))


@dataclass(frozen=True)
class Published:
    """The version of a table that people read, and the build that let them."""

    version: Version
    build_id: str
    rows: int | None = None


@dataclass(frozen=True)
class BuiltTable:
    """What a build came to for one table.

    published: its checks passed, people read it; unchanged: people read it already; held: it was built and a check of
    it, or of what it was built from, did not pass; failed: it could not be built; skipped: it was not tried, because of
    another one; withdrawn: the project has it no more.
    """

    table: TableName
    outcome: Outcome
    reason: str = ""
    """Why it was held, failed or skipped."""
    built: Version | None = None
    """The version that the build made, or found made."""
    rows: int | None = None
    """The rows of that version."""
    published: Published | None = None
    """What people read after the build."""
    project: str = ""
    """The dbt project that has the table."""
    contract_version: str = ""
    """The version of the contract that it was built by, where it has one."""


@dataclass(frozen=True)
class Build:
    """One build of gold and serve. `build_id` is the id of its Dagster run."""

    build_id: str
    started_at: datetime
    finished_at: datetime
    is_ok: bool
    engine: str = ""
    code: str = ""
    """A fingerprint of the project's settings and macros."""
    scope: str = "full"
    """full, or selection: only what somebody chose was built."""
    tables: Sequence[BuiltTable] = field(default_factory=list[BuiltTable])
    number: int = 0
    """Place among all builds, from 1."""

    def count(self, *outcomes: Outcome) -> int:
        """How many tables came to one of these outcomes."""
        return sum(table.outcome in outcomes for table in self.tables)

    @property
    def published(self) -> dict[TableName, Published]:
        """What people read after this build."""
        return {table.table: table.published for table in self.tables if table.published is not None}

    @property
    def built(self) -> dict[TableName, Version]:
        """What this build made or found, checked or not; for what it has not, what people read."""
        found = {
            table.table: table.built or (table.published.version if table.published else None) for table in self.tables
        }
        return {table: version for table, version in found.items() if version is not None}


_TABLE = pa.struct(
    [
        ("table_name", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("delta_id", pa.string()),
        ("delta_version", pa.int64()),
        ("row_count", pa.int64()),
        ("published_delta_id", pa.string()),
        ("published_delta_version", pa.int64()),
        ("published_row_count", pa.int64()),
        ("published_by", pa.string()),
        ("project", pa.string()),
        ("contract_version", pa.string()),
    ]
)
_COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "number": (pa.int64(), "Place of the build among all, from 1"),
    "build_id": (pa.string(), "Id of the Dagster run that built"),
    "started_at": (pa.timestamp("us", "UTC"), "When it began, UTC"),
    "finished_at": (pa.timestamp("us", "UTC"), "When it ended, UTC"),
    "is_ok": (pa.bool_(), "Whether all was built and every check passed"),
    "scope": (pa.string(), "full, or selection: only what somebody chose was built"),
    "engine": (pa.string(), "Kind of engine that built"),
    "code": (pa.string(), "Fingerprint of the project's settings and macros"),
    "published_count": (pa.int64(), "Tables whose reader's name moved"),
    "held_count": (pa.int64(), "Tables that were held back, could not be built, or were not tried"),
    "tables": (
        pa.list_(_TABLE),
        "What it came to for each table of gold and serve, and what people read after it",
    ),
}
SCHEMA = pa.schema([pa.field(name, kind, metadata={"comment": words}) for name, (kind, words) in _COLUMNS.items()])


def record(build: Build) -> Build:
    """Write a build down; from this moment people read what it says. Gives it back with its number.

    One build at a time (the caller holds the lock): a second one, made from the same state, is refused by the store.
    ServiceError when the lake does not answer.
    """
    from deltalake import DeltaTable, Schema, Transaction, write_deltalake
    from deltalake.exceptions import DeltaError

    now = settings()
    try:
        table = DeltaTable.create(
            now.table_uri(BUILDS),
            Schema.from_arrow(SCHEMA),
            mode="ignore",
            name=BUILDS.name,
            description="Builds of gold and serve, and what each let people see; only ever added to",
            storage_options=now.storage_options(),
        )
        number = (table.transaction_version(_APPLICATION) or 0) + 1
        row = pa.Table.from_pylist([_row(replace(build, number=number))], schema=SCHEMA)
        commits.once(
            BUILDS,
            table,
            lambda properties: write_deltalake(table, row, mode="append", commit_properties=properties),
            transactions=[Transaction(_APPLICATION, number)],
            # what another one wrote in between was made from the same state: this one must not follow it
            attempts=1,
        )
    except (DeltaError, OSError) as error:
        raise ServiceError(
            f"table {BUILDS}",
            f"cannot be written, so people go on reading what they read: {' '.join(str(error).split())}",
            "run `datong doctor`, then `datong build`: what is built is not built again.",
        ) from error
    return replace(build, number=number)


def latest() -> Build | None:
    """The last build, or None when there was none. ServiceError when the lake does not answer."""
    found = builds(1)
    return found[0] if found else None


def published() -> dict[TableName, Published]:
    """What people read now, by table; tables that never passed their checks are not in it."""
    found = latest()
    return found.published if found else {}


def builds(limit: int | None = None) -> list[Build]:
    """The newest builds first, all or `limit` of them. ServiceError when the lake does not answer."""
    table = history.open_table(BUILDS)
    if table is None:
        return []
    last = table.transaction_version(_APPLICATION) or 0
    return _read(table, None if limit is None else last - limit + 1)


def build(build_id: str) -> Build:
    """The build of this id (or its first letters), or of this number. ConfigurationError when none or several match."""
    table = history.open_table(BUILDS)
    found = [] if table is None else _find(table, build_id)
    if not found:
        raise ConfigurationError(f"build {build_id}", "is not known.", "list them: `datong builds list`.")
    if len(found) > 1:
        raise ConfigurationError(
            f"build {build_id}",
            f"can mean {len(found)} builds: {', '.join(one.build_id for one in found[:3])}.",
            "write more of its id.",
        )
    return found[0]


def open_published(table: TableName) -> DeltaTable:
    """The Delta table at the version that people read.

    TerminalError when no build of it ever passed its checks, or when other hands made the table anew since.
    """
    pinned = published().get(table)
    if pinned is None:
        raise TerminalError(
            f"table {table}",
            "was not published yet: no build of it passed all its checks.",
            "run `datong build`; `datong builds show` tells what held it back.",
        )
    return open_version(table, pinned.version)


def open_version(table: TableName, version: Version) -> DeltaTable:
    """A Delta table at one version.

    TerminalError when that version is kept no more, or the table was made anew. ServiceError when the store fails.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    now = settings()
    gone = TerminalError(
        f"table {table}",
        f"has no version {version.number} any more, or was made anew since by other hands.",
        "run `datong build`: it is built and published again.",
    )
    try:
        found = DeltaTable(now.table_uri(table), version=version.number, storage_options=now.storage_options())
    except TableNotFoundError as error:
        raise gone from error
    except (DeltaError, OSError) as error:
        known = history.open_table(table)
        if known is not None and known.version() >= version.number and str(known.metadata().id) == version.delta_id:
            raise ServiceError(
                f"table {table}", f"cannot be read at version {version.number}: {error}", "run `datong doctor`."
            ) from error
        raise gone from error
    if str(found.metadata().id) != version.delta_id:
        raise gone
    return found


def _find(table: DeltaTable, build_id: str) -> list[Build]:
    if build_id in {"latest", "last"}:
        return _read(table, table.transaction_version(_APPLICATION) or 0)
    if build_id.isdigit() and len(build_id) < 8:
        return _rows(table, f"number = {int(build_id)}")
    if not re.fullmatch(r"[0-9a-zA-Z-]{4,64}", build_id):
        return []
    return _rows(table, f"build_id like '{build_id}%'")


_cached: dict[tuple[str, int, int | None], list[Build]] = {}


def _read(table: DeltaTable, first: int | None) -> list[Build]:
    """The builds from this number on, newest first; a version of the table never changes, so it is read once."""
    place = (f"{table.table_uri} {table.metadata().id}", table.version(), first)
    if place not in _cached:
        if len(_cached) > 8:
            _cached.clear()
        _cached[place] = _rows(table, "true" if first is None else f"number >= {first}")
    return list(_cached[place])


def _rows(table: DeltaTable, condition: str) -> list[Build]:
    # files whose statistics exclude the condition are not opened. Not by to_pyarrow_dataset(): beside a running dbt
    # its threads and Python's were seen waiting for each other without end
    from deltalake import QueryBuilder

    found = pa.table(QueryBuilder().register("build", table).execute(f"select * from build where {condition}"))
    return sorted((_build(row) for row in found.to_pylist()), key=lambda one: -one.number)


def _row(one: Build) -> dict[str, Any]:
    return {
        "number": one.number,
        "build_id": one.build_id,
        "started_at": one.started_at,
        "finished_at": one.finished_at,
        "is_ok": one.is_ok,
        "scope": one.scope,
        "engine": one.engine,
        "code": one.code,
        "published_count": one.count("published"),
        "held_count": one.count("held", "failed", "skipped"),
        "tables": [_table_row(table) for table in sorted(one.tables, key=lambda table: table.table)],
    }


def _table_row(one: BuiltTable) -> dict[str, Any]:
    pinned = one.published
    return {
        "table_name": str(one.table),
        "outcome": one.outcome,
        "reason": one.reason,
        "delta_id": one.built.delta_id if one.built else None,
        "delta_version": one.built.number if one.built else None,
        "row_count": one.rows,
        "published_delta_id": pinned.version.delta_id if pinned else None,
        "published_delta_version": pinned.version.number if pinned else None,
        "published_row_count": pinned.rows if pinned else None,
        "published_by": pinned.build_id if pinned else None,
        "project": one.project,
        "contract_version": one.contract_version,
    }


def _build(row: Mapping[str, Any]) -> Build:
    return Build(
        build_id=row["build_id"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        is_ok=row["is_ok"],
        engine=row["engine"],
        code=row["code"],
        scope=row["scope"],
        tables=[_table(table) for table in row["tables"]],
        number=row["number"],
    )


def _table(row: Mapping[str, Any]) -> BuiltTable:
    shown = row["published_delta_id"]
    return BuiltTable(
        table=parse(row["table_name"]),
        outcome=row["outcome"],
        reason=row["reason"],
        built=Version(row["delta_id"], row["delta_version"]) if row["delta_id"] else None,
        rows=row["row_count"],
        published=Published(
            Version(shown, row["published_delta_version"]), row["published_by"], row["published_row_count"]
        )
        if shown
        else None,
        project=row["project"],
        contract_version=row["contract_version"],
    )
