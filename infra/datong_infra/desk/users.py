"""Who may log in to the desk, and who is logged in: `ops.desk_user` and `ops.desk_session` in PostgreSQL.

A password is kept as scrypt (RFC 7914; N=2^15, r=8, p=3, as OWASP's cheat sheet advises), a session as the SHA-256 of
its token, so that neither can be read out of the database. After five wrong passwords a name waits for a minute.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from datong_platform import operational
from datong_platform.errors import AuthenticationError, ConfigurationError
from datong_platform.names import word
from datong_platform.page import Lang

if TYPE_CHECKING:
    from psycopg import Connection

Role = Literal["viewer", "steward"]
"""A viewer looks; a steward also decides."""
ROLES: tuple[Role, ...] = get_args(Role)

SHORTEST = 10
"""Characters that a password has at least."""
IDLE_HOURS = 12
"""A session ends when nothing was asked in it for so long."""
_COST, _BLOCK, _PARALLEL = 2**15, 8, 3
_TRIES, _WAIT_SECONDS = 5, 60

_TABLES = """
create schema if not exists ops;
create table if not exists ops.desk_user (
    name text primary key,
    role text not null,
    secret text not null,
    added_at timestamptz not null default now(),
    last_seen_at timestamptz,
    failures integer not null default 0,
    closed_until timestamptz
);
create table if not exists ops.desk_session (
    digest text primary key,
    name text not null references ops.desk_user on delete cascade,
    form_token text not null,
    language text not null,
    notice text,
    seen_at timestamptz not null default now()
);
"""


@dataclass(frozen=True)
class User:
    """A person who may log in. Times are UTC."""

    name: str
    role: Role
    added_at: datetime
    last_seen_at: datetime | None

    @property
    def decides(self) -> bool:
        """Whether this person may decide."""
        return self.role == "steward"


@dataclass(frozen=True)
class Session:
    """A person who is logged in."""

    digest: str
    name: str
    role: Role
    form_token: str
    """What every form of this session carries: a page of somebody else's does not know it."""
    language: Lang

    @property
    def decides(self) -> bool:
        """Whether this person may decide."""
        return self.role == "steward"


def ensure() -> None:
    """Make the tables where they are missing. ServiceError when PostgreSQL does not answer."""
    with _connection() as connection:
        # two that make the same table at once disturb each other, `if not exists` or not
        connection.execute("select pg_advisory_xact_lock(hashtext('ops.desk_user'))")
        connection.execute(_TABLES)


def add(name: str, password: str, role: Role = "steward") -> User:
    """Let a person in. ConfigurationError for a name that is taken or is no name, and for a password too short."""
    name, secret = word(name, "user"), _secret(password)
    if role not in ROLES:
        raise ConfigurationError(f"role {role!r}", "is not one.", f"use one of {', '.join(ROLES)}.")
    ensure()
    with _connection() as connection:
        made = connection.execute(
            "insert into ops.desk_user (name, role, secret) values (%s, %s, %s) on conflict do nothing "
            "returning name, role, added_at, last_seen_at",
            [name, role, secret],
        ).fetchone()
    if made is None:
        raise ConfigurationError(
            f"user {name!r}", "is there already.", f"to give a new password: `datong user password {name}`."
        )
    return User(*made)


def set_password(name: str, password: str) -> None:
    """Give a person a new password; ends the sessions of that person. ConfigurationError for an unknown name."""
    secret = _secret(password)
    ensure()
    with _connection() as connection:
        done = connection.execute(
            "update ops.desk_user set secret = %s, failures = 0, closed_until = null where name = %s", [secret, name]
        )
        _need(done.rowcount, name)
        connection.execute("delete from ops.desk_session where name = %s", [name])


def remove(name: str) -> None:
    """Let a person in no more, from this moment. What that person decided stays. ConfigurationError when unknown."""
    ensure()
    with _connection() as connection:
        _need(connection.execute("delete from ops.desk_user where name = %s", [name]).rowcount, name)


def users() -> list[User]:
    """Everybody who may log in, by name."""
    ensure()
    with _connection() as connection:
        found = connection.execute("select name, role, added_at, last_seen_at from ops.desk_user order by name")
        return [User(*row) for row in found.fetchall()]


