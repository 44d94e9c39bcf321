"""The frame of every benchmark: turns, clock, CPU seconds, peak memory, checksum, the record that is kept, the table.

A benchmark is a script of this folder with a `BENCH = Benchmark(...)` of literals (so that `datong bench` lists it
without importing it) and a `main()`:

    BENCH = Benchmark(key="p5", title="One of 200 dbt models, and all 200", goal="…", quick={"models": 10})

    def main() -> None:
        options = BENCH.options(__doc__)
        options.add_argument("--models", type=int, default=200)
        with BENCH.session(options) as bench:
            with bench.services("store", "engine"):         # a home of its own, gone afterwards
                for turn in bench.turns():                  # the warm-up, then --runs of them
                    if bench.takes("datong"):
                        with bench.measured("datong", "one model", amount=1, unit="models") as run:
                            ...                             # in this process, and in the services
                        run.checksum = checksum(table)
                    if bench.takes("dbt-duckdb"):
                        run = bench.command("dbt-duckdb", [bench.peers_python(), "-m", "dbt…"], "one model")

What is measured: `seconds` of the clock; CPU seconds of this process or of the command, all it starts, and the services
of the home (the parts, told one by one); the peak of the sum of their memory (PSS, sampled). What the sampling itself
takes is not counted. A process that only serves the data (`bench.beside`) counts for nobody. Nothing is asserted of
speed; `Session` ends with an error when contenders left different content, because then no figure means anything.
Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datong_infra.bench import results
from datong_infra.bench.results import Peer, Result, Run
from datong_platform.settings import Settings, cache_folder, home, read_state, settings

_TICK = os.sysconf("SC_CLK_TCK")


# --- what a process tree takes


@dataclass(frozen=True)
class _Seen:
    parent: int
    began: int
    own: float
    with_reaped: float


def _processes() -> dict[int, _Seen]:
    """Every process, by pid: its parent, when it began, its CPU seconds, and those with its children that ended."""
    found: dict[int, _Seen] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 ten times faster, and done several times a second
        if not name.isdigit():
            continue
        with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
            words = file.read().rpartition(b") ")[2].split()
            own = (int(words[11]) + int(words[12])) / _TICK
            reaped = (int(words[13]) + int(words[14])) / _TICK
            found[int(name)] = _Seen(int(words[1]), int(words[19]), own, own + reaped)
    return found


def _pss(pid: int) -> int:
    with suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return 0


class Meter(threading.Thread):
    """CPU seconds and peak memory of some parts, each a process and all it starts, while the meter runs.

    `parts` gives pids by name, asked again at every sample: a service may start late. A process belongs to one part
    only, the nearest above it; those of `apart` and below belong to none.
    """

    def __init__(
        self,
        parts: Callable[[], Mapping[str, int]],
        *,
        apart: Callable[[], Iterable[int]] = tuple,
        every: float = 0.2,
    ) -> None:
        super().__init__(daemon=True, name="meter")
        self.peak_bytes = 0
        self._parts, self._apart, self._every = parts, apart, every
        self._ends, self._sampling = threading.Event(), 0.0
        self._known: dict[str, int] = {}
        self._own: dict[tuple[str, int, int], float] = {}
        self._tree: dict[str, float] = {}
        self._offset_own: dict[str, float] = {}
        self._offset_tree: dict[str, float] = {}
        self._sample()
        self._offset_tree = dict(self._tree)
        for (part, _, _), used in self._own.items():
            self._offset_own[part] = self._offset_own.get(part, 0.0) + used
        self.peak_bytes = 0

    def run(self) -> None:
        """Sample until it is stopped; what that takes of the processor is told apart."""
        while not self._ends.wait(self._every):
            self._sample()
            self._sampling = time.thread_time()

    def _sample(self) -> None:
        parts = dict(self._parts())
        seen = _processes()
        roots, apart = {pid: name for name, pid in parts.items()}, set(self._apart())
        part_of: dict[int, str | None] = {}

        def place(pid: int) -> str | None:
            chain: list[int] = []
            at = pid
            while at not in part_of:
                if at in apart:
                    part_of[at] = None
                elif at in roots:
                    part_of[at] = roots[at]
                elif at not in seen or at <= 1:
                    part_of[at] = None
                else:
                    chain.append(at)
                    at = seen[at].parent
            for one in chain:
                part_of[one] = part_of[at]
            return part_of[at]

        total, trees = 0, dict.fromkeys(parts, 0.0)
        for pid, about in seen.items():
            part = place(pid)
            if part is None:
                continue
            self._own[part, pid, about.began] = about.own
            trees[part] += about.with_reaped
            total += _pss(pid)
        for part, used in trees.items():
            self._tree[part] = max(self._tree.get(part, 0.0), used)
        self.peak_bytes = max(self.peak_bytes, total)

    def stop(self, *, itself: str = "") -> dict[str, float]:
        """CPU seconds by part; `itself`: the part that this process is, which did not need what the sampling took."""
        if self.is_alive():
            self._ends.set()
            self.join()
        self._sample()
        own: dict[str, float] = {}
        for (part, _, _), used in self._own.items():
            own[part] = own.get(part, 0.0) + used
        found = {
            # a child that was waited for is in its parent's count; one that nobody waited for is as it was last seen
            part: max(
                self._tree.get(part, 0.0) - self._offset_tree.get(part, 0.0),
                used - self._offset_own.get(part, 0.0),
            )
            for part, used in own.items()
        }
        if itself in found:
            found[itself] = max(found[itself] - self._sampling, 0.0)
        return found


def service_pids() -> dict[str, int]:
    """The services of the home that the settings lead to, by name."""
    with suppress(json.JSONDecodeError):
        known = read_state("services.json").get("services", {})
        return {name: int(service["pid"]) for name, service in known.items() if service.get("pid")}
    return {}


# --- the content that was made


def checksum(rows: Any, columns: Sequence[str] | None = None, *, digits: int = 6, without: Sequence[str] = ()) -> str:
    """Count and checksum of rows, the same whatever their order, the column's letter case, and a number's type.

    `rows`: an Arrow table, dataset or reader, or a DuckDB relation. A number counts by its value, rounded to `digits`
    places; a time by its microseconds in UTC; texts as they are. Without `columns`: all but `without`, by name.
    """
    import duckdb

    if isinstance(rows, duckdb.DuckDBPyRelation):
        relation = rows
    else:
        connection = duckdb.connect()
        connection.execute("set TimeZone = 'UTC'")
        relation = connection.from_arrow(rows)
    by_name = {name.lower(): (name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True)}
    left = {name.lower() for name in without}
    wanted = [name.lower() for name in columns] if columns else sorted(name for name in by_name if name not in left)
    said = ", ".join(_as_text(*by_name[name], digits) for name in wanted)
    found = relation.aggregate(
        f"count(*) n, coalesce(sum(md5_number_lower(concat_ws(chr(31), {said}))::hugeint), 0) % 18446744073709551557 s"
    ).fetchall()[0]
    return f"{found[0]} rows {int(found[1]):016x}"


def _as_text(name: str, kind: str, digits: int) -> str:
    column = '"' + name.replace('"', '""') + '"'
    if kind.startswith(("DECIMAL", "DOUBLE", "FLOAT")) or kind.endswith(("INT", "INTEGER")):
        # -0.0 and 0 are one
        text = f"rtrim(rtrim((({column})::decimal(38, {digits}) + 0)::varchar, '0'), '.')"
    elif kind.startswith("TIMESTAMP"):
        text = f"epoch_us({column}::timestamptz)::varchar"
    else:
        text = f"({column})::varchar"
    return f"coalesce({text}, chr(0))"


# --- the benchmark


@dataclass
class Benchmark:
    """What a benchmark is. Its values are literals: `datong bench` reads them from the source."""

    key: str
    title: str
    goal: str = ""
    quick: dict[str, Any] = field(default_factory=dict[str, Any])
    """Values of options with which it ends within a minute or so, to see that it works; taken with --quick."""
    needs: str = ""
    """What has to be installed besides, in words."""
    turns_differ: bool = False
    """Whether each turn works on other content, so that contenders are compared turn by turn."""

    def options(self, doc: str | None) -> argparse.ArgumentParser:
        """A parser with the options that every benchmark has."""
        parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        ours = parser.add_argument_group("of every benchmark")
        ours.add_argument("--runs", type=int, default=5, help="measured runs of each contender")
        ours.add_argument("--warm-ups", type=int, default=1, help="runs before them that do not count")
        ours.add_argument("--only", action="append", default=[], help="only contenders whose name holds this word")
        ours.add_argument("--quick", action="store_true", help=f"small, to see that it works: {self.quick or '-'}")
        ours.add_argument("--peers", type=Path, help="a Python that has the peers; else that of `datong bench peers`")
        ours.add_argument("--format", choices=["table", "json"], default="table")
        ours.add_argument("--no-keep", action="store_true", help="keep no record")
        return parser

    @contextmanager
    def session(self, options: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> Generator[Session]:
        """Parse, measure what the block runs, print it and keep it. Exit status 1 when contents differ."""
        if "--quick" in (sys.argv[1:] if argv is None else argv):
            options.set_defaults(runs=1, **self.quick)
        asked = options.parse_args(argv)
        session = Session(self, asked)

        def stop(number: int, _: object) -> None:
            # a second one (to the whole group, and from `datong bench` or `uv run`) must not break off the tidying up
            for each in (signal.SIGTERM, signal.SIGINT):
                signal.signal(each, signal.SIG_IGN)
            raise SystemExit(128 + number)

        # so that what the block started is stopped and removed
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, stop)
        yield session
        session.finish()


class Measured(Run):
    """A run that is being measured: set `checksum`, `amount`, `unit` and `figures` in the block or after it."""


class Session:
    """One execution of a benchmark."""

    def __init__(self, benchmark: Benchmark, asked: argparse.Namespace) -> None:
        self.benchmark, self.asked = benchmark, asked
        self.runs: list[Run] = []
        self.peers: dict[str, Peer] = {}
        self.left_out: dict[str, str] = {}
        self._home, self._apart, self._turn = home(), set[int](), 0
        self._aside_cpu = 0.0
        self._began, self._load = datetime.now(UTC), os.getloadavg()[0]
        self._revision = results.revision()

    # who runs, and when

    def turns(self) -> Iterator[int]:
        """The numbers of the turns: 0 and below warm up, 1 to --runs count."""
        for turn in range(1 - self.asked.warm_ups, self.asked.runs + 1):
            self._turn = turn
            yield turn

    def takes(self, who: str) -> bool:
        """Whether this contender was asked for, and was not left out."""
        only: list[str] = self.asked.only
        return who not in self.left_out and (not only or any(word in who for word in only))

    def peer(self, who: str, version: str = "", **settings_: Any) -> None:
        """Record what stands beside Datong: its version and the settings it runs with."""
        self.peers[who] = Peer(version=version, settings=settings_)

    def leave_out(self, who: str, why: str) -> None:
        """A contender that cannot run; it is told."""
        self.left_out[who] = why.strip()[-700:]
        self.say(f"{who} is left out: {why.strip()[-300:]}")

    def peers_python(self, *packages: str) -> str | None:
        """The Python of the peers, with these packages importable and their versions recorded; None without it."""
        python = self.asked.peers or cache_folder() / "bench-peers" / "bin" / "python"
        if not python.exists():
            return None
        code = "import sys, importlib.metadata as m; print(*[n + '=' + m.version(n) for n in sys.argv[1:]])"
        done = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=False)
        return None if done.returncode else str(python)

    def peers_version(self, package: str) -> str:
        """The version of a package in the Python of the peers."""
        python = self.peers_python(package)
        assert python
        code = f"import importlib.metadata as m; print(m.version({package!r}))"
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    def say(self, text: str) -> None:
        """Progress, for people."""
        print(text, file=sys.stderr, flush=True)

    # where it runs

    @contextmanager
    def folder(self) -> Generator[Path]:
        """A folder that is gone afterwards."""
        path = Path(tempfile.mkdtemp(prefix=f"datong-{self.benchmark.key}-"))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def own_home(self) -> Generator[Path]:
        """DATONG_HOME is an empty folder, gone afterwards; what still runs there is stopped."""
        from datong_infra.services import stack

        before = {name: value for name, value in os.environ.items() if name.startswith("DATONG_")}
        with self.folder() as path:
            for name in before:
                del os.environ[name]
            os.environ["DATONG_HOME"] = str(path)
            try:
                yield path
            finally:
                with suppress(Exception):
                    stack.down()
                del os.environ["DATONG_HOME"]
                os.environ.update(before)

    @contextmanager
    def services(self, *names: str, engine: str | None = None) -> Generator[Settings]:
        """These services in a home of its own, gone afterwards; gives the settings that reach them."""
        from datong_infra.services import stack

        with self.own_home():
            stack.up(names, engine=engine)
            yield settings()

    @contextmanager
    def beside(self, argv: Sequence[str], **options: Any) -> Generator[subprocess.Popen[bytes]]:
        """A process that serves the data or answers, and counts for nobody; stopped afterwards."""
        process = subprocess.Popen(list(argv), **options)
        self._apart.add(process.pid)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._apart.discard(process.pid)

    def aside(self, argv: Sequence[str], **options: Any) -> str:
        """Run a command that counts for nobody, as one that sends what is read; returns its standard output."""
        process = subprocess.Popen(list(argv), stdout=subprocess.PIPE, text=True, **options)
        self._apart.add(process.pid)
        assert process.stdout
        said = process.stdout.read()
        before = os.times()
        status = process.wait()
        after = os.times()
        # the kernel adds what a child took to its parent's account when it is waited for
        self._aside_cpu += after.children_user + after.children_system - before.children_user - before.children_system
        self._apart.discard(process.pid)
        if status:
            raise RuntimeError(f"{argv[0]}: exit status {status}\n{said[-2000:]}")
        return said

    def not_counted(self, pid: int) -> None:
        """A process that counts for nobody, with all it starts."""
        self._apart.add(pid)

    # measuring

    def _services(self, wanted: Iterable[str] | None) -> Callable[[], dict[str, int]]:
        names = None if wanted is None else set(wanted)
        return lambda: {name: pid for name, pid in service_pids().items() if names is None or name in names}

    def _others(self, wanted: Iterable[str] | None) -> set[int]:
        """Services that do not count here; they can be children of this process."""
        counted = set(self._services(wanted)().values())
        return self._apart | {pid for pid in service_pids().values() if pid not in counted}

    @contextmanager
    def measured(
        self,
        who: str,
        case: str = "",
        *,
        services: Iterable[str] | None = None,
        pid: int | None = None,
        amount: float | None = None,
        unit: str = "",
        turn: int | None = None,
    ) -> Generator[Measured]:
        """Measure the block: this process, all it starts, and `services` of the home (all, when none is named).

        `turn`: its number where it is not that of `turns`, for what is done once. With `pid` that process stands for
        this one: a contender that is warm and told what to do.
        """
        found = self._services(services)
        meter = Meter(lambda: {"command": pid or os.getpid(), **found()}, apart=lambda: self._others(services))
        run = self._run(who, case, amount, unit)
        if turn is not None:
            run.turn, run.is_warm_up = turn, turn < 1
        aside = self._aside_cpu
        meter.start()
        began = time.perf_counter()
        try:
            yield run
            run.seconds = time.perf_counter() - began
        finally:
            parts = meter.stop(itself="" if pid else "command")
        if not pid:
            parts["command"] = max(parts["command"] - (self._aside_cpu - aside), 0.0)
        self._note(run, meter, parts)

    def command(
        self,
        who: str,
        argv: Sequence[str],
        case: str = "",
        *,
        services: Iterable[str] | None = (),
        task: Any = None,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        amount: float | None = None,
        unit: str = "",
        check: bool = True,
    ) -> CommandRun | None:
        """Measure a command: its process, all it starts, and `services` of the home (None: all of them).

        `task` goes to its standard input as JSON. When it fails: RuntimeError with the end of what it said; or, without
        `check`, the contender is left out with that as the reason, and None comes back.
        """
        found = self._services(services)
        run = CommandRun(**self._run(who, case, amount, unit).model_dump())
        before = os.times()
        command: dict[str, int] = {}
        meter = Meter(lambda: {**command, **found()}, apart=lambda: self._apart)
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL if task is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **(environment or {})},
            cwd=cwd,
        )
        command["command"] = process.pid
        meter.start()
        try:
            out, err = process.communicate(None if task is None else json.dumps(task))
        except BaseException:
            process.kill()
            process.wait()
            raise
        run.seconds = time.perf_counter() - began
        after = os.times()
        parts = meter.stop()
        # exact for whatever was waited for; the samples know of what nobody waited for, such as a JVM
        waited = after.children_user + after.children_system - before.children_user - before.children_system
        parts["command"] = max(parts.get("command", 0.0), waited)
        run.out, run.err = out, err
        if process.returncode:
            said = "\n".join(f"{err}\n{out}".strip().splitlines()[-25:])
            if check:
                raise RuntimeError(f"{who}{f', {case}' if case else ''}: exit status {process.returncode}\n{said}")
            self.leave_out(who, said or f"exit status {process.returncode}")
            return None
        self._note(run, meter, parts)
        return run

    def _run(self, who: str, case: str, amount: float | None, unit: str) -> Measured:
        return Measured(
            who=who,
            case=case,
            turn=self._turn,
            is_warm_up=self._turn < 1,
            seconds=0,
            cpu_seconds=0,
            peak_memory_bytes=0,
            amount=amount,
            unit=unit,
        )

    def _note(self, run: Run, meter: Meter, parts: Mapping[str, float]) -> None:
        run.cpu_seconds = sum(parts.values())
        run.cpu_seconds_by_part = {name: round(used, 3) for name, used in parts.items() if used >= 0.001}
        run.peak_memory_bytes = meter.peak_bytes
        self.runs.append(run)
        at = f"run {run.turn} of {self.asked.runs}" if run.turn > 0 else "warm-up"
        self.say(
            f"{at:14} {run.who:28} {run.case:32} {run.seconds:9.2f} s   CPU {run.cpu_seconds:8.2f} s   "
            f"{run.peak_memory_bytes / 2**20:7.0f} MiB"
        )

    # the end

    def result(self) -> Result:
        """What was found up to now."""
        kept_out = {"format", "no_keep", "quick"}
        arguments = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(self.asked).items()
            if name not in kept_out
        }
        revision, is_dirty = self._revision
        return Result(
            benchmark=self.benchmark.key,
            title=self.benchmark.title,
            goal=self.benchmark.goal,
            started_at=self._began,
            ended_at=datetime.now(UTC),
            revision=revision,
            is_dirty=is_dirty,
            is_quick=self.asked.quick,
            machine=results.this_machine(),
            load_before=self._load,
            load_after=os.getloadavg()[0],
            arguments=arguments,
            versions=results.versions(),
            peers=self.peers,
            left_out=self.left_out,
            turns_differ=self.benchmark.turns_differ,
            runs=[Run.model_validate(run.model_dump(include=set(Run.model_fields))) for run in self.runs],
        )

    def finish(self) -> None:
        """Print and keep what was found. SystemExit when contenders left different content."""
        from datong_infra.bench import tables

        result = self.result()
        if not self.asked.no_keep:
            self.say(f"kept: {results.keep(result, self._home)}")
        if self.asked.format == "json":
            print(result.model_dump_json(indent=1))
        else:
            tables.show(result)
        different = [case for case, same in result.same_content().items() if same is False]
        if different:
            for case in different:
                self._differences([run for run in result.runs if run.case == case and run.checksum is not None])
            raise SystemExit(f"{self.benchmark.key}: the contenders left different content: the figures mean nothing")

    def _differences(self, runs: Sequence[Run]) -> None:
        """Say what each left, part by part where there are parts."""
        for run in runs:
            first = next(one for one in runs if one.lake == run.lake)
            at = f"{run.case or 'content'}: {run.who}, turn {run.turn}"
            parts = [
                f"{name} {told}, {first.who} {first.checksum_by_part.get(name)}"
                for name, told in run.checksum_by_part.items()
                if told != first.checksum_by_part.get(name)
            ]
            for told in parts or [run.checksum]:
                self.say(f"{at}: {told}")


class CommandRun(Measured):
    """A command that was measured, and what it printed."""

    out: str = ""
    err: str = ""

    def last_json(self) -> Any:
        """The last line of its standard output, which is JSON."""
        return json.loads(self.out.strip().splitlines()[-1])
