"""JSON documents and JSON Lines.

Lines go to Arrow in blocks; a line that is not JSON is refused, and the others go on. A document is read whole, within
limits. Nested values of a field become JSON text. Guards against nesting so deep that it breaks a parser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datong_ingestion.connections.files import MIB, FilesOptions, Format, Limits
from datong_ingestion.documents.refusals import Refusal, RefusedError, table
from datong_ingestion.documents.rows import FILE, PROVENANCE, ROW, Layout
from datong_ingestion.http import UnreadableBodyError
from datong_ingestion.json_pages import JsonPage, JsonReader
from datong_ingestion.source import Page
from datong_ingestion.values import Convert, Number, converter, json_object

_BLOCK = 4 * MIB
_DOCUMENT_MIB = 256
_SAMPLE = 1000
_LINE_END = 10
_NUMBERS: dict[str, Any] = {"parse_float": Number, "parse_int": Number, "parse_constant": Number}
# a text that never ends is one match, too: looked for again from each of its quotes it would take hours
_NO_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+\\?(?:"|\Z)|[^\[\]{}"]+', re.DOTALL)
_NO_BRACKETS_BUT_LINES = re.compile(rb'"(?:[^"\\\n]|\\[^\n])*+\\?(?:"|(?=\n)|\Z)|[^\[\]{}"\n]+', re.DOTALL)


class JsonFiles:
    """Reads the JSON files of one entity."""

    def __init__(self, options: FilesOptions, limits: Limits, *, is_lines: bool) -> None:
        self.options, self.limits, self.is_lines = options, limits, is_lines

    def fields(self, path: Path) -> list[pa.Field]:
        """The fields of the first rows of a file: boolean, long, decimal(38,9), else text."""
        if self.is_lines:
            lines = next(self._line_blocks(path), [])
            rows = [_loaded(line) for line in lines[:_SAMPLE] if line.strip()]
        else:
            rows = self._at(_loaded(self._document(path)))[:_SAMPLE]
        kinds: dict[str, set[str]] = {}
        for row in rows:
            if isinstance(row, dict):
                for name, value in row.items():
                    kinds.setdefault(name, set()).update({_kind(value)} - {""})
        return [pa.field(name, _type(found)) for name, found in kinds.items()]

    def pages(self, path: Path, layout: Layout) -> Iterator[Page]:
        """The rows of a file."""
        own = pa.schema([item for item in layout.schema if item.name not in PROVENANCE])
        reader = JsonReader(
            own,
            [()] if self.is_lines or not self.options.rows_path else [tuple(self.options.rows_path.split("."))],
            converts=_converts(own, self.options.values, layout),
            ignored=lambda name, _row: bool(layout.select) and name not in layout.select,
        )
        if not self.is_lines:
            try:
                page = reader.parse(self._document(path))
            except UnreadableBodyError as error:
                raise RefusedError(str(error)) from error
            yield self._page(page, layout, np.arange(1, len(page.rows) + 1, dtype=np.int64), [])
            return
        first = 1
        for lines in self._line_blocks(path):
            yield self._lines(reader, lines, first, layout)
            first += len(lines)

    def _lines(self, reader: JsonReader, lines: list[bytes], first: int, layout: Layout) -> Page:
        numbers = [number for number, line in enumerate(lines, first) if line.strip()]
        found = [line for line in lines if line.strip()]
        refusals: list[Refusal] = []
        try:
            self._check_lines(found)
            page = reader.parse(b"[" + b",".join(found) + b"]")
            if len(page.rows) != len(found):
                raise UnreadableBodyError("a line holds more than one row")
        except (UnreadableBodyError, RefusedError):
            good: list[bytes] = []
            kept: list[int] = []
            for number, line in zip(numbers, found, strict=True):
                try:
                    self._check_depth(line)
                    if not isinstance(_loaded(line), dict):
                        raise RefusedError("it is not an object")
                    good.append(line)
                    kept.append(number)
                except RefusedError as error:
                    refusals.append(Refusal(line, f"line {number}", error.reason))
            numbers = kept
            page = reader.parse(b"[" + b",".join(good) + b"]")
        return self._page(page, layout, np.array(numbers, dtype=np.int64), refusals)

    @staticmethod
    def _page(page: JsonPage, layout: Layout, numbers: np.ndarray, refusals: list[Refusal]) -> Page:
        rows = len(page.rows)
        columns = [
            pa.repeat(pa.scalar(layout.file), rows)
            if item.name == FILE
            else pa.array(numbers, pa.int64())
            if item.name == ROW
            else page.rows.column(item.name)
            for item in layout.schema
        ]
        return Page(
            pa.Table.from_arrays(columns, schema=layout.schema),
            rescued=page.rescued,
            unexpected=page.unexpected,
            refused=table(refusals) if refusals else None,
        )

    def _line_blocks(self, path: Path) -> Iterator[list[bytes]]:
        """Lines of a file in blocks, in UTF-8."""
        limit = int(self.limits.record_mib * MIB)
        left = b""
        with path.open("rb") as file:
            if file.read(3) != b"\xef\xbb\xbf":
                file.seek(0)
            while block := file.read(_BLOCK):
                *lines, left = (left + block).split(b"\n")
                if len(left) > limit:
                    raise RefusedError(
                        f"a line has more than {self.limits.record_mib:g} MiB (connection.limits.record_mib)",
                        raw=left[:65536],
                    )
                if lines:
                    yield [self._utf8(line) for line in lines]
        if left.strip():
            yield [self._utf8(left)]

    def _document(self, path: Path) -> bytes:
        size = path.stat().st_size
        if size > _DOCUMENT_MIB * MIB:
            raise RefusedError(
                f"it is one JSON document of {size / MIB:,.0f} MiB; above {_DOCUMENT_MIB} it must be JSON Lines"
            )
        body = self._utf8(path.read_bytes())
        self._check_depth(body)
        return body

    def _utf8(self, content: bytes) -> bytes:
        if self.options.encoding in {"utf-8", "utf-8-sig"}:
            return content
        try:
            return content.decode(self.options.encoding).encode()
        except UnicodeDecodeError as error:
            raise RefusedError(f"it is not {self.options.encoding}: {error.reason}") from error

    def _check_depth(self, body: bytes) -> None:
        """RefusedError when values are nested deeper than the limit."""
        if body.count(b"[") + body.count(b"{") <= self.limits.depth:
            return
        brackets = np.frombuffer(_NO_BRACKETS.sub(b"", body), np.uint8)
        steps = np.where((brackets == 91) | (brackets == 123), 1, -1)
        if len(steps) and int(np.cumsum(steps).max()) > self.limits.depth:
            raise RefusedError(f"its values are nested deeper than {self.limits.depth} (connection.limits.depth)")

    def _check_lines(self, lines: list[bytes]) -> None:
        """RefusedError when a line is nested deeper than the limit, or ends within a value: what is joined to be read
        at once must not become whole by its neighbours."""
        kept = _NO_BRACKETS_BUT_LINES.sub(b"", b"\n".join(lines))
        marks = np.frombuffer(kept, np.uint8)
        steps = np.where((marks == 91) | (marks == 123), 1, -1)
        is_end = marks == _LINE_END
        steps[is_end] = 0
        depths = np.cumsum(steps)
        if depths[is_end].any() or (len(depths) and int(depths.max()) > self.limits.depth):
            raise RefusedError("a line is not a value by itself, or nested too deep")

    def _at(self, document: Any) -> list[Any]:
        for name in self.options.rows_path.split(".") if self.options.rows_path else []:
            document = document.get(name) if isinstance(document, dict) else None
        if not isinstance(document, list):
            raise RefusedError(f"there is no list of rows at {self.options.rows_path or 'its top'}")
        return document


def _loaded(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig", "surrogateescape"), object_pairs_hook=json_object, **_NUMBERS)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"it is not JSON: {error}") from error


def _converts(schema: pa.Schema, rules: Format, layout: Layout) -> Mapping[str, Convert]:
    """Texts in fields of other types are read by the declared rules; without rules as anywhere else."""
    if rules == Format():
        return {}

    def convert(kind: pa.DataType) -> Convert:
        plain = converter(kind)

        def one(value: Any) -> Any:
            if isinstance(value, str) and not isinstance(value, Number):
                if value in rules.null_values:
                    return None
                return layout.texts.value(value, kind)
            return plain(value)

        return one

    return {item.name: convert(item.type) for item in schema if not pa.types.is_string(item.type)}


def _kind(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Number):
        return "long" if value.lstrip("-").isdigit() and len(value) < 19 else "decimal"
    return "string"


def _type(kinds: set[str]) -> pa.DataType:
    if kinds == {"boolean"}:
        return pa.bool_()
    if kinds == {"long"}:
        return pa.int64()
    if kinds and kinds <= {"long", "decimal"}:
        return pa.decimal128(38, 9)
    return pa.string()
