"""SQL Server without a server: the statements are checked by a grammar of T-SQL, the answers are those that SQL Server
documents, handed out as Microsoft's driver does (DB-API for the catalog, Arrow for rows)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import mssql_python
import pyarrow as pa
import pytest
import sqlfluff
from datong_ingestion.run import IngestResult, ingest_entity
from datong_ingestion.source import connect
from datong_ingestion.systems_config import SystemConfig
from datong_platform.errors import AuthenticationError, ConfigurationError, TransientError
from datong_platform.lake import history
from datong_platform.names import bronze

SECRET = "p}w;{1"
DESCRIBED = [
    # name, system_type_name, precision, scale, user_type_name, error_message: as sys.dm_exec_describe_first_result_set
    ("Id", "bigint", 19, 0, None, None),
    ("Tiny", "tinyint", 3, 0, None, None),
    ("Flag", "bit", 1, 0, None, None),
    ("Price", "decimal(19,6)", 19, 6, None, None),
    ("Cost", "money", 19, 4, None, None),
    ("Ratio", "float", 53, 0, None, None),
    ("Day", "date", 10, 0, None, None),
    ("Made", "datetime2(7)", 27, 7, None, None),
    ("Old", "datetime", 23, 3, None, None),
    ("ChangedAt", "datetimeoffset(7)", 34, 7, None, None),
    ("Clock", "time(3)", 12, 3, None, None),
    ("Guid", "uniqueidentifier", 0, 0, None, None),
    ("Name", "nvarchar(80)", 0, 0, None, None),
    ("Note", "xml", 0, 0, None, None),
    ("Version", "timestamp", 0, 0, None, None),
    ("Place", None, 0, 0, "geography", None),
]
ROWS = {
    "Id": pa.array([1, 2], pa.int64()),
    "Tiny": pa.array([255, None], pa.uint8()),
    "Flag": pa.array([True, None]),
    "Price": pa.array(["-1234567890123.654321", None]),
    "Cost": pa.array(["922337203685477.5807", None]),
    "Ratio": pa.array([0.1, None]),
    "Day": pa.array(["0001-01-01", None]),
    "Made": pa.array(["9999-12-31T23:59:59.999999", None]),
    "Old": pa.array(["2026-03-29T02:30:00.997", None]),
    "ChangedAt": pa.array(["2026-03-01T08:00:00.123456", None]),
    "Clock": pa.array(["13:05:07.250", None]),
    "Guid": pa.array(["9b55c9a8-6fb8-4b07-bc52-424c115bcf29", None]),
    "Name": pa.array(["部件", None], pa.large_string()),
    "Note": pa.array(["<a/>", None]),
    "Version": pa.array([b"\0\0\0\0\0\0\x07\xd1", None]),
    "Place": pa.array(["POINT (1 2)", None]),
}


class Server:
    """What the driver's `connect` gives; every statement is kept."""

    def __init__(self) -> None:
        self.rows, self.described, self.snapshots = pa.table(ROWS), DESCRIBED, 1
        self.statements: list[str] = []
        self.strings: list[str] = []
        self.failure: Exception | None = None
        self.fails_after: Exception | None = None
        self.autocommit = True

    def connect(self, connection_str: str, **_: Any) -> Server:
        self.strings.append(connection_str)
        if self.failure:
            raise self.failure
        return self

    def cursor(self) -> Server:
        return self

    def close(self) -> None:
        pass

    def execute(self, statement: str, values: list[Any] | None = None) -> None:
        self.statements.append(statement)
        self.values = values or []

    def fetchall(self) -> list[Any]:
        last = self.statements[-1]
        if "dm_exec_describe_first_result_set" in last:
            self.statements.append(self.values[0])
            return self.described
        if "is_primary_key" in last:
            assert self.values == ["[dbo].[Orders]"]
            return [("Id",)]
        return [(self.snapshots,)] if "snapshot_isolation_state" in last else [("dbo.Orders",)]

    def arrow_reader(self, batch_size: int) -> Any:
        server = self

        class Reader:
            def __iter__(self) -> Iterator[pa.RecordBatch]:
                yield from server.rows.to_batches()
                if server.fails_after:
                    raise server.fails_after

            def close(self) -> None:
                pass

        return Reader()


