"""A look at a source with something broken among good things tells both, like the ingest that follows."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from datong_ingestion.discovery.profile import profile
from datong_ingestion.discovery.sample import preview
from datong_ingestion.run import ingest_entity
from datong_ingestion.systems_config import SystemConfig, parse_system
from datong_platform.settings import Settings
from rabbitmq_server import PASSWORD, USER, RabbitMqServer

GOOD = {
    "json": b'[{"no": "A1"}, {"no": "A2"}]',
    "csv": b"no;n\nA1;1\nA2;2\n",
    "xml": b"<a><o><no>A1</no></o><o><no>A2</no></o></a>",
}
BROKEN = {"json": b'[{"no": "A3"}, {"no"', "csv": b"no;n\nA3;1;2;3\n", "xml": b"<a><o><no>A3</no></o><o>"}


def same_as_the_ingest(system: SystemConfig, entity: str, names: list[str]) -> None:
    seen = preview(system, entity, 20)
    found = profile(system, entity)
    assert sorted(row["no"] for row in seen.rows.to_pylist()) == sorted(names)
    assert (found.rows, found.refused) == (len(names), 1)
    results = [ingest_entity(system, entity) for _ in range(4)]
    assert (sum(one.rows for one in results), sum(one.refused for one in results)) == (len(names), 1)
    assert len(seen.refused) == 1
    assert seen.refused.column("reason")[0].as_py()
    again = preview(system, entity, 20)
    assert len(again.rows) == len(names), "a look begins at the beginning, whatever was ingested"


@pytest.mark.parametrize("kind", list(GOOD))
@pytest.mark.parametrize("newest", ["good", "broken"])
def test_a_broken_file_among_good_ones(services: Settings, tmp_path: Path, kind: str, newest: str) -> None:
    order = ["broken", "one", "two"] if newest == "good" else ["one", "two", "broken"]
    for age, name in enumerate(reversed(order)):
        path = tmp_path / f"{name}.{kind}"
        path.write_bytes(BROKEN[kind] if name == "broken" else GOOD[kind].replace(b"A", name.encode()))
        os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
    options: dict[str, Any] = {"csv": {"encoding": "utf-8", "delimiter": ";"}, "json": {}, "xml": {"rows": "/a/o"}}[
        kind
    ]
    content: dict[str, Any] = {
        "system": f"look{uuid.uuid4().hex[:8]}",
        "protocol": "xml" if kind == "xml" else "files",
        "connection": {"location": str(tmp_path), "batch_files": 1},
        "entities": [{"name": "order", "source": f"*.{kind}", "mode": "stream", "options": options}],
    }
    same_as_the_ingest(parse_system(content), "order", ["one1", "one2", "two1", "two2"])


@pytest.mark.parametrize("first", [True, False], ids=["first", "in the middle"])
def test_a_broken_message_among_good_ones(services: Settings, rabbitmq: RabbitMqServer, first: bool) -> None:
    name = f"look{uuid.uuid4().hex[:8]}"
    queue = rabbitmq.queue(f"plant.{name}")
    good = [json.dumps({"no": f"A{number}"}).encode() for number in range(4)]
    rabbitmq.send(queue, [b'{"no": "A', *good] if first else [*good[:2], b'{"no": "A', *good[2:]])
    content: dict[str, Any] = {
        "system": name,
        "protocol": "rabbitmq",
        "connection": {"host": "127.0.0.1", "port": rabbitmq.port, "user": USER, "password": PASSWORD},
        "entities": [{"name": "order", "source": queue, "mode": "stream", "keys": ["no"]}],
    }
    system = parse_system(content)
    seen = preview(system, "order", 20)
    assert seen.rows.column("no").to_pylist() == ["A0", "A1", "A2", "A3"]
    assert len(seen.refused) == 1
    assert (profile(system, "order").rows, profile(system, "order").refused) == (4, 1)
    result = ingest_entity(system, "order")
    assert (result.rows, result.refused) == (4, 1)
