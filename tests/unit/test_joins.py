"""Which rows belong together, read from a model's SQL: nothing but plain columns and fixed values is believed."""

from __future__ import annotations

import sqlglot
from datong_assets.dbt import joins
from datong_assets.dbt.joins import Joins

COLUMNS = {
    "silver": {"customer": ["source_system", "source_key", "customer_id", "phone"]},
    "ops": {"golden_customer": ["golden_id", "source_system", "source_key"]},
    "bronze": {"mes__scan": ["eventId", "unit", "shift"]},
    "staging": {"code_mapping_mes": ["code_set", "source_code", "code"]},
}
GOLDEN = """
with record as (
    select customer.*, golden.golden_id
    from silver.customer as customer
    inner join ops.golden_customer as golden
        on customer.source_system = golden.source_system and customer.source_key = golden.source_key
)
select golden_id as customer_id, min(phone) as phone from record group by golden_id
"""
CODED = """
with source as (select * from bronze.mes__scan)
select source.eventId as event_id, unit.code as quantity_unit, shift.code as shift
from source
left join staging.code_mapping_mes as unit on unit.code_set = 'unit' and unit.source_code = source.unit
left join staging.code_mapping_mes as shift on shift.code_set = 'shift' and shift.source_code = source.shift
"""


def read(sql: str) -> Joins:
    schema = {
        name: {table: dict.fromkeys(columns, "string") for table, columns in tables.items()}
        for name, tables in COLUMNS.items()
    }
    return joins.read(sqlglot.parse_one(sql, dialect="spark"), schema)


def test_the_key_of_a_model_finds_rows_under_another_name_and_these_find_what_is_joined_to_them() -> None:
    found = read(GOLDEN)
    (golden,) = found.conditions("ops.golden_customer", {"customer_id": "C-1'"}, {}, {})
    assert golden == "cast(golden_id as string) = 'C-1\\''"
    assert found.conditions("silver.customer", {"customer_id": "C-1"}, {}, {}) == []
    (records,) = found.conditions("silver.customer", {"customer_id": "C-1"}, {}, {"ops.golden_customer": golden})
    both = "concat_ws('|', cast(source_system as string), cast(source_key as string))"
    assert records == f"{both} in (select {both} from ops.golden_customer where {golden})"


def test_a_list_that_is_joined_twice_is_found_for_each_of_its_meanings() -> None:
    sent = {"bronze.mes__scan": {"eventid": "7", "unit": "箱", "shift": None}}
    found = read(CODED)
    assert found.conditions("staging.code_mapping_mes", {}, sent, {}) == [
        "cast(source_code as string) = '箱' and code_set = 'unit'"
    ]
    sent["bronze.mes__scan"]["shift"] = "N"
    assert len(found.conditions("staging.code_mapping_mes", {}, sent, {})) == 2


def test_a_side_that_stays_without_a_counterpart_is_not_narrowed_by_it() -> None:
    on = "join staging.code_mapping_mes as phone on phone.source_code = customer.phone"
    others = {"staging.code_mapping_mes": "code = 'H87'"}
    for side, narrowed in (("left", 0), ("inner", 1)):
        found = read(f"select customer.phone as raw, phone.code from silver.customer as customer {side} {on}")
        assert len(found.conditions("silver.customer", {}, {}, others)) == narrowed


def test_what_is_made_of_columns_is_no_equality() -> None:
    found = read(
        "select upper(c.customer_id) as id from silver.customer as c inner join ops.golden_customer as g "
        "on g.golden_id = upper(c.customer_id) and g.source_key > c.source_key"
    )
    assert (found.keys, dict(found.pairs), found.fixed) == ({}, {}, {})
