"""What the lake says, held against what the sandbox plant knows: the demo's last word, and the tests' as well.

Each comparison names what is compared, how many facts, and those that differ. Quantities are compared exactly. The
plant's truth is its own physical state; nothing here is computed from the lake twice.

Run it alone: `datong demo` ends with it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from datong_platform import engine
from datong_platform.errors import DatongError, ServiceError
from datong_platform.settings import settings

Facts = dict[Hashable, Any]

_UNITS = {"KG": "KGM", "ST": "H87", "M": "MTR", "L": "LTR"}
_EXAMPLES = 5


@dataclass(frozen=True)
class Comparison:
    """One kind of fact: how many the plant knows, how many the lake has wrong, misses or invents."""

    what: str
    facts: int
    different: int
    examples: list[str] = field(default_factory=list[str])

    @property
    def ok(self) -> bool:
        """Whether all agree. No facts at all is no agreement."""
        return self.different == 0 and self.facts > 0


def compare(truth: Mapping[str, Any], system: str = "erp") -> list[Comparison]:
    """Every comparison of the lake with `truth`, which is the plant's state since the last cycle read it.

    `system` names the plant's ERP among the source systems. A comparison that cannot be made counts as one difference.
    """
    parts: list[tuple[str, Facts, Callable[[], Facts]]] = [
        ("stock by plant and material (gold)", _true_stock(truth), lambda: _gold_stock(system)),
        ("stock by plant and material (PostgreSQL)", _true_stock(truth), lambda: _published_stock(system)),
        ("production orders: status and quantities", _true_orders(truth), lambda: _gold_orders(system)),
        ("consumption by order and material", _true_consumption(truth), lambda: _gold_consumption(system)),
        ("production status of sales orders", _true_sales(truth), lambda: _gold_sales(system)),
        ("distinct customers", {"customers": truth["distinct_customers"]}, _gold_customers),
        ("rows that are wrong, held back with their reason", _true_dirt(truth), lambda: _quarantined(truth)),
    ]
    return [_attempt(what, true, told) for what, true, told in parts] + [
        Comparison("consumption posted in the ERP, once each", *_posted(truth)),
        Comparison("released production orders known to the MES", *_sent(truth)),
    ]


def _attempt(what: str, true: Facts, told: Callable[[], Facts]) -> Comparison:
    try:
        return _compare(what, true, told())
    except DatongError as error:
        return Comparison(what, len(true), 1, [str(error)])


def _compare(what: str, true: Facts, told: Facts) -> Comparison:
    wrong = [key for key in true.keys() | told.keys() if true.get(key) != told.get(key)]
    examples = [
        f"{_words(key)}: plant {_words(true.get(key, 'nothing'))}, Datong {_words(told.get(key, 'nothing'))}"
        for key in sorted(wrong, key=str)[:_EXAMPLES]
    ]
    return Comparison(what, len(true), len(wrong), examples)


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _exact(value: Any) -> Decimal:
    """A quantity as an exact number without trailing zeros: 5, 5.0 and 5.000 are equal and hash alike."""
    return Decimal(str(value))


def _rows(sql: str) -> list[dict[str, Any]]:
    try:
        return engine.query(sql).to_pylist()
    except DatongError:
        raise
    except Exception as error:
        raise ServiceError(
            "the lake", f"cannot answer: {str(error).strip().splitlines()[0]}", "run `datong doctor`."
        ) from error


def _true_stock(truth: Mapping[str, Any]) -> Facts:
    return {
        (row["plant"], row["material"]): (_exact(row["quantity"]), _UNITS.get(row["unit"], row["unit"]))
        for row in truth["stock"]
    }


def _gold_stock(system: str) -> Facts:
    rows = _rows(
        "select plant_id, material_id, actual_quantity, quantity_unit from gold.mart_inventory "
        f"where source_system = '{system}'"
    )
    return {(r["plant_id"], r["material_id"]): (_exact(r["actual_quantity"]), r["quantity_unit"]) for r in rows}


def _published_stock(system: str) -> Facts:
    import psycopg
    from datong_platform.silence import patient

    try:
        with patient(settings().need("postgres_reader_url"), connect_timeout=5) as connection:
            rows = connection.execute(
                "select plant_id, material_id, actual_quantity, quantity_unit from serve.inventory "
                "where source_system = %s",
                [system],
            ).fetchall()
    except psycopg.Error as error:
        raise ServiceError(
            "postgres", f"does not show serve.inventory to its reader: {error}", "run `datong publish`."
        ) from error
    return {(plant, material): (_exact(quantity), unit) for plant, material, quantity, unit in rows}


def _true_orders(truth: Mapping[str, Any]) -> Facts:
    return {
        row["order"]: (row["status"], _exact(row["ordered"]), _exact(row["produced"]), _exact(row["scrapped"]))
        for row in truth["production_orders"]
    }


def _gold_orders(system: str) -> Facts:
    rows = _rows(
        "select production_order_id, lower(status) as status, quantity, produced_quantity, scrapped_quantity "
        f"from gold.mart_production_progress where source_system = '{system}'"
    )
    return {
        r["production_order_id"]: (
            r["status"],
            _exact(r["quantity"]),
            _exact(r["produced_quantity"] or 0),
            _exact(r["scrapped_quantity"] or 0),
        )
        for r in rows
    }


def _true_consumption(truth: Mapping[str, Any]) -> Facts:
    return {
        (row["order"], used["material"]): _exact(used["quantity"])
        for row in truth["production_orders"]
        for used in row["consumed"]
    }


def _gold_consumption(system: str) -> Facts:
    rows = _rows(
        "select production_order_id, material_id, sum(base_quantity) as quantity from gold.fct_material_consumption "
        f"where order_system = '{system}' group by production_order_id, material_id"
    )
    return {(r["production_order_id"], r["material_id"]): _exact(r["quantity"]) for r in rows}


def _true_sales(truth: Mapping[str, Any]) -> Facts:
    return {row["order"]: row["status"] for row in truth["sales_orders"] if row["status"]}


def _gold_sales(system: str) -> Facts:
    rows = _rows(
        f"select sales_order, production_status from serve.erp__sales_order_status where source_system = '{system}'"
    )
    return {r["sales_order"].lstrip("0"): r["production_status"] for r in rows if r["production_status"]}


def _gold_customers() -> Facts:
    # the plant counts its own companies; another ERP beside it has others
    rows = _rows("select count(*) as n from gold.dim_customer where records like '%erp:%' or records like '%crm:%'")
    return {"customers": rows[0]["n"]}


_QUARANTINE = {
    "erp.A_SalesOrderItem": "sales_order_item",
    "erp.A_BusinessPartnerTaxNumber": "customer",
    "erp.A_ProductionOrderComponent_2": "production_order_component",
    "mes.material-consumptions": "material_consumption",
    "mes.operation-confirmations": "operation_confirmation",
}


def _true_dirt(truth: Mapping[str, Any]) -> Facts:
    facts: Facts = {}
    for source, rows in truth["dirty_rows"].items():
        table = _QUARANTINE.get(source, source)
        for row in rows:
            # a customer's credit code is a row of its own in the ERP, and a field of the customer here
            key = row["key"].split("/")[0] if table == "customer" else row["key"]
            facts[table, key] = "held back"
    return facts


def _quarantined(truth: Mapping[str, Any]) -> Facts:
    facts: Facts = {}
    for source in truth["dirty_rows"]:
        table = _QUARANTINE.get(source)
        if table is None:
            continue
        system = source.split(".")[0]
        for row in _rows(f"select source_key from quarantine.{table} where source_system = '{system}'"):
            facts[table, row["source_key"]] = "held back"
    return facts


def _posted(truth: Mapping[str, Any]) -> tuple[int, int, list[str]]:
    known = truth["consumption"]
    wrong = known["unposted"] + known["posted_twice"]
    words = [f"{known['unposted']} not posted, {known['posted_twice']} posted more than once"] if wrong else []
    return known["events"], wrong, words


def _sent(truth: Mapping[str, Any]) -> tuple[int, int, list[str]]:
    known = truth["work_orders"]
    wrong = known["not_in_mes"]
    return known["released"], wrong, [f"{wrong} are not in the MES"] if wrong else []
