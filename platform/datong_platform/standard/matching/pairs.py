"""Pairs of records that may be the same: found by the keys that they share, scored by Splink, each with its evidence.

Only pairs with a record that is new or changed are looked at. Memory: the pairs and the records' features, in DuckDB.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datong_platform.standard.matching.model import Model

if TYPE_CHECKING:
    import duckdb

PAIR = pa.schema(
    [
        ("left_id", pa.string()),
        ("right_id", pa.string()),
        ("probability", pa.float64()),
        ("weight", pa.float64()),
        ("levels", pa.string()),
        ("sure_by", pa.string()),
    ]
)
"""`levels`: JSON, the level that each comparison found. `sure_by`: the sure key that the two share, if they do."""

WIDEST = 60
"""A key that more records than this share says too little to compare each with each."""
_AT_ONCE = 300_000
"""Pairs that are scored at once."""
_KEPT = 0.05
"""Pairs of a lower share of `review` are forgotten: nobody would look at them."""


def connect() -> duckdb.DuckDBPyConnection:
    """DuckDB in memory, with what the conditions of matching models may call."""
    import duckdb

    connection = duckdb.connect(":memory:", config={"threads": 2})
    connection.execute("set enable_progress_bar = false")
    connection.execute(
        "create macro likeness(a, b) as len(list_intersect(a, b)) "
        "/ greatest(len(a) + len(b) - len(list_intersect(a, b)), 1)"
    )
    return connection


def found(connection: duckdb.DuckDBPyConnection, model: Model) -> pa.Table:
    """The pairs worth keeping between the records `fresh` and `everyone`, which holds them, too: both with features."""
    _candidates(connection, model)
    connection.register("_none", PAIR.empty_table())
    connection.execute("create or replace table kept as select * from _none")
    connection.unregister("_none")
    for start in range(0, count(connection, "candidate"), _AT_ONCE):
        _score(connection, model, start)
        connection.execute(
            f"""
            insert into kept
            select left_id, right_id, probability, weight, levels, sure_by
            from ({_with_evidence(model)})
            where sure_by is not null
                or probability >= case when collides then {model.accept} else {model.review * _KEPT} end
            """
        )
    return connection.sql("select * from kept order by left_id, right_id").to_arrow_table().cast(PAIR)


def settings(model: Model) -> dict[str, Any]:
    """The model in Splink's words."""
    return {
        "link_type": "dedupe_only",
        "unique_id_column_name": "unique_id",
        "probability_two_random_records_match": model.prior,
        "blocking_rules_to_generate_predictions": ["l.unique_id = r.unique_id"],
        "retain_matching_columns": True,
        "retain_intermediate_calculation_columns": True,
        "comparisons": [
            {
                "output_column_name": comparison.name,
                "comparison_levels": [
                    {
                        "sql_condition": "ELSE" if level.when == "else" else level.when,
                        "label_for_charts": level.name,
                        **(
                            {"m_probability": level.m, "u_probability": level.u} if level.m else {"is_null_level": True}
                        ),
                    }
                    for level in comparison.levels
                ],
            }
            for comparison in model.comparisons
        ],
    }


def _candidates(connection: duckdb.DuckDBPyConnection, model: Model) -> None:
    """Table `candidate`: pairs that share a key, at least one of the two fresh. Reads a few columns of all records."""
    connection.execute(
        "create or replace temp table fresh_key as select unique_id, unnest(block_hashes) as key from fresh"
    )
    connection.execute(
        f"""
        create or replace temp table shared_key as
        select key, unique_id
        from (select unique_id, unnest(block_hashes) as key from everyone)
        where key in (select key from fresh_key)
        qualify count(*) over (partition by key) between 2 and {WIDEST}
        """
    )
    # what many records share still joins them when it is a sure key: each with the first of them
    columns = [key.column for key in model.sure_keys]
    among = " or ".join(f"{column} in (select {column} from fresh)" for column in columns) or "false"
    connection.execute(
        f"""
        create or replace temp table sure as
        select {", ".join(["unique_id", *columns])} from everyone where {among}
        """
    )
    stars = "".join(
        f"""
        union
        select least(first.unique_id, other.unique_id), greatest(first.unique_id, other.unique_id)
        from sure as other
        inner join (select {column}, min(unique_id) as unique_id from sure group by all) as first
            on other.{column} = first.{column} and other.unique_id <> first.unique_id
        where other.unique_id in (select unique_id from fresh) or first.unique_id in (select unique_id from fresh)
        """
        for column in columns
    )
    connection.execute(
        f"""
        create or replace temp table candidate as
        select left_id as join_key_l, right_id as join_key_r, '0' as match_key, row_number() over () - 1 as number
        from (
            select
                least(mine.unique_id, other.unique_id) as left_id,
                greatest(mine.unique_id, other.unique_id) as right_id
            from fresh_key as mine
            inner join shared_key as other on mine.key = other.key and mine.unique_id <> other.unique_id
            {stars}
        )
        """
    )
    for table in ("fresh_key", "shared_key", "sure"):
        connection.execute(f"drop table {table}")


