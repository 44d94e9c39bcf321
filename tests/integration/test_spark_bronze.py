"""The second engine and bronze tables whose files were taken over from the landing zone as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datong_platform import engine as engines
from datong_platform.lake import history, storage
from datong_platform.names import bronze
from datong_platform.settings import Settings
from document_folder import DocumentFolder

pytestmark = [pytest.mark.spark, pytest.mark.slow]

FIELDS = {
    "number": "long",
    "name": "string",
    "amount": "decimal(18,4)",
    "ratio": "double",
    "is_open": "boolean",
    "due_on": "date",
    "seen_at": "timestamp",
    "local_at": "timestamp_ntz",
}


def lines(first: int, last: int) -> str:
    """Rows as JSON lines; every seventh is full of nulls, names are Chinese and longer than statistics keep."""
    found = []
    for number in range(first, last + 1):
        row: dict[str, Any] = {"number": number}
        if number % 7:
            row |= {
                "name": f"轴承 {number} " + "长" * 40,
                "amount": f"{number}.2501",
                "ratio": number / 3,
                "is_open": number % 2 == 0,
                "due_on": f"2026-01-{number % 28 + 1:02d}",
                "seen_at": f"2026-01-01T00:00:{number % 60:02d}.000123Z",
                "local_at": f"0999-12-31T23:59:{number % 60:02d}",
            }
        found.append(json.dumps(row, ensure_ascii=False))
    return "\n".join(found) + "\n"


@pytest.fixture
def folder(tmp_path: Path, services: Settings) -> DocumentFolder:
    return DocumentFolder(tmp_path)


def test_spark_reads_files_that_were_taken_over_and_finds_by_their_statistics(
    folder: DocumentFolder, services: Settings, spark_services: Any
) -> None:
    for name, first, last in (("a.jsonl", 1, 500), ("b.jsonl", 501, 900)):
        folder.write(name, lines(first, last))
        result = folder.ingest("*.jsonl", fields=FIELDS, keys=["number"])
        assert (result.rows, result.refused, result.rescued) == (last - first + 1, 0, 0)
    table = bronze(folder.name, "row")
    delta = history.open_table(table)
    assert delta is not None
    files = delta.file_uris()
    landed = {"-".join(key.split("/")[-2:]) for key in storage.keys(f"landing/{folder.name}/row/data/")}
    assert {file.rpartition("/")[2] for file in files} <= landed, "copies of the landed files, as they are"
    assert len(files) == 2
    spark = engines.session(spark_services.address)
    place = f"delta.`s3a://{services.bucket}/{table.path}`"
    rows = {row["number"]: row for row in folder.bronze()}

    def same(words: str, wanted: Callable[[dict[str, Any]], bool]) -> None:
        found = spark.sql(f"select * from {place} where {words}").toArrow().to_pylist()
        assert {row["number"]: row for row in found} == {key: row for key, row in rows.items() if wanted(row)}, words

    same("true", bool)
    same("number = 777", lambda row: row["number"] == 777)
    same("number > 495 and number < 505", lambda row: 495 < row["number"] < 505)
    same("name is null", lambda row: row["name"] is None)
    same(f"name = '{rows[899]['name']}'", lambda row: row["name"] == rows[899]["name"])
    same("amount > 890.25", lambda row: row["amount"] is not None and float(row["amount"]) > 890.25)
    same("seen_at = timestamp'2026-01-01 00:00:07.000123Z'", lambda row: row["seen_at"] == rows[487]["seen_at"])
    same("local_at = timestamp_ntz'0999-12-31 23:59:08'", lambda row: row["local_at"] == rows[8]["local_at"])
    same("due_on = date'2026-01-05'", lambda row: row["due_on"] is not None and row["due_on"].day == 5)


def test_what_spark_compacts_goes_on_growing_by_files_that_are_taken_over(
    folder: DocumentFolder, services: Settings, spark_services: Any
) -> None:
    for number in range(4):
        folder.write(f"{number}.jsonl", lines(100 * number + 1, 100 * number + 100))
        folder.ingest("*.jsonl", fields=FIELDS, keys=["number"])
    spark = engines.session(spark_services.address)
    place = f"delta.`s3a://{services.bucket}/{bronze(folder.name, 'row').path}`"
    before = folder.bronze()
    spark.sql(f"optimize {place}").collect()
    spark.sql(f"delete from {place} where number = 3").collect()
    folder.write("9.jsonl", lines(901, 1000))
    assert folder.ingest("*.jsonl", fields=FIELDS, keys=["number"]).rows == 100
    wanted = [row for row in before if row["number"] != 3]
    after = folder.bronze()
    assert [row for row in after if row["number"] <= 400] == wanted
    assert len(after) == len(wanted) + 100
    read = spark.sql(f"select * from {place} order by number").toArrow().to_pylist()
    assert read == sorted(after, key=lambda row: row["number"])
