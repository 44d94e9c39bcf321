"""Publishing: the BI tables of `serve`, carried from Delta to PostgreSQL schema `serve`.

From -> to: `serve.bi__order_fulfilment` (Delta) -> `serve.order_fulfilment` (PostgreSQL). Readers never wait and never
see half a table:

- Same columns and key as before: the rows are staged in a temporary table, compared with what is published, and only
  the differences are applied, in one transaction. Nothing new costs one staging and changes nothing.
- A new table or another structure: the new table is built beside the old one and takes its name, in one transaction.
  The lock that this needs is asked for without queueing (NOWAIT, again and again), because a queued lock would make
  every later reader wait behind it. Its rows are written frozen: a reader whose snapshot is older than the swap would
  otherwise find the new table, and find it empty.

How the rows lie and which indexes they have is decided in `bi_layout`. What was published is recorded in
`ops.publication` in the same transaction, so a Delta version that is already there is skipped at once. Run it alone:
`python -m datong_platform.lake.publish [TABLE…]`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from datong_platform.errors import (
    ConfigurationError,
    ConservationError,
    DatongError,
    SchemaError,
    ServiceError,
    TerminalError,
    TransientError,
)
from datong_platform.lake import bi_layout, builds
from datong_platform.lake.bi_layout import Order, Spread
from datong_platform.lake.indexes import Index, index_of
from datong_platform.names import TableName, parse, public_schema
from datong_platform.settings import DBT_PROJECT, settings

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from psycopg import Connection, Cursor

READER_ROLE = "bi_reader"
PREFIX = "bi__"

_LONGEST_NAME = 63  # PostgreSQL cuts a longer identifier without a word
_BATCH_ROWS = 65_536
_TOLD_ANEW = 0.1
"""Part of the rows that changed, from which PostgreSQL's statistics are made anew at once."""

_TYPES: dict[pa.DataType, str] = {
    pa.string(): "text",
    pa.large_string(): "text",
    pa.string_view(): "text",
    pa.bool_(): "boolean",
    pa.int8(): "smallint",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.date32(): "date",
}

How = Literal["unchanged", "differences", "created", "swapped"]


@dataclass(frozen=True)
class ColumnSpec:
    """What a reader is told of a column."""

    description: str = ""
    title_zh: str = ""


@dataclass(frozen=True)
class PublishSpec:
    """One table to publish: the Delta table `serve.bi__<noun>`, its key, and what readers are told of it.

    `key` are the columns that identify a row (the primary key); `indexes` are the further ones, None when they are to
    follow from the columns. Rows are written in the order of `cluster_by`, by default the first date; "" for none.
    """

    source: TableName
    key: tuple[str, ...]
    description: str = ""
    title_zh: str = ""
    columns: Mapping[str, ColumnSpec] = field(default_factory=dict[str, ColumnSpec])
    indexes: tuple[Index, ...] | None = None
    cluster_by: str | None = None

    @property
    def name(self) -> str:
        """The table's name in PostgreSQL, schema `serve`."""
        return self.source.name.removeprefix(PREFIX)

    @property
    def fingerprint(self) -> str:
        """Changes when anything in this specification does."""
        parts = [
            str(self.source),
            self.key,
            self.description,
            self.title_zh,
            sorted((name, column.description, column.title_zh) for name, column in self.columns.items()),
            self.indexes and [(index.columns, index.method) for index in self.indexes],
            self.cluster_by,
        ]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class PublishResult:
    """What publishing one table did. `rows` is the published table's row count."""

    table: str
    how: How
    rows: int
    inserted: int
    updated: int
    deleted: int
    delta_version: int
    seconds: float


def load_specs(manifest: Path = DBT_PROJECT / "target" / "manifest.json") -> list[PublishSpec]:
    """The tables to publish, from dbt's manifest: every model of schema `serve` whose name starts with `bi__`.

    The key is the model's `meta.key` (or its primary_key constraint), titles are `meta.title_zh`, further indexes
    `meta.indexes`, the order `meta.cluster_by`. ConfigurationError when there is no manifest, or a model names no key.
    """
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"dbt manifest {manifest.name}", "is not there: the dbt project was never parsed.", "run `datong build`."
        ) from error
    nodes = [
        node
        for node in content["nodes"].values()
        if node["resource_type"] == "model"
        and public_schema(node["schema"]) == "serve"
        and _relation(node).startswith(PREFIX)
    ]
    return sorted((_spec(node) for node in nodes), key=lambda spec: spec.source)


