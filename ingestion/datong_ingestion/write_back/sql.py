"""Write-back to a database: one row, one transaction, and a row that changed in between is never overwritten.

A record is inserted, or updated, deleted or handed to a stored procedure where it still is as it was read: by its
version column (`etag_field`) where it has one, else by the values that are replaced. Guards against: a second row (its
unique key: a conflict), a lost update (no row matches any more: a conflict), an identity that means several rows
(rolled back), a connection that breaks off between the statement and its answer (unclear, so it is read back), numbers
and times that a driver would round on their way (they are bound in the column's own type).

The names of fields are checked against the database's catalog before anything is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast
from zoneinfo import ZoneInfo

import pyarrow as pa
from datong_platform.errors import ConfigurationError, DatongError

from datong_ingestion.connections.sql import SqlConnection
from datong_ingestion.pace import Pace
from datong_ingestion.protocols.databases.dialect import Column, Dialect
from datong_ingestion.protocols.sql import dialect_of
from datong_ingestion.systems_config import EntityConfig
from datong_ingestion.write_back.config import Action, FlowConfig, Operation
from datong_ingestion.write_back.payload import Dialect as PayloadDialect
from datong_ingestion.write_back.pooled import Pooled
from datong_ingestion.write_back.target import Change, Found, Outcome

_ACCEPTED, _CONFLICT = 200, 412
"""What the ledger's status says of targets that speak no HTTP."""


