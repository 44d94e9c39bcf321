"""The same plant, built on both engines, gives the same tables: every silver, gold, serve and quarantine table."""

from collections.abc import Callable
from typing import Any

import pytest


def _read_and_build(stack: Any) -> None:
    for system in ("erp", "mes", "crm"):
        stack.datong("ingest", system)
    stack.datong("build")


def _build(stack: Any, engine: str, days: int) -> dict[str, Any]:
    """A plant that is read and built, lives on for `days` days, is read and built again, and is written back to.

    The content is taken before the write-back: the targets number what they are sent in the order of its arrival.
    """
    stack.datong("up", "--engine", engine)
    stack.datong("sandbox", "up", "--scale", "0.05", "--seed", "7")
    _read_and_build(stack)
    if days:
        stack.datong("sandbox", "advance", "--days", str(days), "--seed", "8")
        _read_and_build(stack)
    content = stack.content()
    stack.datong("publish")
    stack.datong("write-back")
    stack.datong("down")
    return content


@pytest.mark.spark
@pytest.mark.timeout(5000)
@pytest.mark.parametrize(
    "days",
    [
        pytest.param(0, id="built_once"),
        # Spark plans for a quarter of an hour at each build on two cores
        pytest.param(3, id="built_again_after_three_days", marks=pytest.mark.nightly),
    ],
)
def test_both_engines_build_the_same_tables(
    installation: Callable[[str], Any], differences: Callable[..., Any], days: int
) -> None:
    on_sail = _build(installation("sail"), "sail", days)
    on_spark = _build(installation("spark"), "spark", days)

    assert len(on_sail) > 30
    assert sum(len(rows) for _, rows in on_sail.values()) > 1000
    assert differences(on_sail, on_spark) == {}
