"""EDI: messages taken together give what they give one by one, whatever they hold."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion.documents.edi import reading, syntax
from datong_ingestion.protocols.edi import Edi
from datong_ingestion.systems_config import SystemConfig

PLAIN = ["", "A1", "Bearing 6204", "12,5", "7.25", "20240131"]
ODD = ["20240231", "é", "零件", '1/2" bolt', "a\\b", "x\ny", "\t"]
SEGMENTS = {
    "850": ["PO1", "PID", "N1", "DTM", "CUR", "REF", "CTT"],
    "856": ["HL", "LIN", "SN1", "MAN", "PRF"],
    "ORDERS": ["LIN", "PIA", "IMD", "QTY", "PRI", "MOA", "DTM", "NAD", "CUX", "UNS", "CNT"],
    "DESADV": ["CPS", "LIN", "PAC", "QTY", "RFF", "PIA", "CNT"],
}
FIRST = {"850": "BEG", "856": "BSN", "ORDERS": "BGM", "DESADV": "BGM"}
QUALIFIERS = ["BY", "ST", "SU", "002", "137", "21", "12", "AAA", "BP", "ON"]


def element(dice: random.Random, signs: list[str], *, odd: float) -> str:
    """A text or a composite, with every sign that would be a separator released, or taken out."""

    def text() -> str:
        found = dice.choice(QUALIFIERS if dice.random() < 0.3 else ODD if dice.random() < odd else PLAIN)
        if signs[3] and dice.random() < odd:
            found += "".join(signs[3] + sign for sign in dice.sample([signs[0], signs[1], signs[2], signs[3]], 2))
        return found

    if dice.random() < (0.4 if signs[3] else odd / 4):
        return signs[1].join(text() for _ in range(dice.randint(2, 4)))
    return text()


def message(dice: random.Random, kind: str, number: int, signs: list[str], *, odd: float) -> str:
    """A message with segments in any order."""
    separator, _, end, _ = signs
    tags = [FIRST[kind], *dice.choices(SEGMENTS[kind], k=dice.randint(2, 14))]
    if dice.random() < odd / 20:
        tags[0] = "XXX"
    body = [separator.join([tag, *[element(dice, signs, odd=odd) for _ in range(dice.randint(0, 9))]]) for tag in tags]
    if dice.random() < odd / 20:
        body.insert(1, "?strange" if not signs[3] else "LONGTAG")
    is_x12 = kind.isdigit()
    count = len(body) + 2 + (dice.random() < odd / 10)
    named = f"{number:04d}" if is_x12 else str(number)
    head = ["ST", kind, named] if is_x12 else ["UNH", named, signs[1].join([kind, "D", "96A", "UN"])]
    tail = ["SE" if is_x12 else "UNT", str(count), named]
    gap = dice.choice(["", "\n", "\r\n"])
    return "".join(f"{gap}{one}{end}" for one in [separator.join(head), *body, separator.join(tail)])


def interchange(dice: random.Random, kinds: list[str], control: int, signs: list[str], *, odd: float) -> str:
    """An interchange of one group with many messages."""
    separator, component, end, release = signs
    messages = [message(dice, dice.choice(kinds), n, signs, odd=odd) for n in range(1, dice.randint(2, 60))]
    if dice.random() < odd:
        messages.append(messages[0])
    if kinds[0].isdigit():
        parties = ["ISA", "00", " " * 10, "00", " " * 10, "ZZ", f"{'BUYER':15}", "ZZ", f"{'SELLER':15}"]
        isa = separator.join([*parties, "240131", "1200", "U", "00401", f"{control:09d}", "0", "P", component])
        kind = "PO" if kinds[0] == "850" else "SH"
        group = separator.join(["GS", kind, "B", "S", "20240131", "1200", "7", "X", "004010"])
        tails = [separator.join(["GE", str(len(messages)), "7"]), separator.join(["IEA", "1", f"{control:09d}"])]
        return "".join([isa, end, group, end, *messages, tails[0], end, tails[1], end])
    una = f"UNA{component}{separator}.{release} {end}"
    unb = separator.join(["UNB", f"UNOY{component}4", f"B{component}14", "S", f"240131{component}1200", str(control)])
    return f"{una}{unb}{end}{''.join(messages)}UNZ{separator}{len(messages)}{separator}{control}{end}"


def read(folder: Path, options: dict[str, Any]) -> tuple[pa.Table, list[Any], Any]:
    """Rows with what was rescued, refusals, and the answers that the position keeps."""
    system = SystemConfig.model_validate(
        {
            "system": "partners",
            "protocol": "edi",
            "connection": {"location": str(folder), "outbox": str(folder), "settle_seconds": 0},
            "entities": [{"name": "one", "source": "*.edi", "mode": "stream", "options": options}],
        }
    )
    source, entity = Edi(system), system.entity("one")
    rows, refused, position = [], [], ""
    for page in source.read(entity, source.describe(entity), None):
        rescued = page.rescued if page.rescued is not None else pa.nulls(len(page.rows), pa.string())
        rows.append(page.rows.append_column("rescued", rescued))
        refused += page.refused.to_pylist() if page.refused is not None else []
        position = page.position or position
    source.close()
    answers = [{**answer, "at": "", "number": 0} for answer in json.loads(position)["answers"]]
    return pa.concat_tables(rows).combine_chunks(), refused, answers


@pytest.mark.parametrize(
    ("kinds", "signs"),
    [(["850"], "*>~"), (["850"], "|^\n"), (["856"], "*>~"), (["ORDERS", "DESADV"], "+:'?"), (["DESADV"], ";|~!")],
    ids=["850", "850 in lines", "856", "ORDERS and DESADV", "DESADV with other signs"],
)
def test_together_is_as_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: list[str], signs: str
) -> None:
    taken = 0
    for seed in range(6):
        dice = random.Random(f"{kinds}{seed}")
        folder = tmp_path / str(seed)
        folder.mkdir()
        # most have nothing that is odd, and are taken in one piece; the others are full of it
        odd = [0, 0.02, 0.3][seed % 3]
        four = [*signs, ""][:4]
        text = "".join(interchange(dice, kinds, 10 * seed + n, four, odd=odd) for n in range(1, 4))
        if "\n" in signs:
            text = text.replace("x\ny", "x y")
        path = folder / "a.edi"
        path.write_bytes(text.encode())
        os.utime(path, (1, 1))
        for options in (
            {"message": kinds[-1], "level": "line"},
            {"message": kinds[0], "paths": {"any": "DTM[1.1=137].1.2", "tag": "N1[1=BY].0", "sender": "CUR.2"}},
            {"acknowledge": True, "paths": {"last": "CTT.1", "part": "QTY.1.2"}},
        ):
            found: list[Any] = []
            for worth in (3, 10**9):
                with monkeypatch.context() as patch:
                    patch.setattr(reading, "_WORTH_IT", worth)
                    patch.setattr(syntax, "_FEW", dice.choice([300, 4096, 65536]))
                    counted: list[int] = []
                    real = reading._Run.many

                    def many(self: Any, *given: Any, real: Any = real, counted: list[int] = counted) -> Any:
                        made = real(self, *given)
                        counted.append(len(made.kinds) if made else 0)
                        return made

                    patch.setattr(reading._Run, "many", many)
                    found.append(read(folder, options))
                    taken += sum(counted)
            together, alone = found
            wrong = [name for name in alone[0].column_names if together[0].column(name) != alone[0].column(name)]
            assert (wrong, together[0].num_rows) == ([], alone[0].num_rows)
            assert sorted(map(str, together[1])) == sorted(map(str, alone[1]))
            assert together[2] == alone[2]
    assert taken > 300, "most messages were taken together"
