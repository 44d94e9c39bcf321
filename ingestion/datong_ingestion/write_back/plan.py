"""What a flow has to look after: the published serve table held against the last states of the ledger, by key.

The comparison is made by DataFusion over the two Delta tables, in pieces of keys, and its rows are streamed: a million
planned changes never stand in memory at once. A row whose digest over the mapped columns is that of its last settled
state is passed over without being looked at. The digest only spares work: what is a change is decided by the payload
that is made of the row, so a new way of making digests cannot send anything again.

From `serve.<consumer>__<noun>` (the version that people read) and `ops.write_back_ledger` to `Candidate`s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from datong_platform.errors import ConfigurationError, SchemaError, ServiceError
from datong_platform.lake import builds

from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.ledger import OPEN, SCHEMA, SETTLED, Entry, Ledger

if TYPE_CHECKING:
    from deltalake import DeltaTable

PIECE_ROWS = 100_000
"""How many keys are compared at once; their columns are what the comparison holds in memory."""
_UNSETTLED = ("planned", "waiting_for_approval", "sent", "unknown", "conflict", "failed", "dead")
_LEDGER_COLUMNS = [name for name in SCHEMA.names if name not in {"pre_image"}]


@dataclass(frozen=True)
class Candidate:
    """One key that may need work."""

    key: str
    row: dict[str, Any] | None
    """The serve table's row, where it asks for something to be written."""
    is_gone: bool
    """Whether the key is not in the serve table at all, marked as pending or not."""
    last: Entry | None
    digest: str | None
    is_gated: bool
    """Whether it waits for its counterpart in a flow that comes first."""


