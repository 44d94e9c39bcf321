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
"""Every plain type but decimal(p,s), by its name in Spark SQL. A timestamp is in UTC; a timestamp_ntz has no zone.

Documents have nested types as well: `array<type>` and `struct<name:type,...>`, a name in backticks where it is more
than letters, digits and underscores."""

BRONZE_FIELDS: dict[str, pa.Field] = {
    BATCH_ID: pa.field(BATCH_ID, pa.string()),
    INGESTED_AT: pa.field(INGESTED_AT, UTC_TIMESTAMP),
    OPERATION: pa.field(OPERATION, pa.string()),
    RESCUED: pa.field(RESCUED, pa.string()),
}

_DECIMAL = re.compile(r"decimal\((\d{1,2}),\s*(\d{1,2})\)\Z")
_FIELD = re.compile(r"\s*(?:`((?:[^`]|``)+)`|(\w+))\s*:(.+)\Z", re.DOTALL)
_PLAIN = re.compile(r"\w+\Z")
_WHOLE_DIGITS = {pa.int16(): 5, pa.int32(): 10, pa.int64(): 19}


def parse_type(text: str) -> pa.DataType:
    """The Arrow type called `text`: one of TYPES, decimal(p,s), or a nested type. ValueError for anything else."""
    plain = text.strip()
    if found := _DECIMAL.match(plain):
        precision, scale = int(found[1]), int(found[2])
        if 1 <= precision <= 38 and scale <= precision:
            return pa.decimal128(precision, scale)
    elif plain in TYPES:
        return TYPES[plain]
    elif plain.endswith(">") and plain.startswith(("array<", "struct<")):
        outer, _, inner = plain[:-1].partition("<")
        if outer == "array":
            return list_of(parse_type(inner))
        fields = [_FIELD.match(part) for part in _parts(inner)]
        if fields and all(fields):
            return pa.struct(
                [
                    (field[1].replace("``", "`") if field[1] is not None else field[2], parse_type(field[3]))
                    for field in fields
                    if field
                ]
            )
    raise ValueError(
        f"{text!r} is not a type; use {', '.join(TYPES)}, decimal(p,s) with p up to 38, array<type> or "
        "struct<name:type,...>"
    )


def _parts(text: str) -> list[str]:
    """A list's parts: cut at the commas outside of brackets and backticks."""
    parts, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == "`"
        depth += 0 if quoted else (character in "<(") - (character in ">)")
        if character == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def list_of(kind: pa.DataType) -> pa.DataType:
    """A list of values of a type, its items named as Delta and Parquet name them."""
    return pa.list_(pa.field("element", kind))


def is_nested(kind: pa.DataType) -> bool:
    """Whether a type holds others."""
    return pa.types.is_struct(kind) or pa.types.is_list(kind)


def type_name(kind: pa.DataType) -> str:
    """An Arrow type in the words of `parse_type`."""
    if pa.types.is_struct(kind):
        fields = [f"{_quoted(field.name)}:{type_name(field.type)}" for field in kind]
        return f"struct<{','.join(fields)}>"
    if pa.types.is_list(kind):
        return f"array<{type_name(kind.value_type)}>"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return next((name for name, known in TYPES.items() if known == kind), str(kind))


def _quoted(name: str) -> str:
    return name if _PLAIN.match(name) else f"`{name.replace('`', '``')}`"


def lake_type(kind: pa.DataType) -> pa.DataType:
    """The type of the closed set that holds every value of `kind`, as Delta readers hand out types of their own."""
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, lake_type(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list_view(kind):
        return list_of(lake_type(kind.value_type))
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
    (protocol, section "Type Widening"), and fields that are added within a struct."""
    if old == new or is_nested(old):
        return old == new or _widens_nested(old, new)
    if old in _WHOLE_DIGITS:
        if new in _WHOLE_DIGITS:
            return _WHOLE_DIGITS[old] < _WHOLE_DIGITS[new]
        if pa.types.is_decimal(new):
            return new.precision - new.scale >= _WHOLE_DIGITS[old]
        return new == pa.float64() and old != pa.int64()
    if pa.types.is_decimal(old) and pa.types.is_decimal(new):
        return new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale
    return (old, new) in {(pa.float32(), pa.float64()), (pa.date32(), LOCAL_TIMESTAMP)}


def _widens_nested(old: pa.DataType, new: pa.DataType) -> bool:
    if pa.types.is_struct(old) and pa.types.is_struct(new):
        known = {field.name: field.type for field in new}
        return all(field.name in known and widens(field.type, known[field.name]) for field in old)
    return pa.types.is_list(old) and pa.types.is_list(new) and widens(old.value_type, new.value_type)


def source_fields(schema: pa.Schema) -> pa.Schema:
    """A bronze table's schema without the columns that bronze adds."""
    return pa.schema([field for field in schema if field.name not in BRONZE_COLUMNS])


def _as_text(column: Any) -> pa.Array:
    kind = column.type
    if is_nested(kind):
        return pa.array([None if value is None else repr(value) for value in column.to_pylist()], pa.string())
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
            path: (hashlib.sha256(f"{path}:{kind}".encode()), hashlib.sha256())
            for field in schema
            for path, kind in _leaf_types(field.name, field.type)
        }
        self._names = schema.names

    def add(self, table: pa.Table) -> None:
        """Take in rows of the schema."""
        for name in self._names:
            for chunk in table.column(name).chunks:
                for path, leaf in _leaves(name, chunk):
                    shape, values = self._columns[path]
                    marks, content = _bytes_of(leaf)
                    shape.update(marks)
                    values.update(content)

    def hexdigest(self) -> str:
        """The hash of all rows so far."""
        whole = hashlib.sha256()
        for shape, values in self._columns.values():
            whole.update(shape.digest())
            whole.update(values.digest())
        return whole.hexdigest()


def _leaf_types(path: str, kind: pa.DataType) -> list[tuple[str, pa.DataType]]:
    """A nested type as the plain types of `_leaves`."""
    if pa.types.is_struct(kind):
        inner = [leaf for field in kind for leaf in _leaf_types(f"{path}.{field.name}", field.type)]
        return [(f"{path}{{}}", pa.bool_()), *inner]
    if pa.types.is_list(kind):
        return [(f"{path}[]", pa.int32()), *_leaf_types(f"{path}.element", kind.value_type)]
    return [(path, kind)]


def _leaves(path: str, array: pa.Array) -> list[tuple[str, pa.Array]]:
    """A nested array as plain ones: which structs are there, how long the lists are, and what is in them."""
    if pa.types.is_struct(array.type):
        inner = [
            leaf
            for field, child in zip(array.type, array.flatten(), strict=True)
            for leaf in _leaves(f"{path}.{field.name}", child)
        ]
        return [(f"{path}{{}}", compute.is_valid(array)), *inner]
    if pa.types.is_list(array.type):
        lengths = compute.list_value_length(array).cast(pa.int32())
        return [(f"{path}[]", lengths), *_leaves(f"{path}.element", array.flatten())]
    return [(path, array)]


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
