"""Who adds a field to a contract and forgets a part is told which column the part owes, on both engines."""

from __future__ import annotations

import pytest
from datong_assets.dbt.building import _owed_column  # pyright: ignore[reportPrivateUsage]

SAIL = (
    'Runtime Error\n    attribute ObjectName([Identifier("given"), Identifier("email")]) is missing from the schema: '
    "cannot resolve attribute"
)
SPARK = (
    "[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column, variable, or function parameter with name `given`.`email` cannot be "
    "resolved. Did you mean one of the following? [`given`.`phone`]."
)


@pytest.mark.parametrize("message", [SAIL, SPARK])
def test_the_column_that_a_part_owes_is_named_with_what_to_write(message: str) -> None:
    assert _owed_column("int_crm__contact", message) == (
        "the contract's field `email` as a column (a system that has none: `cast(null as string) as email`)"
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("int_crm__contact", SAIL.replace("email", "no_field_of_the_contract")),
        ("int_crm__contact", "division by zero"),
        ("mart_inventory", SAIL),
        ("int_crm__nothing", SAIL),
    ],
)
def test_any_other_failure_is_told_as_it_is(model: str, message: str) -> None:
    assert _owed_column(model, message) == ""
