"""What is particular to OData v4."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion.source import connect
from datong_platform.errors import ConfigurationError, ProtocolError
from datong_platform.lake import history

Make = Callable[..., dict[str, Any]]


def ids(rig: Any) -> list[str]:
    return [row["Id"] for row in rig.current()]


@pytest.mark.parametrize("removed", ["@removed", "address", "bare"])
def test_a_delete_is_understood_in_every_form(odata_v4: Any, row: Make, removed: str) -> None:
    odata_v4.server.removed = removed
    odata_v4.put(*[row(i) for i in range(7)])
    assert odata_v4.ingest().rows == 7
    odata_v4.put(row(3, Name="second"), row(9))
    odata_v4.remove("00005")
    result = odata_v4.ingest()
    assert (result.rows, result.deletes, result.new_columns, result.rescued) == (2, 1, [], 0)
    assert ids(odata_v4) == ["00000", "00001", "00002", "00003", "00004", "00006", "00009"]
    assert odata_v4.ingest().batches == []


def test_an_expired_delta_link_starts_a_new_baseline_that_tells_the_deletes(odata_v4: Any, row: Make) -> None:
    odata_v4.put(*[row(i) for i in range(6)])
    version = odata_v4.ingest().delta_version
    odata_v4.remove("00002")
    odata_v4.put(row(7))
    odata_v4.server.epoch = 2
    result = odata_v4.ingest()
    assert (result.rows, result.deletes, result.delta_version) == (6, 1, version + 1)
    assert ids(odata_v4) == ["00000", "00001", "00003", "00004", "00005", "00007"]
    assert odata_v4.ingest().batches == []


def test_a_changed_row_that_holds_its_changes_only_is_read_again_whole(odata_v4: Any, row: Make) -> None:
    odata_v4.put(*[row(i) for i in range(30)])
    odata_v4.ingest()
    odata_v4.server.sparse = True
    changed = [row(i, Name=f"second {i}") for i in range(25)]
    odata_v4.put(*changed)
    odata_v4.remove("00028")
    result = odata_v4.ingest()
    assert (result.rows, result.deletes) == (25, 1)
    assert odata_v4.current()[:25] == changed
    assert odata_v4.ingest().batches == []


def test_a_service_that_ignores_change_tracking_is_refused_for_delta(odata_v4: Any, row: Make) -> None:
    odata_v4.server.tracks = False
    odata_v4.put(row(1))
    with pytest.raises(ProtocolError, match="no delta token"):
        odata_v4.ingest()
    assert history.open_table(odata_v4.table) is None


def test_changed_links_between_rows_are_no_rows(odata_v4: Any, row: Make) -> None:
    odata_v4.put(row(1), row(2))
    odata_v4.ingest()
    odata_v4.put(row(1, Name="second"))

    def with_link(answer: Any) -> Any:
        page = json.loads(answer.body)
        link = {"@odata.context": "$metadata#Things/$link", "source": "Things('00002')", "relationship": "parts"}
        page["value"].append(link | {"target": "Parts(1)"})
        return type(answer)(json.dumps(page).encode())

    odata_v4.server.faults = [with_link]
    result = odata_v4.ingest()
    assert (result.rows, result.deletes) == (1, 0)


def test_cursor_mode_filters_with_plain_literals_and_finds_deletes_by_keys(odata_v4: Any, row: Make) -> None:
    odata_v4.put(*[row(i) for i in range(10)])
    odata_v4.ingest("cursor", detect_deletes=True)
    odata_v4.remove("00004")
    odata_v4.put(row(40))
    result = odata_v4.ingest("cursor", detect_deletes=True, overlap_seconds=60)
    assert (result.rows, result.deletes) == (1, 1)
    asked = [path for path in odata_v4.server.requests if "filter" in path]
    assert "ChangedAt%20ge%202026-03-01T08%3A08%3A00.000Z" in asked[0]


def test_values_keep_every_digit_and_annotations_are_no_fields(odata_v4: Any, row: Make) -> None:
    odata_v4.server.types |= {
        "Big": 'Type="Edm.Int64"',
        "Ratio": 'Type="Edm.Decimal" Precision="38" Scale="Variable"',
        "Clock": 'Type="Edm.TimeOfDay"',
        "Owner": 'Type="Edm.Guid"',
        "Kind": 'Type="api.kinds"',
    }
    extra = {
        "Big": 9007199254740993,
        "Ratio": Decimal("0.123456789012345678"),
        "Clock": "13:05:07.0000000",
        "Owner": "6f1b1f0e-0c1e-4c3c-8f3f-000000000001",
        "Owner@OData.Community.Display.V1.FormattedValue": "Someone",
        "Kind": "Raw",
        "ChangedAt": "2026-03-01T16:01:00.1234567+08:00",
        "parts": [{"No": 1}],
    }
    odata_v4.put(*[row(i) | extra for i in range(9)])
    result = odata_v4.ingest("full")
    assert (result.new_columns, result.rescued) == ([], 0)
    for found in odata_v4.bronze():
        assert found["Big"] == 9007199254740993
        assert found["Ratio"] == Decimal("0.123456789012345678")
        assert found["Clock"] == "13:05:07.0000000"
        assert found["ChangedAt"] == datetime(2026, 3, 1, 8, 1, 0, 123456, tzinfo=UTC)
        assert found["Kind"] == "Raw"
        assert isinstance(found["DueOn"], date)


def test_a_path_of_navigations_leads_to_its_collection(odata_v4: Any, row: Make) -> None:
    odata_v4.put(row(1))
    system = odata_v4.system("full", source="companies(6f1b1f0e-0c1e-4c3c-8f3f-000000000001)/things")
    source = connect(system)
    found = source.describe(system.entity("thing"))
    assert found.keys == ("Id",)
    assert found.schema.field("Amount").type == pa.decimal128(13, 3)
    source.close()
    with pytest.raises(ConfigurationError, match="no navigation wheels") as caught:
        odata_v4.ingest("full", source="companies(1)/wheels")
    assert "things" in caught.value.next_step


def test_a_link_to_an_inner_host_is_followed_on_the_systems_own(odata_v4: Any, row: Make) -> None:
    odata_v4.server.internal_host = "http://inner.corp:8000"
    odata_v4.put(*[row(i) for i in range(8)])
    assert odata_v4.ingest().rows == 8
    odata_v4.put(row(2, Name="second"))
    result = odata_v4.ingest()
    assert result.rows == 1
    assert "inner.corp" not in (result.position or "")


def test_select_and_filter_travel_with_the_delta(odata_v4: Any, row: Make) -> None:
    odata_v4.put(row(1), row(2))
    result = odata_v4.ingest("full", select=["Name"])
    assert [name for name in result.schema.names if not name.startswith("_")] == ["Id", "Name"]
