"""How a personal value is shown to those who need not know it: SQL that Sail, Spark and PostgreSQL run alike.

By GB/T 35273 (6.2 and 7.2) a screen shows no more of personal information than its reader needs. A mask keeps enough to
tell two records apart and to check a value that one knows already. Nothing stays nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from datong_platform.errors import ConfigurationError


@dataclass(frozen=True)
class Mask:
    """A way to show a text: `sql` maps the SQL of the value to the SQL of what is shown."""

    name: str
    sql: Callable[[str], str]
    title: str
    title_zh: str
    example: str


def _name(value: str) -> str:
    return f"concat(left({value}, 1), repeat('*', greatest(length({value}) - 1, 1)))"


def _phone(value: str) -> str:
    return (
        f"case when length({value}) > 8"
        f" then concat(left({value}, length({value}) - 8), '****', right({value}, 4)) else '****' end"
    )


def _email(value: str) -> str:
    shown = f"concat(left({value}, 1), '***@', split_part({value}, '@', 2))"
    return f"case when {value} like '%@%' then {shown} else '***' end"


def _address(value: str) -> str:
    return f"case when length({value}) > 6 then concat(left({value}, 6), '****') else '****' end"


def _id_number(value: str) -> str:
    return (
        f"case when length({value}) > 7"
        f" then concat(left({value}, 3), repeat('*', length({value}) - 7), right({value}, 4)) else '****' end"
    )


def _full(_: str) -> str:
    return "'***'"


MASKS: dict[str, Mask] = {
    mask.name: mask
    for mask in (
        Mask("name", _name, "first character", "只显示首字", "何*"),
        Mask("phone", _phone, "without the four digits before the last four", "隐藏中间四位", "+86138****8000"),
        Mask("email", _email, "first character and domain", "显示首字符和域名", "s***@customer.example"),
        Mask("address", _address, "first six characters", "显示前六个字符", "上海市浦东新****"),
        Mask("id_number", _id_number, "first three and last four", "显示前三位和后四位", "310***********0011"),
        Mask("full", _full, "nothing", "全部隐藏", "***"),
    )
}
"""Every mask by the name that contracts call it."""


def masked(name: str, value: str) -> str:
    """The SQL of what is shown of a text, null where there is none. ConfigurationError for an unknown mask."""
    if name not in MASKS:
        raise ConfigurationError(f"mask {name}", "is not known.", f"write one of {', '.join(MASKS)}.")
    return f"case when {value} is not null then {MASKS[name].sql(value)} end"


def macros() -> str:
    """The file of generated macros: each mask under its name, for models of serve and the views of `masked`."""
    lines = [
        "{#",
        "    Masks of personal values. Generated from platform/datong_platform/standard/masks.py by",
        "    `datong standard compile`; change it there.",
        "#}",
    ]
    for name, mask in MASKS.items():
        lines += ["", f"{{% macro mask_{name}(value) -%}}", f"    {{#- {mask.title}: {mask.title_zh}. -#}}"]
        lines += [f"    {masked(name, '{{ value }}')}", "{%- endmacro %}", ""]
    return "\n".join(lines).rstrip() + "\n"
