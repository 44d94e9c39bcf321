"""Builds of gold and serve on the command line: what each let people read, what it held back, and the tables of any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datong_platform.errors import ConfigurationError
from datong_platform.names import CANDIDATES, TableName

from datong_infra.cli.output import Format, print_json, print_line, print_rows

if TYPE_CHECKING:
    from datong_platform.lake.builds import Build, BuiltTable

_COLUMNS = ("number", "build", "finished_at", "ok", "scope", "published", "unchanged", "held", "failed", "first_reason")


def listing(limit: int, format_: Format) -> None:
    """The newest builds, one a line."""
    from datong_platform.lake import builds

    print_rows([_build(one) for one in builds.builds(limit)], format_, _COLUMNS)


def show(build_id: str, format_: Format) -> None:
    """One build: what it came to for each table, and what people read after it."""
    from datong_platform.lake import builds

    one = builds.build(build_id)
    rows = [_table(table) for table in one.tables]
    if format_ is Format.json:
        print_json({**_build(one), "tables": rows})
        return
    told = _build(one)
    print_line(
        f"Build {one.number}, run {one.build_id}, {told['finished_at']} UTC, {one.scope}, on {one.engine}: "
        f"{'ok' if one.is_ok else 'not ok'}."
    )
    print_rows(rows, format_, ("table", "outcome", "rows", "version", "people_read", "reason"))
    if one.count("held"):
        print_line(f'Look at what was held back: datong sql --build {one.build_id[:8]} "select …"')


def _build(one: Build) -> dict[str, Any]:
    reasons = [f"{table.table}: {table.reason}" for table in one.tables if table.reason]
    return {
        "number": one.number,
        "build": one.build_id,
        "started_at": f"{one.started_at:%Y-%m-%d %H:%M:%S}",
        "finished_at": f"{one.finished_at:%Y-%m-%d %H:%M:%S}",
        "ok": one.is_ok,
        "scope": one.scope,
        "published": one.count("published"),
        "unchanged": one.count("unchanged"),
        "held": one.count("held"),
        "failed": one.count("failed", "skipped"),
        "first_reason": reasons[0] if reasons else "",
    }


def _table(table: BuiltTable) -> dict[str, Any]:
    shown = table.published
    return {
        "table": str(table.table),
        "outcome": table.outcome,
        "rows": table.rows,
        "version": table.built.number if table.built else None,
        "people_read": f"version {shown.version.number}, of build {shown.build_id[:8]}" if shown else "nothing yet",
        "published_version": shown.version.number if shown else None,
        "published_by": shown.build_id if shown else None,
        "reason": table.reason,
    }


@dataclass(frozen=True)
class _Place:
    start: int
    end: int
    table: TableName


def as_of(statement: str, build_id: str) -> str:
    """The statement with each table of gold and serve replaced by its version in a build.

    What the build made is taken, checked or not; for tables that it did not make, what people read then.
    ConfigurationError for a build that is not known, a table it does not know, or a version that is kept no more.
    """
    from datong_platform.errors import TerminalError
    from datong_platform.lake import builds

    one = builds.build(build_id)
    made, text = one.built, statement
    for place in reversed(_places(statement)):
        version = made.get(place.table)
        if version is None:
            raise ConfigurationError(
                f"table {place.table}",
                f"is not in build {one.number}.",
                f"see what is: `datong builds show {one.build_id[:8]}`.",
            )
        try:
            builds.open_version(place.table, version)
        except TerminalError as error:
            raise ConfigurationError(
                f"{place.table} of build {one.number}", error.reason, "choose a newer build: `datong builds list`."
            ) from error
        past = f"{place.table.history} version as of {version.number}"
        text = text[: place.start] + past + (_alias(text[place.end :], place.table.name)) + text[place.end :]
    return text


def register(build_id: str) -> None:
    """Let the engine know the history of every table of a build, also of those that nobody was let read yet."""
    from datong_platform.lake import builds, catalog

    catalog.register_history(list(builds.build(build_id).built))


_KEYWORDS = {
    *("where", "group", "order", "having", "limit", "join", "inner", "left", "right", "full", "cross", "natural", "on"),
    *("union", "except", "intersect", "lateral", "semi", "anti", "using", "window", "tablesample", "pivot", "unpivot"),
}


def _alias(rest: str, name: str) -> str:
    """The table's own name as alias, where the statement gives it none: columns named after it are found then."""
    from sqlglot.dialects import Spark

    for token in Spark().tokenize(rest)[:1]:
        word = token.text.lower()
        if word == "as" or (word not in _KEYWORDS and (token.text[:1].isalpha() or token.text[:1] == "_")):
            return ""
    return f" as {name}"


def _places(statement: str) -> list[_Place]:
    """Where the statement names a table of gold or serve; texts and comments are none."""
    from sqlglot.dialects import Spark

    tokens, found = Spark().tokenize(statement), list[_Place]()
    for at in range(1, len(tokens) - 2):
        schema, dot, name = tokens[at : at + 3]
        before = tokens[at - 1].text.lower()
        if schema.text.lower() in CANDIDATES and dot.text == "." and before in {"from", "join", ","}:
            table = TableName(schema.text.lower(), name.text.lower())  # pyright: ignore[reportArgumentType]
            # a column written in full, gold.x.y, is no table
            if at + 3 >= len(tokens) or tokens[at + 3].text != ".":
                found.append(_Place(schema.start, name.end + 1, table))
    return found