@pytest.fixture
def server(services: Any, monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(mssql_python, "connect", found.connect)
    return found


def system(name: str, **entity: Any) -> SystemConfig:
    return SystemConfig.model_validate(
        {
            "system": name,
            "protocol": "sql",
            "connection": {
                "url": "mssql://reader:p%7Dw%3B%7B1@db.example:1433/ERP?trust_server_certificate=yes",
                "attempts": 2,
                "max_wait_seconds": 0.1,
            },
            "entities": [{"name": "orders", "source": "Orders", **entity}],
        }
    )


def read(name: str, **entity: Any) -> tuple[IngestResult, list[dict[str, Any]]]:
    result = ingest_entity(system(name, **entity), "orders")
    delta = history.open_table(bronze(name, "orders"))
    assert delta
    return result, delta.to_pyarrow_table().to_pylist()


def test_every_type_of_the_catalog_arrives_exactly(server: Server) -> None:
    result, rows = read("mssqltypes")
    first, second = sorted(rows, key=lambda row: row["Id"])
    expected = {
        "Id": 1,
        "Tiny": 255,
        "Flag": True,
        "Price": Decimal("-1234567890123.654321"),
        "Cost": Decimal("922337203685477.5807"),
        "Ratio": 0.1,
        "Day": date(1, 1, 1),
        "Made": datetime(9999, 12, 31, 23, 59, 59, 999999),
        "Old": datetime(2026, 3, 29, 2, 30, 0, 997000),
        "ChangedAt": datetime(2026, 3, 1, 8, 0, 0, 123456, UTC),
        "Clock": "13:05:07.250",
        "Guid": "9b55c9a8-6fb8-4b07-bc52-424c115bcf29",
        "Name": "部件",
        "Note": "<a/>",
        "Version": b"\0\0\0\0\0\0\x07\xd1",
        "Place": "POINT (1 2)",
    }
    assert {name: first[name] for name in expected} == expected
    assert all(second[name] is None for name in expected if name != "Id")
    assert result.schema.field("Price").type == pa.decimal128(19, 6)
    assert result.schema.field("Tiny").type == pa.int16()
    assert result.rescued == 0
    assert result.notes == []


def test_every_statement_is_t_sql(server: Server) -> None:
    read("mssqlsyntax", mode="cursor", cursor="ChangedAt", filter="Price > 0")
    read("mssqlsyntax", mode="cursor", cursor="ChangedAt", filter="Price > 0")
    source: Any = connect(system("mssqlsyntax"))
    assert source.entities() == ["dbo.Orders"]
    for statement in dict.fromkeys(server.statements):
        sqlfluff.parse(statement.replace("?", "N'x'"), dialect="tsql")
    last = next(text for text in reversed(server.statements) if "[Price]" in text)
    assert "convert(varchar(41), [Price]) as [Price]" in last
    assert "from [dbo].[Orders] where (Price > 0) and " in last
    assert "([ChangedAt]) >= cast('2026-03-01T07:55:00.123456+00:00' as datetimeoffset(6))" in last
    assert "([ChangedAt]) is null" in last


def test_partitions_ask_for_the_least_and_greatest_number_not_text(server: Server) -> None:
    server.rows = pa.table({"low": ["0"], "high": ["100"]})
    configured = system("mssqlparts")
    source: Any = connect(configured)
    conditions = source.partitions(configured.entity("orders"), "Price", 2)
    wanted = "select convert(varchar(41), min([Price])) as low, convert(varchar(41), max([Price])) as high "
    assert server.statements[-1].startswith(f"{wanted}from [dbo].[Orders]")
    assert conditions == ["[Price] < 50.000000 or [Price] is null", "[Price] >= 50.000000"]
    for condition in conditions:
        sqlfluff.parse(f"select 1 from t where {condition}", dialect="tsql")


def test_reads_are_of_one_moment_where_the_database_allows_it(server: Server) -> None:
    read("mssqlsnapshot")
    assert "set transaction isolation level snapshot" in server.statements
    assert server.autocommit is False
    server.snapshots = 0
    result, _ = read("mssqlmoments")
    assert "set transaction isolation level read committed" in server.statements
    assert any("snapshot isolation" in note for note in result.notes)


def test_a_password_is_quoted_for_odbc_and_never_told(server: Server) -> None:
    server.failure = mssql_python.OperationalError(
        "Connection operation failed", f"[Microsoft][SQL Server]Login failed for user 'reader' ({SECRET})."
    )
    with pytest.raises(AuthenticationError) as caught:
        read("mssqlrefused")
    assert "PWD={p}}w;{1};" in server.strings[0]
    assert "TrustServerCertificate={yes};" in server.strings[0]
    assert SECRET not in str(caught.value)
    assert "mssqlrefused.orders" in str(caught.value)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ('Cannot open database "ERP" requested by the login. The login failed.', AuthenticationError),
        ("The SELECT permission was denied on the object 'Orders'", AuthenticationError),
        ("A network-related or instance-specific error: Server is not found or not accessible", TransientError),
        ("Transaction (Process ID 52) was deadlocked on lock resources", TransientError),
        ("Invalid object name 'dbo.Orders'", ConfigurationError),
    ],
)
def test_the_servers_words_become_what_to_do_next(
    server: Server, no_waiting: list[float], said: str, kind: type[Exception]
) -> None:
    server.failure = mssql_python.ProgrammingError("Base table or view not found", f"[Microsoft][SQL Server]{said}")
    with pytest.raises(kind):
        read("mssqlerrors")


def test_a_connection_lost_in_the_middle_begins_anew(server: Server, no_waiting: list[float]) -> None:
    server.fails_after = mssql_python.OperationalError(
        "Communication link failure", "[Microsoft][SQL Server]TCP Provider: 0x68"
    )
    with pytest.raises(TransientError):
        read("mssqllost")
    assert sum("convert(varchar(41), [Price])" in text for text in server.statements) == 2
    server.fails_after = None
    assert read("mssqllost")[0].rows == 2


def test_a_table_that_is_not_there_is_told_by_the_description(server: Server) -> None:
    server.described = [(None, None, None, None, None, "Invalid object name 'dbo.Orders'.")]
    with pytest.raises(ConfigurationError, match="Invalid object name"):
        read("mssqlmissing")
