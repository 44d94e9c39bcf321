"""Whether contract files are valid to the published schema of the Open Data Contract Standard, v3.2.0.

The schema is Bitol's (Apache-2.0), as datacontract-cli 1.2.8 ships it; it lies beside this file, unchanged, so that the
check needs no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from datong_platform.standard.contract import CONTRACTS, Problem, contract_files

SCHEMA = Path(__file__).with_name("odcs-3.2.0.schema.json")


def problems(folder: Path = CONTRACTS) -> list[Problem]:
    """What the published schema refuses in the contract files, none when all are valid."""
    return [problem for path in contract_files(folder) for problem in problems_of(path.read_text("utf-8"), path)]


def problems_of(text: str, path: Path) -> Iterator[Problem]:
    """What the published schema refuses in one file's text; a text that is no YAML is for `contract.problems`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content: Any = json.loads(json.dumps(yaml.safe_load(text), default=str))
    except yaml.YAMLError:
        return
    for error in _validator().iter_errors(content):
        place = list(error.absolute_path)
        yield Problem(
            path,
            _line(node, place),
            _field(content, place),
            f"{'.'.join(map(str, place)) or 'the file'}: {_words(error.message)}",
            "mend it as ODCS v3.2.0 has it; what it has no place for is a custom property.",
        )


@lru_cache(maxsize=1)
def _validator() -> Any:
    import jsonschema

    return jsonschema.Draft201909Validator(json.loads(SCHEMA.read_text("utf-8")))


def _words(message: str) -> str:
    return message if len(message) < 300 else f"{message[:140]} … {message[-140:]}"


def _line(node: yaml.Node | None, place: list[Any]) -> int:
    """The line of the deepest part of the path that the text has."""
    line = 1
    for step in place:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == step:
                    line, found = key.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = node.value[step]
            line = found.start_mark.line + 1 if found is not None else line
        node = found
    return line


def _field(content: Any, place: list[Any]) -> str:
    """The name of the table's field that the path leads through, if any."""
    if place[:1] == ["schema"] and place[2:3] == ["properties"] and len(place) > 3:
        return str(content["schema"][place[1]]["properties"][place[3]].get("name", ""))
    return ""
