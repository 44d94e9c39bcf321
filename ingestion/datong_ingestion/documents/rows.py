"""Rows of a document as pages of the agreed schema: columns by name, what is not described rescued, where each came
from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from datong_platform.lake.columns import compute

from datong_ingestion.connections.files import Format
from datong_ingestion.documents.refusals import RefusedError
from datong_ingestion.documents.typed import Texts
from datong_ingestion.source import Page
from datong_ingestion.values import Rescue

FILE, ROW = "_file", "_row"
PROVENANCE = {FILE: pa.string(), ROW: pa.int64()}
"""Where a row stood: the file, and the number of the row in it (from 1, the header not counted)."""


class Layout:
    """What the rows of one entity are to look like, for one file after the other."""

    def __init__(self, schema: pa.Schema, keys: tuple[str, ...], rules: Format, select: list[str]) -> None:
        self.schema, self.keys, self.select = schema, keys, set(select)
        self.texts = Texts(rules)
        self.file = ""
        self._is_text = False

    def begin(self, names: list[str], *, is_text: bool = False) -> None:
        """The columns of the next file; RefusedError when they cannot be those of this entity. `is_text`: columns of
        bytes hold text."""
        self._is_text = is_text
        described = [name for name in self.schema.names if name not in PROVENANCE]
        if missing := [name for name in self.keys if name not in names and name not in PROVENANCE]:
            raise RefusedError(f"it has no column {', '.join(missing)}, which is a key; it has {_some(names)}")
        if described and not set(described) & set(names):
            raise RefusedError(f"none of its columns is known; it has {_some(names)}")

    def wanted(self, name: str) -> pa.DataType | None:
        """The type of a field, or None when it is not described."""
        index = self.schema.get_field_index(name)
        return self.schema.field(index).type if index >= 0 else None

    def page(self, columns: dict[str, Any], rows: int, numbers: np.ndarray, refused: pa.Table | None = None) -> Page:
        """A page of columns, each either bytes or text (to be read as the declared type) or of its own type."""
        rescue = Rescue()
        made: list[pa.Array] = []
        for item in self.schema:
            if item.name == FILE:
                made.append(pa.repeat(pa.scalar(self.file), rows))
            elif item.name == ROW:
                made.append(pa.array(numbers[:rows], pa.int64()))
            elif item.name not in columns:
                made.append(pa.nulls(rows, item.type))
            else:
                made.append(self._column(item, columns[item.name], rescue))
        extra = {
            name: column
            for name, column in columns.items()
            if name not in self.schema.names and (not self.select or name in self.select)
        }
        for name, column in extra.items():
            content = self._column(pa.field(name, pa.string()), column, rescue)
            for row in np.flatnonzero(compute.fill_null(compute.not_equal(content, ""), False)):
                rescue.add(int(row), name, content[int(row)].as_py())
        return Page(
            pa.Table.from_arrays(made, schema=self.schema),
            rescued=rescue.column(rows),
            unexpected=frozenset(extra),
            refused=refused,
        )

    def _column(self, item: pa.Field, column: pa.Array, rescue: Rescue) -> pa.Array:
        if self._is_text and pa.types.is_binary(column.type):
            column, bad = _as_text(column)
            for row, raw in bad:
                rescue.add(row, item.name, _with_surrogates(raw))
        if pa.types.is_string(column.type):
            return self.texts.column(item.name, item.type, column, rescue)
        return column


def _as_text(column: pa.Array) -> tuple[pa.Array, list[tuple[int, bytes]]]:
    try:
        return column.cast(pa.string()), []
    except pa.ArrowInvalid:
        pass
    kept: list[str | None] = []
    bad: list[tuple[int, bytes]] = []
    values: list[Any] = column.to_pylist()
    for row, value in enumerate(values):
        try:
            kept.append(None if value is None else value.decode())
        except UnicodeDecodeError:
            kept.append(None)
            bad.append((row, value))  # pyright: ignore[reportArgumentType] only bytes fail to decode
    return pa.array(kept, pa.string()), bad


def _with_surrogates(raw: bytes) -> str:
    """Bytes of which some are not text, these as surrogates (U+DC80 to U+DCFF for the bytes 80 to FF)."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "surrogateescape")


def _some(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
