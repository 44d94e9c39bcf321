"""A race of many writers on the same tables: everyone appends or merges, upkeep and readers beside them.

Two Delta tables, written by several kinds of writers at once. `log` is only appended to: one row a commit. `state` is
merged into: each commit adds one to a counter and inserts a row that names the commit, in one MERGE, so a lost update
shows as a counter that is smaller than its rows. A commit counts as acknowledged when its writer was told so; a refused
one is tried again, and one whose writer gave up may be there or not, but never twice. A race of appends only leaves
`state` alone: merges that meet are refused and begin again, and a slow engine's commits become few.

From a number of writers of each kind to a `Tally`, which says what is missing, doubled, or was seen half done. A race
always ends: at the last commit, at a writer's failure, at its time, or (`until_lost`) at the first loss that is seen.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa
from datong_platform import engine as engines
from datong_platform.lake import upkeep
from datong_platform.names import TableName
from datong_platform.settings import Settings
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from deltalake.exceptions import CommitFailedError

Kind = Literal["delta-rs", "sail", "spark"]
Commit = tuple[str, int]
"""The writer's name, and which of its commits."""

KEYS = 3
"""Counters: few, so that merges meet."""
_ATTEMPTS = 100
_PATIENCE = 120
"""Seconds that whoever is in the middle of a statement gets when the race is over."""
# Sail reads the log of a table by listing it, and fails where a checkpoint is made meanwhile; its next try succeeds
_GAVE_WAY = (*engines.CONFLICTS, "Failed to commit", "conflict", "Transaction", "Missing commit file")
_SCHEMA = pa.schema(
    [("kind", pa.string()), ("id", pa.string()), ("writer", pa.string()), ("number", pa.int64()), ("value", pa.int64())]
)