def _relation(node: Mapping[str, Any]) -> str:
    return node.get("alias") or node["name"]


def _meta(node: Mapping[str, Any]) -> dict[str, Any]:
    return {**(node.get("meta") or {}), **((node.get("config") or {}).get("meta") or {})}


def _spec(node: Mapping[str, Any]) -> PublishSpec:
    meta = _meta(node)
    declared = [item["columns"] for item in node.get("constraints") or [] if item.get("type") == "primary_key"]
    key: Any = meta.get("key") or meta.get("primary_key") or (declared[0] if declared else [])
    return PublishSpec(
        source=TableName("serve", _relation(node)),
        key=(key,) if isinstance(key, str) else tuple(key),
        description=" ".join((node.get("description") or "").split()),
        title_zh=meta.get("title_zh", ""),
        columns={
            name: ColumnSpec(" ".join((column.get("description") or "").split()), _meta(column).get("title_zh", ""))
            for name, column in (node.get("columns") or {}).items()
        },
        indexes=_indexes(meta, _relation(node)),
        cluster_by=meta.get("cluster_by"),
    )


def _indexes(meta: Mapping[str, Any], model: str) -> tuple[Index, ...] | None:
    if "indexes" not in meta:
        return None
    return tuple(index_of(item, f"meta.indexes of model {model}") for item in meta["indexes"])


def publish_table(spec: PublishSpec, *, url: str | None = None, patience_seconds: float = 60) -> PublishResult:
    """Publish one table and say what changed.

    `url` is the PostgreSQL to publish to, by default that of the settings. `patience_seconds` is how long to try for
    the moment without readers that a changed structure needs.

    Errors: ConfigurationError (no key, or a key or index over unknown columns), SchemaError (a type without a
    PostgreSQL counterpart, a null or double key, a value PostgreSQL does not take), ServiceError (database not
    reachable, no role `bi_reader`), TransientError (readers held the old structure all the time), TerminalError (no
    build of the table passed its checks yet, others' objects depend on the old structure). After any of them the table
    is as it was before.
    """
    started = time.monotonic()
    if not spec.key:
        raise ConfigurationError(
            f"table {spec.source}", "names no key, so it cannot be published.", "give the model `meta: {key: [...]}`."
        )
    delta = builds.open_published(spec.source)
    schema = pa.schema(delta.schema().to_arrow())
    columns = _postgres_columns(spec, schema)
    with _connect(url or settings().need("postgres_url")) as connection, _explained(spec):
        _prepare(connection)
        _lock_publication(connection, spec.name)
        known = _published(connection, spec.name)
        version, delta_id = delta.version(), str(delta.metadata().id)
        there = _structure(connection, spec.name)
        if known is not None and there and known[:3] == (delta_id, version, spec.fingerprint):
            return PublishResult(spec.name, "unchanged", known[3], 0, 0, 0, version, time.monotonic() - started)
        if there == _Structure(tuple(columns.items()), spec.key):
            inserted, updated, deleted, rows = _apply_differences(connection, spec, columns, delta)
            how: How = "differences" if inserted or updated or deleted else "unchanged"
            if inserted + updated + deleted > rows * _TOLD_ANEW:
                _run(connection, f"analyze serve.{_identifier(spec.name)}")
            _describe(connection, spec, columns, rows)
        else:
            order = Order(schema, bi_layout.clustered_by(spec.cluster_by, schema))
            rows = _build(connection, spec, columns, delta, order)
            indexes = _describe(connection, spec, columns, rows, order)
            _swap(connection, spec, indexes, exists=there is not None, patience_seconds=patience_seconds)
            inserted, updated, deleted = rows, 0, 0
            how = "swapped" if there else "created"
        seconds = time.monotonic() - started
        connection.execute(
            """
            insert into ops.publication as p values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, now(), %s)
            on conflict (table_name) do update set
                source = excluded.source, delta_id = excluded.delta_id, delta_version = excluded.delta_version,
                fingerprint = excluded.fingerprint, how = excluded.how, row_count = excluded.row_count,
                inserted = excluded.inserted, updated = excluded.updated, deleted = excluded.deleted,
                published_at = excluded.published_at, seconds = excluded.seconds
            """,
            (
                *(spec.name, str(spec.source), delta_id, version, spec.fingerprint, how),
                *(rows, inserted, updated, deleted, round(seconds, 3)),
            ),
        )
    return PublishResult(spec.name, how, rows, inserted, updated, deleted, version, time.monotonic() - started)


