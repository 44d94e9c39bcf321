"""A profile of an entity: null rates, distinct values, ranges, and which fields could be its key.

Reads page by page and forgets each page. What is kept of a field is bounded: up to 4,096 hashes to count distinct
values (exact below, an estimate within about 2 % above), and counts of at most 1,000 values. A candidate key keeps one
hash (8 bytes) a row until it is disproved, all candidates together 64 MiB at most; one that does not fit any more is
told as unproven. Memory stays flat however long the entity is.

The distinct count is a KMV sketch (Bar-Yossef et al., "Counting Distinct Elements in a Data Stream", 2002).
Alone: `datong profile crm account`.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas.util
import pyarrow as pa
from datong_platform.errors import ConfigurationError
from datong_platform.lake.columns import LOCAL_TIMESTAMP, UTC_TIMESTAMP, compute, type_name

from datong_ingestion.discovery.sample import declared, disturbs, reading, traceless
from datong_ingestion.source import Description, connect
from datong_ingestion.systems_config import SystemConfig
from datong_ingestion.values import MisfitError, converter

_hash_array: Any = pandas.util.hash_array
"""Pandas' hash of values (SipHash for texts); its own type says less than it returns."""
SKETCH = 4096
"""Hashes kept of a field: below it the distinct count is exact."""
COUNTED = 1000
"""Values of a field that are counted one by one; with more of them, none is."""
KEY_BYTES = 64 * 2**20
"""Memory for all candidate keys together."""
_SHOWN = 5
_NEAR_DISTINCT = 6
"""How many fields are tried together as a key of several."""
_TEXT_SHOWN = 80
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z")
_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?\Z")
_DIGITS = re.compile(r"\d+\Z")
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,27})(\.\d{1,9})?\Z")


@dataclass(frozen=True)
class FieldProfile:
    """What the values of one field are like."""

    name: str
    type: str
    rows: int
    nulls: int
    empty: int
    """Texts that are empty or blank."""
    distinct: int
    distinct_exact: bool
    """Whether `distinct` is a count, not an estimate."""
    minimum: Any = None
    maximum: Any = None
    mean: float | None = None
    shortest: int | None = None
    longest: int | None = None
    """Lengths of texts, in characters."""
    frequent: list[tuple[Any, int]] = field(default_factory=list[tuple[Any, int]])
    """The most frequent values with their counts, where there are few enough to count."""
    looks_like: str = ""
    """For a text field, what all its values seen are: a type they would fit, or digits (a code) or numbers."""

    @property
    def null_rate(self) -> float:
        """Nulls by rows, from 0 to 1."""
        return self.nulls / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class KeyProfile:
    """Fields that could be the key."""

    fields: tuple[str, ...]
    declared: bool
    """The definition or the system's metadata names them as the key."""
    unique: bool
    """No value came twice among the rows that were compared, and none was null."""
    compared: int
    """Rows compared; fewer than all where the memory for it ran out."""
    repeated: int
    nulls: int


@dataclass(frozen=True)
class EntityProfile:
    """The profile of an entity as it was read."""

    system: str
    entity: str
    address: str
    rows: int
    complete: bool
    """Every row was read."""
    rescued: int
    refused: int
    fields: list[FieldProfile]
    keys: list[KeyProfile]
    """Declared ones first, then those found, the shortest first."""
    taken_at: datetime
    seconds: float
    notes: list[str] = field(default_factory=list[str])

    def as_dict(self, *, values: bool = True) -> dict[str, Any]:
        """As plain content for JSON; without `values` nothing of it is a value of the data."""
        return {
            "system": self.system,
            "entity": self.entity,
            "address": self.address,
            "rows": self.rows,
            "complete": self.complete,
            "rescued": self.rescued,
            "refused": self.refused,
            "taken_at": self.taken_at.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "keys": [
                {
                    "fields": list(key.fields),
                    "declared": key.declared,
                    "unique": key.unique,
                    "compared": key.compared,
                    "repeated": key.repeated,
                    "nulls": key.nulls,
                }
                for key in self.keys
            ],
            "fields": [_field_dict(item, values=values) for item in self.fields],
            "notes": self.notes,
        }


def _field_dict(item: FieldProfile, *, values: bool) -> dict[str, Any]:
    found = {
        "name": item.name,
        "type": item.type,
        "nulls": item.nulls,
        "null_rate": round(item.null_rate, 6),
        "empty": item.empty,
        "distinct": item.distinct,
        "distinct_exact": item.distinct_exact,
        "shortest": item.shortest,
        "longest": item.longest,
        "looks_like": item.looks_like,
    }
    if values:
        found |= {
            "minimum": shown(item.minimum),
            "maximum": shown(item.maximum),
            "mean": item.mean,
            "frequent": [{"value": shown(value), "rows": count} for value, count in item.frequent],
        }
    return found


