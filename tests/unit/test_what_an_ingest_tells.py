"""The words of `datong ingest` for an entity, and the headings of `datong sql`."""

from __future__ import annotations

import pyarrow as pa
import pytest
from datong_assets.components.source_system import _detail  # pyright: ignore[reportPrivateUsage]
from datong_infra.cli.output import Format, print_rows
from datong_ingestion.run import IngestResult
from datong_platform.names import bronze


def _result(rescued: int, refused: int, events: list[str], notes: list[str]) -> IngestResult:
    return IngestResult(
        table=bronze("erp", "row"),
        mode="stream",
        batches=["000000000001"],
        rows=3,
        deletes=0,
        rescued=rescued,
        new_columns=[],
        position=None,
        seconds=1.0,
        bytes=10,
        delta_version=1,
        schema=pa.schema([]),
        total_rows=7,
        notes=notes,
        events=events,
        refused=refused,
    )


def test_an_ingest_tells_what_was_held_back_what_happened_and_what_waits() -> None:
    assert _detail(_result(0, 0, [], [])) == "7 rows in bronze.erp__row"
    assert _detail(_result(2, 1, ["its position was lost"], ["1 file waiting"])) == (
        "7 rows in bronze.erp__row, 1 to quarantine, 2 with values in _datong_rescued, "
        "its position was lost, 1 file waiting"
    )


def test_names_that_are_typed_again_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"_datong_rescued": "x"}], Format.table, names_as_they_are=True)
    assert "_datong_rescued" in capsys.readouterr().out
    print_rows([{"total_rows": 1}], Format.table)
    assert "total rows" in capsys.readouterr().out
