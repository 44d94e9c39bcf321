"""EDI interchanges: what is particular to them. The messages are small ones of the standards' own shape."""

from __future__ import annotations

import json
import random
import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from datong_ingestion.protocols.edi import Edi
from datong_ingestion.systems_config import load_systems
from datong_platform.errors import ConfigurationError
from datong_platform.lake import load
from datong_platform.settings import Settings
from document_folder import DocumentFolder


class Folder(DocumentFolder):
    protocol = "edi"


@pytest.fixture
def folder(tmp_path: Path, services: Settings) -> Folder:
    return Folder(tmp_path)


def values(rows: list[dict[str, Any]], *names: str) -> list[Any]:
    return [tuple(row[name] for name in names) if len(names) > 1 else row[names[0]] for row in rows]


BODIES = {
    "850": "BEG*00*SA*PO-1**20240131~CUR*BY*EUR~N1*BY*Buyer*92*B1~N1*ST*Plant*92*P1~"
    "PO1*1*10*EA*5.25**BP*A1*VP*V1~PID*F****Bearing~PO1*2*3.5*KG*1**BP*A2~CTT*2~",
    "855": "BAK*00*AC*PO-1*20240131~PO1*1*10*EA*5.25**BP*A1~ACK*IA*8*EA*067*20240215~PO1*2*3*EA~ACK*IR*0*EA~CTT*2~",
    "856": "BSN*00*SHP-1*20240131*1200~HL*1**S~TD5*B*2*DHL~REF*BM*BOL-1~DTM*011*20240131~N1*ST*Plant*92*P1~HL*2*1*O~"
    "PRF*PO-1~HL*3*2*P~MAN*GM*00012345~HL*4*3*I~LIN**BP*A1~SN1**10*EA~HL*5*2*I~LIN**BP*A2~SN1**4*EA~CTT*5~",
    "810": "BIG*20240131*INV-1*20240120*PO-1~CUR*SE*EUR~N1*RE*Supplier*92*S1~IT1*1*10*EA*5.25**BP*A1~PID*F****Bearing~"
    "IT1*2*1*EA*2~TDS*5450~CTT*2~",
    "846": "BIA*00*DD*INV-7*20240131~N1*WH*Store*92*W1~LIN*1*BP*A1~QTY*33*120*EA~LIN*2*BP*A2~QTY*33*0*EA~CTT*2~",
}
GROUPS = {"850": "PO", "855": "PR", "856": "SH", "810": "IN", "846": "IB"}


def st(kind: str, number: str = "0001", body: str | None = None, count: int | None = None) -> str:
    body = BODIES[kind] if body is None else body
    return f"ST*{kind}*{number}~{body}SE*{count or body.count('~') + 2}*{number}~"


def x12(*messages: str, control: str = "000000001", group: str = "PO", ends: str | None = None, said: int = 0) -> str:
    isa = f"ISA*00*{'':10}*00*{'':10}*ZZ*{'BUYER':15}*ZZ*{'SELLER':15}*240131*1200*U*00401*{control}*0*P*>~"
    gs = f"GS*{group}*BUYERGS*SELLERGS*20240131*1200*7*X*004010~"
    return f"{isa}{gs}{''.join(messages)}GE*{said or len(messages)}*7~IEA*1*{ends or control}~"


