"""Connections to databases."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from datong_ingestion.connections.base import Connection


class SqlConnection(Connection):
    """A database; entities are tables, `schema.table`, or queries."""

    url: Annotated[str, Field(repr=False)]
    """`postgresql://user:password@host:port/database`; likewise `mysql://` (`mariadb://`), `mssql://`, and
    `oracle://user:password@host:port/service`."""
    read_schema: Annotated[str, Field(alias="schema")] = ""
    """Schema of tables that are named without one; by default PostgreSQL's `public`, MySQL's database of the URL,
    SQL Server's `dbo`, Oracle's user."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
