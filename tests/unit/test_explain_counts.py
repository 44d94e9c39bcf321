# pyright: reportPrivateUsage=false
"""A count of rows names no column; it is explained by the rows that it counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from datong_assets import explain
from datong_assets.dbt.graph import Graph

SQL = """
with item as (select * from silver.sales_order_item), customer as (select * from gold.dim_customer), counted as (
    select customer_id, count(*) as items, 'erp' as source_system from item where open_quantity > 0 group by customer_id
) select counted.*, customer.name from counted left join customer on counted.customer_id = customer.customer_id
"""
COLUMNS = {
    "silver.sales_order_item": ("customer_id", "open_quantity", "sales_order_id", "sales_order_item_id"),
    "gold.dim_customer": ("customer_id", "name"),
}


@pytest.fixture
def walk(monkeypatch: pytest.MonkeyPatch) -> explain._Walk:
    monkeypatch.setattr(explain, "_columns_of", lambda table: COLUMNS.get(table, ()))  # pyright: ignore[reportUnknownLambdaType]
    key = {
        "test_metadata": {"name": "key", "kwargs": {"columns": ["sales_order_id", "sales_order_item_id"]}},
        "attached_node": "model.datong.sales_order_item",
    }
    item = {
        "schema": "silver",
        "name": "sales_order_item",
        "alias": "sales_order_item",
        "resource_type": "model",
        "config": {},
    }
    content = {
        "nodes": {
            "model.datong.sales_order_item": item,
            "test.datong.key": {"resource_type": "test", "config": {}, **key},
        }
    }
    return explain._Walk(Graph(Path(), Path(), {"sources": {}, "stamp": "", **content}))


def _leaves(walk: explain._Walk, column: str) -> tuple[dict[str, list[str]], str]:
    return walk._leaves(SQL, column)


def test_a_count_is_made_of_the_rows_of_its_own_table_told_by_their_key(walk: explain._Walk) -> None:
    assert _leaves(walk, "items") == ({"silver.sales_order_item": ["sales_order_item_id"]}, "COUNT(*)")


def test_a_constant_is_made_of_nothing_and_a_column_of_its_column(walk: explain._Walk) -> None:
    assert _leaves(walk, "source_system")[0] == {}
    assert _leaves(walk, "name") == ({"gold.dim_customer": ["name"]}, "")
