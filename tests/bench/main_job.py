"""Benchmark of the main job: start-up, the first cycle, a cycle with nothing new, memory, rows per second.

Run it alone on a quiet machine:

    uv run python tests/bench/main_job.py --engine sail --engine spark --scale 1 --runs 3

Each run is a new installation in a temporary folder, driven by the `datong` command. Times are wall seconds as its user
sees them, the start of Python included. Memory is the peak of the summed proportional set size (PSS) of every process
of the installation: services, sandbox plant and command line. Prints a table; `--json FILE` keeps the raw results.
Nothing is asserted: machines are noisy, and a benchmark reports.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil


class Memory(threading.Thread):
    """Samples the memory of an installation: its services, and the command that is running."""

    def __init__(self, home: Path) -> None:
        super().__init__(daemon=True)
        self.home = home
        self.peak = 0
        self.by_service: dict[str, int] = {}
        self.stopped = threading.Event()

    def _roots(self) -> dict[str, int]:
        with suppress(FileNotFoundError, json.JSONDecodeError):
            state = json.loads((self.home / "services.json").read_text("utf-8"))
            return {name: service["pid"] for name, service in state["services"].items() if service.get("pid")}
        return {}

    def run(self) -> None:
        while not self.stopped.wait(0.5):
            seen: set[int] = set()
            total = 0
            for name, pid in {**self._roots(), "command": os.getpid()}.items():
                size = 0
                with suppress(psutil.Error):
                    process = psutil.Process(pid)
                    for member in [process, *process.children(recursive=True)]:
                        if member.pid == os.getpid() or member.pid in seen:
                            continue
                        seen.add(member.pid)
                        with suppress(psutil.Error):
                            size += member.memory_full_info().pss
                self.by_service[name] = max(self.by_service.get(name, 0), size)
                total += size
            self.peak = max(self.peak, total)


def datong(home: Path, *arguments: str) -> tuple[float, str]:
    """Run one `datong` command in that home: wall seconds and what it printed. Raises when it fails."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DATONG_")}
    started = time.perf_counter()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("datong")), *arguments],
        env={**environment, "DATONG_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"datong {' '.join(arguments)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return seconds, done.stdout


def protocols(cycle: dict[str, Any]) -> dict[str, float]:
    """Rows per second by system, from the first cycle's own report (a system speaks one protocol)."""
    return {
        step["step"].removeprefix("ingest "): step["rows"] / step["seconds"]
        for step in cycle["steps"]
        if step["step"].startswith("ingest ") and step["seconds"]
    }


def run_once(engine: str, scale: float) -> dict[str, Any]:
    """One installation from nothing to a second cycle."""
    home = Path(tempfile.mkdtemp(prefix="datong-bench-"))
    memory = Memory(home)
    memory.start()
    try:
        up, report = datong(home, "up", "--engine", engine, "--format", "json")
        started = {service["service"]: service["seconds"] for service in json.loads(report)}
        datong(home, "sandbox", "up", "--scale", str(scale), "--seed", "42")
        first, report = datong(home, "cycle", "--format", "json")
        first_cycle = json.loads(report)
        # what the first cycle wrote back comes round again in the second; the third finds nothing new
        written_back, _ = datong(home, "cycle", "--format", "json")
        second, _ = datong(home, "cycle", "--format", "json")
        return {
            "engine": engine,
            "up_seconds": up,
            "engine_seconds": started["engine"],
            "first_cycle_seconds": first,
            "after_write_back_seconds": written_back,
            "nothing_new_seconds": second,
            "peak_memory_bytes": memory.peak,
            "memory_by_service_bytes": dict(memory.by_service),
            "rows_per_second": protocols(first_cycle),
            "steps": {step["step"]: step["seconds"] for step in first_cycle["steps"]},
        }
    finally:
        memory.stopped.set()
        datong(home, "down")
        shutil.rmtree(home, ignore_errors=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", action="append", choices=["sail", "spark"])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = [
        run_once(engine, arguments.scale) for _ in range(arguments.runs) for engine in arguments.engine or ["sail"]
    ]
    for engine in dict.fromkeys(result["engine"] for result in results):
        mine = [result for result in results if result["engine"] == engine]
        print(f"{engine}, scale {arguments.scale:g}, {len(mine)} runs: median (lowest to highest)")
        for figure in ("up_seconds", "engine_seconds", "first_cycle_seconds", "nothing_new_seconds"):
            values = [result[figure] for result in mine if result[figure] is not None]
            if values:
                spread = f"({min(values):.1f} to {max(values):.1f})"
                print(f"  {figure:<24}{statistics.median(values):8.1f} s  {spread}")
        peak = statistics.median(result["peak_memory_bytes"] for result in mine)
        print(f"  {'peak_memory':<24}{peak / 2**30:8.2f} GiB")
        for system in mine[0]["rows_per_second"]:
            rate = statistics.median(result["rows_per_second"].get(system, 0) for result in mine)
            print(f"  rows per second, {system:<7}{rate:8.0f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
