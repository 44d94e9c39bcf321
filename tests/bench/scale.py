"""Benchmark P6: the plant at several sizes, from its systems to gold and back: does the cost grow with the data?

    uv run datong bench p6
    uv run python tests/bench/scale.py --scale 1 10 100 --engine sail spark
    uv run python tests/bench/scale.py --scale 10 --engine cluster        # Spark with two worker processes

Each size on each engine is a new installation with a plant of its own, driven by the `datong` command as a person
would: read every system, build, publish, write back; then a cycle that brings home what was written back, a cycle that
finds nothing new, and a reconciliation with the systems. Making the plant is a case of its own, `plant`, which is the
sandbox's work and not Datong's. The memory is that of all services and the command together.

Beside the build stands DuckDB with the very SQL that dbt sent to Sail, put into its dialect by sqlglot, over the same
bronze files, copied to its disk beforehand; both leave the same content, compared by checksum. What it is given of the
rest are the code lists and the matched records (`ops.golden_*`), which no SQL makes. It makes the tables only: no
checks, no commits, no history, which Datong's figure has in it; `models_seconds` is the tables' part of that.

After the table: for each step the exponent of its CPU seconds over the rows, between two sizes. 1 is linear, below 1 is
better. A step that Datong reports as failed ends that size: what was measured before is kept, and the exit status is 1.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from datong_platform.settings import home
from frame import Benchmark, Run, Session, checksum

BENCH = Benchmark(
    key="p6",
    title="The plant at several sizes, from source to gold",
    goal="build within 1.5 x of DuckDB on the same SQL, cost no worse than linear, scale 100 in 16 GiB, equal content",
    quick={"scale": [0.2]},
)

STEPS = {
    "ingest": ("ingest",),
    "build": ("build",),
    "publish": ("publish",),
    "write back": ("write-back",),
    "cycle, brought home": ("cycle",),
    "cycle, nothing new": ("cycle",),
    "reconcile": ("reconcile",),
}
SYSTEMS = ("erp", "mes", "crm")
CONTENDERS = {"sail": "datong", "spark": "datong on Spark", "cluster": "datong on 2 workers"}
DATONG = str(Path(sys.executable).with_name("datong"))
PEER = str(Path(__file__).with_name("peers") / "duckdb_plant.py")
DUCKDB = "DuckDB, the same SQL"


def parts(run: Any) -> list[dict[str, Any]]:
    """The steps that a `datong` command tells of as JSON."""
    told = json.loads(run.out) if run.out.strip() else []
    return [one for one in (told.get("steps", []) if isinstance(told, dict) else told) if "events" in one]


def drive(bench: Session, engine: str, scale: float) -> None:
    """One size on one engine, from nothing to a reconciled lake."""
    from datong_infra.services import dagster

    who = CONTENDERS[engine]
    size = f"scale {scale:g}"
    rows = 0.0

    def take(case: str, *words: str, told: bool = True) -> Any:
        command = [DATONG, *words, *(("--format", "json") if told else ())]
        run = bench.command(who, command, f"{size}: {case}", services=None)
        assert run is not None
        run.amount, run.unit = rows or None, "rows" if rows else ""
        return run

    workers = {"DATONG_SPARK_WORKERS": "2"} if engine == "cluster" else {}
    name = "spark" if workers else engine
    with patch.dict(os.environ, workers), bench.services("store", "engine", "postgres", engine=name):
        # of Dagster only its storage is needed: what it shows and schedules stays down
        dagster.write_instance()
        take("plant", "sandbox", "up", "--scale", f"{scale:g}", "--seed", "42", told=False)
        for system in SYSTEMS:
            run = take(f"ingest {system}", "ingest", system)
            run.amount = sum(one["rows"] or 0 for one in parts(run))
            run.unit = "rows"
            rows += run.amount
        for case, words in list(STEPS.items())[1:]:
            run = take(case, *words)
            events = [event for part in parts(run) for event in part["events"]]
            if case == "build":
                run.figures["models_seconds"] = sum(one["seconds"] for one in events if one["kind"] == "model")
                run.figures["checks_seconds"] = sum(one["seconds"] for one in events if one["kind"] == "check")
                beside_the_build(bench, size, home(), rows, run)


def beside_the_build(bench: Session, size: str, place: Path, rows: float, ours: Run) -> None:
    """DuckDB over the lake that the build read, and the content of both."""
    from peers import duckdb_plant

    with bench.folder() as folder:
        task = duckdb_plant.prepared(place, folder)
        ours.lake = ours.who
        ours.checksum, ours.checksum_by_part = content(duckdb_plant.lake_tables(task))
        if not bench.takes(DUCKDB):
            return
        run = bench.command(DUCKDB, [sys.executable, PEER], f"{size}: build", task=task, amount=rows, unit="rows")
        assert run is not None
        run.lake = ours.lake
        run.checksum, run.checksum_by_part = content(duckdb_plant.made_tables(task))


def content(tables: Iterator[tuple[str, Any]]) -> tuple[str, dict[str, str]]:
    """One checksum of several tables, and that of each."""
    found = {name: checksum(rows) for name, rows in tables}
    told = "\n".join(f"{name} {one}" for name, one in sorted(found.items()))
    return f"{len(found)} tables {hashlib.sha256(told.encode()).hexdigest()[:16]}", found


def growth(runs: list[Run]) -> list[str]:
    """For each contender and step: CPU seconds and peak at each size, and the exponent between the last two."""
    found: dict[tuple[str, str], dict[float, Run]] = {}
    for run in runs:
        size, _, step = run.case.partition(": ")
        if not run.is_warm_up:
            found.setdefault((run.who, step), {})[float(size.removeprefix("scale "))] = run
    lines: list[str] = []
    for (who, step), by_size in found.items():
        sizes = sorted(by_size)
        costs = ", ".join(
            f"{size:g}: {by_size[size].cpu_seconds:.1f} CPU s {by_size[size].peak_memory_bytes / 2**30:.2f} GiB"
            for size in sizes
        )
        steps = [
            math.log(by_size[large].cpu_seconds / by_size[small].cpu_seconds) / math.log(large / small)
            for small, large in itertools.pairwise(sizes)
        ]
        lines.append(f"{who:22} {step:22} {costs}   exponents {' '.join(f'{one:.2f}' for one in steps) or '-'}")
    return lines


def main() -> None:
    """Run, print, keep."""
    options = BENCH.options(__doc__)
    options.add_argument("--scale", type=float, nargs="+", default=[1.0, 10.0], help="sizes; 1 is 100,000 rows")
    options.add_argument("--engine", nargs="+", choices=list(CONTENDERS), default=["sail"])
    # one run of scale 100 is long, and what is asked is how the cost grows
    options.set_defaults(runs=1, warm_ups=0)
    with BENCH.session(options) as bench:
        for _ in bench.turns():
            for scale in bench.asked.scale:
                for engine in bench.asked.engine:
                    try:
                        drive(bench, engine, scale)
                    except RuntimeError as error:
                        # hours may lie before it: what was measured is kept
                        bench.leave_out(f"scale {scale:g} on {engine}", str(error))
        for line in growth(bench.runs):
            bench.say(line)
    if bench.left_out:
        raise SystemExit(f"p6: not all of it could be run: {', '.join(bench.left_out)}")


if __name__ == "__main__":
    main()
