"""Write-back by EDI: X12 855, 856 and EDIFACT ORDRSP, DESADV (or any message) out, verified by the 997 or CONTRL in.

A change is an interchange of its own: its control number is one more than the last one to this partner, kept in
PostgreSQL by the change's idempotency key. So a change that is sent again after a crash is the very same interchange,
which a partner takes once. Guards against: a control number that is used twice, a separator in a value (X12 cannot
write it, so it is a refusal; in EDIFACT it is released), an interchange that takes another's place, a late
acknowledgement (awaited, and nothing is sent again), one that rejects (told in the partner's own codes).

Sources: ASC X12.5 (ISA, GS), X12 004010 transaction set 997; ISO 9735 (UNB, UNH), UN/EDIFACT CONTRL.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from datong_platform.errors import ConfigurationError, DatongError, ServiceError
from datong_platform.settings import settings

from datong_ingestion.connections.edi import EdiConnection
from datong_ingestion.connections.files import MIB
from datong_ingestion.documents import places
from datong_ingestion.documents.edi.messages import GROUPS
from datong_ingestion.documents.edi.reading import Interchanges, Message
from datong_ingestion.documents.edi.syntax import Segments
from datong_ingestion.documents.refusals import RefusedError
from datong_ingestion.pace import Pace
from datong_ingestion.write_back.config import FlowConfig, Operation
from datong_ingestion.write_back.options import EdiEach, EdiWrites
from datong_ingestion.write_back.payload import Confirmed, Dialect
from datong_ingestion.write_back.target import AwaitedError, Change, Found, Outcome, RefusedLaterError

if TYPE_CHECKING:
    from psycopg import Connection

_ACCEPTED, _CONFLICT = 200, 409
_CHARACTERS = {"UNOA": "ascii", "UNOB": "ascii", "UNOC": "iso-8859-1", "UNOY": "utf-8"}
_PLACE = re.compile(r"\{(count:)?(\w+)(?::([^{}]+))?\}")
_TABLE = """
create schema if not exists ops;
create table if not exists ops.edi_interchange (
    partner text not null,
    number bigint not null,
    idempotency_key text not null,
    prepared_at timestamptz not null default now(),
    written_at timestamptz,
    answer text,
    words text,
    primary key (partner, number),
    unique (partner, idempotency_key)
);
comment on table ops.edi_interchange is
    'Control numbers of the EDI interchanges that were sent, and how they were acknowledged';
