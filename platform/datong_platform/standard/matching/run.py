"""A run of matching: from the records of an entity to golden ids, looking only at what is new, changed or gone.

From rows with source_system, source_key and the fields of `features.FIELDS` to the tables of `store`. Repeating it
with the same records and decisions changes nothing. Memory: the ids of all records, in DuckDB, and the features of
those that are fresh or compared with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datong_platform.errors import SchemaError
from datong_platform.standard import decisions
from datong_platform.standard.matching import clusters, features, identity, model, pairs, store
from datong_platform.standard.matching.clusters import Decisions, Groups, Pair
from datong_platform.standard.matching.identity import Held
from datong_platform.standard.matching.model import Model

if TYPE_CHECKING:
    import duckdb
    from deltalake import DeltaTable


_AT_ONCE = 50_000
"""Records whose features are made at once: as Python objects they take thirty times their space."""
_SUPERSEDED = 0.2
"""The share of what is known of records that may be superseded before it is written anew."""
_SLACK = 1_000
_KINDS = {"match", "merge", "not_match", "split"}


@dataclass(frozen=True)
class Outcome:
    """What a run did. `fresh` are new and changed records, `gone` those that are no longer sent."""

    entity: str
    records: int
    golden: int
    fresh: int
    gone: int
    review: int
    conflicts: int


@dataclass(frozen=True)
class _Tables:
    """What the last run left, as it was when this one began; None for what was never written."""

    records: DeltaTable | None
    pairs: DeltaTable | None
    golden: DeltaTable | None


@dataclass(frozen=True)
class _Identified:
    """The ids before and after a run of the records that it touched, their groups, and the run's number."""

    before: Mapping[str, Held]
    after: Mapping[str, Held]
    groups: Groups
    decided: Decisions
    run: int


def match(entity: str, rows: pa.Table) -> Outcome:
    """Match the records of an entity, and write who is who. SchemaError when the rows lack what is compared."""
    from datong_platform.lake import catalog

    wanted = model.load(entity)
    connection = pairs.connect()
    try:
        outcome = _match(connection, wanted, rows)
    finally:
        connection.close()
    written = [store.golden(entity), store.records(entity), store.pairs_of(entity)]
    catalog.register([*written, *([store.HISTORY] if store.is_there(store.HISTORY) else [])])
    return outcome


def _match(connection: duckdb.DuckDBPyConnection, wanted: Model, rows: pa.Table) -> Outcome:
    entity = wanted.entity
    _receive(connection, wanted, rows)
    tables = _Tables(
        records=store.read_records(connection, wanted),
        pairs=store.offer(connection, store.pairs_of(entity), store.PAIR_SCHEMA, "held_pair"),
        golden=store.offer(connection, store.golden(entity), store.GOLDEN_SCHEMA, "held_golden"),
    )
    _compare(connection, wanted)
    _pair(connection, wanted)
    identified = _identify(connection, wanted, tables)
    _write(connection, wanted, tables, identified)
    states = dict(
        connection.execute("select state, count(*) from verdict group by state").fetchall()  # pyright: ignore
    )
    used = connection.execute("select count(distinct golden_id) from given where not is_gone").fetchall()
    return Outcome(
        entity=entity,
        records=pairs.count(connection, "incoming"),
        golden=int(used[0][0]),
        fresh=pairs.count(connection, "fresh"),
        gone=pairs.count(connection, "gone"),
        review=states.get("review", 0),
        conflicts=states.get("conflict", 0),
    )


def _receive(connection: duckdb.DuckDBPyConnection, wanted: Model, rows: pa.Table) -> None:
    """Table `incoming`: the ids here of records that came, and digests of what is compared. View `came`: all of it."""
    missing = [name for name in ("source_system", "source_key") if name not in rows.column_names]
    known = set(features.FIELDS[wanted.kind])
    unknown = [name for name in rows.column_names if name not in {"source_system", "source_key", *known}]
    if missing or unknown:
        raise SchemaError(
            f"records of {wanted.entity} for matching",
            f"lack {', '.join(missing) or 'nothing'} and hold what is not compared: {', '.join(unknown) or 'nothing'}.",
            f"select source_system, source_key and any of {', '.join(sorted(known))}.",
        )
    fields = sorted(known & set(rows.column_names))
    connection.register("_rows", rows)
    connection.execute("create view came as select source_system || '/' || source_key as unique_id, * from _rows")
    connection.execute(
        f"""
        create table incoming as
        select
            unique_id,
            substr(md5(concat_ws(chr(31), '{wanted.comparing}', {_texts(fields)})), 1, 16) as digest
        from came
        """
    )
    twice = connection.execute("select unique_id from incoming group by all having count(*) > 1 limit 3").fetchall()
    if twice:
        raise SchemaError(
            f"records of {wanted.entity} for matching",
            f"hold {', '.join(row[0] for row in twice)} more than once.",
            "mend the model that selects them: one row per record of a system.",
        )


