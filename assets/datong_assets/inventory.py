"""The inventory: systems, entities, interfaces, fields, write-back flows, and what flows between systems.

Generated from the definitions alone: source systems and write-back flows (`defs.yaml`), and the lineage of the parsed
dbt project. Nothing in it is drawn or kept by hand, so it is right whenever it is asked for. Asked with `live`, the
systems themselves tell their fields. It holds no address that was looked up and no secret: what the definitions say,
as they say it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from datong_ingestion.systems_config import EntityConfig, SystemConfig, load_systems
from datong_ingestion.two_way.config import load_flows_and_ways
from datong_ingestion.write_back.config import ColumnValue, ConstantValue, FlowConfig
from datong_platform.errors import ConfigurationError, DatongError
from datong_platform.lake.columns import type_name

from datong_assets.dbt import graph as graphs
from datong_assets.dbt.graph import Graph, Node


@dataclass(frozen=True)
class FieldEntry:
    """A field of an entity, or one that a flow writes."""

    system: str
    entity: str
    field: str
    type: str
    role: str
    """key, cursor, or which column fills it."""
    told_by: Literal["definition", "standard", "system", "flow"]
    """Who says so: the system's definition, the staging sources of the standard, the system itself, or the flow."""


@dataclass(frozen=True)
class InterfaceEntry:
    """One way in or out: an entity that is read, or a resource that is written."""

    system: str
    name: str
    """The entity, or the flow."""
    direction: Literal["read", "write"]
    protocol: str
    address: str
    how: str
    """The mode of reading, or what may be written."""
    keys: list[str]
    cursor: str
    table: str
    """The bronze table it fills, or the serve table it is filled from."""
    fields: int
    title: str
    title_zh: str
    description: str
    owner: str
    freshness_hours: float | None


@dataclass(frozen=True)
class SystemEntry:
    """A system."""

    system: str
    title: str
    title_zh: str
    protocol: str
    address: str
    """As the definition says it, `${ERP_URL}`."""
    owner: str
    read: int
    """Entities read from it."""
    written: int
    """Flows that write to it."""


@dataclass(frozen=True)
class FlowEntry:
    """What goes from some systems to another one, or to readers."""

    flow: str
    title: str
    title_zh: str
    kind: Literal["write-back", "published"]
    origins: dict[str, list[str]]
    """The entities it is made of, by their system."""
    through: str
    """The serve table."""
    target: str
    """The system written to, or who reads it."""
    resource: str
    write: str
    description: str


@dataclass(frozen=True)
class Inventory:
    """Everything, and what could not be told."""

    systems: list[SystemEntry]
    interfaces: list[InterfaceEntry]
    fields: list[FieldEntry]
    flows: list[FlowEntry]
    layers: dict[str, int]
    """How many tables and views each layer has."""
    notes: list[str] = field(default_factory=list[str])

    def as_dict(self) -> dict[str, Any]:
        """As plain content for JSON."""
        return asdict(self)

    def titles(self) -> dict[str, str]:
        """Each system's title."""
        return {entry.system: entry.title_zh or entry.title or entry.system for entry in self.systems}


def inventory(defs: Path | None = None, *, live: bool = False, graph: Graph | None = None) -> Inventory:
    """The inventory of what is defined below `defs` (default: the project's definitions).

    `live` asks every system for its fields; a system that does not answer is noted, and its entities keep the fields
    that definitions tell. ConfigurationError for a definition that is wrong.
    """
    systems, flows = load_systems(defs), load_flows_and_ways(defs)
    notes: list[str] = []
    if graph is None:
        try:
            graph = graphs.load()
        except ConfigurationError as error:
            notes.append(f"Lineage is not known: {error}")
    lineage = _Lineage(graph, set(systems))
    asked = _asked(systems, notes) if live else {}
    fields: list[FieldEntry] = []
    interfaces: list[InterfaceEntry] = []
    for config in systems.values():
        for entity in config.entities:
            found, keys = asked.get((config.system, entity.name)) or _told(config, entity, lineage)
            fields += found
            interfaces.append(_read(config, entity, keys, len(found)))
    for flow in flows.values():
        found = _written(flow)
        fields += found
        interfaces.append(_write(flow, systems.get(flow.target.system), len(found)))
    return Inventory(
        systems=[_system(config, flows) for config in systems.values()],
        interfaces=interfaces,
        fields=fields,
        flows=[
            *(_flow(flow, lineage) for flow in flows.values()),
            *lineage.published({f.source for f in flows.values()}),
        ],
        layers=lineage.layers(),
        notes=notes,
    )


