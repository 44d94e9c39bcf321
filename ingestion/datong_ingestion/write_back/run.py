"""Running a flow: plan, look, commit the intent, send, read back, record.

From a serve table's rows to records of a target system. The order is the guarantee:

1. What changed is found (`plan`), held against the flow's guards, and recorded as `planned`, or as
   `waiting_for_approval` where a person has to say yes. What people decided since the last run is carried out.
2. Per chunk the target is asked what it holds for the keys. What is already there and equal is verified without
   sending anything; so neither a lost ledger nor a record made by somebody else leads to a second one.
3. The intent to send (`sent`) is committed, with what the target held before; only then do the requests go out, a few
   at a time and not faster than the flow's rate.
4. Everything that may have had an effect is read back and compared. Only what the target holds is `verified`.

A crash after any step leaves a ledger from which the next run goes on. A row whose outcome was unclear and which cannot
be found is sent again, with the same idempotency key, once `settle_seconds` have passed. A row that failed comes back
with a growing distance and rests in the dead letter (`dead`) in the end.

A pause is looked for before each chunk. While a flow is frozen, or waits for one that comes before it, its changes are
planned and none is sent.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from datong_platform.errors import DatongError, TerminalError
from datong_platform.lake import sync_log

from datong_ingestion.write_back import config, decisions, ledger
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.decisions import Decision
from datong_ingestion.write_back.hops import FlowHops
from datong_ingestion.write_back.lease import Lease, lease
from datong_ingestion.write_back.ledger import OPEN, SETTLED, Entry, Ledger, Operation, State, now
from datong_ingestion.write_back.payload import Payload, PayloadBuilder, dumps, payload_hash
from datong_ingestion.write_back.plan import Candidate, Source
from datong_ingestion.write_back.target import AwaitedError, Change, Found, Outcome, RefusedLaterError, Target

OnStep = Callable[[str, str], None]
"""Told each step and what it did, when it is done: planned, looked, intended, sent, read_back, recorded."""
OnReply = Callable[[str, str], None]
"""Told the key of each change that was sent, and its outcome; called from several threads."""

_LOOKS = 3
_MAX_WORDS = 2000
_MAX_PROBLEMS = 20
_MAX_SAMPLES = 10
_PLAN_ROWS = 5000
_BIG_CHUNK_ROWS = 1000
"""Rows that are planned before the first of them is sent."""


@dataclass(frozen=True)
class FlowResult:
    """What a run did, in rows. `planned` is how many rows there were to do.

    Each of those ends as verified, failed, dead, conflict, unknown, cancelled, waiting_for_approval or waiting: not
    sent, because the run was stopped (`stopped`) or held (`held`: a pause, a freeze, a flow that comes before), or
    because the row's own counterpart in such a flow is not verified (`gated` of them). Failed rows whose time has not
    come, dead letters, and what waits for a person count although this run left them alone. `sent` counts those for
    which a request went out, `already` those that the target was found to hold without it. `problems` holds words for
    the first rows that are not verified, by key.
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
    dead: int = 0
    waiting_for_approval: int = 0
    gated: int = 0
    held: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong: what is left waits for a time or a person by the flow's own rules."""
        stuck = 0 if self.held else self.waiting - self.gated
        return self.stopped is None and not (self.failed or self.dead or self.conflict or self.unknown or stuck)

    @property
    def is_green(self) -> bool:
        """Whether nothing is left unverified at all."""
        return self.ok and not (self.held or self.waiting or self.waiting_for_approval)


@dataclass(frozen=True)
class Sample:
    """One change of a dry run: what the target holds now, and what it would hold."""

    key: str
    change: Literal["create", "update", "delete", "call"]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    words: str = ""


@dataclass(frozen=True)
class Preview:
    """What a run would do, in rows; nothing was sent and nothing recorded.

    `new`, `changed` and `deletes` would be planned; `rechecks` are verified and would be looked at again, because the
    serve table says that the target does not show them; `resting` are left from earlier runs, by state. `holds` says
    what would keep the run from sending, a guard's words each.
    """

    flow: str
    build: str | None
    new: int
    changed: int
    deletes: int
    rechecks: int
    wrong: int
    known: int
    resting: dict[State, int]
    holds: list[str]
    samples: list[Sample]

    @property
    def changes(self) -> int:
        """How many rows one plan would change, deletes included."""
        return self.new + self.changed + self.deletes


@dataclass(frozen=True)
class _Wanted:
    payload: Payload
    hash: str
    is_delete: bool = False
    parameters: Payload = field(default_factory=dict[str, Any])
    asked: str = ""
    """Hash of the payload that the serve table asks for, where a person mended it."""


_DELETED = _Wanted({}, payload_hash({}), is_delete=True)


@dataclass
class _Item:
    """One key's work in this run."""

    key: str
    wanted: _Wanted | None = None
    """What the target should hold; None when no row asks for it any more, or none can be made (`error`)."""
    error: str = ""
    last: Entry | None = None
    """Its last transition, kept up to date."""
    digest: str | None = None
    open: _Wanted | None = None
    """What was sent, in this run or an earlier one, and may or may not be at the target."""
    sends: int = 0
    not_before: float = 0
    """Monotonic time before which it must not be sent again when it cannot be found."""
    is_forced: bool = False
    """Whether a conflict is settled in our favour, by a person or by the flow's rule."""
    decision: Decision | None = None
    pre_image: Payload | None = None

    @property
    def subject(self) -> _Wanted | None:
        """What its next transition is about."""
        return self.open or self.wanted


