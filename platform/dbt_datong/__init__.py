"""A dbt plugin: plain `dbt build` inside `dbt_project/` finds the running services by itself.

dbt imports every module whose name starts with `dbt_` and starts the classes it lists as `plugins`. This one gives the
session method of dbt-spark the address of the engine that `datong up` wrote down, and the bucket to the macros, so that
no environment variable has to be set by hand. When the services are down it says so, instead of letting PySpark look
for a local Spark. Projects other than Datong's are left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datong_platform.errors import DatongError
from datong_platform.names import parse, public_schema
from datong_platform.settings import export, settings
from dbt.plugins.manager import dbtPlugin
from dbt_common.context import get_invocation_context
from dbt_common.exceptions import DbtRuntimeError

from dbt_datong import statements

if TYPE_CHECKING:
    from datong_platform.lake.table_log import Log


class DatongServices(dbtPlugin):
    """Hands the addresses of the running services to dbt."""

    def initialize(self) -> None:
        """Set the bucket now, and the engine's address when the first connection is opened: parsing needs no engine."""
        if self.project_name != "datong":
            return
        # the environment was copied when dbt started, so a macro's env_var() reads the copy
        environment: Any = get_invocation_context().env
        environment["DATONG_BUCKET"] = settings().bucket
        _connect.cache_clear()
        _code_of.cache_clear()
        _open_with_engine()
        _offer_matching()
        _offer_logs()


def _open_with_engine() -> None:
    from dbt.adapters.spark.connections import SparkConnectionManager

    opened = SparkConnectionManager.open
    if getattr(opened, "finds_engine", False):
        return

    def open_(connection: Any) -> Any:
        try:
            _connect(settings().need("engine_address"))
        except DatongError as error:
            raise DbtRuntimeError(str(error)) from error
        return opened(connection)

    open_.finds_engine = True  # pyright: ignore[reportFunctionMemberAccess]
    SparkConnectionManager.open = staticmethod(open_)  # pyright: ignore[reportAttributeAccessIssue]


def _offer_matching() -> None:
    """Let macros call `adapter.match_records` (materialization `matched`)."""
    from dbt.adapters.spark.impl import SparkAdapter

    def match_records(_self: Any, entity: str, sql: str) -> None:
        from datong_platform import engine
        from datong_platform.standard.matching import run

        try:
            run.match(entity, engine.query(sql))
        except DatongError as error:
            raise DbtRuntimeError(str(error)) from error

    SparkAdapter.match_records = match_records  # pyright: ignore[reportAttributeAccessIssue]
    SparkAdapter._available_ = SparkAdapter._available_ | {"match_records"}  # pyright: ignore


_prepared: frozenset[str] | None = None
_using = ExitStack()


def prepared(schemas: Iterable[str]) -> None:
    """Tell that people's decisions are up to date, and which schemas the next run of dbt works on (none: all).

    Who starts dbt from a build knows both; a plain `dbt build` finds them out when it connects.
    """
    global _prepared  # noqa: PLW0603 - dbt makes the plugin itself, so nothing can be handed to it
    _prepared = frozenset(schemas)


def _offer_logs() -> None:
    """Let macros call `adapter.table_log` and `adapter.code_digest` (macro `changed_records`)."""
    from dbt.adapters.spark.impl import SparkAdapter

    def table_log(_self: Any, schema: str, identifier: str) -> Log | None:
        from datong_platform.lake import table_log

        try:
            return table_log.read(parse(f"{public_schema(schema)}.{identifier}"))
        except DatongError as error:
            raise DbtRuntimeError(str(error)) from error

    def code_digest(self: Any, *texts: str) -> str:
        digest = hashlib.sha256(_code_of(Path(self.config.project_root)))
        for text in texts:
            digest.update(f"{len(text)}:{text}".encode())
        return digest.hexdigest()[:12]

    for method in (table_log, code_digest):
        setattr(SparkAdapter, method.__name__, method)
        SparkAdapter._available_ = SparkAdapter._available_ | {method.__name__}  # pyright: ignore


@cache
def _code_of(project: Path) -> bytes:
    """What decides the rows of every model: dbt, the settings and the macros. Read once in a run of dbt."""
    digest = hashlib.sha256(f"{version('dbt-core')} {version('dbt-spark')}".encode())
    for path in [project / "dbt_project.yml", *sorted((project / "macros").rglob("*.sql"))]:
        digest.update(path.read_bytes())
    return digest.digest()


@cache
def _connect(address: str) -> None:
    """Open the process's session, which dbt-spark then finds, on an engine that knows the lake's tables.

    Once for each run of dbt: a process that runs dbt again and again meets new bronze tables, and new engines.
    """
    from datong_platform import engine
    from datong_platform.lake import catalog
    from datong_platform.standard import decisions

    export("SPARK_REMOTE", address)
    statements.take_over(engine.session(address))
    if _prepared is None:
        # a plain dbt uses it from here to the end of its process; whoever starts dbt from a build says so itself
        _using.close()
        _using.enter_context(engine.in_use())
        decisions.refresh()
    schemas = _prepared or frozenset()
    catalog.ensure(schemas)
    if not schemas or decisions.ACTIVE.schema in schemas:
        catalog.register([decisions.ACTIVE])


plugins = [DatongServices]
