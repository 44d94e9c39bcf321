"""The laws of the house that a machine can check by reading the tree."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for room in ("platform", "ingestion", "assets", "infra") for path in (ROOT / room).rglob("*.py")]


def _reads_environment(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "getenv", "environb"}
        for node in ast.walk(tree)
    )


def test_only_settings_reads_the_environment() -> None:
    readers = [
        path.relative_to(ROOT).as_posix() for path in SOURCES if _reads_environment(ast.parse(path.read_text("utf-8")))
    ]
    assert readers == ["platform/datong_platform/settings.py"]


def test_pythons_own_platform_module_is_not_hidden() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    answer = subprocess.run(
        [sys.executable, "-c", "import platform; print(platform.system())"], cwd=ROOT, capture_output=True, check=True
    )
    assert answer.stdout.strip() == b"Linux"


def test_tests_are_not_a_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_lock_file_with_addresses_is_not_committed() -> None:
    tracked = subprocess.run(["git", "ls-files", "uv.lock"], cwd=ROOT, capture_output=True, check=True)
    assert tracked.stdout == b""


@pytest.mark.parametrize("room", ["platform", "ingestion", "assets", "infra"])
def test_every_module_says_what_it_is_for(room: str) -> None:
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / room).rglob("*.py")
        if path.read_text("utf-8").strip() and not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert silent == []


def test_modules_import_with_no_secret_no_network_and_no_spark() -> None:
    modules = [
        ".".join(path.relative_to(ROOT / room).with_suffix("").parts).removesuffix(".__init__")
        for room in ("platform", "ingestion")
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.stem != "__main__"
    ]
    code = (
        "import socket, sys, importlib\n"
        "def refuse(*a, **k): raise OSError('an import opened a connection')\n"
        "socket.socket.connect = refuse\n"
        f"[importlib.import_module(m) for m in {modules!r}]\n"
        "assert 'pyspark' not in sys.modules, 'an import loaded pyspark'\n"
        "assert 'dagster' not in sys.modules, 'an import loaded dagster'\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