EDIFACT = {
    "ORDERS": "BGM+220+PO-1+9'DTM+137:20240131:102'NAD+BY+123::9'NAD+SU+456::9'CUX+2:EUR:9'LIN+1++A1:BP'PIA+1+V1:SA'"
    "IMD+F++:::Lager'QTY+21:10:PCE'PRI+AAA:5.25'LIN+2++A2:BP'QTY+21:3,5:KGM'UNS+S'CNT+2:2'",
    "ORDRSP": "BGM+231+AC-1+4'DTM+137:202401311345:203'RFF+ON:PO-1'NAD+BY+123::9'LIN+1+5+A1:BP'QTY+21:10:PCE'"
    "QTY+113:8:PCE'DTM+67:20240215:102'UNS+S'CNT+2:1'",
    "DESADV": "BGM+351+DN-1+9'DTM+137:20240131:102'DTM+11:20240131:102'RFF+ON:PO-1'NAD+DP+P1::92'CPS+1'PAC+1++CT'"
    "CPS+2+1'LIN+1++A1:BP'QTY+12:10:PCE'CPS+3+1'LIN+2++A2:BP'QTY+12:4:PCE'CNT+2:2'",
    "INVOIC": "BGM+380+INV-1+9'DTM+137:20240131:102'RFF+ON:PO-1'NAD+SU+456::9'CUX+2:EUR:4'LIN+1++A1:BP'QTY+47:10:PCE'"
    "MOA+203:52.5'PRI+AAA:5.25'TAX+7+VAT+++:::19'UNS+S'CNT+2:1'MOA+77:62.48'",
    "INVRPT": "BGM+35+IR-1+9'DTM+137:20240131:102'NAD+WH+W1::92'LIN+1++A1:BP'QTY+145:120:PCE'LOC+18+BIN7'LIN+2++A2:BP'"
    "QTY+145:0:PCE'CNT+2:2'",
}


def unh(kind: str, number: str = "1", body: str | None = None, count: int | None = None) -> str:
    body = EDIFACT[kind] if body is None else body
    segments = len(re.findall(r"(?<!\?)'", body)) + 2
    return f"UNH+{number}+{kind}:D:96A:UN'{body}UNT+{count or segments}+{number}'"


def unb(*messages: str, control: str = "77", ends: str | None = None, said: int = 0, una: str = "") -> str:
    head = f"UNB+UNOC:3+BUYER:14+SELLER:14+240131:1200+{control}'"
    return f"{una}{head}{''.join(messages)}UNZ+{said or len(messages)}+{ends or control}'"


LINES: dict[str, list[dict[str, Any]]] = {
    "850": [
        {
            "BEG03": "PO-1",
            "line_number": 1,
            "PO102": Decimal(10),
            "PO103": "EA",
            "PO104": Decimal("5.25"),
            "PO107": "A1",
        },
        {"BEG03": "PO-1", "line_number": 2, "PO102": Decimal("3.5"), "PO103": "KG", "PO107": "A2", "PID05": None},
    ],
    "855": [{"BAK03": "PO-1", "ACK01": "IA", "ACK02": Decimal(8), "ACK05": date(2024, 2, 15)}, {"ACK01": "IR"}],
    "856": [
        {"HL01": "4", "LIN03": "A1", "SN102": Decimal(10), "PRF01": "PO-1", "MAN02": "00012345"},
        {"HL01": "5", "LIN03": "A2", "SN102": Decimal(4), "PRF01": "PO-1", "MAN02": None},
    ],
    "810": [{"BIG02": "INV-1", "IT102": Decimal(10), "IT104": Decimal("5.25"), "PID05": "Bearing"}, {"IT101": "2"}],
    "846": [{"BIA03": "INV-7", "LIN03": "A1", "QTY02": Decimal(120)}, {"LIN03": "A2", "QTY02": Decimal(0)}],
    "ORDERS": [
        {"BGM_1004": "PO-1", "LIN_7140": "A1", "PIA_7140_SA": "V1", "QTY_6060_21": Decimal(10), "IMD_7008": "Lager"},
        {"LIN_7140": "A2", "QTY_6060_21": Decimal("3.5"), "QTY_6411": "KGM", "PIA_7140_SA": None},
    ],
    "ORDRSP": [{"BGM_1004": "AC-1", "LIN_1229": "5", "QTY_6060_113": Decimal(8), "DTM_2380_67": datetime(2024, 2, 15)}],
    "DESADV": [
        {"LIN_7140": "A1", "QTY_6060_12": Decimal(10), "CPS_7164": "2", "CPS_7166": "1"},
        {"LIN_7140": "A2", "QTY_6060_12": Decimal(4), "CPS_7164": "3"},
    ],
    "INVOIC": [{"QTY_6060_47": Decimal(10), "MOA_5004_203": Decimal("52.5"), "TAX_5278": Decimal(19)}],
    "INVRPT": [{"QTY_6060_145": Decimal(120), "LOC_3225": "BIN7"}, {"QTY_6060_145": Decimal(0), "LOC_3225": None}],
}
HEADERS: dict[str, dict[str, Any]] = {
    "850": {"BEG05": date(2024, 1, 31), "CUR02": "EUR", "N104_BY": "B1", "N104_ST": "P1", "CTT01": 2},
    "855": {"BAK02": "AC", "BAK04": date(2024, 1, 31)},
    "856": {"BSN02": "SHP-1", "TD503": "DHL", "REF02_BM": "BOL-1", "N104_ST": "P1"},
    "810": {"BIG01": date(2024, 1, 31), "TDS01": 5450, "N104_RE": "S1"},
    "846": {"N104_WH": "W1"},
    "ORDERS": {"BGM_1001": "220", "DTM_2380_137": datetime(2024, 1, 31), "NAD_3039_BY": "123", "CUX_6345": "EUR"},
    "ORDRSP": {"DTM_2380_137": datetime(2024, 1, 31, 13, 45), "RFF_1154_ON": "PO-1"},
    "DESADV": {"DTM_2380_11": datetime(2024, 1, 31), "NAD_3039_DP": "P1"},
    "INVOIC": {"MOA_5004_77": Decimal("62.48"), "NAD_3039_SU": "456"},
    "INVRPT": {"NAD_3039_WH": "W1", "CNT_6066_2": Decimal(2)},
}


