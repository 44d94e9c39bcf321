"""Benchmarks: what a record holds, how two are compared, what a page shows, and what the frame measures."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from datong_infra.bench import catalog, charts, compare, report, results, tables
from datong_infra.bench.results import Machine, Result, Run
from datong_platform.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
HERE = results.this_machine()


def run(who: str, turn: int, seconds: float, **more: Any) -> Run:
    given: dict[str, Any] = {"case": "all", "cpu_seconds": seconds / 2, "peak_memory_bytes": 2**20, "checksum": "c1"}
    return Run(who=who, turn=turn, is_warm_up=turn < 1, seconds=seconds, **(given | more))


def result(*runs: Run, revision: str = "a" * 40, machine: Machine = HERE, **more: Any) -> Result:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    given: dict[str, Any] = {
        "benchmark": "p0",
        "title": "A benchmark",
        "started_at": moment,
        "ended_at": moment,
        "is_dirty": False,
        "load_before": 0.1,
        "load_after": 0.2,
        "arguments": {"rows": 10, "runs": len(runs)},
        "versions": {},
    }
    return Result(revision=revision, machine=machine, runs=list(runs), **(given | more))


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATONG_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def frame() -> ModuleType:
    """The frame of the scripts, which is no package."""
    sys.path.insert(0, str(ROOT / "tests" / "bench"))
    try:
        return importlib.import_module("frame")
    finally:
        sys.path.pop(0)


def test_the_warm_up_counts_for_no_median_but_its_content_has_to_be_right() -> None:
    found = result(run("datong", 0, 90.0, checksum="c2"), *(run("datong", n, float(n)) for n in (1, 2, 3)))
    (summary,) = found.summaries()
    assert (summary.runs, summary.seconds.median, summary.seconds.greatest) == (3, 2.0, 3.0)
    assert found.same_content() == {"all": False}


def test_where_turns_differ_contenders_are_compared_turn_by_turn() -> None:
    runs = [run(who, turn, 1.0, checksum=f"c{turn}") for turn in (1, 2) for who in ("datong", "peer")]
    assert result(*runs, turns_differ=True).same_content() == {"all": True}
    assert result(*runs).same_content() == {"all": False}
    other = run("peer", 2, 1.0, checksum="c1")
    assert result(*runs[:3], other, turns_differ=True).same_content() == {"all": False}
    assert result(runs[0], runs[2], turns_differ=True).same_content() == {"all": None}


def test_content_is_compared_within_one_lake() -> None:
    runs = [run(who, 1, 1.0, checksum=lake, lake=lake) for lake in ("sail", "spark") for who in (lake, "peer")]
    assert result(*runs).same_content() == {"all": True}
    runs[3].checksum = "another"
    assert result(*runs).same_content() == {"all": False}
    runs[3].lake = ""
    assert result(*runs).same_content() == {"all": True}, "nothing stands beside it in its lake"


def test_a_contender_that_did_less_is_compared_for_the_same_amount() -> None:
    mine = run("datong", 1, 10.0, amount=1000, unit="rows")
    loop = run("loop", 1, 5.0, amount=100, unit="rows", checksum=None)
    rows = {row["who"]: row for row in tables.rows(result(mine, loop))}
    assert rows["loop"]["time"] == "5.00 x"
    assert rows["datong"]["pace"] == "100 rows/s"


def test_only_what_lies_apart_is_called_a_difference() -> None:
    before = result(*(run("datong", n, 10.0 + n) for n in (1, 2, 3)), *(run("peer", n, 5.0 + n) for n in (1, 2, 3)))
    after = result(*(run("datong", n, 5.0 + n) for n in (1, 2, 3)), *(run("peer", n, 5.5 + n) for n in (1, 2, 3)))
    told = {(one.who, one.figure): one.verdict for one in compare.differences(before, after)}
    assert told["datong", "seconds"] == "less"
    assert told["peer", "seconds"] == "same"
    (single,) = [one for one in compare.differences(result(run("datong", 1, 1.0)), after) if one.figure == "seconds"]
    assert single.verdict == "unclear"


def test_a_comparison_says_why_it_may_mean_nothing() -> None:
    other = HERE.model_copy(update={"cores": HERE.cores + 6})
    before = result(run("datong", 1, 1.0), machine=other, load_before=99.0, is_dirty=True)
    after = result(run("datong", 1, 1.0, checksum="c9"))
    told = " ".join(compare.warnings(before, after))
    for words in ("different machines", "busy machine", "not committed", "content is not the same"):
        assert words in told
    sizes = compare.warnings(result(run("datong", 1, 1.0), arguments={"rows": 99}), after)
    assert "They ran with different rows: 99 and 10." in sizes


def test_records_are_found_by_file_id_revision_and_latest(own_home: Path) -> None:
    old = result(run("datong", 1, 1.0), revision="1" * 40)
    new = result(run("datong", 1, 2.0), revision="2" * 40, started_at=datetime(2026, 1, 2, tzinfo=UTC))
    paths = [results.keep(one) for one in (old, new)]
    assert [one.revision[0] for one in results.kept()] == ["2", "1"]
    assert results.named("latest") == [new] == results.named("2222")
    assert results.named(old.id) == [old] == results.named(str(paths[0]))
    trial = result(run("datong", 1, 3.0), is_quick=True, started_at=datetime(2026, 1, 3, tzinfo=UTC))
    results.keep(trial)
    assert results.named("latest") == [new], "a small trial is not what one compares with"
    assert results.named("aaaa") == [trial], "unless there is nothing else"
    with pytest.raises(ConfigurationError, match="neither a file, an id, nor a revision"):
        results.named("3333")
    paths[0].write_text('{"benchmark": "p0"}')
    with pytest.raises(ConfigurationError, match="is not the record of a benchmark: title"):
        results.named("latest")


def test_the_overview_shows_peers_and_no_limits() -> None:
    listed = [run("datong", 1, 2.0), run("a peer", 1, 8.0), run("limit: a core", 1, 1.0, checksum=None)]
    drawn = charts.overview([result(*listed)])
    assert "a peer" in drawn
    assert "4.00" in drawn
    assert "limit" not in drawn


def test_a_report_shows_every_contender_and_what_was_left_out(tmp_path: Path) -> None:
    found = result(
        run("datong", 1, 1.0), run("peer <b>", 1, 3.0), run("peer <b>", 2, 4.0), left_out={"spark": "no Java & more"}
    )
    files = report.write([found], tmp_path / "pages")
    assert sorted(path.name for path in files) == ["index.html", "overview.svg", "p0.svg", "results.md"]
    page = files[0].read_text(encoding="utf-8")
    assert "peer &lt;b&gt;" in page
    assert "peer <b>" not in page
    assert "Left out, spark: no Java &amp; more" in page
    assert "3.50 x" in (tmp_path / "pages" / "p0.svg").read_text(encoding="utf-8")
    assert "| all | peer <b> | 2 |" in (tmp_path / "pages" / "results.md").read_text(encoding="utf-8")


def test_every_script_of_the_folder_is_a_benchmark_that_says_what_it_is() -> None:
    known = {one.path.name: one for one in catalog.listed()}
    folder = ROOT / "tests" / "bench"
    runnable = {
        path.name
        for path in folder.glob("*.py")
        if re.search(r"^if __name__ == .__main__.:", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert runnable <= set(known), "a script that can be run has a BENCH = Benchmark(…)"
    for one in known.values():
        assert one.title, one.path.name


def test_an_installation_without_the_benchmarks_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(catalog, "FOLDER", tmp_path / "none")
    with pytest.raises(ConfigurationError, match="run it in a checkout"):
        catalog.listed()
    monkeypatch.setattr(catalog, "FOLDER", tmp_path)
    (tmp_path / "a.py").write_text("BENCH = Benchmark(key=KEY, title='A')\n")
    with pytest.raises(ConfigurationError, match=r"benchmark a\.py: cannot be described"):
        catalog.listed()
    (tmp_path / "a.py").write_text("BENCH = Benchmark(key='p', title='A')\n")
    (tmp_path / "b.py").write_text("BENCH = Benchmark(key='p', title='B')\n")
    with pytest.raises(ConfigurationError, match=r"is described twice: in a\.py and in b\.py"):
        catalog.listed()


def test_the_checksum_is_of_the_content_not_of_its_order_types_or_case(frame: ModuleType) -> None:
    moments = pa.array([0, 1, 2], pa.timestamp("us", "UTC"))
    one = pa.table({"A": [1, 2, None], "b": [Decimal("1.50"), Decimal("2.00"), Decimal("100.00")], "t": moments})
    other = pa.table(
        {"t": pa.array([2, 0, 1], pa.timestamp("us")), "B": [100.0, 1.5, 2.0], "a": pa.array([None, 1.0, 2.0])}
    )
    assert frame.checksum(one) == frame.checksum(other)
    changed = one.set_column(0, "A", pa.array([1, 2, 0]))
    assert frame.checksum(changed) != frame.checksum(one)
    doubled = pa.concat_tables([one, one.slice(0, 1), one.slice(0, 1)])
    assert frame.checksum(doubled) != frame.checksum(one), "rows that come twice do not cancel each other"
    swapped = pa.table({"a": ["x", "y"], "b": ["y", "x"]})
    assert frame.checksum(swapped) != frame.checksum(pa.table({"a": ["x", "y"], "b": ["x", "y"]}))


SCRIPT = """
import subprocess, sys
sys.path.insert(0, {folder!r})
from frame import Benchmark
BENCH = Benchmark(key="toy", title="A toy", quick={{"work": 1}})
BUSY = "import time; t = time.process_time()\\nwhile time.process_time() - t < {{0}}: pass"
HOLD = "import time; held = b'x' * 150_000_000; time.sleep(1.5)"
options = BENCH.options("a toy")
options.add_argument("--work", type=int, default=3)
with BENCH.session(options) as bench:
    for turn in bench.turns():
        with bench.measured("datong", "x", amount=1, unit="things") as run:
            exec(BUSY.format(0.4))
            bench.aside([sys.executable, "-c", BUSY.format(3)])
        run.checksum = "same"
        grandchild = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {{BUSY.format(0.6)!r}}])"
        run = bench.command("peer", [sys.executable, "-c", grandchild], "x", amount=1, unit="things")
        run.checksum = "{checksum}"
        bench.command("holder", [sys.executable, "-c", HOLD], "x", amount=1, unit="things")
        bench.command("broken", [sys.executable, "-c", "raise SystemExit('no such peer')"], check=False)
