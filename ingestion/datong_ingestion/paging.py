"""Reading must end: a guard against pages that never do."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pyarrow as pa
from datong_platform.errors import ProtocolError
from datong_platform.lake.columns import ContentHash

_MANY = 100
"""Rows of a page from which on its keys stand for it: hashing all of it would cost a tenth of the reading."""


class EndGuard:
    """Notices a read that goes in circles, by its links and by what its pages hold."""

    def __init__(self, thing: str, *, by_content: bool) -> None:
        """`by_content`: rows have keys, so that no two pages of one read can hold the same."""
        self._thing, self._by_content = thing, by_content
        self._links: set[bytes] = set()
        self._contents: set[str] = set()
        self._pages = 0

    def link(self, link: str) -> str:
        """`link`, the way to the next page. ProtocolError when it was followed before."""
        digest = hashlib.sha256(link.encode()).digest()
        if digest in self._links:
            raise self._endless("its link to the next page is one that was followed before")
        self._links.add(digest)
        return link

    def rows(self, rows: pa.Table, keys: Sequence[str] = ()) -> None:
        """Take note of a page's rows. ProtocolError when a page brought the very same; many rows are known by `keys`,
        which no other page can have, too."""
        self._pages += 1
        if not self._by_content or not len(rows):
            return
        if keys and len(rows) >= _MANY:
            rows = rows.select(list(keys))
        content = ContentHash(rows.schema)
        content.add(rows)
        digest = content.hexdigest()
        if digest in self._contents:
            raise self._endless("it brought the same rows as an earlier page")
        self._contents.add(digest)

    def _endless(self, why: str) -> ProtocolError:
        return ProtocolError(
            self._thing,
            f"page {self._pages + 1} never ends: {why}.",
            "have the system's paging mended; nothing of this read was loaded.",
        )
