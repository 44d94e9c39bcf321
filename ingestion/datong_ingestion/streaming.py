"""Stream: ingest entities again and again without pause, so that a change is in bronze seconds after it happened.

Each entity has a thread of its own and is read, landed, loaded and confirmed like in any other ingest, batch after
batch: killed anywhere, the next start goes on where the last load ended. While nothing comes, it asks again after
`pause` seconds. A passing fault is waited out; any other ends that entity, not the others.

Works alone: `python -m datong_ingestion SYSTEM [ENTITY…] --stream`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from datong_platform.errors import ConfigurationError, DatongError, ServiceError, TransientError
from datong_platform.lake import sync_log

from datong_ingestion.run import EntityIngest, IngestOutcome
from datong_ingestion.source import connect
from datong_ingestion.systems_config import EntityConfig, SystemConfig

LONGEST_WAIT = 30.0
"""Seconds between two attempts while a system or a service is away."""


def streamed(system: SystemConfig, entities: Sequence[str] | None = None) -> list[EntityConfig]:
    """The entities to stream: those named, or all that are read from a log or a queue, or else by changes.

    ConfigurationError when there is none: to read everything again and again is not streaming.
    """
    if entities:
        return [system.entity(name) for name in entities]
    for modes in ({"log", "stream"}, {"cursor", "delta_token"}):
        if chosen := [entity for entity in system.entities if entity.mode in modes]:
            return chosen
    raise ConfigurationError(
        f"system {system.system}",
        "has no entity that is read by its changes; every one is read whole.",
        "give an entity mode log, stream, cursor or delta_token, or name those to read again and again.",
    )


def stream(
    system: SystemConfig,
    entities: Sequence[str] | None = None,
    *,
    stop: threading.Event,
    pause: float = 0.5,
    on_batch: Callable[[IngestOutcome], None] | None = None,
) -> list[IngestOutcome]:
    """Ingest until `stop` is set or no entity is left; returns those that ended by an error.

    `on_batch` hears, in the entity's thread, of every ingest that loaded something and of every error, those that are
    waited out included. A batch that is being read when `stop` is set is landed and loaded first.
    """
    chosen = streamed(system, entities)
    source = connect(system)
    ended: list[IngestOutcome] = []
    tell = on_batch or (lambda _: None)

    def work(config: EntityConfig) -> None:
        try:
            _repeat(EntityIngest(source, system, config), stop, pause, tell)
        except DatongError as error:
            ended.append(IngestOutcome(config.name, error))
        except Exception as error:  # noqa: BLE001 a fault in one entity's data must not stop the others
            failure = DatongError(
                f"{system.system}.{config.name}",
                f"failed unexpectedly: {type(error).__name__}: {error}",
                f"run `python -m datong_ingestion {system.system} {config.name} --traceback` and report it.",
            )
            failure.__cause__ = error
            ended.append(IngestOutcome(config.name, failure))
        else:
            return
        tell(ended[-1])

    threads = [threading.Thread(target=work, args=(config,), name=f"stream_{config.name}") for config in chosen]
    with sync_log.run():
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                # a join without an end would keep Ctrl-C waiting
                for thread in threads:
                    thread.join(0.2)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            source.close()
    return ended


def _repeat(ingest: EntityIngest, stop: threading.Event, pause: float, tell: Callable[[IngestOutcome], None]) -> None:
    wait = 0.0
    while not stop.is_set():
        try:
            result = ingest.run()
        except (TransientError, ServiceError) as error:
            tell(IngestOutcome(ingest.entity.name, error))
            wait = min(max(1.0, 2 * wait), LONGEST_WAIT)
            stop.wait(wait)
            continue
        wait = 0.0
        if result.batches:
            tell(IngestOutcome(ingest.entity.name, result))
        else:
            stop.wait(pause)
