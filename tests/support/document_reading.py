"""Documents read as a source system's would be, without a lake: what is made of each file, row by row."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datong_ingestion.source import connect
from datong_ingestion.systems_config import SystemConfig


@dataclass
class Reading:
    """What was read."""

    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Each with `_datong_rescued`, as in bronze."""
    refused: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def system(protocol: str, folder: Path, *, connection: dict[str, Any] | None = None, **entity: Any) -> SystemConfig:
    """A folder as a source system with one entity `row`."""
    return SystemConfig.model_validate(
        {
            "system": "reading",
            "protocol": protocol,
            "connection": {
                "location": str(folder),
                "settle_seconds": 0,
                "taken_once_by": "file",
                "order": "name",
                **(connection or {}),
            },
            "entities": [{"name": "row", "source": "*", "mode": "stream", **entity}],
        }
    )


def read(declared: SystemConfig) -> Reading:
    """All files of the folder."""
    source, entity = connect(declared), declared.entity("row")
    found = Reading()
    try:
        for page in source.read(entity, source.describe(entity), None):
            rescued = page.rescued.to_pylist() if page.rescued is not None else [None] * len(page.rows)
            for row, text in zip(page.rows.to_pylist(), rescued, strict=True):
                found.rows.append(row | {"_datong_rescued": text and json.loads(text)})
            if page.refused is not None:
                found.refused += page.refused.to_pylist()
    finally:
        source.close()
    return found


def read_bytes(protocol: str, folder: Path, name: str, body: bytes, **declared: Any) -> Reading:
    """One file."""
    path = folder / name
    path.write_bytes(body)
    os.utime(path, (1, 1))
    try:
        return read(system(protocol, folder, source=name, **declared))
    finally:
        path.unlink()
