"""What the change logs of databases share: changes as texts or values, gathered into pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pyarrow as pa
from datong_platform.errors import ConfigurationError
from datong_platform.lake.columns import UTC_TIMESTAMP

from datong_ingestion.connections.database_log import LogOptions
from datong_ingestion.source import Page
from datong_ingestion.systems_config import EntityConfig
from datong_ingestion.values import Rescue

PLACE = pa.schema([("_log_position", pa.string()), ("_log_at", UTC_TIMESTAMP)])
"""Where the change's transaction ended, as text that sorts as the log does, and when; null for rows of the baseline."""
PAGE_ROWS = 20_000
PAGE_BYTES = 16 * 1024 * 1024
UNAVAILABLE = "unchanged, and not in the log"
"""Rescued in place of a large value that a change did not touch and the log therefore left out."""

MakeColumn = Callable[[str, pa.DataType, list[Any], Rescue], Any]


def placed(entity: EntityConfig) -> pa.Schema:
    """The columns that tell where a change stands, unless the entity does without."""
    options = entity.options if isinstance(entity.options, LogOptions) else LogOptions()
    return PLACE if options.place else pa.schema([])


def without_filter(entity: EntityConfig, thing: str) -> None:
    """ConfigurationError for a condition: it would hold for the baseline and not for the changes."""
    if entity.filter:
        raise ConfigurationError(
            thing, "has a filter, which a log of changes cannot keep.", "leave it out, and filter in its staging view."
        )


class Changes:
    """Changes of one table on their way to a page: values by column, None where there is none."""

    def __init__(self, schema: pa.Schema, make: MakeColumn, *, selective: bool = False) -> None:
        """`make` turns the values of a column as the log gives them into Arrow. `selective`: fields that the schema
        lacks are not wanted; otherwise they are rescued."""
        self._schema, self._make, self._selective = schema, make, selective
        self._fields = [item for item in schema if item.name not in PLACE.names]
        self._known = frozenset(schema.names)
        self._clear()

    def _clear(self) -> None:
        self._values: list[list[Any]] = [[] for _ in self._fields]
        self._operations: list[str] = []
        self._places: list[tuple[str | None, datetime | None]] = []
        self._missing: list[tuple[int, str]] = []
        self._extra: list[tuple[int, str, Any]] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self._operations)

    @property
    def full(self) -> bool:
        """Whether it is time for a page."""
        return len(self._operations) >= PAGE_ROWS or self.size >= PAGE_BYTES

    def add(
        self,
        operation: str,
        row: dict[str, Any],
        place: tuple[str | None, datetime | None] = (None, None),
        missing: tuple[str, ...] = (),
    ) -> None:
        """Take in a change. `missing`: fields whose value the log left out."""
        index = len(self._operations)
        for values, item in zip(self._values, self._fields, strict=True):
            values.append(row.get(item.name))
        if not self._selective and not row.keys() <= self._known:
            self._extra += [(index, name, row[name]) for name in row if name not in self._known]
        self._operations.append(operation)
        self._places.append(place)
        self._missing += [(index, name) for name in missing]

    def page(self, position: str | None) -> Page:
        """What was gathered, as a page; begins anew."""
        rescue = Rescue()
        found = {
            item.name: self._make(item.name, item.type, values, rescue)
            for values, item in zip(self._values, self._fields, strict=True)
        }
        if len(self._fields) < len(self._schema):
            found[PLACE.names[0]] = pa.array([place for place, _ in self._places], pa.string())
            found[PLACE.names[1]] = pa.array([at for _, at in self._places], UTC_TIMESTAMP)
        for index, name in self._missing:
            rescue.add(index, name, UNAVAILABLE)
        for index, name, value in self._extra:
            if value is not None:
                rescue.add(index, name, value.decode(errors="replace") if isinstance(value, bytes) else value)
        page = Page(
            pa.Table.from_arrays([found[name] for name in self._schema.names], schema=self._schema),
            pa.array(self._operations, pa.string()),
            rescue.column(len(self._operations)),
            frozenset(name for _, name, _ in self._extra),
            position,
        )
        self._clear()
        return page
