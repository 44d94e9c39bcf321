"""Interchanges to messages: envelopes checked, duplicates known, what is broken refused, the rest taken.

A message whose count or number is wrong, or that lacks what it must hold, is refused by itself; a functional group with
a wrong count by itself, too; an interchange that is cut off or whose numbers do not agree is refused whole, and with it
its file. A control number that its sender used before is a duplicate, whatever the content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from datong_ingestion.documents.edi.bulk import Block, OneByOneError, code
from datong_ingestion.documents.edi.messages import EDIFACT, GROUPS, X12, Envelope
from datong_ingestion.documents.edi.messages import Message as Kind
from datong_ingestion.documents.edi.syntax import Run, Segments, Syntax
from datong_ingestion.documents.refusals import Refusal, RefusedError

_WORTH_IT = 200
"""Segments from which on taking messages together costs less than one by one."""
ANSWERS = frozenset({"997", "999", "824", "TA1", "CONTRL", "APERAK"})
"""Messages that answer others: an answer to an answer would never end."""


@dataclass
class Message:
    """A message that was taken."""

    envelope: Envelope
    segments: list[list[Any]]
    """From the one after ST or UNH to the one before SE or UNT."""


@dataclass
class Many:
    """Messages that follow each other and were all taken."""

    envelope: Envelope
    """Around all of them; `kind`, `message` and `version` are those of the last."""
    block: Block
    kinds: list[str]
    numbers: list[str]
    versions: list[str]
    run: Run
    syntax: Syntax

    def messages(self) -> Iterator[Message]:
        """One by one."""
        run, syntax = self.run, self.syntax
        for index, kind in enumerate(self.kinds):
            envelope = replace(self.envelope, kind=kind, message=self.numbers[index], version=self.versions[index])
            raw = run.data[run.starts[run.firsts[index] + 1] : run.stops[run.lasts[index] - 1]]
            yield Message(envelope, syntax.split(raw.decode(syntax.encoding)))


@dataclass
class Answer:
    """What is to be said of one functional group (X12) or interchange (EDIFACT)."""

    envelope: Envelope
    said: int = 0
    """How many messages the envelope counts."""
    received: int = 0
    kinds: set[str] = field(default_factory=set)
    refused: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Kind, control number, version and code of each message that was refused."""
    code: str = ""
    """Why all of it was refused."""


@dataclass
class Group:
    """The end of a functional group or interchange: what was taken of it counts now, or does not."""

    refusal: Refusal | None = None


Event = Message | Many | Refusal | Group


class Interchanges:
    """Reads the interchanges of one file."""

    def __init__(self, is_duplicate: Callable[[str], bool], limit: int, *, in_bulk: bool = False) -> None:
        """`in_bulk`: messages that follow each other may come as `Many`."""
        self._is_duplicate, self.limit, self.in_bulk = is_duplicate, limit, in_bulk
        self.answers: list[Answer] = []
        self.controls: dict[str, None] = {}

    def read(self, source: Segments) -> Iterator[Event]:
        """Messages and refusals, and after each group whether it counts; RefusedError when the file does not."""
        while source.begin():
            syntax = source.syntax
            if syntax is None:
                break
            run = _X12(self, source, syntax) if syntax.standard == "x12" else _Edifact(self, source, syntax)
            yield from run.read()
        if source.syntax is None:
            raise RefusedError("there is no interchange: it holds nothing but blanks", place="segment 1")

    def known(self, envelope: Envelope) -> bool:
        """Whether an interchange came before; it counts as come from now on."""
        parts = [envelope.standard, envelope.sender, envelope.receiver, envelope.interchange]
        control = "|".join(parts)
        if control in self.controls or self._is_duplicate(control):
            return True
        self.controls[control] = None
        return False


