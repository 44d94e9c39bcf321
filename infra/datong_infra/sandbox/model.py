"""Every entity set of the ERP, collection of the MES and table of the CRM: fields, types, keys, and where they lie.

Types are written short: S10 is Edm.String of at most 10 characters, N16.3 Edm.Decimal of precision 16 and scale 3,
D Edm.DateTime (a date), O Edm.DateTimeOffset, T Edm.Time, B Edm.Boolean. The names are those of SAP's public APIs.

In the store a decimal is a whole number of thousandths, a time is milliseconds since 1970 UTC, Edm.Time is seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

MILLI = 1000


@dataclass(frozen=True)
class Field:
    """One property of an entity: its name, kind (S, N, D, O, T, B) and size."""

    name: str
    kind: str
    length: int = 0
    scale: int = 0

    @property
    def edm(self) -> str:
        """The Entity Data Model's name of the type."""
        return _EDM[self.kind]

    @property
    def column(self) -> str:
        """The declaration of the column in SQLite."""
        return f'"{self.name}" {"text" if self.kind == "S" else "integer"}'

    @property
    def initial(self) -> str | int | None:
        """The value of a field that was not given, as ABAP would have it; null for dates."""
        return {"S": "", "N": 0, "B": 0}.get(self.kind)


_EDM = {
    "S": "Edm.String",
    "N": "Edm.Decimal",
    "D": "Edm.DateTime",
    "O": "Edm.DateTimeOffset",
    "T": "Edm.Time",
    "B": "Edm.Boolean",
}


@dataclass(frozen=True)
class Navigation:
    """A way from an entity to another: the target's set and the fields that both share as the link."""

    name: str
    target: str
    link: tuple[str, ...]
    many: bool = True


@dataclass(frozen=True)
class EntitySet:
    """One entity set of an OData service."""

    service: str
    name: str
    keys: tuple[str, ...]
    spec: str
    delta: bool = False
    etag: str | None = None
    navigations: tuple[Navigation, ...] = ()
    updatable: frozenset[str] = field(default_factory=frozenset)
    creatable: bool = False

    @cached_property
    def fields(self) -> dict[str, Field]:
        """The properties by name, in order."""
        return {f.name: f for f in map(_field, self.spec.split())}

    @property
    def type_name(self) -> str:
        """The entity type's name without its namespace."""
        return f"{self.name}Type"

    @property
    def table(self) -> str:
        """The table of the store."""
        return f"erp_{self.name}"

    @property
    def indexes(self) -> tuple[str, ...]:
        """Columns by which the set is read, other than its key."""
        return tuple(n for n in ("LastChangeDateTime",) if n in self.fields)

    def navigation(self, name: str) -> Navigation | None:
        """The navigation property `name`, or None."""
        return next((n for n in self.navigations if n.name == name), None)


def _field(text: str) -> Field:
    name, _, kind = text.partition(":")
    match = re.fullmatch(r"([SNDOTB])(\d*)(?:\.(\d+))?", kind)
    if not match:
        raise ValueError(f"{text!r} is not NAME:TYPE")
    return Field(name, match[1], int(match[2] or 0), int(match[3] or 0))


def _set(service: str, name: str, keys: str, spec: str, **more: object) -> EntitySet:
    return EntitySet(service, name, tuple(keys.split()), spec, **more)  # pyright: ignore[reportArgumentType]


_SALES = "API_SALES_ORDER_SRV"
_PARTNER = "API_BUSINESS_PARTNER"
_PRODUCT = "API_PRODUCT_SRV"
_BOM = "API_BILL_OF_MATERIAL_SRV"
_STOCK = "API_MATERIAL_STOCK_SRV"
_PRODUCTION = "API_PRODUCTION_ORDER_2_SRV"
_DOCUMENT = "API_MATERIAL_DOCUMENT_SRV"

