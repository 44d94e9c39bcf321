"""What an entity can say of how the messages of its queue are written."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from datong_ingestion.connections.base import Model

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
    "VariableScaleDecimal",
)


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
