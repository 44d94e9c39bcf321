"""What the sync log tells becomes findings, incidents with one root, and heals; nobody set a limit for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from datong_assets import alerting, exchange_findings, flow_findings
from datong_assets.exchange_findings import with_systems
from datong_ingestion.write_back import decisions, ledger
from datong_platform.alerts import incidents
from datong_platform.alerts.config import AlertsConfig
from datong_platform.alerts.findings import Finding, grouped
from datong_platform.lake import sync_log
from datong_platform.lake.sync_log import Entry
from datong_platform.quality import exchanges
from datong_platform.settings import settings

NOW = datetime.now(UTC)
STOPPED = NOW - timedelta(hours=9)
TABLES = ("order", "event", "lot")
OWNERS = {f"bronze.mes__{table}": "team:mes" for table in TABLES} | {"bronze.erp__material": "", "bronze.crm__lead": ""}


def _read(system: str, table: str, at: datetime, rows: int = 5) -> Entry:
    return Entry(
        "extract",
        system,
        table_name=f"bronze.{system}__{table}",
        inputs=(f"{system}.{table}",),
        run_id=f"run-{at.isoformat()}",
        started_at=at - timedelta(seconds=2),
        ended_at=at,
        rows_in=rows,
        outcome="ok" if rows else "nothing new",
    )


@pytest.fixture
def log(own_bucket: str) -> list[Entry]:
    """Ten days of the ERP, and of a MES that tells nothing new since nine hours."""
    moments = [NOW - timedelta(minutes=30 * n + 5) for n in reversed(range(480))]
    entries = [_read("erp", "material", at) for at in moments]
    entries += [_read("mes", table, at, 5 if at < STOPPED else 0) for at in moments for table in TABLES]
    with sync_log.run():
        for entry in entries:
            sync_log.record(entry)
    return sorted(entries, key=lambda one: one.ended_at)


def _upstream() -> dict[str, list[str]]:
    made: dict[str, list[str]] = {f"source.mes.{table}": [] for table in TABLES} | {"source.erp.material": []}
    made |= {f"bronze.mes__{table}": [f"source.mes.{table}"] for table in TABLES}
    made |= {"silver.order": ["bronze.mes__order"], "gold.fct_order": ["silver.order"]}
    return with_systems(made)


def test_the_log_and_the_same_entries_in_memory_are_judged_alike(log: list[Entry]) -> None:
    found = exchanges.judged(NOW)
    assert found == exchanges.judge(exchanges.series(log), NOW)
    assert [(one.what, one.subject) for one in found] == [("silent", "system.mes")]


def test_a_silent_system_is_one_finding_that_explains_what_is_late_behind_it(log: list[Entry]) -> None:
    told = exchange_findings.findings(OWNERS)
    late = Finding("late:gold.fct_order:fresh", "late", "gold.fct_order", "warning", "late", "过期")
    check = Finding("check:gold.dim_other:key", "check", "gold.dim_other", "error", "wrong", "错误")
    (mine, other) = sorted(grouped([*told, late, check], _upstream()), key=lambda group: -len(group.findings))
    assert [one.key for one in mine.findings] == ["late:gold.fct_order:fresh", "silent:system.mes"]
    assert (mine.root.title, mine.root.title_zh) == (
        "Manufacturing execution system: nothing new comes any more",
        "制造执行系统：长时间没有新数据",
    )
    assert (mine.root.system, mine.root.owner, mine.severity) == ("mes", "team:mes", "error")
    assert "Next step: ask whether the system works" in mine.root.detail
    assert [one.key for one in other.findings] == ["check:gold.dim_other:key"]


def test_nobody_waits_for_what_is_not_defined_any_more(log: list[Entry]) -> None:
    assert exchange_findings.findings({"bronze.erp__material": "team:erp"}) == []
    (left,) = exchanges.judged(NOW, known=["bronze.mes__lot"])
    assert (left.what, left.subject) == ("silent", "bronze.mes__lot")


def test_a_read_that_failed_outside_of_dagster_is_found_and_over_with_the_next_that_goes_well(log: list[Entry]) -> None:
    with sync_log.run(), pytest.raises(ConnectionError), sync_log.hop("extract", table_name="bronze.crm__lead"):
        raise ConnectionError("refused")
    (found,) = [one for one in exchange_findings.findings(OWNERS) if one.kind == "ingest"]
    assert (found.key, found.cause) == ("ingest:bronze.crm__lead", "refused")
    with sync_log.run(), sync_log.hop("extract", table_name="bronze.crm__lead"):
        pass
    assert [one for one in exchange_findings.findings(OWNERS) if one.kind == "ingest"] == []


def test_a_store_that_is_away_is_a_finding(own_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DATONG_S3_ENDPOINT", "http://127.0.0.1:9")
        (found,) = exchange_findings.findings({})
    assert (found.kind, found.subject) == ("service", "store")
    assert "http://127.0.0.1:9" in found.detail


@pytest.fixture
def no_incidents() -> Iterator[None]:
    import psycopg

    incidents.incidents()
    with psycopg.connect(settings().need("postgres_url"), autocommit=True) as database:
        database.execute("delete from ops.incident")
        yield
        database.execute("delete from ops.incident")


def test_the_alarm_of_a_silent_system_is_raised_and_heals_by_itself(log: list[Entry], no_incidents: None) -> None:
    specs = [
        dg.AssetSpec(["bronze", f"mes__{table}"], deps=[dg.AssetKey(["source", "mes", table])]) for table in TABLES
    ]
    repository = dg.Definitions(assets=specs).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        step = alerting.check(instance, repository, AlertsConfig(close_after_minutes=0))
        assert step is not None
        assert (step.opened, step.open) == (1, 1)
        (open_,) = incidents.incidents()
        assert (open_.title, open_.system) == (
            "Manufacturing execution system: nothing new comes any more",
            "mes",
        )
        with sync_log.run():
            for table in TABLES:
                sync_log.record(_read("mes", table, datetime.now(UTC)))
        healed = alerting.check(instance, repository, AlertsConfig(close_after_minutes=0))
        assert healed is not None
        assert (healed.open, healed.closed) == (0, 1)


def _transition(key: str, step: int, state: ledger.State) -> ledger.Entry:
    return ledger.Entry("order_to_mes", key, step, state, "create", f"{key}-1", "hash", None, 0, "run", NOW)


@pytest.fixture
def no_pause(own_bucket: str) -> Iterator[None]:
    yield
    for one in decisions.pauses():
        decisions.decide(one.flow, "resume", who="mei", why="the test is over")


def test_what_waits_for_approval_and_what_is_paused_is_told_until_it_is_not(no_pause: None) -> None:
    owners = {"write_back.order_to_mes": "team:mes"}
    assert flow_findings.findings(owners) == []
    book = ledger.Ledger("order_to_mes")
    book.append([_transition(key, 1, "waiting_for_approval") for key in ("a", "b", "c")])
    decisions.decide(None, "pause", who="mei", why="month-end close")
    decisions.decide("order_to_mes", "pause", who="tom", why="the MES moves house")
    found = {one.key: one for one in flow_findings.findings(owners)}
    assert set(found) == {"approval:write_back.order_to_mes", "paused:write_back", "paused:write_back.order_to_mes"}
    waiting = found["approval:write_back.order_to_mes"]
    assert (waiting.title, waiting.title_zh) == (
        "Order to mes: 3 changes wait for approval",
        "Order to mes：3 项变更待批准",
    )
    assert waiting.owner == "team:mes"
    assert "mei" in found["paused:write_back"].detail
    assert "month-end close" in found["paused:write_back"].detail
    book.append([_transition(key, 2, "cancelled") for key in ("a", "b", "c")])
    decisions.decide(None, "resume", who="mei", why="closed")
    assert [one.key for one in flow_findings.findings(owners)] == ["paused:write_back.order_to_mes"]
