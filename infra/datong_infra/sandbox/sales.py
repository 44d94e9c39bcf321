"""Sales: customers order, planners look at the orders, the warehouse delivers."""

from __future__ import annotations

from typing import Any

from datong_infra.sandbox.model import MILLI
from datong_infra.sandbox.plant import FINISHED, ORDERS_PER_DAY, Item, Plant, SalesOrder
from datong_infra.sandbox.posting import Movement, post

_CLERKS = ("LIUY", "CHENJ", "WANGF")


def take_orders(plant: Plant) -> None:
    """Today's new sales orders, made to order or from stock."""
    finished = [m for m in plant.materials.values() if m.kind == FINISHED]
    today = plant.date(plant.day)
    # at any scale some order is deleted after each month's end and in each month's first week
    slip = plant.day > 7 and (today.day >= 30 or (today.day <= 7 and today.weekday() == 0))
    for count in range(plant.often(ORDERS_PER_DAY)):
        rng = plant.rng
        number = str(plant.store.count("sales_order", 500_001))
        customer = rng.choice(plant.customers)
        at_ms = plant.between(9, 17)
        requested = plant.day + rng.randint(15, 40)
        order = SalesOrder(number, customer, requested, plant.day + rng.randint(1, 2), [])
        order.mistake = rng.random() < 0.03 or (slip and count == 0)
        total = 0
        rows: list[dict[str, Any]] = []
        for index, material in enumerate(rng.sample(finished, rng.choice((1, 2, 2, 3, 4))), 1):
            quantity = rng.randint(1, 9) * MILLI
            amount = material.price * 13 // 10 * quantity // MILLI // 10 * 10
            rejected = rng.random() < 0.03
            rows.append(
                {
                    "SalesOrder": number,
                    "SalesOrderItem": str(10 * index),
                    "Material": material.number,
                    "SalesOrderItemText": f"{material.number} PN16",
                    "RequestedQuantity": quantity,
                    "RequestedQuantityUnit": "ST",
                    "NetAmount": amount,
                    "TransactionCurrency": "CNY",
                    "ProductionPlant": material.plant,
                    "StorageLocation": material.location,
                    "SalesDocumentRjcnReason": "10" if rejected else "",
                    "SDProcessStatus": "C" if rejected else "A",
                    "DeliveryStatus": "C" if rejected else "A",
                }
            )
            total += 0 if rejected else amount
            if not rejected:
                order.items.append(Item(str(10 * index), material.number, quantity))
        done = "A" if order.items else "C"
        plant.store.put(
            "A_SalesOrder",
            {
                "SalesOrder": number,
                "SalesOrderType": "OR",
                "SalesOrganization": "1000",
                "DistributionChannel": "10",
                "OrganizationDivision": "00",
                "SoldToParty": customer,
                "SalesOrderDate": plant.date_ms(plant.day),
                "RequestedDeliveryDate": plant.date_ms(requested),
                "CreationDate": plant.date_ms(plant.day),
                "CreatedByUser": rng.choice(_CLERKS),
                "LastChangeDateTime": at_ms,
                "PurchaseOrderByCustomer": f"PO-{rng.randint(10_000, 99_999)}",
                "TotalNetAmount": total,
                "TransactionCurrency": "CNY",
                "OverallSDProcessStatus": done,
                "OverallTotalDeliveryStatus": done,
            },
        )
        for row in rows:
            plant.store.put("A_SalesOrderItem", row)
        if order.items or order.mistake:
            plant.sales[number] = order


def withdraw_mistakes(plant: Plant) -> None:
    """Orders typed by mistake are deleted the next working day, with their items."""
    for order in [o for o in plant.sales.values() if o.mistake and o.plan_day <= plant.day]:
        del plant.sales[order.number]
        items = plant.store.db.execute(
            'select "SalesOrderItem" from "erp_A_SalesOrderItem" where "SalesOrder" = ?', (order.number,)
        ).fetchall()
        for (item,) in items:
            plant.store.remove("A_SalesOrderItem", (order.number, item))
        plant.store.remove("A_SalesOrder", (order.number,))


def deliver(plant: Plant) -> None:
    """Goods leave for sales orders whose items are ready; on the requested day, also for a part of them."""
    if not plant.work:
        return
    for order in list(plant.sales.values()):
        open_items = [i for i in order.items if not i.delivered]
        ready = [i for i in open_items if _ready(plant, i)]
        if ready and (len(ready) == len(open_items) or order.requested_day <= plant.day):
            _ship(plant, order, ready)
            if all(i.delivered for i in order.items):
                del plant.sales[order.number]


def _ready(plant: Plant, item: Item) -> bool:
    enough = plant.stock.get(item.material, 0) >= item.quantity
    return enough if plant.materials[item.material].to_stock else item.received and enough


def _ship(plant: Plant, order: SalesOrder, items: list[Item]) -> None:
    at_ms = plant.between(13, 18)
    movements: list[Movement] = []
    for item in items:
        material = plant.materials[item.material]
        if plant.stock.get(item.material, 0) < item.quantity:
            continue
        plant.move(item.material, -item.quantity)
        item.delivered = True
        movements.append(
            Movement(
                "601",
                item.material,
                material.plant,
                material.location,
                item.quantity,
                material.unit,
                sales_order=order.number,
                sales_item=item.number,
            )
        )
        plant.store.change(
            "A_SalesOrderItem",
            (order.number, item.number),
            {"DeliveryStatus": "C", "SDProcessStatus": "C", "YY1_DeliveredQuantity_SDI": item.quantity},
        )
    if movements:
        post(
            plant.store,
            movements,
            at_ms=at_ms,
            user="SUNQ",
            code="",
            reference=str(plant.store.count("delivery", 80_000_001)),
            text="Outbound delivery",
        )
        status = "C" if all(i.delivered for i in order.items) else "B"
        plant.store.change(
            "A_SalesOrder",
            (order.number,),
            {
                "OverallSDProcessStatus": status,
                "OverallTotalDeliveryStatus": status,
                "LastChangeDateTime": at_ms,
            },
        )
