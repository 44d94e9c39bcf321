"""The business glossary: what words mean and how metrics are made, from `dbt_project/standard/terms.yaml`.

A term names the columns that hold it. Columns of tables with a contract are looked up there, those of other tables of
gold in the models' own files, so no dbt has to be parsed. A mistake names file, line, term and next step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from datong_platform.settings import DBT_PROJECT
from datong_platform.standard import contract
from datong_platform.standard.contract import Problem

FILE = DBT_PROJECT / "standard" / "terms.yaml"
MODELS = DBT_PROJECT / "models"
_FIELD = re.compile(r"(silver|gold|serve)\.[a-z0-9_]+\.[a-z0-9_]+")


class Term(BaseModel):
    """A word of the business; a metric has a formula."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    title: str = Field(min_length=1)
    title_zh: str = Field(min_length=1)
    kind: Literal["term", "metric"] = "term"
    definition: str = Field(min_length=1)
    definition_zh: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    """Who says what it means."""
    formula: str = ""
    formula_zh: str = ""
    unit: str = ""
    unit_zh: str = ""
    synonyms: tuple[str, ...] = ()
    synonyms_zh: tuple[str, ...] = ()
    fields: tuple[str, ...] = Field(min_length=1)
    """The columns that hold it: `gold.mart_inventory.actual_quantity`."""
    see_also: tuple[str, ...] = ()
    source: str = ""
    """The standard that defines it."""

    @model_validator(mode="after")
    def _in_both_languages(self) -> Term:
        if (self.kind == "metric") != bool(self.formula):
            raise ValueError("a metric has a `formula`, and only a metric")
        for name in ("formula", "unit", "synonyms"):
            if bool(getattr(self, name)) != bool(getattr(self, f"{name}_zh")):
                raise ValueError(f"`{name}` is said in one language only: write `{name}` and `{name}_zh`")
        return self


def terms(path: Path = FILE) -> dict[str, Term]:
    """The terms by name, in the file's order; ConfigurationError at the first mistake."""
    found, wrong = _read(path, path.stat().st_mtime_ns if path.exists() else 0)
    if wrong:
        raise wrong[0].error()
    return {name: term for name, (term, _) in found.items()}


def problems(path: Path = FILE) -> list[Problem]:
    """Every mistake in the glossary: of form, and columns and terms that it names and that are not there."""
    found, wrong = _read(path, path.stat().st_mtime_ns if path.exists() else 0)
    return [*wrong, *_across(path, found)]


@lru_cache(maxsize=4)
def _read(path: Path, _: int) -> tuple[dict[str, tuple[Term, int]], list[Problem]]:
    if not path.is_file():
        return {}, [Problem(path, 1, "", "is not there.", "bring it back from git.")]
    text = path.read_text("utf-8")
    try:
        content: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        return {}, [Problem(path, line, "", "is not YAML.", "mend the line; values with a colon need quotes.")]
    if not isinstance(content, dict) or set(content) != {"terms"} or not isinstance(content["terms"], list):  # pyright: ignore
        return {}, [Problem(path, 1, "", "holds no list of terms.", "begin with `terms:`, then `- name: ...`.")]
    found: dict[str, tuple[Term, int]] = {}
    wrong: list[Problem] = []
    entries: list[Any] = content["terms"]  # pyright: ignore[reportUnknownVariableType]
    for entry, line in zip(entries, _lines(text, len(entries)), strict=True):
        name = str(entry.get("name", "")) if isinstance(entry, dict) else ""  # pyright: ignore
        try:
            term = Term.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            reason = f"{f'`{place}`: ' if place else ''}{first['msg']}."
            wrong.append(Problem(path, line, name, reason, "mend the term; see the ones beside it."))
            continue
        if term.name in found:
            wrong.append(Problem(path, line, name, "is in the file twice.", "keep one of the two."))
        found[term.name] = (term, line)
    return found, wrong


def _lines(text: str, count: int) -> list[int]:
    """The line of each term: that of its dash."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    items = node.value[0][1].value if isinstance(node, yaml.MappingNode) else []
    return [item.start_mark.line + 1 for item in items] or [1] * count


def _across(path: Path, found: Mapping[str, tuple[Term, int]]) -> Iterator[Problem]:
    known = columns() if found else {}
    for term, line in found.values():
        for other in term.see_also:
            if other not in found or other == term.name:
                yield Problem(path, line, term.name, f"`see_also` names {other}.", "name another term.")
        for field in term.fields:
            table, _, column = field.rpartition(".")
            if not _FIELD.fullmatch(field):
                reason = f"{field} is no column of silver, gold or serve."
                yield Problem(path, line, term.name, reason, "write it as silver.material.gtin.")
            elif column not in known.get(table, ()):
                reason = f"{field}: {f'{table} has no {column}' if table in known else f'there is no {table}'}."
                yield Problem(path, line, term.name, reason, "name a column that is there, or take it out.")


def columns() -> dict[str, frozenset[str]]:
    """The columns of each table of silver, gold and serve, by the contracts and the models' files."""
    found: dict[str, frozenset[str]] = {}
    for path in sorted((MODELS / "gold").rglob("*.yml")):
        content: Any = yaml.safe_load(path.read_text("utf-8"))
        for model in content.get("models", ()):
            found[f"gold.{model['name']}"] = frozenset(column["name"] for column in model.get("columns", ()))
    return found | {
        each.table: frozenset(column.name for column in each.columns) for each in contract.contracts().values()
    }
