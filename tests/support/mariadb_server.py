"""A real MariaDB in a temporary folder, with a row binlog that bears the columns' names."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from datong_infra.services import processes


class NoMariaDbError(Exception):
    """MariaDB is not installed."""


@dataclass(frozen=True)
class MariaDb:
    """A running MariaDB. Its user may do everything, reading the binary log included."""

    host: str
    port: int
    user: str
    password: str

    def url(self, database: str) -> str:
        """The address of one of its databases, with log-in."""
        return f"mysql://{self.user}:{self.password}@{self.host}:{self.port}/{database}"


@contextmanager
def mariadb_server() -> Generator[MariaDb]:
    """A server for the length of a block. NoMariaDbError when its programs are missing."""
    if not shutil.which("mariadbd") or not shutil.which("mariadb-install-db"):
        raise NoMariaDbError("MariaDB is not installed: run .ci/servers as root, or `apt-get install mariadb-server`")
    import pymysql

    home = Path(tempfile.mkdtemp(prefix="datong-mariadb-"))
    port = processes.free_port()
    user = ["--user=root"] if os.geteuid() == 0 else []
    install = [
        "mariadb-install-db",
        "--no-defaults",
        f"--datadir={home}/data",
        "--auth-root-authentication-method=normal",
    ]
    subprocess.run([*install, "--skip-test-db", *user], check=True, capture_output=True)
    argv = ["mariadbd", "--no-defaults", f"--datadir={home}/data", f"--socket={home}/s", f"--port={port}"]
    argv += ["--bind-address=127.0.0.1", f"--pid-file={home}/pid", f"--log-error={home}/log", "--skip-name-resolve"]
    argv += ["--log-bin=binlog", "--binlog-format=ROW", "--binlog-row-metadata=FULL", "--server-id=1"]
    argv += ["--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=64M", "--performance-schema=OFF", *user]
    server = subprocess.Popen(argv, cwd=home)
    found = MariaDb("127.0.0.1", port, "datong", "maria-word-5c1d")
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                connection = pymysql.connect(unix_socket=f"{home}/s", user="root", autocommit=True)
                break
            except pymysql.err.OperationalError:
                log = Path(f"{home}/log")
                said = log.read_text()[-3000:] if log.exists() else "no log yet"
                assert server.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.1)
        with connection, connection.cursor() as root:
            root.execute(f"create user {found.user}@'%' identified by '{found.password}'")
            root.execute(f"grant all on *.* to {found.user}@'%' with grant option")
        yield found
    finally:
        server.terminate()
        server.wait(60)
        shutil.rmtree(home, ignore_errors=True)
