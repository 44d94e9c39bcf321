"""Benchmark R10: many cycles of one installation: does anything grow that should not?

    uv run datong bench r10
    uv run python tests/bench/long_lived.py --cycles 1000 --every 5

One process runs cycle after cycle on one plant, as a service does that is never started again. The plant lives on by a
day every `--every` cycles; the others find nothing new. After each cycle is counted: memory of that process and of each
service, open files, threads and children; connections to PostgreSQL, advisory locks, replication slots and Dagster's
slots that are taken; objects in the bucket by kind, and the largest number of live files and of log files of a table;
rows and bytes that PostgreSQL holds. The cases are tenths of the run, so that the last can be set beside the first:
seconds and CPU seconds of a cycle that found nothing, and of one that had news.

Beside the table: each count in the first, the middle and the last third of the cycles. What follows the data may grow.
Connections, locks, slots, threads, children and open files may not: where the last third never comes down to the
highest of the first, the benchmark ends with exit status 1 and says which.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import psutil
from frame import Benchmark, Session, service_pids

BENCH = Benchmark(
    key="r10",
    title="One installation, cycle after cycle",
    goal="memory within 5 %, file counts bounded, no leaked slot or connection, the last tenth as fast as the first",
    quick={"cycles": 6, "scale": 0.05, "every": 3},
)

HELD = ("connections", "advisory locks", "replication slots", "Dagster slots", "open files", "threads", "children")
"""Counts that have no reason to grow, whatever the data does."""


def memory() -> dict[str, float]:
    """MiB of this process and each service, all they started included."""
    found: dict[str, float] = {}
    for name, pid in {"cycles": os.getpid(), **service_pids()}.items():
        process = psutil.Process(pid)
        served = set(service_pids().values()) if name == "cycles" else set[int]()
        members = [process, *(child for child in process.children(recursive=True) if not _within(child, served))]
        found[f"memory {name}, MiB"] = round(sum(_pss(member) for member in members) / 2**20)
    return found


def _within(process: psutil.Process, roots: set[int]) -> bool:
    """Whether a process is one of these, or was started by one of them."""
    return process.pid in roots or any(parent.pid in roots for parent in process.parents())


def _pss(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except psutil.Error:
        return 0


def counts() -> dict[str, float]:
    """Everything that is counted after a cycle, but memory."""
    own = psutil.Process()
    return {"open files": own.num_fds(), "threads": own.num_threads(), **in_database(), **in_bucket(), **slots()}


def in_database() -> dict[str, float]:
    """What PostgreSQL has open and holds."""
    import psycopg
    from datong_platform.settings import settings

    with psycopg.connect(settings().need("postgres_url")) as connection:
        asked = {
            "connections": "select count(*) from pg_stat_activity where backend_type = 'client backend'"
            " and pid <> pg_backend_pid()",
            "advisory locks": "select count(*) from pg_locks where locktype = 'advisory'",
            "replication slots": "select count(*) from pg_replication_slots",
            "PostgreSQL MiB": "select sum(pg_database_size(datname)) / 1048576 from pg_database",
        }
        return {name: float(connection.execute(sql.encode()).fetchone()[0]) for name, sql in asked.items()}  # pyright: ignore[reportOptionalSubscript]


def in_bucket() -> dict[str, float]:
    """Objects by the folder that they lie in, and of the table that has most: files of data, files of its log."""
    from datong_platform.lake import storage

    kinds: Counter[str] = Counter()
    data: Counter[str] = Counter()
    logs: Counter[str] = Counter()
    for key in storage.keys(""):
        folders = key.split("/")
        kinds[f"objects {folders[0]}"] += 1
        if len(folders) > 2:
            (logs if folders[2] == "_delta_log" else data)["/".join(folders[:2])] += 1
    most = {"files of the largest table": max(data.values()), "log files of the largest table": max(logs.values())}
    return {**kinds, **most}


def slots() -> dict[str, float]:
    """Slots of Dagster's pools that are taken while nothing runs."""
    from datong_assets import instance

    log = instance.instance().event_log_storage
    taken = [log.get_concurrency_info(key) for key in log.get_concurrency_keys()]
    return {"Dagster slots": sum(one.active_slot_count + one.pending_step_count for one in taken)}


def live(bench: Session, cycles: int, every: int) -> list[dict[str, float]]:
    """Cycle after cycle; what was counted after each."""
    from datong_assets import runs
    from datong_infra.sandbox import client

    # the second brings home what the first wrote back
    for _ in range(2):
        runs.cycle()
    told: list[dict[str, float]] = []
    for number in range(1, cycles + 1):
        if news := number % every == 0:
            client.advance(1)
        tenth = (number - 1) * 10 // cycles + 1
        with bench.measured("datong", f"{'a day of news' if news else 'nothing new'}, tenth {tenth}") as run:
            done = runs.cycle()
        if not done.ok:
            raise SystemExit(f"cycle {number} failed: {[str(error) for step in done.steps for error in step.errors]}")
        run.amount, run.unit = 1, "cycles"
        told.append({**memory(), **counts(), "children": len(psutil.Process().children(recursive=True))})
    return told


def growth(told: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """Each count in the first, the middle and the last third of the cycles: the least and the greatest."""
    third = max(len(told) // 3, 1)
    parts = {"first third": told[:third], "middle": told[third:-third], "last third": told[-third:]}
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(name for one in told for name in one):
        row: dict[str, Any] = {"what": name}
        for part, cycles in parts.items():
            values = [one.get(name, 0) for one in cycles]
            row[part] = f"{min(values):g} to {max(values):g}" if values else ""
        rows.append(row)
    return rows


def leaks(told: Sequence[Mapping[str, float]]) -> list[str]:
    """What is held and grew: never in the last third as low as it was at its highest in the first."""
    third = max(len(told) // 3, 1)
    found: list[str] = []
    for name in HELD:
        before, after = max(one[name] for one in told[:third]), min(one[name] for one in told[-third:])
        if after > before:
            found.append(f"{name}: {before:g} at most in the first third, {after:g} at least in the last")
    return found


def main() -> None:
    """Run, print, keep."""
    options = BENCH.options(__doc__)
    options.add_argument("--cycles", type=int, default=100)
    options.add_argument("--every", type=int, default=5, help="cycles for each day that the plant lives on")
    options.add_argument("--scale", type=float, default=0.1, help="size of the plant; 1 is 100,000 rows")
    options.set_defaults(runs=1, warm_ups=0)
    grown: list[str] = []
    with BENCH.session(options) as bench:
        from datong_infra.services import dagster, stack

        for _ in bench.turns():
            with bench.services("store", "engine", "postgres"):
                dagster.write_instance()
                stack.up(["sandbox"], scale=bench.asked.scale, seed=42)
                told = live(bench, bench.asked.cycles, bench.asked.every)
            for row in growth(told):
                bench.say("   ".join(f"{text:24}" for text in row.values()))
            grown += leaks(told)
    if grown:
        raise SystemExit(f"r10: held and never given back: {'; '.join(grown)}")


if __name__ == "__main__":
    main()