class SqlTarget(Pooled):
    """A table of a database, as a write-back target. `resource` is `schema.table`."""

    dialect: PayloadDialect = "sql"
    operations: frozenset[Operation] = frozenset({"create", "update", "delete", "call"})

    def __init__(self, flow: FlowConfig, connection: SqlConnection, credentials: str, pace: Pace | None = None) -> None:
        thing = f"{flow.target.system} {flow.target.resource} (write-back flow {flow.flow})"
        super().__init__(flow, thing, connection.concurrency, pace or Pace())
        self._credentials = credentials
        self._database: Dialect = dialect_of(connection, self._thing)
        self._zone = ZoneInfo(flow.target.timezone)
        self._entity = EntityConfig(name="target", source=flow.target.resource, mode="full")
        self._columns = self._described(flow)
        self._local = threading.local()
        self._opened: list[Any] = []
        self._lock = threading.Lock()

    def _described(self, flow: FlowConfig) -> dict[str, Column]:
        """The table's columns; ConfigurationError when the flow names one that it does not have."""
        try:
            relation = self._database.relation(self._entity, self._thing)
        except DatongError:
            raise
        except Exception as error:  # noqa: BLE001 the drivers share no class of error
            raise self._database.translated(error, self._thing, self._credentials) from None
        columns = {column.name: column for column in relation.columns}
        named = [self._config.lookup, *self._config.identity, *flow.payload]
        named += [self._config.etag_field] if self._config.etag_field else []
        nested = [name for name, value in flow.payload.items() if isinstance(value, list)]
        if nested:
            raise ConfigurationError(
                f"write-back flow {flow.flow}",
                f"has items below {', '.join(nested)}; a table's row holds values only.",
                "write the items by a flow of their own.",
            )
        if missing := [name for name in dict.fromkeys(named) if name not in columns]:
            raise ConfigurationError(
                f"write-back flow {flow.flow}",
                f"names columns that {flow.target.resource} does not have: {', '.join(missing)}.",
                f"mend its defs.yaml; the table has {', '.join(columns)}.",
            )
        return columns

    def _let_go(self) -> None:
        """Close the connections of all threads."""
        for connection in self._opened:
            with suppress(Exception):
                connection.close()

    @property
    def _keys_at_once(self) -> int:
        return self._config.lookup_rows

    def _rows(self, keys: Sequence[str]) -> Sequence[tuple[str, Found]]:
        names = list(self._columns)
        bound = [self._native(self._config.lookup, key) for key in keys]
        places = ", ".join(self._database.parameter(place) for place in range(1, len(bound) + 1))
        statement = (
            f"select {', '.join(map(self._database.quoted, names))} from {self._database.source(self._entity)} "
            f"where {self._database.quoted(self._config.lookup)} in ({places})"
        )
        own = dict(zip(bound, keys, strict=True))
        told: list[tuple[str, Found]] = []
        for row in self._asked(statement, bound):
            found = self._found({name: self._read(name, value) for name, value in zip(names, row, strict=True)})
            key = found.fields[self._config.lookup]
            # where upper and lower case are one, the database finds what was not asked for: that is nobody's record
            if (ours := own.get(key, str(key))) in keys:
                told.append((ours, found))
        return told

    def _asked(self, statement: str, bound: Sequence[Any]) -> list[Any]:
        """The rows of a query; asked once more on a new connection when the old one was lost."""
        for attempt in (1, 2):
            try:
                connection = self._connection()
                with closing(connection.cursor()) as rows:
                    rows.execute(statement, bound)
                    found = rows.fetchall()
                # a transaction that stays open would show the past for ever, and hold back the database's upkeep
                connection.rollback()
                return list(found)
            except DatongError:
                raise
            except Exception as error:  # noqa: BLE001 the drivers share no class of error
                self._forget()
                if attempt == 2 or self._database.meaning(error) != "passing":
                    raise self._database.translated(error, self._thing, self._credentials) from None
        raise AssertionError("unreachable")

    def _found(self, fields: dict[str, Any]) -> Found:
        identity = tuple(str(fields[name]) for name in self._config.identity)
        etag = str(fields[self._config.etag_field]) if self._config.etag_field else None
        return Found(fields, etag, "/".join(identity), identity)

    def _send(self, change: Change) -> Outcome:
        self._pace.take()
        try:
            statement, bound = self._statement(change)
            connection = self._connection()
        except DatongError as error:
            return Outcome("not_sent", None, error.reason)
        except (ValueError, ArithmeticError) as error:
            return Outcome("refused", None, str(error))
        try:
            with closing(connection.cursor()) as rows:
                written = self._written(rows, change, statement, bound)
            if written == 1:
                connection.commit()
                return Outcome("accepted", _ACCEPTED, "", self._key(change))
            connection.rollback()
        except Exception as error:  # noqa: BLE001 the drivers share no class of error
            return self._judged(error, connection)
        if written == 0:
            return Outcome("conflict", _CONFLICT, "the row was changed or deleted since it was read")
        return Outcome("refused", None, f"{', '.join(self._config.identity)} means {written} rows; nothing was changed")

    def _written(self, rows: Any, change: Change, statement: str, bound: Sequence[Any]) -> int:
        """How many rows a statement wrote; what a procedure did is seen by reading back, for it tells no number."""
        if change.operation != "call":
            rows.execute(statement, bound)
            return int(rows.rowcount)
        if change.found is not None:
            # nobody can change the row before the transaction ends
            guards = [self._config.etag_field] if self._config.etag_field else list(change.payload)
            held: list[Any] = []
            conditions = " and ".join(self._conditions(change.found, guards, held))
            rows.execute(self._database.locked(self._database.source(self._entity), conditions), held)
            if (count := len(rows.fetchall())) != 1:
                return count
        rows.execute(statement, bound)
        return 1

    def _judged(self, error: Exception, connection: Any) -> Outcome:
        """What an error of a statement or of its commit leaves behind."""
        words = self._database.translated(error, self._thing, self._credentials).reason
        meaning = self._database.meaning(error)
        if meaning == "passing":
            # lost on the way: whether the commit took effect is not known
            self._forget()
            return Outcome("unclear", None, words)
        with suppress(Exception):
            connection.rollback()
        if self._database.is_duplicate(error):
            return Outcome("conflict", _CONFLICT, words)
        return Outcome("refused", None, words)

    def _statement(self, change: Change) -> tuple[str, list[Any]]:
        if change.operation == "delete":
            return self._delete(change)
        if change.operation == "call":
            action = cast("Action", self._flow.action)
            return self._database.procedure(action.name, list(change.parameters)), list(change.parameters.values())
        return self._insert(change.payload) if change.found is None else self._update(change)

    def _delete(self, change: Change) -> tuple[str, list[Any]]:
        """The delete, on condition that the row still is what was read."""
        found = cast("Found", change.found)
        guards = [self._config.etag_field] if self._config.etag_field else list(change.payload)
        bound: list[Any] = []
        conditions = self._conditions(found, guards, bound)
        return f"delete from {self._database.source(self._entity)} where {' and '.join(conditions)}", bound

    def _insert(self, payload: Mapping[str, Any]) -> tuple[str, list[Any]]:
        names = list(payload)
        places = ", ".join(self._database.parameter(place) for place in range(1, len(names) + 1))
        columns = ", ".join(map(self._database.quoted, names))
        return (
            f"insert into {self._database.source(self._entity)} ({columns}) values ({places})",
            [self._native(name, payload[name]) for name in names],
        )

    def _update(self, change: Change) -> tuple[str, list[Any]]:
        """The update, on condition that the row still is what was read."""
        found = cast("Found", change.found)
        bound: list[Any] = []

        def bind(name: str, value: Any) -> str:
            bound.append(value)
            return f"{self._database.quoted(name)} = {self._database.parameter(len(bound))}"

        set_ = [name for name in change.payload if name not in self._config.identity]
        assignments = ", ".join(bind(name, self._native(name, change.payload[name])) for name in set_)
        guards = [self._config.etag_field] if self._config.etag_field else set_
        conditions = self._conditions(found, guards, bound)
        return f"update {self._database.source(self._entity)} set {assignments} where {' and '.join(conditions)}", bound

    def _conditions(self, found: Found, guards: Sequence[str], bound: list[Any]) -> list[str]:
        """That a row is the one that was found, and as it was found; their values are added to `bound`."""

        def bind(name: str, value: Any) -> str:
            bound.append(self._bindable(name, value))
            return f"{self._database.quoted(name)} = {self._database.parameter(len(bound))}"

        conditions = [bind(name, found.fields[name]) for name in self._config.identity]
        for name in guards:
            if pa.types.is_floating(self._columns[name].kind):
                continue  # what a driver prints of a float need not equal it
            value = found.fields[name]
            conditions.append(f"{self._database.quoted(name)} is null" if value is None else bind(name, value))
        return conditions

    def _key(self, change: Change) -> str | None:
        if change.found is not None:
            return change.found.target_key
        known = [str(change.payload[name]) for name in self._config.identity if name in change.payload]
        return "/".join(known) or None

    def _native(self, name: str, value: Any) -> Any:
        """A value of a payload in the type of its column; ValueError when it is none."""
        kind = self._columns[name].kind
        if value is None or isinstance(value, bool):
            return value
        text = str(value)
        try:
            if pa.types.is_integer(kind):
                return int(Decimal(text)) if Decimal(text) == Decimal(text).to_integral_value() else Decimal(text)
            if pa.types.is_decimal(kind) or pa.types.is_floating(kind):
                return Decimal(text)
            if pa.types.is_date(kind):
                return date.fromisoformat(text[:10])
            if pa.types.is_timestamp(kind):
                return self._bindable(name, datetime.fromisoformat(text))
        except (ValueError, ArithmeticError) as error:
            raise ValueError(f"{name}: {text!r} is no {kind}") from error
        return text

    def _bindable(self, name: str, value: Any) -> Any:
        """Times without their zone: sessions run in UTC, and a column without a zone holds the target's own."""
        if not isinstance(value, datetime):
            return value
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        zone = UTC if cast("pa.TimestampType", self._columns[name].kind).tz else self._zone
        return moment.astimezone(zone).replace(tzinfo=None)

    def _read(self, name: str, value: Any) -> Any:
        """A value as the driver gives it; times with their zone."""
        kind = self._columns[name].kind
        if not isinstance(value, datetime) or value.tzinfo is not None or not pa.types.is_timestamp(kind):
            return value
        return value.replace(tzinfo=UTC if cast("pa.TimestampType", kind).tz else self._zone)

    def _connection(self) -> Any:
        """This thread's connection; the driver's error in our words when there is none to be had."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            try:
                connection = self._database.writer(self._thing)
            except DatongError:
                raise
            except Exception as error:  # noqa: BLE001 the drivers share no class of error
                raise self._database.translated(error, self._thing, self._credentials) from None
            self._local.connection = connection
            with self._lock:
                self._opened.append(connection)
        return connection

    def _forget(self) -> None:
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            with suppress(Exception):
                connection.close()
