"""The checks that a contract can name, as SQL that Sail and Spark run with the same result.

A rule kind tells when a value breaks it (`condition`), what to say then in English and Chinese, and which dimension of
data quality it belongs to (GB/T 36344). `failure` puts it upon one field of one entity, `failures` makes the column
`_failures` of all of them. Unless a kind says otherwise, a missing value breaks nothing: that is for `required`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datong_platform.errors import ConfigurationError
from datong_platform.standard.normalise import number
from datong_platform.standard.sql_text import indented, literal, regex, sentence, shown, text_of, trimmed

Params = Mapping[str, Any]

DIMENSIONS = {
    "conformity": "规范性",
    "completeness": "完整性",
    "accuracy": "准确性",
    "consistency": "一致性",
    "timeliness": "时效性",
    "accessibility": "可访问性",
}
"""The quality dimensions of GB/T 36344-2018, with their Chinese names."""

FAILURE_FIELDS = ("field", "rule", "reason", "reason_zh", "raw", "is_withheld")
"""What an element of `_failures` tells, in this order."""


@dataclass(frozen=True)
class RuleKind:
    """A check that a contract can name.

    `condition(expression, params)` is the SQL boolean that is true when the value breaks the rule. `reason` and
    `reason_zh` are sentences with {field}, {value}, {source} and any parameter in braces. `needs` are the parameters
    that must be given, `takes` those that may be, with their defaults. `suffix` names the parameter that is part of the
    rule's name in quarantine, as in refers_to_material.
    """

    name: str
    dimension: str
    title: str
    title_zh: str
    condition: Callable[[str, Params], str]
    reason: str
    reason_zh: str
    needs: tuple[str, ...] = ()
    takes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    suffix: str | None = None
    whole_name: Callable[[Params], str] | None = None

    def named(self, params: Params) -> str:
        """The rule's name in quarantine."""
        if self.whole_name:
            return self.whole_name(params)
        return f"{self.name}_{params[self.suffix]}" if self.suffix else self.name

    def checked(self, field_name: str, params: Params) -> dict[str, Any]:
        """The parameters with the defaults of those not given. ConfigurationError for a wrong or missing one."""
        known = {*self.needs, *self.takes, "source"}
        if missing := [name for name in self.needs if params.get(name) is None]:
            raise ConfigurationError(
                f"rule {self.name} of {field_name}", f"lacks {', '.join(missing)}.", "add it to the rule's parameters."
            )
        if unknown := sorted(set(params) - known):
            raise ConfigurationError(
                f"rule {self.name} of {field_name}",
                f"does not know {', '.join(unknown)}.",
                f"its parameters are {', '.join(sorted(known)) or 'none'}.",
            )
        return {**self.takes, **params}

    def broken(self, field_name: str, expression: str, params: Params | None = None) -> str:
        """The SQL boolean that is true when the rule is broken."""
        return self.condition(expression, self.checked(field_name, params or {}))

    def failure(
        self,
        field_name: str,
        expression: str,
        params: Params | None = None,
        *,
        title_zh: str | None = None,
        withholds: bool = True,
    ) -> Check:
        """The rule upon one field.

        `params["source"]` is the SQL of the value as sent, where a column of its own has it; `withholds` tells whether
        a row that breaks the rule stays out of silver.
        """
        given = self.checked(field_name, params or {})
        source = given.get("source") or expression
        parts = {**given, "value": expression, "source": source}
        struct = ", ".join(
            (
                f"'field', {literal(field_name)}",
                f"'rule', {literal(self.named(given))}",
                f"'reason', {_sentence(self.reason, {**parts, 'field': literal(field_name)}, 'missing')}",
                f"'reason_zh', {_sentence(self.reason_zh, {**parts, 'field': literal(title_zh or field_name)}, '空')}",
                f"'raw', {text_of(source)}",
                f"'is_withheld', {'true' if withholds else 'false'}",
            )
        )
        return Check(field_name, self.named(given), self.condition(expression, given), struct, withholds)


