"""Dirty files and interchanges, each of a class with known truth, through the whole ingest: every value right, rescued
as it was sent, or in quarantine with its place and reason; rows in = rows in bronze + rows in quarantine."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import chain
from pathlib import Path
from typing import Any

import dirty_files
import dirty_interchanges
import pytest
from datong_platform.settings import Settings
from dirty_files import Definition, DirtyFile
from document_folder import DocumentFolder

Row = dict[str, Any]


def wrong_in(definition: Definition, path: Path) -> tuple[list[str], int]:
    """What is wrong after all files of a definition were read, and how many rows were sent."""
    folder = DocumentFolder(path)
    folder.protocol = definition.protocol
    for file in definition.files:
        folder.write(file.name, file.body)
    folder.ingest(
        definition.source,
        fields=definition.fields,
        keys=definition.keys,
        options=definition.options,
        connection={"taken_once_by": "file", "order": "name"},
    )
    rows, refused = defaultdict[str, list[Row]](list), defaultdict[str, list[Row]](list)
    for row in folder.bronze():
        rows[row["_file"]].append(row)
    for part in folder.refused():
        refused[part["place"].split(" ")[0]].append(part)
    wrong: list[str] = []
    for file in definition.files:
        name = file.name.removesuffix(".gz")
        if found := _differences(file, rows[name], refused[file.name]):
            wrong.append(f"{file.dirt} ({file.name}): {found}")
    return wrong, sum(file.truth.rows_in for file in definition.files)


def _differences(file: DirtyFile, rows: list[Row], refused: list[Row]) -> str:  # noqa: PLR0911 one for each promise
    truth = file.truth
    if len(refused) != truth.refused:
        reasons = [part["reason"] for part in refused]
        return f"{len(refused)} refused, not {truth.refused}: {reasons}; rows {rows[:2]}"
    if refused and not any(truth.reason in part["reason"] for part in refused):
        return f"refused because {refused[0]['reason']!r}, not {truth.reason!r}"
    if any(not part["reason"] or not part["place"] for part in refused):
        return "refused without a reason or place"
    if len(rows) != len(truth.rows):
        return f"{len(rows)} rows in bronze, not {len(truth.rows)}"
    parts = truth.refused if not truth.lost_with_file else truth.lost_with_file
    if truth.rows_in and len(rows) + parts != truth.rows_in:
        return f"{truth.rows_in} rows in, {len(rows)} in bronze and {parts} in quarantine"
    for number, (row, values, sent) in enumerate(zip(rows, truth.rows, truth.sent, strict=True), 1):
        told = {name: row[name] for name in values if row[name] != values[name]}
        if told:
            return f"row {number} has {told}, not { {name: values[name] for name in told} }"
        rescued = json.loads(row["_datong_rescued"] or "{}")
        if rescued != sent:
            return f"row {number} rescued {rescued}, not {sent}"
    return ""


def _all(tmp_path: Path, of_each: int, seed: int) -> tuple[list[str], int, int]:
    wrong: list[str] = []
    files = rows = 0
    corpora = chain(dirty_files.corpus(of_each, seed), dirty_interchanges.corpus(of_each, seed))
    for number, definition in enumerate(corpora):
        path = tmp_path / str(number)
        path.mkdir()
        found, count = wrong_in(definition, path)
        wrong += found
        files, rows = files + len(definition.files), rows + count
    return wrong, files, rows


def test_every_value_of_dirty_files_is_right_or_rescued_or_refused(services: Settings, tmp_path: Path) -> None:
    assert dirty_files.classes() >= 60
    assert dirty_interchanges.classes() >= 60
    wrong, files, rows = _all(tmp_path, 1, 7)
    assert not wrong, f"{len(wrong)} of {files} files with {rows} rows:\n" + "\n".join(wrong[:80])
    assert files > 400


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(3))
def test_every_value_of_thousands_of_dirty_files_is_right(services: Settings, tmp_path: Path, seed: int) -> None:
    wrong, files, rows = _all(tmp_path, 6, seed)
    assert not wrong, f"{len(wrong)} of {files} files with {rows} rows:\n" + "\n".join(wrong[:80])
    assert files > 2000
