"""The sync log: what is recorded is in the lake once, whatever happens to the process that recorded it."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from datong_assets import hops
from datong_assets.components.written_back import VERIFIED, Checked, Steps, Told, WrittenBack
from datong_ingestion import run
from datong_ingestion.systems_config import load_system
from datong_ingestion.write_back.config import load_flow
from datong_ingestion.write_back.hops import FlowHops
from datong_ingestion.write_back.results import FlowResult
from datong_platform.errors import TransientError
from datong_platform.lake import history, sync_log
from datong_platform.lake.sync_log import SYNC_LOG, Entry
from datong_platform.names import TableName
from datong_platform.settings import home, subprocess_environment

pytestmark = pytest.mark.usefixtures("own_bucket")


def _version() -> int:
    table = history.open_table(SYNC_LOG)
    assert table is not None
    return table.version()


def test_a_run_is_one_commit_and_its_hops_are_read_newest_first() -> None:
    with sync_log.run("run-1", "cycle-1"):
        for number in range(20):
            table, source = f"bronze.erp__t{number}", f"erp.t{number}"
            with sync_log.hop("extract", system="erp", table_name=table, inputs=[source]) as entry:
                entry.rows_in = entry.rows_out = number
        with sync_log.run("run-2"), sync_log.hop("publish", table_name="serve.bi__inventory") as entry:
            entry.outcome, entry.until = "nothing new", "7"
    assert _version() == 1
    found = sync_log.entries()
    assert [one.hop for one in found[:2]] == ["publish", "extract"]
    assert (found[0].run_id, found[0].cycle_id, found[0].outcome, found[0].until) == (
        "run-2",
        "cycle-1",
        "nothing new",
        "7",
    )
    assert [one.rows_in for one in sync_log.entries(system="erp")] == list(reversed(range(20)))
    assert found[1].inputs == ("erp.t19",)
    assert len(sync_log.entries(run_id="run-1", limit=5)) == 5
    assert sync_log.entries(since=datetime.now(UTC) + timedelta(minutes=1)) == []
    assert len(sync_log.entries(before=datetime.now(UTC) + timedelta(minutes=1))) == 21


def test_a_table_was_last_read_when_it_was_asked_and_had_nothing_new_not_when_that_failed() -> None:
    table, at = f"bronze.crm__{uuid.uuid4().hex[:12]}", datetime.now(UTC).replace(microsecond=0)
    with sync_log.run("run-read"):
        for minutes, outcome in ((0, "ok"), (10, "nothing new"), (20, "failed")):
            moment = at + timedelta(minutes=minutes)
            sync_log.record(Entry("extract", table_name=table, outcome=outcome, started_at=moment, ended_at=moment))
    assert sync_log.last_read()[table] == at + timedelta(minutes=10)


def test_threads_of_a_run_record_into_it() -> None:
    def work(number: int) -> None:
        with sync_log.hop("load", system="mes", table_name=f"bronze.mes__t{number}"):
            pass

    with sync_log.run("run-1"):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [one.run_id for one in sync_log.entries()] == ["run-1"] * 8


def test_what_a_stream_does_again_and_again_is_one_row_with_the_sum_of_its_rows() -> None:
    with sync_log.run("run-1"):
        for number in range(1, 6):
            sync_log.record(
                Entry("load", system="mes", table_name="bronze.mes__event", batch=f"{number:03}", rows_in=2)
            )
        sync_log.record(Entry("load", system="mes", table_name="bronze.mes__event", outcome="failed", words="away"))
        sync_log.record(Entry("load", system="mes", table_name="bronze.mes__event", outcome="failed", words="away"))
    found = sync_log.entries()
    assert [one.outcome for one in found] == ["failed", "failed", "ok"]
    assert (found[2].rows_in, found[2].batch, found[2].rows_out) == (10, "001 to 005", None)


def test_a_failed_hop_says_why_and_its_error_goes_on() -> None:
    with pytest.raises(TransientError), sync_log.run("run-1"), sync_log.hop("extract", system="erp"):
        raise TransientError("erp.item", "answered 503.")
    (found,) = sync_log.entries()
    assert found.outcome == "failed"
    assert found.words == "erp.item: answered 503."
    assert found.ended_at >= found.started_at


def test_what_a_killed_process_recorded_is_committed_by_the_next_one_once() -> None:
    program = (
        "import os\n"
        "from datong_platform.lake import sync_log\n"
        "with sync_log.run('killed'):\n"
        "    with sync_log.hop('extract', system='erp') as entry:\n"
        "        entry.rows_in = 5\n"
        "    with sync_log.hop('load', system='erp'):\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=subprocess_environment(), check=False)
    assert done.returncode == -9
    assert history.open_table(SYNC_LOG) is None
    assert sync_log.flush() == 2
    assert sync_log.flush() == 0
    found = {one.hop: one for one in sync_log.entries(run_id="killed")}
    assert found["extract"].rows_in == 5
    assert found["extract"].outcome == "ok"
    assert found["load"].outcome == "interrupted"
    assert not list((home() / "sync_log").glob("*.jsonl"))


def test_a_spool_that_was_committed_and_not_removed_is_not_committed_again() -> None:
    entry = Entry("load", system="erp", run_id="run-1")
    with sync_log.run():
        sync_log.record(entry)
        (spool,) = (home() / "sync_log").glob("*.jsonl")
        text = spool.read_text(encoding="utf-8")
    spool.write_text(text, encoding="utf-8")
    assert sync_log.flush() == 0
    assert len(sync_log.entries()) == 1
    assert not spool.exists()


def test_a_store_that_is_away_fails_no_work_and_loses_no_hop(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DATONG_S3_ENDPOINT", "http://127.0.0.1:9")
        with sync_log.run("run-1"):
            sync_log.record(Entry("plan", flow="status_to_erp", rows_in=3))
    assert sync_log.flush() == 1
    assert [one.rows_in for one in sync_log.entries(flow="status_to_erp")] == [3]


def test_hops_are_forgotten_after_more_than_a_year_and_no_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_log, "_FORGET_EVERY", 2)
    for days in (401, 399):
        at = datetime.now(UTC) - timedelta(days=days)
        sync_log.record(Entry("publish", table_name=f"serve.t{days}", started_at=at, ended_at=at))
    assert [one.table_name for one in sync_log.entries()] == ["serve.t399"]


def test_a_flow_tells_what_it_planned_sent_and_verified_and_a_quiet_one_that_it_looked() -> None:
    flow = load_flow("sales_status_to_erp")
    hops = FlowHops(flow)
    for step in ("planned", "looked", "intended", "sent", "read_back", "recorded"):
        hops.step(step)
    done = FlowResult(
        flow=flow.flow,
        run_id="ledger-run",
        planned=5,
        verified=3,
        failed=1,
        conflict=0,
        unknown=0,
        cancelled=1,
        waiting=0,
        sent=4,
        already=0,
        seconds=1.0,
        problems={"SO-1": "failed: locked"},
    )
    hops.ended(done, 90)
    found = {one.hop: one for one in sync_log.entries(flow=flow.flow)}
    assert [(found[hop].rows_in, found[hop].rows_out) for hop in ("plan", "send", "verify")] == [
        (90, 5),
        (5, 4),
        (5, 3),
    ]
    assert (found["verify"].rows_refused, found["verify"].outcome) == (1, "partly")
    assert "SO-1: failed: locked" in (found["verify"].words or "")
    assert {one.batch for one in found.values()} == {"ledger-run"}
    assert found["plan"].started_at <= found["send"].started_at <= found["verify"].started_at
    assert found["send"].inputs == (flow.source, f"{flow.target.system}.{flow.target.resource}")
    FlowHops(flow).ended(replace(done, planned=0, verified=0, failed=0, cancelled=0, sent=0, problems={}), 90)
    newest = sync_log.entries(flow=flow.flow, limit=1)[0]
    assert (newest.hop, newest.outcome, newest.rows_out) == ("plan", "nothing new", 0)


def test_a_system_that_cannot_be_connected_is_a_failed_read_of_each_of_its_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_: object) -> None:
        raise TransientError("system crm", "cannot be reached.", "see that it runs.")

    monkeypatch.setattr(run, "connect", refused)
    system = load_system("crm")
    outcomes = run.ingest_system(system)
    assert not any(outcome.ok for outcome in outcomes)
    found = sync_log.entries(system="crm")
    assert {one.table_name for one in found} == {str(system.table(entity.name)) for entity in system.entities}
    assert {(one.hop, one.outcome) for one in found} == {("extract", "failed")}
    assert "cannot be reached" in (found[0].words or "")


def test_what_a_flow_or_a_synchronisation_does_bears_its_dagster_run_and_its_cycle() -> None:
    def work(on_step: Steps) -> Told:
        on_step("planned", "3 rows")
        sync_log.record(Entry("plan", system="mes", flow="dates_to_mes", rows_in=3))
        passed = Checked(VERIFIED, passed=False, words="1 waits", warns=True)
        return Told(rows=2, seconds=0.1, detail="2 verified", metadata={"sent": 2}, checks=[passed])

    [asset] = (
        WrittenBack(
            name="dates",
            op="two_way_dates",
            table=TableName("serve", "sync__dates"),
            description="",
            owner="",
            systems=["erp", "mes"],
            metadata={},
            checks={VERIFIED: "read back"},
            run=work,
        )
        .definitions()
        .assets
        or ()
    )
    assert isinstance(asset, dg.AssetsDefinition)
    done = dg.materialize([asset], tags={hops.CYCLE: "cycle-7"})
    [hop] = sync_log.entries(flow="dates_to_mes")
    assert (hop.run_id, hop.cycle_id) == (done.run_id, "cycle-7")
    [check] = done.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    [made] = done.asset_materializations_for_node("two_way_dates")
    assert made.metadata["dagster/row_count"].value == 2
