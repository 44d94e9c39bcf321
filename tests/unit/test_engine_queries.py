"""Which statements are sent as queries, in one request."""

from __future__ import annotations

import pytest
from datong_platform import engine


@pytest.mark.parametrize(
    ("sql", "is_query"),
    [
        ("select 1", True),
        ("\n  SELECT\n1", True),
        ('/* {"app": "dbt"} */ select 1', True),
        ("-- what it is\n/* and\nwhy */ select 1", True),
        ("/* dbt */ create view v as /* of */ select 1", False),
        ("-- create\ncreate table t as\nselect 1", False),
        ("with a as (select 1) insert into t select * from a", False),
        ("selected", False),
        ("/* select 1", False),
    ],
)
def test_only_what_begins_with_select_is_a_query(sql: str, is_query: bool) -> None:
    assert bool(engine._QUERY.match(sql)) == is_query  # pyright: ignore[reportPrivateUsage]
