"""Incidents: groups of findings as people live with them: opened, told, acknowledged, escalated, healed.

Kept in PostgreSQL, because people decide on them: `ops.incident`, one row for each, `ops.incident_notice`, one for each
message that was sent or could not be, and `ops.incident_taken`, one for each time that somebody took one on. `step` is
called every minute with all findings of that moment: it opens, changes and closes incidents, and sends what is due.
Whatever stops it, the next step goes on; a message may be sent twice when a process dies between the sending and its
record, and is never taken for sent when it was not.

An incident closes when its findings stayed away for `close_after_minutes`, so that one that flickers is one. Many
messages that are due on a channel at once become one, as robots take twenty a minute.

All times are UTC.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from datong_platform import operational
from datong_platform.alerts.channels import SEVERITIES, Channel, Message, Severity, severity_rank
from datong_platform.alerts.config import AlertsConfig, Route
from datong_platform.alerts.findings import Finding, grouped
from datong_platform.errors import ConfigurationError, DatongError, TransientError

if TYPE_CHECKING:
    from psycopg import Connection

Reason = Literal["opened", "worse", "repeated", "escalated", "closed"]
_LOCK = 0x64_61_74_6F  # advisory lock: one step at a time
_DIGEST_FROM = 6
_LONGEST_PAUSE = timedelta(minutes=15)
_KEPT = timedelta(days=400)

_TABLES = """
create schema if not exists ops;
create table if not exists ops.incident (
    incident_id bigint generated always as identity primary key,
    root_key text not null,
    severity text not null,
    system text not null,
    owner text not null,
    title text not null,
    title_zh text not null,
    detail text not null,
    findings jsonb not null,
    opened_at timestamptz not null,
    changed_at timestamptz not null,
    gone_since timestamptz,
    closed_at timestamptz,
    acknowledged_by text,
    acknowledged_at timestamptz,
    acknowledged_why text
);
create unique index if not exists incident_open on ops.incident (root_key) where closed_at is null;
create table if not exists ops.incident_notice (
    incident_id bigint not null references ops.incident on delete cascade,
    channel text not null,
    reason text not null,
    severity text not null,
    at timestamptz not null,
    error text,
    retry_at timestamptz
);
create index if not exists incident_notice_of on ops.incident_notice (incident_id, channel, at);
create table if not exists ops.incident_taken (
    taken_id bigint generated always as identity primary key,
    incident_id bigint not null,
    title text not null,
    title_zh text not null,
    who text not null,
    why text not null,
    at timestamptz not null
);
insert into ops.incident_taken (incident_id, title, title_zh, who, why, at)
select incident_id, title, title_zh, acknowledged_by, coalesce(acknowledged_why, ''), acknowledged_at
from ops.incident where acknowledged_at is not null and not exists (select from ops.incident_taken);
"""

_WORDS: dict[Reason, tuple[str, str]] = {
    "opened": ("告警", "Alert"),
    "worse": ("告警升高", "Worse"),
    "repeated": ("仍未恢复", "Still open"),
    "escalated": ("告警升级", "Escalated"),
    "closed": ("已恢复", "Healed"),
}


@dataclass(frozen=True)
class Incident:
    """One incident as it is now."""

    incident_id: int
    root_key: str
    severity: Severity
    system: str
    owner: str
    title: str
    title_zh: str
    detail: str
    findings: list[dict[str, Any]]
    opened_at: datetime
    changed_at: datetime
    gone_since: datetime | None = None
    closed_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_why: str | None = None


@dataclass(frozen=True)
class Notice:
    """A message about an incident on a channel; `error` says why it was not taken."""

    channel: str
    reason: Reason
    at: datetime
    error: str | None


@dataclass(frozen=True)
class Taken:
    """Somebody took an incident on. It outlives the incident, as the record of what people decided."""

    taken_id: int
    incident_id: int
    title: str
    title_zh: str
    who: str
    why: str
    at: datetime


@dataclass(frozen=True)
class _Notice:
    incident: Incident
    channel: str
    reason: Reason


@dataclass(frozen=True)
class StepResult:
    """What a step did, in incidents and messages. `failed` holds words by channel."""

    opened: int
    closed: int
    open: int
    sent: int
    failed: dict[str, str]


def step(
    findings: Iterable[Finding],
    upstream: Mapping[str, Sequence[str]],
    config: AlertsConfig,
    *,
    now: datetime | None = None,
) -> StepResult | None:
    """Bring incidents up to date and send what is due; None when another step is at it.

    ServiceError without PostgreSQL.
    `findings` are all that are known at this moment: what is not among them is taken for healed. `upstream` are the
    tables that each table is made from.
    """
    now = now or datetime.now(UTC)
    with _connected() as database:
        locked = database.execute("select pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
        if not locked or not locked[0]:
            return None
        try:
            opened, closed = _synchronise(database, findings, upstream, config, now)
            due = list(_due(database, config, now))
            sent, failed = _send(database, due, config, now)
            database.execute("delete from ops.incident where closed_at < %s", [now - _KEPT])
            found = database.execute("select count(*) from ops.incident where closed_at is null").fetchone()
            return StepResult(opened, closed, found[0] if found else 0, sent, failed)
        finally:
            database.execute("select pg_advisory_unlock(%s)", [_LOCK])


def incidents(*, closed: bool = False, limit: int = 200) -> list[Incident]:
    """The open incidents, the worst first; with `closed` also those that ended, the newest first."""
    from psycopg.rows import class_row

    order = "opened_at desc" if closed else f"array_position(array{list(reversed(SEVERITIES))}, severity), opened_at"
    where = "true" if closed else "closed_at is null"
    with _connected() as database, database.cursor(row_factory=class_row(Incident)) as rows:
        statement = f"select * from ops.incident where {where} order by {order} limit {limit:d}"
        return rows.execute(statement.encode()).fetchall()


def incident(incident_id: int) -> Incident:
    """One incident, open or closed. ConfigurationError when there is none."""
    from psycopg.rows import class_row

    with _connected() as database, database.cursor(row_factory=class_row(Incident)) as rows:
        found = rows.execute("select * from ops.incident where incident_id = %s", [incident_id]).fetchone()
    if found is None:
        raise ConfigurationError(
            f"incident {incident_id}", "is not there; healed ones are kept for 400 days.", "see `datong alerts list`."
        )
    return found


def notices(incident_id: int, *, limit: int = 200) -> list[Notice]:
    """The messages about an incident, the newest first."""
    from psycopg.rows import class_row

    with _connected() as database, database.cursor(row_factory=class_row(Notice)) as rows:
        return rows.execute(
            "select channel, reason, at, error from ops.incident_notice where incident_id = %s "
            "order by at desc limit %s",
            [incident_id, limit],
        ).fetchall()


def taken(incident_id: int | None = None, *, before: datetime | None = None, limit: int = 200) -> list[Taken]:
    """Who took what on, the newest first: of one incident or of all, with `before` only what is older."""
    from psycopg.rows import class_row

    with _connected() as database, database.cursor(row_factory=class_row(Taken)) as rows:
        return rows.execute(
            "select * from ops.incident_taken where (%(of)s::bigint is null or incident_id = %(of)s) "
            "and (%(before)s::timestamptz is null or at < %(before)s) order by at desc, taken_id desc limit %(limit)s",
            {"of": incident_id, "before": before, "limit": limit},
        ).fetchall()


def acknowledge(incident_id: int, who: str, why: str) -> Incident:
    """Somebody is at it: it is neither repeated nor escalated any more. ConfigurationError when it is not open."""
    from psycopg.rows import class_row

    now = datetime.now(UTC)
    with _connected() as database, database.transaction(), database.cursor(row_factory=class_row(Incident)) as rows:
        found = rows.execute(
            "update ops.incident set acknowledged_by = %s, acknowledged_at = %s, acknowledged_why = %s "
            "where incident_id = %s and closed_at is null returning *",
            [who, now, why, incident_id],
        ).fetchone()
        if found is not None:
            database.execute(
                "insert into ops.incident_taken (incident_id, title, title_zh, who, why, at) "
                "values (%s, %s, %s, %s, %s, %s)",
                [incident_id, found.title, found.title_zh, who, why, now],
            )
    if found is None:
        raise ConfigurationError(f"incident {incident_id}", "is not open.", "see `datong alerts list`.")
    return found


def _synchronise(
    database: Connection[Any],
    findings: Iterable[Finding],
    upstream: Mapping[str, Sequence[str]],
    config: AlertsConfig,
    now: datetime,
) -> tuple[int, int]:
    """Open, change and close incidents, in one transaction; how many were opened and closed."""
    opened = 0
    with database.transaction():
        groups = grouped(findings, upstream)
        for group in groups:
            root = group.root
            told = json.dumps([asdict(one) for one in group.findings], ensure_ascii=False)
            changed = database.execute(
                "update ops.incident set severity = %s, title = %s, title_zh = %s, detail = %s, findings = %s, "
                "gone_since = null, changed_at = case when findings = %s::jsonb then changed_at else %s end "
                "where root_key = %s and closed_at is null",
                [group.severity, root.title, root.title_zh, root.detail, told, told, now, group.key],
            )
            if changed.rowcount == 0:
                opened += 1
                database.execute(
                    "insert into ops.incident (root_key, severity, system, owner, title, title_zh, detail, findings, "
                    "opened_at, changed_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                    [
                        *(group.key, group.severity, root.system, root.owner, root.title, root.title_zh, root.detail),
                        *(told, now, now),
                    ],
                )
        keys = [group.key for group in groups]
        database.execute(
            "update ops.incident set gone_since = %s where closed_at is null and gone_since is null "
            "and root_key <> all(%s)",
            [now, keys],
        )
        closed = database.execute(
            "update ops.incident set closed_at = %s where closed_at is null and gone_since <= %s",
            [now, now - timedelta(minutes=config.close_after_minutes)],
        ).rowcount
    return opened, closed


def _due(database: Connection[Any], config: AlertsConfig, now: datetime) -> Iterator[_Notice]:
    """What is to be sent now, a channel and an incident at most once."""
    from psycopg.rows import class_row

    with database.cursor(row_factory=class_row(Incident)) as rows:
        found = rows.execute(
            "select * from ops.incident where closed_at is null or closed_at > %s order by incident_id",
            [now - timedelta(days=2)],
        ).fetchall()
    notices: dict[tuple[int, str], list[tuple[str, str, datetime, str | None, datetime | None]]] = defaultdict(list)
    asked = [one.incident_id for one in found]
    for incident_id, channel, *rest in database.execute(
        "select incident_id, channel, reason, severity, at, error, retry_at from ops.incident_notice "
        "where incident_id = any(%s) order by at",
        [asked],
    ):
        notices[incident_id, channel].append((rest[0], rest[1], rest[2], rest[3], rest[4]))
    for incident in found:
        if incident.gone_since is not None and incident.closed_at is None:
            continue  # it may be healing: nothing is said until that is sure
        told: set[str] = set()
        for route in config.routes:
            if not _matches(route, incident):
                continue
            late = _is_late(route, incident, now)
            for channel in [*route.channels, *(route.escalate_to if late else [])]:
                if channel in told:
                    continue
                known = notices.get((incident.incident_id, channel), [])
                if reason := _reason(route, channel, incident, known, now):
                    told.add(channel)
                    yield _Notice(incident, channel, reason)


def _matches(route: Route, incident: Incident) -> bool:
    return (
        (not route.systems or incident.system in route.systems)
        and (not route.owners or incident.owner in route.owners)
        and severity_rank(incident.severity) >= severity_rank(route.at_least)
    )


def _is_late(route: Route, incident: Incident, now: datetime) -> bool:
    """Whether nobody took it on for too long."""
    if not route.escalate_after_minutes or incident.acknowledged_at or incident.closed_at:
        return False
    return now - incident.opened_at >= timedelta(minutes=route.escalate_after_minutes)


def _reason(
    route: Route,
    channel: str,
    incident: Incident,
    known: Sequence[tuple[str, str, datetime, str | None, datetime | None]],
    now: datetime,
) -> Reason | None:
    """Why a channel has to be told now; None when it has not. `known` are its notices, the oldest first."""
    taken = [notice for notice in known if notice[3] is None]
    if known and known[-1][3] is not None and known[-1][4] is not None and now < known[-1][4]:
        return None  # it failed a moment ago
    if incident.closed_at is not None:
        return "closed" if taken and taken[-1][0] != "closed" else None
    if not taken:
        return "opened" if channel in route.channels else "escalated"
    if severity_rank(incident.severity) > max(severity_rank(notice[1]) for notice in taken):
        return "worse"
    if incident.acknowledged_at is None and route.repeat_minutes:
        return "repeated" if now - taken[-1][2] >= timedelta(minutes=route.repeat_minutes) else None
    return None


def _send(
    database: Connection[Any], due: Sequence[_Notice], config: AlertsConfig, now: datetime
) -> tuple[int, dict[str, str]]:
    """Send what is due, and record each; how many messages were taken, and what failed, by channel."""
    by_channel: dict[str, list[_Notice]] = defaultdict(list)
    for notice in due:
        by_channel[notice.channel].append(notice)
    sent, failed = 0, dict[str, str]()
    for name, notices in by_channel.items():
        channel = config.channel(name)
        pieces = [notices] if len(notices) >= _DIGEST_FROM else [[notice] for notice in notices]
        for piece in pieces:
            message = _digest(piece, config) if len(piece) > 1 else _message(piece[0], config)
            error = _tried(channel, message)
            if error is None:
                sent += 1
            else:
                failed[name] = str(error)
            for notice in piece:
                _record(database, notice, error, now)
            if isinstance(error, TransientError):
                break  # the rest of this channel waits with it
    return sent, failed


def _tried(channel: Channel, message: Message) -> DatongError | None:
    try:
        channel.send(message)
    except DatongError as error:
        return error
    return None


def _record(database: Connection[Any], notice: _Notice, error: DatongError | None, now: datetime) -> None:
    retry_at = None
    if error is not None:
        row = database.execute(
            "select count(*) from ops.incident_notice where incident_id = %s and channel = %s and error is not null",
            [notice.incident.incident_id, notice.channel],
        ).fetchone()
        pause = min(timedelta(minutes=2 ** min(row[0] if row else 0, 10)), _LONGEST_PAUSE)
        asked = timedelta(seconds=error.retry_after or 0) if isinstance(error, TransientError) else timedelta()
        retry_at = now + max(pause, asked)
    database.execute(
        "insert into ops.incident_notice (incident_id, channel, reason, severity, at, error, retry_at) "
        "values (%s, %s, %s, %s, %s, %s, %s)",
        [
            *(notice.incident.incident_id, notice.channel, notice.reason, notice.incident.severity, now),
            *(str(error) if error else None, retry_at),
        ],
    )


def _message(notice: _Notice, config: AlertsConfig) -> Message:
    incident = notice.incident
    lines = [incident.detail] if incident.detail and notice.reason != "closed" else []
    others = [one for one in incident.findings if one["title"] != incident.title]
    if others and notice.reason != "closed":
        shown = "; ".join(str(one["subject"]) for one in others[:5]) + (" …" if len(others) > 5 else "")
        lines.append(
            config.said(f"同一原因还影响 {len(others)} 项: {shown}", f"{len(others)} more have this cause: {shown}")
        )
    if notice.reason in {"repeated", "escalated", "closed"}:
        since = incident.opened_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
        lines.append(config.said(f"自 {since} 起", f"since {since}"))
    return Message(
        f"{config.said(*_WORDS[notice.reason])}: {config.said(incident.title_zh, incident.title)}",
        tuple(lines),
        "info" if notice.reason == "closed" else incident.severity,
        incident.opened_at,
        config.link(f"incidents/{incident.incident_id}"),
        (
            ("incident", str(incident.incident_id)),
            ("reason", notice.reason),
            ("system", incident.system),
            ("owner", incident.owner),
            ("key", incident.root_key),
        ),
    )


def _digest(notices: Sequence[_Notice], config: AlertsConfig) -> Message:
    """Many in one: a line each."""
    worst: Severity = max((one.incident.severity for one in notices), key=severity_rank)
    lines = [
        f"{config.said(*_WORDS[one.reason])}: {config.said(one.incident.title_zh, one.incident.title)}"
        for one in notices
    ]
    return Message(
        config.said(f"{len(notices)} 条告警", f"{len(notices)} alerts"),
        tuple(lines),
        worst,
        min(one.incident.opened_at for one in notices),
        config.link("incidents"),
        (("incidents", ",".join(str(one.incident.incident_id) for one in notices)),),
    )


def _connected() -> AbstractContextManager[Connection[Any]]:
    return operational.connected(_TABLES, "ops.incident_taken")
