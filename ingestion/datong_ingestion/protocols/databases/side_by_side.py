"""Statements read by several connections at once, their rows given in the order of the statements.

All connections see the moment of the first, so that what they read between them is what one of them would have read.
The order is kept because a read that finds what bronze holds already is known by the hash of its rows in order.
Memory: what connections read before its turn, HELD_BYTES at most, and a batch each.
Guards against: another connection that cannot be had, or not in time, without which the others go on; and one that
breaks, with which the whole read breaks off, as it does with one connection.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from typing import Generic, TypeVar

import pyarrow as pa

from datong_ingestion.protocols.databases.dialect import Snapshot

HELD_BYTES = 128 * 1024 * 1024
_T = TypeVar("_T")


class Slots:
    """How many connections may read at once. As a context it takes one, and waits until one is free."""

    def __init__(self, count: int) -> None:
        self._changed = threading.Condition()
        self._free, self._waiting = count, 0

    @property
    def are_wanted(self) -> bool:
        """Whether somebody waits for one."""
        return self._waiting > 0

    def spare(self) -> bool:
        """Take one, if one is free that nobody waits for."""
        with self._changed:
            if self._free <= self._waiting:
                return False
            self._free -= 1
            return True

    def give_back(self) -> None:
        """Let go of one."""
        with self._changed:
            self._free += 1
            self._changed.notify()

    def __enter__(self) -> None:
        with self._changed:
            self._waiting += 1
            try:
                while not self._free:
                    self._changed.wait()
                self._free -= 1
            finally:
                self._waiting -= 1

    def __exit__(self, *_: object) -> None:
        self.give_back()


class SideBySide(Generic[_T]):
    """One read of statements."""

    def __init__(
        self,
        statements: Sequence[str],
        first: Snapshot,
        *,
        another: Callable[[], Snapshot] | None,
        slots: Slots,
        rows: Callable[[Snapshot, str], Generator[pa.Table]],
        made: Callable[[pa.Table], _T],
    ) -> None:
        """`first`: a connection that has begun, for which a slot is taken; `another` makes one that begins, at the same
        moment, when it is entered. `rows` gives the rows of a statement, `made` what is to become of them; both run in
        the connections' threads."""
        self._statements, self._first, self._another, self._slots = statements, first, another, slots
        self._rows, self._made = rows, made
        self._changed = threading.Condition()
        self._next = self._turn = self._held = 0
        self._coming = [deque[tuple[_T, int]]() for _ in statements]
        self._is_read = [False] * len(statements)
        self._error: BaseException | None = None
        self._is_over = False
        self._helping: dict[Snapshot, bool] = {}
        """The other connections, and whether they have begun."""

    def read(self, at_once: int) -> Generator[_T]:
        """What was made of all rows, read by at most so many connections. Raises what `rows` and `made` raise; then
        `first` is of no more use."""
        threads = [threading.Thread(target=self._work, args=(self._first,), name="read ranges", daemon=True)]
        threads[0].start()
        ended_well = False
        try:
            threads += self._helpers(at_once)
            yield from self._in_order()
            ended_well = True
        finally:
            self._end(threads, ended_well=ended_well)

    def _in_order(self) -> Iterator[_T]:
        for number, coming in enumerate(self._coming):
            with self._changed:
                self._turn = number
                self._changed.notify_all()
            while True:
                with self._changed:
                    while not coming and not self._is_read[number] and self._error is None:
                        self._changed.wait()
                    if self._error is not None:
                        raise self._error
                    if not coming:
                        break
                    piece, size = coming.popleft()
                    self._held -= size
                    self._changed.notify_all()
                yield piece

    def _helpers(self, at_once: int) -> Iterator[threading.Thread]:
        if self._another is None:
            return
        for _ in range(min(at_once, len(self._statements)) - 1):
            if not self._slots.spare():
                return
            twin = self._another()
            self._helping[twin] = False
            thread = threading.Thread(target=self._help, args=(twin,), name="read ranges", daemon=True)
            thread.start()
            yield thread

    def _help(self, twin: Snapshot) -> None:
        try:
            # that a connection cannot be had is no failure: the others read its share
            with suppress(Exception):
                twin.__enter__()
                with self._changed:
                    self._helping[twin] = True
                ended_well = self._work(twin, gives_way=True)
                with self._changed:
                    # from here on it may belong to another read
                    del self._helping[twin]
                twin.__exit__(*(() if ended_well else (ConnectionAbortedError,)))
        finally:
            with self._changed:
                self._helping.pop(twin, None)
            self._slots.give_back()

    def _work(self, snapshot: Snapshot, *, gives_way: bool = False) -> bool:
        """Read statements until none is left, or another read wants the connection's slot; whether that went well."""
        try:
            while (number := self._taken()) is not None:
                with closing(self._rows(snapshot, self._statements[number])) as rows:
                    for table in rows:
                        if not self._put(number, self._made(table), table.nbytes):
                            return False
                with self._changed:
                    self._is_read[number] = True
                    self._changed.notify_all()
                if gives_way and self._slots.are_wanted:
                    break
        except BaseException as error:  # noqa: BLE001 it is raised where the rows are taken
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()
            return False
        return True

    def _taken(self) -> int | None:
        with self._changed:
            if self._is_over or self._error is not None or self._next == len(self._statements):
                return None
            self._next += 1
            return self._next - 1

    def _put(self, number: int, piece: _T, size: int) -> bool:
        """Hand a piece on when there is room for it; False when nobody wants it any more."""
        with self._changed:
            # what is waited for needs no room: what is behind it would hold that for ever
            while (
                self._held >= HELD_BYTES
                and (number != self._turn or self._coming[number])
                and not self._is_over
                and self._error is None
            ):
                self._changed.wait()
            if self._is_over or self._error is not None:
                return False
            self._coming[number].append((piece, size))
            self._held += size
            self._changed.notify_all()
            return True

    def _end(self, threads: Sequence[threading.Thread], *, ended_well: bool) -> None:
        """Wait until no connection is used any more: those that have nothing to finish are ended."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        while any(thread.is_alive() for thread in threads):
            with self._changed:
                if not ended_well:
                    self._first.cut()
                for twin, has_begun in self._helping.items():
                    if not (ended_well and has_begun):
                        twin.cut()
            for thread in threads:
                thread.join(0.1)
