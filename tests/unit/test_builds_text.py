"""A statement that asks for gold and serve as a build made them: which words are tables, and what takes their place."""

from datetime import UTC, datetime
from typing import Any

import pytest
from datong_infra.cli import builds as commands
from datong_platform.errors import ConfigurationError
from datong_platform.lake import builds
from datong_platform.lake.builds import Build, BuiltTable, Published, Version
from datong_platform.names import TableName

NOW = datetime(2026, 11, 1, tzinfo=UTC)
INVENTORY, CUSTOMER = TableName("gold", "mart_inventory"), TableName("serve", "bi__customer")
HELD = Build(
    "run-2",
    NOW,
    NOW,
    is_ok=False,
    number=2,
    tables=[
        BuiltTable(
            INVENTORY, "held", "its check key finds 1 rows", Version("a", 7), 9, Published(Version("a", 6), "run-1")
        ),
        BuiltTable(CUSTOMER, "skipped", published=Published(Version("b", 3), "run-1")),
    ],
)


@pytest.fixture(autouse=True)
def one_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(build_id: str) -> Build:
        return HELD

    def kept(table: TableName, version: Version) -> Any:
        return None

    monkeypatch.setattr(builds, "build", find)
    monkeypatch.setattr(builds, "open_version", kept)


@pytest.mark.parametrize(
    ("statement", "past"),
    [
        (
            "select * from gold.mart_inventory",
            "select * from history.gold__mart_inventory version as of 7 as mart_inventory",
        ),
        (
            "select i.n from gold.mart_inventory i join serve.bi__customer as c on i.a = c.a where i.n = 'from gold.x'",
            "select i.n from history.gold__mart_inventory version as of 7 i "
            "join history.serve__bi__customer version as of 3 as c on i.a = c.a where i.n = 'from gold.x'",
        ),
        (
            "select mart_inventory.n from gold.mart_inventory where n > 0 -- from gold.mart_inventory",
            "select mart_inventory.n from history.gold__mart_inventory version as of 7 as mart_inventory "
            "where n > 0 -- from gold.mart_inventory",
        ),
        ("select 1 from silver.material", "select 1 from silver.material"),
    ],
)
def test_only_tables_of_gold_and_serve_are_taken_from_the_build(statement: str, past: str) -> None:
    assert commands.as_of(statement, "run-2") == past


def test_a_table_that_the_build_does_not_know_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"gold\.nothing.*not in build 2"):
        commands.as_of("select * from gold.nothing", "run-2")


def test_a_build_tells_what_people_read_apart_from_what_it_made() -> None:
    assert {table: shown.version.number for table, shown in HELD.published.items()} == {INVENTORY: 6, CUSTOMER: 3}
    assert {table: version.number for table, version in HELD.built.items()} == {INVENTORY: 7, CUSTOMER: 3}
