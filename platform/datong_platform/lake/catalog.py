"""The catalog, derived: the engine learns the tables from storage, and the views from `ops.view_definition`.

The embedded engine forgets its catalog when it stops, so nothing of it may be precious. `register()` makes it again:
every folder `<schema>/<name>` of the bucket that holds a Delta log becomes a table, and every view that dbt recorded
when it last built it (macro record_views) is made again, without starting dbt. It is quick enough to be called after
every start, and safe to repeat.

A table of gold or serve is known by three names: as it was built last (`gold_candidate.x`), at any version
(`history.gold__x`), and as people read it (`gold.x`, a view of the version that the last build let them see, see
lake.builds). The second one is registered without columns: Sail takes those that a table is registered with for those
of all its versions.

Run it alone: `python -m datong_platform.lake.catalog`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from datong_platform import engine
from datong_platform.errors import ConfigurationError, ServiceError, TerminalError
from datong_platform.lake import builds, storage
from datong_platform.names import CANDIDATES, HISTORY, SCHEMAS, Schema, TableName
from datong_platform.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

VIEWS = TableName("ops", "view_definition")
"""Where dbt's macro record_views writes the SQL of every view that it built."""

ENGINE_SCHEMAS = (*SCHEMAS, *CANDIDATES.values(), HISTORY)

_SHOWN = f"{HISTORY}.shown"
"""A view that tells the build whose tables the readers' names lead to."""
_AT_ONCE = 8
_RELATION = re.compile(rf"\b(?:{'|'.join(ENGINE_SCHEMAS)})\.[a-z][a-z0-9_]*\b")
"""A table or view of ours where a view's SQL names it."""
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass
class Registered:
    """What the engine knows now. `skipped` tells for a table or view that could not be registered why not."""

    tables: list[TableName] = field(default_factory=list[TableName])
    views: list[str] = field(default_factory=list[str])
    skipped: dict[str, str] = field(default_factory=dict[str, str])


def stored_tables(schemas: Iterable[str] = SCHEMAS) -> list[TableName]:
    """The Delta tables that lie in the bucket, in order. ServiceError when the store does not answer."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            found = pool.map(_tables_of, [schema for schema in SCHEMAS if schema in set(schemas)])
            candidates = [table for tables in found for table in tables]
            held = pool.map(_has_log, candidates)
            return sorted(table for table, has_log in zip(candidates, held, strict=True) if has_log)
    except (ClientError, BotoCoreError) as error:
        raise ServiceError(
            f"store at {settings().s3_endpoint or 'AWS'}, bucket {settings().bucket}",
            f"cannot be listed: {error}",
            "run `datong doctor`.",
        ) from error


@engine.in_use()
def register(only: Iterable[TableName] | None = None) -> Registered:
    """Make the engine know the tables of storage, all or `only` some, and with all of them the views.

    A table that can't be registered is skipped with its reason, and so is a view whose tables are not there: the rest
    of the lake stays usable. ServiceError when the engine or the store does not answer.
    """
    spark = engine.session()
    wanted = None if only is None else sorted(set(only))
    for schema in ENGINE_SCHEMAS if wanted is None else sorted({table.candidate.split(".")[0] for table in wanted}):
        spark.sql(f"create schema if not exists {schema}").collect()
    tables = stored_tables() if wanted is None else wanted
    done = Registered()
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        for table, reason in zip(tables, pool.map(lambda table: _register(spark, table), tables), strict=True):
            if reason:
                done.skipped[str(table)] = reason
            else:
                done.tables.append(table)
    if wanted is None:
        done.skipped |= show_published(anew=True)
    if wanted is None and VIEWS in done.tables:
        _make_views(spark, done)
    return done


@engine.in_use()
def show_published(
    last: builds.Build | None = None, previous: builds.Build | None = None, *, anew: bool = False
) -> dict[str, str]:
    """Let the readers' names lead to what the last build published: `gold.x` to the version of its row.

    Each name moves in one step, so a reader sees one version or the other. Nothing is done where the engine shows that
    build already, unless `anew`. The names that could not be moved, with the reason. Who just made the `last` build and
    knows the `previous` one spares the look for them, and for the versions that the build itself read.
    """
    read_by = last.build_id if last else ""
    last = last or builds.latest()
    spark = engine.session()
    before = None if anew else _shown(spark, previous)
    if last is None or (before is not None and before.build_id == last.build_id):
        return {}
    known = before.published if before else {}
    if before is None:
        for schema in (*CANDIDATES, HISTORY):
            spark.sql(f"create schema if not exists {schema}").collect()
    if before is not None and before.number == last.number - 1:
        shown = set(known)
    else:
        # a build in between can have died while it moved names
        shown = {TableName(schema, name) for schema in CANDIDATES for name in _views(spark, schema)}
    moved = {table: pinned for table, pinned in last.published.items() if known.get(table) != pinned}
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        reasons = pool.map(
            lambda table: _show(spark, table, moved[table].version, is_read=moved[table].build_id == read_by), moved
        )
        skipped = {str(table): reason for table, reason in zip(moved, reasons, strict=True) if reason}
    for table in sorted(shown - last.published.keys()):
        spark.sql(f"drop view if exists {table}").collect()
    if not skipped:
        spark.sql(f"create or replace view {_SHOWN} as select '{last.build_id}' as build_id").collect()
    return skipped


def register_history(tables: Iterable[TableName]) -> None:
    """Let the engine know every version of these tables, whether people read one yet or not."""
    spark = engine.session()
    spark.sql(f"create schema if not exists {HISTORY}").collect()
    for table in tables:
        _register_history(spark, table)


def _register_history(spark: SparkSession, table: TableName) -> str | None:
    place = f"using delta location '{settings().engine_table_uri(table)}'"
    return _attempt(spark, f"create table if not exists {table.history} {place}")


def _shown(spark: SparkSession, guess: builds.Build | None = None) -> builds.Build | None:
    """The build whose tables the readers' names lead to; None when the engine is new, or its names are unfinished."""
    from pyspark.errors import PySparkException

    try:
        # asked for first: to read what is not there would be logged as an error by the engine's client
        if _SHOWN.partition(".")[2] not in _views(spark, HISTORY):
            return None
        build_id = str(spark.sql(f"select build_id from {_SHOWN}").collect()[0][0])
        return guess if guess is not None and guess.build_id == build_id else builds.build(build_id)
    except (PySparkException, ConfigurationError):
        return None


