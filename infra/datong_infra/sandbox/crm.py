"""The CRM's database in PostgreSQL: a database and a read-only role of its own, kept in step with the plant.

The plant is the master. Each change of the plant has a number; the database remembers, in the same transaction as the
rows, up to which number it has them (schema `plant`, out of the readers' sight). So a crash in between is made good by
the next call of `bring_up_to_date`, and a database that was lost is filled again.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import orjson
import psycopg
from datong_platform.errors import ConfigurationError, ServiceError
from psycopg import sql

from datong_infra.sandbox.model import CRM_TABLES, MILLI, Column
from datong_infra.sandbox.store import Store, utc

_DDL = """
create table account (
    id integer primary key, name text not null, credit_code text, phone text, city text, street text,
    owner_email text, erp_customer_no text, is_deleted boolean not null,
    created_at timestamptz not null, updated_at timestamptz not null);
create index on account (updated_at);
create table contact (
    id integer primary key, account_id integer not null, full_name text, phone text, mobile text, email text,
    created_at timestamptz not null, updated_at timestamptz not null);
create index on contact (updated_at);
create table opportunity (
    id integer primary key, account_id integer not null, title text, stage text, amount numeric(16,2), currency text,
    probability integer, expected_close_on date, created_at timestamptz not null, updated_at timestamptz not null);
