"""Excel workbooks: one worksheet, its cells as the text that stands for their value, then the declared types.

A number is written out in full, a date as ISO 8601, an error (`#N/A`) as its code. Guards against: workbooks that
unpack to more than the limits, and a worksheet whose used cells lie so far apart that it fills the memory.
"""

from __future__ import annotations

import html
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa

from datong_ingestion.connections.files import FilesOptions, Limits
from datong_ingestion.documents.delimited import headings
from datong_ingestion.documents.refusals import Refusal, RefusedError, table
from datong_ingestion.documents.rows import Layout
from datong_ingestion.documents.unpack import check_ratio
from datong_ingestion.source import Page

_BLOCK = 1024 * 1024
_ROWS = 20_000
_CELL = re.compile(rb'<(?:\w+:)?c\b[^>]{0,200}?\br="([A-Z]{1,4})(\d{1,8})"')
_LONGEST_CELL = 12_000
_WITHOUT_VALUE = re.compile(
    rb'<(?:\w+:)?c\b[^>]{0,100}?\br="([A-Z]{1,3})(\d{1,7})"(?:'
    rb'[^>]{0,100}?\bt="e"[^>]{0,100}>(?:<f\b[^>]{0,200}(?:/>|>[^<]{0,8192}</f>))?<v>([^<]{1,40})</v>'
    rb"|[^>]{0,100}><f\b[^>/]{0,200}>([^<]{1,8192})</f>(?:<v></v>|<v ?/>)?</(?:\w+:)?c>)"
)
_LINKS = "xl/_rels/workbook.xml.rels"
_OLD = b"\xd0\xcf\x11\xe0"


class Workbooks:
    """Reads the workbooks of one entity."""

    def __init__(self, options: FilesOptions, limits: Limits) -> None:
        self.options, self.limits = options, limits

    def names(self, path: Path) -> list[str]:
        """The columns of a workbook."""
        return self._sheet(path)[0]

    def pages(self, path: Path, layout: Layout) -> Iterator[Page]:
        """The rows of a workbook."""
        names, rows = self._sheet(path)
        layout.begin(names)
        width = len(names)
        first = 1
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            kept: list[Sequence[Any]] = []
            numbers: list[int] = []
            refusals: list[Refusal] = []
            for number, row in enumerate(part, first + start):
                beyond = [value for value in row[width:] if value not in {"", None}]
                if beyond:
                    refusals.append(
                        Refusal(repr(row).encode(), f"row {number}", f"it has values beyond the {width} columns")
                    )
                elif any(value not in {"", None} for value in row[:width]):
                    kept.append(row)
                    numbers.append(number)
            columns = {
                name: pa.array([_text(row[index]) if index < len(row) else None for row in kept], pa.string())
                for index, name in enumerate(names)
            }
            yield layout.page(
                columns, len(kept), np.array(numbers, dtype=np.int64), table(refusals) if refusals else None
            )

    def _sheet(self, path: Path) -> tuple[list[str], Sequence[Sequence[Any]]]:
        try:
            import python_calamine
        except ImportError as error:
            from datong_platform.errors import ConfigurationError

            raise ConfigurationError(
                "protocol files", "needs python-calamine to read workbooks.", "run `uv sync --extra files`."
            ) from error
        with path.open("rb") as file:
            is_old = file.read(4) == _OLD
        if is_old:
            check_ratio(1, path.stat().st_size, Limits(ratio=1e9), self.limits.expanded_mib / 20)
        else:
            self._check_size(path)
        try:
            book = python_calamine.CalamineWorkbook.from_path(str(path))
            names = book.sheet_names
            if not names:
                raise RefusedError("it has no worksheet")
            if self.options.sheet and self.options.sheet not in names:
                raise RefusedError(f"it has no worksheet {self.options.sheet}; there are {', '.join(names[:20])}")
            rows = book.get_sheet_by_name(self.options.sheet or names[0]).to_python(skip_empty_area=False)
            if not is_old:
                _with_errors(rows, _errors(path, self.options.sheet or names[0]))
        except (python_calamine.CalamineError, OSError) as error:
            what = "it is locked with a password" if "assword" in str(error) else f"it is not a workbook: {error}"
            raise RefusedError(what) from error
        rows = rows[self.options.skip_rows :]
        if not self.options.header:
            return list(self.options.columns), rows
        if not rows:
            raise RefusedError("it has no header")
        head = [_text(cell) or "" for cell in rows[0]]
        while head and not head[-1].strip():
            head.pop()
        return headings(head, self.options.rename), rows[1:]

    def _check_size(self, path: Path) -> None:
        """Unpack every part to nowhere: what a part says of its own size may be a lie."""
        packed, total = path.stat().st_size, 0
        try:
            with zipfile.ZipFile(path) as archive:
                if len(archive.infolist()) > 10_000:
                    raise RefusedError("it is made of more than 10,000 parts")
                for part in archive.infolist():
                    box = _Box(self.limits.cells) if part.filename.startswith("xl/worksheets/") else None
                    with archive.open(part) as content:
                        while block := content.read(_BLOCK):
                            total += len(block)
                            check_ratio(packed, total, self.limits, self.limits.expanded_mib / 20)
                            if b"<!DOCTYPE" in block or b"<!ENTITY" in block:
                                raise RefusedError("one of its parts declares a document type or entities")
                            if box is not None:
                                box.add(block)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise RefusedError(f"it is not a whole workbook: {error}") from error


