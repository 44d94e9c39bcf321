"""The store behind a proxy: a commit that lands and whose answer is lost is there once, whoever commits.

Everybody who adds to a table of the lake does so through a proxy that lets the store carry out the put of the commit
and then breaks the connection, or answers 500 or 503. In the end every addition must be there, and none twice.
`pytest -m nightly` does it a thousand times.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from datong_ingestion.write_back import ledger
from datong_platform.errors import ServiceError
from datong_platform.lake import builds, history, landing, load, sync_log
from datong_platform.lake.refused import REFUSED
from datong_platform.names import TableName, bronze
from datong_platform.names import quarantine as quarantine_of
from datong_platform.quality import record, scores
from datong_platform.settings import Settings
from datong_platform.standard import conservation, decisions
from fault_proxy import ProxyProcess

COMMIT = r"PUT .*/_delta_log/\d{20}\.json$"
LOST = ("reply lost", "500 after", "503 after")
SYSTEM = "unclear"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def proxy(own_bucket: str, services: Settings) -> Iterator[ProxyProcess]:
    place = urlsplit(services.need("s3_endpoint"))
    # a patch of its own: the bucket is emptied after this without the proxy
    with ProxyProcess(place.hostname or "", place.port or 0) as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATONG_S3_ENDPOINT", f"http://{found.address}")
        yield found


def _loaded(name: str) -> None:
    """A batch of two rows, one of which could not be read."""
    schema = pa.schema([("Id", pa.string())])
    last = history.watermark(bronze(SYSTEM, "thing"), history.open_table(bronze(SYSTEM, "thing")))
    batch = landing.Landing(
        SYSTEM,
        "thing",
        last.sequence + 1 if last else 1,
        mode="stream",
        kind="changes",
        schema=schema,
        keys=["Id"],
        cursors=[],
        distinct=False,
        position=None,
        contract_version="1",
    )
    batch.add(pa.table({"Id": [name]}), pa.array(["insert"]), None, frozenset())
    batch.add_refused(pa.table([[name.encode()], [name], [None], ["broken"]], schema=REFUSED))
    assert batch.commit(batch.seal(name))
    for _ in range(5):
        try:
            load.load_landed(SYSTEM, "thing")
            return
        except ServiceError:
            # what people are told to do is to run it again
            continue


def _hopped(name: str) -> None:
    with sync_log.run(name), sync_log.hop("extract", system=SYSTEM, table_name=name):
        pass
    for _ in range(5):
        # what could not be committed is committed with the next
        sync_log.flush()


def _built(name: str) -> None:
    builds.record(builds.Build(name, NOW, NOW, is_ok=True))


def _stepped(name: str) -> None:
    entry = ledger.Entry(
        flow="unclear",
        key=name,
        step=1,
        state="planned",
        operation="create",
        idempotency_key=name,
        payload_hash=name,
        payload="{}",
        attempt=0,
        run_id=name,
        at=NOW,
    )
    ledger.Ledger("unclear").append([entry])


def _column(table: TableName, column: str) -> list[str]:
    delta = history.open_table(table)
    return [] if delta is None else delta.to_pyarrow_table(columns=[column]).column(column).to_pylist()


Writer = tuple[Callable[[str], Any], Callable[[], list[str]]]
WRITERS: dict[str, Writer] = {
    "load": (_loaded, lambda: _column(bronze(SYSTEM, "thing"), "Id")),
    "refused": (_loaded, lambda: _column(quarantine_of(SYSTEM, "thing"), "place")),
    "sync_log": (_hopped, lambda: _column(sync_log.SYNC_LOG, "table_name")),
    "reconciliation": (
        lambda name: record.append(name, [record.Entry("balance", name, "equal")]),
        lambda: _column(record.RECONCILIATION, "run_id"),
    ),
    "scores": (
        lambda name: scores.keep(name, [scores.Score(name, SYSTEM, "completeness", 1.0, 1, 0, {})]),
        lambda: _column(scores.SCORES, "run_id"),
    ),
    "conservation": (
        lambda name: conservation._append(name, [conservation.Count("silver", name, SYSTEM, name, 0, 0)], NOW, {}),
        lambda: _column(conservation.CONSERVATION, "run_id"),
    ),
    "builds": (_built, lambda: _column(builds.BUILDS, "build_id")),
    "decisions": (
        lambda name: decisions.record(
            decisions.NewDecision("override", "sales_order_item", "li", name, SYSTEM, name, rule="positive")
        ),
        lambda: _column(decisions.DECISIONS, "source_key"),
    ),
    # a transition counts once however often it is there: what counts is what the ledger tells
    "ledger": (_stepped, lambda: [row.key for row in ledger.rows("unclear", limit=10_000)]),
}


def added_once(proxy: ProxyProcess, writer: str, times: int, seed: int) -> None:
    """So many additions, each meeting a lost answer or none."""
    dice = random.Random(seed)
    add, found = WRITERS[writer]
    add("first")
    wanted = ["first"]
    struck = 0
    for number in range(times):
        name = f"n{number}-{uuid.uuid4().hex[:6]}"
        often = dice.choice([1, 1, 1, 2])
        proxy.strike(LOST[number % len(LOST)], match=COMMIT, times=often, after=dice.choice([0, 0, 0, 1]))
        add(name)
        struck += proxy.heal()
        wanted.append(name)
    assert struck, "no commit met the fault"
    told = Counter(found())
    assert not set(wanted) - told.keys(), "an addition was lost"
    assert told.keys() == set(wanted)
    twice = {name: count for name, count in told.items() if count > 1}
    assert not twice, f"{len(twice)} of {len(wanted)} are there twice: {twice}"


@pytest.mark.parametrize("writer", sorted(WRITERS))
def test_a_commit_whose_answer_is_lost_is_there_once(proxy: ProxyProcess, writer: str) -> None:
    added_once(proxy, writer, 4, seed=1)


@pytest.mark.nightly
@pytest.mark.parametrize("writer", sorted(WRITERS))
def test_a_hundred_and_more_commits_whose_answers_are_lost_are_there_once(proxy: ProxyProcess, writer: str) -> None:
    added_once(proxy, writer, 1000 // len(WRITERS) + 1, seed=2)
