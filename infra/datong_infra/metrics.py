"""Metrics in Prometheus' text form, or OpenMetrics', as the scraper asks: what the desk tells at `/metrics`.

From the sync log, the write-back ledger and the incidents, read when they are asked for. Names and labels:

    datong_hops_total, datong_hop_rows_total, datong_hop_bytes_total, datong_hop_seconds_total   by hop and subject
    datong_hop_last_success_timestamp_seconds, datong_hop_last_seconds, datong_hop_failing       of the last hop
    datong_silence_ratio           time since the last hop, as a share of the longest pause in order: above 1 is late
    datong_quarantine_rows         rows in quarantine, by table
    datong_write_back_rows         rows of a flow by state; datong_write_back_paused tells a flow that is paused
    datong_incidents_open          open incidents by severity
    datong_part_up                 0 for a part (store, database) that could not be asked: its metrics are missing then
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from datong_platform.alerts import incidents
from datong_platform.alerts.channels import SEVERITIES
from datong_platform.errors import DatongError
from datong_platform.lake import history, sync_log
from datong_platform.lake.sync_log import SYNC_LOG
from datong_platform.quality import exchanges
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

_LOG = logging.getLogger(__name__)
_SUBJECT = ("hop", "system", "flow", "table")
_kept: dict[str, tuple[str, list[dict[str, Any]]]] = {}


def exposition(accept: str = "") -> tuple[bytes, str]:
    """All metrics of this moment, and their content type; `accept` is the scraper's header."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector())
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


class _Collector(Collector):
    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "datong_part_up", "Whether a part could be asked; else its metrics are missing.", labels=["part"]
        )
        parts: dict[str, list[Callable[[], Iterable[Metric]]]] = {
            "store": [_hops, _silences, _flows],
            "database": [_incidents, _paused],
        }
        for part, collectors in parts.items():
            held: list[Metric] = []
            try:
                for collector in collectors:
                    held += collector()
            except DatongError as error:
                _LOG.warning("metrics of %s are missing: %s", part, error)
                up.add_metric([part], 0)
                continue
            up.add_metric([part], 1)
            yield from held
        yield up


def _totals() -> list[dict[str, Any]]:
    """The log summed up by hop and subject, kept until it changes."""
    log = history.open_table(SYNC_LOG)
    if log is None:
        return []
    place, state = log.table_uri, f"{log.metadata().id}@{log.version()}"
    if _kept.get(place, ("", []))[0] != state:
        good = "outcome <> 'failed' and outcome <> 'interrupted'"
        # a clock that was set back meanwhile makes no negative time
        seconds = "greatest((cast(ended_at as bigint) - cast(started_at as bigint)) / 1000000.0, 0)"
        rows = sync_log.query(
            "select hop, coalesce(system, '') as system, coalesce(flow, '') as flow, "
            "coalesce(table_name, '') as table_name, outcome, count(*) as hops, sum(coalesce(rows_in, 0)) as rows_in, "
            "sum(coalesce(rows_out, 0)) as rows_out, sum(coalesce(rows_refused, 0)) as rows_refused, "
            f"sum(coalesce(bytes, 0)) as bytes, sum({seconds}) as seconds, "
            "cast(max(ended_at) as bigint) / 1000000.0 as last, "
            f"last_value({seconds} order by ended_at) as last_seconds, "
            "last_value(coalesce(rows_out, 0) order by ended_at) as last_rows, "
            f"{good} as is_good from log group by hop, system, flow, table_name, outcome"
        )
        _kept[place] = state, rows.to_pylist()
    return _kept[place][1]


def _subject(row: dict[str, Any]) -> tuple[str, str, str, str]:
    return row["hop"], row["system"], row["flow"], row["table_name"]


def _hops() -> Iterator[Metric]:
    rows = _totals()
    hops = CounterMetricFamily("datong_hops", "Hops that ended, by outcome.", labels=[*_SUBJECT, "outcome"])
    for row in rows:
        hops.add_metric([*_subject(row), row["outcome"]], row["hops"])
    yield hops
    moved = CounterMetricFamily("datong_hop_rows", "Rows of hops: in, out, refused.", labels=[*_SUBJECT, "way"])
    size = CounterMetricFamily("datong_hop_bytes", "Bytes that hops wrote.", labels=_SUBJECT)
    spent = CounterMetricFamily("datong_hop_seconds", "Seconds that hops took.", labels=_SUBJECT)
    sums: dict[tuple[str, str, str, str], Counter[str]] = {}
    for row in rows:
        total = sums.setdefault(_subject(row), Counter())
        for name in ("rows_in", "rows_out", "rows_refused", "bytes", "seconds"):
            total[name] += row[name]
    for subject, total in sums.items():
        for way in ("in", "out", "refused"):
            moved.add_metric([*subject, way], total[f"rows_{way}"])
        size.add_metric(subject, total["bytes"])
        spent.add_metric(subject, total["seconds"])
    yield from (moved, size, spent)
    yield from _last(rows)


def _last(rows: list[dict[str, Any]]) -> Iterator[Metric]:
    success = GaugeMetricFamily(
        "datong_hop_last_success_timestamp_seconds", "When the last hop that went through ended.", labels=_SUBJECT
    )
    took = GaugeMetricFamily("datong_hop_last_seconds", "Seconds that the last hop took.", labels=_SUBJECT)
    failing = GaugeMetricFamily("datong_hop_failing", "Whether the last hop did not go through.", labels=_SUBJECT)
    held = GaugeMetricFamily("datong_quarantine_rows", "Rows in quarantine.", labels=["table"])
    newest: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    good: dict[tuple[str, str, str, str], float] = {}
    for row in rows:
        subject = _subject(row)
        newest[subject] = max(newest.get(subject, row), row, key=lambda one: one["last"])
        if row["is_good"]:
            good[subject] = max(good.get(subject, 0.0), row["last"])
    for subject, row in newest.items():
        took.add_metric(subject, row["last_seconds"])
        failing.add_metric(subject, 0 if row["is_good"] else 1)
        if subject in good:
            success.add_metric(subject, good[subject])
        if row["hop"] == "build" and row["is_good"] and row["table_name"].startswith("quarantine."):
            held.add_metric([row["table_name"]], row["last_rows"])
    yield from (success, took, failing, held)


def _silences() -> Iterator[Metric]:
    from datong_assets.exchange_findings import defined

    silence = GaugeMetricFamily(
        "datong_silence_ratio",
        "Time since the last hop, as a share of the longest pause in order.",
        labels=["system", "table", "flow"],
    )
    for place, share in exchanges.silences(known=defined()).items():
        silence.add_metric(place, share)
    yield silence


def _flows() -> Iterator[Metric]:
    from datong_ingestion.write_back import ledger

    rows = GaugeMetricFamily("datong_write_back_rows", "Rows of a flow by state.", labels=["flow", "state"])
    for flow, states in ledger.state_counts().items():
        for state, count in states.items():
            rows.add_metric([flow, state], count)
    yield rows


def _paused() -> Iterator[Metric]:
    from datong_ingestion.write_back import decisions

    paused = GaugeMetricFamily(
        "datong_write_back_paused", "Flows that a person paused; flow is empty where all are.", labels=["flow"]
    )
    for one in decisions.pauses():
        paused.add_metric([one.flow or ""], 1)
    yield paused


def _incidents() -> Iterator[Metric]:
    open_ = GaugeMetricFamily("datong_incidents_open", "Open incidents.", labels=["severity"])
    counts = Counter(one.severity for one in incidents.incidents())
    for severity in SEVERITIES:
        open_.add_metric([severity], counts[severity])
    yield open_
