"""Goods movements in the ERP: a material document with its items, and what it changes.

Book stock follows every item; a goods issue for an order (261, and its reversal 262) changes the component's withdrawn
quantity, a receipt (101) the order's delivered quantity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from datong_infra.sandbox.store import PLANT_ZONE, Store

RECEIPTS = frozenset({"101", "262", "561", "701"})
ISSUES = frozenset({"261", "601", "702"})


@dataclass
class Movement:
    """One item of a material document. Quantity in thousandths of `unit`, the material's base unit."""

    kind: str
    material: str
    plant: str
    location: str
    quantity: int
    unit: str
    order: str = ""
    sales_order: str = ""
    sales_item: str = ""
    reservation: str = ""
    reservation_item: str = ""
    text: str = ""


def post(
    store: Store,
    items: Sequence[Movement],
    *,
    at_ms: int,
    user: str,
    code: str,
    reference: str = "",
    text: str = "",
    document_ms: int | None = None,
    posting_ms: int | None = None,
) -> tuple[str, str]:
    """Write a material document and its effects in the transaction that is open; returns its year and number."""
    local = datetime.fromtimestamp(at_ms / 1000, PLANT_ZONE)
    today = (at_ms + 8 * 3_600_000) // 86_400_000 * 86_400_000
    posting_ms = today if posting_ms is None else posting_ms
    year = str(datetime.fromtimestamp(posting_ms / 1000, PLANT_ZONE).year)
    number = str(store.count("material_document", 4_900_000_001))
    store.put(
        "A_MaterialDocumentHeader",
        {
            "MaterialDocumentYear": year,
            "MaterialDocument": number,
            "DocumentDate": posting_ms if document_ms is None else document_ms,
            "PostingDate": posting_ms,
            "CreationDate": today,
            "CreationTime": local.hour * 3600 + local.minute * 60 + local.second,
            "CreatedByUser": user,
            "MaterialDocumentHeaderText": text,
            "ReferenceDocument": reference,
            "GoodsMovementCode": code,
        },
    )
    for index, item in enumerate(items, 1):
        incoming = item.kind in RECEIPTS
        store.put(
            "A_MaterialDocumentItem",
            {
                "MaterialDocumentYear": year,
                "MaterialDocument": number,
                "MaterialDocumentItem": str(index),
                "Material": item.material,
                "Plant": item.plant,
                "StorageLocation": item.location,
                "GoodsMovementType": item.kind,
                "ManufacturingOrder": item.order,
                "SalesOrder": item.sales_order,
                "SalesOrderItem": item.sales_item,
                "Reservation": item.reservation,
                "ReservationItem": item.reservation_item,
                "QuantityInEntryUnit": item.quantity,
                "EntryUnit": item.unit,
                "QuantityInBaseUnit": item.quantity,
                "MaterialBaseUnit": item.unit,
                "DebitCreditCode": "S" if incoming else "H",
                "MaterialDocumentItemText": item.text,
            },
        )
        _book(store, item, item.quantity if incoming else -item.quantity)
        _follow_up(store, item, at_ms)
    return year, number


def _book(store: Store, item: Movement, change: int) -> None:
    seq = store.next_seq()
    store.db.execute(
        """insert into "erp_A_MatlStkInAcctMod" values (?, ?, ?, '', '01', '', ?, ?, ?, ?)
        on conflict do update set
            "MatlWrhsStkQtyInMatlBaseUnit" = "MatlWrhsStkQtyInMatlBaseUnit" + excluded."MatlWrhsStkQtyInMatlBaseUnit",
            _seq = excluded._seq""",
        (item.material, item.plant, item.location, item.unit, change, seq, seq),
    )


def _follow_up(store: Store, item: Movement, at_ms: int) -> None:
    if item.kind in {"261", "262"} and item.reservation:
        store.db.execute(
            'update "erp_A_ProductionOrderComponent_2" set "WithdrawnQuantity" = "WithdrawnQuantity" + ?,'
            ' "LastChangeDateTime" = ?, _seq = ? where "Reservation" = ? and "ReservationItem" = ?',
            (
                item.quantity if item.kind == "261" else -item.quantity,
                at_ms,
                store.next_seq(),
                item.reservation,
                item.reservation_item,
            ),
        )
    elif item.kind == "101" and item.order:
        store.db.execute(
            'update "erp_A_ProductionOrder_2" set "ActualDeliveredQuantity" = "ActualDeliveredQuantity" + ?,'
            ' "LastChangeDateTime" = ?, _seq = ? where "ManufacturingOrder" = ?',
            (item.quantity, at_ms, store.next_seq(), item.order),
        )
