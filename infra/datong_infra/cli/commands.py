"""Services, doctor, SQL and logs on the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import typer
from datong_platform.errors import ConfigurationError, ServiceError
from datong_platform.settings import settings

from datong_infra.cli.output import Format, console, print_line, print_rows

STATUS_COLUMNS = ("service", "state", "detail", "pid", "port", "memory_mb")


def teller() -> Callable[[str, str], None]:
    """Progress of services on standard error, each line with the seconds since the start."""
    from rich.text import Text

    began = time.monotonic()
    out = console(error=True)

    def tell(name: str, text: str) -> None:
        out.print(Text.assemble((f"{time.monotonic() - began:6.1f} s  ", "dim"), (f"{name:18}", "cyan"), text))

    return tell


def status_row(status: Any) -> dict[str, Any]:
    """A service's status as a row."""
    row = asdict(status)
    return {
        "service": row.pop("name"),
        **row,
        "memory_mb": round(row["memory"] / 1e6) or None,
        "seconds": None if row["seconds"] is None else round(row["seconds"], 1),
    }


def up(engine: str | None, format_: Format) -> None:
    """Start what is not running."""
    from datong_infra.services import stack

    began = time.monotonic()
    done = stack.up(engine=engine, progress=teller())
    print_rows([status_row(status) for status in done], format_, STATUS_COLUMNS)
    if format_ is Format.table:
        started = sum(status.changed for status in done)
        print_line(f"{len(done)} services healthy, {started} of them started, in {time.monotonic() - began:.1f} s.")
        print_line(f"Dagster UI: {settings().dagster_url}")
        print_line(f"Desk: {settings().desk_url}")


def down(services: list[str] | None) -> None:
    """Stop services."""
    from datong_infra.services import stack

    stopped = stack.down(services, progress=teller())
    print_line(f"{len(stopped)} services stopped." if stopped else "Nothing was running.")


def status(format_: Format) -> None:
    """Show every service."""
    from datong_infra.services import stack

    print_rows([status_row(one) for one in stack.status()], format_, STATUS_COLUMNS)


def doctor(format_: Format) -> None:
    """Print findings; exit status 1 when one of them is not ok."""
    from datong_infra.services.doctor import examine

    findings = examine()
    print_rows([asdict(finding) for finding in findings], format_, ("thing", "state", "detail", "next_step"))
    bad = [finding for finding in findings if finding.state == "failed"]
    if format_ is Format.table:
        print_line(f"{len(bad)} of {len(findings)} need attention." if bad else "All is well.")
    if bad:
        raise typer.Exit(1)


def sql(statement: str, door: str, limit: int, format_: Format) -> None:
    """Run one statement at a door and print at most `limit` rows."""
    if door not in {"engine", "postgres"}:
        raise typer.BadParameter(f"{door!r} is neither engine nor postgres", param_hint="--door")
    names, rows = (_ask_engine if door == "engine" else _ask_postgres)(statement.strip().rstrip(";"), limit + 1)
    columns = _distinct(names)
    more = len(rows) > limit
    listed = [dict(zip(columns, row, strict=True)) for row in rows[:limit]]
    print_rows(listed, format_, columns, names_as_they_are=True, may_lie=True)
    if more:
        console(error=True).print(f"Only the first {limit} rows are shown; --limit shows more.")


def _distinct(names: list[str]) -> list[str]:
    """Column names of a result, a repeated one numbered: a join can give two of a name."""
    return [name if (n := names[:at].count(name)) == 0 else f"{name}_{n + 1}" for at, name in enumerate(names)]


def _ask_engine(statement: str, limit: int) -> tuple[list[str], list[tuple[Any, ...]]]:
    from datong_platform import engine
    from datong_platform.lake import catalog

    session = engine.session()

    def ask() -> Any:
        frame = session.sql(statement)
        return (frame.limit(limit) if frame.columns else frame).toArrow()

    try:
        try:
            table = ask()
        except Exception as error:
            if "not found" not in str(error).lower() and "TABLE_OR_VIEW_NOT_FOUND" not in str(error):
                raise
            # a table that was loaded since the engine last looked
            catalog.register()
            table = ask()
    except Exception as error:
        raise ConfigurationError(
            "the statement",
            f"is refused by the engine: {_first_lines(error)}",
            'mend it; `datong sql "show tables in gold"` lists the tables of a layer.',
        ) from error
    columns = [table.column(name).to_pylist() for name in range(table.num_columns)]
    return list(table.column_names), list(zip(*columns, strict=True))


def _first_lines(error: Exception, lines: int = 6) -> str:
    """The words of an engine's error, without the plan or the JVM's stack that can follow."""
    text = [line for line in str(error).splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    return "\n".join(text[:lines]).split("JVM stacktrace")[0].strip()


def _ask_postgres(statement: str, limit: int) -> tuple[list[str], list[tuple[Any, ...]]]:
    import psycopg
    from datong_platform.silence import patient

    target = settings().need("postgres_reader_url")
    try:
        with patient(target, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            if cursor.description is None:
                return [], []
            return [column.name for column in cursor.description], cursor.fetchmany(limit)
    except psycopg.OperationalError as error:
        raise ServiceError("postgres", f"does not answer: {error}", "run `datong doctor`.") from error
    except psycopg.Error as error:
        raise ConfigurationError(
            "the statement",
            f"is refused by PostgreSQL: {str(error).strip()}",
            "mend it; this door reads the schema serve only, and `--door engine` every layer.",
        ) from error


def logs(service: str, lines: int, *, follow: bool) -> None:
    """Print the end of a service's log, and go on with what is added."""
    from datong_infra.services import processes, stack

    if service not in stack.services():
        raise ConfigurationError(
            f"service {service!r}", "is not one that Datong has.", f"use one of {', '.join(stack.services())}."
        )
    path = processes.log_path(service)
    if not path.exists():
        raise ServiceError(service, f"has no log yet: there is no {path}.", "run `datong up`.")
    typer.echo(processes.log_tail(service, lines))
    if not follow:
        return
    with path.open("r", encoding="utf-8", errors="replace") as file:
        file.seek(0, 2)
        while True:
            line = file.readline()
            if line:
                typer.echo(line, nl=False)
            else:
                time.sleep(0.2)
