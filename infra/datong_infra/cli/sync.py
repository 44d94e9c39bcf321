"""The sync log on the command line: what every hop moved, what is out of the ordinary, and what others are told."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from datong_platform.errors import ConfigurationError

from datong_infra.cli.help import Group
from datong_infra.cli.output import Format, print_line, print_rows

sync = typer.Typer(
    name="sync",
    help="The sync log: what every hop moved, when, how far, and what is out of the ordinary.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)

FormatOption = Annotated[Format, typer.Option("--format", help="table for people, json for programs.")]
_COLUMNS = ("ended_at", "hop", "subject", "rows_in", "rows_out", "refused", "seconds", "until", "outcome", "words")
_SPAN = re.compile(r"(\d+)([mhdw])\Z")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@sync.command()
def log(
    *,
    system: Annotated[str | None, typer.Option("--system", help="Only hops to or from this system.")] = None,
    flow: Annotated[str | None, typer.Option("--flow", help="Only hops of this write-back flow.")] = None,
    table: Annotated[
        str | None, typer.Option("--table", help="Only hops of this table, as in silver.material.")
    ] = None,
    hop: Annotated[
        str | None, typer.Option("--hop", help="extract, load, build, check, publish, plan, send, verify.")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="ok, 'nothing new', partly, failed, interrupted.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="Only hops of the run of this id.")] = None,
    since: Annotated[str, typer.Option("--since", help="30m, 6h, 2d, 1w, or a time as 2026-03-02T08:00, UTC.")] = "1d",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = 200,
    format_: FormatOption = Format.table,
) -> None:
    """List hops, the newest first: what each moved, until where, and how it ended. Times are UTC."""
    from datong_platform.lake import sync_log

    _known(hop, sync_log.HOPS, "--hop")
    _known(outcome, sync_log.OUTCOMES, "--outcome")
    found = sync_log.entries(
        system=system,
        flow=flow,
        table_name=table,
        hop=hop,  # pyright: ignore[reportArgumentType]
        outcome=outcome,  # pyright: ignore[reportArgumentType]
        run_id=run,
        since=_moment(since),
        limit=limit,
    )
    rows = [
        {
            "hop_id": one.hop_id,
            "hop": one.hop,
            "subject": one.subject,
            "system": one.system,
            "flow": one.flow,
            "table": one.table_name,
            "inputs": list(one.inputs),
            "run_id": one.run_id,
            "cycle_id": one.cycle_id,
            "batch": one.batch,
            "started_at": _time(one.started_at, format_),
            "ended_at": _time(one.ended_at, format_),
            "seconds": round(one.seconds, 2),
            "rows_in": one.rows_in,
            "rows_out": one.rows_out,
            "refused": one.rows_refused,
            "until": one.until if format_ is Format.json else _short(one.until),
            "bytes": one.bytes,
            "outcome": one.outcome,
            "words": one.words,
        }
        for one in found
    ]
    print_rows(rows, format_, _COLUMNS)
    if format_ is Format.table:
        more = f" There may be more: --limit shows them, {limit} are shown." if len(found) == limit else ""
        print_line(f"{len(found)} hops since {_moment(since):%Y-%m-%d %H:%M} UTC.{more}")


@sync.command()
def health(format_: FormatOption = Format.table) -> None:
    """Show exchanges that are late or out of the ordinary, by their own rhythm. Exit status 1 when there is one."""
    from datong_assets.exchange_findings import defined
    from datong_platform.quality import exchanges

    known = defined()
    rows = [
        {
            "what": one.what,
            "subject": one.subject,
            "value": one.value,
            "limit": one.limit,
            "since": _time(one.since, format_) if one.since else "",
            "words": one.words,
            "words_zh": one.words_zh,
        }
        for one in exchanges.judged(known=known)
    ]
    rows += [
        {
            "what": "failing",
            "subject": one.table or one.system,
            "value": None,
            "limit": None,
            "since": _time(one.since, format_),
            "words": one.words,
            "words_zh": "",
        }
        for one in exchanges.failing()
        if one.table in known
    ]
    print_rows(rows, format_, ("what", "subject", "since", "words"))
    if rows:
        raise typer.Exit(1)
    if format_ is Format.table:
        print_line("Nothing is out of the ordinary.")


@sync.command()
def metrics() -> None:
    """Print the metrics that Prometheus scrapes at /metrics of the desk, in its text form."""
    from datong_infra.metrics import exposition

    typer.echo(exposition()[0].decode(), nl=False)


@sync.command()
def lineage(
    from_start: Annotated[
        bool, typer.Option("--from-start", help="All that the log still holds, also what was sent before.")
    ] = False,
) -> None:
    """Send what is new as OpenLineage events to DATONG_OPENLINEAGE_URL, as the Dagster sensor does every minute."""
    from datong_platform.lake import open_lineage

    sent = open_lineage.send(from_start=from_start)
    refused = f", {sent.refused} were refused since ever" if sent.refused else ""
    missed = f", {sent.missed} versions of the log were gone before they could be sent" if sent.missed else ""
    print_line(
        f"{sent.now} events sent to {sent.address}{refused}{missed}. It knows version {sent.version} of the log."
    )


def _known(value: str | None, known: tuple[str, ...], option: str) -> None:
    if value is not None and value not in known:
        raise ConfigurationError(f"{option} {value}", "is not known.", f"use one of {', '.join(known)}.")


def _moment(text: str) -> datetime:
    """The moment that `--since` means."""
    if match := _SPAN.match(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"--since {text}", "is no time.", "write 30m, 6h, 2d, 1w, or a time as 2026-03-02T08:00."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _time(moment: datetime, format_: Format) -> str:
    return moment.isoformat() if format_ is Format.json else moment.strftime("%m-%d %H:%M:%S")


def _short(text: str | None) -> str | None:
    """The end of a long token, which is what differs."""
    return text if text is None or len(text) <= 30 else f"…{text[-29:]}"
