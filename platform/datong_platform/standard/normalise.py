"""One way to write a value: what a contract's `normalise` names, as SQL that Sail and Spark run with the same result.

A normaliser takes an SQL expression of a text and gives an SQL expression: of a text, or of a typed value where its
`result` says so. It never guesses: what it cannot read becomes null, and the rule `type` reports it by the value as
sent. `datong standard compile` writes each of them as a macro of the same name, so that staging models, silver and the
check of one record share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from datong_platform.errors import ConfigurationError
from datong_platform.standard.sql_text import cases, indented, regex, text_of, trimmed

Result = Literal["text", "number", "date", "timestamp", "boolean"]
"""What a normaliser gives: `number` is a plain decimal number still written as text, for a cast without loss."""


@dataclass(frozen=True)
class Normaliser:
    """A named way to write a value; `function` maps the SQL of the value to the SQL of the normalised one."""

    name: str
    function: Callable[[str], str]
    title: str
    title_zh: str
    result: Result = "text"

    def __call__(self, expression: str) -> str:
        """The SQL of `expression`, normalised."""
        return self.function(expression)


# U+FF01 to U+FF5E and the ideographic space; apostrophe and backslash come last because SQL cannot hold them plainly
_FULL = "".join(chr(code) for code in range(0xFF01, 0xFF5F) if code not in {0xFF07, 0xFF3C}) + "\u3000＇＼"
_HALF = "".join(chr(code) for code in range(0x21, 0x7F) if code not in {0x27, 0x5C}) + " "
_BLANKS = regex(r"[\s\p{Z}]+")
_INVISIBLE = regex(r"[\x{00AD}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}\x{FEFF}]")
_NAME_NOISE = regex(r"[\s\p{Z}.,·•()\-_&]+")
_LEGAL_FORM = regex(
    "(股份有限公司|有限责任公司|集团有限公司|有限公司|公司|COMPANYLIMITED|COLTD|LIMITED|LTD|CORPORATION|CORP|INC|GMBH)$"
)
# 0512-66668888-801: an area code, a number of seven or eight digits, and the extension
_DASHED_EXTENSION = regex(r"^(\s*\(?(?:\+?86[- ]?)?0[0-9]{2,3}\)?[- ]?[0-9]{7,8})-([0-9]{1,5})\s*$")
_MARKED_EXTENSION = regex(r"\s*(?:转|轉|分机|分機|[Ee][Xx][Tt]\.?|#|x)\s*:?\s*([0-9]{1,6})\s*$")
_MONEY_SIGNS = regex(r"[\s\p{Z}¥$€£￥]+")
_BRACKETED = regex(r"^\((.+)\)$")
_CODE_NOISE = regex(r"[\s\p{Z}-]+")
_WHOLE = regex(r"^(-?[0-9]+)(\.0*)?$")

_MIDNIGHT = r"(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+]00:?00)?)?"
_CLOCK = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
_EIGHT_DIGITS = regex(r"^([0-9]{4})([0-9]{2})([0-9]{2})$")
_YEAR_FIRST = regex(rf"^([0-9]{{4}})[-/.年]([0-9]{{1,2}})[-/.月]([0-9]{{1,2}})日?{_MIDNIGHT}$")
_DOTTED = regex(r"^([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})$")
_SLASHED = regex(r"^([0-9]{1,2})[-/]([0-9]{1,2})[-/]([0-9]{4})$")
_ISO_DAY = regex("^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}$")
_EXCEL_DAY = regex(r"^([1-9][0-9]{4})(\.0*)?$")
_EXCEL_MOMENT = regex(r"^[1-9][0-9]{4}\.[0-9]+$")
_ODATA = regex(r"^/Date\((-?[0-9]{1,14})([+-][0-9]{4})?\)/$")
_ODATA_DAY = regex(r"^/Date\((-?[0-9]{1,14})\)/$")
_MILLISECONDS = regex("^[0-9]{13}$")
_FOURTEEN_DIGITS = regex(r"^([0-9]{4})([0-9]{2})([0-9]{2})[T ]?([0-9]{2}):?([0-9]{2}):?([0-9]{2})$")
_SHORT_OFFSET = regex(rf"^(.*[T ]{_CLOCK}) ?([+-][0-9]{{2}})([0-9]{{2}})$")
_MOMENT = regex(rf"^([0-9]{{4}})[-/]([0-9]{{1,2}})[-/]([0-9]{{1,2}})[T ]+({_CLOCK}) ?(Z|[+-][0-9]{{2}}:[0-9]{{2}})?$")
# a blank before the time, as $3T would be a group called 3T to Sail
_ISO_MOMENT = regex(r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2} [0-9]{1,2}:.*$")


def blank_to_null(value: str) -> str:
    """Blanks of any width off at both ends; nothing left is null."""
    return f"nullif({trimmed(value)}, '')"


def half_width(value: str) -> str:
    """Full-width forms and the ideographic space as ASCII: the part of NFKC that addresses and codes need."""
    return f"translate({value}, '{_FULL}', concat('{_HALF}', char(39), char(92)))"


def clean_text(value: str) -> str:
    """A text for people: half-width, without invisible characters, runs of blanks and line breaks as one blank."""
    visible = f"regexp_replace({half_width(value)}, {_INVISIBLE}, '')"
    return blank_to_null(f"regexp_replace({visible}, {_BLANKS}, ' ')")


def compact(value: str) -> str:
    """A code: half-width, without any blank or invisible character, upper case."""
    visible = f"regexp_replace({half_width(value)}, {_INVISIBLE}, '')"
    return f"nullif(upper(regexp_replace({visible}, {_BLANKS}, '')), '')"


def without_zeros(value: str) -> str:
    """A document number as people write it: 0000004711 is 4711."""
    return f"nullif(regexp_replace({trimmed(value)}, '^0+', ''), '')"


def material_number(value: str) -> str:
    """Upper case; padding is taken off numeric ones only, as SAP pads only those."""
    return cases([(f"{trimmed(value)} rlike '^[0-9]+$'", without_zeros(value))], otherwise=_upper(value))


def company_name_key(value: str) -> str:
    """A company's name to match by: half-width, upper case, without blanks, punctuation and the legal form."""
    bare = f"regexp_replace(upper({half_width(value)}), {_NAME_NOISE}, '')"
    return f"nullif(regexp_replace({bare}, {_LEGAL_FORM}, ''), '')"


