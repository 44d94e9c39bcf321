"""RabbitMQ: queues as tables; a message is acknowledged only after its row is in bronze.

Reads: what waits in a queue when the read begins, and what comes meanwhile, up to `batch_rows`, `batch_seconds`.
Changes: the broker keeps what was not acknowledged and delivers it again. The position holds the digests of the last
messages taken, so that one that comes again after a crash between load and acknowledgement is known and not doubled.
Guards against: a crash anywhere, a broker that closes the connection or falls silent, a message that cannot be read
(refused, then acknowledged: it never blocks the queue).
From messages to Arrow pages. The queue is never made or changed. Alone: `python -m datong_ingestion shopfloor`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from datong_platform.errors import (
    AuthenticationError,
    ConfigurationError,
    DatongError,
    PositionLostError,
    TransientError,
)
from datong_platform.lake.columns import UTC_TIMESTAMP, parse_type

from datong_ingestion.connections.rabbitmq import RabbitMqConnection, RabbitMqOptions
from datong_ingestion.protocols.database_log import without_filter
from datong_ingestion.protocols.messages import Decoder, JsonMessages, TextMessages, refusals
from datong_ingestion.source import INSERT, UPDATE, Description, InterruptedReadError, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig

_MODES: frozenset[Mode] = frozenset({"stream"})
_DIGEST = 9
"""Bytes of a digest: among 20,000 the chance of two that are equal by accident is 1 in 10^13."""
_REMEMBERED = 20_000
_PAGE_ROWS = 5_000
_PAGE_BYTES = 16 * 1024 * 1024
_IDLE = 0.2
"""Seconds without a message after which a queue counts as read."""
_SAMPLE = 200

PLACE = pa.schema(
    [
        ("_rabbitmq_message_id", pa.string()),
        ("_rabbitmq_exchange", pa.string()),
        ("_rabbitmq_routing_key", pa.string()),
        ("_rabbitmq_timestamp", UTC_TIMESTAMP),
    ]
)


@dataclass(frozen=True)
class _Message:
    body: bytes
    message_id: str | None
    exchange: str
    routing_key: str
    timestamp: Any
    digest: bytes
    tag: int
    redelivered: bool


@dataclass
class _Channel:
    """An open channel and what was delivered on it."""

    connection: Any
    channel: Any
    arrived: list[_Message] = field(default_factory=list[_Message])
    closed: str = ""
    """Why the broker ended it."""
    last_tag: int = 0
    """The last message that a read took."""
    position: str | None = None
    """The position that acknowledges it."""


class RabbitMq:
    """A connected broker."""

    def __init__(self, system: SystemConfig) -> None:
        """Looks up address and credentials; ConfigurationError when one is not set. Opens no connection."""
        declared = system.connection
        if not isinstance(declared, RabbitMqConnection):
            raise ConfigurationError(f"system {system.system}", "has no RabbitMQ connection.")
        connection = declared.resolved(f"system {system.system}")
        self.definition, self.system, self.connection = system, system.system, connection
        self._credentials = declared.names_of("user", "password") or "user and password"
        self._driver()
        port = connection.port or (5671 if connection.tls else 5672)
        self.address = f"{connection.host}:{port}/{connection.virtual_host.lstrip('/')}".rstrip("/")
        self._port = port
        self._open: dict[str, _Channel] = {}
        self._decoders: dict[str, Decoder] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all channels: what was not acknowledged goes back to its queue."""
        with self._lock:
            channels, self._open = list(self._open.values()), {}
        for channel in channels:
            self._dropped(channel)

    def channel(self, entity: EntityConfig) -> tuple[Any, Any]:
        """A connection and a channel of it, tried for as long as the definition allows."""
        opened = self._opened(entity)
        return opened.connection, opened.channel

    def entities(self) -> list[str]:
        """The queues that the definition names: the protocol does not list them."""
        return [entity.source for entity in self.definition.entities]

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """The declared fields, else the bronze table's, else a guess from waiting messages, which go back."""
        options, thing = _options(entity), self._thing(entity)
        without_filter(entity, thing)
        extra = PLACE if options.place else pa.schema([])
        inferred = False
        keys: tuple[str, ...] = ()
        if entity.fields:
            schema = pa.schema([(name, parse_type(kind)) for name, kind in entity.fields.items()])
        elif known is not None:
            schema, inferred = pa.schema([item for item in known if item.name not in extra.names]), True
        else:
            values = self._sample(entity) if options.format == "json" else []
            schema, keys = self._decoder(entity).guess(values, [None] * len(values))
            inferred = options.format == "json"
        if entity.select:
            schema = pa.schema([item for item in schema if item.name in {*entity.select, *entity.keys}])
        if clash := [name for name in extra.names if name in schema.names]:
            raise ConfigurationError(
                thing, f"has a field of its own called {', '.join(clash)}.", "set `place: false` in its options."
            )
        return Description(
            schema=pa.schema([*schema, *extra]),
            keys=tuple(entity.keys) or keys,
            modes=_MODES,
            inferred=inferred,
            notes=("fields guessed from waiting messages; declare them under `fields` to be sure",)
            if inferred and known is None
            else (),
        )

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        """What waits in the queue; the messages stay unacknowledged until `confirm`."""
        thing = self._thing(entity)
        known = _digests(position, thing)
        with self._lock:
            channel = self._open.pop(entity.name, None)
        if channel is not None and (channel.last_tag or channel.closed):
            # taken by a read whose batch did not count: they go back to the queue and come again
            self._dropped(channel)
            channel = None
        fresh = channel is None
        channel = channel or self._opened(entity)
        # what was acknowledged on this very channel cannot come again; after a new start nobody knows
        doubtful = Counter(known if fresh else [])
        taken: list[bytes] = []
        try:
            for messages in self._messages(entity, channel, doubtful):
                taken += [message.digest for message in messages]
                yield self._page(entity, description, messages)
            if taken:
                text = _position([*taken, *(known if fresh else [])][:_REMEMBERED])
                channel.position = text
                yield Page(description.schema.empty_table(), position=text)
            elif position is None:
                yield Page(description.schema.empty_table(), position=_position([]))
        except BaseException:
            self._dropped(channel)
            raise
        with self._lock:
            self._open[entity.name] = channel

    def reread(self, entity: EntityConfig, description: Description, kept: Sequence[tuple[bytes, str]]) -> Page:
        """The rows of messages that were refused; of what the broker told beside them only the id is known."""
        messages = [
            _Message(body, place.removeprefix(f"{entity.source}/"), "", "", None, b"", 0, redelivered=False)
            for body, place in kept
        ]
        return self._page(entity, description, messages)

    def confirm(self, entity: EntityConfig, position: str) -> None:
        """Acknowledge what the read took that reached `position`.

        Where its connection is gone the messages come again, and the position tells that they are known.
        """
        with self._lock:
            channel = self._open.get(entity.name)
        if channel is None or not channel.last_tag or channel.position != position:
            return
        pika = self._driver()
        try:
            channel.channel.basic_ack(channel.last_tag, multiple=True)
            # an answer on the same channel says that the acknowledgement before it was taken in
            channel.channel.queue_declare(entity.source, passive=True)
        except (pika.exceptions.AMQPError, OSError):
            with self._lock:
                self._open.pop(entity.name, None)
            self._dropped(channel)
            return
        channel.last_tag, channel.position = 0, None

    def _driver(self) -> Any:
        try:
            import pika
        except ImportError as error:
            raise ConfigurationError(
                f"system {self.system}", "needs the RabbitMQ driver.", "run `uv sync --extra rabbitmq`."
            ) from error
        return pika

    def _decoder(self, entity: EntityConfig) -> Decoder:
        """The entity's decoder, which keeps what it learned of the messages' shape."""
        if entity.name not in self._decoders:
            self._decoders[entity.name] = self._made_decoder(entity)
        return self._decoders[entity.name]

    def _made_decoder(self, entity: EntityConfig) -> Decoder:
        options = _options(entity)
        if options.format == "text":
            return TextMessages("none")
        return JsonMessages(options, "none", self._thing(entity), selective=bool(entity.select))

    def _opened(self, entity: EntityConfig) -> _Channel:
        """A channel that takes messages of the queue, tried for as long as the definition allows."""
        pika = self._driver()
        thing, connection = self._thing(entity), self.connection
        context = ssl.create_default_context(cafile=connection.ca_file) if connection.tls else None
        parameters = pika.ConnectionParameters(
            host=connection.host,
            port=self._port,
            virtual_host=connection.virtual_host,
            credentials=pika.PlainCredentials(connection.user, connection.password),
            ssl_options=pika.SSLOptions(context, connection.host) if context else None,
            heartbeat=300,
            socket_timeout=min(connection.timeout_seconds, 10),
            stack_timeout=connection.timeout_seconds,
            blocked_connection_timeout=connection.timeout_seconds,
            client_properties={"connection_name": f"datong {self.system}.{entity.name}"},
        )
        for attempt in range(connection.attempts):
            opened = None
            try:
                opened = _patient(pika, parameters, connection.timeout_seconds)
                return _Channel(opened, opened.channel())
            except (pika.exceptions.AMQPError, OSError) as error:
                failure = self._translated(error, thing)
                if not isinstance(failure, TransientError) or attempt == connection.attempts - 1:
                    raise failure from None
                time.sleep(min(0.2 * 2**attempt, connection.max_wait_seconds))
        raise AssertionError("unreachable")

    def _messages(self, entity: EntityConfig, channel: _Channel, doubtful: Counter[bytes]) -> Iterator[list[_Message]]:
        """Messages in portions of a page; those that were loaded before are acknowledged and left out."""
        pika = self._driver()
        connection, thing = self.connection, self._thing(entity)
        arrived = channel.arrived

        def take(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            arrived.append(_taken(method, properties, body))

        started = time.monotonic()
        total, page, size = 0, list[_Message](), 0
        tag = ""
        try:
            waiting = channel.channel.queue_declare(entity.source, passive=True).method.message_count
            channel.channel.basic_qos(prefetch_count=connection.batch_rows)
            tag = channel.channel.basic_consume(entity.source, take)
            heard = time.monotonic()
            while True:
                channel.connection.process_data_events(time_limit=_IDLE / 2)
                now = time.monotonic()
                if arrived:
                    heard = now
                fresh, seen = _apart(arrived, doubtful)
                arrived.clear()
                for message in seen:
                    channel.channel.basic_ack(message.tag)
                page += fresh
                size += sum(len(message.body) for message in fresh)
                channel.last_tag = max([channel.last_tag, *(message.tag for message in fresh)])
                full = total + len(page) >= connection.batch_rows or now - started >= connection.batch_seconds
                read = now - heard >= _IDLE and (total + len(page) + len(seen) >= waiting or now - heard >= 5 * _IDLE)
                if page and (full or read or len(page) >= _PAGE_ROWS or size >= _PAGE_BYTES):
                    total += len(page)
                    yield page
                    page, size = [], 0
                if full or read:
                    break
            # nothing more is to come; what came until now belongs to this batch
            channel.connection.process_data_events(time_limit=0)
            fresh, seen = _apart(arrived, doubtful)
            arrived.clear()
            for message in seen:
                channel.channel.basic_ack(message.tag)
            channel.last_tag = max([channel.last_tag, *(message.tag for message in fresh)])
            channel.channel.basic_cancel(tag)
            if fresh:
                yield fresh
        except (pika.exceptions.AMQPError, OSError) as error:
            translated = self._translated(error, thing)
            if isinstance(translated, TransientError):
                raise InterruptedReadError(translated.thing, translated.reason, translated.next_step) from None
            raise translated from None

    def _page(self, entity: EntityConfig, description: Description, messages: Sequence[_Message]) -> Page:
        options = _options(entity)
        extra = PLACE if options.place else pa.schema([])
        schema = pa.schema([item for item in description.schema if item.name not in extra.names])
        values = [message.body for message in messages]
        decoded = self._decoder(entity).decode(schema, description.keys, values, [None] * len(values))
        usual = INSERT if entity.events or not description.keys else UPDATE
        operations = pa.array([operation or usual for operation in decoded.operations], pa.string())
        columns: list[Any] = list(decoded.rows.columns)
        if options.place:
            chosen = [messages[index] for index in decoded.kept]
            columns += [
                pa.array([message.message_id for message in chosen], pa.string()),
                pa.array([message.exchange for message in chosen], pa.string()),
                pa.array([message.routing_key for message in chosen], pa.string()),
                pa.array([_moment(message.timestamp) for message in chosen], UTC_TIMESTAMP),
            ]
        rows = pa.Table.from_arrays(columns, names=[*schema.names, *extra.names])
        refused = [
            (values[index], f"{entity.source}/{messages[index].message_id or messages[index].digest.hex()}", reason)
            for index, reason in decoded.refused
        ]
        return Page(
            rows.select(description.schema.names).cast(description.schema),
            operations,
            decoded.rescued,
            decoded.unexpected,
            refused=refusals(refused) if refused else None,
        )

    def _sample(self, entity: EntityConfig) -> list[bytes]:
        """Some waiting messages; they go back to the queue when the channel is closed."""
        pika = self._driver()
        channel = self._opened(entity)
        found: list[bytes] = []
        try:
            for _ in range(_SAMPLE):
                method, _properties, body = channel.channel.basic_get(entity.source)
                if method is None:
                    break
                found.append(body)
        except (pika.exceptions.AMQPError, OSError) as error:
            raise self._translated(error, self._thing(entity)) from None
        finally:
            self._dropped(channel)
        return found

    def _dropped(self, channel: _Channel) -> None:
        pika = self._driver()
        try:
            channel.connection.close()
        except (pika.exceptions.AMQPError, OSError):
            return

    def _thing(self, entity: EntityConfig) -> str:
        return f"{self.system}.{entity.name} ({entity.address})"

    def _translated(self, error: Exception, thing: str) -> DatongError:
        faults = self._driver().exceptions
        said = " ".join(str(error).split()).replace(self.connection.password, "***") or type(error).__name__
        if isinstance(error, faults.ProbableAuthenticationError | faults.AuthenticationError):
            return AuthenticationError(
                thing, f"{self.address} refused the log-in.", f"check {self._credentials} and the virtual host."
            )
        if isinstance(error, faults.ProbableAccessDeniedError):
            return AuthenticationError(
                thing, f"{self.address} does not let the user in: {said}.", "give it rights on the virtual host."
            )
        code = getattr(error, "reply_code", 0)
        if code in {403, 530}:
            return AuthenticationError(thing, f"{self.address} does not allow it: {said}.", "give the user the right.")
        if code == 404:
            return ConfigurationError(
                thing, f"there is no such queue at {self.address}: {said}.", "check `source`; queues are not made here."
            )
        if code in {405, 406}:
            return ConfigurationError(
                thing, f"{self.address} does not give this queue: {said}.", "see to it that no one else holds it alone."
            )
        return TransientError(
            thing,
            f"{self.address} does not answer: {said}.",
            "check that the broker is running and its address is right, then run again.",
        )


def _patient(pika: Any, parameters: Any, seconds: float) -> Any:
    """A connection that breaks off when so long nothing arrives of what is waited for: the driver waits for its
    heartbeats only, which have to be rare, because nobody sends them while a batch is loaded."""
    from pika.adapters.utils.connection_workflow import AMQPConnectorException

    class Patient(pika.BlockingConnection):
        def _flush_output(self, *waiters: Any) -> None:
            # every wait of the driver for an answer goes through here
            driver = self._impl
            heard = driver.bytes_received

            def look() -> None:
                nonlocal heard, timer
                if driver.bytes_received == heard:
                    silence = pika.exceptions.AMQPConnectionError(f"nothing arrived for {seconds:g} seconds")
                    driver._terminate_stream(silence)
                    return
                heard = driver.bytes_received
                timer = driver.ioloop.call_later(seconds, look)

            timer = driver.ioloop.call_later(seconds, look)
            try:
                super()._flush_output(*waiters)
            finally:
                driver.ioloop.remove_timeout(timer)

    try:
        return Patient(parameters)
    except (AMQPConnectorException, ValueError) as error:
        # no kin of the driver's other errors: what happens before the log-in is over, and a connection that was reset
        # before the driver looked at it
        raise pika.exceptions.AMQPConnectionError(str(error) or type(error).__name__) from error


def _options(entity: EntityConfig) -> RabbitMqOptions:
    return entity.options if isinstance(entity.options, RabbitMqOptions) else RabbitMqOptions()


def _taken(method: Any, properties: Any, body: bytes) -> _Message:
    digest = hashlib.blake2b(digest_size=_DIGEST)
    marks = (properties.message_id, properties.timestamp, properties.correlation_id, method.exchange)
    # the broker counts deliveries in a header of its own, so that one is not the publisher's
    headers = sorted((item for item in (properties.headers or {}).items() if item[0] != "x-delivery-count"), key=str)
    for part in (repr((*marks, method.routing_key, headers)), body):
        encoded = part.encode() if isinstance(part, str) else part
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return _Message(
        body,
        properties.message_id,
        method.exchange,
        method.routing_key,
        properties.timestamp,
        digest.digest(),
        method.delivery_tag,
        bool(method.redelivered),
    )


def _apart(arrived: list[_Message], doubtful: Counter[bytes]) -> tuple[list[_Message], list[_Message]]:
    """Messages that are new, and those that were loaded already. Only one that the broker marks as delivered before
    can be of the second kind."""
    fresh: list[_Message] = []
    seen: list[_Message] = []
    for message in arrived:
        if message.redelivered and doubtful[message.digest] > 0:
            doubtful[message.digest] -= 1
            seen.append(message)
        else:
            fresh.append(message)
    return fresh, seen


def _position(digests: Sequence[bytes]) -> str:
    return json.dumps({"taken": base64.b64encode(b"".join(digests)).decode()}, separators=(",", ":"))


def _digests(position: str | None, thing: str) -> list[bytes]:
    if position is None:
        return []
    try:
        joined = base64.b64decode(json.loads(position)["taken"], validate=True)
    except (ValueError, KeyError, TypeError) as error:
        raise PositionLostError(thing, f"has a position that is none of RabbitMQ's: {position[:80]!r}.") from error
    return [joined[start : start + _DIGEST] for start in range(0, len(joined), _DIGEST)]


def _moment(timestamp: Any) -> datetime | None:
    if isinstance(timestamp, datetime):
        return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    if isinstance(timestamp, int):
        # AMQP says seconds; some publishers send milliseconds
        seconds = timestamp / 1000 if timestamp > 100_000_000_000 else timestamp
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            return None
    return None
