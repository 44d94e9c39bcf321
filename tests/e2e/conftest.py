"""An installation of Datong in a folder of its own, driven by the command line as its user would."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

SCHEMAS = ("silver", "gold", "serve", "quarantine")
RUN_DEPENDENT = ("_datong_ingested_at", "_datong_batch_id", "_datong_version", "quarantined_at", "published_at")
"""Columns that tell when and in which batch a row came, not what the plant holds."""
GIVEN_AT_ARRIVAL = (
    *("changed_at", "updated_at", "source_key", "work_order_id", "mes_work_order_no"),
    *("material_document", "material_document_id", "material_movement_id"),
)
"""Columns whose values a system gives to what is written to it, in the order of its arrival."""


@dataclass(frozen=True)
class Stack:
    """One installation, its services included."""

    home: Path

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a `datong` command."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DATONG_")}
        return subprocess.Popen(
            [sys.executable, "-c", "from datong_infra.cli import main; main()", *arguments],
            env={**environment, "DATONG_HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def attempt(self, *arguments: str, timeout: int = 2700) -> "subprocess.CompletedProcess[str]":
        """Run a `datong` command to its end, whatever that is."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def datong(self, *arguments: str, timeout: int = 2700) -> str:
        """Run a `datong` command that must succeed; what it printed."""
        done = self.attempt(*arguments, timeout=timeout)
        assert done.returncode == 0, f"datong {' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def process(self, service: str) -> int:
        """The process id of a service."""
        state = json.loads((self.home / "services.json").read_text("utf-8"))
        return state["services"][service]["pid"]

    def content(self, *, without: Sequence[str] = ()) -> dict[str, tuple[list[str], list[str]]]:
        """Every compared table by name: its columns with types, and its rows as sorted text."""
        left_out = {*RUN_DEPENDENT, *without}
        return {name: _content(table, left_out) for name, table in self.tables().items()}

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


def _content(table: pa.Table, left_out: set[str]) -> tuple[list[str], list[str]]:
    kept = sorted(name for name in table.column_names if name not in left_out)
    columns = [f"{name} {table.schema.field(name).type}" for name in kept]
    rows = sorted(json.dumps(row, default=str, ensure_ascii=False) for row in table.select(kept).to_pylist())
    return columns, rows


def _differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(sorted(set(one) ^ set(other)), "is in one only")
    for name in sorted(set(one) & set(other)):
        (columns, rows), (other_columns, other_rows) = one[name], other[name]
        if columns != other_columns:
            found[name] = sorted(set(columns) ^ set(other_columns))
        elif rows != other_rows:
            found[name] = sorted(set(rows) ^ set(other_rows))[:4]
    return found


@pytest.fixture
def given_at_arrival() -> Sequence[str]:
    """The columns whose values depend on the order in which the systems were written to."""
    return GIVEN_AT_ARRIVAL


@pytest.fixture
def differences() -> Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]:
    """By table, some of the columns or rows that are in one of two contents only; empty when they are the same."""
    return _differences


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Callable[[str], Stack]]:
    """Makes installations, each in a folder of its own, and stops them at the end."""
    made: list[Stack] = []

    def make(name: str) -> Stack:
        made.append(Stack(tmp_path / name))
        return made[-1]

    yield make
    for stack in made:
        stack.attempt("down")
