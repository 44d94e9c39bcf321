"""Pages for people: one HTML file each, with its style inside, that opens anywhere and asks the network for nothing.

Every text is escaped here; what a caller passes as `Markup` is taken as it is.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

_ICON = (
    "data:image/svg+xml,"
    "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E"
    "%3Crect width='32' height='32' rx='7' fill='%230b6bcb'/%3E"
    "%3Cpath d='M6 12h16l-5-5M26 20H10l5 5' fill='none' stroke='white' stroke-width='3'/%3E%3C/svg%3E"
)
"""Two ways, there and back: what a browser's tab shows."""

Lang = Literal["en", "zh"]
"""The languages that pages speak."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #dde2e9; --back: #ffffff; --band: #f5f7fa;
  --accent: #0b6bcb; --good: #1d7a46; --bad: #b3261e; --warn: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa5b4; --line: #333c48; --back: #14181f;
  --band: #1c222b; --accent: #6cb2ff; --good: #5fd08f; --bad: #ff8a80; --warn: #f0c060; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 32px 28px 64px; background: var(--back); color: var(--ink);
  font: 14px/1.5 system-ui, "Noto Sans", "Noto Sans CJK SC", "Microsoft YaHei", sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 36px 0 10px; }
h3 { font-size: 14px; margin: 20px 0 6px; } p { margin: 6px 0; } .soft, small { color: var(--soft); }
code { font: 12.5px ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: break-word; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; } th, td { padding: 6px 10px; text-align: left; vertical-align: top; }
th { font-weight: 600; color: var(--soft); background: var(--band); white-space: nowrap; font-size: 12.5px; }
td.head { background: var(--band); } tr + tr td { border-top: 1px solid var(--line); } td.number, th.number {
  text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.facts { display: flex; flex-wrap: wrap; gap: 10px; margin: 16px 0; }
.fact { border: 1px solid var(--line); border-radius: 8px; padding: 8px 14px; min-width: 110px; }
a.fact { text-decoration: none; color: inherit; } a.fact:hover { border-color: var(--accent); }
.fact b { display: block; font-size: 19px; font-variant-numeric: tabular-nums; }
.mark { display: inline-block; white-space: nowrap; border-radius: 10px; padding: 0 8px; font-size: 12px;
  border: 1px solid currentColor; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.line { white-space: nowrap; }
.bar { display: inline-block; width: 56px; height: 7px; border-radius: 4px; background: var(--line);
  vertical-align: middle; margin-right: 6px; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--accent); }
details { border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; margin: 8px 0; }
summary { cursor: pointer; font-weight: 600; } pre { overflow-x: auto; background: var(--band); padding: 12px;
  border-radius: 8px; font: 12px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
.top { display: flex; flex-wrap: wrap; gap: 2px 4px; align-items: center; margin: -16px 0 26px; padding-bottom: 10px;
  border-bottom: 1px solid var(--line); } .top a { padding: 4px 9px; border-radius: 6px; color: var(--ink);
  text-decoration: none; } .top a:hover { background: var(--band); } .top .brand { font-weight: 700;
  padding-left: 0; }
.top a[aria-current] { background: var(--band); font-weight: 600; } .top .rest { margin-left: auto; }
.top .fold { flex-basis: 100%; height: 0; } .skip, .unseen { position: absolute; width: 1px; height: 1px;
  overflow: hidden; clip-path: inset(50%); white-space: nowrap; } .skip:focus { width: auto; height: auto;
  clip-path: none; background: var(--back); padding: 4px 10px; z-index: 1; } main:focus { outline: none; }
.actions { display: flex; flex-wrap: wrap; gap: 8px; align-items: end; margin: 12px 0; }
.value { overflow-wrap: anywhere; min-width: 9em; max-width: 32em; } .words { min-width: 16em; }
.name { min-width: 8em; }
.wide:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
a { color: var(--accent); } a:focus-visible, button:focus-visible, input:focus-visible, select:focus-visible,
textarea:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
input, select, textarea, button { font: inherit; color: inherit; background: var(--back); padding: 5px 9px;
  border: 1px solid var(--line); border-radius: 6px; max-width: 100%; } textarea { width: 100%; }
button { cursor: pointer; background: var(--band); } button.main { background: var(--accent); color: var(--back);
  border-color: var(--accent); font-weight: 600; } button.bad { border-color: currentColor; }
button:disabled { opacity: .5; cursor: default; } form.line { display: inline-block; }
.form { display: grid; gap: 10px; max-width: 560px; margin: 12px 0; } .form label { display: grid; gap: 3px; }
.form label > span { font-size: 12.5px; font-weight: 600; color: var(--soft); } .form .row { display: flex;
  gap: 8px; }
.filters { display: flex; flex-wrap: wrap; gap: 8px; align-items: end; margin: 14px 0; }
  .filters label, .actions label { display: grid;
  gap: 2px; font-size: 12.5px; color: var(--soft); } .filters label > :not(span), .actions label > :not(span) {
  color: var(--ink); font-size: 14px; height: 35px; }
.filters button, .actions button { min-height: 35px; }
.pager { display: flex; gap: 14px; margin: 10px 0; color: var(--soft); } .note { border: 1px solid var(--line);
  border-left: 4px solid var(--accent); border-radius: 6px; padding: 8px 12px; margin: 12px 0;
  background: var(--band); } .note.good, .note.bad, .note.warn { color: inherit; } .note.good {
  border-left-color: var(--good); } .note.bad { border-left-color: var(--bad); } .note.warn {
  border-left-color: var(--warn); } tr:has(td a:focus) td { background: var(--band); }
.differs { background: color-mix(in srgb, var(--warn) 16%, transparent); } kbd { font: 12px ui-monospace, monospace;
  border: 1px solid var(--line); border-radius: 4px; padding: 0 5px; } .empty { color: var(--soft);
  padding: 18px 2px; }
.split { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 28px; }
@media (max-width: 900px) { .split { grid-template-columns: minmax(0, 1fr); } }
svg text { font: 13px system-ui, "Noto Sans", "Noto Sans CJK SC", "Microsoft YaHei", sans-serif; fill: var(--ink); }
"""


