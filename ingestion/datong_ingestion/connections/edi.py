"""EDI interchanges: what an entity says of the messages that make its rows."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from datong_ingestion.connections.base import Options
from datong_ingestion.connections.files import DocumentConnection, Format, Text, codec

PLACE = re.compile(r"/?([A-Z][A-Z0-9]{1,2})((?:\[\d+(?:\.\d+)?=[^\]]*\])*)\.(\d+)(?:\.(\d+))?\Z")


def _place(text: str) -> str:
    if not PLACE.match(text):
        raise ValueError(f"{text!r} is not a place; write BEG.3, N1[1=ST].4 or DTM[1.1=137].1.2")
    return text


class EdiConnection(DocumentConnection):
    """A place with EDI interchanges (X12 or EDIFACT)."""

    outbox: str = ""
    """A folder, `s3://` or `sftp://` address, reached by the same log-in, that takes the acknowledgements."""


class EdiOptions(Options):
    """Which messages make the rows of an entity."""

    message: Text = ""
    """`850`, `ORDERS`; empty for all messages (level message only)."""
    level: Literal["message", "line"] = "message"
    """A row for each message, or for each of its lines (items)."""
    paths: dict[str, Annotated[str, AfterValidator(_place)]] = {}
    """From a field to its place, besides those known for the message: `BEG.3` (third element), `N1[1=ST].4` (of the
    first N1 whose first element is ST), `DTM[1.1=137].1.2` (component). A line's field begins with `/` when it stands
    before the lines."""
    encoding: Annotated[str, AfterValidator(codec)] = "utf-8"
    """X12: encoding of the text. EDIFACT tells its own."""
    acknowledge: bool = False
    """Answer each interchange that this entity takes with a 997 or a CONTRL, once its rows are in bronze. Of several
    entities that read the same interchanges, one says so."""
    newest_only: bool = False
    values: Format = Field(
        default_factory=lambda: Format(
            date_formats=["%Y%m%d", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%y%m%d"], empty_dates=["00000000", "000000"]
        )
    )

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.level == "line" and not self.message:
            raise ValueError("level line needs message: lines differ from message to message")
        return self
