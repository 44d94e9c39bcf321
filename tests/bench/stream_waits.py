"""How long changes took to the Delta commit that holds them, for the benchmarks of streams."""

from __future__ import annotations

import json
import statistics
from typing import Any

from datong_platform.lake import history


def waits(delta: Any, moment: str) -> dict[str, float]:
    """Seconds from the column `moment` of each row to the commit of its batch: median, p95, greatest; and commits."""
    committed = {
        json.loads(entry[history.METADATA_KEY])["batch_id"]: entry["timestamp"] / 1000
        for entry in delta.history()
        if history.METADATA_KEY in entry
    }
    rows = delta.to_pyarrow_dataset().to_table(columns=[moment, "_datong_batch_id"])
    found = sorted(
        committed[batch] - at.timestamp()
        for at, batch in zip(rows.column(0).to_pylist(), rows.column(1).to_pylist(), strict=True)
    )
    return {
        "p50_seconds": statistics.median(found),
        "p95_seconds": found[int(len(found) * 0.95)],
        "max_seconds": found[-1],
        "commits": len(committed),
    }
