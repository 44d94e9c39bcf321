"""Definitions of source systems: the `defs.yaml` of each, read and checked without Dagster.

A definition says where a system is, which of its entities are wanted, and how each is read. It holds no secret: an
address or a password is written as `${ERP_URL}` and looked up (`Connection.resolved`) only when a read begins.

From `assets/datong_assets/defs/**/defs.yaml` to `SystemConfig`. A mistake is a ConfigurationError that names the file
and the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from datong_platform import names, settings
from datong_platform.errors import ConfigurationError
from datong_platform.lake.columns import parse_type
from datong_platform.lake.retention import Retention
from datong_platform.names import TableName
from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from datong_ingestion.connections.base import Model, Options, as_text, looked_up, named
from datong_ingestion.connections.database_log import LogOptions, MysqlLogConnection, PostgresqlLogConnection
from datong_ingestion.connections.edi import EdiConnection, EdiOptions
from datong_ingestion.connections.files import FilesConnection, FilesOptions
from datong_ingestion.connections.kafka import KafkaConnection, KafkaOptions
from datong_ingestion.connections.mongodb import MongoConnection
from datong_ingestion.connections.odata import ODataConnection, ODataV4Options
from datong_ingestion.connections.rabbitmq import RabbitMqConnection, RabbitMqOptions
from datong_ingestion.connections.rest import RestConnection, RestOptions
from datong_ingestion.connections.soap import SoapConnection, SoapOptions
from datong_ingestion.connections.sql import SqlConnection
from datong_ingestion.connections.xml import XmlConnection, XmlOptions
from datong_ingestion.definitions import Kind, NestedError, mistakes_of, word_of
from datong_ingestion.systems import with_profile

COMPONENT = "datong_assets.components.SourceSystem"

Mode = Literal["full", "cursor", "delta_token", "log", "stream"]
"""How an entity is read: whole each time, from a cursor on, by the changes since a token, by the changes in the
database's log, or by the messages of a queue."""


def _checked_type(text: str) -> str:
    parse_type(text)
    return text


_M = TypeVar("_M", bound=Model)
FieldType = Annotated[str, AfterValidator(_checked_type)]


Connection = (
    EdiConnection
    | FilesConnection
    | KafkaConnection
    | MongoConnection
    | MysqlLogConnection
    | ODataConnection
    | PostgresqlLogConnection
    | RabbitMqConnection
    | RestConnection
    | SoapConnection
    | SqlConnection
    | XmlConnection
)
Protocol = Literal[
    "edi",
    "files",
    "kafka",
    "mongodb",
    "mysql_log",
    "odata_v2",
    "odata_v4",
    "postgresql_log",
    "rabbitmq",
    "rest",
    "soap",
    "sql",
    "xml",
]


@dataclass(frozen=True)
class ProtocolKind:
    """What a definition may say for a protocol, and where its source is."""

    connection: type[Connection]
    source: str
    """`module:Class`, imported only when it is used, so that a driver that is missing breaks nobody else."""
    modes: frozenset[Mode]
    options: type[Options] | None = None
    queries: bool = False
    """An entity can be a query."""
    detects_deletes: bool = False
    """The keys that exist can be read without the rows."""


