"""The plant's days: build the history once, then advance day by day. Same seed, same rows, byte for byte.

Each day has dice of its own, made of the seed and the day's number, so that advancing by seven days is the same as
advancing seven times by one.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from datong_platform.errors import ConfigurationError

from datong_infra.sandbox import crm_life, master_data, production, sales, shop_floor
from datong_infra.sandbox.dirt import spill
from datong_infra.sandbox.plant import CLOSING_HOUR, GO_LIVE_DAY, HISTORY_DAYS, Plant
from datong_infra.sandbox.store import Store

DEFAULT_START = date(2026, 8, 3)
DIRTY_DAY = GO_LIVE_DAY - 20


def open_plant(store: Store, *, scale: float, seed: int, start: date = DEFAULT_START) -> Plant:
    """The plant in `store`; a new one with its whole history when the store is empty.

    Scale, seed and start count only for a new plant; ConfigurationError when the scale is out of bounds.
    """
    known = store.meta("parameters")
    if known:
        parameters = json.loads(known)
        plant = Plant(store, parameters["scale"], parameters["seed"], date.fromisoformat(parameters["start"]))
        with store.transaction():
            plant.load()
        return plant
    if not 0 < scale <= 130:
        raise ConfigurationError(f"scale {scale}", "is not between 0 and 130.", "use 1 for about 100,000 rows.")
    plant = Plant(store, scale, seed, start)
    with store.transaction():
        store.set_meta("parameters", json.dumps({"scale": scale, "seed": seed, "start": start.isoformat()}))
        master_data.build(plant)
        plant.save()
        plant.load()
        for _ in range(HISTORY_DAYS):
            _day(plant, seed)
        plant.save()
    return plant


def advance(plant: Plant, days: int, seed: int | None = None) -> dict[str, Any]:
    """Let the plant live for some more days. `seed` changes the dice of these days; by default the plant's own."""
    with plant.store.transaction():
        plant.load()
        for _ in range(days):
            _day(plant, plant.seed if seed is None else seed)
        plant.save()
    return {"days": days, "day": plant.day, "as_of": plant.store.now().isoformat()}


def _day(plant: Plant, seed: int) -> None:
    plant.begin_day(seed)
    master_data.daily(plant)
    production.purchase(plant)
    sales.withdraw_mistakes(plant)
    sales.take_orders(plant)
    production.plan(plant)
    production.change_components(plant)
    production.release(plant)
    shop_floor.work(plant)
    production.receive(plant)
    sales.deliver(plant)
    production.count_stock(plant)
    production.nightly_interface(plant)
    crm_life.daily(plant)
    if plant.day == DIRTY_DAY:
        spill(plant)
    plant.store.clock_ms = plant.time_ms(plant.day, CLOSING_HOUR)
