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


@pytest.mark.spark
@pytest.mark.timeout(5000)
def test_both_engines_build_the_same_tables(
    installation: Callable[[str], Any], differences: Callable[..., Any]
) -> None:
    on_sail = _build(installation("sail"), "sail")
    on_spark = _build(installation("spark"), "spark")

    assert len(on_sail) > 30
    assert sum(len(rows) for _, rows in on_sail.values()) > 5000
    assert differences(on_sail, on_spark) == {}
