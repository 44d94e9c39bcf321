"""The messages that are known: where their lines begin and end, what they must hold, and their usual fields.

Fields bear the standard's own names: in X12 the element's reference designator (`BEG03`), with the qualifier that
selects it (`N104_ST`); in EDIFACT segment and data element (`BGM_1004`, `QTY_6060_21`). Sources: ASC X12 004010
transaction sets 810, 846, 850, 855, 856; UN/EDIFACT D.96A messages ORDERS, ORDRSP, DESADV, INVOIC, INVRPT.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

TEXT, QUANTITY, AMOUNT = pa.string(), pa.decimal128(24, 9), pa.decimal128(24, 9)
DAY, MOMENT, WHOLE = pa.date32(), pa.timestamp("us"), pa.int64()

Fields = dict[str, tuple[str, pa.DataType]]


@dataclass(frozen=True)
class Message:
    """A kind of message."""

    first: str
    """The segment that must come first."""
    line: str
    """The segment that begins a line."""
    ends: frozenset[str]
    """Segments that end the lines."""
    header: Fields
    lines: Fields
    number: tuple[str, ...]
    """Fields of the message that its lines carry, too."""
    context: str = ""
    """A segment whose group holds the lines after it (DESADV: the package)."""
    tree: bool = False
    """Lines are nodes of a tree that names the parent of each (X12 856)."""


def _x12(segment: str, **kinds: pa.DataType) -> Fields:
    """`BEG03` from `e3=`, by element numbers."""
    return {f"{segment}{int(name[1:]):02d}": (f"{segment}.{int(name[1:])}", kind) for name, kind in kinds.items()}


def _parties(*codes: str) -> Fields:
    return {f"N104_{code}": (f"N1[1={code}].4", TEXT) for code in codes}


def _items(segment: str, *, after: int) -> Fields:
    """Pairs of qualifier and product number."""
    return {f"{segment}{number:02d}": (f"{segment}.{number}", TEXT) for number in range(after, after + 6)}


_ORDER_LINE: Fields = {
    **_x12("PO1", e1=TEXT, e2=QUANTITY, e3=TEXT, e4=AMOUNT, e5=TEXT),
    **_items("PO1", after=6),
    "PID05": ("PID.5", TEXT),
}

X12: dict[str, Message] = {
    "850": Message(
        first="BEG",
        line="PO1",
        ends=frozenset({"CTT"}),
        header={
            **_x12("BEG", e1=TEXT, e2=TEXT, e3=TEXT, e4=TEXT, e5=DAY),
            "CUR02": ("CUR.2", TEXT),
            "DTM02_002": ("DTM[1=002].2", DAY),
            **_parties("BY", "ST", "SU", "VN"),
            "CTT01": ("CTT.1", WHOLE),
        },
        lines=_ORDER_LINE | {"DTM02_002": ("DTM[1=002].2", DAY)},
        number=("BEG03",),
    ),
    "855": Message(
        first="BAK",
        line="PO1",
        ends=frozenset({"CTT"}),
        header={
            **_x12("BAK", e1=TEXT, e2=TEXT, e3=TEXT, e4=DAY, e8=TEXT),
            **_parties("BY", "ST", "SU", "VN"),
            "CTT01": ("CTT.1", WHOLE),
        },
        lines=_ORDER_LINE | _x12("ACK", e1=TEXT, e2=QUANTITY, e3=TEXT, e4=TEXT, e5=DAY),
        number=("BAK03",),
    ),
    "856": Message(
        first="BSN",
        line="HL",
        ends=frozenset({"CTT"}),
        header={
            **_x12("BSN", e1=TEXT, e2=TEXT, e3=DAY, e4=TEXT),
            "TD503": ("TD5.3", TEXT),
            "REF02_BM": ("REF[1=BM].2", TEXT),
            "DTM02_011": ("DTM[1=011].2", DAY),
            **_parties("SF", "ST"),
            "CTT01": ("CTT.1", WHOLE),
        },
        lines={
            **_x12("HL", e1=TEXT, e2=TEXT, e3=TEXT),
            "PRF01": ("PRF.1", TEXT),
            "MAN02": ("MAN.2", TEXT),
            **_x12("LIN", e1=TEXT, e2=TEXT, e3=TEXT, e4=TEXT, e5=TEXT),
            **_x12("SN1", e1=TEXT, e2=QUANTITY, e3=TEXT),
        },
        number=("BSN02",),
        tree=True,
    ),
    "810": Message(
        first="BIG",
        line="IT1",
        ends=frozenset({"TDS"}),
        header={
            **_x12("BIG", e1=DAY, e2=TEXT, e3=DAY, e4=TEXT),
            "CUR02": ("CUR.2", TEXT),
            **_parties("BT", "RE", "ST"),
            "TDS01": ("TDS.1", WHOLE),
            "CTT01": ("CTT.1", WHOLE),
        },
        lines={
            **_x12("IT1", e1=TEXT, e2=QUANTITY, e3=TEXT, e4=AMOUNT, e5=TEXT),
            **_items("IT1", after=6),
            "PID05": ("PID.5", TEXT),
        },
        number=("BIG02",),
    ),
    "846": Message(
        first="BIA",
        line="LIN",
        ends=frozenset({"CTT"}),
        header={
            **_x12("BIA", e1=TEXT, e2=TEXT, e3=TEXT, e4=DAY),
            **_parties("WH", "SU"),
            "CTT01": ("CTT.1", WHOLE),
        },
        lines={
            **_x12("LIN", e1=TEXT, e2=TEXT, e3=TEXT, e4=TEXT, e5=TEXT),
            **_x12("QTY", e1=TEXT, e2=QUANTITY, e3=TEXT),
            "UIT01": ("UIT.1", TEXT),
        },
        number=("BIA03",),
    ),
}
"""By transaction set identifier."""

GROUPS = {"850": "PO", "855": "PR", "856": "SH", "810": "IN", "846": "IB"}
"""X12: the functional identifier of each transaction set."""


def _edifact_header(*parties: str, **more: str) -> Fields:
    return {
        "BGM_1001": ("BGM.1.1", TEXT),
        "BGM_1004": ("BGM.2.1", TEXT),
        "BGM_1225": ("BGM.3.1", TEXT),
        "DTM_2380_137": ("DTM[1.1=137].1.2", MOMENT),
        **{f"NAD_3039_{code}": (f"NAD[1={code}].2.1", TEXT) for code in parties},
        **{name: (place, TEXT) for name, place in more.items()},
        "CNT_6066_2": ("CNT[1.1=2].1.2", QUANTITY),
    }


def _edifact_line(*quantities: str, **more: str) -> Fields:
    return {
        "LIN_1082": ("LIN.1.1", TEXT),
        "LIN_1229": ("LIN.2.1", TEXT),
        "LIN_7140": ("LIN.3.1", TEXT),
        "LIN_7143": ("LIN.3.2", TEXT),
        "PIA_7140_SA": ("PIA[2.2=SA].2.1", TEXT),
        "PIA_7140_BP": ("PIA[2.2=BP].2.1", TEXT),
        "IMD_7008": ("IMD.3.4", TEXT),
        **{f"QTY_6060_{code}": (f"QTY[1.1={code}].1.2", QUANTITY) for code in quantities},
        "QTY_6411": ("QTY.1.3", TEXT),
        **{name: (place, TEXT) for name, place in more.items()},
    }


_PRICES: Fields = {
    "PRI_5118_AAA": ("PRI[1.1=AAA].1.2", AMOUNT),
    "MOA_5004_203": ("MOA[1.1=203].1.2", AMOUNT),
}
_NUMBER = ("BGM_1004",)
_UNS, _CNT = frozenset({"UNS"}), frozenset({"CNT"})

EDIFACT: dict[str, Message] = {
    "ORDERS": Message(
        "BGM",
        "LIN",
        _UNS,
        _edifact_header("BY", "SU", "DP", CUX_6345="CUX.1.2") | {"DTM_2380_2": ("DTM[1.1=2].1.2", MOMENT)},
        _edifact_line("21") | _PRICES | {"DTM_2380_2": ("DTM[1.1=2].1.2", MOMENT)},
        _NUMBER,
    ),
    "ORDRSP": Message(
        "BGM",
        "LIN",
        _UNS,
        _edifact_header("BY", "SU", RFF_1154_ON="RFF[1.1=ON].1.2"),
        _edifact_line("21", "113", "12") | _PRICES | {"DTM_2380_67": ("DTM[1.1=67].1.2", MOMENT)},
        _NUMBER,
    ),
    "DESADV": Message(
        "BGM",
        "LIN",
        _CNT,
        _edifact_header("BY", "SU", "DP", RFF_1154_ON="RFF[1.1=ON].1.2") | {"DTM_2380_11": ("DTM[1.1=11].1.2", MOMENT)},
        _edifact_line("12", CPS_7164="CPS.1.1", CPS_7166="CPS.2.1", RFF_1154_ON="RFF[1.1=ON].1.2"),
        _NUMBER,
        context="CPS",
    ),
    "INVOIC": Message(
        "BGM",
        "LIN",
        _UNS,
        _edifact_header("BY", "SU", "IV", CUX_6345="CUX.1.2", RFF_1154_ON="RFF[1.1=ON].1.2")
        | {"MOA_5004_77": ("MOA[1.1=77].1.2", AMOUNT), "MOA_5004_124": ("MOA[1.1=124].1.2", AMOUNT)},
        _edifact_line("47") | _PRICES | {"TAX_5278": ("TAX.5.4", QUANTITY)},
        _NUMBER,
    ),
    "INVRPT": Message(
        "BGM",
        "LIN",
        _CNT,
        _edifact_header("GM", "SU", "WH"),
        _edifact_line("145", "17", "198", LOC_3225="LOC.2.1"),
        _NUMBER,
    ),
}
"""By message type."""


@dataclass
class Envelope:
    """What the segments around a message say."""

    standard: str = ""
    sender: str = ""
    sender_qualifier: str = ""
    receiver: str = ""
    receiver_qualifier: str = ""
    interchange: str = ""
    prepared: str = ""
    is_test: bool = False
    group: str = ""
    group_kind: str = ""
    group_sender: str = ""
    group_receiver: str = ""
    version: str = ""
    message: str = ""
    kind: str = ""
    raw: list[str] = field(default_factory=list)


ENVELOPE: dict[str, pa.DataType] = {
    "sender": TEXT,
    "receiver": TEXT,
    "interchange_control": TEXT,
    "group_control": TEXT,
    "message_control": TEXT,
    "message_type": TEXT,
    "message_version": TEXT,
    "prepared_at": MOMENT,
    "is_test": pa.bool_(),
}
SEGMENTS = "segments"
"""All segments of the row as they came: a list of lists, composites a list of their components, as JSON."""
