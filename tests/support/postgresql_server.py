"""A PostgreSQL of its own for tests of its log: `wal_level = logical`, which the plant's own does without."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from datong_infra.services import processes
from datong_infra.services.postgres import program

READER, PASSWORD = "log_reader", "pg-word-2b6e"


class LoggingPostgres:
    """A server on loopback; `owner` may do everything, the reader only what reading a log needs."""

    def __init__(self, wal_level: str = "logical") -> None:
        self.home = Path(tempfile.mkdtemp(prefix="datong-pg-"))
        self.home.chmod(0o755)
        self.port = processes.free_port()
        data = self.home / "data"
        data.mkdir()
        # PostgreSQL refuses to run as root
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(data, "nobody")
            self._as = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        subprocess.run(
            [
                *(str(program("initdb")), f"--pgdata={data}", "--username=owner", "--auth=trust"),
                *("--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd="/",
            **self._as,
        )
        (data / "pg_hba.conf").write_text(
            f"host all {READER} 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n", encoding="ascii"
        )
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "wal_level": wal_level,
            "max_replication_slots": "60",
            "max_wal_senders": "4",
            "fsync": "off",
            "shared_buffers": "32MB",
        }
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(program("postgres")), "-D", str(data), *(f"--{name}={value}" for name, value in options.items())],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                **self._as,
            )
        self.address = f"127.0.0.1:{self.port}/postgres"
        self.url = f"postgresql://{READER}:{PASSWORD}@{self.address}"
        deadline = time.monotonic() + 30
        while True:
            try:
                self.owner = psycopg.connect(f"postgresql://owner@{self.address}", autocommit=True)
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self.home / "log").read_text(errors="replace")[-2000:]
                time.sleep(0.1)
        self.owner.execute(f"create role {READER} login replication password '{PASSWORD}'")
        self.owner.execute(f"grant pg_read_all_data to {READER}")
        self.owner.execute("create publication datong")

    def remove(self) -> None:
        """Stop it and remove what it holds."""
        self.owner.close()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        shutil.rmtree(self.home, ignore_errors=True)
