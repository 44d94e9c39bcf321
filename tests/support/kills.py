"""Killing an ingest at a step: the process is gone there, and nothing cleans up after it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from datong_platform.lake import landing, load, storage

Step = tuple[Any, str, Literal["before", "after"]]
"""Whose attribute, its name, and whether the process dies before it is called or after it."""


class Killed(BaseException):
    """The process is gone."""


STEPS: Mapping[str, Step] = {
    "before the data is landed": (storage, "put", "before"),
    "after the data is landed": (storage, "put", "after"),
    "before the manifest": (storage, "put_if_absent", "before"),
    "after the manifest": (storage, "put_if_absent", "after"),
    "before the load": (load, "load", "before"),
    "after the load": (load, "load", "after"),
}
"""The steps that every ingest has."""


@contextmanager
def killed_at(step: Step) -> Generator[None]:
    """What runs within this block dies at that step; it fails when the step is never reached."""
    owner, name, when = step
    real = getattr(owner, name)

    def killed(*arguments: Any, **named: Any) -> Any:
        if when == "after":
            real(*arguments, **named)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, killed)
        patch.setattr(landing.Landing, "discard", lambda _self: None)
        with pytest.raises(Killed):
            yield
