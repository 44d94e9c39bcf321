"""Definitions of source systems: what is accepted, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from datong_ingestion.__main__ import main
from datong_ingestion.connections.rest import RestOptions
from datong_ingestion.protocols.rest import Rest
from datong_ingestion.source import connect
from datong_ingestion.systems_config import load_system, load_systems, parse_system
from datong_platform.errors import ConfigurationError
from datong_platform.lake.retention import Retention

GOOD = """\
type: datong_assets.components.SourceSystem
attributes:
  system: shop
  protocol: rest
  connection:
    base_url: "${SHOP_URL}"
    auth: bearer
    token: "${SHOP_TOKEN}"
  entities:
    - name: order
      source: /orders
      keys: [id]
      mode: cursor
      cursor: changed
"""


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "defs.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_the_projects_own_definitions_are_right() -> None:
    systems = load_systems()
    assert {"erp", "mes", "crm"} <= set(systems)
    assert systems["erp"].entity("sales_order").mode == "delta_token"


def test_loading_a_definition_needs_no_secret(tmp_path: Path) -> None:
    system = load_system("shop", written(tmp_path, GOOD))
    assert "SHOP_TOKEN" not in repr(system)
    with pytest.raises(ConfigurationError, match="SHOP_URL") as caught:
        system.connection.resolved("system shop")
    assert "system shop" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("protocol: rest", "protocol: rst", 4, "protocol"),
        ("      mode: cursor", "      mode: sometimes", 13, "mode"),
        ("      cursor: changed", "      curser: changed", 14, "curser"),
        ("    auth: bearer", "    auth: barer", 7, "auth"),
        ("    - name: order", "    - name: Sales Order", 10, "not a name"),
        ("      cursor: changed", "      fields: {id: strin}", 14, "not a type"),
        ("      mode: cursor", "      mode: delta_token", 10, "delta_token"),
        ("    auth: bearer", "    auth: basic", 5, "user and password"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        load_systems(path)
    assert f"shop/defs.yaml:{line}" in caught.value.thing
    assert words in caught.value.reason


def test_broken_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"defs\.yaml:\d+"):
        load_systems(written(tmp_path, GOOD + "   x: [\n"))


def test_two_systems_of_one_name_are_refused(tmp_path: Path) -> None:
    written(tmp_path, f"{GOOD}---\n{GOOD}")
    with pytest.raises(ConfigurationError, match="defines system shop"):
        load_systems(tmp_path)


def test_other_components_are_left_alone(tmp_path: Path) -> None:
    assert load_systems(written(tmp_path, "type: dagster_dbt.DbtProjectComponent\nattributes: {}\n")) == {}


def test_an_entity_says_how_long_it_is_kept_or_its_system_does(tmp_path: Path) -> None:
    text = GOOD.replace("  entities:\n", "  retention: {landed_days: 7, history_days: 400}\n  entities:\n")
    text += "    - name: line\n      source: /lines\n      retention: {versions_days: 90}\n"
    text += "    - name: booking\n      source: /bookings\n      events: true\n"
    shop = load_system("shop", written(tmp_path, text))
    assert shop.retention_of(shop.entity("order")) == Retention(landed_days=7, history_days=400)
    assert shop.retention_of(shop.entity("line")) == Retention(versions_days=90)
    assert shop.retention_of(shop.entity("booking")).history_days is None, "no event replaces another"


def test_events_are_not_deleted(tmp_path: Path) -> None:
    text = GOOD + "      events: true\n      detect_deletes: true\n"
    with pytest.raises(ConfigurationError, match="none of which is deleted"):
        load_system("shop", written(tmp_path, text))


def test_a_history_of_events_cannot_be_cut(tmp_path: Path) -> None:
    text = GOOD + "      events: true\n      retention: {history_days: 30}\n"
    with pytest.raises(ConfigurationError, match="none of which replaces another"):
        load_system("shop", written(tmp_path, text))


def test_an_unknown_system_or_entity_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere"]) == 2
    assert "choose from" in capsys.readouterr().err
    assert main(["erp", "nothing"]) == 2
    assert "sales_order" in capsys.readouterr().err


def test_values_are_looked_up_in_the_options_of_an_entity_and_kept_out_of_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = {"path": "{source}", "headers": {"X-Tenant": "${TENANT_KEY}"}}
    entity = {"name": "thing", "source": "things", "options": {"request": request}}
    content = {"system": "mes", "protocol": "rest", "connection": {"base_url": "http://127.0.0.1:9"}}
    system = parse_system({**content, "entities": [entity, {"name": "other", "source": "others"}]})
    monkeypatch.delenv("TENANT_KEY", raising=False)
    connect(system).close()
    with pytest.raises(ConfigurationError, match="TENANT_KEY") as caught:
        system.entity("thing").resolved("mes")
    assert "mes.thing" in str(caught.value)
    monkeypatch.setenv("TENANT_KEY", "canary-77")
    resolved = system.entity("thing").resolved("mes")
    assert isinstance(resolved.options, RestOptions)
    assert resolved.options.request
    assert resolved.options.request.headers == {"X-Tenant": "canary-77"}
    assert "canary-77" not in system.model_dump_json()
    source = connect(system)
    assert isinstance(source, Rest)
    assert source.http.redact("refused canary-77") == "refused ***"
    assert system.entity("other").resolved("mes") is system.entity("other")
