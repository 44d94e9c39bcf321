"""Many messages at once: their elements as places in bytes, the values of a column taken by one call of Arrow.

From a run of whole messages to columns of text. A thousand lines cost about what one line costs by itself; what needs
more than places (a text that its encoding does not allow, a released sign in a condition) is told by `OneByOneError`,
and the caller takes those messages one by one, with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from datong_platform.lake.columns import compute

Conditions = Sequence[tuple[int, int, str]]
"""Element, component and the text that must stand there."""
Indices = Any
"""A NumPy array of whole numbers."""

ONE_BYTE = frozenset({"ascii", *[f"iso-8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)]})
"""Encodings of one byte a sign, the lower half of which is ASCII."""

_ALNUM = np.zeros(256, bool)
_ALNUM[[ord(sign) for sign in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"]] = True

# bytes that no UTF-8 text holds stand for what becomes something else in JSON
_JSON: dict[int, bytes] = {
    0xF8: b'","',  # between two plain elements, and between components
    0xF9: b'"],"',  # after a composite
    0xFA: b'",["',  # before one
    0xFB: b'"],["',  # between two
    0xFC: b'"],["',  # between segments
    0xFD: b'"]],["',  # between segments, after a composite
    0xFE: b'\\"',
    0xC0: b"\\\\",
    0xFF: b"",  # a release character, a line break between segments
}
_GROWTH = np.zeros(256, np.int8)
for _sign, _text in _JSON.items():
    _GROWTH[_sign] = len(_text) - 1


class OneByOneError(Exception):
    """These messages cannot be taken in bulk."""


def positions(data: bytes, sign: bytes, start: int = 0) -> Indices:
    """Where a sign stands."""
    if len(sign) == 1:
        return np.flatnonzero(np.frombuffer(data, np.uint8)[start:] == sign[0]) + start
    found: list[int] = []
    while (start := data.find(sign, start)) >= 0:
        found.append(start)
        start += len(sign)
    return np.array(found, np.int64)


def releases(data: bytes, sign: bytes, start: int = 0) -> Indices:
    """Where a release character stands that is not released itself."""
    found = positions(data, sign, start)
    if not len(found):
        return found
    is_first = np.append([True], np.diff(found) != 1)
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(found)), 0))
    return found[(np.arange(len(found)) - first) % 2 == 0]


def released(found: Indices, by: Indices) -> Indices:
    """Which of the places are those of released signs."""
    if not len(by):
        return np.zeros(len(found), bool)
    at = np.minimum(np.searchsorted(by, found - 1), len(by) - 1)
    return by[at] == found - 1


def code(tag: str) -> int:
    """A tag as the number by which `Block` knows it."""
    return int.from_bytes(tag.encode("latin-1").ljust(3, b"\0")[:3], "big")


@dataclass(frozen=True)
class Place:
    """Where a value stands."""

    index: int
    """Of the value among those of a row."""
    tag: str
    element: int
    component: int
    conditions: Conditions


class Block:
    """Whole messages without their first and last segments."""

    def __init__(
        self,
        data: bytes,
        starts: Indices,
        stops: Indices,
        firsts: Indices,
        lasts: Indices,
        *,
        element: str,
        component: str,
        terminator: str,
        release: str,
        encoding: str,
    ) -> None:
        """`starts` and `stops` of segments in `data`; of each message the `firsts` and `lasts` segment, both left out.

        OneByOneError where the messages are not of the encoding, or there is no safe way to look at their bytes.
        """
        if encoding not in ONE_BYTE and encoding != "utf-8":
            raise OneByOneError(encoding)
        begin, end = int(starts[firsts[0]]), int(stops[lasts[-1]]) + 1
        window = data[begin:end]
        starts, stops = starts[firsts[0] : lasts[-1] + 1] - begin, stops[firsts[0] : lasts[-1] + 1] - begin
        inner = np.ones(len(starts), bool)
        inner[firsts - firsts[0]] = inner[lasts - firsts[0]] = False
        if not window.isascii():
            window, starts, stops = _as_utf8(window, encoding, starts, stops)
        if not (element + component + terminator + release).isascii():
            raise OneByOneError(element)
        self.data, self._view = window, np.frombuffer(window, np.uint8)
        self.starts, self.stops = starts[inner], stops[inner]
        self._inner, counts = inner, lasts - firsts - 1
        self.message = np.repeat(np.arange(len(firsts)), counts)
        """Of each segment."""
        self.messages = len(firsts)
        self._releases = releases(window, release.encode()) if release else np.zeros(0, np.int64)
        self._release = release
        self._elements = self._active(element)
        self._components = self._active(component)
        self._padded, self._padded_components = np.append(self._elements, 0), np.append(self._components, 0)
        # no separator stands between segments, so those of one end where those of the next begin
        first = np.searchsorted(self._elements, starts)
        count = np.append(first[1:], len(self._elements)) - first
        self._all = (starts, stops, first, count)
        self._first, self._count = first[inner], count[inner]
        self.tags, is_tag = self._tags()
        self.is_sound = np.ones(self.messages, bool)
        """Of each message, whether every segment of it has a tag and there is one at least."""
        self.is_sound[counts == 0] = False
        self.is_sound[self.message[~is_tag]] = False
        self._buffer = pa.py_buffer(window)
        self._by_tag: dict[str, Indices] = {}

    def _active(self, sign: str) -> Indices:
        found = positions(self.data, sign.encode())
        return found[~released(found, self._releases)] if len(self._releases) else found

    def _tags(self) -> tuple[Indices, Indices]:
        ends = self._padded[self._first]
        lengths = np.where(self._count > 0, ends, self.stops) - self.starts
        is_tag = (lengths == 2) | (lengths == 3)
        found = np.zeros(len(self.starts), np.int64)
        for offset in range(3):
            signs = self._view[np.minimum(self.starts + offset, len(self._view) - 1)]
            is_in = lengths > offset
            is_tag &= _ALNUM[signs] | ~is_in
            found = found * 256 + np.where(is_in, signs, 0)
        return found, is_tag

    def first_tags(self) -> Indices:
        """The tag of each message's first segment; messages that are not sound count as well."""
        tags = np.append(self.tags, 0)
        return tags[np.searchsorted(self.message, np.arange(self.messages))]

    def tagged(self, tag: str) -> Indices:
        """The segments that bear a tag."""
        if tag not in self._by_tag:
            self._by_tag[tag] = np.flatnonzero(self.tags == code(tag))
        return self._by_tag[tag]

    def _value(self, segments: Indices, element: int, component: int) -> tuple[Indices, Indices]:
        """Where a component begins and ends in each segment; both are the same where there is none."""
        first, count = self._first[segments], self._count[segments]
        elements, stops, last = self._padded, self.stops[segments], len(self._elements)
        ends = np.where(element < count, elements[np.minimum(first + element, last)], stops)
        if element:
            starts = np.where(element <= count, elements[np.minimum(first + element - 1, last)] + 1, stops)
        else:
            starts = self.starts[segments]
        if not len(self._components):
            return (starts, ends) if component == 0 else (ends, ends)
        begin = np.searchsorted(self._components, starts)
        parts = np.searchsorted(self._components, ends) - begin
        signs, last = self._padded_components, len(self._components)
        stops = np.where(component < parts, signs[np.minimum(begin + component, last)], ends)
        if component:
            starts = np.where(component <= parts, signs[np.minimum(begin + component - 1, last)] + 1, ends)
        return starts, stops

    def _holds(self, segments: Indices, element: int, component: int, text: str) -> Indices:
        """Whether each segment has a text at a place."""
        starts, stops = self._value(segments, element, component)
        if (
            len(self._releases)
            and (np.searchsorted(self._releases, stops) > np.searchsorted(self._releases, starts)).any()
        ):
            raise OneByOneError(text)
        wanted = text.encode()
        found = stops - starts == len(wanted)
        for offset, sign in enumerate(wanted):
            found[found] = self._view[starts[found] + offset] == sign
        return found

    def column(self, place: Place, owner: Indices, owners: int) -> pa.Array | None:
        """The first value at a place that is not empty, for each of the owners; None where none of them has one.

        `owner` of each segment, in ascending order, or -1 where it belongs to none.
        """
        segments = self.tagged(place.tag)
        segments = segments[owner[segments] >= 0]
        for element, component, text in place.conditions:
            segments = segments[self._holds(segments, element, component, text)]
        starts, stops = self._value(segments, place.element, place.component)
        found = np.flatnonzero(stops > starts)
        of = owner[segments[found]]
        is_first = np.append([True], of[1:] != of[:-1])[: len(of)]
        found, of = found[is_first], of[is_first]
        if not len(of):
            return None
        return self._texts(starts[found], stops[found], of, owners)

    def _texts(self, starts: Indices, stops: Indices, of: Indices, owners: int) -> pa.Array:
        texts = _slices(self._buffer, starts, stops, of, owners)
        if len(self._releases):
            texts = compute.replace_substring_regex(texts, r"(?s)\%s(.)" % self._release, r"\1")  # noqa: UP031
        return texts

    def json(self, firsts: Indices, lasts: Indices) -> pa.Array:
        """The segments from each of `firsts` to each of `lasts` as JSON; the pieces follow each other."""
        work = self._view.copy()
        for sign, stand_in in ((b'"', 0xFE), (b"\\", 0xC0)):
            work[positions(self.data, sign)] = stand_in
        breaks = (work == 10) | (work == 13)
        is_composite = np.zeros(len(self._elements) + 1, bool)
        is_composite[np.searchsorted(self._elements, self._components) - 1] = True
        starts_segment = np.zeros(len(self._elements) + 1, bool)
        all_starts, all_stops, begins, counts = self._all
        has_elements = counts > 0
        starts_segment[begins[has_elements]] = True
        after = is_composite[:-1]
        before = np.append([False], is_composite[:-2]) & ~starts_segment[:-1] if len(after) else after
        work[self._elements] = 0xF8 + before + 2 * after
        work[self._components] = 0xF8
        ends_composite = has_elements & is_composite[begins + counts - 1]
        work[all_stops] = 0xFC + ends_composite
        work[self._releases] = 0xFF
        # between segments line breaks are nothing; within one they are text, as other control characters are
        gaps = breaks.copy()
        gaps[all_stops] = False
        at = np.flatnonzero(gaps)
        if len(at):
            following = np.searchsorted(all_starts, at)
            upto = np.append(all_starts, len(work))[following]
            since = np.append([-1], all_stops)[following]
            if not ((at > since) & (at < upto)).all():
                raise OneByOneError("line breaks")
            work[at] = 0xFF
        if (work < 32).any():
            raise OneByOneError("control characters")
        bounds = np.column_stack([all_starts, all_stops]).ravel()
        grown = np.add.reduceat(_GROWTH[work], bounds, dtype=np.int64)
        # before each of the bounds; in front of the first there is nothing but what was left out
        grown = np.append([int(_GROWTH[work[: bounds[0]]].sum())], grown[:-1]).cumsum() + bounds
        text = work.tobytes()
        for sign, instead in _JSON.items():
            text = text.replace(bytes([sign]), instead)
        inner = np.flatnonzero(self._inner)
        begin, last = grown[2 * inner[firsts]], inner[lasts]
        end = grown[2 * last + 1] + 2 + (work[all_stops[last]] == 0xFD)
        content = _slices(pa.py_buffer(text), begin, end, np.arange(len(begin)), len(begin))
        return compute.binary_join_element_wise('[["', content, "]", "")


