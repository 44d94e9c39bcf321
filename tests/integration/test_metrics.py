"""Metrics: what a Prometheus reads is what happened, and only who may read it does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from datong_infra import metrics
from datong_infra.desk.app import app
from datong_platform.lake import sync_log
from datong_platform.lake.sync_log import Entry
from prometheus_client.openmetrics import parser as open_metrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

NOW = datetime.now(UTC)
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.fixture
def log(own_bucket: str) -> None:
    with sync_log.run("run-1"):
        for minutes, outcome in ((90, "ok"), (60, "partly"), (30, "failed")):
            at = NOW - timedelta(minutes=minutes)
            sync_log.record(
                Entry(
                    "extract",
                    "erp",
                    table_name='bronze.erp__"odd"\\name',
                    started_at=at - timedelta(seconds=2),
                    ended_at=at,
                    rows_in=10,
                    rows_out=8 if outcome != "failed" else None,
                    rows_refused=2 if outcome == "partly" else 0,
                    bytes=100,
                    outcome=outcome,  # pyright: ignore[reportArgumentType]
                )
            )
        sync_log.record(Entry("build", table_name="quarantine.material", rows_out=9, ended_at=NOW - timedelta(hours=1)))
        sync_log.record(Entry("build", table_name="quarantine.material", rows_out=4, ended_at=NOW, run_id="run-2"))


def _read(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_counts_of_hops_are_those_of_the_log(log: None) -> None:
    body, kind = metrics.exposition()
    assert kind.startswith("text/plain")
    found = _read(body.decode())
    erp = {"hop": "extract", "system": "erp", "flow": "", "table": 'bronze.erp__"odd"\\name'}

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset({**erp, **labels}.items())]

    assert value("datong_hops_total", outcome="ok") == 1
    assert value("datong_hops_total", outcome="failed") == 1
    assert [value("datong_hop_rows_total", way=way) for way in ("in", "out", "refused")] == [30, 16, 2]
    assert value("datong_hop_bytes_total") == 300
    assert value("datong_hop_seconds_total") == pytest.approx(6)
    assert value("datong_hop_last_seconds") == pytest.approx(2)
    assert value("datong_hop_failing") == 1
    last = (NOW - timedelta(minutes=60)).timestamp()
    assert value("datong_hop_last_success_timestamp_seconds") == pytest.approx(last, abs=0.01)
    assert found["datong_quarantine_rows", frozenset({("table", "quarantine.material")})] == 4
    assert found["datong_part_up", frozenset({("part", "store")})] == 1
    assert found["datong_incidents_open", frozenset({("severity", "error")})] >= 0


def test_what_happens_next_is_counted_and_no_counter_goes_back(log: None) -> None:
    before = _read(metrics.exposition()[0].decode())
    with sync_log.run(), sync_log.hop("publish", table_name="postgres.serve.inventory") as entry:
        entry.rows_out = 7
    after = _read(metrics.exposition()[0].decode())
    assert all(after[key] >= value for key, value in before.items() if key[0].endswith("_total"))
    added = {key for key in after if key not in before}
    assert {dict(labels).get("table") for _, labels in added} == {"postgres.serve.inventory"}


def test_a_store_that_is_away_is_told_and_the_rest_is_served(log: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DATONG_S3_ENDPOINT", "http://127.0.0.1:9")
        found = _read(metrics.exposition()[0].decode())
    assert found["datong_part_up", frozenset({("part", "store")})] == 0
    assert found["datong_part_up", frozenset({("part", "database")})] == 1
    assert not [name for name, _ in found if name.startswith("datong_hop")]


def test_a_scraper_gets_the_form_that_it_asks_for(log: None) -> None:
    here = TestClient(app(), base_url="http://127.0.0.1", client=("127.0.0.1", 5000))
    answer = here.get("/metrics", headers={"Accept": OPEN_METRICS})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name for family in open_metrics.text_string_to_metric_families(answer.text)}
    assert {"datong_hops", "datong_part_up"} <= families
    assert answer.text.endswith("# EOF\n")
    assert here.get("/metrics").headers["content-type"].startswith("text/plain")


def test_metrics_are_for_this_machine_or_for_who_has_the_token(log: None, monkeypatch: pytest.MonkeyPatch) -> None:
    served = app()
    here = TestClient(served, base_url="http://127.0.0.1", client=("127.0.0.1", 5000))
    there = TestClient(served, base_url="http://127.0.0.1", client=("192.0.2.7", 5000))
    assert there.get("/metrics").status_code == 403
    # a proxy on this machine asks for somebody else
    assert here.get("/metrics", headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 403
    assert here.get("/metrics", headers={"Host": "evil.example"}).status_code == 400
    with monkeypatch.context() as patch:
        patch.setenv("DATONG_METRICS_TOKEN", "s3cret")
        for client in (here, there):
            assert client.get("/metrics").status_code == 401
            assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
            assert client.get("/metrics", headers={"Authorization": "Bearer s3cret"}).status_code == 200
