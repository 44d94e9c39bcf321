"""One HTTP client for all that talks HTTP: reading by OData and REST, and writing back.

It tries again, with growing pauses and jitter, what is likely to pass: a refused or dropped connection, a body that is
cut off or does not decompress, 429 and 503 (for as long as Retry-After says), 500, 502 and 504. It never holds more
requests open than the system bears. Credentials go to the system's own host and nowhere else, and appear in no
message and no log.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import httpx
from datong_platform.errors import (
    AuthenticationError,
    ConfigurationError,
    DatongError,
    ProtocolError,
    TerminalError,
    TransientError,
)

from datong_ingestion.connections.http import HttpConnection
from datong_ingestion.http_auth import ClientCredentials, LogIn, Signed
from datong_ingestion.limits import ENCODINGS, MIB, TooLargeError, bounded
from datong_ingestion.pace import HeldError, Pace

T = TypeVar("T")

PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_WORDS = re.compile(r"<[^>]+>")
_SHOWN = 4000
"""Characters of an error page that are looked at."""


class UnreadableBodyError(Exception):
    """A body that does not make sense as a whole, as when it is cut off: worth another try."""


class _KeyAuth(httpx.Auth):
    """An API key as a query parameter, added where no message sees it."""

    def __init__(self, name: str, value: str) -> None:
        self._name, self._value = name, value

    def auth_flow(self, request: httpx.Request) -> Any:
        request.url = request.url.copy_merge_params({self._name: self._value})
        yield request


def address(url: str) -> str:
    """A URL without user, password and query, for messages."""
    parts = urlsplit(url)
    host = parts.netloc.rsplit("@", 1)[-1]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


class HttpClient:
    """A client for one system, to be used from several threads."""

    def __init__(
        self,
        thing: str,
        base_url: str,
        *,
        auth: Literal["none", "basic", "bearer", "api_key"] | httpx.Auth = "none",
        user: str | None = None,
        secret: str | None = None,
        api_key_name: str = "X-API-Key",
        api_key_in: Literal["header", "query"] = "header",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        concurrency: int = 4,
        timeout_seconds: float = 30,
        attempts: int = 6,
        max_wait_seconds: float = 60,
        credentials: str = "the user and the password",
        learned: set[str] | None = None,
        answer_mib: float = 512,
    ) -> None:
        """`thing` names the system in messages; `secret` is the password, token or key; `credentials` says where they
        are set, for the next step after a refusal. `learned`: further secrets, which a log-in may add to. `answer_mib`:
        how large an answer may be, unpacked."""
        self.thing = thing
        self.base_url = _checked(base_url, thing)
        self.credentials = credentials
        self._params = dict(params or {})
        self._attempts, self._max_wait = attempts, max_wait_seconds
        self._secrets = {value for value in (secret, *(headers or {}).values(), *self._params.values()) if value}
        self._learned = learned if learned is not None else set[str]()
        self._gate = threading.BoundedSemaphore(concurrency)
        self._unreachable = threading.Event()
        self.pace: Pace | None = None
        """Set by who must not ask faster than the system bears: all threads then heed what any answer says of it."""
        given = {"Accept-Encoding": ENCODINGS, **(headers or {})}
        scheme: httpx.Auth | None = auth if isinstance(auth, httpx.Auth) else None
        if auth == "basic":
            scheme = httpx.BasicAuth(user or "", secret or "")
        elif auth == "bearer":
            given["Authorization"] = f"Bearer {secret}"
        elif auth == "api_key" and api_key_in == "header":
            given[api_key_name] = secret or ""
        elif auth == "api_key":
            scheme = _KeyAuth(api_key_name, secret or "")
        # at INFO httpx writes every URL, and with it an API key in the query, to the log
        logging.getLogger("httpx").setLevel(logging.WARNING)
        # at DEBUG httpcore writes the headers of answers, and with them the cookies of sessions
        logging.getLogger("httpcore").setLevel(logging.WARNING)
        self._client = httpx.Client(
            auth=scheme,
            headers=given,
            timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, 10)),
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            follow_redirects=False,
            event_hooks={"response": [bounded(int(answer_mib * MIB))]},
            # a cookie that one thread was given (SAP's session) must not be sent by another: a request brings its own
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    @classmethod
    def of(cls, thing: str, connection: HttpConnection, declared: HttpConnection) -> HttpClient:
        """The client of a connection whose values are looked up; `declared` still names where they come from."""
        credentials = (
            declared.names_of("user", "password", "token", "oauth2", "signed", "session", "variables")
            or "its credentials"
        )
        learned = {value for value in (connection.password, connection.token) if value}
        scheme = connection.scheme
        auth: Literal["none", "basic", "bearer", "api_key"] | httpx.Auth = "none"
        if scheme == "oauth2" and connection.oauth2:
            learned.add(connection.oauth2.client_secret)
            auth = ClientCredentials(connection.oauth2, thing, credentials, learned)
        elif scheme == "signed" and connection.signed:
            learned.add(connection.signed.secret)
            auth = Signed(connection.signed)
        elif scheme == "session" and connection.session:
            words = {
                "user": connection.user or "",
                "password": connection.password or "",
                "token": connection.token or "",
                **connection.variables,
            }
            auth = LogIn(
                connection.session,
                connection.base_url,
                words,
                thing=thing,
                credentials=credentials,
                learned=learned,
            )
        elif scheme != "oauth2" and scheme != "signed" and scheme != "session":  # noqa: PLR1714 narrows the type
            auth = scheme
        return cls(
            thing,
            connection.base_url,
            auth=auth,
            user=connection.user,
            secret=connection.password if auth == "basic" else connection.token,
            api_key_name=connection.api_key_name,
            api_key_in=connection.api_key_in,
            headers=connection.headers,
            params=connection.params,
            concurrency=connection.concurrency,
            timeout_seconds=connection.timeout_seconds,
            attempts=connection.attempts,
            max_wait_seconds=connection.max_wait_seconds,
            credentials=credentials,
            learned=learned,
            answer_mib=connection.answer_mib,
        )

    def close(self) -> None:
        """Log out where there is a session to end, and close its connections."""
        if isinstance(self._client.auth, LogIn):
            self._client.auth.leave(self._client)
        self._client.close()

    def learn(self, secret: str) -> None:
        """Keep a further secret out of messages."""
        self._learned.add(secret)

    def redact(self, text: str) -> str:
        """`text` without anything secret that this client knows."""
        text = _USERINFO.sub("", text)
        for secret in self._secrets | self._learned:
            for form in (secret, quote(secret, safe="")):
                text = text.replace(form, "***")
        return text

    def url(self, link: str, base: str | None = None) -> str:
        """A link that the system gave, as an address on the system's own host.

        A gateway behind a proxy writes its inner name into its links; credentials must not follow it there.
        """
        target = httpx.URL(base or self.base_url).join(link)
        home = httpx.URL(self.base_url)
        if (target.scheme, target.host, target.port) != (home.scheme, home.host, home.port):
            target = target.copy_with(scheme=home.scheme, host=home.host, port=home.port, userinfo=b"")
        return str(target)

    def below(self, path: str) -> str:
        """The address of a path below the base URL."""
        return f"{self.base_url.rstrip('/')}/{path.lstrip('/')}" if path else self.base_url

    def request(
        self,
        method: str,
        url: str,
        *,
        thing: str | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        cookies: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        accept: Collection[int] = (),
    ) -> httpx.Response:
        """Send a request and return the answer, its body read.

        Statuses 2xx and those in `accept` are returned; others raise: AuthenticationError (401, 403), TransientError
        (still failing after all attempts), ConfigurationError (404, 3xx), TerminalError (other 4xx). `repeatable`
        says whether it may be sent again after it might have arrived; by default only for GET, HEAD and OPTIONS.
        `thing` names what is asked for in messages.
        """
        return self.fetch(
            lambda response: response,
            method,
            url,
            thing=thing,
            params=params,
            headers=headers,
            content=content,
            cookies=cookies,
            repeatable=repeatable,
            accept=accept,
        )

    def fetch(
        self,
        read: Callable[[httpx.Response], T],
        method: str,
        url: str,
        *,
        thing: str | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | Callable[[], bytes] | None = None,
        cookies: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        accept: Collection[int] = (),
    ) -> T:
        """As `request`, and `read` the answer within the attempt: when it raises UnreadableBodyError the request is
        sent again, and after the last attempt ProtocolError is raised. `content` can be made anew for each attempt."""
        what = thing or self.thing
        if repeatable is None:
            repeatable = method in {"GET", "HEAD", "OPTIONS"}
        target = httpx.URL(url)
        if extra := {**self._params, **(params or {})}:
            # httpx would encode what an opaque link holds anew when it merges; so the query is only added to
            target = httpx.URL(_with_params(str(target), extra))

        sent_headers = dict(headers or {})
        if cookies:
            sent_headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())

        def attempt() -> T:
            if self.pace is not None:
                self.pace.wait(what)
            with self._gate:
                sent = content() if callable(content) else content
                request = self._client.build_request(method, target, headers=sent_headers, content=sent)
                response = self._send(request, what, repeatable)
            self._unreachable.clear()
            if self.pace is not None:
                self.pace.heed(response.status_code, response.headers)
            self._check(response, what, accept, repeatable)
            try:
                return read(response)
            except UnreadableBodyError as error:
                raise _unreadable(what, address(str(target)), str(error)) from error

        # a host that just proved unreachable is not waited for again by every other entity of the system
        attempts = 1 if self._unreachable.is_set() else self._attempts
        for number in range(1, attempts + 1):
            try:
                return attempt()
            except TransientError as error:
                if number < attempts and not isinstance(error, HeldError):
                    time.sleep(self._wait(error, number))
                elif isinstance(error, _UnreadableError):
                    raise ProtocolError(error.thing, error.reason, error.next_step) from error.__cause__
                else:
                    raise
        raise AssertionError("unreachable")

    def _wait(self, error: TransientError, number: int) -> float:
        asked = error.retry_after
        if asked is not None and self.pace is not None:
            return 0  # the pace holds all threads back for as long as was asked
        if asked is not None:
            return min(float(asked), self._max_wait)
        # jitter, so that readers that failed together do not come back together
        return min(0.2 * 2 ** (number - 1), self._max_wait) * (0.5 + random.random())  # noqa: S311

    def _send(self, request: httpx.Request, what: str, repeatable: bool) -> httpx.Response:
        try:
            return self._client.send(request)
        except (httpx.HTTPError, TooLargeError) as error:
            raise self._failed(error, address(str(request.url)), what, repeatable) from None

    def _failed(
        self, error: httpx.HTTPError | TooLargeError, place: str, what: str, repeatable: bool
    ) -> DatongError | Exception:
        """What a request without an answer comes to."""
        if isinstance(error, TooLargeError):
            return ProtocolError(
                what,
                f"{place} sent an answer of {error} and was cut off.",
                "ask for smaller pages; or, if one answer really is so large, raise `answer_mib` of the connection.",
            )
        said = self.redact(str(error)) or type(error).__name__
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            self._unreachable.set()
            return TransientError(
                what,
                f"{place} cannot be reached: {said}.",
                "check that the system is running and its address is right, then run again.",
            )
        if not isinstance(error, httpx.TransportError | httpx.DecodingError):
            return error
        reason = f"the connection to {place} broke: {said}."
        if not repeatable:
            # it may have arrived, so only the caller can find out whether it may be sent again
            return UnclearOutcomeError(what, reason, "read the target back before sending again.")
        return TransientError(what, reason, "run again; if it persists, look at the system's log.")

    def _check(self, response: httpx.Response, what: str, accept: Collection[int], repeatable: bool) -> None:
        status = response.status_code
        if status in accept or response.is_success:
            return
        place = address(str(response.url))
        said = self.redact(error_text(response))
        if status in {401, 403}:
            raise AuthenticationError(
                what,
                f"{place} refused {'who we are' if status == 401 else 'what we may do'} ({status}{said}).",
                f"check {self.credentials} and the user's authorizations in the system.",
            )
        if status in PASSING_STATUSES:
            reason = f"{place} answered {status}{said}."
            if status in {429, 503} or repeatable:
                raise TransientError(
                    what,
                    reason,
                    "the system is busy or down; run again later.",
                    retry_after=retry_after(response.headers.get("Retry-After")),
                )
            raise UnclearOutcomeError(what, reason, "read the target back before sending again.")
        if response.is_redirect:
            raise ConfigurationError(
                what,
                f"{place} redirects to {address(response.headers.get('Location', ''))}.",
                "set the base_url to where it leads, or have the log-in page switched off for this user.",
            )
        if status == 404:
            raise ConfigurationError(
                what, f"{place} does not exist (404{said}).", "check base_url and the entity's source in its defs.yaml."
            )
        raise RequestError(
            what, f"{place} refused the request: {status}{said}.", "see the reason given by the system.", status=status
        )


class RequestError(TerminalError):
    """The system refused a request as it is (a 4xx status)."""

    def __init__(self, thing: str, reason: str, next_step: str = "", *, status: int) -> None:
        super().__init__(thing, reason, next_step)
        self.status = status


class UnclearOutcomeError(DatongError):
    """A request that must not be repeated blindly ended without an answer: it may have been carried out."""


class _UnreadableError(TransientError):
    """An answer that makes no sense; once attempts run out the system breaks its protocol."""


def _unreadable(what: str, place: str, reason: str) -> _UnreadableError:
    return _UnreadableError(
        what,
        f"the answer of {place} cannot be read: {reason}.",
        "if it persists, ask for this address in a browser and compare.",
    )


def _checked(base_url: str, thing: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            thing, f"has the base_url {address(base_url)!r}, which is no http address.", "write https://host/path."
        )
    if parts.username or parts.password:
        raise ConfigurationError(thing, "has credentials in its base_url.", "put them into user and password.")
    return base_url


def _with_params(url: str, params: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    present = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    added = "&".join(
        # OData's `$` and `!` stay as they are: some gateways do not decode them in names
        f"{quote(name, safe='$!')}={quote(value, safe='')}"
        for name, value in params.items()
        if name not in present
    )
    query = "&".join(text for text in (parts.query, added) if text)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks to wait (RFC 9110, 10.2.3: seconds or a date); None when there is none."""
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip())
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def error_text(response: httpx.Response) -> str:
    """What an answer says about its error, in short: `: words`, or nothing."""
    words = ""
    try:
        found = response.json()
        found = found.get("error", found) if isinstance(found, dict) else found
        if isinstance(found, dict):
            message = found.get("message", found.get("detail", ""))
            words = str(message.get("value", "") if isinstance(message, dict) else message)
            if code := found.get("code"):
                words = f"{code} {words}"
        else:
            words = str(found)
    except ValueError:
        # only so much of it: each `<` of a page that has no `>` would be followed to its end
        words = _WORDS.sub(" ", response.text[:_SHOWN])
    words = " ".join(words.split())
    return f": {words[:300]}" if words else ""
