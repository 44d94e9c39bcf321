"""`python -m datong_infra.sandbox serve`: run the sandbox plant (see the package's docstring)."""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from datong_platform import settings
from datong_platform.errors import DatongError


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and serve; returns the exit status."""
    from datong_infra.sandbox.simulation import DEFAULT_START

    parser = argparse.ArgumentParser(prog="python -m datong_infra.sandbox", description="The sandbox plant.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("serve", help="serve ERP, MES and CRM of the plant until stopped")
    one.add_argument("--state", type=Path, help="folder of the plant's state (default: sandbox in DATONG_HOME)")
    one.add_argument("--scale", type=float, default=1, help="size of a new plant; 1 is about 100,000 rows")
    one.add_argument("--seed", type=int, default=42, help="seed of a new plant")
    one.add_argument("--start", type=date.fromisoformat, default=DEFAULT_START, help="first day of a new plant")
    one.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes the last one or a free one")
    one.add_argument("--page-size", type=int, default=5000, help="rows of an OData page")
    one.add_argument(
        "--postgres",
        help="PostgreSQL URL that may create the CRM's database and role; `datong` takes the one of the settings, "
        "so that no password stands on the command line",
    )
    one.add_argument("--crm-database", default="sandbox_crm", help="name of the CRM's database and role")
    given = parser.parse_args(arguments)
    from datong_infra.sandbox.server import serve

    try:
        serve(
            given.state or settings.home() / "sandbox",
            port=given.port,
            scale=given.scale,
            seed=given.seed,
            start=given.start,
            page_size=given.page_size,
            postgres=settings.settings().need("postgres_url") if given.postgres == "datong" else given.postgres,
            crm_database=given.crm_database,
        )
    except DatongError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
