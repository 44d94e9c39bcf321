"""The commands and their options. Each is thin: it reads its options, calls one function, prints what came back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import typer

from datong_infra.cli.alerts import alerts
from datong_infra.cli.audit import audit
from datong_infra.cli.bench import bench
from datong_infra.cli.flows import flows
from datong_infra.cli.help import Group
from datong_infra.cli.output import Format
from datong_infra.cli.sync import sync
from datong_infra.cli.two_way import two_way

_HELP = """Datong connects ERP, MES and CRM under one standard, both ways.

Try it with the sandbox plant:

1. datong demo: everything at once, from services to verified write-backs

Work with it, part by part:

1. datong up: start storage, engine, database and Dagster
2. datong sandbox up: start the sandbox plant, or define your own systems under assets/
3. datong ingest SYSTEM: read a source system into bronze (datong stream SYSTEM: without end)
4. datong build: build and check silver, gold and serve
5. datong publish: bring the checked BI tables to PostgreSQL
6. datong write-back: carry decisions back to the systems and verify them
7. datong cycle: steps 3 to 6 for every system
8. datong reconcile: prove that the lake holds what the systems hold
9. datong sql "select …": look at any table
10. datong down: stop everything

Clear what was refused and judge what is alike: in a browser, on the desk (datong up tells where it is, datong user add
NAME lets you in), or with datong quarantine, datong standard codes, datong match. What it means: datong dictionary.

Connect your own systems: datong new source, then datong preview, profile, ingest; datong inventory shows them all.

Keep it safe: datong backup PLACE every night, datong repair what was lost, datong restore PLACE into an empty home.

How fast it is, beside others: datong bench.

When something is wrong: datong alerts list, datong sync log, datong doctor, datong status, datong logs SERVICE,
datong quarantine list.
"""


class _Datong(Group):
    headings: ClassVar = {
        "Services": ("demo", "up", "down", "status", "doctor", "logs", "sandbox", "bench"),
        "Connect a system": ("new", "secrets", "preview", "profile", "inventory"),
        "Move data": ("cycle", "ingest", "stream", "build", "publish", "write-back"),
        "Look at data": ("sql", "explain", "dictionary", "builds"),
        "Decide, as people": ("user", "quarantine", "standard", "match", "flows", "two-way", "audit"),
        "See that all is right": ("alerts", "sync", "reconcile", "conservation", "quality"),
        "Keep it safe": ("upkeep", "backup", "backups", "restore", "repair"),
    }


app = typer.Typer(
    name="datong",
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    cls=_Datong,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
sandbox = typer.Typer(
    name="sandbox",
    help="The sandbox plant: an ERP, a MES and a CRM that live.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)
app.add_typer(sandbox)
app.add_typer(alerts)
app.add_typer(sync)
app.add_typer(flows)
app.command(name="audit")(audit)
app.add_typer(two_way)
app.add_typer(bench)
builds = typer.Typer(
    name="builds",
    help="Builds of gold and serve: what each let people read, what it held back and why.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)
app.add_typer(builds)
backups = typer.Typer(
    name="backups",
    help="The backups of a place: list them, check them.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)
app.add_typer(backups)
new = typer.Typer(
    name="new",
    help="Make something new: a source's definition.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)
app.add_typer(new)
secrets = typer.Typer(
    name="secrets", help="The secrets that definitions name.", no_args_is_help=True, cls=Group, rich_markup_mode=None
)
app.add_typer(secrets)
quarantine = typer.Typer(
    name="quarantine",
    help="What could not be read or breaks a rule: list, show, then fix, override, replay.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)
app.add_typer(quarantine)
golden = typer.Typer(
    name="match",
    help="Golden records: which records stand for the same customer, supplier or material; list, show, then decide.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)
app.add_typer(golden)
user = typer.Typer(
    name="user",
    help="Who may log in to the desk, the pages of stewards.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)
app.add_typer(user)

standard = typer.Typer(
    name="standard",
    help="The standard: contracts of every table, and what is made from them.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)
app.add_typer(standard)

FormatOption = Annotated[Format, typer.Option("--format", help="How to print the listing.")]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", help="sail, spark, or the address sc://host:port of a Spark cluster. Remembered."),
]


@app.command()
def up(engine: EngineOption = None, format_: FormatOption = Format.table) -> None:
    """Start the services that are not running; return when all are healthy."""
    from datong_infra.cli import commands

    commands.up(engine, format_)


@app.command()
def down(
    services: Annotated[list[str] | None, typer.Argument(help="Services to stop; all when none is named.")] = None,
) -> None:
    """Stop the services that `datong up` started. Data stays."""
    from datong_infra.cli import commands

    commands.down(services or None)


@app.command()
def status(format_: FormatOption = Format.table) -> None:
    """Show every service: state, address, memory."""
    from datong_infra.cli import commands

    commands.status(format_)


@app.command()
def doctor(format_: FormatOption = Format.table) -> None:
    """Say what is missing or unhealthy, and the next step. Exit status 1 when something is."""
    from datong_infra.cli import commands

    commands.doctor(format_)


@app.command()
def ingest(
    system: Annotated[str, typer.Argument(help="A source system, as in assets/datong_assets/defs.")],
    entities: Annotated[list[str] | None, typer.Argument(help="Its entities; all when none is named.")] = None,
    *,
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Read one entity whole, in parts at the same time; resumes.")
    ] = False,
    anew: Annotated[bool, typer.Option("--anew", help="With --backfill: resume none that broke off.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Read one entity anew, and replace its table and the table's schema.")
    ] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Read a source system into bronze: only what is new since the last time."""
    if rebuild:
        from datong_infra.cli import backfill as backfills

        if backfill or anew:
            raise typer.BadParameter("stands alone, without --backfill and --anew", param_hint="--rebuild")
        backfills.rebuild(system, entities, format_)
        return
    if backfill:
        from datong_infra.cli import backfill as backfills

        backfills.run(system, entities, anew=anew, format_=format_)
        return
    from datong_infra.cli import work

    work.ingest(system, entities or None, format_)


