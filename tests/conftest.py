"""Fixtures that every test shares: a home of their own, and the real services, started once a session."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from buckets import bucket_in_force
from datong_infra.services import processes, stack
from datong_infra.services.engine import version_at
from datong_infra.services.spark import jars, server
from datong_platform.settings import Settings, read_state, settings

if TYPE_CHECKING:
    from kafka_server import KafkaServer
    from mariadb_server import MariaDb
    from postgresql_server import LoggingPostgres
    from rabbitmq_server import RabbitMqServer


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """What runs at night takes longer than other tests may, and ends all the same."""
    for item in items:
        if item.get_closest_marker("nightly") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(7200))


@pytest.fixture(scope="session", autouse=True)
def datong_home() -> Iterator[Path]:
    """A temporary DATONG_HOME for the session: no test sees the state of the one who runs it, nor changes it."""
    before = {name: value for name, value in os.environ.items() if name.startswith("DATONG_")}
    for name in before:
        del os.environ[name]
    # not pytest's own tmp_path: PostgreSQL's and the engine's paths would be long, and it keeps old ones
    path = Path(tempfile.mkdtemp(prefix="datong-test-"))
    os.environ["DATONG_HOME"] = str(path)
    yield path
    os.environ["DATONG_HOME"] = str(path)
    stack.down()
    del os.environ["DATONG_HOME"]
    os.environ.update(before)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def services(datong_home: Path) -> Settings:
    """The real store, Sail and PostgreSQL, running until the session ends; gives the settings that reach them."""
    stack.up(["store", "engine", "postgres"])
    return settings()


@pytest.fixture
def own_bucket(services: Settings) -> Iterator[str]:
    """A bucket of the test's own, gone after it."""
    with bucket_in_force() as bucket:
        yield bucket


@dataclass(frozen=True)
class Engine:
    """A Spark Connect server beside that of the services, over the same store."""

    address: str

    @contextmanager
    def using(self) -> Iterator[Settings]:
        """Within this block the settings lead to this engine."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DATONG_ENGINE", "spark")
            patch.setenv("DATONG_ENGINE_ADDRESS", self.address)
            yield settings()


@contextmanager
def spark_engine(name: str, *, safe: Sequence[str] = ("s3a", "s3")) -> Iterator[Engine]:
    """A local Apache Spark, started as `datong up --engine spark` starts it; `safe`: schemes with our log store."""
    jars.prepare()
    port = processes.free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATONG_ENGINE", "spark")
        launch = server.launch(port, safe=safe, name=name)
    record = processes.spawn(name, launch.argv, port=port, environment=launch.environment, cwd=launch.cwd)
    try:
        deadline = time.monotonic() + 240
        while True:
            try:
                version_at(f"sc://127.0.0.1:{port}")
                break
            except grpc.RpcError:
                assert record.process() is not None, processes.log_tail(name)
                assert time.monotonic() < deadline, processes.log_tail(name)
                time.sleep(0.2)
        yield Engine(f"sc://127.0.0.1:{port}/;user_id=datong;session_id={uuid.uuid4()}")
    finally:
        processes.stop(record)


@pytest.fixture(scope="session")
def start_spark() -> Callable[..., AbstractContextManager[Engine]]:
    """`spark_engine`, for a test that needs a Spark of its own kind."""
    return spark_engine


@pytest.fixture(scope="session")
def spark_services(services: Settings) -> Iterator[Engine]:
    """Apache Spark over the same store as `services`, with the lake's safe log store. Mark the test `spark`."""
    with spark_engine("spark-test") as engine:
        yield engine


@pytest.fixture(scope="session")
def sandbox(services: Settings) -> dict[str, str]:
    """The sandbox plant at scale 0.1, shared by the session; gives its addresses and log-ins.

    A test that advances it or switches faults on has a plant of its own instead.
    """
    stack.up(["sandbox"], scale=0.1, seed=42)
    return read_state("connections.json")


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """A real Kafka broker of the session."""
    from kafka_server import KafkaServer, NoKafkaError

    try:
        server = KafkaServer()
    except NoKafkaError as error:
        pytest.skip(str(error))
    yield server
    server.remove()


@pytest.fixture(scope="session")
def postgres_log() -> Iterator[LoggingPostgres]:
    """A PostgreSQL of the session whose log can be read."""
    from postgresql_server import LoggingPostgres

    server = LoggingPostgres()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMqServer]:
    """A real RabbitMQ broker of the session."""
    from rabbitmq_server import RabbitMqServer, program

    if program() is None:
        pytest.skip("RabbitMQ is not installed: run .ci/servers as root, or `apt-get install rabbitmq-server`")
    server = RabbitMqServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """A real MariaDB of the session, with a row binlog that bears the columns' names."""
    from mariadb_server import NoMariaDbError, mariadb_server

    try:
        with mariadb_server() as server:
            yield server
    except NoMariaDbError as error:
        pytest.skip(str(error))
