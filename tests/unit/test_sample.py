"""A look at rows: bounded, ended early, and without a trace in the system."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from datong_ingestion.discovery import sample
from datong_ingestion.discovery.profile import profile
from datong_ingestion.discovery.proposal import Wishes, propose
from datong_ingestion.source import REFUSED, Description, Page
from datong_ingestion.systems_config import PROTOCOLS, EntityConfig, Mode, ProtocolKind, SystemConfig, parse_system
from datong_platform.errors import ConfigurationError

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])


class Endless:
    """A source of pages without end; it notes how it was read and whether the read was ended."""

    modes: ClassVar[frozenset[Mode]] = frozenset({"full", "delta_token"})
    reads: ClassVar[list[str]] = []
    ended: ClassVar[int] = 0
    closed: ClassVar[int] = 0

    def __init__(self, system: SystemConfig) -> None:
        self.system = system

    def entities(self) -> list[str]:
        return ["things"]

    def describe(self, entity: EntityConfig, known: pa.Schema | None = None) -> Description:
        return Description(SCHEMA, keys=("id",), modes=self.modes)

    def read(self, entity: EntityConfig, description: Description, position: str | None) -> Iterator[Page]:
        type(self).reads.append(entity.mode)
        number = 0
        try:
            while True:
                rows = pa.table({"id": [number, number + 1], "name": ["a", None]}, schema=SCHEMA)
                refused = pa.Table.from_pylist(
                    [{"raw": b"\xff", "place": f"line {number}", "field": None, "reason": "not text"}], schema=REFUSED
                )
                yield Page(rows, rescued=pa.array([None, '{"name": 7}']), refused=refused)
                number += 2
        finally:
            type(self).ended += 1

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> SystemConfig:
    module = ModuleType("endless_source")
    module.Endless = Endless  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "endless_source", module)
    rest = PROTOCOLS["rest"]
    kind = ProtocolKind(
        rest.connection, "endless_source:Endless", frozenset({"full", "delta_token", "log"}), rest.options
    )
    monkeypatch.setitem(PROTOCOLS, "rest", kind)
    Endless.reads, Endless.ended, Endless.closed = [], 0, 0
    monkeypatch.setattr(Endless, "modes", frozenset({"full", "delta_token"}))
    entities = [{"name": "thing", "source": "things", "mode": "delta_token"}]
    return parse_system(
        {"system": "endless", "protocol": "rest", "connection": {"base_url": "http://x"}, "entities": entities}
    )


def test_a_look_ends_when_it_has_enough_and_starts_no_subscription(system: SystemConfig) -> None:
    found = sample.preview(system, "thing", 5)
    assert found.rows.column("id").to_pylist() == [0, 1, 2, 3, 4]
    assert found.rescued == [None, '{"name": 7}', None, '{"name": 7}', None]
    assert found.refused.column("place").to_pylist() == ["line 0", "line 2", "line 4"]
    assert not found.complete
    assert (Endless.reads, Endless.ended, Endless.closed) == (["full"], 1, 1)


def test_a_profile_with_a_limit_counts_just_the_rows_it_took(system: SystemConfig) -> None:
    found = profile(system, "thing", limit=5)
    assert (found.rows, found.complete, found.rescued, found.refused) == (5, False, 2, 3)
    assert (Endless.ended, Endless.closed) == (1, 1)


def test_small_pages_are_asked_for_where_the_connection_can_say_so(system: SystemConfig) -> None:
    small: Any = sample.small_pages(system, 7).connection
    assert small.paging.limit == 7
    large: Any = sample.small_pages(system, 70_000).connection
    assert large.paging.limit == 500
    queue = {"host": "q", "user": "reader", "password": "${Q}"}
    entities = [{"name": "event", "source": "events", "mode": "stream"}]
    told = parse_system({"system": "queue", "protocol": "rabbitmq", "connection": queue, "entities": entities})
    few: Any = sample.small_pages(told, 7).connection
    assert few.batch_rows == 7, "a look at a queue takes no more messages than it shows"


def test_what_is_read_from_a_log_is_described_and_not_read(
    system: SystemConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Endless, "modes", frozenset({"log"}))
    found = sample.preview(system, "thing", 5)
    assert (len(found.rows), found.description.schema) == (0, SCHEMA)
    assert "which a look would disturb" in found.description.notes[0]
    with pytest.raises(ConfigurationError, match="which a profile would disturb"):
        profile(system, "thing")
    content = {"system": "endless", "protocol": "rest", "connection": {"base_url": "http://x"}}
    (entity,) = propose(content, ["things"], Wishes()).entities
    assert entity.content == {"name": "things", "source": "things", "keys": ["id"], "mode": "log"}
    assert Endless.reads == []
