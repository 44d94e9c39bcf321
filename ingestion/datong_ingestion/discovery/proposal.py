"""A proposed definition of a source system, from what the system itself says and from a look at its rows.

Everything is asked through the source contract: what there is, each entity's fields, keys and ways to read. What
metadata does not tell is tried: whether a delta token comes, whether a cursor really filters, which fields could be
the key, which texts are times. A remark says what was seen and what was not, so that a person can judge it.

From answers to `defs.yaml`; secrets stand in it only as `${NAME}`. Alone: `datong new source`.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
from datong_platform.errors import ConfigurationError, DatongError
from datong_platform.lake.columns import compute, type_name

from datong_ingestion import cursor as cursors
from datong_ingestion.discovery.profile import FieldProfile, Profiler
from datong_ingestion.discovery.sample import Sample, declared, disturbs, reading, small_pages, take, traceless
from datong_ingestion.source import Description, Source, connect
from datong_ingestion.systems_config import (
    PROTOCOLS,
    EntityConfig,
    Mode,
    Protocol,
    ProtocolKind,
    SystemConfig,
    parse_system,
)

SAMPLE_ROWS = 5000
_OFFERED = 12
_PREFIX = re.compile(r"^[A-Z]_(?=[A-Z])")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_FILE_END = re.compile(r"\.(csv|tsv|txt|json|jsonl|ndjson|xml|xlsx?|parquet|edi|x12|gz|zip)$", re.IGNORECASE)
_CHANGED = re.compile(
    r"chang|modif|updat|write_?date|last_?write|modstamp|row_?version|recorded|received", re.IGNORECASE
)
_KEY_NAME = re.compile(
    r"(^|_)(id|no|nr|num|number|code|key|guid|uuid)$|(Id|ID|No|Nr|Number|Code|Key|Guid|UUID|Uuid)$|^F?ID$|编号|编码|单号"
)
_DELETED = re.compile(
    r"^(is_?)?(deleted|removed)$|^deletion_?(flag|mark|indicator)$|^marked_?for_?deletion$", re.IGNORECASE
)
_TIMES = {"date", "timestamp", "timestamp_ntz"}
_FEW = 50
_REPEATS = 0.1
"""Share of rows up to which a repeated identifier reads as an event sent again, not as a field of groups."""


@dataclass(frozen=True)
class Wishes:
    """What somebody decided already, by entity (address or name); it is not asked of the rows again."""

    names: Mapping[str, str] = field(default_factory=dict[str, str])
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    modes: Mapping[str, str] = field(default_factory=dict[str, str])
    cursors: Mapping[str, str] = field(default_factory=dict[str, str])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The same options for every entity."""
    probe: bool = True
    """Read some rows; without it only metadata is asked."""
    rows: int = SAMPLE_ROWS


@dataclass(frozen=True)
class ProposedEntity:
    """An entity as the definition would say it."""

    content: dict[str, Any]
    fields: int
    rows_seen: int
    complete: bool
    remarks: list[str]

    @property
    def name(self) -> str:
        """Its name."""
        return self.content["name"]


@dataclass(frozen=True)
class Proposal:
    """A system as the definition would say it, and what could not be read."""

    content: dict[str, Any]
    """The attributes but for the entities."""
    entities: list[ProposedEntity]
    left_out: list[tuple[str, DatongError]]
    """Addresses that could not be described, each with the reason."""

    @property
    def system(self) -> SystemConfig:
        """The proposal as a checked definition; ConfigurationError when it is not one."""
        return parse_system({**self.content, "entities": [entity.content for entity in self.entities]})


