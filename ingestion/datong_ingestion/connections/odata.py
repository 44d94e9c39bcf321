"""Connections that speak OData."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from datong_ingestion.connections.base import Connection


class ODataConnection(Connection):
    """An OData v2 service root; entities are `SERVICE/EntitySet` below it."""

    base_url: str
    user: str | None = None
    password: Annotated[str | None, Field(repr=False)] = None
    headers: dict[str, str] = {}
    params: dict[str, str] = {}
    """Query options of every request, such as `sap-client`."""
    page_size: Annotated[int, Field(ge=1)] = 5000
    """Rows asked for in a page (`odata.maxpagesize`); the server may send fewer."""
