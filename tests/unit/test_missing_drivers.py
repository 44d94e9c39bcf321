"""A driver that is not installed breaks only its own protocol, and the error names what to run."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from datong_ingestion.source import connect
from datong_ingestion.systems_config import SystemConfig
from datong_platform.errors import ConfigurationError

KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "kafka": ("confluent_kafka", {"bootstrap_servers": "127.0.0.1:9"}, "stream"),
    "rabbitmq": ("pika", {"host": "127.0.0.1", "user": "a", "password": "b"}, "stream"),
    "mysql_log": ("pymysqlreplication", {"url": "mysql://a:b@127.0.0.1/x"}, "log"),
}


@pytest.mark.parametrize("protocol", KINDS)
def test_a_missing_driver_names_its_extra(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, connection, mode = KINDS[protocol]
    monkeypatch.setitem(sys.modules, driver, None)
    system = SystemConfig.model_validate(
        {
            "system": "queue",
            "protocol": protocol,
            "connection": connection,
            "entities": [{"name": "thing", "source": "thing", "mode": mode}],
        }
    )
    with pytest.raises(ConfigurationError) as caught:
        connect(system)
    assert f"uv sync --extra {protocol}" in caught.value.next_step
