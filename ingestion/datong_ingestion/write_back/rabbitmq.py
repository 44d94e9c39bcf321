"""Write-back to RabbitMQ: a persistent message for each change, safe when the broker confirms it.

A queue cannot be asked what it holds. A row counts as verified by the broker's confirm, or, where the consumer answers
into a reply queue, by that answer. Guards against: a message that no queue takes (`mandatory`: it comes back, and is a
refusal), a connection that breaks before the confirm (unclear; sent again only where the consumer takes a message id
once), an answer that is taken from its queue before the ledger knows it (acknowledged only when it is recorded),
answers that concern somebody else (they go back to the queue).

Sources: RabbitMQ "Publisher Confirms"; AMQP 0-9-1, basic.return.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from datong_platform.errors import ConfigurationError, DatongError, TransientError

from datong_ingestion.http_auth import at, scalar
from datong_ingestion.pace import Pace
from datong_ingestion.protocols.rabbitmq import RabbitMq
from datong_ingestion.systems_config import EntityConfig, SystemConfig
from datong_ingestion.write_back.config import FlowConfig, Operation
from datong_ingestion.write_back.payload import Confirmed, Dialect, Payload
from datong_ingestion.write_back.target import AwaitedError, Change, Found, Outcome, RefusedLaterError

_ACCEPTED = 200
_PERSISTENT = 2


class RabbitMqTarget:
    """An exchange or a queue, as a write-back target. `resource` is the queue, or the routing key."""

    can_be_asked = False
    dialect: Dialect = "rest"
    operations: frozenset[Operation] = frozenset({"create", "update", "delete", "call"})

    def __init__(self, flow: FlowConfig, system: SystemConfig, pace: Pace | None = None) -> None:
        self._flow, self._writes, self._pace = flow, flow.target.rabbitmq, pace or Pace()
        self._thing = f"{flow.target.system} {flow.target.resource} (write-back flow {flow.flow})"
        self._broker = RabbitMq(system)
        self._entity = EntityConfig(name=flow.flow, source=flow.target.resource, mode="stream")
        self._lock = threading.Lock()
        self._connection: Any = None
        self._channel: Any = None
        self._confirmed: dict[str, list[Found]] = {}
        """What the broker confirmed in this run, by idempotency key, until it is recorded."""
        self._sent: set[str] = set()
        """Idempotency keys of what was sent in this run."""
        self._taken: dict[str, str] = {}
        """Idempotency key of what was confirmed or answered, by key, until it is recorded."""
        self._answers: dict[str, tuple[int, str, dict[str, Any]]] = {}
        """Answers that were taken from the reply queue and not acknowledged yet: their delivery tag, the operation and
        what they say, by idempotency key."""

    def close(self) -> None:
        """Close the connection; answers that nobody recorded go back to their queue."""
        self._drop()
        self._broker.close()

    def lookup(
        self, keys: Sequence[str], sent: Mapping[str, str] | None = None
    ) -> dict[str, list[Found] | DatongError]:
        with self._lock:
            if self._writes.reply_queue:
                self._take_answers()
            else:
                self._open()
            held = self._replied if self._writes.reply_queue else self._held
            return {key: held(key, (sent or {}).get(key)) for key in keys}

    def _held(self, key: str, idempotency_key: str | None) -> list[Found] | DatongError:
        """What is known of a change where nobody answers."""
        if idempotency_key in self._confirmed:
            return self._confirmed[idempotency_key]
        if idempotency_key is None or self._writes.deduplicates:
            return []
        return AwaitedError(
            self._thing,
            f"may or may not have taken message {idempotency_key}: the broker did not confirm it in the run that sent "
            "it, and a queue cannot be asked.",
            "ask its consumer; where it takes a message id once, set `deduplicates: true`.",
        )

    def _replied(self, key: str, idempotency_key: str | None) -> list[Found] | DatongError:
        """What is known of a change that the consumer answers."""
        if idempotency_key is None:
            return []
        if idempotency_key not in self._answers:
            if idempotency_key not in self._sent and self._writes.deduplicates:
                return []
            return AwaitedError(
                self._thing,
                f"has not answered message {idempotency_key} in {self._writes.reply_queue} yet.",
                "run again later; the answer is taken then.",
            )
        self._taken[key] = idempotency_key
        return self._answered(idempotency_key)

    def _answered(self, idempotency_key: str) -> list[Found] | DatongError:
        """What the consumer's answer comes to: the record holds the payload, or it was refused."""
        answer = self._answers[idempotency_key][2]
        if scalar(at(answer, self._writes.success_path)) not in self._writes.success_values:
            said = at(answer, self._writes.message_path)
            return RefusedLaterError(
                self._thing, str(said or "the consumer refused it without a word"), "see the consumer."
            )
        made = at(answer, self._writes.key_path)
        target_key = str(made) if made not in (None, "") else idempotency_key
        return [Found(Confirmed(answer), None, target_key, (target_key,))]

    def _take_answers(self) -> None:
        """Take what waits in the reply queue; it is acknowledged when it is recorded."""
        pika = _pika()
        try:
            self._open()
            while True:
                method, properties, body = self._channel.basic_get(self._writes.reply_queue)
                if method is None:
                    return
                idempotency_key, _, operation = (properties.correlation_id or "").partition("/")
                try:
                    content = json.loads(body)
                except ValueError:
                    content = {self._writes.message_path: f"its answer is no JSON: {body[:200]!r}"}
                answer: dict[str, Any] = content if isinstance(content, dict) else {"answer": content}
                self._answers[idempotency_key] = (method.delivery_tag, operation, answer)
        except pika.exceptions.ChannelClosedByBroker as error:
            self._drop()
            raise ConfigurationError(
                self._thing,
                f"reply queue {self._writes.reply_queue} cannot be read: {error.reply_text}.",
                "create it, or mend `reply_queue` in the flow's defs.yaml.",
            ) from None
        except (pika.exceptions.AMQPError, OSError) as error:
            self._drop()
            raise TransientError(self._thing, f"the broker does not answer: {error!r}.", "run again.") from None

    def _open(self) -> None:
        """A channel on which the broker confirms each message; DatongError when there is none to be had."""
        pika = _pika()
        if self._connection is not None:
            try:
                # a connection that was idle for long may have been closed by the broker meanwhile
                self._connection.process_data_events(0)
            except (pika.exceptions.AMQPError, OSError):
                self._drop()
        if self._connection is None or not self._channel.is_open:
            self._drop()
            self._connection, self._channel = self._broker.channel(self._entity)
            self._channel.confirm_delivery()

    def _drop(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        self._answers = {}
        if connection is not None:
            with suppress(Exception):
                connection.close()

    def send(self, changes: Sequence[Change], on_reply: Callable[[Change, Outcome], None]) -> dict[str, Outcome]:
        told: dict[str, Outcome] = {}
        with self._lock:
            for change in changes:
                self._pace.take()
                told[change.key] = self._send(change)
                on_reply(change, told[change.key])
        return told

    def _send(self, change: Change) -> Outcome:
        pika = _pika()
        try:
            self._open()
        except DatongError as error:
            return Outcome("not_sent", None, error.reason)
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=_PERSISTENT,
            message_id=change.idempotency_key,
            correlation_id=f"{change.idempotency_key}/{change.operation}",
            reply_to=self._writes.reply_queue or None,
            timestamp=int(datetime.now(UTC).timestamp()),
            type=change.operation,
            headers={
                **self._writes.headers,
                "datong-flow": self._flow.flow,
                "datong-key": change.key,
                "datong-operation": change.operation,
            },
        )
        action = self._flow.action.name if self._flow.action else ""
        body: Payload = {
            "create": change.payload,
            "update": change.payload,
            "delete": {self._flow.target.lookup: change.key},
            "call": {"action": action, "parameters": change.parameters, self._flow.target.lookup: change.key},
        }[change.operation]
        try:
            self._channel.basic_publish(
                self._writes.exchange,
                self._writes.routing_key or self._flow.target.resource,
                json.dumps(body, ensure_ascii=False).encode(),
                properties,
                mandatory=True,
            )
        except pika.exceptions.UnroutableError:
            return Outcome("refused", None, f"no queue takes messages for {self._flow.target.resource}")
        except pika.exceptions.NackError:
            return Outcome("not_sent", None, "the broker did not take the message (its queue is full, or it failed)")
        except (pika.exceptions.AMQPError, OSError) as error:
            self._drop()
            return Outcome("unclear", None, f"the connection broke before the broker confirmed: {error!r}")
        place = change.idempotency_key
        self._sent.add(place)
        if not self._writes.reply_queue:
            self._confirmed[place] = [Found(Confirmed(change.payload), None, place, (place,))]
            self._taken[change.key] = place
        return Outcome("accepted", _ACCEPTED, "", place)

    def recorded(self, keys: Sequence[str]) -> None:
        """Acknowledge the answers that the ledger knows now."""
        pika = _pika()
        with self._lock:
            for key in keys:
                place = self._taken.pop(key, "")
                self._confirmed.pop(place, None)
                if place in self._answers and self._channel is not None:
                    tag, _, _ = self._answers.pop(place)
                    try:
                        self._channel.basic_ack(tag)
                    except (pika.exceptions.AMQPError, OSError):
                        # it comes again, and nobody waits for it any more
                        self._drop()


def _pika() -> Any:
    import pika

    return pika
