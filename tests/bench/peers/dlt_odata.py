"""The peer dlt: its rest_api source over OData's pages, into a Delta table on the local disk.

Run by `tests/bench/odata.py` with a Python that has `dlt[deltalake]`; as dlt's documents have it, with nothing tuned.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import dlt  # pyright: ignore[reportMissingImports]
from dlt.sources.rest_api import rest_api_source  # pyright: ignore[reportMissingImports]


def main() -> None:
    """Read the pages whole."""
    task = json.loads(sys.stdin.read())
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    port, version, folder = task["port"], task["version"], Path(task["folder"])
    link, rows = ("d.__next", "d.results") if version == "v2" else ("'@odata.nextLink'", "value")
    source = rest_api_source(
        {
            "client": {
                "base_url": f"http://127.0.0.1:{port}/{version}/API/",
                "paginator": {"type": "json_link", "next_url_path": link},
            },
            "resource_defaults": {"primary_key": "SalesOrder", "write_disposition": "append"},
            "resources": [{"name": "orders", "endpoint": {"path": "Orders", "data_selector": rows}}],
        }
    )
    pipeline = dlt.pipeline(
        "p1",
        pipelines_dir=str(folder / "pipelines"),
        destination=dlt.destinations.filesystem(bucket_url=(folder / "lake").as_uri()),
        dataset_name="bronze",
    )
    source.orders.apply_hints(table_format="delta")
    started, cpu = time.perf_counter(), time.process_time()
    pipeline.run(source, loader_file_format="parquet")
    print(json.dumps({"own_seconds": time.perf_counter() - started, "own_cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