@pytest.mark.parametrize("kind", [*BODIES, *EDIFACT])
def test_every_message_gives_its_header_and_its_lines(folder: Folder, kind: str) -> None:
    text = x12(st(kind), group=GROUPS[kind]) if kind in BODIES else unb(unh(kind))
    folder.write("a.edi", text)
    assert folder.ingest("*.edi", options={"message": kind}).rescued == 0
    (row,) = folder.bronze()
    assert {name: row[name] for name in HEADERS[kind]} == HEADERS[kind]
    assert (row["sender"], row["receiver"], row["message_type"]) == ("BUYER", "SELLER", kind)
    lines = Folder(folder.path)
    assert lines.ingest("*.edi", options={"message": kind, "level": "line"}).refused == 0
    rows = lines.bronze()
    assert [{name: row[name] for name in want} for row, want in zip(rows, LINES[kind], strict=True)] == LINES[kind]
    whole = json.loads(row["segments"])
    assert all(segment in whole for one in rows for segment in json.loads(one["segments"]))


def test_separators_come_from_the_envelope(folder: Folder) -> None:
    odd = x12(st("850")).translate(str.maketrans("*~>", "|\x1c^"))
    folder.write("a.edi", odd.encode())
    folder.write("b.edi", x12(st("850"), control="000000002").replace("~", "~\r\n"))
    folder.ingest("*.edi", options={"message": "850", "level": "line"})
    assert values(folder.bronze(), "PO102") == [Decimal(10), Decimal("3.5")] * 2
    other = Folder(folder.path)
    una = unb(unh("ORDERS")).translate(str.maketrans("+:'?", "|;~!"))
    folder.write("c.edi", "UNA;|,! ~" + una)
    folder.write("d.edi", unb(unh("ORDERS"), control="78", una="UNA:+.? '\r\n").replace("'", "'\n"))
    other.ingest("[cd].edi".replace("[cd]", "?"), options={"message": "ORDERS", "level": "line"})
    assert values(other.bronze(), "LIN_7140") == ["A1", "A2", "A1", "A2"]


