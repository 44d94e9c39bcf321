"""Whole runs of a flow against targets of several kinds: planned, sent, read back, verified, once each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion.write_back import FlowConfig, run_flow
from datong_platform.settings import Settings, settings
from deltalake import write_deltalake
from lake_builds import let_read
from targets import (
    SCHEMA,
    FilesRig,
    KafkaRig,
    ODataV2BatchRig,
    ODataV4BatchRig,
    RestManyRig,
    RestPutRig,
    SoapRig,
    SqlRig,
    TargetRig,
    row,
)

RIGS: dict[str, Callable[[Path], TargetRig]] = {
    "odata_v2_batch": lambda _: ODataV2BatchRig(),
    "odata_v4_batch": lambda _: ODataV4BatchRig(),
    "rest_put": lambda _: RestPutRig(),
    "soap": lambda _: SoapRig(),
    "files_csv": lambda folder: FilesRig(folder, "csv", 10),
}


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, services: Settings, tmp_path: Path) -> Iterator[TargetRig]:
    found = RIGS[request.param](tmp_path)
    yield found
    found.stop()


def write(flow: FlowConfig, rows: list[dict[str, Any]]) -> None:
    now = settings()
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    write_deltalake(now.table_uri(flow.table), table, mode="overwrite", storage_options=now.storage_options())
    let_read(flow.table)


def flow_of(rig: TargetRig) -> FlowConfig:
    mark = uuid.uuid4().hex[:8]
    guards = {"max_delete_share": None, "approve_deletes": False}
    changes = {"flow": f"test_{mark}", "source": f"serve.test__t{mark}", "settle_seconds": 0.2, "guards": guards}
    return rig.flow(**changes, retry={"wait_seconds": 0})


def run(rig: TargetRig, flow: FlowConfig) -> Any:
    from datong_ingestion.write_back.systems import open_target

    target = open_target(flow, rig.definition())
    rig.opened.append(target)
    return run_flow(flow, target=target)


def test_rows_are_made_changed_and_deleted_once_each(rig: TargetRig) -> None:
    flow = flow_of(rig)
    write(flow, [row(f"A{n}") for n in range(12)])
    if "half" in rig.faults:
        rig.fault("half")
    elif "lost after" in rig.faults:
        rig.fault("lost after", "500 after")
    result = run(rig, flow)
    assert (result.verified, result.ok) == (12, True), result
    assert Counter(rig.effects()) == {("create", f"A{n}"): 1 for n in range(12)}
    write(flow, [row("A0", name="new name"), *[row(f"A{n}") for n in range(1, 11)]])
    result = run(rig, flow)
    assert (result.verified, result.ok) == (2, True), result
    assert rig.held() == {"A0": "new name"} | {f"A{n}": row(f"A{n}")["name"] for n in range(1, 11)}
    assert rig.effects().count(("delete", "A11")) == 1
    assert len(rig.effects()) == 14
    assert run(rig, flow).planned == 0
    assert len(rig.effects()) == 14


_DYING = """
import json, os, signal, sys, threading
from datong_ingestion.systems_config import parse_system
from datong_ingestion.write_back import FlowConfig, run_flow
from datong_ingestion.write_back.systems import open_target
told = json.load(sys.stdin)
flow = FlowConfig.model_validate(told["flow"])
left, lock = told["after"], threading.Lock()
def replied(key, outcome):
    global left
    with lock:
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
run_flow(flow, target=open_target(flow, parse_system(told["system"])), on_reply=replied)
"""


def kill_after(rig: TargetRig, flow: FlowConfig, replies: int) -> None:
    """Run a flow in a process of its own that is killed when so many changes were answered."""
    told = {
        "flow": flow.model_dump(mode="json", by_alias=True),
        "system": rig.definition().model_dump(mode="json", by_alias=True, exclude_unset=True),
        "after": replies,
    }
    killed = subprocess.run(
        [sys.executable, "-c", _DYING],
        input=json.dumps(told).encode(),
        env=os.environ,
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()


KILLED: dict[str, Callable[[Path, pytest.FixtureRequest], TargetRig]] = {
    **{name: lambda folder, _, make=make: make(folder) for name, make in RIGS.items()},
    "rest_many": lambda _, __: RestManyRig(),
    "sql": lambda _, request: SqlRig(request.getfixturevalue("services")),
    "kafka": lambda _, request: KafkaRig(request.getfixturevalue("kafka")),
}
_NIGHTLY = {"odata_v2_batch", "rest_put", "soap", "kafka"}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.nightly if kind in _NIGHTLY else ()) for kind in KILLED]
)
def test_a_run_that_is_killed_amid_its_requests_loses_nothing_and_repeats_nothing(
    kind: str, services: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rig = KILLED[kind](tmp_path, request)
    try:
        flow = flow_of(rig)
        write(flow, [row(f"A{n}") for n in range(24)])
        kill_after(rig, flow, 7)
        assert rig.effects(), "it was killed before it did anything"
        result = run(rig, flow)
        assert (result.ok, result.failed, result.unknown) == (True, 0, 0), result
        assert Counter(rig.effects()) == {("create", f"A{n}"): 1 for n in range(24)}
        assert run(rig, flow).planned == 0
    finally:
        rig.stop()
