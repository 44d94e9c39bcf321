"""Twenty BI queries on serve with ten million rows behind them, 1 and 8 users; publishing a million rows (P10).

    uv run python tests/bench/bi_queries.py --rows 10000000 --runs 5

The rows are made in the engine, in the columns of the project's own BI tables (order fulfilment, inventory), let read
and published as `datong publish` does it. Then users ask the twenty queries, each user in an order of its own: of the
database that BI tools reach (datong), of the engine on the Delta tables, and of DuckDB on a table of its own in a local
file, with its default settings. A query's time is from its sending to its last row in Python. All answers are compared.

`publish` is a table of --publish-rows that is new, and then with one row in a hundred changed; the limit is ADBC's bulk
ingest of the same rows from memory, without key, comparison or check. The figures p50, p95 and max are of single
queries; what each query took is in the record (--format json).
"""

from __future__ import annotations

import hashlib
import math
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import psycopg
import pyarrow as pa
from datong_platform import engine
from datong_platform.lake import builds, publish
from datong_platform.lake.publish import PublishSpec
from datong_platform.names import TableName
from datong_platform.settings import home, settings
from frame import Benchmark, Session, checksum

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from lake_builds import let_read

BENCH = Benchmark(
    key="p10",
    title="Twenty BI queries on serve over ten million rows, 1 and 8 users; publishing a million rows",
    goal="p95 1 s at 8 users; publishing a million rows in 5 s",
    quick={"rows": 50_000, "publish_rows": 20_000},
)
ORDERS, INVENTORY = TableName("serve", "bi__order_fulfilment"), TableName("serve", "bi__inventory")
PUBLISHED = TableName("serve", "bi__published")
MATERIALS, CUSTOMERS, PLANTS = 5_000, 20_000, 4

