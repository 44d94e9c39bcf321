"""Oracle without a server: the statements are checked by a grammar of Oracle's SQL, the answers are those that Oracle
documents, handed out as python-oracledb does (descriptions with its own types, frames of Arrow)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import oracledb
import pyarrow as pa
import pytest
import sqlfluff
from datong_ingestion.run import IngestResult, ingest_entity
from datong_ingestion.source import connect
from datong_ingestion.systems_config import SystemConfig
from datong_platform.errors import AuthenticationError, ConfigurationError, TerminalError, TransientError
from datong_platform.lake import history
from datong_platform.lake.columns import type_name
from datong_platform.names import bronze

SECRET = "tiger-5f0c"


def item(name: str, kind: Any, precision: int | None = None, scale: int | None = None) -> Any:
    """An entry of a cursor's description."""
    return SimpleNamespace(name=name, type_code=kind, precision=precision, scale=scale)


DESCRIBED = [
    item("ID", oracledb.DB_TYPE_NUMBER, 18, 0),
    item("SMALL", oracledb.DB_TYPE_NUMBER, 4, 0),
    item("WHOLE", oracledb.DB_TYPE_NUMBER, 38, 0),
    item("PRICE", oracledb.DB_TYPE_NUMBER, 15, 2),
    item("ROUND_TO_HUNDRED", oracledb.DB_TYPE_NUMBER, 5, -2),
    item("FRACTION", oracledb.DB_TYPE_NUMBER, 2, 5),
    item("FREE", oracledb.DB_TYPE_NUMBER, 0, -127),
    item("MEASURE", oracledb.DB_TYPE_NUMBER, 126, -127),
    item("RATIO", oracledb.DB_TYPE_BINARY_DOUBLE),
    item("BORN", oracledb.DB_TYPE_DATE),
    item("MADE", oracledb.DB_TYPE_TIMESTAMP, 0, 6),
    item("CHANGED_AT", oracledb.DB_TYPE_TIMESTAMP_TZ, 0, 6),
    item("SPAN", oracledb.DB_TYPE_INTERVAL_DS),
    item("NAME", oracledb.DB_TYPE_NVARCHAR),
    item("LONG_TEXT", oracledb.DB_TYPE_CLOB),
    item("DATA", oracledb.DB_TYPE_BLOB),
    item("ADDRESS", oracledb.DB_TYPE_ROWID),
]
ROWS = {
    "ID": ["1", "2"],
    "SMALL": ["-9999", None],
    "WHOLE": ["-99999999999999999999999999999999999999", None],
    "PRICE": ["-.05", None],
    "ROUND_TO_HUNDRED": ["1234500", None],
    "FRACTION": [".00012", None],
    "FREE": ["1E+70", ".5"],
    "MEASURE": ["3.14159265358979", None],
    "RATIO": pa.array([float("nan"), None], pa.float64()),
    "BORN": ["2026-02-28T23:59:59", None],
    "_datong_raw_9": [None, "-4712-01-01T00:00:00"],
    "MADE": ["2026-03-29T02:30:00.123456", None],
    "_datong_raw_10": pa.array([None, None], pa.string()),
    "CHANGED_AT": ["2026-03-01T08:00:00.500000", None],
    "_datong_raw_11": pa.array([None, None], pa.string()),
    "SPAN": ["+000000001 02:00:00.000000", None],
    "NAME": ["部件", None],
    "LONG_TEXT": pa.array(["长" * 40000, None], pa.large_string()),
    "DATA": pa.array([b"\0\xff", None], pa.large_binary()),
    "ADDRESS": ["AAAR3sAAEAAAACXAAA", None],
}


def failure(code: str, said: str) -> oracledb.DatabaseError:
    """An error as the driver raises it."""
    return oracledb.DatabaseError(SimpleNamespace(full_code=code, message=f"{code}: {said}", __str__=None))