_Verdict = Literal["finished", "later", "create"] | Found
"""What to do with an item: nothing more, wait, create its record, or change the one that was found."""


def run_flow(
    flow: FlowConfig,
    *,
    target: Target | None = None,
    on_step: OnStep | None = None,
    on_reply: OnReply | None = None,
    wait_seconds: float = 60,
) -> FlowResult:
    """Run one flow and say what became of its rows; failures of single rows do not stop the others.

    `target` is opened from the flow's definition unless given. `on_step` is called a few times a chunk, `on_reply` for
    each row. `wait_seconds` is how long to wait for another run of the same flow.

    Raised, all before anything was sent: ConfigurationError (a column, a system or a value that is missing, an
    operation that the target does not have), TransientError (another run holds the flow), ServiceError (lake or
    PostgreSQL), SchemaError (null or double keys in the serve table), TerminalError (the serve table is not built).
    What goes wrong later, an unreachable or refusing target included, is in the result: `stopped` and the counts.
    """
    with sync_log.run():
        hops = FlowHops(flow)

        def step(name: str, what: str) -> None:
            hops.step(name)
            if on_step:
                on_step(name, what)

        try:
            with lease(flow.flow, wait_seconds=wait_seconds) as held:
                if pause := decisions.paused(flow.flow):
                    result, rows = _paused(flow, pause), 0
                else:
                    result, rows = _run(flow, target, held, step, on_reply)
        except Exception as error:
            hops.failed(error)
            raise
        hops.ended(result, rows)
        return result


def _run(
    flow: FlowConfig, target: Target | None, held: Lease, on_step: OnStep, on_reply: OnReply | None
) -> tuple[FlowResult, int]:
    """The result of a run, and how many rows its serve table has."""
    opened = target or _open(flow)
    try:
        run = _Run(flow, opened, held)
        run.on_step, run.on_reply = on_step, on_reply or run.on_reply
        return run.run(), run.source.rows
    finally:
        if target is None:
            opened.close()


def dry_run(flow: FlowConfig, *, target: Target | None = None, samples: int = _MAX_SAMPLES) -> Preview:
    """What a run would do now, with a few changes before and after; the target is only read. Raises as `run_flow`."""
    opened = target or _open(flow)
    try:
        return _Run(flow, opened, None).preview(samples)
    finally:
        if target is None:
            opened.close()


def _open(flow: FlowConfig) -> Target:
    from datong_ingestion.write_back.systems import open_target

    return open_target(flow)


def _paused(flow: FlowConfig, pause: Decision) -> FlowResult:
    counted = ledger.state_counts(flow.flow).get(flow.flow, {})
    left = {state: number for state, number in counted.items() if state not in SETTLED}
    return FlowResult(
        flow=flow.flow,
        run_id="",
        planned=sum(left.values()),
        verified=0,
        cancelled=0,
        waiting=left.get("planned", 0) + left.get("sent", 0),
        sent=0,
        already=0,
        seconds=0,
        problems={},
        failed=left.get("failed", 0),
        dead=left.get("dead", 0),
        conflict=left.get("conflict", 0),
        unknown=left.get("unknown", 0),
        waiting_for_approval=left.get("waiting_for_approval", 0),
        held=f"{pause.about} is paused: {pause.told}",
    )


class _HeldError(Exception):
    """A person paused the flow while it ran."""


