"""Which benchmarks a checkout has: scripts of tests/bench that say so, read without running them."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datong_platform.errors import ConfigurationError, ServiceError
from datong_platform.settings import PROJECT_ROOT, cache_folder

FOLDER = PROJECT_ROOT / "tests" / "bench"
PEERS = FOLDER / "peers" / "requirements.txt"


@dataclass(frozen=True)
class Listed:
    """A benchmark, as its script describes it."""

    key: str
    title: str
    path: Path
    goal: str = ""
    needs: str = ""
    quick: dict[str, Any] = field(default_factory=dict[str, Any])
    turns_differ: bool = False


def listed() -> list[Listed]:
    """Every benchmark, by key. ConfigurationError where there is no tests/bench, or two have one key."""
    if not FOLDER.is_dir():
        raise ConfigurationError(
            "datong bench",
            f"needs the benchmarks, and there is no folder {FOLDER}: an installation without its tests has none.",
            "run it in a checkout of the project's repository.",
        )
    found: dict[str, Listed] = {}
    for path in sorted(FOLDER.glob("*.py")):
        said = _described(path)
        if said is None:
            continue
        if said.key in found:
            raise ConfigurationError(
                f"benchmark {said.key}",
                f"is described twice: in {found[said.key].path.name} and in {path.name}.",
                "give one of them another key.",
            )
        found[said.key] = said
    return [found[key] for key in sorted(found)]


def _described(path: Path) -> Listed | None:
    """The literals of `BENCH = Benchmark(…)`; None for a script without it, such as the frame."""
    for node in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        called = node.value.func
        if not isinstance(called, ast.Name) or called.id != "Benchmark":
            continue
        try:
            given = {word.arg: ast.literal_eval(word.value) for word in node.value.keywords if word.arg}
            return Listed(path=path, **given)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"benchmark {path.name}",
                f"cannot be described: {error}.",
                "give Benchmark(…) key, title and what else it knows, as literals by name.",
            ) from error
    return None


def find(name: str) -> Listed:
    """The benchmark of a key, or of a script's name. ConfigurationError when there is none."""
    every = listed()
    for one in every:
        if name in {one.key, one.path.stem, one.path.name}:
            return one
    raise ConfigurationError(
        f"benchmark {name!r}", "is none of this checkout.", f"choose from {', '.join(one.key for one in every)}."
    )


def run(benchmark: Listed, arguments: Sequence[str]) -> int:
    """Run its script in a process of its own, speaking to the same terminal; returns the exit status."""
    process = subprocess.Popen([sys.executable, str(benchmark.path), *arguments])

    def stop(*_: object) -> None:
        process.terminate()

    ignore = signal.SIG_IGN
    # Ctrl-C reaches it by the terminal; it stops and removes what it started, and that is waited for
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop), signal.SIGINT: signal.signal(signal.SIGINT, ignore)}
    try:
        return process.wait()
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def peers_python() -> Path:
    """The Python that has the peers, whether it is there or not."""
    return cache_folder() / "bench-peers" / "bin" / "python"


def prepare_peers() -> Path:
    """Make an environment of its own with the peers' packages; returns its Python. ServiceError when it fails."""
    if not PEERS.is_file():
        listed()
        raise ConfigurationError("the peers", f"are not named: there is no {PEERS}.", "use a whole checkout.")
    python = peers_python()
    steps: list[list[str]] = [["uv", "pip", "install", "--quiet", "--python", str(python), "-r", str(PEERS)]]
    if not python.exists():
        steps.insert(0, ["uv", "venv", "--quiet", "--python", sys.executable, str(python.parents[1])])
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise ServiceError("uv", "is not installed.", "install uv, which the project is set up with.") from error
        if done.returncode:
            raise ServiceError(
                "the peers", f"could not be installed: {done.stderr.strip()[-1500:]}", "mend that and run it again."
            )
    return python
