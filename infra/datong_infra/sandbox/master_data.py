"""Master data: materials with bills of material and opening stock, customers, suppliers."""

from __future__ import annotations

from random import Random
from typing import Any

from datong_infra.sandbox import crm_life
from datong_infra.sandbox import vocabulary as words
from datong_infra.sandbox.model import MILLI
from datong_infra.sandbox.plant import FINISHED, LOCATIONS, RAW, SEMI_FINISHED, Plant
from datong_infra.sandbox.posting import Movement, post

CUSTOMERS, SUPPLIERS, PROSPECTS = 250, 40, 120
FINISHED_GOODS, SEMI_FINISHED_GOODS, RAW_GOODS = 110, 80, 140
_DAY_MS = 86_400_000


def build(plant: Plant) -> None:
    """Fill an empty plant with everything that is there before its first day."""
    plant.rng = Random(f"{plant.seed}/master")
    _materials(plant)
    plant.load_materials()
    for _ in range(max(6, round(SUPPLIERS * plant.scale))):
        _partner(plant, _new_company(plant), "FLVN01", _long_ago(plant))
    for _ in range(max(12, round(CUSTOMERS * plant.scale))):
        add_customer(plant, _long_ago(plant))
    for _ in range(max(6, round(PROSPECTS * plant.scale))):
        crm_life.add_company(plant, _new_company(plant), "", _long_ago(plant))
    _opening_stock(plant)


def daily(plant: Plant) -> None:
    """New customers, blocked ones, changed addresses and products."""
    for _ in range(plant.often(0.5)):
        add_customer(plant, plant.between(8, 17))
    for _ in range(plant.often(2)):
        customer = plant.rng.choice(plant.customers)
        at_ms = plant.between(8, 17)
        what = plant.rng.randrange(8)
        if what == 0:
            _block(plant, customer, at_ms)
        else:
            area = plant.rng.choice(words.CITIES)[1]
            plant.store.change(
                "A_BusinessPartnerAddress", (customer, "1"), {"PhoneNumber": words.phone(area, plant.rng)}
            )
            plant.store.change("A_BusinessPartner", (customer,), _changed(at_ms))
    for _ in range(plant.often(0.6)):
        material = plant.rng.choice(sorted(plant.materials))
        values: dict[str, Any] = {"LastChangeDateTime": plant.between(8, 17)}
        if plant.rng.random() < 0.1 and plant.materials[material].kind == RAW:
            values["IsMarkedForDeletion"] = 1
        plant.store.change("A_Product", (material,), values)


def add_customer(plant: Plant, at_ms: int) -> None:
    """A new customer of the ERP; most of them are known to the CRM as well."""
    company = _new_company(plant)
    number = _partner(plant, company, "FLCU01", at_ms)
    plant.customers.append(number)
    plant.store.put("A_Customer", {"Customer": number, "CustomerName": company.name, "CustomerAccountGroup": "KUNA"})
    plant.store.db.execute("update plant_company set erp_customer = ? where id = ?", (number, company.number))
    if plant.rng.random() < 0.75:
        crm_life.add_company(plant, company, number, at_ms)


def _new_company(plant: Plant) -> words.Company:
    company = words.company(plant.store.count("company", 0), plant.rng)
    plant.store.insert("plant_company", company.number, company.name, company.credit_code, None)
    return company


def _long_ago(plant: Plant) -> int:
    return plant.time_ms(-plant.rng.randint(2, 900), 8) + plant.rng.randrange(36_000) * 1000


