"""A real RabbitMQ for tests: the operating system's own, started with a folder, a port and a user of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pika
import psutil
from datong_infra.services import processes

USER, PASSWORD = "datong", "rabbit-word-4f7d"
_PROGRAMS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")


def program() -> str | None:
    """Where the server is on this machine, or None."""
    return next((found for name in _PROGRAMS if (found := shutil.which(name))), None)


class RabbitMqServer:
    """A broker on loopback."""

    def __init__(self) -> None:
        found = program()
        assert found, "RabbitMQ is not installed"
        self.home = Path(tempfile.mkdtemp(prefix="datong-rabbit-"))
        self.port, distribution, epmd = (processes.free_port() for _ in range(3))
        name = f"datong{uuid.uuid4().hex[:6]}@localhost"
        config = self.home / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"default_user = {USER}\ndefault_pass = {PASSWORD}\n"
            "vm_memory_high_watermark.absolute = 400MB\ndisk_free_limit.absolute = 50MB\n",
            encoding="ascii",
        )
        (self.home / "plugins").write_text("[].\n", encoding="ascii")
        self._program = found
        self._environment = {
            **os.environ,
            "HOME": str(self.home),
            "RABBITMQ_NODENAME": name,
            "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONFIG_FILE": str(config.with_suffix("")),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it (again), and wait until it answers."""
        with (self.home / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [self._program], stdout=out, stderr=subprocess.STDOUT, env=self._environment, start_new_session=True
            )
        deadline = time.monotonic() + 90
        while True:
            try:
                self.connect().close()
                return
            except (pika.exceptions.AMQPError, OSError):
                said = (self.home / "out").read_text(errors="replace")[-3000:]
                assert self.process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.2)

    def connect(self) -> Any:
        """A connection of the publisher."""
        login = pika.PlainCredentials(USER, PASSWORD)
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, credentials=login))

    def queue(self, name: str, **arguments: Any) -> str:
        """Make a durable queue."""
        with self.connect() as connection:
            connection.channel().queue_declare(name, durable=True, arguments=arguments)
        return name

    def send(self, queue: str, bodies: Iterable[bytes], **properties: Any) -> None:
        """Publish to a queue, each message kept on disk before this returns."""
        with self.connect() as connection:
            channel = connection.channel()
            channel.tx_select()
            for body in bodies:
                channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2, **properties))
            channel.tx_commit()

    def waiting(self, queue: str) -> int:
        """How many messages a queue holds that nobody has."""
        with self.connect() as connection:
            return connection.channel().queue_declare(queue, passive=True).method.message_count

    def kill(self) -> None:
        """Kill it, as a power cut does."""
        self._end(signal.SIGKILL)

    def remove(self) -> None:
        """Stop it and remove what it holds."""
        self._end(signal.SIGTERM)
        shutil.rmtree(self.home, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        leader = psutil.Process(self.process.pid)
        # the port mapper that it started has left its session; only its environment tells whose it is
        family = [leader, *leader.children(recursive=True)]
        for process in psutil.process_iter(["name"]):
            try:
                if process.info["name"] == "epmd" and process.environ().get("HOME") == str(self.home):
                    family.append(process)
            except psutil.Error:
                continue
        for process in family:
            try:
                process.send_signal(how)
            except psutil.Error:
                continue
        psutil.wait_procs(family, 20)
        self.process.wait(20)
        self.process = None
