"""Reconciliation of systems with bronze: what agrees is proven, what differs is named by its key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from datong_ingestion.reconcile import Reconciled, keep, reconcile_system
from datong_ingestion.systems_config import SystemConfig, load_system
from datong_platform.errors import ConfigurationError
from datong_platform.lake import catalog, history
from datong_platform.quality import record

Make = Callable[..., dict[str, Any]]


def reconciled(system: SystemConfig, **how: Any) -> Reconciled:
    """The only entity of a system, reconciled and kept."""
    found = reconcile_system(system, **how)
    keep("test", found)
    assert isinstance(found[0], Reconciled), found[0]
    return found[0]


def lose(rig: Any, key: str) -> None:
    """Take a row out of bronze, as nothing of Datong's ever would."""
    delta = history.open_table(rig.table)
    assert delta
    delta.delete(f"\"Id\" = '{key}'" if "Id" in delta.schema().to_arrow().names else f"id = '{key}'")


def named(found: Reconciled) -> dict[str, str]:
    """What is wrong, by key."""
    return {item.key: item.problem for one in found.compared for item in one.findings}


def test_a_table_that_holds_all_rows_is_proven_by_counts_sums_and_key_digests(database: Any, row: Make) -> None:
    database.put(*(row(number) for number in range(40)), row(40, Amount=None, ChangedAt=None))
    database.ingest("cursor")
    found = reconciled(database.system("cursor"))
    assert found.status == "agrees"
    assert found.rows == (41, 41)
    first = found.compared[0]
    assert "Amount" in first.source.sums
    whole = sum((one.source.sums["Amount"] for one in found.compared), Decimal(0))
    assert whole == sum(Decimal(number) + Decimal("0.125") for number in range(40))
    # both sides hash the keys alike, or a digest would prove nothing
    assert all(one.source.digest == one.lake.digest is not None for one in found.compared)
    assert any(one.source.digest for one in found.compared)
    assert found.mark
    # five minutes before the last change rows may still be on their way
    assert found.mark.verified_through == (row(39)["ChangedAt"] - timedelta(minutes=5)).isoformat()
    assert found.mark.rows_verified == 34


def test_a_row_that_bronze_lost_is_named_and_the_mark_stops_before_it(database: Any, row: Make) -> None:
    database.put(
        *(row(number, ChangedAt=datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number)) for number in range(30))
    )
    database.ingest("cursor")
    assert reconciled(database.system("cursor")).ok
    before = record.marks(database.system("cursor").system)[0]
    lose(database, "00010")
    found = reconciled(database.system("cursor"))
    assert found.status == "differs"
    assert named(found) == {"00010": "missing in lake"}
    assert found.mark
    assert found.mark.verified_through < before.verified_through
    assert found.mark.verified_through <= "2026-03-11"
    assert "00010" in found.mark.went_back
    kept = [row for row in record.entries(name=f"{database.system('cursor').system}.thing") if row["different"]]
    assert [example["key"] for row in kept for example in row["examples"]] == ["00010"]


def test_a_value_that_changed_without_a_trace_is_named_with_both_values(sql: Any, row: Make) -> None:
    sql.put(*(row(number) for number in range(20)))
    sql.ingest("cursor")
    sql.run("""update thing set "Amount" = 999 where "Id" = '00003'""")
    found = reconciled(sql.system("cursor"))
    assert named(found) == {"00003": "different"}
    detail = next(item.detail for one in found.compared for item in one.findings)
    assert detail == "Amount: 999.000 in the system, 3.125 in the lake"


def test_a_row_deleted_in_the_system_and_kept_in_bronze_is_named(sql: Any, row: Make) -> None:
    sql.put(*(row(number) for number in range(20)))
    sql.ingest("cursor", detect_deletes=False)
    sql.remove("00004")
    found = reconciled(sql.system("cursor", detect_deletes=False))
    assert named(found) == {"00004": "missing in source"}