@dataclass(frozen=True)
class Check:
    """A rule upon one field of one entity, as SQL."""

    field: str
    rule: str
    condition: str
    """True when the row breaks the rule; null counts as kept."""
    struct: str
    """What `named_struct` is given to tell about it."""
    withholds: bool

    @property
    def element(self) -> str:
        """One element of `_failures`: a struct when the row breaks the rule, else null."""
        return f"case\n    when {indented(self.condition, 2)}\n        then named_struct({self.struct})\nend"


_SQL_PARTS = {"value", "source", "other"}
"""Placeholders that stand for a value of the row; the others are texts known beforehand."""


def _sentence(template: str, parts: Mapping[str, Any], missing: str) -> str:
    pieces: list[str] = []
    for text, name in re.findall(r"([^{}]+)|\{(\w+)\}", template):
        if text:
            pieces.append(literal(text))
        elif name == "field":
            pieces.append(parts["field"])
        elif name in _SQL_PARTS:
            pieces.append(shown(parts[name], missing))
        else:
            given = parts[name]
            words = ", ".join(map(str, given)) if isinstance(given, list | tuple) else str(given).replace("_", " ")
            pieces.append(literal(words))
    return sentence(*pieces)


def value_literal(value: Any) -> str:
    """A parameter of a contract as an SQL literal: numbers plain, ISO dates as dates, the rest as texts."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) and not isinstance(value, str):
        return text
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return f"date'{text}'"
    return literal(text)


def is_sent(source: str) -> str:
    """The SQL boolean that something was sent at all."""
    return f"coalesce({trimmed(text_of(source))}, '') <> ''"


# -- check characters -------------------------------------------------------------------------------------------------


def _weighted_sum(expression: str, weights: list[int], alphabet: str) -> str:
    terms = [
        f"{weight} * (locate(substr({expression}, {place}, 1), '{alphabet}') - 1)"
        for place, weight in enumerate(weights, start=1)
    ]
    return "(\n    " + "\n    + ".join(terms) + "\n)"


def is_credit_code(code: str) -> str:
    """GB 32100-2015: 18 characters of a set of 31; weights 3^(i-1) mod 31, their sum with the check divides by 31."""
    weights = [pow(3, place, 31) for place in range(17)] + [1]
    total = indented(_weighted_sum(code, weights, "0123456789ABCDEFGHJKLMNPQRTUWXY"))
    return f"(\n    {code} rlike '^[0-9A-HJ-NP-RTUW-Y]{{18}}$'\n    and {total} % 31 = 0\n)"


def is_resident_id(code: str) -> str:
    """GB 11643-1999: 17 digits with a real date of birth, and a check character by ISO 7064 mod 11-2."""
    total = indented(_weighted_sum(code, [pow(2, 17 - place, 11) for place in range(17)], "0123456789"))
    birthday = f"concat_ws('-', substr({code}, 7, 4), substr({code}, 11, 2), substr({code}, 13, 2))"
    return (
        f"(\n    {code} rlike '^[1-8][0-9]{{5}}(18|19|20)[0-9]{{9}}[0-9X]$'"
        f"\n    and try_cast({birthday} as date) is not null"
        f"\n    and substr('10X98765432', {total} % 11 + 1, 1) = substr({code}, 18, 1)\n)"
    )


def is_gs1(code: str, lengths: tuple[int, ...]) -> str:
    """GS1 General Specifications 7.9: the digits from the right weighted 1 and 3 in turn sum to a multiple of ten."""
    widest = max(lengths)
    weights = [3 if (widest - place) % 2 == 1 else 1 for place in range(1, widest + 1)]
    padded = code if len(lengths) == 1 else f"lpad({code}, {widest}, '0')"
    total = indented(_weighted_sum(padded, weights, "0123456789"))
    shape = "|".join(f"[0-9]{{{length}}}" for length in lengths)
    return f"(\n    {code} rlike '^({shape})$'\n    and {total} % 10 = 0\n)"


# the area code comes without its zero; service numbers 400, 800 and 95xxx are national
_TELEPHONE = (
    r"^[+](86(1[3-9][0-9]{9}|10[0-9]{8}|2[0-9]{9}|[3-9][0-9]{2}[0-9]{7,8}|[48]00[0-9]{7}|95[0-9]{3,6})"
    r"|([1-79][0-9]|8[0-57-9])[0-9]{5,13})(;ext=[0-9]{1,6})?$"
)
_ATOM = "[a-z0-9!#$&*+/=?^_~-]+"
_EMAIL = rf"^{_ATOM}(\.{_ATOM})*@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{{2,}}$"
_PLACEHOLDERS = (
    *("n/a", "na", "null", "none", "nil", "nan", "tbd", "unknown", "test", "xxx", ".", "-", "--", "---", "?", "??"),
    *("???", "#n/a", "#ref!", "#value!", "#name?", "#div/0!"),
    *("无", "暂无", "未知", "不详", "待定", "待补", "测试", "空"),
)
# replacement characters, control characters, and what GBK and UTF-8 become when read as each other or as Latin-1
_GARBLED = r"[\x{FFFD}\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}]|锟斤拷|烫烫烫|屯屯屯|Ã[\x{80}-\x{BF}]|â€|ï»¿|ï¼"


def _not(check: Callable[[str], str]) -> Callable[[str, Params], str]:
    return lambda expression, _: f"{expression} is not null and not {check(expression)}"


def _unlike(pattern: str) -> Callable[[str, Params], str]:
    return lambda expression, _: f"not {expression} rlike {regex(pattern)}"


def _telephone(expression: str, params: Params) -> str:
    wrong = f"not {expression} rlike {regex(_TELEPHONE)}"
    if "source" not in params:
        return wrong
    # what has no digit at all is normalised to nothing, which only the value as sent can tell
    placeholders = ", ".join(map(literal, _PLACEHOLDERS))
    source = f"lower({trimmed(text_of(params['source']))})"
    return f"{wrong} or ({expression} is null and coalesce({source}, '') not in ('', {placeholders}))"


def _type(expression: str, params: Params) -> str:
    source = params["source"]
    empty = f"coalesce({trimmed(text_of(source))}, '')"
    if str(params["sql_type"]).lower().startswith(("date", "timestamp")):
        # SAP's zero date is how a date is left out
        empty = f"regexp_replace({empty}, '[-0/.: ]', '')"
    return f"{expression} is null and {empty} <> ''"


def _decimals(expression: str, params: Params) -> str:
    source = params.get("source") or expression
    pattern = rf"\.[0-9]{{{int(params['scale'])}}}[0-9]*[1-9]"
    return f"coalesce({number(source)}, {text_of(source)}) rlike {regex(pattern)}"


def _compare(expression: str, params: Params) -> str:
    opposite = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": "<>", "<>": "="}
    if params["operator"] not in opposite:
        raise ConfigurationError(
            f"rule compare with {params['other']}",
            f"does not know the operator {params['operator']}.",
            f"write one of {' '.join(opposite)}.",
        )
    return f"{expression} {opposite[params['operator']]} {params['other']}"


def _outside(expression: str, params: Params) -> str:
    return f"{expression} not between {value_literal(params['minimum'])} and {value_literal(params['maximum'])}"


def _code_out_of_force(expression: str, params: Params) -> str:
    from datong_platform.standard import codes

    day = f"cast({params['other']} as date)"
    conditions = [
        f"({expression} = {literal(code.code)} and {day} {sign} date'{bound.isoformat()}')"
        for code in codes.dated(str(params["code_set"]))
        for sign, bound in (("<", code.valid_from), (">", code.valid_until))
        if bound
    ]
    return " or ".join(conditions) or "false"


def _known_code_name(params: Params) -> str:
    return f"known_{params['code_set']}"


_KINDS = (
    RuleKind(
        "required", "completeness", "is there", "必填",
        lambda e, _: f"{e} is null", "{field} is missing", "{field}缺失",
    ),
    RuleKind(
        "required_if", "completeness", "is there when a condition holds", "条件必填",
        lambda e, p: f"{e} is null and ({p['condition']})",
        "{field} is missing, though {because}", "{field}缺失：{because_zh}",
        needs=("condition", "because", "because_zh"),
    ),
    RuleKind(
        "required_with", "completeness", "is there when another field is", "伴随必填",
        lambda e, p: f"{e} is null and {p['other']} is not null",
        "{field} is missing beside {other}", "{field}缺失，而相关值为{other}", needs=("other",),
    ),
    RuleKind(
        "not_placeholder", "completeness", "is no stand-in such as N/A or 暂无", "非占位值",
        lambda e, _: f"lower({trimmed(e)}) in ({', '.join(map(literal, _PLACEHOLDERS))})",
        "{field} is only a placeholder: {value}", "{field}为占位值：{value}",
    ),
    RuleKind(
        "type", "conformity", "can be read as its type", "类型正确", _type,
        "{field} must be a {sql_type} and is {source}", "{field}的值{source}不是有效的{sql_type}",
        needs=("source", "sql_type"),
    ),
    RuleKind(
        "decimals", "conformity", "has no more decimals than the field holds", "小数位数", _decimals,
        "{field} may have {scale} decimals and is {source}", "{field}最多{scale}位小数，实际为{source}",
        needs=("scale",),
    ),
    RuleKind(
        "max_length", "conformity", "is not too long", "最大长度",
        lambda e, p: f"length({e}) > {int(p['maximum'])}",
        "{field} may have {maximum} characters and is {value}", "{field}最多{maximum}个字符，实际为{value}",
        needs=("maximum",),
    ),
    RuleKind(
        "min_length", "conformity", "is not too short", "最小长度",
        lambda e, p: f"length({e}) < {int(p['minimum'])}",
        "{field} must have {minimum} characters and is {value}", "{field}至少{minimum}个字符，实际为{value}",
        needs=("minimum",),
    ),
    RuleKind(
        "pattern", "conformity", "has its form", "格式",
        lambda e, p: f"not {e} rlike {regex(p['pattern'])}",
        "{field} does not have the form {form}: {value}", "{field}不符合格式{form}：{value}",
        needs=("pattern", "form"),
    ),
    RuleKind(
        "one_of", "conformity", "is one of the listed values", "取值范围",
        lambda e, p: f"{e} not in ({', '.join(map(value_literal, p['values']))})",
        "{field} must be one of {values} and is {value}", "{field}必须是{values}之一，实际为{value}",
        needs=("values",),
    ),
    RuleKind(
        "known_code", "conformity", "has a counterpart in the standard's code set", "代码已对照",
        lambda e, p: f"{e} is null" if p["is_required"] else f"{e} is null and {is_sent(p['source'])}",
        "{code_set} {source} is not in the crosswalk", "代码集{code_set}的对照表中没有{source}",
        needs=("code_set", "source"), takes={"is_required": True}, whole_name=_known_code_name,
    ),
    RuleKind(
        "code_in_force", "accuracy", "its code may be used on that day", "代码在有效期内", _code_out_of_force,
        "{code_set} {value} is not in force on {other}", "代码集{code_set}的{value}在{other}不在有效期内",
        needs=("code_set", "other"),
    ),
    RuleKind(
        "readable_text", "conformity", "is not garbled by a wrong encoding", "无乱码",
        lambda e, _: f"{e} rlike {regex(_GARBLED)}",
        "{field} was garbled by a wrong encoding: {value}", "{field}存在乱码：{value}",
    ),
    RuleKind(
        "telephone", "conformity", "is a telephone number", "电话号码", _telephone,
        "{field} is not a telephone number: {source}", "{field}不是有效的电话号码：{source}",
    ),
    RuleKind(
        "email", "conformity", "is an e-mail address", "电子邮箱", _unlike(_EMAIL),
        "{field} is not an e-mail address: {source}", "{field}不是有效的电子邮箱：{source}",
    ),
    RuleKind(
        "postal_code_cn", "conformity", "is a Chinese postal code", "邮政编码", _unlike("^[0-8][0-9]{5}$"),
        "{field} is not a Chinese postal code: {source}", "{field}不是有效的邮政编码：{source}",
    ),
    RuleKind(
        "credit_code", "accuracy", "is a unified social credit code (GB 32100)", "统一社会信用代码",
        _not(is_credit_code),
        "credit code {source} is not valid by GB 32100", "统一社会信用代码{source}不符合GB 32100",
    ),
    RuleKind(
        "resident_id", "accuracy", "is a resident identity number (GB 11643)", "居民身份证号",
        _not(is_resident_id),
        "{field} is not a resident identity number by GB 11643", "{field}不符合GB 11643",
    ),
    RuleKind(
        "gtin", "accuracy", "is a GTIN with its check digit", "商品条码", _not(lambda e: is_gs1(e, (8, 12, 13, 14))),
        "{field} is not a GTIN: {source}", "{field}不是有效的商品条码：{source}",
    ),
    RuleKind(
        "gln", "accuracy", "is a GLN with its check digit", "参与方位置码", _not(lambda e: is_gs1(e, (13,))),
        "{field} is not a GLN: {source}", "{field}不是有效的参与方位置码：{source}",
    ),
    RuleKind(
        "sscc", "accuracy", "is an SSCC with its check digit", "物流单元代码", _not(lambda e: is_gs1(e, (18,))),
        "{field} is not an SSCC: {source}", "{field}不是有效的物流单元代码：{source}",
    ),
    RuleKind(
        "positive", "accuracy", "is there and above zero", "大于零",
        lambda e, _: f"coalesce({e}, 0) <= 0",
        "{field} must be above zero and is {value}", "{field}必须大于零，实际为{value}",
    ),
    RuleKind(
        "not_negative", "accuracy", "is not below zero", "不小于零",
        lambda e, _: f"{e} < 0",
        "{field} must not be below zero and is {value}", "{field}不得小于零，实际为{value}",
    ),
    RuleKind(
        "minimum", "accuracy", "is not below a bound", "最小值",
        lambda e, p: f"{e} < {value_literal(p['minimum'])}",
        "{field} must be {minimum} or more and is {value}", "{field}不得小于{minimum}，实际为{value}",
        needs=("minimum",),
    ),
    RuleKind(
        "maximum", "accuracy", "is not above a bound", "最大值",
        lambda e, p: f"{e} > {value_literal(p['maximum'])}",
        "{field} must be {maximum} or less and is {value}", "{field}不得大于{maximum}，实际为{value}",
        needs=("maximum",),
    ),
    RuleKind(
        "range", "accuracy", "lies between two bounds", "取值区间", _outside,
        "{field} must be from {minimum} to {maximum} and is {value}",
        "{field}必须在{minimum}到{maximum}之间，实际为{value}", needs=("minimum", "maximum"),
    ),
    RuleKind(
        "plausible_date", "accuracy", "is a day that business can have had", "日期合理", _outside,
        "{field} must be from {minimum} to {maximum} and is {value}",
        "{field}必须在{minimum}到{maximum}之间，实际为{value}",
        takes={"minimum": "1990-01-01", "maximum": "2099-12-31"},
    ),
    RuleKind(
        "compare", "consistency", "stands to another field as it must", "字段间关系", _compare,
        "{field} must be {operator} {other_name} ({other}) and is {value}",
        "{field}必须{operator}{other_name_zh}（{other}），实际为{value}",
        needs=("other", "operator", "other_name", "other_name_zh"),
    ),
    RuleKind(
        "expression", "consistency", "an own condition over several fields holds", "自定义关系",
        lambda _, p: f"not ({p['holds']})",
        "{because}: {value}", "{because_zh}：{value}",
        needs=("holds", "because", "because_zh", "name"), whole_name=lambda p: str(p["name"]),
    ),
    RuleKind(
        "unique", "consistency", "comes once", "唯一",
        lambda e, p: f"{e} is not null and {p['occurrences']} > 1",
        "{field} {value} comes more than once", "{field}的值{value}重复", needs=("occurrences",),
    ),
    RuleKind(
        "refers_to", "consistency", "the record that it names is there", "引用完整",
        lambda e, p: f"{e} is not null and {p['found']} is null",
        "{entity} {value} is not known", "{entity_zh}{value}不存在",
        needs=("entity", "found"), takes={"entity_zh": "所引用的记录"}, suffix="entity",
    ),
    RuleKind(
        "not_after_batch", "timeliness", "did not happen after it was read", "不晚于采集时间",
        lambda e, p: f"cast({e} as timestamp) > {p['batch_at']} + interval {int(p['slack_hours'])} hours",
        "{field} lies after the moment at which it was read: {value}", "{field}晚于采集时间：{value}",
        takes={"batch_at": "_datong_ingested_at", "slack_hours": 24},
    ),
)  # fmt: skip

RULES: dict[str, RuleKind] = {kind.name: kind for kind in _KINDS}
"""Every rule kind by the name that contracts call it."""


def rule(name: str) -> RuleKind:
    """The rule kind `name`. ConfigurationError when there is none."""
    if name not in RULES:
        raise ConfigurationError(f"rule {name}", "is not known.", f"write one of: {', '.join(sorted(RULES))}.")
    return RULES[name]


def occurrences(columns: list[str]) -> str:
    """How often the combination of `columns` comes within its system: what the rule `unique` is given, as a column."""
    return f"count(*) over (partition by source_system, {', '.join(columns)})"


def failures(checks: Sequence[Check]) -> str:
    """The column `_failures`: an array with a struct for every rule that the row breaks, null when it breaks none.

    A row that keeps all rules builds no array: that made a check of a million rows eight times as fast.
    """
    if not checks:
        return f"cast(null as array<{_FAILURE_TYPE}>)"
    any_broken = "\n        or ".join(f"({indented(check.condition, 2)})" for check in checks)
    listed = indented(",\n".join(check.element for check in checks), 3)
    return (
        f"case\n    when\n        {any_broken}\n        then filter(\n            array(\n            {listed}"
        "\n            ),\n            failure -> failure is not null\n        )\nend"
    )


_FAILURE_TYPE = f"struct<{', '.join(f'{name}: string' for name in FAILURE_FIELDS[:-1])}, is_withheld: boolean>"


def is_withheld(column: str = "_failures") -> str:
    """The SQL boolean, never null, that some failure keeps the row out of silver."""
    return f"coalesce(exists({column}, failure -> failure.is_withheld), false)"


def macros() -> str:
    """The file of generated macros: the checks of a code's form and check character, for hand-written models."""
    lines = [
        "{#",
        "    Check characters. Generated from platform/datong_platform/standard/rules.py by `datong standard compile`;",
        "    change it there.",
        "#}",
    ]
    checks = {
        "is_credit_code": is_credit_code,
        "is_resident_id": is_resident_id,
        "is_gtin": lambda code: is_gs1(code, (8, 12, 13, 14)),
    }
    for name, check in checks.items():
        lines += ["", f"{{% macro {name}(code) -%}}", f"    {indented(check('{{ code }}'))}", "{%- endmacro %}", ""]
    return "\n".join(lines).rstrip() + "\n"
