"""The few pieces of SQL that normalisers and rules are made of, the same on Sail and on Spark."""

from __future__ import annotations

import re

_INDENT = "    "


def literal(value: str) -> str:
    """A text as an SQL literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def regex(pattern: str) -> str:
    """A regular expression as a raw SQL literal. ValueError when it holds an apostrophe."""
    if "'" in pattern:
        raise ValueError(f"the pattern {pattern} holds an apostrophe; write it as \\x27")
    return f"r'{pattern}'" if "\\" in pattern else f"'{pattern}'"


def text_of(expression: str) -> str:
    """Any value as text."""
    return f"cast({expression} as string)"


# Unicode's White_Space, and what has no width: U+180E, U+200B, U+2060, U+FEFF; as escapes, for none can be seen
_BLANK_CHARACTERS = r" \t\n\r" + "".join(
    f"\\u{code:04x}"
    for code in (
        *(0x0B, 0x0C, 0x85, 0xA0, 0x1680, 0x180E, *range(0x2000, 0x200C)),
        *(0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF),
    )
)


def trimmed(expression: str) -> str:
    """A text without blanks at its ends, of whatever width: a plain `trim` takes off the ASCII blank alone."""
    return f"trim(both '{_BLANK_CHARACTERS}' from {expression})"


def shown(expression: str, missing: str = "missing") -> str:
    """A value for a sentence: as text, or the word for none."""
    return f"coalesce({text_of(expression)}, {literal(missing)})"


def sentence(*parts: str) -> str:
    """Texts and expressions put together; neighbours that are literals become one."""
    joined: list[str] = []
    for part in parts:
        if joined and joined[-1].startswith("'") and re.fullmatch(r"'(?:[^'\\]|\\.)*'", part):
            joined[-1] = joined[-1][:-1] + part[1:]
        else:
            joined.append(part)
    return joined[0] if len(joined) == 1 else f"concat({', '.join(joined)})"


def cases(branches: list[tuple[str, str]], otherwise: str | None = None) -> str:
    """A `case` with one line a branch."""
    lines = [f"{_INDENT}when {condition} then {result}" for condition, result in branches]
    if otherwise is not None:
        lines.append(f"{_INDENT}else {otherwise}")
    return "\n".join(["case", *lines, "end"])


def indented(sql: str, levels: int = 1) -> str:
    """SQL moved to the right, its first line excepted."""
    return sql.replace("\n", "\n" + _INDENT * levels)
