"""Benchmarks on the command line: list, run, compare, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datong_infra.cli.help import Group
from datong_infra.cli.output import Format, print_json, print_line, print_rows

if TYPE_CHECKING:
    from datong_infra.bench.results import Result

_HELP = """Benchmarks beside their peers: list, run, compare, report.

1. datong bench: what there is
2. datong bench peers: install what stands beside Datong (dlt, dbt-duckdb, …) in an environment of its own
3. datong bench p5 --runs 5: run one (datong bench all: every one after the other); further options are the benchmark's
own, datong bench p5 --help shows them
4. datong bench compare 1a2b3c4 latest: two revisions, or two records
5. datong bench report FOLDER: the newest of each as a table, charts and an HTML page

Turn by turn with the peers: seconds, CPU seconds and peak memory of all processes, and a checksum of the content. Every
record is kept in bench/ of DATONG_HOME. They need a checkout of the project with its tests.
"""


class _Benchmarks(Group):
    """What is no command of the group is the name of a benchmark."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


bench = typer.Typer(
    name="bench",
    help=_HELP,
    cls=_Benchmarks,
    invoke_without_command=True,
    rich_markup_mode=None,
)
FormatOption = Annotated[Format, typer.Option("--format", help="How to print the listing.")]
_COLUMNS = ("benchmark", "what", "goal", "last_run")


@bench.callback()
def benchmarks(
    ctx: typer.Context,
    format_: FormatOption = Format.table,
) -> None:
    if ctx.invoked_subcommand is not None:
        return
    from datong_infra.bench import catalog, results

    last: dict[str, Result] = {}
    for result in results.kept():
        last.setdefault(result.benchmark, result)
    rows: list[dict[str, Any]] = []
    for one in catalog.listed():
        newest = last.get(one.key)
        rows.append(
            {
                "benchmark": one.key,
                "what": one.title,
                "goal": one.goal,
                "needs": one.needs,
                "command": f"python tests/bench/{one.path.name}",
                "quick": one.quick,
                "last_run": newest.id if newest else None,
            }
        )
    print_rows(rows, format_, _COLUMNS)
    if format_ is Format.table:
        print_line("Run one: datong bench NAME (small: --quick; its options: --help). All: datong bench all.")


@bench.command(
    name="run",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def run(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A benchmark, as `datong bench` lists it, or all.")],
) -> None:
    """Run a benchmark, or all; what follows the name are its options. `datong bench NAME` is the same."""
    from datong_infra.bench import catalog

    if name in {"-h", "--help"}:
        print_line("datong bench run NAME [OPTIONS of the benchmark: datong bench NAME --help]")
        return
    chosen = catalog.listed() if name == "all" else [catalog.find(name)]
    failed: list[str] = []
    for one in chosen:
        if len(chosen) > 1 and "json" not in " ".join(ctx.args):
            print_line(f"{one.key}: {one.title}", "bold")
        if catalog.run(one, ctx.args):
            failed.append(one.key)
    if len(chosen) > 1 and failed:
        print_line(f"{len(failed)} of {len(chosen)} failed: {', '.join(failed)}.")
    if failed:
        raise typer.Exit(1)


@bench.command(name="list")
def listing(
    benchmark: Annotated[str | None, typer.Argument(help="Only records of this benchmark.")] = None,
    format_: FormatOption = Format.table,
) -> None:
    """List the records that are kept, the newest first."""
    from datong_infra.bench import results

    here = results.this_machine().fingerprint
    rows = [
        {
            "record": result.id,
            "machine": "this" if result.machine.fingerprint == here else str(result.machine),
            "revision": f"{result.revision[:8]}{' and changes' if result.is_dirty else ''}",
            "quick": result.is_quick,
            "load": f"{result.load_before:.1f} to {result.load_after:.1f}",
            "contenders": ", ".join(dict.fromkeys(run.who for run in result.runs)),
            "same_content": all(same is not False for same in result.same_content().values()),
        }
        for result in results.kept()
        if benchmark in {None, result.benchmark}
    ]
    print_rows(rows, format_)


@bench.command(name="show")
def show(
    record: Annotated[str, typer.Argument(help="A record's id or file, a revision, or latest.")] = "latest",
    format_: FormatOption = Format.table,
) -> None:
    """Show a record: medians and spread, ratios, content; with --format json every run."""
    from datong_infra.bench import results, tables

    found = results.named(record)
    if format_ is Format.json:
        print_json([result.model_dump(mode="json") for result in found])
        return
    for result in found:
        tables.show(result)


@bench.command(name="compare")
def compare(
    before: Annotated[str, typer.Argument(help="A revision, a record's id or file, or latest.")],
    after: Annotated[str, typer.Argument(help="The same.")] = "latest",
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also what is the same within the spread.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Compare two records, or the newest of two revisions: what is less, more, or the same within its spread."""
    from datong_infra.bench import compare as comparison
    from datong_infra.bench.tables import spread

    rows: list[dict[str, Any]] = []
    warnings: list[str] = []
    for first, second in comparison.between(before, after):
        warnings += [f"{second.benchmark}: {text}" for text in comparison.warnings(first, second)]
        for one in comparison.differences(first, second):
            if not everything and one.verdict == "same":
                continue
            row = {"benchmark": one.benchmark, "case": one.case, "who": one.who, "figure": one.figure}
            if format_ is Format.json:
                row |= {"before": one.before.model_dump(), "after": one.after.model_dump(), "ratio": one.ratio}
            else:
                ratio = "" if one.ratio is None else f"{one.ratio:.2f} x"
                row |= {"before": spread(one.before), "after": spread(one.after), "ratio": ratio}
            rows.append({**row, "verdict": one.verdict})
    if format_ is Format.json:
        print_json({"differences": rows, "warnings": warnings})
        return
    print_rows(rows, format_, ("benchmark", "case", "who", "figure", "before", "after", "ratio", "verdict"))
    if not rows:
        print_line("No figure differs beyond its spread; --all shows them.")
    for text in dict.fromkeys(warnings):
        print_line(text)


@bench.command(name="report")
def report(
    folder: Annotated[Path, typer.Argument(help="Where the page, the charts and the table go.")] = Path("bench-report"),
    record: Annotated[str, typer.Option("--record", help="Which: a revision, a record's id or file.")] = "latest",
) -> None:
    """Write the newest record of each benchmark as an HTML page, a chart each (SVG) and a table (Markdown)."""
    from datong_infra.bench import report as pages
    from datong_infra.bench import results

    written = pages.write(results.named(record), folder)
    print_line(f"{len(written)} files: {written[0]}")


@bench.command(name="peers")
def peers() -> None:
    """Install the peers, as tests/bench/peers/requirements.txt names them, in an environment of their own."""
    from datong_infra.bench import catalog

    print_line(str(catalog.prepare_peers()))