_SOURCES = "datong_ingestion.protocols"
PROTOCOLS: dict[Protocol, ProtocolKind] = {
    "edi": ProtocolKind(EdiConnection, f"{_SOURCES}.edi:Edi", frozenset({"full", "stream"}), EdiOptions),
    "xml": ProtocolKind(XmlConnection, f"{_SOURCES}.xml:Xml", frozenset({"full", "stream"}), XmlOptions),
    "files": ProtocolKind(FilesConnection, f"{_SOURCES}.files:Files", frozenset({"full", "stream"}), FilesOptions),
    "kafka": ProtocolKind(KafkaConnection, f"{_SOURCES}.kafka:Kafka", frozenset({"stream"}), options=KafkaOptions),
    "mongodb": ProtocolKind(
        MongoConnection, f"{_SOURCES}.mongodb:Mongo", frozenset({"full", "cursor"}), detects_deletes=True
    ),
    "odata_v2": ProtocolKind(
        ODataConnection,
        f"{_SOURCES}.odata_v2:ODataV2",
        frozenset({"full", "cursor", "delta_token"}),
        detects_deletes=True,
    ),
    "odata_v4": ProtocolKind(
        ODataConnection,
        f"{_SOURCES}.odata_v4:ODataV4",
        frozenset({"full", "cursor", "delta_token"}),
        options=ODataV4Options,
        detects_deletes=True,
    ),
    "mysql_log": ProtocolKind(
        MysqlLogConnection, f"{_SOURCES}.mysql_log:MysqlLog", frozenset({"log"}), options=LogOptions
    ),
    "postgresql_log": ProtocolKind(
        PostgresqlLogConnection, f"{_SOURCES}.postgresql_log:PostgresqlLog", frozenset({"log"}), options=LogOptions
    ),
    "rabbitmq": ProtocolKind(
        RabbitMqConnection, f"{_SOURCES}.rabbitmq:RabbitMq", frozenset({"stream"}), options=RabbitMqOptions
    ),
    "rest": ProtocolKind(
        RestConnection,
        f"{_SOURCES}.rest:Rest",
        frozenset({"full", "cursor"}),
        options=RestOptions,
        detects_deletes=True,
    ),
    "soap": ProtocolKind(SoapConnection, f"{_SOURCES}.soap:Soap", frozenset({"full", "cursor"}), options=SoapOptions),
    "sql": ProtocolKind(
        SqlConnection, f"{_SOURCES}.sql:Sql", frozenset({"full", "cursor"}), queries=True, detects_deletes=True
    ),
}


_ODP_OVER_RFC = frozenset({"odp", "odp_rfc", "rfc_odp", "odp_over_rfc", "sap_odp", "sap_rfc", "sap_odp_rfc", "rfc"})
_NO_ODP_OVER_RFC = (
    "ODP over RFC is refused: SAP note 3255746 forbids its use by anything but SAP's own clients, and SAP blocks "
    "it since June 2026; use protocol odata_v2, because ODP over OData stays allowed"
)


class SoftDelete(Model):
    """A field whose value says that the row was deleted."""

    column: str
    values: list[Annotated[str, BeforeValidator(lambda v: str(v).lower() if isinstance(v, bool) else as_text(v))]] = [
        "true"
    ]


class Reconciliation(Model):
    """How an entity is reconciled with its system."""

    by: str = ""
    """Field whose windows are compared: when a row last changed, or else when it was made. By default the cursor, a
    field that is named like one, or a key that is a whole number; without any the table is compared whole."""
    sums: list[str] = []
    """Fields whose sums are compared; by default the first eight exact numbers that are no key."""
    off: str = ""
    """Why it is not reconciled, where it is not to be."""


class RetentionConfig(Model):
    """How long what came is kept, beside the newest state of each record, which always is."""

    landed_batches: Annotated[int, Field(ge=1)] = Retention.landed_batches
    """Landed files of so many loaded batches are kept, to look into and to mend a table from."""
    landed_days: Annotated[float, Field(ge=0)] = Retention.landed_days
    """And those of every batch of so many days, however many there are."""
    versions_days: Annotated[int, Field(ge=1)] = Retention.versions_days
    """For so long a version of the bronze table can be read as it was."""
    history_days: Annotated[int | None, Field(ge=1)] = Retention.history_days
    """A state of a record stays in bronze for so long after a newer one came; left out, for ever. The last state, a
    delete included, always stays."""


