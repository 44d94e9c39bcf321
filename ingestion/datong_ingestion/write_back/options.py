"""What a flow's target can say that only its protocol knows."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from datong_ingestion.connections.base import Model
from datong_ingestion.connections.files import Character, codec
from datong_ingestion.connections.http import Text


class RestWrites(Model):
    """How a JSON API takes changes. In paths stand {resource}, {identity} (the record's key, its parts joined by a
    slash) and {action}."""

    update: Literal["PATCH", "PUT"] = "PATCH"
    """`PUT` sends the whole record as it was read, with the changed fields in it, so that no field gets lost."""
    read_only: tuple[str, ...] = ()
    """Fields that a PUT leaves out, because the API does not take them back."""
    record: str = "{resource}/{identity}"
    """Address of a record."""
    action: str = "{resource}/{identity}/{action}"
    """Address of an action of a record."""
    free_action: str = "{resource}/{action}"
    """Address of an action that belongs to no record."""
    action_method: Literal["POST", "PUT", "PATCH"] = "POST"
    lookup_many: Literal["", "comma", "repeat"] = ""
    """How the API takes several keys in one request, `lookup_rows` at once: `orderNo=A,B` or `orderNo=A&orderNo=B`.
    Empty for one request a key."""


class SoapOperation(Model):
    """An operation of a service that changes something.

    In `arguments` a text `{payload}` alone is replaced by the payload, `{payload.Name}` alone by one of its fields;
    within texts stand {key}, {idempotency_key}, {document}, {parameters.Name} of the flow's action, {found.Name} of the
    record that was found, and the connection's variables.
    """

    operation: str
    wsdl: str = ""
    service: str = ""
    port: str = ""
    endpoint: str = ""
    arguments: dict[str, Any] = {}
    document: str = ""
    """A document that goes out as text (Yonyou U8's ufinterface): an XML template, in which {payload} stands for the
    payload's fields as elements, {payload.Name} for one field, and the words above for themselves, escaped."""
    reply: Literal["elements", "xml_in_text"] = "elements"
    """`xml_in_text`: the answer is a text that holds a document of its own, in which the paths begin."""
    reply_path: str = ""
    """Where that text is; empty for the first value of the answer."""
    key_path: str = ""
    """Where the key of the record that was made is in the answer; `@name` is an attribute."""
    success_path: str = ""
    """A value of the answer that tells success, besides that of the connection."""
    success_values: list[Text] = []
    message_path: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.success_path) != bool(self.success_values):
            raise ValueError("success_path and success_values belong together")
        return self


class SoapRead(Model):
    """The operation that gives the records of one key."""

    operation: str
    rows_path: str
    """Where the records are in its answer."""
    arguments: dict[str, Any] = {}
    """What it is asked with; {key} is the key."""
    wsdl: str = ""
    service: str = ""
    port: str = ""
    endpoint: str = ""
    reply: Literal["elements", "xml_in_text"] = "elements"
    reply_path: str = ""


class SoapWrites(Model):
    """How a SOAP service takes changes, and how one of its records is read."""

    read: SoapRead
    create: SoapOperation | None = None
    update: SoapOperation | None = None
    delete: SoapOperation | None = None
    call: SoapOperation | None = None
    refused_texts: list[str] = []
    """Words in a fault of the server's own (`Server`, `Receiver`) that tell that it changed nothing, such as `JBO-`.
    Without one of them such a fault leaves open what happened, and the record is read back."""
    conflict_texts: list[str] = ["already exist", "version conflict", "JBO-25013", "JBO-25014", "已存在", "已被修改"]
    """Words, of a fault or a failure, that tell that the target holds something else: a record with this key, or one
    that was changed meanwhile."""
    gone_texts: list[str] = ["not found", "does not exist", "不存在"]
    """Words that tell that a record is not there, so that deleting it has nothing left to do."""


class KafkaWrites(Model):
    """How changes become messages of a topic: the key is the message's key, a delete is a tombstone."""

    lookback_hours: Annotated[float, Field(gt=0)] = 24
    """How far back the topic is read to find what an earlier run sent; the last message of a key is its record."""
    headers: dict[str, Text] = {}
    """Further headers of each message, besides `datong-flow`, `datong-operation` and `datong-idempotency-key`."""


