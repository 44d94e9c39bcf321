"""The shop floor: only what the MES has a work order for is produced, with the material that is really there.

Operations are confirmed one after another; each takes its components from stock when it runs. Events arrive as a shop
floor sends them: some twice (same id, later record), some days after they happened.
"""

from __future__ import annotations

from typing import Any

from datong_infra.sandbox import vocabulary as words
from datong_infra.sandbox.model import MILLI
from datong_infra.sandbox.plant import (
    DONE,
    MES_UNITS,
    RUNNING,
    Component,
    Consumption,
    Order,
    Plant,
    WorkOrder,
)
from datong_infra.sandbox.production import set_status

_HOUR_MS = 3_600_000
_TWICE, _TWICE_TOMORROW, _LATE, _SCRAP = 0.012, 0.004, 0.02, 0.06
_OPERATORS = 40


def work(plant: Plant) -> None:
    """One day on the shop floor."""
    _send_again(plant)
    if not plant.work:
        return
    for number in sorted(plant.work_orders):
        work_order, order = plant.work_orders[number], plant.orders.get(number)
        if order is None or work_order.status == DONE or work_order.start_day > plant.day:
            continue
        hour = 8.0
        for _ in range(1 if plant.rng.random() < 0.7 else 2):
            if work_order.status == DONE or not _step(plant, order, work_order, hour):
                break
            hour += 4.5


