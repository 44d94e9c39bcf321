"""The worked examples of queues and logs are valid definitions."""

from __future__ import annotations

from pathlib import Path

import pytest
from datong_ingestion.systems_config import load_systems

EXAMPLES = Path(__file__).parents[2] / "ingestion" / "examples"


@pytest.mark.parametrize(
    ("folder", "system", "protocol", "entities"),
    [
        ("shopfloor_kafka", "shopfloor", "kafka", ["machine_state", "work_order", "quality_result"]),
        ("shopfloor_rabbitmq", "confirmations", "rabbitmq", ["confirmation"]),
        ("erp_postgresql_log", "erp_log", "postgresql_log", ["sales_order", "stock_move"]),
        ("mes_mariadb_log", "mes_log", "mysql_log", ["work_order"]),
    ],
)
def test_the_example_is_a_valid_definition(folder: str, system: str, protocol: str, entities: list[str]) -> None:
    found = load_systems(EXAMPLES / folder)[system]
    assert (found.protocol, [entity.name for entity in found.entities]) == (protocol, entities)
