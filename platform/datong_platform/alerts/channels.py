"""Channels that carry alerts: WeCom, DingTalk, Feishu, Slack, e-mail, and any other by a webhook.

The chat platforms answer 200 also when they refuse a message, and say so in the body (`errcode`, `code`): a sender that
looks at the status alone loses alerts in silence, so the body decides here. DingTalk and Feishu are signed where the
robot has a secret; a general webhook carries an HMAC of its body.

From a `Message` to one request, or one mail. `Channel.send` raises TransientError when a later try may succeed (a rate
limit, an unreachable host), else ConfigurationError or AuthenticationError that names the channel, never its address:
the address of a robot is its secret.

Sources: WeCom "Group robot configuration" (markdown, 4,096 bytes, 20 messages a minute, errcode 45009, 93000); DingTalk
"Custom robot access" (sign = HMAC-SHA256 over timestamp and secret, errcode 310000, 130101); Feishu "Custom bot usage
guide" (sign, code 19021, 19024, 9499, 11232); Slack "Sending messages using incoming webhooks" (429 with Retry-After).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import smtplib
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field

from datong_platform.errors import AuthenticationError, ConfigurationError, DatongError, TransientError
from datong_platform.settings import connection_value

if TYPE_CHECKING:
    import httpx

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")
_TIMEOUT_SECONDS = 10


def severity_rank(severity: str) -> int:
    """Severities in their order: the higher the worse."""
    return [str(one) for one in SEVERITIES].index(severity)


@dataclass(frozen=True)
class Message:
    """What people are told. `lines` are paragraphs in plain words, the most important first."""

    title: str
    lines: tuple[str, ...]
    severity: Severity
    at: datetime
    """When it began, UTC."""
    link: str = ""
    """Where to look and decide: a page of the desk."""
    facts: tuple[tuple[str, str], ...] = ()
    """For machines, and for the general webhook: names and values."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Channel(_Model, ABC):
    """A channel as the definition describes it; texts may hold `${NAME}`, looked up when it is used."""

    name: str = ""

    @abstractmethod
    def send(self, message: Message) -> None:
        """Deliver a message. TransientError, ConfigurationError or AuthenticationError when it was not taken."""

    @property
    def thing(self) -> str:
        """The channel, in the words of messages."""
        return f"alert channel {self.name}"

    def value(self, text: str) -> str:
        """A text of the definition with its secrets looked up."""
        return connection_value(text, self.thing)


class _Web(Channel):
    """A channel that is one POST."""

    url: Annotated[str, Field(repr=False)]
    """The robot's address; write it as `${NAME}`, because who has it can speak in the group."""

    def post(self, body: Any, *, params: str = "", headers: dict[str, str] | None = None) -> httpx.Response:
        """The answer, its status judged. `params`: what is added to the address's query."""
        import httpx

        url = self.value(self.url)
        if urlsplit(url).scheme not in {"http", "https"}:
            raise ConfigurationError(self.thing, "has no address that begins with https://.", "set its url.")
        if params:
            url += ("&" if urlsplit(url).query else "?") + params
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        told = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        try:
            answer = httpx.post(url, content=content, headers=told, timeout=_TIMEOUT_SECONDS)
        except httpx.InvalidURL as error:
            raise ConfigurationError(self.thing, "has an address that cannot be read.", "mend its url.") from error
        except httpx.HTTPError as error:
            raise TransientError(
                self.thing, f"cannot be reached ({type(error).__name__}).", "check the network; it is tried again."
            ) from None
        if answer.status_code == 429 or answer.status_code >= 500:
            wait = answer.headers.get("retry-after", "")
            raise TransientError(
                self.thing,
                f"answered {answer.status_code}.",
                "it is tried again.",
                retry_after=float(wait) if wait.isdigit() else None,
            )
        if answer.status_code in {401, 403}:
            raise AuthenticationError(
                self.thing, f"refused ({answer.status_code} {_short(answer.text)}).", "check its url and secret."
            )
        if answer.status_code >= 300:
            raise ConfigurationError(
                self.thing, f"answered {answer.status_code} {_short(answer.text)}.", "check its url."
            )
        return answer

    def judge(self, answer: httpx.Response, field: str, slow: frozenset[int], refused: frozenset[int]) -> None:
        """What a body of status 200 says: its code is 0, or the message was not taken."""
        try:
            said = answer.json()
            code = int(said[field])
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(
                self.thing, f"answered what no such robot answers: {_short(answer.text)}", "check its url and its kind."
            ) from None
        if code == 0:
            return
        words = f"did not take the message: {code} {_short(str(said.get('errmsg') or said.get('msg') or ''))}"
        if code in slow:
            raise TransientError(self.thing, f"{words}.", "too many messages; it is tried again.", retry_after=60)
        if code in refused:
            raise AuthenticationError(
                self.thing, f"{words}.", "check its secret, its keywords and the addresses that it allows."
            )
        raise ConfigurationError(self.thing, f"{words}.", "check its url and its kind.")


