"""The YAML of definitions: the documents of one component in a `defs.yaml`, and the lines of their parts.

From a file to (node, attributes) pairs. Mistakes are told with the line they stand in.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from datong_platform.errors import ConfigurationError
from yaml.nodes import MappingNode, Node, SequenceNode

# libyaml reads ten times faster; definitions are read at the start of every command
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def documents(path: Path, component: str) -> Iterator[tuple[Node, Any]]:
    """The documents of type `component` in a file: node and attributes. ConfigurationError where it is not YAML."""
    text = path.read_text(encoding="utf-8")
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=_LOADER) if node is not None]
        contents = [item for item in yaml.load_all(text, Loader=_LOADER) if item is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigurationError(
            f"{path}:{mark.line + 1 if mark else 1}",
            f"is not valid YAML: {getattr(error, 'problem', error)}.",
            "mend that line.",
        ) from error
    for node, content in zip(nodes, contents, strict=True):
        if isinstance(content, dict) and content.get("type") == component:
            yield node, content.get("attributes")


def line_of(node: Node, location: tuple[Any, ...]) -> int:
    """The line (from 1) of the deepest part of `location` that is in the file."""
    line = node.start_mark.line
    for part in location:
        if isinstance(node, MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                continue  # pydantic names the branches of a union, too
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
    return line + 1