def publish_all(
    specs: Iterable[PublishSpec] | None = None, *, url: str | None = None
) -> dict[str, PublishResult | DatongError]:
    """Publish each table; one that fails does not stop the others. Outcomes by the table's name in PostgreSQL."""
    outcomes: dict[str, PublishResult | DatongError] = {}
    for spec in load_specs() if specs is None else specs:
        try:
            outcomes[spec.name] = publish_table(spec, url=url)
        except DatongError as error:
            outcomes[spec.name] = error
    return outcomes


def _postgres_columns(spec: PublishSpec, schema: pa.Schema) -> dict[str, str]:
    """PostgreSQL's type of each column, in the words of its own format_type()."""
    columns = {item.name: _postgres_type(spec, item) for item in schema}
    indexed = [name for index in spec.indexes or () for name in index.columns]
    for name in (*spec.key, *indexed, *([spec.cluster_by] if spec.cluster_by else [])):
        if name not in columns:
            raise ConfigurationError(
                f"table {spec.source}",
                f"has no column {name!r}, which its key, an index or its order names.",
                "mend the model's meta, or build the model again.",
            )
    if spec.cluster_by and not bi_layout.can_order(schema.field(spec.cluster_by).type):
        raise ConfigurationError(
            f"table {spec.source}",
            f"is to lie in the order of {spec.cluster_by}, which is neither a date nor a whole number.",
            "name another column in the model's `meta.cluster_by`.",
        )
    for name in (spec.name, *columns):
        if len(name.encode()) > _LONGEST_NAME:
            raise SchemaError(
                f"table {spec.source}", f"the name {name!r} is longer than PostgreSQL's 63 bytes.", "shorten it."
            )
    return columns


def _postgres_type(spec: PublishSpec, column: pa.Field) -> str:
    kind = column.type
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return f"timestamp {'with' if kind.tz else 'without'} time zone"
    found = _TYPES.get(kind)
    if found is None:
        raise SchemaError(
            f"column {spec.source}.{column.name}",
            f"is of type {kind}, which has no counterpart in a BI table.",
            "give it a plain type in the model: text, number, boolean, date or timestamp.",
        )
    return found


@contextmanager
def _connect(url: str) -> Generator[Connection]:
    """A connection that is one transaction: committed at the end, rolled back on an error."""
    import psycopg

    from datong_platform.silence import patient

    try:
        connection = patient(url, autocommit=False, connect_timeout=10, application_name="datong publish")
    except psycopg.OperationalError as error:
        raise ServiceError(
            "PostgreSQL for BI",
            f"cannot be reached: {_words(error)}",
            "run `datong doctor`; a company's own database is set by DATONG_POSTGRES_URL.",
        ) from error
    with connection:
        yield connection


@contextmanager
def _explained(spec: PublishSpec) -> Generator[None]:
    """PostgreSQL's refusals in the words of the publisher."""
    import psycopg
    from psycopg import errors

    thing = f"table serve.{spec.name} in PostgreSQL"
    try:
        yield
    except errors.NotNullViolation as error:
        raise _bad_key(spec, f"{error.diag.message_primary or _words(error)}.") from error
    except errors.UniqueViolation as error:
        raise _bad_key(spec, error.diag.message_detail or _words(error)) from error
    except errors.DependentObjectsStillExist as error:
        raise TerminalError(
            thing,
            f"its structure changed, but other objects depend on it: {error.diag.message_detail or _words(error)}",
            "drop those objects (or recreate them afterwards), then publish again.",
        ) from error
    except errors.InsufficientPrivilege as error:
        raise ServiceError(
            thing,
            f"PostgreSQL refuses: {_words(error)}",
            "let the role of DATONG_POSTGRES_URL own schema serve and ops.",
        ) from error
    except errors.DataError as error:
        raise SchemaError(
            thing,
            f"PostgreSQL does not take a value: {_words(error)} {error.diag.context or ''}".rstrip(),
            "mend the value in the model; the table published before is untouched.",
        ) from error
    except psycopg.OperationalError as error:
        raise ServiceError(
            thing, f"the connection was lost: {_words(error)}", "run `datong doctor`, then publish again."
        ) from error


