"""What validation costs: the model of silver.sales_order_item with all its checks, and the same without them.

    uv run python tests/bench/validation.py --rows 1000000

Both read the same change log from a Delta table, typed, as a source with types sends it, one row in a hundred broken;
both take the newest row of each record, as silver does, and write a Delta table. Target: 1.5 x at most.
"""

from __future__ import annotations

import dataclasses

from datong_platform.engine import session
from datong_platform.names import TableName
from datong_platform.settings import settings
from datong_platform.standard import conform
from datong_platform.standard.contract import Contract, contract
from datong_platform.standard.rules import is_withheld
from frame import Benchmark, Session

BENCH = Benchmark(
    key="validation",
    title="A model with all its checks, beside the same without them",
    goal="1.5 x at most",
    quick={"rows": 20_000},
)
ROWS = """
select
    'erp' as source_system,
    concat(id, '/10') as source_key,
    lpad(cast(id % 20000 as string), 10, '0') as sales_order_id,
    cast(id % 90 + 1 as string) as sales_order_item_id,
    concat('FG-', id % 1000) as material_id,
    concat(' Item ', id, ' ') as item_text,
    '1010' as plant_id,
    '0001' as storage_location_id,
    cast(case when id % 100 = 0 then -1 else id % 500 + 1 end as decimal(15, 3)) as quantity,
    cast(0 as decimal(15, 3)) as delivered_quantity,
    'H87' as quantity_unit,
    'ST' as source_quantity_unit,
    cast(id % 100000 as decimal(18, 3)) as amount,
    'CNY' as currency,
    'CNY' as source_currency,
    'OPEN' as status,
    'A' as source_status,
    'OPEN' as delivery_status,
    'A' as source_delivery_status,
    false as is_rejected,
    cast(null as string) as rejection_reason,
    '000000000001' as _datong_batch_id,
    timestamp'2026-01-01 00:00:00' as _datong_ingested_at,
    cast(null as string) as source_row
from range({rows})
"""


LATEST = """
(select *
from (
    select *, row_number() over (partition by source_key order by _datong_batch_id desc) as _age
    from {source}
) as aged
where _age = 1)
"""


def statement(of: Contract, source: TableName, *, checked: bool) -> str:
    relation = LATEST.format(source=source)
    if not checked:
        # one rule that costs nothing has to stay, as the macro always makes a column of failures
        of = dataclasses.replace(of, rules=tuple(each for each in of.rules if each.field == "material_id")[:1])
    parents = {
        "sales_order": "(select cast(id as string) as sales_order_id from range(20000))",
        "material": "(select concat('FG-', id) as material_id from range(1000))",
    }
    columns = ", ".join(each.name for each in of.fields)
    inner = conform.sql(of, relation, parents=parents, as_text=())
    return f"select {columns}, _datong_batch_id, _datong_ingested_at from ({inner}) where not {is_withheld()}"


def main() -> None:
    options = BENCH.options(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    with BENCH.session(options) as bench, bench.services("store", "engine"):
        measure(bench)


def measure(bench: Session) -> None:
    """Make the change log, then both models turn by turn."""
    of, engine, rows = contract("sales_order_item"), session(), bench.asked.rows
    source, table = TableName("ops", "bench_source"), TableName("ops", "bench_validation")

    def write(to: TableName, sql: str) -> None:
        place = settings().engine_table_uri(to)
        engine.sql(f"create or replace table {to} using delta location '{place}' as {sql}").collect()

    engine.sql("create schema if not exists ops").collect()
    write(source, ROWS.format(rows=rows))
    case = f"{len(of.rules)} rules"
    bench.peer("without checks", engine.version, model="the same, one rule that costs nothing")
    for _ in bench.turns():
        for who, checked in (("without checks", False), ("datong", True)):
            if not bench.takes(who):
                continue
            sql = statement(of, source, checked=checked)
            with bench.measured(who, case, amount=rows, unit="rows"):
                write(table, sql)
            held = engine.sql(f"select count(*) from {table}").collect()[0][0]
            wanted = rows - (rows + 99) // 100 if checked else rows
            if held != wanted:
                raise SystemExit(f"{held} rows where {wanted} should be: the two models do not do what they say")


if __name__ == "__main__":
    main()
