"""A small pump maker in Tryton, driven through Tryton's own business rules.

Runs in Tryton's own virtual environment, never in Datong's. Three commands, each for the database that
TRYTOND_DATABASE_URI names:

    python plant.py init      make an empty Tryton database with the modules of the plant (the slow part; worth a dump)
    python plant.py operate   the company, its partners, products and bills of material, and its first weeks of business
    python plant.py advance   one more day: a new sale, a production done, a shipment sent, an address and a name mended

`operate` and `advance` end by printing, as JSON, what Tryton itself reports: see `report`. Every date, quantity and
name is fixed, so with PYTHONHASHSEED=0 two runs differ in nothing but the times at which the rows were written.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import secrets
import sys
import tempfile
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

MODULES = ["account_invoice", "company", "party", "product", "production", "purchase", "sale", "stock"]
FIRST_DAY = dt.date(2026, 3, 2)


def day(number: int) -> dt.date:
    return FIRST_DAY + dt.timedelta(days=number)


@dataclass(frozen=True)
class Order:
    """An order, and how far it goes: draft, quotation, cancelled, processing (part `shipped`), shipped or paid."""

    day: int
    customer: str
    lines: list[tuple[str, float, str]]
    """Product, quantity, price."""
    until: str
    currency: str = "CNY"
    shipped: dict[str, float] = field(default_factory=dict)


def init() -> None:
    """Make the database's tables and Tryton's own records."""
    from trytond import admin, config

    config.update_etc(None)
    from trytond.model.modelstorage import ModelStorage

    # the records that the modules bring were validated by those who released them; checking each again takes as long
    # as everything else together (75 s against 40). What the plant does is validated in full.
    ModelStorage._validate = classmethod(lambda *_arguments, **_options: None)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(secrets.token_urlsafe())  # nobody logs in: proteus opens the database itself
        file.flush()
        os.environ["TRYTONPASSFILE"] = file.name
        admin.run(
            argparse.Namespace(
                database_names=[urlsplit(os.environ["TRYTOND_DATABASE_URI"]).path.strip("/")],
                update=MODULES,
                activatedeps=True,
                indexes=True,
                languages=[],
                update_modules_list=False,
                login="admin",
                email="",
                active=True,
                administrator=None,
                password=False,
                reset_password=False,
                hostname=None,
                export_translations=False,
                test_email=None,
                validate=None,
                validate_percentage=None,
            )
        )


class Plant:
    """Tryton seen through proteus, its client library."""

    def __init__(self) -> None:
        from proteus import Model, Wizard, config

        self.config = config.set_trytond()
        # Tryton warns of dates that lie in the past; a person would say yes
        self.config.skip_warning = True
        self._wizard = Wizard
        self._get = Model.get

    def model(self, name: str) -> Any:
        return self._get(name, config=self.config)

    def one(self, model: str, *domain: Any) -> Any:
        (record,) = self.model(model).find(list(domain))
        return record

    def party(self, name: str) -> Any:
        return self.one("party.party", ("name", "=", name))

    def product(self, code: str) -> Any:
        return self.one("product.product", ("code", "=", code))

    def unit(self, symbol: str) -> Any:
        return self.one("product.uom", ("symbol", "=", symbol))

    def location(self, code: str) -> Any:
        return self.one("stock.location", ("code", "=", code))

    # what the company is

    def found(self) -> None:
        """Company, chart of accounts, fiscal year, currencies, payment term."""
        currency_of, rate_of = self.model("currency.currency"), self.model("currency.currency.rate")
        for code, name, symbol, rate in [("CNY", "人民币", "¥", "1"), ("USD", "US Dollar", "$", "0.14")]:
            currency = currency_of(name=name, symbol=symbol, code=code, digits=2, rounding=Decimal("0.01"))
            currency.save()
            rate_of(date=dt.date(2026, 1, 1), rate=Decimal(rate), currency=currency).save()
        country = self.model("country.country")(name="China", code="CN", code3="CHN", code_numeric="156")
        country.save()
        owner = self.model("party.party")(name="苏州澄湖泵业有限公司")
        owner.save()
        wizard = self._wizard("company.company.config", config=self.config)
        wizard.execute("company")
        wizard.form.party = owner
        wizard.form.currency = self.one("currency.currency", ("code", "=", "CNY"))
        wizard.execute("add")
        self.config._context = self.model("res.user").get_preferences(True, {})
        company = self.one("company.company")

        data = self.model("ir.model.data")
        template = self.model("account.account.template")(
            data.get_id("account.account_template_root_en", self.config.context)
        )
        chart = self._wizard("account.create_chart", config=self.config)
        chart.execute("account")
        chart.form.account_template = template
        chart.form.company = company
        chart.execute("create_account")
        account = self.model("account.account")
        for kind in ("receivable", "payable"):
            (ledger,) = account.find([(f"type.{kind}", "=", True), ("party_required", "=", True)], limit=1)
            setattr(chart.form, f"account_{kind}", ledger)
        chart.execute("create_properties")

        year = self.model("account.fiscalyear")(
            name="2026", start_date=dt.date(2026, 1, 1), end_date=dt.date(2026, 12, 31), company=company
        )
        kinds, strict = self.model("ir.sequence.type"), self.model("ir.sequence.strict")
        for name in ("Account Move", "Invoice"):
            (kind,) = kinds.find([("name", "=", name)], limit=1)
            sequence = strict(name=f"{name} 2026", sequence_type=kind, company=company)
            sequence.save()
            if name == "Account Move":
                year.move_sequence = sequence
                continue
            (numbering,) = year.invoice_sequences
            for document in ("out_invoice", "in_invoice", "out_credit_note", "in_credit_note"):
                setattr(numbering, f"{document}_sequence", sequence)
        year.click("create_period")
        term = self.model("account.invoice.payment_term")(name="月结30天")
        term.lines.new(type="remainder")
        term.save()
        cash = self.one("account.account", ("code", "=", "1.1.1"), ("company", "=", company.id))
        method = self.model("account.invoice.payment.method")(name="现金")
        method.journal = self.one("account.journal", ("type", "=", "cash"))
        method.credit_account = method.debit_account = cash
        method.save()

    def know_partners(self) -> None:
        """Customers and suppliers: Tryton does not tell them apart, what they do does."""
        country = self.one("country.country", ("code", "=", "CN"))
        for name, credit_code, city, street, phone, email in PARTNERS:
            party = self.model("party.party")(name=name)
            (address,) = party.addresses
            address.street_unstructured, address.city, address.country = street, city, country
            if credit_code:
                party.identifiers.new(type="cn_vat", code=credit_code)
            for kind, value in (("phone", phone), ("email", email)):
                if value:
                    party.contact_mechanisms.new(type=kind, value=value)
            party.save()

    def design(self) -> None:
        """Products, their bills of material, and the shelves of the warehouse."""
        account = self.model("account.account")
        (expense,) = account.find([("type.expense", "=", True), ("closed", "!=", True)], limit=1)
        (revenue,) = account.find([("type.revenue", "=", True), ("closed", "!=", True)], limit=1)
        category = self.model("product.category")(name="泵与配件", accounting=True)
        category.account_expense, category.account_revenue = expense, revenue
        category.save()
        for code, name, symbol, kind, price, cost in PRODUCTS:
            template = self.model("product.template")(name=name, code=code, type="goods")
            template.default_uom = self.unit(symbol)
            template.account_category = category
            template.list_price = Decimal(price)
            template.salable = kind in {"made", "traded"}
            template.producible = kind == "made"
            template.purchasable = kind != "made"
            (product,) = template.products
            product.cost_price = Decimal(cost)
            template.save()
        for code, inputs in BILLS.items():
            product = self.product(code)
            bom = self.model("production.bom")(name=f"BOM {code}")
            for component, quantity, symbol in inputs:
                line = bom.inputs.new()
                line.product, line.quantity, line.unit = self.product(component), quantity, self.unit(symbol)
            output = bom.outputs.new()
            output.product, output.quantity = product, 1
            bom.save()
            product.boms.append(self.model("product.product-production.bom")(bom=bom))
            product.save()
        warehouse = self.one("stock.location", ("type", "=", "warehouse"))
        warehouse.name = "苏州工厂"
        warehouse.save()
        for code, name in [("A01", "A区货架"), ("B01", "B区货架")]:
            self.model("stock.location")(name=name, code=code, type="storage", parent=self.location("STO")).save()

    # what the company does

    def count_stock(self, on: dt.date, shelf: str, counted: dict[str, float]) -> None:
        inventory = self.model("stock.inventory")(location=self.location(shelf), date=on)
        for code, quantity in counted.items():
            line = inventory.lines.new(product=self.product(code))
            line.quantity = quantity
        inventory.click("confirm")

    def purchase(
        self, on: dt.date, supplier: str, lines: list[tuple[str, float, str, str]], received: dt.date | None
    ) -> None:
        purchase = self.model("purchase.purchase")(party=self.party(supplier), purchase_date=on)
        purchase.currency = self.one("currency.currency", ("code", "=", "CNY"))
        for code, quantity, symbol, price in lines:
            line = purchase.lines.new()
            line.product, line.unit, line.quantity, line.unit_price = (
                self.product(code), self.unit(symbol), quantity, Decimal(price),
            )  # fmt: skip
        purchase.click("quote")
        self.confirm(purchase)
        if received is None:
            return
        shipment = self.model("stock.shipment.in")(supplier=purchase.party, effective_date=received)
        for move in purchase.moves:
            shipment.incoming_moves.append(self.model("stock.move")(move.id))
        shipment.save()
        shipment.click("receive")
        shipment.click("do")

    def confirm(self, order: Any) -> None:
        """Confirm a sale or purchase and let it be processed: shipments, moves and invoices come to be."""
        order.click("confirm")
        order.reload()
        if order.state == "confirmed":
            order.click("process")
        order.reload()

    def transfer(self, on: dt.date, source: str, target: str, goods: dict[str, float]) -> None:
        shipment = self.model("stock.shipment.internal")(planned_date=on, effective_date=on)
        shipment.from_location, shipment.to_location = self.location(source), self.location(target)
        for code, quantity in goods.items():
            move = shipment.moves.new()
            move.product = self.product(code)
            move.unit = move.product.default_uom
            move.quantity = quantity
            move.from_location, move.to_location = shipment.from_location, shipment.to_location
        shipment.click("wait")
        shipment.click("assign_force")
        shipment.click("do")

    def produce(self, on: dt.date, code: str, quantity: float, until: str) -> None:
        production = self.model("production")(planned_date=on, reference=f"{code} {on:%m%d}")
        production.product = self.product(code)
        (link,) = production.product.boms
        production.bom = link.bom
        production.quantity = quantity
        production.save()
        self.continue_production(production, on, until)

    def continue_production(self, production: Any, on: dt.date, until: str) -> None:
        """Take a production further: draft, waiting, assigned, running, done; or cancelled."""
        if until == "cancelled":
            production.click("wait")
            production.click("cancel")
            return
        steps = {"waiting": "wait", "assigned": "assign_try", "running": "run", "done": "do"}
        states = ["draft", *steps]
        for state in states[states.index(production.state) + 1 : states.index(until) + 1]:
            if state == "running":
                production.effective_start_date = on
            if state == "done":
                production.effective_date = on + dt.timedelta(days=1)
            production.click(steps[state])
            if production.state != state:
                raise RuntimeError(f"{production.number} is {production.state}, not {state}")

    def sell(self, order: Order) -> None:
        on, until = day(order.day), order.until
        sale = self.model("sale.sale")(party=self.party(order.customer), sale_date=on)
        sale.currency = self.one("currency.currency", ("code", "=", order.currency))
        sale.payment_term = self.one("account.invoice.payment_term", ("name", "=", "月结30天"))
        sale.reference = f"PO-{on:%Y%m%d}"
        sale.invoice_method = "order" if until == "paid" else "manual"
        sale.shipping_date = on + dt.timedelta(days=14)
        for code, quantity, price in order.lines:
            line = sale.lines.new()
            line.product, line.quantity, line.unit_price = self.product(code), quantity, Decimal(price)
        sale.lines.new(type="comment").description = "请附合格证"
        sale.save()
        if until == "draft":
            return
        sale.click("quote")
        if until == "quotation":
            return
        if until == "cancelled":
            sale.click("cancel")
            return
        self.confirm(sale)
        if until in {"shipped", "paid"}:
            self.ship(sale, on + dt.timedelta(days=3), None)
            if until == "paid":
                self.collect(sale, on + dt.timedelta(days=5))
        elif order.shipped:
            self.ship(sale, on + dt.timedelta(days=3), order.shipped)

    def ship(self, sale: Any, on: dt.date, part: dict[str, float] | None) -> None:
        """Send the open shipment of a sale, whole or only a part; Tryton makes a new one of the rest."""
        sale.reload()
        (shipment,) = [found for found in sale.shipments if found.state in {"waiting", "draft"}]
        if part is not None:
            for move in shipment.inventory_moves:
                move.quantity = part.get(move.product.code, 0)
        shipment.effective_date = on
        shipment.click("assign_force")
        shipment.click("pick")
        shipment.click("pack")
        shipment.click("do")

    def collect(self, sale: Any, on: dt.date) -> None:
        """Post the invoice of a sale and take its payment: only then Tryton calls the sale done."""
        sale.reload()
        (invoice,) = sale.invoices
        invoice.invoice_date = on
        invoice.click("post")
        payment = invoice.click("pay")
        payment.form.payment_method = self.one("account.invoice.payment.method")
        payment.form.date = on
        payment.execute("choice")
        # what the queue's worker would do next
        sale.reload()
        if sale.state == "processing":
            sale.click("process")

    # what Tryton says about it

    def report(self) -> dict[str, Any]:
        """What Tryton reports, by its own functions: no line of this comes from reading tables."""
        product_of, location_of = self.model("product.product"), self.model("stock.location")
        stock = []
        for location in location_of.find([("type", "in", ["storage", "production", "customer", "supplier"])]):
            with self.config.set_context(locations=[location.id], with_childs=False):
                stock += [
                    {
                        "location": location.code, "type": location.type,
                        "product": product.code, "quantity": product.quantity, "unit": product.default_uom.symbol,
                    }
                    for product in product_of.find([], order=[("id", "ASC")])
                    if product.quantity
                ]  # fmt: skip
        return {
            "parties": [
                {
                    "id": party.id, "code": party.code, "name": party.name, "active": party.active,
                    "identifiers": [{"type": i.type, "code": i.code} for i in party.identifiers],
                    "cities": [address.city for address in party.addresses],
                    "phone": party.phone or None, "email": party.email or None,
                    "sales": len(self.model("sale.sale").find([("party", "=", party.id)])),
                    "purchases": len(self.model("purchase.purchase").find([("party", "=", party.id)])),
                }
                for party in self.model("party.party").find([], order=[("id", "ASC")])
            ],
            "products": [
                {
                    "code": product.code, "name": product.name, "unit": product.default_uom.symbol,
                    "cost_price": product.cost_price, "producible": product.template.producible,
                }
                for product in product_of.find([], order=[("id", "ASC")])
            ],
            "sales": [
                {
                    "id": sale.id, "number": sale.number, "state": sale.state, "party": sale.party.name,
                    "sale_date": sale.sale_date, "shipment_state": sale.shipment_state,
                    "untaxed_amount": sale.untaxed_amount, "currency": sale.currency.code,
                    "lines": [
                        {
                            "id": line.id, "product": line.product.code, "quantity": line.quantity,
                            "unit": line.unit.symbol, "amount": line.amount,
                            "shipped": self.shipped(line),
                        }
                        for line in sale.lines
                        if line.type == "line"
                    ],
                }
                for sale in self.model("sale.sale").find([], order=[("id", "ASC")])
            ],
            "productions": [
                {
                    "id": production.id, "number": production.number, "state": production.state,
                    "product": production.product.code, "quantity": production.quantity,
                    "unit": production.unit.symbol,
                    "inputs": [self.move(move) for move in production.inputs],
                    "outputs": [self.move(move) for move in production.outputs],
                }
                for production in self.model("production").find([], order=[("id", "ASC")])
            ],
            "moves": [self.move(move) for move in self.model("stock.move").find([], order=[("id", "ASC")])],
            "stock": stock,
        }  # fmt: skip

    def shipped(self, line: Any) -> float:
        """What of a sale line reached the customer, in the line's unit."""
        done = [move for move in line.moves if move.state == "done"]
        if any(move.unit != line.unit for move in done):
            raise RuntimeError(f"sale line {line.id} was shipped in another unit than it was sold in")
        return sum(move.quantity for move in done)

    def move(self, move: Any) -> dict[str, Any]:
        return {
            "id": move.id, "product": move.product.code, "quantity": move.quantity, "unit": move.unit.symbol,
            "internal_quantity": move.internal_quantity, "state": move.state, "effective_date": move.effective_date,
            "from": move.from_location.code, "from_type": move.from_location.type,
            "to": move.to_location.code, "to_type": move.to_location.type,
        }  # fmt: skip


