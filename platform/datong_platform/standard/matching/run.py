"""A run of matching: from the records of an entity to golden ids, looking only at what is new, changed or gone.

From rows with source_system, source_key and the fields of `features.FIELDS` to the tables of `store`. Repeating it
with the same records and decisions changes nothing. Memory: the features of all records, in DuckDB, and their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


_AT_ONCE = 50_000
"""Records whose features are made at once: as Python objects they take thirty times their space."""


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
class _Identified:
    """The ids before and after a run, the groups, and the run's number."""

    before: Mapping[str, Held]
    after: Mapping[str, Held]
    groups: Groups
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
    written = [store.golden(entity), store.records(entity), store.pairs_of(entity), store.HISTORY]
    catalog.register(table for table in written if store.is_there(table))
    return outcome


def _match(connection: duckdb.DuckDBPyConnection, wanted: Model, rows: pa.Table) -> Outcome:
    entity = wanted.entity
    _receive(connection, wanted, rows)
    store.read(connection, store.records(entity), store.record_schema(wanted.kind), "held")
    store.read(connection, store.pairs_of(entity), store.PAIR_SCHEMA, "held_pair")
    _compare(connection, wanted)
    fresh, gone = pairs.count(connection, "fresh"), pairs.count(connection, "gone")

    connection.register("_found", pairs.found(connection, wanted))
    connection.execute(
        f"""
        create or replace table pair as
        select {", ".join(pairs.PAIR.names)} from held_pair
        where left_id not in (select unique_id from fresh union all select unique_id from gone)
            and right_id not in (select unique_id from fresh union all select unique_id from gone)
        union all
        select * from _found
        """
    )
    connection.unregister("_found")
    decided = decided_pairs(decisions.active(entity=entity))
    identified = _identify(connection, wanted, decided)
    _write(connection, wanted, decided, identified, is_new=bool(fresh or gone))
    states = dict(
        connection.execute("select state, count(*) from judged group by state").fetchall()  # pyright: ignore
    )
    used = connection.execute("select count(distinct golden_id) from given where not is_gone").fetchall()
    return Outcome(
        entity=entity,
        records=pairs.count(connection, "everyone"),
        golden=int(used[0][0]),
        fresh=fresh,
        gone=gone,
        review=states.get("review", 0),
        conflicts=states.get("conflict", 0),
    )


def _receive(connection: duckdb.DuckDBPyConnection, wanted: Model, rows: pa.Table) -> None:
    """Table `incoming`: the records as they came, each with its id here and a digest of what is compared."""
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
    connection.execute(
        f"""
        create or replace table incoming as
        select
            source_system || '/' || source_key as unique_id,
            *,
            substr(md5(concat_ws(chr(31), '{wanted.comparing}', {_texts(fields)})), 1, 16) as digest
        from _rows
        """
    )
    connection.unregister("_rows")
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
    """Tables `fresh` (new and changed records), `gone`, and `everyone`: the features of all that are there."""
    connection.execute(
        """
        create or replace table fresh_row as
        select incoming.* from incoming
        left join held on incoming.unique_id = held.unique_id and incoming.digest = held.digest and not held.is_gone
        where held.unique_id is null
        order by incoming.unique_id
        """
    )
    coming = connection.sql("select * from fresh_row").to_arrow_table()
    connection.register("_fresh", features.SCHEMAS[wanted.kind].empty_table())
    connection.execute("create or replace table fresh as select * from _fresh")
    connection.unregister("_fresh")
    for batch in coming.to_batches(max_chunksize=_AT_ONCE):
        connection.register("_fresh", features.of(wanted.kind, batch.to_pylist()))
        connection.execute("insert into fresh select * from _fresh")
        connection.unregister("_fresh")
    connection.execute(
        """
        create or replace table gone as
        select unique_id from held where not is_gone and unique_id not in (select unique_id from incoming)
        """
    )
    connection.execute(
        f"""
        create or replace table everyone as
        select * from fresh
        union all
        select {", ".join(features.SCHEMAS[wanted.kind].names)} from held
        where not is_gone
            and unique_id not in (select unique_id from fresh)
            and unique_id not in (select unique_id from gone)
        """
    )


def decided_pairs(made: Iterable[decisions.Decision]) -> Decisions:
    """What people's decisions say about pairs; of several about one pair the last."""
    last: dict[tuple[str, str], tuple[bool, str]] = {}
    for decision in sorted(made, key=lambda decision: decision.number):
        if decision.kind not in {"match", "merge", "not_match", "split"}:
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


def _identify(connection: duckdb.DuckDBPyConnection, wanted: Model, decided: Decisions) -> _Identified:
    """The ids before and after, by what is known and decided now, of the records that this could change.

    A record that is in no pair and whose id is its own alone keeps it; so a million of them cost nothing.
    """
    named = sorted({record for pair in (*decided.together, *decided.apart) for record in pair})
    connection.register("_named", pa.table({"unique_id": pa.array(named, pa.string())}))
    connection.execute(
        """
        create or replace table touched as
        select unique_id from fresh
        union select unique_id from gone
        union select left_id from pair
        union select right_id from pair
        union select unique_id from _named
        union select unique_id from held
        where golden_id in (select golden_id from held group by golden_id having count(*) > 1)
        """
    )
    connection.unregister("_named")
    present = {row[0] for row in connection.execute(_PRESENT).fetchall()}
    before = {row[0]: Held(*row[1:]) for row in connection.execute(_BEFORE).fetchall()}
    listed = connection.execute("select left_id, right_id, probability, sure_by from pair").fetchall()
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
        connection.execute("select coalesce(max(greatest(golden_run, first_run)), 0) + 1 from held").fetchall()[0][0]
    )
    after = identity.assigned(
        wanted.entity, wanted.id_prefix, every, before, run, reserved=_reserved(connection, wanted, present)
    )
    return _Identified(before, after, groups, run)


