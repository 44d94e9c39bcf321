"""What the ledger says is read in Chinese, and a target's own words stay as they are."""

import pytest
from datong_infra.desk.ledger_words import in_chinese


@pytest.mark.parametrize(
    ("words", "chinese"),
    [
        ("the target held it already", "目标系统中已是如此，无需发送"),
        ("retry by li: the MES was mended", "li 重试：the MES was mended"),
        (
            "400 X/1 Deficit of stock Read back: not found",
            "400 X/1 Deficit of stock 回读结果：找不到",
        ),
        (
            "Quantity: sent '3', target holds '4'; Unit: sent 'PC', target holds None",
            "Quantity：发送 '3'，对方为 '4'; Unit：发送 'PC'，对方为 None",
        ),
        (
            "412 changed by JDOE Read back: Name: sent 'a', target holds 'b' Sent again: our value is to stand.",
            "412 changed by JDOE 回读结果：Name：发送 'a'，对方为 'b' 重新发送：以我方的值为准。",
        ),
        ("did not arrive (not found); something else is wanted by now", "未送达（找不到）；现在需要的是另外的值"),
        ("not found, and not wanted any more", "找不到，且已不再需要"),
        ("Items: sent 3 items, target holds 2", "Items：发送 3 项，目标系统有 2 项"),
        ("mes holds 2 records with the key 100", "mes 中有 2 条此键的记录：100"),
        ("could not be looked up: mes /work-orders: 503", "无法在目标系统中查询：mes /work-orders: 503"),
    ],
)
def test_words_of_our_own_are_said_in_chinese(words: str, chinese: str) -> None:
    assert in_chinese(words) == chinese


@pytest.mark.parametrize(
    "words",
    ["the record was not found in table MARA", "400 ME/083 Enter the material", "read back from tape", "物料不存在"],
)
def test_what_a_target_said_itself_stays_as_it_is(words: str) -> None:
    assert in_chinese(words) == words
