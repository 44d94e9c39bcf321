"""What is particular to a vendor's system: a profile, filled in beneath what a definition says of its connection.

A profile is a file `<name>.yaml` beside this module: the protocol it belongs to, the fields that the definition has to
give, and defaults for the connection and for each entity. What the definition says itself always wins.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from datong_platform.errors import ConfigurationError

_HERE = Path(__file__).parent


def names() -> list[str]:
    """The profiles there are."""
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


def of_protocol(protocol: str) -> list[str]:
    """The profiles of systems that speak a protocol."""
    return [name for name in names() if _profile(name)["protocol"] == protocol]


def needs(name: str) -> list[str]:
    """What a profile must be given of a connection. ConfigurationError when there is no such profile."""
    profile = _profile(name)
    return [*profile.get("needs", []), *(f"variables.{item}" for item in profile.get("needs_variables", []))]


@cache
def _profile(name: str) -> dict[str, Any]:
    if name not in names():
        raise ConfigurationError(f"profile {name}", "is not known.", f"choose from {', '.join(names())}.")
    return yaml.safe_load((_HERE / f"{name}.yaml").read_text(encoding="utf-8"))


def with_profile(definition: dict[str, Any]) -> dict[str, Any]:
    """A definition with its profile filled in beneath it; as it is when it names none.

    ConfigurationError when the profile is not known, is one of another protocol, or needs a field that is not given.
    """
    connection = definition.get("connection")
    if not isinstance(connection, dict) or not isinstance(connection.get("profile"), str) or not connection["profile"]:
        return definition
    name = connection["profile"]
    profile = _profile(name)
    if definition.get("protocol") != profile["protocol"]:
        raise ConfigurationError(
            f"profile {name}",
            f"is one of protocol {profile['protocol']}, not {definition.get('protocol')}.",
            f"write protocol: {profile['protocol']}.",
        )
    filled = _beneath(profile.get("connection", {}), connection)
    if missing := [item for item in needs(name) if not _given(filled, item)]:
        raise ConfigurationError(f"profile {name}", f"needs {', '.join(missing)}.", "add it under `connection`.")
    entities = definition.get("entities")
    if isinstance(entities, list):
        defaults = profile.get("entity", {})
        entities = [_entity(defaults, item) if isinstance(item, dict) else item for item in entities]
    return {**definition, "connection": filled, "entities": entities}


def _entity(defaults: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    if said.get("mode", defaults.get("mode")) != defaults.get("mode"):
        # a cursor is of no use to another mode, and its field may not be there
        defaults = {name: value for name, value in defaults.items() if name not in {"mode", "cursor", "detect_deletes"}}
    return _beneath(defaults, said)


def _given(content: Any, path: str) -> bool:
    for part in path.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content not in (None, "")


def _beneath(defaults: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Defaults with what was said on top, map by map."""
    merged = dict(defaults)
    for name, value in said.items():
        below = merged.get(name)
        merged[name] = _beneath(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
