"""What the plant has in mind between two days: materials, open orders, stock, purchases, and the day's dice.

Rows of the systems lie in the store; this holds what the days need, and is saved with them in the same transaction.
Quantities and prices are whole thousandths. Days count from the first day of the history, 0.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

from datong_infra.sandbox.model import MILLI
from datong_infra.sandbox.store import PLANT_ZONE, Store

HISTORY_DAYS = 90
GO_LIVE_DAY = HISTORY_DAYS - 7
"""From this day on no interface works between the ERP and the MES."""
CLOSING_HOUR = 20
"""The hour, local time, at which a simulated day ends."""

RAW, SEMI_FINISHED, FINISHED = "ROH", "HALB", "FERT"
LOCATIONS = {RAW: "0001", SEMI_FINISHED: "0002", FINISHED: "0003"}
MES_UNITS = {"ST": "pcs", "KG": "kg", "M": "m", "L": "L"}

RELEASED, RUNNING, DONE, CLOSED = "已下达", "生产中", "已完成", "已关闭"
"""The states of a work order, in the MES's own words."""


@dataclass
class Material:
    """A material and how it is made."""

    number: str
    kind: str
    unit: str
    plant: str
    location: str
    price: int
    components: list[tuple[str, int]] = field(default_factory=list)
    """Components and their quantity per piece."""
    operations: list[tuple[str, str, str]] = field(default_factory=list)
    """Operation number, text and work center."""
    daily_use: int = 0
    """Expected use on a working day."""

    @property
    def to_stock(self) -> bool:
        """Made (or bought) ahead, without a sales order."""
        return self.kind != FINISHED or int(self.number[-1]) % 5 == 0

    @property
    def part_number(self) -> str:
        """The number as the MES knows it."""
        return self.number.lstrip("0")


@dataclass
class Component:
    """A component of a production order."""

    item: str
    material: str
    per_unit: int
    step: int
    """The operation, counted from 0, at which it is consumed."""


@dataclass
class Order:
    """A production order that is not closed yet."""

    number: str
    material: str
    quantity: int
    sales_order: str
    sales_item: str
    release_day: int
    start_day: int
    end_day: int
    reservation: str
    components: list[Component]
    released: bool = False
    start_is_known: bool = False
    """The ERP was told that production began."""
    status: str = "created"
    step: int = 0
    good: int = 0
    scrap: int = 0
    received: int = 0
    receive_day: int = -1
    complete_day: int = -1

    @property
    def short_number(self) -> str:
        """The number as the MES knows it."""
        return self.number.lstrip("0")


@dataclass
class Item:
    """An item of an open sales order."""

    number: str
    material: str
    quantity: int
    order: str = ""
    """The production order that makes it."""
    received: bool = False
    delivered: bool = False


@dataclass
class SalesOrder:
    """A sales order that is not delivered in full yet."""

    number: str
    customer: str
    requested_day: int
    plan_day: int
    items: list[Item]
    planned: bool = False
    mistake: bool = False
    """Typed by mistake, to be deleted."""


@dataclass
class WorkOrder:
    """An open work order, as it stands in the MES."""

    number: str
    quantity: int
    start_day: int
    status: str


@dataclass
class Consumption:
    """A consumption that the shop floor recorded today."""

    event_id: str
    order: Order
    component: Component
    quantity: int
    recorded_ms: int


