"""Parquet files, batch by batch, in the lake's types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datong_platform.lake.columns import list_of

from datong_ingestion.connections.files import MIB, Limits
from datong_ingestion.documents.refusals import RefusedError
from datong_ingestion.documents.rows import Layout, marked
from datong_ingestion.source import Page
from datong_ingestion.values import in_calendar

_ROWS = 32768


class ParquetFiles:
    """Reads the Parquet files of one entity."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def fields(self, path: Path) -> list[pa.Field]:
        """The fields of a file in the lake's types."""
        with _opened(path) as file:
            return [pa.field(item.name, _type(item.type)) for item in file.schema_arrow]

    def pages(self, path: Path, layout: Layout) -> Iterator[Page]:
        """The rows of a file."""
        with _opened(path) as file:
            names = list(file.schema_arrow.names)
            if len(set(names)) < len(names):
                raise RefusedError("two of its columns have one name")
            layout.begin(names)
            expanded = 0
            for group in range(file.num_row_groups):
                # a row group is unpacked at once, so what it says of itself is looked at before
                if file.metadata.row_group(group).total_byte_size > self.limits.expanded_mib * MIB / 4:
                    raise RefusedError("one of its row groups unpacks to more than connection.limits.expanded_mib / 4")
            first = 1
            for batch in _batches(file):
                expanded += batch.nbytes
                if expanded > self.limits.expanded_mib * MIB:
                    raise RefusedError("it unpacks to more than connection.limits.expanded_mib")
                yield self._page(batch, layout, first)
                first += len(batch)

    def _page(self, batch: pa.RecordBatch, layout: Layout, first: int) -> Page:
        columns: dict[str, Any] = {}
        is_marked = False
        for item, column in zip(batch.schema, batch.columns, strict=True):
            own = _type(item.type)
            wanted = layout.wanted(item.name) or own
            if own == pa.binary() != wanted:
                columns[item.name], has_marks = _decoded(column)
                is_marked = is_marked or has_marks
                continue
            try:
                columns[item.name] = _exact(_plain(column), own, wanted)
            except (pa.ArrowException, NotImplementedError):
                # text is what the layout can take apart value by value
                columns[item.name] = _as_text(column)
        numbers = np.arange(first, first + len(batch), dtype=np.int64)
        return layout.page(columns, len(batch), numbers, is_marked=is_marked)


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=1024 * 1024)
    except (pa.ArrowException, OSError) as error:
        raise RefusedError(f"it is not a whole Parquet file: {error}") from error


def _batches(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """The content of a file; RefusedError where its pages are damaged, which Arrow tells as an error of the disk."""
    try:
        yield from file.iter_batches(batch_size=_ROWS, use_threads=False)
    except OSError as error:
        if error.errno is not None:
            raise  # of the disk indeed
        raise RefusedError(f"it is not a whole Parquet file: {error}") from error


def _type(kind: pa.DataType) -> pa.DataType:  # noqa: PLR0911 a line for each family
    """The lake's type that holds every value of a Parquet type; what has none is kept as text (JSON for a map)."""
    if pa.types.is_dictionary(kind):
        return _type(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _type(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return list_of(_type(kind.value_type))
    small = {
        pa.int8(): pa.int16(),
        pa.uint8(): pa.int16(),
        pa.uint16(): pa.int32(),
        pa.uint32(): pa.int64(),
        pa.uint64(): pa.decimal128(20, 0),
        pa.float16(): pa.float32(),
    }
    if kind in small:
        return small[kind]
    if pa.types.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale) if kind.precision <= 38 else pa.string()
    if pa.types.is_date(kind):
        return pa.date32()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC") if kind.tz else pa.timestamp("us")
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind):
        return pa.binary()
    plain = {pa.bool_(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64()}
    return kind if kind in plain else pa.string()


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    if pa.types.is_map(column.type) or pa.types.is_union(column.type):
        raise NotImplementedError
    return column


def _exact(column: pa.Array, own: pa.DataType, wanted: pa.DataType) -> pa.Array:
    """A column in the type that is wanted, by Arrow where it changes no value; NotImplementedError elsewhere: its casts
    also make 1.235 of the double 1.23456, a day of a time, true of a 5 and 31 of the text 0x1F."""
    number = pa.types.is_integer(own) or pa.types.is_decimal(own)
    if not (
        own == wanted
        or (number and (pa.types.is_decimal(wanted) or pa.types.is_integer(wanted)))
        or (pa.types.is_floating(own) and wanted == pa.float64())
    ):
        raise NotImplementedError
    found = column.cast(own).cast(wanted)
    return in_calendar(found) if pa.types.is_temporal(wanted) else found


def _decoded(column: pa.Array) -> tuple[pa.Array, bool]:
    """Bytes as the text that they are in UTF-8, as writers without a type for text mean them; and whether some are no
    text, and marked."""
    plain = column.cast(pa.binary())
    try:
        return plain.cast(pa.string()), False
    except pa.ArrowInvalid:
        texts = [None if raw is None else marked(raw.decode("utf-8", "surrogateescape")) for raw in plain.to_pylist()]
        return pa.array(texts, pa.binary()).cast(pa.string()), True


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type) or pa.types.is_date32(column.type):
        try:
            in_calendar(column)
        except pa.ArrowInvalid:
            return column.cast(pa.string())  # what Python has no year for

    def text(value: Any) -> str | None:
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, dict | list):
            return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))
        return value.hex() if isinstance(value, bytes) else str(value)

    return pa.array([text(value) for value in column.to_pylist()], pa.string())
