"""Benchmark of many small changes: 50 tables of PostgreSQL, 200 changes in each, into bronze and merged into silver.

    uv run python tests/bench/small_tables.py --runs 5
    uv run python tests/bench/small_tables.py --only datong --runs 200 --rows 2000        # a long life: is it flat?

Every contender is a process that stays warm and is told "cycle" turn by turn, after the same changes (three of four are
updates, the others new rows). Seconds are of the whole cycle: read what changed, append it to a change log, have dbt
merge it into 50 incremental models, and run 50 tests on their keys. CPU seconds are those of the contender and of the
services that it uses (Datong: store, engine and PostgreSQL, which is the source as well; the others: PostgreSQL).

- datong: `runs.ingest` and `runs.build`, as `datong ingest` and `datong build` do, with Dagster's runs, checks, the
  sync log and the conservation counts
- dlt, dbt-duckdb: dlt's sql_database (backend pyarrow, incremental) into a DuckDB file, and dbt-duckdb on it
- local spark: Spark as it comes with Delta on the same store; what changed lies before it as JSON lines, without a dbt
- nothing new: Datong's cycle when no row changed

The Python of the peers has `dlt[duckdb,sql_database]` and `dbt-duckdb`. Content: the rows of all silver tables. After a
long life the table says how the last cycles compare with the first.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from datong_platform.settings import settings
from frame import Benchmark, Session, checksum
from installation import environment, make
from workers import Worker, serve

BENCH = Benchmark(
    key="p3",
    title="50 small tables, 200 changes each, into bronze and merged into silver by dbt",
    goal="no slower than dlt and dbt-duckdb on a local file; after 1,000 cycles as fast as at first",
    quick={"tables": 5, "rows": 500},
    needs="peers: dlt[duckdb,sql_database], dbt-duckdb",
    turns_differ=True,
)

COLUMNS = {
    "id": "bigint",
    "code": "string",
    "title": "string",
    "status": "string",
    "quantity": "decimal(15,3)",
    "amount": "decimal(15,2)",
    "ordered_on": "date",
    "changed_at": "timestamp",
}
TABLE = """
create table {name} (
    id bigint primary key, code text not null, title text not null, status text not null,
    quantity numeric(15, 3) not null, amount numeric(15, 2) not null,
    ordered_on date not null, changed_at timestamptz not null
);
insert into {name}
select g, 'C-' || lpad(g::text, 8, '0'), 'part ' || g % 997, (array['open', 'released', 'done'])[g % 3 + 1],
    g % 500 + 0.125, g % 9973 + 0.25, date '2026-01-01' + g % 300, timestamptz '2026-01-01' + g * interval '1 second'
from generate_series(1, {rows}) g;
create index on {name} (changed_at);
"""
CHANGES = """
update {name} set status = 'changed {turn}', quantity = quantity + 1, changed_at = clock_timestamp()
where id in (select (h * 7919 + {turn} % 1000 * 104729) % {rows} + 1 from generate_series(1, {updates}) h);
insert into {name}
select {rows} + {first} + g, 'N-' || g, 'new of {turn}', 'open', g + 0.5, g + 0.75, date '2026-11-01', clock_timestamp()
from generate_series(1, {inserts}) g;
"""
PAGES = "copy (select row_to_json(t) from {name} t where changed_at > '{since}') to stdout"
LOCAL_SPARK = "local spark"
SPARK = "peers/spark"
"""Where Spark's tables lie in the bucket."""
INCREMENTAL_YML = "  - name: {name}\n    data_tests: [{{key: {{arguments: {{columns: [{key}]}}}}}}]\n"


def names_of(tables: int) -> list[str]:
    """The names of the tables."""
    return [f"t{number:02}" for number in range(1, tables + 1)]


# --- Datong's installation


def definitions(tables: list[str]) -> dict[str, str]:
    """The source system."""
    entities = "\n".join(
        f"    - {{name: {name}, source: {name}, mode: cursor, cursor: changed_at, overlap_seconds: 0}}"
        for name in tables
    )
    return {
        "bench": f"""type: datong_assets.components.SourceSystem
attributes:
  system: bench
  title: Bench
  title_zh: 基准
  protocol: sql
  connection: {{url: "${{BENCH_URL}}", schema: bench, concurrency: 4}}
  entities:
{entities}
"""
    }


