"""DuckDB with the SQL that dbt sent to Sail: what P6 (`scale.py`) sets beside `datong build`.

`prepared` takes the statements that dbt compiled in the build, puts them into DuckDB's dialect, and copies what
they read to a folder: bronze, the code lists, and the matched records. As a program it reads that task as JSON from its
standard input and makes every table and view in a database of its own, one after the other. What
Spark's functions mean where DuckDB's of that name do something else is said here, so that the content is the same.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MACROS = """
create macro pmod(a, b) as ((a % b) + b) % b;
create macro spark_from_utc_timestamp(moment, zone) as cast(moment as timestamptz) at time zone zone;
create macro spark_to_utc_timestamp(moment, zone) as cast(moment as timestamp) at time zone zone;
"""
OURS = re.compile(r"\b(from_utc_timestamp|to_utc_timestamp)\(")
"""Functions of Spark that sqlglot knows as others; the macros are those."""
ESCAPED = re.compile(r"\\u([0-9a-f]{4})")
"""A character in a text, which sqlglot would leave as it is written."""

JSON_TEXTS = ("failures", "source_row", "checked_row")
"""Columns that hold a row as JSON: both engines say the same, in other words (Spark leaves nulls out). Not compared."""


def prepared(home: Path, folder: Path) -> dict[str, Any]:
    """The task for a lake that was just built anew in `home`: statements in order, and the files to read, copied."""
    import sqlglot
    from sqlglot import exp

    place = next((home / "dbt").iterdir())
    graph = json.loads((place / "graph.json").read_text("utf-8"))["nodes"]
    statements: list[dict[str, Any]] = []
    read: set[str] = set()
    for unique_id in in_order(graph):
        node = graph[unique_id]
        file = place / "target" / "compiled" / node["package_name"] / node["original_file_path"]
        kind = node["config"]["materialized"]
        if not file.is_file() or kind == "matched":
            continue
        tree = sqlglot.parse_one(readable(file.read_text("utf-8")), read="spark")
        inside = {cte.alias for cte in tree.find_all(exp.CTE)}
        read |= {f"{one.db}.{one.name}" for one in tree.find_all(exp.Table) if one.db or one.name not in inside}
        schema = f"{node['schema']}_candidate" if node["schema"] in {"gold", "serve"} else node["schema"]
        statements.append(
            {
                "name": f"{schema}.{node['alias']}",
                "is_view": kind == "view",
                # a part carries rows as they were sent; what is read of it is in the tables that are made of it
                "is_compared": kind != "view" and not node["original_file_path"].startswith("models/silver/parts/"),
                "sql": as_duckdb(tree),
            }
        )
    made = {one["name"] for one in statements}
    inputs = {name: copied(name, folder / "inputs" / name) for name in sorted(read - made)}
    return {"database": str(folder / "plant.duckdb"), "macros": MACROS, "inputs": inputs, "statements": statements}


def readable(sql: str) -> str:
    """A statement as sqlglot reads it rightly."""
    return ESCAPED.sub(lambda found: chr(int(found[1], 16)), OURS.sub(r"spark_\1(", sql))


def in_order(graph: dict[str, Any]) -> list[str]:
    """The models, each after those that it reads."""
    from graphlib import TopologicalSorter

    models = {id_: node for id_, node in graph.items() if node["resource_type"] == "model"}
    above = {id_: [one for one in node["depends_on"]["nodes"] if one in models] for id_, node in models.items()}
    return list(TopologicalSorter(above).static_order())


def as_duckdb(tree: Any) -> str:
    """A statement of Spark's in DuckDB's words."""
    from sqlglot import exp

    def days(of: Any, kind: str) -> Any:
        return exp.Cast(this=of.copy(), to=exp.DataType.build(kind, dialect="duckdb"))

    def one(node: Any) -> Any:
        if isinstance(node, exp.Struct) and isinstance(only := node.expressions[0], exp.Column) and only.is_star:
            # struct(t.*) is the row itself
            return exp.column(only.table)
        if isinstance(node, exp.DayOfWeek):
            # Sunday is 1 there, 0 here
            return exp.Paren(this=exp.Add(this=exp.DayOfWeek(this=node.this.copy()), expression=exp.Literal.number(1)))
        if isinstance(node, exp.DateTrunc) and node.text("unit") == "MM":
            return days(exp.DateTrunc(unit=exp.Literal.string("month"), this=node.this.copy()), "date")
        if isinstance(node, exp.Trim) and not node.expression:
            # only the blank goes there, every Unicode space here
            node.set("expression", exp.Literal.string(" "))
        if isinstance(node, exp.RegexpReplace):
            # groups are $1 there, \1 here
            put = node.args["replacement"]
            put.set("this", re.sub(r"\$([0-9])", r"\\\1", put.this))
        if isinstance(node, exp.Exists) and node.expression:
            those = exp.ArrayFilter(this=node.this.copy(), expression=node.expression.copy())
            return exp.Paren(this=exp.GT(this=exp.ArraySize(this=those), expression=exp.Literal.number(0)))
        return node

    def series(node: Any) -> Any:
        if isinstance(node, exp.Div):
            # a double here, whose half is not always rounded up
            return days(node, "decimal(38, 12)")
        # of days, which come as times here
        return days(node, "date[]") if isinstance(node, exp.GenerateSeries) else node

    # what replaces a node is not looked into again: the ends of a series go first
    return tree.transform(one).transform(series).sql(dialect="duckdb")


def copied(name: str, place: Path) -> list[str]:
    """The files of a Delta table, copied to a folder."""
    from datong_platform.lake import history, storage
    from datong_platform.names import parse

    table = parse(name)
    delta = history.open_table(table)
    if delta is None:
        raise SystemExit(f"{name} is read by the build and is not in the lake")
    place.mkdir(parents=True)
    files: list[str] = []
    for number, uri in enumerate(delta.file_uris()):
        body = storage.get(f"{table.path}/{uri.partition(f'/{table.path}/')[2]}")
        file = place / f"{number:05d}.parquet"
        file.write_bytes(body or b"")
        files.append(str(file))
    if not files:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.schema(delta.schema()).empty_table(), place / "empty.parquet")
        files.append(str(place / "empty.parquet"))
    return files


def lake_tables(task: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is compared of the tables that Datong made of these statements, but JSON texts."""
    from datong_platform.lake import history
    from datong_platform.names import parse

    for one in task["statements"]:
        if one["is_compared"]:
            name = one["name"].replace("_candidate.", ".")
            delta = history.open_table(parse(name))
            assert delta is not None, name
            rows = delta.to_pyarrow_dataset()
            yield name, rows.scanner(columns=[each for each in rows.schema.names if each not in JSON_TEXTS]).to_reader()


