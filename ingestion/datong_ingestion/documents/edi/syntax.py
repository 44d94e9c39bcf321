"""The syntax of X12 and EDIFACT: separators from the envelope, segments as they stream by, elements and components.

Sources: ASC X12.5 and X12.6 (interchange control structures, application control structure); ISO 9735 syntax versions
1 to 4 (UNA, release character, character sets of UNB).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from datong_ingestion.documents.refusals import RefusedError

_BLOCK = 256 * 1024
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
_RELEASED = 0xE000
_SHIFTED = re.compile("[\ue000-\ue0ff]")


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
            shifted = re.sub(
                re.escape(self.release) + "(.)", lambda found: chr(_RELEASED + ord(found[1]) % 256), text, flags=re.S
            )
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


def _back(element: Any) -> Any:
    if isinstance(element, list):
        return [_back(part) for part in element]
    return _SHIFTED.sub(lambda found: chr(ord(found[0]) - _RELEASED), element)


class Segments:
    """The segments of a file, raw, one after the other, whatever interchanges it holds."""

    def __init__(self, file: Any, encoding: str, limit: int) -> None:
        self._file, self._encoding, self._limit = file, encoding, limit
        self._buffer = b""
        self._rest = (b"", 0)
        self._ended = False
        self.syntax: Syntax | None = None
        self.number = 0
        """Number of the segment in the file, from 1."""

    def _more(self, needed: int) -> bool:
        """Whether so many bytes are in the buffer, after reading on."""
        while len(self._buffer) < needed and not self._ended:
            block = self._file.read(_BLOCK)
            self._ended = not block
            self._buffer += block
        return len(self._buffer) >= needed

    def begin(self) -> bool:
        """Look for the next interchange and take its separators; False at the end of the file."""
        while True:
            self._more(512)
            self._buffer = self._buffer.lstrip(b"\xef\xbb\xbf\r\n\t \x1a\0")
            if self._buffer or self._ended:
                break
        if not self._buffer:
            return False
        self._more(512)
        if self._buffer.startswith(b"ISA"):
            self.syntax = self._x12()
        elif self._buffer.startswith((b"UNA", b"UNB")):
            self.syntax = self._edifact()
        else:
            raise RefusedError(
                "there is no interchange: it begins neither with ISA (X12) nor with UNA or UNB (EDIFACT)",
                place=f"segment {self.number + 1}",
                raw=self._buffer[:65536],
            )
        return True

    def _x12(self) -> Syntax:
        head = self._buffer[:106].decode("latin-1")
        if len(head) < 106 or head.count(head[3]) != 16 or head[103] != head[3]:
            raise RefusedError("its ISA does not have 16 elements in 106 characters", place="ISA")
        element, component, terminator = head[3], head[104], head[105]
        if len({element, component, terminator}) < 3 or any(c.isalnum() or c == " " for c in element + component):
            raise RefusedError("its separators are not three different signs", place="ISA")
        repetition = head[82] if not head[82].isalnum() and head[84:89] >= "00402" else ""
        return Syntax("x12", element, component, terminator, "", self._encoding, repetition)

    def _edifact(self) -> Syntax:
        component, element, release, terminator, repetition = ":", "+", "?", "'", ""
        body = self._buffer
        if body.startswith(b"UNA"):
            if len(body) < 9:
                raise RefusedError("its UNA is cut off", place="UNA")
            signs = body[3:9].decode("latin-1")
            component, element, release, terminator = signs[0], signs[1], signs[3].strip(), signs[5]
            repetition = signs[4].strip()
            if len({component, element, terminator, release}) < 4:
                raise RefusedError("the signs of its UNA are not different", place="UNA")
            self._buffer = body[9:].lstrip(b"\r\n")
            self.number += 1
        if not self._buffer.startswith(b"UNB"):
            raise RefusedError("there is no UNB after its UNA", place="UNB")
        level = self._buffer[4:8].decode("latin-1")
        if level not in _SETS:
            raise RefusedError(f"its character set {level} is not known", place="UNB")
        return Syntax("edifact", element, component, terminator, release, _SETS[level], repetition)

    def read(self) -> Iterator[bytes]:
        """The segments from here on, by the separators that `begin` found; the caller stops where they end."""
        syntax = self.syntax
        if syntax is None:
            return
        end, release = syntax.terminator.encode(syntax.encoding), syntax.release.encode(syntax.encoding)
        buffer, at, look = self._buffer, 0, 0
        while True:
            stop = buffer.find(end, look)
            if stop < 0:
                self._buffer = buffer[at:]
                if len(self._buffer) > self._limit:
                    raise RefusedError(
                        f"segment {self.number + 1} is longer than connection.limits.record_mib",
                        raw=self._buffer[:65536],
                    )
                look = max(0, len(self._buffer) - len(end))
                if not self._more(len(self._buffer) + 1):
                    return
                buffer, at = self._buffer, 0
                continue
            if release and buffer[stop - 1 : stop] == release:
                before = buffer[at:stop]
                if (len(before) - len(before.rstrip(release))) % 2:
                    look = stop + 1
                    continue
            raw = buffer[at:stop].lstrip(b"\r\n")
            at = look = stop + len(end)
            self.number += 1
            if raw:
                self._rest = (buffer, at)
                yield raw

    def leave(self) -> None:
        """Nothing more is taken from `read`: what follows is the next interchange's, or nothing."""
        buffer, at = self._rest
        self._buffer = buffer[at:]