ENTITY_SETS: dict[str, EntitySet] = {
    entity.name: entity
    for entity in (
        _set(
            _SALES,
            "A_SalesOrder",
            "SalesOrder",
            "SalesOrder:S10 SalesOrderType:S4 SalesOrganization:S4 DistributionChannel:S2 OrganizationDivision:S2"
            " SoldToParty:S10 SalesOrderDate:D RequestedDeliveryDate:D CreationDate:D CreatedByUser:S12"
            " LastChangeDateTime:O PurchaseOrderByCustomer:S35 TotalNetAmount:N16.3 TransactionCurrency:S5"
            " OverallSDProcessStatus:S1 OverallTotalDeliveryStatus:S1 DeliveryBlockReason:S2"
            " YY1_ProductionStatus_SDH:S20",
            delta=True,
            etag="LastChangeDateTime",
            navigations=(Navigation("to_Item", "A_SalesOrderItem", ("SalesOrder",)),),
            updatable=frozenset(
                {
                    "YY1_ProductionStatus_SDH",
                    "DeliveryBlockReason",
                    "PurchaseOrderByCustomer",
                    "RequestedDeliveryDate",
                }
            ),
        ),
        _set(
            _SALES,
            "A_SalesOrderItem",
            "SalesOrder SalesOrderItem",
            "SalesOrder:S10 SalesOrderItem:S6 Material:S18 SalesOrderItemText:S40 RequestedQuantity:N15.3"
            " RequestedQuantityUnit:S3 NetAmount:N16.3 TransactionCurrency:S5 ProductionPlant:S4 StorageLocation:S4"
            " SalesDocumentRjcnReason:S2 SDProcessStatus:S1 DeliveryStatus:S1 YY1_DeliveredQuantity_SDI:N15.3",
            delta=True,
            navigations=(Navigation("to_SalesOrder", "A_SalesOrder", ("SalesOrder",), many=False),),
        ),
        _set(
            _PARTNER,
            "A_BusinessPartner",
            "BusinessPartner",
            "BusinessPartner:S10 BusinessPartnerCategory:S1 BusinessPartnerFullName:S81 OrganizationBPName1:S40"
            " SearchTerm1:S20 BusinessPartnerIsBlocked:B CreationDate:D LastChangeDate:D LastChangeTime:T",
            delta=True,
            navigations=(
                Navigation("to_BusinessPartnerAddress", "A_BusinessPartnerAddress", ("BusinessPartner",)),
                Navigation("to_BusinessPartnerTax", "A_BusinessPartnerTaxNumber", ("BusinessPartner",)),
                Navigation("to_BusinessPartnerRole", "A_BusinessPartnerRole", ("BusinessPartner",)),
            ),
        ),
        _set(
            _PARTNER,
            "A_BusinessPartnerAddress",
            "BusinessPartner AddressID",
            "BusinessPartner:S10 AddressID:S10 Country:S3 CityName:S40 StreetName:S60 PostalCode:S10 PhoneNumber:S30",
        ),
        _set(
            _PARTNER,
            "A_BusinessPartnerTaxNumber",
            "BusinessPartner BPTaxType",
            "BusinessPartner:S10 BPTaxType:S4 BPTaxNumber:S20",
        ),
        _set(
            _PARTNER,
            "A_Customer",
            "Customer",
            "Customer:S10 CustomerName:S80 CustomerAccountGroup:S4 OrderIsBlockedForCustomer:S2",
        ),
        _set(
            _PARTNER,
            "A_BusinessPartnerRole",
            "BusinessPartner BusinessPartnerRole",
            "BusinessPartner:S10 BusinessPartnerRole:S6",
        ),
        _set(
            _PRODUCT,
            "A_Product",
            "Product",
            "Product:S18 ProductType:S4 ProductGroup:S9 BaseUnit:S3 GrossWeight:N13.3 NetWeight:N13.3 WeightUnit:S3"
            " ProductStandardID:S18 IsMarkedForDeletion:B CreationDate:D LastChangeDateTime:O",
            delta=True,
            navigations=(
                Navigation("to_Description", "A_ProductDescription", ("Product",)),
                Navigation("to_Valuation", "A_ProductValuation", ("Product",)),
            ),
        ),
        _set(
            _PRODUCT,
            "A_ProductDescription",
            "Product Language",
            "Product:S18 Language:S2 ProductDescription:S40",
        ),
        _set(
            _PRODUCT,
            "A_ProductValuation",
            "Product ValuationArea",
            "Product:S18 ValuationArea:S4 StandardPrice:N14.3 PriceUnitQty:N5.0 Currency:S5",
        ),
        _set(
            _BOM,
            "MaterialBOM",
            "BillOfMaterial BillOfMaterialCategory BillOfMaterialVariant Material Plant",
            "BillOfMaterial:S8 BillOfMaterialCategory:S1 BillOfMaterialVariant:S2 Material:S18 Plant:S4"
            " BOMHeaderQuantityInBaseUnit:N13.3 BOMHeaderBaseUnit:S3",
            navigations=(
                Navigation(
                    "to_BillOfMaterialItem",
                    "MaterialBOMItem",
                    ("BillOfMaterial", "BillOfMaterialVariant", "Material", "Plant"),
                ),
            ),
        ),
        _set(
            _BOM,
            "MaterialBOMItem",
            "BillOfMaterial BillOfMaterialVariant BillOfMaterialItemNodeNumber Material Plant",
            "BillOfMaterial:S8 BillOfMaterialVariant:S2 BillOfMaterialItemNodeNumber:S8 Material:S18 Plant:S4"
            " BillOfMaterialComponent:S18 BillOfMaterialItemQuantity:N13.3 BillOfMaterialItemUnit:S3",
        ),
        _set(
            _STOCK,
            "A_MatlStkInAcctMod",
            "Material Plant StorageLocation Batch InventoryStockType InventorySpecialStockType",
            "Material:S18 Plant:S4 StorageLocation:S4 Batch:S10 InventoryStockType:S2 InventorySpecialStockType:S1"
            " MaterialBaseUnit:S3 MatlWrhsStkQtyInMatlBaseUnit:N31.14",
        ),
        _set(
            _PRODUCTION,
            "A_ProductionOrder_2",
            "ManufacturingOrder",
            "ManufacturingOrder:S12 ManufacturingOrderType:S4 Material:S18 ProductionPlant:S4 TotalQuantity:N13.3"
            " ProductionUnit:S3 MfgOrderPlannedStartDate:D MfgOrderPlannedEndDate:D MfgOrderActualStartDate:D"
            " MfgOrderConfirmedEndDate:D SalesOrder:S10 SalesOrderItem:S6 OrderIsCreated:S1 OrderIsReleased:S1"
            " OrderIsPartiallyConfirmed:S1 OrderIsConfirmed:S1 OrderIsTechnicallyCompleted:S1"
            " ActualDeliveredQuantity:N13.3 LastChangeDateTime:O",
            delta=True,
            etag="LastChangeDateTime",
            navigations=(
                Navigation("to_ProductionOrderComponent", "A_ProductionOrderComponent_2", ("ManufacturingOrder",)),
                Navigation("to_ProductionOrderOperation", "A_ProductionOrderOperation_2", ("ManufacturingOrder",)),
            ),
            updatable=frozenset({"MfgOrderPlannedStartDate", "MfgOrderPlannedEndDate"}),
        ),
        _set(
            _PRODUCTION,
            "A_ProductionOrderComponent_2",
            "Reservation ReservationItem",
            "Reservation:S10 ReservationItem:S4 ManufacturingOrder:S12 Material:S18 Plant:S4 StorageLocation:S4"
            " RequiredQuantity:N13.3 BaseUnit:S3 WithdrawnQuantity:N13.3 LastChangeDateTime:O",
            delta=True,
        ),
        _set(
            _PRODUCTION,
            "A_ProductionOrderOperation_2",
            "ManufacturingOrder ManufacturingOrderSequence ManufacturingOrderOperation",
            "ManufacturingOrder:S12 ManufacturingOrderSequence:S6 ManufacturingOrderOperation:S4 OperationText:S40"
            " WorkCenter:S8 OpPlannedTotalQuantity:N15.3 OperationUnit:S3",
        ),
        _set(
            _DOCUMENT,
            "A_MaterialDocumentHeader",
            "MaterialDocumentYear MaterialDocument",
            "MaterialDocumentYear:S4 MaterialDocument:S10 DocumentDate:D PostingDate:D CreationDate:D CreationTime:T"
            " CreatedByUser:S12 MaterialDocumentHeaderText:S25 ReferenceDocument:S16 GoodsMovementCode:S2",
            delta=True,
            navigations=(
                Navigation(
                    "to_MaterialDocumentItem", "A_MaterialDocumentItem", ("MaterialDocumentYear", "MaterialDocument")
                ),
            ),
            creatable=True,
        ),
        _set(
            _DOCUMENT,
            "A_MaterialDocumentItem",
            "MaterialDocumentYear MaterialDocument MaterialDocumentItem",
            "MaterialDocumentYear:S4 MaterialDocument:S10 MaterialDocumentItem:S4 Material:S18 Plant:S4"
            " StorageLocation:S4 GoodsMovementType:S3 ManufacturingOrder:S12 SalesOrder:S10 SalesOrderItem:S6"
            " Reservation:S10 ReservationItem:S4 QuantityInEntryUnit:N13.3 EntryUnit:S3 QuantityInBaseUnit:N13.3"
            " MaterialBaseUnit:S3 DebitCreditCode:S1 MaterialDocumentItemText:S50",
            delta=True,
            navigations=(
                Navigation(
                    "to_MaterialDocumentHeader",
                    "A_MaterialDocumentHeader",
                    ("MaterialDocumentYear", "MaterialDocument"),
                    many=False,
                ),
            ),
        ),
    )
}

