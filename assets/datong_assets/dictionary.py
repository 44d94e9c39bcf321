"""The data dictionary: what every table and field means, where it comes from, who uses it, what values it takes.

Generated from the contracts, the lineage of the parsed dbt project, the definitions of systems and write-back flows,
the code lists and the glossary; nothing in it is kept by hand. `dictionary_page` makes pages of it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from datong_ingestion.systems_config import SystemConfig, load_systems
from datong_ingestion.two_way.config import load_flows_and_ways
from datong_ingestion.write_back.config import ColumnValue, FlowConfig
from datong_platform.errors import ConfigurationError
from datong_platform.page import Lang
from datong_platform.settings import DBT_PROJECT
from datong_platform.standard import codes, terms
from datong_platform.standard import contract as contracts
from datong_platform.standard.in_chinese import in_chinese
from datong_platform.standard.rules import DIMENSIONS, RULES
from datong_platform.standard.terms import Term

from datong_assets.dbt import graph as graphs
from datong_assets.dbt.graph import Graph, Node
from datong_assets.inventory import written_fields

Layer = Literal["silver", "gold", "serve"]
LAYERS: tuple[Layer, ...] = ("silver", "gold", "serve")
_SHOWN_ELSEWHERE = (
    *("code_set", "required", "is_required", "type", "sql_type", "entity", "entity_zh", "fields", "targets", "source"),
    *("name", "batch_at"),
)
"""Parameters of rules that the field's own entry tells already."""
_PARAMS = {
    "minimum": ("at least", "至少"),
    "maximum": ("at most", "至多"),
    "scale": ("decimals:", "小数位："),
    "other": ("beside", "相关字段："),
    "values": ("one of", "可选："),
    "pattern": ("as", "格式："),
    "condition": ("where", "条件："),
    "holds": ("", ""),
    "operator": ("", ""),
    "other_name": ("", ""),
    "because": ("", ""),
    "form": ("", ""),
    "slack_hours": ("hours of slack:", "容差小时："),
}
"""Words before a parameter's value, in English and Chinese; a parameter that is not here is called by its name."""


@dataclass(frozen=True)
class RuleEntry:
    """A rule that a field, or a whole row, must keep."""

    name: str
    title: str
    title_zh: str
    dimension: str
    dimension_zh: str
    on_failure: str
    """withhold, empty or warn."""
    params: str
    """What the rule needs to know, in words."""
    params_zh: str


@dataclass(frozen=True)
class FieldEntry:
    """A column."""

    name: str
    title: str
    title_zh: str
    description: str
    type: str
    role: str
    """key, required, unique; empty when it is none."""
    unit: str
    """The field that holds its unit or currency, or the fixed unit."""
    code_set: str
    classification: str
    mask: str
    normalised: str
    """How its text is brought into form."""
    refers_to: str
    """`customer.customer_id`, where it names a row of another table."""
    examples: tuple[str, ...]
    rules: tuple[RuleEntry, ...]
    written_to: tuple[str, ...]
    """Fields of systems that write-back flows fill from it: `mes work_order.quantity`."""
    is_deprecated: bool = False
    description_zh: str = ""
    """The English one where nobody translated it."""


@dataclass(frozen=True)
class Link:
    """A table, or an entity of a system, that another one is made of or goes into."""

    kind: Literal["table", "source", "flow", "seed"]
    name: str
    title: str
    title_zh: str


@dataclass(frozen=True)
class TableEntry:
    """A table."""

    name: str
    """With its schema, `silver.sales_order`."""
    layer: Layer
    title: str
    title_zh: str
    description: str
    grain: str
    owner: str
    domain: str
    version: str
    """Of its contract; empty without one."""
    status: str
    freshness_hours: float | None
    retention_days: int | None
    contract: str
    """Where its contract is, from the project's folder."""
    fields: tuple[FieldEntry, ...]
    rules: tuple[RuleEntry, ...]
    """Of the whole row."""
    made_of: tuple[Link, ...]
    """The next tables before it."""
    goes_into: tuple[Link, ...]
    """The next tables after it, and the flows that read it."""
    origins: Mapping[str, tuple[str, ...]]
    """All entities that it is made of in the end, by their system."""
    score: float | None = None
    """Quality, 0 to 1, when it was last measured."""
    description_zh: str = ""
    grain_zh: str = ""


