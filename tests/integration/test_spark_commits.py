"""The second engine's commits beside other writers: the stock log store loses an acknowledged one, ours never does.

The race is made certain instead of likely: a go-between in front of the store lets another writer (delta-rs) commit
the same version in the moment between Spark's look whether it is there and Spark's write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from datong_platform import engine as engines
from datong_platform.names import parse
from datong_platform.settings import Settings
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from go_between import GoBetween
from many_writers import Race

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]


@pytest.fixture(scope="module")
def go_between(services: Settings) -> Iterator[GoBetween]:
    server = GoBetween(services.need("s3_endpoint"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def both_stores(services: Settings, start_spark: Callable[..., Any], go_between: GoBetween) -> Iterator[Any]:
    """A Spark whose `s3a` has our log store and whose `s3` has Delta's own, behind the go-between."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATONG_S3_ENDPOINT", f"http://127.0.0.1:{go_between.server_port}")
        with start_spark("spark-race", safe=("s3a",)) as engine:
            yield engine


def _append(services: Settings, name: str, writer: str, number: int = 0) -> None:
    write_deltalake(
        services.table_uri(parse(f"ops.{name}")),
        pa.table({"writer": [writer], "number": pa.array([number], pa.int64())}),
        mode="append",
        storage_options=services.storage_options(),
    )


def _rows(services: Settings, name: str) -> list[tuple[str, int]]:
    table = DeltaTable(services.table_uri(parse(f"ops.{name}")), storage_options=services.storage_options())
    found = pa.table(QueryBuilder().register("t", table).execute("select writer, number from t"))
    return sorted((row["writer"], row["number"]) for row in found.to_pylist())


def _spark_append(session: SparkSession, uri: str, writer: str, number: int) -> None:
    session.sql(f"insert into delta.`{uri}` values ('{writer}', cast({number} as bigint))").collect()


def test_the_stock_log_store_replaces_a_commit_that_was_acknowledged(
    services: Settings, both_stores: Any, go_between: GoBetween
) -> None:
    _append(services, "race_stock", "first")
    session = engines.session(both_stores.address)
    uri = f"s3://{services.bucket}/ops/race_stock"
    assert session.sql(f"select count(*) from delta.`{uri}`").collect()[0][0] == 1
    go_between.conditions.clear()
    go_between.before_commit = lambda: _append(services, "race_stock", "delta-rs")
    _spark_append(session, uri, "spark", 0)
    assert go_between.conditions == [None]
    assert _rows(services, "race_stock") == [("first", 0), ("spark", 0)], "the commit of delta-rs should be lost here"


def test_our_log_store_lets_the_other_commit_stand_and_commits_after_it(
    services: Settings, both_stores: Any, go_between: GoBetween
) -> None:
    _append(services, "race_ours", "first")
    session = engines.session(both_stores.address)
    uri = f"s3a://{services.bucket}/ops/race_ours"
    assert session.sql(f"select count(*) from delta.`{uri}`").collect()[0][0] == 1
    go_between.conditions.clear()
    go_between.answers.clear()
    go_between.before_commit = lambda: _append(services, "race_ours", "delta-rs")
    _spark_append(session, uri, "spark", 0)
    assert go_between.conditions == ["*", "*"]
    assert go_between.answers == [412, 200]
    assert _rows(services, "race_ours") == [("delta-rs", 0), ("first", 0), ("spark", 0)]


def test_writers_of_two_kinds_that_meet_in_the_middle_of_a_commit_lose_nothing(
    services: Settings, both_stores: Any, go_between: GoBetween
) -> None:
    """Appends, merges, upkeep and readers; some of Spark's commits meet one of delta-rs between its look and its write,
    which is where the stock log store lost one above."""
    race = Race(services, "race_s3a", {"spark": engines.session(both_stores.address)}, scheme="s3a")
    meetings = iter(range(3))

    def meet(path: str) -> None:
        if f"/{race.tables['log'].name}/" in path and (number := next(meetings, None)) is not None:
            race.append("delta-rs", "between", number)

    go_between.before_each_commit = meet
    try:
        tally = race.run({"spark": 2, "delta-rs": 2}, 6)
    finally:
        go_between.before_each_commit = None
    assert tally.is_whole, tally.words()
    assert tally.commits == 4 * 6 + 3
    assert tally.gave_up == {"log": set(), "state": set()}


