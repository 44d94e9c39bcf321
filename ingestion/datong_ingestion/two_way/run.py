"""Running a synchronisation: look at both systems, decide, tell, commit the intent, send, look again.

The serve table only says where to look: its rows are as old as the last reading. What is done is decided from both
systems as they are now, so a row of the lake that is out of date, or that is our own write come back, causes no write.

1. `Memory.news` names the things whose row differs from what was agreed, and the ledger those that a run left open.
2. Per chunk both systems are asked for their records. Each field is settled (`decide.settle`) against what was agreed.
3. What both hold by now is remembered as agreed. Values that are given up are told (`ops.two_way_conflict`), the
   intents are committed to the ledger; only then do the requests go out, each with the ETag of the record just read.
4. Both systems are looked at again, and the chunk is decided again: what shows is verified, a lost race (412) is a new
   decision, what did not arrive is sent again with its idempotency key. It ends when nothing is left to send.

A crash after any step leaves a ledger and a memory from which the next run goes on: an intent that shows is taken as
agreed, so our own write is never mistaken for a change of the other system's people.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from datong_platform.errors import DatongError, ProtocolError, TerminalError
from datong_platform.lake import sync_log

from datong_ingestion.two_way.agreed import Memory
from datong_ingestion.two_way.config import SyncConfig
from datong_ingestion.two_way.decide import UNKNOWN, Base, Settlement, Value, equal, landed, text
from datong_ingestion.two_way.hops import SyncHops
from datong_ingestion.two_way.preview import too_many
from datong_ingestion.two_way.results import SyncResult
from datong_ingestion.two_way.sides import Held, base_of, gives_up, looked_up, opened, owners_of, record_of, settled_all
from datong_ingestion.two_way.values import Side
from datong_ingestion.write_back import decisions
from datong_ingestion.write_back.lease import Lease, lease
from datong_ingestion.write_back.ledger import OPEN, SETTLED, Entry, Ledger, State, now
from datong_ingestion.write_back.payload import Payload, dumps, payload_hash
from datong_ingestion.write_back.target import Change, Found, Outcome, Target

OnStep = Callable[[str, str], None]
"""Told each step and what it did, when it is done: planned, looked, intended, sent, recorded."""

_MAX_WORDS = 2000
_MAX_PROBLEMS = 20
_RACE_ROUNDS = 20
"""How often a thing that others keep changing is decided again in one run."""


@dataclass
class _Way:
    """What is going on towards one system for one thing."""

    last: Entry | None = None
    sent: dict[str, Value] = field(default_factory=dict[str, Value])
    """Values on their way, by field; empty when nothing is."""
    before: dict[str, Value] = field(default_factory=dict[str, Value])
    """What the system held when they were sent."""
    outcome: Outcome | None = None
    """What came of sending, in this run."""
    etag: str | None = None
    not_before: float = 0
    """Monotonic time before which what does not show may still be under way."""
    sends: int = 0


@dataclass
class _Thing:
    key: str
    row: Mapping[str, Any]
    base: dict[str, Base]
    ways: dict[str, _Way]
    looks: int = 0
    is_done: bool = False
    words: str = ""
    is_waiting: bool = False
    """What was sent may still be under way."""
    is_news: bool = False
    """More is agreed than was remembered."""
    is_held_back: bool = False
    """A pause keeps it from being settled: it is looked at again by the next run."""
    told: set[str] = field(default_factory=set[str])


def run_sync(
    sync: SyncConfig,
    *,
    targets: Mapping[str, Target] | None = None,
    on_step: OnStep | None = None,
    wait_seconds: float = 60,
) -> SyncResult:
    """Run one synchronisation and say what became of it; failures of single things do not stop the others.

    `targets` are opened from the definition unless given. `wait_seconds` is how long to wait for another run of it.

    Raised, all before anything was sent: ConfigurationError, TransientError (another run holds it), ServiceError (lake
    or PostgreSQL), TerminalError (the serve table is not published; more changes than its guard allows). What goes
    wrong later is in the result: `stopped` and the counts.
    """
    with sync_log.run():
        hops = SyncHops(sync)

        def step(name: str, what: str) -> None:
            hops.step(name)
            if on_step:
                on_step(name, what)

        try:
            with lease(sync.sync, wait_seconds=wait_seconds) as held, opened(sync, targets) as both:
                result = _Run(sync, Memory(sync), both, held, step).run()
        except Exception as error:
            hops.failed(error)
            raise
        hops.ended(result)
        return result


class _Run:
    def __init__(
        self, sync: SyncConfig, memory: Memory, targets: Mapping[str, Target], held: Lease, on_step: OnStep
    ) -> None:
        self.sync = sync
        self.memory = memory
        self.targets = targets
        self.held = held
        self.on_step = on_step
        self.run_id = uuid.uuid4().hex
        self.sides = {name: Side(sync, name, memory.kinds, target.dialect) for name, target in targets.items()}
        self.ledgers = {system: Ledger(sync.flow_name(system)) for system in sync.systems}
        self.owners = owners_of(sync)
        self.paused = {system: decisions.paused(sync.flow_name(system)) for system in sync.systems}
        self.asks = False
        """Whether what is wanted newly waits for a person's approval."""
        self.people: dict[tuple[str, str | None], decisions.Decision] = {}
        self.decided: list[tuple[str, decisions.Decision]] = []
        """The decisions that wait, each with the system that it is about."""
        self.carried_out: dict[int, str] = {}
        self.left: set[str] = set()
        """Things that could not be decided in this run."""
        self.entries: dict[str, list[Entry]] = {system: [] for system in sync.systems}
        self.agreed_rows: list[dict[str, Any]] = []
        self.conflicts: list[dict[str, Any]] = []
        self.count: Counter[str] = Counter()
        self.sent: Counter[str] = Counter(dict.fromkeys(sync.systems, 0))
        self.verified: Counter[str] = Counter(dict.fromkeys(sync.systems, 0))
        self.problems: dict[str, str] = {}

    def run(self) -> SyncResult:
        started = time.monotonic()
        stopped: DatongError | None = None
        self.count["agreed"] = self.memory.take_as_agreed(self.run_id)
        due, unsettled = self._due()
        self._guard(due, unsettled)
        self.on_step("planned", f"{len(due)} left over from earlier runs")
        for rows in self.memory.news(due, unsettled):
            try:
                self._chunk(rows)
            except DatongError as error:
                stopped = error
                break
        if stopped is None:
            self._close_decisions()
        decisions.carried_out(self.carried_out)
        self.memory.tidy()
        left = Counter(entry.state for ledger in self.ledgers.values() for entry in ledger.unsettled().values())
        return SyncResult(
            sync=self.sync.sync,
            run_id=self.run_id,
            looked=self.count["looked"],
            agreed=self.count["agreed"],
            sent=dict(self.sent),
            verified=self.count["verified"],
            given_up=self.count["given_up"],
            failed=left["failed"] + left["dead"],
            unknown=left["sent"] + left["unknown"],
            conflict=left["conflict"],
            waiting=self.count["waiting"],
            seconds=round(time.monotonic() - started, 3),
            problems=self.problems,
            stopped=stopped,
            waiting_for_approval=left["waiting_for_approval"],
            verified_at=dict(self.verified),
        )

    def _due(self) -> tuple[list[str], list[str]]:
        """Keys that are looked at whether there is news of them or not (left open, to be tried again, decided on), and
        all that are unsettled."""
        keys: dict[str, None] = {}
        unsettled: dict[str, None] = {}
        moment = now()
        for system, ledger in self.ledgers.items():
            known = ledger.unsettled()
            unsettled |= dict.fromkeys(known)
            for decision in decisions.waiting(self.sync.flow_name(system)):
                self.decided.append((system, decision))
                for key, entry in known.items():
                    # what a person said of one row counts more than what was said of them all
                    if _is_about(decision, key, entry) and (decision.key or (system, key) not in self.people):
                        self.people[system, key] = decision
                        keys[key] = None
            for key, entry in known.items():
                is_due = entry.state == "failed" and (entry.next_at is None or entry.next_at <= moment)
                if entry.state in {"planned", *OPEN} or is_due:
                    keys[key] = None
        return list(keys), list(unsettled)

    def _guard(self, due: Sequence[str], unsettled: Sequence[str]) -> None:
        """Hold what would be looked at against the ceiling, and see whether a person is to be asked."""
        guards = self.sync.guards
        if guards.max_changes is None and guards.approve_above is None:
            return
        count = self.memory.news_count(due, unsettled)
        if words := too_many(self.sync, count):
            raise TerminalError(
                f"two-way synchronisation {self.sync.sync}",
                f"{words}; nothing was sent.",
                f"look at it (`datong write-back {self.sync.sync} --dry-run`); if it is right, raise "
                "guards.max_changes for one run.",
            )
        self.asks = guards.approve_above is not None and count > guards.approve_above

    def _close_decisions(self) -> None:
        """Mark the decisions that found nothing to do; those of a system that may not be written to now wait."""
        for system, decision in self.decided:
            if decision.id in self.carried_out or decision.key in self.left or self._held_back(system):
                continue
            if decision.key is None:
                self.carried_out[decision.id] = "carried out on no row: none is in a state for it"
                continue
            last = self.ledgers[system].of([decision.key]).get(decision.key)
            can_be = last is not None and last.state in decisions.ALLOWED.get(decision.kind, ())
            why = (
                "it is not among what may be changed" if can_be else f"it is {last.state if last else 'unknown to us'}"
            )
            self.carried_out[decision.id] = f"not carried out: {why} by now"

    # ---- a chunk

    def _chunk(self, rows: Sequence[Mapping[str, Any]]) -> None:
        things = self._things(rows)
        self.count["looked"] += len(things)
        while alive := [thing for thing in things if not thing.is_done]:
            self._wait(alive)
            self.held.check()
            held = looked_up(self.targets, [thing.row for thing in alive])
            self.on_step("looked", f"{len(alive)} things")
            changes: dict[str, list[tuple[_Thing, Change]]] = {system: [] for system in self.sync.systems}
            for thing in alive:
                records = self._records(thing, held)
                if records:
                    self._settle(thing, records, changes)
            self._commit()
            self.on_step("intended", f"{sum(map(len, changes.values()))} changes")
            for system, ones in changes.items():
                self._send(system, ones)
            self._commit()
            self.on_step("recorded", f"{len(alive)} things")

    def _things(self, rows: Sequence[Mapping[str, Any]]) -> list[_Thing]:
        keys = [str(row[self.sync.key]) for row in rows]
        last = {system: ledger.of(keys) for system, ledger in self.ledgers.items()}
        made: list[_Thing] = []
        for key, row in zip(keys, rows, strict=True):
            base = base_of(self.sync, row)
            made.append(_Thing(key, row, base, {system: self._way(system, last[system].get(key)) for system in last}))
        return made

    def _way(self, system: str, last: Entry | None) -> _Way:
        way = _Way(last)
        if last is not None and last.state in OPEN:
            way.sent = self.sides[system].read(json.loads(last.payload or "{}"))
            way.before = self.sides[system].read(json.loads(last.pre_image or "{}"))
            way.etag = last.etag
            age = max(0.0, (now() - last.at).total_seconds())
            way.not_before = time.monotonic() + max(0.0, self.sync.settle_seconds - age)
        return way

    def _wait(self, things: Sequence[_Thing]) -> None:
        """Until the last of what may still be under way counts as not made; only when nothing else can be done."""
        if all(thing.is_waiting for thing in things):
            due = min(max(way.not_before for way in thing.ways.values() if way.sent) for thing in things)
            time.sleep(max(0.0, due - time.monotonic()))

    def _records(self, thing: _Thing, held: Held) -> dict[str, Found] | None:
        """The thing's record in both systems, or None when it cannot be decided now."""
        records: dict[str, Found] = {}
        thing.looks += 1
        for system, side in self.sides.items():
            record = record_of(side, thing.row, held)
            if isinstance(record, str):
                self._give_up(thing, record)
                return None
            records[system] = record
        return records

    def _give_up(self, thing: _Thing, words: str) -> None:
        """Leave a thing for the next run: nothing is remembered of this one, so it is looked at again."""
        for system, way in thing.ways.items():
            if way.sent and not (way.last and way.last.state == "unknown" and way.last.words == words):
                self._record(thing, system, "unknown", words)
        self.count["waiting"] += 1
        self.left.add(thing.key)
        self._problem(thing, words)
        thing.is_done = True

    # ---- deciding

    def _settle(
        self,
        thing: _Thing,
        records: Mapping[str, Found],
        changes: Mapping[str, list[tuple[_Thing, Change]]],
    ) -> None:
        try:
            held = {system: self.sides[system].read(record.fields) for system, record in records.items()}
        except ProtocolError as error:
            self._give_up(thing, str(error))
            return
        under_way = [self._arrived(thing, system, held[system], records[system]) for system in records]
        thing.is_waiting = "wait" in under_way
        if thing.is_waiting:
            if thing.looks > _RACE_ROUNDS:
                self._give_up(thing, "was sent, and does not show yet")
            return
        settled, wanted = settled_all(thing.base, held, self.owners)
        for name, one in settled.items():
            if one.why == "agreed":
                thing.base[name] = one.value
        going = [
            system
            for system in held
            if wanted[system]
            and self._may_send(
                thing,
                system,
                wanted[system],
                records[system],
                is_loss=any(gives_up(settled[name], held[system][name]) for name in wanted[system]),
            )
        ]
        for system in held:
            if not wanted[system]:
                self._let_go(thing, system)
        if not going:
            thing.is_done = True
            self.count["agreed"] += not any(wanted.values())
            self.count["waiting"] += thing.is_held_back
            self._remember(thing)
            return
        if thing.is_news:
            self._remember(thing)
        if thing.looks > _RACE_ROUNDS:
            self._give_up(thing, "others change it faster than it can be settled")
            return
        for system in going:
            self._tell(thing, system, wanted[system], settled, held)
            changes[system].append((thing, self._intend(thing, system, wanted[system], records[system], held[system])))

    def _arrived(self, thing: _Thing, system: str, held: Mapping[str, Value], record: Found) -> str:
        """What became of values on their way to a system: "settled", or "wait" when they may still arrive."""
        way = thing.ways[system]
        if not way.sent:
            return "settled"
        thing.is_news = True
        for name, value in way.sent.items():
            thing.base[name] = landed(thing.base[name], held[name], value)
        missing = [name for name, value in way.sent.items() if not equal(held[name], value)]
        told: dict[str, Any] = {
            "status": way.outcome.status if way.outcome else None,
            "target_key": record.target_key,
        }
        if not missing:
            words = (way.outcome.words if way.outcome else "") or "read back"
            self._record(thing, system, "verified", words, etag=record.etag, **told)
            self.count["verified"] += 1
            self.verified[system] += 1
            way.sent = {}
            return "settled"
        differences = "; ".join(f"{name}: sent {text(way.sent[name])}, it holds {text(held[name])}" for name in missing)
        image = dumps(self._image(system, way.sent, record))
        kind = way.outcome.kind if way.outcome else "unclear"
        if kind == "accepted":
            if all(equal(held[name], way.before.get(name)) for name in missing):
                return self._not_shown(thing, system, differences, image, told)
            for name in missing:  # accepted for certain, so it was agreed; somebody changed it after that
                thing.base[name] = way.sent[name]
            self._record(thing, system, "conflict", f"changed again by others: {differences}", held=image, **told)
        elif kind == "conflict" and record.etag == way.etag and way.etag is not None:
            self._refused(thing, system, way.outcome.words if way.outcome else "")
        elif kind == "conflict":
            words = f"{way.outcome.words if way.outcome else ''} Decided again: {differences}".strip()
            self._record(thing, system, "conflict", words, held=image, **told)
        elif kind == "unclear" and time.monotonic() < way.not_before:
            return "wait"
        elif kind in {"unclear", "not_sent"} and way.sends >= self.sync.attempts:
            self._refused(thing, system, f"{way.outcome.words if way.outcome else ''} {differences}".strip())
        way.sent = {}
        return "settled"

    def _not_shown(self, thing: _Thing, system: str, differences: str, image: str, told: Mapping[str, Any]) -> str:
        """The system accepted values and shows the old ones: look again a few times, then leave it to people."""
        way = thing.ways[system]
        if way.sends and thing.looks <= way.sends + 4:
            way.not_before = time.monotonic() + 0.2 * thing.looks
            return "wait"
        self._record(thing, system, "conflict", f"accepted, and not shown: {differences}", held=image, **told)
        way.sent = {}
        return "settled"

    def _may_send(
        self, thing: _Thing, system: str, wanted: Mapping[str, Value], record: Found, *, is_loss: bool
    ) -> bool:
        """Whether values may go out now; says why not."""
        if held_back := self._held_back(system):
            self._problem(thing, held_back)
            thing.is_held_back = True
            return False
        try:
            digest = payload_hash(self._payload(thing, system, wanted, record))
        except ValueError as error:
            self._refused(thing, system, f"its payload cannot be made: {error}")
            return False
        if (told := self._told_to(thing, system, digest)) is not None:
            return told
        last = thing.ways[system].last
        if last is None or last.payload_hash != digest:
            return self._is_let(thing, system, wanted, record, is_loss=is_loss)
        if self._rests(last, record):
            self._problem(thing, f"{system}: {last.state}: {last.words}")
        elif last.state != "waiting_for_approval":
            return last.state != "cancelled" or last.decision is None
        return False

    def _is_let(self, thing: _Thing, system: str, wanted: Mapping[str, Value], record: Found, *, is_loss: bool) -> bool:
        """Whether what is wanted newly may go out by itself; else it waits for a person, with both values."""
        if not self.asks and not (is_loss and self.sync.guards.approve_given_up):
            return True
        why = "the system's own value would be given up" if is_loss else "so many changes at once are asked for"
        self._record(
            thing,
            system,
            "waiting_for_approval",
            f"waits for approval: {why}",
            payload=self._payload(thing, system, wanted, record),
            etag=record.etag,
            target_key=record.target_key,
            held=dumps(self._image(system, wanted, record)),
            plan=self.run_id,
        )
        return False

    def _held_back(self, system: str) -> str:
        """Why nothing may go to a system now; empty when it may."""
        if pause := self.paused[system]:
            return f"{self.sync.flow_name(system)} is paused: {pause.told}"
        for freeze in self.sync.guards.freeze:
            if ends := freeze.until_when(now()):
                return f"nothing is sent until {ends.isoformat()}: {freeze.why}"
        return ""

    def _rests(self, last: Entry, record: Found) -> bool:
        """Whether this very change was refused, or was accepted and not shown, and is not to be tried again now."""
        if last.state == "failed":
            return last.run_id == self.run_id or (last.next_at is not None and last.next_at > now())
        if last.state == "conflict" and last.status is not None and 200 <= last.status < 300:
            shown: Payload = json.loads(last.held or "{}")
            return all(record.fields.get(name) == value for name, value in shown.items())
        return last.state == "dead"

    def _told_to(self, thing: _Thing, system: str, digest: str) -> bool | None:
        """Whether a person said to send it, or not to; None when nobody said anything that can be done here."""
        way, decision = thing.ways[system], self.people.pop((system, thing.key), None)
        if decision is None:
            return None
        words = f"{decision.kind} by {decision.who}: {decision.why}"
        if decision.kind in {"cancel", "accept_theirs", "reject"}:
            self._record(thing, system, "cancelled", words, decision=decision.id)
            self.carried_out[decision.id] = "cancelled: it is not sent until a value changes again"
            return False
        if decision.kind == "approve":
            if way.last is None or way.last.payload_hash != digest:
                self.carried_out[decision.id] = "not carried out: the systems hold other values by now"
                return None
            if way.last.state != "planned":
                self._record(thing, system, "planned", words, decision=decision.id)
            self.carried_out[decision.id] = "approved, and sent"
            return True
        if decision.kind in {"retry", "accept_ours"}:
            self.carried_out[decision.id] = "sent again"
            way.last = replace(way.last, tries=0, next_at=None) if way.last else None
            return True
        self.carried_out[decision.id] = "not possible here: change the value in one of the two systems"
        return None

    def _let_go(self, thing: _Thing, system: str) -> None:
        """Nothing has to go to this system: what the ledger has open of earlier values is not wanted any more."""
        last = thing.ways[system].last
        if last is not None and last.state not in SETTLED:
            self._record(thing, system, "cancelled", "not needed any more: settled otherwise")

    def _remember(self, thing: _Thing) -> None:
        """Put down what was agreed; what is not finished is looked at again by the next run, whatever comes."""
        thing.is_news = False
        is_settled = thing.is_done and not thing.is_held_back
        row: dict[str, Any] = {"key": thing.key, "step": (thing.row["step"] or 0) + thing.looks}
        for name, value in thing.base.items():
            row[name] = None if value is UNKNOWN else value
            row[f"has_{name}"] = value is not UNKNOWN
        for system in self.sync.systems:
            row[f"{system}_batch_id"] = thing.row[f"{system}_batch_id"] if is_settled else None
        self.agreed_rows.append({**row, "run_id": self.run_id, "at": now()})

    # ---- telling and sending

    def _tell(
        self,
        thing: _Thing,
        system: str,
        wanted: Mapping[str, Value],
        settled: Mapping[str, Settlement],
        held: Mapping[str, Mapping[str, Value]],
    ) -> None:
        """Put down the values of `system` that are about to be given up."""
        for name in wanted:
            one, lost = settled[name], held[system][name]
            if not gives_up(one, lost):
                continue
            base = thing.base[name]
            parts = (self.sync.sync, thing.key, name, one.winner, text(one.value), text(lost), text(base))
            number = str(uuid.uuid5(uuid.NAMESPACE_URL, f"datong:two-way:{json.dumps(parts)}:{thing.row['step']}"))
            if number in thing.told:
                continue
            thing.told.add(number)
            self.count["given_up"] += 1
            self.conflicts.append(
                {
                    "sync": self.sync.sync,
                    "key": thing.key,
                    "field": name,
                    "conflict_id": number,
                    "why": one.why,
                    "winner": one.winner,
                    "winner_value": text(one.value),
                    "loser": system,
                    "loser_value": text(lost),
                    "agreed_value": text(base),
                    "run_id": self.run_id,
                    "at": now(),
                }
            )

    def _payload(self, thing: _Thing, system: str, wanted: Mapping[str, Value], record: Found) -> Payload:
        return self.sides[system].payload(wanted, record.fields)

    def _image(self, system: str, fields: Mapping[str, Value], record: Found) -> Payload:
        """What a record holds of these fields, as the system writes it."""
        return {name: record.fields[name] for name in (self.sync.fields[each][system].field for each in fields)}

    def _intend(
        self, thing: _Thing, system: str, wanted: Mapping[str, Value], record: Found, held: Mapping[str, Value]
    ) -> Change:
        way = thing.ways[system]
        payload = self._payload(thing, system, wanted, record)
        way.sent, way.outcome, way.etag = dict(wanted), None, record.etag
        way.before = {name: held[name] for name in wanted}
        way.sends += 1
        entry = self._record(
            thing,
            system,
            "sent",
            "",
            payload=payload,
            etag=record.etag,
            target_key=record.target_key,
            pre_image=dumps(self._image(system, wanted, record)),
        )
        return Change(str(thing.row[f"{system}_key"]), payload, entry.idempotency_key, record, "update")

    def _send(self, system: str, ones: Sequence[tuple[_Thing, Change]]) -> None:
        if not ones:
            return
        self.held.check()
        self.sent[system] += len(ones)
        outcomes = self.targets[system].send([change for _, change in ones], lambda _change, _outcome: None)
        pause = 0.0
        for thing, change in ones:
            way, outcome = thing.ways[system], outcomes[change.key]
            way.outcome = outcome
            if outcome.kind == "unclear":
                way.not_before = time.monotonic() + self.sync.settle_seconds
            elif outcome.kind == "not_sent":
                pause = min(1.0, self.sync.settle_seconds)
            elif outcome.kind == "refused":
                self._refused(thing, system, outcome.words, status=outcome.status)
                way.sent = {}
        self.on_step("sent", f"{len(ones)} changes to {system}")
        time.sleep(pause)

    def _refused(self, thing: _Thing, system: str, words: str, status: int | None = None) -> None:
        """A failure: tried again at `next_at`, later each time, until it rests (`dead`)."""
        last = thing.ways[system].last
        tries = (last.tries or 0 if last else 0) + 1
        state: State = "dead" if tries >= self.sync.retry.attempts else "failed"
        self._record(
            thing,
            system,
            state,
            words,
            status=status,
            tries=tries,
            next_at=now() + self.sync.retry.wait(tries) if state == "failed" else None,
        )
        self._problem(thing, f"{system}: {words}")

    def _record(
        self, thing: _Thing, system: str, state: State, words: str, *, payload: Payload | None = None, **told: Any
    ) -> Entry:
        """Add the next transition of a thing towards a system to the next commit."""
        way = thing.ways[system]
        last = way.last
        content = dumps(payload) if payload is not None else last.payload if last else None
        digest = payload_hash(payload) if payload is not None else last.payload_hash if last else ""
        same = last is not None and last.payload_hash == digest
        going_on = last is not None and same and last.state in {"planned", "waiting_for_approval", *OPEN}
        step = (last.step if last else 0) + 1
        name = f"datong:two-way:{self.sync.sync}|{system}|{thing.key}|{digest}|{step}"
        kept: dict[str, Any] = {}
        if last is not None and same and state != "verified":
            kept = {"tries": last.tries}
        if last is not None and going_on:
            kept |= {"pre_image": last.pre_image, "etag": last.etag, "target_key": last.target_key}
        entry = Entry(
            flow=self.sync.flow_name(system),
            key=thing.key,
            step=step,
            state=state,
            operation="update" if payload is not None or going_on else "none",
            idempotency_key=last.idempotency_key if last and going_on else str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            payload_hash=digest,
            payload=content,
            attempt=(last.attempt if last and going_on else 0) + (state == "sent"),
            run_id=self.run_id,
            at=now(),
            words=words[:_MAX_WORDS] or None,
            **(kept | {name: value for name, value in told.items() if value is not None}),
        )
        way.last = entry
        self.entries[system].append(entry)
        return entry

    def _problem(self, thing: _Thing, words: str) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems[thing.key] = words

    def _commit(self) -> None:
        """What was agreed first: an intent is closed only after its value is remembered. Then what is given up, and the
        intents last, after which requests go out."""
        self.memory.remember(self.agreed_rows)
        self.memory.tell(self.conflicts)
        for system, ledger in self.ledgers.items():
            ledger.append(self.entries[system])
            self.entries[system] = []
        self.agreed_rows, self.conflicts = [], []


def _is_about(decision: decisions.Decision, key: str, entry: Entry) -> bool:
    """Whether a decision is about a row as it is now."""
    if decision.key is None:
        states = decisions.OF_A_FLOW.get(decision.kind, ())
        return (
            entry.state in states and entry.at <= decision.decided_at and decision.plan in {None, entry.plan}
        ) or entry.decision == decision.id
    if decision.key != key:
        return False
    goes_on = entry.state == "planned" and entry.decision == decision.id
    return goes_on or entry.state in decisions.ALLOWED.get(decision.kind, ())
