"""What dbt does anew in every invocation, and a process that stays need not.

From dbt's invocations inside one process to one parsed project that is kept in memory. `parsed` brings it up to date
with the files that changed, `for_a_run` gives a run of dbt its own copy to leave marks on, `described` is what the
project holds as plain dictionaries, each node's made once. dbt itself reads its last parse from a file of megabytes,
writes it there again, and turns every node into a dictionary three times to build one model.

A parse that breaks off leaves what it worked on half done: then dbt starts from its file again. Nothing here changes
what dbt parses or builds; a test compares what is kept after edits of every kind with a project that is parsed anew.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

_DESCRIBED = ("exposures", "functions", "groups", "metrics", "nodes", "saved_queries", "semantic_models", "sources")

_kept: list[Manifest] = []
"""The project as it was parsed last, until a parse takes it."""
_descriptions: dict[tuple[str, str], tuple[Any, dict[str, Any]]] = {}
"""The dictionary of each node, with the object that it describes: what dbt parses again is another object."""


def parsed(options: Sequence[str]) -> tuple[Manifest | None, BaseException | None]:
    """The project as it is now, or None and dbt's reason where it refuses it."""
    from dbt.cli.main import dbtRunner

    _install()
    # the description of the project is written by us: dbt's own holds all macros too, and takes as long as the parse
    done = dbtRunner().invoke(["parse", *options, "--no-write-json"])
    if not done.success:
        return None, done.exception
    manifest: Any = done.result
    _kept[:] = [manifest]
    return manifest, None


def for_a_run(manifest: Manifest) -> Manifest:
    """A copy for one run of dbt, which writes what it compiled into the nodes."""
    made = _fresh(manifest)
    made.nodes = {unique_id: _unmarked(node) for unique_id, node in manifest.nodes.items()}
    made.flat_graph = manifest.flat_graph
    made.build_parent_and_child_maps()
    return made


def described(manifest: Manifest) -> dict[str, dict[str, dict[str, Any]]]:
    """What the project holds, by kind and unique id, in the form of dbt's `manifest.json`. It is not to be changed."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in _DESCRIBED:
        of_kind = getattr(manifest, kind)
        for name in [name for held, name in _descriptions if held == kind and name not in of_kind]:
            del _descriptions[kind, name]
        found[kind] = {name: _described(kind, name, node) for name, node in of_kind.items()}
    return found


def _described(kind: str, name: str, node: Any) -> dict[str, Any]:
    known, words = _descriptions.get((kind, name), (None, {}))
    # dbt infers a model's key from its tests, also where it keeps the model
    if known is not node or words.get("primary_key") != getattr(node, "primary_key", None):
        words = node.to_dict(omit_none=False)
        _descriptions[kind, name] = node, words
    return words


def _fresh(manifest: Manifest) -> Manifest:
    """The same content without what dbt derives from it and looks up while it works."""
    from dataclasses import fields

    from dbt.contracts.graph.manifest import Manifest

    names = [field.name for field in fields(manifest) if not field.name.startswith("_")]
    held: dict[str, Any] = {name: getattr(manifest, name) for name in names}
    made: Any = Manifest
    return made(**{**held, "flat_graph": {}, "source_patches": {}})


def _unmarked(node: Any) -> Any:
    # a constraint is changed where it stands, and only few nodes have any
    made = copy.deepcopy(node) if getattr(node, "constraints", None) else copy.copy(node)
    made._event_status = {}
    if "extra_ctes" in vars(made):
        made.extra_ctes = list(made.extra_ctes)
    return made


def _install() -> None:
    """Let dbt take the project that is kept, instead of reading it from its file, where its settings are the same."""
    from dbt.compilation import Linker
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import ManifestLoader
    from dbt.plugins.manager import PluginManager
    from dbt_common import behavior_flags

    loader: Any = ManifestLoader
    if hasattr(loader, "datong_keeps"):
        return
    loader.datong_keeps = True
    read: Callable[[Any], Manifest | None] = loader.read_manifest_for_partial_parse
    write: Callable[[Any], None] = loader.write_manifest_for_partial_parse

    def take(self: Any) -> Manifest | None:
        if _kept:
            # taken, not borrowed: a parse that breaks off must not leave it to the next one
            manifest = _kept.pop()
            if self.is_partial_parsable(manifest)[0]:
                self.takes_kept = True
                return _taken(manifest)
        return read(self)

    def put(self: Any) -> None:
        # the file stays as this process found or made it: whoever starts from it parses what changed since
        if not getattr(self, "takes_kept", False) or not self.partially_parsing:
            write(self)

    def describe(self: Any) -> None:
        self.flat_graph = described(self)

    def summary(self: Any, manifest: Any) -> dict[int, dict[str, Any]]:
        """dbt's own, which turns each node into a dictionary to read its kind."""
        places = {name: place for place, name in enumerate(self.graph)}
        return {
            place: {
                "name": name,
                "type": str(manifest.expect(name).resource_type),
                **({"succ": after} if (after := [places[each] for each in self.graph.successors(name)]) else {}),
            }
            for name, place in places.items()
        }

    def module_above() -> str:
        """dbt's own, which reads the source of everything on the stack."""
        names = (frame.f_globals["__name__"] for frame, _ in traceback.walk_stack(None))
        return str(next(name for name in names if name not in {__name__, behavior_flags.__name__}))

    loader.read_manifest_for_partial_parse = take
    loader.write_manifest_for_partial_parse = put
    manifests: Any = Manifest
    manifests.build_flat_graph = describe
    linker: Any = Linker
    linker.get_graph_summary = summary
    flag: Any = behavior_flags.BehaviorFlagRendered
    flag._default_source = staticmethod(module_above)
    plugins: Any = PluginManager
    # it lists every folder that modules come from
    plugins.get_prefixed_modules = staticmethod(cache(plugins.get_prefixed_modules))


def _taken(manifest: Manifest) -> Manifest:
    """What is kept as dbt would have read it from its file."""
    from datetime import UTC, datetime

    from dbt_common.invocation import get_invocation_id

    made = _fresh(manifest)
    for file in made.files.values():
        # what the last parse had still to do of a file
        if hasattr(file, "pp_dict"):
            held: Any = file
            held.pp_dict = held.pp_test_index = None
    made.metadata.generated_at = datetime.now(UTC).replace(tzinfo=None)
    made.metadata.invocation_id = get_invocation_id()
    return made
