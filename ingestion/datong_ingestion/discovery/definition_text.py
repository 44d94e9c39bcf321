"""A proposal as the text of a `defs.yaml`, as a person would write it, and its file."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from datong_platform import settings
from datong_platform.errors import ConfigurationError

from datong_ingestion.discovery.proposal import Proposal
from datong_ingestion.systems_config import COMPONENT, load_systems

_WIDTH = 118


class _Flow(dict[str, Any]):
    """A mapping that stands in one line."""


class _Row(list[Any]):
    """A list that stands in one line."""


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their name."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _flow(dumper: yaml.SafeDumper, content: _Flow) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", content, flow_style=True)


def _row(dumper: yaml.SafeDumper, content: _Row) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", content, flow_style=True)


def _words(dumper: yaml.SafeDumper, words: str) -> yaml.Node:
    # quoted, since a reader (and an editor's colours) would take its brackets for a mapping
    style = '"' if "${" in words else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", words, style=style)


_Dumper.add_representer(_Flow, _flow)
_Dumper.add_representer(_Row, _row)
_Dumper.add_representer(str, _words)


def _block(content: Any, indent: int) -> str:
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH - indent)
    return textwrap.indent(text, " " * indent)


def _short(content: Mapping[str, Any]) -> dict[str, Any]:
    """Small parts in one line each."""

    def one(value: Any) -> Any:
        if isinstance(value, list):
            return _Row(value) if len(str(value)) < _WIDTH - 30 else value
        small = (
            isinstance(value, dict) and value and not any(isinstance(inner, dict | list) for inner in value.values())
        )
        return _Flow(value) if small and len(str(value)) < _WIDTH - 30 else value

    return {name: value if name == "fields" else one(value) for name, value in content.items()}


def definition(proposal: Proposal) -> str:
    """The text of the definition; what was seen of each entity stands above it."""
    content = dict(proposal.content)
    title = content.get("title") or content["system"]
    lines = [f"# {title}. Proposed by `datong new source` from what the system says of itself; look through it once."]
    lines.append(f"type: {COMPONENT}\nattributes:")
    connection = _short(content.pop("connection"))
    lines.append(_block({**content, "connection": connection}, 2).rstrip())
    lines.append("  entities:")
    for entity in proposal.entities:
        for remark in entity.remarks:
            lines += textwrap.wrap(remark, _WIDTH, initial_indent="    # ", subsequent_indent="    # ")
        lines.append(_block([_short(entity.content)], 4))
    return "\n".join(lines).rstrip() + "\n"


def refuse_twice(system: str, folder: Path | None = None, *, replace: bool = False) -> Path:
    """Where a system's definition goes; ConfigurationError where it is defined already."""
    place = folder or settings.DEFS
    path = place / system / "defs.yaml"
    there = set(load_systems(place)) - ({system} if path.exists() else set())
    if system in there or (path.exists() and not replace):
        raise ConfigurationError(
            f"system {system}", f"is defined already below {place}.", "choose another name, or replace it with --force."
        )
    return path


def write(proposal: Proposal, folder: Path | None = None, *, replace: bool = False) -> Path:
    """Write the definition to `<folder>/<system>/defs.yaml` (default: the project's definitions), whole or not at all.

    ConfigurationError where the system is defined already (unless its file is to be replaced), or where what would be
    written does not read back as what was proposed.
    """
    name = proposal.content["system"]
    path = refuse_twice(name, folder, replace=replace)
    text = definition(proposal)
    with tempfile.TemporaryDirectory() as draft:
        (Path(draft) / "defs.yaml").write_text(text, encoding="utf-8")
        read = load_systems(Path(draft))[name]
    if read != proposal.system:
        raise ConfigurationError(
            f"system {name}", "does not read back from its file as it was proposed.", "write its defs.yaml by hand."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return path
