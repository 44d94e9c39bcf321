"""The pages of one document, held back until the document was read to its end: in memory while small, else on disk.

A document that turns out broken near its end so leaves nothing behind, however large it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from datong_ingestion.documents.refusals import RefusedError
from datong_ingestion.source import Page

REFUSED_BYTES = 32 * 1024 * 1024
"""A document of which more than this cannot be read is refused whole: its definition must be wrong, not its rows."""
MEMORY_BYTES = 48 * 1024 * 1024
_RESCUED = "rescued"


class Spool:
    """Pages of one schema."""

    def __init__(self, schema: pa.Schema, folder: Path) -> None:
        self._schema = pa.schema([*schema, pa.field(_RESCUED, pa.string())])
        self._folder = folder
        self._held: list[Page] = []
        self._bytes = 0
        self._file: Any = None
        self._writer: Any = None
        self._refused: list[pa.Table] = []
        self._refused_bytes = 0
        self.unexpected: set[str] = set()
        self.rows = 0

    def fill(self, pages: Iterable[Page]) -> None:
        """Take in all pages."""
        for page in pages:
            self.rows += len(page.rows)
            self.unexpected |= page.unexpected
            self._held.append(page)
            self._bytes += page.rows.nbytes
            if page.refused is not None:
                self._refused_bytes += page.refused.nbytes
                if self._refused_bytes > REFUSED_BYTES:
                    raise RefusedError(
                        f"so many of its rows cannot be read that something else must be wrong; the first: "
                        f"{self._first_reason(page)}"
                    )
            if self._bytes > MEMORY_BYTES:
                self._to_disk()

    def _to_disk(self) -> None:
        if self._writer is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 closed by close()
            self._writer = pa.ipc.new_stream(
                self._file, self._schema, options=pa.ipc.IpcWriteOptions(compression="lz4")
            )
        for page in self._held:
            rescued = page.rescued if page.rescued is not None else pa.nulls(len(page.rows), pa.string())
            if len(page.rows):
                self._writer.write_table(pa.Table.from_arrays([*page.rows.columns, rescued], schema=self._schema))
            if page.refused is not None:
                self._refused.append(page.refused)
        self._held, self._bytes = [], 0

    def _first_reason(self, page: Page) -> str:
        found = [*self._refused, *[held.refused for held in self._held if held.refused is not None], page.refused]
        return next(str(table.column("reason")[0]) for table in found if table is not None and len(table))

    def pages(self) -> Iterator[Page]:
        """The pages again, in their order; those with refusals first."""
        unexpected = frozenset(self.unexpected)
        if self._writer is None:
            for page in self._held:
                yield Page(page.rows, page.operations, page.rescued, unexpected, refused=page.refused)
            return
        self._to_disk()
        self._writer.close()
        self._file.seek(0)
        for refused in self._refused:
            yield Page(self._schema.empty_table().drop_columns([_RESCUED]), refused=refused)
        with pa.ipc.open_stream(self._file) as stream:
            for batch in stream:
                part = pa.Table.from_batches([batch])
                rescued = part.column(_RESCUED).combine_chunks()
                yield Page(
                    part.drop_columns([_RESCUED]),
                    rescued=rescued if rescued.null_count < len(rescued) else None,
                    unexpected=unexpected,
                )

    def close(self) -> None:
        """Let go of the disk."""
        if self._file is not None:
            self._file.close()