PUJIANG = "上海浦江水务有限公司"
QIANTANG = "杭州钱塘化工股份有限公司"
ZIJIN = "南京紫金热电有限责任公司"
TAIHU = "无锡太湖泵阀销售有限公司"
NINGBO = "Ｎｉｎｇｂｏ　Ｈａｒｂｏｕｒ　Ｅｎｇｉｎｅｅｒｉｎｇ　Ｃｏ．，　Ｌｔｄ．"
CHAOHU = "合肥巢湖供水集团"
FOUNDRY = "常州铸造厂"
STEEL = "张家港不锈钢有限公司"
MOTORS = "昆山电机有限公司"
SEALS = "扬州密封件厂"

# name, unified social credit code, city, street, phone, e-mail
PARTNERS = [
    (PUJIANG, "91310115MA1K35KX08", "上海", "浦东大道1200号", "+862158760001", "caigou@pujiang.example"),
    (QIANTANG, "913301007123456784", "杭州", "文一西路998号", "+8657188120002", ""),
    (ZIJIN, "", "南京", "中山东路301号", "+862584450003", "zj@zijin.example"),
    (TAIHU, "", "无锡", "太湖大道66号", "", "sales@taihu.example"),
    (NINGBO, "", "宁波", "北仑港路8号", "+8657427690005", ""),
    (CHAOHU, "", "合肥", "长江中路15号", "+8655162110006", ""),
    (FOUNDRY, "", "常州", "新冶路3号", "+8651985550007", ""),
    (STEEL, "", "张家港", "金港大道100号", "+8651258330008", "order@zjgss.example"),
    (MOTORS, "", "昆山", "前进西路520号", "+8651257330009", ""),
    (SEALS, "", "扬州", "江阳中路77号", "", ""),
]

