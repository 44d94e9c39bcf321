"""People's decisions about writes: PostgreSQL table `ops.write_back_decision`, which is their audit log as well.

A person decides about one row of a flow (`key`), about a plan that waits for approval (`plan`), about a whole flow, or,
for a pause, about all flows. The next run of the flow carries it out and marks it (`carried_out_at`, `outcome`); a
pause holds at once.

| kind | of a row that is | what the next run does |
| --- | --- | --- |
| approve | waiting_for_approval | sends it |
| reject | waiting_for_approval | cancels it; it is not planned again until its payload changes |
| retry | failed, dead, conflict | tries it again at once, and counts its failures from the start |
| mend | failed, dead, conflict | sends it with the new values of `payload` |
| accept_theirs | conflict | cancels it: the target's value stays |
| accept_ours | conflict | writes our value over what the target holds |
| cancel | all that is not verified, sent or unknown | cancels it; it is not planned again until its payload changes |
| pause, resume | (flow, or all flows) | nothing is sent between the two |

`approve` with the plan `ceiling` lets the next run through once although it goes beyond the flow's ceilings, up to the
numbers of changes and deletes in `payload`.

Two people at once: one decision of a row stands until it is carried out or taken back, and who comes second is told
what the first decided. The same decision made twice is one. All times are UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from datong_platform import operational
from datong_platform.errors import ConfigurationError, TerminalError

from datong_ingestion.write_back import ledger
from datong_ingestion.write_back.ledger import Entry, State

if TYPE_CHECKING:
    from psycopg import Connection

Kind = Literal["approve", "reject", "retry", "mend", "accept_theirs", "accept_ours", "cancel", "pause", "resume"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CEILING = "ceiling"
"""The plan that an approval names to let a run go beyond its ceilings."""

ALLOWED: Mapping[Kind, tuple[State, ...]] = {
    "approve": ("waiting_for_approval",),
    "reject": ("waiting_for_approval",),
    "retry": ("failed", "dead", "conflict"),
    "mend": ("failed", "dead", "conflict"),
    "accept_theirs": ("conflict",),
    "accept_ours": ("conflict",),
    "cancel": ("planned", "waiting_for_approval", "failed", "dead", "conflict"),
}
"""The states of a row in which a decision about it makes sense."""
OF_A_FLOW: Mapping[Kind, tuple[State, ...]] = {
    "approve": ("waiting_for_approval",),
    "reject": ("waiting_for_approval",),
    "retry": ("failed", "dead"),
    "cancel": ("planned", "waiting_for_approval", "failed", "dead"),
}
"""The same for all rows of a flow at once: a conflict is decided row by row."""

_LOCK = 0x64_61_77_62  # advisory lock: one decision at a time
_DECISIONS = "select * from ops.write_back_decision"
# not in a schema named as the role, datong: that one stands first in its search path, and new tables would go there
_TABLES = """
create schema if not exists ops;
create table if not exists ops.write_back_decision (
    id bigint generated always as identity primary key,
    flow text,
    key text,
    plan text,
    kind text not null,
    payload jsonb,
    who text not null,
    why text not null,
    decided_at timestamptz not null,
    valid_until timestamptz,
    carried_out_at timestamptz,
    outcome text
);
create index if not exists write_back_decision_open on ops.write_back_decision (flow, key)
    where carried_out_at is null;
create index if not exists write_back_decision_switch on ops.write_back_decision (flow, id)
    where kind in ('pause', 'resume');