class _Run:
    on_step: OnStep = staticmethod(lambda _step, _what: None)
    on_reply: OnReply = staticmethod(lambda _key, _outcome: None)

    def __init__(self, flow: FlowConfig, target: Target, held: Lease | None) -> None:
        self.flow = flow
        self.target = target
        self.lease = held
        self.run_id = uuid.uuid4().hex
        self.ledger = Ledger(flow.flow)
        missing = [name for name in flow.operations if name not in target.operations]
        if missing:
            raise config.ConfigurationError(
                f"write-back flow {flow.flow}",
                f"may {', '.join(missing)}, which its target {flow.target.system} cannot.",
                f"choose from {', '.join(sorted(target.operations))}.",
            )
        self.source = Source(flow, self.ledger)
        self.builder = PayloadBuilder(flow, self.source.schema, target.dialect)
        self.entries: list[Entry] = []
        """Transitions to commit with the next append."""
        self.done: Counter[State] = Counter()
        self.problems: dict[str, str] = {}
        self.total = self.sent = self.already = self.gated = 0
        self.held = _hold(flow)
        """Why nothing is sent in this run; empty when it is."""
        self.too_much: DatongError | None = None
        """Why nothing new is planned: a ceiling."""
        self.asks: frozenset[str] = frozenset()
        """What waits for approval of what is planned newly: change, delete."""
        self.verdicts = decisions.waiting(flow.flow) if held is not None else []
        self.by_key = {one.key: one for one in self.verdicts if one.key is not None}
        self.outcomes: dict[int, str] = {}
        self.gated_keys: set[str] = set()
        """Keys with a decision that waits with them."""
        self.touched: Counter[int] = Counter()
        """Rows that each decision about a whole flow was carried out on."""
        self.paced = 0.0

    def run(self) -> FlowResult:
        started = time.monotonic()
        stopped: DatongError | None = None
        try:
            self._guard()
            self._work()
        except _HeldError as pause:
            self.held = str(pause)
        except DatongError as error:
            stopped = error
        stopped = stopped or self.too_much
        if stopped is None:
            self._close_decisions()
        return FlowResult(
            flow=self.flow.flow,
            run_id=self.run_id,
            planned=self.total,
            verified=self.done["verified"],
            failed=self.done["failed"],
            dead=self.done["dead"],
            conflict=self.done["conflict"],
            unknown=self.done["unknown"],
            cancelled=self.done["cancelled"],
            waiting_for_approval=self.done["waiting_for_approval"],
            waiting=self.total - self.done.total(),
            gated=self.gated,
            sent=self.sent,
            already=self.already,
            seconds=round(time.monotonic() - started, 3),
            problems=self.problems,
            stopped=stopped,
            held=self.held,
        )

    # guards

    def _guard(self) -> None:
        """Hold what would be planned newly against the ceilings, and see whether a person is to be asked."""
        guards = self.flow.guards
        deletes = "delete" in self.flow.operations
        if guards.approve_above is None and not _ceilings(guards) and not deletes:
            return
        counted = self._counted(0)
        if words := beyond(self.flow, counted):
            through = next(
                (one for one in self.verdicts if one.plan == decisions.CEILING and _enough(one, counted)), None
            )
            if through is None:
                self.too_much = TerminalError(
                    f"write-back flow {self.flow.flow}",
                    f"plans too much, so nothing new is planned: {'; '.join(words)}.",
                    f"look at it (`datong write-back {self.flow.flow} --dry-run`); if it is right, let it through "
                    f"once: `datong flows approve {self.flow.flow} --ceiling --changes {counted.changes} "
                    f"--deletes {counted.deletes} --why ...`.",
                )
            else:
                self.outcomes[through.id] = f"let through: {counted.changes} changes, {counted.deletes} of them deletes"
        asks = {"delete"} if guards.approve_deletes else set[str]()
        if guards.approve_above is not None and counted.changes > guards.approve_above:
            asks |= {"change", "delete"}
        self.asks = frozenset(asks)

    def preview(self, samples: int) -> Preview:
        """What a run would do; samples with what the target holds."""
        found = self._counted(samples)
        pause = decisions.paused(self.flow.flow)
        holds = [f"{pause.about} is paused: {pause.told}"] if pause else []
        holds += [self.held] if self.held else []
        holds += beyond(self.flow, found)
        guards = self.flow.guards
        if guards.approve_above is not None and found.changes > guards.approve_above:
            holds.append(f"{found.changes} changes wait for approval: it is asked for above {guards.approve_above}")
        elif guards.approve_deletes and found.deletes:
            holds.append(f"{found.deletes} deletes wait for approval")
        return replace(found, holds=holds, samples=self._before(found.samples))

    def _counted(self, samples: int) -> Preview:
        kinds: Counter[str] = Counter()
        resting: Counter[State] = Counter()
        shown: list[Sample] = []
        for candidate in self.source.candidates():
            item, kind = self._kind(candidate)
            kinds[kind] += 1
            if candidate.last is not None and candidate.last.state not in SETTLED:
                resting[candidate.last.state] += 1
            if kind in {"new", "changed", "delete", "wrong"} and len(shown) < samples:
                after = item.wanted.payload if item.wanted and not item.wanted.is_delete else None
                change = "delete" if kind == "delete" else "create" if kind == "new" else "update"
                shown.append(Sample(item.key, change, None, after, item.error))
        return Preview(
            flow=self.flow.flow,
            build=self.source.build,
            new=kinds["new"],
            changed=kinds["changed"],
            deletes=kinds["delete"],
            rechecks=kinds["recheck"],
            wrong=kinds["wrong"],
            known=self.source.known(),
            resting=dict(resting),
            holds=[],
            samples=shown,
        )

    def _before(self, samples: Sequence[Sample]) -> list[Sample]:
        held = self.target.lookup([one.key for one in samples]) if samples else {}
        told: list[Sample] = []
        for one in samples:
            found = held.get(one.key, [])
            if isinstance(found, DatongError):
                told.append(replace(one, words=f"could not be looked up: {found}"))
                continue
            if len(found) > 1:
                told.append(replace(one, words=_several(found)))
                continue
            before = self.builder.image(found[0].fields) if found else None
            change = one.change if one.change == "delete" else "create" if before is None else "update"
            if change == "update" and "call" in self.flow.operations:
                change = "call"
            same = found and one.after is not None and not self.builder.differences(one.after, found[0].fields)
            told.append(replace(one, before=before, change=change, words="the target holds it already" if same else ""))
        return told

    # plan

    def _kind(self, one: Candidate) -> tuple[_Item, str]:
        """What a candidate is: open, cancel, wrong, new, changed, delete, recheck, renew (unchanged, its digest is an
        old one), or the state in which it is left."""
        last = one.last
        item = _Item(one.key, last=last, digest=one.digest)
        if one.row is not None:
            try:
                payload = self.builder.build(one.row)
                item.wanted = _Wanted(payload, payload_hash(payload), parameters=self.builder.parameters(one.row))
            except ValueError as error:
                item.error = f"its payload cannot be made: {error}"
        elif one.is_gone and "delete" in self.flow.operations and _was_ours(last):
            item.wanted = _DELETED
        if last is not None and last.state in OPEN:
            return item, "open"
        if item.error:
            same = last is not None and last.state in {"failed", "dead"} and last.source_digest == one.digest
            return item, last.state if last is not None and same else "wrong"
        if item.wanted is None:
            return item, "cancel" if last is not None and last.state not in SETTLED else "none"
        same = (
            last is not None
            and (last.wanted_hash or last.payload_hash) == item.wanted.hash
            and (last.operation == "delete") == item.wanted.is_delete
            and not (last.state == "cancelled" and last.wanted_hash is None)
        )
        if last is None or not same:
            return item, "delete" if item.wanted.is_delete else "new" if last is None else "changed"
        if last.payload is not None and last.wanted_hash is not None and last.payload_hash != last.wanted_hash:
            mended: Payload = json.loads(last.payload)
            item.wanted = replace(item.wanted, payload=mended, hash=last.payload_hash, asked=last.wanted_hash)
        if last.state == "verified":
            return item, "recheck" if self.flow.pending and self.flow.changes_records else "renew"
        return item, "renew" if last.state == "cancelled" else last.state

    def _planned(self, one: Candidate) -> _Item | None:
        """The item to work on now; None when it is left as it is, or for later."""
        item, kind = self._kind(one)
        if kind == "none":
            return None
        if kind == "renew":
            last = item.last
            if last is not None and last.source_digest != item.digest:
                told: dict[str, Any] = {"target_key": last.target_key, "etag": last.etag, "decision": last.decision}
                self._record(
                    item, last.state, "unchanged; its digest is made in another way now", last.operation, **told
                )
            return None
        self.total += 1
        item.decision = self._decision(item)
        if kind == "open":
            self._reopen(item)
        elif kind == "cancel":
            self._close(item, "cancelled", "not wanted any more, or done by others")
            return None
        elif kind in {"new", "changed", "delete"}:
            if item.decision is not None:
                self._carried(item, "not carried out: something else is wanted by now")
            if self.too_much is not None or not self._plan(item):
                return None
        elif not self._resume(item, kind):
            return None
        if one.is_gated:
            self.gated += 1
            if item.decision is not None:
                self.gated_keys.add(one.key)
        return None if one.is_gated or self.held else item

    def _plan(self, item: _Item) -> bool:
        """Record what is wanted newly; whether it may go out."""
        if ("delete" if item.wanted and item.wanted.is_delete else "change") in self.asks:
            self._close(item, "waiting_for_approval", "waits for approval", plan=self.run_id)
            return False
        self._record(item, "planned")
        return True

    def _resume(self, item: _Item, kind: str) -> bool:  # noqa: PLR0911 each state has its own way on
        """Go on with what an earlier run left, by what a person decided about it; whether it may go out now."""
        last, decided = item.last, item.decision
        if kind in {"wrong", "recheck"} or last is None:
            if kind == "wrong":
                self._close(item, "failed", item.error)
            return kind == "recheck"
        if decided is not None:
            return self._carry_out(item, last, decided)
        if last.state == "failed" and (last.next_at is None or last.next_at <= now()):
            if item.error:
                self._close(item, "failed", item.error)
                return False
            self._record(item, "planned", "tried again")
            return True
        if last.state in {"failed", "dead", "waiting_for_approval"}:
            self._finish(item, last.state, last.words or "")
            return False
        if last.state == "conflict" and self.held:
            self._finish(item, last.state, last.words or "")
            return False
        return True

    def _decision(self, item: _Item) -> Decision | None:
        """What a person decided about an item: about its key, else about all of its state."""
        last = item.last
        if (own := self.by_key.get(item.key)) is not None:
            return own
        for one in self.verdicts:
            if one.key is not None or one.plan == decisions.CEILING or last is None:
                continue
            states = decisions.OF_A_FLOW.get(one.kind, ())
            if last.state in states and last.at <= one.decided_at and one.plan in {None, last.plan}:
                return one
        return None

    def _carry_out(self, item: _Item, last: Entry, decided: Decision) -> bool:
        """Do what a person decided about an item that rests; whether it may go out now."""
        kind, words = decided.kind, f"{decided.kind} by {decided.who}: {decided.why}"
        goes_on = last.state == "planned" and last.decision == decided.id
        if not goes_on and last.state not in decisions.ALLOWED.get(kind, ()):
            self._carried(item, f"not carried out: it is {last.state} by now")
            item.decision = None
            return self._resume(item, last.state)
        if kind in {"reject", "cancel", "accept_theirs"}:
            self._close(item, "cancelled", words, decision=decided.id, held=None)
            return False
        may_change = self.flow.changes_records or (item.wanted is not None and item.wanted.is_delete)
        if kind == "accept_ours" and not may_change and last.held is not None:
            self._carried(item, "not carried out: the flow may not change a record that exists")
            item.decision = None
            return self._resume(item, last.state)
        if item.error:
            self._close(item, "failed", item.error, decision=decided.id)
            return False
        if kind == "mend" and not goes_on and not self._mend(item, decided):
            item.decision = None
            return self._resume(item, last.state)
        item.is_forced = kind in {"retry", "mend", "accept_ours"}
        if not goes_on:
            self._record(item, "planned", words, decision=decided.id, tries=0)
        return True

    def _mend(self, item: _Item, decided: Decision) -> bool:
        """Give an item the new values that a person decided on; False where they cannot be sent."""
        if item.wanted is None or item.wanted.is_delete:
            self._carried(item, "not carried out: the record is to be deleted")
            return False
        try:
            payload = {**item.wanted.payload, **self.builder.mended(decided.payload or {})}
        except ValueError as error:
            self._carried(item, f"not carried out: {error}")
            return False
        asked = item.wanted.asked or item.wanted.hash
        item.wanted = replace(item.wanted, payload=payload, hash=payload_hash(payload), asked=asked)
        return True

    def _carried(self, item: _Item, outcome: str) -> None:
        """What came of the decision about an item."""
        if item.decision is None:
            return
        if item.decision.key is None:
            self.touched[item.decision.id] += 1
        else:
            self.outcomes[item.decision.id] = outcome

    def _close_decisions(self) -> None:
        """Mark the decisions that this run has carried out as far as it goes; those of a held run wait."""
        if self.held:
            return
        for one in self.verdicts:
            if one.plan == decisions.CEILING:
                continue
            if one.key is None:
                self.outcomes[one.id] = f"carried out on {self.touched[one.id]} rows"
            elif one.id not in self.outcomes and one.key not in self.gated_keys:
                last = ledger.row(self.flow.flow, one.key)
                self.outcomes[one.id] = f"not carried out: it is {last.state if last else 'unknown to us'} by now"
        self._commit()

    # work

    def _work(self) -> None:
        """Plan and work through the candidates, a chunk at a time; what has to wait is taken up again when due."""
        ready: list[_Item] = []
        later: list[_Item] = []
        for candidate in self.source.candidates():
            if (item := self._planned(candidate)) is not None:
                ready.append(item)
            if len(ready) >= _PLAN_ROWS:
                later += self._go(ready)
                ready = []
            elif len(self.entries) >= _PLAN_ROWS:
                self._commit()
        self._commit()
        self.on_step("planned", f"{self.total} rows")
        later += self._go(ready)
        while later:
            time.sleep(max(0.0, min(item.not_before for item in later) - time.monotonic()))
            due = time.monotonic()
            ready = [item for item in later if item.not_before <= due]
            later = [item for item in later if item.not_before > due]
            later += self._go(ready)

    def _go(self, items: Sequence[_Item]) -> list[_Item]:
        """Work on items, a chunk at a time; returns those that have to be tried again later."""
        self._commit()
        # a big plan in bigger chunks: every chunk is two commits to the ledger
        size = max(self.flow.chunk_rows, _BIG_CHUNK_ROWS if len(items) >= _PLAN_ROWS else 0)
        later: list[_Item] = []
        for at in range(0, len(items), size):
            if pause := decisions.paused(self.flow.flow):
                raise _HeldError(f"{pause.about} is paused: {pause.told}")
            later += self._chunk(items[at : at + size])
        return later

    def _reopen(self, item: _Item) -> None:
        last = item.last
        if last is None:
            return
        is_delete = last.operation == "delete"
        sent = _Wanted(json.loads(last.payload or "{}"), last.payload_hash, is_delete, asked=last.wanted_hash or "")
        if item.wanted is not None and (item.wanted.hash, item.wanted.is_delete) == (sent.asked, is_delete):
            # what a person mended stays so while the serve table asks for the same
            item.wanted = replace(item.wanted, payload=sent.payload, hash=sent.hash, asked=sent.asked)
        item.open = sent
        age = max(0.0, (now() - last.at).total_seconds())
        item.not_before = time.monotonic() + max(0.0, self.flow.settle_seconds - age)

    def _chunk(self, chunk: Sequence[_Item]) -> list[_Item]:
        """Work on a chunk; returns the items that have to be tried again later."""
        self._check_lease()
        held = self._look(chunk)
        self.on_step("looked", f"{len(held)} keys")
        again: list[_Item] = []
        changes: list[tuple[_Item, Change]] = []
        for item in chunk:
            found = held.get(item.key, [])
            if isinstance(found, DatongError):
                self._not_known(item, found)
                continue
            verdict = self._decide(item, found)
            if verdict == "later":
                again.append(item)
            elif verdict != "finished":
                changes.append((item, self._intend(item, None if verdict == "create" else verdict)))
        self._commit(held)
        self.on_step("intended", f"{len(changes)} rows")
        return again + self._send(changes) if changes else again

    def _not_known(self, item: _Item, error: DatongError) -> None:
        """What the target holds for an item cannot be had now; nothing is sent without having looked first."""
        if isinstance(error, RefusedLaterError) and item.open is not None:
            self._close(item, "failed", error.reason)
            return
        words = error.reason if isinstance(error, AwaitedError) else f"could not be looked up: {error}"
        last = item.last
        if item.open is None:
            self._close(item, "failed", words)
        elif last is not None and last.state == "unknown" and last.words == words[:_MAX_WORDS]:
            self._finish(item, "unknown", words)
        else:
            self._close(item, "unknown", words, status=last.status if last else None)

    def _check_lease(self) -> None:
        if self.lease is not None:
            self.lease.check()

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
        held = self.target.lookup([probe], {})
        if isinstance(error := held[probe], DatongError):
            raise error
        return held

    def _decide(self, item: _Item, found: Sequence[Found]) -> _Verdict:
        """What to do with an item, given what the target holds for its key."""
        if len(found) > 1:
            return self._close(item, "conflict", _several(found))
        record = found[0] if found else None
        if item.open is not None and (verdict := self._decide_open(item, item.open, record)):
            return verdict
        if item.wanted is None:
            return self._close(item, "failed", item.error)
        return self._decide_wanted(item, item.wanted, record)

    def _decide_wanted(  # noqa: PLR0911 each case has its own verdict
        self, item: _Item, wanted: _Wanted, record: Found | None
    ) -> _Verdict:
        """The same for what is wanted now, when nothing sent before is in doubt."""
        if record is None:
            if wanted.is_delete:
                # a target that cannot be asked is told, whatever it holds
                return self._held_already(item, None) if self.target.can_be_asked else "create"
            if item.last is not None and _stuck(item.last, wanted) and not item.is_forced:
                return self._vanished(item, item.last)
            if "create" not in self.flow.operations:
                return self._close(item, "failed", "the target has no such record")
            return "create"
        different = self._differences(wanted, record)
        if not different:
            return self._held_already(item, record)
        rests = item.last is not None and item.last.state == "conflict" and not item.is_forced
        if rests and self.flow.on_conflict != "ours":
            return self._conflict(item, "; ".join(different), record)
        if not wanted.is_delete and not self.flow.changes_records:
            return self._conflict(item, "; ".join(different), record)
        return record

    def _held_already(self, item: _Item, record: Found | None) -> Literal["finished"]:
        """The target is as it should be without anything being sent."""
        self.already += 1
        if item.last is None or item.last.state != "verified" or item.last.source_digest != item.digest:
            words = "the target held it already" if record else "the target did not hold it any more"
            told: dict[str, Any] = {"target_key": record.target_key, "etag": record.etag} if record else {}
            self._record(item, "verified", words, **told)
        return self._finish(item, "verified")

    def _differences(self, wanted: _Wanted, record: Found | None) -> list[str]:
        """Where the target is not as wanted; empty when it is."""
        if wanted.is_delete and not self.target.can_be_asked:
            return [] if record else ["not taken"]
        if wanted.is_delete:
            return ["the target holds it"] if record else []
        return self.builder.differences(wanted.payload, record.fields) if record else ["not found"]

    def _decide_open(  # noqa: PLR0911 each case has its own verdict
        self, item: _Item, sent: _Wanted, record: Found | None
    ) -> _Verdict | None:
        """The same for an item that was sent before; None to go on with what is wanted now."""
        different = self._differences(sent, record)
        wanted = item.wanted
        changed = item.error or (wanted and (wanted.hash, wanted.is_delete) != (sent.hash, sent.is_delete))
        if not different:
            told: dict[str, Any] = {"target_key": record.target_key, "etag": record.etag} if record else {}
            self._record(item, "verified", "read back", **told)
            if not changed:
                return self._finish(item, "verified")
        elif record is None and item.last is not None and _accepted(item.last):
            # it was there, or the target lied: to make another one is a decision for people
            return self._vanished(item, item.last)
        elif time.monotonic() < item.not_before:
            return "later"
        elif wanted is None and not item.error:
            if record is None or sent.is_delete:
                return self._close(item, "cancelled", f"{'; '.join(different)}, and not wanted any more")
            return self._conflict(item, "; ".join(different), record)
        elif changed:
            self._record(item, "cancelled", f"did not arrive ({'; '.join(different)}); something else is wanted by now")
        if changed:
            item.open = None
            if wanted is not None and not self._plan(item):
                return "finished"
        return None

    def _vanished(self, item: _Item, last: Entry) -> Literal["finished"]:
        """It was there, or the target lied: whether to make another one is a decision for people."""
        words = (
            "the target accepted it earlier and does not show it now; if it shall be sent again: "
            f"`datong flows retry {self.flow.flow} {item.key} --why ...`"
        )
        return self._close(item, "conflict", words, status=last.status, target_key=last.target_key)

    def _conflict(self, item: _Item, words: str, record: Found | None, **told: Any) -> Literal["finished"]:
        """A conflict, shown with what the target holds, and settled at once where the flow's rule is theirs."""
        if record is not None:
            told |= {"target_key": record.target_key, "held": _json(self.builder.image(record.fields))}
        if self.flow.on_conflict != "theirs":
            return self._close(item, "conflict", words, **told)
        self._record(item, "conflict", words, **told)
        return self._close(
            item, "cancelled", "what the target holds stays, by the flow's rule for conflicts", keep=True
        )

    def _intend(self, item: _Item, record: Found | None) -> Change:
        """The intent to send, as the item's next transition."""
        wanted = item.open = item.wanted or _DELETED
        item.sends += 1
        self.sent += item.sends == 1
        operation: config.Operation = (
            "delete"
            if wanted.is_delete
            else "create"
            if record is None
            else "call"
            if "call" in self.flow.operations
            else "update"
        )
        item.pre_image = self.builder.image(record.fields) if record else None
        entry = self._record(
            item,
            "sent",
            operation=operation,
            etag=record.etag if record else None,
            target_key=record.target_key if record else None,
            pre_image=_json(item.pre_image) if item.pre_image is not None else None,
        )
        return Change(item.key, wanted.payload, entry.idempotency_key, record, operation, wanted.parameters)

    def _send(self, changes: Sequence[tuple[_Item, Change]]) -> list[_Item]:
        self._check_lease()
        outcomes: dict[str, Outcome] = {}
        for paced in self._paced([change for _, change in changes]):
            outcomes |= self.target.send(paced, lambda change, outcome: self.on_reply(change.key, outcome.kind))
        self.on_step("sent", f"{len(changes)} rows")
        for item, _ in changes:
            item.not_before = time.monotonic() + self.flow.settle_seconds
        held = self._read_back([item for item, _ in changes], outcomes)
        self.on_step("read_back", f"{len(held)} keys")
        again = [item for item, change in changes if self._judge(item, change, outcomes[item.key], held.get(item.key))]
        self._commit(held)
        self.on_step("recorded", f"{len(changes)} rows")
        return again

    def _paced(self, changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
        """The changes in portions, not faster than the flow's rate."""
        if self.flow.rate is None:
            yield changes
            return
        size = max(1, int(self.flow.rate))
        for at in range(0, len(changes), size):
            time.sleep(max(0.0, self.paced - time.monotonic()))
            portion = changes[at : at + size]
            self.paced = time.monotonic() + len(portion) / self.flow.rate
            yield portion

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
            pending = [item for item in pending if outcomes[item.key].kind == "accepted" and self._is_late(item, held)]
        return held

    def _is_late(self, item: _Item, held: dict[str, list[Found] | DatongError]) -> bool:
        """Whether the target does not show yet what it accepted."""
        found = held.get(item.key, [])
        if item.open is not None and item.open.is_delete and self.target.can_be_asked:
            return bool(found)
        return found == []

    def _judge(self, item: _Item, change: Change, outcome: Outcome, found: list[Found] | DatongError | None) -> bool:
        """Record what became of a change that was sent; True when it has to be tried again later."""
        told: dict[str, Any] = {
            "status": outcome.status,
            "operation": change.operation,
            "etag": change.found.etag if change.found else None,
            "target_key": outcome.target_key or (change.found.target_key if change.found else None),
        }
        if outcome.kind == "refused":
            self._close(item, "failed", outcome.words, **told)
        elif outcome.kind == "not_sent":
            if item.sends < self.flow.attempts:
                item.not_before = time.monotonic() + (outcome.retry_after or min(1.0, self.flow.settle_seconds))
                return True
            self._close(item, "failed", outcome.words, **told)
        elif isinstance(found, AwaitedError):
            self._close(item, "unknown", f"{outcome.words} {found.reason}".strip(), **told)
        elif isinstance(found, RefusedLaterError):
            self._close(item, "failed", f"{outcome.words} {found.reason}".strip(), **told)
        elif found is None or isinstance(found, DatongError):
            self._close(item, "unknown", f"{outcome.words} Could not be read back: {found}", **told)
        elif len(found) > 1:
            self._close(item, "conflict", _several(found), **told)
        else:
            return self._judge_found(item, outcome, found[0] if found else None, told)
        return False

    def _judge_found(self, item: _Item, outcome: Outcome, record: Found | None, told: dict[str, Any]) -> bool:
        """The same, by what the target holds now."""
        different = self._differences(item.open or _DELETED, record)
        words = f"{outcome.words} Read back: {'; '.join(different)}".strip()
        if not different:
            told |= {"target_key": record.target_key, "etag": record.etag} if record else {}
            self._record(item, "verified", outcome.words or "read back", **told)
            self._finish(item, "verified")
        elif outcome.kind == "conflict":
            return self._contested(item, words, record, told)
        elif outcome.kind == "accepted" and record is not None:
            self._conflict(item, words, record, **told)
        elif outcome.kind == "unclear" and item.sends < self.flow.attempts:
            return True
        else:
            self._close(item, "unknown", words, **told)
        return False

    def _contested(self, item: _Item, words: str, record: Found | None, told: dict[str, Any]) -> bool:
        """Somebody was quicker (412), or made the record (409). It is shown, and tried again where the flow's rule says
        so or where the fields that we write are as they were."""
        image = self.builder.image(record.fields) if record else None
        untouched = image is not None and image == item.pre_image
        ours = self.flow.on_conflict == "ours" and (self.flow.changes_records or record is None)
        if not (untouched or ours or item.is_forced) or item.sends >= self.flow.attempts:
            self._conflict(item, words, record, **told)
            return False
        why = "none of the fields that we write was touched" if untouched else "our value is to stand"
        held: dict[str, Any] = {"held": _json(image)} if image is not None else {}
        self._record(item, "conflict", f"{words} Sent again: {why}.", **told, **held)
        # it was refused, so nothing is in doubt, and the record is read anew before it is sent again
        item.open, item.is_forced, item.not_before = None, True, time.monotonic()
        return True

    def _close(self, item: _Item, state: State, words: str, **told: Any) -> Literal["finished"]:
        """The item's last transition in this run; a conflict that is as it was needs none."""
        last = item.last
        if state == "failed":
            tries = self._tries(item) + 1
            if tries >= self.flow.retry.attempts:
                state = "dead"
            told |= {"tries": tries, "next_at": None if state == "dead" else now() + self.flow.retry.wait(tries)}
        as_it_was = (
            state == "conflict"
            and last is not None
            and last.state == state
            and (last.held == told.get("held") if last.held else last.words == words[:_MAX_WORDS])
        )
        if not as_it_was:
            self._record(item, state, words, **told)
        return self._finish(item, state, words)

    def _finish(self, item: _Item, state: State, words: str = "") -> Literal["finished"]:
        self.done[state] += 1
        if state not in {"verified", "cancelled"} and len(self.problems) < _MAX_PROBLEMS:
            self.problems[item.key] = f"{state}: {words}"
        self._carried(item, f"{state}: {words}"[:_MAX_WORDS] if words else state)
        return "finished"

    def _tries(self, item: _Item) -> int:
        """Runs in which this very change failed so far."""
        last, subject = item.last, item.subject
        if last is None or last.state in SETTLED:
            return 0
        same = last.wanted_hash == (subject.asked or subject.hash) if subject else last.source_digest == item.digest
        return (last.tries or 0) if same else 0

    def _record(
        self,
        item: _Item,
        state: State,
        words: str = "",
        operation: Operation | None = None,
        *,
        keep: bool = False,
        **told: Any,
    ) -> Entry:
        """Add the item's next transition to the next commit.

        A change keeps its idempotency key until it is closed: a target that remembers a refusal under a key would
        otherwise repeat it forever. What is cancelled by nobody's word may be planned again as it is: it keeps neither
        hash nor digest (`keep`: a rule's word).
        """
        last = item.last
        subject = item.subject
        digest = subject.hash if subject else last.payload_hash if last else ""
        going_on = (
            last is not None
            and last.state in {"planned", "waiting_for_approval", *OPEN}
            and last.payload_hash == digest
        )
        step = (last.step if last else 0) + 1
        name = f"datong:write-back:{self.flow.flow}|{item.key}|{digest}|{step}"
        goes_on = last if going_on else None
        kept = keep or state != "cancelled" or told.get("decision") is not None
        none: Operation = "delete" if subject is not None and subject.is_delete else "none"
        given: dict[str, Any] = {
            "tries": self._tries(item) or None,
            "plan": goes_on.plan if goes_on else None,
            "decision": goes_on.decision if goes_on else None,
            "build": self.source.build,
            "wanted_hash": (subject.asked or subject.hash) if subject and kept else None,
            "source_digest": item.digest if kept else None,
            **told,
        }
        entry = Entry(
            flow=self.flow.flow,
            key=item.key,
            step=step,
            state=state,
            operation=operation or (goes_on.operation if goes_on and goes_on.operation != "none" else none),
            idempotency_key=goes_on.idempotency_key if goes_on else str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            payload_hash=digest,
            payload=dumps(subject.payload) if subject else None,
            attempt=(goes_on.attempt if goes_on else 0) + (state == "sent"),
            run_id=self.run_id,
            at=now(),
            words=words[:_MAX_WORDS] or None,
            **given,
        )
        item.last = entry
        self.entries.append(entry)
        return entry

    def _commit(self, looked_up: Collection[str] = ()) -> None:
        """Commit the transitions, and then what they carry out; `looked_up` are the keys that they tell of."""
        self.ledger.append(self.entries)
        self.entries = []
        if looked_up:
            self.target.recorded(list(looked_up))
        decisions.carried_out(self.outcomes)
        self.outcomes = {}


def beyond(flow: FlowConfig, counted: Preview) -> list[str]:
    """Where a plan goes beyond the flow's ceilings, in words; empty when it does not."""
    guards, known = flow.guards, counted.known
    told: list[str] = []
    for name, number, most, share in (
        ("changes", counted.changes, guards.max_changes, guards.max_share),
        ("deletes", counted.deletes, guards.max_deletes, guards.max_delete_share),
    ):
        if most is not None and number > most:
            told.append(f"{number} {name}, and the ceiling is {most}")
        if share is not None and known and number > share * known:
            told.append(
                f"{number} {name} are {number / known:.1%} of the {known} rows known, and the ceiling is {share:.1%}"
            )
    return told


def _ceilings(guards: config.Guards) -> bool:
    return guards.max_changes is not None or guards.max_share is not None


def _enough(approval: Decision, counted: Preview) -> bool:
    """Whether a person let this many through."""
    given = approval.payload or {}
    return counted.changes <= int(given.get("changes", 0)) and counted.deletes <= int(given.get("deletes", 0))


def _hold(flow: FlowConfig) -> str:
    """Why a flow sends nothing now: a freeze, or rows of a flow that comes first; empty when it may."""
    for freeze in flow.guards.freeze:
        if until := freeze.until_when(datetime.now(UTC)):
            return f"frozen until {until:%Y-%m-%d %H:%M} ({freeze.timezone}): {freeze.why}"
    for gate in flow.after:
        if not gate.by:
            counted = ledger.state_counts(gate.flow).get(gate.flow, {})
            if left := {state: number for state, number in counted.items() if state not in SETTLED}:
                told = ", ".join(f"{number} {state}" for state, number in left.items())
                return f"flow {gate.flow} comes first and is not done: {told}"
    return ""


def _was_ours(last: Entry | None) -> bool:
    """Whether the target is known to hold the record, or is being told to delete it."""
    if last is None:
        return False
    return last.operation != "delete" if last.state == "verified" else last.operation == "delete"


def _stuck(last: Entry | None, wanted: _Wanted) -> bool:
    """Whether this very change was accepted once and then could not be found."""
    return last is not None and last.state == "conflict" and last.payload_hash == wanted.hash and _accepted(last)


def _accepted(entry: Entry) -> bool:
    return entry.status is not None and 200 <= entry.status < 300


def _sent(items: Sequence[_Item]) -> dict[str, str]:
    """The idempotency keys of those that were sent and may be at the target."""
    return {item.key: item.last.idempotency_key for item in items if item.open is not None and item.last is not None}


def _several(found: Sequence[Found]) -> str:
    return f"the target holds {len(found)} records for it: {', '.join(one.target_key for one in found[:5])}"


def _json(image: Payload) -> str:
    return json.dumps(image, sort_keys=True, ensure_ascii=False, default=str)