@dataclass
class Tally:
    """What a race came to."""

    acknowledged: dict[str, set[Commit]] = field(default_factory=lambda: {"log": set(), "state": set()})
    gave_up: dict[str, set[Commit]] = field(default_factory=lambda: {"log": set(), "state": set()})
    refused: Counter[str] = field(default_factory=Counter[str])
    """Commits that gave way to another writer's and were tried again, by kind of writer."""
    reads: Counter[str] = field(default_factory=Counter[str])
    torn: list[str] = field(default_factory=list[str])
    """What a reader saw that never was: half of a commit, or less than had been acknowledged."""
    compacted: int = 0
    """Files fewer by upkeep."""
    missing: list[Commit] = field(default_factory=list[Commit])
    doubled: list[Commit] = field(default_factory=list[Commit])
    unknown: list[Commit] = field(default_factory=list[Commit])
    lost_updates: dict[str, tuple[list[int], int]] = field(default_factory=dict[str, tuple[list[int], int]])
    """Counters that differ from the rows that their merges inserted: the values found, which should be one, and how
    many rows."""
    seconds: float = 0
    ended: str = "all was written"
    """Why the race was over."""
    failures: list[str] = field(default_factory=list[str])
    """What a writer, a reader or upkeep failed with, other than a commit that gave way."""

    @property
    def lost(self) -> int:
        """How many acknowledged commits are not there, those of a counter included."""
        return len(self.missing) + sum(
            max(0, inserted - max(values, default=0)) for values, inserted in self.lost_updates.values()
        )

    @property
    def commits(self) -> int:
        """How many commits were acknowledged."""
        return sum(len(done) for done in self.acknowledged.values())

    @property
    def by_kind(self) -> Counter[str]:
        """How many of them each kind of writer made."""
        return Counter(writer.rpartition("-")[0] for done in self.acknowledged.values() for writer, _ in done)

    @property
    def is_whole(self) -> bool:
        """Whether every acknowledged commit is there once, and nothing that no writer sent."""
        return not (self.missing or self.doubled or self.unknown or self.lost_updates or self.torn or self.failures)

    def judge(self, what: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Compare what is in a table when everybody has ended with what its writers were told."""
        counts = _commits(rows)
        known = self.acknowledged[what]
        self.missing += sorted(known - counts.keys())
        self.doubled += _doubled(counts)
        self.unknown += sorted(counts.keys() - known - self.gave_up[what])
        if what == "state":
            self.lost_updates |= _uneven(rows)

    def look(self, who: str, what: str, rows: Sequence[Mapping[str, Any]], known: Set[Commit]) -> bool:
        """Compare what a reader saw with what was acknowledged before it began; whether it was whole."""
        counts = _commits(rows)
        torn = [f"{who} saw {what} without {commit}" for commit in sorted(known - counts.keys())]
        torn += [f"{who} saw {what} with {commit} twice" for commit in _doubled(counts)]
        if what == "state":
            torn += [f"{who} saw counter {name} at {pair}" for name, pair in _uneven(rows).items()]
        self.torn += torn
        return not torn

    def words(self) -> str:
        """The result in one line."""
        return (
            f"{self.commits} commits acknowledged {dict(self.by_kind)} in {self.seconds:.0f} s, refused and tried "
            f"again {dict(self.refused)}, {sum(map(len, self.gave_up.values()))} given up, {dict(self.reads)} reads, "
            f"{self.compacted} files fewer by upkeep; missing {len(self.missing)} {self.missing[:3]}, doubled "
            f"{len(self.doubled)} {self.doubled[:3]}, unknown {len(self.unknown)}, lost updates {self.lost_updates}, "
            f"torn reads {len(self.torn)} {self.torn[:3]}, failures {self.failures[:3]}; over because {self.ended}"
        )


class Race:
    """Two tables of the lake, and the writers of each kind that work on them at once."""

    def __init__(
        self, settings: Settings, name: str, sessions: Mapping[Kind, Any], *, seed: int = 1, scheme: str = "s3a"
    ) -> None:
        """`sessions`: the Spark Connect session of Sail and of Spark, where they take part. `scheme`: that of Spark's
        addresses, which decides its log store."""
        self._settings, self._sessions, self._seed, self._scheme = settings, sessions, seed, scheme
        self.tables = {what: TableName("ops", f"{name}_{what}") for what in ("log", "state")}
        self.tally = Tally()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._until_lost = False
        rows = [{"kind": "counter", "id": f"key-{key}", "writer": "", "number": 0, "value": 0} for key in range(KEYS)]
        for what, table in self.tables.items():
            write_deltalake(
                settings.table_uri(table),
                pa.Table.from_pylist(rows if what == "state" else [], schema=_SCHEMA),
                storage_options=settings.storage_options(),
            )
        if "sail" in sessions:
            # in this session only: Sail inserts by name, not by address
            sessions["sail"].sql("create schema if not exists ops").collect()
            for table in self.tables.values():
                place = f"using delta location '{settings.engine_table_uri(table)}'"
                sessions["sail"].sql(f"create table if not exists {table} {place}").collect()

    def run(
        self,
        writers: Mapping[Kind, int],
        commits: int,
        *,
        readers: Sequence[Kind] = ("delta-rs",),
        merges: bool = True,
        until_lost: bool = False,
        seconds: float = 6000,
    ) -> Tally:
        """Let so many writers of each kind make so many commits each, and judge the outcome. With `merges` every other
        commit is one.

        Whoever fails with something other than a refused commit ends the race, and so do so many seconds, and with
        `until_lost` the first commit that a reader misses. Nobody who waits for an engine is waited for longer than
        `_PATIENCE` after that.
        """
        names = [(kind, f"{kind}-{index}") for kind, count in writers.items() for index in range(count)]
        began = time.monotonic()
        self._until_lost = until_lost
        for kind in sorted(self._sessions.keys() & writers.keys()):
            # an engine's first statement takes it seconds, in which the others would be done
            self._rows(kind, "state")
        # daemons: a call into an engine that no longer answers must not keep the process from ending
        working = [self._thread(self._write, kind, name, commits, merges) for kind, name in names]
        beside = [*(self._thread(self._read, kind) for kind in readers), self._thread(self._keep_up)]
        while any(one.is_alive() for one in working) and not self._stop.wait(0.2):
            if time.monotonic() - began > seconds:
                self._over(f"{seconds:.0f} s were over")
        self._stop.set()
        self._wait_for([*working, *beside])
        self.tally.seconds = time.monotonic() - began
        for what in self.tables:
            self.tally.judge(what, self._rows("delta-rs", what))
        self._wait_for([self._thread(self._look, kind, what) for kind in self._sessions for what in self.tables])
        if "sail" in self._sessions:
            for table in self.tables.values():
                self._sessions["sail"].sql(f"drop table if exists {table}").collect()
        return self.tally

    def _thread(self, work: Callable[..., object], *arguments: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                work(*arguments)
            except Exception as error:  # noqa: BLE001 - told in the tally, which is judged
                with self._lock:
                    self.tally.failures.append(f"{work.__name__.lstrip('_')} {arguments}: {error!s:.500}")
                self._over("somebody failed")

        thread = threading.Thread(target=guarded, name=f"{work.__name__.lstrip('_')} {arguments}", daemon=True)
        thread.start()
        return thread

    def _wait_for(self, threads: Sequence[threading.Thread]) -> None:
        deadline = time.monotonic() + _PATIENCE
        for one in threads:
            one.join(max(0.0, deadline - time.monotonic()))
        if stuck := [one.name for one in threads if one.is_alive()]:
            self.tally.failures.append(f"{stuck} did not end in {_PATIENCE} s")

    def _over(self, why: str) -> None:
        with self._lock:
            if not self._stop.is_set():
                self.tally.ended = why
                self._stop.set()

    def append(self, kind: Kind, writer: str, number: int) -> None:
        """One commit of a writer that takes no part otherwise, acknowledged like the others."""
        self._append(kind, writer, number)
        with self._lock:
            self.tally.acknowledged["log"].add((writer, number))

    def _write(self, kind: Kind, writer: str, commits: int, merges: bool) -> None:
        dice = random.Random(f"{self._seed} {writer}")
        actions: list[tuple[str, Callable[[], None], int]] = []
        for number in range(commits):
            key = f"key-{dice.randrange(KEYS)}"
            if merges and number % 2:
                actions.append(("state", lambda n=number, k=key: self._merge(kind, writer, n, k), number))
            else:
                actions.append(("log", lambda n=number: self._append(kind, writer, n), number))
        for what, action, number in actions:
            if self._stop.is_set():
                return
            done = self._until_acknowledged(kind, action, dice)
            with self._lock:
                (self.tally.acknowledged if done else self.tally.gave_up)[what].add((writer, number))

    def _until_acknowledged(self, kind: Kind, action: Callable[[], None], dice: random.Random) -> bool:
        for _ in range(_ATTEMPTS):
            try:
                action()
                return True
            except Exception as error:
                if not isinstance(error, CommitFailedError) and not any(mark in str(error) for mark in _GAVE_WAY):
                    raise
                with self._lock:
                    self.tally.refused[kind] += 1
                if self._stop.wait(dice.uniform(0, 0.2)):
                    break
        return False

    def _append(self, kind: Kind, writer: str, number: int) -> None:
        if kind == "delta-rs":
            row = {"kind": "row", "id": f"{writer}/{number}", "writer": writer, "number": number, "value": 1}
            write_deltalake(
                self._settings.table_uri(self.tables["log"]),
                pa.Table.from_pylist([row], schema=_SCHEMA),
                mode="append",
                storage_options=self._settings.storage_options(),
            )
            return
        self._sessions[kind].sql(
            f"insert into {self._place(kind, 'log')} select 'row' as kind, '{writer}/{number}' as id, "
            f"'{writer}' as writer, cast({number} as bigint) as number, cast(1 as bigint) as value"
        ).collect()

    def _merge(self, kind: Kind, writer: str, number: int, key: str) -> None:
        rows = [
            {"kind": "counter", "id": key, "writer": "", "number": 0, "value": 0},
            {"kind": key, "id": f"{writer}/{number}", "writer": writer, "number": number, "value": 1},
        ]
        if kind == "delta-rs":
            merger = self._open("state").merge(
                pa.Table.from_pylist(rows, schema=_SCHEMA), "t.id = s.id", source_alias="s", target_alias="t"
            )
            merger.when_matched_update({"value": "t.value + 1"}, predicate="t.kind = 'counter'")
            merger.when_not_matched_insert_all()
            merger.execute()
            return
        selects = " union all ".join(
            f"select '{row['kind']}' as kind, '{row['id']}' as id, '{row['writer']}' as writer, "
            f"cast({row['number']} as bigint) as number, cast({row['value']} as bigint) as value"
            for row in rows
        )
        self._sessions[kind].sql(
            f"merge into {self._place(kind, 'state')} t using ({selects}) s on t.id = s.id "
            "when matched and t.kind = 'counter' then update set value = t.value + 1 "
            "when not matched then insert *"
        ).collect()

    def _place(self, kind: Kind, what: str) -> str:
        table = self.tables[what]
        return str(table) if kind == "sail" else f"delta.`{self._scheme}://{self._settings.bucket}/{table.path}`"

    def _open(self, what: str) -> DeltaTable:
        return DeltaTable(self._settings.table_uri(self.tables[what]), storage_options=self._settings.storage_options())

    def _rows(self, kind: Kind, what: str) -> list[dict[str, Any]]:
        columns = "kind, id, writer, number, value"
        if kind == "delta-rs":
            query = QueryBuilder().register("t", self._open(what)).execute(f"select {columns} from t")
            return pa.table(query).to_pylist()
        return self._sessions[kind].sql(f"select {columns} from {self._place(kind, what)}").toArrow().to_pylist()

    def _read(self, kind: Kind) -> None:
        """A reader: each look must show whole commits, and all that was acknowledged before it began."""
        while not self._stop.is_set():
            for what in self.tables:
                if not self._look(kind, what) and self._until_lost:
                    self._over("a reader missed what was acknowledged")
            self._stop.wait(0.05)

    def _look(self, kind: Kind, what: str) -> bool:
        with self._lock:
            known = set(self.tally.acknowledged[what])
        rows = self._rows(kind, what)
        with self._lock:
            self.tally.reads[kind] += 1
            return self.tally.look(kind, what, rows, known)

    def _keep_up(self) -> None:
        """Upkeep all the time, where a lake's own comes by the hour."""
        while not self._stop.wait(0.1):
            for table in self.tables.values():
                self.tally.compacted += upkeep.compact(table, fewest_files=4)
                upkeep.vacuum(table)
                upkeep.checkpoint(table)


def _commits(rows: Sequence[Mapping[str, Any]]) -> Counter[Commit]:
    return Counter((row["writer"], row["number"]) for row in rows if row["writer"])


def _doubled(counts: Counter[Commit]) -> list[Commit]:
    return sorted(commit for commit, count in counts.items() if count > 1)


def _uneven(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[int], int]]:
    inserted = Counter(row["kind"] for row in rows if row["writer"])
    values: dict[str, list[int]] = {f"key-{key}": [] for key in range(KEYS)}
    for row in rows:
        if row["kind"] == "counter":
            values.setdefault(row["id"], []).append(row["value"])
    return {key: (found, inserted[key]) for key, found in values.items() if found != [inserted[key]]}
