"""Two findings of one benchmark side by side: what became faster, slower, smaller, larger, and what is only noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datong_platform.errors import ConfigurationError

from datong_infra.bench.results import Result, Spread, Summary, named

NOISE = 0.05
"""Medians that differ by less are called the same, whatever their spread."""


@dataclass(frozen=True)
class Difference:
    """One figure in both findings."""

    benchmark: str
    case: str
    who: str
    figure: str
    before: Spread
    after: Spread
    runs: int
    """Of the one with fewer."""

    @property
    def ratio(self) -> float | None:
        """After over before; None where before is nothing."""
        return self.after.median / self.before.median if self.before.median else None

    @property
    def verdict(self) -> str:
        """`less` or `more` where all runs of one lie beyond all runs of the other and it is not small; else `same`.

        `unclear` where one has a single run, which tells no spread.
        """
        if self.runs < 2:
            return "unclear"
        apart = self.after.least > self.before.greatest or self.after.greatest < self.before.least
        small = self.ratio is not None and abs(self.ratio - 1) < NOISE
        if not apart or small:
            return "same"
        return "more" if self.after.median > self.before.median else "less"


def differences(before: Result, after: Result) -> list[Difference]:
    """Every figure that both have, by case and contender."""
    first = {(one.case, one.who): one for one in before.summaries()}
    found: list[Difference] = []
    for one in after.summaries():
        other = first.get((one.case, one.who))
        if other is None:
            continue
        mine, theirs = _figures(one), _figures(other)
        found += [
            Difference(after.benchmark, one.case, one.who, name, theirs[name], value, min(one.runs, other.runs))
            for name, value in mine.items()
            if name in theirs
        ]
    return found


def _figures(one: Summary) -> dict[str, Spread]:
    peak = Spread.of([one.peak_memory_bytes / 2**20])
    return {"seconds": one.seconds, "cpu_seconds": one.cpu_seconds, "peak_mib": peak, **one.figures}


def warnings(before: Result, after: Result) -> list[str]:
    """Why the two cannot be compared, or not well."""
    told: list[str] = []
    if before.machine.fingerprint != after.machine.fingerprint:
        told.append(f"They ran on different machines: {before.machine}; {after.machine}.")
    first, second = before.sizes(), after.sizes()
    sizes = {
        name: (first.get(name), second.get(name)) for name in {**first, **second} if first.get(name) != second.get(name)
    }
    told += [f"They ran with different {name}: {one} and {other}." for name, (one, other) in sorted(sizes.items())]
    for result in (before, after):
        cores = result.machine.cores
        if max(result.load_before, result.load_after) > 1.5 * cores:
            told.append(
                f"{result.id} ran on a busy machine (load {result.load_before:.1f} before, {result.load_after:.1f} "
                f"after, {cores} cores): trust the CPU seconds rather than the clock."
            )
        if result.is_dirty:
            told.append(f"{result.id} ran with changes that were not committed.")
    if not sizes:
        sums = [{(one.case, one.who): one.checksums for one in result.summaries()} for result in (before, after)]
        told += [
            f"{who}{f', {case}' if case else ''}: the content is not the same in both."
            for (case, who), found in sums[1].items()
            if found and sums[0].get((case, who), found) != found
        ]
    return told


def pairs(before: Sequence[Result], after: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Findings of the same benchmark."""
    first = {result.benchmark: result for result in before}
    return [(first[result.benchmark], result) for result in after if result.benchmark in first]


def between(before: str, after: str) -> list[tuple[Result, Result]]:
    """The findings that two names mean, paired by benchmark. ConfigurationError when no benchmark is in both."""
    first, second = named(before), named(after)
    found = pairs(first, second)
    if not found:
        raise ConfigurationError(
            f"{before} and {after}",
            f"have no benchmark in common: {_keys(first)}; {_keys(second)}.",
            "run the same benchmark at both: datong bench NAME.",
        )
    return found


def _keys(listed: Sequence[Result]) -> str:
    return ", ".join(result.benchmark for result in listed)
