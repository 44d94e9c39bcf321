"""Who is told of what, and where: the channels and routes of a `defs.yaml` of type `datong_assets.components.Alerts`.

From YAML to `AlertsConfig`. Addresses and secrets are written as `${NAME}` and looked up when they are used.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from datong_platform.alerts.channels import AnyChannel, Channel, Severity
from datong_platform.errors import ConfigurationError

Language = Literal["zh", "en"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Route(_Model):
    """Incidents, and the channels that hear of them. Lists that are empty mean all."""

    channels: Annotated[list[str], Field(min_length=1)]
    systems: list[str] = []
    owners: list[str] = []
    at_least: Severity = "error"
    repeat_minutes: Annotated[int, Field(ge=0)] = 240
    """Told again after this long, until somebody acknowledges it or it heals; 0 for never."""
    escalate_after_minutes: Annotated[int, Field(ge=0)] = 0
    """Told to `escalate_to` when nobody acknowledged it for this long; 0 for never."""
    escalate_to: list[str] = []

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if bool(self.escalate_after_minutes) != bool(self.escalate_to):
            raise ValueError("escalate_after_minutes and escalate_to go together: when, and to whom")
        return self


class AlertsConfig(_Model):
    """What the attributes of the definition say."""

    channels: dict[str, AnyChannel] = {}
    routes: list[Route] = []
    languages: Annotated[list[Language], Field(min_length=1)] = ["zh", "en"]
    close_after_minutes: Annotated[int, Field(ge=0)] = 5
    """How long all must be well before an incident counts as healed."""
    desk_url: str = ""
    """Where people reach the desk, for the links in messages."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for route in self.routes:
            if unknown := [name for name in [*route.channels, *route.escalate_to] if name not in self.channels]:
                raise ValueError(
                    f"route names channel {', '.join(unknown)}; known are {', '.join(self.channels) or 'none'}"
                )
        return self

    def channel(self, name: str) -> Channel:
        """A channel, which knows its name. ConfigurationError when there is none."""
        if name not in self.channels:
            raise ConfigurationError(
                f"alert channel {name}", "is not defined.", f"choose from {', '.join(self.channels) or 'none yet'}."
            )
        return self.channels[name].model_copy(update={"name": name})

    def said(self, chinese: str, english: str) -> str:
        """A text in the languages of this installation."""
        return " / ".join(chinese if language == "zh" else english for language in self.languages)

    def link(self, page: str) -> str:
        """The address of a page of the desk; empty when it is not known where people reach it."""
        return f"{self.desk_url.rstrip('/')}/{page}" if self.desk_url else ""