def _show(spark: SparkSession, table: TableName, version: builds.Version, *, is_read: bool) -> str | None:
    try:
        if not is_read:
            builds.open_version(table, version)
    except TerminalError as error:
        return error.reason
    return _register_history(spark, table) or _attempt(
        spark, f"create or replace view {table} as select * from {table.history} version as of {version.number}"
    )


def _views(spark: SparkSession, schema: str) -> set[str]:
    """The names of a schema's views: Spark has them in the column viewName, Sail in tableName."""
    rows = [row.asDict() for row in spark.sql(f"show views in {schema}").collect()]
    return {row.get("viewName") or row["tableName"] for row in rows}


@engine.in_use()
def ensure(schemas: Collection[str] = ()) -> None:
    """Register what the engine does not know yet: everything after its start, later the bronze tables that are new.
    Forget what it knows and storage does not hold. With `schemas`, only in these; the readers' names are left alone.

    dbt calls this when it connects, because a bronze table that the engine does not know would look like a system that
    is not connected, and a table that exists in name only like one to add rows to. ServiceError when a bronze table
    can't be registered.
    """
    spark = engine.session()
    known = {row[0] for row in spark.sql("show schemas").collect()}
    if not set(ENGINE_SCHEMAS) <= known:
        _refuse_partly(register())
        return
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        looked_at = [schema for schema in SCHEMAS if not schemas or schema in schemas]
        unwritten = [
            table for tables in pool.map(lambda schema: _unwritten(spark, schema), looked_at) for table in tables
        ]
    for table in unwritten:
        spark.sql(f"drop table if exists {table.candidate}").collect()
    if "bronze" in looked_at:
        _register_new_bronze(spark)
    if not schemas:
        show_published()


def _register_new_bronze(spark: SparkSession) -> None:
    registered = {row.tableName for row in spark.sql("show tables in bronze").collect()}
    missing = [table for table in _tables_of("bronze") if table.name not in registered]
    if missing:
        _refuse_partly(register([table for table in missing if _has_log(table)]))


@engine.in_use()
def renew(tables: Iterable[TableName]) -> None:
    """Register anew the tables that the engine knows with other types than they have: Sail would read them by those.

    ServiceError when one can't be registered; then the engine does not know it at all.
    """
    if settings().engine_kind != "sail":
        return
    spark = engine.session()
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        changed = pool.map(lambda table: _is_outdated(spark, table), wanted := sorted(set(tables)))
        outdated = [table for table, is_so in zip(wanted, changed, strict=True) if is_so]
    for table in outdated:
        # the folder in storage stays
        spark.sql(f"drop table if exists {table.candidate}").collect()
    if outdated:
        _refuse_partly(register(outdated))


def _is_outdated(spark: SparkSession, table: TableName) -> bool:
    from pyspark.errors import PySparkException

    try:
        known = {row[0]: row[1] for row in spark.sql(f"describe table {table.candidate}").collect()}
    except PySparkException:
        return False
    log = _log_of(table)
    # a table with nested columns is registered without any, and a new column is read in any case
    return any(_plain(known[name]) != _plain(kind) for name, kind in _types(log).items() if name in known)


def _types(log: Mapping[str, Any]) -> dict[str, str]:
    return {field["name"]: _sql_type(field["type"]) for field in log["fields"]}


