"""Definitions of source systems: the `defs.yaml` of each, read and checked without Dagster.

A definition says where a system is, which of its entities are wanted, and how each is read. It holds no secret: an
address or a password is written as `${ERP_URL}` and looked up (`Connection.resolved`) only when a read begins.

From `assets/datong_assets/defs/**/defs.yaml` to `SystemConfig`. A mistake is a ConfigurationError that names the file
and the line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from datong_platform import names, settings
from datong_platform.errors import ConfigurationError
from datong_platform.lake.columns import parse_type
from datong_platform.names import TableName
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from datong_ingestion.definitions import documents, line_of

COMPONENT = "datong_assets.components.SourceSystem"

Mode = Literal["full", "cursor", "delta_token"]
"""How an entity is read: whole each time, from a cursor on, or by the changes since a token."""


def _checked_type(text: str) -> str:
    parse_type(text)
    return text


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


FieldType = Annotated[str, AfterValidator(_checked_type)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Connection(_Model):
    concurrency: Annotated[int, Field(ge=1, le=32)] = 4
    """How many requests or queries the system bears at once."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 30
    """How long to wait for a connection and for each part of an answer."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 6
    """How often a request is tried in all before a passing fault counts as a failure."""
    max_wait_seconds: Annotated[float, Field(gt=0)] = 60
    """The longest pause between two attempts, also where the system asks for a longer one."""

    def resolved(self, thing: str) -> Self:
        """This connection with every `${NAME}` looked up; ConfigurationError names `thing` and the missing value."""

        def look_up(value: Any) -> Any:
            if isinstance(value, str):
                return settings.connection_value(value, thing)
            return {name: look_up(text) for name, text in value.items()} if isinstance(value, dict) else value

        return self.model_copy(update={field: look_up(value) for field, value in self})

    def names_of(self, *fields: str) -> str:
        """How the given fields are written in the definition, for a next step that names `${ERP_PASSWORD}`, not it."""
        return ", ".join(str(value) for name, value in self if name in fields and value and "${" in str(value))


class ODataConnection(_Connection):
    """An OData v2 service root; entities are `SERVICE/EntitySet` below it."""

    base_url: str
    user: str | None = None
    password: Annotated[str | None, Field(repr=False)] = None
    headers: dict[str, str] = {}
    params: dict[str, str] = {}
    """Query options of every request, such as `sap-client`."""
    page_size: Annotated[int, Field(ge=1)] = 5000
    """Rows asked for in a page (`odata.maxpagesize`); the server may send fewer."""


class Paging(_Model):
    """How a JSON API hands out its pages."""

    style: Literal["none", "next_cursor", "page", "offset", "link_header", "next_link"] = "none"
    next_path: str = "next_cursor"
    """Where the next cursor (or the next link) is in an answer."""
    cursor_param: str = "cursor"
    page_param: str = "page"
    first_page: int = 1
    offset_param: str = "offset"
    limit_param: str = "limit"
    """Query parameter that takes the page size; empty to send none."""
    limit: Annotated[int, Field(ge=1)] = 500
    total_path: str = ""
    """Where the number of all rows is, for styles page and offset; without it reading ends at a short page."""


class RestConnection(_Connection):
    """A JSON API; entities are paths below its base URL."""

    base_url: str
    auth: Literal["none", "basic", "bearer", "api_key"] = "none"
    user: str | None = None
    password: Annotated[str | None, Field(repr=False)] = None
    token: Annotated[str | None, Field(repr=False)] = None
    """The bearer token or API key."""
    api_key_name: str = "X-API-Key"
    """Header (or query parameter) that carries the API key."""
    api_key_in: Literal["header", "query"] = "header"
    headers: dict[str, str] = {}
    params: dict[str, str] = {}
    paging: Paging = Field(default_factory=Paging)
    data_path: str = ""
    """Where the rows are in an answer, as `data` or `result.items`; empty when the answer is the list."""
    error_path: str = ""
    """A field that holds an error in an answer of status 200, as `error` or `status.message`."""
    success_path: str = ""
    """A field that tells success, compared with `success_values`."""
    success_values: list[Annotated[str, BeforeValidator(_text)]] = []
    updated_since_param: str = "updated_since"
    """Query parameter that takes the cursor of entities in mode cursor."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {"basic": ("user", "password"), "bearer": ("token",), "api_key": ("token",)}.get(self.auth, ())
        if missing := [name for name in needs if not getattr(self, name)]:
            raise ValueError(f"auth {self.auth} needs {' and '.join(missing)}")
        if bool(self.success_path) != bool(self.success_values):
            raise ValueError("success_path and success_values belong together")
        return self


