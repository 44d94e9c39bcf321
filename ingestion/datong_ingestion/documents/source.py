"""What the protocols of documents share: files are found, taken once, and read whole or refused whole.

Reads: files below a place (folder, S3, SFTP) whose names match an entity's pattern.
Changes: mode stream takes each file once, by its content, when it is complete; the position names what was taken. Mode
full reads what lies there, all of it or the newest file, as the entity's present state.
Guards against: a file that is still being written, one that was sent twice or renamed, one that is broken (it goes to
quarantine, and the others go on), one that changes while it is read.
From a place to pages. A definition that was mended is tried on refused files again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

import pyarrow as pa
from datong_platform.errors import ConfigurationError, ProtocolError
from datong_platform.lake.columns import compute, parse_type, type_name

from datong_ingestion.connections.base import Options
from datong_ingestion.connections.files import DocumentConnection
from datong_ingestion.documents import places
from datong_ingestion.documents.places import ChangedError, Found
from datong_ingestion.documents.refusals import RAW_BYTES, Refusal, RefusedError, table
from datong_ingestion.documents.spool import Spool
from datong_ingestion.documents.taken import Taken, look
from datong_ingestion.documents.unpack import unpacked
from datong_ingestion.source import Description, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig

_MODES: frozenset[Mode] = frozenset({"full", "stream"})
_BROKEN = (pa.ArrowException, ValueError, LookupError, TypeError, ArithmeticError, RecursionError, EOFError)
"""What a parser may raise at bytes that nobody thought of; one such document must not stop the others."""
_C = TypeVar("_C", bound=DocumentConnection)


class Reader(ABC):
    """Reads the documents of one entity, one after the other."""

    @abstractmethod
    def pages(self, path: Path, name: str) -> Iterator[Page]:
        """The rows of a document; RefusedError, at any time, when it cannot be taken."""

    def taken(self, state: Taken, *, is_refused: bool = False) -> None:  # noqa: B027 most remember nothing
        """The document that was read last is taken, or refused: remember of it what belongs in the position."""


class DocumentSource(ABC, Generic[_C]):
    """A place with documents of one kind."""

    connection_type: type[_C]
    provenance: dict[str, pa.DataType]

    def __init__(self, system: SystemConfig) -> None:
        """Looks up addresses and secrets; makes no request."""
        declared = system.connection
        if not isinstance(declared, self.connection_type):
            raise ConfigurationError(f"system {system.system}", f"has no connection of protocol {system.protocol}.")
        self.definition, self.system = system, system.system
        self.connection: _C = declared.resolved(f"system {system.system}")
        self.place = places.place(self.connection, f"system {system.system}")
        self._kept: dict[tuple[str, Found], tuple[ExitStack, Path, bytes]] = {}
        self._waiting: dict[str, str] = {}

    @abstractmethod
    def own_fields(self, entity: EntityConfig, path: Path, name: str) -> list[pa.Field]:
        """The fields that a document shows, for an entity that declares none."""

    @abstractmethod
    def reader(self, entity: EntityConfig, description: Description, state: Taken) -> Reader:
        """What reads the documents of an entity."""

    def close(self) -> None:
        """Let go of connections and copies."""
        for key in list(self._kept):
            self._let_go(*key)
        self.place.close()

    def entities(self) -> list[str]:
        """The patterns of the definition, and the files that lie in the place besides, by folder and ending."""
        named = [entity.source for entity in self.definition.entities]
        matches = [places.matcher(pattern) for pattern in named]
        others: set[str] = set()
        for found in self.place.list("**", f"system {self.system}"):
            if not any(match(found.name) for match in matches):
                folder, _, name = found.name.rpartition("/")
                ending = name.partition(".")[2]
                others.add(f"{folder}/*.{ending}".lstrip("/") if ending else found.name)
        return [*dict.fromkeys(named), *sorted(others)]

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """The declared fields; else those of the bronze table and of the newest document."""
        fields: dict[str, pa.DataType] = {}
        if entity.fields:
            fields = {name: parse_type(kind) for name, kind in entity.fields.items()}
        else:
            fields = {item.name: item.type for item in known} if known is not None else {}
            fields |= {item.name: item.type for item in self._newest_fields(entity, fields) if item.name not in fields}
        if entity.select:
            fields = {name: kind for name, kind in fields.items() if name in entity.select}
        fields |= {name: kind for name, kind in self.provenance.items() if name not in fields}
        return Description(
            schema=pa.schema(list(fields.items())),
            keys=tuple(entity.keys),
            cursors=tuple(name for name, kind in fields.items() if pa.types.is_temporal(kind)),
            modes=_MODES,
            inferred=not entity.fields,
        )

    def _newest_fields(self, entity: EntityConfig, fields: dict[str, pa.DataType]) -> list[pa.Field]:
        thing = self.thing(entity)
        for found in reversed(self._complete(entity)):
            try:
                path, _ = self._fetched(entity, found)
                with unpacked(path, found.name, self.connection.limits) as (document, name):
                    return self.own_fields(entity, document, name)
            except (RefusedError, ChangedError, *_BROKEN):
                self._let_go(entity.name, found)
        if fields:
            return []
        raise ConfigurationError(
            thing,
            "has no complete file yet that could show its fields.",
            "declare them under `fields` in its defs.yaml, or run again when there is one.",
        )

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        """Pages of the documents that are new (mode stream), or of those that make the present state (mode full)."""
        thing = self.thing(entity)
        if entity.mode == "full":
            yield from self._read_full(entity, description, thing)
        else:
            yield from self._read_new(entity, description, position, thing)

    def _read_full(self, entity: EntityConfig, description: Description, thing: str) -> Iterator[Page]:
        found = self._complete(entity)
        if not found:
            raise ProtocolError(
                thing,
                f"there is no complete file {entity.source}, and an entity of mode full would be emptied.",
                "see whether its sender still delivers; what is in bronze stays as it is.",
            )
        reader = self.reader(entity, description, Taken())
        chosen = found[-1:] if getattr(entity.options, "newest_only", False) else found
        for file in chosen:
            try:
                path, _ = self._fetched(entity, file)
                with self._spooled(reader, description, path, file) as spool:
                    self._check_unchanged(file, thing)
                    yield from spool.pages()
            except RefusedError as error:
                raise ProtocolError(
                    thing,
                    f"file {file.name} cannot be taken: {error.reason}.",
                    "mend the file or the definition; what is in bronze stays as it is.",
                ) from error
            except ChangedError as error:
                raise ProtocolError(
                    thing, f"file {file.name} changed while it was read.", "run again when it is written."
                ) from error
            finally:
                self._let_go(entity.name, file)

    def _read_new(
        self, entity: EntityConfig, description: Description, position: str | None, thing: str
    ) -> Iterator[Page]:
        state = Taken.parse(position, thing)
        answers, state.answers = state.answers, []
        reader = self.reader(entity, description, state)
        salt = _definition(entity, description)
        complete, count = self._complete(entity), 0
        for file in complete:
            # a refused file counts as seen only under the definition that refused it
            if not {look(file.name, file.size, file.stamp), _salted_look(file, salt)} & state.looks:
                try:
                    count += yield from self._take(entity, description, reader, state, file=file, salt=salt)
                finally:
                    self._let_go(entity.name, file)
            if count >= self.connection.batch_files:
                break
        if count:
            looks = [(look(file.name, file.size, file.stamp), _salted_look(file, salt)) for file in complete]
            state.forget(self.connection.remember_days, [one for both in looks for one in both])
        else:
            # nothing came: the answers stay, so that the position does not move and no batch is made
            state.answers = answers
        yield Page(description.schema.empty_table(), position=state.dump())

    def _take(
        self,
        entity: EntityConfig,
        description: Description,
        reader: Reader,
        state: Taken,
        *,
        file: Found,
        salt: bytes,
    ) -> Generator[Page, None, int]:
        """The pages of a new file, and 1; or 0 when it is known after all, or not finished."""
        thing, path, digest = self.thing(entity), None, b""
        try:
            path, digest = self._fetched(entity, file)
            if self.connection.taken_once_by == "file":
                digest = hashlib.sha256(file.name.encode("utf-8", "surrogateescape") + digest).digest()
            if state.has(digest):
                state.add(digest, look(file.name, file.size, file.stamp))
                return 0
            with self._spooled(reader, description, path, file) as spool:
                self._check_unchanged(file, thing)
                reader.taken(state)
                yield from spool.pages()
            state.add(digest, look(file.name, file.size, file.stamp))
        except ChangedError:
            return 0
        except RefusedError as error:
            if not self.place.unchanged(file, thing):
                return 0
            reader.taken(state, is_refused=True)
            state.add(hashlib.sha256(salt + digest).digest(), _salted_look(file, salt))
            yield Page(description.schema.empty_table(), refused=_whole(error, file, path))
        return 1

    def _check_unchanged(self, file: Found, thing: str) -> None:
        if not self.place.unchanged(file, thing):
            raise ChangedError(file.name)

    @contextmanager
    def _spooled(self, reader: Reader, description: Description, path: Path, file: Found) -> Generator[Spool]:
        with tempfile.TemporaryDirectory(prefix="datong-") as folder:
            spool = Spool(description.schema, Path(folder))
            try:
                try:
                    with unpacked(path, file.name, self.connection.limits) as (document, name):
                        spool.fill(_placed(page, file.name) for page in reader.pages(document, name))
                except _BROKEN as error:
                    raise RefusedError(f"it cannot be read: {type(error).__name__}: {error}") from error
                yield spool
            finally:
                spool.close()

    def _fetched(self, entity: EntityConfig, file: Found) -> tuple[Path, bytes]:
        """A local copy of a file and its SHA-256; a copy that was made to look at it is used again."""
        key = (entity.name, file)
        if key not in self._kept:
            stack = ExitStack()
            path, digest = stack.enter_context(self.place.fetch(file, self.thing(entity)))
            self._kept[key] = (stack, path, digest)
        return self._kept[key][1:]

    def _let_go(self, entity: str, file: Found) -> None:
        held = self._kept.pop((entity, file), None)
        if held is not None:
            held[0].close()

    def _complete(self, entity: EntityConfig) -> list[Found]:
        """The files of an entity that are complete, in the order in which they count."""
        own, thing = self.connection, self.thing(entity)
        found = self.place.list(entity.source, thing)
        if own.marker:
            marks = {mark.name for mark in self.place.list(own.marker.replace("{name}", entity.source), thing)}
            complete = [file for file in found if own.marker.replace("{name}", file.name) in marks]
            found = [file for file in found if file.name not in marks]
            until = f"until {own.marker.replace('{name}', 'NAME')} is beside each"
        elif not self.place.atomic:
            bound = time.time() - own.settle_seconds
            complete = [file for file in found if file.modified <= bound]
            until = f"until unchanged for {own.settle_seconds:g} s (settle_seconds)"
        else:
            complete, until = found, ""
        waiting = len(found) - len(complete)
        self._waiting[entity.name] = f"{waiting:,} file{'s' * (waiting > 1)} waiting {until}" if waiting else ""
        by_name = own.order == "name"
        return sorted(complete, key=lambda file: (file.name,) if by_name else (file.modified, file.name))

    def waiting(self, entity: EntityConfig) -> str:
        """The files that are there and do not count as complete yet."""
        return self._waiting.get(entity.name, "")

    def thing(self, entity: EntityConfig) -> str:
        """How an entity is called in errors."""
        return f"{self.system}.{entity.name} ({entity.address})"


def _definition(entity: EntityConfig, description: Description) -> bytes:
    options: Options | None = entity.options
    content = {
        "options": options.model_dump(mode="json") if options is not None else None,
        "fields": {item.name: type_name(item.type) for item in description.schema},
        "keys": list(description.keys),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def _placed(page: Page, name: str) -> Page:
    """A page whose refusals say in which file they stood."""
    if page.refused is None or not len(page.refused):
        return page
    places_ = compute.binary_join_element_wise(pa.scalar(name), page.refused.column("place"), " ")
    return replace(page, refused=page.refused.set_column(1, page.refused.schema.field(1), places_))


def _salted_look(file: Found, salt: bytes) -> bytes:
    return hashlib.sha256(salt + look(file.name, file.size, file.stamp)).digest()[:8]


def _whole(error: RefusedError, file: Found, path: Path | None) -> pa.Table:
    """The refusal of a whole file."""
    raw = error.raw
    if raw is None:
        raw = b""
        if path is not None:
            with path.open("rb") as opened:
                raw = opened.read(RAW_BYTES)
    place = f"{file.name} {error.place}".strip()
    return table([Refusal(raw, place, error.reason, error.field)])
