"""The sandbox plant as a process of its own, in a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx


class SandboxProcess:
    """A sandbox that was started and answers; `known` are the settings that lead to its systems."""

    def __init__(self, home: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "datong_infra.sandbox", "serve", *arguments]
        self._process = subprocess.Popen(command, env={**os.environ, "DATONG_HOME": str(home)})
        deadline = time.monotonic() + 90
        while not self._answers(home / "sandbox" / "address.json"):
            assert self._process.poll() is None, "the sandbox ended by itself"
            assert time.monotonic() < deadline, "the sandbox did not come up"
            time.sleep(0.05)
        self.known: dict[str, str] = json.loads((home / "connections.json").read_text(encoding="utf-8"))

    def _answers(self, file: Path) -> bool:
        try:
            state = json.loads(file.read_text(encoding="utf-8"))
            return state["pid"] == self._process.pid and httpx.get(f"{state['address']}/health").is_success
        except (OSError, ValueError, httpx.TransportError):
            return False

    def kill(self) -> None:
        """End it at once, whatever it is at."""
        self._process.kill()
        self._process.wait(20)

    def end(self) -> None:
        """Ask it to end, and wait."""
        self._process.terminate()
        self._process.wait(20)
