"""The findings as a page: tables, charts, and what it took to get them; beside it the charts as files, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datong_platform import page
from datong_platform.page import Markup

from datong_infra.bench import charts, tables
from datong_infra.bench.results import Result

_COLUMNS = ("case", "who", "runs", "seconds", "CPU s", "peak MiB", "pace", "time", "CPU", "content", "figures")
_NUMBERS = {"runs", "seconds", "CPU s", "peak MiB", "pace", "time", "CPU"}


def write(listed: Sequence[Result], folder: Path) -> list[Path]:
    """Write index.html, a chart for each result, the overview and results.md; returns the files, the page first."""
    folder.mkdir(parents=True, exist_ok=True)
    results = sorted(listed, key=lambda result: result.benchmark)
    files = {"index.html": _page(results), "results.md": _markdown(results)}
    files |= {f"{result.benchmark}.svg": charts.of_result(result) for result in results}
    if drawn := charts.overview(results):
        files["overview.svg"] = drawn
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in files]


def _page(results: Sequence[Result]) -> str:
    machines = list(dict.fromkeys(str(result.machine) for result in results))
    body: list[Any] = []
    if drawn := charts.overview(results):
        body.append(Markup(drawn))
    for result in results:
        body += _section(result)
    return page.document("Benchmarks", f"Datong beside its peers, on {'; '.join(machines)}", body)


def _section(result: Result) -> list[Any]:
    rows = tables.rows(result)
    names = [name for name in _COLUMNS if any(row.get(name) for row in rows)]
    shown = [f"#{name}" if name in _NUMBERS else name for name in names]
    parts: list[Any] = [page.element("h2", f"{result.benchmark}: {result.title}", id=result.benchmark)]
    if result.goal:
        parts.append(page.element("p", f"Goal: {result.goal}"))
    parts.append(page.element("p", tables.about(result), class_="soft"))
    parts.append(Markup(charts.of_result(result)))
    parts.append(page.table(shown, ([row.get(name, "") for name in names] for row in rows)))
    told = tables.content(result)
    if told:
        parts.append(page.element("p", page.mark(told, "bad" if "DIFFERS" in told else "good")))
    for who, why in result.left_out.items():
        parts.append(page.element("p", f"Left out, {who}: {why}", class_="soft"))
    parts.append(_settings(result))
    return parts


def _settings(result: Result) -> Markup:
    arguments = {name: value for name, value in result.arguments.items() if value not in (None, [], "")}
    rows: list[Sequence[Any]] = [("this benchmark", result.revision[:8], _listed(arguments))]
    rows += [(who, peer.version, _listed(peer.settings)) for who, peer in result.peers.items()]
    parts = _listed(result.versions)
    inner = [page.table(("who", "version", "settings"), rows), page.element("p", parts, class_="soft")]
    return page.element("details", page.joined([page.element("summary", "Settings and versions"), *inner]))


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def _markdown(results: Sequence[Result]) -> str:
    lines: list[str] = []
    for result in results:
        rows = tables.rows(result)
        names = [name for name in _COLUMNS if any(row.get(name) for row in rows)]
        lines += [f"## {result.benchmark}: {result.title}", ""]
        lines += [f"Goal: {result.goal}", ""] if result.goal else []
        lines += [f"| {' | '.join(names)} |", f"|{'|'.join(' ---: ' if n in _NUMBERS else ' --- ' for n in names)}|"]
        lines += [f"| {' | '.join(str(row.get(name, '')).replace('|', '¦') for name in names)} |" for row in rows]
        lines += ["", " ".join(filter(None, (tables.content(result), tables.about(result) + "."))), ""]
    return "\n".join(lines)
