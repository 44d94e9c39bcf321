"""What is refused of a document: the whole of it (`RefusedError`), or parts, with bytes, place and reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from datong_ingestion.source import REFUSED

RAW_BYTES = 64 * 1024
"""How much of a refused document or part is kept; the file itself is still where it was."""


class RefusedError(Exception):
    """A document cannot be taken as it is; nothing of it is."""

    def __init__(self, reason: str, *, place: str = "", field: str = "", raw: bytes | None = None) -> None:
        super().__init__(reason)
        self.reason, self.place, self.field, self.raw = reason, place, field, raw


@dataclass(frozen=True)
class Refusal:
    """One part that could not be read."""

    raw: bytes
    place: str
    reason: str
    field: str = ""


def table(refusals: Sequence[Refusal]) -> pa.Table:
    """Refusals as the contract's table; of each, at most `RAW_BYTES` are kept."""
    return pa.table(
        [
            pa.array([item.raw[:RAW_BYTES] for item in refusals], pa.binary()),
            pa.array([item.place for item in refusals], pa.string()),
            pa.array([item.field or None for item in refusals], pa.string()),
            pa.array([item.reason for item in refusals], pa.string()),
        ],
        schema=REFUSED,
    )
