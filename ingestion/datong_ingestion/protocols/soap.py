"""SOAP 1.1 and 1.2 by WSDL, as Oracle ERP Cloud, Kingdee EAS and Yonyou U8 serve it.

Reads: an operation of a service, with the arguments that the definition declares; the rows stand somewhere in its
answer, or in a document that the answer holds as text. Fields and types come from the WSDL, or are declared.
Pages: by number, offset or next cursor, as arguments. Changes: a cursor field and {since} among the arguments.
Log-in: WS-Security UsernameToken, an operation that opens a session, or whatever `http_auth` offers.
Guards against: document types, entities and references to elsewhere in any document; WSDLs that point to another host;
faults, and failures told in a good answer; pages that repeat; a session that ends in the middle; values that misfit.
From XML straight to Arrow columns: zeep writes the requests, and lxml reads the answers. Alone:
`python -m datong_ingestion SYSTEM`.

Sources: SOAP 1.1 (4.4) and 1.2 (5.4) faults, WSDL 1.1, XML Schema part 2, OASIS WS-Security UsernameToken profile 1.1.
"""

from __future__ import annotations

import copy
import importlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import httpx
import pyarrow as pa
from datong_platform.errors import (
    AuthenticationError,
    ConfigurationError,
    DatongError,
    ProtocolError,
    TerminalError,
    TransientError,
)
from datong_platform.lake.columns import UTC_TIMESTAMP, parse_type

from datong_ingestion import cursor
from datong_ingestion.connections.soap import SoapConnection, SoapLogIn, SoapOptions, SoapPaging
from datong_ingestion.http import HttpClient, UnclearOutcomeError, UnreadableBodyError, address, error_text
from datong_ingestion.http_auth import filled
from datong_ingestion.paging import EndGuard
from datong_ingestion.source import Description, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig
from datong_ingestion.values import Rescue, cast_texts, column, converter

if TYPE_CHECKING:
    from lxml.etree import _Element as Element
    from zeep import Client

_MODES: frozenset[Mode] = frozenset({"full", "cursor"})
_ENVELOPES = ("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope")
_JUDGED_HERE = frozenset(range(300, 600)) - {429}
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_BESIDE_DATA = (
    "{http://www.w3.org/2001/XMLSchema-instance}",
    "{http://www.w3.org/XML/1998/namespace}",
    "{urn:schemas-microsoft-com:xml-",
    *(f"{{{space}}}" for space in (*_ENVELOPES, "http://schemas.xmlsoap.org/soap/encoding/")),
)
"""How attributes begin that say something of a row, and are none of its data."""
_NOT_ALLOWED = ("security", "authentication", "authorization", "credential")
"""In a fault's code: WS-Security's own (`wsse:FailedAuthentication`, `wsse:InvalidSecurity` …) and those of vendors."""
_KINDS: dict[str, pa.DataType] = {
    "Boolean": pa.bool_(),
    "Byte": pa.int16(),
    "UnsignedByte": pa.int16(),
    "Short": pa.int16(),
    "UnsignedShort": pa.int32(),
    "Int": pa.int32(),
    "Integer": pa.int64(),
    "Decimal": pa.decimal128(38, 18),
    "Float": pa.float32(),
    "Double": pa.float64(),
    "DateTime": UTC_TIMESTAMP,
    "Date": pa.date32(),
    "Base64Binary": pa.binary(),
}
"""By the names of zeep's classes, the most derived first: xsd:long is an Integer, xsd:int is a Long and an Integer."""


class _SessionOverError(Exception):
    """The system no longer knows the session."""


class FaultError(TerminalError):
    """A fault, which says in its code whose it is (SOAP 1.1, 4.4.1; SOAP 1.2, 5.4.6)."""

    def __init__(self, thing: str, reason: str, next_step: str, *, code: str) -> None:
        super().__init__(thing, reason, next_step)
        self.is_ours = any(word in code.lower() for word in ("client", "sender", "versionmismatch", "mustunderstand"))
        """The message was wrong, so nothing was done; else the fault came up while it was being worked on."""


class FailureError(ProtocolError):
    """A failure told in a good answer."""


