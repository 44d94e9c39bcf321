"""The CRM's people at work: accounts under many spellings, contacts, opportunities, deletions.

An account always leads back to its company by a rule: the same credit code, or a name that is the same once widths,
blanks and legal forms are normalised. A short name is only used where the credit code is there.
"""

from __future__ import annotations

from typing import Any

from datong_infra.sandbox import vocabulary as words
from datong_infra.sandbox.plant import Plant

STAGES = (("lead", 10), ("qualified", 25), ("proposal", 50), ("negotiation", 75), ("won", 100), ("lost", 0))
_AREAS = {city: area for city, area, *_ in words.CITIES}
_DAY_MS = 86_400_000


def add_company(plant: Plant, company: words.Company, erp_number: str, at_ms: int) -> None:
    """One or two accounts of a company, with contacts and opportunities."""
    _account(plant, company, erp_number, at_ms, may_be_short=bool(erp_number))
    if plant.rng.random() < 0.08:
        _account(plant, company, "", at_ms + _DAY_MS // 12, may_be_short=bool(erp_number))


def _account(plant: Plant, company: words.Company, erp_number: str, at_ms: int, *, may_be_short: bool) -> None:
    rng, store = plant.rng, plant.store
    account = store.count("account")
    short = may_be_short and rng.random() < 0.2
    code = company.credit_code if short or rng.random() < 0.5 else None
    if code and not short and rng.random() < 0.1:
        code = words.full_width(code)
    owner = f"{rng.choice(('li.na', 'wang.lei', 'zhao.min', 'sun.yue'))}@datong-pump.example"
    store.insert("plant_account", account, company.number)
    store.crm_put(
        "account",
        account,
        company.short_name if short else words.spelling(company.name, rng),
        code,
        words.phone(company.area, rng),
        company.city if rng.random() < 0.8 else f"{company.city}市",
        company.street if rng.random() < 0.7 else words.full_width(company.street),
        owner,
        erp_number if erp_number and rng.random() < 0.1 else None,
        0,
        at_ms,
        at_ms,
    )
    for _ in range(rng.randint(1, 3)):
        _contact(plant, account, company.area, at_ms)
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        _opportunity(plant, account, at_ms)


def _contact(plant: Plant, account: int, area: str, at_ms: int) -> None:
    contact = plant.store.count("contact")
    plant.store.crm_put(
        "contact",
        contact,
        account,
        words.person(plant.rng),
        words.phone(area, plant.rng),
        words.mobile(plant.rng),
        f"contact{contact}@customer{account}.example",
        at_ms,
        at_ms,
    )


def _opportunity(plant: Plant, account: int, at_ms: int) -> None:
    rng = plant.rng
    stage, probability = rng.choice(STAGES)
    pump = rng.choice(words.PUMPS)[1]
    close = (at_ms + rng.randint(20, 200) * _DAY_MS) // _DAY_MS * _DAY_MS
    amount = rng.randint(500, 90_000) * 10_000 + rng.randrange(100) * 10
    plant.store.crm_put(
        "opportunity",
        plant.store.count("opportunity"),
        account,
        f"{pump} DN{25 * rng.randint(1, 12)} {rng.randint(2, 80)}台",
        stage,
        amount,
        "CNY",
        probability,
        close,
        at_ms,
        at_ms,
    )


def daily(plant: Plant) -> None:
    """A day in the CRM: new prospects, moved stages, corrected telephones, deletions."""
    rng = plant.rng
    for _ in range(plant.often(0.7)):
        company = words.company(plant.store.count("company", 0), rng)
        plant.store.insert("plant_company", company.number, company.name, company.credit_code, None)
        add_company(plant, company, "", plant.between(9, 13))
    for _ in range(plant.often(8)):
        stage, probability = rng.choice(STAGES)
        _change(plant, "opportunity", {"stage": stage, "probability": probability})
    for _ in range(plant.often(3)):
        _change(plant, "contact", {"phone": words.phone(rng.choice(words.CITIES)[1], rng)})
    for _ in range(plant.often(2)):
        _change(plant, "account", {"phone": words.phone(rng.choice(words.CITIES)[1], rng)})
    for _ in range(plant.often(3)):
        account = rng.randint(1, plant.store.counters["account"])
        _opportunity(plant, account, plant.between(9, 18))
    for _ in range(plant.often(0.25)):
        _change(plant, "account", {"is_deleted": 1})
    for table, per_day in (("contact", 0.3), ("opportunity", 0.2)):
        for _ in range(plant.often(per_day)):
            key = rng.randint(1, plant.store.counters[table])
            if plant.store.db.execute(f"select 1 from crm_{table} where id = ?", (key,)).fetchone():
                plant.store.remove(table, (key,))


def _change(plant: Plant, table: str, values: dict[str, Any]) -> None:
    key = plant.rng.randint(1, plant.store.counters[table])
    plant.store.crm_change(table, key, {**values, "updated_at": plant.between(9, 18)})