SERVICES: dict[str, tuple[EntitySet, ...]] = {
    service: tuple(e for e in ENTITY_SETS.values() if e.service == service)
    for service in dict.fromkeys(e.service for e in ENTITY_SETS.values())
}


@dataclass(frozen=True)
class Column:
    """A field of a MES collection or a CRM table. Kinds: S text, Q quantity in thousandths, I whole number, O time."""

    name: str
    kind: str

    @property
    def declaration(self) -> str:
        """The declaration of the column in SQLite."""
        return f'"{self.name}" {"text" if self.kind == "S" else "integer"}'


@dataclass(frozen=True)
class Table:
    """A MES collection (`path`, ordered by the time field `order`) or a CRM table."""

    name: str
    spec: str
    path: str = ""
    order: str = ""
    indexes: tuple[str, ...] = ()

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The columns by name, in order."""
        return {c.name: c for c in (Column(*text.split(":")) for text in self.spec.split())}


COLLECTIONS: dict[str, Table] = {
    table.path: table
    for table in (
        Table(
            "mes_work_order",
            "workOrderNo:S orderNo:S partNo:S quantity:Q unit:S status:S plannedStart:O plannedEnd:O goodQuantity:Q"
            " scrapQuantity:Q version:I updatedAt:O",
            "work-orders",
            "updatedAt",
            ("orderNo", "workOrderNo"),
        ),
        Table(
            "mes_operation_confirmation",
            "eventId:S orderNo:S operationNo:S workCenter:S goodQuantity:Q scrapQuantity:Q unit:S machineMinutes:Q"
            " operator:S confirmedAt:O recordedAt:O",
            "operation-confirmations",
            "recordedAt",
            ("orderNo",),
        ),
        Table(
            "mes_material_consumption",
            "eventId:S orderNo:S partNo:S reservationItem:S quantity:Q unit:S lotNo:S consumedAt:O recordedAt:O",
            "material-consumptions",
            "recordedAt",
            ("orderNo", "eventId"),
        ),
        Table(
            "mes_scrap_record",
            "eventId:S orderNo:S operationNo:S partNo:S quantity:Q unit:S reasonCode:S scrappedAt:O recordedAt:O",
            "scrap-records",
            "recordedAt",
            ("orderNo",),
        ),
        Table(
            "mes_quality_result",
            "eventId:S orderNo:S characteristic:S measuredValue:Q unit:S lowerLimit:Q upperLimit:Q result:S"
            " inspectedAt:O recordedAt:O",
            "quality-results",
            "recordedAt",
            ("orderNo",),
        ),
    )
}

CRM_TABLES: dict[str, Table] = {
    table.name.removeprefix("crm_"): table
    for table in (
        Table(
            "crm_account",
            "id:I name:S credit_code:S phone:S city:S street:S owner_email:S erp_customer_no:S is_deleted:B"
            " created_at:O updated_at:O",
        ),
        Table(
            "crm_contact",
            "id:I account_id:I full_name:S phone:S mobile:S email:S created_at:O updated_at:O",
        ),
        Table(
            "crm_opportunity",
            "id:I account_id:I title:S stage:S amount:Q currency:S probability:I expected_close_on:D created_at:O"
            " updated_at:O",
        ),
    )
}

PLANT_TABLES = """
create table plant_stock (plant text, material text, location text, quantity integer not null default 0,
    primary key (plant, material, location)) without rowid;
