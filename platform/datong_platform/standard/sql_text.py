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
