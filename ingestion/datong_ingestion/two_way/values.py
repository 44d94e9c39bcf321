"""A shared field's value, between what a system sends and the type that both are compared in.

The type is that of the serve table's column. A date that a system keeps as a moment (`as: datetime`) is the day it
falls on in that system's time zone; written back, it keeps the time of day that the record has. An empty text is null,
because SAP knows no null text.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from datong_platform.errors import ProtocolError

from datong_ingestion.two_way.config import SyncConfig
from datong_ingestion.two_way.decide import Value
from datong_ingestion.write_back.payload import Dialect, Payload, PayloadBuilder, read_day, read_moment


class Side:
    """How one system writes the shared fields. `kinds` are the types of the fields."""

    def __init__(self, sync: SyncConfig, system: str, kinds: Mapping[str, pa.DataType], dialect: Dialect) -> None:
        self.system = system
        self.thing = f"{system} {sync.systems[system].resource} (two-way synchronisation {sync.sync})"
        self._kinds = kinds
        self._places = {name: places[system] for name, places in sync.fields.items()}
        self._zone = ZoneInfo(sync.systems[system].timezone)
        schema = pa.schema([pa.field(sync.key, pa.string()), *(pa.field(n, kind) for n, kind in kinds.items())])
        self._builder = PayloadBuilder(sync.flow(system), schema, dialect)

    def read(self, record: Mapping[str, Any]) -> dict[str, Value]:
        """The shared fields of a record as the system sent it; fields that are not in it are left out.

        ProtocolError for a value that is not of its type.
        """
        found: dict[str, Value] = {}
        for name, place in self._places.items():
            if place.field not in record:
                continue
            raw = record[place.field]
            try:
                found[name] = None if raw is None or raw == "" else self._read(name, raw)
            except (ValueError, InvalidOperation, OverflowError, TypeError) as error:
                words = f"holds {raw!r} in {place.field}, which is no {self._kinds[name]}."
                raise ProtocolError(self.thing, words, "look at the record.") from error
        return found

    def missing(self, record: Mapping[str, Any]) -> list[str]:
        """The shared fields that a record lacks."""
        return [place.field for place in self._places.values() if place.field not in record]

    def _read(self, name: str, raw: Any) -> Value:
        kind = self._kinds[name]
        if pa.types.is_date(kind):
            return read_moment(raw).astimezone(self._zone).date() if self._is_moment(name) else read_day(raw)
        if pa.types.is_timestamp(kind):
            moment = read_moment(raw).astimezone(UTC)
            return moment if kind.tz else moment.replace(tzinfo=None)
        if pa.types.is_decimal(kind):
            number = Decimal(str(raw))
            exact = number.quantize(Decimal(1).scaleb(-kind.scale))
            if exact != number:
                raise ValueError("more decimals than the column keeps")
            return exact
        if pa.types.is_integer(kind):
            if (number := Decimal(str(raw))) != number.to_integral_value():
                raise ValueError("not whole")
            return int(number)
        if pa.types.is_boolean(kind):
            if not isinstance(raw, bool):
                raise ValueError("not true or false")
            return raw
        return str(raw)

    def payload(self, wanted: Mapping[str, Value], record: Mapping[str, Any]) -> Payload:
        """What is sent to set these fields of a record. ValueError when a value cannot be carried."""
        row: dict[str, Any] = dict.fromkeys(self._places)
        for name, value in wanted.items():
            is_day = isinstance(value, date) and not isinstance(value, datetime)
            row[name] = self._moment(name, value, record) if is_day and self._is_moment(name) else value
        made = self._builder.build(row)
        return {self._places[name].field: made[self._places[name].field] for name in wanted}

    def _is_moment(self, name: str) -> bool:
        return self._places[name].kind == "datetime"

    def _moment(self, name: str, day: Any, record: Mapping[str, Any]) -> datetime:
        raw = record.get(self._places[name].field)
        of_day = read_moment(raw).astimezone(self._zone).time() if raw else time()
        return datetime.combine(day, of_day, self._zone)
