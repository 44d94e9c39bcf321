"""The sandbox's CRM: a PostgreSQL database that lives with the plant, read by a role of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from datong_infra.sandbox.faults import Fault
from datong_infra.sandbox.server import Sandbox
from datong_infra.services import stack
from datong_platform.settings import settings
from psycopg import sql


@pytest.fixture
def name(datong_home: Path) -> Iterator[str]:
    """A name for a database that nobody else uses; it is dropped afterwards."""
    stack.up(["postgres"])
    found = f"crm_{secrets.token_hex(4)}"
    yield found
    with psycopg.connect(settings().need("postgres_url"), autocommit=True) as db:
        db.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(found)))
        db.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(found)))


def start(path: Path, name: str) -> Sandbox:
    return Sandbox(path, scale=0.2, seed=5, postgres=settings().need("postgres_url"), crm_database=name)


def rows(url: str, table: str) -> dict[int, tuple[Any, ...]]:
    with psycopg.connect(url) as db:
        found = db.execute(sql.SQL("select * from {}").format(sql.Identifier(table))).fetchall()
    return {row[0]: row for row in found}


def test_the_crm_holds_the_plants_rows_for_readers_only(tmp_path: Path, name: str) -> None:
    sandbox = start(tmp_path, name)
    assert sandbox.crm
    url = sandbox.crm.url
    counts = sandbox.status()["rows"]
    for table in ("account", "contact", "opportunity"):
        assert len(rows(url, table)) == counts[f"crm.{table}"] > 0
    accounts = rows(url, "account").values()
    assert any(a[2] is None for a in accounts)
    assert any("Ｃｏ" in a[1] or "\u3000" in a[1] or "Co., Ltd." in a[1] for a in accounts)
    assert len({len(a[3]) for a in accounts}) > 4, "telephone numbers in many styles"
    with psycopg.connect(url) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("delete from account")
    with psycopg.connect(url) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("select * from plant.position")


def test_the_crm_changes_and_deletes_as_the_days_advance(tmp_path: Path, name: str) -> None:
    sandbox = start(tmp_path, name)
    assert sandbox.crm
    before = {t: rows(sandbox.crm.url, t) for t in ("account", "contact", "opportunity")}
    sandbox.advance(60)
    after = {t: rows(sandbox.crm.url, t) for t in before}
    assert any(set(before[t]) - set(after[t]) for t in before), "rows are deleted for good"
    assert sum(a[8] for a in after["account"].values()) > sum(a[8] for a in before["account"].values())
    changed = [
        k for k, row in after["opportunity"].items() if k in before["opportunity"] and row != before["opportunity"][k]
    ]
    newest = max(row[-1] for row in before["opportunity"].values())
    assert changed
    assert all(after["opportunity"][k][-1] > newest for k in changed), "every change moves updated_at on"


def test_a_lost_or_lagging_database_is_made_good_at_the_next_start(tmp_path: Path, name: str) -> None:
    sandbox = start(tmp_path, name)
    assert sandbox.crm
    url = sandbox.crm.url
    sandbox.crm = None
    sandbox.advance(5)
    lagging = rows(url, "opportunity")
    sandbox.store.close()
    again = start(tmp_path, name)
    assert again.crm
    assert again.crm.url == url
    full = {t: rows(url, t) for t in ("account", "contact", "opportunity")}
    assert full["opportunity"] != lagging
    with psycopg.connect(settings().need("postgres_url"), autocommit=True) as db:
        db.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
    again.crm.prepare()
    assert {t: rows(url, t) for t in full} == full


def test_the_crms_faults_come_and_go(tmp_path: Path, name: str) -> None:
    sandbox = start(tmp_path, name)
    assert sandbox.crm
    url = sandbox.crm.url
    before = rows(url, "opportunity")
    sandbox.add_fault(Fault(target="crm", kind="unauthorized"))
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url)
    sandbox.remove_faults()
    with psycopg.connect(url) as reader:
        sandbox.add_fault(Fault(target="crm", kind="drop_connection"))
        with pytest.raises(psycopg.OperationalError):
            reader.execute("select 1")
    sandbox.add_fault(Fault(target="crm", kind="unavailable"))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    sandbox.add_fault(Fault(target="crm", kind="changed_type", entity="opportunity"))
    sandbox.remove_faults(sandbox.faults.listing()[0].id)
    assert all(isinstance(row[4], str) for row in rows(url, "opportunity").values()), "the other fault is still on"
    sandbox.remove_faults()
    assert rows(url, "opportunity") == before
