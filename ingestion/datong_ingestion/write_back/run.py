"""Running a flow: plan, look, commit the intent, send, read back, record.

From a serve table's rows to records of a target system. The order is the guarantee:

1. The rows that the target does not hold yet are planned (`planned`), except those whose payload the ledger knows as
   verified. Rows that an earlier run left `sent` or `unknown` come first, with the payload that was sent then.
2. Per chunk the target is asked what it holds for the keys. What is already there and equal is verified without
   sending anything; so neither a lost ledger nor a record made by somebody else leads to a second one.
3. The intent to send (`sent`) is committed; only then do the requests go out, a few at a time.
4. Everything that may have had an effect is read back and compared. Only what the target holds is `verified`.

A crash after any step leaves a ledger from which the next run goes on. A row whose outcome was unclear and which cannot
be found is sent again, with the same idempotency key, once `settle_seconds` have passed.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa
from datong_platform.errors import ConfigurationError, DatongError, SchemaError, ServiceError
from datong_platform.lake import sync_log

from datong_ingestion.write_back import config
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.hops import FlowHops
from datong_ingestion.write_back.lease import Lease, lease
from datong_ingestion.write_back.ledger import OPEN, Entry, Ledger, Operation, State, now
from datong_ingestion.write_back.payload import Payload, PayloadBuilder, dumps, payload_hash
from datong_ingestion.write_back.target import Change, Found, Outcome, RefusedLaterError, Target

OnStep = Callable[[str, str], None]
"""Told each step and what it did, when it is done: planned, looked, intended, read_back, recorded."""
OnReply = Callable[[str, str], None]
"""Told the key of each change that was sent, and its outcome; called from several threads."""

_LOOKS = 3
_MAX_WORDS = 2000
_MAX_PROBLEMS = 20


@dataclass(frozen=True)
class FlowResult:
    """What a run did, in rows. `planned` is how many rows there were to do.

    Each of those ends as verified, failed, conflict, unknown, cancelled or waiting (unfinished, because the run was
    stopped by `stopped`). `sent` counts those for which a request went out, `already` those that the target was found
    to hold without it. `problems` holds words for the first rows that are not verified, by key.
    """

    flow: str
    run_id: str
    planned: int
    verified: int
    failed: int
    conflict: int
    unknown: int
    cancelled: int
    waiting: int
    sent: int
    already: int
    seconds: float
    problems: dict[str, str]
    stopped: DatongError | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is left unverified."""
        return self.stopped is None and not (self.failed or self.conflict or self.unknown or self.waiting)


@dataclass(frozen=True)
class _Wanted:
    payload: Payload
    hash: str


@dataclass
class _Item:
    """One key's work in this run."""

    key: str
    wanted: _Wanted | None = None
    """What the target should hold; None when no row asks for it any more, or none can be made (`error`)."""
    error: str = ""
    last: Entry | None = None
    """Its last transition, kept up to date."""
    open: _Wanted | None = None
    """What was sent, in this run or an earlier one, and may or may not be at the target."""
    sends: int = 0
    not_before: float = 0
    """Monotonic time before which it must not be sent again when it cannot be found."""

    @property
    def subject(self) -> _Wanted | None:
        """What its next transition is about."""
        return self.open or self.wanted


_Decision = Literal["finished", "later", "create"] | Found
"""What to do with an item: nothing more, wait, create its record, or update the one that was found."""


def run_flow(
    flow: FlowConfig,
    *,
    target: Target | None = None,
    on_step: OnStep | None = None,
    on_reply: OnReply | None = None,
    wait_seconds: float = 60,
    release: Collection[str] = (),
) -> FlowResult:
    """Run one flow and say what became of its rows; failures of single rows do not stop the others.

    `target` is opened from the flow's definition unless given. `on_step` is called a few times a chunk, `on_reply` for
    each row. `wait_seconds` is how long to wait for another run of the same flow. `release` are keys in conflict that a
    person wants sent again.

    Raised, all before anything was sent: ConfigurationError (a column, a system or a value that is missing),
    TransientError (another run holds the flow), ServiceError (lake or PostgreSQL), SchemaError (null or double keys in
    the serve table), TerminalError (the serve table is not built). What goes wrong later, an unreachable or refusing
    target included, is in the result: `stopped` and the counts.
    """
    with sync_log.run():
        hops = FlowHops(flow)

        def step(name: str, what: str) -> None:
            hops.step(name)
            if on_step:
                on_step(name, what)

        try:
            with lease(flow.flow, wait_seconds=wait_seconds) as held:
                opened = target or _open(flow)
                try:
                    run = _Run(flow, opened, held)
                    run.release = frozenset(release)
                    run.hops, run.on_step, run.on_reply = hops, step, on_reply or run.on_reply
                    result = run.run()
                finally:
                    if target is None:
                        opened.close()
        except Exception as error:
            hops.failed(error)
            raise
        hops.ended(result, len(run.rows))
        return result


