"""How much each likeness of two records counts, read from `dbt_project/standard/matching/<entity>.yaml`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from datong_platform import settings
from datong_platform.errors import ConfigurationError

FOLDER = settings.DBT_PROJECT / "standard" / "matching"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Level(_Strict):
    """One outcome of a comparison; `when` is a condition on the columns of both sides, or `else`."""

    name: str
    when: str
    m: float | None = Field(default=None, gt=0, lt=1)
    """How often it is seen between two records of one thing; none for a level that says nothing."""
    u: float | None = Field(default=None, gt=0, lt=1)
    """How often between records of two."""

    @property
    def weight(self) -> float:
        """What it adds to a pair's score, in bits."""
        return math.log2(self.m / self.u) if self.m and self.u else 0.0


class Comparison(_Strict):
    """One way in which two records may be alike. Its levels are tried in order."""

    name: str
    title: str
    title_zh: str
    levels: list[Level] = Field(min_length=2)

    @model_validator(mode="after")
    def _ends_in_else(self) -> Self:
        if self.levels[-1].when != "else" or any(level.when == "else" for level in self.levels[:-1]):
            raise ValueError(f"comparison {self.name}: its last level, and only that, is `when: else`")
        if any((level.m is None) != (level.u is None) for level in self.levels):
            raise ValueError(f"comparison {self.name}: a level has both m and u, or neither")
        return self


class SureKey(_Strict):
    """A key that needs no score: the same value, the same thing."""

    name: str
    column: str
    title: str
    title_zh: str
    exclusive: bool = False
    """Two different values are never the same thing, whatever else is alike."""
    needs_likeness_of: str | None = None
    """Not believed where this comparison finds its last level: a mistyped number must not join two companies."""


class Model(_Strict):
    """How the records of an entity are matched."""

    entity: str
    kind: Literal["party", "material"]
    title_zh: str
    id_prefix: str = Field(pattern="^[A-Z]{1,3}$")
    prior: float = Field(gt=0, lt=1)
    accept: float = Field(gt=0, lt=1)
    review: float = Field(gt=0, lt=1)
    sure_keys: list[SureKey]
    comparisons: list[Comparison] = Field(min_length=1)

    @model_validator(mode="after")
    def _thresholds(self) -> Self:
        if self.review > self.accept:
            raise ValueError("review is above accept: no pair could ever be reviewed")
        names = {comparison.name for comparison in self.comparisons}
        for key in self.sure_keys:
            if key.needs_likeness_of not in {None, *names}:
                raise ValueError(f"sure key {key.name}: there is no comparison {key.needs_likeness_of}")
        return self

    @cached_property
    def comparing(self) -> str:
        """Changes when this model, or the code that compares by it, does: then all records are compared anew."""
        return _digest(self.entity, ("text", "features", "pairs"))

    def comparison(self, name: str) -> Comparison:
        """A comparison by its name."""
        return next(comparison for comparison in self.comparisons if comparison.name == name)


def entities() -> list[str]:
    """The entities that have golden records."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(entity: str) -> Model:
    """The matching model of an entity. ConfigurationError when there is none or it makes no sense."""
    path = FOLDER / f"{entity}.yaml"
    if not path.is_file():
        raise ConfigurationError(
            f"entity {entity!r}", "has no golden records.", f"choose one of {', '.join(entities())}."
        )
    return _load(entity, path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _load(entity: str, path: Path, _: int) -> Model:
    return parse(entity, path)


def parse(entity: str, path: Path) -> Model:
    """A matching model from a file."""
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Model(entity=entity, **content)
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise ConfigurationError(f"matching model {path.name}", f"makes no sense: {error}", f"mend {path}.") from error


def fingerprint(entity: str) -> str:
    """Changes when the matching model of an entity, or any of the code of matching, does."""
    return _digest(entity, ("text", "features", "pairs", "clusters", "identity", "store", "run"))


def _digest(entity: str, modules: Sequence[str]) -> str:
    found = hashlib.sha256((FOLDER / f"{entity}.yaml").read_bytes())
    found.update((FOLDER / "regions.txt").read_bytes())
    for name in modules:
        found.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return found.hexdigest()[:16]
