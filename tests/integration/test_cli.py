"""The command line: immediate help, tables and JSON, errors without tracebacks, exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from datong_platform.settings import Settings


def _datong(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "datong_infra.cli", *arguments],
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_shows_the_numbered_workflow_and_loads_nothing_heavy() -> None:
    done = _datong("--help")
    assert done.returncode == 0
    assert "1. datong up" in done.stdout
    assert "9. datong sql" in done.stdout
    assert "..." not in done.stdout.replace("[ARGS]...", ""), "a command's sentence is cut off"
    assert "Others:" not in done.stdout, "a command stands under no heading"
    heavy = "{'pyspark', 'dagster', 'dbt', 'boto3', 'pandas', 'pyarrow', 'psycopg', 'pydantic'}"
    code = (
        "import sys, datong_infra.cli.app as a\n"
        "from typer.main import get_command\n"
        "import click\n"
        "get_command(a.app).get_help(click.Context(get_command(a.app)))\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.strip() == "[]"


def test_the_steps_of_a_group_stand_below_each_other() -> None:
    lines = [line.strip() for line in _datong("flows", "--help").stdout.splitlines()]
    assert [line[:2] for line in lines if line[:1].isdigit()] == ["1.", "2.", "3.", "4.", "5."]


def test_an_error_is_thing_reason_and_next_step_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("DATONG_HOME", str(tmp_path))
    done = _datong("sql", "select 1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "error setting engine_address" in done.stderr
    assert "next  run `datong up`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ["sql"],
        ["nonsense"],
        ["sql", "select 1", "--door", "window"],
        ["up", "--format", "x"],
        ["write-back", "--release", "K"],
    ],
)
def test_a_wrong_call_ends_with_status_2(wrong: list[str]) -> None:
    assert _datong(*wrong).returncode == 2


def test_sql_at_the_engine_prints_exact_values_as_json(services: Settings) -> None:
    statement = "select cast(1.50 as decimal(9,2)) as amount, date'2026-01-31' as day, '打通' as name, 1 as a, 2 as a"
    done = _datong("sql", statement, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"amount": "1.50", "day": "2026-01-31", "name": "打通", "a": 1, "a_2": 2}]


def test_sql_stops_at_the_limit_and_says_so(services: Settings) -> None:
    done = _datong("sql", "select id from range(50)", "--limit", "3")
    assert [line.strip() for line in done.stdout.splitlines() if line.strip().isdigit()] == ["0", "1", "2"]
    assert "Only the first 3 rows" in done.stderr


def test_sql_at_the_bi_door_is_the_readers(services: Settings) -> None:
    done = _datong("sql", "--door", "postgres", "select current_user as who", "--format", "json")
    assert json.loads(done.stdout) == [{"who": "bi_reader"}]
    refused = _datong("sql", "--door", "postgres", "create table serve.mine (n int)")
    assert refused.returncode == 1
    assert "refused by PostgreSQL" in refused.stderr


def test_a_mistake_in_a_statement_is_told_in_the_engines_words(services: Settings) -> None:
    done = _datong("sql", "select nowhere from gold.nothing")
    assert done.returncode == 1
    assert "the statement: is refused by the engine" in done.stderr
    assert "show tables in gold" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_lists_every_service_as_json(services: Settings) -> None:
    listed = {row["service"]: row for row in json.loads(_datong("status", "--format", "json").stdout)}
    assert {"store", "engine", "postgres", "dagster-webserver", "sandbox"} <= listed.keys()
    assert listed["store"]["state"] == "healthy"
    assert listed["store"]["memory"] > 10_000_000


def test_logs_of_an_unknown_service_name_the_known_ones(services: Settings) -> None:
    done = _datong("logs", "nope")
    assert done.returncode == 1
    assert "dagster-daemon" in done.stderr
    assert "database system is ready" in _datong("logs", "postgres", "--lines", "100000").stdout
