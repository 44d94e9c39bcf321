"""Runs inside this process, for the command line and for the job `cycle`: each is a Dagster run that the UI shows.

A cycle is one run per source system, then build, publish and write-back, one after the other, tagged `datong/cycle`. A
step that fails does not stop the others; what must not go out because of it is held back by its checks.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import dagster as dg
from datong_platform.errors import ConfigurationError, DatongError, ServiceError
from datong_platform.lake import sync_log
from datong_platform.names import SCHEMAS
from datong_platform.settings import DBT_PROJECT, settings

from datong_assets import instance as instances
from datong_assets.alone import alone
from datong_assets.dbt import client, graph
from datong_assets.hops import CYCLE
from datong_assets.progress import Listener, Progress, tell, watching


@dataclass(frozen=True)
class StepResult:
    """What one run did. `rows` are those it moved: ingested, built, published or verified at the target."""

    name: str
    ok: bool
    errors: list[DatongError]
    rows: int
    seconds: float
    run_id: str = ""
    events: list[Progress] = field(default_factory=list[Progress])
    """All that happened, in order: entities, models, checks, tables, flows."""


@dataclass(frozen=True)
class CycleResult:
    """What a cycle did. `rows` is how many rows each layer holds now; `failed` counts write-backs not verified."""

    cycle_id: str
    steps: list[StepResult]
    rows: dict[str, int]
    quarantined: int
    checks_passed: int
    checks_failed: int
    verified: int
    failed: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every step held, and so every check."""
        return all(step.ok for step in self.steps)


_unbuilt: set[str] = set()
"""Systems that this process brought rows of since its last build: whether there is anything to build is known."""