# code, name, unit, made / bought / traded, list price, cost price
PRODUCTS = [
    ("P-100", "单级离心泵 P100", "u", "made", "4800", "2600"),
    ("P-200", "多级离心泵 P200", "u", "made", "12500", "7100"),
    ("V-050", "闸阀 DN50", "u", "made", "680", "310"),
    ("C-CAST", "灰铸铁件", "kg", "bought", "0", "6.5"),
    ("C-BAR", "不锈钢轴 Φ25", "m", "bought", "0", "180"),
    ("C-MOTOR", "三相电机 5.5kW", "u", "bought", "0", "950"),
    ("C-SEAL", "机械密封", "u", "bought", "0", "85"),
    ("C-BOLT", "螺栓 M12", "u", "bought", "0", "1.2"),
    ("C-OIL", "润滑油", "l", "traded", "45", "28"),
]

# product: components with quantity and unit; some in another unit than the component is kept in
BILLS: dict[str, list[tuple[str, float, str]]] = {
    "P-100": [("C-CAST", 32.5, "kg"), ("C-BAR", 45, "cm"), ("C-MOTOR", 1, "u"), ("C-SEAL", 1, "u"), ("C-BOLT", 8, "u")],
    "P-200": [
        ("C-CAST", 78, "kg"),
        ("C-BAR", 120, "cm"),
        ("C-MOTOR", 1, "u"),
        ("C-SEAL", 2, "u"),
        ("C-OIL", 0.75, "l"),
    ],
    "V-050": [("C-CAST", 9500, "g"), ("C-SEAL", 1, "u"), ("C-BOLT", 4, "u")],
}


