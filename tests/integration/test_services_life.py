"""Services outlive commands and accidents: killed ones come back alone, strangers are spared, down leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest
from datong_infra.services import processes, stack
from datong_infra.services.doctor import examine
from datong_platform import engine
from datong_platform.errors import ConfigurationError, ServiceError
from datong_platform.lake import storage
from datong_platform.names import parse
from datong_platform.settings import Settings, read_state, settings, write_state


def _datong(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "datong_infra.cli", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _left(home: Path) -> list[str]:
    """Command lines of processes that bear the mark of this home."""
    found: list[str] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(processes.MARK, "").endswith(f"@{home}"):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of the test's own, nothing of it left running."""
    path = Path(tempfile.mkdtemp(prefix="datong-life-")).resolve()
    monkeypatch.setenv("DATONG_HOME", str(path))
    yield path
    stack.down()
    assert _left(path) == []
    shutil.rmtree(path, ignore_errors=True)


def _kill(name: str) -> int:
    pid = int(read_state("services.json")["services"][name]["pid"])
    os.kill(pid, signal.SIGKILL)
    return pid


def test_each_killed_service_comes_back_alone_with_its_data_and_its_port(home: Path) -> None:
    stack.up(stack.DATA)
    storage.put("kept", b"object")
    uri = settings().engine_table_uri
    engine.query(f"create table ops.kept using delta location '{uri(parse('ops.kept'))}' as select 7 as n")
    with psycopg.connect(settings().need("postgres_url"), autocommit=True) as connection:
        connection.execute("create table ops.kept as select 7 as n")
    for name in stack.DATA:
        before = {status.name: status for status in stack.status()}
        pid = _kill(name)
        after = {status.name: status for status in stack.up(stack.DATA)}
        assert [status.name for status in after.values() if status.changed] == [name]
        assert after[name].pid != pid
        assert {status.name: status.port for status in after.values()} == {
            other: before[other].port for other in stack.DATA
        }
        assert storage.get("kept") == b"object"
        assert engine.query("select n from ops.kept").to_pylist() == [{"n": 7}]
        with psycopg.connect(settings().need("postgres_url")) as connection:
            assert connection.execute("select n from ops.kept").fetchall() == [(7,)]


def test_an_engine_that_grew_large_is_renewed_while_nobody_is_served(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    monkeypatch.setenv("DATONG_ENGINE_LIMIT_MIB", "128")
    stack.up(["store", "engine"])
    uri = settings().engine_table_uri
    engine.query(f"create table ops.kept using delta location '{uri(parse('ops.kept'))}' as select 7 as n")
    pid = int(read_state("services.json")["services"]["engine"]["pid"])
    process, log = psutil.Process(pid), home / "logs" / "engine.log"

    def grow(_: int) -> None:
        while process.memory_info().rss < 400 << 20:
            engine.query("select 1")

    with engine.in_use():
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(grow, range(4)))
        # long enough for it to have rested, were nobody amid something
        time.sleep(8)
        assert process.memory_info().rss >= 400 << 20
        assert "renewed" not in log.read_text()
    deadline = time.monotonic() + 60
    while process.memory_info().rss >= 400 << 20:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # it is starting anew: a statement waits until the engine knows the tables again, in the session's time zone
    found = engine.query("select n, current_timezone() as zone from ops.kept").to_pylist()
    assert found == [{"n": 7, "zone": "UTC"}]
    assert "renewed at 4" in log.read_text()
    assert process.is_running()
    assert {status.name: (status.pid, status.state) for status in stack.status()}["engine"] == (pid, "healthy")


def test_two_ups_at_once_start_one_set_of_services(home: Path) -> None:
    code = "from datong_infra.services import stack; print(sum(s.changed for s in stack.up(['store', 'postgres'])))"

    def up(_: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", code], env={**os.environ}, capture_output=True, text=True, timeout=120, check=True
        ).stdout.strip()

    with ThreadPoolExecutor(max_workers=2) as pool:
        assert sorted(pool.map(up, range(2))) == ["0", "2"]


def test_a_stale_process_id_is_recognised_and_a_stranger_is_not_stopped(home: Path) -> None:
    stack.up(["postgres"])
    _kill("postgres")
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            state = read_state("services.json")
            state["services"]["postgres"]["pid"] = stranger.pid
            write_state("services.json", state)
            assert next(s for s in stack.status() if s.name == "postgres").state == "stopped"
            (again,) = stack.up(["postgres"])
            assert again.changed
            assert again.pid != stranger.pid
            state = read_state("services.json")
            state["services"]["store"] = {**state["services"]["postgres"], "pid": stranger.pid, "created": 1.0}
            write_state("services.json", state)
            assert stack.down() == ["postgres"]
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_services_whose_state_was_lost_are_found_by_their_mark(home: Path) -> None:
    stack.up(["postgres"])
    (home / "services.json").unlink()
    assert len(_left(home)) > 0
    (again,) = stack.up(["postgres"])
    assert again.changed
    (home / "services.json").unlink()
    assert stack.down() == ["postgres"]


