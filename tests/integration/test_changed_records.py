"""An incremental model that reads only what came since its last build ends as one that compares everything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from datong_assets.dbt import client, graph
from datong_platform import engine
from datong_platform.lake import history, landing, load, storage, table_log
from datong_platform.names import TableName, bronze
from datong_platform.settings import DBT_PROJECT, Settings

SYSTEM = "changing"
PROJECT = """
name: datong
version: "1.0.0"
config-version: 2
profile: datong
flags: {send_anonymous_usage_stats: false}
models:
  datong:
    +file_format: delta
    staging: {+schema: staging, +materialized: view}
    silver: {+schema: silver, +tblproperties: {overwriteSchema: "true"}}
"""
SOURCES = f"""
sources:
  - name: {SYSTEM}
    schema: bronze
    tables: [{{name: thing, identifier: {SYSTEM}__thing, columns: [{{name: id, data_type: string}}]}}]
"""
STAGING = f"""
select
    '{SYSTEM}' as source_system,
    {{{{ source_key(['id']) }}}} as source_key,
    try_cast(source.id as string) as id,
    try_cast(source.name as string) as name,
    source._datong_batch_id,
    source._datong_ingested_at,
    source._datong_operation,
    source._datong_ingested_at as _recorded_at
from {{{{ bronze('{SYSTEM}', 'thing') }}}} as source
"""
SILVER = f"""
{{{{ config(materialized='incremental', incremental_strategy='merge', unique_key=['source_system', 'source_key']) }}}}
{{{{ changed_records('stg_{SYSTEM}__thing', ['id', 'name']) }}}}
"""
VIEW, TABLE = Path(f"models/staging/stg_{SYSTEM}__thing.sql"), Path("models/silver/changing_thing.sql")
HELD = TableName("silver", "changing_thing")


@dataclass
class Lake:
    """A bronze table, and the project above it."""

    project: Path
    merges: bool
    """Whether changes are merged, as into a large table, or the table is written anew."""

    def land(self, rows: dict[str, str | None], kind: landing.Kind = "changes") -> None:
        """A batch: names by id, None for a record that is deleted."""
        delta = history.open_table(bronze(SYSTEM, "thing"))
        last = history.watermark(bronze(SYSTEM, "thing"), delta)
        batch = landing.Landing(
            SYSTEM,
            "thing",
            last.sequence + 1 if last else landing.first_free_sequence(SYSTEM, "thing"),
            mode="cursor",
            kind=kind,
            schema=pa.schema([("id", pa.string()), ("name", pa.string())]),
            keys=["id"],
            cursors=[],
            distinct=True,
            position=None,
            contract_version="1",
        )
        operations = ["delete" if name is None else "update" for name in rows.values()]
        page = pa.table({"id": list(rows), "name": pa.array(list(rows.values()), pa.string())})
        batch.add(page, pa.array(operations), None, frozenset())
        assert batch.commit(batch.seal(None))
        load.load_landed(SYSTEM, "thing")

    def build(self, *select: str) -> dict[str, tuple[str, str]]:
        """The status and the words of each node."""
        with client.process(self.project) as dbt:
            events = list(dbt.build(select))
        return {
            event.unique_id.split(".")[-1]: (event.status, event.message)
            for event in events
            if isinstance(event, client.NodeFinished)
        }

    def built(self, *select: str) -> dict[str, str]:
        """What the model holds after it was built; by default it alone."""
        found = self.build(*(select or ("changing_thing",)))
        assert {status for status, _ in found.values()} == {"success"}, found
        return self.held()

    def held(self) -> dict[str, str]:
        """The names by id."""
        rows = engine.query("select id, name from silver.changing_thing").to_pylist()
        assert len({row["id"] for row in rows}) == len(rows)
        return {row["id"]: row["name"] for row in rows}

    @property
    def version(self) -> int:
        """The version of the model's table."""
        delta = history.open_table(HELD)
        assert delta is not None
        return delta.version()


