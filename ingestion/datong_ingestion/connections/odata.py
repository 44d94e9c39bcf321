"""Connections that speak OData."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from datong_ingestion.connections.base import Options
from datong_ingestion.connections.http import HttpConnection


class ODataConnection(HttpConnection):
    """An OData service root. v2: entities are `SERVICE/EntitySet` below it; v4: `EntitySet`, or the path of a
    collection, `companies(…)/items`."""

    page_size: Annotated[int, Field(ge=1)] = 5000
    """Rows asked for in a page (`odata.maxpagesize`); the server may send fewer."""
    count: bool = True
    """Ask how many rows there are with the first page, and begin anew when fewer come: a row that is deleted while
    pages are read can hide another. Switch it off where a service counts rows that it does not give."""


class ODataV4Options(Options):
    """What an entity of OData v4 can say."""

    service: str = ""
    """Path of its service below the base URL, where one address has several (S/4HANA)."""