def test_what_the_system_changed_since_the_last_read_is_no_difference(database: Any, row: Make) -> None:
    database.put(*(row(number) for number in range(20)))
    database.ingest("cursor")
    database.put(row(2, Amount=Decimal(7), ChangedAt=row(60)["ChangedAt"]), row(50))
    found = reconciled(database.system("cursor"))
    assert found.ok
    assert named(found) == {}
    assert sum(one.changed_since for one in found.compared) == 1
    assert [one.status for one in found.compared if one.status == "open"] == ["open"]


def test_a_change_that_was_dated_back_is_told_from_a_lost_row(sql: Any, row: Make) -> None:
    sql.put(*(row(number) for number in range(0, 600, 10)))
    sql.ingest("cursor")
    # committed late and dated early: no cursor finds it
    sql.put(row(30, ChangedAt=row(200)["ChangedAt"]))
    found = reconciled(sql.system("cursor"))
    assert named(found) == {"00030": "older in lake"}


def test_rows_that_their_own_field_marks_as_deleted_lie_in_both(sql: Any, row: Make) -> None:
    sql.put(*(row(number) for number in range(20)))
    sql.ingest("cursor", soft_delete={"column": "Active"})
    found = reconciled(sql.system("cursor", soft_delete={"column": "Active"}))
    assert found.status == "agrees"
    assert found.rows == (20, 20)


def test_a_filtered_entity_is_compared_within_its_filter(sql: Any, row: Make) -> None:
    sql.put(*(row(number) for number in range(20)))
    wanted = """"Id" < '00010'"""
    sql.ingest("full", filter=wanted)
    found = reconciled(sql.system("full", filter=wanted))
    assert found.status == "agrees"
    assert found.rows == (10, 10)