class WeCom(_Web):
    """A robot of a WeCom (企业微信) group."""

    kind: Literal["wecom"]
    mention: list[str] = []
    """User ids to mention; `@all` for everyone."""

    def send(self, message: Message) -> None:
        mention = "".join(f"<@{user}>" for user in self.mention)
        text = "\n".join(filter(None, [f"**{message.title}**", *message.lines, _link(message), mention]))
        answer = self.post({"msgtype": "markdown", "markdown": {"content": _cut(text, 4096)}})
        self.judge(answer, "errcode", frozenset({45009, -1}), frozenset({93000, 40058}))


class DingTalk(_Web):
    """A custom robot of a DingTalk (钉钉) group."""

    kind: Literal["dingtalk"]
    secret: Annotated[str, Field(repr=False)] = ""
    """The robot's `SEC…`, where it asks for a signature."""
    mention: list[str] = []
    """Telephone numbers to mention; `@all` for everyone."""

    def send(self, message: Message) -> None:
        params = ""
        if self.secret:
            moment = str(round(time.time() * 1000))
            secret = self.value(self.secret)
            digest = hmac.digest(secret.encode(), f"{moment}\n{secret}".encode(), hashlib.sha256)
            params = f"timestamp={moment}&sign={quote(base64.b64encode(digest).decode(), safe='')}"
        mobiles = [one for one in self.mention if one != "@all"]
        at = {"atMobiles": mobiles, "isAtAll": "@all" in self.mention}
        told = " ".join(f"@{one}" for one in mobiles)
        text = "\n\n".join(filter(None, [f"### {message.title}", *message.lines, _link(message), told]))
        body = {"msgtype": "markdown", "markdown": {"title": message.title, "text": _cut(text, 20_000)}, "at": at}
        self.judge(self.post(body, params=params), "errcode", frozenset({130101, 410100}), frozenset({310000}))


class Feishu(_Web):
    """A custom bot of a Feishu (飞书) or Lark group."""

    kind: Literal["feishu"]
    secret: Annotated[str, Field(repr=False)] = ""
    """The bot's key, where it verifies signatures."""

    def send(self, message: Message) -> None:
        colour = {"info": "blue", "warning": "orange", "error": "red", "critical": "carmine"}[message.severity]
        elements: list[dict[str, Any]] = [{"tag": "markdown", "content": _cut("\n".join(message.lines), 15_000)}]
        if message.link:
            button = {"tag": "button", "text": {"tag": "plain_text", "content": "Datong"}, "url": message.link}
            elements.append({"tag": "action", "actions": [{**button, "type": "primary"}]})
        body: dict[str, Any] = {
            "msg_type": "interactive",
            "card": {
                "header": {"title": {"tag": "plain_text", "content": message.title}, "template": colour},
                "elements": elements,
            },
        }
        if self.secret:
            moment = str(int(time.time()))
            # the text to sign is the key, and what is signed is empty
            digest = hmac.digest(f"{moment}\n{self.value(self.secret)}".encode(), b"", hashlib.sha256)
            body |= {"timestamp": moment, "sign": base64.b64encode(digest).decode()}
        self.judge(self.post(body), "code", frozenset({11232, 9499}), frozenset({19021, 19022, 19024}))


class Slack(_Web):
    """An incoming webhook of Slack, or of what speaks as Slack does (Mattermost)."""

    kind: Literal["slack"]

    def send(self, message: Message) -> None:
        link = f"<{message.link}|Datong>" if message.link else ""
        lines = [_slack(line) for line in (f"*{message.title}*", *message.lines)]
        answer = self.post({"text": _cut("\n".join(filter(None, [*lines, link])), 35_000)})
        if answer.text.strip() not in {"ok", ""}:
            raise ConfigurationError(self.thing, f"answered {_short(answer.text)!r} instead of ok.", "check its url.")