class SqlConnection(_Connection):
    """A database; entities are tables, `schema.table`, or queries."""

    url: Annotated[str, Field(repr=False)]
    """`postgresql://user:password@host:port/database`."""
    read_schema: Annotated[str, Field(alias="schema")] = "public"
    """Schema of tables that are named without one."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


Connection = ODataConnection | RestConnection | SqlConnection
Protocol = Literal["odata_v2", "rest", "sql"]
_CONNECTIONS: dict[str, type[Connection]] = {
    "odata_v2": ODataConnection,
    "rest": RestConnection,
    "sql": SqlConnection,
}


class SoftDelete(_Model):
    """A field whose value says that the row was deleted."""

    column: str
    values: list[Annotated[str, BeforeValidator(lambda v: str(v).lower() if isinstance(v, bool) else _text(v))]] = [
        "true"
    ]


class EntityConfig(_Model):
    """One entity of a system, and how it is read."""

    name: Annotated[str, AfterValidator(lambda value: _name(value, "entity"))]
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
    """SQL, mode cursor: compare the key set at every read, and append a delete for each key that vanished."""
    soft_delete: SoftDelete | None = None
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
        return self

    @property
    def address(self) -> str:
        """The entity in the words of its system."""
        return self.source or "query"


def _name(value: str, what: str) -> str:
    try:
        return names.word(value, what)
    except ConfigurationError as error:
        raise ValueError(f"{error.reason} {error.next_step}") from error


class SystemConfig(_Model):
    """One source system: what the attributes of its `defs.yaml` say."""

    system: Annotated[str, AfterValidator(lambda value: _name(value, "system"))]
    title: str = ""
    title_zh: str = ""
    description: str = ""
    protocol: Protocol
    connection: Connection
    owner: str = ""
    """Who answers for it: `team:name` or an e-mail address."""
    freshness_hours: Annotated[float, Field(gt=0)] = 24
    entities: Annotated[list[EntityConfig], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _connection_of_protocol(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("connection"), dict):
            return data
        kind = _CONNECTIONS.get(data.get("protocol", ""))
        if kind is None:
            return data
        try:
            return {**data, "connection": kind.model_validate(data["connection"])}
        except ValidationError as error:
            raise _NestedError([(("connection", *item["loc"]), item["msg"]) for item in error.errors()]) from error

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        seen: set[str] = set()
        for index, entity in enumerate(self.entities):
            wrong = ""
            if entity.name in seen:
                wrong = f"entity {entity.name} is defined twice"
            elif entity.query and self.protocol != "sql":
                wrong = f"entity {entity.name}: query is for protocol sql"
            elif entity.mode == "delta_token" and self.protocol != "odata_v2":
                wrong = f"entity {entity.name}: protocol {self.protocol} has no delta token"
            elif entity.detect_deletes and self.protocol != "sql":
                wrong = f"entity {entity.name}: detect_deletes is for protocol sql"
            if wrong:
                raise _NestedError([(("entities", index), wrong)])
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

    def table(self, entity: str) -> TableName:
        """The bronze table of an entity."""
        return names.bronze(self.system, entity)


class _NestedError(ConfigurationError):
    """Mistakes with their places; pydantic by itself would report them for the whole definition."""

    def __init__(self, mistakes: list[tuple[tuple[Any, ...], str]]) -> None:
        self.mistakes = mistakes
        super().__init__("system definition", "; ".join(text for _, text in mistakes))


def _mistakes(error: ValidationError | _NestedError) -> list[tuple[tuple[Any, ...], str]]:
    if isinstance(error, ValidationError):
        error = _NestedError([(item["loc"], item["msg"]) for item in error.errors()])
    return [(place, f"{'.'.join(map(str, place))}: {text}") for place, text in error.mistakes]


def _systems_in(path: Path) -> list[SystemConfig]:
    systems: list[SystemConfig] = []
    for node, attributes in documents(path, COMPONENT):
        try:
            systems.append(SystemConfig.model_validate(attributes))
        except (ValidationError, _NestedError) as error:
            mistakes = _mistakes(error)
            where = [f"line {line_of(node, ('attributes', *place))}: {text}" for place, text in mistakes]
            raise ConfigurationError(
                f"{path}:{line_of(node, ('attributes', *mistakes[0][0]))}",
                f"does not describe a source system: {'; '.join(where)}.",
                "mend these lines; assets/ADD_A_SOURCE.md tells what may stand there.",
            ) from error
    return systems


def load_systems(defs: Path | None = None) -> dict[str, SystemConfig]:
    """Every source system defined below `defs` (default: the project's definitions), by name.

    ConfigurationError with file and line for the first definition that is wrong, and when two bear one name.
    """
    systems: dict[str, SystemConfig] = {}
    origin: dict[str, Path] = {}
    for path in sorted((defs or settings.DEFS).glob("**/defs.yaml")):
        for system in _systems_in(path):
            if system.system in systems:
                raise ConfigurationError(
                    f"{path}", f"defines system {system.system}, as does {origin[system.system]}.", "rename one."
                )
            systems[system.system], origin[system.system] = system, path
    return systems


def load_system(name: str, defs: Path | None = None) -> SystemConfig:
    """The source system called `name`; ConfigurationError lists those there are."""
    systems = load_systems(defs)
    if name not in systems:
        raise ConfigurationError(
            f"system {name}",
            "is not defined.",
            f"choose from {', '.join(systems) or 'none yet'}, or add {settings.DEFS / name / 'defs.yaml'}.",
        )
    return systems[name]