class _Run:
    """What both standards share."""

    start, end = "", ""

    def __init__(self, owner: Interchanges, source: Segments, syntax: Syntax) -> None:
        self.owner, self.source, self.syntax = owner, source, syntax
        self.envelope = Envelope(standard=syntax.standard)
        self.limit = owner.limit
        self._element = syntax.element.encode(syntax.encoding)
        self._one_by_one_until = 0
        self.first, self.last, self.stops = b"", b"", (b"",)
        """How a message's first and last segments begin, and those that cannot stand in one."""

    def tag(self, raw: bytes) -> str:
        """The tag of a segment."""
        return raw.split(self._element, 1)[0].decode("latin-1")

    def one(self, raw: bytes) -> list[Any]:
        """A segment of the envelope as elements, filled up so that none is missing."""
        try:
            elements: list[Any] = self.syntax.split(raw.decode(self.syntax.encoding))[0]
        except UnicodeDecodeError as error:
            raise RefusedError(f"its envelope is not {self.syntax.encoding}", place=self.place()) from error
        return [*elements, *[""] * (20 - len(elements))]

    def place(self) -> str:
        """Where the reading is."""
        named = f"{self.envelope.interchange} {self.envelope.group} {self.envelope.message}".split()
        return f"segment {self.source.number}" + (f" of {'/'.join(named)}" if named else "")

    def broken(self, reason: str) -> RefusedError:
        """The interchange cannot be trusted."""
        return RefusedError(reason, place=self.place())

    def message(self, raws: list[bytes], wrong: tuple[str, str], answer: Answer, mandatory: str) -> Event:
        """A message, or its refusal; `wrong` is a reason found already, and its code."""
        envelope = self.envelope
        reason, code = wrong
        segments: list[list[Any]] = []
        end = self.syntax.terminator.encode(self.syntax.encoding)
        if not reason:
            try:
                text = end.join(raws[1:-1]).decode(self.syntax.encoding)
                segments = self.syntax.split(text) if len(raws) > 2 else []
            except UnicodeDecodeError as error:
                reason, code = f"it is not {self.syntax.encoding}: {error.reason}", self.code_syntax
        if not reason and (not segments or (mandatory and segments[0][0] != mandatory)):
            reason, code = f"it does not begin with {mandatory or 'a segment'}", self.code_syntax
        strange = [tag for tag in {str(one[0]) for one in segments} if not _is_tag(tag)]
        if not reason and strange:
            reason, code = f"{strange[0][:20]!r} is not a segment", self.code_syntax
        answer.received += 1
        answer.kinds.add(envelope.kind)
        if reason:
            answer.refused.append((envelope.kind, envelope.message, envelope.version, code))
            return Refusal(end.join(raws) + end, self.place(), reason, envelope.kind)
        return Message(replace(envelope), segments)

    code_syntax = ""
    known: dict[str, Kind]

    def named(self, head: list[Any]) -> None:
        """Take kind, number and version of a message from its first segment."""
        raise NotImplementedError

    def wrong(self, end: list[Any], segments: int, seen: set[str]) -> tuple[str, str]:
        """What is wrong with the message that was named last, by its last segment, and the code for that."""
        raise NotImplementedError

    def many(self, answer: Answer, seen: set[str]) -> Many | None:
        """The messages that come next, as many as are at hand and in order; None where one by one is the way."""
        source = self.source
        if not self.owner.in_bulk or source.number < self._one_by_one_until:
            return None
        run = source.run(self.first, self.last, self.stops)
        if run is None or run.lasts[-1] - run.firsts[0] < _WORTH_IT:
            return None
        segments = int(run.lasts[-1] - run.firsts[0])
        try:
            block = self._block(run)
        except OneByOneError:
            self._one_by_one_until = source.number + segments
            return None
        tags = block.first_tags()
        sizes = run.stops[run.lasts] - run.starts[run.firsts]
        found = Many(self.envelope, block, [], [], [], run, self.syntax)
        envelope, kinds = self.envelope, found.kinds
        for index in range(len(run.firsts)):
            first, last = run.firsts[index], run.lasts[index]
            self.named(self.one(run.segment(first)))
            known = self.known.get(envelope.kind)
            if (
                self.wrong(self.one(run.segment(last)), int(last - first) + 1, seen)[0]
                or not block.is_sound[index]
                or (known is not None and tags[index] != code(known.first))
                or sizes[index] > self.limit
            ):
                break
            seen.add(envelope.message)
            kinds.append(envelope.kind)
            found.numbers.append(envelope.message)
            found.versions.append(envelope.version)
        if len(kinds) < len(run.firsts):
            # one of them is to be refused by itself; and for a while none is taken together, lest it be for nothing
            self._one_by_one_until = source.number + segments // 4
            if not kinds:
                return None
            found.run = run.until(len(kinds))
            found.block = self._block(found.run)
        source.take(int(found.run.lasts[-1]))
        envelope.kind, envelope.message, envelope.version = kinds[-1], found.numbers[-1], found.versions[-1]
        found.envelope = replace(envelope)
        answer.received += len(kinds)
        answer.kinds.update(kinds)
        return found

    def _block(self, run: Run) -> Block:
        syntax = self.syntax
        return Block(
            run.data,
            run.starts,
            run.stops,
            run.firsts,
            run.lasts,
            element=syntax.element,
            component=syntax.component,
            terminator=syntax.terminator,
            release=syntax.release,
            encoding=syntax.encoding,
        )

    def read(self) -> Iterator[Event]:
        """The events of one interchange."""
        raise NotImplementedError

    def skip(self, last: str) -> None:
        """Pass over the rest of an interchange; RefusedError when it has no end."""
        for raw in self.source.read():
            if self.tag(raw) == last:
                return
        raise self.broken(f"it is cut off: there is no {last}")