def _open(flow: FlowConfig) -> Target:
    from datong_ingestion.write_back.systems import open_target

    return open_target(flow)


class _Run:
    hops: FlowHops
    release: frozenset[str] = frozenset()
    on_step: OnStep = staticmethod(lambda _step, _what: None)
    on_reply: OnReply = staticmethod(lambda _key, _outcome: None)

    def __init__(self, flow: FlowConfig, target: Target, held: Lease) -> None:
        self.flow = flow
        self.target = target
        self.held = held
        self.run_id = uuid.uuid4().hex
        self.ledger = Ledger(flow.flow)
        rows, schema = _rows(flow)
        self.builder = PayloadBuilder(flow, schema, target.dialect)
        self.rows = rows
        self.entries: list[Entry] = []
        """Transitions to commit with the next append."""
        self.done: dict[State, int] = {}
        self.problems: dict[str, str] = {}
        self.sent: set[str] = set()
        self.already = 0

    def run(self) -> FlowResult:
        started = time.monotonic()
        stopped: DatongError | None = None
        items = self._plan(self.ledger.latest())
        self.on_step("planned", f"{len(items)} rows")
        ready, later = deque(items), list[_Item]()
        while ready or later:
            if not ready:
                time.sleep(max(0.0, min(item.not_before for item in later) - time.monotonic()))
                due = time.monotonic()
                ready.extend(item for item in later if item.not_before <= due)
                later = [item for item in later if item.not_before > due]
            chunk = [ready.popleft() for _ in range(min(self.flow.chunk_rows, len(ready)))]
            try:
                later += self._chunk(chunk)
            except DatongError as error:
                stopped = error
                break
        waiting = len(items) - sum(self.done.values())
        return FlowResult(
            flow=self.flow.flow,
            run_id=self.run_id,
            planned=len(items),
            verified=self.done.get("verified", 0),
            failed=self.done.get("failed", 0),
            conflict=self.done.get("conflict", 0),
            unknown=self.done.get("unknown", 0),
            cancelled=self.done.get("cancelled", 0),
            waiting=waiting,
            sent=len(self.sent),
            already=self.already,
            seconds=round(time.monotonic() - started, 3),
            problems=self.problems,
            stopped=stopped,
        )

    def _plan(self, latest: dict[str, Entry]) -> list[_Item]:
        """The items to work on, those left open first; commits what is newly planned and what is cancelled."""
        left_open: list[_Item] = []
        new: list[_Item] = []
        for key, row in self.rows.items():
            item = _Item(key, last=latest.get(key))
            try:
                payload = self.builder.build(row)
                item.wanted = _Wanted(payload, payload_hash(payload))
            except ValueError as error:
                item.error = f"its payload cannot be made: {error}"
            last = item.last
            if last is not None and last.state in OPEN:
                self._reopen(item, last)
                left_open.append(item)
                continue
            same = last is not None and item.wanted is not None and last.payload_hash == item.wanted.hash
            if same and last is not None and last.state == "verified" and not self.flow.changes_records:
                continue
            if last is not None and last.state == "conflict" and key in self.release:
                last = self._record(item, "cancelled", "released by a person: it may be sent again")
                same = False
            # verified before and yet marked as pending: the target may have been changed since, so look again;
            # a conflict stays one until the target or the row changes
            settled = {"verified", "planned", "conflict"}
            if item.wanted is not None and not (same and last is not None and last.state in settled):
                self._record(item, "planned")
            new.append(item)
        for key, last in latest.items():
            if key in self.rows or last.state in {"verified", "cancelled"}:
                continue
            item = _Item(key, last=last)
            if last.state in OPEN:
                self._reopen(item, last)
                left_open.append(item)
            else:
                self._record(item, "cancelled", words="not wanted any more, or done by others")
        self._commit()
        return left_open + new

    def _reopen(self, item: _Item, last: Entry) -> None:
        item.open = _Wanted(json.loads(last.payload or "{}"), last.payload_hash)
        age = max(0.0, (now() - last.at).total_seconds())
        item.not_before = time.monotonic() + max(0.0, self.flow.settle_seconds - age)

    def _chunk(self, chunk: Sequence[_Item]) -> list[_Item]:
        """Work on a chunk; returns the items that have to be tried again later."""
        self.held.check()
        held = self._look(chunk)
        self.on_step("looked", f"{len(held)} keys")
        again: list[_Item] = []
        changes: list[tuple[_Item, Change]] = []
        for item in chunk:
            found = held.get(item.key, [])
            if isinstance(found, RefusedLaterError):
                self._close(item, "failed", found.reason)
                continue
            if isinstance(found, DatongError):
                # nothing is sent without having looked first
                self._close(item, "unknown" if item.open else "failed", f"could not be looked up: {found}")
                continue
            decision = self._decide(item, found)
            if decision == "later":
                again.append(item)
            elif decision != "finished":
                changes.append((item, self._intend(item, None if decision == "create" else decision)))
        self._commit()
        self.target.recorded(list(held))
        self.on_step("intended", f"{len(changes)} rows")
        return again + self._send(changes) if changes else again

    def _look(self, chunk: Sequence[_Item]) -> dict[str, list[Found] | DatongError]:
        """What the target holds for the chunk's keys; raises when it is not there or does not let us in."""
        asked = [
            item.key
            for item in chunk
            if item.open or (item.wanted and (self.flow.look_first or _stuck(item.last, item.wanted)))
        ]
        if asked or not any(item.wanted for item in chunk):
            return self.target.lookup(asked, _sent(chunk)) if asked else {}
        # one is looked up all the same, before a whole chunk is sent to a target that is down or was moved
        probe = next(item.key for item in chunk if item.wanted)
        held = self.target.lookup([probe])
        if isinstance(error := held[probe], DatongError):
            raise error
        return held

    def _decide(self, item: _Item, found: Sequence[Found]) -> _Decision:
        """What to do with an item, given what the target holds for its key."""
        if len(found) > 1:
            return self._close(item, "conflict", _several(found))
        record = found[0] if found else None
        if item.open is not None and (decision := self._decide_open(item, item.open, record)):
            return decision
        if item.wanted is None:
            return self._close(item, "failed", item.error)
        return self._decide_wanted(item, item.wanted, record)

    def _decide_wanted(self, item: _Item, wanted: _Wanted, record: Found | None) -> _Decision:
        """The same for what is wanted now, when nothing sent before is in doubt."""
        if record is None:
            if item.last is not None and _stuck(item.last, wanted):
                return self._vanished(item, item.last)
            if "create" not in self.flow.operations:
                return self._close(item, "failed", "the target has no such record")
            return "create"
        different = self.builder.differences(wanted.payload, record.fields)
        if not different:
            self.already += 1
            if item.last is None or item.last.state != "verified":
                self._record(
                    item, "verified", "the target held it already", target_key=record.target_key, etag=record.etag
                )
            return self._finish(item, "verified")
        if not self.flow.changes_records:
            return self._close(item, "conflict", "; ".join(different), target_key=record.target_key)
        return record

    def _decide_open(self, item: _Item, sent: _Wanted, record: Found | None) -> _Decision | None:
        """The same for an item that was sent before; None to go on with what is wanted now."""
        different = self.builder.differences(sent.payload, record.fields) if record else ["not found"]
        changed = item.error or (item.wanted is not None and item.wanted.hash != sent.hash)
        if record is not None and not different:
            self._record(item, "verified", "read back", target_key=record.target_key, etag=record.etag)
            if not changed:
                return self._finish(item, "verified")
        elif record is None and item.last is not None and _accepted(item.last):
            # it was there, or the target lied: to make another one is a decision for people
            return self._vanished(item, item.last)
        elif time.monotonic() < item.not_before:
            return "later"
        elif item.wanted is None and not item.error:
            if record is None:
                return self._close(item, "cancelled", "not found at the target, and not wanted any more")
            return self._close(item, "conflict", "; ".join(different), target_key=record.target_key)
        elif changed:
            self._record(item, "cancelled", f"did not arrive ({'; '.join(different)}); something else is wanted by now")
        if changed:
            item.open = None
            if item.wanted is not None:
                self._record(item, "planned")
        return None

    def _vanished(self, item: _Item, last: Entry) -> Literal["finished"]:
        """It was there, or the target lied: whether to make another one is a decision for people."""
        words = (
            "the target accepted it earlier and does not show it now; if it shall be sent again, run "
            f"`datong write-back {self.flow.flow} --release {item.key}`"
        )
        return self._close(item, "conflict", words, status=last.status, target_key=last.target_key)

    def _intend(self, item: _Item, record: Found | None) -> Change:
        """The intent to send, as the item's next transition."""
        item.open = item.wanted
        item.sends += 1
        operation: config.Operation = "update" if record else "create"
        entry = self._record(
            item,
            "sent",
            operation=operation,
            etag=record.etag if record else None,
            target_key=record.target_key if record else None,
        )
        return Change(item.key, item.open.payload if item.open else {}, entry.idempotency_key, record, operation)

    def _send(self, changes: Sequence[tuple[_Item, Change]]) -> list[_Item]:
        self.held.check()
        self.sent.update(item.key for item, _ in changes)
        outcomes = self.target.send(
            [change for _, change in changes],
            lambda change, outcome: self.on_reply(change.key, outcome.kind),
        )
        self.hops.step("sent")
        for item, _ in changes:
            item.not_before = time.monotonic() + self.flow.settle_seconds
        held = self._read_back([item for item, _ in changes], outcomes)
        self.on_step("read_back", f"{len(held)} keys")
        again = [item for item, change in changes if self._judge(item, change, outcomes[item.key], held.get(item.key))]
        self._commit()
        self.target.recorded(list(held))
        self.on_step("recorded", f"{len(changes)} rows")
        return again

    def _read_back(self, items: Sequence[_Item], outcomes: dict[str, Outcome]) -> dict[str, list[Found] | DatongError]:
        """What the target holds now; what it accepted and does not show yet is asked for again, briefly."""
        held: dict[str, list[Found] | DatongError] = {}
        pending = [item for item in items if outcomes[item.key].kind not in {"refused", "not_sent"}]
        for look in range(_LOOKS):
            if not pending:
                break
            time.sleep(0.2 * look)
            try:
                held |= self.target.lookup([item.key for item in pending], _sent(pending))
            except DatongError as error:
                held |= {item.key: error for item in pending}
            pending = [
                item for item in pending if outcomes[item.key].kind == "accepted" and held.get(item.key, []) == []
            ]
        return held

    def _judge(self, item: _Item, change: Change, outcome: Outcome, found: list[Found] | DatongError | None) -> bool:
        """Record what became of a change that was sent; True when it has to be tried again later."""
        told: dict[str, Any] = {
            "status": outcome.status,
            "operation": "update" if change.found else "create",
            "etag": change.found.etag if change.found else None,
            "target_key": outcome.target_key or (change.found.target_key if change.found else None),
        }
        if outcome.kind == "refused":
            self._close(item, "failed", outcome.words, **told)
        elif outcome.kind == "not_sent":
            if item.sends < self.flow.attempts:
                item.not_before = time.monotonic() + min(1.0, self.flow.settle_seconds)
                return True
            self._close(item, "failed", outcome.words, **told)
        elif isinstance(found, RefusedLaterError):
            self._close(item, "failed", found.reason, **told)
        elif found is None or isinstance(found, DatongError):
            self._close(item, "unknown", f"{outcome.words} Could not be read back: {found}", **told)
        elif len(found) > 1:
            self._close(item, "conflict", _several(found), **told)
        else:
            different = self.builder.differences(change.payload, found[0].fields) if found else ["not found"]
            words = f"{outcome.words} Read back: {'; '.join(different)}".strip()
            if not different:
                told |= {"target_key": found[0].target_key, "etag": found[0].etag}
                self._record(item, "verified", outcome.words or "read back", **told)
                self._finish(item, "verified")
            elif outcome.kind == "conflict" or (outcome.kind == "accepted" and found):
                self._close(item, "conflict", words, **told)
            elif outcome.kind == "unclear" and item.sends < self.flow.attempts:
                return True
            else:
                self._close(item, "unknown", words, **told)
        return False

    def _close(self, item: _Item, state: State, words: str, **told: Any) -> Literal["finished"]:
        """The item's last transition in this run; a conflict that is as it was needs none."""
        last = item.last
        if not (state == "conflict" and last and last.state == state and last.words == words[:_MAX_WORDS]):
            self._record(item, state, words, **told)
        return self._finish(item, state, words)

    def _finish(self, item: _Item, state: State, words: str = "") -> Literal["finished"]:
        self.done[state] = self.done.get(state, 0) + 1
        if state not in {"verified", "cancelled"} and len(self.problems) < _MAX_PROBLEMS:
            self.problems[item.key] = f"{state}: {words}"
        return "finished"

    def _record(
        self, item: _Item, state: State, words: str = "", operation: Operation | None = None, **told: Any
    ) -> Entry:
        """Add the item's next transition to the next commit.

        A change keeps its idempotency key until it is closed: a target that remembers a refusal under a key would
        otherwise repeat it forever.
        """
        last = item.last
        subject = item.subject
        digest = subject.hash if subject else last.payload_hash if last else ""
        going_on = last is not None and last.state in {"planned", *OPEN} and last.payload_hash == digest
        step = (last.step if last else 0) + 1
        name = f"datong:write-back:{self.flow.flow}|{item.key}|{digest}|{step}"
        entry = Entry(
            flow=self.flow.flow,
            key=item.key,
            step=step,
            state=state,
            operation=operation or (last.operation if last is not None and going_on else "none"),
            idempotency_key=last.idempotency_key if last and going_on else str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            payload_hash=digest,
            payload=dumps(subject.payload) if subject else None,
            attempt=(last.attempt if last and going_on else 0) + (state == "sent"),
            run_id=self.run_id,
            at=now(),
            words=words[:_MAX_WORDS] or None,
            **told,
        )
        item.last = replace(entry, payload=None)
        self.entries.append(entry)
        return entry

    def _commit(self) -> None:
        self.ledger.append(self.entries)
        self.entries = []


