"""EDI out: 855, 856, ORDRSP and DESADV as their readers take them, each interchange once, verified by its answer."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion.documents.edi import answering
from datong_ingestion.documents.edi.reading import Interchanges, Message
from datong_ingestion.documents.edi.syntax import Segments
from datong_ingestion.systems_config import SystemConfig
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.payload import Confirmed, PayloadBuilder
from datong_ingestion.write_back.systems import open_target
from datong_ingestion.write_back.target import AwaitedError, Change, Outcome, RefusedLaterError, Target
from datong_platform.settings import Settings

SCHEMA = pa.schema(
    [("order_no", pa.string()), ("part", pa.string()), ("quantity", pa.decimal128(13, 3)), ("due_on", pa.date32())]
)
PAYLOAD = {
    "Order": "order_no",
    "DueOn": "due_on",
    "Lines": [{"Part": "part", "Quantity": "quantity", "Due": "due_on"}],
}
X12 = {
    "855": [
        ["BAK", "00", "AC", "{Order}", "{DueOn:%Y%m%d}"],
        {
            "each": "Lines",
            "segments": [
                ["PO1", "{number}", "{Quantity}", "EA", "", "", "BP", "{Part}"],
                ["ACK", "IA", "{Quantity}", "EA", "067", "{Due:%Y%m%d}"],
            ],
        },
        ["CTT", "{count:Lines}"],
    ],
    "856": [
        ["BSN", "00", "{Order}", "{DueOn:%Y%m%d}", "1200"],
        {
            "each": "Lines",
            "segments": [
                ["HL", "{number}", "", "I"],
                ["LIN", "", "BP", "{Part}"],
                ["SN1", "{number}", "{Quantity}", "EA"],
            ],
        },
        ["CTT", "{count:Lines}"],
    ],
}
EDIFACT = {
    "ORDRSP": [
        ["BGM", "231", "{Order}", "29"],
        ["DTM", ["137", "{DueOn:%Y%m%d}", "102"]],
        {
            "each": "Lines",
            "segments": [["LIN", "{number}", "5", ["{Part}", "BP"]], ["QTY", ["21", "{Quantity}", "PCE"]]],
        },
        ["UNS", "S"],
        ["CNT", ["2", "{count:Lines}"]],
    ],
    "DESADV": [
        ["BGM", "351", "{Order}", "9"],
        ["DTM", ["11", "{DueOn:%Y%m%d}", "102"]],
        ["CPS", "1"],
        {
            "each": "Lines",
            "segments": [["LIN", "{number}", "", ["{Part}", "BP"]], ["QTY", ["12", "{Quantity}", "PCE"]]],
        },
        ["CNT", ["2", "{count:Lines}"]],
    ],
}


class Partner:
    """The other side of an outbox: reads what lies there with a reader of its own, and answers."""

    def __init__(self, folder: Path, message: str) -> None:
        self.folder, self.message = folder, message
        self.name = f"p{uuid.uuid4().hex[:8]}"
        (folder / "in").mkdir()
        self.target = self.open()

    def flow(self, **changes: Any) -> FlowConfig:
        edi = {
            "message": self.message,
            "sender": {"id": "DATONG"},
            "receiver": {"id": self.name.upper()},
            "characters": "UNOY",
            "segments": {**X12, **EDIFACT}[self.message],
            "acknowledgements": "in/*.edi",
            **changes,
        }
        return FlowConfig.model_validate(
            {
                "flow": f"to_{self.name}",
                "source": "serve.test__orders",
                "key": "order_no",
                "target": {
                    "system": self.name,
                    "resource": "out",
                    "lookup": "Order",
                    "identity": ["Order"],
                    "edi": edi,
                },
                "operations": ["create"],
                "payload": PAYLOAD,
            }
        )

    def open(self, **changes: Any) -> Target:
        entity = {"name": "orders", "source": "orders/*.edi", "mode": "full", "options": {"message": "850"}}
        system = {"system": self.name, "protocol": "edi", "connection": {"location": str(self.folder)}}
        return open_target(self.flow(**changes), SystemConfig.model_validate({**system, "entities": [entity]}))

    def change(self, order: str, part: str = "P-1") -> Change:
        row = {"order_no": order, "part": part, "quantity": Decimal("12.500"), "due_on": date(2026, 3, 1)}
        payload = PayloadBuilder(self.flow(), SCHEMA, "xml").build(row)
        return Change(order, payload, str(uuid.uuid5(uuid.NAMESPACE_URL, self.name + order)))

    def send(self, *changes: Change, by: Target | None = None) -> list[Outcome]:
        outcomes = (by or self.target).send(changes, lambda _change, _outcome: None)
        return [outcomes[change.key] for change in changes]

    def state(self, change: Change, by: Target | None = None) -> Any:
        return (by or self.target).lookup([change.key], {change.key: change.idempotency_key})[change.key]

    def outbox(self) -> list[Path]:
        return sorted((self.folder / "out").glob("*.edi"))

    def read(self, path: Path) -> tuple[list[Message], Interchanges]:
        run = Interchanges(lambda _: False, 1 << 20)
        with path.open("rb") as file:
            events = list(run.read(Segments(file, "utf-8", 1 << 20)))
        messages = [event for event in events if isinstance(event, Message)]
        assert all(isinstance(event, Message) or getattr(event, "refusal", None) is None for event in events), events
        return messages, run

    def answer(self, path: Path, code: str = "") -> None:
        """A 997 or a CONTRL, as `answering` makes them; with a code the message is rejected."""
        _, run = self.read(path)
        [answer] = run.answers
        if code:
            envelope = answer.envelope
            answer.refused.append((self.message, envelope.message or "1", envelope.version, code))
        text = answering.text(answering.to_json(answer, 7))
        (self.folder / "in" / f"answer_{path.stem}.edi").write_bytes(text)


@pytest.fixture
def partner(services: Settings, tmp_path: Path) -> Callable[[str], Partner]:
    return lambda message: Partner(tmp_path, message)


@pytest.mark.parametrize("message", [*X12, *EDIFACT])
def test_a_message_is_what_its_reader_expects_and_verified_by_the_answer(
    partner: Callable[[str], Partner], message: str
) -> None:
    other = partner(message)
    change = other.change("PO-77", "Schraube + Mutter 'M8' ? 螺栓" if message in EDIFACT else "Schraube M8 螺栓")
    assert other.state(change) == []
    [outcome] = other.send(change)
    assert (outcome.kind, outcome.target_key) == ("accepted", "000000001")
    [path] = other.outbox()
    [[read], _] = other.read(path)
    assert (read.envelope.kind, read.envelope.sender, read.envelope.interchange) == (message, "DATONG", "000000001")
    texts = str(read.segments)
    assert all(text in texts for text in ("PO-77", "螺栓", "12.500", "20260301"))
    if message in EDIFACT:
        [line] = [segment for segment in read.segments if segment[0] == "LIN"]
        assert line[3] == ["Schraube + Mutter 'M8' ? 螺栓", "BP"]
    assert isinstance(other.state(change), AwaitedError), "nothing is verified before the partner answers"
    other.answer(path)
    [found] = other.state(change)
    assert isinstance(found.fields, Confirmed)
    assert found.target_key == "000000001"
    assert [item.target_key for item in other.state(change, by=other.open())] == ["000000001"], "a later run knows it"


@pytest.mark.parametrize(("message", "code"), [("855", "5"), ("ORDRSP", "12")])
def test_a_rejection_is_told_in_the_partners_codes(partner: Callable[[str], Partner], message: str, code: str) -> None:
    other = partner(message)
    first, second = other.change("PO-1"), other.change("PO-2")
    other.send(first, second)
    other.answer(other.outbox()[0], code)
    other.answer(other.outbox()[1])
    state = other.state(first)
    assert isinstance(state, RefusedLaterError)
    assert code in state.reason
    assert isinstance(other.state(second), list)


def test_a_change_that_is_sent_again_is_the_very_same_interchange(partner: Callable[[str], Partner]) -> None:
    other = partner("855")
    changes = [other.change(f"PO-{n}") for n in range(3)]
    other.send(*changes)
    before = {path.name: path.read_bytes() for path in other.outbox()}
    assert len(before) == 3
    again = other.open()
    assert [outcome.target_key for outcome in other.send(*reversed(changes), by=again)] == [
        "000000003",
        "000000002",
        "000000001",
    ]
    assert {path.name: path.read_bytes() for path in other.outbox()} == before
    other.outbox()[1].unlink()
    other.send(changes[1], by=again)
    assert {path.name: path.read_bytes() for path in other.outbox()} == before, "lost and made anew"


def test_control_numbers_go_on_without_a_gap_or_a_repeat_whoever_sends(partner: Callable[[str], Partner]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    other = partner("855")

    def run(worker: int) -> list[Outcome]:
        target = other.open()
        try:
            return other.send(*[other.change(f"PO-{worker}-{n}") for n in range(10)], by=target)
        finally:
            target.close()

    with ThreadPoolExecutor(4) as pool:
        told = [outcome for outcomes in pool.map(run, range(4)) for outcome in outcomes]
    assert sorted(outcome.target_key or "" for outcome in told) == [f"{n:09d}" for n in range(1, 41)]


def test_a_separator_in_a_value_is_a_refusal_in_x12_and_changes_nothing(partner: Callable[[str], Partner]) -> None:
    other = partner("855")
    [outcome] = other.send(other.change("PO-1", "Schraube*M8~"))
    assert outcome.kind == "refused"
    assert "Part: 'Schraube*M8~' holds '*' '~'" in outcome.words
    assert other.outbox() == []
    assert other.send(other.change("PO-2"))[0].target_key == "000000001", "no number was used up"


def test_answers_of_others_and_to_others_count_for_nothing(partner: Callable[[str], Partner], tmp_path: Path) -> None:
    other = partner("855")
    change = other.change("PO-1")
    other.send(change)
    other.answer(other.outbox()[0])
    [path] = (tmp_path / "in").glob("*.edi")
    right = path.read_bytes()
    path.write_bytes(right.replace(other.name.upper().encode(), b"P" + b"0" * 8))
    assert isinstance(other.state(change), AwaitedError), "another partner's"
    path.write_bytes(right.replace(b"AK1*PR*1", b"AK1*PR*2"))
    assert isinstance(other.state(change, by=other.open()), AwaitedError), "to another interchange"
    path.write_bytes(right)
    assert isinstance(other.state(change), list)


def test_without_acknowledgements_the_interchange_in_the_outbox_is_what_counts(
    partner: Callable[[str], Partner],
) -> None:
    other = partner("856")
    target = other.open(acknowledgements="")
    change = other.change("PO-1")
    assert other.state(change, by=target) == []
    other.send(change, by=target)
    assert isinstance(other.state(change, by=target), list)
    assert io.BytesIO(other.outbox()[0].read_bytes()).read(3) == b"ISA"
