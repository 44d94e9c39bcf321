"""What the benchmarks of size and of long life make of their figures, and what Spark's functions become in DuckDB."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pytest
import sqlglot
from datong_platform.standard.normalise import blank_to_null

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark of size."""
    monkeypatch.syspath_prepend(str(BENCH))
    import scale  # pyright: ignore[reportMissingImports]

    yield scale
    for name in ("scale", "long_lived", "frame", "peers", "peers.duckdb_plant"):
        sys.modules.pop(name, None)


def asked(expression: str) -> Any:
    """What an expression of Spark's gives in DuckDB."""
    from peers import duckdb_plant  # pyright: ignore[reportMissingImports]

    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(duckdb_plant.MACROS)
    tree = sqlglot.parse_one(duckdb_plant.readable(f"select {expression} as found"), read="spark")
    return connection.execute(duckdb_plant.as_duckdb(tree)).fetchall()[0][0]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("regexp_replace('a1', '(a)', '$1b')", "ab1"),
        ("trim(' x　')", "x　"),
        (blank_to_null("'\u00a0x y　\t'"), "x y"),
        ("concat('a', cast(null as string))", None),
        ("concat_ws('/', 'a', cast(null as string), 'b')", "a/b"),
        ("pmod(-1, 7)", 6),
        ("cast(cast(cast(129.605 as decimal(18, 3)) / 2 as decimal(18, 3)) as string)", "64.803"),
        ("dayofweek(date '2026-11-22')", 1),
        ("trunc(date '2026-11-22', 'MM')", date(2026, 11, 1)),
        ("exists(array(1, 2), x -> x > 1)", True),
        ("exists(array(1, 2), x -> x > 2)", False),
        (
            "to_utc_timestamp(cast(date '2026-11-22' as timestamp), 'Asia/Shanghai')",
            datetime(2026, 11, 21, 16, tzinfo=UTC),
        ),
        ("cast(from_utc_timestamp(timestamp '2026-11-22 16:30:00', 'Asia/Shanghai') as date)", date(2026, 11, 23)),
        ("explode(sequence(date '2026-11-22', date '2026-11-23', interval 1 day))", date(2026, 11, 22)),
        ("explode(sequence(trunc(date '2026-11-22', 'MM'), date '2026-11-23', interval 1 month))", date(2026, 11, 1)),
    ],
)
@pytest.mark.usefixtures("bench")
def test_duckdb_is_asked_for_what_spark_would_give(expression: str, found: Any) -> None:
    assert asked(expression) == found


def test_growth_tells_the_exponent_between_two_sizes(bench: ModuleType) -> None:
    def run(size: float, cpu: float, *, is_warm_up: bool = False) -> Any:
        return bench.Run(
            who="datong", case=f"scale {size:g}: build", turn=1, is_warm_up=is_warm_up,
            seconds=1, cpu_seconds=cpu, peak_memory_bytes=2**30,
        )  # fmt: skip

    lines = bench.growth([run(1, 99, is_warm_up=True), run(1, 10), run(10, 100), run(100, 10_000)])
    assert len(lines) == 1
    assert "1: 10.0 CPU s 1.00 GiB" in lines[0]
    assert lines[0].endswith("exponents 1.00 2.00")


@pytest.mark.usefixtures("bench")
def test_a_connection_that_is_never_given_back_is_a_leak_and_a_busy_moment_is_none() -> None:
    import long_lived  # pyright: ignore[reportMissingImports]

    quiet = dict.fromkeys(long_lived.HELD, 5.0)
    busy = quiet | {"threads": 9.0}
    assert long_lived.leaks([quiet, busy, quiet, busy, quiet, busy]) == []
    leaking = [quiet | {"connections": 5.0 + number} for number in range(6)]
    assert long_lived.leaks(leaking) == ["connections: 6 at most in the first third, 9 at least in the last"]
