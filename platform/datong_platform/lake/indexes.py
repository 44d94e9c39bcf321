"""What a contract or a model's meta may say of an index of a published table; light, for contracts are read often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from datong_platform.errors import ConfigurationError

Method = Literal["btree", "brin"]
METHODS: tuple[Method, ...] = ("btree", "brin")


@dataclass(frozen=True, order=True)
class Index:
    """An index of a published table."""

    columns: tuple[str, ...]
    method: Method = "btree"


def index_of(given: Any, thing: str) -> Index:
    """An index as a contract or a model's meta writes it: `ordered_on`, `[plant_id, material_id]`, or
    `{columns: [ordered_on], method: brin}`. ConfigurationError, about `thing`, for anything else."""
    columns, method = given, "btree"
    if isinstance(given, Mapping):
        content = cast("Mapping[str, Any]", given)
        columns, method = content.get("columns"), content.get("method", "btree")
        unknown = sorted(set(content) - {"columns", "method"})
        if unknown or method not in METHODS:
            raise ConfigurationError(
                thing,
                f"an index says {', '.join(unknown) if unknown else f'method {method}'}, which is not known.",
                f"write {{columns: [a, b], method: {' or '.join(METHODS)}}}.",
            )
    names = [columns] if isinstance(columns, str) else columns
    if not isinstance(names, list | tuple) or not names or not all(isinstance(one, str) for one in names):
        raise ConfigurationError(
            thing, f"an index is {given!r}, which names no columns.", "write a column, or a list of columns."
        )
    return Index(tuple(cast("Sequence[str]", names)), method)
