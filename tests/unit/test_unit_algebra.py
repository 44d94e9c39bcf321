"""What mixes units or currencies is told before a model runs, with its line; one unit that is proved is let be."""

from __future__ import annotations

import pytest
from datong_platform.errors import ConfigurationError
from datong_platform.standard.unit_algebra import (
    COLUMN,
    Decided,
    Dimension,
    Measure,
    Model,
    Relation,
    Term,
    Violation,
    check,
    relation_with,
)


def measure(dimension: Dimension, column: str) -> Measure:
    return Measure(dimension, frozenset({Term(COLUMN, (column,))}))


TABLES = {
    "silver.stock": relation_with(
        Relation({"quantity": measure("unit", "quantity_unit"), "reserved": measure("unit", "quantity_unit")}),
        keys=[["stock_id"]],
        label="silver.stock",
        decided=[Decided("quantity_unit", ("plant", "material_id"), "silver.material.base_unit")],
    ),
    "silver.material": relation_with(
        Relation({"weight": measure("unit", "weight_unit"), "price": measure("currency", "currency")}),
        keys=[["plant", "material_id"]],
        label="silver.material",
        decided=[Decided("base_unit", ("plant", "material_id"), "silver.material.base_unit")],
    ),
    "silver.item": relation_with(
        Relation(
            {
                "quantity": measure("unit", "quantity_unit"),
                "amount": measure("currency", "currency"),
                "minutes": Measure("unit", frozenset({Term("MIN", is_fixed=True)})),
            }
        ),
        keys=[["item_id"]],
        label="silver.item",
    ),
    "unit_conversion": Relation(converts={"factor": ("from_unit", "to_unit")}),
    "currency_conversion": Relation(converts={"rate": ("from_currency", "to_currency")}),
}


def found(*models: str) -> list[Violation]:
    made = [Model(f"m{place}", f"gold.m{place}", f"m{place}.sql", sql, sql) for place, sql in enumerate(models)]
    return check(made, TABLES)


MIXED = {
    "a sum over all rows": "select sum(quantity) as total from silver.item",
    "a sum by something else": "select plant, sum(amount) as total from silver.item group by plant",
    "an average": "select avg(amount) as total from silver.item",
    "the greatest of several units": "select max(quantity) as most from silver.item",
    "a running sum": "select sum(amount) over (partition by plant) as total from silver.item",
    "two tables added": (
        "select a.quantity + b.quantity as total from silver.item as a "
        "inner join silver.item as b on a.order_id = b.order_id"
    ),
    "two tables subtracted behind coalesce and cast": (
        "select cast(coalesce(a.quantity, 0) - coalesce(s.quantity, 0) as decimal(18, 3)) as open "
        "from silver.item as a left join silver.stock as s on a.material_id = s.material_id"
    ),
    "an amount added to a quantity": "select amount + quantity as total from silver.item",
    "minutes added to pieces": "select minutes + quantity as total from silver.item",
    "branches of a case": (
        "select case when a.x then a.quantity else s.quantity end as total from silver.item as a "
        "inner join silver.stock as s on a.material_id = s.material_id"
    ),
    "compared": (
        "select a.quantity > s.quantity as enough from silver.item as a "
        "inner join silver.stock as s on a.material_id = s.material_id"
    ),
    "a share of another unit": (
        "select a.quantity / s.quantity as share from silver.item as a "
        "inner join silver.stock as s on a.material_id = s.material_id"
    ),
    "summed after the unit was left out": (
        "with u as (select plant, quantity from silver.item) select sum(quantity) as total from u group by plant"
    ),
    "summed after a union": (
        "with u as (select plant, quantity, quantity_unit from silver.item "
        "union all select plant, quantity, quantity_unit from silver.stock) "
        "select plant, sum(quantity) as total from u group by plant"
    ),
    "prices times quantities in several currencies": (
        "select sum(s.quantity * m.price) as worth from silver.stock as s "
        "inner join silver.material as m on s.plant = m.plant and s.material_id = m.material_id"
    ),
    "converted into a unit that differs by row": (
        "select sum(i.quantity * c.factor) as total from silver.item as i "
        "inner join unit_conversion as c on i.quantity_unit = c.from_unit and i.wanted_unit = c.to_unit"
    ),
    "in a subquery of the filter": (
        "select item_id from silver.item where exists (select sum(amount) as total from silver.item group by plant)"
    ),
    "in the having": "select plant from silver.item group by plant having sum(amount) > 100",
}


