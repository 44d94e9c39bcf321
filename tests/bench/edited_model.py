"""Benchmark of the analytics engineer's day: one edited model of 200, and all 200.

    uv run python tests/bench/edited_model.py --runs 5

200 models over tables of PostgreSQL that were ingested before: a tenth are staging views, half are silver tables that
group, the rest gold tables that join two of them. The cases:

- all models: built anew, in a process that is warm
- edited, shown: a gold model is written and its new rows are read; the process is warm, as in `datong build --watch`
- edited, command: the same by a command from nothing, Python's start included

Contenders: Datong (with Dagster's run, the build's record, and the pinned version for readers), and dbt-duckdb on a
local file (`dbtRunner`, or `dbt run`). CPU seconds include the services. Content: the rows of all gold tables.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frame import Benchmark, Session, checksum
from installation import environment, make
from small_tables import COLUMNS, Source, definitions, names_of, sources_yml, together, write
from workers import Worker, serve

BENCH = Benchmark(
    key="p5",
    title="One edited dbt model of 200, and all 200",
    goal="no slower than dbt-duckdb; an edited model shown in 2 s",
    quick={"models": 20},
    needs="peers: dlt[duckdb,sql_database], dbt-duckdb",
    turns_differ=True,
)
ROWS = 1_000
EDITED = "g01"
DATONG, PEER = "datong", "dbt-duckdb"
NUMBERS = {"rows_seen": "bigint", "quantity": "decimal(38,3)", "amount": "decimal(38,2)"}


def shares(models: int) -> tuple[list[str], list[str], list[str]]:
    """The names of source tables, of silver and of gold models: together with the staging views they are `models`."""
    staged, grouped = max(models // 10, 2), max(models // 2, 2)
    gold = max(models - staged - grouped, 1)
    return (
        names_of(staged),
        [f"s{number:02}" for number in range(1, grouped + 1)],
        [f"g{number:02}" for number in range(1, gold + 1)],
    )


def silver(number: int, staging: str) -> str:
    """A silver model's SQL, the same on every engine."""
    return f"""
select
    status,
    count(*) as rows_seen,
    cast(sum(quantity) as decimal(38, 3)) as quantity,
    cast(sum(amount) as decimal(38, 2)) as amount
from {{{{ ref('{staging}') }}}}
where id % {number % 7 + 2} <> 0
group by status
"""


def gold(first: str, second: str, edit: int = 0) -> str:
    """A gold model's SQL; `edit` is what an edit changes in it."""
    return f"""
select
    one.status,
    one.rows_seen + other.rows_seen + {edit} as rows_seen,
    cast(one.quantity + other.quantity as decimal(38, 3)) as quantity,
    cast(one.amount + other.amount as decimal(38, 2)) as amount
from {{{{ ref('{first}') }}}} as one
inner join {{{{ ref('{second}') }}}} as other on one.status = other.status
"""


def above_staging(models: int, prefix: str) -> dict[str, str]:
    """The silver and gold models by file; `prefix` is how the staging views' names begin."""
    tables, grouped, joined = shares(models)
    found = {
        f"models/silver/{name}.sql": silver(number, prefix + tables[number % len(tables)])
        for number, name in enumerate(grouped)
    }
    for number, name in enumerate(joined):
        pair = grouped[number % len(grouped)], grouped[(number * 3 + 1) % len(grouped)]
        found[f"models/gold/{name}.sql"] = gold(*pair)
    return found


def edited(models: int, edit: int) -> str:
    """The file of the model that is edited."""
    _, grouped, _ = shares(models)
    return gold(grouped[0], grouped[1 % len(grouped)], edit)


def project(models: int) -> dict[str, str]:
    """Datong's models."""
    tables, _, _ = shares(models)
    found = {"models/staging/bench/_bench__sources.yml": sources_yml(tables), **above_staging(models, "stg_bench__")}
    casts = ",\n".join(f"    try_cast(source.{name} as {kind}) as {name}" for name, kind in COLUMNS.items())
    for name in tables:
        found[f"models/staging/bench/stg_bench__{name}.sql"] = (
            f"select\n{casts}\nfrom {{{{ bronze('bench', '{name}') }}}} as source\n"
        )
    return found


def peer_project(models: int) -> dict[str, str]:
    """The peer's models."""
    tables, _, _ = shares(models)
    listed = "".join(f"      - name: {name}\n" for name in tables)
    found = {
        "dbt_project.yml": "name: peer\nversion: '1.0'\nprofile: peer\nmodels: {peer: {staging: {+materialized: view}, "
        "silver: {+materialized: table}, gold: {+materialized: table, +schema: gold}}}\n",
        "models/staging/sources.yml": f"sources:\n  - name: raw\n    schema: raw\n    tables:\n{listed}",
        **above_staging(models, "stg_"),
    }
    kinds = {"string": "varchar", "timestamp": "timestamptz"}
    casts = ",\n".join(f"    cast({name} as {kinds.get(kind, kind)}) as {name}" for name, kind in COLUMNS.items())
    for name in tables:
        found[f"models/staging/stg_{name}.sql"] = f"select\n{casts}\nfrom {{{{ source('raw', '{name}') }}}}\n"
    return found


