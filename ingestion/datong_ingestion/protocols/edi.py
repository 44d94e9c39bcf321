"""EDI from a folder, S3 or SFTP: X12 850, 855, 856, 810, 846 and EDIFACT ORDERS, ORDRSP, DESADV, INVOIC, INVRPT.

Reads: interchanges; an entity's rows are its messages, or their lines. Other messages can be read, too, with the fields
that the definition names; every row keeps all its segments.
Pages: as the interchange streams by.
Changes: each file once, by content, and each interchange once, by its sender's control number.
Answers: 997 and CONTRL, made when the rows are in bronze and written to the outbox (`confirm`), the same again after a
crash: their control numbers are in the position.
Guards against: separators that are assumed (they come from the envelope), counts and numbers that do not agree,
messages that are cut off, duplicates.
Alone: `python -m datong_ingestion SYSTEM`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datong_platform.errors import ConfigurationError
from datong_platform.lake.columns import compute, parse_type

from datong_ingestion.connections.edi import PLACE, EdiConnection, EdiOptions
from datong_ingestion.connections.files import MIB
from datong_ingestion.documents import places
from datong_ingestion.documents.edi import answering
from datong_ingestion.documents.edi.bulk import Block, Conditions, Indices, OneByOneError, Place, segments_json
from datong_ingestion.documents.edi.bulk import code as tag_code
from datong_ingestion.documents.edi.messages import EDIFACT, ENVELOPE, SEGMENTS, X12
from datong_ingestion.documents.edi.messages import Message as Kind
from datong_ingestion.documents.edi.reading import Interchanges, Many, Message
from datong_ingestion.documents.edi.syntax import Segments
from datong_ingestion.documents.refusals import Refusal, table
from datong_ingestion.documents.rows import FILE, PROVENANCE, ROW
from datong_ingestion.documents.source import DocumentSource, Reader
from datong_ingestion.documents.spool import Spool
from datong_ingestion.documents.taken import Taken
from datong_ingestion.documents.typed import Texts
from datong_ingestion.source import Description, Page
from datong_ingestion.systems_config import EntityConfig, SystemConfig
from datong_ingestion.values import Rescue

_ROWS = 5000
LINE = "line_number"
_NONE, _HEAD, _LINE, _CONTEXT = range(4)


class Edi(DocumentSource[EdiConnection]):
    """A place with EDI interchanges."""

    connection_type = EdiConnection
    provenance = PROVENANCE

    def __init__(self, system: SystemConfig) -> None:
        """Looks up addresses and secrets; ConfigurationError when an acknowledgement has nowhere to go."""
        super().__init__(system)
        answering_ = [entity for entity in system.entities if _options(entity).acknowledge]
        if answering_ and not self.connection.outbox:
            raise ConfigurationError(
                f"entity {system.system}.{answering_[0].name}",
                "acknowledges, and there is no outbox.",
                "name the folder for acknowledgements under connection.outbox.",
            )
        sources = [entity.source for entity in answering_]
        if twice := next((source for source in sources if sources.count(source) > 1), None):
            raise ConfigurationError(
                f"system {system.system}",
                f"acknowledges {twice} in two entities, and a partner expects one answer.",
                "keep acknowledge in one of them.",
            )

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """The fields of the envelope, of the message and of the definition."""
        options = _options(entity)
        kind = _kind(options.message)
        fields: dict[str, pa.DataType] = dict(ENVELOPE)
        if kind is not None and options.level == "message":
            fields |= {name: type_ for name, (_, type_) in kind.header.items()}
        elif kind is not None:
            fields |= {name: kind.header[name][1] for name in kind.number}
            fields |= {LINE: pa.int64()} | {name: type_ for name, (_, type_) in kind.lines.items()}
        fields |= dict.fromkeys(options.paths, pa.string())
        fields[SEGMENTS] = pa.string()
        fields |= {name: parse_type(text) for name, text in entity.fields.items() if name in fields}
        if entity.select:
            fields = {name: type_ for name, type_ in fields.items() if name in entity.select}
        fields |= self.provenance
        keys = ("sender", "receiver", "interchange_control", "group_control", "message_control")
        keys += (LINE,) if options.level == "line" else ()
        return Description(
            schema=pa.schema(list(fields.items())),
            keys=tuple(entity.keys) or tuple(key for key in keys if key in fields),
            modes=frozenset({"stream", "full"}),
        )

    def own_fields(self, entity: EntityConfig, path: Path, name: str) -> list[pa.Field]:
        """Not asked for: the standard tells the fields."""
        return []

    def reader(self, entity: EntityConfig, description: Description, state: Taken) -> Reader:
        """What reads the interchanges of an entity."""
        return _Reader(self.connection, entity, description, state)

    def confirm(self, entity: EntityConfig, position: str) -> None:
        """Write the acknowledgements of what was loaded last into the outbox; done already, it does nothing."""
        thing = self.thing(entity)
        if not _options(entity).acknowledge or not self.connection.outbox:
            return
        answers = Taken.parse(position, thing).answers
        if not answers:
            return
        mark = hashlib.sha256(json.dumps(answers, sort_keys=True).encode()).hexdigest().encode()
        name = f".confirmed/{self.system}__{entity.name}"
        outbox = places.at(self.connection, self.connection.outbox, thing)
        try:
            # whoever sends them on may have taken them away since: only the mark tells that they were given
            if outbox.read(name, thing) == mark:
                return
            for answer in answers:
                outbox.put(answering.file_name(answer), answering.text(answer), thing)
            outbox.put(name, mark, thing)
        finally:
            outbox.close()


class _Reader(Reader):
    def __init__(self, connection: EdiConnection, entity: EntityConfig, description: Description, state: Taken) -> None:
        self.connection, self.options = connection, _options(entity)
        self.schema, self.state = description.schema, state
        self.texts = Texts(self.options.values)
        self.kind = _kind(self.options.message)
        # ISO 9735 (10.1) allows both marks, and no other sign in a number
        self.takes_commas = self.options.message in EDIFACT
        header = dict(self.kind.header) if self.kind else {}
        places_ = [item for item in description.schema if item.name not in PROVENANCE]
        self.names = {item.name: index for index, item in enumerate(places_)}
        self._header, self._line = _Plan(), _Plan()
        lines = self.kind.lines if self.kind and self.options.level == "line" else {}
        for name, index in self.names.items():
            written = self.options.paths.get(name, "")
            if not written and name in lines:
                self._line.add(index, lines[name][0])
            elif not written and name in header:
                self._header.add(index, header[name][0])
            elif written.startswith("/") or (written and self.options.level == "message"):
                self._header.add(index, written)
            elif written:
                self._line.add(index, written)
        self._named = list(self.names)
        self._run: Interchanges | None = None

    def pages(self, path: Path, name: str) -> Iterator[Page]:
        limit = int(self.connection.limits.record_mib * MIB)
        self._run = run = Interchanges(self.state.has_control, limit, in_bulk=True)
        with path.open("rb") as file:
            spool, rows, first = Spool(self.schema, path.parent), _Rows(self, name), 1
            try:
                rows.first = first
                refusals: list[Refusal] = []
                for event in run.read(Segments(file, self.options.encoding, limit)):
                    if isinstance(event, Message):
                        if not self.options.message or event.envelope.kind == self.options.message:
                            self._take(event, rows)
                            if len(rows.values) >= _ROWS:
                                spool.fill([rows.page()])
                    elif isinstance(event, Many):
                        spool.fill(self._take_many(event, rows))
                    elif isinstance(event, Refusal):
                        refusals.append(event)
                    else:
                        # the group counts from here on, or does not: its rows were held back until now
                        spool.fill([rows.page()])
                        if event.refusal is None:
                            yield from spool.pages()
                        else:
                            refusals.append(event.refusal)
                        spool.close()
                        spool = Spool(self.schema, path.parent)
                        if refusals:
                            yield Page(self.schema.empty_table(), refused=table(self._own(refusals)))
                            refusals = []
            finally:
                spool.close()

    def _own(self, refusals: list[Refusal]) -> list[Refusal]:
        """Refusals that concern this entity: those of its message, and those of envelopes."""
        wanted = self.options.message
        return [one for one in refusals if not wanted or not one.field or one.field == wanted]

    def taken(self, state: Taken, *, is_refused: bool = False) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        if not is_refused:
            for control in run.controls:
                state.add_control(control)
        if self.options.acknowledge:
            for answer in run.answers:
                if is_refused and not answer.code:
                    # nothing of a refused file is in bronze, so nothing of it is accepted; its sender sends it again
                    continue
                if not self.options.message or self.options.message in answer.kinds:
                    state.answered += 1
                    state.answers.append(answering.to_json(answer, state.answered))

    def _take(self, message: Message, rows: _Rows) -> None:
        envelope = message.envelope
        around = {
            "sender": envelope.sender,
            "receiver": envelope.receiver,
            "interchange_control": envelope.interchange,
            "group_control": envelope.group,
            "message_control": envelope.message,
            "message_type": envelope.kind,
            "message_version": envelope.version,
            "prepared_at": envelope.prepared,
            "is_test": "true" if envelope.is_test else "false",
        }
        common: list[str | None] = [None] * len(self.names)
        for name, value in around.items():
            self._put(common, name, value)
        if self.options.level == "message" or self.kind is None:
            self._header.fill(common, message.segments)
            self._put(common, SEGMENTS, segments_json(message.segments))
            rows.values.append(common)
            return
        head, lines = _lines(message.segments, self.kind)
        self._header.fill(common, head)
        line, whole = self.names.get(LINE, -1), self.names.get(SEGMENTS, -1)
        for number, (own, context) in enumerate(lines, 1):
            values = common.copy()
            self._line.fill(values, own)
            for one in context:
                self._line.fill(values, one)
            if line >= 0:
                values[line] = str(number)
            if whole >= 0:
                values[whole] = segments_json(own)
            rows.values.append(values)

    def _take_many(self, many: Many, rows: _Rows) -> Iterator[Page]:
        """The same as `_take` for each of the messages."""
        wanted = self.options.message
        chosen = np.array([not wanted or kind == wanted for kind in many.kinds])
        if not chosen.any():
            return
        if rows.values:
            yield rows.page()
        try:
            if self.options.level == "line" and self.kind is not None and self.kind.tree:
                raise OneByOneError(self.kind.line)
            page = self._in_bulk(many, chosen, rows)
        except OneByOneError:
            pass
        else:
            yield page
            return
        for message in many.messages():
            if not wanted or message.envelope.kind == wanted:
                self._take(message, rows)
            if len(rows.values) >= _ROWS:
                yield rows.page()

    def _in_bulk(self, many: Many, chosen: Indices, rows: _Rows) -> Page:
        """A page of all messages or lines; OneByOneError where that is not the way."""
        block = many.block
        mine = np.where(chosen[block.message], block.message, -1)
        if self.options.level == "message" or self.kind is None:
            of, number = np.flatnonzero(chosen), None
            row = np.where(mine >= 0, (np.cumsum(chosen) - 1)[block.message], -1)
            made = self._columns(block, self._header, row, len(of))
            first = np.searchsorted(block.message, of)
            last = np.searchsorted(block.message, of, "right") - 1
        else:
            role, marker = self._roles(many, self.kind)
            is_mine = mine >= 0
            lines = np.flatnonzero((role == _LINE) & is_mine)
            of = block.message[lines]
            number = np.arange(len(lines)) - np.searchsorted(of, of) + 1
            owned = role[marker]
            line = np.where(is_mine & (owned == _LINE), np.cumsum((role == _LINE) & is_mine) - 1, -1)
            made = self._columns(block, self._line, line, len(lines))
            around = np.flatnonzero(role == _CONTEXT)
            if len(around):
                inside = np.where(is_mine & (owned == _CONTEXT), np.cumsum(role == _CONTEXT) - 1, -1)
                nearest = np.searchsorted(around, lines) - 1
                is_inside = (nearest >= 0) & (block.message[around[nearest]] == of)
                indices = pa.array(nearest, mask=~is_inside)
                for index, column in self._columns(block, self._line, inside, len(around)).items():
                    own = made.get(index)
                    taken = column.take(indices)
                    made[index] = taken if own is None else compute.coalesce(own, taken)
            head = np.where(is_mine & (owned == _HEAD), block.message, -1)
            for index, column in self._columns(block, self._header, head, block.messages).items():
                made[index] = column.take(pa.array(of))
            first = lines
            marks = np.flatnonzero(role != _NONE)
            last = np.append(marks, len(role))[np.searchsorted(marks, lines, "right")] - 1
        if SEGMENTS in self.names and len(of):
            made[self.names[SEGMENTS]] = block.json(first, last)
        found = {self._named[index]: column for index, column in made.items()}
        return rows.bulk_page(found | self._around(many, of, number), len(of))

    def _columns(self, block: Block, plan: _Plan, owner: Indices, owners: int) -> dict[int, pa.Array]:
        found = {place.index: block.column(place, owner, owners) for place in plan.places}
        return {index: column for index, column in found.items() if column is not None}

    def _roles(self, many: Many, kind: Kind) -> tuple[Indices, Indices]:
        """Of each segment what it begins, if anything, and the segment that began where it is."""
        block = many.block
        role = np.full(len(block.tags), _NONE)
        role[np.append([True], np.diff(block.message) != 0)[: len(role)]] = _HEAD
        if kind.context:
            role[block.tags == tag_code(kind.context)] = _CONTEXT
        role[block.tags == tag_code(kind.line)] = _LINE
        for tag in kind.ends:
            role[block.tags == tag_code(tag)] = _HEAD
        return role, np.maximum.accumulate(np.where(role != _NONE, np.arange(len(role)), 0))

    def _around(self, many: Many, of: Indices, number: Indices | None) -> dict[str, pa.Array]:
        """The fields of the envelopes for rows of the messages `of`."""
        envelope, taken = many.envelope, pa.array(of)
        same = {
            "sender": envelope.sender,
            "receiver": envelope.receiver,
            "interchange_control": envelope.interchange,
            "group_control": envelope.group,
            "prepared_at": envelope.prepared,
            "is_test": "true" if envelope.is_test else "false",
        }
        each = {"message_control": many.numbers, "message_type": many.kinds, "message_version": many.versions}
        found = {name: pa.repeat(pa.scalar(value), len(of)) for name, value in same.items()}
        found |= {name: pa.array(values, pa.string()).take(taken) for name, values in each.items()}
        return found if number is None else {LINE: pa.array(number).cast(pa.string())} | found

    def _put(self, values: list[str | None], name: str, value: str) -> None:
        if name in self.names:
            values[self.names[name]] = value


class _Rows:
    """Rows that become pages."""

    def __init__(self, reader: _Reader, name: str) -> None:
        self.reader, self.name, self.first = reader, name, 1
        self.values: list[list[str | None]] = []

    def page(self) -> Page:
        """The rows so far."""
        values, self.values = self.values, []
        count = len(values)
        found: list[Any] = list(zip(*values, strict=True)) if values else [()] * len(self.reader.names)
        return self.bulk_page({name: pa.array(found[at], pa.string()) for name, at in self.reader.names.items()}, count)

    def bulk_page(self, found: dict[str, pa.Array], count: int) -> Page:
        """So many rows, from columns of text; a column that is not there is null."""
        schema, rescue = self.reader.schema, Rescue()
        columns: list[pa.Array] = []
        for item in schema:
            if item.name == FILE:
                columns.append(pa.repeat(pa.scalar(self.name), count))
            elif item.name == ROW:
                columns.append(pa.array(np.arange(self.first, self.first + count, dtype=np.int64)))
            elif item.name not in found:
                columns.append(pa.nulls(count, item.type))
            else:
                texts, kept = found[item.name], rescue
                if pa.types.is_decimal(item.type) and self.reader.takes_commas:
                    kept = _AsSent(rescue, texts)
                    texts = compute.replace_substring(texts, ",", ".")
                columns.append(self.reader.texts.column(item.name, item.type, texts, kept))
        self.first += count
        return Page(pa.Table.from_arrays(columns, schema=schema), rescued=rescue.column(count))


class _AsSent(Rescue):
    """Keeps the texts of a column as they were sent, where they were read with other marks."""

    def __init__(self, rescue: Rescue, sent: pa.Array) -> None:
        super().__init__()
        self._rescue, self._sent = rescue, sent

    def add(self, row: int, field: str, raw: Any) -> None:
        """Keep what was sent in a row."""
        self._rescue.add(row, field, self._sent[row].as_py())


class _Plan:
    """Which elements of which segments are the values of a row."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self._by_tag: dict[str, tuple[list[tuple[int, int]], list[tuple[int, int, int, Conditions]]]] = {}
        """By tag the plain places (value, element), and those with a component or conditions."""

    def add(self, index: int, written: str) -> None:
        """A value and its place, as `N1[1=ST].4`."""
        found = PLACE.match(written)
        if found is None:
            raise ConfigurationError(f"place {written}", "is not one.", "write BEG.3, N1[1=ST].4 or DTM[1.1=137].1.2.")
        conditions: list[tuple[int, int, str]] = []
        for one in found[2].strip("[]").split("][") if found[2] else []:
            at, _, value = one.partition("=")
            element, _, component = at.partition(".")
            conditions.append((int(element), int(component or 1) - 1, value))
        plain, others = self._by_tag.setdefault(found[1], ([], []))
        element, component = int(found[3]), int(found[4] or 1) - 1
        self.places.append(Place(index, found[1], element, component, conditions))
        if component or conditions:
            others.append((index, element, component, conditions))
        else:
            plain.append((index, element))

    def fill(self, values: list[str | None], segments: list[list[Any]]) -> None:
        """Set the values that are not set yet from segments, the first that has one counts."""
        by_tag = self._by_tag
        for segment in segments:
            plans = by_tag.get(segment[0])
            if plans is None:
                continue
            length = len(segment)
            for index, element in plans[0]:
                if element < length and values[index] is None and (value := segment[element]):
                    values[index] = value[0] or None if isinstance(value, list) else value
            for index, element, component, conditions in plans[1]:
                if element >= length or values[index] is not None:
                    continue
                if all(_at(segment, at, part) == wanted for at, part, wanted in conditions):
                    values[index] = _at(segment, element, component) or None