def ingest(
    system: str,
    entities: Sequence[str] | None = None,
    *,
    on_progress: Listener | None = None,
    tags: Mapping[str, str] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> StepResult:
    """Ingest a system, or some of its entities. ConfigurationError for a system or entity that is not defined."""
    from datong_ingestion.systems_config import load_system

    config = load_system(system)
    chosen = [config.table(config.entity(name).name) for name in entities] if entities else None
    keys = [dg.AssetKey([table.schema, table.name]) for table in chosen] if chosen is not None else None
    # the models do not matter here, so a change of theirs need not be parsed first
    with graph.as_last_parsed():
        done = _run(f"ingest {system}", f"ingest_{system}", keys, on_progress=on_progress, tags=tags, instance=instance)
    if done.rows:
        _unbuilt.add(system)
    return done


def build(
    selection: str | None = None,
    *,
    nodes: Sequence[str] = (),
    everything: bool = False,
    on_progress: Listener | None = None,
    tags: Mapping[str, str] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> StepResult:
    """Build and test what is not up to date, or a selection in dbt's syntax; `everything` builds the rest as well.

    `nodes`, unique ids of dbt, are a selection that dbt need not be asked about. Where all is up to date there is
    nothing to run: the result bears no run id. ConfigurationError when a selection selects nothing.
    """
    client.warm()
    common: dict[str, Any] = {"on_progress": on_progress, "tags": tags, "instance": instance}
    is_whole = not selection and not nodes and not everything
    if is_whole and not _unbuilt and (done := _nothing_to_build(on_progress, instance)):
        return done
    return _build(selection, nodes=nodes, everything=everything, **common)


def _build(
    selection: str | None = None,
    *,
    nodes: Sequence[str] = (),
    everything: bool = False,
    on_progress: Listener | None,
    tags: Mapping[str, str] | None,
    instance: dg.DagsterInstance | None,
) -> StepResult:
    from datong_assets.dbt.building import REBUILD, facts_of, job_of

    if everything:
        tags = {**(tags or {}), REBUILD: "all"}
    if (nodes or selection) and not graph.is_current():
        # what dbt refuses is told at once, and nothing is built as it was before
        client.parse(DBT_PROJECT)
    parsed = graph.load()
    facts, chosen, keys = facts_of(parsed), None, None
    if nodes or selection:
        chosen = parsed.with_parts(parsed.spoken_of(nodes or _selected(selection or "", parsed)))
        if not chosen:
            raise ConfigurationError(
                f"selection {selection!r}",
                "matches no model.",
                "name a model as in bi__inventory, with what it needs as in +bi__inventory, or a folder as in gold.",
            )
        # the keys say in Dagster what was chosen, should somebody have the run done again
        keys = [facts.key(parsed.node(unique_id)) for unique_id in chosen]
    _unbuilt.clear()
    return _run("build", job_of(facts, chosen), keys, on_progress=on_progress, tags=tags, instance=instance)


def _selected(selection: str, parsed: graph.Graph) -> list[str]:
    """The nodes and tests of a selection. dbt is asked unless it only names models, which takes dbt half a second."""
    words = selection.split()
    named = [parsed.named(word) for word in words]
    if words and all(found is not None for found in named):
        return [unique_id for found in named for unique_id in found or ()]
    with client.process() as dbt:
        return dbt.list(words)


def _nothing_to_build(on_progress: Listener | None, instance: dg.DagsterInstance | None) -> StepResult | None:
    """The result of a build that finds everything as it should be, told as a run tells it; None when there is work.

    A run of Dagster tells each of some hundred checks anew, which costs more than to find that all of them hold.
    """
    from datong_assets.dbt import building

    started = time.monotonic()
    try:
        found = building.up_to_date(instance or instances.instance())
    except DatongError:
        # the run meets the same trouble, and records it
        return None
    if found is None:
        return None
    with watching(on_progress or (lambda _: None)):
        tell(Progress("step started", building.STEP))
        for event in found:
            tell(event)
        rows, seconds = sum(event.rows or 0 for event in found), round(time.monotonic() - started, 2)
        tell(Progress("step finished", building.STEP, rows=rows, seconds=seconds))
    return StepResult(building.STEP, True, [], rows, seconds, events=found)


def publish(
    *,
    on_progress: Listener | None = None,
    tags: Mapping[str, str] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> StepResult:
    """Publish the BI tables whose checks passed."""
    return _run("publish", "publish", None, on_progress=on_progress, tags=tags, instance=instance)


def write_back(
    flow: str | None = None,
    *,
    on_progress: Listener | None = None,
    tags: Mapping[str, str] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> StepResult:
    """Run one write-back flow or two-way synchronisation, or all. ConfigurationError for one that is not defined.

    Of a synchronisation both ways are run, also when one of them is named.
    """
    from datong_ingestion.two_way.config import load_syncs, run_name
    from datong_ingestion.write_back.config import load_flow

    from datong_assets.components.written_back import flow_key

    flow = run_name(flow) if flow else None
    keys = [flow_key(flow if flow in load_syncs() else load_flow(flow).flow)] if flow else None
    return _run("write-back", "write_back", keys, on_progress=on_progress, tags=tags, instance=instance)


def reconcile(
    what: str,
    *,
    options: Sequence[str] = (),
    on_progress: Listener | None = None,
    tags: Mapping[str, str] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> StepResult:
    """Reconcile a system with its bronze tables, or compute the `balances`. ConfigurationError for an unknown system.

    `options`: `anew`, `keys`, `as_is`, as `datong_ingestion.reconcile` has them.
    """
    from datong_ingestion.systems_config import load_system

    from datong_assets.components.quality import OPTIONS

    if what != "balances":
        load_system(what)
    if options:
        tags = {**(tags or {}), OPTIONS: ",".join(options)}
    with graph.as_last_parsed():
        return _run(
            f"reconcile {what}", f"reconcile_{what}", None, on_progress=on_progress, tags=tags, instance=instance
        )


def quality(
    *,
    everything: bool = False,
    on_progress: Listener | None = None,
    tags: Mapping[str, str] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> StepResult:
    """Score the entities that changed since they were last measured, or `everything`."""
    from datong_platform.quality import scores

    from datong_assets.components.quality import QUALITY

    keys = None
    if not everything:
        started = time.monotonic()
        keys = [dg.AssetKey([QUALITY, name]) for name in scores.stale()]
        if not keys:
            return StepResult(QUALITY, True, [], 0, round(time.monotonic() - started, 2))
    with graph.as_last_parsed():
        return _run(QUALITY, QUALITY, keys, on_progress=on_progress, tags=tags, instance=instance)


def upkeep(
    places: Sequence[str] = (),
    *,
    on_progress: Listener | None = None,
    tags: Mapping[str, str] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> StepResult:
    """Look after the tables of these schemas, and `landing`; after all when none is named.

    ConfigurationError for a schema that is none.
    """
    from datong_assets.components.upkeep import UPKEEP, checked

    checked(places)
    keys = [dg.AssetKey([UPKEEP, place]) for place in places] or None
    with graph.as_last_parsed():
        return _run(UPKEEP, UPKEEP, keys, on_progress=on_progress, tags=tags, instance=instance)


def anomalies(
    *,
    on_progress: Listener | None = None,
    tags: Mapping[str, str] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> StepResult:
    """Hold every bronze table against its own history."""
    with graph.as_last_parsed():
        return _run("anomalies", "anomalies", None, on_progress=on_progress, tags=tags, instance=instance)


def cycle(on_progress: Listener | None = None, *, instance: dg.DagsterInstance | None = None) -> CycleResult:
    """Ingest every system, build, publish, write back. One cycle at a time: TransientError when another is at work."""
    from datong_ingestion.systems_config import load_systems

    started, cycle_id = time.monotonic(), uuid.uuid4().hex[:12]
    news = _News(on_progress)
    common: dict[str, Any] = {
        "on_progress": news,
        "tags": {CYCLE: cycle_id},
        "instance": instance,
    }
    # what the steps record for the sync log is one commit, when all of them have ended
    with alone("cycle"), sync_log.run(cycle_id, cycle_id):
        if not graph.is_current():
            client.warm()
        steps = [_attempt(f"ingest {system}", lambda name=system: ingest(name, **common)) for system in load_systems()]
        steps.append(
            _attempt(
                "build",
                lambda: (None if news.came else _nothing_to_build(on_progress, instance)) or _build(**common),
            )
        )
        # a model that is edited meanwhile belongs to the next cycle
        with graph.as_last_parsed():
            steps.append(_attempt("publish", lambda: publish(**common)))
            steps.append(_attempt("write-back", lambda: write_back(**common)))
            steps.append(_attempt("quality", lambda: quality(**common)))
    events = [event for step in steps for event in step.events]
    return CycleResult(
        cycle_id=cycle_id,
        steps=steps,
        rows=(rows := _rows(events)),
        quarantined=rows.get("quarantine", 0),
        checks_passed=sum(event.ok for event in events if event.kind == "check"),
        checks_failed=sum(not event.ok and not event.skipped for event in events if event.kind == "check"),
        verified=sum(event.rows or 0 for event in events if event.kind == "flow"),
        failed=sum(event.failed for event in events if event.kind == "flow"),
        seconds=round(time.monotonic() - started, 2),
    )


def line(progress: Progress) -> str:
    """One thing that happened, as a line of text."""
    subject = f"{progress.step}: {progress.name}" if progress.name else progress.step
    if progress.kind == "step started":
        return f"{subject} started"
    state = "skipped" if progress.skipped else "ok" if progress.ok else "failed"
    rows = "" if progress.rows is None else f", {progress.rows} rows"
    words = str(progress.error) if progress.error else progress.detail
    return f"{subject} {state}{rows}, {progress.seconds:.2f} s" + (f" ({words})" if words else "")


class _News:
    """Hears what an ingestion tells; at the first row that came, dbt gets ready beside it."""

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self.came = False

    def __call__(self, progress: Progress) -> None:
        if progress.kind == "entity" and progress.rows and not self.came:
            self.came = True
            client.warm()
        if self._listener:
            self._listener(progress)


def _attempt(name: str, work: Callable[[], StepResult]) -> StepResult:
    """A step whose own trouble must not stop the ones after it."""
    started = time.monotonic()
    try:
        return work()
    except DatongError as error:
        tell(Progress("step finished", name, ok=False, seconds=time.monotonic() - started, error=error))
        return StepResult(name, False, [error], 0, round(time.monotonic() - started, 2))


def _run(
    name: str,
    job: str | dg.JobDefinition,
    keys: Sequence[dg.AssetKey] | None,
    *,
    on_progress: Listener | None,
    tags: Mapping[str, str] | None,
    instance: dg.DagsterInstance | None,
) -> StepResult:
    """Run a job, by itself or by its name in the definitions, here and now; `keys` narrows it to these assets."""
    started = time.monotonic()
    events: list[Progress] = []

    def listen(progress: Progress) -> None:
        events.append(progress)
        if on_progress:
            on_progress(progress)

    with watching(listen):
        tell(Progress("step started", name))
        with _storage_named(name):
            done = (_job(job) if isinstance(job, str) else job).execute_in_process(
                instance=instance or instances.instance(),
                asset_selection=list(keys) if keys is not None else None,
                tags={**(tags or {}), instances.PROCESS: instances.this_process()},
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )
        if _interrupted(done):
            # Dagster records an interrupted run as failed and goes on; who pressed Ctrl-C wants all of it to stop
            raise KeyboardInterrupt
        errors = [event.error for event in events if event.error]
        if not done.success and not errors:
            errors = list(_unexplained(name, done))
        seconds = round(time.monotonic() - started, 2)
        rows = sum(event.rows or 0 for event in events if event.ok)
        tell(Progress("step finished", name, ok=done.success, rows=rows, seconds=seconds))
    happened = [event for event in events if not event.kind.startswith("step")]
    return StepResult(name, done.success, errors, rows, seconds, done.run_id, happened)


@contextmanager
def _storage_named(name: str) -> Generator[None]:
    """The loss of Dagster's storage in the middle of a run as a ServiceError, as when it is not there at all."""
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except (DagsterPostgresException, DBAPIError) as error:
        raise ServiceError(
            "Dagster's storage",
            f"broke off while {name} ran: {str(error).splitlines()[0].strip()}",
            "run `datong doctor`, then `datong up`, then this again: it goes on where it stopped.",
        ) from error


def definitions() -> dg.Definitions:
    """All definitions, as this process sees them; read again when a model or a setting changed."""
    return _definitions(str(settings()), str(graph.load().content["stamp"]))


def _job(name: str) -> dg.JobDefinition:
    return definitions().resolve_job_def(name)


@lru_cache(maxsize=2)
def _definitions(_settings: str, _stamp: str) -> dg.Definitions:
    from datong_assets.definitions import defs

    return defs()


def _interrupted(done: dg.ExecuteInProcessResult) -> bool:
    failures = [event.step_failure_data for event in done.all_events if event.is_step_failure]
    return any(failure.error and failure.error.cls_name == "DagsterExecutionInterruptedError" for failure in failures)


def _unexplained(name: str, done: dg.ExecuteInProcessResult) -> Iterable[DatongError]:
    """The failures of a run that ended by something else than an error of ours."""
    words = []
    for event in done.all_events:
        if event.is_failure and (data := getattr(event, "event_specific_data", None)) and getattr(data, "error", None):
            error = data.error.cause or data.error
            words.append(error.message.strip())
    reason = "; ".join(dict.fromkeys(words)) or "ended without saying why"
    yield DatongError(
        name, reason, f"look at run {done.run_id} in the Dagster UI ({settings().dagster_url or 'datong up'})."
    )


def _rows(events: Sequence[Progress]) -> dict[str, int]:
    """Rows that each layer holds after a cycle; those of entities that failed are read from their tables' logs."""
    from datong_ingestion.systems_config import load_systems

    from datong_assets import lake_facts

    rows: Counter[str] = Counter()
    for event in events:
        schema = event.name.split(".")[0]
        # what staging holds of its own are code lists
        if event.kind == "model" and event.rows is not None and not event.skipped and schema != "staging":
            rows[schema] += event.rows
    ingested = {(event.step, event.name): event.total for event in events if event.kind == "entity"}
    for system in load_systems().values():
        for entity in system.entities:
            held = ingested.get((f"ingest {system.system}", entity.name))
            if held is None:
                known = lake_facts.read(system.table(entity.name))
                held = known.rows if known else 0
            rows["bronze"] += held
    return {schema: rows[schema] for schema in SCHEMAS if schema in rows}
