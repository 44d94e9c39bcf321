"""A target that is asked and told by several threads at once, one request a change: what JSON APIs, SOAP services and
databases have in common.

From keys to the records that carry them, and from changes to their outcomes. Guards against: one key's failure taking
others with it, a target that returns what nobody asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from datong_platform.errors import AuthenticationError, ConfigurationError, DatongError

from datong_ingestion.pace import Pace
from datong_ingestion.write_back.config import FlowConfig, TargetConfig
from datong_ingestion.write_back.target import Change, Found, Outcome, gathered


class Pooled(ABC):
    """The threads of a target, and what each of them does."""

    can_be_asked = True

    def __init__(self, flow: FlowConfig, thing: str, concurrency: int, pace: Pace) -> None:
        self._flow, self._config, self._thing, self._pace = flow, flow.target, thing, pace
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix=f"write-back-{flow.flow}")

    def close(self) -> None:
        """End the threads, then let go of the connections."""
        self._pool.shutdown(cancel_futures=True)
        self._let_go()

    @abstractmethod
    def _let_go(self) -> None: ...

    @abstractmethod
    def _rows(self, keys: Sequence[str]) -> Sequence[tuple[str, Found]]:
        """The records that carry these keys, each with the one that it carries."""

    @abstractmethod
    def _send(self, change: Change) -> Outcome:
        """Write one change once; raises nothing."""

    @property
    def _keys_at_once(self) -> int:
        """How many keys are asked for by one request."""
        return 1

    def recorded(self, keys: Sequence[str]) -> None:  # noqa: B027 most have nothing to do
        """Nothing to forget: the records stay where they are."""

    def lookup(
        self, keys: Sequence[str], sent: Mapping[str, str] | None = None
    ) -> dict[str, list[Found] | DatongError]:
        """See `Target.lookup`."""
        size = self._keys_at_once
        return gathered(self._pool.map(self._look, [keys[at : at + size] for at in range(0, len(keys), size)]))

    def _look(self, keys: Sequence[str]) -> dict[str, list[Found] | DatongError]:
        held: dict[str, list[Found] | DatongError] = {key: [] for key in keys}
        try:
            for key, found in self._rows(keys):
                cast("list[Found]", held[key]).append(found)
        except (AuthenticationError, ConfigurationError):
            raise
        except DatongError as error:
            return dict.fromkeys(keys, error)
        return held

    def send(self, changes: Sequence[Change], on_reply: Callable[[Change, Outcome], None]) -> dict[str, Outcome]:
        """See `Target.send`."""

        def one(change: Change) -> tuple[str, Outcome]:
            outcome = self._send(change)
            on_reply(change, outcome)
            return change.key, outcome

        return dict(self._pool.map(one, changes))


def found_of(thing: str, config: TargetConfig, row: Mapping[str, Any], etag: str | None = None) -> Found:
    """A record by its fields; ConfigurationError when it lacks one that addresses it, or that holds its version."""
    missing = [name for name in (*config.identity, config.etag_field) if name and name not in row]
    if missing:
        raise ConfigurationError(
            thing, f"has no field {', '.join(missing)}, which the flow names.", "mend the flow's defs.yaml."
        )
    identity = tuple(str(row[name]) for name in config.identity)
    return Found(dict(row), etag, "/".join(identity), identity)