class Webhook(_Web):
    """Any system that takes JSON: title, lines, severity, at (ISO 8601, UTC), link, facts."""

    kind: Literal["webhook"]
    secret: Annotated[str, Field(repr=False)] = ""
    """Key of the signature, where the receiver verifies one: `X-Datong-Signature: sha256=<HMAC of the body, hex>`."""
    headers: dict[str, str] = {}

    def send(self, message: Message) -> None:
        body = {
            "title": message.title,
            "lines": list(message.lines),
            "severity": message.severity,
            "at": message.at.isoformat(),
            "link": message.link,
            "facts": dict(message.facts),
        }
        content = json.dumps(body, ensure_ascii=False).encode()
        headers = {name: self.value(text) for name, text in self.headers.items()}
        if self.secret:
            digest = hmac.new(self.value(self.secret).encode(), content, hashlib.sha256).hexdigest()
            headers["X-Datong-Signature"] = f"sha256={digest}"
        self.post(content, headers=headers)


class Mail(Channel):
    """E-mail by SMTP."""

    kind: Literal["email"]
    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: Annotated[str, Field(repr=False)] = ""
    sender: str
    to: Annotated[list[str], Field(min_length=1)]

    def send(self, message: Message) -> None:
        mail = EmailMessage()
        mail["Subject"] = f"[{message.severity}] {message.title}"
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.to)
        mail["Date"] = format_datetime(message.at)
        mail["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2] or "datong")
        mail.set_content("\n\n".join(filter(None, [*message.lines, message.link])))
        host = self.value(self.host)
        try:
            with self._connected(host) as server:
                if self.user:
                    server.login(self.value(self.user), self.value(self.password))
                refused = server.send_message(mail)
        except smtplib.SMTPAuthenticationError as error:
            raise AuthenticationError(
                self.thing, f"{host} refused the log-in ({error.smtp_code}).", "check its user and password."
            ) from None
        except smtplib.SMTPResponseException as error:
            said = f"{host} did not take the mail: {error.smtp_code} {_short(_text(error.smtp_error))}."
            if 400 <= error.smtp_code < 500:
                raise TransientError(self.thing, said, "it is tried again.") from None
            raise ConfigurationError(self.thing, said, "check its sender and its recipients.") from None
        except smtplib.SMTPRecipientsRefused as error:
            names = ", ".join(error.recipients)
            raise ConfigurationError(self.thing, f"{host} refused {names}.", "check `to`.") from None
        except (smtplib.SMTPException, OSError) as error:
            raise TransientError(
                self.thing, f"{host}:{self.port} cannot be used ({error}).", "check the server; it is tried again."
            ) from None
        if refused:
            raise ConfigurationError(
                self.thing, f"{host} refused {', '.join(refused)}; the others have it.", "check `to`."
            )

    def _connected(self, host: str) -> smtplib.SMTP:
        if self.security == "tls":
            return smtplib.SMTP_SSL(host, self.port, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context())
        server = smtplib.SMTP(host, self.port, timeout=_TIMEOUT_SECONDS)
        if self.security == "starttls":
            server.starttls(context=ssl.create_default_context())
        return server


AnyChannel = Annotated[WeCom | DingTalk | Feishu | Slack | Webhook | Mail, Field(discriminator="kind")]


def deliver(channels: Sequence[Channel], message: Message, on_failure: Callable[[Channel, DatongError], None]) -> int:
    """Send a message on each of the channels; one that fails does not stop the others. How many took it."""
    taken = 0
    for channel in channels:
        try:
            channel.send(message)
            taken += 1
        except DatongError as error:
            on_failure(channel, error)
    return taken


def _link(message: Message) -> str:
    return f"[Datong]({message.link})" if message.link else ""


def _slack(text: str) -> str:
    """A text in which nothing is taken for a mention or a link (Slack, "Formatting text for app surfaces")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8: a longer message is refused whole."""
    content = text.encode()
    return text if len(content) <= limit else content[: limit - 4].decode("utf-8", "ignore") + "…"


def _short(text: str) -> str:
    return " ".join(text.split())[:200]


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
