"""Connections to JSON APIs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from datong_ingestion.connections.base import Connection, Model, as_text


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


class RestConnection(Connection):
    """A JSON API; entities are paths below its base URL."""

    base_url: str
    auth: Literal["none", "basic", "bearer", "api_key"] = "none"
    user: str | None = None
    password: Annotated[str | None, Field(repr=False)] = None
    token: Annotated[str | None, Field(repr=False)] = None
    """The bearer token or API key."""
    api_key_name: str = "X-API-Key"
    """Header (or query parameter) that carries the API key."""
    api_key_in: Literal["header", "query"] = "header"
    headers: dict[str, str] = {}
    params: dict[str, str] = {}
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
        needs = {"basic": ("user", "password"), "bearer": ("token",), "api_key": ("token",)}.get(self.auth, ())
        if missing := [name for name in needs if not getattr(self, name)]:
            raise ValueError(f"auth {self.auth} needs {' and '.join(missing)}")
        if bool(self.success_path) != bool(self.success_values):
            raise ValueError("success_path and success_values belong together")
        return self
