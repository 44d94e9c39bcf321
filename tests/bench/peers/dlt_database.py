"""The peer dlt: its sql_database source with the backend ConnectorX, into a Delta table in the same store.

Run by `tests/bench/database.py` with a Python that has `dlt[deltalake,filesystem,s3,sql_database]` and `connectorx`;
as dlt's documents have it, with nothing tuned.
"""

from __future__ import annotations

import json
import os
import sys

import dlt  # pyright: ignore[reportMissingImports]
from dlt.destinations import filesystem  # pyright: ignore[reportMissingImports]
from dlt.sources.sql_database import sql_table  # pyright: ignore[reportMissingImports]


def main() -> None:
    """Read the table whole."""
    task = json.loads(sys.stdin.read())
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    keys = task["storage"]
    place = filesystem(
        bucket_url=f"s3://{task['bucket']}/peers",
        credentials={
            "aws_access_key_id": keys["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": keys["AWS_SECRET_ACCESS_KEY"],
            "endpoint_url": keys["AWS_ENDPOINT_URL"],
            "region_name": keys["AWS_REGION"],
        },
    )
    rows = sql_table(
        credentials=task["url"].replace("postgresql://", "postgresql+psycopg2://"),
        table="lineitem",
        backend=task["backend"],
        **({"chunk_size": 100_000} if task["backend"] == "pyarrow" else {}),
    )
    rows.apply_hints(table_format="delta", write_disposition="replace")
    pipeline = dlt.pipeline("bench", destination=place, dataset_name="dlt", pipelines_dir=task["work"])
    pipeline.run(rows)


if __name__ == "__main__":
    main()
