"""People's decisions about writes, and the ledger they are about: one truth, told to whoever comes second."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion.write_back import decisions, ledger
from datong_ingestion.write_back.ledger import LEDGER, SCHEMA, Entry, Ledger, State
from datong_platform.errors import ConfigurationError
from datong_platform.settings import settings
from deltalake import DeltaTable, write_deltalake

pytestmark = pytest.mark.usefixtures("services")


def entry(flow: str, key: str, state: State | Any, step: int = 1, **more: Any) -> Entry:
    return Entry(
        flow=flow,
        key=key,
        step=step,
        state=state,
        operation="update",
        idempotency_key=f"{key}-{step}",
        payload_hash="hash",
        payload='{"a":1}',
        attempt=1,
        run_id="run",
        at=datetime.now(UTC),
        **more,
    )


@pytest.fixture
def flow() -> str:
    """A flow with a row in conflict, a dead one, a failed one, one that waits, and one that is verified."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    states: dict[str, State] = {
        "C": "conflict",
        "D": "dead",
        "F": "failed",
        "W": "waiting_for_approval",
        "V": "verified",
    }
    Ledger(name).append([entry(name, "C", "planned"), *(entry(name, key, state, 2) for key, state in states.items())])
    return name


def test_a_decision_waits_until_it_is_carried_out_and_stays_in_the_history(flow: str) -> None:
    made = decisions.decide(flow, "accept_theirs", key="C", who="wang", why="counted by hand")
    assert made.is_new
    assert [one.id for one in decisions.waiting(flow)] == [made.id]
    decisions.carried_out({made.id: "their value stays"})
    decisions.carried_out({made.id: "a second run says so too"})
    assert decisions.waiting(flow) == []
    [told] = decisions.history(flow, "C")
    assert (told.who, told.why, told.outcome) == ("wang", "counted by hand", "their value stays")
    assert told.carried_out_at is not None


def test_the_same_decision_twice_is_one_and_another_is_told_of_the_first(flow: str) -> None:
    first = decisions.decide(flow, "mend", key="D", payload={"Plant": "1010"}, who="wang", why="wrong plant")
    again = decisions.decide(flow, "mend", key="D", payload={"Plant": "1010"}, who="li", why="wrong plant, too")
    assert (again.id, again.is_new, again.who) == (first.id, False, "wang")
    with pytest.raises(decisions.DecidedError, match=r"wang decided mend on .* UTC: wrong plant") as told:
        decisions.decide(flow, "cancel", key="D", who="li", why="not needed")
    assert told.value.first.id == first.id
    undone = decisions.undo(first.id, who="li", why="it is not needed at all")
    assert undone.outcome == "taken back by li: it is not needed at all"
    assert decisions.decide(flow, "cancel", key="D", who="li", why="not needed").is_new
    with pytest.raises(ConfigurationError, match="is not open"):
        decisions.undo(first.id, who="li", why="again")


def test_of_many_at_once_one_decides_and_the_others_are_told(flow: str) -> None:
    made: list[bool] = []
    refused: list[str] = []

    def one(number: int) -> None:
        kind: decisions.Kind = "accept_ours" if number % 2 else "accept_theirs"
        try:
            made.append(decisions.decide(flow, kind, key="C", who=f"person {number}", why="I am right").is_new)
        except decisions.DecidedError as error:
            refused.append(error.first.who)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.count(True) == 1
    assert len(refused) == 4
    assert len(decisions.waiting(flow)) == len(set(refused)) == 1