@pytest.fixture(scope="module", params=[False, True], ids=["written anew", "merged"])
def lake(
    services: Settings, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Lake]:
    """With a first batch, built."""
    folder = tmp_path_factory.mktemp("dbt") / "changing"
    for name, text in {
        "dbt_project.yml": PROJECT + ("vars: {written_anew_up_to: -1}" if request.param else ""),
        "models/staging/sources.yml": SOURCES,
        str(VIEW): STAGING,
        str(TABLE): SILVER,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(DBT_PROJECT / "profiles.yml", folder)
    shutil.copytree(DBT_PROJECT / "macros", folder / "macros")
    made = Lake(folder, merges=request.param)
    made.land({str(number): f"thing {number}" for number in range(100)}, "rebuild")
    assert len(made.built("*")) == 100
    yield made
    client.cool()


def test_batches_since_the_last_build_are_merged_and_nothing_else_is_read(lake: Lake) -> None:
    wanted = lake.held()
    assert len(wanted) == 100
    lake.land({"1": "changed", "2": None, "new": "first"})
    lake.land({"1": "changed twice", "3": None, "never seen": None})
    lake.land({"3": "back again"})
    before = lake.version
    del wanted["2"]
    assert lake.built() == {**wanted, "1": "changed twice", "3": "back again", "new": "first"}
    assert lake.version == before + 1
    ran = graph.folder(lake.project) / "target" / "run" / "datong" / TABLE
    assert "where _datong_batch_id > '" in ran.read_text("utf-8")
    assert ("merge into" in ran.read_text("utf-8")) == lake.merges


def test_where_nothing_came_the_table_stays_as_it_is(lake: Lake) -> None:
    wanted, before = lake.built(), lake.version
    assert lake.built() == wanted
    assert lake.version == before
    # the newest rows are gone again, so the next build looks back a little further
    lake.land({"lone": "short life"})
    assert lake.built() == {**wanted, "lone": "short life"}
    lake.land({"lone": None})
    assert lake.built() == wanted
    assert lake.built() == wanted


def test_a_change_of_code_reaches_every_row(lake: Lake) -> None:
    wanted = lake.built()
    place = lake.project / VIEW
    place.write_text(STAGING.replace("try_cast(source.name as string)", "upper(source.name)"), encoding="utf-8")
    assert lake.built("*") == {key: name.upper() for key, name in wanted.items()}
    place.write_text(STAGING, encoding="utf-8")
    assert lake.built("*") == wanted


def test_rows_that_were_replaced_and_a_table_made_anew_are_compared_as_a_whole(lake: Lake) -> None:
    lake.land({"a": "kept", "b": "kept"}, "rebuild")
    lake.land({"b": None})
    assert lake.built() == {"a": "kept"}
    for key in [*storage.keys(f"bronze/{SYSTEM}__thing/"), *storage.keys(f"landing/{SYSTEM}/thing/")]:
        storage.delete(key)
    for number in range(20):
        lake.land({"c": f"another table, batch {number}"})
    assert lake.built() == {"c": "another table, batch 19"}


def test_a_model_that_reads_more_than_its_view_is_refused(lake: Lake) -> None:
    place = lake.project / TABLE
    place.write_text(
        SILVER + f"-- {{{{ source('{SYSTEM}', 'thing') }}}}",
        encoding="utf-8",
    )
    status, words = lake.build("changing_thing")["changing_thing"]
    place.write_text(SILVER, encoding="utf-8")
    assert status == "error"
    assert f"changing_thing uses changed_records('stg_{SYSTEM}__thing')" in words
    assert "ADD_A_MODEL.md" in words


def test_a_log_that_is_followed_tells_what_opening_the_table_tells(lake: Lake) -> None:
    table = bronze(SYSTEM, "thing")
    for number in range(3):
        table_log.read(table)
        lake.land({"followed": f"{number}", str(number): None})
        if number == 1:
            delta = history.open_table(table)
            assert delta is not None
            delta.optimize.compact()
        followed = table_log.read(table)
        delta = history.open_table(table)
        assert followed is not None
        assert delta is not None
        assert (followed.delta_id, followed.version) == (str(delta.metadata().id), delta.version())
        assert followed.content_version == history.content_version(delta)
        assert followed.rows == delta.count()
        assert set(followed.files) == {uri.rsplit("/", 1)[1] for uri in delta.file_uris()}
        opened = table_log._opened(table)  # pyright: ignore[reportPrivateUsage]
        assert opened is not None
        assert followed == opened
        assert followed.bounds("_datong_batch_id") == opened.bounds("_datong_batch_id")
        assert followed.bounds("name") is None, "no statistics are kept of it"
