"""Contenders that stay warm: a process that does what it is told, request by request.

Requests and answers are one line of JSON each, on standard input and what was standard output; what a contender prints
besides goes to its log.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


class Worker:
    """A warm contender, seen from the benchmark. RuntimeError with the end of its log when a request fails."""

    def __init__(self, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                encoding="utf-8",
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        """The process, for the meter."""
        return self.process.pid

    def ask(self, command: str, **options: Any) -> Any:
        """Have it done, and wait for the answer."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"command": command, **options}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            said = self.log.read_text("utf-8", errors="replace").strip().splitlines()[-25:]
            raise RuntimeError(f"{command}: the contender ended (status {self.process.wait()})\n" + "\n".join(said))
        return json.loads(line)

    def close(self) -> None:
        """End it."""
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def serve(commands: Mapping[str, Callable[..., Any]]) -> None:
    """The contender's side: answer each request with what its command returns, until standard input closes."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        answer = commands[request.pop("command")](**request)
        channel.write(json.dumps(answer) + "\n")
    os._exit(0)
