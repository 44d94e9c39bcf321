"""How a group of commands shows itself: commands under headings, each with its first sentence whole, lists as lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from typer.core import TyperGroup


class Group(TyperGroup):
    """A group whose help cuts nothing off; `headings` names the commands of each heading, in their order."""

    headings: ClassVar[Mapping[str, Sequence[str]]] = {}

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        if self.help:
            # without this mark the steps of a numbered list are run together as one paragraph
            self.help = self.help.replace("\n\n1. ", "\n\n\b\n1. ")

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands: those of each heading, then those that are under none."""
        under = {name for names in self.headings.values() for name in names}
        rest = [name for name in self.commands if name not in under]
        sections = {**self.headings, ("Others" if self.headings else "Commands"): rest}
        widest = max((len(name) for name in self.commands), default=0)
        for title, names in sections.items():
            rows = [
                (f"{name:{widest}}", first_sentence(self.commands[name].short_help or self.commands[name].help or ""))
                for name in names
                if name in self.commands and not self.commands[name].hidden
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def first_sentence(text: str) -> str:
    """The first sentence of a help text, on one line."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    sentence, full_stop, _ = paragraph.partition(". ")
    return f"{sentence}." if full_stop else paragraph
