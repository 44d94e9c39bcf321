"""What a flow asks of a target system, whatever its protocol: find records by our key, and make, change, delete or act
on one.

A write's outcome is told apart by what is known afterwards, because that decides what happens next: a refusal changed
nothing, an unclear outcome may have changed anything. A target that answers later than it takes (a partner's 997, a
consumer's reply) is asked by `lookup`, which says AwaitedError until the answer is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from datong_platform.errors import ConfigurationError, DatongError, TransientError

from datong_ingestion.write_back.config import FlowConfig, Operation
from datong_ingestion.write_back.payload import Dialect, Payload

OutcomeKind = Literal["accepted", "refused", "conflict", "unclear", "not_sent"]


class AwaitedError(DatongError):
    """The target took a change and has not said yet what became of it: it is asked again, and never sent again."""


class RefusedLaterError(DatongError):
    """The target took a change and said later that it refuses it; nothing was changed."""


@dataclass(frozen=True)
class Found:
    """A record as the target holds it: its fields, its ETag, and its own key as people write it."""

    fields: dict[str, Any]
    etag: str | None
    target_key: str
    identity: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """One write.

    `found` is the record that is updated, deleted or acted on; None to create one, or to call an action that belongs to
    no record. `payload` is what the record holds then; `parameters` are what the flow's action is called with.
    """

    key: str
    payload: Payload = field(repr=False)
    idempotency_key: str
    found: Found | None = None
    operation: Operation = "create"
    parameters: Payload = field(default_factory=dict[str, Any], repr=False)


@dataclass(frozen=True)
class Outcome:
    """What is known after a write.

    `accepted`: the target said yes. `refused`: it said no, in `words`, and changed nothing. `conflict`: no, because of
    what it holds (409, 412, 428). `unclear`: no answer, or one that does not tell. `not_sent`: the request never
    reached it, or it asked for a later try (429): not before `retry_after` seconds, where it says so. To have deleted
    what is gone already (404, 410) is accepted.
    """

    kind: OutcomeKind
    status: int | None = None
    words: str = ""
    target_key: str | None = None
    retry_after: float | None = None


class Target(Protocol):
    """A target system, opened for one run of one flow."""

    @property
    def dialect(self) -> Dialect:
        """How its payloads are written."""
        ...

    @property
    def can_be_asked(self) -> bool:
        """Whether it can be asked what it holds, whoever wrote it. Else (queues, files, partners) `lookup` tells only
        of what was sent: a record where that was taken, a delete included, and none where it was not."""
        ...

    @property
    def operations(self) -> frozenset[Operation]:
        """What can be done to its records."""
        ...

    def lookup(
        self, keys: Sequence[str], sent: Mapping[str, str] | None = None
    ) -> dict[str, list[Found] | DatongError]:
        """The records that carry each key; an error where asking failed for some. Raises when nobody answers at all
        (TransientError) or we are not let in (AuthenticationError).

        `sent` holds the idempotency keys of those that were sent and may be there. Targets that cannot be asked what
        they hold (queues, files, partners) find by it what became of exactly that; for them a key that was never sent
        is not there, one whose answer is still to come is an AwaitedError, one that was turned down a
        RefusedLaterError.
        """
        ...

    def send(self, changes: Sequence[Change], on_reply: Callable[[Change, Outcome], None]) -> dict[str, Outcome]:
        """Write each change once, within the system's concurrency; outcomes by key. Raises nothing: what became of the
        other changes must be recorded."""
        ...

    def recorded(self, keys: Sequence[str]) -> None:
        """Told when what the last lookup said of these keys is in the ledger, so that it may be forgotten (a consumer's
        reply is taken from its queue only then)."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def gathered(pieces: Iterable[dict[str, list[Found] | DatongError]]) -> dict[str, list[Found] | DatongError]:
    """The pieces of a lookup; TransientError when every one of them failed for a passing reason: nobody is there."""
    held: dict[str, list[Found] | DatongError] = {}
    for piece in pieces:
        held |= piece
    failures = [item for item in held.values() if isinstance(item, TransientError)]
    if failures and len(failures) == len(held):
        raise failures[0]
    return held


def check_operations(flow: FlowConfig, target: Target) -> None:
    """ConfigurationError when a flow may do what its target cannot."""
    if missing := [name for name in flow.operations if name not in target.operations]:
        raise ConfigurationError(
            f"write-back flow {flow.flow}",
            f"may {', '.join(missing)}, which its target {flow.target.system} cannot.",
            f"choose from {', '.join(sorted(target.operations))}.",
        )
