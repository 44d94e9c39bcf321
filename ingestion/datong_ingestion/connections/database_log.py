"""Connections to the change log of a database."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from datong_ingestion.connections.base import Options
from datong_ingestion.connections.stream import StreamConnection


class PostgresqlLogConnection(StreamConnection):
    """A PostgreSQL database with `wal_level = logical`; entities are tables of a publication, `schema.table`."""

    url: Annotated[str, Field(repr=False)]
    """`postgresql://user:password@host:port/database`; the user needs REPLICATION and SELECT."""
    read_schema: Annotated[str, Field(alias="schema")] = "public"
    """Schema of tables that are named without one."""
    publication: str = "datong"
    """The publication that holds the tables; the owner of the tables makes it."""
    slot_prefix: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,20}$")] = "datong"
    """Each entity has a replication slot of its own, called by this, the system and the entity."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class MysqlLogConnection(StreamConnection):
    """A MariaDB or MySQL database with a row binlog that bears column names; entities are tables, `database.table`."""

    url: Annotated[str, Field(repr=False)]
    """`mysql://user:password@host:port/database`; the user needs REPLICATION SLAVE, BINLOG MONITOR and SELECT."""
    server_id: Annotated[int, Field(ge=1, le=4_294_967_295)] = 42_000
    """A number that no replica of this database has; each entity takes one from here on."""


class LogOptions(Options):
    """What an entity in a database's log can say."""

    place: bool = True
    """Add where and when each change was committed: `_log_position`, `_log_at`."""