@pytest.mark.parametrize("sql", MIXED.values(), ids=MIXED)
def test_mixed_units_are_told(sql: str) -> None:
    assert len(found(sql)) == 1


KEPT_APART = {
    "grouped by the unit": "select quantity_unit, sum(quantity) as total from silver.item group by quantity_unit",
    "grouped by the place of the unit": "select quantity_unit, sum(quantity) as total from silver.item group by 1",
    "one unit by the filter": "select sum(quantity) as total from silver.item where quantity_unit = 'KGM'",
    "a fixed unit": "select sum(minutes) as total from silver.item",
    "grouped by the key": "select item_id, sum(quantity) as total from silver.item group by item_id",
    "grouped by what decides the unit": (
        "select plant, material_id, sum(quantity) as total from silver.stock group by plant, material_id"
    ),
    "two quantities of one row": "select quantity - reserved as free from silver.stock",
    "joined on the unit": (
        "select a.quantity + b.quantity as total from silver.item as a "
        "inner join silver.item as b on a.order_id = b.order_id and a.quantity_unit = b.quantity_unit"
    ),
    "compared where the units are equal": (
        "select case when a.quantity_unit = b.quantity_unit then a.quantity - b.quantity end as open "
        "from silver.item as a inner join silver.item as b on a.order_id = b.order_id"
    ),
    "converted": (
        "select sum(i.amount * c.rate) as total from silver.item as i "
        "inner join currency_conversion as c on i.currency = c.from_currency and c.to_currency = 'CNY'"
    ),
    "converted into the unit grouped by": (
        "select i.wanted_unit, sum(i.quantity * case when i.quantity_unit = i.wanted_unit then 1 else c.factor end) "
        "as total from silver.item as i "
        "inner join unit_conversion as c on i.quantity_unit = c.from_unit and i.wanted_unit = c.to_unit "
        "group by i.wanted_unit"
    ),
    "zero and null fit any unit": (
        "select sum(case when x then amount else 0 end) as t, currency from silver.item group by currency"
    ),
    "a sign changes no unit": (
        "select quantity_unit, sum(quantity * sign) as total from silver.item group by quantity_unit"
    ),
    "counted": "select count(quantity) as rows_ from silver.item",
    "price times quantity of one currency": (
        "select m.currency, sum(s.quantity * m.price) as worth from silver.stock as s "
        "inner join silver.material as m on s.material_id = m.material_id group by m.currency"
    ),
    "by names that came through two steps": (
        "with u as (select material_id as part, plant as site, quantity as q from silver.stock), "
        "v as (select site, part, sum(q) as q from u group by site, part) "
        "select v.q - m.q as open from v inner join "
        "(select plant, material_id, sum(reserved) as q from silver.stock group by plant, material_id) as m "
        "on v.site = m.plant and v.part = m.material_id"
    ),
}


@pytest.mark.parametrize("sql", KEPT_APART.values(), ids=KEPT_APART)
def test_one_unit_is_let_be(sql: str) -> None:
    assert found(sql) == []


def test_a_model_hands_its_units_on_to_the_next() -> None:
    one = "select item_id as number, quantity as pieces, quantity_unit as unit from silver.item"
    assert found(one, "select unit, sum(pieces) as total from gold.m0 group by unit") == []
    (told,) = found(one, "select sum(pieces) as total from gold.m0")
    assert told.model == "m1"


def test_a_violation_names_file_line_column_and_units() -> None:
    sql = "select\n    plant,\n    1 as one,\n    sum(amount) as total\nfrom silver.item\ngroup by plant\n"
    (told,) = found(sql)
    assert str(told).startswith("m0.sql:4 m0.total: sum over amounts in currency")


def test_the_line_is_that_of_the_file_where_macros_became_many_lines() -> None:
    text = "select\n    {{ macro() }} as a,\n    sum(amount) as total\nfrom silver.item\n"
    sql = "select\n    case\n        when 1 = 1 then 2\n    end as a,\n    sum(amount) as total\nfrom silver.item\n"
    (told,) = check([Model("m", "gold.m", "m.sql", text, sql)], TABLES)
    assert told.line == 3


def test_sql_that_cannot_be_parsed_names_its_model() -> None:
    with pytest.raises(ConfigurationError, match="model m0: cannot be parsed"):
        found("select from where")
