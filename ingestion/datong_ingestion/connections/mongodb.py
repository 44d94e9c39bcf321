"""Connections to MongoDB."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from datong_ingestion.connections.base import Connection


class MongoConnection(Connection):
    """A database of a MongoDB server, replica set or cluster; entities are its collections."""

    url: Annotated[str, Field(repr=False)]
    """`mongodb://user:password@host:port/database?authSource=admin`, or `mongodb+srv://…`, with MongoDB's options."""
    database: str = ""
    """The database, where the URL names none or that of the log-in."""
    sample: Annotated[int, Field(ge=2)] = 1000
    """How many documents of a collection, half of the oldest and half of the newest, tell its fields."""
