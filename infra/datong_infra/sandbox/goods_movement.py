"""Goods movements that somebody posts through the ERP's API: checked as the ERP would, then posted.

A goods issue whose ReferenceDocument is the id of a MES consumption books what the shop floor already took, so the
physical stock stays as it is; any other movement is taken for a real one.
"""

from __future__ import annotations

from typing import Any

from datong_infra.sandbox.model import MILLI
from datong_infra.sandbox.odata_query import ODataError
from datong_infra.sandbox.posting import ISSUES, Movement, post
from datong_infra.sandbox.store import Store

_BY_CODE = {"01": {"101"}, "02": {"101"}, "03": {"261", "262"}, "05": {"561"}, "06": {"262"}}
_COMPONENT = 'select "Reservation", "ReservationItem", "StorageLocation" from "erp_A_ProductionOrderComponent_2"'


def _refuse(code: str, message: str, target: str = "") -> ODataError:
    return ODataError(400, code, message, target=target)


def post_document(
    store: Store, header: dict[str, Any], items: list[dict[str, Any]], user: str, at_ms: int
) -> tuple[str, str]:
    """Check and post a material document in the transaction that is open; ODataError with the business reason."""
    code = header.get("GoodsMovementCode", "")
    if code not in _BY_CODE:
        raise _refuse("M7/124", f"Goods movement code '{code}' is not allowed", "GoodsMovementCode")
    if not items:
        raise _refuse("M7/096", "The material document has no items", "to_MaterialDocumentItem")
    reference = header.get("ReferenceDocument", "")
    booked_only = bool(
        reference
        and store.db.execute('select 1 from mes_material_consumption where "eventId" = ?', (reference,)).fetchone()
    )
    movements = [_movement(store, code, item) for item in items]
    year_and_number = post(
        store,
        movements,
        at_ms=at_ms,
        user=user,
        code=code,
        reference=reference,
        text=header.get("MaterialDocumentHeaderText", ""),
        document_ms=header.get("DocumentDate"),
        posting_ms=header.get("PostingDate"),
    )
    for order in {m.order for m in movements if m.kind == "261"}:
        _note_start(store, order, at_ms)
    for movement in movements:
        _check_stock(store, movement)
        if not (booked_only and movement.kind in {"261", "262"}):
            sign = -1 if movement.kind in ISSUES else 1
            store.db.execute(
                "insert into plant_stock values (?, ?, ?, ?)"
                " on conflict do update set quantity = quantity + excluded.quantity",
                (movement.plant, movement.material, movement.location, sign * movement.quantity),
            )
    return year_and_number


def _movement(store: Store, code: str, item: dict[str, Any]) -> Movement:
    kind = item.get("GoodsMovementType", "")
    if kind not in _BY_CODE[code]:
        raise _refuse("M7/093", f"Movement type '{kind}' is not allowed with goods movement code {code}")
    material, unit, plant, location = _material(store, item)
    quantity = item.get("QuantityInEntryUnit", 0)
    if quantity <= 0:
        raise _refuse("M7/022", "Enter a quantity greater than zero", "QuantityInEntryUnit")
    if item.get("EntryUnit") not in {None, "", unit}:
        raise _refuse("M3/025", f"Unit {item['EntryUnit']} is not defined for material {material}", "EntryUnit")
    movement = Movement(
        kind,
        material,
        plant,
        location,
        quantity,
        unit,
        sales_order=item.get("SalesOrder", ""),
        sales_item=item.get("SalesOrderItem", ""),
        text=item.get("MaterialDocumentItemText", ""),
    )
    if kind in {"261", "262"} or (kind == "101" and code == "02"):
        movement.order = _order(store, item)
    if kind in {"261", "262"}:
        movement.reservation, movement.reservation_item = _reservation(store, item, movement)
    return movement


def _material(store: Store, item: dict[str, Any]) -> tuple[str, str, str, str]:
    number = item.get("Material", "")
    row = None
    for form in (number, number.upper(), number.zfill(18)):
        row = (
            row
            or store.db.execute(
                "select material, unit, plant, location from plant_material where material = ?", (form,)
            ).fetchone()
        )
    if row is None:
        raise _refuse("M3/305", f"The material {number} does not exist or is not activated", "Material")
    material, unit, plant, location = row
    if item.get("Plant") not in {None, "", plant}:
        raise _refuse("M3/351", f"Material {number} not maintained in plant {item['Plant']}", "Plant")
    if item.get("StorageLocation") not in {None, "", location}:
        raise _refuse(
            "M7/070",
            f"Material {number} does not exist in storage location {item['StorageLocation']}",
            "StorageLocation",
        )
    return material, unit, plant, location


def _order(store: Store, item: dict[str, Any]) -> str:
    given = item.get("ManufacturingOrder", "")
    number = given.zfill(12)
    row = store.db.execute(
        'select "OrderIsReleased" from "erp_A_ProductionOrder_2" where "ManufacturingOrder" = ?', (number,)
    ).fetchone()
    if row is None:
        raise _refuse("CO/017", f"Order {given} does not exist", "ManufacturingOrder")
    if row[0] != "X":
        raise _refuse("CO/469", f"Goods movement is not possible: order {given} is not released", "ManufacturingOrder")
    return number


def _reservation(store: Store, item: dict[str, Any], movement: Movement) -> tuple[str, str]:
    """The component that the issue belongs to; none means an unplanned withdrawal."""
    wanted, position = item.get("Reservation", "").lstrip("0"), item.get("ReservationItem", "").lstrip("0")
    condition, values = '"ManufacturingOrder" = ? and "Material" = ?', [movement.order, movement.material]
    if wanted or position:
        condition += ' and "ReservationItem" = ?'
        values.append(position)
    if wanted:
        condition += ' and "Reservation" = ?'
        values.append(wanted)
    row = store.db.execute(
        f'{_COMPONENT} where {condition} order by "RequiredQuantity" <= "WithdrawnQuantity", "ReservationItem"', values
    ).fetchone()
    if row is None and (wanted or position):
        raise _refuse(
            "M7/097",
            f"Reservation {wanted} item {position} does not exist for material {movement.material}"
            f" and order {movement.order.lstrip('0')}",
            "ReservationItem",
        )
    return (row[0], row[1]) if row else ("", "")


def _note_start(store: Store, order: str, at_ms: int) -> None:
    """The first goods issue tells the ERP that production began."""
    store.db.execute(
        'update "erp_A_ProductionOrder_2" set "MfgOrderActualStartDate" = ?, "LastChangeDateTime" = ?, _seq = ?'
        ' where "ManufacturingOrder" = ? and "MfgOrderActualStartDate" is null',
        ((at_ms + 28_800_000) // 86_400_000 * 86_400_000, at_ms, store.next_seq(), order),
    )


def _check_stock(store: Store, movement: Movement) -> None:
    row = store.db.execute(
        'select "MatlWrhsStkQtyInMatlBaseUnit" from "erp_A_MatlStkInAcctMod"'
        ' where "Material" = ? and "Plant" = ? and "StorageLocation" = ?',
        (movement.material, movement.plant, movement.location),
    ).fetchone()
    if row[0] < 0:
        raise _refuse(
            "M7/021",
            f"Deficit of SL Unrestricted-use {-row[0] / MILLI:.3f} {movement.unit} : {movement.material.lstrip('0')}"
            f" {movement.plant} {movement.location}",
        )