def _sent(items: Iterable[_Item]) -> dict[str, str]:
    """The idempotency keys of what was sent and may be at the target."""
    return {item.key: item.last.idempotency_key for item in items if item.open is not None and item.last is not None}


def _stuck(last: Entry | None, wanted: _Wanted) -> bool:
    """Whether this very change was accepted once and then could not be found."""
    return last is not None and last.state == "conflict" and last.payload_hash == wanted.hash and _accepted(last)


def _accepted(entry: Entry) -> bool:
    return entry.status is not None and 200 <= entry.status < 300


def _several(found: Sequence[Found]) -> str:
    return f"the target holds {len(found)} records for it: {', '.join(one.target_key for one in found[:5])}"


def _rows(flow: FlowConfig) -> tuple[dict[str, dict[str, Any]], pa.Schema]:
    """The serve table's rows that this flow has to look after, by key, and the table's schema."""
    from datong_platform.lake import builds
    from deltalake import QueryBuilder
    from deltalake.exceptions import DeltaError

    try:
        table = builds.open_published(flow.table)
        schema = pa.schema(table.schema().to_arrow())
        missing = [name for name in flow.columns if name not in schema.names]
        if missing:
            raise ConfigurationError(
                f"write-back flow {flow.flow}",
                f"names columns that {flow.source} does not have: {', '.join(missing)}.",
                "mend the flow's defs.yaml, or build the model again.",
            )
        columns = ", ".join(f'"{name}"' for name in flow.columns)
        found = pa.table(
            QueryBuilder().register("source", table).execute(f"select {columns} from source where {_condition(flow)}")
        )
    except (DeltaError, OSError) as error:
        raise ServiceError(
            f"table {flow.source}", f"cannot be read: {' '.join(str(error).split())}", "run `datong doctor`."
        ) from error
    rows: dict[str, dict[str, Any]] = {}
    for row in found.to_pylist():
        key = row[flow.key]
        if key is None or str(key) in rows:
            raise SchemaError(
                f"table {flow.source}",
                f"has rows without a {flow.key}." if key is None else f"has {flow.key} {key} more than once.",
                f"mend the model: write-back flow {flow.flow} needs one row for each {flow.key}.",
            )
        rows[str(key)] = row
    return rows, schema


def _condition(flow: FlowConfig) -> str:
    parts = [f'"{flow.pending}"'] if flow.pending else []
    for column, value in flow.where.items():
        values = value if isinstance(value, list) else [value]
        parts.append(f'"{column}" in ({", ".join(map(_literal, values))})')
    return " and ".join(parts) or "true"


def _literal(value: str | int | bool) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower()
