"""What the ledger says of a row, in the language of who reads it.

The ledger keeps words in English, because programs and other tools read it, too. Here those that are Datong's own are
said in Chinese; what a target said itself stays as it said it, and the original is shown beside (`title`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

_KINDS = {
    "approve": "批准",
    "reject": "驳回",
    "retry": "重试",
    "mend": "修正",
    "accept_theirs": "保留对方的值",
    "accept_ours": "采用我方的值",
    "cancel": "取消",
}
_WHOLE = {
    "read back": "已回读核实",
    "tried again": "再次尝试",
    "waits for approval": "等待批准",
    "waits for approval: the system's own value would be given up": "等待批准：该系统自己的值将被放弃",
    "waits for approval: so many changes at once are asked for": "等待批准：一次变更过多，须经人确认",
    "the target held it already": "目标系统中已是如此，无需发送",
    "the target did not hold it any more": "目标系统中已不存在，无需删除",
    "the target has no such record": "目标系统中没有这条记录",
    "not wanted any more, or done by others": "已不再需要，或已由他人完成",
    "unchanged; its digest is made in another way now": "没有变化，仅摘要算法更新",
    "what the target holds stays, by the flow's rule for conflicts": "按流程的冲突规则，保留目标系统的值",
    "not needed any more: settled otherwise": "已不再需要：已由其他方式一致",
    "others change it faster than it can be settled": "他人修改过于频繁，暂时无法达成一致",
    "was sent, and does not show yet": "已发送，但尚未显示",
    "the row was changed or deleted since it was read": "读取之后，该行已被他人修改或删除",
    "the batch was answered without a word of this change": "批量请求的应答中没有提到这条变更",
}
_PARTS: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (
        rf"^({'|'.join(_KINDS)}) by (\S.*?): (.*)$",
        lambda found: f"{found[2]} {_KINDS[found[1]]}：{found[3]}",
    ),
    (r"^its payload cannot be made: ", "无法生成要发送的内容："),
    (r"^could not be looked up: ", "无法在目标系统中查询："),
    (r"^it was gone already: ", "原本就已不存在："),
    (r"^no CSRF token: ", "取不到 CSRF 令牌："),
    (r"^changed again by others: ", "之后又被他人修改："),
    (r"^accepted, and not shown: ", "已被接受，但没有显示："),
    (r"^did not arrive \((.*)\); something else is wanted by now$", r"未送达（\1）；现在需要的是另外的值"),
    (r"^(.*), and not wanted any more$", r"\1，且已不再需要"),
    (r"^the target holds (\d+) records for it: ", r"目标系统中有 \1 条对应记录："),
    (r"^(\S+) holds no record with the key ", r"\1 中没有此键的记录："),
    (r"^(\S+) holds (\d+) records with the key ", r"\1 中有 \2 条此键的记录："),
    (
        r"^the target accepted it earlier and does not show it now; if it shall be sent again: ",
        "目标系统曾接受，但现在没有显示；如需重新发送：",
    ),
    (r"(^|(?<=\s))Could not be read back: ", "无法回读："),
    (r"(^|(?<=\s))Read back: ", "回读结果："),
    (r"(^|(?<=\s))Decided again: ", "重新裁定："),
    (r"Sent again: none of the fields that we write was touched\.$", "重新发送：我方写入的字段均未被改动。"),
    (r"Sent again: our value is to stand\.$", "重新发送：以我方的值为准。"),
    (
        r"(^|(?<=[\s：（]))(\S+): sent (\d+) items, target holds (\d+)(?=;|\s|）|，|$)",
        r"\2：发送 \3 项，目标系统有 \4 项",
    ),
    (
        r"(^|(?<=[\s：（]))(\S+): sent ((?:(?!; ).)+?), (?:target|it) holds ((?:(?!; ).)+?)(?=; |（|）|，| 重新|$)",
        r"\2：发送 \3，对方为 \4",
    ),
    (r"(?:^|(?<=[：（]))not found(?=$|）|，)", "找不到"),
    (r"(?:^|(?<=[：（]))the target holds it(?=$|）|，)", "目标系统中仍存在"),
    (r"(?:^|(?<=[：（]))not taken(?=$|）|，)", "未被接收"),
]
_COMPILED = [(re.compile(pattern, re.DOTALL), made) for pattern, made in _PARTS]


def in_chinese(words: str) -> str:
    """The ledger's words in Chinese, as far as they are Datong's own."""
    if (whole := _WHOLE.get(words)) is not None:
        return whole
    for pattern, made in _COMPILED:
        words = pattern.sub(made, words)
    return words
