"""Write-back to SOAP services (Oracle ERP Cloud, Kingdee EAS, Yonyou U8's EAI): an operation for each kind of change.

Log-in, sessions, WS-Security and WSDL are those of `protocols/soap.py`. Records are read back by an operation of their
own. Guards against: a message that is sent twice (a write is one message; only one that a finished session refused
unread goes out again), a fault that leaves open what happened (one of the server's own is unclear unless its words are
known as a refusal, one of the client's is a refusal), a failure told in a good answer, a document type in an answer,
values that would change the structure of a document (everything filled in is escaped).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from xml.sax.saxutils import escape

from datong_platform.errors import ConfigurationError, DatongError, TransientError

from datong_ingestion.connections.soap import SoapOptions
from datong_ingestion.http import UnclearOutcomeError
from datong_ingestion.http_auth import Said, filled
from datong_ingestion.pace import Pace
from datong_ingestion.protocols.soap import FaultError, Soap
from datong_ingestion.systems_config import EntityConfig, SystemConfig
from datong_ingestion.write_back.config import FlowConfig, Operation
from datong_ingestion.write_back.options import SoapOperation, SoapWrites
from datong_ingestion.write_back.payload import Dialect
from datong_ingestion.write_back.pooled import Pooled, found_of
from datong_ingestion.write_back.target import Change, Found, Outcome
from datong_ingestion.write_back.wire import rows_with_keys

_ALONE = re.compile(r"\{payload(?:\.(\w+))?\}\Z")
_PLACE = re.compile(r"\{((?:payload|parameters|found)(?:\.\w+)?|key|idempotency_key|document)\}")
"""The connection's variables, and the session, are filled in later."""
_ACCEPTED, _CONFLICT = 200, 409
_ESCAPED_KEY = "key_in_document"
_QUOTES = {'"': "&quot;", "'": "&apos;"}


class SoapTarget(Pooled):
    """Records of a SOAP service, as a write-back target."""

    dialect: Dialect = "xml"

    def __init__(self, flow: FlowConfig, system: SystemConfig, pace: Pace | None = None) -> None:
        """ConfigurationError when the flow does not say by which operations it writes."""
        thing = f"{flow.target.system} {flow.target.resource} (write-back flow {flow.flow})"
        if flow.target.soap is None:
            raise ConfigurationError(
                f"write-back flow {flow.flow}",
                f"writes to {flow.target.system} by SOAP and does not say by which operations.",
                "give its target `soap`: read, and an operation for each kind of change.",
            )
        self._writes: SoapWrites = flow.target.soap
        self._soap = Soap(system)
        self._soap.http.pace = pace or Pace()
        super().__init__(flow, thing, self._soap.connection.concurrency, self._soap.http.pace)
        self._is_checked = False
        read = self._writes.read
        self._reading = EntityConfig(
            name="target",
            source=read.operation,
            mode="full",
            options=SoapOptions(
                wsdl=read.wsdl,
                service=read.service,
                port=read.port,
                endpoint=read.endpoint,
                rows_path=read.rows_path,
                payload=read.reply,
                payload_path=read.reply_path,
                arguments=_in_documents(read.arguments),
            ),
        )

    @property
    def operations(self) -> frozenset[Operation]:
        """Those that the flow names an operation for."""
        named: dict[Operation, SoapOperation | None] = {
            "create": self._writes.create,
            "update": self._writes.update,
            "delete": self._writes.delete,
            "call": self._writes.call,
        }
        return frozenset(name for name, operation in named.items() if operation)

    def _let_go(self) -> None:
        self._soap.close()

    def lookup(
        self, keys: Sequence[str], sent: Mapping[str, str] | None = None
    ) -> dict[str, list[Found] | DatongError]:
        """See `Target.lookup`; ConfigurationError when the service has no such operation."""
        if not self._is_checked:
            self._soap.checked_path(self._reading)
            self._is_checked = True
        return super().lookup(keys, sent)

    def _rows(self, keys: Sequence[str]) -> Sequence[tuple[str, Found]]:
        [key] = keys
        words = {"key": key, _ESCAPED_KEY: escape(key, _QUOTES), "since": "", "next": "", "filter": ""}
        rows = self._soap.listed(self._reading, words)
        rows_with_keys(self._thing, rows, self._config.lookup, {key})
        return [(key, self._found(row)) for row in rows]

    def _found(self, row: dict[str, Any]) -> Found:
        for name, value in self._flow.payload.items():
            if isinstance(value, list):
                row[name] = _as_list(row.get(name))
        field = self._config.etag_field
        return found_of(self._thing, self._config, row, str(row.get(field)) if field else None)

    def _send(self, change: Change) -> Outcome:  # noqa: PLR0911 one way out per thing that can be known afterwards
        self._pace.take()
        operation = cast("SoapOperation | None", getattr(self._writes, change.operation))
        if operation is None:
            return Outcome("refused", None, f"the flow names no operation to {change.operation} by")
        try:
            value = self._soap.tell(self._telling(operation, change), {"key": change.key, "since": ""})
        except UnclearOutcomeError as error:
            return Outcome("unclear", None, error.reason)
        except FaultError as error:
            return self._judged(error, change)
        except TransientError as error:
            return Outcome("not_sent", None, error.reason, retry_after=error.retry_after)
        except DatongError as error:
            return self._refused(error.reason, change)
        if operation.success_path and value(operation.success_path) not in operation.success_values:
            said = value(operation.message_path) if operation.message_path else value(operation.success_path)
            return self._refused(said or f"{operation.success_path} tells no success", change)
        held = change.found.target_key if change.found else None
        return Outcome("accepted", _ACCEPTED, "", (operation.key_path and value(operation.key_path)) or held)

    def _judged(self, fault: FaultError, change: Change) -> Outcome:
        """A fault of the client's was a refusal; one of the server's own leaves open what it did, unless its words are
        known."""
        texts = [*self._writes.refused_texts, *self._writes.conflict_texts, *self._writes.gone_texts]
        if fault.is_ours or _has(fault.reason, texts):
            return self._refused(fault.reason, change)
        return Outcome("unclear", None, fault.reason)

    def _refused(self, words: str, change: Change) -> Outcome:
        if change.operation == "delete" and _has(words, self._writes.gone_texts):
            held = change.found.target_key if change.found else None
            return Outcome("accepted", _ACCEPTED, f"it was gone already: {words}", held)
        if _has(words, self._writes.conflict_texts):
            return Outcome("conflict", _CONFLICT, words)
        return Outcome("refused", None, words)

    def _telling(self, operation: SoapOperation, change: Change) -> EntityConfig:
        """The call of an operation, with what is said in it."""
        words = {"key": change.key, "idempotency_key": change.idempotency_key}
        values = {"payload": change.payload, "parameters": change.parameters}
        values["found"] = change.found.fields if change.found else {}
        template: str = filled(operation.document, self._soap.connection.variables)
        document = _written(template, values, words) if template else ""
        arguments = _given(operation.arguments, values, {**words, "document": document})
        return EntityConfig(
            name=self._flow.flow,
            source=operation.operation,
            mode="full",
            options=SoapOptions(
                wsdl=operation.wsdl,
                service=operation.service,
                port=operation.port,
                endpoint=operation.endpoint,
                rows_path="",
                payload=operation.reply,
                payload_path=operation.reply_path,
                arguments=arguments,
            ),
        )


