"""Connections to SOAP services."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from datong_ingestion.connections.base import Model, Options
from datong_ingestion.connections.http import HttpConnection, Text


class WsSecurity(Model):
    """A UsernameToken (OASIS WS-Security 1.1) with the connection's user and password in every message."""

    kind: Literal["text", "digest"] = "text"
    """How the password is sent: as it is, or as a digest with a nonce and the time."""
    timestamp_seconds: Annotated[float | None, Field(gt=0)] = None
    """How long a message is good; left out, it bears no Timestamp."""


class SoapPaging(Model):
    """How a service hands out its pages; where each number goes is said in the operation's `arguments`."""

    style: Literal["none", "page", "offset", "next_cursor"] = "none"
    first_page: int = 1
    limit: Annotated[int, Field(ge=1)] = 500
    next_path: str = ""
    """Where the next cursor is in an answer."""
    more_path: str = ""
    """Where a true or false tells whether a page follows; without it reading ends at an empty page."""
    total_path: str = ""
    """Where the number of all rows is."""


class SoapLogIn(Model):
    """An operation that opens a session, begun anew when the system says that it is over."""

    operation: str
    wsdl: str = ""
    """Its own WSDL, if it is not the connection's."""
    arguments: dict[str, Any] = {}
    session_path: str
    """Where the session is in its answer."""
    success_path: str = ""
    success_values: list[Text] = []
    header: str = ""
    """Name of the SOAP header that carries the session; empty when it is an argument, as {session}."""
    header_namespace: str = ""
    expired_texts: list[str] = []
    """Words in a fault or an error that tell that the session is over."""
    expires_seconds: Annotated[float | None, Field(gt=0)] = None
    log_out: str = ""
    """The operation that ends the session, as sessions can cost licences."""
    log_out_arguments: dict[str, Any] = {}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.success_path) != bool(self.success_values):
            raise ValueError("success_path and success_values belong together")
        return self


class SoapConnection(HttpConnection):
    """A SOAP service; entities are operations."""

    wsdl: str = ""
    """Address or path of the WSDL, below base_url; an entity can have its own."""
    ws_security: WsSecurity | None = None
    log_in: SoapLogIn | None = None
    paging: SoapPaging = Field(default_factory=SoapPaging)
    success_path: str = ""
    """A value that tells success in an answer, compared with `success_values`; `@name` is an attribute."""
    success_values: list[Text] = []
    message_path: str = ""
    """Where the reason of a failure is."""
    passing_texts: list[str] = []
    """Words in a fault that tell that it will pass, so that the request is tried again."""
    since_format: str = "iso"
    """How {since} is written: `iso`, or a strftime format."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.success_path) != bool(self.success_values):
            raise ValueError("success_path and success_values belong together")
        if self.ws_security and not (self.user and self.password):
            raise ValueError("ws_security needs user and password")
        return self


class SoapOptions(Options):
    """What an entity of a SOAP service can say."""

    wsdl: str = ""
    service: str = ""
    port: str = ""
    """Which of the services and ports of the WSDL; the first that has the operation."""
    endpoint: str = ""
    """Where to send to, below base_url, if not where the WSDL says."""
    arguments: dict[str, Any] = {}
    """What the operation is asked with. In its texts stand {since}, {page}, {offset}, {limit}, {next}, {filter},
    {session} and the connection's variables; an argument left with nothing is not sent."""
    since_arguments: dict[str, Any] = {}
    """Arguments that are added when there is a cursor to begin at: a condition that says {since}."""
    rows_path: str
    """Where the rows are in the answer, as `getOrdersResult.Order`."""
    payload: Literal["elements", "xml_in_text"] = "elements"
    """`xml_in_text`: the answer is a text that holds a document of its own, in which `rows_path` begins."""
    payload_path: str = ""
    """Where that text is; empty for the first value of the answer."""
    paging: SoapPaging | None = None