MAKE_ORDERS = """
select
    'erp' as source_system,
    lpad(cast(id div 5 as string), 10, '0') as sales_order_id,
    cast(id % 5 * 10 + 10 as string) as sales_order_item_id,
    concat('C-', cast(id div 5 * 7919 % {customers} as string)) as customer_id,
    concat('客户 ', cast(id div 5 * 7919 % {customers} as string), ' 有限公司') as customer_name,
    concat('1', cast(id div 5 % {plants} as string), '10') as plant_id,
    concat('FG-', cast(id * 104729 % {materials} as string)) as material_id,
    concat('轴承 ', cast(id * 104729 % {materials} as string)) as material_name_zh,
    date_add(date '2023-01-01', cast(id div 5 * 1096 div ({rows} div 5 + 1) as int)) as ordered_on,
    date_add(date '2023-01-15', cast(id div 5 * 1096 div ({rows} div 5 + 1) + id % 21 as int)) as requested_delivery_on,
    case when id % 10 < 8 then
        date_add(date '2023-01-15', cast(id div 5 * 1096 div ({rows} div 5 + 1) + id % 27 as int)) end
        as last_delivered_on,
    cast(id * 31 % 500 + 1 as decimal(18, 3)) as quantity,
    cast(case when id % 10 < 9 then id * 31 % 500 + 1 else 0 end as decimal(18, 3)) as produced_quantity,
    cast(case when id % 10 < 8 then id * 31 % 500 + 1 else 0 end as decimal(18, 3)) as delivered_quantity,
    cast(case when id % 10 < 8 then 0 else id * 31 % 500 + 1 end as decimal(18, 3)) as open_quantity,
    'H87' as quantity_unit,
    cast((id * 31 % 500 + 1) * (id * 17 % 9973 + 1) / 100 + {more} as decimal(18, 2)) as amount,
    case when id % 20 = 0 then 'USD' else 'CNY' end as currency,
    case when id % 10 < 9 then 'COMPLETED' else 'RELEASED' end as production_status,
    case when id % 10 < 8 then 'DELIVERED' else 'OPEN' end as delivery_status,
    id % 97 = 0 as is_rejected,
    id % 27 > id % 21 as is_late,
    cast(case when id % 27 > id % 21 then id % 27 - id % 21 else 0 end as int) as days_late,
    date '2025-12-31' as as_of_on
from range({rows})
"""
MAKE_INVENTORY = """
select
    'erp' as source_system,
    concat('1', cast(id % {plants} as string), '10') as plant_id,
    concat('FG-', cast(id div {plants} as string)) as material_id,
    concat('轴承 ', cast(id div {plants} as string)) as material_name_zh,
    case when id % 7 = 0 then 'RAW' else 'FINISHED' end as material_type,
    cast(id * 37 % 10007 as decimal(18, 3)) as book_quantity,
    cast(id % 13 as decimal(18, 3)) as unposted_quantity,
    cast(id * 37 % 10007 - id % 13 as decimal(18, 3)) as actual_quantity,
    cast((id * 37 % 10007 - id % 13) * 12 as decimal(18, 2)) as actual_amount
from range({materials} * {plants})
"""
# SQL that PostgreSQL, Spark and DuckDB all read, as BI tools write it: a dashboard's figures, its filters, its lists
QUERIES = (
    "select count(*), sum(amount), sum(open_quantity) from {orders}",
    "select currency, sum(amount), count(*) from {orders} where ordered_on >= date '2025-12-01' group by currency",
    "select extract(year from ordered_on), extract(month from ordered_on), sum(amount) from {orders} "
    "where ordered_on >= date '2025-01-01' group by extract(year from ordered_on), extract(month from ordered_on)",
    "select plant_id, count(*), sum(case when is_late then 1 else 0 end) from {orders} "
    "where ordered_on between date '2025-10-01' and date '2025-12-31' group by plant_id",
    "select customer_id, customer_name, sum(amount) as total from {orders} "
    "where ordered_on >= date '2025-11-01' and currency = 'CNY' group by customer_id, customer_name "
    "order by total desc, customer_id limit 10",
    "select material_id, sum(delivered_quantity) as total from {orders} where ordered_on >= date '2025-07-01' "
    "group by material_id order by total desc, material_id limit 20",
    "select sales_order_id, sales_order_item_id, material_id, quantity, delivery_status from {orders} "
    "where source_system = 'erp' and sales_order_id = '{order}'",
    "select sales_order_id, ordered_on, amount from {orders} where customer_id = 'C-77' "
    "order by ordered_on desc, sales_order_id desc, sales_order_item_id desc limit 50",
    "select delivery_status, production_status, count(*) from {orders} where plant_id = '1010' "
    "and ordered_on >= date '2025-09-01' group by delivery_status, production_status",
    "select count(distinct customer_id) from {orders} where ordered_on >= date '2025-10-01'",
    "select case when days_late = 0 then 'in time' when days_late < 7 then 'a week' else 'more' end, count(*) "
    "from {orders} where ordered_on >= date '2025-06-01' "
    "group by case when days_late = 0 then 'in time' when days_late < 7 then 'a week' else 'more' end",
    "select plant_id, avg(days_late) from {orders} where is_late and ordered_on >= date '2025-10-01' group by plant_id",
    "select material_type, sum(actual_amount), count(*) from {inventory} group by material_type",
    "select plant_id, material_id, actual_quantity from {inventory} where actual_quantity < 10 "
    "order by actual_quantity, plant_id, material_id limit 100",
    "select o.plant_id, sum(o.open_quantity), sum(i.actual_quantity) from {orders} o join {inventory} i "
    "on i.plant_id = o.plant_id and i.material_id = o.material_id "
    "where o.ordered_on >= date '2025-12-01' and o.delivery_status = 'OPEN' group by o.plant_id",
    "select o.material_id, o.open_quantity, i.actual_quantity from {orders} o join {inventory} i "
    "on i.plant_id = o.plant_id and i.material_id = o.material_id where o.open_quantity > i.actual_quantity "
    "and o.requested_delivery_on between date '2025-12-20' and date '2025-12-31' "
    "order by o.sales_order_id, o.sales_order_item_id limit 100",
    "select plant_id, customer_id, total from (select plant_id, customer_id, sum(amount) as total, row_number() over "
    "(partition by plant_id order by sum(amount) desc, customer_id) as place from {orders} "
    "where ordered_on >= date '2025-11-01' group by plant_id, customer_id) ranked where place <= 3",
    "select customer_id, count(*) from {orders} where is_rejected and ordered_on >= date '2025-01-01' "
    "group by customer_id having count(*) > 3 order by count(*) desc, customer_id limit 20",
    "select ordered_on, sum(amount), sum(quantity) from {orders} "
    "where ordered_on between date '2025-12-01' and date '2025-12-31' group by ordered_on",
    "select count(*) from {orders} where material_name_zh like '轴承 42%' and ordered_on >= date '2025-10-01'",
)
Ask = Callable[[str], pa.Table]
"""Sends a query and gives all rows of its answer."""


