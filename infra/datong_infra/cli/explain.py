"""Where a value comes from, on the command line: a tree for people, JSON for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from datong_infra.cli.output import Format, plain, print_json, print_line

if TYPE_CHECKING:
    from datong_assets.explain import Step

_SHOWN = 10
"""Steps below one step that the tree shows; JSON has all."""


def show(table: str, key: str, column: str, format_: Format) -> None:
    """The value and what it was made of."""
    from datong_assets import explain

    found = explain.explain(table, key, column)
    if format_ is Format.json:
        print_json(asdict(found))
        return
    for line in _lines(found, 0):
        print_line(line)


def _lines(step: Step, depth: int) -> list[str]:
    pad = "   " * depth
    key = ", ".join(f"{name} {_text(value)}" for name, value in step.key.items())
    proof = {True: ", proved", False: ", NOT proved by these rows alone", None: ""}[step.is_proved]
    lines = [f"{pad}{step.table}.{step.column} = {_text(step.value)}  [{key}]{proof}"]
    if step.expression:
        lines.append(f"{pad}   by {' '.join(step.expression.split())}")
    if step.law:
        law = step.law
        told = [f"contract {law.contract} {law.version}"]
        told += [f"rules {', '.join(law.rules)}"] if law.rules else []
        told += [f"normalised {', '.join(law.normalised)}"] if law.normalised else []
        told += [f"unit {law.unit}"] if law.unit else []
        told += [f"codes {law.code_set}"] if law.code_set else []
        lines.append(f"{pad}   {'; '.join(told)}")
        lines += [f"{pad}   decided: {each}" for each in law.decisions]
    if step.note:
        lines.append(f"{pad}   {step.note}")
    for sent in step.sent:
        fields = ", ".join(f"{name} = {_text(value)}" for name, value in sent.fields.items())
        lines.append(
            f"{pad}   sent by {sent.system} {sent.entity} {sent.source_key}, batch {sent.batch}, "
            f"read {sent.ingested_at}: {fields}"
        )
    many = {name: count for name, count in step.rows.items() if count > 1}
    lines += [f"{pad}   of {count} rows of {name}:" for name, count in many.items()]
    for parent in step.parents[:_SHOWN]:
        lines += _lines(parent, depth + 1)
    if len(step.parents) > _SHOWN:
        lines.append(f"{pad}   … {len(step.parents) - _SHOWN} more: --format json")
    return lines


def _text(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else str(plain(value))