class Source:
    """A flow's serve table, at the version that people read, and the ledger as it was when this was made.

    TerminalError when the table was not published yet, ConfigurationError when it lacks a column, SchemaError for null
    or double keys, ServiceError when the lake does not answer.
    """

    def __init__(self, flow: FlowConfig, ledger: Ledger) -> None:
        self.flow = flow
        self._table = builds.open_published(flow.table)
        published = builds.published().get(flow.table)
        self.build = published.build_id if published else None
        self.schema = pa.schema(self._table.schema().to_arrow())
        missing = [name for name in flow.columns if name not in self.schema.names]
        if missing:
            raise ConfigurationError(
                f"write-back flow {flow.flow}",
                f"names columns that {flow.source} does not have: {', '.join(missing)}.",
                "mend the flow's defs.yaml, or build the model again.",
            )
        self._ledger = ledger.snapshot()
        self.rows = self._check_keys()
        steps = _count(self._ledger, f"flow = {_text(flow.flow)}")
        self._pieces = max(1, -(-max(self.rows, steps // 3) // PIECE_ROWS))

    def any_key(self) -> str | None:
        """A key of the table; None when it is empty."""
        query = f'select cast("{self.flow.key}" as varchar) as k from source where {_condition(self.flow)} limit 1'
        return next((str(row["k"]) for row in _stream(query, source=self._table)), None)

    def known(self) -> int:
        """How many rows the target is known to hold: those whose last state is verified, and not a delete."""
        last = _last(_text(self.flow.flow), "")
        query = f"select count(*) as n from ({last}) where state = 'verified' and operation <> 'delete'"
        return int(next(iter(_stream(query, ledger=self._ledger)))["n"])

    def candidates(self) -> Iterator[Candidate]:
        """The keys that may need work; in each piece those left open first."""
        for piece in range(self._pieces):
            for found in _stream(self._query(piece), source=self._table, ledger=self._ledger):
                told: Any = {name: found.get(f"l_{name}") for name in SCHEMA.names}
                last = Entry(**told) if found["l_key"] is not None else None
                row = {name: found[f"s_{at}"] for at, name in enumerate(self.flow.columns)} if found["wanted"] else None
                key = str(found["l_key"] if found["k"] is None else found["k"])
                yield Candidate(key, row, found["k"] is None, last, found["digest"] if row else None, found["gated"])

    def _check_keys(self) -> int:
        """How many rows there are; SchemaError for a key that is null or there more than once."""
        flow, key = self.flow, f'cast("{self.flow.key}" as varchar)'
        scope = f"select {key} as k from source where {_condition(flow)}"
        query = f"select count(*) as n, count(k) as keyed, count(distinct k) as different from ({scope})"
        counted = next(iter(_stream(query, source=self._table)))
        if counted["n"] == counted["keyed"] == counted["different"]:
            return int(counted["n"])
        double = f"select k from ({scope}) where k is not null group by k having count(*) > 1 order by k limit 1"
        key = next((row["k"] for row in _stream(double, source=self._table)), None)
        raise SchemaError(
            f"table {flow.source}",
            f"has rows without a {flow.key}." if key is None else f"has {flow.key} {key} more than once.",
            f"mend the model: write-back flow {flow.flow} needs one row for each {flow.key}.",
        )

    def _query(self, piece: int) -> str:
        flow, name = self.flow, _text(self.flow.flow)
        key = f'cast("{flow.key}" as varchar)'
        columns = ", ".join(f'"{column}" as s_{at}' for at, column in enumerate(flow.columns))
        pending = f'coalesce("{flow.pending}", false)' if flow.pending else "true"
        gates = [gate for gate in flow.after if gate.by]
        told = {
            "payload": f"case when state in {OPEN} or payload_hash <> coalesce(wanted_hash, payload_hash) "
            "then payload end"
        }
        last = ", ".join(f"{told.get(column, column)} as l_{column}" for column in _LEDGER_COLUMNS)
        can_delete = str("delete" in flow.operations).lower()
        # marked as pending though verified: the target may have been changed since, so it is looked at again
        looks_again = str(bool(flow.pending) and flow.changes_records).lower()
        settled = f"l_state in {SETTLED}"
        passed_over = (
            "(l_key is null and not wanted)",
            f"(not wanted and {settled} "
            f"and not ({can_delete} and k is null and l_state = 'verified' and l_operation <> 'delete'))",
            f"(wanted and {settled} and l_source_digest = digest and l_operation <> 'delete' "
            f"and not ({looks_again} and l_state = 'verified'))",
        )
        joins = " ".join(
            f"left join g{at} on g{at}.key = cast(wanted_rows.s_{flow.columns.index(gate.by)} as varchar)"
            for at, gate in enumerate(gates)
        )
        gated = " or ".join(f"g{at}.key is not null" for at in range(len(gates))) or "false"
        parts = [
            f"wanted_rows as (select {key} as k, {columns}, {pending} as is_pending, {self._digest()} as digest "
            f"from source where {_condition(flow)}{self._bucket(key, piece)})",
            f"last_rows as (select {last} from ({_last(name, self._bucket('key', piece))}))",
            *(
                f"g{at} as (select key from ({_last(_text(gate.flow), '')}) where state in {_UNSETTLED})"
                for at, gate in enumerate(gates)
            ),
            "both_rows as (select *, coalesce(is_pending, false) as wanted "
            f"from (select wanted_rows.*, last_rows.*, ({gated}) as gated from wanted_rows {joins} "
            "full join last_rows on wanted_rows.k = last_rows.l_key))",
        ]
        # in order, and so read to the end before the first row is taken: a stream from the store that nobody reads for
        # minutes, while a slow target answers, is cut off
        return (
            f"with {', '.join(parts)} select * from both_rows "
            f"where not coalesce({' or '.join(f'coalesce({one}, false)' for one in passed_over)}, false) "
            f"order by case when l_state in {OPEN} then 0 else 1 end, coalesce(k, l_key)"
        )

    def _bucket(self, key: str, piece: int) -> str:
        """The condition of one piece of the keys, which are told apart by the first digits of their MD5."""
        if self._pieces == 1:
            return ""
        bounds = [f"{at * 65536 // self._pieces:04x}" for at in (piece, piece + 1)]
        upper = f" and md5({key}) < '{bounds[1]}'" if piece + 1 < self._pieces else ""
        return f" and md5({key}) >= '{bounds[0]}'{upper}"

    def _digest(self) -> str:
        """SQL of a row's digest: its mapped columns, each with its length, and the mapping itself."""
        shape = self.flow.model_dump(mode="json", include={"payload", "action", "target"})
        mapping = hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]
        parts = [f"'{mapping}'"]
        for column in self.flow.mapped:
            value = f'cast("{column}" as varchar)'
            parts += [f"coalesce(cast(character_length({value}) as varchar), '~')", "':'", f"coalesce({value}, '')"]
        return f"md5(concat({', '.join(parts)}))"


def _last(flow: str, condition: str) -> str:
    """SQL of the last transition of each key of a flow."""
    return (
        "select * from (select *, row_number() over (partition by key order by step desc, at desc) as place "
        f"from ledger where flow = {flow}{condition}) where place = 1"
    )


def _count(table: DeltaTable, condition: str) -> int:
    return int(next(iter(_stream(f"select count(*) as n from ledger where {condition}", ledger=table)))["n"])


def _stream(query: str, **registered: DeltaTable) -> Iterator[dict[str, Any]]:
    from deltalake import QueryBuilder
    from deltalake.exceptions import DeltaError

    builder = QueryBuilder()
    for name, table in registered.items():
        builder = builder.register(name, table)
    try:
        for batch in pa.RecordBatchReader.from_stream(builder.execute(query)):
            yield from batch.to_pylist()
    except (DeltaError, OSError) as error:
        raise ServiceError(
            f"table {' or '.join(registered)}",
            f"cannot be read: {' '.join(str(error).split())[:500]}",
            "run `datong doctor`.",
        ) from error


def _condition(flow: FlowConfig) -> str:
    """The rows that are the flow's, marked as pending or not."""
    parts: list[str] = []
    for column, value in flow.where.items():
        values = value if isinstance(value, list) else [value]
        parts.append(f'"{column}" in ({", ".join(map(_literal, values))})')
    return " and ".join(parts) or "true"


def _literal(value: str | int | bool) -> str:
    return _text(value) if isinstance(value, str) else str(value).lower()


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
