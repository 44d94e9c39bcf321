"""Connections to Kafka, and to a schema registry."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from datong_ingestion.connections.base import Model, Options
from datong_ingestion.connections.stream import StreamConnection

_OURS = (
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "auto.offset.reset",
    "isolation.level",
    "group.id",
)
LOGICAL = (
    "Date",
    "Timestamp",
    "MicroTimestamp",
    "NanoTimestamp",
    "ZonedTimestamp",
    "Time",
    "MicroTime",
    "NanoTime",
    "Decimal",
)


class KafkaConnection(StreamConnection):
    """A Kafka cluster; entities are topics."""

    bootstrap_servers: str
    """`host:9092`, several separated by commas."""
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How to log in, with sasl_plaintext and sasl_ssl."""
    user: str | None = None
    password: Annotated[str | None, Field(repr=False)] = None
    ca_file: str | None = None
    """Certificates of the authorities to trust, as PEM; without it those of the operating system."""
    certificate_file: str | None = None
    """Our own certificate, as PEM, where the brokers ask for one."""
    key_file: str | None = None
    key_password: Annotated[str | None, Field(repr=False)] = None
    group: str = ""
    """Consumer group that shows the progress in Kafka's own tools; default `datong.<system>.<entity>`."""
    properties: dict[str, str] = {}
    """Further settings of librdkafka, such as `client.dns.lookup`."""
    registry_url: str | None = None
    """Schema registry (Confluent's, Karapace, Apicurio in its compatible mode), for Avro."""
    registry_user: str | None = None
    registry_password: Annotated[str | None, Field(repr=False)] = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.security.startswith("sasl") and not (self.user and self.password):
            raise ValueError(f"security {self.security} needs user and password")
        if not self.security.startswith("sasl") and (self.user or self.password):
            raise ValueError("user and password need security sasl_ssl or sasl_plaintext")
        if bool(self.certificate_file) != bool(self.key_file):
            raise ValueError("certificate_file and key_file belong together")
        if taken := sorted(set(self.properties) & set(_OURS)):
            raise ValueError(f"properties cannot set {', '.join(taken)}: what is read once depends on them")
        return self


class Messages(Model):
    """How the messages of a queue are written."""

    format: Literal["json", "avro", "text"] = "json"
    """`text` gives one field `value`. Avro is framed as Confluent's serializers do and needs a schema registry."""
    envelope: Literal["none", "debezium"] = "none"
    """`debezium`: change events with before, after, source and op; `none`: the message is the row."""
    logical: dict[str, str] = {}
    """Debezium JSON without schemas: what a number stands for, as `due_on: Date`, `updated_at: MicroTimestamp` or
    `price: Decimal(2)`."""

    @model_validator(mode="after")
    def _known_logical(self) -> Self:
        for name, text in self.logical.items():
            if text.split("(")[0] not in LOGICAL:
                raise ValueError(f"logical {name}: {text} is not known; choose from {', '.join(LOGICAL)}")
            if text.startswith("Decimal") and not text[7:].strip("()").isdigit():
                raise ValueError(f"logical {name}: write Decimal with its scale, as Decimal(2)")
        if self.logical and not (self.format == "json" and self.envelope == "debezium"):
            raise ValueError("logical is for Debezium events in JSON")
        if self.envelope == "debezium" and self.format == "text":
            raise ValueError("Debezium events are json or avro")
        return self


class KafkaOptions(Messages, Options):
    """What an entity on a topic can say."""

    key_format: Literal["text", "json", "avro", "none"] = "text"
    """How the message's key is written; it tells which row a tombstone (a message without a value) deletes."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where the very first read begins."""
    when_lost: Literal["stop", "go_on"] = "stop"
    """When messages were removed from the topic before they were read: stop with an error, or note the gap in
    quarantine and go on with what is left."""
    place: bool = True
    """Add each message's place: `_kafka_partition`, `_kafka_offset`, `_kafka_timestamp`, `_kafka_key`."""