def _step(plant: Plant, order: Order, work_order: WorkOrder, hour: float) -> bool:
    """Run the order's next operation; False when material is missing."""
    material = plant.materials[order.material]
    last = len(material.operations) - 1
    until = hour + 4.5
    if order.step > last:
        rest = work_order.quantity - order.good
        _confirm(plant, order, (rest, 0), plant.between(hour, until))
        _progress(plant, order, work_order, rest, plant.between(until, 17))
        return True
    components = [c for c in order.components if c.step == order.step]
    needs = [(c, c.per_unit * work_order.quantity // MILLI) for c in components]
    if any(plant.stock.get(c.material, 0) < need for c, need in needs):
        return False
    for component, need in needs:
        plant.reserved[component.material] -= plant.required(order, component)
        for part in _parts(plant, component, need):
            _consume(plant, order, component, part, plant.between(hour, until))
    whole = work_order.quantity
    in_halves = whole >= 4 * MILLI and plant.rng.random() < 0.3
    first = whole // MILLI // 2 * MILLI if in_halves else whole
    scrap = _scrap(plant, order, material.operations[order.step], components, plant.between(hour, until))
    at_ms = plant.between(hour, until)
    _confirm(plant, order, (first, scrap), at_ms)
    if in_halves and order.step < last:
        _confirm(plant, order, (whole - first, 0), at_ms + _HOUR_MS // 2)
    if order.step == last:
        _inspect(plant, order, plant.between(hour, until))
    order.step += 1
    _progress(plant, order, work_order, first if order.step > last else 0, plant.between(until, 17.2))
    return True


def _parts(plant: Plant, component: Component, need: int) -> list[int]:
    if need <= 0:
        return []
    whole = MILLI if plant.base_unit(component.material) == "ST" else 1
    first = need * plant.rng.randint(20, 80) // 100 // whole * whole
    return [first, need - first] if first and plant.rng.random() < 0.25 else [need]


def _consume(plant: Plant, order: Order, component: Component, quantity: int, recorded_ms: int) -> None:
    store, place = plant.store, plant.materials[component.material]
    event_id = f"MC{store.count('consumption'):012d}"
    plant.move(component.material, -quantity)
    store.insert(
        "plant_consumption",
        event_id,
        order.number,
        component.material,
        place.plant,
        place.location,
        quantity,
        plant.day,
    )
    _record(
        plant,
        "mes_material_consumption",
        [
            event_id,
            order.short_number,
            place.part_number if plant.rng.random() > 0.05 else place.part_number.lower(),
            component.item,
            quantity,
            MES_UNITS[place.unit],
            f"L{plant.date(plant.day):%y%m}{plant.rng.randrange(1000):03d}",
        ],
        recorded_ms,
    )
    plant.consumed_today.append(Consumption(event_id, order, component, quantity, recorded_ms))


def _confirm(plant: Plant, order: Order, quantities: tuple[int, int], recorded_ms: int) -> None:
    """Confirm good pieces and scrap of the order's present operation; the last one goes on while a rest is open."""
    operations = plant.materials[order.material].operations
    number, _, center = operations[min(order.step, len(operations) - 1)]
    good, scrap = quantities
    _record(
        plant,
        "mes_operation_confirmation",
        [
            f"OC{plant.store.count('confirmation'):010d}",
            order.short_number,
            number,
            center,
            good,
            scrap,
            "pcs",
            good * plant.rng.randint(4, 30) // 10 + 5 * MILLI,
            f"OP{plant.rng.randrange(_OPERATORS):03d}",
        ],
        recorded_ms,
    )


def _scrap(
    plant: Plant, order: Order, operation: tuple[str, str, str], components: list[Component], recorded_ms: int
) -> int:
    """Now and then a piece is spoilt and made again, from more material."""
    if plant.rng.random() >= _SCRAP or any(plant.stock.get(c.material, 0) < c.per_unit for c in components):
        return 0
    for component in components:
        _consume(plant, order, component, component.per_unit, recorded_ms)
    order.scrap += MILLI
    _record(
        plant,
        "mes_scrap_record",
        [
            f"SR{plant.store.count('scrap'):010d}",
            order.short_number,
            operation[0],
            plant.materials[order.material].part_number,
            MILLI,
            "pcs",
            plant.rng.choice(words.SCRAP_REASONS),
        ],
        recorded_ms,
    )
    return MILLI


def _inspect(plant: Plant, order: Order, recorded_ms: int) -> None:
    for name, unit, lower, upper in plant.rng.sample(words.CHARACTERISTICS, plant.rng.randint(2, 3)):
        spread = (upper - lower) // 20
        good = plant.rng.random() >= 0.02
        value = plant.rng.randint(lower, upper) if good else upper + plant.rng.randint(1, max(1, spread))
        _record(
            plant,
            "mes_quality_result",
            [
                f"QR{plant.store.count('quality'):010d}",
                order.short_number,
                name,
                value,
                unit,
                lower,
                upper,
                "OK" if good else "NG",
            ],
            recorded_ms,
        )


def _progress(plant: Plant, order: Order, work_order: WorkOrder, good: int, at_ms: int) -> None:
    order.good += good
    done = order.good >= work_order.quantity
    order.status = "completed" if done else "in_production"
    work_order.status = DONE if done else RUNNING
    if good:
        order.receive_day = plant.day + (plant.rng.random() < 0.4)
    plant.store.db.execute(
        'update mes_work_order set status = ?, "goodQuantity" = ?, "scrapQuantity" = ?, version = version + 1,'
        ' "updatedAt" = ? where "workOrderNo" = ?',
        (work_order.status, order.good, order.scrap, at_ms, work_order.number),
    )
    set_status(plant, order)


def _record(plant: Plant, table: str, values: list[Any], recorded_ms: int) -> None:
    """Write an event; when it happened comes before when it was recorded, sometimes by days."""
    rng = plant.rng
    late = rng.randint(24, 96) * _HOUR_MS if rng.random() < _LATE else 0
    happened_ms = recorded_ms - late - rng.randrange(300) * 1000
    plant.store.insert(table, None, *values, happened_ms, recorded_ms)
    dice = rng.random()
    if dice < _TWICE:
        plant.store.insert(table, None, *values, happened_ms, recorded_ms + rng.randint(1, 90) * 60_000)
    elif dice < _TWICE + _TWICE_TOMORROW:
        plant.resend.append([table, *values, happened_ms])


def _send_again(plant: Plant) -> None:
    for table, *values in plant.resend:
        plant.store.insert(table, None, *values, plant.between(6.5, 8))
    plant.resend = []