class RabbitMqWrites(Model):
    """How changes become messages: the idempotency key is the message id and the correlation id."""

    exchange: str = ""
    """Empty for the default exchange, which takes the resource as the name of a queue."""
    routing_key: str = ""
    """By default the resource."""
    reply_queue: str = ""
    """A queue in which the consumer answers by the correlation id, with JSON that tells success; a row is then verified
    by that answer. Without one it is verified by the broker's confirm: the message is safe in a queue."""
    success_path: str = "success"
    """Where the answer tells success, compared with `success_values`."""
    success_values: list[Text] = ["true"]
    message_path: str = "message"
    key_path: str = "key"
    """Where the answer tells the key of the record that was made."""
    deduplicates: bool = False
    """The consumer takes a message id once. Then what went out without the broker's confirm is sent again; else it
    rests as unknown until a person decides, because a queue cannot be asked what it holds."""
    headers: dict[str, Text] = {}


class FileWrites(Model):
    """How changes become files: one for each `batch` of changes."""

    format: Literal["json", "jsonl", "csv", "xml"] = "json"
    name: str = "{flow}_{id}.{format}"
    """Name of a file below `resource`; {key} is that of its first record, {id} differs from file to file and must be
    in it."""
    encoding: Annotated[str, AfterValidator(codec)] = "utf-8"
    delimiter: Character = ","
    """CSV: what stands between values."""
    root: str = "records"
    """XML: the element that holds the records."""
    element: str = "record"
    """XML: the element of a record."""
    operation_field: str = ""
    """A field that tells `create`, `update` or `delete`; without one a file can tell no delete."""
    marker: str = ""
    """A second, empty file that tells that the first is complete, as `{name}.ok`."""
    archive: str = ""
    """The folder below the location into which the receiver moves what it took."""
    kept: bool = False
    """Files stay where they are, or are moved to `archive`. Else a file that is gone after a crash may have been taken
    or never written, and its rows rest as unknown until a person decides."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if "{id}" not in self.name:
            raise ValueError("name must contain {id}, so that no file takes another's place")
        if self.marker and "{name}" not in self.marker:
            raise ValueError("marker must contain {name}, as in '{name}.ok'")
        return self


class EdiParty(Model):
    """Who sends or receives an interchange."""

    id: Annotated[str, Field(min_length=1, max_length=35)]
    qualifier: str = "ZZ"
    """X12: ISA05 or ISA07; EDIFACT: data element 0007, empty for none."""
    group: str = ""
    """X12: the application's code in GS; by default the id."""


class EdiEach(Model):
    """Segments for each item of a list of the payload. In their texts {number} counts the items from 1."""

    each: str
    segments: Annotated[list[list[str | list[str]]], Field(min_length=1)]


class EdiWrites(Model):
    """How a change becomes an EDI message, an interchange of its own, and where its acknowledgement comes in.

    A segment is a list: its tag, then its elements; an element that is a list is a composite. In their texts stand
    {Field} of the payload, {Field:%Y%m%d} for a date in this format, and {count:List}. An element that is left with
    nothing at the end of a segment is not sent.
    """

    message: Text
    """`855`, `856`, `ORDRSP`, `DESADV` or another."""
    sender: EdiParty
    receiver: EdiParty
    version: str = ""
    """X12: GS08, by default 004010. EDIFACT: version, release and agency, by default D:96A:UN."""
    group: str = ""
    """X12: GS01, for messages that are not known."""
    characters: Literal["UNOA", "UNOB", "UNOC", "UNOY"] = "UNOC"
    """EDIFACT: the character set; UNOY is UTF-8. X12 is written in UTF-8."""
    test: bool = False
    """Marked as a test in the envelope."""
    segments: Annotated[list[EdiEach | list[str | list[str]]], Field(min_length=1)]
    acknowledgements: str = ""
    """Pattern of the files below the location in which the partner's 997 or CONTRL comes in. A row is verified by it;
    without it, by the interchange lying complete in the outbox."""

    @property
    def is_x12(self) -> bool:
        """X12 names its messages by numbers."""
        return self.message.isdigit()
