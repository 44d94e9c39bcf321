"""CSV and its relatives to Arrow, record by record exact, block by block fast.

The bytes are cut where a record ends (a line end within quotes is none), so that one block holds whole records; Arrow
reads each block as text, and the declared types are made from the text. Guards against: bytes that are not of the
declared encoding (the value is rescued), rows with too many or too few values (refused, with their line), a quote that
is never closed or a row of a gigabyte (the document is refused, in bounded memory).
From a local file to pages.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from datong_ingestion.connections.files import MIB, FilesOptions, Limits
from datong_ingestion.documents.refusals import Refusal, RefusedError, table
from datong_ingestion.documents.rows import MARKS, UNMARK, Layout, marked

_BLOCK = 8 * MIB
_COLUMNS = 10_000
_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Delimited:
    """Reads the delimited text of one entity."""

    def __init__(self, options: FilesOptions, limits: Limits) -> None:
        self.options, self.limits = options, limits
        self._quote, self._escape = options.quote.encode(), options.escape.encode()
        self._delimiter = options.delimiter.encode()

    def names(self, path: Path) -> list[str]:
        """The columns of a file, by its header or by the definition."""
        with path.open("rb") as file:
            return self._names(self._blocks(file))[0]

    def pages(self, path: Path, layout: Layout) -> Iterator[Any]:
        """The rows of a file, in pages of the layout's schema."""
        with path.open("rb") as file:
            blocks = self._blocks(file)
            names, rest = self._names(blocks)
            layout.begin(names)
            row = 1
            for block in self._chain(rest, blocks):
                if not block:
                    continue
                content, is_marked = _sound(block)
                columns, rows, refusals, count = self._parse(content, names, row)
                row += count
                yield layout.page(columns, len(rows), rows, table(refusals) if refusals else None, is_marked=is_marked)

    @staticmethod
    def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
        yield first
        yield from rest

    def _names(self, blocks: Iterator[bytes]) -> tuple[list[str], bytes]:
        """The names of the columns, and what is left of the first block."""
        options = self.options
        first = next(blocks, b"")
        for _ in range(options.skip_rows):
            _, _, first = first.partition(b"\n")
        if not options.header:
            return list(options.columns), first
        cut = self._first_record(first)
        head = first[:cut].decode("utf-8", "replace").strip("\r\n")
        if not head:
            raise RefusedError("it has no header")
        found = next(
            csv.reader(
                io.StringIO(head),
                delimiter=options.delimiter,
                quotechar=options.quote or None,
                quoting=csv.QUOTE_MINIMAL if options.quote else csv.QUOTE_NONE,
                escapechar=options.escape or None,
            )
        )
        return headings(found, options.rename), first[cut:]

    def _first_record(self, block: bytes) -> int:
        ends = _record_ends(block, self._delimiter, self._quote, self._escape)
        return int(ends[0]) + 1 if len(ends) else len(block)

    def _blocks(self, file: Any) -> Iterator[bytes]:
        """The text in blocks of whole records."""
        limit = int(self.limits.record_mib * MIB)
        left = b""
        for block in self._text(file):
            content = left + block
            ends = _record_ends(content, self._delimiter, self._quote, self._escape)
            if len(ends):
                cut = int(ends[-1]) + 1
                yield content[:cut]
                left = content[cut:]
            else:
                left = content
            if len(left) > limit:
                raise RefusedError(
                    f"a row goes on for more than {self.limits.record_mib:g} MiB (connection.limits.record_mib): it is "
                    "too long, or a quote in it is never closed",
                    raw=left[:65536],
                )
        if self._quote in left and self._quote and _is_open(left, self._delimiter, self._quote, self._escape):
            raise RefusedError("it ends within quotes: it is cut off", raw=left[:65536])
        if left:
            yield left

    def _text(self, file: Any) -> Iterator[bytes]:
        encoding = self.options.encoding
        start = file.read(4)
        file.seek(0)
        if encoding in {"utf-8", "utf-8-sig"}:
            if start.startswith(_BOMS[1:]):
                raise RefusedError("it is UTF-16; declare `encoding: utf-16` for it")
            file.seek(3 if start.startswith(codecs.BOM_UTF8) else 0)
            while block := file.read(_BLOCK):
                yield _without_nul(block)
            return
        decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        if start.startswith(codecs.BOM_UTF8):
            raise RefusedError(f"it begins with the mark of UTF-8, and {encoding} is declared")
        try:
            while True:
                block = file.read(_BLOCK)
                text = decoder.decode(block, final=not block)
                if text:
                    yield _without_nul(_encoded(text))
                if not block:
                    return
        except UnicodeDecodeError as error:
            raise RefusedError(f"it is not {encoding}: {error.reason}") from error

    def _parse(
        self, content: bytes, names: list[str], first: int
    ) -> tuple[dict[str, Any], np.ndarray, list[Refusal], int]:
        """Columns of bytes, the number of each row, what was refused, and how many rows came in all."""
        bad: list[tuple[int, int, str]] = []
        content, unclear = self._without_unclear(content, len(names))

        def invalid(row: Any) -> str:
            bad.append((row.number, row.actual_columns, row.text))
            return "skip"

        try:
            found = pc.read_csv(
                io.BytesIO(content),
                read_options=pc.ReadOptions(use_threads=False, block_size=len(content) + 64, column_names=names),
                parse_options=pc.ParseOptions(
                    delimiter=self.options.delimiter,
                    quote_char=self.options.quote or False,
                    escape_char=self.options.escape or False,
                    newlines_in_values=True,
                    invalid_row_handler=invalid,
                ),
                convert_options=pc.ConvertOptions(
                    check_utf8=False, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return {}, np.zeros(0, np.int64), [], 0
            raise RefusedError(f"it cannot be read: {error}") from error
        refusals = [
            Refusal(
                unclear.get(text, text).translate(UNMARK).encode(self.options.encoding, "surrogateescape"),
                f"row {first + number - 1}",
                "there is text behind the closing quote of a value, so nobody can tell whether the quotes belong to it"
                if text in unclear
                else f"it has {actual} values, and there are {len(names)} columns",
            )
            for number, actual, text in bad
        ]
        count = len(found) + len(bad)
        numbers = np.arange(first, first + count, dtype=np.int64)
        if bad:
            numbers = np.delete(numbers, [number - 1 for number, _, _ in bad])
        return {name: found.column(name).combine_chunks() for name in names}, numbers, refusals, count

    def _without_unclear(self, content: bytes, columns: int) -> tuple[bytes, dict[str, str]]:
        """The content with another row in the place of each that has text behind a closing quote, as `"M8" bolt`: of
        such a value Arrow would leave the quotes out. Each other row has too many values, and so is refused there; what
        was in its place, by its text."""
        quote, delimiter = self._quote, self._delimiter
        if not quote or quote not in content or _is_plain(content, delimiter, quote, self._escape):
            return content, {}
        may_follow = (*delimiter, 10, 13)
        unclear = [
            found.end()
            for found in _quoted(delimiter, quote, self._escape).finditer(content)
            if found[1] and found.end() < len(content) and content[found.end()] not in may_follow
        ]
        if not unclear:
            return content, {}
        ends = _record_ends(content, delimiter, quote, self._escape)
        kept: list[bytes] = []
        replaced: dict[str, str] = {}
        done = 0
        for index in np.unique(np.searchsorted(ends, unclear)):
            start = int(ends[index - 1]) + 1 if index else 0
            stop = int(ends[index]) if index < len(ends) else len(content)
            mark = f"\x1a{index}{self.options.delimiter * columns}"
            raw = content[start:stop].rstrip(b"\r")
            replaced[mark] = raw.decode()
            kept += [content[done:start], mark.encode()]
            done = start + len(raw)
        return b"".join([*kept, content[done:]]), replaced


def headings(found: list[str], rename: dict[str, str]) -> list[str]:
    """Headings as names of fields; RefusedError when one stands twice. One without a name is called by its place."""
    if len(found) > _COLUMNS:
        raise RefusedError(f"it has {len(found):,} columns, and no table has more than {_COLUMNS:,}")
    names = [rename.get(name.strip(), name.strip()) or f"column_{index}" for index, name in enumerate(found, 1)]
    if twice := sorted(name for name, times in Counter(names).items() if times > 1):
        raise RefusedError(
            f"the heading {', '.join(twice[:20])} stands there twice, so its columns cannot be told apart"
        )
    return names


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return marked(text)


def _sound(content: bytes) -> tuple[bytes, bool]:
    """The same as valid UTF-8, and whether it holds marked bytes."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return marked(content.decode("utf-8", "surrogateescape")), True
    return content, any(mark in content for mark in MARKS)


def _without_nul(block: bytes) -> bytes:
    if b"\0" in block:
        raise RefusedError("it holds NUL bytes: it is not text, or text in another encoding (UTF-16?)")
    return block


def _record_ends(content: bytes, delimiter: bytes, quote: bytes, escape: bytes) -> np.ndarray:
    """Where records end: the places of line ends that are not within quotes."""
    line_end = b"\n" if b"\n" in content else b"\r"
    data = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(data == line_end[0])
    if not quote or quote not in content or not len(ends):
        return ends
    if not _is_plain(content, delimiter, quote, escape):
        return _slow_ends(content, delimiter, quote, escape, line_end)
    quotes = np.flatnonzero(data == quote[0])
    return ends[np.searchsorted(quotes, ends) % 2 == 0]


def _is_plain(content: bytes, delimiter: bytes, quote: bytes, escape: bytes) -> bool:
    """Whether quotes stand only where values begin and end, so that counting them tells what is within."""
    if escape:
        return False
    data = np.frombuffer(content, np.uint8)
    quotes = np.flatnonzero(data == quote[0])
    opening, closing = quotes[0::2], quotes[1::2]
    before = data[np.maximum(opening - 1, 0)]
    sound = (opening == 0) | np.isin(before, np.frombuffer(delimiter + quote + b"\r\n", np.uint8))
    after = data[np.minimum(closing + 1, len(data) - 1)]
    closed = (closing == len(data) - 1) | np.isin(after, np.frombuffer(delimiter + quote + b"\r\n", np.uint8))
    return bool(sound.all() and closed.all())


def _quoted(delimiter: bytes, quote: bytes, escape: bytes) -> re.Pattern[bytes]:
    """A quoted value: quotes open one only at the beginning of a value."""
    d, q, e = re.escape(delimiter), re.escape(quote), re.escape(escape)
    inside = b"(?:[^" + q + e + b"]|" + q + q + (b"|" + e + b"." if escape else b"") + b")*+"
    return re.compile(b"(?:(?<=[" + d + b"\r\n])|\\A)" + q + inside + b"(" + q + b"|\\Z)", re.DOTALL)


def _slow_ends(content: bytes, delimiter: bytes, quote: bytes, escape: bytes, line_end: bytes) -> np.ndarray:
    """The same where quotes also stand within values, as in `5" pipe`."""
    data = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(data == line_end[0])
    spans = [found.span() for found in _quoted(delimiter, quote, escape).finditer(content)]
    if not spans:
        return ends
    starts = np.array([span[0] for span in spans])
    stops = np.array([span[1] for span in spans])
    place = np.searchsorted(starts, ends, side="right") - 1
    return ends[(place < 0) | (ends >= stops[np.maximum(place, 0)])]


def _is_open(content: bytes, delimiter: bytes, quote: bytes, escape: bytes) -> bool:
    """Whether a text ends within quotes."""
    return any(not found[1] for found in _quoted(delimiter, quote, escape).finditer(content))
