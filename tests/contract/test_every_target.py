"""What every target of write-back passes: nothing lost, nothing twice, each outcome told as what it is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datong_ingestion.write_back.target import Change, Outcome, Target
from datong_platform.errors import ConfigurationError, TransientError
from targets import (
    FilesRig,
    KafkaRig,
    ODataV2ActionRig,
    ODataV2BatchRig,
    ODataV2Rig,
    ODataV4ActionRig,
    ODataV4BatchRig,
    ODataV4Rig,
    RabbitMqRig,
    RestActionRig,
    RestManyRig,
    RestPutRig,
    RestRig,
    SoapActionRig,
    SoapDocumentRig,
    SoapRig,
    SqlRig,
    TargetRig,
    row,
)

HTTP = {
    "odata_v2": ODataV2Rig,
    "odata_v2_batch": ODataV2BatchRig,
    "odata_v4": ODataV4Rig,
    "odata_v4_batch": ODataV4BatchRig,
    "rest": RestRig,
    "rest_put": RestPutRig,
    "rest_many": RestManyRig,
    "soap": SoapRig,
}
ACTIONS = {"odata_v2": ODataV2ActionRig, "odata_v4": ODataV4ActionRig, "rest": RestActionRig, "soap": SoapActionRig}
FILES = {"files_json": ("json", 1), "files_csv": ("csv", 10), "files_xml": ("xml", 10), "files_jsonl": ("jsonl", 3)}
OTHERS = ("sql", "kafka", "rabbitmq", *FILES)


def made(kind: str, request: pytest.FixtureRequest) -> TargetRig:
    if kind in HTTP:
        return HTTP[kind]()
    if kind in FILES:
        return FilesRig(request.getfixturevalue("tmp_path"), *FILES[kind])
    if kind == "sql":
        return SqlRig(request.getfixturevalue("services"))
    return {"kafka": KafkaRig, "rabbitmq": RabbitMqRig}[kind](request.getfixturevalue(kind))


@pytest.fixture(params=[*HTTP, *OTHERS])
def rig(request: pytest.FixtureRequest) -> Iterator[TargetRig]:
    found = made(request.param, request)
    yield found
    found.stop()


@pytest.fixture(params=HTTP)
def http_rig(request: pytest.FixtureRequest) -> Iterator[Any]:
    found = HTTP[request.param]()
    yield found
    found.stop()


@pytest.fixture(params=["odata_v2", "rest"])
def paced_rig(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Those whose clients differ: the tests that wait need not wait for each."""
    found = HTTP[request.param]()
    yield found
    found.stop()


@pytest.fixture(params=ACTIONS)
def action_rig(request: pytest.FixtureRequest) -> Iterator[Any]:
    found = ACTIONS[request.param]()
    yield found
    found.stop()


def send(target: Target, *changes: Change) -> dict[str, Outcome]:
    told: list[tuple[str, str]] = []
    outcomes = target.send(changes, lambda change, outcome: told.append((change.key, outcome.kind)))
    assert sorted(told) == sorted((key, outcome.kind) for key, outcome in outcomes.items())
    assert outcomes.keys() == {change.key for change in changes}
    return outcomes


def kinds(outcomes: dict[str, Outcome]) -> list[str]:
    return [outcomes[key].kind for key in sorted(outcomes)]


def differences(rig: TargetRig, target: Target, change: Change) -> list[str]:
    [found] = rig.found(target, change)
    return rig.builder(target).differences(change.payload, found.fields)


def test_what_is_created_is_found_as_it_was_sent(rig: TargetRig) -> None:
    target = rig.open()
    assert target.lookup(["A0", "A1"]) == {"A0": [], "A1": []}
    changes = [rig.change(target, f"A{n}") for n in range(25)]
    assert set(kinds(send(target, *changes))) == {"accepted"}
    assert [differences(rig, target, change) for change in changes] == [[]] * 25
    assert rig.held() == {f"A{n}": row(f"A{n}")["name"] for n in range(25)}
    assert Counter(rig.effects()) == {("create", f"A{n}"): 1 for n in range(25)}


