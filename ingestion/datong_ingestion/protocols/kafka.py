"""Kafka: topics as tables; JSON, Avro with a schema registry, or text; plain messages or Debezium's change events.

Reads: all partitions of a topic from the offsets that the bronze table's own commit holds, as far as the topic went
when the read began (or `batch_rows`, `batch_seconds`); only what transactions committed (read_committed).
Changes: the position is the topic's id and an offset for each partition; the consumer group in Kafka only shows it.
Guards against: messages that were removed before they were read, a topic that was made anew, a partition that is added,
a broker that falls silent, a message that cannot be read (refused, with its partition and offset), tombstones.
From messages to Arrow pages, each with the place of its rows. Alone: `python -m datong_ingestion shopfloor`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from datong_platform.errors import (
    AuthenticationError,
    ConfigurationError,
    DatongError,
    PositionLostError,
    ProtocolError,
    TransientError,
)
from datong_platform.lake.columns import UTC_TIMESTAMP, parse_type

from datong_ingestion.connections.kafka import KafkaConnection, KafkaOptions
from datong_ingestion.protocols import debezium
from datong_ingestion.protocols.database_log import without_filter
from datong_ingestion.protocols.messages import AvroMessages, Decoded, Decoder, JsonMessages, TextMessages, refusals
from datong_ingestion.protocols.registry import SchemaRegistry
from datong_ingestion.source import INSERT, UPDATE, Description, InterruptedReadError, Page
from datong_ingestion.systems_config import EntityConfig, Mode, SystemConfig

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

_MODES: frozenset[Mode] = frozenset({"stream"})
_PAGE_ROWS = 20_000
_PAGE_BYTES = 16 * 1024 * 1024
_FETCHED = 2_000
"""Messages taken from the driver at once."""
_SAMPLE = 500
_PATIENCE = 2
"""Seconds after which it is looked whether a broker said why it does not answer; the driver itself tries on."""

PLACE = pa.schema(
    [
        ("_kafka_partition", pa.int32()),
        ("_kafka_offset", pa.int64()),
        ("_kafka_timestamp", UTC_TIMESTAMP),
        ("_kafka_key", pa.string()),
    ]
)
SOURCE = pa.schema([("_source_position", pa.string()), ("_source_at", UTC_TIMESTAMP)])
"""Debezium: where the change stands in the database's log, as text that sorts, and when it was made."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Position:
    topic_id: str
    offsets: dict[int, int]

    @classmethod
    def parse(cls, text: str, thing: str) -> _Position:
        try:
            content = json.loads(text)
            return cls(content["topic_id"], {int(name): int(offset) for name, offset in content["offsets"].items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PositionLostError(thing, f"has a position that is none of Kafka's: {text[:80]!r}.") from error

    def __str__(self) -> str:
        offsets = {str(partition): self.offsets[partition] for partition in sorted(self.offsets)}
        return json.dumps({"topic_id": self.topic_id, "offsets": offsets}, separators=(",", ":"))


@dataclass(frozen=True)
class _Span:
    """What a read covers: for each partition where it begins and where it may end."""

    topic_id: str
    starts: dict[int, int]
    ends: dict[int, int]
    gaps: tuple[tuple[str, str], ...] = ()
    """Messages that are gone: where they stood, and why."""


class Kafka:
    """A connected cluster."""

    def __init__(self, system: SystemConfig) -> None:
        """Looks up addresses and secrets; ConfigurationError when one is not set. Makes no request."""
        declared = system.connection
        if not isinstance(declared, KafkaConnection):
            raise ConfigurationError(f"system {system.system}", "has no Kafka connection.")
        connection = declared.resolved(f"system {system.system}")
        self.definition, self.system, self.connection = system, system.system, connection
        self._driver()
        self._credentials = declared.names_of("user", "password") or "user and password"
        self._secrets = {value for value in (connection.password, connection.key_password) if value}
        self._declared: dict[str, tuple[pa.Schema, tuple[str, ...]]] = {}
        self._decoders: dict[str, Decoder] = {}
        self._registry: SchemaRegistry | None = None
        if connection.registry_url:
            self._registry = SchemaRegistry(
                connection,
                connection.registry_url,
                f"system {system.system}",
                declared.names_of("registry_user", "registry_password") or "registry_user and registry_password",
            )

    def close(self) -> None:
        """Close the registry's connections; each read opens and closes its own consumer."""
        if self._registry:
            self._registry.close()

    @property
    def log_in(self) -> dict[str, Any]:
        """Address and log-in, as the clients of librdkafka take them."""
        connection = self.connection
        optional = {
            "sasl.mechanism": connection.mechanism if connection.security.startswith("sasl") else None,
            "sasl.username": connection.user,
            "sasl.password": connection.password,
            "ssl.ca.location": connection.ca_file,
            "ssl.certificate.location": connection.certificate_file,
            "ssl.key.location": connection.key_file,
            "ssl.key.password": connection.key_password,
        }
        return {
            "bootstrap.servers": connection.bootstrap_servers,
            "security.protocol": connection.security,
            **{name: value for name, value in optional.items() if value},
        }

    def marks(self, consumer: Consumer, trouble: Any, topic: str) -> dict[int, tuple[int, int]]:
        """First and next offset of each partition of a topic; ConfigurationError when there is no such topic."""
        entity = EntityConfig(name="target", source=topic, mode="stream")
        found = self._partitions(entity, consumer, trouble)
        return {partition: self._watermarks(entity, consumer, partition) for partition in found}

    def consumer(self, thing: str, group: str = "") -> tuple[Consumer, Any]:
        """A consumer that commits nothing, and what it hears of failing brokers."""
        return self._consumer(thing, group)

    def translated(self, error: Any, thing: str) -> DatongError:
        """An error of the driver in our words."""
        return self._translated(error, thing)

    def entities(self) -> list[str]:
        """The topics that the user may see, Kafka's own left out."""
        consumer, trouble = self._consumer(f"system {self.system}", "")
        try:
            found = self._metadata(consumer, trouble, f"system {self.system}", None)
        finally:
            consumer.close()
        return sorted(name for name in found.topics if not name.startswith("__"))

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        """The declared fields, else those of the registry or of a Debezium schema, else the bronze table's, else a
        guess from the first messages; and each message's place."""
        options, thing = _options(entity), self._thing(entity)
        without_filter(entity, thing)
        extra = _extra(options)
        notes: list[str] = []
        keys: tuple[str, ...] = ()
        inferred = False
        decoder = self._decoder(entity)
        if entity.fields:
            schema = pa.schema([(name, parse_type(kind)) for name, kind in entity.fields.items()])
        elif known is not None and options.format == "json":
            schema = pa.schema([item for item in known if item.name not in extra.names])
            inferred = True
            if options.envelope == "debezium":
                declared, keys = self._declared_of(entity, decoder, thing)
                schema = pa.schema([*schema, *(item for item in declared if item.name not in schema.names)])
        else:
            values, message_keys = self._sample(entity, thing)
            schema, keys = decoder.guess(values, message_keys)
            inferred = options.format == "json"
            if inferred:
                notes.append(f"fields guessed from {len(values)} messages; declare them under `fields` to be sure")
        if entity.select:
            schema = pa.schema([item for item in schema if item.name in {*entity.select, *entity.keys, *keys}])
        if clash := [name for name in extra.names if name in schema.names]:
            raise ConfigurationError(
                thing, f"has a field of its own called {', '.join(clash)}.", "set `place: false` in its options."
            )
        return Description(
            schema=pa.schema([*schema, *extra]),
            keys=tuple(entity.keys) or keys,
            modes=_MODES,
            inferred=inferred,
            notes=tuple(notes),
        )

    def _declared_of(self, entity: EntityConfig, decoder: Decoder, thing: str) -> tuple[pa.Schema, tuple[str, ...]]:
        """Fields and keys, as far as Debezium's newest events and their keys name them; looked up once."""
        if entity.name not in self._declared:
            values, message_keys = self._sample(entity, thing)
            found = decoder.declared(values, message_keys) if isinstance(decoder, JsonMessages) else None
            named = debezium.declared_keys(next((key for key in message_keys if key), None))
            self._declared[entity.name] = found or (pa.schema([]), named)
        return self._declared[entity.name]

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        """Messages from the position on, as far as the topic went when the read began."""
        thing, options = self._thing(entity), _options(entity)
        consumer, trouble = self._consumer(thing, self._group(entity))
        decoder = self._decoder(entity)
        reached: dict[int, int] = {}
        try:
            span = self._span(entity, consumer, trouble, position)
            reached = dict(span.starts)
            gone = [(b"", f"{entity.source}/{place}", reason) for place, reason in span.gaps]
            yield Page(
                description.schema.empty_table(),
                position=str(_Position(span.topic_id, reached)),
                refused=refusals(gone) if gone else None,
            )
            for messages in self._messages(consumer, trouble, span, reached, thing):
                page = self._page(entity, options, description, decoder, messages)
                yield Page(
                    page.rows,
                    page.operations,
                    page.rescued,
                    page.unexpected,
                    str(_Position(span.topic_id, reached)),
                    page.refused,
                )
            # marks of transactions take offsets, too, and are no messages
            yield Page(description.schema.empty_table(), position=str(_Position(span.topic_id, reached)))
        finally:
            consumer.close()

    def reread(self, entity: EntityConfig, description: Description, kept: Sequence[tuple[bytes, str]]) -> Page:
        """The rows of messages that were refused; their keys and times are not known any more."""
        messages: Any = [_Kept.of(body, place) for body, place in kept]
        return self._page(entity, _options(entity), description, self._decoder(entity), messages)

    def confirm(self, entity: EntityConfig, position: str) -> None:
        """Show the progress in the consumer group. Nothing depends on it, so a refusal is only logged."""
        from confluent_kafka import KafkaException, TopicPartition

        thing = self._thing(entity)
        try:
            reached = _Position.parse(position, thing)
        except PositionLostError:
            return
        group = self._group(entity)
        consumer, _ = self._consumer(thing, group)
        try:
            offsets = [TopicPartition(entity.source, part, offset) for part, offset in reached.offsets.items()]
            if offsets:
                consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            _logger.warning("%s: group %s does not show the progress: %s", thing, group, self._said(error))
        finally:
            consumer.close()

    def _driver(self) -> Any:
        try:
            import confluent_kafka
        except ImportError as error:
            raise ConfigurationError(
                f"system {self.system}", "needs the Kafka driver.", "run `uv sync --extra kafka`."
            ) from error
        return confluent_kafka

    def _decoder(self, entity: EntityConfig) -> Decoder:
        """The entity's decoder, which keeps what it learned of the messages' shape."""
        if entity.name not in self._decoders:
            self._decoders[entity.name] = self._made_decoder(entity)
        return self._decoders[entity.name]

    def _made_decoder(self, entity: EntityConfig) -> Decoder:
        options, thing = _options(entity), self._thing(entity)
        if options.format == "text":
            return TextMessages(options.key_format)
        if options.format == "json":
            return JsonMessages(options, options.key_format, thing, selective=bool(entity.select))
        try:
            import fastavro  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ImportError as error:
            raise ConfigurationError(thing, "needs the Avro reader.", "run `uv sync --extra kafka`.") from error
        if self._registry is None:
            raise ConfigurationError(
                thing, "has Avro messages and no schema registry.", "set registry_url in its connection."
            )
        return AvroMessages(
            options, options.key_format, thing, self._registry, entity.source, selective=bool(entity.select)
        )

    def _group(self, entity: EntityConfig) -> str:
        return self.connection.group or f"datong.{self.system}.{entity.name}"

    def _consumer(self, thing: str, group: str) -> tuple[Consumer, _Trouble]:
        """A consumer, and what it hears of failing brokers."""
        driver = self._driver()
        connection = self.connection
        trouble = _Trouble()
        settings: dict[str, Any] = {
            # a consumer may hold so much that it fetched ahead, in kilobytes
            "queued.max.messages.kbytes": 32768,
            "fetch.wait.max.ms": 50,
            "fetch.error.backoff.ms": 100,
            "check.crcs": "true",
            "socket.connection.setup.timeout.ms": int(max(1.0, min(connection.timeout_seconds, 30)) * 1000),
            "reconnect.backoff.max.ms": 2000,
            **connection.properties,
            **self.log_in,
            "group.id": group or f"datong.{self.system}",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "error_cb": trouble,
            "logger": _logger,
            # what fails comes by error_cb, and in our words
            "log_level": 2,
        }
        try:
            return driver.Consumer(settings), trouble
        except (driver.KafkaException, ValueError, TypeError) as error:
            raise ConfigurationError(
                thing, f"has a Kafka connection that cannot be used: {self._said(error)}.", "mend its connection."
            ) from None

    def _metadata(self, consumer: Consumer, trouble: _Trouble, thing: str, topic: str | None) -> Any:
        driver = self._driver()
        deadline = time.monotonic() + self.connection.timeout_seconds
        while True:
            try:
                return consumer.list_topics(topic, timeout=min(self.connection.timeout_seconds, _PATIENCE))
            except driver.KafkaException as error:
                # what the driver heard meanwhile is told when it is polled
                consumer.poll(0)
                failure = self._translated(trouble.worst or error.args[0], thing)
                if not isinstance(failure, TransientError) or time.monotonic() >= deadline:
                    raise failure from None

    def _partitions(self, entity: EntityConfig, consumer: Consumer, trouble: _Trouble) -> list[int]:
        thing = self._thing(entity)
        found = self._metadata(consumer, trouble, thing, entity.source).topics.get(entity.source)
        if found is None or found.error is not None:
            if found is not None and found.error.code() != self._driver().KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise self._translated(found.error, thing)
            raise ConfigurationError(
                thing,
                f"there is no topic {entity.source} at {self._address()}.",
                "check `source` in its defs.yaml; names are case-sensitive.",
            )
        return sorted(found.partitions)

    def _topic_id(self, entity: EntityConfig) -> str:
        """The topic's id, which a topic that was deleted and made anew does not share; "" from brokers before 2.8."""
        driver = self._driver()
        from confluent_kafka.admin import AdminClient

        connection = self.connection
        settings: dict[str, Any] = {
            **{name: value for name, value in connection.properties.items() if name.startswith(("client.", "ssl."))},
            "bootstrap.servers": connection.bootstrap_servers,
            "security.protocol": connection.security,
            "logger": _logger,
            "log_level": 2,
        }
        if connection.security.startswith("sasl"):
            settings |= {
                "sasl.mechanism": connection.mechanism,
                "sasl.username": connection.user,
                "sasl.password": connection.password,
            }
        for name, value in (
            ("ssl.ca.location", connection.ca_file),
            ("ssl.certificate.location", connection.certificate_file),
            ("ssl.key.location", connection.key_file),
            ("ssl.key.password", connection.key_password),
        ):
            if value:
                settings[name] = value
        admin = AdminClient(settings)
        try:
            futures = admin.describe_topics(driver.TopicCollection([entity.source]), request_timeout=10)
            return str(futures[entity.source].result().topic_id)
        except driver.KafkaException as error:
            code = error.args[0].code()
            if code in {driver.KafkaError._UNSUPPORTED_FEATURE, driver.KafkaError.TOPIC_AUTHORIZATION_FAILED}:
                return ""
            raise self._translated(error.args[0], self._thing(entity)) from None

    def _watermarks(self, entity: EntityConfig, consumer: Consumer, partition: int) -> tuple[int, int]:
        driver = self._driver()
        try:
            found = consumer.get_watermark_offsets(
                driver.TopicPartition(entity.source, partition), timeout=min(self.connection.timeout_seconds, 10)
            )
        except driver.KafkaException as error:
            raise self._interrupted(error.args[0], self._thing(entity)) from None
        return found

    def _span(self, entity: EntityConfig, consumer: Consumer, trouble: _Trouble, position: str | None) -> _Span:
        thing, options = self._thing(entity), _options(entity)
        partitions = self._partitions(entity, consumer, trouble)
        marks = {partition: self._watermarks(entity, consumer, partition) for partition in partitions}
        topic_id = self._topic_id(entity)
        ends = {partition: high for partition, (_, high) in marks.items()}
        if position is None:
            first = 0 if options.start == "earliest" else 1
            return _Span(topic_id, {partition: marks[partition][first] for partition in partitions}, ends)
        last = _Position.parse(position, thing)
        gaps: list[tuple[str, str]] = []
        starts: dict[int, int] = {}
        anew = bool(last.topic_id) and bool(topic_id) and last.topic_id != topic_id
        if anew:
            gaps.append(("all", "the topic was deleted and made anew; what it held and was not read yet is lost"))
        for partition in partitions:
            low, high = marks[partition]
            # a partition that came later is read from its beginning
            start = 0 if anew else last.offsets.get(partition, 0)
            if start < low and (partition in last.offsets or low > 0) and not anew:
                said = f"{low - start} messages were removed from the topic before they were read"
                gaps.append((f"{partition}/{start}-{low - 1}", said))
            elif start > high:
                gaps.append((f"{partition}/{high}", f"the topic ends before offset {start}, which was read already"))
            starts[partition] = low if start < low or start > high else start
        if gaps and options.when_lost == "stop":
            raise ProtocolError(
                thing,
                "; ".join(f"partition {place}: {reason}" for place, reason in gaps) + ".",
                "find out what was missed; then set `when_lost: go_on` in its options: the gap is noted in quarantine, "
                "and reading goes on with what the topic still holds. A longer retention.ms avoids it.",
            )
        return _Span(topic_id, starts, ends, tuple(gaps))

    def _messages(
        self, consumer: Consumer, trouble: _Trouble, span: _Span, reached: dict[int, int], thing: str
    ) -> Iterator[list[Message]]:
        """Messages in portions of a page; `reached` moves on with them."""
        driver = self._driver()
        open_ends = {partition for partition, end in span.ends.items() if span.starts[partition] < end}
        if not open_ends:
            return
        topic = thing.rsplit("(", 1)[1].rstrip(")")
        consumer.assign([driver.TopicPartition(topic, part, span.starts[part]) for part in sorted(open_ends)])
        started = heard = time.monotonic()
        total, size = 0, 0
        page: list[Message] = []
        while open_ends:
            for message in consumer.consume(_FETCHED, 0.05):
                heard = time.monotonic()
                partition: int = message.partition() or 0
                if (error := message.error()) is not None:
                    if error.code() == driver.KafkaError._PARTITION_EOF:
                        reached[partition] = max(reached[partition], message.offset() or 0)
                    else:
                        raise self._interrupted(error, thing)
                else:
                    reached[partition] = (message.offset() or 0) + 1
                    size += len(message.value() or b"") + len(message.key() or b"")
                    page.append(message)
                if partition in open_ends and reached[partition] >= span.ends[partition]:
                    open_ends.discard(partition)
            now = time.monotonic()
            full = total + len(page) >= self.connection.batch_rows or now - started >= self.connection.batch_seconds
            if page and (full or not open_ends or len(page) >= _PAGE_ROWS or size >= _PAGE_BYTES):
                total += len(page)
                yield page
                page, size = [], 0
            if full:
                return
            if now - heard > self.connection.timeout_seconds:
                raise InterruptedReadError(
                    thing,
                    f"{self._address()} sent nothing for {self.connection.timeout_seconds:g} seconds, though "
                    f"partition {', '.join(map(str, sorted(open_ends)))} holds more"
                    + (f" ({self._said(trouble.worst)})." if trouble.worst else "."),
                    "run again; if it persists, look at the brokers.",
                )

    def _page(
        self,
        entity: EntityConfig,
        options: KafkaOptions,
        description: Description,
        decoder: Decoder,
        messages: Sequence[Message],
    ) -> Page:
        extra = _extra(options)
        schema = pa.schema([item for item in description.schema if item.name not in extra.names])
        values = [message.value() for message in messages]
        keys = [_bytes(message.key()) for message in messages]
        decoded = decoder.decode(schema, description.keys, values, keys)
        usual = INSERT if entity.events or not description.keys else UPDATE
        operations = pa.array([operation or usual for operation in decoded.operations], pa.string())
        columns = [*decoded.rows.columns, *_places(decoded, messages, keys, extra)]
        names = [*schema.names, *extra.names]
        rows = pa.Table.from_arrays(columns, names=names).select(description.schema.names).cast(description.schema)
        refused = [
            (values[index] or b"", f"{entity.source}/{messages[index].partition()}/{messages[index].offset()}", reason)
            for index, reason in decoded.refused
        ]
        return Page(
            rows,
            operations,
            decoded.rescued,
            decoded.unexpected,
            refused=refusals(refused) if refused else None,
        )

    def _sample(self, entity: EntityConfig, thing: str) -> tuple[list[bytes | None], list[bytes | None]]:
        """The topic's first messages; none when it is empty."""
        consumer, trouble = self._consumer(thing, self._group(entity))
        try:
            driver = self._driver()
            partitions = self._partitions(entity, consumer, trouble)
            marks = {partition: self._watermarks(entity, consumer, partition) for partition in partitions}
            starts = {part: max(low, high - _SAMPLE) for part, (low, high) in marks.items() if high > low}
            if not starts:
                return [], []
            consumer.assign([driver.TopicPartition(entity.source, part, start) for part, start in starts.items()])
            found: list[Message] = []
            waiting = set(starts)
            deadline = time.monotonic() + self.connection.timeout_seconds
            while waiting and len(found) < _SAMPLE and time.monotonic() < deadline:
                for message in consumer.consume(_SAMPLE, 0.1):
                    if (error := message.error()) is None:
                        found.append(message)
                    elif error.code() == driver.KafkaError._PARTITION_EOF:
                        waiting.discard(message.partition() or 0)
                    else:
                        raise self._interrupted(error, thing)
            return [message.value() for message in found], [_bytes(message.key()) for message in found]
        finally:
            consumer.close()

    def _address(self) -> str:
        return self.connection.bootstrap_servers

    def _thing(self, entity: EntityConfig) -> str:
        return f"{self.system}.{entity.name} ({entity.address})"

    def _said(self, error: Any) -> str:
        said = str(error.str() if hasattr(error, "str") else error)
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return said

    def _interrupted(self, error: Any, thing: str) -> DatongError:
        """An error in the middle of a read: worth another try unless it is one of rights or of names."""
        translated = self._translated(error, thing)
        if isinstance(translated, TransientError):
            return InterruptedReadError(translated.thing, translated.reason, translated.next_step)
        return translated

    def _translated(self, error: Any, thing: str) -> DatongError:
        kinds = self._driver().KafkaError
        code = error.code()
        said = self._said(error)
        if code in {kinds._AUTHENTICATION, kinds.SASL_AUTHENTICATION_FAILED, kinds._SSL}:
            return AuthenticationError(
                thing, f"{self._address()} refused the log-in: {said}.", f"check {self._credentials} and `security`."
            )
        if code in {kinds.TOPIC_AUTHORIZATION_FAILED, kinds.GROUP_AUTHORIZATION_FAILED}:
            return AuthenticationError(
                thing, f"{self._address()} does not allow it: {said}.", "give the user the rights READ and DESCRIBE."
            )
        if code in {kinds._AUTO_OFFSET_RESET, kinds.OFFSET_OUT_OF_RANGE}:
            return InterruptedReadError(thing, f"messages were removed while they were read: {said}.", "run again.")
        if code in {kinds.UNKNOWN_TOPIC_OR_PART, kinds._UNKNOWN_TOPIC}:
            return ConfigurationError(thing, f"there is no such topic at {self._address()}.", "check `source`.")
        return TransientError(
            thing,
            f"{self._address()} does not answer: {said}.",
            "check that the brokers run and that their advertised listeners can be reached from here, then run again.",
        )


@dataclass(frozen=True)
class _Kept:
    """A message out of quarantine, as the driver would show it."""

    body: bytes
    at: tuple[int, int]

    @classmethod
    def of(cls, body: bytes, place: str) -> _Kept:
        """From its bytes and its place, topic/partition/offset."""
        partition, offset = place.rsplit("/", 2)[1:]
        return cls(body, (int(partition), int(offset)))

    def value(self) -> bytes:
        return self.body

    def key(self) -> None:
        return None

    def partition(self) -> int:
        return self.at[0]

    def offset(self) -> int:
        return self.at[1]

    def timestamp(self) -> tuple[int, int]:
        return 0, 0


class _Trouble:
    """What librdkafka reports of its brokers while it tries again by itself."""

    def __init__(self) -> None:
        self.worst: Any = None

    def __call__(self, error: Any) -> None:
        # a refused log-in tells more than the time-out that follows from it
        if self.worst is None or error.name() in {"_AUTHENTICATION", "_SSL", "SASL_AUTHENTICATION_FAILED"}:
            self.worst = error


def _options(entity: EntityConfig) -> KafkaOptions:
    return entity.options if isinstance(entity.options, KafkaOptions) else KafkaOptions()


def _extra(options: KafkaOptions) -> pa.Schema:
    if not options.place:
        return pa.schema([])
    return pa.schema([*PLACE, *SOURCE]) if options.envelope == "debezium" else PLACE


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _places(
    decoded: Decoded, messages: Sequence[Message], keys: Sequence[bytes | None], extra: pa.Schema
) -> list[pa.Array]:
    """The columns that tell where each row came from."""
    if not len(extra):
        return []
    chosen = [messages[index] for index in decoded.kept]
    stamps = [message.timestamp()[1] for message in chosen]
    found: list[pa.Array] = [
        pa.array([message.partition() for message in chosen], pa.int32()),
        pa.array([message.offset() for message in chosen], pa.int64()),
        pa.array([stamp * 1000 if stamp > 0 else None for stamp in stamps], pa.int64()).cast(UTC_TIMESTAMP),
        pa.array([_shown(keys[index]) for index in decoded.kept], pa.string()),
    ]
    if SOURCE.names[0] in extra.names:
        positions = [debezium.position_text(source) for source in decoded.sources]
        made = [(source or {}).get("ts_ms") for source in decoded.sources]
        found.append(pa.array(positions, pa.string()))
        found.append(
            pa.array([at * 1000 if isinstance(at, int) and at > 0 else None for at in made], pa.int64()).cast(
                UTC_TIMESTAMP
            )
        )
    return found


def _shown(key: bytes | None) -> str | None:
    if key is None:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return f"0x{key.hex()}"
