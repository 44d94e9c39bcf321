"""Write-back of a million changed rows: how much memory the run takes, and how fast it plans and sends.

    uv run python tests/bench/write_back_plan.py --rows 1000000

The serve table holds the rows, the ledger is empty; the target answers at once and keeps a bit for each record, so that
what is measured is Datong's own. `all` is that run; then nothing has changed (`again`), and then one row in a hundred
(`hundredth`). `memory_added_mib` is the peak of this process above what it took before the run.
"""

from __future__ import annotations

import resource
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from datong_ingestion.write_back import FlowConfig, dry_run, run_flow
from datong_ingestion.write_back.config import Operation
from datong_ingestion.write_back.payload import Dialect
from datong_ingestion.write_back.target import Change, Found, Outcome
from datong_platform.errors import DatongError
from datong_platform.lake import builds, history
from datong_platform.lake.builds import Build, BuiltTable, Published, Version
from datong_platform.settings import settings
from deltalake import write_deltalake
from frame import Benchmark, Session

BENCH = Benchmark(
    key="write-back-plan",
    title="Write-back of a million changed rows: what planning takes, in memory and time",
    quick={"rows": 5000},
)


class Bits:
    """A target that holds, for each number, the version of the row that was written, and nothing else."""

    can_be_asked = True
    dialect: Dialect = "rest"
    operations: frozenset[Operation] = frozenset({"create", "update"})

    def __init__(self, rows: int) -> None:
        self.version = bytearray(rows)
        self.writes = 0

    def lookup(
        self, keys: Sequence[str], sent: Mapping[str, str] | None = None
    ) -> dict[str, list[Found] | DatongError]:
        return {key: self._found(key) for key in keys}

    def _found(self, key: str) -> list[Found] | DatongError:
        number = int(key[1:])
        version = self.version[number]
        if not version:
            return []
        fields = {"orderNo": key, "quantity": number % 1000 + version, "text": f"row {number}"}
        return [Found(fields, str(version), key, (key,))]

    def send(self, changes: Sequence[Change], on_reply: Callable[[Change, Outcome], None]) -> dict[str, Outcome]:
        for change in changes:
            number = int(change.key[1:])
            self.version[number] = change.payload["quantity"] - number % 1000
            self.writes += 1
        return {change.key: Outcome("accepted", 200) for change in changes}

    def recorded(self, keys: Sequence[str]) -> None:
        pass

    def close(self) -> None:
        pass


class Peak:
    """The highest resident memory of this process within the block, in MB, above that at its start."""

    def __enter__(self) -> Peak:
        self._first = self.mb = _resident()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._ends.wait(0.1):
            self.mb = max(self.mb, _resident())

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self.mb = round(self.mb - self._first)


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() / 1e6


def write(flow: FlowConfig, rows: int, every: int) -> None:
    """Rows of the serve table; one in `every` bears version 2, the others 1."""
    now = settings()
    schema = pa.schema([("order_no", pa.string()), ("quantity", pa.int32()), ("text", pa.string())])

    def batches() -> Any:
        for at in range(0, rows, 50_000):
            numbers = range(at, min(rows, at + 50_000))
            quantities = [number % 1000 + (2 if every and number % every == 0 else 1) for number in numbers]
            yield pa.record_batch(
                [
                    pa.array([f"K{number:08d}" for number in numbers]),
                    pa.array(quantities, pa.int32()),
                    pa.array([f"row {number}" for number in numbers]),
                ],
                schema=schema,
            )

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    write_deltalake(now.table_uri(flow.table), reader, mode="overwrite", storage_options=now.storage_options())
    found = history.open_table(flow.table)
    assert found is not None
    shown = Published(Version(str(found.metadata().id), found.version()), build_id := uuid.uuid4().hex, rows)
    others = [BuiltTable(name, "unchanged", published=old) for name, old in builds.published().items()]
    mine = BuiltTable(flow.table, "published", built=shown.version, published=shown)
    at = found.history(1)[0]["timestamp"]
    moment = pa.scalar(at, pa.timestamp("ms", "UTC")).as_py()
    tables = [*(one for one in others if one.table != flow.table), mine]
    builds.record(Build(build_id, moment, moment, is_ok=True, tables=tables))


def main() -> None:
    options = BENCH.options(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--only-plan", action="store_true", help="dry run alone: what the comparison takes")
    options.set_defaults(runs=3, warm_ups=0)
    with BENCH.session(options) as bench, bench.services("store", "postgres"):
        for _ in bench.turns():
            measure(bench)


def measure(bench: Session) -> None:
    """A flow of its own: all, nothing, a hundredth."""
    chosen, mark = bench.asked, uuid.uuid4().hex[:8]
    flow = FlowConfig.model_validate(
        {
            "flow": f"bench_{mark}",
            "source": f"serve.bench__p{mark}",
            "key": "order_no",
            "target": {"system": "mes", "resource": "/orders", "lookup": "orderNo", "identity": ["orderNo"]},
            "operations": ["create", "update"],
            "payload": {"orderNo": "order_no", "quantity": "quantity", "text": "text"},
            "chunk_rows": 5000,
        }
    )
    target = Bits(chosen.rows)
    for name, every in (("all", 0), ("again", 0), ("hundredth", 100)):
        if name != "again":
            write(flow, chosen.rows, every)
        before = target.writes
        with Peak() as peak, bench.measured("datong", name, amount=chosen.rows, unit="rows") as run:
            if chosen.only_plan:
                planned = dry_run(flow, target=target).changes
            else:
                result = run_flow(flow, target=target)
                assert result.is_green, result
                planned = result.planned
                assert target.writes - before == planned, "a row was sent twice, or not at all"
        run.figures |= {"planned": planned, "memory_added_mib": peak.mb}


if __name__ == "__main__":
    main()
