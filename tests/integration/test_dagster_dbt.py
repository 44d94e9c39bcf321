"""The dbt project in Dagster, on the real engine, store and database: a small project of two tables."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from datong_assets import instance as instances
from datong_assets.components import DbtModels, Publication
from datong_assets.dbt import client, graph
from datong_assets.dbt.building import REBUILD, facts_of, job_of, up_to_date
from datong_assets.progress import Progress, watching
from datong_platform import engine
from datong_platform.errors import ConfigurationError, ServiceError
from datong_platform.lake import builds
from datong_platform.names import TableName
from datong_platform.settings import DBT_PROJECT, Settings

PROJECT = """
name: datong
version: "1.0.0"
config-version: 2
profile: datong
flags: {send_anonymous_usage_stats: false}
models:
  datong:
    +file_format: delta
    +materialized: table
    +tblproperties: {overwriteSchema: "true"}
    silver: {+schema: silver}
    serve: {+schema: serve}
"""
PUMPS = TableName("serve", "bi__dagster_pump")
PUMP = "select '{id}' as pump_id, '{name}' as pump_name"
SILVER = """
models:
  - name: dagster_pump
    description: "Pumps. Grain: one row per pump."
    config: {meta: {title_zh: 泵}}
    data_tests: [{key: {columns: [pump_id]}}]
    columns: [{name: pump_id, data_type: string, description: The pump.}, {name: pump_name, data_type: string}]
"""
SERVE = """
models:
  - name: bi__dagster_pump
    description: "Pumps, for BI. Grain: one row per pump."
    config: {meta: {key: [pump_id], owner: "team:sales"}}
    data_tests: [{key: {columns: [pump_id]}}]
    columns:
      - {name: pump_id, data_type: string}
      - {name: pump_name, data_type: string, data_tests: [{not_null: {config: {severity: warn}}}]}
