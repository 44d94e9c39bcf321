"""The same plant, built on both engines, gives the same tables: every silver, gold, serve and quarantine table."""

from collections.abc import Callable
from typing import Any

import pytest


def _read_and_build(stack: Any) -> None:
    for system in ("erp", "mes", "crm"):
        stack.datong("ingest", system)
    stack.datong("build")


def _build(stack: Any, engine: str) -> dict[str, Any]:
    """A plant that is read and built, lives on for some days, is read and built again, and is written back to.

    The content is taken before the write-back: the targets number what they are sent in the order of its arrival.
    """
    stack.datong("up", "--engine", engine)
    stack.datong("sandbox", "up", "--scale", "0.05", "--seed", "7")
    _read_and_build(stack)
    stack.datong("sandbox", "advance", "--days", "3", "--seed", "8")
    _read_and_build(stack)
    content = stack.content()
    stack.datong("publish")
    stack.datong("write-back")
    stack.datong("down")
    return content


@pytest.mark.nightly
@pytest.mark.spark
@pytest.mark.timeout(3000)
def test_both_engines_build_the_same_tables(installation: Callable[[str], Any]) -> None:
    on_sail = _build(installation("sail"), "sail")
    on_spark = _build(installation("spark"), "spark")

    assert sorted(on_sail) == sorted(on_spark)
    assert len(on_sail) > 30
    assert sum(len(rows) for _, rows in on_sail.values()) > 5000
    different: dict[str, Any] = {}
    for name, (columns, rows) in on_sail.items():
        other_columns, other_rows = on_spark[name]
        if columns != other_columns:
            different[name] = sorted(set(columns) ^ set(other_columns))
        elif rows != other_rows:
            different[name] = sorted(set(rows) ^ set(other_rows))[:4]
    assert different == {}
