"""Contracts: what every field of a silver entity and of a serve table is called, means, and must keep to.

From `dbt_project/standard/contracts/*.odcs.yaml` (Open Data Contract Standard v3.2.0) to `Contract`. A file holds one
table. What ODCS has no place for is in `customProperties`; their names are in `TABLE_PROPERTIES`, `FIELD_PROPERTIES`
and `RULE_PROPERTIES`, and any other name is an error, because a misspelt one would do nothing.

    contract("sales_order_item").field("quantity").unit_field    # 'quantity_unit'
    contract("sales_order_item").rules                           # in the order in which a row is checked

A mistake is a ConfigurationError that names file, line, field and next step. `problems()` lists all of them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from datong_platform.errors import ConfigurationError
from datong_platform.lake.indexes import Index, index_of
from datong_platform.settings import DBT_PROJECT
from datong_platform.standard.masks import MASKS
from datong_platform.standard.normalise import NORMALISERS
from datong_platform.standard.rules import RULES

STANDARD = DBT_PROJECT / "standard"
CONTRACTS = STANDARD / "contracts"
SUFFIX = ".odcs.yaml"
API_VERSION = "v3.2.0"
SERVE_PREFIX = "serve__"

Layer = Literal["silver", "serve"]
OnFailure = Literal["withhold", "empty", "warn"]
"""What a broken rule does: keep the row out of silver, keep the row and empty the field, or only report it."""

LOGICAL_TYPES = ("string", "integer", "number", "boolean", "date", "timestamp")
CLASSIFICATIONS = ("public", "general", "personal", "sensitive_personal", "important", "core")
"""By rising protection: GB/T 43697 knows general, important and core data; personal and sensitive personal information
are those of GB/T 35273."""
MASKED_FROM = "personal"
"""A field of this classification or a higher one must say how it is masked."""

TABLE_PROPERTIES = ("title_zh", "loading", "conservation", "audience", "thresholds", "indexes", "cluster_by")
FIELD_PROPERTIES = (
    "title_zh",
    "unit_field",
    "currency_field",
    "unit",
    "code_set",
    "normalise",
    "derived_from",
    "mask",
    "on_unknown_code",
    "form",
)
RULE_PROPERTIES = ("on_failure", "hold_above", "stop_above", "parent")

GIVEN_BY_CONFORM = {"source", "found", "occurrences"}
"""Parameters of rules that name columns which `conform` makes; a contract does not give them."""

_SEVERITIES: dict[OnFailure, str] = {"withhold": "error", "empty": "warning", "warn": "info"}
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_TYPE = re.compile(r"(string|boolean|int|bigint|date|timestamp|decimal\((\d{1,2}),(\d{1,2})\))\Z")
_VERSION = re.compile(r"\d+\.\d+\.\d+\Z")
_REFERENCE = re.compile(r"(?:([a-z0-9_]+)\.odcs\.ya?ml#)?/?schema/([a-z0-9_]+)/properties/([a-z0-9_]+)\Z")
_SHORT_REFERENCE = re.compile(r"([a-z0-9_]+)\.([a-z0-9_]+)\Z")
_OF_TYPE = {
    "string": ("string",),
    "integer": ("int", "bigint"),
    "number": ("decimal",),
    "boolean": ("boolean",),
    "date": ("date",),
    "timestamp": ("timestamp",),
}


@dataclass(frozen=True)
class Problem:
    """A mistake in a contract file, where it is, and what to do about it."""

    file: Path
    line: int
    field: str
    reason: str
    next_step: str

    @property
    def place(self) -> str:
        """File (from the project's folder) and line, as an editor opens it, and the field."""
        path = self.file.relative_to(DBT_PROJECT.parent) if self.file.is_relative_to(DBT_PROJECT.parent) else self.file
        return f"{path}:{self.line}" + (f", field {self.field}" if self.field else "")

    def error(self) -> ConfigurationError:
        return ConfigurationError(self.place, self.reason, self.next_step)


@dataclass(frozen=True)
class Rule:
    """A rule of a field, or of the whole row when `field` is empty.

    `kind` is a name in `datong_platform.standard.rules.RULES`, `params` what it needs to know; `name` is what
    quarantine calls it.
    """

    name: str
    kind: str
    field: str
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    on_failure: OnFailure = "withhold"
    hold_above: float | None = None
    """Share of the entity's rows, 0 to 1: when more break the rule, the entity's last good version stays."""
    stop_above: float | None = None
    """Share above which the build stops."""
    line: int = 0


@dataclass(frozen=True)
class Reference:
    """Fields of this entity that name a row of another one (`entity`), in `fields` as in its `targets`."""

    fields: tuple[str, ...]
    entity: str
    targets: tuple[str, ...]
    is_checked: bool = True
    """False when it is only documented: rows are kept whether or not the other row is known."""
    line: int = 0


@dataclass(frozen=True)
class Field:
    """A column of a contract's table."""

    name: str
    title: str
    title_zh: str
    description: str
    logical_type: str
    physical_type: str
    """As the engine's SQL writes it: string, boolean, int, bigint, date, timestamp, decimal(p,s)."""
    is_required: bool = False
    is_unique: bool = False
    key_position: int | None = None
    classification: str = "general"
    mask: str | None = None
    unit_field: str | None = None
    """The field that holds the unit of this quantity, a UN/ECE Rec 20 code."""
    unit: str | None = None
    """The fixed unit of this quantity when no field holds it: MIN, P1 (percent), DAY."""
    currency_field: str | None = None
    """The field that holds the currency of this amount, an ISO 4217 code."""
    code_set: str | None = None
    on_unknown_code: OnFailure = "withhold"
    normalise: tuple[str, ...] = ()
    derived_from: str | None = None
    """The field that this one is made from, by its `normalise`."""
    examples: tuple[str, ...] = ()
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    form: str | None = None
    """The pattern in words, for people: a plant's number of four digits."""
    minimum: str | None = None
    maximum: str | None = None
    exclusive_minimum: str | None = None
    exclusive_maximum: str | None = None
    is_deprecated: bool = False
    tags: tuple[str, ...] = ()
    line: int = 0

    @property
    def precision(self) -> int | None:
        """Digits in all, for a decimal."""
        found = _TYPE.match(self.physical_type)
        return int(found[2]) if found and found[2] else None

    @property
    def scale(self) -> int | None:
        """Digits after the point, for a decimal."""
        found = _TYPE.match(self.physical_type)
        return int(found[3]) if found and found[3] else None

    @property
    def is_personal(self) -> bool:
        return CLASSIFICATIONS.index(self.classification) >= CLASSIFICATIONS.index(MASKED_FROM)


TECHNICAL = (
    Field("_datong_batch_id", "Batch", "批次号", "The batch that brought the row.", "string", "string"),
    Field(
        "_datong_ingested_at",
        "Ingested at",
        "采集时间",
        "When the batch was read from the source, UTC.",
        "timestamp",
        "timestamp",
    ),
)
"""Columns that every silver table has after those of its contract."""
VERSION = Field(
    "_datong_version",
    "Data version",
    "数据版本",
    "The batches that the row was made from; the row is written again when they change.",
    "string",
    "string",
)
"""The column before them in a table that is merged."""


@dataclass(frozen=True)
class Contract:
    """The contract of one table."""

    entity: str
    """silver: the entity; serve: the model, such as bi__inventory."""
    layer: Layer
    version: str
    title: str
    title_zh: str
    description: str
    grain: str
    domain: str
    owner: str
    fields: tuple[Field, ...]
    rules: tuple[Rule, ...]
    """Every rule of a row, in the order of the fields, then those of the row as a whole."""
    references: tuple[Reference, ...]
    is_merged: bool = False
    """Written incrementally by difference, as events are; else the whole table is replaced by each build."""
    conservation: tuple[Mapping[str, Any], ...] = ()
    """Which records of which source this entity's rows are, for the test `conservation`."""
    freshness_hours: float | None = None
    retention_days: int | None = None
    status: str = "active"
    audience: str = ""
    """serve: who reads it, `bi`, or a system that it is written back to."""
    indexes: tuple[Index, ...] | None = None
    """Of a table for BI in PostgreSQL, beside its key; None: what follows from its fields."""
    cluster_by: str | None = None
    """The field in whose order its rows lie there; "" for none, None for its first date."""
    path: Path = Path()
    fields_by_name: Mapping[str, Field] = dataclasses.field(default_factory=dict[str, Field], repr=False, compare=False)

    @property
    def table(self) -> str:
        """The table's name with its schema."""
        return f"{self.layer}.{self.entity}"

    @property
    def key(self) -> tuple[str, ...]:
        """The fields that identify a row, in order."""
        keyed = [(each.key_position, each.name) for each in self.fields if each.key_position is not None]
        return tuple(name for _, name in sorted(keyed))

    @property
    def columns(self) -> tuple[Field, ...]:
        """All columns of the table in order, the technical ones of silver included."""
        if self.layer == "serve":
            return self.fields
        return (*self.fields, *((VERSION,) if self.is_merged else ()), *TECHNICAL)

    def field(self, name: str) -> Field:
        """A field by its name; ConfigurationError when there is none."""
        if found := self.fields_by_name.get(name):
            return found
        raise ConfigurationError(
            f"field {name} of {self.table}", f"is not in {self.path.name}.", "use a field of the contract, or add it."
        )

    def rules_of(self, name: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.field == name)


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, eight times as quick, where PyYAML was built with it."""


class _Map(dict[str, Any]):
    """A mapping of a YAML file that knows the line of each of its keys."""

    line: int = 0
    lines: dict[str, int]

    def line_of(self, key: str) -> int:
        return self.lines.get(key, self.line)


class _List(list[Any]):
    line: int = 0


class _FaultyError(Exception):
    """A mistake that keeps a part of a contract from being read at all; it is among the problems."""


def contract_files(folder: Path = CONTRACTS) -> list[Path]:
    """The contract files, in order."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def contract(entity: str) -> Contract:
    """The contract of a silver entity, or of a serve table by its full model name (`bi__inventory`).

    ConfigurationError when there is none.
    """
    known = contracts()
    if entity not in known:
        raise ConfigurationError(
            f"entity {entity}",
            "has no contract.",
            f"name one of {', '.join(known)}, or write {CONTRACTS.relative_to(DBT_PROJECT.parent)}/{entity}{SUFFIX}.",
        )
    return known[entity]


def contracts(layer: Layer | None = None, folder: Path = CONTRACTS) -> dict[str, Contract]:
    """All contracts by entity (serve tables by model name), in order; ConfigurationError at the first mistake."""
    stamp = tuple((path, path.stat().st_mtime_ns) for path in contract_files(folder))
    read, wrong = _read_all(stamp)
    if wrong:
        first = wrong[0]
        more = f" {len(wrong) - 1} more: run `datong standard lint`." if len(wrong) > 1 else ""
        raise ConfigurationError(first.place, first.reason, f"{first.next_step}{more}")
    return {name: each for name, each in read.items() if layer in {None, each.layer}}


def problems(folder: Path = CONTRACTS) -> list[Problem]:
    """Every mistake in the contract files, none when all are right."""
    stamp = tuple((path, path.stat().st_mtime_ns) for path in contract_files(folder))
    return list(_read_all(stamp)[1])


@lru_cache(maxsize=4)
def _read_all(stamp: tuple[tuple[Path, int], ...]) -> tuple[dict[str, Contract], tuple[Problem, ...]]:
    read: dict[str, Contract] = {}
    wrong: list[Problem] = []
    for path, _ in stamp:
        found, mistakes = parse(path.read_text("utf-8"), path)
        wrong += mistakes
        if found:
            read[found.entity] = found
    wrong += [problem for each in read.values() for problem in _across(each, read)]
    return read, tuple(wrong)


def parse(text: str, path: Path) -> tuple[Contract | None, list[Problem]]:
    """A contract from the text of its file, which need not be on disk, and what is wrong with it."""
    reader = _Reader(path)
    try:
        return reader.contract(_load(text, path)), reader.wrong
    except _FaultyError:
        return None, reader.wrong
    except ConfigurationError as error:
        line = int(found[1]) if (found := re.search(r":(\d+)", error.thing)) else 1
        return None, [Problem(path, line, "", error.reason, error.next_step)]


def _load(text: str, path: Path) -> _Map:
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(
            f"{path}:{line}", f"is not YAML: {error.problem}.", "mend the line; values with a colon need quotes."
        ) from None
    loader = yaml.SafeLoader(text)
    try:
        found = _plain(node, loader)
    finally:
        loader.dispose()
    if not isinstance(found, _Map):
        raise ConfigurationError(f"{path}:1", "is not a contract.", "begin with `apiVersion: v3.2.0`.")
    return found


def _plain(node: yaml.Node | None, loader: yaml.SafeLoader) -> Any:
    if isinstance(node, yaml.MappingNode):
        made = _Map()
        made.line, made.lines = node.start_mark.line + 1, {}
        for key_node, value_node in node.value:
            key = str(loader.construct_object(key_node))
            if key in made:
                raise ConfigurationError(
                    f"{key_node.start_mark.line + 1}:{key_node.start_mark.line + 1}",
                    f"`{key}` is given twice.",
                    "keep one of the two.",
                )
            made[key] = _plain(value_node, loader)
            made.lines[key] = key_node.start_mark.line + 1
        return made
    if isinstance(node, yaml.SequenceNode):
        items = _List(_plain(each, loader) for each in node.value)
        items.line = node.start_mark.line + 1
        return items
    return loader.construct_object(node, deep=True) if node is not None else None


class _Reader:
    """Reads one file; mistakes are gathered, so that all of them can be mended at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wrong: list[Problem] = []

    def say(self, line: int, name: str, reason: str, next_step: str) -> None:
        self.wrong.append(Problem(self.path, line, name, reason, next_step))

    def contract(self, top: _Map) -> Contract:
        layer: Layer = "serve" if self.path.name.startswith(SERVE_PREFIX) else "silver"
        entity = self.path.name.removesuffix(SUFFIX).removeprefix(SERVE_PREFIX)
        self._is(top, "apiVersion", API_VERSION, f"write `apiVersion: {API_VERSION}`.")
        self._is(top, "kind", "DataContract", "write `kind: DataContract`.")
        self._is(top, "name", entity, f"write `name: {entity}`, as the file is called.")
        self._is(top, "id", f"{layer}.{entity}", f"write `id: {layer}.{entity}`.")
        version = str(top.get("version", ""))
        if not _VERSION.match(version):
            self.say(top.line_of("version"), "", "`version` is not major.minor.patch.", "write `version: 1.0.0`.")
        schema = top.get("schema")
        if not isinstance(schema, _List) or len(schema) != 1 or not isinstance(schema[0], _Map):
            self.say(top.line_of("schema"), "", "`schema` must hold one table.", "write one file for each table.")
            raise _FaultyError
        table: _Map = schema[0]
        self._is(table, "name", entity, f"write `name: {entity}`.")
        self._is(table, "physicalName", f"{layer}.{entity}", f"write `physicalName: {layer}.{entity}`.")
        custom = self._custom(table, TABLE_PROPERTIES, "")
        loading = custom.get("loading", "replaced")
        if loading not in {"replaced", "merged"}:
            self.say(table.line, "", f"`loading` is {loading!r}.", "write replaced or merged.")
        fields, rules, references = self._fields(table)
        rules += self._rules(table, None, [each.name for each in fields])
        of_rows = self._references(table, "")
        rules += [_reference_rule(each, self._parent_rule(table, each)) for each in of_rows if each.is_checked]
        references += of_rows
        rules = self._limited(rules, custom.get("thresholds", ()), table)
        sla = self._sla(top)
        return Contract(
            entity=entity,
            layer=layer,
            version=version,
            title=self._text(table, "businessName", ""),
            title_zh=self._text_of(custom, "title_zh", table, ""),
            description=self._text(table, "description", ""),
            grain=self._text(table, "dataGranularityDescription", ""),
            domain=self._text(top, "domain", ""),
            owner=self._owner(top),
            fields=tuple(fields),
            rules=tuple(rules),
            references=tuple(references),
            is_merged=loading == "merged",
            conservation=tuple(cast("Sequence[Mapping[str, Any]]", custom.get("conservation", ()))),
            freshness_hours=sla.get("latency"),
            retention_days=int(sla["retention"]) if "retention" in sla else None,
            status=str(top.get("status", "active")),
            audience=str(custom.get("audience", "")),
            indexes=self._indexes(table, custom, fields),
            cluster_by=self._cluster_by(table, custom, fields),
            path=self.path,
            fields_by_name={each.name: each for each in fields},
        )

    def _indexes(self, table: _Map, custom: Mapping[str, Any], fields: Sequence[Field]) -> tuple[Index, ...] | None:
        if "indexes" not in custom:
            return None
        self._of_bi(table, custom, "indexes")
        found: list[Index] = []
        for given in _as_list(custom["indexes"] or []):
            try:
                found.append(index_of(given, "indexes"))
            except ConfigurationError as error:
                self.say(table.line, "", error.reason, error.next_step)
        known = {each.name for each in fields}
        for name in sorted({name for index in found for name in index.columns} - known):
            self.say(table.line, "", f"an index names {name}, which is no field.", "name fields of the table.")
        return tuple(found)

    def _cluster_by(self, table: _Map, custom: Mapping[str, Any], fields: Sequence[Field]) -> str | None:
        if "cluster_by" not in custom:
            return None
        self._of_bi(table, custom, "cluster_by")
        name = str(custom["cluster_by"] or "")
        ordered = [each.name for each in fields if each.logical_type in {"date", "timestamp", "integer"}]
        if name and name not in ordered:
            self.say(
                table.line,
                "",
                f"`cluster_by` is {name}, which is no date and no whole number of the table.",
                f"name one of {', '.join(ordered)}." if ordered else "leave it out.",
            )
        return name

    def _of_bi(self, table: _Map, custom: Mapping[str, Any], what: str) -> None:
        if custom.get("audience") != "bi":
            self.say(table.line, "", f"`{what}` is for tables with `audience: bi` only.", "leave it out.")

    def _fields(self, table: _Map) -> tuple[list[Field], list[Rule], list[Reference]]:
        fields: list[Field] = []
        rules: list[Rule] = []
        references: list[Reference] = []
        seen: dict[str, int] = {}
        for given in self._items(table, "properties", ""):
            try:
                made, of_it = self._field(given)
            except _FaultyError:
                continue
            if made.name in seen:
                self.say(given.line, made.name, f"is already on line {seen[made.name]}.", "keep one of the two.")
                continue
            seen[made.name] = given.line
            refers = self._references(given, made.name)
            fields.append(made)
            rules += [*of_it, *self._rules(given, made, [])]
            rules += [_reference_rule(each, self._parent_rule(given, each)) for each in refers if each.is_checked]
            references += refers
        if not fields:
            self.say(table.line, "", "the table has no fields.", "write `properties:` with one entry for each field.")
        return fields, rules, references

    def _field(self, given: _Map) -> tuple[Field, list[Rule]]:
        name = str(given.get("name", ""))
        if not _NAME.match(name):
            self.say(given.line, name, "a field's name is snake_case.", "write `name: requested_delivery_on`, say.")
            raise _FaultyError
        logical, physical = str(given.get("logicalType", "")), str(given.get("physicalType", "")).replace(" ", "")
        if logical not in LOGICAL_TYPES:
            self.say(
                given.line_of("logicalType"),
                name,
                f"`logicalType` is {logical or 'missing'}.",
                f"write one of {', '.join(LOGICAL_TYPES)}.",
            )
            raise _FaultyError
        if not _TYPE.match(physical) or physical.split("(", maxsplit=1)[0] not in _OF_TYPE[logical]:
            self.say(
                given.line_of("physicalType"),
                name,
                f"`physicalType` {physical or '(missing)'} is no type for a {logical}.",
                f"write {' or '.join(_OF_TYPE[logical])}" + ("(15,3), say." if logical == "number" else "."),
            )
            raise _FaultyError
        custom = self._custom(given, FIELD_PROPERTIES, name)
        options = given.get("logicalTypeOptions") or _Map()
        made = Field(
            name=name,
            title=self._text(given, "businessName", name),
            title_zh=self._text_of(custom, "title_zh", given, name),
            description=self._text(given, "description", name),
            logical_type=logical,
            physical_type=physical,
            is_required=bool(given.get("required", False)),
            is_unique=bool(given.get("unique", False)),
            key_position=int(given.get("primaryKeyPosition", 1)) if given.get("primaryKey") else None,
            classification=self._one_of(given, "classification", CLASSIFICATIONS, "general", name),
            mask=custom.get("mask"),
            unit_field=custom.get("unit_field"),
            unit=custom.get("unit"),
            currency_field=custom.get("currency_field"),
            code_set=custom.get("code_set"),
            on_unknown_code=self._on_failure(custom.get("on_unknown_code", "withhold"), given, name),
            normalise=tuple(_as_list(custom.get("normalise", ()))),
            derived_from=custom.get("derived_from"),
            examples=tuple(str(each) for each in given.get("examples", ())),
            min_length=options.get("minLength"),
            max_length=options.get("maxLength"),
            pattern=options.get("pattern"),
            form=custom.get("form"),
            **{
                key: None if options.get(odcs) is None else str(options[odcs])
                for key, odcs in (
                    ("minimum", "minimum"),
                    ("maximum", "maximum"),
                    ("exclusive_minimum", "exclusiveMinimum"),
                    ("exclusive_maximum", "exclusiveMaximum"),
                )
            },
            is_deprecated=bool(given.get("deprecated", False)),
            tags=tuple(given.get("tags", ())),
            line=given.line,
        )
        for each in made.normalise:
            if each not in NORMALISERS:
                self.say(
                    given.line,
                    name,
                    f"normaliser {each} is not known.",
                    f"use one of {', '.join(sorted(NORMALISERS))}.",
                )
        self._mask(made, given)
        return made, _rules_of_shape(made)

    def _mask(self, made: Field, given: _Map) -> None:
        if made.is_personal and made.mask not in MASKS:
            self.say(
                given.line_of("classification"),
                made.name,
                f"is classified {made.classification} and its mask is {made.mask or 'missing'}.",
                f"add the custom property `mask`, one of {', '.join(MASKS)}.",
            )
        elif made.mask and not made.is_personal:
            self.say(
                given.line,
                made.name,
                f"has the mask {made.mask}, and is classified {made.classification}.",
                f"classify it {MASKED_FROM} or higher, or take the mask away.",
            )

    def _rules(self, given: _Map, of: Field | None, fields: list[str]) -> list[Rule]:
        made: list[Rule] = []
        name = of.name if of else ""
        for quality in self._items(given, "quality", name):
            implementation = quality.get("implementation")
            if quality.get("type") != "custom" or quality.get("engine") != "datong":
                self.say(
                    quality.line, name, "a rule of this project is `type: custom, engine: datong`.", "write it so."
                )
                continue
            if not isinstance(implementation, _Map) or "rule" not in implementation:
                self.say(
                    quality.line,
                    name,
                    "the rule is not named.",
                    "write `implementation: {rule: positive}`, say.",
                )
                continue
            kind = str(implementation["rule"])
            params = {key: value for key, value in implementation.items() if key != "rule"}
            if kind not in RULES:
                self.say(
                    implementation.line, name, f"rule {kind} is not known.", f"use one of {', '.join(sorted(RULES))}."
                )
                continue
            try:
                RULES[kind].checked(name, {**dict.fromkeys(GIVEN_BY_CONFORM & set(RULES[kind].needs), ""), **params})
            except ConfigurationError as error:
                self.say(implementation.line, name, f"rule {kind}: {error.reason}", error.next_step)
                continue
            custom = self._custom(quality, RULE_PROPERTIES, name)
            on = self._on_failure(custom.get("on_failure", "withhold"), quality, name)
            if on == "empty" and of is None:
                self.say(quality.line, name, "a rule of the whole row can't empty a field.", "write withhold or warn.")
            if (severity := quality.get("severity")) and severity != _SEVERITIES[on]:
                self.say(
                    quality.line_of("severity"),
                    name,
                    f"severity {severity} does not go with on_failure {on}.",
                    f"write `severity: {_SEVERITIES[on]}`.",
                )
            made.append(
                Rule(
                    name=RULES[kind].named(params),
                    kind=kind,
                    field=name,
                    params=params,
                    on_failure=on,
                    hold_above=self._share(custom, "hold_above", quality, name),
                    stop_above=self._share(custom, "stop_above", quality, name),
                    line=quality.line,
                )
            )
            for other in _as_list(params.get("fields", ())):
                if of is None and other not in fields:
                    self.say(quality.line, "", f"the rule names {other}, which is no field.", "name fields above.")
        return made

    def _references(self, given: _Map, name: str) -> list[Reference]:
        made: list[Reference] = []
        for relation in self._items(given, "relationships", name):
            custom = self._custom(relation, RULE_PROPERTIES, name)
            targets = [self._target(each, relation, name) for each in _as_list(relation.get("to"))]
            sources = (
                [name] if name else [self._target(each, relation, name)[1] for each in _as_list(relation.get("from"))]
            )
            entities = {entity for entity, _ in targets}
            if len(entities) != 1 or len(targets) != len(sources):
                self.say(
                    relation.line,
                    name,
                    "a relationship names as many fields of one entity as it has itself.",
                    "write `to: customer.odcs.yaml#/schema/customer/properties/customer_id`, say.",
                )
                continue
            made.append(
                Reference(
                    fields=tuple(sources),
                    entity=entities.pop(),
                    targets=tuple(target for _, target in targets),
                    is_checked=custom.get("parent", "checked") == "checked",
                    line=relation.line,
                )
            )
        return made

    def _parent_rule(self, given: _Map, reference: Reference) -> Mapping[str, Any]:
        for relation in given.get("relationships", ()):
            if relation.line == reference.line:
                return self._custom(relation, RULE_PROPERTIES, reference.fields[0])
        return {}

    def _target(self, text: Any, relation: _Map, name: str) -> tuple[str, str]:
        if found := _REFERENCE.match(str(text)):
            if found[1] and found[1].removeprefix(SERVE_PREFIX) != found[2]:
                self.say(relation.line, name, f"{text} names two tables.", "the file is called as its table.")
            return found[2], found[3]
        if found := _SHORT_REFERENCE.match(str(text)):
            return found[1], found[2]
        self.say(
            relation.line,
            name,
            f"`to` is {text!r}.",
            "write `to: customer.odcs.yaml#/schema/customer/properties/customer_id`, say.",
        )
        return "", ""

    def _sla(self, top: _Map) -> dict[str, float]:
        """Hours of `latency`, days of `retention`."""
        factors = {("latency", "h"): 1.0, ("latency", "d"): 24.0, ("retention", "d"): 1.0, ("retention", "y"): 365.0}
        found: dict[str, float] = {}
        for given in self._items(top, "slaProperties", ""):
            what, unit, value = str(given.get("property")), str(given.get("unit")), given.get("value")
            factor = factors.get((what, unit))
            if factor is None or not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
                self.say(
                    given.line,
                    "",
                    f"{what} {value} {unit} is not understood.",
                    "write latency in h or d, retention in d or y.",
                )
                continue
            found[what] = value * factor
        return found

    def _owner(self, top: _Map) -> str:
        team = top.get("team")
        name = str(team.get("name") or "") if isinstance(team, _Map) else ""
        if not name:
            self.say(top.line_of("team"), "", "nobody owns the table.", "write `team: {name: sales}`.")
        return name

    def _custom(self, given: _Map, known: Sequence[str], name: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for each in self._items(given, "customProperties", name):
            what = str(each.get("property", ""))
            if what not in known:
                self.say(
                    each.line, name, f"custom property {what!r} is not known here.", f"use one of {', '.join(known)}."
                )
            elif what in found:
                self.say(each.line, name, f"custom property {what} is given twice.", "keep one of the two.")
            else:
                found[what] = each.get("value")
        return found

    def _items(self, given: _Map, key: str, name: str) -> Iterator[_Map]:
        items = given.get(key, ())
        if not isinstance(items, list | tuple):
            self.say(given.line_of(key), name, f"`{key}` must be a list.", "begin each entry with `- `.")
            return
        for each in cast("Sequence[Any]", items):
            if isinstance(each, _Map):
                yield each
            else:
                self.say(given.line_of(key), name, f"`{key}` holds {each!r}.", "each entry is a mapping, key: value.")

    def _text(self, given: _Map, key: str, name: str) -> str:
        found = " ".join(str(given.get(key) or "").split())
        if not found:
            self.say(given.line_of(key), name, f"`{key}` is missing.", "write it; people read it in the dictionary.")
        return found

    def _text_of(self, custom: Mapping[str, Any], key: str, given: _Map, name: str) -> str:
        found = str(custom.get(key) or "").strip()
        if not found:
            self.say(
                given.line, name, f"the custom property {key} is missing.", f"add `{{property: {key}, value: ...}}`."
            )
        return found

    def _is(self, given: _Map, key: str, wanted: str, next_step: str) -> None:
        if given.get(key) != wanted:
            self.say(given.line_of(key), "", f"`{key}` is {given.get(key)!r}.", next_step)

    def _one_of(self, given: _Map, key: str, known: Sequence[str], default: str, name: str) -> str:
        found = str(given.get(key, default))
        if found not in known:
            self.say(given.line_of(key), name, f"`{key}` is {found}.", f"write one of {', '.join(known)}.")
            return default
        return found

    def _on_failure(self, found: Any, given: _Map, name: str) -> OnFailure:
        if found not in _SEVERITIES:
            self.say(given.line, name, f"on failure: {found!r}.", f"write one of {', '.join(_SEVERITIES)}.")
            return "withhold"
        return found

    def _limited(self, rules: list[Rule], given: Any, table: _Map) -> list[Rule]:
        """The rules with the shares of rows that may break them; also those that only a field's shape says.

        `thresholds` is a list such as [{field: quantity_unit, rule: known_unit, hold_above: 0.5, stop_above: 0.9}].
        """
        allowed = {"field", "rule", "hold_above", "stop_above"}
        limits: dict[tuple[str, str], Mapping[str, Any]] = {}
        for one in cast("Sequence[Any]", _as_list(given)):
            if not isinstance(one, Mapping) or not {"rule"} <= set(cast("Mapping[str, Any]", one)) <= allowed:
                self.say(table.line, "", f"threshold {one!r} is none.", "write field, rule, hold_above and stop_above.")
                continue
            limit = cast("Mapping[str, Any]", one)
            limits[str(limit.get("field", "")), str(limit["rule"])] = limit
        for field, name in limits.keys() - {(one.field, one.name) for one in rules}:
            known = ", ".join(sorted(one.name for one in rules if one.field == field)) or "none"
            self.say(table.line, field, f"a threshold names the rule {name}, which is not there.", f"take of {known}.")
        return [
            dataclasses.replace(
                one,
                hold_above=self._share(limit, "hold_above", table, one.field),
                stop_above=self._share(limit, "stop_above", table, one.field),
            )
            if (limit := limits.get((one.field, one.name)))
            else one
            for one in rules
        ]

    def _share(self, custom: Mapping[str, Any], key: str, given: _Map, name: str) -> float | None:
        found = custom.get(key)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
            self.say(given.line, name, f"{key} is {found!r}.", "write a share of the rows, such as 0.05.")
            return None
        return float(found)


def _rules_of_shape(of: Field) -> list[Rule]:
    """What a field's type, options, code set and `required` already say, as rules."""
    made: list[Rule] = []

    def add(kind: str, on: OnFailure = "withhold", **params: Any) -> None:
        made.append(Rule(RULES[kind].named(params), kind, of.name, params, on, line=of.line))

    if of.code_set:
        add("known_code", of.on_unknown_code, code_set=of.code_set, is_required=of.is_required)
    elif of.is_required and of.exclusive_minimum != "0":
        add("required")
    if of.logical_type not in {"string"} and not of.derived_from:
        add("type", "withhold" if of.is_required else "empty", sql_type=of.physical_type)
    if of.scale is not None:
        add("decimals", "warn", scale=of.scale)
    if of.min_length is not None:
        add("min_length", minimum=of.min_length)
    if of.max_length is not None:
        add("max_length", maximum=of.max_length)
    if of.pattern is not None:
        add("pattern", pattern=of.pattern, form=of.form or of.pattern)
    made += [Rule(RULES[kind].named(params), kind, of.name, params, line=of.line) for kind, params in _bounds(of)]
    return made


def _bounds(of: Field) -> Iterator[tuple[str, dict[str, Any]]]:
    bounds = {
        key: value
        for key in ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum")
        if (value := getattr(of, key)) is not None
    }
    if bounds == {"exclusive_minimum": "0"}:
        yield "positive", {}  # nothing is not above zero either
    elif bounds == {"minimum": "0"}:
        yield "not_negative", {}
    elif bounds.keys() == {"minimum", "maximum"}:
        yield "range", {key: _bound(value) for key, value in bounds.items()}
    else:
        for key, value in bounds.items():
            if key in {"minimum", "maximum"}:
                yield key, {key: _bound(value)}
            else:
                operator = ">" if key == "exclusive_minimum" else "<"
                yield "compare", {"other": value, "operator": operator, **_beyond(value)}


def _bound(value: str) -> Any:
    return float(value) if "." in value else int(value) if re.fullmatch(r"-?\d+", value) else value


def _beyond(value: str) -> dict[str, str]:
    return {"other_name": value, "other_name_zh": value}


def _reference_rule(reference: Reference, custom: Mapping[str, Any]) -> Rule:
    return Rule(
        f"refers_to_{reference.entity}",
        "refers_to",
        reference.fields[-1],
        {"entity": reference.entity, "fields": list(reference.fields), "targets": list(reference.targets)},
        cast("OnFailure", custom.get("on_failure", "withhold")),
        custom.get("hold_above"),
        custom.get("stop_above"),
        reference.line,
    )


def _across(each: Contract, known: Mapping[str, Contract]) -> Iterator[Problem]:
    """What can be wrong between the fields of a contract, and between contracts."""
    names = each.fields_by_name
    if not each.key:
        yield Problem(
            each.path, 1, "", "no field is the key.", "write `primaryKey: true` and a position at those that are."
        )
    for of in each.fields:
        for what, other in (("unit_field", of.unit_field), ("currency_field", of.currency_field)):
            if other and other not in names:
                yield Problem(
                    each.path,
                    of.line,
                    of.name,
                    f"{what} {other} is no field of {each.entity}.",
                    "name the field that holds it.",
                )
        if of.derived_from and of.derived_from not in names:
            yield Problem(
                each.path,
                of.line,
                of.name,
                f"derived_from {of.derived_from} is no field of {each.entity}.",
                "name the field that it is made from.",
            )
    for reference in each.references:
        parent = known.get(reference.entity)
        missing = [target for target in reference.targets if parent and target not in parent.fields_by_name]
        if missing:
            yield Problem(
                each.path,
                reference.line,
                reference.fields[-1],
                f"refers to {reference.entity}.{missing[0]}, which is no field there.",
                "name the field that identifies the other row.",
            )


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else [value]