def test_a_later_run_finds_what_an_earlier_one_sent(rig: TargetRig) -> None:
    if isinstance(rig, RabbitMqRig):
        pytest.skip("a queue cannot be asked; what then happens is in test_targets_that_cannot_be_asked")
    before = rig.open()
    changes = [rig.change(before, f"A{n}") for n in range(12)]
    send(before, *changes[:7])
    after = rig.open()
    sent = {change.key: change.idempotency_key for change in changes}
    held = after.lookup(list(sent), sent)
    assert [len(held[change.key]) for change in changes] == [1] * 7 + [0] * 5  # type: ignore[arg-type]
    assert [differences(rig, after, change) for change in changes[:7]] == [[]] * 7


def test_a_change_that_is_sent_twice_takes_effect_once(rig: TargetRig) -> None:
    if not rig.takes_once:
        pytest.skip("it has no memory of idempotency keys; it is read back before anything is sent again")
    first = rig.open()
    changes = [rig.change(first, f"A{n}") for n in range(3)]
    send(first, *changes)
    again = send(rig.open(), *changes)
    assert set(kinds(again)) <= {"accepted", "conflict"}
    assert Counter(rig.effects()) == {("create", f"A{n}"): 1 for n in range(3)}


def test_an_update_arrives_and_changes_nothing_else(rig: TargetRig) -> None:
    target = rig.open()
    new = [rig.change(target, f"A{n}") for n in range(3)]
    send(target, *new)
    [found] = rig.found(target, new[1]) if rig.asked else [None]
    update = rig.change(target, "A1", "update", found, name="new name")
    assert kinds(send(target, update)) == ["accepted"]
    assert differences(rig, target, update) == []
    assert rig.held() == {"A0": row("A0")["name"], "A1": "new name", "A2": row("A2")["name"]}
    assert rig.effects().count(("update", "A1")) == 1


def test_a_change_of_somebody_else_in_between_is_a_conflict_and_stays(rig: TargetRig) -> None:
    if not rig.asked or isinstance(rig, KafkaRig):
        pytest.skip("it has no condition to write by")
    target = rig.open()
    new = rig.change(target, "A1")
    send(target, new)
    [found] = rig.found(target, new)
    rig.behind("A1")
    outcomes = send(target, rig.change(target, "A1", "update", found, name="ours"))
    assert kinds(outcomes) == ["conflict"]
    assert outcomes["A1"].words
    assert kinds(send(target, rig.change(target, "A1", "delete", found))) == ["conflict"]
    assert rig.held() == {"A1": "JDOE's"}


def test_what_is_there_already_is_a_conflict_and_not_a_second_record(rig: TargetRig) -> None:
    if not rig.asked or isinstance(rig, KafkaRig):
        pytest.skip("it takes what comes")
    target = rig.open()
    send(target, rig.change(target, "A1"))
    assert kinds(send(target, rig.change(target, "A1", name="another"))) == ["conflict"]
    assert rig.held() == {"A1": row("A1")["name"]}


def test_a_deleted_record_is_gone_and_deleting_it_again_is_no_error(rig: TargetRig) -> None:
    target = rig.open()
    new = [rig.change(target, f"A{n}") for n in range(3)]
    send(target, *new)
    [found] = rig.found(target, new[1]) if rig.asked else [None]
    delete = rig.change(target, "A1", "delete", found)
    assert kinds(send(target, delete)) == ["accepted"]
    assert bool(rig.found(target, delete)) is not rig.asked, "told of what it holds, or of what it took"
    assert set(rig.held()) == {"A0", "A2"}
    if isinstance(rig, SqlRig):
        assert kinds(send(target, delete)) == ["conflict"], "a database cannot tell gone from changed"
    elif rig.asked:
        assert kinds(send(target, delete)) == ["accepted"]
    assert rig.effects().count(("delete", "A1")) == 1 or isinstance(rig, KafkaRig)


