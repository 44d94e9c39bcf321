"""Dagster: a code server, the webserver and the daemon, with PostgreSQL as storage and DAGSTER_HOME `.datong/dagster`.

The code server holds the definitions for both others, so that they are loaded once. `dagster.yaml` carries the
storage's password and can be read by its owner only; with DAGSTER_HOME set to that folder `dg dev` shares runs and
history.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

from datong_platform.errors import ConfigurationError, ServiceError
from datong_platform.settings import PROJECT_ROOT, read_state, settings

from datong_infra.services.base import Launch, Service, data_folder
from datong_infra.services.postgres import dagster_url
from datong_infra.services.processes import Record

DEFINITIONS = "datong_assets.definitions"
LOCATION = "datong"
_ALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""How Dagster's own processes notice that the storage's machine is gone: by the system's defaults after two hours."""
_LATE_HEARTBEAT = 120


def _environment() -> dict[str, str]:
    return {"DAGSTER_HOME": str(data_folder("dagster")), "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}


def _code_port() -> int:
    return int(read_state("services.json").get("services", {}).get("dagster-code", {}).get("port") or 0)


def _code_server() -> str:
    """Where the code server is and what it serves: who saw other definitions must look again."""
    return f"{_code_port()} {code_stamp()}"


def _write_private(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _storage_url() -> str:
    """The storage's address for Dagster, which speaks to psycopg 2 only: the newer one refuses its NOTIFY.

    Its event log need not survive the last moment before a power cut, so commits do not wait for the disk.
    """
    url = dagster_url().replace("postgresql://", "postgresql+psycopg2://", 1)
    quick = "-csynchronous_commit%3Doff"
    for name, value in _ALIVE.items():
        if f"{name}=" not in url:
            url += f"{'&' if '?' in url else '?'}{name}={value}"
    if "options=" in url:
        return url.replace("options=", f"options={quick}%20", 1)
    return f"{url}&options={quick}"


def write_instance() -> None:
    """Write `dagster.yaml` for the database in force."""
    import yaml

    content = {
        "storage": {"postgres": {"postgres_url": _storage_url()}},
        "freshness": {"enabled": True},
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
        "run_coordinator": {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator"},
        "concurrency": {"runs": {"max_concurrent_runs": 2}},
        "run_monitoring": {"enabled": True, "start_timeout_seconds": 180, "poll_interval_seconds": 30},
        "retention": {"schedule": {"purge_after_days": 30}, "sensor": {"purge_after_days": 7}},
    }
    text = "# Written by `datong up`: it holds a password, and changes are lost.\n" + yaml.safe_dump(
        content, sort_keys=False
    )
    _write_private(data_folder("dagster") / "dagster.yaml", text)


def _workspace(port: int) -> Path:
    """Write `workspace.yaml`, which gives the code server's location its name in the UI; its path."""
    import yaml

    path = data_folder("dagster") / "workspace.yaml"
    server = {"host": "127.0.0.1", "port": port, "location_name": LOCATION}
    _write_private(path, yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
    return path


def code_stamp() -> str:
    """A fingerprint of the code and of the definitions: path, size and time of change of each file."""
    digest = hashlib.sha256()
    for room in ("platform", "ingestion", "assets"):
        for where, _, names in sorted(os.walk(PROJECT_ROOT / room)):
            for name in sorted(names):
                if name.endswith((".py", ".yaml")):
                    status = Path(where, name).stat()
                    digest.update(f"{where}/{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


class Code(Service):
    """The process that loads the definitions and starts the runs."""

    name = "dagster-code"
    needs = ("postgres",)
    patience = 180.0

    def wanted_port(self) -> int | None:
        return None

    def prepare(self) -> None:
        # a new home has no database yet; Dagster makes its tables when it first opens it
        data_folder("dagster")

    def launch(self, port: int) -> Launch:
        write_instance()
        return Launch(
            [
                sys.executable,
                "-m",
                "dagster",
                # unlike `api grpc` it can load the definitions anew, at the button in the UI, and shows a mistake there
                "code-server",
                "start",
                *("--module-name", DEFINITIONS),
                *("--host", "127.0.0.1", "--port", str(port)),
                *("--location-name", LOCATION, "--log-level", "warning"),
                "--use-python-environment-entry-point",
            ],
            environment=_environment(),
            cwd=PROJECT_ROOT / "assets",
            extra={"code": code_stamp()},
        )

    def fits(self, record: Record) -> bool:
        # it would go on serving the definitions, or the mistake, that it found when it was started
        return record.extra.get("code") == code_stamp()

    def check(self, record: Record | None) -> str:
        import grpc

        port = record.port if record else _code_port()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            # the standard health check of gRPC: HealthCheckRequest {service = 1}, HealthCheckResponse {status = 1}
            ask = channel.unary_unary(
                "/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes
            )
            try:
                answer: bytes = ask(b"\x0a\x0aDagsterApi", timeout=3)
            except grpc.RpcError as error:
                raise ServiceError(
                    "dagster-code", f"does not answer on port {port}.", "see `datong logs dagster-code`."
                ) from error
        if answer != b"\x08\x01":
            raise ServiceError("dagster-code", "is not serving.", "see `datong logs dagster-code`.")
        return f"serves {DEFINITIONS}"


class _OpensStorage(Service):
    """A part of Dagster that makes the storage's tables when they are missing, as the other one does at the same time.

    Dagster tries again when the other was faster with a table, and gives up when it was faster with the table's type.
    """

    def lost_a_race(self, said: str) -> bool:
        return "already exists" in said


class Webserver(_OpensStorage):
    """The Dagster UI."""

    name = "dagster-webserver"
    needs = ("dagster-code",)
    launches_early = True
    patience = 180.0

    def wanted_port(self) -> int | None:
        return settings().dagster_port

    def fits(self, record: Record) -> bool:
        return record.extra.get("code_server") == _code_server()

    def launch(self, port: int) -> Launch:
        return Launch(
            [
                *(sys.executable, "-m", "dagster_webserver"),
                *("--host", "127.0.0.1", "--port", str(port)),
                *("--workspace", str(_workspace(_code_port()))),
                *("--log-level", "warning", "--dagster-log-level", "warning"),
            ],
            environment=_environment(),
            extra={"code_server": _code_server()},
        )

    def settings(self, port: int) -> dict[str, Any]:
        return {"dagster_url": f"http://127.0.0.1:{port}"}

    def check(self, record: Record | None) -> str:
        address = settings().need("dagster_url")
        query = (
            "{ workspaceOrError { ... on Workspace { locationEntries "
            "{ name locationOrLoadError { __typename ... on PythonError "
            "{ message errorChain { error { message } } } } } } } }"
        )
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{address}/graphql",
            data=json.dumps({"query": query}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            entries = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
        for entry in entries:
            loaded = entry["locationOrLoadError"] or {}
            if loaded.get("__typename") == "RepositoryLocation":
                continue
            words = str(loaded.get("message", "still loading")).strip()
            if loaded.get("__typename") == "PythonError" and "Unreachable" not in words:
                causes = [words, *(link["error"]["message"].strip() for link in loaded.get("errorChain", []))]
                # ours names file and line; what is below it are the words of a library
                cause = next((text for text in causes if "Next step:" in text), causes[-1])
                raise ConfigurationError(
                    "Dagster's definitions",
                    f"cannot be loaded: {cause}",
                    "mend what that names, then run `datong up`; all of it: `datong logs dagster-code`.",
                )
            raise ServiceError(
                "dagster-webserver", f"has not loaded the definitions: {words}", "see `datong logs dagster-code`."
            )
        return address


class Daemon(_OpensStorage):
    """Schedules, sensors and the queue of runs."""

    name = "dagster-daemon"
    needs = ("dagster-code",)
    launches_early = True
    patience = 180.0
    listens = False
    # SIGINT lets it end its threads in order
    stop_signal = signal.SIGINT

    def wanted_port(self) -> int | None:
        return None

    def fits(self, record: Record) -> bool:
        return record.extra.get("code_server") == _code_server()

    def launch(self, port: int) -> Launch:
        return Launch(
            [
                *(sys.executable, "-m", "dagster._daemon", "run"),
                *("--workspace", str(_workspace(_code_port()))),
                *("--log-level", "warning"),
            ],
            environment=_environment(),
            extra={"code_server": _code_server()},
        )

    def check(self, record: Record | None) -> str:
        from datong_platform.silence import patient

        with patient(dagster_url(), 10, connect_timeout=3) as connection:
            row = connection.execute(
                "select count(*), extract(epoch from now() at time zone 'utc' - min(timestamp)), "
                "extract(epoch from min(timestamp)) from daemon_heartbeats "
                "where daemon_type in ('SCHEDULER', 'QUEUED_RUN_COORDINATOR')"
            ).fetchone()
        count, age, beat = row or (0, None, None)
        if not count or age is None or beat is None or (record is not None and float(beat) < record.created):
            raise ServiceError(self.name, "has not given a sign of life yet.", "see `datong logs dagster-daemon`.")
        if age > _LATE_HEARTBEAT:
            raise ServiceError(
                "dagster-daemon", f"gave its last sign of life {age:.0f} seconds ago.", "run `datong up`."
            )
        return f"last heartbeat {max(0, age):.0f} s ago"