create table plant_material (material text primary key, kind text, unit text, plant text, location text,
    price integer) without rowid;
create table plant_order (order_no text primary key, material text, plant text, sales_order text, sales_item text,
    ordered integer, produced integer default 0, scrapped integer default 0, status text) without rowid;
create index plant_order_sales on plant_order (sales_order);
create table plant_consumption (event_id text primary key, order_no text, material text, plant text, location text,
    quantity integer, day integer) without rowid;
create index plant_consumption_order on plant_consumption (order_no);
create table plant_company (id integer primary key, name text, credit_code text, erp_customer text);
create table plant_account (account_id integer primary key, company_id integer) without rowid;
create table plant_dirty (system text, entity text, key text, field text, value text, rule text);
create table plant_idempotency (key text primary key, body text, work_order text) without rowid;
create table tombstone (seq integer primary key, entity text, keys text);
create index tombstone_entity on tombstone (entity, seq);
create table meta (name text primary key, value text) without rowid;
"""
LOG_TABLE = """
create table if not exists plant_write_log (number integer primary key, at_ms integer, system text, entity text,
    key text, operation text, who text, idempotency_key text, changed text)
"""
"""The systems' own change documents: every write from outside that had an effect, in the transaction of its effect."""

"""What the plant knows about itself, apart from its systems: the source of truth()."""


