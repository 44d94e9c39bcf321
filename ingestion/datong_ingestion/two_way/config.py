"""Definitions of two-way synchronisations: the `defs.yaml` of each, read and checked without Dagster.

A synchronisation names two systems, the record that is the same thing in both, and the fields that both hold. The serve
table has one row a thing with what each system held when it was last read; its columns are named by rule:
`<system>_key`, `<system>_batch_id`, `<system>_<field>`. Which system wins where both changed a field stands in
`dbt_project/standard/authority.yaml`, for `entity`.

From `assets/datong_assets/defs/**/defs.yaml` (type `datong_assets.components.TwoWaySync`) to `SyncConfig`. A mistake is
a ConfigurationError that names the file and the line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from datong_platform import names
from datong_platform.names import TableName
from datong_platform.standard import authority
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from datong_ingestion.definitions import Kind as DefinitionKind
from datong_ingestion.definitions import serve_table, word_of
from datong_ingestion.write_back.config import FlowConfig, Freeze, Kind, Part, Retry, TargetConfig, load_flows

COMPONENT = "datong_assets.components.TwoWaySync"
_WHY_SERVE = "a synchronisation reads from serve only: what both systems hold is a public table"


class Place(Part):
    """Where a system holds a field."""

    field: str
    """The system's own name of it."""
    kind: Annotated[Kind | None, Field(alias="as")] = None
    """What it is there, when that differs from the column; a date kept `as: datetime` keeps its time of day."""


class Member(TargetConfig):
    """One of the two systems: where it holds the record, and how it is found again."""

    system: str = ""
    """The source system whose connection is used; by default the name of the entry."""


PlaceOrName = Annotated[
    Place, BeforeValidator(lambda v: {"field": v} if isinstance(v, str) else v, json_schema_input_type=str | Place)
]


class Guards(Part):
    """What holds a run back before it harms."""

    max_changes: Annotated[int | None, Field(ge=1)] = None
    """Most things a run may look at with the aim of changing them; with more it sends nothing and says so."""
    approve_above: Annotated[int | None, Field(ge=0)] = None
    """With more things to look at than this, every change waits for a person's approval."""
    approve_given_up: bool = False
    """A change that gives up a value of the other system waits for a person's approval, however few there are."""
    freeze: list[Freeze] = []
    """When nothing is sent; what changed waits."""