def _bad_key(spec: PublishSpec, detail: str) -> SchemaError:
    return SchemaError(
        f"table {spec.source}",
        f"its key ({', '.join(spec.key)}) does not identify its rows: {detail.strip()}",
        "mend the model or its key; the table published before is untouched.",
    )


def _words(error: Exception) -> str:
    return " ".join(str(error).split())


def _lock_publication(connection: Connection, name: str) -> None:
    """Wait for another publisher of the same table; the lock ends with the transaction."""
    connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"datong.publish.{name}",))


def _prepare(connection: Connection) -> None:
    """The schemas and the record, made once; checked first, because making them takes locks."""
    role = connection.execute("select 1 from pg_roles where rolname = %s", (READER_ROLE,)).fetchone()
    if role is None:
        raise ServiceError(
            f"role {READER_ROLE} in PostgreSQL",
            "does not exist, so nobody could read what is published.",
            f"run `datong up`, or in a company's own database `create role {READER_ROLE}`.",
        )
    ready = connection.execute(
        """
        select to_regclass('ops.publication') is not null and to_regnamespace('serve') is not null
            and has_schema_privilege(%s, to_regnamespace('serve'), 'usage')
        """,
        (READER_ROLE,),
    ).fetchone()
    if ready is None or not ready[0]:
        connection.execute("select pg_advisory_xact_lock(hashtextextended('datong.publish', 0))")
        connection.execute("create schema if not exists serve")
        connection.execute("create schema if not exists ops")
        _run(connection, f"grant usage on schema serve to {READER_ROLE}")
        connection.execute(
            """
            create table if not exists ops.publication (
                table_name text primary key,
                source text not null,
                delta_id text not null,
                delta_version bigint not null,
                fingerprint text not null,
                how text not null,
                row_count bigint not null,
                inserted bigint not null,
                updated bigint not null,
                deleted bigint not null,
                published_at timestamptz not null,
                seconds double precision not null
            )
            """
        )
        connection.execute(
            "comment on table ops.publication is 'What was last published to schema serve, from which Delta version'"
        )
    connection.commit()
    # memory for the comparison's hash join and the index, for this transaction alone
    connection.execute("set local work_mem = '128MB'")
    connection.execute("set local maintenance_work_mem = '256MB'")


def _published(connection: Connection, name: str) -> tuple[str, int, str, int] | None:
    """What was published last: Delta id, Delta version, the specification's fingerprint, rows."""
    return connection.execute(
        "select delta_id, delta_version, fingerprint, row_count from ops.publication where table_name = %s", (name,)
    ).fetchone()


@dataclass(frozen=True)
class _Structure:
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]


def _structure(connection: Connection, name: str) -> _Structure | None:
    """Columns with types and the primary key of the published table; None when there is none."""
    found = connection.execute(
        "select c.oid, c.relkind from pg_class c where c.relname = %s and c.relnamespace = to_regnamespace('serve')",
        (name,),
    ).fetchone()
    if found is None:
        return None
    oid, kind = found
    if kind not in {"r", b"r"}:
        raise TerminalError(
            f"serve.{name} in PostgreSQL",
            "is not a table, so it was not made by publishing.",
            "drop or rename it: schema serve belongs to Datong.",
        )
    columns = connection.execute(
        """
        select attname, format_type(atttypid, atttypmod) from pg_attribute
        where attrelid = %s and attnum > 0 and not attisdropped order by attnum
        """,
        (oid,),
    ).fetchall()
    key = connection.execute(
        """
        select a.attname from pg_index i
        cross join unnest(i.indkey) with ordinality as k (attnum, place)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        where i.indrelid = %s and i.indisprimary order by k.place
        """,
        (oid,),
    ).fetchall()
    return _Structure(tuple((row[0], row[1]) for row in columns), tuple(row[0] for row in key))


def _run(connection: Connection, statement: str) -> Cursor:
    """Run a statement whose names were quoted by `_identifier`."""
    return connection.execute(statement.encode())


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _list(names: Iterable[str], prefix: str = "") -> str:
    return ", ".join(prefix + _identifier(name) for name in names)


def _definition(columns: Mapping[str, str], key: Sequence[str]) -> str:
    return ", ".join(
        f"{_identifier(name)} {kind}{' not null' if name in key else ''}" for name, kind in columns.items()
    )