def sources_yml(tables: list[str]) -> str:
    """The bronze tables, as dbt's sources."""
    columns = "".join(f"          - {{name: {name}, data_type: '{kind}'}}\n" for name, kind in COLUMNS.items())
    sources = "".join(
        f"      - name: {name}\n        identifier: bench__{name}\n        columns:\n{columns}" for name in tables
    )
    return "sources:\n  - name: bench\n    schema: bronze\n    tables:\n" + sources


def project(tables: list[str]) -> dict[str, str]:
    """Its models, as Datong's guide has them: a staging view, and a silver table into which its records are merged."""
    found = {
        "models/staging/bench/_bench__sources.yml": sources_yml(tables),
        "models/silver/silver.yml": "models:\n"
        + "".join(INCREMENTAL_YML.format(name=name, key="source_system, source_key") for name in tables),
    }
    casts = "\n".join(f"    try_cast(source.{name} as {kind}) as {name}," for name, kind in COLUMNS.items())
    for name in tables:
        found[f"models/staging/bench/stg_bench__{name}.sql"] = f"""
select
    'bench' as source_system,
    {{{{ source_key(['id']) }}}} as source_key,
{casts}
    source._datong_batch_id,
    source._datong_ingested_at,
    source._datong_operation,
    try_cast(source.changed_at as timestamp) as _recorded_at
from {{{{ bronze('bench', '{name}') }}}} as source
"""
        found[f"models/silver/{name}.sql"] = f"""
{{{{ config(materialized='incremental', incremental_strategy='merge', unique_key=['source_system', 'source_key']) }}}}

{{{{ changed_records('stg_bench__{name}', {list(COLUMNS)}) }}}}
"""
    return found


def peer_project(tables: list[str]) -> dict[str, str]:
    """The same for dbt-duckdb, as its documents have it: what was loaded since the last time is merged by its key."""
    test = (Path(__file__).parents[2] / "dbt_project/macros/generic_tests/key.sql").read_text("utf-8")
    sources = "".join(f"      - name: {name}\n" for name in tables)
    found = {
        "dbt_project.yml": "name: peer\nversion: '1.0'\nprofile: peer\nmodels: {peer: {staging: {+materialized: view, "
        "+schema: staging}, silver: {+schema: silver}}}\n",
        "macros/key.sql": test,
        "models/staging/sources.yml": f"sources:\n  - name: raw\n    schema: raw\n    tables:\n{sources}",
        "models/silver/silver.yml": "models:\n"
        + "".join(INCREMENTAL_YML.format(name=name, key="id") for name in tables),
    }
    casts = "\n".join(
        f"    cast({name} as {kind.replace('string', 'varchar').replace('timestamp', 'timestamptz')}) as {name},"
        for name, kind in COLUMNS.items()
    )
    for name in tables:
        found[f"models/staging/stg_{name}.sql"] = f"""
select
{casts}
    _dlt_load_id
from {{{{ source('raw', '{name}') }}}}
"""
        found[f"models/silver/{name}.sql"] = f"""
{{{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='id') }}}}

select * from {{{{ ref('stg_{name}') }}}}
{{% if is_incremental() %}}
where _dlt_load_id > (select max(_dlt_load_id) from {{{{ this }}}})
{{% endif %}}
qualify row_number() over (partition by id order by _dlt_load_id desc, changed_at desc) = 1
"""
    return found


# --- Datong as a warm contender


def _serve() -> None:
    from datong_assets import runs
    from datong_assets.dbt import client

    def cycle() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for step in (runs.ingest("bench"), runs.build()):
            if not step.ok:
                raise step.errors[0]
            found[step.name.split()[0]] = {"rows": step.rows, "seconds": step.seconds}
        return found

    def profile(to: str) -> dict[str, Any]:
        """The cycle, and where Python spent its time in this process."""
        import cProfile

        profiler = cProfile.Profile()
        found = profiler.runcall(cycle)
        profiler.dump_stats(to)
        return found

    serve({"cycle": cycle, "profile": profile, "cool": client.cool})


# --- the benchmark