def _plain(kind: str) -> str:
    return re.sub(r"[\s`]|not null", "", kind).lower()


def _log_of(table: TableName) -> dict[str, Any]:
    """The schema that a table's log tells."""
    from deltalake import DeltaTable

    delta = DeltaTable(settings().table_uri(table), storage_options=settings().storage_options())
    return json.loads(delta.schema().to_json())


def _refuse_partly(done: Registered) -> None:
    """ServiceError when a bronze table that lies in storage is not known to the engine: its system would look empty."""
    for name, reason in done.skipped.items():
        if name.startswith("bronze."):
            raise ServiceError(
                f"table {name}", f"lies in storage and the engine can't register it: {reason}.", "run `datong doctor`."
            )


def _unwritten(spark: SparkSession, schema: Schema) -> list[TableName]:
    """The tables of a schema that the engine knows by name only: a first build that failed leaves the name behind."""
    where = TableName(schema, "").candidate.removesuffix(".")
    names = {row.tableName for row in spark.sql(f"show tables in {where}").collect()} - _views(spark, where)
    stored = set(storage.folders(f"{schema}/"))
    return [table for name in sorted(names - stored) if not _has_log(table := TableName(schema, name))]


def _tables_of(schema: str) -> list[TableName]:
    return [TableName(schema, name) for name in storage.folders(f"{schema}/")]  # pyright: ignore[reportArgumentType]


def _has_log(table: TableName) -> bool:
    answer = storage.client().list_objects_v2(Bucket=settings().bucket, Prefix=f"{table.path}/_delta_log/", MaxKeys=1)
    return bool(answer.get("KeyCount"))


def _register(spark: SparkSession, table: TableName) -> str | None:
    place = f"using delta location '{settings().engine_table_uri(table)}'"
    plain = f"create table if not exists {table.candidate} {place}"
    if settings().engine_kind != "sail":
        return _attempt(spark, plain)
    # Sail reads a table by its log in any case, but describes it by the columns that it was registered with
    try:
        log = _log_of(table)
    except Exception as error:  # noqa: BLE001 - delta-rs raises many kinds; a broken log must not hide the others
        return f"its Delta log can't be read: {error}"
    if any(field["metadata"] for field in log["fields"]):
        # to Sail a comment makes it another column, so the columns would be refused, and its client would log that
        return _attempt(spark, plain)
    return _attempt(spark, f"create table if not exists {table.candidate} ({_columns(log)}) {place}") and _attempt(
        spark, plain
    )


_SQL_TYPES = {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint"}


def _columns(schema: Mapping[str, Any], separator: str = " ") -> str:
    return ", ".join(
        f"`{field['name']}`{separator}{_sql_type(field['type'])}{'' if field['nullable'] else ' not null'}"
        for field in schema["fields"]
    )


def _sql_type(kind: str | Mapping[str, Any]) -> str:
    """A type of the Delta log in the words of Spark SQL."""
    if isinstance(kind, str):
        return _SQL_TYPES.get(kind, kind)
    if kind["type"] == "struct":
        return f"struct<{_columns(kind, ': ')}>"
    if kind["type"] == "array":
        return f"array<{_sql_type(kind['elementType'])}>"
    return f"map<{_sql_type(kind['keyType'])}, {_sql_type(kind['valueType'])}>"


def _make_views(spark: SparkSession, done: Registered) -> None:
    """Make the views, each after those that it reads; one that reads what is not there is skipped, not tried."""
    rows: list[Any] = spark.sql(f"select view_name, definition from {VIEWS}").collect()
    definitions = {str(row[0]): str(row[1]) for row in rows}
    reads = {view: set(_RELATION.findall(_COMMENT.sub("", sql))) - {view} for view, sql in definitions.items()}
    known = {name for table in done.tables for name in (table.candidate, table.history, str(table))}
    left = set(definitions)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        while ready := sorted(view for view in left if reads[view] <= known):
            statements = [f"create or replace view {view} as\n{definitions[view]}" for view in ready]
            for view, reason in zip(ready, pool.map(lambda sql: _attempt(spark, sql), statements), strict=True):
                if reason:
                    done.skipped[view] = reason
                else:
                    done.views.append(view)
                    known.add(view)
            left -= set(ready)
    for view in sorted(left):
        done.skipped[view] = f"it reads {', '.join(sorted(reads[view] - known))}, which is not there"


def _attempt(spark: SparkSession, sql: str) -> str | None:
    """Run a statement; the first line of what went wrong, or None."""
    from pyspark.errors import PySparkException

    try:
        spark.sql(sql).collect()
    except PySparkException as error:
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return None


if __name__ == "__main__":
    registered = register()
    print(f"{len(registered.tables)} tables, {len(registered.views)} views")
    for name, reason in registered.skipped.items():
        print(f"{name}: {reason}")
