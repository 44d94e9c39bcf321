"""Connections to Kafka, and to a schema registry."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from datong_ingestion.connections.base import Options
from datong_ingestion.connections.messages import Messages
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