def offered(content: Mapping[str, Any], patterns: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """The addresses that a system offers and that match one of `patterns`, in its order.

    A pattern without `*`, `?` or `[` is an address and stands as it is, and so does any for a place with files, whose
    entities are patterns themselves. ConfigurationError when a pattern matches none.
    """
    if "location" in PROTOCOLS[content["protocol"]].connection.model_fields:
        return list(dict.fromkeys(patterns))
    seeds = [seed(content["protocol"], f"entity_{at}", text, options) for at, text in enumerate(patterns, 1)]
    found: dict[str, None] = {}
    wild = [text for text in patterns if _is_wild(text)]
    known: list[str] = []
    if wild:
        source = connect(parse_system({**content, "entities": seeds}))
        try:
            known = [address for address in source.entities() if not _is_wild(address)]
        finally:
            source.close()
    for pattern in patterns:
        if not _is_wild(pattern):
            found[pattern] = None
            continue
        matching = [address for address in known if fnmatch.fnmatchcase(address, pattern)]
        if not matching:
            few = f"it offers {', '.join(known[:_OFFERED])}{' …' if len(known) > _OFFERED else ''}"
            raise ConfigurationError(
                f"system {content['system']}",
                f"offers nothing that matches {pattern}; {few if known else 'it does not tell what it offers'}.",
                "name the addresses one by one, or write another pattern.",
            )
        found |= dict.fromkeys(matching)
    return list(found)


def propose(
    content: Mapping[str, Any],
    addresses: Sequence[str],
    wishes: Wishes,
    on_done: Callable[[str, ProposedEntity | DatongError], None] | None = None,
) -> Proposal:
    """A definition with these entities; `content` are the attributes of the system without them.

    `on_done` hears of each address as it was looked at, in a worker's thread. ConfigurationError when none of them can
    be described: the reason is that of the first.
    """
    named = _names(addresses, wishes.names)
    seeds = [seed(content["protocol"], name, address, wishes.options) for address, name in named.items()]
    system = small_pages(parse_system({**content, "entities": seeds}), wishes.rows)
    source = connect(system)

    def one(address: str) -> ProposedEntity | DatongError:
        try:
            found = _Look(source, system, system.entity(named[address]), wishes).propose()
        except DatongError as error:
            found = error
        if on_done:
            on_done(address, found)
        return found

    try:
        with ThreadPoolExecutor(max_workers=min(system.connection.concurrency, len(addresses))) as pool:
            looks = list(zip(addresses, pool.map(one, addresses), strict=True))
    finally:
        source.close()
    entities = [found for _, found in looks if isinstance(found, ProposedEntity)]
    left_out = [(address, found) for address, found in looks if isinstance(found, DatongError)]
    if not entities:
        raise left_out[0][1]
    return Proposal(dict(content), entities, left_out)


def _is_wild(text: str) -> bool:
    return any(mark in text for mark in "*?[")


def seed(protocol: Protocol, name: str, address: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The least that a definition can say of an entity, to ask its source about it."""
    modes = PROTOCOLS[protocol].modes
    mode = next(mode for mode in ("full", "stream", "log", "cursor", "delta_token") if mode in modes)
    found: dict[str, Any] = {"name": name, "source": address, "mode": mode}
    # what is read by a cursor alone needs one; the rows tell a better one later
    found |= {"cursor": "cursor"} if mode == "cursor" else {}
    return found | ({"options": dict(options)} if options else {})


def entity_name(address: str) -> str:
    """A name for an entity, from the last telling part of its address: `API_X/A_SalesOrder` gives sales_order."""
    parts = [part for part in re.split(r"[/\\:.\s]+", _FILE_END.sub("", address)) if re.search(r"[A-Za-z]", part)]
    for part in reversed(parts):
        words = _HUMP.sub("_", _PREFIX.sub("", part)).lower()
        name = re.sub(r"[^a-z0-9]+", "_", words).strip("_")
        name = re.sub(r"^[^a-z]+", "", name)
        if name:
            return name
    return "entity"


def _names(addresses: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """A name for each address, none twice."""
    found: dict[str, str] = {}
    for address in addresses:
        name = chosen.get(address) or entity_name(address)
        free, number = name, 2
        while free in found.values():
            free, number = f"{name}_{number}", number + 1
        found[address] = free
    return found


class _Look:
    """A look at one entity."""

    def __init__(self, source: Source, system: SystemConfig, entity: EntityConfig, wishes: Wishes) -> None:
        self.source, self.system, self.wishes = source, system, wishes
        self.entity = entity.resolved(system.system)
        self.kind: ProtocolKind = PROTOCOLS[system.protocol]
        self.remarks: list[str] = []
        self.sample: Sample | None = None

    def _wish(self, of: Mapping[str, Any]) -> Any:
        return of.get(self.entity.name) or of.get(self.entity.source)

    def propose(self) -> ProposedEntity:
        description = self.source.describe(self.entity)
        wished = self._wish(self.wishes.modes)
        tracked = self._tracked(description) if not wished and self.wishes.probe else None
        if self.wishes.probe and self.sample is None and not disturbs(self.entity, description):
            self.sample = take(self.source, traceless(self.entity, description), description, self.wishes.rows)
        if description.inferred:
            description = self._with_times(description)
        fields = self._profile(description)
        keys, events = self._keys(description, fields)
        mode, cursor = self._mode(description, wished, tracked, fields)
        content: dict[str, Any] = {"name": self.entity.name, "source": self.entity.source}
        content |= {"keys": keys} if keys else {}
        content["mode"] = mode
        if mode == "cursor":
            content["cursor"] = cursor
            if pa.types.is_date(description.schema.field(cursor).type):
                content["overlap_seconds"] = 172_800
                self.remarks.append(f"{cursor} tells the day only: two days are read again each time.")
        if events and mode != "delta_token":
            content["events"] = True
        if mode == "cursor" and keys and not events and self._compares_keys(description, cursor, keys):
            content["detect_deletes"] = True
        if deleted := self._deleted(description):
            content["soft_delete"] = {"column": deleted}
        if self.wishes.options:
            content["options"] = dict(self.wishes.options)
        if description.inferred and (kinds := self._declared(description)):
            content["fields"] = kinds
        sample = self.sample
        return ProposedEntity(
            content,
            fields=len(description.schema),
            rows_seen=len(sample.rows) if sample else 0,
            complete=bool(sample and sample.complete),
            remarks=[self._seen(description), *self.remarks, *description.notes],
        )

    def _declared(self, description: Description) -> dict[str, str]:
        """The types to declare, without the fields that the protocol itself adds, such as a row's place in a file."""
        fields = {item.name: type_name(item.type) for item in description.schema}
        sent = {name: kind for name, kind in fields.items() if not name.startswith("_")}
        if not sent:
            self.remarks.append("No field was found: check the address, the options, and that there are rows.")
        if len(sent) == len(fields) or not sent:
            return sent
        again = self.source.describe(self.entity.model_copy(update={"fields": sent}))
        return sent if fields.keys() <= set(again.schema.names) else fields

    def _seen(self, description: Description) -> str:
        if self.sample is None:
            return f"{len(description.schema)} fields; no row was read."
        count = len(self.sample.rows)
        rows = f"{count:,} rows, all there are" if self.sample.complete else f"the first {count:,} rows"
        origin = "types guessed from them" if description.inferred else "types and keys as the source declares them"
        return f"{len(description.schema)} fields; seen: {rows}; {origin}."

    def _tracked(self, description: Description) -> bool | None:
        """Whether the system hands out a delta token; None when reading on would take too long to know."""
        if "delta_token" not in description.modes:
            return False
        entity = self.entity.model_copy(update={"mode": "delta_token"})
        try:
            sample = take(self.source, entity, description, self.wishes.rows)
        except DatongError:
            # the service may refuse to be asked for changes at all; a plain read tells whether it answers
            return False
        self.sample = sample
        return sample.position is not None if sample.complete else None

    def _with_times(self, description: Description) -> Description:
        """Guessed texts that are all times, as times: kept only where every value seen fits."""
        if self.sample is None or not len(self.sample.rows):
            return description
        profiler = Profiler(description)
        profiler.add(self.sample.rows)
        kinds = {item.name: item.looks_like for item in profiler.field_profiles() if item.looks_like in _TIMES}
        if not kinds:
            return description
        entity = self.entity.model_copy(
            update={"fields": {item.name: kinds.get(item.name, type_name(item.type)) for item in description.schema}}
        )
        typed = declared(description, entity)
        sample = take(self.source, traceless(entity, typed), typed, self.wishes.rows)
        misfits = {name for mark in sample.rescued if mark for name in json.loads(mark)} & kinds.keys()
        if misfits:
            kept = {name: kind for name, kind in entity.fields.items() if name not in misfits}
            kept = {item.name: kept.get(item.name, type_name(item.type)) for item in description.schema}
            entity = entity.model_copy(update={"fields": kept})
            typed = declared(description, entity)
            sample = take(self.source, traceless(entity, typed), typed, self.wishes.rows)
        self.sample, self.entity = sample, entity
        times = tuple(item.name for item in typed.schema if pa.types.is_temporal(item.type))
        return replace(description, schema=typed.schema, keys=typed.keys, cursors=description.cursors or times)

    def _profile(self, description: Description) -> dict[str, FieldProfile]:
        self.profiler = Profiler(description)
        if self.sample is not None:
            self.profiler.add(self.sample.rows)
        return {item.name: item for item in self.profiler.field_profiles()}

    def _keys(self, description: Description, fields: Mapping[str, FieldProfile]) -> tuple[list[str], bool]:
        """Key fields, and whether rows look like events that can be sent twice."""
        if wished := self._wish(self.wishes.keys):
            return list(wished), False
        if description.keys:
            return list(description.keys), False
        rows = len(self.sample.rows) if self.sample else 0
        if rows < 2:
            self.remarks.append("No key is known, and too few rows were seen to propose one.")
            return [], False
        steady = {item.name for item in description.schema if not pa.types.is_temporal(item.type)}
        found = [key.fields for key in self.profiler.key_profiles() if key.unique and set(key.fields) <= steady]
        named = [key for key in found if len(key) == 1 and _KEY_NAME.search(key[0])]
        event = None if named else self._event(fields, steady, rows)
        if event:
            return [event], True
        if not found:
            self.remarks.append("No key: no field, and no two or three together, are unique in the rows seen.")
            return [], False
        few = " These are few; look again." if rows < _FEW else ""
        self.remarks.append(f"Key proposed because it is unique in the {rows:,} rows seen.{few}")
        return list(named[0] if named else found[0]), False

    def _event(self, fields: Mapping[str, FieldProfile], steady: set[str], rows: int) -> str:
        """An identifier that came again in few rows only."""
        for item in fields.values():
            repeated = rows - item.distinct
            if item.name in steady and _KEY_NAME.search(item.name) and not item.nulls and repeated <= rows * _REPEATS:
                self.remarks.append(
                    f"{item.name} came again in {repeated:,} of {rows:,} rows: taken as events that can be sent twice. "
                    "If these are states of one thing, take `events` out."
                )
                return item.name
        return ""

    def _mode(
        self, description: Description, wished: str | None, tracked: bool | None, fields: Mapping[str, FieldProfile]
    ) -> tuple[Mode, str]:
        modes = description.modes
        asked = self._wish(self.wishes.cursors) or ""
        if wished:
            return self._wished_mode(description, wished, asked or next(iter(self._ranked(description, fields)), ""))
        if asked:
            return "cursor", asked
        if tracked:
            self.remarks.append("The system hands out a delta token, so changes and deletes come by themselves.")
            return "delta_token", ""
        if tracked is None and self.wishes.probe:
            self.remarks.append(
                "Whether it hands out a delta token shows only at the end of a whole read: try `mode: delta_token`."
            )
        found = (name for name in self._ranked(description, fields) if self._filters(description, name))
        if "cursor" in modes and (cursor := next(found, "")):
            return "cursor", cursor
        return next(mode for mode in ("full", "stream", "log", "cursor", "delta_token") if mode in modes), ""

    def _wished_mode(self, description: Description, mode: str, cursor: str) -> tuple[Mode, str]:
        thing = f"{self.system.system}.{self.entity.name}"
        for known in description.modes:
            if known == mode and (mode != "cursor" or cursor):
                return known, cursor
        if mode in description.modes:
            raise ConfigurationError(
                thing,
                "has no field that looks like the time of the last change.",
                f"name one: --cursor {self.entity.name}=FIELD.",
            )
        raise ConfigurationError(
            thing, f"cannot be read in mode {mode}.", f"use {' or '.join(sorted(description.modes))}."
        )

    def _ranked(self, description: Description, fields: Mapping[str, FieldProfile]) -> list[str]:
        """Fields that could tell the last change, the likeliest first: by name, times of day before days."""
        known = [name for name in description.cursors if name in fields and _CHANGED.search(name)]
        usable = [name for name in known if not fields[name].rows or fields[name].nulls < fields[name].rows]
        kinds = {item.name: item.type for item in description.schema}

        def rank(name: str) -> tuple[bool, bool, bool]:
            kind = kinds[name]
            zoned = pa.types.is_timestamp(kind) and kind.tz is not None
            return pa.types.is_date(kind), not zoned, fields[name].nulls > 0

        return sorted(usable, key=rank)

    def _filters(self, description: Description, cursor: str) -> bool:
        """Whether a read from a cursor on leaves out what is older: tried, since a system may ignore the question."""
        if self.sample is None or self.kind.queries:
            return True
        column = self.sample.rows.column(cursor).drop_null()
        reached = cursors.later(None, column) if len(column) else None
        if reached is None:
            self.remarks.append(f"{cursor} had no value in the rows seen, so it could not be tried as a cursor.")
            return False
        bound = cursors.value(reached, column.type)
        older = compute.sum(compute.less(column, pa.scalar(bound, column.type))).as_py() or 0
        if not older:
            self.remarks.append(f"All rows seen have one {cursor}, so whether it filters could not be tried.")
            return True
        entity = self.entity.model_copy(update={"mode": "cursor", "cursor": cursor, "overlap_seconds": 0.0})
        try:
            found = take(self.source, entity, description, self.wishes.rows, position=reached)
        except DatongError as error:
            self.remarks.append(f"Not read by {cursor}: the system refused it ({error.reason})")
            return False
        later = found.rows.column(cursor)
        if compute.any(compute.less(later, pa.scalar(bound, later.type))).as_py():
            self.remarks.append(
                f"Not read by {cursor}: asked for what changed since {reached}, the system sent older rows as well."
            )
            return False
        self.remarks.append(f"Tried: asked from a {cursor} on, the system leaves out what is older.")
        return True

    def _compares_keys(self, description: Description, cursor: str, keys: list[str]) -> bool:
        """Whether the keys that exist can be read at the end of a read, which tells deletes: tried where rows were."""
        if not self.kind.detects_deletes:
            return False
        column = self.sample.rows.column(cursor) if self.sample else None
        reached = cursors.later(None, column) if column is not None and len(column) else None
        if reached is None:
            return self.kind.queries
        changed = {"mode": "cursor", "cursor": cursor, "keys": keys, "detect_deletes": True, "overlap_seconds": 0.0}
        try:
            with reading(
                self.source, self.entity.model_copy(update=changed), replace(description, keys=tuple(keys)), reached
            ) as found:
                return any(page.keys is not None for page in found)
        except DatongError:
            return False

    def _deleted(self, description: Description) -> str:
        return next(
            (item.name for item in description.schema if pa.types.is_boolean(item.type) and _DELETED.match(item.name)),
            "",
        )
