"""What is missing or unhealthy, and the next step: the machine, the services in depth, the source systems.

Everything is looked at, nothing is changed; one finding for each thing, also for those that are well.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import psutil
from datong_platform.errors import DatongError, ServiceError
from datong_platform.settings import home, settings

from datong_infra.services import postgres, stack

_DISK = 2 * 1024**3
_MEMORY = 1024**3
_SYSTEM_TIMEOUT = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `next_step` is empty when it is well."""

    thing: str
    state: Literal["ok", "warning", "failed"]
    detail: str
    next_step: str = ""


def examine() -> list[Finding]:
    """Look at everything: machine, settings, services, and what only running services can show."""
    findings = list(_machine())
    configured = _attempt("settings", lambda: f"engine {settings().engine_kind}, home {home()}")
    findings.append(configured)
    if configured.state == "failed":
        return findings
    findings += _engine_parts()
    statuses = {status.name: status for status in stack.status()}
    for status in statuses.values():
        if status.state in {"healthy", "external"}:
            findings.append(Finding(status.name, "ok", status.detail))
        elif status.name in stack.DEFAULT:
            findings.append(Finding(status.name, "failed", f"{status.state}: {status.detail}", "run `datong up`."))
        elif status.detail != "not started":
            findings.append(
                Finding(status.name, "failed", f"{status.state}: {status.detail}", "run `datong sandbox up`.")
            )
    well = {name for name, status in statuses.items() if status.state in {"healthy", "external"}}
    deeper: list[tuple[str, str, Callable[[], str | Finding]]] = [
        ("store", "safe commits", _commits),
        ("store", "lake", _lake),
        ("engine", "catalog", _catalog),
        ("postgres", "BI door", _reader),
        ("postgres", "database", _database),
    ]
    jobs = [(what, look) for service, what, look in deeper if service in well]
    with ThreadPoolExecutor(max_workers=8) as pool:
        findings += pool.map(lambda job: _attempt(*job), jobs)
        findings += _systems(pool)
    return findings


def _attempt(thing: str, look: Callable[[], str | Finding]) -> Finding:
    try:
        found = look()
        return found if isinstance(found, Finding) else Finding(thing, "ok", found)
    except DatongError as error:
        detail = error.reason if error.thing == thing else f"{error.thing}: {error.reason}"
        return Finding(thing, "failed", detail, error.next_step or "see its log: `datong logs SERVICE`.")
    except Exception as error:  # noqa: BLE001 - a doctor reports whatever it meets
        return Finding(thing, "failed", f"{type(error).__name__}: {error}", "see `datong status` and the logs.")


def _machine() -> Iterator[Finding]:
    yield Finding("Python", "ok", f"{sys.version.split()[0]} at {sys.executable}")
    place = home() if home().exists() else home().parent
    free = shutil.disk_usage(place).free if place.exists() else shutil.disk_usage("/").free
    if free < _DISK:
        yield Finding(
            "disk",
            "failed",
            f"{free / 1e9:.1f} GB free at {place}.",
            "free some, or move DATONG_HOME to another disk.",
        )
    else:
        yield Finding("disk", "ok", f"{free / 1e9:.0f} GB free")
    memory = psutil.virtual_memory().available
    if memory < _MEMORY:
        yield Finding("memory", "warning", f"{memory / 1e9:.1f} GB available.", "end other programs: 3 GB are used.")
    else:
        yield Finding("memory", "ok", f"{memory / 1e9:.1f} GB available")


def _engine_parts() -> list[Finding]:
    """What the Spark engine needs on this machine; nothing for the others."""
    if settings().engine_kind != "spark":
        return []
    from datong_infra.services.spark import jars, java

    def fetched() -> str:
        if not jars.ready():
            raise ServiceError(
                "Spark's jars",
                f"are not in {jars.folder()} yet.",
                "run `datong up` once with a connection to a Maven repository.",
            )
        return str(jars.folder())

    return [_attempt("Java", lambda: str(java.find())), _attempt("Spark's jars", fetched)]


def _commits() -> str:
    from datong_platform.lake import storage

    storage.probe(rounds=2)
    return "conditional writes hold"


def _lake() -> str | Finding:
    from datong_platform.lake import integrity

    found = integrity.examine()
    if not found:
        return "every table has its log and its files"
    worst = sorted(found, key=lambda damage: not damage.is_loss)
    words = "; ".join(f"{damage.thing}: {damage.reason}" for damage in worst[:3])
    more = f" And {len(found) - 3} more." if len(found) > 3 else ""
    return Finding(
        "lake",
        "failed" if worst[0].is_loss else "warning",
        f"{words}{more}",
        "`datong repair --dry-run` shows all, `datong repair --from PLACE` mends it with the backups of that place.",
    )


def _database() -> str | Finding:
    gone = postgres.lost()
    if not gone:
        return "the one that this home knows"
    held = {
        postgres.DATABASE: "decisions, users of the desk and published tables",
        postgres.DAGSTER_DATABASE: "Dagster's runs and their history",
    }
    return Finding(
        "database",
        "failed",
        f"{' and '.join(gone)} {'is another one' if len(gone) == 1 else 'are other ones'} than this home had: "
        f"{', '.join(held[name] for name in gone)} of before {'is' if len(gone) == 1 else 'are'} not in it.",
        "`datong repair --from PLACE` puts them back; without a backup, `datong repair` takes it as it is.",
    )


def _catalog() -> str | Finding:
    from datong_platform import engine
    from datong_platform.lake import catalog

    stored = {str(table) for table in catalog.stored_tables()}
    session = engine.session()
    known = {
        f"{schema}.{row['tableName']}"
        for schema in {name.split(".")[0] for name in stored}
        for row in session.sql(f"show tables in {schema}").collect()
    }
    missing = sorted(stored - known)
    if missing:
        return Finding(
            "catalog",
            "warning",
            f"{len(missing)} of {len(stored)} tables of the store are new to the engine, such as {missing[0]}.",
            "`datong sql` and `datong build` register them when they are asked for.",
        )
    return f"{len(stored)} tables registered"


def _reader() -> str:
    from datong_platform.silence import patient

    with patient(settings().need("postgres_reader_url"), 10, connect_timeout=3) as connection:
        row = connection.execute(
            "select count(*) from information_schema.tables where table_schema = 'serve'"
        ).fetchone()
    return f"{row[0] if row else 0} tables published in schema serve"


def _systems(pool: ThreadPoolExecutor) -> list[Finding]:
    """Each source system: is its definition right, are its secrets known, does it answer and let us in?"""
    from datong_ingestion.systems_config import load_systems

    try:
        systems = load_systems()
    except DatongError as error:
        return [Finding("system definitions", "failed", str(error), error.next_step)]

    def look(name: str) -> str:
        from datong_ingestion.source import connect

        system = systems[name]
        quick = system.connection.model_copy(update={"attempts": 1, "timeout_seconds": _SYSTEM_TIMEOUT})
        source = connect(system.model_copy(update={"connection": quick}))
        try:
            source.describe(system.entities[0])
        finally:
            source.close()
        return f"answers; {len(system.entities)} entities are defined"

    return list(pool.map(lambda name: _attempt(f"system {name}", lambda: look(name)), systems))
