"""Definitions of write-back flows: the `defs.yaml` of each, read and checked without Dagster.

A flow says which serve table holds the wanted state, which system takes it, and which column becomes which of the
target's fields. Addresses and secrets are not here: the target names a source system, whose connection is used.

From `assets/datong_assets/defs/**/defs.yaml` (type `datong_assets.components.WriteBackFlow`) to `FlowConfig`. A mistake
is a ConfigurationError that names the file and the line; so is a field that the target itself owns by the authority
file (`dbt_project/standard/authority.yaml`), and an order of flows that runs in a circle.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from datetime import time as clock
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from datong_platform import names
from datong_platform.errors import ConfigurationError
from datong_platform.names import TableName
from datong_platform.standard import authority
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from datong_ingestion.connections.base import Model
from datong_ingestion.definitions import Kind as DefinitionKind
from datong_ingestion.definitions import serve_table, word_of
from datong_ingestion.write_back.options import (
    EdiWrites,
    FileWrites,
    KafkaWrites,
    RabbitMqWrites,
    RestWrites,
    SoapWrites,
)

Operation = Literal["create", "update", "delete", "call"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

COMPONENT = "datong_assets.components.WriteBackFlow"

Kind = Literal["text", "number", "integer", "boolean", "date", "datetime"]
"""What a value is, which decides how it is written on the wire and how it is compared when it is read back."""


class Part(Model):
    """A part of a definition whose names in YAML may differ from those in code."""

    model_config = ConfigDict(populate_by_name=True)


class ColumnValue(Part):
    """A target's field that is filled from a column of the serve table."""

    column: str
    kind: Annotated[Kind | None, Field(alias="as")] = None
    """What it is to the target; by default what the column's type says."""
    send_null: bool = False
    """Send an explicit null; by default a null leaves the field out."""
    compare: bool = True
    """Whether the target holds the value afterwards; false for what it takes and does not keep."""


class ConstantValue(Part):
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


_word = word_of("flow")


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{value!r} is no time zone; write one as Asia/Shanghai") from error
    return value


