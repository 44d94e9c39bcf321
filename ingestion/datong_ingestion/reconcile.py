"""Reconcile: prove that bronze holds what a system holds, by aggregates of both, and name the keys where it does not.

A protocol that can count, sum or hash on the system's side has the power `Reconciles` (`source.py`); of others the keys
are read anew when that is asked for. Windows are cut by a field that tells when a row last changed, or else when it
was made; below what bronze has settled everything must agree, above it the system may be ahead.

Works alone: `python -m datong_ingestion.reconcile SYSTEM [ENTITY…]`.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from datong_platform.errors import ConfigurationError, DatongError
from datong_platform.lake import catalog, history
from datong_platform.lake.columns import LOCAL_TIMESTAMP, UTC_TIMESTAMP, compute
from datong_platform.lake.load import bronze_schema
from datong_platform.names import BRONZE_COLUMNS
from datong_platform.quality import record, windows
from datong_platform.quality.compare import BY, Compared, Comparison, verified_through
from datong_platform.quality.lake_side import LakeTable
from datong_platform.quality.record import Entry, Mark
from datong_platform.quality.windows import Totals, Window

from datong_ingestion.agreement import agreed
from datong_ingestion.run import ingest_entity
from datong_ingestion.source import Description, Reconciles, Source, connect
from datong_ingestion.systems_config import EntityConfig, SystemConfig

_MOST_SUMS = 8
_CHANGED = re.compile(r"(?i)(last)?_?(chang|updat|modif|write)")
_MADE = re.compile(r"(?i)(creat|record|insert|entry|entered)")


@dataclass(frozen=True)
class Reconciled:
    """What reconciling one entity came to."""

    system: str
    entity: str
    status: str
    """agrees, differs, not possible, or nothing: no bronze table yet."""
    how: str
    """What was compared, in words."""
    by: str = ""
    """The field that windows are cut by."""
    compared: list[Compared] = field(default_factory=list[Compared])
    mark: Mark | None = None
    reason: str = ""
    """Why it was not possible."""
    seconds: float = 0

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against it."""
        return self.status != "differs"

    @property
    def rows(self) -> tuple[int, int]:
        """Rows of the source and of the lake, in all windows."""
        return sum(one.source.rows for one in self.compared), sum(one.lake.rows for one in self.compared)

    @property
    def found(self) -> int:
        """How many rows disagree."""
        return sum(one.found for one in self.compared)

    def entries(self) -> list[Entry]:
        """As rows of `ops.reconciliation`."""
        name = f"{self.system}.{self.entity}"
        if not self.compared:
            return [
                Entry("source", name, self.status, source_system=self.system, entity=self.entity, wrong=self.reason)
            ]
        return [
            Entry(
                "source",
                name,
                one.status,
                part=str(one.window),
                source_system=self.system,
                entity=self.entity,
                wrong=", ".join(one.wrong),
                left_value=_told(one.source),
                right_value=_told(one.lake),
                facts=one.source.rows,
                different=one.found or (1 if not one.ok else 0),
                changed_since=one.changed_since,
                examples=[{"key": item.key, "problem": item.problem, "detail": item.detail} for item in one.findings],
                bronze_batch=self.mark.bronze_batch if self.mark else "",
                seconds=round(self.seconds, 3),
            )
            for one in self.compared
        ]


def reconcile_system(
    system: SystemConfig,
    entities: Sequence[str] | None = None,
    *,
    anew: bool = False,
    keys_too: bool = False,
    read_first: bool = True,
    on_done: Callable[[Reconciled | DatongError, str], None] | None = None,
) -> list[Reconciled | DatongError]:
    """Reconcile a system's entities, several at once; an entity that fails gives its error and stops no other.

    `anew` compares window by window also what was verified before; `keys_too` compares the key sets themselves where
    the system gives no digest of them, and reads what gives no aggregates at all. `read_first`: an entity that follows
    a log, or has no field that tells newer rows apart, is ingested before it is judged, since the system is usually
    ahead of the lake.
    """
    chosen = [system.entity(name) for name in entities] if entities else list(system.entities)
    known = {one.entity: one for one in record.marks(system.system)}
    # a bronze table that is newer than the last build is not known to the engine
    catalog.ensure()
    catalog.renew(table for one in chosen if history.open_table(table := system.table(one.name)) is not None)
    source = connect(system)

    def work(entity: EntityConfig) -> Reconciled | DatongError:
        try:
            one = _Entity(system, entity, source, known.get(entity.name))
            done = one.run(anew=anew, keys_too=keys_too)
            # what a log tells may lie anywhere in the table, whatever it is cut by
            if read_first and not done.ok and (not done.by or entity.mode == "log"):
                ingest_entity(system, entity.name)
                done = one.run(anew=anew, keys_too=keys_too)
            found: Reconciled | DatongError = done
        except DatongError as error:
            found = error
        if on_done is not None:
            on_done(found, entity.name)
        return found

    try:
        with ThreadPoolExecutor(max_workers=max(1, system.connection.concurrency)) as pool:
            return list(pool.map(work, chosen))
    finally:
        source.close()