class Server:
    """What the driver's `connect` gives; every statement is kept."""

    def __init__(self) -> None:
        self.rows = pa.table(ROWS)
        self.statements: list[str] = []
        self.ways: dict[str, Any] = {}
        self.failure: Exception | None = None
        self.fails_after: Exception | None = None
        self.description: list[Any] = []
        self.call_timeout = 0

    def connect(self, **ways: Any) -> Server:
        self.ways = ways
        if self.failure:
            raise self.failure
        return self

    def cursor(self) -> Server:
        return self

    def close(self) -> None:
        pass

    def execute(self, statement: str, values: list[Any] | None = None) -> None:
        self.statements.append(statement)
        if "where 1 = 0" in statement:
            extra = [item("_datong_cursor", oracledb.DB_TYPE_DATE)] if "_datong_cursor" in statement else []
            self.description = [*DESCRIBED, *extra]
        if "all_cons_columns" in statement:
            assert values == ["ERP", "ORDERS"]

    def fetchall(self) -> list[Any]:
        return [("ID",)] if "all_cons_columns" in self.statements[-1] else [("ERP.ORDERS",)]

    def fetch_df_batches(self, statement: str, size: int) -> Iterator[pa.Table]:
        self.statements.append(statement)
        yield self.rows
        if self.fails_after:
            raise self.fails_after
        yield self.rows.slice(0, 0)


