"""Acknowledgements: a 997 for each functional group, a CONTRL for each EDIFACT interchange.

Sources: ASC X12 004010 transaction set 997 (AK1, AK2, AK5, AK9); UN/EDIFACT CONTRL, D.3 (UCI, UCM). Of the messages,
those are named that were refused; the others count as accepted, as both standards allow.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

from datong_ingestion.documents.edi.reading import Answer


def to_json(answer: Answer, number: int) -> dict[str, Any]:
    """What a position keeps of an answer to be given; `number` is its own control number."""
    envelope = answer.envelope
    return {
        "standard": envelope.standard,
        "number": number,
        "at": datetime.now(UTC).strftime("%Y%m%d%H%M"),
        "from": [envelope.receiver_qualifier, envelope.receiver],
        "to": [envelope.sender_qualifier, envelope.sender],
        "control": envelope.interchange,
        "test": envelope.is_test,
        "head": envelope.raw,
        "group": [envelope.group_kind, envelope.group, envelope.group_receiver, envelope.group_sender],
        "version": envelope.version,
        "said": answer.said,
        "received": answer.received,
        "code": answer.code,
        "refused": answer.refused,
    }


def file_name(answer: dict[str, Any]) -> str:
    """The name of the file that an answer becomes; the same answer has the same name."""
    kind = "997" if answer["standard"] == "x12" else "CONTRL"
    digest = hashlib.sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()[:8]
    sender = re.sub(r"[^A-Za-z0-9]+", "_", answer["to"][1])
    parts = [kind, sender, re.sub(r"[^A-Za-z0-9]+", "_", answer["control"]), f"{answer['number']:09d}", digest]
    return "_".join(parts) + ".edi"


def text(answer: dict[str, Any]) -> bytes:
    """The acknowledgement, ready to be sent."""
    return (_x12(answer) if answer["standard"] == "x12" else _edifact(answer)).encode("latin-1", "replace")


def _x12(answer: dict[str, Any]) -> str:
    head, number, at = answer["head"], answer["number"], answer["at"]
    kind, control, sender, receiver = answer["group"]
    version = answer["version"] or "004010"
    refused = answer["refused"]
    accepted = 0 if answer["code"] else answer["received"] - len(refused)
    state = "A" if not refused else "P"
    if answer["code"] or (refused and not accepted):
        state = "R"
    # ISA11 is a standards identifier before version 00402, and a repetition separator from then on
    body = [f"ST*997*{number % 10**9:04d}", f"AK1*{kind}*{control}"]
    for one, message, _, code in refused:
        body += [f"AK2*{one}*{message}", f"AK5*R*{code}"]
    last = f"AK9*{state}*{max(answer['said'], 0)}*{answer['received']}*{accepted}"
    body.append(f"{last}*{answer['code']}" if answer["code"] else last)
    body.append(f"SE*{len(body) + 1}*{number % 10**9:04d}")
    isa = [
        "ISA",
        "00",
        " " * 10,
        "00",
        " " * 10,
        answer["from"][0].ljust(2),
        answer["from"][1].ljust(15),
        answer["to"][0].ljust(2),
        answer["to"][1].ljust(15),
        at[2:8],
        at[8:12],
        head[11] if head[12] < "00402" else "^",
        head[12],
        f"{number % 10**9:09d}",
        "0",
        "T" if answer["test"] else "P",
        ">",
    ]
    segments = [
        "*".join(isa),
        f"GS*FA*{sender}*{receiver}*{at[:8]}*{at[8:12]}*{number}*X*{version}",
        *body,
        f"GE*1*{number}",
        f"IEA*1*{number % 10**9:09d}",
    ]
    return "".join(f"{segment}~\n" for segment in segments)


def _edifact(answer: dict[str, Any]) -> str:
    def party(parts: list[str]) -> str:
        qualifier, name = parts
        return f"{_released(name)}:{_released(qualifier)}" if qualifier else _released(name)

    number, at, head = answer["number"], answer["at"], answer["head"]
    own, other, control = party(answer["from"]), party(answer["to"]), _released(answer["control"])
    reference = f"{number:09d}"
    # 4: rejected; 7: this level accepted, and the next where it is not named
    uci = f"UCI+{control}+{other}+{own}+{'4' if answer['code'] else '7'}"
    body = ["UNH+1+CONTRL:D:3:UN", f"{uci}+{answer['code']}" if answer["code"] else uci]
    for kind, message, version, code in answer["refused"]:
        named = ":".join([_released(kind), *[_released(part) for part in version.split(":") if part]])
        body.append(f"UCM+{_released(message)}+{named}+4+{code}")
    body.append(f"UNT+{len(body) + 1}+1")
    test = "++++++1" if answer["test"] else ""
    level = head[0] if head[0] in {"UNOA", "UNOB", "UNOC"} else "UNOC"
    segments = [
        f"UNB+{level}:3+{own}+{other}+{at[2:8]}:{at[8:12]}+{reference}{test}",
        *body,
        f"UNZ+1+{reference}",
    ]
    return "".join(f"{segment}'\n" for segment in segments)


def _released(text_: str) -> str:
    return re.sub(r"([?+:'])", r"?\1", text_)