def _is_tag(tag: Any) -> bool:
    return isinstance(tag, str) and 2 <= len(tag) <= 3 and tag.isalnum() and tag.isascii()


class _X12(_Run):
    code_syntax, known = "5", X12

    def __init__(self, owner: Interchanges, source: Segments, syntax: Syntax) -> None:
        super().__init__(owner, source, syntax)
        self.first, self.last = b"ST" + self._element, b"SE" + self._element
        self.stops = (self.first, b"GE" + self._element, b"IEA")

    def read(self) -> Iterator[Event]:
        envelope = self.envelope
        segments = self.source.read()
        first = next(segments, b"")
        head = self.one(first)
        envelope.sender_qualifier, envelope.sender = head[5], head[6].strip()
        envelope.receiver_qualifier, envelope.receiver = head[7], head[8].strip()
        envelope.interchange, envelope.is_test = head[13], head[15] == "T"
        envelope.prepared = f"20{head[9]}{head[10]}"
        envelope.raw = [str(part) if isinstance(part, str) else "" for part in head[:17]]
        if self.owner.known(envelope):
            refusal = Refusal(first, self.place(), f"interchange {envelope.interchange} came before: a duplicate")
            self.skip("IEA")
            yield refusal
            yield Group()
            return
        groups = 0
        for raw in segments:
            tag = self.tag(raw)
            if tag == "GS":
                groups += 1
                yield from self._group(self.one(raw), segments)
            elif tag == "IEA":
                end = self.one(raw)
                if end[2] != envelope.interchange:
                    raise self.broken(f"IEA bears number {end[2]}, and ISA {envelope.interchange}")
                if _whole(end[1]) != groups:
                    raise self.broken(f"IEA counts {end[1]} groups, and there are {groups}")
                return
            elif tag != "TA1":
                raise self.broken(f"{tag} stands between groups")
        raise self.broken("it is cut off: there is no IEA")

    def _group(self, head: list[Any], segments: Iterator[bytes]) -> Iterator[Event]:
        envelope = self.envelope
        envelope.group_kind, envelope.group_sender, envelope.group_receiver = head[1], head[2], head[3]
        envelope.group, envelope.version, envelope.message = head[6], head[8], ""
        answer = Answer(replace(envelope))
        seen: set[str] = set()
        while True:
            if (many := self.many(answer, seen)) is not None:
                yield many
                continue
            raw = next(segments, b"")
            if not raw:
                break
            tag = self.tag(raw)
            if tag == "ST":
                yield self._transaction(raw, segments, answer, seen)
            elif tag == "GE":
                end = self.one(raw)
                answer.said = _whole(end[1])
                envelope.message = ""
                refusal = None
                if end[2] != envelope.group:
                    answer.code = "4"
                    refusal = f"GE bears number {end[2]}, and GS {envelope.group}"
                elif answer.said != answer.received:
                    answer.code = "5"
                    refusal = f"GE counts {end[1]} messages, and there are {answer.received}"
                if envelope.group_kind != "FA":
                    self.owner.answers.append(answer)
                yield Group(Refusal(raw, self.place(), f"{refusal}: its messages are refused") if refusal else None)
                envelope.group = ""
                return
            else:
                raise self.broken(f"{tag} stands between messages")
        raise self.broken("it is cut off: there is no GE")

    def named(self, head: list[Any]) -> None:
        self.envelope.kind, self.envelope.message = head[1], head[2]

    def wrong(self, end: list[Any], segments: int, seen: set[str]) -> tuple[str, str]:
        envelope = self.envelope
        if end[2] != envelope.message:
            return f"SE bears number {end[2]}, and ST {envelope.message}", "3"
        if _whole(end[1]) != segments:
            return f"SE counts {end[1]} segments, and there are {segments}", "4"
        if envelope.message in seen:
            return f"its number {envelope.message} stands twice in the group", "23"
        if GROUPS.get(envelope.kind, envelope.group_kind) != envelope.group_kind:
            return f"a {envelope.kind} does not belong in a group {envelope.group_kind}", "1"
        return "", ""

    def _transaction(self, first: bytes, segments: Iterator[bytes], answer: Answer, seen: set[str]) -> Event:
        envelope = self.envelope
        self.named(self.one(first))
        raws, size = [first], len(first)
        last, stops = self.last, frozenset(self.stops)
        for raw in segments:
            raws.append(raw)
            size += len(raw)
            if size > self.limit:
                raise self.broken("a message is longer than connection.limits.record_mib")
            tag = raw[:3]
            if tag == last:
                wrong = self.wrong(self.one(raw), len(raws), seen)
                seen.add(envelope.message)
                known = X12.get(envelope.kind)
                return self.message(raws, wrong, answer, known.first if known else "")
            if tag in stops:
                break
        raise self.broken(f"message {envelope.message} is cut off: there is no SE")