def _at(segment: list[Any], element: int, component: int) -> str:
    if element >= len(segment):
        return ""
    value = segment[element]
    if isinstance(value, list):
        return value[component] if component < len(value) else ""
    return value if component == 0 else ""


Line = tuple[list[list[Any]], list[list[list[Any]]]]


def _lines(segments: list[list[Any]], kind: Kind) -> tuple[list[list[Any]], list[Line]]:
    """The segments before the lines (and after them), and each line with what it lies in, the nearest first."""
    head: list[list[Any]] = []
    loops: list[Line] = []
    context: list[list[Any]] = []
    own = head
    for segment in segments:
        tag = segment[0]
        if tag in kind.ends:
            own = head
        elif tag == kind.line:
            own = []
            loops.append((own, [context] if context else []))
        elif kind.context and tag == kind.context:
            context = own = []
        own.append(segment)
    if not kind.tree:
        return head, loops
    nodes = {_at(loop[0], 1, 0): loop for loop, _ in loops}
    lines: list[Line] = []
    for loop, _ in loops:
        if _at(loop[0], 3, 0) == "I":
            above: list[list[list[Any]]] = []
            parent, seen = _at(loop[0], 2, 0), {_at(loop[0], 1, 0)}
            while parent in nodes and parent not in seen:
                above.append(nodes[parent])
                seen.add(parent)
                parent = _at(nodes[parent][0], 2, 0)
            lines.append((loop, above))
    # the shipment's own segments stand in the first loop, and belong to the message
    return head + [segment for loop, _ in loops[:1] for segment in loop if _at(loop[0], 3, 0) == "S"], lines


def _kind(message: str) -> Kind | None:
    return X12.get(message) or EDIFACT.get(message)


def _options(entity: EntityConfig) -> EdiOptions:
    if not isinstance(entity.options, EdiOptions):
        raise ConfigurationError(f"entity {entity.name}", "has no options of protocol edi.")
    if entity.options.level == "line" and _kind(entity.options.message) is None:
        raise ConfigurationError(
            f"entity {entity.name}",
            f"wants lines of message {entity.options.message}, whose lines are not known.",
            f"use level message, or one of {', '.join([*X12, *EDIFACT])}.",
        )
    return entity.options
