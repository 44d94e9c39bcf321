"""XML documents: what an entity says of the elements that make its rows."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from datong_ingestion.connections.base import Options
from datong_ingestion.connections.files import DocumentConnection, Format, Limits

_STEP = re.compile(r"(?:[\w.-]+:)?[\w.-]+\Z|\.\.\Z|\.\Z|@(?:[\w.-]+:)?[\w.-]+\Z")


def _path(text: str) -> str:
    steps = text.lstrip("/").split("/")
    if not all(_STEP.match(step) for step in steps) or any(step[0] in "@." and step != ".." for step in steps[:-1]):
        raise ValueError(f"{text!r} is not a path; write steps as a, p:a, .. and at the end @a or .")
    return text


class XmlConnection(DocumentConnection):
    """A place with XML documents."""

    limits: Limits = Field(default_factory=lambda: Limits(record_mib=8))
    """An element takes up to 30 times its size in memory."""


class XmlOptions(Options):
    """Where the rows are in a document, and where their fields."""

    rows: Annotated[str, AfterValidator(_path)]
    """Path of the element that makes a row, from the root on: `/Orders/Order/Line`, or `/p:Order` with namespaces."""
    paths: dict[str, Annotated[str, AfterValidator(_path)]] = {}
    """From a field to its path, relative to the row: `cbc:ID`, `Price/@currency`, `../Number` (of the element around
    it), `/Orders/Date` (from the root). A field without a path is the child or attribute of its name."""
    namespaces: dict[str, str] = {}
    """From a prefix in paths to its namespace. A step without a prefix fits any namespace."""
    ignore: list[str] = []
    """Children of the row, by name, that are not wanted, as those that another entity reads."""
    xsd: str = ""
    """An XML schema (a file) that a document must keep; one that does not is refused."""
    other_roots: Literal["refuse", "skip"] = "refuse"
    """What becomes of a document whose root is not the first step of `rows`: refused, because a sender changed
    something; or passed over without a word, where several kinds of documents lie under one pattern."""
    newest_only: bool = False
    """Mode full: only the newest document counts."""
    values: Format = Field(default_factory=Format)

    @model_validator(mode="after")
    def _known_prefixes(self) -> Self:
        used = {
            step.lstrip("@").partition(":")[0]
            for path in (self.rows, *self.paths.values())
            for step in path.split("/")
            if ":" in step
        }
        if unknown := sorted(used - set(self.namespaces)):
            raise ValueError(f"prefix {', '.join(unknown)} has no namespace: declare it under namespaces")
        if ".." in self.rows or "@" in self.rows:
            raise ValueError("rows must be a path of elements from the root")
        return self