_PRESENT = "select unique_id from touched semi join everyone using (unique_id)"
_BEFORE = """
    select unique_id, golden_id, golden_run, first_run, is_gone from held semi join touched using (unique_id)
"""


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
        "select golden_id from held anti join touched using (unique_id) where golden_id in (select golden_id from _own)"
    ).fetchall()
    connection.unregister("_own")
    return {row[0] for row in rows}


def _write(
    connection: duckdb.DuckDBPyConnection, wanted: Model, decided: Decisions, identified: _Identified, *, is_new: bool
) -> None:
    """History first, the crosswalk last: a crash between two leaves a run that is done again, with the same outcome."""
    entity, before, after = wanted.entity, identified.before, identified.after
    groups, run = identified.groups, identified.run
    store.remember(entity, run, identity.happened(before, after))
    connection.register("_id", _ids(after))
    connection.execute(
        """
        create or replace table given as
        select * from _id
        union all
        select unique_id, golden_id, golden_run, first_run, is_gone from held anti join touched using (unique_id)
        """
    )
    connection.unregister("_id")
    judged = _judged(connection, wanted, decided, groups)
    if not _same(connection, judged, "held_pair") or not store.is_there(store.pairs_of(entity)):
        store.write(store.pairs_of(entity), judged)
    if is_new or before != after or not store.is_there(store.records(entity)):
        names = ", ".join(f"known.{name}" for name in features.SCHEMAS[wanted.kind].names)
        known = connection.sql(
            f"""
            select {names}, given.golden_id, given.golden_run, given.first_run, given.is_gone
            from (
                select * from everyone
                union all
                select {", ".join(features.SCHEMAS[wanted.kind].names)} from held
                where unique_id not in (select unique_id from everyone)
            ) as known
            inner join given on known.unique_id = given.unique_id
            order by known.unique_id
            """
        )
        store.write(store.records(entity), known.to_arrow_table().cast(store.record_schema(wanted.kind)))
    crosswalk = _crosswalk(connection, groups)
    store.read(connection, store.golden(entity), store.GOLDEN_SCHEMA, "held_golden")
    if not _same(connection, crosswalk, "held_golden") or not store.is_there(store.golden(entity)):
        store.write(store.golden(entity), crosswalk)


def _ids(after: Mapping[str, Held]) -> pa.Table:
    columns: dict[str, Any] = {
        "unique_id": pa.array(list(after), pa.string()),
        "golden_id": pa.array([held.golden_id for held in after.values()], pa.string()),
        "golden_run": pa.array([held.golden_run for held in after.values()], pa.int64()),
        "first_run": pa.array([held.first_run for held in after.values()], pa.int64()),
        "is_gone": pa.array([held.is_gone for held in after.values()], pa.bool_()),
    }
    return pa.table(columns)


def _judged(connection: duckdb.DuckDBPyConnection, wanted: Model, decided: Decisions, groups: Groups) -> pa.Table:
    """The pairs, each with what became of it. Also table `judged`."""
    said = [
        *({"left_id": left, "right_id": right, "decision_id": id_} for (left, right), id_ in decided.together.items()),
        *({"left_id": left, "right_id": right, "decision_id": id_} for (left, right), id_ in decided.apart.items()),
    ]
    kind = pa.schema([("left_id", pa.string()), ("right_id", pa.string()), ("decision_id", pa.string())])
    connection.register("_said", pa.Table.from_pylist(said, schema=kind))
    connection.register(
        "_refused",
        pa.Table.from_pylist(
            [{"left_id": left, "right_id": right} for left, right in sorted(groups.refused)], schema=kind
        ),
    )
    connection.execute(
        f"""
        create or replace table judged as
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
        from pair
        inner join given as one on pair.left_id = one.unique_id
        inner join given as other on pair.right_id = other.unique_id
        left join _said as said on pair.left_id = said.left_id and pair.right_id = said.right_id
        left join _refused as refused on pair.left_id = refused.left_id and pair.right_id = refused.right_id
        order by pair.left_id, pair.right_id
        """
    )
    connection.unregister("_said")
    connection.unregister("_refused")
    return connection.sql("select * from judged").to_arrow_table().cast(store.PAIR_SCHEMA)


def _crosswalk(connection: duckdb.DuckDBPyConnection, groups: Groups) -> pa.Table:
    by = pa.table(
        {
            "unique_id": pa.array(list(groups.joined_by), pa.string()),
            "matched_by": pa.array(list(groups.joined_by.values()), pa.string()),
        }
    )
    connection.register("_by", by)
    found = connection.sql(
        """
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
            everyone.source_system,
            everyone.source_key,
            coalesce(joint.matched_by, 'alone') as matched_by,
            round(best.score, 6) as score,
            cast(count(*) over (partition by given.golden_id) as int) as record_count
        from everyone
        inner join given on everyone.unique_id = given.unique_id
        left join _by as joint on everyone.unique_id = joint.unique_id
        left join best on everyone.unique_id = best.unique_id
        order by given.golden_id, everyone.source_system, everyone.source_key
        """
    ).to_arrow_table()
    connection.unregister("_by")
    return found.cast(store.GOLDEN_SCHEMA)


def _same(connection: duckdb.DuckDBPyConnection, rows: pa.Table, held: str) -> bool:
    connection.register("_wanted", rows)
    found = connection.execute(
        f"""
        select
            (select count(*) from _wanted) = (select count(*) from {held})
            and not exists (select * from _wanted except select * from {held})
        """
    ).fetchall()
    connection.unregister("_wanted")
    return bool(found[0][0])
