"""The engine behind a proxy: what Sail commits is there once, though the store's answer to the commit is lost.

delta-rs's commits are in `test_store_through_faults`; here it is the engine itself that writes, by the statements that
dbt sends: a table made anew, a merge, an append. The store carries out the put of the commit, and then the connection
breaks, or it answers 500 or 503.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from datong_infra.services import processes
from datong_infra.services.engine import Engine, version_at
from datong_platform import engine as engines
from datong_platform.settings import Settings
from deltalake import DeltaTable
from fault_proxy import ProxyProcess
from pyspark.errors import PySparkException

COMMIT = r"PUT .*/_delta_log/\d{20}\.json$"
LOST = ("reply lost", "500 after", "503 after")


@pytest.fixture(scope="module")
def behind(services: Settings) -> Iterator[tuple[ProxyProcess, Any]]:
    """A proxy before the store, and a session of a Sail that knows the store by it alone."""
    place = urlsplit(services.need("s3_endpoint"))
    with ProxyProcess(place.hostname or "", place.port or 0) as proxy, pytest.MonkeyPatch.context() as patch:
        port = processes.free_port()
        with pytest.MonkeyPatch.context() as address:
            address.setenv("DATONG_S3_ENDPOINT", f"http://{proxy.address}")
            launch = Engine().launch(port)
        patch.delenv("DATONG_S3_ENDPOINT", raising=False)
        record = processes.spawn(
            "engine-behind", launch.argv, port=port, environment=launch.environment, cwd=launch.cwd
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    version_at(f"sc://127.0.0.1:{port}")
                    break
                except grpc.RpcError:
                    assert time.monotonic() < deadline, processes.log_tail("engine-behind")
                    time.sleep(0.2)
            yield proxy, engines.session(f"sc://127.0.0.1:{port}/;user_id=datong;session_id={uuid.uuid4()}")
        finally:
            processes.stop(record)


def rows(services: Settings, uri: str) -> list[tuple[int, str]]:
    table = DeltaTable(uri, storage_options=services.storage_options())
    return sorted((row["id"], row["name"]) for row in table.to_pyarrow_table().to_pylist())


Statement = Callable[[str, int], str]


def _made_anew(table: str, number: int) -> str:
    return (
        f"create or replace table {table} using delta as "
        f"select * from values (1, 'a{number}'), (2, 'b{number}') as t(id, name)"
    )


def _merged(table: str, number: int) -> str:
    return (
        f"merge into {table} as held using (select * from values (1, 'a{number}'), ({number + 10}, 'n{number}') "
        "as t(id, name)) as told on held.id = told.id "
        "when matched then update set * when not matched then insert *"
    )


def _appended(table: str, number: int) -> str:
    return f"insert into {table} select * from values ({number + 10}, 'n{number}') as t(id, name)"


STATEMENTS: dict[str, Statement] = {"made anew": _made_anew, "merged": _merged, "appended": _appended}


def expected(statement: str, held: dict[int, str], number: int) -> dict[int, str]:
    """What a table holds after one statement."""
    if statement == "made anew":
        return {1: f"a{number}", 2: f"b{number}"}
    changed = {number + 10: f"n{number}"} | ({1: f"a{number}"} if statement == "merged" else {})
    return held | changed


def there_once(services: Settings, behind: tuple[ProxyProcess, Any], statement: str, faults: Sequence[str]) -> None:
    """Run a statement through each of the faults, and once more where that is what people are told to do."""
    proxy, session = behind
    schema, table = f"x{uuid.uuid4().hex[:8]}", statement.replace(" ", "_")
    name, uri = f"{schema}.{table}", f"s3://{services.bucket}/{schema}/{table}"
    session.sql(f"create schema {schema}").collect()
    session.sql(_made_anew(name, 0).replace("using delta", f"using delta location '{uri}'")).collect()
    held = {1: "a0", 2: "b0"}
    for number, lost in enumerate(faults, 1):
        text = STATEMENTS[statement](name, number)
        proxy.strike(lost, match=COMMIT, times=1)
        try:
            session.sql(text).collect()
        except PySparkException as error:
            # told as failed, though it is there: whoever runs it again must not do it twice
            assert "commit" in str(error).lower() or "connection" in str(error).lower(), error  # noqa: PT017
        assert proxy.heal() == 1, "no commit met the fault"
        held = expected(statement, held, number)
        assert rows(services, uri) == sorted(held.items()), f"after {lost}"
        if statement != "appended":
            session.sql(text).collect()
            assert rows(services, uri) == sorted(held.items()), f"{lost}, and run again"
        # what the engine reads is what everybody reads
        assert session.table(name).count() == len(held)
    session.sql(f"drop table {name}").collect()


@pytest.mark.parametrize(("statement", "lost"), zip(STATEMENTS, LOST, strict=True))
def test_a_commit_of_the_engine_whose_answer_is_lost_is_there_once(
    services: Settings, behind: tuple[ProxyProcess, Any], statement: str, lost: str
) -> None:
    there_once(services, behind, statement, [lost])


@pytest.mark.nightly
@pytest.mark.parametrize("statement", STATEMENTS)
def test_many_commits_of_the_engine_whose_answers_are_lost_are_there_once(
    services: Settings, behind: tuple[ProxyProcess, Any], statement: str
) -> None:
    there_once(services, behind, statement, LOST * 20)
