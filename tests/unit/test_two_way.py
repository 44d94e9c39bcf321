"""What a field shall be: three ways, its owner, what is no news; and definitions that are wrong, told by line."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from datong_ingestion.two_way.config import load_syncs, run_name, ways
from datong_ingestion.two_way.decide import UNKNOWN, Base, Value, landed, settle
from datong_platform.errors import ConfigurationError

A, B, C = date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)
DEFINITION = """type: datong_assets.components.TwoWaySync
attributes:
  sync: dates
  source: serve.sync__production_order
  key: order_no
  entity: production_order
  systems:
    erp: {resource: S/Orders, lookup: Order, identity: [Order]}
    mes: {resource: /orders, lookup: orderNo, identity: [orderNo]}
  fields:
    planned_start_on: {erp: Start, mes: start}
"""


@pytest.mark.parametrize(
    ("base", "erp", "mes", "expected"),
    [
        (A, A, A, (A, "agreed", "")),
        (A, B, B, (B, "agreed", "")),
        (A, B, A, (B, "carried", "erp")),
        (A, A, B, (B, "carried", "mes")),
        (A, None, A, (None, "carried", "erp")),
        (A, B, C, (B, "owner", "erp")),
        (A, None, C, (None, "owner", "erp")),
        (UNKNOWN, A, A, (A, "agreed", "")),
        (UNKNOWN, A, B, (A, "first", "erp")),
        (UNKNOWN, None, B, (B, "first", "mes")),
        (None, None, B, (B, "carried", "mes")),
    ],
)
def test_who_changed_a_field_alone_is_followed_and_where_both_did_its_owner(
    base: Base, erp: Value, mes: Value, expected: tuple[Value, str, str]
) -> None:
    found = settle(base, {"erp": erp, "mes": mes}, ["erp", "mes"])
    assert (found.value, found.why, found.winner) == expected
    turned = settle(base, {"mes": mes, "erp": erp}, ["erp", "mes"])
    assert (turned.value, turned.why, turned.winner) == expected


def test_the_other_owner_wins_where_the_authority_file_says_so() -> None:
    assert settle(A, {"erp": B, "mes": C}, ["mes", "erp"]).value == C


def test_our_own_write_that_shows_is_what_was_agreed() -> None:
    assert landed(A, B, B) == B
    assert landed(A, C, B) == A
    assert landed(A, C, UNKNOWN) == A


def test_parts_of_a_second_are_no_change() -> None:
    one = datetime(2026, 1, 1, 8, 0, 0, 250_000, UTC)
    assert settle(A, {"erp": one, "mes": one.replace(microsecond=0)}, ["erp", "mes"]).why == "agreed"


def defined(folder: Path, text: str) -> Path:
    (folder / "defs.yaml").write_text(text, encoding="utf-8")
    return folder


def test_both_ways_stand_in_the_ledger_as_flows_that_only_change_records(tmp_path: Path) -> None:
    found = ways(defined(tmp_path, DEFINITION))
    assert list(found) == ["dates_to_erp", "dates_to_mes"]
    assert found["dates_to_mes"].target.system == "mes"
    assert found["dates_to_mes"].operations == ["update"]


def test_who_names_one_way_runs_its_synchronisation(tmp_path: Path) -> None:
    folder = defined(tmp_path, DEFINITION)
    assert {run_name(name, folder) for name in ways(folder)} == {"dates"}
    assert run_name("orders_to_mes", folder) == "orders_to_mes"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("    mes: {resource: /orders, lookup: orderNo, identity: [orderNo]}\n", "", 2, "names 1 systems"),
        ("serve.sync__production_order", "silver.production_order", 4, "reads from serve only"),
        (", mes: start}", "}", 2, "must say where each of erp and mes holds it"),
        ("mes: start}", "mes: orderNo}", 2, "orderNo is the key of mes"),
        ("entity: production_order", "entity: supplier", 2, "does not say whether mes knows supplier.planned_start_on"),
        (
            "    planned_start_on:",
            "    priority: {erp: Start, mes: rank}\n    planned_start_on:",
            2,
            "the same field of erp",
        ),
    ],
)
def test_a_definition_that_makes_no_sense_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    folder = defined(tmp_path, DEFINITION.replace(old, new))
    with pytest.raises(ConfigurationError, match=words) as told:
        load_syncs(folder)
    assert f"defs.yaml:{line}" in str(told.value)
