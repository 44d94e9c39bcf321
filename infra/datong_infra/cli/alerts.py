"""Incidents and alerts on the command line: what is open, who is at it, and whether a channel works."""

from __future__ import annotations

from typing import Annotated

import typer

from datong_infra.cli.help import Group
from datong_infra.cli.output import Format, print_line, print_rows

alerts = typer.Typer(
    name="alerts",
    help="Incidents: what is wrong now, and who was told.",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)

_TIME = "%Y-%m-%d %H:%M:%S"
FormatOption = Annotated[Format, typer.Option("--format", help="table for people, json for programs.")]


@alerts.command(name="list")
def listing(
    closed: Annotated[bool, typer.Option("--all", help="Also those that healed, the newest first.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many.")] = 200,
    format_: FormatOption = Format.table,
) -> None:
    """List open incidents, the worst first. Times are UTC."""
    from datong_platform.alerts import incidents

    rows = [
        {
            "id": one.incident_id,
            "severity": one.severity,
            "title": one.title,
            "title_zh": one.title_zh,
            "since": one.opened_at.strftime(_TIME),
            "healed": one.closed_at.strftime(_TIME) if one.closed_at else "",
            "findings": len(one.findings),
            "owner": one.owner,
            "taken_by": one.acknowledged_by or "",
            "detail": one.detail,
        }
        for one in incidents.incidents(closed=closed, limit=limit)
    ]
    columns = ("id", "severity", "title", "since", *(("healed",) if closed else ()), "findings", "taken_by", "detail")
    print_rows(rows, format_, columns)
    if format_ is Format.table and rows and not closed:
        print_line('Take one on: datong alerts take ID --why "…"')


@alerts.command()
def take(
    incident_id: Annotated[int, typer.Argument(help="Id of an incident, as `alerts list` has it.")],
    why: Annotated[str, typer.Option("--why", help="What you do about it. It is kept with the incident.")],
    who: Annotated[str | None, typer.Option("--who", help="Who takes it; else the user of this machine.")] = None,
) -> None:
    """Take an incident on: it is neither repeated nor escalated any more, and closes when it heals."""
    import getpass

    from datong_platform.alerts import incidents

    taken = incidents.acknowledge(incident_id, who or getpass.getuser(), why)
    print_line(f"Incident {taken.incident_id} ({taken.title}) is {taken.acknowledged_by}'s.")


@alerts.command()
def check() -> None:
    """Look at runs and checks now, and send what is due; the Dagster sensor `alerts` does so every minute."""
    from datong_assets import alerting, instance, runs

    repository = runs.definitions().get_repository_def()
    print_line(alerting.words(alerting.check(instance.instance(), repository, alerting.load_alerts())))


@alerts.command()
def test(
    channel: Annotated[str, typer.Argument(help="A channel of the definition of alerts.")],
) -> None:
    """Send a message on a channel, to see that it arrives."""
    from datetime import UTC, datetime

    from datong_assets.alerting import load_alerts
    from datong_platform.alerts.channels import Message

    config = load_alerts()
    lines = (config.said("这是一条测试消息, 无需处理。", "This is a test; nothing is wrong."),)
    title = config.said("打通测试", "Test of Datong")
    config.channel(channel).send(Message(title, lines, "info", datetime.now(UTC), config.link("")))
    print_line(f"Channel {channel} took the message. See that it arrived.")
