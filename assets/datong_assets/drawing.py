"""Boxes and arrows as SVG, in the colours of the page that they stand in."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from datong_platform.page import Markup

LINE = 18
"""Height of a line of text, in the drawing's own units."""
HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 L8 4 L0 8 z" fill="var(--soft)"/></marker></defs>'
)
"""The head of arrows; every drawing that has a curve begins with it."""


def picture(width: float, height: float, label: str, parts: Iterable[str]) -> Markup:
    """A drawing as wide as its page; `label` says what it shows to those who cannot see it."""
    drawn = "".join(parts)
    # what is in an image cannot be reached by those who hear a page: a drawing with links is a group
    role = "group" if "<a " in drawn else "img"
    return Markup(
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="100%" role="{role}" aria-label="{html.escape(label)}">'
        f"{drawn}</svg>"
    )


def height(words: Sequence[str]) -> int:
    """How tall a box with these lines below its name is."""
    return 34 + LINE * len(words)


def box(
    place: tuple[float, float, float, float], name: str, words: Iterable[str], *, strong: bool = False, to: str = ""
) -> str:
    """A box with a name and lines below it; `place` is x, y, width, height, `to` where a click leads."""
    x, y, width, tall = place
    lines = "".join(
        f'<text x="{x + 14:.0f}" y="{y + 42 + LINE * at:.0f}" style="fill: var(--soft)">{html.escape(word)}</text>'
        for at, word in enumerate(words)
    )
    edge = "var(--accent)" if strong else "var(--line)"
    drawn = (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{tall:.0f}" rx="8" fill="var(--band)" '
        f'stroke="{edge}" stroke-width="{2 if strong else 1}"/>'
        f'<text x="{x + 14:.0f}" y="{y + 23:.0f}" style="font-weight: 600">{html.escape(name)}</text>{lines}'
    )
    return f'<a href="{html.escape(to)}">{drawn}</a>' if to else drawn


def curve(x1: float, y1: float, x2: float, y2: float) -> str:
    """An arrow from the first point to the second."""
    half = (x1 + x2) / 2
    return (
        f'<path d="M{x1:.0f} {y1:.0f} C{half:.0f} {y1:.0f} {half:.0f} {y2:.0f} {x2 - 2:.0f} {y2:.0f}" fill="none" '
        'stroke="var(--soft)" stroke-width="1.5" marker-end="url(#head)"/>'
    )
