"""Log-ins over HTTP that are more than a header: OAuth2 client credentials, signed requests, sessions.

Each is an `httpx.Auth`, so that every attempt of every request goes through it: a signature is made anew with its own
time and nonce, a token or session that the system refuses is renewed once, by one thread for all. Secrets that are
learned on the way (tokens, cookies) are told to the client, which keeps them out of messages.

Sources: RFC 6749 (4.4, 5), RFC 6265 (cookies), vendors' descriptions of their signatures beside each profile.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
from datong_platform.errors import AuthenticationError, TransientError

from datong_ingestion.connections.http import OAuth2, Session, Signature

Flow = Generator[httpx.Request, httpx.Response, None]

_LEEWAY = 0.1
"""Part of a token's life that is left unused, at most a minute, as clocks differ and requests take time."""
_SAID = 65_536
"""An answer that tells of an ended session is short; longer ones are not searched."""
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_PLACE = re.compile(r"\{(\w+)\}")


class Said(str):
    """A text that came from data: a `{name}` in it means nothing, and no secret is ever put in its place."""

    __slots__ = ()


def filled(value: Any, words: Mapping[str, str]) -> Any:
    """`value` with every `{name}` in its texts replaced; a name that is not in `words` stays as it is."""
    if isinstance(value, Said):
        return str(value)
    if isinstance(value, str):
        return _PLACE.sub(lambda found: words.get(found[1], found[0]), value)
    if isinstance(value, Mapping):
        return {name: filled(item, words) for name, item in value.items()}
    return [filled(item, words) for item in value] if isinstance(value, list) else value


def at(page: Any, path: str) -> Any:
    """What is at a path such as `result.items` or `0.0.Result` in a JSON value; None when there is nothing."""
    for name in path.split("."):
        if isinstance(page, dict):
            page = page.get(name)
        elif isinstance(page, list) and name.isdigit() and int(name) < len(page):
            page = page[int(name)]
        else:
            return None
    return page


