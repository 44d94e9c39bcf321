"""Every command that a page prints is there, with every option that it is given."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from datong_infra.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
_ROOMS = ("assets", "dbt_project", "infra", "ingestion", "platform", "tests")
_IN_ROOMS = sorted(path for folder in _ROOMS for path in (ROOT / folder).glob("**/*.md") if "target" not in path.parts)
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *_IN_ROOMS]
_INLINE = re.compile(r"`(?:\$ )?(?:uv run )?(datong [^`]+)`")
_LINE = re.compile(r"^(?:\$ |    )?(?:[A-Z_]+=\S+ )?(?:uv run )?(datong [a-z].*)$")
_LAZY = {"bench"}
"""Groups whose commands are files of their own, found when they are asked for."""


def commands(text: str) -> list[str]:
    """The commands of a page, one by one, without their remarks."""
    found = [command for line in text.splitlines() for command in _INLINE.findall(line)]
    found += [match[1] for line in text.splitlines() if (match := _LINE.match(line))]
    parts = (re.sub(r"\s#.*$|\\$", "", part).strip() for one in found for part in re.split(r" && | \| ", one))
    return [part for part in parts if part.startswith("datong ")]


def unknown(command: str) -> list[str]:
    """The words of a command that are no command and no option of it."""
    words = shlex.split(command.replace("…", "x").replace("[", "").replace("]", ""))[1:]
    at: Any = typer.main.get_command(app)
    while hasattr(at, "get_command") and words and not words[0].startswith("-"):
        word = words.pop(0).rstrip(",.:")
        if word in _LAZY:
            return []
        at = at.get_command(typer.Context(at), word)
        if at is None:
            return [word]
    options = {name for one in at.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
    return [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in options]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_are_there(page: Path) -> None:
    wrong = {one: words for one in commands(page.read_text("utf-8")) if (words := unknown(one))}
    assert not wrong


def test_a_command_that_is_not_there_would_be_noticed() -> None:
    text = "`datong quarantine lift X`\n    datong ingest erp --rebuilt   # anew\n$ datong up && datong sql x --limit 3"
    found = {one: unknown(one) for one in commands(text)}
    assert [words for words in found.values() if words] == [["lift"], ["--rebuilt"]]
    assert len(found) == 4
