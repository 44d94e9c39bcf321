"""Balances and scores on the engine, and reconciliation as Dagster runs it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest
from datong_assets import instance as instances
from datong_assets import runs
from datong_infra.services.dagster import write_instance
from datong_platform import engine
from datong_platform.lake import history
from datong_platform.names import TableName, bronze
from datong_platform.quality import balances, record, scores
from datong_platform.quality.balances import Balance, Balanced
from datong_platform.settings import Settings
from datong_platform.standard.contract import contract

MARK = uuid.uuid4().hex[:8]
UNITS = TableName("ops", f"unit_{MARK}")
MATERIAL_UNITS = TableName("ops", f"material_unit_{MARK}")


def made(settings: Settings, table: TableName, rows: str) -> None:
    """A Delta table of some rows, known to the engine."""
    engine.session().sql("create schema if not exists ops").collect()
    engine.session().sql(
        f"create or replace table {table} using delta location '{settings.engine_table_uri(table)}' as {rows}"
    ).collect()


@pytest.fixture(scope="module", autouse=True)
def units(services: Settings) -> Iterator[None]:
    """Units of their own, whatever another test of the session built."""
    made(
        services,
        UNITS,
        "select unit, dimension, cast(factor as decimal(18, 9)) as factor from values ('KGM', 'mass', 1), "
        "('TNE', 'mass', 1000), ('MTR', 'length', 1), ('H87', 'count', 1), ('XBX', 'package', null) "
        "as unit (unit, dimension, factor)",
    )
    made(
        services,
        MATERIAL_UNITS,
        "select 'erp' as source_system, 'M1' as material_id, 'XBX' as unit, 'H87' as base_unit, "
        "cast(10 as decimal(18, 6)) as factor",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(balances, "_UNITS", UNITS)
        patch.setattr(balances, "_MATERIAL_UNITS", MATERIAL_UNITS)
        yield


def balanced(left: Sequence[str], right: Sequence[str], **more: Any) -> Balanced:
    """A balance of rows written as `'key', quantity, 'unit'`."""

    def side(rows: Sequence[str]) -> list[dict[str, Any]]:
        query = f"select 'erp' as source_system, * from values {', '.join(f'({row})' for row in rows)} as r (k, q, u)"
        return [{"query": query, "reads": [str(UNITS)], "value": "q", "unit": "u", **more.get("term", {})}]

    balance = Balance.model_validate(
        {
            "name": "tried",
            "kind": "balance",
            "title": "Tried",
            "checked_on": str(UNITS),
            "keys": ["k"],
            "left": side(left),
            "right": side(right),
            "tolerance": more.get("tolerance", {}),
        }
    )
    (found,) = balances.run([balance])
    assert found.status != "failed", found.reason
    return found


def test_quantities_of_one_dimension_are_converted_before_they_are_compared() -> None:
    found = balanced(["'A', 1.5, 'TNE'", "'A', 20, 'KGM'"], ["'A', 1520, 'KGM'"])
    assert found.status == "agrees"
    assert dict(found.totals) == {"KGM": (Decimal(1520), Decimal(1520))}


def test_quantities_of_two_dimensions_are_never_added() -> None:
    found = balanced(["'A', 10, 'KGM'", "'A', 5, 'MTR'"], ["'A', 15, 'KGM'"])
    assert (found.status, found.different) == ("differs", 2)
    assert {(one.unit, one.left, one.right) for one in found.differences} == {("KGM", 10, 15), ("MTR", 5, 0)}


def test_amounts_of_two_currencies_are_never_added() -> None:
    found = balanced(["'A', 10, 'CNY'", "'A', 10, 'USD'"], ["'A', 20, 'CNY'"])
    assert {(one.unit, one.difference) for one in found.differences} == {("CNY", -10), ("USD", 10)}


def test_a_box_is_as_many_pieces_as_its_material_says() -> None:
    term = {"term": {"material": "k"}}
    assert balanced(["'M1', 2, 'XBX'"], ["'M1', 20, 'H87'"], **term).status == "agrees"
    assert balanced(["'M2', 2, 'XBX'"], ["'M2', 20, 'H87'"], **term).status == "differs"


def test_a_difference_names_its_keys_the_greatest_first() -> None:
    found = balanced(["'A', 10, 'H87'", "'B', 10, 'H87'", "'C', 3, 'H87'"], ["'A', 9, 'H87'", "'B', 10, 'H87'"])
    assert (found.facts, found.different) == (3, 2)
    assert [(one.key, one.difference) for one in found.differences] == [("C", 3), ("A", 1)]
    assert "examples" in str(found.entry())
    assert found.entry().examples[0]["key"] == "C"


@pytest.mark.parametrize(
    ("left", "right", "tolerance", "status"),
    [
        ("'A', 1.0004, 'KGM'", "'A', 1, 'KGM'", {}, "agrees"),
        ("'A', 1.0006, 'KGM'", "'A', 1, 'KGM'", {}, "differs"),
        ("'A', 1.0004, 'H87'", "'A', 1, 'H87'", {}, "differs"),
        ("'A', 102, 'KGM'", "'A', 100, 'KGM'", {"percent": 2}, "agrees"),
        ("'A', 103, 'KGM'", "'A', 100, 'KGM'", {"percent": 2}, "differs"),
        ("'A', 0.01, 'CNY'", "'A', 0, 'CNY'", {"units": {"CNY": 0.01}}, "agrees"),
    ],
)
def test_the_tolerance_is_that_of_the_unit(left: str, right: str, tolerance: dict[str, Any], status: str) -> None:
    assert balanced([left], [right], tolerance=tolerance).status == status


def test_a_balance_of_tables_that_are_not_there_says_which() -> None:
    wanted = balances.balances()[0].model_copy(update={"checked_on": "silver.nowhere_at_all"})
    (found,) = balances.run([wanted])
    assert found.status == "not connected"
    assert "silver.nowhere_at_all" in found.reason


def test_a_balance_that_cannot_be_computed_says_what_to_mend() -> None:
    broken = Balance.model_validate(
        {
            "name": "broken",
            "kind": "balance",
            "title": "Broken",
            "checked_on": str(UNITS),
            "keys": ["unit"],
            "left": [{"table": str(UNITS), "value": "no_such_column"}],
            "right": [{"table": str(UNITS), "value": "1"}],
        }
    )
    (found,) = balances.run([broken])
    assert (found.status, found.ok) == ("failed", False)
    assert "no_such_column" in found.reason
    assert "mend it in reconciliation.yaml" in found.reason


def test_a_record_counts_once_in_each_dimension_whatever_it_breaks_there() -> None:
    item = contract("sales_order_item")
    cases = [
        (["required", "required"], 3, True),
        (["positive", "refers_to_material"], 2, True),
        (["positive"], 1, False),
    ]
    found = {one.dimension: one for one in scores.by_rules(item, "", 100, cases, "")}
    assert (found["completeness"].broken, found["completeness"].score) == (3, 0.97)
    assert found["completeness"].rules == {"required": 6}
    assert (found["accuracy"].broken, found["consistency"].broken) == (3, 2)
    assert found["conformity"].score == 1


@pytest.fixture(scope="module")
def instance(services: Settings) -> dg.DagsterInstance:
    """Dagster on PostgreSQL, as `datong up` sets it up."""
    write_instance()
    return instances.instance()


@pytest.mark.usefixtures("sandbox")
def test_a_lost_row_fails_the_run_of_reconciliation_and_its_check_names_the_row(instance: dg.DagsterInstance) -> None:
    assert runs.ingest("crm").ok
    assert runs.reconcile("crm", instance=instance).ok
    marks = {one.entity: one for one in record.marks("crm")}
    assert marks["account"].verified_through
    delta = history.open_table(bronze("crm", "contact"))
    assert delta
    delta.delete("id = 1")
    try:
        result = runs.reconcile("crm", options=["anew"], instance=instance)
        assert not result.ok
        assert "missing in lake" in str(result.errors[0])
        found = record.entries(result.run_id)
        assert {row["status"] for row in found if row["entity"] == "account"} <= {"agrees", "open", "changed since"}
        assert [example["key"] for row in found for example in row["examples"]] == ["1"]
        key = dg.AssetCheckKey(dg.AssetKey(["bronze", "crm__contact"]), "reconciled")
        evaluation = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0].event
        assert evaluation is not None
        told = evaluation.asset_check_evaluation
        assert told is not None
        assert not told.passed
        assert "1 differ" in str(told.description)
    finally:
        delta.restore(delta.version() - 1)
    assert runs.reconcile("crm", instance=instance).ok


@pytest.mark.usefixtures("sandbox")
def test_what_is_out_of_the_ordinary_is_judged_for_every_table(instance: dg.DagsterInstance) -> None:
    assert runs.ingest("crm").ok
    result = runs.anomalies(instance=instance)
    assert result.ok, result.errors
    key = dg.AssetCheckKey(dg.AssetKey(["bronze", "crm__account"]), "freshness_as_usual")
    evaluation = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0].event
    assert evaluation is not None
    told = evaluation.asset_check_evaluation
    assert told is not None
    assert told.passed
    assert "hours ago" in str(told.description)
