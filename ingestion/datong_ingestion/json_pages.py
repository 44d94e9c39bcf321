"""JSON pages to Arrow, fast where the page is as expected and exact where it is not.

A page is `{…: {…: [row, row, …]}}` with the rows somewhere in an envelope. Arrow's own reader turns the bytes into
columns in one go (about 3 times as fast as going through Python objects, measured on SAP-like rows), given the shape
of the whole page. That shape is learned: a page that does not match is read by Python, which rescues what does not
fit and teaches the reader the shape for the next page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.json as pj
from datong_platform.lake.columns import compute

from datong_ingestion.http import UnreadableBodyError
from datong_ingestion.values import (
    Convert,
    MisfitError,
    Number,
    Rescue,
    cast_texts,
    column,
    converter,
    json_object,
)

_MISSES = 3
"""Pages in a row that did not match before the fast reader is given up for this read."""

_LARGE = 64 * 1024
"""Bytes of a first page from which on Arrow guesses its shape, for the exact path would take many times as long."""

_AS_SENT: dict[str, Any] = {
    "parse_float": Number,
    "parse_int": Number,
    "parse_constant": Number,
    "object_pairs_hook": json_object,
}

FastCast = Callable[[pa.Array], pa.Array]


@dataclass
class JsonPage:
    """The rows of a page and the envelope around them."""

    rows: pa.Table
    rescued: pa.Array | None
    unexpected: frozenset[str]
    envelope: dict[str, Any]
    """The page without its rows."""
    marks: dict[str, list[Any]] = field(default_factory=dict)
    """Raw values of the fields in `marks`, for the rows of a page that has any."""
    partial: list[int] = field(default_factory=list)
    """Rows that lack a field of the schema; told only to who asked for it (`complete`)."""


class JsonReader:
    """Reads the pages of one entity."""

    def __init__(
        self,
        schema: pa.Schema,
        paths: Sequence[Sequence[str]],
        *,
        converts: Mapping[str, Convert] | None = None,
        fast_casts: Mapping[str, FastCast] | None = None,
        ignored: Callable[[str, dict[str, Any]], bool] = lambda _name, _row: False,
        marks: Sequence[str] = (),
        envelope_fields: Sequence[str] = (),
        check: Callable[[Any], None] = lambda _page: None,
        complete: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        """`paths`: where the rows may be, the first that holds a list counts. `converts`: per field, in place of the
        usual conversion; `fast_casts`: the same for a whole column of strings. `ignored` says which fields that the
        schema lacks are not data. `marks`: raw fields to hand out beside the rows.
        `envelope_fields`: texts that may stand beside the list of rows, on some pages. `check` sees each page (the
        fast path shows it the envelope only) and raises when the page tells an error. `complete` has each row looked
        at for fields that were not sent. `names`: rows are lists of values, in the order of these fields."""
        self.check = check
        self.envelope_fields = tuple(envelope_fields)
        self.schema, self.paths, self.marks, self.ignored = schema, [tuple(path) for path in paths], marks, ignored
        self.converts = {item.name: converter(item.type) for item in schema} | dict(converts or {})
        self.fast_casts = dict(fast_casts or {})
        self._known = frozenset(schema.names)
        self._shape: pa.DataType | None = None
        self._path: tuple[str, ...] = ()
        self._misses = _MISSES if complete or names else 0
        self._complete, self._names = complete, tuple(names)

    def parse(self, body: bytes) -> JsonPage:
        """The page in `body`. UnreadableBodyError when it is not JSON or holds no list of rows."""
        if self._shape is not None and self._misses < _MISSES:
            page = self._fast(body)
            if page is not None:
                self._misses = 0
                return page
            self._misses += 1
        elif self._misses < _MISSES and len(body) >= _LARGE and self._guessed(body) and (page := self._fast(body)):
            return page
        return self._exact(body)

    def _fast(self, body: bytes) -> JsonPage | None:
        shape = self._shape
        if shape is None or (not body.isascii() and not _is_utf8(body)):
            return None
        try:
            page = _as_arrow(body, shape)
            if page is None:
                return None
            holder = page
            for name in self._path:
                holder = holder.field(name)
            if holder.null_count:
                return None
            content = holder.flatten()
            if content.null_count:
                return None
            columns = [self._cast(content.field(item.name), item) for item in self.schema]
        except (pa.ArrowException, KeyError, MisfitError):
            return None
        envelope = self._envelope(page)
        self.check(_with(envelope, self._path))
        marks = {name: content.field(name) for name in self.marks if content.type.get_field_index(name) >= 0}
        told = any(array.null_count < len(array) for array in marks.values())
        return JsonPage(
            pa.Table.from_arrays(columns, schema=self.schema),
            None,
            frozenset(),
            envelope,
            {name: array.to_pylist() for name, array in marks.items()} if told else {},
        )

    def _guessed(self, body: bytes) -> bool:
        """Learn the shape of a first page from what Arrow makes of it; False where only the exact path can tell."""
        try:
            page = _as_arrow(body, None)
        except pa.ArrowException:
            return False
        if page is None:
            return False
        for path in self.paths:
            holder = page
            for name in path:
                if not pa.types.is_struct(holder.type) or holder.type.get_field_index(name) < 0:
                    break
                holder = holder.field(name)
            else:
                if pa.types.is_list(holder.type) and pa.types.is_struct(holder.type.value_type):
                    return self._learn_from(page, path, holder.flatten())
        return False

    def _learn_from(self, page: pa.Array, path: tuple[str, ...], content: pa.Array) -> bool:
        """Learn from a page as Arrow read it. Not from one that has a field that is neither described nor ignored."""
        fields: dict[str, pa.DataType | None] = {}
        for index, item in enumerate(content.type):
            if item.name not in self._known:
                there = compute.index(content.field(index).is_valid(), True).as_py()
                sent = {name: value for name, value in content[max(there, 0)].as_py().items() if value is not None}
                if not self.ignored(item.name, {item.name: None, **sent}):
                    return False
            fields[item.name] = _as_read(item.type, self._plain(item.name))
        return self._take(fields, path, lambda rows: _with_rows(page.type, path, rows, self.envelope_fields))

    def _cast(self, array: pa.Array, item: pa.Field) -> pa.Array:
        """A column as read, in the agreed type; raises where only the exact path is sure to be right."""
        if cast := self.fast_casts.get(item.name):
            return cast(array)
        kind = item.type
        if array.type == kind:
            return array
        if array.type == pa.string() and pa.types.is_integer(kind):
            # Arrow takes hexadecimal numbers too
            if compute.any(compute.match_substring(array, "x", ignore_case=True)).as_py():
                raise MisfitError(item.name)
            return array.cast(kind)
        if array.type == pa.string() and (
            pa.types.is_decimal(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind)
        ):
            return cast_texts(array, kind)
        raise MisfitError(item.name)

    def _envelope(self, page: pa.Array) -> dict[str, Any]:
        def rest(array: pa.Array, path: tuple[str, ...]) -> Any:
            found: dict[str, Any] = {}
            for index in range(array.type.num_fields):
                name = array.type.field(index).name
                if path and name == path[0]:
                    if len(path) > 1:
                        found[name] = rest(array.field(name), path[1:])
                else:
                    found[name] = array.field(name)[0].as_py()
            return found

        return rest(page, self._path) if self._path else {}

    def _exact(self, body: bytes) -> JsonPage:
        try:
            page = json.loads(body.decode("utf-8-sig", "surrogateescape"), **_AS_SENT)
        except (ValueError, RecursionError) as error:
            what = "it is HTML, as a log-in page is" if body.lstrip()[:1] == b"<" else f"it is not JSON ({error})"
            raise UnreadableBodyError(what) from error
        self.check(page)
        path, rows = self._find(page)
        rescue = Rescue()
        columns = [
            column(item.name, item.type, [row.get(item.name) for row in rows], self.converts[item.name], rescue)
            for item in self.schema
        ]
        unexpected: set[str] = set()
        for index, row in enumerate(rows):
            if row.keys() <= self._known:
                continue
            for name in row.keys() - self._known:
                if not self.ignored(name, row):
                    unexpected.add(name)
                    if row[name] is not None:
                        rescue.add(index, name, row[name])
        marks = {name: [row.get(name) for row in rows] for name in self.marks}
        marked = {name for name, values in marks.items() if any(value is not None for value in values)}
        if not unexpected and marked <= set(self.schema.names):
            self._learn(page, path, rows)
        return JsonPage(
            pa.Table.from_arrays(columns, schema=self.schema),
            rescue.column(len(rows)),
            frozenset(unexpected),
            _without(page, path),
            marks if marked else {},
            [i for i, row in enumerate(rows) if not row.keys() >= self._known] if self._complete else [],
        )

    def _find(self, page: Any) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
        for path in self.paths:
            holder: Any = page
            there = True
            for name in path:
                there = isinstance(holder, dict) and name in holder
                holder = holder[name] if there else None
            if isinstance(holder, list):
                rows: list[Any] = [self._named(row) for row in holder] if self._names else holder
                if not all(isinstance(row, dict) for row in rows):
                    raise UnreadableBodyError("its rows are not objects")
                return path, rows
            if there and holder is None:
                return path, []
        raise UnreadableBodyError(
            f"there is no list of rows at {' or '.join('.'.join(p) or 'its top' for p in self.paths)}"
        )

    def _named(self, row: Any) -> dict[str, Any]:
        if not isinstance(row, list) or len(row) != len(self._names):
            raise UnreadableBodyError(f"a row is not a list of {len(self._names)} values")
        return dict(zip(self._names, row, strict=True))

    def _learn(self, page: Any, path: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        fields = {name: self._field_shape(name, rows) for name in dict.fromkeys(chain.from_iterable(rows))}

        def around(rows_shape: pa.DataType) -> pa.DataType:
            return self._around(page, path, rows_shape)

        self._take(fields, path, around)

    def _take(
        self,
        fields: dict[str, pa.DataType | None],
        path: tuple[str, ...],
        around: Callable[[pa.DataType], pa.DataType],
    ) -> bool:
        """Take over the shape of a page from its rows' fields; False where the fast reader is given up instead."""
        if self._path != path:
            self._shape = None
        self._path = path
        for item in self.schema:
            kind = fields.setdefault(item.name, None)
            if kind is not None and kind != item.type and not pa.types.is_string(kind):
                # numbers in a text field keep their digits, and nested values their order, only on the exact path
                self._misses = _MISSES
                return False
        row_shape = pa.struct([(name, kind or pa.string()) for name, kind in fields.items()])
        shape = around(pa.list_(row_shape))
        self._shape = shape if self._shape is None else _merged(self._shape, shape)
        return True

    def _around(self, value: Any, rest: tuple[str, ...], rows_shape: pa.DataType) -> pa.DataType:
        if not rest:
            return rows_shape
        inner = {name: _shape_of(item, None) or pa.string() for name, item in value.items() if name != rest[0]}
        if len(rest) == 1:
            inner = dict.fromkeys(self.envelope_fields, pa.string()) | inner
        inner[rest[0]] = self._around(value[rest[0]], rest[1:], rows_shape)
        return pa.struct(list(inner.items()))

    def _field_shape(self, name: str, rows: list[dict[str, Any]]) -> pa.DataType | None:
        values = [value for row in rows if (value := row.get(name)) is not None]
        if {type(value) for value in values} <= {str}:
            return pa.string() if values else None
        wanted = self._plain(name)
        shape: pa.DataType | None = None
        for value in values:
            shape = _merged(shape, _shape_of(value, wanted))
        return shape

    def _plain(self, name: str) -> pa.DataType | None:
        """The type in which Arrow may read a JSON number of a field without losing a digit."""
        index = self.schema.get_field_index(name)
        return self.schema.field(index).type if index >= 0 else None


