"""What connections that give an endless stream of messages or changes share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from datong_ingestion.connections.base import Connection


class StreamConnection(Connection):
    """A queue or a log: a read ends when it has caught up, or after so many rows or seconds."""

    batch_rows: Annotated[int, Field(ge=1)] = 200_000
    """Messages after which a batch is closed and loaded; the next one reads on."""
    batch_seconds: Annotated[float, Field(gt=0)] = 60
    """Seconds after which a batch is closed and loaded."""
