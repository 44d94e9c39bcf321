"""How dbt's statements reach the engine: one request for a command or a query, and none that says nothing new.

dbt-spark's session method sets the session's options anew before every statement, under a lock that all its threads
share, and asks for a result's columns and then for its rows: four requests for a query. Here the options are set once,
when the plugin connects, and columns and rows are one answer.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from datong_platform import engine
from dbt_common.exceptions import DbtRuntimeError

if TYPE_CHECKING:
    import pyarrow as pa


class Cursor:
    """What dbt-spark's session method uses of a cursor."""

    def __init__(self, spark: Any) -> None:
        self._spark = spark
        self._result: pa.Table | None = None
        self._columns: list[tuple[Any, ...]] = []
        self._rows: list[tuple[Any, ...]] | None = None

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> bool:
        self.close()
        return True

    def execute(self, sql: str, *parameters: Any) -> None:
        """Run a statement. DbtRuntimeError with the engine's words when it refuses it."""
        from pyspark.errors import AnalysisException

        self.close()
        try:
            self._result = engine.answer(self._spark, sql % parameters if parameters else sql)
        except AnalysisException as error:
            raise DbtRuntimeError(str(error)) from error

    @property
    def description(self) -> list[tuple[Any, ...]]:
        """The columns of the result: name and type, and whether null is allowed."""
        self._fetch()
        return self._columns

    def fetchall(self) -> list[tuple[Any, ...]] | None:
        """Every row of the result."""
        self._fetch()
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row of the result."""
        self._fetch()
        return self._rows.pop(0) if self._rows else None

    def close(self) -> None:
        """Forget the result."""
        self._result, self._columns, self._rows = None, [], None

    def _fetch(self) -> None:
        if self._rows is not None or self._result is None:
            return
        from pyspark.sql.pandas.types import from_arrow_type

        self._columns = [
            (field.name, from_arrow_type(field.type).simpleString(), None, None, None, None, field.nullable)
            for field in self._result.schema
        ]
        self._rows = list(zip(*(column.to_pylist() for column in self._result.columns), strict=True))


def take_over(spark: Any) -> None:
    """From now on dbt-spark's session method runs its statements in this session, and sets its options once."""
    from dbt.adapters.spark.session import Connection

    setting = threading.Lock()
    known: dict[str, Any] = {}

    def cursor(connection: Any) -> Cursor:
        with setting:
            for name, value in connection.server_side_parameters.items():
                if known.get(name) != value:
                    spark.conf.set(name, value)
                    known[name] = value
        return Cursor(spark)

    Connection.cursor = cursor  # pyright: ignore[reportAttributeAccessIssue]