@dataclass(frozen=True)
class CodeEntry:
    """A code of the standard, and what systems call it."""

    code: str
    title: str
    title_zh: str
    note: str
    """Of a unit its dimension and factor, of a currency its minor digits."""
    valid: str
    """From when to when, where that is limited."""
    systems: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class CodeSet:
    """A list of codes."""

    name: str
    codes: tuple[CodeEntry, ...]
    used_by: tuple[str, ...]
    """Fields that hold its codes: `silver.sales_order.status`."""


@dataclass(frozen=True)
class Dictionary:
    """Everything."""

    tables: tuple[TableEntry, ...]
    code_sets: tuple[CodeSet, ...]
    terms: tuple[Term, ...] = ()
    """The business glossary, in order of the English titles."""
    notes: tuple[str, ...] = ()
    by_name: Mapping[str, TableEntry] = field(default_factory=dict[str, TableEntry], repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """As plain content for JSON."""
        content = asdict(self)
        del content["by_name"]
        content["terms"] = [term.model_dump() for term in self.terms]
        return content


def dictionary(
    *, graph: Graph | None = None, scores: Mapping[str, float] | None = None, defs: Path | None = None
) -> Dictionary:
    """The dictionary as the project is now. `scores` are the tables' quality scores, where they were measured.

    ConfigurationError for a contract or a definition that is wrong, or a dbt project that could never be parsed.
    """
    graph = graph or graphs.load()
    known = {each.table: each for each in contracts.contracts().values()}
    lineage = _Lineage(graph, load_systems(defs), load_flows_and_ways(defs), known)
    tables = tuple(
        _table(name, node, known.get(name), lineage, (scores or {}).get(name)) for name, node in lineage.tables.items()
    )
    missing = sorted(set(known) - set(lineage.tables))
    notes = [f"{name} has a contract and no model." for name in missing]
    glossary = tuple(sorted(terms.terms().values(), key=lambda term: term.title))
    there = {f"{table.name}.{column.name}" for table in tables for column in table.fields}
    notes += [
        f"Term {term.name} names {name}, which is not there: run `datong standard lint`."
        for term in glossary
        for name in term.fields
        if name not in there
    ]
    return Dictionary(tables, _code_sets(tables), glossary, tuple(notes), {table.name: table for table in tables})


class _Lineage:
    """Which tables are next to which, through staging and intermediate views."""

    def __init__(
        self,
        graph: Graph,
        systems: Mapping[str, SystemConfig],
        flows: Mapping[str, FlowConfig],
        known: Mapping[str, contracts.Contract],
    ) -> None:
        self._graph, self.systems, self.flows, self._contracts = graph, systems, flows, known
        names = {id_: f"{node['schema']}.{node['alias']}" for id_, node in graph.built.items()}
        self._ids = {name: id_ for id_, name in names.items() if name.partition(".")[0] in LAYERS}
        order = {layer: at for at, layer in enumerate(LAYERS)}
        ranked = sorted(self._ids, key=lambda name: (order[cast("Layer", name.partition(".")[0])], name))
        self.tables: dict[str, Node] = {name: graph.built[self._ids[name]] for name in ranked}
        self._names = names
        self._before = {name: self._next(self._ids[name]) for name in self.tables}

    def _next(self, unique_id: str) -> list[Link]:
        """The first tables, seeds and sources met on every way up."""
        found: dict[tuple[str, str], Link] = {}
        seen, waiting = {unique_id}, [unique_id]
        while waiting:
            for parent in self._graph.parents(waiting.pop(0)):
                if parent in seen:
                    continue
                seen.add(parent)
                link = self._link(parent)
                if link:
                    found[link.kind, link.name] = link
                elif parent in self._graph.built:
                    waiting.append(parent)
        return sorted(found.values(), key=lambda link: (link.kind, link.name))

    def _link(self, unique_id: str) -> Link | None:
        if (source := self._graph.sources.get(unique_id)) is not None:
            system, entity = source["source_name"], source["name"]
            if system not in self.systems:
                return None
            config = next((one for one in self.systems[system].entities if one.name == entity), None)
            title = config.title if config else ""
            return Link("source", f"{system}.{entity}", title or entity, config.title_zh if config else "")
        node = self._graph.built[unique_id]
        if node["resource_type"] == "seed":
            return None
        name = self._names[unique_id]
        return self.table_link(name) if name in self.tables and name in self._ids else None

    def table_link(self, name: str) -> Link:
        """The link to one of our tables."""
        title, title_zh = self.titles(name)
        return Link("table", name, title, title_zh)

    def titles(self, name: str) -> tuple[str, str]:
        """A table's title in English and in Chinese."""
        if found := self._contracts.get(name):
            return found.title, found.title_zh
        node = self.tables[name]
        meta = node["config"].get("meta") or {}
        named = str(node["alias"])
        for prefix in ("dim_", "fct_", "mart_"):
            named = named.removeprefix(prefix)
        plain = named.replace("__", " ").replace("_", " ").capitalize()
        return str(meta.get("title") or plain), str(meta.get("title_zh") or plain)

    def made_of(self, name: str) -> tuple[Link, ...]:
        """The next tables before a table."""
        return tuple(self._before[name])

    def goes_into(self, name: str) -> tuple[Link, ...]:
        """The next tables after a table, and the flows that read it."""
        after = [
            self.table_link(other)
            for other, before in self._before.items()
            if any(link.kind == "table" and link.name == name for link in before)
        ]
        flows = [
            Link(
                "flow",
                flow.flow,
                f"{flow.title or flow.flow} → {flow.target.system}",
                f"{flow.title_zh} → {flow.target.system}",
            )
            for flow in self.flows.values()
            if flow.source == name
        ]
        return (*after, *flows)

    def origins(self, name: str) -> dict[str, tuple[str, ...]]:
        """The entities of systems that a table is made of in the end."""
        found: dict[str, set[str]] = {}
        seen, waiting = {name}, [name]
        while waiting:
            for link in self._before[waiting.pop()]:
                if link.kind == "source":
                    system, _, entity = link.name.partition(".")
                    found.setdefault(system, set()).add(entity)
                elif link.name not in seen:
                    seen.add(link.name)
                    waiting.append(link.name)
        return {system: tuple(sorted(entities)) for system, entities in sorted(found.items())}

    def written(self, name: str) -> dict[str, list[str]]:
        """For each column of a serve table, the fields of systems that are filled from it."""
        found: dict[str, list[str]] = {}
        for flow in self.flows.values():
            if flow.source != name:
                continue
            for path, value in written_fields(flow):
                if isinstance(value, ColumnValue):
                    found.setdefault(value.column, []).append(f"{flow.target.system} {flow.target.resource}.{path}")
        return found


def _table(
    name: str, node: Node, contract: contracts.Contract | None, lineage: _Lineage, score: float | None
) -> TableEntry:
    layer = cast("Layer", name.partition(".")[0])
    title, title_zh = lineage.titles(name)
    written = lineage.written(name)
    common: dict[str, Any] = {
        "name": name,
        "layer": layer,
        "made_of": lineage.made_of(name),
        "goes_into": lineage.goes_into(name),
        "origins": lineage.origins(name),
        "score": score,
    }
    if contract is None:
        description, _, grain = " ".join(str(node.get("description") or "").split()).partition("Grain: ")
        return TableEntry(
            title=title,
            title_zh=title_zh,
            description=description.strip(),
            description_zh=in_chinese(description.strip()),
            grain=grain,
            grain_zh=in_chinese(grain),
            owner=str((node["config"].get("meta") or {}).get("owner") or ""),
            domain="",
            version="",
            status="",
            freshness_hours=None,
            retention_days=None,
            contract="",
            fields=tuple(_plain_field(column, written) for column in node["columns"].values()),
            rules=(),
            **common,
        )
    return TableEntry(
        title=title,
        title_zh=title_zh,
        description=contract.description,
        description_zh=in_chinese(contract.description),
        grain=contract.grain,
        grain_zh=in_chinese(contract.grain),
        owner=contract.owner,
        domain=contract.domain,
        version=contract.version,
        status=contract.status,
        freshness_hours=contract.freshness_hours,
        retention_days=contract.retention_days,
        contract=str(contract.path.relative_to(DBT_PROJECT.parent)) if contract.path.is_absolute() else "",
        fields=tuple(_field(contract, each, written) for each in contract.columns),
        rules=tuple(_rule(rule) for rule in contract.rules if not rule.field),
        **common,
    )


def _plain_field(column: Mapping[str, Any], written: Mapping[str, Sequence[str]]) -> FieldEntry:
    """A column of a table that has no contract, as its model describes it."""
    meta = (column.get("config") or {}).get("meta") or column.get("meta") or {}
    name, description = str(column["name"]), " ".join(str(column.get("description") or "").split())
    return FieldEntry(
        name=name,
        title=str(meta.get("title") or name.strip("_").replace("_", " ").capitalize()),
        title_zh=str(meta.get("title_zh") or ""),
        description=description,
        description_zh=in_chinese(description),
        type=str(column.get("data_type") or ""),
        role="",
        unit="",
        code_set="",
        classification="",
        mask="",
        normalised="",
        refers_to="",
        examples=(),
        rules=(),
        written_to=tuple(written.get(name, ())),
    )


def _field(contract: contracts.Contract, each: contracts.Field, written: Mapping[str, Sequence[str]]) -> FieldEntry:
    roles = [
        role
        for role, is_one in (
            ("key", each.name in contract.key),
            ("required", each.is_required and each.name not in contract.key),
            ("unique", each.is_unique),
        )
        if is_one
    ]
    refers_to = [
        f"{reference.entity}.{reference.targets[reference.fields.index(each.name)]}"
        for reference in contract.references
        if each.name in reference.fields
    ]
    return FieldEntry(
        name=each.name,
        title=each.title,
        title_zh=each.title_zh,
        description=each.description,
        description_zh=in_chinese(each.description),
        type=each.physical_type,
        role=", ".join(roles),
        unit=each.unit_field or each.currency_field or each.unit or "",
        code_set=each.code_set or "",
        classification=each.classification,
        mask=each.mask or "",
        normalised=", ".join(each.normalise),
        refers_to=", ".join(refers_to),
        examples=tuple(str(example) for example in each.examples),
        rules=tuple(_rule(rule) for rule in contract.rules_of(each.name)),
        written_to=tuple(written.get(each.name, ())),
        is_deprecated=each.is_deprecated,
    )


def _rule(rule: contracts.Rule) -> RuleEntry:
    kind = RULES.get(rule.kind)
    if kind is None:
        raise ConfigurationError(
            f"rule {rule.name} of {rule.field or 'the row'}", f"is of the unknown kind {rule.kind}.", "see RULES."
        )
    return RuleEntry(
        *(rule.name, kind.title, kind.title_zh, kind.dimension, DIMENSIONS[kind.dimension], rule.on_failure),
        params=_params(rule.params, "en"),
        params_zh=_params(rule.params, "zh"),
    )


def _params(given: Mapping[str, Any], lang: Lang) -> str:
    """What a rule needs to know, in words; a parameter `x_zh` is the Chinese of `x`."""
    known = {
        name: value
        for name, value in given.items()
        if value not in (None, "", False) and name not in _SHOWN_ELSEWHERE and not name.endswith("_zh")
    }
    if "operator" in known:
        # read as a sentence: >= the day of the order
        known.pop("other", None)
        return f"{known['operator']} {_in(lang, given, 'other_name')}"
    told = [f"{_PARAMS.get(name, (name, name))[lang == 'zh']} {_in(lang, given, name)}".strip() for name in known]
    return ", ".join(told)


def _in(lang: Lang, given: Mapping[str, Any], name: str) -> str:
    value = given.get(f"{name}_zh", given.get(name)) if lang == "zh" else given.get(name)
    return ", ".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else str(value)


def _code_sets(tables: Sequence[TableEntry]) -> tuple[CodeSet, ...]:
    used: dict[str, list[str]] = {}
    for table in tables:
        for column in table.fields:
            if column.code_set:
                used.setdefault(column.code_set, []).append(f"{table.name}.{column.name}")
    called: dict[tuple[str, str], dict[str, list[str]]] = {}
    for system, lines in codes.crosswalks().items():
        for (code_set, source_code), code in lines.items():
            called.setdefault((code_set, code), {}).setdefault(system, []).append(source_code)
    notes = _notes()
    return tuple(
        CodeSet(
            name,
            tuple(
                CodeEntry(
                    each.code,
                    each.title,
                    each.title_zh,
                    notes.get((name, each.code), ""),
                    " – ".join(str(day or "") for day in (each.valid_from, each.valid_until)).strip()
                    if each.valid_from or each.valid_until
                    else "",
                    {system: tuple(ones) for system, ones in called.get((name, each.code), {}).items()},
                )
                for each in every.values()
            ),
            tuple(used.get(name, ())),
        )
        for name, every in sorted(codes.code_sets().items())
    )


def _notes() -> dict[tuple[str, str], str]:
    """What else is to be said of a unit or a currency."""
    units = {("unit", row["unit"]): f"{row['dimension']} × {row['factor']}" for row in _rows("unit")}
    return units | {("currency", row["currency"]): f"{row['minor_digits']} digits" for row in _rows("currency")}


def _rows(name: str) -> list[dict[str, str]]:
    with (codes.CODES / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