@app.command()
def stream(
    system: Annotated[str, typer.Argument(help="A source system, as in assets/datong_assets/defs.")],
    entities: Annotated[
        list[str] | None,
        typer.Argument(help="Its entities; without any, those of mode log or stream, else those read by changes."),
    ] = None,
    pause: Annotated[float, typer.Option("--pause", min=0.0, help="Seconds to wait while nothing new comes.")] = 0.5,
    format_: FormatOption = Format.table,
) -> None:
    """Read a source system into bronze without end, seconds behind it; Ctrl-C stops after the batch at work."""
    from datong_infra.cli import stream as streams

    streams.stream(system, entities or None, pause, format_)


@app.command()
def build(
    selection: Annotated[str | None, typer.Argument(help="What to build, in dbt's selection syntax.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Build what is up to date as well.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay: build each model when it is saved, and show its first rows.")
    ] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Build and check what is not up to date, or the part of the dbt project that SELECTION names."""
    from datong_infra.cli import work

    if watch:
        work.watch(selection, everything, format_)
        return
    work.build(selection, everything, format_)


@app.command()
def publish(format_: FormatOption = Format.table) -> None:
    """Publish the BI tables whose checks passed to PostgreSQL, schema serve."""
    from datong_infra.cli import work

    work.publish(format_)


@app.command(name="write-back")
def write_back(
    flow: Annotated[
        str | None, typer.Argument(help="A write-back flow or a two-way synchronisation; all when none is named.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: counts, guards, and sample changes before and after.")
    ] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Send planned changes to the systems, read them back, and count those verified.

    What is left is seen and decided by `datong flows`.
    """
    if dry_run:
        from datong_infra.cli.flows import preview

        preview(flow, format_)
        return
    from datong_infra.cli import work

    work.write_back(flow, format_)


@app.command()
def cycle(format_: FormatOption = Format.table) -> None:
    """Ingest every system, build, publish and write back."""
    from datong_infra.cli import work

    work.cycle(format_)


@app.command()
def reconcile(
    what: Annotated[
        str | None,
        typer.Argument(help="A source system, or `balances`; everything when nothing is named.", metavar="[SYSTEM]"),
    ] = None,
    *,
    keys: Annotated[
        bool,
        typer.Option("--keys", help="Compare the keys themselves where a system gives no totals of them: reads more."),
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="Prove again, window by window, what was proven before.")
    ] = False,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Ingest nothing before judging a table that cannot tell newer rows apart.")
    ] = False,
    last: Annotated[bool, typer.Option("--last", help="Show what was found the last time; compare nothing.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Prove that the lake holds what the systems hold, and that what must add up does. Exit status 1 when it does not.

    Differences name their keys; ops.verified_through tells how far each table is proven.
    """
    from datong_infra.cli import reconcile as reconciling

    options = [name for name, wanted in (("keys", keys), ("anew", anew), ("as_is", as_is)) if wanted]
    reconciling.reconcile(what, options, last=last, format_=format_)


@app.command()
def quality(
    entity: Annotated[str | None, typer.Argument(help="A silver entity; all when none is named.")] = None,
    *,
    history: Annotated[bool, typer.Option("--history", help="Every score there was, oldest first.")] = False,
    last: Annotated[
        bool, typer.Option("--last", help="Show the scores that were measured last; measure nothing.")
    ] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Score every entity by the quality dimensions of GB/T 36344, and name the rules that are broken most."""
    from datong_infra.cli import quality as scored

    scored.quality(entity, history=history, last=last, format_=format_)


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help='A statement, as in "select * from gold.fct_production".')],
    door: Annotated[
        str, typer.Option("--door", help="engine: every layer; postgres: what BI tools see, read-only.")
    ] = "engine",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to print.")] = 100,
    build: Annotated[
        str | None,
        typer.Option(help="Gold and serve as this build made them: a run's id, its first letters, or its number."),
    ] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Run one SQL statement and print its rows."""
    from datong_infra.cli import commands

    if build is not None:
        from datong_infra.cli import builds as past

        if door != "engine":
            raise typer.BadParameter("PostgreSQL holds what people read now only", param_hint="--build")
        past.register(build)
        statement = past.as_of(statement, build)
    commands.sql(statement, door, limit, format_)


@app.command()
def explain(
    table: Annotated[str, typer.Argument(help="A table of gold, serve or silver, as in gold.mart_inventory.")],
    key: Annotated[str, typer.Argument(help="The row, as in 'source_system=erp,material_id=30000004'.")],
    column: Annotated[str, typer.Argument(help="The column whose value is asked about.")],
    format_: FormatOption = Format.table,
) -> None:
    """Walk a value back to the source rows that it was made of, with batch, contract, rules and decisions."""
    from datong_infra.cli import explain as explanations

    explanations.show(table, key, column, format_)


@builds.command(name="list")
def builds_list(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many of the newest.")] = 20,
    format_: FormatOption = Format.table,
) -> None:
    """List the newest builds: what each published and held back."""
    from datong_infra.cli import builds as past

    past.listing(limit, format_)


@builds.command(name="show")
def builds_show(
    build: Annotated[str, typer.Argument(help="A run's id, its first letters, or the build's number.")] = "latest",
    format_: FormatOption = Format.table,
) -> None:
    """Show one build: each table's outcome, why it was held back, and what people read after it."""
    from datong_infra.cli import builds as past

    past.show(build, format_)


