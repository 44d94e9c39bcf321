"""Compressed documents, unpacked to disk no further than the limits allow."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from datong_ingestion.connections.files import MIB, Limits
from datong_ingestion.documents.refusals import RefusedError

_BLOCK = 1024 * 1024
_FREE = 10 * MIB
"""What unpacks to less than this may have any ratio: small files of zeros are not attacks."""


def check_ratio(packed: int, unpacked: int, limits: Limits, limit_mib: float) -> None:
    """RefusedError when something unpacks to more than a limit, or to suspiciously more than its own size."""
    if unpacked > limit_mib * MIB:
        raise RefusedError(f"it unpacks to more than {limit_mib:,.0f} MiB (connection.limits.expanded_mib)")
    if unpacked > _FREE and unpacked > packed * limits.ratio:
        raise RefusedError(
            f"it unpacks to more than {limits.ratio:,.0f} times its size, as a zip bomb does (connection.limits.ratio)"
        )


@contextmanager
def unpacked(path: Path, name: str, limits: Limits) -> Generator[tuple[Path, str]]:
    """The document itself and its name: `orders.csv` for `orders.csv.gz`, anything else as it is."""
    if not name.lower().endswith(".gz"):
        yield path, name
        return
    packed = path.stat().st_size
    with tempfile.TemporaryDirectory(prefix="datong-") as folder:
        target = Path(folder) / "document"
        size = 0
        try:
            with gzip.open(path) as source, target.open("wb") as file:
                while block := source.read(_BLOCK):
                    size += len(block)
                    check_ratio(packed, size, limits, limits.expanded_mib)
                    file.write(block)
        except (EOFError, gzip.BadGzipFile, zlib.error, OSError) as error:
            raise RefusedError(f"it is not a whole gzip file: {error}") from error
        yield target, name[:-3]