def operate(plant: Plant) -> None:
    plant.found()
    plant.know_partners()
    plant.design()
    plant.count_stock(
        day(0), "STO", {"C-CAST": 900, "C-BAR": 40, "C-MOTOR": 12, "C-SEAL": 60, "C-BOLT": 500, "C-OIL": 80}
    )
    plant.count_stock(day(0), "A01", {"P-100": 3, "V-050": 20})

    plant.purchase(day(1), FOUNDRY, [("C-CAST", 2400, "kg", "6.4")], day(4))
    plant.purchase(day(1), MOTORS, [("C-MOTOR", 25, "u", "940")], day(6))
    plant.purchase(day(2), STEEL, [("C-BAR", 60, "m", "176.5")], day(5))
    plant.purchase(day(3), SEALS, [("C-SEAL", 120, "u", "83"), ("C-BOLT", 1000, "u", "1.15")], day(8))
    plant.purchase(day(20), MOTORS, [("C-MOTOR", 10, "u", "945")], None)

    for on, code, quantity, until in [
        (7, "P-100", 6, "done"), (8, "V-050", 40, "done"), (9, "P-200", 4, "done"), (11, "P-100", 8, "done"),
        (14, "V-050", 25, "done"), (16, "P-200", 3, "running"), (17, "P-100", 5, "running"),
        (18, "V-050", 30, "assigned"), (20, "P-100", 4, "waiting"), (21, "P-200", 2, "draft"),
        (22, "V-050", 10, "cancelled"),
    ]:  # fmt: skip
        plant.produce(day(on), code, quantity, until)

    plant.transfer(day(12), "STO", "A01", {"P-100": 5, "V-050": 30})
    plant.transfer(day(13), "STO", "B01", {"C-OIL": 20, "C-BOLT": 150})

    for order in ORDERS:
        plant.sell(order)
    # a count finds a bolt too many and two litres of oil missing
    plant.count_stock(day(25), "B01", {"C-BOLT": 151, "C-OIL": 18})