def keep(run_id: str, found: Sequence[Reconciled | DatongError]) -> None:
    """Write what was found to `ops.reconciliation`, and the marks to `ops.verified_through`."""
    done = [one for one in found if isinstance(one, Reconciled)]
    record.append(run_id, [entry for one in done for entry in one.entries()])
    record.mark([one.mark for one in done if one.mark is not None])


class _Entity:
    """One entity of a connected system, and its bronze table."""

    def __init__(self, system: SystemConfig, entity: EntityConfig, source: Source, known: Mark | None) -> None:
        self.system, self.entity, self.source, self.known = system, entity, source, known
        self.table = system.table(entity.name)
        self.thing = f"{system.system}.{entity.name} ({entity.address})"

    def run(self, *, anew: bool, keys_too: bool) -> Reconciled:
        """Compare; the mark is not written yet."""
        started = time.monotonic()
        wanted = self.entity.reconcile
        if wanted.off:
            return self._not("not possible", f"left out by its definition: {wanted.off}")
        delta = history.open_table(self.table)
        last = history.watermark(self.table, delta)
        if delta is None or last is None:
            return self._not("nothing", "nothing of it was ingested yet")
        if self.entity.mode == "stream":
            return self._not("not possible", "what arrives (mode stream) is read once, and its source tells no total")
        schema = bronze_schema(delta)
        known = pa.schema([item for item in schema if item.name not in BRONZE_COLUMNS])
        described = self.source.describe(self.entity, known)
        description = agreed(described, self.entity, self.table, known).description
        sums = self._sums(description, known)
        lake = LakeTable(
            self.table,
            schema,
            tuple(name for name in description.keys if name in known.names),
            sums,
            self.entity.events,
            self.entity.soft_delete.column if self.entity.soft_delete else "",
            tuple(self.entity.soft_delete.values) if self.entity.soft_delete else (),
        )
        by, is_expression, kind = self._by(described.cursors, known, lake)
        side = self._side(description, sums, known)
        whole = Window(by, is_expression=is_expression)
        low, high = lake.bounds(whole) if by else (None, None)
        low, high = _in_our_types(low), _in_our_types(high)
        settled = self._settled(high, last) if by else None
        verified = None
        if by and self.known and self.known.field == by and not anew:
            verified = windows.from_text(self.known.verified_through, kind)
        asked = windows.planned(by, low, settled, verified, is_expression=is_expression) if by else [Window()]
        if isinstance(side, _PowerSide) and not side.counts(asked[0]) and not side.counts(Window()):
            side = _ReadSide(self.source, self.entity, description, sums, side.why)
        if isinstance(side, _ReadSide) and not keys_too:
            return self._not("not possible", side.why)
        if by and not side.counts(asked[0]):
            asked, by = [Window()], ""
        bounds = (low, windows.just_after(high)) if high is not None else (None, None)
        comparison = Comparison(
            side, lake, lake.keys, sums, bounds=bounds, settled=settled if by else None, keys_too=keys_too
        )
        compared = comparison.run(asked)
        status = "agrees" if all(one.ok for one in compared) else "differs"
        return Reconciled(
            self.system.system,
            self.entity.name,
            status,
            _how(compared, by),
            by,
            compared,
            self._mark(by, compared, settled, last),
            seconds=time.monotonic() - started,
        )

    def _not(self, status: str, reason: str) -> Reconciled:
        return Reconciled(self.system.system, self.entity.name, status, "", reason=reason)

    def _side(self, description: Description, sums: Sequence[str], known: pa.Schema) -> _PowerSide | _ReadSide:
        if isinstance(self.source, Reconciles):
            return _PowerSide(self.source, self.entity, description, sums, known)
        how = f"`datong reconcile {self.system.system} --keys` reads it anew"
        why = f"protocol {self.system.protocol} has no totals; {how}"
        return _ReadSide(self.source, self.entity, description, sums, why)

    def _sums(self, description: Description, known: pa.Schema) -> tuple[str, ...]:
        """The fields whose sums are compared: those named, or else exact numbers that are no key."""
        fields = [item for item in known if item.name in description.schema.names]
        numeric = [
            item.name
            for item in [
                *(item for item in fields if pa.types.is_decimal(item.type)),
                *(item for item in fields if pa.types.is_integer(item.type)),
            ]
            if item.name not in description.keys
        ]
        if wanted := self.entity.reconcile.sums:
            if missing := sorted(set(wanted) - set(numeric)):
                raise ConfigurationError(
                    self.thing,
                    f"cannot sum {', '.join(missing)}: not an exact number of it.",
                    f"choose from {', '.join(numeric) or 'nothing: it has none'} for `reconcile.sums`.",
                )
            return tuple(wanted)
        return tuple(numeric[:_MOST_SUMS])

    def _by(self, cursors: Sequence[str], known: pa.Schema, lake: LakeTable) -> tuple[str, bool, pa.DataType]:
        """The field that windows are cut by, whether it is an expression, and its type; "" when there is none."""
        wanted = self.entity.reconcile.by or self.entity.cursor
        if wanted:
            if wanted not in known.names:
                raise ConfigurationError(
                    self.thing, f"has no field {wanted} in bronze.", "name another as `reconcile.by` in its defs.yaml."
                )
            if windows.can_be_cut(known.field(wanted).type):
                return wanted, False, known.field(wanted).type
            if self.entity.reconcile.by:
                raise ConfigurationError(
                    self.thing,
                    f"cannot be cut into windows of {wanted}, a field of texts.",
                    "name a time, a date or a whole number as `reconcile.by`.",
                )
        if self.entity.cursor_expression:
            window = Window(self.entity.cursor_expression, is_expression=True)
            low, _ = lake.bounds(window)
            if isinstance(low, datetime):
                return window.by, True, UTC_TIMESTAMP if low.tzinfo else LOCAL_TIMESTAMP
        temporal = [item for item in known if pa.types.is_temporal(item.type) and item.name in cursors]
        for pattern in (_CHANGED, _MADE):
            # a date and the time beside it are two fields: the one that has both is the better
            named = [item for item in temporal if pattern.search(item.name) and windows.can_be_cut(item.type)]
            named.sort(key=lambda item: not pa.types.is_timestamp(item.type))
            if named:
                return named[0].name, False, named[0].type
        if len(lake.keys) == 1 and pa.types.is_integer(known.field(lake.keys[0]).type):
            return lake.keys[0], False, known.field(lake.keys[0]).type
        return "", False, pa.int64()

    def _settled(self, high: Any, last: history.Loaded) -> Any:
        """Below it bronze must hold all that the system holds: what was read reaches as far as its greatest value,
        less the overlap, and not past the moment of the read."""
        if high is None:
            return None
        read_at = datetime.fromisoformat(last.finished_at)
        overlap = timedelta(seconds=self.entity.overlap_seconds if self.entity.mode == "cursor" else 0)
        if isinstance(high, datetime):
            moment = read_at if high.tzinfo else read_at.astimezone(UTC).replace(tzinfo=None)
            return min(high, moment).replace(microsecond=0) - overlap
        if isinstance(high, date):
            # the last day may not be over
            return min(high, read_at.date())
        return high + 1 if self.entity.mode != "cursor" else high

    def _mark(self, by: str, compared: Sequence[Compared], settled: Any, last: history.Loaded) -> Mark:
        now = datetime.now(UTC)
        before = self.known if self.known and self.known.field == by else None
        if by:
            reached = windows.as_text(verified_through(compared, settled))
            rows = sum(one.lake.rows for one in _until(compared, reached))
        else:
            agrees = all(one.ok for one in compared)
            reached = last.finished_at if agrees else before.verified_through if before else ""
            rows = sum(one.lake.rows for one in compared) if agrees else before.rows_verified if before else 0
        went_back = ""
        if by and before and _is_before(reached, before.verified_through):
            first = next((one for one in compared if not one.ok), None)
            key = first.findings[0].key if first and first.findings else ""
            went_back = (
                f"from {before.verified_through}: {first.window if first else 'nothing settled'} no longer agrees"
            )
            went_back += f", for example {key}" if key else ""
            if first is None:
                # nothing refutes it: less is settled now than when it was set
                return replace(before, checked_at=now)
        advanced = before is None or reached != before.verified_through
        return Mark(
            self.system.system,
            self.entity.name,
            by,
            reached,
            rows,
            last.batch_id,
            now if advanced and reached else before.verified_at if before else None,
            now,
            went_back,
        )