def _changed(at_ms: int) -> dict[str, Any]:
    local = at_ms + 8 * 3_600_000
    return {"LastChangeDate": local // _DAY_MS * _DAY_MS, "LastChangeTime": local % _DAY_MS // 1000}


def _partner(plant: Plant, company: words.Company, role: str, at_ms: int) -> str:
    first = 1_000_001 if role == "FLCU01" else 2_000_001
    number = str(plant.store.count(role, first))
    store = plant.store
    changed = _changed(at_ms)
    store.put(
        "A_BusinessPartner",
        {
            "BusinessPartner": number,
            "BusinessPartnerCategory": "2",
            "BusinessPartnerFullName": company.name,
            "OrganizationBPName1": company.name,
            "SearchTerm1": company.short_name[:20],
            "CreationDate": changed["LastChangeDate"],
            **changed,
        },
    )
    store.put(
        "A_BusinessPartnerAddress",
        {
            "BusinessPartner": number,
            "AddressID": "1",
            "Country": "CN",
            "CityName": company.city,
            "StreetName": company.street,
            "PostalCode": company.postal_code,
            "PhoneNumber": words.phone(company.area, plant.rng),
        },
    )
    store.put(
        "A_BusinessPartnerTaxNumber",
        {"BusinessPartner": number, "BPTaxType": "CN0", "BPTaxNumber": company.credit_code},
    )
    store.put("A_BusinessPartnerRole", {"BusinessPartner": number, "BusinessPartnerRole": role})
    return number


def _block(plant: Plant, customer: str, at_ms: int) -> None:
    plant.store.change("A_Customer", (customer,), {"OrderIsBlockedForCustomer": "01"})
    plant.store.change("A_BusinessPartner", (customer,), {"BusinessPartnerIsBlocked": 1, **_changed(at_ms)})


def _materials(plant: Plant) -> None:
    rng, scale = plant.rng, plant.scale
    by_plant: dict[tuple[str, str], list[str]] = {}
    prices: dict[str, int] = {}
    pieces: dict[str, str] = {}

    def add(kind: str, index: int, number: str, price: int, texts: tuple[str, str]) -> None:
        unit = pieces.setdefault(number, "ST")
        site = plant.plants[index % len(plant.plants)]
        weight = 0 if kind == RAW else rng.randint(800, 90_000)
        plant.store.put(
            "A_Product",
            {
                "Product": number,
                "ProductType": kind,
                "ProductGroup": {RAW: "RAW", SEMI_FINISHED: "PARTS", FINISHED: "PUMPVALVE"}[kind],
                "BaseUnit": unit,
                "GrossWeight": weight + weight // 10,
                "NetWeight": weight,
                "WeightUnit": "KG" if weight else "",
                "ProductStandardID": words.gtin(number) if kind == FINISHED else "",
                "CreationDate": plant.date_ms(-rng.randint(100, 2000)),
                "LastChangeDateTime": _long_ago(plant),
            },
        )
        for language, text in zip(("EN", "ZH"), texts, strict=True):
            plant.store.put(
                "A_ProductDescription", {"Product": number, "Language": language, "ProductDescription": text}
            )
        plant.store.put(
            "A_ProductValuation",
            {
                "Product": number,
                "ValuationArea": site,
                "StandardPrice": price,
                "PriceUnitQty": MILLI,
                "Currency": "CNY",
            },
        )
        plant.store.insert("plant_material", number, kind, unit, site, LOCATIONS[kind], price)
        by_plant.setdefault((site, kind), []).append(number)
        prices[number] = price

    for index in range(max(11, round(RAW_GOODS * scale))):
        english, chinese, unit, price = words.RAW_MATERIALS[index % len(words.RAW_MATERIALS)]
        grade = index // len(words.RAW_MATERIALS) + 1
        number = f"{30_000_001 + index:018d}"
        pieces[number] = unit
        add(
            RAW,
            index // len(words.RAW_MATERIALS),
            number,
            price * rng.randint(80, 125) // 1000 * 10,
            (f"{english} grade {grade}", f"{chinese} {grade}级"),
        )

    def make(kind: str, index: int, number: str, texts: tuple[str, str]) -> None:
        parts, margin = ({RAW: 3}, 130) if kind == SEMI_FINISHED else ({SEMI_FINISHED: 3, RAW: 3}, 150)
        site = plant.plants[index % len(plant.plants)]
        components: list[tuple[str, int]] = []
        for part_kind, count in parts.items():
            for child in rng.sample(by_plant[site, part_kind], count):
                whole = part_kind == SEMI_FINISHED or pieces[child] == "ST"
                most = 2 if part_kind == SEMI_FINISHED else 8
                components.append((child, rng.randint(1, most) * MILLI if whole else rng.randint(50, 6_000)))
        cost = sum(prices[child] * quantity // MILLI for child, quantity in components)
        add(kind, index, number, cost * margin // 1000 * 10, texts)
        header = {
            "BillOfMaterial": f"{plant.store.count('bill_of_material'):08d}",
            "BillOfMaterialVariant": "01",
            "Material": number,
            "Plant": site,
        }
        plant.store.put(
            "MaterialBOM",
            {
                **header,
                "BillOfMaterialCategory": "M",
                "BOMHeaderQuantityInBaseUnit": MILLI,
                "BOMHeaderBaseUnit": "ST",
            },
        )
        for node, (child, quantity) in enumerate(components, 1):
            plant.store.put(
                "MaterialBOMItem",
                {
                    **header,
                    "BillOfMaterialItemNodeNumber": f"{node:08d}",
                    "BillOfMaterialComponent": child,
                    "BillOfMaterialItemQuantity": quantity,
                    "BillOfMaterialItemUnit": pieces[child],
                },
            )

    for index in range(max(6, round(SEMI_FINISHED_GOODS * scale))):
        english, chinese = words.PARTS[index % len(words.PARTS)]
        size = 25 * (1 + index // len(words.PARTS))
        make(SEMI_FINISHED, index, f"SF-{2001 + index}", (f"{english} DN{size}", f"{chinese} DN{size}"))
    for index in range(max(6, round(FINISHED_GOODS * scale))):
        english, chinese = words.PUMPS[index % len(words.PUMPS)]
        size = 25 * (1 + index // len(words.PUMPS))
        make(FINISHED, index, f"FG-{1001 + index}", (f"{english} DN{size} PN16", f"{chinese} DN{size} PN16"))


def _opening_stock(plant: Plant) -> None:
    movements: list[Movement] = []
    days = {RAW: 25, SEMI_FINISHED: 15, FINISHED: 12}
    for material in plant.materials.values():
        if not material.to_stock:
            continue
        quantity = max(material.daily_use * days[material.kind], 20 * MILLI) // MILLI * MILLI
        movements.append(Movement("561", material.number, material.plant, material.location, quantity, material.unit))
        plant.move(material.number, quantity)
    for first in range(0, len(movements), 40):
        post(
            plant.store,
            movements[first : first + 40],
            at_ms=plant.time_ms(0, 7),
            user="ZHANGW",
            code="05",
            text="Initial stock",
        )
