"""The SQL of models of gold and serve, from their files and the project's macros, without dbt and without any service.

What needs the engine to be rendered (what a bronze table holds) is no part of these layers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import yaml
from datong_platform.errors import ConfigurationError

from datong_assets.dbt.graph import Graph, Node

if TYPE_CHECKING:
    import jinja2

_MACRO = re.compile(r"\{%-?\s*macro\s+(?P<name>\w+)\(.*?\{%-?\s*endmacro\s*-?%\}", re.DOTALL)


class _ReturnedError(Exception):
    """What dbt's `return` does: it ends a macro with a value instead of a text."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _returned(value: Any = None) -> NoReturn:
    raise _ReturnedError(value)


def _called(environment: jinja2.Environment, name: str, text: str) -> Callable[..., Any]:
    """A macro as a function; compiled when it is first called, as most are not needed."""
    made: list[Any] = []

    def call(*arguments: Any, **named: Any) -> Any:
        if not made:
            made.append(getattr(environment.from_string(text).module, name))
        try:
            return made[0](*arguments, **named)
        except _ReturnedError as returned:
            return returned.value

    return call


class Renderer:
    """Renders a model's Jinja with the project's macros; `ref` and `source` become names of tables."""

    def __init__(self, graph: Graph) -> None:
        import jinja2

        self._named = {str(node["name"]): relation(node) for node in graph.built.values()}
        project = yaml.safe_load((graph.project / "dbt_project.yml").read_text("utf-8"))
        variables: dict[str, Any] = project.get("vars") or {}
        self._environment = jinja2.Environment(  # noqa: S701 - it renders SQL
            extensions=["jinja2.ext.do"], undefined=jinja2.StrictUndefined, keep_trailing_newline=True
        )
        known: dict[str, Any] = {
            "ref": lambda *names: self._named.get(names[-1], names[-1]),
            "source": lambda source, table: f"{source}.{table}",
            "var": variables.get,
            "config": lambda *_, **__: "",
            "is_incremental": lambda: False,
            "execute": False,
            "this": "this",
            "return": _returned,
        }
        for file in sorted((graph.project / "macros").rglob("*.sql")):
            for found in _MACRO.finditer(file.read_text("utf-8")):
                known[found["name"]] = _called(self._environment, found["name"], found[0])
        self._environment.globals.update(known)

    def sql(self, name: str, text: str) -> str:
        """A model's SQL. ConfigurationError when it asks the engine for something."""
        import jinja2

        try:
            return self._environment.from_string(text).render()
        except jinja2.TemplateError as error:
            raise ConfigurationError(
                f"model {name}",
                f"cannot be rendered without the engine: {error}.",
                "keep what asks the engine out of gold and serve, or mend the macro's name.",
            ) from error


def relation(node: Node) -> str:
    """The table of a node as the rendered SQL names it."""
    return f"{node['schema']}.{node.get('alias') or node['name']}".lower()
