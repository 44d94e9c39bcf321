"""Production planning, purchasing, goods receipts, and the nightly interface of the time before the go-live."""

from __future__ import annotations

from datong_infra.sandbox.model import MILLI
from datong_infra.sandbox.plant import (
    CLOSED,
    GO_LIVE_DAY,
    MES_UNITS,
    RAW,
    RELEASED,
    Component,
    Consumption,
    Material,
    Order,
    Plant,
    WorkOrder,
)
from datong_infra.sandbox.posting import Movement, post

INTERFACE_USER = "MES_IF"


def plan(plant: Plant) -> None:
    """Production orders for new sales orders, and for what runs low in stock."""
    if not plant.work:
        return
    for sales in plant.sales.values():
        if not sales.planned and not sales.mistake and sales.plan_day <= plant.day:
            sales.planned = True
            for item in sales.items:
                material = plant.materials[item.material]
                if not material.to_stock:
                    item.order = _create(plant, material, item.quantity, sales.number, item.number).number
    promised: dict[str, int] = {}
    for sales in plant.sales.values():
        for item in sales.items:
            if not item.delivered and not item.order:
                promised[item.material] = promised.get(item.material, 0) + item.quantity
    for material in plant.materials.values():
        if material.to_stock and material.kind != RAW:
            available = _available(plant, material) - promised.get(material.number, 0)
            if available < material.daily_use * 8:
                wanted = max(material.daily_use * 18 - available, 10 * MILLI)
                _create(plant, material, -(-wanted // MILLI) * MILLI, "", "")


def _available(plant: Plant, material: Material) -> int:
    number = material.number
    return plant.stock.get(number, 0) + plant.expected[number] - plant.reserved[number]


def _create(plant: Plant, material: Material, quantity: int, sales_order: str, sales_item: str) -> Order:
    rng, store = plant.rng, plant.store
    at_ms = plant.between(9, 17)
    release = plant.day + rng.randint(1, 3)
    start = release + rng.randint(2, 6)
    order = Order(
        number=f"{store.count('production_order', 1_000_001):012d}",
        material=material.number,
        quantity=quantity,
        sales_order=sales_order,
        sales_item=sales_item,
        release_day=release,
        start_day=start,
        end_day=start + len(material.operations) + 1,
        reservation=str(store.count("reservation", 10_001)),
        components=[
            Component(str(n), child, per_unit, (n - 1) % len(material.operations))
            for n, (child, per_unit) in enumerate(material.components, 1)
        ],
    )
    plant.orders[order.number] = order
    plant.reserve(order, 1)
    store.put(
        "A_ProductionOrder_2",
        {
            "ManufacturingOrder": order.number,
            "ManufacturingOrderType": "YBM1" if sales_order else "YBM2",
            "Material": material.number,
            "ProductionPlant": material.plant,
            "TotalQuantity": quantity,
            "ProductionUnit": material.unit,
            "MfgOrderPlannedStartDate": plant.date_ms(start),
            "MfgOrderPlannedEndDate": plant.date_ms(order.end_day),
            "SalesOrder": sales_order,
            "SalesOrderItem": sales_item,
            "OrderIsCreated": "X",
            "LastChangeDateTime": at_ms,
        },
    )
    for component in order.components:
        put_component(plant, order, component, at_ms)
    for operation, text, center in material.operations:
        store.put(
            "A_ProductionOrderOperation_2",
            {
                "ManufacturingOrder": order.number,
                "ManufacturingOrderSequence": "0",
                "ManufacturingOrderOperation": operation,
                "OperationText": text,
                "WorkCenter": center,
                "OpPlannedTotalQuantity": quantity,
                "OperationUnit": material.unit,
            },
        )
    store.db.execute(
        "insert into plant_order values (?, ?, ?, ?, ?, ?, 0, 0, 'created')",
        (order.number, material.number, material.plant, sales_order, sales_item, quantity),
    )
    return order


def put_component(plant: Plant, order: Order, component: Component, at_ms: int) -> None:
    """Write a component of an order into the ERP."""
    child = plant.materials[component.material]
    plant.store.put(
        "A_ProductionOrderComponent_2",
        {
            "Reservation": order.reservation,
            "ReservationItem": component.item,
            "ManufacturingOrder": order.number,
            "Material": child.number,
            "Plant": child.plant,
            "StorageLocation": child.location,
            "RequiredQuantity": plant.required(order, component),
            "BaseUnit": child.unit,
            "LastChangeDateTime": at_ms,
        },
    )


def change_components(plant: Plant) -> None:
    """Engineering replaces a component of an order that is not released: one reservation item goes, another comes."""
    waiting = [o for o in plant.orders.values() if not o.released]
    for _ in range(min(plant.often(0.3), len(waiting))):
        order = plant.rng.choice(waiting)
        used = {c.material for c in order.components}
        old = plant.rng.choice(order.components)
        unit, site = plant.base_unit(old.material), plant.materials[old.material].plant
        others = [
            m.number
            for m in plant.materials.values()
            if m.kind == RAW and m.unit == unit and m.plant == site and m.number not in used
        ]
        if plant.materials[old.material].kind != RAW or not others:
            continue
        plant.reserve(order, -1)
        plant.store.remove("A_ProductionOrderComponent_2", (order.reservation, old.item))
        order.components.remove(old)
        new = Component(
            str(max(int(c.item) for c in [*order.components, old]) + 1),
            plant.rng.choice(others),
            old.per_unit,
            old.step,
        )
        order.components.append(new)
        plant.reserve(order, 1)
        put_component(plant, order, new, plant.between(9, 17))


def release(plant: Plant) -> None:
    """Release the orders that are due."""
    if not plant.work:
        return
    for order in plant.orders.values():
        if not order.released and order.release_day <= plant.day:
            order.released = True
            order.status = "released"
            plant.store.change(
                "A_ProductionOrder_2",
                (order.number,),
                {"OrderIsCreated": "", "OrderIsReleased": "X", "LastChangeDateTime": plant.between(8, 9)},
            )
            set_status(plant, order)


def set_status(plant: Plant, order: Order) -> None:
    """Remember how far an order is, for the truth."""
    plant.store.db.execute(
        "update plant_order set produced = ?, scrapped = ?, status = ? where order_no = ?",
        (order.good, order.scrap, order.status, order.number),
    )


def purchase(plant: Plant) -> None:
    """Raw material arrives (101), and what runs low is ordered."""
    due = [p for p in plant.purchases if p[0] <= plant.day]
    if due and plant.work:
        plant.purchases = [p for p in plant.purchases if p[0] > plant.day]
        for _, number, quantity, purchase_order in due:
            material = plant.materials[number]
            plant.move(number, quantity)
            plant.expected[number] -= quantity
            post(
                plant.store,
                [Movement("101", number, material.plant, material.location, quantity, material.unit)],
                at_ms=plant.between(7, 9),
                user="HUANGL",
                code="01",
                reference=purchase_order,
                text="GR purchase order",
            )
    if not plant.work:
        return
    for material in plant.materials.values():
        if material.kind != RAW:
            continue
        available = _available(plant, material)
        if available < material.daily_use * 12:
            wanted = max(material.daily_use * 25 - available, 20 * MILLI)
            quantity = -(-wanted // (10 * MILLI)) * 10 * MILLI
            order = str(plant.store.count("purchase_order", 4_500_000_001))
            plant.purchases.append((plant.day + plant.rng.randint(2, 5), material.number, quantity, order))
            plant.expected[material.number] += quantity


def receive(plant: Plant) -> None:
    """Clerks post what the shop floor finished (101), and complete orders technically some days later."""
    if not plant.work:
        return
    for order in list(plant.orders.values()):
        arrived = order.good - order.received
        if arrived > 0 and 0 <= order.receive_day <= plant.day:
            _receipt(plant, order, arrived)
        if order.status == "completed" and order.received == order.good and 0 <= order.complete_day <= plant.day:
            _complete(plant, order)


def _receipt(plant: Plant, order: Order, quantity: int) -> None:
    material = plant.materials[order.material]
    at_ms = plant.between(17, 19)
    order.received += quantity
    plant.move(order.material, quantity)
    plant.expected[order.material] -= quantity
    post(
        plant.store,
        [
            Movement(
                "101",
                order.material,
                material.plant,
                material.location,
                quantity,
                material.unit,
                order=order.number,
                sales_order=order.sales_order,
                sales_item=order.sales_item,
            )
        ],
        at_ms=at_ms,
        user="HUANGL",
        code="02",
        text="GR production order",
    )
    if order.status == "completed":
        plant.store.change(
            "A_ProductionOrder_2",
            (order.number,),
            {
                "OrderIsPartiallyConfirmed": "",
                "OrderIsConfirmed": "X",
                "MfgOrderConfirmedEndDate": plant.date_ms(plant.day),
                "LastChangeDateTime": at_ms,
            },
        )
        order.complete_day = plant.day + plant.rng.randint(1, 3)
        for item in plant.sales[order.sales_order].items if order.sales_order in plant.sales else ():
            if item.order == order.number:
                item.received = True
    else:
        plant.store.change(
            "A_ProductionOrder_2",
            (order.number,),
            {"OrderIsPartiallyConfirmed": "X", "LastChangeDateTime": at_ms},
        )


def _complete(plant: Plant, order: Order) -> None:
    at_ms = plant.between(10, 16)
    order.status = "closed"
    plant.store.change(
        "A_ProductionOrder_2",
        (order.number,),
        {"OrderIsTechnicallyCompleted": "X", "LastChangeDateTime": at_ms},
    )
    plant.store.db.execute(
        'update mes_work_order set status = ?, version = version + 1, "updatedAt" = ? where "orderNo" = ?',
        (CLOSED, at_ms + 60_000, order.short_number),
    )
    set_status(plant, order)
    plant.expected[order.material] -= order.quantity - order.received
    plant.work_orders.pop(order.number, None)
    del plant.orders[order.number]


def count_stock(plant: Plant) -> None:
    """Cycle counting finds a little more or less than there should be (701, 702)."""
    raw = [m for m in plant.materials.values() if m.kind == RAW]
    for _ in range(plant.often(0.5)):
        material = plant.rng.choice(raw)
        difference = plant.stock.get(material.number, 0) * plant.rng.randint(-15, 12) // 1000
        if material.unit == "ST":
            difference = difference // MILLI * MILLI
        if not difference or plant.stock[material.number] + difference < 0:
            continue
        plant.move(material.number, difference)
        post(
            plant.store,
            [
                Movement(
                    "701" if difference > 0 else "702",
                    material.number,
                    material.plant,
                    material.location,
                    abs(difference),
                    material.unit,
                )
            ],
            at_ms=plant.between(10, 15),
            user="ZHANGW",
            code="",
            text="Inventory difference",
        )


def send_to_mes(plant: Plant, order: Order) -> WorkOrder:
    """A work order for the MES, as the nightly interface made it."""
    store = plant.store
    number = f"WO-{store.count('work_order'):06d}"
    part = plant.materials[order.material].part_number
    store.db.execute(
        "insert into mes_work_order values (null, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 1, ?)",
        (
            number,
            order.short_number,
            part.lower() if plant.rng.random() < 0.1 else part,
            order.quantity,
            MES_UNITS[plant.base_unit(order.material)],
            RELEASED,
            plant.time_ms(order.start_day, 8),
            plant.time_ms(order.end_day, 17),
            plant.between(19.3, 19.4),
        ),
    )
    return WorkOrder(number, order.quantity, order.start_day, RELEASED)


def nightly_interface(plant: Plant) -> None:
    """Until the go-live: released orders go to the MES, the day's consumption goes to the ERP."""
    if plant.day >= GO_LIVE_DAY:
        return
    for order in plant.orders.values():
        if order.released and order.number not in plant.work_orders:
            plant.work_orders[order.number] = send_to_mes(plant, order)
        if order.status in {"in_production", "completed"} and not order.start_is_known:
            order.start_is_known = True
            plant.store.change(
                "A_ProductionOrder_2",
                (order.number,),
                {"MfgOrderActualStartDate": plant.date_ms(plant.day), "LastChangeDateTime": plant.between(19.3, 19.4)},
            )
    for consumption in plant.consumed_today:
        at_ms = plant.between(19.4, 19.8)
        issue(plant, consumption, "261", at_ms, INTERFACE_USER)
        if plant.rng.random() < 0.0006:
            # the old interface posted a second scan of the same event now and then; a clerk took it back
            issue(plant, consumption, "261", at_ms + 30_000, INTERFACE_USER)
            issue(plant, consumption, "262", at_ms + 600_000, "ZHANGW")


def issue(plant: Plant, consumption: Consumption, kind: str, at_ms: int, user: str) -> None:
    """Post one consumption event as a goods issue of the ERP, or take it back."""
    order, component = consumption.order, consumption.component
    material = plant.materials[component.material]
    post(
        plant.store,
        [
            Movement(
                kind,
                material.number,
                material.plant,
                material.location,
                consumption.quantity,
                material.unit,
                order=order.number,
                reservation=order.reservation,
                reservation_item=component.item,
            )
        ],
        at_ms=at_ms,
        user=user,
        code="03" if kind == "261" else "06",
        reference=consumption.event_id,
        text="MES interface" if kind == "261" else "Reversal",
        posting_ms=plant.date_ms(plant.day),
    )
