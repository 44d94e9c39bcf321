"""PostgreSQL in a backup: what people decided, users of the desk, Dagster's runs, and the published tables."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from datong_platform.errors import ServiceError
from datong_platform.settings import from_environment, settings

from datong_infra.services.postgres import DAGSTER_DATABASE, DATABASE, dagster_url, program

_PIECE = 8 << 20


def names() -> list[str]:
    """The databases that are backed up. In a company's own PostgreSQL all is in one, in schemas of ours."""
    return [DATABASE] if from_environment("postgres_url") else [DATABASE, DAGSTER_DATABASE]


def dump(name: str) -> Iterator[bytes]:
    """A database as pg_dump's custom format, in pieces: one transaction's view of it, while work goes on."""
    command = [
        str(program("pg_dump")),
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        *_ours(),
        f"--dbname={_url(name)}",
    ]
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
            yield from iter(lambda: process.stdout.read(_PIECE) if process.stdout else b"", b"")
        if process.returncode:
            raise _failed(name, "dumped", errors)


def clear(name: str) -> None:
    """Drop all that a database holds of ours, so that a dump can take its place. ServiceError when somebody uses it."""
    import psycopg
    from datong_platform.silence import patient

    try:
        with patient(_url(name), connect_timeout=10) as connection:
            connection.execute("set lock_timeout = '30s'")
            connection.execute("drop owned by current_user cascade")
            # gone with the rest where it was ours, or with what was lost; a dump takes it for granted
            connection.execute("create schema if not exists public")
    except psycopg.Error as error:
        raise ServiceError(
            f"database {name}",
            f"cannot be cleared: {' '.join(str(error).split())}",
            "run `datong down desk dagster-daemon dagster-webserver dagster-code`, then the command again.",
        ) from error


def load(name: str, pieces: Iterator[bytes]) -> None:
    """Put a dump in place of what the database holds, in one transaction: all of it or nothing."""
    with tempfile.NamedTemporaryFile(suffix=".dump") as file, tempfile.TemporaryFile() as errors:
        for piece in pieces:
            file.write(piece)
        file.flush()
        command = [
            str(program("pg_restore")),
            "--clean",
            "--if-exists",
            "--no-owner",
            "--no-privileges",
            "--single-transaction",
            f"--dbname={_url(name)}",
            str(Path(file.name)),
        ]
        if subprocess.run(command, stderr=errors, check=False).returncode:
            raise _failed(name, "restored", errors)


def _ours() -> list[str]:
    return [f"--schema={name}" for name in ("serve", "ops", "dagster")] if from_environment("postgres_url") else []


def _url(name: str) -> str:
    return dagster_url() if name == DAGSTER_DATABASE else settings().need("postgres_url")


def _failed(name: str, what: str, errors: IO[bytes]) -> ServiceError:
    errors.seek(0)
    words = " ".join(errors.read().decode(errors="replace").split())
    return ServiceError(
        f"database {name}",
        f"could not be {what}: {words[-800:]}",
        "run `datong doctor`, then the command again: nothing was changed in the database.",
    )