class EntityConfig(Model):
    """One entity of a system, and how it is read."""

    name: Annotated[str, AfterValidator(word_of("entity"))]
    source: str = ""
    """The protocol's own address of it: `SERVICE/EntitySet`, a path, or `schema.table`."""
    query: str = ""
    """SQL only: a SELECT instead of a table."""
    keys: list[str] = []
    """Key fields; may be left out where the system's metadata tells them."""
    mode: Mode = "full"
    cursor: str = ""
    """Field that tells when a row last changed (mode cursor)."""
    cursor_expression: str = ""
    """SQL only: the cursor as an expression, such as `coalesce(write_date, create_date)`."""
    overlap_seconds: Annotated[float, Field(ge=0)] = 300
    """How far before the last cursor a read begins, because a change can become visible after a later one."""
    events: bool = False
    """Rows are events: a key that is sent twice stays twice, to be deduplicated in silver."""
    select: list[str] = []
    """Fields to read; empty for all."""
    fields: dict[str, FieldType] = {}
    """Declared types, which win over the source's metadata. REST: the entity's schema, without which it is inferred
    at the first read."""
    params: dict[str, str] = {}
    """Query options of this entity's requests."""
    filter: str = ""
    """OData `$filter`, or an SQL condition, that every read keeps."""
    data_path: str | None = None
    """REST: where the rows are, if not where the connection says."""
    updated_since_param: str | None = None
    detect_deletes: bool = False
    """Compare the keys that exist with those in bronze, and append a delete for each key that vanished: for sources
    that tell no deletes. Every key is read, without its row, and once more when one is missing."""
    deletes_limit_percent: Annotated[float, Field(ge=0, le=100)] = 50
    """How much of an entity of 100 rows or more may be gone in one read, told by its absence, before the ingest stops
    and asks; 100 for any amount."""
    detect_deletes_every_hours: Annotated[float, Field(ge=0)] = 0
    """How often; 0 for at every read."""
    soft_delete: SoftDelete | None = None
    partition_by: str = ""
    """Backfill: the field whose ranges are read apart and at the same time; one that never changes. By default the
    first key field."""
    partitions: Annotated[int, Field(ge=1, le=10000)] = 16
    """Backfill: how many ranges."""
    partition_filters: list[str] = []
    """Backfill: conditions, in the words of `filter`, that between them hold every row exactly once; instead of ranges,
    and where the system finds none by itself."""
    reconcile: Reconciliation = Reconciliation()
    retention: RetentionConfig | None = None
    """How long what it brought is kept, if not as the system says."""
    schema_policy: Literal["evolve", "rescue", "freeze"] = "evolve"
    """When the source's schema changed: `evolve` takes new fields and wider types into the table, `rescue` keeps the
    table and puts what is new or does not fit into `_datong_rescued`, `freeze` stops with an error."""
    options: SerializeAsAny[Options] | None = None
    """What only this protocol knows of an entity."""
    title: str = ""
    title_zh: str = ""
    description: str = ""
    freshness_hours: Annotated[float | None, Field(gt=0)] = None

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if bool(self.source) == bool(self.query):
            raise ValueError(f"entity {self.name} needs either source or query")
        if self.mode == "cursor" and not (self.cursor or self.cursor_expression):
            raise ValueError(f"entity {self.name} has mode cursor and no cursor")
        if self.mode == "delta_token" and self.events:
            raise ValueError(f"entity {self.name}: mode delta_token carries states, not events")
        if self.events and self.detect_deletes:
            raise ValueError(
                f"entity {self.name}: its rows are events, none of which is deleted; leave detect_deletes out"
            )
        if self.events and self.retention and self.retention.history_days is not None:
            raise ValueError(
                f"entity {self.name}: its rows are events, none of which replaces another, so history_days would keep "
                "nothing back; leave it out"
            )
        return self

    @property
    def address(self) -> str:
        """The entity in the words of its system."""
        return self.source or "query"

    def resolved(self, system: str) -> EntityConfig:
        """This entity with every `${NAME}` of its options looked up; ConfigurationError names the missing value."""
        if not named(self.options):
            return self
        return self.model_copy(update={"options": looked_up(self.options, f"{system}.{self.name}")})