def phone_number(value: str) -> str:
    """E.164: a plus, the country code, digits; a number without a country code is Chinese.

    An extension stays, as RFC 3966 writes it: 021-5888 6666 转 801 is +862158886666;ext=801.
    """
    number = f"regexp_replace({half_width(value)}, {_DASHED_EXTENSION}, '$1;$2')"
    number = f"regexp_replace({number}, {_MARKED_EXTENSION}, ';$1')"
    number = f"regexp_replace({number}, '[^0-9+;]', '')"
    number = f"regexp_replace({number}, '^00', '+')"
    number = f"regexp_replace({number}, '^86([0-9]{{10}})', '+86$1')"
    number = f"regexp_replace({number}, '^0?([0-9])', '+86$1')"
    return f"nullif(regexp_replace({number}, ';([0-9]{{1,6}})$', ';ext=$1'), '')"


def email(value: str) -> str:
    """An e-mail address: half-width, without blanks, lower case, without a leading mailto."""
    bare = f"regexp_replace(lower({half_width(value)}), {_BLANKS}, '')"
    return f"nullif(regexp_replace({bare}, '^mailto:', ''), '')"


def digits_only(value: str) -> str:
    """The digits of a GTIN, GLN or SSCC: blanks and hyphens off."""
    return f"nullif(regexp_replace({half_width(value)}, {_CODE_NOISE}, ''), '')"


def number(value: str) -> str:
    """A number as plain text: full-width, thousands' commas, SAP's trailing minus, accountants' brackets, money signs.

    1,234.50- is -1234.50 and (12) is -12; 1,23 is no number, because its comma can mean either.
    """
    pattern = r"^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$"
    return f"nullif(replace(regexp_extract({_signed(value)}, {regex(pattern)}, 1), ',', ''), '')"


def number_decimal_comma(value: str) -> str:
    """The same where the comma is the decimal sign: 1.234,50 is 1234.50."""
    pattern = r"^[+]?(-?(?:[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]*)?|[0-9]+(?:,[0-9]*)?|,[0-9]+))$"
    return f"nullif(translate(regexp_extract({_signed(value)}, {regex(pattern)}, 1), ',.', '.'), '')"


