"""What the runs of Dagster did, hop by hop, for the sync log (`datong_platform.lake.sync_log`).

The ingestion and the write-back record their hops themselves, for they also run without Dagster. Here are those of the
lake's own work: tables that dbt built, checks, and what went to PostgreSQL. The checks of one table are one hop.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from datong_platform.errors import DatongError
from datong_platform.lake import sync_log
from datong_platform.lake.sync_log import Entry, Outcome

from datong_assets.dbt.client import NodeFinished
from datong_assets.dbt.facts import Facts
from datong_assets.lake_facts import TableFacts

if TYPE_CHECKING:
    import dagster as dg
    from datong_platform.lake.publish import PublishResult, PublishSpec

CYCLE = "datong/cycle"
"""The tag of the runs of a cycle; its value is the cycle's id."""
_NAMED = 5


@contextmanager
def run(run: dg.DagsterRun) -> Generator[None]:
    """The hops of this block belong to a Dagster run, and to the cycle that it is part of."""
    with sync_log.run(run.run_id, run.tags.get(CYCLE)):
        yield


class BuildHops:
    """The hops of one build. Tables are told as they are made, the checks of a table together at the end."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._checks: dict[str, list[tuple[str, NodeFinished, datetime]]] = {}

    def heard(self, event: NodeFinished, known: TableFacts | None) -> None:
        """Take note of a node that dbt is done with; what was skipped made no hop."""
        parsed, now = self._facts.graph, datetime.now(UTC)
        if event.status == "skipped":
            return
        if event.unique_id in parsed.built:
            inputs = [".".join(self._facts.key(parsed.node(one)).path) for one in parsed.parents(event.unique_id)]
            good = event.status == "success"
            sync_log.record(
                Entry(
                    "build",
                    table_name=self._name(event.unique_id),
                    inputs=inputs,
                    started_at=now - timedelta(seconds=event.seconds),
                    ended_at=now,
                    rows_out=known.rows if known else None,
                    bytes=known.bytes if known else None,
                    until=str(known.version) if known else None,
                    outcome="ok" if good else "failed",
                    words=None if good else event.message,
                )
            )
        elif event.unique_id in parsed.tests and (table := parsed.tested.get(event.unique_id)):
            name = self._facts.check_name(parsed.tests[event.unique_id])
            self._checks.setdefault(self._name(table), []).append((name, event, now))

    def close(self) -> None:
        """Tell the checks."""
        for table, made in self._checks.items():
            warned = [f"{name} finds {event.failures} rows" for name, event, _ in made if event.status == "warn"]
            failed = [f"{name}: {event.message}" for name, event, _ in made if event.status not in {"pass", "warn"}]
            checked(
                table,
                made=len(made),
                failed=failed,
                warned=warned,
                started_at=min(at - timedelta(seconds=event.seconds) for _, event, at in made),
                ended_at=max(at for _, _, at in made),
            )
        self._checks = {}

    def _name(self, unique_id: str) -> str:
        return ".".join(self._facts.key(self._facts.graph.node(unique_id)).path)


def checked(
    table: str,
    *,
    made: int,
    failed: Sequence[str],
    started_at: datetime,
    warned: Sequence[str] = (),
    ended_at: datetime | None = None,
    system: str | None = None,
) -> None:
    """The checks of a table as one hop: how many were made, the words of those that failed or only warned."""
    outcome: Outcome = "failed" if failed else "partly" if warned else "ok"
    told = [*failed, *warned]
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    sync_log.record(
        Entry(
            "check",
            system=system or _system(table),
            table_name=table,
            inputs=[table],
            started_at=started_at,
            ended_at=ended_at or datetime.now(UTC),
            rows_in=made,
            rows_out=made - len(told),
            rows_refused=len(told),
            outcome=outcome,
            words="; ".join(told[:_NAMED]) + more or None,
        )
    )


def published(spec: PublishSpec, started_at: datetime, outcome: PublishResult | DatongError) -> None:
    """A table that went to PostgreSQL, or could not."""
    entry = Entry("publish", table_name=f"postgres.serve.{spec.name}", inputs=[str(spec.source)], started_at=started_at)
    if isinstance(outcome, DatongError):
        entry.outcome, entry.words = "failed", str(outcome)
    else:
        entry.rows_out = outcome.inserted + outcome.updated + outcome.deleted
        entry.rows_in, entry.until, entry.words = outcome.rows, str(outcome.delta_version), outcome.how
        entry.outcome = "nothing new" if outcome.how == "unchanged" else "ok"
    sync_log.record(entry)


def _system(table: str) -> str | None:
    """The system of a bronze table."""
    schema, _, name = table.partition(".")
    return name.partition("__")[0] if schema == "bronze" else None