def log_in(name: str, password: str, language: Lang) -> str:
    """The token of a new session. AuthenticationError when name and password do not belong together, or must wait."""
    # each statement is kept by itself: an exception must not take the count of failures back
    with operational.connected() as connection:
        found = connection.execute(
            "select secret, closed_until > now() from ops.desk_user where name = %s", [name]
        ).fetchone()
        secret, closed = found or (_NOBODY, False)
        if closed:
            raise AuthenticationError(
                f"user {name}", "gave a wrong password too often.", f"wait {_WAIT_SECONDS} seconds, then try again."
            )
        if not _is(password, secret) or found is None:
            connection.execute(
                "update ops.desk_user set failures = (failures + 1) %% %s, closed_until = "
                "case when failures + 1 >= %s then now() + make_interval(secs => %s) end where name = %s",
                [_TRIES, _TRIES, _WAIT_SECONDS, name],
            )
            raise AuthenticationError("log-in", "failed: name and password do not belong together.", "try again.")
        token = secrets.token_urlsafe(32)
        connection.execute(
            "delete from ops.desk_session where seen_at < now() - make_interval(hours => %s)", [IDLE_HOURS]
        )
        connection.execute(
            "insert into ops.desk_session (digest, name, form_token, language) values (%s, %s, %s, %s)",
            [_digest(token), name, secrets.token_urlsafe(32), language],
        )
        connection.execute(
            "update ops.desk_user set failures = 0, closed_until = null, last_seen_at = now() where name = %s", [name]
        )
        return token


def log_out(session: Session) -> None:
    """End a session."""
    with _connection() as connection:
        connection.execute("delete from ops.desk_session where digest = %s", [session.digest])


def session(token: str) -> Session | None:
    """The session of a token, None when there is none or it ended."""
    with _connection() as connection:
        digest = _digest(token)
        found = connection.execute(
            "select digest, name, role, form_token, language, seen_at < now() - interval '1 minute' "
            "from ops.desk_session join ops.desk_user using (name) "
            "where digest = %s and seen_at > now() - make_interval(hours => %s)",
            [digest, IDLE_HOURS],
        ).fetchone()
        if found is None:
            return None
        *facts, stale = found
        if stale:
            connection.execute("update ops.desk_session set seen_at = now() where digest = %s", [digest])
            connection.execute("update ops.desk_user set last_seen_at = now() where name = %s", [facts[1]])
        return Session(*facts)


def speak(session: Session, language: Lang) -> None:
    """Remember the language that a person chose."""
    with _connection() as connection:
        connection.execute("update ops.desk_session set language = %s where digest = %s", [language, session.digest])


def leave_notice(session: Session, notice: str) -> None:
    """Keep a few words for the next page of this session."""
    with _connection() as connection:
        connection.execute("update ops.desk_session set notice = %s where digest = %s", [notice, session.digest])


def take_notice(session: Session) -> str:
    """The words that were kept, once."""
    with _connection() as connection:
        found = connection.execute(
            "update ops.desk_session as one set notice = null from ops.desk_session as before "
            "where one.digest = %s and before.digest = one.digest and before.notice is not null "
            "returning before.notice",
            [session.digest],
        ).fetchone()
        return found[0] if found else ""


def _need(count: int, name: str) -> None:
    if not count:
        raise ConfigurationError(f"user {name!r}", "is not there.", "see who is: `datong user list`.")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _secret(password: str) -> str:
    if len(password) < SHORTEST:
        raise ConfigurationError(
            "the password", f"is too short: it has {len(password)} characters.", f"use {SHORTEST} or more."
        )
    salt = secrets.token_bytes(16)
    return f"scrypt ${salt.hex()} ${_scrypt(password, salt).hex()}"


def _is(password: str, secret: str) -> bool:
    salt, kept = (bytes.fromhex(part) for part in secret.split(" $")[1:])
    return hmac.compare_digest(_scrypt(password, salt), kept)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL, maxmem=2**26, dklen=32)


_NOBODY = f"scrypt ${'00' * 16} ${'00' * 32}"
"""Checked for an unknown name, so that the answer takes as long as for a known one."""


@contextmanager
def _connection() -> Generator[Connection[Any]]:
    """One transaction."""
    with operational.connected() as connection, connection.transaction():
        yield connection
