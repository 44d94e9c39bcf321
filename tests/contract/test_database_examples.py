"""The worked examples of databases are definitions that hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datong_ingestion
import pytest
from datong_ingestion.source import Source, connect
from datong_ingestion.systems_config import load_systems
from datong_platform.errors import ConfigurationError

EXAMPLES = Path(datong_ingestion.__file__).parent.parent / "examples"
ADDRESSES = {
    "mes_mysql": ("MES_URL", "mysql://reader:word-1f@127.0.0.1:9/mes"),
    "erp_sqlserver": ("ERP_SQLSERVER_URL", "mssql://reader:word-1f@127.0.0.1:9/UFDATA?trust_server_certificate=yes"),
    "erp_oracle": ("ERP_ORACLE_URL", "oracle://reader:word-1f@127.0.0.1:9/ERPPDB"),
    "plm_mongodb": ("PLM_URL", "mongodb://reader:word-1f@127.0.0.1:9/plm?authSource=admin"),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_the_example_is_valid_and_leads_to_its_database(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variable, address = ADDRESSES[name]
    monkeypatch.setenv(variable, address)
    system = load_systems(EXAMPLES / name)[name]
    source = connect(system)
    assert isinstance(source, Source)
    leads_to: Any = source if name == "plm_mongodb" else source.dialect  # pyright: ignore[reportAttributeAccessIssue]
    assert leads_to.address.startswith("127.0.0.1:9/")
    assert "word-1f" not in repr(system)
    source.close()


def test_a_url_of_no_known_database_names_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MES_URL", "db2://reader:word-1f@127.0.0.1:9/mes")
    with pytest.raises(ConfigurationError, match="not known") as caught:
        connect(load_systems(EXAMPLES / "mes_mysql")["mes_mysql"])
    assert "oracle://" in caught.value.next_step
    assert "word-1f" not in str(caught.value)