def _texts(fields: Iterable[str]) -> str:
    return ", ".join(f"coalesce(cast({field} as varchar), chr(30))" for field in fields) or "''"


def _compare(connection: duckdb.DuckDBPyConnection, wanted: Model) -> None:
    """Tables `known` (what the last run left of records), `fresh` (the features of new and changed ones) and `gone`.

    View `everyone`: the features of all that are there. Those of records that stayed are read from the store where they
    are asked for, column by column; of a million records they do not fit beside each other.
    """
    connection.execute(
        """
        create table known as
        select unique_id, digest, golden_id, golden_run, first_run, is_gone, coalesce(run, 0) as run from held
        """
    )
    connection.execute(
        """
        create table fresh_id as
        select unique_id, incoming.digest from incoming
        left join known using (unique_id)
        where known.unique_id is null or known.is_gone or known.digest <> incoming.digest
        """
    )
    # in one order, so that what a run makes does not depend on how the engine gave the rows
    coming = connection.sql("select * from came inner join fresh_id using (unique_id) order by unique_id")
    connection.register("_fresh", features.SCHEMAS[wanted.kind].empty_table())
    connection.execute("create table fresh as select * from _fresh")
    connection.unregister("_fresh")
    for batch in coming.to_arrow_table().to_batches(max_chunksize=_AT_ONCE):
        connection.register("_fresh", features.of(wanted.kind, batch.to_pylist()))
        connection.execute("insert into fresh select * from _fresh")
        connection.unregister("_fresh")
    connection.execute(
        "create table gone as select unique_id from known anti join incoming using (unique_id) where not is_gone"
    )
    names = ", ".join(features.SCHEMAS[wanted.kind].names)
    connection.execute(
        f"""
        create view everyone as
        select {names} from fresh
        union all
        select {names} from held
        where not is_gone
            and unique_id not in (select unique_id from fresh)
            and unique_id not in (select unique_id from gone)
        """
    )


def _pair(connection: duckdb.DuckDBPyConnection, wanted: Model) -> None:
    """View `pair`: the pairs of old that still hold, and those that new and changed records make."""
    connection.register("_found", pairs.found(connection, wanted))
    connection.execute("create table found as select * from _found")
    connection.unregister("_found")
    names = ", ".join(pairs.PAIR.names)
    connection.execute(
        f"""
        create view pair as
        select {names} from held_pair
        where left_id not in (select unique_id from fresh union all select unique_id from gone)
            and right_id not in (select unique_id from fresh union all select unique_id from gone)
        union all
        select {names} from found
        """
    )


def decided_pairs(made: Iterable[decisions.Decision]) -> Decisions:
    """What people's decisions say about pairs; of several about one pair the last."""
    last: dict[tuple[str, str], tuple[bool, str]] = {}
    for decision in sorted(made, key=lambda decision: decision.number):
        if decision.kind not in _KINDS:
            continue
        is_one = decision.kind in {"match", "merge"}
        for left, right in spoken_of(decision):
            last[min(left, right), max(left, right)] = (is_one, decision.decision_id)
    return Decisions(
        together={pair: decision_id for pair, (is_one, decision_id) in last.items() if is_one},
        apart={pair: decision_id for pair, (is_one, decision_id) in last.items() if not is_one},
    )


def spoken_of(decision: decisions.Decision) -> list[tuple[str, str]]:
    """The pairs of records that a decision speaks of: each of its one side with each of the other."""
    left = decision.detail.get("left") or [f"{decision.source_system}/{decision.source_key}"]
    right = decision.detail.get("right") or [f"{decision.other_system}/{decision.other_key}"]
    return [(str(one), str(other)) for one in left for other in right if one != other]


