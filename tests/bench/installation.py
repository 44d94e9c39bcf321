"""An installation with systems and models of the benchmark's own, beside the checkout that is measured.

The packages are copied as they are, so a contender that runs with `environment()` runs the product's own code, commands
and processes; its `defs/` and its dbt project hold what the benchmark wrote.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml
from datong_platform.settings import DBT_PROJECT, DEFS, PROJECT_ROOT

_ROOMS = ("platform", "ingestion", "assets", "infra")
_JUNK = shutil.ignore_patterns("__pycache__", "target", "logs")


def make(folder: Path, *, definitions: Mapping[str, str], project: Mapping[str, str], systems: list[str]) -> None:
    """Write the installation: `definitions` are `defs.yaml` by the name of their folder, `project` files by path."""
    for room in _ROOMS:
        shutil.copytree(PROJECT_ROOT / room, folder / room, ignore=_JUNK)
    place = folder / DEFS.relative_to(PROJECT_ROOT)
    shutil.rmtree(place)
    for name, text in {"dbt": (DEFS / "dbt" / "defs.yaml").read_text("utf-8"), **definitions}.items():
        (place / name).mkdir(parents=True)
        (place / name / "defs.yaml").write_text(text, encoding="utf-8")
    mine = folder / "dbt_project"
    for part in ("macros", "standard"):
        shutil.copytree(DBT_PROJECT / part, mine / part)
    shutil.copy(DBT_PROJECT / "profiles.yml", mine)
    settings = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text("utf-8"))
    settings["seed-paths"] = []
    settings["vars"] |= {"systems": systems, "systems_of": {}, "units_decided_by": []}
    (mine / "dbt_project.yml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    for path, text in project.items():
        (mine / path).parent.mkdir(parents=True, exist_ok=True)
        (mine / path).write_text(text, encoding="utf-8")


def environment(folder: Path) -> dict[str, str]:
    """What a process needs to run the installation instead of the checkout."""
    return {"PYTHONPATH": ":".join(str(folder / room) for room in _ROOMS)}