def shown(value: Any) -> Any:
    """A value in a form for JSON and for people: exact decimals and times as text, long texts cut."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        value = value.hex()
    if isinstance(value, Decimal):
        value = format(value.normalize(), "f")
    text = value.isoformat() if isinstance(value, date) else str(value)
    return text if len(text) <= _TEXT_SHOWN else f"{text[: _TEXT_SHOWN - 1]}…"


def _flat(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Nested values as JSON text, so that they can be counted and compared."""
    if not pa.types.is_nested(column.type):
        return column
    texts = [None if value is None else json.dumps(value, default=str, sort_keys=True) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def hashes(column: pa.ChunkedArray) -> np.ndarray:
    """A 64-bit hash of each value; nulls count as one value."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    words = encoded.dictionary
    if not pa.types.is_string(words.type):
        kind = words.type
        if pa.types.is_timestamp(kind):
            words = words.cast(pa.int64())
        words = pa.array([word.hex() for word in words.to_pylist()]) if pa.types.is_binary(kind) else words
        words = words.cast(pa.string())
    values = words.to_numpy(zero_copy_only=False)
    known = np.asarray(_hash_array(values, categorize=False) if len(values) else [], dtype=np.uint64)
    null = np.uint64(0x9E3779B97F4A7C15)
    codes = compute.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return np.append(known, null)[codes]


class _Distinct:
    """A KMV sketch: the smallest hashes of all values, from which their number follows."""

    def __init__(self) -> None:
        self._kept = np.empty(0, dtype=np.uint64)
        self._exact = True

    def add(self, hashed: np.ndarray) -> None:
        merged = np.union1d(self._kept, hashed)
        if len(merged) > SKETCH:
            self._exact = False
            merged = merged[:SKETCH]
        self._kept = merged

    def count(self) -> tuple[int, bool]:
        if self._exact:
            return len(self._kept), True
        return round((SKETCH - 1) / (float(self._kept[-1]) / 2**64)), False


class _Field:
    """What is kept of one field."""

    def __init__(self, name: str, kind: pa.DataType) -> None:
        # nested values come as JSON text
        self.name, self.declared = name, kind
        self.kind = pa.string() if pa.types.is_nested(kind) else kind
        self.rows = self.nulls = self.empty = 0
        self.distinct = _Distinct()
        self.minimum: Any = None
        self.maximum: Any = None
        self.total, self.valid = 0.0, 0
        self.shortest: int | None = None
        self.longest: int | None = None
        self.counts: Counter[Any] | None = Counter()
        self.guess = _Guess() if pa.types.is_string(kind) else None

    def add(self, column: pa.ChunkedArray, hashed: np.ndarray) -> None:
        self.rows += len(column)
        self.nulls += column.null_count
        valid = column.drop_null()
        if not len(valid):
            return
        self.valid += len(valid)
        marks = compute.is_valid(column).to_numpy() if column.null_count else None
        self.distinct.add(hashed if marks is None else hashed[marks])
        kind = self.kind
        if pa.types.is_string(kind):
            lengths = compute.min_max(compute.utf8_length(valid)).as_py()
            self.shortest = _least(self.shortest, lengths["min"])
            self.longest = _most(self.longest, lengths["max"])
            self.empty += compute.sum(compute.equal(compute.utf8_trim_whitespace(valid), "")).as_py() or 0
        if not pa.types.is_boolean(kind):
            if pa.types.is_floating(kind):
                valid = compute.filter(valid, compute.is_finite(valid))
            ends = compute.min_max(valid).as_py()
            self.minimum, self.maximum = _least(self.minimum, ends["min"]), _most(self.maximum, ends["max"])
        if pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_floating(kind):
            self.total += compute.sum(valid.cast(pa.float64())).as_py() or 0.0
        self._count(valid)

    def _count(self, valid: pa.ChunkedArray) -> None:
        if self.counts is None and (self.guess is None or self.guess.settled):
            return
        found = compute.value_counts(valid)
        values = found.field("values")
        if self.guess is not None:
            self.guess.add(values[:COUNTED].to_pylist())
        if self.counts is None:
            return
        if len(values) > COUNTED:
            self.counts = None
            return
        for value, count in zip(values.to_pylist(), found.field("counts").to_pylist(), strict=True):
            self.counts[value] += count
        if len(self.counts) > COUNTED:
            self.counts = None

    def profile(self) -> FieldProfile:
        distinct, exact = self.distinct.count()
        numeric = not (pa.types.is_temporal(self.kind) or pa.types.is_boolean(self.kind) or self.longest is not None)
        counted = self.counts if self.counts and (len(self.counts) < self.valid or len(self.counts) == 1) else None
        return FieldProfile(
            name=self.name,
            type=type_name(self.declared),
            rows=self.rows,
            nulls=self.nulls,
            empty=self.empty,
            distinct=len(self.counts) if self.counts else min(distinct, self.valid),
            distinct_exact=bool(self.counts) or exact,
            minimum=self.minimum,
            maximum=self.maximum,
            mean=self.total / self.valid if numeric and self.valid and not pa.types.is_binary(self.kind) else None,
            shortest=self.shortest,
            longest=self.longest,
            frequent=counted.most_common(_SHOWN) if counted else [],
            looks_like=self.guess.type if self.guess else "",
        )


def _least(known: Any, new: Any) -> Any:
    return known if new is None else new if known is None else min(known, new)


def _most(known: Any, new: Any) -> Any:
    return known if new is None else new if known is None else max(known, new)


_Recognised = tuple[str, re.Pattern[str], Callable[[Any], Any] | None]
"""A name, how such texts are written, and the conversion that must take them, where the form alone does not tell."""


class _Guess:
    """What all texts of a field are, by this project's own conversion of them."""

    _TYPES: tuple[_Recognised, ...] = (
        ("date", _ISO_DATE, converter(pa.date32())),
        ("timestamp", _ISO_TIME, converter(UTC_TIMESTAMP)),
        ("timestamp_ntz", _ISO_TIME, converter(LOCAL_TIMESTAMP)),
        ("digits", _DIGITS, None),
        ("number", _NUMBER, None),
    )

    def __init__(self) -> None:
        self._left = list(self._TYPES)
        self._seen = False

    @property
    def settled(self) -> bool:
        return not self._left

    def add(self, texts: Sequence[str]) -> None:
        for text in texts:
            if not self._left:
                return
            self._seen = True
            self._left = [one for one in self._left if one[1].match(text) and _fits(one, text)]

    @property
    def type(self) -> str:
        return self._left[0][0] if self._seen and self._left else ""


def _fits(one: _Recognised, text: str) -> bool:
    if one[2] is None:
        return True
    zoned = text.endswith("Z") or bool(re.search(r"[T ].*[+-]\d\d:?\d\d\Z", text))
    if (one[0] == "timestamp" and not zoned) or (one[0] == "timestamp_ntz" and zoned):
        return False
    try:
        one[2](text)
    except (MisfitError, ValueError, OverflowError):
        return False
    return True


class _Key:
    """A candidate key and the hashes of its values, in sorted runs that double."""

    def __init__(self, names: tuple[str, ...], *, declared: bool) -> None:
        self.names, self.declared = names, declared
        self._runs: list[np.ndarray] = []
        self.compared = self.repeated = self.nulls = 0
        self.full = False

    @property
    def held(self) -> int:
        return sum(run.nbytes for run in self._runs)

    @property
    def alive(self) -> bool:
        return self.declared or not (self.repeated or self.nulls)

    def add(self, hashed: np.ndarray, nulls: int) -> None:
        self.nulls += nulls
        if self.full:
            return
        self.compared += len(hashed)
        new = np.unique(hashed)
        self.repeated += len(hashed) - len(new)
        for run in self._runs:
            places = np.searchsorted(run, new)
            places[places == len(run)] = 0
            known = run[places] == new
            if known.any():
                self.repeated += int(known.sum())
                new = new[~known]
        self._runs.append(new)
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            merged = np.concatenate([self._runs.pop(), self._runs.pop()])
            merged.sort(kind="stable")
            self._runs.append(merged)

    def forget(self) -> None:
        self._runs, self.full = [], True


class Profiler:
    """Takes in the pages of an entity, one after the other, and keeps what its profile needs."""

    def __init__(self, description: Description, *, key_bytes: int = KEY_BYTES) -> None:
        self._schema = description.schema
        self._fields = [_Field(field.name, field.type) for field in description.schema]
        self._key_bytes = key_bytes
        self._keys: list[_Key] | None = None
        declared = tuple(name for name in description.keys if name in description.schema.names)
        self._declared = declared if len(declared) == len(description.keys) else ()
        self.rows = 0

    def add(self, rows: pa.Table) -> None:
        """Take in rows of the described schema."""
        if not len(rows):
            return
        self.rows += len(rows)
        columns = {item.name: _flat(rows.column(item.name)) for item in self._fields}
        hashed = {name: hashes(column) for name, column in columns.items()}
        for item in self._fields:
            item.add(columns[item.name], hashed[item.name])
        if self._keys is None:
            self._keys = self._candidates(rows, hashed)
        for key in self._keys:
            missing = [columns[name] for name in key.names if columns[name].null_count]
            nulls = 0
            if missing:
                marks = np.zeros(len(rows), dtype=bool)
                for column in missing:
                    marks |= compute.is_null(column).to_numpy()
                nulls = int(marks.sum())
            key.add(combined([hashed[name] for name in key.names]), nulls)
        self._keys = [key for key in self._keys if key.alive]
        while sum(key.held for key in self._keys) > self._key_bytes:
            # a declared key matters most, then a short one: the others are let go of first
            longest = max((key for key in self._keys if key.held), key=lambda key: (not key.declared, len(key.names)))
            longest.forget()

    def _candidates(self, rows: pa.Table, hashed: dict[str, np.ndarray]) -> list[_Key]:
        """What could be a key, as the first page has it: single fields, and small groups of those that repeat."""
        found = [_Key(self._declared, declared=True)] if self._declared else []
        usable = [field for field in self._schema if _can_be_key(field.type) and not rows.column(field.name).null_count]
        distinct = {field.name: len(np.unique(hashed[field.name])) for field in usable}
        singles = [name for name, count in distinct.items() if count == len(rows)]
        found += [_Key((name,), declared=False) for name in singles if (name,) != self._declared]
        rest = [name for name in distinct if name not in singles and distinct[name] > 1]
        rest.sort(key=lambda name: -distinct[name])
        order = {name: place for place, name in enumerate(self._schema.names)}
        unique: list[tuple[str, ...]] = []
        for size in (2, 3):
            for group in itertools.combinations(rest[:_NEAR_DISTINCT], size):
                if any(set(known) <= set(group) for known in unique):
                    continue
                if len(np.unique(combined([hashed[name] for name in group]))) == len(rows):
                    unique.append(group)
        for group in unique:
            names = tuple(sorted(group, key=order.__getitem__))
            if set(names) != set(self._declared):
                found.append(_Key(names, declared=False))
        return found

    def field_profiles(self) -> list[FieldProfile]:
        """What the fields are like."""
        return [item.profile() for item in self._fields]

    def key_profiles(self) -> list[KeyProfile]:
        """Keys: the declared one, whether it holds or not, then the candidates that nothing disproved."""
        found = [
            KeyProfile(key.names, key.declared, not (key.repeated or key.nulls), key.compared, key.repeated, key.nulls)
            for key in self._keys or []
        ]
        return sorted(found, key=lambda key: (not key.declared, len(key.fields)))


def combined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One hash a row for several fields; their order counts."""
    whole = np.zeros(len(parts[0]), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            whole = (whole ^ part) * np.uint64(0x9FB21C651E98DF25)
            whole ^= whole >> np.uint64(32)
    return whole


def _can_be_key(kind: pa.DataType) -> bool:
    """A measure can be unique by chance; a key is a text, a whole number, or a point in time beside another field."""
    return not (pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_nested(kind)) and not (
        pa.types.is_decimal(kind) and kind.scale > 0
    )


def profile(
    system: SystemConfig, entity: str, *, limit: int | None = None, on_page: Callable[[int], None] | None = None
) -> EntityProfile:
    """Profile an entity, straight from its system; `limit` ends the read after so many rows.

    `on_page` hears after each page how many rows were read. Raises what the source raises: a DatongError that names
    system, entity, reason and next step.
    """
    started = time.monotonic()
    config = system.entity(entity).resolved(system.system)
    source = connect(system)
    try:
        description = declared(source.describe(config), config)
        if disturbs(config, description):
            raise ConfigurationError(
                f"{system.system}.{config.name} ({config.address})",
                "is read from the log of its database, which a profile would disturb.",
                "profile the same table in a system of the database's own protocol (sql).",
            )
        profiler = Profiler(description)
        rescued = refused = 0
        complete = True
        with reading(source, traceless(config, description), description) as found:
            for page in found:
                rows = page.rows
                if limit is not None and profiler.rows + len(rows) >= limit:
                    rows, complete = rows.slice(0, limit - profiler.rows), False
                profiler.add(rows)
                if page.rescued is not None:
                    rescued += len(rows) - page.rescued.slice(0, len(rows)).null_count
                refused += len(page.refused) if page.refused is not None else 0
                if on_page:
                    on_page(profiler.rows)
                if not complete:
                    break
    finally:
        source.close()
    return EntityProfile(
        system=system.system,
        entity=config.name,
        address=config.address,
        rows=profiler.rows,
        complete=complete,
        rescued=rescued,
        refused=refused,
        fields=profiler.field_profiles(),
        keys=profiler.key_profiles(),
        taken_at=datetime.now(UTC),
        seconds=time.monotonic() - started,
        notes=list(description.notes),
    )
