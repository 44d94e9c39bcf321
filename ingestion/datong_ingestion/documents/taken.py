"""What was taken already: the content of every file, and the control numbers in them, in a position that fits a commit.

A file is known by its content (the first 12 bytes of its SHA-256), so that the same content under another name is not
taken twice. Beside it is kept what it looked like (name, size, time), so that a known file need not be read again to be
recognised. 22 bytes a file, 10 a control number.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from datong_platform.errors import PositionLostError

_FILE = struct.Struct(">H12s8s")
_CONTROL = struct.Struct(">H8s")
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_FIRST_DAY = date(2020, 1, 1).toordinal()


def today() -> int:
    """Today as a day number of positions."""
    return datetime.now(UTC).date().toordinal() - _FIRST_DAY


def look(name: str, size: int, stamp: str) -> bytes:
    """What a file looks like from outside."""
    return hashlib.sha256(f"{name}\n{size}\n{stamp}".encode("utf-8", "surrogateescape")).digest()[:8]


def _control(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8]


@dataclass
class Taken:
    """The files and control numbers that were taken, and what is to be acknowledged of the last batch."""

    files: dict[tuple[bytes, bytes], int] = field(default_factory=dict)
    """By content and look (several files can hold the same): the day."""
    controls: dict[bytes, int] = field(default_factory=dict)
    contents: set[bytes] = field(default_factory=set)
    looks: set[bytes] = field(default_factory=set)
    answers: list[Any] = field(default_factory=list)
    answered: int = 0
    """How many answers were given in all: the last one's own control number."""

    @classmethod
    def parse(cls, position: str | None, thing: str) -> Taken:
        """The state that `dump` wrote; empty for None. PositionLostError when it is something else."""
        if position is None:
            # a partner must not see a number twice, though everything be read anew
            return cls(answered=int((datetime.now(UTC) - _EPOCH).total_seconds() // 10))
        try:
            content = json.loads(position)
            if content["version"] != 1:
                raise ValueError(content["version"])
            files = {(digest, seen): day for day, digest, seen in _FILE.iter_unpack(_unpacked(content["files"]))}
            controls = {digest: day for day, digest in _CONTROL.iter_unpack(_unpacked(content["controls"]))}
            return cls(
                files,
                controls,
                {digest for digest, _ in files},
                {seen for _, seen in files},
                list(content["answers"]),
                int(content["answered"]),
            )
        except (ValueError, KeyError, TypeError, struct.error, zlib.error) as error:
            raise PositionLostError(thing, "has a position that does not tell which files were taken.") from error

    def dump(self) -> str:
        """This state as a position; the same state gives the same text."""
        files = b"".join(_FILE.pack(day, digest, seen) for (digest, seen), day in sorted(self.files.items()))
        controls = b"".join(_CONTROL.pack(day, key) for key, day in sorted(self.controls.items()))
        return json.dumps(
            {
                "version": 1,
                "files": _packed(files),
                "controls": _packed(controls),
                "answers": self.answers,
                "answered": self.answered,
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )

    def has(self, digest: bytes) -> bool:
        """Whether this content was taken."""
        return digest[:12] in self.contents

    def add(self, digest: bytes, seen: bytes) -> None:
        """Remember a content, and what its file looks like."""
        self.files[digest[:12], seen] = today()
        self.contents.add(digest[:12])
        self.looks.add(seen)

    def has_control(self, text: str) -> bool:
        """Whether this control number was taken."""
        return _control(text) in self.controls

    def add_control(self, text: str) -> None:
        """Remember a control number."""
        self.controls[_control(text)] = today()

    def forget(self, days: int, present: Iterable[bytes]) -> None:
        """Forget what is older than so many days, but for files that still lie there."""
        bound, there = today() - days, set(present)
        self.files = {key: day for key, day in self.files.items() if day >= bound or key[1] in there}
        self.controls = {key: day for key, day in self.controls.items() if day >= bound}


def _packed(content: bytes) -> str:
    return base64.b85encode(zlib.compress(content, 6)).decode()


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b85decode(text))