class SystemConfig(Model):
    """One source system: what the attributes of its `defs.yaml` say."""

    system: Annotated[str, AfterValidator(word_of("system"))]
    title: str = ""
    title_zh: str = ""
    description: str = ""
    protocol: Protocol
    connection: Connection
    owner: str = ""
    """Who answers for it: `team:name` or an e-mail address."""
    freshness_hours: Annotated[float, Field(gt=0)] = 24
    schedule: Annotated[str, Field(pattern=r"^$|^(\S+\s+){4}\S+$")] = ""
    """When Dagster ingests it by itself, beside the cycle: a cron expression, down to `* * * * *` for every minute."""
    writes_per_second: Annotated[float | None, Field(gt=0)] = None
    """The most changes that all write-back flows together send to it in a second, whatever each of them may."""
    retention: RetentionConfig = RetentionConfig()
    """How long what its entities brought is kept, where an entity does not say otherwise."""
    entities: Annotated[list[EntityConfig], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _connection_of_protocol(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("connection"), dict):
            return data
        if str(data.get("protocol", "")).lower().replace("-", "_") in _ODP_OVER_RFC:
            raise NestedError([(("protocol",), _NO_ODP_OVER_RFC)])
        kind = PROTOCOLS.get(data.get("protocol", ""))
        if kind is None:
            return data
        try:
            data = with_profile(data)
        except ConfigurationError as error:
            raise NestedError([(("connection",), str(error))]) from error
        found = {**data, "connection": _part(kind.connection, data["connection"], ("connection",))}
        if isinstance(data.get("entities"), list):
            found["entities"] = [_with_options(kind, item, index) for index, item in enumerate(data["entities"])]
        return found

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        kind = PROTOCOLS[self.protocol]
        seen: set[str] = set()
        for index, entity in enumerate(self.entities):
            wrong = ""
            if entity.name in seen:
                wrong = f"entity {entity.name} is defined twice"
            elif entity.query and not kind.queries:
                wrong = f"entity {entity.name}: protocol {self.protocol} has no query"
            elif entity.mode not in kind.modes:
                wrong = f"entity {entity.name}: protocol {self.protocol} has no mode {entity.mode}"
            elif entity.detect_deletes and not kind.detects_deletes:
                wrong = f"entity {entity.name}: protocol {self.protocol} cannot detect_deletes"
            if wrong:
                raise NestedError([(("entities", index), wrong)])
            seen.add(entity.name)
        return self

    def entity(self, name: str) -> EntityConfig:
        """The entity called `name`; ConfigurationError lists those there are."""
        for entity in self.entities:
            if entity.name == name:
                return entity
        raise ConfigurationError(
            f"entity {self.system}.{name}",
            "is not defined.",
            f"choose from {', '.join(entity.name for entity in self.entities)}.",
        )

    def retention_of(self, entity: EntityConfig) -> Retention:
        """How long what an entity brought is kept."""
        kept = entity.retention or self.retention
        return Retention(
            landed_batches=kept.landed_batches,
            landed_days=kept.landed_days,
            versions_days=kept.versions_days,
            history_days=None if entity.events else kept.history_days,
        )

    def table(self, entity: str) -> TableName:
        """The bronze table of an entity."""
        return names.bronze(self.system, entity)


def _part(kind: type[_M], content: Any, place: tuple[Any, ...]) -> _M:
    """A part whose model depends on the protocol; mistakes bear their place in the definition."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise NestedError([((*place, *item["loc"]), item["msg"]) for item in error.errors()]) from error


def _with_options(kind: ProtocolKind, entity: Any, index: int) -> Any:
    if not isinstance(entity, dict) or isinstance(entity.get("options"), Options):
        return entity
    if kind.options is None:
        if entity.get("options") is not None:
            raise NestedError([(("entities", index, "options"), "this protocol has no options")])
        return entity
    options = _part(kind.options, entity.get("options") or {}, ("entities", index, "options"))
    return {**entity, "options": options}


def parse_system(attributes: Mapping[str, Any]) -> SystemConfig:
    """A system from attributes that are in no file yet; ConfigurationError names each mistake."""
    try:
        return SystemConfig.model_validate(dict(attributes))
    except (ValidationError, NestedError) as error:
        told = "; ".join(text.rstrip(".") for _, text in mistakes_of(error))
        raise ConfigurationError(
            f"system {attributes.get('system', '')}", f"is not described rightly: {told}.", "mend these answers."
        ) from error


SYSTEMS = Kind(
    component=COMPONENT,
    model=SystemConfig,
    key="system",
    word="system",
    title="source system",
    next_step="mend these lines; assets/ADD_A_SOURCE.md tells what may stand there.",
    add=f"add {settings.DEFS}/{{name}}/defs.yaml",
)


def load_systems(defs: Path | None = None) -> dict[str, SystemConfig]:
    """Every source system defined below `defs` (default: the project's definitions), by name.

    ConfigurationError with file and line for the first definition that is wrong, and when two bear one name.
    """
    return SYSTEMS.load(defs)


def load_system(name: str, defs: Path | None = None) -> SystemConfig:
    """The source system called `name`; ConfigurationError lists those there are."""
    return SYSTEMS.one(name, load_systems(defs))
