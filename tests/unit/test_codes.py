"""What a code that nobody knows most likely means, and that crosswalks lead to codes of the standard."""

from __future__ import annotations

import pytest
from datong_platform.errors import ConfigurationError
from datong_platform.standard import codes


@pytest.mark.parametrize(
    ("code_set", "sent", "meant", "basis"),
    [
        ("unit", "kgm", "KGM", "code"),
        ("unit", "公斤", "KGM", "symbol"),
        ("unit", "ＫＧ", "KGM", "symbol"),
        ("unit", "箱", "XBX", "symbol"),
        ("unit", "Kilograms", "KGM", "similar"),
        ("currency", "人民币元", "CNY", "title"),
        ("currency", "RMB", "CNY", "other system"),
        ("document_status", "Open", "OPEN", "code"),
        ("work_order_status", "已关闭", "CLOSED", "title"),
    ],
)
def test_a_code_is_proposed_with_its_reason(code_set: str, sent: str, meant: str, basis: str) -> None:
    best = codes.propose(code_set, sent)[0]
    assert (best.code, best.basis) == (meant, basis)
    assert best.evidence
    assert 0.5 < best.score <= 1


@pytest.mark.parametrize("sent", ["XX", "", "??", "Q7-zz"])
def test_nothing_is_proposed_for_what_is_like_nothing(sent: str) -> None:
    assert codes.propose("unit", sent) == []


def test_a_system_own_crosswalk_is_no_evidence_for_its_unknown_codes() -> None:
    assert codes.propose("currency", "RMB", system="erp")[0].evidence == "crm means it by RMB"
    assert codes.propose("unit", "u", system="tryton") == []


def test_every_line_of_every_crosswalk_leads_to_a_code_of_the_standard() -> None:
    known = codes.code_sets()
    lines = [(system, *line, code) for system, each in codes.crosswalks().items() for line, code in each.items()]
    assert len(lines) > 90
    assert not [line for line in lines if line[3] not in known.get(line[1], {})]


def test_codes_have_days_of_validity_and_units_their_symbols() -> None:
    assert {code.code for code in codes.dated("currency")} == {"BGN", "HRK"}
    assert "公斤" in codes.code_sets()["unit"]["KGM"].symbols


@pytest.mark.parametrize(
    ("code_set", "code", "words"), [("nonsense", "X", "code set nonsense"), ("unit", "kilogram", "such as KGM")]
)
def test_a_mapping_to_what_the_standard_lacks_is_refused(code_set: str, code: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        codes.map_code("erp", code_set, "KG", code, who="li", why="it is")
