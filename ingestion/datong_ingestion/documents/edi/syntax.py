"""The syntax of X12 and EDIFACT: separators from the envelope, segments as they stream by, elements and components.

Sources: ASC X12.5 and X12.6 (interchange control structures, application control structure); ISO 9735 syntax versions
1 to 4 (UNA, release character, character sets of UNB).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from datong_ingestion.documents.edi.bulk import Indices, positions, released, releases
from datong_ingestion.documents.refusals import RefusedError

_FEW, _MANY = 16 * 1024, 1024 * 1024
"""Bytes that are looked through at once: few after the separators changed, then more and more."""
_HEAD = 512
_BETWEEN = b"\xef\xbb\xbf\r\n\t \x1a\0"
_SETS = {
    "UNOA": "ascii",
    "UNOB": "ascii",
    "UNOC": "iso-8859-1",
    "UNOD": "iso-8859-2",
    "UNOE": "iso-8859-5",
    "UNOF": "iso-8859-7",
    "UNOG": "iso-8859-3",
    "UNOH": "iso-8859-4",
    "UNOI": "iso-8859-6",
    "UNOJ": "iso-8859-8",
    "UNOK": "iso-8859-9",
    "UNOL": "iso-8859-15",
    "UNOW": "utf-8",
    "UNOX": "iso-2022-cn",
    "UNOY": "utf-8",
}
_RELEASED = 0xF0000
_SHIFTED = re.compile("[\U000f0000-\U000ffffd]")


@dataclass(frozen=True)
class Syntax:
    """The separators of an interchange, and the encoding of its text."""

    standard: str
    element: str
    component: str
    terminator: str
    release: str
    encoding: str
    repetition: str = ""

    def split(self, text: str) -> list[list[Any]]:
        """Segments of a text (without the last terminator) as lists of elements; a composite is a list."""
        if self.release and self.release in text:
            # a released character is no separator: it is moved out of the way, and back at the end
            shifted = re.sub(re.escape(self.release) + "(.)", lambda found: _out_of_the_way(found[1]), text, flags=re.S)
            return [[_back(element) for element in segment] for segment in Syntax._plain(self, shifted)]
        return self._plain(text)

    def _plain(self, text: str) -> list[list[Any]]:
        element, component = self.element, self.component
        segments = [segment.lstrip("\r\n").split(element) for segment in text.split(self.terminator)]
        if component in text:
            return [
                [part.split(component) if component in part else part for part in segment] if component else segment
                for segment in segments
            ]
        return segments  # pyright: ignore[reportReturnType] a list of texts is a list


def _out_of_the_way(sign: str) -> str:
    return chr(_RELEASED + ord(sign)) if ord(sign) < 65534 else sign


def _back(element: Any) -> Any:
    if isinstance(element, list):
        return [_back(part) for part in element]
    return _SHIFTED.sub(lambda found: chr(ord(found[0]) - _RELEASED), element)


class Run:
    """Messages that stand one after the other, each from its first segment to its last, as places in a buffer."""

    def __init__(self, data: bytes, starts: Indices, stops: Indices, firsts: Indices, lasts: Indices) -> None:
        self.data, self.starts, self.stops = data, starts, stops
        """Where each segment begins and ends."""
        self.firsts, self.lasts = firsts, lasts
        """For each message its first and its last segment, as indices of `starts`."""

    def segment(self, index: int) -> bytes:
        """One segment, raw."""
        return self.data[self.starts[index] : self.stops[index]]

    def until(self, count: int) -> Run:
        """The first of its messages."""
        return Run(self.data, self.starts, self.stops, self.firsts[:count], self.lasts[:count])


class _Messages:
    """The complete messages of a scan: found once, then taken in runs."""

    def __init__(self, scan: _Scan, first: bytes, last: bytes, stops: tuple[bytes, ...]) -> None:
        self.key = (first, last)
        firsts, ends = scan.beginning(first), scan.beginning(last)
        breaks = np.sort(np.concatenate([firsts, *[scan.beginning(stop) for stop in stops]]))
        behind = np.append(ends, len(scan.starts))[np.searchsorted(ends, firsts)]
        broken = np.append(breaks, len(scan.starts))[np.searchsorted(breaks, firsts, "right")]
        is_whole = behind < broken
        self.is_cut = (behind == len(scan.starts)) & (broken == len(scan.starts))
        empty = np.flatnonzero(scan.starts >= scan.stops)
        is_whole &= np.searchsorted(empty, firsts) == np.searchsorted(empty, behind)
        # a run ends where a message is not whole, or where something stands before the next one
        follows = np.append(firsts[1:] == behind[:-1] + 1, [False]) if len(firsts) else is_whole
        self.firsts, self.lasts, self.is_whole = firsts, behind, is_whole
        self.ends = np.flatnonzero(~(is_whole & follows))

    def at(self, index: int) -> tuple[int, int, bool]:
        """Of the whole messages from segment `index` on the first and the one after the last, as indices of `firsts`;
        and whether one begins there whose end is not in this piece."""
        first = int(np.searchsorted(self.firsts, index))
        if first == len(self.firsts) or self.firsts[first] != index:
            return 0, 0, False
        if not self.is_whole[first]:
            return 0, 0, bool(self.is_cut[first])
        end = int(self.ends[np.searchsorted(self.ends, first)])
        return first, end + bool(self.is_whole[end]), False


class _Scan:
    """A piece of a file and the segments that end in it."""

    def __init__(self, data: bytes, start: int, syntax: Syntax) -> None:
        self.data = data
        stops = positions(data, syntax.terminator.encode(syntax.encoding), start)
        if syntax.release and len(stops):
            stops = stops[~released(stops, releases(data, syntax.release.encode(syntax.encoding), start))]
        width = len(syntax.terminator.encode(syntax.encoding))
        starts = np.concatenate([[start], stops[:-1] + width]) if len(stops) else stops
        self.end = int(stops[-1]) + width if len(stops) else start
        self.starts, self.stops = _stripped(data, starts, stops), stops
        self._messages: _Messages | None = None

    def messages(self, first: bytes, last: bytes, stops: tuple[bytes, ...]) -> _Messages:
        """The messages of this piece."""
        if self._messages is None or self._messages.key != (first, last):
            self._messages = _Messages(self, first, last, stops)
        return self._messages

    def beginning(self, text: bytes) -> Indices:
        """The segments that begin with a text."""
        view = np.frombuffer(self.data, np.uint8)
        found = np.flatnonzero(self.stops - self.starts >= len(text))
        for offset, sign in enumerate(text):
            found = found[view[self.starts[found] + offset] == sign]
        return found


def _stripped(data: bytes, starts: Indices, stops: Indices) -> Indices:
    """Starts of segments behind the line breaks that stand before them."""
    view = np.frombuffer(data, np.uint8)
    left = np.flatnonzero(starts < stops)
    for _ in range(2):
        signs = view[starts[left]]
        left = left[(signs == 10) | (signs == 13)]
        starts[left] += 1
        left = left[starts[left] < stops[left]]
    for one in left:
        raw = data[starts[one] : stops[one]]
        starts[one] += len(raw) - len(raw.lstrip(b"\r\n"))
    return starts


class Segments:
    """The segments of a file, raw, one after the other, whatever interchanges it holds."""

    def __init__(self, file: Any, encoding: str, limit: int) -> None:
        self._file, self._encoding, self._limit = file, encoding, limit
        self._data, self._at = b"", 0
        """A piece of the file, and how far it was taken."""
        self._scan: _Scan | None = None
        self._index, self._size = 0, _FEW
        self._ended = False
        self.syntax: Syntax | None = None
        self.number = 0
        """Number of the segment in the file, from 1."""

    def _more(self, needed: int) -> None:
        """Have so many bytes from `_at` on, if there are."""
        while len(self._data) - self._at < needed and not self._ended:
            block = self._file.read(max(needed, self._size))
            self._ended = not block
            self._data, self._at = self._data[self._at :] + block, 0
            self._scan = None

    def begin(self) -> bool:
        """Look for the next interchange and take its separators; False at the end of the file."""
        while True:
            self._more(_HEAD)
            head = self._data[self._at : self._at + _HEAD]
            stripped = head.lstrip(_BETWEEN)
            self._at += len(head) - len(stripped)
            if stripped or self._ended:
                break
        if not stripped:
            return False
        self._more(_HEAD)
        before = self.syntax
        head = self._data[self._at : self._at + _HEAD]
        if head.startswith(b"ISA"):
            self.syntax = self._x12(head)
        elif head.startswith((b"UNA", b"UNB")):
            self.syntax = self._edifact(head)
        else:
            raise RefusedError(
                "there is no interchange: it begins neither with ISA (X12) nor with UNA or UNB (EDIFACT)",
                place=f"segment {self.number + 1}",
                raw=self._data[self._at : self._at + 65536],
            )
        if self.syntax != before:
            self._scan, self._size = None, _FEW
        elif self._scan is not None:
            # the same separators: what was found in this piece of the file stands
            self._index = int(np.searchsorted(self._scan.stops, self._at))
            if self._index < len(self._scan.starts):
                self._scan.starts[self._index] = self._at
            else:
                self._scan = None
        return True

    def _x12(self, start: bytes) -> Syntax:
        head = start[:106].decode("latin-1")
        if len(head) < 106 or head.count(head[3]) != 16 or head[103] != head[3]:
            raise RefusedError("its ISA does not have 16 elements in 106 characters", place="ISA")
        element, component, terminator = head[3], head[104], head[105]
        if len({element, component, terminator}) < 3 or any(c.isalnum() or c == " " for c in element + component):
            raise RefusedError("its separators are not three different signs", place="ISA")
        repetition = head[82] if not head[82].isalnum() and head[84:89] >= "00402" else ""
        return Syntax("x12", element, component, terminator, "", self._encoding, repetition)

    def _edifact(self, start: bytes) -> Syntax:
        component, element, release, terminator, repetition = ":", "+", "?", "'", ""
        body = start
        if body.startswith(b"UNA"):
            if len(body) < 9:
                raise RefusedError("its UNA is cut off", place="UNA")
            signs = body[3:9].decode("latin-1")
            component, element, release, terminator = signs[0], signs[1], signs[3].strip(), signs[5]
            repetition = signs[4].strip()
            if len({component, element, terminator, release}) < 4:
                raise RefusedError("the signs of its UNA are not different", place="UNA")
            body = body[9:].lstrip(b"\r\n")
            self._at += len(start) - len(body)
            self.number += 1
        if not body.startswith(b"UNB"):
            raise RefusedError("there is no UNB after its UNA", place="UNB")
        level = body[4:8].decode("latin-1")
        if level not in _SETS:
            raise RefusedError(f"its character set {level} is not known", place="UNB")
        return Syntax("edifact", element, component, terminator, release, _SETS[level], repetition)

    def _next(self, syntax: Syntax) -> bool:
        """Look through the next piece of the file; False when there is none."""
        pieces, size, end = (
            [self._data[self._at :]],
            len(self._data) - self._at,
            syntax.terminator.encode(syntax.encoding),
        )
        has_segments = self._scan is not None and self._index < len(self._scan.starts)
        is_fresh = self._scan is None and end in pieces[0]
        while not is_fresh:
            if size > self._limit and not has_segments:
                raise RefusedError(
                    f"segment {self.number + 1} is longer than connection.limits.record_mib",
                    raw=b"".join(pieces)[:65536],
                )
            block = self._file.read(self._size)
            self._ended = not block
            pieces.append(block)
            size += len(block)
            is_fresh = not block or end in block
        self._data, self._at = b"".join(pieces), 0
        scan = self._scan = _Scan(self._data, 0, syntax)
        self._index, self._size = 0, min(2 * self._size, _MANY)
        return bool(len(scan.starts)) or not self._ended

    def read(self) -> Iterator[bytes]:
        """The segments from here on, by the separators that `begin` found; the caller stops where they end."""
        syntax = self.syntax
        while syntax is not None:
            scan = self._scan
            if scan is None or self._index >= len(scan.starts):
                if not self._next(syntax):
                    return
                continue
            start, stop = int(scan.starts[self._index]), int(scan.stops[self._index])
            self._index += 1
            self.number += 1
            self._at = int(scan.starts[self._index]) if self._index < len(scan.starts) else scan.end
            if start < stop:
                yield scan.data[start:stop]

    def run(self, first: bytes, last: bytes, stops: tuple[bytes, ...]) -> Run | None:
        """The messages from here on that are whole in the piece of the file at hand, if any; `take` takes them.

        `first` and `last` begin a message's first and last segment, `stops` those that cannot stand in one.
        """
        scan = self._scan
        if scan is None or self.syntax is None:
            return None
        found = scan.messages(first, last, stops)
        begin, end, is_cut = found.at(self._index)
        if (is_cut or self._index >= len(scan.starts)) and not self._ended and len(self._data) - self._at < _MANY:
            self._next(self.syntax)
            return self.run(first, last, stops)
        if begin == end:
            return None
        return Run(scan.data, scan.starts, scan.stops, found.firsts[begin:end], found.lasts[begin:end])

    def take(self, last: int) -> None:
        """Go on behind a segment of the run."""
        scan = self._scan
        if scan is not None:
            self.number += last + 1 - self._index
            self._index = last + 1
            self._at = int(scan.starts[self._index]) if self._index < len(scan.starts) else scan.end
