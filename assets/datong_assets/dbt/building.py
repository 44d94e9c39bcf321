"""Builds of the dbt project: every model, seed and snapshot an asset, every test a check, one dbt invocation a run.

From a parsed project to the job `build`, and from what dbt tells to Dagster's events. A test that fails stops what
reads the table, as in plain `dbt build`, and fails the run. The component `dbt_models` is apart: who only builds need
not load all the kinds of components.
"""

import re
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from datong_platform import settings
from datong_platform.errors import DatongError, ServiceError, TerminalError
from datong_platform.standard import cases, conservation, decisions
from datong_platform.standard.contract import contracts

from datong_assets import event_log, hops, lake_facts
from datong_assets.alone import alone
from datong_assets.dbt import client, graph, units
from datong_assets.dbt.audit import Audit
from datong_assets.dbt.client import NodeFinished, NodeStarted
from datong_assets.dbt.facts import Facts
from datong_assets.dbt.graph import Graph
from datong_assets.dbt.up_to_date import INPUTS, UpToDate
from datong_assets.failing import NOT_RUN, explained, fail
from datong_assets.instance import pooled
from datong_assets.lake_facts import TableFacts
from datong_assets.progress import Progress, tell

STEP = "build"
UNCHANGED = "unchanged"
"""Metadata of a check's result that is carried on, because the table is up to date."""
REBUILD = "datong/rebuild"
"""The tag of a run that builds everything, also what is up to date."""
_A_PART = re.compile(r"int_[a-z0-9]+__(?P<entity>[a-z0-9_]+)$")
# Sail: ObjectName([Identifier("given"), Identifier("city")]) is missing; Spark: name `given`.`city` cannot be resolved
_NO_COLUMN = re.compile(r'Identifier\("(\w+)"\)\]\) is missing|`(\w+)` cannot be resolved')
_Event = dg.MaterializeResult[Any] | dg.AssetCheckResult


def assets_of(facts: Facts, nodes: Iterable[str], tests: Iterable[str]) -> tuple[dg.AssetsDefinition, Any]:
    """These nodes as assets with these tests as checks, and the job `build` of them."""

    @dg.multi_asset(
        name="dbt_build",
        specs=[facts.asset(unique_id) for unique_id in nodes],
        check_specs=[check for unique_id in tests if (check := facts.check(unique_id))],
        can_subset=True,
        allow_arbitrary_check_specs=True,
    )
    def dbt_build(context: dg.AssetExecutionContext) -> Iterator[_Event]:
        with hops.run(context.run), explained(STEP):
            yield from _build(context, facts)

    job = dg.define_asset_job(
        "build", selection=dg.AssetSelection.assets(dbt_build), description="Build and test every dbt model."
    )
    return dbt_build, job


def job_of(facts: Facts, nodes: Collection[str] | None = None) -> dg.JobDefinition:
    """The job `build` by itself, of all nodes or of these alone with their checks.

    All definitions of an installation take seconds to load again after an edit, and a run of theirs plans everything.
    """
    parsed = facts.graph
    tests = [test for test, table in parsed.tested.items() if nodes is None or table in nodes]
    dbt_build, job = assets_of(facts, parsed.built if nodes is None else nodes, tests)
    found = dg.Definitions(assets=[dbt_build], jobs=[job], executor=dg.in_process_executor)
    return found.resolve_job_def("build")


def facts_of(parsed: Graph, owner: str = "team:data") -> Facts:
    """The facts of a parsed project on the engine of the settings."""
    kind = settings.settings().engine_kind
    return Facts(parsed, owner, "sail" if kind == "sail" else "spark")