def _signed(value: str) -> str:
    bare = f"regexp_replace(translate({half_width(text_of(value))}, '−–', '--'), {_MONEY_SIGNS}, '')"
    return f"regexp_replace(regexp_replace({bare}, {_BRACKETED}, '-$1'), '^([^-]+)-$', '-$1')"


def date(value: str) -> str:
    """A date: ISO 8601, 20240105, 2024/1/5, 2024年1月5日, 05.01.2024, OData's /Date(ms)/, an Excel serial.

    SAP's zero date 00000000 is none. A time of day other than midnight is not dropped: such a value is no date.
    """
    return _date(_moment_text(value))


def date_day_first(value: str) -> str:
    """A date of a source that writes 05/01/2024 for 5 January; any other form is read as by `date`."""
    return _date(f"regexp_replace({_moment_text(value)}, {_SLASHED}, '$3-$2-$1')")


def date_month_first(value: str) -> str:
    """A date of a source that writes 01/05/2024 for 5 January; any other form is read as by `date`."""
    return _date(f"regexp_replace({_moment_text(value)}, {_SLASHED}, '$3-$1-$2')")


def _moment_text(value: str) -> str:
    return trimmed(f"translate({text_of(value)}, '０１２３４５６７８９－／．：　', '0123456789-/.: ')")


def _date(text: str) -> str:
    iso = f"regexp_replace({text}, {_EIGHT_DIGITS}, '$1-$2-$3')"
    iso = f"regexp_replace({iso}, {_YEAR_FIRST}, '$1-$2-$3')"
    iso = f"regexp_replace({iso}, {_DOTTED}, '$3-$2-$1')"
    # a time of day would be cut off, so only midnights of OData are dates
    milliseconds = f"try_cast(regexp_extract({text}, {_ODATA_DAY}, 1) as bigint)"
    return _first_of(
        f"try_cast(regexp_extract({iso}, {_ISO_DAY}, 0) as date)",
        f"date_add(date'1899-12-30', try_cast(regexp_extract({text}, {_EXCEL_DAY}, 1) as int))",
        f"case when {milliseconds} % 86400000 = 0 then cast(timestamp_millis({milliseconds}) as date) end",
    )


def timestamp(value: str) -> str:
    """A moment, UTC: ISO 8601 with or without offset (without: UTC), 20240105093000, OData's /Date(ms)/, milliseconds
    since 1970, an Excel serial with its fraction of a day. A date alone is its midnight.
    """
    text = _moment_text(value)
    iso = f"regexp_replace({text}, {_FOURTEEN_DIGITS}, '$1-$2-$3 $4:$5:$6')"
    iso = f"regexp_replace({iso}, {_SHORT_OFFSET}, '$1$2:$3')"
    iso = f"regexp_replace({iso}, {_MOMENT}, '$1-$2-$3 $4$5')"
    serial = f"try_cast(nullif(regexp_extract({text}, {_EXCEL_MOMENT}, 0), '') as decimal(18, 10))"
    return _first_of(
        f"try_cast(regexp_extract({iso}, {_ISO_MOMENT}, 0) as timestamp)",
        f"timestamp_millis(try_cast(regexp_extract({text}, {_ODATA}, 1) as bigint))",
        f"timestamp_millis(try_cast(regexp_extract({text}, {_MILLISECONDS}, 0) as bigint))",
        f"timestamp_seconds(cast(round(({serial} - 25569) * 86400) as bigint))",
        f"cast({indented(_date(text))} as timestamp)",
    )


def _first_of(*options: str) -> str:
    return "coalesce(\n    " + ",\n    ".join(options) + "\n)"


def boolean(value: str) -> str:
    """Yes or no: true/false, 1/0, Y/N, SAP's X, 是/否."""
    text = f"upper({trimmed(half_width(text_of(value)))})"
    return cases(
        [
            (f"{text} in ('TRUE', 'T', '1', 'Y', 'YES', 'X', '是', '真')", "true"),
            (f"{text} in ('FALSE', 'F', '0', 'N', 'NO', '否', '假')", "false"),
        ]
    )


def flag(value: str) -> str:
    """A block or deletion mark: anything written there is yes, nothing is no."""
    return f"coalesce({trimmed(value)}, '') <> ''"


def _upper(value: str) -> str:
    return f"upper({blank_to_null(value)})"