def _copy(
    connection: Connection, into: str, columns: Mapping[str, str], delta: DeltaTable, order: Order | None = None
) -> int:
    """Stream the Delta table into `into` by COPY; rows written. Encoding runs beside sending. With an order: a table
    of this transaction, whose rows are written frozen."""
    rows = 0
    options = "format csv, freeze" if order else "format csv"
    with (
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode") as encoder,
        connection.cursor() as cursor,
        cursor.copy(f"copy {into} ({_list(columns)}) from stdin ({options})".encode()) as copy,
    ):
        batches = order.arranged(_batches(delta), _BATCH_ROWS) if order else _batches(delta)
        following = encoder.submit(_encoded, batches)
        while (piece := following.result()) is not None:
            following = encoder.submit(_encoded, batches)
            rows += piece[0]
            copy.write(piece[1])
    return rows


def _batches(delta: DeltaTable) -> Iterator[pa.RecordBatch]:
    from deltalake import QueryBuilder

    names = [item.name for item in delta.schema().fields]
    reader = pa.RecordBatchReader.from_stream(
        QueryBuilder().register("source", delta).execute(f"select {_list(names)} from source")
    )
    # neither a take nor the writing of CSV knows views
    plain = pa.schema(
        [
            pa.field(item.name, pa.string() if pa.types.is_string_view(item.type) else item.type)
            for item in reader.schema
        ]
    )
    for batch in reader:
        yield batch.cast(plain)


def _encoded(batches: Iterator[pa.RecordBatch]) -> tuple[int, memoryview] | None:
    """The next rows as CSV: a null is an empty field, an empty text is quoted."""
    from pyarrow import csv

    gathered: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        gathered.append(batch)
        rows += batch.num_rows
        if rows >= _BATCH_ROWS:
            break
    if not gathered:
        return None
    sink = pa.BufferOutputStream()
    csv.write_csv(pa.Table.from_batches(gathered), sink, csv.WriteOptions(include_header=False))
    return rows, memoryview(sink.getvalue())


def _apply_differences(
    connection: Connection, spec: PublishSpec, columns: Mapping[str, str], delta: DeltaTable
) -> tuple[int, int, int, int]:
    """Make the published table equal to the Delta table: rows inserted, updated, deleted, and rows now."""
    target = f"serve.{_identifier(spec.name)}"
    _run(connection, f"create temp table datong_stage ({_definition(columns, spec.key)}) on commit drop")
    staged = _copy(connection, "datong_stage", columns, delta)
    _run(connection, f"analyze datong_stage ({_list(spec.key)})")
    same_key = " and ".join(f"s.{_identifier(name)} = t.{_identifier(name)}" for name in spec.key)
    first = _identifier(spec.key[0])
    others = [name for name in columns if name not in spec.key]
    changed = f"or ({_list(others, 's.')}) is distinct from ({_list(others, 't.')})" if others else ""
    old_keys = {name: f"datong key {place}" for place, name in enumerate(spec.key)}
    _run(
        connection,
        f"""
        create temp table datong_difference on commit drop as
        select s.*, {", ".join(f"t.{_identifier(name)} as {_identifier(alias)}" for name, alias in old_keys.items())},
            case when t.{first} is null then 'i' when s.{first} is null then 'd' else 'u' end as "datong operation"
        from datong_stage s full join {target} t on {same_key}
        where t.{first} is null or s.{first} is null {changed}
        """,
    )
    counts: dict[str, int] = dict(
        connection.execute('select "datong operation", count(*) from datong_difference group by 1').fetchall()
    )
    inserted, updated, deleted = (counts.get(operation, 0) for operation in "iud")
    before = _count(connection, target)
    if staged - inserted > before - deleted:
        # more staged rows met a published row than there are such rows: a key came twice
        double = _run(
            connection,
            f"""
            select {_list(spec.key)}, count(*) from datong_stage
            group by {_list(spec.key)} having count(*) > 1 limit 3
            """,
        ).fetchall()
        raise _bad_key(spec, f"for example {'; '.join(f'{row[:-1]} comes {row[-1]} times' for row in double)}.")
    here = " and ".join(f"t.{_identifier(name)} = d.{_identifier(alias)}" for name, alias in old_keys.items())
    if deleted:
        _run(
            connection,
            f"""delete from {target} t using datong_difference d where d."datong operation" = 'd' and {here}""",
        )
    if updated:
        values = ", ".join(f"{_identifier(name)} = d.{_identifier(name)}" for name in others)
        _run(
            connection,
            f"""update {target} t set {values} from datong_difference d where d."datong operation" = 'u' and {here}""",
        )
    if inserted:
        _run(
            connection,
            f"""
            insert into {target} ({_list(columns)})
            select {_list(columns)} from datong_difference where "datong operation" = 'i'
            """,
        )
    after = _count(connection, target) if inserted or updated or deleted else before
    if after != staged:
        raise ConservationError(
            f"table serve.{spec.name} in PostgreSQL",
            f"would hold {after} rows where the lake holds {staged}.",
            "publish again; if it stays, drop the table in PostgreSQL so that it is built anew.",
        )
    return inserted, updated, deleted, after


