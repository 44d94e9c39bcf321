"""Write-back to files (CSV, JSON, JSON lines, XML) in a folder, S3 or SFTP: a file for each batch of changes.

A file appears whole or not at all, never takes another's place, and is read back and compared by its checksum. Before
it is written, a note in `.datong/` beside it tells which changes it holds; so a later run knows what became of them
after a crash. The note goes when the ledger knows. Guards against: a file that is written twice (its name comes from
the changes that it holds, and is put only if it is absent), half a file, a receiver that took the file before a crash
was mended (looked for in the archive; else told as unknown), values that would break a CSV or XML file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast
from xml.sax.saxutils import escape

from datong_platform.errors import ConfigurationError, DatongError

from datong_ingestion.connections.files import FilesConnection
from datong_ingestion.documents import places
from datong_ingestion.pace import Pace
from datong_ingestion.write_back.config import FlowConfig, Operation
from datong_ingestion.write_back.payload import Confirmed, Dialect
from datong_ingestion.write_back.target import AwaitedError, Change, Found, Outcome

_ACCEPTED, _CONFLICT = 200, 409
_NOTES = ".datong"


@dataclass(frozen=True)
class _Note:
    """What a file holds, written before it."""

    name: str
    sha256: str
    changes: dict[str, str]
    """Idempotency key of each change, and its operation."""


class FilesTarget:
    """A folder below a location, as a write-back target. `resource` is the folder."""

    can_be_asked = False

    def __init__(self, flow: FlowConfig, declared: FilesConnection, pace: Pace | None = None) -> None:
        self._flow, self._writes, self._pace = flow, flow.target.files, pace or Pace()
        self._thing = f"{flow.target.system} {flow.target.resource} (write-back flow {flow.flow})"
        self._folder = flow.target.resource.strip("/.")
        self.dialect: Dialect = "rest" if self._writes.format in {"json", "jsonl"} else "xml"
        nested = [name for name, value in flow.payload.items() if isinstance(value, list)]
        if nested and self._writes.format == "csv":
            raise ConfigurationError(
                f"write-back flow {flow.flow}",
                f"has items below {', '.join(nested)}; a line of CSV holds values only.",
                "write the items by a flow of their own, or choose format json or xml.",
            )
        self._place = places.place(declared.resolved(f"write-back flow {flow.flow}"), self._thing)
        self._notes: dict[str, _Note] | None = None
        """What is known of each change, by its idempotency key."""
        self._keys: dict[str, str] = {}
        self._settled: set[str] = set()
        """Keys of which the last lookup told something for sure."""
        self._seen: set[str] = set()
        """Files that were written in this run and read back."""

    @property
    def operations(self) -> frozenset[Operation]:
        """To delete, a file must be able to say so."""
        found: list[Operation] = ["create", "update"]
        if self._writes.operation_field:
            found.append("delete")
        return frozenset(found)

    def close(self) -> None:
        """Let go of connections."""
        self._place.close()

    # ---- reading back

    def lookup(
        self, keys: Sequence[str], sent: Mapping[str, str] | None = None
    ) -> dict[str, list[Found] | DatongError]:
        known = sent or {}
        self._keys |= known
        notes = self._known(set(known.values()))
        states: dict[str, bool | DatongError] = {}
        held: dict[str, list[Found] | DatongError] = {}
        for key in keys:
            note = notes.get(known.get(key, ""))
            if note is None:
                held[key] = []
                continue
            if note.name not in states:
                states[note.name] = self._is_there(note)
            state = states[note.name]
            if isinstance(state, DatongError):
                held[key] = state
            elif not state:
                held[key] = [] if self._writes.kept or self._writes.archive else self._taken(note)
            else:
                held[key] = [Found(Confirmed(), note.sha256, note.name, (note.name,))]
        self._settled |= {key for key, state in held.items() if isinstance(state, list)}
        return held

    def _known(self, wanted: set[str]) -> dict[str, _Note]:
        """The notes on changes; those of earlier runs are read when they are asked for."""
        if self._notes is None:
            self._notes = {}
            if wanted:
                self._load(self._notes)
        elif wanted - self._notes.keys():
            self._load(self._notes)
        return self._notes

    def _load(self, notes: dict[str, _Note]) -> None:
        own = {item.name for item in notes.values()}
        try:
            listed = self._place.list(f"{self._note('*')}", self._thing)
        except ConfigurationError:
            return  # nothing was ever written there
        for found in listed:
            text = self._place.read(found.name, self._thing)
            if text is None:
                continue
            note = _Note(**json.loads(text))
            if note.name not in own:
                notes |= dict.fromkeys(note.changes, note)

    def _is_there(self, note: _Note) -> bool | DatongError:
        """Whether a file is there as it was written; completes its marker."""
        if note.name in self._seen:
            return True
        try:
            for name in [note.name, *([self._archived(note.name)] if self._writes.archive else [])]:
                body = self._place.read(name, self._thing)
                if body is None:
                    continue
                if hashlib.sha256(body).hexdigest() != note.sha256:
                    continue
                if name == note.name:
                    self._mark(note.name)
                return True
        except DatongError as error:
            return error
        return False

    def _taken(self, note: _Note) -> AwaitedError:
        return AwaitedError(
            self._thing,
            f"has no file {note.name}: it was taken by its receiver, or never written.",
            "ask the receiver; name its `archive` in the flow's defs.yaml, and this is found out by itself.",
        )

    # ---- writing

    def send(self, changes: Sequence[Change], on_reply: Callable[[Change, Outcome], None]) -> dict[str, Outcome]:
        told: dict[str, Outcome] = {}
        size = self._flow.batch
        for group in (changes[at : at + size] for at in range(0, len(changes), size)):
            self._pace.take(len(group))
            outcome = self._send(group)
            for change in group:
                told[change.key] = outcome
                on_reply(change, outcome)
        return told

    def _send(self, group: Sequence[Change]) -> Outcome:  # noqa: PLR0911 one way out per thing that can be known
        digest = hashlib.sha256("|".join(change.idempotency_key for change in group).encode()).hexdigest()[:20]
        words = {"flow": self._flow.flow, "id": digest, "format": self._writes.format, "key": _plain(group[0].key)}
        name = "/".join(filter(None, [self._folder, self._writes.name.format_map(words)]))
        try:
            body = self._body(group)
        except (UnicodeEncodeError, csv.Error) as error:
            return Outcome("refused", None, f"cannot be written as {self._writes.encoding}: {error}")
        held: dict[str, str] = {change.idempotency_key: change.operation for change in group}
        note = _Note(name, hashlib.sha256(body).hexdigest(), held)
        notes = self._known(set())
        try:
            self._place.put(self._note(digest), json.dumps(asdict(note)).encode(), self._thing)
        except DatongError as error:
            return Outcome("not_sent", None, error.reason)
        notes |= dict.fromkeys(note.changes, note)
        self._keys |= {change.key: change.idempotency_key for change in group}
        try:
            if self._place.put_new(name, body, self._thing):
                back = self._place.read(name, self._thing)
                if back is not None and back != body:
                    return Outcome("unclear", None, f"{name} does not hold what was written")
                # what is gone already was there: its receiver was quick
                self._seen.add(name)
                self._mark(name)
                return Outcome("accepted", _ACCEPTED, "", name)
            before = self._place.read(name, self._thing)
        except DatongError as error:
            return Outcome("unclear", None, error.reason)
        if before is not None and hashlib.sha256(before).hexdigest() == note.sha256:
            return Outcome("accepted", _ACCEPTED, "it was there already", name)
        return Outcome("conflict", _CONFLICT, f"another file is called {name}", name)

    def _mark(self, name: str) -> None:
        if self._writes.marker:
            self._place.put(self._writes.marker.format(name=name), b"", self._thing)

    def recorded(self, keys: Sequence[str]) -> None:
        """Take away the notes on files all of whose changes are in the ledger."""
        notes = self._notes or {}
        done = {self._keys.pop(key, "") for key in keys if key in self._settled}
        open_ = set(self._keys.values())
        for name in {notes[key].name for key in done if key in notes}:
            note = next(item for item in notes.values() if item.name == name)
            if not open_ & note.changes.keys():
                for key in note.changes:
                    notes.pop(key, None)
                self._place.remove(self._note(self._digest(note)), self._thing)

    def _digest(self, note: _Note) -> str:
        return hashlib.sha256("|".join(note.changes).encode()).hexdigest()[:20]

    def _note(self, digest: str) -> str:
        return "/".join(filter(None, [self._folder, _NOTES, self._flow.flow, f"{digest}.json"]))

    def _archived(self, name: str) -> str:
        return f"{self._writes.archive.strip('/')}/{name.rpartition('/')[2]}"

    # ---- formats

    def _body(self, group: Sequence[Change]) -> bytes:
        records = [self._record(change) for change in group]
        kind, encoding = self._writes.format, self._writes.encoding
        if kind == "json":
            text = json.dumps(records[0] if self._flow.batch == 1 else records, ensure_ascii=False, indent=1) + "\n"
        elif kind == "jsonl":
            text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        elif kind == "csv":
            text = self._csv(records)
        else:
            inner = "\n".join(_element(self._writes.element, record) for record in records)
            root = self._writes.root
            text = f'<?xml version="1.0" encoding="{encoding}"?>\n<{root}>\n{inner}\n</{root}>\n'
            return text.encode(encoding, "xmlcharrefreplace")
        return text.encode(encoding)

    def _record(self, change: Change) -> dict[str, Any]:
        told = {self._writes.operation_field: change.operation} if self._writes.operation_field else {}
        if change.operation == "delete":
            return {**told, self._flow.target.lookup: change.key}
        return {**told, **change.payload}

    def _csv(self, records: Sequence[Mapping[str, Any]]) -> str:
        """Always all columns of the flow, in its order, whatever a record holds."""
        first = [self._writes.operation_field] if self._writes.operation_field else []
        names = list(dict.fromkeys([*first, *self._flow.payload, self._flow.target.lookup]))
        written = io.StringIO()
        rows = csv.DictWriter(written, names, restval="", delimiter=self._writes.delimiter, lineterminator="\r\n")
        rows.writeheader()
        for record in records:
            rows.writerow({name: _text(value) for name, value in record.items()})
        return written.getvalue()


def _plain(key: str) -> str:
    """A key as part of a file's name."""
    return "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in key)[:80]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _element(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_element(name, item) for item in cast("list[Any]", value))
    if not isinstance(value, Mapping):
        return f"<{name}>{escape(_text(value))}</{name}>"
    items = cast("Mapping[str, Any]", value).items()
    return f"<{name}>{''.join(_element(field, item) for field, item in items)}</{name}>"