def test_an_action_is_called_on_its_record_once(action_rig: Any) -> None:
    rig = action_rig
    target = rig.open()
    assert {"create", "call"} <= target.operations
    new = rig.change(target, "A1")
    send(target, new, rig.change(target, "A2"))
    [found] = rig.found(target, new)
    call = Change("A1", {**new.payload, "Status": "released"}, "k-1", found, "call", {"Amount": "12.5"})
    assert kinds(send(target, call)) == ["accepted"]
    [after] = rig.found(target, call)
    assert after.fields["Status"] == "released"
    if not isinstance(rig, SoapRig):
        stale = send(target, Change("A1", call.payload, "k-2", found, "call", {"Amount": "12.5"}))
        assert kinds(stale) == ["conflict"], "the record is not what it was"
    assert rig.effects() == [("create", "A1"), ("create", "A2"), ("call", "A1")] or rig.effects()[-1] == ("call", "A1")
    assert rig.effects().count(("call", "A1")) == 1


@pytest.mark.parametrize("fault", ["lost after", "500 after"])
def test_an_effect_without_an_answer_is_unclear_and_found_by_reading_back(http_rig: Any, fault: str) -> None:
    target = http_rig.open()
    changes = [http_rig.change(target, f"A{n}") for n in range(4)]
    target.lookup(["A0"])
    http_rig.fault(*[fault] * (1 if http_rig.batch > 1 else 4))
    assert kinds(send(target, *changes)) == ["unclear"] * 4
    assert [differences(http_rig, target, change) for change in changes] == [[]] * 4
    assert Counter(http_rig.effects()) == {("create", f"A{n}"): 1 for n in range(4)}


def test_a_request_that_never_arrived_is_unclear_and_sent_again_makes_one(http_rig: Any) -> None:
    target = http_rig.open()
    changes = [http_rig.change(target, f"A{n}") for n in range(4)]
    target.lookup(["A0"])
    http_rig.fault(*["lost before"] * (1 if http_rig.batch > 1 else 4))
    assert kinds(send(target, *changes)) == ["unclear"] * 4
    assert [http_rig.found(target, change) for change in changes] == [[]] * 4
    assert kinds(send(target, *changes)) == ["accepted"] * 4
    assert Counter(http_rig.effects()) == {("create", f"A{n}"): 1 for n in range(4)}


def test_a_refusal_bears_the_words_of_the_target_and_changes_nothing(http_rig: Any) -> None:
    target = http_rig.open()
    target.lookup(["A0"])
    changes = [http_rig.change(target, f"A{n}") for n in range(3)]
    if http_rig.batch > 1:
        http_rig.fault("refuse 2")
        outcomes = send(target, *changes)
        assert kinds(outcomes) == ["accepted", "refused", "accepted"], "one that is refused takes no other with it"
    else:
        http_rig.fault("refuse")
        outcomes = send(target, changes[1])
    assert outcomes["A1"].kind == "refused"
    assert "Deficit of stock for <this>" in outcomes["A1"].words
    assert "A1" not in http_rig.held()


@pytest.mark.parametrize("rig_type", [ODataV2BatchRig, ODataV4BatchRig])
def test_half_a_batch_is_told_change_by_change(rig_type: type[Any]) -> None:
    rig = rig_type()
    try:
        target = rig.open()
        changes = [rig.change(target, f"A{n}") for n in range(8)]
        target.lookup(["A0"])
        rig.fault("half")
        assert kinds(send(target, *changes)) == ["accepted"] * 4 + ["unclear"] * 4
        assert [len(rig.found(target, change)) for change in changes] == [1] * 4 + [0] * 4
        assert kinds(send(target, *changes[4:])) == ["accepted"] * 4
        assert Counter(rig.effects()) == {("create", f"A{n}"): 1 for n in range(8)}
    finally:
        rig.stop()