def _lower(value: str) -> str:
    return f"lower({blank_to_null(value)})"


NORMALISERS: dict[str, Normaliser] = {
    normaliser.name: normaliser
    for normaliser in (
        Normaliser("blank_to_null", blank_to_null, "without blanks around; blank is null", "去首尾空白，空串为空"),
        Normaliser("half_width", half_width, "full-width characters as half-width", "全角转半角"),
        Normaliser("clean_text", clean_text, "half-width, no invisible characters, single blanks", "清理文本"),
        Normaliser("upper", _upper, "upper case", "转大写"),
        Normaliser("lower", _lower, "lower case", "转小写"),
        Normaliser("compact", compact, "half-width, no blanks, upper case", "去空白并转大写"),
        Normaliser("without_zeros", without_zeros, "without leading zeros", "去前导零"),
        Normaliser("material_number", material_number, "upper case, numeric ones without padding", "物料编码"),
        Normaliser("company_name_key", company_name_key, "company's name to match by", "企业名称匹配键"),
        Normaliser("phone_number", phone_number, "telephone number by E.164", "电话号码（E.164）"),
        Normaliser("credit_code", compact, "unified social credit code as written", "统一社会信用代码"),
        Normaliser("resident_id", compact, "resident identity number as written", "居民身份证号"),
        Normaliser("email", email, "e-mail address", "电子邮箱"),
        Normaliser("digits_only", digits_only, "digits of a GTIN, GLN or SSCC", "条码数字"),
        Normaliser("number", number, "number, decimal point", "数字", "number"),
        Normaliser("number_decimal_comma", number_decimal_comma, "number, decimal comma", "数字（逗号小数）", "number"),
        Normaliser("date", date, "date", "日期", "date"),
        Normaliser("date_day_first", date_day_first, "date, day first", "日期（日在前）", "date"),
        Normaliser("date_month_first", date_month_first, "date, month first", "日期（月在前）", "date"),
        Normaliser("timestamp", timestamp, "moment, UTC", "时间戳（UTC）", "timestamp"),
        Normaliser("boolean", boolean, "yes or no", "是否", "boolean"),
        Normaliser("flag", flag, "a mark that is there or not", "标记", "boolean"),
    )
}
"""Every normaliser by the name that contracts and macros call it."""


def normalise(names: Iterable[str], expression: str) -> str:
    """The SQL of `expression` after the named normalisers in their order. ConfigurationError for an unknown one."""
    for name in names:
        if name not in NORMALISERS:
            raise ConfigurationError(
                f"normaliser {name}", "is not known.", f"write one of: {', '.join(sorted(NORMALISERS))}."
            )
        expression = NORMALISERS[name](expression)
    return expression


def typed(expression: str, sql_type: str) -> str:
    """The SQL of a text as a value of `sql_type`, null where it is not one; a text type leaves it as it is.

    Numbers and dates are read in all the forms that their normalisers know. For a column that has a type already, use
    a plain `try_cast`.
    """
    kind = sql_type.partition("(")[0].strip().lower()
    if kind in {"string", "varchar", "char"}:
        return expression
    if kind in {"decimal", "double", "float"}:
        return f"try_cast({number(expression)} as {sql_type})"
    if kind in {"tinyint", "smallint", "int", "integer", "bigint"}:
        # not every engine refuses 9.5 here: some cut it
        whole = f"regexp_extract({number(expression)}, {_WHOLE}, 1)"
        return f"try_cast({whole} as {sql_type})"
    if kind in {"date", "timestamp", "boolean"}:
        return NORMALISERS[kind](expression)
    raise ConfigurationError(f"type {sql_type}", "is none that a contract may name.", "write decimal, date, string…")


def macros() -> str:
    """The file of generated macros: each normaliser under its name, for the models of staging."""
    lines = [
        "{#",
        "    One way to write a value. Generated from platform/datong_platform/standard/normalise.py by",
        "    `datong standard compile`; change it there.",
        "#}",
    ]
    for name, normaliser in NORMALISERS.items():
        body = indented(normaliser("{{ value }}"))
        lines += ["", f"{{% macro {name}(value) -%}}", f"    {{#- {normaliser.title}: {normaliser.title_zh}. -#}}"]
        lines += [f"    {body}", "{%- endmacro %}", ""]
    return "\n".join(lines).rstrip() + "\n"