class Source:
    """The tables in PostgreSQL, and what happens to them."""

    def __init__(self, url: str, tables: list[str], rows: int, changes: int) -> None:
        self.tables, self._rows, self._changes, self._turn = tables, rows, changes, 0
        self._paged = "-infinity"
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("create schema bench; set search_path = bench")
        self._connection.execute("set timezone = 'UTC'")
        for name in tables:
            self._connection.execute(TABLE.format(name=name, rows=rows).encode())
        self._connection.execute("analyze")

    def change(self) -> None:
        """One turn's changes in every table."""
        self._turn += 1
        inserts = self._changes // 4
        for name in self.tables:
            text = CHANGES.format(
                name=name,
                turn=self._turn,
                rows=self._rows,
                updates=self._changes - inserts,
                inserts=inserts,
                first=(self._turn - 1) * inserts,
            )
            self._connection.execute(text.encode())

    def pages(self, folder: Path) -> None:
        """The rows that changed since the last call, as JSON lines: one file for each table."""
        for name in self.tables:
            with (
                (folder / f"{name}.jsonl").open("wb") as file,
                self._connection.cursor() as cursor,
                cursor.copy(PAGES.format(name=name, since=self._paged).encode()) as lines,
            ):
                # COPY doubles each backslash of JSON; these rows have none
                for line in lines:
                    file.write(line)
        found = self._connection.execute("select clock_timestamp()").fetchone()
        assert found
        self._paged = found[0].isoformat()

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def content_of_datong(tables: list[str]) -> str:
    """What silver holds."""
    from datong_platform.lake import history
    from datong_platform.names import TableName

    found: list[str] = []
    for name in tables:
        table = history.open_table(TableName("silver", name))
        assert table is not None
        found.append(checksum(table.to_pyarrow_table(columns=list(COLUMNS)), list(COLUMNS)))
    return together(found)


def content_of_duckdb(file: Path, tables: list[str]) -> str:
    """What the peer's silver holds. Its file must not be open elsewhere."""
    import duckdb

    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        found = [checksum(connection.table(f"main_silver.{name}"), list(COLUMNS)) for name in tables]
    return together(found)


def content_of_spark(tables: list[str]) -> str:
    """What the peer Spark's silver holds."""
    from datong_platform.settings import settings
    from deltalake import DeltaTable

    now, found = settings(), []
    for name in tables:
        table = DeltaTable(f"s3://{now.bucket}/{SPARK}/silver/{name}", storage_options=now.storage_options())
        found.append(checksum(table.to_pyarrow_table(columns=list(COLUMNS)), list(COLUMNS)))
    return together(found)


def together(found: list[str]) -> str:
    """The checksums of several tables as one."""
    import hashlib

    rows = sum(int(each.split()[0]) for each in found)
    return f"{rows} rows {hashlib.sha256(' '.join(found).encode()).hexdigest()[:16]}"