PlaceArgument = Annotated[
    str,
    typer.Argument(help="A folder, or a bucket as s3://bucket/prefix?endpoint_override=http://host:port."),
]


@app.command()
def upkeep(
    places: Annotated[
        list[str] | None, typer.Argument(help="Schemas of the lake, or `landing`; all when none is named.")
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go, and what is kept.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Put small files together, and remove what is past its time.

    Dagster does it every night, once its schedule `upkeep` is switched on. How long things are kept is said in a
    source's definition (retention) and, of what people read, in its contract.
    """
    from datong_infra.cli import safe

    safe.upkeep(places or [], format_, dry_run=dry_run)


@app.command()
def repair(
    *,
    place: Annotated[
        str | None, typer.Option("--from", help="A place of backups: what they hold is put back as it was.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only look: what is lost, and what of it matters.")
    ] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Find what the lake lost (log entries, checkpoints, files, databases, the engine's catalog) and mend it.

    Exit status 1 while something is lost; what could not be mended is named with what to do.
    """
    from datong_infra.cli import safe

    safe.repair(place, format_, dry_run=dry_run)


@app.command()
def backup(
    place: PlaceArgument,
    keep: Annotated[int | None, typer.Option("--keep", min=1, help="Forget all but this many of the newest.")] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Copy the lake and the databases to another place while work goes on; only what is new is copied."""
    from datong_infra.cli import backups as kept

    kept.make(place, keep, format_)


@app.command()
def restore(
    place: PlaceArgument,
    backup_id: Annotated[str, typer.Option("--backup", help="Its id, as `datong backups list` shows it.")] = "latest",
) -> None:
    """Bring a backup back into an empty DATONG_HOME (or bucket), every object compared with its hash."""
    from datong_infra.cli import backups as kept

    kept.restore(place, backup_id)


@backups.command(name="list")
def backups_list(place: PlaceArgument, format_: FormatOption = Format.table) -> None:
    """List the backups of a place, newest first."""
    from datong_infra.cli import backups as kept

    kept.listing(place, format_)


@backups.command(name="check")
def backups_check(
    place: PlaceArgument,
    backup_id: Annotated[str, typer.Option("--backup", help="Its id.")] = "latest",
) -> None:
    """Read a whole backup and compare it with its hashes."""
    from datong_infra.cli import backups as kept

    kept.check(place, backup_id)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop everything at the end.")] = False,
    scale: Annotated[
        float, typer.Option("--scale", min=0.01, help="Size of a new plant; 1 is about 100,000 rows.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of a new plant.")] = 42,
    engine: EngineOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Start everything, run the whole cycle on the sandbox plant, and compare the result with the plant's own truth."""
    from datong_infra.cli.demo import demo as run

    run(once=once, scale=scale, seed=seed, engine=engine, format_=format_)


@app.command()
def logs(
    service: Annotated[str, typer.Argument(help="A service, as `datong status` names it.")],
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what is added.")] = False,
) -> None:
    """Print the end of a service's log."""
    from datong_infra.cli import commands

    commands.logs(service, lines, follow=follow)


@app.command()
def preview(
    system: Annotated[str, typer.Argument(help="A source system, as in assets/datong_assets/defs.")],
    entity: Annotated[str, typer.Argument(help="One of its entities.")],
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, max=1000, help="How many rows to show.")] = 5,
    format_: FormatOption = Format.table,
) -> None:
    """Show an entity's types and first rows, straight from its system. Nothing is loaded."""
    from datong_infra.cli import sources

    sources.preview(system, entity, rows, format_)


@app.command()
def profile(
    system: Annotated[str, typer.Argument(help="A source system, as in assets/datong_assets/defs.")],
    entity: Annotated[str, typer.Argument(help="One of its entities.")],
    *,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Read no more rows than this.")] = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", dir_okay=False, help="Where the HTML page goes; else into .datong/profiles."),
    ] = None,
    values: Annotated[bool, typer.Option("--values/--no-values", help="Show values of the data.")] = True,
    record: Annotated[bool, typer.Option("--record/--no-record", help="Show it in Dagster, too.")] = True,
    format_: FormatOption = Format.table,
) -> None:
    """Say what an entity's fields are like: nulls, distinct values, ranges, candidate keys. Nothing is loaded."""
    from datong_infra.cli import sources

    sources.profile(system, entity, limit=limit, page=page, values=values, record=record, format_=format_)