class _PowerSide:
    """A source that reconciles, as a side of a comparison."""

    why = "the system gives no count for it; `datong reconcile --keys` reads it anew"

    def __init__(
        self,
        source: Reconciles,
        entity: EntityConfig,
        description: Description,
        sums: Sequence[str],
        known: pa.Schema,
    ) -> None:
        self.source, self.entity, self.description, self.sums, self.known = source, entity, description, sums, known

    def counts(self, window: Window) -> bool:
        """Whether the system counts the rows of such a window."""
        return self.source.reconciles(self.entity, self.description, window)

    def totals(self, asked: Sequence[Window]) -> list[Totals]:
        return self.source.totals(self.entity, self.description, asked, self.sums)

    def listed(self, window: Window) -> Iterator[pa.Table]:
        for table in self.source.listed(self.entity, self.description, window, self.sums):
            yield _as_known(table, self.known)


class _ReadSide:
    """A source that is read anew, for its keys, the fields that are summed and the one that windows are cut by."""

    def __init__(
        self, source: Source, entity: EntityConfig, description: Description, sums: Sequence[str], why: str
    ) -> None:
        self.source, self.description, self.sums, self.why = source, description, list(sums), why
        self.entity = entity.model_copy(update={"mode": "full", "detect_deletes": False, "soft_delete": None})
        self._kept: pa.Table | None = None

    def counts(self, window: Window) -> bool:
        """Whatever is a field of its rows."""
        return not window.by or window.by in self.description.schema.names

    def totals(self, asked: Sequence[Window]) -> list[Totals]:
        found: list[Totals] = []
        for window in asked:
            rows = self._within(window)
            found.append(Totals(len(rows), {name: Decimal(_sum(rows, name) or 0) for name in self.sums}))
        return found

    def listed(self, window: Window) -> Iterator[pa.Table]:
        yield self._within(window)

    def _within(self, window: Window) -> pa.Table:
        rows = self._read(window.by)
        if not window.by:
            return rows
        return rows.filter(windows.inside(window, rows.column(BY)))

    def _read(self, by: str) -> pa.Table:
        if self._kept is None:
            names = list(dict.fromkeys([*self.description.keys, *self.sums, *([by] if by else [])]))
            schema = pa.schema([self.description.schema.field(name) for name in names])
            pages = [page.rows.select(names) for page in self.source.read(self.entity, self.description, None)]
            kept = pa.concat_tables(pages) if pages else schema.empty_table()
            self._kept = kept.append_column(BY, kept.column(by) if by else pa.nulls(len(kept), pa.int32()))
        return self._kept