def _score(connection: duckdb.DuckDBPyConnection, model: Model, start: int) -> None:
    """Table `scored`: candidates with a level for each comparison, the weight and the probability."""
    from splink import Linker, SettingsCreator
    from splink.backends.duckdb import DuckDBAPI

    # Splink carries all columns of both sides along, so it is given a part of the pairs, and what is in one
    connection.execute(
        f"""
        create or replace temp table slice as
        select join_key_l, join_key_r, match_key from candidate where number between {start} and {start + _AT_ONCE - 1}
        """
    )
    connection.execute(
        """
        create or replace temp table compared as
        select * exclude (block_hashes) from everyone
        where unique_id in (select join_key_l from slice union select join_key_r from slice)
        """
    )
    api = DuckDBAPI(connection=connection)
    # Splink advises on parameters at each start; ours stand in a file under review
    linker = Linker(
        api.register("compared"),
        SettingsCreator.from_path_or_dict(settings(model)),
        log_level=logging.ERROR,
        # it parses every condition again, for most of the time that a small run takes; DuckDB names a wrong one, too
        validate_settings=False,
    )
    linker.table_management.register_blocked_pairs_for_predict(api.register("slice"))
    scored = linker.inference.predict(warning_mode="never")
    connection.execute(f"create or replace temp table scored as select * from {scored.physical_name}")
    linker.table_management.delete_tables_created_by_splink_from_db()


def _with_evidence(model: Model) -> str:
    sure = "".join(
        f" when l.{key.column} = r.{key.column}{_likeness(key.needs_likeness_of)} then '{key.name}'"
        for key in model.sure_keys
    )
    # who has a credit code of its own is nobody's question, unless all else says that it is the same
    exclusive = [key.column for key in model.sure_keys if key.exclusive]
    collides = " or ".join(f"coalesce(l.{column} <> r.{column}, false)" for column in exclusive) or "false"
    levels = ", ".join(f"{comparison.name} := gamma_{comparison.name}" for comparison in model.comparisons)
    return f"""
        select
            scored.unique_id_l as left_id,
            scored.unique_id_r as right_id,
            scored.match_probability as probability,
            scored.match_weight as weight,
            cast(to_json(struct_pack({levels})) as varchar) as levels,
            {f"case{sure} end" if sure else "cast(null as varchar)"} as sure_by,
            {collides} as collides
        from scored
        inner join compared as l on scored.unique_id_l = l.unique_id
        inner join compared as r on scored.unique_id_r = r.unique_id
    """


def _likeness(comparison: str | None) -> str:
    return f" and gamma_{comparison} <> 0" if comparison else ""


def evidence(model: Model, levels: str) -> list[dict[str, Any]]:
    """What each comparison of a pair found: its name, the level, and what that adds to the weight (bits)."""
    found_: dict[str, int] = json.loads(levels)
    told: list[dict[str, Any]] = []
    for comparison in model.comparisons:
        gamma = found_.get(comparison.name, -1)
        # Splink counts from the last level, which is 0, and gives all levels that say nothing -1
        weighed = [level for level in comparison.levels if level.m]
        silent = [level for level in comparison.levels if not level.m]
        level = weighed[len(weighed) - 1 - gamma] if gamma >= 0 else silent[0]
        told.append(
            {
                "comparison": comparison.name,
                "title": comparison.title,
                "title_zh": comparison.title_zh,
                "level": level.name,
                "weight": round(level.weight, 1),
            }
        )
    return told


def count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(connection.execute(f"select count(*) from {table}").fetchall()[0][0])