def _identify(connection: duckdb.DuckDBPyConnection, wanted: Model, tables: _Tables) -> _Identified:
    """The ids before and after, by what is known and decided now, of the records that this could change."""
    log = decisions.log(entity=wanted.entity)
    decided = decided_pairs(decisions.in_force(log))
    is_grouped_so = store.noted(tables.golden, _GROUPED) == _grouping(wanted)
    _touch(connection, wanted, decided, log, everyone=not is_grouped_so)
    present = {row[0] for row in connection.execute(_PRESENT).fetchall()}
    before = {row[0]: Held(*row[1:]) for row in connection.execute(_BEFORE).fetchall()}
    listed = connection.execute(
        f"select left_id, right_id, probability, sure_by from pair semi join touched on left_id = unique_id "
        f"where {_strong(wanted)}"
    ).fetchall()
    there = Decisions(
        {pair: id_ for pair, id_ in decided.together.items() if pair[0] in present and pair[1] in present},
        decided.apart,
    )
    groups = clusters.grouped((Pair(*row) for row in listed), _exclusive(connection, wanted), there, wanted.accept)
    # people may have spoken of records that are gone
    members = [[record for record in group if record in present] for group in groups.members]
    grouped = {record for group in members for record in group}
    every = [*(group for group in members if group), *([record] for record in sorted(present - grouped))]
    run = int(
        connection.execute("select coalesce(max(greatest(golden_run, first_run, run)), 0) + 1 from known").fetchall()[
            0
        ][0]
    )
    after = identity.assigned(
        wanted.entity, wanted.id_prefix, every, before, run, reserved=_reserved(connection, wanted, present)
    )
    return _Identified(before, after, groups, decided, run)


_PRESENT = "select unique_id from touched semi join incoming using (unique_id)"
_BEFORE = """
    select unique_id, golden_id, golden_run, first_run, is_gone from known semi join touched using (unique_id)
"""
_MISMATCHED = """
    select coalesce(known.unique_id, crosswalk.unique_id) as unique_id
    from (select unique_id, golden_id from known where not is_gone) as known
    full outer join (
        select source_system || '/' || source_key as unique_id, golden_id from held_golden
    ) as crosswalk on known.unique_id = crosswalk.unique_id
    where known.golden_id is distinct from crosswalk.golden_id
"""


def _strong(wanted: Model) -> str:
    return f"(sure_by is not null or probability >= {wanted.accept})"


def _touch(
    connection: duckdb.DuckDBPyConnection,
    wanted: Model,
    decided: Decisions,
    log: Iterable[decisions.Decision],
    *,
    everyone: bool,
) -> None:
    """Table `touched`: the records whose id this run could change; all others keep theirs, and cost nothing.

    It begins with what is new, changed or gone, with what people ever spoke of (a decision may have ended since), and
    with what a run that died left half written. It spreads to whom they are or could be one with, till nobody is left.
    `everyone`: whoever is or could be one with others, because it is grouped otherwise than the last time.
    """
    ever = {record for decision in log if decision.kind in _KINDS for pair in spoken_of(decision) for record in pair}
    connection.register("_named", pa.table({"unique_id": pa.array(sorted(ever), pa.string())}))
    connection.register("_together", _couples(decided.together))
    connection.execute(
        f"""
        create table edge as
        select left_id as one, right_id as other from pair where {_strong(wanted)}
        union all
        select left_id, right_id from _together
        """
    )
    anew = (
        """
        union select one from edge
        union select other from edge
        union select unique_id from known
        where golden_id in (select golden_id from known group by golden_id having count(*) > 1)
        """
        if everyone
        else ""
    )
    connection.execute(
        f"""
        create table touched as
        select unique_id from fresh
        union select unique_id from gone
        union select unique_id from _named
        union ({_MISMATCHED})
        {anew}
        """
    )
    connection.execute("create temp table edge_of as select one, other from edge union all select other, one from edge")
    connection.execute("create temp table reached as from touched")
    while pairs.count(connection, "reached"):
        connection.execute(
            """
            create or replace temp table reached as
            select unique_id from (
                select other as unique_id from edge_of semi join reached on edge_of.one = reached.unique_id
                union
                select unique_id from known
                where golden_id in (select golden_id from known semi join reached using (unique_id))
            )
            anti join touched using (unique_id)
            """
        )
        connection.execute("insert into touched from reached")
    for name in ("_named", "_together"):
        connection.unregister(name)