_VOID = frozenset({"br", "hr", "input", "link", "meta", "wbr"})
"""Elements that have no end tag."""


class Markup(str):
    """HTML that is ready to stand in a page."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """A value as HTML: escaped, unless it is markup already; None is nothing."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, bool):
        return Markup("yes" if value else "no")
    return Markup("" if value is None else html.escape(f"{value:,}" if isinstance(value, int) else str(value)))


def element(tag: str, content: Any = "", **attributes: str | bool | None) -> Markup:
    """An element; `class_` stands for the attribute class, `aria_label` for aria-label.

    An attribute that is true stands without a value; one that is false or None is left out.
    """
    given = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for name, value in attributes.items()
        if value is not False and value is not None
    )
    return Markup(f"<{tag}{given}>" if tag in _VOID else f"<{tag}{given}>{text(content)}</{tag}>")


def joined(parts: Iterable[Any], between: str = "") -> Markup:
    """Parts side by side."""
    return Markup(between.join(text(part) for part in parts))


def code(value: Any, *, long: bool = False) -> Markup:
    """A name as it is written in a system or a file; nothing where there is none. A long one breaks at its joints."""
    if value in (None, ""):
        return Markup("")
    return element("code", Markup(re.sub(r"([_/.]+)", r"\1<wbr>", html.escape(str(value)))) if long else value)


def prose(words: str) -> Markup:
    """Words of a description, in which `names` stand between backticks."""
    parts = words.split("`")
    return joined(element("code", part) if at % 2 and at < len(parts) - 1 else part for at, part in enumerate(parts))


def mark(words: str, tone: str) -> Markup:
    """A short word in a tone: good, bad, warn or soft."""
    return element("span", words, class_=f"mark {tone}")


def bar(share: float) -> Markup:
    """A share from 0 to 1 as a small bar."""
    return element("span", Markup(f'<i style="width:{max(0.0, min(1.0, share)) * 100:.1f}%"></i>'), class_="bar")


def facts(items: Sequence[tuple[str, Any]]) -> Markup:
    """A row of figures with their names."""
    return element(
        "div",
        joined(
            element("div", joined([element("b", value), element("small", name)]), class_="fact")
            for name, value in items
        ),
        class_="facts",
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
    """A table; a column whose name begins with `#` holds numbers."""
    kinds = ["number" if name.startswith("#") else "" for name in columns]

    def cells(tag: str, values: Sequence[Any]) -> Markup:
        made = (
            element(tag, value, class_=kind) if kind else element(tag, value)
            for value, kind in zip(values, kinds, strict=True)
        )
        return element("tr", joined(made))

    head = cells("th", [name if isinstance(name, Markup) else name.removeprefix("#") for name in columns])
    # a head without words would be read out as nothing: it is a cell
    head = Markup(head.replace("<th", '<th scope="col"').replace('<th scope="col"></th>', '<td class="head"></td>'))
    return element("div", element("table", joined([head, *(cells("td", row) for row in rows)], "\n")), class_="wide")


def link(to: str, content: Any, **attributes: str | bool | None) -> Markup:
    """A link."""
    return element("a", content, href=to, **attributes)


def document(
    title: str,
    under: Any,
    body: Iterable[Any],
    *,
    lang: Lang = "en",
    top: Any = "",
    scripts: Iterable[str] = (),
) -> str:
    """A whole page: title, the line under it, and the parts of its body.

    `top` stands above the title; `scripts` are addresses of scripts beside the page, which works without them, too.
    """
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{element('title', title)}{element('link', rel='icon', href=_ICON)}"
        f"{joined(element('script', src=address, defer=True) for address in scripts)}"
    )
    opening = joined([element("h1", title), element("p", under, class_="soft")], "\n")
    spoken = {"en": "en", "zh": "zh-CN"}[lang]
    return (
        f'<!doctype html>\n<html lang="{spoken}"><head>{head}<style>{_STYLE}</style></head>\n<body>\n{text(top)}\n'
        f'<main id="main" tabindex="-1">\n{opening}\n{joined(body, chr(10))}\n</main>\n</body></html>\n'
    )
