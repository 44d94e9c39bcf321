"""What is saved while somebody watches is built and shown, and what fails is told and tried again at the next save."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datong_assets import watch
from datong_assets.dbt import graph
from datong_assets.dbt.graph import Graph
from datong_assets.progress import Progress
from datong_assets.runs import StepResult
from datong_platform.errors import ConfigurationError, DatongError, TerminalError, TransientError
from datong_platform.names import TableName


def parsed(**models: str) -> Graph:
    """A project of gold models by name and code."""
    nodes = {
        f"model.datong.{name}": {
            "resource_type": "model",
            "name": name,
            "schema": "gold",
            "checksum": {"checksum": code},
            "config": {"materialized": "table"},
            "depends_on": {"nodes": []},
        }
        for name, code in models.items()
    }
    return Graph(Path("dbt_project"), Path("graph.json"), {"nodes": nodes, "sources": {}})


def with_node(project: Graph, unique_id: str, **about: Any) -> Graph:
    """The project with one node more, or another."""
    return Graph(project.project, project.path, {"nodes": {**project.nodes, unique_id: about}, "sources": {}})


def with_test(project: Graph, name: str, test: str, **config: Any) -> Graph:
    """The project with a test on a model."""
    return with_node(
        project,
        f"test.datong.{test}",
        resource_type="test",
        name=test,
        attached_node=f"model.datong.{name}",
        checksum={"checksum": ""},
        config=config,
        depends_on={"nodes": [f"model.datong.{name}"]},
    )


def names(unique_ids: Sequence[str]) -> list[str]:
    """The models' names."""
    return [unique_id.rpartition(".")[2] for unique_id in unique_ids]


def test_what_is_new_or_has_other_code_or_tests_is_named_and_nothing_else() -> None:
    before = parsed(one="a", other="b")
    assert watch.changed(before, parsed(one="a", other="b")) == []
    assert names(watch.changed(before, parsed(one="a2", other="b"))) == ["one"]
    assert names(watch.changed(before, parsed(one="a", other="b", third="c"))) == ["third"]
    assert watch.changed(before, parsed(other="b")) == [], "a model that is gone cannot be built"
    tested = with_test(before, "other", "key_other")
    assert names(watch.changed(before, tested)) == ["other"]
    assert names(watch.changed(tested, with_test(before, "other", "key_other", severity="warn"))) == ["other"]


def test_a_model_is_another_when_an_ephemeral_one_in_it_is() -> None:
    def project(code: str) -> Graph:
        model = {**parsed(one="a").nodes["model.datong.one"], "depends_on": {"nodes": ["model.datong.part"]}}
        part = {**parsed(part=code).nodes["model.datong.part"], "config": {"materialized": "ephemeral"}}
        return with_node(with_node(parsed(), "model.datong.part", **part), "model.datong.one", **model)

    assert watch.changed(project("a"), project("a")) == []
    assert names(watch.changed(project("a"), project("b"))) == ["one"]


def test_what_an_editor_keeps_beside_a_file_is_no_change_of_the_project(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "one.sql").write_text("select 1")
    before = graph.stamp(tmp_path)
    for name in (".one.sql.swp", "one.sql~", "4913", "#one.sql#"):
        (models / name).write_text("x")
    # the lock of an open file, which leads nowhere
    (models / ".#one.sql").symlink_to("nobody@nowhere")
    (models / "dangling.sql").symlink_to("gone.sql")
    assert graph.stamp(tmp_path) == before
    (models / "one.sql").write_text("select 12")
    assert graph.stamp(tmp_path) != before


