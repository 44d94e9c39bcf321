"""Write-back flows on the command line: how they stand, their rows, and what people decide about them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from datong_platform.errors import ConfigurationError

from datong_infra.cli.help import Group
from datong_infra.cli.output import Format, print_json, print_line, print_rows

if TYPE_CHECKING:
    from datong_ingestion.write_back.decisions import Decision, Kind
    from datong_ingestion.write_back.ledger import Entry, State
    from datong_ingestion.write_back.results import Preview

flows = typer.Typer(
    name="flows",
    help="""
Write-back flows: how they stand, what waits for a person, and deciding it.

1. datong flows list: every flow and how many of its rows are in which state
2. datong flows rows FLOW --state dead: the rows, and why
3. datong flows row FLOW KEY: one row, our value and the target's side by side, and its history
4. datong flows retry | mend | accept | cancel | approve | reject FLOW [KEY] --why "...": decide
5. datong write-back FLOW: carries the decisions out (the next cycle does it as well)
""",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode=None,
)

_TIME = "%Y-%m-%d %H:%M:%S"
_LEFT = ("waiting_for_approval", "conflict", "dead", "failed", "unknown", "sent", "planned")
FormatOption = Annotated[Format, typer.Option("--format", help="table for people, json for programs.")]
FlowArgument = Annotated[str, typer.Argument(help="A write-back flow, as `flows list` has it.")]
KeyArgument = Annotated[str, typer.Argument(help="Key of a row, as `flows rows` has it.")]
SomeKeyArgument = Annotated[str | None, typer.Argument(help="Key of a row; without it, all that are in such a state.")]
WhyOption = Annotated[str, typer.Option("--why", help="Why. It is kept with the decision.")]
ByOption = Annotated[str | None, typer.Option("--who", "--by", help="Who decides; else the user of this machine.")]


@flows.command(name="list")
def listing(format_: FormatOption = Format.table) -> None:
    """List the flows: where each writes to, its rows by state, whether it is paused, and what waits to be carried out.

    Times are UTC.
    """
    from datong_ingestion.two_way.config import load_flows_and_ways
    from datong_ingestion.write_back import decisions, ledger

    counted = ledger.state_counts()
    pauses = {one.flow: one for one in decisions.pauses()}
    rows: list[dict[str, Any]] = []
    for name, flow in load_flows_and_ways().items():
        states = counted.get(name, {})
        pause = pauses.get(None) or pauses.get(name)
        rows.append(
            {
                "flow": name,
                "title": flow.title,
                "title_zh": flow.title_zh,
                "target": f"{flow.target.system} {flow.target.resource}",
                "operations": ", ".join(flow.operations),
                "verified": states.get("verified", 0),
                **{state: states.get(state, 0) for state in _LEFT},
                "cancelled": states.get("cancelled", 0),
                "paused": pause.told if pause else "",
                "to_carry_out": len(decisions.waiting(name)),
            }
        )
    columns = ("flow", "target", "verified", "waiting_for_approval", "conflict", "dead", "failed", "unknown", "planned")
    print_rows(rows, format_, (*columns, "to_carry_out", "paused"))


@flows.command()
def show(flow: FlowArgument, format_: FormatOption = Format.table) -> None:
    """Show one flow: its definition's rules, its rows by state, its pause, and the decisions to carry out."""
    from datong_ingestion.two_way.config import ways
    from datong_ingestion.write_back import decisions, ledger, load_flow

    config = ways().get(flow) or load_flow(flow)
    pause = decisions.paused(flow)
    content = {
        **config.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "guards": config.guards.model_dump(mode="json", by_alias=True),
        "retry": config.retry.model_dump(mode="json"),
        "rows": ledger.state_counts(flow).get(flow, {}),
        "paused": pause.told if pause else None,
        "to_carry_out": [_told(one) for one in decisions.waiting(flow)],
    }
    if format_ is Format.json:
        print_json(content)
        return
    print_rows(({"what": name, "value": value} for name, value in content.items()), format_)


