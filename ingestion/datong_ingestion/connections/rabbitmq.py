"""Connections to RabbitMQ."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from datong_ingestion.connections.base import Options
from datong_ingestion.connections.messages import Messages
from datong_ingestion.connections.stream import StreamConnection


class RabbitMqConnection(StreamConnection):
    """A RabbitMQ broker (AMQP 0-9-1); entities are queues."""

    host: str
    port: Annotated[int | None, Field(ge=1, le=65535)] = None
    """Default 5672, with TLS 5671."""
    virtual_host: str = "/"
    user: str
    password: Annotated[str, Field(repr=False)]
    tls: bool = False
    ca_file: str | None = None
    """Certificates of the authorities to trust, as PEM; without it those of the operating system."""
    batch_rows: Annotated[int, Field(ge=1, le=20_000)] = 10_000
    """Messages taken before they are loaded and acknowledged; the broker holds so many for us."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.ca_file and not self.tls:
            raise ValueError("ca_file needs tls: true")
        return self


class RabbitMqOptions(Messages, Options):
    """What an entity on a queue can say."""

    place: bool = True
    """Add what the broker tells of each message: `_rabbitmq_message_id`, `_rabbitmq_exchange`,
    `_rabbitmq_routing_key`, `_rabbitmq_timestamp`."""

    @model_validator(mode="after")
    def _no_registry(self) -> Self:
        if self.format == "avro":
            raise ValueError("format avro needs a schema registry, which only Kafka has; use json or text")
        return self