def test_a_service_that_hangs_is_started_again(home: Path) -> None:
    stack.up(["postgres"])
    pid = int(read_state("services.json")["services"]["postgres"]["pid"])
    os.kill(pid, signal.SIGSTOP)
    (again,) = stack.up(["postgres"])
    assert again.changed
    assert again.state == "healthy"
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_port_that_was_asked_for_and_is_taken_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("DATONG_POSTGRES_PORT", str(port))
        with pytest.raises(ServiceError, match=f"port {port} .* in use") as caught:
            stack.up(["postgres"])
        assert "DATONG_POSTGRES_PORT" in caught.value.next_step
    assert stack.up(["postgres"])[0].port == port


def test_a_service_that_cannot_start_shows_the_end_of_its_log(home: Path) -> None:
    stack.up(["postgres"])
    stack.down()
    (home / "postgres" / "data" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(ServiceError, match="ended while it started") as caught:
        stack.up(["postgres"])
    assert "incompatible" in caught.value.reason
    assert "datong logs postgres" in caught.value.next_step


def test_state_and_keys_can_be_read_by_their_owner_only_and_no_command_line_shows_a_key(home: Path) -> None:
    stack.up(stack.DATA)
    for name in ("services.json", "keys.json"):
        assert (home / name).stat().st_mode & 0o077 == 0
    keys = list(read_state("keys.json").values())
    lines = _left(home)
    assert lines
    assert not [line for line in lines if any(key in line for key in keys)]


def test_services_listen_on_loopback_only(home: Path) -> None:
    stack.up(stack.DATA)
    pids = {status.pid for status in stack.status() if status.pid}
    addresses = {
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.pid in pids
    }
    assert addresses
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_an_engine_named_in_the_environment_is_not_overruled(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATONG_ENGINE", "spark")
    with pytest.raises(ConfigurationError, match="DATONG_ENGINE=spark"):
        stack.up(stack.DATA, engine="sail")
    monkeypatch.setenv("DATONG_ENGINE", "duck")
    with pytest.raises(ConfigurationError, match="is not an engine"):
        stack.up(["postgres"])


def test_a_spark_connect_address_is_used_as_it_is(
    services: Settings, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the engine of the session's services plays the company's cluster
    address = services.need("engine_address")
    stack.up(stack.DATA)
    monkeypatch.setenv("DATONG_ENGINE", address)
    statuses = {status.name: status for status in stack.up(stack.DATA)}
    assert statuses["engine"].state == "external"
    assert settings().engine_address == address
    assert settings().lake_scheme == "s3a"
    assert not [line for line in _left(home) if "services.sail" in line]
    monkeypatch.delenv("DATONG_ENGINE")
    statuses = {status.name: status for status in stack.up(stack.DATA, engine="sail")}
    assert statuses["engine"].state == "healthy"
    assert settings().engine_address != address


def test_doctor_names_what_is_missing_and_the_next_step(home: Path) -> None:
    done = _datong("doctor", "--format", "json")
    assert done.returncode == 1, done.stderr
    findings = {finding["thing"]: finding for finding in json.loads(done.stdout)}
    for name in stack.DEFAULT:
        assert findings[name]["state"] == "failed"
        assert "datong up" in findings[name]["next_step"]
    assert findings["system erp"]["state"] == "failed"
    assert "ERP_" in findings["system erp"]["detail"]
    assert findings["disk"]["state"] == "ok"


def test_doctor_looks_below_the_surface(home: Path) -> None:
    stack.up(stack.DATA)
    with psycopg.connect(settings().need("postgres_url"), autocommit=True) as connection:
        connection.execute("revoke connect on database datong from bi_reader")
    findings = {finding.thing: finding for finding in examine()}
    assert findings["safe commits"].state == "ok"
    assert findings["catalog"].state == "ok"
    assert findings["BI door"].state == "failed"
    assert "permission denied for database" in findings["BI door"].detail


@pytest.mark.slow
def test_each_killed_part_of_dagster_comes_back_alone(home: Path) -> None:
    stack.up()
    for name in ("dagster-code", "dagster-webserver", "dagster-daemon"):
        _kill(name)
        after = stack.up()
        assert [status.name for status in after if status.changed] == [name]
        assert {status.state for status in after} == {"healthy"}
    assert (home / "dagster" / "dagster.yaml").stat().st_mode & 0o077 == 0
    secrets = list(read_state("keys.json").values())
    assert not [line for line in _left(home) if any(secret in line for secret in secrets)]