def _count(connection: Connection, table: str) -> int:
    row = _run(connection, f"select count(*) from {table}").fetchone()
    return row[0] if row else 0


def _building(spec: PublishSpec) -> str:
    """The name of the table while it is built: short enough, and never a published one's."""
    return "datong building " + hashlib.sha256(spec.name.encode()).hexdigest()[:16]


def _build(
    connection: Connection, spec: PublishSpec, columns: Mapping[str, str], delta: DeltaTable, order: Order
) -> int:
    """The new table, with rows and key, under a name that only this transaction sees."""
    new = f"serve.{_identifier(_building(spec))}"
    _run(connection, f"create table {new} ({_definition(columns, spec.key)})")
    rows = _copy(connection, new, columns, delta, order)
    _run(
        connection,
        f"alter table {new} add constraint {_identifier(_building(spec) + ' key')} primary key ({_list(spec.key)})",
    )
    return rows


def _describe(
    connection: Connection, spec: PublishSpec, columns: Mapping[str, str], rows: int, order: Order | None = None
) -> list[Index]:
    """Comments, statistics, indexes and grants, each only where it is not yet so; the indexes. `order`: that in which
    the rows of the table that is being built were written."""
    from psycopg import sql

    name = _building(spec) if order else spec.name
    table = sql.Identifier("serve", name)
    oid = connection.execute("select to_regclass(%s)::oid", (f"serve.{_identifier(name)}",)).fetchone()
    if oid is None:
        raise ServiceError(f"table serve.{spec.name} in PostgreSQL", "was dropped while it was published.")
    now: dict[str, str | None] = dict(
        connection.execute(
            """
            select '', obj_description(%(oid)s, 'pg_class')
            union all
            select attname, col_description(%(oid)s, attnum) from pg_attribute
            where attrelid = %(oid)s and attnum > 0 and not attisdropped
            """,
            {"oid": oid[0]},
        ).fetchall()
    )
    comment = _comment(spec.description, spec.title_zh)
    if comment != (now[""] or ""):
        connection.execute(sql.SQL("comment on table {} is {}").format(table, comment or None))
    for column in columns:
        known = spec.columns.get(column, ColumnSpec())
        comment = _comment(known.description, known.title_zh)
        if comment != (now[column] or ""):
            connection.execute(
                sql.SQL("comment on column {} is {}").format(sql.Identifier("serve", name, column), comment or None)
            )
    have = connection.execute(
        """
        select array_agg(a.attname::text order by k.place) from pg_index i
        cross join unnest(i.indkey) with ordinality as k (attnum, place)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        where i.indrelid = %s group by i.indexrelid
        """,
        (oid[0],),
    ).fetchall()
    covered = {tuple(row[0]) for row in have}
    if order:
        _run(connection, f"analyze serve.{_identifier(name)}")
    wanted = spec.indexes
    if wanted is None:
        wanted = bi_layout.derived(columns, spec.key, rows, _spreads(connection, name), order)
    for index in wanted:
        if index.columns not in covered:
            called = _index_name(name if order else spec.name, index.columns)
            # without it, pages that were filled since are read by every query until the next vacuum
            with_brin = f" with (autosummarize = on, pages_per_range = {bi_layout.PAGES_PER_RANGE})"
            options = with_brin if index.method == "brin" else ""
            _run(
                connection,
                f"create index {_identifier(called)} on serve.{_identifier(name)} using {index.method} "
                f"({_list(index.columns)}){options}",
            )
    granted = connection.execute("select has_table_privilege(%s, %s::oid, 'select')", (READER_ROLE, oid[0])).fetchone()
    if granted is None or not granted[0]:
        _run(connection, f"grant select on serve.{_identifier(name)} to {READER_ROLE}")
    return list(wanted)


