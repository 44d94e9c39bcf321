"""The sandbox plant as a service: SAP-like ERP, MES and CRM, whose days advance on request."""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

from datong_platform.settings import settings

from datong_infra.services.base import Launch, Service, data_folder
from datong_infra.services.processes import Record


class Sandbox(Service):
    """The plant. `scale` and `seed` count only when there is no plant yet."""

    name = "sandbox"
    needs = ("postgres",)
    # its first start lives through the plant's history
    patience = 900.0

    def __init__(self, scale: float = 1, seed: int = 42) -> None:
        self._scale = scale
        self._seed = seed

    def launch(self, port: int) -> Launch:
        state: Path = data_folder("sandbox")
        return Launch(
            [
                *(sys.executable, "-m", "datong_infra.sandbox", "serve"),
                *("--state", str(state), "--port", str(port)),
                *("--scale", f"{self._scale:g}", "--seed", str(self._seed)),
                *("--postgres", "datong"),
            ],
        )

    def check(self, record: Record | None) -> str:
        port = record.port if record else settings().sandbox_port
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=3) as answer:
            answer.read()
        return f"http://127.0.0.1:{port}"