@pytest.fixture
def server(services: Any, monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(oracledb, "connect", found.connect)
    return found


def system(name: str, **entity: Any) -> SystemConfig:
    return SystemConfig.model_validate(
        {
            "system": name,
            "protocol": "sql",
            "connection": {
                "url": f"oracle://erp:{SECRET}@db.example:1521/ERPPDB",
                "attempts": 2,
                "max_wait_seconds": 0.1,
            },
            "entities": [{"name": "orders", "source": "ORDERS", **entity}],
        }
    )


def read(name: str, **entity: Any) -> tuple[IngestResult, list[dict[str, Any]]]:
    result = ingest_entity(system(name, **entity), "orders")
    delta = history.open_table(bronze(name, "orders"))
    assert delta
    return result, sorted(delta.to_pyarrow_table().to_pylist(), key=lambda row: row["ID"])


def test_every_type_of_the_catalog_arrives_exactly(server: Server) -> None:
    result, (first, second) = read("oracletypes")
    types = {field.name: type_name(field.type) for field in result.schema}
    assert (types["ID"], types["SMALL"], types["WHOLE"]) == ("long", "short", "decimal(38,0)")
    assert (types["PRICE"], types["ROUND_TO_HUNDRED"], types["FRACTION"]) == (
        "decimal(15,2)",
        "decimal(7,0)",
        "decimal(5,5)",
    )
    assert (types["BORN"], types["CHANGED_AT"], types["FREE"]) == ("timestamp_ntz", "timestamp", "decimal(38,18)")
    expected = {
        "ID": 1,
        "SMALL": -9999,
        "WHOLE": Decimal("-99999999999999999999999999999999999999"),
        "PRICE": Decimal("-0.05"),
        "ROUND_TO_HUNDRED": Decimal(1234500),
        "FRACTION": Decimal("0.00012"),
        "FREE": None,
        "MEASURE": Decimal("3.14159265358979"),
        "BORN": datetime(2026, 2, 28, 23, 59, 59),
        "MADE": datetime(2026, 3, 29, 2, 30, 0, 123456),
        "CHANGED_AT": datetime(2026, 3, 1, 8, 0, 0, 500000, UTC),
        "SPAN": "+000000001 02:00:00.000000",
        "NAME": "部件",
        "LONG_TEXT": "长" * 40000,
        "DATA": b"\0\xff",
        "ADDRESS": "AAAR3sAAEAAAACXAAA",
    }
    assert {name: first[name] for name in expected} == expected
    assert json.loads(first["_datong_rescued"]) == {"FREE": "1E+70"}
    assert json.loads(second["_datong_rescued"]) == {"BORN": "-4712-01-01T00:00:00"}
    assert second["FREE"] == Decimal("0.5")
    assert result.rescued == 2


def test_every_statement_is_oracles_sql(server: Server) -> None:
    ways = {"mode": "cursor", "cursor": "CHANGED_AT", "filter": "PRICE > 0"}
    read("oraclesyntax", **ways)
    read("oraclesyntax", **ways)
    source: Any = connect(system("oraclesyntax"))
    assert source.entities() == ["ERP.ORDERS"]
    for statement in dict.fromkeys(server.statements):
        if not statement.startswith(("alter session", "set transaction")):  # which the grammar lacks
            sqlfluff.parse(re.sub(r"= :\d", "= 'x'", statement), dialect="oracle")
    assert "set transaction read only" in server.statements
    last = next(text for text in reversed(server.statements) if '"PRICE"' in text)
    assert """to_char("PRICE", 'TM9') as "PRICE\"""" in last
    assert 'from "ERP"."ORDERS" where (PRICE > 0) and ' in last
    assert """("CHANGED_AT") >= timestamp '2026-03-01 07:55:00.500000 +00:00'""" in last


def test_a_cursor_expression_is_read_as_text_and_bound_as_a_date(server: Server) -> None:
    server.rows = pa.table(ROWS | {"_datong_cursor": ["2026-03-01T08:00:00", None]})
    ways = {
        "mode": "cursor",
        "cursor_expression": "coalesce(UPDATED, CREATED)",
        "source": "",
        "query": "select * from ORDERS;",
        "keys": ["ID"],
    }
    result, _ = read("oracleexpression", **ways)
    assert result.position == "2026-03-01T08:00:00"
    read("oracleexpression", **ways)
    last = server.statements[-1]
    assert "from (select * from ORDERS) source where" in last
    assert "(coalesce(UPDATED, CREATED)) >= to_date('2026-03-01T07:55:00', 'YYYY-MM-DD\"T\"HH24:MI:SS')" in last
    sqlfluff.parse(last, dialect="oracle")


def test_partitions_ask_for_the_least_and_greatest_number_not_text(server: Server) -> None:
    configured = system("oracleparts")
    source: Any = connect(configured)
    server.rows = pa.table({"LOW": ["1"], "HIGH": ["9"]})
    conditions = source.partitions(configured.entity("orders"), "ID", 2)
    assert """select to_char(min("ID"), 'TM9') as low, to_char(max("ID"), 'TM9') as high""" in server.statements[-1]
    assert conditions == ['"ID" < 5 or "ID" is null', '"ID" >= 5']


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        ("ORA-01017", "invalid username/password; logon denied", AuthenticationError),
        ("ORA-12541", "no listener", TransientError),
        ("DPY-6005", f"cannot connect to database {SECRET}", TransientError),
        ("ORA-12514", "listener does not know of service", ConfigurationError),
        ("ORA-00942", "table or view does not exist", ConfigurationError),
        ("ORA-00600", "internal error code", TerminalError),
    ],
)
def test_oracles_codes_become_what_to_do_next(
    server: Server, no_waiting: list[float], code: str, said: str, kind: type[Exception]
) -> None:
    server.failure = failure(code, said)
    with pytest.raises(kind) as caught:
        read("oracleerrors")
    assert code in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_snapshot_too_old_begins_anew(server: Server, no_waiting: list[float]) -> None:
    server.fails_after = failure("ORA-01555", "snapshot too old: rollback segment number 3 too small")
    with pytest.raises(TransientError):
        read("oracleold")
    assert sum('"PRICE"' in text for text in server.statements) == 2
    server.fails_after = None
    assert read("oracleold")[0].rows == 2


def test_the_driver_is_told_where_and_how_long(server: Server) -> None:
    read("oracleways")
    wanted = {"user": "erp", "host": "db.example", "port": 1521, "service_name": "ERPPDB", "retry_count": 0}
    assert {name: server.ways[name] for name in wanted} == wanted
    assert server.call_timeout == 30_000
