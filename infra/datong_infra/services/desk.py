"""The desk as a service: the pages on which stewards and operators look and decide."""

from __future__ import annotations

import hashlib
import sys
import urllib.request
from pathlib import Path
from typing import Any

from datong_platform.settings import settings

from datong_infra.services.base import Launch, Service
from datong_infra.services.dagster import code_stamp
from datong_infra.services.processes import Record


class Desk(Service):
    """The desk."""

    name = "desk"
    needs = ("postgres",)
    patience = 60.0

    def fits(self, record: Record) -> bool:
        # it would go on serving the pages of the code that it was started with
        return record.extra.get("code") == _stamp()

    def launch(self, port: int) -> Launch:
        return Launch([sys.executable, "-m", "datong_infra.desk", "--port", str(port)], extra={"code": _stamp()})

    def settings(self, port: int) -> dict[str, Any]:
        return {"desk_url": f"http://127.0.0.1:{port}"}

    def check(self, record: Record | None) -> str:
        address = settings().need("desk_url")
        with urllib.request.urlopen(f"{address}/health", timeout=3) as answer:  # noqa: S310 - our own address
            answer.read()
        return address


def _stamp() -> str:
    digest = hashlib.sha256(code_stamp().encode())
    for path in sorted(Path(__file__).parents[1].joinpath("desk").rglob("*.*")):
        if path.suffix in {".py", ".js"}:
            digest.update(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
