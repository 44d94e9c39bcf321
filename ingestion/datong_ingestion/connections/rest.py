"""Connections to JSON APIs."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from datong_ingestion.connections.base import Model, Options
from datong_ingestion.connections.http import HttpConnection, Text


class Paging(Model):
    """How a JSON API hands out its pages."""

    style: Literal["none", "next_cursor", "page", "offset", "link_header", "next_link", "after_key"] = "none"
    """`after_key` asks for the rows whose key is greater than the last one read, in the order of the key: no row that
    comes or goes meanwhile can shift a page. The key must be one field."""
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
    """Where the number of all rows is, for styles page and offset; without it reading ends at an empty page. With style
    page it is also what shows that a row was passed over because another one went meanwhile; without it use another
    style where rows are deleted, or change while their order is that of changes."""
    more_path: str = ""
    """Where a true or false tells whether a page follows, for styles page and offset."""


class Since(Model):
    """How a JSON API is asked for what changed since a cursor."""

    param: str = ""
    """Query parameter; empty when the condition is part of a body or of `{filter}`."""
    text: str = "{since}"
    """Its value, or the condition: `{cursor} >= '{since}'`."""
    format: str = "iso"
    """`iso`, or a strftime format, such as `%Y-%m-%d %H:%M:%S`."""


class Request(Model):
    """What a page is asked with. In its texts stand {source}, {fields}, {keys}, {limit}, {offset}, {page}, {next},
    {filter} (the entity's filter and the condition of `since`, joined by `and`), {since}, and the connection's
    variables; a text that is one of the numbers alone becomes a number in a body."""

    method: Literal["GET", "POST"] = "GET"
    path: str = "{source}"
    params: dict[str, str] = {}
    body: dict[str, Any] | None = None
    form: bool = False
    """The body is a form instead of JSON."""
    headers: dict[str, str] = {}
    and_word: str = " and "
    """What joins two conditions."""

    @model_validator(mode="after")
    def _posts_its_body(self) -> Self:
        if self.body is not None and self.method == "GET":
            raise ValueError("a request with a body needs method: POST")
        return self


class RestConnection(HttpConnection):
    """A JSON API; entities are paths below its base URL."""

    paging: Paging = Field(default_factory=Paging)
    request: Request = Field(default_factory=Request)
    data_path: str = ""
    """Where the rows are in an answer, as `data` or `result.items`; empty when the answer is the list."""
    unnamed: bool = False
    """Rows are lists of values, in the order of the entity's declared fields."""
    error_path: str = ""
    """A field that holds an error in an answer of status 200, as `error`, `status.message` or `0.0.Result`."""
    success_path: str = ""
    """A field that tells success, compared with `success_values`."""
    success_values: list[Text] = []
    updated_since_param: str = "updated_since"
    """Query parameter that takes the cursor of entities in mode cursor."""
    since: Since | None = None
    """Where the cursor goes and how it is written, if it is not a time in ISO format in `updated_since_param`."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.success_path) != bool(self.success_values):
            raise ValueError("success_path and success_values belong together")
        return self


class RestOptions(Options):
    """What an entity of a JSON API can say, in place of its connection."""

    paging: Paging | None = None
    request: Request | None = None
    since: Since | None = None