@dataclass
class _Answer:
    """What stands in a Body, with what Axis refers to by href."""

    content: Element
    by_id: dict[str, Element]


def _etree() -> Any:
    """lxml, which has no types; imported when it is needed."""
    return importlib.import_module("lxml.etree")


def _parsed(body: bytes, what: str) -> Element:
    """A document, without document type, entities or references. UnreadableBodyError when it is no XML."""
    etree = _etree()

    refused = ProtocolError(what, "answered with a document type or entities, which is refused.", "ask its maker.")
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise refused
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise UnreadableBodyError(f"it is not XML ({error.msg})") from error
    if root.getroottree().docinfo.doctype:
        # in UTF-16 or EBCDIC the search above does not see one
        raise refused
    return root


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


class _Transport:
    """What zeep sends and loads with: our client, to the system's own host only."""

    def __init__(self, soap: Soap) -> None:
        self._soap = soap

    def load(self, url: str) -> bytes:
        """A WSDL or a schema that it includes."""
        http, thing = self._soap.http, self._soap.asked_for
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"}:
            folder = self._soap.wsdl_folder
            path = Path(unquote(parts.path) if parts.scheme == "file" else url)
            if folder is None or folder not in path.resolve().parents:
                raise ProtocolError(thing, f"its WSDL refers to {url}, which is refused.", "ask its maker.")
            return path.read_bytes()
        return http.request(
            "GET", http.url(url), thing=thing, headers={"Accept": "text/xml, application/wsdl+xml"}
        ).content

    def post_xml(self, place: str, envelope: Element, headers: Mapping[str, str]) -> httpx.Response:
        """Send a message; a fault is an answer like any other."""
        return self._soap.send(place, envelope, headers)

    def close(self) -> None:
        """Nothing of its own to close."""