"""


@pytest.fixture(scope="module")
def project(services: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A dbt project: silver.dagster_pump and serve.bi__dagster_pump above it."""
    folder = tmp_path_factory.mktemp("dbt") / "dagster_small"
    for name, text in {
        "dbt_project.yml": PROJECT,
        "models/silver/dagster_pump.yml": SILVER,
        "models/serve/bi__dagster_pump.yml": SERVE,
        "models/serve/bi__dagster_pump.sql": "select * from {{ ref('dagster_pump') }}",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(DBT_PROJECT / "profiles.yml", folder)
    shutil.copytree(DBT_PROJECT / "macros", folder / "macros")
    write_pumps(folder, PUMP.format(id=1, name="Vortex"))
    yield folder
    client.cool()


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def write_pumps(project: Path, *selects: str) -> None:
    (project / "models/silver/dagster_pump.sql").write_text(" union all ".join(selects), encoding="utf-8")


def definitions(project: Path) -> dg.Definitions:
    context = dg.ComponentTree.for_test().load_context
    components = [DbtModels(project=str(project)), Publication(project=str(project))]
    return dg.Definitions.merge(*(component.build_defs(context) for component in components))


def run(project: Path, job: str, instance: dg.DagsterInstance, **options: Any) -> dg.ExecuteInProcessResult:
    if job == "build":
        client.warm(project)
    definition = definitions(project).resolve_job_def(job)
    return definition.execute_in_process(instance=instance, raise_on_error=False, **options)


def published(services: Settings) -> list[tuple[str, str]]:
    with psycopg.connect(services.need("postgres_url")) as connection:
        return connection.execute("select pump_id, pump_name from serve.dagster_pump order by 1").fetchall()


def reading() -> list[tuple[str, str]]:
    """What people read in the engine."""
    rows = engine.query("select pump_id, pump_name from serve.bi__dagster_pump order by 1").to_pylist()
    return [(row["pump_id"], row["pump_name"]) for row in rows]


def test_a_model_says_what_it_is_and_where_it_comes_from(project: Path) -> None:
    specs = {spec.key.to_user_string(): spec for spec in definitions(project).resolve_all_asset_specs()}
    model = specs["serve/bi__dagster_pump"]
    assert model.group_name == "serve"
    assert model.owners == ["team:sales"]
    assert model.kinds == {"dbt", "sail", "delta"}
    assert [dep.asset_key.to_user_string() for dep in model.deps] == ["silver/dagster_pump"]
    assert specs["silver/dagster_pump"].description == "泵 · Pumps. Grain: one row per pump."
    assert [dep.asset_key.to_user_string() for dep in specs["postgres/serve/dagster_pump"].deps] == [
        "serve/bi__dagster_pump"
    ]


def test_build_records_tables_and_checks_and_publication_follows(
    project: Path, instance: dg.DagsterInstance, services: Settings
) -> None:
    heard: list[Progress] = []
    with watching(heard.append):
        built = run(project, "build", instance)
    assert built.success
    materialized = {event.asset_key.to_user_string() for event in built.get_asset_materialization_events()}
    assert materialized == {"silver/dagster_pump", "serve/bi__dagster_pump"}
    evaluations = built.get_asset_check_evaluations()
    assert len(evaluations) == 3
    assert all(evaluation.passed for evaluation in evaluations)
    latest = instance.get_latest_materialization_event(dg.AssetKey(["silver", "dagster_pump"]))
    assert latest is not None
    assert latest.asset_materialization is not None
    metadata = latest.asset_materialization.metadata
    assert metadata["dagster/row_count"].value == 1
    columns = metadata["dagster/column_schema"].value
    assert [(column.name, column.description) for column in columns.columns] == [
        ("pump_id", "The pump."),
        ("pump_name", None),
    ]
    assert {event.name: event.rows for event in heard if event.kind == "model"} == {
        "silver.dagster_pump": 1,
        "serve.bi__dagster_pump": 1,
    }

    assert reading() == [("1", "Vortex")]
    assert run(project, "publish", instance).success
    assert published(services) == [("1", "Vortex")]


def test_a_failing_test_keeps_the_published_table_as_it_was(
    project: Path, instance: dg.DagsterInstance, services: Settings
) -> None:
    # the key comes twice in serve only: silver passes, so serve is built, and is wrong
    (project / "models/serve/bi__dagster_pump.sql").write_text(
        "select pump_id, pump_name from {{ ref('dagster_pump') }} union all select '1', 'Mole'", encoding="utf-8"
    )
    built = run(project, "build", instance)
    assert not built.success
    failed = [evaluation for evaluation in built.get_asset_check_evaluations() if not evaluation.passed]
    assert [evaluation.asset_key.to_user_string() for evaluation in failed] == ["serve/bi__dagster_pump"]

    assert reading() == [("1", "Vortex")]
    assert engine.query("select count(*) as n from serve_candidate.bi__dagster_pump").to_pylist() == [{"n": 2}]
    last = builds.latest()
    assert last is not None
    assert last.build_id == built.run_id
    assert not last.is_ok
    told = next(table for table in last.tables if table.table == PUMPS)
    assert (told.outcome, told.reason) == ("held", "its check key finds 1 rows")
    assert told.built != (told.published and told.published.version)

    assert run(project, "publish", instance).success
    assert published(services) == [("1", "Vortex")]

    (project / "models/serve/bi__dagster_pump.sql").write_text(
        "select * from {{ ref('dagster_pump') }}", encoding="utf-8"
    )
    assert run(project, "build", instance).success
    assert run(project, "publish", instance).success


def test_what_reads_a_failed_table_is_skipped_and_the_run_names_the_cause(
    project: Path, instance: dg.DagsterInstance
) -> None:
    write_pumps(project, PUMP.format(id=1, name="Vortex"), PUMP.format(id=1, name="Mole"))
    heard: list[Progress] = []
    with watching(heard.append):
        built = run(project, "build", instance)
    assert not built.success
    materialized = [event.asset_key.to_user_string() for event in built.get_asset_materialization_events()]
    assert materialized == ["silver/dagster_pump"]
    errors = [event.error for event in heard if event.error]
    assert [error.thing.split(" on ")[1] for error in errors] == ["silver.dagster_pump"]
    assert any(event.skipped and event.name == "serve.bi__dagster_pump" for event in heard)
    write_pumps(project, PUMP.format(id=1, name="Vortex"))
    assert run(project, "build", instance).success


def test_only_what_was_chosen_is_built_with_its_own_checks(project: Path, instance: dg.DagsterInstance) -> None:
    built = run(project, "build", instance, asset_selection=[dg.AssetKey(["serve", "bi__dagster_pump"])])
    assert built.success
    materialized = [event.asset_key.to_user_string() for event in built.get_asset_materialization_events()]
    assert materialized == ["serve/bi__dagster_pump"]
    assert len(built.get_asset_check_evaluations()) == 2


def test_a_build_of_a_selection_leaves_the_rest_as_the_last_build_left_it(
    project: Path, instance: dg.DagsterInstance
) -> None:
    other, spoilt = TableName("serve", "bi__dagster_seal"), "select 'a' as seal_id union all select 'a'"
    sql, yml = (project / f"models/serve/bi__dagster_seal.{kind}" for kind in ("sql", "yml"))
    yml.write_text("models: [{name: bi__dagster_seal, data_tests: [{key: {columns: [seal_id]}}]}]", encoding="utf-8")

    def told(table: TableName) -> tuple[str, str, bool]:
        last = builds.latest()
        assert last is not None
        found = next(each for each in last.tables if each.table == table)
        return found.outcome, found.reason, found.published is not None and found.published.version == found.built

    def chosen() -> dg.ExecuteInProcessResult:
        definition = job_of(facts_of(graph.load(project)), ["model.datong.bi__dagster_pump"])
        assert definition.name == "build"
        return definition.execute_in_process(instance=instance, raise_on_error=False)

    try:
        sql.write_text("select 'a' as seal_id", encoding="utf-8")
        assert run(project, "build", instance).success
        sql.write_text(spoilt, encoding="utf-8")
        assert not run(project, "build", instance).success
        assert told(other) == ("held", "its check key finds 1 rows", False)
        # the other table is held as it was, and not looked at
        done = chosen()
        assert done.success
        assert [event.asset_key.path[-1] for event in done.get_asset_materialization_events()] == ["bi__dagster_pump"]
        assert {check.check_name for check in done.get_asset_check_evaluations()} == {"key", "not_null_pump_name"}
        assert told(PUMPS) == ("published", "", True)
        assert told(other) == ("held", "its check key finds 1 rows", False)
        assert engine.query("select count(*) as n from serve.bi__dagster_seal").to_pylist() == [{"n": 1}]
        # and what is right again moves on with the next full build
        sql.write_text("select 'b' as seal_id", encoding="utf-8")
        assert run(project, "build", instance).success
        assert told(other) == ("published", "", True)
        assert chosen().success
        assert told(other) == ("unchanged", "", True)
    finally:
        for file in (sql, yml):
            file.unlink(missing_ok=True)
        assert run(project, "build", instance).success


def test_a_selection_is_not_shown_while_what_it_is_built_from_is_out_of_date(
    project: Path, instance: dg.DagsterInstance
) -> None:
    write_pumps(project, PUMP.format(id=1, name="Gear"))
    definition = job_of(facts_of(graph.load(project)), ["model.datong.bi__dagster_pump"])
    assert definition.execute_in_process(instance=instance).success
    last = builds.latest()
    assert last is not None
    told = next(each for each in last.tables if each.table == PUMPS)
    assert told.outcome == "held"
    assert "was not built since its code" in told.reason
    write_pumps(project, PUMP.format(id=1, name="Vortex"))
    assert run(project, "build", instance).success


def built_anew(project: Path, instance: dg.DagsterInstance, **options: Any) -> set[str]:
    """What a full build, which must succeed with all three checks told, did not find up to date."""
    built = run(project, "build", instance, **options)
    assert built.success
    assert len(built.get_asset_check_evaluations()) == 3
    return {event.asset_key.path[-1] for event in built.get_asset_materialization_events()}


def test_what_is_up_to_date_is_left_out_and_its_checks_hold(
    project: Path, instance: dg.DagsterInstance, services: Settings
) -> None:
    from datong_platform.names import parse
    from deltalake import DeltaTable

    both, serve = {"dagster_pump", "bi__dagster_pump"}, project / "models/serve/bi__dagster_pump.sql"
    built_anew(project, instance)
    heard: list[Progress] = []
    with watching(heard.append):
        assert built_anew(project, instance) == set()
    models = {event.name: event.rows for event in heard if event.kind == "model" and event.unchanged}
    assert models == {"silver.dagster_pump": 1, "serve.bi__dagster_pump": 1}
    assert run(project, "publish", instance).success

    # without a run of Dagster the same is found, and told
    number = builds.latest()
    assert up_to_date(instance, project) == [
        event for event in heard if event.kind in {"model", "check"} and event.unchanged
    ]
    assert builds.latest() == number
    (project / "models/silver/dagster_pump.yml").write_text(
        SILVER.replace("[pump_id]", "[pump_id, pump_name]"), encoding="utf-8"
    )
    assert up_to_date(instance, project) is None
    (project / "models/silver/dagster_pump.yml").write_text(SILVER, encoding="utf-8")
    assert up_to_date(instance, project) is not None

    # an edited model: it and what reads it, nothing before it
    before = serve.read_text(encoding="utf-8")
    serve.write_text(f"{before} where true", encoding="utf-8")
    assert built_anew(project, instance) == {"bi__dagster_pump"}
    serve.write_text(before, encoding="utf-8")
    assert built_anew(project, instance) == {"bi__dagster_pump"}
    write_pumps(project, PUMP.format(id=1, name="Vortex"), PUMP.format(id=2, name="Gear"))
    assert built_anew(project, instance) == both
    write_pumps(project, PUMP.format(id=1, name="Vortex"))
    assert built_anew(project, instance) == both
    # a macro can change any model
    macro = project / "macros" / "new.sql"
    macro.write_text("{% macro new() %}1{% endmacro %}", encoding="utf-8")
    assert built_anew(project, instance) == both
    macro.unlink()
    assert built_anew(project, instance) == both
    # a table that other hands changed is built again, and with it what reads it
    delta = DeltaTable(services.table_uri(parse("silver.dagster_pump")), storage_options=services.storage_options())
    delta.update({"pump_name": "'Smuggled'"})
    assert built_anew(project, instance) == both
    assert built_anew(project, instance) == set()
    # a part that was built by itself counts, and what reads it follows
    run(project, "build", instance, asset_selection=[dg.AssetKey(["silver", "dagster_pump"])])
    assert built_anew(project, instance) == {"bi__dagster_pump"}
    # who wants everything gets it
    assert built_anew(project, instance, tags={REBUILD: "all"}) == both


def test_a_view_is_not_made_again_for_news_and_what_reads_it_is(
    project: Path, instance: dg.DagsterInstance, services: Settings
) -> None:
    from datong_platform.names import parse
    from deltalake import DeltaTable

    view, table = (project / f"models/silver/dagster_pump_{name}.sql" for name in ("seen", "copied"))
    tested = project / "models/silver/dagster_pump_seen.yml"
    view.write_text("{{ config(materialized='view') }} select * from {{ ref('dagster_pump') }}", encoding="utf-8")
    table.write_text("select * from {{ ref('dagster_pump_seen') }}", encoding="utf-8")

    def built() -> set[str]:
        done = run(project, "build", instance)
        assert done.success
        return {event.asset_key.path[-1] for event in done.get_asset_materialization_events()}

    def names(of: str) -> list[str]:
        return engine.query(f"select pump_name from silver.{of} order by 1").column("pump_name").to_pylist()

    try:
        write_pumps(project, PUMP.format(id=1, name="Vortex"))
        assert built() >= {"dagster_pump_seen", "dagster_pump_copied"}
        assert built() == set()
        # news: the view tells what its table holds, and what reads the view is built
        delta = DeltaTable(services.table_uri(parse("silver.dagster_pump")), storage_options=services.storage_options())
        delta.update({"pump_name": "'Smuggled'"})
        assert names("dagster_pump_seen") == ["Smuggled"]
        assert built() == {"dagster_pump", "dagster_pump_copied", "bi__dagster_pump"}
        assert names("dagster_pump_seen") == names("dagster_pump_copied") == ["Vortex"]
        assert built() == set()
        # people read what was built above the view
        assert reading() == [("1", "Vortex")]
        # another definition of what the view reads may bring other columns
        write_pumps(project, PUMP.format(id=1, name="Gear"))
        assert built() == {"dagster_pump", "dagster_pump_seen", "dagster_pump_copied", "bi__dagster_pump"}
        assert names("dagster_pump_copied") == ["Gear"]
        # a test that asks the view for its rows
        tested.write_text(
            "models: [{name: dagster_pump_seen, data_tests: [{key: {columns: [pump_id]}}]}]",
            encoding="utf-8",
        )
        built()
        run(project, "build", instance, asset_selection=[dg.AssetKey(["silver", "dagster_pump"])])
        assert built() == {"dagster_pump_seen", "dagster_pump_copied", "bi__dagster_pump"}
    finally:
        for file in (view, table, tested):
            file.unlink(missing_ok=True)
        write_pumps(project, PUMP.format(id=1, name="Vortex"))
        built()


def test_what_passed_and_was_not_shown_before_a_build_died_is_work_for_the_next(
    project: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pumps(project, PUMP.format(id=1, name="Vortex"), PUMP.format(id=2, name="Gear"))
    with monkeypatch.context() as patched:
        patched.setattr(builds, "record", lambda _: (_ for _ in ()).throw(ServiceError("store", "is gone.", "wait.")))
        assert not run(project, "build", instance).success
    assert reading() == [("1", "Vortex")]
    assert up_to_date(instance, project) is None
    assert built_anew(project, instance) == set()
    assert reading() == [("1", "Vortex"), ("2", "Gear")]
    assert up_to_date(instance, project) is not None
    write_pumps(project, PUMP.format(id=1, name="Vortex"))
    assert run(project, "build", instance).success
    assert run(project, "publish", instance).success


def test_a_table_whose_check_failed_is_built_again(project: Path, instance: dg.DagsterInstance) -> None:
    write_pumps(project, PUMP.format(id=1, name="Vortex"), PUMP.format(id=1, name="Mole"))
    for _ in range(2):
        built = run(project, "build", instance)
        assert not built.success
        assert [event.asset_key.path[-1] for event in built.get_asset_materialization_events()] == ["dagster_pump"]
    write_pumps(project, PUMP.format(id=1, name="Vortex"))
    assert built_anew(project, instance) == {"dagster_pump", "bi__dagster_pump"}


def test_what_others_write_into_a_table_is_read_by_nobody(
    project: Path, instance: dg.DagsterInstance, services: Settings
) -> None:
    from deltalake import DeltaTable

    assert run(project, "build", instance).success
    delta = DeltaTable(services.table_uri(PUMPS), storage_options=services.storage_options())
    delta.update({"pump_name": "'Smuggled'"})
    assert reading() == [("1", "Vortex")]
    assert run(project, "publish", instance).success
    assert published(services) == [("1", "Vortex")]


def test_a_first_build_that_failed_leaves_nothing_that_stops_the_next(
    project: Path, instance: dg.DagsterInstance
) -> None:
    model = project / "models/silver/dagster_impeller.sql"
    head = "{{ config(materialized='incremental', incremental_strategy='append') }} "
    model.write_text(head + "select cast(raise_error(concat('broken ', id)) as int) as impeller_id from range(2)")
    chosen = [dg.AssetKey(["silver", "dagster_impeller"])]
    try:
        assert not run(project, "build", instance, asset_selection=chosen).success
        model.write_text(head + "select cast(id as int) as impeller_id from range(2)")
        assert run(project, "build", instance, asset_selection=chosen).success
    finally:
        model.unlink()


def test_two_builds_at_once_are_refused(project: Path, instance: dg.DagsterInstance) -> None:
    from datong_assets.alone import alone

    with alone("build"):
        assert not run(project, "build", instance).success


def test_an_unreadable_model_fails_the_build_in_dbts_words_and_hides_nothing_else(
    project: Path, instance: dg.DagsterInstance
) -> None:
    model = project / "models/serve/bi__dagster_pump.sql"
    before = model.read_text(encoding="utf-8")
    model.write_text("select * from {{ ref('no_such_model') }}", encoding="utf-8")
    try:
        heard: list[Progress] = []
        with watching(heard.append):
            built = run(project, "build", instance)
        assert not built.success
        error = next(event.error for event in heard if event.kind == "failure")
        assert error is not None
        assert error.thing == "dbt project dagster_small"
        assert "no_such_model" in error.reason
        assert "serve/bi__dagster_pump" in {
            spec.key.to_user_string() for spec in definitions(project).resolve_all_asset_specs()
        }
    finally:
        model.write_text(before, encoding="utf-8")


def test_a_project_that_never_parsed_is_refused_in_dbts_words(services: Settings, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "dbt_project.yml").write_text("name: datong\nprofile: nowhere\nconfig-version: 2", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="profile") as caught:
        graph.load(broken)
    assert caught.value.thing == "dbt project broken"


def test_a_selection_in_dbts_syntax_gives_the_nodes_and_their_tests(project: Path) -> None:
    with client.process(project) as dbt:
        found = dbt.list(["+bi__dagster_pump"])
        assert {name.split(".")[2] for name in found if name.startswith("model.")} == {
            "dagster_pump",
            "bi__dagster_pump",
        }
        parsed = graph.load(project)
        for word in ("bi__dagster_pump", "dagster_pump"):
            assert set(parsed.named(word) or ()) == set(dbt.list([word])), "what dbt selects by a model's name"
        for word in ("serve", "datong", "+dagster_pump", "dagster_pump,silver", "*pump", "key_dagster_pump_pump_id"):
            assert parsed.named(word) is None, "dbt is asked"
        assert dbt.list(["bi__nothing"]) == []
        with pytest.raises(ConfigurationError, match="selection 'state:mangled'"):
            dbt.list(["state:mangled"])


def test_a_run_whose_process_died_is_closed_by_the_next(tmp_path: Path) -> None:
    with dg.instance_for_test() as made:
        job = dg.Definitions(jobs=[dg.GraphDefinition("empty").to_job()]).resolve_job_def("empty")
        dead = made.create_run_for_job(
            job,
            status=dg.DagsterRunStatus.STARTED,
            tags={instances.PROCESS: instances.this_process().replace(":", ":1", 1)},
        )
        mine = made.create_run_for_job(
            job, status=dg.DagsterRunStatus.STARTED, tags={instances.PROCESS: instances.this_process()}
        )
        instances.close_dead_runs(made)
        statuses = {run.run_id: run.status for run in made.get_runs()}
        assert statuses == {dead.run_id: dg.DagsterRunStatus.FAILURE, mine.run_id: dg.DagsterRunStatus.STARTED}