class _Box:
    """The rectangle around the used cells of a worksheet: reading it takes memory for all of it."""

    def __init__(self, limit: int) -> None:
        self.limit, self.left, self.rows, self.columns = limit, b"", 0, 0

    def add(self, block: bytes) -> None:
        content = self.left + block
        found = _CELL.findall(content)
        self.left = content[-300:]
        if not found:
            return
        self.rows = max(self.rows, *{int(row) for _, row in found})
        self.columns = max(self.columns, *(_number(letters) for letters in {letters for letters, _ in found}))
        if self.rows * self.columns > self.limit:
            raise RefusedError(
                f"its cells span {self.rows:,} rows and {self.columns:,} columns, more than connection.limits.cells"
            )


def _errors(path: Path, sheet: str) -> dict[tuple[int, int], str]:
    """Cells of a worksheet that hold an error, or a formula whose value nobody calculated: the reader gives them as
    empty, and that they are not. By row and column from 0, with the error's code or the formula."""
    found: dict[tuple[int, int], str] = {}
    with zipfile.ZipFile(path) as archive:
        part = _part(archive, sheet)
        if part is None:
            return found
        with archive.open(part) as content:
            left = b""
            while block := content.read(_BLOCK):
                text = left + block
                for match in _WITHOUT_VALUE.finditer(text):
                    letters, row, code, formula = match.groups()
                    shown = code.decode("utf-8", "replace") if code else f"={html.unescape(formula.decode())}"
                    found[int(row) - 1, _number(letters) - 1] = shown
                left = text[-_LONGEST_CELL:]
    return found


def _part(archive: zipfile.ZipFile, sheet: str) -> str | None:
    """The part of the archive that holds a worksheet."""
    try:
        # document types were refused before (`_check_size`)
        book, links = (ElementTree.fromstring(archive.read(name)) for name in ("xl/workbook.xml", _LINKS))  # noqa: S314
    except (KeyError, ElementTree.ParseError) as error:
        raise RefusedError(f"it is not a whole workbook: {error}") from error
    targets = {link.get("Id"): link.get("Target", "") for link in links.iter() if link.tag.endswith("}Relationship")}
    for element in book.iter():
        if element.tag.endswith("}sheet") and element.get("name") == sheet:
            own = next((value for name, value in element.items() if name.endswith("}id")), None)
            name = targets.get(own, "")
            if name:
                return name.lstrip("/") if name.startswith("/") else f"xl/{name}"
    return None


def _with_errors(rows: list[list[Any]], errors: dict[tuple[int, int], str]) -> None:
    for (row, column), code in errors.items():
        if row < len(rows) and column < len(rows[row]) and rows[row][column] in {"", None}:
            rows[row][column] = code


def _number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _text(value: Any) -> str | None:  # noqa: PLR0911 a way out for each kind of cell
    """The text that stands for a cell's value."""
    if value is None or isinstance(value, str):
        # an empty cell is no value; the reader gives it as an empty text
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = repr(value)
        return text.removesuffix(".0") if "e" not in text else f"{Decimal(text):f}"
    if isinstance(value, datetime):
        # a date is a time at midnight to Excel; the declared type of the field decides what it is
        return value.isoformat(sep=" ") if value.time() != time(0) else value.date().isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value.total_seconds()).removesuffix(".0")
    return str(value)
