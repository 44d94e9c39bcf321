"""Serve the desk on 127.0.0.1."""

from __future__ import annotations

import argparse


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="datong_infra.desk", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    import uvicorn

    from datong_infra.desk.app import app

    port = parser.parse_args().port
    uvicorn.run(app(), host="127.0.0.1", port=port, log_level="warning", access_log=False, server_header=False)


main()