"""


@dataclass(frozen=True)
class Decision:
    """One decision. `flow` is None for all flows; `key` and `plan` are None where it is about a whole flow."""

    id: int
    flow: str | None
    key: str | None
    plan: str | None
    kind: Kind
    payload: dict[str, Any] | None
    who: str
    why: str
    decided_at: datetime
    valid_until: datetime | None = None
    carried_out_at: datetime | None = None
    outcome: str | None = None
    is_new: bool = True
    """False where the very same had been decided before, by `who`."""

    @property
    def about(self) -> str:
        """What it is about, for people."""
        if self.flow is None:
            return "all flows"
        what = f", {self.key}" if self.key is not None else f", plan {self.plan}" if self.plan is not None else ""
        return f"flow {self.flow}{what}"

    @property
    def told(self) -> str:
        """Who decided what, when and why, for the next person."""
        return f"{self.who} decided {self.kind} on {self.decided_at:%Y-%m-%d %H:%M} UTC: {self.why}"


class DecidedError(TerminalError):
    """Somebody else has decided, and it is not carried out yet; `first` is that decision."""

    def __init__(self, first: Decision) -> None:
        super().__init__(
            first.about,
            f"is decided already, and the next run carries it out: {first.told}.",
            f"leave it so, or take that back: `datong flows undo {first.id} --why ...`.",
        )
        self.first = first


def decide(
    flow: str | None,
    kind: Kind,
    *,
    who: str,
    why: str,
    key: str | None = None,
    plan: str | None = None,
    payload: Mapping[str, Any] | None = None,
    valid_until: datetime | None = None,
) -> Decision:
    """Write a decision down; the next run carries it out. The same one again is given back (`is_new` False).

    ConfigurationError when it lacks something or the row is in no state for it, DecidedError when somebody decided
    otherwise and it is not carried out yet, ServiceError without PostgreSQL or the lake.
    """
    about = Decision(0, flow, key, plan, kind, dict(payload) if payload else None, who, why, _now(), valid_until)
    _check(about)
    with _connected() as database, database.transaction():
        database.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        if kind in {"pause", "resume"}:
            return _switched(database, about)
        return _standing(_open(database, flow), about) or _insert(database, about)


def decide_rows(
    flow: str, keys: Sequence[str], kind: Kind, *, who: str, why: str
) -> tuple[list[Decision], dict[str, TerminalError]]:
    """Decide the same about several rows of a flow with one look at the ledger and one transaction.

    Gives the decisions, and by key why some were not made (a row in no state for it, or decided otherwise). Raises what
    `decide` raises when it is about all of them.
    """
    made, refused = list[Decision](), dict[str, TerminalError]()
    known = {one.key: one for one in ledger.last_of(flow, keys)}
    with _connected() as database, database.transaction():
        database.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        held = _open(database, flow)
        for key in dict.fromkeys(keys):
            one = Decision(0, flow, key, None, kind, None, who, why, _now())
            _check_whole(one)
            try:
                _check_state(one, known.get(key))
                same = _standing(held, one)
            except TerminalError as error:
                refused[key] = error
                continue
            made.append(same or _insert(database, one))
    return made, refused


def undo(decision: int, *, who: str, why: str) -> Decision:
    """Take a decision back before it is carried out. ConfigurationError when there is none, or it is too late."""
    if not who.strip() or not why.strip():
        raise ConfigurationError(f"decision {decision}", "is taken back without who or why.", "say both.")
    with _connected() as database:
        found = _select(
            database,
            "update ops.write_back_decision set carried_out_at = %s, outcome = %s "
            "where id = %s and carried_out_at is null returning *",
            [_now(), f"taken back by {who}: {why}", decision],
        )
    if not found:
        raise ConfigurationError(
            f"decision {decision}",
            "is not open: it is carried out, taken back, or was never made.",
            "see `datong flows decisions`.",
        )
    return found[0]


def waiting(flow: str) -> list[Decision]:
    """The decisions that the next run of a flow has to carry out, the first made first; what expired is not among
    them."""
    with _connected() as database:
        return [one for one in _open(database, flow) if one.valid_until is None or one.valid_until > _now()]


def waiting_for(flow: str, keys: Sequence[str]) -> dict[str, Decision]:
    """The decisions about some rows of a flow that are not carried out yet, by key."""
    with _connected() as database:
        found = _select(
            database,
            f"{_DECISIONS} where flow = %s and key = any(%s) and carried_out_at is null "
            "and (valid_until is null or valid_until > now()) order by id",
            [flow, list(keys)],
        )
    return {one.key: one for one in found if one.key is not None}


def paused(flow: str) -> Decision | None:
    """The pause that holds for a flow now, its own or that of all flows; None when it may send."""
    with _connected() as database:
        return _pause(database, None) or _pause(database, flow)


def pauses() -> list[Decision]:
    """All pauses that hold now, that of all flows first."""
    with _connected() as database:
        rows = database.execute("select distinct flow from ops.write_back_decision where kind = 'pause'").fetchall()
        flows = sorted((row[0] for row in rows), key=lambda flow: (flow is not None, flow or ""))
        return [pause for flow in flows if (pause := _pause(database, flow)) is not None]


def history(
    flow: str | None = None, key: str | None = None, *, limit: int = 200, before: int | None = None
) -> list[Decision]:
    """What was decided, the newest first: all, or that about a flow (all flows included), or about one of its rows.

    `before`: only decisions older than the one of this id.
    """
    conditions, values = ["id < %s" if before is not None else "true"], [] if before is None else [before]
    if flow is not None:
        conditions.append("(flow = %s or flow is null)")
        values += [flow]
    if key is not None:
        conditions.append("key = %s")
        values += [key]
    with _connected() as database:
        return _select(
            database,
            f"{_DECISIONS} where {' and '.join(conditions)} order by id desc limit {limit:d}",
            values,
        )


def carried_out(decisions: Mapping[int, str]) -> None:
    """Mark decisions as carried out, each with what came of it; what is marked already stays as it is."""
    if not decisions:
        return
    with _connected() as database, database.transaction(), database.cursor() as cursor:
        cursor.executemany(
            "update ops.write_back_decision set carried_out_at = %s, outcome = %s "
            "where id = %s and carried_out_at is null",
            [(_now(), outcome, number) for number, outcome in decisions.items()],
        )


def _standing(held: Sequence[Decision], one: Decision) -> Decision | None:
    """The same decision where it was made already; DecidedError where another one stands."""
    for other in held:
        if _clash(other, one):
            if (other.kind, other.key, other.plan, other.payload) == (one.kind, one.key, one.plan, one.payload):
                return replace(other, is_new=False)
            raise DecidedError(other)
    return None


def _check(one: Decision) -> None:
    """ConfigurationError when a decision is not whole, or comes too late or too early."""
    _check_whole(one)
    if one.kind in {"pause", "resume"} or one.plan == CEILING or one.flow is None:
        return
    if one.key is not None:
        _check_state(one, ledger.row(one.flow, one.key))
    elif one.kind not in OF_A_FLOW:
        raise ConfigurationError(one.about, f"is decided row by row for {one.kind}.", "name the row's key.")
    elif not any(ledger.state_counts(one.flow).get(one.flow, {}).get(state) for state in OF_A_FLOW[one.kind]):
        raise ConfigurationError(
            one.about,
            f"has no row that is {_either(OF_A_FLOW[one.kind])}, so there is nothing to {one.kind}.",
            f"see `datong flows show {one.flow}`.",
        )


def _check_whole(one: Decision) -> None:
    """ConfigurationError when a decision lacks something."""
    lacking = [word for word, text in (("who", one.who), ("why", one.why)) if not text.strip()]
    if lacking:
        raise ConfigurationError(
            one.about, f"cannot be decided without {' and '.join(lacking)}.", "say who decides, and why (`--why`)."
        )
    if one.kind in {"pause", "resume"}:
        if one.key is not None or one.plan is not None:
            raise ConfigurationError(one.about, f"has no {one.kind} of single rows.", "name the flow alone.")
        return
    if one.flow is None:
        raise ConfigurationError("all flows", f"cannot be decided on by {one.kind}.", "name one flow.")
    if one.kind == "mend" and not one.payload:
        raise ConfigurationError(
            one.about, "is to be mended with nothing.", "give the new values: `--set FIELD=VALUE`."
        )
    numbers = {"changes", "deletes"} <= (one.payload or {}).keys()
    if one.plan == CEILING and (one.kind != "approve" or not numbers):
        raise ConfigurationError(
            one.about,
            "goes beyond its ceilings only by an approval of so many changes and deletes.",
            "give both numbers: `datong flows approve FLOW --ceiling --changes N --deletes N`.",
        )


def _check_state(one: Decision, found: Entry | None) -> None:
    """ConfigurationError when a row is in no state for a decision."""
    if found is None:
        raise ConfigurationError(one.about, "is not in the ledger.", f"see `datong flows rows {one.flow}`.")
    if found.state not in ALLOWED[one.kind]:
        raise ConfigurationError(
            one.about,
            f"is {found.state}; {one.kind} is for what is {_either(ALLOWED[one.kind])}.",
            f"see `datong flows row {one.flow} {one.key}`.",
        )


def _either(states: Sequence[State]) -> str:
    return " or ".join(states)


def _clash(other: Decision, one: Decision) -> bool:
    """Whether an open decision is about what a new one is about. A row may be decided before its whole flow is."""
    if CEILING in {other.plan, one.plan}:
        return other.plan == one.plan
    if other.key is None:
        return other.plan is None or other.plan == one.plan or (one.plan is None and one.key is not None)
    return other.key == one.key


def _switched(database: Connection[Any], one: Decision) -> Decision:
    """A pause or its end, which hold at once; what holds already is given back."""
    held = _pause(database, one.flow)
    if one.kind == "pause":
        if held is not None:
            return replace(held, is_new=False)
        return _insert(database, replace(one, carried_out_at=one.decided_at, outcome="holds from now on"))
    if held is None:
        whole = _pause(database, None) if one.flow is not None else None
        raise ConfigurationError(
            one.about,
            f"is not paused by itself; all flows are: {whole.told}." if whole else "is not paused.",
            "resume all: `datong flows resume --all --why ...`." if whole else "see `datong flows list`.",
        )
    return _insert(
        database, replace(one, carried_out_at=one.decided_at, outcome=f"ended the pause {held.id} of {held.who}")
    )


def _pause(database: Connection[Any], flow: str | None) -> Decision | None:
    """The pause of a flow, or of all, that was not ended and did not expire."""
    which, values = ("flow is null", []) if flow is None else ("flow = %s", [flow])
    found = _select(
        database,
        f"{_DECISIONS} where kind in ('pause', 'resume') and {which} order by id desc limit 1",
        values,
    )
    if not found or found[0].kind == "resume":
        return None
    until = found[0].valid_until
    return found[0] if until is None or until > _now() else None


def _open(database: Connection[Any], flow: str | None) -> list[Decision]:
    return _select(
        database,
        f"{_DECISIONS} where flow = %s and carried_out_at is null and kind not in ('pause', 'resume') order by id",
        [flow],
    )


def _insert(database: Connection[Any], one: Decision) -> Decision:
    return _select(
        database,
        "insert into ops.write_back_decision (flow, key, plan, kind, payload, who, why, decided_at, valid_until, "
        "carried_out_at, outcome) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning *",
        [
            *(one.flow, one.key, one.plan, one.kind),
            json.dumps(one.payload, ensure_ascii=False) if one.payload else None,
            *(one.who.strip(), one.why.strip(), one.decided_at, one.valid_until, one.carried_out_at, one.outcome),
        ],
    )[0]


def _select(database: Connection[Any], statement: str, values: Sequence[Any]) -> list[Decision]:
    from psycopg.rows import class_row

    with database.cursor(row_factory=class_row(Decision)) as rows:
        return rows.execute(statement.encode(), values).fetchall()


def _now() -> datetime:
    return datetime.now(UTC)


def _connected() -> AbstractContextManager[Connection[Any]]:
    return operational.connected(_TABLES, "ops.write_back_decision")