def _build(context: dg.AssetExecutionContext, facts: Facts) -> Iterator[_Event]:
    """Build what was chosen, yielding each table and test as dbt ends it; dg.Failure at the end names what failed."""
    failures: list[DatongError] = []
    parsed, chosen = facts.graph, _chosen(context, facts)
    select = _selectors(parsed, chosen)
    # a test that is chosen alone speaks of a table
    about = {parsed.tested.get(unique_id, unique_id) for unique_id in chosen}
    pooled(context.instance)
    with alone("build"):
        if _heeds_decisions(facts, about):
            decisions.refresh()
        inputs = UpToDate(facts, context.instance, about)
        event_log.remembering(context, inputs.materializations)
        audit = Audit(facts, inputs, context.run.run_id, scope="selection" if select else "full")
        indirect = "empty" if select else ""
        if not select and REBUILD not in context.run.tags:
            stale = inputs.stale()
            yield from _up_to_date(stale, inputs, facts)
            context.log.info(
                f"{len(parsed.built) - len(stale)} of {len(parsed.built)} tables and views are up to date."
            )
            if not stale:
                _show(context, audit)
                return
            if len(stale) < len(parsed.built):
                select, indirect = _selectors(parsed, stale), "eager"
        units.demand(parsed, about)
        told = hops.BuildHops(facts)
        with client.process(parsed.project) as dbt, closing(told), _recorded(context, audit):
            events = dbt.build(select, indirect=indirect, schemas=_schemas(facts, chosen))
            for event, known in _with_lake_facts(events, facts):
                if isinstance(event, NodeStarted):
                    continue
                error = _failure(event, facts)
                if error:
                    failures.append(error)
                    context.log.error(str(error))
                audit.heard(event, known)
                told.heard(event, known)
                yield from _told(event, known, error, facts, inputs)
    fail(failures)


def up_to_date(instance: dg.DagsterInstance, project: Path = settings.DBT_PROJECT) -> list[Progress] | None:
    """What a build would tell that finds every table up to date and shown; None when one has work to do.

    DatongError as from a build: another one is at work, or the lake does not answer.
    """
    from datong_platform.lake import catalog

    facts = facts_of(graph.load(project))
    pooled(instance)
    with alone("build"):
        decisions.refresh()
        inputs = UpToDate(facts, instance)
        if inputs.stale():
            return None
        # a build that died may have left tables that passed and that nobody was shown yet
        if any(table.outcome != "unchanged" for table in Audit(facts, inputs, "", scope="full").result().tables):
            return None
        # an engine that `datong up` starts is told at its start; of another nobody knows when it started
        if settings.settings().engine_kind == "remote" and catalog.show_published():
            return None
    return [event for unique_id in facts.graph.in_order for event, _ in _left_out(unique_id, inputs, facts)]


@contextmanager
def _recorded(context: dg.AssetExecutionContext, audit: Audit) -> Generator[None]:
    """What the build came to is written down when it ends, also when it failed on its way: counts, cases, readers."""
    try:
        yield
    except GeneratorExit:
        # Dagster gave the run up, and this process may be ending: the next build shows what this one left checked
        raise
    except BaseException:
        audit.broke_off()
        _write_down(context, audit)
        raise
    _write_down(context, audit)


def _write_down(context: dg.AssetExecutionContext, audit: Audit) -> None:
    try:
        if audit.counted:
            conservation.record_build(context.run.run_id)
        if audit.judged and (change := cases.update(context.run.run_id)).words:
            context.log.info(f"quarantine: {change.words}.")
    finally:
        _show(context, audit)


def _show(context: dg.AssetExecutionContext, audit: Audit) -> None:
    """Let people read what passed, and say in the log what was held back, and why."""
    from datong_platform.lake import builds, catalog, upkeep

    done = builds.record(audit.result())
    hidden = catalog.show_published(done, audit.before)
    upkeep.after_build(done.number)
    for table in done.tables:
        if table.outcome in {"held", "withdrawn"}:
            context.log.warning(f"{table.table} is {table.outcome}: {table.reason}")
    context.log.info(
        f"Build {done.number}: {done.count('published')} tables of gold and serve published, "
        f"{done.count('unchanged')} as they were, {done.count('held', 'failed', 'skipped')} held back."
    )
    if hidden:
        name, reason = next(iter(hidden.items()))
        raise ServiceError(
            f"table {name}",
            f"is published, and the engine does not show it: {reason} ({len(hidden)} such tables)",
            "run `datong doctor`, then `datong build`.",
        )


