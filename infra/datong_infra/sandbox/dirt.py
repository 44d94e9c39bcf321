"""Rows that are wrong on purpose, each known to the truth. None has a physical effect."""

from __future__ import annotations

from datong_infra.sandbox.model import MILLI
from datong_infra.sandbox.plant import Order, Plant
from datong_infra.sandbox.vocabulary import broken_credit_code

_UNKNOWN_ORDER = "9999999"


def spill(plant: Plant) -> None:
    """Put the wrong rows into today's data."""
    _unknown_units(plant)
    _broken_credit_codes(plant)
    orders = [o for o in plant.orders.values() if o.number in plant.work_orders][:4]
    for order in orders[:2]:
        _negative_component(plant, order)
    _bad_events(plant, orders[-1])


def _note(plant: Plant, *found: str) -> None:
    """System, entity, key, field, value and the rule that is broken."""
    plant.store.insert("plant_dirty", *found)


def _unknown_units(plant: Plant) -> None:
    """Two rejected order items in a unit that does not exist."""
    rows = plant.store.db.execute(
        'select "SalesOrder", max("SalesOrderItem" + 0) from "erp_A_SalesOrderItem" group by 1 order by 1 desc'
    ).fetchall()
    # an order typed by mistake is deleted tomorrow, with all its items
    rows = [(o, item) for o, item in rows if o not in plant.sales or not plant.sales[o].mistake][:2]
    material = next(iter(plant.materials.values()))
    for order, item in rows:
        number = str(int(item) + 10)
        plant.store.put(
            "A_SalesOrderItem",
            {
                "SalesOrder": order,
                "SalesOrderItem": number,
                "Material": material.number,
                "SalesOrderItemText": "Manual entry",
                "RequestedQuantity": 3 * MILLI,
                "RequestedQuantityUnit": "XX",
                "TransactionCurrency": "CNY",
                "ProductionPlant": material.plant,
                "StorageLocation": material.location,
                "SalesDocumentRjcnReason": "10",
                "SDProcessStatus": "C",
                "DeliveryStatus": "C",
            },
        )
        _note(plant, "erp", "A_SalesOrderItem", f"{order}/{number}", "RequestedQuantityUnit", "XX", "unit_known")


def _broken_credit_codes(plant: Plant) -> None:
    """Three customers that only the ERP knows, with a mistyped credit code."""
    rows = plant.store.db.execute(
        "select erp_customer, credit_code from plant_company where erp_customer is not null and id not in"
        " (select company_id from plant_account) order by id limit 3"
    ).fetchall()
    for customer, code in rows:
        broken = broken_credit_code(code)
        plant.store.change("A_BusinessPartnerTaxNumber", (customer, "CN0"), {"BPTaxNumber": broken})
        _note(plant, "erp", "A_BusinessPartnerTaxNumber", f"{customer}/CN0", "BPTaxNumber", broken, "credit_code_valid")


def _negative_component(plant: Plant, order: Order) -> None:
    """A component line with a negative required quantity, typed by hand; nobody ever withdraws it."""
    used = {c.material for c in order.components}
    child = next(m for m in plant.materials.values() if m.kind == "ROH" and m.number not in used)
    item = "90"
    plant.store.put(
        "A_ProductionOrderComponent_2",
        {
            "Reservation": order.reservation,
            "ReservationItem": item,
            "ManufacturingOrder": order.number,
            "Material": child.number,
            "Plant": child.plant,
            "StorageLocation": child.location,
            "RequiredQuantity": -2 * MILLI,
            "BaseUnit": child.unit,
            "LastChangeDateTime": plant.between(9, 17),
        },
    )
    _note(
        plant,
        "erp",
        "A_ProductionOrderComponent_2",
        f"{order.reservation}/{item}",
        "RequiredQuantity",
        "-2.000",
        "quantity_not_negative",
    )


def _bad_events(plant: Plant, order: Order) -> None:
    """Two consumptions and a confirmation that cannot be right."""
    store = plant.store
    component = plant.materials[order.components[0].material]
    for order_no, unit, field, value, rule in (
        (order.short_number, "箱", "unit", "箱", "unit_known"),
        (_UNKNOWN_ORDER, "pcs", "orderNo", _UNKNOWN_ORDER, "order_known"),
    ):
        event = f"MC{store.count('consumption'):012d}"
        at_ms = plant.between(10, 16)
        store.insert(
            "mes_material_consumption",
            None,
            event,
            order_no,
            component.part_number,
            order.components[0].item,
            MILLI,
            unit,
            "L0000000",
            at_ms - 60_000,
            at_ms,
        )
        _note(plant, "mes", "material-consumptions", event, field, value, rule)
    event = f"OC{store.count('confirmation'):010d}"
    at_ms = plant.between(10, 16)
    operation, _, center = plant.materials[order.material].operations[0]
    store.insert(
        "mes_operation_confirmation",
        None,
        event,
        order.short_number,
        operation,
        center,
        -5 * MILLI,
        0,
        "pcs",
        30 * MILLI,
        "OP999",
        at_ms - 60_000,
        at_ms,
    )
    _note(plant, "mes", "operation-confirmations", event, "goodQuantity", "-5", "quantity_not_negative")