def _as_arrow(body: bytes, shape: pa.DataType | None) -> pa.Array | None:
    """A page as one Arrow value, of a shape that is known or as Arrow takes it; None when it is not one value."""
    wrapped = body.lstrip()[:1] != b"{" if shape is None else not pa.types.is_struct(shape)
    if wrapped:
        body = b'{"page":' + body + b"}"
    elif body.lstrip()[:1] != b"{":
        # Arrow 26.0.1 dies of a null where it has to learn or was told an object: the whole process, with signal 11
        return None
    explicit = None if shape is None else pa.schema([("page", shape)] if wrapped else list(shape))
    table = pj.read_json(
        pa.BufferReader(body),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(body) + 64),
        parse_options=pj.ParseOptions(
            explicit_schema=explicit,
            unexpected_field_behavior="infer" if shape is None else "error",
            newlines_in_values=b"\n" in body,
        ),
    )
    if len(table) != 1:
        return None
    page = table.combine_chunks().to_batches()[0].to_struct_array()
    return page.field("page") if wrapped else page


def _as_read(kind: pa.DataType, wanted: pa.DataType | None) -> pa.DataType | None:
    """The type in which to read what Arrow took for `kind`; None for what was null throughout."""
    if pa.types.is_null(kind):
        return None
    if pa.types.is_struct(kind):
        return pa.struct([(item.name, _as_read(item.type, None) or pa.string()) for item in kind])
    if pa.types.is_list(kind):
        return pa.list_(_as_read(kind.value_type, None) or pa.string())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        exact = wanted is not None and (pa.types.is_decimal(wanted) or pa.types.is_integer(wanted))
        return wanted if exact else pa.float64()
    return kind if pa.types.is_boolean(kind) else pa.string()


