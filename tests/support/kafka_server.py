"""A real Kafka for tests and benchmarks: one broker in KRaft mode, its jars from Maven, on the Java that Spark uses.

The jars (38 MB) are fetched once by Spark's own resolver into the user's cache folder. Works alone:
`python tests/support/kafka_server.py` starts a broker and says where it is, until Ctrl-C.
"""

from __future__ import annotations

import base64
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from datong_infra.services import processes
from datong_infra.services.spark import jars, java
from datong_platform.settings import cache_folder

PACKAGES = ("org.apache.kafka:kafka_2.13:4.4.0", "org.slf4j:slf4j-simple:1.7.36")
USER, PASSWORD = "datong", "kafka-word-8e2b"


class NoKafkaError(Exception):
    """The jars cannot be had on this machine."""


def kafka_jars() -> Path:
    """The folder of Kafka's jars, fetched at first; NoKafkaError when there is no way to Maven."""
    return fetched("kafka", PACKAGES, ship=("scala-library-*.jar",))


def fetched(name: str, packages: Sequence[str], *, ship: Sequence[str] = (), without: Sequence[str] = ()) -> Path:
    """The folder of packages of Maven and what they need, less what Spark ships and `without`; of Spark's, `ship`."""
    target = cache_folder() / f"{name}-{'-'.join(one.rsplit(':', 1)[1] for one in packages)}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="making-") as making:
        work = Path(making)
        said = ""
        trusts: list[Sequence[str]] = [()]
        if jars._SYSTEM_TRUST.exists():
            trusts.append((f"-Djavax.net.ssl.trustStore={jars._SYSTEM_TRUST}",))
        elif (made := jars._make_trust_store(java.find(), work)) is not None:
            word = f"-Djavax.net.ssl.trustStorePassword={jars._PASSWORD}"
            trusts.append((f"-Djavax.net.ssl.trustStore={made}", word))
        for options in trusts:
            done = subprocess.run(
                [
                    *(str(java.find()), *options, "-cp", f"{jars.spark_jars()}/*"),
                    *("org.apache.spark.deploy.SparkSubmit", "--master", "local[1]"),
                    *("--conf", f"spark.jars.ivy={work / 'ivy'}", "--packages", ",".join(packages)),
                    *(("--exclude-packages", ",".join(without)) if without else ()),
                    *("--class", "scala.tools.nsc.Main", "spark-internal", "-version"),
                ],
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
                cwd=work,
            )
            said = done.stdout + done.stderr
            if done.returncode == 0:
                # Spark's resolver leaves out what Spark ships
                for jar in [jar for pattern in ship for jar in jars.spark_jars().glob(pattern)]:
                    shutil.copy(jar, work / "ivy" / "jars")
                with suppress(OSError):
                    (work / "ivy" / "jars").rename(target)
                return target
    raise NoKafkaError(f"the jars of {name} cannot be fetched: {said.strip()[-800:]}")


class KafkaServer:
    """A broker with three doors: one open, one that asks for user and password (SASL, PLAIN), and one for a proxy: it
    listens at `behind_port` and tells clients to come to `named_port`."""

    def __init__(self) -> None:
        classpath = f"{kafka_jars()}/*"
        self.home = Path(tempfile.mkdtemp(prefix="datong-kafka-"))
        self.port, self.sasl_port, self._control = (processes.free_port() for _ in range(3))
        self.behind_port, self.named_port = processes.free_port(), processes.free_port()
        self.address, self.sasl_address = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.sasl_port}"
        self._java = [str(java.find()), "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classpath]
        self._settings = self.home / "server.properties"
        self._settings.write_text(self._properties(), encoding="ascii")
        # sixteen bytes in base64; one that begins with a dash would be taken for an option
        cluster = base64.urlsafe_b64encode(bytes(1) + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        subprocess.run(
            [*self._java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._settings)],
            check=True,
            capture_output=True,
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it (again), and wait until it answers."""
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(self._settings)], stdout=log, stderr=subprocess.STDOUT, cwd=self.home
            )
        deadline = time.monotonic() + 90
        while True:
            try:
                self.admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
                self.admin.list_topics(timeout=2)
                return
            except KafkaException:
                said = (self.home / "log").read_text(errors="replace")[-3000:]
                assert self.process.poll() is None, said
                assert time.monotonic() < deadline, said

    def stop(self) -> None:
        """Stop it; its topics stay."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                # Dagster lends SIGTERM the action of SIGINT, which is ignored in what a shell runs in the background
                self.process.kill()
                self.process.wait()
            self.process = None

    def freeze(self) -> None:
        """It falls silent: connections stay open and nothing is answered."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It answers again."""
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """Stop it and remove what it holds."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Make a topic."""
        settings = {key.replace("_", "."): value for key, value in config.items()}
        made = self.admin.create_topics([NewTopic(name, partitions, config=settings)])
        made[name].result(30)
        return name

    def send(self, topic: str, messages: Iterable[tuple[Any, Any] | tuple[Any, Any, int]], **settings: Any) -> None:
        """Send (key, value[, partition]); what is neither bytes nor text nor None goes as JSON."""
        producer = Producer({"bootstrap.servers": self.address, "linger.ms": 5, "log_level": 0, **settings})
        for key, value, *partition in messages:
            where = {"partition": partition[0]} if partition else {}
            while True:
                try:
                    producer.produce(topic, _bytes(value), _bytes(key), **where)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        assert producer.flush(30) == 0

    def _properties(self) -> str:
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        return "\n".join(
            [
                "process.roles=broker,controller",
                "node.id=1",
                f"controller.quorum.voters=1@127.0.0.1:{self._control}",
                f"listeners=PLAINTEXT://{self.address},SASL://{self.sasl_address},BEHIND://127.0.0.1:{self.behind_port},"
                f"CONTROLLER://127.0.0.1:{self._control}",
                f"advertised.listeners=PLAINTEXT://{self.address},SASL://{self.sasl_address},"
                f"BEHIND://127.0.0.1:{self.named_port}",
                "controller.listener.names=CONTROLLER",
                "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,BEHIND:PLAINTEXT,SASL:SASL_PLAINTEXT",
                "sasl.enabled.mechanisms=PLAIN",
                f'listener.name.sasl.plain.sasl.jaas.config={login} user_{USER}="{PASSWORD}";',
                f"log.dirs={self.home}/data",
                "auto.create.topics.enable=false",
                "offsets.topic.replication.factor=1",
                "offsets.topic.num.partitions=1",
                "transaction.state.log.replication.factor=1",
                "transaction.state.log.min.isr=1",
                "transaction.state.log.num.partitions=1",
                "group.initial.rebalance.delay.ms=0",
            ]
        )


def _bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else orjson.dumps(value, default=str)


if __name__ == "__main__":
    server = KafkaServer()
    print(server.address)
    try:
        signal.pause()
    except KeyboardInterrupt:
        server.remove()