class Soap:
    """A connected SOAP service."""

    def __init__(self, system: SystemConfig) -> None:
        """Looks up address and credentials; ConfigurationError when one is not set, or the driver is missing."""
        try:
            _etree()
            importlib.import_module("zeep")
        except ImportError as error:
            raise ConfigurationError(
                f"system {system.system}", "needs zeep and lxml to speak SOAP.", "run `uv sync --extra soap`."
            ) from error
        declared = system.connection
        if not isinstance(declared, SoapConnection):
            raise ConfigurationError(f"system {system.system}", "has no SOAP connection.")
        self.definition, self.system = system, system.system
        self.connection = declared.resolved(f"system {system.system}")
        self.http = HttpClient.of(f"system {system.system}", self.connection, declared)
        self.wsdl_folder: Path | None = None
        self._asking = threading.local()
        self._clients: dict[str, Client] = {}
        self._lock = threading.RLock()
        self._session: str | None = None
        self._session_until = 0.0

    @property
    def asked_for(self) -> str:
        """What this thread is asking for, in the words of messages."""
        return getattr(self._asking, "thing", self.http.thing)

    def listed(self, entity: EntityConfig, words: Mapping[str, str]) -> list[dict[str, Any]]:
        """The rows of one answer as they stand there, texts and nested texts by name; attributes as `@name`."""
        self._asking.thing = self._thing(entity)
        answer = self._asked(entity, words)
        return [
            {f"@{name}": text for name, text in element.attrib.items()} | _fields_of(element, answer)
            for element in _walked(answer, self._options(entity).rows_path)
        ]

    def checked_path(self, entity: EntityConfig) -> None:
        """ConfigurationError when the WSDL knows no such `rows_path` in the answer: every answer would look empty."""
        if self._options(entity).payload == "xml_in_text":
            return
        thing = self._asking.thing = self._thing(entity)
        port = self._port(self._client(self._wsdl(entity)), entity.source, thing, self._options(entity))
        found: Any = port.binding.get(entity.source).output.body
        for name in self._options(entity).rows_path.split("."):
            inner = dict(getattr(found.type, "elements", []))
            if not inner:
                return  # any content at all may stand here
            if name not in inner:
                raise ConfigurationError(
                    thing,
                    f"has no {name} in its answer.",
                    f"mend rows_path; there stands {', '.join(inner)}.",
                )
            found = inner[name]

    def tell(self, entity: EntityConfig, words: Mapping[str, str]) -> Callable[[str], str]:
        """Call an operation that changes something, once. Gives what reads a value of its answer by path.

        UnclearOutcomeError when it may or may not have been carried out; FaultError and FailureError when the system
        said no; TransientError when it was not reached.
        """
        self._asking.thing = self._thing(entity)
        self._asking.writing = True
        try:
            answer = self._asked(entity, words)
        finally:
            self._asking.writing = False
        return lambda path: _value(answer, path)

    @property
    def _is_writing(self) -> bool:
        return getattr(self._asking, "writing", False)

    def close(self) -> None:
        """Log out where there is a session to end, and close its connections."""
        declared = self.connection.log_in
        if declared and declared.log_out and self._session:
            words = {**self._who(), "session": self._session}
            try:
                wsdl = declared.wsdl or self.connection.wsdl
                self._call(wsdl, declared.log_out, declared.log_out_arguments, words, thing=self.http.thing)
            except (DatongError, _SessionOverError):
                # it ends by itself some time later
                pass
        self.http.close()

    def entities(self) -> list[str]:
        """The operations of the services that the definition names."""
        found: dict[str, None] = {}
        for wsdl in dict.fromkeys(self._wsdl(entity) for entity in self.definition.entities):
            for service in self._client(wsdl).wsdl.services.values():
                for port in service.ports.values():
                    found |= dict.fromkeys(port.binding.all())
        return list(found)

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """Fields and types from the WSDL, else as declared, else those of the bronze table."""
        thing = self._asking.thing = self._thing(entity)
        fields = {} if self._options(entity).payload == "xml_in_text" else self._fields(entity)
        if entity.select:
            fields = {
                name: kind for name, kind in fields.items() if name in {*entity.select, *entity.keys, entity.cursor}
            }
        fields |= {name: parse_type(kind) for name, kind in entity.fields.items()}
        if not fields and known is not None:
            fields = {item.name: item.type for item in known}
        if not fields:
            raise ConfigurationError(
                thing,
                f"does not tell the fields of {self._options(entity).rows_path} in its WSDL.",
                "declare them under `fields` in its defs.yaml, or mend rows_path.",
            )
        return Description(
            schema=pa.schema(list(fields.items())),
            keys=tuple(entity.keys),
            cursors=tuple(name for name, kind in fields.items() if pa.types.is_temporal(kind)),
            modes=_MODES,
        )

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        """Pages from a cursor on, or everything."""
        thing = self._asking.thing = self._thing(entity)
        options = self._options(entity)
        paging = options.paging or self.connection.paging
        guard = EndGuard(thing, by_content=bool(description.keys))
        since = self._since(entity, description, position)
        # what `select` leaves out is no surprise
        known = frozenset(self._fields(entity)) if entity.select else frozenset[str]()
        latest, received, number, following = position, 0, paging.first_page, ""
        while True:
            guard.link(following or "the first page")
            words = {
                "since": since,
                "page": str(number),
                "offset": str(received),
                "limit": str(paging.limit),
                "next": following,
                "filter": entity.filter,
            }
            answer = self._asked(entity, words)
            elements = _walked(answer, options.rows_path)
            rows, rescued, unexpected = _table(elements, answer, description.schema, known)
            guard.rows(rows)
            received, number = received + len(rows), number + 1
            if entity.mode == "cursor":
                latest = cursor.later(latest, rows.column(entity.cursor))
            yield Page(
                rows, rescued=rescued, unexpected=unexpected, position=latest if entity.mode == "cursor" else None
            )
            following, total = _next(paging, answer, len(rows), received, number)
            if not following:
                break
        if total is not None and received < total:
            raise ProtocolError(
                thing,
                f"gave {received} of the {total} rows that it counts.",
                "run again; if it persists, its paging loses rows: use another style or a smaller limit.",
            )

    def _asked(self, entity: EntityConfig, words: Mapping[str, str]) -> _Answer:
        """One page; with a session where the definition has a log-in, renewed once."""
        for attempt in (1, 2):
            session = self._log_in(self.connection.log_in) if self.connection.log_in else ""
            try:
                return self._page(entity, words, session)
            except _SessionOverError:
                if attempt == 2:
                    break
                with self._lock:
                    if self._session == session:
                        self._session = None
        raise AuthenticationError(
            self._thing(entity),
            "refuses a session that it just opened.",
            f"check the rights of {self.http.credentials}.",
        )

    def _page(self, entity: EntityConfig, words: Mapping[str, str], session: str) -> _Answer:
        options, thing = self._options(entity), self._thing(entity)
        operation = entity.source
        known = {**self.connection.variables, **words, "session": session}
        arguments = options.arguments
        if words["since"]:
            arguments = _merged(arguments, options.since_arguments)
        answer = self._call(self._wsdl(entity), operation, arguments, known, thing=thing, options=options)
        if options.payload == "xml_in_text":
            holder = _walked(answer, options.payload_path) if options.payload_path else list(answer.content)
            text = (holder[0].text or "") if holder else ""
            try:
                answer = _Answer(_parsed(text.strip().encode(), thing), {})
            except UnreadableBodyError as error:
                if self._is_writing:
                    raise UnclearOutcomeError(
                        thing, f"has no document in the text of its answer: {error}.", "read the target back."
                    ) from error
                raise ProtocolError(
                    thing,
                    f"has no document in the text of its answer: {error}.",
                    "check payload_path in its defs.yaml.",
                ) from error
        connection = self.connection
        if connection.success_path:
            found = _value(answer, connection.success_path)
            if found not in connection.success_values:
                said = _value(answer, connection.message_path) if connection.message_path else found
                self._check_session(str(said))
                raise FailureError(
                    thing,
                    f"answered with a failure: {self.http.redact(str(said))[:300]}.",
                    "see the reason given by the system.",
                )
        return answer

    def _log_in(self, declared: SoapLogIn) -> str:
        # whatever it is opened for, a log-in changes nothing and may be tried again
        writing, self._asking.writing = self._is_writing, False
        try:
            return self._opened(declared)
        finally:
            self._asking.writing = writing

    def _opened(self, declared: SoapLogIn) -> str:
        with self._lock:
            if self._session is None or time.monotonic() >= self._session_until:
                answer = self._call(
                    declared.wsdl or self.connection.wsdl,
                    declared.operation,
                    declared.arguments,
                    self._who(),
                    thing=f"{self.http.thing} ({declared.operation})",
                )
                session = _value(answer, declared.session_path)
                success = _value(answer, declared.success_path) if declared.success_path else None
                if not session or (declared.success_path and success not in declared.success_values):
                    raise AuthenticationError(
                        self.http.thing,
                        f"{declared.operation} opened no session.",
                        f"check {self.http.credentials}.",
                    )
                self.http.learn(session)
                self._session = session
                self._session_until = time.monotonic() + (declared.expires_seconds or float("inf"))
            return self._session

    def _who(self) -> dict[str, str]:
        connection = self.connection
        return {"user": connection.user or "", "password": connection.password or "", **connection.variables}

    def _call(
        self,
        wsdl: str,
        operation: str,
        arguments: Mapping[str, Any],
        words: Mapping[str, str],
        *,
        thing: str,
        options: SoapOptions | None = None,
    ) -> _Answer:
        etree = _etree()
        from zeep.exceptions import Error as ZeepError

        client = self._client(wsdl)
        port = self._port(client, operation, thing, options)
        place = port.binding_options["address"]
        if options and options.endpoint:
            place = self.http.below(options.endpoint)
        given: dict[str, Any] = filled(dict(arguments), words)
        given = _with_nil(given) if self._is_writing else _without_nothing(given)
        declared = self.connection.log_in
        if declared and declared.header and words.get("session"):
            header = etree.Element(f"{{{declared.header_namespace}}}{declared.header}")
            header.text = words["session"]
            given["_soapheaders"] = [header]
        service = client.create_service(port.binding.name, self.http.url(place))
        try:
            response: httpx.Response = service[operation](**given)
        except (ZeepError, TypeError, ValueError) as error:
            raise ConfigurationError(
                thing,
                f"cannot be asked with these arguments: {self.http.redact(str(error))[:300]}.",
                f"check `arguments`; the operation takes {port.binding.get(operation).input.signature()}.",
            ) from error
        return self._answer(response.content, thing)

    def send(self, place: str, envelope: Element, headers: Mapping[str, str]) -> httpx.Response:
        """Send a message, and read its answer within the attempt, so that what passes is tried again."""
        etree = _etree()

        def message() -> bytes:
            # a nonce and a time serve once
            return etree.tostring(self._secured(copy.deepcopy(envelope)), xml_declaration=True, encoding="utf-8")

        if self._is_writing:
            return self._sent_once(place, message(), headers)

        def check(response: httpx.Response) -> httpx.Response:
            if response.status_code == 500 and b"Envelope" not in response.content:
                raise TransientError(
                    self.asked_for, f"{address(place)} answered 500 without a fault.", "see the system's log."
                )
            root = _parsed(response.content, self.asked_for)
            if _local(root) != "Envelope":
                raise UnreadableBodyError(f"it is a <{_local(root)}>, not a SOAP envelope")
            fault = next((item for item in root.iter() if _local(item) == "Fault"), None)
            words = " ".join(text for text in fault.itertext() if text.strip()) if fault is not None else ""
            if any(text in words for text in self.connection.passing_texts):
                raise TransientError(self.asked_for, f"faulted: {self.http.redact(words)[:300]}.", "run again later.")
            return response

        return self.http.fetch(
            check,
            "POST",
            place,
            thing=self.asked_for,
            headers={"Content-Type": "text/xml; charset=utf-8", **headers},
            content=message,
            repeatable=True,
            accept=(400, 500),
        )

    def _sent_once(self, place: str, content: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Send a message that changes something; what leaves open whether it did is an UnclearOutcomeError."""
        where, next_step = address(place), "read the target back before sending again."
        try:
            response = self.http.request(
                "POST",
                place,
                thing=self.asked_for,
                headers={"Content-Type": "text/xml; charset=utf-8", **headers},
                content=content,
                repeatable=False,
                accept=_JUDGED_HERE,
            )
        except ProtocolError as error:
            raise UnclearOutcomeError(error.thing, error.reason, next_step) from error
        said = self.http.redact(error_text(response))
        if response.status_code in {401, 403}:
            raise AuthenticationError(
                self.asked_for, f"{where} refused us ({response.status_code}{said}).", f"check {self.http.credentials}."
            )
        try:
            root = _parsed(response.content, self.asked_for)
        except (UnreadableBodyError, ProtocolError) as error:
            root, said = None, f": {error}"
        if root is None or _local(root) != "Envelope":
            if 400 <= response.status_code < 500 and response.status_code != 408:
                raise FailureError(self.asked_for, f"{where} answered {response.status_code}{said}.", "see its log.")
            raise UnclearOutcomeError(
                self.asked_for, f"{where} answered {response.status_code} without an envelope{said}.", next_step
            )
        return response

    def _secured(self, envelope: Element) -> Element:
        declared = self.connection.ws_security
        if declared is None:
            return envelope
        from datetime import UTC, datetime

        from zeep.wsse import utils
        from zeep.wsse.username import UsernameToken

        stamp: Any = None
        if declared.timestamp_seconds:
            stamp = utils.WSU.Timestamp()
            now = datetime.now(UTC)
            stamp.append(utils.WSU.Created(now.strftime("%Y-%m-%dT%H:%M:%SZ")))
            until = now + timedelta(seconds=declared.timestamp_seconds)
            stamp.append(utils.WSU.Expires(until.strftime("%Y-%m-%dT%H:%M:%SZ")))
        token = UsernameToken(
            self.connection.user,
            self.connection.password,
            use_digest=declared.kind == "digest",
            timestamp_token=stamp,
        )
        return token.apply(envelope, {})[0]

    def _answer(self, content: bytes, thing: str) -> _Answer:
        root = _parsed(content, thing)
        body = next((item for item in root if item.tag in {f"{{{space}}}Body" for space in _ENVELOPES}), None)
        if body is None or not len(body):
            if self._is_writing:
                raise UnclearOutcomeError(thing, "answered with an empty Body.", "read the target back.")
            raise ProtocolError(thing, "answered with an empty Body.", "see the system's log.")
        first = body[0]
        if _local(first) == "Fault":
            raise self._fault(first, thing)
        return _Answer(first, {item.get("id", ""): item for item in body if item.get("id")})

    def _fault(self, fault: Element, thing: str) -> Exception:
        parts: dict[str, list[str]] = {"code": [], "reason": [], "detail": []}
        names = {"faultcode": "code", "Code": "code", "faultstring": "reason", "Reason": "reason", "detail": "detail"}
        for child in fault:
            if what := names.get(_local(child), names.get(_local(child).lower())):
                parts[what] += [text.strip() for text in child.itertext() if text.strip()]
        said = self.http.redact(f"{' '.join(parts['code'])}: {' '.join(parts['reason'] + parts['detail'])}")[:400]
        try:
            self._check_session(said)
        except _SessionOverError as error:
            return error
        # WS-Security's codes (12, table 1) stand in the reason where a server has only codes of SOAP's own
        first = " ".join(parts["reason"]).partition(" ")[0]
        code = f"{' '.join(parts['code'])} {first if first.endswith(':') else ''}".lower()
        if any(word in code for word in _NOT_ALLOWED):
            return AuthenticationError(
                thing, f"refused who we are or what we may do ({said}).", f"check {self.http.credentials}."
            )
        return FaultError(
            thing, f"faulted ({said}).", "see the reason given by the system.", code=" ".join(parts["code"])
        )

    def _check_session(self, said: str) -> None:
        declared = self.connection.log_in
        if declared and any(text in said for text in declared.expired_texts):
            raise _SessionOverError

    def _client(self, wsdl: str) -> Client:
        etree = _etree()
        from zeep import Client, Settings
        from zeep.exceptions import Error as ZeepError

        with self._lock:
            if wsdl not in self._clients:
                path = Path(wsdl) if wsdl and "://" not in wsdl else None
                place = self.http.url(wsdl, self.http.base_url.rstrip("/") + "/")
                if path is not None and path.is_file():
                    self.wsdl_folder, place = path.resolve().parent, str(path.resolve())
                # imports are needed, as schemas stand beside a WSDL; the transport loads none from elsewhere
                make: Any = Settings
                settings = make(
                    raw_response=True, forbid_dtd=True, forbid_entities=True, forbid_external=False, xml_huge_tree=False
                )
                try:
                    self._clients[wsdl] = Client(place, transport=_Transport(self), settings=settings)
                except DatongError:
                    raise
                except (ZeepError, etree.LxmlError, ValueError, KeyError, AttributeError) as error:
                    raise ProtocolError(
                        self.asked_for,
                        f"the WSDL at {address(place)} cannot be used: {type(error).__name__} {str(error)[:200]}.",
                        "open that address and check that it is a WSDL 1.1.",
                    ) from error
            return self._clients[wsdl]

    def _port(self, client: Client, operation: str, thing: str, options: SoapOptions | None) -> Any:
        offered: list[str] = []
        for service in client.wsdl.services.values():
            for port in service.ports.values():
                wanted = options is None or (options.service in {"", service.name} and options.port in {"", port.name})
                names = list(port.binding.all()) if hasattr(port.binding, "all") else []
                if wanted and operation in names and hasattr(port.binding, "nsmap"):
                    return port
                offered += names
        raise ConfigurationError(
            thing,
            f"its WSDL has no operation {operation}.",
            f"choose from {', '.join(dict.fromkeys(offered)) or 'none: it has no SOAP port'}.",
        )

    def _fields(self, entity: EntityConfig) -> dict[str, pa.DataType]:
        """The simple fields of the rows, as the WSDL describes the answer; empty when the path leads nowhere."""
        client = self._client(self._wsdl(entity))
        port = self._port(client, entity.source, self._thing(entity), self._options(entity))
        found: Any = port.binding.get(entity.source).output.body
        for name in self._options(entity).rows_path.split("."):
            inner = dict(getattr(found.type, "elements", []))
            if name not in inner:
                return {}
            found = inner[name]
        return {name: _kind(element.type) for name, element in getattr(found.type, "elements", [])}

    def _since(self, entity: EntityConfig, description: Description, position: str | None) -> str:
        if entity.mode != "cursor" or position is None:
            return ""
        bound = cursor.start(position, description.schema.field(entity.cursor).type, entity.overlap_seconds)
        if not isinstance(bound, date):
            return str(bound)
        form = self.connection.since_format
        return bound.isoformat() if form == "iso" else bound.strftime(form)

    def _options(self, entity: EntityConfig) -> SoapOptions:
        if not isinstance(entity.options, SoapOptions):
            raise ConfigurationError(self._thing(entity), "has no options.", "give it rows_path and arguments.")
        return entity.options

    def _wsdl(self, entity: EntityConfig) -> str:
        return self._options(entity).wsdl or self.connection.wsdl

    def _thing(self, entity: EntityConfig) -> str:
        return f"{self.system}.{entity.name} ({entity.address})"


def _kind(declared: Any) -> pa.DataType:
    if getattr(declared, "elements", None) or getattr(declared, "accepts_multiple", False):
        return pa.string()
    return next((_KINDS[kind.__name__] for kind in type(declared).__mro__ if kind.__name__ in _KINDS), pa.string())


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for name, value in other.items():
        below = found.get(name)
        found[name] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return found


def _without_nothing(value: Any) -> Any:
    """Arguments without those that were left with nothing, as {since} at the first read."""
    if isinstance(value, dict):
        kept = {name: _without_nothing(inner) for name, inner in value.items()}
        return {name: inner for name, inner in kept.items() if inner not in ("", None, {}, [])}
    if isinstance(value, list):
        return [inner for item in value if (inner := _without_nothing(item)) not in ("", None, {}, [])]
    return value


def _with_nil(value: Any) -> Any:
    """Arguments in which an explicit null goes out as xsi:nil; zeep would leave it out."""
    if isinstance(value, dict):
        return {name: _with_nil(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_nil(inner) for inner in value]
    if value is None:
        return importlib.import_module("zeep.xsd").Nil
    return value


def _walked(answer: _Answer, path: str) -> list[Element]:
    """The elements at a path of local names below an answer."""
    found = [answer.content]
    for name in filter(None, path.split(".")):
        found = [
            answer.by_id.get(child.get("href", "")[1:], child)
            for item in found
            for child in item
            if _local(child) == name
        ]
    return found


def _value(answer: _Answer, path: str) -> str:
    """The first text at a path; `@name` at its end is an attribute."""
    before, _, attribute = path.rpartition("@")
    if attribute and "@" in path:
        elements = _walked(answer, before.rstrip("."))
        return next((item.get(attribute) or "" for item in elements), "")
    return next(((item.text or "").strip() for item in _walked(answer, path)), "")


def _next(paging: SoapPaging, answer: _Answer, rows: int, received: int, number: int) -> tuple[str, int | None]:
    """What leads to the next page, or nothing at the end; and how many rows the system counts."""
    total = None
    if paging.total_path:
        text = _value(answer, paging.total_path)
        if not text.isdigit():
            raise ProtocolError("SOAP paging", f"the row count at {paging.total_path} is {text!r}.", "mend total_path.")
        total = int(text)
    if paging.style == "none":
        return "", total
    if paging.style == "next_cursor":
        return _value(answer, paging.next_path), total
    more = rows > 0 and (total is None or received < total)
    if paging.more_path:
        more = _value(answer, paging.more_path).lower() in {"true", "1", "y"}
    return (f"page {number} from row {received}" if more else ""), total


def _table(  # noqa: PLR0912 one pass, the hot one
    elements: list[Element], answer: _Answer, schema: pa.Schema, ignored: frozenset[str]
) -> tuple[pa.Table, pa.Array | None, frozenset[str]]:
    """Rows as columns: texts first, then each column cast as one; what does not fit is rescued."""
    places = {name: index for index, name in enumerate(schema.names)}
    texts: list[list[str | None]] = [[None] * len(elements) for _ in places]
    rescue = Rescue()
    unexpected: set[str] = set()
    for row, element in enumerate(elements):
        seen: set[str] = set()
        several: dict[str, list[str | None]] = {}
        for name, value in element.attrib.items():
            if (place := places.get(str(name))) is not None:
                texts[place][row] = str(value)
            elif not _is_of_the_envelope(str(name)):
                unexpected.add(f"@{_local_name(str(name))}")
                rescue.add(row, f"@{_local_name(str(name))}", str(value))
        for text in (element.text, *[child.tail for child in element]):
            if text and not text.isspace():
                rescue.add_beside(row, "#text", text.strip())
        for child in element:
            name = _local(child)
            target = answer.by_id.get(child.get("href", "")[1:], child) if child.get("href") else child
            if target.get(_NIL) in {"true", "1"}:
                seen.add(name)
                continue
            value = json.dumps(_nested(target, whole=True), ensure_ascii=False) if len(target) else target.text or ""
            for key, said in target.attrib.items():
                if name not in ignored and not _is_of_the_envelope(str(key)):
                    unexpected.add(f"{name}/@{_local_name(str(key))}")
                    rescue.add_beside(row, f"{name}/@{_local_name(str(key))}", str(said))
            place = places.get(name)
            if place is None and name in ignored:
                continue
            if place is None:
                unexpected.add(name)
                rescue.add_beside(row, name, value)
            elif name in several:
                several[name].append(value)
                rescue.add(row, name, several[name])
            elif name in seen:
                # a field that is there more than once is kept as what it is, a list; none of its values counts
                several[name] = [texts[place][row], value]
                rescue.add(row, name, several[name])
                texts[place][row] = None
            else:
                seen.add(name)
                texts[place][row] = value
    columns = [_column(item, values, rescue) for item, values in zip(schema, texts, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema), rescue.column(len(elements)), frozenset(unexpected)


def _local_name(name: str) -> str:
    return name.rpartition("}")[2]


def _is_of_the_envelope(name: str) -> bool:
    """Whether an attribute is none of a row's data: what XML Schema, SOAP and diffgrams write beside it."""
    return name in {"id", "href"} or name.startswith(_BESIDE_DATA)


def _column(item: pa.Field, values: list[str | None], rescue: Rescue) -> pa.Array:
    if pa.types.is_string(item.type):
        return pa.array(values, pa.string())
    if pa.types.is_boolean(item.type):
        words = {"1": "true", "0": "false"}
        values = [None if value is None else words.get(value.strip(), value.strip()) for value in values]
    # an empty element has no number and no time in it
    values = [value if value is None or value.strip() else None for value in values]
    if pa.types.is_decimal(item.type) or pa.types.is_floating(item.type) or pa.types.is_timestamp(item.type):
        try:
            return cast_texts(pa.array(values, pa.string()), item.type)
        except pa.ArrowException:
            pass
    convert: Callable[[Any], Any] = converter(item.type)
    return column(item.name, item.type, list(values), convert, rescue)


def _fields_of(element: Element, answer: _Answer) -> dict[str, Any]:
    """The fields of a row, those that Axis refers to by href included; what is nil is None."""
    found: dict[str, Any] = {}
    for child in element:
        target = answer.by_id.get(child.get("href", "")[1:], child) if child.get("href") else child
        name = _local(child)
        value = None if target.get(_NIL) in {"true", "1"} else _nested(target)
        if name in found:
            before = found[name]
            found[name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            found[name] = value
    return found


def _nested(element: Element, *, whole: bool = False) -> Any:
    """An element as JSON: its text, or its children; `whole` with attributes (`@name`) and an own text (`#text`)."""
    attributes = {
        f"@{_local_name(str(name))}": str(value)
        for name, value in element.attrib.items()
        if whole and not _is_of_the_envelope(str(name))
    }
    if not len(element):
        return {**attributes, "#text": element.text or ""} if attributes else element.text or ""
    found: dict[str, Any] = attributes
    for child in element:
        name = _local(child)
        value = _nested(child, whole=whole)
        found[name] = (
            [*found[name], value]
            if isinstance(found.get(name), list)
            else [found[name], value]
            if name in found
            else value
        )
    return found
