"""The simulated plant itself: reproducible, physically consistent, and telling the story that the truth knows."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections import defaultdict
from pathlib import Path

import pytest
from datong_infra.sandbox.simulation import advance, open_plant
from datong_infra.sandbox.store import Store
from datong_infra.sandbox.truth import truth
from datong_infra.sandbox.vocabulary import credit_code_check
from datong_platform.errors import ConfigurationError, ServiceError

SCALE = 0.15


def content(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table that is the plant's data."""
    tables = [t for (t,) in store.db.execute("select name from sqlite_master where type = 'table' and name <> 'meta'")]
    return {t: sorted(store.db.execute(f'select * from "{t}"').fetchall(), key=repr) for t in tables}


def book_stock(store: Store) -> dict[str, int]:
    """The ERP's stock by material, in thousandths."""
    return dict(
        store.db.execute(
            'select "Material", sum("MatlWrhsStkQtyInMatlBaseUnit") from "erp_A_MatlStkInAcctMod" group by 1'
        )
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    found = Store(tmp_path_factory.mktemp("plant") / "plant.sqlite")
    open_plant(found, scale=SCALE, seed=7)
    return found


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(store: Store, tmp_path: Path) -> None:
    again, other = Store(tmp_path / "again.sqlite"), Store(tmp_path / "other.sqlite")
    open_plant(again, scale=SCALE, seed=7)
    open_plant(other, scale=SCALE, seed=8)
    assert content(again) == content(store)
    assert content(other) != content(store)


def test_advancing_at_once_is_the_same_as_day_by_day_even_after_a_restart(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "a.sqlite"), Store(tmp_path / "b.sqlite")
    plant = open_plant(first, scale=0.05, seed=1)
    advance(plant, 6)
    plant = open_plant(second, scale=0.05, seed=1)
    advance(plant, 2)
    second.close()
    second = Store(tmp_path / "b.sqlite")
    plant = open_plant(second, scale=1, seed=99)
    assert plant.scale == 0.05, "scale and seed count only for a new plant"
    for _ in range(4):
        advance(plant, 1)
    assert content(first) == content(second)
    assert truth(first) == truth(second)


def test_another_seed_for_the_next_days_gives_another_future(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "a.sqlite"), Store(tmp_path / "b.sqlite")
    advance(open_plant(first, scale=0.05, seed=1), 3, seed=5)
    advance(open_plant(second, scale=0.05, seed=1), 3, seed=6)
    assert first.now() == second.now()
    assert content(first) != content(second)


def test_rows_grow_in_proportion_to_the_scale(store: Store, tmp_path: Path) -> None:
    larger = Store(tmp_path / "larger.sqlite")
    open_plant(larger, scale=SCALE * 4, seed=7)
    small, large = (sum(s.row_counts().values()) for s in (store, larger))
    assert 3.6 < large / small < 4.4


def test_scale_one_is_about_a_hundred_thousand_rows_of_every_entity(tmp_path: Path) -> None:
    one = Store(tmp_path / "one.sqlite")
    open_plant(one, scale=1, seed=42)
    counts = one.row_counts()
    assert 90_000 < sum(counts.values()) < 110_000
    assert all(counts.values()), [name for name, rows in counts.items() if not rows]
    assert {"erp", "mes", "crm"} == {name.partition(".")[0] for name in counts}


def test_one_state_has_one_process(store: Store) -> None:
    with pytest.raises(ServiceError, match="in use by another sandbox"):
        Store(store.path)


def test_a_scale_out_of_bounds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not between"):
        open_plant(Store(tmp_path / "plant.sqlite"), scale=0, seed=1)


def test_book_stock_is_the_sum_of_all_movements_and_never_negative(store: Store) -> None:
    booked = book_stock(store)
    moved: dict[str, int] = dict(
        store.db.execute(
            """select "Material", sum(case "DebitCreditCode" when 'S' then 1 else -1 end * "QuantityInBaseUnit")
            from "erp_A_MaterialDocumentItem" group by 1"""
        )
    )
    assert booked == moved
    assert min(booked.values()) >= 0


def test_physical_stock_is_book_stock_less_what_is_not_posted_yet(store: Store) -> None:
    unposted: defaultdict[str, int] = defaultdict(int)
    for material, quantity in store.db.execute(
        """select material, quantity from plant_consumption where event_id not in
        (select "ReferenceDocument" from "erp_A_MaterialDocumentHeader")"""
    ):
        unposted[material] += quantity
    booked = book_stock(store)
    physical = dict(store.db.execute("select material, sum(quantity) from plant_stock group by 1"))
    assert physical == {m: q - unposted[m] for m, q in booked.items()}
    assert min(physical.values()) >= 0
    assert sum(unposted.values()) > 0


def test_consumption_is_posted_until_the_go_live_and_not_after(store: Store) -> None:
    days = dict(
        store.db.execute(
            """select day, count(*) from plant_consumption where event_id not in
            (select "ReferenceDocument" from "erp_A_MaterialDocumentHeader") group by 1"""
        )
    )
    assert days
    assert min(days) >= 83
    found = truth(store)
    assert found["consumption"]["unposted"] == sum(days.values())
    assert found["consumption"]["posted_twice"] == 0
    assert found["work_orders"]["not_in_mes"] > 0


def test_withdrawn_and_delivered_quantities_follow_the_documents(store: Store) -> None:
    wrong = store.db.execute(
        """select c."Reservation", c."ReservationItem" from "erp_A_ProductionOrderComponent_2" c left join (
            select "Reservation" r, "ReservationItem" i,
                sum(case "GoodsMovementType" when '261' then 1 else -1 end * "QuantityInBaseUnit") q
            from "erp_A_MaterialDocumentItem" where "GoodsMovementType" in ('261', '262') group by 1, 2) d
        on d.r = c."Reservation" and d.i = c."ReservationItem" where c."WithdrawnQuantity" <> coalesce(d.q, 0)"""
    ).fetchall()
    assert wrong == []
    wrong = store.db.execute(
        """select o."ManufacturingOrder" from "erp_A_ProductionOrder_2" o left join (
            select "ManufacturingOrder" n, sum("QuantityInBaseUnit") q from "erp_A_MaterialDocumentItem"
            where "GoodsMovementType" = '101' group by 1) d on d.n = o."ManufacturingOrder"
        where o."ActualDeliveredQuantity" <> coalesce(d.q, 0)"""
    ).fetchall()
    assert wrong == []


def test_only_what_the_mes_knows_is_produced(store: Store) -> None:
    unknown = store.db.execute(
        """select order_no from plant_order where produced > 0 and ltrim(order_no, '0') not in
        (select "orderNo" from mes_work_order)"""
    ).fetchall()
    assert unknown == []
    made = store.db.execute("select count(*) from plant_order where status = 'closed' and produced = ordered")
    assert made.fetchone()[0] > 100


def test_goods_leave_only_once_they_were_made(store: Store) -> None:
    delivered, ordered = store.db.execute(
        """select sum("YY1_DeliveredQuantity_SDI"), sum("RequestedQuantity") from "erp_A_SalesOrderItem"
        where "DeliveryStatus" = 'C' and "SalesDocumentRjcnReason" = ''"""
    ).fetchone()
    assert delivered == ordered > 0
    issued = store.db.execute(
        """select sum("QuantityInBaseUnit") from "erp_A_MaterialDocumentItem" where "GoodsMovementType" = '601'"""
    ).fetchone()[0]
    assert issued == delivered


def test_the_shop_floor_sends_duplicates_and_late_events(store: Store) -> None:
    twice = store.db.execute(
        """select count(*), min(content) from (select "eventId", count(distinct "orderNo" || "partNo" || quantity
        || "consumedAt") content from mes_material_consumption group by 1 having count(*) > 1)"""
    ).fetchone()
    assert twice[0] > 5
    late = store.db.execute(
        'select count(*) from mes_material_consumption where "recordedAt" - "consumedAt" > 86400000'
    ).fetchone()[0]
    assert late > 5
    assert (
        store.db.execute('select count(*) from mes_material_consumption where length("eventId") > 16').fetchone()[0]
        == 0
    )
    assert twice[1] == 1, "a duplicate has the same content"


def test_each_dirty_row_is_in_the_data_as_the_truth_tells(store: Store) -> None:
    dirty = truth(store)["dirty_rows"]
    assert {name: len(rows) for name, rows in dirty.items()} == {
        "erp.A_SalesOrderItem": 2,
        "erp.A_BusinessPartnerTaxNumber": 3,
        "erp.A_ProductionOrderComponent_2": 2,
        "mes.material-consumptions": 2,
        "mes.operation-confirmations": 1,
    }
    db = store.db
    units = db.execute('select count(*) from "erp_A_SalesOrderItem" where "RequestedQuantityUnit" <> \'ST\'')
    assert units.fetchone()[0] == 2
    negative = db.execute('select count(*) from "erp_A_ProductionOrderComponent_2" where "RequiredQuantity" < 0')
    assert negative.fetchone()[0] == 2
    codes = [c for (c,) in db.execute('select "BPTaxNumber" from "erp_A_BusinessPartnerTaxNumber"')]
    assert sorted(c for c in codes if credit_code_check(c[:17]) != c[17]) == sorted(
        row["value"] for row in dirty["erp.A_BusinessPartnerTaxNumber"]
    )
    events = db.execute(
        """select "eventId" from mes_material_consumption where unit not in ('pcs', 'kg', 'm', 'L')
        or "orderNo" not in (select ltrim("ManufacturingOrder", '0') from "erp_A_ProductionOrder_2")"""
    )
    assert sorted(e for (e,) in events) == sorted(row["key"] for row in dirty["mes.material-consumptions"])


def test_the_rule_for_the_same_customer_finds_the_companies_that_the_truth_counts(store: Store) -> None:
    advance(open_plant(store, scale=SCALE, seed=7), 5)
    assert distinct_customers(store.db) == truth(store)["distinct_customers"]


def test_credit_codes_follow_the_standard() -> None:
    assert credit_code_check("91350100M000100Y4"[:17]) == "3"


def distinct_customers(db: sqlite3.Connection) -> int:
    """Customers by the public rule (same credit code, or same normalised name), over what the systems show."""
    records: list[tuple[str, str | None]] = db.execute(
        """select c."CustomerName", t."BPTaxNumber" from "erp_A_Customer" c
        join "erp_A_BusinessPartnerTaxNumber" t on t."BusinessPartner" = c."Customer"
        union all select name, credit_code from crm_account where is_deleted = 0"""
    ).fetchall()
    leader: dict[str, str] = {}

    def find(node: str) -> str:
        while leader.setdefault(node, node) != node:
            node = leader[node]
        return node

    for index, (name, code) in enumerate(records):
        for other in filter(None, (normal_name(name), unicodedata.normalize("NFKC", code or ""))):
            leader[find(f"row {index}")] = find(other)
    return len({find(f"row {i}") for i in range(len(records))})


def normal_name(name: str) -> str:
    text = "".join(unicodedata.normalize("NFKC", name).split())
    for form in ("股份有限公司", "有限责任公司", "有限公司", "Co.,Ltd."):
        text = text.removesuffix(form)
    return text
