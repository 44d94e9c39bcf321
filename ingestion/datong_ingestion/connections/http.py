"""What connections over HTTP share: address, log-in, headers."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from datong_ingestion.connections.base import Connection, Model, as_text

Text = Annotated[str, BeforeValidator(as_text)]


class OAuth2(Model):
    """A token by client credentials (RFC 6749, 4.4), renewed before it expires and when the system refuses it."""

    token_url: str
    client_id: str
    client_secret: Annotated[str, Field(repr=False)]
    scope: str = ""
    params: dict[str, str] = {}
    """Further fields of the token request, such as `resource` or `audience`."""
    send_as: Literal["body", "basic"] = "body"
    """How the client shows who it is: in the form, or as user and password."""
    expires_seconds: Annotated[float, Field(gt=0)] = 3600
    """How long a token lives when its answer does not say."""


class Signature(Model):
    """Each request carries a signature over itself, so that nothing of it can be changed or sent again.

    In `text` and `send` stand {method}, {path}, {query} (sorted, encoded), {sorted} (sorted `k=v`, joined by &),
    {joined} (sorted, keys and values without anything between), {body}, {body_hash}, {timestamp}, {nonce}, {key_id},
    {secret}, and in `send` {signature}.
    """

    key_id: str = ""
    secret: Annotated[str, Field(repr=False)]
    text: str
    """What is signed."""
    algorithm: Literal["hmac-sha256", "hmac-sha512", "hmac-sha1", "hmac-md5", "sha256", "md5"] = "hmac-sha256"
    """`sha256` and `md5` hash a text that holds the secret itself, as older systems want it."""
    encoding: Literal["hex", "HEX", "base64", "base64_of_hex"] = "hex"
    timestamp: str = "seconds"
    """`seconds`, `milliseconds`, `iso`, or a strftime format such as `%Y%m%d%H%M%S` (UTC)."""
    body_hash: Literal["sha256", "md5"] = "sha256"
    send: dict[str, str]
    """Headers (or query parameters) by name."""
    send_in: Literal["header", "query"] = "header"


class Session(Model):
    """A log-in that opens a session, begun anew when the system says that it is over.

    In `body`, `path`, `headers` and `send` stand the connection's {user}, {password} and {token}, and what is under
    `variables`.
    """

    path: str
    """Where to log in, below the base URL."""
    method: Literal["POST", "GET"] = "POST"
    body: dict[str, Any] = {}
    form: bool = False
    """The body is a form instead of JSON."""
    headers: dict[str, str] = {}
    success_path: str = ""
    success_values: list[Text] = []
    """A log-in counts when the value at success_path is one of these."""
    message_path: str = ""
    """Where the reason of a refusal is."""
    session_path: str = ""
    """Where the session's id is in the answer; empty when it is a cookie."""
    send: dict[str, str] = {}
    """Headers with `{session}`, such as `X-Session: "{session}"`; cookies are sent by themselves."""
    send_in: Literal["header", "query"] = "header"
    expired_texts: list[str] = []
    """Words that tell in an answer of any status that the session is over; a status 401 always does."""
    expires_seconds: Annotated[float | None, Field(gt=0)] = None
    """Log in anew after so long, for systems that answer an old session with nothing."""
    logout_path: str = ""
    """Where to log out in the end, as sessions can cost licences."""


class HttpConnection(Connection):
    """A system that is reached over HTTP."""

    profile: str = ""
    """A system's own particulars, filled in beneath what is said here (`datong_ingestion/systems`)."""
    base_url: str
    auth: Literal["none", "basic", "bearer", "api_key", "oauth2", "signed", "session"] | None = None
    """Left out: basic when there is a user, else none."""
    user: str | None = None
    password: Annotated[str | None, Field(repr=False)] = None
    token: Annotated[str | None, Field(repr=False)] = None
    """The bearer token or API key."""
    api_key_name: str = "X-API-Key"
    """Header (or query parameter) that carries the API key."""
    api_key_in: Literal["header", "query"] = "header"
    oauth2: OAuth2 | None = None
    signed: Signature | None = None
    session: Session | None = None
    variables: dict[str, Text] = {}
    """Further words of a log-in or a request, such as the database or the company."""
    headers: dict[str, str] = {}
    params: dict[str, str] = {}
    """Query options of every request, such as `sap-client`."""
    answer_mib: Annotated[float, Field(gt=0)] = 512
    """How large one answer may be, unpacked; a larger one is refused before it is in memory."""

    @property
    def scheme(self) -> Literal["none", "basic", "bearer", "api_key", "oauth2", "signed", "session"]:
        """How it logs in."""
        return self.auth or ("basic" if self.user else "none")

    @model_validator(mode="after")
    def _can_log_in(self) -> Self:
        needs = {
            "basic": ("user", "password"),
            "bearer": ("token",),
            "api_key": ("token",),
            "oauth2": ("oauth2",),
            "signed": ("signed",),
            "session": ("session",),
        }.get(self.auth or "", ())
        if missing := [name for name in needs if not getattr(self, name)]:
            raise ValueError(f"auth {self.auth} needs {' and '.join(missing)}")
        if self.session and bool(self.session.success_path) != bool(self.session.success_values):
            raise ValueError("success_path and success_values belong together")
        return self