def main() -> None:
    options = BENCH.options(__doc__)
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--publish-rows", type=int, default=1_000_000)
    options.add_argument("--users", type=int, action="append", help="how many at a time; 1 and 8 when none is given")
    with BENCH.session(options) as bench, bench.services("store", "engine", "postgres"):
        asked = bench.asked
        bench.peer("duckdb", duckdb.__version__, table="its own, in a file on the local disk", settings="as it comes")
        make(ORDERS, MAKE_ORDERS, asked.rows)
        make(INVENTORY, MAKE_INVENTORY, asked.rows)
        doors = opened(bench)
        for _ in bench.turns():
            for users in asked.users or [1, 8]:
                for who, open_door in doors.items():
                    if bench.takes(who):
                        ask(bench, who, open_door, users)
            publishing(bench)


def make(table: TableName, sql: str, rows: int, more: str = "0") -> None:
    """Write a table of serve in the engine, and let people read it; `more` is added to the amounts."""
    session = engine.session()
    session.sql("create schema if not exists serve").collect()
    made = sql.format(rows=rows, customers=CUSTOMERS, plants=PLANTS, materials=MATERIALS, more=more)
    place = settings().engine_table_uri(table)
    session.sql(f"create or replace table {table} using delta location '{place}' as {made}").collect()
    let_read(table)


def spec(table: TableName) -> PublishSpec:
    """As the project's own model has it."""
    keys = ("plant_id", "material_id") if table == INVENTORY else ("sales_order_id", "sales_order_item_id")
    return PublishSpec(table, ("source_system", *keys))


# --- the doors


def opened(bench: Session) -> dict[str, Callable[[], Ask]]:
    """How a user opens each door; what stands behind it is made ready."""
    rows: int = bench.asked.rows
    doors: dict[str, Callable[[], Ask]] = {}
    if bench.takes("datong"):
        for table in (ORDERS, INVENTORY):
            result = publish.publish_table(spec(table))
            bench.say(f"{result.table}: {result.rows:,} rows published in {result.seconds:.1f} s")
        doors["datong"] = lambda: ask_postgres(rows)
    if bench.takes("datong, engine"):
        doors["datong, engine"] = lambda: ask_engine(rows)
    if bench.takes("duckdb"):
        path = home() / "bench.duckdb"
        with duckdb.connect(path) as database:
            for table in (ORDERS, INVENTORY):
                database.from_arrow(builds.open_published(table).to_pyarrow_dataset()).create(table.name)
        shared = duckdb.connect(path, read_only=True)
        doors["duckdb"] = lambda: ask_duckdb(shared, rows)
    return doors


def worded(sql: str, rows: int, orders: str, inventory: str) -> str:
    """A query with its tables, and an order that is there."""
    return sql.format(orders=orders, inventory=inventory, order=f"{rows // 35:010d}")


def ask_postgres(rows: int) -> Ask:
    """A connection as a BI tool has it, with the role that only reads."""
    connection = psycopg.connect(settings().need("postgres_reader_url"), autocommit=True)

    def ask(sql: str) -> pa.Table:
        cursor = connection.execute(worded(sql, rows, "serve.order_fulfilment", "serve.inventory").encode())
        found = cursor.fetchall()
        assert cursor.description
        columns = [[row[at] for row in found] for at in range(len(cursor.description))]
        return pa.table(columns, [column.name for column in cursor.description])

    return ask


def ask_engine(rows: int) -> Ask:
    """The session that all share, as the engine's catalog does."""
    session = engine.session()
    return lambda sql: session.sql(worded(sql, rows, str(ORDERS), str(INVENTORY))).toArrow()


def ask_duckdb(shared: duckdb.DuckDBPyConnection, rows: int) -> Ask:
    cursor = shared.cursor()
    return lambda sql: cursor.sql(worded(sql, rows, ORDERS.name, INVENTORY.name)).to_arrow_table()