def made_tables(task: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The same of those that DuckDB made."""
    import duckdb

    connection = duckdb.connect(task["database"], read_only=True)
    connection.execute("set TimeZone = 'UTC'")
    for one in task["statements"]:
        if one["is_compared"]:
            rows = connection.table(one["name"])
            names = ", ".join(f'"{each}"' for each in rows.columns if each not in JSON_TEXTS)
            yield one["name"].replace("_candidate.", "."), rows.project(names)


def make(task: dict[str, Any]) -> dict[str, float]:
    """Make every table; seconds by table."""
    import duckdb

    connection = duckdb.connect(task["database"])
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(task["macros"])
    for name, files in task["inputs"].items():
        connection.execute(f"create schema if not exists {name.partition('.')[0]}")
        connection.execute(f"create view {name} as select * from read_parquet({files!r}, union_by_name = true)")
    took: dict[str, float] = {}
    for one in task["statements"]:
        connection.execute(f"create schema if not exists {one['name'].partition('.')[0]}")
        began = time.perf_counter()
        try:
            connection.execute(f"create {'view' if one['is_view'] else 'table'} {one['name']} as {one['sql']}")
        except duckdb.Error as error:
            raise SystemExit(f"{one['name']}: {error}") from error
        took[one["name"]] = round(time.perf_counter() - began, 3)
    return took


if __name__ == "__main__":
    print(json.dumps(make(json.load(sys.stdin))))