def test_many_changes_go_out_in_few_batches() -> None:
    rig = ODataV2BatchRig()
    try:
        target = rig.open()
        assert set(kinds(send(target, *[rig.change(target, f"A{n:02d}") for n in range(45)]))) == {"accepted"}
        assert len(rig.held()) == 45
        assert sorted(what for _, what in rig.server.requests) == ["POST SRV/$batch"] * 5
    finally:
        rig.stop()


@pytest.mark.parametrize(("how", "several"), [("repeat", "repeat"), ("comma", "comma"), ("comma", ""), ("repeat", "")])
@pytest.mark.parametrize("page", [100, 2])
def test_several_keys_in_one_request_make_no_record_look_absent(how: str, several: str, page: int) -> None:
    """Whatever the API makes of several keys: all of them, the first, a page of them, or none."""
    rig = RestManyRig(how)
    rig.server.several, rig.server.page = several, page
    try:
        target = rig.open()
        keys = [f"A{n}" for n in range(20)]
        there = keys[::2]
        send(target, *[rig.change(target, key) for key in there])
        for _ in range(2):
            held = target.lookup(keys)
            assert {key for key in keys if held[key]} == set(there)
            assert target.lookup(there).keys() == set(there)
    finally:
        rig.stop()


def test_keys_are_looked_up_together_once_an_answer_has_shown_that_it_is_whole() -> None:
    rig = RestManyRig()
    try:
        target = rig.open()
        keys = [f"A{n}" for n in range(20)]
        send(target, *[rig.change(target, key) for key in keys])
        assert all(target.lookup(keys).values())
        assert rig.server.lookups == [5, 5, 5, 5]
        # nobody has these, and an answer with fewer records than were seen in one is whole
        assert not any(target.lookup([f"B{n}" for n in range(10)]).values())
        assert rig.server.lookups[4:] == [5, 5]
    finally:
        rig.stop()


@pytest.mark.parametrize("signal", ["429", "quota"])
def test_all_threads_wait_as_long_as_the_target_asks(paced_rig: Any, signal: str) -> None:
    target = paced_rig.open(batch=1)
    target.lookup(["A0"])
    first, *others = [paced_rig.change(target, f"A{n}") for n in range(6)]
    paced_rig.fault(signal)
    started = time.monotonic()
    outcomes = send(target, first)
    outcomes |= send(target, *others)
    assert set(kinds(outcomes)) == {"accepted"}
    assert time.monotonic() - started >= 0.9
    refused = signal == "429"
    assert len(paced_rig.server.requests) == 6 + refused, "nobody asked while the target wanted to be left alone"


def test_a_longer_pause_than_we_wait_ends_the_sending(paced_rig: Any) -> None:
    target = paced_rig.open(batch=1)
    target.lookup(["A0"])
    paced_rig.server.handle = _after(paced_rig.server.handle, "3600")
    changes = [paced_rig.change(target, f"A{n}") for n in range(30)]
    outcomes = send(target, *changes)
    assert set(kinds(outcomes)) == {"not_sent"}
    assert all((outcome.retry_after or 0) > 3500 for outcome in outcomes.values())
    assert len(paced_rig.server.requests) <= 4, "only what was under way when the target said so"