def _sum(rows: pa.Table, name: str) -> Decimal | None:
    kind = rows.schema.field(name).type
    scale = kind.scale if pa.types.is_decimal(kind) else 0
    return compute.sum(rows.column(name).cast(pa.decimal128(38, scale))).as_py()


def _as_known(table: pa.Table, known: pa.Schema) -> pa.Table:
    """A listing in the types of bronze, so that its values compare with the lake's."""
    for index, name in enumerate(table.column_names):
        if name in known.names and table.schema.field(name).type != known.field(name).type:
            table = table.set_column(index, name, table.column(name).cast(known.field(name).type))
    return table


def _in_our_types(value: Any) -> Any:
    """Engines hand out times in a zone object of their own."""
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value


def _until(compared: Sequence[Compared], reached: str) -> Iterator[Compared]:
    for one in compared:
        if not reached or one.window.high is None or one.window.is_null:
            return
        yield one
        if windows.as_text(one.window.high) == reached:
            return


def _is_before(reached: str, before: str) -> bool:
    if not before:
        return False
    if reached.lstrip("-").isdigit() and before.lstrip("-").isdigit():
        return int(reached) < int(before)
    return reached < before


def _how(compared: Sequence[Compared], by: str) -> str:
    first = compared[0] if compared else None
    parts = ["counts"]
    if first and first.source.sums:
        parts.append(f"sums of {', '.join(first.source.sums)}")
    if first and first.source.digest is not None and first.lake.digest is not None:
        parts.append("key digests")
    return f"{', '.join(parts)}; {f'{len(compared)} windows of {by}' if by else 'the whole table'}"


def _told(totals: Totals) -> str:
    sums = "".join(f", {name} {value:f}" for name, value in totals.sums.items())
    digest = f", keys {int(totals.digest):x}" if totals.digest is not None else ""
    return f"{totals.rows} rows{sums}{digest}"


def main(arguments: Sequence[str]) -> int:
    """The command line of this module: reconcile, print, keep."""
    from datong_ingestion.systems_config import load_system

    if not arguments:
        print("usage: python -m datong_ingestion.reconcile SYSTEM [ENTITY…]")
        return 2
    found = reconcile_system(load_system(arguments[0]), list(arguments[1:]) or None)
    keep(f"alone-{datetime.now(UTC):%Y%m%dT%H%M%S}", found)
    for one in found:
        print(f"{one.entity}: {one.status} ({one.how or one.reason})" if isinstance(one, Reconciled) else one)
    return 0 if all(isinstance(one, Reconciled) and one.ok for one in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