def test_released_characters_are_data(folder: Folder) -> None:
    body = EDIFACT["ORDERS"].replace("Lager", "a?'b?+c?:d??e").replace("PO-1", "P??")
    folder.write("a.edi", unb(unh("ORDERS", body=body)))
    folder.ingest("*.edi", options={"message": "ORDERS", "level": "line"})
    assert values(folder.bronze(), "IMD_7008", "BGM_1004")[0] == ("a'b+c:d?e", "P?")


def test_a_message_that_is_wrong_is_refused_and_the_others_stay(folder: Folder) -> None:
    wrong = {
        "0002": st("850", "0002", count=99),
        "0003": st("850", "0003").replace("SE*10*0003", "SE*10*0004"),
        "0004": st("850", "0004", body="N1*ST*x~"),
        "0001": st("850", "0001"),
    }
    folder.write("a.edi", x12(st("850"), *wrong.values(), st("850", "0009")))
    result = folder.ingest("*.edi", options={"message": "850"})
    assert (result.rows, result.refused) == (2, 4)
    assert values(folder.bronze(), "message_control") == ["0001", "0009"]
    found = {row["place"].split("/")[-1]: (row["reason"], row["raw"]) for row in folder.refused()}
    assert "counts 99" in found["0002"][0]
    assert found["0002"][1] == wrong["0002"].encode()
    assert "SE bears number 0004" in found["0003"][0]
    assert "BEG" in found["0004"][0]
    assert "twice" in found["0001"][0]


def test_a_group_with_a_wrong_count_is_refused_and_the_next_one_stays(folder: Folder) -> None:
    text = x12(st("850"), said=3)
    second = x12(st("850", "0005")).split("~", 1)[1].replace("*7*X", "*8*X").replace("GE*1*7", "GE*1*8")
    folder.write("a.edi", text.split("IEA")[0] + second.replace("IEA*1", "IEA*2"))
    assert folder.ingest("*.edi", options={"message": "850"}).rows == 1
    assert values(folder.bronze(), "message_control") == ["0005"]
    assert "GE counts 3" in folder.refused()[0]["reason"]


