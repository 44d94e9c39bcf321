"""Comparing two sides by aggregates, window by window, and naming the keys behind a difference.

Each side is asked for counts, sums and a digest of its keys. Only where these disagree is a window cut in half, again
and again, until it holds few rows; then its keys are listed on both sides. What the source changed since the lake last
read it is no difference: such a row is found by its key among the rows that are newer than what is settled.

Memory: the keys of windows that disagree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import pyarrow as pa

from datong_platform.quality.windows import Totals, Window, halves

MOVED = 20_000
"""Rows that changed since the last read, beyond which they are looked for only where windows disagree."""
FEW = 500
"""Rows at which a window is no longer cut, and its keys are listed instead."""
NAMED = 200
"""Keys that a comparison names; it counts the rest."""

Problem = Literal["missing in lake", "missing in source", "different", "older in lake"]
Status = Literal["agrees", "changed since", "differs", "open"]


class Side(Protocol):
    """One of two sides that are compared: a source, or a table of the lake."""

    def totals(self, asked: Sequence[Window], /) -> list[Totals]:
        """The totals of windows, all from one moment where the side can."""
        ...

    def listed(self, window: Window, /) -> Iterator[pa.Table]:
        """The rows of a window: key fields, the field of the window as `BY`, and the fields that are summed."""
        ...


@runtime_checkable
class Excludes(Protocol):
    """A side that can leave rows out by their keys."""

    def without(self, keys: Collection[str]) -> Side:
        """This side without the rows of these keys, as `named_keys` writes them; itself where it cannot."""
        ...


BY = "_by"
"""The column of a listing that holds the value of the window's field."""


@dataclass(frozen=True)
class Finding:
    """A row on which the sides disagree."""

    key: str
    problem: Problem
    detail: str = ""


@dataclass(frozen=True)
class Compared:
    """What a comparison of one window came to."""

    window: Window
    source: Totals
    lake: Totals
    status: Status
    wrong: tuple[str, ...] = ()
    """What the totals disagree in: rows, keys, or a field's sum."""
    findings: tuple[Finding, ...] = ()
    found: int = 0
    """How many rows disagree, named or not."""
    changed_since: int = 0
    """Rows that differ only because the source changed them after the lake read it."""

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against it."""
        return self.status != "differs"


@dataclass
class _Rows:
    """Rows on one side of windows that disagree, by key: the value of the window's field, and the other values."""

    source: dict[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    lake: dict[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])