@app.command(name="conservation")
def conservation_(
    run: Annotated[str | None, typer.Option("--run", help="As it was after this run; the beginning of its id.")] = None,
    layer: Annotated[str | None, typer.Option("--layer", help="Only bronze, silver or gold.")] = None,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs that counted something.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Show what became of the rows that came, in every table that can drop rows. Exit status 1 when one is lost."""
    from datong_infra.cli import conservation

    if runs:
        conservation.runs(20, format_)
    else:
        conservation.show(run, layer, format_)


@quarantine.command(name="list")
def quarantine_list(
    system: Annotated[str | None, typer.Argument(help="A source system; all when none is named.")] = None,
    entity: Annotated[
        str | None, typer.Option("--entity", help="Only one entity, of the system or the standard.")
    ] = None,
    format_: FormatOption = Format.table,
) -> None:
    """List what is in quarantine: by entity what could not be read, by rule what is not as the standard asks."""
    from datong_infra.cli import quarantine as held

    held.listing(system, entity, format_)


@quarantine.command(name="show")
def quarantine_show(
    system: Annotated[str, typer.Argument(help="A source system.")],
    entity: Annotated[str, typer.Argument(help="One of its entities, or an entity of the standard.")],
    *,
    key: Annotated[str | None, typer.Option("--key", help="One record in full: as sent and as checked.")] = None,
    rule: Annotated[str | None, typer.Option("--rule", help="Only records that break this rule.")] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="Only what came in this batch.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many of the newest.")] = 20,
    format_: FormatOption = Format.table,
) -> None:
    """Show what could not be read, with its bytes and place, and the records that break a rule; newest first."""
    from datong_infra.cli import quarantine as held

    held.show(system, entity, key=key, rule=rule, batch=batch, limit=limit, format_=format_)


RecordSystem = Annotated[str, typer.Argument(help="The source system of the record.")]
RecordEntity = Annotated[str, typer.Argument(help="An entity of the standard, as in sales_order.")]
RecordKey = Annotated[str, typer.Argument(help="The record's key in its system, as `quarantine show` has it.")]
WhoOption = Annotated[str | None, typer.Option("--who", help="Who decides; else the user of this machine.")]
WhyOption = Annotated[str, typer.Option("--why", help="Why. It is kept with the decision.")]
UntilOption = Annotated[
    str | None, typer.Option("--until", help="Until when: a day as 2026-12-31, a time, or days as 30d.")
]
InsteadOption = Annotated[bool, typer.Option("--instead", help="Replace what was decided before.")]


@quarantine.command(name="fix")
def quarantine_fix(
    system: RecordSystem,
    entity: RecordEntity,
    key: RecordKey,
    values: Annotated[list[str], typer.Argument(help="FIELD=VALUE, by the contract's field names.")],
    why: WhyOption,
    *,
    who: WhoOption = None,
    until: UntilOption = None,
    instead: InsteadOption = False,
    format_: FormatOption = Format.table,
) -> None:
    """Put values in place of those that came; they are checked like any other. The source stays as it is."""
    from datong_infra.cli import quarantine as held

    held.fix(system, entity, key, values, who=who, why=why, until=until, instead=instead, format_=format_)


@quarantine.command(name="override")
def quarantine_override(
    system: RecordSystem,
    entity: RecordEntity,
    key: RecordKey,
    why: WhyOption,
    *,
    rule: Annotated[str | None, typer.Option("--rule", help="Only this rule; else all that withhold it.")] = None,
    who: WhoOption = None,
    until: UntilOption = None,
    instead: InsteadOption = False,
    format_: FormatOption = Format.table,
) -> None:
    """Let a record pass the rules that withhold it, until the override expires or is withdrawn."""
    from datong_infra.cli import quarantine as held

    held.override(system, entity, key, rule=rule, who=who, why=why, until=until, instead=instead, format_=format_)


@quarantine.command(name="withdraw")
def quarantine_withdraw(
    decision_id: Annotated[str, typer.Argument(help="Id of a decision, as `quarantine decisions` has it.")],
    why: WhyOption,
    who: WhoOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Take a decision back: an override, a fix, or any other."""
    from datong_infra.cli import quarantine as held

    held.withdraw(decision_id, who, why, format_)


@quarantine.command(name="decisions")
def quarantine_decisions(
    entity: Annotated[str | None, typer.Option("--entity", help="Only those on one entity.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only of one kind, as in override.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what was taken back.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """List what people decided: what is in force, and what has expired and waits for somebody to look again."""
    from datong_infra.cli import quarantine as held

    held.decided(entity, kind, everything=everything, format_=format_)


@quarantine.command(name="replay")
def quarantine_replay(format_: FormatOption = Format.table) -> None:
    """Try what is in quarantine again: builds what changed since, and lists what was released. Safe to repeat."""
    from datong_infra.cli import quarantine as held

    held.replay(format_)


GoldenEntity = Annotated[str, typer.Argument(help="customer, supplier or material.")]


@golden.command(name="list")
def match_list(
    entity: Annotated[str | None, typer.Argument(help="Only of one entity.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, the likeliest first.")] = 50,
    format_: FormatOption = Format.table,
) -> None:
    """List the pairs of records that a person has to decide: too alike to be two, not alike enough to be one."""
    from datong_infra.cli import match

    match.listing(entity, limit, format_)


@golden.command(name="show")
def match_show(
    question: Annotated[str, typer.Argument(help="Id of a question, as `match list` has it.")],
    format_: FormatOption = Format.table,
) -> None:
    """Show a pair side by side, with what speaks for and against it, in bits."""
    from datong_infra.cli import match

    match.show(question, format_)


@golden.command(name="accept")
def match_accept(
    question: Annotated[str, typer.Argument(help="Id of a question, as `match list` has it.")],
    why: WhyOption,
    who: WhoOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Decide that the two records are one."""
    from datong_infra.cli import match

    match.accept(question, who, why, format_)


@golden.command(name="reject")
def match_reject(
    question: Annotated[str, typer.Argument(help="Id of a question, as `match list` has it.")],
    why: WhyOption,
    who: WhoOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Decide that the two records are two, for good."""
    from datong_infra.cli import match

    match.reject(question, who, why, format_)


@golden.command(name="merge")
def match_merge(
    entity: GoldenEntity,
    one: Annotated[str, typer.Argument(help="Id of a golden record, as in C-9F2A61C04B7D.")],
    other: Annotated[str, typer.Argument(help="Id of another; the older of the two ids stays.")],
    *,
    why: WhyOption,
    who: WhoOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Make two golden records one."""
    from datong_infra.cli import match

    match.merge(entity, one, other, who=who, why=why, format_=format_)


@golden.command(name="split")
def match_split(
    entity: GoldenEntity,
    golden_id: Annotated[str, typer.Argument(help="Id of a golden record.")],
    records: Annotated[list[str], typer.Argument(help="The records that leave it, each as SYSTEM/KEY.")],
    *,
    why: WhyOption,
    who: WhoOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Take records out of a golden record, for good."""
    from datong_infra.cli import match

    match.split(entity, golden_id, records, who=who, why=why, format_=format_)


@golden.command(name="undo")
def match_undo(
    what: Annotated[str, typer.Argument(help="Id of a decision, or of a golden record that was merged into another.")],
    why: WhyOption,
    who: WhoOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Take back a decision, or a merge: the records part, the old id returns, and they are not merged again."""
    from datong_infra.cli import match

    match.undo(what, who, why, format_)


@golden.command(name="find")
def match_find(
    entity: GoldenEntity,
    wanted: Annotated[str, typer.Argument(help="A golden id, a record as SYSTEM/KEY, or a part of a name.")],
    format_: FormatOption = Format.table,
) -> None:
    """Find which records stand for the same thing: from a system's key to the golden id, and back."""
    from datong_infra.cli import match

    match.find(entity, wanted, format_)


@golden.command(name="history")
def match_history(
    entity: Annotated[str | None, typer.Argument(help="Only of one entity.")] = None,
    golden_id: Annotated[str | None, typer.Option("--id", help="Only of one golden record.")] = None,
    format_: FormatOption = Format.table,
) -> None:
    """List what happened to golden records: created, joined, left, merged, retired."""
    from datong_infra.cli import match

    match.history(entity, golden_id, format_)


@user.command(name="add")
def user_add(
    name: Annotated[str, typer.Argument(help="A name of lower-case letters, digits and underscores.")],
    role: Annotated[str, typer.Option("--role", help="steward: looks and decides; viewer: looks.")] = "steward",
) -> None:
    """Let a person in. The password is asked for, or read from standard input."""
    from datong_infra.cli import users

    users.add(name, role)


@user.command(name="password")
def user_password(name: Annotated[str, typer.Argument(help="Who gets a new one.")]) -> None:
    """Give a person a new password; ends that person's sessions."""
    from datong_infra.cli import users

    users.password(name)


@user.command(name="remove")
def user_remove(name: Annotated[str, typer.Argument(help="Who may log in no more.")]) -> None:
    """Let a person in no more. What that person decided stays."""
    from datong_infra.cli import users

    users.remove(name)


@user.command(name="list")
def user_list(format_: FormatOption = Format.table) -> None:
    """List everybody who may log in."""
    from datong_infra.cli import users

    users.listing(format_)


@app.command()
def inventory(
    what: Annotated[
        str, typer.Argument(help="all, systems, interfaces, fields, flows, or diagram (Mermaid text).")
    ] = "all",
    systems: Annotated[
        list[str] | None, typer.Option("--system", "-s", help="Only what has to do with this system; repeat it.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", dir_okay=False, help="Write it as a page, too, drawing included: .html, or .md."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Ask the systems themselves for their fields.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """List systems, interfaces, fields and the flows between systems, as the definitions have them."""
    from datong_infra.cli import sources

    sources.inventory(what, systems or [], page, live=live, format_=format_)


@app.command()
def dictionary(
    folder: Annotated[
        Path | None,
        typer.Option("--folder", file_okay=False, help="Where the site goes; else into .datong/dictionary."),
    ] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Write the data dictionary as a site in Chinese and English: every table, field and code, with its lineage."""
    from datong_infra.cli import dictionary as dictionaries

    dictionaries.dictionary(folder, format_)


@sandbox.command(name="up")
def sandbox_up(
    scale: Annotated[
        float, typer.Option("--scale", min=0.01, help="Size of a new plant; 1 is about 100,000 rows.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of a new plant.")] = 42,
) -> None:
    """Start the plant: a new one with 90 days of history, or the one that was there."""
    from datong_infra.cli import plant

    plant.up(scale, seed)


@sandbox.command(name="down")
def sandbox_down() -> None:
    """Stop the plant. It stays as it is."""
    from datong_infra.cli import commands

    commands.down(["sandbox"])


@sandbox.command(name="advance")
def sandbox_advance(
    days: Annotated[int, typer.Option("--days", min=1, help="Days to live on.")] = 1,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of these days.")] = None,
) -> None:
    """Let days pass in the plant: customers order, production runs, goods move."""
    from datong_infra.cli import plant

    plant.advance(days, seed)


@sandbox.command(name="truth")
def sandbox_truth() -> None:
    """Print what a perfect platform would know, from the plant's own state, as JSON."""
    from datong_infra.cli import plant

    plant.truth()


@sandbox.command(name="status")
def sandbox_status(format_: FormatOption = Format.table) -> None:
    """Show the plant: its date, its rows, its faults."""
    from datong_infra.cli import plant

    plant.status(format_)


@sandbox.command(name="edit")
def sandbox_edit(
    system: Annotated[str, typer.Argument(help="erp or mes.")],
    key: Annotated[str, typer.Argument(help="A production order: in the ERP with its zeros, in the MES without.")],
    change: Annotated[list[str], typer.Option("--set", help="A field and its value, as in plannedEnd=2026-12-01.")],
) -> None:
    """Change a record as a person does on the system's own screen."""
    from datong_infra.cli import plant

    plant.edit(system, key, change)


@sandbox.command(name="log")
def sandbox_log(
    system: Annotated[str | None, typer.Argument(help="erp or mes; both when none is named.")] = None,
    since: Annotated[int, typer.Option("--since", min=0, help="Only entries after this number.")] = 0,
    format_: FormatOption = Format.table,
) -> None:
    """List the systems' own change documents: every write from outside that had an effect, and who made it."""
    from datong_infra.cli import plant

    plant.log(system, since, format_)


@sandbox.command(name="faults")
def sandbox_faults(
    target: Annotated[str | None, typer.Argument(help="erp, mes or crm; none lists the faults that are on.")] = None,
    kind: Annotated[
        str | None, typer.Argument(help="Such as rate_limit, unavailable, truncate, lost_delta_token.")
    ] = None,
    *,
    match: Annotated[str | None, typer.Option("--match", help="Regular expression of the requests it strikes.")] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="How many requests; all when not given.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--set", help="A further field of the fault, as in retry_after=2.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Switch all faults off.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Switch a fault on, list those that are on, or switch all off."""
    from datong_infra.cli import plant

    plant.faults(target, kind, match=match, count=count, options=option or [], clear=clear, format_=format_)


@new.command(name="source")
def new_source(
    system: Annotated[str | None, typer.Argument(help="Name of the system, as in erp.")] = None,
    *,
    protocol: Annotated[str | None, typer.Option("--protocol", help="How it is spoken to, as in sql or rest.")] = None,
    connection: Annotated[
        list[str] | None,
        typer.Option(
            "--connection", "-c", help="NAME=VALUE of the connection, as in base_url='${ERP_URL}'; repeat it."
        ),
    ] = None,
    entity: Annotated[
        list[str] | None,
        typer.Option("--entity", "-e", help="An address, NAME=ADDRESS, or a pattern as in 'public.*'; repeat it."),
    ] = None,
    key: Annotated[list[str] | None, typer.Option("--key", help="ENTITY=FIELD,FIELD instead of the proposed.")] = None,
    mode: Annotated[list[str] | None, typer.Option("--mode", help="ENTITY=MODE instead of the proposed.")] = None,
    cursor: Annotated[list[str] | None, typer.Option("--cursor", help="ENTITY=FIELD instead of the proposed.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="NAME=VALUE that every entity needs in this protocol.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Its title.")] = None,
    title_zh: Annotated[str | None, typer.Option("--title-zh", help="Its Chinese title.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="team:name or an e-mail address.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", file_okay=False, help="Where <system>/defs.yaml goes; else to the project."),
    ] = None,
    keep: Annotated[
        str, typer.Option("--keep-secrets", help="Where secrets given in plain go: folder, keyring or none.")
    ] = "folder",
    rows: Annotated[int, typer.Option("--rows", min=10, help="How many rows of an entity to look at.")] = 5000,
    probe: Annotated[bool, typer.Option("--probe/--no-probe", help="Look at rows, not only at metadata.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; take what is proposed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the system's definition.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the definition, write nothing.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Write a source's definition: asks for protocol and address, reads what the source says of itself, proposes."""
    from datong_infra.cli import new_source as command

    if keep not in {"folder", "keyring", "none"}:
        raise typer.BadParameter(f"{keep!r} is none of folder, keyring, none", param_hint="--keep-secrets")
    command.new_source(
        command.Asked(
            system=system,
            protocol=protocol,
            connection=connection or [],
            entities=entity or [],
            keys=key or [],
            modes=mode or [],
            cursors=cursor or [],
            options=option or [],
            title=title,
            title_zh=title_zh,
            owner=owner,
            folder=folder,
            keep=keep,
            rows=rows,
            probe=probe,
            yes=yes,
            force=force,
            dry_run=dry_run,
            format=format_,
        )
    )


@secrets.command(name="list")
def secrets_list(
    system: Annotated[str | None, typer.Argument(help="Only those of one system.")] = None,
    format_: FormatOption = Format.table,
) -> None:
    """List the values that definitions need and where each is found, showing none. Exit status 1 when one is not."""
    from datong_infra.cli import sources

    sources.secrets_list(system, format_)


@secrets.command(name="set")
def secrets_set(
    name: Annotated[str, typer.Argument(help="The NAME of ${NAME}, as in ERP_PASSWORD.")],
    keyring: Annotated[bool, typer.Option("--keyring", help="Into the keyring instead of the secrets folder.")] = False,
) -> None:
    """Keep a secret: asked for, not shown, or read from standard input."""
    from datong_infra.cli import sources

    sources.secrets_set(name, in_keyring=keyring)


@standard.command(name="compile")
def standard_compile(
    *,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit status 1 when a file differs.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Write the macros, models and properties that the contracts under dbt_project/standard say."""
    from datong_infra.cli import standard as contracts

    contracts.compile_(check=check, format_=format_)


@standard.command(name="check")
def standard_check(
    entity: Annotated[str, typer.Argument(help="An entity of the standard, as in sales_order.")],
    record: Annotated[
        str,
        typer.Option("--record", "-r", help="JSON of a record or a list of them, its file, or - for standard input."),
    ],
    system: Annotated[
        str,
        typer.Option("--system", "-s", help="The system whose codes the record has; without it the standard's own."),
    ] = "manual",
    format_: FormatOption = Format.table,
) -> None:
    """Check records entered by hand by the rules of an import; nothing is written. Exit status 1 for a refusal."""
    from datong_infra.cli import standard as contracts

    contracts.check(entity, record, system, format_)


@standard.command(name="codes")
def standard_codes(
    system: Annotated[str | None, typer.Argument(help="A source system; all when none is named.")] = None,
    format_: FormatOption = Format.table,
) -> None:
    """List the codes that rows wait for in quarantine, with what each most likely means."""
    from datong_infra.cli import standard as contracts

    contracts.codes(system, format_)


@standard.command(name="map")
def standard_map(
    system: Annotated[str, typer.Argument(help="The source system that sends the code.")],
    code_set: Annotated[str, typer.Argument(help="A code set of the standard, as in unit.")],
    source_code: Annotated[str, typer.Argument(help="The code as the system sends it.")],
    code: Annotated[str, typer.Argument(help="The standard's code that it means.")],
    *,
    who: Annotated[str, typer.Option("--who", help="Who decides.")],
    why: Annotated[str, typer.Option("--why", help="Why.")],
    until: Annotated[
        str | None, typer.Option("--until", help="In force up to this day or time, or for so long: 2027-01-31, 30d.")
    ] = None,
    replaces: Annotated[
        str | None, typer.Option("--replaces", help="Id of the decision that this one replaces.")
    ] = None,
) -> None:
    """Decide what a system's code means; the next build releases the rows that waited for it."""
    from datong_infra.cli import standard as contracts

    contracts.map_code(system, code_set, source_code, code, who=who, why=why, until=until, replaces=replaces)


@standard.command(name="lint")
def standard_lint(format_: FormatOption = Format.table) -> None:
    """Check every contract: file, line, field, what is wrong, and what to do. Exit status 1 when something is."""
    from datong_infra.cli import standard as contracts

    contracts.lint(format_)


@standard.command(name="list")
def standard_list(
    layer: Annotated[str | None, typer.Argument(help="silver or serve; both when it is not given.")] = None,
    format_: FormatOption = Format.table,
) -> None:
    """List the contracts with their version, owner, fields and rules."""
    from datong_infra.cli import standard as contracts

    contracts.listing(layer, format_)


@standard.command(name="diff")
def standard_diff(
    revision: Annotated[str, typer.Argument(help="A commit, branch or tag to compare with, as in HEAD~1.")] = "HEAD",
    *,
    breaking: Annotated[bool, typer.Option("--breaking", help="Only what is breaking.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Tell breaking from harmless changes of the contracts, and name the tables and write-back flows that each hits.

    Exit status 1 when a contract changed and its version does not tell: breaking is a new major version, the rest a new
    minor one.
    """
    from datong_infra.cli import standard as contracts

    contracts.diff(revision, breaking=breaking, format_=format_)
