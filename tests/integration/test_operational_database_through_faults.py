"""PostgreSQL behind a proxy: our own database that falls silent or breaks off ends in a clear error, and nothing hangs.

What is asked of it: people's decisions and incidents (`operational`), the lock of a flow, a table published for BI, the
storage of Dagster. A query that takes long is no silence.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg2.extensions
import pytest
import sqlalchemy
import sqlalchemy.exc
from datong_assets import alone, instance
from datong_infra.services.dagster import _storage_url
from datong_ingestion.write_back.lease import lease
from datong_platform import operational, silence
from datong_platform.errors import DatongError, ServiceError, TransientError
from datong_platform.settings import Settings
from fault_proxy import Proxy

LIMIT = 60
"""Seconds after which something hangs; no measure of speed."""


@pytest.fixture
def proxy(services: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    url = services.need("postgres_url")
    place = urlsplit(url)
    with Proxy(place.hostname or "", place.port or 0) as found:
        monkeypatch.setenv("DATONG_POSTGRES_URL", found.through(url))
        monkeypatch.setattr(silence, "SILENCE", 1.0)
        yield found


def _asked() -> None:
    with operational.connected("select 1", "ops.no_such_table") as database:
        database.execute("select 1")


def _alone() -> None:
    deadline = time.monotonic() + LIMIT / 2
    while True:
        try:
            with alone.alone("test through faults"):
                return
        except TransientError:
            # a server needs a moment to notice that who held it is gone
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _leased() -> None:
    with lease("through_faults", wait_seconds=LIMIT / 2) as held:
        held.check()


ASKED: dict[str, Callable[[], None]] = {"operational": _asked, "alone": _alone, "lease": _leased}


def through_a_fault(proxy: Proxy, ask: Callable[[], None], fault: str, dice: random.Random) -> None:
    """Ask through one that strikes once, anywhere in the answers, and through one that stands; then undisturbed."""
    before = proxy.answered
    ask()
    size = proxy.answered - before
    for times in (1, None):
        proxy.strike(fault, after=dice.randrange(size), times=times)
        started, told = time.monotonic(), None
        try:
            ask()
        except DatongError as error:
            told = error
        else:
            assert times, "a fault that stands was not noticed"
        assert time.monotonic() - started < LIMIT
        assert told is None or ("PostgreSQL" in str(told) and told.next_step)
        proxy.heal()
        ask()


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("fault", ["reset", "truncated"])
def test_a_connection_that_breaks_off_is_told_and_the_next_one_works(proxy: Proxy, asked: str, fault: str) -> None:
    through_a_fault(proxy, ASKED[asked], fault, random.Random(zlib.crc32(f"{asked} {fault}".encode())))


@pytest.mark.parametrize("asked", ASKED)
def test_a_connection_that_falls_silent_is_told_and_lets_go(proxy: Proxy, asked: str) -> None:
    before = proxy.answered
    ASKED[asked]()
    proxy.strike("half open", after=proxy.answered - before - 1)
    with pytest.raises(ServiceError, match="PostgreSQL") as caught:
        ASKED[asked]()
    assert isinstance(caught.value.__cause__, silence.SilentError)
    ASKED[asked]()


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("fault", ["reset", "truncated", "refused", "half open", "slow"])
def test_no_fault_anywhere_makes_it_hang(proxy: Proxy, asked: str, fault: str, seed: int) -> None:
    through_a_fault(proxy, ASKED[asked], fault, random.Random(seed))


def test_a_query_that_takes_long_is_waited_for(proxy: Proxy) -> None:
    with operational.connected() as database:
        assert database.execute("select 'done' from pg_sleep(3)").fetchone() == ("done",)


def test_dagsters_storage_that_falls_silent_ends_the_statement_and_the_next_one_works(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "_SILENCE", 1)
    psycopg2.extensions.set_wait_callback(instance._answered)
    engine = sqlalchemy.create_engine(_storage_url(), pool_pre_ping=True)
    try:
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("select count(*) from generate_series(1, 9)")).scalar() == 9
        with engine.connect() as connection:
            proxy.strike("half open", after=5)
            with pytest.raises(sqlalchemy.exc.OperationalError, match="nothing arrived"):
                connection.execute(sqlalchemy.text("select 1"))
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("select count(*) from generate_series(1, 9)")).scalar() == 9
    finally:
        engine.dispose()
        psycopg2.extensions.set_wait_callback(None)