def _spreads(connection: Connection, name: str) -> dict[str, Spread]:
    rows = connection.execute(
        "select attname, n_distinct, coalesce(correlation, 0) from pg_stats "
        "where schemaname = 'serve' and tablename = %s",
        (name,),
    ).fetchall()
    return {row[0]: Spread(row[1], row[2]) for row in rows}


def _index_name(table: str, columns: Sequence[str]) -> str:
    """A name that fits: long ones end in a part of their hash."""
    name = f"{table} {' '.join(columns)}" if " " in table else "_".join((table, *columns, "idx"))
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    return name[:40].rstrip("_ ") + "_" + hashlib.sha256(name.encode()).hexdigest()[:12]


def _comment(description: str, title_zh: str) -> str:
    return f"{title_zh}: {description}" if title_zh and description else title_zh or description


def _swap(
    connection: Connection, spec: PublishSpec, indexes: Iterable[Index], *, exists: bool, patience_seconds: float
) -> None:
    """Give the built table its name, in place of the old one, without ever queueing before a reader."""
    if exists:
        _exclusive(connection, spec, patience_seconds)
        _run(connection, f"drop table serve.{_identifier(spec.name)}")
    new = _identifier(_building(spec))
    _run(connection, f"alter table serve.{new} rename to {_identifier(spec.name)}")
    key = spec.name[: _LONGEST_NAME - len("_pkey")] + "_pkey"
    renamed = {_building(spec) + " key": key} | {
        _index_name(_building(spec), index.columns): _index_name(spec.name, index.columns) for index in indexes
    }
    for old, final in renamed.items():
        _run(connection, f"alter index if exists serve.{_identifier(old)} rename to {_identifier(final)}")


def _exclusive(connection: Connection, spec: PublishSpec, patience_seconds: float) -> None:
    from psycopg import errors

    deadline = time.monotonic() + patience_seconds
    pause = 0.01
    while True:
        try:
            with connection.transaction():
                _run(connection, f"lock table serve.{_identifier(spec.name)} in access exclusive mode nowait")
            return
        except errors.LockNotAvailable:
            if time.monotonic() > deadline:
                raise TransientError(
                    f"table serve.{spec.name} in PostgreSQL",
                    f"its structure changed, and for {patience_seconds:.0f} s readers held the old one: "
                    f"{_holders(connection, spec)}.",
                    "publish again when they are done, or end those sessions.",
                ) from None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)


def _holders(connection: Connection, spec: PublishSpec) -> str:
    rows = connection.execute(
        """
        select format('pid %%s (%%s, %%s, since %%s)', a.pid, a.usename, coalesce(nullif(a.application_name, ''), '?'),
            to_char(a.xact_start at time zone 'UTC', 'HH24:MI:SS "UTC"'))
        from pg_locks l join pg_stat_activity a using (pid)
        where l.relation = to_regclass(%s) and l.granted and l.pid <> pg_backend_pid()
        limit 3
        """,
        (f"serve.{_identifier(spec.name)}",),
    ).fetchall()
    return ", ".join(row[0] for row in rows) or "one after another"


def main(arguments: Sequence[str]) -> int:
    """Publish the tables named (as `order_fulfilment` or `serve.bi__order_fulfilment`), or all. 0 if all worked."""
    specs = load_specs()
    wanted = {parse(text).name.removeprefix(PREFIX) if "." in text else text for text in arguments}
    unknown = wanted - {spec.name for spec in specs}
    if unknown:
        print(f"{', '.join(sorted(unknown))}: no such BI table. Known: {', '.join(spec.name for spec in specs)}")
        return 2
    outcomes = publish_all([spec for spec in specs if not wanted or spec.name in wanted])
    for name, outcome in outcomes.items():
        if isinstance(outcome, DatongError):
            print(f"{name}: FAILED: {outcome}")
        else:
            print(
                f"{name}: {outcome.how}, {outcome.rows} rows, +{outcome.inserted} ~{outcome.updated} "
                f"-{outcome.deleted}, Delta version {outcome.delta_version}, {outcome.seconds:.2f} s"
            )
    return 1 if any(isinstance(outcome, DatongError) for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
