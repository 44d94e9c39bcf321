"""dbt on the real engine: what a build makes of dirty, doubled, late and deleted rows, and of a model that was edited.

A lake of its own (another bucket, another catalog of the same engine), written by delta-rs as ingestion writes it.
"""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
import yaml
from datong_assets import explain
from datong_assets.dbt import graph
from datong_assets.dbt.graph import Graph
from datong_platform.errors import ConfigurationError
from datong_platform.settings import DBT_PROJECT, Settings
from datong_platform.standard import cases, conservation, decisions, withheld
from datong_platform.standard.contract import contracts
from deltalake import DeltaTable, write_deltalake

pytestmark = pytest.mark.slow

TYPES = {
    "string": pa.string(),
    "timestamp": pa.timestamp("us", "UTC"),
    "boolean": pa.bool_(),
    "bigint": pa.int64(),
    "int": pa.int32(),
    "date": pa.date32(),
}
DAY = datetime(2026, 10, 1, 8, tzinfo=UTC)


def arrow_type(name: str) -> pa.DataType:
    if name.startswith("decimal"):
        precision, scale = name[8:-1].split(",")
        return pa.decimal128(int(precision), int(scale))
    return TYPES[name]


@dataclass
class Lake:
    """A bucket and a catalog; a copy of the dbt project to edit."""

    settings: Settings
    project: Path
    bucket: str
    address: str
    batches: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DATONG_BUCKET": self.bucket, "DATONG_ENGINE_ADDRESS": self.address}

    @property
    def options(self) -> dict[str, str]:
        return self.settings.storage_options()

    def declared(self, system: str) -> dict[str, list[dict[str, str]]]:
        content = yaml.safe_load((DBT_PROJECT / f"models/staging/{system}/_{system}__sources.yml").read_text("utf-8"))
        return {table["name"]: table["columns"] for table in content["sources"][0]["tables"]}

    def ingest(
        self,
        system: str,
        entity: str,
        rows: Iterable[dict[str, Any]] = (),
        operation: str = "insert",
        types: Mapping[str, str] | None = None,
    ) -> None:
        """Append a batch to the change log, as ingestion does; `types` are those that a system has otherwise."""
        columns = [
            {**column, "data_type": (types or {}).get(column["name"], column["data_type"])}
            for column in self.declared(system)[entity]
        ]
        table = f"{system}__{entity}"
        batch = self.batches[table] = self.batches.get(table, 0) + 1
        schema = pa.schema(
            [
                *((column["name"], arrow_type(column["data_type"])) for column in columns),
                ("_datong_batch_id", pa.string()),
                ("_datong_ingested_at", pa.timestamp("us", "UTC")),
                ("_datong_operation", pa.string()),
                ("_datong_rescued", pa.string()),
            ]
        )
        own = {"_datong_batch_id": f"{batch:012d}", "_datong_ingested_at": DAY, "_datong_operation": operation}
        full = [{**dict.fromkeys(schema.names), **own, **row} for row in rows]
        data = pa.table({name: [row[name] for row in full] for name in schema.names}, schema=schema)
        write_deltalake(f"s3://{self.bucket}/bronze/{table}", data, mode="append", storage_options=self.options)

    def dbt(self, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dbt.cli.main", "--no-use-colors", *arguments],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert bool(done.returncode) == fails, done.stdout[-5000:]
        return done.stdout

    def table(self, name: str) -> DeltaTable:
        return DeltaTable(f"s3://{self.bucket}/{name.replace('.', '/')}", storage_options=self.options)

    def rows(self, name: str, *columns: str) -> list[tuple[Any, ...]]:
        data = self.table(name).to_pyarrow_table()
        return sorted(zip(*(data[column].to_pylist() for column in columns), strict=True), key=str)

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.project / file
        text = path.read_text("utf-8")
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), "utf-8")


