"""Definitions of write-back flows: the `defs.yaml` of each, read and checked without Dagster.

A flow says which serve table holds the wanted state, which system takes it, and which column becomes which of the
target's fields. Addresses and secrets are not here: the target names a source system, whose connection is used.

From `assets/datong_assets/defs/**/defs.yaml` (type `datong_assets.components.WriteBackFlow`) to `FlowConfig`. A mistake
is a ConfigurationError that names the file and the line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from datong_platform import names, settings
from datong_platform.errors import ConfigurationError
from datong_platform.names import TableName
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from datong_ingestion.definitions import documents, line_of

COMPONENT = "datong_assets.components.WriteBackFlow"

Kind = Literal["text", "number", "integer", "boolean", "date", "datetime"]
"""What a value is, which decides how it is written on the wire and how it is compared when it is read back."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ColumnValue(_Model):
    """A target's field that is filled from a column of the serve table."""

    column: str
    kind: Annotated[Kind | None, Field(alias="as")] = None
    """What it is to the target; by default what the column's type says."""
    send_null: bool = False
    """Send an explicit null; by default a null leaves the field out."""
    compare: bool = True
    """Whether the target holds the value afterwards; false for what it takes and does not keep."""


class ConstantValue(_Model):
    """A target's field that is always the same."""

    value: str | int | bool
    compare: bool = True


Value = Annotated[
    ColumnValue | ConstantValue,
    BeforeValidator(
        lambda v: {"column": v} if isinstance(v, str) else v, json_schema_input_type=str | ColumnValue | ConstantValue
    ),
]
"""In YAML a bare text is the name of a column."""

Fields = dict[str, Value]


def _word(value: str) -> str:
    try:
        return names.word(value, "flow")
    except ConfigurationError as error:
        raise ValueError(f"{error.reason} {error.next_step}") from error


def _table(value: str) -> str:
    try:
        table = names.parse(value)
    except ConfigurationError as error:
        raise ValueError(f"{error.reason} {error.next_step}") from error
    if table.schema != "serve":
        raise ValueError("write-back reads from serve only: decisions are public tables")
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{value!r} is no time zone; write one as Asia/Shanghai") from error
    return value


class TargetConfig(_Model):
    """Where a flow writes to, and how one of its records is found again."""

    system: str
    """The source system whose connection is used; its protocol must be odata_v2 or rest."""
    resource: str
    """OData: `SERVICE/EntitySet`. REST: the collection's path."""
    lookup: str
    """The target's field that carries our key: an OData property, or a query parameter of the collection."""
    identity: Annotated[list[str], Field(min_length=1)]
    """The target's own key fields, by which one record is addressed; their values are kept in the ledger."""
    expand: list[str] = []
    """OData: navigation properties to read along, so that what was inserted deeply can be compared."""
    etag_field: str = ""
    """REST: the field that holds a record's version where a list shows it; sent as If-Match when updating."""
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Time zone in which the target is told times (REST)."""
    lookup_rows: Annotated[int, Field(ge=1, le=200)] = 30
    """OData: how many keys are looked up by one request."""


class FlowConfig(_Model):
    """One write-back flow: what the attributes of its `defs.yaml` say."""

    flow: Annotated[str, AfterValidator(_word)]
    title: str = ""
    title_zh: str = ""
    description: str = ""
    owner: str = ""
    source: Annotated[str, AfterValidator(_table)]
    """The serve table that holds the wanted state, `serve.<consumer>__<noun>`."""
    key: str
    """Its key column: one row, one record of the target."""
    pending: str = ""
    """Boolean column that marks rows which the target, as last read, does not hold; empty to take every row."""
    where: dict[str, str | int | bool | list[str | int]] = {}
    """Only rows whose column has this value (or one of these)."""
    target: TargetConfig
    write: Literal["create", "update", "create_or_update"]
    """What may be done: make the missing record, change the existing one, or either. What exists and differs where only
    `create` is allowed is a conflict; what is missing where only `update` is allowed is a failure."""
    look_first: bool = True
    """Ask for a record before creating it. May be false only where the target itself refuses a second record for one
    key: it saves a request for each row, and what is there already is then found by its refusal (409)."""
    payload: Annotated[Fields | dict[str, Value | list[Fields]], Field(min_length=1)]
    """The target's fields; a list holds the items of a deep insert."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """How often a row is sent in one run when the outcome was unclear and reading back found nothing."""
    settle_seconds: Annotated[float, Field(ge=0)] = 5
    """How long after an unclear outcome a row that cannot be found counts as not written: the target may still be at
    it. Keep it above the target's own time limit where it does not know idempotency keys."""
    chunk_rows: Annotated[int, Field(ge=1, le=5000)] = 200
    """Rows whose intents, and whose results, are committed to the ledger at once."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if not self.look_first and self.write != "create":
            raise ValueError("look_first can be false only for a flow that just creates: an update needs the record")
        if self.target.lookup not in self.payload and self.write != "update":
            raise ValueError(
                f"payload does not fill {self.target.lookup}, by which a created record would be found again"
            )
        return self

    @property
    def table(self) -> TableName:
        """The serve table."""
        return names.parse(self.source)

    @property
    def columns(self) -> list[str]:
        """The serve table's columns that the flow reads."""
        used = [self.key, *([self.pending] if self.pending else []), *self.where]
        for value in self.payload.values():
            for fields in value if isinstance(value, list) else [{"": value}]:
                used += [item.column for item in fields.values() if isinstance(item, ColumnValue)]
        return list(dict.fromkeys(used))


def _flows_in(path: Path) -> list[FlowConfig]:
    flows: list[FlowConfig] = []
    for node, attributes in documents(path, COMPONENT):
        try:
            flows.append(FlowConfig.model_validate(attributes))
        except ValidationError as error:
            found = [(line_of(node, ("attributes", *item["loc"])), item) for item in error.errors()]
            where = [f"line {line}: {'.'.join(map(str, item['loc'])) or 'flow'}: {item['msg']}" for line, item in found]
            raise ConfigurationError(
                f"{path}:{found[0][0]}",
                f"does not describe a write-back flow: {'; '.join(where)}.",
                "mend these lines.",
            ) from error
    return flows


def load_flows(defs: Path | None = None) -> dict[str, FlowConfig]:
    """Every write-back flow defined below `defs` (default: the project's definitions), by name.

    ConfigurationError with file and line for the first definition that is wrong, and when two bear one name.
    """
    flows: dict[str, FlowConfig] = {}
    origin: dict[str, Path] = {}
    for path in sorted((defs or settings.DEFS).glob("**/defs.yaml")):
        for flow in _flows_in(path):
            if flow.flow in flows:
                raise ConfigurationError(
                    f"{path}", f"defines flow {flow.flow}, as does {origin[flow.flow]}.", "rename one."
                )
            flows[flow.flow], origin[flow.flow] = flow, path
    return flows


def load_flow(name: str, defs: Path | None = None) -> FlowConfig:
    """The flow called `name`; ConfigurationError lists those there are."""
    flows = load_flows(defs)
    if name not in flows:
        raise ConfigurationError(
            f"write-back flow {name}", "is not defined.", f"choose from {', '.join(flows) or 'none yet'}."
        )
    return flows[name]