BROKEN = {
    "numbers": (x12(st("850"), ends="000000009"), "IEA bears number"),
    "cut off": (x12(st("850"))[:-30], "cut off"),
    "cut in a message": (x12(st("850"))[:300], "cut off"),
    "no ISA": ("hello", "no interchange"),
    "short ISA": ("ISA*00*x~", "106"),
    "stray": (x12(st("850")).replace("GE*", "N1*ST~GE*"), "stands between"),
    "UNZ count": (unb(unh("ORDERS"), said=2), "UNZ counts"),
    "UNZ number": (unb(unh("ORDERS"), ends="1"), "UNZ bears"),
    "UNOZ": (unb(unh("ORDERS")).replace("UNOC", "UNOZ"), "character set"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_interchange_that_cannot_be_trusted_is_refused_whole_and_may_come_again(folder: Folder, kind: str) -> None:
    text, reason = BROKEN[kind]
    folder.write("a.edi", text)
    assert (folder.ingest("*.edi").refused, folder.bronze()) == (1, [])
    assert reason in folder.refused()[0]["reason"]
    folder.write("a.edi", unb(unh("ORDERS")) if "UN" in kind else x12(st("850")))
    assert folder.ingest("*.edi").rows == 1, "mended and sent again under its number"


def test_a_control_number_that_came_before_is_a_duplicate_whatever_the_content(folder: Folder) -> None:
    folder.write("a.edi", x12(st("850")) + unb(unh("ORDERS")), age=200)
    assert folder.ingest("*.edi").rows == 2
    changed = x12(st("850", body=BODIES["850"].replace("PO-1", "PO-2")))
    folder.write("b.edi", changed + x12(st("850", "0002"), control="000000002"), age=100)
    result = folder.ingest("*.edi")
    assert (result.rows, result.refused) == (1, 1)
    assert "duplicate" in folder.refused()[0]["reason"]
    assert values(folder.bronze(), "interchange_control").count("000000001") == 1


def acknowledged(folder: Folder, **changes: Any) -> Any:
    place = {"outbox": str(folder.path / "out")}
    return folder.ingest("*.edi", connection=place, options={"acknowledge": True, **changes})


def outbox(folder: Folder, kind: str) -> list[str]:
    return [path.read_text() for path in sorted((folder.path / "out").glob(f"{kind}_*.edi"))]


def test_a_997_tells_what_was_accepted_and_what_was_not(folder: Folder) -> None:
    folder.write("a.edi", x12(st("850"), st("850", "0002", count=99)))
    acknowledged(folder)
    (text,) = outbox(folder, "997")
    segments = text.replace("\n", "").split("~")
    isa = segments[0].split("*")
    assert len(segments[0]) == 105
    assert (isa[6].strip(), isa[8].strip()) == ("SELLER", "BUYER"), "it goes back to its sender"
    assert segments[1].startswith("GS*FA*SELLERGS*BUYERGS*")
    assert segments[3:7] == ["AK1*PO*7", "AK2*850*0002", "AK5*R*4", "AK9*P*2*2*1"]
    assert segments[7].split("*")[1] == "6", "SE counts from ST to SE"
    assert (isa[13], segments[1].split("*")[6]) == (segments[9].split("*")[2], segments[8].split("*")[2])
    back = Folder(folder.path)
    assert back.ingest("out/997_*.edi", connection={"settle_seconds": 0}).rows == 1, "our own reader takes it"


def test_a_contrl_tells_what_was_accepted_and_what_was_not(folder: Folder) -> None:
    folder.write("a.edi", unb(unh("ORDERS"), unh("ORDERS", "2", count=5)))
    folder.write("b.edi", unb(unh("ORDERS"), control="78", said=9))
    acknowledged(folder)
    accepted, rejected = sorted(outbox(folder, "CONTRL"))[::1]
    assert "UCI+77+BUYER:14+SELLER:14+7'" in accepted
    assert "UCM+2+ORDERS:D:96A:UN+4+29'" in accepted
    assert "UNT+4+1'" in accepted
    assert "UCI+78+BUYER:14+SELLER:14+4+29'" in rejected
    back = Folder(folder.path)
    assert back.ingest("out/CONTRL_*.edi", connection={"settle_seconds": 0}, options={"message": "CONTRL"}).rows == 2


def test_an_answer_is_given_only_when_the_rows_are_in_bronze_and_only_once(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    folder.write("a.edi", x12(st("850")))
    with monkeypatch.context() as patch:
        patch.setattr(load, "load", die)
        with pytest.raises(Killed):
            acknowledged(folder)
    assert outbox(folder, "997") == []
    with monkeypatch.context() as patch:
        patch.setattr(Edi, "confirm", die)
        with pytest.raises(Killed):
            acknowledged(folder)
    assert (len(folder.bronze()), outbox(folder, "997")) == (1, []), "in bronze, and nobody was told yet"
    acknowledged(folder)
    (first,) = outbox(folder, "997")
    for path in (folder.path / "out").glob("*.edi"):
        path.unlink()
    assert acknowledged(folder).batches == []
    assert outbox(folder, "997") == [], "its sender took it away; it is not made again"
    folder.write("b.edi", x12(st("850"), control="000000002"))
    acknowledged(folder)
    (second,) = outbox(folder, "997")
    assert second.split("*")[13] > first.split("*")[13], "a control number of its own"


def test_a_crash_while_answering_gives_the_same_answer_again(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from datong_ingestion.documents import places

    real: Any = places._Folder.put
    written: list[bytes] = []

    def put(self: Any, name: str, body: bytes, thing: str) -> None:
        if name.startswith(".confirmed") and len(written) < 2:
            raise KeyboardInterrupt
        written.append(body)
        real(self, name, body, thing)

    monkeypatch.setattr(places._Folder, "put", put)
    folder.write("a.edi", x12(st("850")))
    with pytest.raises(KeyboardInterrupt):
        acknowledged(folder)
    acknowledged(folder)
    assert written[0] == written[1]
    assert len(outbox(folder, "997")) == 1


def test_answers_are_not_answered(folder: Folder) -> None:
    folder.write("a.edi", x12(st("997", body="AK1*PO*7~AK9*A*1*1*1~"), group="FA"))
    folder.write("b.edi", unb(unh("CONTRL", body="UCI+1+A+B+7'")))
    assert acknowledged(folder).rows == 2
    assert not (folder.path / "out").exists()


def test_an_acknowledgement_needs_somewhere_to_go(folder: Folder) -> None:
    folder.write("a.edi", x12(st("850")))
    with pytest.raises(ConfigurationError, match="outbox"):
        folder.ingest("*.edi", options={"acknowledge": True})
    with pytest.raises(ConfigurationError, match="lines"):
        folder.ingest("*.edi", options={"message": "999", "level": "line"})


def test_named_places_become_fields(folder: Folder) -> None:
    folder.write("a.edi", x12(st("850")))
    paths = {"ship_to": "N1[1=ST].2", "first_item": "PO1[6=BP].7", "none": "REF[1=DP].2"}
    folder.ingest("*.edi", fields={"first_item": "string"}, options={"message": 850, "paths": paths})
    assert values(folder.bronze(), "ship_to", "first_item", "none") == [("Plant", "A1", None)]
    with pytest.raises(ConfigurationError, match="not a place"):
        folder.system(options={"message": "850", "paths": {"x": "BEG03"}})


def test_a_value_that_does_not_fit_is_rescued(folder: Folder) -> None:
    body = BODIES["850"].replace("20240131", "20240231").replace("*3.5*", "*some*")
    folder.write("a.edi", x12(st("850", body=body)))
    folder.ingest("*.edi", options={"message": "850"})
    assert json.loads(folder.bronze()[0]["_datong_rescued"]) == {"BEG05": "20240231"}
    lines = Folder(folder.path)
    lines.ingest("*.edi", options={"message": "850", "level": "line"})
    assert json.loads(lines.bronze()[1]["_datong_rescued"]) == {"PO102": "some"}


def test_random_damage_never_breaks_a_read_and_never_takes_half_an_interchange(folder: Folder) -> None:
    dice = random.Random(5)
    for number in range(150):
        control = f"{number:09d}"
        good = (
            x12(st("850"), st("850", "0002"), control=control)
            if number % 2
            else unb(unh("ORDERS"), unh("ORDERS", "2"), control=control)
        )
        body = bytearray(good.encode())
        for _ in range(dice.randrange(0, 4)):
            body[dice.randrange(len(body))] = dice.randrange(256)
        cut = len(body) if dice.random() < 0.7 else dice.randrange(1, len(body))
        folder.write(f"{number:04d}.edi", bytes(body[:cut]))
    result = folder.ingest("*.edi")
    assert result.rows > 20
    assert result.refused > 20
    assert folder.ingest("*.edi").batches == []


def test_a_segment_without_end_is_refused(folder: Folder) -> None:
    path = folder.write("a.edi", x12(st("850")).split("BEG")[0])
    with path.open("ab") as file:
        for _ in range(64):
            file.write(b"x" * 1024 * 1024)
    assert folder.ingest("*.edi", connection={"settle_seconds": 0}).refused == 1
    assert "record_mib" in folder.refused()[0]["reason"]


def test_the_example_is_a_valid_definition() -> None:
    systems = load_systems(Path(__file__).parents[2] / "ingestion/examples/partners_edi")
    assert systems["partners_edi"].protocol == "edi"
    assert [entity.name for entity in systems["partners_edi"].entities][:1] == ["interchange_log"]