@flows.command()
def rows(
    *,
    flow: Annotated[str | None, typer.Argument(help="A flow; all when none is named.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", help="Only rows in this state; may be given more than once. Default: all that is left."
        ),
    ] = None,
    search: Annotated[str, typer.Option("--search", help="Only rows whose key or words contain this.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many.")] = 50,
    offset: Annotated[int, typer.Option("--offset", min=0, help="How many to leave out first.")] = 0,
    format_: FormatOption = Format.table,
) -> None:
    """List rows by state, the newest first. Times are UTC."""
    from datong_ingestion.write_back import ledger

    chosen = tuple(state or _LEFT)
    if unknown := [name for name in chosen if name not in ledger.STATES]:
        raise ConfigurationError(
            f"state {', '.join(unknown)}", "is none of a row's.", f"choose from {', '.join(ledger.STATES)}."
        )
    states: list[State] = [name for name in ledger.STATES if name in chosen]
    found = ledger.rows(flow, states, search=search, limit=limit, offset=offset)
    listed = [_shown(one) for one in found]
    print_rows(listed, format_, ("flow", "key", "state", "operation", "attempt", "tries", "next_at", "at", "words"))
    if format_ is Format.table and len(found) == limit:
        print_line(f"There may be more: --offset {offset + limit}")


@flows.command()
def row(flow: FlowArgument, key: KeyArgument, format_: FormatOption = Format.table) -> None:
    """Show one row: our values and the target's side by side, every transition, and what people decided about it."""
    from datong_ingestion.write_back import decisions, ledger

    found = ledger.history(flow, key)
    if not found:
        raise ConfigurationError(f"flow {flow}, {key}", "is not in the ledger.", f"see `datong flows rows {flow}`.")
    made = decisions.history(flow, key)
    if format_ is Format.json:
        print_json({"transitions": [_shown(one) for one in found], "decisions": [_told(one) for one in made]})
        return
    print_rows(sides(found), format_, title=f"{flow}, {key}: {found[-1].state}", names_as_they_are=True)
    print_rows(
        [_shown(one) for one in found],
        format_,
        ("step", "state", "operation", "attempt", "status", "at", "words", "decision"),
        title="History (UTC)",
    )
    if made:
        print_rows([_told(one) for one in made], format_, title="Decisions")


def sides(found: Sequence[Entry]) -> list[dict[str, Any]]:
    """The fields of a row: what the target held before, what we want, and what it was found to hold instead."""
    last = found[-1]

    def content(text: str | None) -> Mapping[str, Any]:
        return json.loads(text) if text else {}

    ours = content(last.payload or next((one.payload for one in reversed(found) if one.payload), None))
    before = content(next((one.pre_image for one in reversed(found) if one.pre_image), None))
    theirs = content(last.held)
    names = dict.fromkeys([*ours, *theirs, *before])
    return [
        {"field": name, "before": before.get(name), "ours": ours.get(name), "theirs": theirs.get(name)}
        for name in names
    ]


@flows.command(name="decisions")
def listed_decisions(
    flow: Annotated[str | None, typer.Argument(help="A flow; all when none is named.")] = None,
    key: Annotated[str | None, typer.Argument(help="Key of a row.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many.")] = 100,
    format_: FormatOption = Format.table,
) -> None:
    """List what people decided, the newest first: who, when, why, and what came of it. Times are UTC."""
    from datong_ingestion.write_back import decisions

    columns = ("id", "flow", "key", "kind", "who", "why", "decided_at", "carried_out_at", "outcome")
    print_rows([_told(one) for one in decisions.history(flow, key, limit=limit)], format_, columns)


