"""The same plant, built on both engines, gives the same tables: every silver, gold, serve and quarantine table."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

SCHEMAS = ("silver", "gold", "serve", "quarantine")
RUN_DEPENDENT = ("_datong_ingested_at", "quarantined_at", "published_at")
"""Columns that tell when a run happened, not what the plant holds."""


@dataclass(frozen=True)
class Stack:
    """One installation of Datong in a folder of its own, driven by the command line as its user would."""

    home: Path

    def datong(self, *arguments: str, timeout: int = 600) -> str:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DATONG_")}
        done = subprocess.run(
            [sys.executable, "-c", "from datong_infra.cli import main; main()", *arguments],
            env={**environment, "DATONG_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"datong {' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def tables(self) -> dict[str, pa.Table]:
        """Every table of the compared schemas, by name, read from storage without any engine."""
        import boto3

        now: dict[str, Any] = json.loads((self.home / "services.json").read_text("utf-8"))["settings"]
        bucket = now.get("bucket", "datong")
        s3 = boto3.client(
            "s3",
            endpoint_url=now["s3_endpoint"],
            aws_access_key_id=now["s3_access_key_id"],
            aws_secret_access_key=now["s3_secret_access_key"],
            region_name="us-east-1",
        )
        options = {
            "AWS_ENDPOINT_URL": now["s3_endpoint"],
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": now["s3_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": now["s3_secret_access_key"],
            "AWS_REGION": "us-east-1",
        }
        found: dict[str, pa.Table] = {}
        for schema in SCHEMAS:
            listing = s3.list_objects_v2(Bucket=bucket, Prefix=f"{schema}/", Delimiter="/")
            for item in listing.get("CommonPrefixes", []):
                path = item["Prefix"].rstrip("/")
                table = DeltaTable(f"s3://{bucket}/{path}", storage_options=options).to_pyarrow_table()
                found[path.replace("/", ".")] = table
        return found


def _content(table: pa.Table) -> tuple[list[str], list[str]]:
    """A table's columns with their types, and its rows as sorted text: order and file layout do not count."""
    kept = sorted(name for name in table.column_names if name not in RUN_DEPENDENT)
    columns = [f"{name} {table.schema.field(name).type}" for name in kept]
    rows = sorted(json.dumps(row, default=str, ensure_ascii=False) for row in table.select(kept).to_pylist())
    return columns, rows


def _build(home: Path, engine: str) -> dict[str, pa.Table]:
    stack = Stack(home)
    stack.datong("up", "--engine", engine)
    try:
        stack.datong("sandbox", "up", "--scale", "0.1", "--seed", "7")
        stack.datong("cycle")
        stack.datong("sandbox", "advance", "--days", "3", "--seed", "8")
        stack.datong("cycle")
        return stack.tables()
    finally:
        stack.datong("down")


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.timeout(1500)
def test_both_engines_build_the_same_tables(tmp_path: Path) -> None:
    on_sail = _build(tmp_path / "sail", "sail")
    on_spark = _build(tmp_path / "spark", "spark")

    assert sorted(on_sail) == sorted(on_spark)
    assert len(on_sail) > 30
    assert sum(table.num_rows for table in on_sail.values()) > 5000
    different: dict[str, Any] = {}
    for name, table in on_sail.items():
        sail_columns, sail_rows = _content(table)
        spark_columns, spark_rows = _content(on_spark[name])
        if sail_columns != spark_columns:
            different[name] = sorted(set(sail_columns) ^ set(spark_columns))
        elif sail_rows != spark_rows:
            different[name] = sorted(set(sail_rows) ^ set(spark_rows))[:4]
    assert different == {}
