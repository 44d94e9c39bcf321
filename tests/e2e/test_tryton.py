"""A second, real ERP through the whole path: Tryton on PostgreSQL, driven by its own rules, and Datong agrees with it.

Tryton is a program that this test runs, in a virtual environment of its own that nothing of Datong's sees. Making its
database from its modules takes most of a minute, so a dump of it is kept in pytest's cache, by the versions that made
it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from datong_infra.services.postgres import program
from datong_ingestion.reconcile import Reconciled, keep, reconcile_system
from datong_ingestion.run import IngestResult, ingest_system
from datong_ingestion.systems_config import SystemConfig, load_system
from datong_platform import names
from datong_platform.lake import history, storage
from datong_platform.quality import balances, record
from datong_platform.settings import DBT_PROJECT, PROJECT_ROOT, Settings, settings
from deltalake import DeltaTable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent / "tryton"
SYSTEMS = ["erp", "mes", "crm", "tryton"]
ENTITIES = [
    "customer",
    "supplier",
    "material",
    "sales_order",
    "sales_order_item",
    "production_order",
    "production_order_component",
    "material_movement",
    "inventory_balance",
]

# the standard's words for Tryton's, said here once more and not read from the crosswalk that is under test
SALE_STATES = {
    "draft": "DRAFT",
    "quotation": "DRAFT",
    "confirmed": "OPEN",
    "processing": "IN_PROCESS",
    "done": "COMPLETE",
    "cancelled": "CANCELLED",
}
SHIPMENT_STATES = {
    "none": "OPEN",
    "waiting": "OPEN",
    "partially shipped": "IN_PROCESS",
    "sent": "COMPLETE",
}
PRODUCTION_STATES = {
    "draft": "CREATED",
    "waiting": "RELEASED",
    "assigned": "RELEASED",
    "running": "PARTIALLY_CONFIRMED",
    "done": "CLOSED",
    "cancelled": "CANCELLED",
}
UNITS = {"u": "H87", "kg": "KGM", "g": "GRM", "m": "MTR", "cm": "CMT", "l": "LTR"}


def run(command: list[str | Path], **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def unavailable(reason: str) -> None:
    """Where nobody watches, a test that cannot run has failed."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True)
class Tryton:
    """A Tryton of its own: a Python that has it, and a database."""

    python: Path
    url: str

    def tell(self, command: str) -> dict[str, Any]:
        """Let the plant do something, and give what Tryton reports after it."""
        return json.loads(self._plant(command))

    def make(self, kept: Path) -> None:
        """Fill the empty database with Tryton's modules: from the dump that is kept, or anew."""
        if not kept.exists():
            self._plant("init")
            draft = kept.with_suffix(f".{os.getpid()}.tmp")
            run([program("pg_dump"), "--format=custom", "--no-owner", "--no-privileges", f"--file={draft}", self.url])
            draft.replace(kept)
            return
        run([program("pg_restore"), "--no-owner", "--exit-on-error", f"--dbname={self.url}", kept])

    def _plant(self, command: str) -> str:
        # Tryton numbers what it makes at once in the order of sets
        environment = {"TRYTOND_DATABASE_URI": self.url, "PYTHONHASHSEED": "0", "PYTHONPATH": ""}
        return run([self.python, HERE / "plant.py", command], **environment)