@flows.command()
def approve(
    *,
    flow: FlowArgument,
    why: WhyOption,
    key: SomeKeyArgument = None,
    plan: Annotated[str | None, typer.Option("--plan", help="Only this plan, as `flows rows` has it in JSON.")] = None,
    ceiling: Annotated[bool, typer.Option("--ceiling", help="Let the next run go beyond its ceilings, once.")] = False,
    changes: Annotated[int | None, typer.Option("--changes", min=0, help="With --ceiling: at most so many.")] = None,
    deletes: Annotated[int | None, typer.Option("--deletes", min=0, help="With --ceiling: at most so many.")] = None,
    by: ByOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Let changes go out that wait for approval, or a plan that is beyond its ceilings (for a day)."""
    from datong_ingestion.write_back.decisions import CEILING

    if not ceiling:
        _decide(flow, "approve", why, by, format_, key=key, plan=plan)
        return
    numbers = {name: value for name, value in (("changes", changes), ("deletes", deletes)) if value is not None}
    until = datetime.now(UTC) + timedelta(days=1)
    _decide(flow, "approve", why, by, format_, plan=CEILING, payload=numbers, valid_until=until)


@flows.command()
def reject(
    *,
    flow: FlowArgument,
    why: WhyOption,
    key: SomeKeyArgument = None,
    plan: Annotated[str | None, typer.Option("--plan", help="Only this plan, as `flows rows` has it in JSON.")] = None,
    by: ByOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Do not send changes that wait for approval; they are planned again only when their values change."""
    _decide(flow, "reject", why, by, format_, key=key, plan=plan)


@flows.command()
def retry(
    *,
    flow: FlowArgument,
    why: WhyOption,
    key: SomeKeyArgument = None,
    by: ByOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Try failed and dead rows again in the next run, or one row in conflict."""
    _decide(flow, "retry", why, by, format_, key=key)


@flows.command()
def mend(
    *,
    flow: FlowArgument,
    key: KeyArgument,
    why: WhyOption,
    values: Annotated[
        list[str],
        typer.Option("--set", help="FIELD=VALUE, a field of the payload; JSON or plain text. May be repeated."),
    ],
    by: ByOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Send a failed, dead or conflicting row with other values, as long as the serve table asks for the same."""
    payload: dict[str, Any] = {}
    for text in values:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise typer.BadParameter(f"{text!r} is not FIELD=VALUE", param_hint="--set")
        payload[name] = _value(value)
    _decide(flow, "mend", why, by, format_, key=key, payload=payload)


@flows.command()
def accept(
    *,
    flow: FlowArgument,
    key: KeyArgument,
    side: Annotated[str, typer.Argument(help="theirs: the target's value stays; ours: it is written over.")],
    why: WhyOption,
    by: ByOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Settle a conflict: whose value is to stand."""
    if side not in {"theirs", "ours"}:
        raise typer.BadParameter(f"{side!r} is neither theirs nor ours", param_hint="SIDE")
    _decide(flow, "accept_ours" if side == "ours" else "accept_theirs", why, by, format_, key=key)


@flows.command()
def cancel(
    *,
    flow: FlowArgument,
    why: WhyOption,
    key: SomeKeyArgument = None,
    by: ByOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Give rows up that are not sent; they are planned again only when their values change."""
    _decide(flow, "cancel", why, by, format_, key=key)


@flows.command()
def pause(
    *,
    why: WhyOption,
    flow: Annotated[str | None, typer.Argument(help="A flow; or --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All flows.")] = False,
    hours: Annotated[float | None, typer.Option("--hours", min=0, help="End by itself after so many hours.")] = None,
    by: ByOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Send nothing until it is resumed; a run that is at it stops before its next chunk."""
    until = None if hours is None else datetime.now(UTC) + timedelta(hours=hours)
    _decide(_one_or_all(flow, everything), "pause", why, by, format_, valid_until=until)


@flows.command()
def resume(
    *,
    why: WhyOption,
    flow: Annotated[str | None, typer.Argument(help="A flow; or --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All flows.")] = False,
    by: ByOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """End a pause."""
    _decide(_one_or_all(flow, everything), "resume", why, by, format_)


@flows.command()
def undo(
    decision: Annotated[int, typer.Argument(help="Id of a decision, as `flows decisions` has it.")],
    why: WhyOption,
    by: ByOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Take a decision back that is not carried out yet."""
    from datong_ingestion.write_back import decisions

    _print(decisions.undo(decision, who=by or _user(), why=why), format_)


@flows.command()
def check(
    flow: Annotated[str | None, typer.Argument(help="A flow; all when none is named.")] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Hold flows against the contracts and against what their targets say of themselves; nothing is sent."""
    from datong_ingestion.write_back import load_flow, load_flows
    from datong_ingestion.write_back.checks import check_flow

    found = [check_flow(one) for one in ([load_flow(flow)] if flow else load_flows().values())]
    print_rows([{"flow": one.flow, "state": one.state, "words": one.words} for one in found], format_)
    if any(one.state == "failed" for one in found):
        raise typer.Exit(1)


def preview(flow: str | None, format_: Format) -> None:
    """Show what write-back would do now: counts, what would hold it, and sample changes."""
    from dataclasses import asdict

    from datong_ingestion import two_way
    from datong_ingestion.two_way.config import run_name
    from datong_ingestion.write_back import dry_run, load_flow, load_flows
    from datong_ingestion.write_back.config import ordered

    from datong_infra.cli.two_way import print_previews

    syncs = two_way.load_syncs()
    flow = run_name(flow) if flow else None
    chosen = [syncs[flow]] if flow in syncs else [] if flow else list(syncs.values())
    both_ways = [two_way.dry_run(one) for one in chosen]
    found = [dry_run(one) for one in ([] if flow in syncs else [load_flow(flow)] if flow else ordered(load_flows()))]
    if format_ is Format.json:
        print_json([*map(_plain, found), *(asdict(one) for one in both_ways)])
        return
    if both_ways:
        print_previews(both_ways)
    if not found:
        return
    columns = ("flow", "new", "changed", "deletes", "rechecks", "wrong", "known")
    print_rows(
        [{**{name: getattr(one, name) for name in columns}, "left": one.resting or ""} for one in found],
        format_,
        (*columns, "left"),
    )
    for one in found:
        for words in one.holds:
            print_line(f"{one.flow}: {words}", "yellow")
        changes = [
            {"key": sample.key, "change": sample.change, **side, "words": sample.words}
            for sample in one.samples
            for side in _differences(sample.before, sample.after)
        ]
        if changes:
            columns = ("key", "change", "field", "before", "after", "words")
            print_rows(changes, format_, columns, title=f"{one.flow}: the first changes")


def _differences(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The fields that a change makes different; one without fields for a change that makes none."""
    names: list[str] = list(after or before or {})
    sides_ = [
        {"field": name, "before": (before or {}).get(name), "after": (after or {}).get(name)}
        for name in names
        if before is None or after is None or before.get(name) != after.get(name)
    ]
    return sides_ or [{"field": "", "before": None, "after": None}]


def _plain(one: Preview) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(one), "changes": one.changes}


def _decide(flow: str | None, kind: Kind, why: str, by: str | None, format_: Format, **more: Any) -> None:
    from datong_ingestion.two_way.config import ways
    from datong_ingestion.write_back import decisions, load_flow, mending

    if flow is not None and flow not in ways():
        config = load_flow(flow)
        if kind == "mend":
            mending.check(config, more["key"], more["payload"])
    _print(decisions.decide(flow, kind, who=by or _user(), why=why, **more), format_)


def _print(one: Decision, format_: Format) -> None:
    from datong_ingestion.two_way.config import run_name

    if format_ is Format.json:
        print_json(_told(one))
        return
    if not one.is_new:
        print_line(f"{one.about}: the same was decided before, as {one.id}: {one.told}")
    elif one.carried_out_at:
        print_line(f"{one.about}: {one.kind}, {one.outcome}.")
    else:
        print_line(f"{one.about}: {one.kind} is decision {one.id}; the next run carries it out.")
        now = f"datong write-back {run_name(one.flow)}" if one.flow else "datong write-back"
        print_line(f"Now: {now}. Take it back: datong flows undo {one.id} --why ...")


def _told(one: Decision) -> dict[str, Any]:
    return {
        "id": one.id,
        "flow": one.flow or "all",
        "key": one.key,
        "plan": one.plan,
        "kind": one.kind,
        "payload": one.payload,
        "who": one.who,
        "why": one.why,
        "decided_at": one.decided_at.strftime(_TIME),
        "valid_until": one.valid_until.strftime(_TIME) if one.valid_until else None,
        "carried_out_at": one.carried_out_at.strftime(_TIME) if one.carried_out_at else None,
        "outcome": one.outcome,
    }


def _shown(one: Entry) -> dict[str, Any]:
    from dataclasses import asdict

    row = asdict(one)
    for name in ("at", "next_at"):
        row[name] = row[name].strftime(_TIME) if row[name] else None
    for name in ("payload", "pre_image", "held"):
        row[name] = json.loads(row[name]) if row[name] else None
    return row


def _one_or_all(flow: str | None, everything: bool) -> str | None:
    if (flow is None) != everything:
        raise typer.BadParameter("name one flow, or say --all")
    return flow


def _value(text: str) -> Any:
    """Items and null as JSON says them; else the text itself, which the flow reads by the field's kind."""
    if text != "null" and not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"{text!r} is not JSON: {error}", param_hint="--set") from error


def _user() -> str:
    import getpass

    return getpass.getuser()