class _Lineage:
    """What the dbt project says of tables, where it could be read."""

    def __init__(self, graph: Graph | None, systems: set[str]) -> None:
        self._graph, self._systems = graph, systems
        self._sources: dict[tuple[str, str], Node] = {}
        self._tables: dict[str, str] = {}
        if graph is not None:
            self._sources = {(node["source_name"], node["name"]): node for node in graph.sources.values()}
            self._tables = {f"{node['schema']}.{node['alias']}": id_ for id_, node in graph.built.items()}

    def source(self, system: str, entity: str) -> Node | None:
        return self._sources.get((system, entity))

    def layers(self) -> dict[str, int]:
        counts: dict[str, int] = defaultdict(int)
        for table in self._tables:
            counts[table.split(".")[0]] += 1
        order = ("staging", "silver", "gold", "serve", "quarantine")
        return {layer: counts[layer] for layer in order if counts.get(layer)}

    def origins(self, table: str) -> dict[str, list[str]]:
        """The entities of defined systems that a table is made of."""
        found: dict[str, set[str]] = defaultdict(set)
        graph, start = self._graph, self._tables.get(table)
        if graph is None or start is None:
            return {}
        seen, waiting = {start}, [start]
        while waiting:
            for parent in graph.parents(waiting.pop()):
                if (node := graph.sources.get(parent)) is not None:
                    if node["source_name"] in self._systems:
                        found[node["source_name"]].add(node["name"])
                elif parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
        return {system: sorted(names) for system, names in sorted(found.items())}

    def published(self, written: set[str]) -> list[FlowEntry]:
        """The serve tables that no flow writes back: people and BI tools read them."""
        found: list[FlowEntry] = []
        for table, id_ in sorted(self._tables.items()):
            schema, _, name = table.partition(".")
            if schema != "serve" or table in written or self._graph is None:
                continue
            node = self._graph.built[id_]
            meta = node["config"].get("meta") or {}
            found.append(
                FlowEntry(
                    flow=name,
                    title=str(meta.get("title") or name),
                    title_zh=str(meta.get("title_zh") or ""),
                    kind="published",
                    origins=self.origins(table),
                    through=table,
                    target=name.split("__")[0],
                    resource=table,
                    write="",
                    description=" ".join(str(node.get("description") or "").split()),
                )
            )
        return found


def _system(config: SystemConfig, flows: Mapping[str, FlowConfig]) -> SystemEntry:
    return SystemEntry(
        system=config.system,
        title=config.title,
        title_zh=config.title_zh,
        protocol=config.protocol,
        address=_address(config),
        owner=config.owner,
        read=len(config.entities),
        written=sum(flow.target.system == config.system for flow in flows.values()),
    )


def _address(config: SystemConfig) -> str:
    """Where the definition says the system is, without a user or password that somebody wrote into it."""
    told = config.connection.model_dump(by_alias=True)
    for name in ("base_url", "url", "host", "hosts", "bootstrap_servers", "brokers", "folder", "path"):
        if value := told.get(name):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            return text if "@" not in text else f"{text.split('://', maxsplit=1)[0]}://…@{text.rpartition('@')[2]}"
    return ""


def _read(config: SystemConfig, entity: EntityConfig, keys: Sequence[str], fields: int) -> InterfaceEntry:
    return InterfaceEntry(
        system=config.system,
        name=entity.name,
        direction="read",
        protocol=config.protocol,
        address=entity.address,
        how=entity.mode,
        keys=list(keys),
        cursor=entity.cursor or entity.cursor_expression,
        table=str(config.table(entity.name)),
        fields=fields,
        title=entity.title,
        title_zh=entity.title_zh,
        description=entity.description,
        owner=config.owner,
        freshness_hours=entity.freshness_hours or config.freshness_hours,
    )


