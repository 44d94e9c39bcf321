"""The main job: start-up, the first cycle, a cycle with nothing new, memory, rows per second.

Run it alone on a quiet machine:

    uv run python tests/bench/main_job.py --engine sail --engine spark --scale 1 --runs 3

Each run is a new installation in a temporary folder, driven by the `datong` command. Times are wall seconds as its user
sees them, the start of Python included; CPU seconds and memory are of the command, of all services and of the plant.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from frame import Benchmark, CommandRun, Session

BENCH = Benchmark(
    key="main-job",
    title="A new installation: up, the first cycle, a cycle with nothing new",
    quick={"scale": 0.05},
)


def protocols(cycle: dict[str, Any]) -> dict[str, float]:
    """Rows per second by system, from the first cycle's own report (a system speaks one protocol)."""
    return {
        step["step"].removeprefix("ingest "): step["rows"] / step["seconds"]
        for step in cycle["steps"]
        if step["step"].startswith("ingest ") and step["seconds"]
    }


def main() -> None:
    options = BENCH.options(__doc__)
    options.add_argument("--engine", action="append", choices=["sail", "spark"])
    options.add_argument("--scale", type=float, default=1.0)
    options.set_defaults(runs=3, warm_ups=0)
    with BENCH.session(options) as bench:
        for _ in bench.turns():
            for engine in bench.asked.engine or ["sail"]:
                with bench.own_home():
                    installation(bench, "datong" if engine == "sail" else f"datong on {engine}", engine)


def installation(bench: Session, who: str, engine: str) -> None:
    """From nothing to a cycle that finds nothing new."""
    # the settings that lead elsewhere are gone from the environment: own_home() took them out
    program = str(Path(sys.executable).with_name("datong"))

    def run(case: str, *words: str) -> CommandRun:
        found = bench.command(who, [program, *words], case, services=None)
        assert found
        return found

    up = run("up", "up", "--engine", engine, "--format", "json")
    started = {service["service"]: service["seconds"] for service in json.loads(up.out)}
    up.figures["engine_seconds"] = started["engine"]
    run("sandbox up", "sandbox", "up", "--scale", str(bench.asked.scale), "--seed", "42")
    first = run("first cycle", "cycle", "--format", "json")
    told = json.loads(first.out)
    first.details |= {f"{system}_rows_per_second": pace for system, pace in protocols(told).items()}
    first.details |= {f"{step['step']}_seconds": step["seconds"] for step in told["steps"]}
    # what the first cycle wrote back comes round again in the second; the third finds nothing new
    run("after write-back", "cycle", "--format", "json")
    run("nothing new", "cycle", "--format", "json")


if __name__ == "__main__":
    main()
