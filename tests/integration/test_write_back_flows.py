"""Flows beyond the plain case: guards, decisions, conflicts, failures that come back, deletes, actions, order."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion.write_back import FlowConfig, decisions, dry_run, ledger, plan, run_flow, schemas
from datong_ingestion.write_back.config import Operation
from datong_ingestion.write_back.decisions import Decision, Kind
from datong_ingestion.write_back.ledger import Ledger
from datong_ingestion.write_back.payload import Dialect
from datong_ingestion.write_back.results import FlowResult
from datong_ingestion.write_back.target import Change, Found, Outcome
from datong_platform.errors import ConfigurationError, DatongError, TransientError
from datong_platform.settings import settings
from datong_platform.standard.contract import contract
from deltalake import write_deltalake
from lake_builds import let_read

pytestmark = pytest.mark.usefixtures("services")
SCHEMA = pa.schema(
    [("order_no", pa.string()), ("quantity", pa.int32()), ("status", pa.string()), ("part", pa.string())]
)


class MemoryTarget:
    """A target that keeps its records in a dictionary and every request in a list."""

    can_be_asked = True
    dialect: Dialect = "rest"
    operations: frozenset[Operation] = frozenset({"create", "update", "delete", "call"})

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.log: list[tuple[Operation, str]] = []
        self.times: list[float] = []
        self.refuse: dict[str, str] = {}
        self.meanwhile: Callable[[Change], None] = lambda _change: None
        self.down = False

    def lookup(
        self, keys: Sequence[str], sent: Mapping[str, str] | None = None
    ) -> dict[str, list[Found] | DatongError]:
        if self.down:
            raise TransientError("the MES", "does not answer.")
        return {key: [self._found(key)] if key in self.records else [] for key in keys}

    def _found(self, key: str) -> Found:
        record = self.records[key]
        return Found({name: value for name, value in record.items() if name != "v"}, str(record["v"]), key, (key,))

    def send(self, changes: Sequence[Change], on_reply: Callable[[Change, Outcome], None]) -> dict[str, Outcome]:
        told: dict[str, Outcome] = {}
        for change in changes:
            self.log.append((change.operation, change.key))
            self.times.append(time.monotonic())
            told[change.key] = self._one(change)
            on_reply(change, told[change.key])
        return told

    def _one(self, change: Change) -> Outcome:
        self.meanwhile(change)
        if change.key in self.refuse:
            return Outcome("refused", 400, self.refuse[change.key])
        held = self.records.get(change.key)
        if change.found is not None and (held is None or str(held["v"]) != change.found.etag):
            return Outcome("conflict", 412, "changed by JDOE")
        version = (held or {"v": 0})["v"] + 1
        if change.operation == "delete":
            del self.records[change.key]
        elif change.operation == "call":
            self.records[change.key] = {**(held or {}), "status": change.parameters["to"], "v": version}
        else:
            self.records[change.key] = {**(held or {}), **change.payload, "v": version}
        return Outcome("accepted", 200)

    def recorded(self, keys: Sequence[str]) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def mes() -> MemoryTarget:
    return MemoryTarget()


def flow_of(**changes: Any) -> FlowConfig:
    mark = uuid.uuid4().hex[:8]
    return FlowConfig.model_validate(
        {
            "flow": f"test_{mark}",
            "source": f"serve.test__f{mark}",
            "key": "order_no",
            "target": {"system": "mes", "resource": "/orders", "lookup": "orderNo", "identity": ["orderNo"]},
            "operations": ["create", "update"],
            "payload": {"orderNo": "order_no", "quantity": "quantity", "status": "status"},
            "settle_seconds": 0,
            "retry": {"wait_seconds": 0, "attempts": 3},
            **changes,
        }
    )


def write(flow: FlowConfig, quantities: Mapping[str, int], **columns: Any) -> None:
    rows = [
        {"order_no": key, "quantity": quantity, "status": "NEW", "part": "P1", **columns}
        for key, quantity in quantities.items()
    ]
    now = settings()
    write_deltalake(
        now.table_uri(flow.table),
        pa.Table.from_pylist(rows, schema=SCHEMA),
        mode="overwrite",
        storage_options=now.storage_options(),
    )
    let_read(flow.table)


def decide(flow: FlowConfig, kind: Kind, key: str | None = None, **more: Any) -> Decision:
    return decisions.decide(flow.flow, kind, key=key, who="wang", why="I looked at it", **more)


def states(flow: FlowConfig) -> dict[str, int]:
    return {str(state): number for state, number in ledger.state_counts(flow.flow).get(flow.flow, {}).items()}


def walked(flow: FlowConfig, key: str) -> list[str]:
    return [one.state for one in ledger.history(flow.flow, key)]


def numbers(result: FlowResult) -> tuple[int, int, int]:
    return result.planned, result.sent, result.verified


class TestOnlyWhatChanged:
    def test_a_row_that_did_not_change_is_neither_looked_at_nor_sent(self, mes: MemoryTarget) -> None:
        flow = flow_of()
        write(flow, {"1": 1, "2": 2, "3": 3})
        assert numbers(run_flow(flow, target=mes)) == (3, 3, 3)
        mes.down = True
        again = run_flow(flow, target=mes)
        assert (numbers(again), again.is_green) == ((0, 0, 0), True)
        mes.down = False
        write(flow, {"1": 1, "2": 20, "3": 3}, part="P2")
        assert numbers(run_flow(flow, target=mes)) == (1, 1, 1)
        assert mes.log[-1] == ("update", "2")
        entry = ledger.row(flow.flow, "2")
        assert entry is not None
        assert json.loads(entry.payload or "") == {"orderNo": "2", "quantity": 20, "status": "NEW"}
        assert entry.build
        [sent] = [one for one in ledger.history(flow.flow, "2") if one.operation == "update" and one.state == "sent"]
        assert json.loads(sent.pre_image or "") == {"orderNo": "2", "quantity": 2, "status": "NEW"}

    def test_a_ledger_without_digests_sends_nothing_again(self, mes: MemoryTarget) -> None:
        flow = flow_of()
        write(flow, {"1": 1, "2": 2})
        run_flow(flow, target=mes)
        kept = Ledger(flow.flow)
        kept.append([_without_digest(entry) for entry in ledger.rows(flow.flow)])
        assert numbers(run_flow(flow, target=mes)) == (0, 0, 0)
        assert [entry.source_digest is not None for entry in ledger.rows(flow.flow)] == [True, True]
        steps = len(ledger.history(flow.flow, "1"))
        run_flow(flow, target=mes)
        assert len(ledger.history(flow.flow, "1")) == steps

    def test_pieces_of_the_keys_are_disjoint_and_whole(
        self, mes: MemoryTarget, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(plan, "PIECE_ROWS", 7)
        flow = flow_of(
            operations=["create", "update", "delete"], guards={"approve_deletes": False, "max_delete_share": 1}
        )
        write(flow, {str(number): number for number in range(60)})
        assert numbers(run_flow(flow, target=mes)) == (60, 60, 60)
        write(flow, {str(number): number + (number < 5) for number in range(50)})
        result = run_flow(flow, target=mes)
        assert numbers(result) == (15, 15, 15)
        assert sorted(mes.records) == sorted(str(number) for number in range(50))

    def test_values_with_separators_and_nulls_make_different_digests(self, mes: MemoryTarget) -> None:
        flow = flow_of(payload={"orderNo": "order_no", "status": {"column": "status", "send_null": True}, "p": "part"})
        write(flow, {"1": 1}, status="a:1", part="b")
        run_flow(flow, target=mes)
        write(flow, {"1": 1}, status="a", part="1:b")
        assert run_flow(flow, target=mes).sent == 1
        write(flow, {"1": 1}, status=None, part="1:b")
        assert run_flow(flow, target=mes).sent == 1
        assert mes.records["1"]["status"] is None


def _without_digest(entry: ledger.Entry) -> ledger.Entry:
    from dataclasses import replace

    return replace(entry, step=entry.step + 1, source_digest=None, wanted_hash=None, at=datetime.now(UTC))


class TestGuards:
    def test_a_dry_run_tells_counts_and_samples_before_and_after_and_changes_nothing(self, mes: MemoryTarget) -> None:
        flow = flow_of(operations=["create", "update", "delete"])
        write(flow, {"1": 1, "2": 2})
        run_flow(flow, target=mes)
        steps, sent = len(ledger.history(flow.flow, "1")), list(mes.log)
        write(flow, {"1": 10, "3": 3})
        told = dry_run(flow, target=mes)
        assert (told.new, told.changed, told.deletes, told.known, told.changes) == (1, 1, 1, 2, 3)
        samples = {one.key: one for one in told.samples}
        assert (samples["1"].before or {})["quantity"] == 1
        assert (samples["1"].after or {})["quantity"] == 10
        assert (samples["2"].change, samples["2"].after) == ("delete", None)
        assert (samples["3"].change, samples["3"].before) == ("create", None)
        assert any("ceiling is 10.0%" in words for words in told.holds)
        assert (len(ledger.history(flow.flow, "1")), mes.log) == (steps, sent)

    @pytest.mark.parametrize(
        ("guards", "words"),
        [
            ({"max_changes": 2}, "3 changes, and the ceiling is 2"),
            ({"max_share": 0.5}, r"3 changes are 75.0% of the 4 rows known, and the ceiling is 50.0%"),
        ],
    )
    def test_a_plan_beyond_its_ceiling_is_not_planned_until_a_person_lets_it_through_once(
        self, mes: MemoryTarget, guards: dict[str, Any], words: str
    ) -> None:
        flow = flow_of()
        write(flow, dict.fromkeys("1234", 1))
        run_flow(flow, target=mes)
        guarded = flow.model_copy(
            update={"guards": FlowConfig.model_validate({**_dumped(flow), "guards": guards}).guards}
        )
        write(guarded, {"1": 2, "2": 2, "3": 2, "4": 1})
        stopped = run_flow(guarded, target=mes)
        assert words in str(stopped.stopped)
        assert (stopped.sent, stopped.ok, states(flow)) == (0, False, {"verified": 4})
        few = decide(flow, "approve", plan=decisions.CEILING, payload={"changes": 2, "deletes": 0})
        assert run_flow(guarded, target=mes).sent == 0
        decisions.undo(few.id, who="wang", why="too few")
        made = decide(flow, "approve", plan=decisions.CEILING, payload={"changes": 3, "deletes": 0})
        assert run_flow(guarded, target=mes).verified == 3
        assert decisions.history(flow.flow)[0].outcome == "let through: 3 changes, 0 of them deletes"
        write(guarded, {"1": 3, "2": 3, "3": 3, "4": 1})
        assert run_flow(guarded, target=mes).sent == 0, f"decision {made.id} was for once"

    def test_many_changes_wait_for_approval_and_go_out_or_are_given_up_as_a_person_says(
        self, mes: MemoryTarget
    ) -> None:
        flow = flow_of(guards={"approve_above": 2})
        write(flow, {"1": 1, "2": 2, "3": 3})
        waits = run_flow(flow, target=mes)
        assert (waits.waiting_for_approval, waits.sent, waits.ok, waits.is_green) == (3, 0, True, False)
        assert run_flow(flow, target=mes).waiting_for_approval == 3
        decide(flow, "reject", "2")
        decide(flow, "approve", plan=(ledger.row(flow.flow, "1") or _none()).plan)
        result = run_flow(flow, target=mes)
        assert (result.verified, result.cancelled, result.is_green) == (2, 1, True)
        assert sorted(mes.records) == ["1", "3"]
        told = [one for one in reversed(decisions.history(flow.flow)) if one.flow == flow.flow]
        assert [(one.kind, one.outcome) for one in told] == [
            ("reject", "cancelled: reject by wang: I looked at it"),
            ("approve", "carried out on 2 rows"),
        ]
        assert walked(flow, "1") == ["waiting_for_approval", "planned", "sent", "verified"]
        assert run_flow(flow, target=mes).planned == 0, "what was rejected is not planned again as it is"
        write(flow, {"1": 1, "2": 22, "3": 3})
        assert run_flow(flow, target=mes).verified == 1

    def test_nothing_is_sent_in_a_freeze_and_all_of_it_after(self, mes: MemoryTarget) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        freeze = {
            "why": "month-end close",
            "timezone": "UTC",
            "starts": now - timedelta(hours=1),
            "ends": now + timedelta(hours=1),
        }
        flow = flow_of(guards={"freeze": [freeze]})
        write(flow, {"1": 1})
        frozen = run_flow(flow, target=mes)
        assert (frozen.sent, frozen.waiting, frozen.ok, frozen.is_green) == (0, 1, True, False)
        assert "month-end close" in frozen.held
        assert states(flow) == {"planned": 1}
        thawed = flow.model_copy(update={"guards": flow_of().guards})
        assert run_flow(thawed, target=mes).verified == 1

    def test_the_kill_switch_stops_a_run_before_its_next_chunk_and_every_later_one(self, mes: MemoryTarget) -> None:
        flow = flow_of(chunk_rows=2)
        write(flow, dict.fromkeys("12345", 1))

        def pull(step: str, _what: str) -> None:
            if step == "recorded" and len(mes.log) == 2:
                decisions.decide(flow.flow, "pause", who="wang", why="wrong prices")

        first = run_flow(flow, target=mes, on_step=pull)
        assert (first.sent, first.verified, first.waiting, first.ok) == (2, 2, 3, True)
        assert "wang decided pause" in first.held
        assert "wrong prices" in run_flow(flow, target=mes).held
        assert len(mes.log) == 2
        decisions.decide(flow.flow, "resume", who="li", why="prices are right")
        assert run_flow(flow, target=mes).verified == 3

    def test_changes_are_not_sent_faster_than_the_rate(self, mes: MemoryTarget) -> None:
        flow = flow_of(rate=20)
        write(flow, {str(number): 1 for number in range(45)})
        run_flow(flow, target=mes)
        for at in range(20, 45):
            assert mes.times[at] - mes.times[at - 20] > 0.9


class TestConflicts:
    @staticmethod
    def _contested(flow: FlowConfig, mes: MemoryTarget) -> FlowResult:
        write(flow, {"1": 1})
        run_flow(flow, target=mes)
        write(flow, {"1": 2})

        def other(change: Change) -> None:
            mes.records[change.key].update(quantity=9, v=99)
            mes.meanwhile = lambda _change: None

        mes.meanwhile = other
        return run_flow(flow, target=mes)

    def test_by_default_a_person_is_asked_and_sees_both_values(self, mes: MemoryTarget) -> None:
        flow = flow_of()
        result = self._contested(flow, mes)
        assert (result.conflict, result.ok, mes.records["1"]["quantity"]) == (1, False, 9)
        steps = len(ledger.history(flow.flow, "1"))
        again = run_flow(flow, target=mes)
        assert (again.conflict, again.sent) == (1, 0)
        assert len(ledger.history(flow.flow, "1")) == steps
        [shown] = ledger.rows(flow.flow, ["conflict"])
        assert json.loads(shown.payload or "")["quantity"] == 2
        assert json.loads(shown.held or "")["quantity"] == 9

    @pytest.mark.parametrize(
        ("kind", "held", "state"), [("accept_ours", 2, "verified"), ("accept_theirs", 9, "cancelled")]
    )
    def test_a_person_settles_it_and_it_stays_so(self, mes: MemoryTarget, kind: Kind, held: int, state: str) -> None:
        flow = flow_of()
        self._contested(flow, mes)
        made = decide(flow, kind, "1")
        result = run_flow(flow, target=mes)
        assert (result.is_green, mes.records["1"]["quantity"], states(flow)) == (True, held, {state: 1})
        last = ledger.row(flow.flow, "1")
        assert last is not None
        assert last.decision == made.id
        assert numbers(run_flow(flow, target=mes)) == (0, 0, 0)
        assert decisions.history(flow.flow, "1")[0].carried_out_at is not None

    @pytest.mark.parametrize(("rule", "held"), [("ours", 2), ("theirs", 9)])
    def test_the_flows_rule_settles_it_at_once_and_the_ledger_shows_it(
        self, mes: MemoryTarget, rule: str, held: int
    ) -> None:
        flow = flow_of(on_conflict=rule)
        result = self._contested(flow, mes)
        assert (result.is_green, mes.records["1"]["quantity"]) == (True, held)
        assert "conflict" in walked(flow, "1")
        assert numbers(run_flow(flow, target=mes)) == (0, 0, 0)

    def test_ours_is_no_way_out_where_the_flow_may_only_create(self, mes: MemoryTarget) -> None:
        flow = flow_of(operations=["create"])
        mes.records["1"] = {"orderNo": "1", "quantity": 5, "status": "NEW", "v": 1}
        write(flow, {"1": 1})
        assert run_flow(flow, target=mes).conflict == 1
        decide(flow, "accept_ours", "1")
        assert run_flow(flow, target=mes).conflict == 1
        assert decisions.history(flow.flow)[0].outcome == (
            "not carried out: the flow may not change a record that exists"
        )
        decide(flow, "accept_theirs", "1")
        assert run_flow(flow, target=mes).is_green


class TestFailures:
    def test_a_refused_row_comes_back_later_and_later_and_rests_in_the_end(self, mes: MemoryTarget) -> None:
        flow = flow_of(retry={"wait_seconds": 3600, "attempts": 2})
        write(flow, {"1": 1, "2": 2})
        mes.refuse["1"] = "material is blocked"
        assert run_flow(flow, target=mes).failed == 1
        entry = ledger.row(flow.flow, "1")
        assert entry is not None
        assert entry.next_at is not None
        assert timedelta(minutes=59) < entry.next_at - datetime.now(UTC) <= timedelta(hours=1)
        rests = run_flow(flow, target=mes)
        assert (rests.failed, rests.sent, rests.ok) == (1, 0, False)
        at_once = flow.model_copy(update={"retry": flow_of().retry.model_copy(update={"attempts": 2})})
        decide(flow, "retry", "1")
        run_flow(at_once, target=mes)
        assert walked(flow, "1").count("failed") == 2
        dead = run_flow(at_once, target=mes)
        assert (dead.dead, dead.sent, dead.ok) == (1, 1, False)
        assert "material is blocked" in dead.problems["1"]
        assert run_flow(at_once, target=mes).sent == 0

    def test_a_dead_letter_is_mended_sent_and_stays_mended(self, mes: MemoryTarget) -> None:
        flow = flow_of(retry={"attempts": 1})
        write(flow, {"1": 1, "2": 2})
        mes.refuse["1"] = "status NEW is not known"
        assert run_flow(flow, target=mes).dead == 1
        decide(flow, "mend", "1", payload={"colour": "red"})
        assert run_flow(flow, target=mes).dead == 1
        assert decisions.history(flow.flow, "1")[0].outcome == "not carried out: the flow does not write colour"
        decide(flow, "mend", "1", payload={"quantity": "many"})
        run_flow(flow, target=mes)
        assert "'many' is no integer" in str(decisions.history(flow.flow, "1")[0].outcome)
        decide(flow, "mend", "1", payload={"orderNo": "2"})
        run_flow(flow, target=mes)
        assert "orderNo is the record's key" in str(decisions.history(flow.flow, "1")[0].outcome)
        assert set(mes.records) == {"2"}
        mes.refuse.clear()
        decide(flow, "mend", "1", payload={"status": "OPEN", "quantity": "7"})
        assert run_flow(flow, target=mes).is_green
        assert {name: mes.records["1"][name] for name in ("status", "quantity")} == {"status": "OPEN", "quantity": 7}
        assert numbers(run_flow(flow, target=mes)) == (0, 0, 0)
        write(flow, {"1": 11, "2": 2})
        assert run_flow(flow, target=mes).verified == 1
        assert mes.records["1"]["status"] == "NEW", "the serve table asks for something else now"

    def test_a_mended_value_that_the_contract_refuses_by_now_is_not_sent(
        self, mes: MemoryTarget, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flow = flow_of(retry={"attempts": 1}, payload={"orderNo": "order_no", "quantity": "quantity"})
        write(flow, {"1": 1})
        mes.refuse["1"] = "too few"
        assert run_flow(flow, target=mes).dead == 1
        mes.refuse.clear()
        decide(flow, "mend", "1", payload={"quantity": "-5"})
        with monkeypatch.context() as patch:
            patch.setattr(schemas, "contract_of", lambda _: contract("mes__work_order"))
            assert run_flow(flow, target=mes).dead == 1
        assert "not carried out: quantity: -5 is less than" in str(decisions.history(flow.flow, "1")[0].outcome)
        assert mes.records == {}

    def test_all_dead_letters_are_retried_at_once_and_cancelled_ones_stay_away(self, mes: MemoryTarget) -> None:
        flow = flow_of(retry={"attempts": 1})
        write(flow, dict.fromkeys("1234", 1))
        mes.refuse = dict.fromkeys("1234", "closed period")
        assert run_flow(flow, target=mes).dead == 4
        mes.refuse.clear()
        decide(flow, "cancel", "4")
        decide(flow, "retry")
        result = run_flow(flow, target=mes)
        assert (result.verified, result.cancelled, result.is_green) == (3, 1, True)
        assert decisions.history(flow.flow)[0].outcome == "carried out on 3 rows"
        assert sorted(mes.records) == ["1", "2", "3"]
        assert decisions.waiting(flow.flow) == []

    def test_a_decision_about_a_row_that_went_on_by_itself_is_told(self, mes: MemoryTarget) -> None:
        flow = flow_of()
        write(flow, {"1": 1})
        mes.refuse["1"] = "busy"
        run_flow(flow, target=mes)
        decide(flow, "cancel", "1")
        write(flow, {"1": 2})
        mes.refuse.clear()
        assert run_flow(flow, target=mes).verified == 1
        assert decisions.history(flow.flow)[0].outcome == "not carried out: something else is wanted by now"


class TestDeletesAndActions:
    def test_a_key_that_left_the_serve_table_is_deleted_once_a_person_said_so(self, mes: MemoryTarget) -> None:
        flow = flow_of(operations=["create", "update", "delete"], guards={"max_delete_share": None})
        write(flow, {"1": 1, "2": 2})
        run_flow(flow, target=mes)
        mes.records["9"] = {"orderNo": "9", "v": 1}
        write(flow, {"1": 1})
        assert run_flow(flow, target=mes).waiting_for_approval == 1
        decide(flow, "approve")
        assert run_flow(flow, target=mes).is_green
        assert sorted(mes.records) == ["1", "9"], "what we never wrote is not ours to delete"
        assert walked(flow, "2")[-4:] == ["waiting_for_approval", "planned", "sent", "verified"]
        assert numbers(run_flow(flow, target=mes)) == (0, 0, 0)
        write(flow, {"1": 1, "2": 2})
        assert run_flow(flow, target=mes).verified == 1
        assert mes.records["2"]["quantity"] == 2

    def test_a_key_that_came_back_before_its_delete_was_approved_is_not_deleted(self, mes: MemoryTarget) -> None:
        flow = flow_of(operations=["create", "update", "delete"], guards={"max_delete_share": None})
        write(flow, {"1": 1, "2": 2})
        run_flow(flow, target=mes)
        write(flow, {"1": 1})
        run_flow(flow, target=mes)
        decide(flow, "approve")
        write(flow, {"1": 1, "2": 2})
        result = run_flow(flow, target=mes)
        assert (result.verified, result.sent, sorted(mes.records)) == (1, 0, ["1", "2"])

    def test_an_empty_serve_table_deletes_nothing(self, mes: MemoryTarget) -> None:
        flow = flow_of(operations=["create", "update", "delete"], guards={"approve_deletes": False})
        write(flow, {str(number): 1 for number in range(20)})
        run_flow(flow, target=mes)
        write(flow, {})
        result = run_flow(flow, target=mes)
        assert "20 deletes are 100.0% of the 20 rows known" in str(result.stopped)
        assert len(mes.records) == 20
        assert not any(operation == "delete" for operation, _ in mes.log)

    def test_where_a_flow_may_not_delete_a_key_that_left_stays(self, mes: MemoryTarget) -> None:
        flow = flow_of()
        write(flow, {"1": 1, "2": 2})
        run_flow(flow, target=mes)
        write(flow, {"1": 1})
        assert numbers(run_flow(flow, target=mes)) == (0, 0, 0)
        assert len(mes.records) == 2

    def test_a_delete_of_what_somebody_changed_in_between_is_a_conflict(self, mes: MemoryTarget) -> None:
        flow = flow_of(operations=["create", "delete"], guards={"max_delete_share": None, "approve_deletes": False})
        write(flow, {"1": 1})
        run_flow(flow, target=mes)
        write(flow, {})
        mes.meanwhile = lambda change: mes.records[change.key].update(quantity=77, v=50)
        result = run_flow(flow, target=mes)
        assert (result.conflict, mes.records["1"]["quantity"]) == (1, 77)
        mes.meanwhile = lambda _change: None
        decide(flow, "accept_ours", "1")
        assert run_flow(flow, target=mes).is_green
        assert not mes.records

    def test_an_action_brings_a_record_to_its_state_and_is_not_called_twice(self, mes: MemoryTarget) -> None:
        flow = flow_of(
            operations=["call"],
            payload={"orderNo": "order_no", "status": "status"},
            action={"name": "release", "parameters": {"to": "status"}},
        )
        mes.records["1"] = {"orderNo": "1", "status": "NEW", "v": 1}
        mes.records["2"] = {"orderNo": "2", "status": "RELEASED", "v": 1}
        write(flow, {"1": 1, "2": 1, "3": 1}, status="RELEASED")
        result = run_flow(flow, target=mes)
        assert mes.log == [("call", "1")]
        assert (result.verified, result.already, result.failed) == (2, 1, 1)
        assert mes.records["1"]["status"] == "RELEASED"
        assert "no such record" in result.problems["3"]

    def test_what_the_target_cannot_do_is_named_before_anything_is_sent(self, mes: MemoryTarget) -> None:
        mes.operations = frozenset({"create", "update"})
        flow = flow_of(operations=["create", "delete"])
        write(flow, {"1": 1})
        with pytest.raises(ConfigurationError, match="may delete, which its target mes cannot"):
            run_flow(flow, target=mes)
        assert not mes.log


class TestOrder:
    def test_a_flow_waits_until_the_one_before_it_is_done(self, mes: MemoryTarget) -> None:
        first = flow_of()
        second = flow_of(after=[first.flow])
        for flow in (first, second):
            write(flow, {"1": 1})
        mes.refuse["1"] = "closed"
        run_flow(first, target=mes)
        waits = run_flow(second, target=MemoryTarget())
        assert f"flow {first.flow} comes first and is not done: 1 failed" in waits.held
        assert (waits.sent, waits.waiting, waits.is_green) == (0, 1, False)
        mes.refuse.clear()
        run_flow(first, target=mes)
        assert run_flow(second, target=MemoryTarget()).is_green

    def test_a_row_waits_for_its_own_counterpart_alone(self, mes: MemoryTarget) -> None:
        orders = flow_of()
        lines = flow_of(after=[{"flow": orders.flow, "by": "part"}])
        write(orders, {"A": 1, "B": 1})
        mes.refuse["B"] = "closed"
        run_flow(orders, target=mes)
        now = settings()
        rows = [
            {"order_no": key, "quantity": 1, "status": "NEW", "part": part}
            for key, part in (("1", "A"), ("2", "B"), ("3", "nobody's"), ("4", None))
        ]
        write_deltalake(
            now.table_uri(lines.table),
            pa.Table.from_pylist(rows, schema=SCHEMA),
            storage_options=now.storage_options(),
        )
        let_read(lines.table)
        other = MemoryTarget()
        waits = run_flow(lines, target=other)
        assert (waits.verified, waits.gated, waits.waiting, waits.ok, waits.is_green) == (3, 1, 1, True, False)
        assert sorted(other.records) == ["1", "3", "4"]
        mes.refuse.clear()
        run_flow(orders, target=mes)
        assert run_flow(lines, target=other).is_green
        assert sorted(other.records) == ["1", "2", "3", "4"]


def test_two_people_who_pause_and_decide_while_a_run_is_at_it_do_not_hurt_it(mes: MemoryTarget) -> None:
    flow = flow_of(chunk_rows=5, retry={"attempts": 1})
    write(flow, {f"{number:02d}": 1 for number in range(40)})
    mes.refuse = {f"{number:02d}": "no" for number in range(0, 40, 4)}
    run_flow(flow, target=mes)
    mes.refuse.clear()

    def person(keys: range) -> None:
        for number in keys:
            decisions.decide(flow.flow, "retry", key=f"{number:02d}", who="wang", why="again")

    people = [threading.Thread(target=person, args=(keys,)) for keys in (range(0, 20, 4), range(20, 40, 4))]
    for one in people:
        one.start()
    for _ in range(4):
        run_flow(flow, target=mes)
    for one in people:
        one.join()
    run_flow(flow, target=mes)
    assert states(flow) == {"verified": 40}
    assert len([key for _, key in mes.log]) == 50, "40 first, and each of the 10 refused once more"
    assert decisions.waiting(flow.flow) == []


def _dumped(flow: FlowConfig) -> dict[str, Any]:
    return flow.model_dump(by_alias=True)


def _none() -> ledger.Entry:
    raise AssertionError("the ledger does not know the row")
