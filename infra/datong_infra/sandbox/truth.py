"""What a perfect platform would know about the plant, computed from the plant's own state and from nothing else.

- stock: the physical stock by plant and material: opening + receipts - issues, consumption included whether the ERP
  has it or not. So it equals the ERP's book stock less the consumption that is not posted yet.
- production_orders: ordered, produced (good pieces), scrapped, consumed by material; status is created, released,
  in_production, completed or closed.
- sales_orders: production status of those that are made to order: NOT_STARTED (no production order of it has begun),
  IN_PRODUCTION, PRODUCED (all are completed or closed); "" for those without a production order.
- distinct_customers: companies among the ERP's customers and the CRM's accounts that are not flagged as deleted.
- dirty_rows: the rows that are wrong on purpose. They have no effect on anything above.

Materials and orders are named without leading zeros. Units are the ERP's.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from datong_infra.sandbox.model import MILLI
from datong_infra.sandbox.store import Store


def _quantity(milli: int) -> int | float:
    return milli // MILLI if milli % MILLI == 0 else milli / MILLI


def truth(store: Store) -> dict[str, Any]:
    """The plant's true state now; see the module for what each part means."""
    with store.snapshot() as db:
        orders = _orders(db)
        return {
            "as_of": store.now().isoformat(),
            "stock": [
                {"plant": plant, "material": material.lstrip("0"), "quantity": _quantity(quantity), "unit": unit}
                for plant, material, quantity, unit in db.execute(
                    "select s.plant, s.material, sum(s.quantity), m.unit from plant_stock s"
                    " join plant_material m using (material) group by s.plant, s.material order by 1, 2"
                )
            ],
            "production_orders": orders,
            "sales_orders": _sales_orders(db),
            **_customers(db),
            "consumption": _consumption(db),
            "work_orders": _work_orders(db),
            "dirty_rows": _dirty(db),
        }


def _orders(db: sqlite3.Connection) -> list[dict[str, Any]]:
    consumed: dict[str, list[dict[str, Any]]] = {}
    for order, material, quantity, unit in db.execute(
        "select c.order_no, c.material, sum(c.quantity), m.unit from plant_consumption c"
        " join plant_material m using (material) group by 1, 2 order by 1, 2"
    ):
        consumed.setdefault(order, []).append(
            {"material": material.lstrip("0"), "quantity": _quantity(quantity), "unit": unit}
        )
    return [
        {
            "order": order.lstrip("0"),
            "material": material.lstrip("0"),
            "sales_order": sales_order,
            "status": status,
            "ordered": _quantity(ordered),
            "produced": _quantity(produced),
            "scrapped": _quantity(scrapped),
            "consumed": consumed.get(order, []),
        }
        for order, material, sales_order, status, ordered, produced, scrapped in db.execute(
            "select order_no, material, sales_order, status, ordered, produced, scrapped from plant_order order by 1"
        )
    ]


def _sales_orders(db: sqlite3.Connection) -> list[dict[str, Any]]:
    return [
        {"order": order, "status": status}
        for order, status in db.execute(
            """select s."SalesOrder", case
                when count(p.order_no) = 0 then ''
                when min(p.status in ('completed', 'closed')) = 1 then 'PRODUCED'
                when max(p.status in ('in_production', 'completed', 'closed')) = 1 then 'IN_PRODUCTION'
                else 'NOT_STARTED' end
            from "erp_A_SalesOrder" s left join plant_order p on p.sales_order = s."SalesOrder"
            group by 1 order by 1"""
        )
    ]


def _customers(db: sqlite3.Connection) -> dict[str, int]:
    known = (
        "select id from plant_company where erp_customer is not null union select company_id from plant_account a"
        " join crm_account c on c.id = a.account_id where c.is_deleted = 0"
    )
    return {
        "distinct_customers": db.execute(f"select count(*) from ({known})").fetchone()[0],
        "distinct_customers_without_dirty": db.execute(
            f"select count(*) from ({known}) where id not in (select p.id from plant_company p join plant_dirty d"
            " on d.entity = 'A_BusinessPartnerTaxNumber' and d.key = p.erp_customer || '/CN0')"
        ).fetchone()[0],
    }


def _consumption(db: sqlite3.Connection) -> dict[str, int]:
    """Consumption events of the shop floor, and how many of them the ERP has: 261 less 262 by event."""
    rows = db.execute(
        """select coalesce(p.net, 0) as net, count(*) from plant_consumption c left join (
            select h."ReferenceDocument" as event_id,
                sum(case i."GoodsMovementType" when '261' then 1 when '262' then -1 else 0 end) as net
            from "erp_A_MaterialDocumentHeader" h
            join "erp_A_MaterialDocumentItem" i using ("MaterialDocumentYear", "MaterialDocument")
            where h."ReferenceDocument" like 'MC%' group by 1) p using (event_id)
        group by 1"""
    ).fetchall()
    return {
        "events": sum(n for _, n in rows),
        "posted": sum(n for net, n in rows if net > 0),
        "unposted": sum(n for net, n in rows if net <= 0),
        "posted_twice": sum(n for net, n in rows if net > 1),
    }


def _work_orders(db: sqlite3.Connection) -> dict[str, int]:
    """Production orders that are released in the ERP, and whether the MES has a work order for them."""
    released, known = db.execute(
        """select count(*), count(w."orderNo") from "erp_A_ProductionOrder_2" o
        left join mes_work_order w on w."orderNo" = ltrim(o."ManufacturingOrder", '0')
        where o."OrderIsReleased" = 'X'"""
    ).fetchone()
    return {"released": released, "in_mes": known, "not_in_mes": released - known}


def _dirty(db: sqlite3.Connection) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for system, entity, key, field, value, rule in db.execute("select * from plant_dirty order by rowid"):
        found.setdefault(f"{system}.{entity}", []).append({"key": key, "field": field, "value": value, "rule": rule})
    return found