def _write(flow: FlowConfig, system: SystemConfig | None, fields: int) -> InterfaceEntry:
    return InterfaceEntry(
        system=flow.target.system,
        name=flow.flow,
        direction="write",
        protocol=system.protocol if system else "",
        address=flow.target.resource,
        how=", ".join(flow.operations),
        keys=list(flow.target.identity),
        cursor="",
        table=flow.source,
        fields=fields,
        title=flow.title,
        title_zh=flow.title_zh,
        description=flow.description,
        owner=flow.owner,
        freshness_hours=None,
    )


def _flow(flow: FlowConfig, lineage: _Lineage) -> FlowEntry:
    return FlowEntry(
        flow=flow.flow,
        title=flow.title,
        title_zh=flow.title_zh,
        kind="write-back",
        origins=lineage.origins(flow.source),
        through=flow.source,
        target=flow.target.system,
        resource=flow.target.resource,
        write=", ".join(flow.operations),
        description=flow.description,
    )


def _told(config: SystemConfig, entity: EntityConfig, lineage: _Lineage) -> tuple[list[FieldEntry], list[str]]:
    """Fields and keys as definitions tell them: the system's own, else the standard's staging source."""
    node = lineage.source(config.system, entity.name)
    known = {name: str(column.get("data_type") or "") for name, column in node["columns"].items()} if node else {}
    keys = entity.keys or list((node["config"].get("meta") or {}).get("keys") or []) if node else entity.keys
    kinds = {**known, **entity.fields} if not entity.fields else dict(entity.fields)
    return [
        FieldEntry(
            config.system,
            entity.name,
            name,
            kind,
            _role(name, keys, entity.cursor),
            "definition" if name in entity.fields else "standard",
        )
        for name, kind in kinds.items()
    ], list(keys)


def _role(name: str, keys: Sequence[str], cursor: str) -> str:
    return ", ".join(role for role, is_one in (("key", name in keys), ("cursor", name == cursor)) if is_one)


def _asked(
    systems: Mapping[str, SystemConfig], notes: list[str]
) -> dict[tuple[str, str], tuple[list[FieldEntry], list[str]]]:
    """Fields and keys as the systems tell them now."""
    from datong_ingestion.discovery.sample import declared
    from datong_ingestion.source import connect

    found: dict[tuple[str, str], tuple[list[FieldEntry], list[str]]] = {}

    def of_system(config: SystemConfig) -> None:
        try:
            source = connect(config)
        except DatongError as error:
            notes.append(str(error))
            return
        try:
            for entity in config.entities:
                try:
                    description = declared(source.describe(entity), entity)
                except DatongError as error:
                    notes.append(str(error))
                    continue
                found[config.system, entity.name] = (
                    [
                        FieldEntry(
                            config.system,
                            entity.name,
                            column.name,
                            type_name(column.type),
                            _role(column.name, description.keys, entity.cursor),
                            "definition" if column.name in entity.fields else "system",
                        )
                        for column in description.schema
                    ],
                    list(description.keys),
                )
        finally:
            source.close()

    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(of_system, systems.values()))
    notes.sort()
    return found


def written_fields(flow: FlowConfig) -> list[tuple[str, ColumnValue | ConstantValue]]:
    """What a flow writes: each field's path in the payload, and the value that goes there."""
    found: list[tuple[str, ColumnValue | ConstantValue]] = []
    for name, value in flow.payload.items():
        if isinstance(value, list):
            found += [(f"{name}[].{inner}", one) for fields in value for inner, one in fields.items()]
        else:
            found.append((name, value))
    return found


def _written(flow: FlowConfig) -> list[FieldEntry]:
    found: list[FieldEntry] = []
    for path, one in written_fields(flow):
        column = isinstance(one, ColumnValue)
        role = f"from {one.column}" if column else f"always {one.value}"
        kind = (one.kind or "") if column else ""
        found.append(FieldEntry(flow.target.system, f"{flow.flow} (write)", path, kind, role, "flow"))
    return found