_GROUPED = "datong:grouped"
"""What a commit of the crosswalk notes: by which code and model the records were grouped."""


def _grouping(wanted: Model) -> int:
    return int(model.fingerprint(wanted.entity)[:15], 16)


def _couples(named: Iterable[tuple[str, str]], **more: Iterable[str]) -> pa.Table:
    ordered = list(named)
    columns = {
        "left_id": pa.array([left for left, _ in ordered], pa.string()),
        "right_id": pa.array([right for _, right in ordered], pa.string()),
    }
    return pa.table(columns | {name: pa.array(values, pa.string()) for name, values in more.items()})


def _exclusive(connection: duckdb.DuckDBPyConnection, wanted: Model) -> dict[str, frozenset[str]]:
    """The values of exclusive keys that the touched records have, as `key value`."""
    columns = [key.column for key in wanted.sure_keys if key.exclusive]
    if not columns:
        return {}
    sql = f"select unique_id, {', '.join(columns)} from everyone semi join touched using (unique_id)"
    return {
        row[0]: frozenset(f"{column} {value}" for column, value in zip(columns, row[1:], strict=True) if value)
        for row in connection.execute(sql).fetchall()
    }


def _reserved(connection: duckdb.DuckDBPyConnection, wanted: Model, present: Iterable[str]) -> set[str]:
    """Ids that untouched records have and that a touched one could begin."""
    own = [identity.own_id(wanted.id_prefix, wanted.entity, record) for record in present]
    connection.register("_own", pa.table({"golden_id": pa.array(own, pa.string())}))
    rows = connection.execute(
        """
        select golden_id from known anti join touched using (unique_id) where golden_id in (select golden_id from _own)
        """
    ).fetchall()
    connection.unregister("_own")
    return {row[0] for row in rows}


def _write(connection: duckdb.DuckDBPyConnection, wanted: Model, tables: _Tables, identified: _Identified) -> None:
    """History first, the crosswalk last: a crash between two leaves a run that is done again, with the same outcome."""
    entity, before, after = wanted.entity, identified.before, identified.after
    store.remember(entity, identified.run, identity.happened(before, after))
    connection.register("_id", _ids(after))
    connection.execute(
        """
        create table given as
        select * from _id
        union all
        select unique_id, golden_id, golden_run, first_run, is_gone from known anti join touched using (unique_id)
        """
    )
    connection.unregister("_id")
    _judge(connection, wanted, identified)
    here = f"(select * from held_pair where {_IS_TOUCHED})"
    if tables.pairs is None or not _same(connection, "judged", here):
        store.write(store.pairs_of(entity), _stream(connection, "select * from verdict", store.PAIR_SCHEMA))
    changed = [record for record, held in after.items() if before.get(record) != held]
    _write_records(connection, wanted, tables.records, changed, identified.run)
    _place(connection, identified.groups)
    here = "(select * from held_golden where source_system || '/' || source_key in (select unique_id from touched))"
    if tables.golden is None or not _same(connection, "placed", here):
        rows = _stream(
            connection,
            """
            select * from placed
            union all
            select * from held_golden where source_system || '/' || source_key not in (select unique_id from touched)
            """,
            store.GOLDEN_SCHEMA,
        )
        store.write(store.golden(entity), rows, note=(_GROUPED, _grouping(wanted)))


_IS_TOUCHED = "(left_id in (select unique_id from touched) or right_id in (select unique_id from touched))"


def _write_records(
    connection: duckdb.DuckDBPyConnection,
    wanted: Model,
    records: DeltaTable | None,
    changed: Sequence[str],
    run: int,
) -> None:
    """Add what is known now of records that are fresh or have another id; or write all anew when much is superseded."""
    table, schema = store.records(wanted.entity), store.record_schema(wanted.kind)
    connection.register("_changed", pa.table({"unique_id": pa.array(changed, pa.string())}))
    connection.execute("create table news as select unique_id from fresh union select unique_id from _changed")
    connection.unregister("_changed")
    news, there = pairs.count(connection, "news"), pairs.count(connection, "known")
    if not news and records is not None:
        return
    names = ", ".join(f"seen.{name}" for name in features.SCHEMAS[wanted.kind].names)
    ids = f"given.golden_id, given.golden_run, given.first_run, given.is_gone, cast({run} as bigint) as run"
    older = "select * from held anti join fresh using (unique_id)"
    superseded = pairs.count(connection, "held_log") + news - there
    if not store.has_columns(records, schema.names) or superseded > _SLACK + there * _SUPERSEDED:
        every = f"""
            select {names}, {ids} from fresh as seen inner join given using (unique_id)
            union all
            select {names}, {ids} from ({older}) as seen inner join given using (unique_id)
        """
        store.write(table, _stream(connection, every, schema))
        return
    added = f"select {names}, {ids} from fresh as seen inner join given using (unique_id)"
    if connection.execute("select * from news anti join fresh using (unique_id) limit 1").fetchall():
        added += f"""
            union all
            select {names}, {ids}
            from ({older}) as seen inner join given using (unique_id) semi join news using (unique_id)
        """
    store.write(table, _stream(connection, added, schema), mode="append")


