"""Who may log in to the desk, on the command line."""

from __future__ import annotations

import sys
from dataclasses import asdict

import typer
from datong_platform.settings import settings

from datong_infra.cli.output import Format, print_line, print_rows
from datong_infra.desk import users


def add(name: str, role: str) -> None:
    """Let a person in."""
    if role not in users.ROLES:
        raise typer.BadParameter(f"{role!r} is none of {', '.join(users.ROLES)}", param_hint="--role")
    made = users.add(name, _password(), role)  # pyright: ignore[reportArgumentType]
    place = settings().desk_url
    print_line(f"{made.name} may log in as {made.role}.")
    if place:
        print_line(f"Desk: {place}")


def password(name: str) -> None:
    """Give a person a new password."""
    users.set_password(name, _password())
    print_line(f"{name} has a new password; sessions with the old one are ended.")


def remove(name: str) -> None:
    """Let a person in no more."""
    users.remove(name)
    print_line(f"{name} may not log in any more. What {name} decided stays.")


def listing(format_: Format) -> None:
    """Everybody who may log in."""
    print_rows([asdict(user) for user in users.users()], format_, ("name", "role", "added_at", "last_seen_at"))


def _password() -> str:
    """A password that is typed twice, or the first line of what is piped in."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return typer.prompt("Password", hide_input=True, confirmation_prompt=True)