class Saved:
    """What a person saves, look by look; the watch ends after the last. What `fails` by name cannot be built."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, saves: list[Graph | DatongError]) -> None:
        self.built: list[list[str]] = []
        self.fails: list[set[str]] = []
        self.raises: list[DatongError | None] = []
        self.was_ready_at = -1
        self._saves, self._now, self._looks = saves, 0, 0
        monkeypatch.setattr(watch.client, "warm", lambda: None)
        monkeypatch.setattr(watch.client, "parse", self._parse)
        monkeypatch.setattr(watch.graph, "stamp", lambda: str(self._now))
        monkeypatch.setattr(watch.graph, "load", self._load)
        monkeypatch.setattr(watch.runs, "build", self._build)
        monkeypatch.setattr(watch, "_first_rows", self._first_rows)

    def _parse(self, _: Path) -> None:
        if isinstance(now := self._saves[self._now], DatongError):
            raise now

    def _load(self) -> Graph:
        good = [save for save in self._saves[: self._now + 1] if isinstance(save, Graph)]
        return good[-1] if good else parsed()

    def _build(self, *, nodes: Sequence[str], **_: object) -> StepResult:
        self.built.append(names(nodes))
        if self.raises and (error := self.raises.pop(0)):
            raise error
        fails = self.fails.pop(0) if self.fails else set[str]()
        events = [Progress("model", "build", f"gold.{name}", ok=name not in fails) for name in names(nodes)]
        errors: list[DatongError] = [TerminalError(f"table gold.{name}", "cannot be built.") for name in sorted(fails)]
        return StepResult("build", not fails, errors, 1, 0.1, events=events)

    def _first_rows(self, name: TableName) -> pa.Table:
        return pa.table({"of": [name.name]})

    def _wait(self, _: float) -> None:
        self._looks += 1
        # two looks find nothing new, and then there is the next save
        if self._looks % 3 == 0:
            self._now += 1
        if self._now == len(self._saves):
            raise KeyboardInterrupt

    def _ready(self) -> None:
        self.was_ready_at = self._now

    def edits(self) -> list[watch.Edit]:
        found: list[watch.Edit] = []
        with suppress(KeyboardInterrupt):
            found.extend(watch.edits(ready=self._ready, wait=self._wait))
        return found


def test_a_saved_model_is_built_once_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = Saved(monkeypatch, [parsed(one="a", other="b"), parsed(one="a2", other="b2"), parsed(one="a2", other="b2")])
    built, nothing = saved.edits()
    assert saved.was_ready_at == 0
    assert saved.built == [["one", "other"]], "the last save changed no model"
    assert built.models == ["gold.one", "gold.other"]
    assert built.errors == []
    assert built.rows["gold.other"].to_pylist() == [{"of": "other"}]
    assert (nothing.models, nothing.errors) == ([], [])


def test_what_dbt_refuses_is_told_and_the_next_save_is_compared_with_what_was_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = ConfigurationError("dbt project", "dbt refuses it: syntax.", "mend it.")
    saved = Saved(monkeypatch, [parsed(one="a"), refused, parsed(one="a2")])
    told, mended = saved.edits()
    assert told.errors == [refused]
    assert told.models == []
    assert mended.models == ["gold.one"]
    assert saved.built == [["one"]]


def test_a_project_that_dbt_refuses_at_the_start_is_told_and_mending_it_builds_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = ConfigurationError("dbt project", "dbt refuses it: syntax.", "mend it.")
    saved = Saved(monkeypatch, [refused, parsed(one="a", other="b"), parsed(one="a2", other="b")])
    told, mended, edited = saved.edits()
    assert told.errors == [refused]
    assert mended.models == [], "nobody knows what was another before, and all would be hours"
    assert edited.models == ["gold.one"]


def test_a_model_that_fails_is_told_without_rows_of_before_and_tried_again_at_the_next_save(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved = Saved(monkeypatch, [parsed(one="a", other="b"), parsed(one="a2", other="b"), parsed(one="a2", other="b2")])
    saved.fails = [{"one"}]
    failed, mended = saved.edits()
    assert [error.thing for error in failed.errors] == ["table gold.one"]
    assert failed.rows == {}, "they would be those of an older build"
    assert saved.built == [["one"], ["one", "other"]]
    assert mended.errors == []
    assert set(mended.rows) == {"gold.one", "gold.other"}


def test_a_build_that_could_not_begin_is_told_and_made_up_for_at_the_next_save(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = Saved(monkeypatch, [parsed(one="a"), parsed(one="a2"), parsed(one="a3")])
    saved.raises = [TransientError("a build", "is running already in another process.", "wait until it has ended.")]
    refused, built = saved.edits()
    assert refused.models == ["gold.one"]
    assert [error.thing for error in refused.errors] == ["a build"]
    assert refused.rows == {}
    assert built.errors == []
    assert saved.built == [["one"], ["one"]]