def _after(handle: Any, seconds: str) -> Any:
    """A system that asks for a pause at each write."""

    def handled(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        if method == "GET":
            return handle(method, path, headers, body)
        handle.__self__.requests.append((0, path))
        return 429, {"error": "come back later"}, {"Retry-After": seconds}

    return handled


def test_the_rate_of_a_flow_is_kept(paced_rig: Any) -> None:
    target = paced_rig.open(rate=20, batch=1)
    changes = [paced_rig.change(target, f"A{n:02d}") for n in range(21)]
    started = time.monotonic()
    assert set(kinds(send(target, *changes))) == {"accepted"}
    assert time.monotonic() - started >= 0.95


def test_nobody_there_is_told_before_anything_is_sent(http_rig: Any) -> None:
    target = http_rig.open()
    change = http_rig.change(target, "A1")
    http_rig.server.stop()
    with pytest.raises(TransientError):
        target.lookup(["A1"])
    assert kinds(send(target, change)) == ["not_sent"]


def test_files_never_take_each_others_place(tmp_path: Path) -> None:
    rig = FilesRig(tmp_path)
    target = rig.open(target={"system": rig.name, "lookup": "Id", "identity": ["Id"], **rig.target()})
    change = rig.change(target, "A1")
    send(target, change)
    [written] = (tmp_path / "out").glob("*.json")
    written.write_text("somebody else's")
    assert kinds(send(rig.open(), change)) == ["conflict"]
    assert written.read_text() == "somebody else's"


class TestSoap:
    """What is particular to it."""

    @pytest.fixture
    def soap(self) -> Iterator[SoapRig]:
        rig = SoapRig()
        yield rig
        rig.stop()

    def test_a_fault_of_the_servers_own_leaves_open_what_happened(self, soap: SoapRig) -> None:
        target = soap.open()
        change = soap.change(target, "A1")
        soap.fault("server fault after")
        outcomes = send(target, change)
        assert kinds(outcomes) == ["unclear"]
        assert "timeout while answering" in outcomes["A1"].words
        assert differences(soap, target, change) == []

    def test_a_place_of_rows_that_the_answer_lacks_makes_no_record_look_absent(self, soap: SoapRig) -> None:
        operations = soap.operations_of()
        operations["read"]["rows_path"] = "Thing"
        named = {"system": soap.name, "lookup": "Id", "identity": ["Id"], **soap.target(), "soap": operations}
        target = soap.open(target=named)
        with pytest.raises(ConfigurationError, match=r"has no Thing in its answer.*there stands getThingsResult"):
            target.lookup(["A1"])

    def test_a_fault_of_the_servers_own_with_known_words_is_a_refusal(self, soap: SoapRig) -> None:
        target = soap.open()
        soap.fault("server refuses")
        outcomes = send(target, soap.change(target, "A1"))
        assert kinds(outcomes) == ["refused"]
        assert "JBO-27024" in outcomes["A1"].words
        assert soap.held() == {}

    def test_a_session_that_ended_is_renewed_and_the_change_sent_once(self) -> None:
        rig = SoapSessionRig()
        try:
            target = rig.open()
            assert kinds(send(target, rig.change(target, "A1"))) == ["accepted"]
            rig.server.sessions = {"another"}
            assert kinds(send(target, rig.change(target, "A2"))) == ["accepted"]
            assert rig.effects() == [("create", "A1"), ("create", "A2")]
            names = [row["Name"] for row in rig.server.rows.values()]
            assert names == [row("A1")["name"], row("A2")["name"]], "{session} in a text of ours stays a text"
        finally:
            rig.stop()

    def test_documents_in_a_text_are_escaped_and_their_answers_read(self) -> None:
        rig = SoapDocumentRig()
        try:
            target = rig.open()
            assert target.operations == {"create"}
            change = rig.change(target, "A1", name="<thing>{key} & 'x'</thing>")
            outcomes = send(target, change, rig.change(target, "A2", name="bad"))
            assert kinds(outcomes) == ["accepted", "refused"]
            assert (outcomes["A1"].target_key, outcomes["A2"].words) == ("A1", "存货编码错误")
            assert rig.held() == {"A1": "<thing>{key} & 'x'</thing>"}
            assert kinds(send(target, change)) == ["conflict"]
            assert rig.effects() == [("create", "A1")]
        finally:
            rig.stop()


class SoapSessionRig(SoapRig):
    """A session that goes as an argument (Kingdee's goes into a header)."""

    def connection(self) -> dict[str, Any]:
        log_in = {
            "operation": "logIn",
            "arguments": {"user": "{user}", "password": "{password}"},
            "session_path": "logInResult",
            "expired_texts": ["session is invalid"],
        }
        return {**super().connection(), "auth": "none", "user": "u", "password": "p", "log_in": log_in}

    def operations_of(self) -> dict[str, Any]:
        found = super().operations_of()
        found["create"]["arguments"]["session"] = "{session}"
        return found