def _slices(buffer: pa.Buffer, starts: Indices, stops: Indices, of: Indices, owners: int) -> pa.Array:
    """Pieces of a buffer, in ascending order, as an array in which the others are null."""
    offsets = np.empty(2 * len(starts), np.int32)
    offsets[0::2], offsets[1::2] = starts, stops
    # every second value is a piece, those between are what lies between the pieces
    every: Any = pa.StringArray.from_buffers(2 * len(starts) - 1, pa.py_buffer(offsets), buffer)
    wanted = 2 * np.arange(len(starts))
    if len(starts) == owners:
        return every.take(pa.array(wanted))
    indices, is_null = np.zeros(owners, np.int64), np.ones(owners, bool)
    indices[of], is_null[of] = wanted, False
    return every.take(pa.array(indices, mask=is_null))


def _as_utf8(data: bytes, encoding: str, starts: Indices, stops: Indices) -> tuple[bytes, Indices, Indices]:
    """A text in UTF-8, and where its segments are in that."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise OneByOneError(encoding) from error
    if encoding == "utf-8":
        return data, starts, stops
    grown = np.zeros(len(data) + 1, np.int64)
    lengths = np.array([len(bytes([byte]).decode(encoding, "replace").encode()) for byte in range(256)])
    grown[1:] = np.cumsum(lengths[np.frombuffer(data, np.uint8)])
    return text.encode(), grown[starts], grown[stops]


def segments_json(segments: list[list[Any]]) -> str:
    """Segments as JSON, one message or line by itself."""
    return orjson.dumps(segments).decode()
