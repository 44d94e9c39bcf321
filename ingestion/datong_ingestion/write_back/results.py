"""What a run of a flow did, and what one would do: the records that people and assets read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from datong_platform.errors import DatongError

from datong_ingestion.write_back.ledger import State


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