def _with_rows(
    kind: pa.DataType, path: tuple[str, ...], rows: pa.DataType, envelope_fields: tuple[str, ...]
) -> pa.DataType:
    """The shape of a page as Arrow took it, with the rows' own shape in its place."""
    if not path:
        return rows
    inner = {item.name: _as_read(item.type, None) or pa.string() for item in kind if item.name != path[0]}
    if len(path) == 1:
        inner = dict.fromkeys(envelope_fields, pa.string()) | inner
    inner[path[0]] = _with_rows(kind.field(path[0]).type, path[1:], rows, envelope_fields)
    return pa.struct(list(inner.items()))


def _is_utf8(body: bytes) -> bool:
    # Arrow's own check looks at the bytes where they are; decode() would make a text of them, four times as slowly
    offsets = pa.py_buffer(len(body).to_bytes(8, sys.byteorder).rjust(16, b"\0"))
    try:
        pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(body)]).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _without(page: Any, path: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(page, dict) or not path:
        return {}
    rest = {name: value for name, value in page.items() if name != path[0]}
    if len(path) > 1:
        rest[path[0]] = _without(page[path[0]], path[1:])
    return rest


def _with(envelope: dict[str, Any], path: tuple[str, ...]) -> Any:
    """An envelope with an empty list of rows in its place."""
    return {**envelope, path[0]: _with(envelope.get(path[0]) or {}, path[1:])} if path else []


def _shape_of(value: Any, wanted: pa.DataType | None) -> pa.DataType | None:
    """The type in which Arrow reads a JSON value; None for null, which fits any."""
    kind: pa.DataType | None = None
    if isinstance(value, bool):
        kind = pa.bool_()
    elif isinstance(value, Number):
        exact = wanted is not None and (pa.types.is_decimal(wanted) or pa.types.is_integer(wanted))
        kind = wanted if exact else pa.float64()
    elif isinstance(value, str):
        kind = pa.string()
    elif isinstance(value, dict):
        kind = pa.struct([(name, _shape_of(inner, None) or pa.string()) for name, inner in value.items()])
    elif isinstance(value, list):
        inside: pa.DataType | None = None
        for item in value:
            inside = _merged(inside, _shape_of(item, None))
        kind = pa.list_(inside or pa.string())
    return kind


def _merged(one: pa.DataType | None, other: pa.DataType | None) -> pa.DataType | None:
    if one is None or other is None or one == other:
        return one if other is None else other
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        names = {one.field(i).name: one.field(i).type for i in range(one.num_fields)}
        for i in range(other.num_fields):
            item = other.field(i)
            names[item.name] = _merged(names.get(item.name), item.type) or pa.string()
        return pa.struct(list(names.items()))
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_merged(one.value_type, other.value_type) or pa.string())
    return other
