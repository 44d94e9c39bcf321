"""A dbt process that stays keeps the parsed project: after edits of every kind it is what a new process parses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from datong_assets.dbt import graph, worker
from datong_assets.dbt.client import Dbt, NodeFinished
from datong_platform import engine
from datong_platform.errors import ConfigurationError
from datong_platform.settings import DBT_PROJECT, Settings
from dbt.adapters.events import types
from dbt.adapters.events.logging import AdapterLogger
from dbt.events.types import NodeStart
from dbt_common.events.base_types import EventLevel
from dbt_common.events.event_manager import EventManager
from dbt_common.events.logger import LoggerConfig

FILES = {
    "dbt_project.yml": """
name: datong
version: "1.0.0"
config-version: 2
profile: datong
flags: {send_anonymous_usage_stats: false}
models:
  datong: {+file_format: delta, +materialized: table, +tblproperties: {overwriteSchema: "true"}, +schema: silver}
seeds:
  datong: {+file_format: delta, +schema: silver, +options: {overwriteSchema: "true"}}
""",
    "seeds/kept_word.csv": "word_id,word\n1,one\n",
    "models/kept_valve.sql": "select 1 as valve_id, '{{ words() }}' as said",
    "models/kept_part.sql": "{{ config(materialized='ephemeral') }} select valve_id, said from {{ ref('kept_valve') }}",
    "models/kept_shown.sql": "select * from {{ ref('kept_part') }}",
    "models/kept_gone.sql": "select * from {{ ref('kept_valve') }}",
    "models/kept_valve.yml": """
models:
  - name: kept_valve
    description: "{{ doc('valve') }}"
    columns: [{name: valve_id, data_tests: [not_null]}, {name: said}]
  - name: kept_shown
    data_tests: [{key: {columns: [valve_id]}}]
""",
    "models/words.md": "{% docs valve %}A valve.{% enddocs %}",
    "macros/words.sql": "{% macro words() %}one{% endmacro %}",
}
Edit = Callable[[Path], Any]
_KEPT = {"stamp", "metadata"}


def put(name: str, text: str) -> Edit:
    """A file written, or written anew."""
    return lambda project: (project / name).write_text(text, encoding="utf-8")


def gone(name: str) -> Edit:
    """A file removed."""
    return lambda project: (project / name).unlink()


@pytest.fixture
def project(services: Settings, tmp_path: Path) -> Iterator[Path]:
    """A small project of its own, with the macros of Datong's."""
    folder = tmp_path / "kept"
    shutil.copytree(DBT_PROJECT / "macros", folder / "macros")
    shutil.copy(DBT_PROJECT / "profiles.yml", folder)
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    yield folder
    shutil.rmtree(graph.folder(folder), ignore_errors=True)


def parsed(project: Path, dbt: Dbt) -> dict[str, Any]:
    """What is known of the project as it is now."""
    dbt.ready()
    found = json.loads((graph.folder(project) / "graph.json").read_text("utf-8"))
    assert found["stamp"] == graph.stamp(project)
    return {name: part for name, part in found.items() if name not in _KEPT}


def built(dbt: Dbt, *names: str) -> dict[str, str]:
    """The state that dbt tells of each node."""
    events = dbt.build(names)
    return {event.unique_id.split(".")[2]: event.status for event in events if isinstance(event, NodeFinished)}


def said() -> list[dict[str, Any]]:
    return engine.query("select * from silver.kept_shown").to_pylist()