def test_a_hundred_windows_and_many_rows_are_asked_in_aggregates_and_few_rows_are_listed(
    sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql.run("create table many (id bigint primary key, amount numeric(12,2), made timestamptz)")
    sql.run(
        "insert into many select n, n / 4.0, timestamptz '2020-01-01 00:00+00' + n * interval '7 minutes' "
        "from generate_series(1, 30000) n"
    )
    how: dict[str, Any] = {"source": "many", "keys": ["id"], "cursor": "made"}
    sql.ingest("cursor", **how)
    delta = history.open_table(sql.table)
    assert delta
    delta.delete("id in (77, 20001)")
    from datong_platform.quality.lake_side import LakeTable

    listed: list[int] = []
    whole = LakeTable.listed

    def counted(self: LakeTable, window: Any) -> Any:
        for table in whole(self, window):
            listed.append(len(table))
            yield table

    monkeypatch.setattr(LakeTable, "listed", counted)
    found = reconciled(sql.system("cursor", **how))
    assert set(named(found)) == {"77", "20001"}
    assert sum(listed) < 1500


def test_sums_that_cannot_be_compared_are_refused_with_those_that_can(sql: Any, row: Make) -> None:
    sql.put(row(1))
    sql.ingest("full")
    found = reconcile_system(sql.system("full", reconcile={"sums": ["Name"]}))
    assert isinstance(found[0], ConfigurationError)
    assert "choose from Amount" in found[0].next_step


def test_an_entity_left_out_says_why(sql: Any, row: Make) -> None:
    sql.put(row(1))
    sql.ingest("full")
    found = reconciled(sql.system("full", reconcile={"off": "the vendor forbids it at night"}))
    assert (found.status, found.ok) == ("not possible", True)
    assert "the vendor forbids it at night" in found.reason


def test_a_table_of_which_nothing_was_ingested_is_not_proven(sql: Any, row: Make) -> None:
    sql.put(row(1))
    found = reconciled(sql.system("full"))
    assert found.status == "nothing"
    assert found.mark is None


@pytest.mark.parametrize(("aggregates", "sums"), [(True, True), (False, False)])
def test_odata_v4_gives_sums_where_it_aggregates_and_counts_where_it_does_not(
    odata_v4: Any, row: Make, aggregates: bool, sums: bool
) -> None:
    odata_v4.server.aggregates = aggregates
    odata_v4.put(*(row(number) for number in range(30)))
    odata_v4.ingest()
    found = reconciled(odata_v4.system())
    assert found.status == "agrees"
    assert found.by == "ChangedAt"
    assert any(one.source.sums for one in found.compared) is sums
    lose(odata_v4, "00005")
    assert named(reconciled(odata_v4.system())) == {"00005": "missing in lake"}


def test_a_service_that_does_not_count_is_read_anew_only_when_asked(odata_v4: Any, row: Make) -> None:
    odata_v4.server.counts = odata_v4.server.aggregates = False
    odata_v4.put(*(row(number) for number in range(10)))
    odata_v4.ingest()
    lose(odata_v4, "00002")
    assert reconciled(odata_v4.system()).status == "not possible"
    assert named(reconciled(odata_v4.system(), keys_too=True)) == {"00002": "missing in lake"}


def test_a_protocol_without_totals_is_read_anew_only_when_asked(rest: Any, row: Make) -> None:
    rest.put(*(row(number) for number in range(10)))
    rest.ingest()
    assert reconciled(rest.system()).status == "not possible"
    assert reconciled(rest.system(), keys_too=True).status == "agrees"
    rest.put(row(3, ChangedAt=row(90)["ChangedAt"]), row(91))
    assert reconciled(rest.system(), keys_too=True).ok
    lose(rest, "00002")
    found = reconciled(rest.system(), keys_too=True)
    assert named(found) == {"00002": "missing in lake"}


def test_a_json_api_that_counts_is_asked_for_its_counts(rest: Any, row: Make) -> None:
    rest.server.style = "offset"
    how: dict[str, Any] = {"connection": {"paging": {"style": "offset", "total_path": "total"}}}
    rest.put(*(row(number) for number in range(60)))
    rest.ingest("cursor", **how)
    found = reconciled(rest.system("cursor", **how))
    assert (found.status, found.by, found.rows) == ("agrees", "ChangedAt", (60, 60))
    rest.put(row(3, ChangedAt=row(90)["ChangedAt"]), row(91))
    assert reconciled(rest.system("cursor", **how)).ok
    lose(rest, "00002")
    assert named(reconciled(rest.system("cursor", **how))) == {"00002": "missing in lake"}


@pytest.mark.usefixtures("sandbox")
def test_the_erp_is_proven_by_its_counts_and_a_lost_order_is_named(services: Any) -> None:
    shipped = load_system("erp")
    system = shipped.model_copy(
        update={
            "system": "reconcile_erp",
            "entities": [shipped.entity("sales_order"), shipped.entity("product_description")],
        }
    )
    from datong_ingestion.run import ingest_system

    assert all(outcome.ok for outcome in ingest_system(system))
    orders, texts = reconcile_system(system)
    assert isinstance(orders, Reconciled)
    assert isinstance(texts, Reconciled)
    assert (orders.by, texts.by) == ("LastChangeDateTime", "")
    assert orders.ok
    assert texts.ok
    assert orders.rows[0] == orders.rows[1] > 50
    delta = history.open_table(system.table("sales_order"))
    assert delta
    first = min(delta.to_pyarrow_table(columns=["SalesOrder"]).column("SalesOrder").to_pylist())
    delta.delete(f"\"SalesOrder\" = '{first}'")
    orders = reconcile_system(system, ["sales_order"])[0]
    assert isinstance(orders, Reconciled)
    assert named(orders) == {first: "missing in lake"}


def test_a_table_that_is_new_since_the_last_build_is_found(sql: Any, row: Make) -> None:
    catalog.register()
    sql.put(row(1))
    sql.ingest("full")
    assert reconciled(sql.system("full")).status == "agrees"
