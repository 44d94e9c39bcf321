"""The column types of the lake, and exact comparisons of rows: by key, by content.

A closed set of types that Arrow, Delta, Sail and Spark all carry without loss. Everything here works on whole columns.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from datong_platform.names import BATCH_ID, BRONZE_COLUMNS, INGESTED_AT, OPERATION, RESCUED

compute: Any = pyarrow.compute
"""Arrow's functions on columns; they are made while it is imported, so no type checker knows them."""

UTC_TIMESTAMP = pa.timestamp("us", "UTC")
LOCAL_TIMESTAMP = pa.timestamp("us")

TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "short": pa.int16(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": UTC_TIMESTAMP,
    "timestamp_ntz": LOCAL_TIMESTAMP,
    "binary": pa.binary(),
}
"""Every type but decimal(p,s), by its name in Spark SQL. A timestamp is in UTC; a timestamp_ntz has no zone."""

BRONZE_FIELDS: dict[str, pa.Field] = {
    BATCH_ID: pa.field(BATCH_ID, pa.string()),
    INGESTED_AT: pa.field(INGESTED_AT, UTC_TIMESTAMP),
    OPERATION: pa.field(OPERATION, pa.string()),
    RESCUED: pa.field(RESCUED, pa.string()),
}

_DECIMAL = re.compile(r"decimal\((\d{1,2}),\s*(\d{1,2})\)\Z")
_WHOLE_DIGITS = {pa.int16(): 5, pa.int32(): 10, pa.int64(): 19}


def parse_type(text: str) -> pa.DataType:
    """The Arrow type called `text`: one of TYPES, or decimal(p,s). ValueError for anything else."""
    if found := _DECIMAL.match(text.strip()):
        precision, scale = int(found[1]), int(found[2])
        if 1 <= precision <= 38 and scale <= precision:
            return pa.decimal128(precision, scale)
    elif text in TYPES:
        return TYPES[text]
    raise ValueError(f"{text!r} is not a type; use {', '.join(TYPES)} or decimal(p,s) with p up to 38")


def type_name(kind: pa.DataType) -> str:
    """An Arrow type in the words of `parse_type`."""
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return next((name for name, known in TYPES.items() if known == kind), str(kind))


def lake_type(kind: pa.DataType) -> pa.DataType:
    """The type of the closed set that holds every value of `kind`, as Delta readers hand out types of their own."""
    if pa.types.is_large_string(kind) or kind == pa.string_view():
        return pa.string()
    if pa.types.is_large_binary(kind) or kind == pa.binary_view():
        return pa.binary()
    if pa.types.is_timestamp(kind):
        return UTC_TIMESTAMP if kind.tz else LOCAL_TIMESTAMP
    return kind


def schema_to_json(schema: pa.Schema) -> list[dict[str, str]]:
    """A schema as [{name, type}]."""
    return [{"name": field.name, "type": type_name(field.type)} for field in schema]


def schema_from_json(fields: Sequence[dict[str, str]]) -> pa.Schema:
    """The schema that `schema_to_json` wrote."""
    return pa.schema([(field["name"], parse_type(field["type"])) for field in fields])


def widens(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether every value of `old` is a value of `new`, the same to a reader: Delta's own list of type widenings
    (protocol, section "Type Widening")."""
    if old == new:
        return True
    if old in _WHOLE_DIGITS:
        if new in _WHOLE_DIGITS:
            return _WHOLE_DIGITS[old] < _WHOLE_DIGITS[new]
        if pa.types.is_decimal(new):
            return new.precision - new.scale >= _WHOLE_DIGITS[old]
        return new == pa.float64() and old != pa.int64()
    if pa.types.is_decimal(old) and pa.types.is_decimal(new):
        return new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale
    return (old, new) in {(pa.float32(), pa.float64()), (pa.date32(), LOCAL_TIMESTAMP)}


def source_fields(schema: pa.Schema) -> pa.Schema:
    """A bronze table's schema without the columns that bronze adds."""
    return pa.schema([field for field in schema if field.name not in BRONZE_COLUMNS])


def _as_text(column: Any) -> pa.Array:
    kind = column.type
    if pa.types.is_binary(kind):
        return pa.array(
            [None if value is None else base64.b64encode(value).decode() for value in column.to_pylist()], pa.string()
        )
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    return column.cast(pa.string())


def row_keys(table: pa.Table, columns: Sequence[str]) -> pa.Array:
    """One string per row that is equal exactly when all `columns` are equal (nulls equal nulls)."""
    parts: list[Any] = []
    for name in columns:
        text = _as_text(table.column(name).combine_chunks())
        # the length in front keeps ("a", "bc") and ("ab", "c") apart
        parts.append(compute.binary_join_element_wise(compute.binary_length(text).cast(pa.string()), text, ":"))
    joined = compute.binary_join_element_wise(*parts, "|", null_handling="replace", null_replacement="-")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def last_of_each(keys: pa.Array) -> np.ndarray:
    """The positions, ascending, of the last row of each key."""
    codes = keys.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    last = np.full(int(codes.max()) + 1 if len(codes) else 0, -1, dtype=np.int64)
    np.maximum.at(last, codes, np.arange(len(codes)))
    return np.sort(last)


class ContentHash:
    """SHA-256 over the values of rows in the order they came, however they were cut into pages."""

    def __init__(self, schema: pa.Schema) -> None:
        # null marks or lengths, and values, are hashed apart: so page boundaries leave no trace
        self._columns = {
            field.name: (hashlib.sha256(f"{field.name}:{field.type}".encode()), hashlib.sha256()) for field in schema
        }

    def add(self, table: pa.Table) -> None:
        """Take in rows of the schema."""
        for name, (shape, values) in self._columns.items():
            for chunk in table.column(name).chunks:
                marks, content = _bytes_of(chunk)
                shape.update(marks)
                values.update(content)

    def hexdigest(self) -> str:
        """The hash of all rows so far."""
        whole = hashlib.sha256()
        for shape, values in self._columns.values():
            whole.update(shape.digest())
            whole.update(values.digest())
        return whole.hexdigest()


def _bytes_of(array: pa.Array) -> tuple[bytes, bytes]:
    """Null marks (or lengths, -1 for null) and the values' bytes, nulls as zeros."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        lengths = compute.fill_null(compute.binary_length(array), -1).to_numpy(zero_copy_only=False)
        filled = compute.fill_null(array, "" if pa.types.is_string(kind) else b"")
        _, offsets, content = filled.buffers()
        if not len(filled) or content is None:
            return lengths.tobytes(), b""
        ends = np.frombuffer(offsets, dtype=np.int32)
        start, end = int(ends[filled.offset]), int(ends[filled.offset + len(filled)])
        return lengths.tobytes(), content[start:end].to_pybytes()
    marks = compute.is_valid(array).to_numpy(zero_copy_only=False).tobytes()
    if pa.types.is_decimal(kind):
        filled = compute.fill_null(array, Decimal(0))
        content = filled.buffers()[1]
        width = kind.bit_width // 8
        return marks, content[filled.offset * width : (filled.offset + len(filled)) * width].to_pybytes()
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif pa.types.is_date32(kind):
        array = array.cast(pa.int32())
    elif pa.types.is_timestamp(kind):
        array = array.cast(pa.int64())
    return marks, compute.fill_null(array, 0).to_numpy(zero_copy_only=False).tobytes()