class _Edifact(_Run):
    code_syntax, known = "12", EDIFACT

    def __init__(self, owner: Interchanges, source: Segments, syntax: Syntax) -> None:
        super().__init__(owner, source, syntax)
        self.first, self.last = b"UNH" + self._element, b"UNT"
        self.stops = (b"UNH", b"UNZ", b"UNE")

    def read(self) -> Iterator[Event]:
        envelope = self.envelope
        segments = self.source.read()
        first = next(segments, b"")
        head = self.one(first)
        envelope.sender, envelope.sender_qualifier = _part(head[2], 0), _part(head[2], 1)
        envelope.receiver, envelope.receiver_qualifier = _part(head[3], 0), _part(head[3], 1)
        day = _part(head[4], 0)
        envelope.prepared = (day if len(day) == 8 else f"20{day}") + _part(head[4], 1)
        envelope.interchange, envelope.is_test = _part(head[5], 0), head[11] == "1"
        envelope.raw = [_part(head[1], 0), _part(head[1], 1)]
        answer = Answer(replace(envelope))
        if self.owner.known(envelope):
            refusal = Refusal(first, self.place(), f"interchange {envelope.interchange} came before: a duplicate")
            self.skip("UNZ")
            answer.code = "26"
            self.owner.answers.append(answer)
            yield refusal
            yield Group()
            return
        seen: set[str] = set()
        groups = 0
        while True:
            if (many := self.many(answer, seen)) is not None:
                yield many
                continue
            raw = next(segments, b"")
            if not raw:
                break
            tag = self.tag(raw)
            if tag == "UNH":
                yield self._message(raw, segments, answer, seen)
            elif tag in {"UNG", "UNE"}:
                groups += tag == "UNG"
                envelope.group = _part(self.one(raw)[5], 0) if tag == "UNG" else ""
            elif tag == "UNZ":
                self._end(self.one(raw), answer, groups)
                yield Group()
                return
            else:
                raise self.broken(f"{tag} stands between messages")
        raise self.broken("it is cut off: there is no UNZ")

    def _end(self, end: list[Any], answer: Answer, groups: int) -> None:
        envelope = self.envelope
        envelope.message, answer.said = "", _whole(end[1])
        if not answer.kinds & ANSWERS:
            self.owner.answers.append(answer)
        if _part(end[2], 0) != envelope.interchange:
            answer.code = "28"
            raise self.broken(f"UNZ bears number {_part(end[2], 0)}, and UNB {envelope.interchange}")
        counted = groups or answer.received
        if answer.said != counted:
            answer.code = "29"
            raise self.broken(f"UNZ counts {end[1]}, and there are {counted}")

    def named(self, head: list[Any]) -> None:
        envelope = self.envelope
        envelope.message, envelope.kind = _part(head[1], 0), _part(head[2], 0)
        envelope.version = ":".join(_part(head[2], index) for index in (1, 2, 3))

    def wrong(self, end: list[Any], segments: int, seen: set[str]) -> tuple[str, str]:
        envelope = self.envelope
        if _part(end[2], 0) != envelope.message:
            return f"UNT bears number {_part(end[2], 0)}, and UNH {envelope.message}", "28"
        if _whole(end[1]) != segments:
            return f"UNT counts {end[1]} segments, and there are {segments}", "29"
        if envelope.message in seen:
            return f"its number {envelope.message} stands twice in the interchange", "26"
        return "", ""

    def _message(self, first: bytes, segments: Iterator[bytes], answer: Answer, seen: set[str]) -> Event:
        envelope = self.envelope
        self.named(self.one(first))
        raws, size = [first], len(first)
        for raw in segments:
            raws.append(raw)
            size += len(raw)
            if size > self.limit:
                raise self.broken("a message is longer than connection.limits.record_mib")
            tag = raw[:3]
            if tag == b"UNT":
                wrong = self.wrong(self.one(raw), len(raws), seen)
                seen.add(envelope.message)
                known = EDIFACT.get(envelope.kind)
                return self.message(raws, wrong, answer, known.first if known else "")
            if tag in {b"UNH", b"UNZ", b"UNE"}:
                break
        raise self.broken(f"message {envelope.message} is cut off: there is no UNT")


def _part(element: Any, index: int) -> str:
    if isinstance(element, list):
        return element[index] if index < len(element) else ""
    return element if index == 0 else ""


def _whole(text: Any) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else -1
