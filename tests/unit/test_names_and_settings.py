"""Names of tables and settings: built in one place, refused clearly when wrong."""

import json
from pathlib import Path

import pytest
from datong_platform import names, settings
from datong_platform.errors import ConfigurationError, ServiceError


def test_a_bronze_table_is_named_and_parsed_back() -> None:
    table = names.bronze("erp", "sales_order")
    assert str(table) == "bronze.erp__sales_order"
    assert table.path == "bronze/erp__sales_order"
    assert names.system_and_entity(names.parse(str(table))) == ("erp", "sales_order")


@pytest.mark.parametrize("bad", ["Sales", "a__b", "1a", "a-b", "_a", "a_", ""])
def test_a_name_that_would_break_the_rule_is_refused_with_a_proposal(bad: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        names.bronze("erp", bad)
    assert repr(bad) in str(caught.value)
    assert "rename it" in caught.value.next_step


def test_a_schema_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"silver"):
        names.parse("public.customer")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ENGINE", "BUCKET", "S3_ENDPOINT", "ENGINE_ADDRESS"):
        monkeypatch.delenv(f"DATONG_{name}", raising=False)
    monkeypatch.setenv("DATONG_HOME", str(tmp_path))
    return tmp_path


def test_the_environment_wins_over_the_state_and_the_state_over_defaults(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.settings().bucket == "datong"
    settings.write_state("services.json", {"settings": {"bucket": "from-state", "s3_endpoint": "http://127.0.0.1:1"}})
    assert settings.settings().bucket == "from-state"
    assert settings.settings().s3_endpoint == "http://127.0.0.1:1"
    monkeypatch.setenv("DATONG_BUCKET", "from-environment")
    assert settings.settings().bucket == "from-environment"


def test_state_files_can_be_read_by_their_owner_only(home: Path) -> None:
    settings.write_state("services.json", {"settings": {"s3_secret_access_key": "k"}})
    assert (home / "services.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((home / "services.json").read_text())["settings"]["s3_secret_access_key"] == "k"


def test_secrets_do_not_show_in_the_settings_text(home: Path) -> None:
    settings.write_state(
        "services.json",
        {"settings": {"s3_secret_access_key": "canary-1", "postgres_url": "postgresql://u:canary-2@h/d"}},
    )
    assert "canary" not in repr(settings.settings())


def test_a_missing_service_says_what_to_run(home: Path) -> None:
    with pytest.raises(ServiceError, match=r"datong up"):
        settings.settings().need("engine_address")


def test_an_unknown_engine_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATONG_ENGINE", "duckdb")
    with pytest.raises(ConfigurationError, match=r"sail, spark or a Spark Connect address"):
        _ = settings.settings().engine_kind


def test_connection_values_come_from_the_environment_then_the_sandbox(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ERP_URL", raising=False)
    with pytest.raises(ConfigurationError, match=r"erp: needs the value ERP_URL"):
        settings.connection_value("${ERP_URL}", "erp")
    settings.write_state("connections.json", {"ERP_URL": "http://sandbox"})
    assert settings.connection_value("${ERP_URL}/x", "erp") == "http://sandbox/x"
    monkeypatch.setenv("ERP_URL", "http://real")
    assert settings.connection_value("${ERP_URL}/x", "erp") == "http://real/x"