def _in_documents(template: Any) -> Any:
    """Arguments in which a key that goes into a document goes there escaped."""
    if isinstance(template, Mapping):
        return {name: _in_documents(inner) for name, inner in cast("Mapping[str, Any]", template).items()}
    if isinstance(template, list):
        return [_in_documents(inner) for inner in cast("list[Any]", template)]
    if isinstance(template, str) and "<" in template:
        return template.replace("{key}", f"{{{_ESCAPED_KEY}}}")
    return template


def _has(words: str, texts: Sequence[str]) -> bool:
    return any(text.lower() in words.lower() for text in texts)


def _as_list(value: Any) -> list[Any]:
    """The items of a list: repeated elements, or those below a single one that only holds them together."""
    if isinstance(value, dict) and len(cast("dict[str, Any]", value)) == 1:
        value = next(iter(cast("dict[str, Any]", value).values()))
    if value in (None, ""):
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _given(template: Any, values: Mapping[str, Mapping[str, Any]], words: Mapping[str, str]) -> Any:
    """An operation's arguments, filled in; what came from data is no template any more."""
    if isinstance(template, Mapping):
        items = cast("Mapping[str, Any]", template).items()
        return {name: _given(inner, values, words) for name, inner in items}
    if isinstance(template, list):
        return [_given(inner, values, words) for inner in cast("list[Any]", template)]
    if not isinstance(template, str):
        return template
    if alone := _ALONE.match(template):
        return _said(values["payload"].get(alone[1]) if alone[1] else dict(values["payload"]))
    return Said(_filled(template, values, words, _text)) if _PLACE.search(template) else template


def _said(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _said(inner) for name, inner in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [_said(inner) for inner in cast("list[Any]", value)]
    return Said(value) if isinstance(value, str) else value


def _written(template: str, values: Mapping[str, Mapping[str, Any]], words: Mapping[str, str]) -> str:
    """A document from its template, with everything that is filled in escaped."""
    return _filled(template, values, words, lambda value: escape(_text(value), _QUOTES))


def _filled(
    template: str,
    values: Mapping[str, Mapping[str, Any]],
    words: Mapping[str, str],
    written: Callable[[Any], str],
) -> str:
    """A template with what stands for words and values; each place is looked at once, so that none is made of data."""

    def place(found: re.Match[str]) -> str:
        group, _, name = found[1].partition(".")
        if group not in values:
            return written(words[found[1]]) if found[1] in words else found[0]
        value = values[group].get(name) if name else values[group]
        return _elements(cast("Any", value), name) if isinstance(value, Mapping | list) else written(value)

    return _PLACE.sub(place, template)


def _elements(value: Any, name: str) -> str:
    """Fields as elements; a list repeats its element."""
    if isinstance(value, list):
        return "".join(_elements(item, name) for item in cast("list[Any]", value))
    if not isinstance(value, Mapping):
        return f"<{name}>{escape(_text(value))}</{name}>"
    inner = "".join(_elements(item, field) for field, item in cast("Mapping[str, Any]", value).items())
    return f"<{name}>{inner}</{name}>" if name else inner


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