"""


def toy(tmp_path: Path, checksum: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "toy.py"
    script.write_text(SCRIPT.format(folder=str(ROOT / "tests" / "bench"), checksum=checksum))
    argv = [sys.executable, str(script), "--quick", "--warm-ups", "0", "--format", "json"]
    environment = {"DATONG_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    return subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_frame_counts_a_whole_process_tree_and_nothing_beside_it(tmp_path: Path) -> None:
    done = toy(tmp_path, "same")
    assert done.returncode == 0, done.stderr
    found = Result.model_validate_json(done.stdout)
    by_who = {one.who: one for one in found.runs}
    # seconds of the processor, not of the clock: a busy machine makes them no fewer
    assert 0.3 <= by_who["datong"].cpu_seconds < 3, "its own, without the process beside it"
    assert by_who["peer"].cpu_seconds >= 0.55, "a grandchild's, which ended before it"
    assert by_who["holder"].peak_memory_bytes > 140_000_000
    assert "no such peer" in found.left_out["broken"]
    assert (found.arguments["work"], found.arguments["runs"]) == (1, 1)
    (kept,) = (tmp_path / "home" / "bench").glob("*/*.json")
    assert json.loads(kept.read_text()) == json.loads(done.stdout)


def test_contenders_that_left_different_content_fail_the_benchmark(tmp_path: Path) -> None:
    done = toy(tmp_path, "other")
    assert done.returncode == 1
    assert "the contenders left different content" in done.stderr
    assert "x: peer, turn 1: other" in done.stderr


def test_a_benchmark_that_is_told_to_stop_removes_what_it_made(tmp_path: Path) -> None:
    script = tmp_path / "toy.py"
    script.write_text(
        f"import sys, time\nsys.path.insert(0, {str(ROOT / 'tests' / 'bench')!r})\nfrom frame import Benchmark\n"
        "bench = Benchmark(key='toy', title='A toy')\n"
        "with bench.session(bench.options('a toy')) as session, session.own_home() as place:\n"
        "    print(place, flush=True)\n    time.sleep(900)\n"
    )
    environment = {"DATONG_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    place = Path(process.stdout.readline().strip())
    assert place.is_dir()
    process.terminate()
    assert process.wait(300) == 143
    assert not place.exists()
    assert not (tmp_path / "home" / "bench").exists(), "half a benchmark is no record"