def _stream(connection: duckdb.DuckDBPyConnection, sql: str, schema: pa.Schema) -> pa.RecordBatchReader:
    return connection.sql(sql).to_arrow_reader(_AT_ONCE).cast(schema)


def _ids(after: Mapping[str, Held]) -> pa.Table:
    columns: dict[str, Any] = {
        "unique_id": pa.array(list(after), pa.string()),
        "golden_id": pa.array([held.golden_id for held in after.values()], pa.string()),
        "golden_run": pa.array([held.golden_run for held in after.values()], pa.int64()),
        "first_run": pa.array([held.first_run for held in after.values()], pa.int64()),
        "is_gone": pa.array([held.is_gone for held in after.values()], pa.bool_()),
    }
    return pa.table(columns)


def _judge(connection: duckdb.DuckDBPyConnection, wanted: Model, identified: _Identified) -> None:
    """Table `judged`: the pairs of touched records, each with what became of it. View `verdict`: all pairs."""
    said = {**identified.decided.together, **identified.decided.apart}
    connection.register("_said", _couples(said, decision_id=said.values()))
    connection.register("_refused", _couples(sorted(identified.groups.refused)))
    connection.execute(
        f"""
        create table judged as
        select
            pair.*,
            case
                when one.golden_id = other.golden_id then 'joined'
                when said.decision_id is not null then 'apart'
                when refused.left_id is not null then 'conflict'
                when pair.probability >= {wanted.review} then 'review'
                else 'apart'
            end as state,
            said.decision_id
        from (select * from pair where {_IS_TOUCHED}) as pair
        inner join given as one on pair.left_id = one.unique_id
        inner join given as other on pair.right_id = other.unique_id
        left join _said as said on pair.left_id = said.left_id and pair.right_id = said.right_id
        left join _refused as refused on pair.left_id = refused.left_id and pair.right_id = refused.right_id
        """
    )
    connection.execute(
        f"create view verdict as select * from judged union all select * from held_pair where not {_IS_TOUCHED}"
    )
    for name in ("_said", "_refused"):
        connection.unregister(name)


def _place(connection: duckdb.DuckDBPyConnection, groups: Groups) -> None:
    """Table `placed`: the crosswalk of touched records."""
    by = pa.table(
        {
            "unique_id": pa.array(list(groups.joined_by), pa.string()),
            "matched_by": pa.array(list(groups.joined_by.values()), pa.string()),
        }
    )
    connection.register("_by", by)
    connection.execute(
        """
        create table placed as
        with best as (
            select unique_id, max(probability) as score
            from (
                select left_id as unique_id, probability from judged where state = 'joined'
                union all
                select right_id, probability from judged where state = 'joined'
            )
            group by unique_id
        )
        select
            given.golden_id,
            came.source_system,
            came.source_key,
            coalesce(joint.matched_by, 'alone') as matched_by,
            round(best.score, 6) as score,
            cast(count(*) over (partition by given.golden_id) as int) as record_count
        from came
        semi join touched on came.unique_id = touched.unique_id
        inner join given on came.unique_id = given.unique_id
        left join _by as joint on came.unique_id = joint.unique_id
        left join best on came.unique_id = best.unique_id
        """
    )
    connection.unregister("_by")


def _same(connection: duckdb.DuckDBPyConnection, rows: str, held: str) -> bool:
    found = connection.execute(
        f"""
        select
            (select count(*) from {rows}) = (select count(*) from {held} as held)
            and not exists (select * from {rows} except select * from {held} as held)
        """
    ).fetchall()
    return bool(found[0][0])