def ask(bench: Session, who: str, open_door: Callable[[], Ask], users: int) -> None:
    """Every user asks every query once, all at the same time; the answers of all are compared."""
    doors = [open_door() for _ in range(users)]
    ready = threading.Barrier(users)

    def work(user: int) -> list[tuple[int, float, pa.Table]]:
        order = list(range(len(QUERIES)))
        random.Random(user).shuffle(order)
        ready.wait()
        answers: list[tuple[int, float, pa.Table]] = []
        for number in order:
            began = time.perf_counter()
            answer = doors[user](QUERIES[number])
            answers.append((number, time.perf_counter() - began, answer))
        return sorted(answers, key=lambda answer: answer[0])

    case = f"{users} user{'s' if users > 1 else ''}"
    counted = {"datong": ["postgres"], "datong, engine": ["engine", "store"]}.get(who, ())
    total = users * len(QUERIES)
    with (
        bench.measured(who, case, services=counted, amount=total, unit="queries") as run,
        ThreadPoolExecutor(users) as pool,
    ):
        done = list(pool.map(work, range(users)))
    told = [[(number, seconds, answered(answer)) for number, seconds, answer in mine] for mine in done]
    taken = sorted(seconds for mine in told for _, seconds, _ in mine)
    run.figures |= {
        "p50_seconds": statistics.median(taken),
        "p95_seconds": taken[math.ceil(total * 0.95) - 1],
        "max_seconds": taken[-1],
    }
    run.details |= {
        f"query_{number + 1}_seconds": statistics.median(mine[number][1] for mine in told)
        for number in range(len(QUERIES))
    }
    different = {number for number in range(len(QUERIES)) if len({mine[number][2] for mine in told}) > 1}
    assert not different, f"{who}: users got different answers to {sorted(number + 1 for number in different)}"
    run.checksum = hashlib.sha256("".join(answer for _, _, answer in told[0]).encode()).hexdigest()
    run.checksum_by_part |= {f"query {number + 1}": answer for number, _, answer in told[0]}


def answered(answer: pa.Table) -> str:
    """The checksum of an answer, whatever its columns are called."""
    return checksum(answer.rename_columns([f"c{number:02d}" for number in range(answer.num_columns)]), digits=4)


# --- publishing


def publishing(bench: Session) -> None:
    """A table that is new, and again with one row in a hundred changed; the limit, by ADBC."""
    rows: int = bench.asked.publish_rows
    url = settings().need("postgres_url")
    counted = ["postgres", "store"]
    make(PUBLISHED, MAKE_ORDERS, rows)
    if bench.takes("datong"):
        forget(url)
        with bench.measured("datong", "publish, all new", services=counted, amount=rows, unit="rows") as run:
            publish.publish_table(spec(PUBLISHED))
        run.checksum = checksum(in_postgres(url))
    if bench.takes("limit: ADBC ingest"):
        forget(url)
        told = {"services": counted, "amount": rows, "unit": "rows"}
        with bench.measured("limit: ADBC ingest", "publish, all new", **told) as run:
            ingest(url)
        run.checksum = checksum(in_postgres(url))
    if bench.takes("datong"):
        forget(url)
        publish.publish_table(spec(PUBLISHED))
        make(PUBLISHED, MAKE_ORDERS, rows, more="case when id % 100 = 7 then 1 else 0 end")
        with bench.measured("datong", "publish, 1 % changed", services=counted, amount=rows, unit="rows") as run:
            result = publish.publish_table(spec(PUBLISHED))
        assert result.updated == len(range(7, rows, 100)), result
        now = checksum(in_postgres(url))
        assert now == checksum(builds.open_published(PUBLISHED).to_pyarrow_dataset()), "not what the build holds"
        run.checksum = now


def forget(url: str) -> None:
    """Drop the published table."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop table if exists serve.published")
        connection.execute(
            "do $$ begin delete from ops.publication where table_name = 'published'; "
            "exception when undefined_table or invalid_schema_name then null; end $$"
        )


def ingest(url: str) -> None:
    """The rows as they are, by ADBC's COPY."""
    from adbc_driver_postgresql import dbapi

    rows = builds.open_published(PUBLISHED).to_pyarrow_dataset()
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("create schema if not exists serve")
        cursor.adbc_ingest("published", rows.scanner().to_reader(), mode="create", db_schema_name="serve")
        connection.commit()


def in_postgres(url: str) -> pa.Table:
    """What was published; a decimal, which ADBC gives as text, is a number again."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("select * from serve.published")
        found = cursor.fetch_arrow_table()
    numbers = {"quantity", "produced_quantity", "delivered_quantity", "open_quantity", "amount"}
    for at, name in enumerate(found.column_names):
        if name in numbers:
            found = found.set_column(at, name, found.column(name).cast(pa.string()).cast(pa.decimal128(18, 3)))
    return found


if __name__ == "__main__":
    main()
