"""What a run of a two-way synchronisation did, and what one would do."""

from __future__ import annotations

from dataclasses import dataclass, field

from datong_platform.errors import DatongError


@dataclass(frozen=True)
class SyncResult:
    """What a run did.

    `looked`: things looked at in both systems. `sent`: changes that went out, by system. `verified`: changes that were
    read back. `given_up`: values that lost to the other system's. `failed`, `unknown`, `conflict`: changes that are not
    in their system, as the ledger has them, earlier runs' included. `waiting`: things that were not settled.
    `waiting_for_approval`: changes that a guard holds until a person says yes. `verified_at` is `verified` by system.
    """

    sync: str
    run_id: str
    looked: int
    agreed: int
    sent: dict[str, int]
    verified: int
    given_up: int
    failed: int
    unknown: int
    conflict: int
    waiting: int
    seconds: float
    problems: dict[str, str]
    stopped: DatongError | None = None
    waiting_for_approval: int = 0
    verified_at: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def ok(self) -> bool:
        """Whether both systems agree on everything that was looked at, but for what waits for a person's word."""
        return self.stopped is None and not (self.failed or self.unknown or self.conflict or self.waiting)

    @property
    def is_green(self) -> bool:
        """Whether nothing is left unsettled at all."""
        return self.ok and not self.waiting_for_approval

    def in_words(self) -> str:
        """The result in one line."""
        sent = ", ".join(f"{count} to {system}" for system, count in self.sent.items())
        approval = f"{self.waiting_for_approval} waiting for approval, " if self.waiting_for_approval else ""
        stopped = f"; stopped: {self.stopped}" if self.stopped else ""
        return (
            f"{self.looked} looked at, {self.agreed} agreed, sent {sent}, {self.verified} verified, "
            f"{self.given_up} values given up, {self.failed} failed, {self.unknown} unknown, "
            f"{self.conflict} in conflict, {self.waiting} waiting, {approval}{self.seconds:.1f} s{stopped}"
        )


@dataclass(frozen=True)
class SyncSample:
    """One value of a dry run: what a system holds, and what it would be given.

    `why`: `carried` (only the other system changed it), `owner` (both did, and `winner` owns it) or `first` (they
    differ when they are compared for the first time).
    """

    key: str
    system: str
    field: str
    before: str | None
    after: str | None
    winner: str
    why: str
    words: str = ""


@dataclass(frozen=True)
class SyncPreview:
    """What a run would do; nothing was sent and nothing recorded.

    `looked`: things that differ as last read. `changes`: things that would be changed, by system. `given_up`: values
    that would lose to the other system's. `unreadable`: things that could not be decided, because a record is missing,
    double or wrong. `resting`: what earlier runs left, by state. `holds` says what would keep the run from sending.
    """

    sync: str
    looked: int
    agreed: int
    changes: dict[str, int]
    given_up: int
    unreadable: int
    resting: dict[str, int]
    holds: list[str]
    samples: list[SyncSample]