create index on opportunity (updated_at);
create schema plant;
create table plant.position (plant_id text not null, seq bigint not null);
"""

_CHANGED = "type changed on request"


class Crm:
    """The CRM's database. `admin_url` may create databases and roles; `name` is that of the database and the role."""

    def __init__(self, store: Store, admin_url: str, name: str, password: str) -> None:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
            raise ConfigurationError(
                f"CRM database {name!r}", "is not a plain PostgreSQL name.", "use lower-case letters, digits and _."
            )
        self.store = store
        self.name = name
        self.password = password
        self._admin_url = admin_url
        parts = urlsplit(admin_url)
        host = f"{parts.hostname or '127.0.0.1'}:{parts.port or 5432}"
        self._owner_url = urlunsplit(parts._replace(path=f"/{name}"))
        self.url = f"postgresql://{name}:{quote(password, safe='')}@{host}/{name}"
        """Address for those who read."""

    @contextmanager
    def _connect(self, url: str, *, autocommit: bool = False) -> Generator[psycopg.Connection[Any]]:
        try:
            connection = psycopg.connect(url, connect_timeout=10, autocommit=autocommit)
        except psycopg.OperationalError as error:
            raise ServiceError(
                f"CRM database {self.name}",
                f"PostgreSQL cannot be reached: {error}".strip(),
                "start PostgreSQL (`datong up`), or start the sandbox without --postgres.",
            ) from error
        with connection:
            yield connection

    def prepare(self) -> None:
        """Create role and database where they are missing, set the password, and bring the rows up to date."""
        with self._connect(self._admin_url, autocommit=True) as db:
            if not db.execute("select 1 from pg_roles where rolname = %s", (self.name,)).fetchone():
                db.execute(sql.SQL("create role {} login").format(sql.Identifier(self.name)))
                # to end the readers' sessions, one who is no superuser has to be a member of their role
                db.execute(sql.SQL("grant {} to current_user with inherit true").format(sql.Identifier(self.name)))
            self.set_password(self.password)
            self.allow_connections(True)
            if not db.execute("select 1 from pg_database where datname = %s", (self.name,)).fetchone():
                db.execute(sql.SQL("create database {}").format(sql.Identifier(self.name)))
        with self._connect(self._owner_url) as db:
            if not db.execute("select 1 from pg_namespace where nspname = 'plant'").fetchone():
                self._make_tables(db)
        self.restore_types()

    def set_password(self, password: str) -> None:
        """Change the readers' password (a fault on request sets a wrong one)."""
        with self._connect(self._admin_url, autocommit=True) as db:
            db.execute(
                sql.SQL("alter role {} with password {}").format(sql.Identifier(self.name), sql.Literal(password))
            )

    def allow_connections(self, allowed: bool) -> None:
        """Let readers in or not; those inside are sent away (a fault on request)."""
        with self._connect(self._admin_url, autocommit=True) as db:
            db.execute(
                sql.SQL("alter role {} with {}").format(
                    sql.Identifier(self.name), sql.SQL("login" if allowed else "nologin")
                )
            )
        if not allowed:
            self.drop_connections()

    def drop_connections(self) -> int:
        """End every connection of the readers; returns how many there were."""
        with self._connect(self._admin_url, autocommit=True) as db:
            return len(
                db.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (self.name,)
                ).fetchall()
            )

    def change_type(self, table: str, column: str) -> None:
        """Turn a column into text, as an upgrade gone wrong would (a fault on request)."""
        if table not in CRM_TABLES or column not in CRM_TABLES[table].columns:
            raise ConfigurationError(
                f"CRM column {table}.{column}", "does not exist.", f"choose a table of {', '.join(CRM_TABLES)}."
            )
        names = sql.Identifier(table), sql.Identifier(column)
        with self._connect(self._owner_url) as db:
            db.execute(
                sql.SQL("alter table {} alter column {} type text using '~' || {}::text").format(*names, names[1])
            )
            db.execute(sql.SQL("comment on column {}.{} is {}").format(*names, sql.Literal(_CHANGED)))

    def restore_types(self) -> None:
        """Make the tables anew when change_type() spoilt one."""
        with self._connect(self._owner_url) as db:
            if db.execute("select 1 from pg_description where description = %s", (_CHANGED,)).fetchone():
                db.execute("drop table account, contact, opportunity; drop schema plant cascade;")
                self._make_tables(db)
        self.bring_up_to_date()

    def _make_tables(self, db: psycopg.Connection[Any]) -> None:
        db.execute(_DDL)
        role = sql.Identifier(self.name)
        db.execute(sql.SQL("grant usage on schema public to {}").format(role))
        db.execute(sql.SQL("grant select on all tables in schema public to {}").format(role))

    def bring_up_to_date(self) -> int:
        """Carry the plant's changes since the last time into the database; returns how many rows there were."""
        plant_id = self.store.meta("plant_id") or ""
        with self._connect(self._owner_url) as db, self.store.snapshot() as plant:
            row = db.execute("select plant_id, seq from plant.position for update").fetchone()
            if row is None or row[0] != plant_id:
                db.execute("truncate account, contact, opportunity, plant.position")
                db.execute("insert into plant.position values (%s, 0)", (plant_id,))
                since = 0
            else:
                since = int(row[1])
            until = int(plant.execute("select value from meta where name = 'seq'").fetchone()[0])
            if since == until:
                return 0
            changed = sum(self._carry(db, plant, name, since) for name in CRM_TABLES)
            db.execute("update plant.position set seq = %s", (until,))
            return changed

    def _carry(self, db: psycopg.Connection[Any], plant: Any, name: str, since: int) -> int:
        columns = list(CRM_TABLES[name].columns.values())
        names = ", ".join(f'"{c.name}"' for c in columns)
        gone = [
            (orjson.loads(keys)["id"],)
            for (keys,) in plant.execute("select keys from tombstone where entity = ? and seq > ?", (name, since))
        ]
        rows = [
            tuple(_value(c, v) for c, v in zip(columns, row, strict=True))
            for row in plant.execute(f"select {names} from crm_{name} where _seq > ? order by id", (since,))
        ]
        with db.cursor() as cursor:
            # a changed row is deleted and written again: COPY is many times faster than single upserts
            keys = [*gone, *((row[0],) for row in rows)] if since else []
            for first in range(0, len(keys), 5000):
                cursor.execute(
                    sql.SQL("delete from {} where id = any(%s)").format(sql.Identifier(name)),
                    ([k for (k,) in keys[first : first + 5000]],),
                )
            with cursor.copy(sql.SQL("copy {} from stdin").format(sql.Identifier(name))) as copy:
                for row in rows:
                    copy.write_row(row)
        return len(rows) + len(gone)


def _value(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.kind == "O":
        return utc(value)
    if column.kind == "D":
        return utc(value).date()
    if column.kind == "B":
        return bool(value)
    return f"{value / MILLI:.2f}" if column.kind == "Q" else value