def scalar(value: Any) -> str:
    """A JSON value as a definition writes it: `true`, `0`, `ok`."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class _Renewed(httpx.Auth, ABC):
    """A credential that is fetched, kept, and fetched anew when it is old or refused."""

    requires_response_body = True

    def __init__(self, thing: str, credentials: str, learned: set[str]) -> None:
        self.thing, self.credentials, self.learned = thing, credentials, learned
        self._lock = threading.Lock()
        self._held: Any = None
        self._until = float("inf")

    def auth_flow(self, request: httpx.Request) -> Flow:
        held = yield from self._current(None, request)
        plain = request.url, request.headers.copy()
        self.show(request, held)
        response = yield request
        if self.is_over(response):
            held = yield from self._current(held, request)
            request.url, request.headers = plain[0], plain[1].copy()
            self.show(request, held)
            yield request

    def _current(self, refused: Any, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, Any]:
        with self._lock:
            # another thread may have renewed it already
            if self._held is None or self._held is refused or time.monotonic() >= self._until:
                self._held = None
                asked = self.ask()
                # with the same time limits as the request that waits for it
                asked.extensions = {**request.extensions}
                response = yield asked
                self._refuse(response)
                self._held, lasts = self.take(response)
                self._until = time.monotonic() + lasts - min(60.0, lasts * _LEEWAY) if lasts else float("inf")
            return self._held

    def _refuse(self, response: httpx.Response) -> None:
        place = f"{response.url.scheme}://{response.url.netloc.decode('ascii')}{response.url.path}"
        if response.status_code == 429 or response.status_code >= 500:
            raise TransientError(
                self.thing, f"the log-in at {place} answered {response.status_code}.", "run again later."
            )
        if not response.is_success:
            raise self.refused(f"the log-in at {place} answered {response.status_code}{self.reason(response)}.")

    def reason(self, response: httpx.Response) -> str:
        """What a refusal says of itself, without anything secret."""
        try:
            page = response.json()
        except ValueError:
            return ""
        said = " ".join(
            str(page[name]) for name in ("error", "error_description") if isinstance(page, dict) and page.get(name)
        )
        return f": {said[:200]}" if said else ""

    def refused(self, reason: str) -> AuthenticationError:
        """The error of a log-in that was not accepted."""
        return AuthenticationError(self.thing, reason, f"check {self.credentials} and what the client may do there.")

    @abstractmethod
    def ask(self) -> httpx.Request:
        """The request that fetches the credential."""

    @abstractmethod
    def take(self, response: httpx.Response) -> tuple[Any, float | None]:
        """The credential in an answer, and how many seconds it lasts if that is known."""

    @abstractmethod
    def show(self, request: httpx.Request, held: Any) -> None:
        """Put the credential on a request."""

    @abstractmethod
    def is_over(self, response: httpx.Response) -> bool:
        """Whether an answer says that the credential is no longer good."""


class ClientCredentials(_Renewed):
    """OAuth2 client credentials."""

    def __init__(self, declared: OAuth2, thing: str, credentials: str, learned: set[str]) -> None:
        super().__init__(thing, credentials, learned)
        self._declared = declared

    def ask(self) -> httpx.Request:
        declared = self._declared
        form = {"grant_type": "client_credentials", **declared.params}
        if declared.scope:
            form["scope"] = declared.scope
        headers = {"Accept": "application/json"}
        if declared.send_as == "basic":
            # RFC 6749, 2.3.1: both are form-encoded first
            pair = f"{quote(declared.client_id, safe='')}:{quote(declared.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": declared.client_id, "client_secret": declared.client_secret}
        return httpx.Request("POST", declared.token_url, data=form, headers=headers)

    def take(self, response: httpx.Response) -> tuple[Any, float | None]:
        try:
            page = response.json()
            token = page["access_token"]
            lasts = float(page.get("expires_in") or self._declared.expires_seconds)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self.refused("the token request was answered without an access_token.") from error
        self.learned.add(token)
        return token, lasts

    def show(self, request: httpx.Request, held: Any) -> None:
        request.headers["Authorization"] = f"Bearer {held}"

    def is_over(self, response: httpx.Response) -> bool:
        return response.status_code == 401


class LogIn(_Renewed):
    """A session that a log-in opens."""

    def __init__(
        self,
        declared: Session,
        base_url: str,
        words: Mapping[str, str],
        *,
        thing: str,
        credentials: str,
        learned: set[str],
    ) -> None:
        super().__init__(thing, credentials, learned)
        self._declared, self._base, self._words = declared, base_url.rstrip("/"), words

    def ask(self) -> httpx.Request:
        declared = self._declared
        url = (
            f"{self._base}/{filled(declared.path, {n: quote(w, safe='') for n, w in self._words.items()}).lstrip('/')}"
        )
        body = filled(declared.body, self._words)
        headers = {"Accept": "application/json", **filled(declared.headers, self._words)}
        if declared.method == "GET":
            return httpx.Request("GET", url, params=body or None, headers=headers)
        if declared.form:
            return httpx.Request("POST", url, data=body, headers=headers)
        return httpx.Request("POST", url, json=body, headers=headers)

    def take(self, response: httpx.Response) -> tuple[Any, float | None]:
        declared = self._declared
        page: Any = None
        try:
            page = response.json()
        except ValueError:
            if declared.success_path or declared.session_path:
                raise self.refused("the log-in was answered by something that is no JSON.") from None
        if declared.success_path and scalar(at(page, declared.success_path)) not in declared.success_values:
            said = str(at(page, declared.message_path) or "")[:200] if declared.message_path else ""
            for secret in self.learned:
                said = said.replace(secret, "***")
            raise self.refused(f"the system did not accept the log-in{f': {said}' if said else ''}.")
        cookies: dict[str, str] = {}
        for text in response.headers.get_list("set-cookie"):
            jar: SimpleCookie = SimpleCookie()
            try:
                jar.load(text)
            except CookieError:
                continue
            cookies |= {name: item.value for name, item in jar.items()}
        session = at(page, declared.session_path) if declared.session_path else None
        if declared.session_path and not session:
            raise self.refused(f"the log-in was answered without {declared.session_path}.")
        if not session and not cookies:
            raise self.refused("the log-in was answered without a session.")
        self.learned.update(value for value in (*cookies.values(), str(session or "")) if len(value) > 3)
        return (str(session or ""), cookies), declared.expires_seconds

    def show(self, request: httpx.Request, held: Any) -> None:
        session, cookies = held
        if cookies:
            own = [request.headers["Cookie"]] if "Cookie" in request.headers else []
            request.headers["Cookie"] = "; ".join([*own, *(f"{name}={value}" for name, value in cookies.items())])
        given = filled(self._declared.send, {**self._words, "session": session})
        if self._declared.send_in == "query":
            request.url = request.url.copy_merge_params(given)
        else:
            request.headers.update(given)

    def is_over(self, response: httpx.Response) -> bool:
        if response.status_code == 401:
            return True
        if not self._declared.expired_texts or len(response.content) > _SAID:
            return False
        said = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), response.text)
        return any(text in said for text in self._declared.expired_texts)

    def leave(self, client: httpx.Client) -> None:
        """Log out, where there is a session and a way to end it. A failure is of no account: it will expire."""
        if self._held is None or not self._declared.logout_path:
            return
        request = client.build_request("POST", f"{self._base}/{self._declared.logout_path.lstrip('/')}")
        self.show(request, self._held)
        self._held = None
        try:
            client.send(request, auth=None)
        except httpx.HTTPError:
            return


class Signed(httpx.Auth):
    """A signature over each request."""

    requires_request_body = True

    def __init__(self, declared: Signature) -> None:
        self._declared = declared

    def auth_flow(self, request: httpx.Request) -> Flow:
        declared = self._declared
        query = sorted(request.url.params.multi_items())
        words = {
            "method": request.method,
            "path": urlsplit(str(request.url)).path,
            "query": urlencode(query, quote_via=quote, safe="~"),
            "sorted": "&".join(f"{name}={value}" for name, value in query),
            "joined": "".join(f"{name}{value}" for name, value in query),
            "body": request.content.decode("utf-8", "surrogateescape"),
            "body_hash": hashlib.new(declared.body_hash, request.content).hexdigest(),
            "timestamp": self._now(),
            "nonce": secrets.token_hex(16),
            "key_id": declared.key_id,
            "secret": declared.secret,
        }
        words["signature"] = self._signature(filled(declared.text, words))
        given = filled(declared.send, words)
        if declared.send_in == "query":
            request.url = request.url.copy_merge_params(given)
        else:
            request.headers.update(given)
        yield request

    def _now(self) -> str:
        now = datetime.now(UTC)
        kind = self._declared.timestamp
        plain = {
            "seconds": str(int(now.timestamp())),
            "milliseconds": str(int(now.timestamp() * 1000)),
            "iso": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return plain[kind] if kind in plain else now.strftime(kind)

    def _signature(self, text: str) -> str:
        declared, content = self._declared, text.encode("utf-8", "surrogateescape")
        name = declared.algorithm.removeprefix("hmac-")
        if declared.algorithm.startswith("hmac-"):
            digest = hmac.new(declared.secret.encode(), content, name).digest()
        else:
            digest = hashlib.new(name, content).digest()
        if declared.encoding == "base64":
            return base64.b64encode(digest).decode()
        if declared.encoding == "base64_of_hex":
            return base64.b64encode(digest.hex().encode()).decode()
        return digest.hex().upper() if declared.encoding == "HEX" else digest.hex()