"""


@dataclass(frozen=True)
class _Sent:
    """What is known of an interchange."""

    number: int
    prepared_at: datetime
    is_written: bool
    answer: str
    """`accepted`, `rejected`, or nothing yet."""
    words: str


class EdiTarget:
    """A partner, as a write-back target. `resource` is the outbox, a folder below the location."""

    can_be_asked = False
    dialect: Dialect = "xml"
    operations: frozenset[Operation] = frozenset({"create", "update"})

    def __init__(self, flow: FlowConfig, declared: EdiConnection, pace: Pace | None = None) -> None:
        """ConfigurationError when the flow does not say what its messages are made of."""
        self._flow, self._pace = flow, pace or Pace()
        self._thing = f"{flow.target.system} {flow.target.resource} (write-back flow {flow.flow})"
        if flow.target.edi is None:
            raise ConfigurationError(
                f"write-back flow {flow.flow}",
                f"writes to {flow.target.system} by EDI and does not say which message.",
                "give its target `edi`: message, sender, receiver and segments.",
            )
        self._writes: EdiWrites = flow.target.edi
        if self._writes.is_x12 and not (self._writes.group or self._writes.message in GROUPS):
            raise ConfigurationError(
                f"write-back flow {flow.flow}",
                f"sends {self._writes.message}, whose functional group is not known.",
                "name it under target.edi.group (GS01).",
            )
        self._connection = declared.resolved(f"write-back flow {flow.flow}")
        self._place = places.place(self._connection, self._thing)
        self._folder = flow.target.resource.strip("/.")
        parties = (self._writes.sender, self._writes.receiver)
        self._partner = "|".join(["x12" if self._writes.is_x12 else "edifact", *(party.id for party in parties)])
        self._database: Connection | None = None
        self._read: set[str] = set()
        """Files of acknowledgements that were read, by name and time."""

    def close(self) -> None:
        """Let go of connections."""
        self._place.close()
        if self._database is not None:
            self._database.close()

    def recorded(self, keys: Sequence[str]) -> None:
        """Nothing to forget: control numbers are kept for ever."""

    # ---- what became of it

    def lookup(
        self, keys: Sequence[str], sent: Mapping[str, str] | None = None
    ) -> dict[str, list[Found] | DatongError]:
        known = sent or {}
        interchanges = self._interchanges(list(known.values())) if known else {}
        waiting = [item for item in interchanges.values() if item.is_written and not item.answer]
        if waiting and self._writes.acknowledgements:
            self._take_answers(min(item.prepared_at for item in waiting))
            interchanges = self._interchanges(list(known.values()))
        return {key: self._state(interchanges.get(known.get(key, ""))) for key in keys}

    def _state(self, item: _Sent | None) -> list[Found] | DatongError:
        if item is None or not item.is_written:
            # never given to the partner, or given in the very moment of a crash: the same interchange may go again
            return []
        name = f"{item.number:09d}"
        if item.answer == "rejected":
            return RefusedLaterError(
                self._thing,
                f"the partner rejected interchange {name}: {item.words}.",
                "mend the data, or ask the partner.",
            )
        if item.answer or not self._writes.acknowledgements:
            return [Found(Confirmed(), None, name, (name,))]
        return AwaitedError(
            self._thing,
            f"interchange {name} of {item.prepared_at:%Y-%m-%d %H:%M} UTC is not acknowledged yet.",
            f"run again when the partner's answer is in {self._writes.acknowledgements}.",
        )

    def _take_answers(self, since: datetime) -> None:
        """Read the acknowledgements that came since; those that concern our interchanges are kept."""
        edge = (since - timedelta(days=1)).timestamp()
        for found in self._place.list(self._writes.acknowledgements, self._thing):
            stamp = f"{found.name} {found.stamp}"
            if found.modified < edge or stamp in self._read:
                continue
            body = self._place.read(found.name, self._thing)
            if body is None:
                continue
            for number, answer, words in self._answers(body, found.name):
                self._run(
                    "update ops.edi_interchange set answer = %s, words = %s where partner = %s and number = %s "
                    "and written_at is not null and coalesce(answer, '') <> 'rejected'",
                    [answer, f"{words} ({found.name})"[:1000], self._partner, number],
                )
            self._read.add(stamp)

    def _answers(self, body: bytes, name: str) -> Iterator[tuple[int, str, str]]:
        """Our control number, `accepted` or `rejected`, and why, for each of our interchanges that a file speaks of."""
        limit = int(self._connection.limits.record_mib * MIB)
        try:
            events = list(Interchanges(lambda _: False, limit).read(Segments(io.BytesIO(body), "utf-8", limit)))
        except RefusedError as error:
            raise ConfigurationError(
                self._thing,
                f"{name} is among the acknowledgements and cannot be read: {error}.",
                "ask the partner to send it again, and take the broken file away.",
            ) from error
        for event in events:
            if not isinstance(event, Message):
                continue
            if (event.envelope.sender, event.envelope.receiver) != (self._writes.receiver.id, self._writes.sender.id):
                continue
            if self._writes.is_x12 and event.envelope.kind == "997":
                yield from _said_by_997(event.segments)
            elif not self._writes.is_x12 and event.envelope.kind == "CONTRL":
                yield from _said_by_contrl(event.segments)

    # ---- sending

    def send(self, changes: Sequence[Change], on_reply: Callable[[Change, Outcome], None]) -> dict[str, Outcome]:
        told: dict[str, Outcome] = {}
        for change in changes:
            self._pace.take()
            told[change.key] = self._send(change)
            on_reply(change, told[change.key])
        return told

    def _send(self, change: Change) -> Outcome:
        try:
            body = list(self._body(change.payload))
        except ValueError as error:
            return Outcome("refused", None, str(error))
        try:
            item = self._numbered(change.idempotency_key)
        except DatongError as error:
            return Outcome("not_sent", None, error.reason)
        try:
            made = self._x12(item, body) if self._writes.is_x12 else self._edifact(item, body)
        except UnicodeEncodeError as error:
            return Outcome("refused", None, f"{self._writes.characters} cannot carry {error.object[error.start]!r}")
        receiver = re.sub(r"[^A-Za-z0-9]+", "_", self._writes.receiver.id)
        file = f"{self._writes.message}_{receiver}_{item.number:09d}.edi"
        name = "/".join(filter(None, [self._folder, file]))
        key = f"{item.number:09d}"
        try:
            if not self._place.put_new(name, made, self._thing) and self._place.read(name, self._thing) not in {
                made,
                None,
            }:
                return Outcome("conflict", _CONFLICT, f"another file is called {name}", key)
            self._run(
                "update ops.edi_interchange set written_at = now() where partner = %s and number = %s",
                [self._partner, item.number],
            )
        except DatongError as error:
            return Outcome("unclear", None, error.reason, key)
        return Outcome("accepted", _ACCEPTED, "", key)

    def _body(self, payload: Mapping[str, Any]) -> Iterator[str]:
        """The segments between ST and SE, or UNH and UNT. ValueError when a value cannot be written."""
        for item in self._writes.segments:
            if not isinstance(item, EdiEach):
                yield self._segment(item, payload, payload)
                continue
            rows = payload.get(item.each)
            for number, row in enumerate(cast("list[Any]", rows) if isinstance(rows, list) else [], 1):
                for segment in item.segments:
                    yield self._segment(segment, {**payload, **row, "number": str(number)}, payload)

    def _segment(self, parts: Sequence[str | list[str]], values: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
        element, component = ("*", ">") if self._writes.is_x12 else ("+", ":")
        written: list[str] = []
        for part in parts:
            inner = [self._text(text, values, whole) for text in (part if isinstance(part, list) else [part])]
            written.append(component.join(inner).rstrip(component) if isinstance(part, list) else inner[0])
        while len(written) > 1 and not written[-1]:
            written.pop()
        return element.join(written)

    def _text(self, template: str, values: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
        def place(found: re.Match[str]) -> str:
            if found[1]:
                rows = whole.get(found[2])
                return str(len(cast("list[Any]", rows)) if isinstance(rows, list) else 0)
            value = values.get(found[2])
            text = _dated(value, found[3]) if found[3] and value not in (None, "") else _plain(value)
            return self._safe(found[2], text)

        return _PLACE.sub(place, template)

    def _safe(self, name: str, text: str) -> str:
        """A value without separators: released in EDIFACT, a ValueError in X12."""
        if not self._writes.is_x12:
            return re.sub(r"([?+:'])", r"?\1", text)
        if bad := sorted(set(text) & set("*~>^\r\n")):
            raise ValueError(f"{name}: {text!r} holds {' '.join(map(repr, bad))}, which X12 cannot carry")
        return text

    def _x12(self, item: _Sent, body: Sequence[str]) -> bytes:
        writes, at = self._writes, item.prepared_at
        version = writes.version or "004010"
        sender, receiver, number = writes.sender, writes.receiver, f"{item.number % 10**9:09d}"
        isa = ["ISA", "00", " " * 10, "00", " " * 10, sender.qualifier.ljust(2), sender.id.ljust(15)]
        isa += [receiver.qualifier.ljust(2), receiver.id.ljust(15), f"{at:%y%m%d}", f"{at:%H%M}"]
        isa += ["U" if version[:5] < "00402" else "^", version[:5], number, "0", "T" if writes.test else "P", ">"]
        group = writes.group or GROUPS[writes.message]
        parties = f"{sender.group or sender.id}*{receiver.group or receiver.id}"
        message = f"{item.number % 10**9:04d}"
        segments = [
            "*".join(isa),
            f"GS*{group}*{parties}*{at:%Y%m%d}*{at:%H%M}*{item.number}*X*{version}",
            f"ST*{writes.message}*{message}",
            *body,
            f"SE*{len(body) + 2}*{message}",
            f"GE*1*{item.number}",
            f"IEA*1*{number}",
        ]
        return "".join(f"{segment}~\n" for segment in segments).encode()

    def _edifact(self, item: _Sent, body: Sequence[str]) -> bytes:
        writes, at = self._writes, item.prepared_at
        parties = [
            self._safe("", party.id) + (f":{self._safe('', party.qualifier)}" if party.qualifier else "")
            for party in (writes.sender, writes.receiver)
        ]
        number, moment = f"{item.number:09d}", f"{at:%y%m%d}:{at:%H%M}"
        level = 4 if writes.characters == "UNOY" else 3
        segments = [
            f"UNB+{writes.characters}:{level}+{'+'.join(parties)}+{moment}+{number}{'++++++1' if writes.test else ''}",
            f"UNH+1+{writes.message}:{writes.version or 'D:96A:UN'}",
            *body,
            f"UNT+{len(body) + 2}+1",
            f"UNZ+1+{number}",
        ]
        return ("UNA:+.? '" + "".join(f"{segment}'\n" for segment in segments)).encode(_CHARACTERS[writes.characters])

    # ---- control numbers

    def _numbered(self, idempotency_key: str) -> _Sent:
        """The interchange of a change: the one it has, or the next of this partner."""
        self._run(
            "insert into ops.edi_interchange (partner, number, idempotency_key) "
            "select %(partner)s, coalesce(max(number), 0) + 1, %(key)s from ops.edi_interchange "
            "where partner = %(partner)s "
            "having not exists (select from ops.edi_interchange "
            "where partner = %(partner)s and idempotency_key = %(key)s)",
            {"partner": self._partner, "key": idempotency_key},
        )
        return self._interchanges([idempotency_key])[idempotency_key]

    def _interchanges(self, idempotency_keys: Sequence[str]) -> dict[str, _Sent]:
        rows = self._run(
            "select idempotency_key, number, prepared_at, written_at is not null, answer, words "
            "from ops.edi_interchange where partner = %s and idempotency_key = any(%s)",
            [self._partner, list(idempotency_keys)],
        )
        return {
            key: _Sent(number, at.astimezone(UTC), written, answer or "", words or "")
            for key, number, at, written, answer, words in rows
        }

    def _run(self, statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
        """A statement in a transaction of its own; asked once more on a new connection when the old one was lost."""
        import psycopg
        from datong_platform.silence import patient

        for attempt in (1, 2):
            try:
                if self._database is None:
                    self._database = patient(settings().need("postgres_url"), autocommit=False, connect_timeout=10)
                    with self._database.transaction():
                        self._database.execute("select pg_advisory_xact_lock(hashtextextended('datong.edi', 0))")
                        self._database.execute(_TABLE)
                with self._database.transaction():
                    # numbers are given one after the other, whoever asks; nothing here takes long
                    self._database.execute("select pg_advisory_xact_lock(hashtextextended('datong.edi', 0))")
                    cursor = self._database.execute(statement.encode(), values)
                    return cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                self._database = None
                if attempt == 2 or not isinstance(error, psycopg.OperationalError):
                    raise ServiceError(
                        self._thing,
                        f"its control numbers cannot be read or kept: {' '.join(str(error).split())}",
                        "run `datong doctor`; nothing is sent without a control number of its own.",
                    ) from error
        raise AssertionError("unreachable")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "Y" if value else "N"
    return "" if value is None else str(value)


def _dated(value: Any, form: str) -> str:
    text = str(value)
    moment = datetime.fromisoformat(text) if len(text) > 10 else date.fromisoformat(text)
    return moment.strftime(form)


def _said_by_997(segments: Sequence[Sequence[Any]]) -> Iterator[tuple[int, str, str]]:
    """AK1 names our group, AK5 tells of the message in it, AK9 of all: A and E are taken, P in part, R, M, W, X not."""
    number, state, codes = -1, "", list[str]()
    for tag, *elements in segments:
        first = str(elements[0]) if elements else ""
        if tag == "AK1":
            control = str(elements[1]) if len(elements) > 1 else ""
            number, state, codes = int(control) if control.isdigit() else -1, "", []
        elif tag in {"AK3", "AK4"}:
            codes.append(" ".join([tag, *(str(one) for one in elements if one)]))
        elif tag in {"AK5", "AK9"}:
            state = first if tag == "AK9" or first not in {"A", "E"} else state
            if first not in {"A", "E"}:
                codes.append(" ".join([tag, *(str(one) for one in elements if one)]))
            if tag == "AK9" and number > 0:
                yield number, "accepted" if state in {"A", "E"} else "rejected", "; ".join(codes) or f"997 {state}"


def _said_by_contrl(segments: Sequence[Sequence[Any]]) -> Iterator[tuple[int, str, str]]:
    """UCI names our interchange: 7 and 8 are taken, 4 is not; UCM 4 rejects the message in it."""
    number, state, codes = -1, "", list[str]()
    for tag, *elements in segments:
        texts = [":".join(map(str, one)) if isinstance(one, list) else str(one) for one in elements]
        if tag == "UCI":
            number = int(texts[0]) if texts and texts[0].isdigit() else -1
            state = texts[3] if len(texts) > 3 else ""
        elif tag == "UCM" and len(texts) > 2 and texts[2] == "4":
            state = "4"
        if tag in {"UCI", "UCM", "UCS", "UCD"} and state == "4":
            codes.append(" ".join([str(tag), *texts]))
    if number > 0 and state in {"4", "7", "8"}:
        yield number, "rejected" if state == "4" else "accepted", "; ".join(codes) or f"CONTRL {state}"
