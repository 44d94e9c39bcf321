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

        def look_up(value: Any) -> Any:
            if isinstance(value, str):
                return settings.connection_value(value, thing)
            if isinstance(value, Model):
                return value.model_copy(update={field: look_up(inner) for field, inner in value})
            if isinstance(value, dict):
                return {name: look_up(inner) for name, inner in value.items()}
            return [look_up(inner) for inner in value] if isinstance(value, list) else value

        return self.model_copy(update={field: look_up(value) for field, value in self})

    def names_of(self, *fields: str) -> str:
        """How the given fields are written in the definition, for a next step that names `${ERP_PASSWORD}`, not it."""

        def references(value: Any) -> list[str]:
            if isinstance(value, str):
                return [value] if "${" in value else []
            inner = dict(value).values() if isinstance(value, dict | Model) else ()
            return [text for item in inner for text in references(item)]

        return ", ".join(text for name, value in self if name in fields for text in references(value))


class Options(Model):
    """What an entity can say that only its protocol knows."""
