"""What is particular to OData v2."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion.http import UnreadableBodyError
from datong_ingestion.protocols.odata_v2 import parse_metadata
from datong_ingestion.systems_config import load_systems
from datong_platform.errors import ConfigurationError, ProtocolError
from datong_platform.lake import history, landing

Make = Callable[..., dict[str, Any]]


def test_types_follow_the_metadata() -> None:
    properties = {
        "Key": 'Type="Edm.String"',
        "Money": 'Type="Edm.Decimal" Precision="16" Scale="3"',
        "Count": 'Type="Edm.Decimal" Precision="5"',
        "Loose": 'Type="Edm.Decimal"',
        "Day": 'Type="Edm.DateTime" sap:display-format="Date"',
        "Local": 'Type="Edm.DateTime"',
        "Instant": 'Type="Edm.DateTimeOffset"',
        "Clock": 'Type="Edm.Time"',
        "Big": 'Type="Edm.Int64"',
        "Small": 'Type="Edm.Byte"',
        "Id": 'Type="Edm.Guid"',
        "Raw": 'Type="Edm.Binary"',
        "Float": 'Type="Edm.Double"',
        "Whole": 'Type="S.Address"',
    }
    fields = "".join(f'<Property Name="{name}" {text}/>' for name, text in properties.items())
    body = (
        '<edmx:Edmx xmlns:edmx="e" xmlns:sap="s"><edmx:DataServices><Schema Namespace="S" xmlns="n">'
        f'<EntityType Name="Base"><Key><PropertyRef Name="Key"/></Key>{fields}</EntityType>'
        '<EntityType Name="T" BaseType="S.Base"><Property Name="Own" Type="Edm.Int32"/></EntityType>'
        '<EntityContainer><EntitySet Name="Ts" EntityType="S.T"/></EntityContainer>'
        "</Schema></edmx:DataServices></edmx:Edmx>"
    ).encode()
    found = parse_metadata(body, "x")["Ts"]
    assert found.keys == ("Key",)
    assert {item.name: item.kind for item in found.properties} == {
        "Key": pa.string(),
        "Money": pa.decimal128(16, 3),
        "Count": pa.decimal128(5, 0),
        "Loose": pa.decimal128(38, 18),
        "Day": pa.date32(),
        "Local": pa.timestamp("us"),
        "Instant": pa.timestamp("us", "UTC"),
        "Clock": pa.string(),
        "Big": pa.int64(),
        "Small": pa.int16(),
        "Id": pa.string(),
        "Raw": pa.binary(),
        "Float": pa.float64(),
        "Whole": pa.string(),
        "Own": pa.int32(),
    }


@pytest.mark.parametrize("declaration", [b"<!DOCTYPE x [", b'<!DOCTYPE x [<!ENTITY x "y">]>'])
def test_metadata_with_a_document_type_is_refused(declaration: bytes) -> None:
    with pytest.raises(ProtocolError, match="refused"):
        parse_metadata(declaration + b"<edmx/>", "x")


def test_metadata_that_is_cut_off_is_unreadable() -> None:
    with pytest.raises(UnreadableBodyError):
        parse_metadata(b"<edmx:Edmx", "x")


def test_every_kind_of_value_arrives_exactly_on_both_paths(odata: Any, row: Make) -> None:
    odata.server.types |= {
        "Local": 'Type="Edm.DateTime"',
        "Clock": 'Type="Edm.Time"',
        "Big": 'Type="Edm.Int64"',
        "Float": 'Type="Edm.Double"',
    }
    extra = {"Local": "/Date(-2208988800000)/", "Clock": "PT13H05M07S", "Big": "9007199254740993", "Float": "1.5E+02"}
    # the first page is read by the exact path and teaches the fast one, which reads the others
    odata.put(*[row(i) | extra | {"DueOn": f"/Date({i * 86400000 - 864000000000})/"} for i in range(9)])
    odata.ingest("full")
    found = odata.bronze()
    assert len(found) == 9
    for i, r in enumerate(found):
        assert r["Local"] == datetime(1900, 1, 1)
        assert r["Clock"] == "13:05:07"
        assert r["Big"] == 9007199254740993
        assert r["Float"] == 150.0
        assert r["DueOn"] == date.fromordinal(date(1942, 8, 16).toordinal() + i)
        assert r["ChangedAt"] == row(i)["ChangedAt"]
        assert r["_datong_rescued"] is None


def test_a_date_with_a_time_of_day_is_rescued_not_cut(odata: Any, row: Make) -> None:
    odata.put(*[row(i) for i in range(4)], row(5) | {"DueOn": "/Date(1700000000000)/"})
    odata.ingest("full")
    last = odata.bronze()[-1]
    assert last["DueOn"] is None
    assert json.loads(last["_datong_rescued"]) == {"DueOn": "/Date(1700000000000)/"}


def test_a_lost_delta_token_starts_a_new_baseline_without_duplicates_and_with_deletes(odata: Any, row: Make) -> None:
    odata.put(*[row(i) for i in range(6)])
    version = odata.ingest().delta_version
    odata.remove("00002")
    odata.put(row(7))
    odata.server.epoch = 2
    result = odata.ingest()
    assert (result.rows, result.deletes, result.delta_version) == (6, 1, version + 1)
    added = [r for r in odata.bronze() if r["_datong_batch_id"] == "000000000002"]
    assert len({r["Id"] for r in added}) == len(added) == 7
    assert next(r for r in added if r["Id"] == "00002")["_datong_operation"] == "delete"
    assert [r["Id"] for r in odata.current()] == ["00000", "00001", "00003", "00004", "00005", "00007"]
    assert odata.ingest().batches == []


@pytest.mark.parametrize("place", ["__delta", "__next", "links"])
def test_the_token_is_found_wherever_the_system_puts_it(odata: Any, row: Make, place: str) -> None:
    odata.server.token_on = place
    odata.put(*[row(i) for i in range(7)])
    assert odata.ingest().rows == 7
    odata.put(row(3, Name="second"))
    odata.remove("00005")
    result = odata.ingest()
    assert (result.rows, result.deletes) == (1, 1)
    assert [r["Id"] for r in odata.current()] == ["00000", "00001", "00002", "00003", "00004", "00006"]
    assert odata.ingest().rows == 0


def test_delta_operations_are_the_systems_own(odata: Any, row: Make) -> None:
    odata.put(row(1), row(2))
    odata.ingest()
    odata.put(row(1, Name="second"), row(3))
    odata.remove("00002")
    odata.ingest()
    added = {r["Id"]: r["_datong_operation"] for r in odata.bronze() if r["_datong_batch_id"] == "000000000002"}
    assert added == {"00001": "update", "00002": "delete", "00003": "insert"}


def test_a_service_without_change_tracking_is_refused_for_delta(odata: Any, row: Make) -> None:
    odata.put(row(1))
    odata.server.token_on = "nowhere"
    odata.server.every = lambda answer: type(answer)(answer.body.replace(b'"nowhere"', b'"x"'))
    with pytest.raises(ProtocolError, match="no delta token"):
        odata.ingest()
    assert history.open_table(odata.table) is None


def test_a_link_to_an_inner_host_is_followed_on_the_systems_own(odata: Any, row: Make) -> None:
    odata.server.internal_host = "http://sapgw-internal.corp:8000"
    odata.put(*[row(i) for i in range(8)])
    assert odata.ingest().rows == 8
    odata.put(row(2, Name="second"))
    result = odata.ingest()
    assert result.rows == 1
    assert "sapgw" not in (result.position or "")


def test_cursor_mode_reads_from_the_last_change_less_the_overlap(odata: Any, row: Make) -> None:
    odata.put(*[row(i) for i in range(30)])
    odata.ingest("cursor")
    result = odata.ingest("cursor", overlap_seconds=120)
    filters = [text for text in odata.server.requests if "filter" in text]
    assert "2026-03-01T08%3A27%3A00Z" in filters[0]
    assert (result.rows, result.unchanged_rows) == (0, 3)
    late = row(50, ChangedAt=datetime(2026, 3, 1, 8, 28, tzinfo=UTC))
    odata.put(late)
    assert odata.ingest("cursor", overlap_seconds=120).rows == 1


def test_select_keeps_the_keys(odata: Any, row: Make) -> None:
    odata.put(row(1))
    result = odata.ingest("full", select=["Name"])
    assert [name for name in result.schema.names if not name.startswith("_")] == ["Id", "Name"]


def test_an_unknown_entity_set_lists_those_there_are(odata: Any) -> None:
    with pytest.raises(ConfigurationError, match="no entity set Nothing") as caught:
        odata.ingest("full", source="API/Nothing")
    assert "Things" in caught.value.next_step


def test_a_delta_token_moves_on_even_without_changes_to_the_entity(odata: Any, row: Make) -> None:
    odata.put(row(1))
    odata.ingest()
    # another entity changed: the token is new, the answer empty
    odata.server.store.changes.append(("00001", "U"))
    odata.server.every = lambda answer: type(answer)(
        json.dumps({"d": {"results": [], "__delta": json.loads(answer.body)["d"]["__delta"]}}).encode()
    )
    result = odata.ingest()
    assert (result.rows, result.batches) == (0, ["000000000002"])
    manifest = landing.read_manifest(odata.name, "thing", 2)
    assert manifest
    assert manifest.position_after != manifest.position_before


def test_a_deleted_entity_may_be_told_by_its_address_alone(odata: Any, row: Make) -> None:
    odata.put(row(1), row(2))
    odata.ingest()
    odata.server.store.changes.append(("00001", "D"))

    def tombstone(answer: Any) -> Any:
        page = json.loads(answer.body)
        page["d"]["results"] = [{"@odata.context": "$metadata#Things/$deletedEntity", "id": "API/Things('00001')"}]
        return type(answer)(json.dumps(page).encode())

    odata.server.every = tombstone
    result = odata.ingest()
    assert (result.rows, result.deletes, result.new_columns) == (0, 1, [])
    assert [r["Id"] for r in odata.current()] == ["00002"]


def test_a_field_called_id_is_data_like_any_other(odata: Any, row: Make) -> None:
    odata.put(row(1) | {"id": "x"})
    assert odata.ingest("full").new_columns == ["id"]
    assert json.loads(odata.bronze()[0]["_datong_rescued"]) == {"id": "x"}


def test_a_full_extract_that_looks_like_a_delta_becomes_a_baseline_with_its_deletes(odata: Any, row: Make) -> None:
    odata.put(*[row(i) for i in range(6)])
    odata.ingest()
    # someone forced a full load: the subscription is gone, and the token is answered with all rows, no deletes
    odata.server.subscribed = False
    odata.remove("00002")
    odata.put(row(3, Name="second"))
    result = odata.ingest()
    assert (result.rows, result.deletes) == (5, 1)
    assert [r["Id"] for r in odata.current()] == ["00000", "00001", "00003", "00004", "00005"]
    assert odata.server.subscribed, "the baseline asked for change tracking, and so for a new subscription"
    odata.put(row(4, Name="third"))
    assert odata.ingest().rows == 1
    assert odata.bronze()[-1]["_datong_operation"] == "update"


def test_a_token_that_delta_links_no_longer_list_becomes_a_baseline(odata: Any, row: Make) -> None:
    odata.server.token_on = "links"
    odata.put(row(1), row(2))
    odata.ingest()
    odata.remove("00001")
    odata.server.tokens.clear()
    result = odata.ingest()
    assert (result.rows, result.deletes) == (1, 1)
    assert not any("ChangesAfter" in path for path in odata.server.requests), "it was not even asked"
    odata.put(row(3))
    assert odata.ingest().rows == 1


def test_a_next_link_that_expired_begins_the_read_anew(odata: Any, row: Make, no_waiting: list[float]) -> None:
    odata.put(*[row(i) for i in range(7)])
    odata.server.faults = [lambda answer: answer, lambda answer: type(answer)(b'{"error":{"message":"gone"}}', 410)]
    assert odata.ingest("full").rows == 7
    assert [r["Id"] for r in odata.bronze()] == [row(i)["Id"] for i in range(7)]


def test_deletes_without_a_delta_are_found_by_the_keys(odata: Any, row: Make) -> None:
    odata.put(*[row(i) for i in range(8)])
    odata.ingest("cursor", detect_deletes=True)
    odata.remove("00003", "00007")
    result = odata.ingest("cursor", detect_deletes=True)
    assert (result.rows, result.deletes) == (0, 2)
    assert any("%24select=Id" in path or "$select=Id" in path for path in odata.server.requests)


@pytest.mark.parametrize("asked", ["odp_rfc", "ODP-RFC", "rfc"])
def test_odp_over_rfc_is_refused_with_its_reason(asked: str, tmp_path: Path) -> None:
    (tmp_path / "defs.yaml").write_text(
        "type: datong_assets.components.SourceSystem\nattributes:\n  system: sap\n"
        f"  protocol: {asked}\n  connection: {{base_url: http://x}}\n  entities: [{{name: a, source: b}}]\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigurationError, match="3255746") as caught:
        load_systems(tmp_path)
    assert "defs.yaml:4" in caught.value.thing
    assert "odata_v2" in caught.value.reason
