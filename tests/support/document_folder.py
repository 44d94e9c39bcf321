"""A folder that is a source system of documents, for tests of what is particular to a protocol."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

from datong_ingestion.run import IngestResult, ingest_entity
from datong_ingestion.systems_config import SystemConfig
from datong_platform.lake import history
from datong_platform.names import bronze, quarantine


class DocumentFolder:
    """A folder that is a source system, and the bronze table it is read into."""

    protocol = "files"
    entity: dict[str, Any] = {}  # noqa: RUF012 tests read it

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, f"f{uuid.uuid4().hex[:8]}"

    def write(self, name: str, content: bytes | str, *, age: float = 100) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (time.time() - age, time.time() - age))
        return path

    def system(self, source: str = "*", connection: dict[str, Any] | None = None, **entity: Any) -> SystemConfig:
        entity = {"name": "row", "source": source, "mode": "stream", **self.entity, **entity}
        return SystemConfig.model_validate(
            {
                "system": self.name,
                "protocol": self.protocol,
                "connection": {
                    "location": str(self.path),
                    "attempts": 2,
                    "max_wait_seconds": 0.1,
                    **(connection or {}),
                },
                "entities": [entity],
            }
        )

    def ingest(self, source: str = "*", **changes: Any) -> IngestResult:
        return ingest_entity(self.system(source, **changes), "row")

    def bronze(self) -> list[dict[str, Any]]:
        delta = history.open_table(bronze(self.name, "row"))
        rows = [] if delta is None else delta.to_pyarrow_table().to_pylist()
        return sorted(rows, key=lambda row: (row["_datong_batch_id"], row["_file"], row["_row"]))

    def refused(self) -> list[dict[str, Any]]:
        delta = history.open_table(quarantine(self.name, "row"))
        return [] if delta is None else sorted(delta.to_pyarrow_table().to_pylist(), key=lambda row: row["place"])
