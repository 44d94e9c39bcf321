"""A benchmark's record as rows, for the terminal and for pages."""

from __future__ import annotations

from typing import Any

from datong_infra.bench.results import OURS, Result, Spread, Summary


def rows(result: Result) -> list[dict[str, Any]]:
    """One row for each case and contender, in words; ratios are the contender's figure over Datong's."""
    listed = result.summaries()
    ours = {one.case: one for one in listed if one.who == OURS}
    return [_row(one, ours.get(one.case)) for one in listed]


def _row(one: Summary, ours: Summary | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "case": one.case,
        "who": one.who,
        "runs": one.runs,
        "seconds": spread(one.seconds),
        "CPU s": number(one.cpu_seconds.median),
        "peak MiB": f"{one.peak_memory_bytes / 2**20:,.0f}",
        "pace": "" if one.pace is None else f"{number(one.pace)} {one.unit}/s",
        "time": ratio(one.times(ours)[0]) if ours else "",
        "CPU": ratio(one.times(ours)[1]) if ours else "",
        "content": " ".join(text.rpartition(" ")[2][:8] for text in one.checksums),
    }
    if one.figures:
        row["figures"] = "; ".join(f"{name} {spread(found)}" for name, found in one.figures.items())
    return row


def number(value: float) -> str:
    """Three digits that tell something, thousands parted."""
    size = abs(value)
    if value == int(value):
        return f"{int(value):,}"
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 or not size else f"{value:.3g}"


def said(value: Any) -> str:
    """An argument, thousands parted."""
    if isinstance(value, list):
        return "/".join(str(each) for each in value)
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def spread(found: Spread) -> str:
    """Median (least to greatest), or the one value."""
    if found.least == found.greatest:
        return number(found.median)
    return f"{number(found.median)} ({number(found.least)} to {number(found.greatest)})"


def ratio(times: float | None) -> str:
    """How many times; nothing where that is not known."""
    return "" if times is None else f"{times:.2f} x" if times >= 0.1 else f"{times:.2g} x"


def content(result: Result) -> str:
    """What the checksums tell, in a sentence; empty where there are none."""
    told = result.same_content()
    different = [case or "the content" for case, same in told.items() if same is False]
    if different:
        return f"Content DIFFERS: {', '.join(different)}."
    alike = [case for case, same in told.items() if same]
    if not alike:
        return ""
    return "Content: the same everywhere." if len(alike) == len(told) else f"Content: the same in {', '.join(alike)}."


def about(result: Result) -> str:
    """Where and when, in a line."""
    revision = f"{result.revision[:8] or 'unknown'}{' and changes' if result.is_dirty else ''}"
    sizes = ", ".join(f"{name} {said(value)}" for name, value in result.sizes().items())
    quick = "a small trial, not the sizes of the title: " if result.is_quick else ""
    return (
        f"{quick}{sizes}{'; ' if sizes else ''}"
        f"{result.started_at:%Y-%m-%d %H:%M} UTC, revision {revision}, {result.machine}; "
        f"load {result.load_before:.1f} before, {result.load_after:.1f} after"
    )


def show(result: Result) -> None:
    """Print a record."""
    from datong_infra.cli.output import Format, print_line, print_rows

    listed = rows(result)
    names = list(dict.fromkeys(name for row in listed for name in row))
    used = [name for name in names if any(row.get(name) for row in listed)]
    print_rows(listed, Format.table, used, title=f"{result.benchmark}: {result.title}")
    print_line(about(result))
    if result.goal:
        print_line(f"Goal: {result.goal}")
    for text in (content(result),):
        if text:
            print_line(text)
    print_line("time, CPU: the contender's seconds for the same amount, over Datong's.")
    for who, why in result.left_out.items():
        print_line(f"Left out, {who}: {why}")