@pytest.fixture(scope="module")
def tryton(
    services: Settings, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tryton]:
    """Tryton with a database, made from its modules and nothing else."""
    keeper = getattr(request.config, "cache", None)
    cache: Path = keeper.mkdir("tryton") if keeper else tmp_path_factory.mktemp("tryton")
    versions = hashlib.sha256((HERE / "requirements.txt").read_bytes() + sys.version.encode()).hexdigest()[:12]
    python = cache / versions / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv")
        if uv is None:
            unavailable("Tryton needs a virtual environment of its own, and uv is not on the PATH.")
            return
        draft = cache / f"{versions}.{os.getpid()}"
        try:
            run([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, draft])
            run(
                [uv, "pip", "install", "--quiet", "--python", draft / "bin" / "python", "-r", HERE / "requirements.txt"]
            )
        except RuntimeError as error:
            shutil.rmtree(draft, ignore_errors=True)
            unavailable(f"Tryton cannot be installed: {error}")
        draft.rename(cache / versions)

    database = f"tryton_{uuid.uuid4().hex[:12]}"
    operational = services.need("postgres_url")
    with psycopg.connect(operational, autocommit=True) as connection:
        connection.execute(f"create database {database} template template0")
        connection.execute(f"alter database {database} set synchronous_commit = off")
    try:
        made = Tryton(python, urlsplit(operational)._replace(path=f"/{database}").geturl())
        made.make(cache / f"{versions}-{hashlib.sha256(_modules()).hexdigest()[:8]}.dump")
        yield made
    finally:
        with psycopg.connect(operational, autocommit=True) as connection:
            connection.execute(f"drop database {database} with (force)")


def _modules() -> bytes:
    """The part of the plant's script that decides what an empty database holds."""
    text = (HERE / "plant.py").read_text("utf-8")
    return (
        text[text.index("MODULES = ") : text.index("FIRST_DAY")] + text[text.index("def init") :].partition("class ")[0]
    ).encode()


@pytest.fixture(scope="module")
def lake(services: Settings, tryton: Tryton) -> Iterator[Settings]:
    """A lake of its own in the shared services: another bucket, and a session of the engine with its own catalog."""
    engine = services.need("engine_address").split(";")[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATONG_BUCKET", f"tryton-{uuid.uuid4().hex[:12]}")
        patch.setenv("DATONG_ENGINE_ADDRESS", f"{engine};user_id=datong;session_id={uuid.uuid4()}")
        patch.setenv("TRYTON_URL", tryton.url)
        storage.ensure_bucket()
        yield settings()


def ingest(system: SystemConfig) -> dict[str, IngestResult]:
    """Read a system's entities into bronze; the results by entity."""
    results: dict[str, IngestResult] = {}
    for outcome in ingest_system(system):
        if not isinstance(outcome.result, IngestResult):
            raise outcome.result
        results[outcome.entity] = outcome.result
    return results


def build(target: Path) -> None:
    """Build the silver entities that Tryton feeds, with all their tests."""
    selection = [f"+{name}" for entity in ENTITIES for name in (entity, f"quarantine_{entity}")]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dbt.cli.main", "build", "--quiet"),
            # no test that also looks at what is not built here, and none of the models' logic, which has its own
            *("--select", *selection, "--indirect-selection", "cautious", "--exclude-resource-type", "unit_test"),
            *("--vars", json.dumps({"systems": SYSTEMS})),
            *("--target-path", str(target), "--log-path", str(target)),
        ],
        cwd=DBT_PROJECT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]


def rows(schema: str, entity: str, system: str = "tryton") -> list[dict[str, Any]]:
    """A system's rows of a table, read from storage without the engine."""
    place = settings().table_uri(names.parse(f"{schema}.{entity}"))
    table = DeltaTable(place, storage_options=settings().storage_options())
    return [row for row in table.to_pyarrow_table().to_pylist() if row["source_system"] == system]


def amount(value: Any) -> Decimal:
    return Decimal(str(value or 0)).quantize(Decimal("0.001"))


def number(record: dict[str, Any]) -> str:
    """How Tryton itself shows a record that has no number yet."""
    return record["number"] or f"({record['id']})"


def assert_parties_agree(said: dict[str, Any]) -> None:
    codes = {party["id"]: [item["code"] for item in party["identifiers"]] for party in said["parties"]}
    for entity, role in (("customer", "sales"), ("supplier", "purchases")):
        expected = {
            party["code"]: (party["name"], (codes[party["id"]] or [None])[0], party["cities"][0], party["phone"])
            for party in said["parties"]
            if party[role]
        }
        found = {
            row[f"{entity}_id"]: (row[f"{entity}_name"], row["credit_code"], row["city"], row["phone"])
            for row in rows("silver", entity)
        }
        assert found == expected


