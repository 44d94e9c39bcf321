"""What the connections of all protocols share."""

from __future__ import annotations

from typing import Annotated, Any, Self

from datong_platform import settings
from pydantic import BaseModel, ConfigDict, Field


def as_text(value: Any) -> Any:
    """A number that YAML took from an unquoted text, as that text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class Model(BaseModel):
    """A part of a definition: what is not known is a mistake, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def looked_up(value: Any, thing: str) -> Any:
    """A part of a definition with every `${NAME}` replaced; ConfigurationError names `thing` and the missing value."""
    if isinstance(value, str):
        return settings.connection_value(value, thing)
    if isinstance(value, Model):
        return value.model_copy(update={field: looked_up(inner, thing) for field, inner in value})
    if isinstance(value, dict):
        return {name: looked_up(inner, thing) for name, inner in value.items()}
    return [looked_up(inner, thing) for inner in value] if isinstance(value, list) else value


def named(value: Any) -> list[str]:
    """The texts with a `${NAME}` in a part of a definition."""
    if isinstance(value, str):
        return [value] if "${" in value else []
    inner: Any = dict(value).values() if isinstance(value, dict | Model) else value if isinstance(value, list) else ()
    return [text for item in inner for text in named(item)]


class Connection(Model):
    """What every connection can say."""

    concurrency: Annotated[int, Field(ge=1, le=32)] = 4
    """How many requests or queries the system bears at once."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 30
    """How long to wait for a connection and for each part of an answer."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 6
    """How often a request is tried in all before a passing fault counts as a failure."""
    max_wait_seconds: Annotated[float, Field(gt=0)] = 60
    """The longest pause between two attempts, also where the system asks for a longer one."""

    def resolved(self, thing: str) -> Self:
        """This connection with every `${NAME}` looked up; ConfigurationError names `thing` and the missing value."""
        return self.model_copy(update={field: looked_up(value, thing) for field, value in self})

    def names_of(self, *fields: str) -> str:
        """How the given fields are written in the definition, for a next step that names `${ERP_PASSWORD}`, not it."""
        return ", ".join(text for name, value in self if name in fields for text in named(value))


class Options(Model):
    """What an entity can say that only its protocol knows."""
