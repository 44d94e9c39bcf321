"""The inventory for people: a Mermaid diagram, Markdown, and a page with a drawing that needs no network."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from datong_platform import page
from datong_platform.page import Markup

from datong_assets import drawing
from datong_assets.inventory import FlowEntry, Inventory

LAKE = "Datong"
_WIDTH, _BOX, _GAP = 1180, 250, 22
_LAYERS = {"bronze": "as sent", "silver": "conformed", "gold": "facts, dimensions", "serve": "public"}


@dataclass(frozen=True)
class _Arrow:
    """What goes between a system (or readers) and the lake."""

    other: str
    label: str
    into_lake: bool


def _readers(name: str) -> str:
    return "BI and people" if name == "bi" else f"readers {name}"


def _origins(flow: FlowEntry) -> str:
    return " + ".join(flow.origins) or "unknown"


def mermaid(inventory: Inventory) -> str:
    """The data flow between systems as a Mermaid flowchart."""

    def said(text: str) -> str:
        return '"' + text.replace('"', "#quot;").replace("\n", " ") + '"'

    titles = inventory.titles()
    lines = ["flowchart LR", f"  lake[({said(LAKE)})]"]
    for system in inventory.systems:
        words = f"{system.system}<br/>{titles[system.system]}<br/>{system.protocol}"
        lines.append(f"  in_{system.system}[{said(words)}]")
        lines.append(f"  in_{system.system} -->|{said(f'{system.read} entities')}| lake")
    targets = dict.fromkeys(flow.target for flow in inventory.flows)
    for target in targets:
        written = any(flow.kind == "write-back" and flow.target == target for flow in inventory.flows)
        words = f"{target}<br/>{titles.get(target, '')}" if written else _readers(target)
        lines.append(f"  out_{target}{'[' if written else '(['}{said(words)}{']' if written else '])'}")
    for flow in inventory.flows:
        if flow.kind == "write-back":
            words = f"{flow.title_zh or flow.title or flow.flow}<br/>from {_origins(flow)}"
            lines.append(f"  lake ==>|{said(words)}| out_{flow.target}")
    for target in targets:
        tables = [flow for flow in inventory.flows if flow.kind == "published" and flow.target == target]
        if tables:
            lines.append(f"  lake -->|{said(f'{len(tables)} tables')}| out_{target}")
    return "\n".join(lines) + "\n"


def markdown(inventory: Inventory) -> str:
    """The whole inventory as Markdown, with the diagram as a Mermaid block: for a wiki or a repository."""
    shown = inventory.as_dict()
    parts = ["# Systems and interfaces", f"```mermaid\n{mermaid(inventory)}```"]
    columns = {
        "systems": ("system", "title", "title_zh", "protocol", "address", "owner", "read", "written"),
        "flows": ("flow", "title", "title_zh", "origins", "through", "target", "resource", "write", "description"),
        "interfaces": (
            "system",
            "name",
            "direction",
            "address",
            "how",
            "keys",
            "cursor",
            "table",
            "fields",
            "title_zh",
        ),
        "fields": ("system", "entity", "field", "type", "role", "told_by"),
    }
    for name, wanted in columns.items():
        lines = [f"## {name.capitalize()}", "", f"| {' | '.join(wanted)} |", f"|{' --- |' * len(wanted)}"]
        lines += [f"| {' | '.join(_cell(row[column]) for column in wanted)} |" for row in shown[name]]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, *inventory.notes]) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        value = "; ".join(f"{name}: {', '.join(inner)}" for name, inner in cast("dict[str, list[str]]", value).items())
    elif isinstance(value, list):
        value = ", ".join(cast("list[str]", value))
    return str(value).replace("|", "\\|").replace("\n", " ")


def _drawing(inventory: Inventory) -> Markup:
    """Systems on the left, the lake in the middle, who is written to and who reads on the right."""
    titles = inventory.titles()
    left = [
        (entry.system, [titles[entry.system], f"{entry.protocol} · {entry.read} entities"])
        for entry in inventory.systems
    ]
    flows: dict[str, list[FlowEntry]] = defaultdict(list)
    for flow in inventory.flows:
        flows[flow.target].append(flow)
    right: list[tuple[str, list[str]]] = []
    for target, found in flows.items():
        back = [flow for flow in found if flow.kind == "write-back"]
        name = target if back else _readers(target)
        right.append((name, [titles[target]] if target in titles else []))
    labels = {
        (target if any(flow.kind == "write-back" for flow in found) else _readers(target)): _labels(found)
        for target, found in flows.items()
    }
    rights: list[tuple[str, list[str], int]] = []
    for name, words in right:
        rights.append((name, words, max(drawing.height(words), len(labels[name]) * drawing.LINE + 8)))
    tall = max(
        sum(drawing.height(words) + _GAP for _, words in left), sum(height + _GAP for _, _, height in rights), 240
    )
    middle_x, right_x = 390, _WIDTH - _BOX
    lake_width = 200
    parts: list[str] = [drawing.HEAD]
    parts.append(drawing.box((middle_x, _GAP, lake_width, tall - _GAP), LAKE, _lake_words(inventory), strong=True))
    y = _GAP
    for name, words in left:
        height = drawing.height(words)
        parts.append(drawing.box((0, y, _BOX, height), name, words))
        parts.append(drawing.curve(_BOX, y + height / 2, middle_x, y + height / 2))
        y += height + _GAP
    y = _GAP
    for name, words, height in rights:
        inner = drawing.height(words)
        top = y + (height - inner) / 2
        parts.append(drawing.box((right_x, top, _BOX, inner), name, words))
        start, end = middle_x + lake_width, right_x
        parts.append(drawing.curve(start, y + height / 2, end, y + height / 2))
        told = labels[name]
        line = y + height / 2 - len(told) * drawing.LINE / 2 + 13
        for text in told:
            parts.append(
                f'<text x="{(start + end) / 2:.0f}" y="{line:.0f}" text-anchor="middle" stroke="var(--back)" '
                f'stroke-width="6" paint-order="stroke">{html.escape(text)}</text>'
            )
            line += drawing.LINE
        y += height + _GAP
    return drawing.picture(_WIDTH, tall + _GAP, "Data flow between systems", parts)


def _labels(flows: Sequence[FlowEntry]) -> list[str]:
    back = [
        f"{flow.title_zh or flow.title or flow.flow} ({_origins(flow)})" for flow in flows if flow.kind == "write-back"
    ]
    published = [flow for flow in flows if flow.kind == "published"]
    return back + ([f"{len(published)} published tables"] if published else [])


def _lake_words(inventory: Inventory) -> list[str]:
    counts = {"bronze": sum(entry.read for entry in inventory.systems), **inventory.layers}
    return [f"{layer}: {counts[layer]} {meaning}" for layer, meaning in _LAYERS.items() if counts.get(layer)]


def page_of(inventory: Inventory) -> str:
    """The whole inventory as one page."""
    reads = [entry for entry in inventory.interfaces if entry.direction == "read"]
    writes = [entry for entry in inventory.interfaces if entry.direction == "write"]
    body: list[Markup] = [
        page.facts(
            [
                ("systems", len(inventory.systems)),
                ("entities read", len(reads)),
                ("write-back flows", len(writes)),
                ("fields", len(inventory.fields)),
                ("published tables", sum(flow.kind == "published" for flow in inventory.flows)),
            ]
        )
    ]
    body += [page.element("p", note, class_="warn") for note in inventory.notes]
    body += [page.element("h2", "Data flow"), _drawing(inventory)]
    body += [page.element("h2", "Systems"), _systems(inventory)]
    body += [page.element("h2", "What flows between systems"), _flows(inventory)]
    body += [page.element("h2", "Interfaces"), _interfaces(inventory)]
    body.append(page.element("h2", "Fields"))
    grouped: dict[tuple[str, str], list[Sequence[str | Markup]]] = defaultdict(list)
    for item in inventory.fields:
        row = (page.code(item.field), page.code(item.type), item.role, item.told_by)
        grouped[item.system, item.entity].append(row)
    for (system, entity), rows in grouped.items():
        summary = page.element(
            "summary", page.joined([f"{system}.{entity} ", page.element("small", f"{len(rows)} fields")])
        )
        table = page.table(["field", "type", "role", "told by"], rows)
        body.append(page.element("details", page.joined([summary, table])))
    summary = page.element("summary", "The diagram as Mermaid text")
    body.append(page.element("details", page.joined([summary, page.element("pre", mermaid(inventory))])))
    under = f"Generated from the definitions on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by datong inventory."
    return page.document("Systems and interfaces", under, body)


def _first_sentence(words: str) -> str:
    return words.split(". ", maxsplit=1)[0].rstrip(".") + "." if words else ""


def _systems(inventory: Inventory) -> Markup:
    return page.table(
        ["system", "title", "protocol", "address", "owner", "#read", "#written"],
        [
            (
                page.element("b", entry.system),
                page.joined([part for part in (entry.title, entry.title_zh) if part], " · "),
                entry.protocol,
                page.code(entry.address),
                entry.owner,
                entry.read,
                entry.written,
            )
            for entry in inventory.systems
        ],
    )


def _flows(inventory: Inventory) -> Markup:
    return page.table(
        ["flow", "made of", "through", "to", "what it does"],
        [
            (
                page.joined(
                    [page.element("b", flow.title_zh or flow.title), Markup("<br>"), page.code(flow.flow, long=True)]
                ),
                page.joined(
                    [
                        page.joined([page.element("b", system), f": {', '.join(entities)}"])
                        for system, entities in flow.origins.items()
                    ],
                    "<br>",
                ),
                page.code(flow.through, long=True),
                page.joined([page.element("b", flow.target), Markup("<br>"), page.code(flow.resource, long=True)])
                if flow.kind == "write-back"
                else _readers(flow.target),
                page.joined(
                    [page.mark(flow.write, "good") if flow.write else "", " ", _first_sentence(flow.description)]
                ),
            )
            for flow in inventory.flows
        ],
    )


def _interfaces(inventory: Inventory) -> Markup:
    return page.table(
        ["system", "interface", "direction", "address", "how", "keys", "table", "#fields", "what it is"],
        [
            (
                entry.system,
                page.element("b", page.code(entry.name, long=True)),
                page.mark(entry.direction, "soft" if entry.direction == "read" else "good"),
                page.code(entry.address, long=True),
                f"{entry.how} {entry.cursor}".strip(),
                page.joined([page.code(key, long=True) for key in entry.keys], ", "),
                page.code(entry.table, long=True),
                entry.fields,
                page.joined([part for part in (entry.title_zh or entry.title, entry.description) if part], " · "),
            )
            for entry in inventory.interfaces
        ],
    )