def _serve() -> None:
    from datong_assets import runs
    from datong_platform import engine

    def demand(step: Any) -> None:
        if not step.ok:
            raise step.errors[0]

    def rows(name: str) -> list[list[Any]]:
        table = engine.query(f"select * from gold_candidate.{name}")
        return [[str(value) for value in row.values()] for row in table.to_pylist()]

    def one(name: str) -> list[list[Any]]:
        demand(runs.build(name))
        return rows(name)

    serve(
        {
            "load": lambda: demand(runs.ingest("bench")),
            "all": lambda: demand(runs.build(everything=True)),
            "one": one,
            "rows": rows,
        }
    )


@contextmanager
def _contenders(bench: Session, folder: Path, url: str) -> Iterator[dict[str, tuple[Worker, Path, list[str]]]]:
    """For each contender its warm process, its project, and its command without the model's name."""
    models = bench.asked.models
    tables, _, _ = shares(models)
    found: dict[str, tuple[Worker, Path, list[str]]] = {}
    try:
        if bench.takes(DATONG):
            make(folder / "datong", definitions=definitions(tables), project=project(models), systems=["bench"])
            worker = Worker(
                [sys.executable, __file__, "--serve"],
                folder / "datong.log",
                {**environment(folder / "datong"), "BENCH_URL": url},
            )
            command = [sys.executable, "-m", "datong_infra.cli", "build"]
            found[DATONG] = worker, folder / "datong" / "dbt_project", command
        python = bench.peers_python("dlt", "dbt-duckdb", "connectorx") if bench.takes(PEER) else None
        if bench.takes(PEER) and python is None:
            bench.leave_out(PEER, "the Python of the peers has no dlt or no dbt-duckdb")
        if python:
            bench.peer(PEER, bench.peers_version("dbt-duckdb"), threads=4)
            write(folder / "peer", peer_project(models))
            worker = Worker(
                [python, str(Path(__file__).with_name("peers") / "duckdb_stack.py"), str(folder / "peer")],
                folder / "peer.log",
                {"PYTHONPATH": str(Path(__file__).parent), "BENCH_URL": url, "BENCH_TABLES": " ".join(tables)},
            )
            at = ["--project-dir", str(folder / "peer"), "--profiles-dir", str(folder / "peer"), "--quiet"]
            found[PEER] = worker, folder / "peer", [python, "-m", "dbt.cli.main", "run", *at, "--select"]
        yield found
    finally:
        for worker, _, _ in found.values():
            worker.close()


def main() -> None:
    """Run and print."""
    if sys.argv[1:] == ["--serve"]:
        _serve()
        return
    options = BENCH.options(__doc__)
    options.add_argument("--models", type=int, default=200)
    with BENCH.session(options) as bench, bench.services("store", "engine", "postgres") as now:
        from datong_infra.services.dagster import write_instance

        url, models = now.need("postgres_url"), bench.asked.models
        tables, _, joined = shares(models)
        write_instance()
        Source(url, tables, ROWS, 0).close()
        with bench.folder() as folder, _contenders(bench, folder, url) as contenders:
            for worker, _, _ in contenders.values():
                worker.ask("load")
                worker.ask("all")
            for turn in bench.turns():
                for who, (worker, place, command) in contenders.items():
                    services = None if who == DATONG else ()
                    with bench.measured(who, "all models", services=services, pid=worker.pid) as run:
                        worker.ask("all")
                    run.amount, run.unit = models, "models"
                    run.checksum = together([_checksum(worker.ask("rows", name=name)) for name in joined])
                    _edit(place, models, turn + 1_000)
                    with bench.measured(who, "edited, shown", services=services, pid=worker.pid) as run:
                        rows = worker.ask("one", name=EDITED)
                    run.checksum = _checksum(rows)
                    _edit(place, models, turn + 2_000)
                    own = environment(folder / "datong") if who == DATONG else {}
                    bench.command(
                        who,
                        [*command, EDITED],
                        "edited, command",
                        services=services,
                        environment={**own, "BENCH_URL": url},
                    )
                    bench.runs[-1].checksum = _checksum(worker.ask("rows", name=EDITED))
                    _edit(place, models, 0)


def _edit(place: Path, models: int, edit: int) -> None:
    (place / f"models/gold/{EDITED}.sql").write_text(edited(models, edit), encoding="utf-8")


def _checksum(rows: list[list[str]]) -> str:
    import pyarrow as pa

    names = ["status", *NUMBERS]
    return checksum(pa.table({name: [row[index] for row in rows] for index, name in enumerate(names)}))


if __name__ == "__main__":
    main()