def schema_sql() -> str:
    """The statements that make an empty store."""
    parts = [PLANT_TABLES]
    for entity in ENTITY_SETS.values():
        columns = ", ".join(f.column for f in entity.fields.values())
        keys = ", ".join(f'"{k}"' for k in entity.keys)
        parts.append(
            f'create table "{entity.table}" ({columns}, _created integer, _seq integer, primary key ({keys}))'
            " without rowid;"
        )
        for name in (*entity.indexes, *(("_seq",) if entity.delta else ())):
            parts.append(f'create index "{entity.table}_{name}" on "{entity.table}" ("{name}");')
    parts.append('create index erp_component_order on "erp_A_ProductionOrderComponent_2" ("ManufacturingOrder");')
    parts.append('create index erp_document_reference on "erp_A_MaterialDocumentHeader" ("ReferenceDocument");')
    for table in COLLECTIONS.values():
        columns = ", ".join(c.declaration for c in table.columns.values())
        parts.append(f"create table {table.name} (_id integer primary key, {columns});")
        for name in (table.order, *table.indexes):
            parts.append(f'create index "{table.name}_{name}" on {table.name} ("{name}");')
    for table in CRM_TABLES.values():
        columns = ", ".join(c.declaration for c in table.columns.values())
        parts.append(f"create table {table.name} ({columns}, _seq integer, primary key (id));")
        parts.append(f"create index {table.name}_seq on {table.name} (_seq);")
    return "\n".join(parts)