def assert_materials_agree(said: dict[str, Any]) -> None:
    expected = {
        product["code"]: (product["name"], UNITS[product["unit"]], amount(product["cost_price"]), "CNY")
        for product in said["products"]
    }
    found = {
        row["material_id"]: (row["material_name_zh"], row["base_unit"], amount(row["standard_price"]), row["currency"])
        for row in rows("silver", "material")
    }
    assert found == expected


def assert_sales_agree(said: dict[str, Any]) -> None:
    customers = {row["customer_id"]: row["customer_name"] for row in rows("silver", "customer")}
    expected = {
        number(sale): (
            SALE_STATES[sale["state"]],
            SHIPMENT_STATES[sale["shipment_state"]],
            sale["party"],
            sale["sale_date"],
            amount(sale["untaxed_amount"]),
            sale["currency"],
        )
        for sale in said["sales"]
    }
    found = {
        row["sales_order_id"]: (
            row["status"],
            row["delivery_status"],
            customers[row["customer_id"]],
            row["ordered_on"].isoformat(),
            amount(row["amount"]),
            row["currency"],
        )
        for row in rows("silver", "sales_order")
    }
    assert found == expected

    expected_items = {
        str(line["id"]): (
            number(sale),
            line["product"],
            amount(line["quantity"]),
            UNITS[line["unit"]],
            amount(line["amount"]),
            sale["currency"],
            amount(line["shipped"]),
            sale["state"] == "cancelled",
        )
        for sale in said["sales"]
        for line in sale["lines"]
    }
    found_items = {
        row["sales_order_item_id"]: (
            row["sales_order_id"],
            row["material_id"],
            amount(row["quantity"]),
            row["quantity_unit"],
            amount(row["amount"]),
            row["currency"],
            amount(row["delivered_quantity"]),
            row["is_rejected"],
        )
        for row in rows("silver", "sales_order_item")
    }
    assert found_items == expected_items


def assert_productions_agree(said: dict[str, Any]) -> None:
    expected = {
        number(production): (
            PRODUCTION_STATES[production["state"]],
            production["product"],
            amount(production["quantity"]),
            UNITS[production["unit"]],
            amount(sum(move["quantity"] for move in production["outputs"] if move["state"] == "done")),
        )
        for production in said["productions"]
    }
    found = {
        row["production_order_id"]: (
            row["status"],
            row["material_id"],
            amount(row["quantity"]),
            row["quantity_unit"],
            amount(row["delivered_quantity"]),
        )
        for row in rows("silver", "production_order")
    }
    assert found == expected

    expected_components = {
        str(move["id"]): (
            number(production),
            move["product"],
            amount(move["quantity"]),
            amount(move["quantity"] if move["state"] == "done" else 0),
            UNITS[move["unit"]],
        )
        for production in said["productions"]
        for move in production["inputs"]
    }
    found_components = {
        row["reservation_item_id"]: (
            row["production_order_id"],
            row["material_id"],
            amount(row["required_quantity"]),
            amount(row["withdrawn_quantity"]),
            row["quantity_unit"],
        )
        for row in rows("silver", "production_order_component")
    }
    assert found_components == expected_components


def assert_stock_agrees(said: dict[str, Any]) -> None:
    expected = {
        (str(move["id"]), direction): (
            move["product"],
            place,
            amount(sign * move["internal_quantity"]),
            move["effective_date"],
        )
        for move in said["moves"]
        if move["state"] == "done"
        for direction, sign, kind, place in (
            ("OUT", -1, move["from_type"], move["from"]),
            ("IN", 1, move["to_type"], move["to"]),
        )
        if kind == "storage"
    }
    found = {
        (row["material_document_id"], row["direction"]): (
            row["material_id"],
            row["storage_location_id"],
            amount(row["signed_quantity"]),
            row["posted_on"].isoformat(),
        )
        for row in rows("silver", "material_movement")
    }
    assert found == expected

    expected_stock = {
        (item["product"], item["location"]): (amount(item["quantity"]), UNITS[item["unit"]])
        for item in said["stock"]
        if item["type"] == "storage"
    }
    found_stock = {
        (row["material_id"], row["storage_location_id"]): (amount(row["quantity"]), row["quantity_unit"])
        for row in rows("silver", "inventory_balance")
        if row["quantity"]
    }
    assert found_stock == expected_stock