def test_a_row_can_be_decided_before_its_flow_and_not_after(flow: str) -> None:
    decisions.decide(flow, "cancel", key="D", who="wang", why="the order was closed")
    decisions.decide(flow, "retry", who="li", why="the ERP is back")
    with pytest.raises(decisions.DecidedError, match="li decided retry"):
        decisions.decide(flow, "mend", key="F", payload={"a": 2}, who="wang", why="a typo")
    assert [one.kind for one in decisions.waiting(flow)] == ["cancel", "retry"]


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("retry", {"key": "V"}, "is verified; retry is for what is failed or dead"),
        ("accept_ours", {"key": "D"}, "is dead; accept_ours is for what is conflict"),
        ("retry", {"key": "nobody"}, "is not in the ledger"),
        ("accept_theirs", {}, "row by row"),
        ("mend", {"key": "D"}, "mended with nothing"),
        ("retry", {"key": "D", "why": " "}, "without why"),
        ("approve", {"plan": "ceiling"}, "so many changes and deletes"),
        ("pause", {"key": "D"}, "single rows"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused_in_words(
    flow: str, kind: decisions.Kind, more: dict[str, Any], words: str
) -> None:
    told: dict[str, Any] = {"who": "wang", "why": "because", **more}
    with pytest.raises(ConfigurationError, match=words):
        decisions.decide(flow, kind, **told)
    assert decisions.waiting(flow) == []


def test_a_flow_is_paused_by_itself_or_with_all_others_until_it_is_resumed_or_the_pause_expires(flow: str) -> None:
    assert decisions.paused(flow) is None
    pause = decisions.decide(flow, "pause", who="wang", why="month-end")
    assert decisions.decide(flow, "pause", who="li", why="me too").who == "wang"
    try:
        decisions.decide(None, "pause", who="boss", why="stocktaking")
        decisions.decide(flow, "resume", who="wang", why="done")
        assert (held := decisions.paused(flow)) is not None
        assert held.who == "boss"
        with pytest.raises(ConfigurationError, match="all flows are: boss"):
            decisions.decide(flow, "resume", who="wang", why="done")
    finally:
        decisions.decide(None, "resume", who="boss", why="counted")
    assert decisions.paused(flow) is None
    decisions.decide(flow, "pause", who="wang", why="soon", valid_until=datetime.now(UTC) + timedelta(hours=1))
    assert [one.flow for one in decisions.pauses() if one.flow == flow] == [flow]
    decisions.decide(flow, "resume", who="wang", why="x")
    decisions.decide(flow, "pause", who="wang", why="was", valid_until=datetime.now(UTC) - timedelta(seconds=1))
    assert decisions.paused(flow) is None
    assert [one.kind for one in decisions.history(flow) if one.flow == flow].count("pause") == 3
    assert pause.outcome == "holds from now on"


def test_the_ledger_is_read_by_state_by_words_and_by_row(flow: str) -> None:
    assert ledger.state_counts(flow)[flow] == dict.fromkeys(
        ("conflict", "dead", "failed", "verified", "waiting_for_approval"), 1
    )
    assert ledger.state_counts()[flow]["dead"] == 1
    assert {one.key for one in ledger.rows(flow, ["dead", "failed"])} == {"D", "F"}
    assert [one.payload for one in ledger.rows(flow, search="c")] == ['{"a":1}']
    assert len(ledger.rows(flow, limit=2)) == 2
    assert len(ledger.rows(flow, limit=10, offset=4)) == 1
    assert [one.state for one in ledger.history(flow, "C")] == ["planned", "conflict"]
    assert ledger.row(flow, "O'Hara") is None


@pytest.mark.usefixtures("own_bucket")
def test_an_older_ledger_is_carried_over_with_all_its_rows() -> None:
    now = settings()
    names = ("flow", "key", "step", "state", "idempotency_key", "payload_hash", "payload", "attempt")
    old = pa.schema([SCHEMA.field(name) for name in (*names, "status", "words", "etag", "target_key", "run_id", "at")])
    old = old.insert(4, pa.field("action", pa.string(), nullable=False))
    rows = [
        {name: getattr(entry("f", key, state), name) for name in old.names if name != "action"} | {"action": "create"}
        for key, state in (("1", "verified"), ("2", "withdrawn"))
    ]
    write_deltalake(
        now.table_uri(LEDGER),
        pa.Table.from_pylist(rows, schema=old),
        partition_by=["flow"],
        storage_options=now.storage_options(),
    )
    assert {one.key: (one.state, one.operation) for one in ledger.rows("f")} == {
        "1": ("verified", "create"),
        "2": ("cancelled", "create"),
    }
    Ledger("f").append([entry("f", "3", "dead", pre_image="{}", next_at=datetime.now(UTC))])
    assert Ledger("f").latest()["3"].state == "dead"
    table = DeltaTable(now.table_uri(LEDGER), storage_options=now.storage_options())
    assert [field.name for field in table.schema().fields] == SCHEMA.names
    assert table.metadata().partition_columns == ["flow"]
