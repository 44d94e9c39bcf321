"""Charts as SVG images that stand by themselves, in a page or a README, light or dark."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from datong_infra.bench.results import LIMIT, OURS, Result, Spread, Summary
from datong_infra.bench.tables import number, ratio

WIDTH = 860
_LEFT, _RIGHT = 210, 190
_STYLE = """<style>
svg { --ink: #1c2430; --soft: #5b6675; --line: #dde2e9; --back: #ffffff; --ours: #0b6bcb; --other: #8a97a8;
  --faint: #c9d2dd; }
@media (prefers-color-scheme: dark) { svg { --ink: #e6e9ee; --soft: #9aa5b4; --line: #333c48; --back: #14181f;
  --ours: #6cb2ff; --other: #7c8899; --faint: #465160; } }
text { font: 13px system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif; fill: var(--ink); }
.soft { fill: var(--soft); font-size: 12px; } .strong { font-weight: 600; } .end { text-anchor: end; }
.mid { text-anchor: middle; }
</style>"""


@dataclass(frozen=True)
class _Bar:
    name: str
    value: Spread
    beside: float | None
    """A second figure of the same unit, drawn thinner: CPU seconds."""
    words: str
    is_ours: bool


def of_result(result: Result) -> str:
    """Seconds, with their spread, and CPU seconds of each contender, a group for each case."""
    groups: list[tuple[str, list[_Bar]]] = []
    summaries = result.summaries()
    for case in dict.fromkeys(one.case for one in summaries):
        mine = [one for one in summaries if one.case == case]
        ours = next((one for one in mine if one.who == OURS), None)
        groups.append((case, [_bar(one, ours) for one in mine]))
    return _drawn(f"{result.benchmark}: {result.title}", groups)


def _bar(one: Summary, ours: Summary | None) -> _Bar:
    words = f"{number(one.seconds.median)} s, CPU {number(one.cpu_seconds.median)} s"
    if ours is not None and one is not ours:
        words += f", {ratio(one.times(ours)[0])}"
    return _Bar(one.who, one.seconds, one.cpu_seconds.median, words, one.who == OURS)


def _drawn(title: str, groups: Sequence[tuple[str, Sequence[_Bar]]]) -> str:
    parts: list[str] = [_words(0, 18, title, "strong")]
    y = 34.0
    for case, bars in groups:
        longest = max((max(bar.value.greatest, bar.beside or 0) for bar in bars), default=0) or 1
        scale = (WIDTH - _LEFT - _RIGHT) / longest
        if case:
            parts.append(_words(0, y + 12, case, "soft"))
            y += 20
        for bar in bars:
            colour = "var(--ours)" if bar.is_ours else "var(--other)"
            parts.append(_words(_LEFT - 10, y + 15, _short(bar.name), "end strong" if bar.is_ours else "end"))
            parts.append(_box(_LEFT, y + 3, bar.value.median * scale, 11, colour))
            if bar.value.greatest > bar.value.least:
                parts.append(_whisker(_LEFT + bar.value.least * scale, _LEFT + bar.value.greatest * scale, y + 8.5))
            if bar.beside is not None:
                parts.append(_box(_LEFT, y + 15, bar.beside * scale, 4, "var(--faint)"))
            parts.append(
                _words(_LEFT + max(bar.value.greatest, bar.beside or 0) * scale + 8, y + 15, bar.words, "soft")
            )
            y += 26
        y += 10
    parts.append(_words(_LEFT, y + 8, "bar: median seconds, line: least to greatest, thin bar: CPU seconds", "soft"))
    return _picture(y + 20, title, parts)


def overview(listed: Sequence[Result]) -> str:
    """How many times Datong's seconds each peer takes, on a logarithmic line; right of 1 Datong is faster.

    Limits (their names begin with `limit`) are left out: they do not do the work, they bound it.
    """
    rows: list[tuple[str, str, float]] = []
    for result in listed:
        summaries = result.summaries()
        for one in summaries:
            ours = next((each for each in summaries if each.who == OURS and each.case == one.case), None)
            times = one.times(ours)[0] if ours is not None and ours is not one else None
            if times and not one.who.startswith(LIMIT):
                rows.append((f"{result.benchmark} {one.case}".strip(), one.who, times))
    title = "Seconds of the others over Datong's"
    if not rows:
        return ""
    left = 350
    low = min(0.5, *(value for _, _, value in rows)) / 1.2
    high = max(2.0, *(value for _, _, value in rows)) * 1.2
    step = (WIDTH - left - 70) / (math.log(high) - math.log(low))

    def x(value: float) -> float:
        return left + (math.log(value) - math.log(low)) * step

    parts = [_words(0, 18, title, "strong")]
    bottom = 58.0 + 22 * len(rows)
    for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if low <= tick <= high:
            colour = "var(--ink)" if tick == 1 else "var(--line)"
            parts.append(f'<path d="M{x(tick):.1f} 44 V{bottom:.1f}" stroke="{colour}" stroke-width="1"/>')
            parts.append(_words(x(tick), 40, f"{tick:g}", "soft mid"))
    y = 48.0
    for name, who, value in rows:
        begin, end = sorted((x(1), x(value)))
        colour = "var(--ours)" if value >= 1 else "var(--other)"
        parts.append(_words(left - 12, y + 14, f"{_short(name, 27)} · {_short(who, 20)}", "end"))
        parts.append(_box(begin, y + 3, max(end - begin, 1), 13, colour))
        beyond = end + 6 if value >= 1 else x(1) + 6
        parts.append(_words(beyond, y + 14, f"{value:.2f}", "soft"))
        y += 22
    parts.append(_words(x(1), bottom + 16, "1: as fast as Datong", "soft mid"))
    return _picture(bottom + 26, title, parts)


def _picture(height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img" '
        f'aria-label="{html.escape(label)}" style="background: var(--back); max-width: 100%; height: auto">'
        f"{_STYLE}{''.join(parts)}</svg>\n"
    )


def _words(x: float, y: float, words: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{html.escape(words)}</text>'


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}" rx="2" fill="{colour}"/>'


def _whisker(begin: float, end: float, y: float) -> str:
    return (
        f'<path d="M{begin:.1f} {y} H{end:.1f} M{begin:.1f} {y - 4} V{y + 4} M{end:.1f} {y - 4} V{y + 4}" '
        'stroke="var(--ink)" stroke-width="1.2" fill="none"/>'
    )


def _short(words: str, most: int = 28) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"
