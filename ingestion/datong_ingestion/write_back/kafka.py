"""Write-back to Kafka: a message for each change, verified by reading it back from the topic.

The topic is a table: the last message of a key is its record, a message without a value (a tombstone) deletes it.
Guards against: a second message of one change (an idempotent producer that waits for all replicas, and a header with
the idempotency key by which a later run finds what an earlier one sent), a delivery that timed out and may have arrived
(unclear, so the topic is read), transactions of others that never end (only what is committed is read).

Sources: KIP-98 (idempotent producer), librdkafka's CONFIGURATION.md.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from datong_platform.errors import DatongError, ProtocolError, TransientError

from datong_ingestion.pace import Pace
from datong_ingestion.protocols.kafka import Kafka
from datong_ingestion.systems_config import SystemConfig
from datong_ingestion.write_back.config import FlowConfig, Operation
from datong_ingestion.write_back.payload import Dialect
from datong_ingestion.write_back.target import Change, Found, Outcome

_ACCEPTED = 200
_FETCHED = 2_000
_logger = logging.getLogger(__name__)
_Place = tuple[int, int]
"""Partition and offset."""


class KafkaTarget:
    """A topic, as a write-back target. `resource` is its name."""

    can_be_asked = True
    dialect: Dialect = "rest"
    operations: frozenset[Operation] = frozenset({"create", "update", "delete"})

    def __init__(self, flow: FlowConfig, system: SystemConfig, pace: Pace | None = None) -> None:
        self._flow, self._config, self._pace = flow, flow.target, pace or Pace()
        self._topic = flow.target.resource
        self._thing = f"{flow.target.system} {self._topic} (write-back flow {flow.flow})"
        self._kafka = Kafka(system)
        self._producer: Any = None
        self._consumer: Any = None
        self._trouble: Any = None
        self._reached: dict[int, int] = {}
        self._last: dict[str, _Place] = {}
        """Where the last message of each key stands; what it says is read when it is asked for."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the clients; what the producer still holds was judged as unclear."""
        if self._consumer is not None:
            self._consumer.close()
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(0)
        self._kafka.close()

    def recorded(self, keys: Sequence[str]) -> None:
        """Nothing to forget: messages stay in the topic."""

    def lookup(
        self, keys: Sequence[str], sent: Mapping[str, str] | None = None
    ) -> dict[str, list[Found] | DatongError]:
        with self._lock:
            fresh = self._caught_up()
            wanted = {key: self._last[key] for key in keys if key in self._last}
            older = self._read([place for place in wanted.values() if place not in fresh])
            held: dict[str, list[Found] | DatongError] = {key: [] for key in keys}
            for key, place in wanted.items():
                value = fresh[place] if place in fresh else older.get(place)
                try:
                    held[key] = [] if value is None else [self._found(place, value)]
                except DatongError as error:
                    held[key] = error
            return held

    def _found(self, place: _Place, value: bytes) -> Found:
        where = f"{place[0]}/{place[1]}"
        try:
            fields = json.loads(value)
        except ValueError as error:
            raise ProtocolError(
                self._thing, f"holds a message at {where} that is no JSON ({error}).", "see who else writes there."
            ) from error
        if not isinstance(fields, dict):
            raise ProtocolError(self._thing, f"holds a message at {where} that is no object.", "see who writes there.")
        return Found(fields, where, where, (where,))

    def send(self, changes: Sequence[Change], on_reply: Callable[[Change, Outcome], None]) -> dict[str, Outcome]:
        told: dict[str, Outcome] = {}

        def tell(change: Change, outcome: Outcome) -> None:
            if change.key not in told:
                told[change.key] = outcome
                on_reply(change, outcome)

        producer = self._producing()
        for change in changes:
            self._pace.take()
            self._produce(producer, change, tell)
        producer.flush(self._kafka.connection.timeout_seconds + 1)
        for change in changes:
            if change.key not in told:
                # what is still under way must not arrive after the run has judged it
                producer.purge()
                producer.flush(1)
                tell(change, Outcome("unclear", None, "the brokers did not confirm it in time"))
        return told

    def _produce(self, producer: Any, change: Change, tell: Callable[[Change, Outcome], None]) -> None:
        driver = _driver()
        is_delete = change.operation == "delete"
        value = None if is_delete else json.dumps(change.payload, ensure_ascii=False).encode()
        headers = {
            **self._config.kafka.headers,
            "datong-flow": self._flow.flow,
            "datong-operation": change.operation,
            "datong-idempotency-key": change.idempotency_key,
        }

        def delivered(error: Any, message: Any) -> None:
            tell(change, self._judged(error, message))

        while True:
            try:
                producer.produce(
                    self._topic,
                    key=change.key.encode(),
                    value=value,
                    headers=[(name, text.encode()) for name, text in headers.items()],
                    on_delivery=delivered,
                )
            except BufferError:
                producer.poll(0.1)
                continue
            except driver.KafkaException as error:
                tell(change, self._judged(error.args[0], None))
            producer.poll(0)
            return

    def _judged(self, error: Any, message: Any) -> Outcome:
        """What the brokers' answer to a message tells."""
        if error is None:
            return Outcome("accepted", _ACCEPTED, "", f"{message.partition()}/{message.offset()}")
        kinds = _driver().KafkaError
        words = self._kafka.translated(error, self._thing).reason
        never = {
            kinds.MSG_SIZE_TOO_LARGE,
            kinds.INVALID_MSG,
            kinds.INVALID_RECORD,
            kinds.TOPIC_AUTHORIZATION_FAILED,
            kinds.CLUSTER_AUTHORIZATION_FAILED,
            kinds.UNKNOWN_TOPIC_OR_PART,
            kinds.POLICY_VIOLATION,
        }
        return Outcome("refused" if error.code() in never else "unclear", None, words)

    def _producing(self) -> Any:
        if self._producer is None:
            driver = _driver()
            connection = self._kafka.connection
            milliseconds = int(connection.timeout_seconds * 1000)
            self._producer = driver.Producer(
                {
                    **connection.properties,
                    **self._kafka.log_in,
                    "enable.idempotence": True,
                    "acks": "all",
                    "linger.ms": 5,
                    "delivery.timeout.ms": milliseconds,
                    "request.timeout.ms": min(milliseconds, 30_000),
                    "client.id": f"datong {self._flow.flow}",
                    "logger": _logger,
                    "log_level": 2,
                }
            )
        return self._producer

    # ---- reading back

    def _caught_up(self) -> dict[_Place, bytes | None]:
        """Read the topic to its end; the messages that came since it was read last."""
        marks = self._marks()
        if not self._reached:
            self._reached = self._starts(marks)
        fresh: dict[_Place, bytes | None] = {}
        starts = {part: max(self._reached.get(part, low), low) for part, (low, _) in marks.items()}
        for message in self._messages(starts, {part: high for part, (_, high) in marks.items()}):
            place = (message.partition(), message.offset())
            fresh[place] = message.value()
            if message.key() is not None:
                self._last[message.key().decode("utf-8", "surrogateescape")] = place
        self._reached = {part: high for part, (_, high) in marks.items()}
        return fresh

    def _read(self, places: Iterable[_Place]) -> dict[_Place, bytes | None]:
        """What stands at some places; one that was compacted away or is too old is left out."""
        found: dict[_Place, bytes | None] = {}
        for part, offset in sorted(places):
            for message in self._messages({part: offset}, {part: offset + 1}):
                found[message.partition(), message.offset()] = message.value()
        return found

    def _marks(self) -> dict[int, tuple[int, int]]:
        if self._consumer is None:
            self._consumer, self._trouble = self._kafka.consumer(self._thing)
        return self._kafka.marks(self._consumer, self._trouble, self._topic)

    def _starts(self, marks: Mapping[int, tuple[int, int]]) -> dict[int, int]:
        """Where reading begins: `lookback_hours` ago."""
        driver = _driver()
        since = int((time.time() - self._config.kafka.lookback_hours * 3600) * 1000)
        asked = [driver.TopicPartition(self._topic, part, since) for part in marks]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=self._kafka.connection.timeout_seconds)
        except driver.KafkaException as error:
            raise self._kafka.translated(error.args[0], self._thing) from None
        return {item.partition: item.offset if item.offset >= 0 else marks[item.partition][1] for item in found}

    def _messages(self, starts: Mapping[int, int], ends: Mapping[int, int]) -> Iterable[Any]:
        """The messages from some offsets up to others."""
        driver = _driver()
        open_ = {part for part, end in ends.items() if starts[part] < end}
        if not open_:
            return
        self._consumer.assign([driver.TopicPartition(self._topic, part, starts[part]) for part in sorted(open_)])
        heard = time.monotonic()
        while open_:
            for message in self._consumer.consume(_FETCHED, 0.05):
                heard = time.monotonic()
                part = message.partition()
                if (error := message.error()) is not None:
                    if error.code() == driver.KafkaError._PARTITION_EOF:
                        open_.discard(part)
                        continue
                    raise self._kafka.translated(error, self._thing)
                if message.offset() < ends[part]:
                    yield message
                if message.offset() + 1 >= ends[part]:
                    open_.discard(part)
            if time.monotonic() - heard > self._kafka.connection.timeout_seconds:
                raise TransientError(
                    self._thing, "the brokers sent nothing, though the topic holds more.", "run again."
                )


def _driver() -> Any:
    import confluent_kafka

    return confluent_kafka