def test_a_project_that_is_kept_is_what_a_new_process_parses_after_edits_of_every_kind(project: Path) -> None:
    edits: list[Edit] = [
        put("models/kept_valve.sql", "select 2 as valve_id, '{{ words() }}' as said"),
        put("models/kept_valve.yml", FILES["models/kept_valve.yml"].replace("[not_null]", "[not_null, unique]")),
        put("models/kept_new.sql", "select * from {{ ref('kept_shown') }} where valve_id > 0"),
        put("models/kept_new.yml", "models: [{name: kept_new, columns: [{name: valve_id, data_tests: [not_null]}]}]"),
        gone("models/kept_gone.sql"),
        put("seeds/kept_word.csv", "word_id,word\n1,one\n2,two\n"),
        put("models/words.md", "{% docs valve %}Another valve.{% enddocs %}"),
        put("macros/words.sql", "{% macro words() %}two{% endmacro %}"),
        put("models/kept_valve.yml", FILES["models/kept_valve.yml"].replace("name: kept_shown", "name: kept_part")),
        put("models/kept_valve.yml", FILES["models/kept_valve.yml"]),
        put("models/kept_part.sql", FILES["models/kept_part.sql"] + " where valve_id < 9"),
    ]
    dbt = Dbt(project)
    try:
        first = parsed(project, dbt)
        assert set(built(dbt, "kept_word", "kept_valve", "kept_shown").values()) == {"success", "pass"}
        for edit in edits:
            edit(project)
            parsed(project, dbt)
        put("models/kept_new.sql", "select * from {{ ref('no_such_model') }}")(project)
        with pytest.raises(ConfigurationError, match="no_such_model"):
            dbt.ready()
        put("models/kept_new.sql", "select valve_id from {{ ref('kept_shown') }}")(project)
        kept = parsed(project, dbt)
        put("models/kept_new.sql", "select valve_id, 1 as one from {{ ref('kept_shown') }}")(project)
        kept = parsed(project, dbt)
    finally:
        dbt.close()

    shutil.rmtree(graph.folder(project))
    anew = Dbt(project)
    try:
        expected = parsed(project, anew)
    finally:
        anew.close()
    assert kept["nodes"].keys() == expected["nodes"].keys() != first["nodes"].keys()
    for unique_id, node in expected["nodes"].items():
        assert kept["nodes"][unique_id] == node, unique_id
    assert kept == expected
    assert kept["nodes"]["model.datong.kept_valve"]["description"] == "Another valve."


def test_what_a_build_compiled_is_compiled_anew_by_the_next(project: Path) -> None:
    dbt = Dbt(project)
    try:
        assert built(dbt, "kept_valve", "kept_shown")["kept_shown"] == "success"
        assert said() == [{"valve_id": 1, "said": "one"}]
        # an edit of the ephemeral model, which is a part of the other's SQL
        put("models/kept_part.sql", FILES["models/kept_part.sql"].replace("valve_id,", "valve_id + 6 as valve_id,"))(
            project
        )
        assert built(dbt, "kept_shown")["kept_shown"] == "success"
        assert said() == [{"valve_id": 7, "said": "one"}]
        # nothing is edited: the same is built from what is kept
        assert built(dbt, "kept_shown")["kept_shown"] == "success"
        assert said() == [{"valve_id": 7, "said": "one"}]
        put("seeds/kept_word.csv", "word_id,word\n1,one\n2,two\n")(project)
        assert built(dbt, "kept_word") == {"kept_word": "success"}
        assert engine.query("select count(*) as words from silver.kept_word").to_pylist() == [{"words": 2}]
        # a macro that the model is made with
        put("macros/words.sql", "{% macro words() %}two{% endmacro %}")(project)
        assert built(dbt, "kept_valve", "kept_shown")["kept_shown"] == "success"
        assert said() == [{"valve_id": 7, "said": "two"}]
    finally:
        dbt.close()


def test_only_what_a_log_takes_or_is_told_on_is_put_into_words(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    events = [types.SQLQuery(sql="select 1"), types.AdapterEventInfo(name="spark", base_msg="a word")]

    def fire(_self: Any, event: Any, level: Any = None) -> None:
        said.append(type(event).__name__)

    monkeypatch.setattr(EventManager, "fire_event", fire)
    monkeypatch.setattr(AdapterLogger, "debug", AdapterLogger.debug)
    worker.leave_unsaid()
    manager = EventManager()
    for event in events:
        manager.fire_event(event)
    manager.fire_event(events[0], EventLevel.WARN)
    manager.fire_event(NodeStart())
    assert said == ["AdapterEventInfo", "SQLQuery", "NodeStart"]
    said.clear()
    manager.add_logger(LoggerConfig(name="test of all words", level=EventLevel.DEBUG))
    for event in events:
        manager.fire_event(event)
    assert said == ["SQLQuery", "AdapterEventInfo"]
