"""Schema registry: the schemas of Avro messages, by number or by subject (Confluent's REST API, which others speak).

A number's schema never changes, so each is asked for once. A registry that cannot be reached stops the read: to refuse
every message because of it would be wrong.
"""

from __future__ import annotations

import json
from typing import Any

from datong_platform.errors import ProtocolError

from datong_ingestion.connections.kafka import KafkaConnection
from datong_ingestion.http import HttpClient
from datong_ingestion.protocols.debezium import UnreadableMessageError


class SchemaRegistry:
    """A connected schema registry."""

    def __init__(self, connection: KafkaConnection, url: str, thing: str, credentials: str) -> None:
        """Makes no request yet."""
        self.thing = thing
        self._http = HttpClient(
            thing,
            url,
            auth="basic" if connection.registry_user else "none",
            user=connection.registry_user,
            secret=connection.registry_password,
            headers={"Accept": "application/vnd.schemaregistry.v1+json, application/json"},
            concurrency=connection.concurrency,
            timeout_seconds=connection.timeout_seconds,
            attempts=connection.attempts,
            max_wait_seconds=connection.max_wait_seconds,
            credentials=credentials,
        )
        self._schemas: dict[int, Any] = {}

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def schema(self, number: int) -> Any:
        """The schema of that number, parsed; UnreadableMessageError when the registry has none."""
        if number not in self._schemas:
            self._schemas[number] = self._asked(f"schemas/ids/{number}")
        if self._schemas[number] is None:
            raise UnreadableMessageError(f"its schema {number} is not in the registry")
        return self._schemas[number]

    def latest(self, subject: str) -> Any:
        """The newest schema of a subject, parsed; None when there is none."""
        return self._asked(f"subjects/{subject}/versions/latest")

    def _asked(self, path: str) -> Any:
        import fastavro
        from fastavro.schema import SchemaParseException, UnknownType

        response = self._http.request("GET", self._http.below(path), thing=self.thing, accept=(404,))
        if response.status_code == 404:
            return None
        try:
            answer = response.json()
            kind = answer.get("schemaType", "AVRO")
            if kind != "AVRO":
                raise ProtocolError(
                    self.thing, f"{path} in the schema registry is {kind}.", "only Avro is read; use another topic."
                )
            named: dict[str, Any] = {}
            for reference in answer.get("references") or []:
                found = self._http.request(
                    "GET",
                    self._http.below(f"subjects/{reference['subject']}/versions/{reference['version']}"),
                    thing=self.thing,
                )
                fastavro.parse_schema(json.loads(found.json()["schema"]), named_schemas=named)
            return fastavro.parse_schema(json.loads(answer["schema"]), named_schemas=named)
        except (ValueError, KeyError, TypeError, AttributeError, SchemaParseException, UnknownType) as error:
            raise ProtocolError(
                self.thing,
                f"{path} in the schema registry cannot be read: {type(error).__name__}.",
                "check registry_url: it must be the registry's root.",
            ) from error