def assert_agrees(said: dict[str, Any]) -> None:
    assert_parties_agree(said)
    assert_materials_agree(said)
    assert_sales_agree(said)
    assert_productions_agree(said)
    assert_stock_agrees(said)
    for entity in ENTITIES:
        assert rows("quarantine", entity) == []


def assert_proven(system: SystemConfig) -> None:
    """Tryton's own counts, sums and key digests are those of bronze, in every window of every table."""
    found = reconcile_system(system, anew=True)
    assert {one.entity: one.status for one in found if isinstance(one, Reconciled)} == dict.fromkeys(
        (entity.name for entity in system.entities), "agrees"
    ), [str(one) for one in found if not isinstance(one, Reconciled)]
    keep("tryton", found)
    marks = {one.entity: one for one in record.marks("tryton")}
    assert all(marks[entity.name].verified_through for entity in system.entities)


def assert_books_balance() -> None:
    """Debit is credit in every company, period and journal; and a line that bronze lost is found by it."""
    (ledger,) = [balance for balance in balances.balances() if balance.name == "debit_is_credit"]
    (found,) = balances.run([ledger])
    assert (found.status, found.reason) == ("agrees", "")
    assert found.facts > 0
    assert found.totals["CNY"][0] > 0
    lines = history.open_table(names.bronze("tryton", "account_move_line"))
    assert lines
    lost = next(row for row in lines.to_pyarrow_table().to_pylist() if row["debit"])
    lines.delete(f"id = {lost['id']}")
    (found,) = balances.run([ledger])
    assert found.status == "differs"
    assert [one.difference for one in found.differences] == [-lost["debit"]]
    lines.restore(lines.version() - 1)
    assert balances.run([ledger])[0].status == "agrees"


def content(system: str) -> dict[str, list[str]]:
    """What silver says of a system's records, whatever the order and the run."""
    return {
        entity: sorted(
            str({name: value for name, value in row.items() if not name.startswith("_datong_")})
            for row in rows("silver", entity, system)
        )
        for entity in ENTITIES
    }


def test_a_second_erp_is_conformed_beside_the_first_and_agrees_with_what_it_reports(
    tryton: Tryton, sandbox: dict[str, str], lake: Settings, tmp_path: Path
) -> None:
    second_erp = load_system("tryton", HERE)
    said = tryton.tell("operate")
    assert {sale["state"] for sale in said["sales"]} == {"draft", "quotation", "processing", "done", "cancelled"}
    assert {order["state"] for order in said["productions"]} == set(PRODUCTION_STATES)

    ingest(load_system("erp"))
    first = ingest(second_erp)
    assert first["sale"].rows == len(said["sales"])
    assert first["stock_move"].rows == len(said["moves"])
    build(tmp_path)
    assert_agrees(said)
    assert_proven(second_erp)
    assert_books_balance()
    of_the_first_erp = content("erp")
    assert all(of_the_first_erp.values())

    changed = tryton.tell("advance")
    assert changed != said
    second = ingest(second_erp)
    # one sale is new, one was shipped further, one cancelled, and one deleted with its lines
    assert (second["sale"].rows, second["sale"].deletes) == (3, 1)
    assert second["sale_line"].deletes == 3
    assert second["production"].rows == second["party"].rows == second["party_address"].rows == 1
    assert second["uom"].batches == second["product"].batches == []
    build(tmp_path)
    assert_agrees(changed)
    assert_proven(second_erp)
    assert content("erp") == of_the_first_erp

    third = ingest(second_erp)
    assert {name: (result.rows, result.deletes) for name, result in third.items()} == dict.fromkeys(third, (0, 0))


def test_nothing_that_ships_depends_on_tryton() -> None:
    with pytest.raises(ModuleNotFoundError):
        __import__("trytond")
    project = (PROJECT_ROOT / "pyproject.toml").read_text("utf-8")
    assert "tryton" not in project.split("[tool.")[0]