class SyncConfig(Part):
    """One two-way synchronisation: what the attributes of its `defs.yaml` say."""

    sync: Annotated[str, AfterValidator(word_of("synchronisation"))]
    title: str = ""
    title_zh: str = ""
    description: str = ""
    owner: str = ""
    source: Annotated[str, AfterValidator(serve_table(_WHY_SERVE))]
    """The serve table with one row a thing."""
    key: str
    """Its key column, the thing's name for people."""
    open: str = ""
    """Boolean column that marks the things which both systems let us change; empty for all."""
    entity: str
    """Entity of the authority file that decides where both systems changed a field."""
    systems: dict[str, Member]
    """The two systems, and how each finds and addresses its record."""
    fields: Annotated[dict[str, dict[str, PlaceOrName]], Field(min_length=1)]
    """The shared fields by their name in the standard, and where each system holds them."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 4
    """How often, in one run, a thing is looked at and decided again after a lost race or an unclear outcome."""
    settle_seconds: Annotated[float, Field(ge=0)] = 5
    """How long after an unclear outcome a change that does not show counts as not made."""
    chunk_rows: Annotated[int, Field(ge=1, le=5000)] = 200
    """Things that are looked at, decided and recorded at once."""
    guards: Guards = Guards()
    retry: Retry = Retry()

    @model_validator(mode="before")
    @classmethod
    def _name_systems(cls, given: object) -> object:
        """The system's name is the key of its entry; it need not be written twice."""
        if isinstance(given, dict) and isinstance(systems := given.get("systems"), dict):
            named = {
                name: {"system": name, **target} if isinstance(target, dict) else target
                for name, target in systems.items()
            }
            return {**given, "systems": named}
        return given

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if len(self.systems) != 2:
            raise ValueError(f"names {len(self.systems)} systems; a synchronisation is between two")
        for name, places in self.fields.items():
            if places.keys() != self.systems.keys():
                raise ValueError(f"field {name} must say where each of {' and '.join(self.systems)} holds it")
        for name, target in self.systems.items():
            held = [places[name].field for places in self.fields.values()]
            if len(set(held)) != len(held):
                raise ValueError(f"two fields are the same field of {name}")
            if both := set(held) & {target.lookup, *target.identity}:
                raise ValueError(f"{', '.join(sorted(both))} is the key of {name}, which cannot be changed")
        for name in self.fields:
            if unknown := self.systems.keys() - set(self.owners(name)):
                raise ValueError(
                    f"the authority file does not say whether {' or '.join(sorted(unknown))} knows "
                    f"{self.entity}.{name}; add it to dbt_project/standard/authority.yaml"
                )
        return self

    def owners(self, field: str) -> list[str]:
        """The systems from the one that knows the field best, by the authority file."""
        fields = authority.load().get(self.entity, {})
        return list(fields.get(field, fields.get(authority.OTHERS, [])))

    @property
    def table(self) -> TableName:
        """The serve table."""
        return names.parse(self.source)

    @property
    def columns(self) -> list[str]:
        """The serve table's columns that are read."""
        found = [self.key, *([self.open] if self.open else [])]
        for system in self.systems:
            found += [f"{system}_key", f"{system}_batch_id", *(f"{system}_{name}" for name in self.fields)]
        return found

    def flow_name(self, system: str) -> str:
        """The name under which what is sent to one system stands in the ledger."""
        return f"{self.sync}_to_{system}"

    def flow(self, system: str) -> FlowConfig:
        """What is sent to one system, as a write-back flow: it opens the target and writes its payloads."""
        payload = {
            places[system].field: {
                "column": name,
                "send_null": True,
                **({"as": places[system].kind} if places[system].kind else {}),
            }
            for name, places in self.fields.items()
        }
        return FlowConfig.model_validate(
            {
                "flow": self.flow_name(system),
                "title": self.title,
                "title_zh": self.title_zh,
                "description": self.description,
                "owner": self.owner,
                "guards": {"freeze": self.guards.freeze},
                "retry": self.retry,
                "source": self.source,
                "key": self.key,
                "target": self.systems[system],
                "operations": ["update"],
                "payload": payload,
            }
        )


SYNCS = DefinitionKind(
    component=COMPONENT,
    model=SyncConfig,
    key="sync",
    word="synchronisation",
    title="two-way synchronisation",
)


def load_syncs(defs: Path | None = None) -> dict[str, SyncConfig]:
    """Every two-way synchronisation defined below `defs` (default: the project's definitions), by name.

    ConfigurationError with file and line for the first definition that is wrong, and when two bear one name.
    """
    return SYNCS.load(defs)


def load_sync(name: str, defs: Path | None = None) -> SyncConfig:
    """The synchronisation called `name`; ConfigurationError lists those there are."""
    return SYNCS.one(name, load_syncs(defs))


def ways(defs: Path | None = None) -> dict[str, FlowConfig]:
    """What each synchronisation sends to each of its systems, as write-back flows, by their names in the ledger."""
    return {sync.flow_name(system): sync.flow(system) for sync in load_syncs(defs).values() for system in sync.systems}


def run_name(name: str, defs: Path | None = None) -> str:
    """What is run for a flow as the ledger calls it: the flow itself, or the synchronisation whose way it is."""
    of_two = (
        sync.sync for sync in load_syncs(defs).values() if name in {sync.flow_name(system) for system in sync.systems}
    )
    return next(of_two, name)


def load_flows_and_ways(defs: Path | None = None) -> dict[str, FlowConfig]:
    """Everything that is written to a system, by name in the ledger: flows, and each way of a synchronisation."""
    return load_flows(defs) | ways(defs)
