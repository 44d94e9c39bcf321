"""The YAML of definitions: the documents of one component in a `defs.yaml`, and what they describe.

From files to models by name. Mistakes are told with the file and the line they stand in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from datong_platform import names, settings
from datong_platform.errors import ConfigurationError
from pydantic import BaseModel, ValidationError
from yaml.nodes import MappingNode, Node, SequenceNode

_M = TypeVar("_M", bound=BaseModel)
Place = tuple[Any, ...]
"""Where in a definition something stands: names of attributes, and numbers of items."""
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


class NestedError(ConfigurationError):
    """Mistakes with their places; pydantic by itself would report them for the whole definition."""

    def __init__(self, mistakes: list[tuple[Place, str]]) -> None:
        self.mistakes = mistakes
        super().__init__("definition", "; ".join(text for _, text in mistakes))


def mistakes_of(error: ValidationError | NestedError, whole: str = "") -> list[tuple[Place, str]]:
    """The mistakes in a definition, each with its place, in words; `whole` stands for the definition itself."""
    if isinstance(error, ValidationError):
        error = NestedError([(item["loc"], item["msg"]) for item in error.errors()])
    return [(place, f"{'.'.join(map(str, place)) or whole}: {text}") for place, text in error.mistakes]


@dataclass(frozen=True)
class Kind(Generic[_M]):
    """A kind of definition: the component that its files name, and the model of its attributes."""

    component: str
    model: type[_M]
    key: str
    """The attribute that names one."""
    word: str
    """What one is called where two have one name: `flow`."""
    title: str
    """What one is called: `write-back flow`."""
    next_step: str = "mend these lines."
    add: str = ""
    """What else may be done where one is not defined."""
    further: Callable[[_M], Iterator[tuple[Place, str]]] = lambda _: iter(())
    """Mistakes that only others make ones: an authority file, a contract."""
    further_step: str = ""

    def load(self, defs: Path | None = None) -> dict[str, _M]:
        """Every one defined below `defs` (default: the project's definitions), by name.

        ConfigurationError with file and line for the first definition that is wrong, and when two bear one name.
        """
        found: dict[str, _M] = {}
        for path, one in self.located(defs):
            name: str = getattr(one, self.key)
            if name in found:
                first = next(other for other, same in self.located(defs) if getattr(same, self.key) == name)
                raise ConfigurationError(f"{path}", f"defines {self.word} {name}, as does {first}.", "rename one.")
            found[name] = one
        return found

    def located(self, defs: Path | None = None) -> Iterator[tuple[Path, _M]]:
        """Every one with the file that it stands in, whatever their names."""
        for path in sorted((defs or settings.DEFS).glob("**/defs.yaml")):
            for node, attributes in documents(path, self.component):
                yield path, self._read(path, node, attributes)

    def one(self, name: str, found: dict[str, _M]) -> _M:
        """The one called `name`; ConfigurationError lists those there are."""
        if name not in found:
            more = f", or {self.add.format(name=name)}" if self.add else ""
            raise ConfigurationError(
                f"{self.title} {name}", "is not defined.", f"choose from {', '.join(found) or 'none yet'}{more}."
            )
        return found[name]

    def _read(self, path: Path, node: Node, attributes: Any) -> _M:
        try:
            one = self.model.model_validate(attributes)
        except (ValidationError, NestedError) as error:
            mistakes = mistakes_of(error, self.word)
            where = [f"line {line_of(node, ('attributes', *place))}: {text}" for place, text in mistakes]
            raise ConfigurationError(
                f"{path}:{line_of(node, ('attributes', *mistakes[0][0]))}",
                f"does not describe a {self.title}: {'; '.join(where)}.",
                self.next_step,
            ) from error
        for place, words in self.further(one):
            raise ConfigurationError(
                f"{path}:{line_of(node, ('attributes', *place))}",
                f"does not describe a {self.title} that may run: {words}",
                self.further_step,
            )
        return one


def word_of(what: str) -> Callable[[str], str]:
    """A validator of names of something: lower-case words joined by underscores."""

    def checked(value: str) -> str:
        try:
            return names.word(value, what)
        except ConfigurationError as error:
            raise ValueError(f"{error.reason} {error.next_step}") from error

    return checked


def serve_table(why: str) -> Callable[[str], str]:
    """A validator of names of serve tables; `why` says why it must be one."""

    def checked(value: str) -> str:
        try:
            table = names.parse(value)
        except ConfigurationError as error:
            raise ValueError(f"{error.reason} {error.next_step}") from error
        if table.schema != "serve":
            raise ValueError(why)
        return value

    return checked
