"""The peers dlt and dbt-duckdb as one warm process: dlt's sql_database into a DuckDB file, and dbt-duckdb on that file.

Run by `small_tables.py` and `edited_model.py`; their Python has `dlt[duckdb,sql_database]` and `dbt-duckdb`; as their
documents have it: backend pyarrow, a cursor column, appended to what was loaded before; dbt by its `dbtRunner`, with
partial parsing and four threads.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import dlt  # pyright: ignore[reportMissingImports]
import duckdb
from dbt.cli.main import dbtRunner
from dlt.sources.sql_database import sql_database  # pyright: ignore[reportMissingImports]
from workers import serve

PROFILE = """
peer:
  target: local
  outputs:
    local: {{type: duckdb, path: "{path}", threads: 4}}
"""


def main() -> None:
    """Serve: load what is new, build, show."""
    folder = Path(sys.argv[1])
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID"] = "true"
    file = folder / "peer.duckdb"
    (folder / "profiles.yml").write_text(PROFILE.format(path=file), encoding="utf-8")
    pipeline = dlt.pipeline(
        "peer",
        destination=dlt.destinations.duckdb(str(file)),
        dataset_name="raw",
        pipelines_dir=str(folder / "pipelines"),
    )

    def load() -> float:
        began = time.perf_counter()
        source = sql_database(
            os.environ["BENCH_URL"].replace("postgresql://", "postgresql+psycopg2://"),
            schema="bench",
            table_names=os.environ["BENCH_TABLES"].split(),
            backend="pyarrow",
        )
        for resource in source.resources.values():
            resource.apply_hints(incremental=dlt.sources.incremental("changed_at"), write_disposition="append")
        pipeline.run(source).raise_on_failed_jobs()
        return time.perf_counter() - began

    def build(*select: str) -> float:
        began = time.perf_counter()
        options = ["--project-dir", str(folder), "--profiles-dir", str(folder), "--quiet"]
        done = dbtRunner().invoke(["build", *options, "--no-send-anonymous-usage-stats", *select])
        if not done.success:
            results = getattr(done.result, "results", [])
            said = [result.message for result in results if result.status in {"error", "fail"}]
            raise RuntimeError(str(done.exception or said[:3]))
        # the file is opened by others between the turns
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # pyright: ignore[reportMissingImports]

        DuckDBConnectionManager.close_all_connections()
        return time.perf_counter() - began

    def rows(name: str) -> list[list[str]]:
        with duckdb.connect(str(file), read_only=True) as connection:
            return [[str(value) for value in row] for row in connection.table(f"main_gold.{name}").fetchall()]

    def one(name: str) -> list[list[str]]:
        build("--select", name)
        return rows(name)

    serve(
        {
            "cycle": lambda: {"ingest": load(), "build": build()},
            "load": load,
            "all": build,
            "one": one,
            "rows": rows,
        }
    )


if __name__ == "__main__":
    main()