PRODUCTS = [
    {"Product": "RM-1", "ProductType": "ROH", "BaseUnit": "KG", "ProductStandardID": "6901200010019"},
    {"Product": "FG-1", "ProductType": "FERT", "BaseUnit": "ST", "ProductStandardID": "69 ０１２０００-10018"},
]
ITEM = {
    "SalesOrder": "0000000007",
    "Material": "FG-1",
    "RequestedQuantity": 3,
    "RequestedQuantityUnit": "ST",
    "TransactionCurrency": "CNY",
}
TEXTS = ("measuredValue", "lowerLimit", "upperLimit", "inspectedAt", "recordedAt")
EVENT = {"orderNo": "1001", "partNo": "rm-1", "quantity": 2, "unit": "kg", "consumedAt": DAY, "recordedAt": DAY}


@pytest.fixture(scope="module")
def lake(services: Settings, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with an ERP and a MES, built once; no CRM is connected."""
    bucket = f"dbt-{uuid.uuid4().hex[:8]}"
    boto3.client(
        "s3",
        endpoint_url=services.s3_endpoint,
        aws_access_key_id=services.s3_access_key_id,
        aws_secret_access_key=services.s3_secret_access_key,
        region_name=services.s3_region,
    ).create_bucket(Bucket=bucket)
    project = tmp_path_factory.mktemp("dbt") / "dbt_project"
    shutil.copytree(DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    server = services.need("engine_address").split(";")[0]
    made = Lake(services, project, bucket, f"{server};user_id=datong;session_id={uuid.uuid4()}")
    given: dict[str, list[dict[str, Any]]] = {
        "product": PRODUCTS,
        "customer": [{"Customer": "0000000100", "CustomerName": "上海恒通有限公司"}],
        "business_partner_tax_number": [
            {"BusinessPartner": "0000000100", "BPTaxType": "CN0", "BPTaxNumber": "91350100M000100Y44"}
        ],
        "sales_order": [
            {
                "SalesOrder": "0000000007",
                "SoldToParty": "0000000100",
                "SalesOrderDate": DAY,
                "TransactionCurrency": "CNY",
                "OverallSDProcessStatus": "A",
            }
        ],
        "sales_order_item": [
            ITEM | {"SalesOrderItem": "000010"},
            ITEM | {"SalesOrderItem": "000020", "RequestedQuantityUnit": "XX"},
            ITEM | {"SalesOrderItem": "000030"},
            ITEM | {"SalesOrderItem": None},
        ],
        "production_order": [
            {
                "ManufacturingOrder": "000000001001",
                "Material": "FG-1",
                "TotalQuantity": 3,
                "ProductionUnit": "ST",
                "ProductionPlant": "1010",
            }
        ],
    }
    for entity in made.declared("erp"):
        made.ingest("erp", entity, given.get(entity, ()))
    events = [
        EVENT | {"eventId": "MC1"},
        EVENT | {"eventId": "MC1"},
        EVENT | {"eventId": "MC2", "orderNo": "9999"},
        EVENT | {"eventId": "MC3", "unit": "箱"},
        EVENT | {"eventId": "MC9", "quantity": None, "_datong_rescued": '{"quantity": "zwölf"}'},
    ]
    result = {"eventId": "Q1", "orderNo": "1001", "characteristic": "D", "inspectedAt": "2026-10-01 08:00:00"}
    results = [
        result | {"measuredValue": "7.25", "result": "OK"},
        result | {"eventId": "Q2", "measuredValue": "n/a", "lowerLimit": "", "result": "OK"},
        result | {"eventId": "Q3", "inspectedAt": "yesterday", "result": "OK"},
    ]
    confirmation = {"eventId": "C1", "orderNo": "1001", "goodQuantity": 1, "confirmedAt": DAY, "unit": "pcs"}
    confirmations = [
        confirmation,
        confirmation | {"eventId": "C2", "_datong_rescued": '{"scrapQuantity": [1]}'},
    ]
    made.ingest("mes", "operation_confirmation", confirmations)
    for entity in made.declared("mes"):
        if entity == "quality_result":
            made.ingest("mes", entity, results, types=dict.fromkeys(TEXTS, "string"))
        elif entity != "operation_confirmation":
            made.ingest("mes", entity, events if entity == "material_consumption" else ())
    made.dbt("build", "--exclude-resource-type", "unit_test")
    return made


def test_valid_rows_are_published_and_broken_ones_say_why_with_the_row_as_it_was_sent(lake: Lake) -> None:
    assert lake.rows("silver.sales_order_item", "sales_order_id", "sales_order_item_id", "quantity_unit") == [
        ("7", "10", "H87"),
        ("7", "30", "H87"),
    ]
    broken = lake.rows("quarantine.sales_order_item", "field", "rule", "reason", "source_row")
    assert [row[:2] for row in broken] == [
        ("quantity_unit", "known_unit"),
        ("sales_order_item_id", "required"),
    ]
    assert broken[0][2] == "unit XX is not in the crosswalk"
    assert json.loads(broken[0][3])["RequestedQuantity"] == "3.000"


def test_what_staging_cannot_read_is_told_with_its_field_and_value(lake: Lake) -> None:
    told = {
        row[0]: (row[1], row[2], row[3])
        for row in lake.rows("quarantine.quality_result", "source_key", "rule", "reason", "is_withheld")
    }
    assert told["Q2"] == ("type", "measured_value must be a decimal(18,6) and is n/a", False)
    assert told["Q3"][0] == "required, type"
    assert "inspected_at must be a timestamp and is yesterday" in told["Q3"][1]
    assert told["Q3"][2]
    assert set(told) == {"Q2", "Q3"}
    assert lake.rows("silver.quality_result", "event_id", "measured_value") == [
        ("Q1", Decimal("7.250000")),
        ("Q2", None),
    ]
    # a value that did not fit the source's own definition, as ingestion keeps it
    rescued = [row for row in lake.rows("quarantine.material_consumption", "source_key", "reason") if row[0] == "MC9"]
    assert len(rescued) == 1
    assert "quantity must be a decimal(15,3) and is zwölf" in rescued[0][1]
    # what was left out is nothing scrapped, what could not be read is not
    told = dict(lake.rows("quarantine.operation_confirmation", "source_key", "reason"))
    assert "scrap_quantity must be a decimal(15,3) and is [1]" in told["C2"]
    assert "scrap_quantity" not in told.get("C1", "")


def test_a_mistyped_credit_code_is_not_believed_and_its_customer_is_kept(lake: Lake) -> None:
    assert lake.rows("silver.customer", "customer_id", "credit_code") == [("100", None)]
    assert lake.rows("quarantine.customer", "rule", "is_withheld") == [("credit_code", False)]


def test_a_gtin_is_read_as_people_write_it_and_a_mistyped_one_is_not_believed(lake: Lake) -> None:
    assert lake.rows("silver.material", "material_id", "gtin") == [("FG-1", "6901200010018"), ("RM-1", None)]
    broken = lake.rows("quarantine.material", "field", "rule", "reason", "is_withheld")
    assert broken == [("gtin", "gtin", "gtin is not a GTIN: 6901200010019", False)]
    assert "6901200010018" in [row[0] for row in lake.rows("gold.dim_material", "gtin")]


def test_a_system_that_is_not_connected_is_empty_and_hinders_nobody(lake: Lake) -> None:
    assert lake.rows("silver.customer", "source_system") == [("erp",)]


def test_a_value_is_explained_down_to_the_row_that_was_sent(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATONG_BUCKET", lake.bucket)
    monkeypatch.setenv("DATONG_ENGINE_ADDRESS", lake.address)
    manifest = lake.project / "target" / "manifest.json"
    graph = Graph(lake.project, manifest, json.loads(manifest.read_text("utf-8")))
    monkeypatch.setattr(explain.graphs, "load", lambda: graph)
    monkeypatch.setattr(explain.graphs, "folder", lambda _: lake.project)
    explain._columns_of.cache_clear()  # pyright: ignore[reportPrivateUsage] - those of another catalog
    key = "sales_order_id=7,sales_order_item_id=10"
    try:
        found = explain.explain("silver.sales_order_item", key, "quantity")
        with pytest.raises(ConfigurationError, match="names no row"):
            explain.explain("silver.sales_order_item", "sales_order_id=8", "quantity")
        with pytest.raises(ConfigurationError, match="names more than one row"):
            explain.explain("silver.sales_order_item", "sales_order_id=7", "quantity")
        with pytest.raises(ConfigurationError, match="column price"):
            explain.explain("silver.sales_order_item", key, "price")
    finally:
        explain._columns_of.cache_clear()  # pyright: ignore[reportPrivateUsage]
    steps = [found]
    while steps[-1].parents:
        steps.append(steps[-1].parents[0])
    assert [step.table for step in steps] == [
        "silver.sales_order_item",
        "staging.int_erp__sales_order_item",
        "staging.stg_erp__sales_order_item",
    ]
    assert [step.value for step in steps] == [Decimal("3.000")] * 3
    assert [step.is_proved for step in steps[:2]] == [True, True]
    assert found.law is not None
    assert found.law.contract == "sales_order_item.odcs.yaml"
    assert found.law.unit == "quantity_unit"
    (sent,) = steps[-1].sent
    assert (sent.system, sent.entity, sent.batch) == ("erp", "sales_order_item", "000000000001")
    assert sent.fields == {"RequestedQuantity": "3.000"}


def test_an_incremental_build_follows_late_doubled_deleted_and_mended_events(lake: Lake) -> None:
    assert lake.rows("silver.material_consumption", "event_id") == [("MC1",)]
    lake.ingest("mes", "material_consumption", [EVENT | {"eventId": "MC1"}, EVENT | {"eventId": "MC4"}])
    lake.ingest(
        "erp",
        "production_order",
        [{"ManufacturingOrder": "9999", "Material": "FG-1", "TotalQuantity": 1, "ProductionUnit": "ST"}],
    )
    selection = ("--exclude-resource-type", "unit_test", "--select", "production_order", "material_consumption")
    checked = (
        *selection,
        "int_erp__production_order",
        "quarantine_production_order",
        "quarantine_material_consumption",
    )
    lake.dbt("build", *checked)
    assert lake.rows("silver.material_consumption", "event_id", "_datong_batch_id") == [
        ("MC1", "000000000002"),
        ("MC2", "000000000001"),
        ("MC4", "000000000002"),
    ]
    lake.ingest("mes", "material_consumption", [{"eventId": "MC4"}], operation="delete")
    lake.dbt("build", *checked)
    incremental = lake.rows("silver.material_consumption", "event_id", "_datong_batch_id", "quantity")
    assert [row[0] for row in incremental] == ["MC1", "MC2"]
    version = lake.table("silver.material_consumption").version()
    lake.dbt("build", *checked)
    assert lake.table("silver.material_consumption").version() == version
    lake.dbt("build", "--full-refresh", *checked)
    assert lake.rows("silver.material_consumption", "event_id", "_datong_batch_id", "quantity") == incremental
    assert lake.table("silver.material_consumption").version() == version + 1


def test_conservation_finds_a_row_that_a_model_lost(lake: Lake) -> None:
    place = "models/silver/parts/int_erp__sales_order_item.sql"
    lake.edit(
        place, "    from sales_order_item\n", "    from sales_order_item\n    where sales_order_item_id <> '30'\n"
    )
    selection = ("build", "--select", "int_erp__sales_order_item", "sales_order_item", "quarantine_sales_order_item")
    printed = lake.dbt(*selection, fails=True)
    lake.edit(place, "\n    where sales_order_item_id <> '30'", "")
    lake.dbt(*selection)
    assert "FAIL 1 conservation_sales_order_item" in printed
    assert "PASS=" in printed
    assert "ERROR=1" in printed


def test_conservation_finds_a_golden_record_that_is_lost_beside_one_that_is_doubled(lake: Lake) -> None:
    lake.dbt("test", "--select", "golden_conserved_dim_material_material__golden_material_id")
    counted = lake.rows("ops.counted_gold__dim_material", "rows_in", "published", "deduplicated", "rows_lost")
    assert counted == [(2, 2, 0, 0)]
    table = lake.table("gold.dim_material")
    one, other = (row[0] for row in lake.rows("gold.dim_material", "golden_material_id"))
    table.delete(f"golden_material_id = '{one}'")
    table.update({"record_count": "2"}, predicate=f"golden_material_id = '{other}'")
    printed = lake.dbt("test", "--select", "golden_conserved_dim_material_material__golden_material_id", fails=True)
    assert "FAIL 1 golden_conserved_dim_material" in printed
    counted = lake.rows("ops.counted_gold__dim_material", "rows_in", "published", "deduplicated", "rows_lost")
    assert counted == [(2, 1, 1, 2)]
    lake.dbt("build", "--exclude-resource-type", "unit_test", "--select", "dim_material")


def test_a_column_can_be_added_removed_and_retyped_by_just_building(lake: Lake) -> None:
    place = "models/gold/marts/mart_inventory.sql"
    before = lake.table("gold.mart_inventory").version()
    lake.edit(
        place,
        "select\n    *,\n    cast(actual_quantity * standard_price as decimal(18, 2)) as actual_amount",
        "select\n    source_system,\n    plant_id,\n    material_id,"
        "\n    cast(unposted_count as string) as unposted_count,\n    true as is_new",
    )
    lake.dbt("build", "--select", "mart_inventory")
    types = {name.name: str(name.type) for name in pa.schema(lake.table("gold.mart_inventory").schema().to_arrow())}
    assert "actual_amount" not in types
    assert types["unposted_count"] == "string"
    assert types["is_new"] == "bool"
    assert lake.table("gold.mart_inventory").version() == before + 1, "the history must stay: time travel"


def test_a_changed_column_of_an_incremental_model_says_what_to_do(lake: Lake) -> None:
    columns = "macros/standard/columns.sql"
    with_reason = "'reason_code',\n            "
    lake.edit(columns, with_reason, "")
    lake.dbt("run", "--select", "+scrap", "--exclude", "scrap")
    shutil.copy(DBT_PROJECT / columns, lake.project / columns)
    lake.dbt("run", "--select", "scrap")
    lake.edit(columns, with_reason, "")
    printed = lake.dbt("run", "--select", "scrap", fails=True)
    assert "gone: reason_code" in printed
    assert "dbt build --full-refresh --select scrap" in printed
    lake.dbt("run", "--full-refresh", "--select", "scrap")
    assert "reason_code" not in lake.table("silver.scrap").schema().to_arrow().names
    shutil.copy(DBT_PROJECT / columns, lake.project / columns)


def test_every_table_has_exactly_the_columns_and_types_of_its_contract(lake: Lake) -> None:
    lake.dbt("run", "--full-refresh", "--select", "scrap")
    for each in contracts().values():
        built = lake.table(each.table).schema().to_arrow()
        assert {name: built.field(name).type for name in built.names} == {
            field.name: arrow_type(field.physical_type) for field in each.columns
        }, each.table


def test_after_a_restart_the_catalog_is_made_again_without_dbt(lake: Lake) -> None:
    restarted = Lake(lake.settings, lake.project, lake.bucket, lake.address[:-36] + str(uuid.uuid4()))
    program = (
        "from datong_platform import engine; from datong_platform.lake import catalog\n"
        "done = catalog.register(); print(len(done.tables), len(done.views), sorted(done.skipped))\n"
        "print(engine.query('select count(*) as n from staging.int_erp__sales_order_item').to_pylist())\n"
        "print(engine.query('select count(*) as n from silver.sales_order_item').to_pylist())\n"
        "told = engine.session().sql('describe extended silver.sales_order_item').collect()\n"
        "print([row.col_name for row in told][:2])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=restarted.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    printed = done.stdout.splitlines()
    tables, views, *skipped = printed[0].split(" ", 2)
    assert int(tables) > 40
    assert int(views) > 20
    assert skipped == ["[]"]
    assert printed[1] == "[{'n': 4}]"
    assert printed[2] == "[{'n': 2}]"
    assert printed[3] == "['source_system', 'source_key']"


def test_an_entity_that_is_missing_beside_its_system_names_the_command_that_brings_it(lake: Lake) -> None:
    shutil.copy(DBT_PROJECT / "dbt_project.yml", lake.project / "dbt_project.yml")
    lake.edit("models/staging/erp/_erp__sources.yml", "identifier: erp__product\n", "identifier: erp__product_x\n")
    printed = lake.dbt("run", "--select", "stg_erp__product", fails=True)
    lake.edit("models/staging/erp/_erp__sources.yml", "identifier: erp__product_x\n", "identifier: erp__product\n")
    assert "bronze.erp__product_x is not there" in printed
    assert "datong ingest erp product" in printed


@pytest.fixture
def steward(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """The lake, with this process's settings leading to it."""
    monkeypatch.setenv("DATONG_BUCKET", lake.bucket)
    return lake


ITEMS = ("--select", "silver.sales_order_item", "quarantine_sales_order_item", "int_erp__sales_order_item")
EVENTS = ("silver.material_consumption", "quarantine_material_consumption", "int_mes__material_consumption")
STEWARDED = ("build", "--exclude-resource-type", "unit_test", *ITEMS)


def test_a_fix_and_an_override_bring_a_record_into_silver_and_taking_them_back_brings_it_out(steward: Lake) -> None:
    key = next(one.key for one in withheld.page("sales_order_item", system="erp", rule="known_unit")[0])
    passed = withheld.override("sales_order_item", "erp", key, who="li", why="paper order", rule="known_unit")
    about, why = ("material_consumption", "mes", "MC3"), "a box holds 7 kg"
    with pytest.raises(ConfigurationError, match="mes/MC33: is neither in quarantine nor in silver"):
        withheld.fix("material_consumption", "mes", "MC33", {"quantity": "7"}, who="li", why="a slip of the finger")
    withheld.fix(*about, {"quantity_unit": "KGM", "quantity": "7"}, who="li", why=why)
    steward.dbt(*STEWARDED, *EVENTS)
    assert ("20", None) in steward.rows("silver.sales_order_item", "sales_order_item_id", "quantity_unit")
    consumed = ("silver.material_consumption", "event_id", "quantity_unit", "quantity")
    assert ("MC3", "KGM", Decimal(7)) in steward.rows(*consumed)
    found = withheld.record("sales_order_item", "erp", key)
    assert not found.is_withheld
    assert [one.decision_id for one in found.decisions] == [one.decision_id for one in passed]
    withheld.fix(*about, {"quantity": "8"}, who="li", why=why, instead=True)
    decisions.withdraw(passed[0].decision_id, "wang", "the paper order was another one")
    steward.dbt(*STEWARDED, *EVENTS)
    assert "20" not in {row[0] for row in steward.rows("silver.sales_order_item", "sales_order_item_id")}
    assert ("MC3", "KGM", Decimal(8)) in steward.rows(*consumed)
    assert withheld.record("sales_order_item", "erp", key).is_withheld


def test_an_entity_with_too_many_broken_rows_keeps_its_last_good_version_until_it_is_mended(steward: Lake) -> None:
    good = steward.rows("silver.sales_order_item", "sales_order_item_id", "quantity_unit")
    flood = [{"SalesOrderItem": f"{number:06d}", "RequestedQuantityUnit": "YY"} for number in range(100, 110)]
    steward.ingest("erp", "sales_order_item", [ITEM | row for row in flood])
    printed = steward.dbt(*STEWARDED)
    assert "WARN 1 within_thresholds_sales_order_item" in printed
    assert steward.rows("silver.sales_order_item", "sales_order_item_id", "quantity_unit") == good
    assert ("known_unit", True) in steward.rows("quarantine.sales_order_item", "rule", "is_withheld")
    steward.ingest("erp", "sales_order_item", [ITEM | row | {"RequestedQuantityUnit": "ST"} for row in flood])
    printed = steward.dbt(*STEWARDED)
    assert "PASS within_thresholds_sales_order_item" in printed
    assert len(steward.rows("silver.sales_order_item", "sales_order_item_id")) == len(good) + len(flood)


def test_above_the_second_threshold_the_build_of_the_entity_stops_and_says_why(steward: Lake) -> None:
    place = "macros/standard/thresholds.sql"
    text = (steward.project / place).read_text("utf-8")
    limit = '{"check": "sales_order_item_id.required", "hold_above": 0.0, "stop_above": 0.01}'
    old = next(line.strip().rstrip(",") for line in text.partition("'sales_order_item'")[2].splitlines() if "{" in line)
    changed = text.replace(f"'sales_order_item': [\n            {old}", f"'sales_order_item': [\n            {limit}")
    assert changed != text
    (steward.project / place).write_text(changed, "utf-8")
    printed = steward.dbt("run", "--select", "silver.sales_order_item", fails=True)
    (steward.project / place).write_text(text, "utf-8")
    assert "silver.sales_order_item is stopped: 1 of its" in printed
    assert "break sales_order_item_id.required" in printed
    assert "datong quarantine list --entity sales_order_item" in printed


def test_a_case_remembers_since_when_and_is_released_once(steward: Lake) -> None:
    first = datetime(2026, 11, 1, tzinfo=UTC)
    opened = cases.update("run-1", first)
    assert opened.opened["sales_order_item", "known_unit"] == 1
    assert not cases.update("run-2").words
    steward.ingest("erp", "sales_order_item", [ITEM | {"SalesOrderItem": "000020"}])
    steward.dbt(*STEWARDED)
    released = cases.update("run-3")
    assert released.released == {("sales_order_item", "known_unit"): 1}
    assert not released.opened
    assert {group.rule: group.since for group in withheld.groups("sales_order_item")} == {"required": first}


def test_what_a_build_counted_is_written_down_once_and_adds_up(steward: Lake) -> None:
    counted = {count.table_name: count for count in conservation.record_build("run-1")}
    items = counted["silver.sales_order_item"]
    assert items.rows_in == items.published + items.quarantined + items.deduplicated
    assert items.published == len(steward.rows("silver.sales_order_item", "source_key"))
    assert items.quarantined == 1
    assert counted["gold.fct_sales_order_item"].layer == "gold"
    assert not any(count.rows_lost for count in counted.values())
    assert conservation.record_build("run-2") == []
    assert [run.run_id for run in conservation.runs()] == ["run-1"]
    assert len(conservation.latest("run-1")) == len(conservation.latest())


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"quantity": "seven"}, "is no decimal"), ({"source_key": "1"}, "identity"), ({"no_such": "1"}, "not in the")],
)
def test_what_a_field_cannot_hold_or_is_not_there_is_no_fix(values: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        withheld.fix("sales_order_item", "erp", "7/20", values, who="li", why="a try")


def test_a_table_of_silver_brings_the_parts_that_it_is_made_of() -> None:
    parsed = graph.load()
    found = parsed.with_parts(["model.datong.customer"])
    parts = ("int_erp__customer", "int_crm__customer", "int_erp__business_partner")
    assert set(found) == {"model.datong.customer", *(f"model.datong.{name}" for name in parts)}
    events = parsed.with_parts(["model.datong.material_movement", "model.datong.fct_material_movement"])
    assert events == ["model.datong.material_movement", "model.datong.fct_material_movement"], "its part is a view"


def test_without_services_dbt_says_how_to_start_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dbt.cli.main", "run", "--select", "dim_date"),
            *("--target-path", str(tmp_path), "--log-path", str(tmp_path)),
        ],
        cwd=DBT_PROJECT,
        env={**os.environ, "DATONG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode != 0
    assert "the services are not running" in done.stdout
    assert "datong up" in done.stdout