def test_a_conflicting_change_of_another_writer_is_refused_and_not_lost(
    services: Settings, both_stores: Any, go_between: GoBetween
) -> None:
    _append(services, "race_change", "first")
    session = engines.session(both_stores.address)
    uri = f"s3a://{services.bucket}/ops/race_change"
    session.sql(f"select count(*) from delta.`{uri}`").collect()

    def change() -> None:
        table = DeltaTable(services.table_uri(parse("ops.race_change")), storage_options=services.storage_options())
        table.update(updates={"writer": "'delta-rs'"}, predicate="number = 0")

    go_between.before_commit = change
    with pytest.raises(Exception, match=r"(?i)concurrent"):
        session.sql(f"update delta.`{uri}` set writer = 'spark' where number = 0").collect()
    assert _rows(services, "race_change") == [("delta-rs", 0)]


def test_many_appends_of_spark_sail_and_delta_rs_side_by_side_keep_every_row(
    services: Settings, spark_services: Any
) -> None:
    """A race as it happens: three kinds of writers, nothing arranged."""
    name, each = "race_free", 12
    _append(services, name, "first")
    spark = engines.session(spark_services.address)
    sail = engines.session(services.need("engine_address"))
    sail.sql(
        f"create table if not exists ops.{name} using delta location '{services.table_uri(parse(f'ops.{name}'))}'"
    ).collect()

    def by_spark() -> None:
        for number in range(each):
            _spark_append(spark, f"s3a://{services.bucket}/ops/{name}", "spark", number)

    def by_sail() -> None:
        for number in range(each):
            statement = f"insert into ops.{name} values ('sail', cast({number} as bigint))"
            engines.retry_conflicts(lambda statement=statement: sail.sql(statement).collect())

    def by_delta_rs(writer: str) -> None:
        for number in range(each):
            _append(services, name, writer, number)

    with ThreadPoolExecutor(max_workers=4) as pool:
        for done in [
            pool.submit(by_spark),
            pool.submit(by_sail),
            *(pool.submit(by_delta_rs, w) for w in ("rs1", "rs2")),
        ]:
            done.result()
    expected = [(w, n) for w in ("rs1", "rs2", "sail", "spark") for n in range(each)] + [("first", 0)]
    assert _rows(services, name) == sorted(expected)


def test_each_engine_reads_what_the_other_wrote(services: Settings, spark_services: Any) -> None:
    sail = engines.session(services.need("engine_address"))
    spark = engines.session(spark_services.address)
    name, path = "ops.cross", f"{services.bucket}/ops/cross"
    sail.sql(
        f"create or replace table {name} using delta location 's3://{path}' as "
        "select id, cast(id as decimal(12, 3)) / 8 as amount, timestamp'2026-01-31 23:59:59.123456' as at_, "
        "case when id % 2 = 0 then '件' end as unit from range(20)"
    ).collect()
    spark.sql("create schema if not exists ops").collect()
    spark.sql(f"create table if not exists {name} using delta location 's3a://{path}'").collect()
    spark.sql(f"alter table {name} set tblproperties ('delta.enableDeletionVectors' = 'true')").collect()
    spark.sql(
        f"merge into {name} t using (select id + 15 as id from range(10)) s on t.id = s.id "
        "when matched then update set unit = 'pcs' "
        "when not matched then insert (id, amount, at_, unit) "
        "values (s.id, 1.125, timestamp'2026-02-01 00:00:00', 'new')"
    ).collect()
    spark.sql(f"delete from {name} where id = 3").collect()
    statement = f"select * from {name} order by id"
    by_spark = spark.sql(statement).toArrow().to_pylist()
    by_sail = sail.sql(statement).toArrow().to_pylist()
    assert len(by_spark) == 24
    assert by_sail == by_spark
    sail.sql(f"insert into {name} select 100, 2.5, timestamp'2026-02-01 00:00:00', 'sail'").collect()
    spark.sql(f"refresh table {name}").collect()
    assert spark.sql(f"select unit from {name} where id = 100").toArrow().to_pylist() == [{"unit": "sail"}]


def test_settings_lead_to_the_second_engine(services: Settings, spark_services: Any) -> None:
    from datong_platform.lake import catalog

    with spark_services.using() as now:
        assert now.engine_table_uri(parse("ops.x")).startswith("s3a://")
        registered = catalog.register()
        assert not registered.skipped
        assert engines.query("select count(*) as n from range(3)").to_pylist() == [{"n": 3}]
