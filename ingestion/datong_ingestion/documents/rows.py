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


_MARK = {0xDC80 + byte: 0x10FF80 + byte for byte in range(128)}
UNMARK = {mark: byte for byte, mark in _MARK.items()}
_MARKED = "[\U0010ff80-\U0010ffff]"
MARKS = (b"\xf4\x8f\xbe", b"\xf4\x8f\xbf")
"""How marked bytes begin in UTF-8. Arrow wants valid UTF-8; so unknown bytes come to it as these characters."""


class Layout:
    """What the rows of one entity are to look like, for one file after the other."""

    def __init__(self, schema: pa.Schema, keys: tuple[str, ...], rules: Format, select: list[str]) -> None:
        self.schema, self.keys, self.select = schema, keys, set(select)
        self.texts = Texts(rules)
        self.file = ""

    def begin(self, names: list[str]) -> None:
        """The columns of the next file; RefusedError when they cannot be those of this entity."""
        described = [name for name in self.schema.names if name not in PROVENANCE]
        if missing := [name for name in self.keys if name not in names and name not in PROVENANCE]:
            raise RefusedError(f"it has no column {', '.join(missing)}, which is a key; it has {_some(names)}")
        if described and not set(described) & set(names):
            raise RefusedError(f"none of its columns is known; it has {_some(names)}")

    def wanted(self, name: str) -> pa.DataType | None:
        """The type of a field, or None when it is not described."""
        index = self.schema.get_field_index(name)
        return self.schema.field(index).type if index >= 0 else None

    def page(
        self,
        columns: dict[str, Any],
        rows: int,
        numbers: np.ndarray,
        refused: pa.Table | None = None,
        *,
        is_marked: bool = False,
    ) -> Page:
        """A page of columns, each either text (to be read as the declared type) or of the type itself already.
        `is_marked`: some texts hold bytes that are not of the encoding (`marked`)."""
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
                made.append(self._column(item, columns[item.name], rescue, is_marked=is_marked))
        extra = {
            name: column
            for name, column in columns.items()
            if name not in self.schema.names and (not self.select or name in self.select)
        }
        for name, column in extra.items():
            content = self._column(pa.field(name, pa.string()), column, rescue, is_marked=is_marked)
            for row in np.flatnonzero(compute.fill_null(compute.not_equal(content, ""), False)):
                rescue.add(int(row), name, content[int(row)].as_py())
        return Page(
            pa.Table.from_arrays(made, schema=self.schema),
            rescued=rescue.column(rows),
            unexpected=frozenset(extra),
            refused=refused,
        )

    def _column(self, item: pa.Field, column: pa.Array, rescue: Rescue, *, is_marked: bool) -> pa.Array:
        if not pa.types.is_string(column.type):
            return column
        if is_marked:
            for row in np.flatnonzero(compute.fill_null(compute.match_substring_regex(column, _MARKED), False)):
                rescue.add(int(row), item.name, column[int(row)].as_py().translate(UNMARK))
            column = compute.if_else(
                compute.match_substring_regex(column, _MARKED), pa.scalar(None, pa.string()), column
            )
        return self.texts.column(item.name, item.type, column, rescue)


def marked(text: str) -> bytes:
    """Text in UTF-8, with every byte that the encoding did not know (a surrogate) as a character of private use."""
    return text.translate(_MARK).encode()


def _some(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