class Comparison:
    """A comparison of a source with the lake, for one entity."""

    def __init__(
        self,
        source: Side,
        lake: Side,
        keys: Sequence[str],
        fields: Sequence[str] = (),
        *,
        bounds: tuple[Any, Any] = (None, None),
        settled: Any = None,
        keys_too: bool = False,
    ) -> None:
        """`bounds`: the least value of the windows' field and one above the greatest. `settled`: below it everything
        was read. `keys_too`: list the keys of every window, also where the totals agree and no side has a digest."""
        self.source, self.lake, self.keys, self.fields = source, lake, list(keys), list(fields)
        self.bounds, self.settled, self.keys_too = bounds, settled, keys_too
        self._newer: set[str] | None = None
        self._field: Window | None = None

    def run(self, windows: Sequence[Window]) -> list[Compared]:
        """Compare windows; those from `settled` on are open, and only told."""
        self._field = next((window for window in windows if window.by), None)
        told, held = self.source.totals(windows), self.lake.totals(windows)
        kept = self._without_moved(windows, told, held)
        rows: list[tuple[Compared, _Rows | None]] = []
        for window, source, whole, rest in zip(windows, told, held, kept, strict=True):
            lake = whole if self._is_open(window) else rest
            wrong = source.disagreements(lake)
            moved = whole.rows - lake.rows
            compared = Compared(window, source, whole, "agrees", tuple(wrong), changed_since=moved)
            if self._is_open(window):
                rows.append((replace(compared, status="open" if wrong else "agrees"), None))
            elif wrong or self._must_list(source, lake):
                found = _Rows()
                self._bisect(window, source, lake, found)
                rows.append((compared, found))
            else:
                rows.append((compared, None))
        return self._judged(rows)

    def _without_moved(
        self, windows: Sequence[Window], told: Sequence[Totals], held: Sequence[Totals]
    ) -> Sequence[Totals]:
        """The lake's totals without the rows that the source changed since.

        By counts alone a row that moved on would make up for one that was lost; a digest of the keys would tell them.
        """
        if self.settled is None or self._field is None or any(one.digest is not None for one in told):
            return held
        if not isinstance(self.lake, Excludes) or not 0 < len(self._changed_since()) <= MOVED:
            return held
        self.lake = self.lake.without(self._changed_since())
        return self.lake.totals(windows)

    def _is_open(self, window: Window) -> bool:
        return bool(window.by) and self.settled is not None and window.low is not None and window.low >= self.settled

    def _must_list(self, source: Totals, lake: Totals) -> bool:
        return self.keys_too and bool(self.keys) and (source.digest is None or lake.digest is None)

    def _bisect(self, window: Window, source: Totals, lake: Totals, into: _Rows) -> None:
        """Gather the rows of the parts of a window that disagree."""
        if not self.keys:
            return
        parts = halves(window, *self.bounds) if max(source.rows, lake.rows) > FEW and not self.keys_too else []
        if not parts:
            self._list(self.source, window, into.source)
            self._list(self.lake, window, into.lake)
            return
        told = zip(parts, self.source.totals(parts), self.lake.totals(parts), strict=True)
        for part, one, other in told:
            if one.disagreements(other):
                self._bisect(part, one, other, into)

    def _list(self, side: Side, window: Window, into: dict[str, tuple[Any, ...]]) -> None:
        for table in side.listed(window):
            keys = named_keys(table, self.keys)
            columns = [
                table.column(name).to_pylist() if name in table.column_names else [None] * len(table)
                for name in (BY, *self.fields)
            ]
            into.update(zip(keys, zip(*columns, strict=True), strict=True))

    def _judged(self, rows: Sequence[tuple[Compared, _Rows | None]]) -> list[Compared]:
        """The windows with what is found in them. A row that stands in one window of the source and in another of the
        lake is one row that the lake holds in an older state."""
        source = {key: values for _, found in rows if found for key, values in found.source.items()}
        lake = {key: values for _, found in rows if found for key, values in found.lake.items()}
        judged: list[Compared] = []
        for compared, found in rows:
            if found is None:
                judged.append(compared)
                continue
            findings: list[Finding] = []
            since = 0
            for key in sorted(found.source.keys() | found.lake.keys()):
                if key not in found.source:
                    if key in self._changed_since():
                        since += 1
                    elif key not in source:
                        findings.append(Finding(key, "missing in source", "the system has no such row"))
                elif key not in found.lake:
                    if key in lake:
                        if detail := self._different(found.source[key], lake[key]):
                            findings.append(Finding(key, "older in lake", detail))
                    else:
                        findings.append(Finding(key, "missing in lake", "the lake has no such row"))
                elif detail := self._different(found.source[key], found.lake[key]):
                    findings.append(Finding(key, "different", detail))
            since += compared.changed_since
            status: Status = "differs" if findings else "changed since" if since else "agrees"
            if compared.wrong and not self.keys:
                status = "differs"
            judged.append(
                replace(
                    compared,
                    status=status,
                    findings=tuple(findings[:NAMED]),
                    found=len(findings),
                    changed_since=since,
                )
            )
        return judged

    def _different(self, source: tuple[Any, ...], lake: tuple[Any, ...]) -> str:
        return "; ".join(
            f"{name}: {one} in the system, {other} in the lake"
            for name, one, other in zip(("its time", *self.fields), source, lake, strict=True)
            if one is not None and one != other
        )

    def _changed_since(self) -> set[str]:
        """The keys of the source's rows that are newer than what is settled; read once, and only when asked."""
        if self._newer is None:
            self._newer = set()
            if self.settled is not None and self._field is not None:
                open_ = replace(self._field, low=self.settled, high=None, is_null=False)
                for table in self.source.listed(open_):
                    self._newer.update(named_keys(table, self.keys))
        return self._newer


def named_keys(table: pa.Table, keys: Sequence[str]) -> list[str]:
    """The key of each row as one text for people, its parts joined by a slash."""
    columns = [table.column(name).to_pylist() for name in keys]
    return ["/".join(_said(value) for value in values) for values in zip(*columns, strict=True)]


def _said(value: Any) -> str:
    return "" if value is None else value.isoformat() if hasattr(value, "isoformat") else str(value)


def verified_through(compared: Sequence[Compared], settled: Any) -> Any:
    """The bound up to which window after window agrees, from the first on; None when the first one does not."""
    reached = None
    for one in compared:
        window = one.window
        if window.is_null or not window.by:
            continue
        if not one.ok or window.high is None or (settled is not None and window.high > settled):
            break
        reached = window.high
    return reached
