"""Connections to JSON APIs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from datong_ingestion.connections.base import Model, as_text
from datong_ingestion.connections.http import HttpConnection


class Paging(Model):
    """How a JSON API hands out its pages."""

    style: Literal["none", "next_cursor", "page", "offset", "link_header", "next_link"] = "none"
    next_path: str = "next_cursor"
    """Where the next cursor (or the next link) is in an answer."""
    cursor_param: str = "cursor"
    page_param: str = "page"
    first_page: int = 1
    offset_param: str = "offset"
    limit_param: str = "limit"
    """Query parameter that takes the page size; empty to send none."""
    limit: Annotated[int, Field(ge=1)] = 500
    total_path: str = ""
    """Where the number of all rows is, for styles page and offset; without it reading ends at a short page."""


class RestConnection(HttpConnection):
    """A JSON API; entities are paths below its base URL."""

    paging: Paging = Field(default_factory=Paging)
    data_path: str = ""
    """Where the rows are in an answer, as `data` or `result.items`; empty when the answer is the list."""
    error_path: str = ""
    """A field that holds an error in an answer of status 200, as `error` or `status.message`."""
    success_path: str = ""
    """A field that tells success, compared with `success_values`."""
    success_values: list[Annotated[str, BeforeValidator(as_text)]] = []
    updated_since_param: str = "updated_since"
    """Query parameter that takes the cursor of entities in mode cursor."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.success_path) != bool(self.success_values):
            raise ValueError("success_path and success_values belong together")
        return self