class Plant:
    """One plant: load it from its store, advance it, save it."""

    def __init__(self, store: Store, scale: float, seed: int, start: date) -> None:
        self.store = store
        self.scale = scale
        self.seed = seed
        self.start = start
        self.day = -1
        self.rng = Random(0)
        self.plants = [str(1010 + 10 * n) for n in range(2 if scale >= 5 else 1)]
        self.materials: dict[str, Material] = {}
        self.orders: dict[str, Order] = {}
        self.sales: dict[str, SalesOrder] = {}
        self.purchases: list[tuple[int, str, int, str]] = []
        """Arrival day, material, quantity, purchase order."""
        self.resend: list[list[Any]] = []
        """MES rows that a scanner sends again tomorrow: table and values."""
        self.customers: list[str] = []
        self.stock: dict[str, int] = {}
        """Physical stock; the store has it from save() on."""
        self._moved: set[str] = set()
        self._midnight_ms = 0
        self.reserved: defaultdict[str, int] = defaultdict(int)
        self.expected: defaultdict[str, int] = defaultdict(int)
        self.work_orders: dict[str, WorkOrder] = {}
        self.consumed_today: list[Consumption] = []

    # ---- the calendar

    def begin_day(self, seed: int) -> None:
        """Go on to the next day, with its own dice."""
        self.day += 1
        self.rng = Random(f"{seed}/{self.day}")
        self.consumed_today = []
        self._midnight_ms = self.time_ms(self.day, 0)

    @property
    def work(self) -> float:
        """How much of a working day today is: Saturdays half, Sundays nothing."""
        return (1, 1, 1, 1, 1, 0.5, 0)[self.date(self.day).weekday()]

    def date(self, day: int) -> date:
        """The calendar date of a day."""
        return self.start + timedelta(days=day)

    def date_ms(self, day: int) -> int:
        """The date as Edm.DateTime has it: midnight UTC of the calendar date."""
        d = self.date(day)
        return int(datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp() * 1000)

    def time_ms(self, day: int, hour: float) -> int:
        """A local time of a day, in milliseconds UTC."""
        d = self.date(day)
        return int(datetime(d.year, d.month, d.day, tzinfo=PLANT_ZONE).timestamp() + hour * 3600) * 1000

    def between(self, hour: float, until: float) -> int:
        """A random time of today between two hours, in milliseconds UTC, whole seconds."""
        first = int(hour * 3600)
        return self._midnight_ms + (first + int(self.rng.random() * max(1, until * 3600 - first))) * 1000

    def often(self, per_day: float) -> int:
        """How many times something happens today that happens `per_day` times on a working day, at this scale."""
        mean = per_day * self.scale * self.work
        return int(mean) + (self.rng.random() < mean - int(mean))

    # ---- materials and stock

    def base_unit(self, material: str) -> str:
        """The material's unit in the ERP's words."""
        return self.materials[material].unit

    def move(self, material: str, quantity: int) -> None:
        """Change the physical stock of a material."""
        self.stock[material] = self.stock.get(material, 0) + quantity
        self._moved.add(material)

    def required(self, order: Order, component: Component) -> int:
        """What a whole order needs of a component."""
        return component.per_unit * order.quantity // MILLI

    # ---- memory

    def save(self) -> None:
        """Keep what the days need, in the transaction that is open."""
        state = {
            "day": self.day,
            "orders": [asdict(o) for o in self.orders.values()],
            "sales": [asdict(s) for s in self.sales.values()],
            "purchases": self.purchases,
            "resend": self.resend,
        }
        self.store.set_meta("plant", json.dumps(state, ensure_ascii=False))
        for number in sorted(self._moved):
            place = self.materials[number]
            self.store.db.execute(
                "insert or replace into plant_stock values (?, ?, ?, ?)",
                (place.plant, number, place.location, self.stock[number]),
            )
        self._moved.clear()
        self.store.clock_ms = max(self.store.clock_ms, self.time_ms(self.day, CLOSING_HOUR))

    def load(self) -> None:
        """Take up again what save() kept, and what the systems were told meanwhile."""
        state = json.loads(self.store.meta("plant") or "{}")
        self.day = state.get("day", -1)
        self.orders = {o["number"]: _order(o) for o in state.get("orders", [])}
        self.sales = {s["number"]: _sales_order(s) for s in state.get("sales", [])}
        self.purchases = [tuple(p) for p in state.get("purchases", [])]
        self.resend = state.get("resend", [])
        self.load_materials()
        db = self.store.db
        self.customers = [c for (c,) in db.execute('select "Customer" from "erp_A_Customer" order by 1')]
        self.stock = dict(db.execute("select material, sum(quantity) from plant_stock group by material"))
        self.reserved.clear()
        self.expected.clear()
        for order in self.orders.values():
            self.reserve(order, 1)
        for _, material, quantity, _ in self.purchases:
            self.expected[material] += quantity
        self.load_work_orders()

    def reserve(self, order: Order, sign: int) -> None:
        """Count what an order still takes from stock, and what it will bring."""
        for component in order.components:
            if component.step >= order.step:
                self.reserved[component.material] += sign * self.required(order, component)
        self.expected[order.material] += sign * (order.quantity - order.received)

    def load_work_orders(self) -> None:
        """Read the open work orders as they stand in the MES, whoever sent them."""
        first = self.time_ms(0, 0)
        rows = self.store.db.execute(
            'select "orderNo", "workOrderNo", quantity, "plannedStart", status from mes_work_order'
            ' where status <> ? order by "workOrderNo"',
            (CLOSED,),
        )
        self.work_orders = {
            order.zfill(12): WorkOrder(number, quantity, int((start - first) // 86_400_000), status)
            for order, number, quantity, start, status in rows
        }

    def load_materials(self) -> None:
        """Read materials and bills of material, and work out the expected use of each."""
        db = self.store.db
        self.materials = {
            row[0]: Material(*row)
            for row in db.execute("select material, kind, unit, plant, location, price from plant_material")
        }
        for parent, child, quantity in db.execute(
            'select "Material", "BillOfMaterialComponent", "BillOfMaterialItemQuantity" from "erp_MaterialBOMItem"'
            ' order by "Material", "BillOfMaterialItemNodeNumber"'
        ):
            self.materials[parent].components.append((child, quantity))
        for material in self.materials.values():
            material.operations = operations_of(material)
        self._expect_use()

    def _expect_use(self) -> None:
        finished = [m for m in self.materials.values() if m.kind == FINISHED]
        pieces = ORDERS_PER_DAY * ITEMS_PER_ORDER * PIECES_PER_ITEM * self.scale
        for material in finished:
            material.daily_use = int(pieces * MILLI / len(finished))
        for kind in (FINISHED, SEMI_FINISHED):
            for material in self.materials.values():
                if material.kind == kind:
                    for child, quantity in material.components:
                        self.materials[child].daily_use += quantity * material.daily_use // MILLI


def _order(saved: dict[str, Any]) -> Order:
    components = [Component(**c) for c in saved.pop("components")]
    return Order(**saved, components=components)


def _sales_order(saved: dict[str, Any]) -> SalesOrder:
    items = [Item(**i) for i in saved.pop("items")]
    return SalesOrder(**saved, items=items)


ORDERS_PER_DAY = 13.4
ITEMS_PER_ORDER = 2.5
PIECES_PER_ITEM = 5.0


def operations_of(material: Material) -> list[tuple[str, str, str]]:
    """The routing of a material: operation number, text, work center. Always the same for one number."""
    from datong_infra.sandbox.vocabulary import OPERATIONS

    if material.kind == RAW:
        return []
    number = int("".join(c for c in material.number if c.isdigit()))
    count = 3 + number % 3
    first = number % len(OPERATIONS)
    chosen = sorted((first + n) % len(OPERATIONS) for n in range(count))
    return [(f"{10 * (n + 1):04d}", *OPERATIONS[i]) for n, i in enumerate(chosen)]