def _up_to_date(stale: Sequence[str], inputs: UpToDate, facts: Facts) -> Iterator[dg.AssetCheckResult]:
    """What is left out, as progress, and the results of its checks, which hold as they did when it was built.

    They are told again because Dagster takes a check that a run planned and did not tell for one without a result.
    """
    parsed, left = facts.graph, set(stale)
    # dbt runs a check when anything that it reads was built, so these are told by it
    again = {
        (facts.key(parsed.node(table)), facts.check_name(parsed.tests[test]))
        for test, table in parsed.tested.items()
        if not left.isdisjoint(parsed.parents(test))
    }
    for unique_id in parsed.in_order:
        if unique_id in left:
            continue
        for event, check in _left_out(unique_id, inputs, facts):
            if check is not None:
                if (check.asset_key, check.check_name) in again:
                    continue
                yield dg.AssetCheckResult(
                    asset_key=check.asset_key,
                    check_name=check.check_name,
                    passed=check.passed,
                    severity=check.severity,
                    description=check.description,
                    metadata={**check.metadata, UNCHANGED: True},
                )
            tell(event)


def _left_out(
    unique_id: str, inputs: UpToDate, facts: Facts
) -> Iterator[tuple[Progress, dg.AssetCheckEvaluation | None]]:
    """What is told of a table that is up to date, and of each check on it."""
    name = _name(facts, unique_id)
    yield Progress("model", STEP, name, unchanged=True, rows=inputs.rows.get(unique_id)), None
    for check in inputs.checks[unique_id]:
        yield Progress("check", STEP, f"{name}: {check.check_name}", ok=check.passed, unchanged=True), check


def _chosen(context: dg.AssetExecutionContext, facts: Facts) -> list[str]:
    """The nodes and tests that the run chose; none for everything."""
    parsed = facts.graph
    keys, checks = context.selected_asset_keys, context.selected_asset_check_keys
    nodes = [id_ for id_, node in parsed.built.items() if facts.key(node) in keys]
    tests = [
        id_
        for id_, table in parsed.tested.items()
        if dg.AssetCheckKey(facts.key(parsed.node(table)), facts.check_name(parsed.tests[id_])) in checks
    ]
    if len(nodes) == len(parsed.built) and len(tests) == len(parsed.tested):
        return []
    return [*nodes, *tests]


def _heeds_decisions(facts: Facts, chosen: Iterable[str]) -> bool:
    """Whether any of these nodes, or of all where none is chosen, is built from people's decisions."""
    sources = facts.graph.sources
    read = facts.graph.lineage(chosen) or set(sources)
    return any(facts.table(node) == decisions.ACTIVE for unique_id, node in sources.items() if unique_id in read)


def _schemas(facts: Facts, chosen: Iterable[str]) -> list[str]:
    """The schemas that a build of these nodes writes and reads; none for all."""
    parsed = facts.graph
    nodes = [
        parsed.node(each) for id_ in chosen for each in (id_, *(parsed.parents(id_) if id_ in parsed.nodes else ()))
    ]
    return sorted({str(node["schema"]) for node in nodes})


def _selectors(parsed: Graph, unique_ids: Sequence[str]) -> list[str]:
    return ["fqn:" + ".".join(parsed.nodes[unique_id]["fqn"]) for unique_id in unique_ids]


def _with_lake_facts(
    events: Iterator[NodeStarted | NodeFinished], facts: Facts
) -> Iterator[tuple[NodeStarted | NodeFinished, TableFacts | None]]:
    """Each event, a built table's with its facts: these are read while dbt goes on."""
    waiting: list[tuple[NodeStarted | NodeFinished, Future[TableFacts | None] | None]] = []
    with ThreadPoolExecutor(max_workers=4) as pool:
        for event in events:
            table = _made(event, facts)
            waiting.append((event, pool.submit(lake_facts.read, table, built=True) if table else None))
            while waiting and (waiting[0][1] is None or waiting[0][1].done()):
                first, known = waiting.pop(0)
                yield first, known.result() if known else None
        for event, known in waiting:
            yield event, known.result() if known else None