ORDERS = [
    Order(5, PUJIANG, [("P-100", 2, "4800"), ("V-050", 12, "680")], "shipped"),
    Order(6, QIANTANG, [("P-200", 3, "12350.50")], "shipped"),
    Order(8, TAIHU, [("V-050", 30, "645.333")], "processing", shipped={"V-050": 18}),
    Order(
        9,
        ZIJIN,
        [("P-100", 4, "4750"), ("P-200", 1, "12500"), ("C-OIL", 7.5, "45")],
        "processing",
        shipped={"P-100": 4, "C-OIL": 2.5},
    ),
    Order(10, NINGBO, [("P-200", 2, "1790")], "processing", "USD"),
    Order(12, CHAOHU, [("V-050", 8, "680")], "paid"),
    Order(13, PUJIANG, [("P-100", 5, "4700")], "processing"),
    Order(15, TAIHU, [("V-050", 50, "640")], "quotation"),
    Order(16, QIANTANG, [("P-100", 1, "4800"), ("C-OIL", 20, "44.9")], "draft"),
    Order(17, ZIJIN, [("P-200", 2, "12500")], "cancelled"),
    Order(18, CHAOHU, [("P-100", 2, "4800"), ("P-100", 1, "4500")], "shipped"),
    Order(19, NINGBO, [("V-050", 6, "98.5"), ("P-100", 3, "690")], "processing", "USD", {"V-050": 6}),
]


def advance(plant: Plant) -> None:
    plant.sell(Order(28, CHAOHU, [("V-050", 5, "675"), ("C-OIL", 10, "45")], "processing", shipped={"C-OIL": 10}))
    running = plant.one("production", ("state", "=", "running"), ("product.code", "=", "P-100"))
    plant.continue_production(running, day(28), "done")
    sale = plant.one("sale.sale", ("party.name", "=", PUJIANG), ("sale_date", "=", day(13)))
    plant.ship(sale, day(29), {"P-100": 3})
    quotation = plant.one("sale.sale", ("state", "=", "quotation"))
    quotation.click("cancel")
    party = plant.party(ZIJIN)
    party.name = "南京紫金能源有限责任公司"
    party.addresses[0].city = "镇江"
    party.save()
    dropped = plant.one("sale.sale", ("state", "=", "draft"))
    dropped.click("cancel")
    dropped.delete()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["init", "operate", "advance", "report"])
    command = parser.parse_args().command
    if command == "init":
        init()
        return
    plant = Plant()
    if command != "report":
        {"operate": operate, "advance": advance}[command](plant)
    json.dump(plant.report(), sys.stdout, ensure_ascii=False, default=str)


if __name__ == "__main__":
    main()
