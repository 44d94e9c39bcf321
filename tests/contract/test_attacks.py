"""Documents made to fill the memory or to keep a reader busy for ever are refused, or read, within limits that the
operating system keeps: a process that takes more is ended, and its test fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from attacked import ATTACKS

MEMORY_MB, CPU_SECONDS = 1500, 30
REFUSED = {
    "quotes_without_end": "record_mib",
    "quotes_in_every_value": "something else must be wrong",
    "a_million_columns": "columns",
    "a_million_values": "values, and there are 2 columns",
    "a_text_without_end": "it is not JSON",
    "lines_without_end": "it is not JSON",
    "nesting": "nested deeper",
    "a_million_attributes": "attributes",
    "entities_in_entities": "document type",
    "a_file_of_the_machine": "document type",
    "nested_elements": "not valid",
    "cells_that_never_end": "",
    "a_sheet_with_a_name_that_never_ends": "",
    "segments_of_nothing": "cut off",
}


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What the readers said to every attack."""
    script = Path(__file__).parents[1] / "support" / "attacked.py"
    done = subprocess.run(
        [sys.executable, str(script), str(MEMORY_MB), str(CPU_SECONDS)],
        input="\n".join(ATTACKS),
        capture_output=True,
        text=True,
        check=True,
    )
    return {line["attack"]: line["said"] for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_or_read_within_its_memory_and_time(said: dict[str, str], name: str) -> None:
    assert not said[name].startswith(("ended", "broke")), said[name]
    if name in REFUSED:
        assert said[name].startswith("refused"), said[name]
        assert REFUSED[name] in said[name]
    else:
        assert said[name] == "1 rows"