def _afters(value: Any) -> Any:
    return [{"flow": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value


class TargetConfig(Part):
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
    rest: RestWrites = Field(default_factory=RestWrites)
    """REST: how changes, deletes and actions are asked for."""
    soap: SoapWrites | None = None
    """SOAP: the operations that change and read a record."""
    kafka: KafkaWrites = Field(default_factory=KafkaWrites)
    """Kafka: how changes become messages of the topic that `resource` names."""
    rabbitmq: RabbitMqWrites = Field(default_factory=RabbitMqWrites)
    """RabbitMQ: where messages go, and how they are answered."""
    files: FileWrites = Field(default_factory=FileWrites)
    """Files: how they are named and written."""
    edi: EdiWrites | None = None
    """EDI: the message, the partner, and where acknowledgements come in."""


class Action(Part):
    """An action or function of the target that brings a record to the payload: release, close, cancel."""

    name: Annotated[str, Field(min_length=1)]
    """OData: the action's or the function import's name. REST: the path below the record, as `release`."""
    parameters: Fields = {}
    """What it is called with."""
    bound: bool = True
    """Whether it is called on the record that was found; else it is told the record by its parameters."""


class After(Part):
    """A flow that comes first."""

    flow: Annotated[str, AfterValidator(_word)]
    by: str = ""
    """Column of this flow's serve table that holds that flow's key: a row waits until its counterpart is verified.
    Without it the whole flow waits until all rows of that one are."""


class Freeze(Part):
    """A time in which nothing is sent: once, from a moment until another, or again on certain days.

    Clock times and days are those of `timezone`. `days` are of the month, -1 the last one; without `days` and
    `weekdays` it is every day. Where `until` is not later than `from`, it ends on the next day.
    """

    why: Annotated[str, Field(min_length=1)]
    timezone: Annotated[str, AfterValidator(_zone)]
    starts: datetime | None = None
    ends: datetime | None = None
    days: list[Annotated[int, Field(ge=-31, le=31)]] = []
    weekdays: list[Weekday] = []
    months: list[Annotated[int, Field(ge=1, le=12)]] = []
    from_: Annotated[clock, Field(alias="from")] = clock(0)
    until: clock = clock(0)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        once, again = (self.starts, self.ends), (self.days, self.weekdays, self.months)
        if (self.starts is None) != (self.ends is None):
            raise ValueError("starts and ends go together")
        if all(once) and any(again):
            raise ValueError("is either once (starts, ends) or again and again (days, weekdays, months), not both")
        if not any(once) and not any(again):
            raise ValueError("says no time: give starts and ends, or days, weekdays or months")
        if 0 in self.days:
            raise ValueError("days count from 1, or from -1 backwards")
        if self.starts and self.ends:
            if self.starts.tzinfo or self.ends.tzinfo:
                raise ValueError("starts and ends are clock times of its time zone: leave out the offset")
            if self.ends <= self.starts:
                raise ValueError("ends before it starts")
        return self

    def until_when(self, moment: datetime) -> datetime | None:
        """When it ends, if it holds at a moment (with its zone); else None."""
        zone = ZoneInfo(self.timezone)
        local = moment.astimezone(zone)
        if self.starts and self.ends:
            starts, ends = self.starts.replace(tzinfo=zone), self.ends.replace(tzinfo=zone)
            return ends if starts <= local < ends else None
        for back in (1, 0):
            day = (local - timedelta(days=back)).date()
            starts = datetime.combine(day, self.from_, zone)
            ends = datetime.combine(day + timedelta(days=self.until <= self.from_), self.until, zone)
            length = monthrange(day.year, day.month)[1]
            is_day = not self.days or day.day in self.days or day.day - length - 1 in self.days
            is_weekday = not self.weekdays or _WEEKDAYS[day.weekday()] in self.weekdays
            is_month = not self.months or day.month in self.months
            if is_day and is_weekday and is_month and starts <= local < ends:
                return ends
        return None


class Guards(Part):
    """What holds a run back before it harms: nothing beyond a ceiling is planned or sent, and a person is asked."""

    max_changes: Annotated[int, Field(ge=0)] | None = None
    """The most rows that one plan may change, deletes included."""
    max_share: Annotated[float, Field(gt=0, le=1)] | None = None
    """The same as a share of the rows that the target is known to hold; not before there are any."""
    max_deletes: Annotated[int, Field(ge=0)] | None = None
    """The most records that one plan may delete."""
    max_delete_share: Annotated[float, Field(gt=0, le=1)] | None = 0.1
    """The same as a share of the rows that the target is known to hold; null for no such ceiling."""
    freeze: list[Freeze] = []
    """When nothing is sent; what is planned waits."""
    approve_above: Annotated[int, Field(ge=0)] | None = None
    """A plan of more changes than this waits for a person's approval."""
    approve_deletes: bool = True
    """Deletes wait for a person's approval, however few they are."""


class Retry(Part):
    """How failed rows come back: after `wait_seconds`, then each time `factor` times as long, at most
    `longest_seconds`; after `attempts` runs in which they failed they rest in the dead letter."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 6
    wait_seconds: Annotated[float, Field(ge=0)] = 60
    factor: Annotated[float, Field(ge=1)] = 4
    longest_seconds: Annotated[float, Field(ge=0)] = 86_400

    def wait(self, tries: int) -> timedelta:
        """How long to wait after so many runs in which a row failed."""
        return timedelta(seconds=min(self.longest_seconds, self.wait_seconds * self.factor ** max(0, tries - 1)))


class FlowConfig(Part):
    """One write-back flow: what the attributes of its `defs.yaml` say."""

    flow: Annotated[str, AfterValidator(_word)]
    title: str = ""
    title_zh: str = ""
    description: str = ""
    owner: str = ""
    source: Annotated[str, AfterValidator(serve_table("write-back reads from serve only: decisions are public tables"))]
    """The serve table that holds the wanted state, `serve.<consumer>__<noun>`."""
    key: str
    """Its key column: one row, one record of the target."""
    pending: str = ""
    """Boolean column that marks rows which the target, as last read, does not hold; empty to take every row."""
    where: dict[str, str | int | bool | list[str | int]] = {}
    """Only rows whose column has this value (or one of these)."""
    target: TargetConfig
    operations: Annotated[list[Operation], Field(min_length=1)]
    """What may be done. `create` makes a record that is missing, `update` changes one that differs, `call` brings it to
    the payload by an action instead, `delete` removes one whose key left the serve table. What exists and differs where
    neither update nor call is allowed is a conflict; what is missing where create is not allowed is a failure."""
    action: Action | None = None
    """What `call` calls."""
    after: Annotated[list[After], BeforeValidator(_afters)] = []
    """Flows that come first: by name, or with the column that holds their key."""
    entity: str = ""
    """The entity of the standard that the payload's columns describe, by which the authority file tells who owns each
    field. A definition that may `update` or `call` has to say it."""
    rate: Annotated[float, Field(gt=0)] | None = None
    """The most changes that are sent in a second; the target's own signals (429, Retry-After) are obeyed beside it."""
    batch: Annotated[int, Field(ge=1, le=1000)] = 1
    """Changes in one request, where the target's protocol can (OData `$batch`, bulk); 1 for one request each."""
    on_conflict: Literal["ask", "ours", "theirs"] = "ask"
    """Who wins where the target holds something else than what it should: a person is asked, our value is written over
    it, or the target's stays. A record that vanished after it was accepted is always for a person."""
    guards: Guards = Guards()
    retry: Retry = Retry()
    alert: str = ""
    """The owner by whom routes of alerts find who is told of this flow; by default its `owner`."""
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
        may = set(self.operations)
        if len(may) != len(self.operations):
            raise ValueError("operations: each is named once")
        if not self.look_first and may != {"create"}:
            raise ValueError("look_first can be false only for a flow that just creates: an update needs the record")
        if {"update", "call"} <= may:
            raise ValueError("operations: update and call both change a record that differs; choose one of them")
        if ("call" in may) != (self.action is not None):
            raise ValueError("operations: call and action go together: what is called, and that it may be")
        if any(item.flow == self.flow for item in self.after):
            raise ValueError("after: a flow cannot come after itself")
        if self.target.lookup not in self.payload and "create" in may:
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
        used = [self.key, *([self.pending] if self.pending else []), *self.where, *self.mapped]
        return list(dict.fromkeys([*used, *(item.by for item in self.after if item.by)]))

    @property
    def mapped(self) -> list[str]:
        """The serve table's columns that make what is sent."""
        parts: list[Mapping[str, Value]] = [self.action.parameters] if self.action else []
        for value in self.payload.values():
            parts += value if isinstance(value, list) else [{"": value}]
        used = [item.column for fields in parts for item in fields.values() if isinstance(item, ColumnValue)]
        return list(dict.fromkeys(used))

    @property
    def changes_records(self) -> bool:
        """Whether it may change a record that exists."""
        return bool({"update", "call"} & set(self.operations))


def _not_ours(flow: FlowConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    """The fields, by their place in the file, that the target owns by the authority file: they are not for us."""
    if not flow.changes_records:
        return
    if not flow.entity:
        yield (
            ("operations",),
            "it changes records and does not say of which `entity`, so nobody can tell who owns them.",
        )
        return
    owners = authority.load().get(flow.entity)
    if owners is None:
        yield ("entity",), f"the authority file knows no entity {flow.entity}."
        return
    for name, value in flow.payload.items():
        if not isinstance(value, ColumnValue) or name == flow.target.lookup or name in flow.target.identity:
            continue
        owner = owners.get(value.column, owners[authority.OTHERS])[0]
        if owner == flow.target.system:
            yield (
                ("payload", name),
                f"{flow.entity}.{value.column} is owned by {owner} itself, so {name} cannot be written there.",
            )


FLOWS = DefinitionKind(
    component=COMPONENT,
    model=FlowConfig,
    key="flow",
    word="flow",
    title="write-back flow",
    further=_not_ours,
    further_step="name the entity, leave the field out, or let another system own it in "
    "dbt_project/standard/authority.yaml.",
)


def load_flows(defs: Path | None = None) -> dict[str, FlowConfig]:
    """Every write-back flow defined below `defs` (default: the project's definitions), by name.

    ConfigurationError with file and line for the first definition that is wrong, and when two bear one name.
    """
    flows = FLOWS.load(defs)
    for flow in flows.values() if defs is None else ():
        if unknown := [item.flow for item in flow.after if item.flow not in flows]:
            raise ConfigurationError(
                f"{next(path for path, one in FLOWS.located(defs) if one.flow == flow.flow)}",
                f"comes after {', '.join(unknown)}, which is not defined.",
                f"choose from {', '.join(flows)}.",
            )
    ordered(flows)
    return flows


def ordered(flows: Mapping[str, FlowConfig]) -> list[FlowConfig]:
    """Flows in the order in which they run: each after those that it comes after. ConfigurationError for a circle."""
    before = {name: [item.flow for item in flow.after if item.flow in flows] for name, flow in flows.items()}
    try:
        return [flows[name] for name in TopologicalSorter(before).static_order()]
    except CycleError as error:
        raise ConfigurationError(
            "write-back flows", f"come after each other in a circle: {' after '.join(error.args[1])}.", "mend `after`."
        ) from error


def load_flow(name: str, defs: Path | None = None) -> FlowConfig:
    """The flow called `name`; ConfigurationError lists those there are."""
    return FLOWS.one(name, load_flows(defs))