@contextmanager
def _workers(bench: Session, folder: Path, tables: list[str], url: str) -> Generator[dict[str, Worker]]:
    found: dict[str, Worker] = {}
    try:
        if any(bench.takes(who) for who in ("datong", "datong, nothing new")):
            make(folder / "datong", definitions=definitions(tables), project=project(tables), systems=["bench"])
            found["datong"] = Worker(
                [sys.executable, __file__, "--serve"],
                folder / "datong.log",
                {**environment(folder / "datong"), "BENCH_URL": url},
            )
        python = bench.peers_python("dlt", "dbt-duckdb", "connectorx")
        if bench.takes("dlt, dbt-duckdb"):
            if python is None:
                bench.leave_out("dlt, dbt-duckdb", "the Python of the peers has no dlt or no dbt-duckdb")
            else:
                bench.peer("dlt, dbt-duckdb", f"{bench.peers_version('dlt')}, {bench.peers_version('dbt-duckdb')}")
                write(folder / "peer", peer_project(tables))
                found["dlt, dbt-duckdb"] = Worker(
                    [python, str(Path(__file__).with_name("peers") / "duckdb_stack.py"), str(folder / "peer")],
                    folder / "peer.log",
                    {"PYTHONPATH": str(Path(__file__).parent), "BENCH_URL": url, "BENCH_TABLES": " ".join(tables)},
                )
        if bench.takes(LOCAL_SPARK):
            (folder / "pages").mkdir()
            fields = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
            bench.peer(LOCAL_SPARK, driver_memory="2g", master="local[*]")
            found[LOCAL_SPARK] = Worker(
                [sys.executable, str(Path(__file__).with_name("peers") / "spark_tables.py"), str(folder / "pages")],
                folder / "spark.log",
                {
                    "PYTHONPATH": str(Path(__file__).parent),
                    "BENCH_SCHEMA": fields,
                    "BENCH_ROOT": f"s3a://{settings().bucket}/{SPARK}",
                    "BENCH_TABLES": " ".join(tables),
                },
            )
        yield found
    finally:
        for worker in found.values():
            worker.close()


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files below a folder."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def _long_life(bench: Session) -> None:
    """How the last hundred cycles compare with the first (the last third, of fewer than three hundred).

    The medians, and the fastest quarter's bound: a machine that is slower for some minutes moves that less.
    """
    for who in dict.fromkeys(run.who for run in bench.runs):
        mine = [run for run in bench.runs if run.who == who and not run.is_warm_up]
        part = min(len(mine) // 3, 100)
        if part < 10:
            continue
        for figure in ("cpu_seconds", "seconds", "peak_memory_bytes"):
            first, last = (
                statistics.quantiles([getattr(run, figure) for run in some]) for some in (mine[:part], mine[-part:])
            )
            bench.say(
                f"{who}, {figure}: last {part} of {len(mine)} / first {part}: median {last[1] / first[1]:.2f}, "
                f"lower quartile {last[0] / first[0]:.2f}"
            )


def main() -> None:
    """Run and print."""
    if sys.argv[1:] == ["--serve"]:
        _serve()
        return
    options = BENCH.options(__doc__)
    options.add_argument("--tables", type=int, default=50)
    options.add_argument("--rows", type=int, default=20_000, help="rows of each table before the changes")
    options.add_argument("--changes", type=int, default=200, help="changes in each table, every turn")
    options.add_argument("--engine", choices=["sail", "spark"], default="sail")
    options.add_argument("--profile", type=Path, help="Python's profile of Datong's last cycle goes to this file")
    with (
        BENCH.session(options) as bench,
        bench.services("store", "engine", "postgres", engine=bench.asked.engine) as now,
    ):
        from datong_infra.services.dagster import write_instance

        asked, tables, url = bench.asked, names_of(bench.asked.tables), now.need("postgres_url")
        write_instance()
        source = Source(url, tables, asked.rows, asked.changes)
        with bench.folder() as folder, _workers(bench, folder, tables, url) as workers:
            _cycles(bench, source, workers, folder)
        source.close()
        _long_life(bench)


def _cycles(bench: Session, source: Source, workers: dict[str, Worker], folder: Path) -> None:
    asked, tables = bench.asked, source.tables
    amount = len(tables) * asked.changes
    for turn in bench.turns():
        if turn > 1 - asked.warm_ups:
            source.change()
        if (mine := workers.get("datong")) and bench.takes("datong"):
            with bench.measured("datong", pid=mine.pid, amount=amount, unit="changes") as run:
                if asked.profile and turn == asked.runs:
                    found = mine.ask("profile", to=str(asked.profile))
                else:
                    found = mine.ask("cycle")
            run.figures = {f"{step}_seconds": about["seconds"] for step, about in found.items()}
            run.checksum = content_of_datong(tables)
        if mine and bench.takes("datong, nothing new"):
            with bench.measured("datong, nothing new", "nothing new", pid=mine.pid):
                mine.ask("cycle")
        if (peer := workers.get("dlt, dbt-duckdb")) and bench.takes("dlt, dbt-duckdb"):
            with bench.measured(
                "dlt, dbt-duckdb", services=["postgres"], pid=peer.pid, amount=amount, unit="changes"
            ) as run:
                found = peer.ask("cycle")
            run.figures = {f"{step}_seconds": seconds for step, seconds in found.items()}
            run.checksum = content_of_duckdb(folder / "peer" / "peer.duckdb", tables)
        if (spark := workers.get(LOCAL_SPARK)) and bench.takes(LOCAL_SPARK):
            source.pages(folder / "pages")
            with bench.measured(LOCAL_SPARK, services=["store"], pid=spark.pid, amount=amount, unit="changes") as run:
                spark.ask("cycle")
            run.checksum = content_of_spark(tables)


if __name__ == "__main__":
    main()