def _made(event: NodeStarted | NodeFinished, facts: Facts) -> Any:
    """The Delta table that a node made, if it did make one."""
    node = facts.graph.built.get(event.unique_id)
    if not isinstance(event, NodeFinished) or event.status != "success" or node is None:
        return None
    return None if node["config"].get("materialized") == "view" else facts.table(node)


def _failure(event: NodeFinished, facts: Facts) -> DatongError | None:
    """Why the node stops the run, or None when it does not. What was only skipped has its reason elsewhere."""
    if event.status not in {"error", "fail", "partial success", "runtime error"}:
        return None
    node = facts.graph.nodes[event.unique_id]
    file = f"{facts.graph.project.name}/{node['original_file_path']}"
    if node["resource_type"] == "test":
        table = facts.graph.tested.get(event.unique_id)
        thing = f"test {facts.check_name(node)} on {_name(facts, table)}" if table else f"test {node['name']}"
        found = f"finds {event.failures} rows" if event.status == "fail" else "cannot be run"
        return TerminalError(
            thing,
            f"{found}: {event.message}",
            f"see {file}; what reads the table was not built.",
        )
    owed = _owed_column(str(node["name"]), event.message or "")
    return TerminalError(
        f"table {_name(facts, event.unique_id)}",
        f"cannot be built: {event.message}",
        f"{f'deliver {owed} in' if owed else 'mend'} {file}, then run `datong build {node['name']}+`.",
    )


def _owed_column(model: str, message: str) -> str:
    """The column that a part of an entity lacks, said for who just added it to the contract; empty when none does."""
    part, lacks = _A_PART.match(model), _NO_COLUMN.search(message)
    about = contracts("silver").get(part["entity"]) if part and lacks else None
    name = next(found for found in lacks.groups() if found) if lacks else ""
    if about is None or name not in about.fields_by_name:
        return ""
    return f"the contract's field `{name}` as a column (a system that has none: `cast(null as string) as {name}`)"


def _name(facts: Facts, unique_id: str) -> str:
    return ".".join(facts.key(facts.graph.node(unique_id)).path)


def _told(
    event: NodeFinished, known: TableFacts | None, error: DatongError | None, facts: Facts, inputs: UpToDate
) -> Iterator[_Event]:
    """A finished node as Dagster's event, and as progress."""
    parsed, skipped = facts.graph, event.status == "skipped"
    if node := parsed.built.get(event.unique_id):
        if event.status == "success":
            yield dg.MaterializeResult(
                asset_key=facts.key(node),
                metadata={
                    "seconds": event.seconds,
                    INPUTS: inputs.built(event.unique_id, known),
                    **(known.metadata(facts.columns(node)) if known else {}),
                },
            )
        tell(
            Progress(
                "model",
                STEP,
                _name(facts, event.unique_id),
                ok=event.status == "success",
                skipped=skipped,
                rows=known.rows if known else None,
                seconds=event.seconds,
                error=error,
            )
        )
    elif (test := parsed.tests.get(event.unique_id)) and (table := parsed.tested.get(event.unique_id)):
        passed = event.status == "pass"
        if not skipped:
            yield dg.AssetCheckResult(
                asset_key=facts.key(parsed.node(table)),
                check_name=facts.check_name(test),
                passed=passed,
                severity=dg.AssetCheckSeverity.WARN if event.status == "warn" else dg.AssetCheckSeverity.ERROR,
                description=None if passed else event.message,
                metadata={
                    "rows": event.failures,
                    "seconds": event.seconds,
                    **({} if event.status in {"pass", "warn", "fail"} else {NOT_RUN: True}),
                },
            )
        tell(
            Progress(
                "check",
                STEP,
                f"{_name(facts, table)}: {facts.check_name(test)}",
                ok=passed,
                skipped=skipped,
                seconds=event.seconds,
                detail="" if passed else event.message,
                error=error,
            )
        )
